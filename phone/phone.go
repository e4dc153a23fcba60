// Package phone reads the telephone numbers of the countries that zonegate
// serves, as people type them. It computes and nothing else: what a provider
// wants to see, and the numbers of its tests, are for its adapter.
package phone

import (
	"fmt"
	"strings"
)

// A Number is a telephone number. The zero Number is none.
type Number struct {
	country string // "" for a number of a provider's tests
	digits  string // with the country's code
}

// A Problem is what is wrong with a number.
type Problem uint8

// Problems.
const (
	Empty   Problem = iota + 1 // nothing was typed
	Letters                    // something that is no digit
	Abroad                     // another country's code
	Length                     // too few or too many digits
	Start                      // does not begin as a mobile number does
	Unknown                    // the country is none of ours
)

// An Error says what is wrong with a number, and never shows it.
type Error struct {
	Problem Problem
	// Country is whose number was wanted: ISO 3166-1 alpha-2.
	Country string
	// Digits is how many there are, without the country's code.
	Digits int
}

func (e *Error) Error() string {
	p := places[e.Country]
	switch e.Problem {
	case Empty:
		return "there is no phone number: type one like " + p.example
	case Letters:
		return "a phone number has digits alone, like " + p.example
	case Abroad:
		return "that number is from another country: the code of " + p.name + " is +" + p.code
	case Length:
		return fmt.Sprintf("that number has %d digits, and those of %s have %d: type it like %s", e.Digits, p.name, len(p.local("")), p.example)
	case Start:
		return fmt.Sprintf("a mobile number of %s begins with %s: type it like %s", p.name, p.begin, p.example)
	}
	return fmt.Sprintf("phone numbers of country %q are not known", e.Country)
}

// A place is a country's plan of numbers.
type place struct {
	name, code string
	// size is the digits after the code, begin what they begin with.
	size  int
	begin string
	trunk bool // a zero stands before them at home
	// short numbers, from before there was more, lack begin.
	short     int
	example   string
	operators [][2]string // name, and what the digits after begin start with
}

var places = map[string]place{
	// Ten digits since 2024-11-30; eight before.
	"BJ": {name: "Benin", code: "229", size: 10, begin: "01", short: 8, example: "01 97 12 34 56", operators: [][2]string{
		{"MTN", "42 46 50 51 52 53 54 56 57 59 61 62 66 67 69 90 91 96 97"},
		{"Moov", "45 55 58 60 63 64 65 68 94 95 98 99"},
		{"Celtiis", "28 40 41 43 44 47 48 49 92 93"}}},
	"GA": {name: "Gabon", code: "241", size: 8, trunk: true, example: "074 12 34 56", operators: [][2]string{
		{"Airtel", "74 76 77"}, {"Moov", "62 65 66"}}},
	"CD": {name: "DR Congo", code: "243", size: 9, trunk: true, example: "081 234 5678", operators: [][2]string{
		{"Vodacom", "81 82 83 86"}, {"Orange", "80 84 85 89"}, {"Airtel", "97 98 99"}, {"Africell", "90 91"}}},
	"CM": {name: "Cameroon", code: "237", size: 9, begin: "6", example: "6 71 23 45 67", operators: [][2]string{
		{"MTN", "7 50 51 52 53 54 80 81 82 83"}, {"Orange", "9 4 55 56 57 58 59 86 87 88 89"}, {"Camtel", "2"}, {"Nexttel", "6 84 85"}}},
}

// local is a number as it is dialled at home; of an empty one, as many zeros.
func (p place) local(national string) string {
	if national == "" {
		national = strings.Repeat("0", p.size)
	}
	if p.trunk {
		return "0" + national
	}
	return national
}

// national takes what was typed without the code: with or without the zero of
// a trunk, and short.
func (p place) national(s string) (string, bool) {
	switch {
	case len(s) == p.size && !(p.trunk && s[0] == '0'):
		return s, true
	case p.trunk && len(s) == p.size+1 && s[0] == '0' && s[1] != '0':
		return s[1:], true
	case p.short > 0 && len(s) == p.short:
		return p.begin + s, true
	}
	return "", false
}

// Parse reads a number as somebody in country types it: at home's form, with
// +code or 00code, or with the code alone; spaces, dots, hyphens, slashes and
// brackets are nothing. A number is refused for its length, its country and
// for not being a mobile's, never for an operator that is not known: numbers
// move between operators. The error is an *Error.
func Parse(country, typed string) (Number, error) {
	p, ok := places[country]
	if !ok {
		return Number{}, &Error{Problem: Unknown, Country: country}
	}
	digits, abroad, problem := strip(typed)
	if problem != 0 {
		return Number{}, &Error{Problem: problem, Country: country}
	}
	rest, coded := strings.CutPrefix(digits, p.code)
	if abroad && !coded {
		return Number{}, &Error{Problem: Abroad, Country: country}
	}
	var national string
	if !abroad {
		national, ok = p.national(digits)
	}
	if coded && (abroad || !ok) {
		if national, ok = p.national(rest); ok {
			digits = rest
		}
	}
	if !ok {
		if abroad {
			digits = rest
		}
		return Number{}, &Error{Problem: Length, Country: country, Digits: len(digits)}
	}
	if !strings.HasPrefix(national, p.begin) {
		return Number{}, &Error{Problem: Start, Country: country, Digits: len(digits)}
	}
	return Number{country, p.code + national}, nil
}

