package kernel_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zonegate"
	"zonegate/shaper/kernel"
)

var seconds = regexp.MustCompile(`(timeout|expires) [0-9a-z]+ ?`)

var update = flag.Bool("update", false, "write the golden files")

func TestRuleset(t *testing.T) {
	z := newZone(t, 1)
	c := z.config()
	c.Shared = true
	e := z.start(c)
	o := order(0x11, z.phones[0], 10)
	o.Until = until(24 * time.Hour)
	o.Allowance = 100e6
	list := func() string {
		out := z.gw.sh("nft list table inet zonegate")
		return seconds.ReplaceAllString(out, "")
	}
	e.apply(o)
	first := list()
	e.apply(o)
	if diff := cmp.Diff(first, list()); diff != "" {
		t.Errorf("applying twice changes the table (-first +second):\n%s", diff)
	}
	const golden = "testdata/table.nft"
	if *update {
		if err := os.WriteFile(golden, []byte(first), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), first); diff != "" {
		t.Errorf("the table (-want +got):\n%s", diff)
	}
	_ = zonegate.NoCap
}

// TestStranger goes through everything that somebody without a session meets.
func TestStranger(t *testing.T) {
	t.Parallel()
	z := newZone(t, 2)
	z.serve(7000)
	z.serve(443)
	e := z.start(z.config())
	e.apply(order(1, z.phones[1], 10))
	p := z.phones[0]

	// The portal and the name server are on the gateway, whatever was asked.
	z.gw.do(func() {
		for _, port := range []int{8080, 5353} {
			l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					fmt.Fprintf(c, "gateway %d", port)
					c.Close()
				}
			}()
		}
		u, err := net.ListenUDP("udp", &net.UDPAddr{Port: 5353})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { u.Close() })
		go func() {
			buf := make([]byte, 100)
			for {
				n, from, err := u.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				u.WriteToUDPAddrPort(buf[:n], from)
			}
		}()
	})
	for _, host := range []string{site4, site6} {
		for port, want := range map[int]string{80: "gateway 8080", 53: "gateway 5353"} {
			c, err := p.dial("tcp", host, port)
			if err != nil {
				t.Errorf("TCP to %s port %d: %v", host, port, err)
				continue
			}
			got, _ := io.ReadAll(c)
			c.Close()
			if string(got) != want {
				t.Errorf("TCP to %s port %d answers %q, want %q", host, port, got, want)
			}
		}
		c, err := p.dial("udp", host, 53)
		if err != nil {
			t.Fatal(err)
		}
		if !exchange(c, 10) {
			t.Errorf("no answer to a name query to %s", host)
		}
		answers := 0
		for range 300 {
			c.Write([]byte("hello"))
		}
		buf := make([]byte, 100)
		for {
			c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if _, err := c.Read(buf); err != nil {
				break
			}
			answers++
		}
		c.Close()
		if answers > 100 {
			t.Errorf("%d of 300 name queries in a burst were answered", answers)
		}
		// QUIC is refused at once, so that a browser falls back.
		c, err = p.dial("udp", host, 443)
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("hello"))
		c.SetReadDeadline(time.Now().Add(2 * time.Second))
		if _, err := c.Read(buf); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("QUIC to %s is not refused: %v", host, err)
		}
		c.Close()
	}

	// Everything else is refused at once.
	for _, host := range []string{site4, site6} {
		if p.echo(host, 3) {
			t.Errorf("the stranger reaches %s", host)
		}
		if c, err := p.dial("tcp", host, 7000); err == nil {
			c.Close()
			t.Errorf("the stranger connects to %s", host)
		} else if !strings.Contains(err.Error(), "refused") {
			t.Errorf("the stranger is not refused at once: %v", err)
		}
	}

	// The walled garden, until it times out.
	addrs := []netip.Addr{netip.MustParseAddr(garden4), netip.MustParseAddr(garden6)}
	if err := e.Allow(t.Context(), addrs, time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{garden4, garden6} {
		if !p.echoAt(host, 443, 10) {
			t.Errorf("the stranger does not reach %s in the garden", host)
		}
		if p.echo(host, 2) {
			t.Errorf("the garden at %s is open on every port", host)
		}
	}
	z.gw.sh("nft flush set inet zonegate garden4 || true; nft flush set inet zonegate garden6 || true")
	// An address of its own invention.
	z.phones[1].sh("ip addr add 10.99.0.5/32 dev eth0; ip addr add fd99::5/128 dev eth0 nodad")
	z.inet.sh("ip route add 10.99.0.0/16 via 192.0.2.1; ip route add fd99::/16 via 2001:db8::1")
	z.gw.sh("ip route add 10.99.0.5/32 dev br-lan; ip route add fd99::5/128 dev br-lan")
	for local, host := range map[string]string{"10.99.0.5": site4, "fd99::5": site6} {
		z.phones[1].do(func() {
			c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(local)}, &net.UDPAddr{IP: net.ParseIP(host), Port: 7000})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if exchange(c, 3) {
				t.Errorf("a packet from %s passes", local)
			}
		})
	}
}

