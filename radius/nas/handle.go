package nas

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// A Handle is everything that a NAS may want to see again to find one of its
// sessions, byte for byte as it reported it (uspot compares octets, MikroTik
// its own NAS-IP-Address). Encode makes it the string that a session keeps.
type Handle struct {
	// UserName (RFC 2865 section 5.1) and SessionID (Acct-Session-Id, RFC 2866
	// section 5.5) are the pair that every NAS understands.
	UserName, SessionID string
	// FramedIP is the customer's address; Framed-IP-Address.
	FramedIP netip.Addr
	// CallingStation and CalledStation are in the NAS's own spelling.
	CallingStation, CalledStation string
	// NASIP and NASIPv6 are NAS-IP-Address and NAS-IPv6-Address as the NAS
	// says them, which need not be where its packets come from.
	NASIP, NASIPv6 netip.Addr
	NASIdentifier  string
	// NASPort counts only with HasNASPort.
	NASPort    uint32
	HasNASPort bool
	NASPortID  string
}

// The form of an encoded handle: a version, then fields of type, length and
// value. The types are those of the attributes.
const (
	handleVersion = 1
	// maxHandle holds every field at its longest: six texts, two addresses of
	// 4 octets, one of 16, and a number.
	maxHandle = 1 + 6*(2+maxValue) + 3*(2+4) + 2 + 16
	// maxValue is the longest value of an attribute.
	maxValue = 253
)

// Encode returns the handle as a short string of octets. Texts that no
// attribute could have carried are left out.
func (h Handle) Encode() string {
	b := []byte{handleVersion}
	put := func(t byte, v []byte) {
		if len(v) > 0 && len(v) <= maxValue {
			b = append(append(b, t, byte(len(v))), v...)
		}
	}
	put4 := func(t byte, a netip.Addr) {
		if a.Is4() {
			put(t, a.AsSlice())
		}
	}
	put(typeUserName, []byte(h.UserName))
	put(typeAcctSessionID, []byte(h.SessionID))
	put4(typeFramedIPAddress, h.FramedIP)
	put(typeCallingStationID, []byte(h.CallingStation))
	put(typeCalledStationID, []byte(h.CalledStation))
	put4(typeNASIPAddress, h.NASIP)
	if h.NASIPv6.Is6() {
		put(typeNASIPv6Address, h.NASIPv6.WithZone("").AsSlice())
	}
	put(typeNASIdentifier, []byte(h.NASIdentifier))
	if h.HasNASPort {
		put(typeNASPort, binary.BigEndian.AppendUint32(nil, h.NASPort))
	}
	put(typeNASPortID, []byte(h.NASPortID))
	return string(b)
}

// ErrHandle is returned for a string that Encode did not make.
var ErrHandle = errors.New("the session's handle is damaged or of another version")

// DecodeHandle takes back what Encode made. Any string may be given to it.
func DecodeHandle(s string) (Handle, error) {
	var h Handle
	if len(s) == 0 || len(s) > maxHandle || s[0] != handleVersion {
		return Handle{}, ErrHandle
	}
	var seen [256]bool
	for s = s[1:]; len(s) > 0; {
		if len(s) < 3 || s[1] == 0 || int(s[1]) > len(s)-2 || seen[s[0]] {
			return Handle{}, ErrHandle
		}
		t, v := s[0], s[2:2+int(s[1])]
		s = s[2+int(s[1]):]
		seen[t] = true
		want := 0
		switch t {
		case typeUserName:
			h.UserName = v
		case typeAcctSessionID:
			h.SessionID = v
		case typeCallingStationID:
			h.CallingStation = v
		case typeCalledStationID:
			h.CalledStation = v
		case typeNASIdentifier:
			h.NASIdentifier = v
		case typeNASPortID:
			h.NASPortID = v
		case typeFramedIPAddress, typeNASIPAddress, typeNASPort:
			want = 4
		case typeNASIPv6Address:
			want = 16
		default:
			return Handle{}, ErrHandle
		}
		if len(v) > maxValue || want != 0 && len(v) != want {
			return Handle{}, ErrHandle
		}
		switch t {
		case typeFramedIPAddress:
			h.FramedIP = netip.AddrFrom4([4]byte([]byte(v)))
		case typeNASIPAddress:
			h.NASIP = netip.AddrFrom4([4]byte([]byte(v)))
		case typeNASIPv6Address:
			h.NASIPv6 = netip.AddrFrom16([16]byte([]byte(v)))
		case typeNASPort:
			h.NASPort, h.HasNASPort = binary.BigEndian.Uint32([]byte(v)), true
		}
	}
	return h, nil
}
