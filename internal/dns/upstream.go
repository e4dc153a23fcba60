package dns

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// tries is how often a question is passed on before it fails.
const tries = 3

// errNoUpstream says that there is no resolver to ask.
var errNoUpstream = errors.New("no resolver is known; set one, or wait for the uplink to name one")

// SetUpstreams changes the resolvers to ask. Empty means those in ResolvConf.
// Safe for concurrent use, before and during Run.
func (s *Server) SetUpstreams(to []netip.AddrPort) {
	to = slices.Clone(to)
	s.upstreams.Store(&to)
	s.preferred.Store(0)
}

// resolvers returns the resolvers to ask now, without ourselves.
func (s *Server) resolvers() []netip.AddrPort {
	list := s.Upstreams
	if p := s.upstreams.Load(); p != nil {
		list = *p
	}
	// The addresses at which questions could come back to us.
	self := func(a netip.Addr) bool { return a.IsLoopback() || slices.Contains(s.lan.addrs(), a) }
	if len(list) == 0 {
		found := s.resolv.servers()
		// A resolver on this machine comes last: it may pass questions on to
		// us, and it may hide what a walled garden needs.
		for _, a := range found {
			if !self(a) {
				list = append(list, netip.AddrPortFrom(a, 53))
			}
		}
		if len(list) > 0 {
			return list
		}
		for _, a := range found {
			list = append(list, netip.AddrPortFrom(a, 53))
		}
	}
	return slices.DeleteFunc(slices.Clone(list), func(ap netip.AddrPort) bool {
		return slices.Contains(s.ports, ap.Port()) && self(ap.Addr())
	})
}

// accept reads a message of a client and takes it into account. It returns a
// query to answer, or else a reply to send at once, or neither.
func (s *Server) accept(msg []byte, client netip.Addr) (*query, []byte) {
	if len(msg) > maxQuery {
		return nil, nil
	}
	q, reply := parseQuery(msg)
	cost := 1
	if q != nil {
		s.stats.queries.Add(1)
		cost = q.cost()
	}
	if !s.limiter.take(client, cost) {
		s.stats.refused.Add(1)
		if q == nil {
			return nil, nil
		}
		return nil, q.reply(dnsmessage.RCodeRefused, true)
	}
	return q, reply
}

// answer returns the answer to a query, of whatever length. It takes at most
// tries times Timeout.
func (s *Server) answer(ctx context.Context, q *query, tcp bool) []byte {
	if s.name != "" && canonical(q.question.Name) == s.name {
		return q.local(s.lan.addrs())
	}
	answer, err := s.forward(ctx, q, tcp)
	if err != nil {
		if ctx.Err() == nil {
			s.stats.failed.Add(1)
			if !s.noAnswers.Swap(true) {
				s.Log.Warn("dns: no resolver answers", "err", err)
			}
		}
		return q.reply(dnsmessage.RCodeServerFailure, true)
	}
	if s.noAnswers.Load() && s.noAnswers.Swap(false) {
		s.Log.Info("dns: resolvers answer again")
	}
	s.learn(ctx, q, answer)
	return answer
}

// forward asks one resolver after the other, beginning with the one that
// answered last.
func (s *Server) forward(ctx context.Context, q *query, tcp bool) ([]byte, error) {
	list := s.resolvers()
	if len(list) == 0 {
		return nil, errNoUpstream
	}
	first := int(s.preferred.Load()) % len(list)
	var poor []byte // an answer that says no more than that it is none
	var failures []error
	asked := make([]bool, len(list)) // and answered, if poorly
	for i := range tries {
		n := (first + i) % len(list)
		if asked[n] {
			continue
		}
		answer, result, err := s.exchange(ctx, list[n], q, tcp)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		switch {
		case err != nil:
			failures = append(failures, fmt.Errorf("asking %s: %w", list[n], err))
			continue
		case result == unhelpful:
			asked[n] = true
			if len(answer) > 0 {
				poor = answer
			}
			failures = append(failures, fmt.Errorf("asking %s: it refuses or fails", list[n]))
			continue
		}
		if n != first {
			s.preferred.Store(int32(n))
		}
		return answer, nil
	}
	if poor != nil {
		return poor, nil
	}
	return nil, errors.Join(failures...)
}

