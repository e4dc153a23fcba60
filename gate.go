package zonegate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A Journal makes records durable.
type Journal interface {
	// Append makes the records durable, in order, all or an error. After an
	// error nothing of them may ever come back, and nothing more can be
	// appended before Reopen.
	Append([]Record) error
	// Reopen makes the journal usable after an error. It returns the number of
	// the last durable record.
	Reopen() (uint64, error)
}

// Options of a Gate. The zero value of each field has a sensible default.
type Options struct {
	// Checkpoint is how often usage is made durable: the most that a power cut
	// can cost, in the customer's favour. Default 60 s.
	Checkpoint time.Duration
	// SaveAfter is how long the archive may lag behind the journal, and
	// SaveChanges how many changed entities force it earlier. Defaults 1 h
	// and 4096.
	SaveAfter   time.Duration
	SaveChanges int
	// IdleTimeout ends the session of an online-time grant that moves nothing.
	// Default 15 min.
	IdleTimeout time.Duration
	// MoveInterval is the least time between two moves of a grant. Default
	// 10 min.
	MoveInterval time.Duration
	// LostAfter is how long a NAS may be silent about a session before its
	// device's place is free again: three times the interval of its reports.
	// Default 15 min.
	LostAfter time.Duration
	// ReserveTime is how long a login at a NAS holds a device's place without
	// a report of the session. Default 2 min.
	ReserveTime time.Duration
	// RefusalTime is how long every refused code takes to be answered, so that
	// the time does not tell why. Default 250 ms; negative means none.
	RefusalTime time.Duration
	// Guessing limits wrong codes.
	Guessing Guessing
	// Random draws voucher codes. Default crypto/rand.
	Random io.Reader
	Logger *slog.Logger
}

// A Gate decides what may happen to plans, vouchers, grants and sessions. Its
// methods may be called from any goroutine; one goroutine, Run, takes the
// decisions, makes each batch of them durable with one write, and only then
// answers and enforces.
type Gate struct {
	journal  Journal
	archive  Archive
	enforcer Enforcer
	remote   Dispatcher
	// steady are the NASes whose sessions went on after they had said that
	// they began anew. Only Run uses it.
	steady   map[string]struct{}
	clock    Clock
	opts     Options
	log      *slog.Logger
	guesses  *guessLimiter
	tickets  *guessLimiter
	switches switchLimiter
	floods   floodGauge
	// notes are of devices (MAC) that wait for a payment, and of payments
	// (IntentID) of which the hub has just said that they are pending.
	notes *notes
	// starts counts payments by device (MAC) and by number (string).
	starts *guessLimiter
	opened chan struct{}

	requests chan *request
	stopped  chan struct{}
	// key is the zone's, nil until it is founded.
	key atomic.Pointer[ZoneKey]

	// mu is held for writing while a batch is decided and made durable, so
	// readers never see what a power cut could take back.
	mu    sync.RWMutex
	state *State
	// seen is when the last decision was taken; Run takes one each second.
	seen Instant
	// counted is the latest usage report per session, charged to the grant in
	// the state only at a checkpoint.
	counted map[SessionID]counter
	// unsaved are records that only follow from clocks and counters, made
	// while the journal cannot be written. They are in the state.
	unsaved  []Record
	degraded error
	// reapply says that the data path must be brought to the wanted state.
	reapply error
	// reconcileNow asks Run to compare the state with the data path, and unread
	// is why that failed, if it did: then nobody knows who passes.
	reconcileNow bool
	unread       error
	// complained is the data path's error that was logged last.
	complained string
	// highest is the highest session that the data path had at the start. One
	// that a crash kept out of the journal is not used again.
	highest SessionID
	// bootBefore is the boot in which the state was last written.
	bootBefore string
	saving     bool
	saved      chan saveResult

	lastCheckpoint, lastSave, lastRetry, lastReconcile time.Duration
}

type counter struct {
	octets Octets
	// moved is the monotonic time at which the counters last grew.
	moved time.Duration
	// heard is when a NAS last spoke of the session, and lasted how long the
	// session had lasted then; zero when that is not known.
	heard, lasted time.Duration
	// restarted says that the session ended because its NAS began anew.
	restarted bool
	// login is what a NAS let the device in with.
	login knownLogin
}

// A decision reads the state and emits events.
type decision func(*tx) error

