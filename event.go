package zonegate

import "time"

// A Record is one decision of the Gate as the journal keeps it: all its events
// or none.
type Record struct {
	// Seq counts records from 1 without gaps.
	Seq    uint64
	At     Instant
	Events []Event
}

// An Event is a fact that changes the state. The set is closed: the journal
// has a versioned form of each.
type Event interface{ event() }

type (
	// ZoneFounded is the first event of a zone.
	ZoneFounded struct{ Key ZoneKey }

	// PlanSet adds a version of a plan and makes it the one that is sold.
	PlanSet struct{ Plan Plan }

	// VouchersAdded makes codes valid. Secrets are the sealed passwords of the
	// codes of a sealed batch, and empty for any other. Hub is as in Voucher.
	VouchersAdded struct {
		Batch   string
		Plan    PlanRef
		Site    string
		Expires time.Time
		Hub     bool
		Keys    []VoucherKey
		Secrets []string
	}

	// VoucherRevoked makes an unused code invalid.
	VoucherRevoked struct{ Key VoucherKey }

	// GrantIssued turns a voucher into a banked grant of a device.
	// Voucher is zero for other sources.
	GrantIssued struct {
		Grant   GrantID
		Source  Source
		Voucher VoucherKey
		Plan    PlanRef
		Device  MAC
	}

	// GrantActivated starts a banked grant: from here its time counts.
	GrantActivated struct{ Grant GrantID }

	// DeviceAdded binds one more device to a grant.
	DeviceAdded struct {
		Grant  GrantID
		Device MAC
	}

	// GrantMoved replaces one device of a grant by another.
	GrantMoved struct {
		Grant    GrantID
		From, To MAC
	}

	// ToppedUp adds value to a grant; an ended (not revoked) one is active
	// again.
	ToppedUp struct {
		Grant  GrantID
		Octets uint64
		Time   time.Duration
	}

	// GrantReplanned is a grant that goes over to another version of its plan.
	GrantReplanned struct {
		Grant GrantID
		Plan  PlanRef
	}

	// GrantEnded ends a grant for good. State is Spent, Expired or Revoked.
	GrantEnded struct {
		Grant GrantID
		State GrantState
	}

	// SessionOpened puts a device online. Terms are for a NAS, and zero on
	// the gateway's own data path.
	SessionOpened struct {
		Session SessionID
		Grant   GrantID
		Device  MAC
		Path    string
		Terms   Terms
	}

	// SessionReported is what a NAS calls a session, when it is first known
	// and when it changes.
	SessionReported struct {
		Session     SessionID
		Key, Handle string
	}

	// SessionTold changes what a NAS enforces.
	SessionTold struct {
		Session SessionID
		Terms   Terms
	}

	// SessionLost takes a device offline whose NAS has not reported it for too
	// long.
	SessionLost struct{ Session SessionID }

	// SessionResumed is a session that goes on although it was lost or over.
	SessionResumed struct{ Session SessionID }

	// SessionOver takes a device offline with its final counters; the session
	// is still remembered.
	SessionOver struct {
		Session SessionID
		Octets  Octets
	}

	// SessionStopped takes a device offline; its last octets are still to be
	// counted.
	SessionStopped struct{ Session SessionID }

	// SessionClosed forgets a session with its final counters.
	SessionClosed struct {
		Session SessionID
		Octets  Octets
	}

	// UsageCounted charges what sessions have delivered. Counters are
	// cumulative per session, so an event that comes twice charges once.
	UsageCounted struct{ Sessions []SessionOctets }

	// HubLinked joins the zone to a hub or says something new about it; the
	// zero link ends it. Next is the number that the hub wants the next entry
	// to have.
	HubLinked struct {
		Link HubLink
		Next uint64
	}

	// HubApplied notes that a push was taken.
	HubApplied struct{ Seq uint64 }

	// EntriesDelivered forgets what the hub has acknowledged.
	EntriesDelivered struct{ Through uint64 }

	// PurchaseAdded makes a purchase at the hub known under Key, and under
	// Claim if it has a code.
	PurchaseAdded struct {
		Purchase   string
		Plan       PlanRef
		Expires    time.Time
		Key, Claim VoucherKey
	}

	// BatchRevoked makes the unused vouchers of a batch of the hub invalid.
	BatchRevoked struct{ Batch string }

	// SettingSet lays a value over a setting; an empty one takes it away.
	SettingSet struct{ Name, Value string }

	// IntentMade is a customer who wants to pay. It makes those go that are
	// over for long.
	IntentMade struct {
		ID             IntentID
		Device         MAC
		NAS            string
		Plan           PlanRef
		Price          Money
		Channel, Phone string
		Claim          VoucherKey
	}

	// IntentTold is what was heard of a payment, and what it has bought.
	IntentTold struct {
		ID       IntentID
		News     News
		Purchase string
	}
)

// SessionOctets is one line of UsageCounted.
type SessionOctets struct {
	Session SessionID
	Octets  Octets
}

func (ZoneFounded) event()      {}
func (PlanSet) event()          {}
func (VouchersAdded) event()    {}
func (VoucherRevoked) event()   {}
func (GrantIssued) event()      {}
func (GrantActivated) event()   {}
func (DeviceAdded) event()      {}
func (GrantMoved) event()       {}
func (ToppedUp) event()         {}
func (GrantReplanned) event()   {}
func (GrantEnded) event()       {}
func (SessionOpened) event()    {}
func (SessionReported) event()  {}
func (SessionTold) event()      {}
func (SessionLost) event()      {}
func (SessionResumed) event()   {}
func (SessionOver) event()      {}
func (SessionStopped) event()   {}
func (SessionClosed) event()    {}
func (UsageCounted) event()     {}
func (HubLinked) event()        {}
func (HubApplied) event()       {}
func (EntriesDelivered) event() {}
func (PurchaseAdded) event()    {}
func (BatchRevoked) event()     {}
func (SettingSet) event()       {}
func (IntentMade) event()       {}
func (IntentTold) event()       {}
