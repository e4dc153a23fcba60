package hub

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// answerTime is what a call may take beyond its time-out before it is taken for
// lost with the process that made it.
const answerTime = 30 * time.Second

// lease is when a call that begins now is taken for lost.
func (h *Hub) lease() time.Time { return h.at().Add(h.payout.CallTime + answerTime) }

// byHand is the provider of the ledger that by hand is paid from.
const byHand = "manual"

func (w Withdrawal) source() string {
	if w.Payer == "" {
		return AccountProvider + byHand
	}
	return AccountProvider + w.Payer
}

func (h *Hub) bookOut(tx Tx, kind string, w Withdrawal, postings ...Posting) error {
	t := Transaction{Kind: kind, Ref: w.ID, At: h.at(), Reseller: w.Reseller, Note: w.Reference}
	for _, p := range postings {
		if p.Amount != 0 {
			p.Currency = w.Amount.Currency
			t.Postings = append(t.Postings, p)
		}
	}
	return h.Book(tx, t)
}

func (h *Hub) reserve(tx Tx, w Withdrawal) error {
	return h.bookOut(tx, BookReserve, w,
		Posting{Account: AccountReseller + w.Reseller, Amount: w.Amount.Amount},
		Posting{Account: AccountBlocked + w.Reseller, Amount: -w.Amount.Amount})
}

// end gives a reserved amount back to the balance, in a state in which nothing
// was paid out.
func (h *Hub) end(tx Tx, w *Withdrawal, s PayoutState, reason string) error {
	w.State, w.Reason = s, clip(reason, 300)
	w.CodeHash, w.NextLook, w.Called = "", time.Time{}, time.Time{}
	return h.bookOut(tx, BookReleased, *w,
		Posting{Account: AccountBlocked + w.Reseller, Amount: w.Amount.Amount},
		Posting{Account: AccountReseller + w.Reseller, Amount: -w.Amount.Amount})
}

// paid books that the receiver has the money.
func (h *Hub) paid(tx Tx, w *Withdrawal) error {
	w.State, w.Reason, w.Processed = PayoutCompleted, "", h.at()
	w.CodeHash, w.NextLook, w.Called = "", time.Time{}, time.Time{}
	return h.bookOut(tx, BookPaidOut, *w,
		Posting{Account: AccountBlocked + w.Reseller, Amount: w.Amount.Amount},
		Posting{Account: w.source(), Amount: -w.sent().Amount},
		Posting{Account: AccountCharge, Amount: w.sent().Amount - w.Amount.Amount})
}

// alone is ErrPayoutOpen if another payout of the reseller is on its way. The
// database has the same rule.
func (h *Hub) alone(tx Tx, w *Withdrawal) error {
	open, _, err := tx.Withdrawals(WithdrawalQuery{Reseller: w.Reseller, States: []PayoutState{PayoutProcessing, PayoutAmbiguous}, Max: 2})
	for _, o := range open {
		if err == nil && o.ID != w.ID {
			return ErrPayoutOpen
		}
	}
	return err
}

// start writes down that a withdrawal is being paid: by the one who claimed it,
// or by the call of its provider that follows the transaction.
func (h *Hub) start(tx Tx, w *Withdrawal) error {
	if err := h.alone(tx, w); err != nil {
		return err
	}
	if err := frozen(tx, w.Reseller); err != nil {
		return err
	}
	w.State, w.Reason, w.NextLook = PayoutProcessing, "", time.Time{}
	if w.Payer != "" {
		w.Attempt++
		w.Called, w.NextLook = h.at(), h.lease()
	}
	return nil
}

// order is what the provider is told. Each attempt has a reference of its own.
func (h *Hub) order(w Withdrawal) PayoutOrder {
	o := PayoutOrder{Reference: w.Reference, Phone: w.Phone, Operator: w.Operator, Amount: w.sent(), ProviderRef: w.ProviderRef, Made: w.Made}
	if w.Attempt > 1 {
		o.Reference += fmt.Sprint("r", w.Attempt)
	}
	if h.payout.CallbackURL != nil {
		o.CallbackURL = h.payout.CallbackURL(w.Payer)
	}
	return o
}

// pay calls the provider of a withdrawal that was just started, once.
func (h *Hub) pay(ctx context.Context, w Withdrawal) (Withdrawal, error) {
	ctx = context.WithoutCancel(ctx)
	call, cancel := context.WithTimeout(ctx, h.payout.CallTime)
	defer cancel()
	obs, err := h.payout.Payers[w.Payer].Payout(call, h.order(w))
	return h.payAnswered(ctx, w, obs, err)
}

