package zonegate

import (
	"crypto/rand"
	"strings"
	"testing"
)

func TestCheckCharacterFindsTypingErrors(t *testing.T) {
	for range 200 {
		code, err := NewCode(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if !WellFormedCode(code) {
			t.Fatalf("%s is not well-formed", code)
		}
		plain := NormalizeCode(code)
		for i := range plain {
			for _, r := range codeAlphabet {
				if wrong := plain[:i] + string(r) + plain[i+1:]; wrong != plain && WellFormedCode(wrong) {
					t.Errorf("%s passes for %s", wrong, plain)
				}
			}
			if i > 0 && plain[i] != plain[i-1] {
				if wrong := plain[:i-1] + string(plain[i]) + string(plain[i-1]) + plain[i+1:]; WellFormedCode(wrong) {
					t.Errorf("%s passes for %s", wrong, plain)
				}
			}
		}
	}
}

func TestNormalizeForgives(t *testing.T) {
	for typed, want := range map[string]string{
		"abcd-efgh": "ABCDEFGH", " O0o 1Ii ": "000111", "ab–cd\u00a0": "ABCD", "": "",
	} {
		if got := NormalizeCode(typed); got != want {
			t.Errorf("NormalizeCode(%q) = %q, want %q", typed, got, want)
		}
	}
}

func TestCodesAreNotStored(t *testing.T) {
	b := newBench(t, quick)
	code := b.sell("hour")
	b.redeem(code, phone1)
	for _, r := range b.records {
		for _, e := range r.Events {
			if v, ok := e.(VouchersAdded); ok && strings.Contains(string(v.Keys[0][:]), NormalizeCode(code)[:4]) {
				t.Error("the code is in the journal")
			}
		}
	}
}

func FuzzNormalizeCode(f *testing.F) {
	f.Add("O1I-abc")
	f.Fuzz(func(t *testing.T, s string) {
		n := NormalizeCode(s)
		if NormalizeCode(n) != n {
			t.Errorf("normalizing %q twice differs", s)
		}
		WellFormedCode(s)
	})
}
