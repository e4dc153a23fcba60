package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

// A caller is the far end of one connection for calls.
type caller struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

// dial opens a connection to a running server, over TLS or plain as it serves.
func (r *running) dial(t *testing.T) *caller {
	t.Helper()
	c, err := r.tryDial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &caller{t, c, bufio.NewReader(c)}
}

func (r *running) tryDial() (net.Conn, error) {
	scheme, addr, _ := strings.Cut(r.url, "://")
	if scheme == "http" {
		return net.Dial("tcp", addr)
	}
	return tls.Dial("tcp", addr, r.client.Transport.(*http.Transport).TLSClientConfig)
}

func (c *caller) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// want takes one answer.
func (c *caller) want(status int) *http.Response {
	c.t.Helper()
	a, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatalf("instead of an answer with %d: %v", status, err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode != status {
		c.t.Fatalf("answered with %d, want %d: %.200s, %v", a.StatusCode, status, body, err)
	}
	return a
}

// ended waits until the server closes the connection.
func (c *caller) ended() {
	c.t.Helper()
	if b, err := c.in.ReadByte(); err == nil {
		c.t.Fatalf("%q came instead of the end", b)
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatal("the connection was not closed")
	}
}

const healthCall = "GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\n"

// refusedCall has a body that the server has no reason to read.
func refusedCall(body string) string {
	return fmt.Sprintf("POST %s%s HTTP/1.1\r\nHost: hub\r\nContent-Length: %d\r\n\r\n%s", Base, api.PathHeartbeat, len(body), body)
}

func (r *running) resting(t *testing.T, n int) {
	t.Helper()
	waitFor(t, fmt.Sprint(n, " connections at rest"), func() bool { return r.lot.count() == n })
}

// onBoth runs a test over TLS and over plain TCP.
func onBoth(t *testing.T, test func(t *testing.T, start func(change ...func(*Server)) *running)) {
	for name, change := range map[string]func(*Options){"tls": nil, "plain": func(o *Options) { o.TLS = nil }} {
		t.Run(name, func(t *testing.T) {
			test(t, func(more ...func(*Server)) *running { return startFake(t, newFakeFeed(), change, more...) })
		})
	}
}

// TestFewDoNotRest: where there are few connections net/http keeps them.
func TestFewDoNotRest(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(...func(*Server)) *running) {
		r := start(func(s *Server) { s.crowd = 2 })
		c := r.dial(t)
		for range 3 {
			c.send(healthCall)
			c.want(http.StatusOK)
			if n := r.lot.count(); n != 0 {
				t.Errorf("%d of one connection rest", n)
			}
		}
		r.dial(t)
		waitFor(t, "two connections", func() bool { return r.lines.open.Load() == 2 })
		c.send(healthCall)
		c.want(http.StatusOK)
		r.resting(t, 1)
	})
}

// TestRest: a connection rests between calls, without a goroutine, and serves
// again, for calls and for a stream at last.
func TestRest(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(...func(*Server)) *running) {
		r := start()
		c := r.dial(t)
		for n := range 3 {
			c.send(healthCall)
			c.want(http.StatusOK)
			r.resting(t, 1)
			c.send(refusedCall(strings.Repeat("x", 1+n*20_000)))
			if a := c.want(http.StatusUnauthorized); a.Close {
				t.Error("the connection is not kept")
			}
			r.resting(t, 1)
			c.send("GET /nothing HTTP/1.1\r\nHost: hub\r\n\r\n")
			c.want(http.StatusNotFound)
			r.resting(t, 1)
		}
		// A request may come in pieces.
		for _, piece := range []string{"G", healthCall[1:20], healthCall[20:]} {
			c.send(piece)
			runtime.Gosched()
		}
		c.want(http.StatusOK)
		r.resting(t, 1)

		few := runtime.NumGoroutine()
		var others []*caller
		for range 20 {
			o := r.dial(t)
			o.send(healthCall)
			o.want(http.StatusOK)
			others = append(others, o)
		}
		r.resting(t, 21)
		waitFor(t, "the goroutines of 20 connections to end", func() bool { return runtime.NumGoroutine() <= few+2 })
		for _, o := range others {
			o.send(healthCall)
			o.want(http.StatusOK)
		}
		r.resting(t, 21)

		c.send(fmt.Sprintf("GET %s%s HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer gw-1\r\n\r\n", Base, api.PathEvents))
		waitFor(t, "the stream", func() bool { return r.Streams() == 1 })
		r.resting(t, 20)
		r.feed.message(hub.Everybody)
		a, err := http.ReadResponse(c.in, nil)
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewReader(a.Body); ; {
			s, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if s == "id: 1\n" {
				break
			}
		}
	})
}

