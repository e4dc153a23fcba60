package hub

import (
	"time"

	"zonegate"
)

// A RefundState is where a refund is.
type RefundState string

// States of a refund. The provider is called in sending alone, after the
// intent was written down, and never again for what may have been done.
const (
	// RefundRevoking: the grant is revoked here, and its gateway is to say so.
	RefundRevoking RefundState = "revoking"
	// RefundUndecided: the gateway was not heard in time, or did not do it. A
	// person says whether the money goes back all the same.
	RefundUndecided RefundState = "undecided"
	// RefundReady: the money may go; with Provider "" a person sends it.
	RefundReady   RefundState = "ready"
	RefundSending RefundState = "sending"
	// RefundWaiting: the provider has it and has not said that it is done.
	RefundWaiting   RefundState = "waiting"
	RefundAmbiguous RefundState = "ambiguous"
	RefundDone      RefundState = "done"
	// RefundFailed: the customer has his grant again, a new one.
	RefundFailed RefundState = "failed"
)

// A Refund is money that goes back to the number that paid. The grant is
// revoked first.
type Refund struct {
	ID        string
	Payment   string
	Reseller  string
	Reference string // at most 25 letters and digits
	// Provider sends it, as a refund or with AsPayout as a payout; empty is by
	// hand.
	Provider string
	AsPayout bool
	Amount   zonegate.Money
	Phone    string
	State    RefundState
	// Why is what the admin said, Reason what was heard since.
	Why, Reason string
	By          string // user id
	Forced      bool
	// Push is the number of the push that revokes the grant.
	Push uint64
	// Handle is the provider's id.
	Handle  string
	Attempt int
	// Called is when the call now on its way began; zero once it was answered.
	Called   time.Time
	NextLook time.Time
	Looks    int
	// Restored is the grant that replaces the revoked one after a failure; empty
	// if the revoked one had been used.
	Restored string
	// Statement is what a person decided by.
	Statement     string
	Made, Changed time.Time
}

// A RefundRequest asks for one.
type RefundRequest struct {
	Payment string
	// Amount is minor units of the payment's currency; 0 is all that was paid.
	Amount int64
	Reason string
	// Force is for a grant that was used.
	Force bool
}

// A RefundQuery asks for refunds, newest first. Empty fields are any.
type RefundQuery struct {
	Reseller, Payment string
	States            []RefundState
	After, Max        int
}

// A Resolution is how a person ends what a provider leaves open, after a look
// into the provider's statement.
type Resolution struct {
	// Paid says that the money went out.
	Paid bool
	// Statement is the line of the provider's statement, or who was asked
	// there; it is in the audit log.
	Statement string
}

type refundRows interface {
	// AddRefund is ErrExists for a second one of the payment that has not
	// failed.
	AddRefund(Refund) error
	ChangeRefund(Refund) error
	Refund(id string) (Refund, error)
	Refunds(RefundQuery) ([]Refund, error)
	DueRefunds(now time.Time, max int) ([]string, error)
	RefundOf(provider, reference, handle string) (Refund, error)
	// GrantStarted says whether a gateway has reported that its time began, or
	// that something was used of it.
	GrantStarted(id string) (bool, error)
	// StatusOf is how a gateway was when it was last heard, as far as it is
	// written down; ErrNotFound is never.
	StatusOf(gateway string) (Status, error)
}
