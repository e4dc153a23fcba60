package hub

import (
	"errors"
	"fmt"
	"time"
)

// A Finding is something that does not agree. It stays open until a later run
// of the same period does not find it again, or a person has dealt with it.
type Finding struct {
	Kind    string
	Subject string // with Kind it is unique: the id of a payment, ...
	// Period is that of the run that found it first.
	Period             string
	Reseller, Provider string
	Detail             string // for people
	Amount             int64  // minor units; 0 is none
	Currency           string
	First, Last        time.Time
	Cleared            time.Time // zero: open
	By, Reason         string    // who dealt with it, and how
}

// Kinds of a Finding.
const (
	// FindLedger: postings do not add up to zero. The database was damaged or
	// changed by hand.
	FindLedger = "ledger"
	// FindNoGrant: somebody paid and has no grant, or it was never booked.
	FindNoGrant = "no_grant"
	// FindNoPayment: a grant says that it was paid, and was not.
	FindNoPayment = "no_payment"
	// FindBooked: the ledger has another amount than the payment.
	FindBooked = "booked"
	// FindOnlyHere: we booked it, and the provider's statement has it not. The
	// reseller is paid nothing until that is dealt with.
	FindOnlyHere = "only_here"
	// FindOnlyThere: the provider's statement has it as paid, and we have not.
	FindOnlyThere = "only_there"
	// FindAmount: the statement has another amount or currency.
	FindAmount = "amount"
	// FindTwice: the statement has it more than once.
	FindTwice = "twice"
	// FindReview: money came and a person has to decide on it.
	FindReview = "review"
	// FindPayout: a payout or refund of which nobody knows whether it went out.
	FindPayout = "payout"
)

// worst are the kinds that show that something was broken or somebody cheats.
func worst(kind string) bool {
	return kind == FindLedger || kind == FindNoGrant || kind == FindNoPayment || kind == FindBooked
}

// maxFindings bounds the findings of one kind in a run.
const maxFindings = 500

func (r *Reconciliation) find(f Finding) {
	f.Period, f.First, f.Last = r.Period, r.Made, r.Made
	f.Detail = clip(f.Detail, 500)
	r.Findings = append(r.Findings, f)
}

func (r *Reconciliation) findPayment(kind string, p Payment, detail string) {
	m := p.Paid
	if m.Currency == "" {
		m = p.Price
	}
	r.find(Finding{Kind: kind, Subject: p.ID, Reseller: p.Reseller, Provider: p.Provider, Amount: m.Amount, Currency: m.Currency, Detail: detail})
}

// findBroken looks for what cannot be.
func (h *Hub) findBroken(tx Tx, r *Reconciliation) error {
	broken, err := tx.Unbalanced(r.From, r.To)
	if err != nil {
		return err
	}
	for _, b := range broken {
		subject, detail := b.Kind+" "+b.Ref, "the postings of this transaction do not add up to zero"
		if b.Ref == "" {
			subject, detail = b.Currency, "all postings of the currency do not add up to zero"
		}
		r.find(Finding{Kind: FindLedger, Subject: subject, Amount: b.Amount, Currency: b.Currency,
			Detail: detail + ": the database was damaged or changed by hand; compare it with a backup"})
	}
	payments, err := tx.Ungranted(r.From, r.To, maxFindings)
	if err != nil {
		return err
	}
	for _, p := range payments {
		r.findPayment(FindNoGrant, p, fmt.Sprintf("it counts as paid (%s) and has no grant or no booking: the database was damaged or changed by hand", p.State))
	}
	if payments, err = tx.Misbooked(r.From, r.To, maxFindings); err != nil {
		return err
	}
	for _, p := range payments {
		r.findPayment(FindBooked, p, "the ledger has another amount for it than the provider showed")
	}
	grants, err := tx.Unpaid(r.From, r.To, maxFindings)
	if err != nil {
		return err
	}
	for _, g := range grants {
		r.find(Finding{Kind: FindNoPayment, Subject: g.ID, Detail: "this grant says that it was paid for, and no such payment counts as paid: " +
			"somebody may have written into the database; revoke it, and change the keys of whoever could"})
	}
	return nil
}

// findStrange compares with the statements.
func (h *Hub) findStrange(tx Tx, r *Reconciliation) error {
	payments, err := tx.OnlyHere(r.From, r.To, maxFindings)
	if err != nil {
		return err
	}
	for _, p := range payments {
		r.findPayment(FindOnlyHere, p, "it was booked as paid, and the provider's statement has it not")
	}
	lines, err := tx.Strange(r.From, r.To, maxFindings)
	if err != nil {
		return err
	}
	for _, s := range lines {
		f := Finding{Subject: s.Payment, Reseller: s.Reseller, Provider: s.Provider, Amount: s.Amount, Currency: s.Currency}
		switch {
		case s.Payment == "":
			f.Kind, f.Subject = FindOnlyThere, s.Provider+" "+s.Key()
			f.Detail = "the statement has it as paid, and no payment of ours has these references: find the customer, or have the provider send it back"
		case !s.State.paid() && s.State != PaymentReview:
			f.Kind = FindOnlyThere
			f.Detail = fmt.Sprintf("the statement has it as paid, and it is %s here; ask the provider on the page of the payment", s.State)
		case s.Lines > 1:
			f.Kind, f.Detail = FindTwice, fmt.Sprintf("the statement has it %d times: the customer may have paid more than once", s.Lines)
		case s.Amount != s.Paid || s.Currency != s.PaidCurrency:
			f.Kind = FindAmount
			f.Detail = fmt.Sprintf("the statement says %s, and %s was booked", inWords(s.Amount, s.Currency), inWords(s.Paid, s.PaidCurrency))
		default:
			continue
		}
		if !r.has(f.Kind, f.Subject) {
			r.find(f)
		}
	}
	return nil
}

