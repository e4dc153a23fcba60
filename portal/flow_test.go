package portal_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/portal"
)

func answer(t *testing.T, w *httptest.ResponseRecorder) portal.Answer {
	t.Helper()
	var a portal.Answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("%v in %q", err, w.Body)
	}
	return a
}

func TestVoucherInOneRequest(t *testing.T) {
	z := newZone(t)
	c := typed(strings.ToLower(z.codes("b-day", 1)[0]))
	c.accept, c.lang = anybody, "en"
	w := z.do(c)
	want := "You are online. 1\u00a0day · 500\u00a0MB left.\n"
	if w.Code != http.StatusOK || w.Body.String() != want || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%d %q %q, want 200 %q", w.Code, w.Header().Get("Content-Type"), w.Body, want)
	}
	if !z.gate.Standing(macA).Online {
		t.Error("the device is not online")
	}
}

func TestVoucherAsJSON(t *testing.T) {
	z := newZone(t)
	c := typed(z.codes("b-day", 1)[0])
	c.accept, c.lang = program, "fr"
	w := z.do(c)
	a := answer(t, w)
	st := z.gate.Standing(macA)
	if w.Code != http.StatusOK || !a.Online || a.Reason != "online" || a.Message != "Vous êtes connecté. Il reste 1\u00a0jour · 500\u00a0Mo." ||
		a.Holding == nil || a.Token != st.Grant.Token || a.Plan != "Forfait jour" || a.State != "active" ||
		a.SecondsLeft != 86400 || a.OctetsLeft == nil || *a.OctetsLeft != 500_000_000 ||
		a.Ends == nil || !a.Ends.Equal(z.clock.Now().Wall.Add(24*time.Hour)) || a.FormToken != z.gate.FormToken(macA) {
		t.Errorf("%d %s", w.Code, w.Body)
	}

	// A second voucher waits behind the first.
	c = typed(z.codes("a-hour", 1)[0])
	c.accept, c.lang = program, "fr"
	a = answer(t, z.do(c))
	if !a.Online || a.Reason != "queued" || a.Plan != "Forfait jour" || len(a.Queue) != 1 || a.Queue[0].Plan != "1 heure" ||
		a.Queue[0].OctetsLeft != nil || a.Queue[0].State != "banked" {
		t.Errorf("second voucher: %+v", a)
	}
}

// What is paid but not yet through is neither "online" nor refused.
func TestVoucherWhileTheDataPathIsBehind(t *testing.T) {
	z := newZone(t)
	code := z.codes("a-hour", 1)[0]
	z.path.break_(errors.New("no tables"))
	c := typed(code)
	c.accept = program
	w := z.do(c)
	if a := answer(t, w); w.Code != http.StatusAccepted || a.Online || a.Reason != "pending" || a.Token == "" {
		t.Errorf("%d %+v", w.Code, a)
	}
	page := z.do(call{target: "/status?t=" + z.gate.Standing(macA).Grant.Token, accept: browser}).Body.String()
	if !strings.Contains(page, "Connexion en cours") || strings.Contains(page, "Vous êtes connecté") {
		t.Errorf("status page while pending: %s", page)
	}
}

