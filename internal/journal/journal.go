package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sync"

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
	// ServeFailed opens a journal that can be read but not written now
	// (read-only, full, failing medium): it begins as failed, with the error
	// that Append then returns, and Reopen tries the whole of Open again. The
	// last group it shows may then be one that was never acknowledged.
	ServeFailed bool
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
	fs   disk.FS
	dir  string
	o    Options
	lock io.Closer

	mu          sync.Mutex
	tail        Tail
	segs        []segment // in order; the last is the present one
	active      disk.File // the present one; nil when failed
	off         int64     // where its records end
	head        Head
	covered     uint64 // up to here a snapshot stands in for the journal
	failed      error
	loaded      bool // load knows where the records end
	unwritten   bool // Open could not write: Reopen has to load again
	closed      bool
	reserveGone bool
	buf         []byte
}

// Append writes payloads as one group, with one write and one sync, and
// returns the sequence of the last. Without error they are durable. On an
// error that wraps ErrFailed none of them is acknowledged and the journal
// takes nothing more until Reopen. Payloads are not kept. An empty group does
// nothing and returns the head.
func (j *Journal) Append(payloads [][]byte) (last uint64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.ready(); err != nil {
		return 0, err
	}
	if len(payloads) == 0 {
		return j.head.Seq, nil
	}
	size := len(Hash{})
	for _, p := range payloads {
		if size += recordSize + len(p); len(p) > MaxPayload || size > MaxGroup {
			return 0, ErrTooLarge
		}
	}

	head := j.head
	b := j.buf[:0]
	for i, p := range payloads {
		head.Seq++
		head.Hash = head.Hash.Next(head.Seq, p)
		b = appendRecord(b, head.Seq, uint32(i), p, i == len(payloads)-1, head.Hash)
	}
	if j.buf = b; cap(b) > 64<<10 {
		j.buf = nil // a rare large group is not worth its memory
	}

	if j.off > headerSize && j.off+int64(len(b)) > int64(j.o.SegmentSize) {
		if err := j.roll(0); err != nil {
			return 0, j.fail(err)
		}
	}
	if _, err := j.active.WriteAt(b, j.off); err != nil {
		return 0, j.fail(fmt.Errorf("appending to journal: %w", err))
	}
	if err := j.active.Sync(); err != nil {
		return 0, j.fail(fmt.Errorf("syncing journal: %w", err))
	}
	j.off += int64(len(b))
	j.head = head
	if s := &j.segs[len(j.segs)-1]; s.size < j.off {
		s.size = j.off
	}
	return head.Seq, nil
}

// ready says whether the journal takes records.
func (j *Journal) ready() error {
	switch {
	case j.closed:
		return ErrClosed
	case j.failed != nil:
		return fmt.Errorf("%w: %w", ErrFailed, j.failed)
	}
	return nil
}

// fail makes cause the end of the present descriptor: after a failed write or
// sync nobody knows what the medium has, and another sync would lie.
func (j *Journal) fail(cause error) error {
	j.failed = cause
	if j.active != nil {
		j.active.Close()
		j.active = nil
	}
	return j.ready()
}

// Reopen leaves a failed journal behind: it starts a new segment after the
// last acknowledged record, on a new descriptor, and from then on whatever
// else reached the old segment is dead. When the disk was full it gives up
// the reserve. It may be called again after it failed; a *DamageError from it
// means that acknowledged records are no longer readable: Close, and Open
// with AcceptDamage. On a journal that has not failed it does nothing.
func (j *Journal) Reopen() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	if j.failed == nil {
		return nil
	}
	if full(j.failed) {
		j.dropReserve()
	}
	if j.unwritten {
		if err := j.reload(); err != nil {
			return fmt.Errorf("reopening journal: %w", err)
		}
		return nil
	}
	// The failure may have taken acknowledged records with it.
	old := j.segs[len(j.segs)-1]
	w, err := walkFile(j.fs, j.dir, old, j.head.Seq+1, nil, ignore, stop)
	if err != nil {
		return fmt.Errorf("reopening journal: %w", err)
	}
	if err := j.roll(0); err != nil {
		return fmt.Errorf("reopening journal: %w", err)
	}
	j.failed = nil
	if old.first <= j.head.Seq {
		// The refused records are dead already. Cutting them off gives the
		// room back; where that fails nothing is lost.
		if f, err := j.fs.OpenWrite(path.Join(j.dir, old.name)); err == nil {
			if f.Truncate(int64(w.end)) == nil {
				j.segs[len(j.segs)-2].size = int64(w.end)
				_ = f.Sync()
			}
			f.Close()
		}
	}
	return nil
}

