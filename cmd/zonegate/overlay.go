package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"zonegate"
	"zonegate/internal/config"
	"zonegate/portal"
	"zonegate/sync/api"
	"zonegate/sync/central"
	"zonegate/web"
)

// An overlay makes effective what the hub lays over the configuration.
type overlay struct {
	config *config.Config
	garden *garden
	// setLink changes the rate of the uplink; nil where there is no data path
	// that knows one.
	setLink func(down, up uint64) error

	mu      sync.Mutex
	brand   api.Brand
	message api.Message
}

var _ central.Settings = (*overlay)(nil)

// Set takes one setting as the hub writes it. An empty value is the
// configuration's own.
func (o *overlay) Set(name, value string) error {
	switch name {
	case zonegate.SettingBrand:
		return lay(value, func(b api.Brand) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.brand = b
			return nil
		})
	case zonegate.SettingMessage:
		return lay(value, func(m api.Message) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.message = m
			return nil
		})
	case zonegate.SettingGarden:
		return lay(value, func(g api.Garden) error { return o.layGarden(value != "", g.Domains) })
	case zonegate.SettingLink:
		return lay(value, o.layLink)
	}
	return fmt.Errorf("%.50q: %w", name, zonegate.ErrNoSuchSetting)
}

// lay reads a value; an empty one is the zero of its type.
func lay[T any](value string, set func(T) error) error {
	var v T
	if value != "" {
		if err := json.Unmarshal([]byte(value), &v); err != nil {
			return fmt.Errorf("reading a setting of the hub's: %w", err)
		}
	}
	return set(v)
}

func (o *overlay) layGarden(laid bool, domains []string) error {
	if !laid {
		o.garden.lay(nil, false)
		return nil
	}
	if o.config.Network.LAN == "" {
		return errors.New("it has no effect without network.lan; what can be reached before paying is set on the NAS or the MikroTik")
	}
	list := []string{}
	for _, d := range domains {
		name, reason := config.GardenDomain(d)
		if reason != "" {
			return errors.New(reason)
		}
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	o.garden.lay(list, true)
	return nil
}

func (o *overlay) layLink(l api.Link) error {
	if l == (api.Link{}) {
		l.Down, l.Up = o.config.Network.LinkDown, o.config.Network.LinkUp
		if o.setLink == nil {
			return nil
		}
	}
	if o.setLink == nil {
		return errors.New("it has no effect: no data path of this gateway knows the rate of the uplink")
	}
	return o.setLink(l.Down, l.Up)
}

// look is how the portal presents the zone now.
func (o *overlay) look() portal.Brand {
	o.mu.Lock()
	defer o.mu.Unlock()
	z := o.config.Zone
	if o.brand.Name != "" {
		z.Name = o.brand.Name
	}
	if o.brand.Contact != "" {
		z.Contact = o.brand.Contact
	}
	if o.brand.Language != "" {
		z.Language = o.brand.Language
	}
	language, _ := web.ParseLang(z.Language) // config and the contract know the same ones
	return portal.Brand{
		Zone: z.Name, Contact: z.Contact, Language: language, French: o.message.FR, English: o.message.EN,
	}
}

// A garden is the domains of the walled garden: those of the configuration, or
// those that the hub has laid over them.
type garden struct {
	changed chan struct{} // holds one

	mu        sync.Mutex
	own, laid []string
	isLaid    bool
}

func newGarden(own []string) *garden {
	return &garden{own: own, changed: make(chan struct{}, 1)}
}

func (g *garden) domains() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isLaid {
		return g.laid
	}
	return g.own
}

// configure takes over a configuration that was read again.
func (g *garden) configure(own []string) {
	g.mu.Lock()
	g.own = own
	g.mu.Unlock()
	g.poke()
}

func (g *garden) lay(list []string, laid bool) {
	g.mu.Lock()
	g.laid, g.isLaid = list, laid
	g.mu.Unlock()
	g.poke()
}

func (g *garden) poke() {
	select {
	case g.changed <- struct{}{}:
	default: // it is due already
	}
}

// await waits until the domains are others.
func (g *garden) await(ctx context.Context, have []string) {
	for slices.Equal(g.domains(), have) {
		select {
		case <-g.changed:
		case <-ctx.Done():
			return
		}
	}
}
