package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Month of the books. Once it is closed nothing is booked into it but
// corrections: what comes late is booked when it comes.
type Month struct {
	Month  string    // YYYY-MM
	Next   time.Time // when the next one begins
	Closed time.Time // zero: open
	By     string    // user name
	// Accepted is what stood open when it was closed, Reason why that was so.
	Accepted []string
	Reason   string
}

// A MonthState says whether a month can be closed.
type MonthState struct {
	Month
	// Open is what has to be dealt with first, or accepted by name.
	Open []string
	// Never is what no reason helps against.
	Never []string
}

// reportTime is how long after midnight a day's report is made: providers
// close their day first.
const reportTime = 30 * time.Minute

// maxReports bounds the days that are made up for after the hub was off.
const maxReports = 35

// ReconcileDue makes the reports of the days before today that have none, and
// of the months, and once a day again those with something open. It does
// nothing before half past midnight.
func (h *Hub) ReconcileDue(ctx context.Context) error {
	now := h.now().In(h.zone).Add(-reportTime)
	today := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, h.zone)
	have := map[string]bool{}
	again := map[string]bool{}
	begun := time.Time{}
	err := h.store.Read(ctx, func(tx Tx) error {
		done, err := tx.Reconciliations(4 * maxReports)
		if err != nil {
			return err
		}
		for _, d := range done {
			_, to, err := h.period(d.Period)
			// One that was made before its end is not the last word.
			if err == nil && !d.Made.Before(to.Add(reportTime)) {
				have[d.Period] = true
			}
			again[d.Period] = d.Made.Before(today.Add(reportTime))
		}
		open, err := tx.Findings(FindingQuery{Open: true, Max: 20 * maxFindings})
		if err != nil {
			return err
		}
		waiting := map[string]bool{}
		for _, f := range open {
			waiting[f.Period] = again[f.Period]
		}
		again = waiting
		sites, err := tx.Sites("")
		for _, s := range sites {
			if begun.IsZero() || s.Created.Before(begun) {
				begun = s.Created
			}
		}
		return err
	})
	if err != nil || begun.IsZero() {
		return err
	}
	for i := maxReports; i >= 1; i-- {
		day := today.AddDate(0, 0, -i)
		periods := []string{day.Format(time.DateOnly)}
		if next := day.AddDate(0, 0, 1); next.Day() == 1 {
			periods = append(periods, day.Format("2006-01"))
		}
		for _, period := range periods {
			if _, to, err := h.period(period); err != nil || have[period] || !to.After(begun) {
				continue
			}
			if _, err := h.reconcile(ctx, period); err != nil {
				return err
			}
			again[period] = false
		}
	}
	for period, due := range again {
		if !due {
			continue
		}
		if _, err := h.reconcile(ctx, period); err != nil {
			return err
		}
	}
	return nil
}

