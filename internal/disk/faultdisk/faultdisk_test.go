package faultdisk

import (
	"bytes"
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"zonegate/internal/disk"
)

var _ disk.FS = (*Disk)(nil)

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func create(t *testing.T, d *Disk, name string, data string) disk.File {
	t.Helper()
	f, err := d.Create(name)
	must(t, err)
	_, err = f.WriteAt([]byte(data), 0)
	must(t, err)
	return f
}

func TestSyncedSurvives(t *testing.T) {
	for seed := range uint64(50) {
		d := New(seed)
		must(t, d.MkdirAll("/a"))
		f := create(t, d, "/a/f", "kept")
		must(t, f.Sync(), d.SyncDir("/a"))
		if got := string(d.Crash().Bytes("/a/f")); got != "kept" {
			t.Fatalf("seed %d: %q", seed, got)
		}
		if _, err := d.Open("/a/f"); !errors.Is(err, ErrPowerOff) {
			t.Fatalf("after the cut the old disk answers %v", err)
		}
	}
}

// What was not synced must be seen in every shape that it can take.
func TestUnsyncedIsTorn(t *testing.T) {
	old, young := bytes.Repeat([]byte("o"), 3*Sector), bytes.Repeat([]byte("n"), 3*Sector)
	shapes := map[string]bool{}
	for seed := range uint64(400) {
		d := New(seed)
		f := create(t, d, "f", string(old))
		must(t, f.Sync(), d.SyncDir("."))
		_, err := f.WriteAt(young, 0)
		must(t, err)
		got := d.Crash().Bytes("f")
		shape := ""
		for s := range 3 {
			sector := got[s*Sector : (s+1)*Sector]
			if !bytes.Equal(sector, old[:Sector]) && !bytes.Equal(sector, young[:Sector]) {
				t.Fatalf("seed %d: a sector is neither old nor new", seed)
			}
			shape += string(sector[:1])
		}
		shapes[shape] = true
	}
	if len(shapes) != 8 {
		t.Errorf("%d of 8 outcomes seen: %v", len(shapes), shapes)
	}

	sizes := map[int]bool{}
	for seed := range uint64(400) {
		d := New(seed)
		f := create(t, d, "f", "")
		must(t, f.Sync(), d.SyncDir("."))
		_, err := f.WriteAt(young, 0)
		must(t, err)
		sizes[len(d.Crash().Bytes("f"))] = true
	}
	if !sizes[0] || !sizes[3*Sector] || len(sizes) < 20 {
		t.Errorf("only %d lengths seen", len(sizes))
	}
}

func TestNamesNeedTheirDirectory(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(200) {
		d := New(seed)
		f := create(t, d, "old", "old")
		must(t, f.Sync(), d.SyncDir("."))
		f = create(t, d, "new", "new")
		must(t, f.Sync(), d.Rename("new", "old"))
		n := d.Crash()
		got := string(n.Bytes("old"))
		if got != "old" && got != "new" {
			t.Fatalf("seed %d: renaming left %q", seed, got)
		}
		seen[got]++

		d = New(seed)
		create(t, d, "made", "")
		if d.Crash().Bytes("made") != nil {
			seen["made"]++
		}
		d = New(seed)
		create(t, d, "gone", "")
		must(t, d.SyncDir("."), d.Remove("gone"))
		if d.Crash().Bytes("gone") != nil {
			seen["not removed"]++
		}
	}
	for _, k := range []string{"old", "new", "made", "not removed"} {
		if seen[k] < 20 || seen[k] > 180 {
			t.Errorf("%q seen %d times of 200", k, seen[k])
		}
	}
}

// The trap of fsync: after an error the same descriptor answers success and
// the data is gone all the same.
func TestSecondSyncLies(t *testing.T) {
	for seed := range uint64(20) {
		d := New(seed)
		f := create(t, d, "f", "")
		must(t, f.Sync(), d.SyncDir("."))
		fired := d.Fail(Fault{Op: OpSync, Name: "f"})
		_, err := f.WriteAt([]byte("money"), 0)
		must(t, err)
		if err := f.Sync(); !errors.Is(err, syscall.EIO) || fired() != 1 {
			t.Fatalf("first sync: %v", err)
		}
		if err := f.Sync(); err != nil {
			t.Fatalf("second sync: %v", err)
		}
		if got := string(d.Bytes("f")); got != "money" {
			t.Fatalf("a process reads %q", got)
		}
		if got := string(d.Crash().Bytes("f")); got == "money" {
			t.Fatal("after the cut the data is there")
		}
	}
	// Written again and synced, it is there.
	d := New(1)
	f := create(t, d, "f", "money")
	d.Fail(Fault{Op: OpSync})
	if f.Sync() == nil {
		t.Fatal("no error")
	}
	_, err := f.WriteAt([]byte("money"), 0)
	must(t, err, f.Sync(), d.SyncDir("."))
	if got := string(d.Crash().Bytes("f")); got != "money" {
		t.Errorf("after writing again there is %q", got)
	}
}

