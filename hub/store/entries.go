package store

import (
	"encoding/json"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

func (t *tx) NextEntry(site string) (uint64, error) {
	return one(t, seq, "SELECT next FROM outboxes WHERE site = $1", site)
}

func (t *tx) SetNextEntry(site string, next uint64) error {
	return t.must("UPDATE outboxes SET next = $2 WHERE site = $1", site, int64(next))
}

func (t *tx) EntryHashes(site string, from, through uint64) (map[uint64]string, error) {
	type row struct {
		n    uint64
		hash string
	}
	rows, err := many(t, func(s scanner) (r row, err error) {
		err = s.Scan(&r.n, &r.hash)
		return r, err
	}, "SELECT n, hash FROM entries WHERE site = $1 AND n >= $2 AND n <= $3", site, int64(from), int64(through))
	out := make(map[uint64]string, len(rows))
	for _, r := range rows {
		out[r.n] = r.hash
	}
	return out, err
}

func (t *tx) AddEntries(rows []hub.EntryRow) error {
	values := make([]any, 0, 9*len(rows))
	for _, r := range rows {
		values = append(values, r.Site, int64(r.N), r.Gateway, r.Hash, ms(r.At), ms(r.Taken), r.Kind, int64(r.Grant), r.Body)
	}
	_, err := t.insert("INSERT INTO entries (site, n, gateway, hash, at, taken, kind, site_grant, body)", "", 9, values)
	return err
}

// PutUsage is written without GREATEST and MAX, which are not the same in both
// databases.
func (t *tx) PutUsage(gateway string, usage []api.Usage, when time.Time) error {
	values := make([]any, 0, 5*len(usage))
	for _, u := range usage {
		values = append(values, gateway, int64(u.Grant), int64(u.Up), int64(u.Down), ms(when))
	}
	_, err := t.insert("INSERT INTO usages (gateway, site_grant, up, down, at)", `ON CONFLICT (gateway, site_grant) DO UPDATE SET
		up = CASE WHEN excluded.up > usages.up THEN excluded.up ELSE usages.up END,
		down = CASE WHEN excluded.down > usages.down THEN excluded.down ELSE usages.down END, at = excluded.at`, 5, values)
	return err
}

func (t *tx) Usage(gateway string) ([]api.Usage, error) {
	return many(t, func(s scanner) (u api.Usage, err error) {
		err = s.Scan(&u.Grant, &u.Up, &u.Down)
		return u, err
	}, "SELECT site_grant, up, down FROM usages WHERE gateway = $1 ORDER BY site_grant", gateway)
}

func (t *tx) AddSales(sales []hub.Sale) (int, error) {
	values := make([]any, 0, 13*len(sales))
	// PostgreSQL changes no row twice in one statement.
	type key struct{ site, source, ref string }
	seen := make(map[key]bool, len(sales))
	for _, s := range sales {
		k := key{s.Site, s.Source, s.Ref}
		if seen[k] {
			continue
		}
		seen[k] = true
		values = append(values, s.Site, s.Source, s.Ref, int64(s.Entry), s.Reseller, ms(s.At), flag(s.Exact), s.Batch,
			s.Forfait, int64(s.Version), s.Amount, s.Currency, s.Custody)
	}
	n, err := t.insert("INSERT INTO sales (site, source, ref, entry, reseller, at, exact, batch, forfait, version, amount, currency, custody)",
		"ON CONFLICT (site, source, ref) DO UPDATE SET entry = excluded.entry WHERE sales.entry = 0 AND excluded.entry <> 0", 13, values)
	return int(n), err
}

func (t *tx) Sales(reseller string, from, to time.Time, after, max int) ([]hub.Sale, error) {
	return many(t, func(s scanner) (x hub.Sale, err error) {
		var when, exact int64
		err = s.Scan(&x.Site, &x.Source, &x.Ref, &x.Entry, &x.Reseller, &when, &exact, &x.Batch, &x.Forfait, &x.Version, &x.Amount, &x.Currency, &x.Custody)
		x.At, x.Exact = at(when), exact != 0
		return x, err
	}, `SELECT site, source, ref, entry, reseller, at, exact, batch, forfait, version, amount, currency, custody FROM sales
		WHERE `+bounded("reseller", reseller)+` AND at >= $2 AND at < $3 ORDER BY at, site, entry LIMIT $4 OFFSET $5`,
		reseller, ms(from), ms(to), max, after)
}

func (t *tx) Takings(reseller string, from, to time.Time) ([]hub.Taking, error) {
	return many(t, func(s scanner) (x hub.Taking, err error) {
		err = s.Scan(&x.Currency, &x.Custody, &x.Amount, &x.Count)
		return x, err
	}, `SELECT currency, custody, amount, COUNT(*) FROM sales WHERE reseller = $1 AND at >= $2 AND at < $3
		GROUP BY currency, custody, amount`, reseller, ms(from), ms(to))
}

func (t *tx) PutRule(reseller, from string, r hub.Rule) error {
	body, err := encode(r)
	if err != nil {
		return err
	}
	return t.do("INSERT INTO rules (reseller, month, body) VALUES ($1, $2, $3) ON CONFLICT (reseller, month) DO UPDATE SET body = excluded.body", reseller, from, body)
}

func (t *tx) Rule(reseller, month string) (hub.Rule, error) {
	return one(t, func(s scanner) (r hub.Rule, err error) {
		body, err := text(s)
		if err != nil {
			return r, err
		}
		return r, json.Unmarshal([]byte(body), &r)
	}, "SELECT body FROM rules WHERE reseller = $1 AND month <= $2 ORDER BY month DESC LIMIT 1", reseller, month)
}
