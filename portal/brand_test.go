package portal_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"zonegate/portal"
	"zonegate/web"
)

// What an operator lays over the zone's name, and says to its customers, holds
// from the next page on, and is text, whatever it looks like.
func TestBrand(t *testing.T) {
	z := newZone(t)
	var brand atomic.Pointer[portal.Brand]
	z.server.Brand = func() portal.Brand { return *brand.Load() }
	page := func(lang string) string {
		return z.do(call{target: "/", lang: lang, accept: browser}).Body.String()
	}
	check := func(page string, has, hasNot []string) {
		t.Helper()
		for _, s := range has {
			if !strings.Contains(page, s) {
				t.Errorf("%q is missing", s)
			}
		}
		for _, s := range hasNot {
			if strings.Contains(page, s) {
				t.Errorf("%q is there", s)
			}
		}
	}
	brand.Store(&portal.Brand{Zone: "Chez Awa", Language: web.English})
	check(page(""), []string{`<html lang="en">`, "Chez Awa"}, []string{`class="note"`, "+229"})

	brand.Store(&portal.Brand{
		Zone: "Réseau <b>Mosaïque</b>", Contact: `"> <script>alert(1)</script>`, Language: web.French,
		French: "Coupure <i>dimanche</i>", English: "Down on Sunday & Monday",
	})
	check(page(""), []string{`<html lang="fr">`, "Réseau &lt;b&gt;Mosaïque", "Coupure &lt;i&gt;dimanche&lt;/i&gt;", "&lt;script&gt;"},
		[]string{"<b>Mosaïque", "<i>dimanche", "<script>", "Sunday", "Chez Awa"})
	check(page("en"), []string{"Down on Sunday &amp; Monday"}, []string{"Coupure"})
	// A refusal has it too.
	refused := typed("NOTHING")
	refused.accept = browser
	check(z.do(refused).Body.String(), []string{"Coupure &lt;i&gt;"}, nil)

	// One language is better than none.
	brand.Store(&portal.Brand{Zone: "Awa", French: "Coupure"})
	check(page("en"), []string{"Coupure"}, nil)
	brand.Store(&portal.Brand{Zone: "Awa", English: "Down"})
	check(page("fr"), []string{"Down"}, nil)
}
