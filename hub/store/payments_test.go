package store_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/sync/api"
)

// A till is a provider that keeps what is charged and is told what happens.
type till struct {
	mu       sync.Mutex
	charges  map[string]*charge // by reference
	sent     int
	numbers  int
	looks    int
	lookedAt map[string][]time.Time
	now      func() time.Time
	// start and look answer instead, if they are there.
	start func(hub.Charge) (hub.Started, error)
	look  func(hub.Payment) (hub.Observation, error)
	flow  string
}

type charge struct {
	hub.Charge
	number string
	state  hub.PaymentState
	paid   zonegate.Money
}

func newTill(now func() time.Time) *till {
	return &till{charges: map[string]*charge{}, lookedAt: map[string][]time.Time{}, now: now, flow: hub.FlowPush}
}

func (s *till) Caps() hub.Caps {
	return hub.Caps{Country: "BJ", Currencies: []string{"XOF"}, NeedsPhone: s.flow == hub.FlowPush, FirstLook: 25 * time.Second,
		Channels: []hub.ChannelCaps{{ID: "MTN_MOMO", Name: "MTN MoMo", Flow: s.flow}}, Hosts: []string{"pay.example"}}
}

func (s *till) Initiate(_ context.Context, c hub.Charge) (hub.Started, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent++
	if s.start != nil {
		return s.start(c)
	}
	return s.charge(c), nil
}

// charge takes a charge as the provider does.
func (s *till) charge(c hub.Charge) hub.Started {
	if _, ok := s.charges[c.Reference]; ok {
		panic("the reference " + c.Reference + " is used twice")
	}
	s.numbers++
	x := &charge{Charge: c, number: fmt.Sprint("n", s.numbers), state: hub.PaymentPending, paid: c.Amount}
	s.charges[c.Reference] = x
	started := hub.Started{ProviderRef: x.number}
	if s.flow == hub.FlowRedirect {
		started.URL = "https://pay.example/" + x.number
	}
	return started
}

func (s *till) Lookup(_ context.Context, p hub.Payment) (hub.Observation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	s.lookedAt[p.ID] = append(s.lookedAt[p.ID], s.now())
	if s.look != nil {
		return s.look(p)
	}
	for _, x := range s.charges {
		if p.ProviderRef == x.number || p.ProviderRef == "" && p.Reference == x.Reference {
			return hub.Observation{Found: true, State: x.state, Amount: x.paid, Reference: x.Reference, ProviderRef: x.number, Raw: `{"state":"` + string(x.state) + `"}`}, nil
		}
	}
	return hub.Observation{State: hub.PaymentPending}, nil
}

// becomes is what the customer or the provider does.
func (s *till) becomes(state hub.PaymentState, amount int64, currency string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.charges {
		x.state, x.paid = state, zonegate.Money{Amount: amount, Currency: currency}
	}
}

// A shop is a world with a till.
type shop struct {
	*world
	till     *till
	reseller hub.Reseller
	site     hub.Site
	box      *box
	forfait  hub.Forfait
	drawn    int
}

func onEachShop(t *testing.T, test func(t *testing.T, s *shop)) {
	onEach(t, func(t *testing.T, w *world) { test(t, newShop(w)) })
}

func newShop(w *world) *shop {
	s := &shop{world: w, till: newTill(w.clock.Now)}
	s.UseCollectors(map[string]hub.Collector{"till": s.till})
	s.reseller = w.reseller("A", plenty)
	s.site = w.site(s.reseller, "Market")
	s.box = w.gateway(s.site, "one")
	s.forfait = w.forfait(plan("Day", 500))
	return s
}

// other is a second process, with the same provider.
func (s *shop) other() *shop {
	o := *s
	o.world = s.world.other()
	o.UseCollectors(map[string]hub.Collector{"till": s.till})
	return &o
}

// intent draws one.
func (s *shop) intent() api.Intent {
	s.drawn++
	return s.forIntent(s.drawn)
}

func (s *shop) forIntent(n int) api.Intent {
	return api.Intent{IntentID: instance(fmt.Sprint("intent", n)), Plan: s.forfait.Plan.ID, PlanVersion: s.forfait.Plan.Version, Provider: "MTN_MOMO",
		Phone: fmt.Sprint(2290161_000000 + n), Device: "02:00:00:00:00:01", Claim: instance(fmt.Sprint("claim", n))}
}

