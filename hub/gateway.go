package hub

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"zonegate/sync/api"
)

// A Gateway is a router that was enrolled. A site has one that is not revoked
// at most.
type Gateway struct {
	ID       string
	Site     string
	Reseller string
	Name     string
	Enrolled time.Time
	Revoked  bool
	Reason   string // why it was revoked
	// Instance is the installation that was enrolled.
	Instance string
	// Since is the push after which this gateway began.
	Since uint64
	// Currency and Bucket are the site's: see Target.Includes.
	Currency string
	Bucket   uint32
	// NextEntry is the number that the hub expects of the next entry.
	NextEntry uint64
	// Head is the last push when this was read.
	Head uint64
}

// Enrol lets a gateway in by its one-time code: ErrUnauthorized, ErrUsed (by
// another instance), ErrExpired, ErrLimit. The same instance gets a fresh
// token while the code lives. The site's gateway before it is revoked; what
// the site had (settings, unused vouchers) is pushed to the new one again.
func (h *Hub) Enrol(ctx context.Context, e api.Enrol) (api.Enrolled, error) {
	if b, err := hex.DecodeString(e.Instance); err != nil || len(b) != 16 {
		return api.Enrolled{}, invalid("the instance must be 16 octets in hex")
	}
	id, err := h.newID()
	if err != nil {
		return api.Enrolled{}, err
	}
	token, err := h.newToken()
	if err != nil {
		return api.Enrolled{}, err
	}
	var out api.Enrolled
	err = h.store.Write(ctx, func(tx Tx) error {
		g, err := h.enrol(tx, e, id, token)
		if err != nil {
			return err
		}
		site, err := tx.Site(g.Site)
		if err != nil {
			return err
		}
		key, err := h.unseal(site)
		if err != nil {
			return err
		}
		out = api.Enrolled{
			GatewayID: g.ID, SiteID: g.Site, Token: token, Head: g.Since, NextEntry: g.NextEntry,
			HubKey:  base64.StdEncoding.EncodeToString(h.keys.Push.Public().(ed25519.PublicKey)),
			CodeKey: base64.StdEncoding.EncodeToString(key[:]),
		}
		return nil
	})
	return out, err
}

// enrol finds or makes the gateway of a code, and gives it the token.
func (h *Hub) enrol(tx Tx, e api.Enrol, id, token string) (Gateway, error) {
	hash := h.enrolHash(e.Code)
	// Two gateways with one code must not both find it unused.
	if err := tx.Lock("enrol/" + hash); err != nil {
		return Gateway{}, err
	}
	row, err := tx.Enrolment(hash)
	if errors.Is(err, ErrNotFound) {
		return Gateway{}, ErrUnauthorized
	} else if err != nil {
		return Gateway{}, err
	}
	switch {
	case row.Gateway != "" && row.Instance != e.Instance:
		return Gateway{}, fmt.Errorf("%w: by another installation; make a new one for this site", ErrUsed)
	case h.at().After(row.Expires):
		return Gateway{}, fmt.Errorf("%w: make a new one for this site", ErrExpired)
	case row.Gateway != "":
		g, err := tx.Gateway(row.Gateway)
		if err != nil {
			return Gateway{}, err
		}
		if g.Revoked {
			return Gateway{}, ErrRevoked
		}
		return g, tx.SetToken(g.ID, tokenHash(token))
	}

	site, err := tx.Site(row.Site)
	if err != nil {
		return Gateway{}, err
	}
	if err := tx.Lock("reseller/" + site.Reseller); err != nil {
		return Gateway{}, err
	}
	// No report of the gateway before may come between NextEntry and the end.
	if err := tx.Lock("site/" + site.ID); err != nil {
		return Gateway{}, err
	}
	if err := h.makeRoom(tx, site); err != nil {
		return Gateway{}, err
	}
	head, err := tx.Head()
	if err != nil {
		return Gateway{}, err
	}
	next, err := tx.NextEntry(site.ID)
	if err != nil {
		return Gateway{}, err
	}
	g := Gateway{ID: id, Site: site.ID, Reseller: site.Reseller, Name: clip(e.Name, 100), Enrolled: h.at(),
		Instance: e.Instance, Since: head, Currency: site.Currency, Bucket: site.Bucket, NextEntry: next, Head: head}
	if err := tx.AddGateway(g, tokenHash(token)); err != nil {
		return Gateway{}, err
	}
	if err := tx.UseEnrolment(hash, e.Instance, g.ID); err != nil {
		return Gateway{}, err
	}
	if err := h.handOver(tx, g); err != nil {
		return Gateway{}, err
	}
	return g, h.note(tx, theGateway, "gateway.enrol", g.ID, site.Name)
}

