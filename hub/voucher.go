package hub

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"zonegate"
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

const maxGenerate = 10_000

// Generate makes vouchers and pushes them to their site. The codes are in the
// answer and nowhere else. ErrLimit above the reseller's limit.
func (h *Hub) Generate(ctx context.Context, by Actor, q Generate) (Batch, []string, error) {
	if !by.manages(q.Reseller) {
		return Batch{}, nil, ErrForbidden
	}
	if q.N < 1 || q.N > maxGenerate {
		return Batch{}, nil, invalid("vouchers are made 1 to %d at a time, not %d", maxGenerate, q.N)
	}
	if !q.Expires.IsZero() && !q.Expires.After(h.at()) {
		return Batch{}, nil, invalid("the vouchers would be out of date already")
	}
	if err := checkExpires(q.Expires); err != nil {
		return Batch{}, nil, err
	}
	if err := batchName(q.Batch); err != nil {
		return Batch{}, nil, err
	}
	var b Batch
	var codes []string
	generate := func(tx Tx) (err error) {
		b, codes, err = h.generate(tx, by, q)
		return err
	}
	err := h.store.Write(ctx, generate)
	if errors.Is(err, errKnownCode) { // one in millions: draw again
		err = h.store.Write(ctx, generate)
	}
	if err != nil {
		return Batch{}, nil, err
	}
	return b, codes, nil
}

// checkExpires refuses what gateways refuse: the codes would be made, and
// nobody would take them.
func checkExpires(t time.Time) error {
	if t.Year() > 2200 {
		return invalid("the last day is in the year %d; leave it out for codes that are good for ever", t.Year())
	}
	return nil
}

var errKnownCode = errors.New("a code that was drawn is in use")

// batchName checks the name of a batch: it is written on vouchers and typed.
func batchName(name string) error {
	if len(name) > 40 || strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	}) {
		return invalid("the name of a batch has 40 letters, digits, dashes, dots and underscores at most")
	}
	return nil
}

func (h *Hub) generate(tx Tx, by Actor, q Generate) (Batch, []string, error) {
	if err := tx.Lock("reseller/" + q.Reseller); err != nil {
		return Batch{}, nil, err
	}
	r, err := tx.Reseller(q.Reseller)
	if err != nil {
		return Batch{}, nil, fmt.Errorf("looking up the reseller: %w", err)
	}
	have, err := tx.CountUnused(r.ID, h.at())
	if err != nil {
		return Batch{}, nil, err
	}
	if have+q.N > r.Limits.Vouchers {
		return Batch{}, nil, fmt.Errorf("%w: %d vouchers unused, %d are there", ErrLimit, r.Limits.Vouchers, have)
	}
	sites, err := tx.Sites(r.ID)
	if err != nil {
		return Batch{}, nil, err
	}
	b := Batch{ID: q.Batch, Reseller: r.ID, Forfait: q.Forfait, Expires: q.Expires.UTC().Truncate(time.Millisecond),
		Made: h.at(), By: by.Name, Total: q.N}
	if q.Expires.IsZero() {
		b.Expires = time.Time{}
	}
	key, cur := h.keys.Roaming, ""
	switch {
	case len(sites) == 0:
		return Batch{}, nil, invalid("the reseller has no site")
	case q.Site == "" && len(sites) > 1:
		cur = sites[0].Currency
		for _, s := range sites {
			if s.Currency != cur {
				return Batch{}, nil, invalid("the reseller's sites have several currencies: name the site")
			}
		}
	default:
		site := sites[0]
		for _, s := range sites {
			if s.ID == q.Site {
				site = s
			}
		}
		if q.Site != "" && site.ID != q.Site {
			return Batch{}, nil, fmt.Errorf("looking up the site: %w", ErrNotFound)
		}
		b.Site, cur = site.ID, site.Currency
		if key, err = h.unseal(site); err != nil {
			return Batch{}, nil, err
		}
	}
	f, err := h.onSale(tx, q.Forfait, r.ID, cur)
	if err != nil {
		return Batch{}, nil, err
	}
	b.Version = f.Plan.Version
	codes, keys, err := h.draw(key, q.N)
	if err != nil {
		return Batch{}, nil, err
	}
	if b.ID == "" {
		name, err := zonegate.NewCode(h.random)
		if err != nil {
			return Batch{}, nil, err
		}
		b.ID = h.at().Format("0601") + "-" + name
	}
	if err := tx.AddBatch(b); err != nil {
		return Batch{}, nil, err
	}
	if err := tx.AddVouchers(b.ID, keys); errors.Is(err, ErrExists) {
		return Batch{}, nil, errKnownCode
	} else if err != nil {
		return Batch{}, nil, err
	}
	if b.Site != "" {
		if err := h.pushBatch(tx, b, keys); err != nil {
			return Batch{}, nil, err
		}
	}
	return b, codes, h.note(tx, by, "voucher.generate", b.ID, fmt.Sprintf("%d of %s for %s", q.N, f.subject(), r.Name))
}

