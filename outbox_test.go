package zonegate

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

// outbox returns all that was not acknowledged, read in pages.
func (b *bench) outbox() []Entry {
	b.t.Helper()
	var all []Entry
	after := uint64(0)
	for {
		page, err := b.gate.Outbox(after, 3)
		if err != nil {
			b.t.Fatal(err)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		after = page[len(page)-1].N
	}
}

func (b *bench) delivered(through uint64) {
	b.t.Helper()
	if err := b.gate.Delivered(b.t.Context(), through); err != nil {
		b.t.Fatal(err)
	}
}

// said returns entries as "N kind grant".
func said(list []Entry) (out []string) {
	for _, e := range list {
		out = append(out, fmt.Sprint(e.N, " ", e.Kind, " ", e.Grant))
	}
	return out
}

func (b *bench) wantOutbox(want ...string) {
	b.t.Helper()
	if got := said(b.outbox()); !slices.Equal(got, want) {
		b.t.Errorf("outbox %q, want %q", got, want)
	}
}

// Every event of value is told, with what the hub needs of it.
func TestWhatTheHubIsTold(t *testing.T) {
	b := newBench(t, quick)
	before := b.sell("hour")
	b.redeem(before, phone3) // nobody to tell
	b.join(hubLink, 1)
	local := b.sell("capped")
	b.push(BatchPushed{Batch: "b", Plan: hubPlan, Keys: hubCodes("CODE0001", "CODE0002")})
	b.push(GrantPushed{Grant: "order", Plan: hubPlan, Key: hubKey.VoucherKey("CLAIM123")})
	b.redeem(local, phone1)
	b.use(phone1, Octets{Up: 1e6, Down: 2e6})
	if err := b.gate.TopUp(t.Context(), 2, 5e6, time.Hour); err != nil {
		t.Fatal(err)
	}
	b.pass(time.Hour)
	if _, err := b.gate.Redeem(t.Context(), Redemption{Code: local, Device: phone2, Move: true}); err != nil {
		t.Fatal(err)
	}
	b.redeem("CODE0001", phone1)
	b.redeem("CLAIM123", phone1)
	if err := b.gate.RevokeVoucher(t.Context(), "CODE0002"); err != nil {
		t.Fatal(err)
	}
	if err := b.gate.Revoke(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	b.finals()
	own, code := b.gate.state.meta.Key.VoucherKey(local), hubKey.VoucherKey("CODE0001")
	gone := hubKey.VoucherKey("CODE0002")
	capped, hours := PlanRef{"capped", 1}, hubPlan.Ref()
	hex := func(k VoucherKey) string { return fmt.Sprintf("%x", k[:]) }
	later := noon.Add(time.Hour)
	want := []Entry{
		{Kind: EntryImported, Batch: "test", Plan: capped, Count: 1},
		{Kind: EntrySale, Grant: 2, Source: Source{SourceVoucher, hex(own)}, Batch: "test", Plan: capped, Price: Money{50, "XOF"}, Device: phone1},
		{Kind: EntryStarted, Grant: 2},
		{Kind: EntryTopUp, Grant: 2, Octets: 5e6, Time: time.Hour},
		{Kind: EntryMoved, Grant: 2, Device: phone2, At: later},
		{Kind: EntrySale, Grant: 3, Source: Source{SourceVoucher, hex(code)}, HubCode: true, Batch: "b", Plan: hours, Price: Money{200, "XOF"}, Device: phone1, At: later},
		{Kind: EntryStarted, Grant: 3, At: later},
		{Kind: EntrySale, Grant: 4, Source: Source{SourceHub, "order"}, Plan: hours, Price: Money{200, "XOF"}, Device: phone1, At: later},
		{Kind: EntryRevoked, Source: Source{SourceVoucher, hex(gone)}, HubCode: true, Batch: "b", At: later},
		{Kind: EntryEnded, Grant: 1, State: Expired, At: later},
		{Kind: EntryEnded, Grant: 2, State: Revoked, Used: Octets{Up: 1e6, Down: 2e6}, At: later},
	}
	for i := range want {
		want[i].N = uint64(i + 1)
		if want[i].At.IsZero() {
			want[i].At = noon
		}
	}
	got := b.outbox()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("entry %d:\ngot  %+v\nwant %+v", i+1, at(got, i), at(want, i))
		}
	}
	last, unsent, oldest := b.gate.OutboxStatus()
	if last != 11 || unsent != 11 || !oldest.Equal(noon) {
		t.Errorf("status %d %d %v", last, unsent, oldest)
	}
}

