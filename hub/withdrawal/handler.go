package withdrawal

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"zonegate/hub"
)

// Tokens makes and checks the tokens of users.
type Tokens interface {
	Issue(hub.User) (token string, expires time.Time, err error)
	Check(token string) (user string, epoch int64, err error)
}

// Options are what a Handler works with.
type Options struct {
	Hub    *hub.Hub
	Tokens Tokens
	// Base is where the paths begin; "" is /api.
	Base string
	// URL is the hub's as its callers know it, for the links between pages:
	// https://hub.example. Empty is what the request names.
	URL string
	// AttemptLogin counts an attempt to sign in, and says how long the caller
	// must wait first; nil counts nothing.
	AttemptLogin func(r *http.Request, name string) time.Duration
	// Log gets what fails inside; nil discards it.
	Log *slog.Logger
}

// A Handler answers the API.
type Handler struct {
	hub     *hub.Hub
	tokens  Tokens
	base    string
	url     string
	attempt func(*http.Request, string) time.Duration
	log     *slog.Logger
	mux     *http.ServeMux
}

// New returns a Handler for all paths under Base.
func New(o Options) *Handler {
	h := &Handler{hub: o.Hub, tokens: o.Tokens, base: o.Base, url: strings.TrimSuffix(o.URL, "/"), attempt: o.AttemptLogin, log: o.Log, mux: http.NewServeMux()}
	if h.base == "" {
		h.base = "/api"
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.route()
	return h
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// route lays the paths. A literal one stands before {id}, whatever the order.
func (h *Handler) route() {
	lay := func(pattern string, do func(*call) error) {
		method, path, _ := strings.Cut(pattern, " ")
		h.mux.Handle(method+" "+h.base+path, h.answered(do))
	}
	user := func(pattern string, do func(*call) error) { lay(pattern, h.signedIn(do)) }
	admin := func(pattern string, do func(*call) error) {
		user(pattern, func(c *call) error {
			if c.by.Role != hub.RoleAdmin {
				return hub.ErrForbidden
			}
			return do(c)
		})
	}
	lay("POST /auth/login", h.login)

	user("GET /withdrawals/check-eligibility", h.eligibility)
	user("GET /withdrawals/fees-calculator", h.fees)
	user("GET /withdrawals/stats", h.stats)
	user("POST /withdrawals/request", h.request)
	user("POST /withdrawals/{id}/validate", h.validate)
	user("POST /withdrawals/{id}/cancel", h.cancel)
	user("POST /withdrawals/{id}/resend-code", h.resend)
	user("GET /withdrawals", h.list)
	user("GET /withdrawals/{id}", h.show)

	admin("GET /admin/withdrawals/pending", h.pending)
	admin("GET /admin/withdrawals/stats", h.adminStats)
	admin("GET /admin/withdrawals/search", h.search)
	admin("POST /admin/withdrawals/{id}/process", h.process)
	admin("POST /admin/withdrawals/{id}/fail", h.fail)
	admin("POST /admin/withdrawals/{id}/claim", h.decided("Retrait réservé", h.hub.ClaimWithdrawal))
	admin("POST /admin/withdrawals/{id}/claim-by-hand", h.decided("Retrait réservé", h.hub.ClaimByHand))
	admin("POST /admin/withdrawals/{id}/approve", h.decided("Retrait approuvé", h.hub.ApproveWithdrawal))
	admin("POST /admin/withdrawals/{id}/release", h.decided("Réservation levée", h.hub.ReleaseWithdrawal))
	admin("POST /admin/withdrawals/{id}/resolve", h.resolve)
	admin("POST /admin/withdrawals/{id}/reverse", h.reverse)

	h.mux.Handle("/", h.answered(func(*call) error {
		return &refusal{http.StatusNotFound, failure{Message: "Route non trouvée"}}
	}))
}

// A call is a request on its way.
type call struct {
	http.ResponseWriter
	*http.Request
	by   hub.Actor
	form url.Values
}

// A failure is the body of an answer that is no success.
type failure struct {
	Success   bool                `json:"success"`
	Message   string              `json:"message"`
	KYCStatus string              `json:"kyc_status,omitempty"`
	Errors    map[string][]string `json:"errors,omitempty"`
}

// A refusal is an error with its answer.
type refusal struct {
	status int
	body   failure
}

func (r *refusal) Error() string { return r.body.Message }

var errUnauthenticated = errors.New("no token that is good")

func (h *Handler) answered(do func(*call) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{ResponseWriter: w, Request: r}
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler {
					panic(v)
				}
				h.log.Error("a call failed inside the hub", "path", r.Pattern, "panic", v)
				write(w, http.StatusInternalServerError, failure{Message: "Erreur interne"})
			}
		}()
		if err := do(c); err != nil {
			h.refuse(c, err)
		}
	})
}

func write(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // links have ampersands
	if err := e.Encode(v); err != nil {
		status = http.StatusInternalServerError
		b.Reset()
		b.WriteString(`{"success":false,"message":"Erreur interne"}`)
	}
	body := bytes.TrimSpace(b.Bytes())
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(body) // an error here is the caller's line
}

// success is the envelope.
type success struct {
	Success bool   `json:"success"`
	Message string `json:"message,omitempty"`
	Data    any    `json:"data"`
}

func (c *call) succeed(status int, message string, data any) error {
	write(c.ResponseWriter, status, success{true, message, data})
	return nil
}

