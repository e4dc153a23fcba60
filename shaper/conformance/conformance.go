// Package conformance holds the behaviours that every data path of a zone must
// have, as tests over a small interface: what [zonegate.Enforcer] promises, no
// matter what enforces it. A data path's own tests make a [Zone] and run every
// one of [Behaviours]; how fast, how exact and how it does it are tested
// there, not here.
//
// Where a data path cannot do a thing, its Zone says so in words and figures
// ([Limits]). The suite prints the words and checks the figures.
//
// For tests only; the router never links it.
package conformance

import (
	"context"
	"slices"
	"sync"
	"time"

	"zonegate"
)

// A T is what a behaviour needs of a test.
type T interface {
	Helper()
	Context() context.Context
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// A Zone is a data path with devices in front of it and the internet behind.
// Its devices are numbered from zero; there are at least [Devices].
type Zone interface {
	// Start makes a process that enforces, and reports to the book. kill ends
	// it as a crash does: what it told the data path stays.
	Start(b *Book) (e zonegate.Enforcer, kill func())
	// Device is the address of a device.
	Device(i int) zonegate.MAC
	// Passes says whether a device reaches the internet now.
	Passes(i int) bool
	// Transfer has a device move so many octets (roughly) and returns when
	// they are through, or when nothing more of them comes through.
	Transfer(i int, up, down uint64)
	// Delivered is what came through of all devices together since the
	// beginning, counted outside the data path.
	Delivered() zonegate.Octets
	// Now is the domain's monotonic clock, and Wait lets that much time pass.
	Now() time.Duration
	Wait(d time.Duration)
	// Limits says what the data path cannot do.
	Limits() Limits
}

// Devices is how many devices a Zone has.
const Devices = 3

// Limits are what a data path cannot do. The zero value can do everything.
type Limits struct {
	// Over is how many octets may come through above an allowance, and
	// SharedOver above one that several devices use at once.
	Over, SharedOver uint64
	// Cannot are the rest, a sentence each, for people.
	Cannot []string
}

// A Behaviour is one test.
type Behaviour struct {
	Name string
	Test func(t T, z Zone)
}

// Run runs one behaviour and prints what the data path cannot do.
func (b Behaviour) Run(t T, z Zone) {
	t.Helper()
	l := z.Limits()
	if l.Over != 0 || l.SharedOver != 0 {
		t.Logf("this data path may deliver %d octets more than an allowance, %d if devices share it", l.Over, l.SharedOver)
	}
	for _, c := range l.Cannot {
		t.Logf("this data path cannot: %s", c)
	}
	b.Test(t, z)
}

// A Book is an accountant that remembers. Safe for concurrent use.
type Book struct {
	mu      sync.Mutex
	last    map[zonegate.SessionID]zonegate.Usage
	spent   map[zonegate.SessionID]bool
	final   map[zonegate.SessionID]bool
	back    []zonegate.Usage // reports below an earlier one
	changed chan struct{}
}

// NewBook returns an empty Book.
func NewBook() *Book {
	return &Book{
		last:  map[zonegate.SessionID]zonegate.Usage{},
		spent: map[zonegate.SessionID]bool{}, final: map[zonegate.SessionID]bool{},
		changed: make(chan struct{}),
	}
}

// Account takes reports, as the Gate does.
func (b *Book) Account(_ context.Context, usage []zonegate.Usage) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, u := range usage {
		if o := b.last[u.Session].Octets; u.Octets.Up < o.Up || u.Octets.Down < o.Down {
			b.back = append(b.back, u)
		}
		b.last[u.Session] = u
		b.spent[u.Session] = b.spent[u.Session] || u.Spent
		b.final[u.Session] = b.final[u.Session] || u.Final
	}
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

// patience is how long an event may take on a busy machine.
const patience = time.Minute

// await waits until f, called with the lock held, is true.
func (b *Book) await(t T, what string, f func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		b.mu.Lock()
		ok, changed := f(), b.changed
		seen := b.list()
		b.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("waiting for %s; reported so far: %+v", what, seen)
		}
	}
}

func (b *Book) list() (out []zonegate.Usage) {
	for _, u := range b.last {
		out = append(out, u)
	}
	slices.SortFunc(out, func(x, y zonegate.Usage) int { return int(x.Session) - int(y.Session) })
	return out
}

// Spent waits until a session was reported as spent, and returns its counters.
func (b *Book) Spent(t T, id zonegate.SessionID) zonegate.Octets {
	t.Helper()
	b.await(t, "the allowance to be used up", func() bool { return b.spent[id] })
	return b.Last(id)
}

// Final waits for a session's last report.
func (b *Book) Final(t T, id zonegate.SessionID) zonegate.Octets {
	t.Helper()
	b.await(t, "the last report of a session", func() bool { return b.final[id] })
	return b.Last(id)
}

// Last is what was last reported of a session.
func (b *Book) Last(id zonegate.SessionID) zonegate.Octets {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last[id].Octets
}

// Forget has Spent wait for a new report.
func (b *Book) Forget(id zonegate.SessionID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent[id] = false
}

// Back lists the reports that were below an earlier one of their session.
func (b *Book) Back() []zonegate.Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.back)
}
