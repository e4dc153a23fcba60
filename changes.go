package zonegate

import (
	"bytes"
	"cmp"
	"slices"
	"sort"
)

// An Archive finds what has left the memory: used vouchers and ended grants.
// It answers for the records up to the last saved Changes.
type Archive interface {
	Voucher(VoucherKey) (Voucher, bool, error)
	Grant(GrantID) (Grant, bool, error)
	// Entries returns at most max entries with numbers above after, in order.
	Entries(after uint64, max int) ([]Entry, error)
	// Save keeps the changes, all or none. After an error it is tried again
	// later with later changes added.
	Save(Changes) error
}

// Changes are the entities that differ from an earlier sequence number, with
// the values they have at Meta.Seq. They are also what a State starts from.
type Changes struct {
	Meta     Meta
	Plans    []Plan
	Vouchers []Voucher
	Grants   []Grant
	Sessions []Session
	// Closed are sessions that are gone.
	Closed []SessionID
	Sales  []DaySales
	// Settings that are empty are gone.
	Settings map[string]string
	Intents  []Intent
	// Dropped are intents that are gone.
	Dropped []IntentID
	// Entries are new. Those up to Meta.Delivered and above Meta.LastEntry are
	// gone.
	Entries []Entry
}

// Changed returns what differs from the last saved state. The state forgets
// that it differs only when Saved is called with the result.
func (s *State) Changed() Changes {
	c := Changes{Meta: s.meta}
	for r := range s.dirty.plans {
		if p, ok := s.plans[r]; ok {
			c.Plans = append(c.Plans, p)
		}
	}
	for k := range s.dirty.vouchers {
		if v, ok := s.vouchers[k]; ok {
			c.Vouchers = append(c.Vouchers, v)
		}
	}
	for id := range s.dirty.grants {
		if g, ok := s.grants[id]; ok {
			c.Grants = append(c.Grants, *g)
		}
	}
	for id := range s.dirty.sessions {
		if x, ok := s.sessions[id]; ok {
			c.Sessions = append(c.Sessions, x)
		} else {
			c.Closed = append(c.Closed, id)
		}
	}
	for k := range s.dirty.sales {
		if d, ok := s.sales[k]; ok {
			c.Sales = append(c.Sales, d)
		}
	}
	for name := range s.dirty.settings {
		c.setting(name, s.settings[name])
	}
	for id := range s.dirty.intents {
		if in := s.intents[id]; in != nil {
			c.Intents = append(c.Intents, *in)
		} else {
			c.Dropped = append(c.Dropped, id)
		}
	}
	c.Entries = slices.Clone(s.outbox)
	c.sort()
	return c
}

// Saved tells the state that the archive has these changes. What did not
// change since then and cannot be used any more leaves the memory.
func (s *State) Saved(c Changes) {
	if s.archive == nil {
		return
	}
	for _, p := range c.Plans {
		delete(s.dirty.plans, p.Ref())
	}
	for _, v := range c.Vouchers {
		if s.vouchers[v.Key] == v {
			delete(s.dirty.vouchers, v.Key)
			if v.Grant != 0 || v.Revoked {
				delete(s.vouchers, v.Key)
			}
		}
	}
	for _, g := range c.Grants {
		if now, ok := s.grants[g.ID]; ok && sameGrant(*now, g) {
			delete(s.dirty.grants, g.ID)
			if g.State.Ended() && len(s.byGrant[g.ID]) == 0 {
				delete(s.grants, g.ID)
			}
		}
	}
	for _, x := range c.Sessions {
		if s.sessions[x.ID] == x {
			delete(s.dirty.sessions, x.ID)
		}
	}
	for _, id := range c.Closed {
		delete(s.dirty.sessions, id)
	}
	for _, d := range c.Sales {
		k := daySalesKey{d.Day, d.Plan, d.Total.Currency}
		if s.sales[k] == d {
			delete(s.dirty.sales, k)
		}
	}
	for name, value := range c.Settings {
		if s.settings[name] == value {
			delete(s.dirty.settings, name)
		}
	}
	for _, in := range c.Intents {
		// Nothing else of an intent changes.
		if now := s.intents[in.ID]; now != nil && now.News == in.News && now.Purchase == in.Purchase {
			delete(s.dirty.intents, in.ID)
		}
	}
	for _, id := range c.Dropped {
		if _, again := s.intents[id]; !again {
			delete(s.dirty.intents, id)
		}
	}
	s.entriesSaved(c.Entries)
}

func sameGrant(a, b Grant) bool {
	da, db := a.Devices, b.Devices
	a.Devices, b.Devices = nil, nil
	return slices.Equal(da, db) && a.equalButDevices(b)
}

func (g Grant) equalButDevices(h Grant) bool {
	return g.ID == h.ID && g.Source == h.Source && g.Plan == h.Plan && g.State == h.State &&
		g.Cap == h.Cap && g.Used == h.Used && g.Time == h.Time && g.Running == h.Running &&
		g.EndsAt == h.EndsAt && g.TimeLeft == h.TimeLeft && g.Issued.Equal(h.Issued) &&
		g.Started.Equal(h.Started) && g.Moved == h.Moved && g.EverMoved == h.EverMoved
}

// sort makes the order of the lists depend on the content alone.
func (c *Changes) sort() {
	sort.Slice(c.Plans, func(i, j int) bool {
		a, b := &c.Plans[i], &c.Plans[j]
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Version, b.Version)) < 0
	})
	sort.Slice(c.Vouchers, func(i, j int) bool { return bytes.Compare(c.Vouchers[i].Key[:], c.Vouchers[j].Key[:]) < 0 })
	sort.Slice(c.Grants, func(i, j int) bool { return c.Grants[i].ID < c.Grants[j].ID })
	sort.Slice(c.Sessions, func(i, j int) bool { return c.Sessions[i].ID < c.Sessions[j].ID })
	sort.Slice(c.Closed, func(i, j int) bool { return c.Closed[i] < c.Closed[j] })
	sort.Slice(c.Sales, func(i, j int) bool {
		a, b := &c.Sales[i], &c.Sales[j]
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Plan, b.Plan),
			cmp.Compare(a.Total.Currency, b.Total.Currency)) < 0
	})
	sort.Slice(c.Intents, func(i, j int) bool { return c.Intents[i].before(&c.Intents[j]) })
	sort.Slice(c.Dropped, func(i, j int) bool { return bytes.Compare(c.Dropped[i][:], c.Dropped[j][:]) < 0 })
}

// Whole returns everything in memory as Changes, sorted. For a state without
// an archive that is all there is.
func (s *State) Whole() Changes {
	c := Changes{Meta: s.meta}
	for _, p := range s.plans {
		c.Plans = append(c.Plans, p)
	}
	for _, v := range s.vouchers {
		c.Vouchers = append(c.Vouchers, v)
	}
	for _, g := range s.grants {
		c.Grants = append(c.Grants, *g)
	}
	for _, x := range s.sessions {
		c.Sessions = append(c.Sessions, x)
	}
	for _, sales := range s.sales {
		c.Sales = append(c.Sales, sales)
	}
	for name, value := range s.settings {
		c.setting(name, value)
	}
	for _, in := range s.intents {
		c.Intents = append(c.Intents, *in)
	}
	c.Entries = slices.Clone(s.outbox)
	c.sort()
	return c
}

func (c *Changes) setting(name, value string) {
	if c.Settings == nil {
		c.Settings = map[string]string{}
	}
	c.Settings[name] = value
}
