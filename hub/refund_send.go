package hub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"zonegate/sync/api"
)

// fromRestore is the Source of a grant that replaces one whose refund failed;
// its Ref is the refund.
const fromRestore = "restored"

// revokeEvery is how often a refund looks whether the gateway has answered.
const revokeEvery = 5 * time.Second

// RequestRefund revokes what was bought and then sends the money back to the
// number that paid. What a customer has used is refunded by Force alone. A
// payment that was rejected in review is sent back without a grant. Admins only.
func (h *Hub) RequestRefund(ctx context.Context, by Actor, q RefundRequest) (Refund, error) {
	if by.Role != RoleAdmin {
		return Refund{}, ErrForbidden
	}
	if q.Reason == "" || len(q.Reason) > 200 || q.Amount < 0 {
		return Refund{}, invalid("say why the money goes back, in 1 to 200 letters")
	}
	id, err := h.newID()
	if err != nil {
		return Refund{}, err
	}
	reference, err := h.newReference("RFD")
	if err != nil {
		return Refund{}, err
	}
	var r Refund
	err = h.store.Write(ctx, func(tx Tx) error {
		p, err := tx.Payment(q.Payment)
		if err != nil {
			return err
		}
		if err := tx.Lock(LedgerLock(p.Reseller)); err != nil {
			return err
		}
		if p, err = tx.Payment(q.Payment); err != nil {
			return err
		}
		r = Refund{ID: id, Payment: p.ID, Reseller: p.Reseller, Reference: reference, Amount: p.Paid, Phone: p.Phone,
			State: RefundReady, Why: q.Reason, By: by.User, Forced: q.Force, Made: h.at(), Changed: h.at(), NextLook: h.at()}
		if q.Amount > 0 {
			r.Amount.Amount = q.Amount
		}
		h.route(&r, p)
		if err := h.takeGrant(tx, &r, p); err != nil {
			return err
		}
		if err := tx.AddRefund(r); errors.Is(err, ErrExists) {
			return &StateError{string(p.State), "there is a refund of this payment"}
		} else if err != nil {
			return err
		}
		return h.note(tx, by, "refund.request", r.ID, "payment "+p.ID+": "+spoken(r.Amount)+": "+q.Reason)
	})
	return r, err
}

// route says who sends a refund.
func (h *Hub) route(r *Refund, p Payment) {
	_, code := h.codePayer(p.Provider)
	switch {
	case h.payout.Refunders[p.Provider] != nil:
		r.Provider = p.Provider
	case h.payout.Payers[p.Provider] != nil && p.Phone != "" && !code:
		r.Provider, r.AsPayout = p.Provider, true
	}
}

// takeGrant takes back what was bought and what was booked.
func (h *Hub) takeGrant(tx Tx, r *Refund, p Payment) error {
	if p.State == PaymentRefunding {
		// It was rejected in review: booked, and without a grant.
		if r.Amount != p.Paid {
			return invalid("all of a payment that was not accepted goes back")
		}
		var err error
		r.ID, err = rejection(tx, p.ID)
		return err
	}
	if p.Device == "" && p.Claim == "" && !r.Forced {
		return &StateError{string(p.State), "who asked for it gave out what was bought, and nobody here can take that back; it can only be refunded by force"}
	}
	grants, err := grantsOf(tx, p.ID)
	if err != nil {
		return err
	}
	if used, err := usedGrant(tx, p.ID); err != nil {
		return err
	} else if used && !r.Forced {
		return &StateError{string(p.State), "the customer has used it; it can only be refunded by force"}
	}
	if _, r.Push, err = h.beginRefund(tx, p.ID, r.ID, r.Amount.Amount, r.Why); err != nil {
		return err
	}
	for _, id := range grants[1:] {
		g, err := tx.Grant(id)
		if err != nil {
			return err
		}
		if g.Revoked {
			continue
		}
		if err := tx.RevokeGrant(id); err != nil {
			return err
		}
		sent, err := h.pushBody(tx, Target{Site: g.Site}, api.KindGrantRevoked, api.GrantRevoked{Grant: id, Reason: clip(r.Why, 200)}, "")
		if err != nil {
			return err
		}
		r.Push = sent.Seq
	}
	if r.Push != 0 {
		r.State = RefundRevoking
	}
	return nil
}

