// Package kkiapay collects through KKiaPay's own page (Benin, XOF) and gives
// payments back. It asks and reads; what a payment becomes is decided in
// package hub.
//
// A payment begins without a call: the page's address is made here, with our
// reference among the data that KKiaPay hands back. The transaction exists only
// after the customer acts, and its id comes with the webhook, or with the
// browser that is sent back. Until then the payment cannot be looked up and is
// pending. The webhook is tried for a few seconds and never again; its secret
// says who is talking and nothing about what is said, so the transaction is
// looked up, and its own data say which payment it is.
package kkiapay

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"zonegate/hub"
	"zonegate/hub/provider"
	"zonegate/phone"
)

const (
	country  = "BJ"
	currency = "XOF"

	liveHost = "api.kkiapay.me"
)

// Options of a Client.
type Options struct {
	// Name is the provider's among the hub's; empty is "kkiapay".
	Name string
	// BaseURL is https://api.kkiapay.me, or https://api-sandbox.kkiapay.me for
	// tests. WidgetURL is the page; empty is https://widget-v3.kkiapay.me.
	BaseURL, WidgetURL string
	// Public, Private and Secret return the keys as they are now. Only the
	// public one leaves the hub.
	Public, Private, Secret func() string
	// WebhookSecret returns what x-kkiapay-secret must be. With WebhookHMAC it is
	// the key of a hex HMAC-SHA256 of the body instead: both are seen.
	WebhookSecret func() string
	WebhookHMAC   bool
	// Test is the sandbox: no money moves.
	Test bool
	// Channels are what customers can choose; none are one for the page, where
	// they choose the operator.
	Channels []hub.ChannelCaps
	// Hosts are what a browser must reach to pay; none are those of KKiaPay that
	// are known. That of WidgetURL is always among them.
	Hosts []string
	// Timeout bounds each call; FirstLook is 25 s if it is 0.
	Timeout, FirstLook time.Duration
	// Plain lets the addresses be http: for a lab.
	Plain bool
	// Roots are the authorities of KKiaPay's certificate; nil are the system's.
	Roots *x509.CertPool
	// Transport carries the calls; nil is the network.
	Transport http.RoundTripper
}

// A Client is KKiaPay. It is a hub.Collector, hub.Refunder and
// hub.CallbackReader, and safe for concurrent use.
type Client struct {
	o    Options
	http *provider.Client
}

var (
	_ hub.Collector      = (*Client)(nil)
	_ hub.Refunder       = (*Client)(nil)
	_ hub.CallbackReader = (*Client)(nil)
)

