package portal

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"zonegate"
	"zonegate/web"
)

// A Redeemer makes codes and tokens grants of a device.
type Redeemer interface {
	Redeem(context.Context, zonegate.Redemption) (zonegate.Standing, error)
	Move(ctx context.Context, token string, to zonegate.MAC) (zonegate.Standing, error)
}

// A Switch takes a device online with what it has bought, and offline.
type Switch interface {
	Authorize(context.Context, zonegate.MAC) (zonegate.Standing, error)
	Logout(context.Context, zonegate.MAC) error
}

// A Viewer says what is sold and what is left.
type Viewer interface {
	Standing(zonegate.MAC) zonegate.Standing
	Balance(zonegate.GrantID) (zonegate.Balance, error)
	Plans() []zonegate.Plan
}

// A Signer checks the tokens in URLs and makes those in forms.
type Signer interface {
	GrantOf(token string) (zonegate.GrantID, bool)
	FormToken(zonegate.MAC) string
}

// A Gate is everything that the portal asks of the domain; *zonegate.Gate is
// one.
type Gate interface {
	Redeemer
	Switch
	Viewer
	Signer
	Cashier
}

var _ Gate = (*zonegate.Gate)(nil)

// A Locator finds the hardware address behind an address on the customers'
// link, an IPv6 link-local one with its zone. Its error is [ErrNoAnswer] if it
// could not ask. Safe for concurrent use.
type Locator interface {
	Locate(context.Context, netip.Addr) (zonegate.MAC, error)
}

// A Server serves the portal. Its fields must not change once Handler or Run
// was called.
type Server struct {
	Gate    Gate
	Locator Locator

	// Addrs are the gateway's addresses on the customers' link, IPv4 and IPv6,
	// and Port is the TCP port on each. The addresses need not exist yet.
	Addrs []netip.Addr
	Port  uint16
	// Device is the interface of the customers' link. What comes in at another
	// one, such as the WAN, finds nobody there. Run waits for it while it is
	// missing. Empty means every interface.
	Device string
	// Name is the DNS name that URLs use instead of an address, in lower case;
	// may be empty.
	Name string
	// TLSCert and TLSKey are PEM files for Name; TLSPort is the port that they
	// serve (default Port+1). Without them there is no HTTPS, and devices do
	// not believe the API of RFC 8908. The files are read again when they
	// change.
	TLSCert, TLSKey string
	TLSPort         uint16

	// Till has mobile payments collected; nil where there are none. Customers
	// whom a NAS holds have vouchers alone.
	Till Till
	// NoPages says that customers cannot reach a provider's page before they are
	// online, so they cannot pay there.
	NoPages bool
	// PageOpen says whether a device reaches the provider's page now; nil is
	// yes. Safe for concurrent use.
	PageOpen func(zonegate.MAC) bool

	// Hotspots and Tickets sign customers in at the NASes that hold them; nil
	// where there are none.
	Hotspots Hotspots
	Tickets  Tickets
	// Remote are more addresses and ports, for customers whom a NAS holds and
	// who do not come from the link: see RemoteHandler. Those that are the
	// link's own are left out, because it has these pages too.
	Remote []netip.AddrPort
	// RemoteNames are the names, or addresses before a NAT, by which such
	// customers reach us, with the port unless it is 80.
	RemoteNames []string

	// Zone and Contact are shown on every page.
	Zone, Contact string
	// Language is used for browsers that ask for neither French nor English.
	Language web.Lang
	// Brand is asked for each page what replaces Zone, Contact and Language;
	// nil for nothing. Safe for concurrent use.
	Brand func() Brand
	// Megabyte is how many octets the zone calls one megabyte; default
	// 1,000,000.
	Megabyte uint64
	// TimeZone is where the customers are; default time.Local.
	TimeZone *time.Location
	Logger   *slog.Logger

	// unknownLogged is when a device without a hardware address was last
	// logged, in Unix seconds.
	unknownLogged atomic.Int64
	nas           nasDesk
}

// A Brand is how the zone presents itself.
type Brand struct {
	Zone, Contact string
	Language      web.Lang
	// French and English are what the operator has to say on every page, in
	// either language; may be empty.
	French, English string
}

func (b Brand) message(l web.Lang) string {
	if l == web.English && b.English != "" || b.French == "" {
		return b.English
	}
	return b.French
}

func (s *Server) brand() Brand {
	if s.Brand == nil {
		return Brand{Zone: s.Zone, Contact: s.Contact, Language: s.Language}
	}
	return s.Brand()
}

func init() { gin.SetMode(gin.ReleaseMode) }

// maxBody bounds what a request may carry: a form has one short field.
const maxBody = 4 << 10

// Handler returns the portal. It answers for every host: for its own with the
// pages, for all others with the way to them.
func (s *Server) Handler() http.Handler {
	pages := s.pages()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if s.ours(r) {
			pages.ServeHTTP(w, r)
		} else {
			s.elsewhere(w, r)
		}
	})
}

// engine returns one without routes.
func (s *Server) engine() *gin.Engine {
	e := gin.New()
	e.HandleMethodNotAllowed = true
	// These two would put parts of the request into a redirect.
	e.RedirectTrailingSlash = false
	e.RedirectFixedPath = false
	e.ForwardedByClientIP = false
	e.Use(s.log, s.recover, headers)
	return e
}

func (s *Server) pages() http.Handler {
	e := s.engine()
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		e.Handle(method, "/", s.home)
		e.Handle(method, "/add", s.add)
		e.Handle(method, "/status", s.status)
		e.Handle(method, "/status.json", s.status)
		e.Handle(method, "/captive", s.captive)
	}
	s.payRoutes(e)
	e.POST("/voucher", s.voucher)
	e.POST("/connect", s.connect)
	e.POST("/logout", s.logout)
	e.POST("/move", s.move)
	if s.Hotspots != nil && s.Tickets != nil {
		s.nasRoutes(e)
	}
	e.NoRoute(func(c *gin.Context) { s.refuse(c, refusalNotFound) })
	e.NoMethod(s.wrongMethod)
	return e
}

// wrongMethod answers a method that a route does not have. A browser that asks
// for the address of a form, because its page was loaded again, gets the page
// with that form.
func (s *Server) wrongMethod(c *gin.Context) {
	if strings.HasPrefix(c.Request.URL.Path, "/nas/") {
		s.refuseAway(c, refusalMethod, "")
		return
	}
	if c.Request.Method == http.MethodGet && wants(c.Request, formText) == formHTML {
		s.see(c, s.page(c, "/", "").Link("/", ""))
		return
	}
	s.refuse(c, refusalMethod)
}

// headers are those of every answer.
func headers(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src "+web.StyleSource+
		"; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Vary", "Accept, Accept-Language")
}

// log writes one line per request: the route, never the path with what a
// customer typed, no token and no device.
func (s *Server) log(c *gin.Context) {
	start := time.Now()
	c.Next()
	s.logger().Debug("portal request", "method", c.Request.Method, "route", c.FullPath(),
		"status", c.Writer.Status(), "took", time.Since(start))
}

// recover answers a request whose handler broke, and lets the others live.
func (s *Server) recover(c *gin.Context) {
	defer func() {
		switch v := recover(); {
		case v == nil:
		case v == http.ErrAbortHandler:
			panic(v)
		default:
			s.logger().Error("a portal handler broke; please report this", "route", c.FullPath(), "panic", v, "stack", string(debug.Stack()))
			if !c.Writer.Written() {
				s.refuse(c, refusalFault)
			}
			c.Abort()
		}
	}()
	c.Next()
}

func (s *Server) logger() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}
