package mypayga

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/provider"
)

// Initiate implements hub.Collector: gethash reserves a token, payment-request
// sends the push. Until the second call nothing was asked of the customer, so
// whatever goes wrong with the first is hub.ErrNotSent or a refusal. From then
// on the token is known: an ambiguous end is a hub.AmbiguousError with it.
func (c *Client) Initiate(ctx context.Context, charge hub.Charge) (hub.Started, error) {
	known := false
	for _, ch := range c.o.Channels {
		known = known || ch.ID == charge.Channel
	}
	if !known {
		return hub.Started{}, provider.Rejected("it has no channel " + charge.Channel)
	}
	if charge.Reference == "" {
		return hub.Started{}, provider.Rejected("there is no reference")
	}
	number, err := c.number(charge.Phone)
	if err != nil {
		return hub.Started{}, err
	}
	francs, err := amount(charge.Amount)
	if err != nil {
		return hub.Started{}, err
	}
	customer := url.Values{"email": {c.o.Email}, "firstname": {c.o.FirstName}, "lastname": {c.o.LastName}, "amount": {francs},
		"description": {described(charge.Description)}}
	token, err := c.reserve(ctx, charge.Reference, number, customer)
	if err != nil {
		return hub.Started{}, err
	}

	const doing = "asking for the money"
	customer.Set("payment_token", token)
	customer.Set("client_phone", number)
	in, _, err := c.call(ctx, doing, post, inBody, []string{"mpayment", "payment-request"}, customer)
	if errors.Is(err, hub.ErrNotSent) {
		return hub.Started{}, err
	}
	if err != nil {
		return hub.Started{}, &hub.AmbiguousError{ProviderRef: token, Err: err}
	}
	message := c.words(in.Text("message"))
	switch code := in.Text("statusRequest", "code", "status"); {
	case code == "400":
		return hub.Started{}, provider.Rejected(message)
	case code != "200":
		return hub.Started{}, &hub.AmbiguousError{ProviderRef: token, Err: c.unclear(doing, code)}
	}
	if shown := in.Text("payment_token"); shown != "" && shown != token {
		return hub.Started{}, &hub.AmbiguousError{ProviderRef: token, Err: errors.New("the answer is about another payment")}
	}
	return hub.Started{ProviderRef: token, Hint: message}, nil
}

// reserve gets a payment_token. It moves nothing, so an answer that is lost or
// unclear is as if it had not been asked for.
func (c *Client) reserve(ctx context.Context, reference, number string, customer url.Values) (string, error) {
	const doing = "reserving a payment token"
	params := url.Values{"uniqueID": {reference}, "phone": {number}}
	for name, v := range customer {
		params[name] = v
	}
	in, _, err := c.call(ctx, doing, post, inBody, []string{"payment", "gethash"}, params)
	if err == nil {
		code, token, back := in.Text("code", "statusRequest", "status"), in.Text("payment_token"), in.Text("uniqueID", "mpga_uniqueId")
		switch {
		case code == "400":
			return "", c.rejected(in.Text("message"))
		case code == "200" && token != "" && (back == "" || back == reference):
			return token, nil
		}
		err = c.unclear(doing, code)
	}
	if errors.Is(err, hub.ErrNotSent) {
		return "", err
	}
	// err says ambiguous, and must not be taken for it.
	return "", fmt.Errorf("%w: %s", hub.ErrNotSent, err.Error())
}

// Lookup implements hub.Collector by paiement-detail, which shows finished
// payments alone: what it does not find is pending.
func (c *Client) Lookup(ctx context.Context, p hub.Payment) (hub.Observation, error) {
	token := strings.TrimSpace(p.ProviderRef)
	if token == "" {
		return hub.Observation{State: hub.PaymentPending}, nil
	}
	const doing = "asking what became of a payment"
	in, raw, err := c.call(ctx, doing, get, inQuery, []string{"payment", "paiement-detail"}, url.Values{"payment_ref": {token}})
	if err != nil {
		return hub.Observation{}, err
	}
	code := in.Text("code", "statusRequest", "status")
	list := in.List("payment")
	if one, ok := in.Object("payment"); ok {
		list = []provider.Object{one}
	}
	switch {
	case len(list) == 0 && (code == "200" || code == "400" || code == "404"):
		return hub.Observation{State: hub.PaymentPending, Reason: c.words(in.Text("message")), Raw: raw}, nil
	case len(list) == 0 || code != "200":
		return hub.Observation{}, c.unclear(doing, code)
	}
	if env := in.Text("environnement"); c.strange(env) {
		return hub.Observation{}, fmt.Errorf("%s at %s: %w: the payment is of environment %q", doing, c.o.Name, hub.ErrAmbiguous, c.words(env))
	}
	var seen hub.Observation
	for _, e := range list {
		if shown := e.Text("payment_token"); shown != "" && !sameToken(shown, token) {
			continue
		}
		o, err := c.observe(e, in)
		if err != nil {
			return hub.Observation{}, fmt.Errorf("%s at %s: %w: %w", doing, c.o.Name, hub.ErrAmbiguous, err)
		}
		if !seen.Found || seen.State != hub.PaymentSucceeded {
			seen = o
		}
	}
	if !seen.Found {
		return hub.Observation{}, fmt.Errorf("%s at %s: %w: the answer is about another payment", doing, c.o.Name, hub.ErrAmbiguous)
	}
	seen.ProviderRef, seen.Raw = token, raw
	return seen, nil
}

// strange is an environment that the keys are not of. production is the only
// word that is documented.
func (c *Client) strange(env string) bool {
	env = strings.ToLower(env)
	if c.o.Test {
		return env == "production"
	}
	return strings.Contains(env, "test") || strings.Contains(env, "sandbox")
}

// sameToken: the samples ask with the beginning of the token that is shown.
func sameToken(a, b string) bool {
	return len(a) >= 8 && len(b) >= 8 && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a)) || a == b
}

// observe reads a payment of paiement-detail. Paid is final_status and
// OrderStatus 200 both; 200 alone can be "found".
func (c *Client) observe(e, answer provider.Object) (hub.Observation, error) {
	o := hub.Observation{Found: true, State: hub.PaymentPending, Fee: e.Text("frais_transaction"), Channel: e.Text("pmt_banque", "paymentMethod"),
		Reason: c.words(e.Text("message_data", "message"))}
	if o.Reference = e.Text("merchand_ref", "uniqueID", "mpga_uniqueId"); o.Reference == "" {
		o.Reference = answer.Text("merchand_ref", "uniqueID", "mpga_uniqueId")
	}
	final := e.Text("final_status")
	if above := answer.Text("final_status"); above != "" && above != final {
		final = ""
	}
	switch {
	case final == "200" && e.Text("OrderStatus") == "200":
		o.State = hub.PaymentSucceeded
	case final == "400":
		o.State = hub.PaymentFailed
	}
	money := currency
	if written := e.Text("currency"); written != "" {
		money = provider.Currency(written, country)
	}
	if money != currency {
		o.Amount = zonegate.Money{Currency: money} // hub sees that it is another
		return o, nil
	}
	var err error
	if o.Amount, err = provider.ParseAmount(e.Text("totalAmount"), money); err != nil && o.State == hub.PaymentSucceeded {
		return hub.Observation{}, err
	}
	return o, nil
}
