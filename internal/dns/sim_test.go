package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A simUpstream is a resolver on loopback, UDP and TCP at the same port, that
// does what its handler says.
type simUpstream struct {
	addr netip.AddrPort
	tcp  net.Listener

	mu      sync.Mutex
	handler handler
	queries [][]byte // as received
	viaTCP  int
}

// A handler returns the packets to send back for one question, in order.
type handler func(req *request) [][]byte

// A request is a question that arrived at the simulated resolver.
type request struct {
	raw []byte
	msg dnsmessage.Message
	tcp bool
	n   int // number of this question, from 1
}

func newUpstream(t testing.TB, ip string, h handler) *simUpstream {
	t.Helper()
	u := &simUpstream{handler: h}
	udp, tcp := listenPair(t, ip)
	u.tcp = tcp
	u.addr = netip.MustParseAddrPort(udp.LocalAddr().String())
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 65535)
		for {
			n, from, err := udp.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			for _, reply := range u.serve(buf[:n], false) {
				if _, err := udp.WriteToUDPAddrPort(reply, from); err != nil && !errors.Is(err, net.ErrClosed) {
					t.Logf("upstream: %v", err)
				}
			}
		}
	})
	wg.Go(func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
				msg, err := readFrame(conn)
				if err != nil {
					return
				}
				for _, reply := range u.serve(msg, true) {
					_, _ = conn.Write(frame(reply))
				}
			})
		}
	})
	t.Cleanup(func() {
		udp.Close()
		tcp.Close()
		wg.Wait()
	})
	return u
}

// listenPair opens UDP and TCP sockets at one free port.
func listenPair(t testing.TB, ip string) (*net.UDPConn, net.Listener) {
	t.Helper()
	for range 50 {
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)})
		if err != nil {
			t.Fatal(err)
		}
		tcp, err := net.Listen("tcp", udp.LocalAddr().String())
		if err == nil {
			return udp, tcp
		}
		udp.Close()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil, nil
}

func (u *simUpstream) serve(raw []byte, tcp bool) [][]byte {
	req := &request{raw: slices.Clone(raw), tcp: tcp}
	if err := req.msg.Unpack(req.raw); err != nil {
		return nil
	}
	u.mu.Lock()
	u.queries = append(u.queries, req.raw)
	if tcp {
		u.viaTCP++
	}
	req.n = len(u.queries)
	h := u.handler
	u.mu.Unlock()
	return h(req)
}

func (u *simUpstream) handle(h handler) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.handler = h
}

func (u *simUpstream) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.queries)
}

func (u *simUpstream) countTCP() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.viaTCP
}

// last returns the newest question as it was received.
func (u *simUpstream) last() []byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.queries[len(u.queries)-1]
}

func readFrame(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, msg)
	return msg, err
}

// reply packs an answer to the request, changed by the functions.
func (r *request) reply(change ...func(*dnsmessage.Message)) []byte {
	m := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: r.msg.ID, Response: true, RecursionDesired: r.msg.RecursionDesired, RecursionAvailable: true,
		},
		Questions: slices.Clone(r.msg.Questions),
	}
	for _, f := range change {
		f(&m)
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// with adds an answer record.
func with(name string, ttl uint32, body dnsmessage.ResourceBody) func(*dnsmessage.Message) {
	return func(m *dnsmessage.Message) {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: ttl},
			Body:   body,
		})
	}
}

func a(addr string) dnsmessage.ResourceBody {
	ip := netip.MustParseAddr(addr)
	if ip.Is4() {
		return &dnsmessage.AResource{A: ip.As4()}
	}
	return &dnsmessage.AAAAResource{AAAA: ip.As16()}
}

func cname(to string) dnsmessage.ResourceBody {
	return &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(to)}
}

func rcode(c dnsmessage.RCode) func(*dnsmessage.Message) {
	return func(m *dnsmessage.Message) { m.RCode = c }
}

// theAddress is what good answers with.
const theAddress = "93.184.215.14"

