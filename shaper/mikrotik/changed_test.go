package mikrotik_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/shaper/mikrotik"
	"zonegate/shaper/mikrotik/simros"
)

// TestRival has two gateways on one router: the second does nothing to it and
// says what to do, and the first goes on.
func TestRival(t *testing.T) {
	z := newZone(t, simros.Options{})
	site := func(s string) *mikrotik.Router {
		c := z.config()
		c.Site = s
		return z.open(c)
	}
	first := site("here")
	apply(t, first, order(1, 0))
	z.Transfer(0, 0, 100_000)
	second := site("there")
	before := len(z.sim.Print("/ip/hotspot/user"))
	_, err := second.Usage(t.Context())
	_, look := second.Look(t.Context())
	for what, err := range map[string]error{
		"applying": second.Apply(t.Context(), nil), "changing": second.Change(t.Context(), []zonegate.Order{order(1, 1)}, nil),
		"counting": err, "looking": look,
	} {
		if !errors.Is(err, mikrotik.ErrRival) || !strings.Contains(err.Error(), "/ip/hotspot/user/remove [find where comment~") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if f := findings(t, second)["another zonegate"]; !f.Serious || !strings.Contains(f.Fix, "/ip/hotspot/user/remove [find where comment~") {
		t.Errorf("found %+v", f)
	}
	if f, ok := findings(t, first)["another zonegate"]; ok {
		t.Errorf("found about itself: %+v", f)
	}
	if after := len(z.sim.Print("/ip/hotspot/user")); after != before || !z.Passes(0) || z.Passes(1) {
		t.Errorf("%d users of %d", after, before)
	}
	if got := usage(t, first)[1].Octets.Down; got < 100_000 {
		t.Errorf("%d octets", got)
	}
	// Its own next process, and one of before gateways had names.
	apply(t, site("here"), order(1, 0))
	apply(t, z.open(z.config()), order(1, 0))
	apply(t, site("there"), order(1, 0))
	if !z.Passes(0) {
		t.Error("the customer does not pass")
	}
}

// TestServerRenamed has the reseller rename the hotspot server, before a start
// and in between.
func TestServerRenamed(t *testing.T) {
	z := newZone(t, simros.Options{})
	c := z.config()
	c.Server = "hotspot1"
	r := z.open(c)
	apply(t, r, committed(order(1, 0)))
	rename := func(from, to string) {
		t.Helper()
		if err := z.sim.Set("/ip/hotspot", from, map[string]string{"name": to}); err != nil {
			t.Fatal(err)
		}
	}
	rename("hotspot1", "Chez Awa")
	change(t, r, []zonegate.Order{order(2, 1)})
	next := z.open(c)
	apply(t, next, committed(order(1, 0)), order(2, 1), order(3, 2))
	for i := range 3 {
		if !z.Passes(i) {
			t.Errorf("device %d does not pass", i)
		}
	}
	if f := findings(t, next)["hotspot"]; !f.Serious || !strings.Contains(f.Problem, "Chez Awa") {
		t.Errorf("found %+v", f)
	}
	z.appear(3)
	// Which of two is meant, nobody can tell: who is in stays in.
	if _, err := z.sim.Add("/ip/hotspot", map[string]string{"name": "another", "interface": "ether4"}); err != nil {
		t.Fatal(err)
	}
	last := z.open(c)
	err := last.Apply(t.Context(), []zonegate.Order{committed(order(1, 0)), order(2, 1), order(3, 2), order(4, 3)})
	if err == nil || !strings.Contains(err.Error(), "/ip/hotspot/print") {
		t.Errorf("applying without knowing where: %v", err)
	}
	if !z.Passes(0) || z.Passes(3) {
		t.Error("the wrong ones pass")
	}
	rename("Chez Awa", "hotspot1")
	apply(t, last, committed(order(1, 0)), order(4, 3))
	if !z.Passes(3) || z.Passes(1) {
		t.Error("the wrong ones pass")
	}
}

// TestProfileEdited has somebody give a profile of ours limits of its own: they
// are taken back.
func TestProfileEdited(t *testing.T) {
	z := newZone(t, simros.Options{})
	r := z.open(z.config())
	apply(t, r, order(1, 0), committed(order(2, 1)))
	good := z.mine("/ip/hotspot/user/profile")
	if len(good) != 2 {
		t.Fatalf("profiles %v", good)
	}
	for _, edit := range []map[string]string{
		{"rate-limit": "64k/64k"}, {"session-timeout": "5m"}, {"idle-timeout": "1m"}, {"keepalive-timeout": "2m"},
		{"add-mac-cookie": "yes"}, {"shared-users": "9"}, {"address-list": "vip"},
	} {
		for _, p := range good {
			if err := z.sim.Set("/ip/hotspot/user/profile", p[".id"], edit); err != nil {
				t.Fatal(err)
			}
		}
		apply(t, r, order(1, 0), committed(order(2, 1)))
		for i, p := range z.mine("/ip/hotspot/user/profile") {
			for k := range edit {
				if p[k] != good[i][k] && p[k] != "0s" {
					t.Errorf("%s of %s stays %s", k, p["name"], p[k])
				}
			}
		}
	}
	z.commands()
	apply(t, r, order(1, 0), committed(order(2, 1)))
	if _, by := z.commands(); by["/ip/hotspot/user/profile/set"] != 0 {
		t.Errorf("a mended profile is mended again: %v", by)
	}
}

// TestQueueDeleted has somebody delete a customer's queue while no order comes:
// the next audit makes it again.
func TestQueueDeleted(t *testing.T) {
	z := newZone(t, simros.Options{})
	r := z.open(z.config())
	apply(t, r, committed(order(1, 0)))
	z.run(r)
	for _, q := range z.mine("/queue/simple") {
		if q["parent"] != "none" {
			if err := z.sim.Remove("/queue/simple", q[".id"]); err != nil {
				t.Fatal(err)
			}
		}
	}
	await(t, "the queue", func() bool { return len(z.mine("/queue/simple")) == 2 })
}

// TestDateJumps has the router's date jump: nothing begins or ends by it.
func TestDateJumps(t *testing.T) {
	for _, version := range []string{"6.49.18", "7.16.1"} {
		z := newZone(t, simros.Options{Version: version})
		r := z.open(z.config())
		o := order(1, 0)
		o.Until = z.Now() + time.Hour
		apply(t, r, o)
		z.Transfer(0, 0, 100_000)
		for _, d := range []time.Duration{-50 * 365 * 24 * time.Hour, 100 * 365 * 24 * time.Hour} {
			z.sim.JumpClock(d)
			z.commands()
			apply(t, r, o)
			for command := range z.sim.Commands() {
				if !strings.HasSuffix(command, "/print") {
					t.Errorf("%s: after the date jumped, %s", version, command)
				}
			}
			if got := usage(t, r)[1].Octets.Down; !z.Passes(0) || got < 100_000 {
				t.Errorf("%s: after the date jumped, %d octets", version, got)
			}
		}
		z.Wait(time.Hour + time.Second)
		if z.Passes(0) {
			t.Errorf("%s: the time does not end", version)
		}
	}
}

// TestUpgrade has the reseller upgrade the router: formats change, and internal
// numbers may name something else.
func TestUpgrade(t *testing.T) {
	z := newZone(t, simros.Options{Version: "6.49.18"})
	for menu, attrs := range map[string]map[string]string{
		"/ip/hotspot/user": {"name": "ticket-1", "password": "x"},
		"/queue/simple":    {"name": "Office", "target": "192.168.9.0/24"},
	} {
		if _, err := z.sim.Add(menu, attrs); err != nil {
			t.Fatal(err)
		}
	}
	r := z.open(z.config())
	a, b := committed(order(1, 0)), committed(order(2, 1))
	a.Allowance, a.Until = 10e6, z.Now()+time.Hour
	apply(t, r, a, b, order(3, 2))
	z.Transfer(0, 0, 1_000_000)
	usage(t, r)
	z.sim.Upgrade("7.20")
	for i := range 3 {
		z.appear(i)
	}
	// Whatever comes first meets numbers that it does not know.
	await(t, "a customer to be stopped", func() bool { return r.Change(t.Context(), nil, []zonegate.SessionID{2}) == nil })
	await(t, "the others to be let in", func() bool {
		_, err := r.Look(t.Context())
		return err == nil && z.Passes(0) && z.Passes(2)
	})
	if z.Passes(1) {
		t.Error("the stopped customer passes")
	}
	if got := usage(t, r)[1].Octets.Down; got < 1_000_000 {
		t.Errorf("%d octets after the upgrade", got)
	}
	if u, q := len(z.mine("/ip/hotspot/user")), len(z.mine("/queue/simple")); u != 2 || q != 2 {
		t.Errorf("%d users and %d queues", u, q)
	}
	for menu, name := range map[string]string{"/ip/hotspot/user": "ticket-1", "/queue/simple": "Office"} {
		found := false
		for _, x := range z.sim.Print(menu) {
			found = found || x["name"] == name
		}
		if !found {
			t.Errorf("%s of %s is gone", name, menu)
		}
	}
	info, err := r.Info(t.Context())
	if err != nil || !strings.HasPrefix(info.Version, "7.20") {
		t.Errorf("info %+v, %v", info, err)
	}
}

// TestUpgradeInTheMiddle upgrades between any two commands of an order.
func TestUpgradeInTheMiddle(t *testing.T) {
	for cut := uint32(1); cut < 1500; cut += 97 {
		z := newZone(t, simros.Options{})
		if _, err := z.sim.Add("/ip/hotspot/user", map[string]string{"name": "ticket-1", "password": "x"}); err != nil {
			t.Fatal(err)
		}
		z.appear(3)
		r := z.open(z.config())
		apply(t, r, order(1, 0), committed(order(2, 1)), order(3, 2))
		z.sim.DropAfter(cut)
		err := r.Change(t.Context(), []zonegate.Order{committed(order(4, 3))}, []zonegate.SessionID{1, 2})
		z.sim.Upgrade("7.20.1")
		for i := range 4 {
			z.appear(i)
		}
		if err == nil {
			err = r.Change(t.Context(), nil, []zonegate.SessionID{1, 2})
		}
		for range 2 {
			await(t, "the orders", func() bool { return r.Apply(t.Context(), []zonegate.Order{order(3, 2), committed(order(4, 3))}) == nil })
		}
		if z.Passes(0) || z.Passes(1) || !z.Passes(2) || !z.Passes(3) {
			t.Errorf("cut after %d (%v): the wrong ones pass", cut, err)
		}
		if u, q := len(z.mine("/ip/hotspot/user")), len(z.mine("/queue/simple")); u != 2 || q != 2 {
			t.Errorf("cut after %d (%v): %d users and %d queues", cut, err, u, q)
		}
		if len(z.sim.Print("/ip/hotspot/user")) != 4 { // with ticket-1 and default-trial
			t.Errorf("cut after %d (%v): users %v", cut, err, z.sim.Print("/ip/hotspot/user"))
		}
	}
}
