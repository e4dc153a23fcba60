package coa

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/radius/coa/fakenas"
	"zonegate/radius/nas"
)

const secret = "k3mv-82qa-zp5t-w7"

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// A clock only moves when it is told to.
type clock struct {
	mu     sync.Mutex
	t      time.Time
	alarms map[chan time.Time]time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) alarm(at time.Time) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := make(chan time.Time, 1)
	if !at.After(c.t) {
		ch <- c.t
	} else {
		c.alarms[ch] = at
	}
	return ch
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
	for ch, at := range c.alarms {
		if !at.After(c.t) {
			ch <- c.t
			delete(c.alarms, ch)
		}
	}
}

// A gate writes down what it hears.
type gate struct {
	told    chan told
	reports chan zonegate.Report
}

type told struct {
	session zonegate.SessionID
	terms   zonegate.Terms
}

func (g *gate) Told(_ context.Context, id zonegate.SessionID, t zonegate.Terms) error {
	g.told <- told{id, t}
	return nil
}

func (g *gate) Report(_ context.Context, r zonegate.Report) error {
	g.reports <- r
	return nil
}

// A bench is a client, a clock, a gate and NASes on the loopback network.
type bench struct {
	t       *testing.T
	client  *Client
	book    *nas.Book
	gate    *gate
	clock   *clock
	changed chan struct{}
	nases   int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := idleBench(t)
	b.run()
	return b
}

// idleBench does not run yet.
func idleBench(t *testing.T) *bench {
	t.Helper()
	book, err := nas.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{
		t: t, book: book, changed: make(chan struct{}, 1),
		gate:  &gate{told: make(chan told, 4096), reports: make(chan zonegate.Report, 4096)},
		clock: &clock{t: time.Now(), alarms: map[chan time.Time]time.Time{}},
	}
	b.client = New(Options{
		Book: book, Gate: b.gate, Listen: netip.MustParseAddrPort("127.0.0.1:0"), Idle: 10 * time.Minute, Interim: 2 * time.Minute,
		Wait: func(int) time.Duration { return 3 * time.Second },
	})
	b.client.now, b.client.alarm = b.clock.now, b.clock.alarm
	b.client.changed = func() { signal(b.changed) }
	return b
}

func (b *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.client.Run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("the client ended with %v", err)
		}
	})
}

// nas starts a NAS and puts it into the book under its make.
func (b *bench) nas(vendor nas.Vendor, m fakenas.Make) (*fakenas.NAS, string) {
	b.t.Helper()
	b.nases++
	addr := fmt.Sprintf("127.0.1.%d", b.nases)
	n, err := fakenas.Listen(addr+":0", m, secret)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Serve(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("a NAS ended with %v", err)
		}
	})
	name := fmt.Sprintf("nas%d", b.nases)
	b.add(name, addr, vendor, n.Addr().Port())
	return n, name
}

func (b *bench) add(name, addr string, vendor nas.Vendor, port uint16) {
	b.t.Helper()
	prefix, err := nas.ParsePrefix(addr)
	if err == nil {
		err = b.book.Add(nas.NAS{Name: name, Prefix: prefix, Secret: nas.Secret(secret), Vendor: vendor, CoAPort: port}, false)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// session is one that its NAS and the gate know.
func session(n *fakenas.NAS, path, id string) zonegate.Session {
	h := nas.Handle{
		UserName: "7K3Q-9VWX", SessionID: id, FramedIP: netip.MustParseAddr("10.5.50.7"), CallingStation: "AA-BB-CC-DD-EE-FF",
		CalledStation: "hotspot1", NASIP: netip.MustParseAddr("192.168.88.1"), NASIdentifier: "roof", NASPortID: "bridge", HasNASPort: true,
	}
	if n != nil {
		n.Put(fakenas.Session{User: h.UserName, ID: id, Calling: h.CallingStation, IP: h.FramedIP, NASIP: h.NASIP,
			Timeout: 3600, Idle: 600, Interim: 120, Octets: 1000, Up: 1, Down: 1})
	}
	return zonegate.Session{
		ID: 7, Grant: 3, Device: zonegate.MAC{0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}, Path: path, Key: id, Handle: h.Encode(),
		Terms:  zonegate.Terms{Plan: zonegate.PlanRef{ID: "day", Version: 1}, Limit: 1000, Ends: 10 * time.Hour},
		Opened: 9 * time.Hour,
	}
}

// topUp gives a session more of both; it has lasted ten minutes.
func topUp(s zonegate.Session) zonegate.Errand {
	e := zonegate.Errand{Session: s, Terms: s.Terms, Plan: zonegate.Plan{Rate: zonegate.Rate{MIRUp: 1_000_000, MIRDown: 4_000_000}}}
	e.Terms.Limit, e.Terms.Ends = 1<<32+5, 11*time.Hour
	e.TimeLeft = e.Terms.Ends - 9*time.Hour - 10*time.Minute
	return e
}

// faster changes the rate alone.
func faster(s zonegate.Session) zonegate.Errand {
	e := topUp(s)
	e.Terms = s.Terms
	e.Terms.Plan.Version = 2
	e.TimeLeft = 50 * time.Minute
	return e
}

// less takes octets away.
func less(s zonegate.Session) zonegate.Errand {
	e := faster(s)
	e.Terms = s.Terms
	e.Terms.Limit = 500
	return e
}

func stop(s zonegate.Session) zonegate.Errand {
	s.Stopped = true
	return zonegate.Errand{Stop: true, Session: s}
}

// request waits for the next request at a NAS.
func (b *bench) request(n *fakenas.NAS) fakenas.Request {
	b.t.Helper()
	select {
	case r := <-n.Requests():
		return r
	case <-time.After(patience):
		b.t.Fatalf("no request; the client says %+v", b.client.Snapshot())
		panic("unreachable")
	}
}

// quiet says that nothing has reached a NAS. What is awaited before it must
// come after whatever would have been sent.
func (b *bench) quiet(n *fakenas.NAS) {
	b.t.Helper()
	select {
	case r := <-n.Requests():
		b.t.Errorf("an unexpected request %d with %v", r.Code, r.Attributes)
	default:
	}
}

// state waits until a session's errand has come to a state.
func (b *bench) state(s zonegate.Session, want State) Status {
	b.t.Helper()
	deadline := time.After(patience)
	for {
		var last Status
		for _, x := range b.client.Snapshot() {
			if x.Path == s.Path && x.Key == s.Key {
				last = x
			}
		}
		if last.State == want {
			return last
		}
		select {
		case <-b.changed:
		case <-deadline:
			b.t.Fatalf("the errand for %s is %+v, not %s", s.Key, last, want)
		}
	}
}

func (b *bench) told() told {
	b.t.Helper()
	select {
	case x := <-b.gate.told:
		return x
	case <-time.After(patience):
		b.t.Fatal("the gate was not told")
		panic("unreachable")
	}
}

func (b *bench) report() zonegate.Report {
	b.t.Helper()
	select {
	case x := <-b.gate.reports:
		return x
	case <-time.After(patience):
		b.t.Fatal("the gate got no report")
		panic("unreachable")
	}
}

func (b *bench) noMessages() {
	b.t.Helper()
	if len(b.gate.told)+len(b.gate.reports) != 0 {
		b.t.Errorf("the gate heard %d and %d things", len(b.gate.told), len(b.gate.reports))
	}
}

func seen(s zonegate.Session, kind zonegate.ReportKind) zonegate.Report {
	return zonegate.Report{NAS: s.Path, Key: s.Key, Kind: kind}
}
