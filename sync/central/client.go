package central

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"zonegate"
	"zonegate/internal/http1"
	"zonegate/sync/api"
)

// An Endpoint is where a central server is, and how it is reached.
type Endpoint struct {
	// URL is the base URL; it ends where the paths of package api begin.
	URL string
	// CA is a PEM file with the only authorities that are believed; empty
	// means those of the system.
	CA string
	// Proxy chooses a proxy for a URL, nil for none. Default: the variables
	// HTTPS_PROXY and NO_PROXY.
	Proxy func(*url.URL) (*url.URL, error)
}

// A Clock is read for the age of certificates, and is told the time that the
// hub has signed. *clock.Clock is one.
type Clock interface {
	Now() zonegate.Instant
	Trust(time.Time)
}

// Time-outs of one call. The body's is long: half a megabyte over a bad uplink
// takes its time, and a call that is given up is paid for again.
const (
	connectTimeout = 15 * time.Second
	tlsTimeout     = 20 * time.Second
	headerTimeout  = 30 * time.Second
	callTimeout    = 2 * time.Minute
	// idleTimeout keeps the connection of the heartbeats from one to the next:
	// a new one costs a handshake of some kilobytes.
	idleTimeout = 4 * time.Minute
)

// maxHeader bounds the header of an answer.
const maxHeader = 16 << 10

// A client calls one central server. Safe for concurrent use.
type client struct {
	base    string
	token   string
	http    *http1.Client
	verify  *verifier
	breaker *breaker
}

// newClient returns a client, or says what is wrong with the settings.
func newClient(e Endpoint, token string, c Clock, seen time.Time, p pace) (*client, error) {
	base, err := parseBase(e.URL)
	if err != nil {
		return nil, err
	}
	v := &verifier{host: base.Hostname(), clock: c}
	v.seen.Store(seen.Unix())
	if e.CA != "" {
		pem, err := os.ReadFile(e.CA)
		if err != nil {
			return nil, fmt.Errorf("reading the authority of the hub's certificate: %w", err)
		}
		if v.roots, err = readRoots(pem); err != nil {
			return nil, fmt.Errorf("reading %s: %w", e.CA, err)
		}
	}
	d := &dialer{base: base, proxy: e.Proxy}
	if d.proxy == nil {
		d.proxy = proxyOf
	}
	if base.Scheme == "https" {
		d.tls = v.config()
		d.tls.ServerName = v.host
	}
	return &client{
		base: strings.TrimSuffix(base.String(), "/"), token: token, verify: v,
		http: &http1.Client{
			Dial: d.dial, HeaderTimeout: p.header, IdleTimeout: idleTimeout, MaxHeader: maxHeader, MaxIdle: 2,
		},
		breaker: &breaker{first: p.breakerFirst, most: p.breakerMost},
	}, nil
}

// parseBase checks a base URL. The token goes with every call, so only a
// server on the same machine is talked to in clear.
func parseBase(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("the hub's address %q is no URL; write one such as https://hub.example.org/api/v1", s)
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fmt.Errorf("the hub's address %q must be scheme, host and path alone", s)
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("the hub's address %q must begin with https://: the gateway's secret goes there", s)
	}
	return u, nil
}

// A Refusal is an answer that is no success.
type Refusal struct {
	Status int
	// Problem is empty where the answer had none.
	Problem api.Problem
	// After is how long the server wants to be left alone; 0 if it said
	// nothing.
	After time.Duration
	// Location is where a redirect leads; it is not followed.
	Location string
}

func (r *Refusal) Error() string {
	switch {
	case r.Location != "":
		return fmt.Sprintf("the address leads elsewhere (status %d, to %.100q); set the right one, redirects are not followed", r.Status, r.Location)
	case r.Problem.Detail != "":
		return fmt.Sprintf("the server answered %d: %.200s", r.Status, r.Problem.Detail)
	}
	return fmt.Sprintf("the server answered %d %s", r.Status, http.StatusText(r.Status))
}

// refused returns the refusal in an error.
func refused(err error) (*Refusal, bool) {
	var r *Refusal
	return r, errors.As(err, &r)
}

// isRevoked says that the gateway was taken off the hub.
func isRevoked(err error) bool {
	r, ok := refused(err)
	return ok && r.Problem.Code == api.CodeRevoked
}

