package kernel_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"zonegate"
	"zonegate/shaper/kernel"
)

// A space is a network namespace.
type space struct {
	t    testing.TB
	name string
	h    netns.NsHandle
}

var spaces atomic.Int64

func newSpace(t testing.TB, what string) *space {
	t.Helper()
	name := fmt.Sprintf("zgk%d-%d-%s", os.Getpid(), spaces.Add(1), what)
	run(t, "ip", "netns", "add", name)
	h, err := netns.GetFromName(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Close()
		run(t, "ip", "netns", "del", name)
	})
	s := &space{t, name, h}
	s.do(func() {
		run(t, "sh", "-ec", "ip link set lo up; for i in all default; do echo 0 >/proc/sys/net/ipv6/conf/$i/accept_dad; done")
	})
	return s
}

// do runs f with its thread in the namespace. Sockets that it opens stay there.
func (s *space) do(f func()) {
	s.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, err := netns.Get()
	if err != nil {
		s.t.Fatal(err)
	}
	defer old.Close()
	if err := netns.Set(s.h); err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(old); err != nil {
			panic(err) // the thread must not go on in the wrong namespace
		}
	}()
	f()
}

// sh runs a shell script in the namespace and returns what it prints.
func (s *space) sh(script string) string {
	s.t.Helper()
	var out string
	s.do(func() { out = run(s.t, "sh", "-ec", script) })
	return out
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// A zone is a gateway with phones on one side and the internet on the other.
//
// The internet's addresses are 198.51.100.1 and 2001:db8:1::1 (a site), and
// 203.0.113.5 and 2001:db8:5::5 (in the walled garden). Nothing is translated.
type zone struct {
	t        testing.TB
	gw, inet *space
	phones   []*phone
}

type phone struct {
	*space
	mac    zonegate.MAC
	v4, v6 string
}

const (
	site4, site6     = "198.51.100.1", "2001:db8:1::1"
	garden4, garden6 = "203.0.113.5", "2001:db8:5::5"
)

func newZone(t testing.TB, phones int) *zone {
	t.Helper()
	z := &zone{t: t, gw: newSpace(t, "gw"), inet: newSpace(t, "inet")}
	z.gw.sh(`
ip link add br-lan type bridge forward_delay 0 mcast_snooping 0
ip link set br-lan address 02:00:00:00:00:01 up
ip addr add 10.77.0.1/24 dev br-lan
ip addr add fd77::1/64 dev br-lan nodad
ip link add wan type veth peer name eth0 netns ` + z.inet.name + `
ip link set wan up
ip addr add 192.0.2.1/24 dev wan
ip addr add 2001:db8::1/64 dev wan nodad
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
ip route add default via 192.0.2.2
`)
	z.inet.sh(`
ip link set eth0 up
ip addr add 192.0.2.2/24 dev eth0
ip addr add 2001:db8::2/64 dev eth0 nodad
ip addr add ` + site4 + `/32 dev lo
ip addr add ` + garden4 + `/32 dev lo
ip addr add ` + site6 + `/128 dev lo nodad
ip addr add ` + garden6 + `/128 dev lo nodad
ip route add 10.77.0.0/24 via 192.0.2.1
ip route add fd77::/64 via 2001:db8::1
`)
	z.gw.sh(`ip -6 route add default via 2001:db8::2`)
	for i := range phones {
		p := &phone{
			space: newSpace(t, "phone"+strconv.Itoa(i)),
			mac:   zonegate.MAC{2, 0, 0, 0, 1, byte(i)},
			v4:    fmt.Sprintf("10.77.0.%d", 10+i), v6: fmt.Sprintf("fd77::%x", 0x10+i),
		}
		z.gw.sh(fmt.Sprintf(`
ip link add port%d type veth peer name eth0 netns %s
ip link set port%d master br-lan up`, i, p.name, i))
		p.sh(fmt.Sprintf(`
ip link set eth0 address %s up
ip addr add %s/24 dev eth0
ip addr add %s/64 dev eth0 nodad
ip route add default via 10.77.0.1
ip -6 route add default via fd77::1`, p.mac, p.v4, p.v6))
		z.phones = append(z.phones, p)
	}
	return z
}

// clock is a running clock that a test can move.
type clock struct{ start time.Time }

func (c clock) Now() zonegate.Instant {
	return zonegate.Instant{Boot: "boot", Mono: time.Hour + time.Since(c.start)}
}

// book is an accountant that remembers.
type book struct {
	mu    sync.Mutex
	last  map[zonegate.SessionID]zonegate.Usage
	final map[zonegate.SessionID]bool
	spent map[zonegate.SessionID]bool
	news  chan struct{}
}

func newBook() *book {
	return &book{
		last:  map[zonegate.SessionID]zonegate.Usage{},
		final: map[zonegate.SessionID]bool{}, spent: map[zonegate.SessionID]bool{},
		news: make(chan struct{}, 1),
	}
}

func (b *book) Account(_ context.Context, list []zonegate.Usage) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, u := range list {
		b.last[u.Session] = u
		b.final[u.Session] = b.final[u.Session] || u.Final
		b.spent[u.Session] = b.spent[u.Session] || u.Spent
	}
	select {
	case b.news <- struct{}{}:
	default:
	}
	return nil
}

