package portal_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"

	xhtml "golang.org/x/net/html"

	"zonegate/portal"
)

// A remoteZone has two NASes that are only asked about: requests are made by
// hand.
func newRemoteZone(t testing.TB) *nasZone {
	z := newNASZone(t)
	z.handler = z.server.RemoteHandler()
	z.book["10.5.50.1"] = portal.Hotspot{Name: "bar", Kind: portal.KindMikroTik}
	z.book["wifi.example:8080"] = portal.Hotspot{Name: "hotel", Kind: portal.KindMikroTik}
	z.book["10.1.0.1:3990"] = portal.Hotspot{Name: "ecole", Kind: portal.KindUAM, UAMSecret: []byte("a secret of 20 octets")}
	z.book["10.2.0.1"] = portal.Hotspot{Name: "gare", Kind: portal.KindUAM}
	z.book["10.3.0.1"] = portal.Hotspot{Name: "other", Kind: "unifi"}
	return z
}

// fromBar is a request as the hotspot "bar" makes it, with changes.
func fromBar(changes ...string) call {
	q := url.Values{
		"mac": {macA.String()}, "ip": {"10.5.50.20"}, "link-login-only": {"http://10.5.50.1/login"},
		"chap-id": {`\371`}, "chap-challenge": {strings.Repeat(`\015`, 16)}, "username": {""}, "error": {""},
	}
	for i := 0; i < len(changes); i += 2 {
		q.Set(changes[i], changes[i+1])
	}
	return call{target: "/nas/mikrotik?" + q.Encode(), accept: browser}
}

// fromGare is the same for the UAM NAS "gare", which has no secret.
func fromGare(changes ...string) call {
	q := url.Values{
		"res": {"notyet"}, "uamip": {"10.2.0.1"}, "uamport": {"3990"}, "mac": {"02-00-00-00-00-0A"}, "ip": {"10.2.0.20"},
		"challenge": {"00112233445566778899aabbccddeeff"},
	}
	for i := 0; i < len(changes); i += 2 {
		q.Set(changes[i], changes[i+1])
	}
	return call{target: "/nas/uam?" + q.Encode(), accept: browser}
}

// stateOf returns the state of a page.
func stateOf(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	_, rest, ok := strings.Cut(w.Body.String(), `name="s" value="`)
	if !ok {
		t.Fatalf("no state: %d %s", w.Code, w.Body)
	}
	s, _, _ := strings.Cut(rest, `"`)
	return s
}

// Customers of NASes see the pages of the house rules.
func TestNASPagesKeepTheRules(t *testing.T) {
	z := newRemoteZone(t)
	for _, c := range []call{
		fromBar(), fromBar("error", "x"), fromGare("res", "logoff"), fromBar("mac", "x"), fromGare("uamip", "x"),
		{target: "/nas/online"}, {target: "/nas/status?t=" + z.redeem("b-day", macB).Grant.Token}, {target: "/nas/status"},
		{target: "/nas/voucher"}, {target: "/nothing"}, {target: "/nas/login?s=x"},
		{target: "/nas/voucher", form: url.Values{"s": {stateOf(t, z.do(fromBar()))}, "code": {`<b>"1234'`}}},
	} {
		c.accept = browser
		w := z.do(c)
		checkPage(t, w.Body.String(), w.Header())
		if t.Failed() {
			t.Fatalf("%s: %d", c.target, w.Code)
		}
	}
}

