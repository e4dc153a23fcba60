package console

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/server"
	"zonegate/sync/api"
)

// Who may see and do what: the pages of others are refused, not only hidden.
func TestWhoMaySeeWhat(t *testing.T) {
	w := newWorld(t, "")
	b, _, err := w.hub.Generate(t.Context(), operator, hub.Generate{N: 1, Forfait: w.forfait.Plan.ID, Reseller: w.kofi.ID})
	w.ok(err)
	own, _, err := w.hub.SetForfait(t.Context(), operator, hub.ForfaitChange{Plan: w.forfait.Plan, Reseller: ""})
	w.ok(err)
	adas := w.forfait.Plan
	adas.ID, adas.Name, adas.Price.Currency = "", "Adas", "XAF"
	hers, _, err := w.hub.SetForfait(t.Context(), operator, hub.ForfaitChange{Plan: adas, Reseller: w.ada.ID})
	w.ok(err)
	roles := []*browser{w.as("boss"), w.as("kofi"), w.as("ama"), w.as("ada")}
	names := []string{"admin", "reseller", "seller", "another reseller"}
	why := url.Values{"reason": {"test"}}
	for _, c := range []struct {
		path string
		form url.Values // nil for GET
		want [4]int
	}{
		{"/fleet", nil, [4]int{200, 200, 200, 200}},
		{"/fleet?reseller=" + w.kofi.ID, nil, [4]int{200, 200, 200, 403}},
		{"/gateways/" + w.gateway.ID, nil, [4]int{200, 200, 200, 404}},
		{"/sites", nil, [4]int{200, 200, 200, 200}},
		{"/forfaits", nil, [4]int{200, 200, 200, 200}},
		{"/forfaits/new", nil, [4]int{200, 200, 403, 200}},
		{"/forfaits/" + own.Plan.ID, nil, [4]int{200, 200, 200, 200}},
		{"/forfaits/" + hers.Plan.ID, nil, [4]int{200, 403, 403, 200}},
		{"/rollouts", nil, [4]int{200, 403, 403, 403}},
		{"/vouchers", nil, [4]int{200, 200, 200, 200}},
		{"/vouchers?reseller=" + w.kofi.ID, nil, [4]int{200, 200, 200, 403}},
		{"/billing", nil, [4]int{200, 200, 200, 200}},
		{"/billing?reseller=" + w.kofi.ID, nil, [4]int{200, 200, 200, 403}},
		{"/settings", nil, [4]int{200, 200, 403, 200}},
		{"/users", nil, [4]int{200, 200, 403, 200}},
		{"/resellers", nil, [4]int{200, 403, 403, 403}},
		{"/audit", nil, [4]int{200, 403, 403, 403}},
		{"/account", nil, [4]int{200, 200, 200, 200}},
		{"/nothing", nil, [4]int{404, 404, 404, 404}},

		// Those who may not come first: what is done once is done.
		{"/gateways/" + w.gateway.ID + "/alarm", url.Values{"kind": {"none"}}, [4]int{404, 404, 403, 403}},
		{"/sites", url.Values{"name": {"New WHO"}, "currency": {"XOF"}, "reseller": {w.kofi.ID}}, [4]int{303, 303, 403, 303}},
		{"/sites/" + w.site.ID + "/code", url.Values{"hours": {"1"}}, [4]int{200, 200, 403, 403}},
		{"/settings/message", url.Values{"fr": {"x"}, "to": {"all"}}, [4]int{303, 403, 403, 403}},
		{"/settings/message", url.Values{"fr": {"x"}, "to": {"s/" + w.site.ID}}, [4]int{303, 303, 403, 403}},
		{"/settings/message", url.Values{"fr": {"x"}, "to": {"r/" + w.kofi.ID}}, [4]int{303, 303, 403, 403}},
		{"/vouchers", url.Values{"n": {"1"}, "forfait": {own.Plan.ID}, "site": {w.site.ID}, "reseller": {w.kofi.ID}}, [4]int{200, 200, 403, 422}},
		{"/forfaits/" + own.Plan.ID + "/withdraw", url.Values{}, [4]int{303, 403, 403, 403}},
		{"/forfaits/" + hers.Plan.ID + "/withdraw", url.Values{}, [4]int{303, 403, 403, 303}},
		{"/users", url.Values{"name": {"new-WHO"}, "password": {password}, "again": {password}, "role": {"admin"}}, [4]int{303, 303, 403, 303}},
		{"/resellers", url.Values{"name": {"New WHO"}, "vouchers": {"1"}, "sites": {"1"}, "gateways": {"1"}}, [4]int{303, 403, 403, 403}},
		{"/resellers/" + w.kofi.ID, url.Values{"name": {"Kofi"}, "vouchers": {"9"}, "sites": {"9"}, "gateways": {"9"}}, [4]int{303, 403, 403, 403}},
		{"/vouchers/revoke", url.Values{"batch": {b.ID}, "reason": {"test"}}, [4]int{303, 303, 403, 403}},
		{"/gateways/" + w.gateway.ID + "/revoke", why, [4]int{303, 303, 403, 403}},
	} {
		for _, i := range []int{3, 2, 1, 0} {
			var a answer
			what := "GET "
			if c.form == nil {
				a = roles[i].get(c.path, 0)
			} else {
				what = "POST "
				form := url.Values{}
				for k, v := range c.form {
					form.Set(k, strings.ReplaceAll(v[0], "WHO", number(uint64(i))))
				}
				a = roles[i].post(c.path, form, 0)
			}
			if a.status != c.want[i] {
				t.Errorf("%s%s as %s: status %d, want %d: %s", what, c.path, names[i], a.status, c.want[i], words(a.body))
			}
		}
	}

	// Whatever role they send, resellers make sellers of their own.
	all, err := w.hub.Users(t.Context(), operator)
	w.ok(err)
	made := map[string]hub.User{}
	for _, u := range all {
		made[u.Name] = u
	}
	if made["new-0"].Role != hub.RoleAdmin || made["new-1"].Role != hub.RoleSeller || made["new-1"].Reseller != w.kofi.ID ||
		made["new-3"].Role != hub.RoleSeller || made["new-3"].Reseller != w.ada.ID || made["new-2"].ID != "" {
		t.Errorf("the users made are %+v", made)
	}

	// Nothing of a reseller is on another's pages.
	for _, path := range []string{"/fleet", "/sites", "/vouchers", "/settings", "/users", "/billing"} {
		a := roles[3].get(path, 200)
		w.hasNot(a, "Kofi", "Gbegamey", w.kofi.ID, w.site.ID)
	}
	// What would be refused is not offered.
	for path, buttons := range map[string][]string{
		"/fleet": {"Clear"}, "/gateways/" + w.gateway.ID: {"Revoke"}, "/sites": {"Make a code", "Make the site"},
		"/forfaits": {"New forfait"}, "/vouchers": {"Make the codes", "Revoke the batch"}} {
		w.hasNot(roles[2].get(path, 200), buttons...)
	}
	a := roles[2].get("/fleet", 200)
	w.hasNot(a, `href="/users"`, `href="/audit"`, `href="/settings"`, `href="/rollouts"`, `href="/resellers"`)
}

