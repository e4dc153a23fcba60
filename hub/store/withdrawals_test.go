package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"zonegate/hub"
)

func TestWithdrawalByHand(t *testing.T) {
	onDesk(t, nil, func(t *testing.T, d *desk) {
		e := must(d.Eligibility(d.ctx, d.kofi, ""))(t)
		if !e.Eligible || e.Daily != 1_000_000 || e.Left != 1_000_000 || e.Available != 100_000 || e.Currency != "XAF" {
			t.Errorf("at first: %+v", e)
		}
		w := d.request(50_000)
		if w.Fee != 750 || w.Net().Amount != 49_250 || w.Number != 1 || w.State != hub.PayoutCodeSent || w.Phone != "237612345678" || len(w.Reference) != 19 {
			t.Errorf("asked: %+v", w)
		}
		d.wantBalance("asked", 50_000, 50_000)
		if len(d.inbox.sent) != 1 || d.inbox.sent[0][:12] != "237612345678" {
			t.Errorf("the messages: %q", d.inbox.sent)
		}
		if n := d.count("withdrawals WHERE code_hash = '" + d.inbox.code() + "'"); n != 0 {
			t.Error("the code is kept as it is")
		}
		w = must(d.ValidateWithdrawal(d.ctx, d.kofi, w.ID, d.inbox.code()))(t)
		if w.State != hub.PayoutVerified || w.Verified.IsZero() || !w.NotBefore.IsZero() {
			t.Errorf("verified: %+v", w)
		}
		_, err := d.ValidateWithdrawal(d.ctx, d.kofi, w.ID, d.inbox.code())
		wantState(t, err)
		_, err = d.CancelWithdrawal(d.ctx, d.kofi, w.ID)
		wantState(t, err)
		_, err = d.CompleteWithdrawal(d.ctx, d.kofi, w.ID, "", "")
		wantErr(t, "by the reseller", err, hub.ErrForbidden)
		d.wantBalance("verified", 50_000, 50_000)
		w = must(d.CompleteWithdrawal(d.ctx, d.admin, w.ID, "MAN-1", "by MTN"))(t)
		if w.State != hub.PayoutCompleted || w.Manual != "MAN-1" || w.Notes != "by MTN" || w.ProcessedNumber == 0 || w.Processed.IsZero() {
			t.Errorf("completed: %+v", w)
		}
		d.wantBalance("completed", 50_000, 0)
		_, err = d.CompleteWithdrawal(d.ctx, d.other, w.ID, "", "")
		wantState(t, err)
		_, err = d.FailWithdrawal(d.ctx, d.admin, w.ID, "no")
		wantState(t, err)
		got := map[string]int64{}
		for _, b := range must(d.Balances(d.ctx, d.admin, ""))(t) {
			got[b.Account] = b.Amount
		}
		if got[hub.AccountCharge] != -750 || got["provider/manual"] != -49_250 {
			t.Errorf("the books: %v", got)
		}
		e = must(d.Eligibility(d.ctx, d.kofi, "XAF"))(t)
		if e.Used != 50_000 || e.Left != 950_000 {
			t.Errorf("afterwards: %+v", e)
		}
		must(d.ReverseWithdrawal(d.ctx, d.admin, w.ID, "line 7"))(t)
		d.wantBalance("reversed", 100_000, 0)
		if e = must(d.Eligibility(d.ctx, d.kofi, ""))(t); e.Used != 0 {
			t.Errorf("a reversed one counts: %+v", e)
		}
	})
}

