package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"zonegate/hub"
)

// errPower is what a store says after the power went.
var errPower = errors.New("the power is gone")

// A powerCut is a store that stops at a write: before it, or when it was done
// and nobody heard.
type powerCut struct {
	hub.Store
	mu   sync.Mutex
	left int
	done bool
}

func (p *powerCut) Write(ctx context.Context, f func(hub.Tx) error) error {
	p.mu.Lock()
	p.left--
	left := p.left
	p.mu.Unlock()
	if left > 0 {
		return p.Store.Write(ctx, f)
	}
	if left == 0 && p.done {
		if err := p.Store.Write(ctx, f); err != nil {
			return err
		}
	}
	return errPower
}

// TestPowerCuts stops the hub at each of its writes, and lets another one go
// on.
func TestPowerCuts(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		for n := 1; n <= 6; n++ {
			for _, done := range []bool{false, true} {
				s.till.charges = map[string]*charge{}
				q := s.intent()
				cut := &powerCut{Store: s.store, left: n, done: done}
				dying := hub.New(hub.Options{Store: cut, Keys: s.keys, Hasher: plainHasher{}, Now: s.clock.Now,
					Collectors: map[string]hub.Collector{"till": s.till}})
				grants := len(s.grants())
				dying.StartPayment(s.ctx, s.box.Gateway, q)
				s.till.becomes(hub.PaymentSucceeded, 500, "XOF")
				for ref := range s.till.charges {
					dying.TakeHint(s.ctx, "till", hub.Hint{Reference: ref})
				}
				s.clock.pass(26 * time.Second)
				dying.SweepPayments(s.ctx)
				charged := len(s.till.charges)

				next := s.other()
				sent := s.till.sent
				if n%2 == 0 { // the gateway sends it again, or asks
					next.StartPayment(s.ctx, s.box.Gateway, q)
				}
				for range 30 {
					next.later(30 * time.Second)
				}
				p, err := next.PaymentOf(s.ctx, s.box.Gateway, q.IntentID)
				name := fmt.Sprintf("cut at write %d, done %v", n, done)
				if s.till.sent > sent+1-charged || len(s.till.charges) > 1 {
					t.Errorf("%s: charged %d times", name, s.till.sent-sent+charged)
				}
				want := 0
				switch {
				case charged == 1:
					want = 1
					if err != nil || p.Status != "completed" {
						t.Errorf("%s: paid, and it is %+v, %v", name, p, err)
					}
				case len(s.till.charges) == 1: // the second hub charged it
					s.till.becomes(hub.PaymentSucceeded, 500, "XOF")
					next.later(3 * time.Minute)
					want = 1
				}
				if got := len(s.grants()) - grants; got != want {
					t.Errorf("%s: %d grants, want %d", name, got, want)
				}
				if uint64(len(s.grants())) != s.count("grants") {
					t.Errorf("%s: %d grants were pushed, and %d are there", name, len(s.grants()), s.count("grants"))
				}
			}
		}
		s.wantBalances(s.sold(int64(len(s.grants()))))
	})
}

// TestTwoProcesses: two hubs take callbacks and sweep one database at the same
// time; each payment is booked once, and asked about by one.
func TestTwoProcesses(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		const n = 120
		var ps []hub.Payment
		for range n {
			ps = append(ps, s.payment(s.start(s.intent()).TransactionID))
		}
		two := []*shop{s, s.other()}
		s.clock.pass(26 * time.Second)
		var wg sync.WaitGroup
		for _, x := range two {
			wg.Go(func() {
				if err := x.SweepPayments(s.ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if s.till.looks != n {
			t.Errorf("%d lookups of %d payments", s.till.looks, n)
		}
		s.till.becomes(hub.PaymentSucceeded, 500, "XOF")
		s.clock.pass(26 * time.Second)
		for i, x := range two {
			wg.Go(func() {
				if err := x.SweepPayments(s.ctx); err != nil {
					t.Error(err)
				}
			})
			for part := range 8 {
				wg.Go(func() {
					for j := part; j < n; j += 8 {
						p := ps[(j+i*n/2)%n]
						if err := x.TakeHint(s.ctx, "till", hub.Hint{Reference: p.Reference}); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		wg.Wait()
		for _, p := range ps {
			s.state(p.ID, hub.PaymentSucceeded)
		}
		if len(s.grants()) != n || s.count("grants") != n || s.count("transactions") != n || s.count("sales") != n {
			t.Errorf("%d pushed, %d grants, %d booked, %d sold; want %d", len(s.grants()), s.count("grants"), s.count("transactions"), s.count("sales"), n)
		}
		s.wantBalances(s.sold(n))
	})
}

// TestOneIntentAtOnce: the same tap arrives at two hubs at the same moment.
func TestOneIntentAtOnce(t *testing.T) {
	onEachShop(t, func(t *testing.T, s *shop) {
		two := []*shop{s, s.other()}
		for range 10 {
			q := s.intent()
			var wg sync.WaitGroup
			var ids [8]string
			for i := range ids {
				wg.Go(func() {
					p, err := two[i%2].StartPayment(s.ctx, s.box.Gateway, q)
					if err != nil {
						t.Error(err)
					}
					ids[i] = p.TransactionID
				})
			}
			wg.Wait()
			for _, id := range ids {
				if id != ids[0] {
					t.Errorf("one intent is several payments: %v", ids)
				}
			}
		}
		if s.till.sent != 10 || s.count("payments") != 10 {
			t.Errorf("%d charges and %d payments for 10 intents", s.till.sent, s.count("payments"))
		}
	})
}
