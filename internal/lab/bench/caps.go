package bench

import (
	"context"
	"fmt"
	"math"
	"time"

	"zonegate/internal/lab"
)

// shortAllowed is how much of a cap may be left when it counts as spent.
const shortAllowed = 64 << 10

// quiet waits until a load has brought nothing more to the phone for three
// seconds, and returns what it brought since the first reading.
func quiet(ctx context.Context, m *meter, phone string, since tally, limit time.Duration) (tally, error) {
	deadline := time.Now().Add(limit)
	var last tally
	still := time.Now()
	for {
		now, err := m.total(phone)
		if err != nil {
			return tally{}, err
		}
		now = now.minus(since)
		if now != last {
			last, still = now, time.Now()
		}
		if last.bytes > 0 && time.Since(still) > 3*time.Second {
			return last, nil
		}
		if time.Now().After(deadline) {
			return last, fmt.Errorf("the cap did not end the session: %d bytes after %s", last.bytes, limit)
		}
		if err := wait(ctx, 200*time.Millisecond); err != nil {
			return tally{}, err
		}
	}
}

// A mix is traffic of some kind.
type mix struct {
	name string
	run  func(ctx context.Context, t *load, l *lab.Lab, phone string) error
}

// mixes for a maximum rate in bit/s.
func mixes(mir uint64) []mix {
	return []mix{
		{"TCP down", func(ctx context.Context, t *load, l *lab.Lab, p string) error {
			t.tcpDown(ctx, l, p, ip4, 4)
			return nil
		}},
		{"TCP up", func(ctx context.Context, t *load, l *lab.Lab, p string) error {
			t.tcpUp(ctx, l, p, ip4, 4)
			return nil
		}},
		{"UDP down at 5 x MIR", func(ctx context.Context, t *load, l *lab.Lab, p string) error {
			return t.udpDown(ctx, l, p, ip4, 5*mir)
		}},
		{"TCP and UDP, up and down, IPv4 and IPv6 together", func(ctx context.Context, t *load, l *lab.Lab, p string) error {
			t.tcpDown(ctx, l, p, ip4, 2)
			t.tcpDown(ctx, l, p, ip6, 2)
			t.tcpUp(ctx, l, p, ip4, 2)
			t.tcpUp(ctx, l, p, ip6, 2)
			t.udpUp(ctx, l, p, ip6, mir)
			return t.udpDown(ctx, l, p, ip6, mir)
		}},
	}
}

// runCap spends a cap in different ways and counts what came through.
func runCap(ctx context.Context, b *bench) error {
	const limit, mir = 20e6, 20e6
	plan := lab.Plan{ID: "cap", Name: "cap", PriceFCFA: 100, DurationHours: 24, DataLimitMB: limit / 1e6, MIRKbps: mir / 1e3, DevicesMax: 1}
	kinds := mixes(mir)
	phones := phoneNames(len(kinds))
	return b.withLab(ctx, lab.Options{Phones: len(kinds), Plans: []lab.Plan{plan}}, func(l *lab.Lab) error {
		m, err := newMeter(l, phones...)
		if err != nil {
			return err
		}
		for i, kind := range kinds {
			before, err := m.total(phones[i])
			if err != nil {
				return err
			}
			if err := buy(ctx, l, phones[i], plan.ID); err != nil {
				return err
			}
			t, loadCtx := newLoad(ctx)
			err = kind.run(loadCtx, t, l, phones[i])
			var got tally
			if err == nil {
				got, err = quiet(ctx, m, phones[i], before, time.Minute)
			}
			t.stop()
			if err != nil {
				return err
			}
			over := int64(got.bytes) - limit
			measured := fmt.Sprintf("%d over", over)
			if over <= 0 {
				measured = fmt.Sprintf("0 over, %d short", -over)
			}
			b.add("20 MB cap, "+kind.name, fmt.Sprintf("0 bytes over, at most %d short", shortAllowed),
				measured, over <= 0 && -over <= shortAllowed)
		}
		return nil
	})
}

