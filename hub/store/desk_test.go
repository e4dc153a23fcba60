package store_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"testing"

	"zonegate/hub"
)

// A desk is a world in which a reseller has money and can take it out.
type desk struct {
	*world
	payouts hub.Payouts
	inbox   *inbox
	bank    *bank
	kofi    hub.Actor
	other   hub.Actor // a second admin
}

// inbox is a messenger that keeps what it is given.
type inbox struct {
	mu   sync.Mutex
	sent []string // "to text"
	fail error
}

func (i *inbox) Send(_ context.Context, to, text string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fail != nil {
		return i.fail
	}
	i.sent = append(i.sent, to+" "+text)
	return nil
}

var sixDigits = regexp.MustCompile(`\b\d{6}\b`)

// code is the last code that was sent.
func (i *inbox) code() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n := len(i.sent) - 1; n >= 0; n-- {
		if c := sixDigits.FindString(i.sent[n]); c != "" {
			return c
		}
	}
	return ""
}

// bank is a provider that does what the test says, and counts what it paid.
type bank struct {
	mu    sync.Mutex
	calls []hub.PayoutOrder
	looks int
	// answer and found are what the next calls are told; do, if there, runs
	// in the midst of a call.
	answer, found   hub.PayoutObservation
	failed, unfound error
	do              func()
}

func (b *bank) Payout(_ context.Context, o hub.PayoutOrder) (hub.PayoutObservation, error) {
	b.mu.Lock()
	b.calls = append(b.calls, o)
	do := b.do
	answer, failed := b.answer, b.failed
	b.mu.Unlock()
	if do != nil {
		do()
	}
	if lost := new(hub.AmbiguousError); errors.As(failed, &lost) {
		failed = &hub.AmbiguousError{ProviderRef: o.Reference + lost.ProviderRef, Err: lost.Err}
	}
	return named(answer, o), failed
}

// named gives a payout an id of its own.
func named(obs hub.PayoutObservation, o hub.PayoutOrder) hub.PayoutObservation {
	if obs.ProviderRef != "" {
		obs.ProviderRef = o.Reference + obs.ProviderRef
	}
	return obs
}

func (b *bank) LookupPayout(_ context.Context, o hub.PayoutOrder) (hub.PayoutObservation, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looks++
	return named(b.found, o), b.unfound
}

func (b *bank) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.calls)
}

// newDesk is one of Kofi, who has 100,000 XAF; change may alter the rule.
func newDesk(w *world, change func(*hub.Payouts)) *desk {
	w.Helper()
	d := &desk{world: w, inbox: &inbox{}, bank: &bank{}}
	d.payouts = hub.Payouts{Rules: []hub.WithdrawalRule{hub.DefaultWithdrawalRule()}, Messenger: d.inbox, Payers: map[string]hub.Payer{"bank": d.bank}}
	if change != nil {
		change(&d.payouts)
	}
	w.ok(d.payouts.Check())
	d.Hub = d.process()
	r := w.reseller("Kofi", plenty)
	must(w.CreateSite(w.ctx, w.admin, r.ID, "Douala", "XAF"))(w)
	d.kofi = hub.Actor{User: "u-kofi", Name: "kofi", Role: hub.RoleReseller, Reseller: r.ID}
	d.other = hub.Actor{User: "boss", Name: "boss", Role: hub.RoleAdmin}
	w.ok(d.SetKYC(w.ctx, w.admin, r.ID, hub.KYCVerified))
	d.fund(100_000)
	return d
}

// process is one more process on the same database.
func (d *desk) process() *hub.Hub {
	return hub.New(hub.Options{Store: d.store, Keys: d.keys, Hasher: plainHasher{}, Now: d.clock.Now, Payouts: d.payouts})
}

