package zonegate

import (
	"crypto/hmac"
	"encoding/base32"
	"encoding/binary"
)

var tokenEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// sign makes what only this zone can make; nil before it is founded. The key never changes
// once the zone is founded, so nobody waits for a decision here.
func (g *Gate) sign(purpose, text string) []byte {
	key := g.key.Load()
	if key == nil {
		return nil
	}
	return key.sum(purpose, text)[:10]
}

// Token names a grant in a page's address. Nobody can make one up. It is empty
// before the gate runs.
func (g *Gate) Token(id GrantID) string {
	raw := binary.BigEndian.AppendUint64(nil, uint64(id))
	mac := g.sign("grant", string(raw))
	if mac == nil {
		return ""
	}
	return tokenEncoding.EncodeToString(append(raw[3:], mac...))
}

// GrantOf returns the grant that a token names.
func (g *Gate) GrantOf(token string) (GrantID, bool) {
	// The last of the 24 characters is full, so no other text decodes to the
	// same.
	raw, err := tokenEncoding.DecodeString(token)
	if err != nil || len(raw) != 15 || len(token) != 24 {
		return 0, false
	}
	full := append([]byte{0, 0, 0}, raw[:5]...)
	mac := g.sign("grant", string(full))
	if mac == nil || !hmac.Equal(raw[5:], mac) {
		return 0, false
	}
	return GrantID(binary.BigEndian.Uint64(full)), true
}

// FormToken is what a page of a device must send back with a request that
// changes something, so that no other site can make the browser send it.
func (g *Gate) FormToken(d MAC) string {
	return tokenEncoding.EncodeToString(g.sign("form", string(d[:])))
}
