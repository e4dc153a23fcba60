package web

import (
	"strconv"
	"strings"
	"time"
)

// nbsp keeps a number and its unit on one line.
const nbsp = "\u00a0"

// Price writes an amount in minor units of an ISO 4217 currency. The two CFA
// francs are written as people say them.
func (l Lang) Price(amount int64, currency string) string {
	if amount == 0 {
		return l.Say(TextFree)
	}
	fraction := ""
	switch currency {
	case "XOF", "XAF":
		currency = "FCFA"
	case "BIF", "DJF", "GNF", "KMF", "RWF", "UGX":
	default:
		cents := strconv.FormatInt(100+amount%100, 10)
		amount /= 100
		if cents != "100" {
			fraction = l.point() + cents[1:]
		}
	}
	return l.group(strconv.FormatInt(amount, 10)) + fraction + nbsp + currency
}

// group puts a mark between thousands.
func (l Lang) group(digits string) string {
	mark := nbsp
	if l == English {
		mark = ","
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteString(mark)
		}
		b.WriteRune(d)
	}
	return b.String()
}

func (l Lang) point() string {
	if l == English {
		return "."
	}
	return ","
}

// decimal writes n/unit with at most one digit behind the point, rounded down:
// what is left is never written larger than it is.
func (l Lang) decimal(n, unit uint64) string {
	whole, tenth := n/unit, n%unit*10/unit
	s := strconv.FormatUint(whole, 10)
	if whole < 100 && tenth > 0 {
		s += l.point() + strconv.FormatUint(tenth, 10)
	}
	return s
}

// Octets writes an amount of data; megabyte is how many octets the zone calls
// one megabyte.
func (l Lang) Octets(n, megabyte uint64) string {
	kilo := uint64(1000)
	if megabyte == 1<<20 {
		kilo = 1 << 10
	}
	units := [...]string{"ko", "Mo", "Go", "To"}
	if l == English {
		units = [...]string{"KB", "MB", "GB", "TB"}
	}
	i, unit := 0, kilo
	for i < len(units)-1 && n/unit >= kilo {
		i++
		unit *= kilo
	}
	return l.decimal(n, unit) + nbsp + units[i]
}

// Rate writes a rate in bit/s.
func (l Lang) Rate(bits uint64) string {
	switch {
	case bits >= 1_000_000_000:
		return l.decimal(bits, 1_000_000_000) + nbsp + "Gbit/s"
	case bits >= 1_000_000:
		return l.decimal(bits, 1_000_000) + nbsp + "Mbit/s"
	}
	return l.decimal(bits, 1000) + nbsp + "kbit/s"
}

// Duration writes paid time with its two largest units, rounded down.
func (l Lang) Duration(d time.Duration) string {
	minutes := int64(d / time.Minute)
	days, hours, minutes := minutes/(24*60), minutes/60%24, minutes%60
	var parts []string
	add := func(n int64, unit string) {
		if n > 0 {
			parts = append(parts, strconv.FormatInt(n, 10)+nbsp+unit)
		}
	}
	day := "jour"
	if l == English {
		day = "day"
	}
	if days > 1 {
		day += "s"
	}
	add(days, day)
	add(hours, "h")
	if days == 0 {
		add(minutes, "min")
	}
	if len(parts) == 0 {
		return l.Say(TextLessThanMinute)
	}
	return strings.Join(parts, " ")
}

// Wait writes how long to wait, rounded up.
func (l Lang) Wait(d time.Duration) string {
	if d <= time.Minute {
		s := max(1, int64((d+time.Second-1)/time.Second))
		return strconv.FormatInt(s, 10) + nbsp + "s"
	}
	return l.Duration(d + time.Minute - 1)
}

// Moment writes a wall time in its own zone, day before month.
func (l Lang) Moment(t time.Time) string {
	return l.Say(TextMoment, t.Day(), int(t.Month()), t.Hour(), t.Minute())
}
