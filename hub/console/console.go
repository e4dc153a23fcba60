package console

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"log/slog"
	"net/http"
	"time"

	"github.com/a-h/templ"

	"zonegate/hub"
)

// Tokens make and check what a session's cookie holds.
type Tokens interface {
	Issue(u hub.User) (token string, expires time.Time, err error)
	Check(token string) (user string, epoch int64, err error)
}

// Options are what a Console works with.
type Options struct {
	Hub *hub.Hub
	// Tokens are the console's own: a cookie is then no token of the API.
	Tokens Tokens
	// Key (32 octets) marks forms as ours. All processes of a hub share it.
	Key []byte
	// Attempt counts an attempt to sign in and says how long the caller must
	// wait first; zero is not at all. The name is empty for a set-up. nil
	// counts nothing.
	Attempt func(r *http.Request, name string) time.Duration
	// Secure says that browsers come by HTTPS, though TLS may end at a proxy.
	Secure bool
	// Zone is where days begin; nil is UTC+1, as hub.Options has it.
	Zone *time.Location
	// Now tells the time; nil is time.Now.
	Now func() time.Time
	// Log gets what failed; nil discards it.
	Log *slog.Logger
}

// A Console serves the pages. It has no state of its own.
type Console struct {
	hub     *hub.Hub
	tokens  Tokens
	key     []byte
	attempt func(r *http.Request, name string) time.Duration
	secure  bool
	zone    *time.Location
	now     func() time.Time
	log     *slog.Logger
	mux     *http.ServeMux
}

// New returns a Console.
func New(o Options) *Console {
	c := &Console{hub: o.Hub, tokens: o.Tokens, key: o.Key, attempt: o.Attempt, secure: o.Secure, zone: o.Zone, now: o.Now, log: o.Log,
		mux: http.NewServeMux()}
	if c.zone == nil {
		c.zone = time.FixedZone("UTC+1", 3600)
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.attempt == nil {
		c.attempt = func(*http.Request, string) time.Duration { return 0 }
	}
	c.route()
	return c
}

// who may see a page.
type who uint8

const (
	anybody who = iota // without a session
	users
	managers // admins and resellers
	admins
)

func (w who) includes(r hub.Role) bool {
	switch w {
	case admins:
		return r == hub.RoleAdmin
	case managers:
		return r != hub.RoleSeller
	}
	return true
}

func (c *Console) route() {
	lay := func(pattern string, w who, do func(*call) error) { c.mux.Handle(pattern, c.page(pattern, w, do)) }
	c.mux.HandleFunc("GET /style.css", serveStyle)
	lay("GET /{$}", users, func(a *call) error { return a.redirect("/fleet") })
	lay("/", anybody, func(*call) error { return hub.ErrNotFound })

	lay("GET /setup", anybody, (*call).setUpPage)
	lay("POST /setup", anybody, (*call).setUp)
	lay("GET /login", anybody, (*call).loginPage)
	lay("POST /login", anybody, (*call).login)
	lay("POST /logout", users, (*call).logout)
	lay("POST /language", anybody, (*call).language)
	lay("GET /account", users, (*call).accountPage)
	lay("POST /account", users, (*call).account)

	lay("GET /fleet", users, (*call).fleetPage)
	lay("GET /gateways/{id}", users, (*call).gatewayPage)
	lay("POST /gateways/{id}/revoke", managers, (*call).revokeGateway)
	lay("POST /gateways/{id}/alarm", managers, (*call).clearAlarm)

	lay("GET /sites", users, (*call).sitesPage)
	lay("POST /sites", managers, (*call).createSite)
	lay("POST /sites/{id}/code", managers, (*call).enrolment)
	lay("GET /settings", managers, (*call).settingsPage)
	lay("POST /settings/{kind}", managers, (*call).pushSetting)

	lay("GET /forfaits", users, (*call).forfaitsPage)
	lay("GET /forfaits/new", managers, (*call).newForfaitPage)
	lay("POST /forfaits/new", managers, (*call).newForfait)
	lay("GET /forfaits/{id}", users, (*call).forfaitPage)
	lay("POST /forfaits/{id}", managers, (*call).changeForfait)
	lay("POST /forfaits/{id}/withdraw", managers, (*call).withdrawForfait)
	lay("GET /rollouts", admins, (*call).rolloutsPage)
	lay("POST /rollouts/{id}/{what}", admins, (*call).changeRollout)

	lay("GET /vouchers", users, (*call).vouchersPage)
	lay("POST /vouchers", managers, (*call).generate)
	lay("POST /vouchers/csv", managers, (*call).codesCSV)
	lay("POST /vouchers/revoke", managers, (*call).revokeBatch)

	lay("GET /users", managers, (*call).usersPage)
	lay("POST /users", managers, (*call).createUser)
	lay("POST /users/{id}/password", managers, (*call).setPassword)
	lay("POST /users/{id}/disable", managers, (*call).disableUser)
	lay("GET /resellers", admins, (*call).resellersPage)
	lay("POST /resellers", admins, (*call).createReseller)
	lay("POST /resellers/{id}", admins, (*call).changeReseller)

	lay("GET /billing", users, (*call).billingPage)
	lay("GET /payments", users, (*call).paymentsPage)
	lay("GET /payments/{id}", users, (*call).paymentPage)
	lay("POST /payments/{id}/look", managers, (*call).lookPayment)
	lay("POST /payments/{id}/{what}", admins, (*call).decidePayment)
	lay("POST /refunds/{id}/{what}", admins, (*call).decideRefund)
	lay("GET /withdrawals", managers, (*call).withdrawalsPage)
	lay("POST /withdrawals", managers, (*call).requestWithdrawal)
	lay("GET /withdrawals/{id}", managers, (*call).withdrawalPage)
	lay("POST /withdrawals/{id}/{what}", managers, (*call).changeWithdrawal)
	lay("POST /kyc", admins, (*call).setKYC)
	lay("GET /reconciliation", admins, (*call).booksPage)
	lay("POST /reconciliation", admins, (*call).reconcile)
	lay("POST /reconciliation/import", admins, (*call).importStatement)
	lay("GET /reconciliation/{period}", admins, (*call).reportPage)
	lay("GET /reconciliation/{period}/csv", admins, (*call).reportCSV)
	lay("POST /findings", admins, (*call).clearFinding)
	lay("GET /months/{month}", admins, (*call).monthPage)
	lay("POST /months/{month}", admins, (*call).closeMonth)
	lay("POST /months/{month}/summary", admins, (*call).setOutside)
	lay("GET /audit", admins, (*call).auditPage)
}

// policy lets a page have our style sheet and send forms to us: no script, no
// frame, nothing from elsewhere.
const policy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	c.mux.ServeHTTP(w, r)
}