func TestWithdrawalRules(t *testing.T) {
	onDesk(t, nil, func(t *testing.T, d *desk) {
		d.fund(2_000_000)
		fields := func(q hub.WithdrawalRequest, want ...string) {
			t.Helper()
			_, err := d.RequestWithdrawal(d.ctx, d.kofi, q)
			e := hub.FieldErrors{}
			if !errors.As(err, &e) || len(e) != len(want) {
				t.Errorf("%+v: %v, want %v", q, err, want)
				return
			}
			for i, f := range e {
				if f.Field != want[i] || f.Text == "" {
					t.Errorf("%+v: %v, want %v", q, err, want)
				}
			}
		}
		fields(ask(499), "amount")
		fields(ask(550), "amount")
		fields(ask(500_100), "amount")
		fields(ask(0), "amount")
		fields(ask(-500), "amount")
		fields(hub.WithdrawalRequest{Amount: 500, Phone: beneficiary, Operator: "wave"}, "operator")
		for _, phone := range []string{"", "+229612345678", "+23761234567", "+2376123456789", "+23761234567x", "+237512345678", "237\u0661612345678"} {
			fields(hub.WithdrawalRequest{Amount: 500, Phone: phone, Operator: "mtn_money"}, "phone_number")
		}
		fields(hub.WithdrawalRequest{Amount: 1, Phone: "1", Operator: "x"}, "amount", "operator", "phone_number")
		_, err := d.RequestWithdrawal(d.ctx, d.kofi, hub.WithdrawalRequest{Currency: "XOF", Amount: 500, Phone: beneficiary, Operator: "mtn_money"})
		wantErr(t, "a currency without a rule", err, hub.ErrUnsupported)
		for _, by := range []hub.Actor{d.admin, {Role: hub.RoleSeller, Reseller: d.kofi.Reseller}, {}} {
			_, err := d.RequestWithdrawal(d.ctx, by, ask(500))
			wantErr(t, "not a reseller", err, hub.ErrForbidden)
		}
		if w := d.request(500); w.Fee != 100 || w.Net().Amount != 400 {
			t.Errorf("the least: %+v", w)
		}
		if w := d.request(500_000); w.Fee != 5000 {
			t.Errorf("the most: %+v", w)
		}
		d.request(400_000)
		_, err = d.RequestWithdrawal(d.ctx, d.kofi, ask(100_000)) // 900,500 + 100,000
		wantErr(t, "above the day's amount", err, hub.ErrLimit)
		d.request(500)
		d.request(500)
		_, err = d.RequestWithdrawal(d.ctx, d.kofi, ask(500))
		wantErr(t, "above the day's count", err, hub.ErrLimit)
		// The day is Douala's: at 23:00 UTC it is tomorrow.
		d.clock.pass(11 * time.Hour)
		d.request(500)

		w := d.request(500)
		seller := hub.Actor{User: "s", Role: hub.RoleSeller, Reseller: d.kofi.Reseller}
		_, err = d.Withdrawal(d.ctx, seller, w.ID)
		wantErr(t, "a seller sees where the money goes", err, hub.ErrNotFound)
		_, err = d.WithdrawalByNumber(d.ctx, seller, w.Number)
		wantErr(t, "a seller sees it by its number", err, hub.ErrNotFound)
		_, _, err = d.Withdrawals(d.ctx, seller, hub.WithdrawalQuery{})
		wantErr(t, "a seller sees the list", err, hub.ErrForbidden)
		_, err = d.WithdrawalSums(d.ctx, seller, "", "", time.Unix(0, 0), d.clock.Now().Add(time.Hour))
		wantErr(t, "a seller sees the sums", err, hub.ErrForbidden)
		_, err = d.Payees(d.ctx, seller, d.kofi.Reseller)
		wantErr(t, "a seller sees the numbers", err, hub.ErrForbidden)

		another := hub.Actor{User: "x", Role: hub.RoleReseller, Reseller: d.reseller("Ama", plenty).ID}
		for what, do := range map[string]func() error{
			"sees it":    func() error { _, err := d.Withdrawal(d.ctx, another, w.ID); return err },
			"by number":  func() error { _, err := d.WithdrawalByNumber(d.ctx, another, w.Number); return err },
			"cancels it": func() error { _, err := d.CancelWithdrawal(d.ctx, another, w.ID); return err },
			"validates":  func() error { _, err := d.ValidateWithdrawal(d.ctx, another, w.ID, d.inbox.code()); return err },
			"resends":    func() error { _, err := d.ResendWithdrawalCode(d.ctx, another, w.ID); return err },
		} {
			wantErr(t, "another reseller "+what, do(), hub.ErrNotFound)
		}
		_, err = d.RequestWithdrawal(d.ctx, another, ask(500))
		if e := new(hub.KYCError); !errors.As(err, &e) || e.Level != hub.KYCUnverified {
			t.Errorf("without KYC: %v", err)
		}
		d.ok(d.SetKYC(d.ctx, d.admin, another.Reseller, hub.KYCBasic))
		_, err = d.RequestWithdrawal(d.ctx, another, ask(500))
		wantErr(t, "without money", err, hub.ErrBalance)
		wantErr(t, "a level that is none", d.SetKYC(d.ctx, d.admin, another.Reseller, "gold"), new(hub.InputError))
		wantErr(t, "by the reseller", d.SetKYC(d.ctx, another, another.Reseller, hub.KYCPremium), hub.ErrForbidden)
		wantErr(t, "no such reseller", d.SetKYC(d.ctx, d.admin, "x", hub.KYCBasic), hub.ErrNotFound)
		d.sound()
	})
	onDesk(t, noMessenger, func(t *testing.T, d *desk) {
		_, err := d.RequestWithdrawal(d.ctx, d.kofi, ask(500))
		wantErr(t, "without a messenger", err, hub.ErrMessenger)
		d.wantBalance("without a messenger", 100_000, 0)
	})
}

