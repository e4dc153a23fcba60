package hub

import (
	"context"
	"time"

	"zonegate/sync/api"
)

// A Gateway is a router that was enrolled. A site has one that is not revoked
// at most.
type Gateway struct {
	ID       string
	Site     string
	Reseller string
	Name     string
	Enrolled time.Time
	Revoked  bool
	Reason   string // why it was revoked
	// Currency and Bucket are the site's: see Target.Includes.
	Currency string
	Bucket   uint32
	// NextEntry is the number that the hub expects of the next entry.
	NextEntry uint64
	// Head is the last push when this was read.
	Head uint64
}

// Enrol lets a gateway in by its one-time code: ErrUnauthorized, ErrUsed (by
// another instance), ErrExpired, ErrLimit. The same instance gets a fresh
// token while the code lives. The site's gateway before it is revoked; what
// the site had (settings, unused vouchers) is pushed to the new one again.
func (h *Hub) Enrol(ctx context.Context, e api.Enrol) (api.Enrolled, error) { panic("soon") }

// Authenticate returns the gateway of a bearer token: ErrUnauthorized, or
// ErrRevoked together with the gateway, which may then only be told why
// (PushesFor gives it nothing else).
func (h *Hub) Authenticate(ctx context.Context, token string) (Gateway, error) { panic("soon") }

// Heartbeat notes how a gateway is (durable within 10 seconds, see Run) and
// answers with the signed time. Two installations behind one identity, and a
// gateway that has applied more than the hub ever pushed, raise alarms; the
// latter also lifts the hub's sequence above it.
func (h *Hub) Heartbeat(ctx context.Context, g Gateway, b api.Heartbeat) (api.Beat, error) {
	panic("soon")
}

// RevokeGateway takes a gateway off the hub; it is told by a push.
func (h *Hub) RevokeGateway(ctx context.Context, by Actor, gateway, reason string) error {
	panic("soon")
}

// A Status is how a gateway was when it was last heard.
type Status struct {
	Seen time.Time // zero: never
	// Boot and Instance are random names; see api.Heartbeat.
	Boot, Instance string
	Version        string
	Uptime         time.Duration
	Applied        uint64
	Plans          uint64
	Entry, Unsent  uint64
	Sessions       int
	Vouchers       int
	ClockTrusted   bool
	Health         []api.Health
}

// A Member is a line of the fleet page.
type Member struct {
	Gateway
	SiteName     string
	ResellerName string
	Status       Status
	// Alarms are those not cleared.
	Alarms []Alarm
}

// A FleetQuery asks for a page of the fleet, ordered by site name and id.
type FleetQuery struct {
	Reseller string // "" is all that the actor may see
	// Troubled leaves out those without alarm and with a heartbeat within 5
	// minutes.
	Troubled bool
	Revoked  bool // revoked ones too
	// After is the ID of the last line of the page before.
	After string
	Max   int // 0 is 100
}

// Fleet is a page of gateways with their status.
func (h *Hub) Fleet(ctx context.Context, by Actor, q FleetQuery) ([]Member, error) { panic("soon") }

// Kinds of an Alarm.
const (
	AlarmTwin     = "twin"     // two installations with one identity
	AlarmAhead    = "ahead"    // it applied pushes that the hub does not have: the hub was restored
	AlarmLost     = "lost"     // entries are gone for good
	AlarmConflict = "conflict" // it sent a known entry with another content
	AlarmTwice    = "twice"    // it sold a voucher or purchase that was sold before
	AlarmRefused  = "refused"  // it refused a push, or rolled it back
	AlarmUnknown  = "unknown"  // it sent entries of a kind that this hub does not know
)

// An Alarm is something about a gateway that a person should look at. Raised
// again it counts up.
type Alarm struct {
	Gateway string
	Kind    string
	Detail  string
	First   time.Time
	Last    time.Time
	Count   int64
}

// ClearAlarm says that somebody has looked.
func (h *Hub) ClearAlarm(ctx context.Context, by Actor, gateway, kind string) error { panic("soon") }
