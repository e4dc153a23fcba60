package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// listen opens UDP and TCP sockets of both families on one interface. They are
// not bound to an address, so that they survive a change of addresses; to reply
// from the address that was asked (a redirected question comes back to its
// sender only from there), UDP reads carry it as control data. A kernel
// without IPv6 gives those of IPv4 alone.
func listen(ctx context.Context, device string, port uint16) (udp []*net.UDPConn, tcp []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, c := range udp {
				c.Close()
			}
			for _, l := range tcp {
				l.Close()
			}
		}
	}()
	lc := net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) {
			err = unix.BindToDevice(int(fd), device)
			switch network {
			case "udp4":
				err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1))
			case "udp6":
				err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1))
			}
		}); cerr != nil {
			return cerr
		}
		return err
	}}
	for _, family := range []struct{ suffix, any string }{{"4", "0.0.0.0"}, {"6", "::"}} {
		addr := net.JoinHostPort(family.any, strconv.Itoa(int(port)))
		u, err := lc.ListenPacket(ctx, "udp"+family.suffix, addr)
		if err != nil {
			if family.suffix == "6" && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
				break
			}
			return udp, tcp, fmt.Errorf("opening udp port %d: %w", port, err)
		}
		udp = append(udp, u.(*net.UDPConn))
		t, err := lc.Listen(ctx, "tcp"+family.suffix, addr)
		if err != nil {
			return udp, tcp, fmt.Errorf("opening tcp port %d: %w", port, err)
		}
		tcp = append(tcp, t)
	}
	return udp, tcp, nil
}

// replyControl turns the control data of a question into those of its answer:
// from the address that was asked. See ip(7) and RFC 3542 section 6.
func replyControl(received []byte) []byte {
	if len(received) == 0 {
		return nil
	}
	msgs, err := unix.ParseSocketControlMessage(received)
	if err != nil {
		return nil
	}
	for _, m := range msgs {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			// The interface is left to the route: the address decides.
			return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte(m.Data[4:8])})
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			// A link-local address means nothing without its interface.
			return unix.PktInfo6(&unix.Inet6Pktinfo{
				Addr:    [16]byte(m.Data[:16]),
				Ifindex: binary.NativeEndian.Uint32(m.Data[16:20]),
			})
		}
	}
	return nil
}
