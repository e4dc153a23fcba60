package wire

import (
	"encoding/binary"
	"iter"
	"math"
	"net/netip"
)

// Octets makes an attribute of any value. One without octets is left out of
// the packet (RFC 2865 section 5), one above 253 makes writing it fail.
func Octets(t Type, v []byte) Attribute { return Attribute{t, v} }

// Text makes an attribute of a text.
func Text(t Type, v string) Attribute { return Attribute{t, []byte(v)} }

// Uint32 makes an attribute of a number.
func Uint32(t Type, v uint32) Attribute {
	return Attribute{t, binary.BigEndian.AppendUint32(nil, v)}
}

// Addr makes an attribute of an address: 4 octets for IPv4, 16 for IPv6.
func Addr(t Type, v netip.Addr) Attribute { return Attribute{t, v.Unmap().AsSlice()} }

// VendorOctets makes a Vendor-Specific attribute with one of the vendor's own
// in it (RFC 2865 section 5.26, one octet each for type and length). An empty
// value leaves it out.
func VendorOctets(vendor VendorID, t Type, v []byte) Attribute { return vendorValue(vendor, t, v) }

func vendorValue[T []byte | string](vendor VendorID, t Type, v T) Attribute {
	if len(v) == 0 {
		return Attribute{Type: VendorSpecific}
	}
	b := make([]byte, 0, 6+len(v))
	b = binary.BigEndian.AppendUint32(b, uint32(vendor))
	// A length that does not fit its octet does not fit the attribute either:
	// writing the packet refuses it.
	b = append(b, byte(t), byte(2+len(v)))
	return Attribute{VendorSpecific, append(b, v...)}
}

// VendorText is [VendorOctets] of a text.
func VendorText(vendor VendorID, t Type, v string) Attribute {
	return vendorValue(vendor, t, v)
}

// VendorUint32 is [VendorOctets] of a number.
func VendorUint32(vendor VendorID, t Type, v uint32) Attribute {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	return vendorValue(vendor, t, b[:])
}

// Saturate is v, or the largest number that 32 bits hold: WISPr rates, and
// quotas of NASes that know no gigawords.
func Saturate(v uint64) uint32 { return uint32(min(v, math.MaxUint32)) }

// A VendorAttribute is one attribute inside a Vendor-Specific one.
type VendorAttribute struct {
	Vendor VendorID
	Type   Type
	Value  []byte
}

// VendorAttributes yields the attributes of every vendor in the order of the
// packet. One Vendor-Specific attribute may hold several. Where an inner
// length makes no sense the rest of that Vendor-Specific is skipped: vendors
// may use another format (RFC 2865 section 5.26), so the packet stays valid.
func (p *Packet) VendorAttributes() iter.Seq[VendorAttribute] {
	return func(yield func(VendorAttribute) bool) {
		for rest := p.raw[HeaderLen:]; len(rest) > 0; rest = rest[rest[1]:] {
			if Type(rest[0]) == VendorSpecific && !vendorAttributes(rest[2:rest[1]], yield) {
				return
			}
		}
	}
}

// vendorAttributes yields what one Vendor-Specific attribute holds, and false
// when no more is wanted.
func vendorAttributes(v []byte, yield func(VendorAttribute) bool) bool {
	if len(v) < 4 {
		return true
	}
	vendor := VendorID(binary.BigEndian.Uint32(v))
	if vendor > maxVendorID {
		return true
	}
	for rest := v[4:]; len(rest) >= 2; rest = rest[rest[1]:] {
		if rest[1] < 2 || int(rest[1]) > len(rest) {
			break
		}
		if !yield(VendorAttribute{vendor, Type(rest[0]), rest[2:rest[1]:rest[1]]}) {
			return false
		}
	}
	return true
}

// VendorValue is a vendor's first attribute of a type.
func (p *Packet) VendorValue(vendor VendorID, t Type) ([]byte, bool) {
	for a := range p.VendorAttributes() {
		if a.Vendor == vendor && a.Type == t {
			return a.Value, true
		}
	}
	return nil, false
}

// VendorText is a copy of a vendor's first attribute of a type, empty when
// there is none.
func (p *Packet) VendorText(vendor VendorID, t Type) string {
	v, _ := p.VendorValue(vendor, t)
	return string(v)
}

// VendorUint32 is a vendor's first attribute of a type, if it has four octets.
func (p *Packet) VendorUint32(vendor VendorID, t Type) (uint32, bool) {
	v, _ := p.VendorValue(vendor, t)
	return number(v)
}
