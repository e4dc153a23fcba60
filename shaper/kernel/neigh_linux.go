package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"zonegate"
)

// ErrUnknownDevice means that the kernel knows no LAN neighbour with the
// address.
var ErrUnknownDevice = errors.New("no device on the LAN has this address")

const (
	ndaDst    = 1
	ndaLLAddr = 2
	ndMsgLen  = 12
	// usable states: reachable, stale, delay, probe, permanent (NUD_*).
	nudUsable = 0x02 | 0x04 | 0x08 | 0x10 | 0x80
)

// Locate returns the MAC of the customer with an address, from the kernel's
// neighbour table. A device that has just sent a request is in it.
// [ErrUnknownDevice] if it is not, or is not on the LAN.
func (s *Shaper) Locate(ctx context.Context, a netip.Addr) (zonegate.MAC, error) {
	if err := ctx.Err(); err != nil {
		return zonegate.MAC{}, err
	}
	s.mu.Lock()
	index := s.lan.index
	if index == 0 {
		if _, err := s.lan.look(s.route); err != nil {
			s.mu.Unlock()
			return zonegate.MAC{}, err
		}
		index = s.lan.index
	}
	s.mu.Unlock()
	a = a.Unmap().WithZone("")
	var (
		mac   zonegate.MAC
		found bool
	)
	take := func(body []byte) {
		if m, ok := parseNeighbour(body, index, a); ok {
			mac, found = m, true
		}
	}
	var r requests
	r.neighbour(unix.RTM_GETNEIGH, index, a)
	errs, err := s.tc.do(&r, func(_ int, _ uint16, body []byte) { take(body) })
	if err != nil {
		return mac, fmt.Errorf("reading the neighbour %s: %w", a, err)
	}
	if err := errs[0]; err == unix.EOPNOTSUPP || err == unix.EINVAL {
		// Kernels before 5.0 only list.
		r = requests{}
		r.neighbour(unix.RTM_GETNEIGH, index, netip.Addr{})
		if err := s.bulk.dump(&r, func(_ uint16, body []byte) { take(body) }); err != nil {
			return mac, fmt.Errorf("listing neighbours: %w", err)
		}
	} else if err != nil && err != unix.ENOENT {
		return mac, fmt.Errorf("reading the neighbour %s: %w", a, err)
	}
	if !found {
		return mac, fmt.Errorf("%s: %w", a, ErrUnknownDevice)
	}
	return mac, nil
}

// neighbour writes a request for one neighbour, or for a list if a is zero.
func (r *requests) neighbour(typ uint16, index int, a netip.Addr) {
	family := byte(unix.AF_UNSPEC)
	switch {
	case a.Is4():
		family = unix.AF_INET
	case a.Is6():
		family = unix.AF_INET6
	}
	r.begin(typ, 0)
	r.b = append(r.b, family, 0, 0, 0)
	if a.IsValid() {
		r.put32(uint32(index))
	} else {
		r.put32(0)
	}
	r.put32(0)
	if a.IsValid() {
		r.attr(ndaDst, a.AsSlice())
	}
	r.end()
}

func parseNeighbour(body []byte, index int, a netip.Addr) (mac zonegate.MAC, ok bool) {
	if len(body) < ndMsgLen || int(binary.NativeEndian.Uint32(body[4:])) != index {
		return mac, false
	}
	if state := binary.NativeEndian.Uint16(body[8:]); state&nudUsable == 0 {
		return mac, false
	}
	same := false
	attrs(body[ndMsgLen:], func(typ uint16, v []byte) {
		switch typ {
		case ndaDst:
			got, valid := netip.AddrFromSlice(v)
			same = valid && got == a
		case ndaLLAddr:
			ok = copy(mac[:], v) == len(mac) && len(v) == len(mac)
		}
	})
	return mac, same && ok
}
