package kernel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"zonegate"
	"zonegate/shaper"
	"zonegate/shaper/kernel/nft"
)

var (
	// ErrForeignQdisc means that another program shapes one of our devices.
	ErrForeignQdisc = errors.New("another traffic shaper (SQM, qosify, a script) holds the device: turn it off for this device")
	// ErrNoDevice means that a configured device does not exist (now).
	ErrNoDevice = errors.New("no such network device: check the name, or wait until it appears")
	// ErrOwned means that another process enforces already.
	ErrOwned = errors.New("another process owns the table inet zonegate: stop the other zonegate first")
	// ErrNoHTB means that the kernel cannot shape.
	ErrNoHTB = errors.New("the kernel has no HTB: install kmod-sched-core; until then only maximum rates are enforced")
)

// An Accountant takes what the data path reports. [zonegate.Gate] is one.
type Accountant interface {
	Account(ctx context.Context, usage []zonegate.Usage) error
}

// A Config says what to enforce on. Everything without a default is required.
type Config struct {
	// LAN is the device (usually a bridge) that customers are on.
	LAN string
	// WAN are the devices to the internet. A session's upload rate holds on
	// each of them.
	WAN []string
	// LinkDown and LinkUp are what the uplink gives, in bit/s.
	LinkDown, LinkUp uint64
	// PortalPort and DNSPort are where strangers' web and name requests go.
	PortalPort, DNSPort uint16
	// Prefixes are the addresses that customers may use besides those of the
	// LAN device's own networks.
	Prefixes []netip.Prefix
	// Garden is the rate of all walled-garden traffic together, per direction,
	// in bit/s. Zero is a tenth of the link.
	Garden uint64
	// Isolate keeps the stations behind different ports of the LAN bridge from
	// reaching each other.
	Isolate bool
	// RouteBit is the packet mark bit of packets that may be routed from and
	// to the LAN. Zero is 0x8000000. No other program may use it.
	RouteBit uint32
	// RulePriority is the priority of our routing rules. Zero is 20.
	RulePriority int
	// Shared leaves the table open to changes by others, where the kernel
	// could reserve it for this process.
	Shared bool
	// Police bounds rates by dropping in the table, as on a kernel without HTB:
	// no committed rates, no queues.
	Police bool
	// Report is how often usage is reported. Zero is 10 s.
	Report time.Duration
	Clock  zonegate.Clock
	Log    *slog.Logger
}

// A Shaper enforces sessions on this machine, in the network namespace that
// [New] was called in. It is safe for concurrent use.
type Shaper struct {
	conf  Config
	log   *slog.Logger
	clock zonegate.Clock

	nft   *nft.Conn
	tc    *rtnl           // single classes and changes
	bulk  *rtnl           // long dumps, which must not delay the former
	route *netlink.Handle // links, addresses, rules

	// liberal is the setting that keeps conntrack from refusing the packets of
	// connections whose window it has lost sight of; nil if there is none.
	liberal *os.File

	watch *nft.Monitor
	hints *hints

	accountant Accountant

	mu         sync.Mutex
	closed     bool
	adopted    bool // the kernel's state has been read
	settled    bool // an Apply has happened
	flags      nft.TableFlags
	table      bool // the table is there as it should be
	leaf       leafKind
	police     bool // no HTB: limits and counts in the table
	lan        *link
	wans       []*link
	prefixes   []netip.Prefix
	garden     map[netip.Addr]time.Time
	payHosts   map[netip.Addr]time.Time
	payers     map[zonegate.MAC]*payer
	payMark    uint32 // the last one given
	sessions   map[zonegate.SessionID]*session
	grants     map[zonegate.GrantID]*grant
	devices    map[zonegate.MAC]*session
	quotas     map[string]*grant
	minors     minors
	scale      scales
	scaled     time.Time
	stray      stray // what the kernel holds and nobody wants
	generation uint32
	findings   map[string]string

	repairAt time.Time // zero: nothing to repair

	reports reports
	wake    chan struct{} // the clock task's plan has changed
}

// A session is one that the kernel holds.
type session struct {
	order  zonegate.Order
	grant  *grant // nil until the first Apply, if adopted
	minor  uint16 // of its class on every device
	parent uint16 // of that class
	placed placed // what the table holds
	next   placed // what the batch in the making brings
	// base is what was delivered through classes that are gone; sent what the
	// present ones have sent, by link.
	base zonegate.Octets
	sent []uint64
	// wait is what waits in its queues, by link, as last seen.
	wait []uint64
	// born is when its classes were made: an older dump does not mean them.
	born time.Time
	// moved is when its counters were last seen to grow.
	moved time.Time
	// spent says that its grant's allowance is used up and it was stopped.
	spent    bool
	reported zonegate.Octets
}

func (x *session) octets() zonegate.Octets {
	o := x.base
	for i, n := range x.sent {
		if i == 0 {
			o.Down += n
		} else {
			o.Up += n
		}
	}
	return o
}

