package mypayga_test

import (
	"errors"
	"strings"
	"testing"

	"zonegate"
	"zonegate/hub"
)

func TestInitiate(t *testing.T) {
	d := newDesk(t).says(hashPath, reserved).says(pushPath, pushed)
	got, err := d.client().Initiate(t.Context(), charge)
	if err != nil || got.ProviderRef != token || got.Hint != "Request Sent.Please Wait." {
		t.Fatalf("%+v, %v", got, err)
	}
	asked := d.calls()
	if len(asked) != 2 || asked[0].path != hashPath || asked[1].path != pushPath {
		t.Fatalf("asked %v", asked)
	}
	// Trap 4: nothing in the query; trap 5: placeholders; trap 11: 074...
	common := map[string]string{"email": "zone@example.com", "firstname": "Client", "lastname": "WiFi", "amount": "100", "description": "Forfait jour", "apikey": "sprod_k3y"}
	for i, own := range []map[string]string{{"uniqueID": "1234A", "phone": "074151522"}, {"payment_token": token, "client_phone": "074151522"}} {
		c := asked[i]
		for name, want := range common {
			own[name] = want
		}
		if c.method != "POST" || len(c.query) != 0 || len(c.body) != len(own) {
			t.Errorf("asked %+v", c)
		}
		for name, want := range own {
			if c.body.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", c.path, name, c.body.Get(name), want)
			}
		}
	}
}

// A token that was never told moves nothing: it is as if nothing was sent.
func TestReservingIsHarmless(t *testing.T) {
	for _, c := range []struct {
		status int
		answer string
	}{
		{0, "cut"}, {0, "<html>"}, {0, `{"code":"200"`}, {500, reserved}, {401, `{"code":"400"}`}, {429, ""}, {302, ""},
		{0, `{"code":"200","message":"x"}`}, {0, `{"code":"200","payment_token":"x","uniqueID":"other"}`}, {0, `{"code":"202","payment_token":"x"}`}, {0, `{}`},
	} {
		d := newDesk(t).says(hashPath, c.answer)
		d.status[hashPath] = c.status
		_, err := d.client().Initiate(t.Context(), charge)
		if !errors.Is(err, hub.ErrNotSent) || errors.Is(err, hub.ErrAmbiguous) || len(d.calls()) != 1 {
			t.Errorf("%d %s: %v after %d calls", c.status, c.answer, err, len(d.calls()))
		}
	}
	d := newDesk(t).says(hashPath, `{"code":"400","message":"Numero 074151522 invalide"}`)
	_, err := d.client().Initiate(t.Context(), charge)
	if got := rejected(t, err); got != "Numero ***22 invalide" {
		t.Errorf("it says %q", got)
	}
}

