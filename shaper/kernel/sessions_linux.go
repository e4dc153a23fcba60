package kernel

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"zonegate"
	"zonegate/shaper"
	"zonegate/shaper/kernel/nft"
)

// change sets orders and stops sessions. A failure leaves what it could not do
// to the next repair.
func (s *Shaper) change(set []zonegate.Order, stop []zonegate.SessionID) error {
	var (
		e     edit
		errs  []error
		gone  []*session
		moved = map[zonegate.MAC]zonegate.SessionID{} // the sessions that devices pass to
	)
	if s.settled {
		// What nobody refers to goes with the first complete orders.
		e, s.stray.edit = s.stray.edit, edit{}
	}
	for _, id := range stop {
		x := s.sessions[id]
		if x == nil {
			continue
		}
		s.detach(x)
		gone = append(gone, x)
	}
	var added, changed, displaced []*session
	touched := map[*grant]bool{}
	for _, o := range set {
		other := s.devices[o.Device]
		x, isNew, rated, err := s.attach(o)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if other != nil && other != x {
			// Its MAC leads to the newer session now.
			other.order.Device = zonegate.MAC{}
			displaced = append(displaced, other)
		}
		moved[o.Device] = o.Session
		touched[x.grant] = true
		if isNew {
			added = append(added, x)
		} else if rated {
			changed = append(changed, x)
		}
	}
	if len(added) > 0 || len(changed) > 0 {
		s.rateNew(touched)
	}
	former, err := s.rehome(touched)
	errs = append(errs, err)
	for x := range former {
		added = append(added, x)
	}
	// Classes first: a map must not lead to a class that is not there.
	for _, l := range s.links() {
		errs = append(errs, s.makeClasses(l, added))
	}
	if len(changed) > 0 {
		errs = append(errs, s.changeClasses(grantsOf(changed)))
	}
	for g := range touched {
		errs = append(errs, s.reorder(g, &e))
		s.limit(g, &e)
	}
	var edited []*session
	for _, x := range gone {
		x.next = placed{}
		edited = append(edited, x)
		if heir, ok := moved[x.order.Device]; ok {
			e.heir = append(e.heir, nft.Element{Key: markKey(x.order.Session), Data: markKey(heir)})
		}
		// The sessions that remain of its grant go on under its brake.
		if g := x.grant; g != nil && len(g.sessions) == 0 {
			s.disarm(g, &e)
		}
	}
	for g := range touched {
		for _, x := range g.sessions {
			x.next = s.wanted(x)
			edited = append(edited, x)
		}
	}
	for _, x := range displaced {
		if !touched[x.grant] {
			x.next = s.wanted(x)
			edited = append(edited, x)
		}
	}
	errs = append(errs, s.place(&e, edited))
	errs = append(errs, s.finish(gone, moved), s.leaveHome(former))
	s.kick()
	return errors.Join(errs...)
}

func grantsOf(list []*session) []*grant {
	var out []*grant
	for _, x := range list {
		if x.grant != nil && !slices.Contains(out, x.grant) {
			out = append(out, x.grant)
		}
	}
	return out
}

// detach takes a session out of the books; the kernel still has it.
func (s *Shaper) detach(x *session) {
	delete(s.sessions, x.order.Session)
	if s.devices[x.order.Device] == x {
		delete(s.devices, x.order.Device)
	}
	if g := x.grant; g != nil {
		g.sessions = slices.DeleteFunc(g.sessions, func(y *session) bool { return y == x })
		g.gone = append(g.gone, departed{session: x, whole: true})
	}
}

// adoptedEnd is how much the end that is left of an adopted session may differ
// from its order's.
const adoptedEnd = time.Second

// attach puts an order into the books.
func (s *Shaper) attach(o zonegate.Order) (x *session, isNew, rated bool, err error) {
	if o.Session == 0 {
		return nil, false, false, errors.New("an order without a session")
	}
	o.Devices = max(o.Devices, 1)
	x = s.sessions[o.Session]
	if x == nil {
		minor, err := s.minors.next()
		if err != nil {
			return nil, false, false, fmt.Errorf("session %d: %w", o.Session, err)
		}
		isNew = true
		now := time.Now()
		x = &session{minor: minor, parent: rootMinor, sent: make([]uint64, 1+len(s.wans)), wait: make([]uint64, 1+len(s.wans)), born: now, moved: now}
	}
	g := s.grants[o.Grant]
	if g == nil {
		g = &grant{id: o.Grant, ratio: 1, scale: s.scale, rate: o.Rate}
		s.grants[o.Grant] = g
	}
	if x.grant != g {
		if x.grant != nil {
			return nil, false, false, fmt.Errorf("session %d belongs to grant %d and cannot pass to grant %d", o.Session, x.grant.id, o.Grant)
		}
		if isNew && o.Devices > 1 && g.minor == 0 {
			if g.minor, err = s.minors.next(); err != nil {
				s.minors.free(x.minor)
				return nil, false, false, fmt.Errorf("grant %d: %w", o.Grant, err)
			}
		}
		if isNew && g.minor != 0 {
			x.parent = g.minor
		}
		if !isNew {
			rated = true // adopted: its classes may have other rates
			if d := x.placed.until - o.Until; x.placed.until != 0 && o.Until != 0 && -adoptedEnd < d && d < adoptedEnd {
				// Left alone: older kernels can miss an element for a moment
				// while it is being replaced.
				x.placed.until = o.Until
			}
			if x.parent != rootMinor {
				g.minor = x.parent
			}
		}
		x.grant = g
		g.sessions = append(g.sessions, x)
	}
	if g.rate != o.Rate || g.devices != o.Devices {
		g.rate, g.devices, rated = o.Rate, o.Devices, true
	}
	if s.devices[x.order.Device] == x {
		delete(s.devices, x.order.Device)
	}
	s.devices[o.Device] = x
	if !isNew && shaper.SameEnd(x.order, o) {
		o.Until = x.order.Until // so that the timeout is left alone
	}
	x.order = o
	s.sessions[o.Session] = x
	g.order(o)
	return x, isNew, rated, nil
}

