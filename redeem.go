package zonegate

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"time"
)

// A Redemption is a code typed on a device.
type Redemption struct {
	// Code is what was typed. The password of a ticket that has one follows it
	// after a comma.
	Code   string
	Device MAC
	// Move confirms that a grant in use on another device shall come here.
	Move bool
	// NAS is set for a device that a NAS holds: the grant becomes the device's,
	// and goes online when the NAS asks (see [Gate.Admit]).
	NAS string
}

// Redeem turns a voucher into a grant of the device and puts the device
// online. It can be repeated: the same code on the same device gives the same
// grant, once. On a second device the code asks for confirmation (see
// ErrOtherDevice) and then moves the grant.
//
// Every refusal takes the same time, and too many of them slow the device and
// then the strangers of the whole zone.
func (g *Gate) Redeem(ctx context.Context, r Redemption) (Standing, error) {
	started := time.Now()
	// Behind a NAS a device is only what somebody says it is: counting by it
	// would let him lock out others. There the portal limits who asks.
	counted := r.NAS == ""
	if counted {
		delay, err := g.guesses.admit(r.Device, g.clock.Now().Mono)
		if err != nil {
			return Standing{}, err
		}
		defer g.guesses.checked(r.Device)
		if delay > 0 && !g.isCustomer(r.Device) {
			if err := wait(ctx, delay); err != nil {
				return Standing{}, err
			}
		}
	}
	code, password := splitTicket(r.Code)
	proves := func(p string) bool { return subtle.ConstantTimeCompare([]byte(p), []byte(password)) == 1 }
	if password == "" {
		proves = nil
	}
	r.Code = code
	err := g.do(ctx, false, func(t *tx) error {
		v, err := t.typed(r.Code)
		if err == nil {
			err = t.checkPassword(&v, Login{Code: r.Code, Proves: proves})
		}
		if err != nil {
			return err
		}
		return t.redeem(&v, r)
	})
	if counted && isGuess(err) {
		g.guesses.wrong(r.Device, g.clock.Now().Mono)
	}
	if err != nil {
		if werr := wait(ctx, g.opts.RefusalTime-time.Since(started)); werr != nil {
			return Standing{}, werr
		}
		return Standing{}, err
	}
	return g.Standing(r.Device), nil
}

// isGuess says whether a refusal tells something about a code that the device
// does not own.
func isGuess(err error) bool {
	for _, e := range []error{ErrWrongCode, ErrForeignCode, ErrUsedCode, ErrExpiredCode, ErrRevokedCode, ErrCodeTooLong, ErrWrongPassword} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (g *Gate) isCustomer(d MAC) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.state.byDevice[d]) > 0
}

func (t *tx) redeem(v *Voucher, r Redemption) error {
	if err := t.claim(v, r, false); err != nil || r.NAS != "" {
		return err
	}
	return t.connect(r.Device)
}

// typed finds the voucher that a code stands for; its key is zero when there is
// none. A code is looked for under the hub's key too, and under that of the hub
// before it. One code is one voucher even where it is known under two keys,
// because somebody has imported what the hub brings anyway: the one that was
// used counts, and before that the hub's.
func (t *tx) typed(code string) (Voucher, error) {
	if len(code) > maxCode {
		return Voucher{}, ErrCodeTooLong
	}
	var best Voucher
	awaited := false
	for i, key := range [...]ZoneKey{t.meta.Hub.CodeKey, t.meta.Key, t.meta.FormerKey} {
		if key == (ZoneKey{}) {
			continue
		}
		v, ok, err := t.voucher(key.VoucherKey(code))
		if err != nil {
			return Voucher{}, err
		}
		awaited = awaited || !ok && t.awaits(key.VoucherKey(code))
		if !ok || v.Grant == 0 && (i == 2 || v.Hub && t.meta.rests(v.Site)) {
			continue
		}
		if best.Key == (VoucherKey{}) || best.Grant == 0 && v.Grant != 0 {
			best = v
		}
	}
	if awaited && best.Key == (VoucherKey{}) {
		return best, ErrNotPaidYet
	}
	return best, nil
}

// awaits says that a key is the claim of a payment that can still be paid.
func (t *tx) awaits(key VoucherKey) bool {
	for _, in := range t.intents {
		if in.Claim == key && in.Purchase == "" && (in.State.Open() || in.State == IntentExpired || in.State == IntentPaid) {
			return true
		}
	}
	return false
}

