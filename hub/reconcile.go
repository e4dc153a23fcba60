package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Reconciliation holds a day or a month of what was booked against what
// providers' statements say, and against the grants that were given for it.
// Amounts are minor units.
type Reconciliation struct {
	Period   string // 2026-02-10 or 2026-02
	From, To time.Time
	Made     time.Time
	Lines    []MoneyLine
	// Moved is what the accounts came to in the period. Those of all resellers
	// are one each: "reseller/" and "blocked/".
	Moved []Balance
	// Banked is how many paid grants of the period nobody has begun to use.
	Banked int64
	// Open is how many payments of the period have no end yet.
	Open int64
	// Findings are what differs, at most maxFindings of each kind, those that a
	// person has dealt with among them.
	Findings []Finding
}

// Clean says that nothing is left to do about the period.
func (r Reconciliation) Clean() bool {
	for _, f := range r.Findings {
		if f.Cleared.IsZero() {
			return false
		}
	}
	return true
}

// A MoneyLine is one provider in one currency.
type MoneyLine struct {
	Provider, Currency string
	// Payments and Paid are what was booked as paid; Held is what stands in
	// review since.
	Payments, Paid, Held int64
	// In is what came to the account at the provider, Out what left it again:
	// refunds and payouts.
	In, Out int64
	// Grants were given for the payments, Taken over by gateways, Started by
	// customers.
	Grants, Taken, Started int64
	// Stated says that a statement of this period is here. The rest is what it
	// says.
	Stated                                bool
	StatedPayments, StatedPaid, StatedOut int64
}

type reconcileRows interface {
	// MovedSums are what the ledger's accounts moved from until before to, by
	// kind of transaction.
	MovedSums(from, to time.Time) ([]MovedSum, error)
	// PaidSums are the payments booked in that time with their grants.
	PaidSums(from, to time.Time) ([]MoneyLine, error)
	// StatedSums are the lines of statements for periods within that time.
	StatedSums(from, to time.Time) ([]StatedSum, error)
	OpenPayments(from, to time.Time) (int64, error)

	// Unbalanced are the currencies in which all postings leave something, and
	// the transactions of that time that do.
	Unbalanced(from, to time.Time) ([]Imbalance, error)
	// Ungranted are payments of that time that count as paid and have no grant
	// or no booking; Misbooked those whose bookings have another amount.
	Ungranted(from, to time.Time, max int) ([]Payment, error)
	Misbooked(from, to time.Time, max int) ([]Payment, error)
	// Unpaid are grants of that time for payments that do not count as paid.
	Unpaid(from, to time.Time, max int) ([]Grant, error)

	// MatchStatements finds our payments for lines that had none.
	MatchStatements() error
	// OnlyHere are payments booked in that time which a statement of the
	// provider's covers and has not.
	OnlyHere(from, to time.Time, max int) ([]Payment, error)
	// Strange are lines of statements for periods within that time that have
	// no paid payment, another amount than it, or a second line beside them.
	Strange(from, to time.Time, max int) ([]StrangeLine, error)
	// StatedPayouts are the lines about payouts and refunds.
	StatedPayouts(from, to time.Time, max int) ([]StatementLine, error)
	// UnstatedPayouts are withdrawals that the provider paid in that time, that
	// a statement covers and has not.
	UnstatedPayouts(from, to time.Time, max int) ([]Withdrawal, error)

	// AddStatement adds or replaces lines.
	AddStatement(s Statement, lines []StatementLine) error
	Statements(max int) ([]Statement, error) // newest first

	PutFindings([]Finding) error
	Finding(kind, subject string) (Finding, error)
	Findings(FindingQuery) ([]Finding, error) // newest first
	ClearFinding(kind, subject, by, reason string, at time.Time) error
	// Frozen is how many findings keep a reseller from being paid.
	Frozen(reseller string) (int64, error)

	PutReconciliation(period string, made time.Time, clean bool, body string) error
	Reconciliation(period string) (body string, err error)
	Reconciliations(max int) ([]Reconciled, error) // newest period first

	PutOutside(OutsideSummary) error
	Outside(month string) ([]OutsideSummary, error)
	PutMonth(Month) error
	Month(month string) (Month, error)
	Months(max int) ([]Month, error) // newest first
	// BooksFrom is when the first month begins that is not closed; zero if none
	// was closed ever.
	BooksFrom() (time.Time, error)
}