func at(list []Entry, i int) any {
	if i < len(list) {
		return list[i]
	}
	return "nothing"
}

// A time that nobody has confirmed is not told.
func TestEntriesOfADoubtfulClock(t *testing.T) {
	b := newHubBench(t, quick)
	code := b.sell("hour")
	b.kill()
	b.path.reboot()
	b.clock.set(func(i *Instant) { i.Boot, i.Mono, i.Wall, i.Trusted = "second", 0, time.Unix(0, 0), false })
	b.start(quick)
	b.redeem(code, phone1)
	for _, e := range b.outbox()[1:] {
		if !e.At.IsZero() {
			t.Errorf("%+v", e)
		}
	}
}

// The end of a grant is told once, with its final counters.
func TestEndsAreToldWithFinalCounters(t *testing.T) {
	t.Run("kernel", func(t *testing.T) {
		b := newHubBench(t, quick)
		b.redeem(b.sell("hour"), phone1)
		b.use(phone1, Octets{Down: 100})
		b.delivered(3)
		order, _ := b.path.order(phone1)
		b.pass(2 * time.Hour)
		b.wantOutbox()
		b.path.mu.Lock()
		b.path.octets[order.Session] = Octets{Down: 150}
		b.path.mu.Unlock()
		b.finals()
		b.wantOutbox("4 ended 1")
		if e := b.outbox()[0]; e.Used.Total() != 150 || e.State != Expired {
			t.Errorf("%+v", e)
		}
	})
	t.Run("offline", func(t *testing.T) {
		b := newHubBench(t, quick)
		b.redeem(b.sell("hour"), phone1)
		if err := b.gate.Logout(t.Context(), phone1); err != nil {
			t.Fatal(err)
		}
		b.finals()
		b.delivered(3)
		b.pass(2 * time.Hour)
		b.wantOutbox("4 ended 1")
	})
	t.Run("power cut", func(t *testing.T) {
		b := newHubBench(t, quick)
		b.redeem(b.sell("hour"), phone1)
		b.delivered(3)
		b.pass(2 * time.Hour)
		b.kill()
		b.path.reboot()
		b.clock.set(func(i *Instant) { i.Boot = "second" })
		b.start(quick)
		b.wantOutbox("4 ended 1")
	})
	t.Run("topped up in time", func(t *testing.T) {
		b := newHubBench(t, quick)
		b.redeem(b.sell("capped"), phone1)
		b.delivered(3)
		b.use(phone1, Octets{Down: 10e6})
		if err := b.gate.TopUp(t.Context(), 1, 10e6, 0); err != nil {
			t.Fatal(err)
		}
		b.finals()
		b.use(phone1, Octets{Down: 10e6})
		b.finals()
		b.wantOutbox("4 top_up 1", "5 ended 1")
		if e := b.outbox()[1]; e.Used.Total() != 20e6 || e.State != Spent {
			t.Errorf("%+v", e)
		}
	})
	t.Run("NAS", func(t *testing.T) {
		b, _ := newNASBench(t)
		b.join(hubLink, 1)
		a := b.admit("ap", b.sell("hour"), phone1)
		b.report(start(a, "k"))
		b.report(interim(a, "k", time.Minute, 100, 0))
		b.delivered(3)
		b.pass(50 * time.Minute)
		b.report(interim(a, "k", 50*time.Minute, 100, 0))
		b.pass(10 * time.Minute)
		b.wantOutbox()
		b.report(stop(a, "k", time.Hour, 150, 0))
		b.wantOutbox("4 ended 1")
		if e := b.outbox()[0]; e.Used.Total() != 150 {
			t.Errorf("%+v", e)
		}
		b.report(stop(a, "k", time.Hour, 150, 0))
		b.pass(25 * time.Hour)
		b.wantOutbox("4 ended 1")
	})
	t.Run("NAS that is silent", func(t *testing.T) {
		b, _ := newNASBench(t)
		b.join(hubLink, 1)
		a := b.admit("ap", b.sell("hour"), phone1)
		b.report(start(a, "k"))
		b.delivered(3)
		b.pass(time.Hour)
		b.pass(16 * time.Minute)
		b.wantOutbox("4 ended 1")
		b.report(stop(a, "k", 2*time.Hour, 7, 0))
		b.pass(8 * 24 * time.Hour)
		b.wantOutbox("4 ended 1")
	})
}

