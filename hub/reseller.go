package hub

import (
	"context"
	"time"
)

// A Reseller sells at his sites.
type Reseller struct {
	ID      string
	Name    string
	Limits  Limits
	Created time.Time
}

// Limits bound what a reseller can have. Zero is none at all.
type Limits struct {
	// Vouchers is how many may be unused at one time.
	Vouchers int
	Sites    int
	// Gateways is how many may be enrolled and not revoked.
	Gateways int
}

// CreateReseller is for admins.
func (h *Hub) CreateReseller(ctx context.Context, by Actor, name string, l Limits) (Reseller, error) {
	panic("soon")
}

// ChangeReseller sets name and limits. What is above a new limit stays.
func (h *Hub) ChangeReseller(ctx context.Context, by Actor, id, name string, l Limits) error {
	panic("soon")
}

// Resellers are those that by may see, by name.
func (h *Hub) Resellers(ctx context.Context, by Actor) ([]Reseller, error) { panic("soon") }
