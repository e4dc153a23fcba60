package store

import (
	"encoding/hex"
	"time"

	"zonegate/hub"
)

func (t *tx) PutMeta(name, value string) error {
	return t.do("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
}

func (t *tx) TakeMeta(name string) (string, error) {
	return one(t, text, "DELETE FROM meta WHERE name = $1 RETURNING value", name)
}

const userColumns = "SELECT id, name, role, reseller, hash, epoch, disabled, created FROM users"

func user(s scanner) (u hub.User, err error) {
	var disabled, created int64
	err = s.Scan(&u.ID, &u.Name, &u.Role, &u.Reseller, &u.Hash, &u.Epoch, &disabled, &created)
	u.Disabled, u.Created = disabled != 0, at(created)
	return u, err
}

func (t *tx) AddUser(u hub.User) error {
	return t.do("INSERT INTO users (id, name, role, reseller, hash, epoch, disabled, created) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		u.ID, u.Name, string(u.Role), u.Reseller, u.Hash, u.Epoch, flag(u.Disabled), ms(u.Created))
}

func (t *tx) ChangeUser(u hub.User) error {
	return t.must("UPDATE users SET role = $2, hash = $3, epoch = $4, disabled = $5 WHERE id = $1",
		u.ID, string(u.Role), u.Hash, u.Epoch, flag(u.Disabled))
}

func (t *tx) User(id string) (hub.User, error) { return one(t, user, userColumns+" WHERE id = $1", id) }

func (t *tx) UserByName(name string) (hub.User, error) {
	return one(t, user, userColumns+" WHERE name = $1", name)
}

func (t *tx) Users(reseller string) ([]hub.User, error) {
	return many(t, user, userColumns+" WHERE "+bounded("reseller", reseller)+" ORDER BY name", reseller)
}

func (t *tx) AddDeed(d hub.Deed) error {
	return t.do("INSERT INTO deeds (id, at, by_name, by_id, what, subject, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		d.ID, ms(d.At), d.By, d.User, d.What, d.Subject, d.Detail)
}

func (t *tx) Deeds(before string, max int) ([]hub.Deed, error) {
	return many(t, func(s scanner) (d hub.Deed, err error) {
		var when int64
		err = s.Scan(&d.ID, &when, &d.By, &d.User, &d.What, &d.Subject, &d.Detail)
		d.At = at(when)
		return d, err
	}, "SELECT id, at, by_name, by_id, what, subject, detail FROM deeds WHERE $1 = '' OR id < $1 ORDER BY id DESC LIMIT $2", before, max)
}

const resellerColumns = "SELECT id, name, max_vouchers, max_sites, max_gateways, created FROM resellers"

func reseller(s scanner) (r hub.Reseller, err error) {
	var created int64
	err = s.Scan(&r.ID, &r.Name, &r.Limits.Vouchers, &r.Limits.Sites, &r.Limits.Gateways, &created)
	r.Created = at(created)
	return r, err
}

func (t *tx) AddReseller(r hub.Reseller) error {
	return t.do("INSERT INTO resellers (id, name, max_vouchers, max_sites, max_gateways, created) VALUES ($1, $2, $3, $4, $5, $6)",
		r.ID, r.Name, r.Limits.Vouchers, r.Limits.Sites, r.Limits.Gateways, ms(r.Created))
}

func (t *tx) ChangeReseller(r hub.Reseller) error {
	return t.must("UPDATE resellers SET name = $2, max_vouchers = $3, max_sites = $4, max_gateways = $5 WHERE id = $1",
		r.ID, r.Name, r.Limits.Vouchers, r.Limits.Sites, r.Limits.Gateways)
}

func (t *tx) Reseller(id string) (hub.Reseller, error) {
	return one(t, reseller, resellerColumns+" WHERE id = $1", id)
}

func (t *tx) Resellers(id string) ([]hub.Reseller, error) {
	return many(t, reseller, resellerColumns+" WHERE "+bounded("id", id)+" ORDER BY name", id)
}

const siteColumns = "SELECT id, reseller, name, currency, bucket, code_key, created FROM sites"

func site(s scanner) (x hub.Site, err error) {
	var key string
	var created int64
	if err = s.Scan(&x.ID, &x.Reseller, &x.Name, &x.Currency, &x.Bucket, &key, &created); err != nil {
		return x, err
	}
	x.Created = at(created)
	x.CodeKey, err = hex.DecodeString(key)
	return x, err
}

func (t *tx) AddSite(s hub.Site) error {
	if err := t.do("INSERT INTO sites (id, reseller, name, currency, bucket, code_key, created) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		s.ID, s.Reseller, s.Name, s.Currency, int64(s.Bucket), hex.EncodeToString(s.CodeKey), ms(s.Created)); err != nil {
		return err
	}
	return t.do("INSERT INTO outboxes (site, next) VALUES ($1, 1)", s.ID)
}

func (t *tx) Site(id string) (hub.Site, error) { return one(t, site, siteColumns+" WHERE id = $1", id) }

func (t *tx) Sites(reseller string) ([]hub.Site, error) {
	return many(t, site, siteColumns+" WHERE "+bounded("reseller", reseller)+" ORDER BY name, id", reseller)
}

func (t *tx) PutEnrolment(hash, site string, expires time.Time) error {
	if err := t.do("DELETE FROM enrolments WHERE site = $1 AND gateway = ''", site); err != nil {
		return err
	}
	return t.do("INSERT INTO enrolments (hash, site, expires, instance, gateway) VALUES ($1, $2, $3, '', '')", hash, site, ms(expires))
}

func (t *tx) Enrolment(hash string) (hub.EnrolmentRow, error) {
	return one(t, func(s scanner) (r hub.EnrolmentRow, err error) {
		var expires int64
		err = s.Scan(&r.Site, &expires, &r.Instance, &r.Gateway)
		r.Expires = at(expires)
		return r, err
	}, "SELECT site, expires, instance, gateway FROM enrolments WHERE hash = $1", hash)
}

func (t *tx) UseEnrolment(hash, instance, gateway string) error {
	return t.must("UPDATE enrolments SET instance = $2, gateway = $3 WHERE hash = $1", hash, instance, gateway)
}
