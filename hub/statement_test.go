package hub

import (
	"strings"
	"testing"
	"time"
)

func TestReadStatement(t *testing.T) {
	for name, text := range map[string]string{
		"commas":     "reference,provider_ref,amount,currency,status\nR1,P1,500,XOF,success\nR2,,1000.00,xof,Refunded\n,P3,0.5,USD,pending\n",
		"semicolons": "\ufeffStatus;Currency; Amount ;provider_ref;reference;note\r\npaid;XOF;500;P1;R1;\"a;b\"\r\nreversed;XOF;1000;;R2;\r\nprocessing;USD;0.50;P3;;\r\n",
	} {
		got, err := readStatement("flexpay", strings.NewReader(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := []StatementLine{
			{"flexpay", LinePayment, "R1", "P1", 500, "XOF", LineSucceeded},
			{"flexpay", LinePayment, "R2", "", 1000, "XOF", LineRefunded},
			{"flexpay", LinePayment, "", "P3", 50, "USD", LinePending},
		}
		for i := range want {
			if len(got) != len(want) || got[i] != want[i] {
				t.Errorf("%s: %+v", name, got)
				break
			}
		}
	}
	got, err := readStatement("x", strings.NewReader("reference,amount,currency,status,kind\nR1,500,XOF,paid,payout\nR1,500,XOF,paid,payout\nR1,500,XOF,paid,\n"))
	if err != nil || len(got) != 2 || got[0].Kind != LinePayout || got[1].Kind != LinePayment {
		t.Errorf("kinds: %+v, %v", got, err)
	}

	head := "reference,provider_ref,amount,currency,status,kind\n"
	for _, c := range []struct{ text, want string }{
		{"", "no CSV"},
		{"reference,amount,currency\n", "no column status"},
		{head + "R,P,500,XOF,maybe,\n", `line 2: the status "maybe"`},
		{head + "R,P,500,XOF,paid,\nR2,P2,1.5,XOF,paid,\n", "line 3: the amount"},
		{head + "R,P,500,EURO,paid,\n", "line 2"},
		{head + "R,P,-5,XOF,paid,\n", "line 2: the amount"},
		{head + "R,P,5e3,XOF,paid,\n", "line 2: the amount"},
		{head + "R,P,1.005,USD,paid,\n", "line 2: the amount"},
		{head + "R,P,99999999999999999999,USD,paid,\n", "line 2: the amount"},
		{head + "R,P,,XOF,paid,\n", "line 2: the amount"},
		{head + ",,500,XOF,paid,\n", "line 2: it needs a reference"},
		{head + "R,P,500,XOF,paid,gift\n", "line 2: the kind"},
		{head + "R,P,500\n", "line 2 is no CSV"},
		{head + "R,P,500,XOF,paid,\nR,P,600,XOF,paid,\n", "line 3 has the references of another line"},
		{head + strings.Repeat("R", 101) + ",P,500,XOF,paid,\n", "line 2"},
	} {
		_, err := readStatement("x", strings.NewReader(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

func TestReportAsCSV(t *testing.T) {
	r := Reconciliation{Period: "2026-02-10", Made: time.Date(2026, 2, 11, 0, 30, 0, 0, time.UTC),
		Lines: []MoneyLine{{Provider: "flexpay", Currency: "USD", Payments: 2, Paid: 150, Stated: true, StatedPayments: 1, StatedPaid: 100}},
		Moved: []Balance{{"provider/flexpay", "USD", 150}, {"reseller/", "USD", -5}},
		Findings: []Finding{{Kind: FindOnlyHere, Subject: "id", Provider: "flexpay", Amount: 50, Currency: "USD", Detail: "=cmd(), \"quoted\""},
			{Kind: FindReview, Subject: "other", By: "boss", Reason: "accepted", Cleared: time.Unix(1, 0)}}}
	var b strings.Builder
	if err := r.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"report,2026-02-10", "not clean", "booked as paid,,flexpay,,1.50,USD,2", "paid by the statement,,flexpay,,1.00,USD,1",
		"account,provider/flexpay,,,,1.50", "reseller/,,,,-0.05", `'=cmd(), ""quoted""`, "finding,only_here,id,flexpay,,0.50,USD,,open", "dealt with by boss"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the CSV has no %q:\n%s", want, b.String())
		}
	}
	r.Findings = r.Findings[1:]
	if !r.Clean() {
		t.Error("a period whose findings were dealt with is clean")
	}
}

func TestOutsideSum(t *testing.T) {
	o := OutsideSummary{Total: 450_000, Fee: 6750, Parts: map[string]int64{PartyReseller: 218_250, PartyRGZ: 218_250}}
	if o.Unallocated() != 6750 {
		t.Errorf("of the printed sample %d is nobody's", o.Unallocated())
	}
}
