package central

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"zonegate/sync/api"
)

// A pace is how fast everything goes; tests go faster.
type pace struct {
	header                    time.Duration // until the header of an answer
	breakerFirst, breakerMost time.Duration
	retryFirst, retryMost     time.Duration
	beat                      time.Duration // between heartbeats
	trialBeat                 time.Duration // while a setting is on trial
	denied                    time.Duration // between heartbeats that are refused
	firstSign                 time.Duration // until a stream that brings nothing is held back
	silence                   time.Duration // until a stream is dead
	settled                   time.Duration // after which a stream is a good one
	poll                      time.Duration // between pages where streams do not pass
	streamAgain               time.Duration // until a stream is tried again there
	look                      time.Duration // between looks at the outbox
	usage                     time.Duration // between reports of live usage
	keep                      time.Duration // between Delivered records
	conflict                  time.Duration // after which a conflict is tried again
	trial                     time.Duration
	check                     time.Duration // between health checks of a trial
	slow                      time.Duration // the longest round trip that tells the time
}

// Traffic when nothing happens, measured on the wire: about 2.5 KB a minute,
// of which a heartbeat is 1.5 KB. The limit is 5 KB.
var usualPace = pace{
	header:       headerTimeout,
	breakerFirst: 15 * time.Second, breakerMost: 5 * time.Minute,
	retryFirst: 2 * time.Second, retryMost: 2 * time.Minute,
	beat: time.Minute, trialBeat: 15 * time.Second, denied: 15 * time.Minute,
	firstSign: 30 * time.Second, silence: 3*api.HeartbeatEvery + 5*time.Second, settled: time.Minute,
	poll: time.Minute, streamAgain: time.Hour,
	look: 5 * time.Second, usage: 10 * time.Minute, keep: time.Minute, conflict: time.Hour,
	trial: 2 * time.Minute, check: 5 * time.Second,
	slow: 10 * time.Second,
}

// breakAfter is how many calls in a row must fail before no more are made.
const breakAfter = 5

// A breaker keeps calls from a server that answers none. All calls share it,
// so a gateway tries a dead hub a few times an hour and not from every task.
type breaker struct {
	first, most time.Duration

	mu       sync.Mutex
	failures int
	until    time.Time
	// probing says that one call was let through to see.
	probing bool
}

// An openError is a call that was not made.
type openError struct{ wait time.Duration }

func (e *openError) Error() string {
	return fmt.Sprintf("the hub does not answer; it is asked again in %v", e.wait.Round(time.Second))
}

func (b *breaker) admit(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < breakAfter {
		return nil
	}
	if wait := b.until.Sub(now); wait > 0 {
		return &openError{wait}
	}
	if b.probing {
		return &openError{b.first}
	}
	b.probing = true
	return nil
}

func (b *breaker) passed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures, b.probing = 0, false
}

func (b *breaker) gaveUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
}

func (b *breaker) failed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	b.probing = false
	if n := b.failures - breakAfter; n >= 0 {
		most := min(b.first<<min(n, 20), b.most)
		b.until = time.Now().Add(most/2 + jitter(most/2))
	}
}

// open says how long no call is made yet.
func (b *breaker) open() (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < breakAfter {
		return 0, false
	}
	return max(0, time.Until(b.until)), true
}

// jitter returns a random part of d.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(rand.Int64N(int64(d)))
}

// A retry counts the failures of one task.
type retry struct {
	first, most time.Duration
	n           int
}

// wait returns how long to wait after an error: a random part of a time that
// doubles, so that ten thousand gateways do not come back at once; longer if
// the server or the breaker says so.
func (r *retry) wait(err error) time.Duration {
	d := jitter(min(r.first<<min(r.n, 20), r.most))
	r.n++
	var open *openError
	if errors.As(err, &open) {
		d += open.wait
	}
	if refusal, ok := refused(err); ok && refusal.After > d {
		d = refusal.After + jitter(refusal.After/4)
	}
	return max(d, r.first/8)
}

func (r *retry) reset() { r.n = 0 }

// sleep waits; false means that the context is done.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
