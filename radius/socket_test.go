package radius

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"testing"

	"zonegate/radius/nas"
)

// Wherever it was asked, it answers from there: the clients are connected and
// hear nothing from another address.
func TestAnswersFromTheAddressAsked(t *testing.T) {
	if _, err := os.Stat("/proc/net/if_inet6"); err != nil {
		t.Fatalf("this machine has no IPv6, which the test needs: %v", err)
	}
	for _, c := range []struct {
		name   string
		listen []string
		ask    []string // address, and the client's own
	}{
		{"IPv4", []string{"0.0.0.0:0"}, []string{"127.0.0.1", "127.0.0.77"}},
		{"both", []string{"[::]:0"}, []string{"127.0.0.1", "127.0.0.77", "::1"}},
		{"one", []string{"127.0.0.5:0", "[::1]:0"}, []string{"127.0.0.5", "::1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := serve(t, func(s *Server, _ *served) {
				s.Auth = nil
				for _, l := range c.listen {
					s.Auth = append(s.Auth, netip.MustParseAddrPort(l))
				}
			})
			v.add("four", "127.0.0.1/32", nas.RequireAuto)
			v.add("six", "::1/128", nas.RequireAuto)
			for _, addr := range c.ask {
				to, from := netip.MustParseAddr(addr), "127.0.0.1"
				at := v.auth[0]
				if to.Is6() {
					from = "::1"
					at = v.auth[len(v.auth)-1]
				}
				c := dial(t, from, netip.AddrPortFrom(to, at.Port()))
				b := accessOf(t, 1, addr)
				first := c.ask(b).Raw()
				c.flushed()
				// The retransmission takes another path through the code.
				if again := c.ask(b).Raw(); !bytes.Equal(first, again) {
					t.Errorf("%s: %x again %x", addr, first, again)
				}
			}
		})
	}
	// Both wildcards with the same port stand beside each other.
	free, err := net.ListenUDP("udp", &net.UDPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	port := free.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	free.Close()
	v := serve(t, func(s *Server, _ *served) {
		s.Auth = []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), port), netip.AddrPortFrom(netip.IPv4Unspecified(), port)}
	})
	v.add("four", "127.0.0.1/32", nas.RequireAuto)
	dial(t, "127.0.0.1", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.3"), port)).ask(accessOf(t, 1, "ama"))
}

// An answer that takes its time leaves from the address that was asked too,
// whatever was heard in between.
func TestAnswersLateFromTheAddressAsked(t *testing.T) {
	g := newGate()
	v := serve(t, func(s *Server, v *served) {
		s.Auth, v.stand.decide = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:0")}, g.decide
	})
	v.add("one", "127.0.0.1/32", nas.RequireAuto)
	at := func(addr string) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(addr), v.auth[0].Port())
	}
	c := dial(t, "127.0.0.1", at("127.0.0.77"))
	slow := accessOf(t, 1, "slow")
	c.send(slow)
	<-g.inside
	dial(t, "127.0.0.1", at("127.0.0.88")).ask(accessOf(t, 1, "ama"))
	close(g.open)
	c.answerTo(slow)
}
