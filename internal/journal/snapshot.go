package journal

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"path"
	"sort"

	"zonegate/internal/disk"
)

// A snapshot is a header, blocks of entries, and an end. All numbers are
// big-endian on every machine.
//
//	header  0  6  "zgsnap"
//	        6  2  format version
//	        8  8  sequence of the record it was taken after
//	       16 16  hash of that record
//	       32  4  zero
//	       36  4  CRC-32C of bytes 0 to 35
//
//	block   0  4  length of the body
//	        4  4  CRC-32C of the body
//	        8     entries: kind (1 byte), length of key and of value
//	              (both as in encoding/binary.Uvarint), key, value
//
//	end     0  4  zero
//	        4  4  CRC-32C of bytes 8 to 15
//	        8  8  number of entries
//	       16 32  SHA-256 of everything before these 32 bytes
const (
	snapshotVersion = 1

	// blockTarget is where a block ends; a larger entry has its own.
	blockTarget = 32 << 10
	maxBlock    = 1 + 2*binary.MaxVarintLen32 + MaxEntry
)

var snapshotMagic = [6]byte{'z', 'g', 's', 'n', 'a', 'p'}

// ErrBadSnapshot wraps every reason for which a snapshot is refused.
var ErrBadSnapshot = errors.New("snapshot is damaged or not a snapshot")

// MaxEntry is the most bytes that key and value of one entry may have.
const MaxEntry = 1 << 20

// SnapshotInfo names a snapshot found on disk. It has not been checked.
type SnapshotInfo struct {
	Name string // full name, for ReadSnapshot
	Seq  uint64 // the record it was taken after
	Size int64  // bytes
}

// Put adds one entry to a snapshot. Entries are read back in the same order.
// Key and value are not kept.
type Put func(kind byte, key, value []byte) error

const (
	snapshotPrefix = "snapshot-"
	snapshotSuffix = ".snap"
	snapshotNew    = "snapshot.new" // one being written
)

// WriteSnapshot writes a snapshot taken at head: to a temporary file, synced,
// renamed, the directory synced. Without error it is durable. The one before
// is kept and older ones are removed. On an error, fill's own included, what
// was there is still there. One writer at a time.
func WriteSnapshot(fsys disk.FS, dir string, head Head, fill func(put Put) error) (SnapshotInfo, error) {
	info := SnapshotInfo{
		Name: path.Join(dir, fmt.Sprintf("%s%020d%s", snapshotPrefix, head.Seq, snapshotSuffix)),
		Seq:  head.Seq,
	}
	temp := path.Join(dir, snapshotNew)
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return SnapshotInfo{}, fmt.Errorf("removing unfinished snapshot: %w", err)
	}
	f, err := fsys.Create(temp)
	if err != nil {
		return SnapshotInfo{}, fmt.Errorf("writing snapshot: %w", err)
	}
	w := &fileWriter{f: f}
	if err = EncodeSnapshot(w, head, fill); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fsys.Rename(temp, info.Name)
	}
	if err == nil {
		err = fsys.SyncDir(dir)
	}
	if err != nil {
		// Gives the room back; where this fails the next attempt does it.
		_ = fsys.Remove(temp)
		return SnapshotInfo{}, fmt.Errorf("writing snapshot: %w", err)
	}
	info.Size = w.off
	// Where this fails, room is lost until the next snapshot; no more.
	if list, err := Snapshots(fsys, dir); err == nil {
		kept := 0
		for _, s := range list {
			if s.Name == info.Name {
				continue
			}
			if kept++; kept > 1 {
				_ = fsys.Remove(s.Name)
			}
		}
	}
	return info, nil
}

// fileWriter appends to a file that began empty.
type fileWriter struct {
	f   disk.File
	off int64
}

func (w *fileWriter) Write(p []byte) (int, error) {
	n, err := w.f.WriteAt(p, w.off)
	w.off += int64(n)
	return n, err
}

// Snapshots lists the snapshots of dir, newest first.
func Snapshots(fsys disk.FS, dir string) ([]SnapshotInfo, error) {
	infos, err := fsys.List(dir)
	if err != nil {
		return nil, fmt.Errorf("listing snapshots: %w", err)
	}
	var list []SnapshotInfo
	for _, i := range infos {
		if seq, ok := numbered(i.Name, snapshotPrefix, snapshotSuffix); ok {
			list = append(list, SnapshotInfo{path.Join(dir, i.Name), seq, i.Size})
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Seq > list[j].Seq })
	return list, nil
}

// ReadSnapshot checks the whole file and only then calls fn for each entry in
// order. A damaged file is ErrBadSnapshot and fn is not called at all. Key
// and value are valid during the call only. A nil fn only checks.
func ReadSnapshot(fsys disk.FS, name string, fn func(kind byte, key, value []byte) error) (Head, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return Head{}, fmt.Errorf("reading snapshot: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return Head{}, fmt.Errorf("reading snapshot: %w", err)
	}
	return DecodeSnapshot(f, size, fn)
}

