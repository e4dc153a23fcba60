package fakenas

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
)

// Codes of packets (RFC 2865 section 3, RFC 2866, RFC 5176, RFC 5997).
const (
	AccessRequest      = 1
	AccessAccept       = 2
	AccessReject       = 3
	AccountingRequest  = 4
	AccountingResponse = 5
	AccessChallenge    = 11
	StatusServer       = 12
	DisconnectRequest  = 40
	CoARequest         = 43
)

// Attributes that the lab's requests carry.
const (
	UserName             = 1
	UserPassword         = 2
	CHAPPassword         = 3
	NASIPAddress         = 4
	NASPort              = 5
	ServiceType          = 6
	FramedIPAddress      = 8
	ReplyMessage         = 18
	State                = 24
	Class                = 25
	VendorSpecific       = 26
	SessionTimeout       = 27
	CalledStationID      = 30
	CallingStationID     = 31
	NASIdentifier        = 32
	ProxyState           = 33
	AcctStatusType       = 40
	AcctDelayTime        = 41
	AcctInputOctets      = 42
	AcctOutputOctets     = 43
	AcctSessionID        = 44
	AcctSessionTime      = 46
	AcctInputGigawords   = 52
	AcctOutputGigawords  = 53
	EventTimestamp       = 55
	CHAPChallenge        = 60
	NASPortType          = 61
	EAPMessage           = 79
	MessageAuthenticator = 80
)

// Values of AcctStatusType (RFC 2866 section 5.1).
const (
	Start         = 1
	Stop          = 2
	InterimUpdate = 3
	AccountingOn  = 7
	AccountingOff = 8
)

// A Request is a packet under construction. Its buffers are used again by the
// next Begin. Not safe for concurrent use.
type Request struct {
	secret  []byte
	buf     []byte
	ma      int // where the Message-Authenticator's value stands; 0 for none
	scratch []byte
}

// Begin starts a packet with a fresh authenticator.
func (r *Request) Begin(code, id byte, secret []byte) {
	r.secret, r.ma = secret, 0
	r.buf = append(r.buf[:0], code, id, 0, 0)
	r.buf = binary.LittleEndian.AppendUint64(r.buf, rand.Uint64())
	r.buf = binary.LittleEndian.AppendUint64(r.buf, rand.Uint64())
}

// Authenticator is the Request Authenticator. That of accounting and CoA
// requests is only right after End.
func (r *Request) Authenticator() []byte { return r.buf[4:20] }

// Text adds an attribute.
func (r *Request) Text(kind byte, value string) {
	r.buf = append(r.buf, kind, byte(len(value)+2))
	r.buf = append(r.buf, value...)
}

// Octets adds an attribute.
func (r *Request) Octets(kind byte, value []byte) {
	r.buf = append(r.buf, kind, byte(len(value)+2))
	r.buf = append(r.buf, value...)
}

// Uint32 adds an attribute.
func (r *Request) Uint32(kind byte, value uint32) {
	r.buf = append(r.buf, kind, 6)
	r.buf = binary.BigEndian.AppendUint32(r.buf, value)
}

// Password adds a User-Password, hidden as RFC 2865 section 5.2 says.
func (r *Request) Password(password string) {
	n := max(16, (len(password)+15)/16*16)
	r.buf = append(r.buf, UserPassword, byte(n+2))
	at := len(r.buf)
	r.buf = append(r.buf, password...)
	for len(r.buf) < at+n {
		r.buf = append(r.buf, 0)
	}
	before := r.buf[4:20]
	for b := r.buf[at:]; len(b) > 0; b = b[16:] {
		r.scratch = append(append(r.scratch[:0], r.secret...), before...)
		sum := md5.Sum(r.scratch)
		for i := range sum {
			b[i] ^= sum[i]
		}
		before = b[:16]
	}
}

// CHAP adds a CHAP-Password to the challenge that the packet carries, or to
// its authenticator (RFC 2865 section 5.3).
func (r *Request) CHAP(id byte, password string, challenge []byte) {
	if challenge != nil {
		r.Octets(CHAPChallenge, challenge)
	} else {
		challenge = r.Authenticator()
	}
	r.scratch = append(append(append(r.scratch[:0], id), password...), challenge...)
	sum := md5.Sum(r.scratch)
	r.Octets(CHAPPassword, append([]byte{id}, sum[:]...))
}

