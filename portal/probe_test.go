package portal_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// systemProbes are what phones and computers ask, and what they call online.
var systemProbes = []struct {
	system, host, path, agent string
	status                    int
	contentType, body         string
}{
	{"android", "connectivitycheck.gstatic.com", "/generate_204", "", 204, "", ""},
	{"android https name", "www.google.com", "/generate_204", "", 204, "", ""},
	{"android fallback", "www.google.com", "/gen_204", "", 204, "", ""},
	{"android fallback", "play.googleapis.com", "/generate_204", "", 204, "", ""},
	{"android old", "clients3.google.com", "/generate_204", "", 204, "", ""},
	{"android old", "connectivitycheck.android.com", "/generate_204", "", 204, "", ""},
	{"xiaomi", "connect.rom.miui.com", "/generate_204", "", 204, "", ""},
	{"huawei", "connectivitycheck.platform.hicloud.com", "/generate_204", "", 204, "", ""},
	{"honor", "connectivitycheck.platform.hihonorcloud.com", "/generate_204", "", 204, "", ""},
	{"apple", "captive.apple.com", "/hotspot-detect.html", "CaptiveNetworkSupport-443.60.1 wispr", 200, "text/html", "<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>"},
	{"apple other page", "captive.apple.com", "/mDLr3/kJ9.html", "CaptiveNetworkSupport-443.60.1 wispr", 200, "text/html", "<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>"},
	{"apple safari", "captive.apple.com", "/hotspot-detect.html", "Mozilla/5.0", 200, "text/html", "<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>"},
	{"apple old", "www.apple.com", "/library/test/success.html", "", 200, "text/html", "<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>"},
	{"windows", "www.msftconnecttest.com", "/connecttest.txt", "", 200, "text/plain", "Microsoft Connect Test"},
	{"windows v6", "ipv6.msftconnecttest.com", "/connecttest.txt", "", 200, "text/plain", "Microsoft Connect Test"},
	{"windows old", "www.msftncsi.com", "/ncsi.txt", "", 200, "text/plain", "Microsoft NCSI"},
	{"firefox", "detectportal.firefox.com", "/canonical.html", "", 200, "text/html; charset=utf-8", `<meta http-equiv="refresh" content="0;url=https://support.mozilla.org/kb/captive-portal"/>`},
	{"firefox", "detectportal.firefox.com", "/success.txt", "", 200, "text/plain; charset=utf-8", "success\n"},
	{"firefox with query", "detectportal.firefox.com", "/success.txt?ipv4", "", 200, "text/plain; charset=utf-8", "success\n"},
	{"gnome", "nmcheck.gnome.org", "/check_network_status.txt", "", 200, "text/plain; charset=utf-8", "NetworkManager is online\n"},
	{"debian", "network-test.debian.org", "/nm", "", 200, "text/plain; charset=utf-8", "NetworkManager is online\n"},
	{"ubuntu", "connectivity-check.ubuntu.com", "/", "", 204, "", ""},
	{"fedora", "fedoraproject.org", "/static/hotspot.txt", "", 200, "text/plain; charset=utf-8", "OK"},
	{"arch", "ping.archlinux.org", "/nm-check.txt", "", 200, "text/plain; charset=utf-8", "NetworkManager is online\n"},
	{"kde", "networkcheck.kde.org", "/", "", 200, "text/plain; charset=utf-8", "OK\n"},
	{"kindle", "spectrum.s3.amazonaws.com", "/kindle-wifi/wifistub.html", "", 200, "text/html; charset=utf-8", "<html><head><title>Kindle Reachability Probe Page</title></head><body>81ce4465-7167-4dcb-835b-dcc9e44c112a</body></html>"},
}

