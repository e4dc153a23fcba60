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

// TestRates measures maximum rates in either direction, by what is reported
// (which other tests compare with the wire). A busy machine makes them lower,
// so the best of several windows counts.
func TestRates(t *testing.T) {
	t.Parallel()
	mbit := []float64{0.5, 3, 30}
	z := newZone(t, len(mbit))
	z.serve(7000)
	e := z.start(z.config())
	var orders []zonegate.Order
	for i, p := range z.phones {
		orders = append(orders, order(zonegate.SessionID(i+1), p, mbit[i]))
	}
	e.apply(orders...)
	for _, up := range []bool{false, true} {
		l := newLoad(t)
		for _, p := range z.phones {
			if up {
				l.upload(p, site4)
				continue
			}
			l.download(p, site4, 99e6, 0)
			l.download(p, site6, 99e6, 0)
		}
		time.Sleep(500 * time.Millisecond)
		best := make([]float64, len(mbit))
		count := func() (octets []uint64) {
			usage, err := e.Usage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range usage {
				n := u.Octets.Down
				if up {
					n = u.Octets.Up
				}
				octets = append(octets, n)
			}
			return octets
		}
		for range 3 {
			before, start := count(), time.Now()
			time.Sleep(2 * time.Second)
			after, took := count(), time.Since(start).Seconds()
			for i := range mbit {
				best[i] = max(best[i], float64(after[i]-before[i])*8/1e6/took)
			}
		}
		l.stop()
		t.Logf("up %v: %.3f Mbit/s of %v", up, best, mbit)
		for i, r := range best {
			// A burst or two more are something at the lowest rate.
			if r < 0.97*mbit[i] || r > 1.03*mbit[i]+0.02 {
				t.Errorf("up %v: %.3f Mbit/s at a rate of %v", up, r, mbit[i])
			}
		}
	}
}

// TestSecondDevice adds a phone to a grant that had one: together they get
// what the grant is sold, and nothing counted is lost.
func TestSecondDevice(t *testing.T) {
	t.Parallel()
	z := newZone(t, 2)
	z.serve(7000)
	z.meterWire()
	e := z.start(z.config())
	a, b := order(1, z.phones[0], 5), order(2, z.phones[1], 5)
	e.apply(a)
	l := newLoad(t)
	l.download(z.phones[0], site4, 50e6, 0)
	time.Sleep(time.Second)
	a.Devices, b.Devices, b.Grant = 2, 2, a.Grant
	e.change([]zonegate.Order{a, b})
	l.download(z.phones[1], site4, 50e6, 0)
	time.Sleep(time.Second)
	r := z.measure(4 * time.Second)
	l.stop()
	t.Logf("%.2f Mbit/s", r)
	if sum := r[0] + r[1]; sum > 5*1.05 || r[0] < 1 || r[1] < 1 {
		t.Errorf("two devices get %.2f Mbit/s at a rate of 5", r)
	}
	e.change(nil, 1, 2)
	for i, p := range z.phones {
		if u := e.book.awaitFinal(t, zonegate.SessionID(i+1)); u.Octets.Down != p.wire() {
			t.Errorf("phone %d: reported %+v, delivered %d", i, u, p.wire())
		}
	}
	if out := z.gw.sh("tc class show dev br-lan"); countLines(out, "class htb") != 3 {
		t.Errorf("classes left:\n%s", out)
	}
}

// TestTwoUplinks counts and shapes what goes out on either.
func TestTwoUplinks(t *testing.T) {
	t.Parallel()
	z := newZone(t, 1)
	z.gw.sh(`ip link add wan2 type veth peer name eth1 netns ` + z.inet.name + `
ip addr add 192.0.3.1/24 dev wan2; ip link set wan2 up`)
	z.inet.sh(`ip link set eth1 up; ip addr add 192.0.3.2/24 dev eth1`)
	z.gw.sh(`ip route add ` + garden4 + ` via 192.0.3.2; ethtool -K wan2 tso off gso off tx off sg off >/dev/null`)
	z.serve(7000)
	z.meterWire()
	c := z.config()
	c.WAN = append(c.WAN, "wan2")
	e := z.start(c)
	o := order(1, z.phones[0], 10)
	o.Allowance = 3e6
	e.apply(o)
	l := newLoad(t)
	l.upload(z.phones[0], site4)
	l.upload(z.phones[0], garden4)
	u := e.book.awaitSpent(t, 1)
	time.Sleep(100 * time.Millisecond)
	l.stop()
	checkCap(t, z, u, o.Allowance)
	for _, wan := range []string{"wan", "wan2"} {
		if out := z.gw.sh("tc -s class show dev " + wan + " classid 2:2"); countLines(out, "Sent 0 bytes") != 0 || countLines(out, "Sent") != 1 {
			t.Errorf("%s: %s", wan, out)
		}
	}
}

