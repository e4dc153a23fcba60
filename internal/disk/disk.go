// Package disk is the thin layer between what must survive a power cut (the
// journal, its snapshots, the probe at start) and a file system. FS and File
// are the few operations those need; OS is the real thing. Package faultdisk
// beside it has one in memory that loses power, tears writes and fails on
// demand. Nothing here knows what is stored.
package disk

import (
	"errors"
	"io"
)

// ErrLocked is returned by FS.Lock when another process, or another part of
// this one, holds the lock.
var ErrLocked = errors.New("already in use by another process")

// FS is a file system. Names are slash-separated paths. Errors wrap those of
// package io/fs (fs.ErrNotExist, fs.ErrExist) and of the kernel (ENOSPC,
// EROFS, EIO): ask with errors.Is. Safe for concurrent use.
type FS interface {
	// MkdirAll creates dir and its missing parents, and syncs what it made.
	MkdirAll(dir string) error
	// Open opens an existing file for reading.
	Open(name string) (File, error)
	// OpenWrite opens an existing file for reading and writing.
	OpenWrite(name string) (File, error)
	// Create makes a file and opens it for reading and writing. It fails
	// with fs.ErrExist when the name is taken. The name survives a power
	// cut only after SyncDir.
	Create(name string) (File, error)
	// Rename replaces whatever has the new name. Both names are in the same
	// directory. The change survives a power cut only after SyncDir.
	Rename(from, to string) error
	// Remove deletes a file. The deletion is sure only after SyncDir.
	Remove(name string) error
	// List names the regular files of dir, sorted by name.
	List(dir string) ([]Info, error)
	// SyncDir makes every creation, renaming and removal in dir durable.
	SyncDir(dir string) error
	// Lock takes the exclusive lock kept on the file called name, which is
	// created where missing, or fails with ErrLocked. Closing releases it;
	// so does the death of the process. It works on a read-only disk too.
	Lock(name string) (io.Closer, error)
	// Kind names the file system that holds dir, as in TypeName: what is
	// under an overlay, where that can be found out.
	Kind(dir string) (string, error)
}

// File is an open file. There is no append mode: the caller knows the end.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes the contents durable (fdatasync). After it has failed once
	// the kernel forgets what was lost: a second Sync of the same file
	// answers success although the data is gone. Never call it again.
	Sync() error
	// Truncate cuts or extends the file to size bytes.
	Truncate(size int64) error
	// Size is the present length in bytes.
	Size() (int64, error)
}

// Info describes a file found by List.
type Info struct {
	Name string // without its directory
	Size int64  // bytes
}
