package central

import (
	"bytes"
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
	"fmt"
	"io"
	"log"
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
	"zonegate/sync/api"
)

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
	channels  []api.Channel
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
	return Endpoint{URL: h.server.URL + "/api/v1", CA: name, Proxy: func(*url.URL) (*url.URL, error) { return nil, nil }}
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
			Head: h.head, Entry: h.base + uint64(len(h.entries)), Channels: h.channels,
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