// ParseTest is Parse for a channel whose provider is in test mode: a number
// that Parse refuses, but that has 8 to 15 digits, is taken as it was typed.
// Providers document test numbers of other countries and old lengths
// (650121212, 09306315), and a lab pays with them. A live channel never uses
// it.
func ParseTest(country, typed string) (Number, error) {
	n, err := Parse(country, typed)
	if err == nil {
		return n, nil
	}
	digits, _, problem := strip(typed)
	if problem != 0 || len(digits) < 8 || len(digits) > 15 {
		return Number{}, err
	}
	return Number{"", digits}, nil
}

// FromE164 reads what E164 gave. The error is an *Error whose Problem is
// Unknown for a number of no country of ours, or of a provider's tests.
func FromE164(digits string) (Number, error) {
	for country, p := range places {
		if rest, ok := strings.CutPrefix(digits, p.code); ok && len(rest) == p.size {
			n, err := Parse(country, "+"+digits)
			if err == nil && n.digits != digits {
				break
			}
			return n, err
		}
	}
	return Number{}, &Error{Problem: Unknown}
}

// strip leaves the digits. abroad says that a code comes first.
func strip(typed string) (digits string, abroad bool, problem Problem) {
	var b strings.Builder
	for _, r := range typed {
		switch {
		case r >= '0' && r <= '9':
			b.WriteRune(r)
		case r == '+' && b.Len() == 0 && !abroad:
			abroad = true
		case !strings.ContainsRune(" .-/()\t\u00a0\u202f\u2010\u2011\u202a\u202c\u200e", r):
			return "", false, Letters
		}
	}
	digits = b.String()
	if rest, ok := strings.CutPrefix(digits, "00"); ok && !abroad {
		digits, abroad = rest, true
	}
	if digits == "" {
		return "", false, Empty
	}
	return digits, abroad, 0
}

// Country is ISO 3166-1 alpha-2; empty for a test number of another shape.
func (n Number) Country() string { return n.country }

// E164 is the number with the country's code and without the plus sign: as it
// is stored. A test number of another shape is what was typed.
func (n Number) E164() string { return n.digits }

// Local is the number as it is dialled in its country: 074111111 in Gabon,
// 0812345678 in DR Congo, ten digits in Benin, nine in Cameroon.
func (n Number) Local() string {
	if p, ok := places[n.country]; ok {
		return p.local(n.digits[len(p.code):])
	}
	return n.digits
}

// Operator is who gave the number out; empty if that is not known. It is a
// hint for a form's first choice, never a proof: the customer may have taken
// the number to another operator.
func (n Number) Operator() string {
	p := places[n.country]
	rest := strings.TrimPrefix(n.digits, p.code+p.begin)
	for _, o := range p.operators {
		for _, start := range strings.Fields(o[1]) {
			if strings.HasPrefix(rest, start) {
				return o[0]
			}
		}
	}
	return ""
}

// String is Mask, so that a number that strays into a log or an error is not
// shown.
func (n Number) String() string { return Mask(n.digits) }

// Mask shows the last two digits of a number and how it ends, nothing more:
// ***48.
func (n Number) Mask() string { return Mask(n.digits) }

// Mask is Number.Mask for a number in any form.
func Mask(number string) string {
	if len(number) < 6 {
		return "***"
	}
	return "***" + number[len(number)-2:]
}

// Same compares two numbers with their codes as providers write them. Numbers
// of Benin are compared by their last eight digits: some systems still write
// the old form.
func Same(a, b string) bool {
	a, _, _ = strip(a)
	b, _, _ = strip(b)
	if benin := places["BJ"].code; strings.HasPrefix(a, benin) && strings.HasPrefix(b, benin) {
		a, b = old(a), old(b)
	}
	return a != "" && a == b
}

// old is the last eight digits of a number of Benin.
func old(digits string) string {
	p := places["BJ"]
	if n, ok := p.national(digits[len(p.code):]); ok && strings.HasPrefix(n, p.begin) {
		return n[len(p.begin):]
	}
	return digits
}

// Example is a number of that country as people there write it, for a form;
// empty for a country that is not known.
func Example(country string) string { return places[country].example }

// Code is the country's code without the plus sign; empty for a country that
// is not known.
func Code(country string) string { return places[country].code }