// grantsOf are the grants that a payment has had: its own, and those that
// refunds have restored.
func grantsOf(tx Tx, payment string) ([]string, error) {
	before, err := tx.Refunds(RefundQuery{Payment: payment, Max: 100})
	grants := []string{payment}
	for _, r := range before {
		if r.Restored != "" {
			grants = append(grants, r.Restored)
		}
	}
	return grants, err
}

// refunding reads a refund under its reseller's lock, has f change it, and
// writes it down.
func (h *Hub) refunding(ctx context.Context, id string, f func(Tx, *Refund) error) (out Refund, err error) {
	err = h.store.Write(ctx, func(tx Tx) error {
		r, err := tx.Refund(id)
		if err != nil {
			return err
		}
		if err := tx.Lock(LedgerLock(r.Reseller)); err != nil {
			return err
		}
		if r, err = tx.Refund(id); err != nil {
			return err
		}
		if err := f(tx, &r); err != nil {
			return err
		}
		r.Changed = h.at()
		out = r
		return tx.ChangeRefund(r)
	})
	return out, err
}

func (r Refund) wrong(why string) error { return &StateError{string(r.State), why} }

// DecideRefund is a person's word on a refund whose gateway has not said that
// the grant is gone: send it all the same, or not at all.
func (h *Hub) DecideRefund(ctx context.Context, by Actor, id string, send bool) (Refund, error) {
	if by.Role != RoleAdmin {
		return Refund{}, ErrForbidden
	}
	var tell func()
	r, err := h.refunding(ctx, id, func(tx Tx, r *Refund) (err error) {
		tell = nil
		if r.State != RefundUndecided && (r.State != RefundReady || send) {
			return r.wrong("")
		}
		if err := h.note(tx, by, "refund.decide", r.ID, map[bool]string{true: "send it", false: "do not send it"}[send]); err != nil {
			return err
		}
		if !send {
			tell, err = h.failRefund(tx, r, "not sent, by decision of "+by.Name)
			return err
		}
		r.State, r.Reason, r.NextLook = RefundReady, "", h.at()
		return nil
	})
	if err == nil && tell != nil {
		tell()
	}
	return r, err
}

// ResolveRefund ends a refund that is sent by hand, or whose end nobody knows,
// by what a statement shows. Admins only.
func (h *Hub) ResolveRefund(ctx context.Context, by Actor, id string, d Resolution) (Refund, error) {
	if by.Role != RoleAdmin {
		return Refund{}, ErrForbidden
	}
	if d.Statement == "" || len(d.Statement) > maxText {
		return Refund{}, invalid("say which line of a statement shows it, or who was asked")
	}
	var tell func()
	r, err := h.refunding(ctx, id, func(tx Tx, r *Refund) (err error) {
		tell = nil
		switch {
		case r.State == RefundAmbiguous || r.State == RefundWaiting:
		case r.State == RefundReady && r.Provider == "":
		default:
			return r.wrong("only what is sent by hand, or open at the provider, can be decided")
		}
		r.Statement = d.Statement
		if err := h.note(tx, by, "refund.resolve", r.ID, map[bool]string{true: "paid: ", false: "not paid: "}[d.Paid]+d.Statement); err != nil {
			return err
		}
		if d.Paid {
			return h.endedRefund(tx, r)
		}
		tell, err = h.failRefund(tx, r, "by the statement it was not paid")
		return err
	})
	if err == nil && tell != nil {
		tell()
	}
	return r, err
}

// endedRefund books that the customer has the money.
func (h *Hub) endedRefund(tx Tx, r *Refund) error {
	r.State, r.Reason, r.NextLook, r.Called = RefundDone, "", time.Time{}, time.Time{}
	_, err := h.endRefund(tx, r.Payment, r.ID, true, r.Why)
	return err
}

