package hotspot

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate"
	"zonegate/shaper/mikrotik/simros"
)

const (
	// Server is the hotspot's name, and User the one whom zonegate logs in as.
	Server = "hotspot1"
	User   = "zonegate"

	bridge = "bridge1"
	every  = 100 * time.Millisecond
)

// Options say where the router is.
type Options struct {
	// Version is that of the RouterOS; empty is the simulation's own choice.
	Version string `json:"version"`
	// LAN is the customers' interface, Network their addresses and Address the
	// hotspot's own among them.
	LAN     string       `json:"lan"`
	Network netip.Prefix `json:"network"`
	Address netip.Addr   `json:"address"`
	// Servlet is the port of the login page.
	Servlet uint16 `json:"servlet"`
	// API is where the API listens over TLS, and Portal where zonegate serves
	// its pages.
	API    netip.AddrPort `json:"api"`
	Portal netip.AddrPort `json:"portal"`
	// Page is the file that the hotspot has as its login.html.
	Page string `json:"page"`
	// Password is User's.
	Password string `json:"password"`
	// Certificate and Key are PEM.
	Certificate []byte `json:"certificate"`
	Key         []byte `json:"key"`
	// Socket is the unix socket that takes what happens to the router: see
	// [Ask].
	Socket string `json:"socket"`
}

// A Router is the simulation with its packets.
type Router struct {
	options Options
	ros     *simros.Router
	silent  atomic.Bool // the API does not answer

	mu     sync.Mutex // held while kernel and simulation are brought together
	plane  *plane
	off    bool
	broken error // the kernel refused something; the next round clears it
}

// Run is the router in the network namespace of the calling process, until ctx
// ends.
func Run(ctx context.Context, o Options) error {
	cert, err := tls.X509KeyPair(o.Certificate, o.Key)
	if err != nil {
		return fmt.Errorf("reading the router's certificate: %w", err)
	}
	r := &Router{options: o, ros: simros.New(simros.Options{
		Version: o.Version, Identity: "lab", User: "admin", Password: o.Password,
	})}
	if err := setUp(r.ros, o); err != nil {
		return err
	}
	if r.plane, err = openPlane(o); err != nil {
		return err
	}
	defer r.plane.conn.Close()
	socket, err := net.Listen("unix", o.Socket)
	if err != nil {
		return fmt.Errorf("listening for what happens to the router: %w", err)
	}
	web, err := net.Listen("tcp4", net.JoinHostPort("", strconv.Itoa(int(o.Servlet))))
	if err != nil {
		return fmt.Errorf("listening for the login page: %w", err)
	}
	api, err := net.Listen("tcp4", o.API.String())
	if err != nil {
		return fmt.Errorf("listening for the API: %w", err)
	}
	page := &http.Server{Handler: r.page(), ReadHeaderTimeout: 10 * time.Second}
	orders := &http.Server{Handler: http.HandlerFunc(r.serveOrder), ReadHeaderTimeout: 10 * time.Second}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return r.ros.Serve(ctx, &apiListener{Listener: api, r: r, tls: &tls.Config{Certificates: []tls.Certificate{cert}}})
	})
	g.Go(func() error { return unlessClosed(page.Serve(web)) })
	g.Go(func() error { return unlessClosed(orders.Serve(socket)) })
	g.Go(func() error { return r.keep(ctx) })
	g.Go(func() error {
		<-ctx.Done()
		return errors.Join(page.Close(), orders.Close())
	})
	return g.Wait()
}

func unlessClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// keep brings kernel and simulation together now and then, for what time alone
// ends and for caps.
func (r *Router) keep(ctx context.Context) error {
	t := time.NewTicker(every)
	defer t.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		r.meet()
		r.mu.Lock()
		err := r.broken
		r.broken = nil
		r.mu.Unlock()
		if err != nil && err.Error() != said {
			said = err.Error()
			fmt.Fprintln(os.Stderr, "hotspot:", said)
		}
	}
}

// meet tells the simulation what has passed, and the kernel who may pass.
func (r *Router) meet() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = errors.Join(r.broken, r.tell(), r.allow())
}

// tell has the simulation see who sent and how much.
func (r *Router) tell() error {
	places, err := r.plane.seen()
	if err != nil {
		return err
	}
	if r.off {
		return nil
	}
	for _, x := range places {
		if x.addr == r.options.Address {
			continue
		}
		if err := r.ros.Appear(x.mac.String(), x.addr.String()); err != nil {
			return err
		}
	}
	if err := r.plane.count(); err != nil {
		return err
	}
	for _, x := range r.plane.passing {
		if up, down := x.up-x.toUp, x.down-x.toDown; up+down > 0 {
			x.toUp, x.toDown = x.up, x.down
			r.ros.Traffic(x.mac.String(), up, down)
		}
	}
	return nil
}

// allow has the kernel do what the simulation decided.
func (r *Router) allow() error {
	want := make(map[netip.Addr]passing)
	if active := r.ros.Print("/ip/hotspot/active"); len(active) > 0 {
		q := readQueues(r.ros)
		for _, a := range active {
			mac, macErr := net.ParseMAC(a["mac-address"])
			addr, err := netip.ParseAddr(a["address"])
			if err = errors.Join(macErr, err); err != nil {
				return fmt.Errorf("reading the active list: %w", err)
			}
			want[addr] = passing{mac: zonegate.MAC(mac), rates: q.of(addr)}
		}
	}
	return r.plane.let(want)
}

// page serves the login page where there is one of ours, and all else as the
// simulation does.
func (r *Router) page() http.Handler {
	own := r.ros.LoginPage()
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.meet() // whoever asks was seen
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Connection", "close") // the next request may find the internet
		if q.URL.Path != "/login" || q.Method != http.MethodGet || q.FormValue("username") != "" {
			own.ServeHTTP(w, q)
			return
		}
		text, err := os.ReadFile(r.options.Page)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, r.filled(string(text), q))
	})
}

// filled puts in the variables that a login page may have (manual, "Hotspot
// customisation"); there is no challenge and no error.
func (r *Router) filled(text string, q *http.Request) string {
	ip, _, _ := net.SplitHostPort(q.RemoteAddr)
	mac := ""
	for _, h := range r.ros.Print("/ip/hotspot/host") {
		if h["address"] == ip {
			mac = h["mac-address"]
		}
	}
	return strings.NewReplacer(
		"$(mac)", mac, "$(ip)", ip, "$(link-login-only)", "http://"+r.options.Address.String()+"/login",
		"$(username-esc)", "", "$(chap-id-esc)", "", "$(chap-challenge-esc)", "", "$(error-esc)", "",
	).Replace(text)
}

// An apiListener gives the simulation connections before whose commands and
// answers it meets the kernel.
type apiListener struct {
	net.Listener
	r   *Router
	tls *tls.Config
}

func (l *apiListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !l.r.silent.Load() {
			return &apiConn{Conn: tls.Server(conn, l.tls), r: l.r}, nil
		}
		conn.Close()
	}
}

type apiConn struct {
	net.Conn
	r *Router
}

func (c *apiConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.r.meet()
	}
	return n, err
}

func (c *apiConn) Write(b []byte) (int, error) {
	c.r.meet()
	return c.Conn.Write(b)
}
