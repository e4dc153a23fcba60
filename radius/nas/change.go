package nas

import (
	"time"

	"zonegate"
	"zonegate/radius/wire"
)

// A Way is how an errand reaches a session.
type Way uint8

const (
	// Leave: nothing can be sent and nothing may be taken for granted. What
	// the NAS knows stays in force.
	Leave Way = iota
	// Await: nothing need be sent. It comes by itself, at the next login or
	// when the NAS asks again, and no promise is broken until then.
	Await
	// Tell: a CoA-Request.
	Tell
	// Cut: a Disconnect-Request. The device logs in again, with the new terms
	// if it has still something.
	Cut
)

// endsSlack is how much earlier a session's end may become without a word:
// clocks and whole seconds differ by as much.
const endsSlack = 5 * time.Second

// Way decides how an errand reaches its session, and for Tell what must be
// told. See the package's documentation for the reasons.
func (n NAS) Way(e zonegate.Errand) (Way, Change) {
	p := n.Vendor.Profile()
	_, can := n.CanBeTold()
	if e.Stop {
		switch {
		case can:
			return Cut, 0
		case p.Polled:
			return Await, 0
		}
		return Leave, 0
	}
	old, now := e.Session.Terms, e.Terms
	var what, less Change
	if old.Plan != now.Plan {
		what |= ChangeRate
	}
	if now.Ends != old.Ends {
		what |= ChangeTime
		if now.Ends < old.Ends-endsSlack {
			less |= ChangeTime
		}
	}
	if now.Limit != old.Limit {
		what |= ChangeOctets
		if now.Limit < old.Limit {
			less |= ChangeOctets
		}
	}
	if what == 0 {
		// The gate notes at once that it gives a session less, so that no other
		// gets it too; what the NAS has is more.
		what, less = ChangeOctets, ChangeOctets
	}
	if p.octets == nil {
		// It never knew a limit: we watch it.
		less &^= ChangeOctets
	}
	switch {
	case p.Polled:
		return Await, 0
	case can && less&^p.Change != 0:
		return Cut, 0
	case can && what&p.Change != 0:
		return Tell, what & p.Change
	case less != 0:
		return Leave, 0
	}
	return Await, 0
}

// Grows says that an errand takes nothing away, so that its session may go on
// with what its NAS knows.
func Grows(e zonegate.Errand) bool {
	old, now := e.Session.Terms, e.Terms
	return !e.Stop && old != now && now.Limit >= old.Limit && now.Ends >= old.Ends-endsSlack
}

// Attributes names a session by the attributes of a set, each as its NAS has
// reported it. What it has not reported is left out.
func (h Handle) Attributes(set Ident) []wire.Attribute {
	var b []wire.Attribute
	text := func(i Ident, t wire.Type, v string) {
		if set&i != 0 && v != "" {
			b = append(b, wire.Text(t, v))
		}
	}
	text(UserName, wire.UserName, h.UserName)
	if set&NASIP != 0 && h.NASIP.IsValid() {
		b = append(b, wire.Addr(wire.NASIPAddress, h.NASIP))
	}
	if set&NASPort != 0 && h.HasNASPort {
		b = append(b, wire.Uint32(wire.NASPort, h.NASPort))
	}
	if set&FramedIP != 0 && h.FramedIP.IsValid() {
		b = append(b, wire.Addr(wire.FramedIPAddress, h.FramedIP))
	}
	text(CalledStation, wire.CalledStationID, h.CalledStation)
	text(CallingStation, wire.CallingStationID, h.CallingStation)
	text(NASIdentifier, wire.NASIdentifier, h.NASIdentifier)
	text(AcctSessionID, wire.AcctSessionID, h.SessionID)
	text(NASPortID, wire.NASPortID, h.NASPortID)
	if set&NASIPv6 != 0 && h.NASIPv6.IsValid() {
		b = append(b, wire.Octets(wire.NASIPv6Address, h.NASIPv6.AsSlice()))
	}
	return b
}

// Present is the part of a set for which the NAS has reported something.
func (h Handle) Present(set Ident) Ident {
	var p Ident
	for i := UserName; i <= NASPortID; i <<= 1 {
		if set&i != 0 && len(h.Attributes(i)) > 0 {
			p |= i
		}
	}
	return p
}
