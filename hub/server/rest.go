package server

import (
	"bytes"
	"container/list"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A lot keeps the connections on which no call is on its way. A gateway calls
// once in a while and keeps its connection, because a handshake of TLS is dear;
// in net/http such a connection has a goroutine, its stack and two buffers, as
// much again as all else that a gateway costs. So it is taken from net/http
// after the answer (Server.rest), and watched with all others through one
// epoll(7). When the caller speaks again or hangs up, Accept gives the same
// connection back: to net/http the lot is a second listener, and its Serve is
// the goroutine that waits.
type lot struct {
	addr net.Addr
	idle time.Duration // how long a connection may rest
	file *os.File      // the epoll: Go's own poller waits for it
	raw  syscall.RawConn
	// What Accept alone touches.
	events [128]unix.EpollEvent
	woken  []unix.EpollEvent // of events, not handed out yet

	mu    sync.Mutex
	over  bool
	turn  int32                   // of the last that came to rest
	order *list.List              // of *resting, the longest first
	byFD  map[int32]*list.Element // the same
}

// A resting is a connection in a lot.
type resting struct {
	conn net.Conn
	line *line
	fd   int32
	// turn tells it from another that had the same descriptor: an event may
	// come late.
	turn  int32
	since time.Time
}

// sweeps is into how many parts the idle time is cut: each ends with a look at
// who has rested too long.
const sweeps = 10

func newLot(addr net.Addr, idle time.Duration) (*lot, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("opening an epoll for connections at rest: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("opening an epoll for connections at rest: %w", err)
	}
	l := &lot{addr: addr, idle: idle, file: os.NewFile(uintptr(fd), "epoll"), order: list.New(), byFD: map[int32]*list.Element{}}
	if l.raw, err = l.file.SyscallConn(); err == nil {
		err = l.file.SetReadDeadline(time.Now().Add(idle / sweeps))
	}
	if err != nil {
		l.file.Close()
		return nil, fmt.Errorf("waiting for connections at rest: %w", err)
	}
	return l, nil
}

// park takes a connection whose call was answered. It closes what it cannot
// watch.
func (l *lot) park(conn net.Conn) {
	r := &resting{conn: conn, line: lineOf(conn), since: time.Now()}
	events := uint32(unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT)
	if _, ok := conn.(earlier); ok {
		// The next request is here already. Its caller is served once he takes
		// the answers that he has.
		events |= unix.EPOLLOUT
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		r.close()
		return
	}
	l.turn++
	r.turn = l.turn
	var failed error
	err := r.line.raw.Control(func(fd uintptr) {
		r.fd = int32(fd)
		e := unix.EpollEvent{Events: events, Fd: r.fd, Pad: r.turn}
		op := unix.EPOLL_CTL_ADD
		if r.line.watched {
			op = unix.EPOLL_CTL_MOD
		}
		failed = l.control(op, &e)
	})
	if err != nil || failed != nil {
		r.close()
		return
	}
	r.line.watched = true
	l.byFD[r.fd] = l.order.PushBack(r)
}

func (l *lot) control(op int, e *unix.EpollEvent) (err error) {
	cerr := l.raw.Control(func(epoll uintptr) { err = unix.EpollCtl(int(epoll), op, int(e.Fd), e) })
	return errors.Join(cerr, err)
}

// Accept returns the next connection whose caller speaks again, or has hung up.
func (l *lot) Accept() (net.Conn, error) {
	for {
		for len(l.woken) > 0 {
			e := l.woken[0]
			l.woken = l.woken[1:]
			if conn := l.leave(e.Fd, e.Pad); conn != nil {
				return conn, nil
			}
		}
		var n int
		var failed error
		err := l.raw.Read(func(epoll uintptr) bool {
			n, failed = unix.EpollWait(int(epoll), l.events[:], 0)
			return n > 0 || failed != nil && failed != unix.EINTR
		})
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			l.sweep()
			if err := l.file.SetReadDeadline(time.Now().Add(l.idle / sweeps)); err != nil {
				return nil, fmt.Errorf("waiting for connections at rest: %w", err)
			}
		case err != nil:
			return nil, fmt.Errorf("waiting for connections at rest: %w", err)
		case failed != nil:
			return nil, fmt.Errorf("waiting for connections at rest: %w", failed)
		default:
			l.woken = l.events[:n]
		}
	}
}

