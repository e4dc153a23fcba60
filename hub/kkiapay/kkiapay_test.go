package kkiapay_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/kkiapay"
)

// A desk plays KKiaPay: it answers each path with what was laid there.
type desk struct {
	testing.TB
	*httptest.Server
	mu     sync.Mutex
	answer string
	status int
	asked  []string
}

func newDesk(t testing.TB) *desk {
	d := &desk{TB: t}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.asked = append(d.asked, strings.Join([]string{r.Method, r.URL.Path, r.Header.Get("X-Api-Key"), r.Header.Get("X-Private-Key"), r.Header.Get("X-Secret-Key"), string(body)}, " "))
		if d.status != 0 {
			w.WriteHeader(d.status)
		}
		io.WriteString(w, d.answer)
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *desk) says(status int, answer string) *desk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status, d.answer = status, answer
	return d
}

func (d *desk) calls() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.asked...)
}

func is(key string) func() string { return func() string { return key } }

func options(base string) kkiapay.Options {
	return kkiapay.Options{BaseURL: base, Public: is("pub-k"), Private: is("priv-k"), Secret: is("sec-k"), WebhookSecret: is("hook-k")}
}

func (d *desk) client(change ...func(*kkiapay.Options)) *kkiapay.Client {
	d.Helper()
	o := options(d.URL)
	for _, c := range change {
		c(&o)
	}
	c, err := kkiapay.New(o)
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(c.Close)
	return c
}

var (
	charge = hub.Charge{Reference: "ZG7F3K1", Channel: "KKIAPAY", Phone: "2290197123456", Amount: zonegate.Money{Amount: 500, Currency: "XOF"}, Description: "Forfait <jour>",
		ReturnURL: "https://hub.example/callbacks/kkiapay"}
	paid = hub.Payment{Reference: "ZG7F3K1", ProviderRef: "LVFNrK1nx", Paid: zonegate.Money{Amount: 500, Currency: "XOF"}}
)

func rejected(t *testing.T, err error) string {
	t.Helper()
	var r *hub.RejectedError
	if !errors.As(err, &r) {
		t.Errorf("%v is no refusal", err)
		return ""
	}
	return r.Reason
}

func ambiguous(t *testing.T, err error) {
	t.Helper()
	var r *hub.RejectedError
	if !errors.Is(err, hub.ErrAmbiguous) || errors.Is(err, hub.ErrNotSent) || errors.As(err, &r) {
		t.Errorf("%v is not ambiguous", err)
	}
}

