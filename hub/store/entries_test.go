package store_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

func hexOf(b []byte) string { return hex.EncodeToString(b) }

func TestReport(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		b := w.gateway(w.site(r, "Market"), "one")
		f := w.forfait(plan("Day", 500))
		sold := func() int { return len(must(w.Sales(w.ctx, w.admin, hub.SaleQuery{Month: "2026-02", Max: 1000}))(t)) }

		var es []api.Entry
		for range 5 {
			es = append(es, b.sale(w, f, 500))
		}
		for _, part := range [][]api.Entry{es[:2], es[:2], es[1:4], es} { // repeated, overlapping
			got := must(w.report(b, part...))(t)
			if want := part[len(part)-1].N; got.Through < want {
				t.Errorf("acknowledged through %d, want %d or more", got.Through, want)
			}
		}
		if got := must(w.report(b, es[0]))(t); got.Through != 5 {
			t.Errorf("an old one again: through %d, want 5", got.Through)
		}
		if got := must(w.report(b))(t); got.Through != 5 {
			t.Errorf("an empty report: through %d, want 5", got.Through)
		}
		if sold() != 5 {
			t.Errorf("%d sales, want 5", sold())
		}

		// A gap.
		b.n++
		ahead := b.sale(w, f, 500)
		_, err := w.report(b, ahead)
		var gap *hub.GapError
		if !errors.As(err, &gap) || gap.Expected != 6 {
			t.Errorf("entry 7 after 5: %v, want a gap at 6", err)
		}
		// A known number with another content: nothing of the report is taken.
		other := es[2]
		other.Price = &api.Money{Amount: 1, Currency: "XOF"}

		_, err = w.report(b, other, es[3], es[4])
		var conflict *hub.ConflictError
		if !errors.As(err, &conflict) || conflict.N != 3 || conflict.Expected != 6 {
			t.Errorf("entry 3 with another price: %v, want a conflict", err)
		}
		if _, ok := w.alarms(b)[hub.AlarmConflict]; !ok || sold() != 5 {
			t.Errorf("after a conflict: %v, %d sales", w.alarms(b), sold())
		}
		// The gap is for good.
		got := must(w.Report(w.ctx, b.Gateway, api.Reports{Instance: b.instance, Entries: []api.Entry{ahead}, Lost: true}))(t)
		if a := w.alarms(b)[hub.AlarmLost]; got.Through != 7 || a.Count != 1 {
			t.Errorf("with the loss said: through %d, alarm %+v", got.Through, a)
		}
		if sold() != 6 {
			t.Errorf("%d sales, want 6", sold())
		}
		// What was called lost comes after all, once.
		late := b.sale(w, f, 500)
		late.N = 6
		b.n = 7
		for range 2 {
			must(w.report(b, late))(t)
		}
		if sold() != 7 {
			t.Errorf("%d sales, want 7", sold())
		}
		if g := w.again(b); g.NextEntry != 8 {
			t.Errorf("the hub expects %d, want 8", g.NextEntry)
		}
	})
}

// A sale at another price than the hub's own is an alarm, and stays what it is.
func TestOtherPrices(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		b := w.gateway(w.site(w.reseller("A", plenty), "Market"), "one")
		old := w.forfait(plan("Day", 500))
		changed := old.Plan
		changed.Price.Amount = 600
		f, _, err := w.SetForfait(w.ctx, w.admin, hub.ForfaitChange{Plan: changed})
		w.ok(err)
		foreign := hub.Forfait{Plan: plan("Own", 1)}
		foreign.Plan.ID, foreign.Plan.Version = "own", 1
		must(w.report(b, b.sale(w, old, 500), b.sale(w, f, 600), b.sale(w, foreign, 7)))(t)
		if a := w.alarms(b); len(a) > 0 {
			t.Errorf("right prices raise %+v", a)
		}
		cheap, other := b.sale(w, f, 500), b.sale(w, f, 600)
		other.Price.Currency = "XAF"
		must(w.report(b, cheap, other))(t)
		a := w.alarms(b)[hub.AlarmPrice]
		if a.Count != 1 || !strings.Contains(a.Detail, "for 500 XOF") || !strings.Contains(a.Detail, "costs 600 XOF") || !strings.Contains(a.Detail, "1 more") {
			t.Errorf("the alarm is %+v", a)
		}
		sold := map[int64]int{}
		for _, s := range must(w.Sales(w.ctx, w.admin, hub.SaleQuery{Month: "2026-02"}))(t) {
			sold[s.Amount]++
		}
		if sold[500] != 2 || sold[600] != 2 || sold[7] != 1 {
			t.Errorf("sold were %v", sold)
		}
	})
}

