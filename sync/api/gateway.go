package api

import (
	"encoding/json"
	"time"
)

// Paths of Part 2, under the same base URL. All but Enrol need
// "Authorization: Bearer" with the gateway's token.
const (
	PathEnrol     = "/gateway/enrol"     // POST Enrol -> 201 Enrolled; public, by a one-time code
	PathCatalogue = "/gateway/catalogue" // GET -> Catalogue, with ETag
	PathEvents    = "/gateway/events"    // GET: text/event-stream, or with Accept: application/json a page, Pushes
	PathAcks      = "/gateway/acks"      // POST Acks -> 204
	PathReports   = "/gateway/reports"   // POST Reports -> Reported
	PathHeartbeat = "/gateway/heartbeat" // POST Heartbeat -> Beat
	PathClaims    = "/gateway/claims"    // POST Claim -> Signed, a push of KindGrant with Seq 0
	PathIntents   = "/gateway/payments"  // POST Intent -> Payment; GET /gateway/payments/{intent_id} -> Payment
)

// Limits that both sides keep.
const (
	MaxBody     = 1 << 20 // octets of a request or an answer
	MaxEntries  = 500     // entries of one Reports
	MaxUsage    = 500     // lines of one Reports
	MaxAcks     = 500     // of one Acks
	MaxKeys     = 1000    // voucher keys of one BatchIssued
	MaxPushPage = 200     // pushes of one page
)

// HeartbeatEvery is how often the hub writes a comment to an idle event
// stream. Three are missed before the gateway takes the stream for dead.
//
// An event is a push: "id:" its Seq, "data:" one line with the JSON of a
// Signed. The header Last-Event-ID says after which push a stream or a page
// begins. A stream begins with a comment at once, which tells the gateway that
// no proxy on the way holds it back.
const HeartbeatEvery = 25 * time.Second

// Money is an amount in minor units of an ISO 4217 currency.
type Money struct {
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
}

// An Enrol makes a gateway one of the hub's. Repeated with the same Instance
// within the life of the code it gives a fresh token: an answer can be lost.
type Enrol struct {
	Code string `json:"code"`
	// Zone and Name are what the gateway calls itself.
	Zone    string `json:"zone"`
	Name    string `json:"name"`
	Version string `json:"version"`
	// Instance is random, drawn once per installation (16 octets in hex).
	Instance string `json:"instance"`
}

// An Enrolled is what a gateway needs to work with the hub.
type Enrolled struct {
	GatewayID string `json:"gateway_id"`
	SiteID    string `json:"site_id"`
	// Token is the gateway's own secret; the hub keeps its hash.
	Token string `json:"token"`
	// HubKey is the hub's Ed25519 public key (32 octets, base64).
	HubKey string `json:"hub_key"`
	// CodeKey hashes the codes of this site's vouchers (32 octets, base64).
	CodeKey string `json:"code_key"`
	// Head is the last push; what is on sale now follows from the catalogue.
	Head uint64 `json:"head"`
	// NextEntry is the number that the hub expects of the gateway's first
	// entry: 1, or more where the site had a gateway before.
	NextEntry uint64 `json:"next_entry"`
}

// A Plan is one version of a forfait. A version never changes.
type Plan struct {
	ID      string `json:"id"`
	Version uint32 `json:"version"`
	Name    string `json:"name"`
	Price   Money  `json:"price"`
	// Seconds is the paid time.
	Seconds int64 `json:"seconds"`
	// Octets is the data cap, up and down together; 0 means none.
	Octets  uint64 `json:"octets"`
	CIRUp   uint64 `json:"cir_up"`
	CIRDown uint64 `json:"cir_down"`
	MIRUp   uint64 `json:"mir_up"`
	MIRDown uint64 `json:"mir_down"`
	// Online says that only time online counts.
	Online     bool `json:"online,omitempty"`
	DevicesMax int  `json:"devices_max"`
	Trial      bool `json:"trial,omitempty"`
	Withdrawn  bool `json:"withdrawn,omitempty"`
}

