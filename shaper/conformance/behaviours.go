package conformance

import (
	"time"

	"zonegate"
)

// Behaviours are all tests. Each needs a Zone of its own.
func Behaviours() []Behaviour {
	return []Behaviour{
		{"who has paid passes and a stranger does not", whoPasses},
		{"a stopped session does not pass and is accounted", stopped},
		{"stopping what is unknown is no error", stopUnknown},
		{"an order may come twice", twice},
		{"a complete set ends what is not in it", complete},
		{"usage grows from the session's beginning", cumulative},
		{"the next process adopts what the last one left", adopted},
		{"without a process who has paid passes on and time ends", alone},
		{"paid time ends", timeEnds},
		{"more time on a live session", moreTime},
		{"an allowance holds", capHolds},
		{"an allowance holds without a process, and what was used is accounted", capHoldsAlone},
		{"an allowance is shared by devices", capShared},
		{"more octets after the allowance is used up", toppedUp},
		{"more octets on a live session", toppedUpLive},
		{"another rate on a live session", rerated},
		{"a second device joins and leaves", joins},
		{"a grant moves to another device", moved},
		{"a device passes from one session to another", handedOver},
		{"an order that makes no sense stops no other", keepsGoing},
	}
}

// order is a session of a grant of the same number, on a device.
func order(z Zone, id zonegate.SessionID, device int) zonegate.Order {
	return zonegate.Order{
		Session: id, Grant: zonegate.GrantID(id), Device: z.Device(device), Devices: 1, Allowance: zonegate.NoCap,
		Rate: zonegate.Rate{MIRUp: 50e6, MIRDown: 50e6},
	}
}

// A run is one process.
type run struct {
	t    T
	z    Zone
	e    zonegate.Enforcer
	book *Book
	kill func()
}

func start(t T, z Zone) *run {
	r := &run{t: t, z: z, book: NewBook()}
	r.e, r.kill = z.Start(r.book)
	return r
}

func (r *run) apply(want ...zonegate.Order) {
	r.t.Helper()
	if err := r.e.Apply(r.t.Context(), want); err != nil {
		r.t.Fatalf("applying: %v", err)
	}
}

func (r *run) set(orders ...zonegate.Order) { r.t.Helper(); r.change(orders) }

func (r *run) stop(ids ...zonegate.SessionID) { r.t.Helper(); r.change(nil, ids...) }

func (r *run) change(set []zonegate.Order, stop ...zonegate.SessionID) {
	r.t.Helper()
	if err := r.e.Change(r.t.Context(), set, stop); err != nil {
		r.t.Fatalf("changing: %v", err)
	}
}

// usage reads the counters of all sessions.
func (r *run) usage() map[zonegate.SessionID]zonegate.Usage {
	r.t.Helper()
	list, err := r.e.Usage(r.t.Context())
	if err != nil {
		r.t.Fatalf("reading usage: %v", err)
	}
	out := map[zonegate.SessionID]zonegate.Usage{}
	for _, u := range list {
		out[u.Session] = u
	}
	return out
}

// passes checks which devices pass.
func passes(t T, z Zone, when string, want ...bool) {
	t.Helper()
	for i, w := range want {
		switch got := z.Passes(i); {
		case w && !got:
			t.Errorf("%s device %d does not pass", when, i)
		case !w && got:
			t.Errorf("%s device %d passes", when, i)
		}
	}
}

// exact compares what was accounted with what was delivered.
func exact(t T, z Zone, accounted ...zonegate.Octets) {
	t.Helper()
	var sum zonegate.Octets
	for _, o := range accounted {
		sum.Up += o.Up
		sum.Down += o.Down
	}
	if got := z.Delivered(); got != sum {
		t.Errorf("delivered %+v, accounted %+v", got, sum)
	}
}

// within checks an allowance: nothing above it but what the data path's limits
// say, and nothing worth having left.
func within(t T, z Zone, allowance, over uint64) {
	t.Helper()
	got := z.Delivered().Total()
	if got > allowance+over {
		t.Errorf("delivered %d of %d octets: %d too many, %d are stated", got, allowance, got-allowance, over)
	}
	if got+zonegate.SpentBelow < allowance {
		t.Errorf("delivered only %d of %d octets", got, allowance)
	}
}

