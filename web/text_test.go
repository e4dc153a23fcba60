package web

import (
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var verb = regexp.MustCompile(`%[0-9]*[a-z]`)

// Every text exists in both languages, with the same arguments in the same
// order.
func TestTextsAreComplete(t *testing.T) {
	seen := map[string]Text{}
	for text := TextNone + 1; text < textCount; text++ {
		fr, en := French.Say(text), English.Say(text)
		if strings.TrimSpace(fr) == "" || strings.TrimSpace(en) == "" {
			t.Errorf("text %d is missing: %q, %q", text, fr, en)
		}
		if a, b := verb.FindAllString(fr, -1), verb.FindAllString(en, -1); !slices.Equal(a, b) {
			t.Errorf("text %d takes %v in French and %v in English", text, a, b)
		}
		// The short mark that is written on a keyboard is not the French one.
		if strings.Contains(fr, "'") || strings.Contains(en, "'") {
			t.Errorf("text %d has a straight apostrophe: %q, %q", text, fr, en)
		}
		if other, ok := seen[fr]; ok && fr != French.Say(TextExpiredNext) {
			t.Errorf("texts %d and %d both say %q", other, text, fr)
		}
		seen[fr] = text
	}
}

// A text that no page says any more goes.
func TestTextsAreUsed(t *testing.T) {
	var all strings.Builder
	for _, dir := range []string{".", "../portal"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if n := e.Name(); n != "text.go" && !strings.HasSuffix(n, "_test.go") && (strings.HasSuffix(n, ".go") || strings.HasSuffix(n, ".templ")) {
				content, err := os.ReadFile(dir + "/" + n)
				if err != nil {
					t.Fatal(err)
				}
				all.Write(content)
			}
		}
	}
	table, err := os.ReadFile("text.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^\t(Text[A-Za-z]+)$`).FindAllStringSubmatch(string(table), -1)
	if len(names) < 50 {
		t.Fatalf("found %d texts only", len(names))
	}
	used := map[string]bool{}
	for _, word := range regexp.MustCompile(`Text[A-Za-z]+`).FindAllString(all.String(), -1) {
		used[word] = true
	}
	for _, m := range names {
		if !used[m[1]] {
			t.Errorf("%s is not used", m[1])
		}
	}
}

func TestPrice(t *testing.T) {
	for _, test := range []struct {
		amount   int64
		currency string
		fr, en   string
	}{
		{200, "XOF", "200 FCFA", "200 FCFA"},
		{1500, "XAF", "1 500 FCFA", "1,500 FCFA"},
		{1234567, "XOF", "1 234 567 FCFA", "1,234,567 FCFA"},
		{0, "XOF", "Gratuit", "Free"},
		{250000, "CDF", "2 500 CDF", "2,500 CDF"},
		{150, "USD", "1,50 USD", "1.50 USD"},
		{5, "USD", "0,05 USD", "0.05 USD"},
		{math.MaxInt64, "XOF", "9 223 372 036 854 775 807 FCFA", "9,223,372,036,854,775,807 FCFA"},
	} {
		fr, en := French.Price(test.amount, test.currency), English.Price(test.amount, test.currency)
		if fr != spaced(test.fr) || en != spaced(test.en) {
			t.Errorf("%d %s: %q, %q", test.amount, test.currency, fr, en)
		}
	}
}

// spaced writes the spaces that keep a number and its unit together.
func spaced(s string) string { return strings.ReplaceAll(s, " ", nbsp) }

func TestOctets(t *testing.T) {
	for _, test := range []struct {
		n, megabyte uint64
		fr, en      string
	}{
		{0, 1e6, "0 ko", "0 KB"},
		{999, 1e6, "0,9 ko", "0.9 KB"},
		{500_000_000, 1e6, "500 Mo", "500 MB"},
		{499_999_999, 1e6, "499 Mo", "499 MB"},
		{1_500_000_000, 1e6, "1,5 Go", "1.5 GB"},
		{99_990_000_000, 1e6, "99,9 Go", "99.9 GB"},
		{500 << 20, 1 << 20, "500 Mo", "500 MB"},
		{3 << 29, 1 << 20, "1,5 Go", "1.5 GB"},
		{1<<30 - 1, 1 << 20, "1023 Mo", "1023 MB"},
		{math.MaxUint64, 1e6, "18446744 To", "18446744 TB"},
	} {
		fr, en := French.Octets(test.n, test.megabyte), English.Octets(test.n, test.megabyte)
		if fr != spaced(test.fr) || en != spaced(test.en) {
			t.Errorf("%d: %q, %q", test.n, fr, en)
		}
	}
}

func TestDurations(t *testing.T) {
	for _, test := range []struct {
		d              time.Duration
		fr, en, waitFr string
	}{
		{0, "moins d’une minute", "less than a minute", "1 s"},
		{59 * time.Second, "moins d’une minute", "less than a minute", "59 s"},
		{time.Minute, "1 min", "1 min", "60 s"},
		{61 * time.Second, "1 min", "1 min", "2 min"},
		{time.Hour, "1 h", "1 h", "1 h"},
		{119 * time.Minute, "1 h 59 min", "1 h 59 min", "1 h 59 min"},
		{24 * time.Hour, "1 jour", "1 day", "1 jour"},
		{51*time.Hour + 59*time.Minute, "2 jours 3 h", "2 days 3 h", "2 jours 3 h"},
		{30 * 24 * time.Hour, "30 jours", "30 days", "30 jours"},
	} {
		plain := func(s string) string { return strings.ReplaceAll(s, nbsp, " ") }
		fr, en, wait := plain(French.Duration(test.d)), plain(English.Duration(test.d)), plain(French.Wait(test.d))
		if fr != test.fr || en != test.en || wait != test.waitFr {
			t.Errorf("%v: %q, %q, wait %q", test.d, fr, en, wait)
		}
	}
}

func TestRate(t *testing.T) {
	for bits, want := range map[uint64]string{64_000: "64 kbit/s", 2_000_000: "2 Mbit/s", 2_500_000: "2,5 Mbit/s", 1_000_000_000: "1 Gbit/s"} {
		if got := French.Rate(bits); got != spaced(want) {
			t.Errorf("%d: %q", bits, got)
		}
	}
}

func TestParseLang(t *testing.T) {
	for tag, want := range map[string]string{"fr": "fr", "FR-ca": "fr", "en": "en", "en_GB": "en", "": "", "f": "", "fra": "", "english": "", "de": "", "\x06\x12": ""} {
		l, ok := ParseLang(tag)
		if ok != (want != "") || ok && l.Tag() != want {
			t.Errorf("%q: %v %v", tag, l, ok)
		}
	}
}

// Who has weak eyes or stands in the sun can read it: WCAG 2.1 level AA asks
// for a contrast of 4.5 for text.
func TestContrast(t *testing.T) {
	for _, pair := range [][2]string{
		{"#16211e", "#eef2f1"}, {"#16211e", "#ffffff"}, {"#4a5a55", "#ffffff"}, {"#4a5a55", "#eef2f1"},
		{"#ffffff", "#0b5a45"}, {"#0b5a45", "#ffffff"}, {"#0b5a45", "#eef2f1"},
		{"#5f1410", "#fdecea"}, {"#0d3b2e", "#e3f3ea"},
	} {
		for _, colour := range pair {
			if !strings.Contains(style, colour) && colour != "#ffffff" {
				t.Errorf("%s is not in the style sheet", colour)
			}
		}
		a, b := luminance(t, pair[0]), luminance(t, pair[1])
		if c := (max(a, b) + 0.05) / (min(a, b) + 0.05); c < 4.5 {
			t.Errorf("%s on %s has a contrast of %.1f", pair[0], pair[1], c)
		}
	}
}

// luminance is the relative luminance of WCAG 2.1.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(colour[1:], 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	channel := func(v uint64) float64 {
		c := float64(v&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(n>>16) + 0.7152*channel(n>>8) + 0.0722*channel(n)
}
