package store_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

func TestRefund(t *testing.T) {
	onCounter(t, nil, func(t *testing.T, c *counter) {
		p := c.paid()
		_, err := c.RequestRefund(c.ctx, hub.Actor{Role: hub.RoleReseller, Reseller: p.Reseller}, hub.RefundRequest{Payment: p.ID, Reason: "x"})
		wantErr(t, "a reseller", err, hub.ErrForbidden)
		_, err = c.RequestRefund(c.ctx, c.admin, hub.RefundRequest{Payment: p.ID})
		wantErr(t, "without a reason", err, new(hub.InputError))
		_, err = c.RequestRefund(c.ctx, c.admin, hub.RefundRequest{Payment: p.ID, Reason: "x", Amount: 501})
		wantErr(t, "more than was paid", err, new(hub.InputError))
		_, err = c.RequestRefund(c.ctx, c.admin, hub.RefundRequest{Payment: "x", Reason: "x"})
		wantErr(t, "no such payment", err, hub.ErrNotFound)

		c.wantSold(p.Reseller, 1, 500)
		r := c.refund(p)
		if r.State != hub.RefundRevoking || r.Push == 0 || r.Amount != p.Paid || r.Phone != p.Phone || r.Provider != "till" || r.AsPayout {
			t.Fatalf("asked: %+v", r)
		}
		if got := c.revocations(); len(got) != 1 || got[0] != p.ID {
			t.Errorf("revoked: %v", got)
		}
		c.wantBalances(map[string]int64{"provider/till XOF": 500, "refund/till XOF": -500})
		_, err = c.RequestRefund(c.ctx, c.admin, hub.RefundRequest{Payment: p.ID, Reason: "again"})
		wantState(t, err)
		// Nothing is sent before the gateway has answered.
		for range 10 {
			c.sweep(10 * time.Second)
		}
		if c.calls() != 0 {
			t.Fatal("it was sent before the grant was gone")
		}
		c.want(r, hub.RefundRevoking, hub.PaymentRefunding)
		c.ack(r, api.Applied)
		c.sweep(10 * time.Second)
		c.sweep(10 * time.Second)
		c.want(r, hub.RefundDone, hub.PaymentRefunded)
		if o := c.teller.created[0]; c.calls() != 1 || o.Amount != p.Paid || o.Payment.ID != p.ID || o.Payment.ProviderRef != "n1" || o.Reference != r.Reference || len(o.Reference) > 25 {
			t.Errorf("%d calls: %+v", c.calls(), c.teller.created)
		}
		c.wantBalances(map[string]int64{})
		c.wantSold(p.Reseller, 0, 0)
		_, err = c.RequestRefund(c.ctx, c.admin, hub.RefundRequest{Payment: p.ID, Reason: "again"})
		if err == nil {
			t.Error("a refunded payment was refunded again")
		}
		for range 10 {
			c.sweep(time.Hour)
		}
		if c.calls() != 1 {
			t.Errorf("%d calls", c.calls())
		}
		if list := must(c.Refunds(c.ctx, hub.Actor{Role: hub.RoleSeller, Reseller: p.Reseller}, hub.RefundQuery{States: []hub.RefundState{hub.RefundDone}}))(t); len(list) != 1 || list[0].ID != r.ID {
			t.Errorf("the list: %+v", list)
		}
	})
}

// wantSold checks the summary of the present month.
func (c *counter) wantSold(reseller string, sales, total int64) {
	c.Helper()
	s := must(c.Summary(c.ctx, c.admin, reseller, c.Now().In(c.Zone()).Format("2006-01")))(c)
	if len(s) != 1 || s[0].Sales != sales || s[0].Total != total {
		c.Errorf("the month is %+v, want %d sales of %d", s, sales, total)
		return
	}
	left := total - s[0].Fee
	for _, part := range s[0].Parts {
		left -= part
	}
	if left != 0 {
		c.Errorf("the month does not add up: %+v", s[0])
	}
}

