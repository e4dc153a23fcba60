package zonegate

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"
)

// OpenIntent writes down that a device wants to pay. When it returns, the
// intent is durable and may be sent; the same ID again is the same intent.
//
// A device and a phone number have one open payment (OpenPaymentError), and
// may start three within ten minutes. Beside an open one another is allowed
// when it is three minutes old and the hub has just said that it is still
// pending, or when nobody can say anything about it; both are followed then.
// A device has three open ones at most. ErrPaymentsFull is a zone with too many.
// While the journal cannot be written it is ErrNotDurable.
func (g *Gate) OpenIntent(ctx context.Context, r IntentRequest) (Intent, error) {
	if in, ok := g.Intent(r.ID); ok {
		return in, nil
	}
	if r.ID == (IntentID{}) || r.Device == (MAC{}) || r.Device[0]&1 != 0 || len(r.NAS) > maxHubName ||
		!plain(r.Channel, 1, 32) || !digits(r.Phone) {
		return Intent{}, ErrBadIntent
	}
	now := g.clock.Now().Mono
	who := []any{r.Device, r.Phone}
	if r.Phone == "" {
		who = who[:1]
	}
	var late *RetryError
	for _, w := range who {
		if _, err := g.starts.admit(w, now); errors.As(err, &late) {
			late.Err = ErrManyPayments
			break
		}
		defer g.starts.checked(w)
	}
	made := false
	err := g.do(ctx, false, func(t *tx) error {
		made = false
		if t.intents[r.ID] != nil {
			return nil
		}
		if err := t.mayPay(&r); err != nil {
			return err
		}
		if late != nil {
			return late
		}
		ref, ok := t.current[r.Plan]
		p := t.plans[ref]
		// What a hub collects for must be its own.
		if !ok || p.Withdrawn || p.Price.Amount <= 0 || t.meta.rests(p.Hub) || t.meta.atHub() && p.Hub == "" {
			return fmt.Errorf("plan %.64q: %w", r.Plan, ErrNoSuchPlan)
		}
		claim, err := t.freeClaim(t.claimKey(r.ID))
		if err == nil && claim == (VoucherKey{}) {
			err = ErrBadIntent // by chance, and the next page has another
		}
		if err != nil {
			return err
		}
		made = true
		return t.emit(IntentMade{
			ID: r.ID, Device: r.Device, NAS: r.NAS, Plan: ref, Price: p.Price,
			Channel: r.Channel, Phone: r.Phone, Claim: claim,
		})
	})
	if err != nil {
		return Intent{}, err
	}
	if made {
		for _, w := range who {
			g.starts.wrong(w, now)
		}
		select {
		case g.opened <- struct{}{}:
		default: // it is being looked at already
		}
	}
	in, _ := g.Intent(r.ID)
	return in, nil
}

// NewIntents gets a value when an intent was opened, for the one who sends
// them.
func (g *Gate) NewIntents() <-chan struct{} { return g.opened }

// mayPay refuses a payment beside one that is open.
func (t *tx) mayPay(r *IntentRequest) error {
	open, young, now := 0, 0, t.meta.Clock.Online
	full := !t.roomToPay(r.Device)
	var other *OpenPaymentError
	for _, in := range t.intents {
		if !in.State.Open() {
			continue
		}
		open++
		age := now - in.Opened
		if age < youngIntent {
			young++
		}
		mine := in.Device == r.Device
		if !mine && (r.Phone == "" || in.Phone != r.Phone) || !(mine && full) && t.gate.replaceable(in, age) {
			continue
		}
		if other == nil || mine && in.Opened >= other.Intent.Opened {
			other = &OpenPaymentError{After: max(0, replaceAfter-age)}
			if mine {
				other.Intent = *in
				other.Intent.Age = age
			}
		}
	}
	switch {
	case other != nil:
		return other
	case young >= maxYoungIntents, open >= maxOpenIntents:
		return ErrPaymentsFull
	}
	return nil
}

// roomToPay says whether a device may have one more open payment.
func (s *State) roomToPay(d MAC) bool {
	open := 0
	for _, in := range s.intents {
		if in.Device == d && in.State.Open() {
			open++
		}
	}
	return open < maxOpenPer
}

// replaceable says whether another payment may be started beside an open one.
func (g *Gate) replaceable(in *Intent, age time.Duration) bool {
	return age >= replaceAfter && (in.Unsure && in.Transaction == "" || g.notes.has(in.ID, g.clock.Now().Mono))
}

