package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"

	"zonegate"
	"zonegate/internal/journal"
)

// stateFile is the bbolt file. Its values carry checksums of their own: bbolt
// has none, and a flipped bit in a balance must not pass for money.
type stateFile struct {
	path string
	db   *bbolt.DB
}

func bucket(section byte) []byte { return []byte{section} }

// openStateFile opens or makes the file. volatile files are not synced: they
// are on a RAM disk and gone with it.
func openStateFile(path string, volatile bool) (f *stateFile, err error) {
	defer guard(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:      time.Second,
		NoSync:       volatile,
		FreelistType: bbolt.FreelistMapType,
		// A router's file is small; the default would map far more than it has.
		InitialMmapSize: 1 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	f = &stateFile{path, db}
	if !hasSections(db) {
		err = db.Update(func(tx *bbolt.Tx) error {
			for _, s := range sections {
				if _, err := tx.CreateBucketIfNotExists(bucket(s)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing %s: %w", path, err), db.Close())
	}
	return f, nil
}

// hasSections says whether the file is complete. Opening a complete one writes
// nothing, so its checksum stays true.
func hasSections(db *bbolt.DB) bool {
	have := true
	err := db.View(func(tx *bbolt.Tx) error {
		for _, s := range sections {
			have = have && tx.Bucket(bucket(s)) != nil
		}
		return nil
	})
	return have && err == nil
}

// sumOf returns the length and the CRC-32C of a file.
func sumOf(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("summing the state file: %w", err)
	}
	defer f.Close()
	h := crc32.New(castagnoli)
	n, err := io.Copy(h, f)
	if err != nil {
		return nil, fmt.Errorf("summing the state file: %w", err)
	}
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, uint64(n)), h.Sum32()), nil
}

// writeSum notes the file's checksum beside it. It is not synced: a sum that a
// power cut took only means that the file is built again.
func writeSum(path string) error {
	sum, err := sumOf(path)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".sum.new", sum, 0o600); err != nil {
		return fmt.Errorf("noting the state file's checksum: %w", err)
	}
	return os.Rename(path+".sum.new", path+".sum")
}

// checkSum compares a file with its note before bbolt looks at it: bbolt
// trusts every page and can crash or never end on a flipped bit.
func checkSum(path string) error {
	want, err := os.ReadFile(path + ".sum")
	if err != nil {
		return fmt.Errorf("its checksum is missing: %w", errFormat)
	}
	have, err := sumOf(path)
	if err == nil && !bytes.Equal(have, want) {
		err = fmt.Errorf("its checksum is old or wrong: %w", errFormat)
	}
	return err
}

// guard turns the panics and memory faults that bbolt answers to a damaged
// file with into errors.
func guard(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("reading the state file: %v: %w", r, errFormat)
	}
}

func (f *stateFile) view(fn func(*bbolt.Tx) error) (err error) {
	defer guard(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return f.db.View(fn)
}

func (f *stateFile) update(fn func(*bbolt.Tx) error) (err error) {
	defer guard(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return f.db.Update(fn)
}

// head returns the place in the journal that the file has followed to; zero
// for a new file.
func (f *stateFile) head() (head journal.Head, err error) {
	err = f.view(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucket(sectionMeta)).Get(metaKey)
		if v == nil {
			return nil
		}
		m, err := openMeta(v)
		head = journal.Head{Seq: m.Seq, Hash: m.hash}
		return err
	})
	return head, err
}

