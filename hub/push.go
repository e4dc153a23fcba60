package hub

import (
	"context"
	"encoding/json"
	"time"

	"zonegate/sync/api"
)

// All is the Share of a Target that leaves nobody out.
const All = 1 << 16

// A Target says whom a push is for. The zero Target is nobody.
type Target struct {
	// Site is one site. "" is every site that the rest does not leave out.
	Site     string
	Reseller string // "" is any
	Currency string // "" is any
	// Share is how many of 65536 buckets are in: 0 none, All everybody.
	Share uint32
}

// Everybody is every site.
var Everybody = Target{Share: All}

// Includes says whether the gateway is meant.
func (t Target) Includes(g Gateway) bool {
	if t.Site != "" {
		return t.Site == g.Site
	}
	return g.Bucket < t.Share && (t.Reseller == "" || t.Reseller == g.Reseller) &&
		(t.Currency == "" || t.Currency == g.Currency)
}

// A Push is one change for gateways. Numbers only grow, and become visible in
// their order: who has seen one never misses a lower one.
type Push struct {
	Seq    uint64
	Target Target
	Kind   string // of sync/api
	At     time.Time
	Body   json.RawMessage
	// Rollout is whose stage this is; mostly empty.
	Rollout string
}

// Sign makes a push travel. What is for many is signed for "*", so its octets
// are the same for all: sign once and send them to everyone it includes.
func (h *Hub) Sign(p Push) (api.Signed, error) { panic("soon") }

// Head is the number of the last push.
func (h *Hub) Head(ctx context.Context) (uint64, error) { panic("soon") }

// WaitPush returns when there is a push after this number, with the new head,
// or when ctx is over. It wakes at once for pushes of this process and, with
// PostgreSQL, of others; within a second otherwise.
func (h *Hub) WaitPush(ctx context.Context, after uint64) (uint64, error) { panic("soon") }

// Pushes are those after a number, for whomever: what one process fans out to
// its streams.
func (h *Hub) Pushes(ctx context.Context, after uint64, max int) ([]Push, error) { panic("soon") }

// PushesFor are those after a number for one gateway: what a stream begins
// with, and what polling gets. The head is that of the same moment: with fewer
// than max pushes there is nothing more up to it. A revoked gateway gets the
// push that says so alone.
func (h *Hub) PushesFor(ctx context.Context, g Gateway, after uint64, max int) (pushes []Push, head uint64, err error) {
	panic("soon")
}

// A Setting is a change of a gateway's settings: Body is an api.Brand,
// api.Garden, api.Link or api.Message.
type Setting struct {
	Target Target // Share 0 is taken for All
	Body   any
	Staged *Staging
}

// PushSetting is for admins, and for resellers about their own sites. An
// InputError says what makes no sense.
func (h *Hub) PushSetting(ctx context.Context, by Actor, s Setting) (Push, Rollout, error) {
	panic("soon")
}

// Acks takes a gateway's answers. Refusals raise an alarm and may stop a
// rollout. A gateway that has a newer version of a plan makes the hub number
// it anew above that.
func (h *Hub) Acks(ctx context.Context, g Gateway, a api.Acks) error { panic("soon") }

// An Ack is what became of a push on a gateway; the last answer counts.
type Ack struct {
	Seq     uint64
	Gateway string
	Outcome string // api.Applied, api.Refused, api.RolledBack
	Reason  string
	Have    uint32
	At      time.Time
}

// AcksOf are the answers to a push that were not "applied", the newest first,
// and how many were.
func (h *Hub) AcksOf(ctx context.Context, by Actor, seq uint64, max int) (refused []Ack, applied int, err error) {
	panic("soon")
}
