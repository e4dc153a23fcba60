package store

import (
	"encoding/json"
	"fmt"
	"time"

	"zonegate/hub"
)

// paidStates are those in which money was booked as a payment's price.
const paidStates = "('succeeded', 'refunding', 'refunded')"

// waitsLong is how long before it succeeds a payment can have been made, as
// far as an index is concerned: older ones are found by their booking.
const waitsLong = 10 * 24 * time.Hour

func (t *tx) MovedSums(from, to time.Time) ([]hub.MovedSum, error) {
	return many(t, func(s scanner) (m hub.MovedSum, err error) {
		err = s.Scan(&m.Kind, &m.Account, &m.Currency, &m.Count, &m.Amount)
		return m, err
	}, `SELECT kind, held, currency, COUNT(*), CAST(SUM(amount) AS BIGINT) FROM
		(SELECT t.kind, p.currency, p.amount, CASE WHEN p.account LIKE 'reseller/%' THEN 'reseller/'
			WHEN p.account LIKE 'blocked/%' THEN 'blocked/' ELSE p.account END AS held
		FROM transactions t JOIN postings p ON p.book = t.id WHERE t.at >= $1 AND t.at < $2) AS m
		GROUP BY kind, held, currency ORDER BY held, currency, kind`, ms(from), ms(to))
}

// PaidSums finds what was begun by the entry with which the gateway sold the
// grant: it has the gateway's own number of it.
func (t *tx) PaidSums(from, to time.Time) ([]hub.MoneyLine, error) {
	return many(t, func(s scanner) (l hub.MoneyLine, err error) {
		err = s.Scan(&l.Provider, &l.Currency, &l.Payments, &l.Paid, &l.Grants, &l.Taken, &l.Started)
		return l, err
	}, `SELECT p.provider, p.paid_currency, COUNT(*), CAST(SUM(p.paid) AS BIGINT), COUNT(g.id),
			CAST(SUM(CASE WHEN g.sold > 0 THEN 1 ELSE 0 END) AS BIGINT), CAST(SUM(CASE WHEN g.sold > 0 AND EXISTS
				(SELECT 1 FROM sales s JOIN entries e ON e.site = s.site AND e.n = s.entry
				JOIN entries b ON b.site = s.site AND b.site_grant = e.site_grant AND b.kind = 'started' AND b.n > e.n
				WHERE s.site = g.site AND s.source = 'hub' AND s.ref = g.id) THEN 1 ELSE 0 END) AS BIGINT)
		FROM transactions t JOIN payments p ON p.id = t.ref LEFT JOIN grants g ON g.source = 'payment' AND g.ref = p.id
		WHERE t.kind = 'payment' AND t.at >= $1 AND t.at < $2
		GROUP BY p.provider, p.paid_currency ORDER BY p.provider, p.paid_currency`, ms(from), ms(to))
}

func (t *tx) StatedSums(from, to time.Time) ([]hub.StatedSum, error) {
	return many(t, func(s scanner) (x hub.StatedSum, err error) {
		err = s.Scan(&x.Provider, &x.Currency, &x.Kind, &x.Status, &x.Count, &x.Amount)
		return x, err
	}, `SELECT s.provider, s.currency, s.kind, s.status, COUNT(*), CAST(SUM(s.amount) AS BIGINT)
		FROM imports i JOIN statements s ON s.import = i.id WHERE i.from_at >= $1 AND i.to_at <= $2
		GROUP BY s.provider, s.currency, s.kind, s.status ORDER BY s.provider, s.currency, s.kind, s.status`, ms(from), ms(to))
}

func (t *tx) OpenPayments(from, to time.Time) (int64, error) {
	return one(t, number, "SELECT COUNT(*) FROM payments WHERE made >= $1 AND made < $2 AND state IN ('submitting', 'pending')", ms(from), ms(to))
}

func (t *tx) Unbalanced(from, to time.Time) ([]hub.Imbalance, error) {
	scan := func(s scanner) (x hub.Imbalance, err error) {
		err = s.Scan(&x.Kind, &x.Ref, &x.Currency, &x.Amount)
		return x, err
	}
	all, err := many(t, scan, "SELECT '', '', currency, CAST(SUM(amount) AS BIGINT) FROM postings GROUP BY currency HAVING SUM(amount) <> 0 ORDER BY currency")
	if err != nil {
		return nil, err
	}
	each, err := many(t, scan, `SELECT t.kind, t.ref, p.currency, CAST(SUM(p.amount) AS BIGINT) FROM transactions t JOIN postings p ON p.book = t.id
		WHERE t.at >= $1 AND t.at < $2 GROUP BY t.id, t.kind, t.ref, p.currency HAVING SUM(p.amount) <> 0 ORDER BY t.id LIMIT 100`, ms(from), ms(to))
	return append(all, each...), err
}

