package hub

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"zonegate"
)

// at is the hub's time as it is kept: UTC, in milliseconds.
func (h *Hub) at() time.Time { return h.now().UTC().Truncate(time.Millisecond) }

// newID draws an id that grows with time (UUID version 7, RFC 9562).
func (h *Hub) newID() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(h.random, b[:]); err != nil {
		return "", fmt.Errorf("drawing an id: %w", err)
	}
	ms := uint64(h.now().UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	x := hex.EncodeToString(b[:])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:], nil
}

// newToken draws 32 octets.
func (h *Hub) newToken() (string, error) {
	var b [32]byte
	if _, err := io.ReadFull(h.random, b[:]); err != nil {
		return "", fmt.Errorf("drawing a token: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// tokenHash is how a token is kept. It has 256 random bits, so nothing slow is
// needed.
func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// codeHash is how a short code is kept: without the hub's key it cannot be
// found by trying.
func (h *Hub) codeHash(purpose, code string) string {
	m := hmac.New(sha256.New, h.derived("codes"))
	io.WriteString(m, purpose)
	m.Write([]byte{0})
	io.WriteString(m, code)
	return hex.EncodeToString(m.Sum(nil))
}

// derived is the sealing key for one purpose (HKDF, RFC 5869).
func (h *Hub) derived(purpose string) []byte {
	key, err := hkdf.Expand(sha256.New, h.keys.Seal, "zonehub "+purpose, 32)
	if err != nil {
		panic(err) // 32 octets are never too many
	}
	return key
}

// voucherKey is how a code is kept: hashed under the site's key or the one for
// roaming.
func voucherKey(key [32]byte, code string) string {
	k := zonegate.ZoneKey(key).VoucherKey(code)
	return hex.EncodeToString(k[:])
}

// seal and unseal keep a site's CodeKey (AES-256-GCM, the site's id bound in).
func (h *Hub) seal(site string, key [32]byte) ([]byte, error) {
	aead, err := h.aead()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := io.ReadFull(h.random, nonce); err != nil {
		return nil, fmt.Errorf("drawing a nonce: %w", err)
	}
	return aead.Seal(nonce, nonce, key[:], []byte(site)), nil
}

func (h *Hub) unseal(s Site) (key [32]byte, err error) {
	aead, err := h.aead()
	if err != nil {
		return key, err
	}
	n := aead.NonceSize()
	if len(s.CodeKey) < n {
		return key, errSealed
	}
	clear, err := aead.Open(nil, s.CodeKey[:n], s.CodeKey[n:], []byte(s.ID))
	if err != nil || len(clear) != len(key) {
		return key, errSealed
	}
	return [32]byte(clear), nil
}

var errSealed = errors.New("opening a site's code key: the hub's key file does not belong to this database; put the right one back")

func (h *Hub) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(h.derived("code keys"))
	if err != nil {
		return nil, fmt.Errorf("using the sealing key: %w", err)
	}
	return cipher.NewGCM(block)
}
