package zonegate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sort"
	"time"
)

// SetPlans makes exactly these plans the ones of the zone's own that are sold; a
// hub's stay as they are. A changed plan gets a new version; grants keep theirs,
// unless running is set. Nothing changes when one of the plans makes no sense,
// or has the id of one that the hub sells (ErrPlanTaken).
func (g *Gate) SetPlans(ctx context.Context, plans []Plan, running bool) error {
	var errs []error
	seen := map[string]bool{}
	for _, p := range plans {
		errs = append(errs, p.Validate())
		if seen[p.ID] {
			errs = append(errs, fmt.Errorf("plan %q: the id stands twice", p.ID))
		}
		seen[p.ID] = true
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return g.do(ctx, false, func(t *tx) error {
		for _, p := range plans {
			if err := t.setPlan(p, running); err != nil {
				return err
			}
		}
		for id, ref := range t.current {
			if p := t.plans[ref]; !seen[id] && !p.Withdrawn && p.Hub == "" {
				p.Withdrawn = true
				if err := t.setPlan(p, false); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (t *tx) setPlan(p Plan, running bool) error {
	if ref, ok := t.current[p.ID]; ok {
		switch now := t.plans[ref]; {
		case now.Hub != "" && !now.Withdrawn && !t.meta.rests(now.Hub):
			return fmt.Errorf("plan %q: %w", p.ID, ErrPlanTaken)
		case now.Hub == "" && now.SameOffer(p):
			return nil
		}
		p.Version = ref.Version + 1
	} else {
		p.Version = 1
	}
	if err := t.emit(PlanSet{p}); err != nil {
		return err
	}
	if !running {
		return nil
	}
	return t.replan(p)
}

// replan has the grants of a plan go over to a version of it.
func (t *tx) replan(p Plan) error {
	for id, grant := range t.grants {
		if grant.Plan.ID == p.ID && grant.Plan != p.Ref() && !grant.State.Ended() {
			if err := t.emit(GrantReplanned{id, p.Ref()}); err != nil {
				return err
			}
			t.touch(id)
		}
	}
	return nil
}

// A Batch describes vouchers that are added together.
type Batch struct {
	Name string
	// Plan is the id of a plan on sale; the vouchers keep its current version.
	Plan string
	// Site is set when the codes belong to another zone.
	Site    string
	Expires time.Time
	// Sealed codes have a password beside them, for the login page of a NAS:
	// each is written as code,password. See [Admission].
	Sealed bool
}

// maxPassword is what PAP can carry without a second block, and people type.
const maxPassword = 32

// maxBatchCodes keeps an import within one journal record.
const maxBatchCodes = 20000

// AddVouchers makes codes valid, all or none: ours, or codes that another
// system has printed. A code that is known, or that reads like another one, is
// an ErrCodeConflict.
func (g *Gate) AddVouchers(ctx context.Context, b Batch, codes []string) error {
	if len(codes) > maxBatchCodes {
		return fmt.Errorf("%d codes are too many at once; split them into files of at most %d", len(codes), maxBatchCodes)
	}
	return g.do(ctx, false, func(t *tx) error {
		ref, ok := t.current[b.Plan]
		if !ok || t.meta.rests(t.plans[ref].Hub) {
			return fmt.Errorf("plan %q: %w", b.Plan, ErrNoSuchPlan)
		}
		e := VouchersAdded{Batch: b.Name, Plan: ref, Site: b.Site, Expires: b.Expires.Round(0).UTC()}
		if b.Expires.IsZero() {
			e.Expires = time.Time{}
		}
		var errs []error
		lines := map[VoucherKey]int{}
		for i, code := range codes {
			password := ""
			if b.Sealed {
				code, password = splitTicket(code)
			}
			k := t.meta.Key.VoucherKey(code)
			_, known, err := t.voucher(k)
			if hub := t.meta.Hub.CodeKey; err == nil && !known && hub != (ZoneKey{}) {
				_, known, err = t.voucher(hub.VoucherKey(code))
			}
			switch n := len(NormalizeCode(code)); {
			case err != nil:
				return err
			case n < 4 || n > maxCode:
				errs = append(errs, fmt.Errorf("code %d: a code has 4 to %d characters", i+1, maxCode))
			case b.Sealed && (password == "" || len(password) > maxPassword):
				errs = append(errs, fmt.Errorf("code %d: write it as code,password; a password has 1 to %d characters", i+1, maxPassword))
			case known:
				errs = append(errs, fmt.Errorf("code %d: %w", i+1, ErrCodeConflict))
			case lines[k] > 0:
				errs = append(errs, fmt.Errorf("code %d is the same as code %d when typed: %w", i+1, lines[k], ErrCodeConflict))
			}
			lines[k] = i + 1
			e.Keys = append(e.Keys, k)
			if b.Sealed {
				e.Secrets = append(e.Secrets, t.meta.Key.seal(k, password))
			}
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if len(e.Keys) == 0 {
			return errors.New("there are no codes to add")
		}
		return t.emit(e)
	})
}

// CreateVouchers draws new codes and makes them valid. The codes are in the
// answer alone: they are not kept.
func (g *Gate) CreateVouchers(ctx context.Context, b Batch, count int) ([]string, error) {
	if count < 1 || count > maxBatchCodes {
		return nil, fmt.Errorf("the number of vouchers must be 1 to %d, not %d", maxBatchCodes, count)
	}
	// Two of 2^35 codes rarely meet; then the draw is repeated.
	for try := 0; ; try++ {
		codes := make([]string, count)
		for i := range codes {
			var err error
			if codes[i], err = NewCode(g.opts.Random); err != nil {
				return nil, err
			}
			if b.Sealed {
				password, err := NewCode(g.opts.Random)
				if err != nil {
					return nil, err
				}
				codes[i] += "," + NormalizeCode(password)
			}
		}
		err := g.AddVouchers(ctx, b, codes)
		if err == nil {
			return codes, nil
		}
		if !errors.Is(err, ErrCodeConflict) || try == 3 {
			return nil, err
		}
	}
}

// RevokeVoucher makes a code worthless, and the grant that it became.
func (g *Gate) RevokeVoucher(ctx context.Context, code string) error {
	return g.do(ctx, false, func(t *tx) error {
		v, err := t.typed(code)
		switch {
		case err != nil:
			return err
		case v.Key == (VoucherKey{}):
			return ErrWrongCode
		case v.Revoked:
			return ErrRevokedCode
		}
		if v.Grant != 0 {
			grant, err := t.needGrant(v.Grant)
			if err != nil {
				return err
			}
			if grant.State.Ended() {
				return ErrUsedCode
			}
			if err := t.end(v.Grant, Revoked); err != nil {
				return err
			}
		}
		return t.emit(VoucherRevoked{v.Key})
	})
}

// Plans returns the plans on sale by id.
func (g *Gate) Plans() []Plan {
	g.mu.RLock()
	defer g.mu.RUnlock()
	var out []Plan
	for _, ref := range g.state.current {
		if p := g.state.plans[ref]; !p.Withdrawn && !g.state.meta.rests(p.Hub) {
			out = append(out, p)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out
}

// A SessionView is a session with what is left of its grant.
type SessionView struct {
	Session Session
	// Octets is everything reported, cumulative from the session's beginning.
	Octets  Octets
	Balance Balance
}

// Sessions returns the sessions that pass, oldest first.
func (g *Gate) Sessions() []SessionView {
	now := g.clock.Now()
	g.mu.RLock()
	defer g.mu.RUnlock()
	var out []SessionView
	for _, x := range g.state.sessions {
		if grant := g.state.grants[x.Grant]; grant != nil && !x.Stopped {
			u := g.uncharged(x)
			out = append(out, SessionView{
				Session: x, Octets: Octets{x.Octets.Up + u.Up, x.Octets.Down + u.Down},
				Balance: g.balance(*grant, now),
			})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Session.ID < out[j].Session.ID })
	return out
}

// A VoucherCount is how many unused vouchers of a batch there are. Site is
// empty for those that can be redeemed here.
type VoucherCount struct {
	Batch   string
	Plan    PlanRef
	Site    string
	Expires time.Time
	Unused  int
}

// Vouchers counts the unused vouchers by batch.
func (g *Gate) Vouchers() []VoucherCount {
	g.mu.RLock()
	defer g.mu.RUnlock()
	counts := map[VoucherCount]int{}
	for _, v := range g.state.vouchers {
		if v.Grant == 0 && !v.Revoked && v.Purchase == "" {
			if v.Hub && !g.state.meta.rests(v.Site) {
				v.Site = ""
			}
			counts[VoucherCount{Batch: v.Batch, Plan: v.Plan, Site: v.Site, Expires: v.Expires}]++
		}
	}
	var out []VoucherCount
	for c, n := range counts {
		c.Unused = n
		out = append(out, c)
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := &out[i], &out[j]
		return cmp.Or(cmp.Compare(a.Batch, b.Batch), cmp.Compare(a.Plan.ID, b.Plan.ID), cmp.Compare(a.Site, b.Site)) < 0
	})
	return out
}

// Sales returns what was issued by day and plan.
func (g *Gate) Sales() []DaySales {
	g.mu.RLock()
	defer g.mu.RUnlock()
	var c Changes
	for _, sales := range g.state.sales {
		c.Sales = append(c.Sales, sales)
	}
	c.sort()
	return c.Sales
}

// Health says what keeps the gate from doing all of its work.
type Health struct {
	// Journal is why sales are stopped, DataPath why enforcement is behind;
	// nil when all is well.
	Journal, DataPath error
	Seq               uint64
	Active            int
	Unused            int
	ClockTrusted      bool
}

// Health returns how the gate is.
func (g *Gate) Health() Health {
	now := g.clock.Now()
	g.mu.RLock()
	defer g.mu.RUnlock()
	h := Health{Journal: g.degraded, DataPath: g.behind(), Seq: g.state.meta.Seq, ClockTrusted: now.Trusted}
	for _, grant := range g.state.grants {
		if grant.State == Active {
			h.Active++
		}
	}
	for _, v := range g.state.vouchers {
		if v.Grant == 0 && !v.Revoked && v.Purchase == "" && (v.Site == "" || v.Hub && !g.state.meta.rests(v.Site)) {
			h.Unused++
		}
	}
	return h
}
