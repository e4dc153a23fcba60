package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"zonegate/sync/api"
)

// StartPayment starts a payment that a gateway asks for, or returns the one
// that it has asked for before. It answers within 12 seconds, whatever the
// provider does. An InputError says what makes no sense; ErrExists is a claim
// code that is in use: the gateway draws another intent.
func (h *Hub) StartPayment(ctx context.Context, g Gateway, q api.Intent) (api.Payment, error) {
	p, err := h.intended(g, q)
	if err != nil {
		return api.Payment{}, err
	}
	n := &opening{gateway: g, asked: p}
	if err := h.openPayment(ctx, n); err != nil {
		return api.Payment{}, err
	}
	if p = n.payment; n.added && p.State == PaymentSubmitting {
		if p, err = h.submit(ctx, p, n.name); err != nil {
			return api.Payment{}, err
		}
	}
	return p.wire(), nil
}

// intended is the payment that an intent asks for, as far as the intent says.
func (h *Hub) intended(g Gateway, q api.Intent) (Payment, error) {
	if !isKey(q.IntentID) {
		return Payment{}, invalid("the intent must be 16 octets in lower-case hex")
	}
	p := Payment{Gateway: g.ID, Intent: q.IntentID, Site: g.Site, Reseller: g.Reseller, Forfait: q.Plan, Version: q.PlanVersion,
		Channel: q.Provider, Phone: q.Phone, Claim: q.Claim}
	if q.Claim != "" && !isKey(q.Claim) {
		return Payment{}, invalid("the claim must be a voucher key: 16 octets in lower-case hex")
	}
	if q.Device != "" || q.Claim == "" {
		var err error
		if p.Device, err = deviceOf(q.Device); err != nil {
			return Payment{}, err
		}
	}
	if p.Phone != "" && !isPhone(p.Phone) {
		return Payment{}, invalid("the number must be 8 to 15 digits, with the country and without a plus sign")
	}
	if len(q.Plan) > 100 || len(q.Provider) > 40 {
		return Payment{}, invalid("the plan or the provider is no such name")
	}
	return p, nil
}

// An opening is a payment that is to be written down.
type opening struct {
	gateway Gateway // its Currency is that of the site; empty is any
	asked   Payment
	name    string // of the forfait
	payment Payment
	added   bool // false: it is there, and payment is what it is
	err     error
	again   bool // somebody else did something at this moment
}

// openPayment writes a payment down, before anything is sent.
func (h *Hub) openPayment(ctx context.Context, n *opening) error {
	for range 3 {
		if err := h.money.openings.put(ctx, n, 1, h.writeOpenings); err != nil {
			return err
		}
		if n.err != nil || !n.again {
			return n.err
		}
	}
	return errClaimed
}

var errClaimed = fmt.Errorf("%w: the claim code is in use; draw another intent", ErrExists)

func (h *Hub) writeOpenings(ctx context.Context, ns []*opening) error {
	write := func(ns []*opening) error {
		return h.store.Write(ctx, func(tx Tx) error { return h.addOpenings(tx, ns) })
	}
	err := write(ns)
	if err == nil || len(ns) == 1 {
		return err
	}
	for _, n := range ns {
		if err := write([]*opening{n}); err != nil {
			n.err = err
		}
	}
	return nil
}

