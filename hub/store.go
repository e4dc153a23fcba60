package hub

import "context"

// A Store keeps what the hub knows. hub/store has it on SQLite and PostgreSQL.
type Store interface {
	// Write runs f in one transaction and returns when it is durable. f may be
	// run again when the database asks for it, so it must only change what it
	// assigns anew. An error of f takes everything back.
	Write(ctx context.Context, f func(Tx) error) error
	// Read runs f on one consistent state.
	Read(ctx context.Context, f func(Tx) error) error
	// WaitPush returns when a push after this number may be there: a hint.
	WaitPush(ctx context.Context, after uint64) error
}

// A Tx is a transaction. Rows that are not there are ErrNotFound, names that
// are taken ErrExists.
type Tx interface{}
