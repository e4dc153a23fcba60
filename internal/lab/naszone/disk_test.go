package naszone

import (
	"path/filepath"
	"testing"
	"time"
)

// A disk that stands still keeps a sync waiting, and lets it end when it goes
// on; so does one whose commits take long.
func TestSlow(t *testing.T) {
	s := NewSlow()
	f, err := s.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	s.Resume() // of a disk that does not stand still
	s.Stall()
	s.Stall()
	done := make(chan error, 1)
	go func() { done <- f.Sync() }()
	select {
	case <-done:
		t.Fatal("a sync ended while the disk stood still")
	case <-time.After(50 * time.Millisecond):
	}
	s.Resume()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	const commit = 20 * time.Millisecond
	s.SetCommit(commit)
	begun := time.Now()
	if err := f.Sync(); err != nil || time.Since(begun) < commit {
		t.Errorf("a sync took %s, %v", time.Since(begun), err)
	}
}
