package wire

import (
	"crypto/des"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// An mschap is one MS-CHAPv2 exchange (RFC 2759, attributes of RFC 2548).
type mschap struct {
	ident    byte
	response [24]byte
	// authenticator is the 16-octet challenge of the NAS, challenge the 8
	// octets that both challenges and the user's name become.
	authenticator [16]byte
	challenge     [8]byte
}

// newMSCHAP reads MS-CHAP-Challenge and MS-CHAP2-Response (RFC 2548 sections
// 2.1.2 and 2.3.2: identifier, flags, 16 octets of the peer's challenge, 8
// reserved, 24 of response).
func newMSCHAP(challenge, response []byte, user string) (mschap, bool) {
	if len(challenge) != 16 || len(response) != 50 {
		return mschap{}, false
	}
	return mschap{
		ident:         response[0],
		response:      [24]byte(response[26:]),
		authenticator: [16]byte(challenge),
		challenge:     challengeHash(response[2:18], challenge, user),
	}, true
}

// challengeHash is RFC 2759 section 8.2. The domain before a user's name does
// not count.
func challengeHash(peer, authenticator []byte, user string) [8]byte {
	user = user[strings.LastIndexByte(user, '\\')+1:]
	h := sha1.New()
	h.Write(peer)
	h.Write(authenticator)
	h.Write([]byte(user))
	return [8]byte(h.Sum(nil))
}

// ntHash is RFC 2759 section 8.3.
func ntHash(password string) [16]byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(password)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return md4(b)
}

// ntResponse is RFC 2759 section 8.5.
func ntResponse(challenge [8]byte, hash [16]byte) (response [24]byte) {
	var keys [21]byte
	copy(keys[:], hash[:])
	for i := range 3 {
		// The error is about the key's length alone.
		c, err := des.NewCipher(desKey([7]byte(keys[7*i:])))
		if err != nil {
			panic(err)
		}
		c.Encrypt(response[8*i:], challenge[:])
	}
	return response
}

// desKey spreads 56 bits over eight octets of seven bits and an odd parity.
func desKey(k [7]byte) []byte {
	var in [8]byte
	copy(in[1:], k[:])
	v := binary.BigEndian.Uint64(in[:])
	out := make([]byte, 8)
	for i := range out {
		o := byte(v>>(49-7*i)) << 1
		out[i] = o | byte(1-bits.OnesCount8(o)%2)
	}
	return out
}

func (m mschap) proves(password string) bool {
	want := ntResponse(m.challenge, ntHash(password))
	return equal(want[:], m.response[:])
}

// The constants of RFC 2759 section 8.7.
const (
	serverToClient = "Magic server to client signing constant"
	padToIterate   = "Pad to make it do more than one iteration"
)

// success is the value of MS-CHAP2-Success: it proves to the peer that we know
// the password too (RFC 2759 section 8.7, RFC 2548 section 2.3.3).
func (m mschap) success(password string) []byte {
	hash := ntHash(password)
	hashHash := md4(hash[:])
	h := sha1.New()
	h.Write(hashHash[:])
	h.Write(m.response[:])
	h.Write([]byte(serverToClient))
	first := h.Sum(nil)
	h.Reset()
	h.Write(first)
	h.Write(m.challenge[:])
	h.Write([]byte(padToIterate))
	return append([]byte{m.ident}, "S="+strings.ToUpper(hex.EncodeToString(h.Sum(nil)))...)
}

// failure is the value of MS-CHAP-Error: authentication failure (691), no
// retry (RFC 2759 section 6, RFC 2548 section 2.1.5), and a message for the
// customer.
func (m mschap) failure(message string) []byte {
	v := append([]byte{m.ident}, "E=691 R=0 C="+strings.ToUpper(hex.EncodeToString(m.authenticator[:]))+" V=3 M="...)
	// Inside a Vendor-Specific attribute there is room for 247 octets.
	return append(v, clip(message, maxValue-6-len(v))...)
}

// clip cuts a text at most limit octets long, between two characters.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