func (s *shop) start(q api.Intent) api.Payment {
	s.Helper()
	return must(s.StartPayment(s.ctx, s.box.Gateway, q))(s)
}

func (s *shop) payment(id string) hub.Payment {
	s.Helper()
	p, _, err := s.PaymentHistory(s.ctx, s.admin, id)
	s.ok(err)
	return p
}

func (s *shop) state(id string, want hub.PaymentState) hub.Payment {
	s.Helper()
	p := s.payment(id)
	if p.State != want {
		s.Fatalf("the payment is %s (%s), want %s", p.State, p.Reason, want)
	}
	return p
}

// later lets time pass and sweeps.
func (s *shop) later(d time.Duration) {
	s.Helper()
	s.clock.pass(d)
	s.ok(s.SweepPayments(s.ctx))
}

func (s *shop) hint(p hub.Payment) {
	s.Helper()
	s.ok(s.TakeHint(s.ctx, "till", hub.Hint{Reference: p.Reference, ProviderRef: p.ProviderRef, Raw: "{}"}))
}

// grants are the grants that were pushed to the gateway.
func (s *shop) grants() (out []api.GrantIssued) {
	s.Helper()
	for _, p := range s.pushes(s.box, s.box.Since) {
		if p.Kind == api.KindGrant {
			var g api.GrantIssued
			s.ok(json.Unmarshal(p.Body, &g))
			out = append(out, g)
		}
	}
	return out
}

// balances are the accounts that are not zero, and whether all add up.
func (s *shop) balances() map[string]int64 {
	s.Helper()
	out, sums := map[string]int64{}, map[string]int64{}
	for _, b := range must(s.Balances(s.ctx, s.admin, ""))(s) {
		sums[b.Currency] += b.Amount
		if b.Amount != 0 {
			out[b.Account+" "+b.Currency] = b.Amount
		}
	}
	for c, n := range sums {
		if n != 0 {
			s.Errorf("the ledger comes to %d %s", n, c)
		}
	}
	return out
}

func (s *shop) wantBalances(want map[string]int64) {
	s.Helper()
	for account, n := range want {
		if n == 0 {
			delete(want, account)
		}
	}
	if got := s.balances(); fmt.Sprint(got) != fmt.Sprint(want) {
		s.Errorf("the ledger has %v, want %v", got, want)
	}
}

// sold is what n payments of 500 are split into.
func (s *shop) sold(n int64) map[string]int64 {
	return map[string]int64{"provider/till XOF": 500 * n, "fee/till XOF": -7 * n, "reseller/" + s.reseller.ID + " XOF": -246 * n, "party/rgz XOF": -247 * n}
}

