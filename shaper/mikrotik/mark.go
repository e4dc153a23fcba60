package mikrotik

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"zonegate"
)

const (
	// commentPrefix begins the comment of everything that is ours.
	commentPrefix = "zonegate:"
	// namePrefix begins the name of everything that is ours.
	namePrefix = "zonegate-"
)

// ours says whether an object is marked as ours. A reseller may rename it or
// clear its comment; either is enough.
func ours(r row) bool {
	return strings.HasPrefix(r["comment"], commentPrefix) || strings.HasPrefix(r["name"], namePrefix)
}

// A mark is what the comment of a hotspot user says: which grant it is, what
// sessions that have ended used of its counters, what its sessions had used
// before there was this user, and which sessions it stands for. By is the
// gateway whose it is, if it has a name.
//
//	zonegate:grant:12 by=0a1b2c3d gone=0/4096 before=0/0 s7=02:00:00:00:00:01+0/0
type mark struct {
	grant        zonegate.GrantID
	by           string
	gone, before zonegate.Octets
	sessions     []marked
}

// A marked is one session in a mark: its device, and what it had used when the
// entry of /ip/hotspot/active that it now has began.
type marked struct {
	id   zonegate.SessionID
	mac  zonegate.MAC
	base zonegate.Octets
}

func grantComment(id zonegate.GrantID) string {
	return commentPrefix + "grant:" + strconv.FormatUint(uint64(id), 10)
}

func (m mark) String() string {
	var b strings.Builder
	b.WriteString(grantComment(m.grant))
	if m.by != "" {
		b.WriteString(" by=")
		b.WriteString(m.by)
	}
	b.WriteString(" gone=")
	b.WriteString(formatOctets(m.gone))
	b.WriteString(" before=")
	b.WriteString(formatOctets(m.before))
	for _, s := range m.sessions {
		b.WriteString(" s")
		b.WriteString(strconv.FormatUint(uint64(s.id), 10))
		b.WriteByte('=')
		b.WriteString(s.mac.String())
		b.WriteByte('+')
		b.WriteString(formatOctets(s.base))
	}
	return b.String()
}

// parseMark reads a comment. What somebody added behind it is left out.
func parseMark(s string) (m mark, ok bool) {
	fields := strings.Fields(s)
	if len(fields) == 0 {
		return m, false
	}
	number, ok := strings.CutPrefix(fields[0], commentPrefix+"grant:")
	if !ok {
		return m, false
	}
	id, err := strconv.ParseUint(number, 10, 64)
	if err != nil || id == 0 {
		return m, false
	}
	m.grant = zonegate.GrantID(id)
	for _, f := range fields[1:] {
		key, value, _ := strings.Cut(f, "=")
		switch {
		case key == "by":
			if _, err := hex.DecodeString(value); err == nil && len(value) == 8 {
				m.by = value
			}
		case key == "gone":
			m.gone, _ = parseOctets(value)
		case key == "before":
			m.before, _ = parseOctets(value)
		case strings.HasPrefix(key, "s"):
			id, err := strconv.ParseUint(key[1:], 10, 32)
			address, base, _ := strings.Cut(value, "+")
			mac, ok := parseMAC(address)
			if err != nil || id == 0 || !ok {
				continue
			}
			x := marked{id: zonegate.SessionID(id), mac: mac}
			x.base, _ = parseOctets(base)
			m.sessions = append(m.sessions, x)
		}
	}
	return m, true
}

// siteTag is what a mark says of a gateway: short, and fit for a comment.
func siteTag(site string) string {
	if site == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(site))
	return hex.EncodeToString(sum[:4])
}

// ErrRival means that another gateway enforces on the same router. Each would
// take the other's customers for leftovers of its own.
var ErrRival = errors.New("another zonegate lets customers in on this router; stop one of the two")

// noRival says whether all of our marks are this gateway's, or of one without a
// name. Nothing is done to a router before that is so.
func (r *Router) noRival(users []row) error {
	for _, u := range users {
		if m, ok := parseMark(u["comment"]); ok && m.by != "" && r.site != "" && m.by != r.site {
			return fmt.Errorf("%w; if the other is gone for good, remove what it left, here or on the router: %s", ErrRival, clearOthers(m.by))
		}
	}
	return nil
}

func clearOthers(by string) string {
	return fmt.Sprintf("/ip/hotspot/user/remove [find where comment~\"^zonegate:.* by=%s\"]", by)
}

func formatOctets(o zonegate.Octets) string {
	return strconv.FormatUint(o.Up, 10) + "/" + strconv.FormatUint(o.Down, 10)
}

func parseOctets(s string) (zonegate.Octets, bool) {
	up, down, _ := strings.Cut(s, "/")
	u, err1 := strconv.ParseUint(up, 10, 64)
	d, err2 := strconv.ParseUint(down, 10, 64)
	if err1 != nil || err2 != nil {
		return zonegate.Octets{}, false
	}
	return zonegate.Octets{Up: u, Down: d}, true
}

func plus(a, b zonegate.Octets) zonegate.Octets {
	return zonegate.Octets{Up: a.Up + b.Up, Down: a.Down + b.Down}
}

// minus is a less b, each direction at least zero.
func minus(a, b zonegate.Octets) zonegate.Octets {
	return zonegate.Octets{Up: a.Up - min(a.Up, b.Up), Down: a.Down - min(a.Down, b.Down)}
}

// atLeast says that neither direction of a is below b.
func atLeast(a, b zonegate.Octets) bool { return a.Up >= b.Up && a.Down >= b.Down }

func higher(a, b zonegate.Octets) zonegate.Octets {
	return zonegate.Octets{Up: max(a.Up, b.Up), Down: max(a.Down, b.Down)}
}
