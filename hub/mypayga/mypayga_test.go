package mypayga_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/mypayga"
)

func TestKeysAndOptions(t *testing.T) {
	good := mypayga.Options{BaseURL: "https://api.mypayga.com", Secret: func() string { return "sprod_k" }, Email: "zone@example.com"}
	c, err := mypayga.New(good)
	if err != nil {
		t.Fatal(err)
	}
	if caps := c.Caps(); caps.Country != "GA" || len(caps.Currencies) != 1 || caps.Currencies[0] != "XAF" || caps.FirstLook != 25*time.Second || !caps.NeedsPhone || caps.Test ||
		len(caps.Channels) != 1 || caps.Channels[0].Flow != hub.FlowPush {
		t.Errorf("%+v", caps)
	}
	key := func(k string) func(*mypayga.Options) {
		return func(o *mypayga.Options) { o.Secret = func() string { return k } }
	}
	for want, change := range map[string]func(*mypayga.Options){
		"base_url":        func(o *mypayga.Options) { o.BaseURL = "http://api.mypayga.com" },
		"card_url":        func(o *mypayga.Options) { o.CardURL = "ftp://x" },
		"key is empty":    key(""),
		"secret key is":   func(o *mypayga.Options) { o.Secret = nil },
		"is a test key":   key("stest_k"),
		"is a live one":   func(o *mypayga.Options) { o.Test = true },
		"is a public one": key("pprod_k"),
		"email":           func(o *mypayga.Options) { o.Email = "" },
		`channel "VISA"`: func(o *mypayga.Options) {
			o.Channels = []hub.ChannelCaps{{ID: "VISA", Name: "Visa", Flow: hub.FlowRedirect}}
		},
		"link_cancel_path": func(o *mypayga.Options) { o.LinkCancelPath = "../x?y" },
	} {
		bad := good
		change(&bad)
		if _, err := mypayga.New(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	// A key is read at each call; one of the wrong kind is never used.
	d := newDesk(t).says(detailPath, detail)
	now := "sprod_one"
	c = d.client(func(o *mypayga.Options) { o.Secret = func() string { return now } })
	for _, now = range []string{"sprod_one", "sprod_two"} {
		if _, err := c.Lookup(t.Context(), paid); err != nil || d.last().query.Get("apikey") != now {
			t.Errorf("asked %+v, %v", d.last(), err)
		}
	}
	asked := len(d.calls())
	for _, now = range []string{"", "stest_x", "ptest_x"} {
		if _, err := c.Payout(t.Context(), hub.PayoutOrder{Phone: "24174654326", Amount: zonegate.Money{Amount: 1, Currency: "XAF"}}); !errors.Is(err, hub.ErrNotSent) || len(d.calls()) != asked ||
			now != "" && strings.Contains(err.Error(), now) {
			t.Errorf("%q: %v", now, err)
		}
	}
}

// Trap 4: keys stand in queries, and never in errors.
func TestErrorsShowNoKey(t *testing.T) {
	d := newDesk(t).says(detailPath, "cut")
	c := d.client()
	_, cut := c.Lookup(t.Context(), paid)
	d.says(detailPath, `{"code":"sprod_k3y"}`)
	_, echo := c.Lookup(t.Context(), paid)
	d.Close()
	_, gone := c.Lookup(t.Context(), paid)
	for _, err := range []error{cut, echo, gone} {
		if err == nil || strings.Contains(err.Error(), "k3y") || strings.Contains(err.Error(), "apikey") {
			t.Errorf("%v", err)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add(detail)
	f.Add(pushed)
	f.Add(transferred)
	f.Add(`{"code":"400"}`)
	d := newDesk(f).says(hashPath, reserved)
	c := d.client()
	f.Fuzz(func(t *testing.T, answer string) {
		if answer == "cut" {
			return
		}
		d.says(pushPath, answer).says(detailPath, answer).says(transferredPath, answer).says(transferPath, answer)
		if _, err := c.Initiate(t.Context(), charge); errors.Is(err, hub.ErrNotSent) {
			t.Errorf("%q: %v after a push", answer, err)
		}
		if seen, err := c.Lookup(t.Context(), paid); err == nil && seen.State == hub.PaymentSucceeded && (!strings.Contains(answer, "200") || seen.Amount.Amount < 0) {
			t.Errorf("%q shows %+v", answer, seen)
		}
		order := hub.PayoutOrder{Phone: "24174654326", Amount: zonegate.Money{Amount: 100, Currency: "XAF"}, ProviderRef: "x"}
		if got, err := c.Payout(t.Context(), order); err == nil && (got.ProviderRef == "" || got.Definitive) {
			t.Errorf("%q: %+v", answer, got)
		}
		if got, err := c.LookupPayout(t.Context(), order); err == nil && got.State == hub.PayoutCompleted {
			t.Errorf("%q: %+v", answer, got)
		}
	})
}