func TestReportBadInput(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		b := w.gateway(w.site(w.reseller("A", plenty), "Market"), "one")
		f := w.forfait(plan("Day", 500))
		for _, tt := range []struct {
			what   string
			change func(*api.Entry)
		}{
			{"number 0", func(e *api.Entry) { e.N = 0 }},
			{"a number beyond all", func(e *api.Entry) { e.N = 1 << 60 }},
			{"a negative price", func(e *api.Entry) { e.Price.Amount = -1 }},
			{"a huge price", func(e *api.Entry) { e.Price.Amount = 1 << 62 }},
			{"no currency", func(e *api.Entry) { e.Price.Currency = "" }},
			{"no price", func(e *api.Entry) { e.Price = nil }},
			{"no ref", func(e *api.Entry) { e.Ref = "" }},
			{"no source", func(e *api.Entry) { e.Source = "" }},
			{"too many octets", func(e *api.Entry) { e.Up = 1 << 63 }},
			{"a long name", func(e *api.Entry) { e.Plan = string(make([]byte, 300)) }},
			{"an unknown kind", func(e *api.Entry) { e.Kind = "gift" }},
		} {
			e := b.sale(w, f, 500)
			e.N, b.n = 1, 0
			tt.change(&e)
			_, err := w.report(b, e)
			wantErr(t, tt.what, err, new(hub.InputError))
		}
		if _, ok := w.alarms(b)[hub.AlarmUnknown]; !ok {
			t.Error("an unknown kind raised no alarm")
		}
		first, second := b.sale(w, f, 500), b.sale(w, f, 500)
		_, err := w.report(b, second, first)
		wantErr(t, "the wrong order", err, new(hub.InputError))
		_, err = w.Report(w.ctx, b.Gateway, api.Reports{Instance: b.instance, Entries: make([]api.Entry, 501)})
		wantErr(t, "501 entries", err, new(hub.InputError))
		_, err = w.Report(w.ctx, b.Gateway, api.Reports{Instance: b.instance, Usage: []api.Usage{{Grant: 1, Up: 1 << 63}}})
		wantErr(t, "usage out of range", err, new(hub.InputError))
		if g := w.again(b); g.NextEntry != 1 {
			t.Errorf("after all this the hub expects %d, want 1", g.NextEntry)
		}
		// Text that PostgreSQL cannot keep must not stop the outbox.
		first.Plan = "a\x00b"
		_, err = w.report(b, first)
		wantErr(t, "a zero octet", err, new(hub.InputError))
	})
}

// The same voucher under another number is one sale and an alarm.
func TestSoldTwice(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		b := w.gateway(w.site(w.reseller("A", plenty), "Market"), "one")
		f := w.forfait(plan("Day", 500))
		x := b.sale(w, f, 500)
		y := b.sale(w, f, 500)
		y.Ref = x.Ref
		must(w.report(b, x, y))(t)
		z := b.sale(w, f, 500)
		z.Ref = x.Ref
		must(w.report(b, z))(t)
		if n := len(must(w.Sales(w.ctx, w.admin, hub.SaleQuery{Month: "2026-02"}))(t)); n != 1 {
			t.Errorf("%d sales of one voucher", n)
		}
		if a := w.alarms(b)[hub.AlarmTwice]; a.Count != 2 {
			t.Errorf("the alarm is %+v, want it twice", a)
		}
	})
}

// Two connections of one gateway report the same entries at the same time.
func TestReportRace(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		b := w.gateway(w.site(w.reseller("A", plenty), "Market"), "one")
		f := w.forfait(plan("Day", 500))
		var es []api.Entry
		for range 60 {
			es = append(es, b.sale(w, f, 500))
		}
		other := w.other()
		var wg sync.WaitGroup
		for i := range 6 {
			x := []*world{w, other}[i%2]
			wg.Go(func() {
				for j := 0; j < len(es); {
					n := min(7+i, len(es)-j)
					got, err := x.report(b, es[j:j+n]...)
					if err != nil {
						t.Error(err)
						return
					}
					j = int(got.Through)
				}
			})
		}
		wg.Wait()
		if n := len(must(w.Sales(w.ctx, w.admin, hub.SaleQuery{Month: "2026-02", Max: 1000}))(t)); n != 60 {
			t.Errorf("%d sales, want 60", n)
		}
	})
}

