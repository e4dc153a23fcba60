package hub

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"zonegate"
)

const (
	codeLife = 10 * time.Minute
	// maxTries is how many codes may be wrong for one withdrawal, however often
	// a new one was sent.
	maxTries = 5
	maxSends = 5
	// asked is how many withdrawals may be asked for on a day for each that may
	// be made: each sends a message to somebody.
	asked = 4
)

// Why a withdrawal is not possible.
var (
	// ErrBalance is less than was asked for.
	ErrBalance = errors.New("the balance is too small")
	// ErrMessenger: the code could not be sent; nothing is reserved any more.
	ErrMessenger = errors.New("the code could not be sent")
	// ErrPayoutOpen: another payout of the reseller is on its way, or nobody
	// knows what became of it.
	ErrPayoutOpen = errors.New("another payout of this reseller is not settled; settle it first")
	// ErrNumberWait is a number that is too new for the reseller.
	ErrNumberWait = errors.New("the number is new for this reseller and has to wait")
)

// A KYCError is a reseller whose level allows nothing.
type KYCError struct{ Level string }

func (e *KYCError) Error() string {
	return "a reseller of the KYC level " + e.Level + " cannot withdraw; an admin sets the level"
}

// A StateError is what cannot be done with a withdrawal or a refund as it is.
type StateError struct{ State, Why string }

func (e *StateError) Error() string {
	if e.Why != "" {
		return "it is " + e.State + ": " + e.Why
	}
	return "it is " + e.State + ", and so this cannot be done"
}

// A CodeError is a wrong code; Left is how many more may be tried.
type CodeError struct{ Left int }

func (e *CodeError) Error() string {
	return fmt.Sprintf("the code is wrong; %d tries are left", e.Left)
}

func (w Withdrawal) wrong(why string) error { return &StateError{string(w.State), why} }

// owner is the reseller whose money an actor may ask for.
func (a Actor) owner() (string, error) {
	if a.Role != RoleReseller || a.Reseller == "" {
		return "", ErrForbidden
	}
	return a.Reseller, nil
}

// RequestWithdrawal reserves the money and has a code sent to the receiver.
// Errors: FieldErrors, a KYCError, ErrBalance, ErrLimit (of a day),
// ErrNumberWait, ErrMessenger.
func (h *Hub) RequestWithdrawal(ctx context.Context, by Actor, q WithdrawalRequest) (Withdrawal, error) {
	reseller, err := by.owner()
	if err != nil {
		return Withdrawal{}, err
	}
	id, err := h.newID()
	if err != nil {
		return Withdrawal{}, err
	}
	reference, err := h.newReference("WTH")
	if err != nil {
		return Withdrawal{}, err
	}
	code, err := h.newCode()
	if err != nil {
		return Withdrawal{}, err
	}
	var w Withdrawal
	err = h.store.Write(ctx, func(tx Tx) error {
		if err := tx.Lock(LedgerLock(reseller)); err != nil {
			return err
		}
		r, err := h.ruleAt(tx, reseller, q.Currency)
		if err != nil {
			return err
		}
		if w, err = h.planned(tx, reseller, r, q); err != nil {
			return err
		}
		w.ID, w.Reference, w.User, w.UserName = id, reference, by.User, by.Name
		w.Made = h.at()
		w.Changed = w.Made
		if _, ok := h.codePayer(w.Payer); ok {
			w.State, w.Attempt, w.Called, w.NextLook = PayoutRequested, 1, w.Made, h.lease()
		} else {
			w.setCode(h, code)
		}
		if w.UserNumber, err = tx.ForNumber("user", by.User); err != nil {
			return err
		}
		if w.WalletNumber, err = tx.ForNumber("wallet", reseller+" "+r.Currency); err != nil {
			return err
		}
		if w.Number, err = tx.AddWithdrawal(w); err != nil {
			return err
		}
		if err := h.reserve(tx, w); err != nil {
			return err
		}
		return h.note(tx, by, "withdrawal.request", w.ID, spoken(w.Amount)+" to "+masked(w.Phone))
	})
	if err != nil {
		return Withdrawal{}, err
	}
	ctx = context.WithoutCancel(ctx)
	if w.State == PayoutRequested {
		return h.askForCode(ctx, w)
	}
	if err := h.sendCode(ctx, w, code); err != nil {
		w, gone := h.changing(ctx, w.ID, func(tx Tx, w *Withdrawal) error {
			if w.State != PayoutCodeSent {
				return w.wrong("")
			}
			return h.end(tx, w, PayoutFailed, "the code could not be sent")
		})
		return w, errors.Join(fmt.Errorf("%w: %w", ErrMessenger, err), gone)
	}
	return w, nil
}