// good answers every question with theAddress.
func good(r *request) [][]byte {
	return [][]byte{r.reply(with(r.msg.Questions[0].Name.String(), 300, a(theAddress)))}
}

// start runs a server on loopback and returns its address. What the caller
// left open is set to what most tests want.
func start(t testing.TB, s *Server, ip string) netip.AddrPort {
	t.Helper()
	udp, tcp := listenPair(t, ip)
	s.UDP, s.TCP = []*net.UDPConn{udp}, []net.Listener{tcp}
	if s.LAN == nil {
		s.LAN = func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("192.168.77.1/24")} }
	}
	if s.ResolvConf == nil {
		s.ResolvConf = []string{}
	}
	if s.Rate == 0 {
		s.Rate, s.Burst = 1_000_000, 1_000_000
	}
	if s.Timeout == 0 {
		s.Timeout = 20 * time.Second // longer than any wait that is not meant
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run does not end")
		}
	})
	return netip.MustParseAddrPort(udp.LocalAddr().String())
}

// A client asks questions of one server over UDP.
type client struct {
	t    testing.TB
	conn net.Conn
}

func dial(t testing.TB, to netip.AddrPort) *client {
	t.Helper()
	conn, err := net.Dial("udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t, conn}
}

func (c *client) send(msg []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(msg); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) receive() []byte {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	buf := make([]byte, 65535)
	n, err := c.conn.Read(buf)
	if err != nil {
		c.t.Fatalf("waiting for an answer: %v", err)
	}
	return buf[:n]
}

func (c *client) ask(msg []byte) dnsmessage.Message {
	c.t.Helper()
	c.send(msg)
	return unpack(c.t, c.receive())
}

func unpack(t testing.TB, b []byte) dnsmessage.Message {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		t.Fatalf("unpacking %x: %v", b, err)
	}
	return m
}

// askTCP asks over a connection of its own.
func askTCP(t testing.TB, to netip.AddrPort, msg []byte) dnsmessage.Message {
	t.Helper()
	conn, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Write(frame(msg)); err != nil {
		t.Fatal(err)
	}
	answer, err := readFrame(conn)
	if err != nil {
		t.Fatal(err)
	}
	return unpack(t, answer)
}

const testID = 0x1234

// question packs a question, changed by the functions.
func question(name string, typ dnsmessage.Type, change ...func(*dnsmessage.Message)) []byte {
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: testID, RecursionDesired: true},
		Questions: []dnsmessage.Question{{
			Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET,
		}},
	}
	for _, f := range change {
		f(&m)
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// edns adds an OPT record to a message.
func edns(size int) func(*dnsmessage.Message) {
	return func(m *dnsmessage.Message) {
		r := dnsmessage.Resource{Body: &dnsmessage.OPTResource{
			Options: []dnsmessage.Option{{Code: 10, Data: []byte("cookie88")}},
		}}
		if err := r.Header.SetEDNS0(size, 0, true); err != nil {
			panic(err)
		}
		m.Additionals = append(m.Additionals, r)
	}
}

// wantAddress checks that an answer is the one that good gives.
func wantAddress(t testing.TB, m dnsmessage.Message) {
	t.Helper()
	if m.ID != testID || !m.Response || m.RCode != dnsmessage.RCodeSuccess || len(m.Answers) != 1 {
		t.Fatalf("got %s, want one address", m.GoString())
	}
	r, ok := m.Answers[0].Body.(*dnsmessage.AResource)
	if !ok || netip.AddrFrom4(r.A) != netip.MustParseAddr(theAddress) {
		t.Fatalf("got %s, want %s", m.Answers[0].GoString(), theAddress)
	}
}

func wantCode(t testing.TB, m dnsmessage.Message, code dnsmessage.RCode) {
	t.Helper()
	if m.ID != testID || !m.Response || m.RCode != code || len(m.Answers) != 0 {
		t.Fatalf("got %s, want %s", m.GoString(), code)
	}
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}