// await waits until the book says so.
func (b *book) await(t testing.TB, what string, f func() bool) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		b.mu.Lock()
		ok := f()
		b.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-b.news:
		case <-timeout:
			t.Fatalf("waiting for %s: %+v", what, b.last)
		}
	}
}

func (b *book) awaitSpent(t testing.TB, id zonegate.SessionID) zonegate.Usage {
	t.Helper()
	b.await(t, "the cap to be reached", func() bool { return b.last[id].Spent })
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last[id]
}

func (b *book) awaitFinal(t testing.TB, id zonegate.SessionID) zonegate.Usage {
	t.Helper()
	b.await(t, "the final report", func() bool { return b.final[id] })
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last[id]
}

// An enforced is a Shaper in a zone's gateway.
type enforced struct {
	*kernel.Shaper
	t    testing.TB
	book *book
	stop func()
}

func (z *zone) config() kernel.Config {
	level := slog.LevelError
	if testing.Verbose() {
		level = slog.LevelWarn
	}
	return kernel.Config{
		LAN: "br-lan", WAN: []string{"wan"}, LinkDown: 200e6, LinkUp: 200e6,
		PortalPort: 8080, DNSPort: 5353, Isolate: true, Report: time.Second,
		Clock: theClock, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}
}

var theClock = clock{time.Now()}

// until is an instant on the test's clock.
func until(d time.Duration) time.Duration { return theClock.Now().Mono + d }

// open makes a Shaper, without its task.
func (z *zone) open(c kernel.Config) *kernel.Shaper {
	z.t.Helper()
	var (
		s   *kernel.Shaper
		err error
	)
	z.gw.do(func() { s, err = kernel.New(c) })
	if err != nil {
		z.t.Fatal(err)
	}
	return s
}

// start makes a Shaper and runs it.
func (z *zone) start(c kernel.Config) *enforced {
	z.t.Helper()
	b := newBook()
	e := z.startFor(c, b)
	e.book = b
	return e
}

// startFor is start with an accountant of the caller's.
func (z *zone) startFor(c kernel.Config, a kernel.Accountant) *enforced {
	z.t.Helper()
	e := &enforced{Shaper: z.open(c), t: z.t}
	e.ReportTo(a)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	e.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			z.t.Errorf("running: %v", err)
		}
		if err := e.Close(); err != nil {
			z.t.Errorf("closing: %v", err)
		}
	})
	z.t.Cleanup(e.stop)
	return e
}

