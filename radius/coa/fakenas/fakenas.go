// Package fakenas has NASes that take CoA-Requests and Disconnect-Requests over
// UDP and behave as their makes do, with their faults, for tests and the lab.
// It reads and writes packets by itself, so that a mistake in package wire does
// not hide itself. Nothing here may be linked into the router.
package fakenas

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Codes of RFC 5176.
const (
	DisconnectRequest byte = 40 + iota
	DisconnectACK
	DisconnectNAK
	CoARequest
	CoAACK
	CoANAK
)

// Silent is no answer at all.
const Silent byte = 0

// Attribute types that the makes look at.
const (
	userName       = 1
	nasIP          = 4
	nasPort        = 5
	framedIP       = 8
	class          = 25
	vendorSpecific = 26
	sessionTimeout = 27
	idleTimeout    = 28
	calledStation  = 30
	callingStation = 31
	nasIdentifier  = 32
	proxyState     = 33
	acctSessionID  = 44
	terminateCause = 49
	multiSessionID = 50
	eventTime      = 55
	messageAuth    = 80
	interim        = 85
	cui            = 89
	nasIPv6        = 95
	errorCause     = 101
)

// A Session is one that the NAS has.
type Session struct {
	User, ID, Calling string
	IP, NASIP         netip.Addr
	// What it enforces: seconds and octets from the session's beginning, and
	// bit/s (for MikroTik its own text). Zero and empty are no limit.
	Timeout, Idle, Interim uint32
	Octets                 uint64
	Up, Down               uint64
	Rate                   string
}

// A Request is what arrived.
type Request struct {
	From       netip.AddrPort
	Raw        []byte
	Code, ID   byte
	Attributes []Attribute
	// Answer is the code that it gets; Silent for none.
	Answer byte
	// Again says that the same octets came before.
	Again bool
}

// An Attribute of a packet; of a vendor's the whole value.
type Attribute struct {
	Type  byte
	Value []byte
}

// Get returns the first attribute of a type.
func (r *Request) Get(t byte) ([]byte, bool) {
	for _, a := range r.Attributes {
		if a.Type == t {
			return a.Value, true
		}
	}
	return nil, false
}

// Vendor returns the first attribute of a vendor.
func (r *Request) Vendor(vendor uint32, t byte) ([]byte, bool) {
	for _, a := range r.Attributes {
		if a.Type == vendorSpecific && len(a.Value) >= 6 && binary.BigEndian.Uint32(a.Value) == vendor && a.Value[4] == t {
			return a.Value[6:], true
		}
	}
	return nil, false
}

// Faults are what goes wrong on the way.
type Faults struct {
	// Drop is how many of the next requests are answered into the void: the
	// NAS acts, and its answer is lost.
	Drop int
	// Deaf is how many of the next requests do not arrive at all.
	Deaf int
	// Forge has answers with a wrong authenticator sent before the right one.
	Forge bool
	// Twice has each answer sent two times.
	Twice bool
	// Padding is how many octets follow each answer.
	Padding int
	// BadMA has answers with a Message-Authenticator that is wrong.
	BadMA bool
	// Unsigned leaves the Message-Authenticator out of answers.
	Unsigned bool
	// Hold has answers kept until Release.
	Hold bool
}

// A Make answers a verified request for a NAS whose lock it holds: with a code,
// and with an Error-Cause if it is not zero.
type Make func(n *NAS, r *Request) (code byte, cause uint32)

// A NAS is one machine. Its methods may be called from any goroutine.
type NAS struct {
	make   Make
	secret []byte
	conn   *net.UDPConn
	events chan Request

	mu       sync.Mutex
	sessions []*Session
	faults   Faults
	seen     map[string][]byte // requests and their answers
	held     []func()
	// Now is what its clock shows.
	now func() time.Time
}

// Listen opens a NAS at an address, 127.0.0.1:0 for any port.
func Listen(addr string, m Make, secret string) (*NAS, error) {
	at, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("opening a NAS: %w", err)
	}
	conn, err := net.ListenUDP("udp", at)
	if err != nil {
		return nil, fmt.Errorf("opening a NAS: %w", err)
	}
	return &NAS{make: m, secret: []byte(secret), conn: conn, events: make(chan Request, 4096), seen: map[string][]byte{}, now: time.Now}, nil
}

// Addr is where it takes requests.
func (n *NAS) Addr() netip.AddrPort { return n.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Requests has every request that arrived, in order, after its answer was sent.
func (n *NAS) Requests() <-chan Request { return n.events }

// Put gives it a session, or another state of one.
func (n *NAS) Put(s Session) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, old := range n.sessions {
		if old.ID == s.ID {
			n.sessions[i] = &s
			return
		}
	}
	n.sessions = append(n.sessions, &s)
}