// leave takes a connection out of the lot; nil if it has left before.
func (l *lot) leave(fd, turn int32) net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.byFD[fd]
	if e == nil || e.Value.(*resting).turn != turn {
		return nil
	}
	return l.take(e).conn
}

// take is called with mu held.
func (l *lot) take(e *list.Element) *resting {
	r := l.order.Remove(e).(*resting)
	delete(l.byFD, r.fd)
	return r
}

// sweep closes what has rested too long.
func (l *lot) sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := l.order.Front(); e != nil && time.Since(e.Value.(*resting).since) >= l.idle; e = l.order.Front() {
		l.take(e).close()
	}
}

// lookBack bounds how many callers who are just speaking makeRoom passes over.
const lookBack = 64

// makeRoom closes the connection that has come to rest last, and says whether
// there was one. Gateways call in turn, each as often as the others: who has
// just called needs his connection the latest, and who has rested longest is
// about to call.
func (l *lot) makeRoom() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.order.Back()
	for range lookBack {
		if e == nil {
			return false
		}
		if !e.Value.(*resting).line.ready() {
			l.take(e).close()
			return true
		}
		e = e.Prev()
	}
	return false
}

// count is how many rest.
func (l *lot) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.order.Len()
}

// Close closes all connections at rest, and those that come to rest later.
func (l *lot) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return nil
	}
	l.over = true
	for e := l.order.Front(); e != nil; e = l.order.Front() {
		l.take(e).close()
	}
	return l.file.Close()
}

// Addr is the address of the listener from which they come.
func (l *lot) Addr() net.Addr { return l.addr }

// close says good-bye over TLS as well, without waiting for the peer.
func (r *resting) close() {
	r.line.loosen()
	r.conn.Close()
}

// maxUnread is how much of a request's body is read for nothing, so that the
// connection can be kept.
const maxUnread = 64 << 10

// rest takes the connection of an answered call from net/http, where it may be
// kept, and where there are many. Where that cannot be told, net/http does as it
// likes.
func (s *Server) rest(c *call, r *http.Request) {
	h := c.Header()
	framed := h.Get("Content-Length") != "" || c.status == http.StatusNoContent || c.status == http.StatusNotModified
	if s.lot == nil || s.lines.open.Load() < s.crowd || c.status == 0 || !framed || h.Get("Connection") != "" || h.Get("Transfer-Encoding") != "" ||
		r.Close || !r.ProtoAtLeast(1, 1) || r.Method != http.MethodGet && r.Method != http.MethodPost ||
		r.ContentLength < 0 || r.Header.Get("Expect") != "" {
		return
	}
	if r.ContentLength > 0 {
		if n, err := io.CopyN(io.Discard, r.Body, maxUnread+1); err != io.EOF || n > maxUnread {
			return
		}
	}
	control := http.NewResponseController(c)
	if err := control.Flush(); err != nil {
		return
	}
	conn, buffers, err := control.Hijack()
	if err != nil {
		return
	}
	// net/http has tried to read one octet more since the request was whole. If
	// there is none then none waits in TLS either, but for a part of a record.
	unread, err := buffers.Reader.Peek(buffers.Reader.Buffered())
	if err != nil {
		conn.Close()
		return
	}
	s.lot.park(putBack(conn, unread))
}

// An early is a connection of which something was read too early: a caller has
// sent the next request before he had his answer.
type early struct {
	net.Conn
	first []byte
}

func (e *early) Read(b []byte) (int, error) {
	if len(e.first) == 0 {
		return e.Conn.Read(b)
	}
	n := copy(b, e.first)
	e.first = e.first[n:]
	return n, nil
}

func (e *early) below() *early { return e }

// An earlyTLS tells net/http that the connection is safe.
type earlyTLS struct{ early }

func (e *earlyTLS) ConnectionState() tls.ConnectionState {
	return e.Conn.(*tls.Conn).ConnectionState()
}

// An earlier is an early of either kind.
type earlier interface{ below() *early }

// putBack returns a connection on which unread is read again.
func putBack(conn net.Conn, unread []byte) net.Conn {
	if e, ok := conn.(earlier); ok {
		unread, conn = append(bytes.Clone(unread), e.below().first...), e.below().Conn
	}
	if len(unread) == 0 {
		return conn
	}
	e := early{conn, bytes.Clone(unread)}
	if _, ok := conn.(*tls.Conn); ok {
		return &earlyTLS{e}
	}
	return &e
}
