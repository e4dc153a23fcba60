package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
)

// A task is one goroutine of the program. Run ends when its context is done,
// and then returns nil; anything earlier is a failure.
type task struct {
	name string
	run  func(ctx context.Context) error
}

// errStopped is how the signal watcher ends the program.
var errStopped = errors.New("stopped by a signal")

// runTasks runs all tasks until the context is done or one fails, which stops
// the others. The last task is stopped only after all others have ended.
func runTasks(ctx context.Context, last task, others ...task) error {
	g, ctx := errgroup.WithContext(ctx)
	lastCtx, stopLast := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLast()
	outcomes := make([]error, len(others)+1)
	var running sync.WaitGroup
	for i, t := range others {
		running.Add(1)
		g.Go(func() error {
			defer running.Done()
			outcomes[i] = t.outcome(ctx, t.run(ctx))
			return outcomes[i]
		})
	}
	g.Go(func() error {
		outcomes[len(others)] = last.outcome(lastCtx, last.run(lastCtx))
		return outcomes[len(others)]
	})
	g.Go(func() error {
		running.Wait()
		stopLast()
		return nil
	})
	g.Wait()
	for i, err := range outcomes {
		if errors.Is(err, errStopped) {
			outcomes[i] = nil
		}
	}
	return errors.Join(outcomes...)
}

func (t task) outcome(ctx context.Context, err error) error {
	switch {
	case err == nil && ctx.Err() == nil:
		return fmt.Errorf("%s ended by itself", t.name)
	case err == nil, ctx.Err() != nil && errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, errStopped):
		return err
	}
	return fmt.Errorf("%s: %w", t.name, err)
}
