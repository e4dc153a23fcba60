package wire

import (
	"encoding/hex"
	"strings"

	"zonegate"
)

// macForms are the ways in which NASes write a hardware address: how many
// hexadecimal digits are in a group, and what may stand between groups.
// MikroTik has seven of them, uspot and pfSense five or six each, Cisco the
// dots, H3C the dashes between fours.
var macForms = [...]struct {
	digits     int
	separators string
}{
	{2, ":- "},
	{4, ".:-"},
	{6, "-:"},
	{12, ""},
}

// ParseMAC reads a hardware address in any form that a NAS is known to write,
// in upper or lower case, and nothing else: no mixed separators, no shorter
// groups, no space around it. Zeros and group addresses are no station's.
func ParseMAC(s string) (zonegate.MAC, bool) {
	for _, f := range macForms {
		if len(s) == 12+12/f.digits-1 {
			return parseForm(s, f.digits, f.separators)
		}
	}
	return zonegate.MAC{}, false
}

// parseForm reads twelve digits in groups of the given size.
func parseForm(s string, group int, separators string) (zonegate.MAC, bool) {
	var digits [12]byte
	for i, n := 0, 0; n < len(digits); n++ {
		if n > 0 && n%group == 0 {
			// The first separator decides; the others are like it.
			if s[i] != s[group] || strings.IndexByte(separators, s[i]) < 0 {
				return zonegate.MAC{}, false
			}
			i++
		}
		digits[n] = s[i]
		i++
	}
	var m zonegate.MAC
	if _, err := hex.Decode(m[:], digits[:]); err != nil {
		return zonegate.MAC{}, false
	}
	if m == (zonegate.MAC{}) || m[0]&1 != 0 {
		return zonegate.MAC{}, false
	}
	return m, true
}

// ParseStation reads a Called-Station-Id (RFC 3580 section 3.20): a hardware
// address, and perhaps a colon and the name of a network, which may hold
// anything.
func ParseStation(s string) (m zonegate.MAC, ssid string, ok bool) {
	for _, f := range macForms {
		n := 12 + 12/f.digits - 1
		if len(s) < n || len(s) > n && s[n] != ':' {
			continue
		}
		if m, ok := parseForm(s[:n], f.digits, f.separators); ok {
			if len(s) > n {
				ssid = s[n+1:]
			}
			return m, ssid, true
		}
	}
	return zonegate.MAC{}, "", false
}