// Session returns the session of an id.
func (n *NAS) Session(id string) (Session, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.sessions {
		if s.ID == id {
			return *s, true
		}
	}
	return Session{}, false
}

// Break changes what goes wrong from now on.
func (n *NAS) Break(f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

// SetClock changes what its clock shows.
func (n *NAS) SetClock(now func() time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now = now
}

// Release sends the answers that were held.
func (n *NAS) Release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults.Hold = false
	for _, send := range n.held {
		send()
	}
	n.held = nil
}

// Serve answers until the context is done.
func (n *NAS) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { n.conn.Close() })
	defer stop()
	buf := make([]byte, 4096)
	for {
		size, from, err := n.conn.ReadFromUDPAddrPort(buf)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			continue
		}
		r, ok := n.take(from, bytes.Clone(buf[:size]))
		if ok {
			select {
			case n.events <- r:
			default: // nobody looks
			}
		}
	}
}

// take answers one datagram. ok is false for what no NAS would look at.
func (n *NAS) take(from netip.AddrPort, raw []byte) (r Request, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r, ok = n.parse(from, raw)
	if !ok {
		return r, false
	}
	if n.faults.Deaf > 0 {
		n.faults.Deaf--
		return r, true
	}
	// A retransmission gets the first answer again (RFC 5080 section 2.2.2).
	place := from.String() + string(raw)
	answer, again := n.seen[place]
	if again {
		r.Again = true
		if len(answer) > 0 {
			r.Answer = answer[0]
		}
	} else {
		var cause uint32
		if r.Answer, cause = n.make(n, &r); r.Answer != Silent {
			answer = n.reply(&r, cause)
		}
		n.seen[place] = answer
	}
	if len(answer) == 0 {
		return r, true
	}
	if n.faults.Drop > 0 {
		n.faults.Drop--
		return r, true
	}
	f := n.faults
	send := func() {
		if f.Forge {
			forged := bytes.Clone(answer)
			forged[7] ^= 1
			n.conn.WriteToUDPAddrPort(forged, from)
		}
		padded := append(bytes.Clone(answer), make([]byte, f.Padding)...)
		n.conn.WriteToUDPAddrPort(padded, from)
		if f.Twice {
			n.conn.WriteToUDPAddrPort(padded, from)
		}
	}
	if f.Hold {
		n.held = append(n.held, send)
	} else {
		send()
	}
	return r, true
}

// parse reads and verifies a request.
func (n *NAS) parse(from netip.AddrPort, raw []byte) (Request, bool) {
	if len(raw) < 20 || int(binary.BigEndian.Uint16(raw[2:])) != len(raw) || raw[0] != DisconnectRequest && raw[0] != CoARequest {
		return Request{}, false
	}
	zeroed := bytes.Clone(raw)
	clear(zeroed[4:20])
	sum := md5.Sum(append(bytes.Clone(zeroed), n.secret...))
	if !bytes.Equal(sum[:], raw[4:20]) {
		return Request{}, false
	}
	r := Request{From: from, Raw: raw, Code: raw[0], ID: raw[1]}
	for at := 20; at < len(raw); at += int(raw[at+1]) {
		if len(raw)-at < 2 || raw[at+1] < 2 || int(raw[at+1]) > len(raw)-at {
			return Request{}, false
		}
		a := Attribute{raw[at], raw[at+2 : at+int(raw[at+1])]}
		if a.Type == messageAuth {
			mac := hmac.New(md5.New, n.secret)
			mac.Write(zeroed[:at+2])
			mac.Write(make([]byte, 16))
			mac.Write(zeroed[at+18:])
			if len(a.Value) != 16 || !hmac.Equal(mac.Sum(nil), a.Value) {
				return Request{}, false
			}
		}
		r.Attributes = append(r.Attributes, a)
	}
	return r, true
}

// reply writes an answer.
func (n *NAS) reply(r *Request, cause uint32) []byte {
	b := append([]byte{r.Answer, r.ID, 0, 0}, r.Raw[4:20]...)
	for _, a := range r.Attributes {
		if a.Type == proxyState {
			b = append(append(b, a.Type, byte(2+len(a.Value))), a.Value...)
		}
	}
	if cause != 0 {
		b = binary.BigEndian.AppendUint32(append(b, errorCause, 6), cause)
	}
	mac := 0
	if !n.faults.Unsigned {
		b = append(b, messageAuth, 18)
		mac = len(b)
		b = append(b, make([]byte, 16)...)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	if mac != 0 {
		h := hmac.New(md5.New, n.secret)
		h.Write(b)
		copy(b[mac:], h.Sum(nil))
		if n.faults.BadMA {
			b[mac] ^= 1
		}
	}
	sum := md5.Sum(append(bytes.Clone(b), n.secret...))
	copy(b[4:], sum[:])
	return b
}
