package mikrotik_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/shaper/mikrotik"
	"zonegate/shaper/mikrotik/simros"
)

// TestThousandDevices lets a thousand in at once: at most three commands for
// each, so 15 s at 5 ms each, and never more than two queues for a rate
// without a committed part.
func TestThousandDevices(t *testing.T) {
	const n = many
	z := newZone(t, simros.Options{})
	c := z.config()
	c.Timeout = time.Minute
	r := z.open(c)
	var want []zonegate.Order
	for i := range n {
		z.appear(i)
		o := order(zonegate.SessionID(i+1), i)
		if i%2 == 1 {
			o = committed(o)
		}
		if i%3 == 0 {
			o.Allowance, o.Until = 100e6, z.Now()+time.Hour
		}
		want = append(want, o)
	}
	apply(t, r)
	z.commands()
	apply(t, r, want...)
	total, by := z.commands()
	t.Logf("%d commands: %v", total, by)
	// What is read once, and what a rate costs once.
	const fixed = 30
	if total > 3*n+fixed {
		t.Errorf("%d commands for %d devices", total, n)
	}
	for i := range n {
		if !z.Passes(i) {
			t.Fatalf("device %d does not pass", i)
		}
	}
	trees, queues := len(z.mine("/queue/tree")), len(z.mine("/queue/simple"))
	if trees != 2 || queues != n/2+1 {
		t.Errorf("%d queues in the tree and %d simple ones", trees, queues)
	}
	z.commands()
	usage(t, r)
	if total, by := z.commands(); total != 1 {
		t.Errorf("reading all counters took %v", by)
	}
	apply(t, r, want...)
	for command := range func() map[string]int { _, by := z.commands(); return by }() {
		if !strings.HasSuffix(command, "/print") {
			t.Errorf("applying again does %s", command)
		}
	}
	apply(t, r)
	if u, q, a := len(z.mine("/ip/hotspot/user")), len(z.mine("/queue/simple")), len(z.sim.Print("/ip/hotspot/active")); u != 0 || q != 1 || a != 0 {
		t.Errorf("%d users, %d queues and %d sessions are left", u, q, a)
	}
}

// TestActivation lets one device in, as after a redemption: the portal has
// asked who it is.
func TestActivation(t *testing.T) {
	z := newZone(t, simros.Options{})
	r := z.open(z.config())
	apply(t, r, order(1, 0), committed(order(2, 1)))
	for i, o := range []zonegate.Order{order(3, 3), committed(order(4, 4))} {
		z.appear(3 + i)
		if got, err := r.Locate(t.Context(), netip.MustParseAddr(ip(3+i))); err != nil || got != mac(3+i) {
			t.Fatalf("locating: %v, %v", got, err)
		}
		z.commands()
		change(t, r, []zonegate.Order{o})
		if total, by := z.commands(); total > 3 {
			t.Errorf("letting one device in took %v", by)
		}
		if !z.Passes(3 + i) {
			t.Errorf("device %d does not pass", 3+i)
		}
	}
	// Nobody asked who it is: the plan without a committed part still takes 3.
	z.appear(5)
	z.commands()
	change(t, r, []zonegate.Order{order(5, 5)})
	if total, by := z.commands(); total > 3 {
		t.Errorf("letting one device in took %v", by)
	}
	// The other one too, once the task has looked around.
	z.appear(6)
	z.commands()
	await(t, "the hosts to be read", func() bool {
		if _, err := r.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, by := z.commands()
		return by["/ip/hotspot/host/print"] > 0
	})
	change(t, r, []zonegate.Order{committed(order(6, 6))})
	if total, by := z.commands(); total > 3 {
		t.Errorf("letting one device in took %v", by)
	}
	if !z.Passes(6) {
		t.Error("device 6 does not pass")
	}
}

