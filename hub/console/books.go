package console

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"zonegate/hub"
)

// A booksView is what is known of the books: the periods that were reconciled,
// and what stands open.
type booksView struct {
	reports    []hub.Reconciled
	findings   []hub.Finding
	statements []hub.Statement
	months     []hub.Month
	resellers  []option
}

func (v booksView) name(id string) string {
	if id == "" {
		return "–"
	}
	return labelOf(v.resellers, id)
}

func (a *call) booksPage() error {
	ctx := a.r.Context()
	var v booksView
	var err error
	if v.reports, err = a.hub.Reconciliations(ctx, a.p.by, 62); err != nil {
		return err
	}
	if v.findings, err = a.hub.Findings(ctx, a.p.by, hub.FindingQuery{Open: true, Max: 200}); err != nil {
		return err
	}
	if v.statements, err = a.hub.Statements(ctx, a.p.by, 20); err != nil {
		return err
	}
	if v.months, err = a.hub.Months(ctx, a.p.by); err != nil {
		return err
	}
	if v.resellers, err = a.resellerOptions(""); err != nil {
		return err
	}
	a.f.preset("period", a.p.now.In(a.p.zone).AddDate(0, 0, -1).Format(time.DateOnly))
	return a.render(books(a.p, v))
}

// findingName says what kind of finding it is.
func (p page) findingName(kind string) string {
	switch kind {
	case hub.FindLedger:
		return p.T("les comptes ne font pas zéro", "the ledger does not add up")
	case hub.FindNoGrant:
		return p.T("payé, sans accès", "paid, without access")
	case hub.FindNoPayment:
		return p.T("accès sans paiement", "access without payment")
	case hub.FindBooked:
		return p.T("montant mal inscrit", "booked wrongly")
	case hub.FindOnlyHere:
		return p.T("ici, pas au relevé", "here, not in the statement")
	case hub.FindOnlyThere:
		return p.T("au relevé, pas ici", "in the statement, not here")
	case hub.FindAmount:
		return p.T("autre montant", "another amount")
	case hub.FindTwice:
		return p.T("payé deux fois", "paid twice")
	case hub.FindReview:
		return p.T("paiement à examiner", "payment in review")
	case hub.FindPayout:
		return p.T("paiement sortant incertain", "payout not known")
	}
	return kind
}

// findingLink is the page where a finding can be dealt with; empty is none.
func findingLink(f hub.Finding) string {
	switch {
	case len(f.Subject) != len("00000000-0000-0000-0000-000000000000"), f.Kind == hub.FindNoPayment, f.Kind == hub.FindLedger:
		return ""
	case strings.HasPrefix(f.Detail, "withdrawal "):
		return "/withdrawals/" + f.Subject
	case strings.HasPrefix(f.Detail, "refund of payment "):
		id, _, _ := strings.Cut(strings.TrimPrefix(f.Detail, "refund of payment "), ":")
		return "/payments/" + id
	}
	return "/payments/" + f.Subject
}

func (a *call) reportPage() error {
	period := a.r.PathValue("period")
	r, err := a.hub.Reconciliation(a.r.Context(), a.p.by, period)
	if err != nil {
		return err
	}
	rs, err := a.resellerOptions("")
	if err != nil {
		return err
	}
	return a.render(report(a.p, r, booksView{findings: r.Findings, resellers: rs}))
}

// reportCSV is the report for a spreadsheet.
func (a *call) reportCSV() error {
	r, err := a.hub.Reconciliation(a.r.Context(), a.p.by, a.r.PathValue("period"))
	if err != nil {
		return err
	}
	a.w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	a.w.Header().Set("Content-Disposition", `attachment; filename="reconciliation-`+r.Period+`.csv"`)
	return r.WriteCSV(a.w)
}

// reconcile makes a report now.
func (a *call) reconcile() error {
	period := a.f.get("period")
	if _, err := a.hub.Reconcile(a.r.Context(), a.p.by, period); err != nil {
		if a.refused(err) {
			return a.booksPage()
		}
		return err
	}
	return a.redirect("/reconciliation/" + url.PathEscape(period) + "?done=1")
}

// importStatement takes the lines that were pasted.
func (a *call) importStatement() error {
	period, provider := a.f.get("period"), a.f.text(a.p, "provider", 40, true)
	if !a.f.ok() {
		return a.booksPage()
	}
	if _, _, err := a.hub.ImportStatement(a.r.Context(), a.p.by, provider, period, strings.NewReader(a.f.values.Get("lines"))); err != nil {
		if a.refused(err) {
			return a.booksPage()
		}
		return err
	}
	return a.redirect("/reconciliation/" + url.PathEscape(period) + "?done=1")
}

func (a *call) clearFinding() error {
	err := a.hub.ClearFinding(a.r.Context(), a.p.by, a.f.get("kind"), a.f.get("subject"), a.f.get("reason"))
	switch {
	case err == nil:
		return a.redirect("/reconciliation?done=1")
	case a.refused(err):
		return a.booksPage()
	}
	return err
}

// A monthView is a month of the books.
type monthView struct {
	state     hub.MonthState
	outside   []hub.OutsideCheck
	resellers []option
}

func (a *call) monthPage() error { return a.showMonth(a.r.PathValue("month")) }

func (a *call) showMonth(month string) error {
	ctx := a.r.Context()
	var v monthView
	var err error
	if v.state, err = a.hub.MonthState(ctx, a.p.by, month); err != nil {
		var input *hub.InputError
		if errors.As(err, &input) && a.refused(err) {
			return a.show(http.StatusUnprocessableEntity, errorPage(a.p, a.f.top))
		}
		return err
	}
	if v.outside, err = a.hub.CheckOutside(ctx, a.p.by, month); err != nil {
		return err
	}
	if v.resellers, err = a.resellerOptions(""); err != nil {
		return err
	}
	return a.render(monthOf(a.p, v))
}

func (a *call) closeMonth() error {
	month := a.r.PathValue("month")
	if _, err := a.hub.CloseMonth(a.r.Context(), a.p.by, month, a.f.get("reason")); err != nil {
		if a.refused(err) {
			return a.showMonth(month)
		}
		return err
	}
	return a.redirect("/months/" + url.PathEscape(month) + "?done=1")
}

// setOutside takes another system's summary of a month.
func (a *call) setOutside() error {
	month, currency := a.r.PathValue("month"), strings.ToUpper(a.f.text(a.p, "currency", 3, true))
	amount := func(name string) int64 { return int64(a.f.decimal(a.p, name, cents(currency), 1<<50)) }
	o := hub.OutsideSummary{Reseller: a.f.get("reseller"), Month: month, Currency: currency, Total: amount("total"), Fee: amount("fee"),
		Parts: map[string]int64{hub.PartyReseller: amount("share"), hub.PartyRGZ: amount("rgz")}}
	if !a.f.ok() {
		return a.showMonth(month)
	}
	if err := a.hub.SetOutside(a.r.Context(), a.p.by, o); err != nil {
		if a.refused(err) {
			return a.showMonth(month)
		}
		return err
	}
	return a.redirect("/months/" + url.PathEscape(month) + "?done=1")
}

// outsideParts are the parts of a summary.
func outsideParts(of map[string]int64) []part { return parts(hub.Summary{Parts: of}) }
