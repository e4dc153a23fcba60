package hub

import (
	"slices"
	"time"

	"zonegate"
)

// moves are where a payment can go from each state. What is not here does not
// happen, whatever is heard.
var moves = map[PaymentState][]PaymentState{
	PaymentSubmitting: {PaymentPending, PaymentSucceeded, PaymentFailed, PaymentCanceled, PaymentReview, PaymentRefunded},
	PaymentPending:    {PaymentSucceeded, PaymentFailed, PaymentExpired, PaymentCanceled, PaymentReview, PaymentRefunded},
	PaymentFailed:     {PaymentSucceeded, PaymentReview, PaymentRefunded},
	PaymentExpired:    {PaymentSucceeded, PaymentFailed, PaymentCanceled, PaymentReview, PaymentRefunded},
	PaymentCanceled:   {PaymentSucceeded, PaymentReview, PaymentRefunded},
	PaymentReview:     {PaymentSucceeded, PaymentFailed, PaymentRefunding, PaymentRefunded},
	PaymentSucceeded:  {PaymentRefunding, PaymentRefunded},
	PaymentRefunding:  {PaymentRefunded, PaymentSucceeded, PaymentReview},
	PaymentRefunded:   nil,
}

// can says whether the table has a move.
func (s PaymentState) can(to PaymentState) bool { return slices.Contains(moves[s], to) }

// Times of a payment, from when it was made.
const (
	lookEvery   = 20 * time.Second // at least, between two lookups
	missedAfter = 15 * time.Minute // not found is pending until then
	expireAfter = 2 * time.Hour
	watchFor    = 72 * time.Hour // then the provider's statement decides
	// minLooks keeps a clock that jumps from ending the watch early: there are
	// more in three days.
	minLooks = 12
)

// An event is what happened to a payment.
type event struct {
	what eventKind
	at   time.Time
	// spread (0 to 999) moves the next lookup, so that they do not come all at
	// once.
	spread  int64
	first   time.Duration // Caps.FirstLook
	started Started
	seen    Observation
	// candidate is the provider's id that the lookup was made with, where a
	// callback named another one than is known.
	candidate string
	// aside says that the lookup was not the one that was due: it moves the due
	// one nowhere, or whoever calls back often could keep it away.
	aside bool
	// unclaimed says that nobody could use a grant of it.
	unclaimed bool
	// taken says that the provider's id belongs to another payment.
	taken bool
	// until is when a provider that is away is asked again.
	until  time.Time
	reason string
}

type eventKind int

const (
	evStarted  eventKind = iota // the provider has it
	evRefused                   // the provider will not have it
	evUnsent                    // it did not get there; once more, with the next reference
	evGivenUp                   // it did not get there
	evLost                      // nobody knows whether it got there
	evSeen                      // the provider was asked
	evBlind                     // the provider was asked and did not answer
	evAccepted                  // a person takes what came
	evRejected                  // a person wants it to go back
)

// An effect is what has to be written together with a move.
type effect int

const (
	nothing  effect = iota
	settle          // grant, split, sale and push
	hold            // the money is here and nobody's
	accept          // settle, of money that is held
	giveBack        // held money goes to the customer
	reverse         // the provider took it back
)

// next is the one place where a payment changes its state.
func (p Payment) next(e event) (Payment, effect) {
	was := p.State
	what := p.take(e)
	if p.State != was {
		if !was.can(p.State) {
			panic("payment " + p.ID + " would go from " + string(was) + " to " + string(p.State))
		}
		p.Changed = e.at
	}
	return p, what
}

// take changes p.
func (p *Payment) take(e event) effect {
	// What the initiate said counts while nothing better is known.
	open := p.State == PaymentSubmitting || p.State == PaymentPending && p.Unsure
	switch e.what {
	case evStarted:
		if p.ProviderRef == "" && !e.taken {
			p.ProviderRef = e.started.ProviderRef
		}
		if p.URL == "" {
			p.URL = e.started.URL
		}
		if !open {
			return nothing
		}
		p.State, p.Unsure = PaymentPending, e.taken
		if p.Reason = e.started.Hint; e.taken {
			p.Reason = "the provider gave it the number of another payment"
		}
		p.NextLook = e.at.Add(max(e.first, time.Second))
	case evRefused, evGivenUp:
		if open {
			p.State, p.Unsure, p.Reason, p.NextLook = PaymentFailed, false, e.reason, time.Time{}
		}
	case evUnsent:
		if p.State == PaymentSubmitting {
			p.Attempt++
			p.Reference = reference(p.seed(), p.Attempt)
		}
	case evLost:
		if p.ProviderRef == "" && !e.taken {
			p.ProviderRef = e.started.ProviderRef
		}
		if p.State == PaymentSubmitting {
			p.State, p.Unsure = PaymentPending, true
			p.NextLook = later(e.at, p.Made.Add(e.first))
		}
	case evBlind:
		if e.aside {
			return nothing
		}
		p.Looks++
		if p.age(e.at) > watchFor && p.State == PaymentPending {
			p.State = PaymentExpired
		}
		p.NextLook = p.lookAfter(e)
		if !p.NextLook.IsZero() {
			p.NextLook = later(p.NextLook, e.until)
		}
	case evSeen:
		if e.aside {
			before := *p
			what := p.see(e)
			if p.State != before.State || p.ProviderRef != before.ProviderRef {
				p.NextLook = p.lookAfter(e)
			}
			return what
		}
		p.Looks++
		what := p.see(e)
		p.NextLook = p.lookAfter(e)
		return what
	case evAccepted:
		if p.State == PaymentReview {
			p.State, p.Reason, p.NextLook = PaymentSucceeded, e.reason, time.Time{}
			return accept
		}
	case evRejected:
		if p.State != PaymentReview {
			return nothing
		}
		p.Reason, p.NextLook = e.reason, time.Time{}
		if p.Paid.Amount == 0 {
			p.State = PaymentFailed
			return nothing
		}
		p.State = PaymentRefunding
		return giveBack
	}
	return nothing
}

