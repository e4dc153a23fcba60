package kernel

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"zonegate"
	"zonegate/shaper/kernel/nft"
)

// Without HTB a session's rates are bounded by dropping in the table, and its
// octets counted there: as merged packets have them, so a few percent below
// those of the wire. Nothing waits in a queue of ours.

const (
	// policeBurst lets TCP live with a bound that only drops. The kernel adds
	// one second's worth to a byte limit's burst.
	policeBurst    = 50 * time.Millisecond
	minPoliceBurst = 80 << 10 // above the largest merged packet
)

// limit gives a grant limit objects for its present rates. Its sessions share
// them.
func (s *Shaper) limit(g *grant, e *edit) {
	if !s.police || len(g.sessions) == 0 || g.limit != "" && g.limited == g.rate {
		return
	}
	s.generation++
	g.limit, g.limited = fmt.Sprintf("l%d.%d", g.id, s.generation), g.rate
	for _, side := range []struct {
		suffix     string
		rate, link uint64
	}{{"d", g.rate.MIRDown, s.conf.LinkDown}, {"u", g.rate.MIRUp, s.conf.LinkUp}} {
		rate := side.link
		if side.rate != 0 {
			rate = min(side.rate, side.link)
		}
		rate = max(rate/8, 1000)
		e.limitObject = append(e.limitObject, nft.Limit{
			Name: g.limit + side.suffix, Rate: rate, Over: true,
			Burst: uint32(min(max(float64(rate)*policeBurst.Seconds(), minPoliceBurst), 1<<30)),
		})
	}
}

// unlimit deletes the limit objects that no session has after an edit of some.
func (s *Shaper) unlimit(e *edit, edited []*session) {
	if len(e.unlimit) == 0 {
		return
	}
	used := map[string]bool{}
	for _, x := range s.sessions {
		if slices.Contains(edited, x) {
			used[x.next.limit] = true
		} else {
			used[x.placed.limit] = true
		}
	}
	for _, x := range edited {
		if name := x.placed.limit; name != "" && !used[name] {
			used[name] = true // once
			e.unlimitObject = append(e.unlimitObject, name+"d", name+"u")
		}
	}
}

// counted takes a reading of a session's counts.
func (x *session) counted(down, up uint64, now time.Time) {
	if down > x.sent[0] || up > x.sent[1] {
		x.moved = now
	}
	x.sent[0], x.sent[1] = max(x.sent[0], down), max(x.sent[1], up)
}

// readCounts reads the counts of a grant's sessions.
func (s *Shaper) readCounts(g *grant, now time.Time) error {
	for _, x := range g.sessions {
		if !x.placed.count {
			continue
		}
		down, up := countNames(x.order.Session)
		d, err := s.nft.Quota(tableName, down)
		if err != nil {
			return err
		}
		u, err := s.nft.Quota(tableName, up)
		if err != nil {
			return err
		}
		x.counted(d.Consumed, u.Consumed, now)
	}
	return nil
}

// sweepCounts reads all counts.
func (s *Shaper) sweepCounts(now time.Time) error {
	list, err := s.nft.Quotas(tableName)
	if err != nil {
		return err
	}
	for _, q := range list {
		id, down, ok := countOf(q.Name)
		if !ok {
			continue
		}
		if x := s.sessions[id]; x != nil && x.placed.count {
			if down {
				x.counted(q.Consumed, x.sent[1], now)
			} else {
				x.counted(x.sent[0], q.Consumed, now)
			}
		}
	}
	return nil
}

// countOf reads the name of a counting object.
func countOf(name string) (id zonegate.SessionID, down, ok bool) {
	if name == "" || name[0] != 'd' && name[0] != 'u' {
		return 0, false, false
	}
	n, err := strconv.ParseUint(name[1:], 10, 32)
	return zonegate.SessionID(n), name[0] == 'd', err == nil
}

// dropCounts reads the last counts of sessions that the table no longer lets
// through, and deletes their objects.
func (s *Shaper) dropCounts(list []*session) error {
	var errs []error
	var b nft.Batch
	now := time.Now()
	for _, x := range list {
		down, up := countNames(x.order.Session)
		d, err := s.nft.Quota(tableName, down)
		u, uerr := s.nft.Quota(tableName, up)
		if err = errors.Join(err, uerr); err != nil {
			if !errors.Is(err, unix.ENOENT) {
				errs = append(errs, err)
			}
			continue
		}
		x.counted(d.Consumed, u.Consumed, now)
		b.DelQuota(tableName, down)
		b.DelQuota(tableName, up)
	}
	if b.Len() > 0 {
		errs = append(errs, s.commit(&b))
	}
	return errors.Join(errs...)
}

// forgetCounts keeps what was counted by objects that are gone.
func (s *Shaper) forgetCounts() {
	for _, x := range s.sessions {
		x.forget(0)
		x.forget(1)
	}
}
