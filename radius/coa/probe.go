package coa

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"zonegate/radius/nas"
	"zonegate/radius/wire"
)

// What Probe finds, apart from that all is well.
var (
	// ErrNotAsked: the entry says that the NAS takes no requests, or is for
	// many machines.
	ErrNotAsked = errors.New("it is not asked: its entry takes no CoA, or stands for many machines")
	// ErrClosed: the machine is there, and nothing listens.
	ErrClosed = errors.New("nothing listens there: CoA is off in the NAS, or on another port")
	// ErrNoAnswer: no answer of any kind.
	ErrNoAnswer = errors.New("no answer: CoA is off in the NAS, its firewall drops it, it has another secret, or it expects another address of this gateway")
	// ErrOtherSecret: it answers with another secret.
	ErrOtherSecret = errors.New("it answers with another secret")
	// ErrObeys: it says that it has ended a session that never was.
	ErrObeys = errors.New("it says that it has ended a session that does not exist, so its answers prove nothing")
)

// probeName is in the log of the NAS, for its owner to understand.
const probeName = "zonegate-test"

// Probe asks a single NAS to end a session that cannot exist. It returns nil
// when the NAS refuses as it should: it listens, and it has our secret. It
// needs no Run.
func (c *Client) Probe(ctx context.Context, name string) error {
	n, ok := c.o.Book.ByName(name)
	if !ok {
		return fmt.Errorf("%w: %s", nas.ErrNoSuchNAS, name)
	}
	port, ok := n.CanBeTold()
	if !ok || !n.Single() {
		return ErrNotAsked
	}
	request, err := wire.Request{
		Code: wire.DisconnectRequest, ID: byte(c.now().UnixNano() >> 10), Unsigned: !n.Vendor.Profile().Sign,
		Attributes: nas.Handle{UserName: probeName, SessionID: fmt.Sprintf("%s-%d", probeName, c.now().UnixNano())}.
			Attributes(nas.MinimalIdent),
	}.Encode(n.Secret)
	if err != nil {
		return fmt.Errorf("writing a request: %w", err)
	}
	var dialer net.Dialer
	if c.o.Listen.IsValid() {
		dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.o.Listen.Addr(), 0))
	}
	// A socket of its own, connected: only such a one hears that a port is
	// closed.
	conn, err := dialer.DialContext(ctx, "udp", netip.AddrPortFrom(n.Prefix.Addr(), port).String())
	if err != nil {
		return fmt.Errorf("no way to %v: %w", n.Prefix.Addr(), err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	otherSecret := false
	buf := make([]byte, wire.MaxLen+1)
	for sending := range sendings {
		if _, err := conn.Write(request); err != nil {
			return probeError(ctx, n, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(c.o.Wait(sending))); err != nil {
			return probeError(ctx, n, err)
		}
		for {
			size, err := conn.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return probeError(ctx, n, err)
			}
			reply, reason := wire.Parse(buf[:size])
			if reason != wire.Valid {
				continue
			}
			switch reply.VerifyReply(request, n.Secret) {
			case wire.Valid:
				if reply.Code == wire.DisconnectACK {
					return ErrObeys
				}
				return nil
			case wire.WrongAuthenticator, wire.WrongMA:
				otherSecret = true
			}
		}
	}
	if otherSecret {
		return ErrOtherSecret
	}
	return ErrNoAnswer
}

func probeError(ctx context.Context, n nas.NAS, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.ECONNREFUSED):
		return ErrClosed
	}
	return fmt.Errorf("asking %v: %w", n.Prefix.Addr(), err)
}
