package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"testing"

	"zonegate/internal/disk"
	"zonegate/internal/disk/faultdisk"
)

type entry struct {
	kind       byte
	key, value string
}

// entries of every size, some larger than a block.
func entries(seed uint64, n int) (list []entry) {
	rng := rand.New(rand.NewPCG(seed, 5))
	text := func(max int) string {
		b := make([]byte, rng.IntN(max+1))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return string(b)
	}
	for i := range n {
		size := 200
		if i%50 == 49 {
			size = 3 * blockTarget
		}
		list = append(list, entry{byte(rng.Uint32()), text(30), text(size)})
	}
	return list
}

func fill(list []entry) func(Put) error {
	return func(put Put) error {
		for _, e := range list {
			if err := put(e.kind, []byte(e.key), []byte(e.value)); err != nil {
				return err
			}
		}
		return nil
	}
}

func collect(into *[]entry) func(byte, []byte, []byte) error {
	return func(kind byte, key, value []byte) error {
		*into = append(*into, entry{kind, string(key), string(value)})
		return nil
	}
}

func snapshotDisk(t *testing.T, seed uint64) *faultdisk.Disk {
	t.Helper()
	d := faultdisk.New(seed)
	if err := d.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSnapshot(t *testing.T) {
	d := snapshotDisk(t, 1)
	for _, n := range []int{0, 1, 500} {
		list, head := entries(uint64(n), n), Head{uint64(n), Hash{byte(n), 1}}
		info, err := WriteSnapshot(d, dir, head, fill(list))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size != int64(len(d.Bytes(info.Name))) || info.Seq != head.Seq {
			t.Errorf("%+v", info)
		}
		var got []entry
		back, err := ReadSnapshot(d, info.Name, collect(&got))
		if err != nil || back != head || !slices.Equal(got, list) {
			t.Errorf("%d entries: head %+v, %d entries back, %v", n, back, len(got), err)
		}
		var b bytes.Buffer
		if err := EncodeSnapshot(&b, head, fill(list)); err != nil || !bytes.Equal(b.Bytes(), d.Bytes(info.Name)) {
			t.Errorf("a backup differs from a snapshot: %v", err)
		}
	}
	infos, err := Snapshots(d, dir)
	if err != nil || len(infos) != 2 || infos[0].Seq != 500 || infos[1].Seq != 1 {
		t.Errorf("kept: %+v, %v", infos, err)
	}
	// An older one written on purpose is not the one to go.
	info, err := WriteSnapshot(d, dir, Head{Seq: 0}, fill(nil))
	if err != nil {
		t.Fatal(err)
	}
	infos, _ = Snapshots(d, dir)
	if len(infos) != 2 || infos[0].Seq != 500 || infos[1].Name != info.Name {
		t.Errorf("kept: %+v", infos)
	}
	stop := errors.New("stop")
	if _, err := ReadSnapshot(d, infos[0].Name, func(byte, []byte, []byte) error { return stop }); err != stop {
		t.Errorf("the reader's own error came back as %v", err)
	}
	if _, err := ReadSnapshot(d, infos[0].Name, nil); err != nil {
		t.Errorf("only checking: %v", err)
	}
}

// The file is the same on every machine.
func TestSnapshotFormat(t *testing.T) {
	var b bytes.Buffer
	if err := EncodeSnapshot(&b, Head{0x0102030405, Hash{9}}, fill([]entry{{1, "key", "value"}, {2, "", ""}})); err != nil {
		t.Fatal(err)
	}
	const begin = "7a67736e61700001" + "0000000102030405" + "09000000000000000000000000000000" + "00000000"
	if got := hex.EncodeToString(b.Bytes()[:36]); got != begin {
		t.Errorf("begins %s", got)
	}
	sum := sha256.Sum256(b.Bytes())
	if got := hex.EncodeToString(sum[:8]); got != "db9501c804f68f70" {
		t.Errorf("snapshot has sum %s", got)
	}
}

// A damaged file is refused before the first entry is handed out.
func TestDamagedSnapshot(t *testing.T) {
	var b bytes.Buffer
	if err := EncodeSnapshot(&b, Head{3, Hash{4}}, fill(entries(1, 60))); err != nil {
		t.Fatal(err)
	}
	good := b.Bytes()
	refuse := func(what string, data []byte) {
		t.Helper()
		calls := 0
		_, err := DecodeSnapshot(bytes.NewReader(data), int64(len(data)), func(byte, []byte, []byte) error {
			calls++
			return nil
		})
		if !errors.Is(err, ErrBadSnapshot) || calls > 0 {
			t.Fatalf("%s: %v, %d entries handed out", what, err, calls)
		}
	}
	for off := 0; off < len(good); off += 1 + off/50 {
		data := bytes.Clone(good)
		data[off] ^= 1 << (off % 8)
		refuse(fmt.Sprintf("flipped bit at %d", off), data)
		refuse(fmt.Sprintf("cut at %d", off), good[:off])
	}
	refuse("more behind", append(bytes.Clone(good), 0))
	refuse("doubled", append(bytes.Clone(good), good...))
	refuse("empty", nil)

	d := snapshotDisk(t, 1)
	d.Put(dir+"/s", good)
	d.Fail(faultdisk.Fault{Op: faultdisk.OpRead, At: int64(len(good) / 2), Len: 1, Times: -1})
	if _, err := ReadSnapshot(d, dir+"/s", nil); !errors.Is(err, ErrBadSnapshot) || !errors.Is(err, eio) {
		t.Errorf("unreadable: %v", err)
	}
	if _, err := ReadSnapshot(d, dir+"/none", nil); errors.Is(err, ErrBadSnapshot) || err == nil {
		t.Errorf("missing: %v", err)
	}
}

// turning is a file that changes while it is read.
type turning struct {
	first, second []byte
	pass          int // reading from 0 begins one
}

func (r *turning) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 {
		r.pass++
	}
	data := r.first
	if r.pass > 1 {
		data = r.second
	}
	return bytes.NewReader(data).ReadAt(p, off)
}

