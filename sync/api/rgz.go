package api

// Paths of Part 1, under the base URL (which ends in /api/v1).
const (
	PathForfaits = "/forfaits"          // GET, public
	PathInitiate = "/payments/initiate" // POST, user
	PathWebhook  = "/payments/webhook"  // POST, the provider's secret
	PathPayments = "/payments"          // GET /payments/{id}/status, user
	PathGenerate = "/vouchers/generate" // POST, admin
	PathSummary  = "/billing/summary"   // GET ?reseller_id=&month=YYYY-MM, user
	HeaderSecret = "x-kkiapay-secret"   // of the webhook
)

// A Forfait is a plan as the RGZ API has it.
type Forfait struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	PriceFCFA     int64  `json:"price_fcfa"`
	DurationHours int64  `json:"duration_hours"`
	// DataLimitMB is 0 without a cap.
	DataLimitMB uint64 `json:"data_limit_mb"`
	CIRKbps     uint64 `json:"cir_kbps"`
	MIRKbps     uint64 `json:"mir_kbps"`
}

// Forfaits is a page of the catalogue. Pages count from 1.
type Forfaits struct {
	Items []Forfait `json:"items"`
	Total int       `json:"total"`
	Page  int       `json:"page"`
	Pages int       `json:"pages"`
}

// An Initiate starts a mobile payment.
type Initiate struct {
	ForfaitID string `json:"forfait_id"`
	Provider  string `json:"provider"`
}

// An Initiated is where the customer pays.
type Initiated struct {
	PaymentURL    string `json:"payment_url"`
	TransactionID string `json:"transaction_id"`
}

// A WebhookAnswer is what a provider's call gets.
type WebhookAnswer struct {
	Status string `json:"status"` // "processed"
}

// A PaymentStatus is what became of a payment. Only "completed" is documented;
// any other status means that it is not known yet.
type PaymentStatus struct {
	Status     string `json:"status"`
	AmountFCFA int64  `json:"amount_fcfa"`
	Provider   string `json:"provider"`
}

// A Generate asks for vouchers. SiteID, Expires and Batch are ours: a hub
// binds the codes to that site. Left out, they go to the reseller's only site,
// or are good at all of his sites while these reach the hub.
type Generate struct {
	N          int    `json:"n"`
	ForfaitID  string `json:"forfait_id"`
	ResellerID string `json:"reseller_id"`
	SiteID     string `json:"site_id,omitempty"`
	Expires    string `json:"expires,omitempty"`
	Batch      string `json:"batch,omitempty"`
}

// A Voucher is a code that was just made; it is never shown again.
type Voucher struct {
	Code      string `json:"code"`
	ForfaitID string `json:"forfait_id"`
	Status    string `json:"status"` // "active"
}

// Vouchers is what Generate made. Batch is ours.
type Vouchers struct {
	Items []Voucher `json:"items"`
	Total int       `json:"total"`
	Batch string    `json:"batch,omitempty"`
}

// A Summary is a month of a reseller. Its parts need not add up to its total:
// what is missing is nobody's and must be shown, never settled.
type Summary struct {
	Month         string `json:"month"` // YYYY-MM
	TotalFCFA     int64  `json:"total_fcfa"`
	Split         Split  `json:"split"`
	SessionsCount int64  `json:"sessions_count"`
}

// A Split is who gets what of a month.
type Split struct {
	ResellerFCFA   int64 `json:"reseller_fcfa"`
	RGZFCFA        int64 `json:"rgz_fcfa"`
	KKiaPayFeeFCFA int64 `json:"kkiapay_fee_fcfa"`
}

// Unallocated is what of the total no party gets; it can be negative.
func (s Summary) Unallocated() int64 {
	return s.TotalFCFA - s.Split.ResellerFCFA - s.Split.RGZFCFA - s.Split.KKiaPayFeeFCFA
}

// A Problem is the body of every answer that is not a success. RGZ's errors
// are not documented; Detail is what its kind of server sends.
type Problem struct {
	// Detail is for people.
	Detail string `json:"detail"`
	// Code is for programs; empty from an RGZ server.
	Code string `json:"code,omitempty"`
	// Expected is the number of the entry that the hub wants next (CodeGap,
	// CodeConflict).
	Expected uint64 `json:"expected,omitempty"`
}

// Codes of a Problem.
const (
	CodeBadRequest   = "bad_request"
	CodeUnauthorized = "unauthorized" // no token, or a wrong or expired one
	CodeRevoked      = "revoked"      // the gateway was taken off the hub
	CodeForbidden    = "forbidden"
	CodeNotFound     = "not_found"
	CodeGap          = "gap"      // entries are missing before these
	CodeConflict     = "conflict" // an entry with this number is known and differs
	CodeUsed         = "used"     // a one-time code or voucher was used before
	CodeExpired      = "expired"
	CodeLimit        = "limit"  // the reseller's limit of vouchers, or too many requests
	CodeExists       = "exists" // the name is taken
	CodeUnavailable  = "unavailable"
)
