package central

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"zonegate"
	"zonegate/sync/api"
)

func TestClaim(t *testing.T) {
	h := newFakeHub(t)
	z := joined(t, h)
	const code = "0000-0000"
	if !zonegate.WellFormedCode(code) {
		t.Fatal("the test's code is not one of ours")
	}
	phone := zonegate.MAC{2, 0, 0xcc, 0, 0, 1}
	other := zonegate.MAC{2, 0, 0xcc, 0, 0, 2}
	_, wrongKey, _ := ed25519.GenerateKey(nil)
	reply := func(key ed25519.PrivateKey, p api.Push, body any) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			p.Body, _ = json.Marshal(body)
			s, err := api.Sign(key, p)
			if err != nil {
				t.Error(err)
			}
			json.NewEncoder(w).Encode(s)
		}
	}
	grant := func(d zonegate.MAC) api.GrantIssued {
		return api.GrantIssued{Grant: "roaming-1", Plan: hubPlan("jour", 1), Device: d.String()}
	}
	asked := 0
	var answer func(http.ResponseWriter)
	h.on(api.PathClaims, func(w http.ResponseWriter, r *http.Request) bool {
		var c api.Claim
		if json.NewDecoder(r.Body).Decode(&c) != nil || c.Code != "00000000" || c.Device != phone.String() {
			t.Errorf("claim: %+v", c)
		}
		asked++
		answer(w)
		return true
	})
	if err := z.central.Claim(t.Context(), "00000001", phone, ""); !errors.Is(err, zonegate.ErrWrongCode) || asked != 0 {
		t.Fatalf("a typing error: %v, asked %d times", err, asked)
	}
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter)
		want   error // nil is any
	}{
		"unknown":            {func(w http.ResponseWriter) { problem(w, 404, api.Problem{Code: api.CodeNotFound}) }, zonegate.ErrForeignCode},
		"used":               {func(w http.ResponseWriter) { problem(w, 409, api.Problem{Code: api.CodeUsed}) }, zonegate.ErrUsedCode},
		"expired":            {func(w http.ResponseWriter) { problem(w, 410, api.Problem{Code: api.CodeExpired}) }, zonegate.ErrExpiredCode},
		"revoked":            {func(w http.ResponseWriter) { problem(w, 403, api.Problem{Code: api.CodeRevoked}) }, zonegate.ErrRevokedCode},
		"down":               {func(w http.ResponseWriter) { problem(w, 503, api.Problem{}) }, ErrAway},
		"broken":             {func(w http.ResponseWriter) { io.WriteString(w, "{") }, ErrAway},
		"forged":             {reply(wrongKey, api.Push{Site: siteID, Kind: api.KindGrant}, grant(phone)), api.ErrForged},
		"for another site":   {reply(h.key, api.Push{Site: "x", Kind: api.KindGrant}, grant(phone)), api.ErrForged},
		"for another device": {reply(h.key, api.Push{Site: siteID, Kind: api.KindGrant}, grant(other)), nil},
		"another kind":       {reply(h.key, api.Push{Site: siteID, Kind: api.KindRevoked}, api.GatewayRevoked{}), nil},
		"a push of the row":  {reply(h.key, api.Push{Seq: 9, Site: siteID, Kind: api.KindGrant}, grant(phone)), nil},
	} {
		h.set(func() { answer = c.answer })
		err := z.central.Claim(t.Context(), code, phone, "")
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if st := z.gate.Standing(phone); st.Grant != nil {
		t.Fatalf("something of it was taken: %+v", st)
	}
	h.set(func() { answer = reply(h.key, api.Push{Site: siteID, Kind: api.KindGrant}, grant(phone)) })
	for range 2 { // repeated it is the same purchase
		if err := z.central.Claim(t.Context(), code, phone, ""); err != nil {
			t.Fatal(err)
		}
		if st := z.gate.Standing(phone); st.Grant == nil || len(st.Queue) != 0 {
			t.Fatalf("after the claim: %+v", st)
		}
	}
	z.stopCentral()
	if err := z.central.Claim(t.Context(), code, phone, ""); !errors.Is(err, ErrAway) {
		t.Fatalf("without the hub: %v", err)
	}
}

