package nas

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Require says whether packets must carry a Message-Authenticator
// (RFC 3579 section 3.2), without which a reply can be forged
// (CVE-2024-3596).
type Require string

const (
	// RequireAuto asks for it from the first packet on that had one. The zero
	// value means the same.
	RequireAuto Require = "auto"
	RequireYes  Require = "yes"
	RequireNo   Require = "no"
)

// The interim accounting interval: what is asked for when an entry does not
// say, and the least and most that it may say (RFC 2869 section 5.16;
// CoovaChilli ignores less than 60 s).
const (
	DefaultInterim = 300 * time.Second
	MinInterim     = 60 * time.Second
	MaxInterim     = 24 * time.Hour
)

// A NAS is one entry of the book: a machine, or a range of machines of the
// same make that share a secret. The slices in it are shared by all copies:
// nobody changes them in place.
type NAS struct {
	// Name is a-z, 0-9 and dashes, at most 32, and unique.
	Name string
	// Prefix is who may send: a /32 or /128 for one machine. Where several
	// entries match, the longest prefix wins.
	Prefix netip.Prefix
	// Secret is shared with the NAS.
	Secret Secret
	Vendor Vendor
	// RequireMA says whether packets must be signed.
	RequireMA Require
	// Signed says that a packet of the NAS was signed once; with RequireAuto
	// all must be from then on. Only kept for single machines: in a range, one
	// new access point would lock out the old ones.
	Signed bool
	// NoCoA switches CoA and Disconnect off; CoAPort is where they go, zero
	// meaning the vendor's default.
	NoCoA   bool
	CoAPort uint16
	// Interim is the accounting interval to ask for. Zero means the server's
	// own setting.
	Interim time.Duration
	// Strict has interim accounting written down before it is answered.
	Strict bool
	// Login are the host[:port] of its own login page, for customers who are
	// sent to our portal.
	Login []string
	// UAMSecret is CoovaChilli's and uspot's uamsecret; may be empty.
	UAMSecret Secret
}

// MustSign says that a request without a Message-Authenticator is not heard.
func (n NAS) MustSign() bool {
	return n.RequireMA == RequireYes || n.RequireMA != RequireNo && n.Signed
}

// Single says that the entry is one machine.
func (n NAS) Single() bool { return n.Prefix.IsSingleIP() }

// Path names the data path of sessions at the machine with an address: the
// name, and for a range the address too, so that each machine's sessions are
// its own. Book.ByPath takes it back.
func (n NAS) Path(from netip.Addr) string {
	if n.Single() {
		return n.Name
	}
	return n.Name + "@" + from.Unmap().String()
}

// InterimOrDefault is the accounting interval to ask for where the server has
// no setting of its own, never under MinInterim.
func (n NAS) InterimOrDefault() time.Duration {
	if n.Interim == 0 {
		return DefaultInterim
	}
	return max(n.Interim, MinInterim)
}

// CanBeTold says that CoA or Disconnect requests may be sent, and to which
// port.
func (n NAS) CanBeTold() (port uint16, ok bool) {
	p := n.Vendor.Profile()
	if n.NoCoA || !p.Disconnect {
		return 0, false
	}
	if n.CoAPort != 0 {
		return n.CoAPort, true
	}
	return p.Port, true
}

// normalize brings addresses and hosts to the one form that is compared.
func (n NAS) normalize() NAS {
	n.Prefix = unmapPrefix(n.Prefix)
	if n.RequireMA == "" {
		n.RequireMA = RequireAuto
	}
	if !n.Single() {
		n.Signed = false
	}
	n.Secret = bytes.Clone(n.Secret)
	n.UAMSecret = bytes.Clone(n.UAMSecret)
	var login []string
	for _, h := range n.Login {
		login = append(login, normalizeHost(h))
	}
	n.Login = login
	return n
}

// unmapPrefix turns an IPv4-mapped IPv6 prefix into the IPv4 one, and clears
// the host's bits.
func unmapPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

func normalizeHost(h string) string { return strings.TrimSuffix(strings.ToLower(h), ".") }

// validate reports everything that is wrong with a normalized entry, apart
// from a weak secret.
func (n NAS) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !validName(n.Name) {
		bad("the name %q must be 1 to 32 of a-z, 0-9 and dash", n.Name)
	}
	switch {
	case !n.Prefix.IsValid():
		bad("the address is missing or wrong; write one like 192.168.88.1 or 10.5.0.0/24")
	case n.Prefix.Bits() == 0:
		bad("the prefix %v lets everybody in; name the NAS's own addresses", n.Prefix)
	case n.Prefix.Addr().IsMulticast() || n.Prefix.Addr().IsUnspecified():
		bad("%v is not an address that a NAS can send from", n.Prefix)
	}
	if err := n.Secret.validate(); err != nil {
		errs = append(errs, err)
	}
	if len(n.UAMSecret) != 0 {
		if err := n.UAMSecret.validate(); err != nil {
			bad("uam: %w", err)
		}
		if n.Vendor != CoovaChilli && n.Vendor != Uspot {
			bad("only coovachilli and uspot have a UAM secret")
		}
	}
	if !n.Vendor.Known() {
		bad("the vendor %q is unknown; it must be one of %s", string(n.Vendor), vendorNames())
	}
	switch n.RequireMA {
	case RequireAuto, RequireYes, RequireNo:
	default:
		bad("the message authenticator must be auto, yes or no, not %q", string(n.RequireMA))
	}
	if n.Interim != 0 && (n.Interim < MinInterim || n.Interim > MaxInterim || n.Interim%time.Second != 0) {
		bad("the interim interval must be whole seconds from %v to %v, not %v", MinInterim, MaxInterim, n.Interim)
	}
	for _, h := range n.Login {
		if !validHost(h) {
			bad("the login host %q must be a name or address with an optional port, without http://", h)
		}
	}
	return errors.Join(errs...)
}

