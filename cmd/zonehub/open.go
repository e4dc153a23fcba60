package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"runtime"

	"zonegate/hub"
	"zonegate/hub/password"
	"zonegate/hub/store"
)

// openHub puts the hub's parts together. The caller closes the store.
func openHub(ctx context.Context, data, database string, log *slog.Logger) (*hub.Hub, *store.Store, hub.Keys, error) {
	keys, err := loadKeys(data)
	if err != nil {
		return nil, nil, hub.Keys{}, err
	}
	if database == "" {
		database = filepath.Join(data, "hub.db")
	}
	st, err := store.Open(ctx, database, log)
	if err != nil {
		return nil, nil, hub.Keys{}, err
	}
	h := hub.New(hub.Options{Store: st, Keys: keys, Hasher: password.New(runtime.NumCPU()), Log: log})
	return h, st, keys, nil
}

// operator is whoever may read the hub's keys: he could change the database
// himself.
var operator = hub.Actor{Name: "command line", Role: hub.RoleAdmin}

// with runs a command on the hub. The daemon may run at the same time: it
// finds what was pushed within a second.
func (e *env) with(ctx context.Context, do func(h *hub.Hub) error) (err error) {
	h, st, _, err := openHub(ctx, e.data, e.database, slog.New(slog.NewTextHandler(e.stderr, nil)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return do(h)
}