func whoPasses(t T, z Zone) {
	r := start(t, z)
	r.apply()
	passes(t, z, "at the start", false, false)
	r.apply(order(z, 1, 0))
	passes(t, z, "with one session", true, false)
	r.set(order(z, 2, 1))
	passes(t, z, "with two sessions", true, true, false)
}

func stopped(t T, z Zone) {
	r := start(t, z)
	r.apply(order(z, 1, 0), order(z, 2, 1))
	z.Transfer(0, 100_000, 400_000)
	r.stop(1)
	passes(t, z, "after the stop", false, true)
	first := r.book.Final(t, 1)
	if first.Down < 400_000 || first.Up < 100_000 {
		t.Errorf("the last report is %+v", first)
	}
	r.stop(2)
	exact(t, z, first, r.book.Final(t, 2))
	if left := r.usage(); len(left) > 0 {
		for id, u := range left {
			if !u.Final {
				t.Errorf("session %d is still there: %+v", id, u)
			}
		}
	}
}

func stopUnknown(t T, z Zone) {
	r := start(t, z)
	r.stop(77)
	r.apply(order(z, 1, 0))
	r.stop(77, 78)
	passes(t, z, "after stopping another", true)
	r.stop(1)
	r.stop(1)
	passes(t, z, "after stopping it twice", false)
}

func twice(t T, z Zone) {
	r := start(t, z)
	o := order(z, 1, 0)
	o.Allowance, o.Until = 50e6, z.Now()+time.Hour
	r.apply(o)
	z.Transfer(0, 0, 300_000)
	for range 2 {
		r.apply(o)
		r.set(o)
		r.set(o, o)
	}
	passes(t, z, "after repetition", true)
	z.Transfer(0, 0, 300_000)
	if n := len(r.usage()); n != 1 {
		t.Errorf("%d sessions", n)
	}
	r.stop(1)
	exact(t, z, r.book.Final(t, 1))
}

func complete(t T, z Zone) {
	r := start(t, z)
	r.apply(order(z, 1, 0), order(z, 2, 1))
	passes(t, z, "with two sessions", true, true)
	r.apply(order(z, 2, 1), order(z, 3, 2))
	passes(t, z, "with others", false, true, true)
	r.book.Final(t, 1)
	r.apply()
	passes(t, z, "with none", false, false, false)
}

func cumulative(t T, z Zone) {
	r := start(t, z)
	o := order(z, 1, 0)
	r.apply(o)
	var last zonegate.Octets
	for i := range 4 {
		z.Transfer(0, 50_000, 200_000)
		u := r.usage()[1].Octets
		if u.Up < last.Up+50_000 || u.Down < last.Down+200_000 {
			t.Errorf("usage %+v after %+v", u, last)
		}
		last = u
		if i == 1 {
			r.set(o)
		}
	}
	exact(t, z, r.usage()[1].Octets)
	if back := r.book.Back(); len(back) > 0 {
		t.Errorf("reports went back: %+v", back)
	}
}

func adopted(t T, z Zone) {
	first := start(t, z)
	var orders []zonegate.Order
	for i := range Devices {
		o := order(z, zonegate.SessionID(i+1), i)
		o.Until = z.Now() + time.Hour
		if i == 1 {
			o.Allowance = 5e6
		}
		orders = append(orders, o)
	}
	first.apply(orders...)
	for i := range Devices {
		z.Transfer(i, 50_000, 300_000)
	}
	first.kill()
	passes(t, z, "without a process", true, true, true)
	for i := range Devices {
		z.Transfer(i, 0, 100_000)
	}
	second := start(t, z)
	found := second.usage()
	for i := range Devices {
		u := found[zonegate.SessionID(i+1)]
		if u.Octets.Down < 400_000 || u.Octets.Up < 50_000 {
			t.Errorf("session %d was left with %+v", i+1, u)
		}
	}
	second.apply(orders[:2]...)
	passes(t, z, "after the adoption", true, true, false)
	z.Transfer(1, 0, 6e6)
	second.book.Spent(t, 2)
	if got := second.usage()[2].Octets.Total(); got > 5e6+z.Limits().Over {
		t.Errorf("the adopted session got %d octets of 5000000", got)
	}
	second.apply()
	exact(t, z, second.book.Final(t, 1), second.book.Final(t, 2), second.book.Final(t, 3))
}

