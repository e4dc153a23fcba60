package hub

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"
)

// A Sale is a grant that was sold at a site, as its gateway reported it.
type Sale struct {
	Site     string
	Entry    uint64
	Reseller string
	At       time.Time
	// Exact is false when the gateway's clock was not trusted: At is then when
	// the hub heard of it.
	Exact       bool
	Source, Ref string // as in api.Entry
	Batch       string
	Forfait     string
	Version     uint32
	Amount      int64 // minor units; negative if it takes one back
	Currency    string
	// Custody is who holds the cash: "reseller" for vouchers, "platform" for
	// payments and what the hub issued.
	Custody string
}

// A SaleQuery asks for sales of a month, in order of time.
type SaleQuery struct {
	Reseller string // "" is all that the actor may see
	Month    string // YYYY-MM
	After    int    // how many to leave out
	Max      int    // 0 is 100
}

// Who holds the cash of a Sale.
const (
	CustodyReseller = "reseller"
	CustodyPlatform = "platform"
)

// Sales is a page of them.
func (h *Hub) Sales(ctx context.Context, by Actor, q SaleQuery) (sales []Sale, err error) {
	reseller, err := by.scope(q.Reseller)
	if err != nil {
		return nil, err
	}
	from, to, err := h.month(q.Month)
	if err != nil {
		return nil, err
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		sales, err = tx.Sales(reseller, from, to, max(q.After, 0), page(q.Max))
		return err
	})
	return sales, err
}

// month is where a month begins and ends.
func (h *Hub) month(m string) (from, to time.Time, err error) {
	from, err = time.ParseInLocation("2006-01", m, h.zone)
	if err != nil || from.Year() < 2000 {
		return from, to, invalid("the month must be written as 2026-02")
	}
	return from, from.AddDate(0, 1, 0), nil
}

// A Rule says who gets what of sales. It is data; nothing in the program knows
// another one.
type Rule struct {
	FeePermille int64  `json:"fee_permille"`
	Rounding    string `json:"rounding"` // of the fee: "floor", "ceil" or "half_up"
	Base        string `json:"base"`     // the fee is of each "sale", or of the "month"
	// CashFree says that no fee is taken of what the reseller was paid in cash.
	CashFree bool `json:"cash_free,omitempty"`
	// Shares divide the rest by their weights, each rounded down.
	Shares []Share `json:"shares"`
	// Remainder is the party that gets what the rounding leaves.
	Remainder string `json:"remainder"`
}

// A Share is a party's weight.
type Share struct {
	Party  string `json:"party"`
	Weight int64  `json:"weight"`
}

// Parties of the default Rule, and of the RGZ summary.
const (
	PartyReseller = "reseller"
	PartyRGZ      = "rgz"
)

// DefaultRule is the published one: the fee of each sale is amount x 15 / 1000
// rounded down, the rest is halved, and the odd franc is RGZ's.
func DefaultRule() Rule {
	return Rule{FeePermille: 15, Rounding: "floor", Base: "sale",
		Shares: []Share{{PartyReseller, 1}, {PartyRGZ, 1}}, Remainder: PartyRGZ}
}

// A Summary is a month of a reseller in one currency. Fee and Parts add up to
// Total.
type Summary struct {
	Reseller string
	Month    string
	Currency string
	Total    int64 // minor units, as all amounts here
	Fee      int64
	Parts    map[string]int64 // by party
	// Sales is how many grants were sold, those for nothing too.
	Sales int64
	// Cash is how much of Total the reseller was paid himself.
	Cash int64
	// Rule is what was applied, to the time from From until before To.
	Rule     Rule
	From, To time.Time
}

// check says what makes no sense.
func (r Rule) check() error {
	if r.FeePermille < 0 || r.FeePermille > 1000 {
		return invalid("the fee must be 0 to 1000 per mille")
	}
	if r.Rounding != "floor" && r.Rounding != "ceil" && r.Rounding != "half_up" {
		return invalid("the rounding of the fee must be floor, ceil or half_up")
	}
	if r.Base != "sale" && r.Base != "month" {
		return invalid("the base of the fee must be sale or month")
	}
	if len(r.Shares) == 0 || len(r.Shares) > 20 {
		return invalid("a rule has 1 to 20 shares")
	}
	named := false
	seen := map[string]bool{}
	for _, s := range r.Shares {
		if s.Party == "" || len(s.Party) > 40 || seen[s.Party] || s.Weight < 0 || s.Weight > 1e6 {
			return invalid("each share needs a party of its own and a weight of 0 to 1,000,000")
		}
		seen[s.Party] = true
		named = named || s.Party == r.Remainder
	}
	if !named {
		return invalid("the remainder must go to one of the parties")
	}
	if r.weights() == 0 {
		return invalid("the weights are all zero")
	}
	return nil
}

