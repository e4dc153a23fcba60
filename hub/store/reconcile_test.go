package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/sync/api"
)

// books are payments, written down as the hub's own transactions do, or wrongly.
type books struct {
	*world
	b       *box
	f       hub.Forfait
	n       int
	lookups *provider
}

// A provider answers lookups by the provider's id.
type provider struct {
	says  map[string]hub.Observation
	asked []string
}

func (*provider) Caps() hub.Caps {
	return hub.Caps{Country: "BJ", Currencies: []string{"XOF"}, Channels: []hub.ChannelCaps{{ID: "TEST", Name: "Test", Flow: hub.FlowPush}}, FirstLook: 25 * time.Second}
}

func (*provider) Initiate(_ context.Context, c hub.Charge) (hub.Started, error) {
	return hub.Started{}, errors.New("not asked for here")
}

func (p *provider) Lookup(_ context.Context, x hub.Payment) (hub.Observation, error) {
	p.asked = append(p.asked, x.ProviderRef)
	o, ok := p.says[x.ProviderRef]
	if !ok {
		return hub.Observation{State: hub.PaymentPending}, nil
	}
	o.Reference = x.Reference
	return o, nil
}

func newBooks(w *world) *books {
	p := &provider{says: map[string]hub.Observation{}}
	w.UseCollectors(map[string]hub.Collector{"test": p})
	return &books{world: w, b: w.gateway(w.site(w.reseller("A", plenty), "Market"), "one"), f: w.forfait(plan("Day", 500)), lookups: p}
}

// payment is one that nothing was booked for yet.
func (k *books) payment(state hub.PaymentState) hub.Payment {
	k.Helper()
	k.n++
	now := k.clock.Now()
	p := hub.Payment{ID: fmt.Sprintf("%08d-0000-7000-8000-%012d", k.n, k.n), Site: k.b.Site, Reseller: k.b.Reseller, Gateway: k.b.ID, Intent: fmt.Sprintf("%032x", k.n),
		Reference: fmt.Sprintf("REF%d", k.n), Provider: "test", Channel: "TEST", Forfait: k.f.Plan.ID, Version: k.f.Plan.Version,
		Price: zonegate.Money{Amount: 500, Currency: "XOF"}, Device: "02:00:00:00:00:01", State: state, ProviderRef: fmt.Sprintf("P%d", k.n), Flow: hub.FlowPush,
		Made: now, Changed: now, Attempt: 1}
	if state != hub.PaymentPending {
		p.Paid = p.Price
	}
	k.write(func(tx hub.Tx) error { return tx.AddPayments([]hub.Payment{p}) })
	return p
}

func (k *books) write(f func(tx hub.Tx) error) {
	k.Helper()
	k.ok(k.store.Write(k.ctx, f))
}

func (k *books) grant(p hub.Payment) {
	k.Helper()
	k.write(func(tx hub.Tx) error {
		if err := tx.AddGrant(hub.Grant{ID: p.ID, Site: p.Site, Forfait: p.Forfait, Version: p.Version, Device: p.Device, Source: "payment", Ref: p.ID, Made: k.clock.Now()}); err != nil {
			return err
		}
		_, err := tx.AddSales([]hub.Sale{{Site: p.Site, Reseller: p.Reseller, At: k.clock.Now(), Exact: true, Source: "hub", Ref: p.ID, Forfait: p.Forfait,
			Version: p.Version, Amount: 500, Currency: "XOF", Custody: hub.CustodyPlatform}})
		return err
	})
}

func (k *books) book(kind, ref string, lines ...hub.Posting) {
	k.Helper()
	k.write(func(tx hub.Tx) error {
		return k.Book(tx, hub.Transaction{Kind: kind, Ref: ref, Reseller: k.b.Reseller, Postings: lines})
	})
}

