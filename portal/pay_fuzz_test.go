package portal_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	xhtml "golang.org/x/net/html"

	"zonegate"
)

// Whatever is sent with the form of a payment, the answer is a page of ours in
// which it is only text, and a payment is only started with a number.
func FuzzPay(f *testing.F) {
	z := newZone(f)
	z.sells(mtn, moov, card)
	n := uint32(0)
	var mac zonegate.MAC
	z.links.always = func(netip.Addr) zonegate.MAC { return mac }
	const id = "0123456789abcdef0123456789abcdef"
	for _, number := range []string{"", mtnNumber, moovNumber, "<script>", "\x00\r\n", "\xff", `"'>&`, strings.Repeat("9", 4000), "+229" + mtnNumber} {
		f.Add(id, "b-day", "MTN_MOMO", number, "")
		f.Add(id, "b-day", "KKIAPAY", number, "1")
		f.Add("x", "no-plan", `"><b>`, number, "MOOV "+number)
	}
	f.Fuzz(func(t *testing.T, intent, plan, way, number, sure string) {
		n++
		mac = zonegate.MAC{6, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
		w := z.do(call{target: "/pay", accept: browser, form: url.Values{
			"f": {z.gate.FormToken(mac)}, "i": {intent}, "plan": {plan}, "way": {way}, "phone": {number}, "sure": {sure},
		}})
		body := w.Body.String()
		started := z.gate.Intents(mac)
		switch w.Code {
		case http.StatusSeeOther:
			if len(started) != 1 || w.Header().Get("Location") != "/pay/"+started[0].ID.String() {
				t.Fatalf("to %q with %d payments", w.Header().Get("Location"), len(started))
			}
			if in := started[0]; in.Channel != "KKIAPAY" && len(in.Phone) != 13 || in.Channel == "KKIAPAY" && in.Phone != "" {
				t.Errorf("%s with a number of %d digits", in.Channel, len(in.Phone))
			}
			body = z.do(call{target: w.Header().Get("Location"), accept: browser}).Body.String()
		case 403, 409, 413, 422, 429, 503:
			if len(started) != 0 {
				t.Fatalf("status %d with a payment", w.Code)
			}
		default:
			t.Fatalf("status %d", w.Code)
		}
		if !utf8.ValidString(body) {
			t.Error("the page is not UTF-8")
		}
		doc, err := xhtml.Parse(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for n := range doc.Descendants() {
			switch {
			case n.Data == "script" || n.Data == "b" && n.Parent.Data == "label":
				t.Errorf("the page has a %s: %.300q", n.Data, body)
			case n.Data == "a" && !strings.HasPrefix(attr(n, "href"), "/"):
				t.Errorf("the page leads to %q", attr(n, "href"))
			}
			for _, a := range n.Attr {
				if strings.HasPrefix(a.Key, "on") {
					t.Errorf("the page has %s", a.Key)
				}
			}
		}
	})
}