// MyPayGa's way: made, then sent, then waiting for somebody's yes.
func TestRefundTwoSteps(t *testing.T) {
	onCounter(t, nil, func(t *testing.T, c *counter) {
		c.teller.create = hub.RefundObservation{State: hub.PaymentRefunding, Handle: "rfd_1"}
		c.teller.send, c.teller.look = refunding, refunding
		r := c.refund(c.paid())
		c.ack(r, api.Applied)
		c.sweep(10 * time.Second)
		c.sweep(0)
		r = c.want(r, hub.RefundWaiting, hub.PaymentRefunding)
		if r.Handle != "rfd_1" || r.Reason != "waiting for validation" || len(c.teller.sent) != 1 || c.teller.sent[0].Handle != "rfd_1" {
			t.Errorf("sent as %+v: %+v", r, c.teller.sent)
		}
		for range 5 {
			c.sweep(2 * time.Hour)
		}
		c.want(r, hub.RefundWaiting, hub.PaymentRefunding)
		c.teller.look = hub.RefundObservation{State: hub.PaymentRefunded, Handle: "rfd_1"}
		c.sweep(2 * time.Hour) // perhaps
		c.want(r, hub.RefundWaiting, hub.PaymentRefunding)
		c.teller.look.Definitive = true
		c.sweep(2 * time.Hour)
		c.want(r, hub.RefundDone, hub.PaymentRefunded)
		if c.calls() != 2 {
			t.Errorf("%d calls", c.calls())
		}
		c.wantBalances(map[string]int64{})
	})
}

func TestRefundGatewayAway(t *testing.T) {
	onCounter(t, nil, func(t *testing.T, c *counter) {
		p := c.paid()
		r := c.refund(p)
		for range 100 {
			c.sweep(10 * time.Second)
		}
		c.want(r, hub.RefundUndecided, hub.PaymentRefunding)
		if c.calls() != 0 {
			t.Fatal("it was sent")
		}
		_, err := c.DecideRefund(c.ctx, hub.Actor{Role: hub.RoleSeller, Reseller: p.Reseller}, r.ID, true)
		wantErr(t, "a seller", err, hub.ErrForbidden)
		must(c.DecideRefund(c.ctx, c.admin, r.ID, true))(t)
		c.sweep(0)
		c.want(r, hub.RefundDone, hub.PaymentRefunded)

		// The gateway says that it cannot.
		r = c.refund(c.paid())
		c.ack(r, api.Refused)
		c.sweep(10 * time.Second)
		c.want(r, hub.RefundUndecided, hub.PaymentRefunding)
		must(c.DecideRefund(c.ctx, c.admin, r.ID, false))(t)
		c.want(r, hub.RefundFailed, hub.PaymentSucceeded)
		_, err = c.DecideRefund(c.ctx, c.admin, r.ID, true)
		wantState(t, err)
		c.wantBalances(c.sold(1))
		if c.calls() != 1 {
			t.Errorf("%d calls", c.calls())
		}
	})
}

// use has the gateway report that a grant was sold there, and perhaps begun.
func (c *counter) use(grant string, started bool) {
	c.Helper()
	c.box.n++
	number := c.box.n
	at := c.clock.Now()
	es := []api.Entry{{N: c.box.n, At: &at, Kind: api.EntrySale, Grant: number, Source: "hub", Ref: grant, Plan: c.forfait.Plan.ID, PlanVersion: 1,
		Price: &api.Money{Amount: 500, Currency: "XOF"}}}
	if started {
		c.box.n++
		es = append(es, api.Entry{N: c.box.n, At: &at, Kind: api.EntryStarted, Grant: number})
	}
	must(c.report(c.box, es...))(c)
}

func TestRefundUsed(t *testing.T) {
	onCounter(t, nil, func(t *testing.T, c *counter) {
		p := c.paid()
		c.use(p.ID, true)
		_, err := c.RequestRefund(c.ctx, c.admin, hub.RefundRequest{Payment: p.ID, Reason: "x"})
		wantState(t, err)
		c.shop.state(p.ID, hub.PaymentSucceeded)
		r := must(c.RequestRefund(c.ctx, c.admin, hub.RefundRequest{Payment: p.ID, Reason: "x", Force: true}))(t)
		c.ack(r, api.Applied)
		c.sweep(10 * time.Second)
		c.sweep(0)
		c.want(r, hub.RefundDone, hub.PaymentRefunded)

		// On the gateway, and not begun.
		p = c.paid()
		c.use(p.ID, false)
		r = c.refund(p)
		c.ack(r, api.Applied)
		c.sweep(10 * time.Second)
		c.sweep(0)
		c.want(r, hub.RefundDone, hub.PaymentRefunded)

		// Begun in the moment before it was revoked.
		p = c.paid()
		r = c.refund(p)
		c.use(p.ID, true)
		c.ack(r, api.Applied)
		c.sweep(10 * time.Second)
		c.sweep(0)
		c.want(r, hub.RefundUndecided, hub.PaymentRefunding)
		must(c.DecideRefund(c.ctx, c.admin, r.ID, false))(t)
		if got := c.want(r, hub.RefundFailed, hub.PaymentSucceeded); got.Restored != "" {
			t.Error("what was used was given again")
		}
	})
}

