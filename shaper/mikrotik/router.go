package mikrotik

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"zonegate"
)

// A Config says which router enforces, and how.
type Config struct {
	// Address is the host and port of the API. The port is 8729 without one,
	// 8728 if Plain.
	Address string
	// User and Password are of a router's user whose group may api, read and
	// write.
	User, Password string
	// Fingerprint is the SHA-256 of the router's certificate in hex, colons
	// allowed.
	Fingerprint string
	// Plain uses no TLS. The password then crosses the wire in clear: only for
	// a cable or a container of the router itself.
	Plain bool
	// Server is the name of the hotspot server that customers are behind. It
	// may be empty if there is only one.
	Server string
	// Sessions says who lets customers in.
	Sessions Owner
	// Site is any text that no other gateway has, and that stays. It tells two
	// that enforce on one router from each other; without it they are taken
	// for one.
	Site string
	// LinkDown and LinkUp are what the uplink gives, in bit/s. Zero is not
	// known: then committed rates are not scaled.
	LinkDown, LinkUp uint64
	// Timeout bounds one command. Zero is 10 s.
	Timeout time.Duration
	// Report is how often the counters are read. Zero is 10 s.
	Report time.Duration
	Clock  zonegate.Clock
	Log    *slog.Logger
}

// Validate says what is missing.
func (c Config) Validate() error {
	var errs []error
	if c.Address == "" {
		errs = append(errs, errors.New("the router's address is missing"))
	}
	if c.User == "" {
		errs = append(errs, errors.New("the router's user is missing"))
	}
	if !c.Plain {
		b, err := hex.DecodeString(strings.NewReplacer(":", "", " ", "").Replace(c.Fingerprint))
		if err != nil || len(b) != 32 {
			errs = append(errs, errors.New("the fingerprint of the router's certificate must be 64 hex digits (SHA-256): /certificate/print detail shows it"))
		}
	}
	return errors.Join(errs...)
}

func (c Config) address() string {
	if _, _, err := net.SplitHostPort(c.Address); err == nil {
		return c.Address
	}
	if c.Plain {
		return net.JoinHostPort(c.Address, "8728")
	}
	return net.JoinHostPort(c.Address, "8729")
}

func (c Config) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return commandTimeout
}

// An Accountant takes what the router has counted.
type Accountant interface {
	Account(ctx context.Context, usage []zonegate.Usage) error
}

// A Router enforces sessions through a MikroTik. It is safe for concurrent
// use.
type Router struct {
	conf  Config
	log   *slog.Logger
	clock zonegate.Clock
	line  *line
	site  string

	accountant Accountant
	reports    reports
	// wake has the task look at once.
	wake chan struct{}

	mu       sync.Mutex
	grants   map[zonegate.GrantID]*grant
	sessions map[zonegate.SessionID]*session
	devices  map[zonegate.MAC]*session
	router   view
	scale    scales
	scaled   time.Time
	// lost are sessions that the router has ended, not dealt with yet.
	lost []*session
	// hostsRead says that hosts are all there are, so that asking for one is
	// of no use; hostsAt is when they were read.
	hostsRead bool
	hostsAt   time.Time
	// lookedAt is when the whole router was read.
	lookedAt time.Time
	// running says that the task is there to do what was left to it: the
	// backlog.
	running bool
	backlog []*grant

	// hosts has its own lock: the portal asks while sessions are set up. A MAC
	// may have several.
	hostsMu sync.Mutex
	hosts   map[zonegate.MAC][]host
}

var _ zonegate.Enforcer = (*Router)(nil)

// A host is where a device is: the address it uses, and the one that the
// router gives it inside (the same unless it came with one of its own).
type host struct{ address, inside netip.Addr }

// A grant is one hotspot user.
type grant struct {
	id      zonegate.GrantID
	by      string // the gateway, in its mark
	rate    zonegate.Rate
	devices int
	until   time.Duration
	// allowance is [zonegate.Order.Allowance].
	allowance uint64
	ordered   bool // not only found on the router

	// What the router has.
	userID, name, profile, comment string
	limit                          uint64        // limit-bytes-total
	told                           time.Duration // until, as limit-uptime stands for it; -1 is not known
	password                       string
	queue                          queue
	duplicates                     []string // other users with our mark

	// gone is what sessions that have ended used of this user's counters, and
	// before what the present ones had used when it was made: the counters are
	// gone, plus what the sessions have used, less before.
	gone, before zonegate.Octets
	sessions     []*session
	// departed are sessions that ended, while the accountant does not know
	// their last counters: orders are worked out without them.
	departed []*session
	spent    bool
	// stale says that a session of it was lost, so its queue may be wrong, and
	// due that it was ordered anew and the router not brought to it yet.
	stale, due bool
}

// A queue is a grant's simple queue.
type queue struct {
	id, targets, parent string
	limitAt, maxLimit   pace
}

// octets is what the sessions of the grant have used.
func (g *grant) octets() (sum zonegate.Octets) {
	for _, x := range g.sessions {
		sum = plus(sum, x.octets)
	}
	return sum
}

func (g *grant) used() uint64 { return g.octets().Total() }

func (g *grant) online() (n int) {
	for _, x := range g.sessions {
		if x.online {
			n++
		}
	}
	return n
}

