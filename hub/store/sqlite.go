package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// readers is how many transactions can read at once.
const readers = 4

// A sqliteEngine is one file in WAL mode: readers never wait, and one writer
// commits whatever waits for it together.
type sqliteEngine struct {
	db    *sql.DB
	lanes chan *lane // of readers
	w     writer
}

// A lane is a connection with its prepared statements.
type lane struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

// A SQLite file is for one process at a time as far as pushes are concerned;
// others may read it.
func openSQLite(ctx context.Context, path string) (*sqliteEngine, error) {
	// The file holds hashes of everybody's secrets.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	v := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		"cache_size(-65536)", "mmap_size(268435456)", "wal_autocheckpoint(4000)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: v.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	e := &sqliteEngine{db: db, lanes: make(chan *lane, readers)}
	for i := range readers + 1 {
		conn, err := connect(ctx, db)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("opening the database %s: %w", path, err), db.Close())
		}
		l := &lane{conn: conn, stmts: map[string]*sql.Stmt{}}
		if i == 0 {
			e.w.lane = l
			continue
		}
		e.lanes <- l
	}
	return e, nil
}

// connect opens one connection. Where another process turns the same new file to
// WAL, SQLite is busy at once and asks no busy handler: seen in our tests. It is tried
// again.
func connect(ctx context.Context, db *sql.DB) (*sql.Conn, error) {
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := db.Conn(ctx)
		var e *sqlite.Error
		if err == nil || !errors.As(err, &e) || e.Code()&0xff != sqlite3.SQLITE_BUSY || time.Now().After(deadline) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// The context is not handed to the driver: statements are short, and one that
// is interrupted takes the whole transaction with it, which others share.
func (l *lane) prepared(query string) (*sql.Stmt, error) {
	if s, ok := l.stmts[query]; ok {
		return s, nil
	}
	s, err := l.conn.PrepareContext(context.Background(), query)
	if err == nil {
		l.stmts[query] = s
	}
	return s, err
}

func (l *lane) exec(query string, args ...any) (sql.Result, error) {
	s, err := l.prepared(query)
	if err != nil {
		return nil, err
	}
	return s.Exec(args...)
}

func (l *lane) query(query string, args ...any) (*sql.Rows, error) {
	s, err := l.prepared(query)
	if err != nil {
		return nil, err
	}
	return s.Query(args...)
}

func (l *lane) run(statement string) error {
	if _, err := l.exec(statement); err != nil {
		return fmt.Errorf("%s: %w", firstWords(statement), err)
	}
	return nil
}

func sqliteExists(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

func (e *sqliteEngine) read(ctx context.Context, f func(*tx) error) error {
	var l *lane
	select {
	case l = <-e.lanes:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { e.lanes <- l }()
	if err := l.run("BEGIN"); err != nil {
		return err
	}
	err := f(&tx{q: l, exists: sqliteExists, chunks: narrow})
	return errors.Join(err, l.run("ROLLBACK"))
}

// A writer commits together what waits together: on a disk where a sync takes
// 5 ms, ten thousand gateways would otherwise wait for each other.
type writer struct {
	lane *lane

	mu      sync.Mutex
	leading bool
	queue   []*errand
}

// An errand is one transaction of somebody's.
type errand struct {
	f   func(*tx) error
	err error
	// turn gets true when this errand is to commit the next group, and is
	// closed when it is done.
	turn chan bool
}

// maxGroup bounds a commit, so that nobody waits long for the others.
const maxGroup = 256

// write queues f. Who comes first commits for all that wait, and then leaves
// the next group to the first of those who came meanwhile.
func (e *sqliteEngine) write(ctx context.Context, f func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &e.w
	mine := &errand{f: f, turn: make(chan bool, 1)}
	w.mu.Lock()
	w.queue = append(w.queue, mine)
	if w.leading {
		w.mu.Unlock()
		// Not ended by ctx: it is on its way, and whether it happened must be
		// known.
		if lead := <-mine.turn; !lead {
			return mine.err
		}
		w.mu.Lock()
	}
	w.leading = true
	group := w.queue[:min(len(w.queue), maxGroup)] // mine is the first
	w.queue = w.queue[len(group):]
	w.mu.Unlock()

	w.commit(group)

	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) > 0 {
		w.queue[0].turn <- true
	} else {
		w.leading = false
	}
	return mine.err
}

// commit runs a group of errands in one transaction, each in a savepoint: one
// that fails takes back only its own.
func (w *writer) commit(group []*errand) {
	err := w.lane.run("BEGIN IMMEDIATE")
	if err == nil {
		for _, x := range group {
			if err = w.one(x); err != nil {
				break
			}
		}
		if err == nil {
			err = w.lane.run("COMMIT")
		}
		if err != nil {
			err = errors.Join(err, w.lane.run("ROLLBACK"))
		}
	}
	for _, x := range group {
		if err != nil {
			x.err = err
		}
		close(x.turn)
	}
}

// one runs one errand. The error is that of the database, which ends the
// group; the errand's own is kept in it.
func (w *writer) one(x *errand) error {
	if err := w.lane.run("SAVEPOINT errand"); err != nil {
		return err
	}
	if x.err = x.f(&tx{q: w.lane, exists: sqliteExists, chunks: narrow}); x.err != nil {
		if err := w.lane.run("ROLLBACK TO errand"); err != nil {
			return err
		}
	}
	return w.lane.run("RELEASE errand")
}

// listen waits: there is no other process.
func (e *sqliteEngine) listen(ctx context.Context, _ func(uint64)) error {
	<-ctx.Done()
	return nil
}

func (e *sqliteEngine) close() error {
	var errs []error
	for range readers {
		l := <-e.lanes
		errs = append(errs, l.close())
	}
	return errors.Join(append(errs, e.w.lane.close(), e.db.Close())...)
}

func (l *lane) close() error {
	for _, s := range l.stmts {
		s.Close()
	}
	return l.conn.Close()
}
