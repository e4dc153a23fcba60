// Package flexpay collects and pays out through FlexPay (DR Congo): mobile
// money by push, in CDF and USD. It asks and reads; what a payment becomes is
// decided in package hub.
//
// FlexPay names a payment by its orderNumber, which only the answer to the
// request for it carries. If that answer is lost, the payment may exist and
// cannot be asked for, until a callback brings the orderNumber beside our
// reference. Callbacks are not signed, so such an orderNumber is something to
// look up and nothing more: what Lookup shows then has the reference, amount
// and currency as FlexPay has them, and hub compares each with its own before
// it believes that the orderNumber is the payment's.
package flexpay

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/provider"
	"zonegate/phone"
)

// country is where FlexPay works.
const country = "CD"

// Options of a Client.
type Options struct {
	// Name is the provider's among the hub's; empty is "flexpay".
	Name string
	// PayURL is where the calls begin, https://host/api/rest/v1. CheckURL and
	// PayoutURL are those of /check and /merchantPayOutService where they have
	// hosts of their own; empty is PayURL.
	PayURL, CheckURL, PayoutURL string
	// Merchant is the merchant's code.
	Merchant string
	// Token returns the bearer token as it is now. It can pay money out.
	Token func() string
	// Currencies are those of the merchant's accounts; none are CDF and USD.
	Currencies []string
	// Channels are what customers can choose. FlexPay is not told which: the
	// push goes to the number. None are one for all mobile money.
	Channels []hub.ChannelCaps
	// Timeout bounds each call; FirstLook is 45 s if it is 0.
	Timeout, FirstLook time.Duration
	// Test says that no money moves: any number is passed on.
	Test bool
	// Plain lets the addresses be http: for a lab.
	Plain bool
	// Roots are the authorities of FlexPay's certificate; nil are the system's.
	Roots *x509.CertPool
	// Transport carries the calls; nil is the network.
	Transport http.RoundTripper
}

// A Client is FlexPay. It is a hub.Collector, hub.Payer and
// hub.CallbackReader, and safe for concurrent use.
type Client struct {
	o    Options
	http *provider.Client
}

var (
	_ hub.Collector      = (*Client)(nil)
	_ hub.Payer          = (*Client)(nil)
	_ hub.CallbackReader = (*Client)(nil)
)

