package zonegate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	hubKey  = ZoneKey{'h', 'u', 'b'}
	hubLink = HubLink{Hub: "https://hub.example/api/v1", Site: "site-1", Gateway: "gw-1", CodeKey: hubKey}
	hubPlan = Plan{ID: "7d0c", Version: 1, Name: "Jour", Price: Money{200, "XOF"}, Duration: 24 * time.Hour,
		Rate: Rate{CIRUp: 1e6, CIRDown: 1e6, MIRUp: 4e6, MIRDown: 4e6}, DevicesMax: 1}
)

// version returns the plan as a later version of it.
func version(p Plan, v uint32, change func(*Plan)) Plan {
	p.Version = v
	if change != nil {
		change(&p)
	}
	return p
}

func faster(p *Plan) { p.Rate.MIRDown = 8e6 }

func newHubBench(t *testing.T, o Options) *bench {
	t.Helper()
	b := newBench(t, o)
	b.join(hubLink, 1)
	return b
}

func (b *bench) join(l HubLink, next uint64) {
	b.t.Helper()
	if err := b.gate.JoinHub(b.t.Context(), l, next); err != nil {
		b.t.Fatal(err)
	}
}

// push gives the gate the push after the last one.
func (b *bench) push(c HubChange) {
	b.t.Helper()
	l, _ := b.gate.Hub()
	if err := b.gate.TakePush(b.t.Context(), l.Applied+1, c); err != nil {
		b.t.Fatalf("%+v: %v", c, err)
	}
}

func (b *bench) durable() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.records)
}

func hubCodes(codes ...string) []VoucherKey {
	var out []VoucherKey
	for _, c := range codes {
		out = append(out, hubKey.VoucherKey(c))
	}
	return out
}

// the state in words, but for what a repeated push may move: clocks and Applied.
func (b *bench) content() string {
	b.gate.mu.RLock()
	defer b.gate.mu.RUnlock()
	c := b.gate.state.Whole()
	c.Meta.Seq, c.Meta.Clock, c.Meta.Hub.Applied = 0, ServiceClock{}, 0
	return fmt.Sprintf("%+v", c)
}

// A push is applied once, whether it comes again under its number, under a
// later one because the hub was restored from an old backup, or late.
func TestPushesCountOnce(t *testing.T) {
	claim := hubKey.VoucherKey("CLAIM123")
	prepare := []HubChange{
		PlanPushed{Plan: hubPlan},
		BatchPushed{Batch: "b0", Plan: hubPlan, Keys: hubCodes("READY001", "READY002")},
		GrantPushed{Grant: "g0", Plan: hubPlan, Key: hubKey.VoucherKey("READY003")},
		GrantPushed{Grant: "g1", Plan: hubPlan, Device: phone2},
	}
	for _, c := range []struct {
		name string
		push HubChange
		// again says what the same push gives later, when it is not known by
		// its number any more.
		again error
	}{
		{"plan", PlanPushed{Plan: version(hubPlan, 2, faster)}, nil},
		{"plan, running too", PlanPushed{Plan: version(hubPlan, 2, faster), Running: true}, nil},
		{"plan gone", PlanGone{ID: hubPlan.ID, Version: 2}, nil},
		{"unknown plan gone", PlanGone{ID: "unknown", Version: 2}, nil},
		{"batch", BatchPushed{Batch: "b1", Plan: hubPlan, Keys: hubCodes("AAAA0001", "AAAA0002", "AAAA0001")}, nil},
		{"batch of a plan that is not known", BatchPushed{Batch: "b1", Plan: version(hubPlan, 9, faster), Keys: hubCodes("AAAA0001")}, nil},
		{"batch gone", BatchGone{Batch: "b0"}, nil},
		{"unknown batch gone", BatchGone{Batch: "b7"}, nil},
		{"grant with a device", GrantPushed{Grant: "g2", Plan: hubPlan, Device: phone1}, nil},
		{"grant with a code", GrantPushed{Grant: "g2", Plan: hubPlan, Key: claim}, nil},
		{"grant with both", GrantPushed{Grant: "g2", Plan: hubPlan, Device: phone1, Key: claim}, nil},
		{"grant that gets a device", GrantPushed{Grant: "g0", Plan: hubPlan, Device: phone1}, nil},
		{"grant that gets a code", GrantPushed{Grant: "g1", Plan: hubPlan, Key: claim}, nil},
		{"grant for a NAS", GrantPushed{Grant: "g2", Plan: hubPlan, Device: phone1, NAS: "ap"}, nil},
		{"unused grant gone", GrantGone{Grant: "g0"}, nil},
		{"running grant gone", GrantGone{Grant: "g1"}, nil},
		{"unknown grant gone", GrantGone{Grant: "g7"}, nil},
		{"setting", SettingPushed{Name: SettingGarden, Value: `{"domains":[]}`}, nil},
		{"setting gone", SettingPushed{Name: SettingGarden}, nil},
		{"the hub's last word", HubGone{}, ErrNoHub},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newHubBench(t, quick)
			for _, p := range prepare {
				b.push(p)
			}
			before := b.durable()
			if err := b.gate.TakePush(t.Context(), 10, c.push); err != nil {
				t.Fatal(err)
			}
			if n := b.durable() - before; n != 1 {
				t.Errorf("a push and its number are %d records", n)
			}
			if l, ok := b.gate.Hub(); !ok || l.Applied != 10 {
				t.Fatalf("after push 10: %+v", l)
			}
			b.finals()
			once, records := b.content(), b.durable()
			for _, seq := range []uint64{10, 9, 1} {
				if err := b.gate.TakePush(t.Context(), seq, c.push); !errors.Is(err, c.again) {
					t.Errorf("push %d again: %v", seq, err)
				}
			}
			if b.durable() != records {
				t.Errorf("a push that was taken was written down again")
			}
			b.kill()
			b.start(quick)
			for _, seq := range []uint64{10, 11, 0, 900} {
				if err := b.gate.TakePush(t.Context(), seq, c.push); !errors.Is(err, c.again) {
					t.Errorf("after a restart, as push %d: %v", seq, err)
				}
			}
			if again := b.content(); again != once {
				t.Errorf("the push counted twice:\nonce  %s\ntwice %s", once, again)
			}
		})
	}
}

