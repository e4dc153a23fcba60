package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"zonegate"
)

// errFormat is wrapped by everything that cannot be read back.
var errFormat = errors.New("stored data is damaged or of an unknown version")

// An encoder appends values in the one byte order of the journal: varints, and
// length-prefixed bytes.
type encoder struct{ b []byte }

func (e *encoder) uint(v uint64)   { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) int(v int64)     { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) string(v string) { e.uint(uint64(len(v))); e.b = append(e.b, v...) }
func (e *encoder) raw(v []byte)    { e.b = append(e.b, v...) }

func (e *encoder) bool(v bool) {
	if v {
		e.b = append(e.b, 1)
	} else {
		e.b = append(e.b, 0)
	}
}

// time writes seconds and nanoseconds of UTC, with a leading zero for the zero
// time.
func (e *encoder) time(t time.Time) {
	if t.IsZero() {
		e.bool(false)
		return
	}
	e.bool(true)
	e.int(t.Unix())
	e.uint(uint64(t.Nanosecond()))
}

func (e *encoder) octets(o zonegate.Octets) { e.uint(o.Up); e.uint(o.Down) }

// A decoder reads what an encoder wrote. After the first error everything it
// returns is zero.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%s: %w", what, errFormat)
	}
	d.b = nil
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail("number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads a length that at least as many bytes must follow.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail("length")
		return 0
	}
	return int(n)
}

func (d *decoder) string() string {
	n := d.count()
	if d.err != nil {
		return ""
	}
	v := string(d.b[:n])
	d.b = d.b[n:]
	return v
}

func (d *decoder) raw(out []byte) {
	if len(d.b) < len(out) {
		d.fail("bytes")
		return
	}
	copy(out, d.b)
	d.b = d.b[len(out):]
}

func (d *decoder) bool() bool {
	var one [1]byte
	d.raw(one[:])
	return one[0] != 0
}

func (d *decoder) time() time.Time {
	if !d.bool() {
		return time.Time{}
	}
	sec, nsec := d.int(), d.uint()
	if nsec >= 1e9 {
		d.fail("time")
		return time.Time{}
	}
	return time.Unix(sec, int64(nsec)).UTC()
}

func (d *decoder) octets() zonegate.Octets {
	up := d.uint()
	return zonegate.Octets{Up: up, Down: d.uint()}
}

// end reports an error when something is left over.
func (d *decoder) end() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail("trailing bytes")
	}
	return d.err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal frames an entity: a version in front, a checksum behind.
func seal(version byte, payload []byte) []byte {
	out := make([]byte, 0, len(payload)+5)
	out = append(out, version)
	out = append(out, payload...)
	return binary.BigEndian.AppendUint32(out, crc32.Checksum(out, castagnoli))
}

// unsealAny is unseal of any version up to the newest.
func unsealAny(value []byte, newest byte) (*decoder, byte) {
	version := byte(entityVersion)
	if len(value) > 0 && value[0] > version && value[0] <= newest {
		version = value[0]
	}
	return unseal(version, value), version
}

// unseal checks the frame and returns a decoder of the payload.
func unseal(version byte, value []byte) *decoder {
	d := &decoder{}
	if len(value) < 5 {
		d.fail("entity")
		return d
	}
	body, sum := value[:len(value)-4], value[len(value)-4:]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(sum) {
		d.fail("checksum")
		return d
	}
	if body[0] != version {
		d.fail(fmt.Sprintf("version %d", body[0]))
		return d
	}
	d.b = body[1:]
	return d
}
