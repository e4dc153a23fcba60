package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"zonegate/shaper/kernel/nft"
)

const (
	// rootEvery is how often the root qdiscs are checked. Their events would
	// include an echo of every class that we read.
	rootEvery = time.Second
	// repairDelay lets a burst of events end.
	repairDelay = 100 * time.Millisecond
	// repairAgain is the pause after a repair that failed.
	repairAgain = time.Second
	// sweepShare bounds the time spent on reading all classes: one part in so
	// many, on processors where that takes long.
	sweepShare = 20
)

// Run keeps the kernel as it should be until ctx ends: it renews and stops
// data caps, repairs what others delete, scales committed rates and reports
// usage. Call it once. Without it caps still hold (early), and time ends.
func (s *Shaper) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.watchTable(ctx) })
	g.Go(func() error { return s.watchDevices(ctx) })
	g.Go(func() error { return s.tick(ctx) })
	g.Go(func() error { return s.account(ctx) })
	return g.Wait()
}

// watchTable is the task that takes nftables events.
func (s *Shaper) watchTable(ctx context.Context) error {
	for {
		e, err := s.watch.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("watching the table: %w", err)
		}
		switch e.Kind {
		case nft.QuotaDepleted:
			if e.Table == tableName {
				s.depleted(e.Quota.Name)
			}
		case nft.TableDeleted:
			if e.Table == tableName && e.Port != s.nft.Port() {
				s.log.Warn("the table was deleted by another program and is made anew")
				s.tableGone()
			}
		case nft.Overrun:
			// Depletions may be among the lost.
			s.mu.Lock()
			for _, g := range s.grants {
				if g.quota != "" {
					g.due = time.Now()
				}
			}
			s.repairSoon(0)
			s.mu.Unlock()
		}
	}
}

func (s *Shaper) tableGone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.settled || s.closed {
		return
	}
	if _, ok, err := s.present(); err == nil && ok && s.table {
		// It is there again: rebuilt by us in the meantime, or another's that
		// the next repair compares.
		s.repairSoon(0)
		return
	}
	if err := s.rebuild(); err != nil {
		s.log.Error("the table cannot be made anew; nobody is forwarded until it is", "error", err)
		s.repairSoon(repairAgain)
	}
}

// repairSoon has the clock task compare everything. Called with the lock held.
func (s *Shaper) repairSoon(after time.Duration) {
	at := time.Now().Add(after)
	if s.repairAt.IsZero() || at.Before(s.repairAt) {
		s.repairAt = at
	}
	s.kick()
}

// kick has the clock task plan again.
func (s *Shaper) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// tick is the task that does what is due.
func (s *Shaper) tick(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var rootAt time.Time
	sweepAt := time.Now().Add(s.conf.Report)
	reportAt := sweepAt
	for {
		select {
		case <-ctx.Done():
			s.mu.Lock()
			if !s.closed {
				s.wakeAll()
			}
			s.mu.Unlock()
			return nil
		case <-s.wake:
		case <-timer.C:
		}
		now := time.Now()
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil
		}
		next := now.Add(rootEvery)
		if s.settled {
			if !now.Before(rootAt) {
				s.checkRoots()
				rootAt = now.Add(rootEvery)
			}
			if !s.repairAt.IsZero() && !now.Before(s.repairAt) {
				s.repairAt = time.Time{}
				if err := errors.Join(s.prepare(), s.sweep()); err != nil {
					s.log.Warn("the data path is not as it should be", "error", err)
					s.repairSoon(repairAgain)
				}
			}
			if due := s.nextDue(time.Now()); !due.IsZero() && due.Before(next) {
				next = due
			}
			if s.oversold() && sweepAt.Sub(now) > scaleEvery {
				sweepAt = now.Add(scaleEvery)
			}
		}
		settled := s.settled
		s.mu.Unlock()
		if settled && !time.Now().Before(sweepAt) {
			took := s.sweepAside()
			now = time.Now()
			s.mu.Lock()
			every := s.conf.Report
			if s.oversold() {
				every = min(every, scaleEvery)
			}
			if now.Sub(s.scaled) >= scaleEvery {
				s.scaled = now
				if err := s.rescale(now); err != nil {
					s.log.Error("committed rates cannot be scaled", "error", err)
				}
			}
			if !now.Before(reportAt) {
				reportAt = now.Add(s.conf.Report)
				s.reportMoved()
				s.pruneGarden(now)
			}
			sweepAt = now.Add(max(every, took*sweepShare))
			s.mu.Unlock()
		}
		for _, at := range []time.Time{sweepAt, s.repairTime()} {
			if !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		timer.Reset(max(time.Until(next), 0))
	}
}

