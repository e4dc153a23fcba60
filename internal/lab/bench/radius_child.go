package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"zonegate/internal/lab/fakenas"
	"zonegate/internal/lab/naszone"
	"zonegate/radius/nas"
)

// roleZone is the first argument under which a program that uses the package
// starts itself again, to be a zone in a process of its own.
const roleZone = "bench-zone"

// RunHelper must be called before anything else by a program that uses the
// package. In a process that a measurement started for itself it does that
// process's work and exits; otherwise it returns at once.
func RunHelper() {
	if len(os.Args) < 3 || os.Args[1] != roleZone {
		return
	}
	if err := runZone(os.Args[2], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// zoneConfig says what a zone in a process of its own is like.
type zoneConfig struct {
	Dir    string
	Guests int // vouchers to sell at the start
	// Strict has interims committed before they are answered, too.
	Strict bool
	// Commit is how much longer each sync of the journal takes, in
	// nanoseconds, once the vouchers are sold.
	Commit time.Duration
}

// zoneReady is the first line that such a process prints.
type zoneReady struct {
	Auth, Acct netip.AddrPort
	Codes      []string
}

// runZone is the process: it works until its standard input ends. The lines
// "stall" and "resume" there let the disk stand still and go on.
func runZone(config string, in io.Reader, out io.Writer) error {
	var c zoneConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return fmt.Errorf("reading the zone's configuration: %w", err)
	}
	slow := naszone.NewSlow()
	z, err := naszone.Open(naszone.Options{
		Dir: c.Dir, FS: slow, NAS: nas.NAS{Secret: nas.Secret(radiusSecret), Strict: c.Strict},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- z.Run(ctx) }()
	work := func() error {
		codes, err := z.Sell(ctx, c.Guests)
		if err != nil {
			return err
		}
		ready := zoneReady{Auth: z.Auth, Acct: z.Acct, Codes: codes}
		slow.SetCommit(c.Commit)
		if err := json.NewEncoder(out).Encode(ready); err != nil {
			return fmt.Errorf("telling that the zone is ready: %w", err)
		}
		for lines := bufio.NewScanner(in); lines.Scan(); {
			switch lines.Text() {
			case "stall":
				slow.Stall()
			case "resume":
				slow.Resume()
			}
			if _, err := fmt.Fprintln(out, "done"); err != nil {
				return fmt.Errorf("telling that a command was done: %w", err)
			}
		}
		return nil
	}
	err = work()
	slow.Resume()
	cancel()
	return errors.Join(err, <-ended, z.Close())
}

// A zone is such a process, seen from outside.
type zone struct {
	zoneReady
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
	err   *strings.Builder
}

// startZone starts a process and waits until its vouchers are sold.
func startZone(ctx context.Context, c zoneConfig) (_ *zone, err error) {
	config, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("starting a zone: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("starting a zone: %w", err)
	}
	z := &zone{cmd: exec.CommandContext(ctx, self, roleZone, string(config)), err: new(strings.Builder)}
	z.cmd.Stderr = z.err
	// A Ctrl-C is for the measurement, which then ends its processes in order.
	z.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if z.stdin, err = z.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting a zone: %w", err)
	}
	stdout, err := z.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a zone: %w", err)
	}
	z.out = bufio.NewReader(stdout)
	if err := z.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a zone: %w", err)
	}
	line, err := z.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &z.zoneReady)
	}
	if err != nil {
		err = fmt.Errorf("starting a zone: %w", err)
		return nil, errors.Join(err, z.stop())
	}
	return z, nil
}

func (z *zone) pid() int { return z.cmd.Process.Pid }

// command has the process do something and waits until it is done.
func (z *zone) command(word string) error {
	_, err := fmt.Fprintln(z.stdin, word)
	if err == nil {
		_, err = z.out.ReadString('\n')
	}
	if err != nil {
		return fmt.Errorf("telling the zone to %s: %w", word, err)
	}
	return nil
}

// stop ends the process in order.
func (z *zone) stop() error {
	z.stdin.Close()
	err := z.cmd.Wait()
	if err != nil {
		return fmt.Errorf("stopping the zone: %w: %s", err, strings.TrimSpace(z.err.String()))
	}
	return nil
}

// withZone runs f with a zone whose guests are all logged in, and online when
// start is set. Its data directory is on a real disk and removed afterwards,
// unless the configuration names one.
func (b *bench) withZone(ctx context.Context, c zoneConfig, start bool, f func(*zone, []*guest) error) (err error) {
	if c.Dir == "" {
		dir, err := os.MkdirTemp("/var/tmp", "zonelab-radius-")
		if err != nil {
			return fmt.Errorf("making a data directory: %w", err)
		}
		defer os.RemoveAll(dir)
		c.Dir = filepath.Join(dir, "data")
	}
	z, err := startZone(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, z.stop()) }()
	guests := newGuests(z.Codes)
	begun := time.Now()
	if err := z.each(ctx, z.Auth, len(guests), time.Second, &logins{newGuestScript(guests)}); err != nil {
		return fmt.Errorf("logging guests in: %w", err)
	}
	if start {
		if err := z.each(ctx, z.Acct, len(guests), time.Second, &accounts{guestScript: newGuestScript(guests), stay: true}); err != nil {
			return fmt.Errorf("starting the guests' sessions: %w", err)
		}
	}
	b.say("  %d guests are in after %s", len(guests), time.Since(begun).Round(time.Millisecond))
	return f(z, guests)
}

// each makes n requests, all of which must be answered well. A NAS repeats one
// after it has waited for patience.
func (z *zone) each(ctx context.Context, to netip.AddrPort, n int, patience time.Duration, script fakenas.Script) error {
	s, err := fakenas.Open(to, outstanding)
	if err != nil {
		return err
	}
	defer s.Close()
	r, err := fakenas.Load{From: s, Wait: patience, Tries: 50, Requests: n}.Run(ctx, script)
	if err != nil {
		return err
	}
	if r.Answered < n {
		return fmt.Errorf("only %d of %d requests were answered well (%d wrong, %d given up): %w", r.Answered, n, r.Wrong, r.GivenUp, r.WhyWrong)
	}
	return nil
}
