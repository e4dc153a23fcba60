package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"zonegate/internal/lab/fakenas"
	"zonegate/internal/lab/freeradius"
)

const (
	radiusSecret = "a secret of the laboratory"
	radiusGuests = 10000
	radiusRounds = 5
	outstanding  = 64
)

// runRadiusAuth compares the logins of customers who are in already, which a
// zone has most of: each goes through the whole decision.
func runRadiusAuth(ctx context.Context, b *bench) error {
	return b.withZone(ctx, zoneConfig{Guests: radiusGuests}, true, func(z *zone, guests []*guest) error {
		free, err := freeradius.Start(ctx, freeradius.Config{Secret: radiusSecret, Users: freeUsers(guests)})
		if err != nil {
			return err
		}
		defer free.Close()
		peer := &side{name: "FreeRADIUS", pid: free.PID(), server: free.Auth, script: &logins{newGuestScript(guests)}}
		ours := &side{name: "zonegate", pid: z.pid(), server: z.Auth, script: &logins{newGuestScript(guests)}}
		if err := b.compare(ctx, time.Second, peer, ours); err != nil {
			return err
		}
		rate, theirs := median(ours.rates), median(peer.rates)
		b.add(fmt.Sprintf("PAP logins, signed, %d outstanding, %d guests, against FreeRADIUS's users file", outstanding, len(guests)),
			"at least 2 x", fmt.Sprintf("%.2f x (%.0f/s and %.0f/s; p99 %s and %s)", rate/theirs, rate, theirs,
				ms(median(ours.p99)), ms(median(peer.p99))), rate >= 2*theirs && ours.timeOuts == 0)
		cpu, theirCPU := median(ours.cpu), median(peer.cpu)
		b.add("CPU time for each of them", "at most 0.4 x",
			fmt.Sprintf("%.2f x (%.1f us and %.1f us)", cpu/theirCPU, cpu, theirCPU), cpu <= 0.4*theirCPU)
		return nil
	})
}

// runRadiusAccounting compares accounting that is on the disk before the
// answer, interims too.
func runRadiusAccounting(ctx context.Context, b *bench) error {
	return b.withZone(ctx, zoneConfig{Guests: radiusGuests, Strict: true}, true, func(z *zone, guests []*guest) error {
		dir, err := os.MkdirTemp("/var/tmp", "zonelab-freeradius-")
		if err != nil {
			return fmt.Errorf("making a directory: %w", err)
		}
		defer os.RemoveAll(dir)
		free, err := freeradius.Start(ctx, freeradius.Config{Secret: radiusSecret, Accounting: freeradius.SQLite, Dir: dir})
		if err != nil {
			return err
		}
		defer free.Close()
		others := make([]*guest, len(guests))
		for i, g := range guests {
			other := *g
			other.step = 0
			others[i] = &other
		}
		peer := &side{name: "FreeRADIUS with SQLite", pid: free.PID(), server: free.Acct, script: &accounts{guestScript: newGuestScript(others)}, loses: true}
		ours := &side{name: "zonegate", pid: z.pid(), server: z.Acct, script: &accounts{guestScript: newGuestScript(guests)}}
		if err := b.compare(ctx, time.Second, peer, ours); err != nil {
			return err
		}
		rate, p99 := median(ours.rates), median(ours.p99)
		b.add(fmt.Sprintf("accounting that is on the disk before the answer, %d outstanding, %d guests", outstanding, len(guests)),
			"at least 10000/s, p99 at most 30 ms",
			fmt.Sprintf("%.0f/s, p50 %s, p99 %s, %.1f us CPU (FreeRADIUS with SQLite: %.0f/s, p99 %s, %d time-outs)", rate, ms(median(ours.p50)), ms(p99),
				median(ours.cpu), median(peer.rates), ms(median(peer.p99)), peer.timeOuts),
			rate >= 10000 && p99 <= 30*time.Millisecond && ours.timeOuts == 0)
		return nil
	})
}

