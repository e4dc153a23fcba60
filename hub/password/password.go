// Package password makes and checks hashes of passwords: argon2id (RFC 9106)
// in the PHC string format. Nothing else.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// What a new hash costs: 19 MiB and two passes, the OWASP minimum for
// argon2id. A server that hundreds of resellers sign in to has little memory.
const (
	memory = 19 * 1024 // KiB
	passes = 2
	lanes  = 1
	salt   = 16
	length = 32
)

// Hasher implements hub.Hasher. It bounds how many hashes are computed at
// once, so that a flood of logins costs time and not memory.
type Hasher struct{ slots chan struct{} }

// New returns a Hasher that computes at most n at once.
func New(n int) *Hasher { return &Hasher{make(chan struct{}, n)} }

func (h *Hasher) enter(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Hash makes a hash with a fresh salt.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	var s [salt]byte
	if _, err := rand.Read(s[:]); err != nil {
		return "", fmt.Errorf("drawing a salt: %w", err)
	}
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer func() { <-h.slots }()
	sum := argon2.IDKey([]byte(password), s[:], passes, memory, lanes, length)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memory, passes, lanes,
		b64.EncodeToString(s[:]), b64.EncodeToString(sum)), nil
}

var errDamaged = errors.New("the hash of the password is damaged; set a new password")

// Verify says whether the password fits the hash.
func (h *Hasher) Verify(ctx context.Context, hash, password string) (bool, error) {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return false, errDamaged
	}
	var m, t, p uint32
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &m, &t, &p); n != 3 || err != nil ||
		m < 8 || m > 1<<20 || t < 1 || t > 20 || p < 1 || p > 16 {
		return false, errDamaged
	}
	s, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(s) < 8 || len(want) < 16 || len(want) > 64 {
		return false, errDamaged
	}
	if err := h.enter(ctx); err != nil {
		return false, err
	}
	defer func() { <-h.slots }()
	got := argon2.IDKey([]byte(password), s, t, m, uint8(p), uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}
