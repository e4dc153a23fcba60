package lab_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zonegate/internal/lab"
)

func TestNetworkReachesInternet(t *testing.T) {
	l := up(t, lab.Options{})
	for _, tt := range []struct{ name, url, want string }{
		{"ipv4 is masqueraded", "http://198.51.100.10/address", "198.51.100.1"},
		{"ipv6 is routed", "http://[2001:db8:ffff::10]/address", l.Info.Hosts["phone2"].IPv6},
		{"garden has its own address", "http://198.51.100.11/address", "198.51.100.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.TrimSpace(output(t, l, "phone2", "curl", "-sS", "--max-time", "5", tt.url))
			if got != tt.want {
				t.Errorf("internet saw %q, want %q", got, tt.want)
			}
		})
	}
}

func TestInternetAnswersProbes(t *testing.T) {
	l := up(t, lab.Options{Phones: 1})
	client := l.Client("phone1")
	for _, tt := range []struct {
		host, path string
		status     int
		body       string
	}{
		{"connectivitycheck.gstatic.com", "/generate_204", 204, ""},
		{"captive.apple.com", "/hotspot-detect.html", 200, "<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>"},
		{"www.msftconnecttest.com", "/connecttest.txt", 200, "Microsoft Connect Test"},
		{"detectportal.firefox.com", "/success.txt", 200, "success\n"},
		{"garden.example", "/", 200, "<!doctype html><title>the garden</title><p>This is the garden.\n"},
		{"any.name", "/bytes?n=5", 200, "\x00\x00\x00\x00\x00"},
	} {
		req, err := http.NewRequest("GET", "http://198.51.100.10"+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = tt.host
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != tt.status || string(body) != tt.body {
			t.Errorf("%s%s: got %d %q, want %d %q", tt.host, tt.path, resp.StatusCode, body, tt.status, tt.body)
		}
	}
}

func TestInternetAnswersNames(t *testing.T) {
	l := up(t, lab.Options{Phones: 1})
	for _, network := range []string{"udp", "tcp"} {
		r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return l.Dial(ctx, "phone1", network, "198.51.100.10:53")
		}}
		for name, want := range map[string]string{
			"example.com.":        "198.51.100.10 2001:db8:ffff::10",
			"www.garden.example.": "198.51.100.11 2001:db8:ffff::11",
		} {
			got, err := r.LookupHost(t.Context(), name)
			if err != nil {
				t.Fatalf("%s over %s: %v", name, network, err)
			}
			slices.Sort(got)
			if strings.Join(got, " ") != want {
				t.Errorf("%s over %s: got %v, want %s", name, network, got, want)
			}
		}
	}
}