// payAnswered takes what became of a call. A provider that was not reached can be
// called again; a definitive no gives the money back; whatever else is
// ambiguous, and stays so until the provider or a person says more.
func (h *Hub) payAnswered(ctx context.Context, call Withdrawal, obs PayoutObservation, failed error) (Withdrawal, error) {
	return h.changing(ctx, call.ID, func(tx Tx, w *Withdrawal) error {
		if w.Attempt != call.Attempt || w.State != PayoutProcessing && w.State != PayoutAmbiguous {
			// It came after the lease, and a person has decided.
			h.log.Error("a payout was answered after it was decided", "withdrawal", w.ID, "state", string(w.State), "answer", string(obs.State), "err", failed)
			return nil
		}
		w.Called = time.Time{}
		var no *RejectedError
		var lost *AmbiguousError
		switch {
		case failed == nil:
			return h.observed(tx, w, obs)
		case errors.Is(failed, ErrNotSent):
			w.State, w.Reason, w.Claimed = PayoutVerified, "the provider could not be reached", ""
			w.NextLook = time.Time{}
			if r, err := h.payout.rule(w.Amount.Currency); err == nil && r.Automatic && !r.twoPersons(*w) {
				w.NextLook = h.at().Add(backoff(time.Minute, w.Attempt-1))
			}
			return nil
		case errors.As(failed, &no):
			return h.end(tx, w, PayoutFailed, no.Reason)
		case errors.As(failed, &lost) && w.ProviderRef == "":
			w.ProviderRef = lost.ProviderRef
		}
		h.doubt(w, "the provider's answer was lost")
		return nil
	})
}

// doubt is what nobody knows the end of.
func (h *Hub) doubt(w *Withdrawal, why string) {
	w.State, w.Reason, w.Called = PayoutAmbiguous, clip(why, 300), time.Time{}
	w.NextLook = h.at().Add(firstLook)
}

const (
	firstLook = 30 * time.Second
	lastLook  = time.Hour
)

// backoff doubles from first to an hour.
func backoff(first time.Duration, n int) time.Duration {
	for ; n > 0 && first < lastLook; n-- {
		first *= 2
	}
	return min(first, lastLook)
}

// observed takes what a provider shows of a payout that is on its way.
func (h *Hub) observed(tx Tx, w *Withdrawal, obs PayoutObservation) error {
	switch {
	case w.ProviderRef == "":
		if others, err := othersRef(tx, w, obs.ProviderRef); err != nil {
			return err
		} else if others {
			h.doubt(w, "the provider shows another withdrawal's payout")
			return nil
		}
		w.ProviderRef = clip(obs.ProviderRef, 200)
	case obs.ProviderRef != "" && obs.ProviderRef != w.ProviderRef:
		h.doubt(w, "the provider shows another payout than ours")
		return nil
	}
	if a := obs.Amount; a.Amount != 0 && a != w.sent() {
		h.doubt(w, "the provider shows another amount than ours: "+spoken(a))
		return nil
	}
	_, theirs := h.codePayer(w.Payer)
	if theirs && w.Verified.IsZero() && (obs.State == PayoutProcessing || obs.State == PayoutCompleted) {
		// The code got there, if without an answer.
		w.Verified = h.at()
		if err := tx.AddPayee(w.Reseller, Payee{w.Phone, w.Verified}); err != nil {
			return err
		}
	}
	if obs.Definitive {
		switch obs.State {
		case PayoutCompleted:
			return h.paid(tx, w)
		case PayoutFailed, PayoutReversed, PayoutCanceled, PayoutExpired:
			reason := obs.Reason
			if reason == "" {
				reason = "the provider did not pay"
			}
			return h.end(tx, w, obs.State, reason)
		}
	}
	if obs.State == PayoutCodeSent && w.Verified.IsZero() {
		// The code did not get there: it can be entered again.
		w.State, w.Reason, w.NextLook = PayoutCodeSent, "", w.CodeExpires
		return nil
	}
	if obs.State == PayoutProcessing && (w.State != PayoutAmbiguous || theirs) {
		// Of others "not done yet" is no proof that they have it.
		w.State = PayoutProcessing
	}
	w.Reason = clip(obs.Reason, 300)
	w.NextLook = h.at().Add(backoff(firstLook, w.Looks))
	return nil
}

// SweepPayouts does what time asks for, once: codes that are too old, what is
// to be paid without a person, calls whose answer never came, and questions to
// the providers; refunds too. It goes on after an error and returns the first.
func (h *Hub) SweepPayouts(ctx context.Context) error {
	var ids, refunds []string
	now := h.at()
	err := h.store.Read(ctx, func(tx Tx) (err error) {
		if ids, err = tx.DueWithdrawals(now, 500); err != nil {
			return err
		}
		refunds, err = tx.DueRefunds(now, 500)
		return err
	})
	away := map[string]bool{} // providers that did not answer in this pass
	for _, id := range ids {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if e := h.step(ctx, id, away); e != nil && err == nil {
			err = fmt.Errorf("moving withdrawal %s on: %w", id, e)
		}
	}
	for _, id := range refunds {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if e := h.stepRefund(ctx, id, away); e != nil && err == nil {
			err = fmt.Errorf("moving refund %s on: %w", id, e)
		}
	}
	return err
}