// isDenied says that the hub does not take the token.
func isDenied(err error) bool {
	r, ok := refused(err)
	return ok && (r.Status == http.StatusUnauthorized || r.Problem.Code == api.CodeUnauthorized || r.Problem.Code == api.CodeRevoked)
}

// isTransient says that the same call can succeed later.
func isTransient(err error) bool {
	r, ok := refused(err)
	return !ok || r.Status >= 500 || r.Status == http.StatusTooManyRequests || r.Status == http.StatusRequestTimeout
}

// NotSent says that a call failed before the server can have seen it: the name
// was not found, nobody listened, the certificate was wrong, or it was not
// tried. After any other error the server may have done what it was asked.
func NotSent(err error) bool {
	var (
		op   *net.OpError
		name *net.DNSError
		open *openError
	)
	return errors.As(err, &open) || errors.As(err, &name) || errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect") ||
		errors.Is(err, errHandshake)
}

// errBody is a success whose body is cut off, too long or no JSON.
var errBody = errors.New("the server's answer cannot be read")

// call sends in and reads the answer into out; either may be nil. It is over
// after callTimeout. Every call of a gateway can be repeated.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	_, err := c.callWith(ctx, method, path, http.Header{}, in, out)
	return err
}

// callWith is call with a header of the request's own; it returns that of the
// answer.
func (c *client) callWith(ctx context.Context, method, path string, header http.Header, in, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, fmt.Errorf("encoding a call: %w", err)
		}
	}
	a, err := c.send(ctx, method, path, header, body)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	if out == nil {
		// Read to its end, so that the connection can be used again.
		io.Copy(io.Discard, io.LimitReader(a.Body, 4<<10))
		c.breaker.passed()
		return a.Header, nil
	}
	content, err := io.ReadAll(io.LimitReader(a.Body, api.MaxBody+1))
	if err == nil && len(content) > api.MaxBody {
		err = fmt.Errorf("it is longer than %d octets", api.MaxBody)
	}
	if err == nil {
		err = json.Unmarshal(content, out)
	}
	if err != nil {
		c.breaker.failed()
		return nil, fmt.Errorf("%w: %w", errBody, err)
	}
	c.breaker.passed()
	return a.Header, nil
}

// errUnchanged is the answer 304.
var errUnchanged = errors.New("not changed")

// send does one request through the breaker. A success is the caller's to
// close, and to report to the breaker when it was read.
func (c *client) send(ctx context.Context, method, path string, header http.Header, body []byte) (*http.Response, error) {
	if err := c.breaker.admit(time.Now()); err != nil {
		return nil, err
	}
	a, err := c.roundTrip(ctx, method, path, header, body)
	switch {
	case err == nil:
		return a, nil
	case errors.Is(err, errUnchanged) || !isTransient(err):
		c.breaker.passed()
	case errors.Is(ctx.Err(), context.Canceled):
		// Given up by us: it says nothing about the hub.
		c.breaker.gaveUp()
	default:
		c.breaker.failed()
	}
	return nil, err
}

func (c *client) roundTrip(ctx context.Context, method, path string, header http.Header, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	r.Header = header
	r.Header.Set("User-Agent", "zonegate")
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	a, err := c.http.Do(r)
	if err != nil {
		return nil, c.verify.explain(err)
	}
	if a.StatusCode >= 200 && a.StatusCode < 300 {
		return a, nil
	}
	defer a.Body.Close()
	if a.StatusCode == http.StatusNotModified {
		return nil, errUnchanged
	}
	refusal := &Refusal{Status: a.StatusCode, After: retryAfter(a.Header.Get("Retry-After"))}
	if a.StatusCode >= 300 && a.StatusCode < 400 {
		refusal.Location = a.Header.Get("Location")
	}
	if content, err := io.ReadAll(io.LimitReader(a.Body, 16<<10)); err == nil {
		// What is no problem of ours says nothing more.
		if json.Unmarshal(content, &refusal.Problem) != nil {
			refusal.Problem = api.Problem{}
		}
	}
	return nil, refusal
}

// retryAfter reads a number of seconds. A date needs a clock, and is ignored.
func retryAfter(s string) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, time.Hour)
}

// close lets go of the connections that nobody uses.
func (c *client) close() { c.http.CloseIdle() }
