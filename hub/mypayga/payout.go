package mypayga

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"zonegate/hub"
	"zonegate/hub/provider"
)

// Payout implements hub.Payer by sendClientTransfert. It has no reference of
// ours, so it is never repeated, and an answer that is lost stays ambiguous
// until a person has looked at the account.
func (c *Client) Payout(ctx context.Context, p hub.PayoutOrder) (hub.PayoutObservation, error) {
	number, err := c.number(p.Phone)
	if err != nil {
		return hub.PayoutObservation{}, err
	}
	francs, err := amount(p.Amount)
	if err != nil {
		return hub.PayoutObservation{}, err
	}
	const doing = "paying out"
	in, raw, err := c.call(ctx, doing, post, asSampled, []string{"mpayment", "sendClientTransfert"},
		url.Values{"amount": {francs}, "receiver_phone": {number}, "country": {country}, "type_clt": {"client"}})
	if err != nil {
		return hub.PayoutObservation{}, err
	}
	t, _ := in.Object("transfert")
	code, id := in.Text("statusRequest", "code", "status"), t.Text("transfert_id")
	switch {
	case code == "400" && id == "":
		return hub.PayoutObservation{}, c.rejected(in.Text("message"))
	case code != "200" && id != "":
		return hub.PayoutObservation{}, &hub.AmbiguousError{ProviderRef: id, Err: c.unclear(doing, code)}
	case code != "200":
		return hub.PayoutObservation{}, c.unclear(doing, code)
	case id == "":
		return hub.PayoutObservation{}, fmt.Errorf("%s at %s: %w: the answer has no transfert_id", doing, c.o.Name, hub.ErrAmbiguous)
	}
	return hub.PayoutObservation{State: hub.PayoutProcessing, ProviderRef: id, Reason: c.words(in.Text("message")), Raw: raw}, nil
}

var errNoTransfer = errors.New("the transfert_id is not known: look at the account's transfers")

// LookupPayout implements hub.Payer by getClientTransfert. Its 200 is "found";
// how it ended is a text, and one that is not configured leaves it open.
func (c *Client) LookupPayout(ctx context.Context, p hub.PayoutOrder) (hub.PayoutObservation, error) {
	out := hub.PayoutObservation{State: hub.PayoutProcessing, ProviderRef: p.ProviderRef}
	if p.ProviderRef == "" {
		out.Reason = errNoTransfer.Error()
		return out, nil
	}
	const doing = "asking what became of a transfer"
	in, raw, err := c.call(ctx, doing, get, inQuery, []string{"mpayment", "getClientTransfert"}, url.Values{"trans_ref": {p.ProviderRef}})
	if err != nil {
		return hub.PayoutObservation{}, err
	}
	out.Raw = raw
	code, list := in.Text("status", "statusRequest", "code"), in.List("data")
	switch {
	case code == "400" || code == "200" && len(list) == 0:
		out.Reason = c.words(in.Text("message"))
		return out, nil
	case code != "200":
		return hub.PayoutObservation{}, c.unclear(doing, code)
	case len(list) > 1:
		out.Reason = "more than one transfer is shown"
		return out, nil
	}
	e := list[0]
	text := e.Text("statut_demande")
	out.Reason = c.words(text)
	paid, err := provider.ParseAmount(e.Text("montant_demande"), currency)
	if err != nil {
		out.Reason = "the amount cannot be read: " + out.Reason
		return out, nil
	}
	out.Amount = paid
	number, err := c.number(p.Phone)
	shown := e.Text("numero_de_compte")
	switch {
	case err != nil || paid != p.Amount || shown != number && shown != p.Phone:
		out.Reason = "another amount or number is shown: " + out.Reason
	case oneOf(text, c.o.PayoutDone):
		out.State, out.Definitive = hub.PayoutCompleted, true
	case oneOf(text, c.o.PayoutFailed):
		out.State, out.Definitive = hub.PayoutFailed, true
	}
	return out, nil
}

