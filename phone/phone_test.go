package phone_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"zonegate/phone"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		country, typed, want, local, operator string
	}{
		{"BJ", "0197123456", "2290197123456", "0197123456", "MTN"},
		{"BJ", " 01 97.12-34 56 ", "2290197123456", "0197123456", "MTN"},
		{"BJ", "97 12 34 56", "2290197123456", "0197123456", "MTN"},
		{"BJ", "+229 01 95 12 34 56", "2290195123456", "0195123456", "Moov"},
		{"BJ", "+229 95123456", "2290195123456", "0195123456", "Moov"},
		{"BJ", "00229 (0)144123456", "2290144123456", "0144123456", "Celtiis"},
		{"BJ", "2290144123456", "2290144123456", "0144123456", "Celtiis"},
		{"BJ", "22996000000", "2290196000000", "0196000000", "MTN"},
		{"BJ", "22912345", "2290122912345", "0122912345", ""}, // eight digits are the old form
		{"BJ", "0111111111", "2290111111111", "0111111111", ""},
		{"GA", "074111111", "24174111111", "074111111", "Airtel"},
		{"GA", "74 11 11 11", "24174111111", "074111111", "Airtel"},
		{"GA", "+241 074111111", "24174111111", "074111111", "Airtel"},
		{"GA", "0024166123456", "24166123456", "066123456", "Moov"},
		{"GA", "24174111111", "24174111111", "074111111", "Airtel"},
		{"GA", "24112345", "24124112345", "024112345", ""},
		{"CD", "081 555 7848", "243815557848", "0815557848", "Vodacom"},
		{"CD", "815557848", "243815557848", "0815557848", "Vodacom"},
		{"CD", "243891234567", "243891234567", "0891234567", "Orange"},
		{"CD", "+243 0 97 123 45 67", "243971234567", "0971234567", "Airtel"},
		{"CD", "\u202a+243\u00a0901\u00a0234\u00a0567\u202c", "243901234567", "0901234567", "Africell"},
		{"CM", "650121212", "237650121212", "650121212", "MTN"},
		{"CM", "+237 6 99 12 34 56", "237699123456", "699123456", "Orange"},
		{"CM", "237622123456", "237622123456", "622123456", "Camtel"},
		{"CM", "684123456", "237684123456", "684123456", "Nexttel"},
	} {
		n, err := phone.Parse(c.country, c.typed)
		if err != nil {
			t.Errorf("%s %q: %v", c.country, c.typed, err)
			continue
		}
		if n.E164() != c.want || n.Local() != c.local || n.Operator() != c.operator || n.Country() != c.country {
			t.Errorf("%s %q: %s %s %q, want %s %s %q", c.country, c.typed, n.E164(), n.Local(), n.Operator(), c.want, c.local, c.operator)
		}
		if again, err := phone.FromE164(n.E164()); err != nil || again != n {
			t.Errorf("%s comes back as %v, %v", n.E164(), again, err)
		}
		if got := fmt.Sprintf("%v %s", n, n.Mask()); got != "***"+c.want[len(c.want)-2:]+" ***"+c.want[len(c.want)-2:] {
			t.Errorf("%s shows as %s", c.want, got)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		country, typed string
		problem        phone.Problem
		says           string
	}{
		{"BJ", "", phone.Empty, "like 01 97"},
		{"BJ", " + ", phone.Empty, "type one"},
		{"BJ", "01 97 12 34 5", phone.Length, "has 9 digits, and those of Benin have 10"},
		{"BJ", "+229 019712345", phone.Length, "has 9 digits"},
		{"BJ", "01971234567", phone.Length, "has 11 digits"},
		{"BJ", "0297123456", phone.Start, "begins with 01"},
		{"BJ", "+24174111111", phone.Abroad, "the code of Benin is +229"},
		{"BJ", "call me", phone.Letters, "digits alone"},
		{"BJ", "97+123456", phone.Letters, "digits alone"},
		{"GA", "07000000", phone.Length, "has 8 digits, and those of Gabon have 9"},
		{"GA", "650121212", phone.Length, "Gabon"},
		{"GA", "0000000000000", phone.Abroad, "+241"},
		{"CD", "0815 877 84", phone.Length, "DR Congo have 10"},
		{"CM", "222123456", phone.Start, "begins with 6"},
		{"CM", "++237650121212", phone.Letters, ""},
		{"FR", "0612345678", phone.Unknown, `"FR"`},
	} {
		n, err := phone.Parse(c.country, c.typed)
		var e *phone.Error
		if !errors.As(err, &e) || e.Problem != c.problem || !strings.Contains(err.Error(), c.says) || n != (phone.Number{}) {
			t.Errorf("%s %q: %v %v, want problem %d and %q", c.country, c.typed, n, err, c.problem, c.says)
		}
	}
}

