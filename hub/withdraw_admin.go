package hub

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// twoPersons says whether one admin alone may not pay it out.
func (r WithdrawalRule) twoPersons(w Withdrawal) bool {
	return r.ApproveAbove > 0 && w.Amount.Amount > r.ApproveAbove
}

// SetKYC sets the level of a reseller. Admins only.
func (h *Hub) SetKYC(ctx context.Context, by Actor, reseller, level string) error {
	if by.Role != RoleAdmin {
		return ErrForbidden
	}
	if !slices.Contains(kycLevels, level) {
		return invalid("the KYC level must be unverified, basic, verified or premium")
	}
	return h.store.Write(ctx, func(tx Tx) error {
		if _, err := tx.Reseller(reseller); err != nil {
			return err
		}
		if err := tx.SetKYC(reseller, level); err != nil {
			return err
		}
		return h.note(tx, by, "kyc.set", reseller, level)
	})
}

// KYC is the level of a reseller.
func (h *Hub) KYC(ctx context.Context, by Actor, reseller string) (level string, err error) {
	if !by.covers(reseller) {
		return "", ErrForbidden
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		level, err = tx.KYC(reseller)
		return err
	})
	return level, err
}

// AdmitPayee makes a number known for a reseller, as if he had entered a code
// that was sent there. Its waiting time begins. Admins only.
func (h *Hub) AdmitPayee(ctx context.Context, by Actor, reseller, number string) error {
	if by.Role != RoleAdmin {
		return ErrForbidden
	}
	for _, r := range h.payout.Rules {
		if phone, ok := r.payable(number); ok {
			return h.store.Write(ctx, func(tx Tx) error {
				if _, err := tx.Reseller(reseller); err != nil {
					return err
				}
				if err := tx.AddPayee(reseller, Payee{phone, h.at()}); err != nil {
					return err
				}
				return h.note(tx, by, "payee.admit", reseller, masked(phone))
			})
		}
	}
	return invalid("money can be sent to no such number")
}

// Payees are the numbers of a reseller, the oldest first.
func (h *Hub) Payees(ctx context.Context, by Actor, reseller string) (out []Payee, err error) {
	if !by.manages(reseller) {
		return nil, ErrForbidden
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		out, err = tx.Payees(reseller)
		return err
	})
	return out, err
}

// byAdmin is changing for an admin, with a line in the audit log.
func (h *Hub) byAdmin(ctx context.Context, by Actor, id, what, detail string, f func(Tx, *Withdrawal) error) (Withdrawal, error) {
	if by.Role != RoleAdmin {
		return Withdrawal{}, ErrForbidden
	}
	return h.changing(ctx, id, func(tx Tx, w *Withdrawal) error {
		if err := f(tx, w); err != nil {
			return err
		}
		return h.note(tx, by, what, w.ID, spoken(w.Amount)+" "+detail)
	})
}

// ClaimWithdrawal makes it the admin's to pay, and nobody else's: who pays by
// hand claims first and pays then. What a provider pays is paid at once. Above
// the limit for one person it waits for ApproveWithdrawal, in either case.
func (h *Hub) ClaimWithdrawal(ctx context.Context, by Actor, id string) (Withdrawal, error) {
	return h.claimWithdrawal(ctx, by, id, false)
}

// ClaimByHand is ClaimWithdrawal for an admin who pays what a provider should
// have paid, and has not.
func (h *Hub) ClaimByHand(ctx context.Context, by Actor, id string) (Withdrawal, error) {
	return h.claimWithdrawal(ctx, by, id, true)
}

func (h *Hub) claimWithdrawal(ctx context.Context, by Actor, id string, hand bool) (Withdrawal, error) {
	w, err := h.byAdmin(ctx, by, id, "withdrawal.claim", "", func(tx Tx, w *Withdrawal) error {
		if err := h.payable(by, w); err != nil {
			return err
		}
		if w.Claimed != "" {
			return w.wrong("somebody has claimed it")
		}
		if hand {
			w.Payer, w.TheirFee = "", false
		}
		w.Claimed, w.NextLook = by.User, time.Time{}
		return h.startIfReady(tx, w)
	})
	if err != nil || w.State != PayoutProcessing || w.Payer == "" {
		return w, err
	}
	return h.pay(ctx, w)
}

