package sandbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"zonegate/hub/sandbox"
	"zonegate/sync/api"
)

// A bank is a sandbox in process, with a clock of the test's, that hears the
// callbacks.
type bank struct {
	*testing.T
	*sandbox.Server
	now   time.Time
	heard []heard
	// answers is what callbacks are answered.
	answers int
}

type heard struct {
	at     time.Time
	method string
	url    *url.URL
	header http.Header
	body   string
}

func newBank(t *testing.T, o sandbox.Options) *bank {
	t.Helper()
	b := &bank{T: t, now: time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC), answers: 200}
	o.Now, o.Transport = func() time.Time { return b.now }, b
	b.Server = sandbox.New(o)
	return b
}

// RoundTrip hears a callback.
func (b *bank) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	b.heard = append(b.heard, heard{b.now, r.Method, r.URL, r.Header, string(body)})
	return &http.Response{StatusCode: b.answers, Body: http.NoBody, Request: r}, nil
}

// pass lets time go by, from one thing that is due to the next.
func (b *bank) pass(d time.Duration) {
	end := b.now.Add(d)
	for {
		b.Step(b.Context())
		at, ok := b.Next()
		if !ok || at.After(end) {
			break
		}
		b.now = at
	}
	b.now = end
}

const host = "https://sandbox.test"

// do makes a call in process; what it got stands in the answer or the error.
func (b *bank) do(method, path string, header map[string]string, body string) (int, http.Header, string, error) {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), method, host+path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	got, err := b.Server.RoundTrip(r)
	if err != nil {
		return 0, nil, "", err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	return got.StatusCode, got.Header, string(text), err
}

// must is do that has to be answered with a status.
func (b *bank) must(status int, method, path string, header map[string]string, body string) string {
	b.Helper()
	got, _, text, err := b.do(method, path, header, body)
	if err != nil || got != status {
		b.Fatalf("%s %s: %d %s, %v, want %d", method, path, got, text, err, status)
	}
	return text
}

// form encodes pairs of names and values.
func form(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

var formType = map[string]string{"Content-Type": "application/x-www-form-urlencoded"}

func (b *bank) decode(text string, into any) {
	b.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		b.Fatalf("%v: %s", err, text)
	}
}

// alike says how two JSON texts differ in names, their order and kinds of
// values; values are not compared.
func alike(sample, got string) error {
	a, b := json.NewDecoder(strings.NewReader(sample)), json.NewDecoder(strings.NewReader(got))
	a.UseNumber()
	b.UseNumber()
	for {
		x, errA := a.Token()
		y, errB := b.Token()
		if errA == io.EOF && errB == io.EOF {
			return nil
		}
		if errA != nil || errB != nil {
			return fmt.Errorf("one ends: %v, %v", errA, errB)
		}
		if fmt.Sprintf("%T", x) != fmt.Sprintf("%T", y) {
			return fmt.Errorf("%v (%T) is %v (%T)", x, x, y, y)
		}
		if d, ok := x.(json.Delim); ok && d != y {
			return fmt.Errorf("%v is %v", x, y)
		}
	}
}

// names are the names in a JSON text in their order.
func names(text string) (out []string) {
	d := json.NewDecoder(strings.NewReader(text))
	var walk func()
	walk = func() {
		t, err := d.Token()
		if err != nil {
			return
		}
		switch t {
		case json.Delim('{'):
			for d.More() {
				k, _ := d.Token()
				out = append(out, k.(string))
				walk()
			}
			d.Token()
		case json.Delim('['):
			for d.More() {
				walk()
			}
			d.Token()
		}
	}
	walk()
	return out
}

// shaped fails unless an answer has the sample's names and kinds.
func (b *bank) shaped(what, sample, got string) {
	b.Helper()
	if err := alike(sample, got); err != nil || !slices.Equal(names(sample), names(got)) {
		b.Errorf("%s: %v\nwant the shape of %s\ngot               %s", what, err, sample, got)
	}
}

// sum adds up movements of one currency.
func sum(list []sandbox.Movement) (total api.Money) {
	for _, m := range list {
		total.Amount, total.Currency = total.Amount+m.Money.Amount, m.Money.Currency
	}
	return total
}

