package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"zonegate/internal/lab"
)

// runFlash counts the sectors that the daemon's data directory costs its
// device: an ext4 file system of its own on a loop device.
func runFlash(ctx context.Context, b *bench) error {
	const active = 200
	disk, err := newDisk(256 << 20)
	if err != nil {
		return err
	}
	defer disk.remove()
	opts := lab.Options{Phones: 1, Crowd: active, Plans: []lab.Plan{ratedPlan}, LinkDown: "1G", LinkUp: "1G",
		Checkpoint: "60s", DataDir: filepath.Join(disk.mount, "data")}
	return b.withLab(ctx, opts, func(l *lab.Lab) error {
		if err := crowdIn(ctx, l, ratedPlan.ID, 0, active); err != nil {
			return err
		}
		t, loadCtx := newLoad(ctx)
		defer t.stop()
		// Everybody uses something in every checkpoint.
		for i := range active {
			if err := t.knocks(loadCtx, l, "crowd", lab.Member(i).IPv4.AsSlice(), ip4, uint32(i), time.Second); err != nil {
				return err
			}
		}
		if err := wait(ctx, 70*time.Second); err != nil { // the sales are written
			return err
		}
		before, err := disk.written()
		if err != nil {
			return err
		}
		start := time.Now()
		b.say("  watching the device for %s", b.opts.FlashFor)
		if err := wait(ctx, b.opts.FlashFor); err != nil {
			return err
		}
		after, err := disk.written()
		if err != nil {
			return err
		}
		elapsed := time.Since(start)
		// The state file follows every hour and when the daemon stops; this
		// stop stands for one of them, its last checkpoint included.
		if err := l.StopGateway(); err != nil {
			return err
		}
		saved, err := disk.written()
		if err != nil {
			return err
		}
		// A backup is a snapshot under another name.
		if _, err := l.Zonegate(ctx, "backup", filepath.Join(disk.mount, "snapshot")); err != nil {
			return err
		}
		snapshot, err := disk.written()
		if err != nil {
			return err
		}
		const (
			savesADay     = 24
			snapshotsADay = 4 // the journal grows by about 3 MB; one is due at each 1 MiB
		)
		steady := float64(after-before) / elapsed.Seconds() * 86400
		perDay := steady + float64(savesADay*(saved-after)+snapshotsADay*(snapshot-saved))
		b.add(fmt.Sprintf("device writes of %d active in a day, checkpoint 60 s, ext4 with 4 KiB blocks", active), "at most 40 MB",
			fmt.Sprintf("%.1f MB: checkpoints %.1f (%d KB in %s), saves %d x %d KB, snapshots %d x %d KB", perDay/1e6, steady/1e6,
				(after-before)/1000, elapsed.Round(time.Second), savesADay, (saved-after)/1000, snapshotsADay, (snapshot-saved)/1000),
			perDay <= 40e6)
		return nil
	})
}

// A disk is an ext4 file system on a loop device of its own.
type disk struct {
	dir    string // holds the image and the mount point
	mount  string
	device string // such as /dev/loop0
}

func newDisk(size int64) (_ *disk, err error) {
	dir, err := os.MkdirTemp("/var/tmp", "zonelab-disk-")
	if err != nil {
		return nil, fmt.Errorf("making a disk: %w", err)
	}
	d := &disk{dir: dir, mount: filepath.Join(dir, "mnt")}
	defer func() {
		if err != nil {
			d.remove()
		}
	}()
	image := filepath.Join(dir, "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return nil, fmt.Errorf("making a disk: %w", err)
	}
	if err := os.Truncate(image, size); err != nil {
		return nil, fmt.Errorf("making a disk: %w", err)
	}
	if err := os.Mkdir(d.mount, 0o755); err != nil {
		return nil, fmt.Errorf("making a disk: %w", err)
	}
	// Nothing but the daemon may write: tables are made at once, not later.
	// Blocks are those of a large disk; mkfs would give a small one 1 KiB,
	// which costs a third as much.
	if _, err := output("mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", image); err != nil {
		return nil, fmt.Errorf("making a disk: %w", err)
	}
	if d.device, err = output("losetup", "--find", "--show", image); err != nil {
		return nil, fmt.Errorf("making a disk: %w", err)
	}
	if _, err := output("mount", "-o", "noatime", d.device, d.mount); err != nil {
		return nil, fmt.Errorf("making a disk: %w", err)
	}
	return d, nil
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("running %s: %w: %s", name, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// written is how many bytes the device was given to write; see the kernel's
// Documentation/block/stat.rst, field 7, in sectors of 512 bytes.
func (d *disk) written() (uint64, error) {
	if _, err := output("sync", "-f", d.mount); err != nil {
		return 0, err
	}
	data, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(d.device), "stat"))
	if err != nil {
		return 0, fmt.Errorf("reading device writes: %w", err)
	}
	fields := strings.Fields(string(data))
	if len(fields) < 7 {
		return 0, fmt.Errorf("reading device writes: %q", data)
	}
	sectors, err := strconv.ParseUint(fields[6], 10, 64)
	return sectors * 512, err
}

func (d *disk) remove() {
	// Best effort: what is not there needs no removing.
	_, _ = output("umount", d.mount)
	if d.device != "" {
		_, _ = output("losetup", "--detach", d.device)
	}
	_ = os.RemoveAll(d.dir)
}