// A Catalogue is what a site sells. Version only grows.
type Catalogue struct {
	Version uint64 `json:"version"`
	Plans   []Plan `json:"plans"`
}

// Kinds of an Entry.
const (
	EntrySale     = "sale"     // a grant was issued: by a voucher, a payment or the hub
	EntryStarted  = "started"  // its time began
	EntryEnded    = "ended"    // State and final Used say how
	EntryTopUp    = "top_up"   // Octets and Seconds were added
	EntryMoved    = "moved"    // it went over to another device
	EntryRevoked  = "revoked"  // a voucher was revoked on the gateway
	EntryImported = "imported" // Count vouchers of the gateway's own were made valid
)

// An Entry is one fact of value from a gateway's journal. N counts from 1
// without gaps and is never used twice; an entry never changes.
type Entry struct {
	N uint64 `json:"n"`
	// At is when it happened; missing when the gateway's clock was not
	// trusted. Uptime is then the only order that there is, and it is N.
	At   *time.Time `json:"at,omitempty"`
	Kind string     `json:"kind"`
	// Grant is the gateway's number of the grant.
	Grant uint64 `json:"grant,omitempty"`
	// Source and Ref are what the grant was made of: "voucher" or "ticket"
	// with the voucher's key in hex, "hub" with the hub's grant id, "payment"
	// with "rgz:" and the transaction, where the gateway settled it itself.
	Source string `json:"source,omitempty"`
	Ref    string `json:"ref,omitempty"`
	// HubCode says that Ref is hashed with the site's CodeKey: the hub knows
	// the voucher. Batch is the voucher's.
	HubCode bool   `json:"hub_code,omitempty"`
	Batch   string `json:"batch,omitempty"`
	// Plan, PlanVersion and Price are what was bought.
	Plan        string `json:"plan,omitempty"`
	PlanVersion uint32 `json:"plan_version,omitempty"`
	Price       *Money `json:"price,omitempty"`
	// Device is a hash of the device's address that only compares.
	Device  string `json:"device,omitempty"`
	State   string `json:"state,omitempty"` // EntryEnded: spent, expired or revoked
	Up      uint64 `json:"up,omitempty"`    // octets used
	Down    uint64 `json:"down,omitempty"`
	Octets  uint64 `json:"octets,omitempty"`  // EntryTopUp
	Seconds int64  `json:"seconds,omitempty"` // EntryTopUp
	Count   int    `json:"count,omitempty"`   // EntryImported
}

// A Usage is what a live grant has used so far. Repeated or late ones change
// nothing: the highest counts.
type Usage struct {
	Grant uint64 `json:"grant"`
	Up    uint64 `json:"up"`
	Down  uint64 `json:"down"`
}

// Reports are entries in order, and usage. The answer comes when they are
// durable.
type Reports struct {
	Instance string  `json:"instance"`
	Entries  []Entry `json:"entries"`
	Usage    []Usage `json:"usage,omitempty"`
	// Lost says that the entries before the first one are not held any more:
	// after a hub was restored from an old backup. The hub takes the gap and
	// raises an alarm.
	Lost bool `json:"lost,omitempty"`
}

// A Reported acknowledges all entries up to Through.
type Reported struct {
	Through uint64 `json:"through"`
}

// A Heartbeat says how a gateway is.
type Heartbeat struct {
	Instance string `json:"instance"`
	// Boot is random, drawn at each start of the program.
	Boot    string `json:"boot"`
	Version string `json:"version"`
	// Nonce (16 octets or more, base64) comes back signed with the time.
	Nonce   string `json:"nonce"`
	Uptime  int64  `json:"uptime"`  // seconds
	Applied uint64 `json:"applied"` // last push taken
	Plans   uint64 `json:"plans"`   // version of the catalogue
	// Entry is the last entry made, Unsent how many the hub has not
	// acknowledged.
	Entry        uint64   `json:"entry"`
	Unsent       uint64   `json:"unsent"`
	Sessions     int      `json:"sessions"`
	Vouchers     int      `json:"vouchers"` // unused
	ClockTrusted bool     `json:"clock_trusted"`
	Health       []Health `json:"health,omitempty"`
}