func TestWithdrawalRuleChecks(t *testing.T) {
	for i, change := range []func(*hub.WithdrawalRule){
		func(r *hub.WithdrawalRule) { r.Currency = "CFA " },
		func(r *hub.WithdrawalRule) { r.Phones = nil },
		func(r *hub.WithdrawalRule) { r.Phones = []string{"+2376xxxxxxxx"} },
		func(r *hub.WithdrawalRule) { r.Operators = nil },
		func(r *hub.WithdrawalRule) { r.Multiple = 0 },
		func(r *hub.WithdrawalRule) { r.Max = 400 },
		func(r *hub.WithdrawalRule) { r.Count = 0 },
		func(r *hub.WithdrawalRule) { r.Daily = map[string]int64{"gold": 1} },
		func(r *hub.WithdrawalRule) { r.FeeMin = 500 },
		func(r *hub.WithdrawalRule) { r.FeeMax = 50 },
		func(r *hub.WithdrawalRule) { r.FeePermille = 1001 },
		func(r *hub.WithdrawalRule) { r.FeePermille, r.FeeMax = 1000, 1_000_000 },
		func(r *hub.WithdrawalRule) { r.ApproveAbove = -1 },
		func(r *hub.WithdrawalRule) { r.Payer = "nobody" },
	} {
		p := hub.Payouts{Rules: []hub.WithdrawalRule{hub.DefaultWithdrawalRule()}}
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		change(&p.Rules[0])
		if p.Check() == nil {
			t.Errorf("rule %d was taken", i)
		}
	}
}