// Providers document these, and a lab pays with them at a zone in Gabon.
func TestNumbersOfTests(t *testing.T) {
	for typed, want := range map[string]string{
		"074111111": "24174111111", "650121212": "650121212", "242056549200": "242056549200", "09306315": "09306315", "+242 05 654 9200": "242056549200",
	} {
		n, err := phone.ParseTest("GA", typed)
		if err != nil || n.E164() != want {
			t.Errorf("%s: %s, %v, want %s", typed, n.E164(), err, want)
		}
		if want == "24174111111" {
			continue
		}
		if n.Country() != "" || n.Local() != want || n.Operator() != "" {
			t.Errorf("%s is %q of %q", typed, n.Local(), n.Country())
		}
		if _, err := phone.FromE164(want); err == nil {
			t.Errorf("%s counts as a number of ours", want)
		}
	}
	for _, typed := range []string{"", "1234567", "1234567890123456", "x"} {
		if n, err := phone.ParseTest("GA", typed); err == nil {
			t.Errorf("%q is %s", typed, n.E164())
		}
	}
}

func TestExamplesAreNumbers(t *testing.T) {
	for _, country := range []string{"BJ", "GA", "CD", "CM"} {
		n, err := phone.Parse(country, phone.Example(country))
		if err != nil || n.Operator() == "" || !strings.HasPrefix(n.E164(), phone.Code(country)) {
			t.Errorf("%s: %v, %v", country, n, err)
		}
	}
	if phone.Example("FR") != "" || phone.Code("FR") != "" {
		t.Error("a country that is not ours has an example")
	}
}

func TestSame(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"22996000000", "2290196000000", true},
		{"+229 96 00 00 00", "2290196000000", true},
		{"2290196000000", "2290196000000", true},
		{"22996000000", "2290196000001", false},
		{"243815557848", "+243815557848", true},
		{"243815557848", "229815557848", false},
		{"", "", false},
		{"229", "229", true},
	} {
		if got := phone.Same(c.a, c.b); got != c.want {
			t.Errorf("Same(%q, %q) is %v", c.a, c.b, got)
		}
	}
}

func TestMaskShowsTwoDigits(t *testing.T) {
	for number, want := range map[string]string{"": "***", "12345": "***", "074111148": "***48"} {
		if got := phone.Mask(number); got != want {
			t.Errorf("Mask(%q) is %s", number, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"0197123456", "+229 97 12 34 56", "00243815557848", "074111111", "650121212", "+", "00", "\u202a+243"} {
		f.Add(uint(0), s)
		f.Add(uint(1), s)
	}
	f.Fuzz(func(t *testing.T, which uint, typed string) {
		country := []string{"BJ", "GA", "CD", "CM"}[which%4]
		n, err := phone.Parse(country, typed)
		if err != nil {
			if len(typed) >= 6 && strings.Contains(err.Error(), typed) && strings.Trim(typed, "0123456789") == "" {
				t.Errorf("%q is in its error: %v", typed, err)
			}
			return
		}
		if again, err := phone.FromE164(n.E164()); err != nil || again != n {
			t.Errorf("%q: %s comes back as %v, %v", typed, n.E164(), again, err)
		}
		if again, err := phone.Parse(country, n.Local()); err != nil || again != n {
			t.Errorf("%q: %s comes back as %v, %v", typed, n.Local(), again, err)
		}
		if again, err := phone.Parse(country, "+"+n.E164()); err != nil || again != n {
			t.Errorf("%q: +%s comes back as %v, %v", typed, n.E164(), again, err)
		}
	})
}
