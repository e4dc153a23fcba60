package hub

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Keys are the hub's own secrets. They are kept beside the database, never in
// it: a leak of the database alone shows no code, token or CodeKey. All
// processes of one hub share them.
type Keys struct {
	// Push signs pushes and the time.
	Push ed25519.PrivateKey
	// JWT signs the tokens of users (32 octets, HS256).
	JWT []byte
	// Seal encrypts the CodeKeys of sites in the database (32 octets).
	Seal []byte
	// Roaming hashes the codes that are good at all sites of a reseller.
	Roaming [32]byte
}

// NewKeys draws them.
func NewKeys() (Keys, error) {
	var raw [128]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return Keys{}, fmt.Errorf("drawing the hub's keys: %w", err)
	}
	return keysOf(raw), nil
}

func keysOf(raw [128]byte) Keys {
	return Keys{
		Push: ed25519.NewKeyFromSeed(raw[:32]), JWT: raw[32:64], Seal: raw[64:96], Roaming: [32]byte(raw[96:]),
	}
}

const keysHeader = "zonehub keys 1"

// MarshalText is the content of hub.key.
func (k Keys) MarshalText() ([]byte, error) {
	line := func(name string, b []byte) string { return name + " " + hex.EncodeToString(b) + "\n" }
	return []byte(keysHeader + "\n" + line("push", k.Push.Seed()) + line("jwt", k.JWT) +
		line("seal", k.Seal) + line("roaming", k.Roaming[:])), nil
}

// UnmarshalText reads what MarshalText wrote.
func (k *Keys) UnmarshalText(text []byte) error {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	names := []string{"push", "jwt", "seal", "roaming"}
	if len(lines) != len(names)+1 || strings.TrimSpace(lines[0]) != keysHeader {
		return errors.New("the hub's key file is damaged: put the right one back from a backup; with a new one every gateway must be enrolled again")
	}
	var raw [128]byte
	for i, name := range names {
		value, ok := strings.CutPrefix(strings.TrimSpace(lines[i+1]), name+" ")
		b, err := hex.DecodeString(value)
		if !ok || err != nil || len(b) != 32 {
			return fmt.Errorf("the hub's key file is damaged at %q: put the right one back from a backup", name)
		}
		copy(raw[32*i:], b)
	}
	*k = keysOf(raw)
	return nil
}
