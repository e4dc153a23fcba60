package mikrotik

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"

	"zonegate"
	"zonegate/shaper"
)

// userName is the name of the hotspot user of a grant. A session is added to
// it, because a user is made anew when all its sessions have ended: only then
// do its counters begin at zero.
func userName(id zonegate.GrantID) string {
	return namePrefix + strconv.FormatUint(uint64(id), 10)
}

// patience is how many commands Apply and Change wait for. What would take
// more is left to the task, if it runs, which gives way to every other call:
// setting up a thousand devices takes many seconds, and nothing can be sold
// while a Gate waits for an answer.
const patience = 150

// Apply makes exactly the given sessions pass. It reads the whole router,
// compares, and changes only the difference, adding before it deletes. While
// [Router.Run] runs, it may return when some are still to be let in. See
// [zonegate.Enforcer].
func (r *Router) Apply(ctx context.Context, want []zonegate.Order) error {
	if err := r.owned(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.look(ctx); err != nil {
		return err
	}
	r.hostsRead = true
	defer func() { r.hostsRead = false }()
	errs := []error{r.settleLost(ctx)}
	wanted := map[zonegate.SessionID]bool{}
	for _, o := range want {
		wanted[o.Session] = true
	}
	var stop []zonegate.SessionID
	for id := range r.sessions {
		if !wanted[id] {
			stop = append(stop, id)
		}
	}
	sort.Slice(stop, func(i, j int) bool { return stop[i] < stop[j] })
	errs = append(errs, r.change(ctx, want, stop))
	errs = append(errs, r.tidy(ctx))
	return errors.Join(errs...)
}

// Change sets the given orders and stops the given sessions, and leaves every
// other session alone. Without the router it returns [ErrUnreachable] at once.
// See [zonegate.Enforcer].
func (r *Router) Change(ctx context.Context, set []zonegate.Order, stop []zonegate.SessionID) error {
	if err := r.owned(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.fresh(ctx); err != nil {
		return err
	}
	return r.change(ctx, set, stop)
}

// Usage returns the counters of every session, in one command.
func (r *Router) Usage(ctx context.Context) ([]zonegate.Usage, error) {
	if err := r.owned(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.count(ctx); err != nil {
		return nil, err
	}
	list := make([]zonegate.Usage, 0, len(r.sessions))
	for _, x := range r.sessions {
		x.known = x.octets
		list = append(list, x.usage())
	}
	// What ended and the accountant has not heard of yet.
	for _, u := range r.reports.final() {
		if _, ok := r.sessions[u.Session]; !ok {
			list = append(list, u)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Session < list[j].Session })
	return list, nil
}

// count reads the counters and deals with sessions that the router has ended.
func (r *Router) count(ctx context.Context) error {
	before := r.router.epoch
	if err := r.fresh(ctx); err != nil {
		return err
	}
	if before != r.router.epoch {
		return nil // read just now
	}
	if err := r.refresh(ctx); err != nil {
		return err
	}
	return r.settleLost(ctx)
}

// change is Change on a router that was read.
func (r *Router) change(ctx context.Context, set []zonegate.Order, stop []zonegate.SessionID) error {
	var errs []error
	touched := map[*grant]bool{}
	errs = append(errs, r.stop(ctx, stop, touched))
	var order []*grant
	ordered := map[*grant]bool{}
	for _, o := range set {
		g, err := r.take(ctx, o, touched)
		if err != nil {
			errs = append(errs, err)
		} else if !ordered[g] {
			ordered[g] = true
			order = append(order, g)
		}
	}
	r.rescaleNew(order)
	began := r.line.commands()
	for _, g := range order {
		if r.running && r.line.commands()-began >= patience {
			r.wakeUp()
			break
		}
		if err := r.settle(ctx, g); err != nil {
			errs = append(errs, err)
			if errors.Is(err, ErrUnreachable) {
				return errors.Join(errs...) // the others would only wait as well
			}
		}
	}
	// What is left without a session goes last.
	var rest []*grant
	for g := range touched {
		if !ordered[g] {
			rest = append(rest, g)
		}
	}
	sort.Slice(rest, func(i, j int) bool { return rest[i].id < rest[j].id })
	for _, g := range rest {
		errs = append(errs, r.settle(ctx, g))
	}
	return errors.Join(errs...)
}

// stop logs sessions out and reports their last counters.
func (r *Router) stop(ctx context.Context, ids []zonegate.SessionID, touched map[*grant]bool) error {
	var errs []error
	var online bool
	for _, id := range ids {
		if x := r.sessions[id]; x != nil && x.online {
			online = true
		}
	}
	if online {
		// Their last counters, and the ids of those that were just let in.
		if err := r.refresh(ctx); err != nil {
			return err
		}
		errs = append(errs, r.settleLost(ctx))
	}
	var stopped, out []*session
	for _, id := range ids {
		x := r.sessions[id]
		if x == nil {
			continue
		}
		was := x.online
		if err := r.logout(ctx, x); err != nil {
			errs = append(errs, err)
			continue // it is still there, and still ours
		}
		stopped = append(stopped, x)
		if was {
			out = append(out, x)
		}
	}
	if err := r.catchUp(ctx, out); err != nil {
		errs = append(errs, err) // what passed in the last moment is given away
	}
	for _, x := range stopped {
		touched[x.grant] = true
		r.end(x)
	}
	return errors.Join(errs...)
}

// logout takes a session's entry off the router.
func (r *Router) logout(ctx context.Context, x *session) error {
	if !x.online {
		return nil
	}
	if x.activeID == "" {
		if err := r.refresh(ctx); err != nil {
			return err
		}
		if !x.online {
			return nil
		}
	}
	if err := r.line.remove(ctx, menuActive, x.activeID); err != nil {
		return fmt.Errorf("logging out session %d: %w", x.id, err)
	}
	x.online, x.activeID, x.base = false, "", x.octets
	return nil
}

// end forgets a session and reports it as final.
func (r *Router) end(x *session) {
	g := x.grant
	delete(r.sessions, x.id)
	if r.devices[x.device] == x {
		delete(r.devices, x.device)
	}
	for i, y := range g.sessions {
		if y == x {
			g.sessions = append(g.sessions[:i:i], g.sessions[i+1:]...)
			break
		}
	}
	g.gone = plus(g.gone, x.octets)
	if g.allowance != zonegate.NoCap {
		// It was worked out with what this session used; the next order's is not.
		g.allowance = shaper.Left(g.allowance, x.octets.Total())
	}
	if r.accountant != nil {
		g.departed = append(g.departed, x)
	}
	r.reports.add(x.usage(), true)
}

// told notes what the accountant is about to be told.
func (r *Router) told(list []zonegate.Usage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	final := map[zonegate.SessionID]bool{}
	for _, u := range list {
		if x := r.sessions[u.Session]; x != nil {
			x.known = higher(x.known, u.Octets)
		}
		final[u.Session] = u.Final
	}
	for id, g := range r.grants {
		kept := g.departed[:0]
		for _, x := range g.departed {
			if !final[x.id] {
				kept = append(kept, x)
			}
		}
		g.departed = kept
		if len(kept)+len(g.sessions) == 0 && g.userID == "" && g.queue.id == "" {
			delete(r.grants, id)
		}
	}
}

// take puts an order into the books.
func (r *Router) take(ctx context.Context, o zonegate.Order, touched map[*grant]bool) (*grant, error) {
	if o.Session == 0 || o.Grant == 0 {
		return nil, errors.New("an order without a session or a grant")
	}
	x := r.sessions[o.Session]
	g := r.grants[o.Grant]
	if x != nil && x.grant.id != o.Grant {
		return nil, fmt.Errorf("session %d belongs to grant %d and cannot pass to grant %d", o.Session, x.grant.id, o.Grant)
	}
	if g == nil {
		g = &grant{id: o.Grant, by: r.site, told: -1}
		r.grants[o.Grant] = g
	}
	if other := r.devices[o.Device]; other != nil && other != x {
		// The device leads to the newer session now.
		if err := r.logout(ctx, other); err != nil {
			return nil, err
		}
		other.device, other.at = zonegate.MAC{}, host{}
		touched[other.grant] = true
		delete(r.devices, o.Device)
	}
	if x == nil {
		x = &session{id: o.Session, grant: g, timeLeft: -1}
		r.sessions[x.id] = x
		g.sessions = append(g.sessions, x)
		sortSessions(g.sessions)
	}
	if x.device != o.Device {
		if err := r.logout(ctx, x); err != nil {
			return nil, err
		}
		if r.devices[x.device] == x {
			delete(r.devices, x.device)
		}
		x.device, x.at = o.Device, host{}
	}
	r.devices[x.device] = x
	g.rate, g.devices, g.until, g.allowance, g.ordered, g.due = o.Rate, max(o.Devices, 1), o.Until, o.Allowance, true, true
	for _, d := range g.departed {
		// Delivered, but not in the order.
		g.allowance = shaper.Left(g.allowance, minus(d.octets, d.known).Total())
	}
	if shaper.Left(g.allowance, g.used()) >= shaper.StopBelow {
		g.spent = false
	}
	return g, nil
}

// settleLost deals with sessions that the router has ended: for their cap, for
// their time, because the device left, because somebody logged them out or
// because the router was started again. One whose cap is used up is spent. Any
// other goes on, with what it has used, as soon as its device is let in again,
// which the task does.
func (r *Router) settleLost(ctx context.Context) error {
	var lost []*session
	for _, x := range r.lost {
		if !x.online && r.sessions[x.id] == x {
			lost = append(lost, x)
		}
	}
	if r.lost = lost; len(lost) == 0 {
		return nil
	}
	if err := r.catchUp(ctx, lost); err != nil {
		return err // dealt with next time
	}
	r.lost = nil
	var errs []error
	for _, x := range lost {
		g := x.grant
		g.stale = true
		if g.ordered && !g.spent && shaper.Left(g.allowance, g.used()) < zonegate.SpentBelow {
			errs = append(errs, r.endGrant(ctx, g))
		}
	}
	r.wakeUp()
	return errors.Join(errs...)
}

// endGrant stops all sessions of a grant of which nothing is left.
func (r *Router) endGrant(ctx context.Context, g *grant) error {
	if err := r.logoutAll(ctx, g); err != nil {
		return err
	}
	g.spent = true
	for _, x := range g.sessions {
		r.reports.add(x.usage(), false)
	}
	return nil
}

// logoutAll takes all of a grant's sessions off the router and brings their
// counters up to date.
func (r *Router) logoutAll(ctx context.Context, g *grant) error {
	var out []*session
	for _, x := range g.sessions {
		if !x.online {
			continue
		}
		if err := r.logout(ctx, x); err != nil {
			return err
		}
		out = append(out, x)
	}
	return r.catchUp(ctx, out)
}

// catchUp adds to sessions that were just online what passed after the last
// look: the counters of their users hold it.
func (r *Router) catchUp(ctx context.Context, out []*session) error {
	if len(out) == 0 {
		return nil
	}
	var query []string
	if len(out) == 1 {
		query = []string{"?.id=" + out[0].grant.userID}
	}
	list, err := r.line.print(ctx, menuUser, userProps, query...)
	if err != nil {
		return fmt.Errorf("reading the hotspot's users: %w", err)
	}
	users := map[string]row{}
	for _, u := range list {
		users[u.id()] = u
	}
	for _, x := range out {
		if u, ok := users[x.grant.userID]; ok {
			x.octets = x.grant.lastOctets(x, u.octets())
		}
		x.base = x.octets
	}
	return nil
}

// lastOctets works out what a session that has just ended had used, from the
// counters of its user. Whether these hold what sessions that go on have used
// so far, no document says; what is less than was seen cannot be right.
func (g *grant) lastOctets(x *session, total zonegate.Octets) zonegate.Octets {
	rest := minus(plus(total, g.before), g.gone)
	others := minus(g.octets(), x.octets)
	if all := minus(rest, others); atLeast(all, x.octets) {
		return all
	}
	for _, y := range g.sessions {
		if y != x && y.online {
			others = minus(others, minus(y.octets, y.base))
		}
	}
	if ended := minus(rest, others); atLeast(ended, x.octets) {
		return ended
	}
	return x.octets
}

// tidy removes what is ours and belongs to nothing.
func (r *Router) tidy(ctx context.Context) error {
	var errs []error
	for _, id := range r.router.strays {
		errs = append(errs, r.line.remove(ctx, menuActive, id))
	}
	r.router.strays = nil
	var junk []object
	for _, o := range r.router.junk {
		if err := r.line.remove(ctx, o.menu, o.id); err != nil {
			errs = append(errs, fmt.Errorf("removing from %s: %w", o.menu, err))
			junk = append(junk, o)
		}
	}
	r.router.junk = junk
	var empty []*grant
	for _, g := range r.grants {
		if len(g.sessions) == 0 || len(g.duplicates) > 0 {
			empty = append(empty, g)
		}
	}
	sort.Slice(empty, func(i, j int) bool { return empty[i].id < empty[j].id })
	for _, g := range empty {
		errs = append(errs, r.settle(ctx, g))
	}
	errs = append(errs, r.tidyShapes(ctx))
	return errors.Join(errs...)
}

func sortSessions(list []*session) {
	sort.Slice(list, func(i, j int) bool { return list[i].id < list[j].id })
}