// Numbers have no gap and stand for the same for ever: over restarts, saves,
// power cuts and writes that failed.
func TestNumbersOfEntries(t *testing.T) {
	b := newHubBench(t, quick)
	codes := []string{b.sell("hour"), b.sell("hour"), b.sell("hour"), b.sell("hour")}
	want := []string{"1 imported 0", "2 imported 0", "3 imported 0", "4 imported 0"}
	b.wantOutbox(want...)
	b.redeem(codes[0], phone1)
	want = append(want, "5 sale 1", "6 started 1")
	b.wantOutbox(want...)
	b.kill()
	b.start(quick)
	b.wantOutbox(want...)
	b.unload() // all of it saved
	if n := len(b.gate.state.outbox); n != 0 {
		t.Errorf("%d saved entries are in memory", n)
	}
	b.wantOutbox(want...)
	b.redeem(codes[1], phone2)
	want = append(want, "7 sale 2", "8 started 2")
	b.wantOutbox(want...)
	b.setFail(errors.New("disk full"))
	if _, err := b.gate.Redeem(t.Context(), Redemption{Code: codes[2], Device: phone3}); !errors.Is(err, ErrNotDurable) {
		t.Fatal(err)
	}
	if last, unsent, _ := b.gate.OutboxStatus(); last != 8 || unsent != 8 {
		t.Errorf("a sale that failed is counted: %d %d", last, unsent)
	}
	b.setFail(nil)
	b.kill()
	b.start(quick)
	b.wantOutbox(want...)
	b.redeem(codes[3], phone3)
	want = append(want, "9 sale 3", "10 started 3")
	b.wantOutbox(want...)
	if page, err := b.gate.Outbox(4, 2); err != nil || !slices.Equal(said(page), want[4:6]) {
		t.Errorf("a page: %q %v", said(page), err)
	}
	b.delivered(7)
	b.wantOutbox(want[7:]...)
	b.kill()
	b.start(quick)
	b.wantOutbox(want[7:]...)
	b.unload()
	if n := len(b.entries); n != 3 {
		t.Errorf("%d entries are kept, 3 were not acknowledged", n)
	}
	b.wantOutbox(want[7:]...)
	b.delivered(10)
	b.wantOutbox()
	if last, unsent, oldest := b.gate.OutboxStatus(); last != 10 || unsent != 0 || !oldest.IsZero() {
		t.Errorf("status %d %d %v", last, unsent, oldest)
	}
	b.sell("hour")
	b.wantOutbox("11 imported 0")
}

func TestDelivered(t *testing.T) {
	b := newHubBench(t, quick)
	for range 5 {
		b.sell("hour")
	}
	records := b.durable()
	for _, c := range []struct {
		through uint64
		want    error
		left    int
		records int
	}{
		{6, ErrNoSuchEntry, 5, 0}, {1 << 63, ErrNoSuchEntry, 5, 0}, {0, nil, 5, 0},
		{3, nil, 2, 1}, {3, nil, 2, 1}, {1, nil, 2, 1}, {6, ErrNoSuchEntry, 2, 1}, {5, nil, 0, 2}, {5, nil, 0, 2},
	} {
		if err := b.gate.Delivered(t.Context(), c.through); !errors.Is(err, c.want) {
			t.Errorf("through %d: %v, want %v", c.through, err, c.want)
		}
		if n := len(b.outbox()); n != c.left || b.durable()-records != c.records {
			t.Errorf("through %d: %d left, %d records; want %d, %d", c.through, n, b.durable()-records, c.left, c.records)
		}
	}
}