// Of the portal there is nothing else where nobody is known, and on the link
// the same is there beside the rest.
func TestOnlyTheNASPagesAreRemote(t *testing.T) {
	z := newRemoteZone(t)
	z.redeem("b-day", macA)
	for _, target := range []string{"/", "/add", "/status", "/status.json", "/captive", "/generate_204", "/nas", "/nas/"} {
		for _, from := range []string{phoneA, "203.0.113.9"} {
			if w := z.do(call{target: target, from: from, accept: browser}); w.Code != http.StatusNotFound || strings.Contains(w.Body.String(), "href") {
				t.Errorf("%s: %d %s", target, w.Code, w.Body)
			}
		}
	}
	for _, target := range []string{"/voucher", "/connect", "/logout", "/move"} {
		if w := z.do(call{target: target, form: url.Values{"code": {z.codes("a-hour", 1)[0]}}}); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	if z.links.asked != 0 {
		t.Error("a device was looked for")
	}
	// A name that leads here is not ours for that.
	c := fromBar()
	c.host = "rebound.example:2050"
	if w := z.do(c); w.Code != http.StatusNotFound || strings.Contains(w.Body.String(), "rebound") {
		t.Errorf("by another name: %d", w.Code)
	}
	z.server.RemoteNames = []string{"portal.example"}
	c.host = "Portal.example"
	if w := z.do(c); w.Code != http.StatusOK {
		t.Errorf("by our name: %d", w.Code)
	}

	z.handler = z.server.Handler()
	if w := z.do(fromBar()); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `action="/nas/voucher"`) {
		t.Errorf("on the link: %d", w.Code)
	}
	if w := z.do(call{target: "/nas/voucher", accept: browser}); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("on the link, loaded again: %d to %q", w.Code, w.Header().Get("Location"))
	}
	z.server.Hotspots = nil
	z.handler = z.server.Handler()
	if w := z.do(fromBar()); w.Code != http.StatusNotFound {
		t.Errorf("without NASes: %d", w.Code)
	}
}

