package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"zonegate/hub"
	"zonegate/hub/flexpay"
	"zonegate/hub/kkiapay"
	"zonegate/hub/messenger"
	"zonegate/hub/mypayga"
	"zonegate/hub/nelsius"
)

// A till is what the file of --money comes to: the providers that take
// customers' money and pay it out, and what is told to people.
type till struct {
	collectors map[string]hub.Collector
	callbacks  map[string]hub.CallbackReader
	// webhook is the provider behind the webhook of the RGZ API.
	webhook string
	payouts hub.Payouts
	closers []interface{ Close() }
}

func (t *till) close() {
	for _, c := range t.closers {
		c.Close()
	}
}

// A moneyReader makes a till of a file.
type moneyReader struct {
	*fileCheck
	lookup func(string) (string, bool)
	public string // URL of the hub
	log    *slog.Logger
	out    io.Writer // where the lab's messages are printed
	till   *till
}

// loadMoney reads the file of --money and builds what it names. An empty name
// is a hub without money.
func loadMoney(name, public string, lookup func(string) (string, bool), log *slog.Logger, out io.Writer) (*till, error) {
	t := &till{collectors: map[string]hub.Collector{}, callbacks: map[string]hub.CallbackReader{},
		payouts: hub.Payouts{Payers: map[string]hub.Payer{}, Refunders: map[string]hub.Refunder{}}}
	if name == "" {
		return t, nil
	}
	file, check, err := readMoney(name)
	if err != nil {
		return nil, err
	}
	r := &moneyReader{fileCheck: check, lookup: lookup, public: strings.TrimSuffix(public, "/"), log: log, out: out, till: t}
	var names []string
	for name := range file.Provider {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		r.provider(name, file.Provider[name])
	}
	r.messenger(file.Messenger)
	r.withdrawals(file)
	if err := r.err(); err != nil {
		t.close()
		return nil, err
	}
	if public != "" {
		t.payouts.CallbackURL = func(provider string) string { return r.public + hub.PathCallbacks + provider }
	}
	return t, nil
}

// shared are the keys of every kind of provider.
var shared = []string{"kind", "collect", "pay_out", "timeout", "test", "plain", "ca_file", "channels"}

// kinds are the providers that there are adapters for, with the keys that each
// takes besides.
var kinds = map[string]struct {
	keys  []string
	build func(*moneyReader, string, providerTable) (any, error)
}{
	"flexpay": {[]string{"merchant", "currencies", "pay_url", "check_url", "payout_url", "token_file", "token_env"}, (*moneyReader).flexpay},
	"mypayga": {[]string{"url", "card_url", "email", "first_name", "last_name", "payout_done", "payout_failed", "refund_done", "query_posts",
		"secret_key_file", "secret_key_env", "public_key_file", "public_key_env", "callback_secret_file", "callback_secret_env"}, (*moneyReader).mypayga},
	"kkiapay": {[]string{"url", "page_url", "hosts", "public_key_file", "public_key_env", "private_key_file", "private_key_env",
		"secret_key_file", "secret_key_env", "callback_secret_file", "callback_secret_env", "callback_hmac"}, (*moneyReader).kkiapay},
	"nelsius": {[]string{"url", "email", "password_file", "password_env"}, (*moneyReader).nelsius},
}

var providerName = regexp.MustCompile(`^[a-z][a-z0-9]{0,19}$`)

