package mikrotik_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/internal/store"
	"zonegate/shaper/mikrotik"
	"zonegate/shaper/mikrotik/simros"
)

// A shop is a whole gateway beside a simulated router.
type shop struct {
	*zone
	report time.Duration
	dir    string
	router *mikrotik.Router
	gate   *zonegate.Gate
	end    func() error
	codes  []string
}

// The plans of a shop: with a committed rate, without, and one that is soon
// used up.
const smallCap = 600_000

func shopPlans() []zonegate.Plan {
	plan := zonegate.Plan{
		ID: "jour", Name: "Jour", Price: zonegate.Money{Amount: 500, Currency: "XOF"}, Duration: 24 * time.Hour,
		DataCap: 100e6, Rate: committed(zonegate.Order{}).Rate, DevicesMax: 1,
	}
	shared, small := plan, plan
	shared.ID, shared.Name, shared.Rate = "simple", "Simple", order(1, 0).Rate
	small.ID, small.Name, small.DataCap = "petit", "Petit", smallCap
	return []zonegate.Plan{plan, shared, small}
}

// newShop has as many vouchers as devices, and looks at the counters that often.
// The vouchers are of the plans in turn, as many of them as are given.
func newShop(t *testing.T, o simros.Options, devices int, report time.Duration, plans ...zonegate.Plan) *shop {
	t.Helper()
	s := &shop{zone: newEmptyZone(t, o), report: report, dir: t.TempDir()}
	for i := range devices {
		s.appear(i)
	}
	if err := s.begin(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.end(); err != nil {
			t.Errorf("ending: %v", err)
		}
	})
	if err := s.gate.SetPlans(t.Context(), plans, false); err != nil {
		t.Fatal(err)
	}
	s.codes = make([]string, devices)
	for n, p := range plans {
		codes, err := s.gate.CreateVouchers(t.Context(), zonegate.Batch{Name: p.ID, Plan: p.ID}, devices)
		if err != nil {
			t.Fatal(err)
		}
		for i := n; i < devices; i += len(plans) {
			s.codes[i] = codes[i]
		}
	}
	return s
}

