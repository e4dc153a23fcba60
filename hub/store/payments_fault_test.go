package store_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/sync/api"
)

// TestStartsThatFail: what a provider says to an initiate, and what it does
// not.
func TestStartsThatFail(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		s.till.start = func(hub.Charge) (hub.Started, error) {
			return hub.Started{}, &hub.RejectedError{Reason: "no such number"}
		}
		p := s.start(s.intent())
		if p.Status != "failed" || p.Reason != "no such number" {
			t.Errorf("refused: %+v", p)
		}
		// One that never gets there is tried twice, each time with its own
		// reference.
		var used []string
		s.till.start = func(c hub.Charge) (hub.Started, error) {
			used = append(used, c.Reference)
			return hub.Started{}, fmt.Errorf("dialing: %w", hub.ErrNotSent)
		}
		p = s.start(s.intent())
		if p.Status != "failed" || len(used) != 2 || used[0] == used[1] || s.payment(p.TransactionID).Attempt != 2 {
			t.Errorf("never sent: %+v after %v", p, used)
		}
		s.till.start = func(c hub.Charge) (hub.Started, error) {
			if strings.HasSuffix(c.Reference, "1") {
				return hub.Started{}, hub.ErrNotSent
			}
			return s.till.charge(c), nil
		}
		p = s.start(s.intent())
		if x := s.state(p.TransactionID, hub.PaymentPending); x.Attempt != 2 || x.Unsure {
			t.Errorf("sent the second time: %+v", x)
		}
		// The answer is lost: nobody says that it failed, and it is found by
		// the reference.
		s.till.start = func(c hub.Charge) (hub.Started, error) {
			s.till.charge(c)
			return hub.Started{}, errors.New("reading the answer: connection reset")
		}
		q := s.intent()
		p = s.start(q)
		if x := s.state(p.TransactionID, hub.PaymentPending); !x.Unsure || x.ProviderRef != "" || p.Status != "pending" {
			t.Errorf("a lost answer: %+v", x)
		}
		s.till.becomes(hub.PaymentSucceeded, 500, "XOF")
		sent := s.till.sent
		for range 5 {
			s.start(q)
			s.later(30 * time.Second)
		}
		if x := s.state(p.TransactionID, hub.PaymentSucceeded); x.Unsure || x.ProviderRef == "" || s.till.sent != sent {
			t.Errorf("found as %+v", x)
		}
		if len(s.grants()) != 2 { // this one, and the one that was sent twice
			t.Errorf("%d grants", len(s.grants()))
		}
		s.wantBalances(s.sold(2))
	})
}

// TestMoneyThatIsWrong: less, more, another currency, another reference.
func TestMoneyThatIsWrong(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		reseller := hub.Actor{Role: hub.RoleReseller, Reseller: s.reseller.ID}
		paid := func(amount int64, currency string) hub.Payment {
			p := s.start(s.intent())
			s.till.becomes(hub.PaymentSucceeded, amount, currency)
			s.later(30 * time.Second)
			x := s.payment(p.TransactionID)
			s.till.charges = map[string]*charge{}
			return x
		}
		short := paid(499, "XOF")
		if s.state(short.ID, hub.PaymentReview); len(s.grants()) != 0 {
			t.Error("a grant for less than its price")
		}
		s.wantBalances(map[string]int64{"provider/till XOF": 499, "review/till XOF": -499})
		if got := must(s.PaymentOf(s.ctx, s.box.Gateway, short.Intent))(t); got.Status != "pending" || got.Reason == "" {
			t.Errorf("the gateway hears %+v", got)
		}
		if _, err := s.AcceptReview(s.ctx, reseller, short.ID, "please"); !errors.Is(err, hub.ErrForbidden) {
			t.Errorf("a reseller accepts: %v", err)
		}
		must(s.AcceptReview(s.ctx, s.admin, short.ID, "a gift"))(t)
		s.state(short.ID, hub.PaymentSucceeded)
		// 499: the fee is 7, the rest 492 is halved.
		s.wantBalances(map[string]int64{"provider/till XOF": 499, "fee/till XOF": -7, "reseller/" + s.reseller.ID + " XOF": -246, "party/rgz XOF": -246})
		if len(s.grants()) != 1 {
			t.Error("accepted, and no grant")
		}
		var input *hub.InputError
		if _, err := s.AcceptReview(s.ctx, s.admin, short.ID, "twice"); !errors.As(err, &input) {
			t.Errorf("accepted twice: %v", err)
		}
		before := s.balances()

		foreign := paid(500, "CDF")
		s.state(foreign.ID, hub.PaymentReview)
		if _, err := s.AcceptReview(s.ctx, s.admin, foreign.ID, "all right"); !errors.As(err, &input) {
			t.Errorf("francs of Congo for francs CFA: %v", err)
		}
		must(s.RejectReview(s.ctx, s.admin, foreign.ID, "not our money"))(t)
		s.state(foreign.ID, hub.PaymentRefunding)
		before["provider/till CDF"], before["refund/till CDF"] = 500, -500
		s.wantBalances(before)

		over := paid(620, "XOF")
		s.state(over.ID, hub.PaymentSucceeded)
		before["provider/till XOF"] += 620
		before["surplus/till XOF"] -= 120
		before["fee/till XOF"] -= 7
		before["reseller/"+s.reseller.ID+" XOF"] -= 246
		before["party/rgz XOF"] -= 247
		s.wantBalances(before)
		if len(s.grants()) != 2 {
			t.Error("paid more, and no grant")
		}

		s.till.look = func(p hub.Payment) (hub.Observation, error) {
			return hub.Observation{Found: true, State: hub.PaymentSucceeded, Amount: p.Price, Reference: "SOMEBODYELSES"}, nil
		}
		strange := s.start(s.intent())
		s.later(30 * time.Second)
		s.state(strange.TransactionID, hub.PaymentReview)
		if _, err := s.AcceptReview(s.ctx, s.admin, strange.TransactionID, "all right"); !errors.As(err, &input) {
			t.Errorf("money of another payment: %v", err)
		}
		must(s.RejectReview(s.ctx, s.admin, strange.TransactionID, "it is another's"))(t)
		s.state(strange.TransactionID, hub.PaymentFailed)
		s.wantBalances(before)
	})
}

