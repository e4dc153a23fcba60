package sandbox_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"zonegate/hub/contract"
	"zonegate/hub/sandbox"
	"zonegate/sync/api"
)

type world struct {
	*testing.T
	server   *httptest.Server
	contract *contract.Contract
}

func newWorld(t *testing.T, o sandbox.Options) *world {
	t.Helper()
	spec, err := os.ReadFile("../../sync/api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := contract.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t, httptest.NewServer(sandbox.New(o)), c}
	t.Cleanup(w.server.Close)
	return w
}

// An ask is a call and what it is answered with.
type ask struct {
	method, path, token, body, kind string
	secret                          string
	status                          int
	has                             string // stands in the answer
	into                            any
}

func (w *world) call(a ask) string {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), a.method, w.server.URL+a.path, strings.NewReader(a.body))
	if err != nil {
		w.Fatal(err)
	}
	if a.kind == "" && a.body != "" {
		a.kind = "application/json"
	}
	if a.kind != "" {
		r.Header.Set("Content-Type", a.kind)
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	if a.secret != "" {
		r.Header.Set(api.HeaderSecret, a.secret)
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		w.Fatal(err)
	}
	if got.StatusCode != a.status || !strings.Contains(string(body), a.has) {
		w.Errorf("%s %s: %d %s, want %d %s", a.method, a.path, got.StatusCode, body, a.status, a.has)
	}
	if a.into != nil {
		if err := json.Unmarshal(body, a.into); err != nil {
			w.Errorf("%s %s: %v: %s", a.method, a.path, err, body)
		}
	}
	if got.StatusCode < 300 && strings.HasPrefix(a.path, sandbox.Base) {
		if err := w.contract.Check(contract.Exchange{Method: a.method, URL: r.URL.String(), Header: r.Header, Body: []byte(a.body),
			Status: got.StatusCode, AnswerHeader: got.Header, Answer: body}); err != nil {
			w.Errorf("%s %s is not as documented: %v", a.method, a.path, err)
		}
	}
	return string(body)
}

const (
	u = "sandbox-user"
	a = "sandbox-admin"
)

