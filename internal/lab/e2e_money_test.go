package lab_test

import (
	"fmt"
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

// comeBack has a customer who was away look for what became of the payment, at
// the portal's first page, until he is online.
func (z zone) comeBack(c *chromium) {
	z.Helper()
	const online, see, goOn = "Vous êtes connecté", "Voir mon paiement", "Continuer"
	c.open(z.Info.Portal)
	for _, word := range []string{see, goOn} {
		page := c.awaitAny(time.Minute, online, see, goOn)
		if strings.Contains(page, online) {
			break
		}
		if strings.Contains(page, word) {
			c.pressWord(word)
		}
		if word == see && strings.Contains(page, see) {
			break // that page goes on by itself
		}
	}
	z.online(c)
}

// offered waits until the gateway has the forfait and the way to pay of its
// site.
func (z zone) offered(host string) {
	z.Helper()
	z.await("the hub's forfait on sale, and a way to pay for it", time.Minute, func() bool {
		a := z.curl(host, z.Info.Portal)
		return strings.Contains(a.body, "/pay?plan="+z.Info.Hub.Forfait.ID) // any, without a hub
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
	z.comeBack(benin)
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

// withdraw has the reseller look at his sales, and take what he has of one by
// the API of withdrawals, with the code that comes by SMS.
func (z zone) withdraw(site lab.Site) {
	z.Helper()
	m, h := z.Info.Money, z.Info.Hub
	reseller := z.signIn(m.Reseller, m.Password)
	reseller.open(lab.CentralURL + "/billing")
	has(z.T, reseller.await("Part : revendeur"),
		"XAF Vendu 2 000 XAF Nombre de ventes 1", "Frais 30 XAF Part : revendeur 985 XAF",
		"CDF Vendu 2 500,00 CDF Nombre de ventes 1", "Frais 37,50 CDF Part : revendeur 1 231,25 CDF",
		"XOF Vendu 300 XOF Nombre de ventes 1", "Frais 4 XOF Part : revendeur 148 XOF")
	reseller.open(lab.CentralURL + "/payments")
	has(z.T, reseller.await("Part du revendeur"), "2 000 XAF payé AIRTEL_GA …11 30 XAF 985 XAF", "2 000 XAF échoué AIRTEL_GA …13",
		"2 500,00 CDF payé MOBILE_MONEY_CD", "300 XOF payé KKIAPAY")

	admin := z.signIn(h.Admin, h.Password)
	admin.open(lab.CentralURL + "/withdrawals?reseller=" + h.Reseller)
	admin.there("select[name=level]")
	if _, ok := admin.eval(`document.querySelector("select[name=level]").value = "verified"`); !ok {
		z.Fatal("there is no level to note")
	}
	admin.press(`form[action="/kyc"] button`)
	admin.await("C’est fait")

	var signedIn struct{ Data struct{ Token string } }
	z.ask("POST", "/api/auth/login", "", map[string]string{"email": m.Reseller, "password": m.Password}, &signedIn)
	token := signedIn.Data.Token
	const receives = "24174222222"
	var asked struct {
		Data struct {
			ID int64 `json:"withdrawal_id"`
		}
	}
	z.ask("POST", "/api/withdrawals/request", token, map[string]any{"amount": 900, "phone_number": "+" + receives, "operator": "airtel_money"}, &asked)
	var messages []struct{ To, Text string }
	z.providers("GET", "/messages?to="+receives, nil, &messages)
	if len(messages) != 1 {
		z.Fatalf("messages to the number that receives: %+v", messages)
	}
	code := regexp.MustCompile(`\b\d{6}\b`).FindString(messages[0].Text)
	at := fmt.Sprintf("/api/withdrawals/%d", asked.Data.ID)
	z.ask("POST", at+"/validate", token, map[string]string{"code": code}, nil)
	z.await("the withdrawal is paid", time.Minute, func() bool {
		var w struct{ Data struct{ Status string } }
		z.ask("GET", at, token, nil, &w)
		return w.Data.Status == "completed"
	})
	paid := 0
	for _, x := range z.moved() {
		if x.Kind == "payout" {
			// The least fee of the document is taken off.
			if paid++; x.Provider != site.Provider || x.Money != (api.Money{Amount: 800, Currency: site.Currency}) {
				z.Errorf("paid out: %+v", x)
			}
		}
	}
	if paid != 1 {
		z.Errorf("%d payouts for one withdrawal", paid)
	}
	reseller.open(lab.CentralURL + "/withdrawals")
	has(z.T, reseller.await("Disponible"), "Disponible 85 XAF Réservé pour des retraits 0 XAF")
}

// reconcile has an admin import what the providers say of the day, and compare.
func (z zone) reconcile() {
	z.Helper()
	statements := map[string]string{}
	for _, x := range z.moved() {
		kind, amount := "payment", fmt.Sprint(x.Money.Amount)
		if x.Kind == "payout" {
			kind = "payout"
		}
		if x.Money.Currency == "CDF" {
			amount = fmt.Sprintf("%d.%02d", x.Money.Amount/100, x.Money.Amount%100)
		}
		statements[x.Provider] += strings.Join([]string{kind, x.Reference, x.ID, amount, x.Money.Currency, "succeeded"}, ",") + "\n"
	}
	h := z.Info.Hub
	admin := z.signIn(h.Admin, h.Password)
	today := time.Now().In(time.FixedZone("UTC+1", 3600)).Format(time.DateOnly)
	page := ""
	for provider, lines := range statements {
		admin.open(lab.CentralURL + "/reconciliation")
		const form = `form[action="/reconciliation/import"] `
		admin.write(form+"[name=period]", today)
		admin.write(form+"[name=provider]", provider)
		admin.write(form+"[name=lines]", "kind,reference,provider_ref,amount,currency,status\n"+lines)
		admin.press(form + "button")
		page = flat(admin.awaitAny(time.Minute, "C’est fait"))
	}
	has(z.T, page, "tout concorde", "Rien : tout concorde", "Payés et pas encore commencés : 0. Paiements sans fin : 0.")
	if n := strings.Count(page, "Accès donnés 1 repris par les passerelles 1 commencés par les clients 1"); n != 3 || strings.Contains(page, "pas importé") {
		z.Errorf("the day is not that of three sales with three statements:\n%s", page)
	}
}

// Whoever has begun to pay is online at last, whoever dies meanwhile. The page
// goes on to wait.
func TestPaymentOutlivesTheHubAndTheGateway(t *testing.T) {
	z := openCentral(t, lab.Options{Central: lab.CentralHub, Money: true, Currency: "XAF", Phones: 2})
	z.providers("PUT", "/delay", map[string]int{"ms": -1}, nil) // customers wait for us
	z.offered("phone1")
	begin := func(phone, number string) (*chromium, string) {
		t.Helper()
		c := z.openChromium(phone)
		z.buy(c, number)
		c.await("Confirmez sur votre téléphone")
		open := z.charges("?open=1")
		if len(open) != 1 {
			t.Fatalf("open charges: %+v", open)
		}
		return c, open[0].ID
	}

	// The hub dies, and misses the callback too.
	c, id := begin("phone1", "074111111")
	if err := z.KillHub(); err != nil {
		t.Fatal(err)
	}
	z.providers("POST", "/charges/"+id+"/approve", nil, nil)
	// Whatever is shown is said by a page that was made since.
	c.open(z.Info.Portal)
	c.press(`a[href*="/pay/"]`)
	c.await("Confirmez sur votre téléphone")
	if !z.isOut("phone1") {
		t.Error("nobody has looked at the payment, and the customer is online")
	}
	if err := z.StartHub(); err != nil {
		t.Fatal(err)
	}
	second, id2 := begin("phone2", "074121212")
	if err := z.KillGateway(); err != nil {
		t.Fatal(err)
	}
	z.providers("POST", "/charges/"+id2+"/approve", nil, nil)
	if err := z.StartGateway(t.Context()); err != nil {
		t.Fatal(err)
	}
	z.comeBack(second)
	z.comeBack(c)
	if got := z.moved(); len(got) != 2 {
		t.Errorf("two customers paid, and this moved: %+v", got)
	}
}

// A zone at a server of RGZ has its customers pay at KKiaPay's page, which they
// reach before they are online; who does not confirm is told so.
func TestPayAtRGZ(t *testing.T) {
	z := openCentral(t, lab.Options{Central: lab.CentralRGZ, Money: true, Phones: 1})
	z.providers("PUT", "/delay", map[string]int{"ms": 300}, nil)
	z.offered("phone1")
	c := z.openChromium("phone1")
	at := func(number string) string {
		t.Helper()
		z.buy(c, "")
		c.press(`a.go[href^="` + lab.PayURL + `"]`)
		c.await("FCFA")
		c.write("input[name=phone]", number)
		c.press("form button")
		return c.awaitAny(time.Minute, "Payment done", "The payment failed", "Vous êtes connecté")
	}
	if page := at("0197120002"); !strings.Contains(page, "The payment failed") {
		t.Errorf("who refuses is told %s", page)
	}
	c.open(z.Info.Portal)
	c.press(`a[href*="/pay/"]`)
	has(t, c.await("Le paiement n’a pas marché"), "Rien n’a été payé")
	if len(z.moved()) > 0 || !z.isOut("phone1") {
		t.Error("a payment that failed moved money, or let the customer in")
	}
	at("0197123456")
	z.comeBack(c)
}
