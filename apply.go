package zonegate

import (
	"fmt"
	"slices"
	"time"
)

// Apply changes the state by one record. The same records give the same state
// on every machine: it reads no clock and draws no chance. After an error the
// state must not be used further.
func (s *State) Apply(r Record) error {
	defer s.keep()
	return s.applyRecord(r)
}

// applyRecord is Apply that can still be taken back.
func (s *State) applyRecord(r Record) error {
	if r.Seq != s.meta.Seq+1 {
		return fmt.Errorf("record %d after %d: %w", r.Seq, s.meta.Seq, ErrCorrupt)
	}
	s.meta.Clock = s.meta.Clock.advance(r.At)
	for _, e := range r.Events {
		if err := s.apply(e); err != nil {
			return fmt.Errorf("record %d: %w", r.Seq, err)
		}
	}
	s.meta.Seq = r.Seq
	return nil
}

func (s *State) apply(e Event) error {
	switch e := e.(type) {
	case ZoneFounded:
		s.meta.Key = e.Key
	case PlanSet:
		s.putPlan(e.Plan)
	case VouchersAdded:
		for i, k := range e.Keys {
			v := Voucher{Key: k, Plan: e.Plan, Batch: e.Batch, Site: e.Site, Expires: e.Expires, Hub: e.Hub}
			if i < len(e.Secrets) {
				v.Secret = e.Secrets[i]
			}
			s.putVoucher(v)
		}
		if !e.Hub {
			s.tell(Entry{Kind: EntryImported, Batch: e.Batch, Plan: e.Plan, Count: len(e.Keys)})
		}
	case VoucherRevoked:
		v, ok, err := s.voucher(e.Key)
		if err != nil || !ok {
			return fmt.Errorf("revoking a voucher: %w", orCorrupt(err))
		}
		v.Revoked = true
		s.setVoucher(v)
		s.tell(Entry{Kind: EntryRevoked, Grant: v.Grant, Source: v.source(), HubCode: v.Hub && v.Purchase == "", Batch: v.Batch})
	case GrantIssued:
		return s.issue(e)
	case GrantActivated:
		s.tell(Entry{Kind: EntryStarted, Grant: e.Grant})
		return s.change(e.Grant, func(g *Grant) {
			g.State = Active
			if now, ok := s.meta.Clock.wall(); ok {
				g.Started = now
			}
			if g.Time == Calendar {
				g.Running, g.EndsAt, g.TimeLeft = true, s.meta.Clock.Calendar+g.TimeLeft, 0
			}
		})
	case DeviceAdded:
		return s.change(e.Grant, func(g *Grant) {
			if !g.has(e.Device) {
				g.Devices = append(slices.Clone(g.Devices), e.Device)
			}
		})
	case GrantMoved:
		s.tell(Entry{Kind: EntryMoved, Grant: e.Grant, Device: e.To})
		return s.change(e.Grant, func(g *Grant) {
			g.Devices = append(without(g.Devices, e.From), e.To)
			g.Moved, g.EverMoved = s.meta.Clock.Online, true
		})
	case ToppedUp:
		s.tell(Entry{Kind: EntryTopUp, Grant: e.Grant, Octets: e.Octets, Time: e.Time})
		return s.change(e.Grant, func(g *Grant) {
			if g.Cap != 0 {
				g.Cap += e.Octets
			}
			if g.Running {
				g.EndsAt += e.Time
			} else {
				g.TimeLeft += e.Time
			}
			if g.State == Spent || g.State == Expired {
				g.State = Active
				s.start(g)
			}
		})
	case GrantReplanned:
		return s.change(e.Grant, func(g *Grant) { g.Plan = e.Plan })
	case GrantEnded:
		err := s.change(e.Grant, func(g *Grant) {
			s.pause(g)
			g.State = e.State
		})
		if err == nil && s.settled(e.Grant) {
			s.tellEnd(e.Grant)
		}
		return err
	case SessionOpened:
		s.putSession(Session{
			ID: e.Session, Grant: e.Grant, Device: e.Device, Path: e.Path,
			Terms: e.Terms, Opened: s.meta.Clock.Calendar,
		})
		s.meta.LastSession = max(s.meta.LastSession, e.Session)
		return s.change(e.Grant, s.start)
	case SessionReported:
		s.changeSession(e.Session, func(x *Session) { x.Key, x.Handle = e.Key, e.Handle })
	case SessionTold:
		s.changeSession(e.Session, func(x *Session) { x.Terms = e.Terms })
	case SessionLost:
		return s.settle(e.Session, func() error {
			if err := s.stop(e.Session); err != nil {
				return err
			}
			s.changeSession(e.Session, func(x *Session) { x.Lost = true })
			return nil
		})
	case SessionResumed:
		s.changeSession(e.Session, func(x *Session) { x.Stopped, x.Lost, x.Over = false, false, false })
		if x, ok := s.sessions[e.Session]; ok {
			return s.change(x.Grant, s.start)
		}
	case SessionOver:
		return s.settle(e.Session, func() error {
			if err := s.stop(e.Session); err != nil {
				return err
			}
			if err := s.count(SessionOctets(e)); err != nil {
				return err
			}
			s.changeSession(e.Session, func(x *Session) { x.Lost, x.Over = false, true })
			return nil
		})
	case SessionStopped:
		return s.stop(e.Session)
	case SessionClosed:
		if _, ok := s.sessions[e.Session]; !ok {
			return nil
		}
		return s.settle(e.Session, func() error {
			if err := s.stop(e.Session); err != nil {
				return err
			}
			if err := s.count(SessionOctets(e)); err != nil {
				return err
			}
			s.dropSession(s.sessions[e.Session])
			return nil
		})
	case UsageCounted:
		for _, u := range e.Sessions {
			if err := s.count(u); err != nil {
				return err
			}
		}
	case HubLinked:
		return s.link(e)
	case HubApplied:
		s.meta.Hub.Applied = max(s.meta.Hub.Applied, e.Seq)
	case EntriesDelivered:
		s.deliver(e.Through)
	case PurchaseAdded:
		v, ok, err := s.voucher(e.Key)
		if err != nil {
			return fmt.Errorf("adding a purchase: %w", err)
		}
		if !ok {
			v = Voucher{
				Key: e.Key, Plan: e.Plan, Site: s.meta.Hub.Site, Hub: true,
				Expires: e.Expires, Purchase: e.Purchase,
			}
		}
		v.Twin = e.Claim
		s.setVoucher(v)
	case BatchRevoked:
		for _, v := range s.vouchers {
			if s.unusedOfBatch(&v, e.Batch) {
				v.Revoked = true
				s.putVoucher(v)
			}
		}
	case SettingSet:
		s.putSetting(e.Name, e.Value)
	case IntentMade:
		s.openIntent(&e)
	case IntentTold:
		return s.tellIntent(&e)
	default:
		return fmt.Errorf("event %T: %w", e, ErrCorrupt)
	}
	return nil
}

