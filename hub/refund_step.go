package hub

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// stepRefund moves one refund whose time has come.
func (h *Hub) stepRefund(ctx context.Context, id string, away map[string]bool) error {
	var do func(context.Context, Refund, map[string]bool) error
	r, err := h.refunding(ctx, id, func(tx Tx, r *Refund) error {
		do = nil
		if r.NextLook.IsZero() || r.NextLook.After(h.at()) {
			return nil
		}
		switch r.State {
		case RefundRevoking:
			return h.revoked(tx, r)
		case RefundReady:
			switch {
			case r.Provider == "" || !h.canSend(*r):
				r.NextLook = time.Time{} // by hand
			case away[r.Provider]:
				r.NextLook = h.at().Add(firstLook)
			default:
				r.State, r.Reason, r.Attempt = RefundSending, "", r.Attempt+1
				r.Called, r.NextLook = h.at(), h.lease()
				do = h.sendRefund
			}
		case RefundSending:
			r.doubt(h, "the hub stopped before the provider's answer came")
			r.NextLook = h.at()
		case RefundWaiting, RefundAmbiguous:
			switch {
			case !h.canSend(*r):
				r.NextLook = time.Time{}
			case away[r.Provider]:
				r.NextLook = h.at().Add(firstLook)
			default:
				r.Looks++
				r.NextLook = h.lease()
				do = h.lookRefund
			}
		default:
			r.NextLook = time.Time{}
		}
		return nil
	})
	if err != nil || do == nil {
		return err
	}
	return do(context.WithoutCancel(ctx), r, away)
}

func (h *Hub) canSend(r Refund) bool {
	if r.AsPayout {
		return h.payout.Payers[r.Provider] != nil
	}
	return h.payout.Refunders[r.Provider] != nil
}

// revoked looks whether every gateway of the site has said that the grant is
// gone, and has told all that came before. One that does not answer, or cannot,
// leaves it to a person.
func (h *Hub) revoked(tx Tx, r *Refund) error {
	p, err := tx.Payment(r.Payment)
	if err != nil {
		return err
	}
	live, err := tx.LiveGateways("", p.Site)
	if err != nil {
		return err
	}
	refused, applied, err := tx.AcksOf(r.Push, 1)
	if err != nil {
		return err
	}
	late := h.at().Sub(r.Made) >= h.payout.RefundWait
	undecided := func(why string) {
		r.State, r.Reason, r.NextLook = RefundUndecided, why, time.Time{}
	}
	switch {
	case len(refused) > 0:
		undecided("the gateway did not revoke the grant: " + clip(refused[0].Reason, 200))
	case len(live) > 0 && applied >= len(live):
		// Whatever it had used, it goes back.
		told := r.Forced
		if !told {
			used, err := usedGrant(tx, p.ID)
			if err != nil {
				return err
			}
			if used {
				undecided("the customer has used it before it was revoked")
				return nil
			}
			if told, err = toldBefore(tx, r.Push, live); err != nil {
				return err
			}
		}
		switch {
		case told:
			r.State, r.NextLook = RefundReady, h.at()
		case late:
			undecided("the gateway has revoked the grant, and has not said whether it was used before")
		default:
			r.NextLook = h.at().Add(revokeEvery)
		}
	case late:
		undecided("the gateway has not said that the grant is revoked")
	default:
		r.NextLook = h.at().Add(revokeEvery)
	}
	return nil
}

// toldBefore says whether the hub has every entry that the gateways made before
// they took a push: answers to pushes may overtake entries. A heartbeat that
// names the push tells which entry was the last. One of a later gateway says
// nothing of what the gateway before it has done.
func toldBefore(tx Tx, push uint64, gateways []Heard) (bool, error) {
	for _, g := range gateways {
		s, err := tx.StatusOf(g.ID)
		if errors.Is(err, ErrNotFound) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		if g.Since >= push || s.Applied < push || s.Unsent > 0 || s.Entry >= g.NextEntry {
			return false, nil
		}
	}
	return true, nil
}

// usedGrant says whether gateways have reported that the grant of a payment
// began, or one that replaced it.
func usedGrant(tx Tx, payment string) (bool, error) {
	grants, err := grantsOf(tx, payment)
	if err != nil {
		return false, err
	}
	for _, id := range grants {
		if used, err := tx.GrantStarted(id); err != nil || used {
			return used, err
		}
	}
	return false, nil
}

