package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"zonegate/internal/disk/faultdisk"
)

// model runs a journal on a disk that fails and loses power, and knows what
// must be there.
type model struct {
	rng   *rand.Rand
	d     *faultdisk.Disk
	j     *Journal
	o     Options
	ids   uint64
	heads []Head   // of every acknowledged record; heads[0] is the start
	recs  [][]byte // acknowledged; recs[0] is not used
	// maybe is a group that was refused or unanswered when the process
	// died: the next Open finds it whole or not at all.
	maybe   [][]byte
	covered uint64 // the snapshot
	cuts    int
	refused int
	reopens int
	kills   int
}

func newModel(seed uint64) *model {
	m := &model{
		rng:   rand.New(rand.NewPCG(seed, 1)),
		d:     faultdisk.New(seed),
		heads: make([]Head, 1),
		recs:  make([][]byte, 1),
	}
	m.o.SegmentSize = minSegmentSize << m.rng.IntN(3)
	m.o.Prealloc = []Prealloc{PreallocAuto, PreallocOff}[m.rng.IntN(2)]
	m.o.Reserve = []int{-1, 2048}[m.rng.IntN(2)]
	return m
}

// payload is unique, and sometimes full of zeros, as a lost sector is.
func (m *model) payload() []byte {
	m.ids++
	p := binary.BigEndian.AppendUint64(nil, m.ids)
	switch m.rng.IntN(8) {
	case 0:
		return p
	case 1:
		return append(p, make([]byte, m.rng.IntN(3000))...)
	}
	for range m.rng.IntN([]int{40, 400, 2500}[m.rng.IntN(3)]) {
		p = append(p, byte(m.rng.Uint32()))
	}
	return p
}

func (m *model) head() Head { return m.heads[len(m.heads)-1] }

func (m *model) ack(group [][]byte) {
	for _, p := range group {
		h := m.head()
		m.heads = append(m.heads, Head{h.Seq + 1, h.Hash.Next(h.Seq+1, p)})
		m.recs = append(m.recs, p)
	}
	m.maybe = nil
}

// open opens the journal after whatever happened and compares.
func (m *model) open() error {
	m.o.Known = m.heads[m.covered]
	if n := len(m.heads); m.rng.IntN(2) == 0 && uint64(n) > m.covered {
		m.o.Known = m.heads[int(m.covered)+m.rng.IntN(n-int(m.covered))]
	}
	j, err := Open(m.d, dir, m.o)
	if err != nil {
		return err
	}
	m.j = j
	if n := len(m.maybe); n > 0 && j.Head().Seq == m.head().Seq+uint64(n) {
		m.ack(m.maybe)
	}
	m.maybe = nil
	if j.Tail().Altered {
		return fmt.Errorf("a power cut is taken for an altered record: %+v", j.Tail())
	}
	return m.check()
}

// check compares everything that can be asked with the model.
func (m *model) check() error {
	if got := m.j.Head(); got != m.head() {
		return fmt.Errorf("head is %d %v, want %d %v", got.Seq, got.Hash, m.head().Seq, m.head().Hash)
	}
	first := m.j.First()
	if first > m.covered+1 {
		return fmt.Errorf("record %d is gone, dropped was only up to %d", first-1, m.covered)
	}
	from := first + m.rng.Uint64N(m.head().Seq+2-first)
	next := from
	err := m.j.Replay(from, func(seq uint64, p []byte) error {
		if seq != next {
			return fmt.Errorf("record %d came instead of %d", seq, next)
		}
		if !bytes.Equal(p, m.recs[seq]) {
			return fmt.Errorf("record %d has changed", seq)
		}
		next++
		return nil
	})
	if err != nil {
		return fmt.Errorf("replaying: %w", err)
	}
	if next != m.head().Seq+1 {
		return fmt.Errorf("replay ended before %d, want %d", next, m.head().Seq+1)
	}
	return nil
}

