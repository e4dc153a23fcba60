package store

import (
	"strconv"
	"strings"
	"time"

	"zonegate/hub"
)

const withdrawalFields = `id, number, reference, reseller, by_user, by_name, user_number, wallet_number, amount, currency, fee, phone, operator,
	state, reason, code_hash, code_expires, code_sends, tries, verified, not_before, payer, their_fee, claimed, approved, attempt, called,
	provider_ref, next_look, looks, processed, processed_by, processed_number, manual, notes, made, changed`

const withdrawalColumns = "SELECT " + withdrawalFields + " FROM withdrawals"

func withdrawal(s scanner) (w hub.Withdrawal, err error) {
	var theirs, expires, verified, notBefore, called, next, processed, made, changed int64
	err = s.Scan(&w.ID, &w.Number, &w.Reference, &w.Reseller, &w.User, &w.UserName, &w.UserNumber, &w.WalletNumber,
		&w.Amount.Amount, &w.Amount.Currency, &w.Fee, &w.Phone, &w.Operator, &w.State, &w.Reason,
		&w.CodeHash, &expires, &w.CodeSends, &w.Tries, &verified, &notBefore, &w.Payer, &theirs, &w.Claimed, &w.Approved, &w.Attempt, &called,
		&w.ProviderRef, &next, &w.Looks, &processed, &w.ProcessedBy, &w.ProcessedNumber, &w.Manual, &w.Notes, &made, &changed)
	w.TheirFee = theirs != 0
	w.CodeExpires, w.Verified, w.NotBefore, w.Called, w.NextLook = at(expires), at(verified), at(notBefore), at(called), at(next)
	w.Processed, w.Made, w.Changed = at(processed), at(made), at(changed)
	return w, err
}

// AddWithdrawal numbers in a row that stays locked until the commit, so that
// no number is left out or seen late.
func (t *tx) AddWithdrawal(w hub.Withdrawal) (int64, error) {
	n, err := one(t, number, "UPDATE sequences SET last = last + 1 WHERE name = 'withdrawal' RETURNING last")
	if err != nil {
		return 0, err
	}
	_, err = t.insert("INSERT INTO withdrawals ("+withdrawalFields+")", "", 37, []any{
		w.ID, n, w.Reference, w.Reseller, w.User, w.UserName, w.UserNumber, w.WalletNumber,
		w.Amount.Amount, w.Amount.Currency, w.Fee, w.Phone, w.Operator, string(w.State), w.Reason,
		w.CodeHash, ms(w.CodeExpires), w.CodeSends, w.Tries, ms(w.Verified), ms(w.NotBefore), w.Payer, flag(w.TheirFee), w.Claimed, w.Approved, w.Attempt, ms(w.Called),
		w.ProviderRef, ms(w.NextLook), w.Looks, ms(w.Processed), w.ProcessedBy, w.ProcessedNumber, w.Manual, w.Notes, ms(w.Made), ms(w.Changed)})
	return n, err
}

func (t *tx) ChangeWithdrawal(w hub.Withdrawal) error {
	return t.must(`UPDATE withdrawals SET state = $2, reason = $3, code_hash = $4, code_expires = $5, code_sends = $6, tries = $7,
		verified = $8, not_before = $9, claimed = $10, approved = $11, attempt = $12, called = $13, provider_ref = $14, next_look = $15,
		looks = $16, processed = $17, processed_by = $18, processed_number = $19, manual = $20, notes = $21, changed = $22, payer = $23, their_fee = $24 WHERE id = $1`,
		w.ID, string(w.State), w.Reason, w.CodeHash, ms(w.CodeExpires), w.CodeSends, w.Tries,
		ms(w.Verified), ms(w.NotBefore), w.Claimed, w.Approved, w.Attempt, ms(w.Called), w.ProviderRef, ms(w.NextLook),
		w.Looks, ms(w.Processed), w.ProcessedBy, w.ProcessedNumber, w.Manual, w.Notes, ms(w.Changed), w.Payer, flag(w.TheirFee))
}

func (t *tx) Withdrawal(id string) (hub.Withdrawal, error) {
	return one(t, withdrawal, withdrawalColumns+" WHERE id = $1", id)
}

func (t *tx) WithdrawalByNumber(n int64) (hub.Withdrawal, error) {
	return one(t, withdrawal, withdrawalColumns+" WHERE number = $1", n)
}

func (t *tx) WithdrawalOf(payer, reference, providerRef string) (hub.Withdrawal, error) {
	return one(t, withdrawal, withdrawalColumns+` WHERE payer = $1 AND
		($2 <> '' AND reference = $2 OR $3 <> '' AND provider_ref = $3) ORDER BY number DESC LIMIT 1`, payer, reference, providerRef)
}

// A filter is a WHERE that grows.
type filter struct {
	text strings.Builder
	args []any
}

