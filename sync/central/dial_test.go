package central

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestProxyOf(t *testing.T) {
	for _, try := range []struct{ server, proxy, except, want string }{
		{"https://hub.example.org/", "", "", ""},
		{"https://hub.example.org/", "http://proxy:3128", "", "http://proxy:3128"},
		{"https://hub.example.org/", "proxy:3128", "", "http://proxy:3128"},
		{"https://hub.example.org/", "proxy", "other.org,sub.hub.example.org, ,xample.org", "http://proxy"},
		{"https://hub.example.org/", "proxy", "a, Example.ORG", ""},
		{"https://hub.example.org/", "proxy", ".example.org", ""},
		{"https://hub.example.org/", "proxy", "*.example.org", ""},
		{"https://hub.example.org/", "proxy", "hub.example.org:443", ""},
		{"https://hub.example.org/", "proxy", "hub.example.org:8443", "http://proxy"},
		{"https://hub.example.org/", "proxy", "*", ""},
		{"https://192.0.2.7/", "proxy", "192.0.2.0/24", ""},
		{"https://192.0.2.7/", "proxy", "192.0.2.7", ""},
		{"https://192.0.2.7/", "proxy", "2.7,192.0.3.0/24", "http://proxy"},
		{"https://[2001:db8::1]:8443/", "proxy", "2001:db8::/32", ""},
		{"https://[2001:db8::1]:8443/", "proxy", "[2001:db8::1]:443", "http://proxy"},
		{"https://[2001:db8::1]:8443/", "proxy", "[2001:db8::1]:8443", ""},
		{"https://localhost:8443/", "proxy", "", ""},
		{"https://127.0.0.1:8443/", "proxy", "", ""},
		{"https://hub.example.org/", "http://pro xy", "", "error"},
	} {
		t.Setenv("HTTPS_PROXY", try.proxy)
		t.Setenv("NO_PROXY", try.except)
		u, err := url.Parse(try.server)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		proxy, err := proxyOf(u)
		switch {
		case err != nil:
			got = "error"
		case proxy != nil:
			got = proxy.String()
		}
		if got != try.want {
			t.Errorf("%s with proxy %q but for %q: %q, want %q", try.server, try.proxy, try.except, got, try.want)
		}
	}
	t.Setenv("HTTPS_PROXY", "")
	t.Setenv("https_proxy", "http://small")
	if proxy, err := proxyOf(&url.URL{Scheme: "https", Host: "hub.test"}); err != nil || proxy == nil || proxy.Host != "small" {
		t.Errorf("in small letters: %v, %v", proxy, err)
	}
}

// A proxy that does not connect is one that nothing was sent through.
func TestProxyThatRefuses(t *testing.T) {
	for name, answer := range map[string]string{
		"answered 407": "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
		"answer":       "SSH-2.0-x\r\n\r\n",
		"before it is": "HTTP/1.1 200 OK\r\n\r\nhello",
		"EOF":          "",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		asked := make(chan string, 1)
		go func() {
			defer close(asked)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			r, err := http.ReadRequest(bufio.NewReader(conn))
			if err != nil {
				return
			}
			io.WriteString(conn, answer)
			asked <- r.Method + " " + r.Host + " " + r.Header.Get("Proxy-Authorization")
		}()
		d := &dialer{base: &url.URL{Scheme: "https", Host: "hub.test"}, tls: (&verifier{}).config(),
			proxy: func(*url.URL) (*url.URL, error) { return url.Parse("http://user:word@" + l.Addr().String()) }}
		_, err = d.dial(t.Context())
		if err == nil || !strings.Contains(err.Error(), name) || !NotSent(err) {
			t.Errorf("%s: %v", name, err)
		}
		if got := <-asked; got != "CONNECT hub.test:443 Basic dXNlcjp3b3Jk" {
			t.Errorf("the proxy was asked %q", got)
		}
		l.Close()
	}
	d := &dialer{base: &url.URL{Scheme: "https", Host: "hub.test"}, tls: (&verifier{}).config(),
		proxy: func(*url.URL) (*url.URL, error) { return url.Parse("socks5://127.0.0.1:1") }}
	if _, err := d.dial(t.Context()); err == nil || !strings.Contains(err.Error(), "http://") {
		t.Errorf("another kind of proxy: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.reach(ctx); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("given up: %v", err)
	}
}
