package provider

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"zonegate"
)

// exponents are how many digits stand behind the point (ISO 4217).
var exponents = map[string]int{"XOF": 0, "XAF": 0, "CDF": 2, "USD": 2}

// Exponent is how many digits a currency has behind the point.
func Exponent(currency string) (int, bool) {
	e, ok := exponents[currency]
	return e, ok
}

// Currency is the ISO 4217 code of what a provider writes. CFA is no code: it
// is XOF in Benin and XAF in Gabon and Cameroon. What is not known comes back
// as it is, in capitals, so that it differs from what was asked for.
func Currency(written, country string) string {
	c := strings.ToUpper(Clean(written))
	switch c {
	case "CFA", "FCFA", "F CFA":
		switch country {
		case "BJ":
			return "XOF"
		case "GA", "CM":
			return "XAF"
		}
	case "FC": // franc congolais
		if country == "CD" {
			return "CDF"
		}
	}
	return c
}

// ErrAmount is an amount that cannot be read, or that its currency cannot hold.
var ErrAmount = errors.New("the amount cannot be read")

// ParseAmount reads a decimal like 400.0, 0.51 or 50000.00 exactly. Signs,
// exponents, separators of thousands and digits that the currency does not
// have are ErrAmount.
func ParseAmount(text, currency string) (zonegate.Money, error) {
	exponent, ok := exponents[currency]
	if !ok {
		return zonegate.Money{}, fmt.Errorf("%w: its currency is not known", ErrAmount)
	}
	whole, cents, point := strings.Cut(strings.TrimSpace(text), ".")
	if whole == "" || point && cents == "" {
		return zonegate.Money{}, ErrAmount
	}
	for len(cents) > exponent && cents[len(cents)-1] == '0' {
		cents = cents[:len(cents)-1]
	}
	if len(cents) > exponent {
		return zonegate.Money{}, fmt.Errorf("%w: %s has %d digits behind the point", ErrAmount, currency, exponent)
	}
	digits := whole + cents + strings.Repeat("0", exponent-len(cents))
	var n int64
	for _, d := range []byte(digits) {
		if d < '0' || d > '9' || n > (math.MaxInt64-int64(d-'0'))/10 {
			return zonegate.Money{}, ErrAmount
		}
		n = n*10 + int64(d-'0')
	}
	return zonegate.Money{Amount: n, Currency: currency}, nil
}

// FormatAmount writes an amount as providers take it: 100, 0.51. An amount that
// is not positive, or in a currency that is not known, is ErrAmount.
func FormatAmount(m zonegate.Money) (string, error) {
	exponent, ok := exponents[m.Currency]
	if !ok || m.Amount <= 0 {
		return "", ErrAmount
	}
	if exponent == 0 || m.Amount%100 == 0 {
		return strconv.FormatInt(m.Amount/power(exponent), 10), nil
	}
	return fmt.Sprintf("%d.%02d", m.Amount/100, m.Amount%100), nil
}

func power(exponent int) int64 {
	if exponent == 0 {
		return 1
	}
	return 100
}