func TestGardenTimesOut(t *testing.T) {
	t.Parallel()
	z := newZone(t, 1)
	z.serve(443)
	c := z.config()
	c.Shared = true
	s := z.open(c)
	if err := s.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Allow(t.Context(), []netip.Addr{netip.MustParseAddr(garden4)}, 2*time.Second); err != nil {
		t.Fatal(err)
	}
	s.Close()
	p := z.phones[0]
	if !p.echoAt(garden4, 443, 10) {
		t.Error("the garden is not reached")
	}
	if p.echoAt(garden6, 443, 2) {
		t.Error("an address that was not allowed is reached")
	}
	time.Sleep(2100 * time.Millisecond)
	if p.echoAt(garden4, 443, 3) {
		t.Error("the garden is reached after its time")
	}
}

// TestTimeEnds has paid time end with no process there.
func TestTimeEnds(t *testing.T) {
	t.Parallel()
	z := newZone(t, 1)
	z.serve(7000)
	s := z.open(z.config())
	o := order(1, z.phones[0], 10)
	o.Until = until(2 * time.Second)
	if err := s.Apply(t.Context(), []zonegate.Order{o}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if !z.phones[0].echo(site4, 5) || !z.phones[0].echo(site6, 5) {
		t.Error("the paid time is not given")
	}
	time.Sleep(time.Until(theClock.start.Add(o.Until - time.Hour + 50*time.Millisecond)))
	if z.phones[0].echo(site4, 3) || z.phones[0].echo(site6, 3) {
		t.Error("the phone passes after its time")
	}
	// What timed out in the kernel can still be stopped, or sold again.
	e := z.start(z.config())
	o.Until = until(time.Hour)
	e.apply(o)
	if !z.phones[0].echo(site4, 5) {
		t.Error("the new time is not given")
	}
	o.Until = until(100 * time.Millisecond)
	e.change([]zonegate.Order{o})
	time.Sleep(200 * time.Millisecond)
	e.change(nil, 1)
	if u := e.book.awaitFinal(t, 1); u.Octets.Up < 99 {
		t.Errorf("final counters %+v", u)
	}
}

// TestStopCutsBothWays stops a session under load.
func TestStopCutsBothWays(t *testing.T) {
	t.Parallel()
	z := newZone(t, 1)
	z.serve(7000)
	z.meterWire()
	e := z.start(z.config())
	e.apply(order(1, z.phones[0], 20))
	l := newLoad(t)
	l.flood(z, z.phones[0], site4, 30, 1200)
	l.flood(z, z.phones[0], site6, 30, 1200)
	l.upload(z.phones[0], site4)
	time.Sleep(300 * time.Millisecond)
	e.change(nil, 1)
	down, up := z.wired()
	time.Sleep(300 * time.Millisecond)
	if d, u := z.wired(); d != down || u != up {
		t.Errorf("after the stop %d bytes came down and %d went up", d-down, u-up)
	}
	got := e.book.awaitFinal(t, 1)
	if got.Octets.Down != down || got.Octets.Up != up {
		t.Errorf("reported %+v, delivered down %d up %d", got.Octets, down, up)
	}
	if down < 2e5 || up < 2e5 {
		t.Errorf("only %d down and %d up before the stop", down, up)
	}
}

// TestHandover passes a phone to another session with a flow open.
func TestHandover(t *testing.T) {
	t.Parallel()
	z := newZone(t, 1)
	z.serve(7000)
	e := z.start(z.config())
	p := z.phones[0]
	e.apply(order(1, p, 10))
	c, err := p.dial("tcp", site4, 7000)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "%8d", 20_000_000)
	if _, err := io.CopyN(io.Discard, c, 500_000); err != nil {
		t.Fatal(err)
	}
	e.change([]zonegate.Order{order(2, p, 10)}, 1)
	if u := e.book.awaitFinal(t, 1); u.Octets.Down < 500_000 {
		t.Errorf("the first session ended with %+v", u)
	}
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.CopyN(io.Discard, c, 1_000_000); err != nil {
		t.Fatalf("the flow is cut: %v", err)
	}
	e.change(nil, 2)
	if u := e.book.awaitFinal(t, 2); u.Octets.Down < 500_000 {
		t.Errorf("the second session ended with %+v", u)
	}
}

// TestLocate finds a phone by either address.
func TestLocate(t *testing.T) {
	t.Parallel()
	z := newZone(t, 2)
	s := z.open(z.config())
	defer s.Close()
	for _, p := range z.phones {
		for _, a := range []string{p.v4, p.v6} {
			gw := "10.77.0.1"
			if strings.Contains(a, ":") {
				gw = "fd77::1"
			}
			if c, err := p.dial("tcp", gw, 1); err == nil { // refused, but now they know each other
				c.Close()
			}
			got, err := s.Locate(t.Context(), netip.MustParseAddr(a))
			if err != nil || got != p.mac {
				t.Errorf("locating %s: %v, %v; want %v", a, got, err, p.mac)
			}
		}
	}
	for _, a := range []string{"10.77.0.99", "192.0.2.2", "fd77::99", "10.77.0.1"} {
		if got, err := s.Locate(t.Context(), netip.MustParseAddr(a)); !errors.Is(err, kernel.ErrUnknownDevice) {
			t.Errorf("locating %s: %v, %v", a, got, err)
		}
	}
}
