package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"time"

	"zonegate"
	"zonegate/sync/api"
)

// A Forfait is one version of what is sold, and who sells it: every site with
// the currency of its price, or those of one reseller.
type Forfait struct {
	Plan     zonegate.Plan
	Reseller string // "" is all
	At       time.Time
	// Target is how far this version has come; see Rollout.
	Target Target
	// Seq is the last push of this version.
	Seq uint64
}

// A ForfaitChange makes a forfait, or a new version of one.
type ForfaitChange struct {
	// Plan with an empty ID is a new forfait. Version and Withdrawn are not
	// looked at; the hub numbers.
	Plan     zonegate.Plan
	Reseller string // of a new forfait only; "" is all
	// Running says that what was sold before goes over to this version too;
	// otherwise it is for new sales only.
	Running bool
	// Staged lets it out step by step: 1 gateway, 10 %, all.
	Staged *Staging
}

// Bounds of a forfait beside those of zonegate.Plan.Validate: what money and
// octets of a month can be summed in 63 bits.
const (
	maxPrice   = 1e12
	maxCap     = 1 << 60
	maxRate    = 1e12
	maxSeconds = 10 * 366 * 24 * 3600
)

// checkPlan says everything that makes no sense about a plan.
func checkPlan(p zonegate.Plan) error {
	errs := []error{p.Validate()}
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("plan %q: "+format, append([]any{p.ID}, args...)...))
	}
	if _, err := title(p.Name); err != nil {
		bad("%w", err)
	}
	if p.Price.Currency != "" {
		if err := currency(p.Price.Currency); err != nil {
			bad("%w", err)
		}
	}
	if p.Price.Amount > maxPrice {
		bad("the price is above %d", int64(maxPrice))
	}
	if p.Duration%time.Second != 0 || p.Duration > maxSeconds*time.Second {
		bad("the duration must be whole seconds, and 10 years at most")
	}
	if p.DataCap > maxCap {
		bad("the data cap is above %d octets; 0 means none", uint64(maxCap))
	}
	if max(p.Rate.CIRUp, p.Rate.CIRDown, p.Rate.MIRUp, p.Rate.MIRDown) > maxRate {
		bad("a rate is above %d bit/s", uint64(maxRate))
	}
	if err := errors.Join(errs...); err != nil {
		return &InputError{err.Error()}
	}
	return nil
}

// SetForfait is for admins, and for resellers about their own. An InputError
// says everything that makes no sense, and the version before stays. The same
// offer again gives the version that is there. The Rollout is empty if not
// staged.
func (h *Hub) SetForfait(ctx context.Context, by Actor, c ForfaitChange) (Forfait, Rollout, error) {
	fresh, err := h.newID()
	if err != nil {
		return Forfait{}, Rollout{}, err
	}
	var f Forfait
	var r Rollout
	err = h.store.Write(ctx, func(tx Tx) error {
		f, r = Forfait{Plan: c.Plan, Reseller: c.Reseller, At: h.at()}, Rollout{}
		f.Plan.Withdrawn, f.Plan.Version = false, 1
		if c.Plan.ID == "" {
			f.Plan.ID = fresh
			if c.Reseller != "" {
				if _, err := tx.Reseller(c.Reseller); err != nil {
					return fmt.Errorf("looking up the reseller: %w", err)
				}
			}
		} else {
			if err := tx.Lock("forfait/" + c.Plan.ID); err != nil {
				return err
			}
			versions, err := tx.ForfaitVersions(c.Plan.ID)
			if err != nil {
				return err
			}
			if len(versions) == 0 {
				return ErrNotFound
			}
			last := versions[0]
			f.Reseller, f.Plan.Version = last.Reseller, last.Plan.Version+1
			if by.Role != RoleAdmin && !by.manages(f.Reseller) {
				return ErrForbidden
			}
			if f.Plan.Price.Currency != last.Plan.Price.Currency {
				return invalid("the currency of a forfait stays %s; make another forfait", last.Plan.Price.Currency)
			}
			if f.Plan.SameOffer(last.Plan) {
				f = last
				return nil
			}
		}
		if by.Role != RoleAdmin && !by.manages(f.Reseller) {
			return ErrForbidden
		}
		if err := checkPlan(f.Plan); err != nil {
			return err
		}
		if r, err = h.publish(tx, &f, c.Running, c.Staged); err != nil {
			return err
		}
		return h.note(tx, by, "forfait.set", f.Plan.ID, fmt.Sprintf("version %d: %s, %d %s", f.Plan.Version, f.Plan.Name, f.Plan.Price.Amount, f.Plan.Price.Currency))
	})
	return f, r, err
}