// Sign adds a Message-Authenticator, which End computes.
func (r *Request) Sign() {
	r.buf = append(r.buf, MessageAuthenticator, 18)
	r.ma = len(r.buf)
	r.buf = append(r.buf, make([]byte, 16)...)
}

// End completes the packet. It stays valid until the next Begin.
func (r *Request) End() []byte {
	binary.BigEndian.PutUint16(r.buf[2:], uint16(len(r.buf)))
	// Accounting, Disconnect and CoA requests are signed as a whole.
	whole := r.buf[0] != AccessRequest && r.buf[0] != StatusServer
	if whole {
		clear(r.buf[4:20])
	}
	if r.ma > 0 {
		mac := r.hmac(r.buf)
		copy(r.buf[r.ma:], mac[:])
	}
	if whole {
		r.scratch = append(append(r.scratch[:0], r.buf...), r.secret...)
		sum := md5.Sum(r.scratch)
		copy(r.buf[4:], sum[:])
	}
	return r.buf
}

// hmac is HMAC-MD5 (RFC 2104) of a packet with the request's secret, which is
// at most 64 octets long.
func (r *Request) hmac(packet []byte) [16]byte {
	var outer [64 + 16]byte
	r.scratch = append(r.scratch[:0], make([]byte, 64)...)
	copy(r.scratch, r.secret)
	copy(outer[:], r.secret)
	for i := range 64 {
		r.scratch[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	r.scratch = append(r.scratch, packet...)
	inner := md5.Sum(r.scratch)
	copy(outer[64:], inner[:])
	return md5.Sum(outer[:])
}

// What can be wrong with an answer.
var (
	ErrMalformed     = errors.New("the answer is not a RADIUS packet")
	ErrOtherID       = errors.New("the answer is to another request")
	ErrAuthenticator = errors.New("the answer's authenticator is wrong")
	ErrSignature     = errors.New("the answer's Message-Authenticator is wrong")
)

// Check says whether a packet is a right answer to this request: its form, its
// Response Authenticator and, if it has one, its Message-Authenticator.
func (r *Request) Check(answer []byte) error {
	if len(answer) < 20 || int(binary.BigEndian.Uint16(answer[2:])) != len(answer) {
		return ErrMalformed
	}
	if answer[1] != r.buf[1] {
		return ErrOtherID
	}
	var theirs, mac [16]byte
	copy(theirs[:], answer[4:])
	defer copy(answer[4:], theirs[:])
	copy(answer[4:], r.Authenticator())
	r.scratch = append(append(r.scratch[:0], answer...), r.secret...)
	if md5.Sum(r.scratch) != theirs {
		return ErrAuthenticator
	}
	for at := 20; at < len(answer); at += int(answer[at+1]) {
		if len(answer)-at < 2 || answer[at+1] < 2 || int(answer[at+1]) > len(answer)-at {
			return ErrMalformed
		}
		if answer[at] != MessageAuthenticator {
			continue
		}
		if answer[at+1] != 18 {
			return ErrMalformed
		}
		value := answer[at+2 : at+18]
		copy(mac[:], value)
		clear(value)
		want := r.hmac(answer)
		copy(value, mac[:])
		if want != mac {
			return ErrSignature
		}
	}
	return nil
}

// Attributes returns the values of all attributes of one kind, in order, of a
// packet that Check has found right.
func Attributes(packet []byte, kind byte) [][]byte {
	var values [][]byte
	for at := 20; at+2 <= len(packet) && packet[at+1] >= 2 && at+int(packet[at+1]) <= len(packet); at += int(packet[at+1]) {
		if packet[at] == kind {
			values = append(values, bytes.Clone(packet[at+2:at+int(packet[at+1])]))
		}
	}
	return values
}

// CodeName is how people call a code.
func CodeName(code byte) string {
	switch code {
	case AccessAccept:
		return "Access-Accept"
	case AccessReject:
		return "Access-Reject"
	case AccountingResponse:
		return "Accounting-Response"
	case AccessChallenge:
		return "Access-Challenge"
	}
	return fmt.Sprintf("code %d", code)
}
