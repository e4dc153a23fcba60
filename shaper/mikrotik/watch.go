package mikrotik

import (
	"context"
	"errors"
	"math"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate"
	"zonegate/shaper"
)

const (
	// soonest is the shortest time between two looks at the counters, near the
	// end of a cap that several devices share.
	soonest = 250 * time.Millisecond
	// activeFor is how long a grant counts as active after it last moved.
	activeFor = 2 * time.Minute
	// scaleEvery is the shortest time between two rounds of scaling, and
	// scaleStep the smallest change of a factor that is worth the commands.
	scaleEvery   = 10 * time.Second
	scaleStep    = 0.05
	accountAgain = time.Second
	// perTurn is how many grants the task brings up to date before others get
	// their turn.
	perTurn = 5
	// hostsEvery is how old what is known of the hotspot's hosts may be, in
	// looks at the counters.
	hostsEvery = 3
	// auditEvery is after how many looks the whole router is read again, for
	// what somebody may have changed or deleted there.
	auditEvery = 60
)

// Run reads the counters, ends what is spent, lets in devices that were away,
// scales committed rates and reports usage, until ctx ends. Call it once.
func (r *Router) Run(ctx context.Context) error {
	if err := r.owned(); err != nil {
		return err
	}
	r.setRunning(true)
	defer r.setRunning(false)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.watch(ctx) })
	g.Go(func() error { return r.account(ctx) })
	return g.Wait()
}

