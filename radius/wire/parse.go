package wire

import "encoding/binary"

// Parse reads a datagram by the rules of RFC 2865 section 3: octets beyond the
// packet's Length are padding and ignored, attributes fill the packet exactly.
// Anything else gives the Reason to drop it. It allocates nothing, keeps the
// datagram, and ends whatever the datagram holds.
//
// Nothing is authentic yet: see [Packet.Verify].
func Parse(datagram []byte) (Packet, Reason) {
	if len(datagram) < HeaderLen {
		return Packet{}, TooShort
	}
	length := int(binary.BigEndian.Uint16(datagram[2:]))
	switch {
	case length < HeaderLen:
		return Packet{}, TooShort
	case length > MaxLen:
		return Packet{}, TooLong
	case length > len(datagram):
		return Packet{}, Truncated
	}
	p := Packet{
		Code: Code(datagram[0]), ID: datagram[1],
		Authenticator: [16]byte(datagram[4:HeaderLen]),
		raw:           datagram[:length:length],
	}
	switch p.Code {
	case AccessRequest, AccessAccept, AccessReject, AccessChallenge, AccountingRequest, AccountingResponse, StatusServer,
		DisconnectRequest, DisconnectACK, DisconnectNAK, CoARequest, CoAACK, CoANAK:
	default:
		return Packet{}, UnknownCode
	}
	if r := p.scan(); r != Valid {
		return Packet{}, r
	}
	return p, Valid
}

// scan checks the attributes and notes those that decide about the packet.
func (p *Packet) scan() Reason {
	var passwords bool
	count := 0
	for at := HeaderLen; at < len(p.raw); count++ {
		rest := p.raw[at:]
		if len(rest) < 2 || rest[0] == 0 || rest[1] < 2 || int(rest[1]) > len(rest) {
			return BadAttribute
		}
		if count == MaxAttributes {
			return TooManyAttributes
		}
		switch Type(rest[0]) {
		case MessageAuthenticator:
			if rest[1] != 18 || p.mac != 0 {
				return BadMA
			}
			p.mac = at + 2
		case ProxyState:
			p.proxy = true
		case EAPMessage:
			p.eap = true
		case UserPassword, CHAPPassword:
			passwords = true
		}
		at += int(rest[1])
	}
	switch {
	case p.eap && p.mac == 0:
		return UnsignedEAP
	case p.eap && passwords:
		return MixedEAP
	case p.Code == StatusServer && p.mac == 0:
		return UnsignedStatus
	}
	return Valid
}
