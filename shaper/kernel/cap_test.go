package kernel_test

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zonegate"
)

// meterWire counts the layer-3 bytes that really cross the wire: towards the
// phones, and from them into the internet. The last hops send no merged
// packets.
func (z *zone) meterWire() {
	z.t.Helper()
	const rules = `
nft -f - <<X
table inet wire {
	counter n { }
	chain in {
		type filter hook prerouting priority -300
		tcp flags rst return comment "the gateway's own, after the stop"
		%s counter name n
	}
}
X
ethtool -K eth0 gro off >/dev/null`
	for i, p := range z.phones {
		z.gw.sh(fmt.Sprintf("ethtool -K port%d tso off gso off tx off sg off >/dev/null", i))
		p.sh(fmt.Sprintf(rules, "ip saddr { "+site4+", "+garden4+" } counter name n\n\t\tip6 saddr { "+site6+", "+garden6+" }"))
	}
	z.gw.sh("ethtool -K wan tso off gso off tx off sg off >/dev/null")
	z.inet.sh(fmt.Sprintf(rules, "ip saddr 10.77.0.0/24 counter name n\n\t\tip6 saddr fd77::/64"))
}

var counted = regexp.MustCompile(`packets \d+ bytes (\d+)`)

// wire reads the counter of a namespace.
func (s *space) wire() uint64 {
	s.t.Helper()
	m := counted.FindStringSubmatch(s.sh("nft list counter inet wire n"))
	if m == nil {
		s.t.Fatal("no counter")
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// wired is what all phones got and sent.
func (z *zone) wired() (down, up uint64) {
	for _, p := range z.phones {
		down += p.wire()
	}
	return down, z.inet.wire()
}

// A load is traffic that goes on until it is stopped.
type load struct {
	wg   sync.WaitGroup
	done chan struct{}
	mu   sync.Mutex
	open []net.Conn
}

func newLoad(t testing.TB) *load {
	l := &load{done: make(chan struct{})}
	t.Cleanup(l.stop)
	return l
}

func (l *load) stop() {
	l.mu.Lock()
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	for _, c := range l.open {
		c.Close()
	}
	l.mu.Unlock()
	l.wg.Wait()
}

// hold registers a connection; false after stop.
func (l *load) hold(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.done:
		c.Close()
		return false
	default:
		l.open = append(l.open, c)
		return true
	}
}

func (l *load) goes(f func()) {
	l.wg.Add(1)
	go func() { defer l.wg.Done(); f() }()
}

// dialMSS connects with a maximum segment size; 0 is the system's.
func (s *space) dialMSS(host string, mss int) (net.Conn, error) {
	var (
		c   net.Conn
		err error
	)
	s.do(func() {
		d := net.Dialer{Timeout: 2 * time.Second, Control: func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) {
				if mss > 0 {
					unix.SetsockoptInt(int(fd), unix.SOL_TCP, unix.TCP_MAXSEG, mss)
				}
			})
		}}
		c, err = d.Dial("tcp", net.JoinHostPort(host, "7000"))
	})
	return c, err
}

// download fetches n bytes by TCP, with a maximum segment size.
func (l *load) download(p *phone, host string, n int64, mss int) {
	l.goes(func() {
		c, err := p.dialMSS(host, mss)
		if err != nil || !l.hold(c) {
			return
		}
		fmt.Fprintf(c, "%8d", min(n, 99999999))
		io.CopyN(io.Discard, c, n)
		c.Close()
	})
}

// upload sends by TCP.
func (l *load) upload(p *phone, host string) {
	l.goes(func() {
		c, err := p.dialMSS(host, 0)
		if err != nil || !l.hold(c) {
			return
		}
		fmt.Fprintf(c, "%8d", 0)
		block := make([]byte, 64<<10)
		for {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	})
}

// flood sends UDP to a phone at a rate in Mbit/s of layer-3 bytes, whatever
// comes of it. The phone opens the way.
func (l *load) flood(z *zone, p *phone, host string, mbit float64, size int) {
	z.t.Helper()
	var u *net.UDPConn
	z.inet.do(func() {
		var err error
		u, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host)})
		if err != nil {
			z.t.Fatal(err)
		}
	})
	c, err := p.dial("udp", host, u.LocalAddr().(*net.UDPAddr).Port)
	if err != nil {
		z.t.Fatal(err)
	}
	if !l.hold(c) || !l.hold(u) {
		return
	}
	// Until it comes through: the flow may be made while the gate is closed.
	buf := make([]byte, 100)
	var to *net.UDPAddr
	for to == nil {
		if _, err := c.Write([]byte("go")); err != nil && to == nil {
			select {
			case <-l.done:
				return
			default:
			}
		}
		u.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if _, from, err := u.ReadFromUDP(buf); err == nil {
			to = from
		}
	}
	l.goes(func() { io.Copy(io.Discard, c) })
	l.goes(func() {
		packet := make([]byte, size)
		perByte := float64(time.Second) * 8 / (mbit * 1e6)
		start, sent := time.Now(), 0.0
		for {
			select {
			case <-l.done:
				return
			default:
			}
			if ahead := time.Duration(sent*perByte) - time.Since(start); ahead > time.Millisecond {
				time.Sleep(ahead)
			}
			u.WriteToUDP(packet, to)
			sent += float64(size + 28)
		}
	})
}

