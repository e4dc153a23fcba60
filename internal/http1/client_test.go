package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// newClient returns a client of an address, and counts its connections.
func newClient(t *testing.T, address string) (*Client, *atomic.Int32) {
	t.Helper()
	var dials atomic.Int32
	c := &Client{
		Dial: func(ctx context.Context) (net.Conn, error) {
			dials.Add(1)
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		},
		HeaderTimeout: 20 * time.Second, IdleTimeout: time.Minute, MaxHeader: 8 << 10, MaxIdle: 2,
	}
	t.Cleanup(c.CloseIdle)
	return c, &dials
}

func newRequest(t *testing.T, ctx context.Context, method, path, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://hub.test"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// do sends a request and returns the body of its answer.
func do(t *testing.T, c *Client, method, path, body string) string {
	t.Helper()
	a, err := c.Do(newRequest(t, t.Context(), method, path, body))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	content, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(a.StatusCode, " ", string(content))
}

func TestRequestsOverOneConnection(t *testing.T) {
	var got string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = fmt.Sprint(r.Method, " ", r.Host, " ", r.RequestURI, " ", r.ContentLength, " ", string(b))
		switch r.URL.Path {
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/hints":
			w.Header().Set("Link", "</a>")
			w.WriteHeader(http.StatusEarlyHints)
		case "/pieces":
			for range 3 {
				io.WriteString(w, "piece ")
				w.(http.Flusher).Flush()
			}
		default:
			io.WriteString(w, "hello")
		}
	}))
	defer s.Close()
	c, dials := newClient(t, s.Listener.Addr().String())
	long := strings.Repeat("x", 300_000)
	for _, try := range []struct{ method, path, body, answer, got string }{
		{"GET", "/a?b=c%20d", "", "200 hello", "GET hub.test /a?b=c%20d 0 "},
		{"POST", "/a%2Fb", "body", "200 hello", "POST hub.test /a%2Fb 4 body"},
		{"POST", "/", "", "200 hello", "POST hub.test / 0 "},
		{"POST", "/none", long, "204 ", "POST hub.test /none 300000 " + long + ""},
		{"GET", "/pieces", "", "200 piece piece piece ", "GET hub.test /pieces 0 "},
		{"GET", "/hints", "", "200 ", "GET hub.test /hints 0 "},
	} {
		if answer := do(t, c, try.method, try.path, try.body); answer != try.answer || got != try.got {
			t.Errorf("%s %s: answer %q, the server got %.100q", try.method, try.path, answer, got)
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}

	// What is not read to its end is not used again, nor what is to be closed.
	a, err := c.Do(newRequest(t, t.Context(), "GET", "/", ""))
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	do(t, c, "GET", "/", "")
	if n := dials.Load(); n != 2 {
		t.Errorf("%d connections after an answer that was not read", n)
	}
	c.CloseIdle()
	do(t, c, "GET", "/", "")
	if n := dials.Load(); n != 3 {
		t.Errorf("%d connections after closing those that wait", n)
	}
}

// A server that closes connections costs a new one, not the request.
func TestConnectionThatWasClosed(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	defer s.Close()
	c, dials := newClient(t, s.Listener.Addr().String())
	for i := range int32(5) {
		if a := do(t, c, "POST", "/", "body"); a != "200 hello" {
			t.Errorf("answer %q", a)
		}
		s.CloseClientConnections()
		if n := dials.Load(); n != i+1 {
			t.Errorf("%d connections for %d requests", n, i+1)
		}
	}
	// A new connection that fails is an error, not tried again.
	s.Close()
	if _, err := c.Do(newRequest(t, t.Context(), "POST", "/", "body")); err == nil {
		t.Error("an answer from a server that is gone")
	}
	if n := dials.Load(); n != 6 {
		t.Errorf("%d connections", n)
	}
}

// A connection that nobody uses is closed.
func TestIdleConnection(t *testing.T) {
	closed := make(chan struct{}, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	s.Start()
	defer s.Close()
	c, _ := newClient(t, s.Listener.Addr().String())
	c.IdleTimeout = 10 * time.Millisecond
	do(t, c, "GET", "/", "")
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Fatal("it is still open")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle) != 0 {
		t.Errorf("%d connections wait", len(c.idle))
	}
}

// A context ends a request in each of its parts.
func TestCancel(t *testing.T) {
	begun := make(chan struct{}, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			io.WriteString(w, "some")
			w.(http.Flusher).Flush()
		}
		begun <- struct{}{}
		<-r.Context().Done()
	}))
	defer s.Close()
	c, _ := newClient(t, s.Listener.Addr().String())
	cause := errors.New("enough")
	for _, path := range []string{"/header", "/body"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			<-begun
			cancel(cause)
		}()
		a, err := c.Do(newRequest(t, ctx, "GET", path, ""))
		if err == nil {
			_, err = io.ReadAll(a.Body)
			a.Body.Close()
		}
		if !errors.Is(err, cause) {
			t.Errorf("%s: %v", path, err)
		}
		<-stop
	}
	c.HeaderTimeout = 50 * time.Millisecond
	if _, err := c.Do(newRequest(t, t.Context(), "GET", "/header", "")); !errors.Is(err, ErrNoHeader) {
		t.Errorf("no header: %v", err)
	}
}

// Answers as no server of Go's gives them.
func TestStrangeAnswers(t *testing.T) {
	for _, try := range []struct{ name, answer, want string }{
		{"nothing", "", "EOF"},
		{"no HTTP", "SSH-2.0-x\r\n\r\n", "malformed"},
		{"cut in the header", "HTTP/1.1 200 OK\r\nContent-Le", "missing colon"},
		{"a header without an end", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", 20<<10), "too long"},
		{"promises", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 9), "only says"},
		{"cut in the body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfive!", "EOF"},
		{"cut between pieces", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "EOF"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "Content-Length"},
		{"no length", "HTTP/1.1 200 OK\r\n\r\nall of it", "200 all of it"},
		{"of old", "HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "404 no"},
		{"promise and answer", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", "200 ok"},
	} {
		t.Run(try.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan struct{})
			go func() {
				defer close(served)
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					io.WriteString(conn, try.answer)
				}
			}()
			defer func() { l.Close(); <-served }()
			c, _ := newClient(t, l.Addr().String())
			a, err := c.Do(newRequest(t, t.Context(), "GET", "/", ""))
			got := ""
			if err == nil {
				var b []byte
				b, err = io.ReadAll(a.Body)
				got = fmt.Sprint(a.StatusCode, " ", string(b))
				a.Body.Close()
			}
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, try.want) {
				t.Errorf("%q, want %q", got, try.want)
			}
			if len(c.idle) != 0 {
				t.Error("the connection is kept")
			}
		})
	}
}

// A server that refuses before it has read all is understood if its answer
// comes.
func TestRefusalBeforeTheEnd(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	c := &Client{Dial: func(context.Context) (net.Conn, error) { return halfClosed{near}, nil }, MaxHeader: 8 << 10}
	go func() {
		io.WriteString(far, "HTTP/1.1 413 Too Long\r\nContent-Length: 0\r\n\r\n")
	}()
	if got := do(t, c, "POST", "/", "much"); got != "413 " {
		t.Errorf("answer %q", got)
	}
}

// halfClosed takes nothing.
type halfClosed struct{ net.Conn }

func (halfClosed) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestHostsBeyondASCII(t *testing.T) {
	c, dials := newClient(t, "127.0.0.1:1")
	r, err := http.NewRequest("GET", "https://zóne.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(r); err == nil || !strings.Contains(err.Error(), "xn--") || dials.Load() != 0 {
		t.Errorf("%v", err)
	}
}