// What makes no sense is refused with a reason, changes nothing, and does not
// keep the pushes behind it waiting.
func TestBadPushesAreRefused(t *testing.T) {
	bad := func(change func(*Plan)) Plan { return version(hubPlan, 5, change) }
	long := strings.Repeat("x", maxHubName+1)
	local := testPlans[0]
	local.Version = 9
	for _, c := range []struct {
		name string
		push HubChange
		want error
	}{
		{"plan without an id", PlanPushed{Plan: bad(func(p *Plan) { p.ID = "" })}, ErrBadPush},
		{"plan without a version", PlanPushed{Plan: bad(func(p *Plan) { p.Version = 0 })}, ErrBadPush},
		{"plan with a long id", PlanPushed{Plan: bad(func(p *Plan) { p.ID = long })}, ErrBadPush},
		{"plan with a long name", PlanPushed{Plan: bad(func(p *Plan) { p.Name = long })}, ErrBadPush},
		{"CIR above MIR", PlanPushed{Plan: bad(func(p *Plan) { p.Rate.CIRUp = 1e9 })}, ErrBadPush},
		{"negative price", PlanPushed{Plan: bad(func(p *Plan) { p.Price.Amount = -1 })}, ErrBadPush},
		{"free, and no trial", PlanPushed{Plan: bad(func(p *Plan) { p.Price.Amount = 0 })}, ErrBadPush},
		{"no time", PlanPushed{Plan: bad(func(p *Plan) { p.Duration = 0 }), Running: true}, ErrBadPush},
		{"negative time", PlanPushed{Plan: bad(func(p *Plan) { p.Duration = -1 })}, ErrBadPush},
		{"no device", PlanPushed{Plan: bad(func(p *Plan) { p.DevicesMax = 0 })}, ErrBadPush},
		{"older plan", PlanPushed{Plan: version(hubPlan, 2, nil)}, ErrStalePlan},
		{"other offer, same version", PlanPushed{Plan: version(hubPlan, 3, faster)}, ErrStalePlan},
		{"own plan", PlanPushed{Plan: local}, ErrPlanTaken},
		{"own plan gone", PlanGone{ID: "hour", Version: 9}, ErrPlanTaken},
		{"older plan gone", PlanGone{ID: hubPlan.ID, Version: 2}, ErrStalePlan},
		{"plan gone, same version", PlanGone{ID: hubPlan.ID, Version: 3}, ErrStalePlan},
		{"plan gone without a version", PlanGone{ID: hubPlan.ID}, ErrBadPush},
		{"batch without a name", BatchPushed{Plan: hubPlan, Keys: hubCodes("NEW00001")}, ErrBadPush},
		{"batch with a long name", BatchPushed{Batch: long, Plan: hubPlan, Keys: hubCodes("NEW00001")}, ErrBadPush},
		{"batch too large", BatchPushed{Batch: "b", Plan: hubPlan, Keys: make([]VoucherKey, maxBatchCodes+1)}, ErrBadPush},
		{"batch of a bad plan", BatchPushed{Batch: "b", Plan: bad(func(p *Plan) { p.Duration = 0 }), Keys: hubCodes("NEW00001")}, ErrBadPush},
		{"batch of a plan that is another", BatchPushed{Batch: "b", Plan: version(hubPlan, 3, faster), Keys: hubCodes("NEW00001")}, ErrStalePlan},
		{"batch of an own plan", BatchPushed{Batch: "b", Plan: local, Keys: hubCodes("NEW00001")}, ErrPlanTaken},
		{"batch with another's code", BatchPushed{Batch: "b", Plan: version(hubPlan, 4, nil), Keys: hubCodes("NEW00001", "HUBS0001")}, ErrCodeConflict},
		{"grant without an id", GrantPushed{Plan: hubPlan, Device: phone1}, ErrBadPush},
		{"grant with a long id", GrantPushed{Grant: long, Plan: hubPlan, Device: phone1}, ErrBadPush},
		{"grant for nobody", GrantPushed{Grant: "g", Plan: hubPlan}, ErrBadPush},
		{"grant with a batch's code", GrantPushed{Grant: "g", Plan: version(hubPlan, 3, nil), Key: hubCodes("HUBS0001")[0]}, ErrCodeConflict},
		{"grant of a plan that is another", GrantPushed{Grant: "g", Plan: version(hubPlan, 3, faster), Device: phone1}, ErrStalePlan},
		{"grant of an own plan", GrantPushed{Grant: "g", Plan: local, Device: phone1}, ErrPlanTaken},
		{"unknown setting", SettingPushed{Name: "password", Value: "x"}, ErrNoSuchSetting},
		{"endless setting", SettingPushed{Name: SettingMessage, Value: strings.Repeat("x", maxSetting+1)}, ErrBadPush},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newHubBench(t, quick)
			b.push(PlanPushed{Plan: version(hubPlan, 3, nil)})
			b.push(BatchPushed{Batch: "hubs", Plan: version(hubPlan, 3, nil), Keys: hubCodes("HUBS0001")})
			before := b.content()
			err := b.gate.TakePush(t.Context(), 0, c.push)
			if !errors.Is(err, c.want) {
				t.Fatalf("refused with %v, want %v", err, c.want)
			}
			if stale := (*StaleError)(nil); errors.As(err, &stale) && stale.Have != 3 {
				t.Errorf("the refusal says version %d", stale.Have)
			}
			if err := b.gate.TakePush(t.Context(), 20, c.push); !errors.Is(err, c.want) {
				t.Fatalf("refused with %v, want %v", err, c.want)
			}
			if l, _ := b.gate.Hub(); l.Applied != 20 {
				t.Errorf("a refused push keeps those behind it waiting: %+v", l)
			}
			if after := b.content(); after != before {
				t.Errorf("a refused push changed something:\nbefore %s\nafter  %s", before, after)
			}
		})
	}
}

