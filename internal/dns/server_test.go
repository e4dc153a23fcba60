package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func TestForward(t *testing.T) {
	up := newUpstream(t, "127.0.0.1", good)
	for _, ip := range []string{"127.0.0.1", "::1"} {
		addr := start(t, &Server{Upstreams: []netip.AddrPort{up.addr}}, ip)
		wantAddress(t, dial(t, addr).ask(question("www.example.org.", dnsmessage.TypeA)))
		wantAddress(t, askTCP(t, addr, question("www.example.org.", dnsmessage.TypeA)))
	}
	if n := up.countTCP(); n != 2 {
		t.Errorf("%d questions went on over TCP, want 2", n)
	}
}

// TestPassesThrough checks that both messages arrive as they were sent, but
// for the ID, and that this one is new each time.
func TestPassesThrough(t *testing.T) {
	sent := make(chan []byte, 8)
	up := newUpstream(t, "127.0.0.1", func(r *request) [][]byte {
		b := r.reply(with("wWw.eXample.org.", 300, a(theAddress)), edns(1400))
		sent <- b
		return [][]byte{b}
	})
	addr := start(t, &Server{Upstreams: []netip.AddrPort{up.addr}}, "127.0.0.1")
	c := dial(t, addr)
	q := question("wWw.eXample.org.", dnsmessage.TypeA, edns(1400), func(m *dnsmessage.Message) { m.CheckingDisabled = true })
	ids := make(map[uint16]bool)
	for range 8 {
		c.send(q)
		got, answer := c.receive(), <-sent
		if !bytes.Equal(got[2:], answer[2:]) || binary.BigEndian.Uint16(got) != testID {
			t.Fatalf("got\n%x, sent\n%x", got, answer)
		}
		seen := up.last()
		if !bytes.Equal(seen[2:], q[2:]) {
			t.Fatalf("upstream got\n%x, want\n%x", seen, q)
		}
		ids[binary.BigEndian.Uint16(seen)] = true
	}
	if len(ids) < 6 {
		t.Errorf("%d different IDs in 8 questions", len(ids))
	}
}

