package kernel_test

import (
	"testing"
	"time"

	"zonegate"
)

// measure returns what every phone gets in a window, in Mbit/s of layer 3.
func (z *zone) measure(window time.Duration) []float64 {
	before := make([]uint64, len(z.phones))
	for i, p := range z.phones {
		before[i] = p.wire()
	}
	start := time.Now()
	time.Sleep(window)
	took := time.Since(start).Seconds()
	rates := make([]float64, len(z.phones))
	for i, p := range z.phones {
		rates[i] = float64(p.wire()-before[i]) * 8 / 1e6 / took
	}
	return rates
}

// TestShares has two customers share a link: what is left over goes to them
// in proportion to their committed rates.
func TestShares(t *testing.T) {
	t.Parallel()
	z := newZone(t, 2)
	z.serve(7000)
	z.meterWire()
	c := z.config()
	c.LinkDown, c.LinkUp = 6e6, 6e6
	e := z.start(c)
	var orders []zonegate.Order
	for i, p := range z.phones {
		o := order(zonegate.SessionID(i+1), p, 6)
		o.Rate.CIRDown = uint64(2-i) * 1e6
		orders = append(orders, o)
	}
	e.apply(orders...)
	l := newLoad(t)
	for _, p := range z.phones {
		l.download(p, site4, 50e6, 0)
	}
	time.Sleep(2 * time.Second)
	r := z.measure(8 * time.Second)
	l.stop()
	t.Logf("%.2f and %.2f Mbit/s: %.2f to 1", r[0], r[1], r[0]/r[1])
	if q := r[0] / r[1]; q < 1.9 || q > 2.1 {
		t.Errorf("shares are %.2f to 1, want 2 to 1", q)
	}
}

// TestOversold has customers whose committed rates are three times the link.
func TestOversold(t *testing.T) {
	t.Parallel()
	const link, n = 10.0, 6
	z := newZone(t, n+2)
	z.serve(7000)
	z.meterWire()
	c := z.config()
	c.LinkDown, c.LinkUp = link*1e6, link*1e6
	e := z.start(c)
	var orders []zonegate.Order
	for i, p := range z.phones {
		o := order(zonegate.SessionID(i+1), p, link)
		o.Rate.CIRDown = 3 * link * 1e6 / n
		orders = append(orders, o)
	}
	e.apply(orders...)
	l := newLoad(t)
	for _, p := range z.phones[:n] {
		l.download(p, site4, 50e6, 0)
	}
	time.Sleep(13 * time.Second) // until the two others are idle
	r := z.measure(6 * time.Second)
	l.stop()
	sum := 0.0
	for i, got := range r {
		sum += got
		if want := 0.95 * link / n * 0.95; i < n && got < want {
			t.Errorf("customer %d gets %.2f Mbit/s, want %.2f", i+1, got, want)
		}
	}
	t.Logf("%.2f: %.2f Mbit/s", r, sum)
	if sum > 1.02*link {
		t.Errorf("%.2f Mbit/s pass a link of %v", sum, link)
	}
	h := e.Health()
	t.Logf("%+v", h)
	if h.OversellDown < 4.1 || h.OversellDown > 4.3 || h.ScaleDown > 0.32 || h.ScaleDown < 0.30 {
		t.Errorf("health %+v", h)
	}
}
