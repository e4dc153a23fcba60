package hub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"zonegate"
)

var states = []PaymentState{PaymentSubmitting, PaymentPending, PaymentSucceeded, PaymentFailed, PaymentExpired, PaymentCanceled,
	PaymentReview, PaymentRefunding, PaymentRefunded}

var made = time.Date(2026, 2, 10, 12, 0, 0, 0, time.UTC)

func aPayment(s PaymentState) Payment {
	p := Payment{ID: "p", Gateway: "g", Intent: "i", Attempt: 1, Provider: "x", State: s, Price: zonegate.Money{Amount: 500, Currency: "XOF"},
		ProviderRef: "77", Looks: 30, Made: made, Changed: made, NextLook: made.Add(time.Minute)}
	p.Reference = reference(p.seed(), 1)
	if s == PaymentReview || s == PaymentRefunding {
		p.Paid = zonegate.Money{Amount: 400, Currency: "XOF"}
	}
	return p
}

// TestEveryObservation holds every state against every state that a provider
// can show, each with what a lookup can look like.
func TestEveryObservation(t *testing.T) {
	const (
		right = iota
		over
		short
		foreign
		silent // no amount
		stranger
		othersRef
		missing
		shapes
	)
	shown := append([]PaymentState{"", "whatever"}, states...)
	for _, from := range states {
		for _, o := range shown {
			for shape := range shapes {
				for _, age := range []time.Duration{-time.Hour, time.Minute, 16 * time.Minute, 3 * time.Hour, 100 * time.Hour} {
					p := aPayment(from)
					x := Observation{Found: true, State: o, Amount: p.Price, Reference: p.Reference, ProviderRef: "77", Reason: "so"}
					switch shape {
					case over:
						x.Amount.Amount = 600
					case short:
						x.Amount.Amount = 499
					case foreign:
						x.Amount.Currency = "CDF"
					case silent:
						x.Amount = zonegate.Money{}
					case stranger:
						x.Reference = "SOMEBODYELSES1"
					case othersRef:
						x.ProviderRef = "78"
					case missing:
						x.Found = false
					}
					after, what := p.next(event{what: evSeen, at: made.Add(age), seen: x})
					want, do := wanted(from, o, shape == right || shape == over, shape == short || shape == foreign,
						shape == stranger || shape == othersRef, shape == missing, age)
					name := fmt.Sprintf("%s, shown %q in shape %d after %v", from, o, shape, age)
					if after.State != want || what != do {
						t.Errorf("%s: %s and effect %d, want %s and %d", name, after.State, what, want, do)
					}
					if after.Reference != p.Reference || after.ProviderRef != "77" || after.Price != p.Price || after.Rev != p.Rev {
						t.Errorf("%s: it is another payment: %+v", name, after)
					}
					if (after.Changed == p.Changed) != (after.State == p.State) {
						t.Errorf("%s: changed at %v", name, after.Changed)
					}
					switch after.State {
					case PaymentSubmitting:
						if after.NextLook != p.NextLook {
							t.Errorf("%s: who starts it is not waited for", name)
						}
					case PaymentPending, PaymentFailed, PaymentExpired, PaymentCanceled:
						gap := after.NextLook.Sub(made.Add(age))
						if age > watchFor && !after.NextLook.IsZero() || age < watchFor && (gap < lookEvery || gap > 8*time.Hour) {
							t.Errorf("%s: asked again after %v", name, gap)
						}
					default:
						if !after.NextLook.IsZero() {
							t.Errorf("%s: asked again", name)
						}
					}
				}
			}
		}
	}
}

// wanted is the rules once more, in other words.
func wanted(from, shown PaymentState, enough, wrong, strange, missing bool, age time.Duration) (PaymentState, effect) {
	unpaid := from == PaymentSubmitting || from == PaymentPending || from == PaymentFailed || from == PaymentExpired || from == PaymentCanceled
	waiting := from == PaymentSubmitting || from == PaymentPending || from == PaymentExpired
	switch {
	case missing:
		if from == PaymentPending && age >= 15*time.Minute {
			return PaymentExpired, nothing
		}
		return from, nothing
	case shown == PaymentSucceeded && unpaid:
		switch {
		case strange:
			return PaymentReview, nothing
		case enough:
			return PaymentSucceeded, settle
		case wrong:
			return PaymentReview, hold
		}
		return PaymentReview, nothing
	case strange:
		return from, nothing
	case shown == PaymentFailed && waiting, shown == PaymentCanceled && waiting:
		return shown, nothing
	case shown == PaymentRefunded && unpaid:
		return PaymentRefunded, nothing
	case shown == PaymentRefunded && (from == PaymentSucceeded || from == PaymentReview):
		return PaymentRefunded, reverse
	case from == PaymentPending && age >= 2*time.Hour:
		return PaymentExpired, nothing
	}
	return from, nothing
}

