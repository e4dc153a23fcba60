package simros

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Limits on what a client may send. [API] says only that there is a limit
// before login and that four-byte lengths are the longest supported; the
// figures are assumed.
const (
	maxWord      = 1 << 20
	maxWords     = 1024
	maxWordEarly = 1 << 10
)

var (
	// errControl: [API] a first octet of 0xF8 or more is a reserved control
	// byte after which nothing can be understood.
	errControl = errors.New("reading word: control byte; nothing after it can be understood")
	errTooLong = errors.New("reading word: longer than this router takes")
	errTooMany = errors.New("reading sentence: more words than this router takes")
)

// readLength reads the length of a word: [API] one to five octets, the number
// of leading ones in the first tells how many follow, most significant first.
func readLength(r io.ByteReader) (uint32, error) {
	b, err := r.ReadByte()
	if err != nil {
		return 0, err
	}
	more, n := 0, uint32(b)
	switch {
	case b < 0x80:
	case b < 0xC0:
		more, n = 1, n&0x3F
	case b < 0xE0:
		more, n = 2, n&0x1F
	case b < 0xF0:
		more, n = 3, n&0x0F
	case b < 0xF8:
		more, n = 4, 0
	default:
		return 0, errControl
	}
	for range more {
		if b, err = r.ReadByte(); err != nil {
			return 0, unexpected(err)
		}
		n = n<<8 | uint32(b)
	}
	return n, nil
}

// appendLength encodes the length of a word in the fewest octets [API].
func appendLength(b []byte, n uint32) []byte {
	switch {
	case n < 0x80:
		return append(b, byte(n))
	case n < 0x4000:
		return append(b, byte(n>>8)|0x80, byte(n))
	case n < 0x20_0000:
		return append(b, byte(n>>16)|0xC0, byte(n>>8), byte(n))
	case n < 0x1000_0000:
		return append(b, byte(n>>24)|0xE0, byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, 0xF0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// readSentence reads words up to the empty one. An empty sentence is returned
// as such: [API] the router ignores it.
func readSentence(r *bufio.Reader, longest uint32) ([]string, error) {
	var words []string
	for {
		n, err := readLength(r)
		if err != nil {
			if len(words) > 0 {
				err = unexpected(err)
			}
			return nil, err
		}
		if n == 0 {
			return words, nil
		}
		if n > longest {
			return nil, fmt.Errorf("%w: %d octets", errTooLong, n)
		}
		if len(words) == maxWords {
			return nil, errTooMany
		}
		word := make([]byte, n)
		if _, err := io.ReadFull(r, word); err != nil {
			return nil, unexpected(err)
		}
		words = append(words, string(word))
	}
}

// unexpected turns the end of the stream inside a sentence into an error that
// is not the orderly end of a connection.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendSentence encodes words and the empty word that ends them.
func appendSentence(b []byte, words []string) []byte {
	for _, w := range words {
		b = appendLength(b, uint32(len(w)))
		b = append(b, w...)
	}
	return append(b, 0)
}