// TestMisbehaviour checks that nothing but an answer to our question is taken
// for one.
func TestMisbehaviour(t *testing.T) {
	evil := with("www.example.org.", 300, a("6.6.6.6"))
	first := func(bad func(r *request) [][]byte) handler {
		return func(r *request) [][]byte {
			if r.n == 1 {
				return bad(r)
			}
			return good(r)
		}
	}
	before := func(bad func(r *request) []byte) handler {
		return func(r *request) [][]byte { return append([][]byte{bad(r)}, good(r)...) }
	}
	for _, tt := range []struct {
		name    string
		h       handler
		timeout time.Duration
		bogus   uint64
		queries int
	}{
		{name: "dropped", h: first(func(*request) [][]byte { return nil }), timeout: 100 * time.Millisecond, queries: 2},
		{name: "wrong ID", h: before(func(r *request) []byte {
			return r.reply(evil, func(m *dnsmessage.Message) { m.ID ^= 0x0100 })
		}), bogus: 1, queries: 1},
		{name: "wrong name", h: before(func(r *request) []byte {
			return r.reply(evil, func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("www.example.net.") })
		}), bogus: 1, queries: 1},
		{name: "wrong type", h: before(func(r *request) []byte {
			return r.reply(evil, func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeAAAA })
		}), bogus: 1, queries: 1},
		{name: "wrong class", h: before(func(r *request) []byte {
			return r.reply(evil, func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS })
		}), bogus: 1, queries: 1},
		{name: "two questions", h: before(func(r *request) []byte {
			return r.reply(evil, func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) })
		}), bogus: 1, queries: 1},
		{name: "no question", h: before(func(r *request) []byte {
			return r.reply(evil, func(m *dnsmessage.Message) { m.Questions = nil })
		}), bogus: 1, queries: 1},
		{name: "a question", h: before(func(r *request) []byte {
			return r.reply(evil, func(m *dnsmessage.Message) { m.Response = false })
		}), bogus: 1, queries: 1},
		{name: "another opcode", h: before(func(r *request) []byte {
			return r.reply(evil, func(m *dnsmessage.Message) { m.OpCode = 4 })
		}), bogus: 1, queries: 1},
		{name: "cut short", h: before(func(r *request) []byte { b := r.reply(evil); return b[:len(b)-3] }), bogus: 1, queries: 1},
		{name: "garbage", h: before(func(*request) []byte { return []byte("no DNS at all, but long enough") }), bogus: 1, queries: 1},
		{name: "empty", h: before(func(*request) []byte { return nil }), bogus: 1, queries: 1},
		{name: "truncated", h: func(r *request) [][]byte {
			if r.tcp {
				return good(r)
			}
			return [][]byte{r.reply(evil, func(m *dnsmessage.Message) { m.Truncated = true })}
		}, queries: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := newUpstream(t, "127.0.0.1", tt.h)
			s := &Server{Upstreams: []netip.AddrPort{up.addr}, Timeout: tt.timeout}
			wantAddress(t, dial(t, start(t, s, "127.0.0.1")).ask(question("www.example.org.", dnsmessage.TypeA)))
			if got := s.Stats().Bogus; got != tt.bogus {
				t.Errorf("%d bogus packets counted, want %d", got, tt.bogus)
			}
			// A slow machine may time out more often than it should.
			if n := up.count(); n != tt.queries && tt.timeout == 0 {
				t.Errorf("upstream was asked %d times, want %d", n, tt.queries)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	silent := func(*request) [][]byte { return nil }
	failing := func(r *request) [][]byte { return [][]byte{r.reply(rcode(dnsmessage.RCodeServerFailure))} }
	refusing := func(r *request) [][]byte { return [][]byte{r.reply(rcode(dnsmessage.RCodeRefused))} }
	bare := func(r *request) [][]byte {
		return [][]byte{r.reply(rcode(dnsmessage.RCodeFormatError), func(m *dnsmessage.Message) { m.Questions = nil })}
	}
	denying := func(r *request) [][]byte { return [][]byte{r.reply(rcode(dnsmessage.RCodeNameError))} }
	for _, tt := range []struct {
		name    string
		h       []handler
		timeout time.Duration
		want    dnsmessage.RCode
		asked   []int // per upstream; nil where the machine's speed decides
	}{
		{name: "silent", h: []handler{silent}, timeout: 30 * time.Millisecond, want: dnsmessage.RCodeServerFailure, asked: []int{3}},
		{name: "fails, then answers", h: []handler{failing, good}, want: dnsmessage.RCodeSuccess, asked: []int{1, 1}},
		{name: "bare error, then answers", h: []handler{bare, good}, want: dnsmessage.RCodeSuccess, asked: []int{1, 1}},
		{name: "silent, then answers", h: []handler{silent, good}, timeout: 200 * time.Millisecond, want: dnsmessage.RCodeSuccess},
		{name: "fails", h: []handler{failing}, want: dnsmessage.RCodeServerFailure, asked: []int{1}},
		{name: "all refuse", h: []handler{refusing, refusing}, want: dnsmessage.RCodeRefused, asked: []int{1, 1}},
		{name: "bare error", h: []handler{bare}, want: dnsmessage.RCodeServerFailure, asked: []int{1}},
		{name: "denied", h: []handler{denying, good}, want: dnsmessage.RCodeNameError, asked: []int{1, 0}},
		{name: "none", want: dnsmessage.RCodeServerFailure},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &Server{Timeout: tt.timeout}
			var ups []*simUpstream
			for _, h := range tt.h {
				up := newUpstream(t, "127.0.0.1", h)
				ups = append(ups, up)
				s.Upstreams = append(s.Upstreams, up.addr)
			}
			got := dial(t, start(t, s, "127.0.0.1")).ask(question("www.example.org.", dnsmessage.TypeA, edns(1232)))
			if tt.want == dnsmessage.RCodeSuccess {
				wantAddress(t, got)
			} else {
				wantCode(t, got, tt.want)
			}
			if len(got.Questions) != 1 || got.Questions[0].Name.String() != "www.example.org." {
				t.Errorf("questions are %v", got.Questions)
			}
			for i, n := range tt.asked {
				if got := ups[i].count(); got != n {
					t.Errorf("upstream %d was asked %d times, want %d", i, got, n)
				}
			}
		})
	}
}

// TestPreferred checks that a dead resolver costs one question its time and
// not every question.
func TestPreferred(t *testing.T) {
	dead := newUpstream(t, "127.0.0.1", func(*request) [][]byte { return nil })
	up := newUpstream(t, "127.0.0.1", good)
	s := &Server{Upstreams: []netip.AddrPort{dead.addr, up.addr}, Timeout: 500 * time.Millisecond}
	c := dial(t, start(t, s, "127.0.0.1"))
	for range 5 {
		wantAddress(t, c.ask(question("www.example.org.", dnsmessage.TypeA)))
	}
	if n := dead.count(); n != 1 {
		t.Errorf("the dead resolver was asked %d times, want once", n)
	}
}

