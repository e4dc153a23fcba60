package portal_test

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate"
)

// A fakeTill has channels and notes what it is asked.
type fakeTill struct {
	mu       sync.Mutex
	channels []zonegate.Channel
	offline  bool
	asked    []zonegate.IntentID
}

func (f *fakeTill) Channels() ([]zonegate.Channel, bool) { return f.channels, !f.offline }

func (f *fakeTill) Ask(id zonegate.IntentID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, id)
}

var (
	mtn  = zonegate.Channel{ID: "MTN_MOMO", Name: "MTN MoMo", Flow: zonegate.FlowPush, Country: "BJ", Currency: "XOF"}
	moov = zonegate.Channel{ID: "MOOV", Name: "Moov Money", Flow: zonegate.FlowPush, Country: "BJ", Currency: "XOF"}
	card = zonegate.Channel{ID: "KKIAPAY", Name: "KKiaPay", Flow: zonegate.FlowRedirect, Currency: "XOF", Hosts: []string{"kkiapay.me", "*.kkiapay.me"}}
)

// sells has the zone take mobile payments.
func (z *zone) sells(channels ...zonegate.Channel) *fakeTill {
	till := &fakeTill{channels: channels}
	z.server.Till = till
	z.handler = z.server.Handler()
	return till
}

// Numbers of Benin: of MTN, and of Moov.
const (
	mtnNumber  = "01 97 12 34 56"
	moovNumber = "01 95 12 34 56"
)

// payForm is the form of a plan's page, filled in.
func (z *zone) payForm(plan, way, number string) url.Values {
	z.t.Helper()
	w := z.do(call{target: "/pay?plan=" + plan, accept: browser})
	if w.Code != http.StatusOK {
		z.t.Fatalf("the form: %d to %q", w.Code, w.Header().Get("Location"))
	}
	form := fieldsOf(z.t.(*testing.T), w.Body.String(), "/pay", "i")
	form.Set("way", way)
	form.Set("phone", number)
	return form
}

// open starts a payment of macA and returns its id.
func (z *zone) open(channel string) zonegate.IntentID {
	z.t.Helper()
	id := zonegate.IntentID{0: 0xab, 15: byte(len(z.gate.Intents(macA)) + 1)}
	_, err := z.gate.OpenIntent(z.t.Context(), zonegate.IntentRequest{ID: id, Device: macA, Plan: "b-day", Channel: channel, Phone: "2290197123456"})
	if err != nil {
		z.t.Fatal(err)
	}
	return id
}

func (z *zone) tell(id zonegate.IntentID, n zonegate.News) {
	z.t.Helper()
	if err := z.gate.TellIntent(z.t.Context(), id, n); err != nil {
		z.t.Fatal(err)
	}
}

func (z *zone) payPage(id zonegate.IntentID) string {
	z.t.Helper()
	w := z.do(call{target: "/pay/" + id.String(), accept: browser, lang: "en"})
	if w.Code != http.StatusOK {
		z.t.Fatalf("%d to %q: %.200s", w.Code, w.Header().Get("Location"), w.Body)
	}
	return w.Body.String()
}

func has(t *testing.T, page string, wanted ...string) {
	t.Helper()
	for _, s := range wanted {
		if !strings.Contains(page, s) {
			t.Errorf("the page lacks %q", s)
		}
	}
}

func lacks(t *testing.T, page string, unwanted ...string) {
	t.Helper()
	for _, s := range unwanted {
		if strings.Contains(page, s) {
			t.Errorf("the page has %q", s)
		}
	}
}