func TestDocument(t *testing.T) {
	w := newWorld(t, sandbox.Options{PageSize: 2})
	var page api.Forfaits
	w.call(ask{method: "GET", path: "/api/v1/forfaits", status: 200, into: &page})
	first := page.Items[0]
	if page.Total != 5 || page.Page != 1 || page.Pages != 3 || len(page.Items) != 2 || first.Name != "Forfait Journalier" || first.PriceFCFA != 500 {
		t.Errorf("the first page is %+v", page)
	}
	w.call(ask{method: "GET", path: "/api/v1/forfaits?page=3", status: 200, into: &page})
	if len(page.Items) != 1 || page.Page != 3 {
		t.Errorf("the last page is %+v", page)
	}
	w.call(ask{method: "GET", path: "/api/v1/forfaits?page=4", status: 200, has: `"items":[]`})

	var begun, again api.Initiated
	body := `{"forfait_id":"` + first.ID + `","provider":"MTN_MOMO"}`
	w.call(ask{method: "POST", path: "/api/v1/payments/initiate", token: u, body: body, status: 201, into: &begun})
	w.call(ask{method: "POST", path: "/api/v1/payments/initiate", token: u, body: body, status: 201, into: &again})
	if begun.TransactionID == again.TransactionID || begun.PaymentURL != w.server.URL+"/kkiapay/pay/"+begun.TransactionID {
		t.Errorf("two payments: %+v %+v", begun, again)
	}
	status := "/api/v1/payments/" + begun.TransactionID + "/status"
	w.call(ask{method: "GET", path: status, token: u, status: 200, has: `{"status":"pending","amount_fcfa":500,"provider":"MTN_MOMO"}`})
	w.call(ask{method: "POST", path: "/api/v1/payments/webhook", secret: "sandbox-secret", body: `{"transaction_id":"` + begun.TransactionID + `"}`,
		status: 200, has: `{"status":"processed"}`})
	w.call(ask{method: "GET", path: status, token: u, status: 200, has: `"completed"`})
	w.call(ask{method: "PUT", path: "/_control/payments/" + again.TransactionID, body: `{"status":"failed","amount_fcfa":1}`, status: 204})
	w.call(ask{method: "GET", path: "/api/v1/payments/" + again.TransactionID + "/status", token: u, status: 200, has: `"failed","amount_fcfa":1`})

	var made api.Vouchers
	w.call(ask{method: "POST", path: "/api/v1/vouchers/generate", token: a, body: `{"n":50,"forfait_id":"` + first.ID + `","reseller_id":"r"}`, status: 201, into: &made})
	codes := map[string]bool{}
	for _, v := range made.Items {
		codes[v.Code] = true
		if !regexp.MustCompile(`^[A-Z0-9]{8}$`).MatchString(v.Code) || v.Status != "active" || v.ForfaitID != first.ID {
			t.Errorf("a voucher is %+v", v)
		}
	}
	if made.Total != 50 || len(codes) != 50 {
		t.Errorf("%d codes of %d", len(codes), made.Total)
	}

	// The sample that does not add up, and a month of our own by its rule.
	var s api.Summary
	w.call(ask{method: "GET", path: "/api/v1/billing/summary?reseller_id=r&month=2026-02", token: u, status: 200, into: &s})
	if s.TotalFCFA != 450000 || s.Split != (api.Split{ResellerFCFA: 218250, RGZFCFA: 218250, KKiaPayFeeFCFA: 6750}) || s.SessionsCount != 312 || s.Unallocated() != 6750 {
		t.Errorf("the sample is %+v", s)
	}
	w.call(ask{method: "GET", path: "/api/v1/billing/summary?reseller_id=r&month=" + time.Now().UTC().Format("2006-01"), token: u, status: 200,
		has: `"total_fcfa":500,"split":{"reseller_fcfa":243,"rgz_fcfa":243,"kkiapay_fee_fcfa":7},"sessions_count":1`})
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, sandbox.Options{})
	good := `{"forfait_id":"7b0e6f3c-5a0d-4f2b-9d0e-1c1f5e2f0001","provider":"MTN_MOMO"}`
	const initiate, generate, summary = "/api/v1/payments/initiate", "/api/v1/vouchers/generate", "/api/v1/billing/summary"
	for _, c := range []ask{
		{method: "POST", path: initiate, body: good, status: 401, has: `{"detail":"Not authenticated"}`},
		{method: "POST", path: initiate, token: "x", body: good, status: 401, has: `validate credentials`},
		{method: "POST", path: generate, token: u, body: `{}`, status: 403, has: `{"detail":`},
		{method: "POST", path: "/api/v1/payments/webhook", secret: "wrong", body: `{}`, status: 401, has: `{"detail":`},
		{method: "POST", path: initiate, token: u, body: good, kind: "application/x-www-form-urlencoded", status: 422, has: `"loc":["body"]`},
		{method: "POST", path: initiate, token: u, body: `{"forfait_id":"x"`, status: 422, has: `json_invalid`},
		{method: "POST", path: initiate, token: u, body: `{}`, status: 422, has: `{"type":"missing","loc":["body","forfait_id"],"msg":"Field required"}`},
		{method: "POST", path: initiate, token: u, body: `{"forfait_id":"x","provider":"MTN_MOMO"}`, status: 404, has: `{"detail":"Forfait not found"}`},
		{method: "POST", path: generate, token: a, body: `{"n":0,"forfait_id":"x","reseller_id":"r"}`, status: 422, has: `"n"`},
		{method: "POST", path: generate, token: a, body: `{"n":1,"forfait_id":"x","reseller_id":"r"}`, status: 404, has: `Forfait not found`},
		{method: "GET", path: "/api/v1/payments/x/status", token: u, status: 404, has: `{"detail":"Payment not found"}`},
		{method: "GET", path: summary, token: u, status: 422, has: `"reseller_id"`},
		{method: "GET", path: summary + "?reseller_id=r&month=2026-13", token: u, status: 422, has: `pattern`},
		{method: "GET", path: "/api/v1/forfaits?page=0", status: 422, has: `"page"`},
		{method: "PUT", path: "/api/v1/forfaits", status: 405, has: `{"detail":"Method Not Allowed"}`},
		{method: "GET", path: "/api/v1/gateway/events", status: 404, has: `{"detail":"Not Found"}`},
		{method: "PUT", path: "/_control/faults", body: `{"kind":"rain"}`, status: 422, has: `no fault`},
		{method: "DELETE", path: "/_control/forfaits/x", status: 404},
	} {
		w.call(c)
	}
}