func TestSetUpstreams(t *testing.T) {
	one, two := newUpstream(t, "127.0.0.1", good), newUpstream(t, "::1", good)
	s := &Server{Upstreams: []netip.AddrPort{one.addr}}
	addr := start(t, s, "127.0.0.1")
	c := dial(t, addr)
	wantAddress(t, c.ask(question("a.example.org.", dnsmessage.TypeA)))
	s.SetUpstreams([]netip.AddrPort{two.addr})
	wantAddress(t, c.ask(question("b.example.org.", dnsmessage.TypeA)))
	if one.count() != 1 || two.count() != 1 {
		t.Errorf("asked %d and %d times, want once each", one.count(), two.count())
	}
	// Ourselves: it would go round for ever.
	s.SetUpstreams([]netip.AddrPort{addr})
	wantCode(t, c.ask(question("c.example.org.", dnsmessage.TypeA)), dnsmessage.RCodeServerFailure)
	if got := s.Stats().Queries; got != 3 {
		t.Errorf("%d questions were seen, want 3", got)
	}
}

// long answers with so many addresses, over UDP only if that is asked for.
func long(n int, udp bool) handler {
	return func(r *request) [][]byte {
		if !r.tcp && !udp {
			return [][]byte{r.reply(func(m *dnsmessage.Message) { m.Truncated = true })}
		}
		var records []func(*dnsmessage.Message)
		for i := range n {
			ip := netip.AddrFrom4([4]byte{93, 184, byte(i >> 8), byte(i)})
			records = append(records, with(r.msg.Questions[0].Name.String(), 300, a(ip.String())))
		}
		return [][]byte{r.reply(records...)}
	}
}

func TestTruncated(t *testing.T) {
	for _, tt := range []struct {
		name    string
		h       handler
		records int
		size    int // of the client's EDNS, 0 for none
		fits    bool
	}{
		{"small client", long(100, false), 100, 0, false},
		{"large client", long(100, false), 100, 4096, true},
		{"too small client", long(100, false), 100, 1232, false},
		{"resolver ignores the size", long(100, true), 100, 0, false},
		{"more than any packet", long(1000, true), 1000, 65535, false},
		{"no more than 64 KB", long(2000, false), 2000, 4096, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := newUpstream(t, "127.0.0.1", tt.h)
			addr := start(t, &Server{Upstreams: []netip.AddrPort{up.addr}}, "127.0.0.1")
			var change []func(*dnsmessage.Message)
			if tt.size > 0 {
				change = append(change, edns(tt.size))
			}
			q := question("www.example.org.", dnsmessage.TypeA, change...)
			got := dial(t, addr).ask(q)
			if got.Truncated == tt.fits || tt.fits && len(got.Answers) != tt.records || !tt.fits && len(got.Answers) != 0 {
				t.Errorf("over UDP: truncated %t with %d records", got.Truncated, len(got.Answers))
			}
			if !tt.fits && (tt.size > 0) != (len(got.Additionals) == 1) {
				t.Errorf("%d additional records", len(got.Additionals))
			}
			if got := askTCP(t, addr, q); got.Truncated || len(got.Answers) != tt.records {
				t.Errorf("over TCP: truncated %t with %d records", got.Truncated, len(got.Answers))
			}
		})
	}
}

