// Package mypayga collects, refunds and pays out through MyPayGa (Gabon):
// Airtel Money by push, in XAF. It asks and reads; what a payment becomes is
// decided in package hub.
//
// MyPayGa says 200 for "push sent" and "found" as well as for "paid", under
// many names: each call here reads the one that its document prints. A payment
// is known by its payment_token, which is reserved before the customer is
// asked, so it can always be looked up. A transfer has no reference of ours: if
// its answer is lost nobody but a person can say what became of it.
package mypayga

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/provider"
	"zonegate/phone"
)

const (
	country  = "GA"
	currency = "XAF" // printed CFA
)

// Options of a Client.
type Options struct {
	// Name is the provider's among the hub's; empty is "mypayga".
	Name string
	// BaseURL is https://api.mypayga.com. CardURL is where the card form is
	// posted to; empty is https://www.mypayga.com/mpgga-form-cbpay.
	BaseURL, CardURL string
	// Secret returns the secret key (sprod_, stest_) as it is now: it can pay
	// out and refund. Public returns the public one, for the card form alone;
	// nil is none.
	Secret, Public func() string
	// CallbackSecret returns the key that callbacks are signed with; nil takes
	// unsigned ones.
	CallbackSecret func() string
	// Test must agree with the keys: with test keys no money moves, and the test
	// numbers of all countries are passed on.
	Test bool
	// Email, FirstName and LastName stand for the customer's, which a hotspot
	// does not know and MyPayGa requires. The names are "Client" and "WiFi" if
	// they are empty.
	Email, FirstName, LastName string
	// Channels are what customers can choose; none are Airtel Money alone, the
	// only one that is documented.
	Channels []hub.ChannelCaps
	// PayoutDone, PayoutFailed and RefundDone are the words by which MyPayGa
	// says how a transfer or a refund ended, in any case; all others leave it
	// open. The document has one: a failure.
	PayoutDone, PayoutFailed, RefundDone []string
	// QueryPosts puts the parameters of refunds, transfers and links into the
	// query, as the samples print them, and not into the body. Keys then stand
	// in the logs of whatever is between.
	QueryPosts bool
	// RefundInfosPOST asks for refunds with POST, as the heading says and no
	// sample does.
	RefundInfosPOST bool
	// LinkCancelPath is payment/linkCancel if it is empty; the heading says
	// mpayment/linkCancel.
	LinkCancelPath string
	// Timeout bounds each call; FirstLook is 25 s if it is 0.
	Timeout, FirstLook time.Duration
	// Plain lets the addresses be http: for a lab.
	Plain bool
	// Roots are the authorities of MyPayGa's certificate; nil are the system's.
	Roots *x509.CertPool
	// Transport carries the calls; nil is the network.
	Transport http.RoundTripper
}

// A Client is MyPayGa. It is a hub.Collector, hub.Payer, hub.Refunder and
// hub.CallbackReader, and safe for concurrent use.
type Client struct {
	o    Options
	http *provider.Client
}

var (
	_ hub.Collector      = (*Client)(nil)
	_ hub.Payer          = (*Client)(nil)
	_ hub.Refunder       = (*Client)(nil)
	_ hub.CallbackReader = (*Client)(nil)
)