// Ungranted leaves out what has neither device nor code: who asked for it gives
// it out.
func (t *tx) Ungranted(from, to time.Time, max int) ([]hub.Payment, error) {
	return many(t, payment, paymentColumns+` WHERE (device <> '' OR claim <> '') AND id IN
		(SELECT p.id FROM payments p WHERE p.made >= $3 AND p.made < $2 AND p.changed >= $1 AND p.changed < $2 AND p.state = 'succeeded'
			AND (NOT EXISTS (SELECT 1 FROM grants g WHERE g.source = 'payment' AND g.ref = p.id)
				OR NOT EXISTS (SELECT 1 FROM transactions t WHERE t.kind = 'payment' AND t.ref = p.id))
		UNION SELECT t.ref FROM transactions t WHERE t.kind = 'payment' AND t.at >= $1 AND t.at < $2
			AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.source = 'payment' AND g.ref = t.ref))
		ORDER BY id LIMIT $4`, ms(from), ms(to), ms(from.Add(-waitsLong)), max)
}

// Misbooked hides the account from the planners: its index leads to what all
// payments of the provider have brought, and that of the book to three lines.
func (t *tx) Misbooked(from, to time.Time, max int) ([]hub.Payment, error) {
	return many(t, payment, paymentColumns+` WHERE id IN
		(SELECT p.id FROM transactions t JOIN payments p ON p.id = t.ref WHERE t.kind = 'payment' AND t.at >= $1 AND t.at < $2 AND p.paid <>
			(SELECT COALESCE(SUM(l.amount), 0) FROM transactions b JOIN postings l ON l.book = b.id
			WHERE b.ref = p.id AND b.kind IN ('payment', 'review') AND l.account || '' = 'provider/' || p.provider AND l.currency = p.paid_currency))
		ORDER BY id LIMIT $3`, ms(from), ms(to), max)
}

func (t *tx) Unpaid(from, to time.Time, max int) ([]hub.Grant, error) {
	return many(t, grant, grantColumns+` WHERE source = 'payment' AND made >= $1 AND made < $2
		AND NOT EXISTS (SELECT 1 FROM payments p WHERE p.id = grants.ref AND p.state IN `+paidStates+`) ORDER BY id LIMIT $3`, ms(from), ms(to), max)
}

// MatchStatements says of the payment that its number is not empty: an index
// that leaves empty columns out is used where the statement says so, and neither
// database concludes it from an equation. OnlyHere and Strange do the same.
func (t *tx) MatchStatements() error {
	for _, by := range []string{
		"p.provider_ref = statements.provider_ref AND p.provider_ref <> ''",
		"p.reference = statements.reference AND statements.reference <> ''",
	} {
		found := "(SELECT p.id FROM payments p WHERE p.provider = statements.provider AND " + by + ")"
		if err := t.do("UPDATE statements SET payment = " + found + " WHERE payment = '' AND kind = 'payment' AND EXISTS " + found); err != nil {
			return err
		}
	}
	return nil
}

const covered = "EXISTS (SELECT 1 FROM imports i WHERE i.provider = %s AND i.from_at <= t.at AND i.to_at > t.at)"

func (t *tx) OnlyHere(from, to time.Time, max int) ([]hub.Payment, error) {
	return many(t, payment, paymentColumns+` WHERE id IN
		(SELECT p.id FROM transactions t JOIN payments p ON p.id = t.ref WHERE t.kind = 'payment' AND t.at >= $1 AND t.at < $2
			AND `+fmt.Sprintf(covered, "p.provider")+`
			AND NOT EXISTS (SELECT 1 FROM statements s WHERE s.payment = p.id AND s.payment <> '' AND s.status IN ('succeeded', 'refunded')))
		ORDER BY id LIMIT $3`, ms(from), ms(to), max)
}

