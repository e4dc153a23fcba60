package radius

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"time"

	"zonegate"
	"zonegate/radius/nas"
	"zonegate/radius/wire"
)

// account hands a report to the Gate and answers it only when the Gate has
// taken it (RFC 2866 section 4.1: what is answered is recorded). What is not
// answered comes again.
//
// Input is what the customer sends, Output what he receives (RFC 2866 section
// 5.3: from and to the port), so they are Up and Down. RouterOS, uspot, pfSense
// and hostapd do it so; RouterOS's manual says the opposite in one place.
// CoovaChilli (swapoctets) and uspot (swapio) can be set to swap them: then
// only the shown directions are wrong, since a cap counts the sum.
func (t *translator) account(ctx context.Context, r *request) (wire.Reply, bool) {
	p := r.packet
	status, ok := p.Uint32(wire.AcctStatusType)
	if !ok {
		return t.silent(countNoStatus)
	}
	if _, ok := nasIdentity(p); !ok {
		return t.silent(countNoIdentity)
	}
	path := r.nas.Path(r.from.Addr())
	switch status {
	case wire.StatusStart, wire.StatusInterim, wire.StatusStop:
		return t.report(ctx, r, path, reportKinds[status])
	case wire.StatusOn, wire.StatusOff:
		return t.recorded(r, t.gate.Restarted(ctx, path, seconds(p, wire.AcctDelayTime)))
	}
	// Tunnels and what else RFC 2867 and others have: nothing of ours is in
	// them, and a NAS that gets no answer sends them for ever.
	t.count(countOtherStatus)
	return wire.Reply{Code: wire.AccountingResponse}, true
}

var reportKinds = map[uint32]zonegate.ReportKind{
	wire.StatusStart:   zonegate.ReportStart,
	wire.StatusInterim: zonegate.ReportInterim,
	wire.StatusStop:    zonegate.ReportStop,
}

func (t *translator) report(ctx context.Context, r *request, path string, kind zonegate.ReportKind) (wire.Reply, bool) {
	p := r.packet
	key, ok := sessionKey(p)
	if !ok {
		return t.silent(countNoSession)
	}
	report := zonegate.Report{
		NAS: path, Kind: kind, Key: key, Handle: handleOf(p).Encode(),
		Grant:   t.classGrant(p),
		Renews:  r.nas.Vendor.Profile().Renews,
		Durable: t.strict || r.nas.Strict,
	}
	report.Device, _ = deviceOf(p)
	report.Octets, report.Counted, report.Wraps = octetsOf(p)
	if kind == zonegate.ReportStart && report.Octets == (zonegate.Octets{}) {
		// Zeros at the beginning tell nothing, and would look like counters
		// that began again when the start comes late.
		report.Counted, report.Wraps = false, false
	}
	report.Lasted, report.Ago = seconds(p, wire.AcctSessionTime), seconds(p, wire.AcctDelayTime)

	if report.Grant == 0 && report.Device == (zonegate.MAC{}) {
		// Nothing in it can be ours: somebody who is not a customer, such as
		// the reseller's own PPPoE line on the same router.
		t.count(countForeign)
		return wire.Reply{Code: wire.AccountingResponse}, true
	}
	err := t.gate.Report(ctx, report)
	if err == nil && t.witness != nil {
		t.witness.Seen(report)
	}
	return t.recorded(r, err)
}

// recorded answers a report that the Gate has taken, and one of a session that
// it does not know: nobody will ever record that.
func (t *translator) recorded(r *request, err error) (wire.Reply, bool) {
	switch {
	case err == nil:
	case errors.Is(err, zonegate.ErrNoSuchSession), errors.Is(err, zonegate.ErrNoSuchGrant), errors.Is(err, zonegate.ErrNoGrant):
		t.count(countForeign)
	default:
		t.fault(r, err)
		return t.silent(countNotRecorded)
	}
	return wire.Reply{Code: wire.AccountingResponse}, true
}

// classPrefix begins every Class of ours, with the version of its form.
const classPrefix = "zg1:"

