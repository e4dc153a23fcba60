package zonegate

import (
	"cmp"
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
	// strangers are slowed: a device that has typed a wrong code by up to
	// MaxDelay, another by a fifth of that. Customers with something bought
	// never wait. Defaults 60 and 5 s.
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

// wrongPasswords within ten minutes close a ticket for the rest of them,
// whatever device they came from.
const wrongPasswords = 10

// maxGuessers bounds the memory: whoever changes the MAC with every guess only
// pushes out other guessers, and the zone's limit still holds.
const maxGuessers = 4096

// A guessLimiter counts wrong codes, in memory only: a reboot takes longer
// than the guesses it would allow.
//
// It counts by the device that guesses (MAC), or by what is guessed at
// (VoucherKey). A type parameter would have all of it compiled twice.
type guessLimiter struct {
	Guessing

	mu     sync.Mutex
	wrongs map[any][]time.Duration
	order  []any
	// checking counts the guesses that are being looked at: each may be wrong.
	checking map[any]int
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
	return &guessLimiter{Guessing: g, wrongs: map[any][]time.Duration{}, checking: map[any]int{}}
}

// admit refuses a device that has guessed too often, and returns how long a
// stranger has to wait. Each admission ends with checked.
func (l *guessLimiter) admit(d any, now time.Duration) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	recent := l.recent(d, now)
	if n := len(recent); n >= l.PerDevice {
		return 0, &RetryError{ErrTooManyCodes, recent[n-l.PerDevice] + l.Window - now}
	} else if n+l.checking[d] >= l.PerDevice {
		return 0, &RetryError{ErrTooManyCodes, time.Second}
	}
	l.checking[d]++
	l.drain(now)
	over := l.level/float64(l.ZoneRate) - 1
	if over <= 0 {
		return 0, nil
	}
	most := l.MaxDelay
	if len(recent) == 0 {
		most /= 5
	}
	return min(most, time.Duration(over*float64(most))), nil
}

// checked ends an admission.
func (l *guessLimiter) checked(d any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.checking[d]--; l.checking[d] <= 0 {
		delete(l.checking, d)
	}
}

// wrong counts a wrong code.
func (l *guessLimiter) wrong(d any, now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.wrongs[d]; !ok {
		if len(l.order) >= maxGuessers {
			delete(l.wrongs, l.order[0])
			l.order = l.order[1:]
		}
		l.order = append(l.order, d)
	}
	l.wrongs[d] = append(l.recent(d, now), now)
	l.drain(now)
	// The bucket never holds more than twice the rate: an attack slows
	// strangers while it lasts and for a minute or two after it.
	l.level = min(l.level+1, 2*float64(l.ZoneRate))
}

func (l *guessLimiter) recent(d any, now time.Duration) []time.Duration {
	list := l.wrongs[d]
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

// A floodGauge counts the wrong codes of each NAS: there a device is only what
// it says it is, so far more of them than people type by mistake are one's who
// changes his address with each.
type floodGauge struct {
	// rate is how many a minute are usual; zero means 60.
	rate int
	mu   sync.Mutex
	// until is when a NAS's bucket of wrong codes will be empty.
	until map[string]time.Duration
}

func (f *floodGauge) each() time.Duration { return time.Minute / time.Duration(cmp.Or(f.rate, 60)) }

// over says that a NAS's bucket holds half as much again as comes in a minute.
func (f *floodGauge) over(nas string, now time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.until[nas]-now >= time.Minute*3/2
}

// wrong counts a wrong code. A bucket never holds more than two minutes'.
func (f *floodGauge) wrong(nas string, now time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.until) >= maxGuessers {
		for k, until := range f.until {
			if until <= now {
				delete(f.until, k)
			}
		}
	}
	f.until[nas] = min(max(f.until[nas], now)+f.each(), now+2*time.Minute)
}

// ErrTooOften is returned, inside a RetryError, to a device that goes on- and
// offline again and again: each time costs a write to flash.
var ErrTooOften = errors.New("the device went on- and offline too often")

const (
	switchBurst = 6
	switchEvery = 10 * time.Second
)

// A switchLimiter paces how often devices go on- and offline by themselves.
type switchLimiter struct {
	mu sync.Mutex
	// owed is when a device has paid for all its switches, switchEvery each.
	owed map[MAC]time.Duration
}

func (l *switchLimiter) admit(d MAC, now time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.owed) >= maxGuessers {
		for m, until := range l.owed {
			if until <= now {
				delete(l.owed, m)
			}
		}
	}
	until := max(l.owed[d], now) + switchEvery
	if after := until - now - switchBurst*switchEvery; after > 0 {
		return &RetryError{ErrTooOften, after}
	}
	l.owed[d] = until
	return nil
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
