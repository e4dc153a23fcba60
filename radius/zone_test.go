package radius

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	layeh "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
	mikrotikvsa "layeh.com/radius/vendors/mikrotik"

	"zonegate"
	"zonegate/radius/nas"
)

// A zone is a desk over a real gate, whose journal, archive and clock are in
// memory.
type zone struct {
	*desk
	gate  *zonegate.Gate
	clock *testClock
	*memory
}

var zonePlans = []zonegate.Plan{
	{ID: "day", Name: "1 day", Price: zonegate.Money{Amount: 200, Currency: "XOF"}, Duration: 24 * time.Hour, DevicesMax: 1,
		Rate: zonegate.Rate{CIRUp: 256e3, CIRDown: 512e3, MIRUp: 1e6, MIRDown: 4e6}},
	{ID: "capped", Name: "10 GB", Price: zonegate.Money{Amount: 500, Currency: "XOF"}, Duration: 24 * time.Hour, DataCap: 10e9, DevicesMax: 1},
	{ID: "small", Name: "1 MB", Price: zonegate.Money{Amount: 50, Currency: "XOF"}, Duration: time.Hour, DataCap: 1e6, DevicesMax: 1},
	{ID: "family", Name: "3 phones", Price: zonegate.Money{Amount: 900, Currency: "XOF"}, Duration: 24 * time.Hour, DataCap: 1e12, DevicesMax: 3},
}

func newZone(t testing.TB) *zone {
	t.Helper()
	return newZoneWith(t, zonegate.Options{Guessing: zonegate.Guessing{PerDevice: 3}})
}

func newZoneWith(t testing.TB, o zonegate.Options) *zone {
	t.Helper()
	o.RefusalTime, o.SaveAfter = -1, 1000*time.Hour
	z := &zone{memory: &memory{vouchers: map[zonegate.VoucherKey]zonegate.Voucher{}, grants: map[zonegate.GrantID]zonegate.Grant{}}, clock: newTestClock()}
	z.gate = zonegate.NewGate(zonegate.NewState(z.memory, zonegate.Changes{}), z.memory, z.memory, noPath{}, z.clock, o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- z.gate.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, zonegate.ErrNotDurable) {
			t.Errorf("the gate ended with %v", err)
		}
	})
	if err := z.gate.SetPlans(ctx, zonePlans, false); err != nil {
		t.Fatal(err)
	}
	z.desk = newDesk(t, z.gate)
	z.tickets = NewTickets(z.clock)
	return z
}

func (z *zone) sell(plan string) string {
	z.t.Helper()
	codes, err := z.gate.CreateVouchers(context.Background(), zonegate.Batch{Name: "test", Plan: plan}, 1)
	if err != nil {
		z.t.Fatal(err)
	}
	return codes[0]
}

// pass moves the clock and has the gate look at it.
func (z *zone) pass(d time.Duration) {
	z.t.Helper()
	z.clock.pass(d)
	if err := z.gate.Expire(context.Background()); err != nil {
		z.t.Fatal(err)
	}
}

// accept logs in and returns the Access-Accept.
func (z *zone) accept(n nas.NAS, p *layeh.Packet) *layeh.Packet {
	z.t.Helper()
	got := z.ask(n, p)
	if got == nil || got.Code != layeh.CodeAccessAccept {
		z.t.Fatalf("not accepted: %+v %q", got, z.logged())
	}
	return got
}

// taken reports and expects an answer.
func (z *zone) taken(n nas.NAS, p *layeh.Packet) {
	z.t.Helper()
	if got := z.ask(n, p); got == nil || got.Code != layeh.CodeAccountingResponse {
		z.t.Fatalf("not answered: %+v %q", got, z.logged())
	}
}

func (z *zone) used(d zonegate.MAC) zonegate.Octets {
	z.t.Helper()
	st := z.gate.Standing(d)
	if st.Grant == nil {
		z.t.Fatalf("device %v has nothing", d)
	}
	return st.Grant.Used
}

