package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"zonegate/sync/api"
)

// All is the Share of a Target that leaves nobody out.
const All = 1 << 16

// A Target says whom a push is for. The zero Target is nobody.
type Target struct {
	// Site is in, whatever the rest says. "" is none.
	Site string
	// Share is how many of 65536 buckets of sites are in: All is everybody,
	// but for those whom Reseller and Currency leave out.
	Share    uint32
	Reseller string // "" is any
	Currency string // "" is any
}

// Everybody is every site.
var Everybody = Target{Share: All}

// Includes says whether the gateway is meant.
func (t Target) Includes(g Gateway) bool {
	return t.Site != "" && t.Site == g.Site ||
		g.Bucket < t.Share && (t.Reseller == "" || t.Reseller == g.Reseller) && (t.Currency == "" || t.Currency == g.Currency)
}

// A Push is one change for gateways. Numbers only grow, and become visible in
// their order: who has seen one never misses a lower one.
type Push struct {
	Seq    uint64
	Target Target
	Kind   string // of sync/api
	At     time.Time
	Body   json.RawMessage
	// Rollout is whose stage this is; mostly empty.
	Rollout string
}

// Sign makes a push travel. What is for many is signed for "*", so its octets
// are the same for all: sign once and send them to everyone it includes.
func (h *Hub) Sign(p Push) (api.Signed, error) {
	site := p.Target.Site
	if p.Target.Share > 0 {
		site = "*"
	}
	return api.Sign(h.keys.Push, api.Push{Seq: p.Seq, Site: site, Kind: p.Kind, At: p.At, Body: p.Body})
}

// push numbers a push and adds it.
func (h *Hub) push(tx Tx, t Target, kind string, body json.RawMessage, rollout string) (Push, error) {
	p := Push{Target: t, Kind: kind, At: h.at(), Body: body, Rollout: rollout}
	var err error
	p.Seq, err = tx.AddPush(p)
	return p, err
}

func (h *Hub) pushBody(tx Tx, t Target, kind string, body any, rollout string) (Push, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return Push{}, fmt.Errorf("encoding a push: %w", err)
	}
	return h.push(tx, t, kind, raw, rollout)
}

// Head is the number of the last push.
func (h *Hub) Head(ctx context.Context) (head uint64, err error) {
	err = h.store.Read(ctx, func(tx Tx) error {
		head, err = tx.Head()
		return err
	})
	return head, err
}

// WaitPush returns when there is a push after this number, with the new head,
// or when ctx is over. It wakes at once for pushes of this process and, with
// PostgreSQL, of others; within a second otherwise.
func (h *Hub) WaitPush(ctx context.Context, after uint64) (uint64, error) {
	for {
		if head, err := h.Head(ctx); err != nil || head > after {
			return head, err
		}
		if err := h.store.WaitPush(ctx, after); err != nil {
			return 0, err
		}
	}
}

// Pushes are those after a number, for whomever: what one process fans out to
// its streams.
func (h *Hub) Pushes(ctx context.Context, after uint64, max int) (pushes []Push, err error) {
	err = h.store.Read(ctx, func(tx Tx) error {
		pushes, err = tx.Pushes(after, page(max))
		return err
	})
	return pushes, err
}

// PushesFor are those after a number for one gateway: what a stream begins
// with, and what polling gets. The head is that of the same moment: with fewer
// than max pushes there is nothing more up to it. A revoked gateway gets the
// push that says so alone.
func (h *Hub) PushesFor(ctx context.Context, g Gateway, after uint64, max int) (pushes []Push, head uint64, err error) {
	kind := ""
	if g.Revoked {
		kind = api.KindRevoked
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		if head, err = tx.Head(); err != nil {
			return err
		}
		pushes, err = tx.PushesFor(g, kind, after, page(max))
		return err
	})
	return pushes, head, err
}

// A Setting is a change of a gateway's settings: Body is an api.Brand,
// api.Garden, api.Link or api.Message.
type Setting struct {
	Target Target // without Site and Share it is taken for all
	Body   any
	Staged *Staging
}

