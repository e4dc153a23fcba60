package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Staging asks for a rollout in steps.
type Staging struct {
	// First is the site that gets it first; "" is the one heard last.
	First string
	// MaxRefused is how many gateways may refuse before it stops by itself.
	MaxRefused int
	// ByHand waits for AdvanceRollout at each stage.
	ByHand bool
}

// Stages of a Rollout.
const (
	StageOne   = 1 // one gateway
	StageTenth = 2 // 10 %
	StageAll   = 3
)

// States of a Rollout.
const (
	RolloutRunning = "running"
	RolloutDone    = "done"
	RolloutStopped = "stopped"
)

// A Rollout is a push on its way: the same body pushed to more and more sites.
// Each stage is a push of its own; who has it already changes nothing.
type Rollout struct {
	ID      string
	Kind    string
	Subject string // forfait id and version, or the kind of setting
	Whole   Target // whom it is for in the end
	Target  Target // whom the stage is for
	Staging Staging
	Stage   int
	State   string
	Reason  string // why it stopped
	Seq     uint64 // push of the stage
	Begun   time.Time
	// Staged is when the stage began, Settled since when all of it has
	// applied (zero: not yet).
	Staged, Settled time.Time
	// Meant is how many gateways of the stage were heard since it began;
	// Applied and Refused are their answers.
	Meant, Applied, Refused int
}

type rounds struct{ settle time.Duration }

// A sending is a push to be made, at once or in stages.
type sending struct {
	kind, subject string
	target        Target
	body          json.RawMessage
	staged        *Staging
}

// send pushes it. Staged, the first gateway alone gets it; with nobody to try
// it on, all do.
func (h *Hub) send(tx Tx, s sending) (Push, Rollout, error) {
	if s.staged == nil {
		p, err := h.push(tx, s.target, s.kind, s.body, "")
		return p, Rollout{}, err
	}
	if s.staged.MaxRefused < 0 {
		return Push{}, Rollout{}, invalid("the number of refusals must not be negative")
	}
	meant, err := h.meant(tx, s.target)
	if err != nil {
		return Push{}, Rollout{}, err
	}
	id, err := h.newID()
	if err != nil {
		return Push{}, Rollout{}, err
	}
	r := Rollout{ID: id, Kind: s.kind, Subject: s.subject, Whole: s.target, Target: s.target, Staging: *s.staged,
		Stage: StageAll, State: RolloutRunning, Begun: h.at()}
	r.Staged = r.Begun
	if first := s.staged.First; first != "" {
		if !slices.ContainsFunc(meant, func(g Heard) bool { return g.Site == first }) {
			return Push{}, Rollout{}, invalid("the site to begin with has no gateway, or is not meant")
		}
		r.Stage, r.Target = StageOne, Target{Site: first}
	} else if len(meant) > 0 { // the one heard last: its answer comes soon
		r.Staging.First = meant[0].Site
		r.Stage, r.Target = StageOne, Target{Site: meant[0].Site}
	}
	p, err := h.push(tx, r.Target, s.kind, s.body, id)
	if err != nil {
		return Push{}, Rollout{}, err
	}
	r.Seq = p.Seq
	return p, r, tx.PutRollout(r)
}

// meant are the live gateways of a target, those heard last first.
func (h *Hub) meant(tx Tx, t Target) ([]Heard, error) {
	site := ""
	if t.Share == 0 {
		site = t.Site
	}
	live, err := tx.LiveGateways(t.Reseller, site)
	return slices.DeleteFunc(live, func(g Heard) bool { return !t.Includes(g.Gateway) }), err
}

// advance begins the next stage of a rollout, or ends it.
func (h *Hub) advance(tx Tx, r *Rollout) error {
	if r.Stage == StageAll {
		r.State = RolloutDone
		return tx.PutRollout(*r)
	}
	p, err := tx.Push(r.Seq)
	if err != nil {
		return err
	}
	r.Stage++
	r.Target = r.Whole
	if r.Stage == StageTenth {
		if r.Target.Share, err = h.tenth(tx, r.Whole); err != nil {
			return err
		}
		r.Target.Site = r.Staging.First
	}
	next, err := h.push(tx, r.Target, r.Kind, p.Body, r.ID)
	if err != nil {
		return err
	}
	r.Seq, r.Staged, r.Settled = next.Seq, h.at(), time.Time{}
	if err := h.follow(tx, p.Body, r); err != nil {
		return err
	}
	return tx.PutRollout(*r)
}