//go:embed style.css
var style string

// stylePath changes with the style, so that browsers may keep it.
var stylePath = func() string {
	sum := sha256.Sum256([]byte(style))
	return "/style.css?" + hex.EncodeToString(sum[:6])
}()

func serveStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write([]byte(style))
}

// Bounds of a request's body: of most forms, of the one that sends 10,000
// codes back, and of the one with a statement.
const (
	maxForm      = 64 << 10
	maxCodes     = 256 << 10
	maxStatement = 4 << 20
)

// page wraps what answers a request: session, token of the form, errors.
func (c *Console) page(pattern string, w who, do func(*call) error) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		a := &call{console: c, hub: c.hub, w: rw, r: r}
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler {
					panic(v)
				}
				c.log.Error("a page failed inside the hub", "page", pattern, "panic", v)
				http.Error(rw, "zonehub: 500", http.StatusInternalServerError)
			}
		}()
		if err := a.serve(w, do); err != nil {
			if status := a.fail(err); status >= http.StatusInternalServerError {
				c.log.Error("a page failed", "page", pattern, "error", err)
			}
		}
	})
}

// A call is one request on its way.
type call struct {
	console *Console
	hub     *hub.Hub
	w       http.ResponseWriter
	r       *http.Request
	p       page
	f       *form
}

func (a *call) serve(w who, do func(*call) error) error {
	a.p = page{lang: a.readLang(), zone: a.console.zone, now: a.console.now(), f: newForm(nil)}
	a.f = a.p.f
	a.p.done = a.r.URL.Query().Get("done") != ""
	if a.r.Method == http.MethodGet || a.r.Method == http.MethodHead {
		a.p.back = a.r.URL.RequestURI()
		if a.r.URL.Path == "/setup" {
			a.p.back = "" // the address has the token
		}
	}
	var err error
	if w == anybody {
		err = a.visit()
	} else {
		var in bool
		if in, err = a.session(); err == nil && !in {
			return a.redirect("/login")
		}
	}
	if err != nil {
		return err
	}
	if a.r.Method != http.MethodGet && a.r.Method != http.MethodHead {
		if a.r.Method != http.MethodPost {
			return hub.ErrNotFound
		}
		if err := a.readForm(); err != nil {
			return err
		}
	}
	if w != anybody && !w.includes(a.p.by.Role) {
		return hub.ErrForbidden
	}
	return do(a)
}

// show renders a page with a status.
func (a *call) show(status int, t templ.Component) error {
	a.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	a.w.WriteHeader(status)
	if a.r.Method == http.MethodHead {
		return nil
	}
	if err := t.Render(a.r.Context(), a.w); err != nil {
		// The browser went away, or gets half a page: nothing can be added.
		a.console.log.Debug("a page was not sent whole", "error", err)
	}
	return nil
}

// render shows a page, with the status of the form on it.
func (a *call) render(t templ.Component) error {
	if a.f.ok() {
		return a.show(http.StatusOK, t)
	}
	return a.show(http.StatusUnprocessableEntity, t)
}

func (a *call) redirect(path string) error {
	http.Redirect(a.w, a.r, path, http.StatusSeeOther)
	return nil
}
