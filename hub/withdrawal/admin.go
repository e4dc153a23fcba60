package withdrawal

import (
	"context"
	"fmt"
	"net/http"
	"sort"
	"time"

	"zonegate/hub"
)

type person struct {
	ID    int64     `json:"id"`
	Email string    `json:"email"`
	Phone *optional `json:"phone,omitempty"` // the hub knows none
}

type wallet struct {
	ID     int64  `json:"id"`
	Number string `json:"wallet_number"`
}

func (h *Handler) pending(c *call) error {
	p, err := c.page()
	if err != nil {
		return err
	}
	q := hub.WithdrawalQuery{Currency: c.form.Get("currency"), Operator: c.form.Get("operator"), Waiting: true, After: p.after(), Max: p.size}
	if q.From, err = h.day(c, "date"); err != nil {
		return err
	}
	if !q.From.IsZero() {
		q.To = q.From.AddDate(0, 0, 1)
	}
	ws, total, err := h.hub.Withdrawals(c.Context(), c.by, q)
	if err != nil {
		return err
	}
	type pendingItem struct {
		ID        int64   `json:"id"`
		Reference string  `json:"withdrawal_reference"`
		Amount    decimal `json:"amount"`
		Net       decimal `json:"net_amount"`
		Phone     string  `json:"phone_number"`
		Operator  string  `json:"operator"`
		User      person  `json:"user"`
		Wallet    wallet  `json:"wallet"`
		Verified  bool    `json:"is_code_verified"`
		Claimed   bool    `json:"is_claimed"`
		NotBefore stamp   `json:"payable_from"`
		Currency  string  `json:"currency"`
		Created   stamp   `json:"created_at"`
	}
	items := make([]pendingItem, 0, len(ws))
	for _, w := range ws {
		cur := w.Amount.Currency
		items = append(items, pendingItem{w.Number, w.Reference, money(w.Amount.Amount, cur), money(w.Net().Amount, cur), "+" + w.Phone, w.Operator,
			person{w.UserNumber, w.UserName, new(optional)}, wallet{w.WalletNumber, fmt.Sprintf("WAL%08d", w.WalletNumber)},
			!w.Verified.IsZero(), w.Claimed != "", h.stamp(w.NotBefore), cur, h.stamp(w.Made)})
	}
	stats, err := h.waiting(c, q)
	if err != nil {
		return err
	}
	out := h.paginator(c, p, items, len(items), total)
	out.Stats = stats
	return c.succeed(http.StatusOK, "", out)
}

type operatorTotal struct {
	Operator string  `json:"operator"`
	Count    int64   `json:"count"`
	Total    decimal `json:"total"`
}

type waitingStats struct {
	Total  int64           `json:"total_pending"`
	Amount decimal         `json:"total_amount_pending"`
	Counts []operatorTotal `json:"count_by_operator"`
}

// waiting sums up all that a list of pending ones has, on whatever page. Amounts
// are of one currency: the one asked for, or the first rule's.
func (h *Handler) waiting(c *call, q hub.WithdrawalQuery) (s waitingStats, err error) {
	rule, err := h.hub.WithdrawalRuleFor(c.Context(), c.by, q.Currency)
	if err != nil {
		return s, err
	}
	var sum int64
	count, total := map[string]int64{}, map[string]int64{}
	q.Currency, q.After, q.Max = rule.Currency, 0, 1000
	for {
		ws, all, err := h.hub.Withdrawals(c.Context(), c.by, q)
		if err != nil {
			return s, err
		}
		for _, w := range ws {
			s.Total++
			sum += w.Amount.Amount
			count[w.Operator]++
			total[w.Operator] += w.Amount.Amount
		}
		if q.After += len(ws); len(ws) == 0 || q.After >= all {
			break
		}
	}
	s.Amount, s.Counts = money(sum, rule.Currency), []operatorTotal{}
	for o, n := range count {
		s.Counts = append(s.Counts, operatorTotal{o, n, money(total[o], rule.Currency)})
	}
	sort.Slice(s.Counts, func(i, j int) bool {
		a, b := s.Counts[i], s.Counts[j]
		return a.Count > b.Count || a.Count == b.Count && a.Operator < b.Operator
	})
	return s, nil
}

