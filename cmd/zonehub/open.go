package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"

	"zonegate/hub"
	"zonegate/hub/password"
	"zonegate/hub/store"
)

// openHub puts the hub's parts together, with o where it is to take money. The
// caller closes the store. With newKeys it may make keys for a database that
// has sites.
func openHub(ctx context.Context, data, database string, newKeys bool, o hub.Options, log *slog.Logger) (*hub.Hub, *store.Store, hub.Keys, error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, nil, hub.Keys{}, fmt.Errorf("making the data directory: %w", err)
	}
	if database == "" {
		database = filepath.Join(data, "hub.db")
	}
	st, err := store.Open(ctx, database, log)
	if err != nil {
		return nil, nil, hub.Keys{}, err
	}
	keys, err := loadKeys(data, func() error { return mayMakeKeys(ctx, st, data, newKeys) })
	if err != nil {
		return nil, nil, hub.Keys{}, errors.Join(err, st.Close())
	}
	o.Store, o.Keys, o.Hasher, o.Log = st, keys, password.New(runtime.NumCPU()), log
	return hub.New(o), st, keys, nil
}

// mayMakeKeys refuses keys for a database that others belong to: gateways
// would take no push that is signed with the new ones.
func mayMakeKeys(ctx context.Context, st *store.Store, data string, newKeys bool) error {
	var sites []hub.Site
	err := st.Read(ctx, func(tx hub.Tx) (err error) {
		sites, err = tx.Sites("")
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("looking for sites before making keys: %w", err)
	case len(sites) == 0 || newKeys:
		return nil
	}
	return fmt.Errorf("%s is missing, and the database has %d sites that belong to it: restore hub.key from the backup. "+
		"If it is lost for good, \"zonehub serve --new-keys\" makes another; then all gateways are lost to the hub, "+
		"and no code that was made before can be claimed or given out again: make the sites anew and enrol every gateway there. "+
		"Users, forfaits and the accounts stay", filepath.Join(data, keyFile), len(sites))
}

// operator is whoever may read the hub's keys: he could change the database
// himself.
var operator = hub.Actor{Name: "command line", Role: hub.RoleAdmin}

// with runs a command on the hub. The daemon may run at the same time: it
// finds what was pushed within a second.
func (e *env) with(ctx context.Context, do func(h *hub.Hub) error) (err error) {
	h, st, _, err := openHub(ctx, e.data, e.database, false, hub.Options{}, slog.New(slog.NewTextHandler(e.stderr, nil)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return do(h)
}
