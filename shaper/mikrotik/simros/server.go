package simros

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// enforceEvery is how often a router on the machine's clock looks at limits
// that time alone reaches. Assumed: no document gives the router's interval.
const enforceEvery = time.Second

// Serve answers API clients on l, which may be a TLS listener, until ctx ends
// (nil) or l fails. Several may run at the same time.
func (r *Router) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() { // closes the listener when the context ends
		<-ctx.Done()
		l.Close()
	})
	tasks.Go(func() { r.watchTime(ctx) })
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			cancel()
			return fmt.Errorf("accepting API connection: %w", err)
		}
		tasks.Go(func() { r.serveConn(ctx, conn) })
	}
}

func (r *Router) watchTime(ctx context.Context) {
	t := time.NewTicker(enforceEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			r.Tick()
		}
	}
}

// A session is one API connection.
type session struct {
	r    *Router
	conn net.Conn
	out  outbox

	// Used by the reader alone.
	challenge []byte

	// Guarded by Router.mu.
	policies map[string]bool // nil until logged in
	cut      bool            // the router has ended it; nothing more is carried out
	running  map[*running]struct{}
}

// A running command can be cancelled by its tag.
type running struct {
	tag    string
	cancel context.CancelFunc
}

func (r *Router) serveConn(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	s := &session{r: r, conn: conn, running: make(map[*running]struct{})}
	s.out.wake = make(chan struct{}, 1)
	r.mu.Lock()
	off := r.off
	if !off {
		r.sessions[s] = struct{}{}
	}
	r.mu.Unlock()
	if off {
		cancel()
		conn.Close()
		return
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { // ends the reader when the context ends
		<-ctx.Done()
		conn.Close()
	})
	tasks.Go(func() {
		s.write(ctx)
		cancel()
	})
	s.read(ctx, &tasks)
	cancel()
	tasks.Wait()
	r.mu.Lock()
	delete(r.sessions, s)
	for l := range r.listeners {
		if l.s == s {
			delete(r.listeners, l)
		}
	}
	r.mu.Unlock()
}

// read takes sentences until the connection ends. Commands with a tag run
// beside each other [API]; those without run one after the other, since their
// answers could not be told apart (assumed).
func (s *session) read(ctx context.Context, tasks *sync.WaitGroup) {
	in := bufio.NewReader(s.conn)
	for {
		longest := uint32(maxWord)
		s.r.mu.Lock()
		if s.policies == nil {
			longest = maxWordEarly
		}
		s.r.mu.Unlock()
		words, err := readSentence(in, longest)
		if err != nil {
			if errors.Is(err, errTooLong) || errors.Is(err, errTooMany) || errors.Is(err, errControl) {
				s.fatal("too long or malformed sentence") // assumed wording
				s.drain(ctx)
			}
			return
		}
		if len(words) == 0 {
			continue
		}
		c := parseCommand(words)
		switch {
		case c.path == "/quit":
			s.fatal("session terminated on request") // [LIB]: a bare word, no =message=
			s.drain(ctx)
			return
		case c.path == "/login":
			s.login(c)
		case !s.loggedIn():
			s.fatal("not logged in") // [FIELD]
			s.drain(ctx)
			return
		case c.path == "/cancel":
			s.cancel(c)
		case c.verb == "listen" || c.tag != "" && s.r.slow(c.path):
			run, cctx := s.begin(ctx, c)
			if c.verb == "listen" {
				tasks.Go(func() { s.listen(cctx, c); s.end(run) })
			} else {
				tasks.Go(func() { s.execute(cctx, c); s.end(run) })
			}
		default:
			run, cctx := s.begin(ctx, c)
			s.execute(cctx, c)
			s.end(run)
		}
	}
}

func (s *session) loggedIn() bool {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	return s.policies != nil
}

func (s *session) begin(ctx context.Context, c *command) (*running, context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	run := &running{tag: c.tag, cancel: cancel}
	s.r.mu.Lock()
	s.running[run] = struct{}{}
	s.r.mu.Unlock()
	return run, ctx
}

func (s *session) end(run *running) {
	run.cancel()
	s.r.mu.Lock()
	delete(s.running, run)
	s.r.mu.Unlock()
}

// cancel ends the commands with the given tag, or without one all of this
// connection [API]. An unknown tag is no error (assumed).
func (s *session) cancel(c *command) {
	tag, given := c.attr("tag")
	s.r.mu.Lock()
	s.r.commands[c.path]++
	for run := range s.running {
		if !given || run.tag == tag {
			run.cancel()
		}
	}
	s.r.mu.Unlock()
	s.done(c)
}

// fatal says why the connection ends; the caller ends it. The reason is a bare
// word without "=", as [LIB] recorded it.
func (s *session) fatal(reason string) { s.out.add([]string{"!fatal", reason}) }

func (s *session) send(c *command, words ...string) {
	if c.tag != "" {
		words = append(words, ".tag="+c.tag)
	}
	s.out.add(words)
}

func (s *session) done(c *command, words ...string) {
	s.send(c, append([]string{"!done"}, words...)...)
}

// trap refuses a command; !done still ends the answer [API, LIB].
func (s *session) trap(c *command, t *Trap) {
	s.send(c, t.words()...)
	s.done(c)
}

// An outbox keeps the sentences that wait for a connection, so that nobody who
// holds the router's lock waits for a client.
type outbox struct {
	mu    sync.Mutex
	buf   []byte
	wake  chan struct{}
	empty chan struct{} // closed when buf has been written, if somebody waits
}

func (o *outbox) add(words []string) {
	o.mu.Lock()
	o.buf = appendSentence(o.buf, words)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.buf
	o.buf = nil
	return b
}

// write sends what the outbox holds until the connection ends.
func (s *session) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.out.wake:
		}
		b := s.out.take()
		keep, cut := s.r.cut(len(b))
		if _, err := s.conn.Write(b[:keep]); err != nil || cut {
			return
		}
		s.out.mu.Lock()
		if s.out.empty != nil && len(s.out.buf) == 0 {
			close(s.out.empty)
			s.out.empty = nil
		}
		s.out.mu.Unlock()
	}
}

// drain waits until everything has been written.
func (s *session) drain(ctx context.Context) {
	empty := make(chan struct{})
	s.out.mu.Lock()
	s.out.empty = empty
	s.out.mu.Unlock()
	select {
	case s.out.wake <- struct{}{}:
	default:
	}
	select {
	case <-empty:
	case <-ctx.Done():
	}
}
