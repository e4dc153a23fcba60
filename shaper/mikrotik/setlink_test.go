package mikrotik_test

import (
	"testing"

	"zonegate/shaper/mikrotik/simros"
)

// TestSetLink changes the rate of the link under a customer who is online: the
// queues follow, and he stays in.
func TestSetLink(t *testing.T) {
	z := newZone(t, simros.Options{})
	r := z.open(z.config())
	o := committed(order(1, 0))
	apply(t, r, o)
	z.Transfer(0, 0, 1000)
	z.commands()
	rates := func() (parent, commitment string) {
		for _, q := range z.mine("/queue/simple") {
			if q["parent"] == "" || q["parent"] == "none" {
				parent = q["max-limit"]
			} else {
				commitment = q["limit-at"]
			}
		}
		return parent, commitment
	}
	parent, full := rates()
	if parent != "200000000/200000000" || full == "" {
		t.Fatalf("link %q, commitment %q", parent, full)
	}
	// Half of what is committed.
	r.SetLink(o.Rate.CIRDown/2, o.Rate.CIRUp/2)
	if _, err := r.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	parent, scaled := rates()
	if parent == "200000000/200000000" || scaled == full {
		t.Errorf("link %q, commitment %q, as before", parent, scaled)
	}
	r.SetLink(0, 0)
	if _, err := r.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, again := rates(); again != full {
		t.Errorf("without a known link: %q, want %q", again, full)
	}
	if _, by := z.commands(); !z.Passes(0) || by["/ip/hotspot/active/login"] != 0 || by["/queue/simple/set"] == 0 {
		t.Errorf("the customer was logged out for it: %v", by)
	}
}
