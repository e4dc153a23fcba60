package hub

import (
	"context"
	"time"

	"zonegate"
)

// A Withdrawal is money that a reseller takes out of his balance to a phone.
// Amount leaves the balance, the receiver gets Amount less Fee. It follows the
// states of a payout.
type Withdrawal struct {
	ID string // UUID
	// Number is the id of the documented API: it counts from 1.
	Number int64
	// Reference is the document's: WTH and letters and digits.
	Reference string
	Reseller  string
	// User asked for it. UserNumber and WalletNumber are what the API calls
	// him, and the balance of this reseller in this currency.
	User, UserName           string
	UserNumber, WalletNumber int64
	Amount                   zonegate.Money
	Fee                      int64  // minor units, part of Amount
	Phone                    string // E.164 without the plus sign
	Operator                 string
	State                    PayoutState
	Reason                   string // why it failed, for people

	// CodeHash is the code's that was sent last, CodeExpires when it is void.
	CodeHash    string
	CodeExpires time.Time
	CodeSends   int
	Tries       int // wrong codes
	Verified    time.Time
	// NotBefore is when it may be paid: a number that is new for the reseller
	// has to wait. Zero is at once.
	NotBefore time.Time

	// Payer is the provider that pays; empty is by hand.
	Payer string
	// TheirFee says that the provider keeps the fee: it is sent all of Amount.
	TheirFee bool
	// Claimed is the admin who pays by hand or had the provider pay; Approved
	// the second one, where the amount asks for one. They are never the same.
	Claimed, Approved string // user ids
	// Attempt counts the calls that the Payer was sent, or may have been.
	Attempt int
	// Called is when the call now on its way began; zero once it was answered.
	Called      time.Time
	ProviderRef string
	// NextLook is when the Payer is asked next, or told to pay again; zero is
	// never.
	NextLook time.Time
	Looks    int

	// Of one that was paid by hand, or decided by a person.
	Processed       time.Time
	ProcessedBy     string // user id
	ProcessedNumber int64  // what the API calls him
	Manual, Notes   string // reference of the payment, and remarks

	Made, Changed time.Time
}

// sent is what the provider is told to pay.
func (w Withdrawal) sent() zonegate.Money {
	if w.TheirFee {
		return w.Amount
	}
	return w.Net()
}

// Net is what the receiver gets.
func (w Withdrawal) Net() zonegate.Money {
	return zonegate.Money{Amount: w.Amount.Amount - w.Fee, Currency: w.Amount.Currency}
}

// A Messenger sends a text to a phone (E.164 without the plus sign) or to a
// mail address. An error says that it was perhaps not sent.
type Messenger interface {
	Send(ctx context.Context, to, text string) error
}

// A CodePayer is a Payer whose provider sends the receiver a code of its own
// and pays when it gets it back. Payout then only asks for the code, so that
// an order whose answer was lost can never be paid by itself. It takes its own
// fee off the amount.
type CodePayer interface {
	Payer
	// Confirm hands over the code that the receiver got. A RejectedError is a
	// wrong code, ErrExpired one that is too old.
	Confirm(ctx context.Context, o PayoutOrder, code string) (PayoutObservation, error)
	// Resend has a new code sent, and returns until when it is good.
	Resend(ctx context.Context, o PayoutOrder) (expires time.Time, err error)
	Cancel(ctx context.Context, o PayoutOrder) error
}

// Payouts are the settings of money on its way out. The zero value pays by
// hand, by the documented rules.
type Payouts struct {
	// Rules are one for each currency; none are DefaultWithdrawalRule alone.
	Rules []WithdrawalRule
	// Payers and Refunders are by the name of the provider.
	Payers    map[string]Payer
	Refunders map[string]Refunder
	// Messenger brings codes; without one nothing can be withdrawn.
	Messenger Messenger
	// NumberWait is how long money for a number that is new for its reseller
	// waits after the code; 0 is 24 hours, less is none.
	NumberWait time.Duration
	// CallTime bounds a call at a provider; 0 is a minute.
	CallTime time.Duration
	// RefundWait is how long a refund waits for the gateway to acknowledge
	// that the grant is revoked, before a person has to decide; 0 is 15
	// minutes.
	RefundWait time.Duration
	// CallbackURL is where a provider reports, by its name; nil is nowhere.
	CallbackURL func(provider string) string
}

