package dns

import (
	"net/netip"
	"sync"
	"time"
)

// maxClients bounds the addresses that a limiter remembers. Those above it
// share one allowance.
const maxClients = 4096

// A limiter bounds how much each address asks. Of each address it keeps only
// the time at which its allowance will be whole again, so one that has been
// silent for that long needs no entry.
type limiter struct {
	each  time.Duration // price of one question
	burst time.Duration // most that may be owed

	mu    sync.Mutex
	whole map[netip.Addr]time.Time
	swept time.Time
}

// newLimiter allows rate questions per second after a burst.
func newLimiter(rate, burst int) *limiter {
	each := time.Second / time.Duration(rate)
	return &limiter{each: each, burst: time.Duration(burst) * each, whole: make(map[netip.Addr]time.Time)}
}

// take reports whether the address may ask, where the question counts for cost
// ones. What is refused costs nothing.
func (l *limiter) take(client netip.Addr, cost int) bool {
	return l.takeAt(time.Now(), client, cost)
}

func (l *limiter) takeAt(now time.Time, client netip.Addr, cost int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	whole, known := l.whole[client]
	if !known && len(l.whole) >= maxClients {
		if now.Sub(l.swept) >= time.Second {
			l.swept = now
			for a, t := range l.whole {
				if !t.After(now) {
					delete(l.whole, a)
				}
			}
		}
		if len(l.whole) >= maxClients {
			client = netip.Addr{}
			whole = l.whole[client]
		}
	}
	if whole.Before(now) {
		whole = now
	}
	whole = whole.Add(time.Duration(cost) * l.each)
	if whole.Sub(now) > l.burst {
		return false
	}
	l.whole[client] = whole
	return true
}

// shares bound how much of something is in use at once, and let one address
// have no more than an eighth of it.
type shares struct {
	most int

	mu   sync.Mutex
	all  int
	each map[netip.Addr]int
}

// take reports whether the address gets one. It must then give it back.
func (s *shares) take(client netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= s.most || s.each[client] >= max(1, s.most/8) {
		return false
	}
	if s.each == nil {
		s.each = make(map[netip.Addr]int)
	}
	s.all++
	s.each[client]++
	return true
}

func (s *shares) give(client netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.each[client]--; s.each[client] == 0 {
		delete(s.each, client)
	}
}
