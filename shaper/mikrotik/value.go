package mikrotik

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"zonegate"
)

// A row is one object of a print.
type row map[string]string

func (r row) id() string { return r[".id"] }

// is reads a boolean, which is true/false in answers of the API and yes/no in
// some of older versions.
func (r row) is(key string) bool { return r[key] == "true" || r[key] == "yes" }

func (r row) number(key string) uint64 {
	n, _ := strconv.ParseUint(r[key], 10, 64)
	return n
}

func (r row) duration(key string) time.Duration {
	d, _ := parseDuration(r[key])
	return d
}

func (r row) mac() (zonegate.MAC, bool) { return parseMAC(r["mac-address"]) }

// octets reads the counters of a hotspot user or session: in is what came from
// the customer.
func (r row) octets() zonegate.Octets {
	return zonegate.Octets{Up: r.number("bytes-in"), Down: r.number("bytes-out")}
}

// parseDuration reads a time as RouterOS writes it: 1w2d3h4m5s, 4m42s,
// 1d02:03:04, 00:25:00, 500ms; empty and "none" are zero.
func parseDuration(s string) (time.Duration, bool) {
	if s == "" || s == "none" || s == "never" {
		return 0, s != ""
	}
	var total time.Duration
	for s != "" {
		if strings.Count(s, ":") == 2 && !strings.ContainsAny(s, "wd") {
			d, ok := parseClock(s)
			return total + d, ok
		}
		n := 0
		for n < len(s) && (s[n] >= '0' && s[n] <= '9') {
			n++
		}
		v, err := strconv.ParseInt(s[:n], 10, 32)
		if err != nil {
			return 0, false
		}
		m := n
		for m < len(s) && s[m] >= 'a' && s[m] <= 'z' {
			m++
		}
		unit, ok := units[s[n:m]]
		if !ok {
			return 0, false
		}
		total += time.Duration(v) * unit
		s = s[m:]
	}
	return total, true
}

// parseClock reads hours, minutes and seconds: 02:03:04.
func parseClock(s string) (time.Duration, bool) {
	var total time.Duration
	for i, part := range strings.SplitN(s, ":", 3) {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil {
			return 0, false
		}
		total += time.Duration(n) * [...]time.Duration{time.Hour, time.Minute, time.Second}[i]
	}
	return total, true
}

var units = map[string]time.Duration{
	"": time.Second, "w": 7 * 24 * time.Hour, "d": 24 * time.Hour, "h": time.Hour,
	"m": time.Minute, "s": time.Second, "ms": time.Millisecond, "us": time.Microsecond,
}

// formatDuration writes whole seconds, rounded up, in a form that every
// version takes.
func formatDuration(d time.Duration) string {
	s := int64((d + time.Second - 1) / time.Second)
	if s <= 0 {
		return "0s"
	}
	clock := fmt.Sprintf("%02d:%02d:%02d", s/3600%24, s/60%60, s%60)
	if days := s / 86400; days > 0 {
		return strconv.FormatInt(days, 10) + "d" + clock
	}
	return clock
}

func parseMAC(s string) (mac zonegate.MAC, ok bool) {
	if len(s) != 17 {
		return mac, false
	}
	for i := range mac {
		b, err := strconv.ParseUint(s[3*i:3*i+2], 16, 8)
		if err != nil || i < 5 && s[3*i+2] != ':' && s[3*i+2] != '-' {
			return mac, false
		}
		mac[i] = byte(b)
	}
	return mac, true
}

// formatMAC writes capital letters, as the router does.
func formatMAC(m zonegate.MAC) string { return strings.ToUpper(m.String()) }

// bits reads a rate: a number of bit/s, or one with k, M or G (decimal).
func bits(s string) uint64 {
	f := uint64(1)
	switch {
	case strings.HasSuffix(s, "k"):
		f = 1e3
	case strings.HasSuffix(s, "M"):
		f = 1e6
	case strings.HasSuffix(s, "G"):
		f = 1e9
	}
	if f > 1 {
		s = s[:len(s)-1]
	}
	n, _ := strconv.ParseUint(s, 10, 64)
	return n * f
}

// A pace is a pair of rates of a queue in bit/s, seen from the customer as in
// the queue's own "upload/download".
type pace struct{ up, down uint64 }

func parsePace(s string) pace {
	up, down, _ := strings.Cut(s, "/")
	return pace{bits(up), bits(down)}
}

func (p pace) String() string {
	return strconv.FormatUint(p.up, 10) + "/" + strconv.FormatUint(p.down, 10)
}