// failRefund books that the money stays, and gives the customer what was taken
// back: a new grant with a new code, unless he had used the old one. tell, to be
// called after the transaction, sends him the code.
func (h *Hub) failRefund(tx Tx, r *Refund, reason string) (tell func(), err error) {
	r.State, r.Reason, r.NextLook, r.Called = RefundFailed, clip(reason, 300), time.Time{}, time.Time{}
	p, err := h.endRefund(tx, r.Payment, r.ID, false, r.Reason)
	if err != nil || p.State != PaymentSucceeded {
		return nil, err
	}
	old, err := tx.Grant(p.ID)
	if errors.Is(err, ErrNotFound) {
		return nil, nil // who asked for the payment gives out what was bought
	} else if err != nil {
		return nil, err
	}
	if used, err := usedGrant(tx, p.ID); err != nil || used {
		return nil, err
	}
	site, err := tx.Site(p.Site)
	if err != nil {
		return nil, err
	}
	key, err := h.unseal(site)
	if err != nil {
		return nil, err
	}
	codes, keys, err := h.draw(key, 1)
	if err != nil {
		return nil, err
	}
	g := Grant{Site: old.Site, Forfait: old.Forfait, Version: old.Version, Device: old.Device, Source: fromRestore, Ref: r.ID,
		Key: keys[0], Expires: h.at().Add(h.money.banked), Made: h.at()}
	if g.ID, err = h.newID(); err != nil {
		return nil, err
	}
	f, err := tx.Forfait(g.Forfait, g.Version)
	if err != nil {
		return nil, fmt.Errorf("looking up a forfait: %w", err)
	}
	// With the intent, so that the device need not be there.
	body, err := grantBody(g, f, p.Intent)
	if err != nil {
		return nil, err
	}
	if err := tx.AddGrant(g); err != nil {
		return nil, err
	}
	if _, err := h.push(tx, Target{Site: g.Site}, api.KindGrant, body, ""); err != nil {
		return nil, err
	}
	// It was sold once: what the gateway will report of this one is for nothing.
	if _, err := tx.AddSales([]Sale{{Site: g.Site, Reseller: p.Reseller, At: g.Made, Exact: true, Source: sourceHub, Ref: g.ID,
		Forfait: g.Forfait, Version: g.Version, Currency: p.Price.Currency, Custody: CustodyPlatform}}); err != nil {
		return nil, err
	}
	r.Restored = g.ID
	if h.payout.Messenger == nil || p.Phone == "" {
		return nil, h.note(tx, theHub, "refund.restore", r.ID, "grant "+g.ID+"; nobody could be told its code")
	}
	text := fmt.Sprintf("Votre remboursement n'a pas abouti. Votre accès reste valable, avec le code %s.", codes[0])
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), h.payout.CallTime)
		defer cancel()
		if err := h.payout.Messenger.Send(ctx, p.Phone, text); err != nil {
			h.log.Error("telling a customer the code of a restored grant", "refund", r.ID, "err", err)
		}
	}, h.note(tx, theHub, "refund.restore", r.ID, "grant "+g.ID)
}

// Refund is one that the actor may see.
func (h *Hub) Refund(ctx context.Context, by Actor, id string) (r Refund, err error) {
	err = h.store.Read(ctx, func(tx Tx) error {
		r, err = tx.Refund(id)
		return err
	})
	if err == nil && !by.covers(r.Reseller) {
		return Refund{}, ErrNotFound
	}
	return r, err
}

// Refunds is a page of those that the actor may see, newest first.
func (h *Hub) Refunds(ctx context.Context, by Actor, q RefundQuery) (out []Refund, err error) {
	if q.Reseller, err = by.scope(q.Reseller); err != nil {
		return nil, err
	}
	q.Max, q.After = page(q.Max), max(q.After, 0)
	err = h.store.Read(ctx, func(tx Tx) error {
		out, err = tx.Refunds(q)
		return err
	})
	return out, err
}
