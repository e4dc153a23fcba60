package dns

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func TestRateLimit(t *testing.T) {
	up := newUpstream(t, "127.0.0.1", good)
	s := &Server{Upstreams: []netip.AddrPort{up.addr}, Rate: 1, Burst: heavyCost - 1}
	addr := start(t, s, "127.0.0.1")
	c := dial(t, addr)
	for _, typ := range []dnsmessage.Type{dnsmessage.TypeTXT, typeNULL, dnsmessage.TypeALL, 65399} {
		wantCode(t, c.ask(question("t.example.org.", typ)), dnsmessage.RCodeRefused)
	}
	wantCode(t, askTCP(t, addr, question("t.example.org.", typeNULL)), dnsmessage.RCodeRefused)
	wantAddress(t, c.ask(question("www.example.org.", dnsmessage.TypeA)))
	if got := s.Stats(); got.Refused != 5 || got.Queries != 6 || up.count() != 1 {
		t.Errorf("got %+v, upstream was asked %d times", got, up.count())
	}
}

func TestLimiter(t *testing.T) {
	l := newLimiter(20, 60)
	now := time.Unix(1000, 0)
	one, two := netip.MustParseAddr("192.168.1.5"), netip.MustParseAddr("fd00::5")
	take := func(who netip.Addr, n int) (taken int) {
		for range n {
			if l.takeAt(now, who, 1) {
				taken++
			}
		}
		return taken
	}
	if n := take(one, 200); n != 60 {
		t.Errorf("a burst of %d, want 60", n)
	}
	if n := take(two, 1); n != 1 {
		t.Error("one address uses up the allowance of another")
	}
	now = now.Add(time.Second)
	if n := take(one, 200); n != 20 {
		t.Errorf("%d after a second, want 20", n)
	}
	now = now.Add(time.Hour)
	if n := take(one, 200); n != 60 {
		t.Errorf("%d after an hour, want 60", n)
	}

	// An attacker with many addresses.
	addr := netip.MustParseAddr("fd00::1:0")
	for range 3 * maxClients {
		addr = addr.Next()
		l.takeAt(now, addr, 1)
	}
	if n := len(l.whole); n > maxClients+1 {
		t.Errorf("%d addresses are remembered, want at most %d", n, maxClients+1)
	}
	// They lose nothing but their own allowance once they are silent.
	now = now.Add(10 * time.Second)
	if n := take(netip.MustParseAddr("192.168.1.9"), 200); n != 60 || len(l.whole) != 1 {
		t.Errorf("a burst of %d, %d addresses remembered", n, len(l.whole))
	}
}

// TestConnections checks that one address gets an eighth of the connections,
// and gets them back.
func TestConnections(t *testing.T) {
	up := newUpstream(t, "127.0.0.1", good)
	addr := start(t, &Server{Upstreams: []netip.AddrPort{up.addr}, MaxConns: 16}, "127.0.0.1")
	open := func() net.Conn {
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		return conn
	}
	works := func(c net.Conn) bool {
		_, err := c.Write(frame(question("www.example.org.", dnsmessage.TypeA)))
		if err == nil {
			_, err = readFrame(c)
		}
		return err == nil
	}
	a, b, c := open(), open(), open()
	defer b.Close()
	if !works(a) || !works(b) {
		t.Fatal("the first two connections do not work")
	}
	if works(c) {
		t.Error("a third connection of one address works, want at most two")
	}
	a.Close()
	c.Close()
	for deadline := time.Now().Add(20 * time.Second); ; {
		d := open()
		ok := works(d)
		d.Close()
		if ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a closed connection is not given back")
		}
	}
}

// TestFlood checks that a flood of questions that nobody answers takes no more
// than its share, that others still get answers, and that all ends with Run.
func TestFlood(t *testing.T) {
	before := runtime.NumGoroutine()
	release := make(chan struct{})
	up := newUpstream(t, "127.0.0.1", func(r *request) [][]byte {
		if strings.HasPrefix(r.msg.Questions[0].Name.String(), "slow") {
			return nil
		}
		return good(r)
	})
	const most = 64
	s := &Server{
		Upstreams: []netip.AddrPort{up.addr}, MaxQueries: most, Rate: 1_000_000, Burst: 1_000_000,
		Timeout: time.Hour, ResolvConf: []string{}, LAN: func() []netip.Prefix { return nil },
	}
	udp, tcp := listenPair(t, "127.0.0.1")
	s.UDP, s.TCP = []*net.UDPConn{udp}, []net.Listener{tcp}
	addr := netip.MustParseAddrPort(udp.LocalAddr().String())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()

	// Sixteen strangers: 127.0.0.2 to 127.0.0.17. Together they can fill all.
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, byte(2+i))}, net.UDPAddrFromAddrPort(addr))
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			q := question("slow.example.org.", dnsmessage.TypeA)
			for range 500 {
				_, _ = conn.Write(q)
				if i == 0 {
					continue // the first does not even wait
				}
				select {
				case <-release:
					return
				default:
				}
			}
		})
	}
	wg.Wait()
	waitFor(t, func() bool { return s.Stats().Dropped > 100 })
	// One per question, and the sockets, the test and its upstream.
	if n := runtime.NumGoroutine() - before; n > most+20 {
		t.Errorf("%d goroutines, want at most %d", n, most+20)
	}
	if n := up.count(); n > most {
		t.Errorf("upstream was asked %d questions, want at most %d", n, most)
	}
	close(release)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// What is left is the upstream's two, and what the test started.
	waitFor(t, func() bool { return runtime.NumGoroutine() <= before+4 })
}

// TestShare checks that one address that keeps questions open does not keep
// others from being answered.
func TestShare(t *testing.T) {
	up := newUpstream(t, "127.0.0.1", func(r *request) [][]byte {
		if strings.HasPrefix(r.msg.Questions[0].Name.String(), "slow") {
			return nil
		}
		return good(r)
	})
	s := &Server{Upstreams: []netip.AddrPort{up.addr}, MaxQueries: 16, Timeout: time.Hour}
	addr := start(t, s, "127.0.0.1")
	greedy := dial(t, addr)
	for range 100 {
		greedy.send(question("slow.example.org.", dnsmessage.TypeA))
	}
	waitFor(t, func() bool { return s.Stats().Queries == 100 })
	if n := s.Stats().Dropped; n != 98 {
		t.Errorf("%d dropped, want all but 2", n)
	}
	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)}, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	wantAddress(t, (&client{t, conn}).ask(question("www.example.org.", dnsmessage.TypeA)))
}

func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited too long")
		}
	}
}
