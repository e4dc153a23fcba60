package console

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/sync/api"
)

// A desk is a provider that says what it is told to say.
type desk struct {
	mu   sync.Mutex
	says map[string]hub.Observation // by our reference
}

func (*desk) Caps() hub.Caps {
	return hub.Caps{Country: "BJ", Currencies: []string{"XOF"}, Channels: []hub.ChannelCaps{{ID: "TEST_MOMO", Name: "Test", Flow: hub.FlowPush}},
		NeedsPhone: true, Test: true, FirstLook: time.Hour}
}

func (*desk) Initiate(_ context.Context, c hub.Charge) (hub.Started, error) {
	return hub.Started{ProviderRef: "P" + c.Reference}, nil
}

func (d *desk) Lookup(_ context.Context, p hub.Payment) (hub.Observation, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.says[p.Reference]
	if o.State == "" {
		o.State = hub.PaymentPending
	}
	o.Found, o.Reference, o.ProviderRef, o.Raw = true, p.Reference, p.ProviderRef, `{"note":"`+hostile+`"}`
	return o, nil
}

func (d *desk) say(p hub.Payment, state hub.PaymentState, amount int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.says[p.Reference] = hub.Observation{State: state, Amount: zonegate.Money{Amount: amount, Currency: "XOF"}}
}

// pay starts a payment at Kofi's gateway.
func (w *world) pay(n byte) hub.Payment {
	w.Helper()
	got, err := w.hub.StartPayment(w.Context(), w.gateway, api.Intent{IntentID: strings.Repeat("0", 31) + string(n), Plan: w.forfait.Plan.ID, PlanVersion: w.forfait.Plan.Version,
		Provider: "TEST_MOMO", Phone: "2290" + string(n) + "97123456", Device: "02:00:00:00:00:0" + string(n)})
	w.ok(err)
	p, _, err := w.hub.PaymentHistory(w.Context(), operator, got.TransactionID)
	w.ok(err)
	return p
}

func withMoney(t *testing.T, name string) (*world, *desk) {
	w := newWorld(t, name)
	d := &desk{says: map[string]hub.Observation{}}
	w.hub.UseCollectors(map[string]hub.Collector{"test": d})
	return w, d
}

