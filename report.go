package zonegate

import (
	"cmp"
	"context"
	"sort"
	"time"
)

// Report takes what a NAS says of one of its sessions. Reports may come late,
// twice or out of order: counters are cumulative, so each octet is charged
// once. It returns when the report may be answered; after an error it must not
// be, and the NAS repeats it.
//
// A start and a stop are written down before that. The counters between them
// are only kept in memory until the next checkpoint, or until little is left
// of the grant: what a power cut takes, the next report brings again.
func (g *Gate) Report(ctx context.Context, r Report) error {
	q := newRequest(true, func(t *tx) error { return t.report(r) })
	q.durable = r.Durable || r.Kind != ReportInterim
	return g.ask(ctx, q)
}

// Removed ends all sessions of a NAS that is asked no more.
func (g *Gate) Removed(ctx context.Context, nas string) error {
	q := newRequest(true, func(t *tx) error { return t.endAll(nas, 0) })
	q.durable = true
	return g.ask(ctx, q)
}

// endAll ends the sessions of a NAS that began longer ago.
func (t *tx) endAll(nas string, ago time.Duration) error {
	var ended []SessionID
	for id, x := range t.sessions {
		if x.Path == nas && !x.Over && x.Opened <= t.meta.Clock.Calendar-ago {
			ended = append(ended, id)
		}
	}
	sort.Slice(ended, func(i, j int) bool { return ended[i] < ended[j] })
	for _, id := range ended {
		if err := t.over(id); err != nil {
			return err
		}
		if c, ok := t.gate.counted[id]; ok {
			c.restarted = true
			t.gate.counted[id] = c
		}
	}
	return nil
}

// Restarted ends all sessions of a NAS that began before it restarted.
//
// Such a packet has nothing in it that is new each time: whoever has recorded
// one can send it again, and would stop the time of every customer until the
// next report. It is also said by one of several NASes behind one address. So
// a NAS whose sessions went on all the same is not believed any more: what it
// does lose ends when nothing is heard of it.
func (g *Gate) Restarted(ctx context.Context, nas string, ago time.Duration) error {
	q := newRequest(true, func(t *tx) error {
		if _, lies := t.gate.steady[nas]; lies {
			return nil
		}
		return t.endAll(nas, ago)
	})
	q.durable = true
	return g.ask(ctx, q)
}

func (t *tx) report(r Report) error {
	x, ok := t.named(r)
	if !ok {
		return t.unnamed(r)
	}
	c := t.gate.counted[x.ID]
	again := t.beganAgain(&x, c, r)
	switch {
	case x.Over && r.Kind == ReportStart:
		// A start that was overtaken by its stop, unless this NAS goes on with
		// the same name.
		if r.Renews || again {
			return t.unnamed(r)
		}
		return nil
	case again:
		if !x.Over {
			if err := t.over(x.ID); err != nil {
				return err
			}
		}
		return t.unnamed(r)
	}
	if x.Key != r.Key || x.Handle != r.Handle && r.Kind == ReportStart {
		if err := t.emit(SessionReported{x.ID, r.Key, r.Handle}); err != nil {
			return err
		}
	}
	grew, err := t.countReport(x.ID, r)
	if err != nil {
		return err
	}
	x = t.sessions[x.ID]
	switch {
	case x.Over:
		if r.Kind == ReportStop && t.gate.uncharged(x) != (Octets{}) {
			return t.over(x.ID)
		}
		if r.Kind == ReportStop || !grew {
			return nil
		}
		const rounding = 5 * time.Second
		if c.restarted && c.lasted != 0 && r.Lasted+r.Ago+rounding >= c.lasted+t.now.Mono-c.heard {
			t.gate.steady[x.Path] = struct{}{}
		}
		return t.resume(x)
	case r.Kind == ReportStop:
		return t.over(x.ID)
	case x.Lost:
		return t.resume(x)
	case x.Stopped:
		// The NAS has not obeyed yet.
		t.errand(x.ID)
		return nil
	}
	t.touch(x.Grant)
	return nil
}

// named finds the session that a report speaks of: by the NAS's name for it,
// or the place that its device holds.
func (t *tx) named(r Report) (Session, bool) {
	var best Session
	for _, id := range t.byKey[sessionKey{path: r.NAS, key: r.Key}] {
		x := t.sessions[id]
		if r.Key == "" || r.Device != (MAC{}) && x.Device != r.Device || r.Grant != 0 && x.Grant != r.Grant {
			continue
		}
		if best.ID == 0 || best.Over && !x.Over || best.Over == x.Over && x.ID > best.ID {
			best = x
		}
	}
	// A start under the name of a session that has just ended is the old one's
	// that comes late, unless the device has logged in since: after a power cut
	// a NAS uses its names again at once.
	logins := t.byKey[sessionKey{path: r.NAS, device: r.Device}]
	if best.ID != 0 && (!best.Over || r.Kind != ReportStart ||
		len(logins) == 0 && t.now.Mono-t.gate.counted[best.ID].heard < reuse) {
		return best, true
	}
	for _, id := range logins {
		x := t.sessions[id]
		// What began before the login is another session.
		age := t.meta.Clock.Calendar - x.Opened
		if (r.Grant == 0 || x.Grant == r.Grant) && r.Lasted+r.Ago <= age+clockSlack {
			return x, true
		}
	}
	return best, best.ID != 0
}

