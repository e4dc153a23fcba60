package hub

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// TestGathering: answers that wait together are written together, each once,
// and all of a transaction share its fate.
func TestGathering(t *testing.T) {
	var g gathering[gatewayAcks]
	const callers = 500
	broken := errors.New("the disk is full")
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	seen := map[uint64]int{}
	writes := 0
	write := func(_ context.Context, all []gatewayAcks) error {
		// The first holds the others up until all of them wait.
		once.Do(func() {
			close(entered)
			<-release
		})
		writes++ // never two at once: the race detector looks on
		for _, one := range all {
			for _, a := range one.acks {
				seen[a.Seq]++
			}
		}
		if writes == 2 {
			return broken
		}
		return nil
	}
	var failed, done int
	var mu sync.Mutex
	var callersDone sync.WaitGroup
	call := func(seq uint64) {
		err := g.put(t.Context(), gatewayAcks{acks: []Ack{{Seq: seq}, {Seq: seq + 10_000}}}, 2, write)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			done++
		case errors.Is(err, broken):
			failed++
		default:
			t.Error(err)
		}
	}
	callersDone.Go(func() { call(1) })
	<-entered
	for n := uint64(2); n <= callers; n++ {
		callersDone.Go(func() { call(n) })
	}
	for waiting := 0; waiting < callers-1; {
		g.mu.Lock()
		waiting = len(g.queue)
		g.mu.Unlock()
	}
	close(release)
	callersDone.Wait()
	// 499 wait with two answers each, and a transaction takes 1,000.
	if writes != 2 || done != 1 || failed != callers-1 {
		t.Errorf("%d transactions, %d done and %d failed; want 2, 1 and %d", writes, done, failed, callers-1)
	}
	for n := uint64(1); n <= callers; n++ {
		if seen[n] != 1 || seen[n+10_000] != 1 {
			t.Fatalf("answer %d was written %d and %d times", n, seen[n], seen[n+10_000])
		}
	}
	// Nothing is stuck afterwards.
	call(9_000)
	if done != 2 || writes != 3 {
		t.Errorf("afterwards: %d done with %d transactions", done, writes)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.put(ended, gatewayAcks{acks: []Ack{{}}}, 1, write); !errors.Is(err, context.Canceled) || writes != 3 {
		t.Errorf("who has gone already: %v, %d transactions", err, writes)
	}
}
