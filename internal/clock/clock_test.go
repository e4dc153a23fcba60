package clock

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A hand is a machine's clocks, moved by the test.
type hand struct {
	mono  time.Duration
	wall  time.Time
	sync  bool
	asked int
}

func (h *hand) clock() *Clock {
	return newClock("boot", source{
		mono:         func() time.Duration { return h.mono },
		wall:         func() time.Time { return h.wall },
		synchronised: func() bool { h.asked++; return h.sync },
	})
}

var day = time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)

func TestTrustIsStickyAndAskedSeldom(t *testing.T) {
	h := &hand{mono: time.Hour, wall: day}
	c := h.clock()
	for range 10 {
		if c.Now().Trusted {
			t.Fatal("trusted although the kernel says it is not synchronised")
		}
	}
	if h.asked != 1 {
		t.Fatalf("the kernel was asked %d times within no time, want 1", h.asked)
	}
	h.sync = true
	if h.mono += askEvery - 1; c.Now().Trusted {
		t.Fatal("the kernel was asked before its time")
	}
	if h.mono++; !c.Now().Trusted {
		t.Fatal("not trusted although the kernel is synchronised")
	}
	h.sync = false
	h.mono += time.Hour
	if !c.Now().Trusted {
		t.Fatal("trust was lost within the boot")
	}
	if h.asked != 2 {
		t.Fatalf("the kernel was asked %d times, want 2", h.asked)
	}
}

func TestTrustAtUptimeZero(t *testing.T) {
	h := &hand{wall: day, sync: true}
	if c := h.clock(); !c.Now().Trusted {
		t.Fatal("the first reading did not ask the kernel")
	}
}

func TestAnImpossibleTimeIsNotTrusted(t *testing.T) {
	h := &hand{wall: time.Unix(1000, 0), sync: true}
	c := h.clock()
	if c.Now().Trusted {
		t.Fatal("1970 is trusted")
	}
	c.Trust(time.Unix(2000, 0))
	if c.Now().Trusted {
		t.Fatal("a signed 1970 is trusted")
	}
}

func TestSignedTime(t *testing.T) {
	h := &hand{mono: time.Minute, wall: time.Unix(0, 0)}
	c := h.clock()
	c.Trust(day)
	h.mono += 90 * time.Second
	h.wall = time.Unix(5, 0) // the machine's own clock does not matter any more
	got := c.Now()
	if want := day.Add(90 * time.Second); !got.Trusted || !got.Wall.Equal(want) {
		t.Fatalf("after a signed time: %v (trusted %v), want %v", got.Wall, got.Trusted, want)
	}
	c.Trust(day.Add(24 * time.Hour))
	if got := c.Now(); !got.Wall.Equal(day.Add(90 * time.Second)) {
		t.Fatalf("a second signed time moved the wall time to %v", got.Wall)
	}
}

func TestSignedTimeDoesNotOverruleNTP(t *testing.T) {
	h := &hand{wall: day, sync: true}
	c := h.clock()
	c.Now()
	c.Trust(day.Add(time.Hour))
	if got := c.Now(); !got.Wall.Equal(day) {
		t.Fatalf("the signed time overruled NTP: %v", got.Wall)
	}
}

func TestThisMachine(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	first, second := c.Now(), c.Now()
	if raw, _ := os.ReadFile(bootIDFile); first.Boot == "" || first.Boot != strings.TrimSpace(string(raw)) {
		t.Fatalf("boot is %q", first.Boot)
	}
	if first.Mono <= 0 || second.Mono < first.Mono {
		t.Fatalf("the monotonic clock went from %v to %v", first.Mono, second.Mono)
	}
	// The kernel's own answer, by another call.
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		t.Fatal(err)
	}
	if off := time.Duration(info.Uptime)*time.Second - second.Mono; off < -2*time.Second || off > time.Minute {
		t.Fatalf("the time since boot is %v, sysinfo says %d s", second.Mono, info.Uptime)
	}
	if off := time.Since(second.Wall); off < 0 || off > time.Minute {
		t.Fatalf("the wall time is %v off", off)
	}
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	if err != nil {
		t.Fatal(err)
	}
	if want := state != unix.TIME_ERROR; second.Trusted != want {
		t.Fatalf("trusted is %v, the kernel says state %d, status %#x", second.Trusted, state, tx.Status)
	}
}

func TestConcurrentUse(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				c.Now()
				c.Trust(day)
			}
		})
	}
	wg.Wait()
}
