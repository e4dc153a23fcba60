package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate/hub"
)

// Two processes, many at once: nobody gets more than there is, and nothing is
// paid twice.
func TestPayoutConcurrent(t *testing.T) {
	roomy := func(p *hub.Payouts) { automatic(p); p.Rules[0].Count, p.NumberWait = 1000, -1 }
	onDesk(t, roomy, func(t *testing.T, d *desk) {
		hubs := []*hub.Hub{d.Hub, d.process()}
		var wg sync.WaitGroup
		var mu sync.Mutex
		got := 0
		for i := range 40 {
			wg.Go(func() {
				_, err := hubs[i%2].RequestWithdrawal(d.ctx, d.kofi, ask(5000))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					got++
				} else if !errors.Is(err, hub.ErrBalance) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got != 20 {
			t.Errorf("%d of 20 were given", got)
		}
		d.wantBalance("asked at once", 0, 100_000)
		ws, _, err := d.Withdrawals(d.ctx, d.kofi, hub.WithdrawalQuery{Max: 100})
		d.ok(err)
		codes := map[string]string{}
		for _, m := range d.inbox.sent {
			for _, w := range ws {
				if strings.Contains(m, w.Reference) {
					codes[w.ID] = sixDigits.FindString(m)
				}
			}
		}
		d.bank.set(hub.PayoutObservation{State: hub.PayoutCompleted, Definitive: true}, nil)
		for _, w := range ws {
			must(d.ValidateWithdrawal(d.ctx, d.kofi, w.ID, codes[w.ID]))(t)
		}
		for range 30 {
			for i := range 6 {
				wg.Go(func() { d.log(hubs[i%2].SweepPayouts(d.ctx)) })
			}
			wg.Wait()
			d.clock.pass(time.Minute)
		}
		if d.bank.count() != 20 {
			t.Errorf("20 were paid with %d calls", d.bank.count())
		}
		refs := map[string]bool{}
		for _, o := range d.bank.calls {
			if refs[o.Reference] {
				t.Errorf("%s was paid twice", o.Reference)
			}
			refs[o.Reference] = true
		}
		d.wantBalance("all paid", 0, 0)
	})
	onDesk(t, nil, func(t *testing.T, d *desk) {
		for range 5 {
			w := d.verified(500)
			var wg sync.WaitGroup
			var mu sync.Mutex
			won := 0
			for i := range 8 {
				by := []hub.Actor{d.admin, d.other}[i%2]
				wg.Go(func() {
					var err error
					if i < 4 {
						_, err = d.CompleteWithdrawal(d.ctx, by, w.ID, "", "")
					} else {
						_, err = d.FailWithdrawal(d.ctx, by, w.ID, "no")
					}
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						won++
					} else if e := new(hub.StateError); !errors.As(err, &e) {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if won != 1 {
				t.Errorf("%d admins have ended it", won)
			}
			d.sound()
		}
		// Guesses at once count as many.
		w := d.request(500)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { d.ValidateWithdrawal(d.ctx, d.kofi, w.ID, "x") })
		}
		wg.Wait()
		if got := must(d.Withdrawal(d.ctx, d.admin, w.ID))(t); got.State != hub.PayoutExpired || got.Tries != 5 {
			t.Errorf("after 20 guesses at once: %s, %d tries", got.State, got.Tries)
		}
		d.sound()
	})
}

// log takes what another process came between.
func (d *desk) log(err error) {
	if err != nil {
		d.Error(err)
	}
}

// A crasher is a store that stops at a write: before it, or after it with its
// answer lost. From then on nothing works, as in a process that is dead.
type crasher struct {
	hub.Store
	mu    sync.Mutex
	left  int
	after bool
	dead  bool
}

var errCrash = errors.New("the process is gone")

func (c *crasher) Write(ctx context.Context, f func(hub.Tx) error) error {
	c.mu.Lock()
	c.left--
	dead, last := c.dead, c.left == 0
	c.dead = c.dead || last
	c.mu.Unlock()
	if dead || last && !c.after {
		return errCrash
	}
	err := c.Store.Write(ctx, f)
	if last {
		return errCrash
	}
	return err
}

func (c *crasher) Read(ctx context.Context, f func(hub.Tx) error) error {
	c.mu.Lock()
	dead := c.dead
	c.mu.Unlock()
	if dead {
		return errCrash
	}
	return c.Store.Read(ctx, f)
}

// A hub that dies at any write of a withdrawal pays it once or not at all, and
// the next one brings it to an end.
func TestPayoutCrash(t *testing.T) {
	roomy := func(p *hub.Payouts) {
		automatic(p)
		p.Rules[0].Count, p.Rules[0].Daily = 1000, map[string]int64{hub.KYCVerified: 1e9}
	}
	onDesk(t, roomy, func(t *testing.T, d *desk) {
		d.fund(10_000_000)
		whole := d.Hub
		for _, after := range []bool{false, true} {
			for _, inCall := range []bool{false, true} {
				reached := true
				for at := 1; reached; at++ {
					name := fmt.Sprintf("write %d, after %v, in the call %v", at, after, inCall)
					available, _ := d.balance()
					c := &crasher{Store: d.store, left: at, after: after}
					d.bank.set(hub.PayoutObservation{State: hub.PayoutCompleted, Definitive: true}, nil)
					d.bank.found, d.bank.unfound = hub.PayoutObservation{}, hub.ErrNotFound
					if inCall {
						c.left = 1 << 30
						d.bank.do = func() { c.mu.Lock(); c.dead = true; c.mu.Unlock() }
						reached = false
					}
					victim := hub.New(hub.Options{Store: c, Keys: d.keys, Hasher: plainHasher{}, Now: d.clock.Now, Payouts: d.payouts})
					w, err := victim.RequestWithdrawal(d.ctx, d.kofi, ask(1000))
					if err == nil {
						_, err = victim.ValidateWithdrawal(d.ctx, d.kofi, w.ID, d.inbox.code())
					}
					if err == nil {
						err = victim.SweepPayouts(d.ctx)
					}
					if err == nil && !inCall {
						reached = false // it lived to the end
					}
					d.bank.do = nil
					// The next process has days, and its sweeps.
					paid := d.bank.count()
					for range 100 {
						d.clock.pass(time.Minute)
						d.ok(whole.SweepPayouts(d.ctx))
					}
					if paid > 1 || paid == 1 && d.bank.count() != 1 || d.bank.count() > 1 {
						t.Errorf("%s: paid %d times, then %d", name, paid, d.bank.count())
					}
					ws, _, err := d.Withdrawals(d.ctx, d.kofi, hub.WithdrawalQuery{States: []hub.PayoutState{
						hub.PayoutRequested, hub.PayoutCodeSent, hub.PayoutVerified, hub.PayoutProcessing, hub.PayoutAmbiguous}})
					d.ok(err)
					for _, w := range ws {
						if w.State != hub.PayoutAmbiguous {
							t.Errorf("%s: left in %s", name, w.State)
							continue
						}
						// The statement tells what the bank has done.
						must(d.ResolveWithdrawal(d.ctx, d.admin, w.ID, hub.Resolution{Paid: d.bank.count() == 1, Statement: "s"}))(t)
					}
					want := available
					if d.bank.count() == 1 {
						want -= 1000
					}
					d.wantBalance(name, want, 0)
				}
			}
		}
	})
}

// A late answer of a process that was taken for dead still counts, and changes
// nothing that a person has decided.
func TestPayoutLate(t *testing.T) {
	onDesk(t, byBank, func(t *testing.T, d *desk) {
		w := d.verified(1000)
		d.bank.set(done, nil)
		d.bank.unfound = hub.ErrUnsupported
		d.bank.do = func() {
			d.clock.pass(time.Hour)
			d.ok(d.SweepPayouts(d.ctx))
			if d.state(w) != hub.PayoutAmbiguous {
				t.Errorf("during the call it is %s", d.state(w))
			}
		}
		if w := must(d.ClaimWithdrawal(d.ctx, d.admin, w.ID))(t); w.State != hub.PayoutCompleted {
			t.Errorf("the late answer makes it %s", w.State)
		}
		d.sound()
		w = d.verified(1000)
		d.bank.set(done, nil)
		d.bank.do = func() {
			_, err := d.ResolveWithdrawal(d.ctx, d.other, w.ID, hub.Resolution{Statement: "too early"})
			wantState(t, err) // the call is on its way
			d.clock.pass(time.Hour)
			d.bank.mu.Lock()
			d.bank.unfound = hub.ErrUnsupported
			d.bank.mu.Unlock()
			d.ok(d.SweepPayouts(d.ctx))
			must(d.ResolveWithdrawal(d.ctx, d.other, w.ID, hub.Resolution{Statement: "not there"}))(t)
		}
		if w := must(d.ClaimWithdrawal(d.ctx, d.admin, w.ID))(t); w.State != hub.PayoutFailed {
			t.Errorf("a person had decided, and now it is %s", w.State)
		}
		d.sound()
	})
}
