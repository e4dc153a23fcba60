package central

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"zonegate"
	"zonegate/sync/api"
)

// runOutbox delivers entries in their order, each batch until it is
// acknowledged. What the hub has is noted in the journal at most once a minute
// or each MaxEntries: a batch that is sent again after a crash changes nothing
// at the hub, and writing wears the flash.
func (l *line) runOutbox(ctx context.Context) error {
	d := &delivery{l: l, usage: map[zonegate.GrantID]uint64{}, keptAt: time.Now()}
	last, unsent, _ := l.c.o.Gate.OutboxStatus()
	d.kept = last - unsent
	l.mu.Lock()
	l.delivered = d.kept
	l.mu.Unlock()
	defer d.keepAtEnd(ctx)
	r := retry{first: l.c.pace.retryFirst, most: l.c.pace.retryMost}
	for l.await(ctx) {
		more, err := d.once(ctx)
		switch {
		case err == nil:
			r.reset()
			l.worked(outbox)
			if !more {
				sleep(ctx, l.c.pace.look)
			}
		case errors.Is(err, errConflict):
			sleep(ctx, l.c.pace.conflict)
		default:
			l.failed(ctx, outbox, err)
			sleep(ctx, r.wait(err))
		}
	}
	return nil
}

type delivery struct {
	l *line
	// kept is what the journal knows as delivered, since keptAt.
	kept   uint64
	keptAt time.Time
	// lost says that the hub wants entries that are not held any more.
	lost bool
	// asked is the number that the hub asked for last; asked again it got no
	// further.
	asked uint64
	// usage is what was reported of live grants, and usageAt when.
	usage   map[zonegate.GrantID]uint64
	usageAt time.Time
}

// errConflict is an outbox that the hub does not take.
var errConflict = errors.New("the hub has other entries under these numbers")

// once sends one batch. More says that another is waiting.
func (d *delivery) once(ctx context.Context) (more bool, err error) {
	gate := d.l.c.o.Gate
	d.l.mu.Lock()
	delivered := d.l.delivered
	d.l.mu.Unlock()
	entries, err := gate.Outbox(delivered, api.MaxEntries)
	if err != nil {
		return false, fmt.Errorf("reading the outbox: %w", err)
	}
	full := len(entries) == api.MaxEntries
	for i := 1; i < len(entries); i++ {
		if entries[i].N != entries[i-1].N+1 {
			// Storage was damaged. What follows goes alone, as lost.
			entries, full = entries[:i], true
			break
		}
	}
	report := api.Reports{Instance: d.l.instance, Entries: make([]api.Entry, len(entries)), Lost: d.lost}
	for i, e := range entries {
		report.Entries[i] = d.l.entry(e)
	}
	// What is used comes when nothing of value waits.
	if !full && time.Since(d.usageAt) >= d.l.c.pace.usage {
		var rest bool
		if report.Usage, rest = d.changed(); !rest {
			d.usageAt = time.Now()
		}
		more = rest
	}
	if len(report.Entries)+len(report.Usage) == 0 {
		return false, d.keep(ctx, delivered, d.l.c.pace.keep)
	}
	var answer api.Reported
	if err := d.l.client.call(ctx, http.MethodPost, api.PathReports, report, &answer); err != nil {
		return false, d.refused(err, delivered)
	}
	for _, u := range report.Usage {
		d.usage[zonegate.GrantID(u.Grant)] = u.Up + u.Down
	}
	if len(entries) == 0 {
		return more, nil
	}
	through := min(answer.Through, entries[len(entries)-1].N)
	if through < entries[0].N {
		return false, fmt.Errorf("the hub acknowledged entry %d of %d to %d", answer.Through, entries[0].N, entries[len(entries)-1].N)
	}
	if d.lost {
		d.lost = false
		d.l.c.log.Warn("the hub took a gap: it was restored from an old backup, and what it forgot is not held here any more", "first", entries[0].N)
	}
	d.asked = 0
	d.l.c.mended("outbox")
	d.l.mu.Lock()
	d.l.delivered = through
	d.l.mu.Unlock()
	return more || full || through < entries[len(entries)-1].N, d.keep(ctx, through, d.l.c.pace.keep)
}

