package portal_test

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"zonegate"
	"zonegate/portal"
)

// A book of hotspots by the host of their login page.
type book map[string]portal.Hotspot

// booking is held by who reads or adds while a browser may be under way.
var booking sync.Mutex

func (b book) ByLogin(host string) (portal.Hotspot, bool) {
	booking.Lock()
	defer booking.Unlock()
	h, ok := b[host]
	return h, ok
}

// A ticket as the RADIUS server keeps it.
type ticket struct {
	password, nas string
	device        zonegate.MAC
	grant         zonegate.GrantID
}

// A ticketBox gives each out once, to its device at its NAS.
type ticketBox struct {
	mu     sync.Mutex
	issued map[string]ticket
	count  int
}

func (b *ticketBox) Issue(nas string, device zonegate.MAC, grant zonegate.GrantID) (string, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count++
	user := "zg1." + strings.ToLower(rand.Text()[:16])
	b.issued[user] = ticket{strings.ToLower(rand.Text()[:16]), nas, device, grant}
	return user, b.issued[user].password
}

func (b *ticketBox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count
}

// take is what the RADIUS server does with a login.
func (b *ticketBox) take(user, nas string, device zonegate.MAC, proves func(string) bool) (ticket, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k, ok := b.issued[user]
	if !ok || k.nas != nas || k.device != device || !proves(k.password) {
		return ticket{}, false
	}
	delete(b.issued, user)
	return k, true
}

// A nasZone is a zone with NASes, whose customers reach the portal over a real
// connection.
type nasZone struct {
	*zone
	book    book
	tickets *ticketBox
	portal  *httptest.Server
}

func newNASZone(t testing.TB) *nasZone {
	z := &nasZone{zone: newZone(t), book: book{}, tickets: &ticketBox{issued: map[string]ticket{}}}
	z.server.Hotspots, z.server.Tickets = z.book, z.tickets
	// On the link the same pages are served, beside the others.
	z.handler = z.server.Handler()
	z.portal = httptest.NewServer(z.server.RemoteHandler())
	t.Cleanup(z.portal.Close)
	return z
}

// login is what the RADIUS server and the Gate make of a login at a NAS.
func (z *nasZone) login(nas string, device zonegate.MAC, user string, proves func(string) bool) bool {
	k, ok := z.tickets.take(user, nas, device, proves)
	if !ok {
		return false
	}
	_, err := z.gate.Admit(context.Background(), zonegate.Login{NAS: nas, Device: device, Grant: k.grant})
	return err == nil
}

// A mikrotik behaves as the hotspot of RouterOS: the values that it puts into
// its pages, the octal escapes, what it hashes, and its answers.
type mikrotik struct {
	*httptest.Server
	z         *nasZone
	name      string
	mac       zonegate.MAC
	loginHTML string
	// pap leaves the challenge out.
	pap bool
	// down has its RADIUS server not answer.
	down bool

	mu            sync.Mutex
	id, challenge []byte
	error, user   string
	online        bool
	posted        url.Values
}

func (z *nasZone) newMikroTik(name string, mac zonegate.MAC) *mikrotik {
	m := &mikrotik{z: z, name: name, mac: mac, loginHTML: portal.MikroTikLogin(z.portal.URL)}
	m.Server = httptest.NewUnstartedServer(m)
	m.Start()
	z.t.Cleanup(m.Close)
	booking.Lock()
	defer booking.Unlock()
	z.book[strings.TrimPrefix(m.URL, "http://")] = portal.Hotspot{Name: name, Kind: portal.KindMikroTik}
	return m
}