func alone(t T, z Zone) {
	r := start(t, z)
	o := order(z, 1, 0)
	o.Until = z.Now() + 3*time.Second
	forever := order(z, 2, 1)
	r.apply(o, forever)
	r.kill()
	passes(t, z, "without a process", true, true, false)
	z.Wait(4 * time.Second)
	passes(t, z, "after its time and without a process", false, true, false)
}

func timeEnds(t T, z Zone) {
	r := start(t, z)
	o := order(z, 1, 0)
	o.Until = z.Now() + 2*time.Second
	r.apply(o)
	passes(t, z, "in its time", true)
	z.Wait(3 * time.Second)
	passes(t, z, "after its time", false)
	r.stop(1) // as the Gate does then
	r.book.Final(t, 1)
}

func moreTime(t T, z Zone) {
	r := start(t, z)
	o := order(z, 1, 0)
	o.Until = z.Now() + 2*time.Second
	r.apply(o)
	z.Transfer(0, 0, 200_000)
	o.Until += time.Hour
	r.set(o)
	z.Wait(3 * time.Second)
	passes(t, z, "in the time that was added", true)
	r.stop(1)
	exact(t, z, r.book.Final(t, 1))
}

func capHolds(t T, z Zone) {
	r := start(t, z)
	o := order(z, 1, 0)
	o.Allowance = 3e6
	r.apply()
	r.set(o)
	z.Transfer(0, 500_000, 4e6)
	u := r.book.Spent(t, 1)
	passes(t, z, "with nothing left", false)
	within(t, z, o.Allowance, z.Limits().Over)
	exact(t, z, u)
	r.apply(o)
	passes(t, z, "after the same order", false)
}

func capHoldsAlone(t T, z Zone) {
	first := start(t, z)
	o := order(z, 1, 0)
	o.Allowance = 3e6
	first.apply(o)
	z.Transfer(0, 100_000, 400_000)
	first.usage()
	first.kill()
	z.Transfer(0, 0, 5e6)
	if got := z.Delivered().Total(); got > o.Allowance+z.Limits().Over {
		t.Errorf("without a process %d of %d octets were delivered", got, o.Allowance)
	}
	// What the data path kept back for safety is given now, and no more.
	second := start(t, z)
	exact(t, z, second.usage()[1].Octets)
	second.apply(o)
	z.Transfer(0, 0, 5e6)
	u := second.book.Spent(t, 1)
	within(t, z, o.Allowance, z.Limits().Over)
	exact(t, z, u)
}

func capShared(t T, z Zone) {
	r := start(t, z)
	a, b := order(z, 1, 0), order(z, 2, 1)
	a.Devices, a.Allowance = 2, 4e6
	b.Grant, b.Devices, b.Allowance = a.Grant, 2, 4e6
	r.apply(a, b)
	for range 12 {
		z.Transfer(0, 0, 300_000)
		z.Transfer(1, 50_000, 150_000)
	}
	u, v := r.book.Spent(t, 1), r.book.Spent(t, 2)
	passes(t, z, "with nothing left", false, false)
	within(t, z, 4e6, z.Limits().SharedOver)
	exact(t, z, u, v)
	if u.Total() < 1e6 || v.Total() < 4e5 {
		t.Errorf("one device got it all: %+v, %+v", u, v)
	}
}

func toppedUp(t T, z Zone) {
	r := start(t, z)
	o := order(z, 1, 0)
	o.Allowance = 1e6
	r.apply(o)
	z.Transfer(0, 0, 2e6)
	r.book.Spent(t, 1)
	within(t, z, 1e6, z.Limits().Over)
	o.Allowance = 3e6
	r.book.Forget(1)
	r.set(o)
	passes(t, z, "with more octets", true)
	z.Transfer(0, 0, 4e6)
	u := r.book.Spent(t, 1)
	within(t, z, 3e6, z.Limits().Over)
	exact(t, z, u)
}

