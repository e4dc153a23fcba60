package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"zonegate"
	"zonegate/sync/api"
)

// Report takes entries and usage. When it returns they are durable; the answer
// acknowledges all up to its number. Known entries change nothing, a
// GapError or ConflictError says what the hub expects and nothing is taken,
// an InputError names the entry that makes no sense.
func (h *Hub) Report(ctx context.Context, g Gateway, r api.Reports) (api.Reported, error) {
	if r.Instance != g.Instance {
		if err := h.twin(ctx, g); err != nil {
			return api.Reported{}, err
		}
	}
	if err := checkReports(r); err != nil {
		var unknown *unknownKindError
		if errors.As(err, &unknown) && h.fleet.alarm(g.ID, AlarmUnknown, h.now()) {
			if err := h.raise(ctx, g, AlarmUnknown, unknown.Error()+"; update the hub, until then its reports wait"); err != nil {
				return api.Reported{}, err
			}
		}
		return api.Reported{}, &InputError{err.Error()}
	}
	rows, err := h.rows(g, r.Entries)
	if err != nil {
		return api.Reported{}, err
	}
	usage := merged(r)
	var next uint64
	err = h.store.Write(ctx, func(tx Tx) error {
		if err := tx.Lock("site/" + g.Site); err != nil {
			return err
		}
		// Read in the transaction: the gateway may have been replaced.
		now, err := tx.Gateway(g.ID)
		if err != nil {
			return err
		}
		if now.Revoked {
			return ErrRevoked
		}
		if next, err = h.take(tx, g, r, rows); err != nil {
			return err
		}
		return tx.PutUsage(g.ID, usage, h.at())
	})
	var conflict *ConflictError
	if errors.As(err, &conflict) && h.fleet.alarm(g.ID, AlarmConflict, h.now()) {
		if err := h.raise(ctx, g, AlarmConflict, conflict.Error()); err != nil {
			return api.Reported{}, err
		}
	}
	if err != nil {
		return api.Reported{}, err
	}
	return api.Reported{Through: next - 1}, nil
}

// maxLost is how many entries a gateway can have lost at once: one with a
// stolen token must not use up the numbers of its site.
const maxLost = 1 << 24

// take adds the entries that are not there yet and returns the number that is
// expected next.
func (h *Hub) take(tx Tx, g Gateway, r api.Reports, rows []EntryRow) (next uint64, err error) {
	if next, err = tx.NextEntry(g.Site); err != nil || len(rows) == 0 {
		return next, err
	}
	first, last := rows[0].N, rows[len(rows)-1].N
	if first > next {
		if !r.Lost {
			return next, &GapError{next}
		}
		if first-next > maxLost {
			return next, invalid("%d entries cannot have been lost: a gateway does not make so many; revoke it and enrol it again", first-next)
		}
		if err := h.alarm(tx, g, AlarmLost, fmt.Sprintf("entries %d to %d are gone: sales of that time are not in the accounts", next, first-1)); err != nil {
			return next, err
		}
	}
	entries := r.Entries
	if first < next {
		// Compare what is known. What is not there fell into a gap that was
		// called lost, and comes after all.
		known, err := tx.EntryHashes(g.Site, first, min(last, next-1))
		if err != nil {
			return next, err
		}
		var freshRows []EntryRow
		var fresh []api.Entry
		for i, row := range rows {
			switch hash, ok := known[row.N]; {
			case !ok:
				freshRows, fresh = append(freshRows, row), append(fresh, entries[i])
			case hash != row.Hash:
				return next, &ConflictError{row.N, next}
			}
		}
		rows, entries = freshRows, fresh
	}
	if len(rows) == 0 {
		return next, nil
	}
	if err := tx.AddEntries(rows); err != nil {
		return next, err
	}
	if err := h.book(tx, g, entries); err != nil {
		return next, err
	}
	if last >= next {
		next = last + 1
		return next, tx.SetNextEntry(g.Site, next)
	}
	return next, nil
}

