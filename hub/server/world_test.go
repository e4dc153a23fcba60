package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/contract"
	"zonegate/hub/store"
	"zonegate/internal/lab/postgres"
	"zonegate/sync/api"
)

// database is a PostgreSQL server for all tests of this package.
var database = sync.OnceValues(func() (*postgres.Server, error) {
	s, err := postgres.Start("max_connections=100")
	if err == nil {
		stopDatabase = s.Stop
	}
	return s, err
})

var stopDatabase func() error

var theContract = sync.OnceValues(func() (*contract.Contract, error) {
	spec, err := os.ReadFile("../../sync/api/openapi.yaml")
	if err != nil {
		return nil, err
	}
	return contract.New(spec)
})

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

// A world is a hub that serves, with some things in it.
type world struct {
	*testing.T
	hub      *hub.Hub
	server   *Server
	keys     hub.Keys
	database string
	url      string
	client   *http.Client
	contract *contract.Contract
	log      *logged
	stop     func()
	shift    *atomic.Int64 // how far the hub's clock is ahead

	admin, reseller, seller string // tokens
	resellerID              string
	site                    hub.Site
	box                     *box
	forfait                 hub.Forfait
}

// A box is a gateway that was enrolled.
type box struct {
	api.Enrolled
	instance string
	n        uint64 // last entry
}

// logged keeps what the hub has logged.
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

// onEach runs a test on both databases, at the same time unless it is to
// measure.
func onEach(t *testing.T, change func(*Options), test func(w *world)) {
	both := func(t *testing.T) {
		if os.Getenv("HUB_GATEWAYS") == "" {
			t.Parallel()
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		both(t)
		test(newWorld(t, filepath.Join(t.TempDir(), "hub.db"), change))
	})
	t.Run("postgres", func(t *testing.T) {
		both(t)
		test(newWorld(t, newPostgres(t), change))
	})
}

func newPostgres(t *testing.T) string {
	t.Helper()
	db, err := database()
	if err != nil {
		t.Fatal(err)
	}
	url, err := db.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return url
}

const adminPassword = "correct horse battery"

var operator = hub.Actor{Name: "tests", Role: hub.RoleAdmin}

// newWorld fills an empty database and serves it.
func newWorld(t *testing.T, database string, change func(*Options)) *world {
	t.Helper()
	keys, err := hub.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, keys: keys, database: database, shift: new(atomic.Int64)}
	if w.contract, err = theContract(); err != nil {
		t.Fatal(err)
	}
	w.serve(change)
	ctx := t.Context()
	r, err := w.hub.CreateReseller(ctx, operator, "Kofi", hub.Limits{Vouchers: 1000, Sites: 100, Gateways: 100})
	w.ok(err)
	w.resellerID = r.ID
	for _, u := range []hub.NewUser{
		{Name: "boss", Role: hub.RoleAdmin}, {Name: "kofi", Role: hub.RoleReseller, Reseller: r.ID}, {Name: "ama", Role: hub.RoleSeller, Reseller: r.ID},
	} {
		u.Password = adminPassword
		_, err := w.hub.CreateUser(ctx, operator, u)
		w.ok(err)
	}
	w.admin, w.reseller, w.seller = w.login("boss"), w.login("kofi"), w.login("ama")
	w.site, err = w.hub.CreateSite(ctx, operator, r.ID, "Gbegamey", "XOF")
	w.ok(err)
	w.box = w.enrol(w.site, "one")
	w.forfait = w.setForfait(hub.ForfaitChange{Plan: plan("Jour", 500)})
	return w
}

// serve opens the database as a process of its own and serves it.
func (w *world) serve(change func(*Options)) {
	w.Helper()
	st, err := store.Open(context.Background(), w.database, slog.New(slog.DiscardHandler))
	w.ok(err)
	w.log = &logged{}
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.hub = hub.New(hub.Options{Store: st, Keys: w.keys, Hasher: plainHasher{}, Now: w.now, Log: log, PublicURL: "https://hub.example/"})
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() { w.hub.Run(ctx) })
	tasks.Go(func() { st.Run(ctx) })
	cert, pool := testCertificate()
	o := Options{Hub: w.hub, Tokens: Tokens{Key: w.keys.JWT, Now: w.now}, TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Log: log}
	if change != nil {
		change(&o)
	}
	w.server = New(o)
	w.Cleanup(func() {
		cancel()
		tasks.Wait()
		st.Close()
	})
	w.url, w.stop = serve(w.T, w.server)
	w.client = newClient(pool)
}

// another is a second process on the same database.
func (w *world) another() *world {
	o := *w
	o.serve(nil)
	return &o
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.shift.Load())) }

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func plan(name string, price int64) zonegate.Plan {
	return zonegate.Plan{Name: name, Price: zonegate.Money{Amount: price, Currency: "XOF"}, Duration: 24 * time.Hour, DataCap: 500_000_000,
		Rate: zonegate.Rate{CIRUp: 512_000, CIRDown: 512_000, MIRUp: 2_048_000, MIRDown: 2_048_000}, DevicesMax: 1}
}

