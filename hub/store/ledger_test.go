package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"zonegate/hub"
)

func postings(lines ...any) (out []hub.Posting) {
	for i := 0; i < len(lines); i += 2 {
		out = append(out, hub.Posting{Account: lines[i].(string), Currency: "XOF", Amount: int64(lines[i+1].(int))})
	}
	return out
}

func (w *world) book(t hub.Transaction) error {
	return w.store.Write(w.ctx, func(tx hub.Tx) error { return w.Book(tx, t) })
}

func TestLedger(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for name, lines := range map[string][]hub.Posting{
			"nothing":    nil,
			"one line":   postings("a", 1),
			"no sum":     postings("a", 5, "b", -4),
			"zero":       postings("a", 5, "b", -5, "c", 0),
			"no account": postings("a", 5, "", -5),
			"no end":     postings("a", 1<<51, "b", -(1 << 51)),
			"currencies": {{Account: "a", Currency: "XOF", Amount: 5}, {Account: "b", Currency: "CDF", Amount: -5}},
		} {
			if err := w.book(hub.Transaction{Kind: "test", Ref: name, Postings: lines}); err == nil {
				t.Errorf("%s was booked", name)
			}
		}
		if w.count("transactions") != 0 || w.count("postings") != 0 {
			t.Error("something was kept of what was refused")
		}
		w.ok(w.book(hub.Transaction{Kind: "payment", Ref: "1", Reseller: "r", Postings: postings("provider/x", 100, "reseller/r", -60, "party/rgz", -40)}))
		w.ok(w.book(hub.Transaction{Kind: "reserve", Ref: "1", Reseller: "r", Note: "a withdrawal", Postings: postings("reseller/r", 20, "blocked/r", -20)}))
		w.ok(w.book(hub.Transaction{Kind: "payment", Ref: "2", Reseller: "q", Postings: []hub.Posting{
			{Account: "provider/x", Currency: "CDF", Amount: 9}, {Account: "reseller/q", Currency: "CDF", Amount: -9}}}))
		if err := w.book(hub.Transaction{Kind: "payment", Ref: "1", Postings: postings("a", 1, "b", -1)}); !errors.Is(err, hub.ErrExists) {
			t.Errorf("booked twice: %v", err)
		}
		want := "[{blocked/r XOF -20} {party/rgz XOF -40} {provider/x CDF 9} {provider/x XOF 100} {reseller/q CDF -9} {reseller/r XOF -40}]"
		if got := fmt.Sprint(must(w.Balances(w.ctx, w.admin, ""))(t)); got != want {
			t.Errorf("balances %s, want %s", got, want)
		}
		if got := fmt.Sprint(must(w.Balances(w.ctx, w.admin, "reseller/"))(t)); got != "[{reseller/q CDF -9} {reseller/r XOF -40}]" {
			t.Errorf("balances of resellers: %s", got)
		}
		r := hub.Actor{Role: hub.RoleReseller, Reseller: "r"}
		if got := must(w.ResellerBalances(w.ctx, r, ""))(t); len(got) != 1 || got[0] != (hub.ResellerBalance{Currency: "XOF", Available: 40, Blocked: 20}) {
			t.Errorf("the reseller has %+v", got)
		}
		for name, err := range map[string]error{
			"another's":      second(w.ResellerBalances(w.ctx, r, "q")),
			"all balances":   second(w.Balances(w.ctx, r, "")),
			"another's book": second(w.Transactions(w.ctx, r, hub.LedgerQuery{Reseller: "q"})),
		} {
			if !errors.Is(err, hub.ErrForbidden) {
				t.Errorf("%s: %v", name, err)
			}
		}
		ts := must(w.Transactions(w.ctx, r, hub.LedgerQuery{}))(t)
		if len(ts) != 2 {
			t.Fatalf("%d transactions", len(ts))
		}
		for _, x := range ts {
			if err := x.Check(); err != nil || !x.At.Equal(w.clock.Now()) || x.Reseller != "r" {
				t.Errorf("%+v: %v", x, err)
			}
		}
		for q, n := range map[hub.LedgerQuery]int{
			{}: 3, {Kind: "payment"}: 2, {Account: "blocked/r"}: 1, {Account: "blocked"}: 0, {From: w.clock.Now()}: 3,
			{From: w.clock.Now().Add(time.Second)}: 0, {To: w.clock.Now()}: 0, {Max: 1}: 1, {Before: ts[1].ID, Reseller: "r"}: 0,
		} {
			if got := must(w.Transactions(w.ctx, w.admin, q))(t); len(got) != n {
				t.Errorf("%+v: %d transactions, want %d", q, len(got), n)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

// TestLastFranc: who looks at a balance under its lock takes no franc that
// somebody else takes at the same moment.
func TestLastFranc(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.ok(w.book(hub.Transaction{Kind: "payment", Ref: "1", Reseller: "r", Postings: postings("provider/x", 100, "reseller/r", -100)}))
		poor := errors.New("not enough")
		two := []*world{w, w.other()}
		var mu sync.Mutex
		var wg sync.WaitGroup
		taken := 0
		for i := range 20 {
			wg.Go(func() {
				err := two[i%2].store.Write(w.ctx, func(tx hub.Tx) error {
					if err := tx.Lock(hub.LedgerLock("r")); err != nil {
						return err
					}
					b, err := tx.BalancesOf("reseller/r")
					if err != nil {
						return err
					}
					if -b[0].Amount < 30 {
						return poor
					}
					return w.Book(tx, hub.Transaction{Kind: "reserve", Ref: fmt.Sprint(i), Postings: postings("reseller/r", 30, "blocked/r", -30)})
				})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					taken++
				} else if !errors.Is(err, poor) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if taken != 3 {
			t.Errorf("30 of 100 were taken %d times", taken)
		}
	})
}
