package portal_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/portal"
)

// A memoryJournal keeps records as long as it is told to.
type memoryJournal struct {
	mu   sync.Mutex
	seq  uint64
	fail error
}

func (j *memoryJournal) Append(records []zonegate.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail != nil {
		return j.fail
	}
	j.seq += uint64(len(records))
	return nil
}

func (j *memoryJournal) Reopen() (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.seq, j.fail
}

func (j *memoryJournal) break_(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fail = err
}

// An emptyArchive knows nothing: the state keeps everything.
type emptyArchive struct{}

func (emptyArchive) Voucher(zonegate.VoucherKey) (zonegate.Voucher, bool, error) {
	return zonegate.Voucher{}, false, nil
}
func (emptyArchive) Grant(zonegate.GrantID) (zonegate.Grant, bool, error) {
	return zonegate.Grant{}, false, nil
}
func (emptyArchive) Entries(uint64, int) ([]zonegate.Entry, error) { return nil, nil }
func (emptyArchive) Save(zonegate.Changes) error                   { return nil }

// A dataPath accepts every order, or none.
type dataPath struct {
	mu   sync.Mutex
	fail error
}

func (d *dataPath) Apply(context.Context, []zonegate.Order) error { return d.err() }
func (d *dataPath) Change(context.Context, []zonegate.Order, []zonegate.SessionID) error {
	return d.err()
}
func (d *dataPath) Usage(context.Context) ([]zonegate.Usage, error) { return nil, nil }

func (d *dataPath) err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fail
}

func (d *dataPath) break_(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = err
}

// A handClock is moved by hand.
type handClock struct {
	mu  sync.Mutex
	now zonegate.Instant
}

func (c *handClock) Now() zonegate.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Mono += d
	c.now.Wall = c.now.Wall.Add(d)
}

// neighbours are the devices that the link knows.
type neighbours struct {
	mu     sync.Mutex
	known  map[netip.Addr]zonegate.MAC
	asked  int
	away   error
	always func(netip.Addr) zonegate.MAC
}

func (n *neighbours) Locate(_ context.Context, a netip.Addr) (zonegate.MAC, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	if n.away != nil {
		return zonegate.MAC{}, n.away
	}
	if n.always != nil {
		return n.always(a), nil
	}
	mac, ok := n.known[a]
	if !ok {
		return zonegate.MAC{}, errors.New("no neighbour entry")
	}
	return mac, nil
}

// Addresses of the tests: two phones and the gateway.
const (
	phoneA = "192.168.77.10"
	phoneB = "192.168.77.11"
	lan    = "192.168.77.1"
	host   = lan + ":2050"
)

var (
	macA = zonegate.MAC{2, 0, 0, 0, 0, 0xa}
	macB = zonegate.MAC{2, 0, 0, 0, 0, 0xb}
)

// A zone is a portal over a real Gate.
type zone struct {
	t       testing.TB
	gate    *zonegate.Gate
	journal *memoryJournal
	path    *dataPath
	clock   *handClock
	links   *neighbours
	server  *portal.Server
	handler http.Handler
	logged  *syncBuffer
	stop    func()
}

var (
	hour = zonegate.Plan{
		ID: "a-hour", Name: "1 heure", Price: zonegate.Money{Amount: 100, Currency: "XOF"},
		Duration: time.Hour, DevicesMax: 1,
		Rate: zonegate.Rate{CIRDown: 512_000, CIRUp: 128_000, MIRDown: 2_000_000, MIRUp: 512_000},
	}
	day = zonegate.Plan{
		ID: "b-day", Name: "Forfait jour", Price: zonegate.Money{Amount: 200, Currency: "XOF"},
		Duration: 24 * time.Hour, DataCap: 500_000_000, DevicesMax: 1,
		Rate: zonegate.Rate{CIRDown: 1_000_000, CIRUp: 256_000, MIRDown: 4_000_000, MIRUp: 1_000_000},
	}
	month = zonegate.Plan{
		ID: "c-month", Name: "Famille 30 jours", Price: zonegate.Money{Amount: 5000, Currency: "XOF"},
		Duration: 30 * 24 * time.Hour, DataCap: 20_000_000_000, DevicesMax: 3, Time: zonegate.Online,
		Rate: zonegate.Rate{MIRDown: 5_000_000, MIRUp: 1_000_000},
	}
)