// From the price list to the status page, with nothing but links and forms.
func TestPayByPush(t *testing.T) {
	z := newZone(t)
	z.sells(mtn, moov)
	home := z.do(call{target: "/", accept: browser}).Body.String()
	has(t, home, `href="/pay?plan=b-day"`, "Payer par mobile money")

	form := z.payForm("b-day", "MTN_MOMO", mtnNumber)
	w := z.do(call{target: "/pay", form: form, accept: browser})
	open := z.gate.Intents(macA)
	if len(open) != 1 || open[0].Phone != "2290197123456" || open[0].Channel != "MTN_MOMO" || open[0].Price.Amount != 200 {
		t.Fatalf("%d, %+v", w.Code, open)
	}
	id := open[0].ID
	if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || to != "/pay/"+id.String() {
		t.Fatalf("%d to %q", w.Code, to)
	}
	// Every tap is the same payment.
	w = z.do(call{target: "/pay", form: form, accept: browser})
	if to := w.Header().Get("Location"); to != "/pay/"+id.String() || len(z.gate.Intents(macA)) != 1 {
		t.Errorf("a second tap: to %q", to)
	}

	page := z.payPage(id)
	has(t, page, "The payment starts")
	lacks(t, page, "Confirm on")
	z.tell(id, zonegate.News{State: zonegate.IntentOpened, Unsure: true})
	has(t, z.payPage(id), "Confirm on your phone")
	z.tell(id, zonegate.News{State: zonegate.IntentPending, Flow: "push"})
	page = z.payPage(id)
	has(t, page, "Confirm on your phone", "200\u00a0FCFA", "MTN MoMo", "••••\u00a056", z.gate.ClaimCode(id),
		`content="2;url=/pay/`+id.String()+`"`, "I have paid")
	lacks(t, page, "0197", "2290197", "1234", `type="tel"`, "not confirmed", "did not work", "try again")

	// The browser was closed: the way back is on the first page, and a new form
	// leads there too.
	has(t, z.do(call{target: "/", accept: browser}).Body.String(), `href="/pay/`+id.String()+`"`, "Un paiement est en cours")
	if w := z.do(call{target: "/pay?plan=a-hour", accept: browser}); w.Header().Get("Location") != "/pay/"+id.String() {
		t.Errorf("another form: %d to %q", w.Code, w.Header().Get("Location"))
	}

	if err := z.gate.SettleIntent(t.Context(), id, "tx-1", zonegate.Money{Amount: 200, Currency: "XOF"}); err != nil {
		t.Fatal(err)
	}
	st := z.gate.Standing(macA)
	if !st.Online {
		t.Error("who waits on the page goes online at once")
	}
	w = z.do(call{target: "/pay/" + id.String(), accept: browser})
	if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || to != "/status?t="+st.Grant.Token {
		t.Errorf("paid: %d to %q", w.Code, to)
	}
	if strings.Contains(z.do(call{target: "/", accept: browser}).Body.String(), "/pay/"+id.String()) {
		t.Error("a decided payment is still under way")
	}
}

// Nobody who went away is put online, and nothing is lost: the plan waits.
func TestPaidWhileAway(t *testing.T) {
	z := newZone(t)
	z.sells(mtn)
	id := z.open("MTN_MOMO")
	if err := z.gate.SettleIntent(t.Context(), id, "tx-1", zonegate.Money{Amount: 200, Currency: "XOF"}); err != nil {
		t.Fatal(err)
	}
	if st := z.gate.Standing(macA); st.Online || st.Grant == nil {
		t.Errorf("%+v", st)
	}
	has(t, z.do(call{target: "/", accept: browser}).Body.String(), "Il vous reste un forfait")
}

func TestPayPagesAsTimeGoes(t *testing.T) {
	z := newZone(t)
	z.sells(mtn)
	id := z.open("MTN_MOMO")
	never := []string{"failed", "did not work", "charged"}
	lacks(t, z.payPage(id), never...)
	z.clock.pass(91 * time.Second)
	page := z.payPage(id)
	has(t, page, "Do not pay again", "You may leave", z.gate.ClaimCode(id), `content="2;url=`)
	lacks(t, page, append(never, "try again")...)
	z.clock.pass(2 * time.Minute)
	page = z.payPage(id)
	has(t, page, `content="10;url=`)
	lacks(t, page, "again=1") // nobody has answered
	z.tell(id, zonegate.News{State: zonegate.IntentPending, Transaction: "tx-1", Flow: "push"})
	has(t, z.payPage(id), `href="/pay?plan=b-day&amp;again=1`)
	if w := z.do(call{target: "/pay?plan=b-day&again=1", accept: browser}); w.Code != http.StatusOK {
		t.Errorf("another attempt: %d", w.Code)
	}
	z.clock.pass(30 * time.Minute)
	has(t, z.payPage(id), `content="60;url=`)
	z.tell(id, zonegate.News{State: zonegate.IntentExpired})
	has(t, z.do(call{target: "/", accept: browser}).Body.String(), `href="/pay/`+id.String()+`"`)
	if w := z.do(call{target: "/pay?plan=b-day", accept: browser}); w.Code != http.StatusOK {
		t.Errorf("a new payment after an expired one: %d", w.Code)
	}
	page = z.payPage(id)
	has(t, page, "We keep looking", "If you paid, your code will work", z.gate.ClaimCode(id), "I have paid")
	lacks(t, page, never...)
	// Late money.
	if err := z.gate.SettleIntent(t.Context(), id, "tx-1", zonegate.Money{Amount: 200, Currency: "XOF"}); err != nil {
		t.Fatal(err)
	}
	if w := z.do(call{target: "/pay/" + id.String(), accept: browser}); w.Code != http.StatusSeeOther {
		t.Errorf("late money: %d", w.Code)
	}
}

