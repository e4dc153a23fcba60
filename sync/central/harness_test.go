package central

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/internal/store"
	"zonegate/sync/api"
)

// quick is the pace of tests: everything soon, but nothing so short that a
// busy machine makes a difference.
var quick = pace{
	header:       20 * time.Second,
	breakerFirst: 20 * time.Millisecond, breakerMost: 80 * time.Millisecond,
	retryFirst: 8 * time.Millisecond, retryMost: 40 * time.Millisecond,
	beat: 30 * time.Millisecond, trialBeat: 300 * time.Millisecond, denied: 60 * time.Millisecond,
	firstSign: 20 * time.Second, silence: 20 * time.Second, settled: time.Hour,
	poll: 20 * time.Millisecond, streamAgain: time.Hour,
	look: 5 * time.Millisecond, usage: time.Hour, keep: time.Hour, conflict: time.Hour,
	trial: 1500 * time.Millisecond, check: 10 * time.Millisecond,
	slow: 20 * time.Second,
}

// eventually waits for something that another goroutine does.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("it never happened: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

var day = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// A handClock runs with the machine's monotonic clock, from a wall time that
// the test sets.
type handClock struct {
	mu      sync.Mutex
	began   time.Time
	boot    string
	wall    time.Time
	trusted bool
	told    []time.Time
}

func newClock(wall time.Time, trusted bool) *handClock {
	return &handClock{began: time.Now(), boot: "boot", wall: wall, trusted: trusted}
}

func (c *handClock) Now() zonegate.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	mono := time.Since(c.began)
	return zonegate.Instant{Boot: c.boot, Mono: time.Minute + mono, Wall: c.wall.Add(mono), Trusted: c.trusted}
}

func (c *handClock) Trust(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, t)
	if !c.trusted {
		c.trusted, c.wall = true, t.Add(-time.Since(c.began))
	}
}

func (c *handClock) set(f func(*handClock)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

// A dataPath accepts every order.
type dataPath struct{}

func (dataPath) Apply(context.Context, []zonegate.Order) error { return nil }
func (dataPath) Change(context.Context, []zonegate.Order, []zonegate.SessionID) error {
	return nil
}
func (dataPath) Usage(context.Context) ([]zonegate.Usage, error) { return nil, nil }

// knobs are the settings of a gateway.
type knobs struct {
	mu     sync.Mutex
	values map[string]string
	log    []string
	fail   map[string]error // by value
	sick   error
}

func (k *knobs) Set(name, value string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.fail[value]; err != nil {
		return err
	}
	k.values[name] = value
	k.log = append(k.log, name+"="+value)
	return nil
}

func (k *knobs) get(name string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.values[name]
}

func (k *knobs) healthy() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sick
}

func (k *knobs) set(f func(*knobs)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(k)
}

// A zone is a whole gateway but for its data path: the real gate over a real
// store, and a Central.
type zone struct {
	t       *testing.T
	dir     string
	clock   *handClock
	knobs   *knobs
	opts    Options
	pace    pace
	gate    *zonegate.Gate
	store   *store.Store
	central *Central
	stops   []func()
}

// newZone returns a zone that runs, not joined to anything.
func newZone(t *testing.T, at Endpoint) *zone {
	t.Helper()
	z := &zone{
		t: t, dir: t.TempDir(), clock: newClock(day, true), pace: quick,
		knobs: &knobs{values: map[string]string{}, fail: map[string]error{}},
		opts:  Options{Endpoint: at, Zone: "awa-01", Name: "Chez Awa", Version: "test"},
	}
	z.startGate()
	t.Cleanup(func() {
		z.stopCentral()
		z.stopGate()
	})
	return z
}

