// Package dns is the forwarder that answers the DNS questions of customers,
// whether they have paid or not. It passes questions to the resolvers of the
// uplink and their answers back, truthfully: nothing is redirected, so that
// what a phone remembers is still true once it is online. On the way it learns
// the addresses of the walled garden. It holds no zone (but the name of the
// portal), no cache, and does not know what a garden address is allowed by.
//
// Messages are parsed with golang.org/x/net/dns/dnsmessage and not with
// miekg/dns, which would add some megabytes to a binary that must fit a
// router's flash.
//
// Documents followed: RFC 1035, RFC 5452 (answers that are not ours), RFC 6891
// (EDNS), RFC 7766 (TCP), RFC 9619 (one question).
package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// A Garden lets strangers reach addresses.
type Garden interface {
	// Allow lets everybody reach the addresses for at least the given time.
	// Allowing an address again extends it. It is called before the answer
	// leaves, so it should be quick; it must be safe for concurrent use.
	Allow(ctx context.Context, addrs []netip.Addr, ttl time.Duration) error
}

// A Server is the forwarder. Set its fields before Run; the zero value of an
// optional field gives the default named there.
type Server struct {
	// Device is the LAN interface. The sockets are bound to it, at every
	// address that it has or will have, so the forwarder is never open
	// towards the internet.
	Device string
	// Port is the UDP and TCP port.
	Port uint16
	// UDP and TCP are sockets to serve instead of opening some on Device. Run
	// closes them.
	UDP []*net.UDPConn
	TCP []net.Listener

	// Upstreams are the resolvers to ask, in order of preference. Empty means
	// those in ResolvConf. SetUpstreams changes them while Run runs.
	Upstreams []netip.AddrPort
	// ResolvConf are paths of files as in resolv.conf(5), read again when they
	// change. The resolvers of the first come first; one on this machine is
	// asked only if there is no other. Nil means DefaultResolvConf.
	ResolvConf []string

	// Domains are the names of the walled garden: "example.org" is that name
	// alone, "*.example.org" every name below it.
	Domains []string
	// Garden learns the addresses of Domains. Nil if there are no Domains.
	Garden Garden

	// Pay says whether a name (lower case, no final dot) leads to a provider's
	// page, where customers pay, and PayGarden learns its addresses. Both are nil
	// if nobody pays on a page. Pay must be quick and safe for concurrent use.
	Pay       func(name string) bool
	PayGarden Garden

	// Name is the DNS name of the portal. It is answered with the addresses of
	// the LAN; names below it are not. Optional.
	Name string
	// LAN returns the addresses of the gateway on the LAN with the length of
	// their prefixes. Nil means those of Device.
	LAN func() []netip.Prefix

	// Log gets what an operator should know, never a name that a customer
	// asked for. Nil means nothing is logged.
	Log *slog.Logger

	// Rate and Burst bound the questions per second of one address: 20 and 60.
	Rate, Burst int
	// MaxQueries bounds the questions being answered at once: 256, at most an
	// eighth of them from one address. What comes above it is dropped (UDP) or
	// closed (TCP).
	MaxQueries int
	// MaxConns bounds the TCP connections of customers: 64, at most an eighth
	// of them from one address.
	MaxConns int
	// Timeout is how long one resolver has to answer: 2 s. A question is tried
	// three times.
	Timeout time.Duration

	stats     counters
	upstreams atomic.Pointer[[]netip.AddrPort] // set by SetUpstreams
	preferred atomic.Int32                     // index of the resolver that answered last

	// Made by Run.
	patterns  patterns
	name      string // canonical Name
	limiter   *limiter
	answering shares        // questions being answered
	conns     shares        // connections of customers
	tcpSlots  chan struct{} // one per TCP exchange with a resolver
	resolv    *resolvConf
	lan       lanAddrs
	ports     []uint16
	noGarden  atomic.Bool // the last Allow failed
	noAnswers atomic.Bool // the last question got no answer from any resolver
}

// Stats counts what a Server has done since it was made.
type Stats struct {
	Queries  uint64 // questions understood
	Refused  uint64 // of them, refused because their sender asks too much
	Dropped  uint64 // of them, dropped because too many are being answered
	Failed   uint64 // of them, answered SERVFAIL because no resolver answered
	Bogus    uint64 // packets from resolvers that were not an answer to our question
	Learned  uint64 // addresses passed to the Garden
	Rejected uint64 // addresses of garden names that are not public
}

type counters struct {
	queries, refused, dropped, failed, bogus, learned, rejected atomic.Uint64
}