// After the push nothing is certain but the token.
func TestPushIsAmbiguous(t *testing.T) {
	for _, c := range []struct {
		status int
		answer string
	}{
		{0, "cut"}, {0, "<html>"}, {0, pushed[:40]}, {500, pushed}, {503, `{"statusRequest":"400"}`}, {401, `{"statusRequest":"400"}`}, {403, ""}, {429, ""}, {307, ""},
		{0, `{"message":"x"}`}, {0, `{"statusRequest":"300"}`}, {0, strings.Replace(pushed, token, "anotherTokenOfSomebody", 1)},
	} {
		d := newDesk(t).says(hashPath, reserved).says(pushPath, c.answer)
		d.status[pushPath] = c.status
		_, err := d.client().Initiate(t.Context(), charge)
		ambiguous(t, err, token)
		if len(d.calls()) != 2 {
			t.Errorf("%d %s: %d calls", c.status, c.answer, len(d.calls()))
		}
	}
	// Trap 2: numbers for strings.
	for answer, ok := range map[string]bool{`{"statusRequest":200}`: true, `{"code":200}`: true, `{"statusRequest":400,"message":"no"}`: false} {
		_, err := newDesk(t).says(hashPath, reserved).says(pushPath, answer).client().Initiate(t.Context(), charge)
		if ok && err != nil {
			t.Errorf("%s: %v", answer, err)
		} else if !ok && rejected(t, err) != "no" {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

func TestWhatIsNotAsked(t *testing.T) {
	d := newDesk(t)
	c := d.client()
	for want, change := range map[string]func(*hub.Charge){
		"no channel":     func(c *hub.Charge) { c.Channel = "MOOV" },
		"takes no CDF":   func(c *hub.Charge) { c.Amount.Currency = "CDF" },
		"takes no XOF":   func(c *hub.Charge) { c.Amount.Currency = "XOF" },
		"more than zero": func(c *hub.Charge) { c.Amount.Amount = -1 },
		"no reference":   func(c *hub.Charge) { c.Reference = "" },
		"Gabon":          func(c *hub.Charge) { c.Phone = "650121212" },
		"+241":           func(c *hub.Charge) { c.Phone = "2290197123456" },
	} {
		bad := charge
		change(&bad)
		_, err := c.Initiate(t.Context(), bad)
		if got := rejected(t, err); !strings.Contains(got, want) {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
	if len(d.calls()) != 0 {
		t.Errorf("asked %v", d.calls())
	}
	d.Close()
	if _, err := c.Initiate(t.Context(), charge); !errors.Is(err, hub.ErrNotSent) {
		t.Error(err)
	}
}

// Trap 11: numbers of tests are passed on as they are.
func TestNumbersOfTests(t *testing.T) {
	for stored, sent := range map[string]string{"24174111111": "074111111", "650121212": "650121212", "242056549200": "242056549200", "09306315": "09306315"} {
		d := newDesk(t).says(hashPath, reserved).says(pushPath, pushed)
		k := charge
		k.Phone = stored
		if _, err := d.client(test).Initiate(t.Context(), k); err != nil || d.last().body.Get("client_phone") != sent {
			t.Errorf("%s went as %s, %v", stored, d.last().body.Get("client_phone"), err)
		}
	}
}

// Trap 1: 200 is not paid; trap 9: fees decide nothing; trap 10: CFA is XAF.
func TestLookup(t *testing.T) {
	d := newDesk(t).says(detailPath, detail)
	c := d.client()
	got, err := c.Lookup(t.Context(), paid)
	if err != nil || !got.Found || got.State != hub.PaymentSucceeded || got.Amount != (zonegate.Money{Amount: 144, Currency: "XAF"}) || got.CustomerAmount.Amount != 0 ||
		got.Fee != "154.032" || got.Channel != "AM" || got.Reference != "9745" || got.ProviderRef != paid.ProviderRef {
		t.Errorf("%+v, %v", got, err)
	}
	if strings.Contains(got.Raw, "074151522") || strings.Contains(got.Raw, "k3y") {
		t.Errorf("raw is %s", got.Raw)
	}
	if a := d.last(); a.method != "GET" || a.query.Get("payment_ref") != paid.ProviderRef || a.query.Get("apikey") != "sprod_k3y" {
		t.Errorf("asked %+v", a)
	}
	for _, k := range []struct {
		old, new string
		want     hub.PaymentState
	}{
		{`"OrderStatus":"200"`, `"OrderStatus":200`, hub.PaymentSucceeded},
		{`"OrderStatus":"200"`, `"OrderStatus":"400"`, hub.PaymentPending},
		{`"OrderStatus":"200",`, ``, hub.PaymentPending},
		{`,"final_status":"200"}]`, `,"final_status":"400"}]`, hub.PaymentPending}, // above it says 200
		{`,"final_status":"200"}]`, `}]`, hub.PaymentPending},
		{`,"final_status":"200"}]`, `,"final_status":"201"}]`, hub.PaymentPending},
		{`"final_status":"200"`, `"final_status":"400"`, hub.PaymentFailed},
		{`"final_status":"200"`, `"final_status":400`, hub.PaymentFailed},
		{`"final_status":"200"`, `"final_status":"success"`, hub.PaymentPending},
		{`"final_status":"200"`, `"FINAL_STATUS":"200"`, hub.PaymentSucceeded},
		{`"totalAmount":144`, `"totalAmount":"144"`, hub.PaymentSucceeded},
		{`"production"`, `"Prod"`, hub.PaymentSucceeded},
		{`"totalAmount":144`, `"totalAmount":144.00`, hub.PaymentSucceeded},
		{`eI4zUOJd5uE2W5qx7Em1HOTr00lev7rvt6E`, `eI4zUOJd5uE2W5qx7Em1HOTr00lev7rvt6EandMore`, hub.PaymentSucceeded},
	} {
		d.says(detailPath, strings.ReplaceAll(detail, k.old, k.new))
		if got, err := c.Lookup(t.Context(), paid); err != nil || got.State != k.want || !got.Found {
			t.Errorf("%s: %+v, %v", k.new, got, err)
		}
	}
	// Another currency is told as such, for hub to see.
	d.says(detailPath, strings.Replace(detail, `"totalAmount"`, `"currency":"USD","totalAmount"`, 1))
	if got, err := c.Lookup(t.Context(), paid); err != nil || got.Amount != (zonegate.Money{Currency: "USD"}) {
		t.Errorf("%+v, %v", got, err)
	}
	// Of two attempts the paid one counts.
	first, rest, _ := strings.Cut(strings.TrimPrefix(detail, `{"payment":[`), "}]")
	failed := strings.ReplaceAll(first, `"200"`, `"400"`)
	for _, list := range []string{failed + "}," + first, first + "}," + failed} {
		d.says(detailPath, `{"payment":[`+list+"}]"+strings.Replace(rest, `"final_status":"200",`, "", 1))
		if got, err := c.Lookup(t.Context(), paid); err != nil || got.State != hub.PaymentSucceeded {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// Trap 6: what is not found is not finished.
func TestNotFinished(t *testing.T) {
	d := newDesk(t)
	c := d.client()
	for _, k := range []struct {
		status int
		answer string
	}{
		{0, `{"code":"400","message":"Payment not found"}`}, {0, `{"code":400,"final_status":"400","payment":[]}`}, {0, `{"code":"200","payment":[]}`},
		{404, `{"code":"404","message":"x"}`}, {0, `{"code":"200","payment":null,"final_status":"400"}`},
	} {
		d.says(detailPath, k.answer)
		d.status[detailPath] = k.status
		if got, err := c.Lookup(t.Context(), paid); err != nil || got.Found || got.State != hub.PaymentPending {
			t.Errorf("%s: %+v, %v", k.answer, got, err)
		}
	}
	asked := len(d.calls())
	if got, err := c.Lookup(t.Context(), hub.Payment{Reference: "x"}); err != nil || got.Found || len(d.calls()) != asked {
		t.Errorf("%+v, %v", got, err)
	}
}

// Trap 8 and what else is no state at all.
func TestUnreadableLookup(t *testing.T) {
	for _, k := range []struct {
		status int
		answer string
	}{
		{0, detail[:200]}, {0, strings.Replace(detail, `"074151522"`, `"074151522`, 1)}, {0, detail + ","}, {0, "<html>"}, {0, "cut"}, {0, `{}`}, {0, `{"code":"200 OK"}`},
		{500, detail}, {401, detail}, {403, detail}, {429, detail}, {302, ""},
		{0, strings.Replace(detail, `"code":"200"`, `"code":"400"`, 1)}, {0, strings.Replace(detail, `"totalAmount":144`, `"totalAmount":144.5`, 1)},
		{0, strings.Replace(detail, `"totalAmount":144`, `"totalAmount":"1e9"`, 1)}, {0, strings.Replace(detail, "eI4zUOJd", "AAAAAAAA", 1)},
		{0, strings.Replace(detail, `"production"`, `"test"`, 1)}, {0, strings.Replace(detail, `"production"`, `"SANDBOX"`, 1)},
	} {
		d := newDesk(t).says(detailPath, k.answer)
		d.status[detailPath] = k.status
		if got, err := d.client().Lookup(t.Context(), paid); err == nil || got != (hub.Observation{}) {
			t.Errorf("%d %s: %+v, %v", k.status, k.answer, got, err)
		}
	}
	// A live payment does not end a test.
	if got, err := newDesk(t).says(detailPath, detail).client(test).Lookup(t.Context(), paid); err == nil {
		t.Errorf("%+v", got)
	}
}
