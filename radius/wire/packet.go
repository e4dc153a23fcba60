package wire

import (
	"encoding/binary"
	"iter"
	"net/netip"
)

// Sizes of RFC 2865 section 3, and how many attributes are looked at: real
// packets have 10 to 30, and FreeRADIUS draws the line at 200 too.
const (
	HeaderLen     = 20
	MaxLen        = 4096
	MaxAttributes = 200
	maxValue      = 253
)

// A Packet is a datagram that follows every rule of [Parse].
//
// Values that its methods return are views of that datagram, not copies.
type Packet struct {
	Code          Code
	ID            byte
	Authenticator [16]byte

	raw   []byte // exactly as long as its Length field says
	mac   int    // where the value of the Message-Authenticator begins; 0 for none
	proxy bool   // has a Proxy-State
	eap   bool   // has an EAP-Message
}

// Raw is the packet as it was received, without padding.
func (p *Packet) Raw() []byte { return p.raw }

// Signed reports whether the packet has a Message-Authenticator at all.
// [Packet.Verify] says whether it is right.
func (p *Packet) Signed() bool { return p.mac != 0 }

// Proxied reports whether the packet has a Proxy-State.
func (p *Packet) Proxied() bool { return p.proxy }

// EAP reports whether the packet has an EAP-Message.
func (p *Packet) EAP() bool { return p.eap }

// An Attribute is one type and value. A Vendor-Specific one holds its vendor
// and type in the value: [VendorOctets] and its kind make them.
type Attribute struct {
	Type  Type
	Value []byte
}

// Attributes yields every attribute in the order of the packet.
func (p *Packet) Attributes() iter.Seq[Attribute] {
	return func(yield func(Attribute) bool) {
		for rest := p.raw[HeaderLen:]; len(rest) > 0; rest = rest[rest[1]:] {
			if !yield(Attribute{Type(rest[0]), rest[2:rest[1]:rest[1]]}) {
				return
			}
		}
	}
}

// Value is the first attribute of a type.
func (p *Packet) Value(t Type) ([]byte, bool) {
	for rest := p.raw[HeaderLen:]; len(rest) > 0; rest = rest[rest[1]:] {
		if Type(rest[0]) == t {
			return rest[2:rest[1]:rest[1]], true
		}
	}
	return nil, false
}

// Text is a copy of the first attribute of a type, empty when there is none.
func (p *Packet) Text(t Type) string {
	v, _ := p.Value(t)
	return string(v)
}

// Uint32 is the first attribute of a type, if it has four octets.
func (p *Packet) Uint32(t Type) (uint32, bool) {
	v, _ := p.Value(t)
	return number(v)
}

func number(v []byte) (uint32, bool) {
	if len(v) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(v), true
}

// Addr is the first attribute of a type, if it is an IPv4 or IPv6 address.
func (p *Packet) Addr(t Type) (netip.Addr, bool) {
	v, _ := p.Value(t)
	return netip.AddrFromSlice(v)
}

// Counter is a 64-bit counter in two attributes (RFC 2869 sections 5.1 and
// 5.2): high counts how often low went past 2^32. wide reports whether high
// was there; without it the value has only its low 32 bits. ok reports whether
// low was there: a high without it says nothing.
func (p *Packet) Counter(low, high Type) (value uint64, wide, ok bool) {
	l, ok := p.Uint32(low)
	if !ok {
		return 0, false, false
	}
	h, wide := p.Uint32(high)
	return uint64(h)<<32 | uint64(l), wide, true
}