// sold is a payment as it should be: 500 paid, 7 fee, 246 and 247.
func (k *books) sold() hub.Payment {
	k.Helper()
	p := k.payment(hub.PaymentSucceeded)
	k.grant(p)
	k.book(hub.BookPayment, p.ID, hub.Posting{Account: "provider/test", Currency: "XOF", Amount: 500}, hub.Posting{Account: "fee/test", Currency: "XOF", Amount: -7},
		hub.Posting{Account: "reseller/" + p.Reseller, Currency: "XOF", Amount: -246}, hub.Posting{Account: "party/rgz", Currency: "XOF", Amount: -247})
	return p
}

func (k *books) reconcile(period string) hub.Reconciliation {
	k.Helper()
	return must(k.Reconcile(k.ctx, k.admin, period))(k)
}

func (k *books) statement(period string, lines ...string) hub.Reconciliation {
	k.Helper()
	_, r, err := k.ImportStatement(k.ctx, k.admin, "test", period, strings.NewReader("reference,provider_ref,amount,currency,status,kind\n"+strings.Join(lines, "\n")+"\n"))
	k.ok(err)
	return r
}

// found are the open findings of a report, by subject.
func found(r hub.Reconciliation) map[string]string {
	out := map[string]string{}
	for _, f := range r.Findings {
		if f.Cleared.IsZero() {
			out[f.Subject] += f.Kind
		}
	}
	return out
}

const day = "2026-02-10"

func TestReconcileCleanDay(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		k := newBooks(w)
		first, second := k.sold(), k.sold()
		k.payment(hub.PaymentPending)
		// The first one's gateway has taken the grant over and begun it.
		at := w.clock.Now()
		k.b.n += 2
		must(w.report(k.b, api.Entry{N: k.b.n - 1, At: &at, Kind: api.EntrySale, Grant: 9, Source: "hub", Ref: first.ID, Plan: k.f.Plan.ID, PlanVersion: k.f.Plan.Version, Price: &api.Money{Amount: 500, Currency: "XOF"}},
			api.Entry{N: k.b.n, At: &at, Kind: api.EntryStarted, Grant: 9}))(t)
		w.clock.pass(24 * time.Hour)
		k.sold() // of the next day

		r := k.reconcile(day)
		if !r.Clean() || len(r.Lines) != 1 || r.Banked != 1 || r.Open != 1 {
			t.Fatalf("the day is %+v", r)
		}
		if l := r.Lines[0]; l.Payments != 2 || l.Paid != 1000 || l.Grants != 2 || l.Taken != 1 || l.Started != 1 || l.Stated || l.Out != 0 {
			t.Errorf("its line is %+v", l)
		}
		sum := int64(0)
		for _, b := range r.Moved {
			sum += b.Amount
			if b.Account == "reseller/" && b.Amount != -492 || strings.HasPrefix(b.Account, "reseller/") && b.Account != "reseller/" {
				t.Errorf("moved: %+v", b)
			}
		}
		if sum != 0 || len(r.Moved) != 4 {
			t.Errorf("the accounts moved %+v", r.Moved)
		}

		// The statement agrees, and the report says so.
		r = k.statement(day, "REF1,P1,500,XOF,success,", "REF2,P2,500.00,XOF,success,", ",P9,300,XOF,failed,")
		if l := r.Lines[0]; !r.Clean() || !l.Stated || l.StatedPaid != 1000 || l.StatedPayments != 2 {
			t.Errorf("with the statement: %+v", r)
		}
		kept := must(w.Reconciliation(w.ctx, w.admin, day))(t)
		if !kept.Clean() || kept.Lines[0] != r.Lines[0] || !kept.Made.Equal(r.Made) {
			t.Errorf("kept was %+v", kept)
		}
		if s := must(w.Statements(w.ctx, w.admin, 0))(t); len(s) != 1 || s[0].Lines != 3 || s[0].By != "root" {
			t.Errorf("the statements are %+v", s)
		}
		if m := k.reconcile("2026-02"); !m.Clean() || m.Lines[0].Payments != 3 || m.Lines[0].StatedPayments != 2 {
			t.Errorf("the month: %+v", m)
		}
		if second.ID == "" {
			t.Error("no second")
		}
	})
}

