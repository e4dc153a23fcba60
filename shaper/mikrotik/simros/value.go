package simros

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A kind is the type of a property's value: how it is read and printed.
type kind int

const (
	text     kind = iota
	flag          // boolean
	number        // unsigned
	period        // a duration
	hardware      // a MAC
	address       // an IPv4 address
	network       // IPv4 or IPv6 prefixes and ranges, commas between them
	rate          // bit/s
	ratePair      // bit/s, up/down
	pair          // anything/anything
	choice        // one of prop.values
	choices       // several of prop.values, commas between them
	ref           // the name of an item of prop.menu, or one of prop.values
	refPair       // ref/ref
	limits        // a rate-limit string
)

// parse brings a value that a client sent into the form in which the router
// keeps and prints it. A reference is resolved by the caller.
func (p *prop) parse(s string) (string, error) {
	switch p.kind {
	case flag:
		// Both spellings are taken: the manual writes yes and no, API programs
		// true and false [FIELD].
		switch s {
		case "yes", "true":
			return "true", nil
		case "no", "false":
			return "false", nil
		}
		return "", noMatch(p.name)
	case number:
		if slices.Contains(p.values, s) {
			return s, nil
		}
		n, ok := parseNumber(s)
		if !ok {
			return "", invalid(p.name)
		}
		if p.max > 0 && (n < p.min || n > p.max) {
			return "", trapf(1, "value of %s out of range (%d..%d)", p.name, p.min, p.max)
		}
		return strconv.FormatUint(n, 10), nil
	case period:
		if slices.Contains(p.values, s) {
			return s, nil
		}
		d, ok := parsePeriod(s)
		if !ok {
			return "", invalid(p.name)
		}
		return formatExact(d), nil
	case hardware:
		if s == "" {
			return "", nil
		}
		mac, ok := parseMAC(s)
		if !ok {
			return "", trapf(1, "invalid value of %s", p.name) // [FIELD] hotspot login: "invalid value of mac-address"
		}
		return mac, nil
	case address:
		if s == "" || slices.Contains(p.values, s) {
			return s, nil
		}
		a, err := netip.ParseAddr(s)
		if err != nil {
			return "", invalid(p.name)
		}
		return a.String(), nil
	case network:
		return parseNetworks(p.name, s)
	case rate:
		n, ok := parseRate(s)
		if !ok {
			return "", invalid(p.name)
		}
		return strconv.FormatUint(n, 10), nil
	case ratePair:
		up, down := halves(s)
		u, ok1 := parseRate(up)
		d, ok2 := parseRate(down)
		if !ok1 || !ok2 {
			return "", invalid(p.name)
		}
		return fmt.Sprintf("%d/%d", u, d), nil
	case pair:
		up, down := halves(s)
		return up + "/" + down, nil
	case choice:
		return pick(p.name, p.values, s)
	case limits:
		if _, ok := parseRateLimit(s); !ok && s != "" {
			return "", invalid(p.name)
		}
	case choices:
		if s == "" {
			return "", nil
		}
		parts := strings.Split(s, ",")
		for _, part := range parts {
			if !slices.Contains(p.values, strings.TrimPrefix(part, "!")) {
				return "", noMatch(p.name)
			}
		}
		return s, nil
	}
	return s, nil
}

// pick finds the value that s names, in full or by a beginning that no other
// shares: the console's rule, which the API follows; [FIELD] quotes the message
// for several.
func pick(name string, values []string, s string) (string, error) {
	if slices.Contains(values, s) {
		return s, nil
	}
	var found []string
	for _, v := range values {
		if s != "" && strings.HasPrefix(v, s) {
			found = append(found, v)
		}
	}
	switch len(found) {
	case 0:
		return "", noMatch(name)
	case 1:
		return found[0], nil
	}
	return "", trapf(1, "ambiguous value of %s, more than one possible value matches input", name)
}

// halves splits "up/down"; a single value stands for both [QUEUE].
func halves(s string) (up, down string) {
	up, down, two := strings.Cut(s, "/")
	if !two {
		down = up
	}
	return up, down
}

// parseNumber reads a count. A suffix counts in powers of 1024 (assumed: the
// documents give no example with a hotspot limit).
func parseNumber(s string) (uint64, bool) {
	return parseScaled(s, 1024)
}

// parseRate reads bit/s; k, M and G are decimal [QUEUE].
func parseRate(s string) (uint64, bool) {
	return parseScaled(s, 1000)
}

