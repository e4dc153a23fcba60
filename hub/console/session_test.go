package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"zonegate/hub/server"
)

// The link makes one admin, who is signed in, and no second one.
func TestSetUpOnce(t *testing.T) {
	w := newHub(t, server.Limit{})
	token, err := w.hub.SetUpToken(t.Context())
	w.ok(err)
	link := "/setup?token=" + url.QueryEscape(token)
	fill := func(v url.Values) url.Values {
		out := url.Values{"link": {token}, "name": {"boss"}, "password": {password}, "again": {password}}
		for k, x := range v {
			out[k] = x
		}
		return out
	}

	b := w.browser()
	b.has(b.get("/login", 200), "Sign in")
	a := b.get(link, 200)
	if !strings.Contains(a.body, token) {
		t.Error("the form does not carry the link’s token")
	}
	if strings.Contains(a.body, `value="/setup`) {
		t.Error("switching the language would put the token into another form")
	}
	b.has(b.post("/setup", fill(url.Values{"password": {"short"}}), 422), "It takes 10 characters at least")
	b.has(b.post("/setup", fill(url.Values{"again": {"another one"}}), 422), "This is not the same password")
	b.has(b.post("/setup", fill(url.Values{"name": {"two words"}}), 422), "No blanks")
	b.has(b.post("/setup", fill(url.Values{"link": {"wrong"}}), 403), "This is not the right link")
	if a := b.post("/setup", fill(nil), 303); a.location != "/fleet" {
		t.Errorf("the set-up leads to %q", a.location)
	}
	b.get("/audit", 200)

	late := w.browser()
	late.get(link, 200)
	late.has(late.post("/setup", fill(url.Values{"name": {"thief"}}), 409), "has an admin already")
	users, err := w.hub.Users(t.Context(), operator)
	w.ok(err)
	if len(users) != 1 || users[0].Name != "boss" {
		t.Errorf("users %+v", users)
	}
	if strings.Contains(w.log.String(), token) {
		t.Error("the token of the link is in the log")
	}
}

func TestOldSetUpLink(t *testing.T) {
	w := newHub(t, server.Limit{})
	token, err := w.hub.SetUpToken(t.Context())
	w.ok(err)
	w.shift.Store(int64(25 * time.Hour))
	b := w.browser()
	b.get("/setup?token="+token, 200)
	a := b.post("/setup", url.Values{"link": {token}, "name": {"boss"}, "password": {password}, "again": {password}}, 403)
	w.has(a, "out of date")
}

func TestSession(t *testing.T) {
	w := newWorld(t, "")
	b := w.browser()
	for _, path := range []string{"/", "/fleet", "/users", "/audit", "/account"} {
		if a := b.get(path, 303); a.location != "/login" {
			t.Errorf("%s leads strangers to %q", path, a.location)
		}
	}
	b.get("/login", 200)
	b.has(b.post("/login", url.Values{"name": {"boss"}, "password": {"wrong password"}}, 401), "The name or the password is not right")
	b.has(b.post("/login", url.Values{"name": {"nobody"}, "password": {password}}, 401), "The name or the password is not right")
	old := b.token
	a := b.post("/login", url.Values{"name": {"Boss"}, "password": {password}}, 303)
	cookies := (&http.Response{Header: a.header}).Cookies()
	found := false
	for _, c := range cookies {
		if c.Name == "__Host-zonehub-session" {
			found = true
			if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" {
				t.Errorf("the cookie is %+v", c)
			}
			// It is no token of the API.
			r, err := http.NewRequestWithContext(t.Context(), "GET", w.url+"/api/v1/billing/summary?month=2026-01&reseller_id="+w.kofi.ID, nil)
			w.ok(err)
			r.Header.Set("Authorization", "Bearer "+c.Value)
			w.browser().do(r, 401)
		}
	}
	if !found {
		t.Fatalf("no session in %v", cookies)
	}
	b.has(b.get("/fleet", 200), "boss (admin)")
	if a := b.get("/login", 303); a.location != "/fleet" {
		t.Errorf("the sign-in page leads those who are in to %q", a.location)
	}
	if a := b.post("/logout", url.Values{"token": {old}}, 403); !strings.Contains(a.body, "start over") {
		// The token of the page before the sign-in is another session's.
		t.Error("a form of another session was taken")
	}
	b.get("/account", 200)
	b.post("/logout", nil, 303)
	b.get("/fleet", 303)
}

