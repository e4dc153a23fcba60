package store_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/sync/api"
)

func TestForfaits(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r, other := w.reseller("A", plenty), w.reseller("B", plenty)
		b, o := w.gateway(w.site(r, "Market"), "one"), w.gateway(w.site(other, "Port"), "two")
		euro := w.gateway(must(w.CreateSite(w.ctx, w.admin, r.ID, "Hotel", "EUR"))(t), "three")

		day := w.forfait(plan("Day", 500))
		if day.Plan.Version != 1 || day.Plan.ID == "" {
			t.Fatalf("the first version is %+v", day.Plan)
		}
		ra := hub.Actor{Name: "ra", Role: hub.RoleReseller, Reseller: r.ID}
		own, _, err := w.SetForfait(w.ctx, ra, hub.ForfaitChange{Plan: plan("Own", 300), Reseller: r.ID})
		w.ok(err)

		// The same offer again is the version that is there.
		if again := w.forfait(day.Plan); again.Plan.Version != 1 {
			t.Errorf("nothing changed, and it is version %d", again.Plan.Version)
		}
		dearer := day.Plan
		dearer.Price.Amount = 600
		two, _, err := w.SetForfait(w.ctx, w.admin, hub.ForfaitChange{Plan: dearer, Running: true})
		w.ok(err)
		if two.Plan.Version != 2 {
			t.Errorf("a change is version %d, want 2", two.Plan.Version)
		}
		gone := must(w.WithdrawForfait(w.ctx, ra, own.Plan.ID))(t)
		if gone.Plan.Version != 2 || !gone.Plan.Withdrawn {
			t.Errorf("withdrawn it is %+v", gone.Plan)
		}

		for _, tt := range []struct {
			who  *box
			want string
		}{
			{b, "Day/1 false, Own/1 false, Day/2 true, gone 2"},
			{o, "Day/1 false, Day/2 true"},
			{euro, ""},
		} {
			var got []string
			for _, p := range w.pushes(tt.who, 0) {
				switch p.Kind {
				case api.KindPlan:
					var x api.PlanSet
					w.ok(json.Unmarshal(p.Body, &x))
					got = append(got, fmt.Sprintf("%s/%d %v", x.Plan.Name, x.Plan.Version, x.Running))
				case api.KindPlanGone:
					var x api.PlanWithdrawn
					w.ok(json.Unmarshal(p.Body, &x))
					got = append(got, fmt.Sprintf("gone %d", x.Version))
				}
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("%s is told %q, want %q", tt.who.Name, got, tt.want)
			}
		}
		cat := must(w.Catalogue(w.ctx, b.Gateway))(t)
		if len(cat.Plans) != 1 || cat.Plans[0].Version != 2 || cat.Plans[0].Price.Amount != 600 || cat.Version != gone.Seq {
			t.Errorf("the catalogue is %+v", cat)
		}
		if fs := must(w.Forfaits(w.ctx, r.ID))(t); len(fs) != 1 || fs[0].Plan.Name != "Day" || fs[0].Plan.Version != 2 {
			t.Errorf("on sale: %+v", fs)
		}
		if fs := must(w.ForfaitVersions(w.ctx, w.admin, day.Plan.ID))(t); len(fs) != 2 || fs[0].Plan != dearerAt(dearer, 2) || fs[1].Plan.Price.Amount != 500 {
			t.Errorf("versions: %+v", fs)
		}
		// Sold again after it was withdrawn.
		back := w.forfait(gone.Plan)
		if back.Plan.Version != 3 || back.Plan.Withdrawn {
			t.Errorf("back on sale it is %+v", back.Plan)
		}
	})
}

func dearerAt(p zonegate.Plan, version uint32) zonegate.Plan {
	p.Version = version
	return p
}