// doubt is what nobody knows the end of.
func (r *Refund) doubt(h *Hub, why string) {
	r.State, r.Reason, r.Called = RefundAmbiguous, clip(why, 300), time.Time{}
	r.NextLook = h.at().Add(firstLook)
}

func (r Refund) order(p Payment) RefundOrder {
	o := RefundOrder{Payment: p, Reference: r.Reference, Amount: r.Amount, Reason: r.Why, Handle: r.Handle}
	if r.Attempt > 1 {
		o.Reference += fmt.Sprint("r", r.Attempt)
	}
	return o
}

// refundAsPayout is a refund as the payout that it goes out as.
func (h *Hub) refundAsPayout(o RefundOrder, r Refund) PayoutOrder {
	out := PayoutOrder{Reference: o.Reference, Phone: r.Phone, Operator: o.Payment.Channel, Amount: r.Amount, ProviderRef: r.Handle, Made: r.Made}
	if h.payout.CallbackURL != nil {
		out.CallbackURL = h.payout.CallbackURL(r.Provider)
	}
	return out
}

func fromPayout(obs PayoutObservation) RefundObservation {
	state := PaymentRefunding
	switch obs.State {
	case PayoutCompleted:
		state = PaymentRefunded
	case PayoutFailed, PayoutReversed, PayoutCanceled, PayoutExpired:
		state = PaymentSucceeded
	}
	return RefundObservation{State: state, Definitive: obs.Definitive, Handle: obs.ProviderRef, Reason: obs.Reason, Raw: obs.Raw}
}

func (h *Hub) paymentOf(ctx context.Context, r Refund) (p Payment, err error) {
	err = h.store.Read(ctx, func(tx Tx) error {
		p, err = tx.Payment(r.Payment)
		return err
	})
	return p, err
}

// sendRefund calls the provider of a refund that is written down as being sent.
// Where it takes two calls, the handle of the first is written down before the
// second, which moves the money.
func (h *Hub) sendRefund(ctx context.Context, r Refund, away map[string]bool) error {
	p, err := h.paymentOf(ctx, r)
	if err != nil {
		return err
	}
	call := func(do func(context.Context, RefundOrder) (RefundObservation, error)) (RefundObservation, error) {
		ctx, cancel := context.WithTimeout(ctx, h.payout.CallTime)
		defer cancel()
		return do(ctx, r.order(p))
	}
	if r.AsPayout {
		obs, failed := call(func(ctx context.Context, o RefundOrder) (RefundObservation, error) {
			obs, err := h.payout.Payers[r.Provider].Payout(ctx, h.refundAsPayout(o, r))
			return fromPayout(obs), err
		})
		return h.refundAnswered(ctx, r, obs, failed, away)
	}
	refunder := h.payout.Refunders[r.Provider]
	if r.Handle == "" {
		obs, failed := call(refunder.CreateRefund)
		if failed != nil || obs.Handle == "" || obs.Definitive {
			return h.refundAnswered(ctx, r, obs, failed, away)
		}
		attempt, late := r.Attempt, false
		r, err = h.refunding(ctx, r.ID, func(_ Tx, now *Refund) error {
			if late = now.State != RefundSending || now.Attempt != attempt; late {
				return nil
			}
			now.Handle = clip(obs.Handle, 200)
			now.Called, now.NextLook = h.at(), h.lease()
			return nil
		})
		if err != nil {
			return err
		}
		if late { // and nothing is sent
			h.log.Warn("a refund was decided while the provider was called", "refund", r.ID, "state", string(r.State))
			return nil
		}
	}
	obs, failed := call(refunder.SendRefund)
	return h.refundAnswered(ctx, r, obs, failed, away)
}

// refundAnswered takes what became of a call.
func (h *Hub) refundAnswered(ctx context.Context, sent Refund, obs RefundObservation, failed error, away map[string]bool) error {
	return h.settleRefund(ctx, sent.ID, func(tx Tx, r *Refund) (func(), error) {
		if r.Attempt != sent.Attempt || r.State != RefundSending && r.State != RefundAmbiguous {
			h.log.Error("a refund was answered after it was decided", "refund", r.ID, "state", string(r.State), "answer", string(obs.State), "err", failed)
			return nil, nil
		}
		r.Called = time.Time{}
		var no *RejectedError
		var lost *AmbiguousError
		switch {
		case failed == nil:
			return h.observedRefund(tx, r, obs)
		case errors.Is(failed, ErrNotSent):
			away[r.Provider] = true
			r.State, r.Reason = RefundReady, "the provider could not be reached"
			r.NextLook = h.at().Add(backoff(time.Minute, r.Attempt-1))
			return nil, nil
		case errors.As(failed, &no):
			return h.failRefund(tx, r, no.Reason)
		case errors.As(failed, &lost) && r.Handle == "":
			r.Handle = clip(lost.ProviderRef, 200)
		}
		r.doubt(h, "the provider's answer was lost")
		return nil, nil
	})
}