// planned checks a request against everything but the code.
func (h *Hub) planned(tx Tx, reseller string, r WithdrawalRule, q WithdrawalRequest) (w Withdrawal, err error) {
	e, err := h.eligible(tx, reseller, r)
	if err != nil {
		return w, err
	}
	if e.Daily == 0 {
		return w, &KYCError{e.KYC}
	}
	wrong := r.checkAmount(q.Amount, q.Operator)
	number, ok := r.payable(q.Phone)
	if !ok {
		wrong = append(wrong, r.badNumber())
	}
	_, theirs := h.codePayer(r.Payer)
	if theirs && r.ApproveAbove > 0 && q.Amount > r.ApproveAbove {
		wrong = append(wrong, FieldError{"amount", "Le montant maximum est de " + inWords(r.ApproveAbove, r.Currency) + "."})
	}
	if len(wrong) > 0 {
		return w, wrong
	}
	if q.Amount > e.Available {
		return w, ErrBalance
	}
	_, count, all, err := h.usedToday(tx, reseller, r.Currency)
	if err != nil {
		return w, err
	}
	if q.Amount > e.Left {
		return w, fmt.Errorf("%w: %s can be withdrawn today", ErrLimit, inWords(e.Left, r.Currency))
	}
	if count >= int64(r.Count) || all >= asked*int64(r.Count) {
		return w, fmt.Errorf("%w: %d withdrawals a day", ErrLimit, r.Count)
	}
	if theirs {
		// The provider pays as soon as it has the code, so the wait comes before.
		at, err := h.payableFrom(tx, reseller, number)
		if err != nil {
			return w, err
		}
		if at.After(h.at()) {
			return w, ErrNumberWait
		}
	} else if h.payout.Messenger == nil {
		return w, fmt.Errorf("%w: the hub has no messenger", ErrMessenger)
	}
	return Withdrawal{Reseller: reseller, Amount: zonegate.Money{Amount: q.Amount, Currency: r.Currency}, Fee: r.fee(q.Amount),
		Phone: number, Operator: q.Operator, Payer: r.Payer, TheirFee: theirs}, nil
}

// payableFrom is from when on a reseller's money may go to a number. The first
// number need not wait, since there is nobody else's to take over.
func (h *Hub) payableFrom(tx Tx, reseller, number string) (time.Time, error) {
	known, err := tx.Payees(reseller)
	if err != nil {
		return time.Time{}, err
	}
	if h.payout.NumberWait < 0 || len(known) == 0 || known[0].Phone == number {
		return time.Time{}, nil
	}
	since := h.at()
	if i := slices.IndexFunc(known, func(p Payee) bool { return p.Phone == number }); i >= 0 {
		since = known[i].Since
	}
	return since.Add(h.payout.NumberWait), nil
}

// setCode gives a withdrawal a new code.
func (w *Withdrawal) setCode(h *Hub, code string) {
	w.State, w.CodeSends = PayoutCodeSent, w.CodeSends+1
	w.CodeHash = h.codeHash("withdrawal "+w.ID, code)
	w.CodeExpires = h.at().Add(codeLife)
	w.NextLook = w.CodeExpires
}

func (h *Hub) sendCode(ctx context.Context, w Withdrawal, code string) error {
	ctx, cancel := context.WithTimeout(ctx, h.payout.CallTime)
	defer cancel()
	return h.payout.Messenger.Send(ctx, w.Phone, fmt.Sprintf("Code de retrait %s pour recevoir %s (%s). Valable 10 minutes.", code, spoken(w.Net()), w.Reference))
}

