package portal

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"

	"zonegate/web"
)

// A probe is a request with which a system finds out whether it is online, and
// the answer that says so.
type probe struct {
	// host is empty for any host, or a host with all its subdomains.
	host, path  string
	status      int
	contentType string
	body        string
}

const (
	plain = "text/plain; charset=utf-8"
	html  = "text/html; charset=utf-8"

	appleOnline   = "<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>"
	managerOnline = "NetworkManager is online\n"
)

// probes are those of the systems that people bring. Paths that exist for
// nothing else count on any host: vendors have many.
var probes = []probe{
	// Android, Chrome OS, Huawei, Honor, Xiaomi, Samsung, TECNO.
	{"", "/generate_204", http.StatusNoContent, "", ""},
	{"", "/gen_204", http.StatusNoContent, "", ""},
	// Apple.
	{"", "/hotspot-detect.html", http.StatusOK, "text/html", appleOnline},
	{"", "/library/test/success.html", http.StatusOK, "text/html", appleOnline},
	// Windows 10 and 11, and before.
	{"msftconnecttest.com", "/connecttest.txt", http.StatusOK, "text/plain", "Microsoft Connect Test"},
	{"msftncsi.com", "/ncsi.txt", http.StatusOK, "text/plain", "Microsoft NCSI"},
	// Firefox.
	{"detectportal.firefox.com", "/canonical.html", http.StatusOK, html, `<meta http-equiv="refresh" content="0;url=https://support.mozilla.org/kb/captive-portal"/>`},
	{"detectportal.firefox.com", "/success.txt", http.StatusOK, plain, "success\n"},
	// Linux: NetworkManager as the distributions set it up, and KDE.
	{"nmcheck.gnome.org", "/check_network_status.txt", http.StatusOK, plain, managerOnline},
	{"network-test.debian.org", "/nm", http.StatusOK, plain, managerOnline},
	{"ping.archlinux.org", "/nm-check.txt", http.StatusOK, plain, managerOnline},
	{"connectivity-check.ubuntu.com", "/", http.StatusNoContent, "", ""},
	{"fedoraproject.org", "/static/hotspot.txt", http.StatusOK, plain, "OK"},
	{"networkcheck.kde.org", "/", http.StatusOK, plain, "OK\n"},
	// Kindle looks for the number.
	{"spectrum.s3.amazonaws.com", "/kindle-wifi/wifistub.html", http.StatusOK, html,
		"<html><head><title>Kindle Reachability Probe Page</title></head><body>81ce4465-7167-4dcb-835b-dcc9e44c112a</body></html>"},
}

func (p probe) matches(host, path string) bool {
	return p.path == path && (p.host == "" || host == p.host || strings.HasSuffix(host, "."+p.host))
}

// findProbe returns the probe that a request is.
func findProbe(r *http.Request) (probe, bool) {
	host := strings.ToLower(r.Host)
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	host = strings.TrimSuffix(host, ".")
	for _, p := range probes {
		if p.matches(host, r.URL.Path) {
			return p, true
		}
	}
	// Apple's assistant also asks for other pages, and says who it is.
	if strings.HasPrefix(r.UserAgent(), "CaptiveNetworkSupport") {
		return probe{status: http.StatusOK, contentType: "text/html", body: appleOnline}, true
	}
	return probe{}, false
}

// elsewhere answers a request that was on its way to another host. A device
// that is online came here in the moment in which it went online: its probe
// gets the answer that closes the sign-in window. Everybody else is sent to the
// portal, with a body, because Android takes an empty answer for the internet.
//
// The connection is closed: the next request must find the internet.
func (s *Server) elsewhere(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Connection", "close")
	h.Set("Cache-Control", "no-store")
	if p, ok := findProbe(r); ok && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		if mac, err := s.device(r); err == nil {
			if st := s.Gate.Standing(mac); st.Online && !st.Pending {
				p.answer(w)
				return
			}
		}
	}
	to := s.base(r) + "/"
	lang, _ := s.language(r)
	var body bytes.Buffer
	if err := web.RedirectPage(lang, to).Render(r.Context(), &body); err != nil {
		s.logger().Error("a page could not be made", "error", err)
	}
	h.Set("Location", to)
	h.Set("Content-Type", html)
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(http.StatusFound)
	_, _ = w.Write(body.Bytes())
}

func (p probe) answer(w http.ResponseWriter) {
	h := w.Header()
	if strings.HasPrefix(p.body, managerOnline) || p.host == "connectivity-check.ubuntu.com" {
		h.Set("X-NetworkManager-Status", "online")
	}
	if p.status == http.StatusNoContent {
		w.WriteHeader(p.status)
		return
	}
	h.Set("Content-Type", p.contentType)
	h.Set("Content-Length", strconv.Itoa(len(p.body)))
	w.WriteHeader(p.status)
	_, _ = w.Write([]byte(p.body))
}