func validName(s string) bool {
	if len(s) == 0 || len(s) > 32 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// validHost accepts a name, an IPv4 address or an IPv6 address in brackets,
// each with an optional port.
func validHost(h string) bool {
	if len(h) == 0 || len(h) > 261 {
		return false
	}
	if _, err := netip.ParseAddrPort(h); err == nil {
		return true
	}
	if rest, ok := strings.CutPrefix(h, "["); ok {
		_, err := netip.ParseAddr(strings.TrimSuffix(rest, "]"))
		return err == nil && strings.HasSuffix(rest, "]")
	}
	name, port, hasPort := strings.Cut(h, ":")
	if hasPort {
		n := 0
		for _, c := range []byte(port) {
			if c < '0' || c > '9' || n > 65535 {
				return false
			}
			n = n*10 + int(c-'0')
		}
		if n == 0 || n > 65535 {
			return false
		}
	}
	for _, label := range strings.Split(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// A Secret is shared with a NAS. However it is printed, logged or marshalled,
// it stays hidden; who has to write it down converts it.
type Secret []byte

const hidden = "(secret)"

// String hides the secret.
func (Secret) String() string { return hidden }

// GoString hides the secret.
func (Secret) GoString() string { return hidden }

// Format hides the secret from every verb.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// LogValue hides the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MinSecret is the least octets of a secret that is not forced
// (RFC 2865 section 3 asks for at least 16).
const MinSecret = 16

// maxSecret is more than any NAS takes.
const maxSecret = 128

// secretAlphabet has 32 characters that nobody misreads and every keyboard
// has.
const secretAlphabet = "abcdefghijkmnpqrstuvwxyz23456789"

// NewSecret draws a secret of 32 characters (160 bits).
func NewSecret(random io.Reader) (Secret, error) {
	s := make(Secret, 32)
	if _, err := io.ReadFull(random, s); err != nil {
		return nil, fmt.Errorf("drawing a secret: %w", err)
	}
	for i := range s {
		s[i] = secretAlphabet[s[i]&31]
	}
	return s, nil
}

// ErrWeakSecret is returned for a secret that can be guessed and was not
// forced.
var ErrWeakSecret = errors.New("the secret is weak")

// validate refuses what no NAS's settings can hold.
func (s Secret) validate() error {
	if len(s) == 0 || len(s) > maxSecret {
		return fmt.Errorf("the secret must have 1 to %d characters, not %d", maxSecret, len(s))
	}
	if !utf8.Valid(s) {
		return errors.New("the secret must be text")
	}
	if s[0] == ' ' || s[len(s)-1] == ' ' {
		return errors.New("the secret begins or ends with a space")
	}
	for _, r := range string(s) {
		if !unicode.IsPrint(r) {
			return errors.New("the secret has a character that cannot be typed")
		}
	}
	return nil
}

// wellKnown are the secrets of examples and first attempts.
var wellKnown = []string{"testing123", "xyzzy5461", "password", "passw0rd", "changeme", "sharedsecret",
	"secret", "radius", "mikrotik", "hotspot", "zonegate", "motdepasse", "azerty", "qwerty", "letmein", "admin", "cisco", "wifi"}

// Weak says why a secret can be guessed; nil when it cannot be so easily.
func (s Secret) Weak() error {
	weak := func(why string) error {
		return fmt.Errorf("%w: %s; use a drawn one", ErrWeakSecret, why)
	}
	if len(s) < MinSecret {
		return weak(fmt.Sprintf("it has %d octets, less than %d", len(s), MinSecret))
	}
	rest := strings.ToLower(string(s))
	for _, w := range wellKnown {
		rest = strings.ReplaceAll(rest, w, "")
	}
	if len(rest) < 8 {
		return weak("it is made of well-known words")
	}
	var seen [256]bool
	distinct, runs := 0, 0
	for i, c := range s {
		if !seen[c] {
			seen[c] = true
			distinct++
		}
		if i > 0 && (c == s[i-1] || c == s[i-1]+1 || c == s[i-1]-1) {
			runs++
		}
	}
	if distinct < 6 {
		return weak("it has too few different characters")
	}
	if runs*2 > len(s) {
		return weak("it counts up or down")
	}
	return nil
}
