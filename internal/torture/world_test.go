package torture

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/sandbox"
	"zonegate/hub/store"
	"zonegate/sync/api"
)

var (
	admin  = hub.Actor{User: "root", Name: "root", Role: hub.RoleAdmin}
	second = hub.Actor{User: "second", Name: "second", Role: hub.RoleAdmin}
	third  = hub.Actor{User: "third", Name: "third", Role: hub.RoleAdmin}
)

// A shop is a site with its gateway, as the template has it.
type shop struct {
	provider, currency string
	reseller           hub.Actor
	site               hub.Site
	enrolled           api.Enrolled
	instance           string
	codeKey            zonegate.ZoneKey
	plans              []hub.Forfait
}

// A template is a hub's database with resellers, sites, gateways and forfaits,
// which every seed begins with a copy of.
type template struct {
	dir, database string
	keys          hub.Keys
	shops         []shop
}

var epoch = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func newTemplate(tb testing.TB) *template {
	tb.Helper()
	m := &template{dir: ram(tb)}
	m.database = filepath.Join(m.dir, "hub.db")
	random := newDice(7)
	var raw [32]byte
	random.Read(raw[:])
	text := fmt.Sprintf("zonehub keys 1\npush %x\njwt %x\nseal %x\nroaming %x\n", raw, raw, raw, raw)
	check(tb, m.keys.UnmarshalText([]byte(text)))
	s, err := store.Open(context.Background(), m.database, slog.New(slog.DiscardHandler))
	check(tb, err)
	ctx := context.Background()
	h := hub.New(hub.Options{Store: s, Keys: m.keys, Hasher: plain{}, Random: random, Now: func() time.Time { return epoch.Add(-time.Hour) }})
	var dealers []hub.Actor
	for _, name := range []string{"R1", "R2"} {
		r, err := h.CreateReseller(ctx, admin, name, hub.Limits{Vouchers: 1000, Sites: 10, Gateways: 10})
		check(tb, err)
		check(tb, h.SetKYC(ctx, admin, r.ID, hub.KYCPremium))
		dealers = append(dealers, hub.Actor{User: name, Name: name, Role: hub.RoleReseller, Reseller: r.ID})
	}
	for i, x := range []struct {
		provider, currency string
		reseller           int
		price              int64
	}{{sandbox.FlexPay, "CDF", 0, 300_000}, {sandbox.MyPayGa, "XAF", 0, 2000}, {sandbox.KKiaPay, "XOF", 1, 2500}} {
		k := shop{provider: x.provider, currency: x.currency, reseller: dealers[x.reseller]}
		k.site, err = h.CreateSite(ctx, admin, k.reseller.Reseller, x.currency, x.currency)
		check(tb, err)
		code, err := h.NewEnrolment(ctx, admin, k.site.ID, time.Hour)
		check(tb, err)
		sum := sha256.Sum256([]byte(x.currency))
		k.instance = hex.EncodeToString(sum[:16])
		k.enrolled, err = h.Enrol(ctx, api.Enrol{Code: code.Code, Zone: x.currency, Name: x.currency, Version: "1", Instance: k.instance})
		check(tb, err)
		key, err := base64.StdEncoding.DecodeString(k.enrolled.CodeKey)
		check(tb, err)
		k.codeKey = zonegate.ZoneKey(key)
		for j, price := range []int64{x.price, 3 * x.price} {
			f, _, err := h.SetForfait(ctx, admin, hub.ForfaitChange{Reseller: k.reseller.Reseller, Plan: zonegate.Plan{
				Name: fmt.Sprint("plan ", i, j), Price: zonegate.Money{Amount: price, Currency: x.currency}, Duration: 90 * 24 * time.Hour,
				Rate: zonegate.Rate{CIRUp: 512_000, CIRDown: 512_000, MIRUp: 2_048_000, MIRDown: 2_048_000}, DevicesMax: 1}})
			check(tb, err)
			k.plans = append(k.plans, f)
		}
		m.shops = append(m.shops, k)
	}
	// Something to withdraw from the first day.
	_, err = h.Correct(ctx, admin, "opening", "what they had before", time.Time{}, m.opening(dealers[0].Reseller))
	check(tb, err)
	check(tb, s.Close())
	return m
}