func (z *zone) startGate() {
	z.t.Helper()
	s, err := store.Open(store.Options{Dir: z.dir, StateDir: z.dir})
	if err != nil {
		z.t.Fatal(err)
	}
	z.store = s
	z.gate = zonegate.NewGate(s.State(), s, s, dataPath{}, z.clock, zonegate.Options{RefusalTime: -1})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- z.gate.Run(ctx) }()
	z.stops = []func(){func() {
		cancel()
		if err := <-ended; err != nil {
			z.t.Errorf("the gate ended with %v", err)
		}
		if err := s.Close(); err != nil {
			z.t.Error(err)
		}
	}}
	if err := z.gate.Expire(z.t.Context()); err != nil {
		z.t.Fatal(err)
	}
}

func (z *zone) stopGate() {
	for _, stop := range z.stops {
		stop()
	}
	z.stops = nil
}

// open makes the Central, which reads hub.json.
func (z *zone) open() *Central {
	z.t.Helper()
	o := z.opts
	o.Dir, o.Gate, o.Clock, o.Settings, o.Healthy = z.dir, z.gate, z.clock, z.knobs, z.knobs.healthy
	o.Logger = slog.New(slog.NewTextHandler(testLog{z.t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c, err := New(o)
	if err != nil {
		z.t.Fatal(err)
	}
	c.pace = z.pace
	z.central = c
	return c
}

// A testLog shows what is logged with the test that it belongs to.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%.300s", bytes.TrimSpace(b))
	return len(b), nil
}

// run has the Central work.
func (z *zone) run() {
	z.t.Helper()
	c := z.central
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	z.stops = append([]func(){func() {
		cancel()
		if err := <-ended; err != nil {
			z.t.Errorf("the central ended with %v", err)
		}
	}}, z.stops...)
}

// stopCentral stops what run started.
func (z *zone) stopCentral() {
	for len(z.stops) > 1 {
		z.stops[0]()
		z.stops = z.stops[1:]
	}
}

// joined returns a zone that is joined to the hub and runs.
func joined(t *testing.T, h *fakeHub) *zone {
	t.Helper()
	z := newZone(t, h.endpoint())
	z.open()
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	z.run()
	z.connected()
	return z
}

func (z *zone) connected() {
	z.t.Helper()
	eventually(z.t, "connected to the hub", func() bool { return z.central.Status().Connected })
}

// sold has a voucher of the zone's own redeemed: two entries.
func (z *zone) sold(n int) {
	z.t.Helper()
	own := zonegate.Plan{ID: "own", Name: "own", Price: zonegate.Money{Amount: 100, Currency: "XOF"}, Duration: time.Hour, DevicesMax: 1}
	if err := z.gate.SetPlans(z.t.Context(), []zonegate.Plan{own}, false); err != nil {
		z.t.Fatal(err)
	}
	codes, err := z.gate.CreateVouchers(z.t.Context(), zonegate.Batch{Name: "b", Plan: "own"}, n)
	if err != nil {
		z.t.Fatal(err)
	}
	for i, code := range codes {
		_, err := z.gate.Redeem(z.t.Context(), zonegate.Redemption{Code: code, Device: mac(i)})
		if err != nil {
			z.t.Fatal(err)
		}
	}
}

var macs struct {
	sync.Mutex
	n uint32
}

// mac is a device that nobody had before.
func mac(int) zonegate.MAC {
	macs.Lock()
	defer macs.Unlock()
	macs.n++
	return zonegate.MAC{2, 0, byte(macs.n >> 24), byte(macs.n >> 16), byte(macs.n >> 8), byte(macs.n)}
}

func (z *zone) plan(id string) (zonegate.Plan, bool) {
	for _, p := range z.gate.Plans() {
		if p.ID == id {
			return p, true
		}
	}
	return zonegate.Plan{}, false
}

// found waits for a finding.
func (z *zone) found(subject string) api.Health {
	z.t.Helper()
	var got api.Health
	eventually(z.t, "a finding about "+subject, func() bool {
		for _, h := range z.central.Status().Findings {
			if h.Subject == subject {
				got = h
				return true
			}
		}
		return false
	})
	return got
}

func (z *zone) readFile() credential {
	z.t.Helper()
	content, err := os.ReadFile(filepath.Join(z.dir, FileName))
	if err != nil {
		z.t.Fatal(err)
	}
	var c credential
	if err := json.Unmarshal(content, &c); err != nil {
		z.t.Fatal(err)
	}
	return c
}

// A fakeHub keeps the contract, and breaks it where a test wants.
type fakeHub struct {
	t      *testing.T
	server *httptest.Server
	dir    string
	ca     *authority
	key    ed25519.PrivateKey
	site   string

	mu sync.Mutex
	// misbehave may answer a request in the hub's place.
	misbehave func(http.ResponseWriter, *http.Request) bool
	token     string
	revoked   bool
	tokens    int
	instance  string
	pushes    []numbered
	head      uint64
	entries   []api.Entry
	base      uint64 // the number before the first entry that it holds
	lost      int
	usage     map[uint64]api.Usage
	repeated  int
	acks      map[uint64][]api.Ack
	beats     []api.Heartbeat
	opened    int // streams
	pages     int
	after     []string // Last-Event-ID of streams and pages
	streams   map[chan struct{}]bool
	catalogue api.Catalogue
	now       func() time.Time
	signer    ed25519.PrivateKey
	tls       *tls.Config
	turned    chan struct{}
}

type numbered struct {
	seq    uint64
	signed api.Signed
}

const siteID = "7d444840-9dc0-11d1-b245-5ffdce74fad2"

func newFakeHub(t *testing.T) *fakeHub {
	t.Helper()
	return newFakeHubAt(t, day.AddDate(0, -1, 0), day.AddDate(0, 2, 0))
}

// newFakeHubAt has a certificate that is valid between two times.
func newFakeHubAt(t *testing.T, from, to time.Time) *fakeHub {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := &fakeHub{
		t: t, dir: t.TempDir(), key: key, signer: key, site: siteID, token: "none", now: func() time.Time { return day },
		usage: map[uint64]api.Usage{}, acks: map[uint64][]api.Ack{}, streams: map[chan struct{}]bool{}, turned: make(chan struct{}),
	}
	h.ca = newAuthority(t)
	h.server = httptest.NewUnstartedServer(http.HandlerFunc(h.serve))
	h.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.certify(h.ca.issue(t, from, to, "hub.test"))
	h.server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.tls, nil
	}}
	h.server.StartTLS()
	t.Cleanup(func() {
		h.drop()
		h.server.CloseClientConnections()
		h.server.Close()
	})
	return h
}