// step moves one withdrawal whose time has come. The transaction decides what
// is to be done and takes it for this process; calls come after it.
func (h *Hub) step(ctx context.Context, id string, away map[string]bool) error {
	var do func(context.Context, Withdrawal) error
	w, err := h.changing(ctx, id, func(tx Tx, w *Withdrawal) error {
		do = nil
		if w.NextLook.IsZero() || w.NextLook.After(h.at()) {
			return nil
		}
		_, theirs := h.codePayer(w.Payer)
		switch {
		case (w.State == PayoutProcessing || w.State == PayoutRequested) && !w.Called.IsZero():
			if w.State == PayoutRequested {
				w.Called, w.NextLook = time.Time{}, h.at()
				return nil
			}
			h.doubt(w, "the hub stopped before the provider's answer came")
			w.NextLook = h.at()
		case w.State == PayoutCodeSent && !theirs:
			return h.end(tx, w, PayoutExpired, "the code was not entered in time")
		case w.State == PayoutVerified:
			err := h.startAlone(tx, w, away)
			if w.State == PayoutProcessing {
				do = func(ctx context.Context, w Withdrawal) error {
					w, err := h.pay(ctx, w)
					away[w.Payer] = away[w.Payer] || w.State == PayoutVerified
					return err
				}
			}
			return err
		case h.payout.Payers[w.Payer] == nil:
			w.NextLook = time.Time{}
		case away[w.Payer]:
			w.NextLook = h.at().Add(firstLook)
		default:
			w.Looks++
			w.NextLook = h.lease()
			do = func(ctx context.Context, w Withdrawal) error { return h.look(ctx, w, away) }
		}
		return nil
	})
	if err != nil || do == nil {
		return err
	}
	return do(context.WithoutCancel(ctx), w)
}

// startAlone starts what needs no person, if it still is so.
func (h *Hub) startAlone(tx Tx, w *Withdrawal, away map[string]bool) error {
	r, err := h.payout.rule(w.Amount.Currency)
	if err != nil || !r.Automatic || r.twoPersons(*w) || h.payout.Payers[w.Payer] == nil || w.Claimed != "" {
		w.NextLook = time.Time{}
		return nil
	}
	if away[w.Payer] {
		w.NextLook = h.at().Add(firstLook)
		return nil
	}
	err = h.start(tx, w)
	if errors.Is(err, ErrPayoutOpen) {
		w.NextLook = h.at().Add(firstLook)
		return nil
	}
	return err
}

// look asks the provider what became of a payout.
func (h *Hub) look(ctx context.Context, w Withdrawal, away map[string]bool) error {
	if w.State == PayoutRequested || w.State == PayoutCodeSent {
		return h.lookTheirs(ctx, w, away)
	}
	call, cancel := context.WithTimeout(ctx, h.payout.CallTime)
	defer cancel()
	obs, failed := h.payout.Payers[w.Payer].LookupPayout(call, h.order(w))
	_, err := h.changing(ctx, w.ID, func(tx Tx, w *Withdrawal) error {
		switch {
		case w.State != PayoutProcessing && w.State != PayoutAmbiguous || !w.Called.IsZero():
			return nil
		case errors.Is(failed, ErrUnsupported):
			h.doubt(w, "the provider cannot be asked: look into its statement")
			w.NextLook = time.Time{}
		case errors.Is(failed, ErrNotFound):
			w.Reason = "the provider does not know it, which is no proof that it will not pay"
			w.NextLook = h.at().Add(backoff(firstLook, w.Looks))
		case failed != nil:
			away[w.Payer] = true
			w.NextLook = h.at().Add(backoff(firstLook, w.Looks))
		default:
			return h.observed(tx, w, obs)
		}
		return nil
	})
	return err
}

// PayoutHint takes a callback of a provider about a payout or a refund: it is
// noted, and the provider is asked in the next pass. It is false if there is
// none that it can be about. A hint changes no state.
func (h *Hub) PayoutHint(ctx context.Context, provider string, x Hint) (found bool, err error) {
	err = h.store.Write(ctx, func(tx Tx) error {
		found = false
		w, err := tx.WithdrawalOf(provider, attemptless(x.Reference), x.ProviderRef)
		if err == nil {
			found = true
			return h.hinted(tx, w, x)
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
		r, err := tx.RefundOf(provider, attemptless(x.Reference), x.ProviderRef)
		if errors.Is(err, ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		found = true
		return h.hintedRefund(tx, r, x)
	})
	return found, err
}

// attemptless is the reference of the first attempt: those of newReference
// have 19 characters.
func attemptless(reference string) string {
	if len(reference) > 19 && reference[19] == 'r' {
		return reference[:19]
	}
	return reference
}

func (h *Hub) hinted(tx Tx, w Withdrawal, x Hint) error {
	if !h.money.heed(w.ID, h.now()) {
		return nil
	}
	if err := tx.Lock(LedgerLock(w.Reseller)); err != nil {
		return err
	}
	w, err := tx.Withdrawal(w.ID)
	if err != nil {
		return err
	}
	if err := h.note(tx, theHub, "withdrawal.hint", w.ID, x.Raw); err != nil {
		return err
	}
	if w.State != PayoutProcessing && w.State != PayoutAmbiguous || !w.Called.IsZero() {
		return nil
	}
	w.NextLook = h.at()
	return tx.ChangeWithdrawal(w)
}