func (h *Handler) process(c *call) error {
	w, err := h.one(c)
	if err != nil {
		return err
	}
	var q struct {
		Reference string `json:"manual_reference"`
		Notes     string `json:"notes"`
	}
	if err := c.read(&q); err != nil {
		return err
	}
	if w, err = h.hub.CompleteWithdrawal(c.Context(), c.by, w.ID, q.Reference, q.Notes); err != nil {
		return err
	}
	return c.succeed(http.StatusOK, "Retrait marqué comme traité", struct {
		ID        int64    `json:"id"`
		Status    string   `json:"status"`
		By        int64    `json:"processed_manually_by"`
		At        stamp    `json:"processed_manually_at"`
		Reference optional `json:"manual_reference"`
		Notes     optional `json:"manual_notes"`
	}{w.Number, statusOf(w.State), w.ProcessedNumber, h.stamp(w.Processed), optional(w.Manual), optional(w.Notes)})
}

func (h *Handler) fail(c *call) error {
	w, err := h.one(c)
	if err != nil {
		return err
	}
	var q struct {
		Reason string `json:"reason"`
	}
	if err := c.read(&q); err != nil {
		return err
	}
	if w, err = h.hub.FailWithdrawal(c.Context(), c.by, w.ID, q.Reason); err != nil {
		return err
	}
	return c.succeed(http.StatusOK, "Retrait marqué comme échoué", struct {
		ID     int64  `json:"id"`
		Status string `json:"status"`
		Reason string `json:"failure_reason"`
	}{w.Number, statusOf(w.State), w.Reason})
}

type standing struct {
	ID       int64    `json:"id"`
	Status   string   `json:"status"`
	Claimed  bool     `json:"is_claimed"`
	Approved bool     `json:"is_approved"`
	Reason   optional `json:"failure_reason"`
}

func (c *call) stand(message string, w hub.Withdrawal) error {
	return c.succeed(http.StatusOK, message, standing{w.Number, statusOf(w.State), w.Claimed != "", w.Approved != "", optional(w.Reason)})
}

// decided lays a path that the document does not have.
func (h *Handler) decided(message string, do func(context.Context, hub.Actor, string) (hub.Withdrawal, error)) func(*call) error {
	return func(c *call) error {
		w, err := h.one(c)
		if err != nil {
			return err
		}
		if w, err = do(c.Context(), c.by, w.ID); err != nil {
			return err
		}
		return c.stand(message, w)
	}
}

func (h *Handler) resolve(c *call) error {
	w, err := h.one(c)
	if err != nil {
		return err
	}
	var q struct {
		Paid      *bool  `json:"paid"`
		Statement string `json:"statement"`
	}
	if err := c.read(&q); err != nil {
		return err
	}
	if q.Paid == nil {
		return hub.FieldErrors{{Field: "paid", Text: "Indiquez si le montant a été payé."}}
	}
	if w, err = h.hub.ResolveWithdrawal(c.Context(), c.by, w.ID, hub.Resolution{Paid: *q.Paid, Statement: q.Statement}); err != nil {
		return err
	}
	return c.stand("Retrait résolu", w)
}

func (h *Handler) reverse(c *call) error {
	w, err := h.one(c)
	if err != nil {
		return err
	}
	var q struct {
		Statement string `json:"statement"`
	}
	if err := c.read(&q); err != nil {
		return err
	}
	if w, err = h.hub.ReverseWithdrawal(c.Context(), c.by, w.ID, q.Statement); err != nil {
		return err
	}
	return c.stand("Retrait annulé après paiement", w)
}

// period is where a period of statistics begins.
func (h *Handler) period(name string) (from time.Time, err error) {
	today := h.today()
	switch name {
	case "", "today":
		return today, nil
	case "week":
		return today.AddDate(0, 0, -(int(today.Weekday())+6)%7), nil // Monday
	case "month":
		return today.AddDate(0, 0, 1-today.Day()), nil
	case "year":
		return today.AddDate(0, 0, 1-today.YearDay()), nil
	}
	return today, hub.FieldErrors{{Field: "period", Text: "La période doit être today, week, month ou year."}}
}

