package nft

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// replyTimeout bounds the wait for the kernel, which answers while it takes
	// the request: longer means that something is wrong.
	replyTimeout = 10 * time.Second

	// receiveBuffer limits (it does not reserve) what the kernel queues for us.
	receiveBuffer = 4 << 20
)

// A socket is a NETLINK_NETFILTER socket in a network namespace.
type socket struct {
	nl     *netlink.Conn
	raw    syscall.RawConn
	buf    []byte
	closed atomic.Bool
}

func openSocket(receive int) (*socket, error) {
	nl, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, fmt.Errorf("%w: %w", ErrNoNFTables, err)
	}
	if err != nil {
		return nil, err
	}
	raw, err := nl.SyscallConn()
	if err != nil {
		nl.Close()
		return nil, err
	}
	s := &socket{nl: nl, raw: raw, buf: make([]byte, maxDatagram)}
	s.setBuffer(unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, receive)
	// Without these (kernels before 4.3 and 4.12) errors are longer and say less.
	_ = nl.SetOption(netlink.CapAcknowledge, true)
	_ = nl.SetOption(netlink.ExtendedAcknowledge, true)
	return s, nil
}

// setBuffer sets a buffer size beyond the system's limit if it may, or up to
// that limit. What it got shows when a datagram does not fit.
func (s *socket) setBuffer(force, plain, bytes int) {
	_ = s.raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, force, bytes) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, plain, bytes)
		}
	})
}

func (s *socket) close() error {
	s.closed.Store(true)
	return s.nl.Close()
}

// setDeadline bounds the waiting of what follows; zero means no bound.
func (s *socket) setDeadline(t time.Time) error { return s.orClosed(s.nl.SetDeadline(t)) }

// orClosed makes os.ErrClosed of whatever a closed socket says.
func (s *socket) orClosed(err error) error {
	if err != nil && s.closed.Load() {
		return os.ErrClosed
	}
	return err
}

// send sends one datagram. The kernel has done the work when it returns.
func (s *socket) send(parts ...[]byte) error {
	var serr error
	err := s.raw.Write(func(fd uintptr) bool {
		for {
			_, serr = unix.SendmsgBuffers(int(fd), parts, nil, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}, 0)
			if serr != unix.EINTR {
				return serr != unix.EAGAIN
			}
		}
	})
	if err != nil {
		return s.orClosed(err)
	}
	return os.NewSyscallError("sendmsg", serr)
}

// receive returns the next datagram from the kernel, which is valid until the
// next call. Unless it may wait (for the read deadline), it returns EAGAIN
// when there is none.
func (s *socket) receive(wait bool) ([]byte, error) {
	for {
		var (
			n, flags int
			from     unix.Sockaddr
			rerr     error
		)
		err := s.raw.Read(func(fd uintptr) bool {
			for {
				n, _, flags, from, rerr = unix.Recvmsg(int(fd), s.buf, nil, unix.MSG_DONTWAIT)
				if rerr != unix.EINTR {
					return !wait || rerr != unix.EAGAIN
				}
			}
		})
		if err != nil {
			return nil, s.orClosed(err)
		}
		if rerr != nil {
			return nil, os.NewSyscallError("recvmsg", rerr)
		}
		// Port 0 is the kernel. Other processes can send to us as well.
		if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
			continue
		}
		if flags&unix.MSG_TRUNC != 0 {
			return nil, fmt.Errorf("%w: datagram longer than %d bytes", errMalformed, len(s.buf))
		}
		return s.buf[:n], nil
	}
}

// A Conn is a connection to nf_tables and conntrack in one network namespace.
// It is safe for concurrent use; calls run one after the other. A table with
// the [Owner] flag belongs to the Conn that adds it, so all changes to it must
// go through that one; anybody may dump it.
type Conn struct {
	mu      sync.Mutex
	s       *socket
	seq     uint32
	sendMax int // the size of the send buffer, 0 before it was asked for
}

