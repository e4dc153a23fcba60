package store

import (
	"time"

	"zonegate/hub"
)

const batchColumns = `SELECT b.id, b.reseller, b.site, b.forfait, b.version, b.expires, b.made, b.by_name, b.revoked, b.total,
	b.total - (SELECT COUNT(*) FROM vouchers v WHERE v.batch = b.id AND v.used = 0) FROM batches b`

func batch(s scanner) (b hub.Batch, err error) {
	var expires, made, revoked int64
	err = s.Scan(&b.ID, &b.Reseller, &b.Site, &b.Forfait, &b.Version, &expires, &made, &b.By, &revoked, &b.Total, &b.Used)
	b.Expires, b.Made, b.Revoked = at(expires), at(made), revoked != 0
	return b, err
}

func (t *tx) AddBatch(b hub.Batch) error {
	return t.do(`INSERT INTO batches (id, reseller, site, forfait, version, expires, made, by_name, revoked, total)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9)`,
		b.ID, b.Reseller, b.Site, b.Forfait, int64(b.Version), ms(b.Expires), ms(b.Made), b.By, b.Total)
}

func (t *tx) AddVouchers(batch string, keys []string) error {
	values := make([]any, 0, 2*len(keys))
	for _, k := range keys {
		values = append(values, k, batch, 0, "")
	}
	_, err := t.insert("INSERT INTO vouchers (voucher, batch, used, site_grant)", "", 4, values)
	return err
}

func (t *tx) Batch(id string) (hub.Batch, error) {
	return one(t, batch, batchColumns+" WHERE b.id = $1", id)
}

func (t *tx) Batches(reseller string, max int) ([]hub.Batch, error) {
	return many(t, batch, batchColumns+" WHERE "+bounded("b.reseller", reseller)+" ORDER BY b.made DESC, b.id LIMIT $2", reseller, max)
}

func (t *tx) RevokeBatch(id string) error {
	return t.must("UPDATE batches SET revoked = 1 WHERE id = $1", id)
}

func (t *tx) SetBatchVersion(id string, version uint32) error {
	return t.must("UPDATE batches SET version = $2 WHERE id = $1", id, int64(version))
}

func (t *tx) SetGrantVersion(id string, version uint32) error {
	return t.must("UPDATE grants SET version = $2 WHERE id = $1", id, int64(version))
}

func (t *tx) BatchesAt(site string, now time.Time) ([]hub.Batch, error) {
	return many(t, batch, batchColumns+" WHERE b.site = $1 AND b.revoked = 0 AND (b.expires = 0 OR b.expires > $2) ORDER BY b.made, b.id", site, ms(now))
}

func (t *tx) UnusedKeys(batch string) ([]string, error) {
	return many(t, text, "SELECT voucher FROM vouchers WHERE batch = $1 AND used = 0 ORDER BY voucher", batch)
}

func (t *tx) CountUnused(reseller string, now time.Time) (int, error) {
	n, err := one(t, number, `SELECT COUNT(*) FROM vouchers v JOIN batches b ON b.id = v.batch
		WHERE b.reseller = $1 AND b.revoked = 0 AND (b.expires = 0 OR b.expires > $2) AND v.used = 0`, reseller, ms(now))
	return int(n), err
}

func (t *tx) Voucher(key string) (batch, grant string, used bool, err error) {
	type row struct {
		batch, grant string
		used         int64
	}
	r, err := one(t, func(s scanner) (r row, err error) {
		err = s.Scan(&r.batch, &r.grant, &r.used)
		return r, err
	}, "SELECT batch, site_grant, used FROM vouchers WHERE voucher = $1", key)
	return r.batch, r.grant, r.used != 0, err
}

func (t *tx) ClaimVoucher(key, grant string, when time.Time) (bool, error) {
	n, err := t.exec("UPDATE vouchers SET used = $3, site_grant = $2 WHERE voucher = $1 AND used = 0", key, grant, ms(when))
	return n == 1, err
}

func (t *tx) UseVouchers(site string, keys []string, when time.Time) error {
	return in(t, keys, func(list string, args []any) error {
		return t.do(`UPDATE vouchers SET used = $1 WHERE used = 0
			AND EXISTS (SELECT 1 FROM batches b WHERE b.id = vouchers.batch AND b.site = $2) AND voucher IN `+list, args...)
	}, ms(when), site)
}

const grantColumns = "SELECT id, site, forfait, version, device, claim, source, ref, expires, made, revoked FROM grants"

func grant(s scanner) (g hub.Grant, err error) {
	var expires, made, revoked int64
	err = s.Scan(&g.ID, &g.Site, &g.Forfait, &g.Version, &g.Device, &g.Key, &g.Source, &g.Ref, &expires, &made, &revoked)
	g.Expires, g.Made, g.Revoked = at(expires), at(made), revoked != 0
	return g, err
}

func (t *tx) AddGrant(g hub.Grant) error { return t.AddGrants([]hub.Grant{g}) }

func (t *tx) AddGrants(gs []hub.Grant) error {
	values := make([]any, 0, 12*len(gs))
	for _, g := range gs {
		values = append(values, g.ID, g.Site, g.Forfait, int64(g.Version), g.Device, g.Key, g.Source, g.Ref, ms(g.Expires), ms(g.Made), 0, 0)
	}
	_, err := t.insert("INSERT INTO grants (id, site, forfait, version, device, claim, source, ref, expires, made, revoked, sold)", "", 12, values)
	return err
}

func (t *tx) Grant(id string) (hub.Grant, error) {
	return one(t, grant, grantColumns+" WHERE id = $1", id)
}

func (t *tx) GrantByRef(source, ref string) (hub.Grant, error) {
	return one(t, grant, grantColumns+" WHERE source = $1 AND ref = $2", source, ref)
}

func (t *tx) GrantByKey(key string) (hub.Grant, error) {
	return one(t, grant, grantColumns+" WHERE claim = $1 AND claim <> ''", key)
}

func (t *tx) RevokeGrant(id string) error {
	return t.must("UPDATE grants SET revoked = 1 WHERE id = $1", id)
}

func (t *tx) SellGrants(site string, ids []string, when time.Time) error {
	return in(t, ids, func(list string, args []any) error {
		return t.do("UPDATE grants SET sold = $1 WHERE sold = 0 AND site = $2 AND id IN "+list, args...)
	}, ms(when), site)
}

func (t *tx) OpenGrants(site string, now time.Time) ([]hub.Grant, error) {
	return many(t, grant, grantColumns+" WHERE site = $1 AND sold = 0 AND revoked = 0 AND (expires = 0 OR expires > $2) ORDER BY made, id", site, ms(now))
}
