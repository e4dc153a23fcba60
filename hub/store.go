package hub

import (
	"context"
	"time"

	"zonegate/sync/api"
)

// A Store keeps what the hub knows. hub/store has it on SQLite and PostgreSQL.
type Store interface {
	// Write runs f in one transaction and returns when it is durable. f may be
	// run again when the database asks for it, so what it assigns outside it
	// assigns anew. An error of f takes everything back.
	Write(ctx context.Context, f func(Tx) error) error
	// Read runs f on one consistent state.
	Read(ctx context.Context, f func(Tx) error) error
	// WaitPush returns when a push after this number may be there, and after a
	// second at the latest; or with the error of ctx.
	WaitPush(ctx context.Context, after uint64) error
}

// A Tx is a transaction. Rows that are not there are ErrNotFound, names that
// are taken ErrExists. Lists that a reseller bounds take "" for all.
type Tx interface {
	// Lock keeps every other transaction that locks the same name waiting
	// until this one ends. What is read afterwards stays true.
	Lock(name string) error
	userRows
	dealerRows
	gatewayRows
	forfaitRows
	voucherRows
	pushRows
	entryRows
	paymentRows
	ledgerRows
	withdrawalRows
	refundRows
	reconcileRows
}

type userRows interface {
	// PutMeta keeps a value under a name; TakeMeta returns and removes it.
	PutMeta(name, value string) error
	TakeMeta(name string) (string, error)

	AddUser(User) error
	ChangeUser(User) error
	User(id string) (User, error)
	UserByName(name string) (User, error)
	Users(reseller string) ([]User, error) // by name

	AddDeed(Deed) error
	Deeds(before string, max int) ([]Deed, error) // newest first
}

type dealerRows interface {
	AddReseller(Reseller) error
	ChangeReseller(Reseller) error
	Reseller(id string) (Reseller, error)
	Resellers(id string) ([]Reseller, error) // by name

	AddSite(Site) error
	Site(id string) (Site, error)
	Sites(reseller string) ([]Site, error) // by name

	// PutEnrolment voids the site's unused ones.
	PutEnrolment(hash, site string, expires time.Time) error
	Enrolment(hash string) (EnrolmentRow, error)
	UseEnrolment(hash, instance, gateway string) error
}

// EnrolmentRow is an enrolment as it is kept: used if Gateway is there.
type EnrolmentRow struct {
	Site              string
	Expires           time.Time
	Instance, Gateway string
}

type gatewayRows interface {
	AddGateway(g Gateway, token string) error
	SetToken(gateway, token string) error
	// GatewayByToken takes the hash of a token.
	GatewayByToken(token string) (Gateway, error)
	Gateway(id string) (Gateway, error)
	// LiveGateways are those not revoked, of one site, of a reseller, or with
	// "" and "" all; those heard last come first.
	LiveGateways(reseller, site string) ([]Heard, error)
	// RevokeGateway is ErrNotFound for one that is revoked.
	RevokeGateway(id, reason string) error
	Fleet(q FleetQuery, quiet time.Time) ([]Member, error)

	// PutStatuses keeps the statuses that are newer than the one there.
	PutStatuses(map[string]Status) error
	RaiseAlarm(Alarm) error
	ClearAlarm(gateway, kind string) error
}

// A Heard is a live gateway and when it was heard last.
type Heard struct {
	Gateway
	Seen time.Time
}

type forfaitRows interface {
	// AddForfait adds a version.
	AddForfait(Forfait) error
	// SetForfaitPush says how far a version has come. One that went out to all
	// supersedes those before.
	SetForfaitPush(id string, version uint32, t Target, seq uint64) error
	// Forfaits are all versions that are not superseded, newest first.
	Forfaits() ([]Forfait, error)
	ForfaitVersions(id string) ([]Forfait, error) // newest first
	Forfait(id string, version uint32) (Forfait, error)
}

type voucherRows interface {
	AddBatch(Batch) error
	// AddVouchers adds unused ones; keys are hex. ErrExists if one is there.
	AddVouchers(batch string, keys []string) error
	Batch(id string) (Batch, error)
	Batches(reseller string, max int) ([]Batch, error) // newest first
	RevokeBatch(id string) error
	// SetBatchVersion and SetGrantVersion are for the same offer under another
	// number.
	SetBatchVersion(id string, version uint32) error
	// BatchesAt are a site's that are neither revoked nor out of date.
	BatchesAt(site string, now time.Time) ([]Batch, error)
	UnusedKeys(batch string) ([]string, error)
	// CountUnused counts what still can be sold.
	CountUnused(reseller string, now time.Time) (int, error)
	// Voucher returns the batch of a voucher and the grant it became.
	Voucher(key string) (batch, grant string, used bool, err error)
	// ClaimVoucher makes an unused voucher that grant; false if it is used.
	ClaimVoucher(key, grant string, at time.Time) (bool, error)
	// UseVouchers marks those of a site that its gateway has used.
	UseVouchers(site string, keys []string, at time.Time) error

	AddGrant(Grant) error
	AddGrants([]Grant) error
	Grant(id string) (Grant, error)
	GrantByRef(source, ref string) (Grant, error)
	// GrantByKey finds it by its claim key.
	GrantByKey(key string) (Grant, error)
	RevokeGrant(id string) error
	SetGrantVersion(id string, version uint32) error
	// SellGrants marks those that a gateway has taken over.
	SellGrants(site string, ids []string, at time.Time) error
	// OpenGrants are a site's that were not taken over, revoked or expired.
	OpenGrants(site string, now time.Time) ([]Grant, error)
}

