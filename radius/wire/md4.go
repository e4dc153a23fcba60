package wire

import (
	"encoding/binary"
	"math/bits"
)

// md4 is the hash of RFC 1320, which MS-CHAPv2 stands on. It protects nothing
// by itself; the password candidates here are the voucher's own code.
func md4(message []byte) [16]byte {
	// Section 3.1 and 3.2: a one bit, zeros, and the length in bits.
	padded := append([]byte(nil), message...)
	padded = append(padded, 0x80)
	for len(padded)%64 != 56 {
		padded = append(padded, 0)
	}
	padded = binary.LittleEndian.AppendUint64(padded, uint64(len(message))*8)

	a, b, c, d := uint32(0x67452301), uint32(0xefcdab89), uint32(0x98badcfe), uint32(0x10325476)
	for ; len(padded) > 0; padded = padded[64:] {
		var x [16]uint32
		for i := range x {
			x[i] = binary.LittleEndian.Uint32(padded[4*i:])
		}
		a0, b0, c0, d0 := a, b, c, d
		// Section 3.4. After each step the four words change places.
		for i := range 48 {
			var f uint32
			var k, s int
			switch j := i % 16; i / 16 {
			case 0:
				f = b&c | ^b&d
				k, s = j, [4]int{3, 7, 11, 19}[j%4]
			case 1:
				f = b&c | b&d | c&d
				f += 0x5a827999
				k, s = j%4*4+j/4, [4]int{3, 5, 9, 13}[j%4]
			case 2:
				f = b ^ c ^ d
				f += 0x6ed9eba1
				k, s = int(bits.Reverse8(uint8(j))>>4), [4]int{3, 9, 11, 15}[j%4]
			}
			a, b, c, d = d, bits.RotateLeft32(a+f+x[k], s), b, c
		}
		a, b, c, d = a+a0, b+b0, c+c0, d+d0
	}
	var sum [16]byte
	for i, w := range [4]uint32{a, b, c, d} {
		binary.LittleEndian.PutUint32(sum[4*i:], w)
	}
	return sum
}