// TestPoliced goes through the life of a session on a kernel without HTB.
func TestPoliced(t *testing.T) {
	t.Parallel()
	z := newZone(t, 2)
	z.serve(7000)
	z.meterWire()
	c := z.config()
	c.Police = true
	first := z.open(c)
	p := z.phones[0]
	o := order(1, p, 4)
	o.Allowance = 4e6
	if err := first.Apply(t.Context(), []zonegate.Order{o, order(2, z.phones[1], 2)}); err != nil {
		t.Fatal(err)
	}
	if h := first.Health(); !h.Degraded || len(h.Missing) > 0 {
		t.Errorf("health %+v", h)
	}
	if out := z.gw.sh("tc qdisc show dev br-lan"); countLines(out, "htb") > 0 {
		t.Errorf("qdiscs %s", out)
	}
	l := newLoad(t)
	l.download(p, site4, 50e6, 0)
	time.Sleep(time.Second)
	first.Close()
	e := z.start(c)
	usage, err := e.Usage(t.Context())
	if err != nil || len(usage) != 2 || usage[0].Octets.Down < 1e5 {
		t.Fatalf("usage %+v, %v", usage, err)
	}
	e.apply(o)
	e.book.awaitFinal(t, 2)
	r := z.measure(2 * time.Second)
	if r[0] < 2 || r[0] > 7 { // a new limit begins with a second's worth
		t.Errorf("%.2f Mbit/s at a rate of 4", r[0])
	}
	u := e.book.awaitSpent(t, 1)
	l.stop()
	down, up := z.wired()
	t.Logf("delivered %d and %d, reported %+v, %.2f Mbit/s", down, up, u, r[0])
	if n := u.Octets.Total(); n > o.Allowance || n+zonegate.SpentBelow < o.Allowance {
		t.Errorf("%d octets counted of %d", n, o.Allowance)
	}
	if d := float64(down) / float64(u.Octets.Down); d < 0.999 || d > 1.05 {
		t.Errorf("delivered %d, counted %d", down, u.Octets.Down)
	}
	o.Allowance, o.Rate.MIRDown = 5e6, 50e6
	e.change([]zonegate.Order{o})
	if !p.echo(site6, 10) {
		t.Error("a topped-up session does not pass")
	}
	e.change(nil, 1)
	if p.echo(site6, 2) {
		t.Error("a stopped session passes")
	}
	if got := e.book.awaitFinal(t, 1); got.Octets.Down <= u.Octets.Down {
		t.Errorf("final counters %+v, before %+v", got, u)
	}
	if out := z.gw.sh("nft list quotas; nft list limits; nft list map inet zonegate countup"); countLines(out, "quota ")+countLines(out, "limit l")+countLines(out, "0x") > 1 {
		t.Errorf("left: %s", out)
	}
}

// TestSetLink changes the rate of the link under a customer who is online, one
// whose plan has no maximum: it holds at once, both up and down, and his flows
// go on. Without HTB too.
func TestSetLink(t *testing.T) {
	for name, police := range map[string]bool{"queues": false, "policed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			z := newZone(t, 1)
			z.serve(7000)
			z.meterWire()
			c := z.config()
			c.LinkDown, c.LinkUp, c.Police = 8e6, 8e6, police
			e := z.start(c)
			o := order(1, z.phones[0], 0)
			o.Rate.CIRDown = 1e6
			e.apply(o)
			l := newLoad(t)
			l.download(z.phones[0], site4, 50e6, 0)
			most := func() float64 {
				time.Sleep(time.Second)
				best := 0.0
				for range 3 {
					best = max(best, z.measure(time.Second)[0])
				}
				return best
			}
			first := most()
			if err := e.SetLink(2e6, 1e6); err != nil {
				t.Fatal(err)
			}
			second := most()
			if err := e.SetLink(8e6, 8e6); err != nil {
				t.Fatal(err)
			}
			third := most()
			l.stop()
			t.Logf("%.2f, %.2f, %.2f Mbit/s", first, second, third)
			if first < 4 || second > 3 || second < 0.8 || third < 4 {
				t.Errorf("links of 8, 2 and 8 Mbit/s gave %.2f, %.2f and %.2f", first, second, third)
			}
			if h := e.Health(); h.ScaleDown != 1 {
				t.Errorf("health %+v", h)
			}
			if err := e.SetLink(0, 1); err == nil {
				t.Error("a link without a rate was taken")
			}
		})
	}
}
