package portal

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"zonegate"
	"zonegate/web"
)

// clientAddr reads an address with a port as net/http gives it. It returns the
// zero Addr for anything else.
func clientAddr(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

var (
	errNoAddress = errors.New("the request has no address")
	errRemote    = errors.New("customers of a NAS are not on the link")
)

// device returns who asks. An unknown device is logged, at most once a minute.
func (s *Server) device(r *http.Request) (zonegate.MAC, error) {
	addr := clientAddr(r.RemoteAddr)
	var mac zonegate.MAC
	err := errNoAddress
	if addr.IsValid() {
		mac, err = s.Locator.Locate(r.Context(), addr)
	}
	// That nobody could be asked is said by who knows why.
	if err != nil && r.Context().Err() == nil && !errors.Is(err, ErrNoAnswer) {
		now, last := time.Now().Unix(), s.unknownLogged.Load()
		if (now < last || now-last >= 60) && s.unknownLogged.CompareAndSwap(last, now) {
			s.logger().Warn("a device's hardware address is not known, so it can buy nothing; only devices on the customers' link can", "address", addr, "error", err)
		}
	}
	return mac, err
}

// local is the address and port that the client reached.
func (s *Server) local(r *http.Request) netip.AddrPort {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if ap, err := netip.ParseAddrPort(a.String()); err == nil {
			return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		}
	}
	local := netip.AddrPortFrom(netip.Addr{}, s.Port)
	if len(s.Addrs) > 0 {
		local = netip.AddrPortFrom(s.Addrs[0], s.Port)
	}
	return local
}

// ours says whether a request was meant for the portal: by its name or one of
// its addresses, on the port that it came in at. Everything else was
// redirected here on its way to somewhere.
func (s *Server) ours(r *http.Request) bool {
	for _, name := range s.RemoteNames {
		if strings.EqualFold(r.Host, name) {
			return true
		}
	}
	local := s.local(r)
	host, port := r.Host, ""
	if h, p, err := net.SplitHostPort(r.Host); err == nil {
		host, port = h, p
	}
	if port == "" {
		port = "80"
		if r.TLS != nil {
			port = "443"
		}
	}
	if port != strconv.Itoa(int(local.Port())) {
		return false
	}
	if s.Name != "" && strings.EqualFold(strings.TrimSuffix(host, "."), s.Name) {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return false
	}
	if addr == local.Addr() {
		return true
	}
	for _, a := range s.Addrs {
		if addr == a {
			return true
		}
	}
	return false
}

// base is the address of the portal for a client, without a final slash. It
// never contains anything that the client sent.
func (s *Server) base(r *http.Request) string {
	local := s.local(r)
	port := strconv.Itoa(int(local.Port()))
	if s.Name != "" {
		if r.TLS != nil {
			return "https://" + net.JoinHostPort(s.Name, port)
		}
		return "http://" + net.JoinHostPort(s.Name, port)
	}
	addr := local.Addr()
	// No browser takes a link-local address with its zone.
	for i := 0; (!addr.IsValid() || addr.IsLinkLocalUnicast() && addr.Is6()) && i < len(s.Addrs); i++ {
		addr = s.Addrs[i]
	}
	return "http://" + net.JoinHostPort(addr.String(), port)
}

// language returns the language of an answer, and whether the customer picked
// it with a link.
func (s *Server) language(r *http.Request) (web.Lang, bool) {
	if l, ok := web.ParseLang(r.URL.Query().Get("lang")); ok {
		return l, true
	}
	best, quality := s.brand().Language, 0.0
	for tag, q := range preferences(r.Header.Get("Accept-Language")) {
		if l, ok := web.ParseLang(tag); ok && q > quality {
			best, quality = l, q
		}
	}
	return best, false
}

// preferences reads a list such as "fr-FR,en;q=0.8" (RFC 9110 section 12.4.2),
// in order.
func preferences(header string) func(func(string, float64) bool) {
	return func(yield func(string, float64) bool) {
		for item := range strings.SplitSeq(header, ",") {
			name, rest, _ := strings.Cut(item, ";")
			q := 1.0
			for param := range strings.SplitSeq(rest, ";") {
				if k, v, _ := strings.Cut(strings.TrimSpace(param), "="); strings.EqualFold(k, "q") {
					if f, err := strconv.ParseFloat(v, 64); err == nil {
						q = f
					}
				}
			}
			if !yield(strings.ToLower(strings.TrimSpace(name)), q) {
				return
			}
		}
	}
}

// A form is how an answer is written.
type form uint8

const (
	formText form = iota
	formHTML
	formJSON
)

// wants returns the form that the client asks for; a client that takes
// anything gets otherwise.
func wants(r *http.Request, otherwise form) form {
	best, quality := otherwise, 0.0
	for name, q := range preferences(r.Header.Get("Accept")) {
		var f form
		switch name {
		case "text/html", "application/xhtml+xml":
			f = formHTML
		case "application/json":
			f = formJSON
		case "text/plain":
			f = formText
		default:
			continue
		}
		if q > quality {
			best, quality = f, q
		}
	}
	return best
}