// A payment is followed, decided on and refunded on its pages.
func TestPaymentPages(t *testing.T) {
	w, d := withMoney(t, "")
	good, short := w.pay('1'), w.pay('2')
	boss, kofi, ama, ada := w.as("boss"), w.as("kofi"), w.as("ama"), w.as("ada")

	a := kofi.get("/payments", 200)
	w.has(a, "pending", "500 XOF", "…56", "Gbegamey")
	w.hasNot(a, "97123456")
	a = kofi.get("/payments/"+good.ID, 200)
	w.has(a, "Ask the provider now", good.Reference, "…56")
	w.hasNot(a, "97123456", "Refund<")
	w.hasNot(ama.get("/payments/"+good.ID, 200), "Ask the provider now")
	ada.get("/payments/"+good.ID, 403)
	w.has(ada.get("/payments", 200), "No payment.")
	ada.get("/payments?reseller="+w.kofi.ID, 403)

	d.say(good, hub.PaymentSucceeded, 500)
	d.say(short, hub.PaymentSucceeded, 300)
	kofi.post("/payments/"+good.ID+"/look", nil, 303)
	boss.post("/payments/"+short.ID+"/look", nil, 303)
	a = kofi.get("/payments/"+good.ID, 200)
	w.has(a, "paid", "Fee 7 XOF", "share 246 XOF", "lookup")
	w.hasNot(a, "<code>")
	a = kofi.get("/payments?state=succeeded", 200)
	w.has(a, "7 XOF", "246 XOF")
	w.hasNot(a, short.ID)
	day := w.now().In(time.FixedZone("UTC+1", 3600)).Format(time.DateOnly)
	w.has(kofi.get("/payments?day="+day+"&provider=test", 200), "246 XOF")
	w.has(kofi.get("/payments?day=2020-01-01", 200), "No payment.")
	w.has(kofi.get("/payments?day=x", 422), "Write the date")

	// What came was too little: an admin decides.
	a = boss.get("/payments/"+short.ID, 200)
	w.has(a, "in review", "Received 300 XOF", "Accept the money")
	check(w, "a payment", a)
	kofi.post("/payments/"+short.ID+"/accept", url.Values{"reason": {"x"}}, 403)
	w.has(boss.post("/payments/"+short.ID+"/accept", url.Values{"reason": {" "}}, 422), "Fill in")
	boss.post("/payments/"+short.ID+"/accept", url.Values{"reason": {"it is a gift"}}, 303)
	w.has(boss.post("/payments/"+short.ID+"/reject", url.Values{"reason": {"late"}}, 422), "nothing is to be decided")
	w.has(boss.get("/payments/"+short.ID, 200), "State paid")
	boss.post("/payments/"+short.ID+"/bless", url.Values{"reason": {"x"}}, 404)

	// The first is refunded, by hand: nobody sends refunds here.
	boss.get("/payments/"+good.ID, 200)
	w.has(boss.post("/payments/"+good.ID+"/refund", url.Values{"reason": {"no use"}, "amount": {"1.5"}}, 422), "whole number")
	boss.post("/payments/"+good.ID+"/refund", url.Values{"reason": {"no use"}}, 303)
	a = boss.get("/payments/"+good.ID, 200)
	w.has(a, "being refunded", "the access is being taken back", "no use")
	w.has(boss.post("/payments/"+good.ID+"/refund", url.Values{"reason": {"again"}}, 422), "cannot")
	rs, err := w.hub.Refunds(t.Context(), operator, hub.RefundQuery{})
	w.ok(err)
	w.shift.Store(int64(time.Hour)) // the gateway was not heard
	w.ok(w.hub.SweepPayouts(t.Context()))
	boss = w.as("boss")
	w.has(boss.get("/payments/"+good.ID, 200), "the gateway has not answered", "Send the money all the same")
	boss.post("/refunds/"+rs[0].ID+"/decide", url.Values{"yes": {"yes"}}, 303)
	w.has(boss.get("/payments/"+good.ID, 200), "ready to be sent", "Settle by the statement")
	w.has(boss.post("/refunds/"+rs[0].ID+"/resolve", url.Values{"yes": {"yes"}, "statement": {""}}, 422), "refuses")
	boss.post("/refunds/"+rs[0].ID+"/resolve", url.Values{"yes": {"yes"}, "statement": {"line 7"}}, 303)
	w.has(boss.get("/payments/"+good.ID, 200), "State refunded", "done")
	boss.post("/refunds/"+rs[0].ID+"/burn", nil, 404)
}