// payable says why an admin cannot have it paid now.
func (h *Hub) payable(by Actor, w *Withdrawal) error {
	switch {
	case w.State != PayoutVerified:
		return w.wrong("")
	case w.NotBefore.After(h.at()):
		return fmt.Errorf("%w until %s", ErrNumberWait, w.NotBefore.In(h.zone).Format("2006-01-02 15:04"))
	case w.Claimed != "" && w.Claimed != by.User:
		return w.wrong("another admin has claimed it")
	case w.Approved == by.User:
		return w.wrong("who has approved it cannot pay it too")
	}
	return nil
}

// startIfReady starts what is claimed, and approved where that is needed.
func (h *Hub) startIfReady(tx Tx, w *Withdrawal) error {
	r, err := h.payout.rule(w.Amount.Currency)
	if err != nil {
		return err
	}
	if w.Claimed == "" || r.twoPersons(*w) && w.Approved == "" {
		return nil
	}
	if w.Payer != "" && h.payout.Payers[w.Payer] == nil {
		return w.wrong("the provider " + w.Payer + " is not set up; claim it to pay by hand")
	}
	return h.start(tx, w)
}

// ApproveWithdrawal is the second person's yes.
func (h *Hub) ApproveWithdrawal(ctx context.Context, by Actor, id string) (Withdrawal, error) {
	w, err := h.byAdmin(ctx, by, id, "withdrawal.approve", "", func(tx Tx, w *Withdrawal) error {
		switch {
		case w.State != PayoutVerified:
			return w.wrong("")
		case w.Approved != "":
			return w.wrong("it is approved")
		case w.Claimed == by.User || w.User == by.User:
			return w.wrong("somebody else must approve it")
		case w.Claimed != "" && w.NotBefore.After(h.at()):
			return ErrNumberWait
		}
		w.Approved = by.User
		return h.startIfReady(tx, w)
	})
	if err != nil || w.State != PayoutProcessing || w.Payer == "" {
		return w, err
	}
	return h.pay(ctx, w)
}

// ReleaseWithdrawal takes a claim back: who claimed it says that he has not
// paid.
func (h *Hub) ReleaseWithdrawal(ctx context.Context, by Actor, id string) (Withdrawal, error) {
	return h.byAdmin(ctx, by, id, "withdrawal.release", "", func(_ Tx, w *Withdrawal) error {
		if w.Claimed != by.User || w.State != PayoutVerified && (w.State != PayoutProcessing || w.Payer != "") {
			return w.wrong("only who has claimed it to pay by hand can give it back")
		}
		w.State, w.Claimed = PayoutVerified, ""
		return nil
	})
}

// CompleteWithdrawal is the note that an admin has paid by hand, with the
// reference of the payment and remarks.
func (h *Hub) CompleteWithdrawal(ctx context.Context, by Actor, id, manual, notes string) (Withdrawal, error) {
	return h.byAdmin(ctx, by, id, "withdrawal.complete", clip(manual, 100), func(tx Tx, w *Withdrawal) error {
		r, err := h.payout.rule(w.Amount.Currency)
		if err != nil {
			return err
		}
		switch {
		case w.Payer != "":
			return w.wrong("the provider " + w.Payer + " pays it; claim it to pay by hand")
		case w.State == PayoutProcessing && w.Claimed == by.User:
		case w.State == PayoutProcessing:
			return w.wrong("another admin has claimed it")
		default:
			if err := h.payable(by, w); err != nil {
				return err
			}
			if r.ClaimFirst && w.Claimed == "" {
				return w.wrong("claim it before paying")
			}
			if r.twoPersons(*w) && w.Approved == "" {
				return w.wrong("a second admin must approve it first")
			}
		}
		w.Claimed = by.User
		return h.processed(tx, by, w, manual, notes, h.paid)
	})
}

// processed is how a person ends a payout.
func (h *Hub) processed(tx Tx, by Actor, w *Withdrawal, manual, notes string, end func(Tx, *Withdrawal) error) (err error) {
	if err := texts(manual, notes); err != nil {
		return err
	}
	if err := end(tx, w); err != nil {
		return err
	}
	w.Manual, w.Notes, w.ProcessedBy, w.Processed = manual, notes, by.User, h.at()
	w.ProcessedNumber, err = tx.ForNumber("user", by.User)
	return err
}

