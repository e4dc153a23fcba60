package messenger

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"zonegate/hub"
)

const (
	number = "22997123456"
	text   = `Code "012345" & more: à bientôt`
)

func secret(v string) func() (string, error) { return func() (string, error) { return v, nil } }

// gateway is an SMS gateway under TLS, and options that trust it.
func gateway(t *testing.T, answer http.HandlerFunc) (*httptest.Server, SMSOptions) {
	t.Helper()
	s := httptest.NewUnstartedServer(answer)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.StartTLS()
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return s, SMSOptions{URL: s.URL + "/send", Body: "to={to}&text={text}", Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

func newSMS(t *testing.T, o SMSOptions) *SMS {
	t.Helper()
	s, err := NewSMS(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSMSForm(t *testing.T) {
	var calls atomic.Int32
	_, o := gateway(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.Method != "POST" || r.FormValue("to") != "+"+number || r.PostFormValue("text") != text || r.PostFormValue("key") != "s&cret" || r.Header.Get("Authorization") != "Bearer s&cret" {
			t.Errorf("the gateway was asked %s %v with %v", r.Method, r.PostForm, r.Header)
		}
		io.WriteString(w, `{"status":"ok"}`)
	})
	o.Body, o.Plus, o.Secret, o.Accept = "to={to}&text={text}&key={secret}", true, secret("s&cret"), `"status":"ok"`
	o.Headers = map[string]string{"Authorization": "Bearer {secret}"}
	if err := newSMS(t, o).Send(t.Context(), number, text); err != nil || calls.Load() != 1 {
		t.Errorf("sent %d times: %v", calls.Load(), err)
	}
}

func TestSMSJSON(t *testing.T) {
	_, o := gateway(t, func(w http.ResponseWriter, r *http.Request) {
		var got struct {
			Messages []struct{ To, Text string }
			Secret   string
		}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil || len(got.Messages) != 1 || got.Messages[0].To != number || got.Messages[0].Text != text || got.Secret != `a"b` {
			t.Errorf("the gateway got %+v (%v)", got, err)
		}
		if r.Method != "PUT" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("the gateway was asked %s as %s", r.Method, r.Header.Get("Content-Type"))
		}
		w.WriteHeader(http.StatusAccepted)
	})
	o.Method, o.Secret = "PUT", secret(`a"b`)
	o.Body = `{"messages":[{"to":"{to}","text":"{text}"}],"secret":"{secret}"}`
	if err := newSMS(t, o).Send(t.Context(), number, text); err != nil {
		t.Error(err)
	}
}

func TestSMSInAddress(t *testing.T) {
	s, o := gateway(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.URL.Query().Get("n") != number || r.URL.Query().Get("m") != text {
			t.Errorf("the gateway was asked %s %s", r.Method, r.URL)
		}
	})
	o.Method, o.Body, o.URL = "GET", "", s.URL+"/?n={to}&m={text}"
	if err := newSMS(t, o).Send(t.Context(), number, text); err != nil {
		t.Error(err)
	}
}

func TestSMSOutcomes(t *testing.T) {
	var calls atomic.Int32
	var answer http.HandlerFunc
	s, o := gateway(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		answer(w, r)
	})
	o.Accept, o.Timeout = "queued", 10*time.Second
	o.URL += "?key={secret}&t={text}"
	o.Secret = secret("topsecret")
	sms := newSMS(t, o)
	says := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	cut := func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }
	half := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "queued")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"yes":          {says(200, "it is queued"), "sent"},
		"200 and a no": {says(200, "no credit"), "ambiguous"},
		"redirect":     {says(302, "queued"), "rejected"},
		"wrong key":    {says(401, "queued"), "rejected"},
		"too often":    {says(429, "queued"), "rejected"},
		"slow":         {says(408, "queued"), "ambiguous"},
		"broken":       {says(500, "queued"), "ambiguous"},
		"cut":          {cut, "ambiguous"},
		"half":         {half, "ambiguous"},
	} {
		answer = c.answer
		calls.Store(0)
		err := sms.Send(t.Context(), number, text)
		if got := outcome(err); got != c.want || calls.Load() != 1 {
			t.Errorf("%s: %s after %d calls (%v), want %s", name, got, calls.Load(), err, c.want)
		}
		quiet(t, err)
	}

	// Hangs longer than the time-out.
	gone := make(chan struct{})
	answer = func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-gone:
		}
	}
	o.Timeout = 100 * time.Millisecond
	err := newSMS(t, o).Send(t.Context(), number, text)
	if outcome(err) != "ambiguous" {
		t.Errorf("a gateway that hangs: %v", err)
	}
	quiet(t, err)
	close(gone)

	// Never reached: nobody listens; a certificate that is not trusted; no secret.
	s.Close()
	err = sms.Send(t.Context(), number, text)
	if outcome(err) != "not sent" {
		t.Errorf("nobody listens: %v", err)
	}
	quiet(t, err)
	_, stranger := gateway(t, says(200, "queued"))
	stranger.Transport = nil
	if err := newSMS(t, stranger).Send(t.Context(), number, text); outcome(err) != "not sent" {
		t.Errorf("a certificate that nobody trusts: %v", err)
	}
	_, o = gateway(t, says(200, ""))
	o.Secret = func() (string, error) { return "", errors.New("reading the secret: gone") }
	o.Body += "&k={secret}"
	if err := newSMS(t, o).Send(t.Context(), number, text); outcome(err) != "not sent" {
		t.Errorf("no secret: %v", err)
	}
	for _, to := range []string{"", "97123456x", "+22997123456", "0022997123456", "1234567", "1234567890123456"} {
		if err := newSMS(t, o).Send(t.Context(), to, text); outcome(err) != "rejected" {
			t.Errorf("the number %q: %v", to, err)
		}
	}
}

