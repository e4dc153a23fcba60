package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate/internal/lab"
)

// buildDir holds the gateway's program; TestMain removes it.
var buildDir string

// zonegate builds the gateway's program once.
var zonegate = sync.OnceValues(func() (string, error) {
	var err error
	if buildDir, err = os.MkdirTemp("", "zonelab-test-"); err != nil {
		return "", err
	}
	path := filepath.Join(buildDir, "zonegate")
	if out, err := exec.Command("go", "build", "-o", path, "zonegate/cmd/zonegate").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building zonegate: %w\n%s", err, out)
	}
	return path, nil
})

// A zone is a lab with the real daemon, and what tests ask of it.
type zone struct {
	*testing.T
	*lab.Lab
	program string // the daemon's
}

// openZone builds a zone; the plans are those of the lab unless opts say other.
func openZone(t *testing.T, opts lab.Options) zone {
	t.Helper()
	program, err := zonegate()
	if err != nil {
		t.Fatal(err)
	}
	opts.Daemon, opts.Zonegate = true, program
	return zone{t, up(t, opts), program}
}

// code returns an unused voucher of a plan.
func (z zone) code(plan string) string {
	z.Helper()
	v, err := z.MakeVouchers(z.Context(), plan, 1)
	if err != nil {
		z.Fatal(err)
	}
	return v[0].Code
}

// An answer is what curl got.
type answer struct {
	status   int // 0 when there was none
	location string
	body     string
	exit     int
	took     time.Duration
}

// curl runs curl at a host. It follows no redirect.
func (z zone) curl(host string, args ...string) answer {
	z.Helper()
	ctx, cancel := context.WithTimeout(z.Context(), 30*time.Second)
	defer cancel()
	args = append([]string{"-s", "-k", "--max-time", "10", "-w", "\n%{http_code} %{redirect_url}"}, args...)
	start := time.Now()
	cmd := z.CommandContext(ctx, host, "curl", args...)
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState == nil {
		z.Fatal(err)
	}
	a := answer{exit: cmd.ProcessState.ExitCode(), took: time.Since(start)}
	cut := strings.LastIndexByte(string(out), '\n')
	if cut < 0 {
		z.Fatalf("curl %v printed %q", args, out)
	}
	a.body = string(out[:cut])
	if _, err := fmt.Sscan(string(out[cut+1:]), &a.status, &a.location); err != nil && a.status == 0 && a.exit == 0 {
		z.Fatalf("curl %v printed %q", args, out)
	}
	return a
}

// redeem types a code at a phone, as the documented command does.
func (z zone) redeem(host, code string, more ...string) answer {
	z.Helper()
	return z.curl(host, append([]string{"-d", "code=" + code}, append(more, z.Info.Portal+"voucher")...)...)
}

// pay puts a phone online.
func (z zone) pay(host, plan string) {
	z.Helper()
	if a := z.redeem(host, z.code(plan)); a.status != http.StatusOK {
		z.Fatalf("paying at %s: %d %q", host, a.status, a.body)
	}
}

// sessions are those that the daemon lists.
func (z zone) sessions() []map[string]any {
	z.Helper()
	out, err := z.Zonegate(z.Context(), "session", "list", "--json")
	if err != nil {
		z.Fatal(err)
	}
	var list struct {
		Sessions []map[string]any `json:"sessions"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		z.Fatal(err)
	}
	return list.Sessions
}

const (
	overIPv4 = "http://198.51.100.10/"
	overIPv6 = "http://[2001:db8:ffff::10]/"
)

// isOnline reports whether a phone sees the internet over both families.
func (z zone) isOnline(host string) bool {
	z.Helper()
	for _, url := range []string{overIPv4, overIPv6} {
		if a := z.curl(host, "--max-time", "3", url); a.status != 200 || !strings.Contains(a.body, "This is the internet") {
			return false
		}
	}
	return true
}

// isOut reports whether a phone sees the internet over neither.
func (z zone) isOut(host string) bool {
	z.Helper()
	for _, url := range []string{overIPv4, overIPv6} {
		if a := z.curl(host, "--max-time", "3", url); strings.Contains(a.body, "This is the internet") {
			return false
		}
	}
	return true
}

// await waits for something that must come within a time.
func (z zone) await(what string, limit time.Duration, come func() bool) {
	z.Helper()
	deadline := time.Now().Add(limit)
	for !come() {
		if time.Now().After(deadline) {
			z.Fatalf("%s: not within %s", what, limit)
		}
	}
}

// stream opens a download at a phone that lasts, and fails the test if it ends
// before stop is called.
func (z zone) stream(host, addr string) (got func() uint64, stop func()) {
	z.Helper()
	conn, err := z.Dial(z.Context(), host, "tcp", addr)
	if err != nil {
		z.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /bytes?n=%d HTTP/1.0\r\n\r\n", uint64(1)<<50)
	var mu sync.Mutex
	var total uint64
	stopped := false
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := conn.Read(buf)
			mu.Lock()
			total += uint64(n)
			if err != nil {
				if !stopped {
					z.Errorf("a download at %s was cut: %v", host, err)
				}
				mu.Unlock()
				return
			}
			mu.Unlock()
		}
	})
	got = func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		return total
	}
	stop = sync.OnceFunc(func() {
		mu.Lock()
		stopped = true
		mu.Unlock()
		conn.Close()
		done.Wait()
	})
	z.Cleanup(stop)
	return got, stop
}
