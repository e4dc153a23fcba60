package provider_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"zonegate/hub"
	"zonegate/hub/provider"
)

func client(t *testing.T, o provider.Options) *provider.Client {
	t.Helper()
	if o.Name == "" {
		o.Name = "testpay"
	}
	c := provider.NewClient(o)
	t.Cleanup(c.Close)
	return c
}

func post(address string) provider.Request {
	return provider.Request{Doing: "asking for the money", Method: "POST", URL: address, JSON: []byte(`{}`)}
}

// outcome demands that err is of one kind alone.
func outcome(t *testing.T, err error, want error) {
	t.Helper()
	for _, kind := range []error{hub.ErrNotSent, hub.ErrAmbiguous} {
		if errors.Is(err, kind) != (kind == want) {
			t.Errorf("%v: Is(%v) is %v", err, kind, errors.Is(err, kind))
		}
	}
}

// listener is a server of octets: it takes each connection and hands it over.
func listener(t *testing.T, do func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			do(c)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// request reads the header of a request, if one comes.
func request(c net.Conn) bool {
	var b [4096]byte
	n, _ := c.Read(b[:])
	return n > 0
}

func TestNeverSent(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a call came through a bad certificate") }))
	secure.Config.ErrorLog = nil
	defer secure.Close()
	cut := listener(t, func(c net.Conn) { c.Close() })
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx     context.Context
		address string
	}{
		"connection refused": {t.Context(), "http://" + closed.Addr().String()},
		"no such name":       {t.Context(), "https://no-such-name.invalid/"},
		"certificate":        {t.Context(), secure.URL},
		"cut in TLS":         {t.Context(), "https://" + cut},
		"no URL":             {t.Context(), "http://%zz"},
		"given up before":    {ended, secure.URL},
	} {
		_, err := client(t, provider.Options{}).Do(c.ctx, post(c.address))
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		outcome(t, err, hub.ErrNotSent)
	}
}

func TestAmbiguous(t *testing.T) {
	reads := listener(t, func(c net.Conn) { request(c); c.Close() })
	half := listener(t, func(c net.Conn) {
		request(c)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"code\":\"0\"")
		c.Close()
	})
	junk := listener(t, func(c net.Conn) { request(c); io.WriteString(c, "SSH-2.0\r\n"); c.Close() })
	header := listener(t, func(c net.Conn) { request(c); io.WriteString(c, "HTTP/1.1 200 O"); c.Close() })
	long := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(strings.Repeat("x", 300<<10)))
	}))
	defer long.Close()
	for name, address := range map[string]string{"cut": reads, "half a body": half, "another protocol": junk, "half a header": header,
		"too long": strings.TrimPrefix(long.URL, "http://")} {
		_, err := client(t, provider.Options{}).Do(t.Context(), post("http://"+address))
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		outcome(t, err, hub.ErrAmbiguous)
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	_, err := client(t, provider.Options{Timeout: 20 * time.Millisecond}).Do(t.Context(), post(s.URL))
	outcome(t, err, hub.ErrAmbiguous)
	if err == nil || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("it says %v", err)
	}
}

// A kept connection that is cut when it is used again must not have the call
// sent once more over a new one.
func TestSentOnce(t *testing.T) {
	var arrived atomic.Int32
	address := "http://" + listener(t, func(c net.Conn) {
		defer c.Close()
		if request(c) && arrived.Add(1) == 1 {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
			if request(c) {
				arrived.Add(1)
			}
		}
	})
	c := client(t, provider.Options{})
	r := post(address)
	r.Soon = true
	if _, err := c.Do(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	r = post(address)
	r.Header = map[string]string{"Idempotency-Key": "x"} // which net/http takes for leave to repeat
	r.Soon = true
	_, err := c.Do(t.Context(), r)
	outcome(t, err, hub.ErrAmbiguous)
	if got := arrived.Load(); got != 2 {
		t.Errorf("%d requests arrived for two calls", got)
	}
}

// A call by which money may leave has a connection of its own, so that a server
// that hangs up after each answer makes no doubts.
func TestOwnConnection(t *testing.T) {
	address := "http://" + listener(t, func(c net.Conn) {
		defer c.Close()
		if request(c) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
		}
	})
	c := client(t, provider.Options{})
	for range 20 {
		if _, err := c.Do(t.Context(), post(address)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	s := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer s.Close()
	for _, method := range []string{"GET", "POST"} {
		r := post(s.URL)
		r.Method = method
		a, err := client(t, provider.Options{}).Do(t.Context(), r)
		if err != nil || a.Status != http.StatusTemporaryRedirect || a.Refused() == nil {
			t.Errorf("%s: %d, %v, %v", method, a.Status, err, a.Refused())
		}
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestWhatIsSent(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(b)))
		out := r.Method + " " + r.URL.RequestURI() + " " + r.Header.Get("Authorization") + " " + strings.SplitN(r.Header.Get("Content-Type"), ";", 2)[0]
		if r.ParseMultipartForm(1<<20) == nil {
			out += " " + r.PostForm.Encode()
		} else {
			out += " " + string(b)
		}
		io.WriteString(w, out)
	}))
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c := client(t, provider.Options{Roots: roots})
	for _, k := range []struct {
		r    provider.Request
		want string
	}{
		{provider.Request{Method: "POST", URL: provider.Join(s.URL+"/v1/", "pay"), JSON: []byte(`{"a":1}`), Header: map[string]string{"Authorization": "Bearer t"}},
			`POST /v1/pay Bearer t application/json {"a":1}`},
		{provider.Request{Method: "GET", URL: provider.Join(s.URL, "check", "a b/../c?d")}, "GET /check/a%20b%2F..%2Fc%3Fd   "},
		{provider.Request{Method: "POST", URL: s.URL + "/f", Form: url.Values{"b": {"é &"}, "a": {"1"}}}, "POST /f  multipart/form-data a=1&b=%C3%A9+%26"},
		{provider.Request{Method: "GET", URL: s.URL + "/d", Query: url.Values{"apikey": {"k"}}}, "GET /d?apikey=k   "},
	} {
		a, err := c.Do(t.Context(), k.r)
		if err != nil || string(a.Body) != k.want {
			t.Errorf("got %q, %v, want %q", a.Body, err, k.want)
		}
	}
}

