package mikrotik_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/shaper/conformance"
	"zonegate/shaper/mikrotik"
	"zonegate/shaper/mikrotik/simros"
)

// await waits for something that the task does by itself.
func await(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s", what)
		}
	}
}

// TestReboot starts the router again in the middle of a session: nothing that
// was used is lost or counted twice, and the cap holds over both lives.
func TestReboot(t *testing.T) {
	for _, keep := range []bool{false, true} {
		z := newZone(t, simros.Options{KeepUserCounters: keep})
		book := conformance.NewBook()
		e, _ := z.Start(book)
		r := e.(*mikrotik.Router)
		o := committed(order(1, 0))
		o.Allowance, o.Until = 5e6, z.Now()+time.Hour
		apply(t, r, o, order(2, 1))
		z.Transfer(0, 100_000, 1_900_000)
		before := usage(t, r)[1].Octets
		z.sim.Reboot()
		if z.Passes(0) {
			t.Fatal("a device passes before the hotspot has seen it")
		}
		z.appear(0)
		z.appear(1)
		await(t, "the devices to be let in again", func() bool { return z.Passes(0) && z.Passes(1) })
		z.Transfer(0, 0, 1_000_000)
		if after := usage(t, r)[1].Octets; after.Down < before.Down+1_000_000 || after.Up < before.Up {
			t.Errorf("usage %+v after %+v", after, before)
		}
		z.Transfer(0, 0, 9_000_000)
		spent := book.Spent(t, 1)
		change(t, r, nil, 2)
		other := book.Final(t, 2)
		sum := zonegate.Octets{Up: spent.Up + other.Up, Down: spent.Down + other.Down}
		if got := z.Delivered(); got != sum {
			t.Errorf("delivered %+v, accounted %+v and %+v", got, spent, other)
		}
		if n := spent.Total(); n > 5e6+chunk || n+zonegate.SpentBelow < 5e6 {
			t.Errorf("%d octets of 5000000 over two lives", n)
		}
		if back := book.Back(); len(back) > 0 {
			t.Errorf("reports went back: %+v", back)
		}
	}
}