// refused deals with what the hub says about numbers.
func (d *delivery) refused(err error, delivered uint64) error {
	r, ok := refused(err)
	if !ok {
		return err
	}
	last, _, _ := d.l.c.o.Gate.OutboxStatus()
	expected := r.Problem.Expected
	switch {
	case r.Problem.Code == api.CodeConflict, r.Problem.Code == api.CodeGap && expected > last+1:
		d.l.c.find("outbox", errorSeverity, fmt.Sprintf("the hub has other entries than this gateway under the numbers from %d: another machine has its identity, or an old backup was put back. Nothing is delivered, all is kept. Join the hub again with a new code", delivered+1))
		d.l.failed(context.Background(), outbox, err)
		return errConflict
	case r.Problem.Code == api.CodeGap && expected > 0 && expected != d.asked:
		d.asked = expected
		held, herr := d.l.c.o.Gate.Outbox(expected-1, 1)
		if herr != nil {
			return fmt.Errorf("reading the outbox: %w", herr)
		}
		// What is not held any more is lost to the hub, and the rest follows.
		d.lost = len(held) > 0 && held[0].N > expected
		d.l.mu.Lock()
		d.l.delivered = expected - 1
		d.l.mu.Unlock()
		return nil
	}
	return err
}

// keep notes in the journal what the hub has, if that is due.
func (d *delivery) keep(ctx context.Context, through uint64, every time.Duration) error {
	if through <= d.kept || through-d.kept < api.MaxEntries && time.Since(d.keptAt) < every {
		return nil
	}
	if err := d.l.c.o.Gate.Delivered(ctx, through); err != nil {
		return fmt.Errorf("noting what the hub has: %w", err)
	}
	d.kept, d.keptAt = through, time.Now()
	return nil
}

// keepAtEnd notes it when the program or the relation ends.
func (d *delivery) keepAtEnd(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	d.l.mu.Lock()
	delivered := d.l.delivered
	d.l.mu.Unlock()
	if hub, ok := d.l.c.o.Gate.Hub(); !ok || hub.Gateway != d.l.gateway {
		return // its numbers are another hub's by now
	}
	if err := d.keep(ctx, delivered, 0); err != nil {
		d.l.c.log.Info("what the hub has will be sent again", "error", err)
	}
}

// changed returns the usage that was not reported yet, and whether there is
// more of it.
func (d *delivery) changed() (lines []api.Usage, rest bool) {
	live := map[zonegate.GrantID]struct{}{}
	var after zonegate.GrantID
	for {
		page := d.l.c.o.Gate.LiveUsage(after, api.MaxUsage)
		for _, u := range page {
			after = u.Grant
			live[u.Grant] = struct{}{}
			if u.Used.Total() == d.usage[u.Grant] {
				continue
			}
			if len(lines) == api.MaxUsage {
				return lines, true
			}
			lines = append(lines, api.Usage{Grant: uint64(u.Grant), Up: u.Used.Up, Down: u.Used.Down})
		}
		if len(page) < api.MaxUsage {
			break
		}
	}
	for id := range d.usage {
		if _, ok := live[id]; !ok {
			delete(d.usage, id) // its entry has the final counters
		}
	}
	return lines, false
}

// entry turns the domain's entry into the wire's.
func (l *line) entry(e zonegate.Entry) api.Entry {
	out := api.Entry{
		N: e.N, Kind: e.Kind.String(), Grant: uint64(e.Grant), Source: e.Source.Kind, Ref: e.Source.Ref,
		HubCode: e.HubCode, Batch: short(e.Batch), Plan: short(e.Plan.ID), PlanVersion: e.Plan.Version,
		Up: e.Used.Up, Down: e.Used.Down, Octets: e.Octets, Seconds: int64(e.Time / time.Second), Count: e.Count,
	}
	if !e.At.IsZero() {
		at := e.At.UTC()
		out.At = &at
	}
	if e.Price != (zonegate.Money{}) {
		out.Price = &api.Money{Amount: e.Price.Amount, Currency: e.Price.Currency}
	}
	if e.Device != (zonegate.MAC{}) {
		out.Device = l.deviceName(e.Device)
	}
	if e.Kind == zonegate.EntryEnded {
		out.State = e.State.String()
	}
	return out
}

// short makes a name of the zone's own one that a hub takes, always in the same
// way: an entry that it refuses would hold up all that come after.
func short(s string) string {
	const most = 200
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}

// deviceName hashes the address of a device: the hub can tell two devices of a
// site apart, and does not know any.
func (l *line) deviceName(m zonegate.MAC) string {
	h := hmac.New(sha256.New, l.codeKey[:])
	h.Write([]byte("device\x00"))
	h.Write(m[:])
	return hex.EncodeToString(h.Sum(nil)[:8])
}