// TestLateMoney: what was given up is revived, and what is lost at last is
// asked for ever more seldom, for three days.
func TestLateMoney(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		for i, end := range []hub.PaymentState{hub.PaymentFailed, hub.PaymentCanceled, hub.PaymentExpired} {
			p := s.start(s.intent())
			if end == hub.PaymentExpired {
				for range 20 {
					s.later(7 * time.Minute)
				}
			} else {
				s.till.becomes(end, 0, "")
				s.later(30 * time.Second)
			}
			x := s.state(p.TransactionID, end)
			if x.NextLook.IsZero() {
				t.Errorf("%s is forgotten", end)
			}
			s.till.becomes(hub.PaymentSucceeded, 500, "XOF")
			if i == 0 {
				s.hint(x)
			} else {
				s.later(8 * time.Hour)
			}
			s.state(p.TransactionID, hub.PaymentSucceeded)
			s.till.charges = map[string]*charge{}
		}
		s.wantBalances(s.sold(3))
		if len(s.grants()) != 3 {
			t.Errorf("%d grants", len(s.grants()))
		}
		// One that the provider does not know: pending for 15 minutes.
		p := s.start(s.intent())
		s.till.charges = map[string]*charge{}
		looks := s.till.looks
		for range 14 {
			s.later(time.Minute)
		}
		s.state(p.TransactionID, hub.PaymentPending)
		for range 3 {
			s.later(time.Minute)
		}
		s.state(p.TransactionID, hub.PaymentExpired)
		for range 82 * 12 {
			s.later(5 * time.Minute)
		}
		if n := s.till.looks - looks; n < 20 || n > 70 || !s.payment(p.TransactionID).NextLook.IsZero() {
			t.Errorf("asked %d times in three days; next %v", n, s.payment(p.TransactionID).NextLook)
		}
		for id, times := range s.till.lookedAt {
			for i := 1; i < len(times); i++ {
				if gap := times[i].Sub(times[i-1]); gap < 20*time.Second && gap > 0 {
					t.Errorf("%s was asked about after %v", id, gap)
				}
			}
		}
	})
}