// New checks the options.
func New(o Options) (*Client, error) {
	for _, d := range []struct {
		have *string
		want string
	}{
		{&o.Name, "mypayga"}, {&o.CardURL, "https://www.mypayga.com/mpgga-form-cbpay"}, {&o.FirstName, "Client"}, {&o.LastName, "WiFi"},
		{&o.LinkCancelPath, "payment/linkCancel"},
	} {
		if *d.have == "" {
			*d.have = d.want
		}
	}
	if len(o.Channels) == 0 {
		o.Channels = []hub.ChannelCaps{{ID: "AIRTEL_GA", Name: "Airtel Money", Flow: hub.FlowPush}}
	}
	if o.PayoutFailed == nil {
		o.PayoutFailed = []string{"Echec-solde ins."}
	}
	if o.FirstLook <= 0 {
		o.FirstLook = 25 * time.Second
	}
	errs := []error{provider.CheckURL("base_url", o.BaseURL, o.Plain), provider.CheckURL("card_url", o.CardURL, o.Plain)}
	if o.Secret == nil {
		errs = append(errs, errNoKey)
	} else if _, err := secret(o); err != nil {
		errs = append(errs, err)
	}
	if !strings.Contains(o.Email, "@") {
		errs = append(errs, errors.New("email is no address: MyPayGa wants one for each payment; give one of yours"))
	}
	if strings.Trim(o.LinkCancelPath, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/") != "" {
		errs = append(errs, errors.New("link_cancel_path must be a path like payment/linkCancel"))
	}
	for _, c := range o.Channels {
		if c.ID == "" || c.Name == "" || c.Flow != hub.FlowPush {
			errs = append(errs, fmt.Errorf("channel %q: give it an id, a name and the flow push", c.ID))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("setting up %s: %w", o.Name, err)
	}
	return &Client{o, provider.NewClient(provider.Options{Name: o.Name, Timeout: o.Timeout, Roots: o.Roots, Transport: o.Transport})}, nil
}

// Close closes the connections that wait.
func (c *Client) Close() { c.http.Close() }

// Caps implements hub.Collector.
func (c *Client) Caps() hub.Caps {
	return hub.Caps{Country: country, Currencies: []string{currency}, Channels: c.o.Channels, NeedsPhone: true, Test: c.o.Test, FirstLook: c.o.FirstLook}
}

var (
	errNoKey   = errors.New("the secret key is empty: set the file or the variable that holds it")
	errTestKey = errors.New("the secret key is a test key and test is off: test numbers would get access for nothing")
	errLiveKey = errors.New("the secret key is a live one and test is on: a test would move money")
	errPublic  = errors.New("the secret key is a public one: the secret ones begin with sprod_ or stest_")
)

// secret is the key as it is now. The kind of a key says whether money moves,
// so one of the wrong kind is never used.
func secret(o Options) (string, error) {
	key := o.Secret()
	switch {
	case key == "":
		return "", errNoKey
	case strings.HasPrefix(key, "pprod_"), strings.HasPrefix(key, "ptest_"), strings.HasPrefix(key, "spub_"):
		return "", errPublic
	case strings.HasPrefix(key, "stest_") && !o.Test:
		return "", errTestKey
	case strings.HasPrefix(key, "sprod_") && o.Test:
		return "", errLiveKey
	}
	return key, nil
}

// where parameters of a call stand.
type where uint8

const (
	inQuery where = iota
	inBody
	asSampled // in the body, or in the query with QueryPosts
)

// call sends one call with the key and reads the object that answers it. An
// answer that cannot be read, or whose status says nothing, is
// hub.ErrAmbiguous.
func (c *Client) call(ctx context.Context, doing, method string, at where, path []string, params url.Values) (provider.Object, string, error) {
	fail := func(err error) (provider.Object, string, error) {
		return provider.Object{}, "", fmt.Errorf("%s at %s: %w", doing, c.o.Name, err)
	}
	key, err := secret(c.o)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", hub.ErrNotSent, err))
	}
	all := url.Values{"apikey": {key}}
	for name, v := range params {
		all[name] = v
	}
	r := provider.Request{Doing: doing, Method: method, URL: provider.Join(c.o.BaseURL, path...), Secrets: []string{key}}
	if at == inBody || at == asSampled && !c.o.QueryPosts {
		r.Form = all
	} else {
		r.Query = all
	}
	a, err := c.http.Do(ctx, r)
	if err != nil {
		return provider.Object{}, "", err
	}
	if err := a.Refused(); err != nil {
		return fail(err)
	}
	in, err := a.Object()
	if err != nil {
		return fail(err)
	}
	return in, a.Raw, nil
}

// unclear is an answer whose code says neither yes nor no.
func (c *Client) unclear(doing, code string) error {
	return fmt.Errorf("%s at %s: %w: the answer has code %q", doing, c.o.Name, hub.ErrAmbiguous, c.words(code))
}

// words are MyPayGa's, for people. It may print what it was called with.
func (c *Client) words(text string) string { return provider.Words(text, c.o.Secret()) }

// rejected is a definitive no of MyPayGa.
func (c *Client) rejected(message string) error { return provider.Rejected(message, c.o.Secret()) }

// number is a phone number as MyPayGa wants it, 074111111. In test mode it is
// passed on as it is: there are test numbers of other countries.
func (c *Client) number(e164 string) (string, error) {
	n, err := phone.Parse(country, "+"+e164)
	switch {
	case err == nil:
		return n.Local(), nil
	case c.o.Test && e164 != "":
		return e164, nil
	}
	return "", provider.Rejected(err.Error())
}

// amount is whole francs.
func amount(m zonegate.Money) (string, error) {
	if m.Currency != currency {
		return "", provider.Rejected("it takes no " + m.Currency)
	}
	text, err := provider.FormatAmount(m)
	if err != nil {
		return "", provider.Rejected("the amount must be more than zero")
	}
	return text, nil
}

// oneOf compares words as people do.
func oneOf(text string, words []string) bool {
	for _, w := range words {
		if strings.EqualFold(strings.TrimSpace(text), strings.TrimSpace(w)) {
			return true
		}
	}
	return false
}

func described(text string) string {
	if text == "" {
		return "WiFi"
	}
	return text
}

const get, post = http.MethodGet, http.MethodPost
