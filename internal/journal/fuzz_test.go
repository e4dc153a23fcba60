package journal

import (
	"bytes"
	"errors"
	"path"
	"testing"

	"zonegate/internal/disk/faultdisk"
)

// FuzzSegment gives any bytes as the last segment: no panic, no endless work,
// and whatever opens can be appended to and read.
func FuzzSegment(f *testing.F) {
	d := faultdisk.New(1)
	j, err := Open(d, dir, Options{SegmentSize: minSegmentSize, Reserve: -1})
	if err != nil {
		f.Fatal(err)
	}
	for _, g := range groups(6, 40) {
		if _, err := j.Append(g); err != nil {
			f.Fatal(err)
		}
	}
	good := d.Bytes(path.Join(dir, segmentName(1)))
	f.Add(good, uint16(0), byte(0))
	f.Add(good, uint16(200), byte(1))
	f.Add(good[:300], uint16(0), byte(0))
	f.Add([]byte{}, uint16(0), byte(0))
	f.Add(bytes.Repeat([]byte{0xFF}, 100), uint16(0), byte(0))
	f.Fuzz(func(t *testing.T, data []byte, at uint16, x byte) {
		if len(data) > 0 {
			data = bytes.Clone(data)
			data[int(at)%len(data)] ^= x
		}
		d := faultdisk.New(1)
		d.Put(path.Join(dir, segmentName(1)), data)
		if _, err := Verify(d, dir); err != nil {
			t.Fatal(err)
		}
		o := Options{SegmentSize: minSegmentSize, Reserve: -1}
		j, err := Open(d, dir, o)
		if err != nil {
			var damage *DamageError
			if !errors.As(err, &damage) {
				t.Fatal(err)
			}
			o.AcceptDamage = true
			if j, err = Open(d, dir, o); err != nil {
				t.Fatal(err)
			}
		}
		before := j.Head().Seq
		if last, err := j.Append([][]byte{[]byte("new")}); err != nil || last != before+1 {
			t.Fatal(last, err)
		}
		got, _ := replay(t, j, j.Head().Seq)
		if got[before+1] != "new" {
			t.Fatal("the appended record does not read")
		}
		replay(t, j, 1)
		j.Close()
		j, err = Open(d, dir, Options{SegmentSize: minSegmentSize, Reserve: -1, AcceptDamage: true})
		if err != nil || j.Head().Seq != before+1 {
			t.Fatalf("opened again: head %d, want %d, %v", j.Head().Seq, before+1, err)
		}
	})
}

// FuzzSnapshot gives any bytes as a snapshot: refused or read to the end, and
// never more memory than there is file.
func FuzzSnapshot(f *testing.F) {
	var b bytes.Buffer
	if err := EncodeSnapshot(&b, Head{1, Hash{2}}, fill([]entry{{1, "a", "b"}, {2, "key", "value"}})); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:50])
	f.Add([]byte("zgsnap"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got []entry
		head, err := DecodeSnapshot(bytes.NewReader(data), int64(len(data)), collect(&got))
		if err != nil {
			if !errors.Is(err, ErrBadSnapshot) || len(got) > 0 {
				t.Fatalf("%v, %d entries", err, len(got))
			}
			return
		}
		var again bytes.Buffer
		if err := EncodeSnapshot(&again, head, fill(got)); err != nil {
			t.Fatal(err)
		}
	})
}

// Lengths that a file only claims must not be believed.
func TestHostileLengths(t *testing.T) {
	snap := bytes.Clone(Head{}.snapshotHeader())
	snap = append(snap, 0, 0x0F, 0xFF, 0xFF, 1, 2, 3, 4)
	n := testing.AllocsPerRun(5, func() {
		if _, err := DecodeSnapshot(bytes.NewReader(snap), int64(len(snap)), nil); !errors.Is(err, ErrBadSnapshot) {
			t.Fatal(err)
		}
	})
	if n > 30 {
		t.Errorf("%v allocations", n)
	}
	// Every byte begins what could be a record: the search gives up.
	data := header{first: 1}.encode()
	for range 2 << 20 / recordSize {
		data = append(data, 0, 0x0F, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0)
	}
	d := faultdisk.New(1)
	d.Put(path.Join(dir, segmentName(1)), data)
	if r, err := Verify(d, dir); err != nil || r.Tail.Bytes == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func (h Head) snapshotHeader() []byte {
	var b bytes.Buffer
	if err := EncodeSnapshot(&b, h, fill(nil)); err != nil {
		panic(err)
	}
	return b.Bytes()[:headerSize]
}