// TestCapOfTwoDevices shares one cap between two phones, also when one of
// them leaves.
func TestCapOfTwoDevices(t *testing.T) {
	t.Parallel()
	z := newZone(t, 2)
	z.serve(7000)
	z.meterWire()
	e := z.start(z.config())
	var orders []zonegate.Order
	for i, p := range z.phones {
		o := order(zonegate.SessionID(i+1), p, 20)
		o.Grant, o.Devices, o.Allowance = 7, 2, 4e6
		orders = append(orders, o)
	}
	e.apply(orders...)
	l := newLoad(t)
	l.download(z.phones[0], site4, 50e6, 0)
	l.upload(z.phones[1], site6)
	l.download(z.phones[1], site6, 50e6, 0)
	a, b := e.book.awaitSpent(t, 1), e.book.awaitSpent(t, 2)
	time.Sleep(100 * time.Millisecond)
	l.stop()
	both := zonegate.Usage{Octets: zonegate.Octets{Up: a.Octets.Up + b.Octets.Up, Down: a.Octets.Down + b.Octets.Down}}
	checkCap(t, z, both, 4e6)
	if a.Octets.Total() < 1e5 || b.Octets.Total() < 1e5 {
		t.Errorf("one device got it all: %+v %+v", a, b)
	}
	// The phone that leaves takes what it used with it: the allowance in force
	// was worked out with it.
	e.change(nil, 1)
	o := orders[1]
	o.Allowance = 4e6 - a.Octets.Total() + 2e6
	e.book.awaitFinal(t, 1)
	e.change([]zonegate.Order{o})
	l = newLoad(t)
	l.download(z.phones[1], site4, 50e6, 0)
	e.book.await(t, "the second cap", func() bool { return e.book.last[2].Spent && e.book.last[2].Octets.Total() > b.Octets.Total() })
	l.stop()
	u := e.book.awaitSpent(t, 2)
	u.Octets.Up += a.Octets.Up
	u.Octets.Down += a.Octets.Down
	checkCap(t, z, u, 6e6)
}

// TestTopUp hammers a spent session and then sells more.
func TestTopUp(t *testing.T) {
	t.Parallel()
	z := newZone(t, 1)
	z.serve(7000)
	z.meterWire()
	e := z.start(z.config())
	o := order(1, z.phones[0], 50)
	o.Allowance = 1e6
	e.apply(o)
	l := newLoad(t)
	l.flood(z, z.phones[0], site4, 100, 1200)
	u := e.book.awaitSpent(t, 1)
	time.Sleep(500 * time.Millisecond) // the hammering: 6 MB
	checkCap(t, z, u, 1e6)
	o.Allowance = 3e6
	e.change([]zonegate.Order{o})
	l.download(z.phones[0], site6, 50e6, 0)
	e.book.await(t, "the second cap", func() bool { return e.book.last[1].Spent && e.book.last[1].Octets.Total() > 2e6 })
	l.stop()
	checkCap(t, z, e.book.awaitSpent(t, 1), 3e6)
}

// TestCapDozes leaves a grant idle near its end and then goes on to the end.
func TestCapDozes(t *testing.T) {
	t.Parallel()
	z := newZone(t, 1)
	z.serve(7000)
	z.meterWire()
	c := z.config()
	c.Shared = true
	e := z.start(c)
	o := order(1, z.phones[0], 20)
	o.Allowance = 800e3
	e.apply(o)
	l := newLoad(t)
	l.download(z.phones[0], site4, 300e3, 0)
	awaitLines(t, 1, "bytes", func() string {
		// An object of less than 10 KB.
		return small.FindString(z.gw.sh("nft list quotas"))
	})
	if !z.phones[0].echo(site6, 10) {
		t.Error("a dozing grant does not pass")
	}
	l.download(z.phones[0], site4, 5e6, 88)
	l.flood(z, z.phones[0], site6, 50, 1200)
	u := e.book.awaitSpent(t, 1)
	time.Sleep(100 * time.Millisecond)
	l.stop()
	checkCap(t, z, u, o.Allowance)
}