func (w *world) setForfait(c hub.ForfaitChange) hub.Forfait {
	w.Helper()
	f, _, err := w.hub.SetForfait(w.Context(), operator, c)
	w.ok(err)
	return f
}

func instanceOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}

// enrol lets a gateway in, over HTTP.
func (w *world) enrol(site hub.Site, name string) *box {
	w.Helper()
	code, err := w.hub.NewEnrolment(w.Context(), operator, site.ID, time.Hour)
	w.ok(err)
	b := &box{instance: instanceOf(name)}
	w.call(ask{path: api.PathEnrol, body: api.Enrol{Code: code.Code, Zone: site.Name, Name: name, Version: "1", Instance: b.instance},
		status: http.StatusCreated, into: &b.Enrolled})
	b.n = b.NextEntry - 1
	return b
}

func (w *world) login(name string) string {
	w.Helper()
	var token api.Token
	w.call(ask{path: api.PathLogin, body: api.Login{Name: name, Password: adminPassword}, status: http.StatusOK, into: &token})
	return token.Token
}

// An ask is one call and what it is to be answered with.
type ask struct {
	method, path string // POST if there is a body, GET if not
	token        string
	header       http.Header
	body         any // string and []byte as they are, anything else as JSON
	status       int
	code         string // of the problem
	into         any
}

// call does a call, holds the exchange against the contract, and returns the
// answer's header and body.
func (w *world) call(c ask) (http.Header, []byte) {
	w.Helper()
	var body []byte
	switch b := c.body.(type) {
	case nil:
	case string:
		body = []byte(b)
	case []byte:
		body = b
	default:
		var err error
		body, err = json.Marshal(b)
		w.ok(err)
	}
	if c.method == "" {
		c.method = "GET"
		if c.body != nil {
			c.method = "POST"
		}
	}
	url := w.url + Base + c.path
	if strings.HasPrefix(c.path, "!") { // not under the base
		url = w.url + c.path[1:]
	}
	r, err := http.NewRequestWithContext(w.Context(), c.method, url, bytes.NewReader(body))
	w.ok(err)
	if c.header != nil {
		r.Header = c.header.Clone()
	} else if c.body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	a, err := w.client.Do(r)
	w.ok(err)
	defer a.Body.Close()
	answer, err := io.ReadAll(a.Body)
	w.ok(err)
	what := c.method + " " + c.path
	if a.StatusCode != c.status {
		w.Fatalf("%s: status %d, want %d: %.300s", what, a.StatusCode, c.status, answer)
	}
	if err := w.contract.Check(contract.Exchange{Method: c.method, URL: url, Header: r.Header, Body: body,
		Status: a.StatusCode, AnswerHeader: a.Header, Answer: answer}); err != nil && !strings.HasPrefix(c.path, "!") {
		w.Errorf("%s is not as the contract has it: %v\n%.300s", what, err, answer)
	}
	if c.code != "" {
		var p api.Problem
		if err := json.Unmarshal(answer, &p); err != nil || p.Code != c.code || p.Detail == "" {
			w.Errorf("%s: problem %+v (%v), want code %s", what, p, err, c.code)
		}
	}
	if c.into != nil {
		if err := json.Unmarshal(answer, c.into); err != nil {
			w.Fatalf("%s: %v: %.300s", what, err, answer)
		}
	}
	return a.Header, answer
}

// sale is the next sale of a gateway.
func (b *box) sale(f hub.Forfait) api.Entry {
	b.n++
	at := time.Now().UTC()
	return api.Entry{N: b.n, At: &at, Kind: api.EntrySale, Grant: b.n, Source: "voucher", Ref: instanceOf(fmt.Sprint(b.GatewayID, b.n)),
		Plan: f.Plan.ID, PlanVersion: f.Plan.Version, Price: &api.Money{Amount: f.Plan.Price.Amount, Currency: f.Plan.Price.Currency}}
}

func (b *box) beat() api.Heartbeat {
	nonce := make([]byte, 16)
	return api.Heartbeat{Instance: b.instance, Boot: "boot", Version: "1", Nonce: base64.StdEncoding.EncodeToString(nonce)}
}

// running is the world for the helpers of streams.
func (w *world) running() *running {
	return &running{Server: w.server, url: w.url, client: w.client, stop: w.stop}
}

// post does a call that any goroutine may do.
func post(client *http.Client, url, token string, body, into any) (int, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequest("POST", url, bytes.NewReader(b))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	a, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	answer, err := io.ReadAll(a.Body)
	if err == nil && into != nil && a.StatusCode < 300 {
		err = json.Unmarshal(answer, into)
	}
	return a.StatusCode, err
}
