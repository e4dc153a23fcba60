package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"zonegate"
	"zonegate/internal/clock"
	"zonegate/internal/config"
	"zonegate/internal/control"
	"zonegate/internal/disk"
	"zonegate/internal/dns"
	"zonegate/internal/store"
	"zonegate/portal"
	"zonegate/radius/nas"
	"zonegate/shaper/kernel"
	"zonegate/shaper/mikrotik"
)

func defineRun(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		cfg, err := e.load()
		if err != nil {
			return err
		}
		limitMemory()
		level := new(slog.LevelVar)
		level.Set(cfg.LogLevel)
		signals := make(chan os.Signal, 4)
		signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
		defer signal.Stop(signals)
		p := &program{
			config: cfg, configName: e.config, level: level, signals: signals,
			log: slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: level})),
		}
		return p.Run(ctx)
	}
}

// A program is the daemon. Its fields must not change once Run was called.
type program struct {
	config     *config.Config
	configName string
	level      *slog.LevelVar
	log        *slog.Logger
	signals    <-chan os.Signal

	store  *store.Store
	gate   *zonegate.Gate
	shaper *kernel.Shaper   // nil without a LAN
	router *mikrotik.Router // nil without a MikroTik
	// locator finds customers for the portal; nil where NASes have all of them.
	locator portal.Locator
	radius  *radiusService
	hub     *hubService
	overlay *overlay
	payWay  *payWay // nil where nobody can pay on a provider's page
	// roaming is the gate of the portal where there may be a hub.
	roaming *roamingGate
	control *control.Server
	reload  chan struct{}
	// ready is closed when the plans are on sale.
	ready chan struct{}
}

// Run builds everything and runs it until the context is done, a signal comes
// or a task fails. Kernel state stays: who has paid stays online.
func (p *program) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.build(ctx); err != nil {
		return err
	}
	p.log.Info("starting", "version", version, "zone", p.config.Zone.ID, "record", p.gate.Health().Seq)
	err = runTasks(ctx, task{"the gate", p.gate.Run}, p.tasks()...)
	if err != nil {
		p.log.Error("stopping because a part failed; who is online stays online", "error", err)
	} else {
		p.log.Info("stopped; who is online stays online")
	}
	return err
}

func (p *program) tasks() []task {
	list := []task{
		{"the signal watcher", p.watchSignals},
		{"the settings", p.keepSettings},
		{"the control socket", p.after(p.control.Run)},
	}
	for _, t := range append(p.radius.tasks(), p.hub.tasks()...) {
		list = append(list, task{t.name, p.after(t.run)})
	}
	if p.shaper != nil {
		list = append(list,
			task{"the data path", p.shaper.Run},
			task{"the portal", p.after(p.servePortal)},
			task{"the name server", p.after(p.serveNames)},
		)
	}
	if p.payWay != nil {
		list = append(list, task{"the way to payment pages", p.after(p.payWay.Run)})
	}
	if p.router != nil {
		list = append(list, task{"the watch over the MikroTik", p.watchRouter})
	}
	if p.config.MikroTik.Drives {
		pages := &follower{turned: make(chan struct{}, 1), wanted: p.portalAddresses, serve: p.servePortalAt, said: p.portalSaid}
		list = append(list,
			task{"the data path", p.router.Run},
			task{"the portal", p.after(pages.Run)},
		)
	}
	return list
}

// lockPatience is how long the start waits for a command that has the data
// directory open.
const lockPatience = 10 * time.Second

