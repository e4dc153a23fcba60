package journal

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"testing"

	"zonegate/internal/disk/faultdisk"
)

// written makes a journal of several segments and closes it.
func written(t *testing.T, o Options, n int) (*faultdisk.Disk, want, []segment) {
	t.Helper()
	d := faultdisk.New(1)
	j := open(t, d, o)
	var w want
	w.append(t, j, groups(n, 150)...)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	segs, err := listSegments(d, dir)
	if err != nil {
		t.Fatal(err)
	}
	return d, w, segs
}

var small = Options{SegmentSize: minSegmentSize, Prealloc: PreallocOn, Reserve: -1}

// Any flipped bit in an older segment is found, and costs no more than the
// record it is in.
func TestFlippedBit(t *testing.T) {
	d, w, segs := written(t, small, 40)
	name := path.Join(dir, segs[1].name)
	data := d.Bytes(name)
	used := lastUsed(data)
	for off := 0; off < used; off += 7 {
		bit := uint(off % 8)
		d.FlipBit(name, int64(off), bit)
		r, err := Verify(d, dir)
		if err != nil || r.OK() {
			t.Fatalf("byte %d: %+v, %v", off, r, err)
		}
		if r.Head.Seq != uint64(len(w)) {
			t.Fatalf("byte %d: head %d, want %d", off, r.Head.Seq, len(w))
		}
		damage := r.Damage[0]
		if damage.Segment != segs[1].name || damage.Seq < segs[1].first || damage.Next > segs[2].first || damage.Next < damage.Seq {
			t.Fatalf("byte %d: %v", off, damage)
		}
		var lost []uint64
		for seq := damage.Seq; seq < damage.Next; seq++ {
			lost = append(lost, seq)
		}
		if len(lost) > 1 || off >= headerSize && len(lost) == 0 {
			t.Fatalf("byte %d: %d records lost: %v", off, len(lost), damage)
		}
		j := open(t, d, small) // the last segment is well
		if len(lost) == 0 {    // only the header: every record is there
			if got, all := replay(t, j, 1); len(got) != len(w) || len(all) != 1 {
				t.Fatalf("byte %d: %d of %d records, %v", off, len(got), len(w), all)
			}
		} else if got := w.is(t, j, lost...); len(got) != 1 || *got[0] != *damage {
			t.Fatalf("byte %d: replay says %v, verify %v", off, got, damage)
		}
		j.Close()
		d.FlipBit(name, int64(off), bit)
	}
}

// In the last segment: damage where a later group follows, a torn tail where
// none does.
func TestFlippedBitInLastSegment(t *testing.T) {
	o := Options{SegmentSize: 8 << 10, Reserve: -1}
	accept := o
	accept.AcceptDamage = true
	d, w, segs := written(t, o, 12)
	name := path.Join(dir, segs[0].name)
	before := d.Bytes(name)
	last := recordAt(t, before, uint64(len(w)))
	group := recordAt(t, before, last.group())
	for off := headerSize; off < lastUsed(before); off += 13 {
		d.Put(name, before)
		d.FlipBit(name, int64(off), 3)
		j, err := Open(d, dir, o)
		if off < group.off {
			damage := damageOf(t, err)
			if damage.Next != damage.Seq+1 || damage.Offset > int64(off) {
				t.Fatalf("byte %d: %v", off, damage)
			}
			// Accepted, it goes on behind, and nothing old is touched.
			hurt := d.Bytes(name)
			j = open(t, d, accept)
			if j.Head().Seq != uint64(len(w)) {
				t.Fatalf("byte %d: head %d", off, j.Head().Seq)
			}
			w2 := slices.Clone(w)
			w2.append(t, j, groups(1, 10)...)
			w2.is(t, j, damage.Seq)
			sameBytes(t, d, segs[0].name, hurt)
			j.Close()
			j = open(t, d, o) // the new segment is the last
			w2.is(t, j, damage.Seq)
			j.Close()
			d.Delete(path.Join(dir, segmentName(uint64(len(w)+1))))
			continue
		}
		if err != nil {
			t.Fatalf("byte %d: %v", off, err)
		}
		tail := j.Tail()
		if tail.Segment != segs[0].name || tail.Offset != int64(group.off) || tail.Seq != group.seq || tail.Bytes == 0 {
			t.Fatalf("byte %d: tail %+v", off, tail)
		}
		w[:group.seq-1].is(t, j)
		j.Close()
		if files, _ := listSegments(d, dir); len(files) > 1 {
			d.Delete(path.Join(dir, files[1].name))
		}
	}
}

