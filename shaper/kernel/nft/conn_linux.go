package nft

import (
	"context"
	"time"
)

// replyTimeout bounds the wait for the kernel, which answers while it takes
// the request: longer means that something is wrong.
const replyTimeout = 10 * time.Second

// A Conn is a connection to nf_tables and conntrack in one network namespace.
// It is safe for concurrent use; calls run one after the other. A table with
// the [Owner] flag belongs to the Conn that adds it, so all changes to it must
// go through that one; anybody may dump it.
type Conn struct{}

// Dial opens a connection in the network namespace of the calling thread (lock
// the goroutine to its thread if that is not the process's). It asks the
// kernel for its ruleset generation, so it fails at once with
// [ErrNoNFTables] or [ErrNoPermission].
func Dial() (*Conn, error) { return nil, ErrNoNFTables }

// Close ends the connection and interrupts a call that waits.
func (c *Conn) Close() error { return nil }

// Port is the connection's netlink port: the owner of the tables that it adds
// with [Owner], and the Port of the events that it causes.
func (c *Conn) Port() uint32 { return 0 }

// Commit applies a batch: all of it, or nothing and a [*BatchError].
// [ErrUnknownOutcome] means that the answer was lost.
func (c *Conn) Commit(b *Batch) error { return nil }

// Check asks whether Commit would succeed, and changes nothing. It tells, for
// one, whether the kernel knows a table flag or an expression.
func (c *Conn) Check(b *Batch) error { return nil }

// Tables returns the tables of all families.
func (c *Conn) Tables() ([]TableInfo, error) { return nil, nil }

// Elements returns the elements of a set with data, object and what remains of
// their timeouts, in no particular order; ranges joined, sorted by key. ENOENT
// if there is no such table or set.
func (c *Conn) Elements(table, set string) ([]Element, error) { return nil, nil }

// Quotas returns the quota objects of a table; empty if there is no such table.
func (c *Conn) Quotas(table string) ([]Quota, error) { return nil, nil }

// Quota returns one quota object. ENOENT if there is none.
func (c *Conn) Quota(table, name string) (Quota, error) { return Quota{}, nil }

// DeleteMark deletes the conntrack entries with a mark, both address families.
// The kernel filters: no entry is copied.
func (c *Conn) DeleteMark(mark uint32) error { return nil }

// HasMark tells whether a conntrack entry with this mark exists.
func (c *Conn) HasMark(mark uint32) (bool, error) { return false, nil }

// Marks returns how many conntrack entries have each mark, without mark 0. It
// reads all entries: use a Conn of its own if that must not delay batches.
func (c *Conn) Marks() (map[uint32]int, error) { return nil, nil }

// An EventKind says what happened.
type EventKind int

const (
	// TableAdded: Table was added or its flags changed.
	TableAdded EventKind = iota + 1
	// TableDeleted: Table is gone.
	TableDeleted
	// QuotaDepleted: Quota, in Table, has run out. Sent once per object. The
	// kernel does not say of which family the table is.
	QuotaDepleted
	// Generation: a batch was committed by anybody.
	Generation
	// Overrun: events were lost. Read the tables again.
	Overrun
)

// An Event is a change in the namespace's nftables.
type Event struct {
	Kind   EventKind
	Table  string // TableAdded, TableDeleted, QuotaDepleted
	Family uint8  // of the table: TableAdded, TableDeleted
	Quota  Quota  // QuotaDepleted
	// Port is the netlink port of who did it (see Conn.Port), 0 for the kernel.
	Port uint32
	// Process is the name of who did it: Generation.
	Process string
}

// A Monitor receives events from the moment it is made.
type Monitor struct{}

// NewMonitor subscribes to the events of the calling thread's network
// namespace.
func NewMonitor() (*Monitor, error) { return nil, ErrNoNFTables }

// Next returns the next event, waiting for it. It ends with ctx's error, or
// with net.ErrClosed after Close. For one goroutine at a time.
func (m *Monitor) Next(ctx context.Context) (Event, error) { return Event{}, ctx.Err() }

// Close ends the subscription and a Next that waits.
func (m *Monitor) Close() error { return nil }
