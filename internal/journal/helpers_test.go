package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"path"
	"syscall"
	"testing"

	"zonegate/internal/disk/faultdisk"
)

const (
	dir = "/data/journal"

	eio    = syscall.EIO
	enospc = syscall.ENOSPC
	erofs  = syscall.EROFS
)

// groups makes n groups of one to three payloads without zero bytes.
func groups(n, size int) (all [][][]byte) {
	rng := rand.New(rand.NewPCG(9, 9))
	for range n {
		g := make([][]byte, 1+rng.IntN(3))
		for i := range g {
			for range size {
				g[i] = append(g[i], byte(1+rng.IntN(255)))
			}
		}
		all = append(all, g)
	}
	return all
}

// want is a journal as it should read: records from 1 on.
type want [][]byte

func open(t *testing.T, d *faultdisk.Disk, o Options) *Journal {
	t.Helper()
	j, err := Open(d, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	// Whatever a test does, what the journal acknowledged reads well.
	t.Cleanup(func() { j.Close() })
	return j
}

func (w *want) append(t *testing.T, j *Journal, all ...[][]byte) {
	t.Helper()
	for _, g := range all {
		last, err := j.Append(g)
		if err != nil {
			t.Fatal(err)
		}
		*w = append(*w, g...)
		if last != uint64(len(*w)) {
			t.Fatalf("append answered %d, want %d", last, len(*w))
		}
	}
}

// replay collects what Replay gives, going on after every damage.
func replay(t *testing.T, j *Journal, from uint64) (got map[uint64]string, damage []*DamageError) {
	t.Helper()
	got = map[uint64]string{}
	for {
		err := j.Replay(from, func(seq uint64, p []byte) error {
			if _, twice := got[seq]; twice {
				return fmt.Errorf("record %d came twice", seq)
			}
			got[seq] = string(p)
			return nil
		})
		var d *DamageError
		if !errors.As(err, &d) {
			if err != nil {
				t.Fatal(err)
			}
			return got, damage
		}
		damage = append(damage, d)
		if len(damage) > 100 {
			t.Fatal("replay does not get past the damage")
		}
		if d.Next == 0 {
			return got, damage
		}
		from = d.Next
	}
}

// is fails the test unless j gives the records of w, those named lost apart.
func (w want) is(t *testing.T, j *Journal, lost ...uint64) []*DamageError {
	t.Helper()
	got, damage := replay(t, j, j.First())
	gone := map[uint64]bool{}
	for _, seq := range lost {
		gone[seq] = true
	}
	for i, p := range w {
		seq := uint64(i + 1)
		if seq < j.First() {
			continue
		}
		g, ok := got[seq]
		if ok == gone[seq] {
			t.Fatalf("record %d there: %v", seq, ok)
		}
		if ok && g != string(p) {
			t.Fatalf("record %d has changed", seq)
		}
		delete(got, seq)
	}
	if len(got) > 0 {
		t.Fatalf("%d records too many", len(got))
	}
	if len(lost) == 0 && len(damage) > 0 {
		t.Fatalf("unexpected: %v", damage[0])
	}
	return damage
}

// sameBytes fails the test when the file has changed.
func sameBytes(t *testing.T, d *faultdisk.Disk, name string, before []byte) {
	t.Helper()
	if !bytes.Equal(d.Bytes(path.Join(dir, name)), before) {
		t.Errorf("%s has changed", name)
	}
}

// recordAt finds where record seq lies in a segment.
func recordAt(t *testing.T, data []byte, seq uint64) record {
	t.Helper()
	for off := headerSize; ; {
		r, ok := decodeRecord(data, off)
		if !ok {
			t.Fatalf("there is no record %d", seq)
		}
		if r.seq == seq {
			return r
		}
		off += r.size
	}
}

func damageOf(t *testing.T, err error) *DamageError {
	t.Helper()
	var d *DamageError
	if !errors.As(err, &d) {
		t.Fatalf("got %v, want a DamageError", err)
	}
	return d
}

// resum mends the checksum of a segment header.
func resum(h []byte) []byte {
	h = append([]byte(nil), h[:headerSize-4]...)
	return binary.BigEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
}
