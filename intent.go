package zonegate

import (
	"context"
	"encoding/binary"
	"fmt"
	"sort"
	"strings"
	"time"
	"unicode/utf8"
)

// OpenIntent writes down that a device wants to pay. When it returns, the
// intent is durable and may be sent; the same ID again is the same intent.
//
// A device and a phone number have one open payment (OpenPaymentError), and
// may start three within ten minutes. Beside an open one another is allowed
// when it is three minutes old and the hub has just said that it is still
// pending, or when nobody can say anything about it; both are followed then.
// While the journal cannot be written it is ErrNotDurable.
func (g *Gate) OpenIntent(ctx context.Context, r IntentRequest) (Intent, error) {
	if in, ok := g.Intent(r.ID); ok {
		return in, nil
	}
	if r.ID == (IntentID{}) || r.Device == (MAC{}) || r.Device[0]&1 != 0 || len(r.NAS) > maxHubName ||
		!plain(r.Channel, 1, 32) || !digits(r.Phone) {
		return Intent{}, ErrBadIntent
	}
	who := []any{r.Device}
	if r.Phone != "" {
		who = append(who, r.Phone)
	}
	now := g.clock.Now().Mono
	admitted := g.payments.admit(now, who...)
	made := false
	err := g.do(ctx, false, func(t *tx) error {
		made = false
		if _, again := t.intents[r.ID]; again {
			return nil
		}
		if err := t.mayPay(r); err != nil {
			return err
		}
		if admitted != nil {
			return admitted
		}
		ref, ok := t.current[r.Plan]
		p := t.plans[ref]
		// What a hub collects for must be its own.
		if !ok || p.Withdrawn || p.Price.Amount <= 0 || t.meta.rests(p.Hub) || t.meta.atHub() && p.Hub == "" {
			return fmt.Errorf("plan %.64q: %w", r.Plan, ErrNoSuchPlan)
		}
		claim := t.claimKey(r.ID)
		if _, taken, err := t.voucher(claim); err != nil || taken {
			if err == nil {
				err = ErrBadIntent // by chance one in ten thousand millions: the next page has another
			}
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
		g.payments.started(now, who...)
		select {
		case g.payments.opened <- struct{}{}:
		default: // it is being looked at already
		}
	}
	in, ok := g.Intent(r.ID)
	if !ok {
		return Intent{}, ErrNoSuchIntent
	}
	return in, nil
}

// NewIntents gets a value when an intent was opened, for the one who sends
// them.
func (g *Gate) NewIntents() <-chan struct{} { return g.payments.opened }

// mayPay refuses a payment beside one that is open.
func (t *tx) mayPay(r IntentRequest) error {
	open := 0
	var other *OpenPaymentError
	for _, in := range t.intents {
		if !in.State.Open() {
			continue
		}
		open++
		mine := in.Device == r.Device
		if !mine && (r.Phone == "" || in.Phone != r.Phone) || t.replaceable(&in) {
			continue
		}
		e := &OpenPaymentError{After: max(0, replaceAfter-(t.meta.Clock.Online-in.Opened))}
		if mine {
			in.Age = t.meta.Clock.Online - in.Opened
			e.Intent = in
		}
		if other == nil || mine && (other.Intent.ID == IntentID{} || in.Opened > other.Intent.Opened) {
			other = e
		}
	}
	switch {
	case other != nil:
		return other
	case open >= maxOpenIntents:
		return ErrPaymentsFull
	}
	return nil
}

// replaceable says whether another payment may be started beside an open one.
func (t *tx) replaceable(in *Intent) bool {
	if t.meta.Clock.Online-in.Opened < replaceAfter {
		return false
	}
	return in.Unsure && in.Transaction == "" || t.gate.payments.fresh(in.ID, t.now.Mono)
}

// Replaceable says whether another payment may be started beside an open one
// now.
func (g *Gate) Replaceable(id IntentID) bool {
	in, ok := g.Intent(id)
	return ok && in.State.Open() && in.Age >= replaceAfter && (in.Unsure && in.Transaction == "" || g.payments.fresh(id, g.clock.Now().Mono))
}

// TellIntent notes what was heard of a payment. News never lead back, and
// those that change nothing are not written down.
func (g *Gate) TellIntent(ctx context.Context, id IntentID, n News) error {
	if n.State > IntentRefunded || len(n.Transaction) > maxHubName || len(n.URL) > maxURL || len(n.Flow) > 16 {
		return ErrBadIntent
	}
	n.Reason = words(n.Reason)
	err := g.do(ctx, false, func(t *tx) error {
		in, ok := t.intents[id]
		if !ok {
			return ErrNoSuchIntent
		}
		return t.tellIntent(in, n, in.Purchase)
	})
	if err == nil {
		g.payments.answeredAt(id, g.clock.Now().Mono, n.State == IntentPending && !n.Unsure)
	}
	return err
}

// tellIntent writes news down that lead on.
func (t *tx) tellIntent(in Intent, n News, purchase string) error {
	if n.State.rank() < in.State.rank() {
		if purchase == in.Purchase {
			return nil
		}
		n = in.News
	}
	// What is not told again stays.
	for _, f := range []struct{ now, was *string }{
		{&n.Transaction, &in.Transaction}, {&n.Flow, &in.Flow}, {&n.URL, &in.URL},
	} {
		if *f.now == "" {
			*f.now = *f.was
		}
	}
	if n == in.News && purchase == in.Purchase {
		return nil
	}
	return t.emit(IntentTold{in.ID, n, purchase})
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
		in, ok := t.intents[id]
		switch {
		case !ok:
			return ErrNoSuchIntent
		case in.Purchase != "":
			return nil
		case in.Transaction != "" && in.Transaction != transaction:
			return fmt.Errorf("%w: it is another transaction than the one that was started", ErrBadIntent)
		}
		review := func(why string) error {
			return t.tellIntent(in, News{State: IntentReview, Transaction: transaction, Reason: why}, "")
		}
		purchase := rgzPrefix + transaction
		key := t.meta.Key.purchaseKey(purchase)
		_, known, err := t.voucher(key)
		switch {
		case err != nil:
			return err
		case known:
			return review("the transaction has paid for something else")
		case paid.Currency != in.Price.Currency || paid.Amount < in.Price.Amount:
			return review(fmt.Sprintf("%d %.8s came, and the price is %d %s", paid.Amount, paid.Currency, in.Price.Amount, in.Price.Currency))
		}
		claim := in.Claim
		if _, taken, err := t.voucher(claim); err != nil {
			return err
		} else if taken {
			claim = VoucherKey{}
		}
		if err := t.emit(PurchaseAdded{Purchase: purchase, Plan: in.Plan, Key: key, Claim: claim}); err != nil {
			return err
		}
		if err := t.tellIntent(in, News{State: IntentPaid, Transaction: transaction}, purchase); err != nil {
			return err
		}
		v, _, _ := t.voucher(key)
		return t.deliverTo(&v, in.Device, in.NAS != "" || !t.gate.payments.waits(in.Device, t.now.Mono))
	})
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
	in, ok := t.intents[id]
	if !ok || in.Purchase != "" {
		return nil
	}
	return t.tellIntent(in, News{State: IntentPaid}, purchase)
}