// A refund that fails gives the customer a new grant, and it is sold once.
func TestRefundFails(t *testing.T) {
	onCounter(t, nil, func(t *testing.T, c *counter) {
		c.teller.noCreate = &hub.RejectedError{Reason: "not eligible"}
		q := c.intent()
		p := c.start(q)
		c.till.becomes(hub.PaymentSucceeded, 500, "XOF")
		c.later(26 * time.Second)
		x := c.shop.state(p.TransactionID, hub.PaymentSucceeded)
		r := c.refund(x)
		c.ack(r, api.Applied)
		c.sweep(10 * time.Second)
		c.sweep(0)
		r = c.want(r, hub.RefundFailed, hub.PaymentSucceeded)
		c.wantBalances(c.sold(1))
		gs := c.grants()
		if len(gs) != 2 || gs[1].Grant != r.Restored || gs[1].Grant == x.ID || gs[1].Device != q.Device || gs[1].Intent != q.IntentID || gs[1].Plan.ID != q.Plan {
			t.Fatalf("the grants: %+v", gs)
		}
		key := hex.EncodeToString(gs[1].Key)
		if key == q.Claim || len(c.inbox.sent) != 1 || !strings.HasPrefix(c.inbox.sent[0], x.Phone) {
			t.Errorf("the new code: %q", c.inbox.sent)
		}
		if n := c.count("grants WHERE revoked = 0"); n != 1 {
			t.Errorf("%d grants are good", n)
		}
		c.use(r.Restored, false)
		s := must(c.Summary(c.ctx, c.admin, c.reseller.ID, "2026-02"))(t)
		if len(s) != 1 || s[0].Total != 500 {
			t.Errorf("the month: %+v", s)
		}
		if a := c.alarms(c.box); len(a) != 0 {
			t.Errorf("alarms: %+v", a)
		}
		// Once more, and now the new grant goes.
		c.teller.noCreate = nil
		second := c.refund(x)
		if got := c.revocations(); len(got) != 2 || got[1] != r.Restored {
			t.Errorf("revoked: %v", got)
		}
		c.ack(second, api.Applied)
		c.sweep(10 * time.Second)
		c.sweep(0)
		c.want(second, hub.RefundDone, hub.PaymentRefunded)
		if n := c.count("grants WHERE revoked = 0"); n != 0 {
			t.Errorf("%d grants are good", n)
		}
		c.wantBalances(map[string]int64{})
	})
}

