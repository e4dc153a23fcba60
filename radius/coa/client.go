package coa

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sort"
	"sync"
	"time"

	"zonegate"
	"zonegate/radius/nas"
)

// A Gate hears what became of errands; *zonegate.Gate is one.
type Gate interface {
	// Told says that a NAS has taken terms over, or will by itself.
	Told(context.Context, zonegate.SessionID, zonegate.Terms) error
	// Report says that a session is gone.
	Report(context.Context, zonegate.Report) error
}

// Options of a Client. Book and Gate must be set.
type Options struct {
	Book *nas.Book
	Gate Gate
	// Listen is where requests are sent from. CoovaChilli only hears the
	// address that it has as its RADIUS server, so on a gateway with several
	// this may have to be set. The zero value leaves it to the kernel.
	Listen netip.AddrPort
	// Idle is the Idle-Timeout that sessions get at login, for NASes that need
	// it said again with every change.
	Idle time.Duration
	// Interim is the accounting interval of NASes whose entry has none.
	Interim time.Duration
	// Wait says how long an answer is waited for after each of the three
	// sendings, the first being 0. Default 2 to 3 s.
	Wait   func(sending int) time.Duration
	Logger *slog.Logger
}

// How much is kept and done at once.
const (
	sendings = 3
	// maxWaiting bounds the errands that wait, maxKnown the sessions whose
	// state is remembered.
	maxWaiting = 4096
	maxKnown   = 8192
	// maxFlying bounds the requests without an answer, maxFlyingPeer those of
	// one NAS.
	maxFlying     = 256
	maxFlyingPeer = 16
	// keepSettled is how long what came of an errand is shown.
	keepSettled = 10 * time.Minute
)

// A Client carries errands to NASes. Its methods may be called from any
// goroutine; nothing is sent before Run.
type Client struct {
	o   Options
	log *slog.Logger
	// now and alarm are the clock; tests have their own.
	now   func() time.Time
	alarm func(at time.Time) <-chan time.Time

	// wake tells the loop that there is something to start, tell that the gate
	// has to hear something. Both hold one signal.
	wake, tell chan struct{}

	mu sync.Mutex
	// known has every session with an errand, waiting those to be started, the
	// oldest first.
	known   map[key]*entry
	waiting []key
	// heard is how long sessions had lasted when they were last heard of.
	heard map[key]heard
	peers map[netip.AddrPort]*peer
	// flying is the number of requests without an answer.
	flying int
	outbox []message
	// changed is called with mu held after a state has changed; for tests.
	changed func()
}

// A key names a session as its NAS does. A NAS cannot tell two sessions of the
// gate apart that have the same key.
type key struct{ path, key string }

type heard struct {
	lasted time.Duration
	at     time.Time
}

