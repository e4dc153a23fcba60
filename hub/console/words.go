package console

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"zonegate/hub"
)

type lang uint8

const (
	french lang = iota
	english
)

// A page is what all pages have in common.
type page struct {
	lang  lang
	by    hub.Actor // zero: nobody has signed in
	token string    // of the forms
	back  string    // where switching the language returns to
	done  bool      // a form was just taken
	zone  *time.Location
	now   time.Time
	f     *form
}

// T is a text in the page's language.
func (p page) T(fr, en string, args ...any) string {
	s := fr
	if p.lang == english {
		s = en
	}
	if len(args) > 0 {
		s = fmt.Sprintf(s, args...)
	}
	return s
}

func (p page) tag() string { return p.T("fr", "en") }

func (p page) admin() bool   { return p.by.Role == hub.RoleAdmin }
func (p page) manages() bool { return p.by.Role == hub.RoleAdmin || p.by.Role == hub.RoleReseller }

// manager says whether the user may change what belongs to a reseller.
func (p page) manager(reseller string) bool {
	return p.admin() || p.by.Role == hub.RoleReseller && reseller != "" && reseller == p.by.Reseller
}

func (p page) role(r hub.Role) string {
	switch r {
	case hub.RoleAdmin:
		return p.T("administrateur", "admin")
	case hub.RoleReseller:
		return p.T("revendeur", "reseller")
	}
	return p.T("vendeur", "seller")
}

// nbsp keeps a number and its unit on one line.
const nbsp = "\u00a0"

// count writes a whole number with a mark between thousands.
func (p page) count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	var b strings.Builder
	for i, r := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteString(p.T(nbsp, ","))
		}
		b.WriteRune(r)
	}
	return sign + b.String()
}

// cents is how many digits a currency has behind the point (ISO 4217).
func cents(currency string) int {
	switch currency {
	case "XOF", "XAF", "BIF", "DJF", "GNF", "KMF", "RWF", "UGX":
		return 0
	}
	return 2
}

// money writes an amount of minor units.
func (p page) money(amount int64, currency string) string {
	fraction := ""
	if cents(currency) > 0 {
		part := amount % 100
		amount /= 100
		if part < 0 {
			part = -part
		}
		fraction = p.T(",", ".") + strconv.FormatInt(100+part, 10)[1:]
	}
	return p.count(amount) + fraction + nbsp + currency
}

// octets writes an amount of data in the largest unit that is exact to a
// tenth or better.
func (p page) octets(n uint64) string {
	if n == 0 {
		return p.T("illimité", "no cap")
	}
	units := []string{"o", "ko", "Mo", "Go", "To"}
	if p.lang == english {
		units = []string{"B", "KB", "MB", "GB", "TB"}
	}
	i, unit := 0, uint64(1)
	for i < len(units)-1 && n >= unit*1000 {
		i++
		unit *= 1000
	}
	return p.point(writeDecimal(n/(max(unit, 10)/10), min(i, 1))) + nbsp + units[i]
}

func (p page) point(s string) string { return strings.Replace(s, ".", p.T(",", "."), 1) }

// rate writes bit/s.
func (p page) rate(bits uint64) string {
	if bits == 0 {
		return p.T("sans limite", "no limit")
	}
	if bits >= 1_000_000 {
		return p.point(writeDecimal(bits/1000, 3)) + nbsp + "Mbit/s"
	}
	return p.point(writeDecimal(bits, 3)) + nbsp + "kbit/s"
}

// duration writes paid time with its two largest units.
func (p page) duration(d time.Duration) string {
	day, hour, minute := p.T("j", "d"), "h", "min"
	parts := []string{}
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, day}, {time.Hour, hour}, {time.Minute, minute}, {time.Second, "s"}} {
		if n := d / u.of; n > 0 && len(parts) < 2 {
			parts = append(parts, strconv.FormatInt(int64(n), 10)+nbsp+u.name)
			d -= n * u.of
		}
	}
	if len(parts) == 0 {
		return "0" + nbsp + "s"
	}
	return strings.Join(parts, " ")
}

// seconds is a wait for a header, rounded up.
func (p page) seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

func (p page) wait(d time.Duration) string {
	return p.duration((d + time.Second - 1).Truncate(time.Second))
}

// moment writes a time in the hub's zone.
func (p page) moment(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.In(p.zone).Format(p.T("02/01/2006 15:04", "2006-01-02 15:04"))
}

// ago writes how long a time is past.
func (p page) ago(t time.Time) string {
	if t.IsZero() {
		return p.T("jamais", "never")
	}
	d := p.now.Sub(t)
	if d < time.Minute {
		return p.T("à l’instant", "just now")
	}
	return p.T("il y a %s", "%s ago", p.duration(d.Truncate(time.Minute)))
}

func (p page) yes(b bool) string {
	if b {
		return p.T("oui", "yes")
	}
	return p.T("non", "no")
}

// An option is a line of a choice.
type option struct{ value, label string }
