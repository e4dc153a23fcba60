package portal

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"zonegate"
)

// A visit is what a NAS says about a customer whom it sends here, or what
// somebody says in its name: the device is claimed, not known. Login is made by
// us and leads to a NAS of ours.
type visit struct {
	Kind   string `json:"k"`
	NAS    string `json:"n"`
	Login  string `json:"l"`
	Device []byte `json:"d"`
	// ChapID is one octet, or none where the NAS wants the password as it is.
	ChapID    []byte `json:"i,omitempty"`
	Challenge []byte `json:"c,omitempty"`
	// Vouched says that the NAS has signed the device's address with its
	// secret, Own that the request came from the customer's own IP address and
	// not through a NAT.
	Vouched bool `json:"v,omitempty"`
	Own     bool `json:"o,omitempty"`
	// Made is when the visit was sealed, since the sealer's beginning.
	Made time.Duration `json:"t"`
}

func (v visit) device() zonegate.MAC {
	var m zonegate.MAC
	copy(m[:], v.Device)
	return m
}

// maxVisit is how long a page may wait for its code. A NAS forgets its
// challenge about then.
const maxVisit = time.Hour

// A sealer signs visits, so that the pages can carry them: there are no
// cookies, and nothing is kept here for who may never come back. The key lives
// as long as the process; who is caught by a restart begins anew.
type sealer struct {
	key   [32]byte
	began time.Time
}

func newSealer() sealer {
	s := sealer{began: time.Now()}
	rand.Read(s.key[:])
	return s
}

const sealLength = 16

func (s *sealer) sum(text []byte, source netip.Prefix) []byte {
	h := hmac.New(sha256.New, s.key[:])
	h.Write([]byte(source.String() + " "))
	h.Write(text)
	return h.Sum(nil)[:sealLength]
}

// seal writes a visit so that it is good for requests from one source.
func (s *sealer) seal(v visit, source netip.Prefix) string {
	v.Made = time.Since(s.began)
	text, err := json.Marshal(v)
	if err != nil {
		return "" // opens as nothing
	}
	return base64.RawURLEncoding.EncodeToString(append(text, s.sum(text, source)...))
}

// open reads a visit. With fresh false it is too old, or somebody else wrote
// it, and no more than a hint.
func (s *sealer) open(sealed string, source netip.Prefix) (v visit, fresh bool) {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(raw) < sealLength {
		return visit{}, false
	}
	text, sum := raw[:len(raw)-sealLength], raw[len(raw)-sealLength:]
	ours := hmac.Equal(sum, s.sum(text, source))
	if json.Unmarshal(text, &v) != nil {
		return visit{}, false
	}
	if login, ok := loginURL(v.Login); !ok || login != v.Login {
		return visit{}, false
	}
	return v, ours && time.Since(s.began)-v.Made < maxVisit
}

// loginURL reads the address of a NAS's login page and returns it as we write
// it: nothing of it is used that we do not understand.
func loginURL(raw string) (string, bool) {
	u, err := url.Parse(raw)
	if err != nil || len(raw) > 300 || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return "", false
	}
	if u.Path != mikrotikLoginPath && u.Path != uamLogonPath {
		return "", false
	}
	host := strings.TrimSuffix(strings.ToLower(u.Host), ".")
	if host == "" || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789.-_:[]") != "" {
		return "", false
	}
	return u.Scheme + "://" + host + u.Path, true
}

// parseMAC reads a hardware address: six pairs of hexadecimal digits with
// colons, dashes or nothing between them. Addresses that no device has are
// refused.
func parseMAC(s string) (zonegate.MAC, bool) {
	if len(s) == 17 {
		sep := s[2]
		if sep != ':' && sep != '-' || strings.Count(s, string(rune(sep))) != 5 {
			return zonegate.MAC{}, false
		}
		s = strings.ReplaceAll(s, string(rune(sep)), "")
	}
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != 6 || raw[0]&1 != 0 {
		return zonegate.MAC{}, false
	}
	m := zonegate.MAC(raw)
	return m, m != zonegate.MAC{}
}
