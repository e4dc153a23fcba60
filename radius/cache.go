package radius

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// rememberFor is how long an answer is repeated to a retransmission. RFC
	// 5080 section 2.2.2 has 5 to 30 s; CoovaChilli repeats after 10 s, and
	// fewer identifiers than 256 in this time are no limit to any NAS.
	rememberFor = 15 * time.Second
	// rememberSize bounds all that is remembered, in octets; an answer counts
	// with its length and entryCost. That is 10,000 answers of usual length.
	// Beyond it the NAS that holds the most forgets its oldest.
	rememberSize = 4 << 20
	// entryCost is an entry with its place in the map, measured.
	entryCost = 320
)

// An origin is one identifier of one sender: what a request is recognised by
// (RFC 5080 section 2.2.2). A sender is an address with its port, so it never
// has more than 256.
type origin struct {
	from   netip.AddrPort
	socket int
	id     byte
}

// An entry is a request that is being answered or was answered.
type entry struct {
	origin        origin
	authenticator [16]byte
	peer          *peer
	answer        []byte // nil while it is being answered
	until         time.Duration
	older, newer  *entry // in the peer's list of answers
}

// size counts against rememberSize.
func (e *entry) size() int { return entryCost + len(e.answer) }

// A peer is what one entry of the book holds of the room and of the memory.
// Only cache touches it.
type peer struct {
	inFlight       int
	oldest, newest *entry // its answers
	size           int
	status         bucket
}

// A cache remembers answers, recognises retransmissions, and bounds what is
// under way. Safe for concurrent use.
type cache struct {
	mu       sync.Mutex
	room     int // requests that may be under way
	inFlight int
	entries  map[origin]*entry
	peers    map[string]*peer
	size     int
	limit    int
}

func newCache(room, limit int) *cache {
	return &cache{room: room, limit: limit, entries: map[origin]*entry{}, peers: map[string]*peer{}}
}

// A verdict says what to do with a request.
type verdict uint8

const (
	// fresh must be answered, and then [cache.end] called.
	fresh verdict = iota
	// freshInstead is fresh, and the request that had the identifier is over.
	freshInstead
	// repeated was answered: send the same octets again.
	repeated
	// underWay is being answered.
	underWay
	// full finds no room.
	full
)

// begin recognises a request. The entry is for [cache.end].
//
// One NAS gets as many places as there are free ones: half of the room when it
// is alone, a third when two want all they can get. So there is always a place
// for one that has none.
func (c *cache) begin(o origin, authenticator [16]byte, name string, now time.Duration) (*entry, []byte, verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.peer(name)
	c.expire(p, now)
	old := c.entries[o]
	// An entry may have expired in another peer's list, if the book changed.
	if old != nil && old.answer != nil && old.until <= now {
		c.forget(old)
		old = nil
	}
	if old != nil && old.authenticator == authenticator {
		if old.answer == nil {
			return nil, nil, underWay
		}
		return nil, old.answer, repeated
	}
	if p.inFlight >= c.room-c.inFlight {
		return nil, nil, full
	}
	v := fresh
	if old != nil {
		if old.answer != nil {
			c.forget(old)
		} else {
			v = freshInstead
		}
	}
	e := &entry{origin: o, authenticator: authenticator, peer: p}
	c.entries[o] = e
	p.inFlight++
	c.inFlight++
	return e, nil, v
}

// end takes the answer to a request, or nil when there is none: then a
// retransmission is a new request. It reports whether the answer may be sent;
// another request may have taken the identifier.
func (c *cache) end(e *entry, answer []byte, now time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.peer.inFlight--
	c.inFlight--
	if c.entries[e.origin] != e {
		return false
	}
	if answer == nil {
		delete(c.entries, e.origin)
		return false
	}
	e.answer, e.until = answer, now+rememberFor
	p := e.peer
	e.older, p.newest = p.newest, e
	if e.older == nil {
		p.oldest = e
	} else {
		e.older.newer = e
	}
	p.size += e.size()
	c.size += e.size()
	for c.size > c.limit {
		c.forget(c.largest().oldest)
	}
	return true
}

func (c *cache) peer(name string) *peer {
	p := c.peers[name]
	if p == nil {
		p = &peer{status: bucket{tokens: statusBurst}}
		c.peers[name] = p
	}
	return p
}

func (c *cache) largest() (most *peer) {
	for _, p := range c.peers {
		if most == nil || p.size > most.size {
			most = p
		}
	}
	return most
}

func (c *cache) expire(p *peer, now time.Duration) {
	for p.oldest != nil && p.oldest.until <= now {
		c.forget(p.oldest)
	}
}

// forget drops an answer.
func (c *cache) forget(e *entry) {
	p := e.peer
	if e.older == nil {
		p.oldest = e.newer
	} else {
		e.older.newer = e.newer
	}
	if e.newer == nil {
		p.newest = e.older
	} else {
		e.newer.older = e.older
	}
	p.size -= e.size()
	c.size -= e.size()
	delete(c.entries, e.origin)
}

// Status-Servers that one NAS may send: RFC 5997 section 2.3 has a client wait
// seconds between two, but an entry may be a range of access points.
const (
	statusRate  = 20 // a second
	statusBurst = 20
)

// statusAllowed takes one from the NAS's bucket of Status-Servers.
func (c *cache) statusAllowed(name string, now time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer(name).status.take(now)
}

// A bucket of tokens.
type bucket struct {
	tokens float64
	at     time.Duration
}

func (b *bucket) take(now time.Duration) bool {
	b.tokens = min(statusBurst, b.tokens+statusRate*(now-b.at).Seconds())
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