func outcome(err error) string {
	var no *hub.RejectedError
	switch {
	case err == nil:
		return "sent"
	case errors.Is(err, hub.ErrNotSent):
		return "not sent"
	case errors.As(err, &no):
		return "rejected"
	}
	return "ambiguous"
}

// quiet says that an error tells nothing to those who read logs.
func quiet(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, word := range []string{"012345", number, "topsecret"} {
		if strings.Contains(err.Error(), word) {
			t.Errorf("the error %q has %q in it", err, word)
		}
	}
}

func TestSMSRefusesTemplates(t *testing.T) {
	for name, o := range map[string]SMSOptions{
		"plain HTTP":         {URL: "http://sms.example/", Body: "to={to}&m={text}"},
		"no address":         {URL: "", Body: "to={to}&m={text}"},
		"password in it":     {URL: "https://u:p@sms.example/", Body: "to={to}&m={text}"},
		"no text":            {URL: "https://sms.example/", Body: "to={to}"},
		"no receiver":        {URL: "https://sms.example/", Body: "m={text}"},
		"GET with a body":    {URL: "https://sms.example/", Method: "GET", Body: "to={to}&m={text}"},
		"strange method":     {URL: "https://sms.example/", Method: "BREW", Body: "to={to}&m={text}"},
		"no secret":          {URL: "https://sms.example/", Body: "to={to}&m={text}&k={secret}"},
		"no secret for it":   {URL: "https://sms.example/", Body: "to={to}&m={text}", Headers: map[string]string{"X-Key": "{secret}"}},
		"no quotes in JSON":  {URL: "https://sms.example/", Body: `{"to":"{to}","m":{text}}`},
		"not an address":     {URL: "https://sms.example:{to}/", Body: `{text}`},
		"JSON that is none":  {URL: "https://sms.example/", Body: `{"to":"{to}","m":"{text}"`},
		"address of nothing": {URL: "sms.example/send", Body: "to={to}&m={text}"},
	} {
		if _, err := NewSMS(o); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestLogKeepsCodes(t *testing.T) {
	var log, out bytes.Buffer
	l := Log{Log: slog.New(slog.NewTextHandler(&log, nil))}
	if err := l.Send(t.Context(), number, text); err != nil {
		t.Fatal(err)
	}
	l.Out = &out
	if err := l.Send(t.Context(), number, text); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "012345") || strings.Contains(log.String(), number) || !strings.Contains(log.String(), "*56") {
		t.Errorf("the log says %s", &log)
	}
	if !strings.Contains(out.String(), text) || strings.Contains(out.String(), number) {
		t.Errorf("the lab is told %s", &out)
	}
}

func TestPair(t *testing.T) {
	var phone, post bytes.Buffer
	quiet := slog.New(slog.DiscardHandler)
	p := Pair{Phone: Log{quiet, &phone}, Mail: Log{quiet, &post}}
	for _, to := range []string{number, "kofi@example.org"} {
		if err := p.Send(t.Context(), to, to); err != nil {
			t.Error(err)
		}
	}
	if !strings.Contains(phone.String(), number) || !strings.Contains(post.String(), "kofi@") || strings.Contains(phone.String(), "@") {
		t.Errorf("phones got %q, mail %q", &phone, &post)
	}
	if err := (Pair{Phone: p.Phone}).Send(t.Context(), "kofi@example.org", text); outcome(err) != "rejected" {
		t.Errorf("no mail: %v", err)
	}
}

// hangUp is a listener that takes one connection and closes it at once.
func hangUp(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := l.Accept(); err == nil {
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}
