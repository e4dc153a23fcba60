package kernel

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"zonegate/shaper"
)

// minors are the class numbers of customers: one per session, the same on
// every device, and one per grant of several devices. A freed number is used
// again as late as possible.
type minors struct {
	used [1 << 16 / 64]uint64
	last uint16
}

func (m *minors) has(n uint16) bool { return m.used[n/64]&(1<<(n%64)) != 0 }
func (m *minors) take(n uint16)     { m.used[n/64] |= 1 << (n % 64) }
func (m *minors) free(n uint16)     { m.used[n/64] &^= 1 << (n % 64) }

func (m *minors) next() (uint16, error) {
	const count = int(lastMinor-firstMinor) + 1
	for range count {
		m.last++
		if m.last < firstMinor || m.last > lastMinor {
			m.last = firstMinor
		}
		if !m.has(m.last) {
			m.take(m.last)
			return m.last, nil
		}
	}
	return 0, errors.New("all class numbers are in use")
}

// scales are the factors on committed rates.
type scales struct{ down, up float64 }

// classOf is the class of a grant on a link.
func (s *Shaper) classOf(g *grant, l *link) shaper.Class {
	if l.at == 0 {
		return shaper.Customer(g.rate.CIRDown, g.rate.MIRDown, l.bits, g.scale.down)
	}
	return shaper.Customer(g.rate.CIRUp, g.rate.MIRUp, l.bits, g.scale.up)
}

// classRequests writes the requests that make or change the classes of a
// session. Adopted sessions that nobody has ordered keep what they have.
func (s *Shaper) classRequests(r *requests, l *link, x *session, how uint16, inner map[uint16]bool) {
	g := x.grant
	if g == nil {
		return
	}
	c := s.classOf(g, l)
	if x.parent != rootMinor {
		if !inner[x.parent] {
			inner[x.parent] = true
			r.setClass(l.index, l.major, x.parent, rootMinor, c, classEnsure)
		}
		c = shaper.Share(c, g.devices)
	}
	r.setClass(l.index, l.major, x.minor, x.parent, c, how)
	if how != classChange {
		r.addLeaf(l.index, l.mtu, l.major, x.minor, s.leaf, c)
	}
}

// makeClasses adds the classes of sessions on a link.
func (s *Shaper) makeClasses(l *link, list []*session) error {
	if !l.ready {
		return nil
	}
	var r requests
	inner := map[uint16]bool{}
	for _, x := range list {
		s.classRequests(&r, l, x, classAdd, inner)
	}
	return s.tell(l, &r)
}

// tell sends requests about the classes of a link.
func (s *Shaper) tell(l *link, r *requests) error {
	if len(r.offs) == 0 {
		return nil
	}
	errs, err := s.tc.do(r, nil)
	if err := first(errs, err); err != nil {
		return fmt.Errorf("setting classes of %s: %w", l.name, err)
	}
	return nil
}

// first is the first error of an exchange, with how many more there are.
func first(errs []error, err error) error {
	if err != nil {
		return err
	}
	n := 0
	for _, e := range errs {
		if e != nil {
			if n++; n == 1 {
				err = e
			}
		}
	}
	if n > 1 {
		err = fmt.Errorf("%w (and %d more)", err, n-1)
	}
	return err
}

// changeClasses gives the classes of grants their present rates.
func (s *Shaper) changeClasses(list []*grant) error {
	var errs []error
	for _, l := range s.links() {
		if !l.ready {
			continue
		}
		var r requests
		inner := map[uint16]bool{}
		for _, g := range list {
			for _, x := range g.sessions {
				s.classRequests(&r, l, x, classChange, inner)
			}
		}
		errs = append(errs, s.tell(l, &r))
	}
	return errors.Join(errs...)
}

// dropClasses deletes the classes of sessions that the table no longer leads
// to, and takes their last counters.
func (s *Shaper) dropClasses(list []*session) error {
	if s.police {
		return s.dropCounts(list)
	}
	var errs []error
	for _, l := range s.links() {
		if !l.ready {
			continue
		}
		var r requests
		for _, x := range list {
			r.delClass(l.index, l.major, x.minor)
		}
		failed, err := s.tc.do(&r, func(i int, typ uint16, body []byte) {
			if c, ok := parseClass(body); ok {
				list[i].count(l, c.counters, time.Now())
			}
		})
		if err := first(butMissing(failed), err); err != nil {
			errs = append(errs, fmt.Errorf("deleting classes of %s: %w", l.name, err))
		}
	}
	for _, x := range list {
		clear(x.wait)
	}
	return errors.Join(errs...)
}

