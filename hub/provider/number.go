package provider

import (
	"regexp"
	"strings"
)

// isPhone is how many digits may be a phone number.
const isPhone = 8

const currencies = `(?:F ?CFA|CFA|XOF|XAF|CDF|USD|FC|F)`

// keeps are what begins as a phone number might, and is something else.
var keeps = []*regexp.Regexp{
	// Days.
	regexp.MustCompile(`^(?:19|20)\d\d[-.](?:0[1-9]|1[0-2])[-.](?:0[1-9]|[12]\d|3[01])`),
	regexp.MustCompile(`^(?:0[1-9]|[12]\d|3[01])[-.](?:0[1-9]|1[0-2])[-.](?:19|20)\d\d`),
	// Amounts, those without decimals with their currency.
	regexp.MustCompile(`^(?:0|[1-9]\d{0,6})\.\d{1,2}`),
	regexp.MustCompile(`^[1-9]\d{0,2}(?: \d{3}){1,4}[.,]\d{1,2}`),
	regexp.MustCompile(`^[1-9]\d{0,2}(?:(?: \d{3}){1,4}|(?:\.\d{3}){1,4}) ?` + currencies + `\b`),
	// Addresses of hosts.
	regexp.MustCompile(`^(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}`),
}

var (
	// pairs are rather a number than the address of a host.
	pairs    = regexp.MustCompile(`^\d\d(?:\.\d\d){3}$`)
	currency = regexp.MustCompile(`\b` + currencies + `[ :]?$`)
	amount   = regexp.MustCompile(`^[1-9]\d{0,2}(?:(?: \d{3}){1,4}|(?:\.\d{3}){1,4})`)
)

// kept is how long what stands at i is if it is no phone number, and else 0.
func kept(text string, i int) (n int) {
	const most = 40 // of them all
	rest := text[i:min(len(text), i+most)]
	for _, k := range keeps {
		if x := len(k.FindString(rest)); x > n && !goesOn(text, i+x) && !pairs.MatchString(rest[:x]) {
			n = x
		}
	}
	if x := len(amount.FindString(rest)); x > n && !goesOn(text, i+x) && currency.MatchString(text[max(0, i-8):i]) {
		n = x
	}
	return n
}

// goesOn says that there are more digits at i, at once or behind a dot or a
// hyphen.
func goesOn(text string, i int) bool {
	return row(text, i) > 0 || i < len(text) && (text[i] == '.' || text[i] == '-') && row(text, i+1) > 0
}

// row is how many digits stand at i.
func row(text string, i int) (n int) {
	for i+n < len(text) && text[i+n] >= '0' && text[i+n] <= '9' {
		n++
	}
	return n
}

func letter(text string, i int) bool {
	return i >= 0 && i < len(text) && (text[i]|0x20 >= 'a' && text[i]|0x20 <= 'z' || text[i] == '_')
}

// maskNumbers leaves the last two digits of phone numbers: of eight digits or
// more, also with single spaces, dots or hyphens between them. Days, times,
// amounts, addresses of hosts, and ids of groups with hyphens that have letters
// too stay, but for eight digits in a row.
func maskNumbers(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		if row(text, i) == 0 {
			b.WriteByte(text[i])
			i++
			continue
		}
		n, phone := kept(text, i), false
		if n == 0 {
			n, phone = number(text, i)
		}
		word := text[i : i+n]
		if phone {
			b.WriteString("***")
			word = word[max(0, n-2):]
		}
		b.WriteString(word)
		i += n
	}
	return b.String()
}

// number is how long the number at i is, and whether it may be one of a phone.
func number(text string, i int) (n int, phone bool) {
	n = row(text, i)
	if n >= isPhone {
		return n, true
	}
	if n == 2 && i > 1 && text[i-1] == ':' && row(text, i-2) > 0 {
		return n, false // seconds
	}
	count, hyphens := n, true
	for end := i + n; end < len(text) && strings.IndexByte(" .-", text[end]) >= 0; end = i + n {
		more := row(text, end+1)
		if more == 0 || more >= isPhone || text[end] == ' ' && kept(text, end+1) > 0 {
			break
		}
		hyphens = hyphens && text[end] == '-'
		count, n = count+more, n+1+more
	}
	before, after := i-1, i+n
	if before >= 0 && text[before] == '-' {
		before--
	}
	if after < len(text) && text[after] == '-' {
		after++
	}
	id := hyphens && (letter(text, before) || letter(text, after))
	return n, count >= isPhone && !id
}