func (r *Router) watch(ctx context.Context) error {
	failed, said := "", 0
	for {
		next, err := r.Look(ctx)
		if err == nil {
			said = r.sayOwner(ctx, said)
		}
		for began := time.Now(); next == 0 && ctx.Err() == nil && time.Since(began) < r.conf.Report; {
			more, e := r.settleSome(ctx)
			if err == nil {
				err = e
			}
			if !more {
				next = min(r.conf.Report, firstPause)
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case err == nil && failed != "":
			r.log.Info("the router answers again")
			failed = ""
		case err != nil && failed != err.Error():
			failed = err.Error()
			r.log.Error("the router is not as it should be; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-time.After(next):
		}
	}
}

func (r *Router) setRunning(running bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = running
}

// wakeUp has the task look at once.
func (r *Router) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Look reads the counters once and does what follows from them. It returns
// when to look again; zero if it could not do everything in one turn. Run
// calls it.
func (r *Router) Look(ctx context.Context) (time.Duration, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	err := r.count(ctx)
	if err == nil && time.Since(r.lookedAt) >= auditEvery*r.conf.Report {
		if err = r.audit(ctx); err == nil {
			errs = append(errs, r.tidy(ctx))
		}
	}
	if err != nil {
		return min(r.conf.Report, 5*time.Second), err
	}
	errs = append(errs, r.endSpent(ctx))
	errs = append(errs, r.findWork(ctx))
	more, err := r.work(ctx)
	errs = append(errs, err, r.dropStrays(ctx), r.rescale(ctx))
	next := r.conf.Report
	for _, g := range r.grants {
		for _, x := range g.sessions {
			if x.octets != x.reported {
				x.reported = x.octets
				r.reports.add(x.usage(), false)
			}
		}
		// The router looks after a single device's cap itself.
		if g.allowance != zonegate.NoCap && g.online() > 1 {
			next = min(next, shaper.NextLook(shaper.Left(g.allowance, g.used()), r.fastest(g.rate)))
		}
	}
	if next = max(next, min(soonest, r.conf.Report)); more {
		next = 0
	}
	return next, errors.Join(errs...)
}

// audit reads the whole router again and has every grant compared with it.
func (r *Router) audit(ctx context.Context) error {
	if err := r.look(ctx); err != nil {
		return err
	}
	for _, g := range r.grants {
		g.due = true
	}
	return r.settleLost(ctx)
}

// fastest is what a rate can deliver, both directions together.
func (r *Router) fastest(rate zonegate.Rate) uint64 {
	one := func(mir, link uint64) uint64 {
		switch {
		case mir != 0:
			return mir
		case link != 0:
			return link
		}
		return 100e6
	}
	return one(rate.MIRUp, r.conf.LinkUp) + one(rate.MIRDown, r.conf.LinkDown)
}

// endSpent stops grants of which (nearly) nothing is left. The router does so
// too, for each device by itself.
func (r *Router) endSpent(ctx context.Context) error {
	var errs []error
	for _, g := range r.sorted() {
		if g.ordered && g.online() > 0 && (g.spent || shaper.Left(g.allowance, g.used()) < shaper.StopBelow) {
			errs = append(errs, r.endGrant(ctx, g))
		}
	}
	return errors.Join(errs...)
}

// findWork lists the grants that are not as they should be: ordered and not
// yet settled, or with a device that was away and is back.
func (r *Router) findWork(ctx context.Context) error {
	r.backlog = nil
	list := r.sorted()
	away := false
	for _, g := range list {
		away = away || r.behind(g, func(*session) bool { return true })
	}
	// Now and then also when nobody is awaited, so that letting in who comes
	// next takes no question.
	if away || time.Since(r.hostsAt) >= hostsEvery*r.conf.Report {
		if err := r.readHosts(ctx); err != nil {
			return err
		}
	}
	for _, g := range list {
		if r.behind(g, r.here) {
			r.backlog = append(r.backlog, g)
		}
	}
	return nil
}

// behind says whether a grant needs to be settled; a session that is not online
// only counts if it may pass and another condition holds.
func (r *Router) behind(g *grant, here func(*session) bool) bool {
	if !g.ordered || g.due {
		return g.ordered
	}
	if g.spent || r.timeOver(g) {
		return false
	}
	for _, x := range g.sessions {
		if !x.online && x.device != (zonegate.MAC{}) && (g.stale || here(x)) {
			return true
		}
	}
	return false
}

// here says whether the hotspot sees a session's device.
func (r *Router) here(x *session) bool {
	_, ok := r.where(x.device, x.at)
	return ok
}

// work settles some of the backlog. What fails is found again at the next look,
// behind what else there is.
func (r *Router) work(ctx context.Context) (more bool, err error) {
	r.hostsRead = true
	defer func() { r.hostsRead = false }()
	var errs []error
	for n := 0; n < perTurn && len(r.backlog) > 0; {
		g := r.backlog[0]
		r.backlog = r.backlog[1:]
		if r.grants[g.id] != g || !r.behind(g, r.here) {
			continue // somebody else was here
		}
		n++
		if err := r.settle(ctx, g); err != nil {
			errs = append(errs, err)
			if errors.Is(err, ErrUnreachable) {
				r.backlog = nil
			}
		}
	}
	return len(r.backlog) > 0, errors.Join(errs...)
}

// settleSome is one turn of the task; between two others get theirs.
func (r *Router) settleSome(ctx context.Context) (more bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.work(ctx)
}

// dropStrays logs out devices that came in as one of our users without us.
func (r *Router) dropStrays(ctx context.Context) error {
	var errs []error
	for _, id := range r.router.strays {
		errs = append(errs, r.line.remove(ctx, menuActive, id))
	}
	r.router.strays = nil
	return errors.Join(errs...)
}

func (r *Router) sorted() []*grant {
	list := make([]*grant, 0, len(r.grants))
	for _, g := range r.grants {
		list = append(list, g)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].id < list[j].id })
	return list
}

// commitments sums the committed rates of the grants that are active.
func (r *Router) commitments() (up, down uint64) {
	now := time.Now()
	for _, g := range r.grants {
		for _, x := range g.sessions {
			if x.online && now.Sub(x.moved) < activeFor {
				up, down = up+g.rate.CIRUp, down+g.rate.CIRDown
				break
			}
		}
	}
	return up, down
}

// rescaleNew gives grants that are about to get queues the factor that will
// hold with them.
func (r *Router) rescaleNew(list []*grant) {
	s := r.linkWith(list)
	r.scale = scales{min(r.scale.up, s.up), min(r.scale.down, s.down)}
}

// linkWith is the factor that the active grants and those of a list need.
func (r *Router) linkWith(list []*grant) scales {
	up, down := r.commitments()
	for _, g := range list {
		if g.online() == 0 {
			up, down = up+g.rate.CIRUp, down+g.rate.CIRDown
		}
	}
	return r.link(up, down)
}

