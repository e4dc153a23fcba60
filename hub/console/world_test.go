package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/server"
	"zonegate/hub/store"
	"zonegate/sync/api"
)

// plainHasher is quick; the real one has its own tests.
type plainHasher struct{}

func (plainHasher) Hash(_ context.Context, password string) (string, error) {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:]), nil
}

func (h plainHasher) Verify(ctx context.Context, hash, password string) (bool, error) {
	got, err := h.Hash(ctx, password)
	return got == hash, err
}

const password = "correct horse battery"

var operator = hub.Actor{Name: "tests", Role: hub.RoleAdmin}

// A world is a hub on SQLite whose console is served over TLS.
type world struct {
	*testing.T
	hub   *hub.Hub
	url   string
	tls   *http.Client
	log   *logged
	shift atomic.Int64
	sent  inbox

	kofi, ada hub.Reseller
	site      hub.Site
	other     hub.Site // Ada's
	forfait   hub.Forfait
	gateway   hub.Gateway
	entry     uint64
}

// An inbox keeps the last message that was sent.
type inbox struct {
	mu       sync.Mutex
	to, text string
}

func (i *inbox) Send(_ context.Context, to, text string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.to, i.text = to, text
	return nil
}

var sixDigits = regexp.MustCompile(`\b[0-9]{6}\b`)

func (i *inbox) code() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return sixDigits.FindString(i.text)
}