func (t *tx) Strange(from, to time.Time, max int) ([]hub.StrangeLine, error) {
	return many(t, func(s scanner) (x hub.StrangeLine, err error) {
		err = s.Scan(&x.Provider, &x.Kind, &x.Reference, &x.ProviderRef, &x.Amount, &x.Currency, &x.Status, &x.Import,
			&x.Payment, &x.Reseller, &x.State, &x.Paid, &x.PaidCurrency, &x.Lines)
		return x, err
	}, `SELECT * FROM (SELECT s.provider, s.kind, s.reference, s.provider_ref, s.amount, s.currency, s.status, s.import,
			s.payment, COALESCE(p.reseller, '') AS reseller, COALESCE(p.state, '') AS state,
			COALESCE(p.paid, 0) AS paid, COALESCE(p.paid_currency, '') AS paid_currency,
			CASE WHEN s.payment = '' THEN 1 ELSE (SELECT COUNT(*) FROM statements o WHERE o.payment = s.payment AND o.payment <> '' AND o.status IN ('succeeded', 'refunded')) END AS lines
		FROM imports i JOIN statements s ON s.import = i.id LEFT JOIN payments p ON p.id = s.payment AND s.payment <> ''
		WHERE i.from_at >= $1 AND i.to_at <= $2 AND s.kind = 'payment' AND s.status IN ('succeeded', 'refunded')) AS x
		WHERE payment = '' OR state NOT IN `+paidStates+` OR amount <> paid OR currency <> paid_currency OR lines > 1
		ORDER BY provider, provider_ref, reference LIMIT $3`, ms(from), ms(to), max)
}

const lineColumns = "SELECT s.provider, s.kind, s.reference, s.provider_ref, s.amount, s.currency, s.status FROM statements s"

func statementLine(s scanner) (x hub.StatementLine, err error) {
	err = s.Scan(&x.Provider, &x.Kind, &x.Reference, &x.ProviderRef, &x.Amount, &x.Currency, &x.Status)
	return x, err
}

func (t *tx) StatedPayouts(from, to time.Time, max int) ([]hub.StatementLine, error) {
	return many(t, statementLine, lineColumns+` JOIN imports i ON i.id = s.import WHERE i.from_at >= $1 AND i.to_at <= $2 AND s.kind <> 'payment'
		ORDER BY s.provider, s.line LIMIT $3`, ms(from), ms(to), max)
}

func (t *tx) UnstatedPayouts(from, to time.Time, max int) ([]hub.Withdrawal, error) {
	return many(t, withdrawal, withdrawalColumns+` WHERE id IN
		(SELECT w.id FROM transactions t JOIN withdrawals w ON w.id = t.ref WHERE t.kind = 'paid_out' AND t.at >= $1 AND t.at < $2
			AND w.payer <> '' AND w.state = 'completed' AND `+fmt.Sprintf(covered, "w.payer")+`
			AND NOT EXISTS (SELECT 1 FROM statements s WHERE s.provider = w.payer AND s.kind = 'payout' AND s.status = 'succeeded'
				AND (s.provider_ref <> '' AND s.provider_ref = w.provider_ref OR s.reference = w.reference OR s.reference LIKE w.reference || 'r%')))
		ORDER BY number LIMIT $3`, ms(from), ms(to), max)
}

func (t *tx) AddStatement(x hub.Statement, lines []hub.StatementLine) error {
	if err := t.do("INSERT INTO imports (id, provider, from_at, to_at, lines, at, by_name) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		x.ID, x.Provider, ms(x.From), ms(x.To), x.Lines, ms(x.At), x.By); err != nil {
		return err
	}
	values := make([]any, 0, 10*len(lines))
	for _, l := range lines {
		values = append(values, l.Provider, l.Kind, l.Key(), x.ID, l.Reference, l.ProviderRef, l.Amount, l.Currency, l.Status, "")
	}
	_, err := t.insert("INSERT INTO statements (provider, kind, line, import, reference, provider_ref, amount, currency, status, payment)",
		`ON CONFLICT (provider, kind, line) DO UPDATE SET import = excluded.import, reference = excluded.reference, provider_ref = excluded.provider_ref,
		amount = excluded.amount, currency = excluded.currency, status = excluded.status, payment = ''`, 10, values)
	return err
}

func (t *tx) Statements(max int) ([]hub.Statement, error) {
	return many(t, func(s scanner) (x hub.Statement, err error) {
		var from, to, when int64
		err = s.Scan(&x.ID, &x.Provider, &from, &to, &x.Lines, &when, &x.By)
		x.From, x.To, x.At = at(from), at(to), at(when)
		return x, err
	}, "SELECT id, provider, from_at, to_at, lines, at, by_name FROM imports ORDER BY id DESC LIMIT $1", max)
}

const findingColumns = "SELECT kind, subject, period, reseller, provider, detail, amount, currency, first, last, cleared, by_name, reason FROM findings"

func finding(s scanner) (f hub.Finding, err error) {
	var first, last, cleared int64
	err = s.Scan(&f.Kind, &f.Subject, &f.Period, &f.Reseller, &f.Provider, &f.Detail, &f.Amount, &f.Currency, &first, &last, &cleared, &f.By, &f.Reason)
	f.First, f.Last, f.Cleared = at(first), at(last), at(cleared)
	return f, err
}

