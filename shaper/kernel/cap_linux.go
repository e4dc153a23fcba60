package kernel

import (
	"fmt"
	"slices"
	"time"

	"zonegate"
	"zonegate/shaper"
)

// How a cap is kept
//
// The classes count what is delivered; the kernel has no way to stop at such a
// count. So a quota object in the forward hook is the brake: it lets pass less
// than what is left, and when it runs out an event tells us to read the
// classes and to put a new object in its place. Each object is armed with 0.9
// of the rest, so the rest shrinks quickly and the last objects are small.
//
// The quota counts other bytes than the classes: fewer, because packets are
// merged when it sees them and have one header instead of many; more, because
// the classes drop what does not fit into their queues. The first is followed
// as a ratio, and because it can change at any moment the classes are also
// read when, at the grant's full rate, half of the rest could be gone. The
// second only means more events.
//
// While the process is dead, objects run out and nobody replaces them: early.

const (
	// drainTime is the longest that the queue of a spent grant may take.
	drainTime = 2 * time.Second
	drainLook = 10 * time.Millisecond
	// Near its end a grant without traffic is not watched: it gets an object
	// so small that nothing can happen before its event.
	dozeBelow = 500 * time.Millisecond
	dozeAfter = 300 * time.Millisecond
	// futileLimit is how often an object may run out without anything being
	// delivered. Then the packets are too large for what is left.
	futileLimit = 8
	futileWait  = 100 * time.Millisecond
	// ratioSample is how many bytes must be counted to say something about
	// their ratio to those on the wire.
	ratioSample = 32 << 10
	// queueWait is the longest that a new object may wait while a queue feeds
	// the customer.
	queueWait = 20 * time.Millisecond
)

// A grant is what its sessions share.
type grant struct {
	id       zonegate.GrantID
	sessions []*session
	rate     zonegate.Rate
	devices  int
	scale    scales // of the classes as they are
	minor    uint16 // of the class above those of its sessions; 0: none
	limit    string // without HTB: stem of the names of its limit objects
	limited  zonegate.Rate

	allowance uint64
	gone      []departed

	quota string  // the object in force; empty: none
	armed uint64  // its bytes
	mark  uint64  // used and waiting when it was armed
	ratio float64 // wire bytes per counted byte
	seen  uint64  // used and waiting at the last look
	still time.Time
	// due is when to look, zero never. rearm says that the object has run out
	// and due is when to replace it.
	due    time.Time
	rearm  bool
	doze   bool
	futile int
	spent  bool
	empty  bool      // spent, and its queues are empty: the counters are final
	drain  time.Time // end of the time for its queues to empty
}

// A departed is a session that has left its grant. Its octets still count
// against an allowance that was worked out before that was known.
type departed struct {
	session *session
	// whole: the allowance in force was worked out with this session.
	// Otherwise only what had not been reported counts.
	whole bool
	// known: its last counters have been accounted.
	known bool
}

// order takes a newer order of the grant.
func (g *grant) order(o zonegate.Order) {
	g.allowance = o.Allowance
	g.gone = slices.DeleteFunc(g.gone, func(d departed) bool { return d.known })
	for i := range g.gone {
		g.gone[i].whole = false
	}
}

// used is what counts against the allowance, without what waits in queues.
func (g *grant) used() uint64 {
	var n uint64
	for _, x := range g.sessions {
		n += x.octets().Total()
	}
	for _, d := range g.gone {
		o := d.session.octets().Total()
		if !d.whole {
			o -= min(o, d.session.reported.Total())
		}
		n += o
	}
	return n
}

func (g *grant) waiting() uint64 {
	var n uint64
	for _, x := range g.sessions {
		for _, w := range x.wait {
			n += w
		}
	}
	return n
}

// speed is the most that a grant can get, in bit/s of all directions together.
func (s *Shaper) speed(g *grant) uint64 {
	var n uint64
	for _, l := range s.links() {
		n += s.classOf(g, l).Ceil
	}
	return n
}

// reorder brings a grant's brake to its newest order. The new object is in the
// edit; the sessions must be placed again.
func (s *Shaper) reorder(g *grant, e *edit) error {
	if g.allowance == zonegate.NoCap {
		s.disarm(g, e)
		s.wakeUp(g)
		g.due = time.Time{}
		return nil
	}
	if err := s.readOld(g); err != nil {
		return err
	}
	total := g.used() + g.waiting()
	left := shaper.Left(g.allowance, total)
	if left < shaper.StopBelow || g.spent && left < zonegate.SpentBelow {
		s.disarm(g, e)
		s.markSpent(g)
		return nil
	}
	s.wakeUp(g)
	s.arm(g, e, total, shaper.Brake(left, g.ratio))
	g.due = time.Now().Add(shaper.NextLook(left, s.speed(g)))
	return nil
}

