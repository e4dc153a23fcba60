package hub

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sort"

	"zonegate/sync/api"
)

// fromPayment is the Source of a grant that was paid for; its Ref is the
// payment.
const fromPayment = "payment"

// A change is one event for one payment, with what was heard about it.
type change struct {
	id    string
	event event
	said  []ObservationRow
	// payment and err are what became of it.
	payment Payment
	err     error
}

// happen takes an event, in one transaction with all that follows from it.
func (h *Hub) happen(ctx context.Context, id string, e event, said ...ObservationRow) (Payment, error) {
	c := &change{id: id, event: e, said: said}
	if err := h.money.changes.put(ctx, c, 1, h.writeChanges); err != nil {
		return Payment{}, err
	}
	return c.payment, c.err
}

// writeChanges writes changes together, or if that fails each alone.
func (h *Hub) writeChanges(ctx context.Context, cs []*change) error {
	err := h.write(ctx, cs)
	if err == nil || len(cs) == 1 {
		return err
	}
	for _, c := range cs {
		if err := h.write(ctx, []*change{c}); err != nil {
			c.err = err
		}
	}
	return nil
}

// maxStale is how often a change is tried again that another process came
// between.
const maxStale = 10

func (h *Hub) write(ctx context.Context, cs []*change) error {
	for i := 1; ; i++ {
		err := h.store.Write(ctx, func(tx Tx) error { return h.applyChanges(tx, cs) })
		switch {
		case errors.Is(err, ErrStale) && i < maxStale:
		case errors.Is(err, ErrExists) && len(cs) == 1 && !cs[0].event.taken:
			// Another payment has the provider's id.
			cs[0].event.taken = true
		default:
			return err
		}
	}
}

// A batch is what one transaction of payments writes.
type batch struct {
	hub      *Hub
	tx       Tx
	rules    map[string]Rule
	forfaits map[forfaitVersion]Forfait

	said   []ObservationRow
	grants []Grant
	books  []Transaction
	sales  []Sale
	pushes []Push
}

type forfaitVersion struct {
	id      string
	version uint32
}

func (h *Hub) newBatch(tx Tx) *batch {
	return &batch{hub: h, tx: tx, rules: map[string]Rule{}, forfaits: map[forfaitVersion]Forfait{}}
}

func (h *Hub) applyChanges(tx Tx, cs []*change) error {
	ids := make([]string, 0, len(cs))
	for _, c := range cs {
		ids = append(ids, c.id)
	}
	sort.Strings(ids)
	rows, err := tx.PaymentsByID(ids)
	if err != nil {
		return err
	}
	before, now := map[string]Payment{}, map[string]Payment{}
	for _, p := range rows {
		before[p.ID], now[p.ID] = p, p
	}
	b := h.newBatch(tx)
	var again []*change
	for _, c := range cs {
		p, ok := now[c.id]
		if c.payment, c.err = p, nil; !ok {
			c.err = ErrNotFound
			continue
		}
		after, what := p.next(c.event)
		if err := b.perform(after, what); err != nil {
			return err
		}
		b.hear(c, p, after)
		now[c.id], c.payment = after, after
		if p.again(after, c.event) {
			again = append(again, c)
		}
	}
	changed := make([]Payment, 0, len(rows))
	for _, p := range now {
		if p != before[p.ID] {
			changed = append(changed, p)
		}
	}
	// In one order, so that two processes do not wait for each other.
	sort.Slice(changed, func(i, j int) bool { return changed[i].ID < changed[j].ID })
	if err := tx.ChangePayments(changed); err != nil {
		return err
	}
	if err := b.write(); err != nil {
		return err
	}
	for _, c := range again {
		if err := h.addSecond(tx, c.payment, c.event); err != nil {
			return err
		}
	}
	return nil
}

