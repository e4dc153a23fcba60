package zonegate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
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

// Errors of what concerns the hub.
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
		// Intent is set if it was paid for by a payment that was started here:
		// then the device only goes online if it is waiting for that (see
		// [Gate.Waiting]), and otherwise has it waiting. The gate need not know
		// the intent.
		Intent string
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

// Limits of what a hub may push: octets of a setting, and of a name.
const (
	maxSetting = 32 << 10
	maxHubName = 128
)

// JoinHub joins the zone to a hub, or says again how it is joined. NextEntry is
// the number that the hub wants the next entry to have, at least 1. Pushes go on
// after link.Applied.
//
// Joined again to the same site (it has the same CodeKey), what the hub has not
// acknowledged is kept. It is numbered anew where the hub's number is beyond all
// that was ever made here, and as another gateway of the site: after the zone was
// restored from an old backup, it may have gone on under numbers that the hub
// has other entries for. Joined
// to another one, entries for the former are dropped, and its plans and codes
// rest until the zone is joined to it again.
func (g *Gate) JoinHub(ctx context.Context, link HubLink, nextEntry uint64) error {
	link.Revoked = false
	for _, s := range []string{link.Hub, link.Site, link.Gateway} {
		if s == "" {
			return errors.New("the hub's address, the site and the gateway must be known to join a hub")
		}
	}
	if link.CodeKey == (ZoneKey{}) || nextEntry == 0 {
		return errors.New("the hub gave no key for codes, or no number for the next entry")
	}
	return g.do(ctx, false, func(t *tx) error {
		if link == t.meta.Hub && nextEntry == t.meta.Delivered+1 {
			return nil
		}
		return t.emit(HubLinked{link, nextEntry})
	})
}

// LeaveHub ends the relation with the hub. Entries that it has not acknowledged
// are dropped, its settings too; its plans and codes rest until the zone is
// joined to it again. What was bought stays the customers'.
func (g *Gate) LeaveHub(ctx context.Context) error {
	return g.do(ctx, false, func(t *tx) error {
		if t.meta.Hub == (HubLink{}) {
			return nil
		}
		return t.emit(HubLinked{Next: 1})
	})
}

// Hub returns the hub that the zone is joined to. One that has revoked the
// gateway still counts.
func (g *Gate) Hub() (HubLink, bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.state.meta.Hub, g.state.meta.Hub.Site != ""
}

// TakePush applies a push of the hub and notes its number with it, in one
// record. A push whose number was taken before changes nothing and is nil, so it
// can be given again. Number 0 is a push out of the order, an answer to a claim;
// like every purchase it is known by its own id.
//
// ErrBadPush, ErrStalePlan, ErrPlanTaken, ErrCodeConflict and ErrNoSuchSetting
// are refusals. After nil and after a refusal the push is done with, which is
// durable, and can be acknowledged. Any other error says that nothing has
// happened.
func (g *Gate) TakePush(ctx context.Context, seq uint64, c HubChange) error {
	var refusal error
	err := g.do(ctx, false, func(t *tx) error {
		refusal = nil
		if !t.meta.atHub() {
			return ErrNoHub
		}
		if seq != 0 && seq <= t.meta.Hub.Applied {
			return nil
		}
		m, n := t.mark(), len(t.events)
		if refusal = c.take(t); refusal != nil {
			if seq == 0 || !isRefusal(refusal) {
				return refusal
			}
			t.rollback(m)
			t.events = t.events[:n]
		}
		if seq == 0 {
			return nil
		}
		return t.emit(HubApplied{seq})
	})
	return cmp.Or(err, refusal)
}