// Nothing that a hub says touches what is the zone's own under the same name.
func TestForgedNamesMeetNothing(t *testing.T) {
	b := newHubBench(t, quick)
	code := b.sell("hour") // in batch "test"
	b.redeem(b.sell("hour"), phone2)
	b.gate.mu.RLock()
	var own Grant
	for _, g := range b.gate.state.grants {
		own = *g
	}
	b.gate.mu.RUnlock()
	if err := b.gate.AddVouchers(t.Context(), Batch{Name: "far", Plan: "hour", Site: hubLink.Site}, []string{"FAR00001"}); err != nil {
		t.Fatal(err)
	}
	stock := b.gate.Vouchers()
	b.push(BatchGone{Batch: "test"})
	b.push(BatchGone{Batch: "far"})
	if left := b.gate.Vouchers(); !slices.Equal(left, stock) {
		t.Errorf("the hub revoked what is not its own: %+v, before %+v", left, stock)
	}
	for _, id := range []string{"1", own.Source.Ref, "", "test"} {
		b.push(GrantGone{Grant: id})
	}
	if st := b.redeem(code, phone1); !st.Online {
		t.Error("the hub revoked a code of the zone's own")
	}
	if st := b.gate.Standing(phone2); !st.Online {
		t.Error("the hub ended a grant of the zone's own")
	}
}

// TestPushedPlans checks who goes over to a new version, and that nobody is cut
// by it.
func TestPushedPlans(t *testing.T) {
	for _, running := range []bool{false, true} {
		for _, push := range []struct {
			name string
			plan Plan
			want error
			sold uint32
			rate uint64 // of the running session, when running is set
		}{
			{"newer", version(hubPlan, 6, faster), nil, 6, 8e6},
			{"same", version(hubPlan, 5, nil), nil, 5, 4e6},
			{"other offer", version(hubPlan, 5, faster), ErrStalePlan, 5, 4e6},
			{"older", version(hubPlan, 4, faster), ErrStalePlan, 5, 4e6},
		} {
			t.Run(fmt.Sprintf("%s, running %v", push.name, running), func(t *testing.T) {
				b := newHubBench(t, quick)
				b.push(PlanPushed{Plan: version(hubPlan, 5, nil)})
				b.push(GrantPushed{Grant: "g", Plan: version(hubPlan, 5, nil), Device: phone1})
				b.push(GrantPushed{Grant: "later", Plan: version(hubPlan, 5, nil), Device: phone1})
				b.use(phone1, Octets{Down: 5e6})
				before, _ := b.path.order(phone1)
				err := b.gate.TakePush(t.Context(), 9, PlanPushed{Plan: push.plan, Running: running})
				if !errors.Is(err, push.want) {
					t.Fatalf("%v, want %v", err, push.want)
				}
				plans := b.gate.Plans()
				if i := slices.IndexFunc(plans, func(p Plan) bool { return p.ID == hubPlan.ID }); i < 0 || plans[i].Version != push.sold {
					t.Errorf("on sale: %+v", plans)
				}
				after, ok := b.path.order(phone1)
				want := uint64(4e6)
				if running {
					want = push.rate
				}
				if !ok || after.Session != before.Session || after.Rate.MIRDown != want {
					t.Errorf("order %+v, before %+v, want rate %d", after, before, want)
				}
				if len(b.path.stopped) > 0 {
					t.Errorf("sessions %v were stopped", b.path.stopped)
				}
				st := b.gate.Standing(phone1)
				if st.Grant.Used.Total() != 5e6 || st.Grant.Plan.Rate.MIRDown != want || st.Queue[0].Plan.Rate.MIRDown != want {
					t.Errorf("standing %+v", st)
				}
			})
		}
	}
}

// The same version again with Running has those go over who did not yet.
func TestRunningCanComeLater(t *testing.T) {
	b := newHubBench(t, quick)
	b.push(GrantPushed{Grant: "g", Plan: hubPlan, Device: phone1})
	b.push(PlanPushed{Plan: version(hubPlan, 2, faster)})
	if o, _ := b.path.order(phone1); o.Rate.MIRDown != 4e6 {
		t.Fatalf("order %+v", o)
	}
	b.push(PlanPushed{Plan: version(hubPlan, 2, faster), Running: true})
	if o, _ := b.path.order(phone1); o.Rate.MIRDown != 8e6 {
		t.Errorf("order %+v", o)
	}
}

