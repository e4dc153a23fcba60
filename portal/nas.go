package portal

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/a-h/templ"
	"github.com/gin-gonic/gin"

	"zonegate"
	"zonegate/web"
)

// Kinds of hotspots, by how a browser signs in there.
const (
	// KindMikroTik is the hotspot of RouterOS: a form, sent to its login page.
	KindMikroTik = "mikrotik"
	// KindUAM is CoovaChilli, uspot and others of ChilliSpot's line: an address
	// with the password's response in it.
	KindUAM = "uam"
)

// A Hotspot is a network access server (NAS) that holds its customers until
// they have signed in at it, and sends them here first.
type Hotspot struct {
	// Name is the one that [Tickets] and the domain know it by.
	Name string
	// Kind is KindMikroTik or KindUAM. Others cannot be signed in at.
	Kind string
	// UAMSecret is the uamsecret that a KindUAM shares with us, if any.
	UAMSecret []byte
}

// Hotspots knows the NASes that may send customers here. Safe for concurrent
// use.
type Hotspots interface {
	// ByLogin returns the NAS whose login page is at a host or host:port, in
	// lower case.
	ByLogin(host string) (Hotspot, bool)
}

// Tickets makes one-time passwords. Each is good for one login of the device at
// the NAS of that name, under that grant; zero is for a device that has none
// now. They pass unchanged through addresses and forms. Safe for
// concurrent use.
type Tickets interface {
	Issue(nas string, device zonegate.MAC, grant zonegate.GrantID) (user, password string)
}

// nasDesk is what the pages for customers of NASes need besides the Server's
// fields.
type nasDesk struct {
	once sync.Once
	sealer
	guesses, signIns meter
	// warned is when a problem was last logged, in Unix seconds.
	warned atomic.Int64
}

func (s *Server) desk() *nasDesk {
	s.nas.once.Do(func() { s.nas.sealer = newSealer() })
	return &s.nas
}

// RemoteHandler returns the part of the portal for customers whom a NAS holds.
// They do not come from the link, so nobody knows who they are: there are no
// other pages.
func (s *Server) RemoteHandler() http.Handler {
	e := s.engine()
	s.nasRoutes(e)
	e.NoRoute(func(c *gin.Context) { s.refuseAway(c, refusalNotFound, "") })
	e.NoMethod(func(c *gin.Context) { s.refuseAway(c, refusalMethod, "") })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if !s.ours(r) {
			// Another name for our address may be another site's.
			s.warn("a customer of a NAS asked for the portal by a name that is not known here", "client", clientAddr(r.RemoteAddr))
			r.URL.Path = "/"
		}
		e.ServeHTTP(w, r)
	})
}

// nasRoutes are served on the link too: a NAS may be there.
func (s *Server) nasRoutes(e *gin.Engine) {
	g := e.Group("/nas", func(c *gin.Context) {
		// All customers of one NAS may come from one address, which may have a
		// few connections only.
		c.Header("Connection", "close")
	})
	g.GET("/mikrotik", s.fromMikroTik)
	g.POST("/mikrotik", s.fromMikroTik)
	g.GET("/uam", s.fromUAM)
	g.GET("/uam/", s.fromUAM) // uspot's manual asks for the slash
	g.GET("/login", s.held)
	g.POST("/voucher", s.heldVoucher)
	g.POST("/connect", s.heldConnect)
	g.GET("/status", s.heldStatus)
	g.GET("/online", s.heldOnline)
}

// here is our address as the customer reached it, without a final slash. It is
// one of our own: ours has looked at it.
func (s *Server) here(r *http.Request) string {
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	return scheme + strings.ToLower(r.Host)
}

// arrive shows the first page to a customer whom a NAS has sent.
func (s *Server) arrive(c *gin.Context, v visit, alert *web.Alert, notice web.Text) {
	h := s.heldPage(c, v)
	h.Alert, h.Failed, h.Notice = alert, alert != nil, notice
	s.allow(c, v.Login)
	s.show(c, http.StatusOK, web.HeldPage(h))
}

func (s *Server) heldPage(c *gin.Context, v visit) web.Held {
	p := s.page(c, "/nas/login", "")
	p.State = s.desk().seal(v, sourceOf(c.Request))
	return web.Held{Page: p, Plans: s.plans()}
}

// allow lets the page's forms lead to the NAS, at once or through us: browsers
// hold redirects to the same rule.
func (s *Server) allow(c *gin.Context, login string, sources ...string) {
	u, err := url.Parse(login)
	if err != nil {
		return // not one of ours
	}
	policy := "default-src 'none'; style-src " + web.StyleSource
	for _, source := range sources {
		policy += "; script-src " + source
	}
	c.Header("Content-Security-Policy", policy+"; form-action 'self' "+u.Scheme+"://"+u.Host+"; base-uri 'none'; frame-ancestors 'none'")
}