// A session is one device of a grant; while it is online, one entry of
// /ip/hotspot/active.
type session struct {
	id     zonegate.SessionID
	device zonegate.MAC // zero once another session has it
	grant  *grant

	online   bool
	activeID string // empty just after the login
	at       host
	// timeLeft is the router's session-time-left, -1 if it tells none.
	timeLeft time.Duration
	// octets is cumulative; base is what of it the entry's counters lack.
	octets, base zonegate.Octets
	moved        time.Time
	// reported was last queued for the accountant, and known is what it has.
	reported, known zonegate.Octets
}

func (x *session) usage() zonegate.Usage {
	return zonegate.Usage{Session: x.id, Octets: x.octets, Spent: x.grant != nil && x.grant.spent}
}

// New returns a Router. It connects when it is first used.
func New(c Config) (*Router, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Report <= 0 {
		c.Report = 10 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		return nil, errors.New("a data path needs a clock")
	}
	return &Router{
		conf: c, log: c.Log, clock: c.Clock, line: newLine(c), site: siteTag(c.Site),
		reports: reports{ready: make(chan struct{}, 1)}, wake: make(chan struct{}, 1),
		grants:   map[zonegate.GrantID]*grant{},
		sessions: map[zonegate.SessionID]*session{},
		devices:  map[zonegate.MAC]*session{},
		hosts:    map[zonegate.MAC][]host{},
		scale:    scales{1, 1},
	}, nil
}

// ReportTo has usage reported to an accountant by [Router.Run]. Call it before
// Run.
func (r *Router) ReportTo(a Accountant) { r.accountant = a }

// Close ends the connection. The router goes on with what it was told.
func (r *Router) Close() error { return r.line.Close() }

// Info connects and returns what the router says of itself.
func (r *Router) Info(ctx context.Context) (Info, error) {
	if _, err := r.line.current(ctx); err != nil {
		return Info{}, err
	}
	if err := r.line.take(ctx); err != nil {
		return Info{}, err
	}
	defer r.line.give()
	return r.line.info, nil
}

// ErrUnknownDevice means that the router knows no device with the address.
var ErrUnknownDevice = errors.New("no device behind the hotspot has this address")

const hostProps = "mac-address,address,to-address"

// Locate returns the MAC of the customer with an IPv4 address: from the hosts
// of the hotspot, or else from the ARP table. [ErrUnknownDevice] if it is in
// neither; the hotspot of RouterOS knows no IPv6.
func (r *Router) Locate(ctx context.Context, a netip.Addr) (zonegate.MAC, error) {
	a = a.Unmap().WithZone("")
	if !a.Is4() {
		return zonegate.MAC{}, fmt.Errorf("%s: %w", a, ErrUnknownDevice)
	}
	list, err := r.line.print(ctx, "/ip/hotspot/host", hostProps, "?address="+a.String(), "?to-address="+a.String(), "?#|")
	if err != nil {
		return zonegate.MAC{}, fmt.Errorf("looking for %s: %w", a, err)
	}
	for _, h := range list {
		if mac, ok := h.mac(); ok {
			r.saw(h, true)
			return mac, nil
		}
	}
	list, err = r.line.print(ctx, "/ip/arp", "mac-address,address", "?address="+a.String())
	if err != nil {
		return zonegate.MAC{}, fmt.Errorf("looking for %s: %w", a, err)
	}
	for _, h := range list {
		if mac, ok := h.mac(); ok {
			return mac, nil
		}
	}
	return zonegate.MAC{}, fmt.Errorf("%s: %w", a, ErrUnknownDevice)
}

// saw remembers where a device is: there rather than elsewhere, if it has just
// asked from there.
func (r *Router) saw(h row, asked bool) {
	mac, ok := h.mac()
	a, err := netip.ParseAddr(h["address"])
	if !ok || err != nil {
		return
	}
	at := host{a, a}
	if in, err := netip.ParseAddr(h["to-address"]); err == nil && in.IsValid() && !in.IsUnspecified() {
		at.inside = in
	}
	r.hostsMu.Lock()
	defer r.hostsMu.Unlock()
	var rest []host
	for _, x := range r.hosts[mac] {
		if x.address != at.address {
			rest = append(rest, x)
		}
	}
	if asked {
		r.hosts[mac] = append([]host{at}, rest...)
	} else {
		r.hosts[mac] = append(rest, at)
	}
}

// where returns the address at which a device was last seen: the one that it
// had before, if it is still there, because whoever copies its MAC comes with
// another.
func (r *Router) where(mac zonegate.MAC, before host) (host, bool) {
	r.hostsMu.Lock()
	defer r.hostsMu.Unlock()
	list := r.hosts[mac]
	if len(list) == 0 {
		return host{}, false
	}
	for _, x := range list {
		if before.inside.IsValid() && (x.inside == before.inside || x.address == before.address) {
			return x, true
		}
	}
	return list[0], true
}

func (r *Router) forget(mac zonegate.MAC) {
	r.hostsMu.Lock()
	defer r.hostsMu.Unlock()
	delete(r.hosts, mac)
}

// readHosts brings the addresses up to date: of one device, or of all.
func (r *Router) readHosts(ctx context.Context, query ...string) error {
	list, err := r.line.print(ctx, "/ip/hotspot/host", hostProps, query...)
	if err != nil {
		return fmt.Errorf("reading the hosts: %w", err)
	}
	if len(query) == 0 {
		r.hostsMu.Lock()
		clear(r.hosts)
		r.hostsMu.Unlock()
		r.hostsAt = time.Now()
	}
	for _, h := range list {
		r.saw(h, false)
	}
	return nil
}