// provider builds one and says what it can be used for.
func (r *moneyReader) provider(name string, p providerTable) {
	key := "provider." + name
	if !providerName.MatchString(name) {
		r.bad(key, "the name must be up to 20 small letters and digits: it stands in the address of callbacks and in the ledger")
		return
	}
	kind, ok := kinds[p.Kind]
	if !ok {
		var known []string
		for k := range kinds {
			known = append(known, k)
		}
		slices.Sort(known)
		r.bad(key+".kind", "must be one of %s", strings.Join(known, ", "))
		return
	}
	for place := range r.places {
		k, ok := strings.CutPrefix(place, key+".")
		if k, _, _ = strings.Cut(k, "."); ok && !slices.Contains(shared, k) && !slices.Contains(kind.keys, k) {
			r.bad(place, "a provider of kind %s takes no such setting; it takes %s", p.Kind, strings.Join(append(slices.Clone(shared), kind.keys...), ", "))
		}
	}
	if p.Plain && !p.Test {
		r.bad(key+".plain", "plain HTTP shows the credentials to everybody on the way: it is for a lab, with test = true")
	}
	before := len(r.problems)
	adapter, err := kind.build(r, name, p)
	if len(r.problems) > before {
		return
	}
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			r.bad(key, "%s", line)
		}
		return
	}
	if c, ok := adapter.(interface{ Close() }); ok {
		r.till.closers = append(r.till.closers, c)
	}
	if c, ok := adapter.(hub.Collector); ok && (p.Collect == nil || *p.Collect) {
		r.till.collectors[name] = c
	}
	if c, ok := adapter.(hub.Payer); ok && (p.PayOut == nil || *p.PayOut) {
		r.till.payouts.Payers[name] = c
	}
	if c, ok := adapter.(hub.Refunder); ok {
		r.till.payouts.Refunders[name] = c
	}
	if c, ok := adapter.(hub.CallbackReader); ok {
		if !strings.HasPrefix(r.public, "https://") && !(p.Plain && r.public != "") {
			r.bad(key, "%s calls back: give --public-url, the https address under which it reaches the hub", p.Kind)
		}
		r.till.callbacks[name] = c
		if p.Kind == "kkiapay" {
			if r.till.webhook != "" {
				r.bad(key, "there is another of kind kkiapay, and the webhook of the API can have one behind it")
			}
			r.till.webhook = name
		}
	}
}

// secret is what is told to an adapter of a credential: a function that
// returns it as it is now. It is nil if none is named.
func (r *moneyReader) secret(key, file, variable string, needed bool) func() string {
	s := r.openSecret(key, file, variable, needed)
	if s == nil {
		return nil
	}
	return s.current(r.log)
}

func (r *moneyReader) openSecret(key, file, variable string, needed bool) *secret {
	switch {
	case file == "" && variable == "":
		if needed {
			r.bad(key+"_file", "is missing: name the file that has it, or with %s_env the variable", key[strings.LastIndexByte(key, '.')+1:])
		}
		return nil
	case file != "" && variable != "":
		r.bad(key+"_env", "is there beside %s_file: keep one of them", key)
		return nil
	}
	s, err := openSecret(file, variable, r.lookup)
	if err != nil {
		where := key + "_file"
		if file == "" {
			where = key + "_env"
		}
		r.bad(where, "%v", err)
		return nil
	}
	return s
}

// duration reads a time such as "20s"; empty is the default.
func (r *moneyReader) duration(key, text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > 30*24*time.Hour {
		r.bad(key, `must be a time such as "20s" or "24h"`)
	}
	return d
}

// roots are the authorities of a server's certificate; nil are the system's.
func (r *moneyReader) roots(key, file string) *x509.CertPool {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		r.bad(key, "%v", err)
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		r.bad(key, "%s has no certificate in it", file)
	}
	return pool
}

func channels(list []channelTable) []hub.ChannelCaps {
	var out []hub.ChannelCaps
	for _, c := range list {
		out = append(out, hub.ChannelCaps{ID: c.ID, Name: c.Name, Flow: c.Flow})
	}
	return out
}

func (r *moneyReader) flexpay(name string, p providerTable) (any, error) {
	key := "provider." + name + "."
	return flexpay.New(flexpay.Options{
		Name: name, PayURL: p.PayURL, CheckURL: p.CheckURL, PayoutURL: p.PayoutURL, Merchant: p.Merchant, Currencies: p.Currencies,
		Token: r.secret(key+"token", p.TokenFile, p.TokenEnv, true), Channels: channels(p.Channels),
		Timeout: r.duration(key+"timeout", p.Timeout), Test: p.Test, Plain: p.Plain, Roots: r.roots(key+"ca_file", p.CAFile),
	})
}

