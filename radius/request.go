package radius

import (
	"context"
	"net/netip"

	"zonegate/radius/nas"
	"zonegate/radius/wire"
)

// A request passed every check of the transport: the datagram is a packet, it
// comes from a NAS of the book, on the port of its kind, and it is as authentic
// as that NAS can make it. It is an Access-Request or an Accounting-Request and
// no retransmission, and its octets are the responder's to keep.
type request struct {
	packet *wire.Packet
	// nas is the entry of the book that the sender's address matches.
	nas nas.NAS
	// from is where it came from; IPv4 addresses are never in IPv6 form.
	from netip.AddrPort
	// signed says that it has a Message-Authenticator, which is right.
	signed bool
}

// A responder says what is answered. The transport adds Proxy-State,
// Message-Authenticator and Response Authenticator, sends the answer, and sends
// it again when the request is.
//
// With ok false nothing is answered, and a retransmission is a new request.
// Both methods are called concurrently, [Server.InFlight] times at most. They
// may block, on a durable commit say, but return soon after ctx is done.
type responder interface {
	// quick answers a login that needs no decision, or says no and leaves no
	// trace. It never blocks, and keeps nothing of the request: its octets are
	// overwritten when it returns.
	quick(r *request) (reply wire.Reply, ok bool)
	access(ctx context.Context, r *request) (reply wire.Reply, ok bool)
	account(ctx context.Context, r *request) (reply wire.Reply, ok bool)
}
