package portal

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Connections are cheap for who opens them and 10 to 20 KB each for us.
const (
	maxConns          = 256
	maxConnsPerClient = 16
)

// Run serves until the context is done, then gives requests a moment to end.
func (s *Server) Run(ctx context.Context) error {
	room := newRoom(maxConns, maxConnsPerClient)
	var listeners []net.Listener
	closeAll := func() {
		for _, l := range listeners {
			_ = l.Close()
		}
	}
	listen := func(port uint16, config *tls.Config) error {
		for _, addr := range s.Addrs {
			l, err := listen(ctx, netip.AddrPortFrom(addr, port))
			if err != nil {
				return err
			}
			l = room.listener(l)
			if config != nil {
				l = tls.NewListener(l, config)
			}
			listeners = append(listeners, l)
		}
		return nil
	}
	if err := listen(s.Port, nil); err != nil {
		closeAll()
		return err
	}
	if s.TLSCert != "" {
		certs := &certFiles{cert: s.TLSCert, key: s.TLSKey}
		if _, err := certs.get(nil); err != nil {
			// The pages matter more than HTTPS: phones fall back to the redirect.
			s.logger().Error("the portal has no HTTPS until its certificate can be read", "error", err)
		}
		if err := listen(s.tlsPort(), &tls.Config{GetCertificate: certs.get, MinVersion: tls.VersionTLS12}); err != nil {
			closeAll()
			return err
		}
	}
	if len(listeners) == 0 {
		return errors.New("the portal has no address to listen on; give the LAN interface one")
	}

	srv := s.server()
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		g.Go(func() error {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving the portal on %v: %w", l.Addr(), err)
			}
			return nil
		})
	}
	g.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		if err := srv.Shutdown(grace); err != nil {
			return srv.Close()
		}
		return nil
	})
	return g.Wait()
}

// server returns an HTTP server that nobody can keep busy for long. A refused
// code may take some seconds to be answered.
func (s *Server) server() *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:   s.Handler(),
		Protocols: &protocols,
		// "OPTIONS *" would be answered 200 with nothing in it, which is what a
		// phone takes for the internet.
		DisableGeneralOptionsHandler: true,

		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       15 * time.Second,
		MaxHeaderBytes:    12 << 10,
		ErrorLog:          slog.NewLogLogger(s.logger().Handler(), slog.LevelDebug),
	}
}

func (s *Server) tlsPort() uint16 {
	if s.TLSPort != 0 {
		return s.TLSPort
	}
	return s.Port + 1
}

// listen binds an address that may come up later, such as that of a bridge at
// boot.
func listen(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		cerr := c.Control(func(fd uintptr) {
			if at.Addr().Is4() {
				err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
			} else {
				err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
			}
		})
		return errors.Join(cerr, err)
	}}
	network := "tcp4"
	if at.Addr().Is6() {
		network = "tcp6"
	}
	l, err := lc.Listen(ctx, network, at.String())
	if err != nil {
		return nil, fmt.Errorf("listening for the portal on %v (is the port taken?): %w", at, err)
	}
	return l, nil
}

// A room bounds the connections of all listeners together, and of one client.
type room struct {
	places    chan struct{}
	perClient int

	mu      sync.Mutex
	clients map[netip.Addr]int
}

func newRoom(places, perClient int) *room {
	return &room{places: make(chan struct{}, places), perClient: perClient, clients: map[netip.Addr]int{}}
}

func (r *room) listener(l net.Listener) net.Listener {
	return &roomListener{Listener: l, room: r, closed: make(chan struct{})}
}

func (r *room) enter(a netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.clients[a] >= r.perClient {
		return false
	}
	r.clients[a]++
	return true
}

func (r *room) leave(a netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.clients[a]--; r.clients[a] == 0 {
		delete(r.clients, a)
	}
}

type roomListener struct {
	net.Listener
	room   *room
	once   sync.Once
	closed chan struct{}
}

// Accept waits for a place, so that a crowd queues in the kernel, and turns
// away a client that has too many.
func (l *roomListener) Accept() (net.Conn, error) {
	select {
	case l.room.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			<-l.room.places
			return nil, err
		}
		addr := clientAddr(conn.RemoteAddr().String())
		if l.room.enter(addr) {
			return &roomConn{Conn: conn, room: l.room, addr: addr}, nil
		}
		_ = conn.Close()
	}
}

func (l *roomListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type roomConn struct {
	net.Conn
	room *room
	addr netip.Addr
	once sync.Once
}

func (c *roomConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.room.leave(c.addr)
		<-c.room.places
	})
	return err
}

// certFiles is a certificate that may be replaced while it is served.
type certFiles struct {
	cert, key string

	mu      sync.Mutex
	loaded  *tls.Certificate
	changed time.Time
}

func (f *certFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.cert)
	if err == nil && f.loaded != nil && info.ModTime().Equal(f.changed) {
		return f.loaded, nil
	}
	if err == nil {
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(f.cert, f.key); err == nil {
			f.loaded, f.changed = &pair, info.ModTime()
			return f.loaded, nil
		}
	}
	if f.loaded != nil {
		// Half written, perhaps: the old one is better than none.
		return f.loaded, nil
	}
	return nil, fmt.Errorf("reading the portal's certificate: %w", err)
}
