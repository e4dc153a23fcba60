package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"zonegate"
	"zonegate/internal/clock"
	"zonegate/internal/config"
	"zonegate/internal/control"
	"zonegate/internal/doctor"
	"zonegate/portal"
	"zonegate/radius/nas"
	"zonegate/shaper/mikrotik"
)

// newRouter returns the MikroTik of the configuration. It connects when it is
// first used. Without a MikroTik it is nil. The site tells this gateway from
// others that may enforce on the same router.
func newRouter(cfg *config.Config, site string, c zonegate.Clock, log *slog.Logger) (*mikrotik.Router, error) {
	m := cfg.MikroTik
	if m.Address == "" {
		return nil, nil
	}
	password, err := routerPassword(m.PasswordFile)
	if err != nil {
		return nil, err
	}
	mc := mikrotik.Config{
		Address: m.Address, User: m.User, Password: password, Fingerprint: m.Fingerprint, Plain: m.Plain,
		Server: m.Server, Sessions: mikrotik.OwnerRADIUS, Site: site,
		LinkDown: cfg.Network.LinkDown, LinkUp: cfg.Network.LinkUp, Clock: c, Log: log,
	}
	if m.Drives {
		mc.Sessions = mikrotik.OwnerAPI
	}
	return mikrotik.New(mc)
}

// site is what the MikroTik knows this gateway by: something of the zone's key,
// which is nobody else's, stays, and moves with a backup. A zone that has none
// yet gets it now.
func (p *program) site(ctx context.Context, c zonegate.Clock) (string, error) {
	state := p.store.State()
	if state.Whole().Meta.Key == (zonegate.ZoneKey{}) {
		gate := zonegate.NewGate(state, p.store, p.store, noPath{}, c, gateOptions(p.config, p.log))
		// Whatever the gate does first, it founds the zone before that.
		err := runTasks(ctx, task{"the gate", gate.Run}, task{"the first word", func(ctx context.Context) error {
			if err := gate.Expire(ctx); err != nil {
				return err
			}
			return errStopped
		}})
		if err != nil {
			return "", fmt.Errorf("founding the zone: %w", err)
		}
	}
	key := state.Whole().Meta.Key
	sum := sha256.Sum256(append([]byte("mikrotik"), key[:]...))
	return hex.EncodeToString(sum[:]), nil
}

// routerPassword reads the password of the router's user, which nobody else on
// this machine may know. In a container, where this is the first process,
// nobody else is, and no shell to change a mode with.
func routerPassword(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("opening the MikroTik's password (mikrotik.password_file): %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("reading the MikroTik's password: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 && os.Getpid() != 1 {
		return "", fmt.Errorf("others on this machine may read the MikroTik's password; run: chmod 600 %s", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile))
	if err != nil {
		return "", fmt.Errorf("reading the MikroTik's password: %w", err)
	}
	password, err := onlyLine(text)
	if err != nil {
		return "", fmt.Errorf("reading the MikroTik's password from %s: %w", name, err)
	}
	return password, nil
}

// lookUpPatience bounds the search for the addresses of a router's name.
const lookUpPatience = 3 * time.Second

// ownedNAS returns the NAS whose packets would come from the MikroTik whose
// sessions the API owns: two would own them.
func ownedNAS(ctx context.Context, cfg *config.Config, list []nas.NAS) (nas.NAS, bool) {
	if !cfg.MikroTik.Drives {
		return nas.NAS{}, false
	}
	return nasOfRouter(ctx, cfg, list)
}

// nasOfRouter returns the NAS whose packets come from the MikroTik.
func nasOfRouter(ctx context.Context, cfg *config.Config, list []nas.NAS) (nas.NAS, bool) {
	if len(list) == 0 {
		return nas.NAS{}, false
	}
	for _, a := range routerAddresses(ctx, cfg) {
		for _, n := range list {
			if n.Single() && n.Prefix.Addr() == a || n.Vendor == nas.MikroTik && n.Prefix.Contains(a) {
				return n, true
			}
		}
	}
	return nas.NAS{}, false
}

