package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"time"
)

// A Client sends requests to one server over connections that it keeps. Safe
// for concurrent use; the fields are set before.
type Client struct {
	// Dial makes a connection over which requests to the server go.
	Dial func(context.Context) (net.Conn, error)
	// HeaderTimeout is how long the header of an answer may take from when the
	// request was sent; 0 is for ever.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a connection waits for its next request; with 0
	// none is kept.
	IdleTimeout time.Duration
	// MaxHeader bounds the header of an answer, in octets.
	MaxHeader int64
	// MaxIdle is how many connections wait at most.
	MaxIdle int

	mu   sync.Mutex
	idle []*conn
}

// ErrNoHeader is a server that took a request and did not begin to answer
// within HeaderTimeout.
var ErrNoHeader = errors.New("the server did not answer in time")

// errLongHeader is an answer whose header is longer than MaxHeader.
var errLongHeader = errors.New("the header of the answer is too long")

// Do sends a request and returns the answer when its header has come. The
// body must be closed; read to its end, its connection is kept. The request's
// context ends all of it, the reading of the body too.
//
// A kept connection that the server closed meanwhile is noticed when it is
// used. The request then goes once more, over a new connection, so all
// requests must be such that the server may see them twice.
func (c *Client) Do(r *http.Request) (*http.Response, error) {
	request, err := encode(r)
	if err != nil {
		return nil, err
	}
	if k := c.take(); k != nil {
		a, err := k.exchange(r, request)
		if err == nil || k.heard || errors.Is(err, ErrNoHeader) || r.Context().Err() != nil {
			return a, err
		}
	}
	n, err := c.Dial(r.Context())
	if err != nil {
		return nil, err
	}
	k := &conn{Conn: n, client: c}
	k.in = bufio.NewReader(k)
	return k.exchange(r, request)
}

// take returns a connection that waits, or nil.
func (c *Client) take() *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.idle) > 0 {
		last := len(c.idle) - 1
		k := c.idle[last]
		c.idle[last] = nil
		c.idle = c.idle[:last]
		if k.expiry.Stop() {
			return k
		}
	}
	return nil
}

// keep has a connection wait for its next request.
func (c *Client) keep(k *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.IdleTimeout <= 0 || len(c.idle) >= c.MaxIdle {
		k.Close()
		return
	}
	k.expiry = time.AfterFunc(c.IdleTimeout, func() { c.expire(k) })
	c.idle = append(c.idle, k)
}

func (c *Client) expire(k *conn) {
	c.mu.Lock()
	for i, have := range c.idle {
		if have == k {
			c.idle = append(c.idle[:i], c.idle[i+1:]...)
			break
		}
	}
	c.mu.Unlock()
	k.Close()
}

// CloseIdle closes the connections that wait.
func (c *Client) CloseIdle() {
	for k := c.take(); k != nil; k = c.take() {
		k.Close()
	}
}

// A conn is a connection with what was read ahead of it.
type conn struct {
	net.Conn
	client *Client
	in     *bufio.Reader
	expiry *time.Timer
	// left is how much of a header may still come.
	left int64
	// heard says that something came since the last request.
	heard bool
}

// Read counts what comes.
func (k *conn) Read(p []byte) (int, error) {
	if k.left <= 0 {
		return 0, errLongHeader
	}
	n, err := k.Conn.Read(p[:min(int64(len(p)), k.left)])
	k.left -= int64(n)
	if n > 0 {
		k.heard = true
	}
	return n, err
}

// exchange does one request. It owns the connection, and gives it to the
// answer's body.
func (k *conn) exchange(r *http.Request, request []byte) (*http.Response, error) {
	k.heard = false
	k.left = k.client.MaxHeader
	// Deadlines could be undone by the next one; a closed connection cannot.
	stop := context.AfterFunc(r.Context(), func() { k.Close() })
	_, failed := k.Write(request)
	// A server may refuse before it has seen all, so an answer is looked for
	// even then.
	if t := k.client.HeaderTimeout; t > 0 {
		k.SetReadDeadline(time.Now().Add(t))
	}
	a, err := k.answer(r)
	if err != nil {
		stop()
		k.Close()
		switch cause := context.Cause(r.Context()); {
		case cause != nil:
			return nil, cause
		case isTimeout(err):
			return nil, ErrNoHeader
		case failed != nil:
			return nil, fmt.Errorf("sending a request: %w", failed)
		}
		return nil, fmt.Errorf("reading the header of an answer: %w", err)
	}
	k.SetReadDeadline(time.Time{})
	k.left = math.MaxInt64
	b := &body{ReadCloser: a.Body, ctx: r.Context(), conn: k, stop: stop,
		reuse: failed == nil && !a.Close && !r.Close}
	if a.Body == http.NoBody {
		b.end(true)
	}
	a.Body = b
	return a, nil
}

// answer reads a header, behind those that only say that one will come.
func (k *conn) answer(r *http.Request) (*http.Response, error) {
	for range 5 {
		a, err := http.ReadResponse(k.in, r)
		if err != nil || a.StatusCode >= 200 {
			return a, err
		}
	}
	return nil, errors.New("the server only says that it will answer")
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// A body gives its connection back when it was read to its end, and closes it
// otherwise.
type body struct {
	io.ReadCloser
	ctx   context.Context
	conn  *conn
	stop  func() bool
	reuse bool
	ended bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.end(true)
	case err != nil:
		b.end(false)
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

// Close never waits for the rest of the body.
func (b *body) Close() error {
	b.end(false)
	return nil
}

func (b *body) end(whole bool) {
	if b.ended {
		return
	}
	b.ended = true
	if b.stop() && whole && b.reuse {
		b.conn.client.keep(b.conn)
		return
	}
	b.conn.Close()
}
