package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// A front is a door on 127.0.0.1 to something inside the lab. It only moves
// bytes.
type front struct {
	ln    net.Listener
	dial  func() (net.Conn, error) // to what is behind it
	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil once closed
	done  sync.WaitGroup
}

// startBrowser makes phone1 reachable for a person's browser.
func (l *Lab) startBrowser() error {
	ln, err := listenFront(frontVar, l.opts.BrowserPort)
	if err != nil {
		return err
	}
	// A unix socket crosses network namespaces.
	sock := filepath.Join(l.state.Dir, "browser.sock")
	f := newFront(ln, func() (net.Conn, error) { return net.Dial("unix", sock) })
	own := ln.Addr().String()
	if _, err := l.spawn("browser", l.Command("phone1", l.self, roleBrowser, sock, own, l.portalAddr())); err != nil {
		ln.Close()
		return err
	}
	if err := waitSocket(sock); err != nil {
		ln.Close()
		return fmt.Errorf("starting browser helper: %w: %s", err, tail(l.Info.Logs["browser"], 5))
	}
	l.fronts = append(l.fronts, f)
	l.Info.Browser = "http://" + own + "/"
	f.done.Go(f.serve)
	return nil
}

func newFront(ln net.Listener, dial func() (net.Conn, error)) *front {
	return &front{ln: ln, dial: dial, conns: make(map[net.Conn]struct{})}
}

// listenNear listens on 127.0.0.1 at the port or one of the next fifty.
func listenNear(port int) (net.Listener, error) {
	var err error
	for p := port; p < port+50 && p < 65536; p++ {
		var ln net.Listener
		if ln, err = net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(p))); err == nil {
			return ln, nil
		}
	}
	return nil, fmt.Errorf("listening for the browser: %w", err)
}

func waitSocket(path string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := net.Dial("unix", path)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// serve accepts until the listener is closed.
func (f *front) serve() {
	for {
		conn, err := f.ln.Accept()
		if err != nil {
			return
		}
		f.done.Go(func() {
			if err := f.join(conn); err != nil {
				conn.Close()
			}
		})
	}
}

func (f *front) join(conn net.Conn) error {
	if !f.track(conn) {
		return net.ErrClosed
	}
	defer f.forget(conn)
	peer, err := f.dial()
	if err != nil {
		return err
	}
	splice(conn, peer)
	return nil
}

func (f *front) track(conn net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conns == nil {
		return false
	}
	f.conns[conn] = struct{}{}
	return true
}

func (f *front) forget(conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, conn)
}

func (f *front) close() error {
	err := f.ln.Close()
	f.mu.Lock()
	for conn := range f.conns {
		conn.Close()
	}
	f.conns = nil
	f.mu.Unlock()
	f.done.Wait()
	return err
}

// splice joins two connections until both directions have ended.
func splice(a, b net.Conn) {
	var wg sync.WaitGroup
	one := func(to, from net.Conn) {
		_, err := io.Copy(to, from)
		if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
			_ = half.CloseWrite()
			return
		}
		to.Close()
		from.Close()
	}
	wg.Go(func() { one(a, b) })
	wg.Go(func() { one(b, a) })
	wg.Wait()
	a.Close()
	b.Close()
}

// runBrowser is phone1's side: an HTTP proxy, and the portal by itself.
// Arguments: the unix socket to serve, the address of the front and that of the
// portal.
func runBrowser(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return errors.New("usage: lab-browser SOCKET FRONT PORTAL")
	}
	ln, err := net.Listen("unix", args[0])
	if err != nil {
		return fmt.Errorf("listening for the browser: %w", err)
	}
	b := newBrowser(args[1], args[2])
	srv := &http.Server{Handler: b, ReadHeaderTimeout: 30 * time.Second}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return unlessClosed(srv.Serve(ln)) })
	g.Go(func() error {
		<-ctx.Done()
		return srv.Close()
	})
	return g.Wait()
}

// A browser answers a person's browser from inside phone1.
type browser struct {
	front  string // host:port that the person types
	bases  []string
	direct *httputil.ReverseProxy
	proxy  *httputil.ReverseProxy
	away   *http.Client
}