// readOld reads the grant's classes, unless all of them are new.
func (s *Shaper) readOld(g *grant) error {
	now := time.Now()
	for _, x := range g.sessions {
		if now.Sub(x.born) > time.Second || x.octets() != (zonegate.Octets{}) || x.placed != (placed{}) {
			return s.read(g)
		}
	}
	return nil
}

func (s *Shaper) wakeUp(g *grant) {
	g.spent, g.empty, g.rearm, g.doze, g.futile = false, false, false, false, 0
	for _, x := range g.sessions {
		x.spent = false
	}
}

// arm puts a new object in the place of the present one.
func (s *Shaper) arm(g *grant, e *edit, total, bytes uint64) {
	s.disarm(g, e)
	s.generation++
	g.quota = fmt.Sprintf("g%d.%d", g.id, s.generation)
	g.armed, g.mark = max(bytes, 1), total
	s.quotas[g.quota] = g
	e.object = append(e.object, quotaObject{g.quota, g.armed})
}

func (s *Shaper) disarm(g *grant, e *edit) {
	if g.quota != "" {
		delete(s.quotas, g.quota)
		e.unobject = append(e.unobject, g.quota)
		g.quota = ""
	}
}

// replace arms a grant and commits.
func (s *Shaper) replace(g *grant, total, bytes uint64) error {
	var e edit
	s.arm(g, &e, total, bytes)
	for _, x := range g.sessions {
		x.next = s.wanted(x)
	}
	return s.place(&e, g.sessions)
}

// depleted is called for the event of an object that has run out.
func (s *Shaper) depleted(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.quotas[name]; g != nil && !g.rearm && !s.closed {
		s.look(g, true)
		s.kick()
	}
}

// look reads a grant's classes and decides how it goes on. ranOut says that
// its object has just run out.
func (s *Shaper) look(g *grant, ranOut bool) {
	now := time.Now()
	g.due = time.Time{}
	if g.spent {
		s.drained(g, now)
		return
	}
	var counted uint64
	if !ranOut && !g.rearm && g.quota != "" {
		// Before the classes: the ratio is then seen too high, not too low.
		q, err := s.nft.Quota(tableName, g.quota)
		if err != nil {
			s.log.Warn("a quota object cannot be read", "grant", uint64(g.id), "error", err)
			s.table = false
			s.kick()
			g.due = now.Add(futileWait)
			return
		}
		counted = q.Consumed
		ranOut = q.Depleted || q.Consumed >= q.Bytes
	} else {
		counted = g.armed
	}
	if err := s.read(g); err != nil {
		// The object goes on braking, or has run out: late is safe.
		s.log.Warn("the counters of a grant cannot be read", "grant", uint64(g.id), "error", err)
		s.repairSoon(0)
		g.rearm = g.rearm || ranOut
		g.due = now.Add(futileWait)
		return
	}
	waiting := g.waiting()
	total := g.used() + waiting
	left := shaper.Left(g.allowance, total)
	progress := total - min(total, g.mark)
	if counted >= ratioSample && !g.rearm {
		g.ratio = shaper.Ratio(g.ratio, progress, counted)
	}
	if total != g.seen {
		g.seen, g.still = total, now
	}
	speed := s.speed(g)
	next := shaper.NextLook(left, speed)
	var err error
	switch {
	case left < shaper.StopBelow:
		err = s.spend(g)
	case ranOut && !g.rearm && s.postpone(g, now, left, waiting, progress, speed):
		return
	case g.futile >= futileLimit && left < zonegate.SpentBelow:
		err = s.spend(g)
	case ranOut || g.rearm:
		bytes := shaper.Brake(left, g.ratio)
		if g.futile > 0 {
			// The packets may be larger than that, and still fit.
			bytes = uint64(float64(left) / max(g.ratio, 1.05))
		}
		g.rearm, g.doze, g.still = false, false, now
		err = s.replace(g, total, bytes)
		g.due = now.Add(next)
	case next < dozeBelow && now.Sub(g.still) >= dozeAfter:
		g.doze = true
		err = s.replace(g, total, shaper.Tripwire(left))
	case g.ratio*float64(g.armed-min(g.armed, counted)) > float64(left):
		// The packets have become smaller than the object was armed for.
		err = s.replace(g, total, shaper.Brake(left, g.ratio))
		g.due = now.Add(next)
	default:
		g.due = now.Add(next)
	}
	if err != nil {
		s.log.Error("a data cap cannot be renewed; its customer is stopped early", "grant", uint64(g.id), "error", err)
		g.due = now.Add(futileWait)
	}
}