// TestRenamed has the reseller rename everything of ours, or clear the
// comments: it is found again, and nothing is made twice.
func TestRenamed(t *testing.T) {
	z := newZone(t, simros.Options{})
	r := z.open(z.config())
	want := []zonegate.Order{committed(order(1, 0)), order(2, 1)}
	apply(t, r, want...)
	z.Transfer(0, 0, 500_000)
	for _, menu := range []string{"/ip/hotspot/user", "/queue/simple", "/queue/tree"} {
		for _, x := range z.mine(menu) {
			if err := z.sim.Set(menu, x[".id"], map[string]string{"name": "Mme Koffi " + x[".id"]}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 {
		apply(t, r, want...)
		if u, q, tr := len(z.mine("/ip/hotspot/user")), len(z.mine("/queue/simple")), len(z.mine("/queue/tree")); u != 2 || q != 2 || tr != 2 {
			t.Errorf("%d users, %d queues, %d in the tree", u, q, tr)
		}
	}
	if got := usage(t, r)[1].Octets.Down; got != 500_000 {
		t.Errorf("%d octets after the renaming", got)
	}
	// The next process too.
	next := z.open(z.config())
	if got := usage(t, next); len(got) != 2 || got[1].Octets.Down != 500_000 {
		t.Errorf("the next process finds %+v", got)
	}
	apply(t, next, want...)
	if !z.Passes(0) || !z.Passes(1) {
		t.Error("somebody does not pass")
	}
	// A new device under a renamed user.
	change(t, next, []zonegate.Order{{Session: 3, Grant: 2, Device: mac(2), Devices: 1, Allowance: zonegate.NoCap, Rate: want[1].Rate}}, 2)
	if z.Passes(1) || !z.Passes(2) {
		t.Error("the grant did not move")
	}
}

// TestDeleted has somebody delete what is ours while customers are online.
func TestDeleted(t *testing.T) {
	for _, menu := range []string{"/ip/hotspot/user", "/ip/hotspot/active", "/queue/simple", "/queue/tree", "/ip/firewall/mangle"} {
		z := newZone(t, simros.Options{})
		r := z.open(z.config())
		o := committed(order(1, 0))
		o.Allowance = 10e6
		want := []zonegate.Order{o, order(2, 1)}
		apply(t, r, want...)
		z.Transfer(0, 0, 300_000)
		usage(t, r)
		list := z.mine(menu)
		if menu == "/ip/hotspot/active" {
			list = z.sim.Print(menu)
		}
		if len(list) == 0 {
			t.Fatalf("nothing in %s", menu)
		}
		// Children first.
		for i := len(list) - 1; i >= 0; i-- {
			if err := z.sim.Remove(menu, list[i][".id"]); err != nil {
				t.Fatalf("removing from %s: %v", menu, err)
			}
		}
		apply(t, r, want...)
		if !z.Passes(0) || !z.Passes(1) {
			t.Errorf("after %s was emptied somebody does not pass", menu)
		}
		if menu != "/ip/hotspot/active" && len(z.mine(menu)) != len(list) {
			t.Errorf("%s held %d and holds %d", menu, len(list), len(z.mine(menu)))
		}
		if got := usage(t, r)[1].Octets.Down; got < 300_000 {
			t.Errorf("after %s was emptied usage is %d", menu, got)
		}
	}
}

// TestForeign leaves alone what is not ours.
func TestForeign(t *testing.T) {
	z := newZone(t, simros.Options{})
	foreign := map[string]map[string]string{
		"/ip/hotspot/user":         {"name": "ticket-1", "password": "x", "comment": "vc-123"},
		"/queue/simple":            {"name": "Office", "target": "192.168.9.0/24", "max-limit": "1M/1M"},
		"/ip/hotspot/user/profile": {"name": "5M", "rate-limit": "5M/5M"},
	}
	for menu, attrs := range foreign {
		if _, err := z.sim.Add(menu, attrs); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.sim.Login(macText(2), "ticket-1", "x"); err != nil {
		t.Fatal(err)
	}
	r := z.open(z.config())
	apply(t, r, committed(order(1, 0)))
	apply(t, r)
	if !z.Passes(2) {
		t.Error("somebody else's customer was logged out")
	}
	// A device that buys from us passes under us.
	apply(t, r, order(2, 2))
	if got := z.sim.Print("/ip/hotspot/active"); len(got) != 1 || !strings.HasPrefix(got[0]["user"], "zonegate-") {
		t.Errorf("online: %v", got)
	}
	if err := r.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	for menu, attrs := range foreign {
		found := false
		for _, x := range z.sim.Print(menu) {
			found = found || x["name"] == attrs["name"]
		}
		if !found {
			t.Errorf("%s of %s is gone", attrs["name"], menu)
		}
	}
	for _, menu := range []string{"/ip/hotspot/user", "/queue/simple", "/ip/hotspot/user/profile", "/queue/type", "/queue/tree", "/ip/firewall/mangle"} {
		if left := z.mine(menu); len(left) > 0 {
			t.Errorf("left in %s: %v", menu, left)
		}
	}
}

// TestCutAnywhere cuts the connection after so many octets of answers: the
// next tries get it done, with nothing twice.
func TestCutAnywhere(t *testing.T) {
	z := newZone(t, simros.Options{})
	r := z.open(z.config())
	want := []zonegate.Order{committed(order(1, 0)), order(2, 1), order(3, 2)}
	for cut := uint32(1); cut < 3000; cut += 97 {
		z.sim.DropAfter(cut)
		var err error
		await(t, "the orders to be carried out", func() bool {
			err = r.Apply(t.Context(), want)
			if err != nil && !errors.Is(err, mikrotik.ErrUnreachable) {
				t.Fatalf("cut after %d: %v", cut, err)
			}
			return err == nil
		})
		for i := range want {
			if !z.Passes(i) {
				t.Fatalf("cut after %d: device %d does not pass", cut, i)
			}
		}
		if u, q := len(z.mine("/ip/hotspot/user")), len(z.mine("/queue/simple")); u != 3 || q != 2 {
			t.Fatalf("cut after %d: %d users and %d queues", cut, u, q)
		}
		await(t, "everybody to be stopped", func() bool { return r.Apply(t.Context(), nil) == nil })
		if len(z.sim.Print("/ip/hotspot/active")) > 0 {
			t.Fatalf("cut after %d: somebody passes", cut)
		}
	}
}

// TestLostReplies carries commands out without saying so.
func TestLostReplies(t *testing.T) {
	for _, command := range []string{
		"/ip/hotspot/user/add", "/ip/hotspot/user/profile/add", "/queue/simple/add", "/queue/type/add", "/queue/tree/add",
		"/ip/firewall/mangle/add", "/ip/hotspot/active/login", "/ip/hotspot/user/remove", "/ip/hotspot/active/remove",
	} {
		z := newZone(t, simros.Options{})
		r := z.open(z.config())
		want := []zonegate.Order{committed(order(1, 0)), order(2, 1)}
		z.sim.LoseReply(command, 1)
		for _, set := range [][]zonegate.Order{want, nil, want} {
			await(t, "the orders", func() bool { return r.Apply(t.Context(), set) == nil })
			if got := len(z.sim.Print("/ip/hotspot/active")); got != len(set) {
				t.Errorf("%s: %d pass of %d", command, got, len(set))
			}
			if got := len(z.mine("/ip/hotspot/user")); got != len(set) {
				t.Errorf("%s: %d users for %d", command, got, len(set))
			}
		}
		if q, m, tr := len(z.mine("/queue/simple")), len(z.mine("/ip/firewall/mangle")), len(z.mine("/queue/tree")); q != 2 || m != 2 || tr != 2 {
			t.Errorf("%s: %d queues, %d rules, %d in the tree", command, q, m, tr)
		}
	}
}

// TestKeepsGoing has one menu refuse: the rest is done, and done later.
func TestKeepsGoing(t *testing.T) {
	z := newZone(t, simros.Options{})
	r := z.open(z.config())
	z.sim.Deny("/queue/simple/add", true)
	err := r.Apply(t.Context(), []zonegate.Order{committed(order(1, 0)), order(2, 1)})
	if !errors.Is(err, mikrotik.ErrPermission) {
		t.Errorf("applying without a permission: %v", err)
	}
	if z.Passes(0) || !z.Passes(1) {
		t.Error("the customer without a queue passes, or the other does not")
	}
	z.sim.Deny("/queue/simple/add", false)
	apply(t, r, committed(order(1, 0)), order(2, 1))
	if !z.Passes(0) {
		t.Error("the customer does not pass")
	}
}

// TestAway lets a device in when the hotspot sees it, and keeps it when it
// comes back at another address.
func TestAway(t *testing.T) {
	z := newZone(t, simros.Options{})
	book := conformance.NewBook()
	e, _ := z.Start(book)
	r := e.(*mikrotik.Router)
	apply(t, r, committed(order(1, 7)))
	z.appear(7)
	await(t, "the device to be let in", func() bool { return z.Passes(7) })
	z.Transfer(7, 0, 100_000)
	if err := z.sim.Appear(macText(7), "10.5.50.77"); err != nil {
		t.Fatal(err)
	}
	await(t, "the device at its new address", func() bool { return z.Passes(7) })
	await(t, "its queue", func() bool {
		for _, q := range z.mine("/queue/simple") {
			if q["target"] == "10.5.50.77/32" {
				return true
			}
		}
		return false
	})
	change(t, r, nil, 1)
	if got := book.Final(t, 1); got != z.Delivered() {
		t.Errorf("accounted %+v, delivered %+v", got, z.Delivered())
	}
}

// TestEndedMeanwhile has customers go on while no process is here: one uses up
// all it has, one leaves. The next process knows what they used, and nobody
// gets anything twice.
func TestEndedMeanwhile(t *testing.T) {
	for _, o := range []simros.Options{{}, {LiveUserCounters: true}, {KeepUserCounters: true}} {
		z := newZone(t, o)
		book := conformance.NewBook()
		e, kill := z.Start(book)
		first, second := order(1, 0), committed(order(2, 1))
		first.Allowance, second.Allowance = 2e6, 9e6
		apply(t, e.(*mikrotik.Router), first, second)
		z.Transfer(0, 100_000, 200_000)
		z.Transfer(1, 100_000, 200_000)
		usage(t, e.(*mikrotik.Router))
		kill()
		z.Transfer(0, 0, 9e6)
		z.Transfer(1, 0, 1e6)
		for _, a := range z.sim.Print("/ip/hotspot/active") {
			if err := z.sim.Remove("/ip/hotspot/active", a[".id"]); err != nil {
				t.Fatal(err)
			}
		}
		next, _ := z.Start(book)
		r := next.(*mikrotik.Router)
		got := usage(t, r)
		if sum := (zonegate.Octets{Up: got[1].Octets.Up + got[2].Octets.Up, Down: got[1].Octets.Down + got[2].Octets.Down}); sum != z.Delivered() {
			t.Errorf("%+v: accounted %+v, delivered %+v", o, got, z.Delivered())
		}
		apply(t, r, first, second)
		if got := book.Spent(t, 1); got.Total() > 2e6+chunk {
			t.Errorf("%+v: used %+v of 2000000", o, got)
		}
		if z.Passes(0) || !z.Passes(1) {
			t.Errorf("%+v: the wrong ones pass", o)
		}
		change(t, r, nil, 1, 2)
		sum := book.Final(t, 1)
		sum.Up, sum.Down = sum.Up+book.Final(t, 2).Up, sum.Down+book.Final(t, 2).Down
		if sum != z.Delivered() {
			t.Errorf("%+v: accounted %+v in the end, delivered %+v", o, sum, z.Delivered())
		}
	}
}
