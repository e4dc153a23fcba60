package sandbox

import (
	"strconv"
	"strings"
)

// decimals is how many a currency has in minor units.
func decimals(currency string) int {
	switch currency {
	case "XOF", "XAF":
		return 0
	}
	return 2
}

// parseAmount reads a decimal number into minor units, exactly.
func parseAmount(text, currency string) (int64, bool) {
	whole, part, _ := strings.Cut(strings.TrimSpace(text), ".")
	n := decimals(currency)
	part = strings.TrimRight(part, "0")
	if whole == "" || len(part) > n || strings.Trim(whole+part, "0123456789") != "" {
		return 0, false
	}
	v, err := strconv.ParseInt(whole+part+strings.Repeat("0", n-len(part)), 10, 64)
	return v, err == nil && v > 0
}

// point writes units of 10^-n with at least one decimal, as Java writes a
// double: 400.0, 0.51.
func point(v int64, n int) string {
	text := fixed(v, n)
	if n == 0 {
		return text + ".0"
	}
	text = strings.TrimRight(text, "0")
	if strings.HasSuffix(text, ".") {
		text += "0"
	}
	return text
}

// fixed writes units of 10^-n with all their decimals.
func fixed(v int64, n int) string {
	sign := ""
	if v < 0 {
		sign, v = "-", -v
	}
	text := strconv.FormatInt(v, 10)
	if n == 0 {
		return sign + text
	}
	if len(text) <= n {
		text = strings.Repeat("0", n+1-len(text)) + text
	}
	return sign + text[:len(text)-n] + "." + text[len(text)-n:]
}
