package radius

import (
	"bytes"
	"crypto/des"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"strings"
	"testing"
	"unicode/utf16"
)

// The client's side of MS-CHAPv2 (RFC 2759), apart from the server's, so that
// one mistake is not made on both.

func TestClientSideOfMSCHAP(t *testing.T) {
	auth, _ := hex.DecodeString("5B5D7C7D7B3F2F3E3C2C602132262628")
	peer, _ := hex.DecodeString("21402324255E262A28295F2B3A337C7E")
	response := clientResponse(auth, peer, "User", "clientPass")
	if got := fmt.Sprintf("%X", response); got != "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF" {
		t.Errorf("response %s", got)
	}
	if got := clientExpects(auth, peer, response, "User", "clientPass"); got != "S=407A5589115FD0D6209F510FE9C04566932CDA56" {
		t.Errorf("expects %s", got)
	}
}

func ntPassword(password string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(password)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return md4(b)
}

func shortChallenge(auth, peer []byte, user string) []byte {
	sum := sha1.Sum(bytes.Join([][]byte{peer, auth, []byte(user)}, nil))
	return sum[:8]
}

func clientResponse(auth, peer []byte, user, password string) []byte {
	key := append(ntPassword(password), 0, 0, 0, 0, 0)
	out := make([]byte, 24)
	for i := range 3 {
		var k [8]byte
		v := uint64(0)
		for _, b := range key[7*i : 7*i+7] {
			v = v<<8 | uint64(b)
		}
		for j := range k {
			k[j] = byte(v>>(49-7*j)) << 1 // the parity is not looked at
		}
		c, err := des.NewCipher(k[:])
		if err != nil {
			panic(err)
		}
		c.Encrypt(out[8*i:], shortChallenge(auth, peer, user))
	}
	return out
}

func clientExpects(auth, peer, response []byte, user, password string) string {
	first := sha1.Sum(bytes.Join([][]byte{md4(ntPassword(password)), response, []byte("Magic server to client signing constant")}, nil))
	last := sha1.Sum(bytes.Join([][]byte{first[:], shortChallenge(auth, peer, user), []byte("Pad to make it do more than one iteration")}, nil))
	return "S=" + strings.ToUpper(hex.EncodeToString(last[:]))
}

// md4 is RFC 1320.
func md4(message []byte) []byte {
	m := append(bytes.Clone(message), 0x80)
	for len(m)%64 != 56 {
		m = append(m, 0)
	}
	m = binary.LittleEndian.AppendUint64(m, uint64(len(message))*8)
	h := [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}
	rounds := [3]struct {
		f     func(x, y, z uint32) uint32
		add   uint32
		order [16]int
		shift [4]int
	}{
		{func(x, y, z uint32) uint32 { return x&y | ^x&z }, 0,
			[16]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, [4]int{3, 7, 11, 19}},
		{func(x, y, z uint32) uint32 { return x&y | x&z | y&z }, 0x5a827999,
			[16]int{0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15}, [4]int{3, 5, 9, 13}},
		{func(x, y, z uint32) uint32 { return x ^ y ^ z }, 0x6ed9eba1,
			[16]int{0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15}, [4]int{3, 9, 11, 15}},
	}
	for ; len(m) > 0; m = m[64:] {
		s := h
		for _, r := range rounds {
			for i, k := range r.order {
				v := s[0] + r.f(s[1], s[2], s[3]) + binary.LittleEndian.Uint32(m[4*k:]) + r.add
				s = [4]uint32{s[3], bits.RotateLeft32(v, r.shift[i%4]), s[1], s[2]}
			}
		}
		for i := range h {
			h[i] += s[i]
		}
	}
	var out []byte
	for _, v := range h {
		out = binary.LittleEndian.AppendUint32(out, v)
	}
	return out
}