// memory is a journal and an archive.
type memory struct {
	mu       sync.Mutex
	records  []zonegate.Record
	vouchers map[zonegate.VoucherKey]zonegate.Voucher
	grants   map[zonegate.GrantID]zonegate.Grant
	fail     error
	// forget keeps no records, where nobody reads them.
	forget bool
}

func (m *memory) Append(r []zonegate.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if !m.forget {
		m.records = append(m.records, r...)
	}
	return nil
}

func (m *memory) Reopen() (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.records)), m.fail
}

func (m *memory) written() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.records)
}

func (m *memory) Voucher(k zonegate.VoucherKey) (zonegate.Voucher, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.vouchers[k]
	return v, ok, nil
}

func (m *memory) Grant(id zonegate.GrantID) (zonegate.Grant, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g, ok := m.grants[id]
	return g, ok, nil
}

// Entries are never made: no zone here has a hub.
func (m *memory) Entries(uint64, int) ([]zonegate.Entry, error) { return nil, nil }

func (m *memory) Save(c zonegate.Changes) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range c.Vouchers {
		m.vouchers[v.Key] = v
	}
	for _, g := range c.Grants {
		m.grants[g.ID] = g
	}
	return nil
}

// noPath is a gateway without a data path of its own.
type noPath struct{}

func (noPath) Apply(context.Context, []zonegate.Order) error                        { return nil }
func (noPath) Change(context.Context, []zonegate.Order, []zonegate.SessionID) error { return nil }
func (noPath) Usage(context.Context) ([]zonegate.Usage, error)                      { return nil, nil }

// reply returns a packet of a session with the Class of its Access-Accept.
func of(accept, p *layeh.Packet) *layeh.Packet {
	if class := rfc2865.Class_Get(accept); class != nil {
		rfc2865.Class_Add(p, class)
	}
	return p
}

func TestVoucherFromLoginToEnd(t *testing.T) {
	z := newZone(t)
	code := z.sell("capped")
	got := z.accept(mikrotik, chap(code, "", station1, nil))
	if s := rfc2865.SessionTimeout_Get(got); s != 24*3600 {
		t.Errorf("Session-Timeout %d", s)
	}
	total := uint64(mikrotikvsa.MikrotikTotalLimitGigawords_Get(got))<<32 | uint64(mikrotikvsa.MikrotikTotalLimit_Get(got))
	if total != 10e9 {
		t.Errorf("the NAS may let %d octets pass", total)
	}
	if i := rfc2869.AcctInterimInterval_Get(got); i != 300 {
		t.Errorf("Acct-Interim-Interval %d", i)
	}
	if rfc2865.UserName_GetString(got) != "" {
		t.Error("the code comes back as a User-Name")
	}
	z.taken(mikrotik, of(got, account(1, "s1", station1)))
	z.pass(5 * time.Minute)
	z.taken(mikrotik, of(got, octets(account(3, "s1", station1), 1e9, 5e9, 5*time.Minute)))
	if u := z.used(phone1); u != (zonegate.Octets{Up: 1e9, Down: 5e9}) {
		t.Errorf("charged %+v", u)
	}
	// The same code again, as a NAS that asks for a live session does.
	again := z.accept(mikrotik, pap(code, code, station1))
	if total := uint64(mikrotikvsa.MikrotikTotalLimitGigawords_Get(again))<<32 | uint64(mikrotikvsa.MikrotikTotalLimit_Get(again)); total != 4e9 {
		t.Errorf("after 6 GB of 10 the NAS may let %d octets pass", total)
	}
	if s := rfc2865.SessionTimeout_Get(again); s != 24*3600-300 {
		t.Errorf("Session-Timeout after five minutes is %d", s)
	}
	z.pass(time.Minute)
	z.taken(mikrotik, of(got, octets(account(2, "s1", station1), 2e9, 8e9, 6*time.Minute)))
	if m := z.message(z.ask(mikrotik, pap(code, "", station1))); m != mustRefuse(zonegate.ErrUsedCode) {
		t.Errorf("a spent code is refused with %q", m)
	}
	if m := z.message(z.ask(mikrotik, pap(station1, "", station1))); m != mustRefuse(zonegate.ErrNoGrant) {
		t.Errorf("a device with nothing left is refused with %q", m)
	}
}