// settleRefund is refunding, with what the customer is told after it.
func (h *Hub) settleRefund(ctx context.Context, id string, f func(Tx, *Refund) (func(), error)) error {
	var tell func()
	_, err := h.refunding(ctx, id, func(tx Tx, r *Refund) (err error) {
		tell, err = f(tx, r)
		return err
	})
	if err == nil && tell != nil {
		tell()
	}
	return err
}

// observedRefund takes what a provider shows. What it has only taken to look at
// is not refunded yet.
func (h *Hub) observedRefund(tx Tx, r *Refund, obs RefundObservation) (tell func(), err error) {
	switch {
	case r.Handle == "":
		r.Handle = clip(obs.Handle, 200)
	case obs.Handle != "" && obs.Handle != r.Handle:
		r.doubt(h, "the provider shows another refund than ours")
		return nil, nil
	}
	if obs.Definitive {
		switch obs.State {
		case PaymentRefunded:
			return nil, h.endedRefund(tx, r)
		case PaymentSucceeded:
			reason := obs.Reason
			if reason == "" {
				reason = "the provider did not refund it"
			}
			return h.failRefund(tx, r, reason)
		}
	}
	switch {
	case obs.State == PaymentRefunding || obs.State == PaymentRefunded:
		r.State, r.Reason = RefundWaiting, clip(obs.Reason, 300)
	case r.State == RefundSending:
		r.doubt(h, "the provider's answer says nothing")
		return nil, nil
	}
	r.NextLook = h.at().Add(backoff(firstLook, r.Looks))
	return nil, nil
}

func (h *Hub) lookRefund(ctx context.Context, r Refund, away map[string]bool) error {
	p, err := h.paymentOf(ctx, r)
	if err != nil {
		return err
	}
	call, cancel := context.WithTimeout(ctx, h.payout.CallTime)
	defer cancel()
	var obs RefundObservation
	var failed error
	if r.AsPayout {
		var paid PayoutObservation
		paid, failed = h.payout.Payers[r.Provider].LookupPayout(call, h.refundAsPayout(r.order(p), r))
		obs = fromPayout(paid)
	} else {
		obs, failed = h.payout.Refunders[r.Provider].LookupRefund(call, r.order(p))
	}
	return h.settleRefund(ctx, r.ID, func(tx Tx, r *Refund) (func(), error) {
		switch {
		case r.State != RefundWaiting && r.State != RefundAmbiguous:
			return nil, nil
		case errors.Is(failed, ErrUnsupported):
			r.doubt(h, "the provider cannot be asked: look into its statement")
			r.NextLook = time.Time{}
		case errors.Is(failed, ErrNotFound):
			r.Reason = "the provider does not know it, which is no proof that it will not pay"
			r.NextLook = h.at().Add(backoff(firstLook, r.Looks))
		case failed != nil:
			away[r.Provider] = true
			r.NextLook = h.at().Add(backoff(firstLook, r.Looks))
		default:
			return h.observedRefund(tx, r, obs)
		}
		return nil, nil
	})
}

// hintedRefund has the provider of a refund asked in the next pass.
func (h *Hub) hintedRefund(tx Tx, r Refund, x Hint) error {
	if !h.money.heed(r.ID, h.now()) {
		return nil
	}
	if err := tx.Lock(LedgerLock(r.Reseller)); err != nil {
		return err
	}
	r, err := tx.Refund(r.ID)
	if err != nil {
		return err
	}
	if err := h.note(tx, theHub, "refund.hint", r.ID, x.Raw); err != nil {
		return err
	}
	if r.State != RefundWaiting && r.State != RefundAmbiguous {
		return nil
	}
	r.NextLook = h.at()
	return tx.ChangeRefund(r)
}
