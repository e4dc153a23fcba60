package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"zonegate/hub/sandbox"
)

// payName is where the simulated payment providers are, with their pages for
// customers and their control API.
const payName = "pay.example"

// PayURL is their address without a path, and payAddr where they serve. They
// are at the port of HTTPS: a customer is led to no other.
const PayURL = "https://" + payName

var payAddr = net.JoinHostPort(pay4.String(), "443")

// Money is what a lab has for payments.
type Money struct {
	// Providers is the address of the simulated providers.
	Providers string `json:"providers"`
	// File is the hub's; empty if the central server is one of RGZ.
	File string `json:"file,omitempty"`
	// Sites are the hub's, one for each currency: a site sells in one. The
	// gateway is that of Currency.
	Sites    []Site `json:"sites,omitempty"`
	Currency string `json:"currency"`
	// Reseller and Password are a user of the reseller's.
	Reseller string `json:"reseller,omitempty"`
	Password string `json:"password,omitempty"`
}

// A Site is one that sells in a currency.
type Site struct {
	ID       string `json:"id"`
	Currency string `json:"currency"`
	Country  string `json:"country"`
	Provider string `json:"provider"`
	Forfait  string `json:"forfait"`
	// Price is minor units.
	Price int64 `json:"price"`
	// Pays and Fails are numbers of customers; the second is told why not.
	Pays  string `json:"pays"`
	Fails string `json:"fails"`
}

// sites are those of a lab. Prices are such that what a reseller gets of one
// sale can be withdrawn.
var sites = []Site{
	{Currency: "XOF", Country: "Benin", Provider: "kkiapay", Price: 300, Pays: "0197123456", Fails: "0197120002"},
	{Currency: "XAF", Country: "Gabon", Provider: "mypayga", Price: 2000, Pays: "074111111", Fails: "074131313"},
	{Currency: "CDF", Country: "DR Congo", Provider: "flexpay", Price: 250000, Pays: "0812345678", Fails: "0812340005"},
}

// Currencies are those that a lab can sell in.
func Currencies() (list []string) {
	for _, s := range sites {
		list = append(list, s.Currency)
	}
	return list
}

// Site is the one of a currency.
func (m *Money) Site(currency string) (Site, bool) {
	for _, s := range m.Sites {
		if s.Currency == currency {
			return s, true
		}
	}
	return Site{}, false
}

// startProviders starts the simulated providers.
func (l *Lab) startProviders() error {
	o, h := sandbox.Defaults(), l.Info.Hub
	args := []string{"sandbox", "--listen", payAddr, "--tls-cert", h.CA, "--tls-key", l.hubFile("key.pem"), "--public-url", PayURL, "--callback-ca", h.CA,
		"--mypayga-callback", CentralURL + "/callbacks/mypayga", "--mypayga-secret", labSecret,
		"--kkiapay-webhook", CentralURL + "/callbacks/kkiapay", "--kkiapay-secret", o.KKiaPay.WebhookSecret}
	c, err := l.spawn("providers", l.Command("internet", h.Program, args...))
	if err != nil {
		return err
	}
	l.providers = c
	return l.waitListening(c, "internet", payAddr)
}

// labSecret is what MyPayGa signs its callbacks with here. It is no secret.
const labSecret = "lab-mypayga"

// startMoney makes the hub one that takes payments: the file of its providers,
// which are started, and a site for each currency. The hub does not serve yet.
func (l *Lab) startMoney(ctx context.Context) error {
	h := l.Info.Hub
	m := &Money{Providers: PayURL, Currency: l.opts.Currency, File: l.hubFile("money.toml"), Reseller: "reseller", Password: h.Password}
	l.Info.Money = m
	if err := l.startProviders(); err != nil {
		return err
	}
	if err := l.writeMoneyFile(m.File); err != nil {
		return err
	}
	if _, err := l.hubCommand(ctx, m.Password+"\n", "user", "add", "--role", "reseller", "--reseller", h.Reseller, m.Reseller); err != nil {
		return err
	}
	for _, s := range sites {
		var err error
		s.ID, s.Forfait = h.Site, h.Forfait.ID
		if s.Currency != "XOF" {
			if s.ID, err = l.hubWord(ctx, "site", "add", "--reseller", h.Reseller, "--currency", s.Currency, "Lab zone in "+s.Country); err != nil {
				return err
			}
			f := h.Forfait
			if s.Forfait, err = l.hubWord(ctx, "forfait", "set", "--price", fmt.Sprint(s.Price), "--currency", s.Currency, "--hours", fmt.Sprint(f.DurationHours),
				"--cir-kbps", fmt.Sprint(f.CIRKbps), "--mir-kbps", fmt.Sprint(f.MIRKbps), f.Name+" "+s.Country); err != nil {
				return err
			}
		}
		m.Sites = append(m.Sites, s)
	}
	s, _ := m.Site(m.Currency)
	h.Site, h.Forfait = s.ID, planOf(h.Forfait, s)
	return nil
}

// planOf is the forfait of a site.
func planOf(f Plan, s Site) Plan {
	f.ID, f.PriceFCFA = s.Forfait, s.Price
	if s.Currency != "XOF" && s.Currency != "XAF" {
		f.PriceFCFA = 0
	}
	return f
}