// A NAS is told of a changed plan, and its session goes on.
func TestPushedPlanReachesANAS(t *testing.T) {
	b, book := newNASBench(t)
	b.join(hubLink, 1)
	b.push(BatchPushed{Batch: "b", Plan: hubPlan, Keys: hubCodes("NASCODE1")})
	a := b.admit("ap", "nascode1", phone1)
	b.report(start(a, "k"))
	book.take()
	b.push(PlanPushed{Plan: version(hubPlan, 2, faster), Running: true})
	errands := book.take()
	if len(errands) != 1 || errands[0].Stop || errands[0].Session.ID != a.Session.ID || errands[0].Plan.Rate.MIRDown != 8e6 {
		t.Fatalf("errands %+v", errands)
	}
}

func TestWithdrawnAndSoldAgain(t *testing.T) {
	b := newHubBench(t, quick)
	sold := func() bool {
		return slices.ContainsFunc(b.gate.Plans(), func(p Plan) bool { return p.ID == hubPlan.ID })
	}
	b.push(PlanPushed{Plan: hubPlan})
	b.push(BatchPushed{Batch: "b", Plan: hubPlan, Keys: hubCodes("CODE0001", "CODE0002", "CODE0003")})
	b.redeem("code-0001", phone1)
	b.push(PlanGone{ID: hubPlan.ID, Version: 2})
	if sold() {
		t.Error("a withdrawn plan is on sale")
	}
	if st := b.redeem("code-0002", phone2); st.Grant.Plan.Version != 1 {
		t.Errorf("a code bought before: %+v", st.Grant)
	}
	// A purchase of the former version that arrives late does not put it on sale.
	b.push(GrantPushed{Grant: "late", Plan: hubPlan, Device: phone3})
	if sold() || !b.gate.Standing(phone3).Online {
		t.Error("a late purchase of a withdrawn plan is wrong")
	}
	b.push(PlanPushed{Plan: version(hubPlan, 3, faster)})
	if !sold() {
		t.Error("a plan that is sold again is not on sale")
	}
	if o, _ := b.path.order(phone1); o.Rate.MIRDown != 4e6 {
		t.Errorf("who bought before it was withdrawn: %+v", o)
	}
}