// CreateRefund implements hub.Refunder by refund/create: it makes a refund and
// sends nothing.
func (c *Client) CreateRefund(ctx context.Context, r hub.RefundOrder) (hub.RefundObservation, error) {
	francs, err := amount(r.Amount)
	if err != nil {
		return hub.RefundObservation{}, err
	}
	if r.Payment.ProviderRef == "" {
		return hub.RefundObservation{}, provider.Rejected("the payment has no payment_token")
	}
	const doing = "making a refund"
	in, raw, err := c.call(ctx, doing, post, asSampled, []string{"refund", "create"},
		url.Values{"payment_token": {r.Payment.ProviderRef}, "amount": {francs}, "description": {described(r.Reason)}})
	if err != nil {
		return hub.RefundObservation{}, err
	}
	code, id := in.Text("statusRequest", "code", "status"), in.Text("refundId", "refund_id", "refId")
	switch {
	case code == "400" && id == "":
		return hub.RefundObservation{}, c.rejected(in.Text("message"))
	case code != "200" || id == "":
		return hub.RefundObservation{}, c.unclear(doing, code)
	}
	return hub.RefundObservation{State: hub.PaymentRefunding, Handle: id, Reason: c.words(in.Text("message")), Raw: raw}, nil
}

// SendRefund implements hub.Refunder by refund/send. A yes is not the end:
// refunds wait for somebody's approval. The document's own sample cannot be
// read as JSON; such an answer is ambiguous.
func (c *Client) SendRefund(ctx context.Context, r hub.RefundOrder) (hub.RefundObservation, error) {
	if r.Handle == "" {
		return hub.RefundObservation{}, provider.Rejected("the refund was not made yet")
	}
	const doing = "sending a refund"
	in, raw, err := c.call(ctx, doing, post, asSampled, []string{"refund", "send"}, url.Values{"refund_id": {r.Handle}})
	if err != nil {
		return hub.RefundObservation{}, err
	}
	code, id := in.Text("RefundStatus", "statusRequest", "code"), in.Text("refund_id", "refundId", "refId")
	switch {
	case id != "" && id != r.Handle:
		return hub.RefundObservation{}, fmt.Errorf("%s at %s: %w: the answer is about another refund", doing, c.o.Name, hub.ErrAmbiguous)
	case code == "400":
		return hub.RefundObservation{}, c.rejected(in.Text("message"))
	case code != "200":
		return hub.RefundObservation{}, c.unclear(doing, code)
	}
	return hub.RefundObservation{State: hub.PaymentRefunding, Handle: r.Handle, Reason: c.words(in.Text("message")), Raw: raw}, nil
}

// LookupRefund implements hub.Refunder by refund/infos. Its 200 comes with
// "waiting for validation" too, so money is gone only if the words are those
// that are configured.
func (c *Client) LookupRefund(ctx context.Context, r hub.RefundOrder) (hub.RefundObservation, error) {
	out := hub.RefundObservation{State: hub.PaymentRefunding, Handle: r.Handle}
	if r.Handle == "" {
		out.Reason = "the refund's id is not known: look at the account's refunds"
		return out, nil
	}
	method, at := get, inQuery
	if c.o.RefundInfosPOST {
		method, at = post, inBody
	}
	const doing = "asking what became of a refund"
	in, raw, err := c.call(ctx, doing, method, at, []string{"refund", "infos"}, url.Values{"refId": {r.Handle}})
	if err != nil {
		return hub.RefundObservation{}, err
	}
	out.Raw = raw
	code := in.Text("statusRequest", "code")
	f, found := in.Object("refund")
	switch {
	case code == "400" || code == "200" && !found:
		out.Reason = c.words(in.Text("message"))
		return out, nil
	case code != "200":
		return hub.RefundObservation{}, c.unclear(doing, code)
	}
	text := f.Text("message")
	out.Reason = c.words(text)
	back, err := provider.ParseAmount(f.Text("amount"), currency)
	id := f.Text("refundId", "refund_id", "refId")
	switch {
	case err != nil || back != r.Amount || id != "" && id != r.Handle:
		out.Reason = strings.TrimSpace("another refund or amount is shown: " + out.Reason)
	case f.Text("status") == "400":
		out.State, out.Definitive = hub.PaymentSucceeded, true
	case f.Text("status") == "200" && oneOf(text, c.o.RefundDone):
		out.State, out.Definitive = hub.PaymentRefunded, true
	}
	return out, nil
}
