package mypayga_test

import (
	"errors"
	"testing"

	"zonegate/hub"
	"zonegate/hub/mypayga"
)

func TestFees(t *testing.T) {
	d := newDesk(t).says("/mpayment/getFees", `{"message":"Request OK.","statusRequest":200,"fees":{"merchand_custom_fees":"0.0175","standard_fees":"0.0175",
		"platform_fees":"0","bank_fees":"0.01","fees_source":"merchant","short_partner":"AM","cty_partner":"GA","currency":"CFA"}}`)
	got, err := d.client().Fees(t.Context(), "AM")
	if want := (mypayga.Fees{Merchant: "0.0175", Standard: "0.0175", Platform: "0", Bank: "0.01", Source: "merchant"}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if a := d.last(); a.query.Get("ope") != "AM" || a.query.Get("country") != "GA" {
		t.Errorf("asked %+v", a)
	}
	for _, answer := range []string{`{"statusRequest":200}`, `{"statusRequest":"400","message":"x"}`, `{}`} {
		if got, err := newDesk(t).says("/mpayment/getFees", answer).client().Fees(t.Context(), "AM"); err == nil {
			t.Errorf("%s: %+v", answer, got)
		}
	}
}

func TestLinks(t *testing.T) {
	const page = "https://mypayga.com/payment/sharedLink/pay?token_url=spjzioguifKmzsaFjNYliv"
	d := newDesk(t).says("/payment/generateLink", `{"message":"Link created","code":200,"link":{"order_ref":"s-8mpfjiSj","description":"Test lien API","email":"contact@gmail.com",
		"phone":"074101112","expired":0,"paid":0,"url":"`+page+`"}}`)
	c := d.client()
	got, err := c.GenerateLink(t.Context(), charge)
	if err != nil || got != (mypayga.Link{Ref: "s-8mpfjiSj", URL: page}) || d.last().body.Get("phone") != "074151522" || d.last().body.Get("amount") != "100" {
		t.Errorf("%+v, %v", got, err)
	}
	d.says("/payment/getLink/Re9W4HbO", `{"message":"Link created","created_at":"2021-11-18 22:20:17","link":{"ref":"Re9W4HbO","description":"Test lien API",
		"email":"contact@minerve-tech.com","phone":"074112233","expired":1,"final_status":"400","url":"`+page+`"}}`)
	if got, err := c.GetLink(t.Context(), "Re9W4HbO"); err != nil || got != (mypayga.Link{Ref: "Re9W4HbO", URL: page, Expired: true}) || d.last().method != "POST" || d.last().query.Get("apikey") != "sprod_k3y" {
		t.Errorf("%+v, %v", got, err)
	}
	// Trap 14: two paths.
	gone := `{"message":"Link updated : Changed to Expired","code":200,"link":"Re9W4HbO3aZr4A1cxy0v"}`
	d.says("/payment/linkCancel/a b", gone).says("/mpayment/linkCancel/x", gone)
	if err := c.CancelLink(t.Context(), "a b"); err != nil || d.last().method != "GET" || d.last().path != "/payment/linkCancel/a%20b" {
		t.Errorf("%+v, %v", d.last(), err)
	}
	if err := d.client(func(o *mypayga.Options) { o.LinkCancelPath = "/mpayment/linkCancel" }).CancelLink(t.Context(), "x"); err != nil || d.last().path != "/mpayment/linkCancel/x" {
		t.Errorf("%+v, %v", d.last(), err)
	}
	d.says("/payment/linkCancel/x", `{"code":"400","message":"Link not found"}`)
	rejected(t, c.CancelLink(t.Context(), "x"))
	rejected(t, c.CancelLink(t.Context(), ".."))
	// A browser is sent to web pages alone.
	for _, address := range []string{"javascript:alert(1)", "http://mypayga.com/x", ""} {
		d.says("/payment/generateLink", `{"code":200,"link":{"order_ref":"s","url":"`+address+`"}}`)
		if got, err := c.GenerateLink(t.Context(), charge); err == nil {
			t.Errorf("%+v", got)
		}
	}
}

func TestCardForm(t *testing.T) {
	d := newDesk(t).says(hashPath, reserved)
	form, got, err := d.client(func(o *mypayga.Options) { o.Public = func() string { return "pprod_p" } }).CardForm(t.Context(), charge)
	if err != nil || got != token || form.URL != "https://www.mypayga.com/mpgga-form-cbpay" || form.Fields.Encode() != "apikey=pprod_p&payment_token="+token {
		t.Errorf("%+v %s, %v", form, got, err)
	}
	if _, _, err := d.client().CardForm(t.Context(), charge); !errors.Is(err, hub.ErrUnsupported) {
		t.Error(err)
	}
}