func (r *Reconciliation) has(kind, subject string) bool {
	for _, f := range r.Findings {
		if f.Kind == kind && f.Subject == subject {
			return true
		}
	}
	return false
}

// findPayouts compares what went out.
func (h *Hub) findPayouts(tx Tx, r *Reconciliation) error {
	lines, err := tx.StatedPayouts(r.From, r.To, maxFindings)
	if err != nil {
		return err
	}
	for _, s := range lines {
		if s.Status != LineSucceeded {
			continue
		}
		f := Finding{Kind: FindOnlyThere, Subject: s.Provider + " " + s.Key(), Provider: s.Provider, Amount: s.Amount, Currency: s.Currency}
		var ours, done bool
		var amount int64
		if s.Kind == LinePayout {
			w, err := tx.WithdrawalOf(s.Provider, attemptless(s.Reference), s.ProviderRef)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			ours, done, amount, f.Reseller = err == nil, w.State == PayoutCompleted || w.State == PayoutReversed, w.Net().Amount, w.Reseller
			if ours {
				f.Subject, f.Detail = w.ID, "withdrawal "+w.Reference+": "
			}
		}
		if !ours {
			refund, err := tx.RefundOf(s.Provider, attemptless(s.Reference), s.ProviderRef)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			ours, done, amount, f.Reseller = err == nil, refund.State == RefundDone, refund.Amount.Amount, refund.Reseller
			if ours {
				f.Subject, f.Detail = refund.ID, "refund of payment "+refund.Payment+": "
			}
		}
		switch {
		case !ours:
			f.Detail = "the statement says that this went out, and we did not order it: change the provider's keys at once if nobody did by hand"
		case !done:
			f.Detail += "the statement says that it went out, and it is not done here; settle it as paid"
		case amount != s.Amount:
			f.Kind = FindAmount
			f.Detail += fmt.Sprintf("the statement says that %s went out, and %s was ordered", inWords(s.Amount, s.Currency), inWords(amount, s.Currency))
		default:
			continue
		}
		r.find(f)
	}
	withdrawals, err := tx.UnstatedPayouts(r.From, r.To, maxFindings)
	if err != nil {
		return err
	}
	for _, w := range withdrawals {
		r.find(Finding{Kind: FindOnlyHere, Subject: w.ID, Reseller: w.Reseller, Provider: w.Payer, Amount: w.Net().Amount, Currency: w.Amount.Currency,
			Detail: "withdrawal " + w.Reference + ": it counts as paid out, and the provider's statement has it not"})
	}
	return nil
}

// findWaiting lists what a person has to decide.
func (h *Hub) findWaiting(tx Tx, r *Reconciliation) error {
	payments, err := tx.Payments(PaymentQuery{State: PaymentReview, From: r.From, To: r.To, Max: maxFindings})
	if err != nil {
		return err
	}
	for _, p := range payments {
		r.findPayment(FindReview, p, "money came that is not what was asked: accept or reject it. "+p.Reason)
	}
	open, _, err := tx.Withdrawals(WithdrawalQuery{States: []PayoutState{PayoutAmbiguous}, From: r.From, To: r.To, Max: maxFindings})
	if err != nil {
		return err
	}
	for _, w := range open {
		r.find(Finding{Kind: FindPayout, Subject: w.ID, Reseller: w.Reseller, Provider: w.Payer, Amount: w.Net().Amount, Currency: w.Amount.Currency,
			Detail: "withdrawal " + w.Reference + ": nobody knows whether it was paid; look into the provider's statement and settle it"})
	}
	refunds, err := tx.Refunds(RefundQuery{States: []RefundState{RefundAmbiguous, RefundUndecided}, Max: maxFindings})
	if err != nil {
		return err
	}
	for _, x := range refunds {
		if x.Made.Before(r.From) || !x.Made.Before(r.To) {
			continue
		}
		r.find(Finding{Kind: FindPayout, Subject: x.ID, Reseller: x.Reseller, Provider: x.Provider, Amount: x.Amount.Amount, Currency: x.Amount.Currency,
			Detail: "refund of payment " + x.Payment + ": it waits for a person; decide on it or settle it"})
	}
	return nil
}

// keepFindings adds those of a run, and ends those of its period that it has
// not found again.
func (h *Hub) keepFindings(tx Tx, r *Reconciliation) error {
	if err := tx.PutFindings(r.Findings); err != nil {
		return err
	}
	for i, f := range r.Findings {
		var err error
		if r.Findings[i], err = tx.Finding(f.Kind, f.Subject); err != nil {
			return err
		}
	}
	was, err := tx.Findings(FindingQuery{Period: r.Period, Open: true, Max: 20 * maxFindings})
	if err != nil {
		return err
	}
	for _, f := range was {
		if f.Period == r.Period && !r.has(f.Kind, f.Subject) {
			if err := tx.ClearFinding(f.Kind, f.Subject, theHub.Name, "it agrees now", r.Made); err != nil {
				return err
			}
		}
	}
	return nil
}