// A browser with nothing but links, forms and redirects goes all the way.
func TestBrowserFlow(t *testing.T) {
	z := newZone(t)
	code := z.codes("b-day", 1)[0]
	page := z.do(call{target: "/?lang=en", accept: browser}).Body.String()
	form := fieldsOf(t, page, "/voucher?lang=en", "code")
	form.Set("code", code)

	w := z.do(call{target: "/voucher?lang=en", form: form, accept: browser})
	token := z.gate.Standing(macA).Grant.Token
	if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || to != "/status?lang=en&t="+token {
		t.Fatalf("%d to %q", w.Code, to)
	}
	w = z.do(call{target: w.Header().Get("Location"), accept: browser})
	if !strings.Contains(w.Body.String(), "You are online") || !strings.Contains(w.Body.String(), `content="30;url=/status?lang=en&amp;t=`+token+`"`) {
		t.Errorf("status page: %s", w.Body)
	}

	// From here on the first page leads to the status page.
	w2 := z.do(call{target: "/", accept: browser})
	if w2.Code != http.StatusSeeOther || w2.Header().Get("Location") != "/status?t="+token {
		t.Errorf("home while online: %d to %q", w2.Code, w2.Header().Get("Location"))
	}

	// A second code queues, and the page says so once.
	if !strings.Contains(w.Body.String(), `href="/add?lang=en"`) || strings.Contains(w.Body.String(), `type="text"`) {
		t.Errorf("the status page loads itself again and must have a link and no field: %s", w.Body)
	}
	w = z.do(call{target: "/add?lang=en", accept: browser})
	if strings.Contains(w.Body.String(), `http-equiv="refresh"`) {
		t.Error("a page with a field loads itself again")
	}
	add := fieldsOf(t, w.Body.String(), "/voucher?lang=en", "code")
	add.Set("code", z.codes("a-hour", 1)[0])
	w2 = z.do(call{target: "/voucher?lang=en", form: add, accept: browser})
	if to := w2.Header().Get("Location"); to != "/status?lang=en&t="+token+"&n=queued" {
		t.Errorf("queued: to %q", to)
	}
	w2 = z.do(call{target: w2.Header().Get("Location"), accept: browser})
	if !strings.Contains(w2.Body.String(), "Your new plan is kept") || strings.Contains(w2.Body.String(), "n=queued") {
		t.Errorf("queued: %s", w2.Body)
	}

	// Out, and in again.
	w2 = z.do(call{target: "/logout?lang=en", form: fieldsOf(t, w2.Body.String(), "/logout?lang=en", "f"), accept: browser})
	if w2.Code != http.StatusSeeOther || w2.Header().Get("Location") != "/?lang=en" || z.gate.Standing(macA).Online {
		t.Fatalf("logout: %d to %q, online %v", w2.Code, w2.Header().Get("Location"), z.gate.Standing(macA).Online)
	}
	w2 = z.do(call{target: "/?lang=en", accept: browser})
	w2 = z.do(call{target: "/connect?lang=en", form: fieldsOf(t, w2.Body.String(), "/connect?lang=en", "f"), accept: browser})
	if w2.Code != http.StatusSeeOther || !z.gate.Standing(macA).Online {
		t.Errorf("connect: %d", w2.Code)
	}
}

// The keys of a paper ticket can be in the address; nothing is redeemed by it.
func TestCodeInTheAddress(t *testing.T) {
	z := newZone(t)
	code := z.codes("a-hour", 1)[0]
	page := z.do(call{target: "/?code=" + code, accept: browser}).Body.String()
	if got := fieldsOf(t, page, "/voucher", "code").Get("code"); got != code {
		t.Errorf("the field shows %q", got)
	}
	for _, target := range []string{"/voucher?code=" + code, "/voucher?move=1&code=" + code} {
		if w := z.do(call{target: target, accept: anybody}); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
			t.Errorf("GET %s: %d, Allow %q", target, w.Code, w.Header().Get("Allow"))
		}
		// Loaded again by a browser, the form's address leads back to it.
		if w := z.do(call{target: target, accept: browser}); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/" {
			t.Errorf("GET %s: %d to %q", target, w.Code, w.Header().Get("Location"))
		}
		if w := z.do(call{method: "POST", target: target, accept: anybody}); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("POST %s: %d, a code in the address counted", target, w.Code)
		}
	}
	if st := z.gate.Standing(macA); st.Grant != nil {
		t.Errorf("something was bought: %+v", st)
	}
	// Who is online adds it instead of losing it.
	z.redeem("b-day", macA)
	page = z.do(call{target: "/?code=" + code, accept: browser}).Body.String()
	if got := fieldsOf(t, page, "/voucher", "code").Get("code"); got != code || !strings.Contains(page, "Ajouter un autre code") {
		t.Errorf("online: the field shows %q in %s", got, page)
	}
}

func TestButtonsNeedTheirToken(t *testing.T) {
	for _, target := range []string{"/connect", "/logout", "/move"} {
		z := newZone(t)
		token := z.redeem("b-day", macA).Grant.Token
		if target == "/connect" {
			if err := z.gate.Logout(t.Context(), macA); err != nil {
				t.Fatal(err)
			}
		}
		from := phoneA
		if target == "/move" {
			from = phoneB
		}
		before := z.gate.Standing(macA)
		for _, f := range []string{"", "x", z.gate.FormToken(zonegate.MAC{1})} {
			w := z.do(call{target: target, from: from, form: url.Values{"t": {token}, "f": {f}}})
			if w.Code != http.StatusForbidden {
				t.Errorf("%s with %q: %d", target, f, w.Code)
			}
		}
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
			w := z.do(call{method: method, from: from, target: target + "?t=" + token + "&f=" + z.gate.FormToken(macA)})
			if w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, target, w.Code)
			}
		}
		if after := z.gate.Standing(macA); after.Online != before.Online {
			t.Errorf("%s changed something", target)
		}
	}
}

