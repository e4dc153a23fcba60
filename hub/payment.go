package hub

import (
	"context"
	"errors"
	"time"

	"zonegate"
)

// A PaymentState is where a payment is.
type PaymentState string

// States. A payment leaves succeeded only for refunding and refunded, whatever
// is heard later. Failed, expired and canceled are left when a lookup shows
// that money came after all.
const (
	// PaymentSubmitting: written down, on its way to the provider. After a
	// crash nobody knows whether it got there.
	PaymentSubmitting PaymentState = "submitting"
	// PaymentPending: the provider has it, or may have it (Unsure).
	PaymentPending   PaymentState = "pending"
	PaymentSucceeded PaymentState = "succeeded"
	// PaymentFailed is a definitive no; nothing was charged.
	PaymentFailed PaymentState = "failed"
	// PaymentExpired is our opinion about waiting, not about money: lookups go
	// on for three days.
	PaymentExpired  PaymentState = "expired"
	PaymentCanceled PaymentState = "canceled"
	// PaymentReview: money came, but not what was asked. A person decides.
	PaymentReview    PaymentState = "review"
	PaymentRefunding PaymentState = "refunding"
	PaymentRefunded  PaymentState = "refunded"
)

// A Payment is one attempt to collect the price of a forfait from a customer.
type Payment struct {
	// ID is a UUID: the transaction_id of the API, and the id of the grant.
	ID       string
	Site     string
	Reseller string
	// Gateway and Intent name it on the gateway that asked for it; both are
	// empty if a person or a server did. Intent is 16 octets in hex, unique at
	// its site.
	Gateway, Intent string
	// Reference is what the provider knows it by: at most 25 letters and
	// digits, made of the intent and the attempt. Unique.
	Reference string
	// Provider is the name of a Collector, Channel what the customer pays with
	// (MTN_MOMO, AIRTEL, ...).
	Provider, Channel string
	Forfait           string
	Version           uint32
	// Price is the snapshot that the observation is compared with.
	Price zonegate.Money
	// Phone is E.164 without the plus sign; empty in a redirect flow.
	Phone string
	// Device is the customer's, Claim the key of the claim code in hex under
	// the site's CodeKey; either may be empty, not both with a gateway.
	Device, Claim string

	State PaymentState
	// Unsure says that the provider may not have it: the answer was lost.
	Unsure bool
	// ProviderRef is the provider's own id; empty until it is known. With
	// Provider it is unique.
	ProviderRef string
	Flow, URL   string // as in api.Payment
	// Reason is what the provider said, for people.
	Reason string
	// Paid, CustomerPaid and ProviderFee are what the last lookup showed.
	Paid, CustomerPaid zonegate.Money
	ProviderFee        string // as the provider wrote it

	Made, Changed time.Time
	// NextLook is when the provider is asked next; zero is never.
	NextLook time.Time
	Looks    int
	// Attempt is which Reference this is, from 1; Rev counts the changes.
	Attempt int
	Rev     uint64
}

// Flows of a payment.
const (
	FlowPush     = "push"     // the customer confirms on the phone
	FlowRedirect = "redirect" // the customer opens a page of the provider's
)

// Caps are what a Collector can do.
type Caps struct {
	// Country is ISO 3166-1 alpha-2, Currencies ISO 4217.
	Country    string
	Currencies []string
	// Channels are what a customer can choose; the first is the default.
	Channels   []ChannelCaps
	NeedsPhone bool
	// Test says that no money moves: numbers of the provider's tests are taken.
	Test bool
	// FirstLook is how long after the start the provider is first asked.
	FirstLook time.Duration
	// Hosts are what a customer's browser must reach for a redirect.
	Hosts []string
}

// ChannelCaps is a way to pay.
type ChannelCaps struct{ ID, Name, Flow string }

// What became of a call at a provider. Any other error is ambiguous: it may
// have been done.
var (
	// ErrNotSent: the provider never got it (connection refused, DNS, TLS).
	ErrNotSent = errors.New("the provider could not be reached; nothing was sent")
	// ErrAmbiguous may wrap what is not known; it says no more than any other
	// error.
	ErrAmbiguous = errors.New("it is not known whether the provider did it")
	// ErrUnsupported is what this provider cannot do.
	ErrUnsupported = errors.New("this provider cannot do that")
)

// An AmbiguousError is one of an Initiate or a Payout that the provider can be
// asked for: ProviderRef was given, but not a clear yes. It is kept as if the
// answer had come.
type AmbiguousError struct {
	ProviderRef string
	Err         error
}

func (e *AmbiguousError) Error() string   { return ErrAmbiguous.Error() + ": " + e.Err.Error() }
func (e *AmbiguousError) Unwrap() []error { return []error{ErrAmbiguous, e.Err} }

// A RejectedError is a definitive no of the provider. Reason is its words, for
// people.
type RejectedError struct{ Reason string }

func (e *RejectedError) Error() string { return "the provider refused: " + e.Reason }

// A Collector takes money from customers through one provider. Its methods may
// be called from any goroutine; they never repeat what may have been done.
type Collector interface {
	Caps() Caps
	// Initiate asks for the money. Errors: ErrNotSent, a RejectedError, or
	// anything else: ambiguous, with an AmbiguousError if it can be looked up.
	Initiate(context.Context, Charge) (Started, error)
	// Lookup asks what became of it. Not found is StatePending of the
	// Observation with Found false, not an error.
	Lookup(context.Context, Payment) (Observation, error)
}

// A Charge is what Initiate is told.
type Charge struct {
	Reference, Channel, Phone string
	Amount                    zonegate.Money
	Description               string
	// CallbackURL and ReturnURL may be empty.
	CallbackURL, ReturnURL string
}

// Started is a provider's yes to an Initiate: asked, not paid.
type Started struct {
	ProviderRef string // empty if it is not known yet
	URL         string // of a redirect
	Hint        string // for the customer
}

// An Observation is what a provider showed of a payment when it was asked.
type Observation struct {
	Found bool
	// State is pending, succeeded, failed, canceled, refunding or refunded.
	// What is not known is pending.
	State  PaymentState
	Amount zonegate.Money
	// CustomerAmount is what the customer paid, with the operator's fee; zero
	// if it is not told.
	CustomerAmount zonegate.Money
	Fee            string
	Channel        string
	// Reference and ProviderRef are as the provider shows them; empty if not.
	Reference, ProviderRef string
	Reason                 string
	// Raw is the body without secrets and whole phone numbers, for the
	// observations that are kept; at most 4 KB.
	Raw string
}

// A Hint is what a callback claims. It never changes a payment: it only has
// the provider asked now.
type Hint struct {
	// Reference or ProviderRef says which; both may be empty.
	Reference, ProviderRef string
	Raw                    string
}

// A CallbackReader makes hints of the requests that a provider sends.
type CallbackReader interface {
	// ReadCallback takes header values by canonical name, the query and the
	// body. ErrUnauthorized is one that is not the provider's.
	ReadCallback(header map[string][]string, query map[string][]string, body []byte) (Hint, error)
}