// New checks the options.
func New(o Options) (*Client, error) {
	if o.Name == "" {
		o.Name = "flexpay"
	}
	if o.CheckURL == "" {
		o.CheckURL = o.PayURL
	}
	if o.PayoutURL == "" {
		o.PayoutURL = o.PayURL
	}
	if len(o.Currencies) == 0 {
		o.Currencies = []string{"CDF", "USD"}
	}
	if len(o.Channels) == 0 {
		o.Channels = []hub.ChannelCaps{{ID: "MOBILE_MONEY_CD", Name: "Mobile Money", Flow: hub.FlowPush}}
	}
	if o.FirstLook <= 0 {
		o.FirstLook = 45 * time.Second
	}
	errs := []error{
		provider.CheckURL("pay_url", o.PayURL, o.Plain),
		provider.CheckURL("check_url", o.CheckURL, o.Plain),
		provider.CheckURL("payout_url", o.PayoutURL, o.Plain),
	}
	if o.Merchant == "" {
		errs = append(errs, errors.New("merchant is empty: set the code that FlexPay gave"))
	}
	if o.Token == nil || o.Token() == "" {
		errs = append(errs, errors.New("the token is empty: set the file or the variable that holds it"))
	}
	for _, c := range o.Currencies {
		if c != "CDF" && c != "USD" {
			errs = append(errs, fmt.Errorf("currency %q: FlexPay has CDF and USD", c))
		}
	}
	for _, c := range o.Channels {
		if c.ID == "" || c.Name == "" || c.Flow != hub.FlowPush {
			errs = append(errs, fmt.Errorf("channel %q: give it an id, a name and the flow push; nothing else is documented", c.ID))
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
	return hub.Caps{Country: country, Currencies: c.o.Currencies, Channels: c.o.Channels, NeedsPhone: true, Test: c.o.Test, FirstLook: c.o.FirstLook}
}

// order is the body of both requests that move money. Each field is required;
// numbers go as strings.
type order struct {
	Merchant    string `json:"merchant"`
	Type        string `json:"type"` // 1 is mobile money
	Phone       string `json:"phone"`
	Reference   string `json:"reference"`
	Amount      string `json:"amount"`
	Currency    string `json:"currency"`
	CallbackURL string `json:"callbackUrl"`
}

// order refuses what FlexPay must not be asked. A refusal of ours is as
// definitive as one of FlexPay's: nothing is sent.
func (c *Client) order(reference, number string, amount zonegate.Money, callback string) (order, error) {
	if !c.o.Test {
		n, err := phone.Parse(country, "+"+number)
		if err != nil {
			return order{}, provider.Rejected(err.Error())
		}
		number = n.E164()
	}
	has := false
	for _, currency := range c.o.Currencies {
		has = has || currency == amount.Currency
	}
	text, err := provider.FormatAmount(amount)
	switch {
	case !has:
		return order{}, provider.Rejected("it takes no " + amount.Currency)
	case err != nil:
		return order{}, provider.Rejected("the amount must be more than zero")
	case number == "":
		return order{}, provider.Rejected("there is no phone number")
	case reference == "":
		return order{}, provider.Rejected("there is no reference")
	case callback == "":
		return order{}, provider.Rejected("FlexPay wants a callback address: set the hub's public address")
	}
	return order{c.o.Merchant, "1", number, reference, text, amount.Currency, callback}, nil
}

// call sends one with the token. An empty token sends nothing.
func (c *Client) call(ctx context.Context, r provider.Request) (provider.Answer, error) {
	token := c.o.Token()
	if token == "" {
		return provider.Answer{}, fmt.Errorf("%s at %s: %w: the token is empty", r.Doing, c.o.Name, hub.ErrNotSent)
	}
	r.Header = map[string]string{"Authorization": "Bearer " + token}
	r.Secrets = []string{token}
	return c.http.Do(ctx, r)
}

// accepted is the answer to a request that moves money: its order number and
// words for people. Accepted is not paid.
type accepted struct {
	number, message, raw string
}

// submit sends an order. Errors are as for hub.Collector; soon is as in
// provider.Request.
func (c *Client) submit(ctx context.Context, doing, address string, o order, soon bool) (accepted, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return accepted{}, provider.Rejected("the request cannot be written")
	}
	a, err := c.call(ctx, provider.Request{Doing: doing, Method: http.MethodPost, URL: address, JSON: body, Soon: soon})
	if err != nil {
		return accepted{}, err
	}
	in, err := a.Object()
	if err != nil {
		return accepted{}, fmt.Errorf("%s at %s: %w", doing, c.o.Name, err)
	}
	code, number := in.Text("code"), in.Text("orderNumber", "orderNumer")
	message := provider.Words(in.Text("message", "messsage"), c.o.Token())
	if !goodNumber(number) {
		number = ""
	}
	refused := a.Refused()
	switch {
	case refused == nil && code == "0" && number != "":
		return accepted{number, message, a.Raw}, nil
	case refused == nil && code == "1" && number == "":
		return accepted{}, provider.Rejected(message)
	case refused == nil:
		refused = fmt.Errorf("%w: the answer has code %q", hub.ErrAmbiguous, provider.Words(code))
	}
	refused = fmt.Errorf("%s at %s: %w", doing, c.o.Name, refused)
	if number != "" {
		return accepted{}, &hub.AmbiguousError{ProviderRef: number, Err: refused}
	}
	return accepted{}, refused
}

// goodNumber says that an order number can become a part of a path: callbacks
// are anybody's.
func goodNumber(s string) bool {
	return s != "" && len(s) <= 100 && s != "." && s != ".." && !strings.ContainsAny(s, "/\\%?# ")
}

// Initiate implements hub.Collector by paymentService.
func (c *Client) Initiate(ctx context.Context, charge hub.Charge) (hub.Started, error) {
	known := false
	for _, ch := range c.o.Channels {
		known = known || ch.ID == charge.Channel
	}
	if !known {
		return hub.Started{}, provider.Rejected("it has no channel " + charge.Channel)
	}
	o, err := c.order(charge.Reference, charge.Phone, charge.Amount, charge.CallbackURL)
	if err != nil {
		return hub.Started{}, err
	}
	a, err := c.submit(ctx, "asking for the money", provider.Join(c.o.PayURL, "paymentService"), o, true)
	if err != nil {
		return hub.Started{}, err
	}
	return hub.Started{ProviderRef: a.number, Hint: a.message}, nil
}

// states are what transaction.status means. Any other is pending.
var states = map[string]hub.PaymentState{
	"0": hub.PaymentSucceeded,
	"1": hub.PaymentFailed,
	"2": hub.PaymentPending,
	"3": hub.PaymentRefunding,
	"4": hub.PaymentRefunded,
	"5": hub.PaymentCanceled,
}

// Lookup implements hub.Collector by check. A payment without an order number
// cannot be asked for and is not found.
func (c *Client) Lookup(ctx context.Context, p hub.Payment) (hub.Observation, error) {
	number := strings.TrimSpace(p.ProviderRef)
	if !goodNumber(number) {
		return hub.Observation{State: hub.PaymentPending}, nil
	}
	const doing = "asking what became of a payment"
	a, err := c.call(ctx, provider.Request{Doing: doing, Method: http.MethodGet, URL: provider.Join(c.o.CheckURL, "check", number)})
	if err != nil {
		return hub.Observation{}, err
	}
	seen, err := read(a, number)
	if err != nil {
		return hub.Observation{}, fmt.Errorf("%s at %s: %w", doing, c.o.Name, err)
	}
	return seen, nil
}

// read makes an observation of the answer of check. Its code says whether the
// transaction was found, transaction.status what became of it.
func read(a provider.Answer, number string) (hub.Observation, error) {
	if err := a.Refused(); err != nil {
		return hub.Observation{}, err
	}
	in, err := a.Object()
	if err != nil {
		return hub.Observation{}, err
	}
	t, found := in.Object("transaction")
	code := in.Text("code")
	switch {
	case code == "1" && !in.Has("transaction"):
		return hub.Observation{State: hub.PaymentPending, Reason: provider.Words(in.Text("message", "messsage")), Raw: a.Raw}, nil
	case code != "0" || !found:
		return hub.Observation{}, fmt.Errorf("%w: the answer has code %q", hub.ErrAmbiguous, provider.Words(code))
	}
	if shown := t.Text("orderNumber", "orderNumer"); shown != "" && shown != number {
		return hub.Observation{}, fmt.Errorf("%w: the answer is about another order", hub.ErrAmbiguous)
	}
	status := t.Text("status")
	o := hub.Observation{Found: true, State: hub.PaymentPending, Reference: t.Text("reference"), ProviderRef: number, Channel: t.Text("channel"),
		Reason: provider.Words(in.Text("message", "messsage")), Raw: a.Raw}
	if state, ok := states[status]; ok {
		o.State = state
	} else {
		o.Reason = fmt.Sprintf("unknown status %q", provider.Words(status))
	}
	// Amount is what was asked for; the customer paid the operator's fee on top.
	if o.Amount, err = amount(t, "amount"); err != nil {
		return hub.Observation{}, fmt.Errorf("%w: %w", hub.ErrAmbiguous, err)
	}
	if o.CustomerAmount, err = amount(t, "amountCustomer"); err != nil {
		o.CustomerAmount = zonegate.Money{} // for information
	}
	return o, nil
}

// amount is zero with the currency as it is written if that is not known: hub
// sees that it is another than it asked for.
func amount(t provider.Object, name string) (zonegate.Money, error) {
	currency := provider.Currency(t.Text("currency"), country)
	if _, ok := provider.Exponent(currency); !ok && currency != "" {
		return zonegate.Money{Currency: currency}, nil
	}
	return provider.ParseAmount(t.Text(name), currency)
}

// Payout implements hub.Payer by merchantPayOutService. Accepted is processing:
// the result comes by callback and LookupPayout.
func (c *Client) Payout(ctx context.Context, p hub.PayoutOrder) (hub.PayoutObservation, error) {
	o, err := c.order(p.Reference, p.Phone, p.Amount, p.CallbackURL)
	if err != nil {
		return hub.PayoutObservation{}, err
	}
	a, err := c.submit(ctx, "paying out", provider.Join(c.o.PayoutURL, "merchantPayOutService"), o, false)
	if err != nil {
		return hub.PayoutObservation{}, err
	}
	return hub.PayoutObservation{State: hub.PayoutProcessing, ProviderRef: a.number, Reason: a.message, Raw: a.raw}, nil
}

// LookupPayout implements hub.Payer. No call for it is documented; check may
// know payouts too. So only an answer that names our reference, amount and
// currency decides; anything else is processing.
func (c *Client) LookupPayout(ctx context.Context, p hub.PayoutOrder) (hub.PayoutObservation, error) {
	seen, err := c.Lookup(ctx, hub.Payment{ProviderRef: p.ProviderRef})
	if err != nil {
		return hub.PayoutObservation{}, err
	}
	out := hub.PayoutObservation{State: hub.PayoutProcessing, ProviderRef: seen.ProviderRef, Amount: seen.Amount, Reason: seen.Reason, Raw: seen.Raw}
	switch {
	case !seen.Found:
	case seen.Reference != p.Reference || seen.Amount != p.Amount:
		out.Reason = "check shows another reference or amount"
	case seen.State == hub.PaymentSucceeded:
		out.State, out.Definitive = hub.PayoutCompleted, true
	case seen.State == hub.PaymentFailed, seen.State == hub.PaymentCanceled:
		out.State, out.Definitive = hub.PayoutFailed, true
	}
	return out, nil
}

// ReadCallback implements hub.CallbackReader for the results of payments and of
// payouts. They are not signed, and how they are sent is not documented, so
// any form is read and nothing of it is believed.
func (c *Client) ReadCallback(header, query map[string][]string, body []byte) (hub.Hint, error) {
	in, err := provider.Callback(header, query, body)
	if err != nil {
		return hub.Hint{}, fmt.Errorf("reading a callback of %s: %w", c.o.Name, err)
	}
	h := hub.Hint{Reference: in.Text("reference"), ProviderRef: in.Text("orderNumber", "orderNumer"), Raw: provider.CallbackRaw(query, body, c.o.Token())}
	if !goodNumber(h.ProviderRef) {
		h.ProviderRef = ""
	}
	if h.Reference == "" && h.ProviderRef == "" {
		return hub.Hint{}, fmt.Errorf("reading a callback of %s: it has no reference and no order number", c.o.Name)
	}
	return h, nil
}
