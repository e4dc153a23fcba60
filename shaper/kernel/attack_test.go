package kernel_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zonegate"
)

// Packets made by hand, as somebody makes them who looks for a way out.

func sum16(list ...[]byte) uint16 {
	var n uint32
	for _, b := range list {
		for i, v := range b {
			n += uint32(v) << (8 * (1 - i%2))
		}
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return ^uint16(n)
}

func ip4(src, dst string, proto byte, fragment uint16, options, payload []byte) []byte {
	s, d := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	h := make([]byte, 20, 20+len(options)+len(payload))
	h[0] = 0x40 | byte(5+len(options)/4)
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(options)+len(payload)))
	h[5] = 7
	binary.BigEndian.PutUint16(h[6:], fragment)
	h[8], h[9] = 64, proto
	copy(h[12:], s[:])
	copy(h[16:], d[:])
	h = append(h, options...)
	binary.BigEndian.PutUint16(h[10:], sum16(h))
	return append(h, payload...)
}

func ip6(src, dst string, next byte, payload []byte) []byte {
	s, d := netip.MustParseAddr(src).As16(), netip.MustParseAddr(dst).As16()
	h := make([]byte, 8, 40+len(payload))
	h[0] = 0x60
	binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
	h[6], h[7] = next, 64
	return append(append(append(h, s[:]...), d[:]...), payload...)
}

// udp is a datagram whose checksum fits the addresses.
func udp(src, dst string, port uint16, data []byte) []byte {
	h := make([]byte, 8, 8+len(data))
	binary.BigEndian.PutUint16(h, 5000)
	binary.BigEndian.PutUint16(h[2:], port)
	binary.BigEndian.PutUint16(h[4:], uint16(8+len(data)))
	h = append(h, data...)
	s, d := netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice()
	binary.BigEndian.PutUint16(h[6:], sum16(s, d, []byte{0, 17, byte(len(h) >> 8), byte(len(h))}, h))
	return h
}

func tcp4(src, dst string, port uint16, flags byte, data []byte) []byte {
	h := make([]byte, 20, 20+len(data))
	binary.BigEndian.PutUint16(h, 5001)
	binary.BigEndian.PutUint16(h[2:], port)
	h[7], h[11], h[12], h[13], h[14] = 1, 1, 0x50, flags, 4
	h = append(h, data...)
	s, d := netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice()
	binary.BigEndian.PutUint16(h[16:], sum16(s, d, []byte{0, 6, byte(len(h) >> 8), byte(len(h))}, h))
	return h
}

var gatewayMAC = zonegate.MAC{2, 0, 0, 0, 0, 1}

func ether(to, from zonegate.MAC, tags []byte, packet []byte) []byte {
	f := append(append([]byte{}, to[:]...), from[:]...)
	f = append(f, tags...)
	if packet[0]>>4 == 4 {
		f = append(f, 0x08, 0x00)
	} else {
		f = append(f, 0x86, 0xdd)
	}
	return append(f, packet...)
}

// A wire sends and receives frames at eth0 of a namespace.
type wire struct {
	t  testing.TB
	fd int
}

func (s *space) wireTap() *wire {
	s.t.Helper()
	w := &wire{t: s.t}
	s.do(func() {
		all := int(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}))
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
		if err != nil {
			s.t.Fatal(err)
		}
		w.fd = fd
		s.t.Cleanup(func() { unix.Close(fd) })
		dev, err := net.InterfaceByName("eth0")
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: dev.Index})
		}
		if err == nil {
			err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000})
		}
		if err != nil {
			s.t.Fatal(err)
		}
	})
	return w
}

func (w *wire) send(frames ...[]byte) {
	w.t.Helper()
	for _, f := range frames {
		if _, err := unix.Write(w.fd, f); err != nil {
			w.t.Fatalf("sending a frame: %v", err)
		}
	}
}

// A listener collects the words "word<...>" in what arrives.
type listener struct {
	mu    sync.Mutex
	words map[string]bool
}

func (w *wire) listen() *listener {
	l := &listener{words: map[string]bool{}}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n, from, err := unix.Recvfrom(w.fd, buf, 0)
			if ll, ok := from.(*unix.SockaddrLinklayer); err != nil || !ok || ll.Pkttype == unix.PACKET_OUTGOING {
				continue
			}
			_, rest, _ := bytes.Cut(buf[:n], []byte("word<"))
			if word, _, ok := bytes.Cut(rest, []byte(">")); ok {
				l.mu.Lock()
				l.words[string(word)] = true
				l.mu.Unlock()
			}
		}
	}()
	w.t.Cleanup(func() { close(stop); <-done })
	return l
}

func (l *listener) has(word string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.words[word]
}

func (l *listener) await(t testing.TB, word string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !l.has(word); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not arrive", word)
		}
	}
}

// A trick is one way to send something to the site.
type trick struct {
	name   string
	passes bool // for a payer
	frames [][]byte
}