func (e *enforced) apply(want ...zonegate.Order) {
	e.t.Helper()
	if err := e.Apply(context.Background(), want); err != nil {
		e.t.Fatalf("applying: %v", err)
	}
}

func (e *enforced) change(set []zonegate.Order, stop ...zonegate.SessionID) {
	e.t.Helper()
	if err := e.Change(context.Background(), set, stop); err != nil {
		e.t.Fatalf("changing: %v", err)
	}
}

func order(id zonegate.SessionID, p *phone, mbit float64) zonegate.Order {
	r := uint64(mbit * 1e6)
	return zonegate.Order{
		Session: id, Grant: zonegate.GrantID(id), Device: p.mac, Devices: 1, Allowance: zonegate.NoCap,
		Rate: zonegate.Rate{MIRUp: r, MIRDown: r},
	}
}

// serve echoes UDP and, over TCP, sends what is asked for (see source), at a
// port of every address of the internet.
func (z *zone) serve(port int) {
	z.t.Helper()
	for _, host := range []string{site4, site6, garden4, garden6} {
		z.inet.do(func() {
			u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host), Port: port})
			if err != nil {
				z.t.Fatal(err)
			}
			l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.ParseIP(host), Port: port})
			if err != nil {
				z.t.Fatal(err)
			}
			z.t.Cleanup(func() { u.Close(); l.Close() })
			go func() {
				buf := make([]byte, 2048)
				for {
					n, from, err := u.ReadFromUDPAddrPort(buf)
					if err != nil {
						return
					}
					u.WriteToUDPAddrPort(buf[:n], from)
				}
			}()
			go func() {
				for {
					c, err := l.AcceptTCP()
					if err != nil {
						return
					}
					go source(c)
				}
			}()
		})
	}
}

// source sends as many bytes as the peer asks for, or takes what it sends.
func source(c *net.TCPConn) {
	defer c.Close()
	ask := make([]byte, 8)
	if _, err := io.ReadFull(c, ask); err != nil {
		return
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(ask)), 10, 64)
	if n == 0 {
		io.Copy(io.Discard, c)
		return
	}
	block := make([]byte, 64<<10)
	for n > 0 {
		w, err := c.Write(block[:min(n, int64(len(block)))])
		if err != nil {
			return
		}
		n -= int64(w)
	}
	// Until the peer has read it all.
	io.Copy(io.Discard, c)
}

// dial connects from the namespace.
func (s *space) dial(network, host string, port int) (net.Conn, error) {
	var (
		c   net.Conn
		err error
	)
	s.do(func() {
		d := net.Dialer{Timeout: 2 * time.Second}
		c, err = d.Dial(network, net.JoinHostPort(host, strconv.Itoa(port)))
	})
	return c, err
}

// echo says whether a UDP packet is answered, trying for a while.
func (s *space) echo(host string, tries int) bool { return s.echoAt(host, 7000, tries) }

func (s *space) echoAt(host string, port, tries int) bool {
	s.t.Helper()
	c, err := s.dial("udp", host, port)
	if err != nil {
		return false
	}
	defer c.Close()
	return exchange(c, tries)
}

func exchange(c net.Conn, tries int) bool {
	buf := make([]byte, 100)
	for range tries {
		if _, err := c.Write([]byte("hello")); err != nil {
			continue // an ICMP error for an earlier packet
		}
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, err := c.Read(buf); err == nil && bytes.Equal(buf[:n], []byte("hello")) {
			return true
		}
	}
	return false
}

var _ = netip.Addr{}

func countLines(out, with string) int {
	n := 0
	for line := range strings.Lines(out) {
		if strings.Contains(line, with) {
			n++
		}
	}
	return n
}

// awaitLines waits until a listing has so many lines with a text.
func awaitLines(t testing.TB, want int, with string, list func() string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out := list()
		if countLines(out, with) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d lines with %q, want %d:\n%.2000s", countLines(out, with), with, want, out)
		}
	}
}