// A reseller withdraws with a code, an admin pays by hand.
func TestWithdrawalPages(t *testing.T) {
	w, d := withMoney(t, "")
	for _, n := range []byte("123456789") {
		p := w.pay(n)
		d.say(p, hub.PaymentSucceeded, 500)
		_, err := w.hub.Look(t.Context(), operator, p.ID)
		w.ok(err)
	}
	boss, kofi := w.as("boss"), w.as("kofi")
	w.as("ama").get("/withdrawals", 403)
	a := kofi.get("/withdrawals", 200)
	w.has(a, "Available 2,214 XOF", "KYC requise", "See the fee", "not verified")
	w.has(kofi.post("/withdrawals", url.Values{"currency": {"XOF"}, "amount": {"1500"}, "phone": {"+2290197123456"}, "operator": {"mtn_money"}, "confirmed": {"yes"}}, 422), "identity")
	boss.get("/withdrawals?reseller="+w.kofi.ID, 200)
	boss.post("/kyc", url.Values{"reseller": {w.kofi.ID}, "level": {"verified"}}, 303)
	boss.post("/kyc", url.Values{"reseller": {w.kofi.ID}, "level": {"king"}}, 422)
	kofi.post("/kyc", url.Values{"reseller": {w.kofi.ID}, "level": {"premium"}}, 403)

	ask := url.Values{"currency": {"XOF"}, "amount": {"1 500"}, "phone": {"+2290197123456"}, "operator": {"mtn_money"}}
	a = kofi.post("/withdrawals", ask, 200)
	w.has(a, "Leaves the balance 1,500 XOF", "Fee 100 XOF", "The number receives 1,400 XOF")
	if w.sent.code() != "" {
		t.Error("a code was sent before the fee was confirmed")
	}
	ask.Set("confirmed", "yes")
	bad := url.Values{"currency": {"XOF"}, "amount": {"150"}, "phone": {"123"}, "operator": {"mtn_money"}}
	w.has(kofi.post("/withdrawals", bad, 422), "minimum")
	to := kofi.post("/withdrawals", ask, 303).location
	page, _, _ := strings.Cut(to, "?")
	a = kofi.get(page, 200)
	w.has(a, "code sent", "Validate", "+2290197123456")
	w.hasNot(a, w.sent.code())
	w.has(kofi.get("/withdrawals", 200), "Available 714 XOF", "Reserved for withdrawals 1,500 XOF")
	w.has(boss.get(page, 200), "code sent")
	w.as("ada").get(page, 404)

	wrong := "000000"
	if w.sent.code() == wrong {
		wrong = "000001"
	}
	w.has(kofi.post(page+"/code", url.Values{"code": {wrong}}, 422), "4 tries are left")
	kofi.post(page+"/code", url.Values{"code": {w.sent.code()}}, 303)
	w.has(kofi.get(page, 200), "to be paid")
	kofi.post(page+"/claim", nil, 403)
	kofi.post(page+"/steal", nil, 404)

	a = boss.get("/withdrawals", 200)
	w.has(a, "to be paid", "1,400 XOF")
	boss.get(page, 200)
	boss.post(page+"/claim", nil, 303)
	w.has(boss.get(page, 200), "on its way", "I have paid")
	boss.post(page+"/complete", url.Values{"manual": {"MAN-1"}, "notes": {"by MTN"}}, 303)
	a = boss.get(page, 200)
	w.has(a, "State paid", "MAN-1 by MTN", "The money came back")
	check(w, page, a)
	w.has(boss.get("/withdrawals", 200), "None.")
	w.has(boss.get("/withdrawals?all=yes&reseller="+w.kofi.ID, 200), "paid", "Available 714 XOF", "Reserved for withdrawals 0 XOF")
	boss.post(page+"/reverse", url.Values{"reason": {"line 9"}}, 303)
	w.has(kofi.get("/withdrawals", 200), "came back", "Available 2,214 XOF")
	check(w, "/withdrawals", kofi.get("/withdrawals", 200))
}