type request struct {
	decide decision
	// derived decisions follow from clocks and counters alone: they are taken
	// even when the journal cannot be written, because they can be taken again.
	derived bool
	// durable ones are taken like derived ones, but without a journal they are
	// not answered as done.
	durable bool
	done    chan error
}

// NewGate returns a Gate over a state. Run must be called for anything to
// happen.
func NewGate(state *State, j Journal, a Archive, e Enforcer, c Clock, o Options) *Gate {
	o = o.withDefaults()
	g := &Gate{
		journal: j, archive: a, enforcer: e, clock: c, opts: o, log: o.Logger,
		guesses:  newGuessLimiter(o.Guessing),
		tickets:  newGuessLimiter(Guessing{PerDevice: wrongPasswords}),
		switches: switchLimiter{owed: map[MAC]time.Duration{}},
		floods:   floodGauge{rate: o.Guessing.ZoneRate, until: map[string]time.Duration{}},
		steady:   map[string]struct{}{},
		notes:    &notes{until: map[any]time.Duration{}},
		starts:   newGuessLimiter(Guessing{PerDevice: startsPer, Window: startWindow}),
		opened:   make(chan struct{}, 1),
		requests: make(chan *request, 256),
		stopped:  make(chan struct{}),
		state:    state, bootBefore: state.meta.Clock.Last.Boot,
		counted: map[SessionID]counter{},
		saved:   make(chan saveResult, 1),
	}
	if key := state.meta.Key; key != (ZoneKey{}) {
		g.key.Store(&key)
	}
	return g
}

// ErrStopped is returned when the Gate is not running any more.
var ErrStopped = errors.New("the gate is not running")

// do has a decision taken and waits until it is durable and enforced.
func (g *Gate) do(ctx context.Context, derived bool, d decision) error {
	return g.ask(ctx, newRequest(derived, d))
}

func (g *Gate) ask(ctx context.Context, r *request) error {
	select {
	case g.requests <- r:
	case <-g.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-r.done:
		return err
	case <-g.stopped:
		// Run answers everything that it has taken before it ends.
		select {
		case err := <-r.done:
			return err
		default:
			return ErrStopped
		}
	}
}

// tx is one decision while it is being taken.
type tx struct {
	*State
	gate    *Gate
	now     Instant
	events  []Event
	touched map[GrantID]struct{}
	stops   map[SessionID]struct{}
	// told are sessions of which a NAS must be told something.
	told map[SessionID]struct{}
	// strangers are sessions of a NAS that nobody has a right to.
	strangers []Errand
}

// emit applies an event at once, so that later decisions of the same batch see
// it.
func (t *tx) emit(e Event) error {
	if err := t.State.apply(e); err != nil {
		return err
	}
	t.events = append(t.events, e)
	return nil
}

// touch has the data path brought up to date for a grant.
func (t *tx) touch(id GrantID) { t.touched[id] = struct{}{} }

// maxBatch bounds how many decisions share one write.
const maxBatch = 256

