package hub

import (
	"context"
	"time"

	"zonegate"
	"zonegate/sync/api"
)

// A Forfait is one version of what is sold, and who sells it: every site with
// the currency of its price, or those of one reseller.
type Forfait struct {
	Plan     zonegate.Plan
	Reseller string // "" is all
	At       time.Time
	// Target is how far this version has come; see Rollout.
	Target Target
	// Seq is the last push of this version.
	Seq uint64
}

// A ForfaitChange makes a forfait, or a new version of one.
type ForfaitChange struct {
	// Plan with an empty ID is a new forfait. Version and Withdrawn are not
	// looked at; the hub numbers.
	Plan     zonegate.Plan
	Reseller string // of a new forfait only; "" is all
	// Running says that what was sold before goes over to this version too;
	// otherwise it is for new sales only.
	Running bool
	// Staged lets it out step by step: 1 gateway, 10 %, all.
	Staged *Staging
}

// SetForfait is for admins, and for resellers about their own. An InputError
// says everything that makes no sense, and the version before stays. The same
// offer again gives the version that is there. The Rollout is empty if not
// staged.
func (h *Hub) SetForfait(ctx context.Context, by Actor, c ForfaitChange) (Forfait, Rollout, error) {
	panic("soon")
}

// WithdrawForfait takes a forfait off sale. What was bought keeps its value.
func (h *Hub) WithdrawForfait(ctx context.Context, by Actor, id string) (Forfait, error) {
	panic("soon")
}

// Forfaits are the newest versions on sale that went out to all, by name:
// those for everybody, and with a reseller his own too.
func (h *Hub) Forfaits(ctx context.Context, reseller string) ([]Forfait, error) { panic("soon") }

// ForfaitVersions is the history of one, newest first.
func (h *Hub) ForfaitVersions(ctx context.Context, by Actor, id string) ([]Forfait, error) {
	panic("soon")
}

// Catalogue is what a gateway sells: of every forfait the newest version that
// has come to it. Its Version only grows, and changes with every change.
func (h *Hub) Catalogue(ctx context.Context, g Gateway) (api.Catalogue, error) { panic("soon") }
