package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mount mounts a tmpfs of so many bytes for the length of a test.
func mount(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mounting a tmpfs (this test needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	return dir
}

func TestOS(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	var d OS
	for range 2 {
		if err := d.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, "f")
	if _, err := d.Open(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening what is not there: %v", err)
	}
	f, err := d.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Create(name); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating twice: %v", err)
	}
	if _, err := f.WriteAt([]byte("hello"), 3); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(6); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if size, err := f.Size(); size != 6 || err != nil {
		t.Errorf("size %d, %v", size, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err == nil {
		t.Error("a closed file was synced")
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.Rename(name, filepath.Join(dir, "g")); err != nil {
		t.Fatal(err)
	}
	if err := d.SyncDir(dir); err != nil {
		t.Fatal(err)
	}
	list, err := d.List(dir)
	if err != nil || len(list) != 1 || list[0] != (Info{"g", 6}) {
		t.Errorf("list %v, %v", list, err)
	}
	f, err = d.Open(filepath.Join(dir, "g"))
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	if n, err := f.ReadAt(b, 0); n != 6 || err != io.EOF || string(b[:6]) != "\x00\x00\x00hel" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if _, err := f.WriteAt(b, 0); err == nil {
		t.Error("a file opened for reading was written")
	}
	f.Close()
	if err := d.Remove(filepath.Join(dir, "sub")); err == nil {
		t.Error("a directory was removed")
	}
	if err := d.Remove(filepath.Join(dir, "g")); err != nil {
		t.Error(err)
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("directory has mode %v, %v", fi.Mode(), err)
	}
}

func TestLock(t *testing.T) {
	var d OS
	name := filepath.Join(t.TempDir(), "lock")
	l, err := d.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(name); !errors.Is(err, ErrLocked) {
		t.Fatalf("second owner got %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = d.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// A reader on a read-only disk still keeps others out, with a lock file left
// from better times and without.
func TestLockReadOnly(t *testing.T) {
	for _, made := range []bool{true, false} {
		dir := mount(t, "1m")
		name := filepath.Join(dir, "lock")
		if made {
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		l, err := OS{}.Lock(name)
		if err != nil {
			t.Fatalf("lock file made before: %v; %v", made, err)
		}
		if _, err := (OS{}).Lock(name); !errors.Is(err, ErrLocked) {
			t.Errorf("second owner: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestErrorsNameTheirCause(t *testing.T) {
	dir := mount(t, "16k")
	var d OS
	f, err := d.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 64<<10), 0); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("writing to a full disk: %v", err)
	}
}

func TestProbe(t *testing.T) {
	empty := func(t *testing.T, dir string) {
		t.Helper()
		left, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range left {
			if strings.HasPrefix(e.Name(), ".probe") {
				t.Errorf("%s stayed behind", e.Name())
			}
		}
	}
	t.Run("good", func(t *testing.T) {
		dir := mount(t, "1m")
		if err := os.WriteFile(filepath.Join(dir, ".probe-left"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Probe(dir)
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind != "tmpfs" || !r.Volatile || !r.Syncs || !r.Locks || !r.Maps || r.ReadOnly || r.Full {
			t.Errorf("%+v", r)
		}
		if r.Size != 1<<20 || r.Free == 0 || r.Free > r.Size {
			t.Errorf("%d of %d bytes free", r.Free, r.Size)
		}
		if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "lost with the power") {
			t.Errorf("notes %q", r.Notes)
		}
		empty(t, dir)
	})
	t.Run("full", func(t *testing.T) {
		dir := mount(t, "16k")
		r, err := Probe(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Full || r.Maps || !strings.Contains(strings.Join(r.Notes, " "), "is full") {
			t.Errorf("%+v", r)
		}
		empty(t, dir)
	})
	t.Run("read-only", func(t *testing.T) {
		dir := mount(t, "1m")
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		r, err := Probe(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !r.ReadOnly || r.Syncs || !strings.Contains(strings.Join(r.Notes, " "), "read-only") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("cannot map", func(t *testing.T) {
		// procfs answers EIO or ENODEV to such a map, as jffs2 EINVAL.
		f, err := os.Open("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r := Findings{Kind: "jffs2"}
		r.mmap(f)
		if r.Maps || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "bbolt goes to RAM") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("missing", func(t *testing.T) {
		if _, err := Probe(filepath.Join(t.TempDir(), "no")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
}

// An overlay answers with what its upper layer is on: a real one.
func TestKindUnderOverlay(t *testing.T) {
	dir := mount(t, "1m")
	for _, d := range []string{"lower", "upper", "work", "on top"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	at := filepath.Join(dir, "on top")
	opts := "lowerdir=" + dir + "/lower,upperdir=" + dir + "/upper,workdir=" + dir + "/work"
	if err := unix.Mount("overlay", at, "overlay", 0, opts); err != nil {
		t.Fatalf("mounting an overlay (this test needs root): %v", err)
	}
	defer unix.Unmount(at, 0)
	if name, err := statfsName(at); name != "overlay" || err != nil {
		t.Fatalf("statfs says %q, %v", name, err)
	}
	sub := filepath.Join(at, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	if name, err := (OS{}).Kind(sub); name != "tmpfs" || err != nil {
		t.Errorf("under the overlay is %q, %v", name, err)
	}
}

func TestTypeName(t *testing.T) {
	for magic, want := range map[uint32]string{0xEF53: "ext4", 0x72B6: "jffs2", 0xF2F52010: "f2fs", 7: "0x7"} {
		if got := TypeName(magic); got != want {
			t.Errorf("%#x is %q, want %q", magic, got, want)
		}
	}
}

func TestUpperDir(t *testing.T) {
	table := filepath.Join(t.TempDir(), "mountinfo")
	text := `22 1 8:1 / / ro - squashfs /dev/root ro
30 1 0:20 / / rw - overlay overlayfs:/overlay rw,lowerdir=/,upperdir=/overlay/upper,workdir=/overlay/work
31 30 0:21 / /tmp rw shared:1 - tmpfs tmpfs rw
32 30 0:22 / /mnt/a\040b rw - overlay x rw,lowerdir=/,upperdir=/u\040v
broken line
`
	if err := os.WriteFile(table, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		"/etc/zonegate": "/overlay/upper", "/tmp": "", "/tmpx": "/overlay/upper", "/mnt/a b/c": "/u v",
	} {
		if got := upperDir(dir, table); got != want {
			t.Errorf("upper of %s is %q, want %q", dir, got, want)
		}
	}
}