func (r *moneyReader) mypayga(name string, p providerTable) (any, error) {
	key := "provider." + name + "."
	if p.URL == "" {
		p.URL = "https://api.mypayga.com"
	}
	return mypayga.New(mypayga.Options{
		Name: name, BaseURL: p.URL, CardURL: p.CardURL,
		Secret:         r.secret(key+"secret_key", p.SecretKeyFile, p.SecretKeyEnv, true),
		Public:         r.secret(key+"public_key", p.PublicKeyFile, p.PublicKeyEnv, false),
		CallbackSecret: r.secret(key+"callback_secret", p.CallbackFile, p.CallbackEnv, false),
		Test:           p.Test, Email: p.Email, FirstName: p.FirstName, LastName: p.LastName, Channels: channels(p.Channels),
		PayoutDone: p.PayoutDone, PayoutFailed: p.PayoutFailed, RefundDone: p.RefundDone, QueryPosts: p.QueryPosts,
		Timeout: r.duration(key+"timeout", p.Timeout), Plain: p.Plain, Roots: r.roots(key+"ca_file", p.CAFile),
	})
}

func (r *moneyReader) kkiapay(name string, p providerTable) (any, error) {
	key := "provider." + name + "."
	if p.URL == "" {
		p.URL = "https://api.kkiapay.me"
		if p.Test {
			p.URL = "https://api-sandbox.kkiapay.me"
		}
	}
	return kkiapay.New(kkiapay.Options{
		Name: name, BaseURL: p.URL, WidgetURL: p.PageURL, Hosts: p.Hosts,
		Public:        r.secret(key+"public_key", p.PublicKeyFile, p.PublicKeyEnv, true),
		Private:       r.secret(key+"private_key", p.PrivateKeyFile, p.PrivateKeyEnv, true),
		Secret:        r.secret(key+"secret_key", p.SecretKeyFile, p.SecretKeyEnv, true),
		WebhookSecret: r.secret(key+"callback_secret", p.CallbackFile, p.CallbackEnv, true), WebhookHMAC: p.CallbackHMAC,
		Test: p.Test, Channels: channels(p.Channels), Timeout: r.duration(key+"timeout", p.Timeout), Plain: p.Plain, Roots: r.roots(key+"ca_file", p.CAFile),
	})
}

func (r *moneyReader) nelsius(name string, p providerTable) (any, error) {
	key := "provider." + name + "."
	return nelsius.New(nelsius.Options{
		Name: name, URL: p.URL, Email: func() string { return p.Email }, Password: r.secret(key+"password", p.PasswordFile, p.PasswordEnv, true),
		Timeout: r.duration(key+"timeout", p.Timeout), Plain: p.Plain, Roots: r.roots(key+"ca_file", p.CAFile),
	})
}

// messenger builds what brings codes and notices.
func (r *moneyReader) messenger(m messengerTable) {
	var pair messenger.Pair
	if x := m.SMS; x != nil {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.roots("messenger.sms.ca_file", x.CAFile)}}
		o := messenger.SMSOptions{Transport: transport, URL: x.URL, Method: x.Method, Headers: x.Headers, Body: x.Body, Accept: x.Accept, Plus: x.Plus,
			Timeout: r.duration("messenger.sms.timeout", x.Timeout)}
		if s := r.openSecret("messenger.sms.secret", x.SecretFile, x.SecretEnv, false); s != nil {
			o.Secret = s.get
		}
		if s, err := messenger.NewSMS(o); err != nil {
			r.bad("messenger.sms", "%v", err)
		} else {
			pair.Phone = s
		}
	}
	if x := m.Mail; x != nil {
		o := messenger.MailOptions{Server: x.Server, From: x.From, Subject: x.Subject, User: x.User, Timeout: r.duration("messenger.mail.timeout", x.Timeout)}
		if s := r.openSecret("messenger.mail.password", x.PasswordFile, x.PasswordEnv, x.User != ""); s != nil {
			o.Password = s.get
		}
		if s, err := messenger.NewMail(o); err != nil {
			r.bad("messenger.mail", "%v", err)
		} else {
			pair.Mail = s
		}
	}
	if x := m.Log; x != nil {
		if m.SMS != nil || m.Mail != nil {
			r.bad("messenger.log", "is there beside messages that are really sent: keep one of them")
		}
		l := messenger.Log{Log: r.log}
		if x.ShowText {
			l.Out = r.out
		}
		pair = messenger.Pair{Phone: l, Mail: l}
	}
	if pair.Phone != nil || pair.Mail != nil {
		r.till.payouts.Messenger = pair
	}
}