// logged keeps what was logged.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.shift.Load())) }

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// newHub is an empty hub with its console.
func newHub(t *testing.T, limit server.Limit) *world {
	t.Helper()
	w := &world{T: t, log: &logged{}}
	keys, err := hub.NewKeys()
	w.ok(err)
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	st, err := store.Open(context.Background(), filepath.Join(t.TempDir(), "hub.db"), log)
	w.ok(err)
	rule := hub.DefaultWithdrawalRule()
	rule.Currency, rule.Phones, rule.Operators = "XOF", []string{"229xxxxxxxxxx"}, []string{"mtn_money"}
	w.hub = hub.New(hub.Options{Store: st, Keys: keys, Hasher: plainHasher{}, Now: w.now, Log: log,
		Payouts: hub.Payouts{Rules: []hub.WithdrawalRule{rule}, Messenger: &w.sent, NumberWait: -1}})
	tokens := server.Tokens{Key: keys.Seal, Now: w.now}
	var s *server.Server
	pages := New(Options{Hub: w.hub, Tokens: tokens, Key: keys.JWT, Now: w.now, Log: log,
		Attempt: func(r *http.Request, name string) time.Duration { return s.AttemptLogin(r, name) }})
	s = server.New(server.Options{Hub: w.hub, Tokens: server.Tokens{Key: keys.JWT}, Pages: pages, Log: log, Limits: server.Limits{Login: limit}})
	web := httptest.NewTLSServer(s)
	w.url, w.tls = web.URL, web.Client()
	t.Cleanup(func() {
		web.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// newWorld is a hub with two resellers, all roles, a site with a gateway, a
// forfait. name is put into every name that people choose.
func newWorld(t *testing.T, name string) *world {
	t.Helper()
	w := newHub(t, server.Limit{})
	ctx := t.Context()
	var err error
	limits := hub.Limits{Vouchers: 1000, Sites: 10, Gateways: 10}
	w.kofi, err = w.hub.CreateReseller(ctx, operator, "Kofi"+name, limits)
	w.ok(err)
	w.ada, err = w.hub.CreateReseller(ctx, operator, "Ada"+name, limits)
	w.ok(err)
	for _, u := range []hub.NewUser{
		{Name: "boss", Role: hub.RoleAdmin}, {Name: "kofi", Role: hub.RoleReseller, Reseller: w.kofi.ID},
		{Name: "ama", Role: hub.RoleSeller, Reseller: w.kofi.ID}, {Name: "ada", Role: hub.RoleReseller, Reseller: w.ada.ID},
	} {
		u.Password = password
		_, err := w.hub.CreateUser(ctx, operator, u)
		w.ok(err)
	}
	w.site, err = w.hub.CreateSite(ctx, operator, w.kofi.ID, "Gbegamey"+name, "XOF")
	w.ok(err)
	w.other, err = w.hub.CreateSite(ctx, operator, w.ada.ID, "Akwa"+name, "XAF")
	w.ok(err)
	w.forfait, _, err = w.hub.SetForfait(ctx, operator, hub.ForfaitChange{Plan: zonegate.Plan{Name: "Jour" + name,
		Price: zonegate.Money{Amount: 500, Currency: "XOF"}, Duration: 24 * time.Hour, DataCap: 500_000_000,
		Rate: zonegate.Rate{CIRDown: 512_000, MIRDown: 2_048_000, MIRUp: 1_000_000}, DevicesMax: 1}})
	w.ok(err)
	code, err := w.hub.NewEnrolment(ctx, operator, w.site.ID, time.Hour)
	w.ok(err)
	in, err := w.hub.Enrol(ctx, api.Enrol{Code: code.Code, Zone: "z", Name: "box" + name, Version: "1", Instance: strings.Repeat("a", 32)})
	w.ok(err)
	w.gateway, err = w.hub.Authenticate(ctx, in.Token)
	w.ok(err)
	w.beat(name)
	return w
}

func (w *world) beat(name string) {
	w.Helper()
	_, err := w.hub.Heartbeat(w.Context(), w.gateway, api.Heartbeat{Instance: w.gateway.Instance, Boot: "boot", Version: "1.2.3" + name,
		Nonce: "AAAAAAAAAAAAAAAAAAAAAA==", Plans: 7, Unsent: 41, Sessions: 12, Vouchers: 99,
		Health: []api.Health{{Severity: "error", Subject: "uplink" + name, Detail: "no answer" + name}}})
	w.ok(err)
	w.ok(w.hub.Flush(w.Context()))
}

// sell reports a sale of the gateway.
func (w *world) sell(amount int64) {
	w.Helper()
	w.entry++
	at := w.now().UTC()
	_, err := w.hub.Report(w.Context(), w.gateway, api.Reports{Instance: w.gateway.Instance, Entries: []api.Entry{{N: w.entry, At: &at,
		Kind: api.EntrySale, Grant: w.entry, Source: "voucher", Ref: strings.Repeat("0", 31) + number(w.entry), Plan: w.forfait.Plan.ID,
		PlanVersion: w.forfait.Plan.Version, Price: &api.Money{Amount: amount, Currency: "XOF"}}}})
	w.ok(err)
}

// A browser is one person's.
type browser struct {
	*world
	client *http.Client
	lang   string
	token  string // of the last page's forms
}

// An answer is what the browser got.
type answer struct {
	status   int
	location string
	header   http.Header
	body     string
}

func (w *world) browser() *browser {
	w.Helper()
	jar, err := cookiejar.New(nil)
	w.ok(err)
	return &browser{world: w, lang: "en", client: &http.Client{Transport: w.tls.Transport, Jar: jar, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// as is a browser of somebody who has signed in.
func (w *world) as(name string) *browser {
	w.Helper()
	b := w.browser()
	b.get("/login", http.StatusOK)
	if a := b.post("/login", url.Values{"name": {name}, "password": {password}}, http.StatusSeeOther); a.location != "/fleet" {
		w.Fatalf("signing in as %s leads to %q", name, a.location)
	}
	b.get("/account", http.StatusOK)
	return b
}

var tokenField = regexp.MustCompile(`name="token" value="([^"]+)"`)

func (b *browser) do(r *http.Request, status int) answer {
	b.Helper()
	r.Header.Set("Accept-Language", b.lang)
	got, err := b.client.Do(r)
	b.ok(err)
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	b.ok(err)
	a := answer{got.StatusCode, got.Header.Get("Location"), got.Header, string(body)}
	if m := tokenField.FindStringSubmatch(a.body); m != nil {
		b.token = m[1]
	}
	if status != 0 && a.status != status {
		b.Fatalf("%s %s: status %d, want %d\n%s", r.Method, r.URL.Path, a.status, status, words(a.body))
	}
	return a
}

func (b *browser) get(path string, status int) answer {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), "GET", b.url+path, nil)
	b.ok(err)
	return b.do(r, status)
}

// post sends a form with the token of the last page, unless v has one.
func (b *browser) post(path string, v url.Values, status int) answer {
	b.Helper()
	if v == nil {
		v = url.Values{}
	}
	if !v.Has("token") {
		v.Set("token", b.token)
	}
	r, err := http.NewRequestWithContext(b.Context(), "POST", b.url+path, strings.NewReader(v.Encode()))
	b.ok(err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(r, status)
}

// deeds is how many lines the audit log has.
func (w *world) deeds() int {
	w.Helper()
	d, err := w.hub.Deeds(w.Context(), operator, "", 1000)
	w.ok(err)
	return len(d)
}

var tags = regexp.MustCompile(`<[^>]*>`)

// words is a page without its tags.
func words(body string) string {
	return strings.Join(strings.Fields(tags.ReplaceAllString(body, " ")), " ")
}

func (w *world) has(a answer, texts ...string) {
	w.Helper()
	for _, t := range texts {
		if !strings.Contains(strings.ReplaceAll(words(a.body), nbsp, " "), t) {
			w.Errorf("the page does not say %q: %s", t, words(a.body))
		}
	}
}

func (w *world) hasNot(a answer, texts ...string) {
	w.Helper()
	for _, t := range texts {
		if strings.Contains(a.body, t) {
			w.Errorf("the page says %q: %s", t, words(a.body))
		}
	}
}
