package hub

import (
	"context"
	"fmt"
	"strings"
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

// String is how the audit log has them.
func (l Limits) String() string {
	return fmt.Sprintf("vouchers %d, sites %d, gateways %d", l.Vouchers, l.Sites, l.Gateways)
}

func (l Limits) check() error {
	for _, n := range []int{l.Vouchers, l.Sites, l.Gateways} {
		if n < 0 || n > 1e9 {
			return invalid("a limit must be 0 to 1,000,000,000")
		}
	}
	return nil
}

// title checks a name for people.
func title(name string) (string, error) {
	name = strings.TrimSpace(name)
	if name == "" || len(name) > 100 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
		return "", invalid("the name must have 1 to 100 letters, on one line")
	}
	return name, nil
}

// CreateReseller is for admins.
func (h *Hub) CreateReseller(ctx context.Context, by Actor, name string, l Limits) (Reseller, error) {
	if by.Role != RoleAdmin {
		return Reseller{}, ErrForbidden
	}
	name, err := title(name)
	if err != nil {
		return Reseller{}, err
	}
	if err := l.check(); err != nil {
		return Reseller{}, err
	}
	id, err := h.newID()
	if err != nil {
		return Reseller{}, err
	}
	r := Reseller{ID: id, Name: name, Limits: l, Created: h.at()}
	return r, h.store.Write(ctx, func(tx Tx) error {
		if err := tx.AddReseller(r); err != nil {
			return err
		}
		return h.note(tx, by, "reseller.create", r.ID, r.Name+": "+l.String())
	})
}

// ChangeReseller sets name and limits. What is above a new limit stays.
func (h *Hub) ChangeReseller(ctx context.Context, by Actor, id, name string, l Limits) error {
	if by.Role != RoleAdmin {
		return ErrForbidden
	}
	name, err := title(name)
	if err != nil {
		return err
	}
	if err := l.check(); err != nil {
		return err
	}
	return h.store.Write(ctx, func(tx Tx) error {
		if err := tx.Lock("reseller/" + id); err != nil {
			return err
		}
		if err := tx.ChangeReseller(Reseller{ID: id, Name: name, Limits: l}); err != nil {
			return err
		}
		return h.note(tx, by, "reseller.change", id, name+": "+l.String())
	})
}

// Resellers are those that by may see, by name.
func (h *Hub) Resellers(ctx context.Context, by Actor) (rs []Reseller, err error) {
	id, err := by.scope("")
	if err != nil {
		return nil, err
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		rs, err = tx.Resellers(id)
		return err
	})
	return rs, err
}
