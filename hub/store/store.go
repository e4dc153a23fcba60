package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"zonegate/hub"
)

// A Store is a hub.Store.
type Store struct {
	engine engine
	log    *slog.Logger

	// head is the highest push that this process knows of; woken is closed and
	// made anew when it grows.
	head  atomic.Uint64
	mu    sync.Mutex
	woken chan struct{}
}

// An engine is one of the two databases.
type engine interface {
	// write runs f in a durable transaction, read in one that sees one state.
	write(ctx context.Context, f func(*tx) error) error
	read(ctx context.Context, f func(*tx) error) error
	// listen reports pushes of other processes until ctx is over.
	listen(ctx context.Context, heard func(seq uint64)) error
	close() error
}

// Open opens a database and brings its tables up to date: PostgreSQL for a URL
// that begins with postgres:// or postgresql://, otherwise the SQLite file of
// that name, made where there is none.
func Open(ctx context.Context, database string, log *slog.Logger) (*Store, error) {
	s := &Store{log: log, woken: make(chan struct{})}
	var err error
	if strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://") {
		s.engine, err = openPostgres(ctx, database)
	} else {
		s.engine, err = openSQLite(ctx, database)
	}
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, s.engine); err != nil {
		return nil, errors.Join(err, s.engine.close())
	}
	return s, nil
}

// Close waits for what is running.
func (s *Store) Close() error { return s.engine.close() }

// Run hears of pushes that other processes make, until ctx is over. Without it
// WaitPush still returns every second.
func (s *Store) Run(ctx context.Context) error {
	for {
		err := s.engine.listen(ctx, s.wake)
		if ctx.Err() != nil {
			return nil
		}
		s.log.Warn("listening for pushes", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// wake tells those who wait that there is a push.
func (s *Store) wake(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq <= s.head.Load() {
		return
	}
	s.head.Store(seq)
	close(s.woken)
	s.woken = make(chan struct{})
}

// WaitPush implements hub.Store.
func (s *Store) WaitPush(ctx context.Context, after uint64) error {
	s.mu.Lock()
	woken := s.woken
	s.mu.Unlock()
	if s.head.Load() > after {
		return nil
	}
	poll := time.NewTimer(time.Second)
	defer poll.Stop()
	select {
	case <-woken:
	case <-poll.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Write implements hub.Store.
func (s *Store) Write(ctx context.Context, f func(hub.Tx) error) error {
	var pushed uint64
	err := s.engine.write(ctx, func(t *tx) error {
		err := call(f, t)
		pushed = t.pushed
		return err
	})
	if err == nil && pushed > 0 {
		s.wake(pushed)
	}
	return err
}

// call turns a panic into an error: it must not stop the commits of others,
// which may share the transaction.
func call(f func(hub.Tx) error, t *tx) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a transaction panicked: %v", r)
		}
	}()
	return f(t)
}

// Read implements hub.Store.
func (s *Store) Read(ctx context.Context, f func(hub.Tx) error) error {
	return s.engine.read(ctx, func(t *tx) error { return f(t) })
}
