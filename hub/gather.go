package hub

import (
	"context"
	"sync"
)

// A gathering keeps answers that come at the same moment together, as they do
// after a push to ten thousand gateways: one transaction takes them all. Who
// comes first writes for everybody who waits, and leaves the next to the first
// of those who came meanwhile. It has no goroutine of its own.
type gathering struct {
	mu      sync.Mutex
	leading bool
	queue   []*gathered
}

// A gathered is one gateway's answers.
type gathered struct {
	from Gateway
	acks []Ack
	err  error
	// turn gets true when this one is to write the next, and is closed when it
	// is written.
	turn chan bool
}

// maxGathered bounds a transaction.
const maxGathered = 1000

// put returns when the answers are durable, or not kept at all. Once they are
// on their way the end of ctx does not call them back.
func (g *gathering) put(ctx context.Context, from Gateway, acks []Ack, write func(context.Context, []*gathered) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	mine := &gathered{from: from, acks: acks, turn: make(chan bool, 1)}
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
	for n < len(g.queue) && (n == 0 || sum+len(g.queue[n].acks) <= maxGathered) {
		sum += len(g.queue[n].acks)
		n++
	}
	group := g.queue[:n] // mine is the first
	g.queue = g.queue[n:]
	g.mu.Unlock()

	err := write(context.WithoutCancel(ctx), group)
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
