package hub

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"zonegate"
)

const (
	lookTime = 15 * time.Second // for one answer of a provider
	// leased is how long a payment that is being looked up is left alone by
	// other processes.
	leased   = time.Minute
	sweepMax = 256 // payments that are leased at once
	looking  = 32  // lookups at the same time, if Options say nothing
	// How long what a provider calls and says is kept.
	maxRef    = 200
	maxReason = 300
)

// A Callback is a call of a provider's about a payment that is known here.
type Callback struct {
	payment   Payment
	candidate string // the provider's id, where it is not the known one
	kept      bool   // the candidate is one of the few that are
	said      ObservationRow
}

// HearHint takes a callback: it finds the payment, and keeps an id of the
// provider's that it alone may tell, before the caller is answered. What the
// callback claims changes nothing: see HeedHint. ErrNotFound is one of no
// payment of the provider's.
func (h *Hub) HearHint(ctx context.Context, provider string, hint Hint) (Callback, error) {
	if clip(hint.Reference, maxRef) != hint.Reference || clip(hint.ProviderRef, maxRef) != hint.ProviderRef {
		return Callback{}, ErrNotFound // and no database takes it
	}
	f := &finding{provider: provider, hint: hint}
	if err := h.money.findings.put(ctx, f, 1, h.find); err != nil {
		return Callback{}, err
	}
	if !f.found {
		return Callback{}, ErrNotFound
	}
	x := Callback{payment: f.payment, said: ObservationRow{Payment: f.payment.ID, At: h.at(), Source: SourceCallback, State: "hint",
		ProviderRef: hint.ProviderRef, Raw: clip(hint.Raw, 4096)}}
	if alike(hint.ProviderRef, f.payment.ProviderRef) {
		return x, nil
	}
	x.candidate = hint.ProviderRef
	var err error
	x.kept, err = h.keepNamed(ctx, x.said)
	return x, err
}

// HeedHint asks the provider about the payment of a callback. One that comes
// too often is passed over: the payment is looked up a little later.
func (h *Hub) HeedHint(ctx context.Context, x Callback) error {
	about := x.payment.ID
	if x.kept {
		// A customer who pays again and again on a provider's page has a number
		// each time, and nothing else leads to that money.
		about += " " + x.candidate
	}
	if !h.money.heed(about, h.now()) {
		soon := h.at().Add(lookEvery)
		if x.candidate == "" && !x.payment.NextLook.After(soon) {
			return nil
		}
		return h.store.Write(ctx, func(tx Tx) error { return tx.LookSooner(x.payment.ID, soon) })
	}
	var said []ObservationRow
	if x.candidate == "" { // else it is kept
		said = append(said, x.said)
	}
	_, err := h.ask(ctx, x.payment, event{candidate: x.candidate, aside: x.candidate != ""}, said...)
	return err
}

// TakeHint hears a callback and heeds it.
func (h *Hub) TakeHint(ctx context.Context, provider string, hint Hint) error {
	x, err := h.HearHint(ctx, provider, hint)
	if err != nil {
		return err
	}
	return h.HeedHint(ctx, x)
}

// alike says that two ids of a provider may be one, written in another way: a
// provider that finds its payment by either would have it paid for twice.
func alike(a, b string) bool {
	const enough = 8
	a, b = strings.ToLower(a), strings.ToLower(b)
	return a == b || len(a) >= enough && len(b) >= enough && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a))
}

// maxNamed is how many ids of the provider are kept that callbacks name for one
// payment.
const maxNamed = 20

// keepNamed keeps the id that a callback names, once: some providers tell it in
// one callback alone, and may not answer at that moment. It says whether it is
// kept.
func (h *Hub) keepNamed(ctx context.Context, said ObservationRow) (kept bool, err error) {
	if said.ID, err = h.newID(); err != nil {
		return false, err
	}
	err = h.store.Write(ctx, func(tx Tx) error {
		names, err := named(tx, said.Payment)
		if kept = slices.Contains(names, said.ProviderRef); err != nil || kept || len(names) >= maxNamed {
			return err
		}
		kept = true
		return tx.AddObservations([]ObservationRow{said})
	})
	return kept && err == nil, err
}

// named are the provider's ids that callbacks have named for a payment, each
// once.
func named(tx Tx, payment string) (names []string, err error) {
	said, err := tx.Observations(payment)
	for _, o := range said {
		if o.Source == SourceCallback && o.ProviderRef != "" && !slices.Contains(names, o.ProviderRef) {
			names = append(names, o.ProviderRef)
		}
	}
	return names, err
}

// A finding is a payment that a callback is about.
type finding struct {
	provider string
	hint     Hint
	payment  Payment
	found    bool
}

