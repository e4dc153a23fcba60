package central

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate"
	"zonegate/sync/api"
)

// A Relation is what the domain keeps of the hub.
type Relation interface {
	JoinHub(ctx context.Context, link zonegate.HubLink, nextEntry uint64) error
	LeaveHub(context.Context) error
	Hub() (zonegate.HubLink, bool)
}

// A Taker takes what the hub pushes, durably.
type Taker interface {
	TakePush(ctx context.Context, seq uint64, c zonegate.HubChange) error
	Setting(name string) (value string, ok bool)
	SetSetting(ctx context.Context, name, value string) error
}

// An Outbox has what the hub must be told.
type Outbox interface {
	Outbox(after uint64, max int) ([]zonegate.Entry, error)
	OutboxStatus() (last, unsent uint64, oldest time.Time)
	Delivered(ctx context.Context, through uint64) error
	LiveUsage(after zonegate.GrantID, max int) []zonegate.GrantUsage
}

// A Viewer says how the zone is.
type Viewer interface {
	Health() zonegate.Health
	Sessions() []zonegate.SessionView
}

// A Gate is everything that is asked of the domain; *zonegate.Gate is one.
type Gate interface {
	Relation
	Taker
	Outbox
	Viewer
}

var _ Gate = (*zonegate.Gate)(nil)

// Settings makes a setting of the hub's effective. The values are the JSON of
// api.Brand (SettingBrand), api.Garden, api.Link and api.Message; an empty one
// is the configuration's own. Set is called again with the same value at every
// start.
type Settings interface {
	Set(name, value string) error
}

// Options of a Central.
type Options struct {
	// Dir is the data directory.
	Dir string
	Endpoint
	// Zone, Name and Version are what the gateway calls itself.
	Zone, Name, Version string

	Gate     Gate
	Clock    Clock
	Settings Settings
	// Healthy says what keeps the gateway from working, nil if nothing does. A
	// setting on trial is taken back when it fails.
	Healthy func() error
	// Findings are reported to the hub beside our own; may be nil.
	Findings func() []api.Health
	Logger   *slog.Logger
}

// A Central is the gateway's side of the relation with one hub. Its methods
// may be called from any goroutine. Join and Leave work without Run.
type Central struct {
	o    Options
	pace pace
	log  *slog.Logger
	boot string

	// joining is held while the relation changes.
	joining sync.Mutex

	mu   sync.Mutex
	cred credential
	// broken is why there is no credential.
	broken error
	// changed is closed when the relation changes.
	changed chan struct{}
	line    *line // nil without a hub
	// trials gets a value when cred.Trial was set.
	trials chan struct{}
	// heard is when the hub last answered a heartbeat.
	heard time.Time
	// findings are by subject.
	findings map[string]api.Health
}

// New returns a Central. A hub.json that cannot be read is no error here: the
// zone sells without its hub, and Status says why.
func New(o Options) (*Central, error) {
	boot, err := draw()
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Central{
		o: o, pace: usualPace, log: o.Logger, boot: boot,
		changed: make(chan struct{}), trials: make(chan struct{}, 1), findings: map[string]api.Health{},
	}
	c.cred, c.broken = readCredential(o.Dir)
	if c.broken != nil {
		c.find("hub", errorSeverity, c.broken.Error())
	}
	return c, nil
}

// ErrJoined is a gateway of another site that still has something to tell.
var ErrJoined = errors.New("the zone is joined to another site and has not delivered everything there; wait until it has, or leave that hub first, which drops the rest. The code stays good until then")

