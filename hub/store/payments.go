package store

import (
	"time"

	"zonegate/hub"
)

const (
	paymentFields = `id, site, reseller, gateway, intent, reference, provider, channel, forfait, version,
	amount, currency, phone, device, claim, state, unsure, provider_ref, flow, url, reason, paid, paid_currency,
	customer_paid, provider_fee, made, changed, next_look, looks, attempt, rev`
	paymentColumns = "SELECT " + paymentFields + " FROM payments"
	paymentWidth   = 31
)

func payment(s scanner) (p hub.Payment, err error) {
	var unsure, made, changed, next, rev int64
	err = s.Scan(&p.ID, &p.Site, &p.Reseller, &p.Gateway, &p.Intent, &p.Reference, &p.Provider, &p.Channel, &p.Forfait, &p.Version,
		&p.Price.Amount, &p.Price.Currency, &p.Phone, &p.Device, &p.Claim, &p.State, &unsure, &p.ProviderRef, &p.Flow, &p.URL, &p.Reason,
		&p.Paid.Amount, &p.Paid.Currency, &p.CustomerPaid.Amount, &p.ProviderFee, &made, &changed, &next, &p.Looks, &p.Attempt, &rev)
	p.Unsure, p.Made, p.Changed, p.NextLook, p.Rev = unsure != 0, at(made), at(changed), at(next), uint64(rev)
	if p.CustomerPaid.Amount != 0 {
		p.CustomerPaid.Currency = p.Paid.Currency
	}
	return p, err
}

func paymentValues(ps []hub.Payment) []any {
	values := make([]any, 0, paymentWidth*len(ps))
	for _, p := range ps {
		values = append(values, p.ID, p.Site, p.Reseller, p.Gateway, p.Intent, p.Reference, p.Provider, p.Channel, p.Forfait, int64(p.Version),
			p.Price.Amount, p.Price.Currency, p.Phone, p.Device, p.Claim, string(p.State), flag(p.Unsure), p.ProviderRef, p.Flow, p.URL, p.Reason,
			p.Paid.Amount, p.Paid.Currency, p.CustomerPaid.Amount, p.ProviderFee, ms(p.Made), ms(p.Changed), ms(p.NextLook), p.Looks, p.Attempt, int64(p.Rev))
	}
	return values
}

func (t *tx) AddPayments(ps []hub.Payment) error {
	_, err := t.insert("INSERT INTO payments ("+paymentFields+")", "ON CONFLICT DO NOTHING", paymentWidth, paymentValues(ps))
	return err
}

// ChangePayments compares and sets with an upsert: many rows in one statement,
// in both databases.
func (t *tx) ChangePayments(ps []hub.Payment) error {
	next := make([]hub.Payment, len(ps))
	for i, p := range ps {
		p.Rev++
		next[i] = p
	}
	n, err := t.insert("INSERT INTO payments ("+paymentFields+")", `ON CONFLICT (id) DO UPDATE SET reference = excluded.reference,
		state = excluded.state, unsure = excluded.unsure, phone = excluded.phone, provider_ref = excluded.provider_ref,
		url = excluded.url, reason = excluded.reason, paid = excluded.paid, paid_currency = excluded.paid_currency,
		customer_paid = excluded.customer_paid, provider_fee = excluded.provider_fee, changed = excluded.changed,
		next_look = excluded.next_look, looks = excluded.looks, attempt = excluded.attempt, rev = excluded.rev
		WHERE payments.rev = excluded.rev - 1`, paymentWidth, paymentValues(next))
	if err == nil && n != int64(len(ps)) {
		return hub.ErrStale
	}
	return err
}

func (t *tx) Payment(id string) (hub.Payment, error) {
	return one(t, payment, paymentColumns+" WHERE id = $1", id)
}

func (t *tx) PaymentsByID(ids []string) ([]hub.Payment, error) { return t.paymentsBy("id", ids) }

func (t *tx) PaymentsByReference(references []string) ([]hub.Payment, error) {
	return t.paymentsBy("reference", references)
}

func (t *tx) paymentsBy(column string, values []string) (out []hub.Payment, err error) {
	err = in(t, values, func(list string, args []any) error {
		rows, err := many(t, payment, paymentColumns+" WHERE "+column+" IN "+list, args...)
		out = append(out, rows...)
		return err
	})
	return out, err
}