// Replaceable says whether another payment may be started beside an open one
// now.
func (g *Gate) Replaceable(id IntentID) bool {
	in, ok := g.Intent(id)
	if !ok || !in.State.Open() || !g.replaceable(&in, in.Age) {
		return false
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.state.roomToPay(in.Device)
}

// TellIntent notes what was heard of a payment. News never lead back, and
// those that change nothing are not written down.
func (g *Gate) TellIntent(ctx context.Context, id IntentID, n News) error {
	if n.State > IntentRefunded || len(n.Transaction) > maxHubName || len(n.URL) > maxURL || len(n.Flow) > 16 {
		return ErrBadIntent
	}
	n.Reason = words(n.Reason)
	err := g.do(ctx, false, func(t *tx) error {
		in := t.intents[id]
		if in == nil {
			return ErrNoSuchIntent
		}
		return t.tellIntent(in, &n, in.Purchase)
	})
	if err == nil {
		keep := answerFresh
		if n.State != IntentPending || n.Unsure {
			keep = 0
		}
		g.notes.note(id, g.clock.Now().Mono, keep)
	}
	return err
}

// tellIntent writes news down that lead on. What is not told again stays.
func (t *tx) tellIntent(in *Intent, n *News, purchase string) error {
	e := IntentTold{in.ID, in.News, purchase}
	if n.State.rank() >= in.State.rank() {
		e.News = *n
		e.News.Transaction = cmp.Or(n.Transaction, in.Transaction)
		e.News.Flow, e.News.URL = cmp.Or(n.Flow, in.Flow), cmp.Or(n.URL, in.URL)
	}
	if e.News == in.News && purchase == in.Purchase {
		return nil
	}
	return t.emit(e)
}

// rgzPrefix begins the id of a purchase that was made here for a payment at a
// server without pushes. No hub may use it.
const rgzPrefix = "rgz:"

// SettleIntent takes the word of a server without pushes that a payment was
// made: the amount is that server's. If it is enough, what was paid for
// becomes the device's, once for a transaction, as if a hub had pushed it;
// otherwise the intent is IntentReview. It can be repeated.
func (g *Gate) SettleIntent(ctx context.Context, id IntentID, transaction string, paid Money) error {
	if transaction == "" || len(transaction) > maxHubName-len(rgzPrefix) {
		return ErrBadIntent
	}
	return g.do(ctx, false, func(t *tx) error {
		in := t.intents[id]
		switch {
		case in == nil:
			return ErrNoSuchIntent
		case in.Purchase != "":
			return nil
		case in.Transaction != "" && in.Transaction != transaction:
			return fmt.Errorf("%w: it is another transaction than the one that was started", ErrBadIntent)
		}
		n := News{State: IntentPaid, Transaction: transaction}
		purchase := rgzPrefix + transaction
		key := t.meta.Key.purchaseKey(purchase)
		_, known, err := t.voucher(key)
		switch {
		case err != nil:
			return err
		case known:
			n.Reason = "the transaction has paid for something else"
		case paid.Currency != in.Price.Currency || paid.Amount < in.Price.Amount:
			n.Reason = fmt.Sprintf("%d %.8s came, and the price is %d %s", paid.Amount, paid.Currency, in.Price.Amount, in.Price.Currency)
		}
		if n.Reason != "" {
			n.State = IntentReview
			return t.tellIntent(in, &n, "")
		}
		claim, err := t.freeClaim(in.Claim)
		if err != nil {
			return err
		}
		if err := t.emit(PurchaseAdded{Purchase: purchase, Plan: in.Plan, Key: key, Claim: claim}); err != nil {
			return err
		}
		if err := t.tellIntent(in, &n, purchase); err != nil {
			return err
		}
		v, _, _ := t.voucher(key)
		return t.deliverTo(&v, in.Device, in.NAS != "" || !t.gate.notes.has(in.Device, t.now.Mono))
	})
}

// freeClaim is a claim that is not a voucher's already, and zero for one that
// is.
func (t *tx) freeClaim(claim VoucherKey) (VoucherKey, error) {
	if _, taken, err := t.voucher(claim); err != nil || taken {
		return VoucherKey{}, err
	}
	return claim, nil
}

// deliverTo makes an unused purchase a device's. Unless it shall wait, the
// device goes online with it.
func (t *tx) deliverTo(v *Voucher, d MAC, wait bool) error {
	if err := t.issueTo(v, d); err != nil || wait {
		return err
	}
	for _, grant := range t.live(d) {
		if x, ok := t.openSession(grant.ID, d); ok && x.Path != "" {
			// It is online through a NAS, and stays there.
			return nil
		}
	}
	return t.connect(d)
}

// paid notes that a purchase is what an intent was for.
func (t *tx) paid(id IntentID, purchase string) error {
	in := t.intents[id]
	if in == nil || in.Purchase != "" {
		return nil
	}
	return t.tellIntent(in, &News{State: IntentPaid}, purchase)
}

// giveUpIntents lets nobody wait for what was not answered for a day.
func (t *tx) giveUpIntents() error {
	for _, in := range t.intents {
		if in.State.Open() && t.meta.Clock.Online-in.Opened >= watchIntent {
			if err := t.tellIntent(in, &News{State: IntentExpired, Unsure: in.Unsure}, in.Purchase); err != nil {
				return err
			}
		}
	}
	return nil
}

// openIntent adds an intent and drops those that are over for long.
func (s *State) openIntent(e *IntentMade) {
	now, _ := s.meta.Clock.wall()
	in := &Intent{
		ID: e.ID, Device: e.Device, NAS: e.NAS, Plan: e.Plan, Price: e.Price,
		Channel: e.Channel, Phone: e.Phone, Claim: e.Claim, Opened: s.meta.Clock.Online, Made: now,
	}
	var over []*Intent
	for _, old := range s.intents {
		if !old.State.Open() && old.State != IntentReview && (old.State != IntentPaid || old.Purchase != "") {
			over = append(over, old)
		}
	}
	sort.Slice(over, func(i, j int) bool { return over[j].before(over[i]) })
	for _, old := range over {
		if len(s.intents) >= maxIntents || in.Opened-old.Opened >= keepIntent {
			s.setIntent(old.ID, nil)
		}
	}
	s.setIntent(in.ID, in)
}

// tellIntent takes over what was told.
func (s *State) tellIntent(e *IntentTold) error {
	old := s.intents[e.ID]
	if old == nil {
		return fmt.Errorf("payment %v: %w", e.ID, ErrCorrupt)
	}
	in := *old
	in.News, in.Purchase = e.News, e.Purchase
	if !in.State.Open() {
		in.Phone = maskedPhone(in.Phone)
	}
	s.setIntent(in.ID, &in)
	return nil
}

// setIntent replaces an intent; nil drops it.
func (s *State) setIntent(id IntentID, in *Intent) {
	old := s.intents[id]
	s.dirty.intents[id] = struct{}{}
	s.undo = append(s.undo, func() { s.swapIntent(id, old) })
	s.swapIntent(id, in)
}

func (s *State) swapIntent(id IntentID, in *Intent) {
	if in == nil {
		delete(s.intents, id)
	} else {
		s.intents[id] = in
	}
}

// Intent returns a payment.
func (g *Gate) Intent(id IntentID) (in Intent, ok bool) {
	now := g.clock.Now()
	g.mu.RLock()
	defer g.mu.RUnlock()
	p := g.state.intents[id]
	if p == nil {
		return in, false
	}
	in = *p
	in.Age = g.state.meta.Clock.advance(now).Online - in.Opened
	return in, true
}

// Intents returns the payments of a device, the newest first.
func (g *Gate) Intents(d MAC) []Intent {
	return g.listIntents(func(in *Intent, _ time.Duration) bool { return in.Device == d })
}

// OpenIntents returns the payments of which something new can be heard when
// the server that collects is asked: those from the last 24 hours that are not
// paid. The newest come first.
func (g *Gate) OpenIntents() []Intent {
	return g.listIntents(func(in *Intent, age time.Duration) bool { return in.State <= IntentReview && age < watchIntent })
}

// ReviewIntents returns the payments of the last week that brought money with
// which nothing was bought: somebody has to look at them. The newest come
// first.
func (g *Gate) ReviewIntents() []Intent {
	return g.listIntents(func(in *Intent, age time.Duration) bool { return in.State == IntentReview && age < 7*24*time.Hour })
}

func (g *Gate) listIntents(wanted func(in *Intent, age time.Duration) bool) []Intent {
	now := g.clock.Now()
	g.mu.RLock()
	defer g.mu.RUnlock()
	at := g.state.meta.Clock.advance(now).Online
	var out []Intent
	for _, in := range g.state.intents {
		if age := at - in.Opened; wanted(in, age) {
			out = append(out, *in)
			out[len(out)-1].Age = age
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].before(&out[j]) })
	return out
}

