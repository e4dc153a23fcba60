package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"sort"
	"strings"
	"sync/atomic"
	"time"

	"zonegate/hub"
)

// Limits.
const (
	// DefaultTimeout is how long a call may take.
	DefaultTimeout = 20 * time.Second
	// maxBody bounds an answer, in octets.
	maxBody = 256 << 10
	// stillGood is less than any server or middlebox in use keeps a connection
	// for: the shortest known default is 5 seconds (Apache, Node).
	stillGood = 2 * time.Second
	// waiting is how many connections wait for calls: a handshake is dearer than
	// all else that a payment costs.
	waiting = 512
)

// Options of a Client.
type Options struct {
	// Name is the provider's, for errors.
	Name string
	// Timeout bounds a call from first to last octet; 0 is DefaultTimeout.
	Timeout time.Duration
	// Roots are the authorities of the provider's certificate; nil are the
	// system's.
	Roots *x509.CertPool
	// Transport carries the calls; nil is the network. One of the caller's
	// tells the trace of the context that it is connected (see httptrace).
	Transport http.RoundTripper
}

// A Client sends the calls of an adapter. Each is sent once: it repeats
// nothing, follows no redirect and keeps no cookies. The proxy of the
// environment is used. Safe for concurrent use.
type Client struct {
	name    string
	timeout time.Duration
	// Calls that change something have a connection of their own: one that was
	// kept can be dead already, and then nobody knows whether it was sent. See
	// also Request.Soon.
	once, soon, kept http.RoundTripper
	network          []*http.Transport
}

// NewClient returns a Client.
func NewClient(o Options) *Client {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	transport := func(keep time.Duration) *http.Transport {
		h1 := new(http.Protocols)
		h1.SetHTTP1(true) // HTTP/2 repeats what a server gave back
		return &http.Transport{
			Proxy:       http.ProxyFromEnvironment,
			DialContext: (&net.Dialer{Timeout: o.Timeout, KeepAlive: 30 * time.Second}).DialContext,
			Protocols:   h1,
			// A new connection need not mean a whole handshake.
			TLSClientConfig:    &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(0)},
			DisableCompression: true, MaxResponseHeaderBytes: 64 << 10, MaxIdleConnsPerHost: waiting, IdleConnTimeout: keep,
		}
	}
	c := &Client{name: o.Name, timeout: o.Timeout, once: o.Transport, soon: o.Transport, kept: o.Transport}
	if o.Transport == nil {
		once, soon, kept := transport(0), transport(stillGood), transport(30*time.Second)
		once.DisableKeepAlives = true
		c.once, c.soon, c.kept, c.network = once, soon, kept, []*http.Transport{once, soon, kept}
	}
	return c
}

// Close closes the connections that wait.
func (c *Client) Close() {
	for _, t := range c.network {
		t.CloseIdleConnections()
	}
}

// A Request is a call. Its body is JSON, or else Form, or else nothing.
type Request struct {
	// Doing says what is being done, for errors: "asking for the money".
	Doing  string
	Method string
	// URL has no secrets and no query.
	URL    string
	Query  url.Values
	Header map[string]string
	JSON   []byte
	// Form goes as multipart/form-data.
	Form url.Values
	// Secrets never stand in an error or in Raw.
	Secrets []string
	// Soon lets a call take a connection that carried another one within two
	// seconds. It is for calls that come by the hundred, and where what became
	// of one is found out by asking: no money leaves by them.
	Soon bool
}

// An Answer is what a provider answered, whole.
type Answer struct {
	Status int
	Body   []byte
	// Raw is the body as it is kept: see Redact.
	Raw string
}

// Do sends a call and reads its answer, whatever its status. An error is
// hub.ErrNotSent if no connection to the provider (or to the proxy) came
// about, so that not an octet of the call can have left; otherwise it is
// hub.ErrAmbiguous.
func (c *Client) Do(ctx context.Context, r Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var connected atomic.Bool
	fail := func(err error) error {
		outcome := hub.ErrNotSent
		if connected.Load() {
			outcome = hub.ErrAmbiguous
		}
		return &callError{outcome, fmt.Sprintf("%s at %s: %s (%s)", r.Doing, c.name, outcome, reason(ctx, err, r))}
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	q, err := r.encode(ctx)
	if err != nil {
		return Answer{}, fail(err)
	}
	t := c.once
	switch {
	case r.Method == http.MethodGet:
		t = c.kept
	case r.Soon:
		t = c.soon
	}
	got, err := t.RoundTrip(q)
	if err != nil {
		return Answer{}, fail(err)
	}
	defer got.Body.Close()
	body, err := io.ReadAll(io.LimitReader(got.Body, maxBody+1))
	if err != nil {
		return Answer{}, fail(err)
	}
	if len(body) > maxBody {
		return Answer{}, fail(errLong)
	}
	return Answer{got.StatusCode, body, Redact(string(body), r.Secrets...)}, nil
}

var errLong = errors.New("the answer is too long")

func (r Request) encode(ctx context.Context) (*http.Request, error) {
	var body io.Reader
	var kind string
	switch {
	case r.JSON != nil:
		body, kind = bytes.NewReader(r.JSON), "application/json"
	case r.Form != nil:
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		names := make([]string, 0, len(r.Form))
		for name := range r.Form {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			for _, value := range r.Form[name] {
				if err := w.WriteField(name, value); err != nil {
					return nil, err
				}
			}
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		body, kind = &b, w.FormDataContentType()
	}
	address := r.URL
	if len(r.Query) > 0 {
		address += "?" + r.Query.Encode()
	}
	q, err := http.NewRequestWithContext(ctx, r.Method, address, body)
	if err != nil {
		return nil, errors.New("the address is no URL") // err has it
	}
	q.GetBody = nil // so that no transport can send it again
	q.Header.Set("Accept", "application/json")
	q.Header.Set("User-Agent", "zonegate")
	if kind != "" {
		q.Header.Set("Content-Type", kind)
	}
	for name, value := range r.Header {
		q.Header.Set(name, value)
	}
	return q, nil
}

// A callError is one of Do. It wraps the outcome and nothing else: what lies
// under it may have the URL in it.
type callError struct {
	outcome error
	text    string
}

func (e *callError) Error() string { return e.text }
func (e *callError) Unwrap() error { return e.outcome }

// reason is a transport's error in words that hold no secret.
func reason(ctx context.Context, err error, r Request) string {
	var network net.Error
	var op *net.OpError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "no answer in time"
	case ctx.Err() != nil:
		return "the call was given up"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was cut"
	case errors.As(err, &op) && op.Err != nil:
		err = op.Err // without the addresses
	}
	return Redact(err.Error(), r.Secrets...)
}

// CheckURL says what is wrong with the setting name of a provider's address:
// it must be https, because keys travel with each call. Plain http is for this
// machine, and with plain for any: a lab's.
func CheckURL(name, address string, plain bool) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("%s is no address: write it like https://host/path", name)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return fmt.Errorf("%s must be an address alone, without a user, a question mark or a #", name)
	case u.Scheme == "https", u.Scheme == "http" && (plain || loopback(u.Hostname())):
		return nil
	}
	return fmt.Errorf("%s must begin with https://: the provider's key travels with each call", name)
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// Join appends path elements, each escaped, to an address.
func Join(address string, elements ...string) string {
	var b strings.Builder
	b.WriteString(strings.TrimRight(address, "/"))
	for _, e := range elements {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(e))
	}
	return b.String()
}
