package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"zonegate/internal/journal"
	"zonegate/internal/lab/fakenas"
	"zonegate/internal/store"
)

// runRadiusFlash counts the sectors that the accounting of a full zone costs
// the device: 500 sessions, each reported every 300 s, none at the same time
// as another.
func runRadiusFlash(ctx context.Context, b *bench) error {
	const sessions, interval = 500, 300 * time.Second
	disk, err := newDisk(256 << 20)
	if err != nil {
		return err
	}
	defer disk.remove()
	dir := filepath.Join(disk.mount, "data")
	var steady, grows float64
	var elapsed time.Duration
	var watched, after, pair uint64
	err = b.withZone(ctx, zoneConfig{Dir: dir, Guests: sessions}, true, func(z *zone, guests []*guest) error {
		sockets, err := fakenas.Open(z.Acct, outstanding)
		if err != nil {
			return err
		}
		defer sockets.Close()
		script := &accounts{guestScript: newGuestScript(guests), stay: true}
		// report has sessions reported one by one, for so long.
		report := func(d time.Duration) error {
			begun := time.Now()
			for n := 1; time.Since(begun) < d; n++ {
				r, err := fakenas.Load{From: sockets, Wait: 5 * time.Second, Tries: 3, Requests: 1}.Run(ctx, script)
				if err != nil {
					return err
				}
				if r.Answered != 1 {
					return fmt.Errorf("an interim was not answered: %w", r.WhyWrong)
				}
				if err := wait(ctx, time.Until(begun.Add(time.Duration(n)*interval/sessions))); err != nil {
					return err
				}
			}
			return nil
		}
		if err := report(70 * time.Second); err != nil { // what the logins wrote is on the device
			return err
		}
		before, err := disk.written()
		if err != nil {
			return err
		}
		first, err := journalEnd(dir)
		if err != nil {
			return err
		}
		b.say("  watching the device for %s", b.opts.FlashFor)
		start := time.Now()
		if err := report(b.opts.FlashFor); err != nil {
			return err
		}
		end, err := disk.written()
		if err != nil {
			return err
		}
		elapsed, watched = time.Since(start), end-before
		steady = float64(watched) / elapsed.Seconds() * 86400
		last, err := journalEnd(dir)
		if err != nil {
			return err
		}
		grows = float64(last-first) / elapsed.Seconds() * 86400
		if pair, err = pairCosts(ctx, disk, sockets, guests[:20]); err != nil {
			return err
		}
		after, err = disk.written()
		return err
	})
	if err != nil {
		return err
	}
	// The state file follows every hour and when the daemon stops; this stop
	// stands for one of them, its last checkpoint included.
	saved, err := disk.written()
	if err != nil {
		return err
	}
	if err := backUp(dir, filepath.Join(disk.mount, "snapshot")); err != nil {
		return err
	}
	snapshot, err := disk.written()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(disk.mount, "segment"), make([]byte, journal.DefaultSegmentSize), 0o600); err != nil {
		return fmt.Errorf("making a segment: %w", err)
	}
	segment, err := disk.written()
	if err != nil {
		return err
	}
	const savesADay = 24
	// A snapshot is due when the journal has grown by 1 MiB. Its segments are
	// filled with zeros first.
	segments, snapshots := grows/journal.DefaultSegmentSize, grows/(1<<20)
	perDay := steady + savesADay*float64(saved-after) + segments*float64(segment-snapshot) + snapshots*float64(snapshot-saved)
	b.add(fmt.Sprintf("device writes of %d sessions reported every %s in a day, checkpoint 60 s, ext4 with 4 KiB blocks", sessions, interval),
		"at most 50 MB",
		fmt.Sprintf("%.1f MB: checkpoints %.1f (%d KB in %s), saves %d x %d KB, segments %.1f x %d KB, snapshots %.1f x %d KB; a session that ends and one that begins cost %d KB more", perDay/1e6, steady/1e6,
			watched/1000, elapsed.Round(time.Second), savesADay, (saved-after)/1000, segments, (segment-snapshot)/1000, snapshots, (snapshot-saved)/1000, pair/1000),
		perDay <= 50e6)
	return nil
}

// pairCosts is what the stop of a session and the start of the next write,
// seconds apart from whatever else is written.
func pairCosts(ctx context.Context, d *disk, sockets *fakenas.Sockets, guests []*guest) (uint64, error) {
	script := &accounts{guestScript: newGuestScript(guests)}
	for _, g := range guests {
		g.step = 1000 // its next report is the last
	}
	before, err := d.written()
	if err != nil {
		return 0, err
	}
	for range 2 * len(guests) {
		r, err := fakenas.Load{From: sockets, Wait: 5 * time.Second, Tries: 3, Requests: 1}.Run(ctx, script)
		if err != nil {
			return 0, err
		}
		if r.Answered != 1 {
			return 0, fmt.Errorf("a report was not answered: %w", r.WhyWrong)
		}
		if err := wait(ctx, time.Second); err != nil {
			return 0, err
		}
	}
	after, err := d.written()
	return (after - before) / uint64(len(guests)), err
}

// journalEnd is how many bytes the journal of a data directory has, without the
// zeros that wait for more.
func journalEnd(dir string) (int, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		return 0, fmt.Errorf("measuring the journal: %w", err)
	}
	size := 0
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return 0, fmt.Errorf("measuring the journal: %w", err)
		}
		size += len(bytes.TrimRight(data, "\x00"))
	}
	return size, nil
}

// backUp writes a snapshot under another name, with the zone stopped.
func backUp(dir, name string) error {
	s, err := store.Open(store.Options{Dir: dir, StateDir: dir})
	if err != nil {
		return fmt.Errorf("opening the store: %w", err)
	}
	defer s.Close()
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("making a snapshot: %w", err)
	}
	defer f.Close()
	if err := s.Backup(f); err != nil {
		return err
	}
	return f.Sync()
}
