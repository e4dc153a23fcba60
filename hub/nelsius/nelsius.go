// Package nelsius pays out through the withdrawals of Nelsius Pay ("module 6",
// Cameroon, XAF): it is a hub.CodePayer. It asks and reads; what becomes of a
// withdrawal is decided in package hub.
//
// Nelsius takes no reference of ours. When the answer to a request is lost, its
// list is searched for a withdrawal of this amount, number, operator and time,
// and the request is never sent again. Until its receiver's code is handed over
// nothing is paid, so one that nobody finds ends by itself.
package nelsius

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/provider"
)

const currency = "XAF"

// douala is the zone of its times, which name none.
var douala = time.FixedZone("UTC+1", 3600)

// Options of a Client.
type Options struct {
	// Name is the provider's among the hub's; empty is "nelsius".
	Name string
	// URL is where the paths begin: https://host/api.
	URL string
	// Email and Password return the account's, as they are now.
	Email, Password func() string
	// Timeout bounds each call.
	Timeout time.Duration
	// Plain lets the address be http: for a lab.
	Plain bool
	// Roots are the authorities of its certificate; nil are the system's.
	Roots *x509.CertPool
}

// A Client is Nelsius. It is safe for concurrent use.
type Client struct {
	o    Options
	http *provider.Client

	mu    sync.Mutex
	token string
}

var _ hub.CodePayer = (*Client)(nil)

// New checks the options.
func New(o Options) (*Client, error) {
	if o.Name == "" {
		o.Name = "nelsius"
	}
	errs := []error{provider.CheckURL("url", o.URL, o.Plain)}
	if o.Email == nil || o.Password == nil || o.Email() == "" || o.Password() == "" {
		errs = append(errs, errors.New("email or password is empty: set the file or the variable that holds it"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("setting up %s: %w", o.Name, err)
	}
	return &Client{o: o, http: provider.NewClient(provider.Options{Name: o.Name, Timeout: o.Timeout, Roots: o.Roots})}, nil
}

// Close closes the connections that wait.
func (c *Client) Close() { c.http.Close() }

// signIn returns a token, and gets one unless there is one that is not old. What fails
// here was never sent.
func (c *Client) signIn(ctx context.Context, old string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" && c.token != old {
		return c.token, nil
	}
	body, err := json.Marshal(map[string]string{"email": c.o.Email(), "password": c.o.Password()})
	if err != nil {
		return "", fmt.Errorf("%w: encoding the sign-in: %w", hub.ErrNotSent, err)
	}
	a, err := c.http.Do(ctx, provider.Request{Doing: "signing in", Method: http.MethodPost, URL: provider.Join(c.o.URL, "auth", "login"),
		JSON: body, Secrets: []string{c.o.Password()}})
	if err != nil {
		return "", fmt.Errorf("%w: %v", hub.ErrNotSent, err)
	}
	o, err := a.Object()
	if err != nil || a.Status != http.StatusOK {
		return "", fmt.Errorf("%w: signing in at %s was answered with status %d", hub.ErrNotSent, c.o.Name, a.Status)
	}
	// The document does not show the answer.
	data, _ := o.Object("data")
	for _, t := range []string{data.Text("token", "access_token"), o.Text("token", "access_token")} {
		if t != "" {
			c.token = t
			return t, nil
		}
	}
	return "", fmt.Errorf("%w: signing in at %s gave no token", hub.ErrNotSent, c.o.Name)
}

// An answer is a body of the envelope.
type answer struct {
	status int
	object provider.Object
	data   provider.Object
	raw    string
}

// ok says that it is a success.
func (a answer) ok() bool {
	return (a.status == http.StatusOK || a.status == http.StatusCreated) && a.object.Exact("success") == "true"
}

// no says that it is a definitive refusal: by its body, since the document has
// several codes for one.
func (a answer) no() bool {
	switch a.status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity:
		return a.object.Exact("success") == "false"
	}
	return false
}

// message is what it says, for people.
func (a answer) message() string {
	text := a.object.Text("message")
	if errs, ok := a.object.Object("errors"); ok {
		for _, field := range []string{"amount", "phone_number", "operator", "code"} {
			if errs.Has(field) {
				text += " (" + field + ")"
			}
		}
	}
	return provider.Words(text)
}

func (a answer) rejected() error { return provider.Rejected(a.message()) }