// reload is Reopen for a journal that Open could only read. Until it succeeds
// the journal goes on to show what it showed.
func (j *Journal) reload() error {
	head, segs, covered, tail := j.head, j.segs, j.covered, j.tail
	err := j.load()
	if err == nil && j.head != head {
		// What was built on the old end is wrong: that cannot be mended here.
		err = fmt.Errorf("it ends at record %d now and not at %d: close it and open it again", j.head.Seq, head.Seq)
	}
	if err != nil {
		if j.active != nil {
			j.active.Close()
			j.active = nil
		}
		j.head, j.segs, j.covered, j.tail = head, segs, covered, tail
		return err
	}
	j.covered = max(j.covered, covered)
	j.failed, j.unwritten = nil, false
	j.makeReserve()
	return nil
}

// Replay calls fn for every acknowledged record from sequence from on, in
// order. The payload is valid during the call only. It stops with fn's error,
// with ErrDropped when from is before First, or with a *DamageError; then
// every good record before the damage was delivered, and Replay(e.Next, fn)
// goes on after it. Records appended meanwhile are not delivered.
func (j *Journal) Replay(from uint64, fn func(seq uint64, payload []byte) error) error {
	j.mu.Lock()
	segs, head, closed := append([]segment(nil), j.segs...), j.head, j.closed
	j.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if from < segs[0].first {
		return j.before(from, segs[0])
	}
	record := func(seq uint64, payload []byte, _ Hash) error {
		if seq < from {
			return nil
		}
		return fn(seq, payload)
	}
	damage := func(d *DamageError) error {
		if d.Next <= from {
			return nil // all before what was asked for
		}
		if d.Next > head.Seq {
			d.Next = 0
		}
		return d
	}
	var before *walk
	for i, s := range segs {
		limit := head.Seq + 1
		if i+1 < len(segs) {
			limit = segs[i+1].first
		}
		if limit <= from || limit <= s.first {
			continue
		}
		w, err := walkFile(j.fs, j.dir, s, limit, before, record, damage)
		if errors.Is(err, fs.ErrNotExist) && w == nil {
			if from < j.First() {
				return ErrDropped
			}
			err = damage(&DamageError{
				Segment: s.name, Seq: max(from, s.first), Next: limit, Reason: "the segment is missing", Err: err,
			})
		}
		if err != nil {
			return err
		}
		before = w
	}
	return nil
}

// before answers a Replay from before the first segment, s.
func (j *Journal) before(from uint64, s segment) error {
	j.mu.Lock()
	covered := j.covered
	j.mu.Unlock()
	if from <= covered {
		return fmt.Errorf("%w: the first one left is %d", ErrDropped, s.first)
	}
	return &DamageError{Segment: s.name, Seq: from, Next: s.first, Reason: "the segments before it are missing"}
}

// Head is the last acknowledged record.
func (j *Journal) Head() Head {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.head
}

// First is the lowest sequence that Replay can deliver; Head().Seq+1 when
// there is none.
func (j *Journal) First() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.segs[0].first
}

// Size is how many bytes the segments take on disk, zeros included.
func (j *Journal) Size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	var sum int64
	for _, s := range j.segs {
		sum += s.size
	}
	return sum
}

// Tail is what Open cut off; Bytes is zero when nothing was.
func (j *Journal) Tail() Tail {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tail
}

// ReserveGone reports that the reserve is given up: the disk was full. It is
// made again by DropThrough and Open when there is room.
func (j *Journal) ReserveGone() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.reserveGone
}

// Rotate starts a new segment, unless the present one has no records. Before
// DropThrough it lets everything up to the snapshot go.
func (j *Journal) Rotate() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.ready(); err != nil {
		return err
	}
	if j.off == headerSize {
		return nil
	}
	if err := j.roll(0); err != nil {
		// The new segment may have its name, and then what is appended to
		// the old one would be dead after a power cut.
		return j.fail(err)
	}
	return nil
}

// DropThrough removes the segments that hold nothing above seq, oldest first.
// The present segment stays. It works on a failed journal too: that is how a
// full disk gets room again.
func (j *Journal) DropThrough(seq uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	j.covered = max(j.covered, seq)
	for len(j.segs) > 1 && j.segs[1].first-1 <= seq {
		if err := j.fs.Remove(path.Join(j.dir, j.segs[0].name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("dropping segment: %w", err)
		}
		// One by one, for a power cut not to leave a hole.
		if err := j.fs.SyncDir(j.dir); err != nil {
			return fmt.Errorf("dropping segment: %w", err)
		}
		j.segs = j.segs[1:]
	}
	j.makeReserve()
	return nil
}

// Close releases the lock. Everything acknowledged is already durable.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	if j.active != nil {
		// Its contents are synced; closing cannot lose them.
		j.active.Close()
		j.active = nil
	}
	if err := j.lock.Close(); err != nil {
		return fmt.Errorf("closing journal: %w", err)
	}
	return nil
}
