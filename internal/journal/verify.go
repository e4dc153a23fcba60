package journal

import (
	"errors"
	"io/fs"

	"zonegate/internal/disk"
)

// Report is what Verify found.
type Report struct {
	Segments int
	Records  uint64
	Bytes    int64  // on disk
	First    uint64 // lowest sequence there; 0 when there is no record
	Head     Head   // the last good record
	Dead     uint64 // refused records that a Reopen left behind; harmless
	Tail     Tail   // torn tail; Bytes is zero when there is none
	Damage   []*DamageError
}

// OK reports that nothing is damaged. A torn tail is not damage.
func (r Report) OK() bool { return len(r.Damage) == 0 }

// Verify reads the whole journal in dir, recomputes every checksum and the
// chain, and changes nothing. It takes no lock and may run beside the owner;
// what is being appended at that moment may show as a torn tail. The error is
// for a directory that cannot be read; damage is in the Report.
//
// It finds every change, removal and reordering before the head. Records cut
// off cleanly at the very end, or a history rewritten whole, show only
// against a head known elsewhere: a snapshot, the state, the hub.
func Verify(fsys disk.FS, dir string) (Report, error) {
	for tries := 0; ; tries++ {
		r, err := verify(fsys, dir)
		// The owner may drop a segment between the list and the look.
		if errors.Is(err, fs.ErrNotExist) && tries < 3 {
			continue
		}
		return r, err
	}
}

func verify(fsys disk.FS, dir string) (Report, error) {
	var r Report
	segs, err := listSegments(fsys, dir)
	if err != nil {
		return r, err
	}
	record := func(seq uint64, _ []byte, _ Hash) error {
		if r.First == 0 {
			r.First = seq
		}
		return nil
	}
	damage := func(d *DamageError) error {
		r.Damage = append(r.Damage, d)
		return nil
	}
	var before *walk
	for i, s := range segs {
		var limit uint64
		if i+1 < len(segs) {
			limit = segs[i+1].first
		}
		w, err := walkFile(fsys, dir, s, limit, before, record, damage)
		if err != nil {
			return r, err
		}
		r.Segments++
		r.Records += w.records
		r.Bytes += s.size
		r.Dead += w.dead
		r.Head = Head{w.next - 1, w.hash}
		r.Tail = w.tail
		w.data = nil
		before = w
	}
	return r, nil
}
