package fakenas

import (
	"encoding/binary"
	"strings"
)

// Vendor numbers.
const (
	wispr      = 14122
	chilliSpot = 14559
	mikrotik   = 14988
)

// Error-Causes of RFC 5176 section 3.5.
const (
	unsupportedAttribute = 401
	missingAttribute     = 402
	nasMismatch          = 403
	unsupportedExtension = 406
	sessionNotFound      = 503
	multipleSessions     = 508
)

// Chilli is CoovaChilli: silent without User-Name, no Error-Cause ever, all
// sessions of the user without an Acct-Session-Id, and whatever a CoA-Request
// leaves out is no limit any more.
func Chilli(n *NAS, r *Request) (byte, uint32) {
	user, ok := r.Get(userName)
	if !ok {
		return Silent, 0
	}
	id, one := r.Get(acctSessionID)
	found := false
	var stay []*Session
	for _, s := range n.sessions {
		if s.User != string(user) || one && !strings.EqualFold(s.ID, string(id)) {
			stay = append(stay, s)
			continue
		}
		found = true
		if r.Code == DisconnectRequest {
			continue
		}
		stay = append(stay, s)
		s.Timeout, s.Idle = r.number(sessionTimeout), r.number(idleTimeout)
		if s.Interim = r.number(interim); s.Interim < 60 {
			s.Interim = 0
		}
		s.Up, s.Down = uint64(r.vendorNumber(wispr, 7)), uint64(r.vendorNumber(wispr, 8))
		// It multiplies in 32 bits.
		if v := r.vendorNumber(chilliSpot, 4); v != 0 {
			s.Up = uint64(v * 1000)
		}
		if v := r.vendorNumber(chilliSpot, 5); v != 0 {
			s.Down = uint64(v * 1000)
		}
		s.Octets = uint64(r.vendorNumber(chilliSpot, 3)) | uint64(r.vendorNumber(chilliSpot, 23))<<32
	}
	n.sessions = stay
	return r.ack(found), 0
}

// Hostapd refuses every attribute outside of its list, and Event-Timestamps
// that are far from its own clock it does not answer. It only disconnects.
func Hostapd(n *NAS, r *Request) (byte, uint32) {
	if v, ok := r.Get(eventTime); ok && len(v) == 4 {
		off := n.now().Unix() - int64(binary.BigEndian.Uint32(v))
		if off > 300 || off < -300 {
			return Silent, 0
		}
	}
	for _, a := range r.Attributes {
		switch a.Type {
		case userName, nasIP, callingStation, nasIdentifier, acctSessionID, multiSessionID, eventTime, messageAuth, cui, nasIPv6:
		default:
			return r.ack(false), unsupportedAttribute
		}
	}
	if r.Code == CoARequest {
		return CoANAK, unsupportedExtension
	}
	match := n.match(r)
	switch {
	case len(match) == 0:
		return DisconnectNAK, sessionNotFound
	case len(match) > 1:
		return DisconnectNAK, multipleSessions
	}
	n.end(match[0])
	return DisconnectACK, 0
}

// Uspot compares what it gets octet by octet, refuses what it does not know,
// and never says why.
func Uspot(n *NAS, r *Request) (byte, uint32) {
	for _, a := range r.Attributes {
		switch a.Type {
		case userName, nasIP, nasIdentifier, class, calledStation, callingStation, proxyState, acctSessionID, cui:
		case terminateCause:
			if r.Code == CoARequest {
				return CoANAK, 0
			}
		case framedIP, sessionTimeout, idleTimeout, interim:
			if r.Code == DisconnectRequest {
				return DisconnectNAK, 0
			}
		default: // Message-Authenticator, Event-Timestamp, NAS-Port, vendors'
			return r.ack(false), 0
		}
	}
	match := n.match(r)
	if len(match) == 0 {
		return r.ack(false), 0
	}
	if r.Code == DisconnectRequest {
		n.end(match[0])
		return DisconnectACK, 0
	}
	if v := r.number(sessionTimeout); v != 0 {
		match[0].Timeout = v
	}
	return CoAACK, 0
}

// MikroTik refuses a NAS-IP-Address that is not the one it reports, and takes
// over rates and time, but no octets, by CoA.
func MikroTik(n *NAS, r *Request) (byte, uint32) {
	match := n.match(r)
	if ip, ok := r.Get(nasIP); ok {
		for _, s := range n.sessions {
			if s.NASIP.IsValid() && string(s.NASIP.AsSlice()) != string(ip) {
				return r.ack(false), 0
			}
		}
	}
	if len(match) == 0 {
		return r.ack(false), sessionNotFound
	}
	if r.Code == DisconnectRequest {
		for _, s := range match {
			n.end(s)
		}
		return DisconnectACK, 0
	}
	for _, a := range r.Attributes {
		if a.Type != vendorSpecific || len(a.Value) < 6 {
			continue
		}
		if binary.BigEndian.Uint32(a.Value) != mikrotik || a.Value[4] != 8 {
			return CoANAK, unsupportedAttribute // Mikrotik-Total-Limit and WISPr among them
		}
	}
	for _, s := range match {
		if v := r.number(sessionTimeout); v != 0 {
			s.Timeout = v
		}
		if v, ok := r.Vendor(mikrotik, 8); ok {
			s.Rate = string(v)
		}
	}
	return CoAACK, 0
}

// PfSense does not listen: it takes requests in and says nothing.
func PfSense(*NAS, *Request) (byte, uint32) { return Silent, 0 }

// Answers refuses the first requests with a list of Error-Causes and then does
// as another make.
func Answers(then Make, causes ...uint32) Make {
	return func(n *NAS, r *Request) (byte, uint32) {
		if len(causes) > 0 {
			cause := causes[0]
			causes = causes[1:]
			return r.ack(false), cause
		}
		return then(n, r)
	}
}

// match returns the sessions that every naming attribute fits.
func (n *NAS) match(r *Request) (found []*Session) {
	for _, s := range n.sessions {
		fits := true
		for _, a := range r.Attributes {
			var is string
			switch a.Type {
			case userName:
				is = s.User
			case acctSessionID:
				is = s.ID
			case callingStation:
				is = s.Calling
			case framedIP:
				if s.IP.IsValid() {
					is = string(s.IP.AsSlice())
				}
			default:
				continue
			}
			fits = fits && is == string(a.Value)
		}
		if fits {
			found = append(found, s)
		}
	}
	return found
}

func (n *NAS) end(gone *Session) {
	for i, s := range n.sessions {
		if s == gone {
			n.sessions = append(n.sessions[:i], n.sessions[i+1:]...)
			return
		}
	}
}

func (r *Request) ack(yes bool) byte {
	if yes {
		return r.Code + 1
	}
	return r.Code + 2
}

func (r *Request) number(t byte) uint32 {
	v, _ := r.Get(t)
	if len(v) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(v)
}

func (r *Request) vendorNumber(vendor uint32, t byte) uint32 {
	v, _ := r.Vendor(vendor, t)
	if len(v) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(v)
}
