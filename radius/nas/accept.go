package nas

import (
	"math"
	"time"

	"zonegate"
	"zonegate/radius/wire"
)

// Settings are what a NAS is told beside the plan.
type Settings struct {
	// Interim is the accounting interval to ask for; MinInterim at least.
	Interim time.Duration
	// Idle ends a session that moves nothing; zero leaves it to the NAS.
	Idle time.Duration
	// Class comes back in accounting; empty for none.
	Class string
}

// limits are what a NAS has to enforce.
type limits struct {
	rate zonegate.Rate
	// time is zero and octets NoCap where there is no limit to tell.
	time   time.Duration
	octets uint64
}

// Accept returns the attributes that tell a NAS what an admission allows.
//
// Limits count from now on, because a NAS that logs a customer in begins a new
// session with its counters at zero. Only a NAS that asks again for a live
// session (Polled) gets them as from that session's beginning, as its counters
// go on: pfSense takes over no more than the rates of such an answer, so
// nothing else must follow from it, and a version that takes over more must not
// end the session early.
func (v Vendor) Accept(a zonegate.Admission, s Settings) []wire.Attribute {
	p := v.Profile()
	l := limits{rate: a.Plan.Rate, time: max(a.TimeLeft, 1), octets: a.OctetsLeft()}
	if a.Live && p.Polled {
		l.octets = a.Session.Terms.Limit
		l.time = 0
		if a.Plan.Time == zonegate.Calendar {
			l.time = a.Session.Terms.Ends - a.Session.Opened
		}
	}
	b := make([]wire.Attribute, 0, 12)
	b = p.appendTime(b, l.time)
	b = appendSeconds(b, wire.IdleTimeout, s.Idle)
	b = appendSeconds(b, wire.AcctInterimInterval, max(s.Interim, MinInterim))
	if s.Class != "" {
		b = append(b, wire.Text(wire.Class, s.Class))
	}
	if p.portLimit {
		b = append(b, wire.Uint32(wire.PortLimit, uint32(min(max(a.Plan.DevicesMax, 1), math.MaxInt32))))
	}
	b = p.appendRate(b, l.rate, false)
	return p.appendOctets(b, l.octets)
}

// Change returns the attributes of a CoA-Request that tell a running session
// what has changed of its limits. Here they count from the session's beginning:
// CoovaChilli and uspot compare with counters that began there. A NAS that
// counts from the request on stops too late, and is disconnected by us in time.
//
// Lasted is how long the session has lasted. A NAS that resets what is left out
// (FullSet) gets everything.
func (v Vendor) Change(e zonegate.Errand, what Change, lasted time.Duration, s Settings) []wire.Attribute {
	p := v.Profile()
	if p.FullSet {
		what = p.Change
	}
	var b []wire.Attribute
	if what&ChangeTime != 0 {
		b = p.appendTime(b, max(lasted, 0)+max(e.TimeLeft, 1))
	}
	if p.FullSet {
		b = appendSeconds(b, wire.IdleTimeout, s.Idle)
		b = appendSeconds(b, wire.AcctInterimInterval, max(s.Interim, MinInterim))
	}
	if what&ChangeRate != 0 {
		b = p.appendRate(b, e.Plan.Rate, !p.FullSet)
	}
	if what&ChangeOctets != 0 {
		b = p.appendOctets(b, e.Terms.Limit)
	}
	return b
}

// maxSeconds is what fits every NAS's signed or unsigned 32 bits: 68 years.
const maxSeconds = math.MaxInt32

// appendTime writes a Session-Timeout. A part of a second counts as a whole
// one, so that it is never zero; the customer keeps the rest of it.
func (p *Profile) appendTime(b []wire.Attribute, d time.Duration) []wire.Attribute {
	if d <= 0 {
		return b
	}
	most := int64(maxSeconds)
	if p.maxTime != 0 {
		most = p.maxTime
	}
	return append(b, wire.Uint32(wire.SessionTimeout, uint32(min(seconds(d), most))))
}

func appendSeconds(b []wire.Attribute, t wire.Type, d time.Duration) []wire.Attribute {
	if d <= 0 {
		return b
	}
	return append(b, wire.Uint32(t, uint32(min(seconds(d), maxSeconds))))
}

// seconds rounds up.
func seconds(d time.Duration) int64 {
	n := int64(d / time.Second)
	if d%time.Second > 0 {
		n++
	}
	return n
}

// appendRate writes the plan's rates. With always, a rate without a maximum is
// written too, where leaving it out would leave the earlier one in force.
func (p *Profile) appendRate(b []wire.Attribute, r zonegate.Rate, always bool) []wire.Attribute {
	if p.rate == nil {
		return b
	}
	return p.rate(b, r, always)
}

// appendOctets writes how many octets may be delivered, one at least.
func (p *Profile) appendOctets(b []wire.Attribute, n uint64) []wire.Attribute {
	if p.octets == nil || n == zonegate.NoCap {
		return b
	}
	return p.octets(b, max(n, 1))
}
