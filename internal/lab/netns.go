package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// A space is a named network namespace: a bind mount that keeps it alive while
// no process is inside.
type space struct {
	path string
}

// newSpace makes a namespace and mounts it at path, whose directory must exist.
func newSpace(path string) (space, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return space{}, fmt.Errorf("creating network namespace: %w", err)
	}
	f.Close()
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unsharing the network: %w", err)
		}
		return unix.Mount("/proc/thread-self/ns/net", path, "none", unix.MS_BIND, "")
	})
	if err != nil {
		os.Remove(path)
		return space{}, fmt.Errorf("creating network namespace %s: %w", filepath.Base(path), err)
	}
	return space{path: path}, nil
}

// remove unmounts the namespace. It disappears once its last process ends.
func (s space) remove() error {
	err := unix.Unmount(s.path, unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		err = nil // not mounted: a crash between the file and the mount
	}
	if rmErr := os.Remove(s.path); rmErr != nil && !errors.Is(rmErr, os.ErrNotExist) {
		err = errors.Join(err, rmErr)
	}
	if err != nil {
		return fmt.Errorf("removing network namespace %s: %w", filepath.Base(s.path), err)
	}
	return nil
}

// do runs f on a thread that is inside the namespace. Whatever f does must stay
// on its goroutine. A socket made inside stays inside afterwards.
func (s space) do(f func() error) error {
	return onThread(func() error {
		if err := s.enter(); err != nil {
			return err
		}
		return f()
	})
}

// enter moves the calling thread, which must be locked to its goroutine.
func (s space) enter() error {
	fd, err := unix.Open(s.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening network namespace %s: %w", filepath.Base(s.path), err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering network namespace %s: %w", filepath.Base(s.path), err)
	}
	return nil
}

// onThread runs f on a thread of its own and puts the thread back into its
// network namespace afterwards. If that fails the thread is not used again.
func onThread(f func() error) error {
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("opening own network namespace: %w", err)
	}
	defer unix.Close(home)
	err = f()
	if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("returning to own network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// sysctl writes one value under /proc/sys of the calling thread's namespace.
func sysctl(key, value string) error {
	if err := os.WriteFile("/proc/sys/"+key, []byte(value), 0); err != nil {
		return fmt.Errorf("setting %s: %w", key, err)
	}
	return nil
}
