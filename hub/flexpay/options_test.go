package flexpay_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"zonegate/hub"
	"zonegate/hub/flexpay"
)

func TestHostsOfTheirOwn(t *testing.T) {
	pay, check, out := newDesk(t), newDesk(t), newDesk(t)
	c := pay.client(func(o *flexpay.Options) {
		o.CheckURL, o.PayoutURL = check.URL+base, out.URL+strings.TrimRight(base, "/")
	})
	pay.says("paymentService", yes)
	check.says("check", found(`"status":"0"`))
	out.says("merchantPayOutService", yes)
	_, err1 := c.Initiate(t.Context(), charge)
	_, err2 := c.Lookup(t.Context(), paid)
	_, err3 := c.Payout(t.Context(), payout)
	if err := errors.Join(err1, err2, err3); err != nil || len(pay.asked) != 1 || len(check.asked) != 1 || len(out.asked) != 1 {
		t.Errorf("%v: %v %v %v", err, pay.asked, check.asked, out.asked)
	}
}

// A token is read at each call: a new one needs no restart.
func TestRotation(t *testing.T) {
	d := newDesk(t)
	d.says("check", found(`"status":"0"`))
	token := "one"
	c := d.client(func(o *flexpay.Options) { o.Token = func() string { return token } })
	for _, token = range []string{"one", "two"} {
		if _, err := c.Lookup(t.Context(), paid); err != nil || !strings.Contains(d.last(), "Bearer "+token) {
			t.Errorf("asked %s, %v", d.last(), err)
		}
	}
}

// Trap 12 and the other settings that are refused.
func TestOptions(t *testing.T) {
	good := flexpay.Options{PayURL: "https://backend.example/api/rest/v1", Merchant: "ZONE", Token: func() string { return "t" }}
	c, err := flexpay.New(good)
	if err != nil {
		t.Fatal(err)
	}
	if caps := c.Caps(); caps.Country != "CD" || len(caps.Currencies) != 2 || caps.FirstLook != 45*time.Second || !caps.NeedsPhone || caps.Test || len(caps.Channels) != 1 || caps.Channels[0].Flow != hub.FlowPush {
		t.Errorf("%+v", caps)
	}
	for want, change := range map[string]func(*flexpay.Options){
		"pay_url":        func(o *flexpay.Options) { o.PayURL = "http://backend.example/api" },
		"check_url":      func(o *flexpay.Options) { o.CheckURL = "http://check.example/" },
		"payout_url":     func(o *flexpay.Options) { o.PayoutURL = "ftp://x" },
		"merchant":       func(o *flexpay.Options) { o.Merchant = "" },
		"token is empty": func(o *flexpay.Options) { o.Token = func() string { return "" } },
		"the token":      func(o *flexpay.Options) { o.Token = nil },
		`currency "XOF"`: func(o *flexpay.Options) { o.Currencies = []string{"XOF"} },
		`channel "CARD_CD"`: func(o *flexpay.Options) {
			o.Channels = []hub.ChannelCaps{{ID: "CARD_CD", Name: "Carte", Flow: hub.FlowRedirect}}
		},
	} {
		bad := good
		change(&bad)
		if _, err := flexpay.New(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	lab := good
	lab.PayURL, lab.Plain, lab.Test = "http://10.9.0.1/api", true, true
	if c, err := flexpay.New(lab); err != nil || !c.Caps().Test {
		t.Error(err)
	}
}

func TestTestModeTakesAnyNumber(t *testing.T) {
	d := newDesk(t)
	d.says("paymentService", yes)
	odd := charge
	odd.Phone = "650121212"
	if _, err := d.client(func(o *flexpay.Options) { o.Test = true }).Initiate(t.Context(), odd); err != nil || !strings.Contains(d.last(), `"phone":"650121212"`) {
		t.Errorf("%s, %v", d.last(), err)
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add(yes)
	f.Add(found(`"status":"0"`))
	f.Add(`{"code":"1","message":"x","transaction":null}`)
	d := newDesk(f)
	c := d.client()
	f.Fuzz(func(t *testing.T, answer string) {
		d.says("paymentService", answer)
		d.says("check", answer)
		started, err := c.Initiate(t.Context(), charge)
		if err == nil && (started.ProviderRef == "" || !strings.Contains(answer, "0")) {
			t.Errorf("%q started %+v", answer, started)
		}
		seen, err := c.Lookup(t.Context(), paid)
		if err == nil && seen.State == hub.PaymentSucceeded && (!seen.Found || seen.Amount.Amount < 0) {
			t.Errorf("%q shows %+v", answer, seen)
		}
	})
}