// TestEveryEvent holds every state against everything else that happens.
func TestEveryEvent(t *testing.T) {
	at := made.Add(10 * time.Second)
	for _, from := range states {
		for _, unsure := range []bool{false, true} {
			p := aPayment(from)
			p.Unsure = unsure
			open := from == PaymentSubmitting || from == PaymentPending && unsure
			state := func(e event) PaymentState {
				e.at = at
				after, what := p.next(e)
				if what != nothing && e.what != evAccepted && e.what != evRejected {
					t.Errorf("%s: event %d has effect %d", from, e.what, what)
				}
				return after.State
			}
			pick := func(yes bool, then PaymentState) PaymentState {
				if yes {
					return then
				}
				return from
			}
			for e, want := range map[eventKind]PaymentState{
				evStarted:  pick(open, PaymentPending),
				evRefused:  pick(open, PaymentFailed),
				evGivenUp:  pick(open, PaymentFailed),
				evUnsent:   from,
				evLost:     pick(from == PaymentSubmitting, PaymentPending),
				evBlind:    from,
				evAccepted: pick(from == PaymentReview, PaymentSucceeded),
				evRejected: pick(from == PaymentReview, PaymentRefunding),
			} {
				if got := state(event{what: e}); got != want {
					t.Errorf("%s (unsure %v) with event %d is %s, want %s", from, unsure, e, got, want)
				}
			}
		}
	}
	p := aPayment(PaymentReview)
	p.Paid = zonegate.Money{}
	if after, what := p.next(event{what: evRejected, at: at}); after.State != PaymentFailed || what != nothing {
		t.Errorf("money that never came went to %s", after.State)
	}
	p = aPayment(PaymentPending)
	if after, _ := p.next(event{what: evBlind, at: made.Add(3 * time.Hour)}); after.State != PaymentPending {
		t.Errorf("a provider that does not answer made it %s", after.State)
	}
	if after, _ := p.next(event{what: evBlind, at: made.Add(73 * time.Hour)}); after.State != PaymentExpired || !after.NextLook.IsZero() {
		t.Errorf("after three days it is %s", after.State)
	}
	p = aPayment(PaymentSubmitting)
	if after, _ := p.next(event{what: evUnsent, at: at}); after.Reference == p.Reference || after.Attempt != 2 || after.Reference[:22] != p.Reference[:22] {
		t.Errorf("the second attempt has the reference %s after %s", after.Reference, p.Reference)
	}
	for seed := range 1000 {
		r := reference(fmt.Sprint(seed), 1+seed%3)
		if len(r) > 25 || strings.Trim(r, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
			t.Fatalf("reference %q", r)
		}
	}
}

// TestEveryMoveIsMeant holds the table against what can be reached at all.
func TestEveryMoveIsMeant(t *testing.T) {
	reached := map[PaymentState]bool{PaymentSubmitting: true}
	for range states {
		for from := range reached {
			for _, to := range moves[from] {
				reached[to] = true
			}
		}
	}
	for _, s := range states {
		if _, ok := moves[s]; !ok || !reached[s] {
			t.Errorf("%s is not in the table, or never reached", s)
		}
	}
	for _, to := range moves[PaymentSucceeded] {
		if to != PaymentRefunding && to != PaymentRefunded {
			t.Errorf("succeeded is left for %s", to)
		}
	}
}