// routerAddresses are those of the MikroTik, none if its name is not known now.
func routerAddresses(ctx context.Context, cfg *config.Config) []netip.Addr {
	host, _, _ := net.SplitHostPort(cfg.MikroTik.Address) // config has checked it
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpPatience)
	defer cancel()
	list, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	for i := range list {
		list[i] = list[i].Unmap()
	}
	return list
}

// errTwoOwners says that a NAS is the MikroTik that the API drives.
func errTwoOwners(cfg *config.Config, name string) error {
	return fmt.Errorf("the API owns the sessions of the MikroTik at %s (mikrotik.sessions), so it cannot also be the NAS %s: exactly one may own them. "+
		`Leave the NAS out (zonegate nas remove %s), or write sessions = "radius"`, cfg.MikroTik.Address, name, name)
}

// portalAddresses are where customers behind the MikroTik reach the portal.
func (p *program) portalAddresses() []netip.Addr { return nasAddresses(p.config) }

func (p *program) servePortalAt(ctx context.Context, addrs []netip.Addr) error {
	p.log.Info("the portal is open for customers behind the MikroTik", "addresses", addrs, "port", p.config.Portal.Port)
	return p.portal(addrs).Run(ctx)
}

func (p *program) portalSaid(_ []netip.Addr, err error) {
	if err != nil {
		p.log.Error("customers behind the MikroTik see no portal; it is tried again", "error", err)
	}
}

// examineAgain is how often a MikroTik is examined, and reachAgain how soon one
// that did not answer.
const (
	examineAgain = 10 * time.Minute
	reachAgain   = time.Minute
)

// watchRouter examines the MikroTik from time to time, and says what is wrong
// when that changes.
func (p *program) watchRouter(ctx context.Context) error {
	for before := ""; ; {
		next := examineAgain
		_, err := p.router.Info(ctx)
		// That it is away the data path says already, if it is one.
		if err == nil || !p.config.MikroTik.Drives || errors.Is(err, mikrotik.ErrPermission) {
			said := serious(p.router.Check(ctx))
			switch {
			case ctx.Err() != nil || said == before:
			case said == "":
				p.log.Info("the MikroTik is as it should be")
			default:
				p.log.Error("the MikroTik is not set up as it should be", "problems", said)
			}
			before = said
		}
		if err != nil {
			next = reachAgain
		}
		if wait(ctx, next) != nil {
			return nil
		}
	}
}

// serious writes out what cannot wait.
func serious(list []mikrotik.Finding) string {
	var lines []string
	for _, f := range list {
		if f.Serious {
			lines = append(lines, f.Subject+": "+f.Problem+" "+f.Fix)
		}
	}
	return strings.Join(lines, "\n")
}

// statusPatience bounds how long a status waits for the MikroTik.
const statusPatience = 5 * time.Second

// routerStatus is what is known of the MikroTik, nil without one.
func (p *program) routerStatus(ctx context.Context) *control.MikroTik {
	if p.router == nil {
		return nil
	}
	out := &control.MikroTik{Address: p.config.MikroTik.Address, Sessions: "radius"}
	if p.config.MikroTik.Drives {
		out.Sessions = "api"
	}
	// Who asks may go away; the connection shall not for that.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statusPatience)
	defer cancel()
	info, err := p.router.Info(ctx)
	if err != nil {
		out.Problem = err.Error()
		return out
	}
	out.Reachable, out.Version, out.Board = true, info.Version, info.Board
	return out
}

// routerFindings are what is wrong with the MikroTik and with what is known
// here about it, as the control API says it.
func routerFindings(ctx context.Context, cfg *config.Config, r *mikrotik.Router, book []nas.NAS) []control.Finding {
	list := []control.Finding{}
	for _, f := range r.Check(ctx) {
		list = append(list, finding(f.Serious, f.Subject, f.Problem, f.Fix))
	}
	n, ok := nasOfRouter(ctx, cfg, book)
	switch {
	case ok && cfg.MikroTik.Drives:
		list = append(list, finding(true, "NAS "+n.Name, errTwoOwners(cfg, n.Name).Error()+".", "Run: zonegate nas remove "+n.Name))
	case !ok && !cfg.MikroTik.Drives:
		list = append(list, finding(false, "NAS", "RADIUS owns the sessions by the configuration, but no NAS is known with the address of "+cfg.MikroTik.Address+".",
			"Run: zonegate nas add --vendor mikrotik --address ADDRESS NAME, where ADDRESS is the one that its packets come from."))
	}
	return list
}