// A session ends with the user, with his password, and with time.
func TestSessionEnds(t *testing.T) {
	w := newWorld(t, "")
	users, err := w.hub.Users(t.Context(), operator)
	w.ok(err)
	id := map[string]string{}
	for _, u := range users {
		id[u.Name] = u.ID
	}
	kofi, ama, ada, boss := w.as("kofi"), w.as("ama"), w.as("ada"), w.as("boss")
	boss.post("/users/"+id["kofi"]+"/disable", url.Values{"disabled": {"yes"}}, 303)
	kofi.get("/fleet", 303)
	boss.post("/users/"+id["kofi"]+"/disable", url.Values{"disabled": {"no"}}, 303)
	kofi.get("/fleet", 303)
	boss.post("/users/"+id["ama"]+"/password", url.Values{"password": {"another password"}, "again": {"another password"}}, 303)
	ama.get("/fleet", 303)

	other := w.as("ada")
	ada.has(ada.post("/account", url.Values{"old": {"wrong"}, "password": {"another password"}, "again": {"another password"}}, 422), "not your present password")
	other.get("/fleet", 200)
	ada.post("/account", url.Values{"old": {password}, "password": {"another password"}, "again": {"another password"}}, 303)
	ada.get("/fleet", 200)
	other.get("/fleet", 303)

	boss.has(boss.post("/users/"+id["boss"]+"/disable", url.Values{"disabled": {"yes"}}, 422), "last admin")
	w.shift.Store(int64(13 * time.Hour))
	boss.get("/fleet", 303)
}

// The pages and the API count attempts together.
func TestSignInIsLimited(t *testing.T) {
	w := newHub(t, server.Limit{PerMinute: 1, Burst: 3})
	b := w.browser()
	b.get("/login", 200)
	try := url.Values{"name": {"boss"}, "password": {password}}
	for range 3 {
		b.post("/login", try, 401)
	}
	a := b.post("/login", try, 429)
	w.has(a, "Too many attempts")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	r, err := http.NewRequestWithContext(t.Context(), "POST", w.url+"/api/v1/auth/login", strings.NewReader(`{"name":"boss","password":"x"}`))
	w.ok(err)
	r.Header.Set("Content-Type", "application/json")
	b.do(r, 429)
	b.get("/setup?token=x", 200)
	b.post("/setup", url.Values{"link": {"x"}, "name": {"a"}, "password": {password}, "again": {password}}, 429)
}

// Every form is refused without its token, with another session's, and by GET.
func TestFormsNeedTheirToken(t *testing.T) {
	w := newWorld(t, "")
	boss, kofi := w.as("boss"), w.as("kofi")
	foreign, own := kofi.token, boss.token
	before := w.deeds()
	for _, path := range []string{"/logout", "/language", "/account", "/gateways/" + w.gateway.ID + "/revoke", "/gateways/" + w.gateway.ID + "/alarm",
		"/sites", "/sites/" + w.site.ID + "/code", "/settings/message", "/forfaits/new", "/forfaits/" + w.forfait.Plan.ID,
		"/forfaits/" + w.forfait.Plan.ID + "/withdraw", "/rollouts/x/stop", "/vouchers", "/vouchers/csv", "/vouchers/revoke",
		"/users", "/users/x/password", "/users/x/disable", "/resellers", "/resellers/" + w.kofi.ID, "/login", "/setup"} {
		for _, token := range []string{"", "x", foreign, own + "x"} {
			// With all that these forms would need.
			a := boss.post(path, url.Values{"token": {token}, "name": {"x"}, "to": {"all"}, "fr": {"x"}, "reason": {"x"}, "currency": {"XOF"}, "reseller": {w.kofi.ID},
				"vouchers": {"1"}, "sites": {"1"}, "gateways": {"1"}}, 0)
			if a.status != 403 {
				t.Errorf("POST %s with the token %q: status %d", path, token, a.status)
			}
		}
		// The token in the address is none.
		if a := boss.post(path+"?token="+own, url.Values{"token": {""}}, 0); a.status != 403 {
			t.Errorf("POST %s with the token in the address: status %d", path, a.status)
		}
		if a := boss.get(path+"?token="+own+"&reason=x", 0); a.status != 404 && a.status != 200 && a.status != 303 {
			t.Errorf("GET %s: status %d", path, a.status)
		}
	}
	if n := w.deeds(); n != before {
		t.Errorf("%d lines were added to the audit log", n-before)
	}
	boss.get("/fleet", 200) // still signed in
}

func TestLanguage(t *testing.T) {
	w := newWorld(t, "")
	b := w.browser()
	for header, say := range map[string]string{"": "Se connecter", "fr-FR,en;q=0.5": "Se connecter", "de, en-GB": "Sign in", "zz": "Se connecter"} {
		b.lang = header
		w.has(b.get("/login", 200), say)
	}
	b.lang = "en"
	b.get("/login", 200)
	if a := b.post("/language", url.Values{"to": {"fr"}, "back": {"/login?x=1"}}, 303); a.location != "/login?x=1" {
		t.Errorf("back to %q", a.location)
	}
	w.has(b.get("/login", 200), "Se connecter")
	for _, back := range []string{"//evil.example", "https://evil.example", "/\\evil.example", "", "/\tx"} {
		if a := b.post("/language", url.Values{"to": {"en"}, "back": {back}}, 303); a.location != "/" {
			t.Errorf("%q leads to %q", back, a.location)
		}
	}
	b.post("/language", url.Values{"to": {"xx"}, "back": {"/"}}, 404)
}

func TestLongForm(t *testing.T) {
	w := newWorld(t, "")
	b := w.as("boss")
	b.post("/settings/garden", url.Values{"domains": {strings.Repeat("example.org ", 10_000)}}, 413)
	b.post("/settings/message", url.Values{"to": {"all"}, "fr": {"\xff"}}, 403)
}