// tenth is the share that has a tenth of the gateways, rounded up.
func (h *Hub) tenth(tx Tx, t Target) (uint32, error) {
	meant, err := h.meant(tx, t)
	if err != nil || len(meant) == 0 {
		return 0, err
	}
	buckets := make([]uint32, len(meant))
	for i, g := range meant {
		buckets[i] = g.Bucket
	}
	slices.Sort(buckets)
	return buckets[(len(buckets)+9)/10-1] + 1, nil
}

// count fills in how a rollout stands.
func (h *Hub) count(tx Tx, r *Rollout) error {
	meant, err := h.meant(tx, r.Target)
	if err != nil {
		return err
	}
	r.Meant = 0
	for _, g := range meant {
		if !g.Seen.Before(r.Staged) {
			r.Meant++
		}
	}
	r.Applied, r.Refused, err = tx.Answered(r.Seq, r.ID)
	return err
}

// MoveRollouts stops those that were refused too often and moves on those
// whose stage has been applied by all that were heard since it began, for long
// enough. Run does it; so it can be called at any time.
func (h *Hub) MoveRollouts(ctx context.Context) error {
	var running []Rollout
	err := h.store.Read(ctx, func(tx Tx) (err error) {
		running, err = tx.Rollouts(RolloutRunning, 1000)
		return err
	})
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range running {
		errs = append(errs, h.changeRollout(ctx, r.ID, func(tx Tx, r *Rollout) error { return h.move(tx, r) }))
	}
	return errors.Join(errs...)
}

func (h *Hub) changeRollout(ctx context.Context, id string, change func(Tx, *Rollout) error) error {
	return h.store.Write(ctx, func(tx Tx) error {
		if err := tx.Lock("rollout/" + id); err != nil {
			return err
		}
		r, err := tx.Rollout(id)
		if err != nil {
			return err
		}
		if r.State != RolloutRunning {
			return nil
		}
		return change(tx, &r)
	})
}

func (h *Hub) move(tx Tx, r *Rollout) error {
	if err := h.count(tx, r); err != nil {
		return err
	}
	at := h.at()
	switch {
	case r.Refused > r.Staging.MaxRefused:
		r.State = RolloutStopped
		r.Reason = fmt.Sprintf("%d gateways refused it or rolled it back", r.Refused)
		if err := h.note(tx, theHub, "rollout.stop", r.ID, r.Reason); err != nil {
			return err
		}
	case r.Applied+r.Refused < r.Meant || r.Applied == 0 && r.Stage == StageOne:
		if r.Settled.IsZero() {
			return nil
		}
		r.Settled = time.Time{} // somebody came back who has not answered
	case r.Settled.IsZero():
		r.Settled = at
	case at.Sub(r.Settled) >= h.rounds.settle && (!r.Staging.ByHand || r.Stage == StageAll):
		return h.advance(tx, r)
	default:
		return nil
	}
	return tx.PutRollout(*r)
}

// Rollouts are the newest first, with how they stand.
func (h *Hub) Rollouts(ctx context.Context, by Actor, max int) (rs []Rollout, err error) {
	if by.Role != RoleAdmin {
		return nil, ErrForbidden
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		if rs, err = tx.Rollouts("", page(max)); err != nil {
			return err
		}
		for i := range rs {
			if rs[i].State == RolloutRunning {
				if err := h.count(tx, &rs[i]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return rs, err
}

// AdvanceRollout begins the next stage at once.
func (h *Hub) AdvanceRollout(ctx context.Context, by Actor, id string) (Rollout, error) {
	if by.Role != RoleAdmin {
		return Rollout{}, ErrForbidden
	}
	var out Rollout
	err := h.changeRollout(ctx, id, func(tx Tx, r *Rollout) error {
		if err := h.advance(tx, r); err != nil {
			return err
		}
		out = *r
		return h.note(tx, by, "rollout.advance", r.ID, fmt.Sprintf("stage %d of %s", r.Stage, r.Subject))
	})
	return out, err
}

// StopRollout ends it where it is. Those who have it keep it; send another
// version to change that.
func (h *Hub) StopRollout(ctx context.Context, by Actor, id, reason string) error {
	if by.Role != RoleAdmin {
		return ErrForbidden
	}
	return h.changeRollout(ctx, id, func(tx Tx, r *Rollout) error {
		r.State, r.Reason = RolloutStopped, clip(reason, 200)
		if err := tx.PutRollout(*r); err != nil {
			return err
		}
		return h.note(tx, by, "rollout.stop", r.ID, reason)
	})
}
