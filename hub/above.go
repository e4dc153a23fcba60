package hub

import (
	"encoding/json"
	"errors"
	"fmt"

	"zonegate/sync/api"
)

// A refusedPush is one that a gateway refused, because it has another offer
// under the version of the plan. Again says that it has said so before.
type refusedPush struct {
	push  Push
	ack   Ack
	again bool
}

// answered says whether codes or a purchase were refused by the gateway
// before: an answer that comes twice must not push them twice.
func (h *Hub) answered(tx Tx, g Gateway, p Push) (bool, error) {
	if p.Kind != api.KindBatch && p.Kind != api.KindGrant {
		return false, nil
	}
	refused, _, err := tx.AcksOf(p.Seq, 100) // of gateways of one site
	for _, a := range refused {
		if a.Gateway == g.ID && a.Outcome == Stale {
			return true, nil
		}
	}
	return false, err
}

// pushAbove pushes refused codes, or a refused purchase, again: with the same
// offer under a version that is above what the gateway has. They were paid
// for, or are printed.
func (h *Hub) pushAbove(tx Tx, g Gateway, p Push, have uint32) error {
	if p.Kind == api.KindGrant {
		var body api.GrantIssued
		if err := json.Unmarshal(p.Body, &body); err != nil {
			return fmt.Errorf("reading push %d: %w", p.Seq, err)
		}
		grant, err := tx.Grant(body.Grant)
		if errors.Is(err, ErrNotFound) || err == nil && (grant.Revoked || grant.Site != g.Site) {
			return nil
		} else if err != nil {
			return err
		}
		f, err := h.above(tx, grant.Forfait, grant.Version, have)
		if err != nil {
			return err
		}
		grant.Version = f.Plan.Version
		if err := tx.SetGrantVersion(grant.ID, grant.Version); err != nil {
			return err
		}
		return h.pushGrant(tx, grant)
	}
	var body api.BatchIssued
	if err := json.Unmarshal(p.Body, &body); err != nil {
		return fmt.Errorf("reading push %d: %w", p.Seq, err)
	}
	b, err := tx.Batch(body.Batch)
	if errors.Is(err, ErrNotFound) || err == nil && (b.Revoked || b.Site != g.Site) {
		return nil
	} else if err != nil {
		return err
	}
	f, err := h.above(tx, b.Forfait, b.Version, have)
	if err != nil {
		return err
	}
	if err := tx.SetBatchVersion(b.ID, f.Plan.Version); err != nil {
		return err
	}
	body.Plan = WirePlan(f.Plan)
	_, err = h.pushBody(tx, Target{Site: b.Site}, api.KindBatch, body, "")
	return err
}

// above returns a version with the offer of another one and a number above
// what a gateway has; it makes one where there is none. What is on sale stays
// what it was.
func (h *Hub) above(tx Tx, id string, version, have uint32) (Forfait, error) {
	if err := tx.Lock("forfait/" + id); err != nil {
		return Forfait{}, err
	}
	want, err := tx.Forfait(id, version)
	if err != nil {
		return Forfait{}, fmt.Errorf("looking up a forfait: %w", err)
	}
	versions, err := tx.ForfaitVersions(id)
	if err != nil {
		return Forfait{}, err
	}
	for _, f := range versions {
		if f.Plan.Version > have && f.Plan.SameOffer(want.Plan) {
			return f, nil
		}
	}
	newest := versions[0] // want is one of them
	last, err := tx.Push(newest.Seq)
	if err != nil {
		return Forfait{}, fmt.Errorf("looking up the push of a forfait: %w", err)
	}
	want.Plan.Version, want.At = max(newest.Plan.Version, have)+1, h.at()
	if newest.Plan.SameOffer(want.Plan) {
		want.Target = newest.Target
		return want, h.republish(tx, want, false, last.Rollout)
	}
	if err := h.republish(tx, want, false, ""); err != nil {
		return Forfait{}, err
	}
	newest.Plan.Version, newest.At = want.Plan.Version+1, h.at()
	return want, h.republish(tx, newest, false, last.Rollout)
}