func TestOwnPlansAndTheHubs(t *testing.T) {
	b := newHubBench(t, quick)
	b.push(PlanPushed{Plan: hubPlan})
	ids := func() (out []string) {
		for _, p := range b.gate.Plans() {
			out = append(out, p.ID)
		}
		return out
	}
	both := []string{hubPlan.ID, "capped", "family", "hour", "online"}
	if got := ids(); !slices.Equal(got, both) {
		t.Fatalf("on sale %v", got)
	}
	// The configuration read again does not withdraw the hub's.
	if err := b.gate.SetPlans(t.Context(), testPlans[:1], false); err != nil {
		t.Fatal(err)
	}
	if got := ids(); !slices.Equal(got, []string{hubPlan.ID, "hour"}) {
		t.Fatalf("on sale %v", got)
	}
	// An id belongs to whoever sells it.
	mine := hubPlan
	mine.Version = 0
	if err := b.gate.SetPlans(t.Context(), []Plan{testPlans[0], mine}, false); !errors.Is(err, ErrPlanTaken) {
		t.Errorf("the hub's id in the configuration: %v", err)
	}
	b.push(PlanPushed{Plan: Plan{ID: "capped", Version: 7, Name: "c", Price: Money{1, "XOF"}, Duration: 1, DevicesMax: 1}})
	if p, _ := b.gate.state.plan(PlanRef{"capped", 7}); p.Hub != hubLink.Site {
		t.Errorf("a plan that the configuration does not sell any more: %+v", p)
	}
	if err := b.gate.SetPlans(t.Context(), testPlans, false); !errors.Is(err, ErrPlanTaken) {
		t.Errorf("the configuration takes back what the hub sells: %v", err)
	}
	// Without the hub its plans rest; what was bought goes on.
	b.push(GrantPushed{Grant: "g", Plan: hubPlan, Device: phone1})
	if err := b.gate.LeaveHub(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ids(); !slices.Equal(got, []string{"hour"}) {
		t.Errorf("on sale %v", got)
	}
	if _, err := b.gate.CreateVouchers(t.Context(), Batch{Plan: hubPlan.ID}, 1); !errors.Is(err, ErrNoSuchPlan) {
		t.Errorf("selling a plan of a hub that is left: %v", err)
	}
	if !b.gate.Standing(phone1).Online {
		t.Error("leaving the hub cut a customer")
	}
	if err := b.gate.TakePush(t.Context(), 50, PlanPushed{Plan: hubPlan}); !errors.Is(err, ErrNoHub) {
		t.Errorf("a push without a hub: %v", err)
	}
	if err := b.gate.SetPlans(t.Context(), append([]Plan{mine}, testPlans...), false); err != nil {
		t.Errorf("the id of a plan that rests: %v", err)
	}
	// Joined again, the hub has to find another version.
	b.join(hubLink, 1)
	var stale *StaleError
	if err := b.gate.SetPlans(t.Context(), testPlans, false); err != nil {
		t.Fatal(err)
	}
	if err := b.gate.TakePush(t.Context(), 60, PlanPushed{Plan: version(hubPlan, 2, nil)}); !errors.As(err, &stale) || stale.Have < 2 {
		t.Errorf("%v", err)
	}
	b.push(PlanPushed{Plan: version(hubPlan, stale.Have+1, nil)})
	if got := ids(); !slices.Equal(got, both) {
		t.Errorf("on sale %v", got)
	}
}

func TestBatches(t *testing.T) {
	b := newHubBench(t, Options{RefusalTime: -1, Guessing: Guessing{PerDevice: 100}})
	b.push(BatchPushed{Batch: "jan", Plan: hubPlan, Keys: hubCodes("PART1AAA", "PART1BBB")})
	b.push(BatchPushed{Batch: "jan", Plan: hubPlan, Keys: hubCodes("PART2AAA")})
	b.push(BatchPushed{Batch: "old", Plan: hubPlan, Keys: hubCodes("OLDAAAAA"), Expires: noon.Add(-time.Hour)})
	if h := b.gate.Health(); h.Unused != 4 {
		t.Errorf("%d unused", h.Unused)
	}
	if c := b.gate.Vouchers(); len(c) != 2 || c[0].Batch != "jan" || c[0].Unused != 3 || c[0].Site != "" {
		t.Errorf("counts %+v", c)
	}
	b.redeem("part-2aaa", phone1)
	if _, err := b.gate.Redeem(t.Context(), Redemption{Code: "OLDAAAAA", Device: phone3}); !errors.Is(err, ErrExpiredCode) {
		t.Errorf("an old code: %v", err)
	}
	b.push(BatchGone{Batch: "jan"})
	for code, want := range map[string]error{"PART1AAA": ErrRevokedCode, "PART1BBB": ErrRevokedCode, "PART2AAA": ErrOtherDevice} {
		if _, err := b.gate.Redeem(t.Context(), Redemption{Code: code, Device: phone2}); !errors.Is(err, want) {
			t.Errorf("%s after the batch was revoked: %v, want %v", code, err, want)
		}
	}
	if st := b.gate.Standing(phone1); !st.Online {
		t.Error("a used code of a revoked batch was cut")
	}
	// The same part again brings nothing back.
	b.push(BatchPushed{Batch: "jan", Plan: hubPlan, Keys: hubCodes("PART1AAA")})
	if _, err := b.gate.Redeem(t.Context(), Redemption{Code: "PART1AAA", Device: phone2}); !errors.Is(err, ErrRevokedCode) {
		t.Errorf("a revoked code came back: %v", err)
	}
}

// unload saves all and has the archive alone know what ended.
func (b *bench) unload() {
	b.t.Helper()
	b.stop()
	b.start(b.gate.opts)
}

func (b *bench) grantsOf(s Source) (out []GrantID) {
	all := map[GrantID]Grant{}
	b.mu.Lock()
	for id, g := range b.grants {
		all[id] = g
	}
	b.mu.Unlock()
	b.gate.mu.RLock()
	defer b.gate.mu.RUnlock()
	for id, g := range b.gate.state.grants {
		all[id] = *g
	}
	for id, g := range all {
		if g.Source == s {
			out = append(out, id)
		}
	}
	return out
}

func TestGrantForADevice(t *testing.T) {
	b := newHubBench(t, quick)
	short := hubPlan
	short.Duration = time.Hour
	push := GrantPushed{Grant: "order-1", Plan: short, Device: phone1}
	b.push(push)
	st := b.gate.Standing(phone1)
	if !st.Online || st.Grant.Plan.ID != hubPlan.ID || st.Grant.TimeLeft != time.Hour {
		t.Fatalf("standing %+v", st)
	}
	if got := b.grantsOf(Source{SourceHub, "order-1"}); len(got) != 1 {
		t.Fatalf("grants %v", got)
	}
	// A second purchase waits behind the first.
	b.push(GrantPushed{Grant: "order-2", Plan: short, Device: phone1})
	if st := b.gate.Standing(phone1); len(st.Queue) != 1 || st.Queue[0].State != Banked {
		t.Fatalf("standing %+v", st)
	}
	b.pass(3 * time.Hour)
	b.pass(3 * time.Hour)
	b.finals()
	b.unload()
	if _, ok := b.gate.state.grants[1]; ok || len(b.gate.state.vouchers) != 0 {
		t.Fatal("what is over is still in memory")
	}
	b.push(push)
	if st := b.gate.Standing(phone1); st.Grant.Grant != 2 || len(st.Queue) != 0 {
		t.Errorf("a purchase that was used up came back: %+v", st)
	}
	if got := b.grantsOf(Source{SourceHub, "order-1"}); len(got) != 1 {
		t.Errorf("grants %v", got)
	}
	b.push(GrantGone{Grant: "order-1"})
	if bal, err := b.gate.Balance(1); err != nil || bal.State != Expired {
		t.Errorf("a grant that had ended was revoked: %+v %v", bal, err)
	}
}

// A customer of a NAS is not taken off it by what she buys.
func TestGrantForADeviceOfANAS(t *testing.T) {
	b, book := newNASBench(t)
	b.join(hubLink, 1)
	a := b.admit("ap", b.sell("hour"), phone1)
	b.report(start(a, "k"))
	book.take()
	b.push(GrantPushed{Grant: "g1", Plan: hubPlan, Device: phone1})
	if st := b.gate.Standing(phone1); st.NAS != "ap" || len(st.Queue) != 1 {
		t.Errorf("standing %+v", st)
	}
	b.push(GrantPushed{Grant: "g2", Plan: hubPlan, Device: phone2, NAS: "ap"})
	if st := b.gate.Standing(phone2); st.Online || st.Grant == nil || st.Grant.State != Banked {
		t.Errorf("standing %+v", st)
	}
	if e := book.take(); len(e) != 0 {
		t.Errorf("errands %+v", e)
	}
	// The NAS asks with what the portal gave.
	id := b.gate.Standing(phone2).Grant.Grant
	if _, err := b.gate.Admit(t.Context(), Login{NAS: "ap", Device: phone2, Grant: id}); err != nil {
		t.Error(err)
	}
}

func TestGrantWithACode(t *testing.T) {
	for _, where := range []string{"portal", "NAS"} {
		t.Run(where, func(t *testing.T) {
			b, _ := newNASBench(t)
			b.join(hubLink, 1)
			push := GrantPushed{Grant: "order-1", Plan: hubPlan, Key: hubKey.VoucherKey("CLAIM123")}
			b.push(push)
			if h, c := b.gate.Health(), b.gate.Vouchers(); h.Unused != 0 || len(c) != 0 {
				t.Errorf("a purchase counts as stock: %+v %+v", h, c)
			}
			enter := func(d MAC) error {
				if where == "NAS" {
					_, err := b.gate.Admit(t.Context(), Login{NAS: "ap", Device: d, Code: "claim-123"})
					return err
				}
				_, err := b.gate.Redeem(t.Context(), Redemption{Code: "claim-123", Device: d})
				return err
			}
			if err := enter(phone1); err != nil {
				t.Fatal(err)
			}
			ids := b.grantsOf(Source{SourceHub, "order-1"})
			if len(ids) != 1 || !b.gate.Standing(phone1).Online {
				t.Fatalf("grants %v", ids)
			}
			if err := enter(phone1); err != nil {
				t.Errorf("the code again: %v", err)
			}
			if where == "NAS" {
				if _, ok := b.gate.Readmit(Login{NAS: "ap", Device: phone1, Code: "claim-123"}); !ok {
					t.Error("a NAS that asks again is not answered at once")
				}
			}
			if err := enter(phone2); !errors.Is(err, ErrOtherDevice) {
				t.Errorf("the code on another phone: %v", err)
			}
			b.push(push)
			again := push
			again.Device = phone3
			b.push(again)
			if got := b.grantsOf(Source{SourceHub, "order-1"}); !slices.Equal(got, ids) {
				t.Errorf("grants %v", got)
			}
			if st := b.gate.Standing(phone3); st.Grant != nil {
				t.Errorf("another device got the purchase too: %+v", st)
			}
			b.pass(25 * time.Hour)
			b.pass(16 * time.Minute)
			b.finals()
			b.unload()
			b.push(again)
			if err := enter(phone1); !errors.Is(err, ErrUsedCode) {
				t.Errorf("the code when all is used up: %v", err)
			}
			if got := b.grantsOf(Source{SourceHub, "order-1"}); !slices.Equal(got, ids) {
				t.Errorf("grants %v", got)
			}
		})
	}
}

func TestGrantGone(t *testing.T) {
	b := newHubBench(t, quick)
	b.push(GrantPushed{Grant: "waits", Plan: hubPlan, Key: hubKey.VoucherKey("CLAIM123")})
	b.push(GrantPushed{Grant: "runs", Plan: hubPlan, Device: phone1})
	b.push(GrantGone{Grant: "waits"})
	b.push(GrantGone{Grant: "runs"})
	if _, err := b.gate.Redeem(t.Context(), Redemption{Code: "CLAIM123", Device: phone2}); !errors.Is(err, ErrRevokedCode) {
		t.Errorf("the code of a revoked purchase: %v", err)
	}
	if _, ok := b.path.order(phone1); ok || b.gate.Standing(phone1).Grant != nil {
		t.Error("a revoked grant still passes")
	}
	b.push(GrantPushed{Grant: "waits", Plan: hubPlan, Device: phone3})
	if st := b.gate.Standing(phone3); st.Grant != nil {
		t.Errorf("a revoked purchase came back: %+v", st)
	}
}

// A purchase whose code arrives after its device is still one.
func TestGrantGetsItsCodeLater(t *testing.T) {
	b := newHubBench(t, quick)
	push := GrantPushed{Grant: "g", Plan: hubPlan, Device: phone1}
	b.push(push)
	push.Key = hubKey.VoucherKey("CLAIM123")
	b.push(push)
	if _, err := b.gate.Redeem(t.Context(), Redemption{Code: "CLAIM123", Device: phone2}); !errors.Is(err, ErrOtherDevice) {
		t.Errorf("the code on another phone: %v", err)
	}
	if st := b.redeem("CLAIM123", phone1); len(st.Queue) != 0 {
		t.Errorf("standing %+v", st)
	}
	if got := b.grantsOf(Source{SourceHub, "g"}); len(got) != 1 {
		t.Errorf("grants %v", got)
	}
}

// A purchase can be revoked on the spot by its code, as any voucher.
func TestClaimCodeIsRevokedHere(t *testing.T) {
	b := newHubBench(t, quick)
	b.push(GrantPushed{Grant: "g", Plan: hubPlan, Key: hubKey.VoucherKey("CLAIM123")})
	if err := b.gate.RevokeVoucher(t.Context(), "claim123"); err != nil {
		t.Fatal(err)
	}
	b.push(GrantPushed{Grant: "g", Plan: hubPlan, Device: phone1})
	if st := b.gate.Standing(phone1); st.Grant != nil {
		t.Errorf("%+v", st)
	}
	list, err := b.gate.Outbox(0, 10)
	if err != nil || len(list) != 1 || list[0].Kind != EntryRevoked || list[0].Source != (Source{SourceHub, "g"}) || list[0].HubCode {
		t.Errorf("outbox %+v %v", list, err)
	}
}

// The same paper voucher can be known twice: imported by the reseller and pushed
// by the hub. It still is one.
func TestCodeUnderBothKeys(t *testing.T) {
	b := newBench(t, Options{RefusalTime: -1, Guessing: Guessing{PerDevice: 100}})
	if err := b.gate.AddVouchers(t.Context(), Batch{Plan: "hour"}, []string{"USED0001", "BOTH0001", "BOTH0002"}); err != nil {
		t.Fatal(err)
	}
	b.redeem("USED0001", phone1)
	b.join(hubLink, 1)
	b.push(BatchPushed{Batch: "b", Plan: hubPlan, Keys: hubCodes("USED0001", "BOTH0001", "BOTH0002", "HUBS0001")})
	try := func(code string, d MAC) (Standing, error) {
		return b.gate.Redeem(t.Context(), Redemption{Code: code, Device: d})
	}
	if _, err := try("USED0001", phone2); !errors.Is(err, ErrOtherDevice) {
		t.Errorf("a code used under one key was used again under the other: %v", err)
	}
	if st, err := try("BOTH0001", phone2); err != nil || st.Grant.Plan.ID != hubPlan.ID {
		t.Errorf("the hub's word does not count: %+v %v", st.Grant, err)
	}
	if _, err := try("BOTH0001", phone3); !errors.Is(err, ErrOtherDevice) {
		t.Errorf("one paper voucher gave two grants: %v", err)
	}
	b.push(BatchGone{Batch: "b"})
	if _, err := try("BOTH0002", phone3); !errors.Is(err, ErrRevokedCode) {
		t.Errorf("the hub's revocation does not count: %v", err)
	}
	if err := b.gate.AddVouchers(t.Context(), Batch{Plan: "hour"}, []string{"hubs-0001"}); !errors.Is(err, ErrCodeConflict) {
		t.Errorf("importing what the hub has brought: %v", err)
	}
	b.pass(25 * time.Hour)
	b.finals()
	b.unload()
	for _, code := range []string{"USED0001", "BOTH0001"} {
		if _, err := try(code, phone3); !errors.Is(err, ErrUsedCode) {
			t.Errorf("%s when it is used up: %v", code, err)
		}
	}
}

// Codes of a hub count while the zone is joined to it; what they became counts
// for ever.
func TestCodesOfAHubThatIsLeft(t *testing.T) {
	for name, leave := range map[string]func(*bench) error{
		"left":    func(b *bench) error { return b.gate.LeaveHub(t.Context()) },
		"revoked": func(b *bench) error { return b.gate.TakePush(t.Context(), 70, HubGone{}) },
		"joined to another": func(b *bench) error {
			return b.gate.JoinHub(t.Context(), HubLink{Hub: "https://other.example", Site: "site-1", Gateway: "g", CodeKey: ZoneKey{'o'}}, 5)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Options{RefusalTime: -1, Guessing: Guessing{PerDevice: 100}})
			b.join(hubLink, 1)
			fresh, err := NewCode(strings.NewReader("abcdefg"))
			if err != nil {
				t.Fatal(err)
			}
			b.push(BatchPushed{Batch: "b", Plan: hubPlan, Keys: hubCodes("RUNS0001", fresh)})
			b.push(GrantPushed{Grant: "g", Plan: hubPlan, Key: hubKey.VoucherKey("CLAIM123")})
			b.push(SettingPushed{SettingMessage, "{}"})
			b.redeem("RUNS0001", phone1)
			if err := leave(b); err != nil {
				t.Fatal(err)
			}
			if _, ok := b.gate.Setting(SettingMessage); ok {
				t.Error("a setting of the hub stays")
			}
			if _, err := b.gate.Redeem(t.Context(), Redemption{Code: fresh, Device: phone2}); !errors.Is(err, ErrForeignCode) {
				t.Errorf("an unused code: %v", err)
			}
			if _, err := b.gate.Redeem(t.Context(), Redemption{Code: "CLAIM123", Device: phone2}); !errors.Is(err, ErrWrongCode) {
				t.Errorf("the code of a purchase: %v", err)
			}
			if st := b.redeem("RUNS0001", phone1); !st.Online {
				t.Error("a running grant does not take its code")
			}
			if _, err := b.gate.Admit(t.Context(), Login{NAS: "ap", Device: phone1, Code: "RUNS0001"}); err != nil {
				t.Errorf("a running grant at a NAS: %v", err)
			}
			// Back at the hub they are good again.
			l := hubLink
			l.Applied = 80
			b.join(l, 1)
			if st := b.redeem(fresh, phone2); !st.Online {
				t.Error("an unused code after coming back is not good")
			}
			if st := b.redeem("CLAIM123", phone3); !st.Online {
				t.Error("a purchase after coming back is not good")
			}
		})
	}
}

