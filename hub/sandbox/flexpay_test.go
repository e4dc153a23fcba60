package sandbox_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"zonegate/hub/sandbox"
	"zonegate/sync/api"
)

var flexAuth = map[string]string{"Authorization": "Bearer sandbox-flexpay", "Content-Type": "application/json"}

const flexBase = "/flexpay/api/rest/v1"

func flexBody(phone, reference, amount, currency string) string {
	text, err := json.Marshal(map[string]string{"merchant": "SANDBOX", "type": "1", "phone": phone, "reference": reference, "amount": amount,
		"currency": currency, "callbackUrl": "https://hub.test/callbacks/flexpay"})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// flexBegin begins a charge or a payout and returns the order number, as it is.
func (b *bank) flexBegin(call, phone, reference, amount, currency string) string {
	b.Helper()
	var out struct{ Code, OrderNumber string }
	b.decode(b.must(200, "POST", flexBase+"/"+call, flexAuth, flexBody(phone, reference, amount, currency)), &out)
	if out.Code != "0" {
		b.Fatalf("%s: code %q", call, out.Code)
	}
	return out.OrderNumber
}

// flexStatus is what check says: a status, or "" for not found.
func (b *bank) flexStatus(order string) (status, amount, currency string) {
	b.Helper()
	var out struct {
		Transaction struct{ Status, Amount, Currency string }
	}
	b.decode(b.must(200, "GET", flexBase+"/check/"+order, flexAuth, ""), &out)
	return out.Transaction.Status, out.Transaction.Amount, out.Transaction.Currency
}

func TestFlexPayShapes(t *testing.T) {
	b := newBank(t, sandbox.Options{Delay: time.Second})
	text := b.must(200, "POST", flexBase+"/paymentService", flexAuth, flexBody("243815557848", "REFERENCE42", "700", "CDF"))
	b.shaped("paymentService", `{"code":"0","message":"","orderNumber":""}`, text)
	order := b.Open()[0].ID
	if !strings.HasSuffix(order, "243815557848") || !strings.Contains(text, `"orderNumber":"`+order+`"`) {
		t.Errorf("the order is %q", order)
	}
	b.Break(sandbox.Fault{Kind: sandbox.FaultMissing, Times: 1})
	none := `{"code":"1","message":"Rien sous ce numéro","transaction":null}`
	if text = b.must(200, "GET", flexBase+"/check/"+order, flexAuth, ""); text != none {
		t.Errorf("not found is %s", text)
	}
	if text = b.must(200, "GET", flexBase+"/check/x", flexAuth, ""); text != none {
		t.Errorf("not found is %s", text)
	}
	b.Refuse(order, "")
	b.pass(0)
	// The printed sample: code 0, and the payment failed. Three s, no order
	// number inside.
	b.shaped("check", `{"code":"0","messsage":"","transaction":{"reference":"","amount":"","amountCustomer":"","currency":"","createdAt":"","status":"","channel":""}}`,
		b.must(200, "GET", flexBase+"/check/"+order, flexAuth, ""))
	text = b.must(200, "GET", flexBase+"/check/"+order, flexAuth, "")
	for _, want := range []string{`"code":"0"`, `"amount":"700.0"`, `"amountCustomer":"714.0"`, `"status":"1"`, `"createdAt":"04-03-2026 11:00:00"`, `"channel":"mpesa"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
	b.shaped("the callback", `{"code":"1","reference":"","amount":"","amountCustomer":"","phone":"","currency":"","createdAt":"","channel":"","orderNumber":"","provider_reference":""}`,
		b.heard[0].body)
	if h := b.heard[0]; h.method != "POST" || h.url.String() != "https://hub.test/callbacks/flexpay" || !strings.Contains(h.body, `"code":"1"`) ||
		!strings.Contains(h.body, `"provider_reference":""`) {
		t.Errorf("%+v", h)
	}

	// A payout: a space before the order number, another spelling in the
	// callback, and no lookup.
	text = b.must(200, "POST", flexBase+"/merchantPayOutService", flexAuth, flexBody("243815557848", "OUT1", "0.5", "USD"))
	b.shaped("merchantPayOutService", `{"code":"0","message":"","orderNumber":""}`, text)
	out := b.Open()[0].ID
	if !strings.Contains(text, `"orderNumber":" `+out+`"`) {
		t.Error(text)
	}
	b.pass(time.Second)
	b.shaped("the payout's callback", `{"code":"1","reference":"","amount":"","amountCustomer":"","phone":"","currency":"","createdAt":"","channel":"","orderNumer":"","provider_reference":""}`,
		b.heard[1].body)
	for _, want := range []string{`"code":"0"`, `"amount":"0.5"`, `"amountCustomer":"0.51"`, `"orderNumer":"` + out + `"`} {
		if !strings.Contains(b.heard[1].body, want) {
			t.Errorf("%s lacks %s", b.heard[1].body, want)
		}
	}
	if status, _, _ := b.flexStatus(out); status != "" {
		t.Errorf("check finds a payout: %q", status)
	}
	b.SetQuirks(sandbox.Quirks{CheckPayouts: true})
	if status, _, _ := b.flexStatus("%20" + out); status != "0" {
		t.Errorf("check does not find a payout: %q", status)
	}
	if got := sum(b.PaidOut("OUT1")); got != (api.Money{Amount: 50, Currency: "USD"}) {
		t.Errorf("paid out %v", got)
	}
}

func TestFlexPayNumbers(t *testing.T) {
	const cdf = 10000
	for _, c := range []struct {
		phone, soon, late string // status at once, and after a day
		charged, refunded int64
		callbacks         string // their codes
	}{
		{"243810000000", "0", "0", cdf, 0, "0"},
		{"243810000001", "2", "0", cdf, 0, "0"},
		{"243810000002", "1", "1", 0, 0, "1"},
		{"243810000003", "2", "2", 0, 0, ""},
		{"243810000005", "1", "1", 0, 0, "1"},
		{"243810000006", "0", "0", cdf, 0, ""},
		{"243810000007", "1", "0", cdf, 0, "10"},
		{"243810000008", "0", "4", cdf, cdf, "0"},
		{"243810000009", "5", "5", 0, 0, "1"},
		{"243810000010", "0", "0", cdf / 2, 0, "0"},
		{"243810000011", "0", "0", cdf, 0, "0"},
	} {
		b := newBank(t, sandbox.Options{})
		order := b.flexBegin("paymentService", c.phone, "R", "100", "CDF")
		b.pass(time.Second)
		if soon, _, _ := b.flexStatus(order); soon != c.soon {
			t.Errorf("%s: status %q soon, want %q", c.phone, soon, c.soon)
		}
		b.pass(24 * time.Hour)
		late, amount, currency := b.flexStatus(order)
		charged := sum(b.Charged("R"))
		if late != c.late || charged.Amount != c.charged || sum(b.Refunded(order)).Amount != c.refunded {
			t.Errorf("%s: status %q late, charged %v, refunded %v; want %+v", c.phone, late, charged, b.Refunded(order), c)
		}
		if strings.HasSuffix(c.phone, "0010") && amount != "50.0" || strings.HasSuffix(c.phone, "0011") && (currency != "USD" || charged.Currency != "USD") {
			t.Errorf("%s: %s %s, charged %v", c.phone, amount, currency, charged)
		}
		codes := ""
		for _, h := range b.heard {
			codes += h.body[strings.Index(h.body, `"code":"`)+8:][:1]
		}
		if codes != c.callbacks {
			t.Errorf("%s: callbacks %q, want %q", c.phone, codes, c.callbacks)
		}
	}
}