// A login address leads to a configured NAS or nowhere.
func TestLoginLeadsToANASOfOurs(t *testing.T) {
	z := newRemoteZone(t)
	for _, login := range []string{
		"", "x", "/login", "//10.5.50.1/login", "javascript:alert(1)", "javascript://10.5.50.1/login", "data:text/html,x",
		"ftp://10.5.50.1/login", "http://evil.example/login", "http://10.5.50.1.evil.example/login", "http://10.5.50.1@evil.example/login",
		"http://evil.example@10.5.50.1/login", "http://evil.example\\@10.5.50.1/login", "http://10.5.50.1\\.evil.example/login",
		"http://10.5.50.1:8080/login", "http://10.5.50.1/logout", "http://10.5.50.1/login/x", "http://10.5.50.1/login%2f..", "http://10.5.50.1/logon",
		"https://10.5.50.1:80/login", "http://10.5.50.1 /login", "http://10.5.50.1;x/login", "http://10.5.50.1%00/login",
		"http://10.1.0.1:3990/logon", "http://10.1.0.1:3990/login", "http://10.3.0.1/login", "http://10.5.50.1/login" + strings.Repeat("?", 300),
	} {
		w := z.do(fromBar("link-login-only", login))
		if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "evil") || strings.Contains(w.Header().Get("Content-Security-Policy"), "http") {
			t.Errorf("%q: %d, policy %s", login, w.Code, w.Header().Get("Content-Security-Policy"))
		}
	}
	for login, want := range map[string]string{
		"http://10.5.50.1/login":          "http://10.5.50.1",
		"HTTP://10.5.50.1:80/login":       "http://10.5.50.1:80",
		"https://10.5.50.1:443/login":     "https://10.5.50.1:443",
		"http://10.5.50.1/login?dst=x":    "http://10.5.50.1",
		"http://10.5.50.1/login#x":        "http://10.5.50.1",
		"http://WiFi.Example:8080/login":  "http://wifi.example:8080",
		"https://wifi.example:8080/login": "https://wifi.example:8080",
	} {
		w := z.do(fromBar("link-login-only", login))
		if policy := w.Header().Get("Content-Security-Policy"); w.Code != http.StatusOK || !strings.Contains(policy, "form-action 'self' "+want+";") {
			t.Errorf("%q: %d, policy %s", login, w.Code, policy)
		}
		w = z.do(call{target: "/nas/connect", form: url.Values{"s": {stateOf(t, w)}}, accept: browser})
		if !strings.Contains(w.Body.String(), `action="`+want+`/login"`) {
			t.Errorf("%q: signs in at %s", login, w.Body)
		}
	}
	for _, change := range [][]string{
		{"uamip", "10.2.0.2"}, {"uamip", "evil.example"}, {"uamip", "10.2.0.1@evil.example"}, {"uamip", ""}, {"uamip", "10.2.0.1%eth0"}, {"uamip", "fe80::1%25x"},
		{"uamport", "80"}, {"uamport", "0"}, {"uamport", "70000"}, {"uamport", "3990@evil"}, {"uamport", ""}, {"uamip", "10.5.50.1", "uamport", "80"},
		{"mac", ""}, {"mac", "01-00-00-00-00-01"}, {"mac", "00-00-00-00-00-00"}, {"mac", "02-00-00:00-00-0A"}, {"mac", "---"},
		{"challenge", "false"}, {"challenge", "00"}, {"challenge", strings.Repeat("00", 17)}, {"md", "00112233445566778899AABBCCDDEEFF"},
	} {
		if w := z.do(fromGare(change...)); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%v: %d", change, w.Code)
		}
	}
	for _, change := range [][]string{
		{"mac", "$(mac)"}, {"mac", "ff:ff:ff:ff:ff:ff"}, {"chap-id", ""}, {"chap-challenge", ""}, {"chap-id", `\400`}, {"chap-id", `\37`}, {"chap-id", `\1\2`},
		{"chap-challenge", strings.Repeat(`\001`, 65)}, {"chap-challenge", `\`}, {"chap-challenge", `\08 `},
	} {
		if w := z.do(fromBar(change...)); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%v: %d", change, w.Code)
		}
	}
	if n := strings.Count(z.logged.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings within a minute", n)
	}
}

// The octets of a challenge, however they are written.
func TestChapOctets(t *testing.T) {
	z := newRemoteZone(t)
	passwords := map[string]string{}
	for _, challenge := range []string{`\141\142\143\000`, `a\142c` + "\x00", "abc\x00"} {
		w := z.do(fromBar("chap-id", "\xf9", "chap-challenge", challenge))
		raw, err := base64.RawURLEncoding.DecodeString(stateOf(t, w))
		if err != nil {
			t.Fatal(err)
		}
		text, _, _ := strings.Cut(string(raw), `"t":`)
		passwords[text] = challenge
	}
	if len(passwords) != 1 {
		t.Errorf("one challenge, read in %d ways: %q", len(passwords), passwords)
	}
}

// What a page carries is good only as we wrote it, for who got it.
func TestNASStateIsSigned(t *testing.T) {
	z := newRemoteZone(t)
	state := stateOf(t, z.do(fromBar()))
	code := z.codes("a-hour", 1)[0]
	post := func(target, state, from string) *httptest.ResponseRecorder {
		return z.do(call{target: target, from: from, form: url.Values{"s": {state}, "code": {code}}, accept: browser})
	}
	raw, _ := base64.RawURLEncoding.DecodeString(state)
	altered := func(old, new string) string {
		if !strings.Contains(string(raw), old) {
			t.Fatalf("no %s in %s", old, raw)
		}
		return base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(raw), old, new, 1)))
	}
	other := newRemoteZone(t)
	forged := map[string]string{
		"none": "", "nonsense": "AAAA", "text": "not base64!", "cut": state[:len(state)-2], "short": "e30",
		"another process's": stateOf(t, other.do(fromBar())),
		"another device":    altered(`"d":"AgAAAAAK"`, `"d":"AgAAAAAL"`),
		"another NAS":       altered(`"n":"bar"`, `"n":"hotel"`),
		"another place":     altered(`http://10.5.50.1/login`, `http://evil.example/login`),
		"no challenge":      altered(`"i":"+Q=="`, `"i":""`),
	}
	for name, state := range forged {
		for _, target := range []string{"/nas/voucher", "/nas/connect"} {
			w := post(target, state, phoneA)
			if w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "evil") {
				t.Errorf("%s, %s: %d %s", name, target, w.Code, w.Body)
			}
		}
		if w := z.do(call{target: "/nas/login?s=" + url.QueryEscape(state), accept: browser}); w.Code != http.StatusForbidden {
			t.Errorf("%s, again: %d", name, w.Code)
		}
	}
	w := post("/nas/voucher", state, phoneB)
	if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), `href="http://10.5.50.1/login"`) {
		t.Errorf("from another address: %d %s", w.Code, w.Body)
	}
	for _, target := range []string{"/nas/voucher", "/nas/connect"} {
		if w := z.do(call{target: target + "?s=" + state + "&code=" + code, accept: browser}); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: %d", target, w.Code)
		}
	}
	if w := post("/nas/voucher?s="+state, "", phoneA); w.Code != http.StatusForbidden {
		t.Errorf("state in the address: %d", w.Code)
	}
	if st := z.gate.Standing(macA); st.Grant != nil || z.tickets.len() != 0 {
		t.Errorf("something happened: %+v, %d tickets", st, z.tickets.len())
	}
	// A NAS that is taken out of the book is not led to any more.
	hotspot := z.book["10.5.50.1"]
	delete(z.book, "10.5.50.1")
	if w := post("/nas/voucher", state, phoneA); w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "10.5.50.1") {
		t.Errorf("a NAS that is gone: %d %s", w.Code, w.Body)
	}
	z.book["10.5.50.1"] = portal.Hotspot{Name: "renamed", Kind: portal.KindMikroTik}
	if w := post("/nas/voucher", state, phoneA); w.Code != http.StatusForbidden {
		t.Errorf("another NAS in its place: %d %s", w.Code, w.Body)
	}
	z.book["10.5.50.1"] = hotspot
	if w := post("/nas/voucher", state, phoneA); w.Code != http.StatusOK || z.tickets.len() != 1 {
		t.Errorf("as we wrote it: %d", w.Code)
	}
}

