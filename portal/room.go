package portal

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"zonegate"
)

// Connections are cheap for who opens them and 10 to 20 KB each for us.
const (
	maxConns          = 256
	maxConnsPerClient = 16
	// The same for the customers of NASes, of whom many may have one address.
	// There each connection carries one request.
	maxRemoteConns    = 128
	maxConnsPerRemote = 64
	// What one connection may ask for, and how long it may keep asking, before
	// it must be opened anew and find a place like everybody's.
	maxRequestsPerConn = 100
	maxConnAge         = time.Minute
)

// A room bounds the connections of all listeners together, and of one client.
// Who waits for nothing gives way: a newcomer to a full room takes the place
// of the connection that has been idle longest.
type room struct {
	places    int
	perClient int
	locate    func(netip.Addr) (zonegate.MAC, error)

	mu      sync.Mutex
	changed *sync.Cond // a place was left, a connection is idle, a listener closed
	conns   map[*roomConn]struct{}
	clients map[client]int
}

func newRoom(places, perClient int, locate func(netip.Addr) (zonegate.MAC, error)) *room {
	r := &room{
		places: places, perClient: perClient, locate: locate,
		conns: map[*roomConn]struct{}{}, clients: map[client]int{},
	}
	r.changed = sync.NewCond(&r.mu)
	return r
}

// A client is who shares one part of the room: a device, which may have many
// addresses. One whose hardware address is not known is its address, in IPv6
// its /64, from which anybody can take as many addresses as he likes.
type client struct {
	mac    zonegate.MAC
	prefix netip.Prefix
}

func (r *room) client(remote net.Addr) client {
	addr := clientAddr(remote.String())
	if !addr.IsValid() {
		return client{}
	}
	if mac, err := r.locate(addr); err == nil {
		return client{mac: mac}
	}
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits) // the length suits the family
	return client{prefix: prefix}
}

// enter gives a connection of a listener a place. It waits while all others
// are busy; false means that the listener was closed.
func (r *room) enter(c *roomConn, l *roomListener) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !l.closed && len(r.conns) >= r.places {
		if idle := r.longestIdle(); idle != nil {
			r.remove(idle)
			_ = idle.Conn.Close()
		} else {
			r.changed.Wait()
		}
	}
	if l.closed {
		return false
	}
	r.conns[c] = struct{}{}
	return true
}

func (r *room) longestIdle() *roomConn {
	var longest *roomConn
	for c := range r.conns {
		if !c.idleSince.IsZero() && (longest == nil || c.idleSince.Before(longest.idleSince)) {
			longest = c
		}
	}
	return longest
}

// admit counts a connection for its client. It returns false if the client has
// too many.
func (r *room) admit(c *roomConn) bool {
	who := r.client(c.RemoteAddr())
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, in := r.conns[c]; !in || r.clients[who] >= r.perClient {
		return false
	}
	r.clients[who]++
	c.client, c.admitted = who, true
	c.idleSince = time.Now()
	r.changed.Broadcast()
	return true
}

// remove takes a connection out; r.mu is held.
func (r *room) remove(c *roomConn) {
	if _, in := r.conns[c]; !in {
		return
	}
	delete(r.conns, c)
	if c.admitted {
		if r.clients[c.client]--; r.clients[c.client] == 0 {
			delete(r.clients, c.client)
		}
	}
	r.changed.Broadcast()
}

// state is the ConnState hook of the HTTP server. A connection is active from
// the end of a request's headers to the end of its answer, so one that sends
// headers slowly counts as idle.
func (r *room) state(conn net.Conn, to http.ConnState) {
	c := roomConnOf(conn)
	if c == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch to {
	case http.StateActive:
		c.idleSince = time.Time{}
	case http.StateIdle:
		c.idleSince = time.Now()
		r.changed.Broadcast()
	}
}

// handler makes an answer the last of its connection when the room is more
// than half full, or the connection has had its share.
func (r *room) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if c, ok := req.Context().Value(roomConnKey{}).(*roomConn); ok && r.last(c) {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, req)
	})
}

func (r *room) last(c *roomConn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.requests++
	return len(r.conns) > r.places/2 || c.requests >= maxRequestsPerConn || time.Since(c.opened) >= maxConnAge
}

type roomConnKey struct{}

// context is the ConnContext hook of the HTTP server.
func (r *room) context(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, roomConnKey{}, roomConnOf(conn))
}

func (r *room) listener(l net.Listener) net.Listener {
	return &roomListener{Listener: l, room: r}
}

type roomListener struct {
	net.Listener
	room   *room
	closed bool // guarded by room.mu
}

func (l *roomListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &roomConn{Conn: conn, room: l.room, opened: time.Now()}
	if !l.room.enter(c, l) {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l *roomListener) Close() error {
	l.room.mu.Lock()
	l.closed = true
	l.room.changed.Broadcast()
	l.room.mu.Unlock()
	return l.Listener.Close()
}

// A roomConn is a connection with a place in the room.
type roomConn struct {
	net.Conn
	room   *room
	opened time.Time

	first   sync.Once
	refused bool // set by first

	// Guarded by room.mu.
	client    client
	admitted  bool
	requests  int
	idleSince time.Time // zero while busy
}

// roomConnOf returns the room's part of a connection that the HTTP server
// knows, nil if it has none.
func roomConnOf(conn net.Conn) *roomConn {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	c, _ := conn.(*roomConn)
	return c
}

// Read asks first whose connection this is: here, and not in Accept, a slow
// answer holds nobody else up. A client with too many connections reads the
// end of this one, and the server closes it.
func (c *roomConn) Read(b []byte) (int, error) {
	c.first.Do(func() { c.refused = !c.room.admit(c) })
	if c.refused {
		return 0, io.EOF
	}
	return c.Conn.Read(b)
}

func (c *roomConn) Close() error {
	err := c.Conn.Close()
	c.room.mu.Lock()
	c.room.remove(c)
	c.room.mu.Unlock()
	return err
}
