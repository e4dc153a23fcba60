package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"zonegate"
	"zonegate/internal/clock"
	"zonegate/internal/config"
	"zonegate/internal/control"
	"zonegate/internal/disk"
	"zonegate/internal/store"
	"zonegate/radius/nas"
)

// daemon returns a client of the running daemon; without one it is
// control.ErrNoDaemon.
func (e *env) daemon(ctx context.Context) (*control.Client, error) {
	cfg, err := e.load()
	if err != nil {
		return nil, err
	}
	return control.Dial(ctx, cfg.ControlSocket)
}

// with calls do with the running daemon, or with the data directory opened by
// this process when there is none.
func (e *env) with(ctx context.Context, do func(*control.Client) error) error {
	cfg, err := e.load()
	if err != nil {
		return err
	}
	c, err := control.Dial(ctx, cfg.ControlSocket)
	if err == nil {
		return do(c)
	}
	if !errors.Is(err, control.ErrNoDaemon) {
		return err
	}
	return e.without(ctx, cfg, do)
}

// without opens the data directory and decides in this process, for as long as
// do takes.
func (e *env) without(ctx context.Context, cfg *config.Config, do func(*control.Client) error) error {
	log := slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	s, err := store.Open(storeOptions(cfg, log))
	if errors.Is(err, disk.ErrLocked) {
		return fmt.Errorf("%s is in use, but nobody answers at %s; does the daemon run with another control_socket?", cfg.DataDir, cfg.ControlSocket)
	}
	if err != nil {
		return fmt.Errorf("opening the data directory: %w", err)
	}
	defer s.Close()
	c, err := clock.New()
	if err != nil {
		return err
	}
	state := s.State()
	path := &restingPath{left: state.Whole().Sessions}
	gate := zonegate.NewGate(state, s, s, path, c, gateOptions(cfg, log))
	book, broken := nas.Open(cfg.DataDir)
	hub, err := newHubService(cfg, gate, c, noSettings{}, log)
	if err != nil {
		return err
	}
	h := &control.Handler{
		Catalogue: gate, Vouchers: gate, Vault: vault{s}, Logger: log,
		NASes: &nasDesk{config: cfg, book: book, broken: broken, gate: gate}, Hub: hub,
		Base: control.Status{Version: version, Zone: cfg.Zone.ID},
	}
	work := task{"the command", func(ctx context.Context) error {
		if err := hub.sell(ctx, cfg.Plans); err != nil {
			return fmt.Errorf("taking over the plans: %w", err)
		}
		if err := do(control.Local(h)); err != nil {
			return commandError{err}
		}
		return errStopped
	}}
	err = runTasks(ctx, task{"the gate", gate.Run}, work)
	if path.behind.Load() {
		fmt.Fprintln(e.stderr, "zonegate: the daemon is not running; who is online feels the change when it starts")
	}
	var own commandError
	if errors.As(err, &own) {
		return own.error
	}
	return err
}

// A commandError is the command's own, not that of its task.
type commandError struct{ error }

func (e commandError) Unwrap() error { return e.error }

// A restingPath is the data path while no daemon drives it. The kernel goes on
// with what it was last told, and the next daemon to start brings it to the
// state that it finds; so here every session that was left is taken as still
// there, with nothing delivered that is not yet counted.
type restingPath struct {
	left []zonegate.Session
	// behind is set when the data path is not told what it should be.
	behind atomic.Bool
}

var _ zonegate.Enforcer = (*restingPath)(nil)

// Apply leaves everything as it is: it is only called with what is left.
func (p *restingPath) Apply(context.Context, []zonegate.Order) error { return nil }

// Change notes that the next daemon has something to mend.
func (p *restingPath) Change(context.Context, []zonegate.Order, []zonegate.SessionID) error {
	p.behind.Store(true)
	return nil
}

// Usage says that all sessions are there.
func (p *restingPath) Usage(context.Context) ([]zonegate.Usage, error) {
	out := make([]zonegate.Usage, len(p.left))
	for i, x := range p.left {
		out[i] = zonegate.Usage{Session: x.ID, Octets: x.Octets}
	}
	return out, nil
}

func gateOptions(cfg *config.Config, log *slog.Logger) zonegate.Options {
	return zonegate.Options{
		Checkpoint: cfg.Limits.Checkpoint, IdleTimeout: cfg.Limits.IdleTimeout,
		Guessing:  zonegate.Guessing{PerDevice: cfg.Vouchers.WrongPerDevice},
		LostAfter: 3 * longestInterim(cfg),
		Logger:    log,
	}
}

// longestInterim is how seldom a NAS may be asked to report. Some have a
// setting of their own that wins, so it is never short.
func longestInterim(cfg *config.Config) time.Duration {
	return max(cfg.RADIUS.Interim, nas.DefaultInterim)
}

// A vault is the store as the control API sees it.
type vault struct{ *store.Store }

func (v vault) Verify() (control.JournalReport, error) {
	r, err := v.Store.Verify()
	return control.JournalReport(r), err
}

// ramDir is where the state file goes when the data directory cannot map it.
const ramDir = "/var/run/zonegate"

func storeOptions(cfg *config.Config, log *slog.Logger) store.Options {
	return store.Options{Dir: cfg.DataDir, RAMDir: ramDir, Logger: log}
}