func TestReconcileFindsWhatCannotBe(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		k := newBooks(w)
		k.sold()
		noGrant, noBook, noPayment, wrong := k.payment(hub.PaymentSucceeded), k.payment(hub.PaymentSucceeded), k.payment(hub.PaymentFailed), k.sold()
		k.book(hub.BookPayment, noGrant.ID, hub.Posting{Account: "provider/test", Currency: "XOF", Amount: 500}, hub.Posting{Account: "party/rgz", Currency: "XOF", Amount: -500})
		k.grant(noBook)
		k.grant(noPayment)
		wrong.Paid.Amount = 400
		k.write(func(tx hub.Tx) error { return tx.ChangePayments([]hub.Payment{wrong}) })
		// Somebody writes into the database: the hub itself refuses it.
		k.write(func(tx hub.Tx) error {
			return tx.AddTransactions([]hub.Transaction{{ID: "x", Kind: "gift", Ref: "1", At: w.clock.Now(), Postings: []hub.Posting{{Account: "reseller/x", Currency: "XOF", Amount: -5}}}})
		})
		got := found(k.reconcile(day))
		want := map[string]string{noGrant.ID: hub.FindNoGrant, noBook.ID: hub.FindNoGrant, noPayment.ID: hub.FindNoPayment, wrong.ID: hub.FindBooked, "XOF": hub.FindLedger, "gift 1": hub.FindLedger}
		for subject, kind := range want {
			if got[subject] != kind {
				t.Errorf("%s: found %q, want %q", subject, got[subject], kind)
			}
			delete(got, subject)
		}
		if len(got) > 0 {
			t.Errorf("found too: %v", got)
		}
		if r := k.reconcile("2026-02-09"); len(found(r)) != 1 || found(r)["XOF"] == "" {
			t.Errorf("of the day before: %v", found(r))
		}
		// What is mended is not found again.
		k.grant(noGrant)
		if got := found(k.reconcile(day)); got[noGrant.ID] != "" || got[noBook.ID] == "" {
			t.Errorf("after mending: %v", got)
		}
		open := must(w.Findings(w.ctx, w.admin, hub.FindingQuery{Period: "2026-02", Open: true}))(t)
		for _, f := range open {
			if f.Subject == noGrant.ID {
				t.Errorf("still open: %+v", f)
			}
		}
	})
}

