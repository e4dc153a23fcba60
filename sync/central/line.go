package central

import (
	"context"
	"crypto/ed25519"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate"
	"zonegate/sync/api"
)

// A line is the connection to one hub under one token: heartbeats, the stream
// of pushes, the outbox. All but the heartbeats waits until the hub has proved
// with one that it holds the key that was pinned.
type line struct {
	c                              *Central
	client                         *client
	key                            ed25519.PublicKey
	token, site, gateway, instance string
	// codeKey hashes devices' addresses too, so that the hub can compare them
	// within a site.
	codeKey zonegate.ZoneKey

	// beatNow asks for a heartbeat, ackNow for acknowledgements to be sent.
	beatNow, ackNow chan struct{}

	// sending is held while answers to pushes are sent.
	sending sync.Mutex

	mu sync.Mutex
	// proven says that the last heartbeat was answered by the hub; turned is
	// closed when that changes.
	proven bool
	turned chan struct{}
	denied bool
	// hangUp ends the stream that is open.
	hangUp    context.CancelFunc
	connected time.Time // zero: not
	polling   bool
	// channels are the ways to pay, as the heartbeat that was answered at that
	// monotonic time has brought them.
	channels []zonegate.Channel
	answered time.Duration
	// failures are what goes wrong now, by task.
	failures map[string]failure
	head     uint64
	// catalogue is the version of the one that was taken last.
	catalogue uint64
	acks      []api.Ack
	// refused are pushes that were not taken, so that one that comes again is
	// not acknowledged as if it were.
	refused map[uint64]struct{}

	// delivered is the last entry that the hub has; see deliver.go.
	delivered uint64
}

func newLine(c *Central, client *client, key ed25519.PublicKey, cred credential, hub zonegate.HubLink) *line {
	l := &line{
		c: c, client: client, key: key, token: cred.Token, site: cred.Site, gateway: cred.Gateway, instance: cred.Instance, codeKey: hub.CodeKey,
		beatNow: make(chan struct{}, 1), ackNow: make(chan struct{}, 1), turned: make(chan struct{}),
		refused: map[uint64]struct{}{}, failures: map[string]failure{},
	}
	c.mu.Lock()
	l.acks = append(l.acks, c.cred.Acks...)
	c.mu.Unlock()
	for _, a := range l.acks {
		l.refused[a.Seq] = struct{}{}
	}
	return l
}

// run is one task for each of what goes on.
func (l *line) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, task := range []func(context.Context) error{l.runBeats, l.runStream, l.runOutbox, l.runAcks, l.runCatalogue} {
		g.Go(func() error { return task(ctx) })
	}
	return g.Wait()
}

// await waits until the hub is proven. False means that the context is done.
func (l *line) await(ctx context.Context) bool {
	for ctx.Err() == nil {
		l.mu.Lock()
		proven, turned := l.proven, l.turned
		l.mu.Unlock()
		if proven {
			return true
		}
		select {
		case <-turned:
		case <-ctx.Done():
		}
	}
	return false
}

// prove says whether the server is the hub and takes the token.
func (l *line) prove(ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ok {
		l.denied = false
	}
	if l.proven == ok {
		return
	}
	l.proven = ok
	close(l.turned)
	l.turned = make(chan struct{})
	if !ok && l.hangUp != nil {
		l.hangUp()
	}
}

// A failure is why the last attempt of a task went wrong.
type failure struct {
	err error
	at  time.Time
}

// Tasks, as failures name them.
const (
	heartbeats = "heartbeats"
	pushes     = "pushes"
	outbox     = "outbox"
	answers    = "answers"
	plans      = "plans"
)

const takenOff = "the hub has taken this gateway off: nothing of the hub's is sold; what was bought goes on. Join again with a new code"

// failed notes what went wrong in a task.
func (l *line) failed(ctx context.Context, task string, err error) {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return
	}
	var open *openError
	if errors.As(err, &open) {
		return // what opened the breaker was noted
	}
	l.mu.Lock()
	l.failures[task] = failure{err, time.Now()}
	l.mu.Unlock()
	l.c.log.Info("working with the hub failed", "task", task, "error", err)
	switch {
	case isRevoked(err):
		l.deny(takenOff)
	case isDenied(err):
		l.deny("the hub does not take this gateway's token; join again with a new code")
	}
}

// deny stops everything that needs the hub. Heartbeats go on, seldom: an
// operator may take it back.
func (l *line) deny(why string) {
	l.c.find("hub", errorSeverity, why)
	l.prove(false)
	l.mu.Lock()
	l.denied = true
	l.mu.Unlock()
}

// worked notes that a task is well.
func (l *line) worked(task string) {
	l.mu.Lock()
	delete(l.failures, task)
	l.mu.Unlock()
}

// polls says that pushes are not streamed but asked for.
func (l *line) polls() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.polling
}

// revoked says that the hub has pushed its last word.
func (l *line) revoked() bool {
	hub, ok := l.c.o.Gate.Hub()
	return ok && hub.Revoked
}

// poke puts a value into a channel that holds one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is due already
	}
}

// A caller holds c.mu.
func (l *line) status(s *Status, last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.delivered > 0 && l.delivered <= last {
		// What the hub has may not be in the journal yet.
		s.Unsent = min(s.Unsent, last-l.delivered)
		if s.Unsent == 0 {
			s.Oldest = time.Time{}
		}
	}
	if !l.connected.IsZero() {
		s.Connected, s.ConnectedFor = true, time.Since(l.connected)
	}
	s.Polling, s.Denied, s.Unproven, s.Head = l.polling, l.denied, !l.proven, l.head
	var latest failure
	for _, f := range l.failures {
		if f.at.After(latest.at) {
			latest = f
		}
	}
	if latest.err != nil {
		s.LastError, s.LastErrorAgo = latest.err.Error(), time.Since(latest.at)
	}
	s.Waiting, _ = l.client.breaker.open()
}
