package sandbox

import (
	"net/http"
	"time"
)

// Where the servers' own paths begin.
const (
	Base        = "/api/v1" // of RGZ
	FlexPayBase = "/flexpay/api/rest/v1"
	MyPayGaBase = "/mypayga"
	KKiaPayBase = "/kkiapay" // its API is below /api/v1 there, its page is at /
	NelsiusBase = "/nelsius/api"
	SMSPath     = "/sms/send"
)

// Names of providers, in charges, movements and the control API. Those of
// payments that were begun at RGZ are KKiaPay's, as their page is.
const (
	FlexPay = "flexpay"
	MyPayGa = "mypayga"
	KKiaPay = "kkiapay"
	Nelsius = "nelsius"
)

// Options of a Server. Zero fields get the values of Defaults, but for Delay,
// Now and the addresses.
type Options struct {
	// UserToken and AdminToken are the JWTs of the two classes of callers of
	// RGZ. The document has no login, so they are given.
	UserToken, AdminToken string
	// WebhookSecret is what KKiaPay sends to RGZ.
	WebhookSecret string
	// PayURL is what the address of an RGZ payment begins with; empty is the
	// hosted page of this server.
	PayURL string
	// PageSize is how many forfaits a page has.
	PageSize int
	// PublicURL is where browsers find this server; empty is where the request
	// found it.
	PublicURL string
	// Now is the clock; nil is the system's. With a clock of the caller's
	// nothing here ever waits: what is due is done by Step.
	Now func() time.Time
	// Delay is how long a customer takes to answer. Below zero nobody answers
	// but by Approve and Refuse.
	Delay time.Duration
	// Transport delivers callbacks; nil is the network's.
	Transport http.RoundTripper
	// Seed makes the ids repeatable; 0 draws them.
	Seed uint64

	FlexPay FlexPayOptions
	MyPayGa MyPayGaOptions
	KKiaPay KKiaPayOptions
	Nelsius NelsiusOptions
	Quirks  Quirks
}

// FlexPayOptions are a merchant's account at FlexPay.
type FlexPayOptions struct{ Token, Merchant string }

// MyPayGaOptions are a merchant's account at MyPayGa: his keys and what he
// declared in the dashboard.
type MyPayGaOptions struct {
	Secret, Public         string // sprod_, pprod_
	TestSecret, TestPublic string // stest_, ptest_: test numbers work with these
	// CallbackURL gets the outcomes; empty is nobody. With a CallbackSecret they
	// are signed as those of the newer API.
	CallbackURL, CallbackSecret string
	// SuccessURL and FailURL are where a browser goes after the card form.
	SuccessURL, FailURL string
}

// KKiaPayOptions are a merchant's account at KKiaPay.
type KKiaPayOptions struct {
	PublicKey, PrivateKey, SecretKey string
	// WebhookURL gets the outcomes; empty is nobody.
	WebhookURL, WebhookSecret string
}

// NelsiusOptions are one wallet and one admin of Nelsius.
type NelsiusOptions struct {
	Email, Password           string
	AdminEmail, AdminPassword string
	Balance                   int64  // XAF in the wallet at first
	KYC                       string // unverified, basic, verified or premium
}

// Quirks are choices that documents leave open. They can be changed while the
// server runs.
type Quirks struct {
	// Repeat is what FlexPay does with a reference that it had: RepeatCharge
	// (also ""), RepeatRefuse or RepeatSame.
	Repeat string `json:"flexpay_repeat"`
	// CheckPayouts has FlexPay's check find payouts too.
	CheckPayouts bool `json:"flexpay_check_payouts"`
	// StrictJSON has MyPayGa leave out the comma that its document prints
	// behind the last field of refund/send.
	StrictJSON bool `json:"mypayga_strict_json"`
	// CallbackGET has MyPayGa call back with GET.
	CallbackGET bool `json:"mypayga_callback_get"`
	// StateData is how KKiaPay sends the merchant's data back: StateObject (also
	// ""), StateString or StateDouble.
	StateData string `json:"kkiapay_state_data"`
	// HMAC has x-kkiapay-secret be the hex HMAC-SHA256 of the body.
	HMAC bool `json:"kkiapay_hmac"`
	// Voucher has RGZ make a voucher for each completed payment.
	Voucher bool `json:"rgz_voucher"`
	// Automatic has Nelsius pay validated withdrawals by itself after the
	// customer's delay, as the phone number says.
	Automatic bool `json:"nelsius_automatic"`
	// Poor422 has Nelsius refuse for want of money with 422 rather than 400: its
	// document has both.
	Poor422 bool `json:"nelsius_poor_422"`
}

// Values of Quirks.
const (
	RepeatCharge = "charge" // another charge
	RepeatRefuse = "refuse"
	RepeatSame   = "same" // the same order number, and no other charge

	StateObject = "object"
	StateString = "string" // JSON in a string
	StateDouble = "double" // the same, encoded twice
)

// Defaults are the options of a sandbox that nobody has told anything.
func Defaults() Options {
	return Options{UserToken: "sandbox-user", AdminToken: "sandbox-admin", WebhookSecret: "sandbox-secret",
		PageSize: 20, Delay: time.Second,
		FlexPay: FlexPayOptions{Token: "sandbox-flexpay", Merchant: "SANDBOX"},
		MyPayGa: MyPayGaOptions{Secret: "sprod_sandbox", Public: "pprod_sandbox", TestSecret: "stest_sandbox", TestPublic: "ptest_sandbox"},
		KKiaPay: KKiaPayOptions{PublicKey: "sandbox-public", PrivateKey: "sandbox-private", SecretKey: "sandbox-secret", WebhookSecret: "sandbox-webhook"},
		Nelsius: NelsiusOptions{Email: "reseller@example.com", Password: "sandbox", AdminEmail: "admin@example.com", AdminPassword: "sandbox",
			Balance: 500000, KYC: "verified"},
	}
}

// complete fills what is empty.
func (o *Options) complete() {
	d := Defaults()
	for _, f := range []struct{ have, want *string }{
		{&o.UserToken, &d.UserToken}, {&o.AdminToken, &d.AdminToken}, {&o.WebhookSecret, &d.WebhookSecret},
		{&o.FlexPay.Token, &d.FlexPay.Token}, {&o.FlexPay.Merchant, &d.FlexPay.Merchant},
		{&o.MyPayGa.Secret, &d.MyPayGa.Secret}, {&o.MyPayGa.Public, &d.MyPayGa.Public},
		{&o.MyPayGa.TestSecret, &d.MyPayGa.TestSecret}, {&o.MyPayGa.TestPublic, &d.MyPayGa.TestPublic},
		{&o.KKiaPay.PublicKey, &d.KKiaPay.PublicKey}, {&o.KKiaPay.PrivateKey, &d.KKiaPay.PrivateKey},
		{&o.KKiaPay.SecretKey, &d.KKiaPay.SecretKey}, {&o.KKiaPay.WebhookSecret, &d.KKiaPay.WebhookSecret},
		{&o.Nelsius.Email, &d.Nelsius.Email}, {&o.Nelsius.Password, &d.Nelsius.Password},
		{&o.Nelsius.AdminEmail, &d.Nelsius.AdminEmail}, {&o.Nelsius.AdminPassword, &d.Nelsius.AdminPassword},
		{&o.Nelsius.KYC, &d.Nelsius.KYC},
	} {
		if *f.have == "" {
			*f.have = *f.want
		}
	}
	if o.PageSize <= 0 {
		o.PageSize = d.PageSize
	}
	if o.Nelsius.Balance == 0 {
		o.Nelsius.Balance = d.Nelsius.Balance
	}
}