func mustRefuse(err error) string {
	s, ok := French.refuse(err)
	if !ok {
		panic(err)
	}
	return s
}

func TestStopWithoutCountersKeepsWhatWasCounted(t *testing.T) {
	z := newZone(t)
	got := z.accept(mikrotik, pap(z.sell("capped"), "", station1))
	z.taken(mikrotik, of(got, account(1, "s1", station1)))
	z.pass(5 * time.Minute)
	z.taken(mikrotik, of(got, octets(account(3, "s1", station1), 1e6, 2e6, 5*time.Minute)))
	z.taken(mikrotik, of(got, account(2, "s1", station1)))
	if u := z.used(phone1); u != (zonegate.Octets{Up: 1e6, Down: 2e6}) {
		t.Errorf("charged %+v", u)
	}
	if z.gate.Standing(phone1).Online {
		t.Error("the session goes on after its stop")
	}
}

func TestDevicesOfStrangersCostNothing(t *testing.T) {
	z := newZone(t)
	before := z.written()
	for i := range 300 {
		station := fmt.Sprintf("02:11:22:33:%02x:%02x", i>>8, i&255)
		if m := z.message(z.ask(mikrotik, pap(station, station, station))); m != mustRefuse(zonegate.ErrNoGrant) {
			t.Fatal(m)
		}
	}
	for range 50 {
		z.message(z.ask(mikrotik, pap(station1, "", station1)))
	}
	if n := z.written(); n != before {
		t.Errorf("%d records were written for strangers", n-before)
	}
	// None of it was a guess: a bought code still works on that device.
	z.accept(mikrotik, pap(z.sell("day"), "", station1))
	z.accept(mikrotik, pap(station1, "whatever", station1))
}

func TestWrongCodesAreLimitedPerDevice(t *testing.T) {
	z := newZone(t)
	good := z.sell("day")
	for range 3 {
		if m := z.message(z.ask(mikrotik, pap("WRONG", "", station1))); m != mustRefuse(zonegate.ErrWrongCode) {
			t.Fatal(m)
		}
	}
	want := mustRefuse(&zonegate.RetryError{Err: zonegate.ErrTooManyCodes, After: 10 * time.Minute})
	if m := z.message(z.ask(mikrotik, pap(good, "", station1))); m != want {
		t.Errorf("%q, want %q", m, want)
	}
	z.accept(mikrotik, pap(good, "", station2))
}

func TestTicketOpensItsGrantOnly(t *testing.T) {
	z := newZone(t)
	z.accept(mikrotik, pap(z.sell("day"), "", station1))
	grant := z.gate.Standing(phone1).Grant.Grant
	user, password := z.tickets.Issue("tower", phone1, grant)
	got := z.accept(mikrotik, chap(user, password, station1, []byte("0123456789abcdef")))
	if string(rfc2865.Class_Get(got)) != classPrefix+z.gate.Token(grant) {
		t.Errorf("Class %q", rfc2865.Class_Get(got))
	}
	z.message(z.ask(mikrotik, chap(user, password, station1, []byte("0123456789abcdef"))))
	user, password = z.tickets.Issue("tower", phone2, grant)
	z.message(z.ask(mikrotik, pap(user, password, station2)))
}

