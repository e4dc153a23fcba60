package simros

import (
	"fmt"
	"html"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// LoginPage is the hotspot's web server, as a phone on the hotspot meets it: a
// stranger who asks for anything is sent to the login page; /login takes
// username and password and sends the phone on to dst; /status and /logout do
// what they say. A phone is known by the address that its request comes from,
// which must have appeared.
//
// With Options.Portal the login page is elsewhere: the phone is sent there
// with mac, ip, username, error, link-login-only and link-orig in the query,
// as the login.html of an operator with a portal of his own does; the names are
// the page variables of [ERR] and its neighbour login.html.
func (r *Router) LoginPage() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/login", r.serveLogin)
	mux.HandleFunc("/logout", r.serveLogout)
	mux.HandleFunc("/status", r.serveStatus)
	mux.HandleFunc("/", func(w http.ResponseWriter, q *http.Request) {
		http.Redirect(w, q, r.loginURL()+"?dst="+url.QueryEscape("http://"+q.Host+q.URL.RequestURI()), http.StatusFound)
	})
	return mux
}

// phone finds the host that sent a request.
func (r *Router) phone(q *http.Request) (*host, string) {
	ip, _, err := net.SplitHostPort(q.RemoteAddr)
	if err != nil {
		ip = q.RemoteAddr
	}
	for _, h := range r.hosts {
		if h.ip == ip {
			return h, ip
		}
	}
	return nil, ip
}

// loginURL is link-login-only: the hotspot's own address.
func (r *Router) loginURL() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.serverProfile(); p != nil {
		return "http://" + p.v["hotspot-address"] + "/login"
	}
	return "/login"
}

func (r *Router) serverProfile() *row {
	if server := r.server(); server != nil {
		return r.menus["/ip/hotspot/profile"].byID(server.v["profile"])
	}
	return nil
}

func (r *Router) serveLogin(w http.ResponseWriter, q *http.Request) {
	name, dst := q.FormValue("username"), q.FormValue("dst")
	var trouble string
	if name != "" {
		var trap *Trap
		r.with(func() { trap = r.browserLogin(q, name, q.FormValue("password")) })
		if trap == nil {
			if dst == "" {
				dst = "/status"
			}
			http.Redirect(w, q, dst, http.StatusFound)
			return
		}
		trouble = strings.TrimPrefix(trap.Message, "failure: ")
	}
	link := r.loginURL()
	if r.options.Portal != "" {
		var mac, ip string
		r.with(func() {
			h, from := r.phone(q)
			if ip = from; h != nil {
				mac = h.mac
			}
		})
		to := url.Values{"mac": {mac}, "ip": {ip}, "username": {name}, "error": {trouble}, "link-login-only": {link}, "link-orig": {dst}}
		joint := "?"
		if strings.Contains(r.options.Portal, "?") {
			joint = "&"
		}
		http.Redirect(w, q, r.options.Portal+joint+to.Encode(), http.StatusFound)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, `<!doctype html><title>hotspot login</title><p id="error">%s</p><form action="%s" method="post"><input type="hidden" name="dst" value="%s"><input name="username"><input name="password" type="password"><button>OK</button></form>`,
		html.EscapeString(trouble), html.EscapeString(link), html.EscapeString(dst))
}

// browserLogin takes a password in clear only where the server's profile has
// http-pap [HOT]; otherwise the answer to a challenge is missing [ERR].
func (r *Router) browserLogin(q *http.Request, name, password string) *Trap {
	r.tick()
	h, ip := r.phone(q)
	if h == nil || r.off {
		return failure("unknown host IP %s", ip)
	}
	by := "http-pap"
	if q.TLS != nil {
		by = "https"
	}
	if p := r.serverProfile(); p == nil || !slices.Contains(strings.Split(p.v["login-by"], ","), by) {
		return failure("web browser did not send challenge response (try again, enable JavaScript)")
	}
	return r.authorize(h, name, &password, by)
}

func (r *Router) serveLogout(w http.ResponseWriter, q *http.Request) {
	r.with(func() {
		if h, _ := r.phone(q); h != nil && h.active != nil {
			mac := h.mac
			r.logout(h.active, "user request")
			r.forgetCookies(mac) // [HOT]
		}
	})
	fmt.Fprintln(w, "you have just logged out")
}

func (r *Router) serveStatus(w http.ResponseWriter, q *http.Request) {
	var status string
	r.with(func() {
		r.tick()
		h, ip := r.phone(q)
		if h == nil || h.active == nil {
			status = fmt.Sprintf("you are not logged in (ip %s)", ip) // [ERR]
			return
		}
		a := h.active
		a.row.refresh()
		status = fmt.Sprintf("username: %s\nbytes up/down: %d / %d\nconnected: %s\nleft: %s",
			a.row.v["user"], a.used.up, a.used.down, a.row.v["uptime"], a.row.v["session-time-left"])
	})
	fmt.Fprintln(w, status)
}
