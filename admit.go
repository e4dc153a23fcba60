package zonegate

import (
	"cmp"
	"context"
	"crypto/subtle"
	"fmt"
	"sort"
	"time"
)

// DispatchTo has sessions of NASes told what changes. It must be called before
// Run; without it a NAS only learns at its next login.
func (g *Gate) DispatchTo(d Dispatcher) { g.remote = d }

// Admit lets a device in through a NAS: it redeems the code, if there is one,
// starts the grant and holds the device's place until the NAS reports the
// session. It can be repeated. A refusal comes at once.
//
// A code that is used on another device moves here when that device is not
// online; otherwise it is ErrOtherDevice.
func (g *Gate) Admit(ctx context.Context, l Login) (Admission, error) {
	if a, ok := g.Readmit(l); ok {
		return a, nil
	}
	if l.Code != "" {
		now := g.clock.Now().Mono
		if _, err := g.guesses.admit(l.Device, now); err != nil {
			return Admission{}, err
		}
		defer g.guesses.checked(l.Device)
		// A NAS does not wait as long as strangers have to while somebody
		// tries codes, so they are sent away: there, not at every other NAS.
		if g.floods.over(l.NAS, now) && !g.isCustomer(l.Device) {
			return Admission{}, &RetryError{ErrTooManyCodes, g.guesses.MaxDelay}
		}
	}
	var a Admission
	err := g.do(ctx, true, func(t *tx) (err error) {
		a, err = t.admit(l)
		return err
	})
	if isGuess(err) {
		now := g.clock.Now().Mono
		g.guesses.wrong(l.Device, now)
		g.floods.wrong(l.NAS, now)
	}
	return a, err
}

// stillFresh is how long after a NAS last spoke of a session a login for it
// needs no note of it.
const stillFresh = 30 * time.Second

// A knownLogin spares a NAS that asks again the hashing. The code is empty when
// there was none, or when it goes with a password of its own.
type knownLogin struct{ code, token string }

// Readmit answers a NAS that asks again for a session that it has: nothing
// changes, so nothing is decided. It says no wherever that is not plain, and
// then [Gate.Admit] decides. It never waits.
func (g *Gate) Readmit(l Login) (Admission, bool) {
	// While something is being written down it is quicker to wait for the next
	// decision than for this one and then perhaps for the next too.
	if !g.mu.TryRLock() {
		return Admission{}, false
	}
	defer g.mu.RUnlock()
	s, now := g.state, g.seen
	for _, id := range s.byDevice[l.Device] {
		grant := s.grants[id]
		if grant.State != Active || !grant.Running || l.Grant != 0 && l.Grant != id {
			continue
		}
		x, open := s.openSession(id, l.Device)
		if !open {
			continue
		}
		c := g.counted[x.ID]
		left := grant.EndsAt - s.meta.Clock.advance(now).of(grant.Time)
		plan, ok := s.plan(grant.Plan)
		if !ok || x.Path != l.NAS || left <= 0 || now.Mono-c.heard >= stillFresh || g.wanted(grant, &x) != x.Terms || g.outstanding(x) == 0 {
			return Admission{}, false
		}
		if c.login.token == "" || l.Code != "" && (subtle.ConstantTimeCompare([]byte(l.Code), []byte(c.login.code)) != 1 || !proves(l)) {
			return Admission{}, false
		}
		return Admission{
			Session: x, Plan: plan, Token: c.login.token, Live: x.Key != "", Counted: c.octets, TimeLeft: left,
		}, true
	}
	return Admission{}, false
}

// proves says whether the customer gave one of the passwords that go with
// every code: none, or the code again.
func proves(l Login) bool {
	return l.Proves == nil || l.Proves("") || l.Proves(l.Code) || l.Proves(NormalizeCode(l.Code))
}