func TestVoucherRacedFromTwoNASesHasOneWinner(t *testing.T) {
	z := newZone(t)
	for round := range 30 {
		code := z.sell("day")
		stations := []string{fmt.Sprintf("02:aa:00:00:%02x:01", round), fmt.Sprintf("02:aa:00:00:%02x:02", round)}
		var wg sync.WaitGroup
		answers := make([]*layeh.Packet, 8)
		for i := range answers {
			n := []nas.NAS{mikrotik, chilli}[i%2]
			wg.Go(func() { answers[i] = z.ask(n, pap(code, code, stations[i%2])) })
		}
		wg.Wait()
		won := map[int]bool{}
		for i, a := range answers {
			switch {
			case a.Code == layeh.CodeAccessAccept:
				won[i%2] = true
			case z.message(a) != mustRefuse(zonegate.ErrOtherDevice) && z.message(a) != mustRefuse(zonegate.ErrTooManyCodes):
				// Too many at once of one device: each may be a guess.
				t.Fatalf("refused with %q", z.message(a))
			}
		}
		if len(won) != 1 {
			t.Fatalf("%d devices got in with one voucher", len(won))
		}
	}
	var issued int
	for _, r := range z.records {
		for _, e := range r.Events {
			if _, ok := e.(zonegate.GrantIssued); ok {
				issued++
			}
		}
	}
	if issued != 30 {
		t.Errorf("30 vouchers became %d grants", issued)
	}
}