// makeRoom revokes the gateway that a site has, and keeps the reseller's limit.
func (h *Hub) makeRoom(tx Tx, site Site) error {
	r, err := tx.Reseller(site.Reseller)
	if err != nil {
		return err
	}
	live, err := tx.LiveGateways(site.Reseller, "")
	if err != nil {
		return err
	}
	count := len(live)
	for _, l := range live {
		if l.Site == site.ID {
			if err := h.revoke(tx, l.Gateway, "replaced by another gateway"); err != nil {
				return err
			}
			count--
		}
	}
	if count >= r.Limits.Gateways {
		return fmt.Errorf("%w: %d gateways", ErrLimit, r.Limits.Gateways)
	}
	return nil
}

// handOver pushes what the site has already to a gateway that starts with
// nothing: the settings in force, codes not used, grants not taken over.
func (h *Hub) handOver(tx Tx, g Gateway) error {
	for _, kind := range settingKinds {
		p, err := tx.LastPush(g, kind, 0)
		if errors.Is(err, ErrNotFound) {
			continue
		} else if err != nil {
			return err
		}
		if _, err := h.push(tx, Target{Site: g.Site}, kind, p.Body, ""); err != nil {
			return err
		}
	}
	batches, err := tx.BatchesAt(g.Site, h.at())
	if err != nil {
		return err
	}
	for _, b := range batches {
		keys, err := tx.UnusedKeys(b.ID)
		if err != nil {
			return err
		}
		if err := h.pushBatch(tx, b, keys); err != nil {
			return err
		}
	}
	grants, err := tx.OpenGrants(g.Site, h.at())
	if err != nil {
		return err
	}
	for _, grant := range grants {
		if err := h.pushGrant(tx, grant); err != nil {
			return err
		}
	}
	return nil
}

