package kkiapay_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate/hub"
	"zonegate/hub/kkiapay"
	"zonegate/hub/sandbox"
)

// A played KKiaPay with the test's clock, which hears what it calls back.
type played struct {
	*sandbox.Server
	mu    sync.Mutex
	now   time.Time
	heard []*http.Request
}

func (p *played) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = append(p.heard, r)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}

func (p *played) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// passes lets time go by and returns the hints of what was called back.
func (p *played) passes(t *testing.T, d time.Duration, c *kkiapay.Client) []hub.Hint {
	t.Helper()
	p.mu.Lock()
	p.now, p.heard = p.now.Add(d), nil
	p.mu.Unlock()
	p.Step(t.Context())
	p.mu.Lock()
	defer p.mu.Unlock()
	var hints []hub.Hint
	for _, r := range p.heard {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		hint, err := c.ReadCallback(r.Header, r.URL.Query(), body)
		if err != nil {
			t.Fatal(err)
		}
		hints = append(hints, hint)
	}
	return hints
}

func TestPlayedPage(t *testing.T) {
	for _, quirk := range []sandbox.Quirks{{}, {StateData: sandbox.StateString}, {StateData: sandbox.StateDouble, HMAC: true}} {
		p := &played{now: time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)}
		p.Server = sandbox.New(sandbox.Options{Now: p.clock, Transport: p, Delay: time.Second, Quirks: quirk,
			KKiaPay: sandbox.KKiaPayOptions{WebhookURL: "https://hub.test/callbacks/kkiapay"}})
		server := httptest.NewServer(p)
		defer server.Close()
		c, err := kkiapay.New(kkiapay.Options{BaseURL: server.URL + sandbox.KKiaPayBase, WidgetURL: server.URL + sandbox.KKiaPayBase, Public: is("sandbox-public"),
			Private: is("sandbox-private"), Secret: is("sandbox-secret"), WebhookSecret: is("sandbox-webhook"), WebhookHMAC: quirk.HMAC, Test: true, Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		begun, err := c.Initiate(t.Context(), charge)
		if err != nil {
			t.Fatal(err)
		}

		// A browser sees the form with the number.
		got, err := http.Get(begun.URL)
		if err != nil {
			t.Fatal(err)
		}
		page, _ := io.ReadAll(got.Body)
		got.Body.Close()
		if got.StatusCode != 200 || !strings.Contains(string(page), "500 FCFA") || !strings.Contains(string(page), "0197123456") {
			t.Errorf("the page is %d %s", got.StatusCode, page)
		}

		// The first attempt fails, which does not end the payment; the second is
		// another transaction of the same reference.
		failed, err := p.Pay(begun.URL, "0197120002")
		if err != nil {
			t.Fatal(err)
		}
		mine := hub.Payment{Reference: charge.Reference, Price: charge.Amount, Paid: charge.Amount}
		for _, hint := range p.passes(t, time.Hour, c) {
			if hint.Reference != charge.Reference || hint.ProviderRef != failed {
				t.Errorf("%+v", hint)
			}
			mine.ProviderRef = hint.ProviderRef
			if o, err := c.Lookup(t.Context(), mine); err != nil || o.Found || o.State != hub.PaymentPending || o.Reason == "" {
				t.Errorf("failed: %+v, %v", o, err)
			}
		}
		second, err := p.Pay(begun.URL, "0197123456")
		if err != nil {
			t.Fatal(err)
		}
		mine.ProviderRef = second
		if o, err := c.Lookup(t.Context(), mine); err != nil || !o.Found || o.State != hub.PaymentPending || o.Reference != charge.Reference {
			t.Errorf("under way: %+v, %v", o, err)
		}
		hints := p.passes(t, time.Second, c)
		if len(hints) != 1 || hints[0].ProviderRef != second || hints[0].Reference != charge.Reference {
			t.Errorf("%+v", hints)
		}
		if o, err := c.Lookup(t.Context(), mine); err != nil || o.State != hub.PaymentSucceeded || o.Amount != charge.Amount || o.Reference != charge.Reference || len(p.Charged(second)) != 1 {
			t.Errorf("paid: %+v, %v", o, err)
		}

		// Back it goes, once.
		order := hub.RefundOrder{Payment: mine, Amount: mine.Paid}
		if o, err := c.CreateRefund(t.Context(), order); err != nil || o.State != hub.PaymentRefunding {
			t.Errorf("%+v, %v", o, err)
		}
		if o, err := c.LookupRefund(t.Context(), order); err != nil || !o.Definitive || o.State != hub.PaymentRefunded || len(p.Refunded(second)) != 1 {
			t.Errorf("%+v, %v", o, err)
		}
		var no *hub.RejectedError
		if _, err := c.CreateRefund(t.Context(), order); !errors.As(err, &no) || len(p.Refunded(second)) != 1 {
			t.Errorf("%v", err)
		}
		mine.ProviderRef = "unknown123"
		if o, err := c.Lookup(t.Context(), mine); err != nil || o.Found {
			t.Errorf("%+v, %v", o, err)
		}
	}
}
