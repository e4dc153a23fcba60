package dns

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A fakeGarden remembers what it was told.
type fakeGarden struct {
	mu    sync.Mutex
	addrs []string
	ttl   time.Duration
	err   error
	hook  func(context.Context)
}

func (g *fakeGarden) Allow(ctx context.Context, addrs []netip.Addr, ttl time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hook != nil {
		g.hook(ctx)
	}
	for _, a := range addrs {
		g.addrs = append(g.addrs, a.String())
	}
	g.ttl = ttl
	return g.err
}

func TestLearn(t *testing.T) {
	type records = []func(*dnsmessage.Message)
	for _, tt := range []struct {
		name     string
		question string
		typ      dnsmessage.Type
		answer   records
		want     []string
		ttl      time.Duration
		rejected uint64
	}{
		{name: "exact", question: "pay.example.org.", answer: records{with("pay.example.org.", 300, a("93.184.215.14"))},
			want: []string{"93.184.215.14"}, ttl: 5 * time.Minute},
		{name: "in capitals", question: "PAY.Example.ORG.", answer: records{with("pAy.example.org.", 300, a("93.184.215.14"))},
			want: []string{"93.184.215.14"}, ttl: 5 * time.Minute},
		{name: "below exact", question: "x.pay.example.org.", answer: records{with("x.pay.example.org.", 300, a("93.184.215.14"))}},
		{name: "above", question: "example.org.", answer: records{with("example.org.", 300, a("93.184.215.14"))}},
		{name: "alike", question: "notpay.example.org.", answer: records{with("notpay.example.org.", 300, a("93.184.215.14"))}},
		{name: "below wildcard", question: "a.b.cdn.example.net.", answer: records{with("a.b.cdn.example.net.", 300, a("93.184.215.14"))},
			want: []string{"93.184.215.14"}, ttl: 5 * time.Minute},
		{name: "wildcard itself", question: "cdn.example.net.", answer: records{with("cdn.example.net.", 300, a("93.184.215.14"))}},
		{name: "like wildcard", question: "a.xcdn.example.net.", answer: records{with("a.xcdn.example.net.", 300, a("93.184.215.14"))}},
		{name: "IPv6", question: "pay.example.org.", typ: dnsmessage.TypeAAAA,
			answer: records{with("pay.example.org.", 300, a("2606:2800:220:1::1"))},
			want:   []string{"2606:2800:220:1::1"}, ttl: 5 * time.Minute},
		{name: "short TTL", question: "pay.example.org.", answer: records{with("pay.example.org.", 1, a("93.184.215.14"))},
			want: []string{"93.184.215.14"}, ttl: time.Minute},
		{name: "long TTL", question: "pay.example.org.", answer: records{with("pay.example.org.", 86400, a("93.184.215.14"))},
			want: []string{"93.184.215.14"}, ttl: time.Hour},
		{name: "impossible TTL", question: "pay.example.org.", answer: records{with("pay.example.org.", 1<<31, a("93.184.215.14"))},
			want: []string{"93.184.215.14"}, ttl: time.Minute},
		{name: "aliases", question: "pay.example.org.", answer: records{
			with("pay.example.org.", 60, cname("edge.Example.com.")),
			with("edge.example.com.", 60, cname("e1.example.com.")),
			with("e1.example.com.", 120, a("93.184.215.14")),
			with("e1.example.com.", 120, a("93.184.215.15")),
		}, want: []string{"93.184.215.14", "93.184.215.15"}, ttl: 2 * time.Minute},
		{name: "aliases in any order", question: "pay.example.org.", answer: records{
			with("e1.example.com.", 120, a("93.184.215.14")),
			with("edge.example.com.", 60, cname("e1.example.com.")),
			with("pay.example.org.", 60, cname("edge.example.com.")),
		}, want: []string{"93.184.215.14"}, ttl: 2 * time.Minute},
		{name: "alias into the garden", question: "shop.example.com.", answer: records{
			with("shop.example.com.", 60, cname("pay.example.org.")),
			with("pay.example.org.", 60, a("93.184.215.14")),
		}, want: []string{"93.184.215.14"}, ttl: time.Minute},
		{name: "alias after other addresses", question: "shop.example.com.", answer: records{
			with("shop.example.com.", 60, a("6.6.6.6")),
			with("shop.example.com.", 60, cname("pay.example.org.")),
			with("pay.example.org.", 60, a("93.184.215.14")),
		}, want: []string{"93.184.215.14"}, ttl: time.Minute},
		{name: "alias in a circle", question: "pay.example.org.", answer: records{
			with("pay.example.org.", 60, cname("b.example.org.")),
			with("b.example.org.", 60, cname("pay.example.org.")),
		}},
		{name: "not from the question", question: "www.example.com.", answer: records{
			with("www.example.com.", 60, a("6.6.6.6")),
			with("pay.example.org.", 60, a("6.6.6.7")),
			with("x.example.com.", 60, cname("pay.example.org.")),
		}},
		{name: "other owner", question: "pay.example.org.", answer: records{
			with("pay.example.org.", 60, a("93.184.215.14")),
			with("evil.example.com.", 60, a("6.6.6.6")),
		}, want: []string{"93.184.215.14"}, ttl: time.Minute},
		{name: "denied", question: "pay.example.org.", answer: records{
			with("pay.example.org.", 60, a("93.184.215.14")), rcode(dnsmessage.RCodeNameError),
		}},
		{name: "rebinding", question: "pay.example.org.", answer: records{
			with("pay.example.org.", 60, a("192.168.0.1")), with("pay.example.org.", 60, a("10.0.0.1")),
			with("pay.example.org.", 60, a("172.16.5.5")), with("pay.example.org.", 60, a("127.0.0.1")),
			with("pay.example.org.", 60, a("169.254.169.254")), with("pay.example.org.", 60, a("0.0.0.0")),
			with("pay.example.org.", 60, a("224.0.0.251")), with("pay.example.org.", 60, a("255.255.255.255")),
			with("pay.example.org.", 60, a("100.64.0.1")), with("pay.example.org.", 60, a("93.184.215.14")),
		}, want: []string{"93.184.215.14"}, ttl: time.Minute, rejected: 9},
		{name: "rebinding IPv6", question: "pay.example.org.", typ: dnsmessage.TypeAAAA, answer: records{
			with("pay.example.org.", 60, a("fd00::1")), with("pay.example.org.", 60, a("fe80::1")),
			with("pay.example.org.", 60, a("::1")), with("pay.example.org.", 60, a("::")),
			with("pay.example.org.", 60, a("ff02::1")), with("pay.example.org.", 60, &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("::ffff:192.168.0.1").As16()}),
			with("pay.example.org.", 60, a("64:ff9b::c0a8:1")), with("pay.example.org.", 60, a("2002:c0a8:1::1")),
			with("pay.example.org.", 60, a("::192.168.0.1")),
		}, rejected: 9},
		{name: "NAT64", question: "pay.example.org.", typ: dnsmessage.TypeAAAA, answer: records{
			with("pay.example.org.", 60, a("64:ff9b::5db8:d70e")),
		}, want: []string{"64:ff9b::5db8:d70e"}, ttl: time.Minute},
		{name: "public LAN", question: "pay.example.org.", typ: dnsmessage.TypeAAAA, answer: records{
			with("pay.example.org.", 60, a("2a01:77::99")), with("pay.example.org.", 60, a("2a01:78::99")),
		}, want: []string{"2a01:78::99"}, ttl: time.Minute, rejected: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := newUpstream(t, "127.0.0.1", func(r *request) [][]byte { return [][]byte{r.reply(tt.answer...)} })
			g := new(fakeGarden)
			s := &Server{
				Upstreams: []netip.AddrPort{up.addr}, Garden: g,
				Domains: []string{"Pay.example.org.", "*.cdn.example.net"},
				LAN: func() []netip.Prefix {
					return []netip.Prefix{netip.MustParsePrefix("192.168.77.1/24"), netip.MustParsePrefix("2a01:77::1/64")}
				},
			}
			typ := tt.typ
			if typ == 0 {
				typ = dnsmessage.TypeA
			}
			got := dial(t, start(t, s, "127.0.0.1")).ask(question(tt.question, typ))
			want := new(request)
			want.msg = unpack(t, question(tt.question, typ))
			if truth := unpack(t, want.reply(tt.answer...)); len(got.Answers) != len(truth.Answers) || got.RCode != truth.RCode {
				t.Errorf("the answer was changed: got %s", got.GoString())
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			if !slices.Equal(g.addrs, tt.want) || g.ttl != tt.ttl {
				t.Errorf("allowed %q for %s, want %q for %s", g.addrs, g.ttl, tt.want, tt.ttl)
			}
			if st := s.Stats(); st.Learned != uint64(len(tt.want)) || st.Rejected != tt.rejected {
				t.Errorf("%d learned and %d rejected, want %d and %d", st.Learned, st.Rejected, len(tt.want), tt.rejected)
			}
		})
	}
}