func TestInitiate(t *testing.T) {
	d := newDesk(t)
	got, err := d.client().Initiate(t.Context(), charge)
	if err != nil || got.ProviderRef != "" || len(d.calls()) != 0 {
		t.Fatalf("%+v, %v, asked %v", got, err, d.calls())
	}
	packed, ok := strings.CutPrefix(got.URL, "https://widget-v3.kkiapay.me/?")
	text, err := base64.StdEncoding.DecodeString(packed)
	if !ok || err != nil {
		t.Fatalf("%s: %v", got.URL, err)
	}
	var w map[string]any
	if err := json.Unmarshal(text, &w); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"amount": 500., "key": "pub-k", "sandbox": false, "data": `{"reference":"ZG7F3K1"}`, "partnerId": "ZG7F3K1", "reason": "Forfait <jour>",
		"phoneNumber": "0197123456", "callback": "https://hub.example/callbacks/kkiapay?reference=ZG7F3K1", "serviceId": "INTEGRATION"} {
		if w[name] != want {
			t.Errorf("%s is %v, want %v", name, w[name], want)
		}
	}
	for _, secret := range []string{"priv-k", "sec-k", "hook-k"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("%s is in %s", secret, text)
		}
	}
	bare := hub.Charge{Reference: "R", Channel: "KKIAPAY", Amount: charge.Amount}
	got, err = d.client(func(o *kkiapay.Options) { o.WidgetURL, o.Test = d.URL+"/w/", true }).Initiate(t.Context(), bare)
	packed, _ = strings.CutPrefix(got.URL, d.URL+"/w/?")
	text, _ = base64.StdEncoding.DecodeString(packed)
	if err != nil || !strings.Contains(string(text), `"sandbox":true`) || strings.Contains(string(text), "phoneNumber") || strings.Contains(string(text), "callback") {
		t.Errorf("%s, %v", text, err)
	}
	for want, change := range map[string]func(*hub.Charge){
		"no channel":     func(c *hub.Charge) { c.Channel = "WAVE" },
		"takes no XAF":   func(c *hub.Charge) { c.Amount.Currency = "XAF" },
		"more than zero": func(c *hub.Charge) { c.Amount.Amount = 0 },
		"no reference":   func(c *hub.Charge) { c.Reference = "" },
	} {
		bad := charge
		change(&bad)
		_, err := d.client().Initiate(t.Context(), bad)
		if got := rejected(t, err); !strings.Contains(got, want) {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}

const status = `{"performed_at":"2025-05-15T21:53:38.000Z","type":"DEBIT","status":"SUCCESS","source":"MOBILE_MONEY","amount":500,"fees":10,"country":"BJ","reason":null,
	"transactionId":"LVFNrK1nx","account":"22997123456","state":{"reference":"ZG7F3K1"}}`

func TestLookup(t *testing.T) {
	d := newDesk(t).says(0, status)
	c := d.client()
	got, err := c.Lookup(t.Context(), paid)
	if err != nil || !got.Found || got.State != hub.PaymentSucceeded || got.Amount != paid.Paid || got.Fee != "10" || got.Reference != "ZG7F3K1" || got.ProviderRef != "LVFNrK1nx" ||
		got.Channel != "MOBILE_MONEY" || strings.Contains(got.Raw, "22997123456") {
		t.Errorf("%+v, %v", got, err)
	}
	if a := d.calls()[0]; a != `POST /api/v1/transactions/status pub-k priv-k sec-k {"transactionId":"LVFNrK1nx"}` {
		t.Errorf("asked %s", a)
	}
	for _, k := range []struct {
		old, new string
		found    bool
		want     hub.PaymentState
	}{
		{`"SUCCESS"`, `"success"`, true, hub.PaymentSucceeded},
		{`"SUCCESS"`, `"PENDING"`, true, hub.PaymentPending},
		{`"SUCCESS"`, `"REVERTED"`, true, hub.PaymentRefunded},
		{`"SUCCESS"`, `"COMPLETE"`, true, hub.PaymentPending},
		{`"SUCCESS"`, `"INITIATED"`, true, hub.PaymentPending},
		// The page lets the customer try again with another transaction.
		{`"SUCCESS"`, `"FAILED"`, false, hub.PaymentPending},
		{`"amount":500`, `"amount":"500"`, true, hub.PaymentSucceeded},
		{`"amount":500`, `"amount":500.00`, true, hub.PaymentSucceeded},
	} {
		d.says(0, strings.Replace(status, k.old, k.new, 1))
		if got, err := c.Lookup(t.Context(), paid); err != nil || got.State != k.want || got.Found != k.found {
			t.Errorf("%s: %+v, %v", k.new, got, err)
		}
	}
	d.says(0, strings.Replace(status, `"amount"`, `"currency":"EUR","amount"`, 1))
	if got, err := c.Lookup(t.Context(), paid); err != nil || got.Amount != (zonegate.Money{Currency: "EUR"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// Our reference comes back in many shapes.
func TestReferenceComesBack(t *testing.T) {
	d := newDesk(t)
	c := d.client()
	for shape, want := range map[string]string{
		`"state":{"reference":"ZG7F3K1"}`:                       "ZG7F3K1",
		`"state":"{\"reference\":\"ZG7F3K1\"}"`:                 "ZG7F3K1",
		`"stateData":"\"{\\\"reference\\\":\\\"ZG7F3K1\\\"}\""`: "ZG7F3K1",
		`"state":null,"stateData":{"Reference":"ZG7F3K1"}`:      "ZG7F3K1",
		`"state":"SUCCESS","partnerId":"ZG7F3K1"`:               "ZG7F3K1",
		`"state":{"other":1},"partnerId":"ZG7F3K1"`:             "ZG7F3K1",
		`"partnerId":"ZG7F3K1"`:                                 "ZG7F3K1",
		`"state":{"reference":"ANOTHER"},"partnerId":"ZG7F3K1"`: "ANOTHER",
		`"state":"` + strings.Repeat(`\"`, 9) + `"`:             "",
		`"x":1`:                             "",
		`"state":[{"reference":"ZG7F3K1"}]`: "",
		`"state":"ZG7F3K1"`:                 "",
		`"state":"\"\\\"\\\\\\\"{}\\\\\\\"\\\"\"","partnerId":"PART"`: "PART",
	} {
		d.says(0, strings.Replace(status, `"state":{"reference":"ZG7F3K1"}`, shape, 1))
		if got, err := c.Lookup(t.Context(), paid); err != nil || got.Reference != want {
			t.Errorf("%s: %q, %v", shape, got.Reference, err)
		}
	}
}

func TestNothingToLookUp(t *testing.T) {
	d := newDesk(t)
	c := d.client()
	if got, err := c.Lookup(t.Context(), hub.Payment{Reference: "ZG7F3K1"}); err != nil || got.Found || got.State != hub.PaymentPending || len(d.calls()) != 0 {
		t.Errorf("%+v, %v, asked %v", got, err, d.calls())
	}
	for _, k := range []struct {
		status int
		answer string
	}{
		{404, `{"status":"TRANSACTION_NOT_FOUND"}`}, {400, `{"reason":"transaction_not_found"}`}, {403, `{"status":"INVALID_TRANSACTION","reason":"INVALID_TRANSACTION"}`},
		{422, `{"code":"INVALID_TRANSACTION_TYPE"}`},
	} {
		d.says(k.status, k.answer)
		if got, err := c.Lookup(t.Context(), paid); err != nil || got.Found || got.State != hub.PaymentPending || got.Reason == "" {
			t.Errorf("%s: %+v, %v", k.answer, got, err)
		}
	}
}

func TestUnreadableLookup(t *testing.T) {
	for _, k := range []struct {
		status int
		answer string
	}{
		{0, "<html>"}, {0, status[:80]}, {0, `{}`}, {404, `{"message":"no route"}`}, {404, "<html>"}, {400, status}, {401, status}, {403, status}, {429, status}, {500, status},
		{500, `{"status":"TRANSACTION_NOT_FOUND"}`}, {401, `{"status":"INVALID_TRANSACTION"}`}, {302, ""},
		{0, strings.Replace(status, "LVFNrK1nx", "another", 1)}, {0, strings.Replace(status, `"DEBIT"`, `"CREDIT"`, 1)},
		{0, strings.Replace(status, `"amount":500`, `"amount":500.5`, 1)}, {0, strings.Replace(status, `"amount":500`, `"amount":null`, 1)},
	} {
		d := newDesk(t).says(k.status, k.answer)
		got, err := d.client().Lookup(t.Context(), paid)
		ambiguous(t, err)
		if got != (hub.Observation{}) {
			t.Errorf("%d %s: %+v", k.status, k.answer, got)
		}
	}
}

func TestRefund(t *testing.T) {
	d := newDesk(t).says(0, `{"status":"SUCCESS","transactionId":"LVFNrK1nx","amount":500}`)
	c := d.client()
	order := hub.RefundOrder{Payment: paid, Amount: paid.Paid}
	got, err := c.CreateRefund(t.Context(), order)
	if err != nil || got.State != hub.PaymentRefunding || got.Definitive || got.Handle != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if a := d.calls()[0]; a != `POST /api/v1/transactions/revert pub-k priv-k sec-k {"transactionId":"LVFNrK1nx"}` {
		t.Errorf("asked %s", a)
	}
	for want, k := range map[hub.PaymentState]string{hub.PaymentRefunding: `"SUCCESS"`, hub.PaymentRefunded: `"REVERTED"`} {
		d.says(0, strings.Replace(status, `"SUCCESS"`, k, 1))
		if got, err := c.LookupRefund(t.Context(), order); err != nil || got.State != want || got.Definitive != (want == hub.PaymentRefunded) {
			t.Errorf("%s: %+v, %v", k, got, err)
		}
	}
	d.says(400, `{"status":"TRANSACTION_NOT_ELIGIBLE"}`)
	_, err = c.CreateRefund(t.Context(), order)
	if rejected(t, err) != "TRANSACTION_NOT_ELIGIBLE" {
		t.Error(err)
	}
	for code, answer := range map[int]string{500: `{"status":"INSUFFICIENT_FUND"}`, 0: "<html>", 404: `{}`, 401: `{"status":"INVALID_TRANSACTION"}`, 200: `{"transactionId":"another"}`} {
		d.says(code, answer)
		_, err = c.CreateRefund(t.Context(), order)
		ambiguous(t, err)
	}
	asked := len(d.calls())
	part, unknown := order, order
	part.Amount.Amount = 499
	unknown.Payment.ProviderRef = ""
	for _, bad := range []hub.RefundOrder{part, unknown} {
		_, err := c.CreateRefund(t.Context(), bad)
		rejected(t, err)
	}
	if _, err := c.SendRefund(t.Context(), order); !errors.Is(err, hub.ErrUnsupported) || len(d.calls()) != asked {
		t.Error(err)
	}
	d.Close()
	if _, err := c.CreateRefund(t.Context(), order); !errors.Is(err, hub.ErrNotSent) {
		t.Error(err)
	}
}

const webhook = `{"transactionId":"LVFNrK1nx","isPaymentSucces":true,"account":"22996000000","label":"x","method":"MOBILE_MONEY","amount":500,"fees":10,"partnerId":"",
	"performedAt":"2025-05-15T21:53:38.000Z","stateData":"{\"reference\":\"ZG7F3K1\"}","event":"transaction.success"}`

func TestWebhook(t *testing.T) {
	d := newDesk(t)
	now := "hook-k"
	plain := d.client(func(o *kkiapay.Options) { o.WebhookSecret = func() string { return now } })
	signed := d.client(func(o *kkiapay.Options) { o.WebhookHMAC = true })
	sign := func(key, body string) string {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(body))
		return hex.EncodeToString(mac.Sum(nil))
	}
	with := func(secrets ...string) map[string][]string { return map[string][]string{"X-Kkiapay-Secret": secrets} }
	for name, k := range map[string]struct {
		c      *kkiapay.Client
		header map[string][]string
	}{"static": {plain, with("hook-k")}, "signed": {signed, with(sign("hook-k", webhook))}, "capitals": {signed, with(strings.ToUpper(sign("hook-k", webhook)))}} {
		got, err := k.c.ReadCallback(k.header, nil, []byte(webhook))
		if err != nil || got.Reference != "ZG7F3K1" || got.ProviderRef != "LVFNrK1nx" || strings.Contains(got.Raw, "22996000000") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, k := range map[string]struct {
		c      *kkiapay.Client
		header map[string][]string
	}{"none": {plain, nil}, "empty": {plain, with("")}, "wrong": {plain, with("hook-K")}, "two": {plain, with("hook-k", "hook-k")}, "the key itself": {signed, with("hook-k")},
		"of another body": {signed, with(sign("hook-k", webhook+" "))}, "with another key": {signed, with(sign("x", webhook))}} {
		if got, err := k.c.ReadCallback(k.header, nil, []byte(webhook)); !errors.Is(err, hub.ErrUnauthorized) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	now = "new" // rotated
	if _, err := plain.ReadCallback(with("new"), nil, []byte(webhook)); err != nil {
		t.Error(err)
	}
	now = ""
	if got, err := plain.ReadCallback(with(""), nil, []byte(webhook)); !errors.Is(err, hub.ErrUnauthorized) {
		t.Errorf("%+v, %v", got, err)
	}
	now = "hook-k"
	for _, body := range []string{"", "{", "{}", `{"stateData":{"reference":"ZG7F3K1"}}`} {
		if got, err := plain.ReadCallback(with("hook-k"), nil, []byte(body)); err == nil || errors.Is(err, hub.ErrUnauthorized) {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}

// A browser that comes back from the page brings what a lost webhook had.
func TestReturn(t *testing.T) {
	c := newDesk(t).client()
	for _, q := range []string{"reference=ZG7F3K1&transaction_id=LVFNrK1nx", "reference=ZG7F3K1%3Ftransaction_id=LVFNrK1nx"} {
		query, err := url.ParseQuery(q)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.ReadCallback(nil, query, nil); err != nil || got.Reference != "ZG7F3K1" || got.ProviderRef != "LVFNrK1nx" {
			t.Errorf("%s: %+v, %v", q, got, err)
		}
		if got, err := c.ReadCallback(nil, query, []byte(webhook)); !errors.Is(err, hub.ErrUnauthorized) {
			t.Errorf("%s with a body: %+v, %v", q, got, err)
		}
	}
	for _, q := range []string{"", "reference=ZG7F3K1", "transaction_id=LVFNrK1nx", "reference=a&reference=b&transaction_id=x"} {
		query, _ := url.ParseQuery(q)
		if got, err := c.ReadCallback(nil, query, nil); !errors.Is(err, hub.ErrUnauthorized) {
			t.Errorf("%s: %+v, %v", q, got, err)
		}
	}
}

func TestOptions(t *testing.T) {
	good := options("https://api.kkiapay.me")
	c, err := kkiapay.New(good)
	if err != nil {
		t.Fatal(err)
	}
	caps := c.Caps()
	if caps.Country != "BJ" || len(caps.Currencies) != 1 || caps.Currencies[0] != "XOF" || caps.NeedsPhone || caps.Test || caps.FirstLook != 25*time.Second ||
		len(caps.Channels) != 1 || caps.Channels[0].Flow != hub.FlowRedirect || !strings.Contains(strings.Join(caps.Hosts, " "), "widget-v3.kkiapay.me") ||
		!strings.Contains(strings.Join(caps.Hosts, " "), "api.kkiapay.me") {
		t.Errorf("%+v", caps)
	}
	for want, change := range map[string]func(*kkiapay.Options){
		"base_url must":   func(o *kkiapay.Options) { o.BaseURL = "http://api.kkiapay.me" },
		"widget_url":      func(o *kkiapay.Options) { o.WidgetURL = "http://w.example" },
		"is the sandbox":  func(o *kkiapay.Options) { o.BaseURL = "https://api-sandbox.kkiapay.me" },
		"is the live one": func(o *kkiapay.Options) { o.Test = true },
		"public key":      func(o *kkiapay.Options) { o.Public = is("") },
		"private key":     func(o *kkiapay.Options) { o.Private = nil },
		"secret key":      func(o *kkiapay.Options) { o.Secret = is("") },
		"webhook secret":  func(o *kkiapay.Options) { o.WebhookSecret = nil },
		`channel "WAVE"`: func(o *kkiapay.Options) {
			o.Channels = []hub.ChannelCaps{{ID: "WAVE", Name: "Wave", Flow: hub.FlowPush}}
		},
	} {
		bad := good
		change(&bad)
		if _, err := kkiapay.New(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	// Keys are read at each call; an empty one sends nothing.
	d := newDesk(t).says(0, status)
	key := "one"
	c = d.client(func(o *kkiapay.Options) { o.Secret = func() string { return key } })
	for _, key = range []string{"one", "two"} {
		if _, err := c.Lookup(t.Context(), paid); err != nil || !strings.Contains(d.calls()[len(d.calls())-1], " "+key+" ") {
			t.Errorf("asked %v, %v", d.calls(), err)
		}
	}
	key = ""
	if _, err := c.Lookup(t.Context(), paid); !errors.Is(err, hub.ErrNotSent) {
		t.Error(err)
	}
}

func FuzzCallback(f *testing.F) {
	f.Add(webhook)
	f.Add(`{"transactionId":"x","stateData":"\"{}\""}`)
	c := newDesk(f).client()
	f.Fuzz(func(t *testing.T, body string) {
		h, err := c.ReadCallback(map[string][]string{"X-Kkiapay-Secret": {"hook-k"}}, nil, []byte(body))
		if err == nil && (h.ProviderRef == "" || strings.ContainsRune(h.Reference+h.ProviderRef, 0)) {
			t.Errorf("%q: %+v", body, h)
		}
	})
}