// certify gives the hub another certificate.
func (h *fakeHub) certify(c tls.Certificate) {
	h.set(func() { h.tls = &tls.Config{Certificates: []tls.Certificate{c}} })
}

func (h *fakeHub) endpoint() Endpoint {
	name := filepath.Join(h.dir, "ca.pem")
	if err := os.WriteFile(name, h.ca.pem, 0o600); err != nil {
		h.t.Fatal(err)
	}
	return Endpoint{URL: h.server.URL + "/api/v1", CA: name, Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }}
}

func (h *fakeHub) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.turned)
	h.turned = make(chan struct{})
}

// is looks at the hub's state.
func (h *fakeHub) is(f func() bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return f()
}

// drop ends all streams.
func (h *fakeHub) drop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.streams {
		close(s)
	}
	clear(h.streams)
}

// push signs and sends a change, and returns its number.
func (h *fakeHub) push(kind string, body any) uint64 {
	h.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.pushRaw(h.key, h.site, kind, raw)
}

func (h *fakeHub) pushRaw(key ed25519.PrivateKey, site, kind string, body []byte) uint64 {
	h.t.Helper()
	var seq uint64
	h.set(func() {
		h.head++
		seq = h.head
		s, err := api.Sign(key, api.Push{Seq: seq, Site: site, Kind: kind, At: day, Body: body})
		if err != nil {
			h.t.Error(err)
		}
		h.pushes = append(h.pushes, numbered{seq, s})
	})
	return seq
}