// checkPassword asks whether one of the passwords that go with a code was
// given: the one of its ticket, or else none, or the code again.
func (t *tx) checkPassword(v *Voucher, l Login) error {
	switch {
	case v.Secret != "":
		password, err := t.meta.Key.unseal(*v)
		if err != nil {
			return err
		}
		tickets := t.gate.tickets
		if _, err := tickets.admit(v.Key, t.now.Mono); err != nil {
			return err
		}
		defer tickets.checked(v.Key)
		if l.Proves == nil || !l.Proves(password) {
			tickets.wrong(v.Key, t.now.Mono)
			return ErrWrongPassword
		}
	case !proves(l):
		return ErrWrongPassword
	}
	return nil
}

func (t *tx) admit(l Login) (Admission, error) {
	var plain GrantID
	if l.Code != "" {
		v, err := t.typed(l.Code)
		if err == nil {
			err = t.checkPassword(&v, l)
		}
		if err != nil {
			return Admission{}, err
		}
		m := len(t.events)
		if err := t.claim(&v, Redemption{Code: l.Code, Device: l.Device, NAS: l.NAS}, true); err != nil {
			return Admission{}, err
		}
		if len(t.events) > m && t.gate.degraded != nil {
			return Admission{}, t.gate.degraded
		}
		if v.Secret == "" {
			plain = cmp.Or(v.Grant, t.meta.LastGrant)
		}
	}
	for {
		id, err := t.choose(l.Device, l.Grant, l.Code != "" || l.Grant != 0)
		if err != nil {
			return Admission{}, err
		}
		if t.octetsLeft(t.grants[id]) > 0 {
			return t.place(*t.grants[id], l, plain == id)
		}
		if err := t.end(id, Spent); err != nil {
			return Admission{}, err
		}
	}
}

// place finds or opens the session of a login. Plain says that its code is that
// of the grant and has no password of its own.
func (t *tx) place(grant Grant, l Login, plain bool) (Admission, error) {
	plan, ok := t.plan(grant.Plan)
	if !ok {
		return Admission{}, fmt.Errorf("plan %s: %w", grant.Plan.ID, ErrNoSuchPlan)
	}
	x, open := t.openSession(grant.ID, l.Device)
	if open && x.Path != l.NAS {
		// One device is in one place.
		if err := t.stopSession(x); err != nil {
			return Admission{}, err
		}
		open = false
	}
	if open {
		if w := t.gate.wanted(&grant, &x); w != x.Terms {
			if err := t.emit(SessionTold{x.ID, w}); err != nil {
				return Admission{}, err
			}
		}
	} else {
		// Each time on costs a write to flash.
		if err := t.gate.switches.admit(l.Device, t.now.Mono); err != nil {
			return Admission{}, err
		}
		if err := t.share(&grant); err != nil {
			return Admission{}, err
		}
		ends := grant.EndsAt
		if !grant.Running {
			ends = t.meta.Clock.of(grant.Time) + grant.TimeLeft
		}
		err := t.open(SessionOpened{
			Grant: grant.ID, Device: l.Device, Path: l.NAS,
			Terms: Terms{Plan: grant.Plan, Limit: t.gate.slice(&grant, 0), Ends: ends},
		})
		if err != nil {
			return Admission{}, err
		}
		x, _ = t.openSession(grant.ID, l.Device)
	}
	x = t.sessions[x.ID]
	c := t.gate.counted[x.ID]
	c.heard, c.login = t.now.Mono, knownLogin{token: t.gate.Token(grant.ID)}
	if plain {
		c.login.code = l.Code
	}
	t.gate.counted[x.ID] = c
	return Admission{
		Session: x, Plan: plan, Token: c.login.token, Live: x.Key != "",
		Counted:  c.octets,
		TimeLeft: max(1, x.Terms.Ends-t.meta.Clock.of(grant.Time)),
	}, nil
}

// share makes room in a capped grant for one more session: when the others
// hold more than half of what would be fair for it, they give some back.
func (t *tx) share(grant *Grant) error {
	left := t.octetsLeft(grant)
	if left == NoCap {
		return nil
	}
	fair := left / uint64(t.passing(grant.ID)+1)
	if t.gate.slice(grant, 0) >= fair/2 {
		return nil
	}
	for _, id := range t.byGrant[grant.ID] {
		x := t.sessions[id]
		if x.Stopped || x.Path == "" || t.gate.outstanding(x) <= fair {
			continue
		}
		less := x.Terms
		less.Limit = t.gate.counted[id].octets.Total() + fair
		if err := t.emit(SessionTold{id, less}); err != nil {
			return err
		}
		t.errand(id)
	}
	return nil
}

