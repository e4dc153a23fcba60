package password

import (
	"context"
	"strings"
	"testing"
)

func TestHashes(t *testing.T) {
	h, ctx := New(2), context.Background()
	a, err := h.Hash(ctx, "correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	b, err := h.Hash(ctx, "correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	if a == b {
		t.Error("two hashes of one password are equal: they have the same salt")
	}
	for _, tt := range []struct {
		hash, password string
		want           bool
	}{{a, "correct horse battery", true}, {b, "correct horse battery", true}, {a, "correct horse batterx", false}, {a, "", false}} {
		if got, err := h.Verify(ctx, tt.hash, tt.password); err != nil || got != tt.want {
			t.Errorf("verifying %q: %v, %v; want %v", tt.password, got, err, tt.want)
		}
	}
}

func TestDamagedHashes(t *testing.T) {
	h, ctx := New(2), context.Background()
	good, err := h.Hash(ctx, "correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	for _, hash := range []string{
		"", "x", strings.Replace(good, "argon2id", "argon2i", 1), strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "m=19456", "m=4294967295", 1), strings.Replace(good, "t=2", "t=0", 1),
		strings.Replace(good, "p=1", "p=99", 1), good + "!", good[:len(good)-40], "$argon2id$v=19$m=x$a$b",
	} {
		if ok, err := h.Verify(ctx, hash, "correct horse battery"); ok || err == nil {
			t.Errorf("hash %q: %v, %v; want an error", hash, ok, err)
		}
	}
}

func TestWaitsForASlot(t *testing.T) {
	h := New(1)
	h.slots <- struct{}{}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := h.Hash(ctx, "correct horse battery"); err != context.Canceled {
		t.Errorf("with no slot: %v, want canceled", err)
	}
}