// postpone decides whether an object that ran out is replaced later: while a
// queue still feeds the customer (an object that drops is then no loss), or
// when it ran out for nothing again and again.
func (s *Shaper) postpone(g *grant, now time.Time, left, waiting, progress, speed uint64) bool {
	var wait time.Duration
	switch {
	case waiting > 0:
		g.futile = 0
		wait = min(time.Duration(float64(waiting)*4/float64(max(speed, 1))*float64(time.Second)), queueWait)
		if wait < time.Millisecond {
			return false
		}
	case progress > 0:
		g.futile = 0
		return false
	default:
		g.futile++
		if g.futile < futileLimit || left < zonegate.SpentBelow {
			return false
		}
		wait = futileWait
	}
	g.rearm = true
	g.due = now.Add(wait)
	return true
}

// spend stops a grant that has nothing left. What waits in its queues is still
// delivered: it was counted.
func (s *Shaper) spend(g *grant) error {
	var e edit
	s.disarm(g, &e)
	s.markSpent(g)
	for _, x := range g.sessions {
		x.next = s.wanted(x)
	}
	err := s.place(&e, g.sessions)
	for _, x := range g.sessions {
		if derr := s.nft.DeleteMark(uint32(x.order.Session)); derr != nil && err == nil {
			err = derr
		}
	}
	return err
}

func (s *Shaper) markSpent(g *grant) {
	now := time.Now()
	g.spent, g.empty, g.rearm, g.doze, g.futile = true, false, false, false, 0
	g.drain = now.Add(drainTime)
	g.due = now.Add(drainLook)
	for _, x := range g.sessions {
		x.spent = true
	}
}

// drained waits for the queues of a spent grant, and reports it.
func (s *Shaper) drained(g *grant, now time.Time) {
	if err := s.read(g); err != nil {
		s.log.Warn("the counters of a grant cannot be read", "grant", uint64(g.id), "error", err)
		s.repairSoon(0)
		if now.Before(g.drain) {
			g.due = now.Add(futileWait)
			return
		}
	}
	used, waiting := g.used(), g.waiting()
	left := shaper.Left(g.allowance, used)
	switch late := !now.Before(g.drain); {
	case waiting == 0:
	case late, used+waiting > g.allowance && left < shaper.StopBelow:
		// More came between the reading and the stop than was left, and now
		// the most has been delivered that may be.
		if err := s.purge(g); err != nil {
			s.log.Error("the queues of a spent grant cannot be emptied", "grant", uint64(g.id), "error", err)
		}
		g.due = now.Add(drainLook)
		return
	default:
		g.due = now.Add(min(drainLook, shaper.NextLook(left, s.speed(g))))
		return
	}
	if left >= zonegate.SpentBelow {
		// The queue was dropped and there is something left after all.
		var e edit
		if err := s.reorderSpent(g, &e); err == nil {
			return
		}
	}
	g.empty = true
	for _, x := range g.sessions {
		s.report(x, false)
	}
}

// reorderSpent lets a grant go on that was stopped with too much left.
func (s *Shaper) reorderSpent(g *grant, e *edit) error {
	if err := s.reorder(g, e); err != nil {
		return err
	}
	for _, x := range g.sessions {
		x.next = s.wanted(x)
	}
	return s.place(e, g.sessions)
}

// nextDue looks at every grant that is due and returns when the next one is.
func (s *Shaper) nextDue(now time.Time) (next time.Time) {
	for _, g := range s.grants {
		if g.due.IsZero() {
			continue
		}
		if !s.repairAt.IsZero() && !s.repairAt.After(now) {
			return now // repair first
		}
		if !g.due.After(now) {
			s.look(g, false)
		}
		if !g.due.IsZero() && (next.IsZero() || g.due.Before(next)) {
			next = g.due
		}
	}
	return next
}

// wakeAll gives dozing grants a full object before nobody watches any more.
func (s *Shaper) wakeAll() {
	for _, g := range s.grants {
		if !g.doze || g.spent || s.read(g) != nil {
			continue
		}
		total := g.used() + g.waiting()
		g.doze = false
		if err := s.replace(g, total, shaper.Brake(shaper.Left(g.allowance, total), g.ratio)); err != nil {
			s.log.Error("a data cap cannot be renewed", "grant", uint64(g.id), "error", err)
		}
		g.due = time.Now().Add(time.Second)
	}
}