// answer waits for the answer to a push.
func (h *fakeHub) answer(seq uint64) api.Ack {
	h.t.Helper()
	var a api.Ack
	eventually(h.t, fmt.Sprintf("an answer to push %d", seq), func() bool {
		return h.is(func() bool {
			if list := h.acks[seq]; len(list) > 0 {
				a = list[len(list)-1]
				return true
			}
			return false
		})
	})
	return a
}

func (h *fakeHub) applied(seq uint64) {
	h.t.Helper()
	if a := h.answer(seq); a.Outcome != api.Applied {
		h.t.Fatalf("push %d: %+v, want it applied", seq, a)
	}
}

func problem(w http.ResponseWriter, status int, p api.Problem) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(p)
}

func (h *fakeHub) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	misbehave := h.misbehave
	h.mu.Unlock()
	if misbehave != nil && misbehave(w, r) {
		return
	}
	h.behave(w, r)
}

func (h *fakeHub) behave(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, api.MaxBody+1))
	if err != nil || len(body) > api.MaxBody {
		problem(w, 400, api.Problem{Code: api.CodeBadRequest})
		return
	}
	path := r.URL.Path[len("/api/v1"):]
	if path == api.PathEnrol {
		h.enrol(w, body)
		return
	}
	h.mu.Lock()
	ok, revoked := r.Header.Get("Authorization") == "Bearer "+h.token, h.revoked
	h.mu.Unlock()
	switch {
	case !ok:
		problem(w, 401, api.Problem{Code: api.CodeUnauthorized, Detail: "no such token"})
		return
	case revoked && path != api.PathEvents:
		problem(w, 403, api.Problem{Code: api.CodeRevoked, Detail: "taken off"})
		return
	}
	switch path {
	case api.PathCatalogue:
		h.mu.Lock()
		defer h.mu.Unlock()
		w.Header().Set("ETag", fmt.Sprintf(`"%d"`, h.catalogue.Version))
		if r.Header.Get("If-None-Match") == fmt.Sprintf(`"%d"`, h.catalogue.Version) {
			w.WriteHeader(304)
			return
		}
		json.NewEncoder(w).Encode(h.catalogue)
	case api.PathEvents:
		h.events(w, r)
	case api.PathAcks:
		var a api.Acks
		if json.Unmarshal(body, &a) != nil || len(a.Acks) > api.MaxAcks {
			problem(w, 400, api.Problem{Code: api.CodeBadRequest})
			return
		}
		h.set(func() {
			for _, one := range a.Acks {
				h.acks[one.Seq] = append(h.acks[one.Seq], one)
			}
		})
		w.WriteHeader(204)
	case api.PathReports:
		h.reports(w, body)
	case api.PathHeartbeat:
		var b api.Heartbeat
		if json.Unmarshal(body, &b) != nil {
			problem(w, 400, api.Problem{Code: api.CodeBadRequest})
			return
		}
		h.mu.Lock()
		now := h.now()
		beat := api.Beat{
			Time: now, Signature: base64.StdEncoding.EncodeToString(ed25519.Sign(h.signer, api.TimeMessage(b.Nonce, now))),
			Head: h.head, Entry: h.base + uint64(len(h.entries)),
		}
		h.mu.Unlock()
		h.set(func() { h.beats = append(h.beats, b) })
		json.NewEncoder(w).Encode(beat)
	default:
		problem(w, 404, api.Problem{Code: api.CodeNotFound})
	}
}

