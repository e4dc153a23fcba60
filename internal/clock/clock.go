// Package clock reads the clocks of a Linux machine for the domain. What the
// readings mean, and what is charged for the time between two of them, belongs
// to package zonegate.
package clock

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"zonegate"
)

// bootIDFile holds a UUID that the kernel draws at every boot (random(4)).
const bootIDFile = "/proc/sys/kernel/random/boot_id"

// askEvery is how often the kernel is asked whether NTP has set the clock. A
// yes is kept, so it is never asked again within the boot.
const askEvery = 2 * time.Second

// notBefore is a time at which this program did not exist yet: a wall clock
// that is behind it is wrong, whatever the kernel says.
var notBefore = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A Clock is a zonegate.Clock over CLOCK_BOOTTIME, the wall clock and the
// kernel's opinion of it (adjtimex(2)).
type Clock struct {
	boot   string
	source source

	mu      sync.Mutex
	trusted bool
	asked   bool
	askedAt time.Duration
	// told is the signed time, valid at toldAt on the monotonic scale; zero
	// when the machine's own clock is used.
	told   time.Time
	toldAt time.Duration
}

var _ zonegate.Clock = (*Clock)(nil)

// A source is where the readings come from.
type source struct {
	mono func() time.Duration
	wall func() time.Time
	// synchronised says that a time service keeps the wall clock right.
	synchronised func() bool
}

// New returns the machine's clock. It fails where the boot has no name, which
// would make two boots look like one.
func New() (*Clock, error) {
	if _, err := boottime(); err != nil {
		return nil, fmt.Errorf("reading CLOCK_BOOTTIME: %w", err)
	}
	raw, err := os.ReadFile(bootIDFile)
	if err != nil {
		return nil, fmt.Errorf("reading the name of this boot: %w", err)
	}
	boot := strings.TrimSpace(string(raw))
	if boot == "" {
		return nil, errors.New("reading the name of this boot: " + bootIDFile + " is empty")
	}
	return newClock(boot, source{
		mono: func() time.Duration {
			d, err := boottime()
			if err != nil {
				// New has read it. A clock that can be read once can be read
				// always (clock_gettime(2) only fails for a bad argument).
				panic("clock: CLOCK_BOOTTIME went away: " + err.Error())
			}
			return d
		},
		wall:         time.Now,
		synchronised: synchronised,
	}), nil
}

func newClock(boot string, s source) *Clock { return &Clock{boot: boot, source: s} }

// Now reads every clock. Safe for concurrent use.
func (c *Clock) Now() zonegate.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := zonegate.Instant{Boot: c.boot, Mono: c.source.mono(), Wall: c.source.wall()}
	if !c.trusted && (!c.asked || now.Mono-c.askedAt >= askEvery) {
		c.asked, c.askedAt = true, now.Mono
		c.trusted = !now.Wall.Before(notBefore) && c.source.synchronised()
	}
	if !c.told.IsZero() {
		now.Wall = c.told.Add(now.Mono - c.toldAt)
	}
	now.Trusted = c.trusted
	return now
}

// Trust tells the clock a time that was signed for this moment by somebody
// who knows it. Until the next boot Now counts the wall time on from it. It
// does nothing when the wall clock is trusted already: a zone has one time per
// boot.
func (c *Clock) Trust(wall time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trusted || wall.Before(notBefore) {
		return
	}
	c.trusted, c.told, c.toldAt = true, wall.Round(0), c.source.mono()
}

// boottime is the time since boot, with suspended time. The kernel's seconds
// are 32 bits wide on some routers: they are widened before they are
// multiplied.
func boottime() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, err
	}
	return time.Duration(int64(ts.Sec)*int64(time.Second) + int64(ts.Nsec)), nil
}

// synchronised asks the kernel. With no mode bits set adjtimex changes nothing
// and needs no right. The kernel starts unsynchronised, and falls back to it
// when the time service is silent for long or somebody steps the clock.
func synchronised() bool {
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	return err == nil && state != unix.TIME_ERROR && tx.Status&unix.STA_UNSYNC == 0
}