// verify asks Verify, which knows of no unacknowledged records.
func (m *model) verify() error {
	r, err := Verify(m.d, dir)
	if err != nil {
		return err
	}
	if !r.OK() {
		return fmt.Errorf("verify: %w", r.Damage[0])
	}
	if r.Head != m.head() || r.Tail.Bytes != 0 {
		return fmt.Errorf("verify sees head %+v, want %+v; tail %+v", r.Head, m.head(), r.Tail)
	}
	if r.Bytes != m.j.Size() {
		return fmt.Errorf("verify counts %d bytes, the journal %d", r.Bytes, m.j.Size())
	}
	return nil
}

// died tells errors that end the process from errors of the journal.
func died(err error) bool { return errors.Is(err, faultdisk.ErrPowerOff) }

// step does one thing at random. An error is a violated promise.
func (m *model) step() error {
	switch m.rng.IntN(20) {
	case 0: // the power goes
		return m.crash()
	case 1: // it goes during one of the next operations
		m.d.CutAfter(m.rng.IntN(12))
		return nil
	case 2:
		m.kills++
		m.d.Kill()
		return m.open()
	case 3:
		if err := m.j.Close(); err != nil {
			return m.gone(err)
		}
		if err := m.open(); err != nil {
			return m.gone(err)
		}
		return nil
	case 4:
		return m.broken(m.j.Rotate())
	case 5:
		seq := m.covered + m.rng.Uint64N(m.head().Seq-m.covered+1)
		m.covered = seq
		if err := m.j.DropThrough(seq); err != nil {
			return m.gone(err)
		}
		return m.gone(m.check())
	case 6, 7:
		m.d.Fail(faultdisk.Fault{
			Op:    []faultdisk.Op{faultdisk.OpSync, faultdisk.OpWrite, faultdisk.OpSyncDir, faultdisk.OpRename}[m.rng.IntN(4)],
			Times: 1 + m.rng.IntN(2),
			Torn:  m.rng.IntN(2) == 0,
		})
	case 8:
		m.d.SetFree(m.rng.Int64N(20000))
	case 9:
		m.d.Heal()
		return m.gone(m.verify())
	}
	group := make([][]byte, 1+m.rng.IntN(4))
	for i := range group {
		group[i] = m.payload()
	}
	last, err := m.j.Append(group)
	if err != nil {
		m.maybe = group
		return m.broken(err)
	}
	m.ack(group)
	if last != m.head().Seq {
		return fmt.Errorf("append answered %d, want %d", last, m.head().Seq)
	}
	return nil
}

// broken deals with an error of the journal as the store does: reopen, or
// give up as a process that dies.
func (m *model) broken(err error) error {
	if err == nil {
		return nil
	}
	if died(err) {
		return m.crash()
	}
	if !errors.Is(err, ErrFailed) {
		return err
	}
	m.refused++
	for range 1 + m.rng.IntN(4) {
		if _, err := m.j.Append([][]byte{m.payload()}); !errors.Is(err, ErrFailed) {
			return fmt.Errorf("a failed journal answers %w", err)
		}
		err := m.j.Reopen()
		if err == nil {
			m.reopens++
			m.maybe = nil // from here on it must never come back
			return m.gone(m.check())
		}
		if died(err) {
			return m.crash()
		}
	}
	m.d.Heal()
	if m.rng.IntN(2) == 0 {
		return m.crash()
	}
	m.kills++
	m.d.Kill()
	return m.gone(m.open())
}

// gone turns the end of power into a crash and passes other errors on.
func (m *model) gone(err error) error {
	if died(err) {
		return m.crash()
	}
	if errors.Is(err, ErrFailed) {
		return m.broken(err)
	}
	return err
}

// crash cuts the power until the journal opens: it may go again meanwhile.
func (m *model) crash() error {
	for {
		m.cuts++
		m.d = m.d.Crash()
		if m.rng.IntN(3) == 0 {
			m.d.CutAfter(m.rng.IntN(8))
		}
		err := m.open()
		if !died(err) {
			return err
		}
	}
}