func TestPayment(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		q := s.intent()
		p := s.start(q)
		if p.Status != "pending" || p.Flow != "push" || p.Price != (api.Money{Amount: 500, Currency: "XOF"}) || p.IntentID != q.IntentID || p.TransactionID == "" {
			t.Fatalf("started as %+v", p)
		}
		if again := s.start(q); again != p || s.till.sent != 1 {
			t.Errorf("the same intent again: %+v, %d charges", again, s.till.sent)
		}
		x := s.state(p.TransactionID, hub.PaymentPending)
		if x.ProviderRef != "n1" || x.Unsure || !x.NextLook.Equal(x.Made.Add(25*time.Second)) || x.Provider != "till" {
			t.Errorf("it is %+v", x)
		}
		// Nobody is asked too early.
		s.later(20 * time.Second)
		if s.till.looks != 0 {
			t.Error("looked up before its time")
		}
		s.later(6 * time.Second)
		if s.state(x.ID, hub.PaymentPending); s.till.looks != 1 {
			t.Errorf("%d lookups", s.till.looks)
		}
		if len(s.grants()) != 0 || s.count("grants") != 0 || len(s.balances()) != 0 {
			t.Error("something was given before it was paid")
		}
		s.till.becomes(hub.PaymentSucceeded, 500, "XOF")
		s.later(26 * time.Second)
		x = s.state(x.ID, hub.PaymentSucceeded)
		if x.Paid != x.Price || !x.NextLook.IsZero() {
			t.Errorf("paid as %+v", x)
		}
		g := s.grants()
		if len(g) != 1 || g[0].Grant != x.ID || g[0].Intent != q.IntentID || g[0].Device != q.Device || hex.EncodeToString(g[0].Key) != q.Claim ||
			g[0].Plan.ID != q.Plan || g[0].Plan.Version != 1 || !g[0].Expires.Equal(s.clock.Now().Add(30*24*time.Hour)) {
			t.Errorf("pushed as %+v", g)
		}
		s.wantBalances(s.sold(1))
		// Whatever comes afterwards changes nothing.
		for range 5 {
			s.later(time.Hour)
			s.hint(x)
		}
		must(s.Look(s.ctx, s.admin, x.ID))(t)
		s.till.becomes(hub.PaymentFailed, 0, "XOF")
		s.hint(x)
		s.state(x.ID, hub.PaymentSucceeded)
		if len(s.grants()) != 1 {
			t.Error("a second grant")
		}
		s.wantBalances(s.sold(1))
		if got := must(s.PaymentOf(s.ctx, s.box.Gateway, q.IntentID))(t); got.Status != "completed" {
			t.Errorf("the gateway hears %+v", got)
		}
		// The gateway's report of the grant is the same sale.
		at := s.clock.Now()
		report := api.Entry{N: 1, At: &at, Kind: api.EntrySale, Grant: 1, Source: "hub", Ref: x.ID, Plan: q.Plan, PlanVersion: 1, Price: &p.Price}
		must(s.report(s.box, report))(t)
		month := at.In(time.FixedZone("", 3600)).Format("2006-01")
		sums := must(s.Summary(s.ctx, s.admin, s.reseller.ID, month))(t)
		if len(sums) != 1 || sums[0].Total != 500 || sums[0].Sales != 1 || sums[0].Cash != 0 || len(s.alarms(s.box)) != 0 {
			t.Errorf("the month is %+v, with alarms %v", sums, s.alarms(s.box))
		}
		report.N = 2
		must(s.report(s.box, report))(t)
		if _, ok := s.alarms(s.box)[hub.AlarmTwice]; !ok || s.count("sales") != 1 {
			t.Error("sold twice by the gateway, and nobody says so")
		}
		_, said, err := s.PaymentHistory(s.ctx, hub.Actor{Role: hub.RoleReseller, Reseller: s.reseller.ID}, x.ID)
		s.ok(err)
		var sources []string
		for _, o := range said {
			sources = append(sources, o.Source+" "+o.State)
		}
		if len(sources) < 3 || sources[0] != "initiate accepted" || sources[1] != "lookup succeeded" {
			t.Errorf("it is remembered as %v", sources)
		}
	})
}

// A number is not asked again and again, whoever types it and at whichever
// gateway: it need not be his own.
func TestAskedNumber(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		shops := []*shop{s, s.other()}
		shops[1].box = s.gateway(s.site, "two")
		n := 0
		intent := func(phone string) api.Intent {
			n++
			q := s.forIntent(n)
			q.Phone = phone
			return q
		}
		start := func(q api.Intent) (api.Payment, error) {
			x := shops[n%2]
			return x.StartPayment(x.ctx, x.box.Gateway, q)
		}
		refused := func(phone, words string) {
			t.Helper()
			q := intent(phone)
			sent := s.till.sent
			var input *hub.InputError
			if _, err := start(q); !errors.As(err, &input) || !strings.Contains(err.Error(), words) ||
				!strings.HasSuffix(err.Error(), "Nothing was charged for this one") || strings.Contains(err.Error(), phone[:10]) || len(err.Error()) > 200 {
				t.Errorf("got %v", err)
			}
			if _, err := s.PaymentOf(s.ctx, s.box.Gateway, q.IntentID); s.till.sent != sent || !errors.Is(err, hub.ErrNotFound) {
				t.Error("something was kept or sent")
			}
		}
		const phone = "2290161000000"
		var open []api.Intent
		for range 3 {
			open = append(open, intent(phone))
			must(start(open[len(open)-1]))(t)
			s.later(11 * time.Minute)
		}
		refused(phone, "3 payments of the number ...00 wait")
		for _, q := range open { // a repeat is none
			if p := must(start(q))(t); p.Status != "pending" || p.IntentID != q.IntentID {
				t.Errorf("a repeat: %+v", p)
			}
		}
		must(start(intent("2290161000001")))(t)

		s.till.becomes(hub.PaymentFailed, 0, "")
		s.later(10 * time.Minute)
		s.later(10 * time.Minute)
		s.till.start = func(hub.Charge) (hub.Started, error) { return hub.Started{}, &hub.RejectedError{Reason: "no"} }
		for range 5 {
			must(start(intent(phone)))(t)
			s.clock.pass(time.Minute)
		}
		refused(phone, "too many payments")
		s.clock.pass(5*time.Minute - time.Second)
		refused(phone, "too many payments")
		s.clock.pass(time.Second)
		must(start(intent(phone)))(t)
		refused(phone, "too many payments") // the second of five is not so old

		// Those that come at the same moment count too.
		s.till.start = nil
		var wait sync.WaitGroup
		var started atomic.Int64
		qs := make([]api.Intent, 20)
		for i := range qs {
			qs[i] = intent("2290161000002")
		}
		for _, q := range qs {
			wait.Go(func() {
				if _, err := s.StartPayment(s.ctx, s.box.Gateway, q); err == nil {
					started.Add(1)
				}
			})
		}
		wait.Wait()
		if started.Load() != 3 {
			t.Errorf("%d are started at once", started.Load())
		}

		s.clock.pass(-24 * time.Hour) // a clock that was wrong
		must(start(intent(phone)))(t)
	})
}