// opening is what the first reseller has at first.
func (m *template) opening(reseller string) []hub.Posting {
	return []hub.Posting{{Account: hub.AccountProvider + sandbox.FlexPay, Currency: "CDF", Amount: 120_000}, {Account: hub.AccountReseller + reseller, Currency: "CDF", Amount: -120_000},
		{Account: hub.AccountProvider + sandbox.MyPayGa, Currency: "XAF", Amount: 1200}, {Account: hub.AccountReseller + reseller, Currency: "XAF", Amount: -1200}}
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// plain is quick; the real hasher has its own tests.
type plain struct{}

func (plain) Hash(_ context.Context, password string) (string, error) { return password, nil }
func (plain) Verify(_ context.Context, hash, password string) (bool, error) {
	return hash == password, nil
}

// dice are random octets of a seed, for whoever draws at the same time.
type dice struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func newDice(seed uint64) *dice {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return &dice{r: rand.NewChaCha8(key)}
}

func (d *dice) Read(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.Read(b)
}

var _ io.Reader = (*dice)(nil)

// A world is what one seed makes.
type world struct {
	t     *testing.T
	ctx   context.Context
	made  *template
	dir   string
	seed  uint64
	rng   *rand.Rand
	trace []string
	begun time.Time

	store *store.Store
	bank  *sandbox.Server
	hub   *process
	gates []*gate
	// ahead is how much the hub's wall clock is before the true one.
	ahead time.Duration

	calm    bool   // no faults any more
	next    func() // happens within the next call of a provider
	faulty  bool   // the providers have faults
	inside  bool   // an action within a call of a provider
	serial  int
	orders  []*order
	hints   []hinted
	pages   map[string]int // payment pages, and how often somebody paid there
	codes   map[string]string
	reviews map[string]bool // payments that an admin has accepted
	hand    map[string]int64
	gone    map[string]bool   // grants that a gateway has taken back
	decided map[string]bool   // refunds that an admin has decided about
	told    map[string]bool   // paid charges that the hub was told of
	taken   map[string]bool   // those among them that it could look up at once
	payees  map[string]string // withdrawal of a number
	failed  error
}

// An order is a customer's wish to pay.
type order struct {
	gate   *gate
	id     zonegate.IntentID
	device zonegate.MAC
	phone  string
}

// A hinted is a callback that is on its way inside the hub.
type hinted struct {
	provider string
	hint     hub.Hint
	heard    hub.Callback
	unknown  bool // no payment: a payout, perhaps
}

func newWorld(t *testing.T, made *template, dir string, seed uint64) *world {
	w := &world{t: t, ctx: context.Background(), made: made, dir: dir, seed: seed, rng: rand.New(rand.NewPCG(seed, 0x6d6f6e6579)),
		begun: time.Now(), pages: map[string]int{}, codes: map[string]string{}, reviews: map[string]bool{}, hand: map[string]int64{}, told: map[string]bool{}, taken: map[string]bool{}, gone: map[string]bool{}, decided: map[string]bool{}, payees: map[string]string{}}
	database := filepath.Join(dir, "hub.db")
	check(t, copyFile(made.database, database))
	var err error
	w.store, err = store.Open(w.ctx, database, slog.New(slog.DiscardHandler))
	check(t, err)
	o := sandbox.Defaults()
	o.Now, o.Seed, o.Transport, o.Delay = w.now, seed+1, callbacks{w}, 8*time.Second
	o.MyPayGa.CallbackURL, o.MyPayGa.CallbackSecret = public+"/callbacks/mypayga", "s3"
	o.KKiaPay.WebhookURL = public + "/callbacks/kkiapay"
	o.Quirks.CheckPayouts = w.chance(50)
	o.Quirks.Repeat = pick(w, []string{sandbox.RepeatCharge, sandbox.RepeatRefuse, sandbox.RepeatSame})
	o.Quirks.StrictJSON = w.chance(50)
	o.Quirks.StateData = pick(w, []string{sandbox.StateObject, sandbox.StateString, sandbox.StateDouble})
	w.bank = sandbox.New(o)
	w.startHub()
	leave := w.rng.IntN(len(made.shops))
	for i := range made.shops {
		if i != leave {
			w.gates = append(w.gates, w.newGate(&made.shops[i]))
		}
	}
	return w
}

func (w *world) close() {
	for _, g := range w.gates {
		g.stop()
	}
	check(w.t, w.store.Close())
}

// now is the true time.
func (w *world) now() time.Time { return epoch.Add(time.Since(w.begun)) }

// pass lets time go by, and everybody do what he does by himself.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }

func pick[T any](w *world, list []T) T { return list[w.rng.IntN(len(list))] }

func (w *world) say(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%9.3f ", time.Since(w.begun).Seconds())+fmt.Sprintf(format, args...))
}

// fail notes what is wrong; the first counts.
func (w *world) fail(format string, args ...any) {
	if w.failed == nil {
		w.failed = fmt.Errorf(format, args...)
		w.say("WRONG: %v", w.failed)
	}
}

// digest is the state of the hub's money in one line.
func (w *world) digest() string {
	sum := sha256.New()
	check(w.t, w.store.Read(w.ctx, func(tx hub.Tx) error {
		ps, err := tx.Payments(hub.PaymentQuery{Max: 1000})
		if err != nil {
			return err
		}
		for _, p := range ps {
			fmt.Fprintln(sum, p)
		}
		bs, err := tx.Balances("")
		fmt.Fprintln(sum, bs)
		return err
	}))
	return hex.EncodeToString(sum.Sum(nil)[:6])
}

var errLost = errors.New("the line was cut")

// callbacks take what providers send.
type callbacks struct{ w *world }

func (c callbacks) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	provider := filepath.Base(r.URL.Path)
	return c.w.callback(provider, r.Header, r.URL.Query(), body)
}