// runCharged compares what the daemon charges with what the wire carried.
func runCharged(ctx context.Context, b *bench) error {
	const mir = 10e6
	plan := lab.Plan{ID: "open", Name: "open", PriceFCFA: 100, DurationHours: 24, MIRKbps: mir / 1e3, DevicesMax: 1}
	kinds := []struct {
		mix
		percent float64
	}{
		{mix{"TCP up and down, IPv4 and IPv6", func(ctx context.Context, t *load, l *lab.Lab, p string) error {
			t.tcpDown(ctx, l, p, ip4, 2)
			t.tcpUp(ctx, l, p, ip6, 2)
			return nil
		}}, 1},
		{mix{"UDP flood at 5 x MIR, up and down", func(ctx context.Context, t *load, l *lab.Lab, p string) error {
			t.udpUp(ctx, l, p, ip4, 5*mir)
			return t.udpDown(ctx, l, p, ip4, 5*mir)
		}}, 2},
	}
	phones := phoneNames(len(kinds))
	return b.withLab(ctx, lab.Options{Phones: len(kinds), Plans: []lab.Plan{plan}}, func(l *lab.Lab) error {
		m, err := newMeter(l, phones...)
		if err != nil {
			return err
		}
		for i, kind := range kinds {
			if err := buy(ctx, l, phones[i], plan.ID); err != nil {
				return err
			}
			chargedBefore, err := charged(ctx, l, phones[i])
			if err != nil {
				return err
			}
			before, err := m.total(phones[i])
			if err != nil {
				return err
			}
			t, loadCtx := newLoad(ctx)
			err = kind.run(loadCtx, t, l, phones[i])
			if err == nil {
				err = wait(ctx, window)
			}
			t.stop()
			if err != nil {
				return err
			}
			got, err := quiet(ctx, m, phones[i], before, time.Minute)
			if err != nil {
				return err
			}
			after, err := charged(ctx, l, phones[i])
			if err != nil {
				return err
			}
			off := (float64(after-chargedBefore)/float64(got.bytes) - 1) * 100
			b.add("charged against delivered, "+kind.name, fmt.Sprintf("within %g %%", kind.percent),
				fmt.Sprintf("%+.2f %% (%d charged, %d delivered)", off, after-chargedBefore, got.bytes),
				math.Abs(off) <= kind.percent)
		}
		return nil
	})
}

// runTopUp spends a cap, keeps hammering for a minute, buys again and counts
// what the second purchase was good for.
func runTopUp(ctx context.Context, b *bench) error {
	const limit, mir = 100e6, 100e6
	plan := lab.Plan{ID: "cap", Name: "cap", PriceFCFA: 100, DurationHours: 24, DataLimitMB: limit / 1e6, MIRKbps: mir / 1e3, DevicesMax: 1}
	return b.withLab(ctx, lab.Options{Phones: 1, Plans: []lab.Plan{plan}, LinkDown: "1G", LinkUp: "1G"}, func(l *lab.Lab) error {
		m, err := newMeter(l, "phone1")
		if err != nil {
			return err
		}
		if err := buy(ctx, l, "phone1", plan.ID); err != nil {
			return err
		}
		t, loadCtx := newLoad(ctx)
		defer t.stop()
		t.tcpDown(loadCtx, l, "phone1", ip4, 4)
		t.udpUp(loadCtx, l, "phone1", ip4, 20e6)
		if _, err := quiet(ctx, m, "phone1", tally{}, time.Minute); err != nil {
			return err
		}
		b.say("  the cap is spent; hammering for a minute")
		if err := wait(ctx, time.Minute); err != nil {
			return err
		}
		before, err := m.total("phone1")
		if err != nil {
			return err
		}
		if err := buy(ctx, l, "phone1", plan.ID); err != nil {
			return err
		}
		got, err := quiet(ctx, m, "phone1", before, time.Minute)
		if err != nil {
			return err
		}
		usable := float64(got.bytes) / limit * 100
		b.add("100 MB bought after a minute of hammering at a spent cap", "at least 99.9 % usable, never more than 100 %",
			fmt.Sprintf("%.3f %%", usable), usable >= 99.9 && usable <= 100)
		return nil
	})
}