// slice is how many octets a session of a grant may deliver in all: what it
// has, and its part of what no other session holds. A place is kept for each
// of the grant's other devices. ID is zero for a session that is to be opened.
func (g *Gate) slice(grant *Grant, id SessionID) uint64 {
	free := grant.octetsLeft()
	if free == NoCap {
		return NoCap
	}
	places := uint64(max(1, len(grant.Devices)))
	for _, other := range g.state.byGrant[grant.ID] {
		x := g.state.sessions[other]
		held := g.uncharged(x).Total()
		// A session of the kernel holds nothing: it keeps its place, and gets
		// what is left.
		if other != id && !x.Stopped && x.Path != "" {
			held += g.outstanding(x)
			places--
		}
		free -= min(free, held)
	}
	if part := free / max(1, places); part >= SpentBelow {
		free = part
	}
	return g.counted[id].octets.Total() + free
}

// outstanding is what a session of a NAS may still deliver.
func (g *Gate) outstanding(x Session) uint64 {
	if x.Terms.Limit == NoCap {
		return NoCap
	}
	return x.Terms.Limit - min(x.Terms.Limit, g.counted[x.ID].octets.Total())
}

// wanted returns the terms that a passing session of a NAS should have. Its
// limit is only raised, and where several devices share a grant only when
// little of it is left, so that a NAS is not told something all the time.
func (g *Gate) wanted(grant *Grant, x *Session) Terms {
	w := Terms{Plan: grant.Plan, Limit: x.Terms.Limit, Ends: x.Terms.Ends}
	if grant.Running {
		w.Ends = grant.EndsAt
	}
	if grant.Cap == 0 {
		w.Limit = NoCap
		return w
	}
	limit := g.slice(grant, x.ID)
	has := g.outstanding(*x)
	gets := limit - min(limit, g.counted[x.ID].octets.Total())
	if gets > has && (len(grant.Devices) == 1 || has <= gets/4) {
		w.Limit = limit
	}
	return w
}

// errand has a NAS told about a session.
func (t *tx) errand(id SessionID) { t.told[id] = struct{}{} }

// errands returns what NASes must be told after a batch. It is called with the
// lock held.
func (g *Gate) errands(t *tx) []Errand {
	if g.remote == nil {
		return nil
	}
	for id := range t.touched {
		for _, sid := range g.state.byGrant[id] {
			if x := g.state.sessions[sid]; x.Path != "" && !x.Stopped && g.wanted(g.state.grants[id], &x) != x.Terms {
				t.errand(sid)
			}
		}
	}
	for id := range t.stops {
		t.errand(id)
	}
	out := t.strangers
	for id := range t.told {
		x, ok := g.state.sessions[id]
		grant := g.state.grants[x.Grant]
		if !ok || x.Path == "" || x.Key == "" || x.Over || grant == nil {
			continue
		}
		e := Errand{Session: x, Counted: g.counted[id].octets, Stop: x.Stopped}
		if !x.Stopped {
			e.Plan, _ = g.state.plan(grant.Plan)
			e.Terms = g.wanted(grant, &x)
			e.TimeLeft = max(1, e.Terms.Ends-g.state.meta.Clock.advance(t.now).of(grant.Time))
		}
		out = append(out, e)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Session.ID < out[j].Session.ID })
	return out
}

// Told notes that a NAS has taken terms over, or will do so by itself before
// it matters.
func (g *Gate) Told(ctx context.Context, id SessionID, terms Terms) error {
	return g.do(ctx, true, func(t *tx) error {
		x, ok := t.sessions[id]
		if !ok || x.Stopped || x.Terms == terms {
			return nil
		}
		if err := t.emit(SessionTold{id, terms}); err != nil {
			return err
		}
		t.touch(x.Grant)
		return nil
	})
}
