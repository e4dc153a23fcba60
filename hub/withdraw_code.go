package hub

import (
	"context"
	"errors"
	"time"
)

// Of providers that send the receiver a code of their own. Nothing is paid
// before Confirm; once it may have been sent, only the provider says that it
// will not pay.

func (h *Hub) codePayer(name string) (CodePayer, bool) {
	p, ok := h.payout.Payers[name].(CodePayer)
	return p, ok
}

// askForCode has the provider send the code of a withdrawal that was written
// down. Without an answer the next passes look for it; nobody can enter a code
// until then.
func (h *Hub) askForCode(ctx context.Context, w Withdrawal) (Withdrawal, error) {
	call, cancel := context.WithTimeout(ctx, h.payout.CallTime)
	defer cancel()
	obs, failed := h.payout.Payers[w.Payer].Payout(call, h.order(w))
	var verdict error
	w, err := h.changing(ctx, w.ID, func(tx Tx, w *Withdrawal) error {
		verdict = nil
		if w.State != PayoutRequested {
			return nil
		}
		w.Called = time.Time{}
		var no *RejectedError
		switch {
		case failed == nil:
			others, err := othersRef(tx, w, obs.ProviderRef)
			if err != nil {
				return err
			}
			if others {
				w.NextLook, w.Reason = h.at().Add(firstLook), "the provider shows another withdrawal's"
				return nil
			}
			h.coded(w, obs)
		case errors.Is(failed, ErrNotSent):
			verdict = errors.Join(ErrMessenger, failed)
			return h.end(tx, w, PayoutFailed, "the provider could not be reached")
		case errors.As(failed, &no):
			verdict = errors.Join(ErrMessenger, failed)
			return h.end(tx, w, PayoutFailed, no.Reason)
		default:
			w.NextLook, w.Reason = h.at().Add(firstLook), "the provider's answer was lost"
		}
		return nil
	})
	return w, errors.Join(err, verdict)
}

// othersRef says whether the provider's id is another withdrawal's.
func othersRef(tx Tx, w *Withdrawal, ref string) (bool, error) {
	if ref == "" || ref == w.ProviderRef {
		return false, nil
	}
	other, err := tx.WithdrawalOf(w.Payer, "", ref)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && other.ID != w.ID, err
}

// coded notes that the receiver has a code.
func (h *Hub) coded(w *Withdrawal, obs PayoutObservation) {
	w.State, w.Reason, w.CodeSends = PayoutCodeSent, "", w.CodeSends+1
	if w.ProviderRef == "" {
		w.ProviderRef = clip(obs.ProviderRef, 200)
	}
	w.CodeExpires = h.at().Add(codeLife)
	w.NextLook = w.CodeExpires
}

// confirming writes down that the code goes to the provider, which pays then.
func (h *Hub) confirming(tx Tx, by Actor, w *Withdrawal) error {
	if err := h.alone(tx, w); err != nil {
		return err
	}
	if err := frozen(tx, w.Reseller); err != nil {
		return err
	}
	w.State, w.Called, w.NextLook = PayoutProcessing, h.at(), h.lease()
	return h.note(tx, by, "withdrawal.verify", w.ID, masked(w.Phone))
}

func (h *Hub) confirm(ctx context.Context, w Withdrawal, code string) (Withdrawal, error) {
	call, cancel := context.WithTimeout(ctx, h.payout.CallTime)
	defer cancel()
	payer, _ := h.codePayer(w.Payer)
	obs, failed := payer.Confirm(call, h.order(w), code)
	var verdict error
	w, err := h.changing(ctx, w.ID, func(tx Tx, w *Withdrawal) error {
		verdict = nil
		if w.State != PayoutProcessing && w.State != PayoutAmbiguous || !w.Verified.IsZero() {
			return nil
		}
		w.Called = time.Time{}
		var no *RejectedError
		switch {
		case failed == nil:
			w.Looks = 0
			return h.observed(tx, w, obs)
		case errors.Is(failed, ErrNotSent):
			verdict = ErrNotSent
		case errors.Is(failed, ErrExpired):
			// The sweep asks the provider, and ends it then.
			verdict = ErrExpired
			w.State, w.NextLook = PayoutCodeSent, h.at()
			w.CodeExpires = h.at()
			return nil
		case errors.As(failed, &no):
			w.Tries++
			verdict = &CodeError{max(maxTries-w.Tries, 0)}
		default:
			h.doubt(w, "the provider's answer to the code was lost")
			return nil
		}
		w.State, w.NextLook = PayoutCodeSent, w.CodeExpires
		if w.Tries >= maxTries {
			w.NextLook = h.at()
		}
		return nil
	})
	return w, errors.Join(err, verdict)
}