func TestSettings(t *testing.T) {
	b := newHubBench(t, quick)
	value := func(want string) {
		t.Helper()
		if got, ok := b.gate.Setting(SettingLink); got != want || ok != (want != "") {
			t.Errorf("%q %v, want %q", got, ok, want)
		}
	}
	value("")
	b.push(SettingPushed{SettingLink, `{"down":1}`})
	value(`{"down":1}`)
	b.unload()
	b.push(SettingPushed{SettingLink, `{"down":2}`})
	b.kill()
	b.start(quick)
	value(`{"down":2}`)
	if err := b.gate.SetSetting(t.Context(), SettingLink, ""); err != nil {
		t.Fatal(err)
	}
	value("")
	b.unload()
	value("")
	if err := b.gate.SetSetting(t.Context(), "root", "x"); !errors.Is(err, ErrNoSuchSetting) {
		t.Error(err)
	}
}

func TestJoiningNeedsAHub(t *testing.T) {
	b := newBench(t, quick)
	for _, l := range []HubLink{
		{Site: "s", Gateway: "g", CodeKey: hubKey}, {Hub: "h", Gateway: "g", CodeKey: hubKey},
		{Hub: "h", Site: "s", CodeKey: hubKey}, {Hub: "h", Site: "s", Gateway: "g"},
	} {
		if err := b.gate.JoinHub(t.Context(), l, 1); err == nil {
			t.Errorf("joined %+v", l)
		}
	}
	if err := b.gate.JoinHub(t.Context(), hubLink, 0); err == nil {
		t.Error("joined with entry 0")
	}
	if l, ok := b.gate.Hub(); ok {
		t.Errorf("joined to %+v", l)
	}
	if err := b.gate.TakePush(t.Context(), 1, PlanPushed{Plan: hubPlan}); !errors.Is(err, ErrNoHub) {
		t.Error(err)
	}
	if err := b.gate.Delivered(t.Context(), 0); !errors.Is(err, ErrNoHub) {
		t.Error(err)
	}
	if err := b.gate.LeaveHub(t.Context()); err != nil {
		t.Error(err)
	}
	records := b.durable()
	b.join(hubLink, 1)
	b.join(hubLink, 1)
	if n := b.durable() - records; n != 1 {
		t.Errorf("%d records to join twice", n)
	}
}