// find looks up many at once.
func (h *Hub) find(ctx context.Context, fs []*finding) error {
	return h.store.Read(ctx, func(tx Tx) error {
		var references []string
		for _, f := range fs {
			if f.hint.Reference != "" {
				references = append(references, f.hint.Reference)
			}
		}
		ps, err := tx.PaymentsByReference(references)
		if err != nil {
			return err
		}
		byReference := make(map[string]Payment, len(ps))
		for _, p := range ps {
			byReference[p.Reference] = p
		}
		for _, f := range fs {
			f.payment, f.found = byReference[f.hint.Reference]
			f.found = f.found && f.payment.Provider == f.provider
			if f.hint.ProviderRef == "" || f.found && (f.payment.ProviderRef == "" || f.payment.ProviderRef == f.hint.ProviderRef) {
				continue
			}
			// Of two that were paid under one reference it is the one with the id.
			p, err := tx.PaymentByProviderRef(f.provider, f.hint.ProviderRef)
			if err == nil && (!f.found || p.beside()) {
				f.payment, f.found = p, true
			} else if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		return nil
	})
}

// ask asks the provider about a payment and takes what it says. Of e candidate
// and aside count.
func (h *Hub) ask(ctx context.Context, p Payment, e event, said ...ObservationRow) (Payment, error) {
	candidate := e.candidate
	e.what, e.spread = evBlind, h.spread()
	c, ok := h.collector(p.Provider)
	if e.until = h.money.awayUntil(p.Provider, h.now()); ok && e.until.IsZero() {
		q := p
		if candidate != "" {
			q.ProviderRef = candidate
		}
		asking, cancel := context.WithTimeout(ctx, lookTime)
		o, err := c.Lookup(asking, q)
		cancel()
		switch {
		case err == nil:
			o.Reference, o.ProviderRef, o.Reason = clip(o.Reference, maxRef), clip(o.ProviderRef, maxRef), clip(o.Reason, maxReason)
			if candidate == "" && p.beside() {
				o.Reference = p.Reference // the provider shows that of the first
			}
			e.what, e.seen = evSeen, o
			said = append(said, ObservationRow{Payment: p.ID, At: h.at(), Source: SourceLookup, State: string(o.State), ProviderRef: o.ProviderRef, Raw: o.Raw})
		case ctx.Err() != nil: // not the provider's fault
			return Payment{}, ctx.Err()
		default:
			h.log.Warn("looking up a payment", "payment", p.ID, "provider", p.Provider, "err", err)
		}
		// Anybody may name an id that the provider chokes on: that does not make
		// it one that is away.
		if err == nil || candidate == "" && !errors.Is(err, ErrUnsupported) {
			h.money.answered(p.Provider, err == nil, h.now())
		}
	}
	e.at = h.at()
	writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	return h.happen(writing, p.ID, e, said...)
}

// again says whether a lookup shows money that came a second time under one
// reference, as a provider's page allows; after is what the payment is now.
func (p Payment) again(after Payment, e event) bool {
	return e.what == evSeen && e.candidate != "" && e.seen.State == PaymentSucceeded && e.seen.ours(p) &&
		after.ProviderRef != "" && after.ProviderRef != e.candidate
}

// addSecond makes a payment of its own of such money: two paid payments are two
// grants. Without a device the customer is not known, and a person decides.
func (h *Hub) addSecond(tx Tx, first Payment, e event) error {
	if _, err := tx.PaymentByProviderRef(first.Provider, e.candidate); !errors.Is(err, ErrNotFound) {
		return err
	}
	id, err := h.newID()
	if err != nil {
		return err
	}
	p := first
	p.ID, p.Intent, p.Claim, p.ProviderRef, p.URL, p.Reason = id, "", "", e.candidate, "", ""
	p.Reference = reference(first.ID+"/"+e.candidate, 1)
	p.Paid, p.CustomerPaid, p.ProviderFee = zonegate.Money{}, zonegate.Money{}, ""
	p.State, p.Unsure, p.Made, p.Changed, p.NextLook, p.Looks, p.Attempt, p.Rev = PaymentPending, false, e.at, e.at, time.Time{}, 0, 1, 0
	if err := tx.AddPayments([]Payment{p}); err != nil {
		return err
	}
	e.seen.Reference, e.seen.ProviderRef, e.unclaimed = p.Reference, e.candidate, p.Device == ""
	c := &change{id: id, event: e, said: []ObservationRow{{Payment: id, At: e.at, Source: SourceLookup, State: string(e.seen.State),
		ProviderRef: e.candidate, Raw: e.seen.Raw}}}
	c.event.candidate, c.event.taken = "", false
	if err := h.applyChanges(tx, []*change{c}); err != nil || errors.Is(c.err, ErrNotFound) { // another process was quicker
		return err
	}
	return c.err
}

// beside says that it is one that h.second made: the provider knows it by its
// own id alone.
func (p Payment) beside() bool { return p.Reference != reference(p.seed(), p.Attempt) }

// second says that it is such a one, of which nobody knows the customer.
func (p Payment) second() bool { return p.Device == "" && p.Claim == "" && p.beside() }

// SweepPayments asks providers once about every payment whose time has come.
// Those that a crash left in submitting are pending from now on: nobody knows
// whether the provider has them. Several processes may sweep at once.
func (h *Hub) SweepPayments(ctx context.Context) error {
	for {
		var due []Payment
		err := h.store.Write(ctx, func(tx Tx) (err error) {
			now := h.at()
			due, err = tx.LeasePayments(now, now.Add(leased), sweepMax)
			return err
		})
		if err != nil {
			return err
		}
		if err := h.askAll(ctx, due); err != nil || len(due) < sweepMax {
			return err
		}
	}
}

func (h *Hub) askAll(ctx context.Context, due []Payment) error {
	work := make(chan Payment)
	errs := make([]error, min(h.money.looking, len(due)))
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for p := range work {
				if err := h.askDue(ctx, p); err != nil && !errors.Is(err, ErrNotFound) {
					errs[i] = err
				}
			}
		})
	}
	for _, p := range due {
		work <- p
	}
	close(work)
	wg.Wait()
	return errors.Join(errs...)
}

