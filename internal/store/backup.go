package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"zonegate"
	"zonegate/internal/disk"
	"zonegate/internal/journal"
)

// Backup writes the whole state, up to the last acknowledged record, in the
// format of a snapshot. The gate may run on meanwhile.
func (s *Store) Backup(w io.Writer) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	whole, err := s.whole(s.journal)
	if err != nil {
		return err
	}
	return journal.EncodeSnapshot(w, whole.head, whole.dump)
}

// An image is the whole state in its stored form at one place of the chain.
type image struct {
	head    journal.Head
	entries map[byte]map[string][]byte
}

func newImage() *image {
	im := &image{entries: map[byte]map[string][]byte{}}
	for _, s := range sections {
		im.entries[s] = map[string][]byte{}
	}
	return im
}

func (im *image) put(section byte, key, value []byte) error {
	if im.entries[section] == nil {
		return fmt.Errorf("section %d: %w", section, errFormat)
	}
	im.entries[section][string(key)] = append([]byte(nil), value...)
	return nil
}

// overlay lays changes over the image.
func (im *image) overlay(c zonegate.Changes, head journal.Head) {
	for _, e := range entries(c) {
		if e.not != 0 {
			delete(im.entries[e.not], string(e.key))
		}
		if e.section != 0 {
			im.entries[e.section][string(e.key)] = e.value
		}
	}
	for k := range im.entries[sectionEntry] {
		if goneEntry(&c.Meta, []byte(k)) {
			delete(im.entries[sectionEntry], k)
		}
	}
	im.entries[sectionMeta][string(metaKey)] = sealMeta(meta{c.Meta, head.Hash})
	im.head = head
}

func (im *image) dump(put journal.Put) error {
	for _, s := range sections {
		for _, k := range slices.Sorted(maps.Keys(im.entries[s])) {
			if err := put(s, []byte(k), im.entries[s][k]); err != nil {
				return err
			}
		}
	}
	return nil
}

// Voucher, Grant and Entries make an image an archive, so that a replay over it finds
// what is no longer live.
func (im *image) Voucher(k zonegate.VoucherKey) (zonegate.Voucher, bool, error) {
	for _, s := range []byte{sectionUnused, sectionUsed} {
		if raw, ok := im.entries[s][string(k[:])]; ok {
			v, err := openVoucher(raw)
			return v, err == nil, err
		}
	}
	return zonegate.Voucher{}, false, nil
}

func (im *image) Grant(id zonegate.GrantID) (zonegate.Grant, bool, error) {
	for _, s := range []byte{sectionLiveGrant, sectionEndedGrant} {
		if raw, ok := im.entries[s][string(grantKey(id))]; ok {
			g, err := openGrant(raw)
			return g, err == nil, err
		}
	}
	return zonegate.Grant{}, false, nil
}