// The hub's own vouchers are marked by the sale that tells of them.
func TestUsedVouchers(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		s := w.site(r, "Market")
		b, foreign := w.gateway(s, "one"), w.gateway(w.site(r, "Port"), "two")
		f := w.forfait(plan("Day", 500))
		batch, codes := must2(w.Generate(w.ctx, w.admin, hub.Generate{N: 120, Forfait: f.Plan.ID, Reseller: r.ID, Site: s.ID}))(t)
		used := func() int { return must(w.Batches(w.ctx, w.admin, r.ID, 10))(t)[0].Used }

		// Another site's gateway cannot use them up.
		e := foreign.sale(w, f, 500)
		e.HubCode, e.Ref = true, codeKey(t, b, codes[0])
		must(w.report(foreign, e))(t)
		if used() != 0 {
			t.Error("a gateway used up the codes of another site")
		}
		var es []api.Entry
		for _, c := range codes[:111] {
			e := b.sale(w, f, 500)
			e.HubCode, e.Ref, e.Batch = true, codeKey(t, b, c), batch.ID
			es = append(es, e)
		}
		must(w.report(b, es...))(t)
		b.n++
		must(w.report(b, api.Entry{N: b.n, Kind: api.EntryRevoked, HubCode: true, Ref: codeKey(t, b, codes[111])}))(t)
		if used() != 112 {
			t.Errorf("%d codes are used, want 112", used())
		}
	})
}

func TestUsageIsHighest(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		b := w.gateway(w.site(w.reseller("A", plenty), "Market"), "one")
		report := func(us ...api.Usage) {
			must(w.Report(w.ctx, b.Gateway, api.Reports{Instance: b.instance, Usage: us}))(t)
		}
		report(api.Usage{Grant: 1, Up: 10, Down: 100}, api.Usage{Grant: 2, Up: 1, Down: 1}, api.Usage{Grant: 1, Up: 20, Down: 50})
		report(api.Usage{Grant: 1, Up: 5, Down: 200})
		b.n++
		must(w.report(b, api.Entry{N: b.n, Kind: api.EntryEnded, Grant: 2, State: "spent", Up: 7, Down: 8}))(t)
		report(api.Usage{Grant: 2, Up: 1, Down: 1})
		got := must(w.Used(w.ctx, w.admin, b.ID))(t)
		if fmt.Sprint(got) != "[{1 20 200} {2 7 8}]" {
			t.Errorf("usage is %v", got)
		}
	})
}

func TestSaleTimes(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		b := w.gateway(w.site(w.reseller("A", plenty), "Market"), "one")
		f := w.forfait(plan("Day", 500))
		at := func(t time.Time) *time.Time { return &t }
		var es []api.Entry
		for _, when := range []*time.Time{
			nil,                                    // no trusted clock
			at(w.clock.Now().Add(-48 * time.Hour)), // as said
			at(time.Date(1970, 1, 1, 0, 5, 0, 0, time.UTC)), // nonsense
			at(w.clock.Now().Add(400 * 24 * time.Hour)),
			at(time.Date(2026, 1, 31, 23, 30, 0, 0, time.UTC)), // February in Cotonou
			at(time.Date(2026, 1, 31, 22, 30, 0, 0, time.UTC)), // January
		} {
			e := b.sale(w, f, 500)
			e.At = when
			es = append(es, e)
		}
		must(w.report(b, es...))(t)
		sales := must(w.Sales(w.ctx, w.admin, hub.SaleQuery{Month: "2026-02"}))(t)
		exact := 0
		for _, s := range sales {
			if s.Exact {
				exact++
			} else if !s.At.Equal(w.clock.Now()) {
				t.Errorf("a sale without a time is at %v", s.At)
			}
		}
		if len(sales) != 5 || exact != 2 {
			t.Errorf("%d sales in February, %d of them exact; want 5 and 2", len(sales), exact)
		}
		if n := len(must(w.Sales(w.ctx, w.admin, hub.SaleQuery{Month: "2026-01"}))(t)); n != 1 {
			t.Errorf("%d sales in January, want 1", n)
		}
	})
}