func isRefusal(err error) bool {
	for _, e := range []error{ErrBadPush, ErrStalePlan, ErrPlanTaken, ErrCodeConflict, ErrNoSuchSetting} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Setting returns what is laid over a setting of the configuration.
func (g *Gate) Setting(name string) (value string, ok bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	value = g.state.settings[name]
	return value, value != ""
}

// SetSetting lays a value over a setting, or with an empty one takes it away: to
// roll back what a push has done.
func (g *Gate) SetSetting(ctx context.Context, name, value string) error {
	return g.do(ctx, false, SettingPushed{name, value}.take)
}

// offer makes a plan of the hub's known as it is. Fresh refuses one that is not
// newer than what is on sale.
func (t *tx) offer(p Plan, fresh bool) (PlanRef, error) {
	p.Hub = t.meta.Hub.Site
	if err := p.Validate(); err != nil || p.Version == 0 || len(p.ID) > maxHubName || len(p.Name) > maxHubName {
		return PlanRef{}, fmt.Errorf("plan %q version %d: %w: %w", p.ID, p.Version, ErrBadPush, cmp.Or(err, errNameless))
	}
	ref := p.Ref()
	if at, sold := t.current[p.ID]; sold {
		now := t.plans[at]
		if now.Hub == "" && !now.Withdrawn {
			return ref, fmt.Errorf("plan %q: %w", p.ID, ErrPlanTaken)
		}
		same, known := t.plans[ref]
		if known && !same.SameOffer(p) || fresh && p.Version < at.Version {
			return ref, &StaleError{p.ID, at.Version}
		}
		if known && same.Hub == p.Hub {
			return ref, nil
		}
	}
	return ref, t.emit(PlanSet{p})
}

var errNameless = errors.New("it needs a version, and a short id and name")

func (c PlanPushed) take(t *tx) error {
	if _, err := t.offer(c.Plan, true); err != nil || !c.Running {
		return err
	}
	return t.replan(c.Plan)
}

func (c PlanGone) take(t *tx) error {
	at, ok := t.current[c.ID]
	if !ok || t.plans[at].Hub == "" && t.plans[at].Withdrawn {
		return nil
	}
	p := t.plans[at]
	p.Version, p.Withdrawn = c.Version, true
	_, err := t.offer(p, true)
	return err
}

func (c BatchPushed) take(t *tx) error {
	if c.Batch == "" || len(c.Batch) > maxHubName || len(c.Keys) > maxBatchCodes {
		return fmt.Errorf("batch %q of %d codes: %w", c.Batch, len(c.Keys), ErrBadPush)
	}
	ref, err := t.offer(c.Plan, false)
	if err != nil {
		return err
	}
	e := VouchersAdded{Batch: c.Batch, Plan: ref, Site: t.meta.Hub.Site, Expires: stored(c.Expires), Hub: true}
	twice := make(map[VoucherKey]struct{}, len(c.Keys))
	for _, k := range c.Keys {
		v, known, err := t.voucher(k)
		if err != nil {
			return err
		}
		if known && (!v.Hub || v.Batch != c.Batch || v.Plan != ref) {
			return fmt.Errorf("batch %q: %w", c.Batch, ErrCodeConflict)
		}
		if _, again := twice[k]; !known && !again {
			e.Keys = append(e.Keys, k)
		}
		twice[k] = struct{}{}
	}
	if len(e.Keys) == 0 {
		return nil
	}
	return t.emit(e)
}

// unusedOfBatch says whether a voucher is an unused one of a batch of the hub
// that the zone is joined to.
func (s *State) unusedOfBatch(v *Voucher, batch string) bool {
	return v.Hub && v.Purchase == "" && v.Batch == batch && v.Grant == 0 && !v.Revoked && v.Site == s.meta.Hub.Site
}

func (c BatchGone) take(t *tx) error {
	for _, v := range t.vouchers {
		if t.unusedOfBatch(&v, c.Batch) {
			return t.emit(BatchRevoked(c))
		}
	}
	return nil
}

func (c GrantPushed) take(t *tx) error {
	if c.Grant == "" || len(c.Grant) > maxHubName || c.Device == (MAC{}) && c.Key == (VoucherKey{}) || strings.HasPrefix(c.Grant, rgzPrefix) {
		return fmt.Errorf("purchase %q: %w: it needs an id, and a device or a code", c.Grant, ErrBadPush)
	}
	key := t.meta.Key.purchaseKey(c.Grant)
	v, known, err := t.voucher(key)
	if err != nil {
		return err
	}
	if claim := c.Key; !known || claim != (VoucherKey{}) && v.Twin == (VoucherKey{}) {
		_, taken, err := t.voucher(claim)
		switch {
		case err != nil:
			return err
		case taken && (c.Intent == "" || c.Device == (MAC{})):
			return fmt.Errorf("purchase %q: %w", c.Grant, ErrCodeConflict)
		case taken:
			// It is paid, so the device has it, if without the code.
			claim = VoucherKey{}
		}
		ref := v.Plan
		if !known {
			if ref, err = t.offer(c.Plan, false); err != nil {
				return err
			}
		}
		if err := t.emit(PurchaseAdded{Purchase: c.Grant, Plan: ref, Expires: stored(c.Expires), Key: key, Claim: claim}); err != nil {
			return err
		}
		v, _, _ = t.voucher(key)
	}
	id, _ := ParseIntentID(c.Intent)
	if err := t.paid(id, c.Grant); err != nil {
		return err
	}
	if c.Device == (MAC{}) || v.Grant != 0 || v.Revoked {
		return nil
	}
	wait := c.NAS != "" || c.Intent != "" && !t.gate.notes.has(c.Device, t.now.Mono)
	if in := t.intents[id]; in != nil && in.NAS != "" {
		wait = true
	}
	return t.deliverTo(&v, c.Device, wait)
}

// stored is a time as the journal gives it back.
func stored(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.Round(0).UTC()
}

func (c GrantGone) take(t *tx) error {
	for _, in := range t.intents {
		if in.Purchase == c.Grant && c.Grant != "" {
			if err := t.tellIntent(in, &News{State: IntentRefunded}, in.Purchase); err != nil {
				return err
			}
		}
	}
	v, ok, err := t.voucher(t.meta.Key.purchaseKey(c.Grant))
	switch {
	case err != nil:
		return err
	case !ok || v.Revoked:
		return nil
	case v.Grant == 0:
		return t.emit(VoucherRevoked{v.Key})
	}
	grant, ok, err := t.grant(v.Grant)
	if err != nil || !ok || grant.State.Ended() {
		return err
	}
	return t.end(v.Grant, Revoked)
}

func (HubGone) take(t *tx) error {
	link := t.meta.Hub
	link.Revoked = true
	return t.emit(HubLinked{link, t.meta.Delivered + 1})
}

func (c SettingPushed) take(t *tx) error {
	switch c.Name {
	case SettingBrand, SettingGarden, SettingLink, SettingMessage:
	default:
		return fmt.Errorf("%.50q: %w", c.Name, ErrNoSuchSetting)
	}
	if len(c.Value) > maxSetting {
		return fmt.Errorf("setting %s: %w: it is longer than %d octets", c.Name, ErrBadPush, maxSetting)
	}
	if t.settings[c.Name] == c.Value {
		return nil
	}
	return t.emit(SettingSet(c))
}

// link takes over what is new about the hub.
func (s *State) link(e HubLinked) error {
	old, through := s.meta.Hub, e.Next-1
	if old.CodeKey != e.Link.CodeKey && old.CodeKey != (ZoneKey{}) {
		s.meta.FormerKey = old.CodeKey
	}
	s.meta.Hub = e.Link
	same := old.CodeKey == e.Link.CodeKey
	switch {
	case !same:
		s.setOutbox(nil)
		s.meta.LastEntry, s.meta.Delivered = through, through
	case through <= s.meta.LastEntry && (through <= s.meta.Delivered || old.Gateway == e.Link.Gateway):
		s.deliver(through)
	default:
		// As another gateway of the site the numbers that the hub has can be
		// those of another life: of before a backup was put back. What it has
		// of these is told twice then, and it knows sales by what was sold.
		list, err := s.entries(0, math.MaxInt)
		if err != nil {
			return fmt.Errorf("numbering the entries anew: %w", err)
		}
		for i := range list {
			list[i].N = e.Next + uint64(i)
		}
		s.setOutbox(list)
		s.meta.LastEntry, s.meta.Delivered = through+uint64(len(list)), through
	}
	if !same || e.Link.Revoked {
		for name := range s.settings {
			s.putSetting(name, "")
		}
	}
	return nil
}

func (s *State) putSetting(name, value string) {
	old, had := s.settings[name]
	s.settings[name] = value
	s.dirty.settings[name] = struct{}{}
	s.undo = append(s.undo, func() {
		if had {
			s.settings[name] = old
		} else {
			delete(s.settings, name)
		}
	})
}