// classGrant returns the grant that a Class of ours names, zero without one.
// There may be Classes of other servers, and a NAS may hand on only some
// (RFC 2865 section 5.25).
func (t *translator) classGrant(p *wire.Packet) zonegate.GrantID {
	for a := range p.Attributes() {
		if a.Type != wire.Class {
			continue
		}
		if token, ours := strings.CutPrefix(string(a.Value), classPrefix); ours {
			if id, ok := t.gate.GrantOf(token); ok {
				return id
			}
		}
	}
	return 0
}

// octetsOf reads the counters. A report without any says nothing about usage.
// One without gigawords has only the low 32 bits of each, unless it does not
// have both: what is missing is not a counter that went round.
func octetsOf(p *wire.Packet) (o zonegate.Octets, counted, wraps bool) {
	up, upWide, hasUp := p.Counter(wire.AcctInputOctets, wire.AcctInputGigawords)
	down, downWide, hasDown := p.Counter(wire.AcctOutputOctets, wire.AcctOutputGigawords)
	// RouterOS and others leave out gigawords that are zero, in either
	// direction: one that is there says that they are understood.
	return zonegate.Octets{Up: up, Down: down}, hasUp || hasDown, hasUp && hasDown && !upWide && !downWide
}

// nasIdentity returns what a NAS calls itself: its NAS-Identifier, which is set
// by hand and stays, or else its address, which it may get by DHCP. One of them
// must be there (RFC 2866 section 4.1, RFC 3162 section 3).
func nasIdentity(p *wire.Packet) (string, bool) {
	if id := p.Text(wire.NASIdentifier); id != "" {
		return id, true
	}
	for _, t := range []wire.Type{wire.NASIPAddress, wire.NASIPv6Address} {
		if a, ok := p.Addr(t); ok {
			return a.String(), true
		}
	}
	return "", false
}

// maxKey bounds what a session costs in memory and in the journal.
const maxKey = 80

// sessionKey names a session among those of one data path: Acct-Session-Id and
// what the NAS calls itself. The data path is the address that packets come
// from, and several NASes can be behind one (NAT); routers without a battery
// clock then give out the same identifiers after each power cut.
//
// Nothing else is in it: the key must be the same in every report of a session,
// and the port, the customer's address or the user name are not in all of them
// or change on the way. Two hotspot servers of one RouterOS number their
// sessions together.
func sessionKey(p *wire.Packet) (string, bool) {
	id := p.Text(wire.AcctSessionID)
	if id == "" {
		return "", false
	}
	name, _ := nasIdentity(p)
	if len(id)+1+len(name) <= maxKey && plain(id) && plain(name) {
		return id + "@" + name, true
	}
	// Anything longer or stranger by its hash, with the lengths in it so that
	// no two pairs are the same text.
	h := sha256.New()
	h.Write([]byte{byte(len(id))})
	h.Write([]byte(id))
	h.Write([]byte(name))
	return "#" + hex.EncodeToString(h.Sum(nil)[:16]), true
}

// plain says that a text is printable ASCII and has no sign that keys use.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c > '~' || c == '@' || c == '#' {
			return false
		}
	}
	return true
}

// handleOf keeps what the NAS may want to see again, in its own spelling.
func handleOf(p *wire.Packet) nas.Handle {
	h := nas.Handle{
		UserName: p.Text(wire.UserName), SessionID: p.Text(wire.AcctSessionID),
		CallingStation: p.Text(wire.CallingStationID), CalledStation: p.Text(wire.CalledStationID),
		NASIdentifier: p.Text(wire.NASIdentifier), NASPortID: p.Text(wire.NASPortID),
		FramedIP: addr4(p, wire.FramedIPAddress), NASIP: addr4(p, wire.NASIPAddress),
	}
	if a, ok := p.Addr(wire.NASIPv6Address); ok && a.Is6() {
		h.NASIPv6 = a
	}
	h.NASPort, h.HasNASPort = p.Uint32(wire.NASPort)
	return h
}

// seconds reads a time, zero where it is not given.
func seconds(p *wire.Packet, t wire.Type) time.Duration {
	n, _ := p.Uint32(t)
	return time.Duration(n) * time.Second
}

func addr4(p *wire.Packet, t wire.Type) netip.Addr {
	if a, ok := p.Addr(t); ok && a.Is4() {
		return a
	}
	return netip.Addr{}
}