func TestWithdrawalCodes(t *testing.T) {
	onDesk(t, nil, func(t *testing.T, d *desk) {
		w := d.request(500)
		first := d.inbox.code()
		wrong := "000000"
		if first == wrong {
			wrong = "000001"
		}
		left := func(want int, id, code string) {
			t.Helper()
			_, err := d.ValidateWithdrawal(d.ctx, d.kofi, id, code)
			if e := new(hub.CodeError); !errors.As(err, &e) || e.Left != want {
				t.Errorf("a wrong code: %v, want %d left", err, want)
			}
		}
		left(4, w.ID, wrong)
		left(3, w.ID, "")
		left(2, w.ID, first+"0")
		// A new code voids the old one, and gives no new tries.
		d.clock.pass(9 * time.Minute)
		again := must(d.ResendWithdrawalCode(d.ctx, d.kofi, w.ID))(t)
		if !again.CodeExpires.Equal(d.clock.Now().Add(10 * time.Minute)) {
			t.Errorf("a new code is good until %v", again.CodeExpires)
		}
		if d.inbox.code() == first {
			t.Log("the same code was drawn twice")
		} else {
			left(1, w.ID, first)
		}
		d.clock.pass(9 * time.Minute)
		left(0, w.ID, wrong)
		if d.state(w) != hub.PayoutExpired {
			t.Errorf("after five wrong codes it is %s", d.state(w))
		}
		_, err := d.ValidateWithdrawal(d.ctx, d.kofi, w.ID, d.inbox.code())
		wantErr(t, "the right code after five wrong ones", err, hub.ErrExpired)
		d.wantBalance("after five wrong codes", 100_000, 0)

		// Too late, by the call and by the sweep.
		w = d.request(500)
		d.clock.pass(10 * time.Minute)
		_, err = d.ValidateWithdrawal(d.ctx, d.kofi, w.ID, d.inbox.code())
		wantErr(t, "too late", err, hub.ErrExpired)
		if d.state(w) != hub.PayoutExpired {
			t.Errorf("too late it is %s", d.state(w))
		}
		d.wantBalance("too late", 100_000, 0)
		w = d.request(500)
		d.clock.pass(10*time.Minute - time.Millisecond)
		d.ok(d.SweepPayouts(d.ctx))
		if d.state(w) != hub.PayoutCodeSent {
			t.Error("it was ended early")
		}
		d.clock.pass(time.Millisecond)
		d.ok(d.SweepPayouts(d.ctx))
		if d.state(w) != hub.PayoutExpired {
			t.Error("the sweep did not end it")
		}
		d.wantBalance("swept", 100_000, 0)

		w = d.request(500)
		for range 4 {
			must(d.ResendWithdrawalCode(d.ctx, d.kofi, w.ID))(t)
		}
		_, err = d.ResendWithdrawalCode(d.ctx, d.kofi, w.ID)
		wantErr(t, "a sixth message", err, hub.ErrLimit)
		w = must(d.CancelWithdrawal(d.ctx, d.kofi, w.ID))(t)
		if w.State != hub.PayoutCanceled {
			t.Errorf("canceled it is %s", w.State)
		}
		_, err = d.CancelWithdrawal(d.ctx, d.kofi, w.ID)
		wantState(t, err)
		d.wantBalance("canceled", 100_000, 0)

		// Those that came to nothing do not use up the day, but messages do.
		for n := 4; n < 20; n++ {
			w := d.request(500)
			must(d.CancelWithdrawal(d.ctx, d.kofi, w.ID))(t)
		}
		_, err = d.RequestWithdrawal(d.ctx, d.kofi, ask(500))
		wantErr(t, "the 21st of a day", err, hub.ErrLimit)

		d.clock.pass(24 * time.Hour)
		d.inbox.fail = errors.New("no gateway")
		_, err = d.RequestWithdrawal(d.ctx, d.kofi, ask(500))
		wantErr(t, "a message that fails", err, hub.ErrMessenger)
		d.wantBalance("a message that fails", 100_000, 0)
	})
}

// All codes are as likely, and none is left out at the ends.
func TestWithdrawalCodeIsSixDigits(t *testing.T) {
	onDesk(t, func(p *hub.Payouts) { p.Rules[0].Count = 1000 }, func(t *testing.T, d *desk) {
		seen := map[string]bool{}
		for range 50 {
			w := d.request(500)
			c := d.inbox.code()
			if len(c) != 6 || seen[c] {
				t.Fatalf("the code %q", c)
			}
			seen[c] = true
			must(d.CancelWithdrawal(d.ctx, d.kofi, w.ID))(t)
		}
	})
}

func TestWithdrawalNewNumber(t *testing.T) {
	onDesk(t, automatic, func(t *testing.T, d *desk) {
		d.bank.answer = hub.PayoutObservation{State: hub.PayoutCompleted, Definitive: true, ProviderRef: "p1"}
		w := d.verified(500)
		d.ok(d.SweepPayouts(d.ctx))
		if d.state(w) != hub.PayoutCompleted {
			t.Fatalf("to the first number: %s", d.state(w))
		}
		q := ask(500)
		q.Phone = "00237 655 55 55 55"
		w = must(d.RequestWithdrawal(d.ctx, d.kofi, q))(t)
		w = must(d.ValidateWithdrawal(d.ctx, d.kofi, w.ID, d.inbox.code()))(t)
		if !w.NotBefore.Equal(d.clock.Now().Add(24 * time.Hour)) {
			t.Errorf("a new number may be paid from %v", w.NotBefore)
		}
		if last := d.inbox.sent[len(d.inbox.sent)-1]; last[:12] != "237612345678" || sixDigits.MatchString(last[12:]) {
			t.Errorf("the old number was told %q", last)
		}
		_, err := d.ClaimWithdrawal(d.ctx, d.admin, w.ID)
		wantErr(t, "to a new number at once", err, hub.ErrNumberWait)
		d.clock.pass(24*time.Hour - time.Millisecond)
		d.ok(d.SweepPayouts(d.ctx))
		if d.state(w) != hub.PayoutVerified || d.bank.count() != 1 {
			t.Errorf("before its time it is %s", d.state(w))
		}
		d.clock.pass(time.Millisecond)
		d.bank.answer.ProviderRef = "p2"
		d.ok(d.SweepPayouts(d.ctx))
		if d.state(w) != hub.PayoutCompleted || d.bank.count() != 2 {
			t.Errorf("in its time it is %s", d.state(w))
		}
		// Both are known now.
		if w := d.verified(500); !w.NotBefore.IsZero() {
			t.Errorf("the first number waits: %v", w.NotBefore)
		}
		w = must(d.RequestWithdrawal(d.ctx, d.kofi, q))(t)
		if w = must(d.ValidateWithdrawal(d.ctx, d.kofi, w.ID, d.inbox.code()))(t); !w.NotBefore.IsZero() {
			t.Errorf("the second number waits again: %v", w.NotBefore)
		}
		if ps := must(d.Payees(d.ctx, d.kofi, d.kofi.Reseller))(t); len(ps) != 2 || ps[0].Phone != "237612345678" {
			t.Errorf("the numbers: %+v", ps)
		}
	})
}

