package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

// startPayment answers within 12 seconds, whatever the provider does.
func (s *Server) startPayment(c *call, r *http.Request) error {
	g, err := s.holder(c, r)
	if err != nil {
		return err
	}
	if err := s.pays.take(g.ID, time.Now()); err != nil {
		return err
	}
	var q api.Intent
	if err := readJSON(c, r, &q, false); err != nil {
		return err
	}
	if !s.hub.TakesPayments() {
		return errNoPayments
	}
	p, err := s.hub.StartPayment(r.Context(), g, q)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, p)
}

func (s *Server) paymentOf(c *call, r *http.Request) error {
	g, err := s.holder(c, r)
	if err != nil {
		return err
	}
	if err := s.calls.take(g.ID, time.Now()); err != nil {
		return err
	}
	p, err := s.hub.PaymentOf(r.Context(), g, r.PathValue("id"))
	if err != nil {
		return s.unlessNone(err)
	}
	return writeJSON(c, http.StatusOK, p)
}

// unlessNone says that there is no provider rather than no payment.
func (s *Server) unlessNone(err error) error {
	if errors.Is(err, hub.ErrNotFound) && !s.hub.TakesPayments() {
		return errNoPayments
	}
	return err
}

func (s *Server) initiate(c *call, r *http.Request) error {
	by, err := s.user(c, r)
	if err != nil {
		return err
	}
	var i api.Initiate
	if err := readJSON(c, r, &i, true); err != nil {
		return err
	}
	if i.ForfaitID == "" || i.Provider == "" {
		return refuse(http.StatusUnprocessableEntity, api.CodeBadRequest, "forfait_id and provider must be given")
	}
	if !s.hub.TakesPayments() {
		return errNoPayments
	}
	// Gateways in RGZ mode may all be one user.
	if err := s.calls.take(by.User, time.Now()); err != nil {
		return err
	}
	started, err := s.hub.Initiate(r.Context(), by, i)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusCreated, started)
}

func (s *Server) paymentStatus(c *call, r *http.Request) error {
	by, err := s.user(c, r)
	if err != nil {
		return err
	}
	status, err := s.hub.PaymentStatus(r.Context(), by, r.PathValue("id"))
	if err != nil {
		return s.unlessNone(err)
	}
	return writeJSON(c, http.StatusOK, status)
}

// UseCallbacks replaces the readers of callbacks, as after a change of a
// provider's secret.
func (s *Server) UseCallbacks(readers map[string]hub.CallbackReader) {
	own := make(map[string]hub.CallbackReader, len(readers))
	for name, r := range readers {
		own[name] = r
	}
	s.readers.Store(&own)
}

// webhook is for one provider alone. Its secret proves nothing about the body,
// so what it says is a hint.
func (s *Server) webhook(c *call, r *http.Request) error {
	reader, ok := (*s.readers.Load())[s.webhookOf]
	if !ok {
		return errNoPayments
	}
	if s.secret != "" {
		// Hashed, so that the time says nothing of the length either.
		want, got := sha256.Sum256([]byte(s.secret)), sha256.Sum256([]byte(r.Header.Get(api.HeaderSecret)))
		if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
			return s.vain(r, errNotTheirs)
		}
	}
	if err := s.hear(c, r, s.webhookOf, reader); err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, api.WebhookAnswer{Status: "processed"})
}

var errNotTheirs = refuse(http.StatusUnauthorized, api.CodeUnauthorized, "the header "+api.HeaderSecret+" or the signature is missing or wrong")

// thanks is what a customer sees whom a provider's page sends back.
const thanks = "Merci. Revenez a la page du WiFi.\nThank you. Go back to the WiFi page.\n"

