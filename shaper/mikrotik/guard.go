package mikrotik

import (
	"errors"
	"net"
)

// Bounds of a reply. The longest word that we ever ask for is a comment; the
// longest reply lists some thousand users.
const (
	maxWord  = 64 << 10
	maxWords = 256
	maxReply = 16 << 20
)

// errFraming means that what comes is not, or not only, the API.
var errFraming = errors.New("the answer is not the RouterOS API: a word or reply is longer than any that was asked for; is another service behind this port?")

// A guard is a connection that lets only well-framed words of a sane size
// through: the library behind it believes any length.
//
// A word is its length in one to five bytes, the number of leading ones in the
// first saying how many follow, and then so many bytes (MikroTik's manual,
// "API": words). An empty word ends a sentence.
type guard struct {
	net.Conn
	more  int    // bytes of a length that are still to come
	size  uint64 // the length so far
	left  uint64 // bytes of the word that are still to come
	words int    // of the sentence
	reply int    // bytes of the reply
	err   error
}

// begin forgets the last reply's size.
func (g *guard) begin() { g.reply = 0 }

func (g *guard) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	n, err := g.Conn.Read(p)
	if g.err = g.check(p[:n]); g.err != nil {
		return 0, g.err
	}
	return n, err
}

func (g *guard) check(b []byte) error {
	if g.reply += len(b); g.reply > maxReply {
		return errFraming
	}
	for len(b) > 0 {
		if g.left > 0 {
			n := min(g.left, uint64(len(b)))
			g.left -= n
			b = b[n:]
			continue
		}
		c := b[0]
		b = b[1:]
		if g.more > 0 {
			g.more--
			g.size = g.size<<8 | uint64(c)
		} else {
			switch {
			case c < 0x80:
				g.more, g.size = 0, uint64(c)
			case c < 0xC0:
				g.more, g.size = 1, uint64(c&0x3F)
			case c < 0xE0:
				g.more, g.size = 2, uint64(c&0x1F)
			case c < 0xF0:
				g.more, g.size = 3, uint64(c&0x0F)
			default:
				// 16 MB and more, or a control byte.
				return errFraming
			}
		}
		if g.more > 0 {
			continue
		}
		if g.size == 0 {
			g.words = 0
			continue
		}
		if g.words++; g.size > maxWord || g.words > maxWords {
			return errFraming
		}
		g.left = g.size
	}
	return nil
}
