package zonegate

import (
	"io"
	"testing"
	"time"
)

// What came together while the disk was full is more than one group.
func TestNASBacklogOfALongFailure(t *testing.T) {
	b, _ := newNASBench(t)
	a := b.admit("ap", b.sell("capped"), phone1)
	b.report(start(a, "s"))
	b.setFail(io.ErrShortWrite)
	const reports = 3 * maxBatch
	for i := range reports {
		// Near the end of a cap each report is a record.
		b.report(interim(a, "s", time.Minute+time.Duration(i)*time.Second, 0, 9.6e6+uint64(i)))
	}
	b.setFail(nil)
	for range 3 {
		b.gate.recover()
	}
	if err := b.gate.Health().Journal; err != nil {
		t.Fatalf("sales stay closed: %v", err)
	}
	b.kill()
	b.start(quick)
	if got := b.used(a); got != 9.6e6+reports-1 {
		t.Errorf("after a restart %d are charged", got)
	}
}
