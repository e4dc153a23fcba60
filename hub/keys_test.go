package hub

import (
	"bytes"
	"strings"
	"testing"
)

func TestKeysText(t *testing.T) {
	keys, err := NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	text, err := keys.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var back Keys
	for _, s := range []string{string(text), strings.ReplaceAll(string(text), "\n", "\r\n"), strings.TrimSpace(string(text))} {
		if err := back.UnmarshalText([]byte(s)); err != nil {
			t.Fatal(err)
		}
		if !back.Push.Equal(keys.Push) || !bytes.Equal(back.JWT, keys.JWT) || !bytes.Equal(back.Seal, keys.Seal) || back.Roaming != keys.Roaming {
			t.Error("the keys came back changed")
		}
	}
	whole := string(text)
	for _, bad := range []string{"", "x", whole[:len(whole)/2], strings.Replace(whole, "push ", "pusch ", 1),
		strings.Replace(whole, "keys 1", "keys 2", 1), whole[:len(whole)-3], whole + whole} {
		if err := back.UnmarshalText([]byte(bad)); err == nil || strings.Contains(err.Error(), whole[30:50]) {
			t.Errorf("%d octets of damaged keys: %v", len(bad), err)
		}
	}
	other, err := NewKeys()
	if err != nil || other.Roaming == keys.Roaming {
		t.Error("two draws are equal", err)
	}
}

func TestSealedCodeKey(t *testing.T) {
	keys, err := NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	h := New(Options{Keys: keys})
	key := [32]byte{1, 2, 3}
	sealed, err := h.seal("s1", key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := h.unseal(Site{ID: "s1", CodeKey: sealed}); err != nil || got != key {
		t.Errorf("unsealed: %v, %v", got, err)
	}
	again, err := h.seal("s1", key)
	if err != nil || bytes.Equal(again, sealed) {
		t.Error("sealing twice gives the same", err)
	}
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	for what, s := range map[string]Site{
		"of another site": {ID: "s2", CodeKey: sealed}, "flipped": {ID: "s1", CodeKey: flipped},
		"cut": {ID: "s1", CodeKey: sealed[:5]}, "empty": {ID: "s1"},
	} {
		if _, err := h.unseal(s); err == nil {
			t.Errorf("a key %s is opened", what)
		}
	}
}

func TestClip(t *testing.T) {
	for _, tt := range []struct {
		in   string
		max  int
		want string
	}{{"abc", 5, "abc"}, {"abcdef", 3, "abc"}, {"aé", 2, "a"}, {"é", 1, ""}, {"a\x00b\xff", 9, "a?b?"}} {
		if got := clip(tt.in, tt.max); got != tt.want {
			t.Errorf("clip(%q, %d) is %q, want %q", tt.in, tt.max, got, tt.want)
		}
	}
}
