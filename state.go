package zonegate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"
)

// ErrCorrupt is returned when a record does not fit the state it is applied
// to. A journal written by a Gate never gives it.
var ErrCorrupt = errors.New("the record does not fit the state")

// Meta is the part of the state that belongs to no entity.
type Meta struct {
	// Seq is the last record applied.
	Seq         uint64
	Key         ZoneKey
	LastGrant   GrantID
	LastSession SessionID
	Clock       ServiceClock
	// Hub is zero in a zone that is not joined to one.
	Hub HubLink
	// FormerKey is the CodeKey before the present one: what was bought with it
	// can be entered again.
	FormerKey ZoneKey
	// LastEntry was made, and those up to Delivered were acknowledged.
	LastEntry, Delivered uint64
}

// atHub says that the zone is joined to a hub that has not revoked it.
func (m *Meta) atHub() bool { return m.Hub.Site != "" && !m.Hub.Revoked }

// rests says that what a hub made for a site is not sold now.
func (m *Meta) rests(site string) bool { return site != "" && (!m.atHub() || m.Hub.Site != site) }

// DaySales is what was issued on one day under one plan.
type DaySales struct {
	// Day is YYYY-MM-DD in UTC, or empty when the clock was not trusted.
	Day   string
	Plan  string
	Count uint64
	Total Money
}

// A ServiceClock turns readings of the gateway's clocks into the time that is
// charged. It only moves forward.
//
// Within one boot the monotonic clock alone counts. Between two boots nothing
// is known until both ends had a trusted wall clock; then the time switched off
// is charged to calendar grants.
type ServiceClock struct {
	// Calendar is the time charged to calendar grants, Online to online ones.
	Calendar, Online time.Duration
	// Last is the latest reading.
	Last Instant
	// Anchor is a trusted wall time, and AnchorAt the calendar service time at
	// it. Within a boot the anchor is set once, so that a wall clock that is
	// stepped later changes nothing.
	Anchor   time.Time
	AnchorAt time.Duration
	// AnchorBoot is the boot in which the anchor was taken.
	AnchorBoot string
}

// advance returns the clock after a reading.
func (c ServiceClock) advance(at Instant) ServiceClock {
	if at.Boot == c.Last.Boot {
		if d := at.Mono - c.Last.Mono; d > 0 {
			c.Calendar += d
			c.Online += d
			c.Last.Mono = at.Mono
		}
		c.Last.Wall, c.Last.Trusted = at.Wall, at.Trusted
	} else {
		c.Last = at
	}
	if at.Trusted && c.AnchorBoot != at.Boot {
		if !c.Anchor.IsZero() {
			if off := at.Wall.Sub(c.Anchor) - (c.Calendar - c.AnchorAt); off > 0 {
				c.Calendar += off
			}
		}
		// UTC without a monotonic reading: the value is stored and compared.
		c.Anchor, c.AnchorAt, c.AnchorBoot = at.Wall.Round(0).UTC(), c.Calendar, at.Boot
	}
	return c
}

// wall returns the trusted wall time at the clock's last reading.
func (c ServiceClock) wall() (time.Time, bool) {
	if c.AnchorBoot == "" || c.AnchorBoot != c.Last.Boot {
		return time.Time{}, false
	}
	return c.Anchor.Add(c.Calendar - c.AnchorAt), true
}

func (c ServiceClock) of(p TimePolicy) time.Duration {
	if p == Online {
		return c.Online
	}
	return c.Calendar
}

// A State is what the journal's records lead to. It holds everything that can
// still be used, and what changed since the last Save; the Archive has the
// rest. Only one goroutine may use it at a time.
type State struct {
	archive Archive

	meta     Meta
	plans    map[PlanRef]Plan
	current  map[string]PlanRef
	vouchers map[VoucherKey]Voucher
	grants   map[GrantID]*Grant
	sessions map[SessionID]Session
	sales    map[daySalesKey]DaySales
	settings map[string]string
	intents  map[IntentID]*Intent
	// outbox are the last entries, those that no archive has yet.
	outbox []Entry

	// Indexes over grants and sessions.
	byDevice map[MAC][]GrantID
	byGrant  map[GrantID][]SessionID
	byKey    map[sessionKey][]SessionID

	dirty dirtySet
	// undo puts back what the records since the last keep changed; nil when
	// nothing can be undone.
	undo []func()
}

// A sessionKey is how a NAS names its session. Before the NAS has named it,
// it is the device's.
type sessionKey struct {
	path, key string
	device    MAC
}

func (x *Session) key() sessionKey {
	if x.Key == "" {
		return sessionKey{path: x.Path, device: x.Device}
	}
	return sessionKey{path: x.Path, key: x.Key}
}

type daySalesKey struct{ day, plan, currency string }

type dirtySet struct {
	plans    map[PlanRef]struct{}
	vouchers map[VoucherKey]struct{}
	grants   map[GrantID]struct{}
	sessions map[SessionID]struct{}
	sales    map[daySalesKey]struct{}
	settings map[string]struct{}
	intents  map[IntentID]struct{}
}