func TestBadForfaits(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		day := w.forfait(plan("Day", 500))
		for _, tt := range []struct {
			what   string
			change func(*zonegate.Plan)
			reason string
		}{
			{"CIR above MIR", func(p *zonegate.Plan) { p.Rate.CIRDown = 1e9 }, "the committed rate down (1000000000 bit/s) is above the maximum (2048000 bit/s)"},
			{"a negative price", func(p *zonegate.Plan) { p.Price.Amount = -1 }, "the price must not be negative"},
			{"free and no trial", func(p *zonegate.Plan) { p.Price.Amount = 0 }, "the price is zero; only a trial may be free"},
			{"no time", func(p *zonegate.Plan) { p.Duration = 0 }, "the duration must be more than zero"},
			{"half a second", func(p *zonegate.Plan) { p.Duration = time.Second / 2 }, "whole seconds"},
			{"no name", func(p *zonegate.Plan) { p.Name = "" }, "the name must have"},
			{"two lines", func(p *zonegate.Plan) { p.Name = "a\nb" }, "the name must have"},
			{"a huge price", func(p *zonegate.Plan) { p.Price.Amount = 1e15 }, "the price is above"},
			{"a huge cap", func(p *zonegate.Plan) { p.DataCap = 1 << 63 }, "the data cap is above"},
			{"a huge rate", func(p *zonegate.Plan) { p.Rate.MIRUp = 1 << 63 }, "a rate is above"},
			{"no devices", func(p *zonegate.Plan) { p.DevicesMax = 0 }, "devices_max"},
			{"another currency", func(p *zonegate.Plan) { p.Price.Currency = "EUR" }, "the currency of a forfait stays XOF"},
		} {
			p := day.Plan
			tt.change(&p)
			_, _, err := w.SetForfait(w.ctx, w.admin, hub.ForfaitChange{Plan: p})
			wantErr(t, tt.what, err, new(hub.InputError))
			if err != nil && !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("%s: %q does not say %q", tt.what, err, tt.reason)
			}
		}
		bad := plan("Two faults", -1)
		bad.Duration = 0
		_, _, err := w.SetForfait(w.ctx, w.admin, hub.ForfaitChange{Plan: bad})
		if err == nil || !strings.Contains(err.Error(), "price") || !strings.Contains(err.Error(), "duration") {
			t.Errorf("of two faults it says %v", err)
		}
		if fs := must(w.Forfaits(w.ctx, ""))(t); len(fs) != 1 || fs[0].Plan != day.Plan {
			t.Errorf("after all this there is %+v", fs)
		}
		for _, tt := range []struct {
			what string
			by   hub.Actor
			c    hub.ForfaitChange
			want error
		}{
			{"a reseller for everybody", hub.Actor{Role: hub.RoleReseller, Reseller: r.ID}, hub.ForfaitChange{Plan: plan("x", 1)}, hub.ErrForbidden},
			{"a reseller changes everybody's", hub.Actor{Role: hub.RoleReseller, Reseller: r.ID}, hub.ForfaitChange{Plan: day.Plan, Reseller: r.ID}, hub.ErrForbidden},
			{"a seller", hub.Actor{Role: hub.RoleSeller, Reseller: r.ID}, hub.ForfaitChange{Plan: plan("x", 1), Reseller: r.ID}, hub.ErrForbidden},
			{"no such forfait", w.admin, hub.ForfaitChange{Plan: zonegate.Plan{ID: "x"}}, hub.ErrNotFound},
			{"no such reseller", w.admin, hub.ForfaitChange{Plan: plan("x", 1), Reseller: "x"}, hub.ErrNotFound},
			{"a stage at no site", w.admin, hub.ForfaitChange{Plan: plan("x", 1), Staged: &hub.Staging{First: "x"}}, new(hub.InputError)},
		} {
			_, _, err := w.SetForfait(w.ctx, tt.by, tt.c)
			wantErr(t, tt.what, err, tt.want)
		}
		_, err = w.WithdrawForfait(w.ctx, w.admin, "x")
		wantErr(t, "withdrawing nothing", err, hub.ErrNotFound)
	})
}

