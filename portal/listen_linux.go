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

	"zonegate"
)

const (
	// devicePoll is how often the LAN interface is looked for.
	devicePoll = 2 * time.Second
	// locatePatience bounds the search for the device behind a connection.
	locatePatience = time.Second
)

// errDevice ends a round of serving because the LAN interface went away or was
// made anew. Sockets stay bound to the old one.
var errDevice = errors.New("the interface has changed")

// Run serves until the context is done, then gives requests a moment to end.
// Where Device is missing, it waits for it, and serves Remote meanwhile.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	remote := s.remote()
	if len(remote) > 0 {
		g.Go(func() error { return s.serveRemote(ctx, remote) })
	}
	if len(s.Addrs) > 0 || s.Device != "" || len(remote) == 0 {
		g.Go(func() error { return s.runLink(ctx) })
	}
	return g.Wait()
}

// runLink serves the link.
func (s *Server) runLink(ctx context.Context) error {
	for waiting := false; ; {
		err := s.serve(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errDevice):
			s.logger().Info("the portal listens anew because its interface has changed", "interface", s.Device)
			waiting = false
			continue
		case !missingDevice(err):
			return err
		case !waiting:
			waiting = true
			s.logger().Warn("the portal waits for its interface", "interface", s.Device)
		}
		if !sleep(ctx, devicePoll) {
			return nil
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// missingDevice reports whether an interface does not exist (yet).
func missingDevice(err error) bool {
	var op *net.OpError
	return errors.Is(err, unix.ENODEV) ||
		errors.As(err, &op) && op.Op == "route" // what net.InterfaceByName returns
}

// watchDevice returns errDevice when Device is no longer the interface with an
// index.
func (s *Server) watchDevice(ctx context.Context, index int) error {
	for sleep(ctx, devicePoll) {
		if now, err := net.InterfaceByName(s.Device); err != nil || now.Index != index {
			return errDevice
		}
	}
	return nil
}

// remote are the addresses of Remote that are not the link's own.
func (s *Server) remote() []netip.AddrPort {
	var remote []netip.AddrPort
	for _, at := range s.Remote {
		own := false
		for _, a := range s.Addrs {
			own = own || at == netip.AddrPortFrom(a, s.Port)
		}
		if !own {
			remote = append(remote, at)
		}
	}
	return remote
}

// serveRemote serves customers of NASes until the context is done.
func (s *Server) serveRemote(ctx context.Context, at []netip.AddrPort) error {
	room := newRoom(maxRemoteConns, maxConnsPerRemote, func(netip.Addr) (zonegate.MAC, error) {
		return zonegate.MAC{}, errRemote
	})
	var listeners []net.Listener
	for _, a := range at {
		l, err := listen(ctx, "", a)
		if err != nil {
			for _, l := range listeners {
				_ = l.Close()
			}
			return err
		}
		listeners = append(listeners, room.listener(l))
	}
	return serveOn(ctx, s.server(room, s.RemoteHandler()), listeners, nil)
}

// serve serves until the context is done or Device changes.
func (s *Server) serve(ctx context.Context) error {
	index := 0
	if s.Device != "" {
		dev, err := net.InterfaceByName(s.Device)
		if err != nil {
			return fmt.Errorf("looking for the portal's interface %s: %w", s.Device, err)
		}
		index = dev.Index
	}
	room := newRoom(maxConns, maxConnsPerClient, func(a netip.Addr) (zonegate.MAC, error) {
		ctx, cancel := context.WithTimeout(ctx, locatePatience)
		defer cancel()
		return s.Locator.Locate(ctx, a)
	})
	var listeners []net.Listener
	closeAll := func() {
		for _, l := range listeners {
			_ = l.Close()
		}
	}
	listen := func(port uint16, config *tls.Config) error {
		for _, addr := range s.Addrs {
			l, err := listen(ctx, s.Device, netip.AddrPortFrom(addr, port))
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

	var watch func(context.Context) error
	if s.Device != "" {
		watch = func(ctx context.Context) error { return s.watchDevice(ctx, index) }
	}
	return serveOn(ctx, s.server(room, s.Handler()), listeners, watch)
}

// serveOn serves until the context is done or watch fails.
func serveOn(ctx context.Context, srv *http.Server, listeners []net.Listener, watch func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		g.Go(func() error {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving the portal on %v: %w", l.Addr(), err)
			}
			return nil
		})
	}
	if watch != nil {
		g.Go(func() error { return watch(ctx) })
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
func (s *Server) server(room *room, handler http.Handler) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:     room.handler(handler),
		ConnState:   room.state,
		ConnContext: room.context,
		Protocols:   &protocols,
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
// boot. With a device it takes only what arrives there: Linux answers for an
// address of one interface on all others too.
func listen(ctx context.Context, device string, at netip.AddrPort) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		cerr := c.Control(func(fd uintptr) {
			if at.Addr().Is4() {
				err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
			} else {
				err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
			}
			if device != "" {
				err = errors.Join(err, unix.BindToDevice(int(fd), device))
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