// TestLearnFirst checks that an address is allowed before the client has it,
// over UDP and TCP, and after an answer that came truncated.
func TestLearnFirst(t *testing.T) {
	up := newUpstream(t, "127.0.0.1", func(r *request) [][]byte {
		if !r.tcp && r.msg.Questions[0].Name.String() == "big.example.org." {
			return [][]byte{r.reply(func(m *dnsmessage.Message) { m.Truncated = true })}
		}
		return good(r)
	})
	var allowed atomic.Int32
	g := &fakeGarden{hook: func(context.Context) {
		time.Sleep(20 * time.Millisecond) // a kernel takes its time
		allowed.Add(1)
	}}
	s := &Server{Upstreams: []netip.AddrPort{up.addr}, Garden: g, Domains: []string{"*.example.org"}}
	addr := start(t, s, "127.0.0.1")
	for i, ask := range []func() dnsmessage.Message{
		func() dnsmessage.Message { return dial(t, addr).ask(question("www.example.org.", dnsmessage.TypeA)) },
		func() dnsmessage.Message { return askTCP(t, addr, question("www.example.org.", dnsmessage.TypeA)) },
		func() dnsmessage.Message { return dial(t, addr).ask(question("big.example.org.", dnsmessage.TypeA)) },
	} {
		got := ask()
		if n := allowed.Load(); n != int32(i+1) {
			t.Fatalf("answer %d came after %d calls of Allow", i+1, n)
		}
		wantAddress(t, got)
	}
}