// see takes what a lookup showed.
func (p *Payment) see(e event) effect {
	o := e.seen
	// What a callback named is believed only if the provider says that it is
	// ours.
	fresh := p.State.can(PaymentReview) && p.State != PaymentRefunding
	if e.candidate != "" {
		if !o.ours(*p) {
			return nothing
		}
		if o.ProviderRef == "" {
			o.ProviderRef = e.candidate
		}
		// On a provider's page a customer can fail and then pay: each has a
		// number. The one with the money is what counts.
		if p.ProviderRef != "" && o.State == PaymentSucceeded && fresh && !e.taken {
			p.ProviderRef = o.ProviderRef
		}
		if p.ProviderRef != "" && p.ProviderRef != o.ProviderRef {
			return nothing
		}
	}
	strange := ""
	switch {
	case !o.Found:
		o = Observation{State: PaymentPending}
	case o.Reference != "" && o.Reference != p.Reference:
		strange = "the provider shows another reference for it"
	case o.ProviderRef != "" && p.ProviderRef != "" && o.ProviderRef != p.ProviderRef:
		strange = "the provider shows another number for it"
	case e.taken:
		strange = "the provider's number for it belongs to another payment"
	default:
		if p.ProviderRef == "" {
			p.ProviderRef = o.ProviderRef
		}
		p.Unsure = false
	}
	switch {
	case o.State == PaymentSucceeded && fresh:
		return p.paid(o, strange, e.unclaimed)
	case strange != "":
		return nothing
	case (o.State == PaymentFailed || o.State == PaymentCanceled) && p.State.can(o.State) && p.State != PaymentReview:
		p.State, p.Reason = o.State, o.Reason
	case o.State == PaymentRefunded && fresh:
		p.State, p.Reason = PaymentRefunded, "the provider gave the money back"
	case o.State == PaymentRefunded && (p.State == PaymentSucceeded || p.State == PaymentReview):
		p.State, p.Reason = PaymentRefunded, "the provider took the money back"
		return reverse
	case p.State == PaymentPending && (p.age(e.at) >= expireAfter || !o.Found && p.age(e.at) >= missedAfter):
		p.State = PaymentExpired
	}
	return nothing
}

// ours says whether the provider shows it under the payment's reference.
func (o Observation) ours(p Payment) bool { return o.Found && o.Reference == p.Reference }

// paid decides on money that came.
func (p *Payment) paid(o Observation, strange string, unclaimed bool) effect {
	p.NextLook = time.Time{}
	if strange != "" {
		p.State, p.Reason = PaymentReview, strange
		return nothing
	}
	p.Paid, p.CustomerPaid, p.ProviderFee = o.Amount, o.CustomerAmount, clip(o.Fee, 40)
	switch {
	case o.Amount.Amount <= 0 || o.Amount.Amount > maxPosting || currency(o.Amount.Currency) != nil:
		p.Paid, p.CustomerPaid = zonegate.Money{}, zonegate.Money{}
		p.State, p.Reason = PaymentReview, "the provider does not say what was paid"
		return nothing
	case o.Amount.Currency != p.Price.Currency:
		p.State, p.Reason = PaymentReview, "paid in another currency"
		return hold
	case o.Amount.Amount < p.Price.Amount:
		p.State, p.Reason = PaymentReview, "less than the price was paid"
		return hold
	}
	if unclaimed {
		p.State, p.Reason = PaymentReview, "paid a second time, by a customer who is not known"
		return hold
	}
	p.State, p.Reason, p.Unsure = PaymentSucceeded, "", false
	return settle
}

// age is how long ago it was made; a clock that was put back makes it new.
func (p *Payment) age(at time.Time) time.Duration { return max(0, at.Sub(p.Made)) }

// lookAfter is when the provider is asked next: often while the customer
// waits, ever more seldom when only late money could still come.
func (p *Payment) lookAfter(e event) time.Time {
	age := p.age(e.at)
	var wait time.Duration
	switch p.State {
	case PaymentSubmitting:
		return p.NextLook
	case PaymentPending:
		wait = min(max(age/10, lookEvery), 2*time.Minute)
	case PaymentExpired, PaymentFailed, PaymentCanceled:
		wait = min(max(age/4, 5*time.Minute), 6*time.Hour)
	default:
		return time.Time{}
	}
	if age > watchFor && p.Looks >= minLooks {
		return time.Time{}
	}
	return e.at.Add(wait + wait/4000*time.Duration(e.spread))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
