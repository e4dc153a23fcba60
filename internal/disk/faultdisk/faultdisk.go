// Package faultdisk is a disk in memory that loses power and fails on demand.
// It models what the kernel leaves after a power cut, not what it promises in
// good times:
//
//   - what was written and not synced is dropped, cut short at any byte, or
//     kept sector by sector in any order;
//   - files made, renamed or removed without a sync of their directory are
//     there or not, each at random;
//   - after a failed sync the lost data still reads well, the next sync
//     answers success, and only the power cut shows that it is gone.
//
// A failed sync of a directory is kinder: a later one makes up for it. What
// journaling file systems do there, turning read-only, is SetReadOnly.
//
// Tests import it; nothing else may. Everything random comes from the seed.
package faultdisk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"sort"
	"sync"
	"syscall"

	"zonegate/internal/disk"
)

// ErrPowerOff is returned by every operation after the power went.
var ErrPowerOff = errors.New("power is off")

// ErrKilled is returned by the files and locks of a process that Kill ended.
var ErrKilled = errors.New("process was killed")

// Sector is what the medium writes whole or not at all, in bytes.
const Sector = 512

// Disk is a disk.FS. Its zero value is of no use: see New.
type Disk struct {
	mu      sync.Mutex
	rng     *rand.Rand
	dirs    map[string]bool
	names   map[string]*inode // what a process sees
	durable map[string]*inode // what the medium has
	pending []dirOp           // what lies between the two, in order
	locks   map[string]bool
	faults  []*armed

	kind     string
	capacity int64 // bytes, negative: no limit
	readOnly bool
	noSync   bool
	off      bool
	opened   int // files not yet closed
	changes  int // operations that change something, so far
	cutAt    int // power goes during this one; negative: never
	epoch    int // counts the processes that were killed
}

// dirOp is one change of a directory.
type dirOp struct {
	op       Op
	from, to string // from is empty for create, to for remove
	node     *inode
}

// New makes an empty disk. Equal seeds and equal operations give equal disks.
func New(seed uint64) *Disk {
	return &Disk{
		rng:      rand.New(rand.NewPCG(seed, 0x7a6f6e65)),
		dirs:     map[string]bool{"/": true, ".": true},
		names:    map[string]*inode{},
		durable:  map[string]*inode{},
		locks:    map[string]bool{},
		kind:     "ext4",
		capacity: -1,
		cutAt:    -1,
	}
}

// SetKind sets what Kind answers. It is "ext4" otherwise.
func (d *Disk) SetKind(name string) { d.set(func() { d.kind = name }) }

// SetReadOnly makes every change fail with EROFS, as after an ext4 error.
func (d *Disk) SetReadOnly(on bool) { d.set(func() { d.readOnly = on }) }

// SetNoSync makes Sync and SyncDir answer success and do nothing. A test of
// durability must fail on such a disk.
func (d *Disk) SetNoSync(on bool) { d.set(func() { d.noSync = on }) }

// SetFree leaves room for n more bytes, counted in whole sectors; negative
// means no limit. Overwriting what exists takes no room.
func (d *Disk) SetFree(n int64) {
	d.set(func() {
		d.capacity = -1
		if n >= 0 {
			d.capacity = d.used() + n
		}
	})
}

func (d *Disk) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// Changes counts the operations so far that change something or sync.
func (d *Disk) Changes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changes
}

// OpenFiles counts the files that were opened and not closed.
func (d *Disk) OpenFiles() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.opened
}

// CutAfter makes the power go during the change after the next n: that one
// may reach the medium, in part or whole or not at all.
func (d *Disk) CutAfter(n int) { d.set(func() { d.cutAt = d.changes + n + 1 }) }

