package portal_test

import (
	"errors"
	"flag"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zonegate"
)

var update = flag.Bool("update", false, "rewrite the pages in testdata")

// mainPages are the pages that a customer meets.
var mainPages = []struct {
	name    string
	arrange func(*zone) call
}{
	{"stranger", func(z *zone) call { return call{target: "/"} }},
	{"no-plans", func(z *zone) call {
		if err := z.gate.SetPlans(z.t.Context(), nil, false); err != nil {
			z.t.Fatal(err)
		}
		return call{target: "/"}
	}},
	{"something-left", func(z *zone) call {
		z.redeem("b-day", macA)
		z.clock.pass(90 * time.Minute)
		if err := z.gate.Logout(z.t.Context(), macA); err != nil {
			z.t.Fatal(err)
		}
		return call{target: "/"}
	}},
	{"wrong-code", func(z *zone) call { return typed(`AB<12>"3'`) }},
	{"too-many-codes", func(z *zone) call {
		for range 5 {
			z.do(typed("1234"))
		}
		z.clock.pass(3 * time.Minute)
		return typed("1234")
	}},
	{"other-device", func(z *zone) call {
		code := z.codes("b-day", 1)[0]
		z.must(z.gate.Redeem(z.t.Context(), zonegate.Redemption{Code: code, Device: macB}))
		return typed(code)
	}},
	{"online", func(z *zone) call {
		st := z.redeem("b-day", macA)
		z.use(123_456_789)
		z.clock.pass(100 * time.Minute)
		return call{target: "/status?t=" + st.Grant.Token}
	}},
	{"online-no-cap", func(z *zone) call {
		st := z.redeem("a-hour", macA)
		z.use(34_500_000)
		z.clock.pass(59*time.Minute + 30*time.Second)
		return call{target: "/status?t=" + st.Grant.Token}
	}},
	{"queue", func(z *zone) call {
		st := z.redeem("c-month", macA)
		z.redeem("b-day", macA)
		z.redeem("a-hour", macA)
		return call{target: "/status?n=queued&t=" + st.Grant.Token}
	}},
	{"add", func(z *zone) call { z.redeem("b-day", macA); return call{target: "/add"} }},
	{"pending", func(z *zone) call {
		z.path.break_(errors.New("no tables"))
		return call{target: "/status?t=" + z.redeem("b-day", macA).Grant.Token}
	}},
	{"logged-out", func(z *zone) call {
		st := z.redeem("c-month", macA)
		if err := z.gate.Logout(z.t.Context(), macA); err != nil {
			z.t.Fatal(err)
		}
		return call{target: "/status?t=" + st.Grant.Token}
	}},
	{"elsewhere", func(z *zone) call { return call{target: "/status?t=" + z.redeem("b-day", macB).Grant.Token} }},
	{"ended", func(z *zone) call {
		st := z.redeem("a-hour", macA)
		z.clock.pass(2 * time.Hour)
		if err := z.gate.Expire(z.t.Context()); err != nil {
			z.t.Fatal(err)
		}
		return call{target: "/status?t=" + st.Grant.Token}
	}},
	{"pay-home", func(z *zone) call { z.sells(mtn, moov); z.open("MTN_MOMO"); return call{target: "/"} }},
	{"pay-offline", func(z *zone) call { z.sells(mtn).offline = true; return call{target: "/"} }},
	{"pay-form", func(z *zone) call { z.sells(mtn, moov); return call{target: "/pay?plan=b-day"} }},
	{"pay-form-other", func(z *zone) call {
		z.sells(mtn, moov)
		return call{target: "/pay", form: z.payForm("b-day", "MTN_MOMO", moovNumber)}
	}},
	{"pay-push", func(z *zone) call {
		z.sells(mtn)
		id := z.open("MTN_MOMO")
		z.tell(id, zonegate.News{State: zonegate.IntentPending, Transaction: "tx", Flow: "push"})
		return call{target: "/pay/" + id.String()}
	}},
	{"pay-redirect", func(z *zone) call {
		z.sells(card)
		id := z.open("KKIAPAY")
		z.tell(id, zonegate.News{State: zonegate.IntentPending, Transaction: "tx", Flow: "redirect", URL: "https://kkiapay.me/pay?x=1&y=2"})
		return call{target: "/pay/" + id.String()}
	}},
	{"pay-long", func(z *zone) call {
		z.sells(mtn)
		id := z.open("MTN_MOMO")
		z.clock.pass(4 * time.Minute)
		z.tell(id, zonegate.News{State: zonegate.IntentPending, Transaction: "tx", Flow: "push"})
		return call{target: "/pay/" + id.String()}
	}},
	{"pay-failed", func(z *zone) call {
		z.sells(mtn)
		id := z.open("MTN_MOMO")
		z.tell(id, zonegate.News{State: zonegate.IntentFailed, Reason: "Solde insuffisant"})
		return call{target: "/pay/" + id.String()}
	}},
	{"pay-expired", func(z *zone) call {
		z.sells(mtn)
		id := z.open("MTN_MOMO")
		z.clock.pass(3 * time.Hour)
		z.tell(id, zonegate.News{State: zonegate.IntentExpired})
		return call{target: "/pay/" + id.String()}
	}},
	{"unknown-device", func(z *zone) call { return call{target: "/", from: "192.168.77.99"} }},
	{"not-found", func(z *zone) call { return call{target: "/admin"} }},
}