func (r Rule) weights() (sum int64) {
	for _, s := range r.Shares {
		sum += s.Weight
	}
	return sum
}

// fee is the fee of an amount; of one that is given back, as much is given back.
func (r Rule) fee(amount int64) int64 {
	if amount < 0 {
		return -r.fee(-amount)
	}
	whole, rest := amount/1000*r.FeePermille, amount%1000*r.FeePermille
	switch r.Rounding {
	case "ceil":
		rest += 999
	case "half_up":
		rest += 500
	}
	return whole + rest/1000
}

// split adds what each party gets of an amount, count times, and returns the
// fee.
func (r Rule) split(amount, fee, count int64, parts map[string]int64) {
	net := amount - fee
	left, weights := net, r.weights()
	for _, s := range r.Shares {
		// Without net*weight, which could leave 63 bits.
		part := net/weights*s.Weight + net%weights*s.Weight/weights
		parts[s.Party] += part * count
		left -= part
	}
	parts[r.Remainder] += left * count
}

// apply computes a month of one currency.
func (r Rule) apply(takings []Taking) (s Summary) {
	s.Parts = map[string]int64{}
	for _, p := range r.Shares {
		s.Parts[p.Party] = 0
	}
	var taxed int64 // what a fee is taken of
	for _, t := range takings {
		s.Total += t.Amount * t.Count
		if t.Amount >= 0 {
			s.Sales += t.Count
		} else { // given back
			s.Sales -= t.Count
		}
		free := r.CashFree && t.Custody == CustodyReseller
		if t.Custody == CustodyReseller {
			s.Cash += t.Amount * t.Count
		}
		if !free {
			taxed += t.Amount * t.Count
		}
		if r.Base == "sale" {
			fee := r.fee(t.Amount)
			if free {
				fee = 0
			}
			s.Fee += fee * t.Count
			r.split(t.Amount, fee, t.Count, s.Parts)
		}
	}
	if r.Base == "month" {
		s.Fee = r.fee(taxed)
		r.split(s.Total, s.Fee, 1, s.Parts)
	}
	return s
}

// SetRule makes a rule for a reseller, or with "" for all who have none of
// their own, from the beginning of a month (YYYY-MM) on: this one or later,
// since a month that is over was settled. Admins only.
func (h *Hub) SetRule(ctx context.Context, by Actor, reseller, from string, r Rule) error {
	if by.Role != RoleAdmin {
		return ErrForbidden
	}
	if err := r.check(); err != nil {
		return err
	}
	if _, _, err := h.month(from); err != nil {
		return err
	}
	if from < h.now().In(h.zone).Format("2006-01") {
		return invalid("the month %s is over", from)
	}
	return h.store.Write(ctx, func(tx Tx) error {
		if reseller != "" {
			if _, err := tx.Reseller(reseller); err != nil {
				return err
			}
		}
		if err := tx.PutRule(reseller, from, r); err != nil {
			return err
		}
		return h.note(tx, by, "rule.set", reseller, fmt.Sprintf("from %s: %+v", from, r))
	})
}

// ruleFor is the reseller's own rule, or that of all, or the default.
func ruleFor(tx Tx, reseller, month string) (Rule, error) {
	r, err := tx.Rule(reseller, month)
	if errors.Is(err, ErrNotFound) {
		r, err = tx.Rule("", month)
	}
	if errors.Is(err, ErrNotFound) {
		return DefaultRule(), nil
	}
	return r, err
}

// Summary is computed from the sales, one for each currency that the reseller
// sold in, by its name; none if nothing was sold.
func (h *Hub) Summary(ctx context.Context, by Actor, reseller, month string) (out []Summary, err error) {
	if reseller == "" {
		reseller = by.Reseller
	}
	if !by.covers(reseller) {
		return nil, ErrForbidden
	}
	from, to, err := h.month(month)
	if err != nil {
		return nil, err
	}
	var rule Rule
	var takings []Taking
	err = h.store.Read(ctx, func(tx Tx) (err error) {
		if _, err = tx.Reseller(reseller); err != nil {
			return err
		}
		if rule, err = ruleFor(tx, reseller, month); err != nil {
			return err
		}
		takings, err = tx.Takings(reseller, from, to)
		return err
	})
	if err != nil {
		return nil, err
	}
	sort.Slice(takings, func(i, j int) bool { return takings[i].Currency < takings[j].Currency })
	for len(takings) > 0 {
		n := 1
		for n < len(takings) && takings[n].Currency == takings[0].Currency {
			n++
		}
		s := rule.apply(takings[:n])
		s.Reseller, s.Month, s.Currency, s.Rule, s.From, s.To = reseller, month, takings[0].Currency, rule, from, to
		out = append(out, s)
		takings = takings[n:]
	}
	return out, nil
}