// Entries of what a journal could not take are gone with it, and those that
// followed from clocks meanwhile come when it is written again.
func TestOutboxWhenTheJournalRecovers(t *testing.T) {
	b := newHubBench(t, quick)
	code := b.sell("hour")
	b.redeem(b.sell("hour"), phone1)
	if err := b.gate.Logout(t.Context(), phone1); err != nil {
		t.Fatal(err)
	}
	b.finals()
	want := []string{"1 imported 0", "2 imported 0", "3 sale 1", "4 started 1"}
	b.wantOutbox(want...)
	b.setFail(errors.New("disk full"))
	if _, err := b.gate.Redeem(t.Context(), Redemption{Code: code, Device: phone2}); !errors.Is(err, ErrNotDurable) {
		t.Fatal(err)
	}
	b.pass(2 * time.Hour)
	b.setFail(nil)
	for b.gate.Health().Journal != nil {
		b.pass(retryAfter)
		time.Sleep(10 * time.Millisecond)
	}
	want = append(want, "5 ended 1")
	b.wantOutbox(want...)
	b.redeem(code, phone2)
	want = append(want, "6 sale 2", "7 started 2")
	b.wantOutbox(want...)
	b.kill()
	b.start(quick)
	b.wantOutbox(want...)
}

// Joining again: to the same hub nothing is lost, to another one nothing of the
// former one's is told.
func TestJoinedAgain(t *testing.T) {
	another := HubLink{Hub: "https://other.example", Site: "site-1", Gateway: "g", CodeKey: ZoneKey{'o'}}
	moved := hubLink
	moved.Hub, moved.Gateway = "https://moved.example", "gw-2"
	for _, saved := range []bool{false, true} {
		for _, c := range []struct {
			name string
			link HubLink
			next uint64
			want []string
		}{
			{"same", moved, 3, []string{"3 imported 0", "4 imported 0", "5 imported 0"}},
			{"the answer was lost", hubLink, 5, []string{"5 imported 0"}},
			{"the hub has it all", hubLink, 6, nil},
			// Its entries 3 and 4 may be others than ours.
			{"the zone was restored and sold on", moved, 5, []string{"5 imported 0", "6 imported 0", "7 imported 0"}},
			{"the zone was restored and sold as much", moved, 6, []string{"6 imported 0", "7 imported 0", "8 imported 0"}},
			{"the hub was restored", hubLink, 1, []string{"3 imported 0", "4 imported 0", "5 imported 0"}},
			{"the zone was restored", hubLink, 11, []string{"11 imported 0", "12 imported 0", "13 imported 0"}},
			{"another hub", another, 1, nil},
			{"another hub that knows the site", another, 40, nil},
		} {
			t.Run(fmt.Sprintf("%s, saved %v", c.name, saved), func(t *testing.T) {
				b := newHubBench(t, quick)
				for range 5 {
					b.sell("hour")
				}
				b.delivered(2)
				if saved {
					b.unload()
				}
				b.join(c.link, c.next)
				b.wantOutbox(c.want...)
				b.kill()
				b.start(quick)
				b.wantOutbox(c.want...)
				b.unload()
				b.wantOutbox(c.want...)
				last, _, _ := b.gate.OutboxStatus()
				b.sell("hour")
				b.wantOutbox(append(c.want, fmt.Sprint(last+1, " imported 0"))...)
				if n := uint64(len(c.want)); last+1 < c.next || n > 0 && last < c.next+n-1 && c.name != "the hub was restored" {
					t.Errorf("the last entry is %d, the hub wanted %d next", last, c.next)
				}
				if l, ok := b.gate.Hub(); !ok || l != c.link {
					t.Errorf("joined to %+v", l)
				}
			})
		}
	}
}

