package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"zonegate"
	"zonegate/internal/disk"
	"zonegate/internal/journal"
)

const (
	stateName = "state.db"
	// snapshotAbove is the size of the journal, in bytes, that makes a
	// snapshot worth its writes.
	snapshotAbove = 1 << 20
	// ramHistory is how long ended grants are kept where the state is in RAM.
	ramHistory = 31 * 24 * time.Hour
)

// Options of Open.
type Options struct {
	// Dir is the data directory: journal, snapshots and, where it can be
	// mapped, the state file.
	Dir string
	// FS is what Dir is on. Nil means the operating system's.
	FS disk.FS
	// StateDir is where the state file goes; empty lets the probe choose
	// between Dir and RAMDir.
	StateDir string
	// RAMDir is a directory on a RAM disk. Default /var/run/zonegate.
	RAMDir string
	// SnapshotAbove is the journal size in bytes that makes a snapshot.
	// Default 1 MiB.
	SnapshotAbove int64
	// Journal options; Known is set by Open.
	Journal journal.Options
	Logger  *slog.Logger
}

// A Store is the durable side of a Gate. Append and Reopen are for the Gate's
// goroutine; the rest may be called from anywhere.
type Store struct {
	opts     Options
	fs       disk.FS
	log      *slog.Logger
	journal  *journal.Journal
	volatile bool
	findings []string

	// mu guards state, which a rebuild replaces, and heads.
	mu    sync.RWMutex
	state *stateFile
	// heads are the places in the chain that a save may speak of.
	heads []journal.Head
	first *zonegate.State

	// saving keeps saves, snapshots and backups apart.
	saving sync.Mutex
	// snapshotWanted forces a snapshot at the next save.
	snapshotWanted bool
}

