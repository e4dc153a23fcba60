// Package regexp stands in for regexp and regexp/syntax, of which a router's
// program uses six patterns: gin checks the names of methods with one, templ
// with five the styles and scripts that a page computes. Each is a function
// here. Any other pattern stops the program where it starts, and before that
// the test of this package, which looks through all that routers link.
package regexp

import "strings"

const (
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	letters = "abcdefghijklmnopqrstuvwxyz" + upper
	digits  = "0123456789"
)

// matches says for each pattern whether a text is what it describes. All of
// them are anchored at both ends.
var matches = map[string]func(string) bool{
	`^[A-Z]+$`:                                func(s string) bool { return s != "" && only(s, upper) },
	`^[-a-zA-Z]+$`:                            func(s string) bool { return s != "" && only(s, letters+"-") },
	`^[a-zA-Z-]*$`:                            func(s string) bool { return only(s, letters+"-") },
	`^[a-zA-Z][- a-zA-Z]+$`:                   func(s string) bool { return begins(s, letters) && only(s, letters+"- ") },
	`^([$_a-zA-Z][$_a-zA-Z0-9]+\.?)+$`:        isFunctionName,
	`^(?:[*/]?(?:[0-9a-zA-Z+-.!#%_ \t]|$))*$`: isPropertyValue,
}

// A Regexp is one of the patterns.
type Regexp struct{ match func(string) bool }

// MustCompile panics for a pattern that has no function.
func MustCompile(pattern string) *Regexp {
	match := matches[pattern]
	if match == nil {
		panic("regexp is not built into zonegate for routers: give third_party/stubs/regexp a function for " + pattern)
	}
	return &Regexp{match}
}

// MatchString reports whether s is what the pattern describes.
func (re *Regexp) MatchString(s string) bool { return re.match(s) }

// isFunctionName wants names of two characters and more between single dots,
// and allows one dot behind the last.
func isFunctionName(s string) bool {
	for _, name := range strings.Split(strings.TrimSuffix(s, "."), ".") {
		if !begins(name, letters+"$_") || !only(name, letters+digits+"$_") {
			return false
		}
	}
	return true
}

// isPropertyValue refuses two of * and / in a row, in which a comment would
// begin or end. From + to . in the pattern are four characters.
func isPropertyValue(s string) bool {
	const marks = "*/"
	for i := range len(s) {
		if i > 0 && only(s[i-1:i+1], marks) {
			return false
		}
	}
	return only(s, letters+digits+marks+"+,-.!#%_ \t")
}

// only reports whether each octet of s is in set, which is ASCII.
func only(s, set string) bool {
	for i := range len(s) {
		if strings.IndexByte(set, s[i]) < 0 {
			return false
		}
	}
	return true
}

// begins reports whether s has two characters or more, the first of set.
func begins(s, set string) bool { return len(s) > 1 && only(s[:1], set) }