// TestProvisioningGivesWay sells to one customer while many are being set up:
// neither waits for the other.
func TestProvisioningGivesWay(t *testing.T) {
	const n = 150
	z := newEmptyZone(t, simros.Options{})
	c := z.config()
	c.Timeout, c.Report = time.Minute, time.Second
	r := z.open(c)
	apply(t, r)
	var want []zonegate.Order
	for i := range n {
		z.appear(i)
		want = append(want, committed(order(zonegate.SessionID(i+1), i)))
	}
	z.appear(n)
	z.commands()
	z.run(r)
	await(t, "the task to begin", func() bool { return z.sim.Commands()["/ip/hotspot/active/print"] > 0 })
	z.sim.Delay(3 * time.Millisecond)
	online := func() int { return len(z.sim.Print("/ip/hotspot/active")) }
	apply(t, r, want...)
	if m := online(); m == n {
		t.Error("the Gate waited until everybody was let in")
	}
	if _, err := r.Locate(t.Context(), netip.MustParseAddr(ip(n))); err != nil {
		t.Error(err)
	}
	change(t, r, []zonegate.Order{committed(order(n+1, n))})
	if m := online(); m >= n {
		t.Errorf("a customer waited until %d others were let in", m)
	}
	if !z.Passes(n) {
		t.Error("the customer does not pass")
	}
	// New limits for somebody who is still waiting, and for one who is not.
	for _, i := range []int{0, n - 1} {
		want[i].Allowance = 50e6
	}
	change(t, r, []zonegate.Order{want[0], want[n-1]}, n+1)
	z.sim.Delay(0)
	await(t, "everybody to be let in", func() bool { return online() >= n })
	for _, u := range z.mine("/ip/hotspot/user") {
		want := "0"
		if strings.HasPrefix(u["name"], "zonegate-1-") || strings.HasPrefix(u["name"], fmt.Sprintf("zonegate-%d-", n)) {
			want = "50000000"
		}
		if got := u["limit-bytes-total"]; got != want && got+want != "0" {
			t.Errorf("%s may use %s, want %s", u["name"], got, want)
		}
	}
	if u, q := len(z.mine("/ip/hotspot/user")), len(z.mine("/queue/simple")); u != n || q != n+1 {
		t.Errorf("%d users and %d queues for %d devices", u, q, n)
	}
}

func TestLocate(t *testing.T) {
	z := newZone(t, simros.Options{})
	r := z.open(z.config())
	if got, err := r.Locate(t.Context(), netip.MustParseAddr("::ffff:"+ip(1))); err != nil || got != mac(1) {
		t.Errorf("locating: %v, %v", got, err)
	}
	for _, a := range []string{"10.5.50.250", "2001:db8::1"} {
		if got, err := r.Locate(t.Context(), netip.MustParseAddr(a)); !errors.Is(err, mikrotik.ErrUnknownDevice) {
			t.Errorf("locating %s: %v, %v", a, got, err)
		}
	}
}

// TestRates looks at what the router was told.
func TestRates(t *testing.T) {
	z := newZone(t, simros.Options{})
	c := z.config()
	c.LinkDown, c.LinkUp = 10e6, 5e6
	r := z.open(c)
	a, b := committed(order(1, 0)), committed(order(2, 1))
	b.Grant, a.Devices, b.Devices = a.Grant, 2, 2
	apply(t, r, a, b, order(3, 2))
	queue := func() map[string]string {
		t.Helper()
		for _, q := range z.mine("/queue/simple") {
			if strings.HasPrefix(q["comment"], "zonegate:grant:1") {
				return q
			}
		}
		t.Fatalf("no queue: %v", z.mine("/queue/simple"))
		return nil
	}
	q := queue()
	if q["target"] != ip(0)+"/32,"+ip(1)+"/32" || q["max-limit"] != "2000000/5000000" || q["limit-at"] != "256000/1000000" || q["parent"] != "zonegate-link" {
		t.Errorf("the queue of both devices: %v", q)
	}
	// Sold more often than the link has it: scaled.
	big := committed(order(4, 0))
	big.Rate.CIRDown, big.Rate.MIRDown = 20e6, 20e6
	change(t, r, []zonegate.Order{big}, 1)
	for _, q := range z.mine("/queue/simple") {
		t.Logf("%s: %s, %s of %s", q["name"], q["target"], q["limit-at"], q["max-limit"])
		if strings.HasPrefix(q["comment"], "zonegate:grant:4") && (q["limit-at"] == "256000/20000000" || q["limit-at"] == "0/0") {
			t.Errorf("the queue commits %s of a link of 10 Mbit/s", q["limit-at"])
		}
	}
	// The rate without a committed part.
	types, trees, rules := z.mine("/queue/type"), z.mine("/queue/tree"), z.mine("/ip/firewall/mangle")
	if len(types) != 2 || len(trees) != 2 || len(rules) != 2 {
		t.Fatalf("types %v, trees %v, rules %v", types, trees, rules)
	}
	for _, x := range types {
		if want := map[string]string{"src-address": "2000000", "dst-address": "5000000"}[x["pcq-classifier"]]; x["pcq-rate"] != want {
			t.Errorf("queue type %v", x)
		}
	}
	for _, x := range trees {
		if x["queue"] != x["packet-mark"] || x["parent"] != "global" {
			t.Errorf("queue %v", x)
		}
	}
}