// What a NAS has signed cannot be changed, and a NAS with a secret always signs.
func TestUAMSignature(t *testing.T) {
	z := newRemoteZone(t)
	signed := func(secret string) string {
		target := "/nas/uam?res=notyet&uamip=10.1.0.1&uamport=3990&challenge=00112233445566778899aabbccddeeff&called=AA-BB-CC-00-00-01" +
			"&mac=02-00-00-00-00-0A&ip=10.1.0.20&nasid=ecole&userurl=http%3a%2f%2fexample.com%2f"
		return target + "&md=" + upper("http://"+host+target+secret)
	}
	good := signed("a secret of 20 octets")
	for name, target := range map[string]string{
		"another secret": signed("x"), "no secret": signed(""),
		"another device": strings.Replace(good, "-0A", "-0B", 1),
		"more":           good + "&mac=02-00-00-00-00-0B",
		"before":         strings.Replace(good, "?", "?mac=02-00-00-00-00-0B&", 1),
		"unsigned":       good[:strings.Index(good, "&md=")],
		"empty":          good[:strings.Index(good, "&md=")] + "&md=",
	} {
		if w := z.do(call{target: target, accept: browser}); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	if w := z.do(call{target: good, accept: browser}); w.Code != http.StatusOK {
		t.Errorf("as the NAS wrote it: %d", w.Code)
	}
}

// Nothing but our own pages is led to after a login.
func TestNoOpenRedirect(t *testing.T) {
	z := newRemoteZone(t)
	token := z.redeem("b-day", macA).Grant.Token
	for _, userurl := range []string{
		"", "http://evil.example/", "//evil.example", "javascript:alert(1)", "http://" + host + "@evil.example/nas/status?t=" + token,
		"http://" + host + ".evil.example/nas/status?t=" + token, "http://" + host + "/nas/status?t=x", "http://" + host + "/status?t=" + token,
		"http://" + host + "/nas/status?%zz",
	} {
		for _, res := range []string{"success", "already"} {
			w := z.do(fromGare("res", res, "userurl", userurl))
			if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || to != "/nas/online" {
				t.Errorf("%q: %d to %q", userurl, w.Code, to)
			}
		}
	}
	w := z.do(fromGare("res", "success", "userurl", "http://"+host+"/nas/status?lang=en&t="+token+"&n=online&x=//evil.example"))
	if to := w.Header().Get("Location"); to != "/nas/status?lang=en&t="+token+"&n=online" {
		t.Errorf("our own page: to %q", to)
	}
}

// Who claims another device with each code is still stopped, sooner where an
// address is one customer's. A right code costs nothing.
func TestGuessingBehindANAS(t *testing.T) {
	z := newRemoteZone(t)
	good := z.codes("a-hour", 40)
	device := 0
	try := func(c call, from, code string) int {
		device++
		mac := fmt.Sprintf("02-00-00-01-%02x-%02x", device>>8, device&0xff)
		u, _ := url.Parse(c.target)
		q := u.Query()
		q.Set("mac", mac)
		c.target, c.from = u.Path+"?"+q.Encode(), from
		w := z.do(call{target: "/nas/voucher", from: from, form: url.Values{"s": {stateOf(t, z.do(c))}, "code": {code}}, accept: browser})
		if w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		return w.Code
	}
	allowed := func(c call, from string) int {
		for i := range 200 {
			if try(c, from, "1234") == http.StatusTooManyRequests {
				return i
			}
		}
		return 200
	}
	for _, code := range good {
		if got := try(fromBar(), "203.0.113.1", code); got != http.StatusOK {
			t.Fatalf("a right code: %d", got)
		}
	}
	if n := allowed(fromBar(), "203.0.113.1"); n < 30 || n > 31 {
		t.Errorf("through a NAT: %d wrong codes", n)
	}
	if n := allowed(fromBar("ip", "203.0.113.2"), "203.0.113.2"); n < 10 || n > 11 {
		t.Errorf("from an address of one's own: %d wrong codes", n)
	}
	if n := allowed(fromBar("ip", "2001:db8::5"), "2001:db8::5"); n < 10 || n > 11 {
		t.Errorf("from an IPv6 address: %d wrong codes", n)
	}
	if n := allowed(fromBar("ip", "2001:db8::6"), "2001:db8::6"); n != 0 {
		t.Errorf("from the next one: %d wrong codes", n)
	}
	total := 0
	for i := range 20 {
		total += allowed(fromBar(), fmt.Sprintf("203.0.113.%d", 100+i))
	}
	if total > 80 {
		t.Errorf("from many addresses: %d wrong codes more", total)
	}
	// The other NASes go on.
	if got := try(fromGare(), "203.0.113.3", "1234"); got != http.StatusUnprocessableEntity {
		t.Errorf("elsewhere: %d", got)
	}
	if !strings.Contains(z.logged.String(), "somebody may be guessing") {
		t.Error("nobody is told")
	}
}

func TestTicketsAreNotForFlooding(t *testing.T) {
	z := newRemoteZone(t)
	state := stateOf(t, z.do(fromBar()))
	for range 300 {
		z.do(call{target: "/nas/connect", form: url.Values{"s": {state}}, accept: browser})
	}
	if n := z.tickets.len(); n < 200 || n > 210 {
		t.Errorf("%d tickets", n)
	}
}

func TestLargeNASForm(t *testing.T) {
	z := newRemoteZone(t)
	w := z.do(call{target: "/nas/voucher", form: url.Values{"s": {strings.Repeat("A", 5000)}}, accept: browser})
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d", w.Code)
	}
}

