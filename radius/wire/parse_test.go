package wire

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"layeh.com/radius"
)

// packetOf makes a packet with these attribute octets and a right length.
func packetOf(c Code, attributes ...byte) []byte {
	b := make([]byte, HeaderLen, HeaderLen+len(attributes))
	b[0] = byte(c)
	binary.BigEndian.PutUint16(b[2:], uint16(HeaderLen+len(attributes)))
	return append(b, attributes...)
}

func withLength(b []byte, n int) []byte {
	b = bytes.Clone(b)
	binary.BigEndian.PutUint16(b[2:], uint16(n))
	return b
}

func repeat(n int, attribute ...byte) []byte { return bytes.Repeat(attribute, n) }

// attr is one attribute with a value of n zeros.
func attr(t Type, n int) []byte { return append([]byte{byte(t), byte(2 + n)}, make([]byte, n)...) }

var parseTable = []struct {
	name     string
	datagram []byte
	want     Reason
}{
	{"nothing", nil, TooShort},
	{"19 octets", make([]byte, 19), TooShort},
	{"only a header", packetOf(AccessRequest), Valid},
	{"says 0", withLength(packetOf(AccessRequest), 0), TooShort},
	{"says 10", withLength(packetOf(AccessRequest), 10), TooShort},
	{"says 19", withLength(packetOf(AccessRequest), 19), TooShort},
	{"says more than came", withLength(packetOf(AccessRequest), 21), Truncated},
	{"4096 octets", packetOf(AccessRequest, append(repeat(15, attr(Class, 253)...), append(attr(Class, 247), attr(Class, 0)...)...)...), Valid},
	{"says 4097", withLength(append(packetOf(AccessRequest), make([]byte, 4077)...), 4097), TooLong},
	{"says 65535", withLength(packetOf(AccessRequest), 65535), TooLong},
	{"padded", append(packetOf(AccessRequest, attr(UserName, 3)...), 0, 0, 0, 0), Valid},
	{"padded with what looks like an attribute", append(packetOf(AccessRequest, attr(UserName, 3)...), 80, 18), Valid},
	{"padded to the end of the world", append(packetOf(AccessRequest), make([]byte, 60000)...), Valid},
	{"code 0", packetOf(0), UnknownCode},
	{"code 13, Status-Client", packetOf(13), UnknownCode},
	{"code 53", packetOf(53), UnknownCode},
	{"code 255", packetOf(255), UnknownCode},
	{"one octet left", packetOf(AccessRequest, 1), BadAttribute},
	{"one octet left after a good one", packetOf(AccessRequest, 1, 3, 'a', 4), BadAttribute},
	{"attribute type 0", packetOf(AccessRequest, 0, 3, 'a'), BadAttribute},
	{"attribute length 0", packetOf(AccessRequest, 1, 0, 1, 3), BadAttribute},
	{"attribute length 1", packetOf(AccessRequest, 1, 1), BadAttribute},
	{"attribute without a value", packetOf(AccessRequest, 1, 2), Valid},
	{"attribute past the end", packetOf(AccessRequest, 1, 5, 'a'), BadAttribute},
	{"attribute past the end, into the padding", append(packetOf(AccessRequest, 1, 5, 'a'), 'b', 'c'), BadAttribute},
	{"200 attributes", packetOf(AccessRequest, repeat(200, 1, 3, 'a')...), Valid},
	{"201 attributes", packetOf(AccessRequest, repeat(201, 1, 3, 'a')...), TooManyAttributes},
	{"2038 attributes", packetOf(AccessRequest, repeat(2038, 1, 2)...), TooManyAttributes},
	{"Message-Authenticator", packetOf(AccessRequest, attr(MessageAuthenticator, 16)...), Valid},
	{"Message-Authenticator of 15", packetOf(AccessRequest, attr(MessageAuthenticator, 15)...), BadMA},
	{"Message-Authenticator of 17", packetOf(AccessRequest, attr(MessageAuthenticator, 17)...), BadMA},
	{"Message-Authenticator of 0", packetOf(AccessRequest, attr(MessageAuthenticator, 0)...), BadMA},
	{"Message-Authenticator twice", packetOf(AccessRequest, repeat(2, attr(MessageAuthenticator, 16)...)...), BadMA},
	{"EAP unsigned", packetOf(AccessRequest, attr(EAPMessage, 5)...), UnsignedEAP},
	{"EAP signed", packetOf(AccessRequest, slices.Concat(attr(EAPMessage, 5), attr(MessageAuthenticator, 16))...), Valid},
	{"EAP and User-Password", packetOf(AccessRequest, slices.Concat(attr(EAPMessage, 5), attr(MessageAuthenticator, 16), attr(UserPassword, 16))...), MixedEAP},
	{"EAP and CHAP-Password", packetOf(AccessRequest, slices.Concat(attr(CHAPPassword, 17), attr(EAPMessage, 5), attr(MessageAuthenticator, 16))...), MixedEAP},
	{"Status-Server unsigned", packetOf(StatusServer, attr(NASIdentifier, 4)...), UnsignedStatus},
	{"Status-Server signed", packetOf(StatusServer, attr(MessageAuthenticator, 16)...), Valid},
	{"vendor's inner length 0", packetOf(AccessRequest, 26, 8, 0, 0, 0x38, 0x8d, 8, 0), Valid},
	{"vendor's inner length past the end", packetOf(AccessRequest, 26, 9, 0, 0, 0x38, 0x8d, 8, 99, 'x'), Valid},
}

