package central

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate"
	"zonegate/sync/api"
)

// Intents is what a Pay asks of the domain; *zonegate.Gate is one.
type Intents interface {
	// NewIntents gets a value when one was opened.
	NewIntents() <-chan struct{}
	Intent(zonegate.IntentID) (zonegate.Intent, bool)
	OpenIntents() []zonegate.Intent
	TellIntent(context.Context, zonegate.IntentID, zonegate.News) error
	SettleIntent(ctx context.Context, id zonegate.IntentID, transaction string, paid zonegate.Money) error
}

var _ Intents = (*zonegate.Gate)(nil)

// A Pay sends intents to the server that collects, and follows them until they
// are decided. What a hub has collected comes as a push; at a server without
// pushes it is settled here. Its methods may be called from any goroutine.
type Pay struct {
	gate  Intents
	clock zonegate.Clock
	at    collector
	log   *slog.Logger
	wake  chan struct{}
	// since is when this process began to look.
	since time.Duration

	mu      sync.Mutex
	watched map[zonegate.IntentID]*watch
}

// A Cashier is a hub that collects; *Central is one. It knows a payment by its
// intent.
type Cashier interface {
	StartPayment(context.Context, api.Intent) (api.Payment, error)
	Payment(ctx context.Context, intent string) (api.Payment, error)
	// Channels are as in [Pay.Channels].
	Channels() (list []zonegate.Channel, online bool)
}

var _ Cashier = (*Central)(nil)

// A collector is one kind of server. Follow does one call for an intent and
// writes down what it has brought. The error is for the log: the call is to be
// tried again.
type collector interface {
	follow(ctx context.Context, p *Pay, in zonegate.Intent, w *watch) error
	Channels() (list []zonegate.Channel, online bool)
	problem() error
}

// A watch is what is remembered of an intent between two calls. Only its
// follower changes it while busy.
type watch struct {
	// next and asked are monotonic times.
	next, asked time.Duration
	busy        bool
	// sent says that the server may have it.
	sent bool
	// failures in a row, while it could not be started.
	failures int
	// heard is what could not be written down yet.
	heard *zonegate.News
}

// NewPay has intents collected by a hub.
func NewPay(gate Intents, hub Cashier, clock zonegate.Clock, log *slog.Logger) *Pay {
	return newPay(gate, &hubDesk{hub}, clock, log)
}

func newPay(gate Intents, at collector, clock zonegate.Clock, log *slog.Logger) *Pay {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Pay{
		gate: gate, clock: clock, at: at, log: log, wake: make(chan struct{}, 1), since: clock.Now().Mono,
		watched: map[zonegate.IntentID]*watch{},
	}
}

// Channels are the ways to pay, those that are away among them; none where
// the server collects nothing. Online is false while it does not answer; then
// they are those of before, and nil if it has not said yet.
func (p *Pay) Channels() (list []zonegate.Channel, online bool) { return p.at.Channels() }

// Problem is what keeps payments from working until somebody mends it here; nil
// if nothing does.
func (p *Pay) Problem() error { return p.at.problem() }

// askAgain is the least time between two calls that people ask for.
const askAgain = 4 * time.Second

// Ask has the server asked about an intent now, unless it was just asked.
func (p *Pay) Ask(id zonegate.IntentID) {
	now := p.clock.Now().Mono
	p.mu.Lock()
	if w := p.watched[id]; w != nil && now-w.asked >= askAgain {
		w.next = min(w.next, now)
	}
	p.mu.Unlock()
	poke(p.wake)
}

// followers is how many calls are made at once: one that hangs does not hold
// up the next customer.
const followers = 3

// Run sends and follows intents until the context is done.
func (p *Pay) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	jobs := make(chan zonegate.IntentID)
	for range followers {
		g.Go(func() error {
			for id := range jobs {
				p.follow(ctx, id)
				poke(p.wake)
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(jobs)
		for ctx.Err() == nil {
			due, wait := p.due()
			for _, id := range due {
				select {
				case jobs <- id:
				case <-ctx.Done():
					return nil
				}
			}
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-p.wake:
			case <-p.gate.NewIntents():
			case <-ctx.Done():
			}
			t.Stop()
		}
		return nil
	})
	return g.Wait()
}

