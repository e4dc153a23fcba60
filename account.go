package zonegate

import (
	"context"
	"time"
)

// SpentBelow is what may be left of a cap when a grant counts as spent: less
// than the largest packet a kernel hands on in one piece.
const SpentBelow = 64 << 10

// Account takes what data paths report. Counters are cumulative, so a report
// may come twice. When a grant has nothing left it ends, and the next one in
// the device's queue starts.
func (g *Gate) Account(ctx context.Context, usage []Usage) error {
	return g.do(ctx, true, func(t *tx) error {
		for _, u := range usage {
			if err := t.account(u); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) account(u Usage) error {
	x, ok := t.sessions[u.Session]
	if !ok {
		return nil
	}
	c := t.gate.counted[x.ID]
	// Reports can overtake each other; counters only grow.
	octets := Octets{max(u.Octets.Up, c.octets.Up, x.Octets.Up), max(u.Octets.Down, c.octets.Down, x.Octets.Down)}
	if octets != c.octets {
		c.octets, c.moved = octets, t.now.Mono
		t.gate.counted[x.ID] = c
	}
	grant, err := t.needGrant(x.Grant)
	if err != nil {
		return err
	}
	if grant.State == Active {
		left := t.octetsLeft(&grant)
		if left == 0 || u.Spent && left < SpentBelow {
			if err := t.end(grant.ID, Spent); err != nil {
				return err
			}
		} else if u.Spent && x.Path == "" {
			// Topped up in the meantime, or sessions of NASes hold the rest: the
			// data path gets its new order.
			if err := t.share(&grant); err != nil {
				return err
			}
			t.touch(grant.ID)
		}
	}
	if !u.Final {
		return nil
	}
	x = t.sessions[u.Session]
	delete(t.gate.counted, x.ID)
	if err := t.emit(SessionClosed{x.ID, octets}); err != nil {
		return err
	}
	t.touch(x.Grant)
	if x.Stopped || grant.State != Active {
		return nil
	}
	// The data path lost a session that we did not stop.
	return t.reconnect(x.Device)
}

// octetsLeft is what the cap leaves, everything reported counted.
func (t *tx) octetsLeft(grant *Grant) uint64 {
	left := grant.octetsLeft()
	if left == NoCap {
		return left
	}
	for _, id := range t.byGrant[grant.ID] {
		left -= min(left, t.gate.uncharged(t.sessions[id]).Total())
	}
	return left
}

// charge writes what the sessions of a grant have delivered against it.
func (t *tx) charge(id GrantID) error {
	var list []SessionOctets
	for _, sid := range t.byGrant[id] {
		if x := t.sessions[sid]; t.gate.uncharged(x) != (Octets{}) {
			list = append(list, SessionOctets{sid, t.gate.counted[sid].octets})
		}
	}
	if len(list) == 0 {
		return nil
	}
	return t.emit(UsageCounted{list})
}

// end ends a grant, stops its sessions and lets the queues of its devices go
// on.
func (t *tx) end(id GrantID, state GrantState) error {
	if err := t.charge(id); err != nil {
		return err
	}
	grant, err := t.needGrant(id)
	if err != nil {
		return err
	}
	var present []MAC
	for _, sid := range t.byGrant[id] {
		x := t.sessions[sid]
		if x.Stopped {
			continue
		}
		if err := t.emit(SessionStopped{sid}); err != nil {
			return err
		}
		t.stops[sid] = struct{}{}
		// Time that was bought for later is not started for a phone that has
		// left; the portal offers it when the phone is back.
		if x.Path == "" && t.now.Mono-t.gate.counted[sid].moved < t.gate.opts.IdleTimeout {
			present = append(present, x.Device)
		}
	}
	if err := t.emit(GrantEnded{grant.ID, state}); err != nil {
		return err
	}
	for _, d := range present {
		if err := t.reconnect(d); err != nil {
			return err
		}
	}
	return nil
}

// expireDue ends a grant whose time is over.
func (t *tx) expireDue(id GrantID) error {
	grant, ok := t.grants[id]
	if !ok || grant.State != Active || !grant.Running || t.meta.Clock.of(grant.Time) < grant.EndsAt {
		return nil
	}
	return t.end(id, Expired)
}

// Expire ends every grant whose time is over and every idle session that
// costs time. Run does it every second.
func (g *Gate) Expire(ctx context.Context) error {
	return g.do(ctx, true, (*tx).expire)
}

func (g *Gate) timeRequest() *request { return newRequest(true, (*tx).expire) }

func (t *tx) expire() error {
	var due []GrantID
	for id, grant := range t.grants {
		if grant.State == Active && grant.Running && t.meta.Clock.of(grant.Time) >= grant.EndsAt {
			due = append(due, id)
		}
	}
	for _, id := range due {
		if err := t.expireDue(id); err != nil {
			return err
		}
	}
	for _, x := range t.sessions {
		c, ok := t.gate.counted[x.ID]
		if !ok {
			c = counter{octets: x.Octets, moved: t.now.Mono, heard: t.now.Mono}
			t.gate.counted[x.ID] = c
		}
		if x.Path != "" {
			if err := t.tend(x, c); err != nil {
				return err
			}
			continue
		}
		if x.Stopped {
			continue
		}
		grant := t.grants[x.Grant]
		if grant != nil && grant.Time == Online && t.now.Mono-c.moved >= t.gate.opts.IdleTimeout {
			if err := t.stopSession(x); err != nil {
				return err
			}
		}
	}
	if err := t.giveUpIntents(); err != nil {
		return err
	}
	return t.forgetMost()
}

// checkpoint charges everything that was reported, in one record.
func (t *tx) checkpoint() error {
	var list []SessionOctets
	for id, x := range t.sessions {
		if t.gate.uncharged(x) != (Octets{}) {
			list = append(list, SessionOctets{id, t.gate.counted[id].octets})
		}
	}
	if len(list) == 0 && !t.timeCounts() {
		return nil
	}
	sortSessions(list)
	return t.emit(UsageCounted{list})
}

// timeCounts says whether the passing of time must be written down.
func (t *tx) timeCounts() bool {
	for _, grant := range t.grants {
		if grant.Running {
			return true
		}
	}
	return false
}

// Standing is what a device may do now.
type Standing struct {
	Device MAC
	// Online says that a session of the device passes, and NAS which other
	// machine it passes through, if any.
	Online bool
	NAS    string
	// Pending says that it will pass, but the data path is behind.
	Pending bool
	// Grant is the one in use, or the next to be used; nil for a stranger.
	Grant *Balance
	// Queue are the grants behind it, oldest first.
	Queue []Balance
}

// A Balance is what is left of a grant now.
type Balance struct {
	Grant   GrantID
	Token   string
	Plan    Plan
	State   GrantState
	Running bool
	// TimeLeft is the paid time left. Ends is when it is over if it runs on;
	// zero when the clock is not trusted or time stands still.
	TimeLeft time.Duration
	Ends     time.Time
	// Cap is zero without a data cap; then OctetsLeft means nothing.
	Cap        uint64
	Used       Octets
	OctetsLeft uint64
	Devices    []MAC
}

// Standing returns what a device may do now.
func (g *Gate) Standing(d MAC) Standing {
	now := g.clock.Now()
	g.mu.RLock()
	defer g.mu.RUnlock()
	st := Standing{Device: d}
	for _, grant := range g.state.live(d) {
		b := g.balance(*grant, now)
		if x, open := g.state.openSession(grant.ID, d); open && !st.Online {
			if st.Grant != nil {
				st.Queue = append(st.Queue, *st.Grant)
			}
			st.Grant, st.Online, st.NAS = &b, true, x.Path
		} else if grant.State == Active && st.Grant == nil {
			st.Grant = &b
		} else {
			st.Queue = append(st.Queue, b)
		}
	}
	if st.Grant == nil && len(st.Queue) > 0 {
		st.Grant, st.Queue = &st.Queue[0], st.Queue[1:]
	}
	st.Pending = st.Online && st.NAS == "" && g.behind() != nil
	return st
}

// Balance returns what is left of a grant.
func (g *Gate) Balance(id GrantID) (Balance, error) {
	now := g.clock.Now()
	g.mu.RLock()
	defer g.mu.RUnlock()
	grant, ok, err := g.state.grant(id)
	if err != nil {
		return Balance{}, err
	}
	if !ok {
		return Balance{}, ErrNoSuchGrant
	}
	return g.balance(grant, now), nil
}

// balance is called with the lock held.
func (g *Gate) balance(grant Grant, now Instant) Balance {
	clock := g.state.meta.Clock.advance(now)
	plan, _ := g.state.plan(grant.Plan)
	b := Balance{
		Grant: grant.ID, Token: g.Token(grant.ID), Plan: plan, State: grant.State,
		Running: grant.Running, TimeLeft: grant.TimeLeft, Cap: grant.Cap,
		Used: grant.Used, Devices: grant.Devices,
	}
	if grant.Running {
		b.TimeLeft = max(0, grant.EndsAt-clock.of(grant.Time))
		if wall, ok := clock.wall(); ok {
			b.Ends = wall.Add(b.TimeLeft)
		}
	}
	for _, id := range g.state.byGrant[grant.ID] {
		u := g.uncharged(g.state.sessions[id])
		b.Used.Up += u.Up
		b.Used.Down += u.Down
	}
	if grant.Cap != 0 {
		b.OctetsLeft = grant.Cap - min(grant.Cap, b.Used.Total())
	}
	return b
}