func TestFlexPayPayoutNumbers(t *testing.T) {
	for phone, want := range map[string]struct {
		paid  int64
		state string
	}{
		"243810000000": {100, sandbox.StatePaid}, "243810000001": {100, sandbox.StatePaid}, "243810000002": {0, sandbox.StateFailed},
		"243810000003": {0, sandbox.StateOpen}, "243810000005": {0, sandbox.StateFailed}, "243810000006": {100, sandbox.StatePaid},
		"243810000007": {0, sandbox.StateFailed}, "243810000008": {100, sandbox.StatePaid}, "243810000009": {0, sandbox.StateFailed},
	} {
		b := newBank(t, sandbox.Options{})
		b.flexBegin("merchantPayOutService", phone, "R", "1", "USD")
		b.pass(24 * time.Hour)
		if got := b.Charges(nil)[0]; got.State != want.state || sum(b.PaidOut("R")).Amount != want.paid || len(b.Refunded("R")) != 0 {
			t.Errorf("%s: %+v", phone, got)
		}
		if silent := strings.HasSuffix(phone, "0003") || strings.HasSuffix(phone, "0006"); (len(b.heard) == 0) != silent {
			t.Errorf("%s: %d callbacks", phone, len(b.heard))
		}
	}
}

func TestFlexPayRefusals(t *testing.T) {
	b := newBank(t, sandbox.Options{})
	good := flexBody("243815557848", "R", "100", "CDF")
	b.must(401, "POST", flexBase+"/paymentService", map[string]string{"Authorization": "Bearer x"}, good)
	b.must(401, "GET", flexBase+"/check/x", nil, "")
	for _, bad := range []string{
		`{`, `{}`,
		strings.Replace(good, "SANDBOX", "OTHER", 1), strings.Replace(good, `"type":"1"`, `"type":"2"`, 1), strings.Replace(good, "CDF", "EUR", 1),
		strings.Replace(good, `"100"`, `"0"`, 1), strings.Replace(good, `"100"`, `"1.001"`, 1), strings.Replace(good, `"100"`, `"1e3"`, 1),
		strings.Replace(good, `"100"`, `"-1"`, 1), strings.Replace(good, "243815557848", "+243815557848", 1), strings.Replace(good, "https://hub.test/callbacks/flexpay", "", 1),
		strings.Replace(good, "243815557848", "243815550004", 1),
	} {
		for _, call := range []string{"/paymentService", "/merchantPayOutService"} {
			text := b.must(200, "POST", flexBase+call, flexAuth, bad)
			b.shaped(bad, `{"code":"1","message":""}`, text)
			if !strings.Contains(text, `"code":"1"`) {
				t.Errorf("%s: %s", bad, text)
			}
		}
	}
	if len(b.Charges(nil)) != 0 {
		t.Error("a refused call moves money")
	}
	// A number is as good as a string.
	b.must(200, "POST", flexBase+"/paymentService", flexAuth, strings.Replace(good, `"100"`, `100.5`, 1))
	if got := b.Charges(nil); len(got) != 1 || got[0].Asked.Amount != 10050 {
		t.Errorf("%+v", got)
	}
}