// sentToPortal fails unless an answer leads to the portal in a way that every
// system takes for a captive portal.
func sentToPortal(t *testing.T, method string, w *http.Response) {
	t.Helper()
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if w.StatusCode != http.StatusFound {
		t.Errorf("status %d, want 302", w.StatusCode)
	}
	if got, want := w.Header.Get("Location"), "http://"+host+"/"; got != want {
		t.Errorf("Location %q, want %q", got, want)
	}
	if got := w.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	if method == http.MethodHead {
		if n := w.Header.Get("Content-Length"); n == "" || n == "0" {
			t.Errorf("Content-Length %q of a HEAD answer, want that of the body", n)
		}
	} else if !strings.Contains(string(body), `href="http://`+host+`/"`) {
		t.Errorf("body without the portal's link: %q", body)
	}
	if len(w.Cookies()) > 0 {
		t.Errorf("cookies: %v", w.Cookies())
	}
}

func TestProbesBeforeAndAfterPaying(t *testing.T) {
	z := newZone(t)
	ask := func(method, h, path, agent, from string) *http.Response {
		return z.do(call{method: method, target: path, host: h, from: from, accept: anybody, header: map[string]string{"User-Agent": agent}}).Result()
	}
	stages := []struct {
		name   string
		enter  func()
		online bool
	}{
		{"stranger", func() {}, false},
		{"paid, data path behind", func() {
			z.path.break_(errors.New("no tables"))
			z.redeem("b-day", macA)
		}, false},
	}
	check := func(t *testing.T, online bool) {
		for _, p := range systemProbes {
			for _, h := range []string{p.host, strings.ToUpper(p.host), p.host + ".", p.host + ":80"} {
				got := ask("GET", h, p.path, p.agent, phoneA)
				if !online {
					sentToPortal(t, "GET", got)
					continue
				}
				body, _ := io.ReadAll(got.Body)
				if got.StatusCode != p.status || string(body) != p.body || got.Header.Get("Content-Type") != p.contentType {
					t.Errorf("%s %s%s: %d %q %q", p.system, h, p.path, got.StatusCode, got.Header.Get("Content-Type"), body)
				}
				if got.Header.Get("Cache-Control") != "no-store" || got.Header.Get("Connection") != "close" {
					t.Errorf("%s: headers %v", p.system, got.Header)
				}
			}
			head := ask("HEAD", p.host, p.path, p.agent, phoneA)
			if online {
				if head.StatusCode != p.status {
					t.Errorf("%s: HEAD %d", p.system, head.StatusCode)
				}
			} else {
				sentToPortal(t, "HEAD", head)
			}
			// Another device of the zone stays out all the time, and one whose
			// hardware address is unknown too.
			sentToPortal(t, "GET", ask("GET", p.host, p.path, p.agent, phoneB))
			sentToPortal(t, "GET", ask("GET", p.host, p.path, p.agent, "192.168.77.99"))
		}
	}
	for _, stage := range stages {
		t.Run(stage.name, func(t *testing.T) {
			stage.enter()
			check(t, stage.online)
		})
	}

	// A zone of its own: the data path above is only tried again after seconds.
	z = newZone(t)
	z.redeem("b-day", macA)
	t.Run("online", func(t *testing.T) { check(t, true) })
	t.Run("online, no probe", func(t *testing.T) {
		sentToPortal(t, "GET", ask("GET", "example.com", "/success.txt", "", phoneA))
		sentToPortal(t, "POST", ask("POST", "www.google.com", "/generate_204", "", phoneA))
	})
	t.Run("logged out", func(t *testing.T) {
		if err := z.gate.Logout(t.Context(), macA); err != nil {
			t.Fatal(err)
		}
		check(t, false)
	})
}

func TestRedirectForEveryRequest(t *testing.T) {
	z := newZone(t)
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "BREW"} {
		for _, target := range []string{"/", "/status", "/voucher", "/captive", "/x/../y", "/?u=http://evil.example/", "/%0d%0aSet-Cookie:%20a=b", "/<script>alert(1)</script>"} {
			for _, h := range []string{"example.com", "example.com:2050", "192.168.77.1", "192.168.77.2:2050", "", "[::1]:2050", "x\"><script>", "fd77::1"} {
				r := z.request(call{method: method, target: "/", host: "placeholder", accept: browser})
				r.Host = h
				r.RequestURI, r.URL.Path = target, target
				w := httptest.NewRecorder()
				z.handler.ServeHTTP(w, r)
				sentToPortal(t, method, w.Result())
				if b := w.Body.String(); strings.Contains(b, "evil") || strings.Contains(b, "<script") {
					t.Errorf("the answer repeats the request: %s", b)
				}
			}
		}
	}
}

