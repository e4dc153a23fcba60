package store_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/store"
	"zonegate/sync/api"
)

// databases are what every test of a use case runs on.
var databases = []struct {
	name string
	make func(testing.TB) string
}{
	{"sqlite", func(tb testing.TB) string { return filepath.Join(tb.TempDir(), "hub.db") }},
	{"postgres", newPostgres},
}

// A world is a hub on an empty database.
type world struct {
	testing.TB
	*hub.Hub
	ctx      context.Context
	store    *store.Store
	keys     hub.Keys
	database string
	clock    *clock
	admin    hub.Actor
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

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

// onEach runs a test on every database.
func onEach(t *testing.T, test func(t *testing.T, w *world)) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) { test(t, newWorld(t, d.make(t))) })
	}
}

func newWorld(tb testing.TB, database string) *world {
	tb.Helper()
	keys, err := hub.NewKeys()
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{TB: tb, ctx: tb.Context(), keys: keys, database: database,
		clock: &clock{now: time.Date(2026, 2, 10, 12, 0, 0, 0, time.UTC)},
		admin: hub.Actor{User: "root", Name: "root", Role: hub.RoleAdmin}}
	w.open()
	return w
}

// open opens the database as another process would.
func (w *world) open() {
	w.Helper()
	s, err := store.Open(context.Background(), w.database, slog.New(slog.DiscardHandler))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if err := s.Close(); err != nil {
			w.Error("closing the store:", err)
		}
	})
	w.store = s
	w.Hub = hub.New(hub.Options{Store: s, Keys: w.keys, Hasher: plainHasher{}, Now: w.clock.Now, Settle: 10 * time.Minute})
}

// other is a second process on the same database.
func (w *world) other() *world {
	o := *w
	o.open()
	return &o
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// must returns the first and fails for the second.
func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

var plenty = hub.Limits{Vouchers: 100_000, Sites: 1000, Gateways: 1000}

func (w *world) reseller(name string, l hub.Limits) hub.Reseller {
	w.Helper()
	return must(w.CreateReseller(w.ctx, w.admin, name, l))(w)
}

func (w *world) site(r hub.Reseller, name string) hub.Site {
	w.Helper()
	return must(w.CreateSite(w.ctx, w.admin, r.ID, name, "XOF"))(w)
}

// A box is a gateway as it knows itself.
type box struct {
	hub.Gateway
	api.Enrolled
	instance string
	n        uint64 // last entry
}

func instance(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}

// gateway enrols one at a site.
func (w *world) gateway(s hub.Site, name string) *box {
	w.Helper()
	code := must(w.NewEnrolment(w.ctx, w.admin, s.ID, time.Hour))(w)
	b := &box{instance: instance(name)}
	b.Enrolled = must(w.Enrol(w.ctx, api.Enrol{Code: code.Code, Zone: s.Name, Name: name, Version: "1", Instance: b.instance}))(w)
	b.n = b.Enrolled.NextEntry - 1
	b.Gateway = must(w.Authenticate(w.ctx, b.Token))(w)
	return b
}

// again is the gateway as it stands now.
func (w *world) again(b *box) hub.Gateway {
	w.Helper()
	return must(w.Authenticate(w.ctx, b.Token))(w)
}

// plan is one that makes sense.
func plan(name string, price int64) zonegate.Plan {
	return zonegate.Plan{Name: name, Price: zonegate.Money{Amount: price, Currency: "XOF"}, Duration: 24 * time.Hour,
		DataCap: 500_000_000, Rate: zonegate.Rate{CIRUp: 512_000, CIRDown: 512_000, MIRUp: 2_048_000, MIRDown: 2_048_000}, DevicesMax: 1}
}

func (w *world) forfait(p zonegate.Plan) hub.Forfait {
	w.Helper()
	f, _, err := w.SetForfait(w.ctx, w.admin, hub.ForfaitChange{Plan: p})
	w.ok(err)
	return f
}

// pushes are those for a gateway after a number.
func (w *world) pushes(b *box, after uint64) []hub.Push {
	w.Helper()
	ps, _, err := w.PushesFor(w.ctx, b.Gateway, after, 1000)
	w.ok(err)
	return ps
}

func kinds(ps []hub.Push) string {
	var out []string
	for _, p := range ps {
		out = append(out, p.Kind)
	}
	return strings.Join(out, " ")
}

// sale is the next sale of a gateway.
func (b *box) sale(w *world, f hub.Forfait, amount int64) api.Entry {
	b.n++
	at := w.clock.Now()
	return api.Entry{N: b.n, At: &at, Kind: api.EntrySale, Grant: b.n, Source: "voucher", Ref: instance(b.ID + string(rune(b.n)))[:32],
		Plan: f.Plan.ID, PlanVersion: f.Plan.Version, Price: &api.Money{Amount: amount, Currency: f.Plan.Price.Currency}}
}

func (w *world) report(b *box, entries ...api.Entry) (api.Reported, error) {
	return w.Report(w.ctx, b.Gateway, api.Reports{Instance: b.instance, Entries: entries})
}

func (w *world) alarms(b *box) map[string]hub.Alarm {
	w.Helper()
	out := map[string]hub.Alarm{}
	for _, m := range must(w.Fleet(w.ctx, w.admin, hub.FleetQuery{Revoked: true, Max: 1000}))(w) {
		for _, a := range m.Alarms {
			if m.ID == b.ID {
				out[a.Kind] = a
			}
		}
	}
	return out
}

// count is how many rows a table has.
func (w *world) count(table string) (n uint64) {
	w.Helper()
	driver, source := "sqlite", w.database
	if strings.HasPrefix(w.database, "postgres") {
		driver = "pgx"
	}
	db, err := sql.Open(driver, source)
	w.ok(err)
	defer db.Close()
	w.ok(db.QueryRowContext(w.ctx, "SELECT COUNT(*) FROM "+table).Scan(&n))
	return n
}