// A WithdrawalRule is what may be withdrawn in a currency. Amounts are minor
// units.
type WithdrawalRule struct {
	Currency string
	// Phones are the numbers that can be paid, E.164 without the plus sign: an
	// x is any digit.
	Phones    []string
	Operators []string
	// Multiple, Min and Max bound an amount.
	Multiple, Min, Max int64
	// Daily is the most for a day, by KYC level; a level that is not there can
	// withdraw nothing. Count is the most withdrawals of a day.
	Daily map[string]int64
	Count int
	// The fee is FeePermille of the amount, rounded down, and FeeMin to FeeMax.
	FeePermille, FeeMin, FeeMax int64
	// ApproveAbove is the largest amount that one admin can pay out alone; 0 is
	// any.
	ApproveAbove int64
	// ClaimFirst refuses to take for paid by hand what was not claimed before.
	ClaimFirst bool
	// Payer is the provider that pays; empty is by hand. Automatic pays without
	// an admin what needs no second one.
	Payer     string
	Automatic bool
}

// KYC levels of the document.
const (
	KYCUnverified = "unverified"
	KYCBasic      = "basic"
	KYCVerified   = "verified"
	KYCPremium    = "premium"
)

// DefaultWithdrawalRule is the documented one, of Cameroon.
func DefaultWithdrawalRule() WithdrawalRule {
	return WithdrawalRule{
		Currency: "XAF", Phones: []string{"2376xxxxxxxx"}, Operators: []string{"orange_money", "mtn_money", "moov_money"},
		Multiple: 100, Min: 500, Max: 500_000, Count: 5,
		Daily:       map[string]int64{KYCBasic: 500_000, KYCVerified: 1_000_000, KYCPremium: 5_000_000},
		FeePermille: 15, FeeMin: 100, FeeMax: 5000,
	}
}

// A WithdrawalRequest asks for one.
type WithdrawalRequest struct {
	// Currency may be empty: the one of the reseller's sites.
	Currency        string
	Amount          int64
	Phone, Operator string
}

// An Eligibility says what a reseller can withdraw today.
type Eligibility struct {
	Currency, KYC string
	Eligible      bool
	Reasons       []string // why not, in French
	// Daily, Used, Left and Available are minor units.
	Daily, Used, Left int64
	Available         int64 // of the balance
	Blocked           int64
}

// A WithdrawalQuery asks for a page of withdrawals, newest first. Empty fields
// are any.
type WithdrawalQuery struct {
	Reseller, Currency, Operator, Phone, Reference string
	States                                         []PayoutState
	From, To                                       time.Time // Made; To is left out
	// Mine bounds it to what waits for a person: paid by hand and not done.
	Waiting bool
	After   int // how many to leave out
	Max     int // 0 is 100
}

// A WithdrawalSum is what withdrawals of a day have in common.
type WithdrawalSum struct {
	Day      time.Time // when it begins
	Operator string
	State    PayoutState
	Count    int64
	Amount   int64 // minor units, as Fee
	Fee      int64
}

// A Payee is a number that a code was verified for.
type Payee struct {
	Phone string
	Since time.Time
}

// A Wallet is a reseller's standing for withdrawals.
type Wallet struct {
	Reseller string
	KYC      string // level
}

type withdrawalRows interface {
	// AddWithdrawal numbers and adds it.
	AddWithdrawal(Withdrawal) (number int64, err error)
	// ChangeWithdrawal is ErrExists for a second one of the reseller that is
	// processing or ambiguous.
	ChangeWithdrawal(Withdrawal) error
	Withdrawal(id string) (Withdrawal, error)
	WithdrawalByNumber(n int64) (Withdrawal, error)
	Withdrawals(q WithdrawalQuery) (page []Withdrawal, total int, err error)
	// WithdrawalSums are those made from until before to. Days begin so much
	// after midnight UTC.
	WithdrawalSums(reseller, currency string, from, to time.Time, offset time.Duration) ([]WithdrawalSum, error)
	// DueWithdrawals are the ids of those that time has something to do with.
	DueWithdrawals(now time.Time, max int) ([]string, error)
	// WithdrawalOf is the one that a provider knows by this.
	WithdrawalOf(payer, reference, providerRef string) (Withdrawal, error)

	// KYC is KYCUnverified for a reseller of whom nothing was set.
	KYC(reseller string) (string, error)
	SetKYC(reseller, level string) error
	Payees(reseller string) ([]Payee, error) // oldest first
	// AddPayee changes nothing if it is there.
	AddPayee(reseller string, p Payee) error
	// ForNumber is the number that stands for an id, given at its first use.
	ForNumber(kind, id string) (int64, error)
}
