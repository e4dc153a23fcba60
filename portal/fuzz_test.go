package portal_test

import (
	"encoding/json"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	xhtml "golang.org/x/net/html"

	"zonegate"
	"zonegate/portal"
)

// Whatever is typed, the answer is well formed, of the kind that was asked for,
// and the code is in it only as text.
func FuzzVoucher(f *testing.F) {
	z := newZone(f)
	// Every request comes from another device: nobody is slowed.
	n := uint32(0)
	z.links.always = func(netip.Addr) zonegate.MAC {
		n++
		return zonegate.MAC{6, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	}
	used := z.codes("b-day", 1)[0]
	z.must(z.gate.Redeem(f.Context(), zonegate.Redemption{Code: used, Device: macB}))
	tags := func(page string) string {
		doc, err := xhtml.Parse(strings.NewReader(page))
		if err != nil {
			f.Fatal(err)
		}
		var b strings.Builder
		for n := range doc.Descendants() {
			if n.Type == xhtml.ElementNode {
				b.WriteString(n.Data + " ")
				for _, a := range n.Attr {
					b.WriteString(a.Key + " ")
				}
			}
		}
		return b.String()
	}
	known := map[string]bool{}
	for _, code := range []string{"", "1234", used} {
		c := typed(code)
		c.accept = browser
		known[tags(z.do(c).Body.String())] = true
	}
	for _, code := range []string{"", " ", "1234", used, "<script>", `"'>&`, "\x00\r\n\t", "\xff\xfe", strings.Repeat("é", 70), "ABCD-EFGH"} {
		f.Add(code, "", browser, "fr")
		f.Add(code, "1", program, "en;q=0.1,fr")
		f.Add(code, "0", "text/plain;q=2;;,", "\xff")
	}
	f.Fuzz(func(t *testing.T, code, move, accept, lang string) {
		c := call{target: "/voucher", form: url.Values{"code": {code}, "move": {move}}, accept: accept, lang: lang}
		w := z.do(c)
		body := w.Body.String()
		switch w.Code {
		case 303, 200, 409, 410, 413, 422, 429:
		default:
			t.Fatalf("status %d", w.Code)
		}
		if !utf8.ValidString(body) {
			t.Errorf("the answer is not UTF-8: %q", body)
		}
		switch kind := w.Header().Get("Content-Type"); {
		case w.Code == 303:
		case strings.HasPrefix(kind, "text/html"):
			if w.Code != 413 && !known[tags(body)] {
				t.Errorf("what was typed changed the page: %q", body)
			}
		case strings.HasPrefix(kind, "application/json"):
			var a portal.Answer
			if err := json.Unmarshal([]byte(body), &a); err != nil || a.Reason == "" || a.Message == "" {
				t.Errorf("%v: %q", err, body)
			}
		default:
			if !strings.HasPrefix(kind, "text/plain") || strings.Count(body, "\n") != 1 {
				t.Errorf("%s: %q", kind, body)
			}
		}
		for _, values := range w.Header() {
			for _, v := range values {
				if strings.ContainsAny(v, "\r\n") {
					t.Errorf("a header with a line break: %q", v)
				}
			}
		}
	})
}
