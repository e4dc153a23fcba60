package flexpay_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/flexpay"
)

// A desk plays FlexPay: it answers each path with what was laid there, and
// keeps what it was asked.
type desk struct {
	testing.TB
	*httptest.Server
	mu      sync.Mutex
	answers map[string]string // by the path's first element
	status  int
	asked   []string // method, path, Authorization, body
}

const base = "/api/rest/v1/"

func newDesk(t testing.TB) *desk {
	d := &desk{TB: t, answers: map[string]string{}}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.asked = append(d.asked, strings.Join([]string{r.Method, r.URL.EscapedPath(), r.Header.Get("Authorization"), string(body)}, " "))
		call, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, base), "/")
		if d.status != 0 {
			w.WriteHeader(d.status)
		}
		io.WriteString(w, d.answers[call])
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *desk) says(call, answer string) { d.mu.Lock(); d.answers[call] = answer; d.mu.Unlock() }

func (d *desk) last() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.asked) == 0 {
		return ""
	}
	return d.asked[len(d.asked)-1]
}

func (d *desk) client(change ...func(*flexpay.Options)) *flexpay.Client {
	d.Helper()
	o := flexpay.Options{PayURL: d.URL + base, Merchant: "ZONE", Token: func() string { return "t0ken" }}
	for _, c := range change {
		c(&o)
	}
	c, err := flexpay.New(o)
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(c.Close)
	return c
}

var (
	charge = hub.Charge{Reference: "ZG7F3K1", Channel: "MOBILE_MONEY_CD", Phone: "243815550148", Amount: zonegate.Money{Amount: 70000, Currency: "CDF"},
		CallbackURL: "https://hub.example/callbacks/flexpay"}
	paid = hub.Payment{Reference: "ZG7F3K1", ProviderRef: "kW3pQz81243815550148"}
)

const yes = `{"code":"0","message":"Demande envoyée. Validez sur votre téléphone","orderNumber":"kW3pQz81243815550148"}`

func found(fields string) string {
	return `{"code":"0","messsage":"ok","transaction":{"reference":"ZG7F3K1","amount":"700.0","amountCustomer":"714.0","currency":"CDF","createdAt":"11-03-2026 09:14:52",` + fields + `}}`
}

// rejected, ambiguous and notSent are the three ends of a call that is no yes.
func rejected(t *testing.T, err error) string {
	t.Helper()
	var r *hub.RejectedError
	if !errors.As(err, &r) {
		t.Errorf("%v is no refusal", err)
		return ""
	}
	return r.Reason
}

func ambiguous(t *testing.T, err error, ref string) {
	t.Helper()
	var r *hub.RejectedError
	var a *hub.AmbiguousError
	if !errors.Is(err, hub.ErrAmbiguous) || errors.Is(err, hub.ErrNotSent) || errors.As(err, &r) {
		t.Errorf("%v is not ambiguous", err)
	}
	if got := errors.As(err, &a); got != (ref != "") || got && a.ProviderRef != ref {
		t.Errorf("%v carries another order number than %q", err, ref)
	}
}

func TestInitiate(t *testing.T) {
	d := newDesk(t)
	d.says("paymentService", yes)
	got, err := d.client().Initiate(t.Context(), charge)
	if err != nil || got.ProviderRef != "kW3pQz81243815550148" || !strings.HasPrefix(got.Hint, "Demande") || got.URL != "" {
		t.Errorf("%+v, %v", got, err)
	}
	head, body, _ := strings.Cut(d.last(), " {")
	if head != "POST /api/rest/v1/paymentService Bearer t0ken" {
		t.Errorf("asked %s", head)
	}
	var sent map[string]any
	if err := json.Unmarshal([]byte("{"+body), &sent); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"merchant": "ZONE", "type": "1", "phone": "243815550148", "reference": "ZG7F3K1", "amount": "700", "currency": "CDF",
		"callbackUrl": "https://hub.example/callbacks/flexpay"} {
		if sent[name] != want {
			t.Errorf("%s is %v, want %q", name, sent[name], want)
		}
	}
	if len(sent) != 7 {
		t.Errorf("sent %v", sent)
	}
}