func (w *world) callback(provider string, header, query map[string][]string, body []byte) (*http.Response, error) {
	if w.hub.dead {
		return nil, errLost
	}
	answer := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
	hint, err := w.hub.readers[provider].ReadCallback(header, query, body)
	if err != nil {
		w.say("callback of %s refused: %v", provider, err)
		answer.StatusCode = http.StatusUnauthorized
		return answer, nil
	}
	heard, err := w.hub.HearHint(w.ctx, provider, hint)
	unknown := errors.Is(err, hub.ErrNotFound)
	switch {
	case w.hub.dead:
		return nil, errLost
	case err != nil && !unknown:
		w.say("callback of %s: %v", provider, err)
		answer.StatusCode = http.StatusServiceUnavailable
		return answer, nil
	}
	for _, m := range w.bank.Charged(hint.ProviderRef) {
		w.told[m.ID] = w.told[m.ID] || m.Provider == provider && m.Reference == hint.Reference && !unknown
	}
	w.hints = append(w.hints, hinted{provider, hint, heard, unknown})
	return answer, nil
}

// heed takes callbacks that the hub has heard, in any order. A hub that stops
// before does not look them up.
func (w *world) heed() {
	for len(w.hints) > 0 && !w.hub.dead {
		i := w.rng.IntN(len(w.hints))
		x := w.hints[i]
		w.hints = append(w.hints[:i:i], w.hints[i+1:]...)
		var err error
		if x.unknown {
			_, err = w.hub.PayoutHint(w.ctx, x.provider, x.hint)
		} else {
			err = w.hub.HeedHint(w.ctx, x.heard)
		}
		for _, m := range w.bank.Charged(x.hint.ProviderRef) {
			mine := m.Provider == x.provider && m.Reference == x.hint.Reference && err == nil && !w.hub.dead
			w.taken[m.ID] = w.taken[m.ID] || mine && !x.unknown && !w.faulty && len(w.bank.Refunded(m.ID)) == 0
		}
		w.say("hint %s %s %s: %s", x.provider, x.hint.Reference, x.hint.ProviderRef, w.result(err))
	}
}

// result is an error for the trace.
func (w *world) result(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}