// TestRefusals checks what is not forwarded. After each bad message a good one
// is sent: its answer must be the next packet where none is due before it.
func TestRefusals(t *testing.T) {
	up := newUpstream(t, "127.0.0.1", good)
	addr := start(t, &Server{Upstreams: []netip.AddrPort{up.addr}}, "127.0.0.1")
	header := question("www.example.org.", dnsmessage.TypeA)[:12]
	for _, tt := range []struct {
		name   string
		msg    []byte
		code   dnsmessage.RCode
		silent bool
	}{
		{name: "opcode", msg: question("www.example.org.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.OpCode = 5 }), code: dnsmessage.RCodeNotImplemented},
		{name: "no question", msg: question("www.example.org.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.Questions = nil }), code: dnsmessage.RCodeFormatError},
		{name: "two questions", msg: question("www.example.org.", dnsmessage.TypeA, func(m *dnsmessage.Message) {
			m.Questions = append(m.Questions, m.Questions[0])
		}), code: dnsmessage.RCodeFormatError},
		{name: "with an answer", msg: question("www.example.org.", dnsmessage.TypeA, with("www.example.org.", 1, a("192.0.2.1"))), code: dnsmessage.RCodeFormatError},
		{name: "with an authority", msg: question("www.example.org.", dnsmessage.TypeA, func(m *dnsmessage.Message) {
			with("www.example.org.", 1, a("192.0.2.1"))(m)
			m.Authorities, m.Answers = m.Answers, nil
		}), code: dnsmessage.RCodeFormatError},
		{name: "two OPT", msg: question("www.example.org.", dnsmessage.TypeA, edns(512), edns(512)), code: dnsmessage.RCodeFormatError},
		{name: "class", msg: question("version.bind.", dnsmessage.TypeTXT, func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }), code: dnsmessage.RCodeRefused},
		{name: "transfer", msg: question("example.org.", typeAXFR), code: dnsmessage.RCodeRefused},
		{name: "cut short", msg: header, code: dnsmessage.RCodeFormatError},
		{name: "an answer", msg: question("www.example.org.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.Response = true }), silent: true},
		{name: "garbage", msg: []byte("x"), silent: true},
		{name: "too long", msg: append(question("www.example.org.", dnsmessage.TypeA), make([]byte, maxQuery)...), silent: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, addr)
			before := up.count()
			c.send(tt.msg)
			if !tt.silent {
				wantCode(t, unpack(t, c.receive()), tt.code)
			}
			wantAddress(t, c.ask(question("good.example.org.", dnsmessage.TypeA)))
			if n := up.count() - before; n != 1 {
				t.Errorf("upstream was asked %d times, want once", n)
			}
		})
	}
}

func TestPortalName(t *testing.T) {
	up := newUpstream(t, "127.0.0.1", good)
	s := &Server{
		Upstreams: []netip.AddrPort{up.addr},
		Name:      "Portail.Awa.example.",
		LAN: func() []netip.Prefix {
			return []netip.Prefix{
				netip.MustParsePrefix("192.168.77.1/24"), netip.MustParsePrefix("10.9.0.1/16"),
				netip.MustParsePrefix("fe80::1/64"), netip.MustParsePrefix("fd00:77::1/64"),
			}
		},
	}
	addr := start(t, s, "127.0.0.1")
	c := dial(t, addr)
	for typ, want := range map[dnsmessage.Type][]string{
		dnsmessage.TypeA:    {"192.168.77.1", "10.9.0.1"},
		dnsmessage.TypeAAAA: {"fd00:77::1"},
		65:                  nil, // HTTPS
	} {
		got := c.ask(question("PORTAIL.awa.Example.", typ, edns(1232)))
		var addrs []string
		for _, r := range got.Answers {
			switch b := r.Body.(type) {
			case *dnsmessage.AResource:
				addrs = append(addrs, netip.AddrFrom4(b.A).String())
			case *dnsmessage.AAAAResource:
				addrs = append(addrs, netip.AddrFrom16(b.AAAA).String())
			}
			if r.Header.TTL != nameTTL {
				t.Errorf("TTL is %d", r.Header.TTL)
			}
		}
		if got.RCode != dnsmessage.RCodeSuccess || got.ID != testID || !got.Authoritative || !slices.Equal(addrs, want) || len(got.Additionals) != 1 {
			t.Errorf("type %d: got %s", typ, got.GoString())
		}
	}
	if up.count() != 0 {
		t.Error("the portal's name was passed on")
	}
	wantAddress(t, c.ask(question("x.portail.awa.example.", dnsmessage.TypeA)))
}

// TestNoTCP asks over TCP where the resolver knows UDP alone.
func TestNoTCP(t *testing.T) {
	up := newUpstream(t, "127.0.0.1", long(100, true))
	up.tcp.Close()
	addr := start(t, &Server{Upstreams: []netip.AddrPort{up.addr}}, "127.0.0.1")
	if got := askTCP(t, addr, question("www.example.org.", dnsmessage.TypeA)); got.Truncated || len(got.Answers) != 100 {
		t.Errorf("truncated %t with %d records", got.Truncated, len(got.Answers))
	}
	up.handle(long(100, false))
	wantCode(t, askTCP(t, addr, question("www.example.org.", dnsmessage.TypeA)), dnsmessage.RCodeServerFailure)
}

// TestPipelined sends several questions at once over one connection.
func TestPipelined(t *testing.T) {
	up := newUpstream(t, "127.0.0.1", good)
	addr := start(t, &Server{Upstreams: []netip.AddrPort{up.addr}}, "127.0.0.1")
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	q := frame(question("www.example.org.", dnsmessage.TypeA))
	if _, err := conn.Write(bytes.Repeat(q, 3)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		answer, err := readFrame(conn)
		if err != nil {
			t.Fatal(err)
		}
		wantAddress(t, unpack(t, answer))
	}
	// A question too long for us ends the connection.
	if _, err := conn.Write([]byte{0xff, 0xff, 0}); err != nil {
		t.Fatal(err)
	}
	if _, err := readFrame(conn); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !isReset(err) {
		t.Errorf("got %v, want the connection closed", err)
	}
}

func isReset(err error) bool { return err != nil && strings.Contains(err.Error(), "reset") }

func TestPrepare(t *testing.T) {
	for _, tt := range []struct {
		s    *Server
		want string
	}{
		{&Server{}, "set Device and Port"},
		{&Server{Device: "lan0"}, "set Device and Port"},
		{&Server{Device: "lan0", Port: 2053, Domains: []string{"example.org"}}, "no Garden"},
		{&Server{Device: "lan0", Port: 2053, Domains: []string{"*.com"}}, "whole top-level domain"},
		{&Server{Device: "lan0", Port: 2053, Domains: []string{"a.*.example.org"}}, "write"},
	} {
		if err := tt.s.Run(context.Background()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}