// Authenticate returns the gateway of a bearer token: ErrUnauthorized, or
// ErrRevoked together with the gateway, which may then only be told why
// (PushesFor gives it nothing else).
func (h *Hub) Authenticate(ctx context.Context, token string) (Gateway, error) {
	var g Gateway
	err := h.store.Read(ctx, func(tx Tx) (err error) {
		g, err = tx.GatewayByToken(tokenHash(token))
		return err
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return Gateway{}, ErrUnauthorized
	case err != nil:
		return Gateway{}, fmt.Errorf("looking up a gateway: %w", err)
	case g.Revoked:
		return g, ErrRevoked
	}
	return g, nil
}

// Heartbeat notes how a gateway is (durable within 10 seconds, see Run) and
// answers with the signed time. Two installations behind one identity, and a
// gateway that has applied more than the hub ever pushed, raise alarms; the
// latter also lifts the hub's sequence above it.
func (h *Hub) Heartbeat(ctx context.Context, g Gateway, b api.Heartbeat) (api.Beat, error) {
	if nonce, err := base64.StdEncoding.DecodeString(b.Nonce); err != nil || len(nonce) < 16 || len(nonce) > 64 {
		return api.Beat{}, invalid("the nonce must be 16 to 64 octets in base64")
	}
	if b.Applied > maxSeq || b.Plans > maxSeq || b.Entry > maxSeq || b.Unsent > maxSeq ||
		b.Sessions < 0 || b.Vouchers < 0 || b.Uptime < 0 || len(b.Boot) > 64 || len(b.Instance) > 64 || len(b.Version) > 64 {
		return api.Beat{}, invalid("a number or a text of the heartbeat makes no sense")
	}
	if h.fleet.note(g.ID, statusOf(b, h.at())) || b.Instance != g.Instance {
		if err := h.twin(ctx, g); err != nil {
			return api.Beat{}, err
		}
	}
	if b.Applied > g.Head {
		if err := h.lift(ctx, g, b.Applied); err != nil {
			return api.Beat{}, err
		}
	}
	head, err := h.headFor(ctx, g)
	if err != nil {
		return api.Beat{}, err
	}
	now := h.now().UTC()
	return api.Beat{Time: now, Head: head, Entry: g.NextEntry - 1, Channels: h.Channels(g.Currency),
		Signature: base64.StdEncoding.EncodeToString(ed25519.Sign(h.keys.Push, api.TimeMessage(b.Nonce, now)))}, nil
}

// maxSeq bounds what a gateway can claim, so that numbers stay in 63 bits for
// ever.
const maxSeq = 1 << 53

func statusOf(b api.Heartbeat, at time.Time) Status {
	s := Status{Seen: at, Boot: b.Boot, Instance: b.Instance, Version: b.Version,
		Uptime: time.Duration(min(b.Uptime, 1<<31)) * time.Second, Applied: b.Applied, Plans: b.Plans,
		Entry: b.Entry, Unsent: b.Unsent, Sessions: b.Sessions, Vouchers: b.Vouchers, ClockTrusted: b.ClockTrusted}
	for _, x := range b.Health[:min(len(b.Health), 20)] {
		s.Health = append(s.Health, api.Health{Severity: clip(x.Severity, 20), Subject: clip(x.Subject, 100), Detail: clip(x.Detail, 300)})
	}
	return s
}

// twin raises the alarm of two installations behind one identity, at most once
// in 10 minutes.
func (h *Hub) twin(ctx context.Context, g Gateway) error {
	if !h.fleet.alarm(g.ID, AlarmTwin, h.now()) {
		return nil
	}
	return h.raise(ctx, g, AlarmTwin, "two installations use this gateway's identity: revoke it and enrol one of them again")
}

func (h *Hub) raise(ctx context.Context, g Gateway, kind, detail string) error {
	return h.store.Write(ctx, func(tx Tx) error { return h.alarm(tx, g, kind, detail) })
}

func (h *Hub) alarm(tx Tx, g Gateway, kind, detail string) error {
	at := h.at()
	return tx.RaiseAlarm(Alarm{Gateway: g.ID, Kind: kind, Detail: clip(detail, 500), First: at, Last: at, Count: 1})
}

// maxLift is how far ahead of the hub a gateway is believed to be: one with a
// stolen token must not use up the numbers of all. liftRoom is how far above it
// the hub goes on.
const (
	maxLift  = 1 << 20
	liftRoom = 10_000
)

// lift raises the sequence above what a gateway has applied: the hub was
// restored from a backup that is older than those pushes.
func (h *Hub) lift(ctx context.Context, g Gateway, applied uint64) error {
	return h.store.Write(ctx, func(tx Tx) error {
		head, err := tx.Head()
		if err != nil || applied <= head {
			return err
		}
		if applied-head > maxLift {
			if !h.fleet.alarm(g.ID, AlarmAhead, h.now()) {
				return nil
			}
			return h.alarm(tx, g, AlarmAhead, fmt.Sprintf("it says that it has applied push %d, and the hub knows of %d: no backup is that old. It gets no pushes: revoke it and enrol it again", applied, head))
		}
		// Others, who are away, may have applied some more.
		if err := tx.RaiseHead(applied + liftRoom); err != nil {
			return err
		}
		return h.alarm(tx, g, AlarmAhead, fmt.Sprintf("it has applied push %d and the hub knew of %d: the hub was restored from an old backup. Check forfaits, batches and settings made since", applied, head))
	})
}

// restoredRoom is how many pushes may have been made between a backup and the
// moment that the database was lost.
const restoredRoom = 100_000

// Restored raises the sequence after the database was restored from a backup,
// and returns the number that pushes go on after: gateways that are ahead of the
// backup would take new pushes under old numbers for known ones. Admins only.
func (h *Hub) Restored(ctx context.Context, by Actor) (head uint64, err error) {
	if by.Role != RoleAdmin {
		return 0, ErrForbidden
	}
	err = h.store.Write(ctx, func(tx Tx) error {
		before, err := tx.Head()
		if err != nil {
			return err
		}
		if head = before + restoredRoom; head > maxSeq {
			return invalid("push %d is too far to go on from", before)
		}
		if err := tx.RaiseHead(head); err != nil {
			return err
		}
		return h.note(tx, by, "hub.restored", "", fmt.Sprintf("from push %d to %d", before, head))
	})
	return head, err
}

// headFor is the last push for a gateway. Only what came since it was asked
// last has to be looked at.
func (h *Hub) headFor(ctx context.Context, g Gateway) (uint64, error) {
	last, at := h.fleet.head(g.ID)
	if at == g.Head && at > 0 {
		return last, nil
	}
	var p Push
	err := h.store.Read(ctx, func(tx Tx) (err error) {
		p, err = tx.LastPush(g, "", at)
		return err
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return 0, err
	}
	last = max(last, p.Seq, g.Since)
	h.fleet.setHead(g.ID, g.Head, last)
	return last, nil
}

// RevokeGateway takes a gateway off the hub; it is told by a push.
func (h *Hub) RevokeGateway(ctx context.Context, by Actor, gateway, reason string) error {
	return h.store.Write(ctx, func(tx Tx) error {
		g, err := tx.Gateway(gateway)
		if err != nil {
			return err
		}
		if !by.manages(g.Reseller) {
			return ErrForbidden
		}
		if g.Revoked {
			return nil
		}
		if err := h.revoke(tx, g, clip(reason, 200)); err != nil {
			return err
		}
		return h.note(tx, by, "gateway.revoke", g.ID, reason)
	})
}

func (h *Hub) revoke(tx Tx, g Gateway, reason string) error {
	// One that was revoked meanwhile has its push: another would reach the
	// gateway that has taken its place.
	if err := tx.RevokeGateway(g.ID, reason); errors.Is(err, ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	_, err := h.pushBody(tx, Target{Site: g.Site}, api.KindRevoked, api.GatewayRevoked{Reason: reason}, "")
	return err
}

// A Status is how a gateway was when it was last heard.
type Status struct {
	Seen time.Time // zero: never
	// Boot and Instance are random names; see api.Heartbeat.
	Boot, Instance string
	Version        string
	Uptime         time.Duration
	Applied        uint64
	Plans          uint64
	Entry, Unsent  uint64
	Sessions       int
	Vouchers       int
	ClockTrusted   bool
	Health         []api.Health
}

// A Member is a line of the fleet page.
type Member struct {
	Gateway
	SiteName     string
	ResellerName string
	Status       Status
	// Alarms are those not cleared.
	Alarms []Alarm
}

// A FleetQuery asks for a page of the fleet, ordered by site name and id.
type FleetQuery struct {
	Reseller string // "" is all that the actor may see
	// Troubled leaves out those without alarm and with a heartbeat within 5
	// minutes.
	Troubled bool
	Revoked  bool // revoked ones too
	// After is the ID of the last line of the page before.
	After string
	Max   int // 0 is 100
}

// quiet is how long after its last heartbeat a gateway is taken to be away.
const quiet = 5 * time.Minute

// Fleet is a page of gateways with their status.
func (h *Hub) Fleet(ctx context.Context, by Actor, q FleetQuery) (members []Member, err error) {
	if q.Reseller, err = by.scope(q.Reseller); err != nil {
		return nil, err
	}
	q.Max = page(q.Max)
	err = h.store.Read(ctx, func(tx Tx) error {
		members, err = tx.Fleet(q, h.at().Add(-quiet))
		return err
	})
	for i := range members {
		if s, ok := h.fleet.status(members[i].ID); ok && s.Seen.After(members[i].Status.Seen) {
			members[i].Status = s
		}
	}
	return members, err
}

// Kinds of an Alarm.
const (
	AlarmTwin     = "twin"     // two installations with one identity
	AlarmAhead    = "ahead"    // it applied pushes that the hub does not have: the hub was restored
	AlarmLost     = "lost"     // entries are gone for good
	AlarmConflict = "conflict" // it sent a known entry with another content
	AlarmTwice    = "twice"    // it sold a voucher or purchase that was sold before
	AlarmRefused  = "refused"  // it refused a push, or rolled it back
	AlarmPrice    = "price"    // it sold a forfait for another price than the hub's
	AlarmTries    = "tries"    // it asked for too many codes that were not good
	AlarmUnknown  = "unknown"  // it sent entries of a kind that this hub does not know
)

// An Alarm is something about a gateway that a person should look at. Raised
// again it counts up.
type Alarm struct {
	Gateway string
	Kind    string
	Detail  string
	First   time.Time
	Last    time.Time
	Count   int64
}

// ClearAlarm says that somebody has looked.
func (h *Hub) ClearAlarm(ctx context.Context, by Actor, gateway, kind string) error {
	return h.store.Write(ctx, func(tx Tx) error {
		g, err := tx.Gateway(gateway)
		if err != nil {
			return err
		}
		if !by.manages(g.Reseller) {
			return ErrForbidden
		}
		if err := tx.ClearAlarm(gateway, kind); err != nil {
			return err
		}
		return h.note(tx, by, "alarm.clear", gateway, kind)
	})
}