// Join makes the zone one of the hub's with a one-time code. It can be
// repeated with the same code for as long as that lives, and with a new one
// where a token was lost: what the hub has not been told is kept.
func (c *Central) Join(ctx context.Context, code string) error {
	c.joining.Lock()
	defer c.joining.Unlock()
	c.mu.Lock()
	cred, broken := c.cred, c.broken
	c.mu.Unlock()
	if broken != nil {
		id, err := draw()
		if err != nil {
			return err
		}
		cred = credential{Version: fileVersion, Instance: id}
	}
	// Repeated after a lost answer it must be the same one.
	if err := c.put(cred); err != nil {
		return err
	}
	e, err := Enrol(ctx, c.o.Endpoint, c.o.Clock, api.Enrol{
		Code: code, Zone: c.o.Zone, Name: c.o.Name, Version: c.o.Version, Instance: cred.Instance,
	})
	if err != nil {
		return err
	}
	next := credential{
		Version: fileVersion, Instance: cred.Instance, URL: c.o.URL, Gateway: e.GatewayID, Site: e.SiteID,
		Token: e.Token, HubKey: e.HubKey, Seen: cred.Seen,
		Joining: &joining{CodeKey: e.CodeKey, Head: e.Head, NextEntry: e.NextEntry},
	}
	had, joined := c.o.Gate.Hub()
	switch _, unsent, _ := c.o.Gate.OutboxStatus(); {
	case joined && had.Site == e.SiteID && had.Gateway == e.GatewayID:
		// Pushes that came while the token was lost are still wanted.
		next.Joining.Head = had.Applied
		next.Trial = cred.Trial
	case joined && had.Site == e.SiteID:
		// As another gateway of the same site: everything is pushed anew.
		next.Trial = cred.Trial
	case joined && unsent > 0:
		return ErrJoined
	}
	if err := c.put(next); err != nil {
		return err
	}
	if err := c.finishJoin(ctx, next); err != nil {
		// It is finished as soon as the journal takes it.
		return errors.Join(err, c.turn(next))
	}
	return nil
}

// finishJoin writes an enrolment into the journal, and then the relation
// holds.
func (c *Central) finishJoin(ctx context.Context, cred credential) error {
	link := zonegate.HubLink{Hub: cred.URL, Site: cred.Site, Gateway: cred.Gateway, Applied: cred.Joining.Head}
	key, err := base64.StdEncoding.DecodeString(cred.Joining.CodeKey)
	if err != nil || len(key) != len(link.CodeKey) {
		return errors.New("the hub's code key is damaged; join the hub again")
	}
	copy(link.CodeKey[:], key)
	if err := c.o.Gate.JoinHub(ctx, link, cred.Joining.NextEntry); err != nil {
		return fmt.Errorf("writing down that the zone is joined: %w", err)
	}
	cred.Joining = nil
	if err := c.turn(cred); err != nil {
		return err
	}
	c.applySettings()
	return nil
}

// Leave ends the relation. What the hub has not been told is dropped, and its
// settings with it; what was bought stays.
func (c *Central) Leave(ctx context.Context) error {
	c.joining.Lock()
	defer c.joining.Unlock()
	if _, ok := c.o.Gate.Hub(); ok {
		if err := c.o.Gate.LeaveHub(ctx); err != nil {
			return fmt.Errorf("writing down that the zone left the hub: %w", err)
		}
	}
	c.mu.Lock()
	cred := credential{Version: fileVersion, Instance: c.cred.Instance, Seen: c.cred.Seen}
	c.mu.Unlock()
	if cred.Instance == "" {
		var err error
		if cred.Instance, err = draw(); err != nil {
			return err
		}
	}
	if err := c.turn(cred); err != nil {
		return err
	}
	c.applySettings()
	return nil
}

// put replaces hub.json. Everybody who writes it holds mu.
func (c *Central) put(cred credential) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := cred.write(c.o.Dir); err != nil {
		return err
	}
	c.cred, c.broken = cred, nil
	return nil
}

// turn makes another relation the one that holds.
func (c *Central) turn(cred credential) error {
	if err := c.put(cred); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.findings)
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// update changes hub.json of the relation that holds. Without its file the
// change still counts until the next start, and the error is logged: it is
// about settings and refusals alone.
func (c *Central) update(of string, change func(*credential)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cred.Token != of {
		return // the relation is another one by now
	}
	change(&c.cred)
	if err := c.cred.write(c.o.Dir); err != nil {
		c.log.Error("hub.json is behind", "error", err)
	}
}

var settingNames = []string{
	zonegate.SettingBrand, zonegate.SettingGarden, zonegate.SettingLink, zonegate.SettingMessage,
}

// applySettings makes what the journal has effective.
func (c *Central) applySettings() {
	for _, name := range settingNames {
		value, _ := c.o.Gate.Setting(name)
		if err := c.o.Settings.Set(name, value); err != nil {
			c.log.Error("a setting of the hub's has no effect", "setting", name, "error", err)
			c.find(name, errorSeverity, fmt.Sprintf("the hub's setting has no effect: %v", err))
		}
	}
}

