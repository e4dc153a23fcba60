package portal

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"zonegate"
)

// A hall is a small room with a listener. Each address is a device.
type hall struct {
	t        *testing.T
	room     *room
	listener net.Listener
}

func newHall(t *testing.T, places, perClient int) *hall {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hall{t: t, room: newRoom(places, perClient, func(a netip.Addr) (zonegate.MAC, error) {
		return zonegate.MAC{2, 0, 0, 0, 0, a.As4()[3]}, nil
	})}
	h.listener = h.room.listener(l)
	t.Cleanup(func() { _ = h.listener.Close() })
	return h
}

func (h *hall) dial(from string) net.Conn {
	h.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp4", h.listener.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (h *hall) accept() *roomConn {
	h.t.Helper()
	conn, err := h.listener.Accept()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	return conn.(*roomConn)
}

// enter opens a connection that waits for its first request, and returns both
// ends.
func (h *hall) enter(from string) (near, far net.Conn) {
	h.t.Helper()
	near = h.dial(from)
	c := h.accept()
	c.first.Do(func() { c.refused = !h.room.admit(c) }) // as Read does
	if c.refused {
		h.t.Fatalf("a connection from %s was refused", from)
	}
	return near, c
}

// ended waits for the end of a connection.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d octets, %v; want the end", n, err)
	}
}

// alive says something through a connection.
func alive(t *testing.T, near, far net.Conn) {
	t.Helper()
	if _, err := near.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if n, err := far.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("read %d octets, %v; want one", n, err)
	}
}

func TestNewcomerTakesThePlaceOfTheLongestIdle(t *testing.T) {
	h := newHall(t, 3, 2)
	near1, far1 := h.enter("127.0.0.11")
	near2, _ := h.enter("127.0.0.12")
	near3, _ := h.enter("127.0.0.13")
	h.room.state(far1, http.StateActive) // busy: older than all, but not idle

	h.enter("127.0.0.14")
	ended(t, near2)
	h.room.state(far1, http.StateIdle) // idle, but since now
	h.enter("127.0.0.15")
	ended(t, near3)
	if len(h.room.conns) != 3 || len(h.room.clients) != 3 {
		t.Errorf("%d connections of %d clients, want 3 of 3", len(h.room.conns), len(h.room.clients))
	}
	alive(t, near1, far1)
}

func TestNewcomerWaitsWhileAllAreBusy(t *testing.T) {
	h := newHall(t, 2, 2)
	_, far1 := h.enter("127.0.0.11")
	near2, far2 := h.enter("127.0.0.12")
	h.room.state(far1, http.StateActive)
	h.room.state(far2, http.StateActive)

	h.dial("127.0.0.13")
	accepted := make(chan error, 1)
	go func() {
		_, err := h.listener.Accept()
		accepted <- err
	}()
	h.room.state(far2, http.StateIdle)
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	ended(t, near2)

	// A closed listener keeps nobody waiting. The one accepted last is busy
	// until it is admitted.
	h.dial("127.0.0.14")
	go func() {
		_, err := h.listener.Accept()
		accepted <- err
	}()
	_ = h.listener.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
}

func TestWhoIsOneClient(t *testing.T) {
	known := zonegate.MAC{2, 0, 0, 0, 0, 1}
	r := newRoom(1, 1, func(a netip.Addr) (zonegate.MAC, error) {
		if a.Is4() && a.As4()[0] == 10 || a.Zone() == "lan0" {
			return known, nil
		}
		return zonegate.MAC{}, errors.New("no neighbour entry")
	})
	client := func(addr string) client {
		return r.client(net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 40000)))
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"10.0.0.1", "10.0.0.2", true},
		{"10.0.0.1", "fe80::1%lan0", true},
		{"10.0.0.1", "::ffff:10.0.0.3", true},
		{"10.0.0.1", "192.0.2.1", false},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "192.0.2.1", true},
		{"2001:db8::1", "2001:db8::ffff:2", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%lan1", "fe80::2%lan1", true},
	} {
		if got := client(c.a) == client(c.b); got != c.same {
			t.Errorf("%s and %s one client: %v, want %v", c.a, c.b, got, c.same)
		}
	}
}

func TestAnOldConnectionEnds(t *testing.T) {
	r := newRoom(8, 8, nil)
	if r.last(&roomConn{opened: time.Now()}) {
		t.Error("a new connection ends")
	}
	if !r.last(&roomConn{opened: time.Now().Add(-maxConnAge)}) {
		t.Error("an old connection is kept")
	}
}