// Trap 4: other spellings; trap 3: numbers for strings; trap 5: spaces.
func TestSpellingsOfAYes(t *testing.T) {
	for _, answer := range []string{
		`{"Code":0,"messsage":"x","OrderNumber":" kW3pQz81243815550148 "}`,
		`{"CODE":"0","orderNumer":"kW3pQz81243815550148"}`,
	} {
		d := newDesk(t)
		d.says("paymentService", answer)
		if got, err := d.client().Initiate(t.Context(), charge); err != nil || got.ProviderRef != "kW3pQz81243815550148" {
			t.Errorf("%s: %+v, %v", answer, got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	d := newDesk(t)
	d.says("paymentService", `{"code":"1","message":"Solde du 243815550148 insuffisant"}`)
	_, err := d.client().Initiate(t.Context(), charge)
	if got := rejected(t, err); got != "Solde du ***48 insuffisant" {
		t.Errorf("it says %q", got)
	}
	asked := len(d.asked)
	for want, change := range map[string]func(*hub.Charge){
		"no channel":       func(c *hub.Charge) { c.Channel = "CARD" },
		"XOF":              func(c *hub.Charge) { c.Amount.Currency = "XOF" },
		"more than zero":   func(c *hub.Charge) { c.Amount.Amount = 0 },
		"callback address": func(c *hub.Charge) { c.CallbackURL = "" },
		"reference":        func(c *hub.Charge) { c.Reference = "" },
		"DR Congo":         func(c *hub.Charge) { c.Phone = "24174111111" },
		"phone number":     func(c *hub.Charge) { c.Phone = "" },
	} {
		bad := charge
		change(&bad)
		_, err := d.client().Initiate(t.Context(), bad)
		if got := rejected(t, err); !strings.Contains(got, want) {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
	if len(d.asked) != asked {
		t.Error("FlexPay was asked what it must not be")
	}
}

// Trap 8: what has no clear answer may have been done.
func TestAmbiguousInitiate(t *testing.T) {
	const number = "kW3pQz81243815550148"
	for _, c := range []struct {
		status      int
		answer, ref string
	}{
		{500, yes, number}, {500, `{"code":"1","message":"x"}`, ""}, {401, `{"code":"1"}`, ""}, {403, ``, ""}, {429, `{"code":"1"}`, ""}, {302, yes, number},
		{0, `{"code":"0","message":"x"}`, ""}, {0, `{"code":"0","orderNumber":"a/../b"}`, ""},
		{0, `{"code":"1","message":"x","orderNumber":"kW3pQz81243815550148"}`, number}, {0, `{"code":"2","orderNumber":"kW3pQz81243815550148"}`, number},
		{0, `{"message":"x"}`, ""}, {0, `<html>`, ""}, {0, ``, ""}, {0, `{"code":"0","orderNumber":"kW3`, ""},
	} {
		d := newDesk(t)
		d.status = c.status
		d.says("paymentService", c.answer)
		_, err := d.client().Initiate(t.Context(), charge)
		ambiguous(t, err, c.ref)
		if len(d.asked) != 1 {
			t.Errorf("%d %s: asked %d times", c.status, c.answer, len(d.asked))
		}
	}
}

func TestNotSent(t *testing.T) {
	d := newDesk(t)
	c := d.client()
	d.Close()
	if _, err := c.Initiate(t.Context(), charge); !errors.Is(err, hub.ErrNotSent) {
		t.Error(err)
	}
	token := "x"
	c = d.client(func(o *flexpay.Options) { o.Token = func() string { return token } })
	token = "" // its file is empty after a rotation that went wrong
	if _, err := c.Payout(t.Context(), payout); !errors.Is(err, hub.ErrNotSent) {
		t.Error(err)
	}
}

// Traps 1, 3, 4, 6 and 11: code says found, status says what.
func TestLookup(t *testing.T) {
	for fields, want := range map[string]hub.PaymentState{
		`"status":"0","channel":"mpesa"`: hub.PaymentSucceeded,
		`"status":0,"channel":"MPESA"`:   hub.PaymentSucceeded,
		`"status":"1","channel":"x"`:     hub.PaymentFailed,
		`"status":"2","channel":"x"`:     hub.PaymentPending,
		`"status":"3","channel":"x"`:     hub.PaymentRefunding,
		`"status":"4","channel":"x"`:     hub.PaymentRefunded,
		`"status":"5","channel":"x"`:     hub.PaymentCanceled,
		`"status":"6","channel":"x"`:     hub.PaymentPending,
		`"status":"","channel":"x"`:      hub.PaymentPending,
		`"channel":"x"`:                  hub.PaymentPending,
		`"status":null,"Status":"0"`:     hub.PaymentPending,
		`"status":"00"`:                  hub.PaymentPending,
	} {
		d := newDesk(t)
		d.says("check", found(fields))
		got, err := d.client().Lookup(t.Context(), paid)
		if err != nil || !got.Found || got.State != want {
			t.Errorf("%s: %+v, %v, want %s", fields, got, err, want)
			continue
		}
		if got.Amount != (zonegate.Money{Amount: 70000, Currency: "CDF"}) || got.CustomerAmount != (zonegate.Money{Amount: 71400, Currency: "CDF"}) ||
			got.Reference != "ZG7F3K1" || got.ProviderRef != paid.ProviderRef {
			t.Errorf("%s: %+v", fields, got)
		}
		if d.last() != "GET /api/rest/v1/check/kW3pQz81243815550148 Bearer t0ken " {
			t.Errorf("asked %s", d.last())
		}
		if strings.Contains(got.Raw, "243815550148") || got.Raw == "" {
			t.Errorf("raw is %s", got.Raw)
		}
	}
}

// Trap 7: not found is pending.
func TestNotFound(t *testing.T) {
	d := newDesk(t)
	d.says("check", `{"code":"1","message":"Rien sous ce numéro","transaction":null}`)
	for _, status := range []int{200, 404} {
		d.status = status
		if got, err := d.client().Lookup(t.Context(), paid); err != nil || got.Found || got.State != hub.PaymentPending {
			t.Errorf("%+v, %v", got, err)
		}
	}
	// Trap 8: without an order number nobody can be asked; with one that is a
	// path (from a callback of anybody's) nobody is.
	asked := len(d.asked)
	for _, ref := range []string{"", "  ", "..", "a/b", "a?b", "%2e%2e", strings.Repeat("x", 200)} {
		if got, err := d.client().Lookup(t.Context(), hub.Payment{ProviderRef: ref, Reference: "ZG7F3K1"}); err != nil || got.Found || got.State != hub.PaymentPending {
			t.Errorf("%q: %+v, %v", ref, got, err)
		}
	}
	if len(d.asked) != asked {
		t.Errorf("asked %s", d.last())
	}
}

// Trap 5: the number is trimmed, and escaped where it stands in the path.
func TestOrderNumberInThePath(t *testing.T) {
	d := newDesk(t)
	d.says("check", found(`"status":"0"`))
	if _, err := d.client().Lookup(t.Context(), hub.Payment{ProviderRef: " SQe+é "}); err != nil {
		t.Error(err)
	}
	if want := "GET /api/rest/v1/check/SQe+%C3%A9 "; !strings.HasPrefix(d.last(), want) {
		t.Errorf("asked %s", d.last())
	}
}

// What cannot be read is no state at all.
func TestUnreadableLookup(t *testing.T) {
	for _, c := range []struct {
		status int
		answer string
	}{
		{0, `{"code":"0","transaction":null}`}, {0, `{"code":"1","transaction":{"status":"0"}}`}, {0, `{"code":"5","transaction":null}`},
		{0, `{"transaction":{"status":"0","amount":"1","currency":"CDF"}}`}, {0, found(`"status":"0","orderNumber":"another1"`)},
		{0, strings.Replace(found(`"status":"0"`), "700.0", "700.005", 1)}, {0, strings.Replace(found(`"status":"0"`), "700.0", "1e9", 1)},
		{0, strings.Replace(found(`"status":"0"`), `"CDF"`, `""`, 1)}, {0, found(`"status":"0"`)[:90]}, {0, `<html>`},
		{500, found(`"status":"0"`)}, {401, found(`"status":"1"`)}, {429, `{"code":"1","transaction":null}`}, {301, ""},
	} {
		d := newDesk(t)
		d.status = c.status
		d.says("check", c.answer)
		got, err := d.client().Lookup(t.Context(), paid)
		if err == nil || got != (hub.Observation{}) {
			t.Errorf("%d %s: %+v, %v", c.status, c.answer, got, err)
		}
	}
	// Another currency is readable: hub sees that it is another.
	d := newDesk(t)
	d.says("check", strings.Replace(found(`"status":"0"`), "CDF", "EUR", 1))
	if got, err := d.client().Lookup(t.Context(), paid); err != nil || got.State != hub.PaymentSucceeded || got.Amount != (zonegate.Money{Currency: "EUR"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

var payout = hub.PayoutOrder{Reference: "ZGP1", Phone: "243815550148", Amount: zonegate.Money{Amount: 50, Currency: "USD"}, ProviderRef: "sV9243815550148",
	CallbackURL: "https://hub.example/callbacks/flexpay"}

func TestPayout(t *testing.T) {
	d := newDesk(t)
	d.says("merchantPayOutService", `{"code":"0","message":"Demande reçue.","orderNumber":" sV9243815550148"}`)
	c := d.client()
	got, err := c.Payout(t.Context(), payout)
	if err != nil || got.State != hub.PayoutProcessing || got.Definitive || got.ProviderRef != "sV9243815550148" {
		t.Errorf("%+v, %v", got, err)
	}
	if want := `"amount":"0.50","currency":"USD"`; !strings.Contains(d.last(), want) || !strings.HasPrefix(d.last(), "POST /api/rest/v1/merchantPayOutService Bearer t0ken ") {
		t.Errorf("asked %s", d.last())
	}
	d.says("merchantPayOutService", `{"code":"1","message":"Solde insuffisant"}`)
	_, err = c.Payout(t.Context(), payout)
	rejected(t, err)
	d.says("merchantPayOutService", `{"code":"9"}`)
	_, err = c.Payout(t.Context(), payout)
	ambiguous(t, err, "")
	if len(d.asked) != 3 {
		t.Errorf("asked %d times for three", len(d.asked))
	}
}

func TestLookupPayout(t *testing.T) {
	answer := func(reference, amount, currency, status string) string {
		return `{"code":"0","transaction":{"reference":"` + reference + `","amount":"` + amount + `","amountCustomer":"0.51","currency":"` + currency + `","status":"` + status + `"}}`
	}
	for _, c := range []struct {
		answer     string
		state      hub.PayoutState
		definitive bool
	}{
		{answer("ZGP1", "0.5", "USD", "0"), hub.PayoutCompleted, true},
		{answer("ZGP1", "0.5", "USD", "1"), hub.PayoutFailed, true},
		{answer("ZGP1", "0.5", "USD", "5"), hub.PayoutFailed, true},
		{answer("ZGP1", "0.5", "USD", "2"), hub.PayoutProcessing, false},
		{answer("ZGP1", "0.5", "USD", "3"), hub.PayoutProcessing, false},
		{answer("ZGP1", "0.5", "USD", "4"), hub.PayoutProcessing, false},
		{answer("ZGP1", "0.5", "USD", "7"), hub.PayoutProcessing, false},
		{answer("ZGP2", "0.5", "USD", "1"), hub.PayoutProcessing, false},
		{answer("", "0.5", "USD", "1"), hub.PayoutProcessing, false},
		{answer("ZGP1", "0.51", "USD", "0"), hub.PayoutProcessing, false},
		{answer("ZGP1", "0.5", "CDF", "0"), hub.PayoutProcessing, false},
		{`{"code":"1","transaction":null}`, hub.PayoutProcessing, false},
	} {
		d := newDesk(t)
		d.says("check", c.answer)
		got, err := d.client().LookupPayout(t.Context(), payout)
		if err != nil || got.State != c.state || got.Definitive != c.definitive {
			t.Errorf("%s: %+v, %v", c.answer, got, err)
		}
	}
	d := newDesk(t)
	d.says("check", "<html>")
	if got, err := d.client().LookupPayout(t.Context(), payout); err == nil {
		t.Errorf("%+v", got)
	}
	unknown := payout
	unknown.ProviderRef = ""
	if got, err := d.client().LookupPayout(t.Context(), unknown); err != nil || got.State != hub.PayoutProcessing || got.Definitive {
		t.Errorf("%+v, %v", got, err)
	}
}

// Trap 2: a callback claims, and names what to look up.
func TestReadCallback(t *testing.T) {
	c := newDesk(t).client()
	json := map[string][]string{"Content-Type": {"application/json"}}
	form := map[string][]string{"Content-Type": {"application/x-www-form-urlencoded"}}
	for _, k := range []struct {
		header, query map[string][]string
		body          string
		want          hub.Hint
	}{
		{json, nil, `{"code":"1","reference":"ZG7F3K1","amount":"100.0","phone":"243815550148","orderNumber":" UBG1 ","provider_reference":""}`, hub.Hint{Reference: "ZG7F3K1", ProviderRef: "UBG1"}},
		{json, nil, `{"code":"0","reference":"ZGP1","orderNumer":"SQe1"}`, hub.Hint{Reference: "ZGP1", ProviderRef: "SQe1"}},
		{form, nil, `Code=0&Reference=ZG7F3K1&orderNumber=UBG1`, hub.Hint{Reference: "ZG7F3K1", ProviderRef: "UBG1"}},
		{nil, map[string][]string{"reference": {"ZG7F3K1"}}, ``, hub.Hint{Reference: "ZG7F3K1"}},
		{json, nil, `{"reference":"ZG7F3K1","orderNumber":"../../x"}`, hub.Hint{Reference: "ZG7F3K1"}},
	} {
		got, err := c.ReadCallback(k.header, k.query, []byte(k.body))
		if err != nil || got.Reference != k.want.Reference || got.ProviderRef != k.want.ProviderRef || strings.Contains(got.Raw, "243815550148") {
			t.Errorf("%s: %+v, %v", k.body, got, err)
		}
	}
	for _, body := range []string{"", "{}", "{", `{"code":"0"}`, `{"reference":"a","Reference":"b"}`} {
		if got, err := c.ReadCallback(json, nil, []byte(body)); err == nil {
			t.Errorf("%s: %+v", body, got)
		}
	}
}