func TestMyPlanToThisPhone(t *testing.T) {
	z := newZone(t)
	st := z.redeem("b-day", macB)
	z.redeem("a-hour", macB)
	target := "/status?t=" + st.Grant.Token

	// Whoever has the address sees the plan and what is left, nothing more.
	w := z.do(call{target: target, accept: program})
	var raw map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &raw); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"online", "reason", "message", "form_token", "plan", "state", "seconds_left", "octets_left"} {
		if _, ok := raw[key]; !ok {
			t.Errorf("%s is missing", key)
		}
		delete(raw, key)
	}
	if len(raw) > 0 {
		t.Errorf("a stranger also learns %v", raw)
	}
	page := z.do(call{target: target, accept: browser}).Body.String()
	for _, secret := range []string{macB.String(), phoneB, "1 heure", "23/11", "Se déconnecter"} {
		if strings.Contains(page, secret) {
			t.Errorf("a stranger sees %q", secret)
		}
	}

	w = z.do(call{target: "/move", form: fieldsOf(t, page, "/move", "t"), accept: browser})
	if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || to != target+"&n=moved" {
		t.Fatalf("%d to %q", w.Code, to)
	}
	if here, there := z.gate.Standing(macA), z.gate.Standing(macB); !here.Online || here.Grant.Token != st.Grant.Token || there.Grant.Plan.ID != "a-hour" {
		t.Errorf("here %+v, there %+v", here, there)
	}
	if page := z.do(call{target: target + "&n=moved", accept: browser}).Body.String(); !strings.Contains(page, "maintenant sur ce téléphone") {
		t.Errorf("no notice: %s", page)
	}
}

func TestStatusAddresses(t *testing.T) {
	z := newZone(t)
	// Nothing bought: back to the first page, whatever the token.
	if w := z.do(call{target: "/status", accept: browser}); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/" {
		t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
	}
	if w := z.do(call{target: "/status?t=nonsense", accept: browser}); w.Code != http.StatusNotFound {
		t.Errorf("a made-up token: %d", w.Code)
	}
	if a := answer(t, z.do(call{target: "/status.json"})); a.Online || a.Reason != "no_grant" || a.Holding != nil {
		t.Errorf("stranger: %+v", a)
	}

	old := z.redeem("a-hour", macA).Grant.Token
	if a := answer(t, z.do(call{target: "/status.json", accept: browser})); !a.Online || a.Token != old || a.OctetsLeft != nil {
		t.Errorf("online: %+v", a)
	}
	if w := z.do(call{target: "/status", accept: anybody}); !strings.HasPrefix(w.Header().Get("Location"), "/status?t=") {
		t.Errorf("without a token: %d %v", w.Code, w.Header())
	}
	z.clock.pass(2 * time.Hour)
	if w := z.do(call{target: "/status?t=" + old, accept: browser}); w.Code != http.StatusOK && w.Code != http.StatusGone {
		t.Errorf("at the end: %d", w.Code)
	}
	if err := z.gate.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := z.do(call{target: "/status?t=" + old, accept: browser})
	if w.Code != http.StatusGone || !strings.Contains(w.Body.String(), "Ce forfait est terminé") || !strings.Contains(w.Body.String(), `action="/voucher"`) {
		t.Errorf("an ended plan: %d %s", w.Code, w.Body)
	}
	// With something new the old address leads there.
	now := z.redeem("b-day", macA).Grant.Token
	if w := z.do(call{target: "/status?t=" + old, accept: browser}); w.Header().Get("Location") != "/status?t="+now {
		t.Errorf("an old address: %d to %q", w.Code, w.Header().Get("Location"))
	}
	// The address of what waits in the queue is that of what is in use.
	queued := z.redeem("a-hour", macA).Queue[0].Token
	if w := z.do(call{target: "/status?t=" + queued, accept: browser}); w.Header().Get("Location") != "/status?t="+now {
		t.Errorf("a queued plan: %d to %q", w.Code, w.Header().Get("Location"))
	}
}

// Without a trusted clock no date is shown, because it would be wrong.
func TestEndIsOnlyShownByATrustedClock(t *testing.T) {
	z := newZone(t)
	page := func() string {
		return z.do(call{target: "/status?t=" + z.gate.Standing(macA).Grant.Token, accept: browser}).Body.String()
	}
	z.redeem("b-day", macA)
	if !strings.Contains(page(), "le 23/11 à 14:05") {
		t.Errorf("no end: %s", page())
	}
	z = newZone(t)
	z.clock.mu.Lock()
	z.clock.now.Boot, z.clock.now.Trusted = "second boot", false
	z.clock.mu.Unlock()
	z.redeem("b-day", macA)
	if strings.Contains(page(), "Fin") || answer(t, z.do(call{target: "/status.json"})).Ends != nil {
		t.Errorf("an end that nobody knows: %s", page())
	}
}