func TestWithdrawalTwoPersons(t *testing.T) {
	onDesk(t, twoPersons, func(t *testing.T, d *desk) {
		small := d.verified(10_000)
		must(d.CompleteWithdrawal(d.ctx, d.admin, small.ID, "", ""))(t)
		w := d.verified(10_100)
		_, err := d.CompleteWithdrawal(d.ctx, d.admin, w.ID, "", "")
		wantState(t, err)
		must(d.ClaimWithdrawal(d.ctx, d.admin, w.ID))(t)
		if d.state(w) != hub.PayoutVerified {
			t.Errorf("claimed without the second person it is %s", d.state(w))
		}
		_, err = d.ApproveWithdrawal(d.ctx, d.admin, w.ID)
		wantState(t, err)
		_, err = d.ClaimWithdrawal(d.ctx, d.other, w.ID)
		wantState(t, err)
		_, err = d.CompleteWithdrawal(d.ctx, d.admin, w.ID, "", "")
		wantState(t, err)
		must(d.ApproveWithdrawal(d.ctx, d.other, w.ID))(t)
		_, err = d.CompleteWithdrawal(d.ctx, d.other, w.ID, "", "")
		wantState(t, err)
		must(d.CompleteWithdrawal(d.ctx, d.admin, w.ID, "", ""))(t)
		d.wantBalance("two persons", 79_900, 0)

		// Approved first, the approver cannot pay.
		w = d.verified(10_100)
		must(d.ApproveWithdrawal(d.ctx, d.other, w.ID))(t)
		_, err = d.ClaimWithdrawal(d.ctx, d.other, w.ID)
		wantState(t, err)
		_, err = d.CompleteWithdrawal(d.ctx, d.other, w.ID, "", "")
		wantState(t, err)
		must(d.ClaimWithdrawal(d.ctx, d.admin, w.ID))(t)
		if d.state(w) != hub.PayoutProcessing {
			t.Errorf("approved and claimed it is %s", d.state(w))
		}
		_, err = d.FailWithdrawal(d.ctx, d.other, w.ID, "mine")
		wantState(t, err)
		_, err = d.ReleaseWithdrawal(d.ctx, d.other, w.ID)
		wantState(t, err)
		must(d.ReleaseWithdrawal(d.ctx, d.admin, w.ID))(t)
		must(d.FailWithdrawal(d.ctx, d.other, w.ID, "wrong number"))(t)
		d.wantBalance("failed", 79_900, 0)

		// What one may have paid by hand only a third calls unpaid.
		w = d.verified(10_100)
		must(d.ClaimWithdrawal(d.ctx, d.admin, w.ID))(t)
		must(d.ApproveWithdrawal(d.ctx, d.other, w.ID))(t)
		unpaid := hub.Resolution{Statement: "he says so"}
		for _, by := range []hub.Actor{d.admin, d.other} {
			_, err = d.ResolveWithdrawal(d.ctx, by, w.ID, unpaid)
			wantState(t, err)
		}
		d.wantBalance("still on its way", 69_800, 10_100)
		must(d.ResolveWithdrawal(d.ctx, hub.Actor{User: "third", Name: "third", Role: hub.RoleAdmin}, w.ID, unpaid))(t)
		d.wantBalance("a third says so", 79_900, 0)
		w = d.verified(10_000) // below the limit a colleague is enough
		must(d.ClaimWithdrawal(d.ctx, d.admin, w.ID))(t)
		must(d.ResolveWithdrawal(d.ctx, d.other, w.ID, unpaid))(t)
		w = d.verified(10_100)
		must(d.ClaimWithdrawal(d.ctx, d.admin, w.ID))(t)
		must(d.ApproveWithdrawal(d.ctx, d.other, w.ID))(t)
		must(d.ResolveWithdrawal(d.ctx, d.other, w.ID, hub.Resolution{Paid: true, Statement: "line 1"}))(t)
		d.wantBalance("that it was paid", 69_800, 0)
	})
	onDesk(t, automatic2, func(t *testing.T, d *desk) {
		d.bank.answer = hub.PayoutObservation{State: hub.PayoutCompleted, Definitive: true}
		w := d.verified(10_100)
		d.ok(d.SweepPayouts(d.ctx))
		must(d.ClaimWithdrawal(d.ctx, d.admin, w.ID))(t)
		d.clock.pass(time.Hour)
		d.ok(d.SweepPayouts(d.ctx))
		if d.bank.count() != 0 {
			t.Fatal("it was paid without the second person")
		}
		must(d.ApproveWithdrawal(d.ctx, d.other, w.ID))(t)
		if d.state(w) != hub.PayoutCompleted || d.bank.count() != 1 {
			t.Errorf("approved it is %s", d.state(w))
		}
	})
	onDesk(t, claimFirst, func(t *testing.T, d *desk) {
		w := d.verified(500)
		_, err := d.CompleteWithdrawal(d.ctx, d.admin, w.ID, "", "")
		wantState(t, err)
		must(d.ClaimWithdrawal(d.ctx, d.admin, w.ID))(t)
		must(d.CompleteWithdrawal(d.ctx, d.admin, w.ID, "", ""))(t)
	})
}

