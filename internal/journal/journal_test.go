package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"sync"
	"testing"

	"zonegate/internal/disk"
	"zonegate/internal/disk/faultdisk"
)

func TestAppendReplay(t *testing.T) {
	for _, p := range []Prealloc{PreallocOn, PreallocOff} {
		d := faultdisk.New(1)
		o := Options{SegmentSize: minSegmentSize, Prealloc: p}
		j := open(t, d, o)
		if j.Head() != (Head{}) || j.First() != 1 {
			t.Fatalf("an empty journal has head %+v, first %d", j.Head(), j.First())
		}
		var w want
		w.append(t, j, groups(30, 300)...)
		w.is(t, j)
		if last, err := j.Append(nil); last != uint64(len(w)) || err != nil {
			t.Errorf("empty group: %d, %v", last, err)
		}
		if err := j.Replay(uint64(len(w)+1), func(uint64, []byte) error { return errors.New("called") }); err != nil {
			t.Errorf("replay after the head: %v", err)
		}
		stop := errors.New("stop")
		if err := j.Replay(3, func(seq uint64, _ []byte) error {
			if seq != 3 {
				t.Errorf("began at %d", seq)
			}
			return stop
		}); err != stop {
			t.Errorf("replay hides the error of its caller: %v", err)
		}
		head := j.Head()
		var h Hash
		for i, p := range w {
			h = h.Next(uint64(i+1), p)
		}
		if head.Hash != h {
			t.Errorf("head hash %v, want %v", head.Hash, h)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Append([][]byte{{1}}); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		j = open(t, d, o)
		if j.Head() != head {
			t.Errorf("head changed from %+v to %+v", head, j.Head())
		}
		w.append(t, j, groups(3, 10)...)
		w.is(t, j)
	}
}

// The files are the same on every machine: a change of this sum is a change
// of the format and needs a new version.
func TestFormat(t *testing.T) {
	d := faultdisk.New(1)
	j := open(t, d, Options{SegmentSize: minSegmentSize, Known: Head{Seq: 0x1122334455, Hash: Hash{1, 2, 3}}})
	if _, err := j.Append([][]byte{[]byte("voucher"), {}, []byte("grant")}); err != nil {
		t.Fatal(err)
	}
	data := d.Bytes(dir + "/journal-00000000073588229206.seg")
	if len(data) != minSegmentSize {
		t.Fatalf("segment has %d bytes", len(data))
	}
	const header = "7a676a726e6c0001" + "0000001122334456" + "01020300000000000000000000000000" + "00000000"
	if got := hex.EncodeToString(data[:36]); got != header {
		t.Errorf("header\n got %s\nwant %s", got, header)
	}
	const record = "00000007" + "%s" + "0000001122334456" + "00000000" + "766f7563686572"
	crc := hex.EncodeToString(data[headerSize+4 : headerSize+8])
	if got := hex.EncodeToString(data[headerSize : headerSize+27]); got != fmt.Sprintf(record, crc) {
		t.Errorf("record %s", got)
	}
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:8]); got != "be2cdeecd3191567" {
		t.Errorf("segment has sum %s", got)
	}
}

func TestOneWriteOneSyncPerGroup(t *testing.T) {
	d := faultdisk.New(1)
	j := open(t, d, Options{})
	before := d.Changes()
	g := groups(40, 50)
	var all [][]byte
	for _, x := range g {
		all = append(all, x...)
	}
	if _, err := j.Append(all); err != nil {
		t.Fatal(err)
	}
	if n := d.Changes() - before; n != 2 {
		t.Errorf("%d changes for one group, want a write and a sync", n)
	}
}

