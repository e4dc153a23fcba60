package hub

import (
	"errors"
	"fmt"
	"math/bits"

	"zonegate/sync/api"
)

// beginRefund moves a payment from succeeded to refunding, for amount minor
// units of what was paid: its grant is revoked, and what was booked is taken
// back to refund/<provider>, the surplus first and then from each in
// proportion. ref names the refund in the ledger and is never used twice. push
// is the number of the push that revokes the grant, 0 if there is none.
//
// A payment that was rejected in review is refunding already, with a ref by
// rejection.
func (h *Hub) beginRefund(tx Tx, id, ref string, amount int64, reason string) (p Payment, push uint64, err error) {
	if p, err = tx.Payment(id); err != nil {
		return Payment{}, 0, err
	}
	switch {
	case p.State != PaymentSucceeded:
		return Payment{}, 0, invalid("the payment is %s: only one that succeeded is refunded", p.State)
	case amount <= 0 || amount > p.Paid.Amount:
		return Payment{}, 0, invalid("%d %s were paid: no more can go back", p.Paid.Amount, p.Paid.Currency)
	}
	// No withdrawal decides meanwhile on what is taken back.
	if err := tx.Lock(LedgerLock(p.Reseller)); err != nil {
		return Payment{}, 0, err
	}
	booked, err := tx.Transaction(BookPayment, id)
	if err != nil {
		return Payment{}, 0, fmt.Errorf("looking up what was booked: %w", err)
	}
	lines := append(takeBack(booked, AccountSurplus+p.Provider, amount), Posting{AccountRefund + p.Provider, p.Paid.Currency, -amount})
	if err := h.Book(tx, Transaction{Kind: BookRefunding, Ref: ref, Reseller: p.Reseller, Note: "payment " + id, Postings: lines}); err != nil {
		return Payment{}, 0, err
	}
	p, err = h.turn(tx, p, PaymentRefunding, reason)
	if err != nil {
		return Payment{}, 0, err
	}
	g, err := tx.Grant(id)
	if errors.Is(err, ErrNotFound) || err == nil && g.Revoked {
		return p, 0, nil
	} else if err != nil {
		return Payment{}, 0, err
	}
	if err := tx.RevokeGrant(id); err != nil {
		return Payment{}, 0, err
	}
	sent, err := h.pushBody(tx, Target{Site: g.Site}, api.KindGrantRevoked, api.GrantRevoked{Grant: id, Reason: clip(reason, 200)}, "")
	return p, sent.Seq, err
}

// rejection names the refund of money that was rejected in review, in the ledger
// and as a Refund: the payment's id, and once such a refund has failed the id
// with a number.
func rejection(tx Tx, payment string) (string, error) {
	before, err := tx.Refunds(RefundQuery{Payment: payment, Max: maxRejections})
	switch {
	case err != nil:
		return "", err
	case len(before) == 0:
		return payment, nil
	case len(before) >= maxRejections:
		return "", invalid("its refund has failed %d times: accept it, or ask the provider", len(before))
	}
	return fmt.Sprint(payment, ".", len(before)+1), nil
}

// maxRejections is how many refunds of one payment are counted.
const maxRejections = 100

// takeBack are the lines that take an amount from who got it.
func takeBack(t Transaction, surplus string, amount int64) (lines []Posting) {
	take := func(l Posting, n int64) {
		if n > 0 {
			lines = append(lines, Posting{l.Account, l.Currency, n})
			amount -= n
		}
	}
	var got []Posting
	var sum int64
	for _, l := range t.Postings {
		switch {
		case l.Account == surplus:
			take(l, min(amount, -l.Amount))
		case l.Amount < 0:
			got, sum = append(got, l), sum-l.Amount
		}
	}
	whole := amount
	parts := make([]int64, len(got))
	for i, l := range got {
		hi, lo := bits.Mul64(uint64(whole), uint64(-l.Amount))
		q, _ := bits.Div64(hi, lo, uint64(sum))
		parts[i] = int64(q)
	}
	// What the rounding leaves.
	left := whole
	for _, n := range parts {
		left -= n
	}
	for i, l := range got {
		more := min(left, -l.Amount-parts[i])
		left -= more
		take(l, parts[i]+more)
	}
	return lines
}

// endRefund moves a payment from refunding to refunded, or with gone false back
// to succeeded, or to review if nobody had accepted the money. The grant stays
// revoked.
func (h *Hub) endRefund(tx Tx, id, ref string, gone bool, reason string) (Payment, error) {
	p, err := tx.Payment(id)
	if err != nil {
		return Payment{}, err
	}
	if p.State != PaymentRefunding {
		return Payment{}, invalid("the payment is %s: no refund is on its way", p.State)
	}
	taken, err := tx.Transaction(BookRefunding, ref)
	if err != nil {
		return Payment{}, fmt.Errorf("looking up the refund in the ledger: %w", err)
	}
	t := Transaction{Kind: BookRefunded, Ref: ref, Reseller: p.Reseller, Note: "payment " + id}
	to := PaymentRefunded
	if gone {
		for _, l := range taken.Postings {
			if l.Account == AccountRefund+p.Provider {
				t.Postings = append(t.Postings, Posting{l.Account, l.Currency, -l.Amount}, Posting{AccountProvider + p.Provider, l.Currency, l.Amount})
			}
		}
	} else {
		t.Kind, to = BookUnrefunded, PaymentSucceeded
		for _, l := range taken.Postings {
			l.Amount = -l.Amount
			t.Postings = append(t.Postings, l)
			if l.Account == AccountReview+p.Provider {
				to = PaymentReview
			}
		}
	}
	if err := h.Book(tx, t); err != nil {
		return Payment{}, err
	}
	if gone {
		if _, err := tx.AddSales(h.unsold(p, ref, taken.Postings)); err != nil {
			return Payment{}, err
		}
	}
	return h.turn(tx, p, to, reason)
}

// unsold is the sale that takes back one of which the money has gone back: the
// summary of the month in which it went is less by it. ref is the refund's
// name, lines are what was taken from who had got a part.
func (h *Hub) unsold(p Payment, ref string, lines []Posting) []Sale {
	s := Sale{Site: p.Site, Reseller: p.Reseller, At: h.at(), Exact: true, Source: sourceRefund, Ref: ref,
		Forfait: p.Forfait, Version: p.Version, Currency: p.Price.Currency, Custody: CustodyPlatform}
	for _, l := range lines {
		switch l.Account {
		case AccountSurplus + p.Provider, AccountRefund + p.Provider, AccountProvider + p.Provider:
		case AccountReview + p.Provider:
			return nil // it was never sold
		default:
			s.Amount -= l.Amount
		}
	}
	if s.Amount == 0 {
		return nil
	}
	return []Sale{s}
}

// turn moves a payment that was read in this transaction.
func (h *Hub) turn(tx Tx, p Payment, to PaymentState, reason string) (Payment, error) {
	if !p.State.can(to) {
		return Payment{}, fmt.Errorf("payment %s cannot go from %s to %s", p.ID, p.State, to)
	}
	p.State, p.Reason, p.Changed = to, clip(reason, 300), h.at()
	p.NextLook = p.lookAfter(event{at: p.Changed})
	if err := tx.ChangePayments([]Payment{p}); err != nil {
		return Payment{}, err
	}
	p.Rev++
	return p, nil
}
