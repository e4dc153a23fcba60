package hub

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"zonegate"
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

// currency checks an ISO 4217 code.
func currency(c string) error {
	if len(c) != 3 || c[0] < 'A' || c[0] > 'Z' || c[1] < 'A' || c[1] > 'Z' || c[2] < 'A' || c[2] > 'Z' {
		return invalid("the currency must be three capital letters, as XOF")
	}
	return nil
}

// CreateSite is for admins, and for resellers within their limit.
func (h *Hub) CreateSite(ctx context.Context, by Actor, reseller, name, cur string) (Site, error) {
	if !by.manages(reseller) {
		return Site{}, ErrForbidden
	}
	name, err := title(name)
	if err != nil {
		return Site{}, err
	}
	if err := currency(cur); err != nil {
		return Site{}, err
	}
	id, err := h.newID()
	if err != nil {
		return Site{}, err
	}
	var drawn [34]byte
	if _, err := io.ReadFull(h.random, drawn[:]); err != nil {
		return Site{}, fmt.Errorf("drawing a site's code key: %w", err)
	}
	sealed, err := h.seal(id, [32]byte(drawn[:32]))
	if err != nil {
		return Site{}, err
	}
	s := Site{ID: id, Reseller: reseller, Name: name, Currency: cur, Created: h.at(),
		CodeKey: sealed, Bucket: uint32(binary.BigEndian.Uint16(drawn[32:]))}
	return s, h.store.Write(ctx, func(tx Tx) error {
		if err := tx.Lock("reseller/" + reseller); err != nil {
			return err
		}
		r, err := tx.Reseller(reseller)
		if err != nil {
			return fmt.Errorf("looking up the reseller: %w", err)
		}
		have, err := tx.Sites(reseller)
		if err != nil {
			return err
		}
		if len(have) >= r.Limits.Sites {
			return fmt.Errorf("%w: %d sites", ErrLimit, r.Limits.Sites)
		}
		if err := tx.AddSite(s); err != nil {
			return err
		}
		return h.note(tx, by, "site.create", s.ID, s.Name)
	})
}

// Sites are those of a reseller, or with "" all that by may see, by name.
func (h *Hub) Sites(ctx context.Context, by Actor, reseller string) (sites []Site, err error) {
	if reseller, err = by.scope(reseller); err != nil {
		return nil, err
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		sites, err = tx.Sites(reseller)
		return err
	})
	return sites, err
}

// An Enrolment lets one gateway in, once.
type Enrolment struct {
	// Code is shown once; the hub keeps its hash.
	Code    string
	Site    string
	Expires time.Time
}

// NewEnrolment makes a one-time code for a site. It is good for life (1 minute
// to 30 days), and voids the site's unused codes before it.
func (h *Hub) NewEnrolment(ctx context.Context, by Actor, site string, life time.Duration) (Enrolment, error) {
	if life < time.Minute || life > 30*24*time.Hour {
		return Enrolment{}, invalid("a code to enrol is good for 1 minute to 30 days")
	}
	var code string
	for range 2 { // 70 random bits
		part, err := zonegate.NewCode(h.random)
		if err != nil {
			return Enrolment{}, err
		}
		code += "-" + part
	}
	e := Enrolment{Code: code[1:], Site: site, Expires: h.at().Add(life)}
	return e, h.store.Write(ctx, func(tx Tx) error {
		s, err := tx.Site(site)
		if err != nil {
			return err
		}
		if !by.manages(s.Reseller) {
			return ErrForbidden
		}
		if err := tx.PutEnrolment(h.enrolHash(e.Code), site, e.Expires); err != nil {
			return err
		}
		return h.note(tx, by, "site.enrolment", site, s.Name)
	})
}

func (h *Hub) enrolHash(code string) string {
	return h.codeHash("enrol", zonegate.NormalizeCode(code))
}