// routerView is the MikroTik as the doctor asks for it.
type routerView struct{ config *config.Config }

// Examine has the running daemon look, which has a connection, or else does so
// itself.
func (v routerView) Examine(ctx context.Context) ([]doctor.Part, error) {
	// A password that cannot be read is the daemon's problem too, and it may
	// not even run for it.
	if _, err := routerPassword(v.config.MikroTik.PasswordFile); err != nil {
		return nil, err
	}
	return examined(ctx, v.config, func(f control.Facts) []control.Finding { return f.MikroTik }, v.examineAlone)
}

func (v routerView) examineAlone(ctx context.Context) ([]control.Finding, error) {
	c, err := clock.New()
	if err != nil {
		return nil, err
	}
	r, err := newRouter(v.config, "", c, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	book, err := nas.Open(v.config.DataDir)
	if err != nil {
		return nil, err
	}
	return routerFindings(ctx, v.config, r, book.List()), nil
}

func finding(serious bool, subject, problem, fix string) control.Finding {
	f := control.Finding{Severity: "warning", Subject: subject, Detail: problem, Fix: fix}
	if serious {
		f.Severity = "error"
	}
	return f
}

// Each answer of the router about a customer is good for a while, so that a
// browser's many connections are one question; the last one is used for longer
// while the router does not answer, which is when a customer must not be sent
// away. Addresses are leased for longer than that.
const (
	locatedFor  = 3 * time.Second
	locatedLast = 10 * time.Minute
	// locatePatience is more than one command of the router may take.
	locatePatience = 12 * time.Second
	// maxLocated bounds the memory. It is more than a hotspot has customers.
	maxLocated = 4096
)

// A routerLocator finds the customers behind a MikroTik for the portal.
type routerLocator struct {
	ask func(context.Context, netip.Addr) (zonegate.MAC, error)
	// own are the router's addresses, under which nobody can be told apart.
	own []netip.Addr
	// gate is how the fix names this machine and port.
	gate string

	mu    sync.Mutex
	known map[netip.Addr]located
}

type located struct {
	mac zonegate.MAC
	err error // that nobody has this address
	at  time.Time
}

func newRouterLocator(ctx context.Context, cfg *config.Config, r *mikrotik.Router) *routerLocator {
	return &routerLocator{
		ask: r.Locate, own: routerAddresses(ctx, cfg), known: map[netip.Addr]located{},
		gate: fmt.Sprintf("dst-port=%d", cfg.Portal.Port),
	}
}

// Locate returns the MAC behind an address. The question to the router
// outlives the request: a cancelled one would end the connection that
// enforcement needs too, and anybody can hang up on the portal.
func (l *routerLocator) Locate(ctx context.Context, a netip.Addr) (zonegate.MAC, error) {
	for _, own := range l.own {
		if a == own {
			return zonegate.MAC{}, fmt.Errorf("customers come with the router's own address %s, so nobody knows who they are; except the portal from masquerade: "+
				"/ip/firewall/nat/add chain=srcnat action=accept protocol=tcp %s place-before=0", a, l.gate)
		}
	}
	l.mu.Lock()
	last, ok := l.known[a]
	l.mu.Unlock()
	now := time.Now()
	if ok && now.Sub(last.at) < locatedFor {
		return last.mac, last.err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), locatePatience)
	defer cancel()
	mac, err := l.ask(ctx, a)
	if err != nil && !errors.Is(err, mikrotik.ErrUnknownDevice) {
		if ok && last.err == nil && now.Sub(last.at) < locatedLast {
			return last.mac, nil
		}
		return mac, fmt.Errorf("%w: %w", portal.ErrNoAnswer, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) >= maxLocated {
		for a, x := range l.known {
			if now.Sub(x.at) >= locatedFor {
				delete(l.known, a)
			}
		}
	}
	if len(l.known) < maxLocated {
		l.known[a] = located{mac, err, now}
	}
	return mac, err
}