// A MovedSum is the postings of one kind of transaction to one account.
type MovedSum struct {
	Kind string
	Balance
	Count int64
}

// A StatedSum is lines of statements that have their kind and status in
// common.
type StatedSum struct {
	Provider, Currency, Kind, Status string
	Count, Amount                    int64
}

// An Imbalance is what postings leave. Kind and Ref are of a transaction, or
// empty for all.
type Imbalance struct {
	Kind, Ref string
	Currency  string
	Amount    int64
}

// A StrangeLine is a line of a statement that does not agree with our payment.
type StrangeLine struct {
	StatementLine
	Import string
	// Payment is ours; empty if there is none. Paid is what it came to.
	Payment, Reseller string
	State             PaymentState
	Paid              int64
	PaidCurrency      string
	// Lines is how many there are for the payment.
	Lines int64
}

// Reconciled is a period that has a Reconciliation.
type Reconciled struct {
	Period string
	Made   time.Time
	Clean  bool
}

// A FindingQuery asks for findings.
type FindingQuery struct {
	Reseller string
	Period   string // begins with it; "" is any
	Open     bool   // those not cleared alone
	Max      int    // 0 is 100
}

// period is where a day or a month begins and ends.
func (h *Hub) period(p string) (from, to time.Time, err error) {
	if len(p) == len("2026-02") {
		return h.month(p)
	}
	from, err = time.ParseInLocation(time.DateOnly, p, h.zone)
	if err != nil || from.Year() < 2000 {
		return from, to, invalid("write the day as 2026-02-10, or the month as 2026-02")
	}
	return from, from.AddDate(0, 0, 1), nil
}

// Reconcile compares a day or a month and keeps the result in place of one
// that was there. What only a statement has is asked about at its provider.
// Admins only.
func (h *Hub) Reconcile(ctx context.Context, by Actor, period string) (Reconciliation, error) {
	if by.Role != RoleAdmin {
		return Reconciliation{}, ErrForbidden
	}
	return h.reconcile(ctx, period)
}

func (h *Hub) reconcile(ctx context.Context, period string) (r Reconciliation, err error) {
	from, to, err := h.period(period)
	if err != nil {
		return r, err
	}
	if from.After(h.now()) {
		return r, invalid("%s has not begun", period)
	}
	if err := h.store.Write(ctx, func(tx Tx) error { return tx.MatchStatements() }); err != nil {
		return r, err
	}
	if err := h.askStatements(ctx, from, to); err != nil {
		return r, err
	}
	err = h.store.Write(ctx, func(tx Tx) error {
		// One at a time, so that findings end up as the last run saw them.
		if err := tx.Lock("reconcile"); err != nil {
			return err
		}
		r = Reconciliation{Period: period, From: from.UTC(), To: to.UTC(), Made: h.at()}
		if err := h.compare(tx, &r); err != nil {
			return err
		}
		if err := h.keepFindings(tx, &r); err != nil {
			return err
		}
		body, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encoding a report: %w", err)
		}
		return tx.PutReconciliation(period, r.Made, r.Clean(), string(body))
	})
	if err != nil {
		return r, fmt.Errorf("reconciling %s: %w", period, err)
	}
	for _, f := range r.Findings {
		if worst(f.Kind) && f.Cleared.IsZero() {
			h.log.Error("the books do not agree", "period", period, "kind", f.Kind, "subject", f.Subject, "detail", f.Detail)
		}
	}
	return r, nil
}

// Bounds of what one run asks providers.
const (
	maxAsked = 50
	askTime  = 30 * time.Second // for all
)

