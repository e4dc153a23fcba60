package coa

import (
	"encoding/binary"
	"net/netip"
	"time"

	"zonegate"
	"zonegate/radius/nas"
	"zonegate/radius/wire"
)

// An exchange is one request to a NAS with its retransmissions, and the other
// forms that it takes after refusals.
type exchange struct {
	key    key
	errand zonegate.Errand
	at     time.Time // when it was handed out
	nas    nas.NAS
	handle nas.Handle
	peer   *peer

	// cut: a Disconnect-Request; otherwise a CoA-Request about what.
	cut  bool
	what nas.Change

	// The form: which attributes name the session, and whether it is signed.
	ident    nas.Ident
	unsigned bool
	// tried are the forms that were refused, the last one with cause.
	tried []form
	cause uint32

	packet   []byte
	sent     int
	deadline time.Time
}

type form struct {
	ident    nas.Ident
	unsigned bool
}

var simplest = form{nas.MinimalIdent, true}

// A peer is an address and port that takes requests. It has its own
// identifiers.
type peer struct {
	addr   netip.AddrPort
	flying map[byte]*exchange
	nextID byte
	// down: it has not answered; nothing is sent until a report reopens it, not
	// before retry. failures counts how often in a row.
	down     bool
	failures int
	retry    time.Time
}

// room says whether another request may be sent. After a failure one is a
// trial for all.
func (p *peer) room() bool {
	if p.failures > 0 {
		return !p.down && len(p.flying) == 0
	}
	return len(p.flying) < maxFlyingPeer
}

// A NAS that fails again and again although it reports gets a pause.
const (
	minPause = 30 * time.Second
	maxPause = 10 * time.Minute
)

func (p *peer) fail(now time.Time) {
	if p.down {
		return // others that were under way
	}
	p.down = true
	if p.failures > 0 {
		p.retry = now.Add(min(minPause<<min(p.failures-1, 10), maxPause))
	}
	p.failures++
}

// maxPeers bounds what is remembered of NASes that have nothing to hear.
const maxPeers = 1024

func (c *Client) forgetPeers() {
	if len(c.peers) < maxPeers {
		return
	}
	for a, p := range c.peers {
		if len(p.flying) == 0 {
			delete(c.peers, a)
		}
	}
}

// peerOf returns the peer of a data path, nil when it cannot be told anything.
func (c *Client) peerOf(path string) *peer {
	n, addr, ok := c.o.Book.ByPath(path)
	if !ok {
		return nil
	}
	port, ok := n.CanBeTold()
	if !ok {
		return nil
	}
	return c.peers[netip.AddrPortFrom(addr, port)]
}

// reopen lets a NAS be tried again that has just shown that it lives.
func (c *Client) reopen(p *peer) {
	if p.down && !c.now().Before(p.retry) {
		p.down = false
	}
}

// answered notes that a NAS answers: nothing need wait for a report.
func (c *Client) answered(p *peer) {
	if p.failures == 0 {
		return
	}
	p.down, p.failures, p.retry = false, 0, time.Time{}
	for _, k := range c.waiting {
		if c.peerOf(k.path) == p {
			c.known[k].parked = false
		}
	}
}

// start takes errands that wait on their way, as far as there is room. It
// returns the datagrams to send.
func (c *Client) start() (out []datagram) {
	kept := c.waiting[:0]
	full := map[string]bool{} // data paths that take no more now
	for i, k := range c.waiting {
		if c.flying >= maxFlying {
			kept = append(kept, c.waiting[i:]...)
			break
		}
		x := c.known[k]
		if x.parked || x.exchange != nil || full[k.path] {
			kept = append(kept, k)
			continue
		}
		d, stays := c.begin(k, x)
		if stays {
			kept = append(kept, k)
			full[k.path] = !x.parked
		} else {
			x.waiting = false
		}
		if d != nil {
			out = append(out, *d)
		}
	}
	c.waiting = kept
	return out
}

