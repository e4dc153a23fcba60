package kernel

import (
	"context"
	"errors"
	"sync"
	"time"

	"zonegate"
)

// reports are what the accountant has not taken yet.
type reports struct {
	mu      sync.Mutex
	pending map[zonegate.SessionID]zonegate.Usage
	ready   chan struct{}
}

// report queues a session's counters; final says that they will not grow.
// Called with the lock held.
func (s *Shaper) report(x *session, final bool) {
	r := &s.reports
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending == nil {
		r.pending = map[zonegate.SessionID]zonegate.Usage{}
	}
	u := x.usage()
	u.Final = final
	r.pending[u.Session] = u
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

func (r *reports) take() []zonegate.Usage {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]zonegate.Usage, 0, len(r.pending))
	for _, u := range r.pending {
		list = append(list, u)
	}
	clear(r.pending)
	return list
}

// giveBack queues again what could not be accounted, unless there is newer.
func (r *reports) giveBack(list []zonegate.Usage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range list {
		if _, ok := r.pending[u.Session]; !ok {
			r.pending[u.Session] = u
		}
	}
}

const accountAgain = time.Second

// account is the task that hands usage to the accountant. It holds no lock
// meanwhile: the accountant may call Change.
func (s *Shaper) account(ctx context.Context) error {
	if s.accountant == nil {
		<-ctx.Done()
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.reports.ready:
		}
		for {
			list := s.reports.take()
			if len(list) == 0 {
				break
			}
			err := s.accountant.Account(ctx, list)
			if err == nil {
				s.accounted(list)
				continue
			}
			s.reports.giveBack(list)
			if errors.Is(err, context.Canceled) && ctx.Err() != nil {
				return nil
			}
			s.log.Error("usage could not be accounted and is reported again", "sessions", len(list), "error", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(accountAgain):
			}
		}
	}
}

// accounted notes what the accountant knows.
func (s *Shaper) accounted(list []zonegate.Usage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	final := map[zonegate.SessionID]zonegate.Octets{}
	for _, u := range list {
		if x := s.sessions[u.Session]; x != nil {
			x.reported = u.Octets
		}
		if u.Final {
			final[u.Session] = u.Octets
		}
	}
	if len(final) == 0 {
		return
	}
	for _, g := range s.grants {
		for i := range g.gone {
			d := &g.gone[i]
			if o, ok := final[d.session.order.Session]; ok {
				d.session.reported, d.known = o, true
			}
		}
		if len(g.sessions) == 0 {
			kept := g.gone[:0]
			for _, d := range g.gone {
				if !d.known {
					kept = append(kept, d)
				}
			}
			g.gone = kept
		}
	}
	s.tidyGrants()
}
