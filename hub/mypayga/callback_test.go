package mypayga_test

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"zonegate/hub"
	"zonegate/hub/mypayga"
)

// Trap 7: a callback is a hint, signed or not.
func TestReadCallback(t *testing.T) {
	const key = "cb-secret"
	fields := map[string]string{"unique_id": "1234A", "amount": "100", "order_status": "200", "status_request": "200", "payment_token": token,
		"payment_method": "Mobile Money", "message": "Success ", "client_phone": "074151522", "currency": "CFA"}
	sign := func(key string) string {
		mac := hmac.New(sha512.New, []byte(key))
		mac.Write([]byte("200" + "1234A" + "100" + token + "Mobile Money" + "Success " + "074151522"))
		return hex.EncodeToString(mac.Sum(nil))
	}
	asJSON := func(hash string) []byte {
		out := map[string]string{"hash": hash}
		for k, v := range fields {
			out[k] = v
		}
		b, err := json.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	asQuery := func(hash string) map[string][]string {
		out := map[string][]string{"hash": {hash}}
		for k, v := range fields {
			out[k] = []string{v}
		}
		return out
	}
	d := newDesk(t)
	plain := d.client()
	secret := key
	signed := d.client(func(o *mypayga.Options) { o.CallbackSecret = func() string { return secret } })
	header := map[string][]string{"Content-Type": {"application/json"}}
	form := map[string][]string{"Content-Type": {"application/x-www-form-urlencoded"}}
	want := hub.Hint{Reference: "1234A", ProviderRef: token}
	for name, read := range map[string]func() (hub.Hint, error){
		"JSON":     func() (hub.Hint, error) { return signed.ReadCallback(header, nil, asJSON(sign(key))) },
		"capitals": func() (hub.Hint, error) { return signed.ReadCallback(header, nil, asJSON(strings.ToUpper(sign(key)))) },
		"query":    func() (hub.Hint, error) { return signed.ReadCallback(nil, asQuery(sign(key)), nil) },
		"form": func() (hub.Hint, error) {
			return signed.ReadCallback(form, nil, []byte(url.Values(asQuery(sign(key))).Encode()))
		},
		"not asked for": func() (hub.Hint, error) { return plain.ReadCallback(header, nil, asJSON("")) },
		"the older name": func() (hub.Hint, error) {
			return plain.ReadCallback(nil, map[string][]string{"merchand_ref": {"1234A"}, "payment_ref": {token}}, nil)
		},
	} {
		got, err := read()
		if err != nil || got.Reference != want.Reference || got.ProviderRef != want.ProviderRef || strings.Contains(got.Raw, "074151522") || got.Raw == "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	refused := map[string][]byte{"another key": asJSON(sign("x")), "none": asJSON(""), "another amount": []byte(strings.Replace(string(asJSON(sign(key))), `"100"`, `"1000"`, 1))}
	for name, body := range refused {
		if got, err := signed.ReadCallback(header, nil, body); !errors.Is(err, hub.ErrUnauthorized) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	secret = "" // the file is gone: nobody can sign
	if got, err := signed.ReadCallback(header, nil, asJSON(sign(""))); !errors.Is(err, hub.ErrUnauthorized) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, body := range []string{"", "{}", "{", `{"amount":"1"}`} {
		if got, err := plain.ReadCallback(header, nil, []byte(body)); err == nil {
			t.Errorf("%s: %+v", body, got)
		}
	}
}