// giveUpIntents lets nobody wait for what was not answered for a day.
func (t *tx) giveUpIntents() error {
	for _, in := range t.intents {
		if in.State.Open() && t.meta.Clock.Online-in.Opened >= watchIntent {
			if err := t.tellIntent(in, News{State: IntentExpired, Unsure: in.Unsure}, in.Purchase); err != nil {
				return err
			}
		}
	}
	return nil
}

// openIntent adds an intent and drops those that are over for long.
func (s *State) openIntent(e IntentMade) {
	in := Intent{
		ID: e.ID, Device: e.Device, NAS: e.NAS, Plan: e.Plan, Price: e.Price,
		Channel: e.Channel, Phone: e.Phone, Claim: e.Claim, Opened: s.meta.Clock.Online,
	}
	if now, ok := s.meta.Clock.wall(); ok {
		in.Made = now
	}
	var over []Intent
	for _, old := range s.intents {
		if !old.State.Open() && old.State != IntentReview && (old.State != IntentPaid || old.Purchase != "") {
			over = append(over, old)
		}
	}
	sort.Slice(over, func(i, j int) bool { return over[j].before(&over[i]) })
	for _, old := range over {
		if len(s.intents) >= maxIntents || in.Opened-old.Opened >= keepIntent {
			s.dropIntent(old)
		}
	}
	s.putIntent(in)
}

func (s *State) putIntent(in Intent) {
	old, had := s.intents[in.ID]
	s.intents[in.ID] = in
	s.dirty.intents[in.ID] = struct{}{}
	s.undo = append(s.undo, func() {
		if had {
			s.intents[in.ID] = old
		} else {
			delete(s.intents, in.ID)
		}
	})
}

func (s *State) dropIntent(in Intent) {
	delete(s.intents, in.ID)
	s.dirty.intents[in.ID] = struct{}{}
	s.undo = append(s.undo, func() { s.intents[in.ID] = in })
}

// Intent returns a payment.
func (g *Gate) Intent(id IntentID) (Intent, bool) {
	now := g.clock.Now()
	g.mu.RLock()
	defer g.mu.RUnlock()
	in, ok := g.state.intents[id]
	in.Age = g.state.meta.Clock.advance(now).Online - in.Opened
	return in, ok
}

// Intents returns the payments of a device, the newest first.
func (g *Gate) Intents(d MAC) []Intent {
	return g.listIntents(func(in *Intent) bool { return in.Device == d })
}

// OpenIntents returns the payments of which something new can be heard when
// the server that collects is asked: those from the last 24 hours that are not
// paid. The newest come first.
func (g *Gate) OpenIntents() []Intent {
	return g.listIntents(func(in *Intent) bool { return in.State <= IntentReview && in.Age < watchIntent })
}

// ReviewIntents returns the payments of the last week that brought money with
// which nothing was bought: somebody has to look at them. The newest come
// first.
func (g *Gate) ReviewIntents() []Intent {
	return g.listIntents(func(in *Intent) bool { return in.State == IntentReview && in.Age < 7*24*time.Hour })
}

func (g *Gate) listIntents(wanted func(*Intent) bool) []Intent {
	now := g.clock.Now()
	g.mu.RLock()
	defer g.mu.RUnlock()
	at := g.state.meta.Clock.advance(now).Online
	var out []Intent
	for _, in := range g.state.intents {
		in.Age = at - in.Opened
		if wanted(&in) {
			out = append(out, in)
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
	body := make([]byte, 0, codeLength)
	for range codeLength - 1 {
		body = append(body, codeAlphabet[raw&31])
		raw >>= 5
	}
	c, _ := checkCharacter(string(body))
	code := string(append(body, c))
	return code[:4] + "-" + code[4:]
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
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == utf8.RuneError || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "")
	}
	return strings.TrimSpace(s)
}

func plain(s string, least, most int) bool {
	return len(s) >= least && len(s) <= most &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func digits(s string) bool {
	return len(s) <= 15 && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}
