package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"zonegate/sync/api"
)

// A Grant is a right that the hub itself has given out: a claimed roaming
// voucher, or a purchase.
type Grant struct {
	ID      string
	Site    string
	Forfait string
	Version uint32
	// Device is the address it was made for; empty with a code.
	Device string
	// Source is "voucher", "issued" or "payment", Ref the voucher's key, what it
	// was issued for or the payment. The pair is unique.
	Source, Ref string
	// Key is the hash of its claim code, in hex; empty with a Device that did
	// not pay for it.
	Key     string
	Expires time.Time
	Made    time.Time
	Revoked bool
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

const (
	fromVoucher = "voucher"
	fromIssue   = "issued"
)

// maxWrong is how many claims of a gateway may fail on a day: codes are short
// enough to be guessed by one that asks for ever. It is counted by each process
// of the hub, from its start.
const maxWrong = 300

// Claim redeems a roaming code for a device at a gateway, unless too many that
// it asked for today were not good: a TriesError.
func (h *Hub) Claim(ctx context.Context, g Gateway, c api.Claim) (api.Signed, error) {
	now := h.now().In(h.zone)
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, h.zone)
	if h.fleet.wrong(g.ID, day, 0) >= maxWrong {
		if h.fleet.alarm(g.ID, AlarmTries, now) {
			if err := h.raise(ctx, g, AlarmTries, fmt.Sprintf("%d codes that were not good were asked for on %s: somebody may be guessing. Further ones are refused until tomorrow", maxWrong, day.Format(time.DateOnly))); err != nil {
				return api.Signed{}, err
			}
		}
		return api.Signed{}, &TriesError{day.AddDate(0, 0, 1).Sub(now)}
	}
	signed, err := h.redeem(ctx, g, c)
	for _, no := range []error{ErrNotFound, ErrUsed, ErrExpired, ErrRevoked} {
		if errors.Is(err, no) {
			h.fleet.wrong(g.ID, day, 1)
			break
		}
	}
	return signed, err
}

// redeem is one compare-and-set. ErrNotFound (a wrong code, or one of another reseller),
// ErrUsed, ErrExpired, ErrRevoked. The same claim from the same site and
// device gives the same grant again.
func (h *Hub) redeem(ctx context.Context, g Gateway, c api.Claim) (api.Signed, error) {
	device, err := deviceOf(c.Device)
	if err != nil {
		return api.Signed{}, err
	}
	if len(c.Code) == 0 || len(c.Code) > 64 {
		return api.Signed{}, ErrNotFound
	}
	id, err := h.newID()
	if err != nil {
		return api.Signed{}, err
	}
	var signed api.Signed
	err = h.store.Write(ctx, func(tx Tx) error {
		grant, err := h.claim(tx, g, id, device, c.Code)
		if err != nil {
			return err
		}
		body, err := h.grantBody(tx, grant)
		if err != nil {
			return err
		}
		signed, err = h.Sign(Push{Target: Target{Site: g.Site}, Kind: api.KindGrant, At: grant.Made, Body: body})
		return err
	})
	return signed, err
}

func (h *Hub) claim(tx Tx, g Gateway, id, device, code string) (Grant, error) {
	key := voucherKey(h.keys.Roaming, code)
	batch, made, used, err := tx.Voucher(key)
	if errors.Is(err, ErrNotFound) {
		err = h.elsewhere(tx, g, code)
	}
	if err != nil {
		return Grant{}, err
	}
	b, err := tx.Batch(batch)
	if err != nil {
		return Grant{}, err
	}
	if b.Reseller != g.Reseller {
		return Grant{}, ErrNotFound
	}
	if !used {
		switch {
		case b.Revoked:
			return Grant{}, ErrRevoked
		case !b.Expires.IsZero() && h.at().After(b.Expires):
			return Grant{}, ErrExpired
		}
		first, err := tx.ClaimVoucher(key, id, h.at())
		if err != nil {
			return Grant{}, err
		}
		if first {
			grant := Grant{ID: id, Site: g.Site, Forfait: b.Forfait, Version: b.Version, Device: device,
				Source: fromVoucher, Ref: key, Made: h.at()}
			if err := tx.AddGrant(grant); err != nil {
				return Grant{}, err
			}
			return grant, h.note(tx, theGateway, "voucher.claim", b.ID, "grant "+id+" at site "+g.Site)
		}
		if _, made, _, err = tx.Voucher(key); err != nil {
			return Grant{}, err
		}
	}
	if made == "" {
		return Grant{}, ErrUsed
	}
	grant, err := tx.Grant(made)
	switch {
	case err != nil:
		return Grant{}, err
	case grant.Site != g.Site || grant.Device != device:
		return Grant{}, ErrUsed
	case grant.Revoked:
		return Grant{}, ErrRevoked
	}
	return grant, nil
}

