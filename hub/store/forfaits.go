package store

import (
	"encoding/json"

	"zonegate/hub"
	"zonegate/sync/api"
)

const forfaitColumns = "SELECT reseller, at, plan, site, share, target_reseller, target_currency, seq FROM forfaits"

func forfait(s scanner) (f hub.Forfait, err error) {
	var when int64
	var body string
	if err = s.Scan(&f.Reseller, &when, &body, &f.Target.Site, &f.Target.Share, &f.Target.Reseller, &f.Target.Currency, &f.Seq); err != nil {
		return f, err
	}
	f.At = at(when)
	var p api.Plan
	err = json.Unmarshal([]byte(body), &p)
	f.Plan = hub.PlanOf(p)
	return f, err
}

func (t *tx) AddForfait(f hub.Forfait) error {
	body, err := encode(hub.WirePlan(f.Plan))
	if err != nil {
		return err
	}
	return t.do(`INSERT INTO forfaits (id, version, reseller, at, plan, site, share, target_reseller, target_currency, seq, superseded)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0)`,
		f.Plan.ID, int64(f.Plan.Version), f.Reseller, ms(f.At), body, f.Target.Site, int64(f.Target.Share), f.Target.Reseller, f.Target.Currency, int64(f.Seq))
}

func (t *tx) SetForfaitPush(id string, version uint32, g hub.Target, seq uint64) error {
	if err := t.must("UPDATE forfaits SET site = $3, share = $4, target_reseller = $5, target_currency = $6, seq = $7 WHERE id = $1 AND version = $2",
		id, int64(version), g.Site, int64(g.Share), g.Reseller, g.Currency, int64(seq)); err != nil || g.Share < hub.All {
		return err
	}
	return t.do("UPDATE forfaits SET superseded = 1 WHERE id = $1 AND version < $2 AND superseded = 0", id, int64(version))
}

func (t *tx) Forfaits() ([]hub.Forfait, error) {
	return many(t, forfait, forfaitColumns+" WHERE superseded = 0 ORDER BY id, version DESC")
}

func (t *tx) ForfaitVersions(id string) ([]hub.Forfait, error) {
	return many(t, forfait, forfaitColumns+" WHERE id = $1 ORDER BY version DESC", id)
}

func (t *tx) Forfait(id string, version uint32) (hub.Forfait, error) {
	return one(t, forfait, forfaitColumns+" WHERE id = $1 AND version = $2", id, int64(version))
}
