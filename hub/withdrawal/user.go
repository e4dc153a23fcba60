package withdrawal

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"zonegate/hub"
	"zonegate/hub/provider"
)

func (h *Handler) eligibility(c *call) error {
	e, err := h.hub.Eligibility(c.Context(), c.by, c.form.Get("currency"))
	if err != nil {
		return err
	}
	if e.Daily == 0 {
		return &hub.KYCError{Level: e.KYC}
	}
	return c.succeed(http.StatusOK, "", struct {
		Eligible  bool     `json:"eligible"`
		Reasons   []string `json:"reasons"`
		Daily     decimal  `json:"daily_limit"`
		Used      decimal  `json:"used_today"`
		Available decimal  `json:"available_today"`
		Balance   decimal  `json:"wallet_balance"`
		Blocked   decimal  `json:"blocked_balance"`
		Currency  string   `json:"currency"`
		KYC       string   `json:"kyc_level"`
	}{e.Eligible, e.Reasons, money(e.Daily, e.Currency), money(e.Used, e.Currency), money(e.Left, e.Currency),
		money(e.Available, e.Currency), money(e.Blocked, e.Currency), e.Currency, e.KYC})
}

// amount reads what a caller wrote, whole or with decimals, in a currency.
func amount(text, currency string) (int64, error) {
	m, err := provider.ParseAmount(strings.Trim(text, `"`), currency)
	if err != nil {
		return 0, hub.FieldErrors{{Field: "amount", Text: "Le montant est obligatoire et doit être un nombre."}}
	}
	return m.Amount, nil
}

// operators are how people know them.
var operators = map[string]string{"mtn_money": "MTN Money", "orange_money": "Orange Money", "moov_money": "Moov Money"}

func (h *Handler) fees(c *call) error {
	rule, err := h.hub.WithdrawalRuleFor(c.Context(), c.by, c.form.Get("currency"))
	if err != nil {
		return err
	}
	n, err := amount(c.form.Get("amount"), rule.Currency)
	if err != nil {
		return err
	}
	operator := c.form.Get("operator")
	q, err := h.hub.WithdrawalQuote(c.Context(), c.by, rule.Currency, n, operator)
	if err != nil {
		return err
	}
	name := operators[operator]
	if name == "" {
		name = operator
	}
	return c.succeed(http.StatusOK, "", struct {
		Amount      decimal `json:"amount"`
		Fees        decimal `json:"fees"`
		Net         decimal `json:"net_amount"`
		Percentage  decimal `json:"fee_percentage"`
		Min         decimal `json:"min_fee"`
		Max         decimal `json:"max_fee"`
		Description string  `json:"description"`
	}{money(q.Amount, rule.Currency), money(q.Fee, rule.Currency), money(q.Net, rule.Currency), percent(rule.FeePermille),
		money(rule.FeeMin, rule.Currency), money(rule.FeeMax, rule.Currency), "Frais " + name})
}

func (h *Handler) request(c *call) error {
	var q struct {
		Amount   json.RawMessage `json:"amount"`
		Phone    string          `json:"phone_number"`
		Operator string          `json:"operator"`
		Currency string          `json:"currency"`
	}
	if err := c.read(&q); err != nil {
		return err
	}
	rule, err := h.hub.WithdrawalRuleFor(c.Context(), c.by, q.Currency)
	if err != nil {
		return err
	}
	n, err := amount(string(q.Amount), rule.Currency)
	if err != nil {
		return err
	}
	w, err := h.hub.RequestWithdrawal(c.Context(), c.by, hub.WithdrawalRequest{Currency: rule.Currency, Amount: n, Phone: q.Phone, Operator: q.Operator})
	if err != nil {
		return err
	}
	cur := w.Amount.Currency
	return c.succeed(http.StatusCreated, "Code de retrait envoyé au bénéficiaire", struct {
		ID        int64   `json:"withdrawal_id"`
		Reference string  `json:"reference"`
		Expires   stamp   `json:"code_expires_at"`
		Amount    decimal `json:"amount"`
		Fees      decimal `json:"fees"`
		Net       decimal `json:"net_amount"`
	}{w.Number, w.Reference, h.stamp(w.CodeExpires), money(w.Amount.Amount, cur), money(w.Fee, cur), money(w.Net().Amount, cur)})
}

