package sandbox_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"regexp"
	"strings"
	"testing"
	"time"

	"zonegate/hub/sandbox"
	"zonegate/sync/api"
)

var kkKeys = map[string]string{"X-API-KEY": "sandbox-public", "X-PRIVATE-KEY": "sandbox-private", "X-SECRET-KEY": "sandbox-secret", "Content-Type": "application/json"}

// press fills in the number on a hosted page and presses the button; it
// returns where the browser is sent, or the page it gets.
func (b *bank) press(page, phone string) (to, shown string) {
	b.Helper()
	action := regexp.MustCompile(`action="([^"]*)"`).FindStringSubmatch(page)
	if action == nil {
		b.Fatalf("no form: %s", page)
	}
	fields := []string{"phone", phone}
	for _, h := range regexp.MustCompile(`type="hidden" name="([^"]*)" value="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		fields = append(fields, h[1], html.UnescapeString(h[2]))
	}
	_, header, text, err := b.do("POST", html.UnescapeString(action[1]), formType, form(fields...))
	if err != nil {
		b.Fatal(err)
	}
	return header.Get("Location"), text
}

func widget(pairs string) string {
	return "/kkiapay/?" + base64.StdEncoding.EncodeToString([]byte(`{"amount":1000,"key":"sandbox-public",`+pairs+`}`))
}

func (b *bank) kkStatus(id string) (status, text string) {
	b.Helper()
	text = b.must(200, "POST", "/kkiapay/api/v1/transactions/status", kkKeys, `{"transactionId":"`+id+`"}`)
	var out struct{ Status string }
	b.decode(text, &out)
	return out.Status, text
}

func TestKKiaPayPage(t *testing.T) {
	b := newBank(t, sandbox.Options{Delay: time.Second, KKiaPay: sandbox.KKiaPayOptions{WebhookURL: "https://hub.test/callbacks/kkiapay"}})
	page := b.must(200, "GET", widget(`"callback":"https://portal.test/back?a=1","data":{"order":"o>1"},"partnerId":"p1","reason":"WiFi"`), nil, "")
	if !strings.Contains(page, "1000 FCFA") {
		t.Fatal(page)
	}
	wait, _ := b.press(page, "01 97 00 00 00")
	if text := b.must(200, "GET", wait, nil, ""); !strings.Contains(text, `http-equiv="refresh"`) {
		t.Error(text)
	}
	id := b.Open()[0].ID
	if status, _ := b.kkStatus(id); status != "PENDING" {
		t.Error(status)
	}
	b.pass(time.Second)
	_, header, _, err := b.do("GET", wait, nil, "")
	if to := header.Get("Location"); err != nil || to != "https://portal.test/back?a=1&transaction_id="+id {
		t.Errorf("back at %s, %v", to, err)
	}
	status, text := b.kkStatus(id)
	for _, want := range []string{`"type":"DEBIT"`, `"source":"MOBILE_MONEY"`, `"amount":1000`, `"fees":19`, `"country":"BJ"`, `"transactionId":"` + id + `"`, `"partnerId":"p1"`, `"state":{"order":"o>1"}`, `"reason":null`} {
		if status != "SUCCESS" || !strings.Contains(text, want) {
			t.Errorf("%s: %s lacks %s", status, text, want)
		}
	}
	h := b.heard[0]
	b.shaped("the webhook", `{"transactionId":"x","isPaymentSucces":true,"account":"22996000000","label":"x","method":"MOBILE_MONEY","amount":1000,"fees":19,"partnerId":"x",
"performedAt":"x","stateData":{"order":"x"},"event":"transaction.success"}`, h.body)
	if h.header.Get(api.HeaderSecret) != "sandbox-webhook" || !strings.Contains(h.body, `"account":"22997000000"`) || len(b.heard) != 1 {
		t.Errorf("%+v", h)
	}

	// The whole goes back, once.
	b.must(401, "POST", "/kkiapay/api/v1/transactions/revert", nil, `{"transactionId":"`+id+`"}`)
	b.must(200, "POST", "/kkiapay/api/v1/transactions/revert", kkKeys, `{"transactionId":"`+id+`"}`)
	if text := b.must(400, "POST", "/kkiapay/api/v1/transactions/revert", kkKeys, `{"transactionId":"`+id+`"}`); !strings.Contains(text, "TRANSACTION_NOT_ELIGIBLE") {
		t.Error(text)
	}
	if status, _ = b.kkStatus(id); status != "REVERTED" || sum(b.Refunded("p1")) != (api.Money{Amount: 1000, Currency: "XOF"}) || sum(b.Charged(id)).Amount != 1000 {
		t.Errorf("%s, refunded %v", status, b.Refunded("p1"))
	}
	if text := b.must(404, "POST", "/kkiapay/api/v1/transactions/status", kkKeys, `{"transactionId":"x"}`); !strings.Contains(text, "TRANSACTION_NOT_FOUND") {
		t.Error(text)
	}
	b.must(400, "GET", "/kkiapay/?e30=", nil, "")
	b.must(400, "GET", strings.Replace(widget(`"callback":""`), "/?", "/?x", 1), nil, "")

	// A number that cannot pay is told so, and can be another one; one that has
	// too little fails.
	page = b.must(200, "GET", "/kkiapay/?"+form("amount", "200", "key", "sandbox-public", "data", "plain", "callback", "https://portal.test/"), nil, "")
	if to, shown := b.press(page, "0197000004"); to != "" || !strings.Contains(shown, "cannot pay") {
		t.Errorf("%s %s", to, shown)
	}
	wait, _ = b.press(page, "0197000005")
	b.pass(time.Second)
	again := b.must(200, "GET", wait, nil, "")
	if !strings.Contains(again, "Insufficient funds. Nothing was charged.") || !strings.Contains(again, `href="https://portal.test/"`) {
		t.Error(again)
	}
	id = wait[strings.LastIndex(wait, "/")+1:]
	if status, text := b.kkStatus(id); status != "FAILED" || !strings.Contains(text, `"failureCode":"insufficient_fund"`) {
		t.Error(text)
	}
	// There he can try again, which is another transaction.
	wait, _ = b.press(again, "0197000000")
	b.pass(time.Second)
	if _, header, _, _ := b.do("GET", wait, nil, ""); header.Get("Location") != "https://portal.test/?transaction_id="+wait[strings.LastIndex(wait, "/")+1:] || strings.HasSuffix(wait, id) {
		t.Errorf("back at %s", header.Get("Location"))
	}
	if h := b.heard[1]; !strings.Contains(h.body, `"isPaymentSucces":false`) || !strings.Contains(h.body, `"event":"transaction.failed"`) || !strings.Contains(h.body, `"stateData":"plain"`) {
		t.Error(h.body)
	}
}

func TestKKiaPayStateData(t *testing.T) {
	for quirk, want := range map[string]string{
		"": `{"order":"1"}`, sandbox.StateObject: `{"order":"1"}`, sandbox.StateString: `"{\"order\":\"1\"}"`, sandbox.StateDouble: `"\"{\\\"order\\\":\\\"1\\\"}\""`,
	} {
		b := newBank(t, sandbox.Options{Quirks: sandbox.Quirks{StateData: quirk, HMAC: true}, KKiaPay: sandbox.KKiaPayOptions{WebhookURL: "https://hub.test/", WebhookSecret: "s"}})
		b.press(b.must(200, "GET", widget(`"data":{"order":"1"}`), nil, ""), "0197000000")
		b.pass(0)
		var in struct{ StateData json.RawMessage }
		b.decode(b.heard[0].body, &in)
		if string(in.StateData) != want {
			t.Errorf("%q: %s, want %s", quirk, in.StateData, want)
		}
		mac := hmac.New(sha256.New, []byte("s"))
		mac.Write([]byte(b.heard[0].body))
		if b.heard[0].header.Get(api.HeaderSecret) != hex.EncodeToString(mac.Sum(nil)) {
			t.Error("not signed")
		}
	}
}

// What is not well received is sent five times more, each 500 ms later than
// the last.
func TestKKiaPayRetries(t *testing.T) {
	b := newBank(t, sandbox.Options{KKiaPay: sandbox.KKiaPayOptions{WebhookURL: "https://hub.test/"}})
	b.answers = 302
	b.press(b.must(200, "GET", widget(`"data":"1"`), nil, ""), "0197000000")
	start := b.now
	b.pass(time.Hour)
	var after []string
	for _, h := range b.heard {
		after = append(after, h.at.Sub(start).String())
	}
	if got := strings.Join(after, " "); got != "0s 500ms 1.5s 3s 5s 7.5s" {
		t.Errorf("sent after %s", got)
	}
}

// A person pays on the page that RGZ sends him to.
func TestRGZPage(t *testing.T) {
	for phone, want := range map[string]struct {
		status, shown string
		amount        int64
	}{
		"0197000000": {"completed", "Payment done", 100}, "0197000002": {"failed", "Refused by the customer. Nothing was charged", 0},
		"0197000010": {"completed", "Payment done", 50},
	} {
		b := newBank(t, sandbox.Options{Delay: time.Second, KKiaPay: sandbox.KKiaPayOptions{WebhookURL: "https://hub.test/"}, Quirks: sandbox.Quirks{Voucher: true}})
		auth := map[string]string{"Authorization": "Bearer sandbox-user", "Content-Type": "application/json"}
		var begun api.Initiated
		b.decode(b.must(201, "POST", "/api/v1/payments/initiate", auth, `{"forfait_id":"7b0e6f3c-5a0d-4f2b-9d0e-1c1f5e2f0002","provider":"MTN_MOMO"}`), &begun)
		if begun.PaymentURL != host+"/kkiapay/pay/"+begun.TransactionID {
			t.Fatal(begun.PaymentURL)
		}
		path := strings.TrimPrefix(begun.PaymentURL, host)
		page := b.must(200, "GET", path, map[string]string{"Referer": "http://portal.test/wait"}, "")
		status := func() (s api.PaymentStatus) {
			b.decode(b.must(200, "GET", "/api/v1/payments/"+begun.TransactionID+"/status", auth, ""), &s)
			return s
		}
		wait, _ := b.press(page, phone)
		if _, shown := b.press(page, phone); !strings.Contains(shown, "already waits") {
			t.Errorf("pressed twice: %s", shown)
		}
		if got := status(); got.Status != "pending" {
			t.Errorf("%+v", got)
		}
		b.pass(time.Second)
		if got := status(); got.Status != want.status || sum(b.Charged(begun.TransactionID)).Amount != want.amount || want.amount > 0 && got.AmountFCFA != want.amount {
			t.Errorf("%s: %+v, charged %v", phone, got, b.Charged(begun.TransactionID))
		}
		if _, header, shown, _ := b.do("GET", wait, nil, ""); want.status == "completed" && header.Get("Location") != "http://portal.test/wait" ||
			want.status == "failed" && (!strings.Contains(shown, want.shown) || !strings.Contains(shown, `href="http://portal.test/wait"`)) {
			t.Errorf("%s: %s %s", phone, header.Get("Location"), shown)
		}
		if text := b.must(200, "GET", path, nil, ""); !strings.Contains(text, "This payment is "+want.status) || strings.Contains(text, "<form") {
			t.Errorf("open again: %s", text)
		}
		if len(b.heard) != 0 {
			t.Error("the webhook of one merchant goes to another")
		}
		if made := strings.Count(b.must(200, "GET", "/_control/state", nil, ""), `"status":"active"`); (made == 1) != (want.status == "completed") {
			t.Errorf("%d vouchers", made)
		}
		// RGZ's transaction is not ours to ask for.
		if text := b.must(403, "POST", "/kkiapay/api/v1/transactions/status", kkKeys, `{"transactionId":"`+wait[strings.LastIndex(wait, "/")+1:]+`"}`); !strings.Contains(text, "INVALID_TRANSACTION") {
			t.Error(text)
		}
	}
	b := newBank(t, sandbox.Options{})
	b.must(404, "GET", "/kkiapay/pay/x", nil, "")
	b.must(404, "GET", "/kkiapay/wait/x", nil, "")
	b.must(400, "POST", "/kkiapay/pay", formType, form("payment", "x", "phone", "0197000000"))
	b.must(400, "POST", "/kkiapay/pay", formType, form("widget", "x", "phone", "0197000000"))
	b.must(400, "POST", "/kkiapay/pay", formType, form("widget", "x", "phone", "12"))
}

// The same in process.
func TestPay(t *testing.T) {
	b := newBank(t, sandbox.Options{KKiaPay: sandbox.KKiaPayOptions{WebhookURL: "https://hub.test/"}})
	auth := map[string]string{"Authorization": "Bearer sandbox-user", "Content-Type": "application/json"}
	var begun api.Initiated
	b.decode(b.must(201, "POST", "/api/v1/payments/initiate", auth, `{"forfait_id":"7b0e6f3c-5a0d-4f2b-9d0e-1c1f5e2f0002","provider":"MTN_MOMO"}`), &begun)
	for _, address := range []string{begun.PaymentURL, host + widget(`"partnerId":"p1"`)} {
		if _, err := b.Pay(address, "0197000004"); err == nil || strings.Contains(err.Error(), "0197") {
			t.Errorf("%s: %v", address, err)
		}
		id, err := b.Pay(address, "0197000000")
		if err != nil {
			t.Fatal(err)
		}
		b.pass(0)
		if len(b.Charged(id)) != 1 {
			t.Errorf("%s: charged %v", address, b.Charged(id))
		}
	}
	if len(b.Charged(begun.TransactionID)) != 1 || len(b.Charged("p1")) != 1 || len(b.heard) != 1 {
		t.Errorf("moved %v", b.Movements(nil))
	}
	for _, address := range []string{begun.PaymentURL, host + "/kkiapay/pay/x", host + "/kkiapay/?x", ":"} {
		if _, err := b.Pay(address, "0197000000"); err == nil {
			t.Errorf("%s takes money", address)
		}
	}
}
