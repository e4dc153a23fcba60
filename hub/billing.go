package hub

import (
	"context"
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
	Amount      int64 // minor units
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

// Sales is a page of them.
func (h *Hub) Sales(ctx context.Context, by Actor, q SaleQuery) ([]Sale, error) { panic("soon") }

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

// SetRule makes a rule for a reseller, or with "" for all who have none of
// their own, from the beginning of a month (YYYY-MM) on: this one or later,
// since a month that is over was settled. Admins only.
func (h *Hub) SetRule(ctx context.Context, by Actor, reseller, from string, r Rule) error {
	panic("soon")
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
	// Sales is how many grants were sold (those for nothing too), Started how
	// many began to be used.
	Sales, Started int64
	// Cash is how much of Total the reseller was paid himself.
	Cash int64
	Rule Rule
	From time.Time
	To   time.Time
}

// Summary is computed from the sales, one for each currency that the reseller
// sold in, by its name; none if nothing was sold.
func (h *Hub) Summary(ctx context.Context, by Actor, reseller, month string) ([]Summary, error) {
	panic("soon")
}