func TestFaultsInProcess(t *testing.T) {
	b := newBank(t, sandbox.Options{})
	login := func() (string, error) {
		_, _, text, err := b.do("POST", "/nelsius/api/auth/login", nil, `{"email":"reseller@example.com","password":"sandbox"}`)
		return text, err
	}
	whole, err := login()
	if err != nil || !strings.Contains(whole, `"token"`) {
		t.Fatalf("%s, %v", whole, err)
	}
	for kind, want := range map[string]string{sandbox.FaultDrop: "", sandbox.FaultHang: "", sandbox.FaultHalf: `{"success":true`} {
		if err := b.Break(sandbox.Fault{Kind: kind, Path: "/nelsius", Times: 1}); err != nil {
			t.Fatal(err)
		}
		if text, err := login(); err == nil || !strings.HasPrefix(text, want) || len(text) >= len(whole) {
			t.Errorf("%s: %q, %v", kind, text, err)
		}
	}
	b.Break(sandbox.Fault{Kind: sandbox.FaultRefuse, Path: "/sms", Times: 1})
	var op *net.OpError
	if _, _, _, err := b.do("GET", "/sms/send?"+form("phone", "1", "text", "x"), nil, ""); !errors.As(err, &op) || op.Op != "dial" || len(b.Messages("")) != 0 {
		t.Errorf("refused: %v", err)
	}
	b.Break(sandbox.Fault{Kind: sandbox.FaultHang, Path: "/sms", Times: 1})
	if _, _, _, err := b.do("GET", "/sms/send?"+form("phone", "1", "text", "x"), nil, ""); !errors.Is(err, os.ErrDeadlineExceeded) || len(b.Messages("")) != 1 {
		t.Errorf("hung: %v", err)
	}
	b.Break(sandbox.Fault{Kind: sandbox.FaultDelay, Times: 1}) // nothing waits on a test's clock
	b.Break(sandbox.Fault{Kind: sandbox.FaultStrings, Times: 1})
	for i, want := range []string{`"expires_in":3600`, `"expires_in":"3600"`, `"expires_in":3600`} {
		if text, err := login(); err != nil || !strings.Contains(text, want) {
			t.Errorf("%d: %s, %v", i, text, err)
		}
	}
	if err := b.Break(sandbox.Fault{Kind: sandbox.FaultLate, Wait: -1}); err == nil {
		t.Error("a wait below zero is a fault")
	}
}

func TestSeed(t *testing.T) {
	ids := func(seed uint64) string {
		b := newBank(t, sandbox.Options{Seed: seed})
		return b.must(200, "POST", "/flexpay/api/rest/v1/paymentService", flexAuth, flexBody("243815557848", "R1", "100", "CDF"))
	}
	seven, again, eight := ids(7), ids(7), ids(8)
	if drawn, anew := ids(0), ids(0); seven != again || seven == eight || drawn == anew {
		t.Error("ids do not follow the seed")
	}
}

func TestMessages(t *testing.T) {
	b := newBank(t, sandbox.Options{})
	b.must(200, "POST", "/sms/send", map[string]string{"Content-Type": "application/json"}, `{"to":"+22997000001","text":"one"}`)
	b.must(200, "POST", "/sms/send", formType, form("msisdn", "22997000001", "message", "two"))
	b.must(200, "GET", "/sms/send?"+form("phone", "0197000002", "text", "three"), nil, "")
	b.must(400, "POST", "/sms/send", formType, form("to", "1"))
	b.must(400, "POST", "/sms/send", map[string]string{"Content-Type": "application/json"}, `{"to":1`)
	var texts []string
	for _, m := range b.Messages("97000001") {
		texts = append(texts, m.Text)
	}
	if !slices.Equal(texts, []string{"one", "two"}) || len(b.Messages("")) != 3 {
		t.Errorf("%q of %d", texts, len(b.Messages("")))
	}
	b.Break(sandbox.Fault{Kind: sandbox.FaultDrop, Path: "/sms", Times: 1, Before: true})
	if _, _, _, err := b.do("GET", "/sms/send?"+form("phone", "1", "text", "lost"), nil, ""); err == nil || len(b.Messages("")) != 3 {
		t.Error("what was cut before it was done was done")
	}
	b.Break(sandbox.Fault{Kind: sandbox.FaultDrop, Path: "/sms", Times: 1})
	if _, _, _, err := b.do("GET", "/sms/send?"+form("phone", "1", "text", "sent"), nil, ""); err == nil || len(b.Messages("")) != 4 {
		t.Error("what was cut after it was done was not done")
	}
}