// MoveGateway makes the gateway that of the site of another currency. What was
// bought goes on.
func (l *Lab) MoveGateway(ctx context.Context, currency string) error {
	s, ok := l.Info.Money.Site(currency)
	if !ok {
		return fmt.Errorf("no site sells in %s", currency)
	}
	if _, err := l.Zonegate(ctx, "hub", "leave"); err != nil {
		return err
	}
	h := l.Info.Hub
	h.Site, h.Forfait, l.Info.Money.Currency = s.ID, planOf(h.Forfait, s), currency
	code, err := l.hubWord(ctx, "enrol-code", "--site", h.Site)
	if err != nil {
		return err
	}
	if _, err := l.Zonegate(ctx, "hub", "join", "--url", h.API, code); err != nil {
		return fmt.Errorf("joining the hub: %w", err)
	}
	return nil
}

// writeMoneyFile writes the hub's file of payment providers, and beside it
// what is secret elsewhere.
func (l *Lab) writeMoneyFile(name string) error {
	o, ca := sandbox.Defaults(), l.Info.Hub.CA
	secrets := map[string]string{
		"flexpay.token": o.FlexPay.Token, "mypayga.secret": o.MyPayGa.TestSecret, "mypayga.public": o.MyPayGa.TestPublic, "mypayga.callback": labSecret,
		"kkiapay.public": o.KKiaPay.PublicKey, "kkiapay.private": o.KKiaPay.PrivateKey, "kkiapay.secret": o.KKiaPay.SecretKey, "kkiapay.callback": o.KKiaPay.WebhookSecret,
	}
	dir := filepath.Join(l.state.Dir, "money")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("writing the money file: %w", err)
	}
	for name, text := range secrets {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			return fmt.Errorf("writing the money file: %w", err)
		}
	}
	secret := func(name string) string { return filepath.Join(dir, name) }
	type table = map[string]any
	text, err := toml.Marshal(table{
		"provider": table{
			"kkiapay": table{"kind": "kkiapay", "test": true, "url": PayURL + sandbox.KKiaPayBase, "page_url": PayURL + sandbox.KKiaPayBase + "/", "hosts": []string{payName}, "ca_file": ca,
				"public_key_file": secret("kkiapay.public"), "private_key_file": secret("kkiapay.private"), "secret_key_file": secret("kkiapay.secret"), "callback_secret_file": secret("kkiapay.callback")},
			"mypayga": table{"kind": "mypayga", "test": true, "url": PayURL + sandbox.MyPayGaBase, "email": "lab@example.com", "first_name": "Lab", "last_name": "Zone", "ca_file": ca,
				"secret_key_file": secret("mypayga.secret"), "public_key_file": secret("mypayga.public"), "callback_secret_file": secret("mypayga.callback"),
				"payout_done": []string{sandbox.TransferDone}, "payout_failed": []string{sandbox.TransferFailed, sandbox.TransferPoor}, "refund_done": []string{sandbox.RefundDone}},
			"flexpay": table{"kind": "flexpay", "test": true, "merchant": o.FlexPay.Merchant, "currencies": []string{"CDF", "USD"}, "ca_file": ca,
				"pay_url": PayURL + sandbox.FlexPayBase, "check_url": PayURL + sandbox.FlexPayBase, "payout_url": PayURL + sandbox.FlexPayBase, "token_file": secret("flexpay.token")},
		},
		"messenger":   table{"sms": table{"url": PayURL + sandbox.SMSPath, "body": "to={to}&text={text}", "ca_file": ca}},
		"withdrawals": table{"XAF": table{"phones": []string{"2417xxxxxxx", "2416xxxxxxx"}, "operators": []string{"airtel_money"}, "payer": "mypayga", "automatic": true}},
		// The reseller's first number would wait for a day.
		"payouts": table{"number_wait": "0s"},
	})
	if err != nil {
		return fmt.Errorf("writing the money file: %w", err)
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		return fmt.Errorf("writing the money file: %w", err)
	}
	return nil
}

// PayHelp tells a person how to pay in the lab.
func (m *Money) PayHelp(hub *Hub) string {
	var b strings.Builder
	if m.File == "" {
		fmt.Fprintf(&b, "Customers pay at a page of KKiaPay, which plays at %s as RGZ does. Any number pays there; one ending in 0002 refuses.\n", m.Providers)
		return b.String()
	}
	here, _ := m.Site(m.Currency)
	fmt.Fprintf(&b, "Customers pay for the hub's forfait in %s, at the provider of %s. These numbers pay, and do not:\n", m.Currency, here.Country)
	list := append([]Site(nil), m.Sites...)
	sort.SliceStable(list, func(i, j int) bool { return list[i].Currency == m.Currency && list[j].Currency != m.Currency })
	for _, s := range list {
		fmt.Fprintf(&b, "  %-9s %-8s %s   %-11s %s", s.Country, s.Provider, s.Currency, s.Pays, s.Fails)
		if s.Currency != m.Currency {
			fmt.Fprintf(&b, "   (zonelab up --currency %s)", s.Currency)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "All of them, and how a customer waits, refuses or pays half:  %s sandbox --numbers\n", hub.Program)
	fmt.Fprintf(&b, "The reseller at the hub's pages: user %s, password %s. Codes for withdrawals are at %s/_control/messages,\nwhich host internet can read: curl -k there.\n",
		m.Reseller, m.Password, m.Providers)
	return b.String()
}
