package zonegate

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"time"
)

// An EntryKind is what an [Entry] tells.
type EntryKind uint8

const (
	// EntrySale: a grant was issued.
	EntrySale EntryKind = iota + 1
	// EntryStarted: its time began.
	EntryStarted
	// EntryEnded: State says how, and Used is final: it comes when no session
	// of the grant has anything to report any more.
	EntryEnded
	// EntryTopUp: Octets and Time were added.
	EntryTopUp
	// EntryMoved: it went over to another Device.
	EntryMoved
	// EntryRevoked: a voucher was revoked.
	EntryRevoked
	// EntryImported: Count vouchers of the zone's own were made valid.
	EntryImported
)

// String returns the name that the hub knows the kind by.
func (k EntryKind) String() string {
	switch k {
	case EntrySale:
		return "sale"
	case EntryStarted:
		return "started"
	case EntryEnded:
		return "ended"
	case EntryTopUp:
		return "top_up"
	case EntryMoved:
		return "moved"
	case EntryRevoked:
		return "revoked"
	case EntryImported:
		return "imported"
	}
	return "unknown"
}

// An Entry is one fact of value that the hub is told. Entries follow from the
// journal's events while the zone is joined to a hub, and are kept until the
// hub has acknowledged them. Fields that a kind does not speak of are zero.
type Entry struct {
	// N counts without gaps and is never used twice.
	N uint64
	// At is the trusted wall time; zero when the clock was not trusted.
	At    time.Time
	Kind  EntryKind
	Grant GrantID
	// Source is what the grant was made of, or the voucher that was revoked.
	// HubCode says that its Ref is hashed with the CodeKey. Batch is the
	// voucher's.
	Source  Source
	HubCode bool
	Batch   string
	// Plan and Price are what was bought.
	Plan   PlanRef
	Price  Money
	Device MAC
	State  GrantState
	Used   Octets
	Octets uint64
	Time   time.Duration
	Count  int
}

// tell makes an entry, if there is a hub to tell.
func (s *State) tell(e Entry) {
	if !s.meta.atHub() {
		return
	}
	s.meta.LastEntry++
	e.N = s.meta.LastEntry
	if now, ok := s.meta.Clock.wall(); ok {
		e.At = now
	}
	n := len(s.outbox)
	s.outbox = append(s.outbox, e)
	s.undo = append(s.undo, func() { s.outbox = s.outbox[:n] })
}

// settled says that no session of a grant has anything to report any more.
func (s *State) settled(id GrantID) bool {
	for _, sid := range s.byGrant[id] {
		if x := s.sessions[sid]; !x.Over && !x.Lost {
			return false
		}
	}
	return true
}

// settle does something to a session, and tells of its grant if that has ended
// and the session was the last one with something to report.
func (s *State) settle(id SessionID, do func() error) error {
	x, ok := s.sessions[id]
	waited := ok && !s.settled(x.Grant)
	if err := do(); err != nil || !waited || !s.settled(x.Grant) {
		return err
	}
	s.tellEnd(x.Grant)
	return nil
}

func (s *State) tellEnd(id GrantID) {
	if g, ok := s.grants[id]; ok && g.State.Ended() {
		s.tell(Entry{Kind: EntryEnded, Grant: id, State: g.State, Used: g.Used})
	}
}

// entries returns what was not acknowledged, from the archive and from memory.
func (s *State) entries(after uint64, most int) ([]Entry, error) {
	after = max(after, s.meta.Delivered)
	inMemory := s.meta.LastEntry + 1
	if len(s.outbox) > 0 {
		inMemory = s.outbox[0].N
	}
	var out []Entry
	if s.archive != nil && after+1 < inMemory {
		archived, err := s.archive.Entries(after, int(min(uint64(most), inMemory-1-after)))
		if err != nil {
			return nil, fmt.Errorf("reading the outbox: %w", err)
		}
		// What a hub before this one was not told is left out.
		for _, e := range archived {
			if e.N < inMemory {
				out = append(out, e)
			}
		}
	}
	for _, e := range s.outbox {
		if e.N > after && len(out) < most {
			out = append(out, e)
		}
	}
	return out, nil
}

func (s *State) setOutbox(list []Entry) {
	old := s.outbox
	s.outbox = list
	s.undo = append(s.undo, func() { s.outbox = old })
}

// deliver forgets entries that the hub has.
func (s *State) deliver(through uint64) {
	if through <= s.meta.Delivered {
		return
	}
	s.meta.Delivered = through
	i := sort.Search(len(s.outbox), func(i int) bool { return s.outbox[i].N > through })
	// A copy, so that the memory of what was delivered comes back.
	s.setOutbox(slices.Clone(s.outbox[i:]))
}

// entriesSaved lets those go that the archive has.
func (s *State) entriesSaved(list []Entry) {
	i := 0
	for _, e := range list {
		if i < len(s.outbox) && s.outbox[i] == e {
			i++
		}
	}
	s.outbox = slices.Clone(s.outbox[i:])
}

// unsaved is how much the archive does not have.
func (s *State) unsaved() int { return s.dirty.size() + len(s.outbox) }

// Outbox returns entries that the hub has not acknowledged, in order, beginning
// after a number: at most max of them. Numbers are missing between them only
// where storage was damaged. Only durable entries are among them, so there are
// none while the journal cannot be written; then the error is ErrNotDurable.
func (g *Gate) Outbox(after uint64, max int) ([]Entry, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.degraded != nil {
		return nil, g.degraded
	}
	return g.state.entries(after, max)
}

// OutboxStatus returns the number of the last entry made, how many the hub has
// not acknowledged, and when the oldest of them was made: zero when there is
// none, or when the clock was not trusted then.
func (g *Gate) OutboxStatus() (last, unsent uint64, oldest time.Time) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	m := &g.state.meta
	// What the archive cannot say now the next call may.
	if list, err := g.state.entries(0, 1); err == nil && len(list) > 0 {
		oldest = list[0].At
	}
	return m.LastEntry, m.LastEntry - m.Delivered, oldest
}

// Delivered notes that the hub has everything up to an entry. Said again, or
// late, it changes nothing; of an entry that was never made it is
// ErrNoSuchEntry.
func (g *Gate) Delivered(ctx context.Context, through uint64) error {
	return g.do(ctx, false, func(t *tx) error {
		switch {
		case t.meta.Hub.Site == "":
			return ErrNoHub
		case through > t.meta.LastEntry:
			return fmt.Errorf("entry %d, where %d is the last: %w", through, t.meta.LastEntry, ErrNoSuchEntry)
		case through <= t.meta.Delivered:
			return nil
		}
		return t.emit(EntriesDelivered{through})
	})
}

// A GrantUsage is what a grant has used so far.
type GrantUsage struct {
	Grant GrantID
	Used  Octets
}

// LiveUsage returns what active grants have used, everything reported counted,
// in the order of their numbers, beginning after one: at most max of them.
func (g *Gate) LiveUsage(after GrantID, max int) []GrantUsage {
	g.mu.RLock()
	defer g.mu.RUnlock()
	var out []GrantUsage
	for id, grant := range g.state.grants {
		if id <= after || grant.State != Active {
			continue
		}
		used := grant.Used
		for _, sid := range g.state.byGrant[id] {
			u := g.uncharged(g.state.sessions[sid])
			used.Up += u.Up
			used.Down += u.Down
		}
		out = append(out, GrantUsage{id, used})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Grant < out[j].Grant })
	return out[:min(len(out), max)]
}
