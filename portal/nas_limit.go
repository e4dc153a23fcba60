package portal

import (
	"net/netip"
	"strings"
	"sync"
	"time"
)

// A customer of a NAS can claim another hardware address with each code, so
// that the Gate's count by device holds nobody. What cannot be changed at will
// is where requests come from and which NAS they name; behind a NAT that is
// common to many, and so allows more.

// A limit is a bucket: so many at once, then one in each period.
type limit struct {
	key   string
	burst float64
	every time.Duration
}

// perNAS begins the keys of the limits of a whole NAS.
const perNAS = "nas "

// guessLimits bound wrong codes: per customer where the address is his own,
// otherwise per NAT, and per NAS. A device that the NAS vouches for is counted
// by the Gate.
func (v visit) guessLimits(source netip.Prefix) []limit {
	limits := []limit{{perNAS + v.NAS, 120, time.Second}}
	switch {
	case v.Vouched:
	case v.Own:
		limits = append(limits, limit{"own " + source.String(), 10, time.Minute})
	default:
		limits = append(limits, limit{"nat " + source.String(), 30, 3 * time.Second})
	}
	return limits
}

// signInLimits keep anybody from filling the box of tickets. After a power cut
// all customers of a NAS come back at once.
func (v visit) signInLimits(source netip.Prefix) []limit {
	return []limit{
		{perNAS + v.NAS, 400, time.Second / 4},
		{"at " + source.String(), 200, time.Second / 2},
	}
}

// maxBuckets bounds the memory of a meter.
const maxBuckets = 4096

// A meter counts against limits. Its zero value is ready, and safe for
// concurrent use.
type meter struct {
	mu sync.Mutex
	// free is when a bucket will be empty.
	free map[string]time.Time
}

// take counts one against every limit, or against none: then it returns how
// long until it would.
func (m *meter) take(now time.Time, limits []limit) (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var wait time.Duration
	for _, l := range limits {
		full := time.Duration(l.burst * float64(l.every))
		wait = max(wait, max(0, m.free[l.key].Sub(now))+l.every-full)
	}
	if wait > 0 {
		return wait, false
	}
	if m.free == nil || len(m.free)+len(limits) > maxBuckets {
		m.sweep(now)
	}
	for _, l := range limits {
		free := m.free[l.key]
		if free.Before(now) {
			free = now
		}
		m.free[l.key] = free.Add(l.every)
	}
	return 0, true
}

// giveBack takes back what take has counted.
func (m *meter) giveBack(limits []limit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range limits {
		if free, ok := m.free[l.key]; ok {
			m.free[l.key] = free.Add(-l.every)
		}
	}
}

// sweep makes room: buckets that are empty count nothing. If most of them
// count, some of who is asking go; the NASes stay.
func (m *meter) sweep(now time.Time) {
	if m.free == nil {
		m.free = map[string]time.Time{}
	}
	for key, free := range m.free {
		if !free.After(now) {
			delete(m.free, key)
		}
	}
	for key := range m.free {
		if len(m.free) <= maxBuckets*3/4 {
			return
		}
		if !strings.HasPrefix(key, perNAS) {
			delete(m.free, key)
		}
	}
}