func (h *Hub) resendTheirs(ctx context.Context, payer CodePayer, w Withdrawal) (Withdrawal, error) {
	call, cancel := context.WithTimeout(ctx, h.payout.CallTime)
	defer cancel()
	expires, failed := payer.Resend(call, h.order(w))
	if failed != nil {
		return w, errors.Join(ErrMessenger, failed)
	}
	return h.changing(ctx, w.ID, func(_ Tx, w *Withdrawal) error {
		if w.State != PayoutCodeSent {
			return nil
		}
		w.CodeExpires = h.at().Add(codeLife)
		if !expires.IsZero() && expires.Before(w.CodeExpires) {
			w.CodeExpires = expires.UTC().Truncate(time.Millisecond)
		}
		w.NextLook = w.CodeExpires
		return nil
	})
}

// canceling makes a withdrawal one whose code is not taken any more, until the
// provider says that it is canceled.
func (h *Hub) canceling(w *Withdrawal) error {
	w.CodeExpires, w.NextLook = h.at(), h.at()
	return nil
}

// cancelTheirs ends a withdrawal when the provider has canceled its own.
func (h *Hub) cancelTheirs(ctx context.Context, w Withdrawal) (Withdrawal, error) {
	payer, ok := h.codePayer(w.Payer)
	if !ok {
		return w, nil
	}
	call, cancel := context.WithTimeout(ctx, h.payout.CallTime)
	defer cancel()
	if err := payer.Cancel(call, h.order(w)); err != nil {
		return w, errors.Join(ErrMessenger, err)
	}
	return h.changing(ctx, w.ID, func(tx Tx, w *Withdrawal) error {
		if w.State != PayoutCodeSent {
			return nil
		}
		return h.end(tx, w, PayoutCanceled, "canceled by the reseller")
	})
}

// lookTheirs moves one on whose code the provider has sent, or may have.
func (h *Hub) lookTheirs(ctx context.Context, w Withdrawal, away map[string]bool) error {
	payer, _ := h.codePayer(w.Payer)
	call, cancel := context.WithTimeout(ctx, h.payout.CallTime)
	defer cancel()
	obs, failed := payer.LookupPayout(call, h.order(w))
	gone := w.State == PayoutCodeSent && failed == nil && obs.State == PayoutCodeSent && !obs.Definitive
	if gone {
		// Its time is over here, and not yet there.
		failed = payer.Cancel(call, h.order(w))
		obs.State, obs.Definitive = PayoutExpired, true
	}
	_, err := h.changing(ctx, w.ID, func(tx Tx, w *Withdrawal) error {
		if w.State != PayoutRequested && w.State != PayoutCodeSent {
			return nil
		}
		if others, err := othersRef(tx, w, obs.ProviderRef); err != nil {
			return err
		} else if others {
			failed = ErrNotFound
		}
		switch {
		case errors.Is(failed, ErrNotFound) && w.State == PayoutRequested:
			// One that comes after all cannot be paid: nobody here takes its code.
			if h.at().Sub(w.Made) > codeLife+5*time.Minute {
				return h.end(tx, w, PayoutFailed, "the provider does not know it")
			}
			w.NextLook = h.at().Add(firstLook)
		case failed != nil:
			away[w.Payer] = true
			w.NextLook = h.at().Add(backoff(firstLook, w.Looks))
		case w.State == PayoutRequested && obs.State == PayoutCodeSent:
			h.coded(w, obs)
		case obs.State == PayoutProcessing || obs.State == PayoutCompleted:
			// The code got there after all.
			if err := h.alone(tx, w); err != nil {
				w.NextLook = h.at().Add(firstLook)
				return nil
			}
			w.Looks = 0
			return h.observed(tx, w, obs)
		default:
			return h.observed(tx, w, obs)
		}
		return nil
	})
	return err
}
