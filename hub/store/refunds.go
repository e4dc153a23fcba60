package store

import (
	"encoding/json"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

const refundFields = `id, payment, reseller, reference, provider, as_payout, amount, currency, phone, state, why, reason, by_user, forced,
	push, handle, attempt, called, next_look, looks, restored, statement, made, changed`

const refundColumns = "SELECT " + refundFields + " FROM refunds"

func refund(s scanner) (r hub.Refund, err error) {
	var payout, forced, called, next, made, changed int64
	err = s.Scan(&r.ID, &r.Payment, &r.Reseller, &r.Reference, &r.Provider, &payout, &r.Amount.Amount, &r.Amount.Currency, &r.Phone,
		&r.State, &r.Why, &r.Reason, &r.By, &forced, &r.Push, &r.Handle, &r.Attempt, &called, &next, &r.Looks, &r.Restored, &r.Statement, &made, &changed)
	r.AsPayout, r.Forced = payout != 0, forced != 0
	r.Called, r.NextLook, r.Made, r.Changed = at(called), at(next), at(made), at(changed)
	return r, err
}

func (t *tx) AddRefund(r hub.Refund) error {
	_, err := t.insert("INSERT INTO refunds ("+refundFields+")", "", 24, []any{
		r.ID, r.Payment, r.Reseller, r.Reference, r.Provider, flag(r.AsPayout), r.Amount.Amount, r.Amount.Currency, r.Phone,
		string(r.State), r.Why, r.Reason, r.By, flag(r.Forced), int64(r.Push), r.Handle, r.Attempt, ms(r.Called), ms(r.NextLook), r.Looks,
		r.Restored, r.Statement, ms(r.Made), ms(r.Changed)})
	return err
}

func (t *tx) ChangeRefund(r hub.Refund) error {
	return t.must(`UPDATE refunds SET state = $2, reason = $3, push = $4, handle = $5, attempt = $6, called = $7, next_look = $8, looks = $9,
		restored = $10, statement = $11, changed = $12 WHERE id = $1`,
		r.ID, string(r.State), r.Reason, int64(r.Push), r.Handle, r.Attempt, ms(r.Called), ms(r.NextLook), r.Looks,
		r.Restored, r.Statement, ms(r.Changed))
}

func (t *tx) Refund(id string) (hub.Refund, error) {
	return one(t, refund, refundColumns+" WHERE id = $1", id)
}

func (t *tx) Refunds(q hub.RefundQuery) ([]hub.Refund, error) {
	var f filter
	f.equal("reseller", q.Reseller)
	f.equal("payment", q.Payment)
	f.oneOf("state", texts(q.States))
	return many(t, refund, refundColumns+f.text.String()+" ORDER BY made DESC, id DESC"+f.page(q.Max, q.After), f.args...)
}

func (t *tx) DueRefunds(now time.Time, max int) ([]string, error) {
	return many(t, text, "SELECT id FROM refunds WHERE next_look > 0 AND next_look <= $1 ORDER BY next_look, id LIMIT $2", ms(now), max)
}

func (t *tx) RefundOf(provider, reference, handle string) (hub.Refund, error) {
	return one(t, refund, refundColumns+` WHERE provider = $1 AND
		($2 <> '' AND reference = $2 OR $3 <> '' AND handle = $3) ORDER BY made DESC LIMIT 1`, provider, reference, handle)
}

// GrantStarted goes by the sale that the gateway reported of the grant, which has
// the gateway's own number for it.
func (t *tx) GrantStarted(id string) (bool, error) {
	n, err := one(t, number, `SELECT COUNT(*) FROM grants g JOIN sales s ON s.site = g.site AND s.source = 'hub' AND s.ref = g.id AND s.entry > 0
		JOIN entries e ON e.site = s.site AND e.n = s.entry WHERE g.id = $1 AND (
		EXISTS (SELECT 1 FROM entries x WHERE x.site = e.site AND x.n > e.n AND x.gateway = e.gateway AND x.site_grant = e.site_grant AND x.kind = $2)
		OR EXISTS (SELECT 1 FROM usages u WHERE u.gateway = e.gateway AND u.site_grant = e.site_grant AND u.up + u.down > 0))`, id, api.EntryStarted)
	return n > 0, err
}

func (t *tx) StatusOf(gateway string) (hub.Status, error) {
	return one(t, func(s scanner) (x hub.Status, err error) {
		body, err := text(s)
		if err != nil {
			return x, err
		}
		return x, json.Unmarshal([]byte(body), &x)
	}, "SELECT body FROM statuses WHERE gateway = $1", gateway)
}
