package store_test

import (
	"testing"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

// TestRefundForInitiate: what was bought by the documented API is given out by
// who asked for it, so nothing here can be revoked before the money goes back.
func TestRefundForInitiate(t *testing.T) {
	onCounter(t, nil, func(t *testing.T, c *counter) {
		c.till.flow = hub.FlowRedirect
		by := hub.Actor{User: "u", Name: "kofi", Role: hub.RoleReseller, Reseller: c.reseller.ID}
		p := must(c.Initiate(c.ctx, by, api.Initiate{ForfaitID: c.forfait.Plan.ID, Provider: "MTN_MOMO"}))(t)
		c.till.becomes(hub.PaymentSucceeded, 500, "XOF")
		c.later(26 * time.Second)
		_, err := c.RequestRefund(c.ctx, c.admin, hub.RefundRequest{Payment: p.TransactionID, Reason: "asked for"})
		wantState(t, err)
		c.sweep(10 * time.Second)
		if c.calls() != 0 {
			t.Errorf("%d calls", c.calls())
		}
		c.shop.state(p.TransactionID, hub.PaymentSucceeded)
		r := must(c.RequestRefund(c.ctx, c.admin, hub.RefundRequest{Payment: p.TransactionID, Reason: "asked for", Force: true}))(t)
		c.sweep(10 * time.Second)
		c.want(r, hub.RefundDone, hub.PaymentRefunded)
	})
}
