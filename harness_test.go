package zonegate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// bench is a gate on a table: a journal, an archive and a data path in memory,
// and clocks that the test moves. Every test that uses it ends with a replay of
// the journal, which must give the state that the gate has.
type bench struct {
	t    *testing.T
	gate *Gate
	*memory
	path  *memoryPath
	clock *handClock

	cancel context.CancelFunc
	ended  chan error
}

// memory is journal and archive.
type memory struct {
	mu       sync.Mutex
	records  []Record
	vouchers map[VoucherKey]Voucher
	grants   map[GrantID]Grant
	plans    map[PlanRef]Plan
	sessions map[SessionID]Session
	sales    map[string]DaySales
	settings map[string]string
	intents  map[IntentID]Intent
	entries  map[uint64]Entry
	meta     Meta
	fail     error
	failed   bool
	saveErr  error
}

func newMemory() *memory {
	return &memory{
		vouchers: map[VoucherKey]Voucher{}, grants: map[GrantID]Grant{}, plans: map[PlanRef]Plan{},
		sessions: map[SessionID]Session{}, sales: map[string]DaySales{},
		settings: map[string]string{}, intents: map[IntentID]Intent{}, entries: map[uint64]Entry{},
	}
}

func (m *memory) Append(r []Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(r) > maxBatch {
		return errors.New("the group is too large")
	}
	if m.fail != nil || m.failed {
		m.failed = true
		return errors.Join(m.fail, errors.New("append failed"))
	}
	m.records = append(m.records, r...)
	return nil
}

func (m *memory) Reopen() (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return 0, m.fail
	}
	m.failed = false
	return uint64(len(m.records)), nil
}

func (m *memory) setFail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

func (m *memory) Voucher(k VoucherKey) (Voucher, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.vouchers[k]
	return v, ok, nil
}

func (m *memory) Grant(id GrantID) (Grant, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g, ok := m.grants[id]
	return g, ok, nil
}

func (m *memory) Entries(after uint64, most int) ([]Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Entry
	for _, n := range slices.Sorted(maps.Keys(m.entries)) {
		if n > after && len(out) < most {
			out = append(out, m.entries[n])
		}
	}
	return out, nil
}

func (m *memory) Save(c Changes) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.saveErr != nil {
		return m.saveErr
	}
	m.meta = c.Meta
	for _, p := range c.Plans {
		m.plans[p.Ref()] = p
	}
	for _, v := range c.Vouchers {
		m.vouchers[v.Key] = v
	}
	for _, g := range c.Grants {
		m.grants[g.ID] = g
	}
	for _, s := range c.Sessions {
		m.sessions[s.ID] = s
	}
	for _, id := range c.Closed {
		delete(m.sessions, id)
	}
	for _, s := range c.Sales {
		m.sales[s.Day+"/"+s.Plan] = s
	}
	maps.Copy(m.settings, c.Settings)
	for _, in := range c.Intents {
		m.intents[in.ID] = in
	}
	for _, id := range c.Dropped {
		delete(m.intents, id)
	}
	for _, e := range c.Entries {
		m.entries[e.N] = e
	}
	for n := range m.entries {
		if n <= c.Meta.Delivered || n > c.Meta.LastEntry {
			delete(m.entries, n)
		}
	}
	return nil
}

// live is what a store would load: all but used vouchers and ended grants.
func (m *memory) live() Changes {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := Changes{
		Meta: m.meta, Plans: slices.Collect(maps.Values(m.plans)),
		Sessions: slices.Collect(maps.Values(m.sessions)), Sales: slices.Collect(maps.Values(m.sales)),
		Settings: maps.Clone(m.settings), Intents: slices.Collect(maps.Values(m.intents)),
	}
	held := map[GrantID]bool{}
	for _, s := range m.sessions {
		held[s.Grant] = true
	}
	for _, g := range m.grants {
		if !g.State.Ended() || held[g.ID] {
			c.Grants = append(c.Grants, g)
		}
	}
	for _, v := range m.vouchers {
		if v.Grant == 0 && !v.Revoked {
			c.Vouchers = append(c.Vouchers, v)
		}
	}
	return c
}

// memoryPath is a data path that does what it is told and keeps its sessions
// when the gate goes away.
type memoryPath struct {
	mu      sync.Mutex
	orders  map[SessionID]Order
	octets  map[SessionID]Octets
	stopped []SessionID
	fail    error
	mute    error // of Usage
	applies int
}

func (p *memoryPath) Apply(_ context.Context, want []Order) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.applies++
	if p.fail != nil {
		return p.fail
	}
	keep := map[SessionID]Order{}
	for _, o := range want {
		keep[o.Session] = o
	}
	for id := range p.orders {
		if _, ok := keep[id]; !ok {
			p.stopped = append(p.stopped, id)
		}
	}
	p.orders = keep
	return nil
}