// runRadiusSlow has the disk take 50 ms for each commit, and a NAS that is as
// impatient as RouterOS.
func runRadiusSlow(ctx context.Context, b *bench) error {
	const commit, patience = 50 * time.Millisecond, 300 * time.Millisecond
	return b.withZone(ctx, zoneConfig{Guests: radiusGuests / 10, Strict: true, Commit: commit}, true, func(z *zone, guests []*guest) error {
		ours := &side{name: "zonegate", pid: z.pid(), server: z.Acct, script: &accounts{guestScript: newGuestScript(guests)}}
		if err := b.compare(ctx, patience, ours); err != nil {
			return err
		}
		rate := median(ours.rates)
		b.add(fmt.Sprintf("the same where each commit takes %s more, a NAS that waits %s", commit, patience), "at least 600/s, no time-out",
			fmt.Sprintf("%.0f/s, p99 %s, %d time-outs", rate, ms(median(ours.p99)), ours.timeOuts), rate >= 600 && ours.timeOuts == 0)
		return nil
	})
}

// A side is one of the servers that are compared.
type side struct {
	name   string
	pid    int
	server netip.AddrPort
	script fakenas.Script
	// loses says that it is known to leave requests unanswered.
	loses bool

	rates, cpu []float64 // answers in a second; CPU microseconds for each
	p50, p99   []time.Duration
	timeOuts   int
}

// compare measures the sides in turns, so that whatever else the machine does
// falls on all of them. A NAS waits for patience, three times.
func (b *bench) compare(ctx context.Context, patience time.Duration, sides ...*side) (err error) {
	sockets := make([]*fakenas.Sockets, len(sides))
	for i, s := range sides {
		if sockets[i], err = fakenas.Open(s.server, outstanding); err != nil {
			return err
		}
		defer sockets[i].Close()
	}
	for range radiusRounds {
		for i, s := range sides {
			if err := b.round(ctx, s, fakenas.Load{From: sockets[i], Wait: patience, Tries: 3, Warm: time.Second, For: 3 * time.Second, Later: true}); err != nil {
				return fmt.Errorf("loading %s: %w", s.name, err)
			}
		}
	}
	return nil
}

func (b *bench) round(ctx context.Context, s *side, load fakenas.Load) error {
	var before time.Duration
	var cpuErr error
	load.Begin = func() { before, cpuErr = cpuTime(s.pid) }
	r, err := load.Run(ctx, s.script)
	if err != nil {
		return err
	}
	after, err := cpuTime(s.pid)
	if err = errors.Join(cpuErr, err); err != nil {
		return err
	}
	if r.Wrong > 0 || r.Answered == 0 && !s.loses {
		return fmt.Errorf("%d answers are right and %d wrong, %d requests without one: %w", r.Answered, r.Wrong, r.GivenUp, r.WhyWrong)
	}
	s.rates = append(s.rates, r.Rate())
	s.cpu = append(s.cpu, float64((after-before).Microseconds())/float64(max(1, r.Answered)))
	s.p50, s.p99 = append(s.p50, r.Percentile(50)), append(s.p99, r.Percentile(99))
	s.timeOuts += r.TimeOuts
	b.say("  %s: %.0f/s, p50 %s, p99 %s, %.1f us CPU each, %d time-outs, %d late", s.name, r.Rate(),
		ms(r.Percentile(50)), ms(r.Percentile(99)), s.cpu[len(s.cpu)-1], r.TimeOuts, r.Late)
	return nil
}

// cpuTime is what all threads of a process have used; see proc(5),
// /proc/pid/stat.
func cpuTime(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading CPU time: %w", err)
	}
	// The name in brackets may hold anything.
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("reading CPU time: %q", data)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading CPU time: %w", err)
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading CPU time: %w", err)
	}
	return time.Duration(user+system) * (time.Second / 100), nil // USER_HZ
}

// planReply is what a plan becomes at a MikroTik.
var planReply = []string{
	`Mikrotik-Rate-Limit = "2M/2M 0/0 0/0 0/0 8 256k/256k"`,
	"Mikrotik-Total-Limit = 1000000000", "Mikrotik-Total-Limit-Gigawords = 0",
	"Session-Timeout = 86400", "Idle-Timeout = 600", "Acct-Interim-Interval = 300", "Class = 0x7a67313a303030303030303030303030",
}

func freeUsers(guests []*guest) []freeradius.User {
	users := make([]freeradius.User, len(guests))
	for i, g := range guests {
		users[i] = freeradius.User{Name: g.code, Password: g.code, Reply: planReply}
	}
	return users
}