// TestCandidates: what a callback names is believed if the provider says that
// it is ours, and never otherwise.
func TestCandidates(t *testing.T) {
	p := aPayment(PaymentPending)
	p.ProviderRef = ""
	for name, x := range map[string]struct {
		reference string
		want      PaymentState
		ref       string
	}{
		"ours":      {p.Reference, PaymentSucceeded, "99"},
		"another's": {"SOMEBODYELSES1", PaymentPending, ""},
		"nobody's":  {"", PaymentPending, ""},
	} {
		o := Observation{Found: true, State: PaymentSucceeded, Amount: p.Price, Reference: x.reference}
		after, _ := p.next(event{what: evSeen, at: made.Add(time.Minute), seen: o, candidate: "99"})
		if after.State != x.want || after.ProviderRef != x.ref {
			t.Errorf("%s: %s with %q", name, after.State, after.ProviderRef)
		}
	}
	o := Observation{Found: true, State: PaymentSucceeded, Amount: p.Price, Reference: p.Reference}
	// On a page a customer can fail first.
	failed := aPayment(PaymentFailed)
	if after, what := failed.next(event{what: evSeen, at: made.Add(time.Minute), seen: o, candidate: "99"}); after.State != PaymentSucceeded || after.ProviderRef != "99" || what != settle {
		t.Errorf("paid after it failed: %s with %q", after.State, after.ProviderRef)
	}
	o.State = PaymentFailed
	pending := aPayment(PaymentPending)
	if after, _ := pending.next(event{what: evSeen, at: made.Add(time.Minute), seen: o, candidate: "99"}); after.State != PaymentPending || after.ProviderRef != "77" {
		t.Errorf("another try failed: %s with %q", after.State, after.ProviderRef)
	}
	o.State = PaymentSucceeded
	after, what := p.next(event{what: evSeen, at: made.Add(time.Minute), seen: o, candidate: "99", taken: true})
	if after.State != PaymentReview || what != nothing || after.ProviderRef != "" {
		t.Errorf("the money of another payment: %s, effect %d, %q", after.State, what, after.ProviderRef)
	}
}

// TestTakeBack: what goes back comes from whom it went to, to the last franc.
func TestTakeBack(t *testing.T) {
	booked := Transaction{Postings: []Posting{{"provider/x", "XOF", 620}, {"fee/x", "XOF", -7}, {"reseller/r", "XOF", -246},
		{"party/rgz", "XOF", -247}, {"surplus/x", "XOF", -120}}}
	for amount := int64(1); amount <= 620; amount++ {
		var sum int64
		for _, l := range takeBack(booked, "surplus/x", amount) {
			if l.Amount <= 0 {
				t.Fatalf("%d: %+v", amount, l)
			}
			sum += l.Amount
			for _, b := range booked.Postings {
				if b.Account == l.Account && l.Amount > -b.Amount {
					t.Fatalf("%d: %+v of %+v", amount, l, b)
				}
			}
		}
		if sum != amount {
			t.Fatalf("%d are taken for %d", sum, amount)
		}
	}
}

// TestHeeded: a flood of callbacks for one payment makes few questions.
func TestHeeded(t *testing.T) {
	var m money
	now, heeded := made, 0
	for range 3000 { // ten a second, for five minutes
		if m.heed("p", now) {
			heeded++
		}
		now = now.Add(100 * time.Millisecond)
	}
	if heeded < 15 || heeded > hintBurst+15 {
		t.Errorf("%d callbacks of 3000 were heeded", heeded)
	}
	if !m.heed("p", made.Add(-time.Hour)) {
		t.Error("a clock that was put back stops callbacks")
	}
	for i := range maxHinted + 10 {
		m.heed(fmt.Sprint(i), now)
	}
	if len(m.hints) > maxHinted {
		t.Errorf("%d payments are remembered", len(m.hints))
	}
}

// TestAway: a provider is left alone after errors in a row, and then asked
// again.
func TestAway(t *testing.T) {
	var m money
	for i := range awayAfter {
		if m.away("x", made) {
			t.Fatalf("away after %d errors", i)
		}
		m.answered("x", false, made)
	}
	if !m.away("x", made) || m.away("y", made) || m.away("x", made.Add(awayFor)) || m.away("x", made.Add(-24*time.Hour)) {
		t.Error("it is away for another time than a minute")
	}
	m.answered("x", false, made.Add(awayFor))
	if !m.away("x", made.Add(awayFor)) {
		t.Error("the first error afterwards does not count")
	}
	m.answered("x", true, made.Add(awayFor))
	if m.away("x", made.Add(awayFor)) {
		t.Error("an answer does not count")
	}
}
