package hub

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// Reconciliation is the report of a day or a month as it was made last:
// ErrNotFound if there is none. Admins only.
func (h *Hub) Reconciliation(ctx context.Context, by Actor, period string) (r Reconciliation, err error) {
	if by.Role != RoleAdmin {
		return r, ErrForbidden
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		body, err := tx.Reconciliation(period)
		if err != nil {
			return err
		}
		r = Reconciliation{}
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			return fmt.Errorf("reading a report: %w", err)
		}
		// What was dealt with since.
		for i, f := range r.Findings {
			now, err := tx.Finding(f.Kind, f.Subject)
			if err != nil {
				return err
			}
			r.Findings[i] = now
		}
		return nil
	})
	return r, err
}

// Reconciliations are the periods that have a report, newest first. Admins
// only.
func (h *Hub) Reconciliations(ctx context.Context, by Actor, max int) (out []Reconciled, err error) {
	if by.Role != RoleAdmin {
		return nil, ErrForbidden
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		out, err = tx.Reconciliations(page(max))
		return err
	})
	return out, err
}

// WriteCSV writes a report for a spreadsheet: one line for each sum, account
// and finding. Amounts are in units of the currency.
func (r Reconciliation) WriteCSV(to io.Writer) error {
	w := csv.NewWriter(to)
	put := func(fields ...string) { w.Write(fields) } // its error stays in w
	put("section", "what", "subject", "provider", "reseller", "amount", "currency", "count", "state", "detail")
	put("report", r.Period, "", "", "", "", "", "", clean(r.Clean()), "made "+r.Made.Format(time.RFC3339))
	sum := func(l MoneyLine, what string, amount int64, count string) {
		put("sums", what, "", l.Provider, "", exact(amount, l.Currency), l.Currency, count, "", "")
	}
	for _, l := range r.Lines {
		sum(l, "booked as paid", l.Paid, fmt.Sprint(l.Payments))
		sum(l, "held in review", l.Held, "")
		sum(l, "come in", l.In, "")
		sum(l, "gone out", l.Out, "")
		if l.Stated {
			sum(l, "paid by the statement", l.StatedPaid, fmt.Sprint(l.StatedPayments))
			sum(l, "gone out by the statement", l.StatedOut, "")
		}
		put("sums", "grants", "", l.Provider, "", "", l.Currency, fmt.Sprint(l.Grants), "", "")
		put("sums", "taken over by gateways", "", l.Provider, "", "", l.Currency, fmt.Sprint(l.Taken), "", "")
		put("sums", "begun by customers", "", l.Provider, "", "", l.Currency, fmt.Sprint(l.Started), "", "")
	}
	put("sums", "banked", "", "", "", "", "", fmt.Sprint(r.Banked), "", "")
	put("sums", "payments without an end", "", "", "", "", "", fmt.Sprint(r.Open), "", "")
	for _, b := range r.Moved {
		put("account", b.Account, "", "", "", exact(b.Amount, b.Currency), b.Currency, "", "", "")
	}
	for _, f := range r.Findings {
		state, detail, amount := "open", f.Detail, ""
		if !f.Cleared.IsZero() {
			state, detail = "dealt with by "+f.By, detail+"; "+f.Reason
		}
		if f.Amount != 0 {
			amount = exact(f.Amount, f.Currency)
		}
		put("finding", f.Kind, inCell(f.Subject), f.Provider, f.Reseller, amount, f.Currency, "", state, inCell(detail))
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return fmt.Errorf("writing a report: %w", err)
	}
	return nil
}

// inCell keeps a spreadsheet from taking words of others for a formula.
func inCell(s string) string {
	if s != "" && strings.IndexByte("=+-@\t\r\n", s[0]) >= 0 {
		return "'" + s
	}
	return s
}

func clean(yes bool) string {
	if yes {
		return "clean"
	}
	return "not clean"
}

// exact writes an amount with all of the currency's decimals.
func exact(amount int64, currency string) string {
	if cents(currency) == 0 {
		return fmt.Sprint(amount)
	}
	sign := ""
	if amount < 0 {
		sign, amount = "-", -amount
	}
	return fmt.Sprintf("%s%d.%02d", sign, amount/100, amount%100)
}