// A record in one sector cannot be torn: its remains are reported as altered
// and left where they are.
func TestAlteredTail(t *testing.T) {
	d := faultdisk.New(1)
	j := open(t, d, Options{})
	var w want
	w.append(t, j, groups(2, 20)...)
	at := j.off
	w.append(t, j, [][]byte{[]byte("sale")})
	j.Close()
	d.FlipBit(path.Join(dir, segmentName(1)), at+recordSize+1, 0)
	hurt := d.Bytes(path.Join(dir, segmentName(1)))
	j = open(t, d, Options{})
	if tail := j.Tail(); !tail.Altered || tail.Seq != uint64(len(w)) {
		t.Errorf("tail %+v", tail)
	}
	sale := uint64(len(w))
	w = w[:sale-1]
	w.append(t, j, groups(1, 20)...)
	w.is(t, j)
	sameBytes(t, d, segmentName(1), hurt)
	if r, err := Verify(d, dir); err != nil || !r.OK() {
		t.Errorf("%+v, %v", r, err)
	}
	j.Close()

	// Where the state had seen it, it is not a tail but a loss.
	d.Delete(path.Join(dir, segmentName(sale)))
	damage := damageOf(t, openError(d, Options{Known: Head{Seq: sale}}))
	if damage.Seq != sale || damage.Next != 0 {
		t.Errorf("%v", damage)
	}
}

func TestMissingSegment(t *testing.T) {
	for _, which := range []int{0, 2, -1} {
		t.Run(fmt.Sprint(which), func(t *testing.T) {
			d, w, segs := written(t, small, 40)
			i := which
			if i < 0 {
				i = len(segs) - 1
			}
			first, next := segs[i].first, uint64(len(w)+1)
			if i+1 < len(segs) {
				next = segs[i+1].first
			}
			var lost []uint64
			for seq := first; seq < next; seq++ {
				lost = append(lost, seq)
			}
			known := Head{Seq: uint64(len(w))}
			d.Delete(path.Join(dir, segs[i].name))
			o := small
			switch which {
			case 0: // no snapshot stands in for it
				damage := damageOf(t, openError(d, o))
				if damage.Seq != 1 || damage.Next != next {
					t.Errorf("%v", damage)
				}
				o.AcceptDamage = true
				j := open(t, d, o)
				got, all := replay(t, j, 1)
				if len(got) != len(w)-len(lost) || len(all) != 1 || all[0].Next != next {
					t.Errorf("%d records, %v", len(got), all)
				}
			case 2:
				j := open(t, d, o)
				all := w.is(t, j, lost...)
				if len(all) != 1 || all[0].Seq != first || all[0].Next != next || all[0].Segment != segs[1].name {
					t.Errorf("%v", all)
				}
				r, err := Verify(d, dir)
				if err != nil || len(r.Damage) != 1 || *r.Damage[0] != *all[0] {
					t.Errorf("verify %+v, %v", r, err)
				}
			default: // only a head known elsewhere tells
				o.Known = known
				damage := damageOf(t, openError(d, o))
				if damage.Seq != first || damage.Next != 0 {
					t.Errorf("%v", damage)
				}
				o.AcceptDamage = true
				j := open(t, d, o)
				if j.Head().Seq != known.Seq {
					t.Errorf("head %d: lost numbers are given again", j.Head().Seq)
				}
				w.append(t, j, groups(1, 5)...)
				w.is(t, j, lost...)
			}
		})
	}
}

func openError(d *faultdisk.Disk, o Options) error {
	j, err := Open(d, dir, o)
	if err == nil {
		j.Close()
	}
	return err
}

