package zonegate

import (
	"encoding/hex"
	"errors"
	"sync"
	"time"
)

// A customer may pay by mobile money. The gate writes an intent down before
// anybody is asked for money, and an adapter has the hub collect it. What was
// paid comes back as a purchase: pushed by a hub (see [GrantPushed]), or made
// here when a server without pushes says that the money came (see
// [Gate.SettleIntent]). An intent is never the purchase: what is bought is
// known by the hub's id of it alone, so it is granted once however often it is
// told.

// An IntentID names one wish to pay: random, drawn with the page, the same for
// every tap on it.
type IntentID [16]byte

// String returns the 32 hex digits that the hub knows it by.
func (id IntentID) String() string { return hex.EncodeToString(id[:]) }

// ParseIntentID reads what String has written.
func ParseIntentID(s string) (id IntentID, ok bool) {
	if len(s) != hex.EncodedLen(len(id)) {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(s))
	return id, err == nil && id != IntentID{}
}

// An IntentState is how far a payment is, as far as the gateway knows. It only
// grows, but for IntentExpired, which can still turn into IntentFailed or
// IntentCanceled. Money that came late turns every one of them into
// IntentPaid.
type IntentState uint8

const (
	// IntentOpened: written down. With Unsure it may have been sent.
	IntentOpened IntentState = iota
	// IntentPending: the hub has it, and the customer shall confirm.
	IntentPending
	// IntentFailed and IntentCanceled are definitive: nothing was charged.
	IntentFailed
	IntentCanceled
	// IntentExpired: nobody waits for it any more. That says nothing about
	// money.
	IntentExpired
	// IntentReview: money came, but not what was asked. The shop decides.
	IntentReview
	// IntentPaid: the money came. The purchase may still be on its way: see
	// Intent.Purchase.
	IntentPaid
	// IntentRefunded: and went back.
	IntentRefunded
)

func (s IntentState) String() string {
	switch s {
	case IntentOpened:
		return "opened"
	case IntentPending:
		return "pending"
	case IntentFailed:
		return "failed"
	case IntentCanceled:
		return "canceled"
	case IntentExpired:
		return "expired"
	case IntentReview:
		return "review"
	case IntentPaid:
		return "paid"
	}
	return "refunded"
}

// Open says that an answer is still expected.
func (s IntentState) Open() bool { return s <= IntentPending }

// rank orders the states: one never goes to a lower one.
func (s IntentState) rank() int {
	return [...]int{0, 1, 3, 3, 2, 4, 5, 6}[s]
}

// Flows of a payment.
const (
	FlowPush     = "push"     // the customer confirms on the phone
	FlowRedirect = "redirect" // the customer opens a page of the provider's
)

// A Channel is a way to pay.
type Channel struct {
	ID, Name string
	Flow     string
	// Country is where the number is from (ISO 3166-1 alpha-2); empty if the
	// channel needs none.
	Country  string
	Currency string
	// Test says that no money moves: numbers of the provider's tests are taken.
	Test bool
	// Hosts are what the customer's browser must reach while a payment is open.
	Hosts []string
	// Away says why it cannot be used now; empty if it can.
	Away string
}

// An Intent is one attempt to pay for a plan.
type Intent struct {
	ID     IntentID
	Device MAC
	// NAS is as in [Redemption].
	NAS   string
	Plan  PlanRef
	Price Money
	// Channel is the ID of a Channel. Phone is E.164 without the plus sign, and
	// only its end when the intent is not open any more.
	Channel, Phone string
	// Claim is the key of the claim code (see [Gate.ClaimCode]).
	Claim VoucherKey
	// Opened is the service time (online) of the start; Made is the wall time
	// for people, zero when the clock was not trusted.
	Opened time.Duration
	Made   time.Time
	News
	// Purchase is the id of what was bought; empty until it is there.
	Purchase string
	// Age is how long ago it was opened, in service time. It is not kept.
	Age time.Duration
}

// News are what is heard of a payment.
type News struct {
	State IntentState
	// Transaction is the collecting server's id of the payment. Flow and URL
	// are how the customer pays. Reason is for people.
	Transaction, Flow, URL, Reason string
	// Unsure says that an answer was lost: nobody knows whether the server has
	// it.
	Unsure bool
}

// An IntentRequest is a tap on "pay".
type IntentRequest struct {
	ID     IntentID
	Device MAC
	NAS    string
	// Plan is the id of a plan on sale.
	Plan           string
	Channel, Phone string
}

// Refusals that concern payments.
var (
	// ErrPaymentOpen is inside an [OpenPaymentError].
	ErrPaymentOpen = errors.New("a payment is open already")
	// ErrManyPayments is inside a [RetryError].
	ErrManyPayments = errors.New("too many payments were started with this device or number")
	// ErrPaymentsFull is a zone in which too many payments are open.
	ErrPaymentsFull = errors.New("too many payments are open in the zone")
	ErrNoSuchIntent = errors.New("no such payment")
	// ErrNotPaidYet is the claim code of a payment that is not decided.
	ErrNotPaidYet = errors.New("the payment of the code is not confirmed yet")
	ErrBadIntent  = errors.New("the payment makes no sense")
)

// An OpenPaymentError is a second payment beside an open one.
type OpenPaymentError struct {
	// Intent is the open one, if it is of the same device; otherwise it is zero:
	// whoever types another's number is not shown his payment.
	Intent Intent
	// After is when another attempt may be allowed, if the hub then still says
	// that the open one is pending; zero is as soon as it says so.
	After time.Duration
}

func (e *OpenPaymentError) Error() string { return ErrPaymentOpen.Error() }
func (e *OpenPaymentError) Unwrap() error { return ErrPaymentOpen }

// Limits of payments. Strangers can start some, so all of them are bounded.
const (
	// maxYoungIntents are open and younger than youngIntent, maxOpenIntents at
	// any age: none of those is dropped, since it may have been paid.
	// maxOpenPer are a device's.
	maxYoungIntents = 200
	youngIntent     = 15 * time.Minute
	maxOpenIntents  = 800
	maxOpenPer      = 3
	// maxIntents are kept in all; the oldest that are over make room. Those
	// with money in them are kept beyond it.
	maxIntents = 1000
	// keepIntent is how long one that is over is kept, from its start.
	keepIntent = 72 * time.Hour
	// watchIntent is how long an answer is waited for.
	watchIntent = 24 * time.Hour
	// replaceAfter and answerFresh: another attempt is allowed so long after
	// the start, with an answer so young.
	replaceAfter = 3 * time.Minute
	answerFresh  = 90 * time.Second
	// startsPer device and phone are allowed within startWindow.
	startsPer   = 3
	startWindow = 10 * time.Minute
	// waitingFresh is how long a device counts as waiting after its page asked.
	waitingFresh = time.Minute
	maxNotes     = 4096
	maxReason    = 200
	maxURL       = 2048
)

// notes remember things for a while, in memory alone.
type notes struct {
	mu    sync.Mutex
	until map[any]time.Duration
}

// note remembers a key for a time; zero forgets it.
func (n *notes) note(k any, now, keep time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.until) >= maxNotes {
		for k, until := range n.until {
			if until <= now {
				delete(n.until, k)
			}
		}
	}
	if _, known := n.until[k]; known || len(n.until) < maxNotes {
		n.until[k] = now + keep
	}
}

func (n *notes) has(k any, now time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return now < n.until[k]
}

// Waiting notes that a device shows the page that waits for a payment: what is
// paid within the next minute takes it online at once. It is not written down.
func (g *Gate) Waiting(d MAC) { g.notes.note(d, g.clock.Now().Mono, waitingFresh) }