// callback takes what a provider sends to its own path.
func (s *Server) callback(c *call, r *http.Request) error {
	provider := r.PathValue("provider")
	reader, ok := (*s.readers.Load())[provider]
	if !ok {
		return s.vain(r, refuse(http.StatusNotFound, api.CodeNotFound, "there is no such provider"))
	}
	if err := s.hear(c, r, provider, reader); err != nil {
		return err
	}
	if r.Method == http.MethodGet {
		c.Header().Set("Content-Type", "text/plain; charset=utf-8")
		c.Header().Set("Cache-Control", "no-store")
		io.WriteString(c, thanks)
		return nil
	}
	return writeJSON(c, http.StatusOK, api.WebhookAnswer{Status: "processed"})
}

// A hinted is a callback that was read, and is to be heeded.
type hinted struct {
	provider string
	hint     hub.Hint
	// heard is of a payment; unknown, if there is none: then it may be about a
	// payout.
	heard   hub.Callback
	unknown bool
	from    string // the caller, for the limit
}

const (
	maxHints = 10_000 // waiting
	maxRaw   = 4096   // of what one said
	hinting  = 64     // taken at the same time
)

// vain counts a call that is about nothing against its caller, and returns the
// refusal: err, or that he calls too often. Calls about payments are not
// counted, since a provider makes all of them from one address: the hub bounds
// them by payment.
func (s *Server) vain(r *http.Request, err error) error {
	if often := s.callers.take(s.caller(r), time.Now()); often != nil {
		return often
	}
	return err
}

// hear reads a callback, keeps what nothing else would tell, and leaves the rest
// to takeHints: a provider does not wait until it was asked. If too many wait
// it is passed over, since the payment is looked up in its time.
func (s *Server) hear(c *call, r *http.Request, provider string, reader hub.CallbackReader) error {
	from := s.caller(r)
	if err := s.callers.allow(from, time.Now()); err != nil {
		return err
	}
	body, err := readAll(c, r)
	if err != nil {
		return err
	}
	hint, err := reader.ReadCallback(r.Header, r.URL.Query(), body)
	switch {
	case errors.Is(err, hub.ErrUnauthorized):
		return s.vain(r, errNotTheirs)
	case err != nil, len(hint.Reference) > maxRaw, len(hint.ProviderRef) > maxRaw:
		return s.vain(r, refuse(http.StatusBadRequest, api.CodeBadRequest, "this is no call of the provider's"))
	}
	// A copy, since it would keep all of the body.
	hint.Raw = strings.Clone(hint.Raw[:min(len(hint.Raw), maxRaw)])
	x := hinted{provider: provider, hint: hint, from: from}
	x.heard, err = s.hub.HearHint(r.Context(), provider, hint)
	if x.unknown = errors.Is(err, hub.ErrNotFound); err != nil && !x.unknown {
		return err // it will come again
	}
	select {
	case s.hints <- x:
	default:
		s.log.Warn("passing over a callback: too many wait", "provider", provider)
	}
	return nil
}

// hintsTime is how long callbacks that were answered are still taken at the end.
const hintsTime = 10 * time.Second

// takeHints takes callbacks until ctx is over, and then those that wait: they
// were answered, and some providers never repeat them.
func (s *Server) takeHints(over context.Context) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(over))
	defer cancel()
	defer context.AfterFunc(over, func() { time.AfterFunc(hintsTime, cancel) })()
	for {
		var x hinted
		select {
		case x = <-s.hints:
		case <-over.Done():
			select {
			case x = <-s.hints:
			default:
				return nil
			}
		}
		found, err := true, error(nil)
		if x.unknown {
			found, err = s.hub.PayoutHint(ctx, x.provider, x.hint)
		} else {
			err = s.hub.HeedHint(ctx, x.heard)
		}
		switch {
		case err != nil && ctx.Err() == nil:
			s.log.Error("taking a callback", "provider", x.provider, "err", err)
		case !found:
			s.log.Info("a callback is about nothing", "provider", x.provider)
			_ = s.callers.take(x.from, time.Now()) // his next one is refused then
		}
	}
}
