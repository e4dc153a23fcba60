package hub

import (
	"context"
	"time"

	"zonegate/sync/api"
)

// A Batch is vouchers that were made together.
type Batch struct {
	ID       string
	Reseller string
	Site     string // "" is roaming: good at all sites of the reseller, online
	Forfait  string
	Version  uint32
	Expires  time.Time // last moment of the first use; zero is never
	Made     time.Time
	By       string // user name
	Revoked  bool
	Total    int
	Used     int
}

// A Generate asks for vouchers.
type Generate struct {
	N        int // 1 to 10,000
	Forfait  string
	Reseller string
	// Site binds the codes. "" is the reseller's only site, or with several
	// roaming.
	Site    string
	Expires time.Time
	// Batch is the name of it; "" draws one. A name that was used is
	// ErrExists: the codes of a lost answer are never shown again, revoke them.
	Batch string
}

// Generate makes vouchers and pushes them to their site. The codes are in the
// answer and nowhere else. ErrLimit above the reseller's limit.
func (h *Hub) Generate(ctx context.Context, by Actor, q Generate) (Batch, []string, error) {
	panic("soon")
}

// RevokeBatch makes the unused codes of a batch worthless.
func (h *Hub) RevokeBatch(ctx context.Context, by Actor, batch, reason string) error { panic("soon") }

// Batches of a reseller, or with "" all that by may see, newest first.
func (h *Hub) Batches(ctx context.Context, by Actor, reseller string, max int) ([]Batch, error) {
	panic("soon")
}

// Claim redeems a roaming code for a device at a gateway: one
// compare-and-set. ErrNotFound (a wrong code, or one of another reseller),
// ErrUsed, ErrExpired, ErrRevoked. The same claim from the same site and
// device gives the same grant again.
func (h *Hub) Claim(ctx context.Context, g Gateway, c api.Claim) (api.Signed, error) { panic("soon") }

// A Grant is a right that the hub itself has given out: a claimed roaming
// voucher, or a purchase.
type Grant struct {
	ID      string
	Site    string
	Forfait string
	Version uint32
	// Device is the address it was made for; empty with a code.
	Device string
	// Source is "voucher" or "issued", Ref the voucher's key or the batch.
	Source, Ref string
	Expires     time.Time
	Made        time.Time
	Revoked     bool
}

// An IssueGrant asks for a grant at a site.
type IssueGrant struct {
	Site    string
	Forfait string
	// Device gets it at once; without one a claim code is made for the site.
	Device  string
	Expires time.Time
	// Ref names what it is for, once: the same again gives the same grant.
	Ref string
}

// IssueGrant gives a grant out and pushes it. The code is empty with a device,
// and when the same Ref was issued before.
func (h *Hub) IssueGrant(ctx context.Context, by Actor, q IssueGrant) (Grant, string, error) {
	panic("soon")
}

// RevokeGrant ends a grant of the hub's.
func (h *Hub) RevokeGrant(ctx context.Context, by Actor, id, reason string) error { panic("soon") }
