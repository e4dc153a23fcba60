package hub

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"zonegate/sync/api"
)

// ResumeRollout lets a stopped one go on with the stage where it was. Those
// who refused are taken as they are: the next refusal above its MaxRefused and
// above them stops it again. An InputError says that it was not stopped, or
// that something newer was sent since, which it would take back. Admins only.
func (h *Hub) ResumeRollout(ctx context.Context, by Actor, id string) error {
	if by.Role != RoleAdmin {
		return ErrForbidden
	}
	return h.store.Write(ctx, func(tx Tx) error {
		r, err := tx.Rollout(id)
		if err != nil {
			return err
		}
		// In the order in which a new version locks them.
		forfait, _, isPlan := strings.Cut(r.Subject, "/")
		if isPlan = isPlan && (r.Kind == api.KindPlan || r.Kind == api.KindPlanGone); isPlan {
			if err := tx.Lock("forfait/" + forfait); err != nil {
				return err
			}
		}
		if err := tx.Lock("rollout/" + id); err != nil {
			return err
		}
		if r, err = tx.Rollout(id); err != nil {
			return err
		}
		if r.State != RolloutStopped {
			return invalid("the rollout is %s, not stopped", r.State)
		}
		if newer, err := overtaken(tx, r, forfait, isPlan); err != nil {
			return err
		} else if newer {
			return invalid("something newer was sent since; send a new version instead")
		}
		if err := h.count(tx, &r); err != nil {
			return err
		}
		r.Staging.MaxRefused = max(r.Staging.MaxRefused, r.Refused)
		r.State, r.Reason, r.Settled = RolloutRunning, "", time.Time{}
		if err := tx.PutRollout(r); err != nil {
			return err
		}
		return h.note(tx, by, "rollout.resume", r.ID, fmt.Sprintf("stage %d of %s", r.Stage, r.Subject))
	})
}

// overtaken says whether a newer version, or another setting of the kind, was
// sent after a rollout's last push.
func overtaken(tx Tx, r Rollout, forfait string, isPlan bool) (bool, error) {
	if isPlan {
		versions, err := tx.ForfaitVersions(forfait)
		if err != nil || len(versions) == 0 {
			return true, err
		}
		return r.Subject != forfait+"/"+strconv.FormatUint(uint64(versions[0].Plan.Version), 10), nil
	}
	for after := r.Seq; ; {
		pushes, err := tx.Pushes(after, 1000)
		if err != nil {
			return false, err
		}
		for _, p := range pushes {
			if p.Kind == r.Kind && p.Rollout != r.ID {
				return true, nil
			}
			after = p.Seq
		}
		if len(pushes) < 1000 {
			return false, nil
		}
	}
}