// addOpenings adds what is not there. It adds first and looks then, since
// nearly all are new.
func (h *Hub) addOpenings(tx Tx, ns []*opening) error {
	b := h.newBatch(tx)
	var rows []Payment
	var ids, keys []string
	asked, err := h.askedLately(tx, ns)
	if err != nil {
		return err
	}
	for _, n := range ns {
		n.err, n.added, n.again, n.payment = nil, false, false, n.asked
		if err := h.prepare(b, n); err != nil {
			var no *InputError
			if n.err = err; !errors.As(err, &no) {
				return err
			}
			continue
		}
		if n.err = asked[n.asked.Phone].oneMore(n.asked.Phone); n.err != nil {
			continue
		}
		rows, ids = append(rows, n.payment), append(ids, n.payment.ID)
	}
	if err := tx.AddPayments(rows); err != nil {
		return err
	}
	there, err := tx.PaymentsByID(ids)
	if err != nil {
		return err
	}
	added := make(map[string]bool, len(there))
	for _, p := range there {
		added[p.ID] = true
		if p.Claim != "" {
			keys = append(keys, p.Claim)
		}
	}
	for _, n := range ns {
		if n.added = added[n.payment.ID]; n.added {
			continue
		}
		// What was started is answered with what became of it, though it could
		// not be started now.
		p, err := tx.PaymentAtSite(n.asked.Site, n.asked.Intent)
		switch {
		case err == nil:
			n.payment, n.err = p, nil
		case !errors.Is(err, ErrNotFound):
			return err
		case n.err == nil:
			n.again = true
		}
	}
	known, err := tx.KnownKeys(keys)
	if err == nil && len(known) > 0 {
		return errClaimed // and nothing is added; alone, the others are
	}
	return err
}

// A number is asked for so many payments within numberWindow, and has so many
// open, whoever types it and wherever: it need not be his own.
const (
	numberAsks   = 5
	numberWindow = 10 * time.Minute
	numberOpen   = 3
)

// askedLately is what the numbers of payments are being asked for.
func (h *Hub) askedLately(tx Tx, ns []*opening) (map[string]*AskedRow, error) {
	asked := map[string]*AskedRow{}
	var phones []string
	for _, n := range ns {
		if p := n.asked.Phone; p != "" && asked[p] == nil {
			asked[p], phones = &AskedRow{Phone: p}, append(phones, p)
		}
	}
	at := h.at()
	// A clock that was put back must not close a number for long.
	rows, err := tx.AskedPhones(phones, at.Add(-numberWindow), at.Add(-expireAfter), at.Add(numberWindow))
	for i := range rows {
		asked[rows[i].Phone] = &rows[i]
	}
	return asked, err
}

// oneMore counts a new payment of a number, or refuses it: nil is no number.
func (a *AskedRow) oneMore(phone string) error {
	switch {
	case a == nil:
		return nil
	case a.Open >= numberOpen:
		return invalid("%d payments of the number %s wait for an answer: confirm or refuse them first, or pay with another number. Nothing was charged for this one", a.Open, masked(phone))
	case a.Lately >= numberAsks:
		return invalid("the number %s was asked for too many payments: try again in 10 minutes, or with another number. Nothing was charged for this one", masked(phone))
	}
	a.Lately, a.Open = a.Lately+1, a.Open+1
	return nil
}

// prepare fills in what the hub decides: the price, the provider, the id.
func (h *Hub) prepare(b *batch, n *opening) error {
	p := &n.payment
	f, err := b.forfait(p.Forfait, p.Version)
	if errors.Is(err, ErrNotFound) || err == nil && f.Reseller != "" && f.Reseller != p.Reseller {
		return invalid("version %d of forfait %s was never on sale here", p.Version, clip(p.Forfait, 40))
	} else if err != nil {
		return fmt.Errorf("looking up a forfait: %w", err)
	}
	cur := n.gateway.Currency
	switch {
	case f.Plan.Withdrawn:
		return invalid("version %d of forfait %s is not on sale", p.Version, p.Forfait)
	case cur != "" && f.Plan.Price.Currency != cur:
		return invalid("forfait %s is sold in %s, and this site sells in %s", p.Forfait, f.Plan.Price.Currency, cur)
	case f.Plan.Price.Amount <= 0:
		return invalid("forfait %s costs nothing", p.Forfait)
	}
	provider, caps, channel, ok := h.channel(p.Channel, f.Plan.Price.Currency)
	switch {
	case !ok:
		return invalid("nobody takes payments in %s through %q", f.Plan.Price.Currency, p.Channel)
	case caps.NeedsPhone && p.Phone == "":
		return invalid("%s asks for the customer's number", channel.Name)
	}
	id, err := b.hub.newID()
	if err != nil {
		return err
	}
	at := h.at()
	n.name = f.Plan.Name
	p.ID, p.Provider, p.Channel, p.Flow, p.Price = id, provider, channel.ID, channel.Flow, f.Plan.Price
	p.State, p.Made, p.Changed, p.Attempt = PaymentSubmitting, at, at, 1
	p.NextLook = at.Add(submitted)
	p.Reference = reference(p.seed(), p.Attempt)
	if h.money.away(provider, h.now()) {
		p.State, p.Reason, p.NextLook = PaymentFailed, "the provider does not answer now; nothing was charged", time.Time{}
	}
	return nil
}

