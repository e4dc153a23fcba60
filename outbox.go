package zonegate

import (
	"context"
	"time"
)

// An EntryKind is what an [Entry] tells.
type EntryKind uint8

const (
	// EntrySale: a grant was issued.
	EntrySale EntryKind = iota + 1
	// EntryStarted: its time began.
	EntryStarted
	// EntryEnded: State says how, and Used is final: it comes when no session
	// of the grant has anything to report any more.
	EntryEnded
	// EntryTopUp: Octets and Time were added.
	EntryTopUp
	// EntryMoved: it went over to another Device.
	EntryMoved
	// EntryRevoked: a voucher was revoked.
	EntryRevoked
	// EntryImported: Count vouchers of the zone's own were made valid.
	EntryImported
)

// String returns the name that the hub knows the kind by.
func (k EntryKind) String() string {
	switch k {
	case EntrySale:
		return "sale"
	case EntryStarted:
		return "started"
	case EntryEnded:
		return "ended"
	case EntryTopUp:
		return "top_up"
	case EntryMoved:
		return "moved"
	case EntryRevoked:
		return "revoked"
	case EntryImported:
		return "imported"
	}
	return "unknown"
}

// An Entry is one fact of value that the hub is told. Entries follow from the
// journal's events while the zone is joined to a hub, and are kept until the
// hub has acknowledged them. Fields that a kind does not speak of are zero.
type Entry struct {
	// N counts without gaps and is never used twice.
	N uint64
	// At is the trusted wall time; zero when the clock was not trusted.
	At    time.Time
	Kind  EntryKind
	Grant GrantID
	// Source is what the grant was made of, or the voucher that was revoked.
	// HubCode says that its Ref is hashed with the CodeKey. Batch is the
	// voucher's.
	Source  Source
	HubCode bool
	Batch   string
	// Plan and Price are what was bought.
	Plan   PlanRef
	Price  Money
	Device MAC
	State  GrantState
	Used   Octets
	Octets uint64
	Time   time.Duration
	Count  int
}

// Outbox returns entries that the hub has not acknowledged, in order, beginning
// after a number: at most max of them. Only durable ones are among them, so
// there are none while the journal cannot be written; then the error is
// ErrNotDurable.
func (g *Gate) Outbox(after uint64, max int) ([]Entry, error) { return nil, nil }

// OutboxStatus returns the number of the last entry made, how many the hub has
// not acknowledged, and when the oldest of them was made: zero when there is
// none, or when the clock was not trusted then.
func (g *Gate) OutboxStatus() (last, unsent uint64, oldest time.Time) { return 0, 0, time.Time{} }

// Delivered notes that the hub has everything up to an entry. Said again, or
// late, it changes nothing; of an entry that was never made it is
// ErrNoSuchEntry.
func (g *Gate) Delivered(ctx context.Context, through uint64) error { return ErrNoHub }

// A GrantUsage is what a grant has used so far.
type GrantUsage struct {
	Grant GrantID
	Used  Octets
}

// LiveUsage returns what active grants have used, everything reported counted,
// in the order of their numbers, beginning after one: at most max of them.
func (g *Gate) LiveUsage(after GrantID, max int) []GrantUsage { return nil }
