package kernel

import (
	"errors"
	"fmt"
	"time"
)

// SetLink changes what the uplink gives, in bit/s. It holds at once, and nobody
// is cut. After an error it is tried again by itself.
func (s *Shaper) SetLink(down, up uint64) error {
	if down == 0 || up == 0 {
		return errors.New("the link needs a rate in both directions")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.conf.LinkDown == down && s.conf.LinkUp == up {
		return nil
	}
	s.conf.LinkDown, s.conf.LinkUp = down, up
	var errs []error
	for _, l := range s.links() {
		if l.bits = up; l.at == 0 {
			l.bits = down
		}
		if !l.ready {
			continue // it gets its rates when it is there
		}
		if err := s.baseClasses(l); err != nil {
			errs = append(errs, fmt.Errorf("changing the rate of %s: %w", l.name, err))
			s.lost(l)
		}
	}
	list := make([]*grant, 0, len(s.grants))
	var e edit
	var edited []*session
	for _, g := range s.grants {
		list = append(list, g)
		if !s.police || len(g.sessions) == 0 {
			continue
		}
		g.limited.MIRDown++ // no longer what it has
		s.limit(g, &e)
		for _, x := range g.sessions {
			x.next = s.wanted(x)
			edited = append(edited, x)
		}
	}
	// The factors first; a plan without a maximum has the link's in any case.
	errs = append(errs, s.rescale(time.Now()), s.changeClasses(list))
	if len(edited) > 0 {
		errs = append(errs, s.place(&e, edited))
	}
	return errors.Join(errs...)
}