// run plays steps and ends with a power cut.
func (m *model) run(steps int) (err error) {
	if err := m.open(); err != nil {
		return err
	}
	for i := range steps {
		if err := m.gone(m.step()); err != nil {
			// Faults that were armed may strike an Open; that is no
			// broken promise, as long as it works without them.
			m.d.Heal()
			m.d.Kill()
			if again := m.gone(m.open()); again != nil {
				return fmt.Errorf("step %d: %w (after %w)", i, again, err)
			}
			if !isFault(err) {
				return fmt.Errorf("step %d: %w", i, err)
			}
		}
	}
	return m.crash()
}

// isFault says that err comes from the disk and promises nothing.
func isFault(err error) bool {
	var damage *DamageError
	return !errors.As(err, &damage) && (errors.Is(err, eio) || errors.Is(err, enospc))
}

func TestModel(t *testing.T) {
	var total model
	for seed := range uint64(150) {
		m := newModel(seed)
		if err := m.run(80); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		total.cuts += m.cuts
		total.refused += m.refused
		total.reopens += m.reopens
		total.kills += m.kills
		total.ids += m.head().Seq
	}
	t.Logf("%d records, %d power cuts, %d kills, %d failures, %d reopened", total.ids, total.cuts, total.kills, total.refused, total.reopens)
	if total.cuts < 1000 || total.kills < 400 || total.refused < 500 || total.reopens < 200 {
		t.Error("the model tests too little")
	}
}

// The same check must find out a disk that does not sync.
func TestModelFindsMissingSync(t *testing.T) {
	found := 0
	for seed := range uint64(40) {
		m := newModel(seed)
		m.d.SetNoSync(true)
		if err := m.run(80); err != nil {
			found++
		}
	}
	if found < 30 {
		t.Errorf("lost records were noticed in %d of 40 runs without sync", found)
	}
}

// The power goes at every single change of a fixed course of events, and
// comes back in several ways.
func TestPowerCutAnywhere(t *testing.T) {
	group := func(n int, size int) [][]byte {
		g := make([][]byte, n)
		for i := range g {
			g[i] = bytes.Repeat([]byte{byte(n), byte(i), byte(size)}, size)
		}
		return g
	}
	course := func(m *model) error {
		add := func(g [][]byte) error {
			if _, err := m.j.Append(g); err != nil {
				m.maybe = g
				return err
			}
			m.ack(g)
			return nil
		}
		if err := m.open(); err != nil {
			return err
		}
		for i := range 6 {
			if err := add(group(1+i%3, 300*i)); err != nil {
				return err
			}
		}
		m.d.Fail(faultdisk.Fault{Op: faultdisk.OpSync, Torn: true})
		refused := group(3, 200)
		m.maybe = refused
		if _, err := m.j.Append(refused); !errors.Is(err, ErrFailed) || died(err) {
			return err
		}
		if err := m.j.Reopen(); err != nil {
			return err
		}
		m.maybe = nil
		if err := add(group(2, 200)); err != nil {
			return err
		}
		if err := m.j.Rotate(); err != nil {
			return err
		}
		m.covered = 5
		if err := m.j.DropThrough(5); err != nil {
			return err
		}
		return add(group(1, 700))
	}
	for _, prealloc := range []Prealloc{PreallocOn, PreallocOff} {
		points := 0
		for cut := 0; ; cut++ {
			reached := false
			for seed := range uint64(12) {
				m := newModel(seed)
				m.o = Options{SegmentSize: minSegmentSize, Prealloc: prealloc, Reserve: 1024}
				m.d.CutAfter(cut)
				err := course(m)
				if err != nil && !died(err) {
					t.Fatalf("cut %d, seed %d: %v", cut, seed, err)
				}
				reached = reached || err != nil
				if err := m.crash(); err != nil {
					t.Fatalf("cut %d, seed %d, afterwards: %v", cut, seed, err)
				}
			}
			if !reached {
				points = cut
				break
			}
		}
		t.Logf("%d points", points)
		if points < 40 {
			t.Errorf("the course has only %d changes", points)
		}
	}
}