// What becomes of a refund by what its provider answers; nothing that may have
// been done is done again.
func TestRefundAnswers(t *testing.T) {
	lost := &hub.AmbiguousError{ProviderRef: "rfd_1", Err: context.DeadlineExceeded}
	handle := hub.RefundObservation{State: hub.PaymentRefunding, Handle: "rfd_1"}
	perhaps := hub.RefundObservation{State: hub.PaymentRefunded}
	for _, x := range []struct {
		what             string
		create, send     hub.RefundObservation
		noCreate, noSend error
		want             hub.RefundState
		payment          hub.PaymentState
		calls            int
	}{
		{"done at once", refunded, refunded, nil, nil, hub.RefundDone, hub.PaymentRefunded, 1},
		{"done in two", handle, refunded, nil, nil, hub.RefundDone, hub.PaymentRefunded, 2},
		{"a no", handle, refunded, &hub.RejectedError{Reason: "no"}, nil, hub.RefundFailed, hub.PaymentSucceeded, 1},
		{"a no in the second", handle, refunded, nil, &hub.RejectedError{Reason: "no"}, hub.RefundFailed, hub.PaymentSucceeded, 2},
		{"not done", handle, stays, nil, nil, hub.RefundFailed, hub.PaymentSucceeded, 2},
		{"perhaps", perhaps, refunded, nil, nil, hub.RefundWaiting, hub.PaymentRefunding, 1},
		{"lost", handle, refunded, hub.ErrAmbiguous, nil, hub.RefundAmbiguous, hub.PaymentRefunding, 1},
		{"lost with its id", handle, refunded, lost, nil, hub.RefundAmbiguous, hub.PaymentRefunding, 1},
		{"lost in the second", handle, refunded, nil, errors.New("500"), hub.RefundAmbiguous, hub.PaymentRefunding, 2},
		{"nothing known", hub.RefundObservation{}, refunded, nil, nil, hub.RefundAmbiguous, hub.PaymentRefunding, 1},
	} {
		t.Run(x.what, func(t *testing.T) {
			onCounter(t, nil, func(t *testing.T, c *counter) {
				c.teller.create, c.teller.send, c.teller.noCreate, c.teller.noSend = x.create, x.send, x.noCreate, x.noSend
				c.teller.look, c.teller.noLook = hub.RefundObservation{State: hub.PaymentRefunding}, nil
				r := c.refund(c.paid())
				c.ack(r, api.Applied)
				c.sweep(10 * time.Second)
				c.sweep(0)
				c.want(r, x.want, x.payment)
				for range 30 {
					c.sweep(2 * time.Hour)
				}
				if c.calls() != x.calls {
					t.Errorf("%d calls, want %d", c.calls(), x.calls)
				}
				c.balances()
				if x.payment != hub.PaymentRefunding {
					return
				}
				// Open for ever: a person ends it.
				must(c.ResolveRefund(c.ctx, c.admin, r.ID, hub.Resolution{Paid: true, Statement: "line 1"}))(t)
				c.want(r, hub.RefundDone, hub.PaymentRefunded)
				c.wantBalances(map[string]int64{})
				_, err := c.ResolveRefund(c.ctx, c.admin, r.ID, hub.Resolution{Statement: "line 1"})
				wantState(t, err)
			})
		})
	}
	t.Run("not sent", func(t *testing.T) {
		onCounter(t, nil, func(t *testing.T, c *counter) {
			c.teller.noCreate = hub.ErrNotSent
			r := c.refund(c.paid())
			c.ack(r, api.Applied)
			for range 60 {
				c.sweep(time.Minute)
			}
			if n := c.calls(); n < 4 || n > 8 {
				t.Errorf("in an hour it was tried %d times", n)
			}
			seen := map[string]bool{}
			for _, o := range c.teller.created {
				if seen[o.Reference] {
					t.Errorf("%s was used again", o.Reference)
				}
				seen[o.Reference] = true
			}
			c.teller.noCreate = nil
			c.sweep(2 * time.Hour)
			c.want(r, hub.RefundDone, hub.PaymentRefunded)
		})
	})
}

// FlexPay's way, and by hand where there is none.
func TestRefundAsPayout(t *testing.T) {
	onCounter(t, func(c *counter) { c.payouts.Refunders, c.payouts.Payers["till"] = nil, c.bank }, func(t *testing.T, c *counter) {
		c.bank.set(taken, nil)
		p := c.paid()
		r := c.refund(p)
		if !r.AsPayout || r.Provider != "till" {
			t.Errorf("asked: %+v", r)
		}
		c.ack(r, api.Applied)
		c.sweep(10 * time.Second)
		c.sweep(0)
		c.want(r, hub.RefundWaiting, hub.PaymentRefunding)
		if o := c.bank.calls[0]; o.Phone != p.Phone || o.Amount != p.Paid || o.Reference != r.Reference {
			t.Errorf("paid out: %+v", o)
		}
		if found, err := c.PayoutHint(c.ctx, "till", hub.Hint{Reference: r.Reference}); err != nil || !found {
			t.Errorf("a callback: %v, %v", found, err)
		}
		c.bank.mu.Lock()
		c.bank.found = done
		c.bank.mu.Unlock()
		c.sweep(0)
		c.want(r, hub.RefundDone, hub.PaymentRefunded)
		c.wantBalances(map[string]int64{})
	})
	onCounter(t, func(c *counter) { c.payouts.Refunders = nil }, func(t *testing.T, c *counter) {
		r := c.refund(c.paid())
		_, err := c.ResolveRefund(c.ctx, c.admin, r.ID, hub.Resolution{Paid: true, Statement: "by hand"})
		wantState(t, err) // the grant first
		c.ack(r, api.Applied)
		for range 10 {
			c.sweep(time.Hour)
		}
		c.want(r, hub.RefundReady, hub.PaymentRefunding)
		must(c.ResolveRefund(c.ctx, c.admin, r.ID, hub.Resolution{Paid: true, Statement: "by hand, line 4"}))(t)
		c.want(r, hub.RefundDone, hub.PaymentRefunded)
		c.wantBalances(map[string]int64{})
	})
}