// New opens what is needed to talk to the kernel and changes nothing yet.
func New(c Config) (_ *Shaper, err error) {
	if c.RouteBit == 0 {
		c.RouteBit = 0x8000000
	}
	if c.RulePriority == 0 {
		c.RulePriority = 20
	}
	if c.Report == 0 {
		c.Report = 10 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.LAN == "" || len(c.WAN) == 0 || slices.Contains(c.WAN, c.LAN) {
		return nil, errors.New("a LAN device and at least one other WAN device are needed")
	}
	if c.LinkDown == 0 || c.LinkUp == 0 || c.Clock == nil {
		return nil, errors.New("the link's rates and a clock are needed")
	}
	s := &Shaper{
		conf: c, log: c.Log, clock: c.Clock,
		lan:      &link{name: c.LAN, major: majorDown, bits: c.LinkDown},
		garden:   map[netip.Addr]time.Time{},
		payHosts: map[netip.Addr]time.Time{},
		payers:   map[zonegate.MAC]*payer{},
		payMark:  firstPayMark,
		sessions: map[zonegate.SessionID]*session{},
		grants:   map[zonegate.GrantID]*grant{},
		devices:  map[zonegate.MAC]*session{},
		quotas:   map[string]*grant{},
		findings: map[string]string{},
		wake:     make(chan struct{}, 1),
		police:   c.Police,
	}
	s.scale = scales{down: 1, up: 1}
	s.reports.ready = make(chan struct{}, 1)
	for i, name := range c.WAN {
		s.wans = append(s.wans, &link{name: name, major: majorUp, bits: c.LinkUp, at: i + 1})
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.nft, err = nft.Dial(); err != nil {
		return nil, err
	}
	// Settings belong to the network namespace of the thread that opens them.
	if f, err := os.OpenFile("/proc/sys/"+liberalSetting, os.O_RDWR, 0); err == nil {
		s.liberal = f
	}
	if s.watch, err = nft.NewMonitor(); err != nil {
		return nil, err
	}
	if s.tc, err = dialRTNL(); err != nil {
		return nil, fmt.Errorf("opening traffic control socket: %w", err)
	}
	if s.bulk, err = dialRTNL(); err != nil {
		return nil, fmt.Errorf("opening traffic control socket: %w", err)
	}
	if s.route, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("opening routing socket: %w", err)
	}
	if s.hints, err = newHints(); err != nil {
		return nil, err
	}
	return s, nil
}

// ReportTo says who takes the usage. Call it before Run.
func (s *Shaper) ReportTo(a Accountant) { s.accountant = a }

// Close gives up the sockets. What the kernel enforces goes on.
func (s *Shaper) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	if s.nft != nil {
		errs = append(errs, s.nft.Close())
	}
	if s.watch != nil {
		errs = append(errs, s.watch.Close())
	}
	for _, c := range []*rtnl{s.tc, s.bulk} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	if s.route != nil {
		s.route.Close()
	}
	if s.hints != nil {
		errs = append(errs, s.hints.Close())
	}
	if s.liberal != nil {
		errs = append(errs, s.liberal.Close())
	}
	return errors.Join(errs...)
}

// usage is what there is to say about a session now.
func (x *session) usage() zonegate.Usage {
	return zonegate.Usage{
		Session: x.order.Session, Octets: x.octets(),
		Spent: x.spent && x.grant != nil && x.grant.empty,
	}
}

var _ zonegate.Enforcer = (*Shaper)(nil)

// Apply implements [zonegate.Enforcer]. It compares with what the kernel
// really holds.
func (s *Shaper) Apply(ctx context.Context, want []zonegate.Order) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	var errs []error
	if err := s.prepare(); err != nil {
		errs = append(errs, err)
	}
	if err := s.adopt(); err != nil {
		errs = append(errs, err)
	}
	have := make(map[zonegate.SessionID]zonegate.Order, len(s.sessions))
	for id, x := range s.sessions {
		have[id] = x.order
	}
	set, stop := shaper.Diff(want, have)
	s.settled = true
	errs = append(errs, s.change(set, stop), s.dropStrayClasses(), s.sweep())
	s.scaled = time.Now()
	return errors.Join(errs...)
}

// Change implements [zonegate.Enforcer].
func (s *Shaper) Change(ctx context.Context, set []zonegate.Order, stop []zonegate.SessionID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.adopted || !s.table {
		var errs []error
		errs = append(errs, s.prepare(), s.adopt())
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return s.change(set, stop)
}

// Usage implements [zonegate.Enforcer].
func (s *Shaper) Usage(ctx context.Context) ([]zonegate.Usage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.adopt()
	if err == nil {
		err = s.sweep()
	}
	usage := make([]zonegate.Usage, 0, len(s.sessions))
	for _, x := range s.sessions {
		usage = append(usage, x.usage())
	}
	sort.Slice(usage, func(i, j int) bool { return usage[i].Session < usage[j].Session })
	return usage, err
}

// Allow lets strangers reach addresses for as long as ttl (what a name server
// said about a name of the walled garden).
func (s *Shaper) Allow(ctx context.Context, addrs []netip.Addr, ttl time.Duration) error {
	return s.allow(ctx, s.garden, setGarden4, setGarden6, addrs, ttl)
}

// allow puts addresses into the sets of a garden, known here by a map.
func (s *Shaper) allow(ctx context.Context, known map[netip.Addr]time.Time, v4, v6 *nft.Set, addrs []netip.Addr, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	now := time.Now()
	ttl = max(ttl, time.Second)
	var b nft.Batch
	for _, a := range addrs {
		a = a.Unmap().WithZone("")
		if !a.IsGlobalUnicast() || len(known) >= maxGarden {
			continue
		}
		if until, ok := known[a]; ok && now.Add(ttl).Sub(until) < ttl/4 {
			continue // lasts long enough
		}
		known[a] = now.Add(ttl)
		addGarden(&b, v4, v6, a, ttl)
	}
	if b.Len() == 0 || !s.table {
		return nil
	}
	return s.commit(&b)
}

// maxGarden bounds a walled garden.
const maxGarden = 8192

func addGarden(b *nft.Batch, v4, v6 *nft.Set, a netip.Addr, ttl time.Duration) {
	set := v6
	if a.Is4() {
		set = v4
	}
	e := nft.Element{Key: nft.Addr(a), Timeout: ttl}
	b.AddElements(set, e) // so that it can be deleted
	b.DelElements(set, e)
	b.AddElements(set, e)
}
