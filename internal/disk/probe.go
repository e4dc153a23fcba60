package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Findings is what Probe found out about a directory.
type Findings struct {
	Dir  string
	Kind string // as FS.Kind
	Free uint64 // bytes left for us
	Size uint64 // bytes in all
	// ReadOnly: nothing can be written there now.
	ReadOnly bool
	// Full: not even the few kilobytes of the probe fitted.
	Full bool
	// Syncs: fdatasync of a file and fsync of the directory work.
	Syncs bool
	// Locks: flock excludes a second owner.
	Locks bool
	// Maps: a file can be mapped as bbolt does it, and the map shows what
	// is written to the file later.
	Maps bool
	// Volatile: the file system is in RAM and empty after a power cut.
	Volatile bool
	// Notes says in words what matters of this, for log and console.
	Notes []string
}

func (r *Findings) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

const (
	probePattern = ".probe-*"
	// probeSize is the smallest map that bbolt makes, in bytes.
	probeSize = 32 << 10
)

// Probe tries what a journal and bbolt need in dir, with a temporary file
// that it removes. A disk that is full, read-only or cannot do something is a
// finding. The error is for a directory that is not there.
func Probe(dir string) (Findings, error) {
	r := Findings{Dir: dir}
	fi, err := os.Stat(dir)
	if err != nil {
		return r, fmt.Errorf("probing data directory: %w", err)
	}
	if !fi.IsDir() {
		return r, fmt.Errorf("probing data directory: %s is not a directory", dir)
	}
	var st unix.Statfs_t
	if err := statfs(dir, &st); err != nil {
		return r, fmt.Errorf("probing data directory: %w", err)
	}
	r.Kind, err = kind(dir)
	if err != nil {
		return r, fmt.Errorf("probing data directory: %w", err)
	}
	block := uint64(st.Bsize)
	r.Free, r.Size = st.Bavail*block, st.Blocks*block
	r.Volatile = r.Kind == "tmpfs" || r.Kind == "ramfs"
	if r.Volatile {
		r.note("%s is RAM: everything there is lost with the power; choose a directory on flash or disk", r.Kind)
	}
	r.try(dir)
	return r, nil
}

func (r *Findings) try(dir string) {
	// What a probe left that was cut short.
	if old, err := filepath.Glob(filepath.Join(dir, probePattern)); err == nil {
		for _, name := range old {
			_ = os.Remove(name) // the attempt below tells why
		}
	}
	f, err := os.CreateTemp(dir, probePattern)
	if err != nil {
		r.refused("making a file", err)
		return
	}
	defer func() {
		f.Close()
		if err := os.Remove(f.Name()); err != nil {
			r.note("the probe file stayed behind: %v", err)
		}
	}()
	page := bytes.Repeat([]byte("zone"), probeSize/4)
	if _, err := f.WriteAt(page, 0); err != nil {
		r.refused("writing", err)
		return
	}

	if err := (osFile{f}).Sync(); err != nil {
		r.refused("fdatasync", err)
	} else if err := (OS{}).SyncDir(dir); err != nil {
		r.refused("syncing the directory", err)
	} else {
		r.Syncs = true
	}
	r.lock(f)
	r.mmap(f)
}

func (r *Findings) refused(what string, err error) {
	switch {
	case errors.Is(err, unix.EROFS):
		r.ReadOnly = true
		r.note("%s is mounted read-only: nothing can be sold until it is writable", r.Kind)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		r.Full = true
		r.note("%s is full, %d bytes free: make room in the data directory", r.Kind, r.Free)
	case errors.Is(err, fs.ErrPermission):
		r.ReadOnly = true
		r.note("%s is not allowed in the data directory: %v", what, err)
	default:
		r.note("%s fails on %s: %v", what, r.Kind, err)
	}
}

// lock tries flock as OS.Lock and bbolt do: a second descriptor must be kept
// out.
func (r *Findings) lock(f *os.File) {
	if err := retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		r.note("%s cannot lock files: %v; two programs could write at once", r.Kind, err)
		return
	}
	g, err := os.OpenFile(f.Name(), os.O_RDWR, 0)
	if err != nil {
		r.refused("opening again", err)
		return
	}
	defer g.Close()
	err = retry(func() error { return unix.Flock(int(g.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if err != unix.EWOULDBLOCK {
		r.note("%s locks in name only: two programs could write at once", r.Kind)
		return
	}
	r.Locks = true
}

// mmap maps the file as bbolt does, read-only and shared on a descriptor that
// is open for writing. jffs2 refuses that: such a map could become writable.
func (r *Findings) mmap(f *os.File) {
	m, err := unix.Mmap(int(f.Fd()), 0, probeSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		r.note("%s cannot be mapped (%v): bbolt goes to RAM", r.Kind, err)
		return
	}
	defer unix.Munmap(m)
	before := string(m[:4])
	if _, err := f.WriteAt([]byte("gate"), 0); err != nil {
		r.refused("overwriting", err)
		return
	}
	if after := string(m[:4]); before != "zone" || after != "gate" {
		r.note("%s maps files but the map does not follow the file: bbolt goes to RAM", r.Kind)
		return
	}
	r.Maps = true
}
