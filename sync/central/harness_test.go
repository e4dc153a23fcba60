package central

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/internal/store"
	"zonegate/sync/api"
)

// quick is the pace of tests: everything soon, but nothing so short that a
// busy machine makes a difference.
var quick = pace{
	header:       20 * time.Second,
	breakerFirst: 20 * time.Millisecond, breakerMost: 80 * time.Millisecond,
	retryFirst: 8 * time.Millisecond, retryMost: 40 * time.Millisecond,
	beat: 30 * time.Millisecond, trialBeat: 300 * time.Millisecond, denied: 60 * time.Millisecond,
	firstSign: 20 * time.Second, silence: 20 * time.Second, settled: time.Hour,
	poll: 20 * time.Millisecond, streamAgain: time.Hour,
	look: 5 * time.Millisecond, usage: time.Hour, keep: time.Hour, conflict: time.Hour,
	trial: 1500 * time.Millisecond, check: 10 * time.Millisecond,
	slow: 20 * time.Second,
}

// eventually waits for something that another goroutine does.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("it never happened: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

var day = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// A handClock runs with the machine's monotonic clock, from a wall time that
// the test sets.
type handClock struct {
	mu      sync.Mutex
	began   time.Time
	boot    string
	wall    time.Time
	trusted bool
	told    []time.Time
}

func newClock(wall time.Time, trusted bool) *handClock {
	return &handClock{began: time.Now(), boot: "boot", wall: wall, trusted: trusted}
}

func (c *handClock) Now() zonegate.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	mono := time.Since(c.began)
	return zonegate.Instant{Boot: c.boot, Mono: time.Minute + mono, Wall: c.wall.Add(mono), Trusted: c.trusted}
}

func (c *handClock) Trust(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, t)
	if !c.trusted {
		c.trusted, c.wall = true, t.Add(-time.Since(c.began))
	}
}

func (c *handClock) set(f func(*handClock)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

// A dataPath accepts every order.
type dataPath struct{}

func (dataPath) Apply(context.Context, []zonegate.Order) error { return nil }
func (dataPath) Change(context.Context, []zonegate.Order, []zonegate.SessionID) error {
	return nil
}
func (dataPath) Usage(context.Context) ([]zonegate.Usage, error) { return nil, nil }

// knobs are the settings of a gateway.
type knobs struct {
	mu     sync.Mutex
	values map[string]string
	log    []string
	fail   map[string]error // by value
	sick   error
}

func (k *knobs) Set(name, value string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.fail[value]; err != nil {
		return err
	}
	k.values[name] = value
	k.log = append(k.log, name+"="+value)
	return nil
}

func (k *knobs) get(name string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.values[name]
}

func (k *knobs) healthy() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sick
}

func (k *knobs) set(f func(*knobs)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(k)
}

// A zone is a whole gateway but for its data path: the real gate over a real
// store, and a Central.
type zone struct {
	t       *testing.T
	dir     string
	clock   *handClock
	knobs   *knobs
	opts    Options
	pace    pace
	gate    *zonegate.Gate
	store   *store.Store
	central *Central
	stops   []func()
}

// newZone returns a zone that runs, not joined to anything.
func newZone(t *testing.T, at Endpoint) *zone {
	t.Helper()
	z := &zone{
		t: t, dir: t.TempDir(), clock: newClock(day, true), pace: quick,
		knobs: &knobs{values: map[string]string{}, fail: map[string]error{}},
		opts:  Options{Endpoint: at, Zone: "awa-01", Name: "Chez Awa", Version: "test"},
	}
	z.startGate()
	t.Cleanup(func() {
		z.stopCentral()
		z.stopGate()
	})
	return z
}

func (z *zone) startGate() {
	z.t.Helper()
	s, err := store.Open(store.Options{Dir: z.dir, StateDir: z.dir})
	if err != nil {
		z.t.Fatal(err)
	}
	z.store = s
	z.gate = zonegate.NewGate(s.State(), s, s, dataPath{}, z.clock, zonegate.Options{RefusalTime: -1})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- z.gate.Run(ctx) }()
	z.stops = []func(){func() {
		cancel()
		if err := <-ended; err != nil {
			z.t.Errorf("the gate ended with %v", err)
		}
		if err := s.Close(); err != nil {
			z.t.Error(err)
		}
	}}
	if err := z.gate.Expire(z.t.Context()); err != nil {
		z.t.Fatal(err)
	}
}

