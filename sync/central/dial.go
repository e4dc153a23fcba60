package central

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
)

// A dialer makes connections to one server: directly or through a proxy, in
// clear or with TLS.
type dialer struct {
	base  *url.URL
	proxy func(*url.URL) (*url.URL, error)
	// tls is nil where the server is talked to in clear.
	tls *tls.Config
}

func (d *dialer) dial(ctx context.Context) (net.Conn, error) {
	conn, err := d.reach(ctx)
	if err != nil || d.tls == nil {
		return conn, err
	}
	ctx, cancel := context.WithTimeout(ctx, tlsTimeout)
	defer cancel()
	over := tls.Client(conn, d.tls)
	if err := over.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return over, nil
}

// reach makes the connection below TLS.
func (d *dialer) reach(ctx context.Context) (net.Conn, error) {
	// Only TLS goes through a proxy: what is in clear stays on this machine.
	if d.tls != nil {
		proxy, err := d.proxy(d.base)
		if err != nil {
			return nil, err
		}
		if proxy != nil {
			conn, err := through(ctx, proxy, address(d.base))
			if err != nil {
				return nil, &net.OpError{Op: "proxyconnect", Net: "tcp", Err: err}
			}
			return conn, nil
		}
	}
	return connect(ctx, address(d.base))
}

func connect(ctx context.Context, address string) (net.Conn, error) {
	// The heartbeats keep a path through NATs open; probes of TCP every 15 s
	// would only cost traffic.
	d := net.Dialer{Timeout: connectTimeout, KeepAlive: -1}
	return d.DialContext(ctx, "tcp", address)
}

// address is host and port of a URL.
func address(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// through asks a proxy for a connection to an address (RFC 9110, section
// 9.3.6).
func through(ctx context.Context, proxy *url.URL, to string) (net.Conn, error) {
	if proxy.Scheme != "http" {
		return nil, fmt.Errorf("the proxy's address must begin with http://, not with %.20q", proxy.Scheme)
	}
	conn, err := connect(ctx, address(proxy))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(connectTimeout))
	err = ask(conn, proxy.User, to)
	conn.SetDeadline(time.Time{})
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// ask sends a CONNECT and reads the answer, which nothing may follow.
func ask(conn net.Conn, user *url.Userinfo, to string) error {
	head := "CONNECT " + to + " HTTP/1.1\r\nHost: " + to + "\r\n"
	if user != nil {
		password, _ := user.Password()
		head += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)) + "\r\n"
	}
	if _, err := conn.Write([]byte(head + "\r\n")); err != nil {
		return err
	}
	in := bufio.NewReader(io.LimitReader(conn, maxHeader))
	a, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	switch {
	case err != nil:
		return fmt.Errorf("reading the proxy's answer: %w", err)
	case a.StatusCode != http.StatusOK:
		return fmt.Errorf("the proxy answered %d %s", a.StatusCode, http.StatusText(a.StatusCode))
	case in.Buffered() > 0:
		return errors.New("the proxy sends before it is asked")
	}
	return nil
}

// proxyOf reads the proxy for a server from the variable HTTPS_PROXY, and from
// NO_PROXY the servers that are reached without: names with all below them,
// addresses and prefixes, each alone or with a port, or *. Nothing on this
// machine is asked through a proxy.
func proxyOf(u *url.URL) (*url.URL, error) {
	value := either("HTTPS_PROXY", "https_proxy")
	if value == "" || direct(u, either("NO_PROXY", "no_proxy")) {
		return nil, nil
	}
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	proxy, err := url.Parse(value)
	if err != nil || proxy.Host == "" {
		return nil, errors.New("the proxy in HTTPS_PROXY is no URL; write one such as http://proxy.example.org:3128")
	}
	return proxy, nil
}

func either(name, other string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return os.Getenv(other)
}

func direct(u *url.URL, except string) bool {
	host := strings.ToLower(u.Hostname())
	ip, err := netip.ParseAddr(host)
	isIP := err == nil
	if host == "localhost" || isIP && ip.IsLoopback() {
		return true
	}
	_, port, _ := net.SplitHostPort(address(u))
	for e := range strings.SplitSeq(strings.ToLower(except), ",") {
		e = strings.TrimSpace(e)
		if e == "*" {
			return true
		}
		if prefix, err := netip.ParsePrefix(e); err == nil {
			if isIP && prefix.Contains(ip) {
				return true
			}
			continue
		}
		if name, p, err := net.SplitHostPort(e); err == nil {
			if p != port {
				continue
			}
			e = name
		}
		e = strings.TrimPrefix(strings.TrimPrefix(e, "*"), ".")
		if e != "" && (host == e || !isIP && strings.HasSuffix(host, "."+e)) {
			return true
		}
	}
	return false
}