// begin starts the gateway; what end ends.
func (s *shop) begin() error {
	st, err := store.Open(store.Options{Dir: s.dir, RAMDir: s.dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	c := s.config()
	c.Report, c.Site = s.report, "the shop"
	s.router = s.open(c)
	s.gate = zonegate.NewGate(st.State(), st, st, s.router, c.Clock, zonegate.Options{
		RefusalTime: -1, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	s.router.ReportTo(s.gate)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.gate.Run(ctx) }()
	kill := s.run(s.router)
	s.end = func() error {
		cancel()
		err := <-done
		kill()
		return errors.Join(err, st.Close())
	}
	return nil
}

func (s *shop) redeem(t *testing.T, i int) {
	t.Helper()
	if _, err := s.gate.Redeem(t.Context(), zonegate.Redemption{Code: s.codes[i], Device: mac(i)}); err != nil {
		t.Fatal(err)
	}
}

// TestSalesGoOnWithoutTheRouter sells while the router is off, and reboots it
// between two sales: no grant is lost and no octet counted twice.
func TestSalesGoOnWithoutTheRouter(t *testing.T) {
	s := newShop(t, simros.Options{}, 3, 10*time.Millisecond, shopPlans()[0])
	s.redeem(t, 0)
	if !s.Passes(0) {
		t.Fatal("a customer does not pass")
	}
	s.Transfer(0, 100_000, 900_000)
	s.look()
	s.sim.PowerOff()
	began := time.Now()
	s.redeem(t, 1)
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("a sale without the router took %v", d)
	}
	if st := s.gate.Standing(mac(1)); !st.Online || !st.Pending {
		t.Errorf("a customer waits for the router, and it says %+v", st)
	}
	s.sim.PowerOn()
	for i := range 2 {
		s.appear(i)
	}
	await(t, "both customers to pass", func() bool {
		s.clock.Advance(100 * time.Millisecond) // the gate tries again after 5 s
		return s.Passes(0) && s.Passes(1)
	})
	await(t, "the gate to know", func() bool { s.clock.Advance(100 * time.Millisecond); return !s.gate.Standing(mac(1)).Pending })
	s.redeem(t, 2)
	for i := range 3 {
		s.Transfer(i, 0, 200_000)
	}
	await(t, "everything to be accounted", func() bool {
		s.look()
		var sum zonegate.Octets
		for i := range 3 {
			if st := s.gate.Standing(mac(i)); st.Grant != nil {
				sum.Up += st.Grant.Used.Up
				sum.Down += st.Grant.Used.Down
			}
		}
		return sum == s.Delivered()
	})
	if n := len(s.mine("/ip/hotspot/user")); n != 3 {
		t.Errorf("%d users for 3 grants", n)
	}
}

// TestSalesThroughTrouble sells while everything goes wrong with the router, in
// any order: it is started again, switched off, upgraded, its connections are
// cut in the middle of sentences or of what they were told to do, and the
// gateway is started again as well. In the end every voucher sold is one grant,
// whose device passes unless it has had all its octets, and what is charged was
// delivered: nothing twice, and nothing left out but what passed between the
// last look at the counters and a power cut.
func TestSalesThroughTrouble(t *testing.T) {
	const seeds, together, devices = 50, 10, 6
	for first := uint64(0); first < seeds; first += together {
		t.Run(fmt.Sprintf("seeds %d to %d", first, first+together-1), func(t *testing.T) {
			var all sync.WaitGroup
			for seed := first; seed < first+together; seed++ {
				rng := rand.New(rand.NewPCG(seed, 21))
				s := newShop(t, simros.Options{
					Version:          []string{"6.49.18", "7.16.1", "7.20"}[rng.IntN(3)],
					LiveUserCounters: rng.IntN(2) == 0, KeepUserCounters: rng.IntN(2) == 0, RemoveEndsAll: rng.IntN(4) == 0,
				}, devices, 100*time.Millisecond, shopPlans()...)
				all.Go(func() {
					if err := s.live(t.Context(), rng, devices); err != nil {
						t.Errorf("seed %d: %v", seed, err)
					}
				})
			}
			all.Wait()
		})
	}
}

// live is one run of it.
func (s *shop) live(ctx context.Context, rng *rand.Rand, devices int) error {
	var (
		sold      = map[int]bool{}
		delivered = make([]uint64, devices)
		safe      = make([]uint64, devices) // as of the last look that came through
		lost      = make([]uint64, devices) // at most, in power cuts
		off       bool
		history   []string
	)
	fail := func(format string, args ...any) error {
		return fmt.Errorf(format+"; after %q", append(args, history)...)
	}
	cut := func() {
		for i := range devices {
			lost[i] += delivered[i] - safe[i]
			safe[i] = delivered[i]
		}
	}
	back := func() error {
		for i := range devices {
			if err := s.sim.Appear(macText(i), ip(i)); err != nil {
				return err
			}
		}
		return nil
	}
	commands := []string{"/ip/hotspot/user/add", "/ip/hotspot/user/remove", "/ip/hotspot/active/login", "/ip/hotspot/active/remove", "/queue/simple/add"}
	for range 30 {
		i := rng.IntN(devices)
		var err error
		switch n := rng.IntN(21); {
		case n < 6 && !sold[i]:
			history = append(history, fmt.Sprint("sell ", i))
			if _, err := s.gate.Redeem(ctx, zonegate.Redemption{Code: s.codes[i], Device: mac(i)}); err != nil {
				return fail("selling to %d: %w", i, err)
			}
			sold[i] = true
		case n < 10:
			for range rng.IntN(60) {
				u, d := s.sim.Traffic(macText(i), chunk/4, 3*chunk/4)
				delivered[i] += u + d
			}
			history = append(history, fmt.Sprint("traffic of ", i))
		case n < 12:
			history = append(history, "look")
			if _, err := s.router.Look(ctx); err == nil {
				copy(safe, delivered)
			}
		case n == 12 && !off:
			history = append(history, "reboot")
			cut()
			s.sim.Reboot()
			err = back()
		case n == 13 && !off:
			history = append(history, "off")
			cut()
			s.sim.PowerOff()
			off = true
		case n == 14 && off:
			history = append(history, "on")
			s.sim.PowerOn()
			off = false
			err = back()
		case n == 15:
			history = append(history, "disconnect")
			s.sim.Disconnect()
		case n == 16:
			after := 1 + rng.Uint32N(3000)
			history = append(history, fmt.Sprint("cut after ", after))
			s.sim.DropAfter(after)
		case n == 17:
			c := commands[rng.IntN(len(commands))]
			history = append(history, "lose the reply to "+c)
			s.sim.LoseReply(c, 1)
		case n == 18 && !off:
			history = append(history, "upgrade")
			cut()
			s.sim.Upgrade("7.20.4")
			err = back()
		case n == 19:
			history = append(history, "start the gateway again")
			for i := range devices {
				// What no journal has may be gone with a power cut that follows.
				if st := s.gate.Standing(mac(i)); st.Grant != nil {
					safe[i] = min(safe[i], st.Grant.Used.Total())
				}
			}
			if off {
				cut()
			}
			if err = s.end(); err == nil {
				err = s.begin()
			}
		case n == 20:
			s.clock.Advance(time.Duration(rng.IntN(10)) * time.Second)
		}
		if err != nil {
			return fail("%w", err)
		}
	}
	if off {
		s.sim.PowerOn()
	}
	for i := range devices {
		if !sold[i] {
			if _, err := s.gate.Redeem(ctx, zonegate.Redemption{Code: s.codes[i], Device: mac(i)}); err != nil {
				return fail("selling to %d: %w", i, err)
			}
		}
	}
	if err := back(); err != nil {
		return fail("%w", err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		s.clock.Advance(200 * time.Millisecond) // the gate tries again after 5 s
		err := s.settled(ctx, delivered, lost)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fail("%w", err)
		}
	}
}

// settled says what is not as it should be in the end.
func (s *shop) settled(ctx context.Context, delivered, lost []uint64) error {
	if _, err := s.router.Look(ctx); err != nil {
		return err
	}
	online := map[string]bool{}
	for _, a := range s.sim.Print("/ip/hotspot/active") {
		online[a["mac-address"]] = true
	}
	users, queues := 0, 1
	for i, d := range delivered {
		st := s.gate.Standing(mac(i))
		small := i%3 == 2
		if small && st.Grant == nil {
			if most := smallCap + chunk + lost[i]; d > most || d+zonegate.SpentBelow < smallCap {
				return fmt.Errorf("device %d: had %d of %d, with %d lost", i, d, smallCap, lost[i])
			}
			if online[macText(i)] {
				return fmt.Errorf("device %d passes, and has used up what it had", i)
			}
			continue
		}
		users++
		if i%3 != 1 {
			queues++
		}
		switch {
		case !online[macText(i)]:
			return fmt.Errorf("device %d does not pass", i)
		case st.Grant == nil || len(st.Queue) > 0 || !st.Online || st.Pending:
			return fmt.Errorf("device %d: %+v", i, st)
		case st.Grant.Used.Total() > d:
			return fmt.Errorf("device %d: charged %d of %d", i, st.Grant.Used.Total(), d)
		case st.Grant.Used.Total()+lost[i] < d:
			return fmt.Errorf("device %d: charged %d and at most %d lost, of %d", i, st.Grant.Used.Total(), lost[i], d)
		}
	}
	if u, q := len(s.mine("/ip/hotspot/user")), len(s.mine("/queue/simple")); u != users || q != queues {
		return fmt.Errorf("%d users and %d queues for %d grants", u, q, users)
	}
	return nil
}