// whole is whom a forfait is for.
func (f Forfait) whole() Target {
	return Target{Share: All, Reseller: f.Reseller, Currency: f.Plan.Price.Currency}
}

// message is the push of a version.
func (f Forfait) message(running bool) (kind string, body json.RawMessage, err error) {
	if f.Plan.Withdrawn {
		body, err = json.Marshal(api.PlanWithdrawn{ID: f.Plan.ID, Version: f.Plan.Version})
		return api.KindPlanGone, body, err
	}
	body, err = json.Marshal(api.PlanSet{Plan: WirePlan(f.Plan), Running: running})
	return api.KindPlan, body, err
}

// publish adds a version and pushes it.
func (h *Hub) publish(tx Tx, f *Forfait, running bool, staged *Staging) (Rollout, error) {
	kind, body, err := f.message(running)
	if err != nil {
		return Rollout{}, fmt.Errorf("encoding a plan: %w", err)
	}
	p, r, err := h.send(tx, sending{kind: kind, subject: f.subject(), target: f.whole(), body: body, staged: staged})
	if err != nil {
		return Rollout{}, err
	}
	f.Target, f.Seq = p.Target, p.Seq
	if err := tx.AddForfait(*f); err != nil {
		return Rollout{}, err
	}
	return r, tx.SetForfaitPush(f.Plan.ID, f.Plan.Version, f.Target, f.Seq)
}

func (f Forfait) subject() string { return fmt.Sprintf("%s/%d", f.Plan.ID, f.Plan.Version) }

// republish adds a version with another number, to those who had the one
// before; the rollout that was under way goes on with it.
func (h *Hub) republish(tx Tx, f Forfait, running bool, rollout string) error {
	var r Rollout
	if rollout != "" {
		if err := tx.Lock("rollout/" + rollout); err != nil {
			return err
		}
		var err error
		if r, err = tx.Rollout(rollout); err != nil {
			return err
		}
		if r.State != RolloutRunning {
			rollout = ""
		}
	}
	kind, body, err := f.message(running)
	if err != nil {
		return fmt.Errorf("encoding a plan: %w", err)
	}
	p, err := h.push(tx, f.Target, kind, body, rollout)
	if err != nil {
		return err
	}
	f.Seq = p.Seq
	if err := tx.AddForfait(f); err != nil {
		return err
	}
	if err := tx.SetForfaitPush(f.Plan.ID, f.Plan.Version, f.Target, f.Seq); err != nil {
		return err
	}
	if rollout != "" {
		r.Seq, r.Subject, r.Kind, r.Settled = p.Seq, f.subject(), kind, time.Time{}
		if err := tx.PutRollout(r); err != nil {
			return err
		}
	}
	return h.note(tx, theHub, "forfait.overtake", f.Plan.ID, fmt.Sprintf("version %d: a gateway had a newer one than the hub", f.Plan.Version))
}

// follow notes how far the version of a rollout has come.
func (h *Hub) follow(tx Tx, body json.RawMessage, r *Rollout) error {
	var b struct {
		Plan    api.Plan `json:"plan"`
		ID      string   `json:"id"`
		Version uint32   `json:"version"`
	}
	if r.Kind != api.KindPlan && r.Kind != api.KindPlanGone {
		return nil
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return fmt.Errorf("reading a push: %w", err)
	}
	if r.Kind == api.KindPlan {
		b.ID, b.Version = b.Plan.ID, b.Plan.Version
	}
	return tx.SetForfaitPush(b.ID, b.Version, r.Target, r.Seq)
}

// WithdrawForfait takes a forfait off sale. What was bought keeps its value.
func (h *Hub) WithdrawForfait(ctx context.Context, by Actor, id string) (Forfait, error) {
	var f Forfait
	err := h.store.Write(ctx, func(tx Tx) error {
		if err := tx.Lock("forfait/" + id); err != nil {
			return err
		}
		versions, err := tx.ForfaitVersions(id)
		if err != nil {
			return err
		}
		if len(versions) == 0 {
			return ErrNotFound
		}
		f = versions[0]
		if by.Role != RoleAdmin && !by.manages(f.Reseller) {
			return ErrForbidden
		}
		if f.Plan.Withdrawn {
			return nil
		}
		f.Plan.Withdrawn, f.At = true, h.at()
		f.Plan.Version++
		if _, err := h.publish(tx, &f, false, nil); err != nil {
			return err
		}
		return h.note(tx, by, "forfait.withdraw", id, f.Plan.Name)
	})
	return f, err
}