func TestOwner(t *testing.T) {
	d := faultdisk.New(1)
	j := open(t, d, Options{})
	if _, err := Open(d, dir, Options{}); !errors.Is(err, disk.ErrLocked) {
		t.Fatalf("second owner: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, d, Options{})
}

func TestTooLarge(t *testing.T) {
	d := faultdisk.New(1)
	j := open(t, d, Options{SegmentSize: minSegmentSize})
	before := d.Changes()
	big := make([]byte, MaxPayload)
	for _, g := range [][][]byte{{make([]byte, MaxPayload+1)}, {big, big, big, big}} {
		if _, err := j.Append(g); !errors.Is(err, ErrTooLarge) {
			t.Errorf("got %v", err)
		}
	}
	if d.Changes() != before {
		t.Error("something was written")
	}
	// The largest group has a segment of its own.
	var w want
	w.append(t, j, [][]byte{{1}}, [][]byte{big, big, big}, [][]byte{{2}})
	w.is(t, j)
	j.Close()
	w.is(t, open(t, d, Options{SegmentSize: minSegmentSize}))
}

// Every kind of failure of an append: refused, nothing touched again, and
// after Reopen the refused group never comes back, whatever the power does.
func TestRefusedStaysRefused(t *testing.T) {
	cases := map[string]faultdisk.Fault{
		"write":       {Op: faultdisk.OpWrite, Name: "*.seg"},
		"torn write":  {Op: faultdisk.OpWrite, Name: "*.seg", Torn: true},
		"sync":        {Op: faultdisk.OpSync, Name: "*.seg"},
		"torn sync":   {Op: faultdisk.OpSync, Name: "*.seg", Torn: true},
		"full":        {Op: faultdisk.OpWrite, Name: "*.seg", Err: enospc, Torn: true},
		"read-only":   {Op: faultdisk.OpWrite, Name: "*.seg", Err: erofs},
		"new segment": {Op: faultdisk.OpCreate, Name: newName},
		"its header":  {Op: faultdisk.OpWrite, Name: newName, Torn: true},
		"its sync":    {Op: faultdisk.OpSync, Name: newName, Torn: true},
		"its name":    {Op: faultdisk.OpRename, Name: newName},
		"directory":   {Op: faultdisk.OpSyncDir},
	}
	for name, fault := range cases {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				d := faultdisk.New(seed)
				o := Options{SegmentSize: minSegmentSize, Reserve: 1024}
				j := open(t, d, o)
				var w want
				w.append(t, j, groups(4, 100)...)
				refused := [][]byte{[]byte("refused"), make([]byte, 600)}
				if fault.Name == newName || fault.Op == faultdisk.OpSyncDir {
					refused = append(refused, make([]byte, minSegmentSize))
				}
				head := j.Head()
				d.Fail(fault)
				_, err := j.Append(refused)
				cause := fault.Err
				if cause == nil {
					cause = eio
				}
				if !errors.Is(err, ErrFailed) || !errors.Is(err, cause) {
					t.Fatalf("got %v, want ErrFailed and %v", err, cause)
				}
				before := d.Changes()
				if _, err := j.Append([][]byte{{1}}); !errors.Is(err, ErrFailed) || !errors.Is(err, cause) {
					t.Fatalf("a failed journal answers %v", err)
				}
				if err := j.Rotate(); !errors.Is(err, ErrFailed) {
					t.Fatalf("a failed journal rotates: %v", err)
				}
				if d.Changes() != before {
					t.Fatal("a failed journal still writes")
				}
				w.is(t, j) // reading goes on
				// Reopen may fail itself, and be tried again.
				d.Fail(faultdisk.Fault{Op: faultdisk.OpSync, Name: newName, Torn: true})
				if err := j.Reopen(); !errors.Is(err, eio) {
					t.Fatalf("reopen on a bad disk: %v", err)
				}
				if _, err := j.Append([][]byte{{1}}); !errors.Is(err, ErrFailed) {
					t.Fatalf("not reopened, yet: %v", err)
				}
				if err := j.Reopen(); err != nil {
					t.Fatal(err)
				}
				if j.Head() != head {
					t.Fatalf("head moved to %+v", j.Head())
				}
				w.is(t, j)
				if seed%2 == 0 {
					w.append(t, j, groups(2, 100)...)
				}
				d = d.Crash()
				j = open(t, d, o)
				w.is(t, j)
				w.append(t, j, groups(2, 30)...)
				w.is(t, j)
				if r, err := Verify(d, dir); err != nil || !r.OK() || r.Head != j.Head() {
					t.Fatalf("%+v, %v", r, err)
				}
			}
		})
	}
}