func orCorrupt(err error) error {
	if err == nil {
		return ErrCorrupt
	}
	return err
}

// change replaces a grant by a changed copy.
func (s *State) change(id GrantID, f func(*Grant)) error {
	g, err := s.needGrant(id)
	if err != nil {
		return err
	}
	f(&g)
	s.putGrant(g)
	return nil
}

// changeSession replaces a session by a changed copy. One that is gone needs
// no change.
func (s *State) changeSession(id SessionID, f func(*Session)) {
	if x, ok := s.sessions[id]; ok {
		f(&x)
		s.putSession(x)
	}
}

func (s *State) issue(e GrantIssued) error {
	p, ok := s.plan(e.Plan)
	if !ok {
		return fmt.Errorf("plan %s version %d: %w", e.Plan.ID, e.Plan.Version, ErrCorrupt)
	}
	sale := Entry{Kind: EntrySale, Grant: e.Grant, Source: e.Source, Plan: p.Ref(), Price: p.Price, Device: e.Device}
	if e.Voucher != (VoucherKey{}) {
		v, ok, err := s.voucher(e.Voucher)
		if err != nil || !ok || v.Grant != 0 {
			return fmt.Errorf("redeeming a voucher: %w", orCorrupt(err))
		}
		v.Grant = e.Grant
		s.setVoucher(v)
		sale.HubCode, sale.Batch = v.Hub && v.Purchase == "", v.Batch
	}
	g := Grant{
		ID: e.Grant, Source: e.Source, Plan: e.Plan, State: Banked,
		Devices: []MAC{e.Device}, Cap: p.DataCap, Time: p.Time, TimeLeft: p.Duration,
	}
	day := ""
	if now, ok := s.meta.Clock.wall(); ok {
		g.Issued = now
		day = now.UTC().Format(time.DateOnly)
	}
	s.putGrant(g)
	s.meta.LastGrant = max(s.meta.LastGrant, e.Grant)
	s.addSale(day, p)
	s.tell(sale)
	return nil
}

// start lets the time of an active grant count, if its policy says so now.
func (s *State) start(g *Grant) {
	if g.State == Active && !g.Running && (g.Time == Calendar || s.passing(g.ID) > 0) {
		g.Running, g.EndsAt, g.TimeLeft = true, s.meta.Clock.of(g.Time)+g.TimeLeft, 0
	}
}

// pause stops a grant's time and keeps what is left.
func (s *State) pause(g *Grant) {
	if g.Running {
		g.Running, g.TimeLeft = false, max(0, g.EndsAt-s.meta.Clock.of(g.Time))
		g.EndsAt = 0
	}
}

func (s *State) stop(id SessionID) error {
	x, ok := s.sessions[id]
	if !ok || x.Stopped {
		return nil
	}
	x.Stopped = true
	s.putSession(x)
	return s.change(x.Grant, func(g *Grant) {
		if g.Time == Online && s.passing(g.ID) == 0 {
			s.pause(g)
		}
	})
}

// count charges a session's cumulative counters. A counter below what is
// already charged began again at zero.
func (s *State) count(u SessionOctets) error {
	x, ok := s.sessions[u.Session]
	if !ok || x.Octets == u.Octets {
		return nil
	}
	delta := u.Octets
	if u.Octets.Up >= x.Octets.Up && u.Octets.Down >= x.Octets.Down {
		delta.Up -= x.Octets.Up
		delta.Down -= x.Octets.Down
	}
	x.Octets = u.Octets
	s.putSession(x)
	return s.change(x.Grant, func(g *Grant) {
		g.Used.Up += delta.Up
		g.Used.Down += delta.Down
	})
}

// Salvage is Apply for what follows damaged records: events that make no sense
// any more are left out, and the rest counts.
func (s *State) Salvage(r Record) error {
	defer s.keep()
	s.meta.Clock = s.meta.Clock.advance(r.At)
	for _, e := range r.Events {
		m := s.mark()
		if err := s.apply(e); err != nil {
			s.rollback(m)
		}
	}
	s.meta.Seq = r.Seq
	return nil
}