func TestReconcileWithStatement(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		k := newBooks(w)
		good, missing, differs, twice := k.sold(), k.sold(), k.sold(), k.sold()
		lost, known := k.payment(hub.PaymentPending), k.payment(hub.PaymentExpired)
		// The answer to its initiate was lost: only the statement knows its id.
		lost.ProviderRef = ""
		k.write(func(tx hub.Tx) error { return tx.ChangePayments([]hub.Payment{lost}) })
		k.lookups.says["PL"] = hub.Observation{Found: true, State: hub.PaymentSucceeded, Amount: lost.Price, ProviderRef: "PL"}

		r := k.statement(day, "REF1,P1,500,XOF,success,", "REF3,P3,450,XOF,success,", "REF4,P4,500,XOF,success,", "REF4,P4b,500,XOF,success,",
			"REF5,PL,500,XOF,success,", "REF6,P6,500,XOF,success,", "NOBODY,PX,700,XOF,success,", "FOUT,PO,900,XOF,success,payout")
		got := found(r)
		want := map[string]string{missing.ID: hub.FindOnlyHere, differs.ID: hub.FindAmount, twice.ID: hub.FindTwice, known.ID: hub.FindOnlyThere,
			"test PX": hub.FindOnlyThere, "test PO": hub.FindOnlyThere}
		for subject, kind := range want {
			if got[subject] != kind {
				t.Errorf("%s: found %q, want %q", subject, got[subject], kind)
			}
			delete(got, subject)
		}
		if len(got) > 0 {
			t.Errorf("found too: %v", got)
		}
		// The lost one was asked about by the statement's id, and has succeeded.
		p, _, err := w.PaymentHistory(w.ctx, w.admin, lost.ID)
		if err != nil || p.State != hub.PaymentSucceeded || p.ProviderRef != "PL" {
			t.Errorf("the lost payment is %+v (%v)", p, err)
		}
		if p, _, _ := w.PaymentHistory(w.ctx, w.admin, known.ID); p.State == hub.PaymentSucceeded {
			t.Error("a line of a statement made a payment succeed that the provider does not know")
		}
		if !strings.Contains(strings.Join(k.lookups.asked, " "), missing.ProviderRef) || !strings.Contains(strings.Join(k.lookups.asked, " "), known.ProviderRef) {
			t.Errorf("asked were %v", k.lookups.asked)
		}
		if n := k.frozen(good.Reseller); n != 1 {
			t.Errorf("%d findings freeze the reseller", n)
		}
		k.write(func(tx hub.Tx) error {
			_, err := tx.AddWithdrawal(hub.Withdrawal{ID: "w", Reference: "W", Reseller: good.Reseller, Amount: zonegate.Money{Amount: 200, Currency: "XAF"},
				Phone: "237600000000", Operator: "mtn_money", State: hub.PayoutVerified, Made: w.clock.Now(), Changed: w.clock.Now(), Verified: w.clock.Now()})
			return err
		})
		wantErr(t, "paying the reseller", errorOf(w.ClaimWithdrawal(w.ctx, w.admin, "w")), hub.ErrPayoutOpen)

		// A later statement has what was missing; a person has dealt with others.
		w.ok(w.ClearFinding(w.ctx, w.admin, hub.FindAmount, differs.ID, "the provider has paid the rest"))
		wantErr(t, "no reason", w.ClearFinding(w.ctx, w.admin, hub.FindTwice, twice.ID, " "), new(hub.InputError))
		wantErr(t, "no such finding", w.ClearFinding(w.ctx, w.admin, hub.FindTwice, "x", "why"), hub.ErrNotFound)
		got = found(k.statement(day, "REF2,P2,500,XOF,success,"))
		if got[missing.ID] != "" || got[differs.ID] != "" || got[twice.ID] == "" || k.frozen(good.Reseller) != 0 {
			t.Errorf("the next day: %v", got)
		}
		must(w.ClaimWithdrawal(w.ctx, w.admin, "w"))(t)
		// And what is missing again is found again.
		k.write(func(tx hub.Tx) error {
			return tx.AddStatement(hub.Statement{ID: "z", Provider: "test", From: r.From, To: r.To}, []hub.StatementLine{
				{Provider: "test", Kind: hub.LinePayment, Reference: "REF2", ProviderRef: "P2", Amount: 500, Currency: "XOF", Status: hub.LineFailed}})
		})
		if got = found(k.reconcile(day)); got[missing.ID] != hub.FindOnlyHere {
			t.Errorf("missing again: %v", got)
		}
	})
}

func (k *books) frozen(reseller string) (n int64) {
	k.Helper()
	k.ok(k.store.Read(k.ctx, func(tx hub.Tx) (err error) {
		n, err = tx.Frozen(reseller)
		return err
	}))
	return n
}

func TestReconcilePayouts(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		k := newBooks(w)
		add := func(ref string, state hub.PayoutState) hub.Withdrawal {
			x := hub.Withdrawal{ID: "w-" + ref, Reference: ref, Reseller: k.b.Reseller + ref, Amount: zonegate.Money{Amount: 1000, Currency: "XOF"}, Fee: 100,
				Phone: "22901000000", Operator: "mtn", State: state, Payer: "test", ProviderRef: "O" + ref, Made: w.clock.Now(), Changed: w.clock.Now()}
			k.write(func(tx hub.Tx) error {
				_, err := tx.AddWithdrawal(x)
				return err
			})
			if state == hub.PayoutCompleted {
				k.book(hub.BookPaidOut, x.ID, hub.Posting{Account: "provider/test", Currency: "XOF", Amount: -900}, hub.Posting{Account: "blocked/" + x.Reseller, Currency: "XOF", Amount: 900})
			}
			return x
		}
		add("A", hub.PayoutCompleted)
		missing, unsure, other, open := add("B", hub.PayoutCompleted), add("C", hub.PayoutAmbiguous), add("D", hub.PayoutCompleted), add("E", hub.PayoutProcessing)
		r := k.statement(day, "A,OA,900,XOF,paid,payout", "C,OC,900,XOF,paid,payout", "D,,1000,XOF,paid,payout", "E,OE,900,XOF,failed,payout")
		got := found(r)
		want := map[string]string{missing.ID: hub.FindOnlyHere, unsure.ID: hub.FindOnlyThere + hub.FindPayout, other.ID: hub.FindAmount}
		for subject, kind := range want {
			if got[subject] != kind {
				t.Errorf("%s: found %q, want %q", subject, got[subject], kind)
			}
		}
		if got[open.ID] != "" || len(got) != 3 || r.Lines[0].Out != 2700 || r.Lines[0].StatedOut != 2800 {
			t.Errorf("found %v, lines %+v", got, r.Lines)
		}
	})
}

