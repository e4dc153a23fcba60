package journal

import (
	"errors"
	"path"
	"testing"

	"zonegate/internal/disk"
	"zonegate/internal/disk/faultdisk"
)

// failing opens a journal on a disk that cannot be written.
func failing(t *testing.T, n int, o Options, fault func(*faultdisk.Disk)) (*faultdisk.Disk, want, *Journal) {
	t.Helper()
	d, w, _ := written(t, o, n)
	fault(d)
	o.ServeFailed = true
	return d, w, open(t, d, o)
}

func readOnly(d *faultdisk.Disk) { d.SetReadOnly(true) }

func badMedium(d *faultdisk.Disk) { d.Fail(faultdisk.Fault{Op: faultdisk.OpSync, Times: -1}) }

func TestServeFailed(t *testing.T) {
	for what, fault := range map[string]func(*faultdisk.Disk){"read-only": readOnly, "bad medium": badMedium} {
		t.Run(what, func(t *testing.T) {
			d, w, j := failing(t, 20, small, fault)
			w.is(t, j)
			if _, err := j.Append([][]byte{{1}}); !errors.Is(err, ErrFailed) || !errors.Is(err, erofs) && !errors.Is(err, eio) {
				t.Errorf("append: %v", err)
			}
			head, first := j.Head(), j.First()
			for range 3 {
				if err := j.Reopen(); err == nil {
					t.Fatal("reopened on a disk that cannot be written")
				}
				if j.Head() != head || j.First() != first {
					t.Fatalf("head %+v, first %d", j.Head(), j.First())
				}
				w.is(t, j)
			}
			d.Heal()
			if err := j.Reopen(); err != nil {
				t.Fatal(err)
			}
			w.append(t, j, groups(2, 20)...)
			w.is(t, j)
			w.is(t, open(t, d.Crash(), small))
		})
	}
	// Without the option it is an error, and the lock is free again.
	d, _, _ := written(t, small, 5)
	d.SetReadOnly(true)
	for range 2 {
		if err := openError(d, small); !errors.Is(err, erofs) || errors.Is(err, disk.ErrLocked) {
			t.Errorf("got %v", err)
		}
	}
	// An empty directory has nothing to serve.
	d = faultdisk.New(1)
	if err := d.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	d.SetReadOnly(true)
	if err := openError(d, Options{ServeFailed: true}); !errors.Is(err, erofs) {
		t.Errorf("got %v", err)
	}
}

// A Reopen that fails before it has read anything leaves what is served.
func TestServeFailedKeepsServing(t *testing.T) {
	d, w, j := failing(t, 20, small, readOnly)
	head := j.Head()
	d.Heal()
	d.Fail(faultdisk.Fault{Op: faultdisk.OpList})
	if err := j.Reopen(); !errors.Is(err, eio) {
		t.Fatalf("got %v", err)
	}
	if j.Head() != head {
		t.Errorf("head is %+v, want %+v", j.Head(), head)
	}
	w.is(t, j)
}

// The journal was read, and when it can be written it has another end: what
// is built on it is wrong, however often it is tried.
func TestServeFailedFindsAnotherEnd(t *testing.T) {
	o := Options{Reserve: -1}
	d, w, j := failing(t, 6, o, readOnly)
	d.Heal()
	name := path.Join(dir, segmentName(1))
	data := d.Bytes(name)
	last := recordAt(t, data, uint64(len(w)))
	clear(data[recordAt(t, data, last.group()).off:])
	d.Put(name, data)
	head := j.Head()
	for range 3 {
		if err := j.Reopen(); err == nil {
			t.Fatal("reopened at another record than was served")
		}
		if _, err := j.Append([][]byte{{1}}); !errors.Is(err, ErrFailed) {
			t.Fatalf("append: %v", err)
		}
		if j.Head() != head {
			t.Fatalf("head moved to %+v", j.Head())
		}
	}
}

// No descriptor is left open, however often Reopen fails.
func TestFailedReopenClosesFiles(t *testing.T) {
	d, _, j := failing(t, 6, small, badMedium)
	for range 5 {
		if err := j.Reopen(); !errors.Is(err, eio) {
			t.Fatalf("got %v", err)
		}
	}
	j.Close()
	if n := d.OpenFiles(); n != 0 {
		t.Errorf("%d files are open", n)
	}
}
