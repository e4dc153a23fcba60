package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate/hub"
	"zonegate/hub/store"
)

// Writes that are committed together do not share their faults.
func TestWritesAreSeparate(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		fault := errors.New("fault")
		const n = 60
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				errs[i] = w.store.Write(w.ctx, func(tx hub.Tx) error {
					if err := tx.PutMeta(fmt.Sprint(i), "x"); err != nil {
						return err
					}
					switch i % 3 {
					case 1:
						return fault
					case 2:
						panic("oh")
					}
					return nil
				})
			})
		}
		wg.Wait()
		for i, err := range errs {
			switch {
			case i%3 == 0 && err != nil, i%3 == 1 && !errors.Is(err, fault), i%3 == 2 && (err == nil || !strings.Contains(err.Error(), "oh")):
				t.Errorf("write %d: %v", i, err)
			}
			_, err := takeMeta(w, fmt.Sprint(i))
			if wrote := err == nil; wrote != (i%3 == 0) {
				t.Errorf("write %d is there: %v", i, wrote)
			}
		}
		ctx, cancel := context.WithCancel(w.ctx)
		cancel()
		if err := w.store.Write(ctx, func(hub.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("a write after its time: %v", err)
		}
	})
}

func takeMeta(w *world, name string) (v string, err error) {
	err = w.store.Write(w.ctx, func(tx hub.Tx) error {
		v, err = tx.TakeMeta(name)
		return err
	})
	return v, err
}

// Locks keep two processes apart that read before they write.
func TestLock(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		worlds := []*world{w, w}
		if strings.HasPrefix(w.database, "postgres") {
			worlds[1] = w.other()
		}
		const n, each = 6, 10
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				for range each {
					if err := worlds[i%2].store.Write(w.ctx, func(tx hub.Tx) error {
						if err := tx.Lock("counter"); err != nil {
							return err
						}
						v, err := tx.TakeMeta("counter")
						if err != nil && !errors.Is(err, hub.ErrNotFound) {
							return err
						}
						return tx.PutMeta("counter", v+"x")
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if v, err := takeMeta(w, "counter"); err != nil || len(v) != n*each {
			t.Errorf("counted %d of %d: %v", len(v), n*each, err)
		}
	})
}

// Several processes that start on an empty database make its tables once.
func TestOpenTogether(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			database := d.make(t)
			stores := make([]*store.Store, 4)
			errs := make([]error, len(stores))
			var wg sync.WaitGroup
			for i := range stores {
				wg.Go(func() {
					stores[i], errs[i] = store.Open(context.Background(), database, slog.New(slog.DiscardHandler))
				})
			}
			wg.Wait()
			for i, s := range stores {
				if errs[i] != nil {
					t.Error("opening:", errs[i])
				} else if err := s.Close(); err != nil {
					t.Error("closing:", err)
				}
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		driver := "sqlite"
		if strings.HasPrefix(w.database, "postgres") {
			driver = "pgx"
		}
		db, err := sql.Open(driver, w.database)
		w.ok(err)
		defer db.Close()
		_, err = db.ExecContext(w.ctx, "INSERT INTO migrations (version) VALUES (4711)")
		w.ok(err)
		_, err = store.Open(w.ctx, w.database, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), "newer program") {
			t.Errorf("a database of a newer program: %v", err)
		}
	})
	for what, database := range map[string]string{
		"a folder": t.TempDir(), "no folder": t.TempDir() + "/no/hub.db", "no server": "postgres://127.0.0.1:1/x?connect_timeout=2",
	} {
		if s, err := store.Open(t.Context(), database, slog.New(slog.DiscardHandler)); err == nil {
			s.Close()
			t.Errorf("%s was opened", what)
		}
	}
	garbage := t.TempDir() + "/hub.db"
	if err := os.WriteFile(garbage, []byte(strings.Repeat("no database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := store.Open(t.Context(), garbage, slog.New(slog.DiscardHandler)); err == nil {
		s.Close()
		t.Error("garbage was opened")
	}
}

// Everybody's hashes are in the file.
func TestFileMode(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/a name with % and ?.db")
	w.reseller("A", plenty)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(w.database + suffix)
		w.ok(err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%q has mode %v", suffix, info.Mode().Perm())
		}
	}
}

// What a database cannot keep is an input error on both, wherever it comes in.
func TestOddText(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for _, odd := range []string{"a\x00b", "a\xffb"} {
			if _, err := w.Login(w.ctx, odd, "long enough pw"); err == nil {
				t.Error("nobody signed in")
			}
			_, err := w.NewEnrolment(w.ctx, w.admin, odd, time.Hour)
			wantErr(t, "a site", err, new(hub.InputError))
			_, err = w.Summary(w.ctx, w.admin, odd, "2026-02")
			wantErr(t, "a reseller", err, new(hub.InputError))
			_, err = w.CreateReseller(w.ctx, w.admin, odd, plenty)
			wantErr(t, "a reseller's name", err, new(hub.InputError))
			_, err = w.CreateUser(w.ctx, w.admin, hub.NewUser{Name: odd, Password: "long enough pw", Role: hub.RoleAdmin})
			wantErr(t, "a new user", err, new(hub.InputError))
			_, err = w.Authenticate(w.ctx, odd) // hashed before
			wantErr(t, "a token", err, hub.ErrUnauthorized)
		}
	})
}