// Dial opens a connection in the network namespace of the calling thread (lock
// the goroutine to its thread if that is not the process's). It asks the
// kernel for its ruleset generation, so it fails at once with
// [ErrNoNFTables] or [ErrNoPermission].
func Dial() (*Conn, error) {
	s, err := openSocket(receiveBuffer)
	if err != nil {
		return nil, fmt.Errorf("opening nftables socket: %w", err)
	}
	c := &Conn{s: s}
	if err := c.probe(); err != nil {
		c.Close()
		return nil, fmt.Errorf("asking for nftables: %w", err)
	}
	return c, nil
}

func (c *Conn) probe() error {
	err := c.request(subsysNFT<<8|msgGetGen, 0, 0, nil, func(message) error { return nil })
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: %w", ErrNoPermission, err)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		// nfnetlink's answer for a subsystem that it does not have.
		return fmt.Errorf("%w: %w", ErrNoNFTables, err)
	}
	return err
}

// Close ends the connection and interrupts a call that waits. Later calls
// return os.ErrClosed.
func (c *Conn) Close() error { return c.s.close() }

// Port is the connection's netlink port: the owner of the tables that it adds
// with [Owner], and the Port of the events that it causes.
func (c *Conn) Port() uint32 { return c.s.nl.PID() }

// Commit applies a batch: all of it, or nothing and a [*BatchError].
// [ErrUnknownOutcome] means that the answer was lost.
func (c *Conn) Commit(b *Batch) error { return c.commit(b, true) }

// Check asks whether Commit would succeed, and changes nothing. It tells, for
// one, whether the kernel knows a table flag or an expression.
func (c *Conn) Check(b *Batch) error { return c.commit(b, false) }

// commit sends a batch as one datagram. nfnetlink works through all messages,
// commits if none failed and the end marker is there, and then delivers its
// answers in this order: an error of the batch as a whole, which bears the
// begin marker's number; the errors of messages in order; the
// acknowledgements asked for. Only the last message asks for one, so whatever
// happened is known when that has come, or an error for the begin marker. (The
// end marker itself is acknowledged only since Linux 6.10.)
func (c *Conn) commit(b *Batch, apply bool) error {
	if b.buf.err != nil {
		return b.buf.err
	}
	if len(b.ops) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()

	var begin, end buffer
	m := begin.message(msgBatchBegin, flagRequest, 0, subsysNFT)
	begin.endMessage(m)
	m = end.message(msgBatchEnd, flagRequest, 0, subsysNFT)
	end.endMessage(m)
	first := c.seq + 1 // the begin marker's number; wraps like the kernel's
	last := uint32(len(b.ops))
	c.seq += last + 2
	setSeq(begin.b, first)
	for i, o := range b.ops {
		setSeq(b.buf.b[o.off:], first+1+uint32(i))
	}
	addFlags(b.buf.b[b.ops[last-1].off:], flagAck)
	setSeq(end.b, first+1+last)
	parts := [][]byte{begin.b, b.buf.b, end.b}
	if !apply {
		parts = parts[:2]
	}

	c.growSendBuffer(len(begin.b) + len(b.buf.b) + len(end.b))
	if err := c.s.setDeadline(time.Now().Add(replyTimeout)); err != nil {
		return fmt.Errorf("committing nftables batch: %w", err)
	}
	if err := c.s.send(parts...); err != nil {
		return fmt.Errorf("sending nftables batch of %d messages, %d bytes: %w", len(b.ops), len(b.buf.b), err)
	}

	var (
		failures []Failure
		known    bool  // the last answer has come
		lost     error // an answer may be missing
	)
	for !known {
		data, err := c.s.receive(lost == nil)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if errors.Is(err, unix.ENOBUFS) {
			lost = err // keep reading what is queued
			continue
		}
		if err != nil {
			lost = err
			break
		}
		for m, err := range messages(data) {
			if err != nil {
				lost = err
				break
			}
			i := m.seq - first
			if m.typ != nlError || i > last {
				continue // left over from an earlier request
			}
			f, err := b.failure(m, int(i)-1)
			if err != nil {
				lost = err
				break
			}
			if f.Err != nil {
				failures = append(failures, f)
			}
			if i == last || i == 0 && f.Err != nil {
				known = true
			}
		}
	}
	switch {
	case len(failures) > 0:
		return &BatchError{Failures: failures}
	case lost != nil:
		return fmt.Errorf("committing nftables batch: %w: %w", ErrUnknownOutcome, lost)
	}
	return nil
}

