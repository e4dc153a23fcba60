package provider_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/provider"
)

func object(t *testing.T, text string) provider.Object {
	t.Helper()
	o, err := provider.ParseObject([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return o
}

func TestTolerantReading(t *testing.T) {
	o := object(t, "\ufeff"+` {"Code":0,"messsage":" Paiement d'essai ","orderNumer":" SQe ","amount":"400.0","fee":154.032,
		"done":true,"nothing":null,"same":"1","SAME":1,"twice":"1","Twice":"2","bad":"a\u0000b\nc","in":{"A":1},"list":[{"b":2},{"b":"3"}],"mixed":[{},1]}`)
	for _, c := range []struct{ got, want string }{
		{o.Text("code"), "0"}, {o.Text("message", "messsage"), "Paiement d'essai"}, {o.Text("orderNumber", "orderNumer"), "SQe"},
		{o.Exact("orderNumer"), " SQe "}, {o.Text("amount"), "400.0"}, {o.Text("fee"), "154.032"}, {o.Text("done"), "true"}, {o.Text("nothing"), ""},
		{o.Text("same"), "1"}, {o.Text("twice"), ""}, {o.Text("bad"), "abc"}, {o.Text("in"), ""}, {o.Text("missing"), ""},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	in, ok := o.Object("IN")
	if list := o.List("list"); !ok || in.Text("a") != "1" || len(list) != 2 || list[1].Text("b") != "3" || o.List("mixed") != nil || o.List("in") != nil {
		t.Errorf("in %v, list %v", in, list)
	}
	if o.Has("nothing") || !o.Has("CODE") || o.Has("missing") {
		t.Error("Has is wrong")
	}
	for _, text := range []string{"", " ", "null", "1", "[]", `"{}"`, `{"a":1,}`, `{"a":"b}`, `{"a":1}{`, `{"a":1} x`, "<html>", strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)} {
		if o, err := provider.ParseObject([]byte(text)); err == nil {
			t.Errorf("%q is %v", text, o)
		}
		if _, err := (provider.Answer{Status: 200, Body: []byte(text)}).Object(); !errors.Is(err, hub.ErrAmbiguous) {
			t.Errorf("%q: %v is not ambiguous", text, err)
		}
	}
}

func TestCallback(t *testing.T) {
	multi := "--b\r\nContent-Disposition: form-data; name=\"reference\"\r\n\r\nR1\r\n--b--\r\n"
	for _, c := range []struct {
		kind, body string
		query      map[string][]string
		want       string
	}{
		{"application/json", `{"Reference":"R1"}`, nil, "R1"},
		{"", `{"reference":"R1"}`, map[string][]string{"reference": {"R2"}}, "R1"},
		{"application/x-www-form-urlencoded", "reference=R1", map[string][]string{"Reference": {"R2"}}, "R1"},
		{"multipart/form-data; boundary=b", multi, nil, "R1"},
		{"", "", map[string][]string{"Reference": {"R1"}}, "R1"},
		{"", "", map[string][]string{"reference": {"R1", "R2"}}, ""},
	} {
		o, err := provider.Callback(map[string][]string{"Content-Type": {c.kind}}, c.query, []byte(c.body))
		if err != nil || o.Text("reference") != c.want {
			t.Errorf("%s %q: %q, %v", c.kind, c.body, o.Text("reference"), err)
		}
	}
	for kind, body := range map[string]string{"application/json": "{", "text/plain": "reference=R1", "multipart/form-data": multi, "application/x-www-form-urlencoded": "%zz"} {
		if o, err := provider.Callback(map[string][]string{"Content-Type": {kind}}, nil, []byte(body)); err == nil {
			t.Errorf("%s %q is %v", kind, body, o)
		}
	}
}

func TestStatusesThatSayNothing(t *testing.T) {
	for status, refused := range map[int]bool{200: false, 201: false, 400: false, 404: false, 422: false, 301: true, 307: true, 401: true, 403: true, 407: true,
		408: true, 429: true, 500: true, 502: true, 503: true, 599: true} {
		err := provider.Answer{Status: status}.Refused()
		if (err != nil) != refused || refused && !errors.Is(err, hub.ErrAmbiguous) {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestAmounts(t *testing.T) {
	for _, c := range []struct {
		text, currency string
		want           int64
	}{
		{"400.0", "CDF", 40000}, {"0.51", "USD", 51}, {"0.5", "USD", 50}, {"0.500", "USD", 50}, {"50000.00", "XOF", 50000}, {"100", "XAF", 100},
		{" 102.0 ", "CDF", 10200}, {"0", "XOF", 0}, {"000100", "XOF", 100}, {"9223372036854775807", "XAF", math.MaxInt64}, {"92233720368547758.07", "USD", math.MaxInt64},
	} {
		m, err := provider.ParseAmount(c.text, c.currency)
		if want := (zonegate.Money{Amount: c.want, Currency: c.currency}); err != nil || m != want {
			t.Errorf("%q %s: %v, %v", c.text, c.currency, m, err)
		}
	}
	for _, c := range [][2]string{{"", "XOF"}, {".", "XOF"}, {"1.", "XOF"}, {".5", "USD"}, {"-1", "XOF"}, {"+1", "XOF"}, {"1e3", "XOF"}, {"1,000", "XOF"}, {"1 000", "XOF"},
		{"100.5", "XAF"}, {"0.01", "XOF"}, {"0.515", "USD"}, {"1.2.3", "USD"}, {"9223372036854775808", "XOF"}, {"92233720368547758.08", "USD"}, {"1", "EUR"}, {"1", ""}, {"٣", "XOF"}, {"NaN", "USD"}} {
		if m, err := provider.ParseAmount(c[0], c[1]); !errors.Is(err, provider.ErrAmount) {
			t.Errorf("%q %s: %v, %v", c[0], c[1], m, err)
		}
	}
	for want, m := range map[string]zonegate.Money{"100": {Amount: 100, Currency: "XAF"}, "400": {Amount: 40000, Currency: "CDF"}, "0.51": {Amount: 51, Currency: "USD"},
		"0.50": {Amount: 50, Currency: "USD"}, "12.05": {Amount: 1205, Currency: "USD"}, "92233720368547758.07": {Amount: math.MaxInt64, Currency: "USD"}} {
		if got, err := provider.FormatAmount(m); err != nil || got != want {
			t.Errorf("%v: %q, %v, want %s", m, got, err, want)
		}
	}
	for _, m := range []zonegate.Money{{}, {Amount: 0, Currency: "XOF"}, {Amount: -1, Currency: "XOF"}, {Amount: 1, Currency: "EUR"}} {
		if got, err := provider.FormatAmount(m); err == nil {
			t.Errorf("%v is %q", m, got)
		}
	}
}

func TestCurrencies(t *testing.T) {
	for _, c := range [][3]string{{"CFA", "GA", "XAF"}, {"cfa", "BJ", "XOF"}, {"FCFA", "CM", "XAF"}, {"XAF", "GA", "XAF"}, {"cdf", "CD", "CDF"}, {" USD ", "CD", "USD"}, {"CFA", "CD", "CFA"}, {"eur", "BJ", "EUR"}, {"", "GA", ""}} {
		if got := provider.Currency(c[0], c[1]); got != c[2] {
			t.Errorf("%s in %s is %s", c[0], c[1], got)
		}
	}
}

func TestRedact(t *testing.T) {
	for _, c := range [][2]string{
		{"Vous avez envoye 100 FCFA à 074151522.", "Vous avez envoye 100 FCFA à ***22."},
		{`{"url":"https:\/\/mypayga.com\/pay?token_url=abc","x":1}`, `{"url":"https:\/\/mypayga.com\/pay?","x":1}`},
		{"see https://h/x?apikey=k now?", "see https://h/x? now?"},
		{"a \x00key\xff b k%2Fey", "a [secret] b k%2Fey"},
		{"1234567 12345678", "1234567 ***78"},
		{"to +229 01 61 00 00 12.", "to +***12."},
		{"01.61.00.00.12", "***12"},
		{"0161-00-00-12, 97.12.34.56", "***12, ***56"},
		{`{"msisdn":"+243 812 345 678","n":1}`, `{"msisdn":"+***78","n":1}`},
		{"677 123 456 a 2021-05-15 21:53:38", "***56 a 2021-05-15 21:53:38"},
		{"01 61 00 00 12 2021-05-15", "***12 2021-05-15"},
		{"2021-05-15 01 61 00 00 12", "2021-05-15 ***12"},
		{"500 F a 0161 00 00 12 le 15.05.2021", "500 F a ***12 le 15.05.2021"},
		{"500 074151522", "500 ***22"},
		{"2021-05-15-0001", "***01"},
		{`{"d":"2021-05-15T21:53:38.123456+01:00","on":"15-05-2021"}`, `{"d":"2021-05-15T21:53:38.123456+01:00","on":"15-05-2021"}`},
		{"100000.00 1000000.50 1 000 000.00", "100000.00 1000000.50 1 000 000.00"},
		{"Solde: 10 000 000 FCFA, XAF 12.500.000", "Solde: 10 000 000 FCFA, XAF 12.500.000"},
		{"100 000 1000000 F", "***00 F"}, // rather too much
		{"dial tcp 192.168.100.200:443: refused", "dial tcp 192.168.100.200:443: refused"},
		{"550e8400-2291-4123-a716-4466aa554400, RGZ-2026-000123", "550e8400-2291-4123-a716-4466aa554400, RGZ-2026-000123"},
		{"", ""},
	} {
		if got := provider.Redact(c[0], "key", ""); got != c[1] {
			t.Errorf("%q is %q, want %q", c[0], got, c[1])
		}
	}
	if got := provider.Redact(strings.Repeat("é", 4000)); len(got) > 4096 || !utf8.ValidString(got) {
		t.Errorf("%d octets", len(got))
	}
	if got := provider.Words(strings.Repeat("é", 300)); len(got) > 200 || !utf8.ValidString(got) {
		t.Errorf("%d octets of words", len(got))
	}
	var rejected *hub.RejectedError
	if err := provider.Rejected("  "); !errors.As(err, &rejected) || rejected.Reason != "without a reason" {
		t.Error(err)
	}
}

func FuzzParseObject(f *testing.F) {
	f.Add([]byte(`{"code":"0","messsage":"x","transaction":{"reference":"R7","amount":"700.0","status":"1"}}`))
	f.Add([]byte(`{"payment":[{"a":1}],"code":"200"}`))
	f.Add([]byte(`{"a":[[[]]],"b":{"c":null}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := provider.ParseObject(body)
		if err != nil {
			return
		}
		for _, name := range []string{"code", "a", "payment", "transaction"} {
			text := o.Text(name)
			if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
				t.Errorf("%s is %q", name, text)
			}
			o.List(name)
			if in, ok := o.Object(name); ok {
				in.Text("reference")
			}
		}
	})
}

func FuzzParseAmount(f *testing.F) {
	for _, s := range []string{"400.0", "0.51", "50000.00", "-1", "1e3", "92233720368547758.07"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, currency := range []string{"XOF", "USD"} {
			m, err := provider.ParseAmount(text, currency)
			if err != nil {
				continue
			}
			if m.Amount < 0 || m.Currency != currency {
				t.Fatalf("%q is %v", text, m)
			}
			if m.Amount == 0 {
				continue
			}
			back, err := provider.FormatAmount(m)
			if err != nil {
				t.Fatalf("%q is %v and cannot be written: %v", text, m, err)
			}
			if again, err := provider.ParseAmount(back, currency); err != nil || again != m {
				t.Fatalf("%q is %v, written %q, read %v, %v", text, m, back, again, err)
			}
		}
	})
}

func FuzzRedact(f *testing.F) {
	f.Add("https://h/?apikey=k 074151522")
	f.Add("+229 01 61-00.00 00 2021-05-15 21:53:38.5 10 000 000 FCFA 1.2.3.4 A-12-34-56-78")
	f.Fuzz(func(t *testing.T, text string) {
		got := provider.Redact(text, "hunter2secret")
		run := 0
		for _, r := range got {
			if r >= '0' && r <= '9' {
				run++
			} else {
				run = 0
			}
			if run >= 8 {
				t.Fatalf("a number in %q", got)
			}
		}
		if strings.Contains(got, "hunter2secret") || strings.ContainsRune(got, 0) || !utf8.ValidString(got) || len(got) > 4096 {
			t.Fatalf("%q became %q", text, got)
		}
	})
}