var formTarget = regexp.MustCompile(`(?:href|action)="([^"]*)"`)

// Whatever a request says, the answer is a page of ours that leads to pages of
// ours or to a NAS of ours.
func FuzzNAS(f *testing.F) {
	z := newRemoteZone(f)
	n := uint32(0)
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
	token := z.redeem("b-day", macB).Grant.Token
	seeds := []call{
		fromBar(), fromBar("error", `"><script>`), fromBar("link-login-only", "x"), fromBar("username", `\`, "error", "RADIUS server is not responding"),
		fromGare(), fromGare("res", "failed"), fromGare("res", "logoff"), fromGare("res", "success"), fromGare("uamip", "::1"),
		{target: "/nas/login?s=" + stateOf(f, z.do(fromBar()))}, {target: "/nas/status?t=" + token}, {target: "/nas/status?n=online&t=" + token},
		{target: "/nas/status?t=x"}, {target: "/nas/online"}, {target: "/nas/x"}, {target: "/nas/login?s=x"},
		{target: "/nas/login?s=" + base64.RawURLEncoding.EncodeToString([]byte(`{"k":"mikrotik","n":"bar","l":"http://10.5.50.1/login"}0123456789abcdef`))},
	}
	for _, c := range seeds {
		c.accept = browser
		known[tags(z.do(c).Body.String())] = true
		path, query, _ := strings.Cut(c.target, "?")
		f.Add(path, query, "", "fr")
		f.Add("/nas/voucher", "", query, "en")
	}
	known[tags(z.do(call{target: "/nas/voucher", form: url.Values{}, accept: browser}).Body.String())] = true
	known[tags(z.do(call{target: "/nas/voucher", accept: browser}).Body.String())] = true
	known[tags("")] = true
	f.Fuzz(func(t *testing.T, path, query, body, lang string) {
		n++
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if body != "" {
			r = httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		r.URL.Path, r.URL.RawQuery, r.Host = path, query, host
		r.RemoteAddr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 40000).String()
		r.Header.Set("Accept", browser)
		r.Header.Set("Accept-Language", lang)
		w := httptest.NewRecorder()
		z.handler.ServeHTTP(w, r)
		switch w.Code {
		case 200, 400, 403, 404, 405, 410, 413, 503:
			page := w.Body.String()
			if !known[tags(page)] {
				t.Errorf("what was sent changed the page: %q", page)
			}
			for _, m := range formTarget.FindAllStringSubmatch(page, -1) {
				if to := m[1]; !strings.HasPrefix(to, "/nas/") && to != "http://10.5.50.1/login" && to != "http://wifi.example:8080/login" {
					t.Errorf("the page leads to %q", to)
				}
			}
		case 303:
			if to := w.Header().Get("Location"); !strings.HasPrefix(to, "/nas/online") && !strings.HasPrefix(to, "/nas/status?") {
				t.Errorf("leads to %q", to)
			}
		default:
			t.Errorf("status %d", w.Code)
		}
		for _, source := range strings.Fields(w.Header().Get("Content-Security-Policy")) {
			if strings.Contains(source, "://") {
				switch u := strings.TrimSuffix(source, ";"); u {
				case "http://10.5.50.1", "https://10.5.50.1", "http://10.5.50.1:80", "https://10.5.50.1:443",
					"http://wifi.example:8080", "https://wifi.example:8080", "http://10.1.0.1:3990", "http://10.2.0.1:3990":
				default:
					t.Errorf("the policy lets a form go to %q", u)
				}
			}
		}
		for _, values := range w.Header() {
			for _, v := range values {
				if strings.ContainsAny(v, "\r\n") {
					t.Errorf("a header with a line break: %q", v)
				}
			}
		}
		if z.tickets.len() != 0 {
			t.Error("a ticket was made")
		}
	})
}