// claim makes what a code stands for the device's. Gone says that a device of
// the grant that is not online gives way without being asked.
func (t *tx) claim(v *Voucher, r Redemption, gone bool) error {
	switch none := v.Key == (VoucherKey{}); {
	case none && WellFormedCode(r.Code), v.Site != "" && !v.Hub:
		return ErrForeignCode
	case none:
		return ErrWrongCode
	case v.Grant != 0:
		return t.reenter(v.Grant, r, gone)
	case v.Revoked:
		return ErrRevokedCode
	}
	if now, trusted := t.meta.Clock.wall(); trusted && !v.Expires.IsZero() && !now.Before(v.Expires) {
		return ErrExpiredCode
	}
	return t.issueTo(v, r.Device)
}

// issueTo turns an unused voucher into a banked grant of a device.
func (t *tx) issueTo(v *Voucher, d MAC) error {
	return t.emit(GrantIssued{
		Grant: t.meta.LastGrant + 1, Source: v.source(), Voucher: v.Key, Plan: v.Plan, Device: d,
	})
}

// reenter is a code that was used before: the customer's own, mostly.
func (t *tx) reenter(id GrantID, r Redemption, gone bool) error {
	if err := t.expireDue(id); err != nil {
		return err
	}
	grant, ok, err := t.grant(id)
	if err != nil {
		return err
	}
	switch {
	case !ok || grant.State == Spent || grant.State == Expired:
		return ErrUsedCode
	case grant.State == Revoked:
		return ErrRevokedCode
	case grant.has(r.Device):
		return nil
	}
	return t.bring(grant, r.Device, r.Move, gone)
}

// bring makes one more device one of a grant's, in place of the oldest one
// when the plan has no room. That must be confirmed, unless one that is gone
// gives way.
func (t *tx) bring(grant Grant, d MAC, confirmed, gone bool) error {
	plan, _ := t.plan(grant.Plan)
	if len(grant.Devices) < plan.DevicesMax {
		return t.emit(DeviceAdded{grant.ID, d})
	}
	from := grant.Devices[0]
	// Nobody has begun to use it: it is whose the code is.
	unbegun := grant.State == Banked && (grant.Source.Kind == SourceHub || grant.Source.Kind == SourcePayment)
	if !confirmed && !unbegun {
		i := slices.IndexFunc(grant.Devices, func(d MAC) bool { return !t.online(d) })
		if !gone || i < 0 {
			return ErrOtherDevice
		}
		from = grant.Devices[i]
	}
	if since := t.meta.Clock.Online - grant.Moved; grant.EverMoved && since < t.gate.opts.MoveInterval {
		return &RetryError{ErrMovedRecently, t.gate.opts.MoveInterval - since}
	}
	if err := t.disconnect(from, grant.ID); err != nil {
		return err
	}
	if err := t.emit(GrantMoved{grant.ID, from, d}); err != nil {
		return err
	}
	// The old device may have something else in its queue.
	return t.reconnect(from)
}

// online says whether any session of a device passes.
func (t *tx) online(d MAC) bool {
	for _, id := range t.byDevice[d] {
		if _, ok := t.openSession(id, d); ok {
			return true
		}
	}
	return false
}

// reconnect lets a device go on with what else it has. Devices behind a NAS
// come back by themselves.
func (t *tx) reconnect(d MAC) error {
	for _, grant := range t.live(d) {
		for _, id := range t.byGrant[grant.ID] {
			if x := t.sessions[id]; x.Device == d && x.Path != "" {
				return nil
			}
		}
	}
	if err := t.connect(d); err != nil && !errors.Is(err, ErrNoGrant) {
		return err
	}
	return nil
}

// connect puts a device online under its active grant, or its oldest banked
// one. It does nothing for a device that is online there. On a NAS's data path
// it ends.
func (t *tx) connect(d MAC) error {
	id, err := t.choose(d, 0, true)
	if err != nil {
		return err
	}
	for _, grant := range t.live(d) {
		if x, ok := t.openSession(grant.ID, d); ok {
			if x.Path == "" {
				return nil
			}
			if err := t.stopSession(x); err != nil {
				return err
			}
		}
	}
	return t.open(SessionOpened{Grant: id, Device: d})
}

// choose returns the grant that a device uses: the one that it is online with,
// its active one, or, if it may be begun, its oldest banked one. Only, when not
// zero, is the only one that may be used.
func (t *tx) choose(d MAC, only GrantID, begin bool) (GrantID, error) {
	for _, grant := range t.live(d) {
		if err := t.expireDue(grant.ID); err != nil {
			return 0, err
		}
	}
	var active, banked GrantID
	for _, grant := range t.live(d) {
		if only != 0 && grant.ID != only {
			continue
		}
		if _, ok := t.openSession(grant.ID, d); ok {
			return grant.ID, nil
		}
		if grant.State == Active && active == 0 {
			active = grant.ID
		}
		if grant.State == Banked && banked == 0 {
			banked = grant.ID
		}
	}
	switch {
	case active != 0:
		return active, nil
	case banked != 0 && begin:
		return banked, t.emit(GrantActivated{banked})
	}
	return 0, ErrNoGrant
}