// Who is online and pays for later finds the payment on the status page.
func TestPayWhileOnline(t *testing.T) {
	z := newZone(t)
	z.sells(mtn)
	st := z.redeem("a-hour", macA)
	has(t, z.do(call{target: "/add", accept: browser}).Body.String(), `href="/pay?plan=b-day"`)
	status := func() string {
		return z.do(call{target: "/status?t=" + st.Grant.Token, accept: browser}).Body.String()
	}
	lacks(t, status(), "/pay/")
	id := z.open("MTN_MOMO")
	has(t, status(), `href="/pay/`+id.String()+`"`)
	if err := z.gate.SettleIntent(t.Context(), id, "tx-1", zonegate.Money{Amount: 200, Currency: "XOF"}); err != nil {
		t.Fatal(err)
	}
	lacks(t, status(), "/pay/")
	w := z.do(call{target: "/pay/" + id.String(), accept: browser})
	if to := w.Header().Get("Location"); to != "/status?t="+st.Grant.Token+"&n=queued" || len(z.gate.Standing(macA).Queue) != 1 {
		t.Errorf("paid: to %q, %+v", to, z.gate.Standing(macA))
	}
}

func TestPayFails(t *testing.T) {
	z := newZone(t)
	z.sells(mtn)
	id := z.open("MTN_MOMO")
	z.tell(id, zonegate.News{State: zonegate.IntentFailed, Reason: "solde <b>insuffisant</b>"})
	page := z.payPage(id)
	has(t, page, "The payment did not work", "solde &lt;b&gt;insuffisant", "Nothing was charged", `href="/pay?plan=b-day`)
	lacks(t, page, "http-equiv=\"refresh\"", "I have paid", z.gate.ClaimCode(id))
	if w := z.do(call{target: "/pay?plan=b-day", accept: browser}); w.Code != http.StatusOK {
		t.Errorf("try again: %d", w.Code)
	}
}

func TestPayOtherEnds(t *testing.T) {
	for state, wanted := range map[zonegate.IntentState]string{
		zonegate.IntentCanceled: "was cancelled", zonegate.IntentReview: "not the right amount", zonegate.IntentRefunded: "sent back",
		// The purchase is on its way.
		zonegate.IntentPaid: "Payment received",
	} {
		z := newZone(t)
		z.sells(mtn)
		id := z.open("MTN_MOMO")
		z.tell(id, zonegate.News{State: state})
		page := z.payPage(id)
		has(t, page, wanted)
		if strings.Contains(page, "refresh") != (state == zonegate.IntentPaid) {
			t.Errorf("%v: loads itself again or not", state)
		}
	}
}

func TestPayNumbers(t *testing.T) {
	z := newZone(t)
	z.sells(mtn, moov)
	for _, test := range []struct{ way, number, says string }{
		{"MTN_MOMO", "", "Tapez un numéro comme 01 97 12 34 56"},
		{"MTN_MOMO", "0197", "Tapez un numéro comme"},
		{"MTN_MOMO", "+33 6 12 34 56 78", "Tapez un numéro comme"},
		{"MTN_MOMO", `<script>"`, "Tapez un numéro comme"},
		{"", mtnNumber, "Choisissez dans la liste"},
		{"OTHER", mtnNumber, "Choisissez dans la liste"},
	} {
		form := z.payForm("b-day", test.way, test.number)
		w := z.do(call{target: "/pay", form: form, accept: browser})
		if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), test.says) {
			t.Errorf("%+v: %d %s", test, w.Code, w.Body)
		}
		again := fieldsOf(t, w.Body.String(), "/pay", "i")
		if again.Get("i") != form.Get("i") || again.Get("phone") != test.number || again.Get("plan") != "b-day" {
			t.Errorf("%+v: lost something of %v: %v", test, form, again)
		}
		if strings.Contains(w.Body.String(), "<script>") {
			t.Error("what was typed is in the page as it is")
		}
	}
	// Another operator's number is asked about, once for the same number.
	form := z.payForm("b-day", "MTN_MOMO", moovNumber)
	w := z.do(call{target: "/pay", form: form, accept: browser})
	has(t, w.Body.String(), "Ce numéro est peut-être chez Moov Money", `value="MTN_MOMO" checked required`)
	if w.Code != http.StatusConflict || len(z.gate.Intents(macA)) != 0 {
		t.Errorf("another operator: %d", w.Code)
	}
	sure := fieldsOf(t, w.Body.String(), "/pay", "sure")
	sure.Set("way", "MTN_MOMO")
	other := url.Values{}
	for k, v := range sure {
		other[k] = v
	}
	other.Set("phone", "01 94 12 34 56")
	if w := z.do(call{target: "/pay", form: other, accept: browser}); w.Code != http.StatusConflict {
		t.Errorf("sure of another number: %d", w.Code)
	}
	if w := z.do(call{target: "/pay", form: sure, accept: browser}); w.Code != http.StatusSeeOther {
		t.Errorf("sure: %d", w.Code)
	}
}