func TestNoSync(t *testing.T) {
	lost := 0
	for seed := range uint64(50) {
		d := New(seed)
		d.SetNoSync(true)
		f := create(t, d, "f", "x")
		must(t, f.Sync(), d.SyncDir("."))
		if len(d.Crash().Bytes("f")) == 0 {
			lost++
		}
	}
	if lost == 0 {
		t.Error("a disk that does not sync lost nothing")
	}
}

func TestFull(t *testing.T) {
	d := New(1)
	f := create(t, d, "f", "")
	d.SetFree(2 * Sector)
	n, err := f.WriteAt(make([]byte, 3*Sector), 0)
	if n != 2*Sector || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if _, err := f.WriteAt(make([]byte, 2*Sector), 0); err != nil {
		t.Errorf("overwriting: %v", err)
	}
	must(t, f.Truncate(Sector))
	g := create(t, d, "g", "one more")
	must(t, d.Remove("g"), g.Close())
	if _, err := f.WriteAt(make([]byte, Sector), Sector); err != nil {
		t.Errorf("removing gave no room: %v", err)
	}
}

func TestFaults(t *testing.T) {
	d := New(1)
	d.Fail(Fault{Op: OpCreate, Name: "*.seg", Skip: 1, Times: 2, Err: syscall.ENOSPC})
	var failed []int
	for i, name := range []string{"a.seg", "b.txt", "c.seg", "d.seg", "e.seg"} {
		if _, err := d.Create(name); errors.Is(err, syscall.ENOSPC) {
			failed = append(failed, i)
		} else {
			must(t, err)
		}
	}
	if len(failed) != 2 || failed[0] != 2 || failed[1] != 3 {
		t.Errorf("failed: %v", failed)
	}

	d.SetReadOnly(true)
	if _, err := d.Create("x"); !errors.Is(err, syscall.EROFS) {
		t.Errorf("read-only: %v", err)
	}
	if _, err := d.Lock("x"); err != nil || d.Bytes("x") != nil {
		t.Errorf("read-only: lock %v, its file %v", err, d.Bytes("x"))
	}
	if _, err := d.Lock("x"); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("read-only: second lock %v", err)
	}
	d.Heal()

	d.Put("/m/f", []byte{1, 2, 3})
	d.FlipBit("/m/f", 1, 2)
	if got := d.Bytes("/m/f"); !bytes.Equal(got, []byte{1, 6, 3}) {
		t.Errorf("flipped: %v", got)
	}
	d.Fail(Fault{Op: OpRead, Name: "f", At: 2, Len: 1, Times: -1})
	f, err := d.Open("/m/f")
	must(t, err)
	if _, err := f.ReadAt(make([]byte, 2), 0); err != nil {
		t.Errorf("reading before the bad block: %v", err)
	}
	if _, err := f.ReadAt(make([]byte, 2), 1); !errors.Is(err, syscall.EIO) {
		t.Errorf("reading the bad block: %v", err)
	}
	d.Delete("/m/f")
	if _, err := d.Open("/m/f"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func TestCutAfter(t *testing.T) {
	d := New(3)
	f := create(t, d, "f", "") // one change; writing nothing is one more
	d.CutAfter(1)
	_, err := f.WriteAt([]byte("a"), 0)
	must(t, err)
	if err := f.Sync(); !errors.Is(err, ErrPowerOff) {
		t.Fatalf("sync during the cut: %v", err)
	}
	if _, err := d.List("."); !errors.Is(err, ErrPowerOff) {
		t.Fatalf("after the cut: %v", err)
	}
}

func TestKill(t *testing.T) {
	d := New(1)
	l, err := d.Lock("lock")
	must(t, err)
	f := create(t, d, "f", "cached")
	if _, err := d.Lock("lock"); !errors.Is(err, disk.ErrLocked) {
		t.Fatalf("locked twice: %v", err)
	}
	d.Kill()
	if err := f.Sync(); !errors.Is(err, ErrKilled) {
		t.Errorf("a dead process syncs: %v", err)
	}
	if err := l.Close(); !errors.Is(err, ErrKilled) {
		t.Errorf("a dead process unlocks: %v", err)
	}
	if _, err := d.Lock("lock"); err != nil {
		t.Errorf("lock of a dead process: %v", err)
	}
	if got := string(d.Bytes("f")); got != "cached" {
		t.Errorf("the page cache has %q", got)
	}
}

func TestSameSeedSameDisk(t *testing.T) {
	run := func() []byte {
		d := New(7)
		var all []byte
		for i := range 20 {
			f := create(t, d, string(rune('a'+i)), string(bytes.Repeat([]byte{byte(i)}, 1500)))
			if i%3 == 0 {
				must(t, f.Sync())
			}
		}
		n := d.Crash()
		for i := range 20 {
			name := string(rune('a' + i))
			all = append(append(all, name...), n.Bytes(name)...)
		}
		return all
	}
	if !bytes.Equal(run(), run()) {
		t.Error("the same seed gave two disks")
	}
}
