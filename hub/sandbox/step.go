package sandbox

import (
	"bytes"
	"container/heap"
	"context"
	"crypto/rand"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// An event is due at a time: a change of state, or a callback.
type event struct {
	at   time.Time
	seq  uint64
	do   func() // under mu
	call *callback
}

type events []*event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].seq < q[j].seq
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(*event)) }
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return e
}

// A callback is a request that a provider makes.
type callback struct {
	provider string
	route    string // for faults
	method   string
	url      string
	header   http.Header
	body     []byte
	// again is how often it is tried again when it is not well received, and
	// pause by how much the wait grows each time.
	again int
	pause time.Duration
	tried int
}

func (s *Server) now() time.Time { return s.o.Now().UTC() }

// after plans a change of state; the caller holds mu.
func (s *Server) after(wait time.Duration, do func()) { s.push(&event{at: s.now().Add(wait), do: do}) }

func (s *Server) push(e *event) {
	s.seq++
	e.seq = s.seq
	if e.call != nil {
		heap.Push(&s.calls, e)
	} else {
		heap.Push(&s.changes, e)
	}
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// settleDue makes the changes that are due; the caller holds mu.
func (s *Server) settleDue() {
	for now := s.now(); len(s.changes) > 0 && !s.changes[0].at.After(now); {
		heap.Pop(&s.changes).(*event).do()
	}
}

// post has a callback sent, well or not; the caller holds mu. Nil and one
// without an address go nowhere.
func (s *Server) post(c *callback) {
	if c == nil || c.url == "" {
		return
	}
	copies, wait, hold := 1, time.Duration(0), false
	for _, f := range s.takeFaults(c.route, callbackFaults) {
		switch f.Kind {
		case FaultLost:
			copies = 0
		case FaultDouble:
			copies *= 2
		case FaultLate:
			wait += f.wait()
		case FaultReorder:
			hold = true
		}
	}
	if hold && copies > 0 {
		// It goes behind the next one, or alone when none comes.
		s.held = append(s.held, c)
		s.after(lateWait, func() { s.release(c) })
		return
	}
	for range copies {
		again := *c
		s.push(&event{at: s.now().Add(wait), call: &again})
	}
	for _, h := range s.held {
		if h.provider == c.provider {
			s.release(h)
		}
	}
}

// release sends what was held back; the caller holds mu.
func (s *Server) release(c *callback) {
	for i, h := range s.held {
		if h == c {
			s.held = append(s.held[:i:i], s.held[i+1:]...)
			s.push(&event{at: s.now(), call: c})
			return
		}
	}
}

// due takes the callbacks that are due.
func (s *Server) due() []*callback {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settleDue()
	var out []*callback
	for now := s.now(); len(s.calls) > 0 && !s.calls[0].at.After(now); {
		out = append(out, heap.Pop(&s.calls).(*event).call)
	}
	return out
}

// Next is when something is due; false is never.
func (s *Server) Next() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var at time.Time
	for _, q := range []events{s.changes, s.calls} {
		if len(q) > 0 && (at.IsZero() || q[0].at.Before(at)) {
			at = q[0].at
		}
	}
	return at, !at.IsZero()
}

// Step does what is due by the clock: customers answer, callbacks are sent, one
// after the other. It returns how many callbacks it sent.
func (s *Server) Step(ctx context.Context) int {
	sent := 0
	for ctx.Err() == nil {
		calls := s.due()
		if len(calls) == 0 {
			break
		}
		for _, c := range calls {
			s.deliver(ctx, c)
			sent++
		}
	}
	return sent
}

// senders bounds the callbacks that Run sends at once.
const senders = 64

// Run does what is due as time passes, until the context is done.
func (s *Server) Run(ctx context.Context) error {
	var g errgroup.Group
	g.SetLimit(senders)
	defer g.Wait()
	for {
		for _, c := range s.due() {
			g.Go(func() error { s.deliver(ctx, c); return nil })
		}
		wait := time.Hour
		if at, ok := s.Next(); ok {
			wait = max(0, at.Sub(s.now()))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-s.woken:
			timer.Stop()
		}
	}
}

// deliver sends a callback and plans the next try if there is one.
func (s *Server) deliver(ctx context.Context, c *callback) {
	well := s.transmit(ctx, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.tried++; !well && c.tried <= c.again {
		s.push(&event{at: s.now().Add(time.Duration(c.tried) * c.pause), call: c})
	}
}

// callbackPatience bounds one callback.
const callbackPatience = 10 * time.Second

func (s *Server) transmit(ctx context.Context, c *callback) bool {
	if !s.virtual {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callbackPatience)
		defer cancel()
	}
	r, err := http.NewRequestWithContext(ctx, c.method, c.url, bytes.NewReader(c.body))
	if err != nil {
		return true // an address that is none is never tried again
	}
	for k, v := range c.header {
		r.Header[k] = v
	}
	answer, err := s.transport.RoundTrip(r)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, io.LimitReader(answer.Body, maxBody))
	return answer.StatusCode/100 == 2
}

// draw returns random octets: of the seed, if there is one. The caller holds
// mu.
func (s *Server) draw(n int) []byte {
	b := make([]byte, n)
	if s.seeded != nil {
		s.seeded.Read(b)
	} else {
		rand.Read(b) // never fails
	}
	return b
}

func seeded(seed uint64) *mathrand.ChaCha8 {
	if seed == 0 {
		return nil
	}
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return mathrand.NewChaCha8(key)
}

// letters are what ids are made of.
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyz"

// word draws n of the first most letters, all as likely; the caller holds mu.
func (s *Server) word(n, most int) string {
	var w strings.Builder
	for w.Len() < n {
		for _, v := range s.draw(16) {
			if int(v) < 256/most*most && w.Len() < n {
				w.WriteByte(letters[int(v)%most])
			}
		}
	}
	return w.String()
}

// capitals draws n capitals and digits, mixed n letters of both cases and digits.
func (s *Server) capitals(n int) string { return s.word(n, 36) }
func (s *Server) mixed(n int) string    { return s.word(n, len(letters)) }
