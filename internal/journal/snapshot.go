package journal

import (
	"errors"
	"io"

	"zonegate/internal/disk"
)

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

// WriteSnapshot writes a snapshot taken at head: to a temporary file, synced,
// renamed, the directory synced. Without error it is durable. The one before
// is kept and older ones are removed. On an error, fill's own included,
// nothing has changed.
func WriteSnapshot(fs disk.FS, dir string, head Head, fill func(put Put) error) (SnapshotInfo, error) {
	return SnapshotInfo{}, errors.New("not built yet")
}

// Snapshots lists the snapshots of dir, newest first.
func Snapshots(fs disk.FS, dir string) ([]SnapshotInfo, error) {
	return nil, errors.New("not built yet")
}

// ReadSnapshot checks the whole file and only then calls fn for each entry in
// order. A damaged file is ErrBadSnapshot and fn is not called at all. Key
// and value are valid during the call only.
func ReadSnapshot(fs disk.FS, name string, fn func(kind byte, key, value []byte) error) (Head, error) {
	return Head{}, errors.New("not built yet")
}

// EncodeSnapshot writes the same format to w: a backup that is downloaded
// without touching the flash.
func EncodeSnapshot(w io.Writer, head Head, fill func(put Put) error) error {
	return errors.New("not built yet")
}

// DecodeSnapshot is ReadSnapshot for anything that can be read twice, such as
// an uploaded backup of size bytes.
func DecodeSnapshot(r io.ReaderAt, size int64, fn func(kind byte, key, value []byte) error) (Head, error) {
	return Head{}, errors.New("not built yet")
}
