package hub

import (
	"context"
	"sort"
)

// An OutsideSummary is what another billing system says of a month of a
// reseller. Amounts are minor units.
type OutsideSummary struct {
	Reseller, Month, Currency string
	Total, Fee                int64
	Parts                     map[string]int64 // by party
	Sessions                  int64            // for information: what it counts is not defined
}

// Unallocated is what the summary gives to nobody; less than zero is what it
// gives twice.
func (o OutsideSummary) Unallocated() int64 {
	left := o.Total - o.Fee
	for _, amount := range o.Parts {
		left -= amount
	}
	return left
}

// An OutsideCheck holds a summary against our own sales and against the rules
// that it may have been made by.
type OutsideCheck struct {
	OutsideSummary
	// Ours is what was sold here, as the hub knows it.
	Ours Summary
	// Tried are the rules, those that fit first.
	Tried []TriedRule
}

// A TriedRule is what a rule would have said.
type TriedRule struct {
	Name  string
	Fee   int64
	Parts map[string]int64
	// Fits says that fee and parts are those of the summary.
	Fits bool
}

// SetOutside keeps a summary in place of the one before. Nothing is settled by
// it. Admins only.
func (h *Hub) SetOutside(ctx context.Context, by Actor, o OutsideSummary) error {
	if by.Role != RoleAdmin {
		return ErrForbidden
	}
	if _, _, err := h.month(o.Month); err != nil {
		return err
	}
	if err := currency(o.Currency); err != nil {
		return err
	}
	if o.Total < 0 || o.Total > maxPosting || o.Fee < 0 || o.Fee > maxPosting || o.Sessions < 0 || len(o.Parts) == 0 || len(o.Parts) > 20 {
		return invalid("the summary needs a total, a fee and the parts, none below zero")
	}
	for party, amount := range o.Parts {
		if party == "" || len(party) > 40 || amount < 0 || amount > maxPosting {
			return invalid("a part of the summary makes no sense")
		}
	}
	return h.store.Write(ctx, func(tx Tx) error {
		if _, err := tx.Reseller(o.Reseller); err != nil {
			return err
		}
		if err := tx.PutOutside(o); err != nil {
			return err
		}
		return h.note(tx, by, "summary.set", o.Reseller, o.Month+" "+inWords(o.Total, o.Currency))
	})
}

// CheckOutside holds the summaries of a month against what is known here.
// Admins only.
func (h *Hub) CheckOutside(ctx context.Context, by Actor, month string) ([]OutsideCheck, error) {
	if by.Role != RoleAdmin {
		return nil, ErrForbidden
	}
	if _, _, err := h.month(month); err != nil {
		return nil, err
	}
	var all []OutsideSummary
	err := h.store.Read(ctx, func(tx Tx) (err error) {
		all, err = tx.Outside(month)
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []OutsideCheck
	for _, o := range all {
		c := OutsideCheck{OutsideSummary: o}
		ours, err := h.Summary(ctx, by, o.Reseller, month)
		if err != nil {
			return nil, err
		}
		for _, s := range ours {
			if s.Currency == o.Currency {
				c.Ours = s
				c.Tried = append(c.Tried, TriedRule{Name: "the rule in force, on the sales known here", Fee: s.Fee, Parts: s.Parts})
			}
		}
		month := DefaultRule()
		month.Base = "month"
		s := month.apply([]Taking{{Currency: o.Currency, Custody: CustodyPlatform, Amount: o.Total, Count: 1}})
		twice := (o.Total - 2*s.Fee) / 2
		c.Tried = append(c.Tried,
			TriedRule{Name: "15 per mille of the month, the rest halved", Fee: s.Fee, Parts: s.Parts},
			TriedRule{Name: "15 per mille of the month taken twice, the rest halved", Fee: s.Fee,
				Parts: map[string]int64{PartyReseller: twice, PartyRGZ: twice}})
		for i := range c.Tried {
			c.Tried[i].Fits = c.Tried[i].Fee == o.Fee && sameParts(c.Tried[i].Parts, o.Parts)
		}
		sort.SliceStable(c.Tried, func(i, j int) bool { return c.Tried[i].Fits && !c.Tried[j].Fits })
		out = append(out, c)
	}
	return out, nil
}

func sameParts(a, b map[string]int64) bool {
	for _, m := range []map[string]int64{a, b} {
		for party := range m {
			if a[party] != b[party] {
				return false
			}
		}
	}
	return true
}

// currenciesOf are the keys of sums, in order.
func currenciesOf(m map[string]int64) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