// TestGardenFails checks that the truth still arrives.
func TestGardenFails(t *testing.T) {
	up := newUpstream(t, "127.0.0.1", good)
	g := &fakeGarden{err: errors.New("no table")}
	s := &Server{Upstreams: []netip.AddrPort{up.addr}, Garden: g, Domains: []string{"www.example.org"}}
	c := dial(t, start(t, s, "127.0.0.1"))
	wantAddress(t, c.ask(question("www.example.org.", dnsmessage.TypeA)))
	g.mu.Lock()
	g.err, g.hook = nil, func(ctx context.Context) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("Allow may take for ever")
		}
	}
	g.mu.Unlock()
	wantAddress(t, c.ask(question("www.example.org.", dnsmessage.TypeA)))
	if n := s.Stats().Learned; n != 1 {
		t.Errorf("%d learned, want 1", n)
	}
}

// TestManyAddresses checks that one answer cannot open the whole internet.
func TestManyAddresses(t *testing.T) {
	up := newUpstream(t, "127.0.0.1", long(2000, false))
	g := new(fakeGarden)
	s := &Server{Upstreams: []netip.AddrPort{up.addr}, Garden: g, Domains: []string{"www.example.org"}}
	if got := askTCP(t, start(t, s, "127.0.0.1"), question("www.example.org.", dnsmessage.TypeA)); len(got.Answers) != 2000 {
		t.Errorf("the answer has %d records", len(got.Answers))
	}
	if len(g.addrs) != maxLearned {
		t.Errorf("%d addresses were learned, want %d", len(g.addrs), maxLearned)
	}
}

// TestLearnForPayers checks that the pages of a provider are learned apart from
// the garden, by names that change while the server runs.
func TestLearnForPayers(t *testing.T) {
	up := newUpstream(t, "127.0.0.1", good)
	everybody, payers := new(fakeGarden), new(fakeGarden)
	var open atomic.Bool
	s := &Server{
		Upstreams: []netip.AddrPort{up.addr}, Garden: everybody, Domains: []string{"free.example.org"},
		PayGarden: payers, Pay: func(name string) bool { return open.Load() && name == "pay.example.org" },
	}
	c := dial(t, start(t, s, "127.0.0.1"))
	allowed := func(g *fakeGarden) int {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.addrs)
	}
	for _, step := range []struct {
		name       string
		open       bool
		free, paid int
	}{
		{"pay.example.org.", false, 0, 0},
		{"free.example.org.", true, 1, 0},
		{"www.example.org.", true, 1, 0},
		{"PAY.example.org.", true, 1, 1},
		{"pay.example.org.", false, 1, 1},
	} {
		open.Store(step.open)
		wantAddress(t, c.ask(question(step.name, dnsmessage.TypeA)))
		if free, paid := allowed(everybody), allowed(payers); free != step.free || paid != step.paid {
			t.Errorf("%s: %d for everybody and %d for payers, want %d and %d", step.name, free, paid, step.free, step.paid)
		}
	}
}