// Whatever order packets arrive in, and however often, each octet is charged
// once.
func TestPermutedAccountingGivesTheSameTotals(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { permuted(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func permuted(t *testing.T, random *rand.Rand) {
	z := newZone(t)
	type sent struct {
		n nas.NAS
		p func() *layeh.Packet
	}
	var packets []sent
	var want zonegate.Octets
	code := z.sell("family")
	for i, station := range []string{station1, station2, "0200.0000.0003"} {
		// Two of them at one NAS with the same session number, one elsewhere.
		n, session, identifier := mikrotik, "81000001", fmt.Sprint("hotspot", i)
		if i == 2 {
			n, identifier = chilli, "chilli"
		}
		accept := z.accept(n, pap(code, "", station))
		add := func(status rfc2866.AcctStatusType, up, down uint64, lasted time.Duration) {
			packets = append(packets, sent{n, func() *layeh.Packet {
				p := account(status, session, station)
				rfc2865.NASIdentifier_SetString(p, identifier)
				rfc2866.AcctDelayTime_Add(p, rfc2866.AcctDelayTime(random.IntN(20)))
				octets(p, up, down, lasted)
				if n.Vendor == nas.MikroTik {
					of(accept, p)
				}
				return p
			}})
		}
		add(1, 0, 0, 0)
		var up, down uint64
		steps := 3 + random.IntN(4)
		for k := range steps {
			up += random.Uint64N(3 << 30)
			down += random.Uint64N(6 << 30)
			status := rfc2866.AcctStatusType(3)
			if k == steps-1 {
				status = 2
			}
			add(status, up, down, time.Duration(k+1)*5*time.Minute)
		}
		want.Up += up
		want.Down += down
	}
	z.pass(40 * time.Minute)
	for _, s := range packets {
		for range random.IntN(3) {
			packets = append(packets, s)
		}
	}
	random.Shuffle(len(packets), func(i, j int) { packets[i], packets[j] = packets[j], packets[i] })
	for _, s := range packets {
		z.taken(s.n, s.p())
		if random.IntN(3) == 0 {
			z.pass(time.Duration(random.IntN(10)) * time.Second)
		}
	}
	if got := z.used(phone1); got != want {
		t.Errorf("charged %+v, delivered %+v", got, want)
	}
	for _, d := range []zonegate.MAC{phone1, phone2, phone3} {
		if slices.Contains(z.online(), d) {
			t.Errorf("device %v is online after its stop", d)
		}
	}
}

// A NAS without gigawords: its counters go round at 4 GiB.
func TestCountersWithoutGigawordsGoRound(t *testing.T) {
	z := newZone(t)
	accept := z.accept(mikrotik, pap(z.sell("family"), "", station1))
	z.taken(mikrotik, of(accept, account(1, "s", station1)))
	var down uint64
	for i := range 12 {
		down += 3 << 29 // 1.5 GiB in five minutes: it goes round four times
		z.pass(5 * time.Minute)
		for range 2 {
			status := rfc2866.AcctStatusType(3)
			if i == 11 {
				status = 2
			}
			z.taken(mikrotik, of(accept, octets(account(status, "s", station1), 7, down&(1<<32-1), time.Duration(i+1)*5*time.Minute)))
		}
	}
	if got := z.used(phone1); got != (zonegate.Octets{Up: 7, Down: down}) {
		t.Errorf("charged %+v, delivered %d", got, down)
	}
}

// pfSense with "stop/start accounting": one Acct-Session-Id, its counters at
// zero after each of its stops, and no Class.
func TestStopStartAccountingAddsUp(t *testing.T) {
	z := newZone(t)
	code := z.sell("family")
	z.accept(pfsense, pap(code, "", station1))
	z.taken(pfsense, account(1, "abc", station1))
	var want zonegate.Octets
	for i := range 10 {
		z.pass(time.Minute)
		z.accept(pfsense, pap(code, "", station1)) // it asks again every minute
		o := zonegate.Octets{Up: uint64(1000 + i), Down: uint64(50000 - 7*i)}
		want = zonegate.Octets{Up: want.Up + o.Up, Down: want.Down + o.Down}
		z.taken(pfsense, octets(account(2, "abc", station1), o.Up, o.Down, time.Minute))
		if i < 9 {
			z.taken(pfsense, octets(account(1, "abc", station1), 0, 0, 0))
		}
	}
	if got := z.used(phone1); got != want {
		t.Errorf("charged %+v, delivered %+v", got, want)
	}
	if online := z.online(); len(online) != 0 {
		t.Errorf("%v online after the last stop", online)
	}
}

// A RouterOS that lost its power: no stop, no Accounting-On, and its session
// numbers from the beginning.
func TestSessionNumbersComeAgain(t *testing.T) {
	z := newZone(t)
	code := z.sell("family")
	accept := z.accept(mikrotik, pap(code, "", station1))
	z.taken(mikrotik, of(accept, account(1, "80000001", station1)))
	z.pass(10 * time.Minute)
	z.taken(mikrotik, of(accept, octets(account(3, "80000001", station1), 1e6, 5e6, 10*time.Minute)))
	z.pass(3 * time.Minute)
	accept = z.accept(mikrotik, pap(code, "", station1))
	z.taken(mikrotik, of(accept, account(1, "80000001", station1)))
	z.pass(time.Minute)
	z.taken(mikrotik, of(accept, octets(account(3, "80000001", station1), 10, 20, time.Minute)))
	z.pass(time.Minute)
	z.taken(mikrotik, of(accept, octets(account(2, "80000001", station1), 100, 200, 2*time.Minute)))
	if got := z.used(phone1); got != (zonegate.Octets{Up: 1e6 + 100, Down: 5e6 + 200}) {
		t.Errorf("charged %+v", got)
	}
	if online := z.online(); len(online) != 0 {
		t.Errorf("%v online after the last stop", online)
	}
	// And now another device has that number.
	accept = z.accept(mikrotik, pap(code, "", station2))
	z.taken(mikrotik, of(accept, account(1, "80000001", station2)))
	z.pass(time.Minute)
	z.taken(mikrotik, of(accept, octets(account(3, "80000001", station2), 1, 2, time.Minute)))
	if got := z.used(phone1); got != (zonegate.Octets{Up: 1e6 + 101, Down: 5e6 + 202}) {
		t.Errorf("charged %+v", got)
	}
	if online := z.online(); !slices.Equal(online, []zonegate.MAC{phone2}) {
		t.Errorf("online: %v", online)
	}
}

// Two access points behind one address (NAT) whose clocks began at 1970, so
// that their session numbers are the same.
func TestTwoNASesBehindOneAddress(t *testing.T) {
	z := newZone(t)
	code := z.sell("family")
	for i, station := range []string{station1, station2} {
		accept := z.accept(chilli, pap(code, "", station))
		for k, status := range []rfc2866.AcctStatusType{1, 3, 2} {
			p := of(accept, account(status, "0000000a00000001", station))
			rfc2865.NASIdentifier_SetString(p, fmt.Sprint("point", i))
			z.pass(time.Minute)
			z.taken(chilli, octets(p, uint64(k)*1000, uint64(k)*2000, time.Duration(k)*time.Minute))
		}
	}
	if got := z.used(phone1); got != (zonegate.Octets{Up: 4000, Down: 8000}) {
		t.Errorf("charged %+v", got)
	}
}

func TestDeviceThatWalksToAnotherNAS(t *testing.T) {
	z := newZone(t)
	one := z.accept(mikrotik, pap(z.sell("capped"), "", station1))
	z.taken(mikrotik, of(one, account(1, "s", station1)))
	z.pass(5 * time.Minute)
	z.taken(mikrotik, of(one, octets(account(3, "s", station1), 1e9, 2e9, 5*time.Minute)))
	two := z.accept(chilli, pap(station1, station1, station1))
	z.taken(chilli, of(two, account(1, "t", station1)))
	z.pass(time.Minute)
	// The first NAS only notices later.
	z.taken(mikrotik, of(one, octets(account(2, "s", station1), 1e9+5, 2e9+5, 6*time.Minute)))
	z.taken(chilli, of(two, octets(account(3, "t", station1), 7, 7, time.Minute)))
	if got := z.used(phone1); got != (zonegate.Octets{Up: 1e9 + 12, Down: 2e9 + 12}) {
		t.Errorf("charged %+v", got)
	}
	if online := z.online(); !slices.Equal(online, []zonegate.MAC{phone1}) {
		t.Errorf("online: %v", online)
	}
}

func TestRestartEndsTheSessionsOfThatNAS(t *testing.T) {
	z := newZone(t)
	one := z.accept(mikrotik, pap(z.sell("day"), "", station1))
	z.taken(mikrotik, of(one, account(1, "s", station1)))
	two := z.accept(chilli, pap(z.sell("day"), "", station2))
	z.taken(chilli, of(two, account(1, "s", station2)))
	z.pass(time.Minute)
	z.taken(mikrotik, account(rfc2866.AcctStatusType_Value_AccountingOn, "", ""))
	if online := z.online(); !slices.Equal(online, []zonegate.MAC{phone2}) {
		t.Errorf("online: %v", online)
	}
	// An Accounting-On that waited behind a lost line is older than this.
	late := account(rfc2866.AcctStatusType_Value_AccountingOn, "", "")
	rfc2866.AcctDelayTime_Add(late, 120)
	z.taken(chilli, late)
	if online := z.online(); !slices.Equal(online, []zonegate.MAC{phone2}) {
		t.Errorf("online after an old restart: %v", online)
	}
}

func (z *zone) online() (list []zonegate.MAC) {
	for _, s := range z.gate.Sessions() {
		if !s.Session.Stopped {
			list = append(list, s.Session.Device)
		}
	}
	return list
}

func TestNothingIsAnsweredThatIsNotWritten(t *testing.T) {
	z := newZone(t)
	code := z.sell("capped")
	accept := z.accept(mikrotik, pap(z.sell("capped"), "", station1))
	z.failing(errors.New("no space left"))
	if got := z.ask(mikrotik, pap(code, "", station2)); got != nil {
		t.Errorf("a new code is answered with %v", got.Code)
	}
	if got := z.ask(mikrotik, of(accept, account(1, "s", station1))); got != nil {
		t.Error("a start is answered")
	}
	if got := z.ask(mikrotik, of(accept, octets(account(2, "s", station1), 1e6, 1e6, time.Minute))); got != nil {
		t.Error("a stop is answered")
	}
	if got := z.ask(mikrotik, account(7, "", "")); got != nil {
		t.Error("an Accounting-On is answered")
	}
	strict := mikrotik
	strict.Strict = true
	if got := z.ask(strict, of(accept, octets(account(3, "s", station1), 1e6, 1e6, time.Minute))); got != nil {
		t.Error("an interim of a strict NAS is answered")
	}
	z.failing(nil)
}

func (z *zone) failing(err error) {
	z.memory.mu.Lock()
	defer z.memory.mu.Unlock()
	z.fail = err
}
