package wire

import (
	"crypto/md5"
	"crypto/subtle"
	"hash"
	"sync"
)

// A digester computes what RADIUS signs with: MD5 and HMAC-MD5 over parts of a
// packet. They are pooled: at some thousands of packets a second their state is
// a good part of all that is allocated.
type digester struct {
	h   hash.Hash
	pad [md5.BlockSize]byte
	sum [md5.Size]byte
}

var digesters = sync.Pool{New: func() any { return &digester{h: md5.New()} }}

var zeros [md5.Size]byte

// hmac is HMAC-MD5 (RFC 2104) of the concatenated parts.
func (d *digester) hmac(secret []byte, parts ...[]byte) []byte {
	d.h.Reset()
	d.key(secret, 0x36)
	for _, p := range parts {
		d.h.Write(p)
	}
	inner := d.h.Sum(d.sum[:0])
	d.h.Reset()
	d.key(secret, 0x5c)
	d.h.Write(inner)
	return d.h.Sum(d.sum[:0])
}

func (d *digester) key(secret []byte, fill byte) {
	d.pad = [md5.BlockSize]byte{}
	if len(secret) > len(d.pad) {
		sum := md5.Sum(secret)
		secret = sum[:]
	}
	copy(d.pad[:], secret)
	for i := range d.pad {
		d.pad[i] ^= fill
	}
	d.h.Write(d.pad[:])
}

// md5 is MD5 of the concatenated parts.
func (d *digester) md5(parts ...[]byte) []byte {
	d.h.Reset()
	for _, p := range parts {
		d.h.Write(p)
	}
	return d.h.Sum(d.sum[:0])
}

// messageAuthenticator is HMAC-MD5 over the packet with its own value, at mac,
// taken as zeros, and with authenticator in the header (RFC 3579 section 3.2).
func (d *digester) messageAuthenticator(packet, authenticator, secret []byte, mac int) []byte {
	return d.hmac(secret, packet[:4], authenticator, packet[HeaderLen:mac], zeros[:], packet[mac+md5.Size:])
}

// authenticator is the Response Authenticator (RFC 2865 section 3) when given
// the request's, and the Request Authenticator of accounting and of CoA (RFC
// 2866 section 3, RFC 5176 section 2.3) when given zeros.
func (d *digester) authenticator(packet, authenticator, secret []byte) []byte {
	return d.md5(packet[:4], authenticator, packet[HeaderLen:], secret)
}

// Verify checks a request with the secret of its sender: the Request
// Authenticator of Accounting-, CoA- and Disconnect-Requests, and of any
// request the Message-Authenticator, if it has one. It gives Valid,
// WrongAuthenticator or WrongMA, and UnknownCode for what is no request.
//
// A Valid Access-Request without Message-Authenticator may be anyone's.
func (p *Packet) Verify(secret []byte) Reason {
	d := digesters.Get().(*digester)
	defer digesters.Put(d)
	vector := p.raw[4:HeaderLen]
	switch p.Code {
	case AccessRequest, StatusServer:
	case AccountingRequest, DisconnectRequest, CoARequest:
		if len(secret) == 0 || !equal(d.authenticator(p.raw, zeros[:], secret), vector) {
			return WrongAuthenticator
		}
		vector = zeros[:]
	default:
		return UnknownCode
	}
	return p.verifyMA(d, vector, secret)
}

// VerifyReply checks a packet as the answer to the request that was sent: its
// code, identifier, Response Authenticator, and Message-Authenticator if it
// has one. It gives Valid, Unexpected, WrongAuthenticator or WrongMA.
func (p *Packet) VerifyReply(sent, secret []byte) Reason {
	if len(sent) < HeaderLen || sent[1] != p.ID || !answers(p.Code, Code(sent[0])) {
		return Unexpected
	}
	d := digesters.Get().(*digester)
	defer digesters.Put(d)
	vector := sent[4:HeaderLen]
	if len(secret) == 0 || !equal(d.authenticator(p.raw, vector, secret), p.raw[4:HeaderLen]) {
		return WrongAuthenticator
	}
	return p.verifyMA(d, vector, secret)
}

func (p *Packet) verifyMA(d *digester, vector, secret []byte) Reason {
	if p.mac == 0 {
		return Valid
	}
	if len(secret) == 0 || !equal(d.messageAuthenticator(p.raw, vector, secret, p.mac), p.raw[p.mac:p.mac+md5.Size]) {
		return WrongMA
	}
	return Valid
}

func answers(reply, request Code) bool {
	switch request {
	case AccessRequest:
		return reply == AccessAccept || reply == AccessReject || reply == AccessChallenge
	case AccountingRequest:
		return reply == AccountingResponse
	case StatusServer:
		return reply == AccessAccept || reply == AccountingResponse
	case DisconnectRequest:
		return reply == DisconnectACK || reply == DisconnectNAK
	case CoARequest:
		return reply == CoAACK || reply == CoANAK
	}
	return false
}

// equal compares in a time that tells nothing about where they differ.
func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