// PutFindings leaves those that a person has dealt with as they are, and opens
// again what only seemed to be settled.
func (t *tx) PutFindings(fs []hub.Finding) error {
	for _, f := range fs {
		if err := t.do(`INSERT INTO findings (kind, subject, period, reseller, provider, detail, amount, currency, first, last, cleared, by_name, reason)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, '', '')
			ON CONFLICT (kind, subject) DO UPDATE SET detail = excluded.detail, amount = excluded.amount, currency = excluded.currency, last = excluded.last,
				cleared = CASE WHEN findings.by_name = 'hub' THEN 0 ELSE findings.cleared END,
				reason = CASE WHEN findings.by_name = 'hub' THEN '' ELSE findings.reason END,
				by_name = CASE WHEN findings.by_name = 'hub' THEN '' ELSE findings.by_name END`,
			f.Kind, f.Subject, f.Period, f.Reseller, f.Provider, f.Detail, f.Amount, f.Currency, ms(f.First), ms(f.Last)); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) Finding(kind, subject string) (hub.Finding, error) {
	return one(t, finding, findingColumns+" WHERE kind = $1 AND subject = $2", kind, subject)
}

func (t *tx) Findings(q hub.FindingQuery) ([]hub.Finding, error) {
	var f filter
	f.equal("reseller", q.Reseller)
	if q.Period != "" {
		f.and("period LIKE ?", q.Period+"%")
	}
	if q.Open {
		f.and("cleared = 0")
	}
	return many(t, finding, findingColumns+f.text.String()+" ORDER BY first DESC, kind, subject"+f.page(q.Max, 0), f.args...)
}

func (t *tx) ClearFinding(kind, subject, by, reason string, when time.Time) error {
	return t.must("UPDATE findings SET cleared = $3, by_name = $4, reason = $5 WHERE kind = $1 AND subject = $2", kind, subject, ms(when), by, reason)
}

func (t *tx) Frozen(reseller string) (int64, error) {
	return one(t, number, "SELECT COUNT(*) FROM findings WHERE reseller = $1 AND cleared = 0 AND kind = 'only_here'", reseller)
}

func (t *tx) PutReconciliation(period string, made time.Time, clean bool, body string) error {
	return t.do(`INSERT INTO reconciliations (period, made, clean, body) VALUES ($1, $2, $3, $4)
		ON CONFLICT (period) DO UPDATE SET made = excluded.made, clean = excluded.clean, body = excluded.body`, period, ms(made), flag(clean), body)
}

func (t *tx) Reconciliation(period string) (string, error) {
	return one(t, text, "SELECT body FROM reconciliations WHERE period = $1", period)
}

func (t *tx) Reconciliations(max int) ([]hub.Reconciled, error) {
	return many(t, func(s scanner) (r hub.Reconciled, err error) {
		var made, clean int64
		err = s.Scan(&r.Period, &made, &clean)
		r.Made, r.Clean = at(made), clean != 0
		return r, err
	}, "SELECT period, made, clean FROM reconciliations ORDER BY period DESC LIMIT $1", max)
}

func (t *tx) PutOutside(o hub.OutsideSummary) error {
	body, err := encode(o)
	if err != nil {
		return err
	}
	return t.do(`INSERT INTO outside (reseller, month, currency, body) VALUES ($1, $2, $3, $4)
		ON CONFLICT (reseller, month, currency) DO UPDATE SET body = excluded.body`, o.Reseller, o.Month, o.Currency, body)
}

func (t *tx) Outside(month string) ([]hub.OutsideSummary, error) {
	return many(t, decoded[hub.OutsideSummary], "SELECT body FROM outside WHERE month = $1 ORDER BY reseller, currency", month)
}

func decoded[T any](s scanner) (v T, err error) {
	body, err := text(s)
	if err != nil {
		return v, err
	}
	return v, json.Unmarshal([]byte(body), &v)
}

func (t *tx) PutMonth(m hub.Month) error {
	body, err := encode(m)
	if err != nil {
		return err
	}
	return t.do("INSERT INTO months (month, begins, body) VALUES ($1, $2, $3)", m.Month, ms(m.Next), body)
}

func (t *tx) Month(month string) (hub.Month, error) {
	return one(t, decoded[hub.Month], "SELECT body FROM months WHERE month = $1", month)
}

func (t *tx) Months(max int) ([]hub.Month, error) {
	return many(t, decoded[hub.Month], "SELECT body FROM months ORDER BY month DESC LIMIT $1", max)
}

func (t *tx) BooksFrom() (time.Time, error) {
	last, err := one(t, number, "SELECT COALESCE(MAX(begins), 0) FROM months")
	return at(last), err
}