// tricks are those of a device; owner has addresses that are not its own.
func tricks(who string, mac zonegate.MAC, v4, v6 string, owner *phone) []trick {
	var list []trick
	word := func(name string) []byte { return []byte("word<" + who + " " + name + ">") }
	frame := func(p []byte) []byte { return ether(gatewayMAC, mac, nil, p) }
	add := func(name string, passes bool, frames ...[]byte) { list = append(list, trick{name, passes, frames}) }
	plain4 := func(name, src string) []byte { return ip4(src, site4, 17, 0, nil, udp(src, site4, 9, word(name))) }
	plain6 := func(name, src string) []byte { return ip6(src, site6, 17, udp(src, site6, 9, word(name))) }

	add("udp4", true, frame(plain4("udp4", v4)))
	add("udp6", true, frame(plain6("udp6", v6)))
	for _, proto := range []byte{0, 1, 2, 4, 33, 41, 47, 50, 51, 58, 89, 103, 112, 132, 136, 253, 255} {
		passes := proto == 41 || proto == 47 || proto == 50 || proto == 253
		name := fmt.Sprintf("protocol %d over IPv4", proto)
		add(name, passes, frame(ip4(v4, site4, proto, 0, nil, append(make([]byte, 16), word(name)...))))
		name = fmt.Sprintf("protocol %d over IPv6", proto)
		add(name, passes, frame(ip6(v6, site6, proto, append(make([]byte, 16), word(name)...))))
	}
	for _, flags := range []byte{0, 0x02, 0x04, 0x10, 0x11, 0x12, 0x18, 0x29, 0xff} {
		for _, port := range []uint16{22, 443, 853} {
			name := fmt.Sprintf("TCP flags %#x port %d", flags, port)
			add(name, flags == 2, frame(ip4(v4, site4, 6, 0, nil, tcp4(v4, site4, port, flags, word(name)))))
		}
	}
	// Fragments. Alone they never pass: nobody sees what they belong to.
	d := udp(v4, site4, 9, append(make([]byte, 64), word("fragments")...))
	add("fragments", true, frame(ip4(v4, site4, 17, 0x2000, nil, d[:40])), frame(ip4(v4, site4, 17, 5, nil, d[40:])))
	add("last fragment", false, frame(ip4(v4, site4, 253, 9, nil, append(make([]byte, 16), word("last fragment")...))))
	// IPv4 options: source routes, record route, router alert.
	hop := netip.MustParseAddr(site4).AsSlice()
	for i, o := range [][]byte{
		append([]byte{0x83, 7, 4}, append(hop, 0)...), append([]byte{0x89, 7, 4}, append(hop, 0)...),
		{7, 7, 4, 0, 0, 0, 0, 0}, {0x94, 4, 0, 0},
	} {
		for _, dst := range []string{site4, "10.77.0.1"} {
			name := fmt.Sprintf("IPv4 option %d to %s", i, dst)
			add(name, i == 2 && dst == site4, frame(ip4(v4, dst, 17, 0, o, udp(v4, dst, 9, word(name)))))
		}
	}
	// Extension headers, also in a route through the gateway.
	final := netip.MustParseAddr(site6).AsSlice()
	for _, e := range []struct {
		name   string
		next   byte
		header []byte
		passes bool
	}{
		{"hop by hop", 0, []byte{17, 0, 1, 4, 0, 0, 0, 0}, true},
		{"destination options", 60, []byte{17, 0, 1, 4, 0, 0, 0, 0}, true},
		{"atomic fragment", 44, []byte{17, 0, 0, 0, 0, 0, 0, 9}, true},
		{"first fragment", 44, []byte{17, 0, 0, 1, 0, 0, 0, 8}, false},
		{"routing type 0", 43, append([]byte{17, 2, 0, 1, 0, 0, 0, 0}, final...), false},
		{"segment routing", 43, append([]byte{17, 2, 4, 1, 0, 0, 0, 0}, final...), false},
		{"authentication", 51, []byte{17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, false},
	} {
		u := udp(v6, site6, 9, word(e.name))
		add(e.name, e.passes, frame(ip6(v6, site6, e.next, append(e.header, u...))))
		name := e.name + " to the gateway"
		add(name, false, frame(ip6(v6, "fd77::1", e.next, append(e.header, udp(v6, site6, 9, word(name))...))))
	}
	// Tunnels that the gateway might open.
	for proto, name := range map[byte]string{41: "6in4", 4: "ipip", 47: "gre"} {
		inner := plain4(name, v4)
		switch proto {
		case 41:
			inner = plain6(name, v6)
		case 47:
			inner = append([]byte{0, 0, 8, 0}, inner...)
		}
		add(name, false, frame(ip4(v4, "10.77.0.1", proto, 0, nil, inner)))
	}
	// Tags and other destinations.
	for name, tags := range map[string][]byte{
		"VLAN 0": {0x81, 0, 0, 0}, "VLAN 1": {0x81, 0, 0, 1}, "VLAN 100": {0x81, 0, 0, 100},
		"two tags": {0x88, 0xa8, 0, 0, 0x81, 0, 0, 0},
	} {
		add(name, name == "VLAN 0", ether(gatewayMAC, mac, tags, plain4(name, v4)))
	}
	for name, to := range map[string]zonegate.MAC{"broadcast": {255, 255, 255, 255, 255, 255}, "multicast": {1, 0, 0x5e, 0, 0, 1}} {
		add(name, false, ether(to, mac, nil, plain4(name, v4)))
	}
	// Addresses that are nobody's here.
	for _, src := range []string{"10.99.0.5", "192.0.2.77", site4, "127.0.0.1", "0.0.0.0", "224.0.0.5"} {
		add(src, false, frame(plain4(src, src)))
	}
	for _, src := range []string{"fe80::5", "2001:db8::77", site6, "::1", "::", "fd99::5", "::ffff:10.77.0.10"} {
		add(src, false, frame(plain6(src, src)))
	}
	if owner != nil {
		add("a payer's IPv4", false, frame(plain4("a payer's IPv4", owner.v4)))
		add("a payer's IPv6", false, frame(plain6("a payer's IPv6", owner.v6)))
		// An error message about a payer's flow.
		about := plain4("an error", owner.v4)
		e := append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, about...)
		binary.BigEndian.PutUint16(e[2:], sum16(e))
		add("an error", false, frame(ip4(v4, site4, 1, 0, nil, e)), frame(ip4(owner.v4, site4, 1, 0, nil, e)))
	}
	return list
}

