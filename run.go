package zonegate

import (
	"context"
	"fmt"
	"io"
	"sort"
	"time"
)

func sortSessions(list []SessionOctets) {
	sort.Slice(list, func(i, j int) bool { return list[i].Session < list[j].Session })
}

// start brings the state and the data path together after a start: counters
// that grew while nobody looked are charged, sessions that the data path lost
// are replaced, and exactly the wanted sessions pass.
func (g *Gate) start(ctx context.Context) error {
	now := g.clock.Now()
	g.lastCheckpoint, g.lastSave, g.lastRetry = now.Mono, now.Mono, now.Mono
	if g.state.meta.Key == (ZoneKey{}) {
		var key ZoneKey
		if _, err := io.ReadFull(g.opts.Random, key[:]); err != nil {
			return fmt.Errorf("drawing the zone's key: %w", err)
		}
		r := newRequest(false, func(t *tx) error { return t.emit(ZoneFounded{key}) })
		g.take(ctx, []*request{r})
		if err := <-r.done; err != nil {
			return fmt.Errorf("founding the zone: %w", err)
		}
		g.key.Store(&key)
	}
	if g.bootBefore == now.Boot {
		// Who began to pay a moment before the program ended still looks at his
		// page.
		for _, in := range g.OpenIntents() {
			if in.State.Open() && in.Age < replaceAfter {
				g.Waiting(in.Device)
			}
		}
	}
	return g.reconcile(ctx)
}

// Reconcile has the state compared with the data path and the difference
// mended, within a few seconds. Applied twice it changes nothing.
func (g *Gate) Reconcile(ctx context.Context) error {
	return g.do(ctx, true, func(t *tx) error {
		t.gate.reconcileNow = true
		return nil
	})
}

func (g *Gate) reconcile(ctx context.Context) error {
	present := map[SessionID]Usage{}
	usage, err := g.enforcer.Usage(ctx)
	if err != nil {
		// What the data path holds stays as it is until it can say so: closing
		// a session for a failed read would cut off who has paid.
		g.complain("the data path does not say what it holds; it is asked again", err)
		g.reconcileNow = true
		g.mu.Lock()
		g.unread = err
		g.mu.Unlock()
		return nil
	}
	g.mu.Lock()
	g.unread = nil
	g.mu.Unlock()
	for _, u := range usage {
		present[u.Session] = u
		g.highest = max(g.highest, u.Session)
	}
	r := newRequest(true, func(t *tx) error { return t.reconcile(present) })
	g.take(ctx, []*request{r, g.timeRequest()})
	if err := <-r.done; err != nil {
		return fmt.Errorf("reconciling: %w", err)
	}
	g.applyAll(ctx)
	return nil
}

// reconcile adopts or replaces the sessions of the gateway's own data path.
func (t *tx) reconcile(present map[SessionID]Usage) error {
	var open []Session
	for _, x := range t.sessions {
		if x.Path == "" {
			open = append(open, x)
		}
	}
	sort.Slice(open, func(i, j int) bool { return open[i].ID < open[j].ID })
	sameBoot := t.gate.bootBefore == t.now.Boot
	for _, x := range open {
		if u, ok := present[x.ID]; ok {
			if err := t.adopt(x, u.Octets); err != nil {
				return err
			}
			continue
		}
		octets := x.Octets
		if c, ok := t.gate.counted[x.ID]; ok {
			octets = c.octets
		}
		delete(t.gate.counted, x.ID)
		if err := t.emit(SessionClosed{x.ID, octets}); err != nil {
			return err
		}
		grant := t.grants[x.Grant]
		if x.Stopped || grant == nil || grant.State != Active || grant.Time == Online && !sameBoot {
			continue
		}
		if err := t.expireDue(x.Grant); err != nil {
			return err
		}
		if err := t.reconnect(x.Device); err != nil {
			return err
		}
	}
	return nil
}

// adopt goes on counting a session that the data path still has.
func (t *tx) adopt(x Session, octets Octets) error {
	c := t.gate.counted[x.ID]
	if octets.Up >= max(c.octets.Up, x.Octets.Up) && octets.Down >= max(c.octets.Down, x.Octets.Down) {
		t.gate.counted[x.ID] = counter{octets: octets, moved: t.now.Mono}
		return nil
	}
	// The kernel's counters began again: what they show is all new.
	if err := t.charge(x.Grant); err != nil {
		return err
	}
	t.gate.counted[x.ID] = counter{octets: octets, moved: t.now.Mono}
	t.touch(x.Grant)
	return t.emit(UsageCounted{[]SessionOctets{{x.ID, octets}}})
}

