package hub

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"zonegate"
)

// complete fills in what was left out.
func (p Payouts) complete() Payouts {
	if len(p.Rules) == 0 {
		p.Rules = []WithdrawalRule{DefaultWithdrawalRule()}
	}
	if p.NumberWait == 0 {
		p.NumberWait = 24 * time.Hour
	}
	if p.CallTime == 0 {
		p.CallTime = time.Minute
	}
	if p.RefundWait == 0 {
		p.RefundWait = 15 * time.Minute
	}
	return p
}

// Check says what makes no sense in the settings, for whoever reads them from a
// file.
func (p Payouts) Check() error {
	seen := map[string]bool{}
	for _, r := range p.Rules {
		if err := r.check(); err != nil {
			return fmt.Errorf("the rule of withdrawals in %s: %w", clip(r.Currency, 10), err)
		}
		if seen[r.Currency] {
			return invalid("there are two rules of withdrawals in %s", r.Currency)
		}
		seen[r.Currency] = true
		if r.Payer != "" && p.Payers[r.Payer] == nil {
			return invalid("withdrawals in %s are to be paid by %q, which cannot pay out", r.Currency, clip(r.Payer, 40))
		}
	}
	return nil
}

// maxWithdrawal keeps sums within 63 bits.
const maxWithdrawal = 1_000_000_000_000

func (r WithdrawalRule) check() error {
	if err := currency(r.Currency); err != nil {
		return err
	}
	if len(r.Phones) == 0 || len(r.Operators) == 0 {
		return invalid("it needs the numbers and the operators that can be paid")
	}
	for _, p := range r.Phones {
		if len(p) < 8 || len(p) > 15 || strings.Trim(p, "0123456789x") != "" {
			return invalid("%q is no pattern of numbers; write it as 2376xxxxxxxx", clip(p, 20))
		}
	}
	for _, o := range r.Operators {
		if o == "" || len(o) > 40 {
			return invalid("an operator has 1 to 40 letters")
		}
	}
	if r.Multiple < 1 || r.Min < 1 || r.Max < r.Min || r.Max > maxWithdrawal {
		return invalid("the multiple and the least amount must be 1 or more, and the most not less than the least")
	}
	if r.Count < 1 || r.Count > 1000 {
		return invalid("the number of withdrawals of a day must be 1 to 1000")
	}
	for level, most := range r.Daily {
		if !slices.Contains(kycLevels, level) || most < 0 || most > maxWithdrawal {
			return invalid("there is no KYC level %q, or its amount makes no sense", clip(level, 20))
		}
	}
	if r.FeePermille < 0 || r.FeePermille > 1000 || r.FeeMin < 0 || r.FeeMax < r.FeeMin || r.FeeMin >= r.Min {
		return invalid("the fee must be 0 to 1000 per mille, its most not less than its least, and its least below the least amount")
	}
	if r.fee(r.Max) >= r.Max || r.fee(r.Min) >= r.Min || r.ApproveAbove < 0 {
		return invalid("the fee takes all of an amount, or the amount for two persons is negative")
	}
	return nil
}

var kycLevels = []string{KYCUnverified, KYCBasic, KYCVerified, KYCPremium}

// fee is the fee of an amount.
func (r WithdrawalRule) fee(amount int64) int64 {
	fee := amount/1000*r.FeePermille + amount%1000*r.FeePermille/1000
	return min(max(fee, r.FeeMin), r.FeeMax)
}

// A Quote is what a withdrawal would cost. Amounts are minor units.
type Quote struct {
	Amount, Fee, Net int64
	Rule             WithdrawalRule
}

// A FieldError is what makes no sense in one field of a request; Text is
// French, for the user.
type FieldError struct{ Field, Text string }

// A FieldErrors is an InputError by fields.
type FieldErrors []FieldError

func (e FieldErrors) Error() string {
	var b strings.Builder
	for i, f := range e {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.Field + ": " + f.Text)
	}
	return b.String()
}

// checkAmount adds what is wrong with an amount and an operator.
func (r WithdrawalRule) checkAmount(amount int64, operator string) (e FieldErrors) {
	switch {
	case amount < r.Min:
		e = append(e, FieldError{"amount", "Le montant minimum est de " + inWords(r.Min, r.Currency) + "."})
	case amount > r.Max:
		e = append(e, FieldError{"amount", "Le montant maximum est de " + inWords(r.Max, r.Currency) + "."})
	case amount%r.Multiple != 0:
		e = append(e, FieldError{"amount", "Le montant doit être un multiple de " + digits(r.Multiple, r.Currency) + "."})
	}
	if !slices.Contains(r.Operators, operator) {
		e = append(e, FieldError{"operator", "L'opérateur doit être l'un de : " + strings.Join(r.Operators, ", ") + "."})
	}
	return e
}

// payable returns a number as it is kept, if the rule has money sent there.
func (r WithdrawalRule) payable(number string) (string, bool) {
	n := strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || strings.ContainsRune("-.()", c) {
			return -1
		}
		return c
	}, number)
	if rest, ok := strings.CutPrefix(n, "+"); ok {
		n = rest
	} else if rest, ok := strings.CutPrefix(n, "00"); ok {
		n = rest
	}
	for _, p := range r.Phones {
		if fits(p, n) {
			return n, true
		}
	}
	return "", false
}

func fits(pattern, number string) bool {
	if len(pattern) != len(number) {
		return false
	}
	for i := range pattern {
		if number[i] < '0' || number[i] > '9' || pattern[i] != 'x' && pattern[i] != number[i] {
			return false
		}
	}
	return true
}

// badNumber is the document's text for its own country.
func (r WithdrawalRule) badNumber() FieldError {
	if slices.Equal(r.Phones, []string{"2376xxxxxxxx"}) {
		return FieldError{"phone_number", "Le numéro doit être un numéro camerounais valide (+2376xxxxxxxx)"}
	}
	return FieldError{"phone_number", "Le numéro doit être de la forme +" + strings.Join(r.Phones, " ou +")}
}

// rule is the one of a currency.
func (p Payouts) rule(currency string) (WithdrawalRule, error) {
	for _, r := range p.Rules {
		if r.Currency == currency {
			return r, nil
		}
	}
	return WithdrawalRule{}, fmt.Errorf("%w: nothing can be withdrawn in %s", ErrUnsupported, clip(currency, 10))
}

// cents says how many decimals a currency has.
func cents(currency string) int {
	if currency == "CDF" || currency == "USD" {
		return 2
	}
	return 0
}

// digits are an amount without its currency, with decimals only where they say
// something.
func digits(amount int64, currency string) string {
	if cents(currency) == 0 || amount%100 == 0 {
		if cents(currency) > 0 {
			amount /= 100
		}
		return fmt.Sprint(amount)
	}
	return fmt.Sprintf("%d.%02d", amount/100, amount%100)
}

func inWords(amount int64, currency string) string {
	return digits(amount, currency) + " " + currency
}

// masked is a number for people who need not know all of it.
func masked(phone string) string {
	if len(phone) < 4 {
		return "**"
	}
	return "..." + phone[len(phone)-2:]
}

func spoken(m zonegate.Money) string { return inWords(m.Amount, m.Currency) }
