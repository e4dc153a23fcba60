package store

import (
	"bytes"
	"fmt"

	"zonegate/internal/disk"
	"zonegate/internal/journal"
)

// A Report is what Verify found. No problems means that the chain is whole and
// that replaying it gives the state.
type Report struct {
	Records  uint64   `json:"records"`
	Segments int      `json:"segments"`
	First    uint64   `json:"first"`
	Last     uint64   `json:"last"`
	Head     string   `json:"head"`
	Snapshot uint64   `json:"snapshot"`
	State    uint64   `json:"state"`
	Entities int      `json:"entities"`
	Problems []string `json:"problems"`
}

// Verify checks the directory of a gateway that is not running: first the
// chain, without changing anything, then the replay.
func Verify(o Options) (Report, error) {
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	jr, err := journal.Verify(o.FS, o.Dir)
	if err != nil {
		return Report{}, fmt.Errorf("reading the journal: %w", err)
	}
	r := Report{}
	r.chain(jr)
	if len(r.Problems) > 0 {
		return r, nil
	}
	s, err := Open(o)
	if err != nil {
		return r, err
	}
	defer s.Close()
	return s.Verify()
}

func (r *Report) chain(jr journal.Report) {
	r.Records, r.Segments, r.First = jr.Records, jr.Segments, jr.First
	r.Last, r.Head = jr.Head.Seq, jr.Head.Hash.String()
	for _, d := range jr.Damage {
		r.Problems = append(r.Problems, d.Error())
	}
}

// Verify checks the chain and compares the state file with a replay of
// snapshot and journal. The gate may run on meanwhile.
func (s *Store) Verify() (Report, error) {
	s.saving.Lock()
	defer s.saving.Unlock()
	r := Report{}
	jr, err := journal.Verify(s.fs, s.opts.Dir)
	if err != nil {
		return r, fmt.Errorf("reading the journal: %w", err)
	}
	r.chain(jr)
	if s.state == nil {
		return r, errNoState
	}
	head, err := s.state.head()
	if err != nil {
		return r, err
	}
	r.State = head.Seq
	snap, snapHead, err := s.newestSnapshot()
	if err != nil {
		return r, err
	}
	r.Snapshot = snapHead.Seq
	want := newImage()
	if snap != "" {
		if _, err := journal.ReadSnapshot(s.fs, snap, want.put); err != nil {
			return r, err
		}
		want.head = snapHead
	}
	if head.Seq > 0 {
		if err := want.follow(head.Seq, s.journal.Replay); err != nil {
			r.Problems = append(r.Problems, err.Error())
			return r, nil
		}
	}
	have := newImage()
	if err := s.state.dump(have.put); err != nil {
		return r, err
	}
	for _, section := range sections {
		r.Entities += len(have.entries[section])
		for k, v := range want.entries[section] {
			if !bytes.Equal(have.entries[section][k], v) {
				r.Problems = append(r.Problems, fmt.Sprintf("section %d, key %x: the state differs from the replay", section, k))
			}
		}
		for k := range have.entries[section] {
			if _, ok := want.entries[section][k]; !ok {
				r.Problems = append(r.Problems, fmt.Sprintf("section %d, key %x: the state has what the replay does not give", section, k))
			}
		}
	}
	return r, nil
}