// dropInner deletes the class of a grant of several devices.
func (s *Shaper) dropInner(minor uint16) error {
	var errs []error
	for _, l := range s.links() {
		if !l.ready {
			continue
		}
		var r requests
		r.delClass(l.index, l.major, minor)
		failed, err := s.tc.do(&r, nil)
		if err := first(butMissing(failed), err); err != nil {
			errs = append(errs, fmt.Errorf("deleting class %x of %s: %w", minor, l.name, err))
		}
	}
	return errors.Join(errs...)
}

// butMissing leaves out that what was to be deleted is not there.
func butMissing(errs []error) []error {
	for i, e := range errs {
		if e == unix.ENOENT {
			errs[i] = nil
		}
	}
	return errs
}

// count takes a reading of a session's class on a link.
func (x *session) count(l *link, c counters, now time.Time) {
	x.wait[l.at] = c.waiting(l.header)
	if n := c.octets(l.header); n > x.sent[l.at] {
		x.sent[l.at] = n
		x.moved = now
	}
}

// read reads the classes of a grant's sessions, and nothing else.
func (s *Shaper) read(g *grant) error {
	now := time.Now()
	if s.police {
		return s.readCounts(g, now)
	}
	for _, l := range s.links() {
		if !l.ready {
			continue
		}
		var r requests
		for _, x := range g.sessions {
			r.getClass(l.index, l.major, x.minor)
		}
		errs, err := s.tc.do(&r, func(i int, _ uint16, body []byte) {
			if c, ok := parseClass(body); ok {
				g.sessions[i].count(l, c.counters, now)
			}
		})
		if err := first(errs, err); err != nil {
			return fmt.Errorf("reading classes of %s: %w", l.name, err)
		}
	}
	return nil
}

// purge empties the queues of a grant.
func (s *Shaper) purge(g *grant) error {
	var errs []error
	for _, l := range s.links() {
		if !l.ready {
			continue
		}
		var r requests
		for _, x := range g.sessions {
			r.delQdisc(l.index, 0, uint32(l.major)<<16|uint32(x.minor))
			r.addLeaf(l.index, l.mtu, l.major, x.minor, s.leaf, s.classOf(g, l))
		}
		errs = append(errs, s.tell(l, &r))
	}
	return errors.Join(errs...)
}

// A place says where a dump is taken.
type place struct {
	index int
	major uint16
}

// dump lists the classes of a device. It does not need the lock.
func (s *Shaper) dump(p place) ([]class, error) {
	for range 5 {
		var r requests
		var list []class
		r.dumpClasses(p.index, p.major)
		err := s.bulk.dump(&r, func(_ uint16, body []byte) {
			if c, ok := parseClass(body); ok && c.major == p.major {
				list = append(list, c)
			}
		})
		if !errors.Is(err, errLost) {
			return list, err
		}
	}
	return nil, errLost
}

// absorb takes a dump of a link that was begun at a time. It returns the
// sessions whose classes were not in it.
func (s *Shaper) absorb(l *link, list []class, begun time.Time) (missing []*session) {
	byMinor := make(map[uint16]*class, len(list))
	for i := range list {
		byMinor[list[i].minor] = &list[i]
	}
	if byMinor[rootMinor] == nil {
		// Not the classes are gone but all of it.
		s.lost(l)
		return nil
	}
	now := time.Now()
	for _, x := range s.sessions {
		if !x.born.Before(begun) {
			continue
		}
		if c := byMinor[x.minor]; c != nil {
			x.count(l, c.counters, now)
		} else {
			missing = append(missing, x)
		}
	}
	return missing
}

// lost has everything on a link compared and made again.
func (s *Shaper) lost(l *link) {
	l.ready = false
	s.repairSoon(0)
}

// sweep reads all classes.
func (s *Shaper) sweep() error {
	if s.police {
		return s.sweepCounts(time.Now())
	}
	var errs []error
	for _, l := range s.links() {
		if !l.ready {
			continue
		}
		begun := time.Now()
		list, err := s.dump(place{l.index, l.major})
		if err != nil {
			errs = append(errs, fmt.Errorf("listing classes of %s: %w", l.name, err))
			continue
		}
		s.remake(l, s.absorb(l, list, begun))
	}
	return errors.Join(errs...)
}

// remake makes classes again that somebody deleted.
func (s *Shaper) remake(l *link, missing []*session) {
	if len(missing) == 0 || !l.ready {
		return
	}
	now := time.Now()
	for _, x := range missing {
		x.forget(l.at)
		x.born = now
	}
	s.log.Warn("classes were deleted by another program and are made again", "device", l.name, "count", len(missing))
	if err := s.makeClasses(l, missing); err != nil {
		s.log.Error("classes cannot be made again", "device", l.name, "error", err)
		s.lost(l)
	}
}
