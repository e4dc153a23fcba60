package central

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"zonegate"
	"zonegate/sync/api"
)

// ErrAway is a question that only the hub can answer, while it cannot be
// asked.
var ErrAway = errors.New("the hub cannot be asked now")

// askTimeout bounds what a customer waits for.
const askTimeout = 15 * time.Second

// ask calls the hub for somebody who waits.
func (c *Central) ask(ctx context.Context, method, path string, in, out any) (*line, error) {
	c.mu.Lock()
	l := c.line
	c.mu.Unlock()
	if l == nil {
		return nil, ErrAway
	}
	l.mu.Lock()
	proven := l.proven
	l.mu.Unlock()
	if !proven {
		return nil, ErrAway
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := l.client.call(ctx, method, path, in, out); err != nil {
		// "Revoked" may be what was asked about; the next heartbeat tells.
		if isDenied(err) {
			poke(l.beatNow)
		}
		if isTransient(err) || isDenied(err) && !isRevoked(err) {
			return nil, fmt.Errorf("%w: %w", ErrAway, err)
		}
		return nil, err
	}
	return l, nil
}

// Claim asks the hub about a code that the zone does not know: a voucher that
// is good at several sites, or the claim code of a purchase. What it stands
// for becomes the device's, as if the code had been redeemed here; nas is as
// in [zonegate.Redemption]. Repeated it is the same purchase.
//
// It is for codes that the Gate refuses with ErrForeignCode: those that can be
// one of ours, so that typing errors stay here. Errors: the domain's
// ErrForeignCode, ErrUsedCode, ErrExpiredCode and ErrRevokedCode, or ErrAway.
// How often somebody may ask is the caller's to limit.
func (c *Central) Claim(ctx context.Context, code string, device zonegate.MAC, nas string) error {
	if !zonegate.WellFormedCode(code) {
		return zonegate.ErrWrongCode
	}
	var s api.Signed
	l, err := c.ask(ctx, http.MethodPost, api.PathClaims, api.Claim{
		Code: zonegate.NormalizeCode(code), Device: device.String(),
	}, &s)
	if r, ok := refused(err); ok && !errors.Is(err, ErrAway) {
		switch {
		case r.Problem.Code == api.CodeUsed:
			return zonegate.ErrUsedCode
		case r.Problem.Code == api.CodeExpired:
			return zonegate.ErrExpiredCode
		case r.Problem.Code == api.CodeRevoked:
			return zonegate.ErrRevokedCode
		case r.Status == http.StatusNotFound:
			return zonegate.ErrForeignCode
		}
		return fmt.Errorf("claiming a code: %w", err)
	}
	if err != nil {
		return err
	}
	p, err := s.Open(l.key, l.site)
	if err != nil {
		return fmt.Errorf("claiming a code: %w", err)
	}
	if p.Kind != api.KindGrant || p.Seq != 0 {
		return fmt.Errorf("claiming a code: the hub answered with %.40q", p.Kind)
	}
	ch, err := change(p)
	if err != nil {
		return fmt.Errorf("claiming a code: %w", err)
	}
	grant := ch.(zonegate.GrantPushed)
	if grant.Device != device {
		return errors.New("claiming a code: the hub answered about another device")
	}
	grant.NAS = nas
	if err := c.o.Gate.TakePush(ctx, 0, grant); err != nil {
		return fmt.Errorf("claiming a code: %w", err)
	}
	return nil
}

// StartPayment has the hub start a payment, or tells how one goes that was
// started under the same intent. The intent must be durable before: after any
// error but one that NotSent is true of, money may move.
func (c *Central) StartPayment(ctx context.Context, in api.Intent) (api.Payment, error) {
	var p api.Payment
	_, err := c.ask(ctx, http.MethodPost, api.PathIntents, in, &p)
	return p, checkPayment(p, in.IntentID, err)
}

// Payment asks how a payment goes.
func (c *Central) Payment(ctx context.Context, intent string) (api.Payment, error) {
	var p api.Payment
	l, err := c.ask(ctx, http.MethodGet, api.PathIntents+"/"+url.PathEscape(intent), nil, &p)
	if err = checkPayment(p, intent, err); err == nil && paymentState(p.Status) == zonegate.IntentPaid && l.polls() {
		// What was bought waits to be fetched. Without it the answer is as true.
		if err := l.page(ctx); err != nil {
			c.log.Info("what was paid for is not here yet", "intent", intent, "error", err)
		}
	}
	return p, err
}

func checkPayment(p api.Payment, intent string, err error) error {
	if err == nil && p.IntentID != intent {
		return errors.New("the hub answered about another payment")
	}
	return err
}

// Initiate starts a mobile payment at a server that has the documented API
// alone, with the zone's token. There is no key that makes it safe to repeat:
// unless NotSent is true of the error, a second call can be a second order.
func (r *RGZ) Initiate(ctx context.Context, token string, in api.Initiate) (api.Initiated, error) {
	// Names that its public pages use stand beside the documented ones.
	var out struct {
		api.Initiated
		PaymentID   string `json:"payment_id"`
		RedirectURL string `json:"redirect_url"`
	}
	if err := r.user(ctx, token, http.MethodPost, api.PathInitiate, in, &out); err != nil {
		return api.Initiated{}, err
	}
	got := out.Initiated
	if got.TransactionID == "" {
		got.TransactionID = out.PaymentID
	}
	if got.PaymentURL == "" {
		got.PaymentURL = out.RedirectURL
	}
	u, err := url.Parse(got.PaymentURL)
	switch {
	case checkID("payment", got.TransactionID) != nil:
		return api.Initiated{}, errors.New("starting a payment: the server named no transaction")
	case err != nil || u.Scheme != "https" || u.Host == "":
		return api.Initiated{}, errors.New("starting a payment: the server named no page to pay at")
	}
	return got, nil
}

// PaymentStatus asks how a payment goes. Any other status than those that are
// known means that it is not known yet; the amount is to be compared with the
// price that was asked.
func (r *RGZ) PaymentStatus(ctx context.Context, token, transaction string) (api.PaymentStatus, error) {
	var out struct {
		Status   string `json:"status"`
		Amount   number `json:"amount_fcfa"`
		Provider string `json:"provider"`
	}
	path := api.PathPayments + "/" + url.PathEscape(transaction) + "/status"
	if err := r.user(ctx, token, http.MethodGet, path, nil, &out); err != nil {
		return api.PaymentStatus{}, err
	}
	return api.PaymentStatus{Status: out.Status, AmountFCFA: out.Amount.n, Provider: out.Provider}, nil
}

func (r *RGZ) user(ctx context.Context, token, method, path string, in, out any) error {
	c, err := newClient(r.Endpoint, token, r.Clock, time.Time{}, usualPace)
	if err != nil {
		return err
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var raw json.RawMessage
	if err := c.call(ctx, method, path, in, &raw); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	return nil
}