// Operators whose other names nobody here knows are not asked about, and a
// provider's test numbers are taken.
func TestPayOddNumbersPass(t *testing.T) {
	test := zonegate.Channel{ID: "AIRTEL", Name: "Airtel", Flow: "push", Country: "GA", Currency: "XOF", Test: true}
	mpesa := zonegate.Channel{ID: "MPESA", Name: "M-Pesa", Flow: "push", Country: "CD", Currency: "XOF"}
	for _, c := range []struct {
		channel zonegate.Channel
		number  string
	}{{test, "074131313"}, {test, "650121212"}, {mpesa, "081 234 5678"}, {mtn, moovNumber}} {
		z := newZone(t)
		z.sells(c.channel)
		if w := z.do(call{target: "/pay", form: z.payForm("b-day", "", c.number), accept: browser}); w.Code != http.StatusSeeOther {
			t.Errorf("%s with %s: %d", c.number, c.channel.Name, w.Code)
		}
	}
}

func TestPayIsHiddenWithItsReason(t *testing.T) {
	z := newZone(t)
	home := func() string { return z.do(call{target: "/", accept: browser, lang: "en"}).Body.String() }
	const link = `href="/pay`
	lacks(t, home(), link, "mobile")
	till := z.sells()
	// At the start nobody knows whether there will be any.
	lacks(t, home(), link, "obile payment")
	till.offline = true
	has(t, home(), "No mobile payment right now")
	till.channels = []zonegate.Channel{}
	lacks(t, home(), link, "obile payment")
	till.offline = false
	till.channels = []zonegate.Channel{mtn}
	has(t, home(), link)
	till.offline = true
	lacks(t, home(), link)
	has(t, home(), "No mobile payment right now", "Codes from the seller work")
	form := url.Values{"f": {z.gate.FormToken(macA)}, "i": {strings.Repeat("1", 32)}, "plan": {"b-day"}, "way": {"MTN_MOMO"}, "phone": {mtnNumber}}
	for _, c := range []call{{target: "/pay?plan=b-day", accept: browser}, {target: "/pay", form: form, accept: browser}} {
		if w := z.do(c); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `action="/voucher"`) {
			t.Errorf("offline: %d %.300s", w.Code, w.Body)
		}
	}
	till.offline = false
	away := mtn
	away.Away = "breaker"
	till.channels = []zonegate.Channel{away}
	lacks(t, home(), link)
	has(t, home(), "Mobile payment does not answer right now")
	// Where the provider's page cannot be opened, other channels still can.
	till.channels = []zonegate.Channel{card}
	has(t, home(), link)
	z.server.NoPages = true
	lacks(t, home(), link)
	has(t, home(), "this WiFi cannot open the payment page")
	till.channels = []zonegate.Channel{card, mtn}
	has(t, home(), link)
	lacks(t, z.do(call{target: "/pay?plan=b-day", accept: browser}).Body.String(), "KKiaPay")
	z.server.NoPages = false
	// Another currency is none.
	usd := mtn
	usd.Currency = "USD"
	till.channels = []zonegate.Channel{usd}
	lacks(t, home(), link, "does not answer")
	// Vouchers work.
	if w := z.do(typed(z.codes("a-hour", 1)[0])); w.Code >= 400 {
		t.Errorf("a voucher: %d", w.Code)
	}
}

