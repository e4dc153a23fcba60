package hub

import (
	"context"
	"time"
)

// A Site is a place where one gateway sells.
type Site struct {
	ID       string
	Reseller string
	Name     string
	// Currency is that of the forfaits on sale here (ISO 4217).
	Currency string
	// Bucket (0 to 65535) is where the site stands in a rollout; drawn once.
	Bucket  uint32
	Created time.Time
	// CodeKey hashes the codes of this site, sealed with Keys.Seal.
	CodeKey []byte
}

// CreateSite is for admins, and for resellers within their limit.
func (h *Hub) CreateSite(ctx context.Context, by Actor, reseller, name, currency string) (Site, error) {
	panic("soon")
}

// Sites are those of a reseller, or with "" all that by may see, by name.
func (h *Hub) Sites(ctx context.Context, by Actor, reseller string) ([]Site, error) { panic("soon") }

// An Enrolment lets one gateway in, once.
type Enrolment struct {
	// Code is shown once; the hub keeps its hash.
	Code    string
	Site    string
	Expires time.Time
}

// NewEnrolment makes a one-time code for a site. It is good for life (1 minute
// to 30 days), and voids the site's codes before it.
func (h *Hub) NewEnrolment(ctx context.Context, by Actor, site string, life time.Duration) (Enrolment, error) {
	panic("soon")
}