// beganAgain says whether a known name now stands for a new session, its
// counters at zero: a NAS that restarted, or that uses its names again. A
// report of the same session that only comes late shows a longer time than
// has passed since the session was last heard of.
func (t *tx) beganAgain(x *Session, c counter, r Report) bool {
	if x.Key != r.Key || r.Kind == ReportStart && !x.Over {
		return false
	}
	if !fell(r.Octets, c.octets) || !r.Counted {
		return false
	}
	if x.Over && len(t.byKey[sessionKey{path: r.NAS, device: r.Device}]) == 0 {
		// Nobody has logged in since it ended.
		return r.Renews
	}
	if c.lasted == 0 && !x.Over {
		// Nothing was heard since this process began.
		age := t.meta.Clock.Calendar - x.Opened
		return r.Lasted != 0 && r.Lasted < age-10*time.Minute
	}
	const rounding = 2 * time.Second // NASes count whole seconds
	return r.Lasted < c.lasted && r.Lasted+r.Ago <= t.now.Mono-c.heard+rounding
}

// reuse is how long after a session's end its name stands for nothing else,
// but with a NAS that says so.
const reuse = 2 * time.Minute

// clockSlack is how much longer than we know of a session may have lasted: it
// began with an answer that got lost.
const clockSlack = time.Minute

func fell(now, before Octets) bool {
	return now.Up <= before.Up && now.Down <= before.Down && now != before
}

// countReport takes a report's counters over and says whether they grew.
func (t *tx) countReport(id SessionID, r Report) (bool, error) {
	c := t.gate.counted[id]
	before := c.octets
	// Of counters that only grow, those of a late report are the smaller ones.
	// Only where they have gone round its time must say so. A NAS that has set
	// its clock in between says nonsense there, and it must not end the
	// counting: what is far ahead is not taken over.
	late := r.Wraps && max(before.Up, before.Down) > 1<<32-1 && r.Lasted != 0 && r.Lasted < c.lasted
	later := r.Lasted > c.lasted
	if c.lasted == 0 || r.Lasted <= c.lasted+t.now.Mono-c.heard+time.Hour {
		c.lasted = max(c.lasted, r.Lasted)
	}
	c.heard = t.now.Mono
	t.gate.counted[id] = c
	if !r.Counted || late || max(r.Octets.Up, r.Octets.Down) > maxOctets {
		return false, nil
	}
	octets := r.Octets
	if r.Wraps {
		octets = Octets{widen(octets.Up, before.Up, later), widen(octets.Down, before.Down, later)}
	}
	// It also ends the grant when nothing is left.
	if err := t.account(Usage{Session: id, Octets: octets, Spent: r.Kind == ReportStop}); err != nil {
		return false, err
	}
	now := t.gate.counted[id].octets
	if now == before {
		return false, nil
	}
	grant := t.grants[t.sessions[id].Grant]
	if r.Durable || grant != nil && grant.Cap != 0 && t.octetsLeft(grant) < grant.Cap/nearEnd {
		return true, t.charge(t.sessions[id].Grant)
	}
	return true, nil
}

// maxOctets is more than any link carries in a hundred years: beyond it a
// counter is nonsense, and sums could overflow.
const maxOctets = 1 << 60

// nearEnd is the part of a cap below which each report is written down at once.
const nearEnd = 20

// widen continues a 64-bit counter from its low 32 bits. It has only wrapped
// when time went on (later).
func widen(low, before uint64, later bool) uint64 {
	v := before&^(1<<32-1) | low&(1<<32-1)
	if v < before && later {
		v += 1 << 32
	}
	return v
}

// resume goes on with a session that was lost or over, if its grant still has
// a place for the device.
func (t *tx) resume(x Session) error {
	grant := t.grants[x.Grant]
	_, other := t.openSession(x.Grant, x.Device)
	if grant == nil || grant.State != Active || !grant.has(x.Device) || other {
		t.stranger(x)
		return nil
	}
	if err := t.emit(SessionResumed{x.ID}); err != nil {
		return err
	}
	c := t.gate.counted[x.ID]
	c.restarted = false
	t.gate.counted[x.ID] = c
	t.touch(x.Grant)
	return nil
}

// over ends a session with the counters that are known.
func (t *tx) over(id SessionID) error {
	x := t.sessions[id]
	octets := x.Octets
	if c, ok := t.gate.counted[id]; ok {
		octets = c.octets
	}
	t.touch(x.Grant)
	if x.Key == "" {
		// It only held a place.
		delete(t.gate.counted, id)
		return t.emit(SessionClosed{id, octets})
	}
	return t.emit(SessionOver{id, octets})
}