func (h *fakeHub) enrol(w http.ResponseWriter, body []byte) {
	var e api.Enrol
	if json.Unmarshal(body, &e) != nil || e.Code != "code" {
		problem(w, 401, api.Problem{Code: api.CodeUnauthorized, Detail: "no such code"})
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.instance != "" && h.instance != e.Instance {
		problem(w, 409, api.Problem{Code: api.CodeUsed, Detail: "the code was used"})
		return
	}
	h.instance = e.Instance
	h.tokens++
	h.token = fmt.Sprintf("token-%d", h.tokens)
	w.WriteHeader(201)
	json.NewEncoder(w).Encode(api.Enrolled{
		GatewayID: "gw-1", SiteID: h.site, Token: h.token,
		HubKey:  base64.StdEncoding.EncodeToString(h.key.Public().(ed25519.PublicKey)),
		CodeKey: base64.StdEncoding.EncodeToString(codeKey[:]), Head: h.head, NextEntry: h.base + uint64(len(h.entries)) + 1,
	})
}

var codeKey = zonegate.ZoneKey{1, 2, 3}

func (h *fakeHub) reports(w http.ResponseWriter, body []byte) {
	var r api.Reports
	if json.Unmarshal(body, &r) != nil || len(r.Entries) > api.MaxEntries || len(r.Usage) > api.MaxUsage {
		problem(w, 400, api.Problem{Code: api.CodeBadRequest})
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	next := h.base + uint64(len(h.entries)) + 1
	for i, e := range r.Entries {
		switch {
		case e.N > next && i == 0 && r.Lost:
			h.lost += int(e.N - next)
			for next < e.N {
				h.entries = append(h.entries, api.Entry{N: next, Kind: "lost"})
				next++
			}
			fallthrough
		case e.N == next:
			h.entries = append(h.entries, e)
			next++
		case e.N > next:
			problem(w, 409, api.Problem{Code: api.CodeGap, Expected: next})
			return
		default:
			if e.N <= h.base {
				continue
			}
			known, _ := json.Marshal(h.entries[e.N-h.base-1])
			again, _ := json.Marshal(e)
			if !bytes.Equal(known, again) {
				problem(w, 409, api.Problem{Code: api.CodeConflict, Expected: next})
				return
			}
			h.repeated++
		}
	}
	for _, u := range r.Usage {
		h.usage[u.Grant] = u
	}
	through := next - 1
	if n := len(r.Entries); n > 0 {
		through = r.Entries[n-1].N
	}
	json.NewEncoder(w).Encode(api.Reported{Through: through})
}

func (h *fakeHub) events(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64)
	if err != nil {
		problem(w, 400, api.Problem{Code: api.CodeBadRequest})
		return
	}
	if r.Header.Get("Accept") == "application/json" {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.pages++
		h.after = append(h.after, r.Header.Get("Last-Event-ID"))
		page := api.Pushes{Items: []api.Signed{}, Head: h.head}
		for _, p := range h.pushes {
			if p.seq > after && len(page.Items) < api.MaxPushPage {
				page.Items = append(page.Items, p.signed)
			}
		}
		json.NewEncoder(w).Encode(page)
		return
	}
	end := make(chan struct{})
	h.set(func() {
		h.opened++
		h.after = append(h.after, r.Header.Get("Last-Event-ID"))
		h.streams[end] = true
	})
	defer h.set(func() { delete(h.streams, end) })
	w.Header().Set("Content-Type", "text/event-stream")
	io.WriteString(w, ":\n\n")
	for {
		h.mu.Lock()
		turned := h.turned
		var out []numbered
		for _, p := range h.pushes {
			if p.seq > after {
				out = append(out, p)
			}
		}
		h.mu.Unlock()
		for _, p := range out {
			data, _ := json.Marshal(p.signed)
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", p.seq, data)
			after = p.seq
		}
		http.NewResponseController(w).Flush()
		select {
		case <-turned:
		case <-end:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// An authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: day.AddDate(-1, 0, 0), NotAfter: day.AddDate(10, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a *authority) issue(t *testing.T, from, to time.Time, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// hubPlan is a plan that makes sense.
func hubPlan(id string, version uint32) api.Plan {
	return api.Plan{
		ID: id, Version: version, Name: "Jour", Price: api.Money{Amount: 200, Currency: "XOF"}, Seconds: 86400,
		Octets: 500e6, CIRUp: 512e3, CIRDown: 512e3, MIRUp: 2048e3, MIRDown: 2048e3, DevicesMax: 1,
	}
}

func keys(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		k := codeKey.VoucherKey(fmt.Sprintf("CODE%04d", i))
		out[i] = k[:]
	}
	return out
}

var errTest = errors.New("broken for the test")
