package radius

import (
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"zonegate/radius/wire"
)

// A counter is something that happens to packets. The first ones are the
// reasons of package wire.
type counter uint8

// What the transport counts besides wire's reasons.
const (
	// received is every datagram, whatever became of it.
	received = counter(wire.Reasons) + iota
	// unknownNAS has no entry in the book. It is in no NAS's counters.
	unknownNAS
	// wrongPort is a code that this port does not speak, replies among them.
	wrongPort
	// unsigned lacks the Message-Authenticator that the NAS must send.
	unsigned
	// unsignedProxied has a Proxy-State and no Message-Authenticator.
	unsignedProxied
	// inProgress repeats a request that is being answered.
	inProgress
	// overload found no room: see Server.InFlight.
	overload
	// statusTooOften and statusUnhealthy are unanswered Status-Servers.
	statusTooOften
	statusUnhealthy
	// superseded was being answered when its identifier came with another
	// request.
	superseded
	// noAnswer is a request that the responder did not answer.
	noAnswer
	// tooLong is an answer above 4096 octets.
	tooLong
	// sendFailed and receiveFailed are errors of a socket.
	sendFailed
	receiveFailed
	// crashed is a panic of the responder.
	crashed

	// Requests that passed every check.
	accessRequests
	accountingRequests
	statusRequests
	// Answers, and those among them that repeat one.
	accepts
	rejects
	challenges
	accountingResponses
	answeredAgain

	counters // how many there are
)

// counterNames are stable: the control API and documents use them.
var counterNames = [counters]string{
	received: "received", unknownNAS: "unknown_nas", wrongPort: "wrong_port",
	unsigned: "unsigned", unsignedProxied: "unsigned_proxy_state",
	inProgress: "duplicate_in_progress", overload: "overload",
	statusTooOften: "status_too_often", statusUnhealthy: "status_unhealthy",
	superseded: "superseded", noAnswer: "no_answer", tooLong: "reply_too_long",
	sendFailed: "send_failed", receiveFailed: "receive_failed", crashed: "responder_panic",
	accessRequests: "access_requests", accountingRequests: "accounting_requests", statusRequests: "status_requests",
	accepts: "access_accepts", rejects: "access_rejects", challenges: "access_challenges",
	accountingResponses: "accounting_responses", answeredAgain: "answered_again",
}

func (c counter) String() string {
	if int(c) < wire.Reasons {
		return wire.Reason(c).String()
	}
	return counterNames[c]
}

// A tally is one set of counters.
type tally [counters]atomic.Uint64

func (t *tally) names() map[string]uint64 {
	m := make(map[string]uint64, len(t))
	// The first is wire.Valid, which is no reason.
	for c := counter(1); c < counters; c++ {
		m[c.String()] = t[c].Load()
	}
	return m
}

// Counters count packets by what became of them, for as long as they live:
// give the same ones to the next [Server] and they go on. The zero value is
// ready. Safe for concurrent use.
type Counters struct {
	total    tally
	underWay atomic.Int64
	mu       sync.Mutex
	byNAS    map[string]*tally
	said     map[string]uint64
}

// Counts are the [Counters] at one moment. The names in them are stable.
type Counts struct {
	// Total is the transport's counters over all packets.
	Total map[string]uint64 `json:"total"`
	// Decisions is what was decided about requests.
	Decisions map[string]uint64 `json:"decisions"`
	// NAS has those of Total for each NAS that has sent anything, by name.
	NAS map[string]map[string]uint64 `json:"nas"`
	// UnderWay is how many requests are being answered.
	UnderWay int64 `json:"under_way"`
}

// Snapshot returns a copy.
func (c *Counters) Snapshot() Counts {
	s := Counts{Total: c.total.names(), Decisions: map[string]uint64{}, NAS: map[string]map[string]uint64{}, UnderWay: c.underWay.Load()}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, n := range c.said {
		s.Decisions[name] = n
	}
	for name, t := range c.byNAS {
		s.NAS[name] = t.names()
	}
	return s
}

// of returns the counters of a NAS. There are as many as names were ever in
// the book.
func (c *Counters) of(name string) *tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.byNAS[name]
	if t == nil {
		if c.byNAS == nil {
			c.byNAS = map[string]*tally{}
		}
		t = new(tally)
		c.byNAS[name] = t
	}
	return t
}

// decided counts what the responder says of a request.
func (c *Counters) decided(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said == nil {
		c.said = map[string]uint64{}
	}
	c.said[name]++
}

// A complaints box lets one line a minute and reason into the log: whoever
// sends bad packets must not fill a router's log with them. How many there
// were, the counters say.
type complaints struct {
	log   *slog.Logger
	quiet [counters]quiet
}

func (c *complaints) say(why counter, nas string, from netip.AddrPort) {
	if c.quiet[why].may() {
		c.log.Warn("packets are dropped; the counters say how many", "reason", why.String(), "nas", nas, "from", from.Addr())
	}
}

func (c *complaints) fail(why counter, nas string, err error) {
	if c.quiet[why].may() {
		c.log.Error("packets are lost; the counters say how many", "reason", why.String(), "nas", nas, "error", err)
	}
}