func TestControlOfProviders(t *testing.T) {
	b := newBank(t, sandbox.Options{Delay: -1})
	b.must(200, "POST", "/flexpay/api/rest/v1/paymentService", flexAuth, flexBody("243815557848", "R1", "100", "CDF"))
	b.must(200, "POST", "/flexpay/api/rest/v1/paymentService", flexAuth, flexBody("243815557849", "R2", "100", "CDF"))
	b.pass(time.Hour)
	if list := b.Open(); len(list) != 2 {
		t.Fatalf("%d wait", len(list))
	}
	page := b.must(200, "GET", "/_control/phones", nil, "")
	for _, c := range b.Open() {
		if at := `formaction="/_control/charges/` + c.ID; !strings.Contains(page, c.Phone) || !strings.Contains(page, at+`/approve"`) || !strings.Contains(page, at+`/refuse"`) {
			t.Error(page)
		}
	}
	b.must(204, "POST", "/_control/charges/R1/approve", formType, "")
	b.must(404, "POST", "/_control/charges/R1/approve", nil, "")
	b.must(204, "POST", "/_control/charges/R2/refuse", nil, `{"reason":"no"}`)
	if page = b.must(200, "GET", "/_control/phones", nil, ""); !strings.Contains(page, "Nothing waits") {
		t.Error(page)
	}
	b.must(404, "POST", "/_control/charges/R3/forge", nil, "")
	if text := b.must(200, "GET", "/_control/movements?reference=R1", nil, ""); !strings.Contains(text, `"money":{"amount":10000,"currency":"CDF"}`) {
		t.Error(text)
	}
	if text := b.must(200, "GET", "/_control/movements?reference=R2", nil, ""); text != `[]` {
		t.Error(text)
	}
	if text := b.must(200, "GET", "/_control/charges?open=1", nil, ""); text != `[]` {
		t.Error(text)
	}
	if text := b.must(200, "GET", "/_control/charges?reference=R2", nil, ""); !strings.Contains(text, `"state":"failed","reason":"no"`) {
		t.Error(text)
	}
	b.must(204, "PUT", "/_control/delay", nil, `{"ms":2000}`)
	b.must(204, "PUT", "/_control/quirks", nil, `{"flexpay_repeat":"refuse","kkiapay_state_data":"double"}`)
	b.must(422, "PUT", "/_control/quirks", nil, `{"flexpay_repeat":"maybe"}`)
	b.must(204, "PUT", "/_control/callbacks", nil, `{"mypayga":"https://hub.test/m"}`)
	b.must(204, "PUT", "/_control/nelsius", nil, `{"available":1000,"kyc":"basic"}`)
	b.must(422, "PUT", "/_control/nelsius", nil, `{"available":1000,"kyc":"a friend"}`)
	if text := b.must(200, "GET", "/_control/state", nil, ""); !strings.Contains(text, `"flexpay_repeat":"refuse"`) || !strings.Contains(text, `"available":1000`) {
		t.Error(text)
	}
	b.must(200, "POST", "/flexpay/api/rest/v1/paymentService", flexAuth, flexBody("243815557848", "R4", "100", "CDF"))
	b.pass(time.Second)
	if len(b.Charged("R4")) != 0 {
		t.Error("the customer was too quick")
	}
	b.pass(time.Second)
	if got := sum(b.Charged("R4")); got != (api.Money{Amount: 10000, Currency: "CDF"}) {
		t.Errorf("charged %v", got)
	}
	if text := sandbox.NumbersHelp(); !strings.Contains(text, "074131313") || !strings.Contains(text, "0003") || !strings.Contains(text, "4285220922286457") {
		t.Error(text)
	}
}

// Every kind of fault is in the help.
func TestHelp(t *testing.T) {
	for _, kind := range []string{sandbox.FaultError, sandbox.FaultHalf, sandbox.FaultHang, sandbox.FaultNull, sandbox.FaultStrings, sandbox.FaultNumbers,
		sandbox.FaultPage, sandbox.FaultDrop, sandbox.FaultRefuse, sandbox.FaultDelay, sandbox.FaultPrinted, sandbox.FaultMissing, sandbox.FaultAmount, sandbox.FaultCurrency,
		sandbox.FaultForged, sandbox.FaultLost, sandbox.FaultDouble, sandbox.FaultLate, sandbox.FaultReorder} {
		if !strings.Contains(sandbox.Help, kind) {
			t.Errorf("no word of %q", kind)
		}
	}
}