func TestCloseMonth(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		k := newBooks(w)
		k.sold()
		wantErr(t, "a month that is not over", errorOf(w.CloseMonth(w.ctx, w.admin, "2026-02", "why")), new(hub.InputError))
		p := k.payment(hub.PaymentReview)
		k.book(hub.BookReview, p.ID, hub.Posting{Account: "provider/test", Currency: "XOF", Amount: 500}, hub.Posting{Account: "review/test", Currency: "XOF", Amount: -500})
		q := k.payment(hub.PaymentSucceeded)
		k.grant(q)
		k.book(hub.BookPayment, q.ID, hub.Posting{Account: "provider/test", Currency: "XOF", Amount: 500}, hub.Posting{Account: "party/rgz", Currency: "XOF", Amount: -400},
			hub.Posting{Account: "surplus/test", Currency: "XOF", Amount: -100})
		w.ok(w.SetOutside(w.ctx, w.admin, hub.OutsideSummary{Reseller: k.b.Reseller, Month: "2026-02", Currency: "XOF", Total: 450_000, Fee: 6750,
			Parts: map[string]int64{"reseller": 218_250, "rgz": 218_250}, Sessions: 312}))
		w.clock.pass(30 * 24 * time.Hour)

		s := must(w.MonthState(w.ctx, w.admin, "2026-02"))(t)
		all := strings.Join(s.Open, "; ")
		if !s.Closed.IsZero() || len(s.Never) > 0 || !strings.Contains(all, "1 payments in review") || !strings.Contains(all, "100 XOF above") || !strings.Contains(all, "6750 XOF allocated to nobody") {
			t.Errorf("the month is %+v", s)
		}
		wantErr(t, "no reason", errorOf(w.CloseMonth(w.ctx, w.admin, "2026-02", " ")), new(hub.InputError))
		m := must(w.CloseMonth(w.ctx, w.admin, "2026-02", "the operator pays the difference"))(t)
		if m.By != "root" || len(m.Accepted) != len(s.Open) || m.Reason == "" {
			t.Errorf("closed as %+v", m)
		}
		wantErr(t, "closed twice", errorOf(w.CloseMonth(w.ctx, w.admin, "2026-02", "why")), new(hub.InputError))
		if s := must(w.MonthState(w.ctx, w.admin, "2026-02"))(t); s.Closed.IsZero() || len(s.Open) > 0 {
			t.Errorf("now it is %+v", s)
		}
		if ms := must(w.Months(w.ctx, w.admin))(t); len(ms) != 1 || !ms[0].Closed.Equal(m.Closed) {
			t.Errorf("months: %+v", ms)
		}

		// What comes late is booked when the books are open: not before March,
		// even by a clock that was set back.
		w.clock.pass(-25 * 24 * time.Hour)
		late := k.sold()
		got := must(w.Transactions(w.ctx, w.admin, hub.LedgerQuery{Kind: hub.BookPayment, From: time.Date(2026, 2, 28, 23, 0, 0, 0, time.UTC)}))(t)
		if len(got) != 1 || got[0].Ref != late.ID {
			t.Errorf("in March is booked %+v", got)
		}
		// A correction goes where its author wants it.
		at := time.Date(2026, 2, 12, 0, 0, 0, 0, time.UTC)
		lines := []hub.Posting{{Account: "surplus/test", Currency: "XOF", Amount: 100}, {Account: "party/rgz", Currency: "XOF", Amount: -100}}
		c := must(w.Correct(w.ctx, w.admin, "feb-1", "the surplus stays with the operator", at, lines))(t)
		if !c.At.Equal(at) {
			t.Errorf("corrected at %v", c.At)
		}
		wantErr(t, "the same correction", errorOf(w.Correct(w.ctx, w.admin, "feb-1", "again", at, lines)), hub.ErrExists)
		wantErr(t, "no reason", errorOf(w.Correct(w.ctx, w.admin, "feb-2", "", at, lines)), new(hub.InputError))
		wantErr(t, "no such account", errorOf(w.Correct(w.ctx, w.admin, "feb-3", "x", at, []hub.Posting{{Account: "mine", Currency: "XOF", Amount: 1}, {Account: "party/rgz", Currency: "XOF", Amount: -1}})), new(hub.InputError))
		wantErr(t, "not zero", errorOf(w.Correct(w.ctx, w.admin, "feb-4", "x", at, []hub.Posting{{Account: "party/a", Currency: "XOF", Amount: 1}, {Account: "party/rgz", Currency: "XOF", Amount: -2}})), new(hub.InputError))
	})
}

