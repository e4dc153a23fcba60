package store_test

import (
	"fmt"
	"testing"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

func TestSummary(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r, other := w.reseller("A", plenty), w.reseller("B", plenty)
		b := w.gateway(w.site(r, "Market"), "one")
		o := w.gateway(w.site(other, "Port"), "two")
		f := w.forfait(plan("Day", 500))
		// 900 sales of 500 francs: the published rule takes 7 of each.
		var es []api.Entry
		for range 900 {
			es = append(es, b.sale(w, f, 500))
		}
		for i := 0; i < len(es); i += 300 {
			must(w.report(b, es[i:i+300]...))(t)
		}
		must(w.report(o, o.sale(w, f, 1000)))(t)
		got := must(w.Summary(w.ctx, w.admin, r.ID, "2026-02"))(t)
		if len(got) != 1 {
			t.Fatalf("summaries: %+v", got)
		}
		s := got[0]
		if s.Total != 450_000 || s.Fee != 6300 || s.Parts["reseller"] != 221_400 || s.Parts["rgz"] != 222_300 || s.Sales != 900 || s.Currency != "XOF" || s.Cash != 450_000 {
			t.Errorf("the month is %+v", s)
		}
		if !s.From.Equal(time.Date(2026, 1, 31, 23, 0, 0, 0, time.UTC)) || !s.To.Equal(time.Date(2026, 2, 28, 23, 0, 0, 0, time.UTC)) {
			t.Errorf("February is from %v to %v", s.From, s.To)
		}

		seller := hub.Actor{Role: hub.RoleSeller, Reseller: r.ID}
		if got := must(w.Summary(w.ctx, seller, "", "2026-02"))(t); got[0].Total != 450_000 {
			t.Errorf("his own: %+v", got)
		}
		if got := must(w.Summary(w.ctx, seller, "", "2026-01"))(t); len(got) != 0 {
			t.Errorf("a month without sales: %+v", got)
		}
		_, err := w.Summary(w.ctx, seller, other.ID, "2026-02")
		wantErr(t, "another's month", err, hub.ErrForbidden)
		_, err = w.Summary(w.ctx, w.admin, "x", "2026-02")
		wantErr(t, "no such reseller", err, hub.ErrNotFound)
		for _, bad := range []string{"", "2026", "2026-13", "02-2026", "2026-02-01"} {
			_, err = w.Summary(w.ctx, w.admin, r.ID, bad)
			wantErr(t, "the month "+bad, err, new(hub.InputError))
		}

		// A rule of all, and then one of his own; both from this month on.
		month := hub.DefaultRule()
		month.Base = "month"
		w.ok(w.SetRule(w.ctx, w.admin, "", "2026-02", month))
		if s := must(w.Summary(w.ctx, w.admin, r.ID, "2026-02"))(t)[0]; s.Fee != 6750 || s.Parts["reseller"] != 221_625 || s.Parts["rgz"] != 221_625 {
			t.Errorf("by the month it is %+v", s)
		}
		own := hub.Rule{FeePermille: 0, Rounding: "floor", Base: "sale", Shares: []hub.Share{{Party: "reseller", Weight: 7}, {Party: "rgz", Weight: 3}}, Remainder: "reseller"}
		w.ok(w.SetRule(w.ctx, w.admin, r.ID, "2026-02", own))
		if s := must(w.Summary(w.ctx, w.admin, r.ID, "2026-02"))(t)[0]; s.Fee != 0 || s.Parts["reseller"] != 315_000 || s.Parts["rgz"] != 135_000 {
			t.Errorf("with his own rule it is %+v", s)
		}
		if s := must(w.Summary(w.ctx, w.admin, other.ID, "2026-02"))(t)[0]; s.Fee != 15 {
			t.Errorf("the other's month is %+v", s)
		}
		wantErr(t, "a month that is over", w.SetRule(w.ctx, w.admin, "", "2026-01", month), new(hub.InputError))
		wantErr(t, "a reseller", w.SetRule(w.ctx, seller, r.ID, "2026-02", month), hub.ErrForbidden)
		wantErr(t, "no such reseller", w.SetRule(w.ctx, w.admin, "x", "2026-02", month), hub.ErrNotFound)
	})
}

func TestSummaryCurrencies(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		b := w.gateway(w.site(r, "Market"), "one")
		f := w.forfait(plan("Day", 500))
		var es []api.Entry
		for i, c := range []string{"XOF", "XAF", "XOF", "CDF"} {
			e := b.sale(w, f, int64(100*(i+1)))
			e.Price.Currency = c
			es = append(es, e)
		}
		es[2].Source = "payment"
		must(w.report(b, es...))(t)
		out := ""
		for _, s := range must(w.Summary(w.ctx, w.admin, r.ID, "2026-02"))(t) {
			out += fmt.Sprint(s.Currency, s.Total, " ", s.Cash, " ", s.Fee, ";")
		}
		if out != "CDF400 400 6;XAF200 200 3;XOF400 100 5;" {
			t.Errorf("the month is %q", out)
		}
		if got := must(w.Sales(w.ctx, w.admin, hub.SaleQuery{Reseller: r.ID, Month: "2026-02", After: 1, Max: 2}))(t); len(got) != 2 || got[0].Amount != 200 || got[1].Custody != hub.CustodyPlatform {
			t.Errorf("a page of sales: %+v", got)
		}
	})
}
