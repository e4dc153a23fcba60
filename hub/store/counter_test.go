package store_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

// A counter is a shop whose customers get their money back.
type counter struct {
	*shop
	payouts hub.Payouts
	inbox   *inbox
	teller  *teller
	bank    *bank
}

// teller is a provider's side of refunds.
type teller struct {
	mu            sync.Mutex
	created, sent []hub.RefundOrder
	looks         int
	// create, send and look are what is answered; each may have an error.
	create, send, look       hub.RefundObservation
	noCreate, noSend, noLook error
	inCreate, inSend         func()
}

func (x *teller) CreateRefund(_ context.Context, o hub.RefundOrder) (hub.RefundObservation, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.created = append(x.created, o)
	if x.inCreate != nil {
		x.inCreate()
	}
	return x.create, x.noCreate
}

func (x *teller) SendRefund(_ context.Context, o hub.RefundOrder) (hub.RefundObservation, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sent = append(x.sent, o)
	if x.inSend != nil {
		x.inSend()
	}
	return x.send, x.noSend
}

func (x *teller) LookupRefund(context.Context, hub.RefundOrder) (hub.RefundObservation, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.looks++
	return x.look, x.noLook
}

var (
	refunded  = hub.RefundObservation{State: hub.PaymentRefunded, Definitive: true}
	refunding = hub.RefundObservation{State: hub.PaymentRefunding, Handle: "rfd_1", Reason: "waiting for validation"}
	stays     = hub.RefundObservation{State: hub.PaymentSucceeded, Definitive: true}
)

func onCounter(t *testing.T, change func(c *counter), test func(t *testing.T, c *counter)) {
	onEach(t, func(t *testing.T, w *world) {
		c := &counter{inbox: &inbox{}, teller: &teller{create: refunded}, bank: &bank{}}
		c.payouts = hub.Payouts{Messenger: c.inbox, Refunders: map[string]hub.Refunder{"till": c.teller}, Payers: map[string]hub.Payer{}}
		if change != nil {
			change(c)
		}
		w.Hub = hub.New(hub.Options{Store: w.store, Keys: w.keys, Hasher: plainHasher{}, Now: w.clock.Now, Settle: 10 * time.Minute, Payouts: c.payouts})
		c.shop = newShop(w)
		test(t, c)
	})
}

// paid is a payment that succeeded.
func (c *counter) paid() hub.Payment {
	c.Helper()
	p := c.start(c.intent())
	c.till.becomes(hub.PaymentSucceeded, 500, "XOF")
	c.later(26 * time.Second)
	c.clock.pass(time.Millisecond)
	return c.shop.state(p.TransactionID, hub.PaymentSucceeded)
}

func (c *counter) refund(p hub.Payment) hub.Refund {
	c.Helper()
	return must(c.RequestRefund(c.ctx, c.admin, hub.RefundRequest{Payment: p.ID, Reason: "asked for"}))(c)
}

func (c *counter) sweep(d time.Duration) {
	c.Helper()
	c.clock.pass(d)
	c.ok(c.SweepPayouts(c.ctx))
}

// ack has the gateway answer the revocation of a refund, and say that it has
// told everything.
func (c *counter) ack(r hub.Refund, outcome string) {
	c.Helper()
	c.answer(c.box, r, outcome)
	c.beat(c.box, r.Push, c.box.n, 0)
}

// answer is an acknowledgement and no more.
func (c *counter) answer(b *box, r hub.Refund, outcome string) {
	c.Helper()
	c.ok(c.Acks(c.ctx, b.Gateway, api.Acks{Instance: b.instance, Acks: []api.Ack{{Seq: r.Push, Outcome: outcome}}}))
}

// beat is a heartbeat that is written down.
func (c *counter) beat(b *box, applied, entry, unsent uint64) {
	c.Helper()
	// The newest is kept, by the millisecond.
	c.clock.pass(time.Millisecond)
	must(c.Heartbeat(c.ctx, c.again(b), api.Heartbeat{Instance: b.instance, Boot: "b1", Nonce: "AAAAAAAAAAAAAAAAAAAAAA==",
		Applied: applied, Entry: entry, Unsent: unsent}))(c)
	c.ok(c.Flush(c.ctx))
}

func (c *counter) want(r hub.Refund, s hub.RefundState, p hub.PaymentState) hub.Refund {
	c.Helper()
	got := must(c.Refund(c.ctx, c.admin, r.ID))(c)
	if got.State != s {
		c.Errorf("the refund is %s (%s), want %s", got.State, got.Reason, s)
	}
	c.shop.state(r.Payment, p)
	return got
}

// revocations are the grants that were taken back from the gateway.
func (c *counter) revocations() (out []string) {
	c.Helper()
	for _, p := range c.pushes(c.box, c.box.Since) {
		if p.Kind == api.KindGrantRevoked {
			var g api.GrantRevoked
			c.ok(json.Unmarshal(p.Body, &g))
			out = append(out, g.Grant)
		}
	}
	return out
}

func (c *counter) calls() int {
	c.teller.mu.Lock()
	defer c.teller.mu.Unlock()
	return len(c.teller.created) + len(c.teller.sent)
}
