package radius

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// askDestination makes the kernel say, with each datagram, which of the
// machine's addresses it was sent to (IP_PKTINFO, ip(7) and ipv6(7)).
func askDestination(conn syscall.RawConn, six bool) error {
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if six {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	var err error
	if e := conn.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) }); e != nil {
		return e
	}
	return err
}

// sourceFor turns what came with a datagram into what makes the answer come
// from the address that was asked: the same control message, whose address
// the kernel takes as the source. The interface in it is wiped, so that
// routes decide where the answer leaves (a NAS may be reached another way than
// it came in), except between link-local addresses, which mean nothing
// without one.
func sourceFor(oob []byte, from netip.Addr) []byte {
	if len(oob) < unix.SizeofCmsghdr || from.IsLinkLocalUnicast() {
		return oob
	}
	level := binary.NativeEndian.Uint32(oob[unix.SizeofCmsghdr-8:])
	kind := binary.NativeEndian.Uint32(oob[unix.SizeofCmsghdr-4:])
	index := unix.CmsgLen(0)
	switch {
	case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && len(oob) >= index+unix.SizeofInet4Pktinfo:
	case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && len(oob) >= index+unix.SizeofInet6Pktinfo:
		index += net.IPv6len // the address comes first
	default:
		return oob
	}
	clear(oob[index : index+4])
	return oob
}