// Money that was never accepted goes back without a grant.
func TestRefundOfReview(t *testing.T) {
	onCounter(t, nil, func(t *testing.T, c *counter) {
		p := c.start(c.intent())
		c.till.becomes(hub.PaymentSucceeded, 300, "XOF")
		c.later(26 * time.Second)
		c.shop.state(p.TransactionID, hub.PaymentReview)
		must(c.RejectReview(c.ctx, c.admin, p.TransactionID, "too little"))(t)
		_, err := c.RequestRefund(c.ctx, c.admin, hub.RefundRequest{Payment: p.TransactionID, Reason: "x", Amount: 100})
		wantErr(t, "a part", err, new(hub.InputError))
		r := must(c.RequestRefund(c.ctx, c.admin, hub.RefundRequest{Payment: p.TransactionID, Reason: "too little"}))(t)
		if r.State != hub.RefundReady || r.Amount.Amount != 300 {
			t.Errorf("asked: %+v", r)
		}
		c.sweep(0)
		c.want(r, hub.RefundDone, hub.PaymentRefunded)
		c.wantBalances(map[string]int64{})
	})
}

// A hub that dies at any write of a refund moves the money once or not at all.
func TestRefundCrash(t *testing.T) {
	onCounter(t, nil, func(t *testing.T, c *counter) {
		c.teller.create = hub.RefundObservation{State: hub.PaymentRefunding, Handle: "rfd"}
		c.teller.send = refunded
		whole := c.Hub
		for _, after := range []bool{false, true} {
			for at, reached := 1, true; reached; at++ {
				name := fmt.Sprintf("write %d, after %v", at, after)
				p := c.paid()
				c.teller.created, c.teller.sent, c.teller.noLook = nil, nil, hub.ErrNotFound
				x := &crasher{Store: c.store, left: at, after: after}
				victim := hub.New(hub.Options{Store: x, Keys: c.keys, Hasher: plainHasher{}, Now: c.clock.Now, Payouts: c.payouts})
				r, err := victim.RequestRefund(c.ctx, c.admin, hub.RefundRequest{Payment: p.ID, Reason: "x"})
				if err == nil {
					c.ack(r, api.Applied)
				}
				for range 3 {
					if err == nil {
						c.clock.pass(10 * time.Second)
						err = victim.SweepPayouts(c.ctx)
					}
				}
				reached = err != nil
				before := len(c.teller.sent)
				for _, r := range must(c.Refunds(c.ctx, c.admin, hub.RefundQuery{Payment: p.ID}))(t) {
					c.ack(r, api.Applied)
				}
				for range 60 {
					c.clock.pass(time.Minute)
					c.ok(whole.SweepPayouts(c.ctx))
				}
				sent := len(c.teller.sent)
				if sent > 1 || before == 1 && sent != 1 {
					t.Errorf("%s: sent %d times, then %d", name, before, sent)
				}
				rs := must(c.Refunds(c.ctx, c.admin, hub.RefundQuery{Payment: p.ID}))(t)
				if len(rs) == 0 {
					if sent != 0 {
						t.Errorf("%s: sent, and not known", name)
					}
					continue
				}
				if rs[0].State == hub.RefundAmbiguous {
					must(c.ResolveRefund(c.ctx, c.admin, rs[0].ID, hub.Resolution{Paid: sent == 1, Statement: "s"}))(t)
					rs[0] = must(c.Refund(c.ctx, c.admin, rs[0].ID))(t)
				}
				if want := map[bool]hub.RefundState{true: hub.RefundDone, false: hub.RefundFailed}[sent == 1]; rs[0].State != want {
					t.Errorf("%s: sent %d times, and it is %s", name, sent, rs[0].State)
				}
				c.balances()
			}
		}
	})
}
