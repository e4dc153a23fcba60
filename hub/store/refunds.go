package store

import (
	"time"

	"zonegate/hub"
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

func (t *tx) GrantTaken(id string) (bool, error) {
	n, err := one(t, number, "SELECT CASE WHEN sold = 0 THEN 0 ELSE 1 END FROM grants WHERE id = $1", id)
	return n == 1, err
}