const hostile = `<script>alert(1)</script>"'&`

var openTag = regexp.MustCompile(`<([a-z]+)((?:\s+[^<>"=\s]+(?:="[^"]*")?)*)\s*/?>`)

// Names that people and gateways choose are text wherever they are shown, and
// every page has its headers.
func TestHostileNames(t *testing.T) {
	w := newWorld(t, hostile)
	w.sell(500)
	_, _, err := w.hub.SetForfait(t.Context(), operator, hub.ForfaitChange{Plan: withName(w.forfait, "x"+hostile), Staged: &hub.Staging{}})
	w.ok(err)
	w.ok(w.hub.Acks(t.Context(), w.gateway, api.Acks{Instance: w.gateway.Instance, Acks: []api.Ack{{Seq: w.head(), Outcome: api.Refused, Reason: hostile}}}))
	for _, name := range []string{"boss", "kofi", "ama"} {
		b := w.as(name)
		paths := []string{"/fleet", "/gateways/" + w.gateway.ID, "/sites", "/forfaits", "/forfaits/" + w.forfait.Plan.ID, "/vouchers", "/billing", "/account",
			"/fleet?after=" + url.QueryEscape(hostile), "/billing?month=" + url.QueryEscape(hostile)}
		if name != "ama" {
			paths = append(paths, "/forfaits/new", "/settings", "/users")
		}
		if name == "boss" {
			paths = append(paths, "/rollouts", "/resellers", "/audit", "/forfaits?reseller="+w.kofi.ID)
		}
		for _, path := range paths {
			check(w, path, b.get(path, 0))
		}
		if name != "ama" {
			check(w, "new codes", b.post("/vouchers", url.Values{"n": {"2"}, "forfait": {w.forfait.Plan.ID}, "site": {w.site.ID}, "reseller": {w.kofi.ID}}, 200))
			check(w, "bad form", b.post("/sites", url.Values{"name": {hostile}, "currency": {hostile}, "reseller": {hostile}}, 422))
			check(w, "bad setting", b.post("/settings/garden", url.Values{"domains": {hostile}}, 422))
			check(w, "not there", b.get("/"+url.PathEscape(hostile), 404))
		}
	}
	a := w.as("boss").get("/gateways/"+w.gateway.ID, 200)
	if !strings.Contains(a.body, "&lt;script&gt;") {
		t.Error("the hostile name is not shown at all")
	}
}