// octal is how RouterOS writes octets for the scripts of its pages.
func octal(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\%03o`, c)
	}
	return s.String()
}

var variable = regexp.MustCompile(`\$\(([a-z-]+)\)`)

// fill puts the variables into a page.
func (m *mikrotik) fill(page string) string {
	values := map[string]string{
		"mac": strings.ToUpper(m.mac.String()), "ip": "10.5.50.20", "username": m.user, "error": m.error,
		"link-login-only": m.URL + "/login", "chap-id": octal(m.id), "chap-challenge": octal(m.challenge),
	}
	return variable.ReplaceAllStringFunc(page, func(s string) string {
		name := variable.FindStringSubmatch(s)[1]
		if v, ok := values[name]; ok {
			return v
		}
		if v, ok := values[strings.TrimSuffix(name, "-esc")]; ok {
			return url.QueryEscape(v)
		}
		m.z.t.Errorf("the login page has an unknown variable %s", s)
		return ""
	})
}

func (m *mikrotik) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.URL.Path == "/favicon.ico" {
		// A file of the hotspot's own. Led to the login page, the browser's
		// question for it would draw a new challenge under the form that is open.
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	if r.URL.Path != "/login" {
		http.Redirect(w, r, m.URL+"/login?dst="+url.QueryEscape("http://example.com/"), http.StatusFound)
		return
	}
	_ = r.ParseForm()
	if m.user, m.error = r.PostForm.Get("username"), ""; m.user != "" {
		m.posted = r.PostForm
		given := r.PostForm.Get("password")
		switch {
		case m.down:
			m.error = "RADIUS server is not responding"
		case m.z.login(m.name, m.mac, m.user, func(password string) bool {
			if m.pap {
				return given == password
			}
			sum := md5.Sum([]byte(string(m.id) + password + string(m.challenge)))
			return given == hex.EncodeToString(sum[:])
		}):
			m.online = true
			to := html.EscapeString(r.PostForm.Get("dst"))
			fmt.Fprintf(w, `<html><head><meta http-equiv="refresh" content="2; url=%s"></head><body>You are logged in. <a href="%s">here</a></body></html>`, to, to)
			return
		default:
			m.error = "invalid username or password"
		}
	}
	m.id, m.challenge = nil, nil
	if !m.pap {
		m.id, m.challenge = make([]byte, 1), make([]byte, 16)
		rand.Read(m.id)
		rand.Read(m.challenge)
	}
	_, _ = io.WriteString(w, m.fill(m.loginHTML))
}

// A uam NAS behaves as CoovaChilli, or as uspot.
type uam struct {
	*httptest.Server
	z      *nasZone
	name   string
	mac    zonegate.MAC
	secret string
	uspot  bool
	// plain leaves the challenge out (nochallenge).
	plain bool
	down  bool
	// slash ends the address of the portal.
	slash string

	mu        sync.Mutex
	challenge []byte
	userurl   string
	online    bool
}

func (z *nasZone) newUAM(name string, mac zonegate.MAC, secret string) *uam {
	u := &uam{z: z, name: name, mac: mac, secret: secret, challenge: []byte("0123456789abcdef")}
	u.Server = httptest.NewUnstartedServer(u)
	u.Start()
	z.t.Cleanup(u.Close)
	booking.Lock()
	defer booking.Unlock()
	z.book[u.host()] = portal.Hotspot{Name: name, Kind: portal.KindUAM, UAMSecret: []byte(secret)}
	return u
}

func (u *uam) host() string { return strings.TrimPrefix(u.URL, "http://") }

// upper is the MD5 in the hexadecimal form that these NASes write.
func upper(s string) string {
	sum := md5.Sum([]byte(s))
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// address is where a browser is sent, with the same parameters in the same
// order.
func (u *uam) address(res, user string) string {
	ip, port, _ := strings.Cut(u.host(), ":")
	to := u.z.portal.URL + "/nas/uam" + u.slash + "?res=" + res + "&uamip=" + ip + "&uamport=" + port
	if !u.plain && res != "success" && res != "already" {
		to += "&challenge=" + hex.EncodeToString(u.challenge)
	}
	mac := strings.ReplaceAll(strings.ToUpper(u.mac.String()), ":", "-")
	if u.uspot {
		to += "&mac=" + u.mac.String() + "&ip=10.1.0.20&called=AA-BB-CC-00-00-01&nasid=" + u.name + "&sessionid=0011223344556677"
	} else {
		to += "&called=AA-BB-CC-00-00-01"
		if user != "" {
			to += "&uid=" + user + "&timeleft=3600"
		}
		to += "&mac=" + mac + "&ip=10.1.0.20&nasid=" + u.name + "&sessionid=0011223344556677"
	}
	if u.userurl != "" {
		to += "&userurl=" + url.QueryEscape(u.userurl)
	}
	if u.secret != "" {
		to += "&md=" + upper(to+u.secret)
	}
	return to
}

// parameter finds one as CoovaChilli does: the first text that looks like it.
func parameter(query, name string) string {
	_, rest, ok := strings.Cut("&"+query, "&"+name+"=")
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(rest, "&")
	decoded, _ := url.QueryUnescape(value)
	return decoded
}

func (u *uam) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	answer := func(res, user string) { http.Redirect(w, r, u.address(res, user), http.StatusFound) }
	switch r.URL.Path {
	case "/logoff":
		u.online = false
		answer("logoff", "")
		return
	case "/logon":
	default:
		u.userurl = "http://example.com/?a=b&c=d"
		answer("notyet", "")
		return
	}
	query := r.URL.RawQuery
	if u.uspot {
		u.userurl = parameter(query, "redir")
	} else {
		// It decodes this one twice.
		u.userurl, _ = url.QueryUnescape(parameter(query, "userurl"))
	}
	user := parameter(query, "username")
	challenge := u.challenge
	if u.secret != "" {
		sum := md5.Sum(append(append([]byte(nil), u.challenge...), u.secret...))
		challenge = sum[:]
	}
	failed := "failed&reason=reject"
	if u.uspot {
		failed = "reject"
	} else if u.down {
		failed = "failed&reason=timeout"
	}
	ok := !u.down && u.z.login(u.name, u.mac, user, func(password string) bool {
		if u.plain {
			return parameter(query, "password") == password
		}
		sum := md5.Sum([]byte("\x00" + password + string(challenge)))
		return strings.EqualFold(parameter(query, "response"), hex.EncodeToString(sum[:]))
	})
	if !ok {
		rand.Read(u.challenge)
		answer(failed, "")
		return
	}
	u.online = true
	answer("success", user)
}

// A surfer is a browser without scripts: it follows redirects and refreshes,
// and sends forms.
type surfer struct {
	t      *testing.T
	client *http.Client
	at     *url.URL
	status int
	page   string
	header http.Header
	lang   string
	// seen are all addresses that it went to.
	seen []string
}

func newSurfer(t *testing.T) *surfer {
	s := &surfer{t: t, lang: "fr"}
	s.client = &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			s.seen = append(s.seen, r.URL.String())
			return nil
		},
	}
	return s
}

func (s *surfer) do(r *http.Request, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Accept", browser)
	r.Header.Set("Accept-Language", s.lang)
	s.seen = append(s.seen, r.URL.String())
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	s.at, s.status, s.page, s.header = resp.Request.URL, resp.StatusCode, string(body), resp.Header
	if m := instant.FindStringSubmatch(s.page); m != nil {
		s.open(html.UnescapeString(m[1]))
	}
}

// instant is a refresh that leads to another page.
var instant = regexp.MustCompile(`http-equiv="refresh" content="[02]; url=([^"]*)"`)

