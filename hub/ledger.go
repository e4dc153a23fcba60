package hub

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The ledger is double entry: each transaction's postings add up to zero in
// each currency. It has the money that the platform holds. What a reseller
// takes in cash for vouchers stays in his drawer: it is in the sales, with its
// custody, and never payable.
//
// Amounts are signed: what is held is positive, what is owed negative.
const (
	// AccountProvider is the money at a provider: "provider/flexpay".
	AccountProvider = "provider/"
	// AccountFee is what providers keep by contract: "fee/flexpay".
	AccountFee = "fee/"
	// AccountReseller is what a reseller can withdraw: "reseller/<id>";
	// AccountBlocked what is reserved for his withdrawal on its way.
	AccountReseller = "reseller/"
	AccountBlocked  = "blocked/"
	// AccountParty is what another party of the split owns: "party/rgz".
	AccountParty = "party/"
	// AccountRefund is what is on its way back to customers: "refund/flexpay".
	AccountRefund = "refund/"
	// AccountSurplus is what customers paid above the price, AccountReview what
	// came and nobody has decided on: "surplus/flexpay", "review/flexpay".
	AccountSurplus = "surplus/"
	AccountReview  = "review/"
	// AccountCharge is what the platform takes for withdrawals.
	AccountCharge = "charge/withdrawal"
)

// A Posting is one line.
type Posting struct {
	Account  string
	Currency string
	Amount   int64 // minor units
}

// A Transaction is postings that add up to zero. Kind and Ref are unique
// together: what happened once is booked once.
type Transaction struct {
	ID        string // grows with time
	Kind, Ref string // "payment" and the payment's id, ...
	At        time.Time
	Reseller  string // whom it concerns; may be empty
	Note      string
	Postings  []Posting
}

// Kinds of a Transaction.
const (
	BookPayment    = "payment"       // money came and was split
	BookReview     = "review"        // money came, and nobody has decided on it
	BookTakenBack  = "taken_back"    // by the provider, after it was split
	BookRefunding  = "refunding"     // taken back from who had it
	BookRefunded   = "refunded"      // gone to the customer
	BookUnrefunded = "refund_failed" // it stays after all
	BookReserve    = "reserve"       // available to blocked
	BookPaidOut    = "paid_out"      // gone to the reseller
	BookReleased   = "released"      // blocked to available
	BookReversed   = "reversed"      // came back after it was paid out
	BookCorrection = "correction"    // by a named person
)

// A Balance is what an account comes to.
type Balance struct {
	Account  string
	Currency string
	Amount   int64 // minor units
}

// A LedgerQuery asks for a page of transactions, the newest first.
type LedgerQuery struct {
	Reseller string // "" is all that the actor may see
	Kind     string // "" is any
	Account  string // "" is any
	From, To time.Time
	// Before is the ID of the last one of the page before.
	Before string
	Max    int // 0 is 100
}

// Check says what is wrong with a transaction: postings of nothing, no account,
// or a currency in which they do not add up to zero.
func (t Transaction) Check() error {
	if t.Kind == "" || t.Ref == "" || len(t.Postings) < 2 {
		return errors.New("a transaction has a kind, a ref and two postings at least")
	}
	sums := map[string]int64{}
	for _, p := range t.Postings {
		if p.Account == "" || p.Currency == "" || p.Amount == 0 || p.Amount > maxPosting || p.Amount < -maxPosting {
			return fmt.Errorf("a posting to %q of %d %s makes no sense", p.Account, p.Amount, p.Currency)
		}
		sums[p.Currency] += p.Amount
	}
	for currency, sum := range sums {
		if sum != 0 {
			return fmt.Errorf("transaction %s %s does not add up: %d %s are left", t.Kind, t.Ref, sum, currency)
		}
	}
	return nil
}

// maxPosting keeps sums in 63 bits, however many postings there are.
const maxPosting = 1 << 50

// Book adds a transaction: ErrExists if its Kind and Ref were booked before.
// What it decides on must be read after tx.Lock(LedgerLock(reseller)).
func (h *Hub) Book(tx Tx, t Transaction) error {
	open, err := tx.BooksFrom()
	if err != nil {
		return err
	}
	if err := h.number(&t, open); err != nil {
		return err
	}
	return tx.AddTransactions([]Transaction{t})
}

// number checks a transaction and gives it an id and a time, if it has none.
// Nothing but a correction is booked before the first month that is open.
func (h *Hub) number(t *Transaction, open time.Time) (err error) {
	if err := t.Check(); err != nil {
		return err
	}
	if t.At.IsZero() {
		t.At = h.at()
	}
	if t.At.Before(open) && t.Kind != BookCorrection {
		t.At = open
	}
	if t.ID == "" {
		t.ID, err = h.newID()
	}
	return err
}

// LedgerLock is what a transaction locks that takes from a reseller's accounts
// what is there.
func LedgerLock(reseller string) string { return "ledger/" + reseller }

// Balances are the accounts that begin with prefix; with "" all. Admins only.
func (h *Hub) Balances(ctx context.Context, by Actor, prefix string) (out []Balance, err error) {
	if by.Role != RoleAdmin {
		return nil, ErrForbidden
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		out, err = tx.Balances(prefix)
		return err
	})
	return out, err
}

// A ResellerBalance is a reseller's money in one currency that the platform
// holds.
type ResellerBalance struct {
	Currency string
	// Available is what he can withdraw, Blocked what is on its way to him.
	Available, Blocked int64
}

// ResellerBalances are by currency.
func (h *Hub) ResellerBalances(ctx context.Context, by Actor, reseller string) (out []ResellerBalance, err error) {
	if reseller == "" {
		reseller = by.Reseller
	}
	if reseller == "" || !by.covers(reseller) {
		return nil, ErrForbidden
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		out, err = resellerBalances(tx, reseller)
		return err
	})
	return out, err
}

// resellerBalances turns what is owed (negative) to what he has.
func resellerBalances(tx Tx, reseller string) (out []ResellerBalance, err error) {
	for _, account := range []string{AccountReseller, AccountBlocked} {
		balances, err := tx.BalancesOf(account + reseller)
		if err != nil {
			return nil, err
		}
		for _, b := range balances {
			i := 0
			for i < len(out) && out[i].Currency != b.Currency {
				i++
			}
			if i == len(out) {
				out = append(out, ResellerBalance{Currency: b.Currency})
			}
			if account == AccountReseller {
				out[i].Available = -b.Amount
			} else {
				out[i].Blocked = -b.Amount
			}
		}
	}
	return out, nil
}

// Transactions are a page of the ledger.
func (h *Hub) Transactions(ctx context.Context, by Actor, q LedgerQuery) (out []Transaction, err error) {
	if q.Reseller, err = by.scope(q.Reseller); err != nil {
		return nil, err
	}
	q.Max = page(q.Max)
	err = h.store.Read(ctx, func(tx Tx) error {
		out, err = tx.Transactions(q)
		return err
	})
	return out, err
}