func (p *memoryPath) Change(_ context.Context, set []Order, stop []SessionID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return p.fail
	}
	for _, id := range stop {
		if _, ok := p.orders[id]; ok {
			p.stopped = append(p.stopped, id)
		}
		delete(p.orders, id)
	}
	for _, o := range set {
		for _, other := range p.orders {
			if other.Device == o.Device && other.Session != o.Session {
				return fmt.Errorf("device %v is told to be in sessions %d and %d", o.Device, other.Session, o.Session)
			}
		}
		p.orders[o.Session] = o
	}
	return nil
}

func (p *memoryPath) Usage(context.Context) ([]Usage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mute != nil {
		return nil, p.mute
	}
	var out []Usage
	for id := range p.orders {
		out = append(out, Usage{Session: id, Octets: p.octets[id]})
	}
	return out, nil
}

func (p *memoryPath) order(d MAC) (Order, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.orders {
		if o.Device == d {
			return o, true
		}
	}
	return Order{}, false
}

// reboot loses everything, as a kernel does.
func (p *memoryPath) reboot() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orders, p.octets, p.stopped = map[SessionID]Order{}, map[SessionID]Octets{}, nil
}

type handClock struct {
	mu  sync.Mutex
	now Instant
}

func (c *handClock) Now() Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) set(f func(*Instant)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.now)
}

