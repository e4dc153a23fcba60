package nas

import (
	"strings"

	"zonegate"
	"zonegate/radius/wire"
)

// A Vendor is a make of NAS, as an entry of the book names it.
type Vendor string

// The makes that have a profile.
const (
	MikroTik    Vendor = "mikrotik"
	CoovaChilli Vendor = "coovachilli"
	Uspot       Vendor = "uspot"
	PfSense     Vendor = "pfsense"
	Hostapd     Vendor = "hostapd"
	UniFi       Vendor = "unifi"
	// Generic gets only what the RFCs and WISPr say.
	Generic Vendor = "generic"
)

// Vendors are all of them, in the order in which they are shown.
var Vendors = []Vendor{MikroTik, CoovaChilli, Uspot, PfSense, Hostapd, UniFi, Generic}

// Known says that the vendor has a profile.
func (v Vendor) Known() bool { return v == Generic || profiles[v] != nil }

func vendorNames() string {
	var names []string
	for _, v := range Vendors {
		names = append(names, string(v))
	}
	return strings.Join(names, ", ")
}

// Ident is a set of attributes that name a session or a NAS.
type Ident uint16

// The attributes that a request may use to name a session.
const (
	UserName Ident = 1 << iota
	AcctSessionID
	FramedIP
	CallingStation
	CalledStation
	NASIP
	NASIPv6
	NASIdentifier
	NASPort
	NASPortID
)

// MinimalIdent is what every NAS understands.
const MinimalIdent = UserName | AcctSessionID

// NASIdent are the attributes that name the NAS and not the session.
const NASIdent = NASIP | NASIPv6 | NASIdentifier

// A Profile says what a make of NAS does with a running session.
type Profile struct {
	// Disconnect says that it takes Disconnect-Requests at all.
	Disconnect bool
	// Change says what a CoA-Request can change while a session runs.
	Change Change
	// Port is where it listens when set up as its maker says.
	Port uint16
	// Ident is what a first request names the session with. Attributes
	// outside of it make some NASes refuse.
	Ident Ident
	// NeedsUserName: without a User-Name it does not even answer.
	NeedsUserName bool
	// Sign says that requests may carry a Message-Authenticator; without one
	// the Request Authenticator still proves the secret. An Event-Timestamp is
	// never sent: ours would be of 1970 after each power cut, and a NAS whose
	// own clock is wrong would not even answer.
	Sign bool
	// FullSet: what a CoA-Request leaves out, is reset to "no limit".
	FullSet bool
	// Polled: it asks again for each live session every minute, so changes and
	// ends travel in the answer.
	Polled bool
	// Renews: it goes on with the same Acct-Session-Id, its counters at zero,
	// after each of its stops.
	Renews bool

	// portLimit: it counts the devices of one user name itself.
	portLimit bool
	// maxTime is the longest Session-Timeout in seconds; zero means maxSeconds.
	maxTime int64
	// rate and octets write the attributes of its own kind; nil where it has
	// none, so that we have to watch.
	rate   func(b []wire.Attribute, r zonegate.Rate, always bool) []wire.Attribute
	octets func(b []wire.Attribute, n uint64) []wire.Attribute
}

// A Change is a set of limits.
type Change uint8

// What a CoA-Request can change.
const (
	ChangeRate Change = 1 << iota
	ChangeTime
	ChangeOctets
)

// Profile returns what is known of the vendor's NASes; of an unknown one, what
// is safe with all.
func (v Vendor) Profile() *Profile {
	if p := profiles[v]; p != nil {
		return p
	}
	return profiles[Generic]
}

// cautious is what any NAS of RFC 5176 takes.
var cautious = &Profile{
	Disconnect: true, Port: 3799,
	Ident: MinimalIdent | CallingStation | NASIP | NASIPv6 | NASIdentifier,
	Sign:  true,
	rate:  wisprBothRates,
}

var profiles = map[Vendor]*Profile{
	// RouterOS: /radius incoming accept=yes. A NAS-IP-Address that is not the
	// one it reported is refused. Mikrotik-Total-Limit cannot be changed.
	MikroTik: {
		Disconnect: true, Change: ChangeRate | ChangeTime, Port: 3799,
		Ident: MinimalIdent | FramedIP | NASIP,
		Sign:  true, portLimit: true,
		maxTime: 21474720, // 248 days and 13 hours: the manual's own bound
		rate:    rateLimit,
		octets:  wide(wire.MikroTik, wire.MikroTikTotalLimit, wire.MikroTikTotalLimitGigawords),
	},
	// CoovaChilli: coaport. Without Acct-Session-Id it acts on all sessions of
	// the user.
	CoovaChilli: {
		Disconnect: true, Change: ChangeRate | ChangeTime | ChangeOctets, Port: 3799,
		Ident:         MinimalIdent,
		NeedsUserName: true, Sign: true, FullSet: true,
		rate:   chilliRate,
		octets: wide(wire.ChilliSpot, wire.ChilliMaxTotalOctets, wire.ChilliMaxTotalGigawords),
	},
	// uspot compares what it gets octet by octet, and refuses
	// Message-Authenticator, Event-Timestamp, NAS-Port and vendor attributes.
	// Only its newer builds read a high word of the octets; to the others the
	// low one alone would be another limit, or none.
	Uspot: {
		Disconnect: true, Change: ChangeTime, Port: 3799,
		Ident:  MinimalIdent,
		rate:   wisprRate(1),
		octets: narrow(wire.ChilliSpot, wire.ChilliMaxTotalOctets),
	},
	// pfSense listens to nobody; with "reauthenticate every minute" it asks.
	// Of the answer it takes the rates over, in whole kbit/s.
	PfSense: {
		Polled: true, Renews: true,
		rate:   wisprRate(1000),
		octets: narrow(wire.PfSense, wire.PfSenseMaxTotalOctets),
	},
	// hostapd: radius_das_port. It refuses every attribute outside a list of
	// ten, and is silent when Event-Timestamp is off by more than 300 s, which
	// a router without a battery clock always is at first.
	Hostapd: {
		Disconnect: true, Port: 3799,
		Ident: MinimalIdent | CallingStation,
		Sign:  true,
		rate:  wisprRate(1),
	},
	UniFi:   cautious,
	Generic: cautious,
}