// newCode draws six digits, each code as likely as any other.
func (h *Hub) newCode() (string, error) {
	const most = (1 << 32) / 1_000_000 * 1_000_000
	for {
		var b [4]byte
		if _, err := io.ReadFull(h.random, b[:]); err != nil {
			return "", fmt.Errorf("drawing a code: %w", err)
		}
		if n := binary.BigEndian.Uint32(b[:]); n < most {
			return fmt.Sprintf("%06d", n%1_000_000), nil
		}
	}
}

// newReference draws what people and providers call a payout.
func (h *Hub) newReference(begin string) (string, error) {
	const letters = "abcdefghijklmnopqrstuvwxyz234567" // 32 of them
	var b [6]byte
	if _, err := io.ReadFull(h.random, b[:]); err != nil {
		return "", fmt.Errorf("drawing a reference: %w", err)
	}
	for i := range b {
		b[i] = letters[b[i]%32]
	}
	return fmt.Sprintf("%s%d%s", begin, h.now().Unix(), b[:]), nil
}

// changing reads a withdrawal under its reseller's lock, has f change it, and
// writes it down.
func (h *Hub) changing(ctx context.Context, id string, f func(Tx, *Withdrawal) error) (out Withdrawal, err error) {
	err = h.store.Write(ctx, func(tx Tx) error {
		w, err := tx.Withdrawal(id)
		if err != nil {
			return err
		}
		if err := tx.Lock(LedgerLock(w.Reseller)); err != nil {
			return err
		}
		if w, err = tx.Withdrawal(id); err != nil {
			return err
		}
		if err := f(tx, &w); err != nil {
			return err
		}
		w.Changed = h.at()
		if err := tx.ChangeWithdrawal(w); errors.Is(err, ErrExists) {
			return ErrPayoutOpen
		} else if err != nil {
			return err
		}
		out = w
		return nil
	})
	return out, err
}

// open is a withdrawal of the actor's that waits for its code. One whose code
// is too old is ended, and the verdict is ErrExpired.
func (h *Hub) open(tx Tx, by Actor, w *Withdrawal, verdict *error) (ok bool, err error) {
	*verdict = nil
	if reseller, err := by.owner(); err != nil || reseller != w.Reseller {
		return false, ErrNotFound
	}
	if w.State == PayoutExpired {
		return false, ErrExpired
	}
	if w.State != PayoutCodeSent {
		return false, w.wrong("")
	}
	_, theirs := h.codePayer(w.Payer)
	switch {
	case w.Tries >= maxTries:
		return false, ErrExpired
	case h.at().Before(w.CodeExpires):
		return true, nil
	case theirs: // only the provider knows; the sweep asks
		return false, ErrExpired
	}
	*verdict = ErrExpired
	return false, h.end(tx, w, PayoutExpired, "the code was not entered in time")
}

// ValidateWithdrawal takes the code that the receiver got. Errors: ErrNotFound,
// a StateError, ErrExpired, a CodeError.
func (h *Hub) ValidateWithdrawal(ctx context.Context, by Actor, id, code string) (Withdrawal, error) {
	if len(code) > 20 {
		code = ""
	}
	var verdict error
	var notice string
	w, err := h.changing(ctx, id, func(tx Tx, w *Withdrawal) error {
		notice = ""
		if ok, err := h.open(tx, by, w, &verdict); err != nil || !ok {
			return err
		}
		if _, theirs := h.codePayer(w.Payer); theirs {
			return h.confirming(tx, by, w)
		}
		if subtle.ConstantTimeCompare([]byte(h.codeHash("withdrawal "+w.ID, code)), []byte(w.CodeHash)) != 1 {
			return h.wrongCode(tx, w, &verdict)
		}
		var err error
		notice, err = h.verified(tx, w)
		if err != nil {
			return err
		}
		return h.note(tx, by, "withdrawal.verify", w.ID, masked(w.Phone))
	})
	if err = errors.Join(err, verdict); err != nil {
		return w, err
	}
	if w.State == PayoutProcessing {
		return h.confirm(context.WithoutCancel(ctx), w, code)
	}
	if notice != "" {
		h.warnPayee(context.WithoutCancel(ctx), notice, w)
	}
	return w, nil
}