// stranger has a NAS end a session that nobody has a right to.
func (t *tx) stranger(x Session) {
	x.Stopped = true
	t.strangers = append(t.strangers, Errand{Stop: true, Session: x, Counted: t.gate.counted[x.ID].octets})
}

// unnamed takes a report of a session that is not known: one that began while
// nobody listened, or anew under a known name. It becomes a session of the
// device's grant.
func (t *tx) unnamed(r Report) error {
	grant, err := t.grantOfReport(r)
	if err != nil {
		return err
	}
	if grant == nil {
		if r.Grant != 0 && r.Kind != ReportStop {
			t.stranger(Session{Grant: r.Grant, Device: r.Device, Path: r.NAS, Key: r.Key, Handle: r.Handle})
		}
		return nil
	}
	terms := Terms{Plan: grant.Plan, Ends: grant.EndsAt}
	if x, open := t.openSession(grant.ID, r.Device); open && r.Kind != ReportStop {
		// Its stop got lost, or the device has walked to another NAS.
		if x.Path == r.NAS {
			err = t.over(x.ID)
		} else {
			err = t.stopSession(x)
		}
		if err != nil {
			return err
		}
	}
	*grant = *t.grants[grant.ID]
	terms.Limit = t.gate.slice(grant, 0)
	if !grant.Running {
		terms.Ends = t.meta.Clock.of(grant.Time) + grant.TimeLeft
	}
	if err := t.open(SessionOpened{Grant: grant.ID, Device: r.Device, Path: r.NAS, Terms: terms}); err != nil {
		return err
	}
	id := t.meta.LastSession
	if err := t.emit(SessionReported{id, r.Key, r.Handle}); err != nil {
		return err
	}
	if _, err := t.countReport(id, r); err != nil {
		return err
	}
	if r.Kind == ReportStop {
		return t.over(id)
	}
	return nil
}

// grantOfReport returns a copy of the active grant that an unknown session
// uses, nil when there is none.
func (t *tx) grantOfReport(r Report) (*Grant, error) {
	if r.Grant != 0 {
		if err := t.expireDue(r.Grant); err != nil {
			return nil, err
		}
	}
	for _, grant := range t.live(r.Device) {
		if grant.State == Active && (r.Grant == 0 || grant.ID == r.Grant) {
			found := *grant
			return &found, nil
		}
	}
	return nil, nil
}

const (
	// rememberOver is how long an ended session is remembered, so that a
	// report of it that comes again is known; rememberLost the same for one
	// that may go on. Nothing in an accounting packet tells an old one from a
	// new one, so whoever has recorded it can send it again: while the grant
	// could still be charged for it, the session is not forgotten.
	rememberOver = 24 * time.Hour
	rememberLost = 7 * 24 * time.Hour
	// maxRemembered bounds both, the longest silent first.
	maxRemembered = 4096
)

// tend ends what a NAS has been silent about for too long.
func (t *tx) tend(x Session, c counter) error {
	silent := t.now.Mono - c.heard
	switch {
	case !t.chargeable(x) && (x.Over && silent >= rememberOver || x.Lost && silent >= rememberLost),
		x.Key == "" && silent >= t.gate.opts.ReserveTime:
		return t.forget(x.ID)
	case x.Over || x.Lost || silent < t.gate.opts.LostAfter:
		return nil
	}
	if err := t.charge(x.Grant); err != nil {
		return err
	}
	t.touch(x.Grant)
	return t.emit(SessionLost{x.ID})
}

// chargeable says whether a report of a forgotten session would be charged.
func (t *tx) chargeable(x Session) bool {
	grant := t.grants[x.Grant]
	return x.Key != "" && grant != nil && !grant.State.Ended()
}

func (t *tx) forget(id SessionID) error {
	x := t.sessions[id]
	octets := t.gate.counted[id].octets
	delete(t.gate.counted, id)
	t.touch(x.Grant)
	return t.emit(SessionClosed{id, octets})
}

// forgetMost keeps the number of ended sessions that are remembered bounded:
// first go those that nothing can be charged for, then the longest silent.
func (t *tx) forgetMost() error {
	var ended []SessionID
	for id, x := range t.sessions {
		if x.Over || x.Lost {
			ended = append(ended, id)
		}
	}
	if len(ended) <= maxRemembered {
		return nil
	}
	sort.Slice(ended, func(i, j int) bool {
		a, b := ended[i], ended[j]
		if ca, cb := t.chargeable(t.sessions[a]), t.chargeable(t.sessions[b]); ca != cb {
			return cb
		}
		return cmp.Or(cmp.Compare(t.gate.counted[a].heard, t.gate.counted[b].heard), cmp.Compare(a, b)) < 0
	})
	for _, id := range ended[:len(ended)-maxRemembered] {
		if err := t.forget(id); err != nil {
			return err
		}
	}
	return nil
}
