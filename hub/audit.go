package hub

import (
	"context"
	"strings"
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

// note adds a line, in the transaction of the deed itself.
func (h *Hub) note(tx Tx, by Actor, what, subject, detail string) error {
	id, err := h.newID()
	if err != nil {
		return err
	}
	return tx.AddDeed(Deed{ID: id, At: h.at(), By: by.Name, User: by.User, What: what, Subject: subject, Detail: clip(detail, 500)})
}

// Those who act without being users.
var (
	theHub     = Actor{Name: "hub", Role: RoleAdmin}
	theGateway = Actor{Name: "gateway"}
)

// clip cuts text that came from outside at a rune, and takes out what a
// database cannot keep.
func clip(s string, max int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?")
	if len(s) <= max {
		return s
	}
	for max > 0 && s[max]&0xc0 == 0x80 {
		max--
	}
	return s[:max]
}

// Deeds are the newest first, before an ID (empty: from the newest). Admins
// only.
func (h *Hub) Deeds(ctx context.Context, by Actor, before string, max int) (deeds []Deed, err error) {
	if by.Role != RoleAdmin {
		return nil, ErrForbidden
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		deeds, err = tx.Deeds(before, page(max))
		return err
	})
	return deeds, err
}

// page is how many lines a list has.
func page(max int) int {
	if max < 1 {
		return 100
	}
	return min(max, 1000)
}