// PushSetting is for admins, and for resellers about their own sites. An
// InputError says what makes no sense.
func (h *Hub) PushSetting(ctx context.Context, by Actor, s Setting) (Push, Rollout, error) {
	kind, err := checkSetting(s.Body)
	if err != nil {
		return Push{}, Rollout{}, err
	}
	body, err := json.Marshal(s.Body)
	if err != nil {
		return Push{}, Rollout{}, fmt.Errorf("encoding a setting: %w", err)
	}
	if s.Target.Site == "" && s.Target.Share == 0 {
		s.Target.Share = All
	}
	if s.Target.Share > All {
		return Push{}, Rollout{}, invalid("the share must be 65536 at most")
	}
	var p Push
	var r Rollout
	err = h.store.Write(ctx, func(tx Tx) (err error) {
		if s.Target.Site != "" {
			site, err := tx.Site(s.Target.Site)
			if err != nil {
				return err
			}
			if !by.manages(site.Reseller) {
				return ErrForbidden
			}
		}
		if s.Target.Share > 0 && !(by.Role == RoleAdmin || by.manages(s.Target.Reseller)) {
			return ErrForbidden
		}
		p, r, err = h.send(tx, sending{kind: kind, subject: kind, target: s.Target, body: body, staged: s.Staged})
		if err != nil {
			return err
		}
		return h.note(tx, by, "setting.push", kind, string(body))
	})
	return p, r, err
}

