package hub

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// A Statement is what a provider says of a day or a month of our account
// there, as somebody has imported it.
type Statement struct {
	ID       string
	Provider string
	From, To time.Time
	Lines    int
	At       time.Time
	By       string // user name
}

// A StatementLine is one line of it.
type StatementLine struct {
	Provider string
	// Kind is LinePayment, LinePayout or LineRefund.
	Kind string
	// Reference is ours, ProviderRef the provider's; one of them is there.
	Reference, ProviderRef string
	Amount                 int64 // minor units
	Currency               string
	Status                 string // LineSucceeded, ...
}

// Kinds and states of a StatementLine.
const (
	LinePayment = "payment"
	LinePayout  = "payout"
	LineRefund  = "refund"

	LineSucceeded = "succeeded"
	LineRefunded  = "refunded" // paid, and gone back
	LineFailed    = "failed"   // no money moved
	LinePending   = "pending"
)

// Key is what a line is known by in its provider's statements.
func (l StatementLine) Key() string {
	if l.ProviderRef != "" {
		return l.ProviderRef
	}
	return l.Reference
}

const (
	maxStatement = 200_000 // lines
	maxReference = 100
)

// ImportStatement takes a provider's statement for a day or a month: CSV with
// a first line that names the columns reference, provider_ref, amount,
// currency, status and, for what is no payment, kind. Commas or semicolons
// separate. A line that was imported before is replaced. It then reconciles
// the period. Admins only; an InputError names the line.
func (h *Hub) ImportStatement(ctx context.Context, by Actor, provider, period string, text io.Reader) (Statement, Reconciliation, error) {
	if by.Role != RoleAdmin {
		return Statement{}, Reconciliation{}, ErrForbidden
	}
	from, to, err := h.period(period)
	if err != nil {
		return Statement{}, Reconciliation{}, err
	}
	if provider == "" || len(provider) > 40 {
		return Statement{}, Reconciliation{}, invalid("say whose statement it is")
	}
	lines, err := readStatement(provider, text)
	if err != nil {
		return Statement{}, Reconciliation{}, err
	}
	s := Statement{Provider: provider, From: from.UTC(), To: to.UTC(), Lines: len(lines), At: h.at(), By: by.Name}
	if s.ID, err = h.newID(); err != nil {
		return s, Reconciliation{}, err
	}
	err = h.store.Write(ctx, func(tx Tx) error {
		if err := tx.Lock("reconcile"); err != nil {
			return err
		}
		if err := tx.AddStatement(s, lines); err != nil {
			return err
		}
		return h.note(tx, by, "statement.import", s.ID, fmt.Sprintf("%s of %s, %d lines", period, provider, len(lines)))
	})
	if err != nil {
		return s, Reconciliation{}, fmt.Errorf("importing a statement: %w", err)
	}
	r, err := h.reconcile(ctx, period)
	return s, r, err
}

// statusWords are what statements call a state. What is not there is refused:
// a guess would be about money.
var statusWords = map[string]string{
	"succeeded": LineSucceeded, "success": LineSucceeded, "successful": LineSucceeded, "completed": LineSucceeded, "paid": LineSucceeded,
	"refunded": LineRefunded, "reverted": LineRefunded, "reversed": LineRefunded,
	"failed": LineFailed, "failure": LineFailed, "canceled": LineFailed, "cancelled": LineFailed, "expired": LineFailed,
	"pending": LinePending, "processing": LinePending,
}

func readStatement(provider string, text io.Reader) ([]StatementLine, error) {
	all, err := io.ReadAll(io.LimitReader(text, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("reading a statement: %w", err)
	}
	body := strings.TrimPrefix(string(all), "\ufeff")
	first, _, _ := strings.Cut(body, "\n")
	r := csv.NewReader(strings.NewReader(body))
	if strings.Contains(first, ";") {
		r.Comma = ';'
	}
	r.TrimLeadingSpace = true
	head, err := r.Read()
	if err != nil {
		return nil, invalid("the file is no CSV whose first line names the columns: reference, provider_ref, amount, currency, status")
	}
	at := map[string]int{}
	for i, name := range head {
		at[strings.ToLower(strings.TrimSpace(name))] = i
	}
	for _, name := range []string{"amount", "currency", "status"} {
		if _, ok := at[name]; !ok {
			return nil, invalid("the first line names no column %s; it must have reference or provider_ref, amount, currency and status", name)
		}
	}
	seen := map[string]int{}
	var out []StatementLine
	for {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		line, _ := r.FieldPos(0)
		if err != nil {
			var bad *csv.ParseError
			if errors.As(err, &bad) {
				line = bad.Line
			}
			return nil, invalid("line %d is no CSV with as many columns as the first", line)
		}
		if len(out) == maxStatement {
			return nil, invalid("the statement has more than %d lines: import it day by day", maxStatement)
		}
		get := func(name string) string {
			if i, ok := at[name]; ok {
				return strings.TrimSpace(fields[i])
			}
			return ""
		}
		l, err := readLine(provider, get)
		if err != nil {
			return nil, invalid("line %d: %s", line, err.Error())
		}
		if before, ok := seen[l.Kind+" "+l.Key()]; ok && out[before] != l {
			return nil, invalid("line %d has the references of another line, and differs from it", line)
		} else if ok {
			continue
		}
		seen[l.Kind+" "+l.Key()] = len(out)
		out = append(out, l)
	}
}

func readLine(provider string, get func(string) string) (StatementLine, error) {
	l := StatementLine{Provider: provider, Kind: get("kind"), Reference: get("reference"), ProviderRef: get("provider_ref"),
		Currency: strings.ToUpper(get("currency")), Status: statusWords[strings.ToLower(get("status"))]}
	switch l.Kind {
	case "":
		l.Kind = LinePayment
	case LinePayment, LinePayout, LineRefund:
	default:
		return l, errors.New("the kind must be payment, payout or refund")
	}
	if l.Key() == "" || len(l.Reference) > maxReference || len(l.ProviderRef) > maxReference {
		return l, errors.New("it needs a reference or a provider_ref, of 100 characters at most")
	}
	if l.Status == "" {
		return l, fmt.Errorf("the status %q is not known; write succeeded, refunded, failed or pending", clip(get("status"), 40))
	}
	if err := currency(l.Currency); err != nil {
		return l, err
	}
	var ok bool
	if l.Amount, ok = minorUnits(get("amount"), l.Currency); !ok {
		return l, fmt.Errorf("the amount %q is not one of %s, as 500 or 500.00", clip(get("amount"), 40), l.Currency)
	}
	return l, nil
}

// minorUnits reads an amount exactly: nothing is rounded away.
func minorUnits(text, currency string) (int64, bool) {
	whole, part, _ := strings.Cut(text, ".")
	digits := cents(currency)
	for len(part) < digits {
		part += "0"
	}
	if strings.Trim(part[digits:], "0") != "" || whole == "" || len(whole) > 15 || strings.Trim(whole+part, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(whole+part[:digits], 10, 64)
	return n, err == nil
}

// Statements are those that were imported, newest first. Admins only.
func (h *Hub) Statements(ctx context.Context, by Actor, max int) (out []Statement, err error) {
	if by.Role != RoleAdmin {
		return nil, ErrForbidden
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		out, err = tx.Statements(page(max))
		return err
	})
	return out, err
}
