package hub

import (
	"context"
	"sync"
	"time"
)

const (
	flushEvery = 10 * time.Second
	lastWrite  = 5 * time.Second // for what is left when the hub ends
)

func (h *Hub) run(ctx context.Context) error {
	var payments sync.WaitGroup
	payments.Go(func() { h.runPayments(ctx) })
	defer payments.Wait()
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
			defer cancel()
			return h.Flush(last)
		case <-tick.C:
		}
		if err := h.Flush(ctx); err != nil && ctx.Err() == nil {
			h.log.Error("writing down heartbeats", "err", err)
		}
		if err := h.MoveRollouts(ctx); err != nil && ctx.Err() == nil {
			h.log.Error("moving rollouts", "err", err)
		}
	}
}