// Even when the old segment cannot be cut, what was refused is dead.
func TestRefusedIsDeadWithoutCutting(t *testing.T) {
	d := faultdisk.New(1)
	j := open(t, d, Options{Prealloc: PreallocOff})
	var w want
	w.append(t, j, groups(3, 100)...)
	// The sync fails and yet everything arrived, as with a lost answer.
	d.Fail(faultdisk.Fault{Op: faultdisk.OpSync, Torn: true})
	d.Fail(faultdisk.Fault{Op: faultdisk.OpTruncate, Times: -1})
	if _, err := j.Append([][]byte{[]byte("refused"), []byte("too")}); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	if err := j.Reopen(); err != nil {
		t.Fatal(err)
	}
	w.append(t, j, groups(2, 10)...)
	r, err := Verify(d, dir)
	if err != nil || !r.OK() || r.Dead != 2 {
		t.Fatalf("%+v, %v; want 2 dead records", r, err)
	}
	d.Heal()
	d.Kill() // everything stays in the page cache
	j = open(t, d, Options{Prealloc: PreallocOff})
	w.is(t, j)
}

// A sync fails and the process is killed before it reopens: the group is only
// in the page cache, where it reads well. What the next process shows must
// survive the power, one way or the other.
func TestKilledAfterFailedSync(t *testing.T) {
	for _, p := range []Prealloc{PreallocOn, PreallocOff} {
		for seed := range uint64(20) {
			d := faultdisk.New(seed)
			o := Options{SegmentSize: 32 << 10, Prealloc: p, Reserve: -1}
			j := open(t, d, o)
			var w want
			w.append(t, j, groups(3, 700)...)
			d.Fail(faultdisk.Fault{Op: faultdisk.OpSync})
			g := groups(1, 900)[0]
			if _, err := j.Append(g); !errors.Is(err, ErrFailed) {
				t.Fatal(err)
			}
			d.Kill()
			j = open(t, d, o)
			if j.Head().Seq > uint64(len(w)) {
				w = append(w, g...)
			}
			w.is(t, j)
			d = d.Crash()
			w.is(t, open(t, d, o))
		}
	}
}

func TestDropThrough(t *testing.T) {
	d := faultdisk.New(1)
	o := Options{SegmentSize: minSegmentSize}
	j := open(t, d, o)
	var w want
	w.append(t, j, groups(40, 300)...)
	size := j.Size()
	segs, err := listSegments(d, dir)
	if err != nil || len(segs) < 5 {
		t.Fatalf("%d segments, %v", len(segs), err)
	}
	at := segs[3].first // one record short of what would free segs[3]
	if err := j.DropThrough(segs[4].first - 2); err != nil {
		t.Fatal(err)
	}
	if j.First() != at || j.Size() != size-3*minSegmentSize {
		t.Errorf("first is %d, want %d; size %d", j.First(), at, j.Size())
	}
	if err := j.Replay(at-1, func(uint64, []byte) error { return nil }); !errors.Is(err, ErrDropped) {
		t.Errorf("replaying what was dropped: %v", err)
	}
	w.is(t, j)
	var known Head
	for i, p := range w[:at] {
		known = Head{uint64(i + 1), known.Hash.Next(uint64(i+1), p)}
	}
	j.Close()
	o.Known = known
	j = open(t, d, o)
	w.is(t, j)

	// All of it goes after Rotate, and the numbers go on.
	head := j.Head()
	if err := j.Rotate(); err != nil {
		t.Fatal(err)
	}
	if err := j.Rotate(); err != nil { // nothing to do
		t.Fatal(err)
	}
	if err := j.DropThrough(head.Seq); err != nil {
		t.Fatal(err)
	}
	if j.First() != head.Seq+1 || j.Size() != minSegmentSize {
		t.Errorf("first %d, size %d", j.First(), j.Size())
	}
	d = d.Crash()
	o.Known = head
	j = open(t, d, o)
	if j.Head() != head {
		t.Errorf("head is %+v, want %+v", j.Head(), head)
	}
	w.append(t, j, groups(1, 5)...)
	if err := j.DropThrough(j.Head().Seq); err != nil || j.First() != head.Seq+1 {
		t.Errorf("the present segment went: %v", err)
	}
}