// open begins a session with the next number.
func (t *tx) open(e SessionOpened) error {
	e.Session = max(t.meta.LastSession, t.gate.highest) + 1
	if err := t.emit(e); err != nil {
		return err
	}
	t.gate.counted[e.Session] = counter{moved: t.now.Mono, heard: t.now.Mono}
	t.touch(e.Grant)
	return nil
}

// disconnect stops a device's sessions under a grant (or all, for zero), with
// what they delivered charged.
func (t *tx) disconnect(d MAC, only GrantID) error {
	for _, grant := range t.live(d) {
		if only != 0 && grant.ID != only {
			continue
		}
		if x, ok := t.openSession(grant.ID, d); ok {
			if err := t.stopSession(x); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tx) stopSession(x Session) error {
	if err := t.charge(x.Grant); err != nil {
		return err
	}
	if err := t.emit(SessionStopped{x.ID}); err != nil {
		return err
	}
	t.stops[x.ID] = struct{}{}
	t.touch(x.Grant)
	return nil
}

// Authorize puts a device online that still has something bought. It is what
// the continue button of the portal does.
func (g *Gate) Authorize(ctx context.Context, d MAC) (Standing, error) {
	if st := g.Standing(d); st.Online && st.NAS == "" {
		return st, nil
	}
	if err := g.switches.admit(d, g.clock.Now().Mono); err != nil {
		return Standing{}, err
	}
	if err := g.do(ctx, true, func(t *tx) error { return t.connect(d) }); err != nil {
		return Standing{}, err
	}
	return g.Standing(d), nil
}

// Logout takes a device offline. Its grants stay; calendar time goes on.
func (g *Gate) Logout(ctx context.Context, d MAC) error {
	if !g.Standing(d).Online {
		return nil
	}
	if err := g.switches.admit(d, g.clock.Now().Mono); err != nil {
		return err
	}
	return g.do(ctx, true, func(t *tx) error { return t.disconnect(d, 0) })
}

// Move brings a grant to a device ("my plan to this phone"), at most once per
// MoveInterval. The token names the grant.
func (g *Gate) Move(ctx context.Context, token string, to MAC) (Standing, error) {
	id, ok := g.GrantOf(token)
	if !ok {
		return Standing{}, ErrNoSuchGrant
	}
	err := g.do(ctx, false, func(t *tx) error {
		if err := t.expireDue(id); err != nil {
			return err
		}
		grant, ok, err := t.grant(id)
		switch {
		case err != nil:
			return err
		case !ok:
			return ErrNoSuchGrant
		case grant.State.Ended():
			return ErrGrantEnded
		case grant.has(to):
			return t.connect(to)
		}
		if err := t.bring(grant, to, true, false); err != nil {
			return err
		}
		return t.connect(to)
	})
	if err != nil {
		return Standing{}, err
	}
	return g.Standing(to), nil
}

// TopUp adds octets and time to a grant; a spent or expired one is active
// again. Nothing is added to a plan without a cap but time.
func (g *Gate) TopUp(ctx context.Context, id GrantID, octets uint64, d time.Duration) error {
	if d < 0 {
		return errors.New("a top-up adds time; it cannot take some away")
	}
	return g.do(ctx, false, func(t *tx) error {
		grant, ok, err := t.grant(id)
		switch {
		case err != nil:
			return err
		case !ok:
			return ErrNoSuchGrant
		case grant.State == Revoked:
			return ErrGrantEnded
		}
		if err := t.charge(id); err != nil {
			return err
		}
		if err := t.emit(ToppedUp{id, octets, d}); err != nil {
			return err
		}
		t.touch(id)
		if grant.State.Ended() {
			for _, dev := range grant.Devices {
				if err := t.reconnect(dev); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Revoke takes a grant back and what it lets through with it.
func (g *Gate) Revoke(ctx context.Context, id GrantID) error {
	return g.do(ctx, false, func(t *tx) error {
		grant, ok, err := t.grant(id)
		switch {
		case err != nil:
			return err
		case !ok:
			return ErrNoSuchGrant
		case grant.State.Ended():
			return ErrGrantEnded
		}
		return t.end(id, Revoked)
	})
}

// Kick stops one session. The device may come back.
func (g *Gate) Kick(ctx context.Context, id SessionID) error {
	return g.do(ctx, true, func(t *tx) error {
		x, ok := t.sessions[id]
		if !ok || x.Stopped {
			return ErrNoSuchSession
		}
		return t.stopSession(x)
	})
}