// pass moves the clocks and has the gate look at them.
func (b *bench) pass(d time.Duration) {
	b.t.Helper()
	b.clock.set(func(i *Instant) {
		i.Mono += d
		i.Wall = i.Wall.Add(d)
	})
	if err := b.gate.Expire(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

var quick = Options{RefusalTime: -1, SaveAfter: time.Hour * 1000}

func newBench(t *testing.T, o Options) *bench {
	t.Helper()
	b := &bench{
		t: t, memory: newMemory(),
		path:  &memoryPath{},
		clock: &handClock{now: Instant{Boot: "first", Mono: time.Minute, Wall: noon, Trusted: true}},
	}
	b.path.reboot()
	b.start(o)
	t.Cleanup(func() {
		b.stop()
		b.checkReplay()
	})
	if err := b.gate.SetPlans(t.Context(), testPlans, false); err != nil {
		t.Fatal(err)
	}
	return b
}

var testPlans = []Plan{
	{ID: "hour", Name: "1 hour", Price: Money{100, "XOF"}, Duration: time.Hour, DevicesMax: 1,
		Rate: Rate{CIRUp: 1e6, CIRDown: 1e6, MIRUp: 2e6, MIRDown: 2e6}},
	{ID: "capped", Name: "10 MB", Price: Money{50, "XOF"}, Duration: 24 * time.Hour, DataCap: 10e6, DevicesMax: 1},
	{ID: "online", Name: "1 hour online", Price: Money{200, "XOF"}, Duration: time.Hour, DevicesMax: 1, Time: Online},
	{ID: "family", Name: "two phones", Price: Money{300, "XOF"}, Duration: time.Hour, DataCap: 20e6, DevicesMax: 2},
}

// start runs a gate over what the archive and the journal have.
func (b *bench) start(o Options) {
	b.t.Helper()
	s := NewState(b.memory, b.live())
	for _, r := range b.records[s.Seq():] {
		if err := s.Apply(r); err != nil {
			b.t.Fatalf("replaying at start: %v", err)
		}
	}
	b.gate = NewGate(s, b.memory, b.memory, b.path, b.clock, o)
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel, b.ended = cancel, make(chan error, 1)
	go func() { b.ended <- b.gate.Run(ctx) }()
	// The first answer comes after the start.
	if err := b.gate.Expire(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) stop() {
	b.cancel()
	if err := <-b.ended; err != nil && !errors.Is(err, ErrNotDurable) {
		b.t.Errorf("the gate ended with %v", err)
	}
	b.ended <- nil
}

// kill stops the gate as a crash would: nothing after the last answered
// decision is kept.
func (b *bench) kill() {
	b.mu.Lock()
	records := len(b.records)
	b.mu.Unlock()
	saved := b.snapshotArchive()
	b.stop()
	b.mu.Lock()
	b.records = b.records[:records]
	b.mu.Unlock()
	saved()
	// What the dead process still had to report is gone with it.
	b.path.mu.Lock()
	b.path.stopped = nil
	b.path.mu.Unlock()
}

func (b *bench) snapshotArchive() func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, g, p, s, d, m := maps.Clone(b.vouchers), maps.Clone(b.grants), maps.Clone(b.plans),
		maps.Clone(b.sessions), maps.Clone(b.sales), b.meta
	settings, entries, intents := maps.Clone(b.settings), maps.Clone(b.entries), maps.Clone(b.intents)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.vouchers, b.grants, b.plans, b.sessions, b.sales, b.meta = v, g, p, s, d, m
		b.settings, b.entries, b.intents = settings, entries, intents
	}
}

// checkReplay replays the whole journal twice into states of their own and
// compares them with each other and with archive and memory together.
func (b *bench) checkReplay() {
	b.t.Helper()
	var states [2]Changes
	for i := range states {
		s := NewState(nil, Changes{})
		for _, r := range b.records {
			if err := s.Apply(r); err != nil {
				b.t.Fatalf("replaying: %v", err)
			}
		}
		states[i] = s.Whole()
	}
	if !reflect.DeepEqual(states[0], states[1]) {
		b.t.Errorf("two replays differ:\n%+v\n%+v", states[0], states[1])
	}
	all := newMemory()
	all.Save(Changes{
		Meta: b.meta, Plans: slices.Collect(maps.Values(b.plans)), Vouchers: slices.Collect(maps.Values(b.vouchers)),
		Grants: slices.Collect(maps.Values(b.grants)), Sessions: slices.Collect(maps.Values(b.sessions)),
		Sales: slices.Collect(maps.Values(b.sales)), Settings: b.settings, Entries: slices.Collect(maps.Values(b.entries)),
		Intents: slices.Collect(maps.Values(b.intents)),
	})
	if b.gate.degraded == nil {
		all.Save(b.gate.state.Whole())
		for id := range all.sessions {
			if _, ok := b.gate.state.sessions[id]; !ok {
				delete(all.sessions, id)
			}
		}
		for id := range all.intents {
			if _, ok := b.gate.state.intents[id]; !ok {
				delete(all.intents, id)
			}
		}
	}
	entries, _ := all.Entries(0, math.MaxInt)
	got := Changes{
		Settings: all.settings, Entries: entries, Intents: slices.Collect(maps.Values(all.intents)),
		Meta: all.meta, Plans: slices.Collect(maps.Values(all.plans)), Vouchers: slices.Collect(maps.Values(all.vouchers)),
		Grants: slices.Collect(maps.Values(all.grants)), Sessions: slices.Collect(maps.Values(all.sessions)),
		Sales: slices.Collect(maps.Values(all.sales)),
	}
	got.sort()
	if b.gate.degraded == nil && fmt.Sprintf("%+v", states[0]) != fmt.Sprintf("%+v", got) {
		b.t.Errorf("the replay differs from the gate:\nreplay %+v\ngate   %+v", states[0], got)
	}
}

// sell makes a voucher of a plan and returns its code.
func (b *bench) sell(plan string) string {
	b.t.Helper()
	codes, err := b.gate.CreateVouchers(b.t.Context(), Batch{Name: "test", Plan: plan}, 1)
	if err != nil {
		b.t.Fatal(err)
	}
	return codes[0]
}

func (b *bench) redeem(code string, d MAC) Standing {
	b.t.Helper()
	st, err := b.gate.Redeem(b.t.Context(), Redemption{Code: code, Device: d})
	if err != nil {
		b.t.Fatal(err)
	}
	return st
}

// use lets a device move octets, as its data path would report it.
func (b *bench) use(d MAC, o Octets) {
	b.t.Helper()
	order, ok := b.path.order(d)
	if !ok {
		b.t.Fatalf("device %v is not online", d)
	}
	b.path.mu.Lock()
	total := b.path.octets[order.Session]
	total.Up += o.Up
	total.Down += o.Down
	b.path.octets[order.Session] = total
	b.path.mu.Unlock()
	if err := b.gate.Account(b.t.Context(), []Usage{{Session: order.Session, Octets: total}}); err != nil {
		b.t.Fatal(err)
	}
}

// finals reports what stopped sessions delivered, as a data path does.
func (b *bench) finals() {
	b.t.Helper()
	b.path.mu.Lock()
	var usage []Usage
	for _, id := range b.path.stopped {
		usage = append(usage, Usage{Session: id, Octets: b.path.octets[id], Final: true})
	}
	b.path.stopped = nil
	b.path.mu.Unlock()
	if err := b.gate.Account(b.t.Context(), usage); err != nil {
		b.t.Fatal(err)
	}
}

var (
	phone1 = MAC{2, 0, 0, 0, 0, 1}
	phone2 = MAC{2, 0, 0, 0, 0, 2}
	phone3 = MAC{2, 0, 0, 0, 0, 3}
)

// inBubble runs a test on a clock that moves only while everybody waits.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}