func TestFlexPayRepeats(t *testing.T) {
	for repeat, want := range map[string]int{"": 2, sandbox.RepeatCharge: 2, sandbox.RepeatRefuse: 1, sandbox.RepeatSame: 1} {
		b := newBank(t, sandbox.Options{Quirks: sandbox.Quirks{Repeat: repeat}})
		first := b.must(200, "POST", flexBase+"/paymentService", flexAuth, flexBody("243815557848", "R", "100", "CDF"))
		again := b.must(200, "POST", flexBase+"/paymentService", flexAuth, flexBody("243815557848", "R", "100", "CDF"))
		b.pass(time.Minute)
		if got := len(b.Charged("R")); got != want {
			t.Errorf("%q: %d charges", repeat, got)
		}
		if (first == again) != (repeat == sandbox.RepeatSame) || strings.Contains(again, `"1"`) != (repeat == sandbox.RepeatRefuse) {
			t.Errorf("%q: %s, then %s", repeat, first, again)
		}
	}
}

func TestFaultsOfMoney(t *testing.T) {
	b := newBank(t, sandbox.Options{})
	begin := func(reference string) string {
		return b.flexBegin("paymentService", "243815557848", reference, "100", "CDF")
	}
	b.Break(sandbox.Fault{Kind: sandbox.FaultAmount, Path: "/flexpay/charge", Times: 1, Amount: 7})
	b.Break(sandbox.Fault{Kind: sandbox.FaultCurrency, Path: "/flexpay/charge", Times: 1})
	b.Break(sandbox.Fault{Kind: sandbox.FaultAmount, Path: "/mypayga", Times: 1})
	order := begin("R1")
	b.pass(0)
	if status, amount, currency := b.flexStatus(order); status != "0" || amount != "0.07" || currency != "USD" || sum(b.Charged("R1")) != (api.Money{Amount: 7, Currency: "USD"}) {
		t.Errorf("%s %s %s, %v", status, amount, currency, b.Charged("R1"))
	}
	// A lie at once, for a payment that is then refused.
	b.heard = nil
	b.Break(sandbox.Fault{Kind: sandbox.FaultForged, Times: 1})
	order = b.flexBegin("paymentService", "243810000002", "R2", "100", "CDF")
	b.pass(0)
	if status, _, _ := b.flexStatus(order); status != "1" || len(b.Charged("R2")) != 0 || len(b.heard) != 2 ||
		!strings.Contains(b.heard[0].body, `{"code":"0","reference":"R2"`) || !strings.Contains(b.heard[1].body, `{"code":"1","reference":"R2"`) {
		t.Errorf("%s, %+v", status, b.heard)
	}
	if err := b.Forge("R2"); err != nil {
		t.Fatal(err)
	}
	b.pass(0)
	if len(b.heard) != 3 || !strings.Contains(b.heard[2].body, `"code":"0"`) || len(b.Charged("R2")) != 0 {
		t.Errorf("%+v", b.heard)
	}
}