// adminStats counts all withdrawals; the amounts of operators are of those that
// are completed, as in the document's sample.
func (h *Handler) adminStats(c *call) error {
	name := c.form.Get("period")
	from, err := h.period(name)
	if err != nil {
		return err
	}
	if name == "" {
		name = "today"
	}
	rule, err := h.hub.WithdrawalRuleFor(c.Context(), c.by, c.form.Get("currency"))
	if err != nil {
		return err
	}
	cur := rule.Currency
	week := h.today().AddDate(0, 0, -6)
	begin := from
	if week.Before(begin) {
		begin = week
	}
	sums, err := h.hub.WithdrawalSums(c.Context(), c.by, "", cur, begin, h.tomorrow())
	if err != nil {
		return err
	}
	type byOperator struct {
		Operator string  `json:"operator"`
		Count    int64   `json:"count"`
		Amount   decimal `json:"total_amount"`
	}
	type daily struct {
		Date      string  `json:"date"`
		Count     int64   `json:"count"`
		Completed decimal `json:"completed_amount"`
		Pending   decimal `json:"pending_amount"`
	}
	var total tally
	operators, days := map[string]*tally{}, map[string]*tally{}
	for _, s := range sums {
		if !s.Day.Before(from) {
			total.add(s)
			if operators[s.Operator] == nil {
				operators[s.Operator] = &tally{}
			}
			operators[s.Operator].add(s)
		}
		date := s.Day.In(h.hub.Zone()).Format(time.DateOnly)
		if days[date] == nil {
			days[date] = &tally{}
		}
		days[date].add(s)
	}
	by := []byOperator{}
	for o, t := range operators {
		by = append(by, byOperator{o, t.count, money(t.completed, cur)})
	}
	sort.Slice(by, func(i, j int) bool {
		return by[i].Count > by[j].Count || by[i].Count == by[j].Count && by[i].Operator < by[j].Operator
	})
	last := make([]daily, 0, 7)
	for i := range 7 {
		date := week.AddDate(0, 0, i).Format(time.DateOnly)
		t := days[date]
		if t == nil {
			t = &tally{}
		}
		last = append(last, daily{date, t.count, money(t.completed, cur), money(t.pending, cur)})
	}
	return c.succeed(http.StatusOK, "", struct {
		Period    string       `json:"period"`
		Count     int64        `json:"total_count"`
		Completed decimal      `json:"completed_amount"`
		Pending   decimal      `json:"pending_amount"`
		Fees      decimal      `json:"total_fees"`
		Operators []byOperator `json:"by_operator"`
		Days      []daily      `json:"last_7_days"`
	}{name, total.count, money(total.completed, cur), money(total.pending, cur), money(total.fees, cur), by, last})
}

type tally struct{ count, completed, pending, fees int64 }

func (t *tally) add(s hub.WithdrawalSum) {
	t.count += s.Count
	switch {
	case s.State == hub.PayoutCompleted:
		t.completed, t.fees = t.completed+s.Amount, t.fees+s.Fee
	case open(s.State):
		t.pending += s.Amount
	}
}

func (h *Handler) search(c *call) error {
	p, err := c.page()
	if err != nil {
		return err
	}
	q := hub.WithdrawalQuery{Reference: c.form.Get("reference"), Phone: digitsOf(c.form.Get("phone_number")), After: p.after(), Max: p.size}
	if q.States, err = states(c.form.Get("status")); err != nil {
		return err
	}
	if q.From, err = h.day(c, "date_from"); err != nil {
		return err
	}
	if q.To, err = h.day(c, "date_to"); err != nil {
		return err
	}
	if !q.To.IsZero() {
		q.To = q.To.AddDate(0, 0, 1)
	}
	ws, total, err := h.hub.Withdrawals(c.Context(), c.by, q)
	if err != nil {
		return err
	}
	type found struct {
		ID        int64   `json:"id"`
		Reference string  `json:"withdrawal_reference"`
		Amount    decimal `json:"amount"`
		Phone     string  `json:"phone_number"`
		Operator  string  `json:"operator"`
		Status    string  `json:"status"`
		User      person  `json:"user"`
		Created   stamp   `json:"created_at"`
		Processed stamp   `json:"processed_manually_at"`
	}
	items := make([]found, 0, len(ws))
	for _, w := range ws {
		items = append(items, found{w.Number, w.Reference, money(w.Amount.Amount, w.Amount.Currency), "+" + w.Phone, w.Operator, statusOf(w.State),
			person{ID: w.UserNumber, Email: w.UserName}, h.stamp(w.Made), h.stamp(w.Processed)})
	}
	return c.succeed(http.StatusOK, "", h.paginator(c, p, items, len(items), total))
}
