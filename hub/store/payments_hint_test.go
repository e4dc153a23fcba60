package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

// byNumber is a provider that finds payments by its own number alone: all are
// paid that paid names, and belong to p.
func byNumber(p func() hub.Payment, paid ...string) func(hub.Payment) (hub.Observation, error) {
	return func(q hub.Payment) (hub.Observation, error) {
		for _, n := range paid {
			if q.ProviderRef == n {
				return hub.Observation{Found: true, State: hub.PaymentSucceeded, Amount: q.Price, Reference: p().Reference, ProviderRef: n}, nil
			}
		}
		return hub.Observation{State: hub.PaymentPending}, nil
	}
}

// TestLostAnswerWithNumber: the number that came before the answer was lost is
// the only way to find the money.
func TestLostAnswerWithNumber(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		s.till.start = func(hub.Charge) (hub.Started, error) {
			return hub.Started{}, &hub.AmbiguousError{ProviderRef: "token-1", Err: errors.New("the connection was cut")}
		}
		p := s.payment(s.start(s.intent()).TransactionID)
		if p.State != hub.PaymentPending || !p.Unsure || p.ProviderRef != "token-1" {
			t.Fatalf("it is %s, unsure %v, number %q", p.State, p.Unsure, p.ProviderRef)
		}
		s.till.look = byNumber(func() hub.Payment { return p }, "token-1")
		s.later(26 * time.Second)
		s.state(p.ID, hub.PaymentSucceeded)
		// The number of another payment is not taken over.
		q := s.payment(s.start(s.intent()).TransactionID)
		if q.State != hub.PaymentPending || !q.Unsure || q.ProviderRef != "" {
			t.Errorf("the second is %s, unsure %v, number %q", q.State, q.Unsure, q.ProviderRef)
		}
	})
}

// TestNumberToldOnce: a provider that tells its number in one callback alone
// may not answer at that moment, or may have called back often before.
func TestNumberToldOnce(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		var p hub.Payment
		s.till.start = func(hub.Charge) (hub.Started, error) { return hub.Started{URL: "https://pay.example/"}, nil }
		s.till.look = func(hub.Payment) (hub.Observation, error) { return hub.Observation{}, errors.New("502") }
		p = s.payment(s.start(s.intent()).TransactionID)
		s.ok(s.TakeHint(s.ctx, "till", hub.Hint{Reference: p.Reference, ProviderRef: "told once"}))
		s.till.look = byNumber(func() hub.Payment { return p }, "told once")
		for range 10 {
			s.later(30 * time.Second)
		}
		if got := s.state(p.ID, hub.PaymentSucceeded); got.ProviderRef != "told once" {
			t.Errorf("the number is %q", got.ProviderRef)
		}

		// The hub dies after its answer to the callback: the provider does not
		// say it again.
		p = s.payment(s.start(s.intent()).TransactionID)
		s.till.look = byNumber(func() hub.Payment { return p }, "before the crash")
		_, err := s.HearHint(s.ctx, "till", hub.Hint{Reference: p.Reference, ProviderRef: "before the crash"})
		s.ok(err)
		for range 10 {
			s.later(30 * time.Second)
		}
		s.state(p.ID, hub.PaymentSucceeded)

		p = s.payment(s.start(s.intent()).TransactionID)
		s.till.look = byNumber(func() hub.Payment { return p }, "the seventh")
		for _, n := range []string{"a first", "a second", "a third", "a fourth", "a fifth", "a sixth", "the seventh"} {
			s.ok(s.TakeHint(s.ctx, "till", hub.Hint{Reference: p.Reference, ProviderRef: n}))
		}
		s.state(p.ID, hub.PaymentSucceeded)

		// Nobody fills the database with numbers, nor keeps a payment from its end.
		p = s.payment(s.start(s.intent()).TransactionID)
		for i := range 300 {
			s.ok(s.TakeHint(s.ctx, "till", hub.Hint{Reference: p.Reference, ProviderRef: fmt.Sprint("forged ", i)}))
		}
		_, said, err := s.PaymentHistory(s.ctx, s.admin, p.ID)
		if s.ok(err); len(said) > 25 {
			t.Errorf("%d were kept", len(said))
		}
		for range 80 {
			s.later(2 * time.Minute)
		}
		s.state(p.ID, hub.PaymentExpired)
	})
}