// Open finds out what the data directory can do, repairs what a power cut or a
// bad block left, and replays the journal's tail. Another process that has the
// directory open is disk.ErrLocked.
func Open(o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	if o.RAMDir == "" {
		o.RAMDir = "/var/run/zonegate"
	}
	if o.SnapshotAbove == 0 {
		o.SnapshotAbove = snapshotAbove
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{opts: o, fs: o.FS, log: o.Logger}
	if err := s.fs.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	if err := s.choosePlace(); err != nil {
		return nil, err
	}
	if real, ok := s.fs.(disk.OS); ok {
		if err := finishRestore(real, o.Dir, s.statePath()); err != nil {
			return nil, err
		}
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) found(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.findings = append(s.findings, text)
	s.log.Info("storage", "finding", text)
}

// Findings says in words what Open found out.
func (s *Store) Findings() []string { return append([]string(nil), s.findings...) }

// choosePlace decides where the state file lives.
func (s *Store) choosePlace() error {
	if s.opts.StateDir != "" {
		return os.MkdirAll(s.opts.StateDir, 0o700)
	}
	p, err := disk.Probe(s.opts.Dir)
	if err != nil {
		return err
	}
	for _, note := range p.Notes {
		s.found("%s", note)
	}
	s.opts.StateDir = s.opts.Dir
	if p.Maps && !p.ReadOnly && !p.Full {
		return nil
	}
	s.volatile = true
	s.opts.StateDir = s.opts.RAMDir
	s.found("the state file is kept in RAM (%s); journal and snapshots stay in %s", s.opts.RAMDir, s.opts.Dir)
	if err := os.MkdirAll(s.opts.RAMDir, 0o700); err != nil {
		return fmt.Errorf("making a place for the state file in RAM: %w", err)
	}
	return nil
}

func (s *Store) statePath() string { return filepath.Join(s.opts.StateDir, stateName) }

func (s *Store) open() error {
	snap, snapHead, err := s.newestSnapshot()
	if err != nil {
		return err
	}
	// The journal's lock comes first: whoever has it owns the state file too.
	jo := s.opts.Journal
	jo.Known, jo.ServeFailed = snapHead, true
	s.journal, err = journal.Open(s.fs, s.opts.Dir, jo)
	var damage *journal.DamageError
	if errors.As(err, &damage) {
		s.found("DAMAGE: %v", damage)
		jo.AcceptDamage = true
		s.journal, err = journal.Open(s.fs, s.opts.Dir, jo)
	}
	if err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	if t := s.journal.Tail(); t.Altered {
		s.found("DAMAGE: the last records, from %d, are all there but altered, so they were cut off: check the storage, and what was sold last", t.Seq)
	} else if t.Bytes > 0 {
		s.found("a group of records that was being written when the power went was cut off (%d bytes from record %d)", t.Bytes, t.Seq)
	}
	st, err := s.loadState(snap, snapHead)
	if err != nil {
		return err
	}
	s.first = st
	return nil
}

// newestSnapshot returns the newest snapshot that reads well; an empty name
// when there is none.
func (s *Store) newestSnapshot() (string, journal.Head, error) {
	list, err := journal.Snapshots(s.fs, s.opts.Dir)
	if err != nil {
		return "", journal.Head{}, fmt.Errorf("listing snapshots: %w", err)
	}
	for _, info := range list {
		head, err := journal.ReadSnapshot(s.fs, info.Name, func(byte, []byte, []byte) error { return nil })
		if err == nil {
			return info.Name, head, nil
		}
		s.found("DAMAGE: snapshot %s is not used: %v", path.Base(info.Name), err)
	}
	return "", journal.Head{}, nil
}

// loadState opens the state file, or builds it again, and replays what it has
// not followed.
func (s *Store) loadState(snap string, snapHead journal.Head) (*zonegate.State, error) {
	st, err := s.tryState(snapHead)
	if err == nil {
		return st, nil
	}
	if _, statErr := os.Stat(s.statePath()); statErr == nil {
		s.found("the state file is built again from snapshot and journal: %v", err)
	}
	s.closeState()
	err = buildStateFile(s.statePath(), s.volatile, func(put func(byte, []byte, []byte) error) error {
		if snap == "" {
			return nil
		}
		_, err := journal.ReadSnapshot(s.fs, snap, put)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.tryState(snapHead)
}

// errNoState wraps errFormat, so that the next save builds the file again.
var errNoState = fmt.Errorf("there is no state file: %w", errFormat)

var errBehind = errors.New("it is older than the newest snapshot")

// tryState opens the state file and replays the journal's tail over it.
func (s *Store) tryState(snapHead journal.Head) (*zonegate.State, error) {
	if _, err := os.Stat(s.statePath()); err != nil {
		return nil, err
	}
	if err := checkSum(s.statePath()); err != nil {
		return nil, err
	}
	f, err := openStateFile(s.statePath(), s.volatile)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.state = f
	s.mu.Unlock()
	head, err := f.head()
	if err != nil {
		return nil, err
	}
	if head.Seq < snapHead.Seq || head.Seq > s.journal.Head().Seq {
		return nil, fmt.Errorf("the state file is at record %d: %w", head.Seq, errBehind)
	}
	from, err := f.load()
	if err != nil {
		return nil, err
	}
	st := zonegate.NewState(s, from)
	hash := head.Hash
	salvage := false
	err = replay(s.journal, head.Seq+1, func(seq uint64, payload []byte) error {
		r, err := decodeRecord(seq, payload)
		if err != nil {
			return err
		}
		hash = hash.Next(seq, payload)
		if salvage {
			return st.Salvage(r)
		}
		return st.Apply(r)
	}, func(d *journal.DamageError) {
		s.found("DAMAGE: records from %d are lost; the rest was used as far as it makes sense", d.Seq)
		salvage, s.snapshotWanted = true, true
	})
	if err != nil {
		return nil, fmt.Errorf("replaying the journal: %w", err)
	}
	if salvage {
		// After damage the chain cannot be followed; the journal knows its end.
		hash = s.journal.Head().Hash
	}
	s.mu.Lock()
	s.heads = append(s.heads, journal.Head{Seq: st.Seq(), Hash: hash})
	s.mu.Unlock()
	return st, nil
}

// replay reads on after damage where it can.
func replay(j *journal.Journal, from uint64, fn func(uint64, []byte) error, damaged func(*journal.DamageError)) error {
	for {
		err := j.Replay(from, fn)
		var d *journal.DamageError
		if !errors.As(err, &d) {
			return err
		}
		damaged(d)
		if d.Next == 0 {
			return nil
		}
		from = d.Next
	}
}

// State returns the state that the journal led to at Open. It belongs to the
// Gate from then on.
func (s *Store) State() *zonegate.State { return s.first }

// Append implements zonegate.Journal.
func (s *Store) Append(records []zonegate.Record) error {
	payloads := make([][]byte, len(records))
	for i, r := range records {
		var err error
		if payloads[i], err = encodeRecord(r); err != nil {
			return err
		}
	}
	last, err := s.journal.Append(payloads)
	if err != nil {
		return err
	}
	if want := records[len(records)-1].Seq; last != want {
		return fmt.Errorf("the journal counts %d where the gate counts %d", last, want)
	}
	s.mu.Lock()
	s.heads = append(s.heads, s.journal.Head())
	s.mu.Unlock()
	return nil
}

// Reopen implements zonegate.Journal.
func (s *Store) Reopen() (uint64, error) {
	if err := s.journal.Reopen(); err != nil {
		return 0, err
	}
	return s.journal.Head().Seq, nil
}

// Voucher implements zonegate.Archive.
func (s *Store) Voucher(k zonegate.VoucherKey) (zonegate.Voucher, bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.state == nil {
		return zonegate.Voucher{}, false, errNoState
	}
	return s.state.voucher(k)
}

// Grant implements zonegate.Archive.
func (s *Store) Grant(id zonegate.GrantID) (zonegate.Grant, bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.state == nil {
		return zonegate.Grant{}, false, errNoState
	}
	return s.state.grant(id)
}

// Entries implements zonegate.Archive.
func (s *Store) Entries(after uint64, most int) ([]zonegate.Entry, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.state == nil {
		return nil, errNoState
	}
	return s.state.entries(after, most)
}

// Save implements zonegate.Archive. It also makes a snapshot when the journal
// has grown enough.
func (s *Store) Save(c zonegate.Changes) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	head, ok := s.headAt(c.Meta.Seq)
	if !ok {
		return fmt.Errorf("record %d is not the end of a batch", c.Meta.Seq)
	}
	err := errNoState
	if s.state != nil {
		err = s.state.save(c, head.Hash)
	}
	if errors.Is(err, errFormat) {
		// The file is damaged: what it lost is in snapshot and journal.
		if err = s.rebuild(); err == nil {
			err = s.state.save(c, head.Hash)
		}
	}
	if err != nil {
		return fmt.Errorf("saving the state: %w", err)
	}
	s.forgetHeads(c.Meta.Seq)
	if s.journal.Size() < s.opts.SnapshotAbove && !s.snapshotWanted {
		return nil
	}
	if err := s.snapshot(head); err != nil {
		// The journal keeps growing, nothing is lost: tried again next time.
		s.log.Error("a snapshot could not be made", "error", err)
	}
	return nil
}

func (s *Store) headAt(seq uint64) (journal.Head, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, h := range s.heads {
		if h.Seq == seq {
			return h, true
		}
	}
	return journal.Head{}, seq == 0
}

func (s *Store) forgetHeads(through uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := 0
	for i < len(s.heads) && s.heads[i].Seq < through {
		i++
	}
	s.heads = append([]journal.Head(nil), s.heads[i:]...)
}

// snapshot writes the state file's content, which is at head, as a snapshot,
// and lets the journal before it go.
func (s *Store) snapshot(head journal.Head) error {
	if s.volatile {
		if _, err := s.state.prune(time.Now().Add(-ramHistory)); err != nil {
			return err
		}
	}
	_, err := journal.WriteSnapshot(s.fs, s.opts.Dir, head, func(put journal.Put) error {
		return s.state.dump(put)
	})
	if err != nil {
		return err
	}
	s.snapshotWanted = false
	if err := s.journal.Rotate(); err != nil {
		return err
	}
	return s.journal.DropThrough(head.Seq)
}

// rebuild replaces a damaged state file while the gate runs.
func (s *Store) rebuild() error {
	s.found("the state file is damaged and is built again from snapshot and journal")
	snap, snapHead, err := s.newestSnapshot()
	if err != nil {
		return err
	}
	s.closeState()
	if err := os.Rename(s.statePath(), s.statePath()+".damaged"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("setting the damaged state file aside: %w", err)
	}
	st, err := s.loadState(snap, snapHead)
	if err != nil {
		return err
	}
	c := st.Changed()
	head, ok := s.headAt(c.Meta.Seq)
	if !ok {
		return fmt.Errorf("record %d has no place in the chain", c.Meta.Seq)
	}
	return s.state.save(c, head.Hash)
}

func (s *Store) closeState() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != nil {
		// Closing a damaged file may panic; there is nothing to save in it.
		func() {
			var err error
			defer guard(&err)
			s.state.db.Close()
		}()
		s.state = nil
	}
}

// Close releases the data directory. Everything acknowledged is durable
// already.
func (s *Store) Close() error {
	s.closeState()
	if s.journal != nil {
		return s.journal.Close()
	}
	return nil
}