// New checks the options.
func New(o Options) (*Client, error) {
	if o.Name == "" {
		o.Name = "kkiapay"
	}
	if o.WidgetURL == "" {
		o.WidgetURL = "https://widget-v3.kkiapay.me"
	}
	if len(o.Channels) == 0 {
		o.Channels = []hub.ChannelCaps{{ID: "KKIAPAY", Name: "Mobile Money (KKiaPay)", Flow: hub.FlowRedirect}}
	}
	if o.FirstLook <= 0 {
		o.FirstLook = 25 * time.Second
	}
	errs := []error{provider.CheckURL("base_url", o.BaseURL, o.Plain), provider.CheckURL("widget_url", o.WidgetURL, o.Plain)}
	for _, k := range []struct {
		name string
		key  func() string
	}{{"public key", o.Public}, {"private key", o.Private}, {"secret key", o.Secret}, {"webhook secret", o.WebhookSecret}} {
		if k.key == nil || k.key() == "" {
			errs = append(errs, fmt.Errorf("the %s is empty: set the file or the variable that holds it", k.name))
		}
	}
	// A hub that takes the sandbox's word for a live payment sells for nothing.
	switch host := hostOf(o.BaseURL); {
	case !o.Test && strings.Contains(host, "sandbox"):
		errs = append(errs, errors.New("base_url is the sandbox and test is off: test payments would get access for nothing"))
	case o.Test && host == liveHost:
		errs = append(errs, errors.New("base_url is the live one and test is on: a test would move money"))
	}
	for _, c := range o.Channels {
		if c.ID == "" || c.Name == "" || c.Flow != hub.FlowRedirect {
			errs = append(errs, fmt.Errorf("channel %q: give it an id, a name and the flow redirect", c.ID))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("setting up %s: %w", o.Name, err)
	}
	if len(o.Hosts) == 0 {
		o.Hosts = []string{"kkiapay.me", "cdn.kkiapay.me", "widget.kkiapay.me", "redirect.kkiapay.me", hostOf(o.BaseURL)}
	}
	o.Hosts = append([]string{hostOf(o.WidgetURL)}, o.Hosts...)
	return &Client{o, provider.NewClient(provider.Options{Name: o.Name, Timeout: o.Timeout, Roots: o.Roots, Transport: o.Transport})}, nil
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// Close closes the connections that wait.
func (c *Client) Close() { c.http.Close() }

// Caps implements hub.Collector. Hosts are measured by nobody yet: see what a
// page really loads before a zone relies on them.
func (c *Client) Caps() hub.Caps {
	return hub.Caps{Country: country, Currencies: []string{currency}, Channels: c.o.Channels, Test: c.o.Test, FirstLook: c.o.FirstLook, Hosts: c.o.Hosts}
}

// A widget is what the page is asked to do: JSON in base64 is its whole query.
type widget struct {
	Service  string   `json:"serviceId"`
	Amount   int64    `json:"amount"`
	Key      string   `json:"key"`
	Sandbox  bool     `json:"sandbox"`
	Data     string   `json:"data"`
	Partner  string   `json:"partnerId"`
	Methods  []string `json:"paymentMethods"`
	Reason   string   `json:"reason,omitempty"`
	Phone    string   `json:"phoneNumber,omitempty"`
	Callback string   `json:"callback,omitempty"`
}

// Initiate implements hub.Collector. It calls nobody: the address of the page
// is all there is, and money is asked for when the customer opens it.
func (c *Client) Initiate(_ context.Context, charge hub.Charge) (hub.Started, error) {
	known := false
	for _, ch := range c.o.Channels {
		known = known || ch.ID == charge.Channel
	}
	switch {
	case !known:
		return hub.Started{}, provider.Rejected("it has no channel " + charge.Channel)
	case charge.Amount.Currency != currency:
		return hub.Started{}, provider.Rejected("it takes no " + charge.Amount.Currency)
	case charge.Amount.Amount <= 0:
		return hub.Started{}, provider.Rejected("the amount must be more than zero")
	case charge.Reference == "":
		return hub.Started{}, provider.Rejected("there is no reference")
	}
	key := c.o.Public()
	if key == "" {
		return hub.Started{}, fmt.Errorf("starting a payment at %s: %w: the public key is empty", c.o.Name, hub.ErrNotSent)
	}
	data, err := json.Marshal(struct {
		Reference string `json:"reference"`
	}{charge.Reference})
	if err != nil {
		return hub.Started{}, provider.Rejected("the reference cannot be written")
	}
	w := widget{Service: "INTEGRATION", Amount: charge.Amount.Amount, Key: key, Sandbox: c.o.Test, Data: string(data), Partner: charge.Reference,
		Methods: []string{"momo"}, Reason: charge.Description}
	if charge.Phone != "" {
		w.Phone = charge.Phone
		if n, err := phone.FromE164(charge.Phone); err == nil {
			w.Phone = n.Local()
		}
	}
	if charge.ReturnURL != "" {
		u, err := url.Parse(charge.ReturnURL)
		if err != nil {
			return hub.Started{}, provider.Rejected("the return address is no URL")
		}
		q := u.Query()
		q.Set("reference", charge.Reference)
		u.RawQuery = q.Encode()
		w.Callback = u.String()
	}
	text, err := json.Marshal(w)
	if err != nil {
		return hub.Started{}, provider.Rejected("the page's address cannot be written")
	}
	return hub.Started{URL: strings.TrimRight(c.o.WidgetURL, "/") + "/?" + base64.StdEncoding.EncodeToString(text)}, nil
}

// Words of errors, which stand in one field or another.
var refusals = []string{"TRANSACTION_NOT_FOUND", "INVALID_TRANSACTION", "INVALID_TRANSACTION_TYPE", "TRANSACTION_NOT_ELIGIBLE", "INSUFFICIENT_FUND",
	"INVALID_PAYOUT_DESTINATION_ACCOUNT"}

// word is the error that an answer is; empty if it is none.
func word(in provider.Object) string {
	for _, name := range []string{"status", "code", "error", "reason", "message"} {
		text := strings.ToUpper(in.Text(name))
		for _, w := range refusals {
			if text == w {
				return w
			}
		}
	}
	return ""
}

// call sends a server call about a transaction. refusal is an error's word that
// is definitive.
func (c *Client) call(ctx context.Context, doing, what, id string) (in provider.Object, raw, refusal string, err error) {
	fail := func(err error) (provider.Object, string, string, error) {
		return provider.Object{}, "", "", fmt.Errorf("%s at %s: %w", doing, c.o.Name, err)
	}
	keys := []string{c.o.Public(), c.o.Private(), c.o.Secret()}
	for _, key := range keys {
		if key == "" {
			return fail(fmt.Errorf("%w: a key is empty", hub.ErrNotSent))
		}
	}
	body, err := json.Marshal(struct {
		ID string `json:"transactionId"`
	}{id})
	if err != nil {
		return fail(fmt.Errorf("%w: the request cannot be written", hub.ErrNotSent))
	}
	a, err := c.http.Do(ctx, provider.Request{Doing: doing, Method: http.MethodPost, URL: provider.Join(c.o.BaseURL, "api", "v1", "transactions", what), JSON: body,
		Header: map[string]string{"X-API-KEY": keys[0], "X-PRIVATE-KEY": keys[1], "X-SECRET-KEY": keys[2]}, Secrets: keys})
	if err != nil {
		return provider.Object{}, "", "", err
	}
	refused := a.Refused()
	in, err = a.Object()
	switch {
	case err != nil && refused != nil:
		return fail(refused)
	case err != nil:
		return fail(err)
	}
	// 403 can be "not your transaction", which says something.
	if w := word(in); w != "" && a.Status >= 400 && (refused == nil || a.Status == http.StatusForbidden) {
		return in, a.Raw, w, nil
	}
	switch {
	case refused != nil:
		return fail(refused)
	case a.Status >= 300:
		return fail(fmt.Errorf("%w: it answered with status %d", hub.ErrAmbiguous, a.Status))
	}
	return in, a.Raw, "", nil
}

// words are KKiaPay's, for people.
func (c *Client) words(text string) string {
	return provider.Words(text, c.o.Public(), c.o.Private(), c.o.Secret())
}

// Lookup implements hub.Collector. It finds what may be, or has been, paid: a
// transaction that failed is not the end of the payment, because the page lets
// the customer try again, and each attempt is a transaction with an id of its
// own. So a failed one is not found, with its reason, and the payment goes on
// waiting for another.
func (c *Client) Lookup(ctx context.Context, p hub.Payment) (hub.Observation, error) {
	id := strings.TrimSpace(p.ProviderRef)
	if id == "" {
		return hub.Observation{State: hub.PaymentPending}, nil
	}
	const doing = "asking what became of a payment"
	in, raw, refusal, err := c.call(ctx, doing, "status", id)
	if err != nil {
		return hub.Observation{}, err
	}
	if refusal != "" {
		return hub.Observation{State: hub.PaymentPending, Reason: refusal, Raw: raw}, nil
	}
	seen, err := c.observe(in, id)
	if err != nil {
		return hub.Observation{}, fmt.Errorf("%s at %s: %w: %w", doing, c.o.Name, hub.ErrAmbiguous, err)
	}
	seen.Raw = raw
	return seen, nil
}

var (
	errAnother = errors.New("the answer is about another transaction")
	errNoDebit = errors.New("the transaction is no payment of a customer's")
	errNoState = errors.New("the answer has no status")
)

func (c *Client) observe(in provider.Object, id string) (hub.Observation, error) {
	status := strings.ToUpper(in.Text("status"))
	kind := strings.ToUpper(in.Text("type"))
	shown := in.Text("transactionId", "transaction_id")
	switch {
	case status == "":
		return hub.Observation{}, errNoState
	case shown != "" && shown != id:
		return hub.Observation{}, errAnother
	case kind != "" && kind != "DEBIT":
		return hub.Observation{}, errNoDebit
	}
	o := hub.Observation{Found: true, State: hub.PaymentPending, Reference: referenceIn(in), ProviderRef: id, Fee: in.Text("fees"),
		Channel: in.Text("source_common_name", "source", "method"), Reason: c.words(in.Text("failureMessage", "reason", "failureCode"))}
	switch status {
	case "SUCCESS":
		o.State = hub.PaymentSucceeded
	case "REVERTED":
		o.State = hub.PaymentRefunded
	case "FAILED":
		o.Found = false
	}
	o.Amount.Currency = currency
	if written := in.Text("currency"); written != "" {
		o.Amount.Currency = provider.Currency(written, country)
	}
	if o.Amount.Currency != currency {
		return o, nil // hub sees that it is another
	}
	amount, err := provider.ParseAmount(in.Text("amount"), currency)
	if err != nil && o.State == hub.PaymentSucceeded {
		return hub.Observation{}, err
	}
	o.Amount = amount
	return o, nil
}

// CreateRefund implements hub.Refunder by revert, which gives the whole of a
// transaction back, in one step. KKiaPay's own plug-in has stopped using it: a
// yes is not the end, LookupRefund is.
func (c *Client) CreateRefund(ctx context.Context, r hub.RefundOrder) (hub.RefundObservation, error) {
	id := strings.TrimSpace(r.Payment.ProviderRef)
	switch {
	case id == "":
		return hub.RefundObservation{}, provider.Rejected("the transaction's id is not known")
	case r.Amount != r.Payment.Paid:
		return hub.RefundObservation{}, provider.Rejected("KKiaPay gives back whole transactions alone")
	}
	const doing = "giving a payment back"
	in, raw, refusal, err := c.call(ctx, doing, "revert", id)
	if err != nil {
		return hub.RefundObservation{}, err
	}
	if refusal != "" {
		return hub.RefundObservation{}, provider.Rejected(refusal)
	}
	if shown := in.Text("transactionId", "transaction_id"); shown != "" && shown != id {
		return hub.RefundObservation{}, fmt.Errorf("%s at %s: %w: %w", doing, c.o.Name, hub.ErrAmbiguous, errAnother)
	}
	return hub.RefundObservation{State: hub.PaymentRefunding, Reason: c.words(in.Text("message", "status")), Raw: raw}, nil
}

// SendRefund implements hub.Refunder: there is no second step.
func (c *Client) SendRefund(context.Context, hub.RefundOrder) (hub.RefundObservation, error) {
	return hub.RefundObservation{}, hub.ErrUnsupported
}

// LookupRefund implements hub.Refunder: the money is back when the transaction
// is REVERTED.
func (c *Client) LookupRefund(ctx context.Context, r hub.RefundOrder) (hub.RefundObservation, error) {
	seen, err := c.Lookup(ctx, r.Payment)
	if err != nil {
		return hub.RefundObservation{}, err
	}
	out := hub.RefundObservation{State: hub.PaymentRefunding, Reason: seen.Reason, Raw: seen.Raw}
	if seen.State == hub.PaymentRefunded {
		out.State, out.Definitive = hub.PaymentRefunded, true
	}
	return out, nil
}