// A push that cannot be written down has not happened, and is not acknowledged.
func TestPushesWithoutAJournal(t *testing.T) {
	b := newHubBench(t, quick)
	b.push(PlanPushed{Plan: hubPlan})
	b.redeem(b.sell("hour"), phone2)
	before := b.content()
	list, err := b.gate.Outbox(0, 10)
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	b.setFail(errors.New("disk full"))
	for _, c := range []HubChange{
		PlanPushed{Plan: version(hubPlan, 2, faster), Running: true}, PlanGone{hubPlan.ID, 2},
		BatchPushed{Batch: "b", Plan: hubPlan, Keys: hubCodes("CODE0001")}, GrantPushed{Grant: "g", Plan: hubPlan, Device: phone1},
		GrantGone{"g"}, SettingPushed{SettingBrand, "{}"}, PlanPushed{}, HubGone{},
	} {
		if err := b.gate.TakePush(t.Context(), 5, c); !errors.Is(err, ErrNotDurable) {
			t.Errorf("%T: %v", c, err)
		}
	}
	for name, err := range map[string]error{
		"delivered": b.gate.Delivered(t.Context(), 1), "setting": b.gate.SetSetting(t.Context(), SettingLink, "x"),
		"join": b.gate.JoinHub(t.Context(), hubLink, 77), "leave": b.gate.LeaveHub(t.Context()),
	} {
		if !errors.Is(err, ErrNotDurable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := b.content(); after != before {
		t.Errorf("something happened:\nbefore %s\nafter  %s", before, after)
	}
	if _, err := b.gate.Outbox(0, 10); !errors.Is(err, ErrNotDurable) {
		t.Errorf("the outbox gives what a power cut could take back: %v", err)
	}
	b.setFail(nil)
	b.kill()
	b.start(quick)
	for i, c := range []HubChange{PlanPushed{Plan: version(hubPlan, 2, faster), Running: true}, GrantPushed{Grant: "g", Plan: hubPlan, Device: phone1}} {
		if err := b.gate.TakePush(t.Context(), uint64(5+i), c); err != nil {
			t.Errorf("%T later: %v", c, err)
		}
	}
	if st := b.gate.Standing(phone1); !st.Online {
		t.Errorf("standing %+v", st)
	}
}

// A site that got another key is another one: the same plan goes over to it. When
// that cannot be written down the plan is what it was.
func TestPlanGoesOverToAnotherSite(t *testing.T) {
	b := newHubBench(t, quick)
	b.push(PlanPushed{Plan: hubPlan})
	second := HubLink{Hub: hubLink.Hub, Site: "site-2", Gateway: "gw-9", CodeKey: ZoneKey{2}}
	b.join(second, 1)
	owner := func() string {
		b.gate.mu.RLock()
		defer b.gate.mu.RUnlock()
		p, _ := b.gate.state.plan(hubPlan.Ref())
		return p.Hub
	}
	b.setFail(errors.New("disk full"))
	if err := b.gate.TakePush(t.Context(), 1, PlanPushed{Plan: hubPlan}); !errors.Is(err, ErrNotDurable) {
		t.Fatal(err)
	}
	if got := owner(); got != "site-1" {
		t.Errorf("the plan is of %q", got)
	}
	b.setFail(nil)
	b.kill()
	b.start(quick)
	b.push(PlanPushed{Plan: hubPlan})
	if got := owner(); got != "site-2" {
		t.Errorf("the plan is of %q", got)
	}
}