// askStatements asks providers about what only one side has, as a callback
// would: if the money is there, the payment succeeds now.
func (h *Hub) askStatements(ctx context.Context, from, to time.Time) error {
	var strange []StrangeLine
	var here []Payment
	err := h.store.Read(ctx, func(tx Tx) (err error) {
		if strange, err = tx.Strange(from, to, maxFindings); err != nil {
			return err
		}
		here, err = tx.OnlyHere(from, to, maxAsked)
		return err
	})
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	asked := 0
	for _, x := range strange {
		// A command may have been told of no providers.
		if _, ok := h.collector(x.Provider); !ok || x.State.paid() || asked >= maxAsked || bounded.Err() != nil {
			continue
		}
		asked++
		h.asking(bounded, h.TakeHint(bounded, x.Provider, Hint{Reference: x.Reference, ProviderRef: x.ProviderRef, Raw: "a line of a statement"}))
	}
	for _, p := range here {
		if _, ok := h.collector(p.Provider); !ok || bounded.Err() != nil {
			continue
		}
		_, err := h.Look(bounded, theHub, p.ID)
		h.asking(bounded, err)
	}
	return ctx.Err()
}

func (h *Hub) asking(ctx context.Context, err error) {
	if err != nil && !errors.Is(err, ErrNotFound) && ctx.Err() == nil {
		h.log.Info("asking about a line of a statement", "err", err)
	}
}

// paid says whether money of such a payment was booked as its price.
func (s PaymentState) paid() bool {
	return s == PaymentSucceeded || s == PaymentRefunding || s == PaymentRefunded
}

// compare fills a Reconciliation in.
func (h *Hub) compare(tx Tx, r *Reconciliation) error {
	if err := h.sums(tx, r); err != nil {
		return err
	}
	for _, find := range []func(Tx, *Reconciliation) error{h.findBroken, h.findStrange, h.findPayouts, h.findWaiting} {
		if err := find(tx, r); err != nil {
			return err
		}
	}
	return nil
}

// sums are what the period comes to.
func (h *Hub) sums(tx Tx, r *Reconciliation) error {
	var err error
	if r.Lines, err = tx.PaidSums(r.From, r.To); err != nil {
		return err
	}
	for _, l := range r.Lines {
		r.Banked += l.Grants - l.Started
	}
	if r.Open, err = tx.OpenPayments(r.From, r.To); err != nil {
		return err
	}
	moved, err := tx.MovedSums(r.From, r.To)
	if err != nil {
		return err
	}
	for _, m := range moved {
		r.move(m.Balance)
		if provider, ok := strings.CutPrefix(m.Account, AccountReview); ok {
			r.line(provider, m.Currency).Held -= m.Amount
		}
		if provider, ok := strings.CutPrefix(m.Account, AccountProvider); ok {
			if l := r.line(provider, m.Currency); m.Kind == BookPayment || m.Kind == BookReview {
				l.In += m.Amount
			} else {
				l.Out -= m.Amount
			}
		}
	}
	stated, err := tx.StatedSums(r.From, r.To)
	if err != nil {
		return err
	}
	for _, s := range stated {
		l := r.line(s.Provider, s.Currency)
		l.Stated = true
		switch {
		case s.Kind == LinePayment && (s.Status == LineSucceeded || s.Status == LineRefunded):
			l.StatedPayments += s.Count
			l.StatedPaid += s.Amount
			if s.Status == LineRefunded {
				l.StatedOut += s.Amount
			}
		case s.Kind != LinePayment && s.Status == LineSucceeded:
			l.StatedOut += s.Amount
		}
	}
	return nil
}

func (r *Reconciliation) line(provider, currency string) *MoneyLine {
	for i := range r.Lines {
		if r.Lines[i].Provider == provider && r.Lines[i].Currency == currency {
			return &r.Lines[i]
		}
	}
	r.Lines = append(r.Lines, MoneyLine{Provider: provider, Currency: currency})
	return &r.Lines[len(r.Lines)-1]
}

// move adds to what an account moved.
func (r *Reconciliation) move(b Balance) {
	for i := range r.Moved {
		if r.Moved[i].Account == b.Account && r.Moved[i].Currency == b.Currency {
			r.Moved[i].Amount += b.Amount
			return
		}
	}
	r.Moved = append(r.Moved, b)
}
