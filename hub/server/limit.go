package server

import (
	"crypto/sha256"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"zonegate/sync/api"
)

// A Limit is how often one caller may do something: Burst at once, and PerMinute
// in the long run. The zero Limit is none.
type Limit struct{ PerMinute, Burst int }

// maxCallers bounds what a limiter remembers.
const maxCallers = 50_000

// maxCaller is how long a caller may be to be remembered as he is: names come
// from strangers.
const maxCaller = 80

// A limiter counts callers.
type limiter struct {
	limit   Limit
	detail  string
	mu      sync.Mutex
	callers map[string]tally
}

// A tally is a bucket that empties with time.
type tally struct {
	level float64 // calls not worn off yet
	at    time.Time
}

func newLimiter(l Limit, detail string) *limiter {
	return &limiter{limit: l, detail: detail, callers: map[string]tally{}}
}

// take counts one call of a caller, or refuses it.
func (l *limiter) take(caller string, now time.Time) error { return l.count(caller, now, 1) }

// allow refuses a call as take does, and does not count it.
func (l *limiter) allow(caller string, now time.Time) error { return l.count(caller, now, 0) }

func (l *limiter) count(caller string, now time.Time, calls float64) error {
	if l.limit.PerMinute <= 0 {
		return nil
	}
	if len(caller) > maxCaller {
		sum := sha256.Sum256([]byte(caller))
		caller = string(sum[:])
	}
	perSecond := float64(l.limit.PerMinute) / 60
	most := float64(max(l.limit.Burst, 1))
	l.mu.Lock()
	defer l.mu.Unlock()
	t, known := l.callers[caller]
	level := max(0, t.level-now.Sub(t.at).Seconds()*perSecond)
	if level+1 > most {
		wait := time.Duration((level + 1 - most) / perSecond * float64(time.Second))
		return &refusal{status: http.StatusTooManyRequests, after: wait, body: api.Problem{Detail: l.detail, Code: api.CodeLimit}}
	}
	if calls == 0 {
		return nil
	}
	if !known && len(l.callers) >= maxCallers {
		l.sweep(now, perSecond)
	}
	l.callers[caller] = tally{level + calls, now}
	return nil
}

// sweep forgets those whose tally has worn off, or everybody: a limit must not
// cost more memory than what it guards.
func (l *limiter) sweep(now time.Time, perSecond float64) {
	for k, t := range l.callers {
		if t.level <= now.Sub(t.at).Seconds()*perSecond {
			delete(l.callers, k)
		}
	}
	if len(l.callers) >= maxCallers {
		clear(l.callers)
	}
}

// AttemptLogin counts an attempt to sign in by a page, together with those of
// the API, and says how long the caller must wait first; zero is not at all.
// With an empty name the address alone is counted.
func (s *Server) AttemptLogin(r *http.Request, name string) time.Duration {
	now := time.Now()
	err := s.logins.take(s.caller(r), now)
	if err == nil && name != "" {
		err = s.names.take(nameOf(name), now)
	}
	var no *refusal
	if errors.As(err, &no) {
		return no.after
	}
	return 0
}

// nameOf is a user's name as the hub looks it up, so that no blank before it
// makes it another one to the limits.
func nameOf(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// caller is the address that limits count by: the peer's, or what a proxy of
// ours says. Of IPv6 it is the network, since a customer has all of one.
func (s *Server) caller(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	// The last address that no proxy of ours wrote down is the caller's.
	if said := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ","); said[0] != "" {
		for i := len(said) - 1; i >= 0 && s.trusted(ip); i-- {
			next, err := netip.ParseAddr(strings.TrimSpace(said[i]))
			if err != nil {
				break
			}
			ip = next
		}
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}

func (s *Server) trusted(ip netip.Addr) bool {
	for _, p := range s.proxies {
		if p.Contains(ip.Unmap()) {
			return true
		}
	}
	return false
}
