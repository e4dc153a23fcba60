package zonegate

import (
	"testing"
	"time"
)

// A captured Stop that is sent again days later charges nothing.
func TestNASReplayedStopIsChargedOnce(t *testing.T) {
	b, _ := newNASBench(t)
	week := testPlans[1]
	week.ID, week.Duration = "week", 7*24*time.Hour
	if err := b.gate.SetPlans(t.Context(), append([]Plan{week}, testPlans...), false); err != nil {
		t.Fatal(err)
	}
	a := b.admit("ap", b.sell("week"), phone1)
	b.report(start(a, "s1"))
	b.report(stop(a, "s1", time.Hour, 1e6, 3e6))
	for range 26 {
		b.pass(time.Hour)
	}
	b.report(stop(a, "s1", time.Hour, 1e6, 3e6))
	if got := b.used(a); got != 4e6 {
		t.Errorf("charged %d, want 4000000", got)
	}
}

// A captured Start that is sent again days later cuts nobody off.
func TestNASReplayedStartCutsNobody(t *testing.T) {
	b, book := newNASBench(t)
	week := testPlans[1]
	week.ID, week.Duration = "week", 7*24*time.Hour
	if err := b.gate.SetPlans(t.Context(), append([]Plan{week}, testPlans...), false); err != nil {
		t.Fatal(err)
	}
	a := b.admit("ap", b.sell("week"), phone1)
	old := start(a, "s1")
	b.report(old)
	b.report(stop(a, "s1", time.Hour, 1e5, 1e5))
	for range 26 {
		b.pass(time.Hour)
	}
	a = b.admit("ap", "", phone1)
	b.report(start(a, "s2"))
	b.pass(5 * time.Minute)
	b.report(interim(a, "s2", 5*time.Minute, 1e5, 1e5))
	book.take()
	b.report(old)
	b.pass(5 * time.Minute)
	b.report(interim(a, "s2", 10*time.Minute, 2e5, 2e5))
	for _, e := range book.take() {
		if e.Stop && e.Session.Key == "s2" {
			t.Errorf("the customer's own session is stopped: %+v", e)
		}
	}
}
