package wire

import (
	"crypto/md5"
	"encoding/binary"
	"errors"
)

// ErrTooLong is returned for a packet above 4096 octets, or a value above 253.
var ErrTooLong = errors.New("the radius packet or one of its attributes is too long: give it fewer or shorter attributes")

// A Reply is what is answered to a request. Message-Authenticator and
// Proxy-State are no part of it: they are added where it is written.
type Reply struct {
	Code       Code
	Attributes []Attribute
}

// Encode writes the reply to a request. Every Access-* reply, and every reply
// to a Status-Server, begins with a Message-Authenticator: nothing that an
// attacker chooses may come before it (CVE-2024-3596). An Accounting-Response
// has none, because NASes disagree about the authenticator that it is computed
// with. The request's Proxy-States end the reply, unchanged and in their order
// (RFC 2865 section 5.33).
//
// The only error is ErrTooLong.
func (r Reply) Encode(request *Packet, secret []byte) ([]byte, error) {
	sign := r.Code != AccountingResponse || request.Code == StatusServer
	size, err := sizeOf(r.Attributes, sign)
	if err != nil {
		return nil, err
	}
	if request.proxy {
		for a := range request.Attributes() {
			if a.Type == ProxyState {
				size += 2 + len(a.Value)
			}
		}
	}
	if size > MaxLen {
		return nil, ErrTooLong
	}
	b, mac := begin(size, r.Code, request.ID, sign)
	b = appendAttributes(b, r.Attributes)
	if request.proxy {
		for a := range request.Attributes() {
			if a.Type == ProxyState {
				b = appendAttribute(b, a)
			}
		}
	}

	d := digesters.Get().(*digester)
	defer digesters.Put(d)
	vector := request.raw[4:HeaderLen]
	if sign {
		copy(b[mac:], d.messageAuthenticator(b, vector, secret, mac))
	}
	copy(b[4:], d.authenticator(b, vector, secret))
	return b, nil
}

// A Request is a packet that we send, or that a test sends us.
type Request struct {
	Code Code
	ID   byte
	// Authenticator is sent by Access-Request and Status-Server, where it must
	// be random; the others compute theirs.
	Authenticator [16]byte
	Attributes    []Attribute
	// Unsigned leaves the Message-Authenticator out: there are NASes that
	// refuse a CoA-Request that has one.
	Unsigned bool
}

// Encode writes the request, its Message-Authenticator first. A
// retransmission is the same octets again. The only error is ErrTooLong.
func (r Request) Encode(secret []byte) ([]byte, error) {
	size, err := sizeOf(r.Attributes, !r.Unsigned)
	if err != nil {
		return nil, err
	}
	if size > MaxLen {
		return nil, ErrTooLong
	}
	b, mac := begin(size, r.Code, r.ID, !r.Unsigned)
	b = appendAttributes(b, r.Attributes)

	d := digesters.Get().(*digester)
	defer digesters.Put(d)
	computed := r.Code != AccessRequest && r.Code != StatusServer
	if !computed {
		copy(b[4:], r.Authenticator[:])
	}
	if !r.Unsigned {
		copy(b[mac:], d.messageAuthenticator(b, b[4:HeaderLen], secret, mac))
	}
	if computed {
		copy(b[4:], d.authenticator(b, zeros[:], secret))
	}
	return b, nil
}

// sizeOf is the length of a packet with these attributes.
func sizeOf(attributes []Attribute, signed bool) (int, error) {
	size := HeaderLen
	if signed {
		size += 2 + md5.Size
	}
	for _, a := range attributes {
		if len(a.Value) > maxValue {
			return 0, ErrTooLong
		}
		if len(a.Value) > 0 {
			size += 2 + len(a.Value)
		}
	}
	return size, nil
}

// begin makes a packet's header, with room for the rest, and its empty
// Message-Authenticator, whose value begins at mac.
func begin(size int, c Code, id byte, signed bool) (b []byte, mac int) {
	b = make([]byte, HeaderLen, size)
	b[0], b[1] = byte(c), id
	binary.BigEndian.PutUint16(b[2:], uint16(size))
	if signed {
		mac = HeaderLen + 2
		b = appendAttribute(b, Attribute{MessageAuthenticator, zeros[:]})
	}
	return b, mac
}

func appendAttributes(b []byte, attributes []Attribute) []byte {
	for _, a := range attributes {
		if len(a.Value) > 0 {
			b = appendAttribute(b, a)
		}
	}
	return b
}

func appendAttribute(b []byte, a Attribute) []byte {
	return append(append(b, byte(a.Type), byte(2+len(a.Value))), a.Value...)
}