// Run takes decisions until the context is done, then writes a last
// checkpoint. It first brings the data path to the wanted state.
func (g *Gate) Run(ctx context.Context) error {
	defer close(g.stopped)
	if err := g.start(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var batch []*request
	for {
		batch = batch[:0]
		select {
		case <-ctx.Done():
			return g.shutdown()
		case r := <-g.requests:
			batch = append(batch, r)
			for len(batch) < maxBatch && len(g.requests) > 0 {
				batch = append(batch, <-g.requests)
			}
			g.take(ctx, batch)
		case <-tick.C:
			g.take(ctx, []*request{g.timeRequest()})
			g.maintain(ctx)
		case r := <-g.saved:
			g.finishSave(r)
		}
	}
}

func newRequest(derived bool, d decision) *request {
	return &request{decide: d, derived: derived, done: make(chan error, 1)}
}

// take decides a batch, makes it durable, enforces and answers it.
func (g *Gate) take(ctx context.Context, batch []*request) {
	g.mu.Lock()
	now := g.clock.Now()
	g.seen = now
	t := &tx{State: g.state, gate: g, touched: map[GrantID]struct{}{}, stops: map[SessionID]struct{}{}, told: map[SessionID]struct{}{}}
	before := g.state.mark()
	records, answers := g.decide(t, batch, now)
	if len(records) > 0 && g.degraded == nil {
		if err := g.journal.Append(records); err != nil {
			g.log.Error("the journal cannot be written: sales stop, running customers stay online", "error", err)
			g.degraded = fmt.Errorf("%w: %w", ErrNotDurable, err)
			g.state.rollback(before)
			clear(t.touched)
			clear(t.stops)
			clear(t.told)
			t.strangers = nil
			records, answers = g.decide(t, batch, now)
		}
	}
	if g.degraded != nil {
		g.unsaved = append(g.unsaved, records...)
	}
	g.state.keep()
	set, stop := g.orders(t)
	errands := g.errands(t)
	g.mu.Unlock()

	if len(set)+len(stop) > 0 {
		if err := g.enforcer.Change(ctx, set, stop); err != nil {
			g.complain("the data path is behind; it will be tried again", err)
			g.mu.Lock()
			g.reapply = err
			g.mu.Unlock()
		}
	}
	for _, e := range errands {
		g.remote.Dispatch(e)
	}
	for i, r := range batch {
		if r.durable && answers[i] == nil {
			answers[i] = g.degraded
		}
		r.done <- answers[i]
	}
}

// decide takes the decisions in order. A refused one leaves no trace. Without
// a journal only derived ones are taken.
func (g *Gate) decide(t *tx, batch []*request, now Instant) ([]Record, []error) {
	var records []Record
	answers := make([]error, len(batch))
	for i, r := range batch {
		if g.degraded != nil && !r.derived {
			answers[i] = g.degraded
			continue
		}
		m := g.state.mark()
		t.now, t.events = now, nil
		g.state.meta.Clock = g.state.meta.Clock.advance(now)
		// The first trusted time of a boot is written down at once: what the
		// wall clock does after it must not matter.
		anchored := g.state.meta.Clock.AnchorBoot != m.meta.Clock.AnchorBoot
		err := r.decide(t)
		switch {
		case err != nil:
			answers[i] = err
			g.state.rollback(m)
		case len(t.events) > 0 || anchored:
			g.state.meta.Seq++
			records = append(records, Record{Seq: g.state.meta.Seq, At: now, Events: t.events})
		default:
			// No record, so the clock must stay where the journal leaves it.
			g.state.rollback(m)
		}
	}
	return records, answers
}

// orders turns the touched grants into what the data path must do. It is
// called with the lock held.
func (g *Gate) orders(t *tx) (set []Order, stop []SessionID) {
	for id := range t.stops {
		if x, ok := g.state.sessions[id]; !ok || x.Stopped && x.Path == "" {
			stop = append(stop, id)
		}
	}
	for id := range t.touched {
		set = append(set, g.grantOrders(id, t.now)...)
	}
	return set, stop
}

// grantOrders returns the orders of a grant's passing sessions.
func (g *Gate) grantOrders(id GrantID, now Instant) []Order {
	s := g.state
	grant, ok := s.grants[id]
	if !ok || grant.State != Active {
		return nil
	}
	plan, ok := s.plan(grant.Plan)
	if !ok {
		return nil
	}
	allowance := grant.octetsLeft()
	if allowance != NoCap {
		var counted uint64
		for _, sid := range s.byGrant[id] {
			x := s.sessions[sid]
			switch {
			case x.Stopped:
				// Delivered but not yet charged: it may not be used again.
				allowance -= min(allowance, g.uncharged(x).Total())
			case x.Path != "":
				allowance -= min(allowance, g.uncharged(x).Total()+g.outstanding(x))
			default:
				counted += x.Octets.Total()
			}
		}
		allowance += counted
	}
	var until time.Duration
	if grant.Running {
		// Nothing is ever exactly zero, which would mean no end.
		until = max(1, now.Mono+grant.EndsAt-s.meta.Clock.advance(now).of(grant.Time))
	}
	var out []Order
	for _, sid := range s.byGrant[id] {
		if x := s.sessions[sid]; !x.Stopped && x.Path == "" {
			out = append(out, Order{
				Session: sid, Grant: id, Device: x.Device, Rate: plan.Rate,
				Devices: plan.DevicesMax, Until: until, Allowance: allowance,
			})
		}
	}
	return out
}

// uncharged is what a session has delivered beyond what the state charges.
func (g *Gate) uncharged(x Session) Octets {
	c, ok := g.counted[x.ID]
	if !ok || c.octets.Up < x.Octets.Up || c.octets.Down < x.Octets.Down {
		return Octets{}
	}
	return Octets{c.octets.Up - x.Octets.Up, c.octets.Down - x.Octets.Down}
}