// EncodeSnapshot writes the same format to w: a backup that is downloaded
// without touching the flash. After an error what was written is no snapshot.
func EncodeSnapshot(w io.Writer, head Head, fill func(put Put) error) error {
	sum := sha256.New()
	out := io.MultiWriter(w, sum)

	b := make([]byte, 0, 64)
	b = append(b, snapshotMagic[:]...)
	b = binary.BigEndian.AppendUint16(b, snapshotVersion)
	b = binary.BigEndian.AppendUint64(b, head.Seq)
	b = append(b, head.Hash[:]...)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	if _, err := out.Write(b); err != nil {
		return err
	}

	block := make([]byte, 8, blockTarget)
	flush := func() error {
		if len(block) == 8 {
			return nil
		}
		binary.BigEndian.PutUint32(block, uint32(len(block)-8))
		binary.BigEndian.PutUint32(block[4:], crc32.Checksum(block[8:], castagnoli))
		_, err := out.Write(block)
		block = block[:8]
		return err
	}
	var count uint64
	var failed error
	put := func(kind byte, key, value []byte) error {
		if failed != nil {
			return failed
		}
		if len(key) > MaxEntry || len(key)+len(value) > MaxEntry {
			return fmt.Errorf("snapshot entry of %d bytes is too large", len(key)+len(value))
		}
		if len(block)+11+len(key)+len(value) > blockTarget {
			if failed = flush(); failed != nil {
				return failed
			}
		}
		block = append(block, kind)
		block = binary.AppendUvarint(block, uint64(len(key)))
		block = binary.AppendUvarint(block, uint64(len(value)))
		block = append(block, key...)
		block = append(block, value...)
		count++
		return nil
	}
	if err := fill(put); err != nil {
		return err
	}
	if failed != nil {
		return failed // fill did not look
	}
	if err := flush(); err != nil {
		return err
	}

	b = append(b[:0], 0, 0, 0, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, count)
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	if _, err := out.Write(b); err != nil {
		return err
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

// DecodeSnapshot is ReadSnapshot for anything that can be read twice, such as
// an uploaded backup of size bytes.
func DecodeSnapshot(r io.ReaderAt, size int64, fn func(kind byte, key, value []byte) error) (Head, error) {
	d := decoder{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 16<<10), left: size, sum: sha256.New()}
	head, err := d.run(func(byte, []byte, []byte) error { return nil })
	if err != nil {
		return Head{}, fmt.Errorf("%w: %w", ErrBadSnapshot, err)
	}
	if fn == nil {
		return head, nil
	}
	d = decoder{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 16<<10), left: size}
	var stopped error
	again, err := d.run(func(kind byte, key, value []byte) error {
		stopped = fn(kind, key, value)
		return stopped
	})
	switch {
	case stopped != nil:
		return Head{}, stopped
	case err != nil:
		return Head{}, fmt.Errorf("%w: %w", ErrBadSnapshot, err)
	case again != head:
		return Head{}, fmt.Errorf("%w: it changed while it was read", ErrBadSnapshot)
	}
	return head, nil
}

type decoder struct {
	r    *bufio.Reader
	left int64     // bytes not yet read
	sum  hash.Hash // of what was read; nil when it was checked before
	buf  []byte
}

var errCut = errors.New("it ends too early")

// next reads n bytes, valid until the next call. It never makes room for
// more than there is.
func (d *decoder) next(n int) ([]byte, error) {
	if int64(n) > d.left {
		return nil, errCut
	}
	if cap(d.buf) < n {
		d.buf = make([]byte, max(n, 4<<10))
	}
	b := d.buf[:n]
	if _, err := io.ReadFull(d.r, b); err != nil {
		return nil, err
	}
	d.left -= int64(n)
	if d.sum != nil {
		d.sum.Write(b)
	}
	return b, nil
}

func (d *decoder) run(fn func(kind byte, key, value []byte) error) (head Head, err error) {
	b, err := d.next(headerSize)
	if err != nil {
		return head, err
	}
	if [6]byte(b[:6]) != snapshotMagic {
		return head, errors.New("it does not begin as a snapshot does")
	}
	if crc32.Checksum(b[:36], castagnoli) != binary.BigEndian.Uint32(b[36:]) {
		return head, errors.New("its header is altered")
	}
	if v := binary.BigEndian.Uint16(b[6:]); v != snapshotVersion {
		return head, fmt.Errorf("it has format %d, this program reads %d: install the newer one", v, snapshotVersion)
	}
	head.Seq = binary.BigEndian.Uint64(b[8:])
	head.Hash = Hash(b[16:32])

	for count := uint64(0); ; {
		if b, err = d.next(8); err != nil {
			return head, err
		}
		length, crc := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
		if length == 0 {
			return head, d.finish(crc, count)
		}
		if length > maxBlock {
			return head, errors.New("a block is longer than any")
		}
		if b, err = d.next(int(length)); err != nil {
			return head, err
		}
		if crc32.Checksum(b, castagnoli) != crc {
			return head, errors.New("a block's checksum is wrong")
		}
		for len(b) > 0 {
			kind := b[0]
			key, n := binary.Uvarint(b[1:])
			if n <= 0 {
				return head, errors.New("an entry is malformed")
			}
			value, m := binary.Uvarint(b[1+n:])
			if m <= 0 {
				return head, errors.New("an entry is malformed")
			}
			b = b[1+n+m:]
			if key > MaxEntry || value > MaxEntry || key+value > uint64(len(b)) {
				return head, errors.New("an entry is longer than its block")
			}
			k, v := b[:key:key], b[key:key+value:key+value]
			b = b[key+value:]
			count++
			if err := fn(kind, k, v); err != nil {
				return head, err
			}
		}
	}
}

// finish reads the end, of which the first 8 bytes are read.
func (d *decoder) finish(crc uint32, count uint64) error {
	b, err := d.next(8)
	if err != nil {
		return err
	}
	if crc32.Checksum(b, castagnoli) != crc || binary.BigEndian.Uint64(b) != count {
		return errors.New("it has another number of entries than it says")
	}
	var want []byte
	if d.sum != nil {
		want = d.sum.Sum(nil)
	}
	if b, err = d.next(sha256.Size); err != nil {
		return err
	}
	if want != nil && string(b) != string(want) {
		return errors.New("its SHA-256 is wrong")
	}
	if d.left != 0 {
		return errors.New("more follows its end")
	}
	return nil
}