// Forfaits are the newest versions on sale that went out to all, by name:
// those for everybody, and with a reseller his own too.
func (h *Hub) Forfaits(ctx context.Context, reseller string) ([]Forfait, error) {
	var all []Forfait
	err := h.store.Read(ctx, func(tx Tx) (err error) {
		all, err = tx.Forfaits()
		return err
	})
	var out []Forfait
	seen := map[string]bool{}
	for _, f := range all { // newest first
		if f.Target.Share != All || seen[f.Plan.ID] {
			continue
		}
		seen[f.Plan.ID] = true
		if !f.Plan.Withdrawn && (f.Reseller == "" || f.Reseller == reseller) {
			out = append(out, f)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i].Plan, out[j].Plan
		return a.Name < b.Name || a.Name == b.Name && a.ID < b.ID
	})
	return out, err
}

// ForfaitVersions is the history of one, newest first.
func (h *Hub) ForfaitVersions(ctx context.Context, by Actor, id string) (fs []Forfait, err error) {
	err = h.store.Read(ctx, func(tx Tx) error {
		fs, err = tx.ForfaitVersions(id)
		return err
	})
	if err == nil && len(fs) == 0 {
		return nil, ErrNotFound
	}
	if err == nil && fs[0].Reseller != "" && !by.covers(fs[0].Reseller) {
		return nil, ErrForbidden
	}
	return fs, err
}

// Catalogue is what a gateway sells: of every forfait the newest version that
// has come to it. Its Version only grows, and changes with every change.
func (h *Hub) Catalogue(ctx context.Context, g Gateway) (api.Catalogue, error) {
	var all []Forfait
	err := h.store.Read(ctx, func(tx Tx) (err error) {
		all, err = tx.Forfaits()
		return err
	})
	if err != nil {
		return api.Catalogue{}, err
	}
	c := api.Catalogue{Plans: []api.Plan{}}
	for _, f := range newest(all, g) {
		c.Version = max(c.Version, f.Seq)
		if !f.Plan.Withdrawn {
			c.Plans = append(c.Plans, WirePlan(f.Plan))
		}
	}
	sort.Slice(c.Plans, func(i, j int) bool { return c.Plans[i].ID < c.Plans[j].ID })
	return c, nil
}

// newest keeps of every forfait the newest version that a gateway has.
func newest(all []Forfait, g Gateway) (out []Forfait) {
	seen := map[string]bool{}
	for _, f := range all { // newest first
		if !seen[f.Plan.ID] && f.Target.Includes(g) {
			seen[f.Plan.ID] = true
			out = append(out, f)
		}
	}
	return out
}

// WirePlan is a plan as it travels, and as it is kept.
func WirePlan(p zonegate.Plan) api.Plan {
	return api.Plan{ID: p.ID, Version: p.Version, Name: p.Name,
		Price: api.Money{Amount: p.Price.Amount, Currency: p.Price.Currency}, Seconds: int64(p.Duration / time.Second),
		Octets: p.DataCap, CIRUp: p.Rate.CIRUp, CIRDown: p.Rate.CIRDown, MIRUp: p.Rate.MIRUp, MIRDown: p.Rate.MIRDown,
		Online: p.Time == zonegate.Online, DevicesMax: p.DevicesMax, Trial: p.Trial, Withdrawn: p.Withdrawn}
}

// PlanOf is WirePlan back.
func PlanOf(p api.Plan) zonegate.Plan {
	out := zonegate.Plan{ID: p.ID, Version: p.Version, Name: p.Name,
		Price: zonegate.Money{Amount: p.Price.Amount, Currency: p.Price.Currency}, Duration: time.Duration(p.Seconds) * time.Second,
		DataCap: p.Octets, Rate: zonegate.Rate{CIRUp: p.CIRUp, CIRDown: p.CIRDown, MIRUp: p.MIRUp, MIRDown: p.MIRDown},
		DevicesMax: p.DevicesMax, Trial: p.Trial, Withdrawn: p.Withdrawn}
	if p.Online {
		out.Time = zonegate.Online
	}
	return out
}