// held shows the first page again, in the other language for example.
func (s *Server) held(c *gin.Context) {
	v, _, ok := s.visit(c, c.Query("s"))
	if ok {
		s.arrive(c, v, nil, web.TextNone)
	}
}

// heldPost reads a form of ours.
func (s *Server) heldPost(c *gin.Context) (visit, Hotspot, url.Values, bool) {
	if err := c.Request.ParseForm(); err != nil {
		f := refusalRequest
		if errors.As(err, new(*http.MaxBytesError)) {
			f = refusalTooLarge
		}
		s.refuseAway(c, f, "")
		return visit{}, Hotspot{}, nil, false
	}
	form := c.Request.PostForm
	v, h, ok := s.visit(c, form.Get("s"))
	return v, h, form, ok
}

// visit opens the state of a page of ours. It answers and returns false when
// the state is not ours, too old, or of a NAS that is gone.
func (s *Server) visit(c *gin.Context, sealed string) (visit, Hotspot, bool) {
	v, fresh := s.desk().open(sealed, sourceOf(c.Request))
	h, known := s.hotspot(v.Login)
	known = known && h.Kind == v.Kind && h.Name == v.NAS
	switch {
	case fresh && known:
		return v, h, true
	case known && v.Kind == KindMikroTik:
		// Whoever wrote it, it leads to the login page of a NAS of ours.
		s.refuseAway(c, refusalStale, v.Login)
	default:
		s.refuseAway(c, refusalStale, "")
	}
	return visit{}, Hotspot{}, false
}

// heldVoucher makes a code a grant of the device and signs the device in.
func (s *Server) heldVoucher(c *gin.Context) {
	v, h, form, ok := s.heldPost(c)
	if !ok {
		return
	}
	code := form.Get("code")
	if strings.TrimSpace(code) == "" {
		s.refuseHeld(c, v, refusalEmpty, "")
		return
	}
	limits := v.guessLimits(sourceOf(c.Request))
	if after, ok := s.desk().guesses.take(time.Now(), limits); !ok {
		s.warn("too many codes are typed behind a NAS; somebody may be guessing", "nas", v.NAS, "client", clientAddr(c.Request.RemoteAddr))
		f := refusalHere
		f.retry = after
		s.refuseHeld(c, v, f, shorten(code))
		return
	}
	st, err := s.Gate.Redeem(c.Request.Context(), zonegate.Redemption{
		Code: code, Device: v.device(), Move: form.Get("move") == "1", NAS: h.Name,
	})
	if err != nil {
		f := s.explain(err)
		if !f.guess() {
			s.desk().guesses.giveBack(limits)
		}
		s.logger().Debug("code refused", "reason", f.reason, "device", v.device(), "nas", v.NAS)
		s.refuseHeld(c, v, f, shorten(code))
		return
	}
	s.desk().guesses.giveBack(limits)
	// What the device had before belongs to whoever has that hardware address,
	// and this may be somebody else. Only if there is one grant alone is it
	// certainly the code's.
	token := ""
	if st.Grant != nil && len(st.Queue) == 0 {
		token = st.Grant.Token
	}
	s.signIn(c, v, h, st, token)
}

// heldConnect signs a device in with what it has. Whether it has anything only
// the NAS learns, which knows the device: the answer is always the same.
func (s *Server) heldConnect(c *gin.Context) {
	if v, h, _, ok := s.heldPost(c); ok {
		s.signIn(c, v, h, s.Gate.Standing(v.device()), "")
	}
}

// signIn sends the browser to the NAS with a ticket for what the device has,
// and from there to the status page of a token, or to one that says nothing.
func (s *Server) signIn(c *gin.Context, v visit, h Hotspot, st zonegate.Standing, token string) {
	if after, ok := s.desk().signIns.take(time.Now(), v.signInLimits(sourceOf(c.Request))); !ok {
		f := refusalHere
		f.retry = after
		s.refuseHeld(c, v, f, "")
		return
	}
	var grant zonegate.GrantID
	if st.Grant != nil {
		grant = st.Grant.Grant
	}
	user, password := s.Tickets.Issue(h.Name, v.device(), grant)
	s.logger().Debug("device signs in at a NAS", "device", v.device(), "nas", h.Name)
	then := s.here(c.Request) + s.page(c, "", "").Link("/nas/online", "")
	if token != "" {
		then = s.here(c.Request) + s.page(c, "", "").Link("/nas/status", token) + "&n=online"
	}
	if v.Kind == KindUAM {
		c.Header("Location", uamLogon(v, h, user, password, then))
		c.Data(http.StatusSeeOther, plain, []byte("OK\n"))
		return
	}
	p := s.page(c, "/nas/login", "")
	p.State = s.desk().seal(v, sourceOf(c.Request))
	s.allow(c, v.Login, web.ScriptSource)
	s.show(c, http.StatusOK, web.SignInPage(web.SignIn{
		Page: p, Action: v.Login, User: user, Password: mikrotikPassword(v, password), Then: then,
	}))
}

