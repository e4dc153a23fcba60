package shaper_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zonegate"
	"zonegate/shaper"
)

func TestCustomer(t *testing.T) {
	const link = 20e6
	for name, test := range map[string]struct {
		cir, mir, link uint64
		scale          float64
		rate, ceil     uint64
	}{
		"committed":          {1e6, 5e6, link, 1, 1.018e6, 5.09e6},
		"scaled":             {1e6, 5e6, link, 0.5, 0.509e6, 5.09e6},
		"nothing committed":  {0, 5e6, link, 1, 8000, 5.09e6},
		"as fast as it goes": {1e6, 0, link, 1, 1.018e6, link},
		"faster than link":   {1e6, 50e6, link, 1, 1.018e6, link},
		"all of the link":    {20e6, 20e6, link, 0.9, 18.324e6, link},
		"slower than least":  {1000, 2000, link, 1, 8000, 8000},
		"no link":            {1e6, 5e6, 0, 1, 8000, 8000},
		"very fast":          {0, 60e9, 100e9, 1, 8000, 61.08e9},
	} {
		c := shaper.Customer(test.cir, test.mir, test.link, test.scale)
		if c.Rate != test.rate || c.Ceil != test.ceil {
			t.Errorf("%s: rate %d, ceil %d; want %d, %d", name, c.Rate, c.Ceil, test.rate, test.ceil)
		}
	}
}

// TestClassLimits holds for every class: a kernel refuses or misbehaves
// otherwise.
func TestClassLimits(t *testing.T) {
	check := func(c shaper.Class) {
		t.Helper()
		switch {
		case c.Rate == 0, c.Ceil < c.Rate,
			c.Burst < 2*1514, c.Burst > 64<<10, c.CeilBurst < c.Burst, c.CeilBurst > 64<<10,
			c.Quantum < 1514, c.Queue < 32<<10, c.Queue > 512<<10:
			t.Fatalf("class %+v", c)
		}
	}
	for range 10_000 {
		exp := func() uint64 { return uint64(math.Exp(rand.Float64() * 26)) }
		cir, mir, link := exp(), exp(), exp()
		c := shaper.Customer(cir, mir, link, rand.Float64())
		check(c)
		check(shaper.Share(c, 1+rand.IntN(5)))
		check(shaper.Link(link))
		check(shaper.Part(link, rand.Float64()))
	}
}

// TestQuantum keeps turns in proportion to what was sold, scaled or not.
func TestQuantum(t *testing.T) {
	one := shaper.Customer(1e6, 6e6, 6e6, 1).Quantum
	two := shaper.Customer(2e6, 6e6, 6e6, 0.3).Quantum
	if two != 2*one {
		t.Errorf("quantum %d at 1 Mbit/s and %d at 2", one, two)
	}
}

func TestScale(t *testing.T) {
	for _, test := range []struct{ link, sum uint64 }{{10e6, 30e6}, {10e6, 9.5e6}, {10e6, 5e6}, {10e6, 0}, {0, 5}, {1e9, 1e12}} {
		f := shaper.Scale(test.link, test.sum)
		if f > 1 || f < 0 || math.IsNaN(f) {
			t.Errorf("scale of %+v is %v", test, f)
		}
		// What the classes get, headers counted.
		if got := f * float64(test.sum) * 1.018; got > 0.9501*float64(test.link) {
			t.Errorf("%+v: commitments of %.0f", test, got)
		}
		if float64(test.sum)*1.018 < 0.95*float64(test.link) && f != 1 {
			t.Errorf("scale of %+v is %v without need", test, f)
		}
	}
	if got := shaper.Oversell(10e6, 19e6); got != 2 {
		t.Errorf("oversell factor %v", got)
	}
	if got := shaper.Oversell(0, 19e6); got != 0 {
		t.Errorf("oversell factor of no link %v", got)
	}
}