// withdrawals reads the rules of money on its way out.
func (r *moneyReader) withdrawals(m *moneyFile) {
	p := &r.till.payouts
	p.NumberWait = r.wait("payouts.number_wait", m.Payouts.NumberWait)
	p.RefundWait = r.duration("payouts.refund_wait", m.Payouts.RefundWait)
	var currencies []string
	for c := range m.Withdrawals {
		currencies = append(currencies, c)
	}
	slices.Sort(currencies)
	for _, c := range currencies {
		w, key := m.Withdrawals[c], "withdrawals."+c
		rule := hub.DefaultWithdrawalRule()
		if c != rule.Currency {
			if len(w.Phones) == 0 || len(w.Operators) == 0 || w.Min == nil || w.Max == nil || w.Daily == nil {
				r.bad(key, "needs phones, operators, min, max and daily: the documented rule is for XAF alone")
				continue
			}
			rule.FeeMin, rule.FeeMax = 0, *w.Max
		}
		rule.Currency = c
		set(&rule.Multiple, w.Multiple)
		set(&rule.Min, w.Min)
		set(&rule.Max, w.Max)
		set(&rule.Count, w.Count)
		set(&rule.FeePermille, w.FeePermille)
		set(&rule.FeeMin, w.FeeMin)
		set(&rule.FeeMax, w.FeeMax)
		set(&rule.ApproveAbove, w.ApproveAbove)
		set(&rule.ClaimFirst, w.ClaimFirst)
		if w.Phones != nil {
			rule.Phones = w.Phones
		}
		if w.Operators != nil {
			rule.Operators = w.Operators
		}
		if w.Daily != nil {
			rule.Daily = w.Daily
		}
		rule.Payer, rule.Automatic = w.Payer, w.Automatic
		if err := (hub.Payouts{Rules: []hub.WithdrawalRule{rule}, Payers: p.Payers}).Check(); err != nil {
			r.bad(key, "%v", err)
		}
		p.Rules = append(p.Rules, rule)
	}
	if pair, ok := p.Messenger.(messenger.Pair); ok && pair.Phone != nil {
		return
	}
	for _, rule := range p.Rules {
		// Some providers send codes of their own.
		if _, theirs := p.Payers[rule.Payer].(hub.CodePayer); !theirs {
			r.bad("withdrawals."+rule.Currency, "codes must reach phones: write [messenger.sms], or [messenger.log] in a lab")
		}
	}
}

// wait is a duration of which "0s" is none at all.
func (r *moneyReader) wait(key, text string) time.Duration {
	if d, err := time.ParseDuration(text); err == nil && d == 0 {
		return -1
	}
	return r.duration(key, text)
}

func set[T any](to *T, value *T) {
	if value != nil {
		*to = *value
	}
}

// describe says in the log what the hub can do with money.
func (t *till) describe(log *slog.Logger) {
	for name, c := range t.collectors {
		caps := c.Caps()
		log.Info("payments are taken", "provider", name, "country", caps.Country, "currencies", fmt.Sprint(caps.Currencies), "test", caps.Test)
	}
}