// hear keeps what was said: all of it, but for lookups that show nothing new.
func (b *batch) hear(c *change, before, after Payment) {
	for _, o := range c.said {
		if o.Source == SourceLookup && before.State == after.State && before.ProviderRef == after.ProviderRef &&
			(o.State == string(PaymentPending) || o.State == string(after.State)) {
			continue
		}
		b.said = append(b.said, o)
	}
}

func (b *batch) write() error {
	id, err := b.hub.newID()
	if err != nil {
		return err
	}
	for i := range b.said {
		o := &b.said[i]
		// In the order in which it was said, also within a millisecond.
		o.ID, o.Raw = fmt.Sprintf("%s.%05d", id, i), clip(o.Raw, 4096)
	}
	if len(b.books) > 0 {
		open, err := b.tx.BooksFrom()
		if err != nil {
			return err
		}
		for i := range b.books {
			if err := b.hub.number(&b.books[i], open); err != nil {
				return err
			}
		}
	}
	if err := b.tx.AddObservations(b.said); err != nil {
		return err
	}
	if err := b.tx.AddGrants(b.grants); err != nil {
		return err
	}
	if err := b.tx.AddTransactions(b.books); err != nil {
		return err
	}
	if _, err := b.tx.AddSales(b.sales); err != nil {
		return err
	}
	return b.tx.AddPushes(b.pushes)
}

// perform collects what follows from a move.
func (b *batch) perform(p Payment, what effect) error {
	switch what {
	case settle:
		return b.settle(p, AccountProvider+p.Provider, p.Price.Amount)
	case accept:
		return b.settle(p, AccountReview+p.Provider, min(p.Paid.Amount, p.Price.Amount))
	case hold:
		b.book(BookReview, p, Posting{AccountProvider + p.Provider, p.Paid.Currency, p.Paid.Amount},
			Posting{AccountReview + p.Provider, p.Paid.Currency, -p.Paid.Amount})
	case giveBack:
		ref, err := rejection(b.tx, p.ID)
		if err != nil {
			return err
		}
		b.bookAs(BookRefunding, ref, p, Posting{AccountReview + p.Provider, p.Paid.Currency, p.Paid.Amount},
			Posting{AccountRefund + p.Provider, p.Paid.Currency, -p.Paid.Amount})
	case reverse:
		return b.reverse(p)
	}
	return nil
}

func (b *batch) book(kind string, p Payment, lines ...Posting) { b.bookAs(kind, p.ID, p, lines...) }

func (b *batch) bookAs(kind, ref string, p Payment, lines ...Posting) {
	t := Transaction{Kind: kind, Ref: ref, At: b.hub.at(), Reseller: p.Reseller}
	if ref != p.ID {
		t.Note = "payment " + p.ID
	}
	for _, l := range lines {
		if l.Amount != 0 {
			t.Postings = append(t.Postings, l)
		}
	}
	b.books = append(b.books, t)
}

// settle splits what was sold, of money that is on an account, and gives the
// customer what was bought.
func (b *batch) settle(p Payment, from string, sold int64) error {
	rule, err := b.rule(p.Reseller)
	if err != nil {
		return err
	}
	fee, parts := rule.fee(sold), map[string]int64{}
	rule.split(sold, fee, 1, parts)
	cur := p.Price.Currency
	lines := []Posting{{from, cur, p.Paid.Amount}, {AccountFee + p.Provider, cur, -fee}}
	for _, s := range rule.Shares {
		account := AccountParty + s.Party
		if s.Party == PartyReseller {
			account = AccountReseller + p.Reseller
		}
		lines = append(lines, Posting{account, cur, -parts[s.Party]})
	}
	b.book(BookPayment, p, append(lines, Posting{AccountSurplus + p.Provider, cur, sold - p.Paid.Amount})...)

	at := b.hub.at()
	sale := Sale{Site: p.Site, Reseller: p.Reseller, At: at, Exact: true, Source: sourceHub, Ref: p.ID,
		Forfait: p.Forfait, Version: p.Version, Amount: sold, Currency: cur, Custody: CustodyPlatform}
	if p.Device == "" && p.Claim == "" {
		// Who asked for it gives it out, as a gateway in RGZ mode does.
		sale.Source = sourcePayment
		b.sales = append(b.sales, sale)
		return nil
	}
	b.sales = append(b.sales, sale)
	g := Grant{ID: p.ID, Site: p.Site, Forfait: p.Forfait, Version: p.Version, Device: p.Device, Source: fromPayment, Ref: p.ID,
		Key: p.Claim, Expires: at.Add(b.hub.money.banked), Made: at}
	f, err := b.forfait(p.Forfait, p.Version)
	if err != nil {
		return err
	}
	body, err := grantBody(g, f, p.Intent)
	if err != nil {
		return err
	}
	b.grants = append(b.grants, g)
	b.pushes = append(b.pushes, Push{Target: Target{Site: g.Site}, Kind: api.KindGrant, At: at, Body: body})
	return nil
}