// A Health is something that a gateway cannot do.
type Health struct {
	Severity string `json:"severity"` // "warning" or "error"
	Subject  string `json:"subject"`
	Detail   string `json:"detail"`
}

// A Beat answers a heartbeat.
type Beat struct {
	Time time.Time `json:"time"`
	// Signature is the hub's over TimeMessage(Nonce, Time), base64.
	Signature string `json:"signature"`
	// Head is the last push for this gateway. Behind what the gateway has
	// applied, the hub was restored from an old backup.
	Head uint64 `json:"head"`
	// Entry is the last entry that the hub holds.
	Entry uint64 `json:"entry"`
	// Channels are the ways to pay at this site; none are payments off.
	Channels []Channel `json:"channels,omitempty"`
}

// TimeMessage is what the hub signs when it tells the time: only the gateway
// that drew the nonce, at this moment, can be answered with it.
func TimeMessage(nonce string, t time.Time) []byte {
	return []byte("zonegate time 1\n" + nonce + "\n" + t.UTC().Format(time.RFC3339Nano))
}

// A Claim redeems a code that the gateway does not know: a roaming voucher, or
// the claim code of a purchase. The same claim from the same site is answered
// with the same grant.
type Claim struct {
	Code   string `json:"code"`
	Device string `json:"device"` // the device's address; the grant is made for it
}

// An Intent is a payment that a gateway wants started. Repeated, it is the
// same payment.
type Intent struct {
	IntentID    string `json:"intent_id"` // 16 octets in hex, drawn by the gateway
	Plan        string `json:"plan"`
	PlanVersion uint32 `json:"plan_version"`
	Provider    string `json:"provider"` // the ID of a Channel: MTN_MOMO, ...
	// Phone is E.164 without the plus sign.
	Phone string `json:"phone,omitempty"`
	// Device is the customer's address: what is bought is this device's. Claim
	// is the VoucherKey of its claim code under the site's CodeKey (16 octets,
	// hex), which the gateway drew and shows to the customer.
	Device string `json:"device"`
	Claim  string `json:"claim"`
}

// A Channel is a way to pay that a site's customers can choose now.
type Channel struct {
	ID   string `json:"id"` // goes into Intent.Provider
	Name string `json:"name"`
	Flow string `json:"flow"` // push or redirect
	// Country is where the number is from (ISO 3166-1 alpha-2); empty if the
	// channel needs none.
	Country  string `json:"country,omitempty"`
	Currency string `json:"currency"`
	// Test says that no money moves: numbers of the provider's tests are
	// taken, whatever country they look like.
	Test bool `json:"test,omitempty"`
	// Hosts are what the customer's browser must reach while the payment is
	// open.
	Hosts []string `json:"hosts,omitempty"`
	// Away says why it cannot be used now; empty if it can.
	Away string `json:"away,omitempty"`
}

// A Payment is what became of an intent.
type Payment struct {
	IntentID      string `json:"intent_id"`
	TransactionID string `json:"transaction_id,omitempty"`
	// Status is pending, completed, failed, expired, canceled or refunded; any
	// other one means that it is not known yet.
	Status string `json:"status"`
	// Flow is redirect (open PaymentURL) or push (confirm on the phone).
	Flow       string `json:"flow,omitempty"`
	PaymentURL string `json:"payment_url,omitempty"`
	Price      Money  `json:"price"`
	Reason     string `json:"reason,omitempty"`
}

// Raw is a body that is decoded by its kind.
type Raw = json.RawMessage