// Blocks that are each intact, in another order or from another file.
func TestExchangedBlocks(t *testing.T) {
	big := make([]byte, blockTarget)
	encode := func(head Head, kinds ...byte) []byte {
		var b bytes.Buffer
		err := EncodeSnapshot(&b, head, func(put Put) error {
			for _, k := range kinds {
				if err := put(k, nil, big); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	one, two := encode(Head{}, 1, 2), encode(Head{}, 2, 1)
	const tail = 16 + sha256.Size
	mixed := append(bytes.Clone(two[:len(two)-tail]), one[len(one)-tail:]...)
	if _, err := DecodeSnapshot(bytes.NewReader(mixed), int64(len(mixed)), nil); !errors.Is(err, ErrBadSnapshot) {
		t.Errorf("exchanged blocks: %v", err)
	}

	hurt := bytes.Clone(one)
	hurt[len(hurt)/2] ^= 1
	for what, second := range map[string][]byte{"altered": hurt, "replaced": encode(Head{Seq: 9}, 1, 2)} {
		r := &turning{first: one, second: second}
		_, err := DecodeSnapshot(r, int64(len(one)), func(byte, []byte, []byte) error { return nil })
		if !errors.Is(err, ErrBadSnapshot) {
			t.Errorf("%s between the passes: %v", what, err)
		}
	}
}

// Whatever fails, what was there before is still there and reads well.
func TestSnapshotFailures(t *testing.T) {
	own := errors.New("own")
	cases := map[string]faultdisk.Fault{
		"create":    {Op: faultdisk.OpCreate},
		"write":     {Op: faultdisk.OpWrite, Skip: 1, Torn: true},
		"full":      {Op: faultdisk.OpWrite, Skip: 1, Err: enospc},
		"sync":      {Op: faultdisk.OpSync, Torn: true},
		"rename":    {Op: faultdisk.OpRename},
		"directory": {Op: faultdisk.OpSyncDir, Torn: true},
		"fill":      {Op: "none", Err: own},
	}
	for what, fault := range cases {
		t.Run(what, func(t *testing.T) {
			for seed := range uint64(10) {
				d := snapshotDisk(t, seed)
				list := entries(1, 120)
				if _, err := WriteSnapshot(d, dir, Head{Seq: 1}, fill(list)); err != nil {
					t.Fatal(err)
				}
				d.Fail(fault)
				_, err := WriteSnapshot(d, dir, Head{Seq: 2}, func(put Put) error {
					if what == "fill" {
						put(1, nil, nil)
						return own
					}
					return fill(list)(put)
				})
				cause := fault.Err
				if cause == nil {
					cause = eio
				}
				if !errors.Is(err, cause) {
					t.Fatalf("got %v, want %v", err, cause)
				}
				if d.Bytes(path.Join(dir, snapshotNew)) != nil {
					t.Error("the temporary file stayed behind")
				}
				for range 2 {
					good := 0
					infos, err := Snapshots(d, dir)
					if err != nil {
						t.Fatal(err)
					}
					for _, i := range infos {
						if _, err := ReadSnapshot(d, i.Name, nil); err == nil {
							good++
						} else {
							t.Errorf("%s: %v", i.Name, err)
						}
					}
					if good == 0 || infos[len(infos)-1].Seq != 1 {
						t.Errorf("%+v", infos)
					}
					d = d.Crash()
				}
				if _, err := WriteSnapshot(d, dir, Head{Seq: 3}, fill(list)); err != nil {
					t.Errorf("the next one: %v", err)
				}
			}
		})
	}
}

// The power goes at every single change: a snapshot is there or not, never in
// part; one that was answered is there.
func TestSnapshotPowerCut(t *testing.T) {
	count := func(noSync bool) (lost, points int) {
		for cut := 0; ; cut++ {
			reached := false
			for seed := range uint64(10) {
				d := snapshotDisk(t, seed)
				d.SetNoSync(noSync)
				list := entries(1, 120)
				d.CutAfter(cut)
				var done uint64
				for seq := uint64(1); seq <= 3; seq++ {
					if _, err := WriteSnapshot(d, dir, Head{Seq: seq}, fill(list)); err != nil {
						reached = true
						break
					}
					done = seq
				}
				d = d.Crash()
				infos, err := Snapshots(d, dir)
				if err != nil {
					t.Fatal(err)
				}
				newest := uint64(0)
				for _, i := range infos {
					var got []entry
					if _, err := ReadSnapshot(d, i.Name, collect(&got)); err != nil || !slices.Equal(got, list) {
						lost++
					} else {
						newest = max(newest, i.Seq)
					}
				}
				if newest < done {
					lost++
				}
			}
			if !reached {
				return lost, cut
			}
		}
	}
	lost, points := count(false)
	if lost > 0 || points < 20 {
		t.Errorf("%d snapshots lost or torn at %d points", lost, points)
	}
	if lost, _ := count(true); lost == 0 {
		t.Error("a disk that does not sync was not found out")
	}
}

func TestSnapshotLimits(t *testing.T) {
	big := make([]byte, MaxEntry)
	var b bytes.Buffer
	err := EncodeSnapshot(&b, Head{}, func(put Put) error {
		if err := put(0, big, []byte{1}); err == nil {
			t.Error("an entry above the limit was taken")
		}
		return put(0, nil, big)
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []entry
	if _, err := DecodeSnapshot(bytes.NewReader(b.Bytes()), int64(b.Len()), collect(&got)); err != nil || len(got) != 1 || len(got[0].value) != MaxEntry {
		t.Errorf("%d entries, %v", len(got), err)
	}
	fails := errors.New("no")
	err = EncodeSnapshot(failingWriter{fails}, Head{}, func(put Put) error {
		for range 3 {
			put(0, nil, big) // not looking
		}
		return nil
	})
	if err != fails {
		t.Errorf("got %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write(p []byte) (int, error) {
	if len(p) > 1000 {
		return 0, w.err
	}
	return len(p), nil
}

var _ io.Writer = failingWriter{}

func TestSnapshotOnRealDisk(t *testing.T) {
	at := t.TempDir()
	list := entries(3, 200)
	info, err := WriteSnapshot(disk.OS{}, at, Head{Seq: 7}, fill(list))
	if err != nil {
		t.Fatal(err)
	}
	var got []entry
	if _, err := ReadSnapshot(disk.OS{}, info.Name, collect(&got)); err != nil || !slices.Equal(got, list) {
		t.Errorf("%d entries, %v", len(got), err)
	}
}
