package coa

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate"
	"zonegate/radius/wire"
)

type datagram struct {
	addr netip.AddrPort
	b    []byte
}

// Run carries errands until the context is done.
func (c *Client) Run(ctx context.Context) error {
	conn, err := listen(c.o.Listen)
	if err != nil {
		return fmt.Errorf("opening a socket for CoA: %w", err)
	}
	defer conn.Close()
	group, inner := errgroup.WithContext(ctx)
	received := make(chan datagram, 64)
	group.Go(func() error {
		<-inner.Done()
		return conn.Close()
	})
	group.Go(func() error { return read(inner, conn, received) })
	group.Go(func() error { return c.loop(inner, conn, received) })
	group.Go(func() error { return c.talk(inner) })
	if err := group.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

func listen(at netip.AddrPort) (*net.UDPConn, error) {
	if !at.IsValid() {
		return net.ListenUDP("udp", nil)
	}
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
}

// read hands datagrams to the loop.
func read(ctx context.Context, conn *net.UDPConn, received chan<- datagram) error {
	buf := make([]byte, wire.MaxLen+1)
	for failed := 0; ; {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			// One may be an ICMP message about one of the NASes; many in a row
			// are the socket's end.
			if failed++; errors.Is(err, net.ErrClosed) || failed > 100 {
				return fmt.Errorf("reading answers of NASes: %w", err)
			}
			continue
		}
		failed = 0
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		select {
		case received <- datagram{from, append([]byte(nil), buf[:n]...)}:
		case <-ctx.Done():
			return nil
		}
	}
}

// loop sends, waits and decides.
func (c *Client) loop(ctx context.Context, conn *net.UDPConn, received <-chan datagram) error {
	for {
		c.mu.Lock()
		out, next := c.expire()
		started := c.start()
		for _, p := range c.peers {
			for _, e := range p.flying {
				if next.IsZero() || e.deadline.Before(next) {
					next = e.deadline
				}
			}
		}
		c.mu.Unlock()
		for _, d := range append(out, started...) {
			send(conn, d)
		}
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = c.alarm(next)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-timer:
		case d := <-received:
			c.mu.Lock()
			answer := c.receive(d.addr, d.b)
			c.mu.Unlock()
			if answer != nil {
				send(conn, *answer)
			}
		}
	}
}

// send sends a datagram. An error is a lost packet: it is sent again.
func send(conn *net.UDPConn, d datagram) {
	_, _ = conn.WriteToUDPAddrPort(d.b, d.addr)
}

// A message is something that the gate has to hear.
type message struct {
	told    bool
	session zonegate.SessionID
	terms   zonegate.Terms
	report  zonegate.Report
}

// maxOutbox bounds what the gate has not heard yet. What is dropped comes
// again with the session's next report.
const maxOutbox = 1024

func (c *Client) say(m message) {
	if len(c.outbox) >= maxOutbox {
		c.outbox = append(c.outbox[:0], c.outbox[1:]...)
	}
	c.outbox = append(c.outbox, m)
	signal(c.tell)
}

// talk tells the gate, which may take as long as its storage.
func (c *Client) talk(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.tell:
		}
		for {
			c.mu.Lock()
			if len(c.outbox) == 0 {
				c.mu.Unlock()
				break
			}
			m := c.outbox[0]
			c.outbox = append(c.outbox[:0], c.outbox[1:]...)
			c.mu.Unlock()
			var err error
			if m.told {
				err = c.o.Gate.Told(ctx, m.session, m.terms)
			} else {
				err = c.o.Gate.Report(ctx, m.report)
			}
			if err != nil && ctx.Err() == nil {
				c.log.Warn("the gate did not take what became of an errand; the next report repeats it", "session", uint32(m.session), "error", err)
			}
		}
	}
}
