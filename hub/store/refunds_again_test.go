package store_test

import (
	"testing"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

// Money that was rejected in review, and that did not get back to the customer,
// can be rejected again: each refund has its own name, here and in the ledger.
func TestRefundOfReviewAgain(t *testing.T) {
	onCounter(t, nil, func(t *testing.T, c *counter) {
		p := c.start(c.intent())
		c.till.becomes(hub.PaymentSucceeded, 300, "XOF")
		c.later(26 * time.Second)
		held := map[string]int64{"provider/till XOF": 300, "review/till XOF": -300}
		on := map[string]int64{"provider/till XOF": 300, "refund/till XOF": -300}
		names, references := map[string]bool{}, map[string]bool{}
		c.teller.create = stays
		reject := func() hub.Refund {
			must(c.RejectReview(c.ctx, c.admin, p.TransactionID, "too little"))(t)
			c.wantBalances(on)
			r := must(c.RequestRefund(c.ctx, c.admin, hub.RefundRequest{Payment: p.TransactionID, Reason: "too little"}))(t)
			_, err := c.RequestRefund(c.ctx, c.admin, hub.RefundRequest{Payment: p.TransactionID, Reason: "twice"})
			wantState(t, err)
			if names[r.ID] || references[r.Reference] || r.Payment != p.TransactionID || r.Amount.Amount != 300 {
				t.Errorf("asked: %+v", r)
			}
			names[r.ID], references[r.Reference] = true, true
			c.sweep(0)
			return r
		}
		for range 3 {
			c.want(reject(), hub.RefundFailed, hub.PaymentReview)
			c.wantBalances(held)
			c.clock.pass(time.Minute)
		}
		c.teller.create = refunded
		last := reject()
		c.want(last, hub.RefundDone, hub.PaymentRefunded)
		c.wantBalances(map[string]int64{})
		if c.calls() != 4 {
			t.Errorf("%d calls", c.calls())
		}
		for range 10 {
			c.sweep(time.Hour)
		}
		for id := range names {
			want := hub.RefundFailed
			if id == last.ID {
				want = hub.RefundDone
			}
			if r := must(c.Refund(c.ctx, c.admin, id))(t); r.State != want {
				t.Errorf("refund %s is %s", id, r.State)
			}
		}
	})
}

// What was rejected and did not get back can be accepted after all, and be
// refunded then.
func TestRefundOfReviewAccepted(t *testing.T) {
	onCounter(t, nil, func(t *testing.T, c *counter) {
		p := c.start(c.intent())
		c.till.becomes(hub.PaymentSucceeded, 300, "XOF")
		c.later(26 * time.Second)
		c.teller.create = stays
		for range 2 {
			must(c.RejectReview(c.ctx, c.admin, p.TransactionID, "too little"))(t)
			r := must(c.RequestRefund(c.ctx, c.admin, hub.RefundRequest{Payment: p.TransactionID, Reason: "too little"}))(t)
			c.sweep(0)
			c.want(r, hub.RefundFailed, hub.PaymentReview)
		}
		must(c.AcceptReview(c.ctx, c.admin, p.TransactionID, "he came back"))(t)
		c.teller.create = refunded
		r := c.refund(c.shop.state(p.TransactionID, hub.PaymentSucceeded))
		c.ack(r, api.Applied)
		c.sweep(10 * time.Second)
		c.sweep(0)
		c.want(r, hub.RefundDone, hub.PaymentRefunded)
		c.wantBalances(map[string]int64{})
	})
}

// The answer to the revocation comes before the entries that tell of the use.
func TestRefundAnswerBeforeEntries(t *testing.T) {
	onCounter(t, nil, func(t *testing.T, c *counter) {
		p := c.paid()
		r := c.refund(p)
		c.answer(c.box, r, api.Applied)
		c.sweep(5 * time.Second)
		c.sweep(5 * time.Second)
		c.want(r, hub.RefundRevoking, hub.PaymentRefunding)
		c.use(p.ID, true)
		c.sweep(10 * time.Second)
		c.want(r, hub.RefundUndecided, hub.PaymentRefunding)

		// The same, with heartbeats that say that there is more to come.
		p = c.paid()
		r = c.refund(p)
		c.answer(c.box, r, api.Applied)
		c.beat(c.box, r.Push, c.box.n+2, 2)
		c.sweep(10 * time.Second)
		c.want(r, hub.RefundRevoking, hub.PaymentRefunding)
		c.use(p.ID, true)
		c.beat(c.box, r.Push, c.box.n, 0)
		c.sweep(10 * time.Second)
		c.want(r, hub.RefundUndecided, hub.PaymentRefunding)
		if c.calls() != 0 {
			t.Error("it was sent")
		}
		must(c.DecideRefund(c.ctx, c.admin, r.ID, true))(t)
		c.sweep(0)
		c.want(r, hub.RefundDone, hub.PaymentRefunded)
	})
}

// Money moves only when a heartbeat from after the revocation says that nothing
// is untold, and the hub has it all.
func TestRefundHeartbeats(t *testing.T) {
	for _, x := range []struct {
		what string
		beat func(c *counter, r hub.Refund)
		sent bool
	}{
		{"none", func(c *counter, r hub.Refund) {}, false},
		{"one from before", func(c *counter, r hub.Refund) { c.beat(c.box, r.Push-1, c.box.n, 0) }, false},
		{"entries wait", func(c *counter, r hub.Refund) { c.beat(c.box, r.Push, c.box.n, 1) }, false},
		{"the hub has not the last", func(c *counter, r hub.Refund) { c.beat(c.box, r.Push, c.box.n+1, 0) }, false},
		{"all told", func(c *counter, r hub.Refund) { c.beat(c.box, r.Push, c.box.n, 0) }, true},
		{"a later push", func(c *counter, r hub.Refund) { c.beat(c.box, r.Push+1, c.box.n, 0) }, true},
		{"one not written down yet", func(c *counter, r hub.Refund) {
			must(c.Heartbeat(c.ctx, c.again(c.box), api.Heartbeat{Instance: c.box.instance, Boot: "b1",
				Nonce: "AAAAAAAAAAAAAAAAAAAAAA==", Applied: r.Push, Entry: c.box.n}))(c)
		}, false},
		{"another gateway took its place", func(c *counter, r hub.Refund) {
			next := c.gateway(c.shop.site, "next")
			c.beat(next, next.Enrolled.Head, next.n, 0)
		}, false},
	} {
		t.Run(x.what, func(t *testing.T) {
			onCounter(t, nil, func(t *testing.T, c *counter) {
				p := c.paid()
				c.use(p.ID, false)
				r := c.refund(p)
				c.answer(c.box, r, api.Applied)
				x.beat(c, r)
				c.sweep(10 * time.Second)
				c.sweep(0)
				if x.sent {
					c.want(r, hub.RefundDone, hub.PaymentRefunded)
					return
				}
				c.want(r, hub.RefundRevoking, hub.PaymentRefunding)
				for range 100 {
					c.sweep(10 * time.Second)
				}
				if c.calls() != 0 {
					t.Error("it was sent")
				}
				if got := c.want(r, hub.RefundUndecided, hub.PaymentRefunding); got.Reason == "" {
					t.Error("nobody is told why")
				}
			})
		})
	}
	// By force it goes back, used or not.
	onCounter(t, nil, func(t *testing.T, c *counter) {
		p := c.paid()
		r := must(c.RequestRefund(c.ctx, c.admin, hub.RefundRequest{Payment: p.ID, Reason: "x", Force: true}))(t)
		c.answer(c.box, r, api.Applied)
		c.sweep(10 * time.Second)
		c.sweep(0)
		c.want(r, hub.RefundDone, hub.PaymentRefunded)
	})
}

// A grant that replaced one whose refund failed counts as the first one does.
func TestRefundRestoredUsed(t *testing.T) {
	onCounter(t, nil, func(t *testing.T, c *counter) {
		c.teller.noCreate = &hub.RejectedError{Reason: "no"}
		p := c.paid()
		first := c.refund(p)
		c.ack(first, api.Applied)
		c.sweep(10 * time.Second)
		c.sweep(0)
		first = c.want(first, hub.RefundFailed, hub.PaymentSucceeded)
		second := c.refund(p)
		c.answer(c.box, second, api.Applied)
		c.use(first.Restored, true)
		c.beat(c.box, second.Push, c.box.n, 0)
		c.sweep(10 * time.Second)
		c.want(second, hub.RefundUndecided, hub.PaymentRefunding)
		must(c.DecideRefund(c.ctx, c.admin, second.ID, false))(t)
		if got := c.want(second, hub.RefundFailed, hub.PaymentSucceeded); got.Restored != "" {
			t.Error("what was used was given again")
		}
	})
}