func TestFaultsOfCallbacks(t *testing.T) {
	b := newBank(t, sandbox.Options{})
	begin := func(reference string) {
		b.heard = nil
		b.flexBegin("paymentService", "243815557848", reference, "100", "CDF")
		b.pass(time.Second)
	}
	count := func(want int, why string) {
		t.Helper()
		if len(b.heard) != want {
			t.Errorf("%s: %d callbacks, want %d", why, len(b.heard), want)
		}
	}
	for kind, want := range map[string]int{sandbox.FaultLost: 0, sandbox.FaultDouble: 2} {
		b.Break(sandbox.Fault{Kind: kind, Path: "/flexpay/callback", Times: 1})
		begin("R" + kind)
		count(want, kind)
		if len(b.Charged("R"+kind)) != 1 {
			t.Errorf("%s: charged %v", kind, b.Charged("R"+kind))
		}
	}
	b.Break(sandbox.Fault{Kind: sandbox.FaultLate, Times: 1, Wait: 3000})
	begin("R3")
	count(0, "late")
	b.pass(2 * time.Second)
	count(1, "late")

	b.Break(sandbox.Fault{Kind: sandbox.FaultReorder, Times: 1})
	begin("R4")
	count(0, "reorder")
	begin("R5")
	if count(2, "reorder"); !strings.Contains(b.heard[0].body, "R5") || !strings.Contains(b.heard[1].body, "R4") {
		t.Errorf("in order: %+v", b.heard)
	}
	b.Break(sandbox.Fault{Kind: sandbox.FaultReorder, Times: 1})
	begin("R6")
	b.pass(time.Hour)
	count(1, "reorder with none behind")
	// Nobody sends a callback of FlexPay again.
	b.answers = 500
	begin("R7")
	b.pass(time.Hour)
	count(1, "refused")
}