func (h *Handler) validate(c *call) error {
	w, err := h.one(c)
	if err != nil {
		return err
	}
	var q struct {
		Code json.RawMessage `json:"code"`
	}
	if err := c.read(&q); err != nil {
		return err
	}
	code := strings.Trim(string(q.Code), `"`)
	if code == "" || code == "null" {
		return hub.FieldErrors{{Field: "code", Text: "Le code est obligatoire."}}
	}
	if w, err = h.hub.ValidateWithdrawal(c.Context(), c.by, w.ID, code); err != nil {
		return err
	}
	return c.succeed(http.StatusOK, "Code validé. Notre équipe traitera votre retrait sous peu.", struct {
		ID        int64   `json:"id"`
		Reference string  `json:"withdrawal_reference"`
		Amount    decimal `json:"amount"`
		Status    string  `json:"status"`
		Verified  bool    `json:"is_code_verified"`
		At        stamp   `json:"code_verified_at"`
	}{w.Number, w.Reference, money(w.Amount.Amount, w.Amount.Currency), statusOf(w.State), !w.Verified.IsZero(), h.stamp(w.Verified)})
}

func (h *Handler) cancel(c *call) error {
	w, err := h.one(c)
	if err != nil {
		return err
	}
	if w, err = h.hub.CancelWithdrawal(c.Context(), c.by, w.ID); err != nil {
		return err
	}
	return c.succeed(http.StatusOK, "Retrait annulé", struct {
		ID       int64   `json:"id"`
		Status   string  `json:"status"`
		Refunded decimal `json:"refunded_amount"`
	}{w.Number, statusOf(w.State), money(w.Amount.Amount, w.Amount.Currency)})
}

func (h *Handler) resend(c *call) error {
	w, err := h.one(c)
	if err != nil {
		return err
	}
	if w, err = h.hub.ResendWithdrawalCode(c.Context(), c.by, w.ID); err != nil {
		return err
	}
	return c.succeed(http.StatusOK, "Code renvoyé", struct {
		Expires stamp `json:"code_expires_at"`
	}{h.stamp(w.CodeExpires)})
}

// item is a withdrawal in a user's list.
type item struct {
	ID        int64   `json:"id"`
	Reference string  `json:"withdrawal_reference"`
	Amount    decimal `json:"amount"`
	Fees      decimal `json:"fees"`
	Net       decimal `json:"net_amount"`
	Phone     string  `json:"phone_number"`
	Operator  string  `json:"operator"`
	Status    string  `json:"status"`
	Verified  bool    `json:"is_code_verified"`
	Created   stamp   `json:"created_at"`
	Updated   stamp   `json:"updated_at"`
}

func (h *Handler) item(w hub.Withdrawal) item {
	cur := w.Amount.Currency
	return item{w.Number, w.Reference, money(w.Amount.Amount, cur), money(w.Fee, cur), money(w.Net().Amount, cur), "+" + w.Phone, w.Operator,
		statusOf(w.State), !w.Verified.IsZero(), h.stamp(w.Made), h.stamp(w.Changed)}
}

func (h *Handler) list(c *call) error {
	p, err := c.page()
	if err != nil {
		return err
	}
	q := hub.WithdrawalQuery{Currency: c.form.Get("currency"), Operator: c.form.Get("operator"), After: p.after(), Max: p.size}
	if q.States, err = states(c.form.Get("status")); err != nil {
		return err
	}
	ws, total, err := h.hub.Withdrawals(c.Context(), c.by, q)
	if err != nil {
		return err
	}
	items := make([]item, 0, len(ws))
	for _, w := range ws {
		items = append(items, h.item(w))
	}
	return c.succeed(http.StatusOK, "", h.paginator(c, p, items, len(items), total))
}