// TestRestOnlyWhereKept: what the caller does not want to keep is closed, and
// what cannot be told is left to net/http.
func TestRestOnlyWhereKept(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(...func(*Server)) *running) {
		r := start()
		for _, q := range []string{
			"GET /healthz HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n",
			"GET /healthz HTTP/1.0\r\n\r\n",
		} {
			c := r.dial(t)
			c.send(q)
			c.want(http.StatusOK)
			c.ended()
		}
		// More than is read for nothing.
		c := r.dial(t)
		huge := refusedCall(strings.Repeat("x", 1<<20))
		go io.WriteString(c.Conn, huge)
		if a := c.want(http.StatusUnauthorized); !a.Close {
			t.Error("a connection with a large body that nobody has read is kept")
		}
		// In chunks, and on trial.
		c = r.dial(t)
		c.send(fmt.Sprintf("POST %s%s HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Base, api.PathHeartbeat))
		c.want(http.StatusUnauthorized)
		c.send(fmt.Sprintf("POST %s%s HTTP/1.1\r\nHost: hub\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", Base, api.PathHeartbeat))
		if a := c.want(http.StatusUnauthorized); !a.Close {
			t.Error("a connection with a body that was not asked for is kept")
		}
		if n := r.lot.count(); n != 0 {
			t.Errorf("%d connections rest", n)
		}
	})
}

// TestRestGone: a caller who hangs up is forgotten.
func TestRestGone(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(...func(*Server)) *running) {
		r := start()
		for _, rude := range []bool{false, true} {
			c := r.dial(t)
			c.send(healthCall)
			c.want(http.StatusOK)
			r.resting(t, 1)
			if rude {
				under := c.Conn
				if s, ok := under.(*tls.Conn); ok {
					under = s.NetConn()
				}
				under.(*net.TCPConn).SetLinger(0) // a reset
				under.Close()
			} else {
				c.Close()
			}
			r.resting(t, 0)
			waitFor(t, "its end", func() bool { return r.lines.open.Load() == 0 })
		}
	})
}

// TestRestTooLong: a connection does not rest for ever.
func TestRestTooLong(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(...func(*Server)) *running) {
		r := start(func(s *Server) { s.idle = 100 * time.Millisecond })
		c := r.dial(t)
		c.send(healthCall)
		c.want(http.StatusOK)
		c.ended()
		r.resting(t, 0)
		waitFor(t, "its end", func() bool { return r.lines.open.Load() == 0 })
		// The server goes on.
		c = r.dial(t)
		c.send(healthCall)
		c.want(http.StatusOK)
	})
}

// TestRestStop: a server that stops closes what rests.
func TestRestStop(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(...func(*Server)) *running) {
		few := runtime.NumGoroutine()
		r := start()
		var callers []*caller
		for range 5 {
			c := r.dial(t)
			c.send(healthCall)
			c.want(http.StatusOK)
			callers = append(callers, c)
		}
		r.resting(t, 5)
		r.stop()
		for _, c := range callers {
			c.ended()
		}
		if n := r.lines.open.Load(); n != 0 {
			t.Errorf("%d connections are open", n)
		}
		waitFor(t, "all goroutines to end", func() bool { return runtime.NumGoroutine() <= few })
	})
}

