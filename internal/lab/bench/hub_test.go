package bench

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate/internal/lab"
)

// zonehub builds the hub's program once; TestMain removes it.
var zonehub = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "zonehub-test-")
	if err != nil {
		return "", err
	}
	hubDir = dir
	path := filepath.Join(dir, "zonehub")
	out, err := exec.Command("go", "build", "-o", path, "zonegate/cmd/zonehub").CombinedOutput()
	if err != nil {
		os.Stderr.Write(out)
	}
	return path, err
})

var hubDir string

// smallHub is as many as a test needs.
var smallHub = hubScale{gateways: 60, beat: 200 * time.Millisecond, idle: time.Second, changes: 2, senders: 3, batches: 3, size: 50, sales: 300}

// A small measurement is right, whatever the machine's speed.
func TestHubRows(t *testing.T) {
	program, err := zonehub()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{onSQLite, onPostgres} {
		b := &bench{opts: Options{Progress: io.Discard, Zonehub: program}}
		for name, row := range map[string]func() error{
			"streams": func() error { return b.hubStreams(t.Context(), kind, smallHub) },
			"reports": func() error { return b.hubReports(t.Context(), kind, smallHub) },
			"week":    func() error { return b.hubWeek(t.Context(), kind, smallHub) },
		} {
			b.lines = nil
			if err := row(); err != nil {
				t.Errorf("%s on %s: %v", name, kind, err)
			}
			if want := map[string]int{"streams": 4, "reports": 2, "week": 2}[name]; len(b.lines) != want {
				t.Errorf("%s on %s: %d figures, want %d", name, kind, len(b.lines), want)
			}
			for _, l := range b.lines {
				// Others are the machine's speed, which is the bench's to say.
				exact := l.Wanted == "none" && name == "week" || strings.Contains(l.What, "in the accounts")
				if exact && !l.OK {
					t.Errorf("%s: %s, want %s", l.What, l.Measured, l.Wanted)
				}
			}
		}
	}
}

func TestLinkCounters(t *testing.T) {
	before, err := linkCounters("lo")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := linkCounters("none0"); err == nil {
		t.Error("a link that is not there has counters")
	}
	conn, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 10 {
		conn.Write(make([]byte, 72)) // nobody listens
	}
	after, err := linkCounters("lo")
	if err != nil {
		t.Fatal(err)
	}
	// Each leaves and arrives, with 28 octets of headers.
	if d := after.minus(before); d.packets < 20 || d.bytes < 20*100 {
		t.Errorf("10 datagrams of 100 octets are counted as %+v", d)
	}
	if _, err := lab.FindProgram("zonehub", "/nowhere"); err == nil {
		t.Error("a program that is not there was found")
	}
}