func withName(f hub.Forfait, name string) zonegate.Plan {
	p := f.Plan
	p.Name = name
	return p
}

func (w *world) head() uint64 {
	w.Helper()
	h, err := w.hub.Head(w.Context())
	w.ok(err)
	return h
}

// check holds what every page must be.
func check(w *world, path string, a answer) {
	w.Helper()
	if strings.Contains(strings.ToLower(a.body), "<script") {
		w.Errorf("%s has a script", path)
	}
	for _, m := range openTag.FindAllStringSubmatch(a.body, -1) {
		if regexp.MustCompile(`(?i)\s(on[a-z]+|style)=`).MatchString(m[2]) || strings.Contains(m[2], "javascript:") {
			w.Errorf("%s has %s", path, m[0])
		}
	}
	// All that opens and closes was recognised as a tag: nothing else is there.
	rest := regexp.MustCompile(`</[a-z0-9]+>|<!doctype html>`).ReplaceAllString(regexp.MustCompile(`<([a-z0-9]+)((?:\s+[^<>"=\s]+(?:="[^"]*")?)*)\s*/?>`).ReplaceAllString(a.body, ""), "")
	if i := strings.IndexAny(rest, "<>"); i >= 0 {
		w.Errorf("%s has a stray mark: %q", path, rest[max(0, i-60):min(len(rest), i+60)])
	}
	for name, want := range map[string]string{"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"X-Frame-Options": "DENY", "Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8"} {
		if got := a.header.Get(name); got != want {
			w.Errorf("%s: %s is %q", path, name, got)
		}
	}
}

func TestPolicyHasNoScriptAndNoFrame(t *testing.T) {
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(policy, "script") || strings.Contains(policy, "unsafe") {
		t.Error(policy)
	}
}

func TestStyle(t *testing.T) {
	w := newHub(t, server.Limit{})
	a := w.browser().get(stylePath, 200)
	if a.body != style || a.header.Get("Content-Type") != "text/css; charset=utf-8" || !strings.Contains(a.header.Get("Cache-Control"), "immutable") {
		t.Errorf("the style is served as %v", a.header)
	}
	if strings.Contains(style, "url(") || strings.Contains(style, "@import") {
		t.Error("the style loads something else")
	}
}