// growSendBuffer makes room for a datagram of n bytes. If it may not, sending
// fails with EMSGSIZE.
func (c *Conn) growSendBuffer(n int) {
	const overhead = 32 // what the kernel keeps free
	_ = c.s.raw.Control(func(fd uintptr) {
		if c.sendMax == 0 {
			c.sendMax, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
		}
	})
	if n+overhead <= c.sendMax {
		return
	}
	c.s.setBuffer(unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, n+overhead)
	c.sendMax = 0
}

// failure reads an answer to message i of the batch (-1 for the batch as a
// whole). Err is nil if it is an acknowledgement.
func (b *Batch) failure(m message, i int) (Failure, error) {
	e, err := parseError(m)
	if err != nil || e.errno == 0 {
		return Failure{}, err
	}
	f := Failure{Index: i, Op: "batch", Err: syscall.Errno(e.errno), Message: e.text, Element: -1}
	if i >= 0 {
		f.Op = b.ops[i].String()
		f.Element = b.elementAt(i, e.offset)
		return f, nil
	}
	switch f.Err {
	case unix.EPERM:
		f.Err = fmt.Errorf("%w: %w", ErrNoPermission, f.Err)
	case unix.EOPNOTSUPP:
		f.Err = fmt.Errorf("%w: %w", ErrNoNFTables, f.Err)
	}
	return f, nil
}

// request sends one message and calls each with every reply, until the
// acknowledgement or the end of the dump.
func (c *Conn) request(typ, flags uint16, family uint8, body func(w *buffer), each func(m message) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lockedRequest(typ, flags, family, body, each)
}

// lockedRequest returns errInterrupted if a dump is not consistent.
func (c *Conn) lockedRequest(typ, flags uint16, family uint8, body func(w *buffer), each func(m message) error) error {
	var w buffer
	if flags&flagDump == 0 {
		flags |= flagAck
	}
	start := w.message(typ, flagRequest|flags, family, 0)
	if body != nil {
		body(&w)
	}
	w.endMessage(start)
	if w.err != nil {
		return w.err
	}
	c.seq++
	setSeq(w.b, c.seq)
	if err := c.s.setDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	if err := c.s.send(w.b); err != nil {
		return err
	}
	// Replies are read to the end even after an error, so that none is left.
	var failed error
	for {
		data, err := c.s.receive(true)
		if err != nil {
			return err
		}
		for m, err := range messages(data) {
			if err != nil {
				return err
			}
			if m.seq != c.seq {
				continue
			}
			if m.flags&flagIntr != 0 && failed == nil {
				failed = errInterrupted
			}
			switch m.typ {
			case nlError, nlDone:
				e, err := parseError(m)
				if err == nil && e.errno != 0 {
					err = e.wrap()
				}
				if failed == nil {
					failed = err
				}
				return failed
			default:
				if failed == nil {
					failed = each(m)
				}
			}
		}
	}
}

// dump repeats a dump until it is consistent; begin is called before each
// attempt. The kernel flags an interrupted dump of tables or objects, but not
// one of set elements, so the ruleset's generation is compared as well. It
// changes with every batch of anybody's, and not when elements time out.
func (c *Conn) dump(typ uint16, family uint8, body func(w *buffer), begin func(), each func(m message) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range 20 {
		begin()
		before, err := c.generation(typ)
		if err != nil {
			return err
		}
		err = c.lockedRequest(typ, flagDump, family, body, each)
		if errors.Is(err, errInterrupted) || errors.Is(err, unix.ENOBUFS) {
			continue
		}
		if err != nil {
			return err
		}
		if after, err := c.generation(typ); err != nil || after == before {
			return err
		}
	}
	return ErrBusy
}

// generation returns the number of the ruleset if typ is about it, else 0.
func (c *Conn) generation(typ uint16) (gen uint32, err error) {
	if typ>>8 != subsysNFT {
		return 0, nil
	}
	err = c.lockedRequest(subsysNFT<<8|msgGetGen, 0, 0, nil, func(m message) (err error) {
		gen, err = decodeGeneration(m)
		return err
	})
	return gen, err
}
