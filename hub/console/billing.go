package console

import (
	"errors"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"

	"zonegate/hub"
)

const salesShown = 100

// A billingView is a month of a reseller.
type billingView struct {
	reseller  string
	resellers []option
	month     string
	summaries []hub.Summary
	sales     []hub.Sale
	after     int
	sites     map[string]string
}

func (v billingView) address(after int) string {
	q := url.Values{"month": {v.month}, "reseller": {v.reseller}}
	if after > 0 {
		q.Set("after", strconv.Itoa(after))
	}
	return "/billing?" + q.Encode()
}

func (a *call) billingPage() error {
	ctx, q := a.r.Context(), a.r.URL.Query()
	v := billingView{reseller: a.p.by.Reseller, month: q.Get("month"), sites: map[string]string{}}
	var err error
	if v.resellers, err = a.resellerOptions(""); err != nil {
		return err
	}
	if a.p.admin() {
		v.reseller = q.Get("reseller")
		if v.reseller == "" && len(v.resellers) > 0 {
			v.reseller = v.resellers[0].value
		}
	} else if x := q.Get("reseller"); x != "" {
		v.reseller = x // the hub says whether it is his
	}
	if v.month == "" {
		v.month = a.p.now.In(a.console.zone).Format("2006-01")
	}
	if n, err := strconv.Atoi(q.Get("after")); err == nil && n > 0 {
		v.after = n
	}
	if _, err := time.Parse("2006-01", v.month); err != nil {
		a.f.bad("month", a.p.T("Écrivez le mois comme 2026-02.", "Write the month as 2026-02."))
	}
	a.f.values.Set("month", v.month)
	if v.reseller == "" || !a.f.ok() {
		return a.render(billing(a.p, v))
	}
	v.summaries, err = a.hub.Summary(ctx, a.p.by, v.reseller, v.month)
	if err == nil {
		v.sales, err = a.hub.Sales(ctx, a.p.by, hub.SaleQuery{Reseller: v.reseller, Month: v.month, After: v.after, Max: salesShown})
	}
	var input *hub.InputError
	if errors.As(err, &input) {
		a.refused(err)
		return a.render(billing(a.p, v))
	} else if err != nil {
		return err
	}
	sites, err := a.hub.Sites(ctx, a.p.by, v.reseller)
	if err != nil {
		return err
	}
	for _, s := range sites {
		v.sites[s.ID] = s.Name
	}
	return a.render(billing(a.p, v))
}

// A part is what one party gets.
type part struct {
	party  string
	amount int64
}

// parts are what the parties get, by their names.
func parts(s hub.Summary) []part {
	var out []part
	for party, amount := range s.Parts {
		out = append(out, part{party, amount})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].party < out[j].party })
	return out
}

// unallocated is what neither the fee nor a party has of the total: always 0,
// or the page says so.
func unallocated(s hub.Summary) int64 {
	left := s.Total - s.Fee
	for _, amount := range s.Parts {
		left -= amount
	}
	return left
}

func (p page) party(name string) string {
	switch name {
	case hub.PartyReseller:
		return p.T("revendeur", "reseller")
	case hub.PartyRGZ:
		return "RGZ"
	}
	return name
}

// rule says a rule in words.
func (p page) rule(r hub.Rule) string {
	var b strings.Builder
	if r.FeePermille == 0 {
		b.WriteString(p.T("Pas de frais. ", "No fee. "))
	} else {
		of := p.T("de chaque vente", "of each sale")
		if r.Base == "month" {
			of = p.T("du total du mois", "of the month’s total")
		}
		rounding := p.T("arrondis vers le bas", "rounded down")
		switch r.Rounding {
		case "ceil":
			rounding = p.T("arrondis vers le haut", "rounded up")
		case "half_up":
			rounding = p.T("arrondis au plus proche", "rounded to the nearest")
		}
		b.WriteString(p.T("Frais : %s pour mille %s, %s. ", "Fee: %s per mille %s, %s. ", p.count(r.FeePermille), of, rounding))
		if r.CashFree {
			b.WriteString(p.T("Pas de frais sur ce que le revendeur a reçu en espèces. ", "No fee of what the reseller was paid in cash. "))
		}
	}
	shares := make([]string, len(r.Shares))
	for i, s := range r.Shares {
		shares[i] = p.T("%s : %s", "%s: %s", p.party(s.Party), p.count(s.Weight))
	}
	b.WriteString(p.T("Le reste est partagé en parts (%s), arrondies vers le bas. Ce que l’arrondi laisse va à : %s.",
		"The rest is divided into shares (%s), rounded down. What the rounding leaves goes to: %s.", strings.Join(shares, ", "), p.party(r.Remainder)))
	return b.String()
}

func (p page) source(s hub.Sale) string {
	switch s.Custody {
	case hub.CustodyReseller:
		return p.T("reçu par le revendeur", "paid to the reseller")
	case hub.CustodyPlatform:
		return p.T("reçu par la plateforme", "paid to the platform")
	}
	return s.Custody
}
