package hub

import (
	"context"
	"sync"
	"time"
)

// A fleet is what this process has heard of gateways and not written down: a
// commit for every heartbeat would be the hub's greatest work. What is lost
// with the process comes again with the next heartbeat.
type fleet struct {
	mu      sync.Mutex
	members map[string]*heard
}

type heard struct {
	status Status
	dirty  bool
	// before is the boot before the present one: if it comes back, two
	// gateways speak in turn.
	before string
	alarms map[string]time.Time
	// wrong is how many claims have failed on the day that begins at day.
	wrong int
	day   time.Time
	// last is the gateway's last push while the head of all is at.
	at, last uint64
}

func (f *fleet) of(id string) *heard {
	m := f.members[id]
	if m == nil {
		m = &heard{}
		if f.members == nil {
			f.members = map[string]*heard{}
		}
		f.members[id] = m
	}
	return m
}

// note keeps a heartbeat, and says whether a second gateway seems to speak.
func (f *fleet) note(id string, s Status) (twin bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.of(id)
	if s.Boot != m.status.Boot {
		twin = m.before != "" && s.Boot == m.before
		m.before = m.status.Boot
	}
	m.status, m.dirty = s, true
	return twin
}

// alarm says whether an alarm is worth writing: once in 10 minutes.
func (f *fleet) alarm(id, kind string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.of(id)
	if t, ok := m.alarms[kind]; ok && now.Sub(t) < 10*time.Minute {
		return false
	}
	if m.alarms == nil {
		m.alarms = map[string]time.Time{}
	}
	m.alarms[kind] = now
	return true
}

// wrong counts a claim that has failed on the day, or with add 0 looks, and
// returns how many have.
func (f *fleet) wrong(id string, day time.Time, add int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.of(id)
	if !m.day.Equal(day) {
		m.day, m.wrong = day, 0
	}
	m.wrong += add
	return m.wrong
}

func (f *fleet) status(id string) (Status, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, ok := f.members[id]
	if !ok || m.status.Seen.IsZero() {
		return Status{}, false
	}
	return m.status, true
}

// head returns the gateway's last push, and the head of all until which that
// was looked for.
func (f *fleet) head(id string) (last, at uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m, ok := f.members[id]; ok {
		return m.last, m.at
	}
	return 0, 0
}

func (f *fleet) setHead(id string, at, last uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.of(id)
	m.at, m.last = at, last
}

// take returns what is not written yet, at most max, and counts it as written.
func (f *fleet) take(max int) map[string]Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]Status{}
	for id, m := range f.members {
		if m.dirty && len(out) < max {
			out[id] = m.status
			m.dirty = false
		}
	}
	return out
}

// giveBack takes back what could not be written.
func (f *fleet) giveBack(ss map[string]Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range ss {
		f.of(id).dirty = true
	}
}

// Flush writes down what heartbeats said.
func (h *Hub) Flush(ctx context.Context) error {
	for {
		ss := h.fleet.take(1000)
		if len(ss) == 0 {
			return nil
		}
		if err := h.store.Write(ctx, func(tx Tx) error { return tx.PutStatuses(ss) }); err != nil {
			h.fleet.giveBack(ss)
			return err
		}
	}
}