func (h *Hub) askDue(ctx context.Context, p Payment) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if p.State == PaymentSubmitting {
		e := event{what: evLost, at: h.at(), spread: h.spread()}
		if c, ok := h.collector(p.Provider); ok {
			e.first = c.Caps().FirstLook
		}
		_, err := h.happen(ctx, p.ID, e)
		return err
	}
	candidate := ""
	if p.ProviderRef == "" {
		// Nothing but a callback may say what it is called there, and the
		// provider may not have answered then. They come in turn, since anybody
		// may have named one.
		err := h.store.Read(ctx, func(tx Tx) error {
			names, err := named(tx, p.ID)
			if names = append(names, ""); err == nil {
				candidate = names[p.Looks%len(names)]
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	_, err := h.ask(ctx, p, event{candidate: candidate})
	return err
}

// runPayments sweeps every second, until ctx is over.
func (h *Hub) runPayments(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := h.SweepPayments(ctx); err != nil && ctx.Err() == nil {
			h.log.Error("sweeping payments", "err", err)
		}
	}
}

// Look asks the provider now, if it was not asked a moment ago, and returns the
// payment as it is then.
func (h *Hub) Look(ctx context.Context, by Actor, id string) (p Payment, err error) {
	err = h.store.Read(ctx, func(tx Tx) error {
		p, err = h.paymentFor(tx, by, id)
		return err
	})
	if err != nil || p.State == PaymentSubmitting || !h.money.heed(p.ID, h.now()) {
		return p, err
	}
	return h.ask(ctx, p, event{})
}

// AcceptReview takes the money that came for a payment as its price. Admins
// only.
func (h *Hub) AcceptReview(ctx context.Context, by Actor, id, reason string) (Payment, error) {
	return h.decide(ctx, by, id, event{what: evAccepted, reason: reason}, func(p Payment) error {
		if p.second() {
			return invalid("nobody could use it: reject it, and issue a grant by hand")
		}
		if p.Paid.Amount == 0 || p.Paid.Currency != p.Price.Currency {
			return invalid("what was paid is not known, or not in %s: reject it, and issue a grant by hand", p.Price.Currency)
		}
		return nil
	})
}

// RejectReview has the money that came go back: the payment is refunding then.
// Without money it failed. Admins only.
func (h *Hub) RejectReview(ctx context.Context, by Actor, id, reason string) (Payment, error) {
	return h.decide(ctx, by, id, event{what: evRejected, reason: reason}, func(Payment) error { return nil })
}

// decide takes what a person decides about a payment in review.
func (h *Hub) decide(ctx context.Context, by Actor, id string, e event, check func(Payment) error) (Payment, error) {
	if by.Role != RoleAdmin {
		return Payment{}, ErrForbidden
	}
	if e.reason == "" || len(e.reason) > 300 {
		return Payment{}, invalid("say why, in 1 to 300 letters")
	}
	c := &change{id: id, event: e}
	err := h.store.Write(ctx, func(tx Tx) error {
		p, err := tx.Payment(id)
		if err != nil {
			return err
		}
		if p.State != PaymentReview {
			return invalid("the payment is %s: nothing is to be decided", p.State)
		}
		if err := check(p); err != nil {
			return err
		}
		c.event.at = h.at()
		if err := h.applyChanges(tx, []*change{c}); err != nil {
			return err
		}
		what := map[eventKind]string{evAccepted: "payment.accept", evRejected: "payment.reject"}[e.what]
		return h.note(tx, by, what, id, e.reason)
	})
	if err != nil {
		return Payment{}, err
	}
	return c.payment, nil
}