// exchange asks one resolver once, over TCP too where the answer needs it. The
// answer carries the ID of the client's question.
func (s *Server) exchange(ctx context.Context, to netip.AddrPort, q *query, tcp bool) ([]byte, outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	ask := s.askUDP
	if tcp {
		ask = s.askTCP
	}
	answer, result, err := ask(ctx, to, q)
	if err != nil && tcp {
		// A few resolvers, and networks on the way, know UDP alone. What fits
		// there is good enough.
		if a, r, uerr := s.askUDP(ctx, to, q); uerr == nil && r != partial {
			answer, result, err = a, r, nil
		}
	}
	if err == nil && result == partial && !tcp {
		// Without the whole answer the client gets the part, and asks over TCP
		// itself.
		if whole, r, err := s.askTCP(ctx, to, q); err == nil && r != unhelpful {
			answer, result = whole, r
		}
	}
	if err != nil {
		return nil, bogus, err
	}
	if result == unhelpful && answerHasNoQuestion(answer) {
		return nil, result, nil
	}
	binary.BigEndian.PutUint16(answer, q.header.ID)
	return answer, result, nil
}

// answerHasNoQuestion reports an answer that a client could not match.
func answerHasNoQuestion(answer []byte) bool {
	return binary.BigEndian.Uint16(answer[4:]) == 0
}

// outgoing returns a copy of the client's question under a random ID.
func (q *query) outgoing() (id uint16, msg []byte) {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails
	msg = slices.Clone(q.msg)
	copy(msg, b[:])
	return binary.BigEndian.Uint16(b[:]), msg
}

// answerBuffers holds buffers for answers over UDP.
var answerBuffers = sync.Pool{New: func() any { return new([maxUDP + 1]byte) }}

// askUDP asks over a socket of its own: the kernel gives it a random source
// port (RFC 6056) and drops what does not come from the resolver.
func (s *Server) askUDP(ctx context.Context, to netip.AddrPort, q *query) ([]byte, outcome, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, bogus, err
	}
	defer conn.Close()
	defer expire(ctx, conn)()
	id, msg := q.outgoing()
	if _, err := conn.Write(msg); err != nil {
		return nil, bogus, err
	}
	buf := answerBuffers.Get().(*[maxUDP + 1]byte)
	defer answerBuffers.Put(buf)
	for {
		n, err := conn.Read(buf[:])
		if err != nil {
			return nil, bogus, err
		}
		if n > maxUDP {
			buf[2] |= 0x02 // TC: the rest did not fit our buffer
		}
		result := q.judge(id, buf[:n])
		if result == bogus {
			s.stats.bogus.Add(1)
			continue
		}
		answer := slices.Clone(buf[:n])
		if result == partial {
			// Part of an answer is no answer to learn from or to pass on.
			answer = q.truncated(answer)
		}
		return answer, result, nil
	}
}

// askTCP asks over a connection of its own.
func (s *Server) askTCP(ctx context.Context, to netip.AddrPort, q *query) ([]byte, outcome, error) {
	select {
	case s.tcpSlots <- struct{}{}:
		defer func() { <-s.tcpSlots }()
	case <-ctx.Done():
		return nil, bogus, ctx.Err()
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, bogus, err
	}
	defer conn.Close()
	defer expire(ctx, conn)()
	id, msg := q.outgoing()
	if _, err := conn.Write(frame(msg)); err != nil {
		return nil, bogus, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, bogus, err
	}
	answer := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, bogus, err
	}
	result := q.judge(id, answer)
	if result == bogus {
		s.stats.bogus.Add(1)
		return nil, bogus, errors.New("it answered another question")
	}
	return answer, result, nil
}

// expire makes what waits on a connection fail when ctx ends. Call the result
// when nothing waits any more.
func expire(ctx context.Context, conn net.Conn) func() bool {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}