// TestRoomIsMade: where all connections are open, a new one takes the place of
// one at rest: of that which came last, but not of one who is just speaking.
// Where none rests it is refused.
func TestRoomIsMade(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(...func(*Server)) *running) {
		r := start(func(s *Server) { s.lines.most = 3 })
		var callers []*caller
		for n := range 3 {
			c := r.dial(t)
			c.send(healthCall)
			if a := c.want(http.StatusOK); a.Close {
				t.Error("a caller is asked to close")
			}
			r.resting(t, n+1)
			callers = append(callers, c)
		}
		streams := []*listening{r.listen(t, "gw-1", 0)}
		callers[2].ended()
		r.resting(t, 2)
		callers[0].send(healthCall)
		callers[0].want(http.StatusOK)
		waitFor(t, "the first to rest again", func() bool {
			r.lot.mu.Lock()
			defer r.lot.mu.Unlock()
			return r.lot.order.Len() == 2 && r.lot.turn == 4
		})
		streams = append(streams, r.listen(t, "gw-2", 0))
		callers[0].ended()
		streams = append(streams, r.listen(t, "gw-3", 0))
		callers[1].ended()
		if _, err := openStream(r.client, r.url, "gw-4", 0); err == nil {
			t.Error("a connection above the bound was accepted")
		}
		r.feed.message(hub.Everybody)
		for _, l := range streams {
			l.want(t, 1)
		}
		streams[0].cancel()
		waitFor(t, "room", func() bool { return r.lines.open.Load() < 3 })
		c := r.dial(t)
		c.send(healthCall)
		c.want(http.StatusOK)
	})
}

// TestRoomIsNotMadeOfWhoSpeaks: a connection on which a request has come, and
// was not taken yet, is passed over.
func TestRoomIsNotMadeOfWhoSpeaks(t *testing.T) {
	here, there := linePair(t), linePair(t)
	l, err := newLot(here.ours.LocalAddr(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.park(here.ours)
	l.park(there.ours)
	there.say(t, "x")
	if !l.makeRoom() || l.count() != 1 {
		t.Fatal("no room was made")
	}
	if _, err := here.peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the one at rest was not closed: %v", err)
	}
	if l.makeRoom() {
		t.Error("one who speaks was closed")
	}
	conn, err := l.Accept()
	if err != nil || conn != net.Conn(there.ours) {
		t.Fatalf("accepted %v, %v", conn, err)
	}
	// A late event of a descriptor that was used again is for nobody.
	l.park(conn)
	l.mu.Lock()
	fd, turn := l.order.Front().Value.(*resting).fd, l.turn
	l.mu.Unlock()
	if l.leave(fd, turn-1) != nil {
		t.Error("an event of before was taken for one of now")
	}
	if l.leave(fd, turn) == nil {
		t.Error("an event of now was not taken")
	}
	conn.Close()
	l.Close()
	if _, err := l.Accept(); err == nil {
		t.Error("a closed lot accepts")
	}
	late := linePair(t)
	l.park(late.ours)
	if _, err := late.peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a connection that came to rest after the end was not closed: %v", err)
	}
}

// A pair is a line and its far end.
type pair struct {
	ours *line
	peer net.Conn
}

func linePair(t *testing.T) pair {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	ours, err := lineListener{l, &lines{}, nil}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	return pair{ours.(*line), peer}
}

func (p pair) say(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(p.peer, text); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "what was sent", p.ours.ready)
}

// TestRestPipelined: a caller who does not wait for his answers gets them all,
// in order; and garbage after a request ends only his own connection.
func TestRestPipelined(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(...func(*Server)) *running) {
		r := start()
		other := r.dial(t)
		other.send(healthCall)
		other.want(http.StatusOK)
		for _, fill := range []int{1, 100, 3800, 4000, 4050, 4096, 9000, 20_000} {
			c := r.dial(t)
			one := refusedCall(strings.Repeat("x", fill)) + healthCall
			c.send(strings.Repeat(one, 10))
			for range 10 {
				c.want(http.StatusUnauthorized)
				c.want(http.StatusOK)
			}
			r.resting(t, 2)
			c.send(healthCall + "GET ")
			c.want(http.StatusOK)
			c.send("/healthz HTTP/1.1\r\nHost: hub\r\n\r\n")
			c.want(http.StatusOK)
			r.resting(t, 2)
			c.send(healthCall + strings.Repeat("\x00garbage", 50) + "\r\n\r\n")
			c.want(http.StatusOK)
			c.want(http.StatusBadRequest)
			c.Close()
		}
		// One who sends, and takes nothing, stands still at his own bound.
		greedy := r.dial(t)
		greedy.SetWriteDeadline(time.Now().Add(time.Second))
		many := bytes.Repeat([]byte(healthCall), 1000)
		for {
			if _, err := greedy.Write(many); err != nil {
				break
			}
		}
		other.send(healthCall)
		other.want(http.StatusOK)
		greedy.Close()
		waitFor(t, "the greedy one's end", func() bool { return r.lines.open.Load() == 1 })
	})
}
