package hub

import (
	"context"
	"sync"
)

// A gathering keeps together what comes at the same moment, as answers do after
// a push to ten thousand gateways, or payments at noon: one transaction takes
// them all. Who comes first writes for everybody who waits, and leaves the next
// to the first of those who came meanwhile. It has no goroutine of its own.
type gathering[T any] struct {
	mu      sync.Mutex
	leading bool
	queue   []*gathered[T]
}

// A gathered is what one caller brought.
type gathered[T any] struct {
	item T
	size int
	err  error
	// turn gets true when this one is to write the next, and is closed when it
	// is written.
	turn chan bool
}

// maxGathered bounds a transaction.
const maxGathered = 1000

// put returns when the item is durable, or not kept at all: with the error of
// the write that it was in. size is what it adds to a transaction. Once it is on
// its way the end of ctx does not call it back.
func (g *gathering[T]) put(ctx context.Context, item T, size int, write func(context.Context, []T) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	mine := &gathered[T]{item: item, size: size, turn: make(chan bool, 1)}
	g.mu.Lock()
	g.queue = append(g.queue, mine)
	if g.leading {
		g.mu.Unlock()
		if lead := <-mine.turn; !lead {
			return mine.err
		}
		g.mu.Lock()
	}
	g.leading = true
	n, sum := 0, 0
	for n < len(g.queue) && (n == 0 || sum+g.queue[n].size <= maxGathered) {
		sum += g.queue[n].size
		n++
	}
	group := g.queue[:n] // mine is the first
	g.queue = g.queue[n:]
	g.mu.Unlock()

	items := make([]T, n)
	for i, x := range group {
		items[i] = x.item
	}
	err := write(context.WithoutCancel(ctx), items)
	for _, x := range group {
		x.err = err
		close(x.turn)
	}

	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) > 0 {
		g.queue[0].turn <- true
	} else {
		g.leading = false
	}
	return err
}
