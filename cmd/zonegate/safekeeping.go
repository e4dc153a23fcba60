package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"zonegate/internal/control"
	"zonegate/internal/disk"
	"zonegate/internal/store"
)

func defineJournalVerify(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		cfg, err := e.load()
		if err != nil {
			return err
		}
		var r control.JournalReport
		switch c, err := control.Dial(ctx, cfg.ControlSocket); {
		case err == nil:
			if r, err = c.Verify(ctx); err != nil {
				return err
			}
		case errors.Is(err, control.ErrNoDaemon):
			if _, err := os.Stat(cfg.DataDir); err != nil {
				return fmt.Errorf("there is no data directory: %w", err)
			}
			// Not through a gate: what is damaged must be reported, not used.
			s, err := store.Verify(storeOptions(cfg, nil))
			if err != nil {
				return err
			}
			r = control.JournalReport(s)
		default:
			return err
		}
		if r.Problems == nil {
			r.Problems = []string{}
		}
		if e.json {
			err = e.print(r)
		} else {
			fmt.Fprintf(e.stdout, "records %d to %d in %d segments, snapshot at %d, state at %d\n", r.First, r.Last, r.Segments, r.Snapshot, r.State)
			for _, p := range r.Problems {
				fmt.Fprintf(e.stdout, "DAMAGE: %s\n", p)
			}
			if len(r.Problems) == 0 {
				fmt.Fprintf(e.stdout, "the chain is whole and its replay gives the state; head %s\n", r.Head)
			}
		}
		if err == nil && len(r.Problems) > 0 {
			return errSaid
		}
		return err
	}
}

func defineBackup(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		name, err := one(args, "FILE, or - for the standard output")
		if err != nil {
			return err
		}
		return e.with(ctx, func(c *control.Client) error {
			if name == "-" {
				return c.Backup(ctx, e.stdout)
			}
			size, err := backupTo(ctx, c, name)
			if err != nil {
				return err
			}
			if e.json {
				return e.print(struct {
					File string `json:"file"`
					Size int64  `json:"size"`
				}{name, size})
			}
			fmt.Fprintf(e.stdout, "%s: %d bytes. It holds the key of the zone: keep it where nobody else reads it.\n", name, size)
			return nil
		})
	}
}

// backupTo writes a backup so that the name is only ever that of a whole one.
func backupTo(ctx context.Context, c *control.Client, name string) (size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return 0, fmt.Errorf("writing the backup: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := c.Backup(ctx, f); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return 0, fmt.Errorf("writing the backup: %w", err)
	}
	return info.Size(), nil
}

func defineRestore(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		name, err := one(args, "FILE")
		if err != nil {
			return err
		}
		cfg, err := e.load()
		if err != nil {
			return err
		}
		switch _, err := control.Dial(ctx, cfg.ControlSocket); {
		case err == nil:
			return errors.New("the daemon is running; stop it first")
		case !errors.Is(err, control.ErrNoDaemon):
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("opening the backup: %w", err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return fmt.Errorf("opening the backup: %w", err)
		}
		if err := store.Restore(cfg.DataDir, stateDir(cfg.DataDir), f, info.Size()); err != nil {
			if errors.Is(err, disk.ErrLocked) {
				return fmt.Errorf("%s is in use; stop the daemon first: %w", cfg.DataDir, err)
			}
			return err
		}
		if e.json {
			return e.print(control.Done{OK: true})
		}
		fmt.Fprintf(e.stdout, "%s holds the backup now; what was there before has the ending .old\n", cfg.DataDir)
		return nil
	}
}

// stateDir is where the store keeps its state file when the data directory
// cannot map it; empty when it can.
func stateDir(dir string) string {
	if f, err := disk.Probe(dir); err == nil && !f.Maps {
		return ramDir
	}
	return ""
}
