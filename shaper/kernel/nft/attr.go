package nft

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
)

const (
	nlHeaderLen = 16 // struct nlmsghdr
	nfHeaderLen = 4  // struct nfgenmsg
	attrNested  = 0x8000
	attrMask    = 0x3fff // without the nested and byte order bits
	// maxAttr bounds what is packed into one attribute, whose length is 16 bits.
	maxAttr = 60000
)

func align4(n int) int { return (n + 3) &^ 3 }

// A buffer collects netlink messages and attributes. Lengths are in host
// order; attribute values are written by put32 and put64 in network order.
type buffer struct {
	b   []byte
	err error
}

func (w *buffer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *buffer) pad() {
	for len(w.b)%4 != 0 {
		w.b = append(w.b, 0)
	}
}

// attr writes one attribute, padded.
func (w *buffer) attr(typ uint16, parts ...string) {
	n := 4
	for _, p := range parts {
		n += len(p)
	}
	if n > math.MaxUint16 {
		w.fail(fmt.Errorf("encoding attribute %d: %d bytes do not fit", typ, n))
		return
	}
	w.b = binary.NativeEndian.AppendUint16(w.b, uint16(n))
	w.b = binary.NativeEndian.AppendUint16(w.b, typ)
	for _, p := range parts {
		w.b = append(w.b, p...)
	}
	w.pad()
}

func (w *buffer) bytes(typ uint16, p []byte) {
	n := 4 + len(p)
	if n > math.MaxUint16 {
		w.fail(fmt.Errorf("encoding attribute %d: %d bytes do not fit", typ, n))
		return
	}
	w.b = binary.NativeEndian.AppendUint16(w.b, uint16(n))
	w.b = binary.NativeEndian.AppendUint16(w.b, typ)
	w.b = append(w.b, p...)
	w.pad()
}

// str writes a zero-terminated string.
func (w *buffer) str(typ uint16, s string) { w.attr(typ, s, "\x00") }

func (w *buffer) put8(typ uint16, v uint8) { w.bytes(typ, []byte{v}) }

func (w *buffer) put32(typ uint16, v uint32) {
	var p [4]byte
	binary.BigEndian.PutUint32(p[:], v)
	w.bytes(typ, p[:])
}

func (w *buffer) put64(typ uint16, v uint64) {
	var p [8]byte
	binary.BigEndian.PutUint64(p[:], v)
	w.bytes(typ, p[:])
}

// nest opens a nested attribute; close it with end.
func (w *buffer) nest(typ uint16) (start int) {
	start = len(w.b)
	w.b = binary.NativeEndian.AppendUint16(w.b, 0)
	w.b = binary.NativeEndian.AppendUint16(w.b, typ|attrNested)
	return start
}

func (w *buffer) end(start int) {
	n := len(w.b) - start
	if n > math.MaxUint16 {
		w.fail(fmt.Errorf("encoding nested attributes: %d bytes do not fit", n))
		return
	}
	binary.NativeEndian.PutUint16(w.b[start:], uint16(n))
}

// message opens a netlink message with its nfgenmsg header; close it with
// endMessage, which sets the length. The sequence number is set when sent.
func (w *buffer) message(typ, flags uint16, family uint8, res uint16) (start int) {
	start = len(w.b)
	w.b = binary.NativeEndian.AppendUint32(w.b, 0)
	w.b = binary.NativeEndian.AppendUint16(w.b, typ)
	w.b = binary.NativeEndian.AppendUint16(w.b, flags)
	w.b = binary.NativeEndian.AppendUint32(w.b, 0)
	w.b = binary.NativeEndian.AppendUint32(w.b, 0)
	w.b = append(w.b, family, 0)
	w.b = binary.BigEndian.AppendUint16(w.b, res)
	return start
}

func (w *buffer) endMessage(start int) {
	binary.NativeEndian.PutUint32(w.b[start:], uint32(len(w.b)-start))
}

func setSeq(msg []byte, seq uint32) { binary.NativeEndian.PutUint32(msg[8:], seq) }

// addFlags sets header flags of a message that is already written.
func addFlags(msg []byte, flags uint16) {
	binary.NativeEndian.PutUint16(msg[6:], binary.NativeEndian.Uint16(msg[6:])|flags)
}

// A message is one received netlink message.
type message struct {
	typ, flags uint16
	seq, port  uint32
	data       []byte // after the netlink header
}

// messages walks the netlink messages of one datagram. It stops with an error
// at the first that does not fit.
func messages(b []byte) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		for len(b) > 0 {
			if len(b) < nlHeaderLen {
				yield(message{}, fmt.Errorf("%w: %d bytes after the last message", errMalformed, len(b)))
				return
			}
			n := binary.NativeEndian.Uint32(b)
			if n < nlHeaderLen || uint64(n) > uint64(len(b)) {
				yield(message{}, fmt.Errorf("%w: message of %d bytes in %d", errMalformed, n, len(b)))
				return
			}
			m := message{
				typ:   binary.NativeEndian.Uint16(b[4:]),
				flags: binary.NativeEndian.Uint16(b[6:]),
				seq:   binary.NativeEndian.Uint32(b[8:]),
				port:  binary.NativeEndian.Uint32(b[12:]),
				data:  b[nlHeaderLen:n:n],
			}
			if !yield(m, nil) {
				return
			}
			b = b[min(align4(int(n)), len(b)):]
		}
	}
}

// attrs walks attributes and calls f with each type (flag bits removed) and
// value. It stops at f's first error.
func attrs(b []byte, f func(typ uint16, v []byte) error) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return fmt.Errorf("%w: %d bytes after the last attribute", errMalformed, len(b))
		}
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return fmt.Errorf("%w: attribute of %d bytes in %d", errMalformed, n, len(b))
		}
		if err := f(binary.NativeEndian.Uint16(b[2:])&attrMask, b[4:n:n]); err != nil {
			return err
		}
		b = b[min(align4(n), len(b)):]
	}
	return nil
}

// get32, get64 and getString read attribute values in network order.

func get32(v []byte, to *uint32) error {
	if len(v) < 4 {
		return fmt.Errorf("%w: number of %d bytes", errMalformed, len(v))
	}
	*to = binary.BigEndian.Uint32(v)
	return nil
}

func get64(v []byte, to *uint64) error {
	if len(v) < 8 {
		return fmt.Errorf("%w: number of %d bytes", errMalformed, len(v))
	}
	*to = binary.BigEndian.Uint64(v)
	return nil
}

func getString(v []byte) string {
	for i, c := range v {
		if c == 0 {
			return string(v[:i])
		}
	}
	return string(v)
}
