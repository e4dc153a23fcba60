// Package store keeps what the hub knows: hub.Store on SQLite and on
// PostgreSQL, with one text of SQL and of migrations for both. A statement
// that only one of them understands is in sqlite.go or postgres.go, with its
// reason.
//
// Nothing is decided here: rows in, rows out.
package store