func newDirtySet() dirtySet {
	return dirtySet{
		map[PlanRef]struct{}{}, map[VoucherKey]struct{}{}, map[GrantID]struct{}{},
		map[SessionID]struct{}{}, map[daySalesKey]struct{}{}, map[string]struct{}{},
		map[IntentID]struct{}{},
	}
}

func (d dirtySet) size() int {
	return len(d.plans) + len(d.vouchers) + len(d.grants) + len(d.sessions) + len(d.sales) + len(d.settings) +
		len(d.intents)
}

// NewState returns the state before the first record, or the one that the
// given changes describe. What they leave out is looked up in the archive,
// which may be nil for a state that keeps everything.
func NewState(archive Archive, from Changes) *State {
	s := &State{
		archive:  archive,
		meta:     from.Meta,
		plans:    map[PlanRef]Plan{},
		current:  map[string]PlanRef{},
		vouchers: make(map[VoucherKey]Voucher, len(from.Vouchers)),
		grants:   make(map[GrantID]*Grant, len(from.Grants)),
		sessions: make(map[SessionID]Session, len(from.Sessions)),
		sales:    map[daySalesKey]DaySales{},
		settings: map[string]string{},
		intents:  make(map[IntentID]*Intent, len(from.Intents)),
		outbox:   slices.Clone(from.Entries),
		byDevice: map[MAC][]GrantID{},
		byGrant:  map[GrantID][]SessionID{},
		byKey:    map[sessionKey][]SessionID{},
	}
	for _, p := range from.Plans {
		s.putPlan(p)
	}
	for _, v := range from.Vouchers {
		s.putVoucher(v)
	}
	for _, g := range from.Grants {
		s.putGrant(g)
	}
	for _, x := range from.Sessions {
		s.putSession(x)
	}
	for _, d := range from.Sales {
		s.sales[daySalesKey{d.Day, d.Plan, d.Total.Currency}] = d
	}
	maps.Copy(s.settings, from.Settings)
	for _, in := range from.Intents {
		s.intents[in.ID] = &in
	}
	s.dirty = newDirtySet()
	s.undo = nil
	return s
}

// Seq returns the number of the last record applied.
func (s *State) Seq() uint64 { return s.meta.Seq }

// Reads. They look in memory first, then in the archive.

func (s *State) plan(r PlanRef) (Plan, bool) { p, ok := s.plans[r]; return p, ok }

func (s *State) voucher(k VoucherKey) (Voucher, bool, error) {
	if v, ok := s.vouchers[k]; ok {
		return v, true, nil
	}
	if s.archive == nil {
		return Voucher{}, false, nil
	}
	return s.archive.Voucher(k)
}

func (s *State) grant(id GrantID) (Grant, bool, error) {
	if g, ok := s.grants[id]; ok {
		return *g, true, nil
	}
	if s.archive == nil {
		return Grant{}, false, nil
	}
	return s.archive.Grant(id)
}

// needGrant returns a grant that a record speaks of.
func (s *State) needGrant(id GrantID) (Grant, error) {
	g, ok, err := s.grant(id)
	if err != nil {
		return Grant{}, fmt.Errorf("finding grant %d: %w", id, err)
	}
	if !ok {
		return Grant{}, fmt.Errorf("grant %d: %w", id, ErrCorrupt)
	}
	return g, nil
}

