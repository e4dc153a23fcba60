package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// A certificate is read again when its files change: those of the usual
// authorities live for weeks, a hub longer.
type certificate struct {
	cert, key string
	log       *slog.Logger
	read      time.Time // newest change that was read
	now       atomic.Pointer[tls.Certificate]
}

func loadCertificate(cert, key string, log *slog.Logger) (*certificate, error) {
	c := &certificate{cert: cert, key: key, log: log}
	if err := c.load(c.changed()); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *certificate) load(changed time.Time) error {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("reading the certificate: %w", err)
	}
	c.now.Store(&pair)
	c.read = changed
	return nil
}

// changed is when either file was changed last.
func (c *certificate) changed() (newest time.Time) {
	for _, name := range []string{c.cert, c.key} {
		if info, err := os.Stat(name); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest
}

// watch looks every minute. A new pair that cannot be read leaves the old one
// in use.
func (c *certificate) watch(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if changed := c.changed(); !changed.Equal(c.read) {
			if err := c.load(changed); err != nil {
				c.log.Error("the new certificate is not used", "error", err)
			} else {
				c.log.Info("the certificate was renewed")
			}
		}
	}
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil },
	}
}