func (im *image) Entries(after uint64, most int) ([]zonegate.Entry, error) {
	var out []zonegate.Entry
	for _, k := range slices.Sorted(maps.Keys(im.entries[sectionEntry])) {
		if k <= string(entryKey(after)) || len(out) >= most {
			continue
		}
		e, err := openEntry(im.entries[sectionEntry][k])
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// Save is never called: an image is only replayed over.
func (im *image) Save(zonegate.Changes) error { return errors.ErrUnsupported }

// live returns what a state over this image starts from.
func (im *image) live() (zonegate.Changes, error) {
	var c zonegate.Changes
	var m meta
	for _, s := range liveSections {
		for _, v := range im.entries[s] {
			if err := add(&c, &m, s, v); err != nil {
				return c, fmt.Errorf("section %d: %w", s, err)
			}
		}
	}
	for _, x := range c.Sessions {
		if v, ok := im.entries[sectionEndedGrant][string(grantKey(x.Grant))]; ok {
			if err := add(&c, &m, sectionEndedGrant, v); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

// whole returns the state file's content with the journal's tail applied.
func (s *Store) whole(j *journal.Journal) (*image, error) {
	im := newImage()
	if s.state == nil {
		return nil, errNoState
	}
	if err := s.state.dump(im.put); err != nil {
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	head, err := s.state.head()
	if err != nil {
		return nil, err
	}
	im.head = head
	return im, im.follow(0, j.Replay)
}

// follow replays what comes after the image, up to a record (zero: all).
func (im *image) follow(through uint64, replay func(uint64, func(uint64, []byte) error) error) error {
	from, err := im.live()
	if err != nil {
		return err
	}
	st := zonegate.NewState(im, from)
	head := im.head
	stop := errors.New("stop")
	err = replay(head.Seq+1, func(seq uint64, payload []byte) error {
		if through != 0 && seq > through {
			return stop
		}
		r, err := decodeRecord(seq, payload)
		if err != nil {
			return err
		}
		if err := st.Apply(r); err != nil {
			return err
		}
		head = journal.Head{Seq: seq, Hash: head.Hash.Next(seq, payload)}
		return nil
	})
	if err != nil && !errors.Is(err, stop) {
		return fmt.Errorf("replaying the journal: %w", err)
	}
	if head != im.head {
		im.overlay(st.Changed(), head)
	}
	return nil
}

// A checked backup waits in restoreDir until it has taken its place.
const (
	restoreDir = "restore"
	// lockName is the journal's own lock: whoever has it owns the directory.
	lockName = "journal.lock"
)

// Restore replaces the content of a data directory by a backup. The backup is
// checked first: a damaged one is refused and nothing is changed. What was
// there before stays beside it with the ending .old. A directory that is in
// use is disk.ErrLocked. stateDir is as in Options; empty means dir.
func Restore(dir, stateDir string, backup io.ReaderAt, size int64) error {
	fsys := disk.OS{}
	c, m := zonegate.Changes{}, meta{}
	head, err := journal.DecodeSnapshot(backup, size, func(section byte, _, value []byte) error {
		return add(&c, &m, section, value)
	})
	if err != nil {
		return fmt.Errorf("the backup is not used and nothing was changed: %w", err)
	}
	if m.Seq != head.Seq || m.hash != head.Hash {
		return fmt.Errorf("the backup does not fit its own journal and nothing was changed: %w", errFormat)
	}
	for _, d := range []string{dir, filepath.Join(dir, restoreDir)} {
		if err := fsys.MkdirAll(d); err != nil {
			return fmt.Errorf("making the data directory: %w", err)
		}
	}
	_, err = journal.WriteSnapshot(fsys, filepath.Join(dir, restoreDir), head, func(put journal.Put) error {
		_, err := journal.DecodeSnapshot(backup, size, put)
		return err
	})
	if err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	if stateDir == "" {
		stateDir = dir
	}
	return finishRestore(fsys, dir, filepath.Join(stateDir, stateName))
}

// finishRestore puts a restored snapshot in the place of what was there. The
// snapshot moves last, so it can be interrupted anywhere and called again.
func finishRestore(fsys disk.OS, dir, state string) error {
	pending := filepath.Join(dir, restoreDir)
	list, err := journal.Snapshots(fsys, pending)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(list) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for a restored backup: %w", err)
	}
	lock, err := fsys.Lock(filepath.Join(dir, lockName))
	if err != nil {
		return fmt.Errorf("taking the data directory: %w", err)
	}
	defer lock.Close()
	files, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name, ".seg") || strings.HasSuffix(f.Name, ".snap") {
			if err := fsys.Rename(filepath.Join(dir, f.Name), filepath.Join(dir, f.Name+".old")); err != nil {
				return fmt.Errorf("setting the old data aside: %w", err)
			}
		}
	}
	if err := os.Rename(state, state+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("setting the old state aside: %w", err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	name := list[0].Name
	if err := os.Rename(name, filepath.Join(dir, filepath.Base(name))); err != nil {
		return fmt.Errorf("putting the backup in place: %w", err)
	}
	if err := errors.Join(fsys.SyncDir(pending), fsys.SyncDir(dir)); err != nil {
		return err
	}
	return os.RemoveAll(pending)
}