func newZone(t testing.TB) *zone {
	t.Helper()
	z := &zone{
		t: t, journal: &memoryJournal{}, path: &dataPath{}, logged: &syncBuffer{},
		clock: &handClock{now: zonegate.Instant{Boot: "boot", Wall: time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC), Trusted: true}},
		links: &neighbours{known: map[netip.Addr]zonegate.MAC{
			netip.MustParseAddr(phoneA):         macA,
			netip.MustParseAddr(phoneB):         macB,
			netip.MustParseAddr("127.0.0.1"):    macA,
			netip.MustParseAddr("fd77::10"):     macA,
			netip.MustParseAddr("fe80::a%lan0"): macA,
		}},
	}
	z.gate = zonegate.NewGate(zonegate.NewState(nil, zonegate.Changes{}), z.journal, emptyArchive{}, z.path, z.clock, zonegate.Options{
		RefusalTime: -1,
		// The same keys and codes in every run, for the pages in testdata.
		Random:   rand.NewChaCha8([32]byte{1}),
		Guessing: zonegate.Guessing{ZoneRate: 1 << 30},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- z.gate.Run(ctx) }()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	z.stop = stop
	if err := z.gate.SetPlans(ctx, []zonegate.Plan{hour, day, month}, false); err != nil {
		t.Fatal(err)
	}
	z.server = &portal.Server{
		Gate: z.gate, Locator: z.links,
		Addrs: []netip.Addr{netip.MustParseAddr(lan), netip.MustParseAddr("fd77::1")}, Port: 2050,
		Zone: "Chez Awa", Contact: "+229 01 97 00 00 00",
		TimeZone: time.FixedZone("WAT", 3600),
		Logger:   slog.New(slog.NewTextHandler(z.logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	z.handler = z.server.Handler()
	return z
}

type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// codes adds vouchers of a plan.
func (z *zone) codes(plan string, n int) []string {
	z.t.Helper()
	codes, err := z.gate.CreateVouchers(context.Background(), zonegate.Batch{Name: "test", Plan: plan}, n)
	if err != nil {
		z.t.Fatal(err)
	}
	return codes
}

// redeem turns a new voucher into a grant and returns what the device then
// has.
func (z *zone) redeem(plan string, mac zonegate.MAC) zonegate.Standing {
	z.t.Helper()
	st, err := z.gate.Redeem(context.Background(), zonegate.Redemption{Code: z.codes(plan, 1)[0], Device: mac})
	if err != nil {
		z.t.Fatal(err)
	}
	return st
}

// A call is one request to make.
type call struct {
	method, target string
	from           string
	host           string
	form           url.Values
	accept, lang   string
	header         map[string]string
}

func (z *zone) request(c call) *http.Request {
	if c.from == "" {
		c.from = phoneA
	}
	if c.host == "" {
		c.host = host
	}
	var body io.Reader
	if c.form != nil {
		body = strings.NewReader(c.form.Encode())
	}
	if c.method == "" {
		c.method = http.MethodGet
		if c.form != nil {
			c.method = http.MethodPost
		}
	}
	r := httptest.NewRequest(c.method, c.target, body)
	r.Host = c.host
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(c.from), 40000).String()
	if c.form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if c.accept != "" {
		r.Header.Set("Accept", c.accept)
	}
	if c.lang != "" {
		r.Header.Set("Accept-Language", c.lang)
	}
	for k, v := range c.header {
		r.Header.Set(k, v)
	}
	return r
}

func (z *zone) do(c call) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	z.handler.ServeHTTP(w, z.request(c))
	return w
}

const (
	browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"
	program = "application/json"
	anybody = "*/*"
)

func withLocal(ctx context.Context, a net.Addr) context.Context {
	return context.WithValue(ctx, http.LocalAddrContextKey, a)
}