func TestCaptiveAPI(t *testing.T) {
	z := newZone(t)
	ask := func() string {
		w := z.do(call{target: "/captive", accept: "application/captive+json"})
		if w.Code != 200 || w.Header().Get("Content-Type") != "application/captive+json" || w.Header().Get("Cache-Control") != "private, no-store" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		return strings.TrimSpace(w.Body.String())
	}
	const url = `"user-portal-url":"http://192.168.77.1:2050/","can-extend-session":true`
	steps := []struct {
		do   func()
		want string
	}{
		{func() {}, `{"captive":true,` + url + `}`},
		{func() { z.redeem("b-day", macA) }, `{"captive":false,` + url + `,"seconds-remaining":86400,"bytes-remaining":500000000}`},
		{func() { z.clock.pass(time.Hour) }, `{"captive":false,` + url + `,"seconds-remaining":82800,"bytes-remaining":500000000}`},
		{func() { z.redeem("c-month", macA) }, `{"captive":false,` + url + `,"seconds-remaining":2674800,"bytes-remaining":20500000000}`},
		{func() { z.redeem("a-hour", macA) }, `{"captive":false,` + url + `,"seconds-remaining":2678400}`},
		{func() { _ = z.gate.Logout(t.Context(), macA) }, `{"captive":true,` + url + `}`},
	}
	for i, step := range steps {
		step.do()
		if got := ask(); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
}

func TestUnknownDevice(t *testing.T) {
	z := newZone(t)
	for range 20 {
		w := z.do(call{target: "/", from: "192.168.77.99", accept: browser})
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "Coupez le WiFi") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if n := strings.Count(z.logged.String(), "hardware address is not known"); n != 1 {
		t.Errorf("logged %d times within a minute", n)
	}
	if w := z.do(call{target: "/captive", from: "192.168.77.99"}); !strings.Contains(w.Body.String(), `"captive":true`) {
		t.Errorf("captive API: %s", w.Body)
	}
}

// IPv6 devices are the same devices, and a mapped address is the IPv4 one.
func TestEveryAddressOfADevice(t *testing.T) {
	z := newZone(t)
	z.redeem("b-day", macA)
	for _, from := range []string{phoneA, "::ffff:" + phoneA, "fd77::10", "fe80::a%lan0"} {
		if a := answer(t, z.do(call{target: "/status.json", from: from})); !a.Online {
			t.Errorf("%s: %+v", from, a)
		}
	}
}

func TestLanguages(t *testing.T) {
	z := newZone(t)
	for _, test := range []struct{ header, query, want string }{
		{"", "", "fr"},
		{"zh-CN,zh;q=0.9", "", "fr"},
		{"en-GB,en;q=0.9,fr;q=0.8", "", "en"},
		{"fr-FR,fr;q=0.9,en-US;q=0.8", "", "fr"},
		{"de,en;q=0.4,fr;q=0.5", "", "fr"},
		{"en;q=0", "", "fr"},
		{"en;q=NaN, ;;,=", "", "fr"},
		{"fr", "?lang=en", "en"},
		{"en", "?lang=fr", "fr"},
		{"en", "?lang=xx", "en"},
	} {
		w := z.do(call{target: "/" + test.query, lang: test.header, accept: browser})
		if !strings.Contains(w.Body.String(), `<html lang="`+test.want+`">`) {
			t.Errorf("Accept-Language %q, %q: not %s", test.header, test.query, test.want)
		}
	}
}

// Nothing that opens a door or names a customer is in the log.
func TestLogKeepsSecrets(t *testing.T) {
	z := newZone(t)
	code := z.codes("b-day", 1)[0]
	c := typed(code)
	c.accept = browser
	z.do(c)
	z.do(call{target: "/?code=" + code, accept: browser})
	z.do(typed("WRONGCODE"))
	st := z.gate.Standing(macA)
	z.do(call{target: "/status?t=" + st.Grant.Token, accept: browser})
	z.do(call{target: "/nothing/" + st.Grant.Token, accept: browser})
	z.do(call{target: "/logout", form: url.Values{"f": {z.gate.FormToken(macA)}}})
	logged := z.logged.String()
	if !strings.Contains(logged, "route=/voucher") {
		t.Fatalf("nothing is logged: %s", logged)
	}
	for _, secret := range []string{code, st.Grant.Token, z.gate.FormToken(macA), "WRONGCODE"} {
		if strings.Contains(logged, secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	for line := range strings.Lines(logged) {
		if strings.Contains(line, macA.String()) && !strings.Contains(line, "level=DEBUG") {
			t.Errorf("a device above debug level: %s", line)
		}
	}
}