// A save that began before the zone changed its hub must not take away what the
// new one is to be told.
func TestJoinedToAnotherDuringASave(t *testing.T) {
	b := newHubBench(t, quick)
	code := b.sell("hour")
	for range 4 {
		b.sell("hour")
	}
	b.gate.mu.RLock()
	early := b.gate.state.Changed()
	b.gate.mu.RUnlock()
	if err := b.memory.Save(early); err != nil {
		t.Fatal(err)
	}
	b.join(HubLink{Hub: "o", Site: "o", Gateway: "o", CodeKey: ZoneKey{'o'}}, 1)
	b.redeem(code, phone1)
	b.gate.mu.Lock()
	b.gate.state.Saved(early)
	b.gate.mu.Unlock()
	b.wantOutbox("1 sale 1", "2 started 1")
	b.unload()
	b.wantOutbox("1 sale 1", "2 started 1")
	b.sell("hour")
	b.wantOutbox("1 sale 1", "2 started 1", "3 imported 0")
}

// Off the hub nothing is kept; what waits is kept for a hub that takes the
// gateway back.
func TestOutboxOfARevokedGateway(t *testing.T) {
	b := newHubBench(t, quick)
	b.sell("hour")
	b.push(HubGone{})
	b.sell("hour")
	b.wantOutbox("1 imported 0")
	b.delivered(0)
	b.join(hubLink, 1)
	b.sell("hour")
	b.wantOutbox("1 imported 0", "2 imported 0")
	if err := b.gate.LeaveHub(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantOutbox()
	b.sell("hour")
	if last, unsent, _ := b.gate.OutboxStatus(); last != 0 || unsent != 0 {
		t.Errorf("status without a hub: %d %d", last, unsent)
	}
}

func TestLiveUsage(t *testing.T) {
	b, _ := newNASBench(t)
	b.join(hubLink, 1)
	b.redeem(b.sell("hour"), phone1)
	b.redeem(b.sell("hour"), phone1) // waits
	b.redeem(b.sell("family"), phone2)
	a := b.admit("ap", b.sell("hour"), phone3)
	b.report(start(a, "k"))
	b.use(phone2, Octets{Up: 1, Down: 2})
	b.report(interim(a, "k", time.Minute, 3, 4))
	want := []GrantUsage{{1, Octets{}}, {3, Octets{Up: 1, Down: 2}}, {4, Octets{Up: 3, Down: 4}}}
	if got := b.gate.LiveUsage(0, 10); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if got := b.gate.LiveUsage(1, 1); !slices.Equal(got, want[1:2]) {
		t.Errorf("%+v", got)
	}
	if got := b.gate.LiveUsage(4, 10); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// hub is the other end of the outbox on the table: it holds what it was told, and
// would notice a number that is missing, or that stands for two things.
type tableHub struct {
	held    []Entry
	pushed  uint64
	grants  map[string]bool // purchases, acknowledged by the gate
	revoked map[string]bool
}

// take reports a page, and acknowledges it or loses the answer.
func (h *tableHub) take(t *testing.T, b *bench, lost bool) bool {
	t.Helper()
	list, err := b.gate.Outbox(0, 7)
	if errors.Is(err, ErrNotDurable) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		switch n := uint64(len(h.held)); {
		case e.N <= n:
			if h.held[e.N-1] != e {
				t.Fatalf("entry %d was %+v and is %+v", e.N, h.held[e.N-1], e)
			}
		case e.N == n+1:
			h.held = append(h.held, e)
		default:
			t.Fatalf("entry %d after %d", e.N, n)
		}
	}
	if lost || len(list) == 0 {
		return false
	}
	err = b.gate.Delivered(t.Context(), list[len(list)-1].N)
	if err != nil && !errors.Is(err, ErrNotDurable) {
		t.Fatal(err)
	}
	return err == nil
}

// push gives the gate something at random, sometimes what it had before, and
// repeats it until it is acknowledged, as a hub does.
func (h *tableHub) push(t *testing.T, b *bench, r *rand.Rand, devices []MAC) {
	t.Helper()
	order := fmt.Sprint("order-", r.IntN(12))
	var c HubChange
	switch r.IntN(5) {
	case 0:
		c = PlanPushed{Plan: version(hubPlan, uint32(1+r.IntN(4)), func(p *Plan) { p.Rate.MIRDown += uint64(p.Version) }), Running: r.IntN(2) == 0}
	case 1:
		c = BatchPushed{Batch: fmt.Sprint("b", r.IntN(2)), Plan: hubPlan, Keys: []VoucherKey{{byte(r.IntN(2)), 1}, {byte(r.IntN(2)), 2}}}
	case 2:
		c = BatchGone{Batch: "b0"}
	case 3:
		c = GrantGone{Grant: order}
	default:
		c = GrantPushed{Grant: order, Plan: hubPlan, Device: devices[r.IntN(len(devices))]}
	}
	seq := h.pushed + 1
	if r.IntN(5) == 0 {
		seq = uint64(r.IntN(int(seq)))
	}
	l, _ := b.gate.Hub()
	fresh := seq == 0 || seq > l.Applied
	err := b.gate.TakePush(t.Context(), seq, c)
	switch {
	case err == nil && fresh:
		if g, ok := c.(GrantPushed); ok {
			h.grants[g.Grant] = true
		}
		if g, ok := c.(GrantGone); ok && h.grants[g.Grant] {
			h.revoked[g.Grant] = true
		}
	case err != nil && !isRefusal(err):
		if !errors.Is(err, ErrNotDurable) {
			t.Fatalf("%+v: %v", c, err)
		}
		return
	}
	if after, _ := b.gate.Hub(); after.Applied != max(l.Applied, seq) {
		t.Fatalf("push %d after %d: %d is noted", seq, l.Applied, after.Applied)
	}
	h.pushed = max(h.pushed, seq)
}

// settle checks in the end that the hub was told every sale once, and that every
// purchase became one grant.
func (h *tableHub) settle(t *testing.T, b *bench) {
	t.Helper()
	for h.take(t, b, false) {
	}
	sold := map[GrantID]Entry{}
	sources := map[Source]GrantID{}
	ended := map[GrantID]int{}
	for _, e := range h.held {
		switch e.Kind {
		case EntrySale:
			if _, twice := sold[e.Grant]; twice || sources[e.Source] != 0 {
				t.Errorf("sold twice: %+v", e)
			}
			sold[e.Grant], sources[e.Source] = e, e.Grant
		case EntryEnded:
			ended[e.Grant]++
		}
	}
	all := map[GrantID]Grant{}
	b.mu.Lock()
	for id, g := range b.grants {
		all[id] = g
	}
	b.mu.Unlock()
	b.gate.mu.RLock()
	for id, g := range b.gate.state.grants {
		all[id] = *g
	}
	waiting := map[GrantID]bool{}
	for id := range all {
		waiting[id] = !b.gate.state.settled(id)
	}
	b.gate.mu.RUnlock()
	if len(all) != len(sold) {
		t.Errorf("%d grants, %d sales were told", len(all), len(sold))
	}
	for id, g := range all {
		if want := g.State.Ended() && !waiting[id]; want != (ended[id] == 1) {
			t.Errorf("grant %d %v: its end was told %d times", id, g.State, ended[id])
		}
	}
	for order := range h.grants {
		id := sources[Source{SourceHub, order}]
		if g, ok := all[id]; !ok {
			t.Errorf("purchase %s became no grant", order)
		} else if h.revoked[order] && !g.State.Ended() {
			t.Errorf("purchase %s was revoked and is %v", order, g.State)
		}
	}
}

// BenchmarkOutbox is what a week without the hub costs in memory: 20,000 entries
// that no archive has taken yet.
func BenchmarkOutbox(b *testing.B) {
	for range b.N {
		s := NewState(nil, Changes{Meta: Meta{Hub: hubLink}})
		at := Instant{Boot: "b", Wall: noon, Trusted: true}
		if err := s.Apply(Record{Seq: 1, At: at, Events: []Event{PlanSet{Plan: hubPlan}}}); err != nil {
			b.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range 10000 {
			s.tell(Entry{Kind: EntrySale, Grant: GrantID(i), Source: Source{SourceVoucher, fmt.Sprintf("%032x", i)}, Plan: hubPlan.Ref(), Price: hubPlan.Price, Device: phone1})
			s.tell(Entry{Kind: EntryEnded, Grant: GrantID(i), State: Expired, Used: Octets{Down: 1e9}})
		}
		s.keep()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
		if len(s.outbox) != 20000 {
			b.Fatal(len(s.outbox))
		}
	}
}