// reverse takes back what a payment was split into: the money has gone from the
// provider's account. What is left of the grant ends.
func (b *batch) reverse(p Payment) error {
	t, err := b.tx.Transaction(BookPayment, p.ID)
	if errors.Is(err, ErrNotFound) { // nobody had decided on it
		t, err = b.tx.Transaction(BookReview, p.ID)
	}
	if errors.Is(err, ErrNotFound) {
		return nil // nor was it known how much it is
	} else if err != nil {
		return fmt.Errorf("looking up what was booked: %w", err)
	}
	var lines []Posting
	for _, l := range t.Postings {
		if l.Account == AccountReview+p.Provider && t.Kind == BookPayment {
			l.Account = AccountProvider + p.Provider
		}
		l.Amount = -l.Amount
		lines = append(lines, l)
	}
	b.book(BookTakenBack, p, lines...)
	b.sales = append(b.sales, b.hub.unsold(p, p.ID, lines)...)
	g, err := b.tx.Grant(p.ID)
	if errors.Is(err, ErrNotFound) || err == nil && g.Revoked {
		return nil
	} else if err != nil {
		return err
	}
	if err := b.tx.RevokeGrant(g.ID); err != nil {
		return err
	}
	body, err := json.Marshal(api.GrantRevoked{Grant: g.ID, Reason: p.Reason})
	if err != nil {
		return fmt.Errorf("encoding a push: %w", err)
	}
	b.pushes = append(b.pushes, Push{Target: Target{Site: g.Site}, Kind: api.KindGrantRevoked, At: b.hub.at(), Body: body})
	return b.hub.note(b.tx, theHub, "payment.reversed", p.ID, p.Reason)
}

func (b *batch) rule(reseller string) (Rule, error) {
	r, ok := b.rules[reseller]
	if !ok {
		var err error
		if r, err = ruleFor(b.tx, reseller, b.hub.now().In(b.hub.zone).Format("2006-01")); err != nil {
			return Rule{}, fmt.Errorf("looking up the rule: %w", err)
		}
		b.rules[reseller] = r
	}
	return r, nil
}

func (b *batch) forfait(id string, version uint32) (Forfait, error) {
	v := forfaitVersion{id, version}
	f, ok := b.forfaits[v]
	if !ok {
		var err error
		if f, err = b.tx.Forfait(id, version); err != nil {
			return Forfait{}, err
		}
		b.forfaits[v] = f
	}
	return f, nil
}

// grantBody is the push of a grant; intent is that of its payment.
func grantBody(g Grant, f Forfait, intent string) (json.RawMessage, error) {
	body := api.GrantIssued{Grant: g.ID, Intent: intent, Plan: WirePlan(f.Plan), Device: g.Device, Expires: optional(g.Expires)}
	if g.Key != "" {
		var err error
		if body.Key, err = hex.DecodeString(g.Key); err != nil {
			return nil, fmt.Errorf("reading a claim key: %w", err)
		}
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encoding a grant: %w", err)
	}
	return raw, nil
}