// Run holds the relation until the context is done: it talks to the hub when
// there is one, and waits for one to be joined otherwise. Nothing that the hub
// or the network does ends it.
func (c *Central) Run(ctx context.Context) error {
	c.applySettings()
	c.resumeTrial()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.runTrials(ctx) })
	g.Go(func() error { return c.runRelation(ctx) })
	return g.Wait()
}

func (c *Central) runRelation(ctx context.Context) error {
	for ctx.Err() == nil {
		c.mu.Lock()
		cred, changed := c.cred, c.changed
		c.mu.Unlock()
		within, cancel := context.WithCancel(ctx)
		var g errgroup.Group
		g.Go(func() error { return c.hold(within, cred) })
		select {
		case <-changed:
		case <-ctx.Done():
		}
		cancel()
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// hold talks to the hub of a credential.
func (c *Central) hold(ctx context.Context, cred credential) error {
	r := retry{first: c.pace.retryFirst, most: c.pace.retryMost}
	for ctx.Err() == nil {
		l, err := c.connect(ctx, &cred)
		switch {
		case err == nil && l == nil:
			return nil // there is no hub
		case err == nil:
			return c.runLine(ctx, l)
		}
		// The file of the authority that is missing, a disk that is full: it
		// may be mended while we run.
		c.find("hub", errorSeverity, err.Error())
		sleep(ctx, r.wait(err))
	}
	return nil
}

// connect returns the line to the hub, or nil where there is none.
func (c *Central) connect(ctx context.Context, cred *credential) (*line, error) {
	if cred.Joining != nil {
		// The power went between the hub's answer and the journal.
		c.joining.Lock()
		defer c.joining.Unlock()
		c.mu.Lock()
		still := c.cred.Joining == cred.Joining
		c.mu.Unlock()
		if !still {
			return nil, nil
		}
		return nil, c.finishJoin(ctx, *cred) // turned: we are called again
	}
	hub, ok := c.o.Gate.Hub()
	if !cred.joined() || !ok {
		if ok {
			c.find("hub", errorSeverity, "the gateway's secret is gone: join the hub again with a new code")
		}
		return nil, nil
	}
	if hub.Gateway != cred.Gateway {
		return nil, errors.New("hub.json is another gateway's than the journal: join the hub again with a new code")
	}
	key, err := api.ParseKey(cred.HubKey)
	if err != nil {
		return nil, err
	}
	client, err := newClient(c.o.Endpoint, cred.Token, c.o.Clock, cred.Seen, c.pace)
	if err != nil {
		return nil, err
	}
	return newLine(c, client, key, *cred, hub), nil
}

func (c *Central) runLine(ctx context.Context, l *line) error {
	c.mu.Lock()
	c.line = l
	delete(c.findings, "hub")
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.line = nil
		c.mu.Unlock()
		l.client.close()
	}()
	return l.run(ctx)
}

// Enrol asks a hub to take the gateway in. It changes nothing here.
func Enrol(ctx context.Context, at Endpoint, clock Clock, e api.Enrol) (api.Enrolled, error) {
	client, err := newClient(at, "", clock, time.Time{}, usualPace)
	if err != nil {
		return api.Enrolled{}, err
	}
	defer client.close()
	var out api.Enrolled
	if err := client.call(ctx, http.MethodPost, api.PathEnrol, e, &out); err != nil {
		return api.Enrolled{}, fmt.Errorf("joining the hub: %w", err)
	}
	if _, err := api.ParseKey(out.HubKey); err != nil {
		return api.Enrolled{}, fmt.Errorf("joining the hub: %w", err)
	}
	key, err := base64.StdEncoding.DecodeString(out.CodeKey)
	switch {
	case err != nil || len(key) != len(zonegate.ZoneKey{}):
		err = errors.New("its code key must be 32 octets in base64")
	case out.Token == "" || len(out.Token) > 4096:
		err = errors.New("it gave no token")
	case out.NextEntry == 0:
		err = errors.New("entries count from 1")
	default:
		err = errors.Join(checkID("gateway", out.GatewayID), checkID("site", out.SiteID))
	}
	if err != nil {
		return api.Enrolled{}, fmt.Errorf("joining the hub: %w", err)
	}
	return out, nil
}

// nonce is 16 random octets, base64.
func nonce() (string, error) {
	var raw [16]byte
	if _, err := io.ReadFull(rand.Reader, raw[:]); err != nil {
		return "", fmt.Errorf("drawing a nonce: %w", err)
	}
	return base64.StdEncoding.EncodeToString(raw[:]), nil
}