// rescale gives every queue the factor that the active grants leave it, now
// and then, and only when it makes a difference. Those of the backlog count as
// if they were active: while many come in, no queue is set twice.
func (r *Router) rescale(ctx context.Context) error {
	if time.Since(r.scaled) < scaleEvery {
		return nil
	}
	r.scaled = time.Now()
	if s := r.linkWith(r.backlog); differs(s.up, r.scale.up) || differs(s.down, r.scale.down) {
		r.scale = s
	}
	var errs []error
	for _, g := range r.sorted() {
		want := r.commitment(g.rate)
		if g.queue.id == "" || !committed(g.rate) || g.queue.limitAt == want {
			continue
		}
		if err := r.line.set(ctx, menuQueue, g.queue.id, "=limit-at="+want.String()); err != nil {
			errs = append(errs, err)
			continue
		}
		g.queue.limitAt = want
	}
	return errors.Join(errs...)
}

func differs(a, b float64) bool { return math.Abs(a-b) > scaleStep*b }

// reports are what the accountant has not taken yet.
type reports struct {
	mu      sync.Mutex
	pending map[zonegate.SessionID]zonegate.Usage
	ready   chan struct{}
}

func (p *reports) add(u zonegate.Usage, final bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending == nil {
		p.pending = map[zonegate.SessionID]zonegate.Usage{}
	}
	u.Final = final
	p.pending[u.Session] = u
	select {
	case p.ready <- struct{}{}:
	default:
	}
}

func (p *reports) take() []zonegate.Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]zonegate.Usage, 0, len(p.pending))
	for _, u := range p.pending {
		list = append(list, u)
	}
	clear(p.pending)
	sort.Slice(list, func(i, j int) bool { return list[i].Session < list[j].Session })
	return list
}

// final lists what ended and was not taken.
func (p *reports) final() (list []zonegate.Usage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.pending {
		if u.Final {
			list = append(list, u)
		}
	}
	return list
}

// giveBack queues again what could not be accounted, unless there is newer.
func (p *reports) giveBack(list []zonegate.Usage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range list {
		if _, ok := p.pending[u.Session]; !ok {
			p.pending[u.Session] = u
		}
	}
}

// account is the task that hands usage to the accountant. It holds no lock
// meanwhile: the accountant calls Change.
func (r *Router) account(ctx context.Context) error {
	if r.accountant == nil {
		<-ctx.Done()
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.reports.ready:
		}
		for {
			list := r.reports.take()
			if len(list) == 0 {
				break
			}
			// Before, because it answers with new orders.
			r.told(list)
			err := r.accountant.Account(ctx, list)
			if err == nil {
				continue
			}
			r.reports.giveBack(list)
			if ctx.Err() != nil {
				return nil
			}
			r.log.Error("usage could not be accounted and is reported again", "sessions", len(list), "error", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(accountAgain):
			}
		}
	}
}

// Remove takes everything of ours off the router: nobody passes then whom we
// let in.
func (r *Router) Remove(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.look(ctx); err != nil {
		return err
	}
	var errs []error
	for _, x := range r.sessions {
		errs = append(errs, r.logout(ctx, x))
	}
	for _, g := range r.sorted() {
		errs = append(errs, r.drop(ctx, g))
	}
	r.sessions, r.devices = map[zonegate.SessionID]*session{}, map[zonegate.MAC]*session{}
	errs = append(errs, r.tidy(ctx))
	drop := func(menu string, from map[string]row) {
		for _, x := range from {
			if id := x.id(); id != "" {
				errs = append(errs, r.line.remove(ctx, menu, id))
			}
		}
	}
	drop(menuProfile, r.router.profiles)
	drop(menuMangle, r.router.rules)
	drop(menuTree, r.router.trees)
	drop(menuType, r.router.types)
	if id := r.router.parent.id(); id != "" && strings.HasPrefix(id, "*") {
		errs = append(errs, r.line.remove(ctx, menuQueue, id))
	}
	r.router.epoch = 0 // read anew
	return errors.Join(errs...)
}
