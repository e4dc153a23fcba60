package hub

import (
	"context"
	"time"

	"zonegate"
)

// A PayoutState is where money on its way out is.
type PayoutState string

// States of a payout: of what a reseller withdraws, and of a refund that goes
// out as a payout. The provider is called in processing alone, after the
// intent was written down. Ambiguous blocks the reseller's next payout until
// the provider or a statement says what became of it; it is never repeated.
const (
	PayoutRequested  PayoutState = "requested"
	PayoutCodeSent   PayoutState = "code_sent"     // pending_verification
	PayoutVerified   PayoutState = "code_verified" // pending_processing
	PayoutProcessing PayoutState = "processing"
	PayoutCompleted  PayoutState = "completed"
	PayoutFailed     PayoutState = "failed"
	PayoutCanceled   PayoutState = "canceled"
	PayoutExpired    PayoutState = "expired"
	PayoutReversed   PayoutState = "reversed"
	PayoutAmbiguous  PayoutState = "ambiguous"
)

// A PayoutOrder is what a Payer is told.
type PayoutOrder struct {
	// Reference is ours, at most 25 letters and digits, never used twice.
	Reference string
	Phone     string // E.164 without the plus sign
	Operator  string
	Amount    zonegate.Money // what the receiver gets
	// ProviderRef is the provider's id once it is known.
	ProviderRef string
	Made        time.Time
	CallbackURL string
}

// A PayoutObservation is what a provider showed of a payout.
type PayoutObservation struct {
	// State is processing, completed, failed or reversed. Definitive says that
	// the provider will not change its mind; what is not is processing.
	State       PayoutState
	Definitive  bool
	ProviderRef string
	Amount      zonegate.Money // zero if it is not told
	Reason      string
	Raw         string // as in Observation
}

// A Payer pays out through one provider. ErrNotSent, a RejectedError, or
// anything else: ambiguous.
type Payer interface {
	Payout(context.Context, PayoutOrder) (PayoutObservation, error)
	// LookupPayout is ErrUnsupported where the provider has no such call.
	LookupPayout(context.Context, PayoutOrder) (PayoutObservation, error)
}

// A RefundOrder is money that goes back for a payment.
type RefundOrder struct {
	Payment   Payment
	Reference string
	Amount    zonegate.Money
	Reason    string
	// Handle is the provider's id of the refund, once it is known.
	Handle string
}

// A RefundObservation is what a provider showed of a refund: State is
// refunding, refunded, or succeeded (the refund failed, the money is still
// here).
type RefundObservation struct {
	State      PaymentState
	Definitive bool
	Handle     string
	Reason     string
	Raw        string
}

// A Refunder gives money back. Where a provider wants two steps, CreateRefund
// only makes the handle, and SendRefund moves money; where it wants one,
// CreateRefund returns an empty handle. Errors as for Payer.
type Refunder interface {
	CreateRefund(context.Context, RefundOrder) (RefundObservation, error)
	SendRefund(context.Context, RefundOrder) (RefundObservation, error)
	LookupRefund(context.Context, RefundOrder) (RefundObservation, error)
}