func (s *Shaper) repairTime() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repairAt
}

// checkRoots notices qdiscs and devices that are not what they were. Called
// with the lock held.
func (s *Shaper) checkRoots() {
	for _, l := range s.links() {
		if l.index == 0 || !l.ready {
			continue // an event tells when it is back; a failed repair repeats
		}
		q, err := s.root(l)
		if err == nil && q.ours(l.major) {
			continue
		}
		s.log.Warn("the shaper of a device is gone and is made anew", "device", l.name)
		s.lost(l)
	}
}

// sweepAside reads all classes without holding the lock meanwhile, and says
// how long that took.
func (s *Shaper) sweepAside() time.Duration {
	type job struct {
		l *link
		place
	}
	var jobs []job
	begun := time.Now()
	s.mu.Lock()
	if s.police && !s.closed {
		if err := s.sweepCounts(begun); err != nil {
			s.log.Warn("counters cannot be listed", "error", err)
			s.repairSoon(0)
		}
	}
	for _, l := range s.links() {
		if l.ready {
			jobs = append(jobs, job{l, place{l.index, l.major}})
		}
	}
	s.mu.Unlock()
	for _, j := range jobs {
		started := time.Now()
		list, err := s.dump(j.place)
		s.mu.Lock()
		switch {
		case s.closed:
		case err != nil:
			s.log.Warn("classes cannot be listed", "device", j.l.name, "error", err)
			s.lost(j.l)
		case j.l.ready && j.l.index == j.place.index:
			s.remake(j.l, s.absorb(j.l, list, started))
		}
		s.mu.Unlock()
	}
	return time.Since(begun)
}

// reportMoved reports the sessions whose counters the accountant does not
// know. Called with the lock held.
func (s *Shaper) reportMoved() {
	for _, x := range s.sessions {
		if x.octets() != x.reported {
			s.report(x, false)
		}
	}
}

func (s *Shaper) pruneGarden(now time.Time) {
	for _, known := range []map[netip.Addr]time.Time{s.garden, s.payHosts} {
		for a, until := range known {
			if now.After(until) {
				delete(known, a)
			}
		}
	}
}

// hints tell that devices, addresses or rules have changed. What has changed
// is then read.
type hints struct{ conn *netlink.Conn }

func newHints() (*hints, error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("opening device events: %w", err)
	}
	for _, group := range []uint32{
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
	} {
		if err := c.JoinGroup(group); err != nil {
			c.Close()
			return nil, fmt.Errorf("joining device events: %w", err)
		}
	}
	return &hints{c}, nil
}

func (h *hints) Close() error { return h.conn.Close() }

// next waits for an event.
func (h *hints) next(ctx context.Context) error {
	if err := h.conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		_ = h.conn.SetReadDeadline(time.Unix(1, 0))
	})
	defer func() {
		if !stop() {
			<-interrupted
		}
	}()
	_, err := h.conn.Receive()
	if errors.Is(err, unix.ENOBUFS) {
		return nil // lost events are events
	}
	return err
}

// watchDevices is the task that takes the hints.
func (s *Shaper) watchDevices(ctx context.Context) error {
	for {
		err := s.hints.next(ctx)
		switch {
		case ctx.Err() != nil, errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("watching devices: %w", err)
		}
		s.mu.Lock()
		if s.settled && !s.closed {
			s.repairSoon(repairDelay)
		}
		s.mu.Unlock()
	}
}
