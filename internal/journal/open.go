package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"syscall"

	"zonegate/internal/disk"
)

const (
	lockName    = "journal.lock"
	reserveName = "journal.reserve"
	newName     = "journal.new" // a segment being made
)

// Preallocates reports whether segments are filled with zeros on that kind of
// file system. Where blocks are overwritten in place, an append into zeros
// allocates nothing and leaves the length alone. Where every write goes to a
// new place (jffs2, ubifs, f2fs, btrfs) the zeros would only cost.
func Preallocates(kind string) bool {
	switch kind {
	case "ext4", "xfs", "vfat", "exfat":
		return true
	}
	return false
}

// Open takes the lock, reads the last segment and makes the journal ready.
// A torn tail is cut off (Tail says what). Damage is a *DamageError, unless
// Options.AcceptDamage; another owner is disk.ErrLocked.
func Open(fsys disk.FS, dir string, o Options) (_ *Journal, err error) {
	if o.SegmentSize == 0 {
		o.SegmentSize = DefaultSegmentSize
	}
	o.SegmentSize = min(max(o.SegmentSize, minSegmentSize), maxSegmentSize)
	if o.Reserve == 0 {
		o.Reserve = DefaultReserve
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	lock, err := fsys.Lock(path.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	j := &Journal{fs: fsys, dir: dir, o: o, lock: lock}
	defer func() {
		if err != nil {
			if j.active != nil {
				j.active.Close()
			}
			lock.Close()
		}
	}()
	if o.Prealloc == PreallocAuto {
		j.o.Prealloc = PreallocOff
		if kind, err := fsys.Kind(dir); err == nil && Preallocates(kind) {
			j.o.Prealloc = PreallocOn
		}
	}
	err = j.load()
	if full(err) && j.o.Reserve > 0 {
		j.dropReserve()
		err = j.load()
	}
	if err != nil && j.loaded && len(j.segs) > 0 && o.ServeFailed {
		// What is there can be read: whoever has paid can be served.
		j.unwritten = true
		_ = j.fail(fmt.Errorf("opening journal: %w", err))
		return j, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	j.makeReserve()
	return j, nil
}

// load finds out where the journal ends and makes a segment ready there.
// loaded says that it got as far as knowing the end.
func (j *Journal) load() (err error) {
	j.loaded = false
	// A read-only disk refuses even to remove what is not there.
	if err := j.remove(newName); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EROFS) {
		return err
	}
	if j.segs, err = listSegments(j.fs, j.dir); err != nil {
		return err
	}
	j.covered, j.head, j.tail = j.o.Known.Seq, j.o.Known, Tail{}
	if len(j.segs) == 0 {
		return j.roll(0)
	}

	var damaged *DamageError
	damage := func(d *DamageError) error {
		if damaged == nil {
			damaged = d
		}
		if j.o.AcceptDamage {
			return nil
		}
		return d
	}
	w, err := walkFile(j.fs, j.dir, j.segs[len(j.segs)-1], 0, nil, j.checkKnown(damage), damage)
	if err != nil {
		return err
	}
	j.tail = w.tail
	j.head = Head{w.next - 1, w.hash}
	var flags uint32
	if !w.chained {
		flags = flagUnchained
	}
	if known := j.o.Known.Seq; known+1 < j.segs[0].first {
		err = damage(&DamageError{
			Segment: j.segs[0].name, Seq: known + 1, Next: j.segs[0].first,
			Reason: "the segments before it are missing",
		})
	} else if known > j.head.Seq {
		err = damage(&DamageError{
			Segment: w.name, Offset: int64(w.end), Seq: j.head.Seq + 1,
			Reason: fmt.Sprintf("records up to %d were known and are missing at the end", known),
		})
		j.head, flags = j.o.Known, 0
	} else {
		err = j.checkKnownBefore(damage)
	}
	if err != nil {
		return err
	}

	j.loaded = true
	if damaged == nil && (!j.tail.Altered || w.end == headerSize) {
		return j.adopt(w)
	}
	// Leave what is there for whoever looks into it, its name included.
	if j.head.Seq+1 == w.head.first {
		j.head.Seq++
		flags = flagUnchained
	}
	return j.roll(flags)
}

// checkKnown compares the hash that is known from outside with the chain.
func (j *Journal) checkKnown(damage func(*DamageError) error) func(uint64, []byte, Hash) error {
	known := j.o.Known
	return func(seq uint64, _ []byte, h Hash) error {
		if seq != known.Seq || known.Hash == (Hash{}) || h == (Hash{}) || h == known.Hash {
			return nil
		}
		return damage(&DamageError{
			Segment: "journal", Seq: seq, Next: seq + 1,
			Reason: "the journal has another history than the snapshot or state it is opened with",
		})
	}
}

// checkKnownBefore does the same where the known head is not in the last
// segment.
func (j *Journal) checkKnownBefore(damage func(*DamageError) error) error {
	known := j.o.Known.Seq
	for i := 0; i+1 < len(j.segs); i++ {
		s, limit := j.segs[i], j.segs[i+1].first
		if known < s.first || known >= limit {
			continue
		}
		_, err := walkFile(j.fs, j.dir, s, limit, nil, j.checkKnown(damage), ignoreDamage)
		return err
	}
	return nil
}

// adopt goes on in the last segment. Its last group may never have reached
// the medium: after kill -9 it is only in the page cache, and when a sync of
// it had failed, even a new sync would not write it. So it is written once
// more before anybody relies on it, and what follows it is wiped.
func (j *Journal) adopt(w *walk) (err error) {
	f, err := j.fs.OpenWrite(path.Join(j.dir, w.name))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	wipe := w.end + lastUsed(w.data[w.end:])
	size := int64(len(w.data))
	switch {
	case wipe > w.end && j.o.Prealloc == PreallocOn:
		clear(w.data[w.end:wipe])
	case wipe > w.end:
		if err := f.Truncate(int64(w.end)); err != nil {
			return err
		}
		wipe, size = w.end, int64(w.end)
	}
	if _, err := f.WriteAt(w.data[:headerSize], 0); err != nil {
		return err
	}
	if wipe > w.group {
		if _, err := f.WriteAt(w.data[w.group:wipe], int64(w.group)); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := j.fs.SyncDir(j.dir); err != nil {
		return err
	}
	j.active, j.off = f, int64(w.end)
	j.segs[len(j.segs)-1].size = size
	return nil
}

// roll makes the segment that begins after the head and goes on in it. It
// gets its name by renaming, over one that has no acknowledged record where
// there is such: at every moment one of the two says what is dead before it.
func (j *Journal) roll(flags uint32) error {
	s := segment{name: segmentName(j.head.Seq + 1), first: j.head.Seq + 1}
	temp, name := path.Join(j.dir, newName), path.Join(j.dir, s.name)
	f, err := j.fs.Create(temp)
	if errors.Is(err, fs.ErrExist) {
		// Left by an attempt that failed.
		if err := j.fs.Remove(temp); err != nil {
			return fmt.Errorf("making segment: %w", err)
		}
		f, err = j.fs.Create(temp)
	}
	if err != nil {
		return fmt.Errorf("making segment: %w", err)
	}
	if s.size, err = j.fill(f, header{s.first, j.head.Hash, flags}); err == nil {
		if err = j.fs.Rename(temp, name); err == nil {
			err = j.fs.SyncDir(j.dir)
		}
	}
	if err != nil {
		f.Close()
		// Gives the room back; where this fails the next attempt does it.
		_ = j.fs.Remove(temp)
		return fmt.Errorf("making segment: %w", err)
	}
	if j.active != nil {
		j.active.Close()
	}
	j.active, j.off = f, headerSize
	if n := len(j.segs) - 1; n >= 0 && j.segs[n].first == s.first {
		j.segs = j.segs[:n]
	}
	j.segs = append(j.segs, s)
	return nil
}

// fill writes the header and, where wanted and there is room, the zeros.
func (j *Journal) fill(f disk.File, h header) (size int64, err error) {
	if _, err := f.WriteAt(h.encode(), 0); err != nil {
		return 0, err
	}
	size = headerSize
	if j.o.Prealloc == PreallocOn {
		switch err := zeros(f, headerSize, int64(j.o.SegmentSize)); {
		case err == nil:
			size = int64(j.o.SegmentSize)
		case full(err):
			// A small append may still fit.
			if err := f.Truncate(headerSize); err != nil {
				return 0, err
			}
		default:
			return 0, err
		}
	}
	return size, f.Sync()
}

func zeros(f disk.File, off, end int64) error {
	block := make([]byte, 16<<10)
	for off < end {
		n, err := f.WriteAt(block[:min(int64(len(block)), end-off)], off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// makeReserve keeps some room back, where there is any. It is noise, because
// flash file systems would pack zeros into nothing. It is no error to have
// none: the disk may be full right now.
func (j *Journal) makeReserve() {
	if j.o.Reserve < 0 {
		return
	}
	name := path.Join(j.dir, reserveName)
	f, err := j.fs.Create(name)
	if errors.Is(err, fs.ErrExist) {
		f, err = j.fs.OpenWrite(name)
		if err == nil {
			if size, err := f.Size(); err == nil && size == int64(j.o.Reserve) {
				j.reserveGone = false
				f.Close()
				return
			}
			err = f.Truncate(0)
		}
	}
	j.reserveGone = true
	if err != nil {
		if f != nil {
			f.Close()
		}
		return
	}
	noise := rand.NewPCG(1, 2)
	block := make([]byte, j.o.Reserve)
	for i := range block {
		block[i] = byte(noise.Uint64())
	}
	_, err = f.WriteAt(block, 0)
	if err == nil {
		err = f.Sync()
	}
	f.Close()
	if err != nil {
		_ = j.fs.Remove(name) // a part of it would be taken for the whole
		return
	}
	j.reserveGone = false
}

// dropReserve gives the room up.
func (j *Journal) dropReserve() {
	if err := j.remove(reserveName); err == nil || errors.Is(err, fs.ErrNotExist) {
		j.reserveGone = true
	}
}

func (j *Journal) remove(name string) error {
	if err := j.fs.Remove(path.Join(j.dir, name)); err != nil {
		return err
	}
	return j.fs.SyncDir(j.dir)
}

func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func ignore(uint64, []byte, Hash) error { return nil }

func ignoreDamage(*DamageError) error { return nil }

func stop(d *DamageError) error { return d }
