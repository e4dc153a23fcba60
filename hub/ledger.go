package hub

import "time"

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
	Kind, Ref string // "payment" and the payment's id, ...
	At        time.Time
	Reseller  string // whom it concerns; may be empty
	Note      string
	Postings  []Posting
}

// Kinds of a Transaction.
const (
	BookPayment    = "payment"       // money came and was split
	BookRefunding  = "refunding"     // taken back from who had it
	BookRefunded   = "refunded"      // gone to the customer
	BookUnrefunded = "refund_failed" // it stays after all
	BookReserve    = "reserve"       // available to blocked
	BookPaidOut    = "paid_out"      // gone to the reseller
	BookReleased   = "released"      // blocked to available
	BookReversed   = "reversed"      // came back after it was paid out
	BookCorrection = "correction"    // by a named person
)