// edit changes a segment and mends every sum that is in reach: this is no
// accident.
func TestVerifyFindsEdits(t *testing.T) {
	redo := func(data []byte, seq uint64, change func(r *record)) []byte {
		r := recordAt(t, data, seq)
		r.payload = slices.Clone(r.payload)
		change(&r)
		out := slices.Clone(data[:r.off])
		out = appendRecord(out, r.seq, r.index, r.payload, r.end, r.hash)
		out = append(out, data[r.off+r.size:]...)
		return out[:len(data)]
	}
	d, w, segs := written(t, small, 40)
	name := func(i int) string { return path.Join(dir, segs[i].name) }
	one := d.Bytes(name(1))
	seq := segs[1].first + 3
	cases := map[string]func() map[int][]byte{
		"changed record": func() map[int][]byte {
			return map[int][]byte{1: redo(one, seq, func(r *record) { r.payload[0]++ })}
		},
		"changed record and its group's hash": func() map[int][]byte {
			r := recordAt(t, one, seq)
			for !r.end {
				r = recordAt(t, one, r.seq+1)
			}
			return map[int][]byte{1: redo(one, r.seq, func(r *record) { r.payload[0]++; r.hash[0]++ })}
		},
		"removed record": func() map[int][]byte {
			r := recordAt(t, one, seq)
			return map[int][]byte{1: append(slices.Delete(slices.Clone(one), r.off, r.off+r.size), make([]byte, r.size)...)}
		},
		"removed and renumbered": func() map[int][]byte {
			var out []byte
			out = append(out, one[:headerSize]...)
			next := segs[1].first
			for off := headerSize; ; {
				r, ok := decodeRecord(one, off)
				if !ok {
					break
				}
				off += r.size
				if r.seq == seq {
					continue
				}
				out = appendRecord(out, next, r.index, r.payload, r.end, r.hash)
				next++
			}
			return map[int][]byte{1: append(out, make([]byte, len(one)-len(out))...)}
		},
		"reordered records": func() map[int][]byte {
			a, b := recordAt(t, one, seq), recordAt(t, one, seq+1)
			out := slices.Clone(one[:a.off])
			out = append(out, one[b.off:b.off+b.size]...)
			out = append(out, one[a.off:a.off+a.size]...)
			return map[int][]byte{1: append(out, one[b.off+b.size:]...)}
		},
		"exchanged payloads": func() map[int][]byte {
			a, b := recordAt(t, one, seq), recordAt(t, one, seq+1)
			out := redo(one, seq, func(r *record) { r.payload = slices.Clone(b.payload) })
			return map[int][]byte{1: redo(out, seq+1, func(r *record) { r.payload = slices.Clone(a.payload) })}
		},
		"exchanged segments": func() map[int][]byte {
			return map[int][]byte{1: d.Bytes(name(2)), 2: one}
		},
		"rewritten segment": func() map[int][]byte {
			// All of it, hashes too: only the next header tells.
			h := header{segs[1].first, Hash{}, 0}
			h.prev = Hash(one[16:32])
			out, hash := h.encode(), h.prev
			for off := headerSize; ; {
				r, ok := decodeRecord(one, off)
				if !ok {
					break
				}
				off += r.size
				p := slices.Clone(r.payload)
				p[0]++
				hash = hash.Next(r.seq, p)
				out = appendRecord(out, r.seq, r.index, p, r.end, hash)
			}
			return map[int][]byte{1: append(out, make([]byte, len(one)-len(out))...)}
		},
		"cut segment": func() map[int][]byte {
			r := recordAt(t, one, seq)
			return map[int][]byte{1: one[:r.off]}
		},
		"zeroed sector": func() map[int][]byte {
			out := slices.Clone(one)
			clear(out[1024:1536])
			return map[int][]byte{1: out}
		},
		"inserted bytes": func() map[int][]byte {
			r := recordAt(t, one, seq)
			return map[int][]byte{1: slices.Insert(slices.Clone(one), r.off, 1, 2, 3)}
		},
		"newer format": func() map[int][]byte {
			h := header{segs[1].first, Hash(one[16:32]), 0}.encode()
			h[7] = 9
			return map[int][]byte{1: append(resum(h), one[headerSize:]...)}
		},
	}
	for what, edit := range cases {
		t.Run(what, func(t *testing.T) {
			files := map[int][]byte{}
			for i := range segs {
				files[i] = d.Bytes(name(i))
			}
			defer func() {
				for i, data := range files {
					d.Put(name(i), data)
				}
			}()
			for i, data := range edit() {
				d.Put(name(i), data)
			}
			r, err := Verify(d, dir)
			if err != nil {
				t.Fatal(err)
			}
			if r.OK() {
				t.Fatalf("not found: %+v", r)
			}
			t.Log(r.Damage[0])
			// Whatever is left reads to the end.
			j := open(t, d, small)
			defer j.Close()
			got, damage := replay(t, j, 1)
			if len(damage) == 0 || got[uint64(len(w))] != string(w[len(w)-1]) {
				t.Errorf("%v", damage)
			}
		})
	}
}