func TestLedgerThatDoesNotAddUpIsNeverClosed(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		k := newBooks(w)
		k.write(func(tx hub.Tx) error {
			return tx.AddTransactions([]hub.Transaction{{ID: "x", Kind: "gift", Ref: "1", At: w.clock.Now(), Postings: []hub.Posting{{Account: "reseller/x", Currency: "XOF", Amount: -5}}}})
		})
		w.clock.pass(30 * 24 * time.Hour)
		err := errorOf(w.CloseMonth(w.ctx, w.admin, "2026-02", "it is fine"))
		wantErr(t, "closing it", err, new(hub.InputError))
		if !strings.Contains(err.Error(), "zero") {
			t.Error(err)
		}
	})
}

func TestCheckOutside(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		k := newBooks(w)
		for range 2 {
			k.sold()
		}
		o := hub.OutsideSummary{Reseller: k.b.Reseller, Month: "2026-02", Currency: "XOF", Total: 450_000, Fee: 6750, Parts: map[string]int64{"reseller": 218_250, "rgz": 218_250}}
		w.ok(w.SetOutside(w.ctx, w.admin, o))
		c := must(w.CheckOutside(w.ctx, w.admin, "2026-02"))(t)
		if len(c) != 1 || c[0].Ours.Total != 1000 || len(c[0].Tried) != 3 || !c[0].Tried[0].Fits || !strings.Contains(c[0].Tried[0].Name, "twice") || c[0].Tried[1].Fits {
			t.Fatalf("the printed sample: %+v", c)
		}
		o.Total, o.Fee, o.Parts = 1000, 14, map[string]int64{"reseller": 492, "rgz": 494}
		w.ok(w.SetOutside(w.ctx, w.admin, o))
		if c := must(w.CheckOutside(w.ctx, w.admin, "2026-02"))(t); !c[0].Tried[0].Fits || !strings.Contains(c[0].Tried[0].Name, "in force") || c[0].Unallocated() != 0 {
			t.Errorf("our own rule: %+v", c)
		}
		for _, bad := range []func(*hub.OutsideSummary){
			func(o *hub.OutsideSummary) { o.Month = "2026" }, func(o *hub.OutsideSummary) { o.Currency = "francs" },
			func(o *hub.OutsideSummary) { o.Total = -1 }, func(o *hub.OutsideSummary) { o.Parts = nil },
			func(o *hub.OutsideSummary) { o.Parts = map[string]int64{"rgz": -1} },
		} {
			x := o
			bad(&x)
			wantErr(t, "nonsense", w.SetOutside(w.ctx, w.admin, x), new(hub.InputError))
		}
		o.Reseller = "x"
		wantErr(t, "no such reseller", w.SetOutside(w.ctx, w.admin, o), hub.ErrNotFound)
	})
}