// rehome gives a session that was alone under its grant new classes below
// those of the grant, when the grant gets more devices: a class cannot be
// moved. It returns what the sessions leave behind.
func (s *Shaper) rehome(touched map[*grant]bool) (former map[*session]*session, err error) {
	if s.police {
		return nil, nil
	}
	former = map[*session]*session{}
	for g := range touched {
		for _, x := range g.sessions {
			if g.minor == 0 || x.parent == g.minor {
				continue
			}
			minor, err := s.minors.next()
			if err != nil {
				return former, fmt.Errorf("session %d: %w", x.order.Session, err)
			}
			old := &session{order: x.order, minor: x.minor, parent: x.parent, base: x.base, sent: x.sent, wait: x.wait}
			former[x] = old
			x.base = x.octets()
			x.sent, x.wait = make([]uint64, len(x.sent)), make([]uint64, len(x.wait))
			x.minor, x.parent, x.born = minor, g.minor, time.Now()
		}
	}
	return former, nil
}

// leaveHome deletes the classes that sessions have left, and keeps their last
// counters.
func (s *Shaper) leaveHome(former map[*session]*session) error {
	var errs []error
	for x, old := range former {
		known := old.octets()
		errs = append(errs, s.dropClasses([]*session{old}))
		s.minors.free(old.minor)
		now := old.octets()
		x.base.Down += now.Down - known.Down
		x.base.Up += now.Up - known.Up
	}
	return errors.Join(errs...)
}

// wanted is what the table should hold for a session.
func (s *Shaper) wanted(x *session) placed {
	p := placed{minor: x.minor, count: s.police}
	if s.police && x.grant != nil {
		p.limit = x.grant.limit
	}
	if x.spent {
		// The class maps stay: they are how a later process finds the counters.
		return p
	}
	p.live, p.device, p.until = true, x.order.Device, x.order.Until
	if x.grant != nil {
		p.quota = x.grant.quota
	} else {
		p.quota = x.placed.quota
	}
	return p
}

// left is how long an order may still pass; zero is without end.
func (s *Shaper) left(o zonegate.Order) time.Duration {
	if o.Until == 0 {
		return 0
	}
	return max(o.Until-s.clock.Now().Mono, time.Millisecond)
}

// place commits an edit that brings sessions to their next place.
func (s *Shaper) place(e *edit, list []*session) error {
	for _, x := range list {
		e.place(x.order.Session, x.placed, x.next, s.left(x.order))
	}
	s.unlimit(e, list)
	if !s.table {
		return s.rebuild()
	}
	if e.empty() {
		return nil
	}
	var b nft.Batch
	e.write(&b)
	if err := s.commit(&b); err != nil {
		s.log.Warn("the table is not as expected and is made anew", "error", err)
		return s.rebuild()
	}
	for _, x := range list {
		x.placed = x.next
	}
	return nil
}

func (s *Shaper) commit(b *nft.Batch) error {
	err := s.nft.Commit(b)
	if err != nil {
		s.table = false
	}
	return err
}

// finish ends sessions that the table no longer lets through: their flows,
// their classes, their counters.
func (s *Shaper) finish(gone []*session, moved map[zonegate.MAC]zonegate.SessionID) error {
	if len(gone) == 0 {
		return nil
	}
	var errs []error
	for _, x := range gone {
		// The flows of a device that has another session pass to that. Deleting
		// them would lose their address translation.
		if _, ok := moved[x.order.Device]; ok {
			continue
		}
		if err := s.nft.DeleteMark(uint32(x.order.Session)); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, s.dropClasses(gone))
	inner := map[uint16]bool{}
	for _, x := range gone {
		s.minors.free(x.minor)
		if x.parent != rootMinor {
			inner[x.parent] = true
		}
		s.report(x, true)
		if g := x.grant; g != nil && len(g.sessions) == 0 {
			g.minor = 0
		}
	}
	for minor := range inner {
		if !s.parentInUse(minor) {
			errs = append(errs, s.dropInner(minor))
			s.minors.free(minor)
		}
	}
	s.tidyGrants()
	return errors.Join(errs...)
}

func (s *Shaper) parentInUse(minor uint16) bool {
	for _, x := range s.sessions {
		if x.parent == minor {
			return true
		}
	}
	return false
}

// tidyGrants forgets grants that nothing refers to.
func (s *Shaper) tidyGrants() {
	for id, g := range s.grants {
		if len(g.sessions) == 0 && len(g.gone) == 0 {
			delete(s.grants, id)
		}
	}
}