func TestUpRefusesTwiceAndCleansUp(t *testing.T) {
	const name = "zttwice"
	l := up(t, lab.Options{Name: name})
	dir := l.Dir()
	if _, err := lab.Up(t.Context(), lab.Options{Name: name}); err == nil || !strings.Contains(err.Error(), "already runs") {
		t.Errorf("second lab of the same name: got %v, want a refusal", err)
	}
	st, err := lab.Find(name)
	if err != nil || !st.Running || !st.Ready {
		t.Errorf("status: got %+v, %v, want running and ready", st, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{dir, "/run/netns/" + name + "-*", "/etc/netns/" + name + "-*"} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	if _, err := lab.Find(name); err != lab.ErrNotRunning {
		t.Errorf("status after Close: got %v, want %v", err, lab.ErrNotRunning)
	}
}

func TestUpCleansUpAfterCrash(t *testing.T) {
	const name = "ztcrash"
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := crashedLab(t, self, name)
	if !strings.Contains(out, "crashing") {
		t.Fatalf("crashing lab said %q", out)
	}
	st, err := lab.Find(name)
	if err != nil || st.Running {
		t.Fatalf("after the crash: got %+v, %v, want a lab that does not run", st, err)
	}
	l := up(t, lab.Options{Name: name})
	output(t, l, "phone1", "curl", "-sS", "--max-time", "5", "http://198.51.100.10/")
}

func TestBrowserIsPhone1(t *testing.T) {
	l := up(t, lab.Options{BrowserPort: 18477})
	portal, err := l.Listen("gateway", "tcp", lab.PortalAddr)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, lab.PortalURL+"login?x=1", http.StatusFound)
		default:
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "host="+r.Host+" from="+from+" origin="+strings.TrimPrefix(r.Header.Get("Origin"), "http://")+` <a href="`+lab.PortalURL+`login">`)
		}
	})}
	go srv.Serve(portal)
	t.Cleanup(func() { srv.Close() })

	base, err := url.Parse(l.Info.Browser)
	if err != nil {
		t.Fatal(err)
	}
	direct := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       10 * time.Second,
	}
	get := func(t *testing.T, client *http.Client, url, host, origin string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(body)
	}
	t.Run("portal", func(t *testing.T) {
		_, body := get(t, direct, l.Info.Browser, "", "http://"+base.Host)
		want := "host=" + lab.PortalAddr + " from=" + l.Info.Hosts["phone1"].IPv4 + " origin=" + lab.PortalAddr + ` <a href="/login">`
		if body != want {
			t.Errorf("got %q, want %q", body, want)
		}
	})
	t.Run("redirect", func(t *testing.T) {
		resp, _ := get(t, direct, l.Info.Browser+"moved", "", "")
		if got := resp.Header.Get("Location"); got != "/login?x=1" {
			t.Errorf("Location: got %q, want /login?x=1", got)
		}
	})
	t.Run("other names are refused", func(t *testing.T) {
		if resp, _ := get(t, direct, l.Info.Browser, "evil.example", ""); resp.StatusCode != http.StatusForbidden {
			t.Errorf("Host evil.example: got %d, want 403", resp.StatusCode)
		}
		if resp, _ := get(t, direct, l.Info.Browser, "", "http://evil.example"); resp.StatusCode != http.StatusForbidden {
			t.Errorf("Origin evil.example: got %d, want 403", resp.StatusCode)
		}
	})
	t.Run("proxy", func(t *testing.T) {
		proxied := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(base), DisableKeepAlives: true}, Timeout: 10 * time.Second}
		_, body := get(t, proxied, "http://[2001:db8:ffff::10]/address", "", "")
		if got := strings.TrimSpace(body); got != l.Info.Hosts["phone1"].IPv6 {
			t.Errorf("internet saw %q, want phone1's %s", got, l.Info.Hosts["phone1"].IPv6)
		}
	})
	t.Run("connect", func(t *testing.T) {
		conn, err := net.Dial("tcp", base.Host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// The request follows at once, as browsers do.
		io.WriteString(conn, "CONNECT [2001:db8:ffff::10]:80 HTTP/1.1\r\nHost: x\r\n\r\nGET /address HTTP/1.0\r\n\r\n")
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, &http.Request{Method: "CONNECT"})
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("CONNECT: got %v, %v", resp, err)
		}
		inner, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(inner.Body)
		if got := strings.TrimSpace(string(body)); got != l.Info.Hosts["phone1"].IPv6 {
			t.Errorf("internet saw %q, want phone1's %s", got, l.Info.Hosts["phone1"].IPv6)
		}
	})
}

func TestCrowdMembersHaveTheirOwnMACs(t *testing.T) {
	l := up(t, lab.Options{Phones: 1, Crowd: 300})
	for _, i := range []int{0, 255, 299} {
		c := lab.Member(i)
		conn, err := l.DialFrom(t.Context(), "crowd", net.Dialer{
			Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: c.IPv4.AsSlice()}}, "tcp", "198.51.100.10:80")
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		// The bridge learnt the address from the frame itself.
		if fdb := output(t, l, "gateway", "bridge", "fdb", "show", "br", "br-lan"); !strings.Contains(fdb, c.MAC.String()) {
			t.Errorf("member %d: no %s in\n%s", i, c.MAC, fdb)
		}
	}
}

func TestCommandRunsAtHost(t *testing.T) {
	l := up(t, lab.Options{Phones: 1})
	if got := output(t, l, "phone1", "cat", "/etc/resolv.conf"); got != "nameserver 10.77.0.1\n" {
		t.Errorf("phone1's resolver: %q", got)
	}
	links := output(t, l, "gateway", "ls", "/sys/class/net")
	if !strings.Contains(links, "br-lan") {
		t.Errorf("gateway's links in /sys: %q, want br-lan among them", links)
	}
	if code := exitCode(t, l.Command("phone1", "sh", "-c", "exit 7")); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
}