func (h *Handler) show(c *call) error {
	w, err := h.one(c)
	if err != nil {
		return err
	}
	cur := w.Amount.Currency
	return c.succeed(http.StatusOK, "", struct {
		ID        int64    `json:"id"`
		User      int64    `json:"user_id"`
		Wallet    int64    `json:"wallet_id"`
		Amount    decimal  `json:"amount"`
		Currency  string   `json:"currency"`
		Fees      decimal  `json:"fees"`
		Net       decimal  `json:"net_amount"`
		Method    string   `json:"method"`
		Phone     string   `json:"phone_number"`
		Operator  string   `json:"operator"`
		Reference string   `json:"withdrawal_reference"`
		Code      optional `json:"withdrawal_code"` // never told
		Expires   stamp    `json:"code_expires_at"`
		At        stamp    `json:"code_verified_at"`
		Verified  bool     `json:"is_code_verified"`
		Status    string   `json:"status"`
		Created   stamp    `json:"created_at"`
		Updated   stamp    `json:"updated_at"`
	}{w.Number, w.UserNumber, w.WalletNumber, money(w.Amount.Amount, cur), cur, money(w.Fee, cur), money(w.Net().Amount, cur), "mobile_money",
		"+" + w.Phone, w.Operator, w.Reference, "", h.stamp(w.CodeExpires), h.stamp(w.Verified), !w.Verified.IsZero(), statusOf(w.State),
		h.stamp(w.Made), h.stamp(w.Changed)})
}

// The document has no range for a user's days: a month is shown.
const statsDays = 30

func (h *Handler) stats(c *call) error {
	rule, err := h.hub.WithdrawalRuleFor(c.Context(), c.by, c.form.Get("currency"))
	if err != nil {
		return err
	}
	cur := rule.Currency
	sums, err := h.hub.WithdrawalSums(c.Context(), c.by, "", cur, time.Unix(0, 0), h.tomorrow())
	if err != nil {
		return err
	}
	type daily struct {
		Date   string  `json:"date"`
		Count  int64   `json:"count"`
		Amount decimal `json:"total_amount"`
	}
	var total, fees, pending int64
	days := []daily{}
	first := h.tomorrow().AddDate(0, 0, -statsDays)
	var sum int64
	for _, s := range sums {
		switch {
		case s.State == hub.PayoutCompleted:
			total, fees = total+s.Amount, fees+s.Fee
		case open(s.State):
			pending += s.Count
		default:
			continue
		}
		if s.Day.Before(first) {
			continue
		}
		date := s.Day.In(h.hub.Zone()).Format(time.DateOnly)
		if len(days) == 0 || days[len(days)-1].Date != date {
			days, sum = append(days, daily{Date: date}), 0
		}
		d := &days[len(days)-1]
		sum += s.Amount
		d.Count, d.Amount = d.Count+s.Count, money(sum, cur)
	}
	return c.succeed(http.StatusOK, "", struct {
		Total   decimal `json:"total_withdrawn"`
		Fees    decimal `json:"total_fees"`
		Pending int64   `json:"pending_count"`
		Days    []daily `json:"daily_stats"`
	}{money(total, cur), money(fees, cur), pending, days})
}

// open says whether a withdrawal is neither paid nor given up.
func open(s hub.PayoutState) bool {
	switch s {
	case hub.PayoutRequested, hub.PayoutCodeSent, hub.PayoutVerified, hub.PayoutProcessing, hub.PayoutAmbiguous:
		return true
	}
	return false
}

// today and tomorrow are where days begin, in the hub's zone.
func (h *Handler) today() time.Time {
	now := h.hub.Now().In(h.hub.Zone())
	return time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, h.hub.Zone())
}

func (h *Handler) tomorrow() time.Time { return h.today().AddDate(0, 0, 1) }