// The books are compared, a statement is imported, a finding dealt with, and
// the month looked at.
func TestReconciliationPages(t *testing.T) {
	w, d := withMoney(t, "")
	p := w.pay('1')
	d.say(p, hub.PaymentSucceeded, 500)
	_, err := w.hub.Look(t.Context(), operator, p.ID)
	w.ok(err)
	boss := w.as("boss")
	day := w.now().In(time.FixedZone("UTC+1", 3600)).Format(time.DateOnly)
	month := day[:7]

	w.has(boss.get("/reconciliation", 200), "Nothing: all agrees.", "None yet.")
	w.has(boss.post("/reconciliation", url.Values{"period": {"yesterday"}}, 422), "2026-02-10")
	boss.post("/reconciliation", url.Values{"period": {day}}, 303)
	a := boss.get("/reconciliation/"+day, 200)
	w.has(a, "all agrees", "1 · 500 XOF", "not imported", "provider/test 500 XOF", "party/rgz -247 XOF", "Paid and not begun yet: 1")
	check(w, "a report", a)
	sheet := boss.get("/reconciliation/"+day+"/csv", 200)
	if !strings.Contains(sheet.body, "sums,booked as paid,,test,,500,XOF,1") || !strings.HasPrefix(sheet.header.Get("Content-Type"), "text/csv") {
		t.Errorf("the CSV is %s", sheet.body)
	}
	boss.get("/reconciliation/2020-01-01", 404)

	boss.get("/reconciliation", 200)
	w.has(boss.post("/reconciliation/import", url.Values{"period": {day}, "provider": {"test"}, "lines": {"x"}}, 422), "names no column")
	boss.post("/reconciliation/import", url.Values{"period": {day}, "provider": {"test"}, "lines": {"reference,amount,currency,status\n" + hostile[:1] + "X,900,XOF,paid\n"}}, 303)
	a = boss.get("/reconciliation", 200)
	w.has(a, "here, not in the statement", "in the statement, not here", "900 XOF", "look at it")
	check(w, "the findings", a)
	w.has(boss.post("/findings", url.Values{"kind": {hub.FindOnlyHere}, "subject": {p.ID}, "reason": {""}}, 422), "say what was done")
	boss.post("/findings", url.Values{"kind": {hub.FindOnlyHere}, "subject": {p.ID}, "reason": {"they sent a new statement"}}, 303)
	w.hasNot(boss.get("/reconciliation", 200), p.ID)
	w.has(boss.get("/reconciliation/"+day, 200), "dealt with by boss: they sent a new statement")

	a = boss.get("/months/"+month, 200)
	w.has(a, "the month is not over", "findings of kind only_there")
	w.has(boss.post("/months/"+month, url.Values{"reason": {"I want to"}}, 422), "cannot be closed")
	boss.post("/months/"+month+"/summary", url.Values{"reseller": {w.kofi.ID}, "currency": {"xof"}, "total": {"450000"}, "fee": {"6750"}, "share": {"218250"}, "rgz": {"218250"}}, 303)
	a = boss.get("/months/"+month, 200)
	w.has(a, "Allocated to nobody 6,750 XOF", "taken twice, the rest halved fits: yes", "Total, here 500 XOF")
	check(w, "the month", a)
	w.has(boss.post("/months/"+month+"/summary", url.Values{"reseller": {w.kofi.ID}, "currency": {"XOF"}, "total": {"x"}}, 422), "whole number")
	boss.get("/months/never", 422)

	w.shift.Store(int64(40 * 24 * time.Hour))
	boss = w.as("boss")
	boss.get("/months/"+month, 200)
	w.has(boss.post("/months/"+month, url.Values{"reason": {""}}, 422), "without a reason")
	boss.post("/months/"+month, url.Values{"reason": {"the operator takes it"}}, 303)
	w.has(boss.get("/months/"+month, 200), "Closed by boss", "the operator takes it")
	w.has(boss.get("/reconciliation", 200), "Closed months "+month)

	kofi := w.as("kofi")
	for _, path := range []string{"/reconciliation", "/reconciliation/" + day, "/reconciliation/" + day + "/csv", "/months/" + month} {
		kofi.get(path, 403)
	}
	kofi.get("/payments", 200)
	for _, path := range []string{"/reconciliation", "/reconciliation/import", "/findings", "/months/" + month, "/months/" + month + "/summary"} {
		kofi.post(path, nil, 403)
	}
}

// What providers and people write is text on these pages too.
func TestHostileMoney(t *testing.T) {
	w, d := withMoney(t, hostile)
	p := w.pay('1')
	d.say(p, hub.PaymentSucceeded, 400)
	_, err := w.hub.Look(t.Context(), operator, p.ID)
	w.ok(err)
	boss := w.as("boss")
	for _, path := range []string{"/payments", "/payments/" + p.ID, "/withdrawals?reseller=" + w.kofi.ID, "/payments?state=" + url.QueryEscape(hostile), "/payments?day=" + url.QueryEscape(hostile)} {
		check(w, path, boss.get(path, 0))
	}
	boss.post("/payments/"+p.ID+"/reject", url.Values{"reason": {hostile}}, 303)
	a := boss.get("/payments/"+p.ID, 200)
	check(w, "rejected", a)
	if !strings.Contains(a.body, "&lt;script&gt;") {
		t.Error("what the provider said is not shown")
	}
}