// book makes sales of entries, and marks the hub's vouchers and grants that
// they tell of.
func (h *Hub) book(tx Tx, g Gateway, entries []api.Entry) error {
	at := h.at()
	var sales []Sale
	var keys, grants []string
	for _, e := range entries {
		if e.HubCode && e.Ref != "" && (e.Kind == api.EntrySale || e.Kind == api.EntryRevoked) {
			keys = append(keys, e.Ref)
		}
		if e.Kind != api.EntrySale {
			continue
		}
		s := Sale{Site: g.Site, Entry: e.N, Reseller: g.Reseller, At: at, Source: e.Source, Ref: e.Ref, Batch: e.Batch,
			Forfait: e.Plan, Version: e.PlanVersion, Amount: e.Price.Amount, Currency: e.Price.Currency, Custody: CustodyReseller}
		if e.At != nil && e.At.Year() >= 2020 && e.At.Before(at.Add(24*time.Hour)) {
			s.At, s.Exact = e.At.UTC().Truncate(time.Millisecond), true
		}
		switch e.Source {
		case sourceHub:
			grants = append(grants, e.Ref)
			grant, err := tx.Grant(e.Ref)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			if err != nil || grant.Source != fromVoucher { // a roaming voucher was sold for cash
				s.Custody = CustodyPlatform
			}
		case sourcePayment:
			s.Custody = CustodyPlatform
		}
		sales = append(sales, s)
	}
	if len(sales) > 0 {
		added, err := tx.AddSales(sales)
		if err != nil {
			return err
		}
		if twice := len(sales) - added; twice > 0 {
			if err := h.alarm(tx, g, AlarmTwice, fmt.Sprintf("%d of the sales up to entry %d were reported before under other numbers; they count once", twice, sales[len(sales)-1].Entry)); err != nil {
				return err
			}
		}
	}
	if err := h.checkPrices(tx, g, sales); err != nil {
		return err
	}
	if err := tx.UseVouchers(g.Site, keys, at); err != nil {
		return err
	}
	return tx.SellGrants(g.Site, grants, at)
}

// checkPrices raises an alarm for sales of the hub's own forfaits at other
// prices. They stay as they were reported: the money was taken so.
func (h *Hub) checkPrices(tx Tx, g Gateway, sales []Sale) error {
	type version struct {
		id string
		n  uint32
	}
	known := map[version]*zonegate.Money{} // nil: not the hub's
	var first string
	differ := 0
	for _, s := range sales {
		v := version{s.Forfait, s.Version}
		price, ok := known[v]
		if !ok && v.id != "" {
			f, err := tx.Forfait(v.id, v.n)
			if err == nil {
				price = &f.Plan.Price
			} else if !errors.Is(err, ErrNotFound) {
				return fmt.Errorf("looking up a forfait: %w", err)
			}
			known[v] = price
		}
		if price == nil || price.Amount == s.Amount && price.Currency == s.Currency {
			continue
		}
		if differ++; differ == 1 {
			first = fmt.Sprintf("entry %d sells version %d of forfait %s for %d %s, and it costs %d %s",
				s.Entry, s.Version, s.Forfait, s.Amount, s.Currency, price.Amount, price.Currency)
		}
	}
	switch differ {
	case 0:
		return nil
	case 1:
		return h.alarm(tx, g, AlarmPrice, first)
	}
	return h.alarm(tx, g, AlarmPrice, fmt.Sprintf("%s; %d more differ", first, differ-1))
}

// Sources of an api.Entry that the hub looks at.
const (
	sourceHub     = "hub"
	sourcePayment = "payment"
	// sourceRefund is of sales that the hub takes back; no gateway reports one.
	sourceRefund = "refund"
)

// rows are entries as they are kept.
func (h *Hub) rows(g Gateway, entries []api.Entry) ([]EntryRow, error) {
	at := h.at()
	rows := make([]EntryRow, len(entries))
	for i, e := range entries {
		body, err := json.Marshal(e)
		if err != nil {
			return nil, invalid("entry %d cannot be kept: %v", e.N, err)
		}
		sum := sha256.Sum256(body)
		rows[i] = EntryRow{Site: g.Site, Gateway: g.ID, N: e.N, Hash: hex.EncodeToString(sum[:16]), Taken: at,
			Kind: e.Kind, Grant: e.Grant, Body: string(body)}
		if e.At != nil {
			rows[i].At = e.At.UTC().Truncate(time.Millisecond)
		}
	}
	return rows, nil
}

