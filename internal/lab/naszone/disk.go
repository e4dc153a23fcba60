package naszone

import (
	"sync"
	"time"

	"zonegate/internal/disk"
)

// Slow is a disk whose syncs take their time, as those of cheap flash do, or
// stand still. What is synced goes to the real disk first.
type Slow struct {
	disk.FS

	mu     sync.Mutex
	commit time.Duration
	// gate is closed while syncs may end.
	gate chan struct{}
}

// NewSlow returns the machine's disk, as fast as it is.
func NewSlow() *Slow {
	s := &Slow{FS: disk.OS{}, gate: make(chan struct{})}
	close(s.gate)
	return s
}

// SetCommit makes each sync take that much longer from now on.
func (s *Slow) SetCommit(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commit = d
}

// Stall makes syncs wait until Resume.
func (s *Slow) Stall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.gate:
		s.gate = make(chan struct{})
	default:
	}
}

// Resume lets syncs end again.
func (s *Slow) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.gate:
	default:
		close(s.gate)
	}
}

func (s *Slow) linger() {
	s.mu.Lock()
	commit, gate := s.commit, s.gate
	s.mu.Unlock()
	time.Sleep(commit)
	<-gate
}

// OpenWrite implements disk.FS.
func (s *Slow) OpenWrite(name string) (disk.File, error) { return s.file(s.FS.OpenWrite(name)) }

// Create implements disk.FS.
func (s *Slow) Create(name string) (disk.File, error) { return s.file(s.FS.Create(name)) }

func (s *Slow) file(f disk.File, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	return slowFile{f, s}, nil
}

type slowFile struct {
	disk.File
	disk *Slow
}

// Sync implements disk.File.
func (f slowFile) Sync() error {
	err := f.File.Sync()
	f.disk.linger()
	return err
}
