// Package config turns one TOML file into a valid Config. What is in a Config
// has been checked: no other package checks it again. The package reads no
// other file, opens no socket and holds no secret; it does not know what the
// settings do.
package config

import (
	_ "embed"
	"log/slog"
	"net/netip"
	"time"
)

// A Config holds every setting of a gateway, checked and with defaults filled
// in. Nothing may change it after Parse.
type Config struct {
	// DataDir is the absolute path of the directory with journal, snapshots
	// and state.
	DataDir string
	// ControlSocket is the absolute path of the daemon's control socket.
	ControlSocket string
	// LogLevel is the least severe level that is logged.
	LogLevel slog.Level

	Zone     Zone
	Network  Network
	Portal   Portal
	DNS      DNS
	RADIUS   RADIUS
	MikroTik MikroTik
	Hub      Hub
	Garden   Garden
	Vouchers Vouchers
	Limits   Limits
	// Plans are in the order of the file; their IDs differ. There may be none,
	// and with HubRGZ there is none.
	Plans []Plan
}

// A Zone says which hotspot this is.
type Zone struct {
	// Name is shown to customers.
	Name string
	// ID is the short name of the site: 1 to 16 of a-z, 0-9 and '-'.
	ID string
	// Language is the default language of the pages: "fr" or "en".
	Language string
	// Contact is shown to customers who need help; may be empty.
	Contact string
}

// A Network names the interfaces and the rates of the uplink.
type Network struct {
	// LAN is the interface that customers are on; WAN holds at least one
	// interface, never LAN. An empty LAN means that all customers are behind
	// NASes or a MikroTik: then WAN is empty too.
	LAN string
	WAN []string
	// LinkDown and LinkUp are what the uplink gives, in bit/s, never 0 with a
	// LAN. Down is towards the customers. Without a LAN they are only set where
	// the MikroTik's API owns the sessions, and 0 is not known.
	LinkDown, LinkUp uint64
	// IsolateClients keeps customers from reaching each other.
	IsolateClients bool
}

// A Portal says where the pages are served.
type Portal struct {
	// Port is the TCP port, never equal to DNS.Port.
	Port uint16
	// Name is the DNS name (lower case, no final dot) that URLs use instead
	// of the LAN address; may be empty.
	Name string
	// TLSCert and TLSKey are absolute paths of PEM files. Both are set, and
	// Name too, or neither is.
	TLSCert, TLSKey string
	// NASNames are further names or addresses, each with its port unless that
	// is 80, by which customers of NASes or behind a MikroTik reach the portal.
	NASNames []string
}

// A DNS configures the forwarder.
type DNS struct {
	// Port is the UDP and TCP port.
	Port uint16
	// Upstream are the resolvers to ask. Empty means those of the system.
	Upstream []netip.AddrPort
}

// A RADIUS configures the server that NASes ask. Which NASes there are stands
// in the data directory, with their secrets.
type RADIUS struct {
	// Enabled is false where no NAS is answered, whatever is in the book.
	Enabled bool
	// Listen are the addresses of this machine at which NASes, and the
	// customers that they or a MikroTik send to the portal, reach it. Empty means those of
	// the LAN, or without one all that the machine has.
	Listen []netip.Addr
	// AuthPort and AcctPort are UDP ports; they differ from each other and
	// from DNS.Port.
	AuthPort, AcctPort uint16
	// Strict has interim reports written down before they are answered.
	Strict bool
	// Interim is how often NASes are asked to report, 1 min to 1 h.
	Interim time.Duration
	// IdleTimeout is after how long without traffic NASes are told to end a
	// session.
	IdleTimeout time.Duration
}

// A MikroTik is the router whose hotspot zonegate drives, or only examines.
type MikroTik struct {
	// Address is the host and port of the router's API. Empty means that there
	// is no such router, and then the other fields are empty too.
	Address string
	// User is the router's user to log in as.
	User string
	// PasswordFile is the absolute path of the file with its password.
	PasswordFile string
	// Fingerprint is the SHA-256 of the router's certificate, 64 small hex
	// digits; empty if Plain.
	Fingerprint string
	// Plain uses no TLS.
	Plain bool
	// Server is the hotspot server; empty where the router has one.
	Server string
	// Drives says that the sessions of the router are zonegate's, over the API.
	// Otherwise they are RADIUS's, and the router is only examined. It is never
	// set with a LAN.
	Drives bool
}

// Kinds of central servers.
const (
	// HubJoined is a hub of zonegate's own, which the zone joins.
	HubJoined = "hub"
	// HubRGZ is a server that has nothing but the RGZ billing API.
	HubRGZ = "rgz"
)

// A Hub is the central server of the operator.
type Hub struct {
	// Mode is HubJoined or HubRGZ. Empty means that there is none, and then the
	// other fields are empty too.
	Mode string
	// URL is the base URL of the API, without a final slash: https, or a server
	// on this machine.
	URL string
	// CAFile is the absolute path of a PEM file with the only authorities that
	// are believed; empty means those of the system.
	CAFile string
	// Poll is about how often the catalogue of an RGZ server is read, 1 min to
	// 24 h.
	Poll time.Duration
	// TokenFile is the absolute path of the file with the zone's token at an RGZ
	// server; without it nobody pays there by mobile money. Providers are the
	// ways to pay that are offered, and PayHosts what a customer's browser must
	// reach for it, as in Garden.
	TokenFile string
	Providers []string
	PayHosts  []string
}

// A Garden is what strangers may reach before they pay.
type Garden struct {
	// Domains holds lower-case names without final dot: "example.org" is that
	// name alone, "*.example.org" every name below it.
	Domains []string
}

// A Vouchers configures the redemption of codes.
type Vouchers struct {
	// WrongPerDevice is how many wrong codes one device may enter in ten
	// minutes; at least 1.
	WrongPerDevice int
}

// A Limits holds periods and units.
type Limits struct {
	// Checkpoint is the period at which usage is journaled, 1 s to 10 min. It
	// is the most usage that a power cut can lose.
	Checkpoint time.Duration
	// IdleTimeout ends a session without traffic.
	IdleTimeout time.Duration
	// Megabyte is 1,000,000 or 1,048,576 octets.
	Megabyte uint64
}

// A Plan is what is sold. It makes sense: its price is positive unless it is
// a trial, its time is positive, no CIR is above its MIR.
type Plan struct {
	// ID is 1 to 32 of a-z, 0-9, '-' and '_'.
	ID string
	// Name is shown to customers.
	Name string
	// PriceFCFA is in francs (the franc CFA has no smaller unit). It is 0
	// only if Trial is set.
	PriceFCFA int64
	// Duration is how long the plan lasts.
	Duration time.Duration
	// DataLimit is the data cap in octets, up and down together; 0 means none.
	DataLimit uint64
	// CIRUp, CIRDown, MIRUp and MIRDown are in bit/s seen from the customer.
	// A zero CIR commits nothing; a zero MIR means the rate of the link.
	CIRUp, CIRDown uint64
	MIRUp, MIRDown uint64
	// Online says that only time online counts. Otherwise the time runs on
	// the calendar from the first use.
	Online bool
	// DevicesMax is how many devices may use one purchase at once; at least 1.
	DevicesMax int
	// Trial marks a plan that may be free.
	Trial bool
}

// Reference is a complete configuration that documents every key.
//
//go:embed reference.toml
var Reference string

// Minimal is the configuration that a new gateway starts from.
//
//go:embed minimal.toml
var Minimal string