// elsewhere is ErrNotFound, or says at which site of the reseller a code was
// paid for.
func (h *Hub) elsewhere(tx Tx, g Gateway, code string) error {
	sites, err := tx.Sites(g.Reseller)
	if err != nil {
		return err
	}
	for _, s := range sites {
		if s.ID == g.Site { // its gateway has the grant, or gets the push
			continue
		}
		key, err := h.unseal(s)
		if err != nil {
			return err
		}
		grant, err := tx.GrantByKey(voucherKey(key, code))
		if errors.Is(err, ErrNotFound) || err == nil && grant.Source != fromPayment {
			continue
		} else if err != nil {
			return err
		}
		return &ElsewhereError{s.Name}
	}
	return ErrNotFound
}

// deviceOf returns a device's address as it is kept.
func deviceOf(s string) (string, error) {
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 {
		return "", invalid("%q is not a device's address", clip(s, 40))
	}
	return mac.String(), nil
}

// grantBody is the push of a grant, with what the database has of it.
func (h *Hub) grantBody(tx Tx, g Grant) (json.RawMessage, error) {
	f, err := tx.Forfait(g.Forfait, g.Version)
	if err != nil {
		return nil, fmt.Errorf("looking up a forfait: %w", err)
	}
	intent := ""
	if g.Source == fromPayment {
		p, err := tx.Payment(g.Ref)
		if err != nil {
			return nil, fmt.Errorf("looking up the payment of a grant: %w", err)
		}
		intent = p.Intent
	}
	return grantBody(g, f, intent)
}

func (h *Hub) pushGrant(tx Tx, g Grant) error {
	body, err := h.grantBody(tx, g)
	if err != nil {
		return err
	}
	_, err = h.push(tx, Target{Site: g.Site}, api.KindGrant, body, "")
	return err
}

// IssueGrant gives a grant out and pushes it. The code is empty with a device,
// and when the same Ref was issued before. Admins only: its sale counts as
// money that the platform holds.
func (h *Hub) IssueGrant(ctx context.Context, by Actor, q IssueGrant) (Grant, string, error) {
	if by.Role != RoleAdmin {
		return Grant{}, "", ErrForbidden
	}
	if q.Ref == "" || len(q.Ref) > 100 {
		return Grant{}, "", invalid("say what the grant is for, in 1 to 100 letters that are never used again")
	}
	if !q.Expires.IsZero() && !q.Expires.After(h.at()) {
		return Grant{}, "", invalid("the grant would be out of date already")
	}
	if err := checkExpires(q.Expires); err != nil {
		return Grant{}, "", err
	}
	device := ""
	var err error
	if q.Device != "" {
		if device, err = deviceOf(q.Device); err != nil {
			return Grant{}, "", err
		}
	}
	id, err := h.newID()
	if err != nil {
		return Grant{}, "", err
	}
	var g Grant
	var code string
	err = h.store.Write(ctx, func(tx Tx) error {
		code = ""
		site, err := tx.Site(q.Site)
		if err != nil {
			return fmt.Errorf("looking up the site: %w", err)
		}
		if err := tx.Lock("grant/" + q.Ref); err != nil {
			return err
		}
		if g, err = tx.GrantByRef(fromIssue, q.Ref); err == nil {
			if g.Site != site.ID || g.Forfait != q.Forfait || g.Device != device {
				return fmt.Errorf("%w: %q was issued for something else", ErrExists, q.Ref)
			}
			return nil
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
		f, err := h.onSale(tx, q.Forfait, site.Reseller, site.Currency)
		if err != nil {
			return err
		}
		g = Grant{ID: id, Site: site.ID, Forfait: f.Plan.ID, Version: f.Plan.Version, Device: device,
			Source: fromIssue, Ref: q.Ref, Made: h.at()}
		if !q.Expires.IsZero() {
			g.Expires = q.Expires.UTC().Truncate(time.Millisecond)
		}
		if device == "" {
			key, err := h.unseal(site)
			if err != nil {
				return err
			}
			codes, keys, err := h.draw(key, 1)
			if err != nil {
				return err
			}
			code, g.Key = codes[0], keys[0]
		}
		if err := tx.AddGrant(g); err != nil {
			return err
		}
		if err := h.pushGrant(tx, g); err != nil {
			return err
		}
		return h.note(tx, by, "grant.issue", g.ID, q.Ref)
	})
	if err != nil {
		return Grant{}, "", err
	}
	return g, code, nil
}

// RevokeGrant ends a grant of the hub's.
func (h *Hub) RevokeGrant(ctx context.Context, by Actor, id, reason string) error {
	return h.store.Write(ctx, func(tx Tx) error {
		g, err := tx.Grant(id)
		if err != nil {
			return err
		}
		site, err := tx.Site(g.Site)
		if err != nil {
			return err
		}
		if !by.manages(site.Reseller) {
			return ErrForbidden
		}
		if g.Source == fromPayment {
			return invalid("this was paid for by a customer: refund the payment, which revokes it first")
		}
		if g.Revoked {
			return nil
		}
		if err := tx.RevokeGrant(id); err != nil {
			return err
		}
		body := api.GrantRevoked{Grant: id, Reason: clip(reason, 200)}
		if _, err := h.pushBody(tx, Target{Site: g.Site}, api.KindGrantRevoked, body, ""); err != nil {
			return err
		}
		return h.note(tx, by, "grant.revoke", id, reason)
	})
}