// A gateway that has a newer version than the hub (which was restored from a
// backup) gets the plan anew above it; many of them make one new version.
func TestStalePlans(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		a, b := w.gateway(w.site(r, "a"), "a"), w.gateway(w.site(r, "b"), "b")
		day := w.forfait(plan("Day", 500))
		head := must(w.Head(w.ctx))(t)
		stale := func(x *box, seq uint64, have uint32) {
			w.ok(w.Acks(w.ctx, x.Gateway, api.Acks{Acks: []api.Ack{{Seq: seq, Outcome: api.Refused, Have: have, Reason: "stale"}}}))
		}
		stale(a, day.Seq, 7)
		stale(b, day.Seq, 7)
		ps := w.pushes(a, head)
		if kinds(ps) != api.KindPlan {
			t.Fatalf("after stale answers it pushes %q, want one plan", kinds(ps))
		}
		var set api.PlanSet
		w.ok(json.Unmarshal(ps[0].Body, &set))
		if set.Plan.Version != 8 || set.Plan.Price.Amount != 500 {
			t.Errorf("the plan is pushed as %+v, want version 8", set.Plan)
		}
		if len(w.alarms(a)) != 0 {
			t.Error("a stale answer is no refusal:", w.alarms(a))
		}
		// The gateway has the hub's own newer version: nothing to do.
		stale(a, day.Seq, 8)
		// It has version 8 too, and another offer under it.
		stale(b, ps[0].Seq, 8)
		if v := must(w.ForfaitVersions(w.ctx, w.admin, day.Plan.ID))(t); v[0].Plan.Version != 9 || len(v) != 3 {
			t.Errorf("the newest of %d versions is %d, want 9 of 3", len(v), v[0].Plan.Version)
		}
		// Nonsense is taken and changes nothing.
		stale(a, 4711, 8)
		stale(a, ps[0].Seq, 1<<31)
	})
}

// Codes and purchases that a gateway refuses, because it has another offer
// under the version of their plan, come again with a version above it: they
// are printed and paid. So it is after a hub was restored from an old backup.
func TestStaleCodes(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		s := w.site(r, "a")
		a := w.gateway(s, "a")
		day := w.forfait(plan("Day", 500))
		b, codes, err := w.Generate(w.ctx, w.admin, hub.Generate{N: 3, Forfait: day.Plan.ID, Reseller: r.ID, Site: s.ID})
		w.ok(err)
		g, _, err := w.IssueGrant(w.ctx, w.admin, hub.IssueGrant{Site: s.ID, Forfait: day.Plan.ID, Device: "02:00:00:00:00:01", Ref: "order 1"})
		w.ok(err)
		refused := w.pushes(a, day.Seq)
		if kinds(refused) != api.KindBatch+" "+api.KindGrant {
			t.Fatalf("it pushes %q", kinds(refused))
		}
		// What was sold is sold as it was, though the forfait is dearer now.
		dearer := day.Plan
		dearer.Price.Amount = 700
		_, _, err = w.SetForfait(w.ctx, w.admin, hub.ForfaitChange{Plan: dearer})
		w.ok(err)
		head := must(w.Head(w.ctx))(t)
		for range 2 { // an answer can come twice
			for _, p := range refused {
				w.ok(w.Acks(w.ctx, a.Gateway, api.Acks{Acks: []api.Ack{{Seq: p.Seq, Outcome: api.Refused, Have: 7, Reason: "stale"}}}))
			}
		}
		ps := w.pushes(a, head)
		if kinds(ps) != strings.Join([]string{api.KindPlan, api.KindPlan, api.KindBatch, api.KindGrant}, " ") {
			t.Fatalf("after the refusals it pushes %q", kinds(ps))
		}
		var batch api.BatchIssued
		var grant api.GrantIssued
		w.ok(json.Unmarshal(ps[2].Body, &batch))
		w.ok(json.Unmarshal(ps[3].Body, &grant))
		if batch.Batch != b.ID || len(batch.Keys) != len(codes) || batch.Plan.Version != 8 || batch.Plan.Price.Amount != 500 {
			t.Errorf("the codes come again as %+v", batch)
		}
		if grant.Grant != g.ID || grant.Plan != batch.Plan {
			t.Errorf("the purchase comes again as %+v", grant)
		}
		if v := must(w.ForfaitVersions(w.ctx, w.admin, day.Plan.ID))(t); v[0].Plan.Version != 9 || v[0].Plan.Price.Amount != 700 {
			t.Errorf("on sale is %+v, want the dearer one", v[0].Plan)
		}
	})
}

// A gateway cannot refuse what was not pushed to it, and so stop the rollout
// of others or number their plans anew.
func TestForeignRefusals(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		a, b := w.reseller("A", plenty), w.reseller("B", plenty)
		w.gateway(w.site(a, "a"), "a")
		stranger := w.gateway(w.site(b, "b"), "b")
		f, ro, err := w.SetForfait(w.ctx, w.admin, hub.ForfaitChange{Plan: plan("Day", 500), Reseller: a.ID, Staged: &hub.Staging{}})
		w.ok(err)
		for _, x := range []api.Ack{{Seq: ro.Seq, Outcome: api.Refused, Reason: "no"}, {Seq: ro.Seq, Outcome: api.Refused, Have: 99}} {
			w.ok(w.Acks(w.ctx, stranger.Gateway, api.Acks{Acks: []api.Ack{x}}))
			w.ok(w.MoveRollouts(w.ctx))
		}
		if rs := must(w.Rollouts(w.ctx, w.admin, 1))(t); rs[0].State != hub.RolloutRunning || rs[0].Refused != 0 {
			t.Errorf("the rollout is %+v", rs[0])
		}
		if v := must(w.ForfaitVersions(w.ctx, w.admin, f.Plan.ID))(t); len(v) != 1 {
			t.Errorf("there are %d versions", len(v))
		}
	})
}