// TestHints: callbacks that come before the answer, twice, for nothing, or
// forged.
func TestHints(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		// The customer is quicker than the provider's answer.
		s.till.start = func(c hub.Charge) (hub.Started, error) {
			started := s.till.charge(c)
			s.till.charges[c.Reference].state = hub.PaymentSucceeded
			s.till.mu.Unlock()
			defer s.till.mu.Lock()
			for range 3 {
				s.ok(s.TakeHint(s.ctx, "till", hub.Hint{Reference: c.Reference}))
			}
			return started, nil
		}
		p := s.start(s.intent())
		x := s.state(p.TransactionID, hub.PaymentSucceeded)
		if p.Status != "completed" || x.ProviderRef != "n1" || len(s.grants()) != 1 {
			t.Errorf("paid at once: %+v", p)
		}
		s.till.start = nil
		a, b := s.start(s.intent()), s.start(s.intent())
		pa, pb := s.payment(a.TransactionID), s.payment(b.TransactionID)
		looks := s.till.looks
		for _, forged := range []hub.Hint{{}, {Reference: "NOTHING"}, {ProviderRef: "NOTHING"}, {Reference: "NOTHING", ProviderRef: "NOTHING"}, {Reference: "\x00"}, {ProviderRef: "\xff"},
			{Reference: strings.Repeat("x", 1000)}} {
			if err := s.TakeHint(s.ctx, "till", forged); !errors.Is(err, hub.ErrNotFound) {
				t.Errorf("%+v: %v", forged, err)
			}
		}
		if err := s.TakeHint(s.ctx, "another", hub.Hint{Reference: pa.Reference}); !errors.Is(err, hub.ErrNotFound) {
			t.Errorf("of another provider: %v", err)
		}
		if s.till.looks != looks {
			t.Error("a callback about nothing asked the provider")
		}
		// One that names the paid transaction of another payment.
		s.till.charges[pb.Reference].state = hub.PaymentSucceeded
		s.ok(s.TakeHint(s.ctx, "till", hub.Hint{Reference: pa.Reference, ProviderRef: pb.ProviderRef}))
		s.state(pa.ID, hub.PaymentPending)
		s.state(pb.ID, hub.PaymentPending)
		s.till.start = func(c hub.Charge) (hub.Started, error) {
			s.till.charge(c)
			return hub.Started{}, hub.ErrAmbiguous
		}
		lost := s.payment(s.start(s.intent()).TransactionID)
		s.ok(s.TakeHint(s.ctx, "till", hub.Hint{Reference: lost.Reference, ProviderRef: pb.ProviderRef}))
		if x := s.state(lost.ID, hub.PaymentPending); x.ProviderRef != "" {
			t.Errorf("it took the number %s", x.ProviderRef)
		}
		s.hint(pb)
		s.state(pb.ID, hub.PaymentSucceeded)
		// A true one gives the number that was lost.
		s.till.charges[lost.Reference].state = hub.PaymentSucceeded
		s.ok(s.TakeHint(s.ctx, "till", hub.Hint{Reference: lost.Reference, ProviderRef: s.till.charges[lost.Reference].number}))
		s.state(lost.ID, hub.PaymentSucceeded)
		s.wantBalances(s.sold(3))
		// A flood.
		looks = s.till.looks
		before := s.count("observations")
		for range 500 {
			s.hint(pa)
		}
		if n := s.till.looks - looks; n > 4 {
			t.Errorf("500 callbacks made %d lookups", n)
		}
		if n := s.count("observations") - before; n > 8 {
			t.Errorf("500 callbacks left %d observations", n)
		}
		if x := s.payment(pa.ID); x.NextLook.After(s.clock.Now().Add(30 * time.Second)) {
			t.Errorf("after a flood it is looked up at %v", x.NextLook)
		}
	})
}

// TestProviderAway: errors in a row leave a provider alone for a minute, say so
// to gateways, and start nothing; the money of then is found afterwards.
func TestProviderAway(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		beat := func() []api.Channel {
			return must(s.Heartbeat(s.ctx, s.box.Gateway, api.Heartbeat{Instance: s.box.instance, Boot: "b", Nonce: "AAAAAAAAAAAAAAAAAAAAAA=="}))(t).Channels
		}
		if c := beat(); len(c) != 1 || fmt.Sprint(c[0]) != fmt.Sprint(api.Channel{ID: "MTN_MOMO", Name: "MTN MoMo", Flow: "push", Country: "BJ", Currency: "XOF"}) {
			t.Errorf("channels: %+v", c)
		}
		if c := s.Channels("CDF"); len(c) != 0 {
			t.Errorf("channels in another currency: %+v", c)
		}
		var ids []string
		for range 6 {
			ids = append(ids, s.start(s.intent()).TransactionID)
		}
		s.till.becomes(hub.PaymentSucceeded, 500, "XOF")
		s.till.look = func(hub.Payment) (hub.Observation, error) { return hub.Observation{}, errors.New("502") }
		s.later(26 * time.Second)
		if c := beat(); len(c) != 1 || c[0].Away == "" {
			t.Errorf("channels: %+v", c)
		}
		looks, sent := s.till.looks, s.till.sent
		q := s.intent()
		if p := s.start(q); p.Status != "failed" || s.till.sent != sent {
			t.Errorf("started while the provider is away: %+v", p)
		}
		s.later(30 * time.Second)
		if s.till.looks != looks {
			t.Error("asked while it is away")
		}
		for _, id := range ids {
			s.state(id, hub.PaymentPending)
		}
		s.till.look = nil
		s.later(2 * time.Minute)
		s.later(2 * time.Minute)
		for _, id := range ids {
			s.state(id, hub.PaymentSucceeded)
		}
		if c := beat(); c[0].Away != "" {
			t.Errorf("channels: %+v", c)
		}
		s.wantBalances(s.sold(6))
	})
}