// Step does everything that is due, one call after the other, and returns how
// long nothing more is. It is what Run does, for who has a clock of his own.
func (p *Pay) Step(ctx context.Context) time.Duration {
	due, _ := p.due()
	for _, id := range due {
		p.follow(ctx, id)
	}
	now := p.clock.Now().Mono
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := idleLook
	for _, w := range p.watched {
		wait = min(wait, max(0, w.next-now))
	}
	return wait
}

// idleLook is the longest time between two looks at the intents.
const idleLook = time.Minute

// due returns the intents whose time has come and marks them as being worked
// on, and how long it takes until the next one's.
func (p *Pay) due() ([]zonegate.IntentID, time.Duration) {
	list, now := p.gate.OpenIntents(), p.clock.Now().Mono
	p.mu.Lock()
	defer p.mu.Unlock()
	var due []zonegate.IntentID
	wait := idleLook
	seen := make(map[zonegate.IntentID]bool, len(list))
	for _, in := range list {
		seen[in.ID] = true
		w := p.watched[in.ID]
		if w == nil {
			// Of one from before nobody remembers whether it was sent.
			w = &watch{next: now, sent: in.Age > now-p.since}
			p.watched[in.ID] = w
		}
		switch {
		case w.busy:
		case w.next <= now:
			w.busy, w.asked = true, now
			due = append(due, in.ID)
		default:
			wait = min(wait, w.next-now)
		}
	}
	for id, w := range p.watched {
		if !seen[id] && !w.busy {
			delete(p.watched, id)
		}
	}
	return due, wait
}

