package portal

import (
	"context"
	"errors"
	"time"

	"zonegate"
)

// A Till takes mobile payments from devices of the link. It answers from what
// the gateway knows itself, in no more time than it takes to write a payment
// down: nothing waits for a provider. Safe for concurrent use.
type Till interface {
	// Ways are the ways to pay, those that cannot be used now among them, and
	// why none can; nil and AwayNever where there is no mobile payment.
	Ways() ([]Way, Away)
	// Pay starts a payment, or returns the one that it is: the same Intent is
	// the same payment, and a device or number whose payment is open gets that
	// one, unless Again is set where the open one allows it. Errors:
	// ErrPayAway, ErrPayLater with a [zonegate.RetryError], and those of
	// every decision of the Gate.
	Pay(context.Context, Purchase) (Payment, error)
	// Payment returns a payment of the device, and that the device waits for
	// it on its page; false for one that is not known, or another device's.
	Payment(device zonegate.MAC, intent string) (Payment, bool)
	// Open returns the payment of the device that is not decided yet.
	Open(device zonegate.MAC) (Payment, bool)
	// Ask has the provider asked now, if it was not asked just now.
	Ask(ctx context.Context, device zonegate.MAC, intent string) error
}

// Errors of a Till.
var (
	// ErrPayAway: nobody can be paid now, or not in this way.
	ErrPayAway = errors.New("this way to pay cannot be used now")
	// ErrPayLater: the device or the number has started too many payments.
	ErrPayLater = errors.New("too many payments were started")
)

// An Away is why nobody can be paid now.
type Away uint8

// Reasons.
const (
	AwayNot   Away = iota // there is a way
	AwayNever             // mobile payment is not set up
	AwayLine              // no Internet, or no central server
)

// A Way is a way to pay.
type Way struct {
	ID, Name string
	// Redirect says that the customer pays on a page of the provider's, which
	// is on one of Hosts.
	Redirect bool
	Hosts    []string
	// Country is whose number is asked for; empty if none is.
	Country  string
	Currency string
	// Test takes the numbers of a provider's tests.
	Test bool
	// Away says why it cannot be used now; empty if it can.
	Away string
}

// A Purchase is a payment to start.
type Purchase struct {
	// Intent is 16 octets in hex, drawn when the page was made.
	Intent string
	Device zonegate.MAC
	Plan   string
	// Way is its ID, Phone E.164 without the plus sign, empty if not needed.
	Way, Phone string
	// Again asks for a new attempt while another is undecided.
	Again bool
}

// A PayState is what became of a payment.
type PayState uint8

// States.
const (
	PayOpen     PayState = iota // not known yet
	PayPaid                     // the grant is made
	PayFailed                   // definitely not; nothing was charged
	PayCanceled                 // the same, by the customer
	PayExpired                  // not known for long; still looked for
)

// A Payment is what a page says of one.
type Payment struct {
	Intent, Plan string
	Price        zonegate.Money
	// Way is its name, Phone the last two digits.
	Way, Phone string
	Redirect   bool
	// URL is where to pay; empty until the provider has answered. It is a
	// stranger's word until it was compared with Hosts.
	URL   string
	Hosts []string
	// Code redeems the payment once it is paid.
	Code  string
	State PayState
	// Age is how long ago it was started.
	Age time.Duration
	// Again says that another attempt may be made.
	Again bool
	// Reason is the provider's word why it failed.
	Reason string
}