// Acks takes a gateway's answers; those to what it was not sent are left out.
// Refusals raise an alarm and may stop a
// rollout. A gateway that has a newer version of a plan makes the hub number
// it anew above that.
func (h *Hub) Acks(ctx context.Context, g Gateway, a api.Acks) error {
	if len(a.Acks) > api.MaxAcks {
		return invalid("%d answers at once; send %d at most", len(a.Acks), api.MaxAcks)
	}
	acks := make([]Ack, 0, len(a.Acks))
	smooth := true
	for _, x := range a.Acks {
		switch {
		case x.Outcome != api.Applied && x.Outcome != api.Refused && x.Outcome != api.RolledBack:
			return invalid("the outcome of push %d must be applied, refused or rolled_back", x.Seq)
		case x.Seq == 0: // a claimed grant: it came as an answer, nobody counts it
			continue
		case x.Seq > maxSeq:
			return invalid("there is no push %d", x.Seq)
		}
		ack := Ack{Seq: x.Seq, Gateway: g.ID, Outcome: x.Outcome, Reason: clip(x.Reason, 300), Have: x.Have, At: h.at()}
		if x.Outcome == api.Refused && x.Have != 0 {
			ack.Outcome = Stale
		}
		smooth = smooth && ack.Outcome == api.Applied
		acks = append(acks, ack)
	}
	switch {
	case len(acks) == 0:
		return nil
	case smooth:
		return h.acks.put(ctx, gatewayAcks{g, acks}, len(acks), func(ctx context.Context, all []gatewayAcks) error {
			return h.store.Write(ctx, func(tx Tx) error {
				meant, err := addressed(tx, all)
				if err != nil {
					return err
				}
				return tx.PutAcks(meant)
			})
		})
	}
	return h.store.Write(ctx, func(tx Tx) error {
		mine, err := addressed(tx, []gatewayAcks{{g, acks}})
		if err != nil {
			return err
		}
		var stale []refusedPush
		for _, ack := range mine {
			if ack.Outcome != Stale {
				continue
			}
			p, err := tx.Push(ack.Seq)
			if err != nil {
				return err
			}
			again, err := h.answered(tx, g, p)
			if err != nil {
				return err
			}
			stale = append(stale, refusedPush{p, ack, again})
		}
		if err := tx.PutAcks(mine); err != nil {
			return err
		}
		for _, x := range stale {
			if err := h.overtake(tx, g, x); err != nil {
				return err
			}
		}
		for _, ack := range mine {
			switch ack.Outcome {
			case api.Refused, api.RolledBack:
				if err := h.alarm(tx, g, AlarmRefused, fmt.Sprintf("push %d %s: %s", ack.Seq, ack.Outcome, ack.Reason)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// gatewayAcks are the answers of one gateway.
type gatewayAcks struct {
	from Gateway
	acks []Ack
}

// addressed leaves out answers to what was not pushed to the gateway, or never
// pushed at all: they would count in the rollouts of others, or for a push that
// gets the number later.
func addressed(tx Tx, from []gatewayAcks) ([]Ack, error) {
	asked := map[uint64]bool{}
	var seqs []uint64
	for _, one := range from {
		for _, a := range one.acks {
			if !asked[a.Seq] {
				asked[a.Seq] = true
				seqs = append(seqs, a.Seq)
			}
		}
	}
	targets, err := tx.PushTargets(seqs)
	if err != nil {
		return nil, err
	}
	var out []Ack
	for _, one := range from {
		for _, a := range one.acks {
			if t, ok := targets[a.Seq]; ok && t.Includes(one.from) {
				out = append(out, a)
			}
		}
	}
	return out, nil
}

// Stale is the outcome of a push with an older version of a plan than the
// gateway has: it refuses, and nothing is wrong with the push.
const Stale = "stale"

// overtake numbers a plan anew above the version that a gateway has, if that
// one is not the hub's: the hub was restored from an old backup. Codes and
// purchases that were refused for it are pushed again with the new number.
func (h *Hub) overtake(tx Tx, g Gateway, x refusedPush) error {
	p, ack := x.push, x.ack
	var body struct {
		Plan    api.Plan `json:"plan"`
		ID      string   `json:"id"`
		Version uint32   `json:"version"`
		Running bool     `json:"running"`
	}
	if err := json.Unmarshal(p.Body, &body); err != nil {
		return fmt.Errorf("reading push %d: %w", p.Seq, err)
	}
	id, pushed := body.Plan.ID, body.Plan.Version
	switch p.Kind {
	case api.KindPlan, api.KindBatch, api.KindGrant:
	case api.KindPlanGone:
		id, pushed = body.ID, body.Version
	default:
		return nil
	}
	if ack.Have >= 1<<31 { // a version for ever
		return h.alarm(tx, g, AlarmRefused, fmt.Sprintf("it has version %d of plan %s", ack.Have, id))
	}
	if p.Kind == api.KindBatch || p.Kind == api.KindGrant {
		if x.again {
			return nil
		}
		return h.pushAbove(tx, g, p, ack.Have)
	}
	if err := tx.Lock("forfait/" + id); err != nil {
		return err
	}
	versions, err := tx.ForfaitVersions(id)
	if err != nil || len(versions) == 0 {
		return err
	}
	newest := versions[0]
	// What the gateway has is the hub's own newer version, or is overtaken
	// already by the answer of another gateway.
	if ack.Have < newest.Plan.Version || ack.Have == newest.Plan.Version && pushed != newest.Plan.Version {
		return nil
	}
	next := newest
	next.Plan.Version = ack.Have + 1
	next.At = h.at()
	return h.republish(tx, next, body.Running, p.Rollout)
}

// An Ack is what became of a push on a gateway; the last answer counts.
type Ack struct {
	Seq     uint64
	Gateway string
	Outcome string // api.Applied, api.Refused, api.RolledBack or Stale
	Reason  string
	Have    uint32
	At      time.Time
}

// AcksOf are the answers to a push that were not "applied", the newest first,
// and how many were.
func (h *Hub) AcksOf(ctx context.Context, by Actor, seq uint64, max int) (refused []Ack, applied int, err error) {
	if by.Role != RoleAdmin {
		return nil, 0, ErrForbidden
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		refused, applied, err = tx.AcksOf(seq, page(max))
		return err
	})
	return refused, applied, err
}