// heldStatus shows what is left of the grant that a token names. It reaches no
// session: the NAS does.
func (s *Server) heldStatus(c *gin.Context) {
	b, err := s.balanceOf(c.Query("t"))
	if err == nil && b.State.Ended() {
		err = zonegate.ErrGrantEnded
	}
	if err != nil {
		s.refuseAway(c, s.explain(err), "")
		return
	}
	p := s.page(c, "/nas/status", b.Token)
	s.show(c, http.StatusOK, web.StatusPage(web.Status{
		Page: p, Balance: s.view(b), Held: true,
		// The NAS leads here when it has let the customer in, and reports that
		// a moment later.
		Online: c.Query("n") == "online" || s.online(b),
	}))
}

// online says whether a device is online with a grant.
func (s *Server) online(b zonegate.Balance) bool {
	for _, mac := range b.Devices {
		if st := s.Gate.Standing(mac); st.Online && st.Grant.Grant == b.Grant {
			return true
		}
	}
	return false
}

// heldOnline is where a customer ends up of whom nothing is known.
func (s *Server) heldOnline(c *gin.Context) {
	s.show(c, http.StatusOK, web.OnlinePage(s.page(c, "/nas/online", "")))
}

// refuseHeld answers with a refusal on the page where a code is typed.
func (s *Server) refuseHeld(c *gin.Context, v visit, f refusal, code string) {
	s.allow(c, v.Login)
	s.refuseWith(c, f, func(p web.Page) templ.Component {
		h := s.heldPage(c, v)
		h.Alert, h.Code, h.Confirm = p.Alert, code, f.reason == "other_device"
		return web.HeldPage(h)
	})
}

// refuseAway answers with a refusal that leads back to a NAS's login page, or
// nowhere.
func (s *Server) refuseAway(c *gin.Context, f refusal, back string) {
	s.refuseWith(c, f, func(p web.Page) templ.Component {
		p.Self = "" // there is nothing to show in the other language
		return web.MessagePage(web.Message{Page: p, Back: back, Button: web.TextGoPortal})
	})
}

// refuseSetup answers a request that no NAS sends that is set up right, and
// tells the reseller how to do it.
func (s *Server) refuseSetup(c *gin.Context, problem string, args ...any) {
	s.warn("a customer came from a NAS that is not set up right: "+problem, append(args, "client", clientAddr(c.Request.RemoteAddr))...)
	s.refuseAway(c, refusalSetup, "")
}

// warn logs a problem that any request can cause, at most once a minute.
func (s *Server) warn(problem string, args ...any) {
	d := s.desk()
	now, last := time.Now().Unix(), d.warned.Load()
	if (now < last || now-last >= 60) && d.warned.CompareAndSwap(last, now) {
		s.logger().Warn(problem, args...)
	}
}

// hotspot returns the NAS whose login page a login address is at.
func (s *Server) hotspot(login string) (Hotspot, bool) {
	u, err := url.Parse(login)
	if err != nil || u.Host == "" || s.Hotspots == nil || s.Tickets == nil {
		return Hotspot{}, false
	}
	for _, host := range sameHosts(u) {
		if h, ok := s.Hotspots.ByLogin(host); ok {
			return h, h.Kind == KindMikroTik || h.Kind == KindUAM
		}
	}
	return Hotspot{}, false
}

// sameHosts are the ways to write the host of an address.
func sameHosts(u *url.URL) []string {
	port := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if u.Path == uamLogonPath {
		port = uamPort
	}
	hosts := []string{u.Host}
	if u.Port() == "" {
		hosts = append(hosts, u.Host+":"+port)
	} else if bare, ok := strings.CutSuffix(u.Host, ":"+port); ok {
		hosts = append(hosts, bare)
	}
	return hosts
}

// sourceOf is who a request comes from, as far as its address tells: the /64
// of an IPv6 one, in which a customer has as many as he likes.
func sourceOf(r *http.Request) netip.Prefix {
	addr := clientAddr(r.RemoteAddr)
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits) // zero for no address, like all of those
	return prefix
}
