package zonegate

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A zone may be joined to a hub, the central server of its operator. What has
// value is then reported to it in order (see [Entry]), and its pushes are taken
// (see [HubChange]). Both are in the journal, so that nothing of either is lost
// or done twice; what carries them is an adapter. Everything works without it.
//
// Plans and codes of the hub stand beside the zone's own. A plan belongs to who
// made it: [Gate.SetPlans] leaves the hub's alone and a push the zone's own. A
// code of the hub is only sold while the zone is joined to that hub's site; what
// it has become stays the customer's for ever.

// A HubLink is what a zone keeps of the hub that it is joined to.
type HubLink struct {
	// Hub is the hub's base URL, Site and Gateway what it calls this zone and
	// this machine.
	Hub, Site, Gateway string
	// CodeKey hashes the codes of the site's vouchers. It was drawn by the hub.
	CodeKey ZoneKey
	// Applied is the last push taken.
	Applied uint64
	// Revoked says that the hub has taken the gateway off: nothing of the hub's
	// is sold any more, and nothing new is reported. What was bought goes on.
	Revoked bool
}

// Errors of what concerns the hub. Of pushes all but ErrNoHub and
// ErrNotDurable are refusals: the push counts as taken, and would be refused
// again.
var (
	ErrNoHub = errors.New("the zone is not joined to a hub")
	// ErrStalePlan is inside a [StaleError].
	ErrStalePlan = errors.New("another offer stands under this version of the plan, or a later one")
	// ErrPlanTaken is a plan that both the configuration and the hub want to
	// sell under one id.
	ErrPlanTaken     = errors.New("the id of the plan is taken by the other of configuration and hub; give one of them another id")
	ErrNoSuchSetting = errors.New("no such setting")
	ErrNoSuchEntry   = errors.New("no such entry was made")
	ErrBadPush       = errors.New("the push makes no sense")
)

// A StaleError is a plan whose version is not newer than the one that is there.
type StaleError struct {
	Plan string
	// Have is the newest version that the gate knows.
	Have uint32
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("plan %q: %v; version %d is there", e.Plan, ErrStalePlan, e.Have)
}
func (e *StaleError) Unwrap() error { return ErrStalePlan }

// A HubChange is one push of the hub: PlanPushed, PlanGone, BatchPushed,
// BatchGone, GrantPushed, GrantGone, HubGone or SettingPushed. The set is
// closed.
type HubChange interface{ take(*tx) error }

type (
	// PlanPushed puts a version of a plan on sale. The plan keeps the hub's id
	// and version. Running says that grants of it that have not ended go over to
	// it; their sessions are told and not stopped.
	PlanPushed struct {
		Plan    Plan
		Running bool
	}

	// PlanGone takes a plan off sale. Version is that of the withdrawn state.
	PlanGone struct {
		ID      string
		Version uint32
	}

	// BatchPushed makes codes valid: a batch, or a part of one. Keys are under
	// the CodeKey; those that are known already change nothing. Plan need not
	// be known, and becomes known as it is.
	BatchPushed struct {
		Batch   string
		Plan    Plan
		Expires time.Time
		Keys    []VoucherKey
	}

	// BatchGone makes the unused codes of a batch worthless.
	BatchGone struct{ Batch string }

	// GrantPushed is a purchase. Grant is the hub's id of it: pushed again, the
	// purchase is the same one, for ever. With a Device it becomes that device's
	// and starts, like a code that was redeemed there just now. With a Key it
	// waits for the code that the key is of. It may have both.
	GrantPushed struct {
		Grant  string
		Plan   Plan
		Device MAC
		Key    VoucherKey
		// Expires is the last moment of the redemption by the Key; zero means
		// never.
		Expires time.Time
		// NAS is as in [Redemption]: the device is not put online here, but goes
		// online when its NAS asks.
		NAS string
	}

	// GrantGone takes a purchase back and what it lets through with it.
	GrantGone struct{ Grant string }

	// HubGone is the hub's last word: see [HubLink].Revoked.
	HubGone struct{}

	// SettingPushed lays a value over a setting of the configuration. An empty
	// one lays the configuration open again.
	SettingPushed struct{ Name, Value string }
)

// Names of the settings that a hub may lay over the configuration. What a value
// means is the caller's.
const (
	SettingBrand   = "brand"
	SettingGarden  = "garden"
	SettingLink    = "link"
	SettingMessage = "message"
)

// Limits of what a hub may push.
const (
	maxSetting = 32 << 10
	maxHubName = 128
)

// JoinHub joins the zone to a hub, or says again how it is joined. NextEntry is
// the number that the hub wants the next entry to have, at least 1.
//
// Joined again to the same site, what the hub has not acknowledged is kept. It
// is numbered anew where the hub's number is beyond all that was ever made here:
// after the zone was restored from an old backup. Joined to another one, entries
// for the former are dropped, and its plans and codes rest until the zone is
// joined to it again.
//
// Link.Applied is where the pushes go on, so a caller that wants those between
// gives the number that it had.
func (g *Gate) JoinHub(ctx context.Context, link HubLink, nextEntry uint64) error {
	return ErrNoHub
}

// LeaveHub ends the relation with the hub. Entries that it has not acknowledged
// are dropped, its settings too; its plans and codes rest until the zone is
// joined to it again. What was bought stays the customers'.
func (g *Gate) LeaveHub(ctx context.Context) error { return ErrNoHub }

// Hub returns the hub that the zone is joined to. One that has revoked the
// gateway still counts.
func (g *Gate) Hub() (HubLink, bool) { return HubLink{}, false }

// TakePush applies a push of the hub and notes its number with it, in one
// record. A push whose number was taken before changes nothing and is nil, so it
// can be given again. Number 0 is a push out of the order, an answer to a claim;
// like every purchase it is known by its own id.
//
// When it returns nil or a refusal the push is done with: durable, and to be
// acknowledged. ErrNotDurable, ErrStopped, ErrNoHub and the context's errors say
// that nothing has happened.
func (g *Gate) TakePush(ctx context.Context, seq uint64, c HubChange) error { return ErrNoHub }

// Setting returns what is laid over a setting of the configuration.
func (g *Gate) Setting(name string) (value string, ok bool) { return "", false }

// SetSetting lays a value over a setting, or with an empty one takes it away: to
// roll back what a push has done.
func (g *Gate) SetSetting(ctx context.Context, name, value string) error {
	return ErrNoSuchSetting
}

func (PlanPushed) take(*tx) error    { return ErrNoHub }
func (PlanGone) take(*tx) error      { return ErrNoHub }
func (BatchPushed) take(*tx) error   { return ErrNoHub }
func (BatchGone) take(*tx) error     { return ErrNoHub }
func (GrantPushed) take(*tx) error   { return ErrNoHub }
func (GrantGone) take(*tx) error     { return ErrNoHub }
func (HubGone) take(*tx) error       { return ErrNoHub }
func (SettingPushed) take(*tx) error { return ErrNoHub }
