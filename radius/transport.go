package radius

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"zonegate/radius/nas"
	"zonegate/radius/wire"
)

// A transport takes datagrams apart, decides which are requests, has them
// answered and sends the answers.
type transport struct {
	book       *nas.Book
	responder  responder
	healthy    func() bool
	serving    context.Context // of requests; it ends after the readers
	cache      *cache
	counters   *Counters
	complaints complaints
	log        *slog.Logger
	work       chan *exchange // to idle workers; never buffered
	idle       atomic.Int64   // workers
	workers    sync.WaitGroup
}

func newTransport(s *Server, serving context.Context, counters *Counters, log *slog.Logger) *transport {
	room := s.InFlight
	if room <= 0 {
		room = DefaultInFlight
	}
	return &transport{
		book: s.Book, responder: s.responder(counters, log), healthy: s.Healthy,
		serving: serving, cache: newCache(room, rememberSize),
		counters: counters, complaints: complaints{log: log}, log: log,
		work: make(chan *exchange),
	}
}

// finish is called when no reader is left. It waits for requests under way, has
// them stopped when they take too long, and says so when that does not help
// either.
func (t *transport) finish(stop context.CancelFunc) error {
	close(t.work)
	done := make(chan struct{})
	go func() {
		t.workers.Wait()
		close(done)
	}()
	for _, patience := range []time.Duration{lastAnswers, lastMoment} {
		timer := time.NewTimer(patience)
		select {
		case <-done:
			timer.Stop()
			return nil
		case <-timer.C:
			stop()
		}
	}
	return errors.New("requests of NASes are still being answered and do not stop")
}

// now is the time that the cache counts in.
func now() time.Duration { return time.Since(started) }

// receivePause keeps a socket that always fails from keeping a core busy.
const receivePause = 10 * time.Millisecond

// read takes datagrams from one socket until the context is done.
//
// Whatever needs no decision is done here: what is dropped, repeated, or a
// Status-Server, costs no goroutine and no allocation. Only a request gets a
// goroutine, after it has got a place in the room.
func (t *transport) read(ctx context.Context, so *socket) error {
	// What is longer is padding or invalid: the kernel may cut it off.
	buf := make([]byte, wire.MaxLen)
	var oob []byte
	if so.anywhere {
		oob = make([]byte, 64)
	}
	var x exchange // of each datagram in turn
	for {
		n, oobn, _, from, err := so.conn.ReadMsgUDPAddrPort(buf, oob)
		switch {
		case err == nil:
			t.datagram(&x, so, buf[:n], oob[:oobn], from)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("reading from NASes: %w", err)
		default:
			t.counters.total[receiveFailed].Add(1)
			t.complaints.fail(receiveFailed, "", err)
			select {
			case <-ctx.Done():
			case <-time.After(receivePause):
			}
		}
	}
}

// An exchange is one request with what is needed to answer it.
type exchange struct {
	request
	parsed wire.Packet
	socket *socket
	to     netip.AddrPort // the sender as the socket names it
	oob    []byte
	entry  *entry
	tally  *tally
}

// datagram does with one datagram what RFC 2865 section 3 says. Its order is
// what makes it safe: nothing is remembered, and no other state is touched,
// for a packet that is not as authentic as its NAS can make it.
func (t *transport) datagram(x *exchange, so *socket, datagram, oob []byte, to netip.AddrPort) {
	t.counters.total[received].Add(1)
	from := netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	n, ok := t.book.Find(from.Addr())
	if !ok {
		t.counters.total[unknownNAS].Add(1)
		t.complaints.say(unknownNAS, "", from)
		return
	}
	*x = exchange{request: request{nas: n, from: from}, socket: so, to: to, tally: t.counters.of(n.Name)}
	x.tally[received].Add(1)
	p, reason := wire.Parse(datagram)
	if reason == wire.Valid && !so.speaks(p.Code) {
		t.drop(x, wrongPort)
		return
	}
	if reason == wire.Valid {
		reason = p.Verify(n.Secret)
	}
	if reason != wire.Valid {
		t.drop(x, counter(reason))
		return
	}
	x.signed = p.Signed()
	if why, bad := t.unsafe(&x.request, &p); bad {
		t.drop(x, why)
		return
	}
	switch p.Code {
	case wire.StatusServer:
		t.status(x, &p, oob)
		return
	case wire.AccessRequest:
		t.count(x, accessRequests)
	case wire.AccountingRequest:
		t.count(x, accountingRequests)
	}

	e, answer, v := t.cache.begin(origin{from, so.number, p.ID}, p.Authenticator, n.Name, now())
	switch v {
	case repeated:
		t.count(x, answeredAgain)
		t.send(x, answer, oob)
		return
	case underWay:
		t.count(x, inProgress) // usual when the disk is slow: no complaint
		return
	case full:
		t.drop(x, overload)
		return
	case freshInstead:
		t.count(x, superseded)
	}
	x.entry, x.parsed = e, p
	x.packet = &x.parsed
	if reply, ok := t.quickly(x); ok {
		t.reply(x, reply, oob)
		return
	}
	t.counters.underWay.Add(1)
	y := x.own(datagram, oob, e)
	select {
	case t.work <- y:
	default: // no worker is idle
		t.workers.Go(func() { t.answerFrom(y) })
	}
}

// maxIdle is how many workers wait for the next request. A new goroutine has to
// grow its stack with each request, which is a sixth of what one costs.
const maxIdle = 64

// answerFrom has a request answered, and then others, until there is nothing to
// do and enough wait for it.
func (t *transport) answerFrom(x *exchange) {
	for ok := true; ok; {
		t.answer(x)
		if t.idle.Add(1) > maxIdle {
			t.idle.Add(-1)
			return
		}
		x, ok = <-t.work
		t.idle.Add(-1)
	}
}