func TestParse(t *testing.T) {
	for _, c := range parseTable {
		p, r := Parse(c.datagram)
		if r != c.want {
			t.Errorf("%s: %v, want %v", c.name, r, c.want)
		}
		if r != Valid {
			continue
		}
		if len(p.Raw()) != int(binary.BigEndian.Uint16(c.datagram[2:])) {
			t.Errorf("%s: %d octets of packet", c.name, len(p.Raw()))
		}
		checkPacket(t, &p)
	}
}

// checkPacket walks everything that can be asked of a packet. The loops end
// whatever it holds; a value never reaches beyond the packet.
func checkPacket(t testing.TB, p *Packet) {
	t.Helper()
	size := HeaderLen
	for a := range p.Attributes() {
		if cap(a.Value) != len(a.Value) {
			t.Fatalf("attribute %d: appending to it would write into the packet", a.Type)
		}
		size += 2 + len(a.Value)
		if _, ok := p.Value(a.Type); !ok {
			t.Fatalf("attribute %d is there and is not found", a.Type)
		}
	}
	if size != len(p.Raw()) {
		t.Fatalf("attributes fill %d octets of %d", size, len(p.Raw()))
	}
	inner := 0
	for v := range p.VendorAttributes() {
		inner += 2 + len(v.Value)
		if _, ok := p.VendorValue(v.Vendor, v.Type); !ok {
			t.Fatalf("attribute %d of vendor %d is there and is not found", v.Type, v.Vendor)
		}
	}
	if inner > size {
		t.Fatalf("vendors' attributes have %d octets of %d", inner, size)
	}
	p.Proof(rfcSecret).Proves("x")
	p.RefuseEAP()
}

// The codec library is another reading of the same RFC: where it and we take
// a packet, both find the same in it.
func checkLikeLibrary(t testing.TB, p *Packet) {
	t.Helper()
	theirs, err := radius.Parse(p.Raw(), rfcSecret)
	if err != nil {
		t.Fatalf("the library refuses %x: %v", p.Raw(), err)
	}
	var i int
	for a := range p.Attributes() {
		if i == len(theirs.Attributes) || radius.Type(a.Type) != theirs.Attributes[i].Type || !bytes.Equal(a.Value, theirs.Attributes[i].Attribute) {
			t.Fatalf("attribute %d of %x differs from the library's", i, p.Raw())
		}
		i++
	}
	if i != len(theirs.Attributes) || p.Code != theirs.Code || p.ID != theirs.Identifier || p.Authenticator != theirs.Authenticator {
		t.Fatalf("%x differs from the library's", p.Raw())
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	b := octets(t, framedRequest)
	if n := testing.AllocsPerRun(100, func() {
		p, _ := Parse(b)
		p.Value(CHAPPassword)
		p.VendorValue(MikroTik, MikroTikHostIP)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range parseTable {
		f.Add(c.datagram)
	}
	for _, s := range []string{telnetRequest, framedRequest, cardChallenge, cardPrinted, cardAnswer} {
		f.Add(octets(f, s))
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		before := bytes.Clone(datagram)
		p, r := Parse(datagram)
		if r == Valid {
			checkPacket(t, &p)
			checkLikeLibrary(t, &p)
			p.Verify(rfcSecret)
			p.VerifyReply(datagram, rfcSecret)
		} else if r.String() == "unknown_reason" || p.Raw() != nil {
			t.Fatalf("refused with %v and %x", r, p.Raw())
		}
		if !bytes.Equal(before, datagram) {
			t.Fatal("the datagram was changed")
		}
	})
}

func FuzzVendorAttributes(f *testing.F) {
	f.Add([]byte{0, 0, 0x38, 0x8d, 8, 4, 'a', 'b', 17, 6, 0, 0, 0, 1})
	f.Add([]byte{0, 0, 0x38, 0x8d, 8, 0})
	f.Add([]byte{0, 0, 0x38, 0x8d, 8, 1, 1})
	f.Add([]byte{0, 0, 0x38, 0x8d, 8, 2, 8, 255})
	f.Add([]byte{1, 0, 0x38, 0x8d, 8, 3, 'a'})
	f.Add([]byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, value []byte) {
		if len(value) > maxValue {
			return
		}
		b := packetOf(AccessRequest, append([]byte{byte(VendorSpecific), byte(2 + len(value))}, value...)...)
		p := parse(t, b)
		checkPacket(t, p)
		for v := range p.VendorAttributes() {
			if !bytes.HasPrefix(value, binary.BigEndian.AppendUint32(nil, uint32(v.Vendor))) {
				t.Fatalf("vendor %d in %x", v.Vendor, value)
			}
			if len(v.Value) == 0 {
				continue
			}
			// What is read can be written, and is read the same.
			again, err := Request{Code: AccessRequest, Attributes: []Attribute{VendorOctets(v.Vendor, v.Type, v.Value)}}.Encode(rfcSecret)
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := parse(t, again).VendorValue(v.Vendor, v.Type); !ok || !bytes.Equal(got, v.Value) {
				t.Fatalf("wrote %x, read %x", v.Value, got)
			}
		}
	})
}