func (t *tx) PaymentByIntent(gateway, intent string) (hub.Payment, error) {
	return one(t, payment, paymentColumns+" WHERE intent = $2 AND intent <> '' AND gateway = $1 AND site = (SELECT site FROM gateways WHERE id = $1)", gateway, intent)
}

func (t *tx) PaymentAtSite(site, intent string) (hub.Payment, error) {
	return one(t, payment, paymentColumns+" WHERE site = $1 AND intent = $2 AND intent <> ''", site, intent)
}

func (t *tx) PaymentByProviderRef(provider, ref string) (hub.Payment, error) {
	return one(t, payment, paymentColumns+" WHERE provider = $1 AND provider_ref = $2 AND provider_ref <> ''", provider, ref)
}

func (t *tx) Payments(q hub.PaymentQuery) ([]hub.Payment, error) {
	return many(t, payment, paymentColumns+" WHERE "+bounded("reseller", q.Reseller)+` AND ($2 = '' OR state = $2) AND ($3 = '' OR provider = $3)
		AND made >= $4 AND (CAST($5 AS BIGINT) = 0 OR made < $5) AND ($6 = '' OR id < $6) ORDER BY id DESC LIMIT $7`,
		q.Reseller, string(q.State), q.Provider, ms(q.From), ms(q.To), q.Before, q.Max)
}

// LeasePayments is one at a time among all processes, so that no payment is
// given to two.
func (t *tx) LeasePayments(now, until time.Time, max int) ([]hub.Payment, error) {
	if err := t.Lock("lease payments"); err != nil {
		return nil, err
	}
	due := "next_look > 0 AND (next_look <= $1 OR next_look > $4)"
	return many(t, payment, "UPDATE payments SET next_look = $2 WHERE "+due+" AND id IN (SELECT id FROM payments WHERE "+due+
		" ORDER BY next_look LIMIT $3) RETURNING "+paymentFields, ms(now), ms(until), max, ms(now.Add(24*time.Hour)))
}

func (t *tx) LookSooner(id string, when time.Time) error {
	return t.do("UPDATE payments SET next_look = $2 WHERE id = $1 AND next_look > $2", id, ms(when))
}

func (t *tx) AskedPhones(phones []string, lately, open, to time.Time) (out []hub.AskedRow, err error) {
	err = in(t, phones, func(list string, args []any) error {
		rows, err := many(t, func(s scanner) (a hub.AskedRow, err error) {
			return a, s.Scan(&a.Phone, &a.Lately, &a.Open)
		}, `SELECT phone, SUM(CASE WHEN made > $1 THEN 1 ELSE 0 END), SUM(CASE WHEN state IN ('submitting', 'pending') THEN 1 ELSE 0 END)
			FROM payments WHERE phone <> '' AND made > $2 AND made < $3 AND phone IN `+list+" GROUP BY phone", args...)
		out = append(out, rows...)
		return err
	}, ms(lately), ms(open), ms(to))
	return out, err
}

func (t *tx) KnownKeys(keys []string) (out []string, err error) {
	err = in(t, keys, func(list string, args []any) error {
		for _, query := range []string{"SELECT voucher FROM vouchers WHERE voucher IN ", "SELECT claim FROM grants WHERE claim <> '' AND claim IN "} {
			known, err := many(t, text, query+list, args...)
			if err != nil {
				return err
			}
			out = append(out, known...)
		}
		return nil
	})
	return out, err
}

func (t *tx) AddObservations(os []hub.ObservationRow) error {
	values := make([]any, 0, 7*len(os))
	for _, o := range os {
		values = append(values, o.ID, o.Payment, ms(o.At), o.Source, o.State, o.ProviderRef, o.Raw)
	}
	_, err := t.insert("INSERT INTO observations (id, payment, at, source, state, provider_ref, raw)", "", 7, values)
	return err
}

func (t *tx) Observations(payment string) ([]hub.ObservationRow, error) {
	return many(t, func(s scanner) (o hub.ObservationRow, err error) {
		var when int64
		err = s.Scan(&o.ID, &o.Payment, &when, &o.Source, &o.State, &o.ProviderRef, &o.Raw)
		o.At = at(when)
		return o, err
	}, "SELECT id, payment, at, source, state, provider_ref, raw FROM observations WHERE payment = $1 ORDER BY at, id", payment)
}