func TestReconcileDue(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		periods := func() string {
			var out []string
			for _, r := range must(w.Reconciliations(w.ctx, w.admin, 0))(t) {
				out = append(out, r.Period)
			}
			return strings.Join(out, " ")
		}
		w.ok(w.ReconcileDue(w.ctx)) // no sites: nothing to report
		if got := periods(); got != "" {
			t.Errorf("an empty hub reports %q", got)
		}
		k := newBooks(w)
		k.sold()
		w.ok(w.ReconcileDue(w.ctx))
		if got := periods(); got != "" {
			t.Errorf("on the first day it reports %q", got)
		}
		// 00:29 and 00:30 in UTC+1.
		w.clock.pass(11*time.Hour + 29*time.Minute)
		w.ok(w.ReconcileDue(w.ctx))
		if got := periods(); got != "" {
			t.Errorf("before half past midnight it reports %q", got)
		}
		w.clock.pass(time.Minute)
		k.reconcile(day)
		w.ok(w.ReconcileDue(w.ctx))
		if got := periods(); got != day {
			t.Errorf("at half past midnight it reports %q", got)
		}
		first := must(w.Reconciliation(w.ctx, w.admin, day))(t)
		// Off for a while, it makes up for it; what is there stays.
		w.clock.pass(20 * 24 * time.Hour)
		w.ok(w.ReconcileDue(w.ctx))
		got := periods()
		for _, want := range []string{day, "2026-02-11", "2026-02-28", "2026-03-02", "2026-02 "} {
			if !strings.Contains(got+" ", want) {
				t.Errorf("after three weeks it has %q, without %q", got, want)
			}
		}
		if strings.Contains(got, "2026-02-09") || strings.Contains(got, "2026-03-03") || len(strings.Fields(got)) != 22 {
			t.Errorf("after three weeks it has %q", got)
		}
		if again := must(w.Reconciliation(w.ctx, w.admin, day))(t); !again.Made.Equal(first.Made) {
			t.Error("a report that was there was made again")
		}

		// One with something open is made again each day, until nothing is.
		p := k.payment(hub.PaymentReview)
		now := w.clock.Now().In(time.FixedZone("UTC+1", 3600)).Format(time.DateOnly)
		w.clock.pass(24 * time.Hour)
		w.ok(w.ReconcileDue(w.ctx))
		if got := found(must(w.Reconciliation(w.ctx, w.admin, now))(t)); got[p.ID] != hub.FindReview {
			t.Errorf("in review: %v", got)
		}
		p.State = hub.PaymentFailed
		k.write(func(tx hub.Tx) error { return tx.ChangePayments([]hub.Payment{p}) })
		w.clock.pass(23 * time.Hour)
		w.ok(w.ReconcileDue(w.ctx))
		if r := must(w.Reconciliation(w.ctx, w.admin, now))(t); r.Clean() {
			t.Error("it was made again on the same day")
		}
		w.clock.pass(time.Hour)
		w.ok(w.ReconcileDue(w.ctx))
		if r := must(w.Reconciliation(w.ctx, w.admin, now))(t); !r.Clean() || len(must(w.Findings(w.ctx, w.admin, hub.FindingQuery{Open: true}))(t)) > 0 {
			t.Errorf("the next day it is %+v", r)
		}
	})
}