var small = regexp.MustCompile(`over \d{1,4} bytes`)

// TestCapLowered takes an allowance back while a queue is full.
func TestCapLowered(t *testing.T) {
	t.Parallel()
	z := newZone(t, 1)
	z.serve(7000)
	z.meterWire()
	e := z.start(z.config())
	o := order(1, z.phones[0], 0.5)
	o.Allowance = 10e6
	e.apply(o)
	l := newLoad(t)
	l.flood(z, z.phones[0], site4, 10, 1200)
	time.Sleep(300 * time.Millisecond)
	o.Allowance = 1000
	e.change([]zonegate.Order{o})
	before := z.phones[0].wire()
	u := e.book.awaitSpent(t, 1)
	time.Sleep(100 * time.Millisecond)
	l.stop()
	if after := z.phones[0].wire(); after > before+8<<10 || after != u.Octets.Down {
		t.Errorf("%d bytes came after the allowance was taken back; reported %+v of %d", after-before, u, after)
	}
}

// TestCapWithoutDaemon has the kernel alone: it stops early, never late.
func TestCapWithoutDaemon(t *testing.T) {
	t.Parallel()
	z := newZone(t, 1)
	z.serve(7000)
	z.meterWire()
	s := z.open(z.config())
	o := order(1, z.phones[0], 50)
	o.Allowance = 2e6
	if err := s.Apply(t.Context(), []zonegate.Order{o}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	l := newLoad(t)
	l.download(z.phones[0], site4, 50e6, 0)
	l.upload(z.phones[0], site6)
	time.Sleep(700 * time.Millisecond)
	l.stop()
	down, up := z.wired()
	if n := down + up; n > 2e6 || n < 1.7e6 {
		t.Errorf("delivered %d of 2000000 bytes without a daemon", n)
	}
}

// checkCap compares what the wire carried with what was sold and reported.
func checkCap(t *testing.T, z *zone, u zonegate.Usage, allowance uint64) {
	t.Helper()
	down, up := z.wired()
	t.Logf("sold %d: delivered %d (down %d, up %d), reported %+v, short %d", allowance, down+up, down, up, u.Octets, int64(allowance)-int64(down+up))
	if down+up > allowance {
		t.Errorf("delivered %d bytes more than the cap", down+up-allowance)
	}
	if down+up+zonegate.SpentBelow < allowance {
		t.Errorf("delivered %d bytes less than the cap", allowance-down-up)
	}
	if u.Octets.Down != down || u.Octets.Up != up {
		t.Errorf("reported %+v, delivered down %d up %d", u.Octets, down, up)
	}
}

func TestCap(t *testing.T) {
	for name, test := range map[string]struct {
		mbit      float64
		allowance uint64
		load      func(l *load, z *zone)
	}{
		"tcp down": {50, 5e6, func(l *load, z *zone) { l.download(z.phones[0], site4, 50e6, 0) }},
		"tcp up":   {50, 5e6, func(l *load, z *zone) { l.upload(z.phones[0], site6) }},
		"everything at once": {20, 4e6, func(l *load, z *zone) {
			p := z.phones[0]
			l.download(p, site4, 50e6, 0)
			l.download(p, site6, 50e6, 0)
			l.upload(p, site4)
			l.upload(p, site6)
			l.flood(z, p, site4, 10, 1200)
			l.flood(z, p, site6, 10, 300)
		}},
		"small segments": {20, 3e6, func(l *load, z *zone) { l.download(z.phones[0], site4, 50e6, 150) }},
		"segments that shrink": {20, 3e6, func(l *load, z *zone) {
			for i, mss := range []int{0, 800, 400, 200, 100, 88} {
				l.goes(func() {
					time.Sleep(time.Duration(i) * 150 * time.Millisecond)
					l.download(z.phones[0], site4, 50e6, mss)
				})
			}
		}},
		"flood": {5, 2e6, func(l *load, z *zone) { l.flood(z, z.phones[0], site4, 25, 1200) }},
		"slow":  {1, 3e5, func(l *load, z *zone) { l.download(z.phones[0], site6, 50e6, 0) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			z := newZone(t, 1)
			z.serve(7000)
			z.meterWire()
			e := z.start(z.config())
			o := order(1, z.phones[0], test.mbit)
			o.Allowance = test.allowance
			e.apply()
			e.change([]zonegate.Order{o})
			start := time.Now()
			l := newLoad(t)
			test.load(l, z)
			u := e.book.awaitSpent(t, 1)
			t.Logf("spent after %v", time.Since(start))
			time.Sleep(100 * time.Millisecond) // what still comes would be too much
			l.stop()
			checkCap(t, z, u, test.allowance)
		})
	}
}