// live returns the grants of a device that can still be used, oldest first.
func (s *State) live(d MAC) []*Grant {
	var out []*Grant
	for _, id := range s.byDevice[d] {
		out = append(out, s.grants[id])
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out
}

// openSession returns the passing session of a device under a grant.
func (s *State) openSession(g GrantID, d MAC) (Session, bool) {
	for _, id := range s.byGrant[g] {
		if x := s.sessions[id]; x.Device == d && !x.Stopped {
			return x, true
		}
	}
	return Session{}, false
}

func (s *State) passing(g GrantID) int {
	n := 0
	for _, id := range s.byGrant[g] {
		if !s.sessions[id].Stopped {
			n++
		}
	}
	return n
}

// Writes. Each keeps the indexes, marks the entity and can be undone.

func (s *State) putPlan(p Plan) {
	ref := p.Ref()
	old, had := s.current[p.ID]
	former, known := s.plans[ref]
	s.plans[ref] = p
	if !had || old.Version <= p.Version {
		s.current[p.ID] = ref
	}
	if s.dirty.plans != nil {
		s.dirty.plans[ref] = struct{}{}
		s.undo = append(s.undo, func() {
			if known {
				s.plans[ref] = former
			} else {
				delete(s.plans, ref)
			}
			if had {
				s.current[p.ID] = old
			} else {
				delete(s.current, p.ID)
			}
		})
	}
}

func (s *State) putVoucher(v Voucher) {
	old, had := s.vouchers[v.Key]
	s.vouchers[v.Key] = v
	if s.dirty.vouchers != nil {
		s.dirty.vouchers[v.Key] = struct{}{}
		s.undo = append(s.undo, func() {
			if had {
				s.vouchers[v.Key] = old
			} else {
				delete(s.vouchers, v.Key)
			}
		})
	}
}

// setVoucher is putVoucher for one that may have a twin.
func (s *State) setVoucher(v Voucher) {
	s.putVoucher(v)
	if v.Twin != (VoucherKey{}) {
		v.Key, v.Twin = v.Twin, v.Key
		s.putVoucher(v)
	}
}

func (s *State) putGrant(g Grant) {
	old := s.grants[g.ID]
	s.setGrant(g.ID, old, &g)
	if s.dirty.grants != nil {
		s.dirty.grants[g.ID] = struct{}{}
		s.undo = append(s.undo, func() { s.setGrant(g.ID, &g, old) })
	}
}

func (s *State) setGrant(id GrantID, old, g *Grant) {
	if old != nil && !old.State.Ended() {
		for _, d := range old.Devices {
			s.byDevice[d] = without(s.byDevice[d], id)
			if len(s.byDevice[d]) == 0 {
				delete(s.byDevice, d)
			}
		}
	}
	if g == nil {
		delete(s.grants, id)
		return
	}
	s.grants[id] = g
	if !g.State.Ended() {
		for _, d := range g.Devices {
			s.byDevice[d] = append(s.byDevice[d], id)
		}
	}
}

func (s *State) putSession(x Session) {
	old, had := s.sessions[x.ID]
	if !had {
		s.byGrant[x.Grant] = append(s.byGrant[x.Grant], x.ID)
		s.nameSession(&x)
	}
	s.setSession(&old, &x)
	if s.dirty.sessions != nil {
		s.dirty.sessions[x.ID] = struct{}{}
		s.undo = append(s.undo, func() {
			if had {
				s.setSession(&x, &old)
			} else {
				s.forgetSession(x)
			}
		})
	}
}

// setSession replaces a session that has its place in the indexes.
func (s *State) setSession(old, x *Session) {
	s.sessions[x.ID] = *x
	if old.ID == x.ID && old.key() != x.key() {
		s.unnameSession(old)
		s.nameSession(x)
	}
}

// Only NASes name their sessions.
func (s *State) nameSession(x *Session) {
	if x.Path != "" {
		s.byKey[x.key()] = append(s.byKey[x.key()], x.ID)
	}
}

func (s *State) unnameSession(x *Session) {
	if x.Path == "" {
		return
	}
	k := x.key()
	s.byKey[k] = without(s.byKey[k], x.ID)
	if len(s.byKey[k]) == 0 {
		delete(s.byKey, k)
	}
}

func (s *State) dropSession(x Session) {
	s.forgetSession(x)
	s.dirty.sessions[x.ID] = struct{}{}
	// An ended grant can leave the memory once its last session is gone.
	s.dirty.grants[x.Grant] = struct{}{}
	s.undo = append(s.undo, func() {
		s.sessions[x.ID] = x
		s.byGrant[x.Grant] = append(s.byGrant[x.Grant], x.ID)
		s.nameSession(&x)
	})
}

func (s *State) forgetSession(x Session) {
	delete(s.sessions, x.ID)
	s.unnameSession(&x)
	s.byGrant[x.Grant] = without(s.byGrant[x.Grant], x.ID)
	if len(s.byGrant[x.Grant]) == 0 {
		delete(s.byGrant, x.Grant)
	}
}

func (s *State) addSale(day string, p Plan) {
	k := daySalesKey{day, p.ID, p.Price.Currency}
	old, had := s.sales[k]
	s.sales[k] = DaySales{
		Day: day, Plan: p.ID, Count: old.Count + 1,
		Total: Money{old.Total.Amount + p.Price.Amount, p.Price.Currency},
	}
	s.dirty.sales[k] = struct{}{}
	s.undo = append(s.undo, func() {
		if had {
			s.sales[k] = old
		} else {
			delete(s.sales, k)
		}
	})
}

// without returns a copy, so that an undo finds the list it remembers.
func without[T comparable](list []T, x T) []T {
	out := make([]T, 0, len(list))
	for _, v := range list {
		if v != x {
			out = append(out, v)
		}
	}
	return out
}

// mark remembers where the state is, for rollback.
func (s *State) mark() stateMark { return stateMark{len(s.undo), s.meta} }

type stateMark struct {
	undo int
	meta Meta
}

// rollback takes everything back that was applied since the mark.
func (s *State) rollback(m stateMark) {
	for i := len(s.undo) - 1; i >= m.undo; i-- {
		s.undo[i]()
	}
	s.undo = s.undo[:m.undo]
	s.meta = m.meta
}

// keep makes everything applied so far permanent.
func (s *State) keep() {
	clear(s.undo)
	s.undo = s.undo[:0]
}