func TestRollout(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		var boxes []*box
		for i := range 25 {
			boxes = append(boxes, w.gateway(w.site(r, fmt.Sprintf("s%02d", i)), fmt.Sprint(i)))
		}
		day := w.forfait(plan("Day", 500))
		// Heard by the hub all the time; the ninth was heard last.
		hear := func() {
			for i, b := range boxes {
				if i != 9 {
					w.beat(b)
				}
			}
			w.clock.pass(time.Second)
			w.beat(boxes[9])
			w.ok(w.Flush(w.ctx))
		}
		hear()
		dearer := day.Plan
		dearer.Price.Amount = 700
		f, ro, err := w.SetForfait(w.ctx, w.admin, hub.ForfaitChange{Plan: dearer, Staged: &hub.Staging{}})
		w.ok(err)
		if ro.Stage != hub.StageOne || ro.Staging.First != boxes[9].Site {
			t.Fatalf("it begins as %+v, want with the one heard last", ro)
		}
		has := func() (n int) {
			for _, b := range boxes {
				cat := must(w.Catalogue(w.ctx, b.Gateway))(t)
				got, told := cat.Plans[0].Version == f.Plan.Version, len(w.pushes(b, day.Seq)) > 0
				if got != told {
					t.Errorf("%s: in the catalogue %v, pushed %v", b.Name, got, told)
				}
				if got {
					n++
				}
			}
			return n
		}
		apply := func(outcome string, who ...*box) {
			for _, b := range who {
				for _, p := range w.pushes(b, day.Seq) {
					w.ok(w.Acks(w.ctx, b.Gateway, api.Acks{Acks: []api.Ack{{Seq: p.Seq, Outcome: outcome}}}))
				}
			}
		}
		state := func() hub.Rollout { return must(w.Rollouts(w.ctx, w.admin, 1))(t)[0] }
		step := func() {
			w.clock.pass(time.Second)
			hear()
			w.ok(w.MoveRollouts(w.ctx))
		}
		if has() != 1 {
			t.Errorf("%d have it at first, want 1", has())
		}
		if fs := must(w.Forfaits(w.ctx, ""))(t); fs[0].Plan.Version != 1 {
			t.Error("vouchers would be made of a version that is not out")
		}
		w.clock.pass(time.Hour)
		step() // no answer: nothing moves
		if s := state(); s.Stage != hub.StageOne {
			t.Errorf("without an answer it is at stage %d", s.Stage)
		}
		apply(api.Applied, boxes[9])
		step()
		w.clock.pass(5 * time.Minute)
		step()
		if s := state(); s.Stage != hub.StageOne || s.Settled.IsZero() {
			t.Errorf("after 5 minutes it is %+v", s)
		}
		w.clock.pass(5 * time.Minute)
		step()
		// A tenth of 25 is 3, and the first keeps it.
		if s := state(); s.Stage != hub.StageTenth || has() < 3 || has() > 4 {
			t.Errorf("then it is at stage %d with %d gateways, want 3 or 4", s.Stage, has())
		}
		for _, b := range boxes { // all that have it but one
			if n := len(w.pushes(b, day.Seq)); n > 0 && b != boxes[9] {
				apply(api.Applied, b)
			}
		}
		step()
		w.clock.pass(time.Hour)
		step()
		if s := state(); s.Stage != hub.StageTenth {
			t.Errorf("one has not answered, and it is at stage %d", s.Stage)
		}
		apply(api.Applied, boxes[9])
		step()
		w.clock.pass(10 * time.Minute)
		step()
		if s := state(); s.Stage != hub.StageAll || has() != 25 {
			t.Errorf("at last it is at stage %d with %d gateways", s.Stage, has())
		}
		if fs := must(w.Forfaits(w.ctx, ""))(t); fs[0].Plan.Version != 2 {
			t.Error("it is out and not on sale")
		}
		apply(api.Applied, boxes...)
		step()
		w.clock.pass(10 * time.Minute)
		step()
		if s := state(); s.State != hub.RolloutDone {
			t.Errorf("it ends as %+v", s)
		}
	})
}

