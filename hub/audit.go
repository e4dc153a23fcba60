package hub

import (
	"context"
	"time"
)

// A Deed is a line of the audit log: who did what to what, when. Lines are
// added and never changed. No secret is in it.
type Deed struct {
	ID      string // grows with time
	At      time.Time
	By      string // user name, "gateway" or "hub"
	User    string // user id
	What    string // as "voucher.generate"
	Subject string // id
	Detail  string
}

// Deeds are the newest first, before an ID (empty: from the newest). Admins
// only.
func (h *Hub) Deeds(ctx context.Context, by Actor, before string, max int) ([]Deed, error) {
	panic("soon")
}
