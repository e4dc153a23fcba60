package zonegate

import (
	"testing"
	"time"
)

// A replayed Accounting-On gives no free time.
func TestNASReplayedOnGivesNoFreeTime(t *testing.T) {
	b, _ := newNASBench(t)
	a := b.admit("ap", b.sell("online"), phone1)
	b.report(start(a, "s1"))
	for i := 1; i <= 12; i++ {
		for range 30 {
			if err := b.gate.Restarted(t.Context(), "ap", 0); err != nil {
				t.Fatal(err)
			}
			b.pass(10 * time.Second)
		}
		b.report(interim(a, "s1", time.Duration(i)*5*time.Minute, uint64(i)*1e6, uint64(i)*1e6))
	}
	bal, err := b.gate.Balance(a.Session.Grant)
	if err != nil {
		t.Fatal(err)
	}
	// What the first ones took is not known.
	if bal.TimeLeft > 11*time.Minute {
		t.Errorf("after an hour online %v are left", bal.TimeLeft)
	}
	// Its owner is believed.
	if err := b.gate.Removed(t.Context(), "ap"); err != nil {
		t.Fatal(err)
	}
	if b.gate.Standing(phone1).Online {
		t.Error("the NAS was removed, but its session goes on")
	}
}