func (w *world) beat(b *box) {
	w.Helper()
	must(w.Heartbeat(w.ctx, b.Gateway, api.Heartbeat{Instance: b.instance, Nonce: "AAAAAAAAAAAAAAAAAAAAAA=="}))(w)
}

func TestRolloutStops(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		a, b := w.gateway(w.site(r, "a"), "a"), w.gateway(w.site(r, "b"), "b")
		w.beat(a)
		w.beat(b)
		w.ok(w.Flush(w.ctx))
		p, ro, err := w.PushSetting(w.ctx, w.admin, hub.Setting{Body: api.Link{Down: 1e6, Up: 1e6}, Staged: &hub.Staging{First: b.Site}})
		w.ok(err)
		if len(w.pushes(a, 0)) != 0 || len(w.pushes(b, 0)) != 1 {
			t.Error("the first stage is not b alone")
		}
		ack := func(x *box, outcome string) {
			w.ok(w.Acks(w.ctx, x.Gateway, api.Acks{Acks: []api.Ack{{Seq: p.Seq, Outcome: outcome, Reason: "no link"}}}))
		}
		ack(b, api.Applied)
		w.ok(w.MoveRollouts(w.ctx))
		ack(b, api.RolledBack) // within two minutes
		w.ok(w.MoveRollouts(w.ctx))
		got := must(w.Rollouts(w.ctx, w.admin, 1))(t)[0]
		if got.ID != ro.ID || got.State != hub.RolloutStopped || !strings.Contains(got.Reason, "1 gateways refused") {
			t.Errorf("after a roll-back it is %+v", got)
		}
		if al := w.alarms(b)[hub.AlarmRefused]; !strings.Contains(al.Detail, "rolled_back: no link") {
			t.Errorf("the alarm is %+v", al)
		}
		refused, applied, err := w.AcksOf(w.ctx, w.admin, p.Seq, 10)
		w.ok(err)
		if len(refused) != 1 || refused[0].Gateway != b.ID || refused[0].Outcome != api.RolledBack || applied != 0 {
			t.Errorf("answers: %+v, %d applied", refused, applied)
		}
		w.clock.pass(time.Hour)
		w.ok(w.MoveRollouts(w.ctx))
		if must(w.AdvanceRollout(w.ctx, w.admin, ro.ID))(t); len(w.pushes(a, 0)) != 0 {
			t.Error("a rollout that was stopped went on")
		}

		// By hand, and stopped by hand.
		_, ro, err = w.PushSetting(w.ctx, w.admin, hub.Setting{Body: api.Link{Down: 2e6, Up: 1e6}, Staged: &hub.Staging{First: b.Site, ByHand: true, MaxRefused: 1}})
		w.ok(err)
		for range 3 {
			w.clock.pass(time.Hour)
			for _, p := range w.pushes(b, 0) {
				w.ok(w.Acks(w.ctx, b.Gateway, api.Acks{Acks: []api.Ack{{Seq: p.Seq, Outcome: api.Applied}}}))
			}
			w.ok(w.MoveRollouts(w.ctx))
		}
		if s := must(w.Rollouts(w.ctx, w.admin, 1))(t)[0]; s.Stage != hub.StageOne {
			t.Errorf("it should wait for a hand and is at stage %d", s.Stage)
		}
		must(w.AdvanceRollout(w.ctx, w.admin, ro.ID))(t)
		if s := must(w.AdvanceRollout(w.ctx, w.admin, ro.ID))(t); s.Stage != hub.StageAll || len(w.pushes(a, 0)) != 1 && len(w.pushes(a, 0)) != 2 {
			t.Errorf("by hand it came to stage %d", s.Stage)
		}
		w.ok(w.StopRollout(w.ctx, w.admin, ro.ID, "enough"))
		_, err = w.AdvanceRollout(w.ctx, hub.Actor{Role: hub.RoleReseller, Reseller: r.ID}, ro.ID)
		wantErr(t, "a reseller", err, hub.ErrForbidden)
	})
}
