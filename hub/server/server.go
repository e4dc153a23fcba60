package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate/hub"
	"zonegate/sync/api"
)

// Base is where the paths of package api begin.
const Base = "/api/v1"

// Options are what a Server works with.
type Options struct {
	Hub    *hub.Hub
	Tokens Tokens
	// Pages serves everything that is no API; nil is nothing.
	Pages http.Handler
	// Callbacks read what providers send, by the provider's name. See also
	// UseCallbacks.
	Callbacks map[string]hub.CallbackReader
	// Webhook is the provider that calls api.PathWebhook: one of Callbacks, or
	// "" for none.
	Webhook string
	// WebhookSecret is what it must send as api.HeaderSecret; "" leaves that to
	// its CallbackReader.
	WebhookSecret string
	// Proxies are believed about the caller's address (X-Forwarded-For).
	Proxies []netip.Prefix
	// TLS is nil for plain HTTP behind a proxy.
	TLS *tls.Config
	// Log gets one line for each call; nil discards it. No token, password or
	// code is ever in it.
	Log    *slog.Logger
	Limits Limits
	// Connections is how many may be open; 0 is as many as come. A new one then
	// takes the place of one on which no call is on its way.
	Connections int
}

// Limits bound what one caller may do. Many customers of mobile networks share
// an address, so those by address are generous.
type Limits struct {
	Login     Limit // by address, and by user name
	Enrol     Limit // by address
	Claims    Limit // by gateway
	Calls     Limit // by gateway: reports, heartbeats, answers and catalogues together
	Streams   Limit // opened by a gateway
	Payments  Limit // started by a gateway
	Callbacks Limit // about nothing, by address
}

// DefaultLimits are for the open internet.
func DefaultLimits() Limits {
	return Limits{Login: Limit{20, 20}, Enrol: Limit{30, 30}, Claims: Limit{30, 60}, Calls: Limit{600, 600}, Streams: Limit{20, 20},
		Payments: Limit{60, 60}, Callbacks: Limit{6000, 1000}}
}

// A Server serves one process's share of the hub.
type Server struct {
	hub *hub.Hub
	// authenticate is hub.Authenticate.
	authenticate func(ctx context.Context, token string) (hub.Gateway, error)
	tokens       Tokens
	webhookOf    string
	secret       string
	readers      atomic.Pointer[map[string]hub.CallbackReader]
	hints        chan hinted
	proxies      []netip.Prefix
	tls          *tls.Config
	log          *slog.Logger
	fanout       *fanout
	mux          *http.ServeMux
	lines        lines
	lot          *lot          // nil until Run
	idle         time.Duration // idleTimeout
	crowd        int64         // from how many connections on they come to rest

	logins, names, enrols, claims, calls, opens, pays, callers *limiter
}

// New returns a Server. It starts nothing: see Run.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		hub: o.Hub, authenticate: o.Hub.Authenticate, tokens: o.Tokens, webhookOf: o.Webhook, secret: o.WebhookSecret,
		hints: make(chan hinted, maxHints), proxies: o.Proxies, log: o.Log,
		fanout: newFanout(o.Hub, o.Log), mux: http.NewServeMux(),
		logins:  newLimiter(o.Limits.Login, "too many attempts to sign in from this address; wait a moment"),
		names:   newLimiter(o.Limits.Login, "too many attempts to sign in with this name; wait a moment"),
		enrols:  newLimiter(o.Limits.Enrol, "too many gateways ask to be let in from this address; wait a moment"),
		claims:  newLimiter(o.Limits.Claims, "too many codes were tried at this gateway; wait a moment"),
		calls:   newLimiter(o.Limits.Calls, "this gateway calls too often; wait a moment"),
		opens:   newLimiter(o.Limits.Streams, "this gateway opens its stream too often: do two share one identity?"),
		pays:    newLimiter(o.Limits.Payments, "too many payments are started here; wait a moment"),
		callers: newLimiter(o.Limits.Callbacks, "too many calls from this address; wait a moment"),
	}
	s.lines.most, s.idle, s.crowd = int64(o.Connections), idleTimeout, crowd
	if s.lines.most > 0 {
		s.crowd = min(s.crowd, s.lines.most/2)
	}
	s.UseCallbacks(o.Callbacks)
	if o.TLS != nil {
		s.tls = o.TLS.Clone()
		// A stream is taken over from net/http, which only HTTP/1.1 allows.
		s.tls.NextProtos = []string{"http/1.1"}
	}
	s.route(o.Pages)
	return s
}

// Time-outs. The client's connection for calls may rest for 4 minutes: ours
// must not be closed while a call is on its way.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = time.Minute
	writeTimeout  = time.Minute
	idleTimeout   = 5 * time.Minute
	stopTimeout   = 15 * time.Second
	maxHeader     = 16 << 10
)

// crowd is how many connections cost so much memory in net/http that what it
// takes to have one rest is worth it.
const crowd = 1000

// Run serves on a TCP listener until ctx is over: it then accepts nothing,
// ends the streams, lets calls finish for 15 seconds, and returns nil.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	srv := &http.Server{
		Handler: s, Protocols: &protocols,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	var err error
	if s.lot, err = newLot(l.Addr(), s.idle); err != nil {
		return err
	}
	l = lineListener{l, &s.lines, s.lot}
	if s.tls != nil {
		l = tls.NewListener(l, s.tls)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.fanout.watch(ctx) })
	g.Go(func() error { return s.fanout.deliver(ctx) })
	for range hinting {
		g.Go(func() error { return s.takeHints(ctx) })
	}
	for _, from := range []net.Listener{l, s.lot} {
		g.Go(func() error {
			if err := srv.Serve(from); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving HTTP: %w", err)
			}
			return nil
		})
	}
	g.Go(func() error {
		<-ctx.Done()
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if err := srv.Shutdown(late); err != nil {
			// Some call did not end: it is cut.
			srv.Close()
		}
		return nil
	})
	return g.Wait()
}