func byBank(p *hub.Payouts)      { p.Rules[0].Payer = "bank" }
func automatic(p *hub.Payouts)   { byBank(p); p.Rules[0].Automatic = true }
func twoPersons(p *hub.Payouts)  { p.Rules[0].ApproveAbove = 10_000 }
func automatic2(p *hub.Payouts)  { automatic(p); twoPersons(p) }
func claimFirst(p *hub.Payouts)  { p.Rules[0].ClaimFirst = true }
func noMessenger(p *hub.Payouts) { p.Messenger = nil }

func (d *desk) fund(amount int64) {
	d.Helper()
	d.ok(d.store.Write(d.ctx, func(tx hub.Tx) error {
		return d.Book(tx, hub.Transaction{Kind: hub.BookCorrection, Ref: fmt.Sprint("fund", amount, d.clock.Now()), Reseller: d.kofi.Reseller, Postings: []hub.Posting{
			{Account: hub.AccountProvider + "test", Currency: "XAF", Amount: amount}, {Account: hub.AccountReseller + d.kofi.Reseller, Currency: "XAF", Amount: -amount}}})
	}))
}

// balance is what Kofi can withdraw, and what is blocked.
func (d *desk) balance() (available, blocked int64) {
	d.Helper()
	for _, b := range must(d.ResellerBalances(d.ctx, d.admin, d.kofi.Reseller))(d) {
		if b.Currency == "XAF" {
			available, blocked = b.Available, b.Blocked
		}
	}
	return available, blocked
}

func (d *desk) wantBalance(what string, available, blocked int64) {
	d.Helper()
	if a, b := d.balance(); a != available || b != blocked {
		d.Errorf("%s: %d available and %d blocked, want %d and %d", what, a, b, available, blocked)
	}
	d.sound()
}

// sound holds the ledger against the withdrawals.
func (d *desk) sound() {
	d.Helper()
	var sum, blocked, open int64
	for _, b := range must(d.Balances(d.ctx, d.admin, ""))(d) {
		sum += b.Amount
		if b.Account == hub.AccountBlocked+d.kofi.Reseller {
			blocked = -b.Amount
		}
	}
	ws, _, err := d.Withdrawals(d.ctx, d.admin, hub.WithdrawalQuery{Max: 1000})
	d.ok(err)
	unresolved := 0
	for _, w := range ws {
		switch w.State {
		case hub.PayoutProcessing, hub.PayoutAmbiguous:
			unresolved++
			open += w.Amount.Amount
		case hub.PayoutRequested, hub.PayoutCodeSent, hub.PayoutVerified:
			open += w.Amount.Amount
		}
	}
	if sum != 0 || blocked != open || unresolved > 1 {
		d.Errorf("the ledger sums to %d; %d are blocked for %d open; %d are unresolved", sum, blocked, open, unresolved)
	}
}

const beneficiary = "+237612345678"

func ask(amount int64) hub.WithdrawalRequest {
	return hub.WithdrawalRequest{Amount: amount, Phone: beneficiary, Operator: "mtn_money"}
}

func (d *desk) request(amount int64) hub.Withdrawal {
	d.Helper()
	return must(d.RequestWithdrawal(d.ctx, d.kofi, ask(amount)))(d)
}

func (d *desk) verified(amount int64) hub.Withdrawal {
	d.Helper()
	w := d.request(amount)
	return must(d.ValidateWithdrawal(d.ctx, d.kofi, w.ID, d.inbox.code()))(d)
}

func (d *desk) state(w hub.Withdrawal) hub.PayoutState {
	d.Helper()
	return must(d.Withdrawal(d.ctx, d.admin, w.ID))(d).State
}

func onDesk(t *testing.T, change func(*hub.Payouts), test func(t *testing.T, d *desk)) {
	onEach(t, func(t *testing.T, w *world) { test(t, newDesk(w, change)) })
}

func wantState(t testing.TB, err error) {
	t.Helper()
	if e := new(hub.StateError); !errors.As(err, &e) {
		t.Errorf("got %v, want a StateError", err)
	}
}