// TestBadIntents: what cannot be sold is refused before anything is kept.
func TestBadIntents(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		second := s.forfait.Plan
		second.Price.Amount = 600
		_, _, err := s.SetForfait(s.ctx, s.admin, hub.ForfaitChange{Plan: second})
		s.ok(err)
		free := plan("Trial", 0)
		free.Trial = true
		trial := s.world.forfait(free)
		foreign := plan("Jour", 500)
		foreign.Price.Currency = "XAF"
		abroad := s.world.forfait(foreign)
		for name, change := range map[string]func(*api.Intent){
			"intent":           func(q *api.Intent) { q.IntentID = "xyz" },
			"capitals":         func(q *api.Intent) { q.IntentID = "ABCDEF0123456789ABCDEF0123456789" },
			"plan":             func(q *api.Intent) { q.Plan = "none" },
			"version":          func(q *api.Intent) { q.PlanVersion = 3 },
			"currency":         func(q *api.Intent) { q.Plan = abroad.Plan.ID },
			"for nothing":      func(q *api.Intent) { q.Plan = trial.Plan.ID },
			"channel":          func(q *api.Intent) { q.Provider = "VISA" },
			"no number":        func(q *api.Intent) { q.Phone = "" },
			"number":           func(q *api.Intent) { q.Phone = "+2290161000000" },
			"device":           func(q *api.Intent) { q.Device = "phone" },
			"claim":            func(q *api.Intent) { q.Claim = "zz" },
			"device and claim": func(q *api.Intent) { q.Claim, q.Device = "", "" },
		} {
			q := s.intent()
			change(&q)
			var input *hub.InputError
			if _, err := s.StartPayment(s.ctx, s.box.Gateway, q); !errors.As(err, &input) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if s.count("payments") != 0 || s.till.sent != 0 {
			t.Error("something was kept or sent")
		}
		// What was shown to the customer is honoured, though it is superseded.
		q := s.intent()
		p := s.start(q)
		s.till.becomes(hub.PaymentSucceeded, 500, "XOF")
		s.later(30 * time.Second)
		s.state(p.TransactionID, hub.PaymentSucceeded)
		if g := s.grants(); len(g) != 1 || g[0].Plan.Version != 1 || g[0].Plan.Price.Amount != 500 {
			t.Errorf("given: %+v", g)
		}
		// A claim code is one payment's, and no voucher's.
		taken := s.intent()
		taken.Claim = q.Claim
		if _, err := s.StartPayment(s.ctx, s.box.Gateway, taken); !errors.Is(err, hub.ErrExists) {
			t.Errorf("a claim code that is in use: %v", err)
		}
		s.ok(s.store.Write(s.ctx, func(tx hub.Tx) error {
			if err := tx.AddBatch(hub.Batch{ID: "b", Reseller: s.reseller.ID, Site: s.site.ID, Forfait: q.Plan, Version: 1, Total: 1}); err != nil {
				return err
			}
			return tx.AddVouchers("b", []string{instance("a voucher")})
		}))
		taken = s.intent()
		taken.Claim = instance("a voucher")
		if _, err := s.StartPayment(s.ctx, s.box.Gateway, taken); !errors.Is(err, hub.ErrExists) {
			t.Errorf("the code of a voucher: %v", err)
		}
		if _, err := s.PaymentOf(s.ctx, s.box.Gateway, taken.IntentID); !errors.Is(err, hub.ErrNotFound) {
			t.Errorf("a refused intent: %v", err)
		}
	})
}