// A backup is restored on a new machine: the journal begins after it.
func TestBeginsAfterKnown(t *testing.T) {
	d := faultdisk.New(1)
	known := Head{Seq: 41, Hash: Hash{7}}
	j := open(t, d, Options{Known: known})
	if j.Head() != known || j.First() != 42 {
		t.Fatalf("head %+v, first %d", j.Head(), j.First())
	}
	if last, err := j.Append([][]byte{{1}}); last != 42 || err != nil {
		t.Fatal(last, err)
	}
	if want := known.Hash.Next(42, []byte{1}); j.Head().Hash != want {
		t.Errorf("the chain does not go on")
	}
	if err := j.Replay(41, func(uint64, []byte) error { return nil }); !errors.Is(err, ErrDropped) {
		t.Errorf("replay from the snapshot: %v", err)
	}
}

// When the disk is full a small append still fits into what was filled, the
// reserve lets the journal be closed properly, and it comes back.
func TestFullDisk(t *testing.T) {
	for _, p := range []Prealloc{PreallocOn, PreallocOff} {
		d := faultdisk.New(1)
		o := Options{SegmentSize: minSegmentSize, Prealloc: p, Reserve: 8 << 10}
		j := open(t, d, o)
		if j.ReserveGone() {
			t.Fatal("no reserve")
		}
		if n := len(d.Bytes(path.Join(dir, reserveName))); n != 8<<10 {
			t.Fatalf("reserve has %d bytes", n)
		}
		var w want
		d.SetFree(2000)
		var err error
		for i := 0; ; i++ {
			g := [][]byte{make([]byte, 500)}
			if _, err = j.Append(g); err != nil {
				break
			}
			w = append(w, g...)
			if i > 100 {
				t.Fatal("the disk does not fill up")
			}
		}
		if !errors.Is(err, ErrFailed) || !errors.Is(err, enospc) {
			t.Fatalf("full: %v", err)
		}
		// What fits without the reserve was used: 2000 bytes beside the
		// filled segment, or beside its header.
		if min := map[Prealloc]int{PreallocOn: 8, PreallocOff: 3}[p]; len(w) < min {
			t.Errorf("only %d records fitted, want %d", len(w), min)
		}
		if err := j.Reopen(); err != nil {
			t.Fatal(err)
		}
		if !j.ReserveGone() {
			t.Error("the reserve was not needed?")
		}
		w.append(t, j, [][]byte{[]byte("closing checkpoint")}, [][]byte{[]byte("notice")})
		w.is(t, j)
		j.Close()
		j = open(t, d, o) // still full: it opens, without a reserve
		w.is(t, j)
		w.append(t, j, [][]byte{[]byte("notice")})
		d.SetFree(1 << 20)
		if err := j.DropThrough(1); err != nil {
			t.Fatal(err)
		}
		if j.ReserveGone() {
			t.Error("the reserve did not come back")
		}
	}
}

// Filling a segment must not fail where a small append would fit.
func TestFillsOnlyWhereThereIsRoom(t *testing.T) {
	d := faultdisk.New(1)
	d.SetFree(2048)
	j := open(t, d, Options{Prealloc: PreallocOn, Reserve: -1})
	if j.Size() != headerSize {
		t.Errorf("size is %d", j.Size())
	}
	var w want
	w.append(t, j, groups(2, 100)...)
	d = d.Crash()
	w.is(t, open(t, d, Options{Prealloc: PreallocOn, Reserve: -1}))
}

