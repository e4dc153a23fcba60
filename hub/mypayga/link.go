package mypayga

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"zonegate/hub"
	"zonegate/hub/provider"
)

// Fees are rates as MyPayGa writes them: 0.0175 is 1.75 %. They are to be read
// by people, and never decide what a customer gets.
type Fees struct {
	Merchant, Standard, Platform, Bank string
	// Source is who pays them: merchant, ...
	Source string
}

// Fees asks for the rates of an operator (AM is Airtel Money) by getFees.
func (c *Client) Fees(ctx context.Context, operator string) (Fees, error) {
	const doing = "asking for the fees"
	in, _, err := c.call(ctx, doing, get, inQuery, []string{"mpayment", "getFees"}, url.Values{"ope": {operator}, "country": {country}})
	if err != nil {
		return Fees{}, err
	}
	f, found := in.Object("fees")
	if err := c.yes(doing, in); err != nil || !found {
		return Fees{}, orUnclear(err, c, doing)
	}
	return Fees{Merchant: f.Text("merchand_custom_fees"), Standard: f.Text("standard_fees"), Platform: f.Text("platform_fees"), Bank: f.Text("bank_fees"),
		Source: f.Text("fees_source")}, nil
}

// yes is nil for a 200, a refusal for a 400.
func (c *Client) yes(doing string, in provider.Object) error {
	switch code := in.Text("statusRequest", "code", "status"); code {
	case "200":
		return nil
	case "400":
		return c.rejected(in.Text("message"))
	default:
		return c.unclear(doing, code)
	}
}

func orUnclear(err error, c *Client, doing string) error {
	if err == nil {
		err = c.unclear(doing, "")
	}
	return err
}

// A Link is a page of MyPayGa's that takes one payment.
type Link struct {
	Ref, URL string
	// Expired links take no more money. Paid is what the link's page claims;
	// paid is what Lookup shows.
	Expired, Paid bool
}

// GenerateLink makes a Link for an amount.
func (c *Client) GenerateLink(ctx context.Context, charge hub.Charge) (Link, error) {
	number, err := c.number(charge.Phone)
	if err != nil {
		return Link{}, err
	}
	francs, err := amount(charge.Amount)
	if err != nil {
		return Link{}, err
	}
	const doing = "making a link"
	in, _, err := c.call(ctx, doing, post, asSampled, []string{"payment", "generateLink"}, url.Values{"firstname": {c.o.FirstName}, "lastname": {c.o.LastName},
		"email": {c.o.Email}, "phone": {number}, "amount": {francs}, "description": {described(charge.Description)}})
	if err != nil {
		return Link{}, err
	}
	if err := c.yes(doing, in); err != nil {
		return Link{}, err
	}
	return c.link(doing, in)
}

// GetLink shows one. Its answer has no code: a link is a yes.
func (c *Client) GetLink(ctx context.Context, ref string) (Link, error) {
	const doing = "asking for a link"
	if err := goodRef(ref); err != nil {
		return Link{}, err
	}
	in, _, err := c.call(ctx, doing, post, inQuery, []string{"payment", "getLink", ref}, nil)
	if err != nil {
		return Link{}, err
	}
	if in.Text("code", "statusRequest", "status") == "400" {
		return Link{}, c.rejected(in.Text("message"))
	}
	return c.link(doing, in)
}

// CancelLink has one expire. It may be called again.
func (c *Client) CancelLink(ctx context.Context, ref string) error {
	const doing = "canceling a link"
	if err := goodRef(ref); err != nil {
		return err
	}
	in, _, err := c.call(ctx, doing, get, inQuery, append(strings.Split(strings.Trim(c.o.LinkCancelPath, "/"), "/"), ref), nil)
	if err != nil {
		return err
	}
	return c.yes(doing, in)
}

func goodRef(ref string) error {
	if ref == "" || ref == "." || ref == ".." {
		return provider.Rejected("there is no such link")
	}
	return nil
}

// link reads the page's address, which the customer's browser will open: it
// must be a web address.
func (c *Client) link(doing string, in provider.Object) (Link, error) {
	l, found := in.Object("link")
	out := Link{Ref: l.Text("order_ref", "ref"), URL: l.Text("url"), Expired: l.Text("expired") == "1",
		Paid: l.Text("paid") == "1" || l.Text("final_status") == "200"}
	if !found || out.Ref == "" || !strings.HasPrefix(out.URL, "https://") && !(c.o.Plain && strings.HasPrefix(out.URL, "http://")) {
		return Link{}, fmt.Errorf("%s at %s: %w: the answer has no link", doing, c.o.Name, hub.ErrAmbiguous)
	}
	return out, nil
}

// A CardForm is what a browser posts to the bank's page. Its key is the public
// one.
type CardForm struct {
	URL    string
	Fields url.Values
}

// CardForm reserves a payment and returns its form and token. Cards are not
// among the channels: 3-D Secure goes to any bank's host, which a customer who
// is not online yet cannot reach.
func (c *Client) CardForm(ctx context.Context, charge hub.Charge) (form CardForm, token string, err error) {
	if c.o.Public == nil || c.o.Public() == "" {
		return CardForm{}, "", fmt.Errorf("%w: %s has no public key, which cards need", hub.ErrUnsupported, c.o.Name)
	}
	number, err := c.number(charge.Phone)
	if err != nil {
		return CardForm{}, "", err
	}
	francs, err := amount(charge.Amount)
	if err != nil {
		return CardForm{}, "", err
	}
	token, err = c.reserve(ctx, charge.Reference, number, url.Values{"email": {c.o.Email}, "firstname": {c.o.FirstName}, "lastname": {c.o.LastName},
		"amount": {francs}, "description": {described(charge.Description)}})
	if err != nil {
		return CardForm{}, "", err
	}
	return CardForm{c.o.CardURL, url.Values{"payment_token": {token}, "apikey": {c.o.Public()}}}, token, nil
}