// Stats returns the counters. Safe for concurrent use.
func (s *Server) Stats() Stats {
	return Stats{
		Queries: s.stats.queries.Load(), Refused: s.stats.refused.Load(), Dropped: s.stats.dropped.Load(),
		Failed: s.stats.failed.Load(), Bogus: s.stats.bogus.Load(),
		Learned: s.stats.learned.Load(), Rejected: s.stats.rejected.Load(),
	}
}

const (
	// maxQuery is the longest question accepted, in octets, and the longest
	// answer over UDP that we ask for ourselves: what the least MTU of IPv6
	// carries in one packet, and far more than a name takes.
	maxQuery = 1232
	// tcpIdle is how long a customer's TCP connection may be silent.
	tcpIdle = 10 * time.Second
	// devicePoll is how often the LAN interface is looked for.
	devicePoll = 2 * time.Second
)

// errDevice ends a round of serving because the LAN interface went away or
// was made anew. Sockets stay bound to the old one.
var errDevice = errors.New("the interface has changed")

// Run answers questions until ctx is cancelled, and then returns nil. Where
// the LAN interface is missing, it waits for it. Run may be called once.
func (s *Server) Run(ctx context.Context) error {
	if err := s.prepare(); err != nil {
		return err
	}
	if len(s.UDP)+len(s.TCP) > 0 {
		return s.serve(ctx, s.UDP, s.TCP, nil)
	}
	waiting := false
	for {
		err := s.serveDevice(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errDevice):
			s.Log.Info("dns: interface has changed, listening anew", "interface", s.Device)
			waiting = false
			continue
		case !missingDevice(err):
			return fmt.Errorf("serving dns on %s: %w", s.Device, err)
		case !waiting:
			waiting = true
			s.Log.Warn("dns: waiting for the interface", "interface", s.Device)
		}
		if !sleep(ctx, devicePoll) {
			return nil
		}
	}
}

// serveDevice serves on the LAN interface until it changes.
func (s *Server) serveDevice(ctx context.Context) error {
	dev, err := net.InterfaceByName(s.Device)
	if err != nil {
		return err
	}
	udp, tcp, err := listen(ctx, s.Device, s.Port)
	if err != nil {
		return err
	}
	return s.serve(ctx, udp, tcp, func(ctx context.Context) error {
		for sleep(ctx, devicePoll) {
			if now, err := net.InterfaceByName(s.Device); err != nil || now.Index != dev.Index {
				return errDevice
			}
		}
		return nil
	})
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

// prepare checks the fields and makes what Run needs.
func (s *Server) prepare() error {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if len(s.UDP)+len(s.TCP) == 0 && (s.Device == "" || s.Port == 0) {
		return errors.New("dns: set Device and Port, or pass sockets")
	}
	var err error
	if s.patterns, err = parsePatterns(s.Domains); err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	if len(s.Domains) > 0 && s.Garden == nil {
		return errors.New("dns: Domains are set but no Garden learns them")
	}
	setDefault(&s.Rate, 20)
	setDefault(&s.Burst, 60)
	setDefault(&s.MaxQueries, 256)
	setDefault(&s.MaxConns, 64)
	if s.Timeout <= 0 {
		s.Timeout = 2 * time.Second
	}
	if s.ResolvConf == nil {
		s.ResolvConf = DefaultResolvConf
	}
	s.limiter = newLimiter(s.Rate, s.Burst)
	s.answering.most, s.conns.most = s.MaxQueries, s.MaxConns
	s.name = strings.ToLower(strings.TrimSuffix(s.Name, "."))
	s.tcpSlots = make(chan struct{}, max(1, s.MaxQueries/8))
	s.resolv = &resolvConf{paths: s.ResolvConf}
	read := s.LAN
	if read == nil {
		read = func() []netip.Prefix { return devicePrefixes(s.Device) }
	}
	s.lan.read = read
	if s.Port != 0 {
		s.ports = append(s.ports, s.Port)
	}
	for _, c := range s.UDP {
		s.ports = append(s.ports, portOf(c.LocalAddr()))
	}
	for _, l := range s.TCP {
		s.ports = append(s.ports, portOf(l.Addr()))
	}
	return nil
}

func portOf(a net.Addr) uint16 {
	ap, _ := netip.ParseAddrPort(a.String())
	return ap.Port()
}

func setDefault(field *int, value int) {
	if *field <= 0 {
		*field = value
	}
}

// serve runs one task per socket, and the watch if there is one, until ctx is
// cancelled or one of them fails. It closes the sockets, and returns when every
// answer under way has ended.
func (s *Server) serve(ctx context.Context, udp []*net.UDPConn, tcp []net.Listener, watch func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	closeAll := func() {
		for _, c := range udp {
			c.Close()
		}
		for _, l := range tcp {
			l.Close()
		}
	}
	// The deferred call is for what has not been closed yet when the last task
	// ends, so that the ports are free when serve returns.
	defer closeAll()
	defer context.AfterFunc(ctx, closeAll)()
	for _, c := range udp {
		g.Go(func() error { return s.serveUDP(ctx, c) })
	}
	for _, l := range tcp {
		g.Go(func() error { return s.serveTCP(ctx, l) })
	}
	if watch != nil {
		g.Go(func() error { return watch(ctx) })
	}
	return g.Wait()
}

// serveUDP answers the questions that arrive at one socket.
func (s *Server) serveUDP(ctx context.Context, conn *net.UDPConn) error {
	var answers sync.WaitGroup
	defer answers.Wait()
	buf, oob := make([]byte, maxQuery+1), make([]byte, 128)
	for {
		n, oobn, _, from, err := conn.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("reading from %s: %w", conn.LocalAddr(), err)
			}
			// What the network reports about one packet does not end the rest,
			// but a socket that always fails must not keep a core busy.
			if !sleep(ctx, 10*time.Millisecond) {
				return nil
			}
			continue
		}
		client := from.Addr().Unmap().WithZone("")
		q, reply := s.accept(buf[:n], client)
		if q == nil {
			if reply != nil {
				send(conn, reply, oob[:oobn], from)
			}
			continue
		}
		if !s.answering.take(client) {
			s.stats.dropped.Add(1)
			continue
		}
		control := slices.Clone(oob[:oobn])
		answers.Go(func() {
			defer s.answering.give(client)
			answer := s.answer(ctx, q, false)
			if len(answer) > q.udpSize {
				answer = q.truncated(answer)
			}
			if ctx.Err() == nil {
				send(conn, answer, control, from)
			}
		})
	}
}