// TestTricks sends packets of every shape. What passes for a payer shows that
// the shape is one that could.
func TestTricks(t *testing.T) {
	t.Parallel()
	z := newZone(t, 2)
	payer, stranger := z.phones[0], z.phones[1]
	e := z.start(z.config())
	e.apply(order(1, payer, 50))
	arrived := z.inet.wireTap().listen()
	strange, paid := stranger.wireTap(), payer.wireTap()

	bad := tricks("stranger", stranger.mac, stranger.v4, stranger.v6, payer)
	for _, k := range bad {
		strange.send(k.frames...)
	}
	good := tricks("payer", payer.mac, payer.v4, payer.v6, nil)
	for _, k := range good {
		paid.send(k.frames...)
		if k.passes {
			arrived.await(t, "payer "+k.name)
		}
	}
	// Once more, for what the flows of the payer may have left open.
	for _, k := range bad {
		strange.send(k.frames...)
	}
	last := "the last"
	paid.send(ether(gatewayMAC, payer.mac, nil, ip4(payer.v4, site4, 17, 0, nil, udp(payer.v4, site4, 10, []byte("word<"+last+">")))))
	arrived.await(t, last)
	for _, k := range bad {
		if arrived.has("stranger " + k.name) {
			t.Errorf("a stranger gets out with %s", k.name)
		}
	}
	for _, k := range good {
		if addr, err := netip.ParseAddr(k.name); err == nil && arrived.has("payer "+k.name) {
			t.Errorf("a payer sends from %s", addr)
		}
	}
	// The session was charged for nothing but its own.
	e.change(nil, 1)
	if u := e.book.awaitFinal(t, 1); u.Octets.Up == 0 {
		t.Errorf("the payer's packets were not counted: %+v", u)
	}
}

// TestInternetCallsIn has the internet send to phones that did not ask.
func TestInternetCallsIn(t *testing.T) {
	t.Parallel()
	z := newZone(t, 2)
	z.serve(7000)
	var heard []*listener
	for _, p := range z.phones {
		heard = append(heard, p.wireTap().listen())
	}
	inet := z.inet.wireTap()
	var wan zonegate.MAC
	z.gw.do(func() {
		dev, err := net.InterfaceByName("wan")
		if err != nil {
			t.Fatal(err)
		}
		wan = zonegate.MAC(dev.HardwareAddr)
	})
	call := func(port uint16, word string) {
		data := []byte("word<" + word + ">")
		from := zonegate.MAC{2, 9}
		for _, p := range z.phones {
			for _, src := range []string{site4, "192.0.2.2", "10.77.0.1"} {
				inet.send(
					ether(wan, from, nil, ip4(src, p.v4, 17, 0, nil, udp(src, p.v4, port, data))),
					ether(wan, from, nil, ip4(src, p.v4, 6, 0, nil, tcp4(src, p.v4, port, 2, data))),
					ether(wan, p.mac, nil, ip4(src, p.v4, 41, 0, nil, data)))
			}
			for _, src := range []string{site6, "2001:db8::2", "fd77::1"} {
				inet.send(
					ether(wan, from, nil, ip6(src, p.v6, 17, udp(src, p.v6, port, data))),
					ether(wan, p.mac, nil, ip6(src, p.v6, 253, data)))
			}
		}
	}
	call(8, "before")
	for _, l := range heard {
		l.await(t, "before") // so it is the gate that keeps them out
	}
	e := z.start(z.config())
	e.apply(order(1, z.phones[0], 10))
	if !z.phones[0].echo(site4, 10) || !z.phones[0].echo(site6, 10) {
		t.Fatal("the payer is not online")
	}
	call(9, "after")
	// What was asked for comes behind it.
	c, err := z.phones[0].dial("udp", site4, 7000)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("word<asked>")); err != nil {
		t.Fatal(err)
	}
	heard[0].await(t, "asked")
	for i, l := range heard {
		if l.has("after") {
			t.Errorf("phone %d is called from the internet", i)
		}
	}
}