func (z *zone) stopGate() {
	for _, stop := range z.stops {
		stop()
	}
	z.stops = nil
}

// open makes the Central, which reads hub.json.
func (z *zone) open() *Central {
	z.t.Helper()
	o := z.opts
	o.Dir, o.Gate, o.Clock, o.Settings, o.Healthy = z.dir, z.gate, z.clock, z.knobs, z.knobs.healthy
	o.Logger = slog.New(slog.NewTextHandler(testLog{z.t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c, err := New(o)
	if err != nil {
		z.t.Fatal(err)
	}
	c.pace = z.pace
	z.central = c
	return c
}

// A testLog shows what is logged with the test that it belongs to.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%.300s", bytes.TrimSpace(b))
	return len(b), nil
}

// run has the Central work.
func (z *zone) run() {
	z.t.Helper()
	c := z.central
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	z.stops = append([]func(){func() {
		cancel()
		if err := <-ended; err != nil {
			z.t.Errorf("the central ended with %v", err)
		}
	}}, z.stops...)
}

// stopCentral stops what run started.
func (z *zone) stopCentral() {
	for len(z.stops) > 1 {
		z.stops[0]()
		z.stops = z.stops[1:]
	}
}

// joined returns a zone that is joined to the hub and runs.
func joined(t *testing.T, h *fakeHub) *zone {
	t.Helper()
	z := newZone(t, h.endpoint())
	z.open()
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	z.run()
	z.connected()
	return z
}

func (z *zone) connected() {
	z.t.Helper()
	eventually(z.t, "connected to the hub", func() bool { return z.central.Status().Connected })
}

// sold has a voucher of the zone's own redeemed: two entries.
func (z *zone) sold(n int) {
	z.t.Helper()
	own := zonegate.Plan{ID: "own", Name: "own", Price: zonegate.Money{Amount: 100, Currency: "XOF"}, Duration: time.Hour, DevicesMax: 1}
	if err := z.gate.SetPlans(z.t.Context(), []zonegate.Plan{own}, false); err != nil {
		z.t.Fatal(err)
	}
	codes, err := z.gate.CreateVouchers(z.t.Context(), zonegate.Batch{Name: "b", Plan: "own"}, n)
	if err != nil {
		z.t.Fatal(err)
	}
	for i, code := range codes {
		_, err := z.gate.Redeem(z.t.Context(), zonegate.Redemption{Code: code, Device: mac(i)})
		if err != nil {
			z.t.Fatal(err)
		}
	}
}

var macs struct {
	sync.Mutex
	n uint32
}

// mac is a device that nobody had before.
func mac(int) zonegate.MAC {
	macs.Lock()
	defer macs.Unlock()
	macs.n++
	return zonegate.MAC{2, 0, byte(macs.n >> 24), byte(macs.n >> 16), byte(macs.n >> 8), byte(macs.n)}
}

func (z *zone) plan(id string) (zonegate.Plan, bool) {
	for _, p := range z.gate.Plans() {
		if p.ID == id {
			return p, true
		}
	}
	return zonegate.Plan{}, false
}

// found waits for a finding.
func (z *zone) found(subject string) api.Health {
	z.t.Helper()
	var got api.Health
	eventually(z.t, "a finding about "+subject, func() bool {
		for _, h := range z.central.Status().Findings {
			if h.Subject == subject {
				got = h
				return true
			}
		}
		return false
	})
	return got
}

func (z *zone) readFile() credential {
	z.t.Helper()
	content, err := os.ReadFile(filepath.Join(z.dir, FileName))
	if err != nil {
		z.t.Fatal(err)
	}
	var c credential
	if err := json.Unmarshal(content, &c); err != nil {
		z.t.Fatal(err)
	}
	return c
}

// hubPlan is a plan that makes sense.
func hubPlan(id string, version uint32) api.Plan {
	return api.Plan{
		ID: id, Version: version, Name: "Jour", Price: api.Money{Amount: 200, Currency: "XOF"}, Seconds: 86400,
		Octets: 500e6, CIRUp: 512e3, CIRDown: 512e3, MIRUp: 2048e3, MIRDown: 2048e3, DevicesMax: 1,
	}
}

func keys(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		k := codeKey.VoucherKey(fmt.Sprintf("CODE%04d", i))
		out[i] = k[:]
	}
	return out
}

var errTest = errors.New("broken for the test")