// begin starts one errand. stays says that it must wait on.
func (c *Client) begin(k key, x *entry) (d *datagram, stays bool) {
	n, addr, ok := c.o.Book.ByPath(k.path)
	if !ok {
		// The NAS was taken out of the book: nobody can tell it anything.
		c.settle(x, Unreachable, 0)
		return nil, false
	}
	way, what := n.Way(x.errand)
	switch way {
	case nas.Leave:
		c.settle(x, Unreachable, 0)
		return nil, false
	case nas.Await:
		c.await(x, 0)
		return nil, false
	}
	handle, err := nas.DecodeHandle(x.errand.Session.Handle)
	if err != nil || handle.SessionID == "" || n.Vendor.Profile().NeedsUserName && handle.UserName == "" {
		// Its next report may name it better.
		c.settle(x, Refused, 0)
		return nil, false
	}
	port, _ := n.CanBeTold()
	to := netip.AddrPortFrom(addr, port)
	p := c.peers[to]
	if p == nil {
		c.forgetPeers()
		p = &peer{addr: to, flying: map[byte]*exchange{}, nextID: byte(c.now().UnixNano() >> 10)}
		c.peers[to] = p
	}
	if p.down {
		x.parked = true
		c.settle(x, Unreachable, 0)
		return nil, true
	}
	if !p.room() {
		return nil, true
	}
	profile := n.Vendor.Profile()
	e := &exchange{key: k, errand: x.errand, at: x.at, nas: n, handle: handle, peer: p, cut: way == nas.Cut, what: what,
		ident: profile.Ident, unsigned: !profile.Sign}
	if !e.cut && (what&nas.ChangeTime != 0 || profile.FullSet) {
		if _, ok := c.lasted(k, &e.errand, e.at); !ok {
			x.parked = true // its next report says it
			return nil, true
		}
	}
	x.exchange, x.cut = e, e.cut
	c.settle(x, Asked, 0)
	return c.launch(e), false
}

// await notes that a change comes by itself.
func (c *Client) await(x *entry, cause uint32) {
	c.settle(x, Awaited, cause)
	if !x.errand.Stop {
		c.say(message{told: true, session: x.errand.Session.ID, terms: x.errand.Terms})
	}
}

// launch writes the request in the exchange's present form and gives it an
// identifier. It returns nil when that cannot be, and the exchange is over.
func (c *Client) launch(e *exchange) *datagram {
	p := e.peer
	for i := 0; p.flying[p.nextID] != nil && i < 256; i++ {
		p.nextID++
	}
	id := p.nextID
	p.nextID++
	request := wire.Request{Code: wire.DisconnectRequest, ID: id, Attributes: e.handle.Attributes(e.ident), Unsigned: e.unsigned}
	if !e.cut {
		request.Code = wire.CoARequest
		lasted, _ := c.lasted(e.key, &e.errand, e.at)
		interim := e.nas.Interim
		if interim == 0 {
			interim = c.o.Interim
		}
		request.Attributes = append(request.Attributes,
			e.nas.Vendor.Change(e.errand, e.what, lasted, nas.Settings{Interim: interim, Idle: c.o.Idle})...)
	}
	packet, err := request.Encode(e.nas.Secret)
	if err != nil {
		c.log.Error("writing a request to a NAS", "nas", e.key.path, "session", uint32(e.errand.Session.ID), "error", err)
		c.finish(e, Refused, 0)
		return nil
	}
	e.packet, e.sent = packet, 0
	p.flying[id] = e
	c.flying++
	return c.send(e)
}

// send returns the exchange's datagram for one more sending.
func (c *Client) send(e *exchange) *datagram {
	// The deadline counts from before the sending, so it never comes later.
	e.deadline = c.now().Add(c.o.Wait(e.sent))
	e.sent++
	return &datagram{e.peer.addr, e.packet}
}

// land takes the present request back.
func (c *Client) land(e *exchange) {
	if id := e.packet[1]; e.peer.flying[id] == e {
		delete(e.peer.flying, id)
		c.flying--
	}
}

// finish ends an exchange with what came of it.
func (c *Client) finish(e *exchange, s State, cause uint32) {
	x := c.known[e.key]
	if x == nil || x.exchange != e {
		return
	}
	x.exchange = nil
	if !x.waiting && x.state != Confirmed { // a newer errand has its own state
		c.settle(x, s, cause)
	}
	signal(c.wake)
}

// expire sends again what is due, and gives up what was sent often enough.
// next is when to come again; zero for never.
func (c *Client) expire() (out []datagram, next time.Time) {
	now := c.now()
	for _, p := range c.peers {
		for _, e := range p.flying {
			if e.deadline.After(now) {
				if next.IsZero() || e.deadline.Before(next) {
					next = e.deadline
				}
				continue
			}
			if e.sent < sendings {
				out = append(out, *c.send(e))
				if next.IsZero() || e.deadline.Before(next) {
					next = e.deadline
				}
				continue
			}
			c.land(e)
			if d := c.lost(e); d != nil {
				out = append(out, *d)
			}
		}
	}
	return out, next
}