// merged is the usage of a report, with what ended grants used in all: one
// line for each grant, the highest counts.
func merged(r api.Reports) []api.Usage {
	at := map[uint64]int{}
	var out []api.Usage
	add := func(u api.Usage) {
		if u.Grant == 0 {
			return
		}
		i, ok := at[u.Grant]
		if !ok {
			at[u.Grant] = len(out)
			out = append(out, u)
			return
		}
		out[i].Up, out[i].Down = max(out[i].Up, u.Up), max(out[i].Down, u.Down)
	}
	for _, u := range r.Usage {
		add(u)
	}
	for _, e := range r.Entries {
		if e.Kind == api.EntryEnded {
			add(api.Usage{Grant: e.Grant, Up: e.Up, Down: e.Down})
		}
	}
	return out
}

type unknownKindError struct {
	n    uint64
	kind string
}

func (e *unknownKindError) Error() string {
	return fmt.Sprintf("entry %d has the kind %q, which this hub does not know", e.n, clip(e.kind, 40))
}

// checkReports refuses what makes no sense, or cannot be kept.
func checkReports(r api.Reports) error {
	if len(r.Entries) > api.MaxEntries || len(r.Usage) > api.MaxUsage {
		return fmt.Errorf("%d entries and %d usage lines at once; send %d and %d at most", len(r.Entries), len(r.Usage), api.MaxEntries, api.MaxUsage)
	}
	for i, e := range r.Entries {
		if e.N == 0 || e.N > maxSeq {
			return fmt.Errorf("entry %d: numbers begin at 1", e.N)
		}
		if i > 0 && e.N != r.Entries[i-1].N+1 {
			return fmt.Errorf("entry %d comes after entry %d: entries are in order and without gaps", e.N, r.Entries[i-1].N)
		}
		if err := checkEntry(e); err != nil {
			return err
		}
	}
	for _, u := range r.Usage {
		if u.Up > math.MaxInt64 || u.Down > math.MaxInt64 || u.Grant > math.MaxInt64 {
			return fmt.Errorf("the usage of grant %d is no number of octets", u.Grant)
		}
	}
	return nil
}

func checkEntry(e api.Entry) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("entry %d: "+format, append([]any{e.N}, args...)...)
	}
	switch e.Kind {
	case api.EntrySale, api.EntryStarted, api.EntryEnded, api.EntryTopUp, api.EntryMoved, api.EntryRevoked, api.EntryImported:
	default:
		return &unknownKindError{e.N, e.Kind}
	}
	if max(e.Up, e.Down, e.Octets, e.Grant) > math.MaxInt64 {
		return bad("a number of octets or grants is out of range")
	}
	for _, s := range []string{e.Source, e.Ref, e.Batch, e.Plan, e.Device, e.State} {
		if len(s) > 200 || strings.ContainsRune(s, 0) || !utf8.ValidString(s) {
			return bad("a name has more than 200 octets, or is no text")
		}
	}
	if e.At != nil && (e.At.Year() < 1 || e.At.Year() > 9999) {
		return bad("the time is out of range")
	}
	if e.Price != nil {
		if e.Price.Amount < 0 || e.Price.Amount > maxPrice {
			return bad("the price is out of range")
		}
		if err := currency(e.Price.Currency); err != nil {
			return bad("%v", err)
		}
	}
	if e.Kind == api.EntrySale && (e.Price == nil || e.Source == "" || e.Source == sourceRefund || e.Ref == "") {
		return bad("a sale must have a price, a source of a gateway's and a ref")
	}
	return nil
}

// Used is what the grants of a gateway have used, by their numbers, as far as
// it has reported.
func (h *Hub) Used(ctx context.Context, by Actor, gateway string) (usage []api.Usage, err error) {
	err = h.store.Read(ctx, func(tx Tx) error {
		g, err := tx.Gateway(gateway)
		if err != nil {
			return err
		}
		if !by.covers(g.Reseller) {
			return ErrForbidden
		}
		usage, err = tx.Usage(gateway)
		return err
	})
	return usage, err
}