// and adds a condition; each ? in it stands for the next of args.
func (f *filter) and(condition string, args ...any) {
	f.text.WriteString(map[bool]string{true: " WHERE ", false: " AND "}[f.text.Len() == 0])
	for _, a := range args {
		f.args = append(f.args, a)
		condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(f.args)), 1)
	}
	f.text.WriteString(condition)
}

// equal adds a condition unless value is empty.
func (f *filter) equal(column, value string) {
	if value != "" {
		f.and(column+" = ?", value)
	}
}

// page ends the statement.
func (f *filter) page(max, after int) string {
	f.args = append(f.args, max, after)
	return " LIMIT $" + strconv.Itoa(len(f.args)-1) + " OFFSET $" + strconv.Itoa(len(f.args))
}

func (f *filter) oneOf(column string, values []string) {
	if len(values) == 0 {
		return
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	f.and(column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")", args...)
}

func (t *tx) Withdrawals(q hub.WithdrawalQuery) ([]hub.Withdrawal, int, error) {
	var f filter
	f.equal("reseller", q.Reseller)
	f.equal("currency", q.Currency)
	f.equal("operator", q.Operator)
	f.equal("reference", q.Reference)
	if q.Phone != "" {
		f.and("phone LIKE ?", "%"+q.Phone+"%")
	}
	f.oneOf("state", texts(q.States))
	if q.Waiting {
		f.and("(state = ? OR state = ? AND payer = '')", string(hub.PayoutVerified), string(hub.PayoutProcessing))
	}
	if !q.From.IsZero() {
		f.and("made >= ?", ms(q.From))
	}
	if !q.To.IsZero() {
		f.and("made < ?", ms(q.To))
	}
	total, err := one(t, number, "SELECT COUNT(*) FROM withdrawals"+f.text.String(), f.args...)
	if err != nil {
		return nil, 0, err
	}
	page, err := many(t, withdrawal, withdrawalColumns+f.text.String()+" ORDER BY number DESC"+f.page(q.Max, q.After), f.args...)
	return page, int(total), err
}

func texts[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// day is a day in milliseconds.
const day = 24 * 60 * 60 * 1000

func (t *tx) WithdrawalSums(reseller, currency string, from, to time.Time, offset time.Duration) ([]hub.WithdrawalSum, error) {
	var f filter
	f.equal("reseller", reseller)
	f.equal("currency", currency)
	f.and("made >= ?", ms(from))
	f.and("made < ?", ms(to))
	shift := strconv.FormatInt(offset.Milliseconds(), 10)
	return many(t, func(s scanner) (x hub.WithdrawalSum, err error) {
		var n int64
		err = s.Scan(&n, &x.Operator, &x.State, &x.Count, &x.Amount, &x.Fee)
		x.Day = at(n*day - offset.Milliseconds())
		return x, err
	}, "SELECT (made + "+shift+") / "+strconv.Itoa(day)+" AS n, operator, state, COUNT(*), CAST(SUM(amount) AS BIGINT), CAST(SUM(fee) AS BIGINT) FROM withdrawals"+
		f.text.String()+" GROUP BY n, operator, state ORDER BY n, operator, state", f.args...)
}

func (t *tx) DueWithdrawals(now time.Time, max int) ([]string, error) {
	return many(t, text, "SELECT id FROM withdrawals WHERE next_look > 0 AND next_look <= $1 ORDER BY next_look, id LIMIT $2", ms(now), max)
}

func (t *tx) KYC(reseller string) (string, error) {
	level, err := one(t, text, "SELECT COALESCE(k.level, $2) FROM resellers r LEFT JOIN kyc k ON k.reseller = r.id WHERE r.id = $1", reseller, hub.KYCUnverified)
	return level, err
}

func (t *tx) SetKYC(reseller, level string) error {
	return t.do("INSERT INTO kyc (reseller, level) VALUES ($1, $2) ON CONFLICT (reseller) DO UPDATE SET level = excluded.level", reseller, level)
}

func (t *tx) Payees(reseller string) ([]hub.Payee, error) {
	return many(t, func(s scanner) (p hub.Payee, err error) {
		var since int64
		err = s.Scan(&p.Phone, &since)
		p.Since = at(since)
		return p, err
	}, "SELECT phone, since FROM payees WHERE reseller = $1 ORDER BY since, phone", reseller)
}

func (t *tx) AddPayee(reseller string, p hub.Payee) error {
	return t.do("INSERT INTO payees (reseller, phone, since) VALUES ($1, $2, $3) ON CONFLICT (reseller, phone) DO NOTHING", reseller, p.Phone, ms(p.Since))
}

func (t *tx) ForNumber(kind, id string) (int64, error) {
	if err := t.Lock("number/" + kind); err != nil {
		return 0, err
	}
	if err := t.do(`INSERT INTO numbers (kind, id, number) SELECT $1, $2, COALESCE(MAX(number), 0) + 1 FROM numbers WHERE kind = $1
		ON CONFLICT (kind, id) DO NOTHING`, kind, id); err != nil {
		return 0, err
	}
	return one(t, number, "SELECT number FROM numbers WHERE kind = $1 AND id = $2", kind, id)
}
