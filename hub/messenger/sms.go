package messenger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"zonegate/hub"
)

// SMSOptions say how an SMS gateway wants to be asked. In URL, Headers and
// Body, {to} stands for the number, {text} for the message and {secret} for
// the secret.
type SMSOptions struct {
	// URL must be https.
	URL string
	// Method is POST unless it says otherwise.
	Method  string
	Headers map[string]string
	// Body is JSON if it begins with a brace or a bracket, with what is put in
	// escaped within the quotes that stand there. Otherwise it is a form, as
	// "to={to}&msg={text}", or empty.
	Body string
	// Accept is what must stand in the answer of a gateway that says 200 to
	// everything; empty is nothing.
	Accept string
	// Plus writes numbers with a plus sign.
	Plus bool
	// Secret is asked for each message, since it can be changed; nil is none.
	Secret func() (string, error)
	// Timeout bounds a call; 0 is 15 seconds.
	Timeout time.Duration
	// Transport is nil outside tests.
	Transport *http.Transport
}

// An SMS sends through an HTTP gateway. It never repeats a call.
type SMS struct {
	o      SMSOptions
	client *http.Client
	kind   string // Content-Type
}

const (
	formBody = "application/x-www-form-urlencoded"
	jsonBody = "application/json"
	maxBody  = 64 << 10
)

// NewSMS says what makes no sense before anything is sent.
func NewSMS(o SMSOptions) (*SMS, error) {
	if o.Method == "" {
		o.Method = http.MethodPost
	}
	if o.Method != http.MethodPost && o.Method != http.MethodGet && o.Method != http.MethodPut {
		return nil, fmt.Errorf("the method of the SMS gateway must be POST, GET or PUT, not %q", o.Method)
	}
	if o.Timeout == 0 {
		o.Timeout = 15 * time.Second
	}
	s := &SMS{o: o}
	switch {
	case strings.HasPrefix(strings.TrimSpace(o.Body), "{"), strings.HasPrefix(strings.TrimSpace(o.Body), "["):
		s.kind = jsonBody
	case o.Body != "":
		s.kind = formBody
	}
	if s.kind != "" && o.Method == http.MethodGet {
		return nil, errors.New("a GET to the SMS gateway has no body: put {to} and {text} into its url")
	}
	all := o.URL + o.Body
	for _, v := range o.Headers {
		all += v
	}
	if !strings.Contains(o.URL+o.Body, "{to}") || !strings.Contains(o.URL+o.Body, "{text}") {
		return nil, errors.New("the SMS gateway must be told {to} and {text}, in its body or url")
	}
	if strings.Contains(all, "{secret}") && o.Secret == nil {
		return nil, errors.New("the SMS gateway is to be told {secret}, and there is none: give secret_file or secret_env")
	}
	// An example finds templates that are not what they should be.
	r, err := s.request(context.Background(), "22997000000", `a "text" & more`, `se"cret`)
	if err != nil {
		return nil, err
	}
	if r.URL.Scheme != "https" || r.URL.Host == "" || r.URL.User != nil {
		return nil, errors.New("the url of the SMS gateway must begin with https:// and have no password in it")
	}
	if s.kind == jsonBody {
		if body, _ := io.ReadAll(r.Body); !json.Valid(body) {
			return nil, errors.New("the body of the SMS gateway is no JSON once {to}, {text} and {secret} are put in; put quotes around them")
		}
	}
	if o.Transport == nil {
		o.Transport = &http.Transport{}
	}
	t := o.Transport.Clone()
	// A connection that is used again may be found dead after the request was
	// written, and net/http would then write it once more.
	t.DisableKeepAlives = true
	s.client = &http.Client{Transport: t, Timeout: o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s, nil
}

// request is what the gateway is sent.
func (s *SMS) request(ctx context.Context, to, text, secret string) (*http.Request, error) {
	fill := func(template string, escape func(string) string) string {
		return strings.NewReplacer("{to}", escape(to), "{text}", escape(text), "{secret}", escape(secret)).Replace(template)
	}
	plain := func(v string) string { return v }
	escape := url.QueryEscape
	if s.kind == jsonBody {
		escape = inString
	}
	r, err := http.NewRequestWithContext(ctx, s.o.Method, fill(s.o.URL, url.QueryEscape), strings.NewReader(fill(s.o.Body, escape)))
	if err != nil {
		return nil, errors.New("the url of the SMS gateway makes no sense") // err has what was filled in
	}
	if s.kind != "" {
		r.Header.Set("Content-Type", s.kind)
	}
	for name, v := range s.o.Headers {
		r.Header.Set(name, fill(v, plain))
	}
	return r, nil
}

// inString is how a text stands between the quotes of JSON.
func inString(v string) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a string can always be written
	}
	return string(b[1 : len(b)-1])
}

// Send implements hub.Messenger. to is E.164 without the plus sign.
func (s *SMS) Send(ctx context.Context, to, text string) error {
	if !digits(to) {
		return &hub.RejectedError{Reason: "the receiver is no phone number in full, with the country"}
	}
	if s.o.Plus {
		to = "+" + to
	}
	secret := ""
	if s.o.Secret != nil {
		var err error
		if secret, err = s.o.Secret(); err != nil {
			return fmt.Errorf("%w: %w", hub.ErrNotSent, err)
		}
	}
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	r, err := s.request(ctx, to, text, secret)
	if err != nil {
		return fmt.Errorf("%w: %w", hub.ErrNotSent, err)
	}
	a, err := s.client.Do(r)
	if err != nil {
		// The address may have the text and the secret in it.
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		if !connected.Load() {
			return fmt.Errorf("asking the SMS gateway: %w: %w", hub.ErrNotSent, err)
		}
		return fmt.Errorf("asking the SMS gateway: %w: %w", hub.ErrAmbiguous, err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(io.LimitReader(a.Body, maxBody))
	switch {
	case a.StatusCode == http.StatusRequestTimeout, a.StatusCode >= 500:
		return fmt.Errorf("the SMS gateway answers with status %d: %w", a.StatusCode, hub.ErrAmbiguous)
	case a.StatusCode >= 300 && a.StatusCode < 400:
		return &hub.RejectedError{Reason: fmt.Sprintf("the SMS gateway answers with status %d, which leads elsewhere; put its real address into the url", a.StatusCode)}
	case a.StatusCode >= 400:
		return &hub.RejectedError{Reason: fmt.Sprintf("the SMS gateway answers with status %d", a.StatusCode)}
	case err != nil:
		return fmt.Errorf("reading the answer of the SMS gateway: %w: %w", hub.ErrAmbiguous, err)
	case !strings.Contains(string(body), s.o.Accept):
		return fmt.Errorf("the answer of the SMS gateway has not the text of accept in it: %w", hub.ErrAmbiguous)
	}
	return nil
}

// digits says whether a number is E.164 without the plus sign.
func digits(to string) bool {
	if len(to) < 8 || len(to) > 15 || to[0] == '0' {
		return false
	}
	for _, r := range to {
		if r < '0' || r > '9' {
			return false
		}
	}
	return true
}