var (
	said = regexp.MustCompile(`\bT\(\s*"((?:[^"\\]|\\.)*)",\s*"((?:[^"\\]|\\.)*)"`)
	verb = regexp.MustCompile(`%[0-9]*[a-z]`)
)

// Every text is there in both languages, with the same arguments.
func TestTexts(t *testing.T) {
	n := 0
	for _, pattern := range []string{"*.go", "*.templ"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_templ.go") || strings.HasSuffix(name, "_test.go") {
				continue
			}
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range said.FindAllStringSubmatch(string(source), -1) {
				n++
				fr, en := m[1], m[2]
				if fr == "" || en == "" {
					t.Errorf("%s: %q and %q", name, fr, en)
				}
				if a, b := verb.FindAllString(fr, -1), verb.FindAllString(en, -1); !slices.Equal(a, b) {
					t.Errorf("%s: %q takes %v, %q takes %v", name, fr, a, en, b)
				}
				if strings.Contains(fr+en, "'") {
					t.Errorf("%s: a straight apostrophe: %q, %q", name, fr, en)
				}
			}
		}
	}
	if n < 200 {
		t.Errorf("only %d texts were found", n)
	}
}

func TestNumbers(t *testing.T) {
	p := page{lang: english, zone: time.UTC}
	fr := page{lang: french, zone: time.UTC}
	for _, c := range []struct{ got, want string }{
		{p.money(1234567, "XOF"), "1,234,567\u00a0XOF"},
		{fr.money(1234567, "XOF"), "1\u00a0234\u00a0567\u00a0XOF"},
		{fr.money(150, "CDF"), "1,50\u00a0CDF"},
		{p.money(5, "CDF"), "0.05\u00a0CDF"},
		{p.octets(0), "no cap"}, {p.octets(999), "999\u00a0B"}, {p.octets(1500), "1.5\u00a0KB"}, {fr.octets(1_500_000_000), "1,5\u00a0Go"},
		{p.rate(0), "no limit"}, {p.rate(512_000), "512\u00a0kbit/s"}, {p.rate(2_500_000), "2.5\u00a0Mbit/s"},
		{p.duration(90 * time.Minute), "1\u00a0h 30\u00a0min"}, {fr.duration(49 * time.Hour), "2\u00a0j 1\u00a0h"}, {p.duration(0), "0\u00a0s"},
		{p.count(-1234), "-1,234"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
	for _, c := range []struct {
		in     string
		digits int
		want   uint64
		ok     bool
	}{
		{"500", 0, 500, true}, {"1 500", 0, 1500, true}, {"1,5", 3, 1500, true}, {"1.5", 2, 150, true}, {"0", 0, 0, true},
		{"", 0, 0, false}, {"-1", 0, 0, false}, {"1.5", 0, 0, false}, {"1e3", 0, 0, false}, {"1,2,3", 3, 0, false},
		{"99999999999999999999", 0, 0, false}, {".5", 1, 0, false}, {"１", 0, 0, false},
	} {
		got, ok := parseDecimal(c.in, c.digits)
		if got != c.want || ok != c.ok {
			t.Errorf("%q with %d digits is %d %v", c.in, c.digits, got, ok)
		}
		if ok {
			if back, ok := parseDecimal(writeDecimal(got, c.digits), c.digits); back != got || !ok {
				t.Errorf("%q comes back as %d", c.in, back)
			}
		}
	}
}

func TestUnallocated(t *testing.T) {
	s := hub.Summary{Total: 1000, Fee: 15, Parts: map[string]int64{"reseller": 492, "rgz": 493}}
	if n := unallocated(s); n != 0 {
		t.Errorf("%d", n)
	}
	s.Parts["rgz"] = 400
	if n := unallocated(s); n != 93 {
		t.Errorf("%d", n)
	}
}
