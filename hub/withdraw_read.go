package hub

import (
	"context"
	"time"
)

// ruleAt is the rule of a currency, or with "" of the one that the reseller's
// sites have, or of the first.
func (h *Hub) ruleAt(tx Tx, reseller, cur string) (WithdrawalRule, error) {
	if cur != "" {
		return h.payout.rule(cur)
	}
	sites, err := tx.Sites(reseller)
	if err != nil {
		return WithdrawalRule{}, err
	}
	for _, s := range sites {
		if cur != "" && s.Currency != cur {
			return h.payout.Rules[0], nil
		}
		cur = s.Currency
	}
	if cur == "" {
		return h.payout.Rules[0], nil
	}
	return h.payout.rule(cur)
}

// counted are the states of withdrawals that a day's limits count: those that
// hold money, or have moved it.
func counted(s PayoutState) bool {
	switch s {
	case PayoutCanceled, PayoutExpired, PayoutFailed, PayoutReversed:
		return false
	}
	return true
}

// today is where the day began, in the hub's zone, and how far that zone is
// ahead of UTC.
func (h *Hub) today() (begin time.Time, offset time.Duration) {
	now := h.now().In(h.zone)
	_, seconds := now.Zone()
	return time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, h.zone), time.Duration(seconds) * time.Second
}

// usedToday is what counts against today's limits.
func (h *Hub) usedToday(tx Tx, reseller, cur string) (amount, count, all int64, err error) {
	begin, offset := h.today()
	sums, err := tx.WithdrawalSums(reseller, cur, begin, begin.AddDate(0, 0, 1), offset)
	for _, s := range sums {
		all += s.Count
		if counted(s.State) {
			amount, count = amount+s.Amount, count+s.Count
		}
	}
	return amount, count, all, err
}

// Eligibility says what the actor's reseller can withdraw today. With an empty
// currency it is that of his sites.
func (h *Hub) Eligibility(ctx context.Context, by Actor, cur string) (e Eligibility, err error) {
	reseller, err := by.owner()
	if err != nil {
		return e, err
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		r, err := h.ruleAt(tx, reseller, cur)
		if err != nil {
			return err
		}
		e, err = h.eligible(tx, reseller, r)
		return err
	})
	return e, err
}

func (h *Hub) eligible(tx Tx, reseller string, r WithdrawalRule) (e Eligibility, err error) {
	e = Eligibility{Currency: r.Currency, Reasons: []string{}}
	if e.KYC, err = tx.KYC(reseller); err != nil {
		return e, err
	}
	var count, all int64
	if e.Used, count, all, err = h.usedToday(tx, reseller, r.Currency); err != nil {
		return e, err
	}
	balances, err := resellerBalances(tx, reseller)
	if err != nil {
		return e, err
	}
	for _, b := range balances {
		if b.Currency == r.Currency {
			e.Available, e.Blocked = b.Available, b.Blocked
		}
	}
	e.Daily = r.Daily[e.KYC]
	e.Left = max(e.Daily-e.Used, 0)
	if e.Daily == 0 {
		e.Reasons = append(e.Reasons, "Vérification KYC requise pour les retraits")
	}
	if e.Daily > 0 && e.Left < r.Min {
		e.Reasons = append(e.Reasons, "Limite journalière atteinte")
	}
	if count >= int64(r.Count) || all >= asked*int64(r.Count) {
		e.Reasons = append(e.Reasons, "Nombre maximal de retraits par jour atteint")
	}
	if e.Available < r.Min {
		e.Reasons = append(e.Reasons, "Solde insuffisant")
	}
	e.Eligible = len(e.Reasons) == 0
	return e, nil
}

// WithdrawalRuleFor is the rule of a currency. With an empty one it is that of
// the actor's sites, and for an admin the first.
func (h *Hub) WithdrawalRuleFor(ctx context.Context, by Actor, cur string) (r WithdrawalRule, err error) {
	err = h.store.Read(ctx, func(tx Tx) error {
		if by.Reseller == "" && cur == "" {
			r = h.payout.Rules[0]
			return nil
		}
		r, err = h.ruleAt(tx, by.Reseller, cur)
		return err
	})
	return r, err
}

// WithdrawalQuote says what a withdrawal would cost: FieldErrors for one that
// is not possible.
func (h *Hub) WithdrawalQuote(ctx context.Context, by Actor, cur string, amount int64, operator string) (q Quote, err error) {
	reseller, err := by.owner()
	if err != nil {
		return q, err
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		q.Rule, err = h.ruleAt(tx, reseller, cur)
		return err
	})
	if err != nil {
		return q, err
	}
	if e := q.Rule.checkAmount(amount, operator); len(e) > 0 {
		return q, e
	}
	q.Amount, q.Fee = amount, q.Rule.fee(amount)
	q.Net = q.Amount - q.Fee
	return q, nil
}

// Withdrawal is one that the actor may see.
func (h *Hub) Withdrawal(ctx context.Context, by Actor, id string) (w Withdrawal, err error) {
	return h.seen(ctx, by, func(tx Tx) (Withdrawal, error) { return tx.Withdrawal(id) })
}

// WithdrawalByNumber is Withdrawal by the number of the documented API.
func (h *Hub) WithdrawalByNumber(ctx context.Context, by Actor, n int64) (Withdrawal, error) {
	return h.seen(ctx, by, func(tx Tx) (Withdrawal, error) { return tx.WithdrawalByNumber(n) })
}

func (h *Hub) seen(ctx context.Context, by Actor, find func(Tx) (Withdrawal, error)) (w Withdrawal, err error) {
	err = h.store.Read(ctx, func(tx Tx) error {
		w, err = find(tx)
		return err
	})
	if err == nil && !by.manages(w.Reseller) {
		return Withdrawal{}, ErrNotFound
	}
	return w, err
}

// Withdrawals is a page of those that the actor may see, newest first, and how
// many there are in all.
func (h *Hub) Withdrawals(ctx context.Context, by Actor, q WithdrawalQuery) (page_ []Withdrawal, total int, err error) {
	if q.Reseller, err = by.scope(q.Reseller); err != nil {
		return nil, 0, err
	}
	if by.Role == RoleSeller {
		return nil, 0, ErrForbidden
	}
	q.Max, q.After = page(q.Max), max(q.After, 0)
	err = h.store.Read(ctx, func(tx Tx) error {
		page_, total, err = tx.Withdrawals(q)
		return err
	})
	return page_, total, err
}

// WithdrawalSums count them by day (in the hub's zone), operator and state; an
// empty reseller is all that the actor may see, an empty currency any.
func (h *Hub) WithdrawalSums(ctx context.Context, by Actor, reseller, cur string, from, to time.Time) (sums []WithdrawalSum, err error) {
	if reseller, err = by.scope(reseller); err != nil {
		return nil, err
	}
	if by.Role == RoleSeller {
		return nil, ErrForbidden
	}
	_, offset := h.today()
	err = h.store.Read(ctx, func(tx Tx) error {
		sums, err = tx.WithdrawalSums(reseller, cur, from, to, offset)
		return err
	})
	return sums, err
}

// Zone is where days and months begin.
func (h *Hub) Zone() *time.Location { return h.zone }

// Now is the hub's time.
func (h *Hub) Now() time.Time { return h.now() }