func TestPortalAddresses(t *testing.T) {
	z := newZone(t)
	z.server.Name = "portail.example.org"
	for _, test := range []struct {
		host string
		ours bool
	}{
		{"portail.example.org:2050", true},
		{"PORTAIL.example.org.:2050", true},
		{"192.168.77.1:2050", true},
		{"[fd77::1]:2050", true},
		{"portail.example.org", false},
		{"portail.example.org:80", false},
		{"192.168.77.1:80", false},
		{"xportail.example.org:2050", false},
		{"portail.example.org.evil.example:2050", false},
		{"192.168.77.10:2050", false},
	} {
		w := z.do(call{target: "/", host: test.host, accept: browser})
		switch {
		case test.ours && w.Code != http.StatusOK:
			t.Errorf("%s: %d, want the page", test.host, w.Code)
		case !test.ours && w.Header().Get("Location") != "http://portail.example.org:2050/":
			t.Errorf("%s: %d to %q, want a redirect to the name", test.host, w.Code, w.Header().Get("Location"))
		}
	}
}

// A link-local address with its zone is no address for a browser.
func TestPortalURLFollowsTheClient(t *testing.T) {
	z := newZone(t)
	for local, want := range map[string]string{
		"192.168.77.1:2050":    "http://192.168.77.1:2050/",
		"[fd77::1]:2050":       "http://[fd77::1]:2050/",
		"[fe80::1%lan0]:2050":  "http://192.168.77.1:2050/",
		"[::ffff:10.0.0.1]:90": "http://10.0.0.1:90/",
	} {
		r := z.request(call{target: "/", host: "example.com"})
		addr := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(local))
		w := httptest.NewRecorder()
		z.handler.ServeHTTP(w, r.WithContext(withLocal(r.Context(), addr)))
		if got := w.Header().Get("Location"); got != want {
			t.Errorf("reached at %s: sent to %q, want %q", local, got, want)
		}
	}
}

// What no client library would send.
func TestRawRequests(t *testing.T) {
	z := newZone(t)
	addr := z.run()
	base := "http://" + addr + "/"
	for name, test := range map[string]struct {
		request  string
		status   int
		location string
	}{
		"absolute form":          {"GET http://captive.apple.com/hotspot-detect.html HTTP/1.1\r\nHost: captive.apple.com\r\n\r\n", 302, base},
		"absolute form, ours":    {"GET " + base + " HTTP/1.1\r\nHost: example.com\r\n\r\n", 200, ""},
		"no host":                {"GET / HTTP/1.0\r\n\r\n", 302, base},
		"connect":                {"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", 302, base},
		"asterisk":               {"OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n", 302, base},
		"header injection":       {"GET /%0d%0aLocation:%20http://evil.example/%0d%0a HTTP/1.1\r\nHost: example.com\r\n\r\n", 302, base},
		"host injection":         {"GET / HTTP/1.1\r\nHost: example.com%0d%0aX: y\r\n\r\n", 400, ""},
		"two hosts":              {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, ""},
		"long url":               {"GET /" + strings.Repeat("a", 6<<10) + " HTTP/1.1\r\nHost: example.com\r\n\r\n", 302, base},
		"body on a foreign host": {"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("a", 100000), 302, base},
		"no http at all":         {"\x00\x01\x02 hello\r\n\r\n", 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go func() { _, _ = io.WriteString(conn, test.request) }()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != test.status || resp.Header.Get("Location") != test.location {
				t.Errorf("%d to %q, want %d to %q", resp.StatusCode, resp.Header.Get("Location"), test.status, test.location)
			}
		})
	}
}
