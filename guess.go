package zonegate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Guessing limits wrong voucher codes.
type Guessing struct {
	// PerDevice wrong codes within Window stop a device until the oldest of
	// them is older than Window. Defaults 5 in 10 min.
	PerDevice int
	Window    time.Duration
	// ZoneRate is how many wrong codes a minute the whole zone may type before
	// strangers are slowed, each by up to MaxDelay. Customers with something
	// bought never wait. Defaults 60 and 5 s.
	ZoneRate int
	MaxDelay time.Duration
}

// ErrTooManyCodes is returned, inside a RetryError, to a device that typed too
// many wrong codes.
var ErrTooManyCodes = errors.New("too many wrong codes were typed on this device")

// A RetryError says when the same request can succeed.
type RetryError struct {
	Err   error
	After time.Duration
}

func (e *RetryError) Error() string {
	return fmt.Sprintf("%v; try again in %v", e.Err, e.After.Round(time.Second))
}
func (e *RetryError) Unwrap() error { return e.Err }

// maxGuessers bounds the memory: whoever changes the MAC with every guess only
// pushes out other guessers, and the zone's limit still holds.
const maxGuessers = 4096

// A guessLimiter counts wrong codes, in memory only: a reboot takes longer
// than the guesses it would allow.
type guessLimiter struct {
	Guessing

	mu      sync.Mutex
	devices map[MAC][]time.Duration
	order   []MAC
	// level is a leaky bucket of the zone's wrong codes.
	level float64
	last  time.Duration
}

func newGuessLimiter(g Guessing) *guessLimiter {
	if g.PerDevice == 0 {
		g.PerDevice = 5
	}
	if g.Window == 0 {
		g.Window = 10 * time.Minute
	}
	if g.ZoneRate == 0 {
		g.ZoneRate = 60
	}
	if g.MaxDelay == 0 {
		g.MaxDelay = 5 * time.Second
	}
	return &guessLimiter{Guessing: g, devices: map[MAC][]time.Duration{}}
}

// admit refuses a device that has guessed too often, and returns how long a
// stranger has to wait.
func (l *guessLimiter) admit(d MAC, now time.Duration) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	recent := l.recent(d, now)
	if len(recent) >= l.PerDevice {
		return 0, &RetryError{ErrTooManyCodes, recent[len(recent)-l.PerDevice] + l.Window - now}
	}
	l.drain(now)
	over := l.level/float64(l.ZoneRate) - 1
	if over <= 0 {
		return 0, nil
	}
	return min(l.MaxDelay, time.Duration(over*float64(l.MaxDelay))), nil
}

// wrong counts a wrong code.
func (l *guessLimiter) wrong(d MAC, now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.devices[d]; !ok {
		if len(l.order) >= maxGuessers {
			delete(l.devices, l.order[0])
			l.order = l.order[1:]
		}
		l.order = append(l.order, d)
	}
	l.devices[d] = append(l.recent(d, now), now)
	l.drain(now)
	// The bucket never holds more than twice the rate: an attack slows
	// strangers while it lasts and for a minute or two after it.
	l.level = min(l.level+1, 2*float64(l.ZoneRate))
}

func (l *guessLimiter) recent(d MAC, now time.Duration) []time.Duration {
	list := l.devices[d]
	for len(list) > 0 && now-list[0] >= l.Window {
		list = list[1:]
	}
	return list
}

func (l *guessLimiter) drain(now time.Duration) {
	if now > l.last {
		l.level = max(0, l.level-float64(l.ZoneRate)*(now-l.last).Minutes())
	}
	l.last = now
}

// wait sleeps unless the context ends first.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