const (
	// submitTime bounds the calls that start a payment.
	submitTime = 10 * time.Second
	// submitted is after how long a payment that is still in submitting was
	// left there by a crash.
	submitted = time.Minute
	// maxAttempts is how often what was not sent is sent.
	maxAttempts = 2
	// writeTime bounds the writing down of what a provider said.
	writeTime = 30 * time.Second
)

// submit asks the provider for the money, and writes down what it said, even
// if who asked has gone.
func (h *Hub) submit(ctx context.Context, p Payment, description string) (Payment, error) {
	ctx = context.WithoutCancel(ctx)
	asking, cancel := context.WithTimeout(ctx, submitTime)
	defer cancel()
	c, ok := h.collector(p.Provider)
	if !ok {
		return Payment{}, fmt.Errorf("there is no provider %s any more", p.Provider)
	}
	for {
		charge := Charge{Reference: p.Reference, Channel: p.Channel, Phone: p.Phone, Amount: p.Price, Description: description}
		if h.money.public != "" {
			charge.CallbackURL = h.money.public + PathCallbacks + p.Provider
			charge.ReturnURL = charge.CallbackURL
		}
		started, err := c.Initiate(asking, charge)
		started.ProviderRef, started.URL, started.Hint = clip(started.ProviderRef, maxRef), clip(started.URL, 2000), clip(started.Hint, maxReason)
		e := event{at: h.at(), spread: h.spread(), first: c.Caps().FirstLook, started: started}
		said := ObservationRow{Payment: p.ID, At: e.at, Source: SourceInitiate, ProviderRef: started.ProviderRef}
		var no *RejectedError
		var lost *AmbiguousError
		switch {
		case err == nil:
			e.what, said.State = evStarted, "accepted"
		case errors.As(err, &no):
			e.what, e.reason = evRefused, clip(no.Reason, maxReason)
			said.State, said.Raw = "refused", e.reason
		case errors.Is(err, ErrNotSent) && p.Attempt < maxAttempts:
			e.what, said.State = evUnsent, "not sent"
		case errors.Is(err, ErrNotSent):
			e.what, said.State = evGivenUp, "not sent"
			e.reason = "the provider could not be reached; nothing was charged"
		default:
			e.what, said.State = evLost, "not known"
			if errors.As(err, &lost) {
				e.started.ProviderRef = clip(lost.ProviderRef, maxRef)
				said.ProviderRef = e.started.ProviderRef
			}
			h.log.Warn("starting a payment", "payment", p.ID, "provider", p.Provider, "err", err)
		}
		h.money.answered(p.Provider, err == nil || no != nil, h.now())
		writing, done := context.WithTimeout(ctx, writeTime)
		next, err := h.happen(writing, p.ID, e, said)
		done()
		if err != nil {
			return Payment{}, fmt.Errorf("writing down how a payment started: %w", err)
		}
		if p = next; e.what != evUnsent || p.State != PaymentSubmitting {
			return p, nil
		}
	}
}

// PaymentOf is what has become of a gateway's intent. It asks nobody.
func (h *Hub) PaymentOf(ctx context.Context, g Gateway, intent string) (api.Payment, error) {
	var p Payment
	err := h.store.Read(ctx, func(tx Tx) (err error) {
		p, err = tx.PaymentAtSite(g.Site, intent)
		return err
	})
	if err != nil {
		return api.Payment{}, err
	}
	return p.wire(), nil
}