// follow makes the call that is due for an intent and plans the next.
func (p *Pay) follow(ctx context.Context, id zonegate.IntentID) {
	p.mu.Lock()
	w := p.watched[id]
	p.mu.Unlock()
	in, ok := p.gate.Intent(id)
	var err error
	switch {
	case !ok:
	case w.heard != nil:
		err = p.tell(ctx, in, w, *w.heard)
	default:
		err = p.at.follow(ctx, p, in, w)
	}
	in, _ = p.gate.Intent(id)
	wait := lookAfter(in.Age)
	switch {
	case err == nil:
		w.failures = 0
	case ctx.Err() == nil:
		if w.failures++; w.failures == 1 {
			p.log.Info("a payment could not be followed; it is tried again", "intent", id, "error", err)
		}
		if w.heard != nil || in.State == zonegate.IntentOpened && !in.Unsure && in.Age < startWithin {
			wait = startAgain << min(w.failures-1, 4)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w.busy, w.next = false, p.clock.Now().Mono+wait
}

const (
	// startWithin is how long an intent is started. Later nobody expects to be
	// asked for money any more.
	startWithin = 3 * time.Minute
	startAgain  = time.Second
)

// looks are the ages at which a young payment is asked about.
var looks = [...]time.Duration{
	5 * time.Second, 8 * time.Second, 12 * time.Second, 17 * time.Second, 23 * time.Second, 30 * time.Second,
}

// lookAfter is how long after a look at a payment of that age the next one is.
func lookAfter(age time.Duration) time.Duration {
	for _, at := range looks {
		if age < at {
			return at - age
		}
	}
	switch {
	case age < 3*time.Minute:
		return 10 * time.Second
	case age < 30*time.Minute:
		return time.Minute
	}
	return 15 * time.Minute
}

// tell writes down what was heard, and remembers it when that fails.
func (p *Pay) tell(ctx context.Context, in zonegate.Intent, w *watch, n zonegate.News) error {
	w.heard = &n
	err := p.gate.TellIntent(ctx, in.ID, n)
	if err == nil || errors.Is(err, zonegate.ErrNoSuchIntent) || errors.Is(err, zonegate.ErrBadIntent) {
		w.heard = nil
	}
	return err
}

// definitive says that the server has answered a start with no: nothing was
// done, if nothing had been sent before.
func definitive(err error) (reason string, ok bool) {
	r, ok := refused(err)
	if !ok || r.Status < 400 || r.Status >= 500 || r.Status == http.StatusRequestTimeout {
		return "", false
	}
	return r.Problem.Detail, true
}

// neverSent is the reason of a payment that did not get anywhere.
const neverSent = "the server could not be reached; nothing was asked of you"

// A hubDesk starts and follows payments at a hub. A start can be repeated
// there; when it is late, the hub is only asked.
type hubDesk struct{ hub Cashier }

func (d *hubDesk) Channels() (list []zonegate.Channel, online bool) { return d.hub.Channels() }

func (*hubDesk) problem() error { return nil }

func (d *hubDesk) follow(ctx context.Context, p *Pay, in zonegate.Intent, w *watch) error {
	if !in.State.Open() {
		return nil // should money come after all, it is pushed
	}
	if in.State == zonegate.IntentOpened && in.Age < startWithin {
		got, err := d.hub.StartPayment(ctx, api.Intent{
			IntentID: in.ID.String(), Plan: in.Plan.ID, PlanVersion: in.Plan.Version, Provider: in.Channel,
			Phone: in.Phone, Device: in.Device.String(), Claim: hex.EncodeToString(in.Claim[:]),
		})
		reason, no := definitive(err)
		switch {
		case err == nil:
			return p.tell(ctx, in, w, news(&got))
		case no && !w.sent && !isTransient(err) && !errors.Is(err, ErrAway):
			return p.tell(ctx, in, w, zonegate.News{State: zonegate.IntentFailed, Reason: reason})
		case !no && !NotSent(err) && err != ErrAway:
			w.sent = true
		}
		return err
	}
	got, err := d.hub.Payment(ctx, in.ID.String())
	if err == nil {
		return p.tell(ctx, in, w, news(&got))
	}
	r, ok := refused(err)
	if ok && r.Status == http.StatusNotFound && r.Problem.Code == api.CodeNotFound && in.State == zonegate.IntentOpened {
		return p.tell(ctx, in, w, zonegate.News{State: zonegate.IntentFailed, Reason: neverSent})
	}
	return err
}

// paymentState reads a status. One that is not known is pending.
func paymentState(status string) zonegate.IntentState {
	if status == "completed" {
		return zonegate.IntentPaid
	}
	for s := zonegate.IntentFailed; s <= zonegate.IntentRefunded; s++ {
		if s != zonegate.IntentPaid && s.String() == status {
			return s
		}
	}
	return zonegate.IntentPending
}

// news are what a hub says of a payment.
func news(p *api.Payment) zonegate.News {
	n := zonegate.News{State: paymentState(p.Status), Reason: p.Reason}
	if checkID("payment", p.TransactionID) == nil {
		n.Transaction = p.TransactionID
	}
	if p.Flow == zonegate.FlowPush || p.Flow == zonegate.FlowRedirect {
		n.Flow = p.Flow
	}
	if u, err := url.Parse(p.PaymentURL); err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && len(p.PaymentURL) <= maxPayURL {
		n.URL = p.PaymentURL
	}
	return n
}

const (
	maxPayURL   = 2000
	maxChannels = 20
	maxHosts    = 50
	// channelsFresh is how long the hub's word on channels counts: two
	// heartbeats may be missed.
	channelsFresh = 150 * time.Second
)

// Channels are the ways to pay that the last heartbeat has brought. See
// [Pay.Channels].
func (c *Central) Channels() (list []zonegate.Channel, online bool) {
	c.mu.Lock()
	l := c.line
	c.mu.Unlock()
	if l == nil {
		return nil, false
	}
	_, open := l.client.breaker.open()
	now := c.o.Clock.Now().Mono
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.channels, !open && l.proven && now-l.answered <= channelsFresh
}

// learnChannels takes the ways to pay that a heartbeat brought, but for those
// that make no sense. A caller holds l.mu.
func (l *line) learnChannels(list []api.Channel, now time.Duration) {
	l.channels, l.answered = []zonegate.Channel{}, now
	for _, ch := range list {
		if len(l.channels) == maxChannels {
			return
		}
		flow := ch.Flow == zonegate.FlowPush || ch.Flow == zonegate.FlowRedirect
		if !flow || checkID("channel", ch.ID) != nil || len(ch.ID) > 32 || checkText("a channel", ch.Name, maxName) != nil || len(ch.Currency) != 3 || len(ch.Country) > 2 {
			continue
		}
		out := zonegate.Channel{ID: ch.ID, Name: ch.Name, Flow: ch.Flow, Country: ch.Country, Currency: ch.Currency, Test: ch.Test, Away: ch.Away}
		for _, h := range ch.Hosts {
			if gardenDomain(h) && len(out.Hosts) < maxHosts {
				out.Hosts = append(out.Hosts, h)
			}
		}
		l.channels = append(l.channels, out)
	}
}
