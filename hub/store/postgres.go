package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// A postgresEngine is a PostgreSQL database, which several hub processes may
// share.
type postgresEngine struct{ db *sql.DB }

// connections is how many a process uses at most.
const connections = 16

// planner are settings that the URL may overrule. Each statement that is run
// often has an index. A plan is kept from when its table was small, though, and
// for so few rows a scan looks cheaper: it would be run on all that came since.
// And compiling a statement takes longer than any of ours runs.
var planner = map[string]string{"enable_seqscan": "off", "jit": "off"}

func openPostgres(ctx context.Context, url string) (*postgresEngine, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	for name, value := range planner {
		if _, set := config.RuntimeParams[name]; !set {
			config.RuntimeParams[name] = value
		}
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the database: %w", err), db.Close())
	}
	return &postgresEngine{db}, nil
}

type postgresTx struct {
	ctx context.Context
	tx  *sql.Tx
}

func (p postgresTx) exec(query string, args ...any) (sql.Result, error) {
	return p.tx.ExecContext(p.ctx, query, args...)
}

func (p postgresTx) query(query string, args ...any) (*sql.Rows, error) {
	return p.tx.QueryContext(p.ctx, query, args...)
}

func postgresExists(err error) bool { return code(err) == "23505" }

// code is the SQLSTATE of an error.
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

const channel = "zonehub_push"

// attempts is how often a transaction is run that the database took back
// because of another one.
const attempts = 10

func (e *postgresEngine) write(ctx context.Context, f func(*tx) error) error {
	for i := 1; ; i++ {
		err := e.inTx(ctx, nil, f)
		// A serialisation failure or a deadlock: nothing has happened.
		if c := code(err); c != "40001" && c != "40P01" || i == attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(rand.IntN(i*5)+1) * time.Millisecond):
		}
	}
}

func (e *postgresEngine) read(ctx context.Context, f func(*tx) error) error {
	return e.inTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}, f)
}

func (e *postgresEngine) inTx(ctx context.Context, o *sql.TxOptions, f func(*tx) error) error {
	t, err := e.db.BeginTx(ctx, o)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	defer t.Rollback() // nothing after a commit
	p := postgresTx{ctx, t}
	err = f(&tx{q: p, exists: postgresExists, chunks: wide,
		// PostgreSQL alone has many writers, and so locks by name: the two
		// statements that SQLite does not know.
		lock: func(name string) error {
			_, err := p.exec("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", name)
			return err
		},
		notify: func(seq uint64) error {
			_, err := p.exec("SELECT pg_notify('"+channel+"', $1)", strconv.FormatUint(seq, 10))
			return err
		}})
	if err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

func (e *postgresEngine) listen(ctx context.Context, heard func(uint64)) error {
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Raw(func(c any) error {
		pg := c.(*stdlib.Conn).Conn()
		if _, err := pg.Exec(ctx, "LISTEN "+channel); err != nil {
			return errors.Join(err, driver.ErrBadConn)
		}
		for {
			n, err := pg.WaitForNotification(ctx)
			if err != nil {
				// It must not go back to the others while it listens.
				return errors.Join(err, driver.ErrBadConn)
			}
			if seq, err := strconv.ParseUint(n.Payload, 10, 64); err == nil {
				heard(seq)
			}
		}
	})
}

func (e *postgresEngine) close() error { return e.db.Close() }