func parseScaled(s string, step uint64) (uint64, bool) {
	factor := uint64(1)
	if s != "" {
		switch s[len(s)-1] {
		case 'k', 'K':
			factor = step
		case 'M':
			factor = step * step
		case 'G':
			factor = step * step * step
		}
		if factor > 1 {
			s = s[:len(s)-1]
		}
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > ^uint64(0)/factor {
		return 0, false
	}
	return n * factor, true
}

// parsePeriod reads a duration: seconds, "1w2d3h4m5s", "hh:mm:ss", or days and
// a clock together ("1d00:10:00") [API, USER].
func parsePeriod(s string) (time.Duration, bool) {
	s = strings.ReplaceAll(s, " ", "")
	if s == "" {
		return 0, false
	}
	var total time.Duration
	for s != "" {
		digits := 0
		for digits < len(s) && s[digits] >= '0' && s[digits] <= '9' {
			digits++
		}
		if digits < len(s) && s[digits] == ':' {
			clock, ok := parseClock(s)
			return total + clock, ok
		}
		n, err := strconv.ParseUint(s[:digits], 10, 31)
		if err != nil {
			return 0, false
		}
		unit := time.Second
		rest := s[digits:]
		if rest != "" {
			switch {
			case strings.HasPrefix(rest, "ms"):
				unit, rest = time.Millisecond, rest[2:]
			case rest[0] == 'w':
				unit, rest = 7*24*time.Hour, rest[1:]
			case rest[0] == 'd':
				unit, rest = 24*time.Hour, rest[1:]
			case rest[0] == 'h':
				unit, rest = time.Hour, rest[1:]
			case rest[0] == 'm':
				unit, rest = time.Minute, rest[1:]
			case rest[0] == 's':
				rest = rest[1:]
			default:
				return 0, false
			}
		}
		if n > uint64((1<<62)/unit) {
			return 0, false
		}
		total += time.Duration(n) * unit
		s = rest
	}
	return total, total >= 0
}

func parseClock(s string) (time.Duration, bool) {
	parts := strings.Split(s, ":")
	if len(parts) > 3 {
		return 0, false
	}
	if len(parts) == 2 { // hh:mm
		parts = append(parts, "0")
	}
	var total time.Duration
	for i, unit := range []time.Duration{time.Hour, time.Minute, time.Second} {
		n, err := strconv.ParseUint(parts[i], 10, 20)
		if err != nil {
			return 0, false
		}
		total += time.Duration(n) * unit
	}
	return total, true
}

// formatPeriod prints whole seconds as "1w2d3h4m5s"; zero is "0s" [TF].
func formatPeriod(d time.Duration) string {
	if d <= 0 {
		return "0s"
	}
	seconds := int64(d / time.Second)
	if seconds == 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range []struct {
		size int64
		name byte
	}{{7 * 86400, 'w'}, {86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}} {
		if n := seconds / u.size; n > 0 {
			b.WriteString(strconv.FormatInt(n, 10))
			b.WriteByte(u.name)
			seconds %= u.size
		}
	}
	return b.String()
}

// formatExact prints a setting, which may have milliseconds: "300ms" [TF].
func formatExact(d time.Duration) string {
	ms := d % time.Second / time.Millisecond
	switch {
	case ms <= 0:
		return formatPeriod(d)
	case d < time.Second:
		return fmt.Sprintf("%dms", ms)
	}
	return fmt.Sprintf("%s%dms", formatPeriod(d), ms)
}

// parseMAC reads six hexadecimal pairs and returns them in the upper case in
// which RouterOS prints them [TF].
func parseMAC(s string) (string, bool) {
	parts := strings.FieldsFunc(s, func(c rune) bool { return c == ':' || c == '-' })
	if len(parts) != 6 {
		return "", false
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 16, 8)
		if err != nil {
			return "", false
		}
		parts[i] = fmt.Sprintf("%02X", n)
	}
	return strings.Join(parts, ":"), true
}

// parseNetworks checks a list of addresses, prefixes and ranges, each perhaps
// negated with '!'. A single address of a queue's target gains its /32 [TF].
func parseNetworks(name, s string) (string, error) {
	if s == "" {
		return "", nil
	}
	parts := strings.Split(s, ",")
	for i, part := range parts {
		bare := strings.TrimPrefix(part, "!")
		if a, err := netip.ParseAddr(bare); err == nil {
			if name == "target" {
				parts[i] = netip.PrefixFrom(a, a.BitLen()).String()
			}
			continue
		}
		if _, err := netip.ParsePrefix(bare); err == nil {
			if name != "target" {
				parts[i] = strings.TrimSuffix(part, "/32") // [LAB] an address list's /32 is its address
			}
			continue
		}
		if name == "target" && bare != "" && (bare[0]|0x20) >= 'a' && (bare[0]|0x20) <= 'z' {
			continue // an interface [QUEUE]; whether it exists is looked at when the item is kept
		}
		from, to, isRange := strings.Cut(bare, "-")
		_, err1 := netip.ParseAddr(from)
		_, err2 := netip.ParseAddr(to)
		if !isRange || err1 != nil || err2 != nil {
			return "", invalid(name)
		}
	}
	return strings.Join(parts, ","), nil
}

// compare orders two values of a property for the queries ?<name=x and
// ?>name=x: numbers and durations by size, the rest as text (assumed).
func (p *prop) compare(a, b string) int {
	if p != nil {
		switch p.kind {
		case number, rate:
			x, ok1 := parseScaled(a, 1)
			y, ok2 := parseScaled(b, 1)
			if ok1 && ok2 {
				return cmp.Compare(x, y)
			}
		case period:
			x, ok1 := parsePeriod(a)
			y, ok2 := parsePeriod(b)
			if ok1 && ok2 {
				return cmp.Compare(x, y)
			}
		}
	}
	return strings.Compare(a, b)
}
