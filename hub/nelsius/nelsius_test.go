package nelsius_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/nelsius"
	"zonegate/hub/sandbox"
	"zonegate/hub/server"
	"zonegate/hub/store"
	"zonegate/hub/withdrawal"
)

type plainHasher struct{}

func (plainHasher) Hash(_ context.Context, password string) (string, error) {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:]), nil
}

func (h plainHasher) Verify(ctx context.Context, hash, password string) (bool, error) {
	got, err := h.Hash(ctx, password)
	return got == hash, err
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

// inbox is a messenger that keeps what it is given.
type inbox struct {
	mu   sync.Mutex
	last string
}

func (i *inbox) Send(_ context.Context, _, text string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last = text
	return nil
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

var (
	root      = hub.Actor{User: "root", Name: "root", Role: hub.RoleAdmin}
	sixDigits = regexp.MustCompile(`\b\d{6}\b`)
)

const (
	phone    = "237612345678"
	password = "correct horse battery"
)

// newHub is a hub with one reseller, who has money.
func newHub(t *testing.T, c *clock, payouts hub.Payouts, amount int64) (*hub.Hub, hub.Actor, hub.Keys) {
	t.Helper()
	st, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "hub.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	keys := must(hub.NewKeys())(t)
	if err := payouts.Check(); err != nil {
		t.Fatal(err)
	}
	h := hub.New(hub.Options{Store: st, Keys: keys, Hasher: plainHasher{}, Now: c.Now, Payouts: payouts})
	r := must(h.CreateReseller(t.Context(), root, "Kofi", hub.Limits{Vouchers: 1, Sites: 1, Gateways: 1}))(t)
	u := must(h.CreateUser(t.Context(), root, hub.NewUser{Name: "kofi@example.com", Password: password, Role: hub.RoleReseller, Reseller: r.ID}))(t)
	if err := h.SetKYC(t.Context(), root, r.ID, hub.KYCPremium); err != nil {
		t.Fatal(err)
	}
	if err := st.Write(t.Context(), func(tx hub.Tx) error {
		return h.Book(tx, hub.Transaction{Kind: hub.BookCorrection, Ref: "fund", Postings: []hub.Posting{
			{Account: "provider/nelsius", Currency: "XAF", Amount: amount}, {Account: hub.AccountReseller + r.ID, Currency: "XAF", Amount: -amount}}})
	}); err != nil {
		t.Fatal(err)
	}
	return h, u.Actor(), keys
}

// A world is a hub whose withdrawals in XAF are paid by a Nelsius.
type world struct {
	*testing.T
	*hub.Hub
	ctx    context.Context
	clock  *clock
	kofi   hub.Actor
	client *nelsius.Client
	bank   *sandbox.Server
}

func text(s string) func() string { return func() string { return s } }

func newClient(t *testing.T, url, email, word string) *nelsius.Client {
	t.Helper()
	c := must(nelsius.New(nelsius.Options{URL: url, Email: text(email), Password: text(word), Timeout: time.Second}))(t)
	t.Cleanup(c.Close)
	return c
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, ctx: t.Context(), clock: &clock{now: time.Date(2026, 2, 10, 12, 0, 0, 0, time.UTC)}}
	o := sandbox.Defaults()
	o.Now, o.Delay, o.Nelsius.KYC, o.Nelsius.Balance = w.clock.Now, -1, "verified", 500_000
	w.bank = sandbox.New(o)
	srv := httptest.NewServer(w.bank)
	t.Cleanup(srv.Close)
	t.Cleanup(w.bank.Mend)
	w.client = newClient(t, srv.URL+sandbox.NelsiusBase, o.Nelsius.Email, o.Nelsius.Password)
	w.Hub, w.kofi, _ = newHub(t, w.clock, payouts(w.client), 100_000)
	return w
}

func payouts(p hub.Payer) hub.Payouts {
	r := hub.DefaultWithdrawalRule()
	r.Payer, r.Count = "nelsius", 100
	return hub.Payouts{Rules: []hub.WithdrawalRule{r}, Payers: map[string]hub.Payer{"nelsius": p}, CallTime: 5 * time.Second}
}

func (w *world) request(amount int64) (hub.Withdrawal, error) {
	return w.RequestWithdrawal(w.ctx, w.kofi, hub.WithdrawalRequest{Amount: amount, Phone: "+" + phone, Operator: "mtn_money"})
}

// sweeps has time pass.
func (w *world) sweeps(d time.Duration) {
	w.Helper()
	for ; d > 0; d -= time.Minute {
		w.clock.pass(time.Minute)
		w.bank.Step(w.ctx)
		w.SweepPayouts(w.ctx) // an error is a provider that is away: tried again
	}
}

func (w *world) want(x hub.Withdrawal, s hub.PayoutState, available, blocked int64) {
	w.Helper()
	got := must(w.Withdrawal(w.ctx, root, x.ID))(w)
	if got.State != s {
		w.Errorf("it is %s (%s), want %s", got.State, got.Reason, s)
	}
	w.wantBalance(available, blocked)
}

func (w *world) wantBalance(available, blocked int64) {
	w.Helper()
	b := must(w.ResellerBalances(w.ctx, root, w.kofi.Reseller))(w)
	if len(b) != 1 || b[0].Available != available || b[0].Blocked != blocked {
		w.Errorf("the balance is %+v, want %d and %d", b, available, blocked)
	}
}

// code is the last that Nelsius has sent.
func (w *world) code() string {
	w.Helper()
	m := w.bank.Messages(phone)
	if len(m) == 0 {
		w.Fatal("no code was sent")
	}
	return sixDigits.FindString(m[len(m)-1].Text)
}

// last is the number of the newest withdrawal at Nelsius, and how many
// there are.
func (w *world) last() int { return len(w.bank.Messages(phone)) }

func TestThrough(t *testing.T) {
	w := newWorld(t)
	x := must(w.request(50_000))(t)
	if x.State != hub.PayoutCodeSent || x.ProviderRef != "1" || !x.TheirFee {
		t.Fatalf("asked: %+v", x)
	}
	w.want(x, hub.PayoutCodeSent, 50_000, 50_000)
	wrong := "000000"
	if w.code() == wrong {
		wrong = "111111"
	}
	_, err := w.ValidateWithdrawal(w.ctx, w.kofi, x.ID, wrong)
	if e := new(hub.CodeError); !errors.As(err, &e) || e.Left != 4 {
		t.Errorf("a wrong code: %v", err)
	}
	w.want(x, hub.PayoutCodeSent, 50_000, 50_000)
	w.clock.pass(5 * time.Minute)
	again := must(w.ResendWithdrawalCode(w.ctx, w.kofi, x.ID))(t)
	if !again.CodeExpires.Equal(w.clock.Now().Add(10 * time.Minute)) {
		t.Errorf("the new code is good until %v", again.CodeExpires)
	}
	got := must(w.ValidateWithdrawal(w.ctx, w.kofi, x.ID, w.code()))(t)
	if got.State != hub.PayoutProcessing || got.Verified.IsZero() {
		t.Errorf("validated: %+v", got)
	}
	// Nelsius takes its time; nothing else goes out meanwhile.
	w.sweeps(time.Hour)
	w.want(x, hub.PayoutProcessing, 50_000, 50_000)
	y := must(w.request(10_000))(t)
	if _, err := w.ValidateWithdrawal(w.ctx, w.kofi, y.ID, w.code()); !errors.Is(err, hub.ErrPayoutOpen) {
		t.Errorf("a second one at once: %v", err)
	}
	must(w.CancelWithdrawal(w.ctx, w.kofi, y.ID))(t)
	w.want(y, hub.PayoutCanceled, 50_000, 50_000)
	charges := w.bank.Open()
	if len(charges) != 1 {
		t.Fatalf("%d wait at Nelsius", len(charges))
	}
	if err := w.bank.Approve(charges[0].ID); err != nil {
		t.Fatal(err)
	}
	w.sweeps(2 * time.Hour)
	w.want(x, hub.PayoutCompleted, 50_000, 0)
	if available, blocked := w.bank.Wallet(); available != 450_000 || blocked != 0 {
		t.Errorf("at Nelsius %d are there and %d blocked", available, blocked)
	}
	for _, b := range must(w.Balances(w.ctx, root, ""))(t) {
		if b.Account == "provider/nelsius" && b.Amount != 50_000 || b.Account == hub.AccountCharge && b.Amount != 0 {
			t.Errorf("the books: %+v", b)
		}
	}
	// What Nelsius gives up comes back.
	z := must(w.request(10_000))(t)
	must(w.ValidateWithdrawal(w.ctx, w.kofi, z.ID, w.code()))(t)
	if err := w.bank.Refuse(w.bank.Open()[0].ID, "Numéro invalide"); err != nil {
		t.Fatal(err)
	}
	w.sweeps(2 * time.Hour)
	w.want(z, hub.PayoutFailed, 50_000, 0)
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	try := func(what string) {
		t.Helper()
		x, err := w.request(50_000)
		if !errors.Is(err, hub.ErrMessenger) || x.State != hub.PayoutFailed {
			t.Errorf("%s: %s, %v", what, x.State, err)
		}
		w.wantBalance(100_000, 0)
	}
	if err := w.bank.SetWallet(500_000, "unverified"); err != nil {
		t.Fatal(err)
	}
	try("no KYC")
	for _, status422 := range []bool{false, true} {
		if err := w.bank.SetWallet(100, "verified"); err != nil {
			t.Fatal(err)
		}
		if err := w.bank.SetQuirks(sandbox.Quirks{Poor422: status422}); err != nil {
			t.Fatal(err)
		}
		try("no money")
	}
	_, err := w.client.Payout(w.ctx, hub.PayoutOrder{Amount: zonegate.Money{Amount: 500, Currency: "XOF"}, Phone: phone})
	if e := new(hub.RejectedError); !errors.As(err, &e) {
		t.Errorf("another currency: %v", err)
	}
	// Out of date there, and here.
	if err := w.bank.SetWallet(500_000, "verified"); err != nil {
		t.Fatal(err)
	}
	x := must(w.request(10_000))(t)
	w.sweeps(11 * time.Minute)
	w.want(x, hub.PayoutExpired, 100_000, 0)
	// Five wrong codes.
	x = must(w.request(10_000))(t)
	for range 5 {
		w.ValidateWithdrawal(w.ctx, w.kofi, x.ID, "no")
	}
	if _, err := w.ValidateWithdrawal(w.ctx, w.kofi, x.ID, w.code()); !errors.Is(err, hub.ErrExpired) {
		t.Errorf("after five wrong codes: %v", err)
	}
	w.sweeps(15 * time.Minute)
	if s := must(w.Withdrawal(w.ctx, root, x.ID))(t).State; s != hub.PayoutCanceled && s != hub.PayoutExpired {
		t.Errorf("after five wrong codes it is %s", s)
	}
	w.wantBalance(100_000, 0)
	if _, blocked := w.bank.Wallet(); blocked != 0 {
		t.Errorf("%d are blocked at Nelsius", blocked)
	}
}

// Whatever is lost, and where: Nelsius is asked once, and money moves once.
func TestLost(t *testing.T) {
	kinds := []string{sandbox.FaultDrop, sandbox.FaultHalf, sandbox.FaultError, sandbox.FaultPage, sandbox.FaultNull, sandbox.FaultHang, sandbox.FaultStrings}
	for _, path := range []string{"/auth/login", "/withdrawals/request", "/withdrawals/list", "/withdrawals/validate", "/withdrawals/show", "/withdrawals/cancel", ""} {
		for i, kind := range kinds {
			for _, before := range []bool{false, true} {
				moves := path == "/withdrawals/request" || path == "/withdrawals/validate"
				if i > 3 && !moves {
					continue // like the others, where nothing moves
				}
				times := 1 + i%2*2
				t.Run(fmt.Sprint(path, " ", kind, " ", before, " ", times), func(t *testing.T) {
					t.Parallel()
					testLost(t, sandbox.Fault{Kind: kind, Path: "/nelsius" + path, Before: before, Times: times})
				})
			}
		}
	}
}

func testLost(t *testing.T, f sandbox.Fault) {
	w := newWorld(t)
	must(w.request(500))(t) // of the same number, and not the one
	if err := w.bank.Break(f); err != nil {
		t.Fatal(err)
	}
	x, err := w.request(50_000)
	if err == nil && x.State == hub.PayoutRequested {
		w.sweeps(3 * time.Minute)
		x = must(w.Withdrawal(w.ctx, root, x.ID))(t)
	}
	if n := w.last(); n > 2 {
		t.Errorf("Nelsius was asked %d times", n-1)
	}
	if x.State == hub.PayoutCodeSent {
		for range 4 {
			got, err := w.ValidateWithdrawal(w.ctx, w.kofi, x.ID, w.code())
			if err != nil && errors.As(err, new(*hub.CodeError)) {
				t.Errorf("the right code: %v", err)
			}
			if got.State == hub.PayoutProcessing || got.State == hub.PayoutAmbiguous {
				w.sweeps(3 * time.Minute)
			}
			if now := must(w.Withdrawal(w.ctx, root, x.ID))(t); now.State != hub.PayoutCodeSent {
				break
			}
		}
		for _, c := range w.bank.Open() {
			if err := w.bank.Approve(c.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.bank.Mend()
	w.sweeps(5 * time.Hour)
	x = must(w.Withdrawal(w.ctx, root, x.ID))(t)
	available, blocked := w.bank.Wallet()
	ours, want := int64(100_000), int64(500_000)
	switch x.State {
	case hub.PayoutCompleted:
		ours, want = 50_000, 450_000
	case hub.PayoutFailed, hub.PayoutExpired, hub.PayoutCanceled:
	default:
		t.Errorf("it ends in %s: %s", x.State, x.Reason)
	}
	if available != want || blocked != 0 {
		t.Errorf("it is %s here, and Nelsius has %d and %d blocked", x.State, available, blocked)
	}
	w.wantBalance(ours, 0)
}

// Two of the same amount to the same number are never taken for each other.
func TestTwins(t *testing.T) {
	w := newWorld(t)
	first := must(w.request(10_000))(t)
	if err := w.bank.Break(sandbox.Fault{Kind: sandbox.FaultDrop, Path: "/nelsius/withdrawals/request", Before: true, Times: 1}); err != nil {
		t.Fatal(err)
	}
	second := must(w.request(10_000))(t)
	if second.State != hub.PayoutRequested {
		t.Fatalf("the second is %s", second.State)
	}
	w.sweeps(5 * time.Minute)
	if got := must(w.Withdrawal(w.ctx, root, second.ID))(t); got.ProviderRef != "" || got.State != hub.PayoutRequested {
		t.Errorf("the second got the first's number: %+v", got)
	}
	must(w.ValidateWithdrawal(w.ctx, w.kofi, first.ID, w.code()))(t)
	w.sweeps(2 * time.Hour)
	w.want(second, hub.PayoutFailed, 90_000, 10_000)
	w.want(first, hub.PayoutProcessing, 90_000, 10_000)
}

// The hub's own server of the same API is a back end as good as Nelsius.
func TestOwnServer(t *testing.T) {
	c := &clock{now: time.Date(2026, 2, 10, 12, 0, 0, 0, time.UTC)}
	in := &inbox{}
	back, owner, keys := newHub(t, c, hub.Payouts{Messenger: in, NumberWait: -1}, 500_000)
	srv := httptest.NewServer(withdrawal.New(withdrawal.Options{Hub: back, Tokens: server.Tokens{Key: keys.JWT, Now: c.Now}}))
	t.Cleanup(srv.Close)
	w := &world{T: t, ctx: t.Context(), clock: c, bank: sandbox.New(sandbox.Options{Now: c.Now})}
	w.client = newClient(t, srv.URL+"/api", "kofi@example.com", password)
	w.Hub, w.kofi, _ = newHub(t, c, payouts(w.client), 100_000)
	x := must(w.request(50_000))(t)
	if x.State != hub.PayoutCodeSent || x.ProviderRef != "1" {
		t.Fatalf("asked: %+v", x)
	}
	if found := must(w.client.LookupPayout(w.ctx, hub.PayoutOrder{Phone: phone, Operator: "mtn_money", Amount: x.Amount, Made: x.Made}))(t); found.ProviderRef != "1" || found.State != hub.PayoutCodeSent {
		t.Errorf("looked for: %+v", found)
	}
	if got := must(w.ValidateWithdrawal(w.ctx, w.kofi, x.ID, sixDigits.FindString(in.last)))(t); got.State != hub.PayoutProcessing {
		t.Errorf("validated: %+v", got)
	}
	theirs, err := back.WithdrawalByNumber(t.Context(), owner, 1)
	if err != nil || theirs.State != hub.PayoutVerified {
		t.Fatalf("at the other hub: %+v, %v", theirs, err)
	}
	must(back.CompleteWithdrawal(t.Context(), root, theirs.ID, "MAN-1", ""))(t)
	w.sweeps(2 * time.Hour)
	w.want(x, hub.PayoutCompleted, 50_000, 0)
	y := must(w.request(10_000))(t)
	must(w.CancelWithdrawal(w.ctx, w.kofi, y.ID))(t)
	w.want(y, hub.PayoutCanceled, 50_000, 0)
	if _, err := w.client.LookupPayout(w.ctx, hub.PayoutOrder{ProviderRef: "99", Phone: phone}); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []nelsius.Options{
		{},
		{URL: "http://bank.example/api", Email: text("a"), Password: text("b")},
		{URL: "https://bank.example/api", Email: text("a"), Password: text("")},
		{URL: "https://bank.example/api"},
	} {
		if _, err := nelsius.New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