// call does one call. A token that is not taken any more is replaced once:
// who is not signed in has done nothing.
func (c *Client) call(ctx context.Context, doing, method string, query url.Values, body any, path ...string) (answer, error) {
	r := provider.Request{Doing: doing, Method: method, URL: provider.Join(c.o.URL, path...), Query: query}
	if body != nil {
		var err error
		if r.JSON, err = json.Marshal(body); err != nil {
			return answer{}, fmt.Errorf("%w: encoding a call: %w", hub.ErrNotSent, err)
		}
	}
	old := ""
	for {
		token, err := c.signIn(ctx, old)
		if err != nil {
			return answer{}, err
		}
		r.Header = map[string]string{"Authorization": "Bearer " + token}
		r.Secrets = []string{token, c.o.Password()}
		got, err := c.http.Do(ctx, r)
		if err != nil {
			return answer{}, err
		}
		if got.Status == http.StatusUnauthorized {
			if old != "" {
				return answer{}, fmt.Errorf("%w: %s at %s: a fresh token is not taken", hub.ErrNotSent, doing, c.o.Name)
			}
			old = token
			continue
		}
		o, err := got.Object()
		if err != nil {
			return answer{}, err
		}
		a := answer{status: got.Status, object: o, raw: got.Raw}
		a.data, _ = o.Object("data")
		if a.ok() || a.no() {
			return a, nil
		}
		return answer{}, fmt.Errorf("%w: %s at %s was answered with status %d", hub.ErrAmbiguous, doing, c.o.Name, got.Status)
	}
}

// Payout asks for a withdrawal, of the amount with Nelsius's fee in it: it sends
// the receiver a code, and nothing is paid.
func (c *Client) Payout(ctx context.Context, o hub.PayoutOrder) (hub.PayoutObservation, error) {
	if o.Amount.Currency != currency || o.Amount.Amount <= 0 || o.Amount.Amount > 1<<40 {
		return hub.PayoutObservation{}, provider.Rejected("Nelsius pays whole XAF alone")
	}
	last, err := c.lastID(ctx)
	if err != nil { // nothing was asked for yet
		return hub.PayoutObservation{}, fmt.Errorf("%w: %v", hub.ErrNotSent, err)
	}
	a, err := c.call(ctx, "asking for a withdrawal", http.MethodPost, nil, struct {
		Amount   int64  `json:"amount"`
		Phone    string `json:"phone_number"`
		Operator string `json:"operator"`
	}{o.Amount.Amount, "+" + o.Phone, o.Operator}, "withdrawals", "request")
	switch {
	case errors.Is(err, hub.ErrNotSent):
		return hub.PayoutObservation{}, err
	case err == nil && a.no():
		return hub.PayoutObservation{}, a.rejected()
	case err == nil:
		obs := hub.PayoutObservation{State: hub.PayoutCodeSent, ProviderRef: id(a.data, "withdrawal_id", "id"), Amount: amountOf(a.data), Raw: a.raw}
		if obs.ProviderRef != "" && obs.Amount == o.Amount {
			return obs, nil
		}
		err = fmt.Errorf("%w: the answer does not show the withdrawal that was asked for", hub.ErrAmbiguous)
	}
	// The answer is lost: what has come into the list since is ours.
	found, missing := c.match(ctx, o, last)
	if missing == nil {
		return found, nil
	}
	return hub.PayoutObservation{}, err
}

// Confirm hands over the receiver's code.
func (c *Client) Confirm(ctx context.Context, o hub.PayoutOrder, code string) (hub.PayoutObservation, error) {
	a, err := c.call(ctx, "handing over a code", http.MethodPost, nil, map[string]string{"code": code}, "withdrawals", o.ProviderRef, "validate")
	if err != nil {
		return hub.PayoutObservation{}, err
	}
	if a.ok() {
		obs := observation(a)
		if obs.State == hub.PayoutCodeSent || obs.State == "" {
			return hub.PayoutObservation{}, fmt.Errorf("%w: the code was taken, and it still waits for one", hub.ErrAmbiguous)
		}
		return obs, nil
	}
	// A no can also mean that the code was handed over before.
	now, err := c.LookupPayout(ctx, o)
	switch {
	case err != nil:
		return hub.PayoutObservation{}, fmt.Errorf("%w: the code was refused, and the withdrawal cannot be looked at: %v", hub.ErrAmbiguous, err)
	case now.State == hub.PayoutProcessing || now.State == hub.PayoutCompleted:
		return now, nil
	case now.State != hub.PayoutCodeSent || strings.Contains(strings.ToLower(a.message()), "expir"):
		return hub.PayoutObservation{}, hub.ErrExpired
	}
	return hub.PayoutObservation{}, a.rejected()
}