// applyAll gives the data path its complete orders.
func (g *Gate) applyAll(ctx context.Context) {
	now := g.clock.Now()
	g.mu.RLock()
	var want []Order
	for id := range g.state.byGrant {
		want = append(want, g.grantOrders(id, now)...)
	}
	g.mu.RUnlock()
	sort.Slice(want, func(i, j int) bool { return want[i].Session < want[j].Session })
	err := g.enforcer.Apply(ctx, want)
	if err != nil {
		g.complain("the data path is not as it should be; it will be tried again", err)
	} else if g.complained != "" {
		g.complained = ""
		g.log.Info("the data path is as it should be again")
	}
	g.mu.Lock()
	g.reapply = err
	g.mu.Unlock()
}

// complain logs what is wrong with the data path, and not the same again every
// few seconds: a router may be away for days. Only Run's goroutine calls it.
func (g *Gate) complain(what string, err error) {
	if text := err.Error(); g.complained != text {
		g.complained = text
		g.log.Error(what, "error", err)
	}
}

// behind is why the data path may not do what it should; nil when it does.
// g.mu is held.
func (g *Gate) behind() error {
	if g.reapply != nil {
		return g.reapply
	}
	return g.unread
}

// retryAfter is how often a failing journal or data path is tried again.
const retryAfter = 5 * time.Second

// maintain does what is due: a checkpoint, a save, another try.
func (g *Gate) maintain(ctx context.Context) {
	now := g.clock.Now().Mono
	if g.reconcileNow && now-g.lastReconcile >= retryAfter {
		g.reconcileNow, g.lastReconcile = false, now
		if err := g.reconcile(ctx); err != nil {
			g.log.Error("the state and the data path could not be compared", "error", err)
		}
	}
	if (g.degraded != nil || g.reapply != nil) && now-g.lastRetry >= retryAfter {
		g.lastRetry = now
		if g.degraded != nil {
			g.recover()
		}
		if g.reapply != nil {
			g.applyAll(ctx)
		}
	}
	if g.degraded != nil {
		return
	}
	if now-g.lastCheckpoint >= g.opts.Checkpoint {
		g.lastCheckpoint = now
		g.take(ctx, []*request{newRequest(true, (*tx).checkpoint)})
	}
	if !g.saving && (now-g.lastSave >= g.opts.SaveAfter || g.state.unsaved() >= g.opts.SaveChanges) {
		g.lastSave = now
		if g.state.unsaved() > 0 {
			g.save()
		}
	}
}

// recover tries to write the journal again. What followed from clocks and
// counters meanwhile goes first; then sales are open again.
func (g *Gate) recover() {
	g.mu.Lock()
	defer g.mu.Unlock()
	seq, err := g.journal.Reopen()
	durable := g.state.meta.Seq - uint64(len(g.unsaved))
	if err == nil && seq != durable {
		err = fmt.Errorf("the journal ends at record %d, but %d was acknowledged", seq, durable)
	}
	written := 0
	// In groups as large as ever: a journal bounds them.
	for err == nil && len(g.unsaved) > 0 {
		n := min(len(g.unsaved), maxBatch)
		if err = g.journal.Append(g.unsaved[:n]); err == nil {
			g.unsaved, written = g.unsaved[n:], written+n
		}
	}
	if err != nil {
		g.degraded = fmt.Errorf("%w: %w", ErrNotDurable, err)
		return
	}
	g.log.Info("the journal can be written again: sales are open", "records", written)
	g.unsaved, g.degraded = nil, nil
}

type saveResult struct {
	changes Changes
	err     error
}

// save hands the changes to the archive beside the decisions.
func (g *Gate) save() {
	c := g.state.Changed()
	g.saving = true
	go func() { g.saved <- saveResult{c, g.archive.Save(c)} }()
}

func (g *Gate) finishSave(r saveResult) {
	g.saving = false
	if r.err != nil {
		g.log.Error("the archive is behind; the journal has everything", "error", r.err)
		return
	}
	g.mu.Lock()
	g.state.Saved(r.changes)
	g.mu.Unlock()
}

// shutdown answers who is waiting, writes a last checkpoint and saves. The
// data path stays as it is: who has paid stays online.
func (g *Gate) shutdown() error {
	if g.saving {
		g.finishSave(<-g.saved)
	}
	for len(g.requests) > 0 {
		r := <-g.requests
		r.done <- ErrStopped
	}
	if g.degraded != nil {
		g.recover()
	}
	if g.degraded != nil {
		return g.degraded
	}
	ctx := context.Background()
	usage, err := g.enforcer.Usage(ctx)
	if err != nil {
		g.log.Warn("the last counters cannot be read; what was reported counts", "error", err)
	}
	last := newRequest(true, func(t *tx) error {
		for _, u := range usage {
			if err := t.account(u); err != nil {
				return err
			}
		}
		return t.checkpoint()
	})
	g.take(ctx, []*request{last})
	if err := <-last.done; err != nil {
		return fmt.Errorf("writing the last checkpoint: %w", err)
	}
	c := g.state.Changed()
	if err := g.archive.Save(c); err != nil {
		return fmt.Errorf("saving the state: %w", err)
	}
	g.mu.Lock()
	g.state.Saved(c)
	g.mu.Unlock()
	return nil
}