// Crash cuts the power, now or before, and returns the disk as it is when the
// power is back. Of the old one nothing can be used any more.
func (d *Disk) Crash() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	n := New(d.rng.Uint64())
	n.kind, n.noSync = d.kind, d.noSync
	for dir := range d.dirs {
		n.dirs[dir] = true
	}
	names := map[string]*inode{}
	for name, node := range d.durable {
		names[name] = node
	}
	mode := d.rng.IntN(4)
	prefix := d.rng.IntN(len(d.pending) + 1)
	for i, op := range d.pending {
		keep := [...]bool{false, true, i < prefix, d.rng.IntN(2) == 0}[mode]
		if keep {
			op.apply(names)
		}
	}
	// In the order of their names, for the same seed to give the same disk.
	seen := map[*inode]*inode{}
	for _, name := range sorted(names) {
		node := names[name]
		if seen[node] == nil {
			data := node.afterCrash(d.rng)
			seen[node] = &inode{name: name, cache: data, durable: append([]byte(nil), data...)}
		}
		n.names[name], n.durable[name] = seen[node], seen[node]
	}
	return n
}

// Kill ends the process as kill -9 does: its files and locks are gone, what it
// wrote stays in the page cache, synced or not.
func (d *Disk) Kill() {
	d.set(func() {
		d.epoch++
		d.opened = 0
		d.locks = map[string]bool{}
	})
}

func (op dirOp) dir() string {
	if op.to != "" {
		return path.Dir(op.to)
	}
	return path.Dir(op.from)
}

func (op dirOp) apply(names map[string]*inode) {
	if op.from != "" && names[op.from] == op.node {
		delete(names, op.from)
	}
	if op.to != "" {
		names[op.to] = op.node
	}
}

func (d *Disk) used() int64 {
	var sum int64
	seen := map[*inode]bool{}
	for _, node := range d.names {
		if !seen[node] {
			seen[node] = true
			sum += sectors(int64(len(node.cache)))
		}
	}
	return sum
}

// sectors rounds up to whole sectors, in bytes.
func sectors(n int64) int64 { return (n + Sector - 1) / Sector * Sector }

func sorted(names map[string]*inode) []string {
	list := make([]string, 0, len(names))
	for name := range names {
		list = append(list, name)
	}
	sort.Strings(list)
	return list
}

// begin takes the lock and says whether op on name may go on. The power may
// go during it: then the change is made, pending, and finish reports it.
func (d *Disk) begin(op Op, name string) error {
	if d.off {
		return ErrPowerOff
	}
	if op.changes() {
		d.changes++
		if d.cutAt >= 0 && d.changes >= d.cutAt {
			d.off = true
		}
		if d.readOnly {
			return wrap(op, name, syscall.EROFS)
		}
	}
	return nil
}

func (d *Disk) finish() error {
	if d.off {
		return ErrPowerOff
	}
	return nil
}

func wrap(op Op, name string, err error) error {
	return &fs.PathError{Op: string(op), Path: name, Err: err}
}

// MkdirAll implements disk.FS. Directories are durable at once.
func (d *Disk) MkdirAll(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := path.Clean(dir); !d.dirs[p]; p = path.Dir(p) {
		if err := d.begin(OpMkdir, p); err != nil {
			return err
		}
		if f := d.fault(OpMkdir, p); f != nil {
			return wrap(OpMkdir, p, f.Err)
		}
		d.dirs[p] = true
	}
	return d.finish()
}

// Open implements disk.FS.
func (d *Disk) Open(name string) (disk.File, error) { return d.open(OpOpen, name) }

// OpenWrite implements disk.FS.
func (d *Disk) OpenWrite(name string) (disk.File, error) { return d.open(OpOpenWrite, name) }