func TestPayments(t *testing.T) {
	h := newFakeHub(t)
	z := joined(t, h)
	const intent = "00112233445566778899aabbccddeeff"
	h.set(func() {
		h.misbehave = func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case strings.HasSuffix(r.URL.Path, api.PathIntents) && r.Method == http.MethodPost:
				var in api.Intent
				json.NewDecoder(r.Body).Decode(&in)
				w.WriteHeader(http.StatusCreated)
				json.NewEncoder(w).Encode(api.Payment{IntentID: in.IntentID, Status: "pending", Flow: "push"})
			case strings.HasSuffix(r.URL.Path, api.PathIntents+"/"+intent):
				json.NewEncoder(w).Encode(api.Payment{IntentID: intent, Status: "completed"})
			case strings.Contains(r.URL.Path, api.PathIntents):
				json.NewEncoder(w).Encode(api.Payment{IntentID: intent, Status: "completed"})
			default:
				return false
			}
			return true
		}
	})
	p, err := z.central.StartPayment(t.Context(), api.Intent{IntentID: intent, Plan: "jour", PlanVersion: 1, Provider: "MTN_MOMO"})
	if err != nil || p.Status != "pending" {
		t.Fatalf("%+v, %v", p, err)
	}
	if p, err = z.central.Payment(t.Context(), intent); err != nil || p.Status != "completed" {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err := z.central.Payment(t.Context(), "another/../x"); err == nil {
		t.Fatal("the answer about another payment was taken")
	}
}

func TestRGZPayments(t *testing.T) {
	h := newFakeHub(t)
	body, status := "", http.StatusCreated
	h.set(func() {
		h.misbehave = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Authorization") != "Bearer jwt" {
				t.Error("no token")
			}
			if r.Method == http.MethodPost {
				sent, _ := io.ReadAll(r.Body)
				if string(sent) != `{"forfait_id":"f","provider":"MTN_MOMO"}` || r.Header.Get("Content-Type") != "application/json" {
					t.Errorf("sent is %s", sent)
				}
			}
			w.WriteHeader(status)
			io.WriteString(w, body)
			return true
		}
	})
	r := &RGZ{Endpoint: h.endpoint(), Clock: newClock(day, true)}
	start := func() (api.Initiated, error) {
		return r.Initiate(t.Context(), "jwt", api.Initiate{ForfaitID: "f", Provider: "MTN_MOMO"})
	}
	for text, ok := range map[string]bool{
		`{"payment_url":"https://kkiapay.me/pay/1","transaction_id":"u-1"}`:                  true,
		`{"redirect_url":"https://kkiapay.me/pay/1","payment_id":"u-1","session_token":"x"}`: true,
		`{"payment_url":"javascript:alert(1)","transaction_id":"u-1"}`:                       false,
		`{"payment_url":"http://kkiapay.me/pay/1","transaction_id":"u-1"}`:                   false,
		`{"payment_url":"https://kkiapay.me/pay/1"}`:                                         false,
		`{"payment_url":"https://kkiapay.me/pay/1","transaction_id":"a b"}`:                  false,
		`{"payment_url":`: false,
	} {
		h.set(func() { body = text })
		got, err := start()
		if ok != (err == nil) || ok && (got.TransactionID != "u-1" || got.PaymentURL != "https://kkiapay.me/pay/1") {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if err != nil && NotSent(err) {
			t.Errorf("%s: said to be not sent", text)
		}
	}
	h.set(func() { body, status = `{"status":"completed","amount_fcfa":"5000","provider":"MTN_MOMO"}`, 200 })
	if p, err := r.PaymentStatus(t.Context(), "jwt", "u-1"); err != nil || p.Status != "completed" || p.AmountFCFA != 5000 {
		t.Fatalf("%+v, %v", p, err)
	}
	h.set(func() { status = 500 })
	if _, err := start(); err == nil || NotSent(err) {
		t.Fatalf("a 500: %v", err)
	}
	// What certainly never reached the server may be sent again.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	l.Close()
	r.URL = "https://" + at + "/api/v1"
	if _, err := start(); !NotSent(err) {
		t.Fatalf("nobody listens: %v", err)
	}
	r = &RGZ{Endpoint: h.endpoint(), Clock: newClock(day.AddDate(5, 0, 0), true)}
	if _, err := start(); !NotSent(err) {
		t.Fatalf("a wrong certificate: %v", err)
	}
}