// No error and no Raw shows a key, an address's query or a whole number.
func TestSecretsStayInside(t *testing.T) {
	const key, number = "sprod_s3cr3t/+key", "24174151522"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"asked":"`+r.URL.RequestURI()+`","key":"sprod_s3cr3t\/+key","phone":"`+number+`"}`)
	}))
	r := provider.Request{Doing: "asking", Method: "GET", URL: s.URL, Query: url.Values{"apikey": {key}, "phone": {number}}, Secrets: []string{key}}
	c := client(t, provider.Options{})
	a, err := c.Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	_, gone := c.Do(t.Context(), r)
	cut := listener(t, func(c net.Conn) { request(c); io.WriteString(c, "HTTP/1.1 "+key+" x\r\n\r\n"); c.Close() })
	r.URL = "http://" + cut
	_, odd := c.Do(t.Context(), r)
	r.URL = "http://%zz" + key
	_, bad := c.Do(t.Context(), r)
	for _, text := range []string{a.Raw, gone.Error(), odd.Error(), bad.Error()} {
		for _, secret := range []string{"s3cr3t", number} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in %q", secret, text)
			}
		}
	}
	if !strings.Contains(a.Raw, "***22") {
		t.Errorf("raw is %s", a.Raw)
	}
}

// net/http reads the environment once, so the client that goes through the
// proxy is another process: this test again.
func TestProxyOfTheEnvironment(t *testing.T) {
	const name = "http://only-a-proxy-knows.invalid/x"
	if os.Getenv("ZONEGATE_TEST_PROXIED") != "" {
		a, err := client(t, provider.Options{}).Do(t.Context(), post(name))
		if err != nil || string(a.Body) != "proxied" {
			t.Errorf("through the proxy: %q, %v", a.Body, err)
		}
		return
	}
	asked := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.RequestURI
		io.WriteString(w, "proxied")
	}))
	defer proxy.Close()
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxyOfTheEnvironment$")
	again.Env = append(os.Environ(), "ZONEGATE_TEST_PROXIED=1", "HTTP_PROXY="+proxy.URL, "http_proxy="+proxy.URL)
	if out, err := again.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := <-asked; got != name {
		t.Errorf("the proxy was asked for %s", got)
	}
}

func TestCheckURL(t *testing.T) {
	for _, c := range []struct {
		address string
		plain   bool
		ok      bool
	}{
		{"https://backend.example/api/rest/v1", false, true},
		{"http://backend.example/api", false, false},
		{"http://10.0.0.1/api", true, true},
		{"http://127.0.0.1:8080", false, true},
		{"http://[::1]:8080/x", false, true},
		{"http://localhost", false, true},
		{"http://localhost.example", false, false},
		{"ftp://localhost", true, false},
		{"https://user:secret@host", false, false},
		{"https://host/?apikey=1", false, false},
		{"https://host/#x", false, false},
		{"host/path", false, false},
		{"", false, false},
	} {
		err := provider.CheckURL("pay_url", c.address, c.plain)
		if (err == nil) != c.ok {
			t.Errorf("%q: %v", c.address, err)
		}
		if err != nil && (!strings.HasPrefix(err.Error(), "pay_url ") || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%q: it says %v", c.address, err)
		}
	}
}