// load returns what a gateway keeps in memory: everything but used vouchers,
// ended grants and entries for the hub. An ended grant that still has a session is among it.
func (f *stateFile) load() (c zonegate.Changes, err error) {
	err = f.view(func(tx *bbolt.Tx) error {
		var m meta
		for _, s := range liveSections {
			err := tx.Bucket(bucket(s)).ForEach(func(_, v []byte) error { return add(&c, &m, s, v) })
			if err != nil {
				return fmt.Errorf("section %d: %w", s, err)
			}
		}
		ended := tx.Bucket(bucket(sectionEndedGrant))
		for _, x := range c.Sessions {
			if v := ended.Get(grantKey(x.Grant)); v != nil {
				if err := add(&c, &m, sectionEndedGrant, v); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return c, err
}

// save writes changes in one transaction.
func (f *stateFile) save(c zonegate.Changes, hash [16]byte) error {
	list := entries(c)
	err := f.update(func(tx *bbolt.Tx) error {
		for _, e := range list {
			if e.not != 0 {
				if err := tx.Bucket(bucket(e.not)).Delete(e.key); err != nil {
					return err
				}
			}
			if e.section != 0 {
				if err := tx.Bucket(bucket(e.section)).Put(e.key, e.value); err != nil {
					return err
				}
			}
		}
		// A cursor over what it deletes does not end.
		held := tx.Bucket(bucket(sectionEntry))
		var gone [][]byte
		at := held.Cursor()
		k, _ := at.First()
		for ; k != nil && goneEntry(&c.Meta, k); k, _ = at.Next() {
			gone = append(gone, bytes.Clone(k))
		}
		if k != nil {
			for k, _ = at.Last(); goneEntry(&c.Meta, k); k, _ = at.Prev() {
				gone = append(gone, bytes.Clone(k))
			}
		}
		for _, k := range gone {
			if err := held.Delete(k); err != nil {
				return err
			}
		}
		return tx.Bucket(bucket(sectionMeta)).Put(metaKey, sealMeta(meta{c.Meta, hash}))
	})
	if err != nil {
		return err
	}
	return writeSum(f.path)
}

func (f *stateFile) voucher(k zonegate.VoucherKey) (v zonegate.Voucher, ok bool, err error) {
	err = f.view(func(tx *bbolt.Tx) error {
		for _, s := range []byte{sectionUnused, sectionUsed} {
			if raw := tx.Bucket(bucket(s)).Get(k[:]); raw != nil {
				ok = true
				var err error
				v, err = openVoucher(raw)
				return err
			}
		}
		return nil
	})
	return v, ok && err == nil, err
}

func (f *stateFile) grant(id zonegate.GrantID) (g zonegate.Grant, ok bool, err error) {
	err = f.view(func(tx *bbolt.Tx) error {
		for _, s := range []byte{sectionLiveGrant, sectionEndedGrant} {
			if raw := tx.Bucket(bucket(s)).Get(grantKey(id)); raw != nil {
				ok = true
				var err error
				g, err = openGrant(raw)
				return err
			}
		}
		return nil
	})
	return g, ok && err == nil, err
}

// entries returns what the hub has not acknowledged, after a number.
func (f *stateFile) entries(after uint64, most int) (out []zonegate.Entry, err error) {
	err = f.view(func(tx *bbolt.Tx) error {
		held := tx.Bucket(bucket(sectionEntry)).Cursor()
		for k, v := held.Seek(entryKey(after + 1)); k != nil && len(out) < most; k, v = held.Next() {
			e, err := openEntry(v)
			if err != nil {
				return err
			}
			out = append(out, e)
		}
		return nil
	})
	return out, err
}

// dump calls fn for every entry in the order of the sections.
func (f *stateFile) dump(fn func(section byte, key, value []byte) error) error {
	return f.view(func(tx *bbolt.Tx) error {
		for _, s := range sections {
			err := tx.Bucket(bucket(s)).ForEach(func(k, v []byte) error { return fn(s, k, v) })
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// prune forgets ended grants that were issued before a day, with their
// vouchers. It returns how many.
func (f *stateFile) prune(before time.Time) (n int, err error) {
	err = f.update(func(tx *bbolt.Tx) error {
		grants, used := tx.Bucket(bucket(sectionEndedGrant)), tx.Bucket(bucket(sectionUsed))
		old := map[zonegate.GrantID]bool{}
		var keys [][]byte
		err := grants.ForEach(func(k, v []byte) error {
			g, err := openGrant(v)
			if err == nil && !g.Issued.IsZero() && g.Issued.Before(before) {
				old[g.ID] = true
				keys = append(keys, bytes.Clone(k))
			}
			return err
		})
		if err != nil {
			return err
		}
		n = len(keys)
		for _, k := range keys {
			if err := grants.Delete(k); err != nil {
				return err
			}
		}
		keys = nil
		err = used.ForEach(func(k, v []byte) error {
			x, err := openVoucher(v)
			if err == nil && old[x.Grant] {
				keys = append(keys, bytes.Clone(k))
			}
			return err
		})
		for _, k := range keys {
			if err == nil {
				err = used.Delete(k)
			}
		}
		return err
	})
	if err == nil {
		err = writeSum(f.path)
	}
	return n, err
}

// buildStateFile makes a new file from entries, beside the old one, and puts
// it in its place.
func buildStateFile(path string, volatile bool, fill func(put func(section byte, key, value []byte) error) error) error {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clearing the way for a new state file: %w", err)
	}
	f, err := openStateFile(tmp, true)
	if err != nil {
		return err
	}
	err = f.update(func(tx *bbolt.Tx) error {
		return fill(func(section byte, key, value []byte) error {
			b := tx.Bucket(bucket(section))
			if b == nil {
				return fmt.Errorf("section %d: %w", section, errFormat)
			}
			return b.Put(bytes.Clone(key), bytes.Clone(value))
		})
	})
	if err == nil && !volatile {
		err = f.db.Sync()
	}
	if err = errors.Join(err, f.db.Close()); err != nil {
		return fmt.Errorf("building the state file: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("putting the new state file in place: %w", err)
	}
	if err := writeSum(path); err != nil || volatile {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("opening the state file's directory: %w", err)
	}
	defer dir.Close()
	return dir.Sync()
}
