package zonegate

import (
	"testing"
	"time"
)

// A NAS that is back from a power cut within two minutes and numbers its
// sessions from the start again.
func TestNASNumbersUsedAgainAtOnce(t *testing.T) {
	b, book := newNASBench(t)
	a := b.admit("ap", b.sell("capped"), phone1)
	b.report(start(a, "s1"))
	b.pass(5 * time.Minute)
	b.report(interim(a, "s1", 5*time.Minute, 1e5, 2e6))
	b.pass(40 * time.Second)
	if err := b.gate.Restarted(t.Context(), "ap", 0); err != nil {
		t.Fatal(err)
	}
	b.pass(10 * time.Second)
	a = b.admit("ap", "", phone1)
	b.report(start(a, "s1"))
	book.take()
	for i := 1; i <= 5; i++ {
		b.pass(time.Minute)
		b.report(interim(a, "s1", time.Duration(i)*time.Minute, 1e5, 2100000+uint64(i)*100000))
	}
	for _, e := range book.take() {
		if e.Stop {
			t.Errorf("the customer is cut off: %+v", e)
		}
	}
	if got := b.used(a); got < 4700000 {
		t.Errorf("charged %d, want 4700000", got)
	}
}
