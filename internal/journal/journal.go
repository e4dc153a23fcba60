package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"zonegate/internal/disk"
)

// ErrFailed says that a write or a sync went wrong: nothing more is appended
// until Reopen. The cause is wrapped beside it (ENOSPC, EIO, EROFS).
var ErrFailed = errors.New("journal has failed and must be reopened")

// ErrClosed is returned by every call after Close.
var ErrClosed = errors.New("journal is closed")

// ErrTooLarge refuses a payload above MaxPayload or a group above MaxGroup.
// Nothing was written and the journal works on.
var ErrTooLarge = errors.New("journal group is too large: append it in parts")

// ErrDropped says that the records asked for went with DropThrough: start
// from the snapshot.
var ErrDropped = errors.New("journal records were dropped after a snapshot")

const (
	// MaxPayload is the largest payload of one record, in bytes.
	MaxPayload = 1 << 20
	// MaxGroup is the most that one Append may put on disk, in bytes.
	MaxGroup = 4 << 20

	// DefaultSegmentSize is the size of a segment in bytes.
	DefaultSegmentSize = 256 << 10
	// DefaultReserve is the size of the reserve in bytes.
	DefaultReserve = 64 << 10
)

// Hash is one link of the chain: the first 16 bytes of
// SHA-256(previous hash, sequence as 8 bytes big-endian, payload).
type Hash [16]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Next is the hash of the record that follows the one with hash h.
func (h Hash) Next(seq uint64, payload []byte) Hash {
	var first [24]byte
	copy(first[:], h[:])
	binary.BigEndian.PutUint64(first[16:], seq)
	d := sha256.New()
	d.Write(first[:])
	d.Write(payload)
	var sum [sha256.Size]byte
	copy(h[:], d.Sum(sum[:0]))
	return h
}

// Head is a place in the chain: a record's sequence number and its hash. The
// zero Head is before the first record, which has sequence 1.
type Head struct {
	Seq  uint64
	Hash Hash
}

// Prealloc says whether segments are filled with zeros when they are made.
type Prealloc int

const (
	// PreallocAuto decides from the kind of file system: see Preallocates.
	PreallocAuto Prealloc = iota
	// PreallocOn always fills, as long as there is room.
	PreallocOn
	// PreallocOff never fills.
	PreallocOff
)

// Options of Open. The zero value is right for a router.
type Options struct {
	// SegmentSize is where a new segment starts, in bytes. Zero means
	// DefaultSegmentSize; it is kept between 4 KiB and 8 MiB.
	SegmentSize int
	// Prealloc decides about filling segments with zeros.
	Prealloc Prealloc
	// Reserve is how many bytes are kept back for a full disk. Zero means
	// DefaultReserve, negative none.
	Reserve int
	// Known is the newest head that anything outside the journal has seen:
	// that of the newest snapshot or of the state built from the journal.
	// An empty journal continues after it. A journal that ends before it,
	// or has another hash there, is damaged.
	Known Head
	// AcceptDamage opens although there is damage. Nothing of what is
	// damaged is changed on disk; appending goes on in a new segment after
	// the highest sequence seen. Replay still reports the damage where it
	// lies.
	AcceptDamage bool
}

// DamageError says that acknowledged records are altered or gone. It is
// returned by Open and Replay, and listed by Verify.
type DamageError struct {
	Segment string // file name
	Offset  int64  // where in that file, in bytes
	Seq     uint64 // first sequence that is lost or in doubt
	// Next is the first sequence that can be read again after the damage;
	// Replay(Next, ...) goes on from there. Zero when nothing follows.
	Next   uint64
	Reason string // in words
	Err    error  // what the disk answered, or nil
}

func (e *DamageError) Error() string {
	follows := "nothing readable follows"
	if e.Next > 0 {
		follows = fmt.Sprintf("readable again from record %d", e.Next)
	}
	return fmt.Sprintf("journal is damaged in %s at byte %d, record %d: %s; %s",
		e.Segment, e.Offset, e.Seq, e.Reason, follows)
}

func (e *DamageError) Unwrap() error { return e.Err }

// Tail describes what Open cut off, or Verify would: the remains of a group
// that was being written when the power went and was never acknowledged.
type Tail struct {
	Segment string
	Offset  int64  // where the good records end, in bytes
	Bytes   int64  // how much follows that is not a record
	Seq     uint64 // sequence that the cut group began with
	// Altered is set when the group is all there and only its checksum is
	// wrong. A power cut seldom leaves that; failing flash does, and then
	// the group may have been acknowledged.
	Altered bool
}

// Journal is an open journal. It has one owner in one process. Its methods
// are safe for concurrent use; Append serialises.
type Journal struct {
	fs  disk.FS
	dir string
}

// Open takes the lock, reads the last segment and makes the journal ready.
// A torn tail is cut off (Tail says what). Damage is a *DamageError, unless
// Options.AcceptDamage; another owner is disk.ErrLocked.
func Open(fs disk.FS, dir string, o Options) (*Journal, error) {
	return nil, errors.New("not built yet")
}

// Append writes payloads as one group, with one write and one sync, and
// returns the sequence of the last. Without error they are durable. On an
// error that wraps ErrFailed none of them is acknowledged and the journal
// takes nothing more until Reopen. Payloads are not kept. An empty group does
// nothing and returns the head.
func (j *Journal) Append(payloads [][]byte) (last uint64, err error) { panic("not built yet") }

// Reopen leaves a failed journal behind: it starts a new segment after the
// last acknowledged record, on a new descriptor, and from then on whatever
// else reached the old segment is dead. When the disk was full it gives up
// the reserve. It may be called again after it failed. On a journal that has
// not failed it does nothing.
func (j *Journal) Reopen() error { panic("not built yet") }

// Replay calls fn for every acknowledged record from sequence from on, in
// order. The payload is valid during the call only. It stops with fn's error,
// with ErrDropped when from is before First, or with a *DamageError; then
// every good record before the damage was delivered, and Replay(e.Next, fn)
// goes on after it. Records appended meanwhile are not delivered.
func (j *Journal) Replay(from uint64, fn func(seq uint64, payload []byte) error) error {
	panic("not built yet")
}

// Head is the last acknowledged record.
func (j *Journal) Head() Head { panic("not built yet") }

// First is the lowest sequence that Replay can deliver; Head().Seq+1 when
// there is none.
func (j *Journal) First() uint64 { panic("not built yet") }

// Size is how many bytes the segments take on disk, zeros included.
func (j *Journal) Size() int64 { panic("not built yet") }

// Tail is what Open cut off; Bytes is zero when nothing was.
func (j *Journal) Tail() Tail { panic("not built yet") }

// ReserveGone reports that the reserve is given up: the disk was full. It is
// made again by DropThrough and Open when there is room.
func (j *Journal) ReserveGone() bool { panic("not built yet") }

// Rotate starts a new segment, unless the present one has no records. Before
// DropThrough it lets everything up to the snapshot go.
func (j *Journal) Rotate() error { panic("not built yet") }

// DropThrough removes the segments that hold nothing above seq, oldest first.
// The present segment stays.
func (j *Journal) DropThrough(seq uint64) error { panic("not built yet") }

// Close releases the lock. Everything acknowledged is already durable.
func (j *Journal) Close() error { panic("not built yet") }