// wrongCode counts, and ends the withdrawal after the last try.
func (h *Hub) wrongCode(tx Tx, w *Withdrawal, verdict *error) error {
	w.Tries++
	*verdict = &CodeError{maxTries - w.Tries}
	if w.Tries < maxTries {
		return nil
	}
	return h.end(tx, w, PayoutExpired, "too many wrong codes")
}

// verified notes that the receiver has given the code back. It returns the
// number to warn that there is a new one, or "".
func (h *Hub) verified(tx Tx, w *Withdrawal) (warn string, err error) {
	now := h.at()
	if w.NotBefore, err = h.payableFrom(tx, w.Reseller, w.Phone); err != nil {
		return "", err
	}
	if !w.NotBefore.After(now) {
		w.NotBefore = time.Time{}
	}
	known, err := tx.Payees(w.Reseller)
	if err != nil {
		return "", err
	}
	if len(known) > 0 && !slices.ContainsFunc(known, func(p Payee) bool { return p.Phone == w.Phone }) {
		warn = known[0].Phone
	}
	w.State, w.CodeHash, w.Verified, w.NextLook = PayoutVerified, "", now, time.Time{}
	if r, err := h.payout.rule(w.Amount.Currency); err == nil && r.Automatic && w.Payer != "" && !r.twoPersons(*w) {
		w.NextLook = now
		if w.NotBefore.After(now) {
			w.NextLook = w.NotBefore
		}
	}
	return warn, tx.AddPayee(w.Reseller, Payee{w.Phone, now})
}

// warnPayee tells the first number of a reseller that money is to go to
// another one.
func (h *Hub) warnPayee(ctx context.Context, to string, w Withdrawal) {
	ctx, cancel := context.WithTimeout(ctx, h.payout.CallTime)
	defer cancel()
	err := h.payout.Messenger.Send(ctx, to, fmt.Sprintf("Un retrait de %s vers un nouveau numéro (%s) a été validé. Si ce n'est pas vous, appelez votre administrateur.", spoken(w.Amount), masked(w.Phone)))
	if err != nil {
		h.log.Warn("telling of a new number", "withdrawal", w.ID, "err", err)
	}
}

// ResendWithdrawalCode sends a new code; the one before is void. The tries that
// were wrong stay counted.
func (h *Hub) ResendWithdrawalCode(ctx context.Context, by Actor, id string) (Withdrawal, error) {
	code, err := h.newCode()
	if err != nil {
		return Withdrawal{}, err
	}
	var verdict error
	w, err := h.changing(ctx, id, func(tx Tx, w *Withdrawal) error {
		if ok, err := h.open(tx, by, w, &verdict); err != nil || !ok {
			return err
		}
		if w.CodeSends >= maxSends {
			return fmt.Errorf("%w: a code is sent %d times at most", ErrLimit, maxSends)
		}
		if _, theirs := h.codePayer(w.Payer); theirs {
			w.CodeSends++
			return nil
		}
		w.setCode(h, code)
		return nil
	})
	if err = errors.Join(err, verdict); err != nil {
		return w, err
	}
	ctx = context.WithoutCancel(ctx)
	if payer, theirs := h.codePayer(w.Payer); theirs {
		return h.resendTheirs(ctx, payer, w)
	}
	if err := h.sendCode(ctx, w, code); err != nil {
		return w, fmt.Errorf("%w: %w", ErrMessenger, err)
	}
	return w, nil
}

// CancelWithdrawal gives the money back to the balance, as long as the code was
// not entered.
func (h *Hub) CancelWithdrawal(ctx context.Context, by Actor, id string) (Withdrawal, error) {
	var verdict error
	w, err := h.changing(ctx, id, func(tx Tx, w *Withdrawal) error {
		if ok, err := h.open(tx, by, w, &verdict); err != nil || !ok {
			return err
		}
		if err := h.note(tx, by, "withdrawal.cancel", w.ID, spoken(w.Amount)); err != nil {
			return err
		}
		if _, theirs := h.codePayer(w.Payer); theirs {
			return h.canceling(w)
		}
		return h.end(tx, w, PayoutCanceled, "canceled by the reseller")
	})
	if err = errors.Join(err, verdict); err != nil || w.State == PayoutCanceled {
		return w, err
	}
	return h.cancelTheirs(context.WithoutCancel(ctx), w)
}