// TestReversal: the provider takes back what was paid.
func TestReversal(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		p := s.start(s.intent())
		s.till.becomes(hub.PaymentSucceeded, 620, "XOF")
		s.later(26 * time.Second)
		x := s.state(p.TransactionID, hub.PaymentSucceeded)
		var input *hub.InputError
		if err := s.RevokeGrant(s.ctx, s.admin, x.ID, "no"); !errors.As(err, &input) {
			t.Errorf("revoking what was paid for: %v", err)
		}
		s.till.becomes(hub.PaymentRefunded, 620, "XOF")
		s.clock.pass(time.Minute)
		must(s.Look(s.ctx, s.admin, x.ID))(t)
		s.state(x.ID, hub.PaymentRefunded)
		s.wantBalances(map[string]int64{})
		ps := s.pushes(s.box, 0)
		if last := ps[len(ps)-1]; last.Kind != api.KindGrantRevoked {
			t.Errorf("pushed: %s", kinds(ps))
		}
	})
}

// TestPart1: a payment in the words of the RGZ API is given out by who asked.
func TestPart1(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		by := hub.Actor{User: "u", Name: "kofi", Role: hub.RoleSeller, Reseller: s.reseller.ID}
		var input *hub.InputError
		if _, err := s.Initiate(s.ctx, by, api.Initiate{ForfaitID: s.forfait.Plan.ID, Provider: "MTN_MOMO"}); !errors.As(err, &input) {
			t.Errorf("a number cannot be given, and it is asked for: %v", err)
		}
		s.till.flow = hub.FlowRedirect
		p := must(s.Initiate(s.ctx, by, api.Initiate{ForfaitID: s.forfait.Plan.ID, Provider: "MTN_MOMO"}))(t)
		if p.PaymentURL != "https://pay.example/n1" || p.TransactionID == "" {
			t.Fatalf("initiated: %+v", p)
		}
		if st := must(s.PaymentStatus(s.ctx, by, p.TransactionID))(t); st != (api.PaymentStatus{Status: "pending", AmountFCFA: 500, Provider: "MTN_MOMO"}) {
			t.Errorf("status: %+v", st)
		}
		if _, err := s.PaymentStatus(s.ctx, hub.Actor{Role: hub.RoleReseller, Reseller: "another"}, p.TransactionID); !errors.Is(err, hub.ErrNotFound) {
			t.Errorf("another reseller's: %v", err)
		}
		s.till.becomes(hub.PaymentSucceeded, 500, "XOF")
		s.later(26 * time.Second)
		if st := must(s.PaymentStatus(s.ctx, by, p.TransactionID))(t); st.Status != "completed" || st.AmountFCFA != 500 {
			t.Errorf("status: %+v", st)
		}
		s.wantBalances(s.sold(1))
		if s.count("grants") != 0 || len(s.grants()) != 0 || s.count("sales") != 1 {
			t.Error("the hub gave it out too")
		}
	})
}

// TestPaidThere: a code that was paid for works at its site, also on a new
// router, and says elsewhere where it does.
func TestPaidThere(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		code := must(zonegate.NewCode(strings.NewReader("some octets that are not at all random")))(t)
		q := s.intent()
		q.Claim = codeKey(t, s.box, code)
		s.start(q)
		s.till.becomes(hub.PaymentSucceeded, 500, "XOF")
		s.later(26 * time.Second)
		elsewhere := s.gateway(s.world.site(s.reseller, "Harbour"), "two")
		_, err := s.Claim(s.ctx, elsewhere.Gateway, api.Claim{Code: code, Device: "02:00:00:00:00:02"})
		if !errors.Is(err, hub.ErrUsed) || !strings.Contains(err.Error(), "Market") {
			t.Errorf("at another site: %v", err)
		}
		rival := s.gateway(s.world.site(s.world.reseller("B", plenty), "Rival"), "three")
		if _, err := s.Claim(s.ctx, rival.Gateway, api.Claim{Code: code, Device: "02:00:00:00:00:02"}); !errors.Is(err, hub.ErrNotFound) {
			t.Errorf("at another reseller's: %v", err)
		}
		s.box = s.gateway(s.site, "another router")
		if g := s.grants(); len(g) != 1 || g[0].Intent != q.IntentID {
			t.Errorf("the new router gets %+v", g)
		}
	})
}