func newBrowser(front, portalAddr string) *browser {
	portal := &url.URL{Scheme: "http", Host: portalAddr, Path: "/"}
	// A fresh connection each time: whether phone1 is online may change
	// between two requests.
	fresh := &http.Transport{DisableKeepAlives: true}
	b := &browser{front: front, bases: portalBases(portalAddr), away: &http.Client{
		Transport:     fresh,
		Timeout:       20 * time.Second,
		CheckRedirect: towardsPortal,
	}}
	b.proxy = &httputil.ReverseProxy{
		Rewrite:       func(*httputil.ProxyRequest) {},
		Transport:     fresh,
		FlushInterval: -1,
		ErrorHandler:  proxyFailed,
	}
	b.direct = &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(portal)
			p.Out.Host = portal.Host
			p.Out.Header.Del("Accept-Encoding") // links in the pages are rewritten
			for _, h := range []string{"Origin", "Referer"} {
				if v := p.Out.Header.Get(h); v != "" {
					p.Out.Header.Set(h, strings.Replace(v, p.In.Host, portal.Host, 1))
				}
			}
		},
		Transport:      fresh,
		ModifyResponse: b.relativeLinks,
		ErrorHandler:   proxyFailed,
	}
	return b
}

// towardsPortal follows a stranger's redirection to the login page of a
// router, which a person's browser could not reach, and no other.
func towardsPortal(r *http.Request, via []*http.Request) error {
	if r.URL.Host == gatewayLAN4.String() && len(via) < 5 {
		return nil
	}
	return http.ErrUseLastResponse
}

func proxyFailed(w http.ResponseWriter, r *http.Request, err error) {
	http.Error(w, "phone1 cannot reach "+r.URL.Host+": "+err.Error(), http.StatusBadGateway)
}

func (b *browser) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		b.connect(w, r)
	case r.URL.IsAbs():
		b.proxy.ServeHTTP(w, r)
	case !b.own(r.Host):
		// A page that a stranger's name led to this port (DNS rebinding).
		http.Error(w, "this is http://"+b.front+"/ and answers to no other name", http.StatusForbidden)
	case r.Header.Get("Origin") != "" && !b.ownOrigin(r.Header.Get("Origin")):
		http.Error(w, "requests from other sites are refused", http.StatusForbidden)
	case r.URL.Path == "/internet":
		b.internet(w, r)
	default:
		b.direct.ServeHTTP(w, r)
	}
}

// own reports whether a Host header names this front.
func (b *browser) own(host string) bool {
	_, port, _ := net.SplitHostPort(b.front)
	return host == b.front || host == net.JoinHostPort("localhost", port)
}

func (b *browser) ownOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Scheme == "http" && b.own(u.Host)
}

// connect serves the CONNECT method (RFC 9110 section 9.3.6).
func (b *browser) connect(w http.ResponseWriter, r *http.Request) {
	var d net.Dialer
	ctx, cancel := context.WithTimeout(r.Context(), 15*time.Second)
	defer cancel()
	peer, err := d.DialContext(ctx, "tcp", r.Host)
	if err != nil {
		http.Error(w, "phone1 cannot reach "+r.Host+": "+err.Error(), http.StatusBadGateway)
		return
	}
	defer peer.Close()
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connected\r\n\r\n"); err != nil {
		return
	}
	if n := buf.Reader.Buffered(); n > 0 { // sent before our answer
		early, _ := buf.Reader.Peek(n)
		if _, err := peer.Write(early); err != nil {
			return
		}
	}
	splice(conn, peer)
}

// internet opens http://example.com/ as phone1 does.
func (b *browser) internet(w http.ResponseWriter, r *http.Request) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://example.com/", nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	req.Header.Set("User-Agent", r.UserAgent())
	resp, err := b.away.Do(req)
	if err != nil {
		proxyFailed(w, req, err)
		return
	}
	defer resp.Body.Close()
	if err := b.relativeLinks(resp); err != nil {
		proxyFailed(w, req, err)
		return
	}
	for _, h := range []string{"Content-Type", "Location", "Cache-Control"} {
		if v := resp.Header.Get(h); v != "" {
			w.Header().Set(h, v)
		}
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

// portalBases are the ways in which the portal names itself, without the slash
// that follows.
func portalBases(addr string) []string {
	return []string{"http://" + addr, "http://" + net.JoinHostPort(gatewayLAN6.String(), strconv.Itoa(portalPort))}
}

// relativeLinks makes what leads to the portal lead to the front instead.
func (b *browser) relativeLinks(resp *http.Response) error {
	for _, h := range []string{"Location", "Refresh", "Content-Location"} {
		for _, base := range b.bases {
			v := resp.Header.Get(h)
			if !strings.Contains(v, base) {
				continue
			}
			v = strings.ReplaceAll(v, base, "")
			if h == "Location" && v == "" {
				v = "/"
			}
			resp.Header.Set(h, v)
		}
	}
	kind := resp.Header.Get("Content-Type")
	if !strings.HasPrefix(kind, "text/") && !strings.Contains(kind, "json") && !strings.Contains(kind, "javascript") {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return fmt.Errorf("reading the portal's page: %w", err)
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	for _, base := range b.bases {
		body = bytes.ReplaceAll(body, []byte(base), nil)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}