func (s *surfer) open(address string) {
	s.t.Helper()
	u, err := url.Parse(address)
	if err == nil && s.at != nil {
		u = s.at.ResolveReference(u)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.do(http.NewRequest(http.MethodGet, u.String(), nil))
}

// send fills a form in and sends it.
func (s *surfer) send(action, field, value string) {
	s.t.Helper()
	form := fieldsOf(s.t, s.page, action, field)
	form.Set(field, value)
	to, err := s.at.Parse(action)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, to.String(), strings.NewReader(form.Encode()))
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	s.do(r, err)
}

// press sends a form as it is.
func (s *surfer) press(action string) {
	s.t.Helper()
	field := "s"
	if strings.HasPrefix(action, "http") {
		field = "dst"
	}
	s.send(action, field, fieldsOf(s.t, s.page, action, field).Get(field))
}

func (s *surfer) sees(wanted ...string) {
	s.t.Helper()
	for _, w := range wanted {
		if !strings.Contains(s.page, w) {
			s.t.Errorf("at %s (%d) the page lacks %q: %s", s.at, s.status, w, readable(s.page))
		}
	}
}

func (s *surfer) seesNot(unwanted ...string) {
	s.t.Helper()
	for _, w := range unwanted {
		if strings.Contains(s.page, w) {
			s.t.Errorf("at %s (%d) the page has %q: %s", s.at, s.status, w, readable(s.page))
		}
	}
}