// speaks says whether a code is for this port.
func (so *socket) speaks(c wire.Code) bool {
	switch c {
	case wire.StatusServer:
		return true
	case wire.AccessRequest:
		return so.purpose == authentication
	case wire.AccountingRequest:
		return so.purpose == accounting
	}
	return false
}

// unsafe refuses Access-Requests whose answer could be forged (CVE-2024-3596),
// and has the book remember a NAS that signs. An accounting request is
// authentic without a Message-Authenticator.
//
// A NAS's first signed packet waits here for the book to be written, once in
// its life: afterwards no unsigned packet may pass, after a power cut neither.
func (t *transport) unsafe(r *request, p *wire.Packet) (counter, bool) {
	if p.Code != wire.AccessRequest {
		return 0, false
	}
	if !r.signed {
		switch {
		case r.nas.MustSign():
			return unsigned, true
		case p.Proxied():
			return unsignedProxied, true
		}
		return 0, false
	}
	if r.nas.RequireMA != nas.RequireYes && r.nas.RequireMA != nas.RequireNo && !r.nas.Signed && r.nas.Single() {
		r.nas.Signed = true
		if err := t.book.MarkSigned(r.nas.Name); err != nil {
			t.log.Error("that a NAS signs its requests could not be written down", "nas", r.nas.Name, "error", err)
		} else {
			t.log.Info("a NAS signs its requests; from now on it must", "nas", r.nas.Name)
		}
	}
	return 0, false
}

// status answers a Status-Server (RFC 5997 section 4.2), or not when nothing
// could be served. It is never remembered: the answer is always the same.
func (t *transport) status(x *exchange, p *wire.Packet, oob []byte) {
	switch {
	case !t.cache.statusAllowed(x.nas.Name, now()):
		t.drop(x, statusTooOften)
		return
	case t.healthy != nil && !t.healthy():
		t.drop(x, statusUnhealthy)
		return
	}
	t.count(x, statusRequests)
	reply := wire.Reply{Code: wire.AccessAccept}
	if x.socket.purpose == accounting {
		reply.Code = wire.AccountingResponse
	}
	b, err := reply.Encode(p, x.nas.Secret)
	if err != nil {
		t.drop(x, tooLong)
		return
	}
	t.count(x, counterOf(reply.Code))
	t.send(x, b, oob)
}

// own is the exchange for another goroutine: the reader's buffers stay here.
func (x *exchange) own(datagram, oob []byte, e *entry) *exchange {
	y := new(exchange)
	*y = *x
	y.entry = e
	// It was valid a moment ago.
	length := int(datagram[2])<<8 | int(datagram[3])
	y.parsed, _ = wire.Parse(bytes.Clone(datagram[:length]))
	y.packet = &y.parsed
	y.oob = bytes.Clone(oob)
	return y
}

// answer has one request answered.
func (t *transport) answer(x *exchange) {
	reply, ok := t.respond(x)
	t.counters.underWay.Add(-1)
	if !ok {
		t.count(x, noAnswer)
		t.cache.end(x.entry, nil, now())
		return
	}
	t.reply(x, reply, x.oob)
}

// reply sends an answer and has it remembered, unless another request has taken
// the identifier.
func (t *transport) reply(x *exchange, reply wire.Reply, oob []byte) {
	b, err := reply.Encode(x.packet, x.nas.Secret)
	if err != nil {
		t.count(x, tooLong)
		t.complaints.fail(tooLong, x.nas.Name, err)
		b = nil
	}
	if t.cache.end(x.entry, b, now()) {
		t.count(x, counterOf(reply.Code))
		t.send(x, b, oob)
	}
}

// quickly answers in the reader what needs no goroutine.
func (t *transport) quickly(x *exchange) (reply wire.Reply, ok bool) {
	if x.packet.Code != wire.AccessRequest {
		return reply, false
	}
	defer t.caught(x, &ok)
	return t.responder.quick(&x.request)
}

// caught keeps a panic of the responder to one request: a packet that does that
// comes again after every restart, and must not cost everybody's connection.
func (t *transport) caught(x *exchange, ok *bool) {
	if p := recover(); p != nil {
		*ok = false
		t.count(x, crashed)
		if t.complaints.quiet[crashed].may() {
			t.log.Error("answering a NAS failed", "nas", x.nas.Name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}
}

// respond asks the responder.
func (t *transport) respond(x *exchange) (reply wire.Reply, ok bool) {
	defer t.caught(x, &ok)
	if x.packet.Code == wire.AccessRequest {
		return t.responder.access(t.serving, &x.request)
	}
	return t.responder.account(t.serving, &x.request)
}

func (t *transport) send(x *exchange, b, oob []byte) {
	var err error
	if x.socket.anywhere {
		_, _, err = x.socket.conn.WriteMsgUDPAddrPort(b, sourceFor(oob, x.from.Addr()), x.to)
	} else {
		_, err = x.socket.conn.WriteToUDPAddrPort(b, x.to)
	}
	if err != nil {
		t.count(x, sendFailed)
		t.complaints.fail(sendFailed, x.nas.Name, err)
	}
}

// count counts what happened to a packet of a NAS.
func (t *transport) count(x *exchange, c counter) {
	t.counters.total[c].Add(1)
	x.tally[c].Add(1)
}

// drop counts a packet that gets no answer, and says so once in a while.
func (t *transport) drop(x *exchange, why counter) {
	t.count(x, why)
	t.complaints.say(why, x.nas.Name, x.from)
}

func counterOf(c wire.Code) counter {
	switch c {
	case wire.AccessAccept:
		return accepts
	case wire.AccessReject:
		return rejects
	case wire.AccessChallenge:
		return challenges
	}
	return accountingResponses
}