// Initiate starts a payment in the words of the RGZ API, which knows no numbers
// of customers and no sites: whoever asked gives out what was bought when
// PaymentStatus says completed.
func (h *Hub) Initiate(ctx context.Context, by Actor, q api.Initiate) (api.Initiated, error) {
	if by.Reseller == "" {
		return api.Initiated{}, invalid("payments are started by users of a reseller: it is his sale")
	}
	n := &opening{gateway: Gateway{Reseller: by.Reseller}, asked: Payment{Reseller: by.Reseller, Forfait: q.ForfaitID, Channel: q.Provider}}
	err := h.store.Read(ctx, func(tx Tx) error {
		sites, err := tx.Sites(by.Reseller)
		if err != nil {
			return err
		}
		if len(sites) > 0 {
			n.gateway.Currency = sites[0].Currency
		}
		if len(sites) == 1 {
			n.asked.Site = sites[0].ID
		}
		f, err := h.onSale(tx, q.ForfaitID, by.Reseller, n.gateway.Currency)
		if err != nil {
			return err
		}
		if n.asked.Version = f.Plan.Version; f.Plan.Price.Currency != "XOF" && f.Plan.Price.Currency != "XAF" {
			return invalid("the API speaks of francs CFA alone, and this forfait is sold in %s", f.Plan.Price.Currency)
		}
		return nil
	})
	if err != nil {
		return api.Initiated{}, err
	}
	if err := h.openPayment(ctx, n); err != nil {
		return api.Initiated{}, err
	}
	p := n.payment
	if p.State == PaymentSubmitting {
		if p, err = h.submit(ctx, p, n.name); err != nil {
			return api.Initiated{}, err
		}
	}
	switch {
	case p.State == PaymentFailed:
		return api.Initiated{}, invalid("%s", p.Reason)
	case p.URL == "":
		return api.Initiated{}, fmt.Errorf("%w: transaction %s has no page to pay on", ErrAmbiguous, p.ID)
	}
	return api.Initiated{PaymentURL: p.URL, TransactionID: p.ID}, nil
}

// PaymentStatus is what has become of a payment, in the words of the RGZ API.
func (h *Hub) PaymentStatus(ctx context.Context, by Actor, id string) (api.PaymentStatus, error) {
	var p Payment
	err := h.store.Read(ctx, func(tx Tx) (err error) {
		p, err = h.paymentFor(tx, by, id)
		return err
	})
	if errors.Is(err, ErrForbidden) {
		err = ErrNotFound
	}
	if err != nil {
		return api.PaymentStatus{}, err
	}
	out := api.PaymentStatus{Status: p.status(), AmountFCFA: p.Price.Amount, Provider: p.Channel}
	switch {
	case out.Status == "completed":
		// Less is here only if a person took it for the price.
		out.AmountFCFA = max(p.Paid.Amount, p.Price.Amount)
	case out.Status == "canceled":
		out.Status = "failed"
	case out.Status == "expired": // the money can still come
		out.Status = "pending"
	}
	return out, nil
}

// status is the word of the contract for a state.
func (p Payment) status() string {
	switch p.State {
	case PaymentSucceeded:
		return "completed"
	case PaymentFailed, PaymentExpired, PaymentCanceled:
		return string(p.State)
	case PaymentRefunding, PaymentRefunded:
		return "refunded"
	}
	return "pending"
}

func (p Payment) wire() api.Payment {
	return api.Payment{IntentID: p.Intent, TransactionID: p.ID, Status: p.status(), Flow: p.Flow, PaymentURL: p.URL,
		Price: api.Money{Amount: p.Price.Amount, Currency: p.Price.Currency}, Reason: p.Reason}
}

// seed is what a payment's references are made of: never the clock.
func (p Payment) seed() string {
	if p.Intent != "" {
		return p.Gateway + "/" + p.Intent
	}
	return p.ID
}

// isKey is for 16 octets in lower-case hex.
func isKey(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

func isPhone(s string) bool {
	return len(s) >= 8 && len(s) <= 15 && s[0] != '0' && strings.Trim(s, "0123456789") == ""
}