// send replies from the address that was asked. That it did not get through is
// nothing to act on: the client asks again.
func send(conn *net.UDPConn, answer, control []byte, to netip.AddrPort) {
	_, _, _ = conn.WriteMsgUDPAddrPort(answer, replyControl(control), to)
}

// serveTCP accepts connections from customers.
func (s *Server) serveTCP(ctx context.Context, l net.Listener) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accepting at %s: %w", l.Addr(), err)
			}
			// Too many open files, a connection aborted: both pass.
			if !sleep(ctx, 50*time.Millisecond) {
				return nil
			}
			continue
		}
		ap, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
		client := ap.Addr().Unmap().WithZone("")
		if !s.conns.take(client) {
			conn.Close()
			continue
		}
		conns.Go(func() {
			defer s.conns.give(client)
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			s.serveConn(ctx, conn, client)
		})
	}
}

// serveConn answers the questions of one connection, one after the other
// (RFC 7766 section 6.2.1.1 lets the client pipeline them).
func (s *Server) serveConn(ctx context.Context, conn net.Conn, client netip.Addr) {
	buf := make([]byte, 2+maxQuery)
	for {
		if conn.SetDeadline(time.Now().Add(tcpIdle)) != nil {
			return
		}
		if _, err := io.ReadFull(conn, buf[:2]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(buf))
		if n > maxQuery {
			return
		}
		if _, err := io.ReadFull(conn, buf[2:2+n]); err != nil {
			return
		}
		q, reply := s.accept(buf[2:2+n], client)
		if q != nil {
			if !s.answering.take(client) {
				s.stats.dropped.Add(1)
				return
			}
			reply = s.answer(ctx, q, true)
			s.answering.give(client)
		}
		if reply == nil || len(reply) > 0xffff {
			return
		}
		// The answer may have taken longer than the client may be silent.
		if conn.SetDeadline(time.Now().Add(tcpIdle)) != nil {
			return
		}
		if _, err := conn.Write(frame(reply)); err != nil {
			return
		}
	}
}

// frame puts the length in front of a message, in one piece (RFC 7766 section
// 8).
func frame(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(msg)), uint16(len(msg))), msg...)
}

// missingDevice reports whether an interface does not exist (yet).
func missingDevice(err error) bool {
	var op *net.OpError
	return errors.Is(err, syscall.ENODEV) ||
		errors.As(err, &op) && op.Op == "route" // what net.InterfaceByName returns
}
