package store

import (
	"zonegate/hub"
)

func (t *tx) AddTransactions(ts []hub.Transaction) error {
	heads := make([]any, 0, 6*len(ts))
	var lines []any
	for _, x := range ts {
		heads = append(heads, x.ID, x.Kind, x.Ref, ms(x.At), x.Reseller, x.Note)
		for i, p := range x.Postings {
			lines = append(lines, x.ID, i, p.Account, p.Currency, p.Amount)
		}
	}
	if _, err := t.insert("INSERT INTO transactions (id, kind, ref, at, reseller, note)", "", 6, heads); err != nil {
		return err
	}
	_, err := t.insert("INSERT INTO postings (book, line, account, currency, amount)", "", 5, lines)
	return err
}

const transactionColumns = "SELECT id, kind, ref, at, reseller, note FROM transactions"

func transaction(s scanner) (x hub.Transaction, err error) {
	var when int64
	err = s.Scan(&x.ID, &x.Kind, &x.Ref, &when, &x.Reseller, &x.Note)
	x.At = at(when)
	return x, err
}

func (t *tx) Transaction(kind, ref string) (hub.Transaction, error) {
	x, err := one(t, transaction, transactionColumns+" WHERE kind = $1 AND ref = $2", kind, ref)
	if err != nil {
		return hub.Transaction{}, err
	}
	all, err := t.withPostings([]hub.Transaction{x})
	if err != nil {
		return hub.Transaction{}, err
	}
	return all[0], nil
}

func (t *tx) Transactions(q hub.LedgerQuery) ([]hub.Transaction, error) {
	all, err := many(t, transaction, transactionColumns+" WHERE "+bounded("reseller", q.Reseller)+` AND ($2 = '' OR kind = $2)
		AND at >= $3 AND (CAST($4 AS BIGINT) = 0 OR at < $4) AND ($5 = '' OR id < $5)
		AND ($6 = '' OR EXISTS (SELECT 1 FROM postings p WHERE p.book = transactions.id AND p.account = $6))
		ORDER BY id DESC LIMIT $7`, q.Reseller, q.Kind, ms(q.From), ms(q.To), q.Before, q.Account, q.Max)
	if err != nil {
		return nil, err
	}
	return t.withPostings(all)
}

// withPostings reads the lines of transactions.
func (t *tx) withPostings(all []hub.Transaction) ([]hub.Transaction, error) {
	at := make(map[string]int, len(all))
	ids := make([]string, len(all))
	for i, x := range all {
		at[x.ID], ids[i] = i, x.ID
	}
	type line struct {
		book string
		hub.Posting
	}
	return all, in(t, ids, func(list string, args []any) error {
		lines, err := many(t, func(s scanner) (l line, err error) {
			var n int64
			err = s.Scan(&l.book, &n, &l.Account, &l.Currency, &l.Amount)
			return l, err
		}, "SELECT book, line, account, currency, amount FROM postings WHERE book IN "+list+" ORDER BY book, line", args...)
		for _, l := range lines {
			x := &all[at[l.book]]
			x.Postings = append(x.Postings, l.Posting)
		}
		return err
	})
}

func balance(s scanner) (b hub.Balance, err error) {
	err = s.Scan(&b.Account, &b.Currency, &b.Amount)
	return b, err
}

func (t *tx) Balances(prefix string) ([]hub.Balance, error) {
	return many(t, balance, `SELECT account, currency, CAST(SUM(amount) AS BIGINT) FROM postings WHERE substr(account, 1, $2) = $1
		GROUP BY account, currency ORDER BY account, currency`, prefix, len(prefix))
}

func (t *tx) BalancesOf(account string) ([]hub.Balance, error) {
	return many(t, balance, `SELECT account, currency, CAST(SUM(amount) AS BIGINT) FROM postings WHERE account = $1
		GROUP BY account, currency ORDER BY currency`, account)
}