// Resend has a new code sent.
func (c *Client) Resend(ctx context.Context, o hub.PayoutOrder) (time.Time, error) {
	a, err := c.call(ctx, "asking for a new code", http.MethodPost, nil, struct{}{}, "withdrawals", o.ProviderRef, "resend-code")
	if err != nil {
		return time.Time{}, err
	}
	if a.no() {
		return time.Time{}, a.rejected()
	}
	return timeOf(a.data, "code_expires_at"), nil
}

// Cancel ends a withdrawal whose code was not entered. It is nil once it is
// canceled or out of date.
func (c *Client) Cancel(ctx context.Context, o hub.PayoutOrder) error {
	a, err := c.call(ctx, "canceling a withdrawal", http.MethodPost, nil, struct{}{}, "withdrawals", o.ProviderRef, "cancel")
	if err != nil || a.ok() {
		return err
	}
	now, err := c.LookupPayout(ctx, o)
	if err == nil && (now.State == hub.PayoutCanceled || now.State == hub.PayoutExpired) {
		return nil
	}
	return errors.Join(a.rejected(), err)
}

// LookupPayout shows a withdrawal, or without its id looks for it in the list:
// hub.ErrNotFound if there is none.
func (c *Client) LookupPayout(ctx context.Context, o hub.PayoutOrder) (hub.PayoutObservation, error) {
	if o.ProviderRef == "" {
		return c.match(ctx, o, 0)
	}
	a, err := c.call(ctx, "looking at a withdrawal", http.MethodGet, nil, nil, "withdrawals", o.ProviderRef)
	if err != nil {
		return hub.PayoutObservation{}, err
	}
	if a.status == http.StatusNotFound {
		return hub.PayoutObservation{}, hub.ErrNotFound
	}
	if a.no() {
		return hub.PayoutObservation{}, fmt.Errorf("%w: looking at a withdrawal: %s", hub.ErrAmbiguous, a.message())
	}
	obs := observation(a)
	if obs.ProviderRef != o.ProviderRef || phoneOf(a.data) != o.Phone {
		return hub.PayoutObservation{}, fmt.Errorf("%w: %s shows another withdrawal than the one that was asked about", hub.ErrAmbiguous, c.o.Name)
	}
	return obs, nil
}

// states of the document.
var states = map[string]struct {
	state      hub.PayoutState
	definitive bool
}{
	"pending_verification": {hub.PayoutCodeSent, false},
	"pending_processing":   {hub.PayoutProcessing, false},
	"processing":           {hub.PayoutProcessing, false},
	"completed":            {hub.PayoutCompleted, true},
	"failed":               {hub.PayoutFailed, true},
	"cancelled":            {hub.PayoutCanceled, true},
	"expired":              {hub.PayoutExpired, true},
	"reversed":             {hub.PayoutReversed, true},
}

// observation is what an answer shows; a status that is not known says nothing.
func observation(a answer) hub.PayoutObservation { return observed(a.data, a.raw) }

func observed(data provider.Object, raw string) hub.PayoutObservation {
	s := states[data.Text("status")]
	return hub.PayoutObservation{State: s.state, Definitive: s.definitive, ProviderRef: id(data, "id", "withdrawal_id"), Amount: amountOf(data),
		Reason: provider.Words(data.Text("failure_reason", "reason")), Raw: raw}
}

// id is a number of theirs, or "".
func id(data provider.Object, names ...string) string {
	for _, name := range names {
		if n, err := strconv.ParseInt(data.Text(name), 10, 64); err == nil && n > 0 {
			return strconv.FormatInt(n, 10)
		}
	}
	return ""
}

func amountOf(data provider.Object) zonegate.Money {
	m, err := provider.ParseAmount(data.Text("amount"), currency)
	if err != nil {
		return zonegate.Money{}
	}
	return m
}

func phoneOf(data provider.Object) string {
	return strings.TrimPrefix(data.Text("phone_number"), "+")
}

func timeOf(data provider.Object, name string) time.Time {
	t, err := time.ParseInLocation(time.DateTime, data.Text(name), douala)
	if err != nil {
		return time.Time{}
	}
	return t
}