// TestPaidTwice: on a provider's page a customer can pay twice. Each is a
// grant, and each is made once.
func TestPaidTwice(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		p := s.payment(s.start(s.intent()).TransactionID)
		s.till.becomes(hub.PaymentSucceeded, 500, "XOF")
		s.hint(p)
		s.state(p.ID, hub.PaymentSucceeded)
		s.till.look = func(q hub.Payment) (hub.Observation, error) { // also for the page's second number
			return hub.Observation{Found: true, State: hub.PaymentSucceeded, Amount: q.Price, Reference: p.Reference, ProviderRef: q.ProviderRef}, nil
		}
		other := s.other()
		for range 5 {
			s.clock.pass(time.Minute)
			var wg sync.WaitGroup
			for _, x := range []*shop{s, other} {
				wg.Go(func() {
					if err := x.TakeHint(s.ctx, "till", hub.Hint{Reference: p.Reference, ProviderRef: "second"}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		s.wantBalances(s.sold(2))
		g := s.grants()
		if len(g) != 2 || g[0].Grant != p.ID || g[1].Grant == p.ID || g[1].Device != p.Device || len(g[1].Key) != 0 {
			t.Errorf("given: %+v", g)
		}
		// The provider takes the second one back, and that one alone.
		s.till.look = func(q hub.Payment) (hub.Observation, error) {
			o := hub.Observation{Found: true, State: hub.PaymentSucceeded, Amount: q.Price, Reference: p.Reference, ProviderRef: q.ProviderRef}
			if q.ProviderRef == "second" {
				o.State = hub.PaymentRefunded
			}
			return o, nil
		}
		s.clock.pass(time.Minute)
		s.ok(s.TakeHint(s.ctx, "till", hub.Hint{Reference: p.Reference, ProviderRef: "second"}))
		s.state(p.ID, hub.PaymentSucceeded)
		s.state(g[1].Grant, hub.PaymentRefunded)
		s.wantBalances(s.sold(1))
		// One that nobody could use is a person's to decide.
		q := s.intent()
		q.Device = ""
		s.till.look = nil
		p = s.payment(s.start(q).TransactionID)
		s.till.becomes(hub.PaymentSucceeded, 500, "XOF")
		s.hint(p)
		s.till.look = func(q hub.Payment) (hub.Observation, error) {
			return hub.Observation{Found: true, State: hub.PaymentSucceeded, Amount: q.Price, Reference: p.Reference, ProviderRef: q.ProviderRef}, nil
		}
		s.ok(s.TakeHint(s.ctx, "till", hub.Hint{Reference: p.Reference, ProviderRef: "third"}))
		if ps := must(s.Payments(s.ctx, s.admin, hub.PaymentQuery{State: hub.PaymentReview}))(t); len(ps) != 1 || ps[0].ProviderRef != "third" {
			t.Errorf("to decide on: %+v", ps)
		}
		if len(s.grants()) != 3 {
			t.Errorf("%d grants", len(s.grants()))
		}
	})
}

// TestEnrolledAgain: a gateway that was enrolled again goes on with its open
// intents, and charges nobody twice.
func TestEnrolledAgain(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		q := s.intent()
		p := s.start(q)
		s.box = s.gateway(s.site, "one")
		if again := s.start(q); again != p || s.till.sent != 1 {
			t.Errorf("the same intent is %+v and %+v, charged %d times", p, again, s.till.sent)
		}
		s.till.becomes(hub.PaymentSucceeded, 500, "XOF")
		s.later(26 * time.Second)
		if got := must(s.PaymentOf(s.ctx, s.box.Gateway, q.IntentID))(t); got.Status != "completed" || len(s.grants()) != 1 {
			t.Errorf("it is %+v with %d grants", got, len(s.grants()))
		}
	})
}

// TestClockPutBack: a hub whose clock was wrong for a while forgets no payment.
func TestClockPutBack(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		before := s.start(s.intent())
		s.clock.pass(400 * 24 * time.Hour)
		during := s.start(s.intent())
		s.later(30 * time.Second)
		s.clock.pass(-400 * 24 * time.Hour)
		s.till.becomes(hub.PaymentSucceeded, 500, "XOF")
		for range 3 {
			s.later(3 * time.Hour)
		}
		s.state(during.TransactionID, hub.PaymentSucceeded)
		s.state(before.TransactionID, hub.PaymentSucceeded)
	})
}