// draw makes codes that differ, and their hashes.
func (h *Hub) draw(key [32]byte, n int) (codes, keys []string, err error) {
	seen := make(map[string]bool, n)
	for len(codes) < n {
		code, err := zonegate.NewCode(h.random)
		if err != nil {
			return nil, nil, err
		}
		if !seen[code] {
			seen[code] = true
			codes = append(codes, code)
			keys = append(keys, voucherKey(key, code))
		}
	}
	return codes, keys, nil
}

// onSale is the version of a forfait that can be sold: the newest that went
// out to all.
func (h *Hub) onSale(tx Tx, id, reseller, cur string) (Forfait, error) {
	versions, err := tx.ForfaitVersions(id)
	if err != nil {
		return Forfait{}, err
	}
	for _, f := range versions {
		if f.Target.Share != All {
			continue
		}
		switch {
		case f.Plan.Withdrawn:
			return Forfait{}, invalid("the forfait %q is withdrawn", f.Plan.Name)
		case f.Reseller != "" && f.Reseller != reseller:
			return Forfait{}, fmt.Errorf("looking up the forfait: %w", ErrNotFound)
		case f.Plan.Price.Currency != cur:
			return Forfait{}, invalid("the forfait %q costs %s and the site sells in %s", f.Plan.Name, f.Plan.Price.Currency, cur)
		}
		return f, nil
	}
	if len(versions) > 0 {
		return Forfait{}, invalid("the forfait %q is not out to all sites yet", versions[0].Plan.Name)
	}
	return Forfait{}, fmt.Errorf("looking up the forfait: %w", ErrNotFound)
}

// pushBatch sends keys of a batch to its site, in as many pushes as it takes.
func (h *Hub) pushBatch(tx Tx, b Batch, keys []string) error {
	f, err := tx.Forfait(b.Forfait, b.Version)
	if err != nil {
		return err
	}
	body := api.BatchIssued{Batch: b.ID, Plan: WirePlan(f.Plan), Expires: optional(b.Expires)}
	for len(keys) > 0 {
		part := keys[:min(len(keys), api.MaxKeys)]
		keys = keys[len(part):]
		body.Keys = make([][]byte, len(part))
		for i, k := range part {
			if body.Keys[i], err = hex.DecodeString(k); err != nil {
				return fmt.Errorf("reading a voucher's key: %w", err)
			}
		}
		if _, err := h.pushBody(tx, Target{Site: b.Site}, api.KindBatch, body, ""); err != nil {
			return err
		}
	}
	return nil
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// RevokeBatch makes the unused codes of a batch worthless.
func (h *Hub) RevokeBatch(ctx context.Context, by Actor, batch, reason string) error {
	return h.store.Write(ctx, func(tx Tx) error {
		b, err := tx.Batch(batch)
		if err != nil {
			return err
		}
		if !by.manages(b.Reseller) {
			return ErrForbidden
		}
		if b.Revoked {
			return nil
		}
		if err := tx.RevokeBatch(batch); err != nil {
			return err
		}
		if b.Site != "" {
			body := api.BatchRevoked{Batch: batch, Reason: clip(reason, 200)}
			if _, err := h.pushBody(tx, Target{Site: b.Site}, api.KindBatchRevoked, body, ""); err != nil {
				return err
			}
		}
		return h.note(tx, by, "voucher.revoke", batch, reason)
	})
}

// Batches of a reseller, or with "" all that by may see, newest first.
func (h *Hub) Batches(ctx context.Context, by Actor, reseller string, max int) (bs []Batch, err error) {
	if reseller, err = by.scope(reseller); err != nil {
		return nil, err
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		bs, err = tx.Batches(reseller, page(max))
		return err
	})
	return bs, err
}
