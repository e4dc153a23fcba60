package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sync/errgroup"
)

// startResolver starts what a router's system has on port 53: customers ask it
// once they are online.
func (l *Lab) startResolver() error {
	c, err := l.spawn("resolver", l.Command(l.middle(), l.self, roleResolver))
	if err != nil {
		return err
	}
	return l.waitListening(c, l.middle(), net.JoinHostPort(gatewayLAN4.String(), "53"))
}

// runResolver passes every question on to the internet's name server.
func runResolver(ctx context.Context) error {
	udp, err := net.ListenPacket("udp", ":53")
	if err != nil {
		return fmt.Errorf("listening for dns: %w", err)
	}
	tcp, err := net.Listen("tcp", ":53")
	if err != nil {
		return fmt.Errorf("listening for dns: %w", err)
	}
	upstream := net.JoinHostPort(internet4.String(), "53")
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		buf := make([]byte, 1500)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return unlessClosed(err)
			}
			query := append([]byte(nil), buf[:n]...)
			go relayQuery(udp, from, upstream, query)
		}
	})
	g.Go(func() error {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return unlessClosed(err)
			}
			go func() {
				peer, err := net.DialTimeout("tcp", upstream, 3*time.Second)
				if err != nil {
					conn.Close()
					return
				}
				splice(conn, peer)
			}()
		}
	})
	g.Go(func() error {
		<-ctx.Done()
		return errors.Join(udp.Close(), tcp.Close())
	})
	return g.Wait()
}

// relayQuery asks upstream and passes the answer back. Without one the client
// asks again.
func relayQuery(conn net.PacketConn, from net.Addr, upstream string, query []byte) {
	up, err := net.Dial("udp", upstream)
	if err != nil {
		return
	}
	defer up.Close()
	if err := up.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return
	}
	if _, err := up.Write(query); err != nil {
		return
	}
	answer := make([]byte, 4096)
	if n, err := up.Read(answer); err == nil {
		_, _ = conn.WriteTo(answer[:n], from)
	}
}

func serveDNS(conn net.PacketConn) error {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return unlessClosed(err)
		}
		if answer := answerDNS(buf[:n]); answer != nil {
			// A client that has gone is no failure of the server.
			_, _ = conn.WriteTo(answer, from)
		}
	}
}

// serveDNSOverTCP serves one question a connection (RFC 7766 allows more, no
// client here needs it).
func serveDNSOverTCP(ln net.Listener) error {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return unlessClosed(err)
		}
		go func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			var size [2]byte
			if _, err := io.ReadFull(conn, size[:]); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(conn, query); err != nil {
				return
			}
			if answer := answerDNS(query); answer != nil {
				binary.BigEndian.PutUint16(size[:], uint16(len(answer)))
				_, _ = conn.Write(append(size[:], answer...))
			}
		}()
	}
}

// answerDNS gives every name the addresses of the internet host, names of the
// garden the garden's, and that of the payment providers theirs, which has IPv4
// alone. Other types exist but are empty.
func answerDNS(query []byte) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{
		ID: h.ID, Response: true, OpCode: h.OpCode, Authoritative: true,
		RecursionDesired: h.RecursionDesired, RecursionAvailable: true,
	})
	b.EnableCompression()
	head := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}
	ip4, ip6 := internet4, internet6
	switch name := q.Name.String(); {
	case isGarden(name):
		ip4, ip6 = garden4, garden6
	case strings.EqualFold(name, payName+"."):
		ip4, ip6 = pay4, netip.Addr{}
	}
	err = errors.Join(b.StartQuestions(), b.Question(q), b.StartAnswers())
	switch q.Type {
	case dnsmessage.TypeA:
		err = errors.Join(err, b.AResource(head, dnsmessage.AResource{A: ip4.As4()}))
	case dnsmessage.TypeAAAA:
		if !ip6.IsValid() {
			break
		}
		err = errors.Join(err, b.AAAAResource(head, dnsmessage.AAAAResource{AAAA: ip6.As16()}))
	}
	if err != nil {
		return nil
	}
	answer, err := b.Finish()
	if err != nil {
		return nil
	}
	return answer
}