// before orders intents, the newest first.
func (in *Intent) before(b *Intent) bool {
	return in.Opened > b.Opened || in.Opened == b.Opened && string(in.ID[:]) > string(b.ID[:])
}

// ClaimCode is the code by which what an intent has paid for can be claimed on
// another device too, as it is printed: two groups of four. It follows from
// the zone's key and the intent, so it is kept nowhere and can always be shown
// again. It is empty before the gate runs.
func (g *Gate) ClaimCode(id IntentID) string {
	key := g.key.Load()
	if key == nil {
		return ""
	}
	return key.claimCode(id)
}

func (k ZoneKey) claimCode(id IntentID) string {
	raw := binary.BigEndian.Uint64(k.sum("claim", string(id[:])))
	var drawn [codeLength - 1]byte
	for i := range drawn {
		drawn[i] = byte(raw)
		raw >>= 5
	}
	code, _ := NewCode(bytes.NewReader(drawn[:])) // there is enough of it
	return code
}

// claimKey is the claim code as the hub knows it, or the zone where there is
// none.
func (t *tx) claimKey(id IntentID) VoucherKey {
	key := t.meta.Key
	if t.meta.atHub() {
		key = t.meta.Hub.CodeKey
	}
	return key.VoucherKey(t.meta.Key.claimCode(id))
}

// maskedPhone is what is kept of a number when it is not needed any more.
func maskedPhone(s string) string {
	if len(s) < 3 || strings.HasPrefix(s, "*") {
		return s
	}
	return "**" + s[len(s)-2:]
}

// words makes what a server said fit for a line of a page.
func words(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxReason)], "")
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
}

func plain(s string, least, most int) bool {
	return len(s) >= least && len(s) <= most &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func digits(s string) bool { return len(s) <= 15 && strings.Trim(s, "0123456789") == "" }