// Streams is how many event streams are open in this process.
func (s *Server) Streams() int { return s.fanout.count() }

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// A handle does one call. An error is answered as refusalOf says.
type handle func(c *call, r *http.Request) error

// route lays the paths. A path with another method is a 405, and one that is
// not there a 404 with a body like all others.
func (s *Server) route(pages http.Handler) {
	methods := map[string][]string{}
	lay := func(method, path string, do handle) {
		methods[path] = append(methods[path], method)
		s.mux.Handle(method+" "+path, s.observed(path, do))
	}
	// Part 1.
	lay("GET", Base+api.PathForfaits, s.forfaits)
	lay("POST", Base+api.PathInitiate, s.initiate)
	lay("POST", Base+api.PathWebhook, s.webhook)
	lay("GET", Base+api.PathPayments+"/{id}/status", s.paymentStatus)
	lay("POST", Base+api.PathGenerate, s.generate)
	lay("GET", Base+api.PathSummary, s.summary)
	lay("POST", Base+api.PathLogin, s.login)
	// Part 2.
	lay("POST", Base+api.PathEnrol, s.enrol)
	lay("GET", Base+api.PathCatalogue, s.asGateway(s.bounded(s.catalogue)))
	lay("GET", Base+api.PathEvents, s.events)
	lay("POST", Base+api.PathAcks, s.acks)
	lay("POST", Base+api.PathReports, s.asGateway(s.bounded(s.reports)))
	lay("POST", Base+api.PathHeartbeat, s.asGateway(s.bounded(s.heartbeat)))
	lay("POST", Base+api.PathClaims, s.asGateway(s.claim))
	lay("POST", Base+api.PathIntents, s.startPayment)
	lay("GET", Base+api.PathIntents+"/{id}", s.paymentOf)
	// From providers.
	lay("POST", hub.PathCallbacks+"{provider}", s.callback)
	lay("GET", hub.PathCallbacks+"{provider}", s.callback)
	// For what stands before or beside us.
	lay("GET", "/healthz", s.health)
	lay("GET", "/readyz", s.ready)

	for path, allowed := range methods {
		allow := strings.Join(allowed, ", ")
		s.mux.Handle(path, s.observed(path, func(c *call, r *http.Request) error {
			c.Header().Set("Allow", allow)
			return refuse(http.StatusMethodNotAllowed, api.CodeBadRequest, "this path takes "+allow+" alone")
		}))
	}
	nothing := s.observed("-", func(*call, *http.Request) error {
		return refuse(http.StatusNotFound, api.CodeNotFound, "there is no such path")
	})
	s.mux.Handle(Base+"/", nothing)
	if pages == nil {
		pages = nothing
	}
	s.mux.Handle("/", pages)
}

// A call is a request on its way, as the log will tell of it.
type call struct {
	http.ResponseWriter
	status int
	who    string // user name or gateway id
}

func (c *call) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *call) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	return c.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (c *call) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// observed runs a handle, and lets the connection rest after it.
func (s *Server) observed(path string, do handle) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{ResponseWriter: w}
		if s.answer(c, r, path, do) {
			s.rest(c, r)
		}
	})
}

// answer runs a handle, answers its error, and logs. The path logged is the
// route's: what a caller puts into a path may be secret. It returns false if
// the handle failed halfway.
func (s *Server) answer(c *call, r *http.Request, path string, do handle) (whole bool) {
	begun := time.Now()
	level := slog.LevelDebug
	var failed error
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler {
				panic(v)
			}
			s.log.Error("a call failed inside the hub", "path", path, "panic", v)
			if c.status == 0 {
				refuse(http.StatusInternalServerError, api.CodeUnavailable, "the hub failed; its log says why").(*refusal).answer(c)
			}
		}
		if s.log.Enabled(r.Context(), level) {
			attrs := []any{"method", r.Method, "path", path, "status", c.status, "from", s.caller(r), "took", time.Since(begun).Round(time.Microsecond)}
			if c.who != "" {
				attrs = append(attrs, "who", c.who)
			}
			if failed != nil {
				attrs = append(attrs, "error", failed)
			}
			s.log.Log(r.Context(), level, "call", attrs...)
		}
	}()
	err := do(c, r)
	if err == nil {
		if r.Method != http.MethodGet && !strings.HasPrefix(path, Base+"/gateway/") {
			level = slog.LevelInfo
		}
		return true
	}
	no, logged := refusalOf(err)
	level = slog.LevelInfo
	if logged {
		level, failed = slog.LevelError, err
	}
	if c.status == 0 {
		no.answer(c)
	}
	return true
}

// health says that the process lives.
func (s *Server) health(c *call, _ *http.Request) error {
	return writeJSON(c, http.StatusOK, map[string]string{"status": "alive"})
}

// ready says whether calls will be answered: the database is there and the
// pushes are held.
func (s *Server) ready(c *call, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if !s.fanout.isReady() {
		return busy(errNotLoaded.Error(), time.Second)
	}
	if _, err := s.fanout.feed.Head(ctx); err != nil {
		return busy("the database does not answer", time.Second)
	}
	return writeJSON(c, http.StatusOK, map[string]string{"status": "ready"})
}
