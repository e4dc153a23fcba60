package store

import (
	"path/filepath"
	"testing"
)

// What makes a commit durable is a setting of each connection: without it
// everything else passes.
func TestDurableSettings(t *testing.T) {
	e, err := openSQLite(t.Context(), filepath.Join(t.TempDir(), "hub.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	w := &tx{q: e.w.lane, exists: sqliteExists}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		if got, err := one(w, text, "PRAGMA "+pragma); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", pragma, got, err, want)
		}
	}
}