// New returns a Client.
func New(o Options) *Client {
	if o.Wait == nil {
		o.Wait = func(int) time.Duration { return 2*time.Second + rand.N(time.Second) }
	}
	if o.Interim == 0 {
		o.Interim = nas.DefaultInterim
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return &Client{
		o: o, log: o.Logger, now: time.Now,
		alarm: func(at time.Time) <-chan time.Time { return time.After(time.Until(at)) },
		wake:  make(chan struct{}, 1), tell: make(chan struct{}, 1),
		known: map[key]*entry{}, heard: map[key]heard{}, peers: map[netip.AddrPort]*peer{},
		changed: func() {},
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Dispatch takes an errand over. It never blocks. Of two errands for one
// session that wait, the newer is carried, but a stop stays a stop. When too
// many wait, changes are dropped before stops, and stops of the NAS that has
// most of them: the next report brings them again.
func (c *Client) Dispatch(e zonegate.Errand) {
	k := key{e.Session.Path, e.Session.Key}
	if k.key == "" || k.path == "" {
		return // it has not reported yet: there is nothing to name it by
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.known[k]
	if x == nil {
		c.forget()
		x = &entry{}
		c.known[k] = x
	}
	if x.exchange != nil && sameErrand(x.exchange.errand, e) {
		return // it is being asked just now
	}
	if x.waiting {
		old := x.errand
		stays := old.Stop && !e.Stop && old.Session.ID == e.Session.ID
		if stays || e.Session.ID < old.Session.ID {
			return
		}
	} else {
		if len(c.waiting) >= maxWaiting && !(e.Stop && (c.dropChange() || c.dropOfMost(k.path))) {
			if x.exchange == nil && x.state == "" {
				delete(c.known, k)
			}
			return
		}
		x.waiting = true
		c.waiting = append(c.waiting, k)
	}
	x.errand, x.at = e, c.now()
	c.settle(x, Asked, 0)
	signal(c.wake)
}

func sameErrand(a, b zonegate.Errand) bool {
	return a.Session.ID == b.Session.ID && a.Stop == b.Stop && (a.Stop || a.Terms == b.Terms)
}

// dropChange makes room for a stop.
func (c *Client) dropChange() bool {
	for _, k := range c.waiting {
		if x := c.known[k]; !x.errand.Stop {
			c.drop(k, x)
			return true
		}
	}
	return false
}

// dropOfMost makes room for an errand of a NAS at the cost of the one that has
// the most waiting, if that is another.
func (c *Client) dropOfMost(path string) bool {
	count := map[string]int{}
	most := path
	for _, k := range c.waiting {
		if count[k.path]++; count[k.path] > count[most] {
			most = k.path
		}
	}
	if most == path {
		return false
	}
	for _, k := range c.waiting {
		if k.path == most {
			c.drop(k, c.known[k])
			return true
		}
	}
	return false
}

// drop takes an errand that waits back.
func (c *Client) drop(k key, x *entry) {
	x.waiting, x.parked = false, false
	for i, w := range c.waiting {
		if w == k {
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			break
		}
	}
	if x.exchange == nil {
		delete(c.known, k)
	}
}

// forget keeps the number of remembered sessions bounded.
func (c *Client) forget() {
	if len(c.known) < maxKnown {
		return
	}
	for _, age := range []time.Duration{keepSettled, 0} {
		for k, x := range c.known {
			if !x.waiting && x.exchange == nil && c.now().Sub(x.since) >= age {
				delete(c.known, k)
			}
		}
		if len(c.known) < maxKnown {
			return
		}
	}
}

// Seen takes note of a report of accounting, after the gate has taken it. It
// never blocks. A change that the NAS has acknowledged, and that the gate has
// not handed out again with the report, is confirmed; a disconnection by the
// session's last report only.
func (c *Client) Seen(r zonegate.Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := key{r.NAS, r.Key}
	if r.Kind == zonegate.ReportStop {
		delete(c.heard, k)
	} else {
		c.hear(k, heard{r.Lasted, c.now()})
	}
	if p := c.peerOf(r.NAS); p != nil {
		c.reopen(p)
	}
	x := c.known[k]
	switch {
	case x == nil:
	case r.Kind == zonegate.ReportStop:
		// It is over: whatever was to be said.
		if x.waiting {
			c.drop(k, x)
		}
		c.settle(x, Confirmed, 0)
	case x.waiting:
		x.parked = false
	case x.state == Acked && !x.cut:
		c.settle(x, Confirmed, 0)
	}
	signal(c.wake)
}

// maxHeard bounds what is remembered of sessions without errands.
const maxHeard = 8192

// hear notes how long a session has lasted. Zero may only mean that the report
// does not say it: then the time since the first report is the least that it
// can be.
func (c *Client) hear(k key, h heard) {
	_, ok := c.heard[k]
	if ok && h.lasted == 0 {
		return
	}
	if !ok && len(c.heard) >= maxHeard {
		// Any one gives way: its session is heard of again.
		for old := range c.heard {
			delete(c.heard, old)
			break
		}
	}
	c.heard[k] = h
}

// lasted returns how long the session of an errand had lasted when the errand
// was handed out, because its TimeLeft counts from then: as the NAS says, or
// else as the end of its time and its beginning do, which are on one scale for
// calendar time only, or else since it was first heard of.
func (c *Client) lasted(k key, e *zonegate.Errand, at time.Time) (time.Duration, bool) {
	h, ok := c.heard[k]
	if e.Plan.Time == zonegate.Calendar && h.lasted == 0 {
		return max(0, e.Terms.Ends-e.TimeLeft-e.Session.Opened), true
	}
	if !ok {
		return 0, false
	}
	return max(0, h.lasted+at.Sub(h.at)), true
}

// A State is how far an errand has come.
type State string

const (
	// Asked: it waits or is under way.
	Asked State = "asked"
	// Acked: the NAS has said yes; nothing shows yet that it did it.
	Acked State = "acked"
	// Confirmed: a report that came later agrees, or the session has ended.
	Confirmed State = "confirmed"
	// Refused: the NAS has said no.
	Refused State = "refused"
	// Unreachable: the NAS does not answer, or may not be asked. A report of
	// the session tries again.
	Unreachable State = "unreachable"
	// Awaited: the NAS asks by itself, or the session gets it at its next
	// login.
	Awaited State = "awaited"
)

// A Status is what came of the latest errand of a session.
type Status struct {
	Session zonegate.SessionID
	// Path and Key are those of the session.
	Path, Key string
	// Stop says that the session shall end, otherwise its terms change. Cut
	// says that it is being disconnected, which a change may need too.
	Stop, Cut bool
	State     State
	// Cause is the Error-Cause of a refusal, zero if there was none.
	Cause uint32
	// Since is when it came to this state.
	Since time.Time
}

// An entry is what is known of one session.
type entry struct {
	errand zonegate.Errand
	// at is when the errand was handed out.
	at    time.Time
	state State
	cause uint32
	since time.Time
	// waiting: errand is to be started; parked: not before the next report.
	waiting, parked bool
	// cut says that the last request was a Disconnect-Request.
	cut bool
	// exchange is under way, perhaps for an earlier errand.
	exchange *exchange
}

// settle notes a state.
func (c *Client) settle(x *entry, s State, cause uint32) {
	x.state, x.cause, x.since = s, cause, c.now()
	c.changed()
}

// Snapshot returns what came of every session's latest errand, for about ten
// minutes after it is settled.
func (c *Client) Snapshot() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Status, 0, len(c.known))
	for k, x := range c.known {
		if x.state == Confirmed && !x.waiting && x.exchange == nil && c.now().Sub(x.since) >= keepSettled {
			delete(c.known, k)
			continue
		}
		list = append(list, Status{
			Session: x.errand.Session.ID, Path: k.path, Key: k.key, Stop: x.errand.Stop, Cut: x.cut,
			State: x.state, Cause: x.cause, Since: x.since,
		})
	}
	sort.Slice(list, func(i, j int) bool {
		return cmp.Or(cmp.Compare(list[i].Path, list[j].Path), cmp.Compare(list[i].Key, list[j].Key)) < 0
	})
	return list
}
