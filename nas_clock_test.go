package zonegate

import (
	"testing"
	"time"
)

// One absurd session time must not end the counting.
func TestNASAbsurdLastedGoesOnCounting(t *testing.T) {
	b, _ := newNASBench(t)
	a := b.admit("ap", b.sell("capped"), phone1)
	b.report(start(a, "s1"))
	b.report(interim(a, "s1", 5*time.Minute, 1e5, 1e5))
	r := interim(a, "s1", 0xFFFFFFF0*time.Second, 2e5, 2e5)
	r.Wraps = true
	b.report(r)
	r = interim(a, "s1", 15*time.Minute, 6e6, 6e6)
	r.Wraps = true
	b.report(r)
	if got := b.used(a); got != 12e6 {
		t.Errorf("charged %d, want 12000000", got)
	}
}

// A NAS whose clock is set back an hour goes on being counted, its stop too.
func TestNASClockSetBackGoesOnCounting(t *testing.T) {
	b, _ := newNASBench(t)
	a := b.admit("ap", b.sell("capped"), phone1)
	b.report(start(a, "s1"))
	b.report(interim(a, "s1", 2*time.Hour, 1e5, 1e5))
	b.pass(5 * time.Minute)
	b.report(stop(a, "s1", time.Hour+5*time.Minute, 4e6, 4e6))
	if got := b.used(a); got != 8e6 {
		t.Errorf("charged %d, want 8000000", got)
	}
}