func TestLeft(t *testing.T) {
	for _, test := range []struct{ allowance, used, want uint64 }{
		{100, 40, 60}, {100, 100, 0}, {100, 101, 0}, {zonegate.NoCap, 1 << 60, zonegate.NoCap}, {1 << 62, 1, 1<<62 - 1},
	} {
		if got := shaper.Left(test.allowance, test.used); got != test.want {
			t.Errorf("%+v: left %d", test, got)
		}
	}
}

// TestBrake never lets more pass than is left, as long as the ratio holds, and
// gets to the end in few steps.
func TestBrake(t *testing.T) {
	for _, ratio := range []float64{0.2, 1, 1.03, 1.8, 10, 73, 1000} {
		left, steps := uint64(100e6), 0
		for left >= shaper.StopBelow {
			b := shaper.Brake(left, ratio)
			wire := uint64(float64(b) * min(max(ratio, 1), shaper.WorstRatio))
			if wire > left {
				t.Fatalf("ratio %v: %d bytes pass of %d", ratio, wire, left)
			}
			left -= wire
			steps++
		}
		if steps > 4 {
			t.Errorf("ratio %v: %d steps", ratio, steps)
		}
	}
	if got := shaper.Tripwire(1e6) * shaper.WorstRatio; got > 1e6 {
		t.Errorf("a tripwire lets %d of 1000000 pass", got)
	}
}

func TestNextLook(t *testing.T) {
	const rate = 20e6 // 2.5 MB/s
	for _, test := range []struct {
		left uint64
		want time.Duration
	}{
		{0, 2 * time.Millisecond},
		{shaper.StopBelow, 2 * time.Millisecond},
		{shaper.StopBelow + 500_000, 100 * time.Millisecond},
		{shaper.StopBelow + 50_000_000, 10 * time.Second},
		{1 << 62, time.Minute},
	} {
		if got := shaper.NextLook(test.left, rate); got != test.want {
			t.Errorf("left %d: next look after %v, want %v", test.left, got, test.want)
		}
	}
	if got := shaper.NextLook(1e6, 0); got != time.Minute {
		t.Errorf("without a rate: %v", got)
	}
}

func TestRatio(t *testing.T) {
	r := shaper.Ratio(1, 2000, 1000)
	if r != 2 {
		t.Errorf("ratio %v, want 2 at once", r)
	}
	if down := shaper.Ratio(r, 1000, 1000); down >= 2 || down < 1.8 {
		t.Errorf("ratio %v, want a little less than 2", down)
	}
	for _, test := range []struct{ wire, counted uint64 }{{0, 1000}, {1, 0}, {1 << 60, 1}} {
		if r := shaper.Ratio(1, test.wire, test.counted); r < 1 || r > shaper.WorstRatio {
			t.Errorf("%+v: ratio %v", test, r)
		}
	}
}

func TestDiff(t *testing.T) {
	order := func(id zonegate.SessionID, until time.Duration, cir uint64) zonegate.Order {
		return zonegate.Order{Session: id, Until: until, Rate: zonegate.Rate{CIRDown: cir}}
	}
	have := map[zonegate.SessionID]zonegate.Order{
		1: order(1, time.Hour, 1), 2: order(2, time.Hour, 1), 3: order(3, 0, 1), 4: order(4, 0, 1), 5: order(5, time.Hour, 1),
	}
	want := []zonegate.Order{
		order(1, time.Hour+time.Microsecond, 1), // the same
		order(2, time.Hour+time.Second, 1),
		order(3, 1, 1), // an end, however soon, is not no end
		order(5, time.Hour, 2),
		order(6, 0, 1),
		order(6, 0, 2), // the later counts
	}
	set, stop := shaper.Diff(want, have)
	if diff := cmp.Diff(append(want[1:4:4], want[5]), set); diff != "" {
		t.Errorf("to set (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]zonegate.SessionID{4}, stop); diff != "" {
		t.Errorf("to stop (-want +got):\n%s", diff)
	}
}