func TestControl(t *testing.T) {
	w := newWorld(t, sandbox.Options{})
	// A plan that makes no sense is sent as it is.
	w.call(ask{method: "PUT", path: "/_control/forfaits", body: `[{"id":"x","price_fcfa":-1}]`, status: 204})
	w.call(ask{method: "PUT", path: "/_control/forfaits/x", body: `{"id":"x","price_fcfa":"7"}`, status: 204})
	w.call(ask{method: "PUT", path: "/_control/forfaits/y", body: `{"id":"y","price_fcfa":8}`, status: 204})
	list := ask{method: "GET", path: "/_control/state", status: 200, has: `"forfaits":[{"id":"x","price_fcfa":"7"},{"id":"y","price_fcfa":8}]`}
	w.call(list)
	w.call(ask{method: "DELETE", path: "/_control/forfaits/x", status: 204})
	w.call(ask{method: "PUT", path: "/_control/summaries/2026-03", body: `{"total_fcfa":10,"sessions_count":1}`, status: 204})
	w.call(ask{method: "GET", path: "/api/v1/billing/summary?reseller_id=r&month=2026-03", token: u, status: 200, has: `"total_fcfa":10`})
	list.has = `"forfaits":[{"id":"y","price_fcfa":8}]`
	w.call(list)
	w.call(ask{method: "GET", path: "/_control/", status: 200, has: "/_control/faults"})
}

func TestFaults(t *testing.T) {
	w := newWorld(t, sandbox.Options{})
	get := func(ctx context.Context) (int, string, error) {
		r, err := http.NewRequestWithContext(ctx, "GET", w.server.URL+"/api/v1/forfaits", nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, "", err
		}
		defer got.Body.Close()
		body, err := io.ReadAll(got.Body)
		return got.StatusCode, string(body), err
	}
	breaks := func(body string) { w.call(ask{method: "PUT", path: "/_control/faults", body: body, status: 204}) }
	mends := func() { w.call(ask{method: "DELETE", path: "/_control/faults", status: 204}) }

	breaks(`{"kind":"500","path":"/forfaits","times":2}`)
	breaks(`{"kind":"500","path":"/billing"}`)
	for _, want := range []int{500, 500, 200} {
		if status, _, err := get(t.Context()); status != want || err != nil {
			t.Errorf("got %d, %v, want %d", status, err, want)
		}
	}
	breaks(`{"kind":"half"}`)
	if status, body, err := get(t.Context()); err == nil || status != 200 || !strings.HasPrefix(body, `{"items":`) {
		t.Errorf("half a body: %d %q %v", status, body, err)
	}
	mends()
	for kind, want := range map[string]string{"null": `"price_fcfa":null`, "strings": `"price_fcfa":"500"`, "html": "<!doctype html>"} {
		breaks(`{"kind":"` + kind + `","times":1}`)
		if status, body, err := get(t.Context()); status != 200 || err != nil || !strings.Contains(body, want) {
			t.Errorf("%s: %d %q %v", kind, status, body, err)
		}
	}
	// What hangs ends with its caller's patience, or when it is mended.
	breaks(`{"kind":"hang"}`)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := get(ctx); err == nil {
		t.Error("what hangs was answered")
	}
	answered := make(chan int)
	go func() {
		status, _, _ := get(t.Context())
		answered <- status
	}()
	mends() // before or after the call has begun
	if status := <-answered; status != 200 {
		t.Errorf("after mending: %d", status)
	}
}
