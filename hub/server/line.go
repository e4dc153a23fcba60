package server

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A line is an accepted TCP connection. Once it is loose, its writes never
// wait: what the kernel does not take at once is kept, and tried again by
// flush. So one goroutine can write to all streams, and no slow or dead peer
// holds it up. A record of TLS is never torn by that, as it would be by a
// deadline.
type line struct {
	*net.TCPConn
	raw    syscall.RawConn
	lines  *lines // nil if it is not counted
	closed atomic.Bool
	// watched says that the lot's epoll knows it.
	watched bool

	mu    sync.Mutex
	loose bool
	rest  []byte // not taken by the kernel yet
	since time.Time
}

// peerPatience is how long the kernel repeats what the peer does not
// acknowledge. Behind a NAT that has forgotten the connection, nothing else
// would tell.
const peerPatience = 60 * time.Second

// lineOf returns the line under what net/http serves on, or nil where it is
// another server's connection.
func lineOf(c net.Conn) *line {
	if e, ok := c.(earlier); ok {
		c = e.below().Conn
	}
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	l, _ := c.(*line)
	return l
}

// loosen makes all writes from now on not wait.
func (l *line) loosen() error {
	var failed error
	err := l.raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(peerPatience.Milliseconds()))
	})
	if err == nil {
		err = failed
	}
	l.mu.Lock()
	l.loose = true
	l.mu.Unlock()
	return err
}

func (l *line) Write(b []byte) (int, error) {
	l.mu.Lock()
	if !l.loose {
		l.mu.Unlock()
		return l.TCPConn.Write(b)
	}
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.rest = append(l.rest, b...)
		return len(b), l.try()
	}
	n, err := l.give(b)
	if n < len(b) && err == nil {
		l.rest = append([]byte(nil), b[n:]...)
		l.since = time.Now()
	}
	return len(b), err
}

// flush tries again, and tells how much is left and since when the peer has
// taken nothing.
func (l *line) flush() (left int, since time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err = l.try()
	return len(l.rest), l.since, err
}

func (l *line) try() error {
	if len(l.rest) == 0 {
		return nil
	}
	n, err := l.give(l.rest)
	if n > 0 {
		l.since = time.Now()
	}
	if l.rest = l.rest[n:]; len(l.rest) == 0 {
		l.rest = nil
	}
	return err
}

// give hands the kernel what it takes.
func (l *line) give(b []byte) (n int, err error) {
	failed := l.raw.Write(func(fd uintptr) bool {
		for n < len(b) {
			var took int
			took, err = unix.Write(int(fd), b[n:])
			switch {
			case err == nil:
				n += took
			case err == unix.EINTR:
			case err == unix.EAGAIN:
				err = nil
				return true
			default:
				return true
			}
		}
		return true
	})
	if err == nil {
		err = failed
	}
	return n, err
}

// gone says that the peer has closed the connection. Nobody reads from a
// stream, so nobody else would notice.
func (l *line) gone() bool { return l.poll(unix.POLLRDHUP) }

// ready says that there is something to read, or that the peer is gone.
func (l *line) ready() bool { return l.poll(unix.POLLIN | unix.POLLRDHUP) }

func (l *line) poll(events int16) bool {
	var is bool
	err := l.raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: events}}
		if n, err := unix.Poll(p, 0); err == nil && n > 0 {
			is = p[0].Revents&(events|unix.POLLHUP|unix.POLLERR) != 0
		}
	})
	return err != nil || is
}

// lines counts the connections that are open, and bounds them.
type lines struct {
	open atomic.Int64
	most int64 // 0 is unbounded
}

// full says that there is one too many.
func (n *lines) full() bool { return n.most > 0 && n.open.Load() > n.most }

// A lineListener accepts lines. One above the bound takes the place of a
// connection at rest. Where none rests it is closed at once, so that the
// process keeps files for its database.
type lineListener struct {
	net.Listener
	lines *lines
	lot   *lot
}

func (a lineListener) Accept() (net.Conn, error) {
	for {
		c, err := a.Listener.Accept()
		if err != nil {
			return nil, err
		}
		t, ok := c.(*net.TCPConn)
		if !ok {
			return c, nil
		}
		raw, err := t.SyscallConn()
		a.lines.open.Add(1)
		for a.lines.full() && a.lot.makeRoom() {
		}
		if err != nil || a.lines.full() {
			a.lines.open.Add(-1)
			c.Close()
			continue
		}
		return &line{TCPConn: t, raw: raw, lines: a.lines}, nil
	}
}

// Close may be called more than once.
func (l *line) Close() error {
	if l.lines != nil && l.closed.CompareAndSwap(false, true) {
		l.lines.open.Add(-1)
	}
	return l.TCPConn.Close()
}