// refuse answers an error in the document's words.
func (h *Handler) refuse(c *call, err error) {
	say := func(status int, message string) { write(c.ResponseWriter, status, failure{Message: message}) }
	var (
		no     *refusal
		fields hub.FieldErrors
		input  *hub.InputError
		kyc    *hub.KYCError
		state  *hub.StateError
		code   *hub.CodeError
	)
	switch {
	case errors.As(err, &no):
		write(c.ResponseWriter, no.status, no.body)
	case errors.Is(err, errUnauthenticated), errors.Is(err, hub.ErrUnauthorized):
		c.ResponseWriter.Header().Set("WWW-Authenticate", "Bearer")
		write(c.ResponseWriter, http.StatusUnauthorized, struct {
			Message string `json:"message"`
		}{"Unauthenticated."})
	case errors.As(err, &fields):
		body := failure{Message: "Validation error", Errors: map[string][]string{}}
		for _, f := range fields {
			body.Errors[f.Field] = append(body.Errors[f.Field], f.Text)
		}
		write(c.ResponseWriter, http.StatusBadRequest, body)
	case errors.As(err, &kyc):
		write(c.ResponseWriter, http.StatusForbidden, failure{Message: "Vérification KYC requise pour les retraits", KYCStatus: "pending"})
	case errors.As(err, &code):
		say(http.StatusBadRequest, "Code invalide. Tentatives restantes : "+strconv.Itoa(code.Left))
	case errors.As(err, &state):
		say(http.StatusBadRequest, "Opération impossible dans l'état actuel du retrait ("+statusOf(hub.PayoutState(state.State))+")")
	case errors.As(err, &input):
		say(http.StatusBadRequest, input.Reason)
	case errors.Is(err, hub.ErrBalance):
		say(http.StatusBadRequest, "Solde insuffisant")
	case errors.Is(err, hub.ErrLimit):
		say(http.StatusBadRequest, "Limite journalière atteinte")
	case errors.Is(err, hub.ErrExpired):
		say(http.StatusBadRequest, "Code expiré")
	case errors.Is(err, hub.ErrNumberWait):
		say(http.StatusBadRequest, "Ce numéro est nouveau : un délai de sécurité s'applique avant le paiement")
	case errors.Is(err, hub.ErrPayoutOpen):
		say(http.StatusBadRequest, "Un autre paiement de ce compte est en cours")
	case errors.Is(err, hub.ErrUnsupported):
		say(http.StatusBadRequest, "Retraits indisponibles dans cette devise")
	case errors.Is(err, hub.ErrForbidden):
		say(http.StatusForbidden, "Accès refusé")
	case errors.Is(err, hub.ErrNotFound):
		say(http.StatusNotFound, "Retrait non trouvé")
	case errors.Is(err, hub.ErrMessenger):
		h.log.Warn("sending a code", "err", err)
		say(http.StatusServiceUnavailable, "Le code n'a pas pu être envoyé. Réessayez plus tard.")
	default:
		if c.Context().Err() == nil {
			h.log.Error("answering a call of withdrawals", "path", c.Pattern, "err", err)
		}
		say(http.StatusServiceUnavailable, "Service momentanément indisponible")
	}
}

// signedIn runs do for a user whose token is good.
func (h *Handler) signedIn(do func(*call) error) func(*call) error {
	return func(c *call) error {
		scheme, token, _ := strings.Cut(c.Request.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return errUnauthenticated
		}
		user, epoch, err := h.tokens.Check(strings.TrimSpace(token))
		if err != nil {
			return errUnauthenticated
		}
		if c.by, err = h.hub.Actor(c.Context(), user, epoch); err != nil {
			return err
		}
		c.form = c.URL.Query()
		return do(c)
	}
}

const maxBody = 64 << 10

// read reads the JSON object of a request; no body is an empty one.
func (c *call) read(v any) error {
	body, err := io.ReadAll(http.MaxBytesReader(c.ResponseWriter, c.Body, maxBody))
	if err != nil {
		return &refusal{http.StatusBadRequest, failure{Message: "Corps de requête illisible"}}
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, v); err != nil {
		return &refusal{http.StatusBadRequest, failure{Message: "JSON invalide"}}
	}
	return nil
}

// login is the documented call; what it answers is not. The name may be
// anything that the hub knows a user by.
func (h *Handler) login(c *call) error {
	var q struct{ Email, Password string }
	if err := c.read(&q); err != nil {
		return err
	}
	if h.attempt != nil {
		if wait := h.attempt(c.Request, q.Email); wait > 0 {
			c.ResponseWriter.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
			return &refusal{http.StatusTooManyRequests, failure{Message: "Trop de tentatives. Réessayez plus tard."}}
		}
	}
	u, err := h.hub.Login(c.Context(), q.Email, q.Password)
	if err != nil {
		return err
	}
	token, expires, err := h.tokens.Issue(u)
	if err != nil {
		return err
	}
	return c.succeed(http.StatusOK, "Connexion réussie", struct {
		Token   string    `json:"token"`
		Type    string    `json:"token_type"`
		Expires time.Time `json:"expires_at"`
		Role    string    `json:"role"`
	}{token, "Bearer", expires, string(u.Role)})
}

// one is the withdrawal that the path names, if the actor may see it.
func (h *Handler) one(c *call) (hub.Withdrawal, error) {
	n, err := strconv.ParseInt(c.PathValue("id"), 10, 64)
	if err != nil || n < 1 {
		return hub.Withdrawal{}, hub.ErrNotFound
	}
	return h.hub.WithdrawalByNumber(c.Context(), c.by, n)
}