// The medium refuses a block: what is around it is still read, and it is
// never taken for a torn tail.
func TestUnreadableBlock(t *testing.T) {
	d, w, segs := written(t, Options{SegmentSize: 16 << 10, Reserve: -1}, 90)
	bad := func(i int) { // the second block of a segment
		d.Fail(faultdisk.Fault{Op: faultdisk.OpRead, Name: segs[i].name, At: 5000, Len: 1, Times: -1})
	}
	bad(0)
	j := open(t, d, Options{SegmentSize: 16 << 10, Reserve: -1})
	got, damage := replay(t, j, 1)
	if len(damage) != 1 || !errors.Is(damage[0], eio) || len(got) < len(w)-40 {
		t.Fatalf("%d of %d records; %v", len(got), len(w), damage)
	}
	for seq := damage[0].Seq; seq < damage[0].Next; seq++ {
		if _, ok := got[seq]; ok {
			t.Errorf("record %d is lost and there", seq)
		}
		got[seq] = ""
	}
	if len(got) != len(w) {
		t.Errorf("%d records lost and there, want %d", len(got), len(w))
	}
	j.Close()

	d.Heal()
	last := len(segs) - 1
	before := d.Bytes(path.Join(dir, segs[last].name))
	d.Fail(faultdisk.Fault{Op: faultdisk.OpRead, Name: segs[last].name, Times: -1})
	err := openError(d, Options{Reserve: -1})
	if dm := damageOf(t, err); !errors.Is(dm, eio) {
		t.Errorf("%v", err)
	}
	// Even accepted, it is not written over.
	j = open(t, d, Options{Reserve: -1, AcceptDamage: true})
	if _, err := j.Append([][]byte{{1}}); err != nil {
		t.Fatal(err)
	}
	j.Close()
	sameBytes(t, d, segs[last].name, before)
}

// The snapshot belongs to another journal, or this one was exchanged.
func TestOtherHistory(t *testing.T) {
	d, w, segs := written(t, small, 40)
	hashes := []Hash{{}}
	for i, p := range w {
		hashes = append(hashes, hashes[i].Next(uint64(i+1), p))
	}
	for _, seq := range []uint64{uint64(len(w)), segs[1].first + 1, segs[1].first} {
		o := small
		o.Known = Head{seq, hashes[seq]}
		if err := openError(d, o); err != nil {
			t.Errorf("right hash of %d: %v", seq, err)
		}
		o.Known.Hash[3]++
		if dm := damageOf(t, openError(d, o)); dm.Seq != seq {
			t.Errorf("%v", dm)
		}
		o.Known.Hash = Hash{}
		if err := openError(d, o); err != nil {
			t.Errorf("no hash of %d: %v", seq, err)
		}
	}
}

// Damage that leaves not one good record in the last segment.
func TestNothingLeftInLastSegment(t *testing.T) {
	d, w, segs := written(t, small, 40)
	s := segs[len(segs)-1]
	name := path.Join(dir, s.name)
	hurt := d.Bytes(name)
	for i := range hurt[:headerSize] {
		hurt[i] ^= 0x55
	}
	d.Put(name, hurt)
	damageOf(t, openError(d, small))
	o := small
	o.AcceptDamage = true
	j := open(t, d, o)
	w.append(t, j, groups(1, 5)...) // its records were good
	got, damage := replay(t, j, 1)
	if len(got) != len(w) || len(damage) != 1 || damage[0].Seq != s.first || damage[0].Next != s.first {
		t.Errorf("%d of %d records, %v", len(got), len(w), damage)
	}
	sameBytes(t, d, s.name, hurt)
	j.Close()

	copy(hurt, bytes.Repeat([]byte{0xAA}, len(hurt)))
	d, w, _ = written(t, small, 40)
	d.Put(name, hurt)
	o.Known = Head{}
	j = open(t, d, o)
	if j.Head().Seq < s.first {
		t.Errorf("head %d: the number of a lost record is given again", j.Head().Seq)
	}
	sameBytes(t, d, s.name, hurt)
	if _, err := j.Append([][]byte{{1}}); err != nil {
		t.Fatal(err)
	}
	sameBytes(t, d, s.name, hurt)
}

func TestVerifyChangesNothing(t *testing.T) {
	d, _, _ := written(t, small, 10)
	before := d.Changes()
	if _, err := Verify(d, dir); err != nil {
		t.Fatal(err)
	}
	if d.Changes() != before {
		t.Error("verify wrote")
	}
	if _, err := Verify(d, "/nowhere"); err == nil {
		t.Error("no error without a directory")
	}
}
