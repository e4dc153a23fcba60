package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// errLost means that the kernel's answers were lost (ENOBUFS).
var errLost = errors.New("the kernel's answers were lost")

// rtnl is a NETLINK_ROUTE socket for traffic control and neighbours. Requests
// are sent many at a time, which matters on a slow processor: setting up a
// thousand customers takes tens of system calls. Safe for concurrent use.
type rtnl struct {
	mu  sync.Mutex
	fd  int
	seq uint32
	in  []byte
}

// dialRTNL opens a socket in the network namespace of the calling thread.
func dialRTNL() (*rtnl, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	// The kernel answers while it takes a request; the timeout is for the case
	// that something is very wrong.
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 2<<20) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 2<<20)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return &rtnl{fd: fd, in: make([]byte, 64<<10)}, nil
}

func (c *rtnl) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return nil
	}
	fd := c.fd
	c.fd = -1
	return unix.Close(fd)
}

// requests collects netlink messages.
type requests struct {
	b    []byte
	offs []int
}

// begin starts a message; the caller appends its body and calls end.
func (r *requests) begin(typ, flags uint16) {
	for len(r.b)%4 != 0 {
		r.b = append(r.b, 0)
	}
	r.offs = append(r.offs, len(r.b))
	r.b = append(r.b, make([]byte, unix.SizeofNlMsghdr)...)
	h := r.b[len(r.b)-unix.SizeofNlMsghdr:]
	binary.NativeEndian.PutUint16(h[4:], typ)
	binary.NativeEndian.PutUint16(h[6:], flags|unix.NLM_F_REQUEST)
}

func (r *requests) end() {
	off := r.offs[len(r.offs)-1]
	binary.NativeEndian.PutUint32(r.b[off:], uint32(len(r.b)-off))
}

func (r *requests) put32(v uint32) { r.b = binary.NativeEndian.AppendUint32(r.b, v) }

func (r *requests) attr(typ uint16, v []byte) {
	r.b = binary.NativeEndian.AppendUint16(r.b, uint16(4+len(v)))
	r.b = binary.NativeEndian.AppendUint16(r.b, typ)
	r.b = append(r.b, v...)
	for len(r.b)%4 != 0 {
		r.b = append(r.b, 0)
	}
}

func (r *requests) attr32(typ uint16, v uint32) {
	r.attr(typ, binary.NativeEndian.AppendUint32(nil, v))
}

func (r *requests) attrString(typ uint16, s string) { r.attr(typ, append([]byte(s), 0)) }

// nest starts an attribute of attributes; unnest ends it.
func (r *requests) nest(typ uint16) (start int) {
	start = len(r.b)
	r.b = binary.NativeEndian.AppendUint16(r.b, 0)
	r.b = binary.NativeEndian.AppendUint16(r.b, typ)
	return start
}

func (r *requests) unnest(start int) {
	binary.NativeEndian.PutUint16(r.b[start:], uint16(len(r.b)-start))
}

// maxInFlight bounds the answers that the kernel must queue for us.
const maxInFlight = 128

// do sends the requests in order and returns the kernel's error for each, nil
// where it succeeded. Every message asks for an acknowledgement; reply gets
// what comes besides (index of the request, message type, body). The third
// result is about the exchange as a whole.
func (c *rtnl) do(r *requests, reply func(i int, typ uint16, body []byte)) ([]error, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := make([]error, len(r.offs))
	for first := 0; first < len(r.offs); first += maxInFlight {
		last := min(first+maxInFlight, len(r.offs))
		end := len(r.b)
		if last < len(r.offs) {
			end = r.offs[last]
		}
		if err := c.exchange(r.b[r.offs[first]:end], r, first, last, errs, reply); err != nil {
			return errs, err
		}
	}
	return errs, nil
}

func (c *rtnl) exchange(part []byte, r *requests, first, last int, errs []error, reply func(int, uint16, []byte)) error {
	base := c.seq + 1
	c.seq += uint32(last - first)
	for i := first; i < last; i++ {
		h := r.b[r.offs[i]:]
		binary.NativeEndian.PutUint16(h[6:], binary.NativeEndian.Uint16(h[6:])|unix.NLM_F_ACK)
		binary.NativeEndian.PutUint32(h[8:], base+uint32(i-first))
	}
	if err := c.send(part); err != nil {
		return err
	}
	for open := last - first; open > 0; {
		err := c.receive(func(typ uint16, flags uint16, seq uint32, body []byte) {
			i := int(seq - base)
			if i < 0 || i >= last-first {
				return // left over from an exchange that failed
			}
			i += first
			if typ != unix.NLMSG_ERROR {
				if reply != nil {
					reply(i, typ, body)
				}
				return
			}
			open--
			if len(body) >= 4 {
				if no := int32(binary.NativeEndian.Uint32(body)); no != 0 {
					errs[i] = unix.Errno(-no)
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dump sends one dump request and calls each with every message.
func (c *rtnl) dump(r *requests, each func(typ uint16, body []byte)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	seq := c.seq
	h := r.b[r.offs[0]:]
	binary.NativeEndian.PutUint16(h[6:], binary.NativeEndian.Uint16(h[6:])|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(h[8:], seq)
	if err := c.send(r.b); err != nil {
		return err
	}
	var failed error
	for done := false; !done; {
		err := c.receive(func(typ uint16, flags uint16, got uint32, body []byte) {
			if got != seq {
				return
			}
			switch typ {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				done = true
				if len(body) >= 4 {
					if no := int32(binary.NativeEndian.Uint32(body)); no < 0 {
						failed = unix.Errno(-no)
					}
				}
			default:
				each(typ, body)
			}
		})
		if err != nil {
			return err
		}
	}
	return failed
}

func (c *rtnl) send(b []byte) error {
	for {
		err := unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err != unix.EINTR {
			return os.NewSyscallError("sendto", err)
		}
	}
}

// receive reads one datagram and hands on its messages.
func (c *rtnl) receive(each func(typ, flags uint16, seq uint32, body []byte)) error {
	n, from, err := unix.Recvfrom(c.fd, c.in, 0)
	switch {
	case err == unix.EINTR:
		return nil
	case err == unix.ENOBUFS:
		return fmt.Errorf("%w: %w", errLost, err)
	case err != nil:
		return os.NewSyscallError("recvfrom", err)
	}
	if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
		return nil
	}
	for b := c.in[:n]; len(b) >= unix.SizeofNlMsghdr; {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return errors.New("malformed netlink message")
		}
		each(binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:]),
			binary.NativeEndian.Uint32(b[8:]), b[unix.SizeofNlMsghdr:size])
		b = b[min((size+3)&^3, len(b)):]
	}
	return nil
}

// attrs calls f with every attribute of b. The contents are valid during the call.
func attrs(b []byte, f func(typ uint16, v []byte)) {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&0x3fff, b[4:n])
		b = b[min((n+3)&^3, len(b)):]
	}
}