// use has the data path report traffic of the first session.
func (z *zone) use(octets uint64) {
	z.t.Helper()
	sessions := z.gate.Sessions()
	err := z.gate.Account(z.t.Context(), []zonegate.Usage{{
		Session: sessions[0].Session.ID, Octets: zonegate.Octets{Up: octets / 10, Down: octets - octets/10},
	}})
	if err != nil {
		z.t.Fatal(err)
	}
}

var (
	styleSheet = regexp.MustCompile(`(?s)<style>.*</style>`)
	between    = regexp.MustCompile(`> *<`)
	// What is drawn, or follows from keys.
	drawn = regexp.MustCompile(`(name="i" value=|<code class="big">)("[0-9a-f]{32}"|[0-9A-Z]{4}-[0-9A-Z]{4})`)
)

// readable puts every tag of a page on its own line, without the style sheet.
func readable(page string) string {
	page = drawn.ReplaceAllString(styleSheet.ReplaceAllString(page, "<style/>"), "${1}drawn")
	return between.ReplaceAllString(page, ">\n<") + "\n"
}

// After a wanted change: go test ./portal -run Pages -update, then read the
// difference.
func TestPages(t *testing.T) {
	for _, page := range mainPages {
		for _, lang := range []string{"fr", "en"} {
			t.Run(page.name+"-"+lang, func(t *testing.T) {
				z := newZone(t)
				c := page.arrange(z)
				c.accept, c.lang = browser, lang
				w := z.do(c)
				checkPage(t, w.Body.String(), w.Header())
				got := readable(w.Body.String())
				file := filepath.Join("testdata", page.name+"-"+lang+".html")
				if *update {
					if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
					t.Errorf("the page changed (-want +got); if that is wanted, run with -update:\n%s", d)
				}
			})
		}
	}
}

var (
	// What would load something, run something or keep something.
	outside   = regexp.MustCompile(`(?i)(src|srcset|background|data|poster|formaction)\s*=|url\(|@import|<(script|img|iframe|link|object|embed|base)\b|\bon[a-z]+\s*=|javascript:|style\s*=`)
	addresses = regexp.MustCompile(`(?:href|action)="([^"]*)"`)
)

// checkPage holds every page to the rules of package web.
func checkPage(t *testing.T, page string, h http.Header) {
	t.Helper()
	if len(page) >= 20<<10 {
		t.Errorf("%d bytes, want less than 20 KB", len(page))
	}
	if m := outside.FindString(page); m != "" {
		t.Errorf("the page has %q", m)
	}
	for _, m := range addresses.FindAllStringSubmatch(page, -1) {
		if m[1] == "https://kkiapay.me/pay?x=1&amp;y=2" {
			continue // the provider's page
		}
		if u, err := url.Parse(m[1]); err != nil || u.Host != "" || !strings.HasPrefix(m[1], "/") {
			t.Errorf("the page leads to %q", m[1])
		}
	}
	for _, need := range []string{"<html lang=", `name="viewport"`, "Chez Awa", "+229 01 97 00 00 00"} {
		if !strings.Contains(page, need) {
			t.Errorf("the page lacks %s", need)
		}
	}
	if n, m := strings.Count(page, `<input type="text"`), strings.Count(page, `<label for="code">`); n != m {
		t.Errorf("%d fields, %d labels", n, m)
	}
	csp := h.Get("Content-Security-Policy")
	for _, need := range []string{"default-src 'none'", "style-src 'sha256-", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(csp, need) {
			t.Errorf("Content-Security-Policy %q lacks %s", csp, need)
		}
	}
	for key, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Referrer-Policy": "no-referrer", "Content-Type": "text/html; charset=utf-8",
	} {
		if got := h.Get(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if h.Get("Set-Cookie") != "" {
		t.Error("the page sets a cookie")
	}
}

func TestHead(t *testing.T) {
	z := newZone(t)
	for _, target := range []string{"/", "/captive", "/status.json"} {
		if w := z.do(call{method: "HEAD", target: target, accept: browser}); w.Code != http.StatusOK {
			t.Errorf("HEAD %s: %d", target, w.Code)
		}
	}
}

// A handler that breaks is answered, and the next request too.
func TestBrokenHandler(t *testing.T) {
	z := newZone(t)
	gate := z.server.Gate
	z.server.Gate = nil
	w := z.do(call{target: "/", accept: browser})
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "Un problème est arrivé") {
		t.Errorf("%d %.200s", w.Code, w.Body)
	}
	z.server.Gate = gate
	if w := z.do(call{target: "/", accept: browser}); w.Code != http.StatusOK {
		t.Errorf("then %d", w.Code)
	}
}