func (d *Disk) open(op Op, name string) (disk.File, error) {
	name = path.Clean(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(op, name); err != nil {
		return nil, err
	}
	if f := d.fault(op, name); f != nil {
		return nil, wrap(op, name, f.Err)
	}
	node := d.names[name]
	if node == nil {
		return nil, wrap(op, name, syscall.ENOENT)
	}
	if op == OpOpenWrite && d.readOnly {
		return nil, wrap(op, name, syscall.EROFS)
	}
	d.opened++
	return &file{d: d, node: node, write: op == OpOpenWrite, epoch: d.epoch}, nil
}

// Create implements disk.FS.
func (d *Disk) Create(name string) (disk.File, error) {
	name = path.Clean(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(OpCreate, name); err != nil {
		return nil, err
	}
	if f := d.fault(OpCreate, name); f != nil {
		return nil, wrap(OpCreate, name, f.Err)
	}
	if !d.dirs[path.Dir(name)] {
		return nil, wrap(OpCreate, name, syscall.ENOENT)
	}
	if d.names[name] != nil {
		return nil, wrap(OpCreate, name, syscall.EEXIST)
	}
	node := &inode{}
	d.dirChange(dirOp{OpCreate, "", name, node})
	if err := d.finish(); err != nil {
		return nil, err
	}
	d.opened++
	return &file{d: d, node: node, write: true, epoch: d.epoch}, nil
}

func (d *Disk) dirChange(op dirOp) {
	op.apply(d.names)
	if op.to != "" {
		op.node.name = op.to
	}
	d.pending = append(d.pending, op)
}

// Rename implements disk.FS.
func (d *Disk) Rename(from, to string) error {
	from, to = path.Clean(from), path.Clean(to)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(OpRename, from); err != nil {
		return err
	}
	if f := d.fault(OpRename, from); f != nil {
		return wrap(OpRename, from, f.Err)
	}
	if path.Dir(from) != path.Dir(to) {
		return wrap(OpRename, from, syscall.EXDEV)
	}
	node := d.names[from]
	if node == nil {
		return wrap(OpRename, from, syscall.ENOENT)
	}
	d.dirChange(dirOp{OpRename, from, to, node})
	return d.finish()
}

// Remove implements disk.FS.
func (d *Disk) Remove(name string) error {
	name = path.Clean(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(OpRemove, name); err != nil {
		return err
	}
	if f := d.fault(OpRemove, name); f != nil {
		return wrap(OpRemove, name, f.Err)
	}
	node := d.names[name]
	if node == nil {
		return wrap(OpRemove, name, syscall.ENOENT)
	}
	d.dirChange(dirOp{OpRemove, name, "", node})
	return d.finish()
}

// List implements disk.FS.
func (d *Disk) List(dir string) ([]disk.Info, error) {
	dir = path.Clean(dir)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(OpList, dir); err != nil {
		return nil, err
	}
	if f := d.fault(OpList, dir); f != nil {
		return nil, wrap(OpList, dir, f.Err)
	}
	if !d.dirs[dir] {
		return nil, wrap(OpList, dir, syscall.ENOENT)
	}
	var list []disk.Info
	for _, name := range sorted(d.names) {
		if path.Dir(name) == dir {
			list = append(list, disk.Info{Name: path.Base(name), Size: int64(len(d.names[name].cache))})
		}
	}
	return list, nil
}

// SyncDir implements disk.FS.
func (d *Disk) SyncDir(dir string) error {
	dir = path.Clean(dir)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(OpSyncDir, dir); err != nil {
		return err
	}
	if d.off {
		return ErrPowerOff
	}
	f := d.fault(OpSyncDir, dir)
	if f == nil && d.noSync {
		return nil
	}
	var own, rest []dirOp
	for _, op := range d.pending {
		if op.dir() == dir {
			own = append(own, op)
		} else {
			rest = append(rest, op)
		}
	}
	done := len(own)
	if f != nil {
		if done = 0; f.Torn {
			done = d.rng.IntN(len(own) + 1)
		}
	}
	for _, op := range own[:done] {
		op.apply(d.durable)
	}
	rest = append(rest, own[done:]...)
	d.pending = rest
	if f != nil {
		return wrap(OpSyncDir, dir, f.Err)
	}
	return nil
}

// Lock implements disk.FS.
func (d *Disk) Lock(name string) (io.Closer, error) {
	name = path.Clean(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(OpLock, name); err != nil {
		return nil, err
	}
	if f := d.fault(OpLock, name); f != nil {
		return nil, wrap(OpLock, name, f.Err)
	}
	// A read-only disk still locks: see disk.OS.
	if d.names[name] == nil && !d.readOnly {
		d.dirChange(dirOp{OpCreate, "", name, &inode{}})
	}
	if d.locks[name] {
		return nil, fmt.Errorf("locking %s: %w", name, disk.ErrLocked)
	}
	d.locks[name] = true
	return &lock{d: d, name: name, epoch: d.epoch}, nil
}

// Kind implements disk.FS.
func (d *Disk) Kind(string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kind, nil
}
