package zonegate

import (
	"context"
	"fmt"
	"math"
	"time"
)

// A SessionID names one device online through one data path under one grant.
// It is never used twice in the life of a journal, so the Linux data path uses
// it as the conntrack mark. Zero means none.
type SessionID uint32

// A GrantID names a grant. Zero means none.
type GrantID uint64

// A MAC is an IEEE 802 48-bit hardware address. A phone may change it at any
// time: it is a lease on a grant, never the account.
type MAC [6]byte

// String returns the address as lower-case hex pairs joined by colons.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// NoCap is the Allowance of a grant without a data cap.
const NoCap uint64 = math.MaxUint64

// A Rate holds committed (CIR) and maximum (MIR) information rates in bit/s,
// per direction, seen from the customer. A zero CIR commits nothing; a zero
// MIR means the link's own rate.
type Rate struct {
	CIRUp, CIRDown uint64
	MIRUp, MIRDown uint64
}

// Octets counts delivered layer-3 bytes per direction, seen from the customer
// (IP headers included, link headers not).
type Octets struct {
	Up, Down uint64
}

// Total is up plus down: what a data cap counts.
func (o Octets) Total() uint64 { return o.Up + o.Down }

// An Order is what a data path must do for one session.
type Order struct {
	Session SessionID
	Grant   GrantID
	Device  MAC
	Rate    Rate
	// Devices is how many devices the plan lets share this grant (at least 1).
	// The sessions of one grant share its rate and its allowance.
	Devices int
	// Until is the end of the paid time on the Clock's monotonic scale
	// (Instant.Mono). Zero means no end.
	Until time.Duration
	// Allowance is how many octets, up and down together, all the orders of
	// this grant may have delivered, each counted from its session's
	// beginning. It is absolute, so repeating an order changes nothing. NoCap
	// means no limit. It is the same in every order of a grant.
	Allowance uint64
}

// A Usage is what one session has delivered.
type Usage struct {
	Session SessionID
	// Octets is cumulative from the session's beginning. While a data path
	// runs it never goes back: a report below an earlier one is a late one. At
	// the start of the gate a value below what was charged means that the
	// kernel's counters began again at zero.
	Octets Octets
	// Spent says that the data path has stopped the session, because (nearly)
	// nothing of the grant's allowance is left.
	Spent bool
	// Final says that the session is gone and its counters will not grow.
	Final bool
}

// An Enforcer is a data path: it makes sessions pass at their rates and stops
// them at their limits. Methods are safe for concurrent use.
//
// Whatever the data path learns by itself (growing counters, a spent
// allowance, the final counters of a stopped session) it reports to
// [Gate.Account].
type Enforcer interface {
	// Apply makes exactly the given sessions pass. It may be called again with
	// the same set, and it adopts what an earlier process left. On error it has
	// done as much as it could.
	Apply(ctx context.Context, want []Order) error
	// Change sets the given orders and stops the given sessions, and leaves
	// every other session alone. A session is stopped before another is set,
	// so that a device can pass from one to the other. Stopping an unknown
	// session is no error. When it returns, new sessions pass and stopped ones
	// do not.
	Change(ctx context.Context, set []Order, stop []SessionID) error
	// Usage returns the counters of every session that the data path holds,
	// those left by an earlier process included.
	Usage(ctx context.Context) ([]Usage, error)
}

// An Instant is one reading of every clock that the gateway has.
type Instant struct {
	// Boot names the boot of the machine; Mono is only comparable within one.
	Boot string
	// Mono is the time since boot, suspended time included (CLOCK_BOOTTIME).
	Mono time.Duration
	// Wall is the wall clock, which starts in 1970 or at some file's time on
	// routers without a battery.
	Wall time.Time
	// Trusted says that Wall was confirmed (NTP, or a time signed by the hub)
	// during this boot.
	Trusted bool
}

// A Clock reads the time. Safe for concurrent use.
type Clock interface {
	Now() Instant
}