func TestWithdrawalLists(t *testing.T) {
	onDesk(t, nil, func(t *testing.T, d *desk) {
		one := d.verified(500)
		two := d.request(700)
		must(d.CompleteWithdrawal(d.ctx, d.admin, one.ID, "", ""))(t)
		d.clock.pass(24 * time.Hour)
		three := d.verified(900)
		list := func(q hub.WithdrawalQuery) (out string) {
			t.Helper()
			ws, total, err := d.Withdrawals(d.ctx, d.admin, q)
			d.ok(err)
			for _, w := range ws {
				out += fmt.Sprint(w.Number, " ")
			}
			return out + fmt.Sprint("of ", total)
		}
		now := d.clock.Now()
		for want, q := range map[string]hub.WithdrawalQuery{
			"3 2 1 of 3":  {},
			"2 of 3":      {After: 1, Max: 1},
			"1 of 1":      {States: []hub.PayoutState{hub.PayoutCompleted}},
			"2 1 of 2":    {States: []hub.PayoutState{hub.PayoutCompleted, hub.PayoutCodeSent}},
			"of 0":        {Operator: "orange_money"},
			"3 of 1":      {From: now.Add(-time.Hour)},
			"2 1 of 2 ":   {To: now.Add(-time.Hour)},
			" 2 of 1":     {Reference: two.Reference},
			"3 2 1 of 3 ": {Phone: "612345"},
			"3 of 1 ":     {Waiting: true},
		} {
			if got := list(q); got != trim(want) {
				t.Errorf("%+v: %q, want %q", q, got, want)
			}
		}
		sums := must(d.WithdrawalSums(d.ctx, d.kofi, "", "XAF", now.Add(-48*time.Hour), now.Add(time.Hour)))(t)
		got := ""
		for _, s := range sums {
			got += fmt.Sprint(s.Day.Format("02T15"), s.Operator, s.State, s.Count, "/", s.Amount, "/", s.Fee, " ")
		}
		if got != "09T23mtn_moneycode_sent1/700/100 09T23mtn_moneycompleted1/500/100 10T23mtn_moneycode_verified1/900/100 " {
			t.Errorf("the sums: %s", got)
		}
		_ = three
	})
}

func trim(s string) string {
	for len(s) > 0 && s[0] == ' ' {
		s = s[1:]
	}
	for len(s) > 0 && s[len(s)-1] == ' ' {
		s = s[:len(s)-1]
	}
	return s
}
