package bench

import (
	"context"
	"fmt"
	"time"

	"zonegate/internal/lab"
)

// settle is how long flows get to fill their queues, and the daemon to share
// the committed rates out anew.
const settle = 5 * time.Second

// window is how long a rate is measured.
const window = 10 * time.Second

// kbps is a decimal rate for people.
func kbps(bit float64) string { return fmt.Sprintf("%.3f Mbit/s", bit/1e6) }

func within(got, want, percent float64) bool {
	return got >= want*(1-percent/100) && got <= want*(1+percent/100)
}

func phoneNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("phone%d", i+1)
	}
	return names
}

// rates measures every phone's downloads, or its uploads, at the same time.
func rates(ctx context.Context, m *meter, phones []string, down bool) ([]float64, error) {
	read := m.down
	if !down {
		read = m.upOf
	}
	first := make([]sample, len(phones))
	var err error
	for i, p := range phones {
		if first[i], err = takeSample(read, p); err != nil {
			return nil, err
		}
	}
	if err := wait(ctx, window); err != nil {
		return nil, err
	}
	out := make([]float64, len(phones))
	for i, p := range phones {
		last, err := takeSample(read, p)
		if err != nil {
			return nil, err
		}
		out[i] = rate(first[i], last)
	}
	return out, nil
}

// saturate fills one direction of every phone, over IPv6 because its source
// addresses tell the phones apart at the internet.
func saturate(ctx context.Context, l *lab.Lab, phones []string, down bool) *load {
	t, ctx := newLoad(ctx)
	for _, p := range phones {
		if down {
			t.tcpDown(ctx, l, p, ip6, 2)
		} else {
			t.tcpUp(ctx, l, p, ip6, 2)
		}
	}
	return t
}

func word(down bool) string {
	if down {
		return "down"
	}
	return "up"
}

// runMIR gives five phones five maximum rates and fills them all.
func runMIR(ctx context.Context, b *bench) error {
	want := []uint64{500, 2000, 10000, 50000, 100000} // kbit/s
	var plans []lab.Plan
	for _, k := range want {
		plans = append(plans, lab.Plan{
			ID: fmt.Sprintf("mir%d", k), Name: "mir", PriceFCFA: 100, DurationHours: 24, MIRKbps: k, DevicesMax: 1})
	}
	phones := phoneNames(len(want))
	opts := lab.Options{Phones: len(want), Plans: plans, LinkDown: "1G", LinkUp: "1G"}
	return b.withLab(ctx, opts, func(l *lab.Lab) error {
		m, err := newMeter(l, phones...)
		if err != nil {
			return err
		}
		for i, p := range phones {
			if err := buy(ctx, l, p, plans[i].ID); err != nil {
				return err
			}
		}
		for _, down := range []bool{true, false} {
			t := saturate(ctx, l, phones, down)
			err := wait(ctx, settle)
			var got []float64
			if err == nil {
				got, err = rates(ctx, m, phones, down)
			}
			t.stop()
			if err != nil {
				return err
			}
			for i, k := range want {
				bit := float64(k) * 1000
				b.add(fmt.Sprintf("MIR %g Mbit/s %s, 10 s", bit/1e6, word(down)), "within 3 %",
					fmt.Sprintf("%s (%+.1f %%)", kbps(got[i]), (got[i]/bit-1)*100), within(got[i], bit, 3))
			}
		}
		return nil
	})
}

// runOversell sells three times the link as committed rates.
func runOversell(ctx context.Context, b *bench) error {
	const link, phonesN = 10e6, 6
	plan := lab.Plan{ID: "big", Name: "big", PriceFCFA: 100, DurationHours: 24, CIRKbps: 5000, MIRKbps: 10000, DevicesMax: 1}
	scaled := 5e6 * 0.95 * link / (phonesN * 5e6)
	phones := phoneNames(phonesN)
	opts := lab.Options{Phones: phonesN, Plans: []lab.Plan{plan}, LinkDown: "10M", LinkUp: "10M"}
	return b.withLab(ctx, opts, func(l *lab.Lab) error {
		m, err := newMeter(l, phones...)
		if err != nil {
			return err
		}
		for _, p := range phones {
			if err := buy(ctx, l, p, plan.ID); err != nil {
				return err
			}
		}
		for _, down := range []bool{true, false} {
			t := saturate(ctx, l, phones, down)
			err := wait(ctx, settle)
			var got []float64
			if err == nil {
				got, err = rates(ctx, m, phones, down)
			}
			t.stop()
			if err != nil {
				return err
			}
			total, least := 0.0, got[0]
			for _, g := range got {
				total += g
				least = min(least, g)
			}
			b.add("sum of CIR 3 x link, total "+word(down), "at most 102 % of the link",
				fmt.Sprintf("%.1f %%", total/link*100), total <= link*1.02)
			b.add("sum of CIR 3 x link, slowest customer "+word(down), "at least 95 % of the scaled CIR",
				fmt.Sprintf("%.1f %%", least/scaled*100), least >= scaled*0.95)
		}
		return nil
	})
}

// runCIR shares a link of 6 Mbit/s between committed rates of 2 and 1 Mbit/s.
func runCIR(ctx context.Context, b *bench) error {
	plans := []lab.Plan{
		{ID: "two", Name: "two", PriceFCFA: 100, DurationHours: 24, CIRKbps: 2000, MIRKbps: 6000, DevicesMax: 1},
		{ID: "one", Name: "one", PriceFCFA: 100, DurationHours: 24, CIRKbps: 1000, MIRKbps: 6000, DevicesMax: 1},
	}
	phones := phoneNames(2)
	opts := lab.Options{Phones: 2, Plans: plans, LinkDown: "6M", LinkUp: "6M"}
	return b.withLab(ctx, opts, func(l *lab.Lab) error {
		m, err := newMeter(l, phones...)
		if err != nil {
			return err
		}
		for i, p := range phones {
			if err := buy(ctx, l, p, plans[i].ID); err != nil {
				return err
			}
		}
		for _, down := range []bool{true, false} {
			t := saturate(ctx, l, phones, down)
			err := wait(ctx, settle)
			var got []float64
			if err == nil {
				got, err = rates(ctx, m, phones, down)
			}
			t.stop()
			if err != nil {
				return err
			}
			ratio := got[0] / got[1]
			b.add("CIR 2 and 1 Mbit/s on a 6 Mbit/s link, "+word(down), "2:1 within 5 %",
				fmt.Sprintf("%.3f:1 (%s, %s)", ratio, kbps(got[0]), kbps(got[1])), within(ratio, 2, 5))
		}
		return nil
	})
}