// lost gives an exchange up that nobody answered. The errand waits for the
// session's next report, unless a newer one does.
func (c *Client) lost(e *exchange) *datagram {
	if len(e.tried) > 0 {
		// It answers, but not to this form.
		return c.giveUp(e)
	}
	if e.peer.failures == 0 {
		c.log.Warn("a NAS does not answer CoA or Disconnect; open the port on it, or run nas add with --no-coa",
			"nas", e.key.path, "address", e.peer.addr)
	}
	e.peer.fail(c.now())
	x := c.known[e.key]
	if x == nil || x.exchange != e {
		return nil
	}
	x.exchange = nil
	switch {
	case x.waiting:
		x.parked = true
	case x.state != Confirmed && len(c.waiting) < maxWaiting:
		x.errand, x.at = e.errand, e.at
		x.waiting, x.parked = true, true
		c.waiting = append(c.waiting, e.key)
	}
	if x.state != Confirmed {
		c.settle(x, Unreachable, 0)
	}
	signal(c.wake)
	return nil
}

// receive takes a datagram. Whatever is no answer to a request that is under
// way is dropped: the request goes on.
func (c *Client) receive(from netip.AddrPort, b []byte) *datagram {
	reply, reason := wire.Parse(b)
	if reason != wire.Valid {
		return nil
	}
	p := c.peers[from]
	if p == nil {
		return nil
	}
	e := p.flying[reply.ID]
	if e == nil || reply.VerifyReply(e.packet, e.nas.Secret) != wire.Valid {
		return nil
	}
	c.land(e)
	c.answered(p)
	signal(c.wake)
	if reply.Code == wire.CoAACK || reply.Code == wire.DisconnectACK {
		c.finish(e, Acked, 0)
		if !e.cut {
			c.say(message{told: true, session: e.errand.Session.ID, terms: e.errand.Terms})
		}
		return nil
	}
	cause := uint32(0)
	if v, ok := reply.Value(wire.ErrorCause); ok && len(v) == 4 {
		cause = binary.BigEndian.Uint32(v)
	}
	return c.refused(e, cause)
}

// Values of Error-Cause (RFC 5176 section 3.5).
const (
	unsupportedAttribute = 401
	missingAttribute     = 402
	nasMismatch          = 403
	invalidRequest       = 404
	unsupportedService   = 405
	unsupportedExtension = 406
	invalidValue         = 407
	prohibited           = 501
	sessionNotFound      = 503
	multipleSessions     = 508
)

// refused finds another form for a request, or ends the exchange.
func (c *Client) refused(e *exchange, cause uint32) *datagram {
	now := form{e.ident, e.unsigned}
	e.tried, e.cause = append(e.tried, now), cause
	next := now
	switch cause {
	case 0, unsupportedAttribute, invalidValue:
		next = simplest
	case sessionNotFound:
		// Something that names it may have changed, such as its address.
		next.ident = nas.MinimalIdent
	case missingAttribute:
		next.ident |= nas.FramedIP | nas.CallingStation | nas.NASIdent
	case nasMismatch:
		if now.ident&nas.NASIdent != 0 {
			next.ident &^= nas.NASIdent
		} else {
			next.ident |= nas.NASIdent
		}
	case multipleSessions:
		next.ident |= nas.CallingStation
	}
	if !e.wasTried(next) {
		e.ident, e.unsigned = next.ident, next.unsigned
		return c.launch(e)
	}
	return c.giveUp(e)
}

// giveUp ends an exchange that was refused in every form, or has a last
// resort.
func (c *Client) giveUp(e *exchange) *datagram {
	cause := e.cause
	c.log.Info("a NAS has refused", "nas", e.key.path, "session", uint32(e.errand.Session.ID), "disconnect", e.cut, "error_cause", cause)
	switch {
	case cause == sessionNotFound:
		c.finish(e, Confirmed, cause)
		s := e.errand.Session
		c.say(message{report: zonegate.Report{
			NAS: s.Path, Kind: zonegate.ReportStop, Grant: s.Grant, Device: s.Device, Key: s.Key, Handle: s.Handle,
		}})
	case e.cut:
		c.finish(e, Refused, cause)
	case !nas.Grows(e.errand):
		// It must not go on with more than it may have.
		profile := e.nas.Vendor.Profile()
		e.cut, e.tried, e.cause = true, nil, 0
		e.ident, e.unsigned = profile.Ident, !profile.Sign
		if x := c.known[e.key]; x != nil && x.exchange == e {
			x.cut = true
		}
		return c.launch(e)
	default:
		switch cause {
		case unsupportedAttribute, missingAttribute, invalidRequest, unsupportedService, unsupportedExtension, invalidValue, prohibited:
			// It will not take this, now or later.
			c.finish(e, Awaited, cause)
			c.say(message{told: true, session: e.errand.Session.ID, terms: e.errand.Terms})
		default:
			c.finish(e, Refused, cause)
		}
	}
	return nil
}

// wasTried says whether a form would be the same request again.
func (e *exchange) wasTried(f form) bool {
	for _, t := range e.tried {
		if t.unsigned == f.unsigned && e.handle.Present(t.ident) == e.handle.Present(f.ident) {
			return true
		}
	}
	return false
}
