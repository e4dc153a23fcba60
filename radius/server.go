package radius

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate/radius/nas"
)

// readersEach is how many goroutines read from a socket: while one answers what
// needs no decision, the next datagram is read. Two are fewer answers a second
// on two processors, and more are no better.
const readersEach = 4

// DefaultInFlight is how many requests are answered at a time. One costs some
// 10 KB while it waits for the disk.
const DefaultInFlight = 512

// How long requests under way get at the end to finish, and then, their context
// done, to give up. A NAS asks again after 0.3 to 10 s.
const (
	lastAnswers = 2 * time.Second
	lastMoment  = time.Second
)

// A Server answers NASes over UDP (RFC 2865, 2866, 5080, 5997). Its fields must
// not change once Run was called.
type Server struct {
	// Gate decides. Book says who may ask.
	Gate Gate
	Book *nas.Book
	// Tickets are the one-time passwords that logins may bring.
	Tickets *Tickets
	// Witness is told of accounting that was taken; may be nil.
	Witness Witness

	// Auth and Acct are where Access-Requests and accounting are heard, by
	// custom at ports 1812 and 1813. 0.0.0.0 is every IPv4 address, [::] every
	// IPv6 one and, unless 0.0.0.0 is there with the same port, every IPv4 one.
	// An answer always leaves from the address that was asked.
	Auth, Acct []netip.AddrPort
	// Listening, if not nil, is told once where the server listens.
	Listening func(auth, acct []netip.AddrPort)

	// Language is that of the messages to customers.
	Language Language
	// Strict has interim accounting written down before it is answered, at
	// every NAS.
	Strict bool
	// Interim is the accounting interval to ask NASes for whose entry does not
	// say. IdleTimeout ends sessions that move nothing; zero leaves that to
	// the NAS.
	Interim, IdleTimeout time.Duration

	// Healthy says whether requests can be served. While it says no, a
	// Status-Server is not answered, so that a NAS asks its other server (RFC
	// 5997 section 4.2). It must not block. Nil means always.
	Healthy func() bool
	// InFlight is how many requests are answered at a time; more are dropped,
	// and one NAS alone gets half of them. Zero means DefaultInFlight.
	InFlight int
	// Counters count packets. Nil means that nobody looks.
	Counters *Counters
	// Logger may be nil.
	Logger *slog.Logger

	answers responder // what tests put in the translator's place
	readers int       // of each socket, where a test counts on an order
}

// Run serves until the context is done. Then it reads no more, lets requests
// under way finish for a moment, and returns nil. It returns an error when an
// address cannot be listened at or a socket breaks.
//
// Its goroutines are a few readers for each socket, one worker for each request
// under way, InFlight at most, and some that wait for the next.
func (s *Server) Run(ctx context.Context) error {
	log, counters := s.Logger, s.Counters
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if counters == nil {
		counters = new(Counters)
	}
	sockets, err := s.listen(ctx)
	if err != nil {
		return err
	}
	defer closeAll(sockets)
	if s.Listening != nil {
		s.Listening(addresses(sockets, authentication), addresses(sockets, accounting))
	}

	// Requests outlive the readers: their context ends later than ours.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	t := newTransport(s, serving, counters, log)
	readers, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() {
		for _, so := range sockets {
			// A deadline that has passed ends reading, not writing.
			so.conn.SetReadDeadline(time.Unix(1, 0))
		}
	})()
	for _, so := range sockets {
		for range cmp.Or(s.readers, readersEach) {
			readers.Go(func() error { return t.read(ctx, so) })
		}
	}
	return errors.Join(readers.Wait(), t.finish(stop))
}

func (s *Server) responder(counters *Counters, log *slog.Logger) responder {
	if s.answers != nil {
		return s.answers
	}
	return &translator{
		gate: s.Gate, tickets: s.Tickets, witness: s.Witness,
		language: s.Language, strict: s.Strict, interim: s.Interim, idle: s.IdleTimeout,
		log: log, count: counters.decided,
	}
}

// A purpose is what a port is for.
type purpose uint8

const (
	authentication purpose = iota
	accounting
)

// A socket is one address that is listened at.
type socket struct {
	conn    *net.UDPConn
	number  int
	purpose purpose
	// anywhere says that it hears several addresses of the machine.
	anywhere bool
}

// listen opens every socket, or none.
//
// A socket for a single address answers from it by itself. Only one for all
// addresses asks the kernel for the address of each datagram: a socket for each
// address that the machine has now would miss those that it gets later.
func (s *Server) listen(ctx context.Context) (sockets []*socket, err error) {
	defer func() {
		if err != nil {
			closeAll(sockets)
		}
	}()
	for p, addrs := range [...][]netip.AddrPort{authentication: s.Auth, accounting: s.Acct} {
		for _, at := range addrs {
			network := "udp6"
			switch {
			case at.Addr().Is4():
				network = "udp4"
			case at.Addr() == netip.IPv6Unspecified() && !hasAddr(addrs, netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())):
				network = "udp" // both
			}
			conn, err := new(net.ListenConfig).ListenPacket(ctx, network, at.String())
			if err != nil {
				return sockets, fmt.Errorf("listening for NASes: %w", err)
			}
			so := &socket{conn: conn.(*net.UDPConn), number: len(sockets), purpose: purpose(p), anywhere: at.Addr().IsUnspecified()}
			sockets = append(sockets, so)
			if !so.anywhere {
				continue
			}
			raw, err := so.conn.SyscallConn()
			if err == nil {
				err = askDestination(raw, network != "udp4")
			}
			if err != nil {
				return sockets, fmt.Errorf("asking the kernel for the address that NASes ask at %v: %w", at, err)
			}
		}
	}
	return sockets, nil
}

func hasAddr(addrs []netip.AddrPort, a netip.AddrPort) bool {
	for _, b := range addrs {
		if a == b {
			return true
		}
	}
	return false
}

func closeAll(sockets []*socket) {
	for _, so := range sockets {
		so.conn.Close()
	}
}

func addresses(sockets []*socket, p purpose) (at []netip.AddrPort) {
	for _, so := range sockets {
		if so.purpose == p {
			a := so.conn.LocalAddr().(*net.UDPAddr).AddrPort()
			at = append(at, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
		}
	}
	return at
}