func (p *program) build(ctx context.Context) error {
	p.reload, p.ready = make(chan struct{}, 1), make(chan struct{})
	if _, err := control.Dial(ctx, p.config.ControlSocket); err == nil {
		return fmt.Errorf("a daemon runs already and answers at %s; stop that one first", p.config.ControlSocket)
	}
	c, err := clock.New()
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(lockPatience); ; {
		p.store, err = store.Open(storeOptions(p.config, p.log))
		if !errors.Is(err, disk.ErrLocked) || time.Now().After(deadline) {
			break
		}
		if err := wait(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
	if errors.Is(err, disk.ErrLocked) {
		return fmt.Errorf("%s is in use by another zonegate: stop that one first: %w", p.config.DataDir, err)
	}
	if err != nil {
		return fmt.Errorf("opening the data directory: %w", err)
	}
	// Without its book the gateway still serves its LAN.
	book, broken := nas.Open(p.config.DataDir)
	if broken != nil {
		p.log.Error("no NAS is answered", "error", broken)
	}
	path, err := p.openPath(ctx, c, book)
	if err != nil {
		return err
	}
	p.gate = zonegate.NewGate(p.store.State(), p.store, p.store, path, c, gateOptions(p.config, p.log))
	if p.shaper != nil {
		p.shaper.ReportTo(p.gate)
	}
	if p.config.MikroTik.Drives {
		p.router.ReportTo(p.gate)
	}
	p.overlay = &overlay{config: p.config, garden: newGarden(p.config.Garden.Domains), setLink: p.setLink()}
	if p.hub, err = newHubService(p.config, p.gate, c, p.overlay, p.log); err != nil {
		return err
	}
	if p.shaper != nil && p.hub.pay != nil {
		p.payWay = &payWay{gate: p.gate, till: p.hub.pay, path: p.shaper, clock: c, log: p.log}
	}
	p.radius = newRADIUSService(p.config, book, p.gate, c, p.log)
	p.radius.page = p.portalServer
	p.roaming = &roamingGate{Gate: p.gate, claim: p.hub.central.Claim, log: p.log}
	p.control, err = control.Listen(p.config.ControlSocket, &control.Handler{
		Catalogue: p.gate, Vouchers: p.gate, Grants: p.gate, Vault: vault{p.store},
		NASes:       &nasDesk{config: p.config, book: book, broken: broken, gate: p.gate, server: p.radius},
		Hub:         p.hub,
		Unconfirmed: p.radius.unconfirmedSessions, MikroTik: p.routerStatus,
		Base:    control.Status{Version: version, Zone: p.config.Zone.ID, PID: os.Getpid()},
		Started: time.Now(), Facts: p.facts, Logger: p.log,
	})
	return err
}

// openPath opens what makes customers pass: the kernel, a MikroTik, or nothing
// here where NASes do.
func (p *program) openPath(ctx context.Context, c zonegate.Clock, book *nas.Book) (path zonegate.Enforcer, err error) {
	site := ""
	if p.config.MikroTik.Drives {
		if site, err = p.site(ctx, c); err != nil {
			return nil, err
		}
	}
	if p.router, err = newRouter(p.config, site, c, p.log); err != nil {
		if p.config.MikroTik.Drives {
			return nil, err
		}
		p.log.Error("the MikroTik is not examined", "error", err)
	}
	switch {
	case p.config.Network.LAN != "":
		kc := kernelConfig(p.config)
		kc.Clock, kc.Log = c, p.log
		if p.shaper, err = kernel.New(kc); err != nil {
			return nil, fmt.Errorf("opening the data path: %w", err)
		}
		p.locator = p.shaper
		return p.shaper, nil
	case p.config.MikroTik.Drives:
		if book != nil {
			if n, ok := ownedNAS(ctx, p.config, book.List()); ok {
				return nil, errTwoOwners(p.config, n.Name)
			}
		}
		p.locator = newRouterLocator(ctx, p.config, p.router)
		return p.router, nil
	}
	return noPath{}, nil
}

// setLink returns what tells the data path the rate of the uplink, nil if none
// has one.
func (p *program) setLink() func(down, up uint64) error {
	switch {
	case p.shaper != nil:
		return p.shaper.SetLink
	case p.config.MikroTik.Drives:
		return func(down, up uint64) error {
			p.router.SetLink(down, up)
			return nil
		}
	}
	return nil
}

func (p *program) close() error {
	var errs []error
	if p.control != nil {
		errs = append(errs, p.control.Close())
	}
	if p.router != nil {
		errs = append(errs, p.router.Close())
	}
	if p.shaper != nil {
		errs = append(errs, p.shaper.Close())
	}
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	return errors.Join(errs...)
}

// after holds a task back until there is something to sell.
func (p *program) after(run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-p.ready:
			return run(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *program) watchSignals(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-p.signals:
			if s != unix.SIGHUP {
				p.log.Info("a signal ends the program", "signal", s.String())
				return errStopped
			}
			select {
			case p.reload <- struct{}{}:
			default: // one is due already
			}
		}
	}
}

// retryPlans is how often plans are tried again that could not be written.
const retryPlans = 5 * time.Second

// retryClash is how often plans are tried again whose ids the hub's plans have.
const retryClash = time.Minute

// keepSettings puts the plans on sale, and takes over what changed in the
// configuration when it is told to. Nobody is cut by that.
func (p *program) keepSettings(ctx context.Context) error {
	cfg, opened := p.config, false
	var again <-chan time.Time
	for {
		var err error
		if cfg.Hub.Mode == p.config.Hub.Mode { // else the plans are another central server's, after a restart
			err = p.hub.sell(ctx, cfg.Plans)
		}
		switch {
		case err == nil && p.hub.clashes():
			again = time.After(retryClash)
		case err == nil:
			again = nil
		case ctx.Err() != nil || errors.Is(err, zonegate.ErrStopped):
			return nil
		case errors.Is(err, zonegate.ErrNotDurable):
			p.log.Warn("the plans are taken over when the storage can be written", "error", err)
			again = time.After(retryPlans)
		default:
			return fmt.Errorf("taking over the plans: %w", err)
		}
		if !opened {
			opened = true
			close(p.ready)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again:
		case <-p.reload:
			fresh := p.readAgain()
			if fresh == nil {
				continue
			}
			p.overlay.garden.configure(fresh.Garden.Domains)
			cfg = fresh
		}
	}
}

// readAgain returns the configuration as it is now, or nil when it is wrong.
func (p *program) readAgain() *config.Config {
	cfg, err := readConfig(p.configName)
	if err != nil {
		p.log.Error("the configuration is wrong; the former one stays in use", "error", err)
		return nil
	}
	p.level.Set(cfg.LogLevel)
	if needsRestart(p.config, cfg) {
		p.log.Warn("plans, walled garden and log level are taken over; what else changed needs a restart")
	} else {
		p.log.Info("the configuration was read again", "plans", len(cfg.Plans))
	}
	return cfg
}

// servePortal serves the pages on the LAN's addresses, and again when they
// change.
func (p *program) servePortal(ctx context.Context) error {
	for {
		addrs := p.waitForLAN(ctx)
		if addrs == nil {
			return nil
		}
		p.log.Info("the portal is open", "lan", p.config.Network.LAN, "addresses", addrs, "port", p.config.Portal.Port)
		err := until(ctx, p.portal(addrs).Run, func(ctx context.Context) { p.watchLAN(ctx, addrs) })
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// serveNames answers the questions of customers, and anew when the walled
// garden changed.
func (p *program) serveNames(ctx context.Context) error {
	for {
		domains := p.overlay.garden.domains()
		s := &dns.Server{
			Device: p.config.Network.LAN, Port: p.config.DNS.Port, Upstreams: p.config.DNS.Upstream,
			Domains: domains, Garden: p.shaper, Name: p.config.Portal.Name, Log: p.log,
		}
		if p.payWay != nil {
			s.Pay, s.PayGarden = p.payWay.leads, kernel.PayHosts{Shaper: p.shaper}
		}
		err := until(ctx, s.Run, func(ctx context.Context) { p.overlay.garden.await(ctx, domains) })
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// until runs a server until the context is done, it fails, or change returns.
// It returns nil in all cases but the failure, a server that ends by itself
// among them.
func until(ctx context.Context, run func(context.Context) error, change func(context.Context)) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	g, inner := errgroup.WithContext(inner)
	g.Go(func() error {
		err := run(inner)
		if err == nil && inner.Err() == nil {
			err = errors.New("it ended by itself")
		}
		if inner.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil
		}
		return err
	})
	g.Go(func() error {
		change(inner)
		cancel()
		return nil
	})
	return g.Wait()
}

// portal is the one for customers who are known by their address.
func (p *program) portal(addrs []netip.Addr) *portal.Server {
	s := p.portalServer()
	s.Locator, s.Device, s.Addrs = p.locator, p.config.Network.LAN, addrs
	s.TLSCert, s.TLSKey = p.config.Portal.TLSCert, p.config.Portal.TLSKey
	if p.radius.runs() {
		// NASes may be there too.
		s.Hotspots, s.Tickets = hotspots{p.radius.book}, p.radius.tickets
	}
	if p.radius.runs() || p.config.MikroTik.Drives {
		s.RemoteNames = p.config.Portal.NASNames
	}
	return s
}

// portalServer is the portal but for where it is and whom it serves.
func (p *program) portalServer() *portal.Server {
	c := p.config
	s := &portal.Server{
		Gate: p.gate, Name: c.Portal.Name, Port: c.Portal.Port,
		Brand: p.overlay.look, Megabyte: c.Limits.Megabyte, Logger: p.log,
	}
	if c.Hub.Mode == config.HubJoined {
		s.Gate = p.roaming
	}
	if p.hub.pay != nil {
		s.Till, s.NoPages = p.hub.pay, p.payWay == nil
		if p.payWay != nil {
			s.PageOpen = p.payWay.isOpen
		}
	}
	return s
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// facts are what only this process knows.
func (p *program) facts(ctx context.Context) control.Facts {
	f := control.Facts{Storage: p.store.Findings(), DataPath: []control.Finding{}, MikroTik: []control.Finding{}}
	if p.shaper != nil {
		f.DataPath = found(ctx, p.shaper)
	}
	if p.router != nil {
		// Who asks may go away; the connection shall not for that.
		f.MikroTik = routerFindings(context.WithoutCancel(ctx), p.config, p.router, p.radius.list())
	}
	return f
}