// A disk so full that a new segment needs the reserve at start.
func TestOpensOnFullDisk(t *testing.T) {
	d := faultdisk.New(1)
	o := Options{SegmentSize: minSegmentSize, Prealloc: PreallocOff, Reserve: 4096}
	j := open(t, d, o)
	var w want
	w.append(t, j, groups(2, 100)...)
	known := j.Head()
	j.Close()
	d.Delete(path.Join(dir, segmentName(1)))
	d.SetFree(0)
	o.Known = known
	j = open(t, d, o)
	if !j.ReserveGone() {
		t.Error("the reserve is still there")
	}
	w.append(t, j, groups(1, 20)...)
}

func TestReadOnlyDisk(t *testing.T) {
	d := faultdisk.New(1)
	j := open(t, d, Options{})
	var w want
	w.append(t, j, groups(2, 100)...)
	d.SetReadOnly(true)
	if _, err := j.Append([][]byte{{1}}); !errors.Is(err, erofs) {
		t.Errorf("append: %v", err)
	}
	if err := j.Reopen(); !errors.Is(err, erofs) {
		t.Errorf("reopen: %v", err)
	}
	w.is(t, j)
	if r, err := Verify(d, dir); err != nil || !r.OK() {
		t.Errorf("verify: %+v, %v", r, err)
	}
	j.Close()
	if _, err := Open(d, dir, Options{}); !errors.Is(err, erofs) {
		t.Errorf("open: %v", err)
	}
}

func TestPreallocates(t *testing.T) {
	for kind, want := range map[string]int64{"ext4": DefaultSegmentSize, "jffs2": headerSize, "ubifs": headerSize, "0x7": headerSize} {
		d := faultdisk.New(1)
		d.SetKind(kind)
		if got := open(t, d, Options{}).Size(); got != want {
			t.Errorf("on %s the first segment has %d bytes, want %d", kind, got, want)
		}
	}
}

// Readers and Verify run beside the one who appends.
func TestConcurrentReaders(t *testing.T) {
	d := faultdisk.New(1)
	j := open(t, d, Options{SegmentSize: minSegmentSize})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i := range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if i == 0 {
					if r, err := Verify(d, dir); err != nil || !r.OK() {
						t.Errorf("verify: %+v, %v", r, err)
						return
					}
					continue
				}
				last := uint64(0)
				err := j.Replay(j.First(), func(seq uint64, p []byte) error {
					if last > 0 && seq != last+1 {
						return fmt.Errorf("%d after %d", seq, last)
					}
					last = seq
					return nil
				})
				if err != nil && !errors.Is(err, ErrDropped) {
					t.Error(err)
					return
				}
			}
		})
	}
	for i, g := range groups(150, 200) {
		if _, err := j.Append(g); err != nil {
			t.Fatal(err)
		}
		if i%20 == 19 {
			if err := j.DropThrough(j.Head().Seq - 5); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	wg.Wait()
}

// The same on a real disk.
func TestRealDisk(t *testing.T) {
	at := t.TempDir()
	o := Options{SegmentSize: minSegmentSize, Prealloc: PreallocOn}
	j, err := Open(disk.OS{}, at, o)
	if err != nil {
		t.Fatal(err)
	}
	var w want
	w.append(t, j, groups(40, 300)...)
	if _, err := Open(disk.OS{}, at, o); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("second owner: %v", err)
	}
	if err := j.DropThrough(20); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	o.Known = Head{Seq: 20}
	if j, err = Open(disk.OS{}, at, o); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	w.append(t, j, groups(5, 300)...)
	w.is(t, j)
	r, err := Verify(disk.OS{}, at)
	if err != nil || !r.OK() || r.Head != j.Head() || r.Bytes != j.Size() {
		t.Errorf("%+v, %v", r, err)
	}
}
