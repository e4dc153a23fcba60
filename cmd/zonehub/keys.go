package main

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"zonegate/hub"
)

const keyFile = "hub.key"

// loadKeys reads the hub's secrets, or makes them at the first start, if mayMake
// has no error. Whoever reads the file and the database has the hub, so a file
// that others can read is refused.
func loadKeys(dir string, mayMake func() error) (hub.Keys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return hub.Keys{}, fmt.Errorf("making the data directory: %w", err)
	}
	name := filepath.Join(dir, keyFile)
	var keys hub.Keys
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := mayMake(); err != nil {
			return hub.Keys{}, err
		}
		if keys, err = hub.NewKeys(); err != nil {
			return hub.Keys{}, err
		}
		if err = writeKeys(dir, name, keys); !errors.Is(err, fs.ErrExist) {
			return keys, err
		}
		// Another process was first: its keys are the hub's.
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return hub.Keys{}, fmt.Errorf("reading the hub's keys: %w", err)
	}
	info, err := os.Stat(name)
	if err != nil {
		return hub.Keys{}, fmt.Errorf("reading the hub's keys: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return hub.Keys{}, fmt.Errorf("%s can be read by others: chmod 600 it; if somebody may have read it, make a new hub", name)
	}
	if err := keys.UnmarshalText(text); err != nil {
		return hub.Keys{}, fmt.Errorf("%s: %w", name, err)
	}
	return keys, nil
}

// writeKeys writes the file whole, or fails with fs.ErrExist if there is one:
// keys that gateways know must never be lost to a race of two first starts.
func writeKeys(dir, name string, keys hub.Keys) (err error) {
	text, err := keys.MarshalText()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, keyFile+".*") // 0600
	if err != nil {
		return fmt.Errorf("writing the hub's keys: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing the hub's keys: %w", err)
	}
	if err := os.Link(f.Name(), name); err != nil {
		return fmt.Errorf("writing the hub's keys: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("writing the hub's keys: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// pageKeys are the console's own secrets.
type pageKeys struct{ sessions, forms []byte }

// consoleKeys derives them from the key of the API's tokens (HKDF, RFC 5869):
// a session's cookie is then no token of the API, nor the other way round.
func consoleKeys(jwt []byte) (k pageKeys, err error) {
	if k.sessions, err = hkdf.Expand(sha256.New, jwt, "zonehub console sessions", 32); err != nil {
		return k, fmt.Errorf("deriving the console's keys: %w", err)
	}
	if k.forms, err = hkdf.Expand(sha256.New, jwt, "zonehub console forms", 32); err != nil {
		return k, fmt.Errorf("deriving the console's keys: %w", err)
	}
	return k, nil
}
