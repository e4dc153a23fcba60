package hub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// A Hub is the use cases. Who may do what is decided here: methods for people
// take the Actor, those for gateways the Gateway that Authenticate returned.
type Hub struct {
	store  Store
	keys   Keys
	hasher Hasher
	now    func() time.Time
	random io.Reader
	zone   *time.Location
	log    *slog.Logger
	fleet  fleet
	acks   gathering[gatewayAcks]
	rounds rounds
	money  money
	payout Payouts
}

// Options are what a Hub works with.
type Options struct {
	Store  Store
	Keys   Keys
	Hasher Hasher
	// Now tells the time; nil is time.Now.
	Now func() time.Time
	// Random is where codes and tokens are drawn; nil is crypto/rand.
	Random io.Reader
	// Zone is where months begin; nil is UTC+1, as in Cotonou, Libreville,
	// Kinshasa and Douala.
	Zone *time.Location
	// Log gets what happens in the background; nil discards it.
	Log *slog.Logger
	// Settle is how long a stage of a rollout must have been applied by all
	// before the next one begins; 0 is 10 minutes.
	Settle time.Duration
	// Collectors take payments, by the provider's name: lower-case letters and
	// digits. See also UseCollectors.
	Collectors map[string]Collector
	// PublicURL is where providers and customers reach the hub:
	// https://hub.example. Without it providers get no address to call back.
	PublicURL string
	// Lookups is how many payments are looked up at the same time; 0 is 32.
	Lookups int
	// Payouts are withdrawals and refunds.
	Payouts Payouts
	// Banked is how long something bought waits to be used first; 0 is 30 days.
	Banked time.Duration
}

// New returns a Hub. It starts nothing: see Run.
func New(o Options) *Hub {
	h := &Hub{store: o.Store, keys: o.Keys, hasher: o.Hasher, now: o.Now, random: o.Random, zone: o.Zone, log: o.Log}
	if h.now == nil {
		h.now = time.Now
	}
	if h.random == nil {
		h.random = rand.Reader
	}
	if h.zone == nil {
		h.zone = time.FixedZone("UTC+1", 3600)
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.rounds.settle = o.Settle
	if h.rounds.settle == 0 {
		h.rounds.settle = 10 * time.Minute
	}
	h.money.public, h.money.banked = strings.TrimSuffix(o.PublicURL, "/"), o.Banked
	if h.money.banked == 0 {
		h.money.banked = 30 * 24 * time.Hour
	}
	if h.money.looking = o.Lookups; h.money.looking <= 0 {
		h.money.looking = looking
	}
	h.UseCollectors(o.Collectors)
	h.payout = o.Payouts.complete()
	return h
}

// Run writes down what gateways' heartbeats said, every 10 seconds, moves
// rollouts on, and sweeps payments every second. It returns nil when ctx is over, after a last write.
func (h *Hub) Run(ctx context.Context) error {
	return h.run(ctx)
}

// Why the hub says no. Errors that wrap one of these carry words for people.
var (
	// ErrUnauthorized is a wrong name, password, token or code.
	ErrUnauthorized = errors.New("who you are could not be checked")
	// ErrForbidden is what this role or reseller may not do.
	ErrForbidden = errors.New("this is not allowed for your role")
	ErrNotFound  = errors.New("there is no such thing")
	// ErrExists is a name that is taken.
	ErrExists = errors.New("the name is taken")
	// ErrUsed is a one-time code or a voucher that somebody else has used.
	ErrUsed    = errors.New("the code was used before")
	ErrExpired = errors.New("the code is out of date")
	// ErrRevoked is a gateway that was taken off the hub, or a voucher.
	ErrRevoked = errors.New("it was revoked")
	// ErrLimit is a reseller's limit of vouchers, sites or gateways.
	ErrLimit = errors.New("the reseller's limit is reached")
	// ErrStale is a row that somebody else has changed meanwhile.
	ErrStale = errors.New("somebody else has changed it meanwhile; look at it again")
	// ErrSetUp is a set-up after the first admin exists.
	ErrSetUp = errors.New("the hub is set up already")
)

// An InputError is something that makes no sense as it was given.
type InputError struct{ Reason string }

func (e *InputError) Error() string { return e.Reason }

func invalid(format string, args ...any) error {
	return &InputError{fmt.Sprintf(format, args...)}
}

// An ElsewhereError says at which site a code was paid for: it is an ErrUsed
// everywhere else.
type ElsewhereError struct{ Site string }

func (e *ElsewhereError) Error() string {
	return "this was paid for at " + e.Site + ": the code works there"
}

// Is makes it an ErrUsed.
func (e *ElsewhereError) Is(target error) bool { return target == ErrUsed }

// A TriesError says that a gateway has asked for too many codes that were not
// good; After is when it is heard again.
type TriesError struct{ After time.Duration }

func (e *TriesError) Error() string {
	return "too many wrong codes were tried at this gateway today; sell codes of its own site until tomorrow"
}

// A GapError says that entries before these are missing.
type GapError struct {
	// Expected is the number that the hub wants next.
	Expected uint64
}

func (e *GapError) Error() string {
	return fmt.Sprintf("entries are missing: the hub expects number %d; send from there, or say that they are lost", e.Expected)
}

// A ConflictError says that entry N is known with another content. Nothing
// was overwritten.
type ConflictError struct {
	N uint64
	// Expected is the number that the hub wants next.
	Expected uint64
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("entry %d is known and differs: two gateways have one identity, or an old backup was put back; the hub expects number %d", e.N, e.Expected)
}