type pushRows interface {
	// AddPush numbers a push and adds it; its number is the new head. AddPushes
	// does it for many, in their order.
	AddPush(Push) (uint64, error)
	AddPushes([]Push) error
	Head() (uint64, error)
	// RaiseHead lifts the head to seq if it is lower.
	RaiseHead(seq uint64) error
	Push(seq uint64) (Push, error)
	Pushes(after uint64, max int) ([]Push, error)
	// PushTargets are the targets of those that are there.
	PushTargets(seqs []uint64) (map[uint64]Target, error)
	// PushesFor are those that include the gateway, of one kind or with "" of
	// all.
	PushesFor(g Gateway, kind string, after uint64, max int) ([]Push, error)
	// LastPush is the last of them.
	LastPush(g Gateway, kind string, after uint64) (Push, error)

	PutAcks([]Ack) error
	AcksOf(seq uint64, max int) (refused []Ack, applied int, err error)
	// Answered counts the gateways that have answered a push, and those that
	// have refused any push of its rollout.
	Answered(seq uint64, rollout string) (applied, refused int, err error)

	PutRollout(Rollout) error
	Rollout(id string) (Rollout, error)
	Rollouts(state string, max int) ([]Rollout, error) // newest first
}

type entryRows interface {
	NextEntry(site string) (uint64, error)
	SetNextEntry(site string, next uint64) error
	// EntryHashes are those of entries from to through that are there.
	EntryHashes(site string, from, through uint64) (map[uint64]string, error)
	AddEntries([]EntryRow) error
	// PutUsage keeps the highest counts, by grant number.
	PutUsage(gateway string, usage []api.Usage, at time.Time) error
	Usage(gateway string) ([]api.Usage, error)
	// AddSales leaves out those whose site, source and ref are there, and
	// returns how many were added. A sale that the hub knew first, as entry 0,
	// gets the entry of its report, and counts as added.
	AddSales([]Sale) (int, error)
	Sales(reseller string, from, to time.Time, after, max int) ([]Sale, error)
	// Takings count the sales of a reseller by what they have in common.
	Takings(reseller string, from, to time.Time) ([]Taking, error)

	PutRule(reseller, from string, r Rule) error
	// Rule is the newest that begins in month or before.
	Rule(reseller, month string) (Rule, error)
}

// An EntryRow is an api.Entry as it is kept.
type EntryRow struct {
	Site, Gateway string
	N             uint64
	Hash          string
	At            time.Time // zero: not known
	Taken         time.Time
	Kind          string
	Grant         uint64
	Body          string // JSON of the api.Entry
}

// An AskedRow is how many payments a number was asked for, and how many of them
// are open.
type AskedRow struct {
	Phone        string
	Lately, Open int
}

// A Taking is how many sales had the same amount.
type Taking struct {
	Currency, Custody string
	Amount, Count     int64
}

type paymentRows interface {
	// AddPayments leaves out those whose id, intent, reference or claim is
	// there.
	AddPayments([]Payment) error
	// ChangePayments writes down payments that were read in this transaction,
	// and counts their Rev up. ErrStale if somebody else has changed one.
	ChangePayments([]Payment) error
	Payment(id string) (Payment, error)
	// PaymentsByID are those that are there, in any order.
	PaymentsByID(ids []string) ([]Payment, error)
	// PaymentByIntent is one that this gateway asked for, PaymentAtSite one that
	// any of the site did: a gateway that was enrolled again goes on with the
	// intents that it has.
	PaymentByIntent(gateway, intent string) (Payment, error)
	PaymentAtSite(site, intent string) (Payment, error)
	// PaymentsByReference are those that are there, in any order.
	PaymentsByReference(references []string) ([]Payment, error)
	PaymentByProviderRef(provider, ref string) (Payment, error)
	// Payments are the newest first.
	Payments(PaymentQuery) ([]Payment, error)
	// LeasePayments are at most max whose NextLook has come, or is more than a
	// day away since a clock was put back; it is set to until.
	LeasePayments(now, until time.Time, max int) ([]Payment, error)
	// LookSooner brings NextLook forward to at.
	LookSooner(id string, at time.Time) error
	// AskedPhones says of these numbers how many payments were made after
	// lately, and how many of those made after open are undecided. What was made
	// at to or later does not count. Numbers without any may be left out.
	AskedPhones(phones []string, lately, open, to time.Time) ([]AskedRow, error)
	// KnownKeys are which of these voucher keys a voucher or a grant has.
	KnownKeys(keys []string) ([]string, error)

	AddObservations([]ObservationRow) error
	Observations(payment string) ([]ObservationRow, error) // oldest first
}

type ledgerRows interface {
	// AddTransactions is ErrExists if one's kind and ref are there. Use Book.
	AddTransactions([]Transaction) error
	Transaction(kind, ref string) (Transaction, error)
	Transactions(LedgerQuery) ([]Transaction, error) // newest first
	// Balances are the accounts that begin with prefix, by name and currency.
	Balances(prefix string) ([]Balance, error)
	// BalancesOf are those of one account, by currency.
	BalancesOf(account string) ([]Balance, error)
}