// FailWithdrawal gives the money back to the balance: nothing was paid. It is
// for what is not on its way through a provider, and not claimed by another.
func (h *Hub) FailWithdrawal(ctx context.Context, by Actor, id, reason string) (Withdrawal, error) {
	if reason == "" || len(reason) > 300 {
		return Withdrawal{}, FieldErrors{{"reason", "La raison est obligatoire (300 caractères au plus)."}}
	}
	return h.byAdmin(ctx, by, id, "withdrawal.fail", reason, func(tx Tx, w *Withdrawal) error {
		_, theirs := h.codePayer(w.Payer)
		switch {
		case w.State == PayoutCodeSent && !theirs:
		case w.State == PayoutRequested && w.Called.IsZero() && h.at().Sub(w.Made) > codeLife:
		case w.State == PayoutVerified && (w.Claimed == "" || w.Claimed == by.User):
		case w.State == PayoutProcessing && w.Payer == "" && w.Claimed == by.User:
		case w.State == PayoutVerified || w.State == PayoutProcessing && w.Payer == "":
			return w.wrong("another admin has claimed it")
		default:
			return w.wrong("")
		}
		return h.processed(tx, by, w, "", "", func(tx Tx, w *Withdrawal) error { return h.end(tx, w, PayoutFailed, reason) })
	})
}

// ResolveWithdrawal ends what is ambiguous, or what a provider leaves open, by
// what its statement shows. It also ends what another admin has claimed to pay
// by hand and cannot say any more. Above the limit for one person somebody who
// has neither claimed nor approved it must say that it was not paid: the money
// becomes the reseller's once more by that.
func (h *Hub) ResolveWithdrawal(ctx context.Context, by Actor, id string, r Resolution) (Withdrawal, error) {
	if r.Statement == "" || len(r.Statement) > maxText {
		return Withdrawal{}, invalid("say which line of the provider's statement shows it, or who was asked there")
	}
	what := "not paid: "
	if r.Paid {
		what = "paid: "
	}
	return h.byAdmin(ctx, by, id, "withdrawal.resolve", what+r.Statement, func(tx Tx, w *Withdrawal) error {
		switch {
		case w.State == PayoutAmbiguous:
		case w.State == PayoutProcessing && w.Called.IsZero():
		case w.State == PayoutProcessing:
			return w.wrong("the provider was just called; wait for its answer")
		default:
			return w.wrong("only what is on its way can be decided")
		}
		rule, err := h.payout.rule(w.Amount.Currency)
		if err != nil {
			return err
		}
		if !r.Paid && rule.twoPersons(*w) && (w.Claimed == by.User || w.Approved == by.User) {
			return w.wrong("above the limit for one person an admin who has neither claimed nor approved it must say that it was not paid")
		}
		return h.processed(tx, by, w, "", r.Statement, func(tx Tx, w *Withdrawal) error {
			if r.Paid {
				return h.paid(tx, w)
			}
			return h.end(tx, w, PayoutFailed, "by the provider's statement it was not paid")
		})
	})
}

// ReverseWithdrawal books that the money came back after it was paid out.
func (h *Hub) ReverseWithdrawal(ctx context.Context, by Actor, id, statement string) (Withdrawal, error) {
	if statement == "" || len(statement) > maxText {
		return Withdrawal{}, invalid("say which line of the provider's statement shows it")
	}
	return h.byAdmin(ctx, by, id, "withdrawal.reverse", statement, func(tx Tx, w *Withdrawal) error {
		if w.State != PayoutCompleted {
			return w.wrong("")
		}
		w.State, w.Reason = PayoutReversed, clip(statement, 300)
		return h.bookOut(tx, BookReversed, *w,
			Posting{Account: w.source(), Amount: w.sent().Amount},
			Posting{Account: AccountCharge, Amount: w.Amount.Amount - w.sent().Amount},
			Posting{Account: AccountReseller + w.Reseller, Amount: -w.Amount.Amount})
	})
}
