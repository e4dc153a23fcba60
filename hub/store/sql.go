package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"zonegate/hub"
)

// A tx is a hub.Tx.
type tx struct {
	q querier
	// lock is how this database locks a name until the transaction ends; nil
	// where there is one writer anyway.
	lock func(name string) error
	// notify tells other processes of a push when the transaction commits; nil
	// where there are none.
	notify func(seq uint64) error
	// exists recognises the error of a unique key.
	exists func(error) bool
	chunks []int // wide or narrow
	pushed uint64
}

// A querier runs statements in a transaction.
type querier interface {
	exec(query string, args ...any) (sql.Result, error)
	query(query string, args ...any) (*sql.Rows, error)
}

// Lock implements hub.Tx.
func (t *tx) Lock(name string) error {
	if t.lock == nil {
		return nil
	}
	return t.lock(name)
}

// exec runs a statement and returns how many rows it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	if err := keepable(args); err != nil {
		return 0, err
	}
	res, err := t.q.exec(query, args...)
	if err != nil {
		if t.exists(err) {
			return 0, hub.ErrExists
		}
		return 0, fmt.Errorf("%s: %w", firstWords(query), err)
	}
	return res.RowsAffected()
}

// must is exec for rows that have to be there.
func (t *tx) must(query string, args ...any) error {
	n, err := t.exec(query, args...)
	if err == nil && n == 0 {
		return hub.ErrNotFound
	}
	return err
}

func (t *tx) do(query string, args ...any) error {
	_, err := t.exec(query, args...)
	return err
}

// keepable refuses text that PostgreSQL cannot keep, and so on SQLite too.
func keepable(args []any) error {
	for _, a := range args {
		if s, ok := a.(string); ok && (strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s)) {
			return &hub.InputError{Reason: "a text has characters that cannot be kept"}
		}
	}
	return nil
}

// firstWords names a statement in an error; its values are never in it.
func firstWords(query string) string {
	words := strings.Fields(query)
	return strings.Join(words[:min(3, len(words))], " ")
}

// A scanner is a row.
type scanner interface{ Scan(...any) error }

// many returns the rows of a query.
func many[T any](t *tx, scan func(scanner) (T, error), query string, args ...any) (out []T, err error) {
	if err := keepable(args); err != nil {
		return nil, err
	}
	rows, err := t.q.query(query, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", firstWords(query), err)
	}
	defer rows.Close()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("reading a row: %w", err)
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", firstWords(query), err)
	}
	return out, nil
}

// one returns the first row of a query, or hub.ErrNotFound.
func one[T any](t *tx, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	rows, err := many(t, scan, query, args...)
	if err != nil || len(rows) == 0 {
		var none T
		return none, errors.Join(err, missing(len(rows) == 0 && err == nil))
	}
	return rows[0], nil
}

func missing(yes bool) error {
	if yes {
		return hub.ErrNotFound
	}
	return nil
}

func text(s scanner) (v string, err error) { err = s.Scan(&v); return v, err }

func number(s scanner) (v int64, err error) { err = s.Scan(&v); return v, err }

func seq(s scanner) (uint64, error) { v, err := number(s); return uint64(v), err }

// How many rows one statement has: few texts, so that each is prepared once.
// PostgreSQL costs a round trip for each. SQLite costs none, and searches the
// name of every parameter in a list of all.
var (
	wide   = []int{500, 100, 25, 5, 2, 1}
	narrow = []int{1}
)

// insert runs "head VALUES (...), (...) tail" with the values of many rows, in
// few statements, and returns how many rows it changed.
func (t *tx) insert(head, tail string, width int, values []any) (int64, error) {
	var sum int64
	for _, size := range t.chunks {
		for len(values) >= size*width {
			n, err := t.exec(valuesText(head, tail, width, size), values[:size*width]...)
			if err != nil {
				return sum, err
			}
			sum += n
			values = values[size*width:]
		}
	}
	return sum, nil
}

// in runs a statement that ends in "IN " with a list, in parts. args come
// before the list.
func in[T any](t *tx, values []T, each func(list string, args []any) error, args ...any) error {
	for _, size := range t.chunks {
		for len(values) >= size {
			all := append([]any{}, args...)
			for _, v := range values[:size] {
				all = append(all, v)
			}
			var list strings.Builder
			for i := range size {
				list.WriteString(map[bool]string{true: "(", false: ", "}[i == 0])
				list.WriteString("$" + strconv.Itoa(len(args)+i+1))
			}
			if err := each(list.String()+")", all); err != nil {
				return err
			}
			values = values[size:]
		}
	}
	return nil
}

func valuesText(head, tail string, width, rows int) string {
	var b strings.Builder
	b.Grow(len(head) + len(tail) + rows*width*7)
	b.WriteString(head)
	b.WriteString(" VALUES ")
	for i := range rows {
		for j := range width {
			switch {
			case j > 0:
				b.WriteByte(',')
			case i > 0:
				b.WriteString(",(")
			default:
				b.WriteByte('(')
			}
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(i*width + j + 1))
		}
		b.WriteByte(')')
	}
	b.WriteByte(' ')
	b.WriteString(tail)
	return b.String()
}

// bounded is the condition of a list that a reseller, as $1, may bound. Two
// texts, since neither database uses an index for "$1 = ” OR column = $1".
func bounded(column, reseller string) string {
	if reseller == "" {
		return "$1 = ''"
	}
	return column + " = $1"
}

// ms is a time as it is kept, at the one that was.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encoding a row: %w", err)
	}
	return string(b), nil
}
