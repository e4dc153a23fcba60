package faultdisk

import (
	"io"
	"io/fs"
	"syscall"
)

type file struct {
	d      *Disk
	node   *inode
	write  bool
	closed bool
	epoch  int
}

func (f *file) begin(op Op) error {
	switch {
	case f.closed:
		return wrap(op, f.node.name, fs.ErrClosed)
	case f.epoch != f.d.epoch:
		return ErrKilled
	case op.changes() && op != OpSync && !f.write:
		return wrap(op, f.node.name, syscall.EBADF)
	}
	return f.d.begin(op, f.node.name)
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.begin(OpRead); err != nil {
		return 0, err
	}
	if ft := f.d.faultRange(OpRead, f.node.name, off, len(p)); ft != nil {
		return 0, wrap(OpRead, f.node.name, ft.Err)
	}
	if off < 0 {
		return 0, wrap(OpRead, f.node.name, syscall.EINVAL)
	}
	if off >= int64(len(f.node.cache)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.cache[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements io.WriterAt. A full disk takes what fits.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.begin(OpWrite); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, wrap(OpWrite, f.node.name, syscall.EINVAL)
	}
	if ft := f.d.fault(OpWrite, f.node.name); ft != nil {
		n := 0
		if ft.Torn {
			// The kernel takes whole blocks, or nothing of one.
			n = f.d.rng.IntN(len(p) + 1)
			n = max(0, int((off+int64(n))/Sector*Sector-off))
			f.put(p[:n], off)
		}
		return n, wrap(OpWrite, f.node.name, ft.Err)
	}
	size := int64(len(f.node.cache))
	grow := sectors(off+int64(len(p))) - sectors(size)
	if f.d.capacity >= 0 && grow > 0 && f.d.used()+grow > f.d.capacity {
		fits := sectors(size) + max(0, (f.d.capacity-f.d.used())/Sector*Sector) - off
		n := max(0, min(int64(len(p)), fits))
		f.put(p[:n], off)
		return int(n), wrap(OpWrite, f.node.name, syscall.ENOSPC)
	}
	f.put(p, off)
	if err := f.d.finish(); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *file) put(p []byte, off int64) {
	if len(p) > 0 {
		f.node.change(off, p, max(int64(len(f.node.cache)), off+int64(len(p))))
	}
}

// Sync implements disk.File.
func (f *file) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.begin(OpSync); err != nil {
		return err
	}
	if f.d.off { // the power goes while it works: anything may have arrived
		return ErrPowerOff
	}
	if ft := f.d.fault(OpSync, f.node.name); ft != nil {
		f.node.lose(f.d.rng, ft.Torn)
		return wrap(OpSync, f.node.name, ft.Err)
	}
	if !f.d.noSync {
		f.node.sync()
	}
	return nil
}

// Truncate implements disk.File.
func (f *file) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.begin(OpTruncate); err != nil {
		return err
	}
	if size < 0 {
		return wrap(OpTruncate, f.node.name, syscall.EINVAL)
	}
	if ft := f.d.fault(OpTruncate, f.node.name); ft != nil {
		return wrap(OpTruncate, f.node.name, ft.Err)
	}
	f.node.change(size, nil, size)
	return f.d.finish()
}

// Size implements disk.File.
func (f *file) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.off {
		return 0, ErrPowerOff
	}
	return int64(len(f.node.cache)), nil
}

// Close implements io.Closer. It syncs nothing.
func (f *file) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return wrap("close", f.node.name, fs.ErrClosed)
	}
	f.closed = true
	if f.epoch == f.d.epoch {
		f.d.opened--
	}
	return nil
}

type lock struct {
	d     *Disk
	name  string
	epoch int
}

func (l *lock) Close() error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if l.epoch != l.d.epoch {
		return ErrKilled
	}
	delete(l.d.locks, l.name)
	return nil
}
