package simros

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// The examples of [API]'s table, one for each size of length.
func TestLengths(t *testing.T) {
	for _, c := range []struct {
		n     uint32
		bytes []byte
	}{
		{0, []byte{0}}, {0x7F, []byte{0x7F}},
		{0x80, []byte{0x80, 0x80}}, {0x87, []byte{0x80, 0x87}}, {0x3FFF, []byte{0xBF, 0xFF}},
		{0x4000, []byte{0xC0, 0x40, 0x00}}, {0x4321, []byte{0xC0, 0x43, 0x21}}, {0x1FFFFF, []byte{0xDF, 0xFF, 0xFF}},
		{0x200000, []byte{0xE0, 0x20, 0x00, 0x00}}, {0x2ACDEF, []byte{0xE0, 0x2A, 0xCD, 0xEF}}, {0xFFFFFFF, []byte{0xEF, 0xFF, 0xFF, 0xFF}},
		{0x10000000, []byte{0xF0, 0x10, 0, 0, 0}}, {0xFFFFFFFF, []byte{0xF0, 0xFF, 0xFF, 0xFF, 0xFF}},
	} {
		if got := appendLength(nil, c.n); !bytes.Equal(got, c.bytes) {
			t.Errorf("length %#x written as % x, want % x", c.n, got, c.bytes)
		}
		got, err := readLength(bufio.NewReader(bytes.NewReader(c.bytes)))
		if err != nil || got != c.n {
			t.Errorf("% x read as %#x, %v", c.bytes, got, err)
		}
	}
}

func TestSentencesThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		in   []byte
		want error
	}{
		{nil, io.EOF},
		{[]byte{0x80}, io.ErrUnexpectedEOF},
		{[]byte{3, 'a'}, io.ErrUnexpectedEOF},
		{[]byte{1, 'a'}, io.ErrUnexpectedEOF},
		{[]byte{0xF8}, errControl},
		{[]byte{0xFF, 0, 0}, errControl},
		{[]byte{0xF0, 0xFF, 0xFF, 0xFF, 0xFF}, errTooLong},
		{bytes.Repeat([]byte{1, 'a'}, maxWords+1), errTooMany},
	} {
		_, err := readSentence(bufio.NewReader(bytes.NewReader(c.in)), maxWord)
		if !errors.Is(err, c.want) {
			t.Errorf("% .16x: %v, want %v", c.in, err, c.want)
		}
	}
}

// FuzzReadSentence: whatever comes, the reader neither hangs, panics nor takes
// more memory than its limits; and what it accepts it can write and read again.
func FuzzReadSentence(f *testing.F) {
	f.Add([]byte{0})
	f.Add(appendSentence(nil, []string{"/login", "=name=admin", "=password="}))
	f.Add(appendSentence(nil, []string{"/ip/hotspot/user/print", "?name=a", "?#|!", ".tag=7"}))
	f.Add(appendSentence(nil, []string{strings.Repeat("x", 0x90)})) // two octets of length; minimizing long ones takes all the time
	f.Add([]byte{0xF0, 0xFF, 0xFF, 0xFF, 0xFF, 1})
	f.Add([]byte{0xC0, 0x00, 0x01, 'a', 0x80, 0x00}) // longer than needed, and an empty word in two octets
	f.Fuzz(func(t *testing.T, in []byte) {
		words, err := readSentence(bufio.NewReader(bytes.NewReader(in)), 1<<15)
		if err != nil {
			if words != nil {
				t.Fatalf("words %q beside error %v", words, err)
			}
			return
		}
		again, err := readSentence(bufio.NewReader(bytes.NewReader(appendSentence(nil, words))), 1<<15)
		if err != nil || !slices.Equal(words, again) {
			t.Fatalf("%q written and read is %q, %v", words, again, err)
		}
		if len(words) == 0 {
			return
		}
		c := parseCommand(words)
		c.query.match(func(string) (string, bool) { return "", false }, func(_, a, b string) bool { return a < b })
	})
}

// FuzzValues: what a property accepts prints in a form that it accepts again,
// unchanged.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"", "1d2h", "01:00:00", "1w1d00:00:01", "512k/2M", "2M", "02:00:00:00:00:0a", "10.0.0.0/8,!10.1.0.0/16",
		"1M/1M 0/0 0/0 0/0 8 1k/1k", "yes", "18446744073709551615", "9999999999999999999w", "::1", "500ms"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for k := text; k <= limits; k++ {
			if k == ref || k == refPair {
				continue
			}
			p := &prop{name: "target", kind: k, values: []string{"none", "bottom"}}
			v, err := p.parse(s)
			if err != nil {
				continue
			}
			again, err := p.parse(v)
			if err != nil || again != v {
				t.Fatalf("kind %d: %q is kept as %q, which is kept as %q, %v", k, s, v, again, err)
			}
			p.compare(v, s)
		}
	})
}
