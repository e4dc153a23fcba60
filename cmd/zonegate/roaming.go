package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"zonegate"
	"zonegate/sync/central"
)

// How often the hub is asked about codes that are not known here. The hub
// bounds it too, for the whole zone: one device must not use that up.
const (
	asksOfDevice = 3  // a minute
	asksOfZone   = 20 // a minute
	askPatience  = 3 * time.Second
)

// A roamingGate is the gate for the portal of a zone that may have a hub: a
// code that looks like one and is not known here may be good at all sites.
type roamingGate struct {
	*zonegate.Gate
	claim func(ctx context.Context, code string, d zonegate.MAC, nas string) error
	log   *slog.Logger

	mu    sync.Mutex
	since time.Time
	asked map[zonegate.MAC]int
	all   int
}

// Redeem implements [portal.Redeemer]. The gate is asked first: a code that it
// does not know counts as a wrong one, takes the time of one, and is refused
// to who has typed too many, before anybody else hears of it.
func (g *roamingGate) Redeem(ctx context.Context, r zonegate.Redemption) (zonegate.Standing, error) {
	st, err := g.Gate.Redeem(ctx, r)
	if !errors.Is(err, zonegate.ErrForeignCode) || !zonegate.WellFormedCode(r.Code) || !g.mayAsk(r.Device, time.Now()) {
		return st, err
	}
	within, cancel := context.WithCancel(ctx)
	defer time.AfterFunc(askPatience, cancel).Stop()
	defer cancel()
	switch said := g.claim(within, r.Code, r.Device, r.NAS); {
	case said == nil:
		return g.Gate.Standing(r.Device), nil
	case errors.Is(said, zonegate.ErrUsedCode), errors.Is(said, zonegate.ErrExpiredCode), errors.Is(said, zonegate.ErrRevokedCode),
		errors.Is(said, zonegate.ErrNotDurable), errors.Is(said, zonegate.ErrStopped):
		return st, said
	case !errors.Is(said, central.ErrAway) && !errors.Is(said, zonegate.ErrWrongCode):
		g.log.Error("what the hub gave for a code could not be taken", "error", said)
	}
	return st, err
}

// mayAsk bounds the questions, minute by minute.
func (g *roamingGate) mayAsk(d zonegate.MAC, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.asked == nil || now.Sub(g.since) >= time.Minute {
		g.since, g.asked, g.all = now, map[zonegate.MAC]int{}, 0
	}
	if g.all >= asksOfZone || g.asked[d] >= asksOfDevice {
		return false
	}
	g.asked[d]++
	g.all++
	return true
}