// TestForgedHints: whoever knows a reference can name any number. That neither
// makes the provider one that is away, nor keeps the due lookup away.
func TestForgedHints(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		p := s.payment(s.start(s.intent()).TransactionID)
		s.till.look = func(q hub.Payment) (hub.Observation, error) {
			if q.ProviderRef != p.ProviderRef {
				return hub.Observation{}, errors.New("404 without a body")
			}
			return hub.Observation{Found: true, State: hub.PaymentSucceeded, Amount: q.Price, Reference: p.Reference, ProviderRef: q.ProviderRef}, nil
		}
		forge := func() { s.ok(s.TakeHint(s.ctx, "till", hub.Hint{Reference: p.Reference, ProviderRef: "forged"})) }
		for range 4 {
			forge()
		}
		s.clock.pass(20 * time.Second)
		forge()
		if q := s.start(s.intent()); q.Status != "pending" {
			t.Errorf("another payment is %+v", q)
		}
		for range 10 {
			forge()
			s.later(6 * time.Second)
		}
		s.state(p.ID, hub.PaymentSucceeded)
	})
}

// TestNumberWrittenInAnotherWay: a provider that finds a payment by the
// beginning of its number, or in other letters, has not been paid twice.
func TestNumberWrittenInAnotherWay(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		p := s.payment(s.start(s.intent()).TransactionID)
		s.till.start = func(hub.Charge) (hub.Started, error) { return hub.Started{ProviderRef: "ABCDEFGH-12345678"}, nil }
		p = s.payment(s.start(s.intent()).TransactionID)
		s.till.look = func(q hub.Payment) (hub.Observation, error) {
			return hub.Observation{Found: true, State: hub.PaymentSucceeded, Amount: q.Price, Reference: p.Reference, ProviderRef: q.ProviderRef}, nil
		}
		s.hint(p)
		for _, n := range []string{"ABCDEFGH", "ABCDEFGH-1234", "abcdefgh-12345678", "ABCDEFGH-12345678-9"} {
			s.clock.pass(time.Minute)
			s.ok(s.TakeHint(s.ctx, "till", hub.Hint{Reference: p.Reference, ProviderRef: n}))
		}
		if g := s.grants(); len(g) != 1 {
			t.Errorf("one payment gave %d grants", len(g))
		}
		s.wantBalances(s.sold(1))
	})
}

// TestAmountBeyond: an amount that no ledger holds is for a person, and does
// not keep the payment open for ever.
func TestAmountBeyond(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		p := s.payment(s.start(s.intent()).TransactionID)
		s.till.becomes(hub.PaymentSucceeded, 1<<60, "XOF")
		s.later(26 * time.Second)
		if got := s.state(p.ID, hub.PaymentReview); got.Paid.Amount != 0 {
			t.Errorf("paid: %+v", got.Paid)
		}
	})
}

// TestAcceptNobodys: money of nobody who is known cannot be taken as the price
// of something.
func TestAcceptNobodys(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		q := s.intent()
		q.Device = ""
		p := s.payment(s.start(q).TransactionID)
		s.till.becomes(hub.PaymentSucceeded, 500, "XOF")
		s.hint(p)
		s.till.look = byNumber(func() hub.Payment { return p }, "again")
		s.ok(s.TakeHint(s.ctx, "till", hub.Hint{Reference: p.Reference, ProviderRef: "again"}))
		twice := must(s.Payments(s.ctx, s.admin, hub.PaymentQuery{State: hub.PaymentReview}))(t)
		if len(twice) != 1 {
			t.Fatalf("to decide on: %+v", twice)
		}
		_, err := s.AcceptReview(s.ctx, s.admin, twice[0].ID, "why not")
		wantErr(t, "accepting it", err, new(hub.InputError))
		must(s.RejectReview(s.ctx, s.admin, twice[0].ID, "he paid twice"))(t)
		s.state(twice[0].ID, hub.PaymentRefunding)
	})
}

// TestAcceptedForInitiate: who collects by the documented API gives out what
// was bought if the price came, so what a person took for it is the price.
func TestAcceptedForInitiate(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		s.till.flow = hub.FlowRedirect
		by := hub.Actor{User: "u", Name: "kofi", Role: hub.RoleReseller, Reseller: s.reseller.ID}
		started := must(s.Initiate(s.ctx, by, api.Initiate{ForfaitID: s.forfait.Plan.ID, Provider: "MTN_MOMO"}))(t)
		s.till.becomes(hub.PaymentSucceeded, 480, "XOF")
		s.later(26 * time.Second)
		s.state(started.TransactionID, hub.PaymentReview)
		must(s.AcceptReview(s.ctx, s.admin, started.TransactionID, "a fee was taken off"))(t)
		if got := must(s.PaymentStatus(s.ctx, by, started.TransactionID))(t); got.Status != "completed" || got.AmountFCFA != 500 {
			t.Errorf("it is %+v", got)
		}
	})
}