func TestPayOnThePaymentPage(t *testing.T) {
	for address, good := range map[string]bool{
		"https://kkiapay.me/x?y=1":            true,
		"https://WIDGET-v3.kkiapay.me/":       true,
		"https://widget.kkiapay.me:443/":      true,
		"http://kkiapay.me/":                  false,
		"https://kkiapay.me.evil.example/":    false,
		"https://evilkkiapay.me/":             false,
		"https://kkiapay.me@evil.example/":    false,
		"https://user@kkiapay.me/":            false,
		"https://kkiapay.me:8443/":            false,
		"https://evil.example/#kkiapay.me":    false,
		"javascript:alert(1)//kkiapay.me":     false,
		"https:kkiapay.me":                    false,
		"//kkiapay.me/":                       false,
		"https://kkiapay.me\\@evil.example/":  false,
		"https://kkiapay.me/\"><script>x":     true,
		"https://.kkiapay.me/":                true,
		"":                                    false,
		"https:///kkiapay.me":                 false,
		"https://[::1]/":                      false,
		"data:text/html,https://kkiapay.me/x": false,
	} {
		z := newZone(t)
		z.sells(card)
		page := z.do(call{target: "/pay?plan=b-day", accept: browser}).Body.String()
		lacks(t, page, `type="tel"`)
		id := z.open("KKIAPAY")
		z.tell(id, zonegate.News{State: zonegate.IntentPending, Transaction: "tx", Flow: "redirect", URL: address})
		page = z.payPage(id)
		if got := strings.Contains(page, "Open the payment page"); got != good {
			t.Errorf("%q: link %v", address, got)
		}
		lacks(t, page, "<script>", `href="javascript`, `href="http:`)
		if strings.Contains(page, "evil.example") {
			t.Errorf("%q: the page leads there", address)
		}
	}
}

// Another device sees nothing of a payment, and does nothing to it.
func TestPaymentsAreTheirDevices(t *testing.T) {
	z := newZone(t)
	till := z.sells(mtn)
	id := z.open("MTN_MOMO")
	name := "/pay/" + id.String()
	for _, target := range []string{name, "/pay/" + strings.Repeat("0", 32), "/pay/x", "/pay/" + id.String() + "0", "/pay/%00"} {
		w := z.do(call{target: target, from: phoneB, accept: browser})
		if w.Code != http.StatusNotFound || strings.Contains(w.Body.String(), z.gate.ClaimCode(id)) {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	if w := z.do(call{target: name, from: phoneB, form: url.Values{"f": {z.gate.FormToken(macB)}}}); w.Code != http.StatusNotFound || len(till.asked) > 0 {
		t.Errorf("asking: %d", w.Code)
	}
	// The same number from another device starts nothing and shows nothing.
	form := url.Values{"f": {z.gate.FormToken(macB)}, "i": {strings.Repeat("1", 32)}, "plan": {"a-hour"}, "way": {"MTN_MOMO"}, "phone": {mtnNumber}}
	w := z.do(call{target: "/pay", from: phoneB, form: form, accept: browser})
	if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "déjà en cours avec ce numéro") || strings.Contains(w.Body.String(), id.String()) {
		t.Errorf("the same number: %d %s", w.Code, w.Body)
	}
	// Nor does the other's intent.
	form.Set("i", id.String())
	form.Set("phone", "01 96 00 00 00")
	if w := z.do(call{target: "/pay", from: phoneB, form: form, accept: browser}); w.Code == http.StatusSeeOther || strings.Contains(w.Body.String(), z.gate.ClaimCode(id)) {
		t.Errorf("the other's intent: %d", w.Code)
	}
}

func TestPayNeedsItsForm(t *testing.T) {
	z := newZone(t)
	till := z.sells(mtn)
	good := z.payForm("b-day", "MTN_MOMO", mtnNumber)
	for name, bad := range map[string]string{"f": z.gate.FormToken(macB), "i": "xyz", "plan": "no-such"} {
		form := url.Values{}
		for k, v := range good {
			form[k] = v
		}
		form.Set(name, bad)
		if w := z.do(call{target: "/pay", form: form}); w.Code < 400 {
			t.Errorf("%s %q: %d", name, bad, w.Code)
		}
	}
	if w := z.do(call{target: "/pay?lang=en", accept: browser}); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/?lang=en" {
		t.Errorf("the address alone: %d to %q", w.Code, w.Header().Get("Location"))
	}
	id := z.open("MTN_MOMO")
	name := "/pay/" + id.String()
	if w := z.do(call{target: name, form: url.Values{}}); w.Code != http.StatusForbidden || len(till.asked) > 0 {
		t.Errorf("asking without the token: %d", w.Code)
	}
	for _, method := range []string{"PUT", "DELETE"} {
		if w := z.do(call{method: method, target: name}); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	w := z.do(call{target: name, form: fieldsOf(t, z.payPage(id), name, "f"), accept: browser})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != name || len(till.asked) != 1 || till.asked[0] != id {
		t.Errorf("asking: %d to %q, %v", w.Code, w.Header().Get("Location"), till.asked)
	}
	if n := len(z.gate.Intents(macA)); n != 1 {
		t.Errorf("%d payments", n)
	}
}

func TestPayCaps(t *testing.T) {
	z := newZone(t)
	z.sells(mtn)
	for range 3 {
		z.tell(z.open("MTN_MOMO"), zonegate.News{State: zonegate.IntentFailed})
	}
	z.clock.pass(3 * time.Minute)
	w := z.do(call{target: "/pay", form: z.payForm("b-day", "MTN_MOMO", mtnNumber), accept: browser, lang: "en"})
	if w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "Wait 7\u00a0min") || w.Header().Get("Retry-After") != "420" {
		t.Errorf("%d, Retry-After %q: %s", w.Code, w.Header().Get("Retry-After"), w.Body)
	}
}

