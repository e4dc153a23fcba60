package nft

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// enterNamespace puts the test into a new network namespace until it ends, and
// returns a descriptor of it. What it executes runs in there as well.
func enterNamespace(t *testing.T) *os.File {
	t.Helper()
	runtime.LockOSThread()
	old := openNamespace(t)
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("making network namespace (run as root): %v", err)
	}
	t.Cleanup(func() {
		useNamespace(t, old)
		runtime.UnlockOSThread()
	})
	return openNamespace(t)
}

func openNamespace(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func useNamespace(t *testing.T, f *os.File) {
	t.Helper()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

func dial(t *testing.T) *Conn {
	t.Helper()
	c, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func commit(t *testing.T, c *Conn, b *Batch) {
	t.Helper()
	if err := c.Commit(b); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
