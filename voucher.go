package zonegate

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// A VoucherKey is the keyed hash under which a voucher is stored. The code
// itself is never kept.
type VoucherKey [16]byte

// A Voucher is a code that becomes one grant.
type Voucher struct {
	Key   VoucherKey
	Plan  PlanRef
	Batch string
	// Site is the zone the voucher was issued for; empty means this one.
	Site string
	// Hub vouchers came from the hub, and Site is what it calls this zone. A
	// batch's are hashed under the hub's key.
	Hub bool
	// Expires is the last moment of the first use; zero means never. It is
	// only held against the customer when the clock is trusted.
	Expires time.Time
	Revoked bool
	// Grant is what the voucher became; zero while it is unused.
	Grant GrantID
	// Secret is the sealed password of a ticket that has one beside its code;
	// empty for any other.
	Secret string
	// Purchase is the hub's id of what was bought there. It is known by its id
	// and, where it has a code, by that too: Twin is the other key of the two,
	// and both are always changed together.
	Purchase string
	Twin     VoucherKey
}

// source is what a grant of the voucher is made of.
func (v *Voucher) source() Source {
	switch {
	case strings.HasPrefix(v.Purchase, rgzPrefix):
		return Source{SourcePayment, v.Purchase}
	case v.Purchase != "":
		return Source{SourceHub, v.Purchase}
	case v.Secret != "":
		return Source{SourceTicket, hex.EncodeToString(v.Key[:])}
	}
	return Source{SourceVoucher, hex.EncodeToString(v.Key[:])}
}

// A ZoneKey hashes voucher codes and signs page tokens. It is made once per
// zone and moves with its backups.
type ZoneKey [32]byte

func (k ZoneKey) sum(purpose, text string) []byte {
	h := hmac.New(sha256.New, k[:])
	io.WriteString(h, purpose)
	h.Write([]byte{0})
	io.WriteString(h, text)
	return h.Sum(nil)
}

// VoucherKey returns the stored form of a code, however it was typed.
func (k ZoneKey) VoucherKey(code string) VoucherKey {
	return VoucherKey(k.sum("voucher", NormalizeCode(code))[:16])
}

// purchaseKey returns the key of a purchase from the hub's id of it.
func (k ZoneKey) purchaseKey(id string) VoucherKey {
	return VoucherKey(k.sum("purchase", id)[:16])
}

// seal encrypts the password of a ticket under the zone's key. A NAS's own
// login page may use CHAP or MS-CHAP, which can only be checked with the clear
// password; that is why it is kept at all. It protects what is copied without
// the key, not a stolen router, which has both.
func (k ZoneKey) seal(v VoucherKey, password string) string {
	return string(k.sealer().Seal(nil, v[:12], []byte(password), v[:]))
}

// unseal returns the password that seal has sealed.
func (k ZoneKey) unseal(v Voucher) (string, error) {
	clear, err := k.sealer().Open(nil, v.Key[:12], []byte(v.Secret), v.Key[:])
	if err != nil {
		return "", fmt.Errorf("opening the password of a ticket: %w", ErrCorrupt)
	}
	return string(clear), nil
}

// sealer is AES-256-GCM. Each voucher has its own nonce and one password for
// ever, so none is used twice.
func (k ZoneKey) sealer() cipher.AEAD {
	block, err := aes.NewCipher(k.sum("seal", ""))
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has blocks of 16 bytes
	}
	return aead
}

// splitTicket parts the code from the password of a ticket that has one, as
// it is imported and typed: after a comma.
func splitTicket(text string) (code, password string) {
	code, password, _ = strings.Cut(text, ",")
	return code, strings.TrimSpace(password)
}

// codeAlphabet has no I, L, O and U: nothing to misread for a digit, and fewer
// accidental words. Its 32 characters are the elements of GF(32).
const codeAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// codeLength is 7 random characters (35 bits) and a check character.
const codeLength = 8

// maxCode bounds what anybody may type; foreign codes are shorter.
const maxCode = 64

// NormalizeCode forgives what people do to codes: case, spaces, dashes, the
// letter O for zero and I for one.
func NormalizeCode(code string) string {
	var b strings.Builder
	b.Grow(len(code))
	for _, r := range code {
		switch {
		case r == ' ' || r == '-' || r == '_' || r == '\t' || r == '\r' || r == '\n' ||
			r == '\u00a0' || r == '\u2010' || r == '\u2011' || r == '\u2013' || r == '\u2014':
			continue
		case r >= 'a' && r <= 'z':
			r -= 'a' - 'A'
		}
		switch r {
		case 'O':
			r = '0'
		case 'I':
			r = '1'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// gf32Double multiplies by x in GF(2^5) modulo x^5 + x^2 + 1.
func gf32Double(a byte) byte {
	a <<= 1
	if a&0x20 != 0 {
		a ^= 0x25
	}
	return a
}

// checkCharacter is the sum of x^(n-i) times character i over GF(32). Any one
// wrong character and any swap of two neighbours change it, because x has
// order 31.
func checkCharacter(body string) (byte, bool) {
	var sum byte
	for i := 0; i < len(body); i++ {
		v := strings.IndexByte(codeAlphabet, body[i])
		if v < 0 {
			return 0, false
		}
		sum = gf32Double(sum ^ byte(v))
	}
	return codeAlphabet[sum], true
}

// WellFormedCode says whether the code could be one of ours: the length, the
// alphabet and the check character fit.
func WellFormedCode(code string) bool {
	code = NormalizeCode(code)
	if len(code) != codeLength {
		return false
	}
	c, ok := checkCharacter(code[:codeLength-1])
	return ok && c == code[codeLength-1]
}

// NewCode draws a voucher code from a source of randomness, as it is printed:
// two groups of four.
func NewCode(random io.Reader) (string, error) {
	var raw [codeLength - 1]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return "", fmt.Errorf("drawing a voucher code: %w", err)
	}
	body := make([]byte, 0, codeLength)
	for _, r := range raw {
		body = append(body, codeAlphabet[r&31])
	}
	c, _ := checkCharacter(string(body))
	code := string(append(body, c))
	return code[:4] + "-" + code[4:], nil
}

// Why a code was not accepted. Each has its own message for the customer.
var (
	ErrWrongCode   = errors.New("the code is wrong")
	ErrForeignCode = errors.New("the code belongs to another zone")
	ErrUsedCode    = errors.New("the code was already used and is finished")
	ErrExpiredCode = errors.New("the code is out of date")
	ErrRevokedCode = errors.New("the code was cancelled by the seller")
	ErrOtherDevice = errors.New("the code is in use on another device; moving it must be confirmed")
	ErrCodeTooLong = errors.New("the code is too long")
	// ErrWrongPassword is a ticket's right code with a wrong password, or
	// without the one that it has.
	ErrWrongPassword = errors.New("the password does not go with the code")
	ErrNoSuchPlan    = errors.New("no such plan")
	ErrCodeConflict  = errors.New("the code is already known, or looks like another one when typed")
)