func toppedUpLive(t T, z Zone) {
	r := start(t, z)
	o := order(z, 1, 0)
	o.Allowance = 2e6
	r.apply(o)
	z.Transfer(0, 100_000, 1e6)
	o.Allowance = 4e6
	r.set(o)
	z.Transfer(0, 0, 15e5)
	passes(t, z, "beyond the first allowance", true)
	z.Transfer(0, 0, 3e6)
	u := r.book.Spent(t, 1)
	within(t, z, 4e6, z.Limits().Over)
	exact(t, z, u)
}

func rerated(t T, z Zone) {
	r := start(t, z)
	o := order(z, 1, 0)
	o.Allowance = 50e6
	r.apply(o)
	for _, rate := range []zonegate.Rate{
		{MIRUp: 20e6, MIRDown: 40e6},
		{CIRUp: 1e6, CIRDown: 2e6, MIRUp: 20e6, MIRDown: 40e6},
		{CIRUp: 2e6, CIRDown: 4e6, MIRUp: 30e6, MIRDown: 60e6},
		{MIRUp: 50e6, MIRDown: 50e6},
		{},
	} {
		z.Transfer(0, 20_000, 200_000)
		o.Rate = rate
		r.set(o)
		passes(t, z, "after a new rate", true)
	}
	r.stop(1)
	u := r.book.Final(t, 1)
	exact(t, z, u)
	if u.Down < 1_000_000 {
		t.Errorf("reported %+v", u)
	}
	if back := r.book.Back(); len(back) > 0 {
		t.Errorf("reports went back: %+v", back)
	}
}

func joins(t T, z Zone) {
	r := start(t, z)
	a, b := order(z, 1, 0), order(z, 2, 1)
	a.Devices, a.Allowance = 2, 50e6
	b.Grant, b.Devices, b.Allowance = a.Grant, 2, 50e6
	r.apply(a)
	z.Transfer(0, 0, 300_000)
	r.set(a, b)
	passes(t, z, "with a second device", true, true, false)
	z.Transfer(0, 0, 300_000)
	z.Transfer(1, 0, 300_000)
	r.stop(1)
	passes(t, z, "when the first has left", false, true)
	first := r.book.Final(t, 1)
	// What it used is charged now, and the rest is for who remains.
	b.Allowance = 50e6 - first.Total()
	r.set(b)
	z.Transfer(1, 0, 300_000)
	passes(t, z, "alone", false, true)
	r.stop(2)
	exact(t, z, first, r.book.Final(t, 2))
}

func moved(t T, z Zone) {
	r := start(t, z)
	a, b := order(z, 1, 0), order(z, 2, 1)
	a.Allowance = 3e6
	r.apply(a)
	z.Transfer(0, 0, 1e6)
	// As the Gate does: less what it knows to be used.
	b.Grant, b.Allowance = a.Grant, 3e6-r.book.Last(1).Total()
	r.change([]zonegate.Order{b}, 1)
	passes(t, z, "after the move", false, true)
	first := r.book.Final(t, 1)
	b.Allowance = 3e6 - first.Total()
	r.set(b)
	z.Transfer(1, 0, 4e6)
	second := r.book.Spent(t, 2)
	within(t, z, 3e6, z.Limits().Over)
	exact(t, z, first, second)
}

func handedOver(t T, z Zone) {
	r := start(t, z)
	r.apply(order(z, 1, 0), order(z, 3, 1))
	z.Transfer(0, 0, 300_000)
	r.change([]zonegate.Order{order(z, 2, 0)}, 1)
	passes(t, z, "under the second session", true, true)
	first := r.book.Final(t, 1)
	z.Transfer(0, 0, 300_000)
	r.stop(2)
	passes(t, z, "after both", false, true)
	second := r.book.Final(t, 2)
	if first.Down < 300_000 || second.Down < 300_000 {
		t.Errorf("first %+v, second %+v", first, second)
	}
	r.stop(3)
	exact(t, z, first, second, r.book.Final(t, 3))
}

func keepsGoing(t T, z Zone) {
	r := start(t, z)
	nonsense := order(z, 1, 2)
	nonsense.Session = 0
	if err := r.e.Apply(t.Context(), []zonegate.Order{order(z, 1, 0), nonsense, order(z, 2, 1)}); err == nil {
		t.Errorf("an order without a session is no error")
	}
	passes(t, z, "beside nonsense", true, true, false)
}