// A day of the hub's own transactions, with all that can happen, agrees.
func TestReconcileRealDay(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		k := newBooks(w)
		paid := zonegate.Money{Amount: 500, Currency: "XOF"}
		n := 0
		pay := func(state hub.PaymentState, amount int64) hub.Payment {
			n++
			p := k.payment(hub.PaymentPending)
			k.lookups.says[p.ProviderRef] = hub.Observation{Found: true, State: state, Amount: zonegate.Money{Amount: amount, Currency: "XOF"}, ProviderRef: p.ProviderRef}
			p, err := w.Look(w.ctx, w.admin, p.ID)
			w.ok(err)
			return p
		}
		good, over, short, less := pay(hub.PaymentSucceeded, 500), pay(hub.PaymentSucceeded, 700), pay(hub.PaymentSucceeded, 300), pay(hub.PaymentSucceeded, 200)
		back, failed := pay(hub.PaymentSucceeded, 500), pay(hub.PaymentFailed, 0)
		if good.State != hub.PaymentSucceeded || over.State != hub.PaymentSucceeded || short.State != hub.PaymentReview || less.State != hub.PaymentReview || failed.State != hub.PaymentFailed {
			t.Fatalf("they are %s %s %s %s %s", good.State, over.State, short.State, less.State, failed.State)
		}
		r := k.reconcile(day)
		if got := found(r); len(got) != 2 || got[short.ID] != hub.FindReview || got[less.ID] != hub.FindReview {
			t.Errorf("with reviews it finds %v", got)
		}
		if l := r.Lines[0]; l.Payments != 3 || l.Paid != 1700 || l.Held != 500 || l.In != 2200 || l.Out != 0 {
			t.Errorf("its line is %+v", l)
		}
		must(w.AcceptReview(w.ctx, w.admin, short.ID, "enough"))(t)
		must(w.RejectReview(w.ctx, w.admin, less.ID, "too little"))(t)
		// The provider takes one back by itself.
		w.clock.pass(time.Hour)
		k.lookups.says[back.ProviderRef] = hub.Observation{Found: true, State: hub.PaymentRefunded, Amount: paid, ProviderRef: back.ProviderRef}
		if p := must(w.Look(w.ctx, w.admin, back.ID))(t); p.State != hub.PaymentRefunded {
			t.Fatalf("what was taken back is %s", p.State)
		}
		r = k.statement(day, "REF1,P1,500,XOF,success,", "REF2,P2,700,XOF,success,", "REF3,P3,300,XOF,success,", "REF4,P4,200,XOF,success,",
			"REF5,P5,500,XOF,reversed,", "REF6,P6,500,XOF,failed,")
		if !r.Clean() {
			t.Errorf("the day finds %+v", r.Findings)
		}
		if l := r.Lines[0]; l.In != 2200 || l.StatedPaid != 2200 || l.Out != 500 || l.StatedOut != 500 || l.Held != 0 || l.Payments != 4 {
			t.Errorf("its line is %+v", l)
		}
	})
}

func TestReconcileIsForAdmins(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		k := newBooks(w)
		by := hub.Actor{Role: hub.RoleReseller, Reseller: k.b.Reseller}
		ctx := w.ctx
		for name, err := range map[string]error{
			"reconcile": errorOf(w.Reconcile(ctx, by, day)), "read": errorOf(w.Reconciliation(ctx, by, day)), "list": errorOf(w.Reconciliations(ctx, by, 0)),
			"findings": errorOf(w.Findings(ctx, by, hub.FindingQuery{})), "clear": w.ClearFinding(ctx, by, "x", "y", "z"), "close": errorOf(w.CloseMonth(ctx, by, "2026-01", "x")),
			"state": errorOf(w.MonthState(ctx, by, "2026-01")), "months": errorOf(w.Months(ctx, by)), "outside": w.SetOutside(ctx, by, hub.OutsideSummary{}),
			"check": errorOf(w.CheckOutside(ctx, by, "2026-01")), "correct": errorOf(w.Correct(ctx, by, "x", "y", time.Time{}, nil)), "statements": errorOf(w.Statements(ctx, by, 0)),
		} {
			wantErr(t, name, err, hub.ErrForbidden)
		}
		_, _, err := w.ImportStatement(ctx, by, "test", day, strings.NewReader(""))
		wantErr(t, "import", err, hub.ErrForbidden)
		for _, bad := range []string{"", "2026", "2026-13", "2026-02-30", "10/02/2026", "2027-01-01"} {
			wantErr(t, "the period "+bad, errorOf(w.Reconcile(ctx, w.admin, bad)), new(hub.InputError))
		}
		_, _, err = w.ImportStatement(ctx, w.admin, "test", day, strings.NewReader("a,b\n"))
		wantErr(t, "no statement", err, new(hub.InputError))
		wantErr(t, "no report", errorOf(w.Reconciliation(ctx, w.admin, day)), hub.ErrNotFound)
	})
}

func errorOf[T any](_ T, err error) error { return err }
