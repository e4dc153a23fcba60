package hub

import (
	"math/rand/v2"
	"testing"
)

func TestRules(t *testing.T) {
	def := DefaultRule()
	monthly := def
	monthly.Base = "month"
	up := def
	up.Rounding = "ceil"
	half := def
	half.Rounding = "half_up"
	cash := def
	cash.CashFree = true
	thirds := Rule{FeePermille: 100, Rounding: "floor", Base: "sale", Remainder: "a",
		Shares: []Share{{"a", 1}, {"b", 1}, {"c", 1}}}
	for _, tt := range []struct {
		what                 string
		rule                 Rule
		takings              []Taking
		fee, reseller, other int64
		parties              [2]string
	}{
		{"one of 500", def, []Taking{{"XOF", "platform", 500, 1}}, 7, 246, 247, [2]string{"reseller", "rgz"}},
		{"nothing", def, []Taking{{"XOF", "platform", 0, 3}}, 0, 0, 0, [2]string{"reseller", "rgz"}},
		{"one franc", def, []Taking{{"XOF", "platform", 1, 1}}, 0, 0, 1, [2]string{"reseller", "rgz"}},
		{"900 of 500", def, []Taking{{"XOF", "reseller", 500, 900}}, 6300, 221_400, 222_300, [2]string{"reseller", "rgz"}},
		{"450000 by the month", monthly, []Taking{{"XOF", "reseller", 500, 900}}, 6750, 221_625, 221_625, [2]string{"reseller", "rgz"}},
		{"rounded up", up, []Taking{{"XOF", "platform", 500, 1}}, 8, 246, 246, [2]string{"reseller", "rgz"}},
		{"to the nearest", half, []Taking{{"XOF", "platform", 500, 1}}, 8, 246, 246, [2]string{"reseller", "rgz"}},
		{"no fee of cash", cash, []Taking{{"XOF", "reseller", 500, 1}, {"XOF", "platform", 500, 1}}, 7, 250 + 246, 250 + 247, [2]string{"reseller", "rgz"}},
		{"thirds", thirds, []Taking{{"XOF", "platform", 500, 2}}, 100, 300, 300, [2]string{"a", "b"}},
		{"thirds of 100", thirds, []Taking{{"XOF", "platform", 112, 2}}, 22, 70, 66, [2]string{"a", "b"}},
	} {
		s := tt.rule.apply(tt.takings)
		if s.Fee != tt.fee || s.Parts[tt.parties[0]] != tt.reseller || s.Parts[tt.parties[1]] != tt.other {
			t.Errorf("%s: fee %d, parts %v; want %d, %d and %d", tt.what, s.Fee, s.Parts, tt.fee, tt.reseller, tt.other)
		}
	}
}

// Whatever the rule and the sales, nothing is lost and nothing made.
func TestRulesAddUp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		rule := Rule{FeePermille: r.Int64N(1001), Rounding: []string{"floor", "ceil", "half_up"}[r.IntN(3)],
			Base: []string{"sale", "month"}[r.IntN(2)], CashFree: r.IntN(2) == 0}
		for i := range 1 + r.IntN(4) {
			rule.Shares = append(rule.Shares, Share{string(rune('a' + i)), r.Int64N(1_000_001)})
		}
		rule.Remainder = rule.Shares[r.IntN(len(rule.Shares))].Party
		if rule.check() != nil {
			continue // all weights are zero
		}
		var takings []Taking
		for range r.IntN(6) {
			amount := r.Int64N(maxPrice + 1)
			if r.IntN(2) == 0 {
				amount = r.Int64N(2000)
			}
			takings = append(takings, Taking{"XOF", []string{CustodyReseller, CustodyPlatform}[r.IntN(2)], amount, 1 + r.Int64N(1000)})
		}
		s := rule.apply(takings)
		sum := s.Fee
		for party, part := range s.Parts {
			if part < 0 {
				t.Fatalf("%+v of %+v gives %s %d", rule, takings, party, part)
			}
			sum += part
		}
		if sum != s.Total || s.Fee < 0 || s.Fee > s.Total {
			t.Fatalf("%+v of %+v: fee %d and parts %v are not %d", rule, takings, s.Fee, s.Parts, s.Total)
		}
	}
}

// What is given back takes from everybody what he got, to the franc.
func TestGivenBack(t *testing.T) {
	for _, rounding := range []string{"floor", "ceil", "half_up"} {
		rule := DefaultRule()
		rule.Rounding = rounding
		for amount := range int64(3000) {
			s := rule.apply([]Taking{{"XOF", CustodyPlatform, amount, 3}, {"XOF", CustodyPlatform, -amount, 3}})
			if s.Total != 0 || s.Fee != 0 || s.Parts[PartyReseller] != 0 || s.Parts[PartyRGZ] != 0 || amount > 0 && s.Sales != 0 {
				t.Fatalf("%s, %d given back: %+v", rounding, amount, s)
			}
		}
	}
}

func TestBadRules(t *testing.T) {
	for what, change := range map[string]func(*Rule){
		"a negative fee":      func(r *Rule) { r.FeePermille = -1 },
		"a fee above all":     func(r *Rule) { r.FeePermille = 1001 },
		"no rounding":         func(r *Rule) { r.Rounding = "" },
		"no base":             func(r *Rule) { r.Base = "day" },
		"no shares":           func(r *Rule) { r.Shares = nil },
		"a share of nobody":   func(r *Rule) { r.Shares[0].Party = "" },
		"a party twice":       func(r *Rule) { r.Shares[0].Party = "rgz" },
		"a negative share":    func(r *Rule) { r.Shares[0].Weight = -1 },
		"nobody's remainder":  func(r *Rule) { r.Remainder = "x" },
		"weights of zero":     func(r *Rule) { r.Shares[0].Weight, r.Shares[1].Weight = 0, 0 },
		"a weight beyond all": func(r *Rule) { r.Shares[0].Weight = 1 << 40 },
	} {
		r := DefaultRule()
		change(&r)
		if r.check() == nil {
			t.Errorf("%s is taken", what)
		}
	}
	if err := DefaultRule().check(); err != nil {
		t.Error(err)
	}
}
