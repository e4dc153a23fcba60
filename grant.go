package zonegate

import (
	"errors"
	"slices"
	"time"
)

// A GrantState is where a grant is in its life.
type GrantState uint8

const (
	// Banked: bought, nothing used, time not started.
	Banked GrantState = iota
	// Active: started, with value left.
	Active
	// Spent: its octets are used up.
	Spent
	// Expired: its time is used up.
	Expired
	// Revoked: taken back by the seller or the hub.
	Revoked
)

func (s GrantState) String() string {
	switch s {
	case Banked:
		return "banked"
	case Active:
		return "active"
	case Spent:
		return "spent"
	case Expired:
		return "expired"
	}
	return "revoked"
}

// Ended says that nothing of the grant can be used any more.
func (s GrantState) Ended() bool { return s > Active }

// A Source is where a grant came from. The pair is unique: one voucher or one
// payment makes one grant, never two.
type Source struct {
	Kind string
	// Ref is the voucher's key in hex, or the hub's id of a purchase.
	Ref string
}

// Kinds of a Source.
const (
	SourceVoucher = "voucher"
	// SourceTicket is a voucher with a password of its own.
	SourceTicket = "ticket"
	// SourceHub is a purchase at the hub.
	SourceHub = "hub"
	// SourcePayment is a payment that was settled here (see
	// [Gate.SettleIntent]).
	SourcePayment = "payment"
)

// A Grant is what a customer bought. Grants are values: a changed grant is a
// changed copy.
type Grant struct {
	ID     GrantID
	Source Source
	Plan   PlanRef
	State  GrantState
	// Devices are bound to the grant now, the oldest first.
	Devices []MAC
	// Cap is the data cap in octets with all top-ups; zero means none.
	Cap  uint64
	Used Octets
	// Time says which service time counts (from the plan).
	Time TimePolicy
	// Running says that time counts now. Then EndsAt is the end on the
	// service time of the policy, otherwise TimeLeft is what remains.
	Running  bool
	EndsAt   time.Duration
	TimeLeft time.Duration
	// Issued and Started are wall times for people; zero when the clock was
	// not trusted.
	Issued, Started time.Time
	// Moved is the service time (online) of the last move to another device;
	// EverMoved says whether there was one.
	Moved     time.Duration
	EverMoved bool
}

// octetsLeft returns what the cap leaves; NoCap when there is none.
func (g *Grant) octetsLeft() uint64 {
	if g.Cap == 0 {
		return NoCap
	}
	if used := g.Used.Total(); used < g.Cap {
		return g.Cap - used
	}
	return 0
}

func (g *Grant) has(d MAC) bool { return slices.Contains(g.Devices, d) }

// A Session is one device online through one data path under one grant.
type Session struct {
	ID     SessionID
	Grant  GrantID
	Device MAC
	// Path names the data path; empty is the gateway's own.
	Path string
	// Octets is what has been counted against the grant so far, cumulative
	// from the session's beginning.
	Octets Octets
	// Stopped sessions do not pass any more; they are kept until their final
	// counters are known.
	Stopped bool

	// What follows is only used by sessions of a NAS.

	// Terms are what the NAS has been told.
	Terms Terms
	// Key is the NAS's own name of the session, empty until it has reported
	// it: so long the session only holds the device's place. Handle is what
	// the NAS needs to find it again.
	Key, Handle string
	// Opened is when the session began, on the calendar service time.
	Opened time.Duration
	// Lost sessions were not reported for too long. Over ones have ended with
	// their final counters. Both are Stopped, and kept for a while so that a
	// report that comes late or twice is not charged twice.
	Lost, Over bool
}

// Refusals that concern grants.
var (
	ErrNoGrant       = errors.New("nothing bought is left on this device")
	ErrNoSuchGrant   = errors.New("no such grant")
	ErrNoSuchSession = errors.New("no such session")
	ErrGrantEnded    = errors.New("the grant has ended")
	ErrMovedRecently = errors.New("the grant was moved to another device a short while ago")
	// ErrNotDurable is returned when a purchase cannot be written down safely.
	// Nothing was sold; running customers are not affected.
	ErrNotDurable = errors.New("the gateway cannot write to its storage, so sales are stopped")
)
