package faultdisk

import (
	"path"
	"syscall"
)

// Op names an operation, for Fail.
type Op string

// The operations. OpAny stands for each of them.
const (
	OpAny       Op = ""
	OpOpen      Op = "open"
	OpOpenWrite Op = "open for writing"
	OpCreate    Op = "create"
	OpRead      Op = "read"
	OpWrite     Op = "write"
	OpSync      Op = "sync"
	OpTruncate  Op = "truncate"
	OpRename    Op = "rename"
	OpRemove    Op = "remove"
	OpList      Op = "list"
	OpSyncDir   Op = "sync directory"
	OpLock      Op = "lock"
	OpMkdir     Op = "mkdir"
)

func (op Op) changes() bool {
	switch op {
	case OpCreate, OpWrite, OpSync, OpTruncate, OpRename, OpRemove, OpSyncDir, OpMkdir:
		return true
	}
	return false
}

// Fault makes operations fail.
type Fault struct {
	Op    Op
	Name  string // pattern of path.Match on the last element; empty: every name
	Skip  int    // let this many matching operations pass first
	Times int    // fail this many; 0 means one, negative all
	Err   error  // nil means EIO
	// Torn lets a part of what failed arrive: the first sectors of a write,
	// any sectors of a sync, the first changes of a directory.
	Torn bool
	// At and Len restrict a fault of OpRead to reads that touch these bytes
	// of the file: a bad block. Len zero means the whole file.
	At, Len int64
}

type armed struct {
	Fault
	fired int
}

// Fail arms f and returns a count of how often it has struck.
func (d *Disk) Fail(f Fault) (fired func() int) {
	if f.Err == nil {
		f.Err = syscall.EIO
	}
	if f.Times == 0 {
		f.Times = 1
	}
	if _, err := path.Match(f.Name, ""); err != nil {
		panic("faultdisk: pattern " + f.Name + ": " + err.Error())
	}
	a := &armed{Fault: f}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, a)
	return func() int {
		d.mu.Lock()
		defer d.mu.Unlock()
		return a.fired
	}
}

// Heal disarms every fault and makes the disk writable and unlimited. What
// was lost stays lost.
func (d *Disk) Heal() {
	d.set(func() { d.faults, d.readOnly, d.capacity = nil, false, -1 })
}

func (d *Disk) fault(op Op, name string) *Fault { return d.faultRange(op, name, 0, 0) }

func (d *Disk) faultRange(op Op, name string, off int64, n int) *Fault {
	for _, a := range d.faults {
		if a.Op != OpAny && a.Op != op {
			continue
		}
		if ok, _ := path.Match(a.Name, path.Base(name)); a.Name != "" && !ok {
			continue
		}
		if a.Len > 0 && (off >= a.At+a.Len || off+int64(n) <= a.At) {
			continue
		}
		if a.Skip > 0 {
			a.Skip--
			continue
		}
		if a.Times == 0 {
			continue
		}
		if a.Times > 0 {
			a.Times--
		}
		a.fired++
		return &a.Fault
	}
	return nil
}

// FlipBit alters one bit on the medium and in the cache. It panics where the
// file has no such byte.
func (d *Disk) FlipBit(name string, off int64, bit uint) {
	d.set(func() {
		node := d.names[path.Clean(name)]
		node.cache[off] ^= 1 << bit
		if off < int64(len(node.durable)) {
			node.durable[off] ^= 1 << bit
		}
	})
}

// Delete loses a file, names and all, at once and for good.
func (d *Disk) Delete(name string) {
	name = path.Clean(name)
	d.set(func() {
		delete(d.names, name)
		delete(d.durable, name)
	})
}

// Bytes copies what a process would read from the file; nil without one.
func (d *Disk) Bytes(name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	node := d.names[path.Clean(name)]
	if node == nil {
		return nil
	}
	return append([]byte{}, node.cache...)
}

// Put makes or replaces a file, durable at once.
func (d *Disk) Put(name string, data []byte) {
	name = path.Clean(name)
	d.set(func() {
		for p := path.Dir(name); !d.dirs[p]; p = path.Dir(p) {
			d.dirs[p] = true
		}
		node := &inode{name: name, cache: append([]byte{}, data...), durable: append([]byte{}, data...)}
		d.names[name], d.durable[name] = node, node
	})
}