// RunReconciliation makes the reports when they are due, until ctx is over.
func (h *Hub) RunReconciliation(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := h.ReconcileDue(ctx); err != nil && ctx.Err() == nil {
			h.log.Error("reconciling", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// MonthState is what a month is waiting for. Admins only.
func (h *Hub) MonthState(ctx context.Context, by Actor, month string) (s MonthState, err error) {
	if by.Role != RoleAdmin {
		return s, ErrForbidden
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		s, err = h.monthState(tx, month)
		return err
	})
	return s, err
}

func (h *Hub) monthState(tx Tx, month string) (s MonthState, err error) {
	from, to, err := h.month(month)
	if err != nil {
		return s, err
	}
	s.Month, err = tx.Month(month)
	if err == nil {
		return s, nil
	} else if !errors.Is(err, ErrNotFound) {
		return s, err
	}
	s.Month = Month{Month: month, Next: to.UTC()}
	open := func(format string, args ...any) { s.Open = append(s.Open, fmt.Sprintf(format, args...)) }
	if h.now().Before(to.Add(reportTime)) {
		s.Never = append(s.Never, "the month is not over")
	}
	findings, err := tx.Findings(FindingQuery{Period: month, Open: true, Max: 10_000})
	if err != nil {
		return s, err
	}
	count := map[string]int{}
	for _, f := range findings {
		if f.Kind == FindReview || f.Kind == FindPayout {
			continue // counted below, as they are now
		}
		if count[f.Kind]++; f.Kind == FindLedger && count[f.Kind] == 1 {
			s.Never = append(s.Never, "the ledger does not add up to zero: "+f.Subject)
		}
	}
	for _, kind := range []string{FindNoGrant, FindNoPayment, FindBooked, FindOnlyHere, FindOnlyThere, FindAmount, FindTwice} {
		if n := count[kind]; n > 0 {
			open("%d findings of kind %s", n, kind)
		}
	}
	review, err := tx.Payments(PaymentQuery{State: PaymentReview, To: to, Max: maxFindings})
	if err != nil {
		return s, err
	}
	if len(review) > 0 {
		open("%d payments in review", len(review))
	}
	_, payouts, err := tx.Withdrawals(WithdrawalQuery{States: []PayoutState{PayoutAmbiguous}, To: to, Max: 1})
	if err != nil {
		return s, err
	}
	if payouts > 0 {
		open("%d withdrawals of which nobody knows whether they were paid", payouts)
	}
	refunds, err := tx.Refunds(RefundQuery{States: []RefundState{RefundAmbiguous, RefundUndecided}, Max: maxFindings})
	if err != nil {
		return s, err
	}
	late := 0
	for _, r := range refunds {
		if r.Made.Before(to) {
			late++
		}
	}
	if late > 0 {
		open("%d refunds that wait for a person", late)
	}
	moved, err := tx.MovedSums(from, to)
	if err != nil {
		return s, err
	}
	surplus := map[string]int64{}
	for _, m := range moved {
		if strings.HasPrefix(m.Account, AccountSurplus) {
			surplus[m.Currency] -= m.Amount
		}
	}
	for _, c := range currenciesOf(surplus) {
		if surplus[c] != 0 {
			open("%s above the price is nobody's", inWords(surplus[c], c))
		}
	}
	outside, err := tx.Outside(month)
	if err != nil {
		return s, err
	}
	for _, o := range outside {
		if u := o.Unallocated(); u != 0 {
			open("the summary of reseller %s leaves %s allocated to nobody", o.Reseller, inWords(u, o.Currency))
		}
	}
	return s, nil
}

// CloseMonth reconciles a month once more and closes it. What is open must be
// accepted with a reason, and stands in the books under the admin's name.
// Admins only.
func (h *Hub) CloseMonth(ctx context.Context, by Actor, month, reason string) (Month, error) {
	if by.Role != RoleAdmin {
		return Month{}, ErrForbidden
	}
	if _, _, err := h.month(month); err != nil {
		return Month{}, err
	}
	reason = clip(strings.TrimSpace(reason), 500)
	if _, err := h.reconcile(ctx, month); err != nil {
		return Month{}, err
	}
	var m Month
	return m, h.store.Write(ctx, func(tx Tx) error {
		if err := tx.Lock("reconcile"); err != nil {
			return err
		}
		s, err := h.monthState(tx, month)
		if err != nil {
			return err
		}
		switch {
		case !s.Closed.IsZero():
			return invalid("%s was closed by %s", month, s.By)
		case len(s.Never) > 0:
			return invalid("%s cannot be closed: %s", month, strings.Join(s.Never, "; "))
		case len(s.Open) > 0 && reason == "":
			return invalid("%s cannot be closed without a reason for what is open: %s", month, strings.Join(s.Open, "; "))
		}
		m = Month{Month: month, Next: s.Next, Closed: h.at(), By: by.Name, Accepted: s.Open, Reason: reason}
		if err := tx.PutMonth(m); err != nil {
			return err
		}
		return h.note(tx, by, "month.close", month, strings.Join(append(s.Open, reason), "; "))
	})
}

// Months are those that were closed, newest first. Admins only.
func (h *Hub) Months(ctx context.Context, by Actor) (out []Month, err error) {
	if by.Role != RoleAdmin {
		return nil, ErrForbidden
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		out, err = tx.Months(24)
		return err
	})
	return out, err
}

// Correct books what a named person says is right, into any month. ref is
// never used twice. Admins only.
func (h *Hub) Correct(ctx context.Context, by Actor, ref, note string, at time.Time, postings []Posting) (Transaction, error) {
	if by.Role != RoleAdmin {
		return Transaction{}, ErrForbidden
	}
	if strings.TrimSpace(note) == "" || len(note) > 500 || ref == "" || len(ref) > 100 {
		return Transaction{}, invalid("a correction needs a reference of its own and a reason")
	}
	if at.IsZero() || at.After(h.at()) {
		at = h.at()
	}
	t := Transaction{Kind: BookCorrection, Ref: ref, At: at.UTC().Truncate(time.Millisecond), Note: by.Name + ": " + note, Postings: postings}
	for _, p := range postings {
		for _, prefix := range []string{AccountReseller, AccountBlocked} {
			if id, ok := strings.CutPrefix(p.Account, prefix); ok {
				t.Reseller = id
			}
		}
	}
	if err := t.Check(); err != nil {
		return t, invalid("%v", err)
	}
	return t, h.store.Write(ctx, func(tx Tx) error {
		for _, p := range postings {
			if !knownAccount(p.Account) {
				return invalid("there is no account %q", clip(p.Account, 60))
			}
			if err := currency(p.Currency); err != nil {
				return err
			}
		}
		if t.Reseller != "" {
			if _, err := tx.Reseller(t.Reseller); err != nil {
				return fmt.Errorf("looking up the reseller: %w", err)
			}
			if err := tx.Lock(LedgerLock(t.Reseller)); err != nil {
				return err
			}
		}
		if err := h.Book(tx, t); err != nil {
			return err
		}
		return h.note(tx, by, "ledger.correct", ref, note)
	})
}

func knownAccount(a string) bool {
	if a == AccountCharge {
		return true
	}
	for _, prefix := range []string{AccountProvider, AccountFee, AccountReseller, AccountBlocked, AccountParty, AccountRefund, AccountSurplus, AccountReview} {
		if name, ok := strings.CutPrefix(a, prefix); ok && name != "" && len(name) <= 60 {
			return true
		}
	}
	return false
}

// ClearFinding ends a finding that a person has dealt with. Admins only.
func (h *Hub) ClearFinding(ctx context.Context, by Actor, kind, subject, reason string) error {
	if by.Role != RoleAdmin {
		return ErrForbidden
	}
	reason = clip(strings.TrimSpace(reason), 500)
	if reason == "" {
		return invalid("say what was done about it")
	}
	return h.store.Write(ctx, func(tx Tx) error {
		f, err := tx.Finding(kind, subject)
		if err != nil {
			return err
		}
		if !f.Cleared.IsZero() {
			return nil
		}
		if kind == FindReview || kind == FindPayout {
			return invalid("decide on the payment or the payout itself; the finding then ends with the next run")
		}
		if err := tx.ClearFinding(kind, subject, by.Name, reason, h.at()); err != nil {
			return err
		}
		return h.note(tx, by, "finding.clear", clip(kind+" "+subject, 100), reason)
	})
}

// Findings are the newest first. Admins only.
func (h *Hub) Findings(ctx context.Context, by Actor, q FindingQuery) (out []Finding, err error) {
	if by.Role != RoleAdmin {
		return nil, ErrForbidden
	}
	q.Max = page(q.Max)
	err = h.store.Read(ctx, func(tx Tx) error {
		out, err = tx.Findings(q)
		return err
	})
	return out, err
}

// frozen is ErrPayoutOpen while money that was booked for a reseller is missing
// at its provider.
func frozen(tx Tx, reseller string) error {
	n, err := tx.Frozen(reseller)
	if err != nil || n == 0 {
		return err
	}
	return fmt.Errorf("%w: %d of his payments or payouts are missing in the provider's statement, see the reconciliation", ErrPayoutOpen, n)
}