// A gate that cannot write takes no payment, and says so.
func TestPayIsWrittenDownFirst(t *testing.T) {
	z := newZone(t)
	z.sells(mtn)
	form := z.payForm("b-day", "MTN_MOMO", mtnNumber)
	z.journal.break_(errors.New("worn out"))
	if w := z.do(call{target: "/pay", form: form, accept: browser}); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), mtnNumber) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// The code of a payment works on another phone, and before it says what to
// wait for.
func TestClaimCodeOfAPayment(t *testing.T) {
	z := newZone(t)
	z.sells(mtn)
	id := z.open("MTN_MOMO")
	c := typed(strings.ToLower(z.gate.ClaimCode(id)))
	c.from, c.accept = phoneB, browser
	if w := z.do(c); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "pas encore confirmé") {
		t.Errorf("open: %d %s", w.Code, w.Body)
	}
	if err := z.gate.SettleIntent(t.Context(), id, "tx-1", zonegate.Money{Amount: 200, Currency: "XOF"}); err != nil {
		t.Fatal(err)
	}
	w := z.do(c)
	if w.Code == http.StatusConflict { // it is the first phone's
		form := fieldsOf(t, w.Body.String(), "/voucher", "move")
		w = z.do(call{target: "/voucher", from: phoneB, form: form, accept: browser})
	}
	if w.Code != http.StatusSeeOther || !z.gate.Standing(macB).Online {
		t.Errorf("paid: %d %s", w.Code, w.Body)
	}
}

func TestPaymentAsJSON(t *testing.T) {
	z := newZone(t)
	z.sells(mtn)
	id := z.open("MTN_MOMO")
	a := answer(t, z.do(call{target: "/pay/" + id.String(), accept: program, lang: "en"}))
	if a.Reason != "payment_opened" || a.Message != "The payment starts. Wait a few seconds." || a.FormToken == "" {
		t.Errorf("%+v", a)
	}
}

// No number, code or payment is in the log.
func TestPayLogKeepsSecrets(t *testing.T) {
	z := newZone(t)
	z.sells(mtn, moov)
	for _, number := range []string{"0197", moovNumber, mtnNumber} {
		z.do(call{target: "/pay", form: z.payForm("b-day", "MTN_MOMO", number), accept: browser})
	}
	id := z.gate.Intents(macA)[0].ID
	z.payPage(id)
	logged := z.logged.String()
	if !strings.Contains(logged, "route=/pay/:intent") || !strings.Contains(logged, "reason=operator") {
		t.Fatalf("nothing is logged: %s", logged)
	}
	if m := regexp.MustCompile(`0195|0197|97 12|229019`).FindString(logged); m != "" || strings.Contains(logged, id.String()) || strings.Contains(logged, z.gate.ClaimCode(id)) {
		t.Errorf("%q is in the log, or the payment", m)
	}
}
