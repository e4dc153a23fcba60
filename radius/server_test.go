package radius

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	layeh "layeh.com/radius"

	"zonegate/radius/nas"
	"zonegate/radius/wire"
)

// A stand answers what it is told to, and remembers what it was asked.
type stand struct {
	mu    sync.Mutex
	asked []string // User-Names, in the order of asking
	// decide may be nil: Accept, or Accounting-Response.
	decide func(ctx context.Context, r *request) (wire.Reply, bool)
	// atOnce, if not nil, is asked before.
	atOnce func(r *request) (wire.Reply, bool)
}

func (s *stand) quick(r *request) (wire.Reply, bool) {
	if s.atOnce == nil {
		return wire.Reply{}, false
	}
	return s.atOnce(r)
}

func (s *stand) access(ctx context.Context, r *request) (wire.Reply, bool) {
	return s.any(ctx, r, wire.AccessAccept)
}

func (s *stand) account(ctx context.Context, r *request) (wire.Reply, bool) {
	return s.any(ctx, r, wire.AccountingResponse)
}

func (s *stand) any(ctx context.Context, r *request, code wire.Code) (wire.Reply, bool) {
	s.mu.Lock()
	s.asked = append(s.asked, r.packet.Text(wire.UserName))
	decide := s.decide
	s.mu.Unlock()
	if decide != nil {
		return decide(ctx, r)
	}
	return wire.Reply{Code: code, Attributes: []wire.Attribute{wire.Octets(wire.Class, []byte(r.nas.Name))}}, true
}

// times is how often a user's request reached the responder.
func (s *stand) times(user string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.asked {
		if u == user {
			n++
		}
	}
	return n
}

// A served is a server under test.
type served struct {
	t          testing.TB
	stand      *stand
	book       *nas.Book
	counters   *Counters
	log        *bytes.Buffer
	auth, acct []netip.AddrPort
	// cancel has the server end; stop waits for it too.
	cancel context.CancelFunc
	stop   func() error
}

var loopback = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}

// serve runs a server on the loopback interface for NASes at 127.0.0.1, .2 and
// so on; set may change it before it runs.
func serve(t testing.TB, set func(*Server, *served)) *served {
	t.Helper()
	book, err := nas.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	v := &served{t: t, stand: &stand{}, book: book, counters: new(Counters), log: new(bytes.Buffer)}
	s := &Server{Book: book, Auth: loopback, Acct: loopback, Counters: v.counters, answers: v.stand, readers: 1,
		Logger: slog.New(slog.NewTextHandler(&lockedBuffer{b: v.log}, nil))}
	if set != nil {
		set(s, v)
		v.book = s.Book
	}
	listening := make(chan struct{})
	s.Listening = func(auth, acct []netip.AddrPort) {
		v.auth, v.acct = auth, acct
		close(listening)
	}
	ctx, cancel := context.WithCancel(context.Background())
	v.cancel = cancel
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	v.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := v.stop(); err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	select {
	case <-listening:
	case err := <-ended:
		ended <- err
		t.Fatalf("serving: %v", err)
	}
	return v
}

// A lockedBuffer is what a logger may write to from anywhere.
type lockedBuffer struct {
	mu sync.Mutex
	b  *bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// add puts a NAS into the book.
func (v *served) add(name, prefix string, require nas.Require) {
	v.t.Helper()
	n := testNAS(name, nas.Generic, "127.0.0.1")
	n.Prefix, n.RequireMA = netip.MustParsePrefix(prefix), require
	if err := v.book.Add(n, false); err != nil {
		v.t.Fatal(err)
	}
}

// count is one counter over all packets.
func (v *served) count(name string) uint64 {
	v.t.Helper()
	n, ok := v.counters.Snapshot().Total[name]
	if !ok {
		v.t.Fatalf("there is no counter %q", name)
	}
	return n
}

// want waits for a count: several goroutines read, so what was sent earlier may
// be seen later.
func (v *served) want(name string, want uint64) {
	v.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	got := v.count(name)
	for ; got < want && time.Now().Before(deadline); got = v.count(name) {
		time.Sleep(time.Millisecond)
	}
	if got != want {
		v.t.Errorf("%s: %d, want %d", name, got, want)
	}
}

// A client is one socket of a NAS.
type client struct {
	t    testing.TB
	conn *net.UDPConn
}

// dial connects a socket of a NAS to the server: it hears only answers that
// come from the very address that was asked.
func dial(t testing.TB, from string, to netip.AddrPort) *client {
	t.Helper()
	conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0)), net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t, conn}
}

func (c *client) send(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

func (c *client) receive() []byte {
	c.t.Helper()
	b := make([]byte, 5000)
	c.conn.SetReadDeadline(time.Now().Add(patience))
	n, err := c.conn.Read(b)
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	return b[:n]
}

// ask sends a packet and returns its answer, which must be a right one.
func (c *client) ask(b []byte) *wire.Packet {
	c.t.Helper()
	c.send(b)
	return c.answerTo(b)
}

func (c *client) answerTo(sent []byte) *wire.Packet {
	c.t.Helper()
	p, r := wire.Parse(c.receive())
	if r == wire.Valid {
		r = p.VerifyReply(sent, []byte(testSecret))
	}
	if r != wire.Valid {
		c.t.Fatalf("answer %v %d to %x: %v", p.Code, p.ID, sent, r)
	}
	return &p
}

// flushed returns when the server has looked at all that was sent to it before
// by this client: one socket is read by one goroutine.
func (c *client) flushed() {
	c.t.Helper()
	c.ask(packet(c.t, wire.Request{Code: wire.StatusServer, ID: 255}))
}

// packet writes a request with the test's secret; a random authenticator where
// there is none.
func packet(t testing.TB, r wire.Request) []byte {
	t.Helper()
	if r.Authenticator == [16]byte{} {
		rand.Read(r.Authenticator[:])
	}
	b, err := r.Encode([]byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func accessOf(t testing.TB, id byte, user string) []byte {
	t.Helper()
	return packet(t, wire.Request{Code: wire.AccessRequest, ID: id, Attributes: []wire.Attribute{wire.Text(wire.UserName, user)}})
}

func unsignedAccessOf(t testing.TB, id byte, user string, more ...wire.Attribute) []byte {
	t.Helper()
	return packet(t, wire.Request{Code: wire.AccessRequest, ID: id, Unsigned: true, Attributes: append([]wire.Attribute{wire.Text(wire.UserName, user)}, more...)})
}

func accountingOf(t testing.TB, id byte, user string) []byte {
	t.Helper()
	return packet(t, wire.Request{Code: wire.AccountingRequest, ID: id, Unsigned: true, Attributes: []wire.Attribute{wire.Text(wire.UserName, user)}})
}

// fakeSign gives a packet a Message-Authenticator that is wrong.
func fakeSign(b []byte) []byte {
	b = bytes.Clone(b)
	copy(b[22:38], "sixteen zeros...")
	return b
}

func TestAnswers(t *testing.T) {
	v := serve(t, nil)
	v.add("one", "127.0.0.1/32", nas.RequireAuto)
	v.add("range", "127.0.1.0/24", nas.RequireAuto)
	for _, from := range []struct{ addr, name string }{{"127.0.0.1", "one"}, {"127.0.1.77", "range"}} {
		auth, acct := dial(t, from.addr, v.auth[0]), dial(t, from.addr, v.acct[0])
		reply := auth.ask(accessOf(t, 1, "ama"))
		if reply.Code != wire.AccessAccept || !reply.Signed() || reply.Text(wire.Class) != from.name {
			t.Errorf("%s: %v signed %v from %q", from.addr, reply.Code, reply.Signed(), reply.Text(wire.Class))
		}
		if reply := acct.ask(accountingOf(t, 1, "ama")); reply.Code != wire.AccountingResponse || reply.Text(wire.Class) != from.name {
			t.Errorf("%s: %v from %q", from.addr, reply.Code, reply.Text(wire.Class))
		}
		// Padding is no part of a packet (RFC 2865 section 3).
		padded := accountingOf(t, 2, "padded")
		acct.send(append(bytes.Clone(padded), 0, 0, 0, 0))
		acct.answerTo(padded)
		padded = accessOf(t, 2, "padded")
		auth.send(append(bytes.Clone(padded), make([]byte, 6000)...))
		auth.answerTo(padded)
	}
	v.want("access_accepts", 4)
	v.want("accounting_responses", 4)
	if n := v.counters.Snapshot().NAS["range"]["access_accepts"]; n != 2 {
		t.Errorf("%d accepts to the range", n)
	}
}

// What needs no decision is answered by the reader like anything else, and a
// panic there leaves the request to a worker.
func TestAnswersAtOnce(t *testing.T) {
	var decided atomic.Int64
	v, auth, _ := one(t, func(s *Server, _ *served) {
		s.answers = &stand{
			atOnce: func(r *request) (wire.Reply, bool) {
				switch r.packet.Text(wire.UserName) {
				case "known":
					return wire.Reply{Code: wire.AccessAccept, Attributes: []wire.Attribute{wire.Text(wire.Class, "at once")}}, true
				case "odd":
					panic("odd")
				}
				return wire.Reply{}, false
			},
			decide: func(context.Context, *request) (wire.Reply, bool) {
				decided.Add(1)
				return wire.Reply{Code: wire.AccessReject}, true
			},
		}
	})
	known := accessOf(t, 1, "known")
	if reply := auth.ask(known); reply.Code != wire.AccessAccept || reply.Text(wire.Class) != "at once" || !reply.Signed() {
		t.Errorf("%v %q", reply.Code, reply.Text(wire.Class))
	}
	auth.send(known)
	auth.answerTo(known)
	v.want("access_accepts", 1)
	v.want("answered_again", 1)
	for id, user := range []string{"unknown", "odd"} {
		if reply := auth.ask(accessOf(t, byte(2+id), user)); reply.Code != wire.AccessReject {
			t.Errorf("%s: %v", user, reply.Code)
		}
	}
	if n := decided.Load(); n != 2 {
		t.Errorf("%d decisions", n)
	}
}

// One NAS at 127.0.0.1 that need not sign.
func one(t testing.TB, set func(*Server, *served)) (v *served, auth, acct *client) {
	t.Helper()
	v = serve(t, set)
	v.add("one", "127.0.0.1/32", nas.RequireNo)
	return v, dial(t, "127.0.0.1", v.auth[0]), dial(t, "127.0.0.1", v.acct[0])
}

func TestWhatIsDropped(t *testing.T) {
	v, auth, acct := one(t, nil)
	stranger := dial(t, "127.0.0.9", v.auth[0])
	right := accessOf(t, 7, "wrong-secret")
	other, err := (wire.Request{Code: wire.AccountingRequest, ID: 7}).Encode([]byte("not the secret of this NAS"))
	if err != nil {
		t.Fatal(err)
	}
	status, err := (wire.Request{Code: wire.StatusServer, ID: 7, Unsigned: true}).Encode([]byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		client  *client
		sent    []byte
		counter string
	}{
		{"an access request on the accounting port", acct, accessOf(t, 7, "wrong port"), "wrong_port"},
		{"accounting on the port of logins", auth, accountingOf(t, 7, "wrong port"), "wrong_port"},
		{"a reply", auth, packet(t, wire.Request{Code: wire.AccessAccept, ID: 7}), "wrong_port"},
		{"a Disconnect-Request", acct, packet(t, wire.Request{Code: wire.DisconnectRequest, ID: 7}), "wrong_port"},
		{"nine octets", auth, []byte("RADIUS??!"), "too_short"},
		{"a wrong Message-Authenticator", auth, fakeSign(right), "wrong_message_authenticator"},
		{"accounting with another secret", acct, other, "wrong_authenticator"},
		{"a Status-Server without Message-Authenticator", auth, status, "unsigned_status"},
		{"a Proxy-State without Message-Authenticator", auth, unsignedAccessOf(t, 7, "proxied", wire.Text(wire.ProxyState, "x")), "unsigned_proxy_state"},
		{"EAP without Message-Authenticator", auth, unsignedAccessOf(t, 7, "eap", wire.Text(wire.EAPMessage, "x")), "unsigned_eap"},
	} {
		before := v.count(c.counter)
		c.client.send(c.sent)
		if c.client == auth {
			auth.ask(accessOf(t, 100, "good")) // and this is the first answer
		} else {
			acct.ask(accountingOf(t, 100, "good"))
		}
		t.Log(c.name)
		v.want(c.counter, before+1)
	}
	// A stranger gets nothing at all, whatever he sends.
	stranger.send(accessOf(t, 1, "stranger"))
	auth.ask(accessOf(t, 101, "good"))
	v.want("unknown_nas", 1)
	for _, user := range []string{"wrong port", "wrong-secret", "proxied", "eap", "stranger"} {
		if n := v.stand.times(user); n != 0 {
			t.Errorf("the request of %q was answered %d times", user, n)
		}
	}
	if _, ok := v.counters.Snapshot().NAS[""]; ok || len(v.counters.Snapshot().NAS) != 1 {
		t.Errorf("counters of %v", v.counters.Snapshot().NAS)
	}
}

func TestProxyState(t *testing.T) {
	_, auth, acct := one(t, nil)
	states := []wire.Attribute{wire.Text(wire.ProxyState, "outer"), wire.Text(wire.UserName, "ama"), wire.Text(wire.ProxyState, "inner")}
	for _, reply := range []*wire.Packet{
		auth.ask(packet(t, wire.Request{Code: wire.AccessRequest, ID: 1, Attributes: states})),
		acct.ask(packet(t, wire.Request{Code: wire.AccountingRequest, ID: 1, Unsigned: true, Attributes: states})),
	} {
		var got []string
		for a := range reply.Attributes() {
			if a.Type == wire.ProxyState {
				got = append(got, string(a.Value))
			}
		}
		if len(got) != 2 || got[0] != "outer" || got[1] != "inner" {
			t.Errorf("%v: proxy states %q", reply.Code, got)
		}
	}
}

func TestStatusServer(t *testing.T) {
	var healthy atomic.Bool
	healthy.Store(true)
	v, auth, acct := one(t, func(s *Server, _ *served) {
		s.Healthy = healthy.Load
	})
	status := packet(t, wire.Request{Code: wire.StatusServer, ID: 3})
	if reply := auth.ask(status); reply.Code != wire.AccessAccept || !reply.Signed() {
		t.Errorf("login port: %v, signed %v", reply.Code, reply.Signed())
	}
	if reply := acct.ask(status); reply.Code != wire.AccountingResponse || !reply.Signed() {
		t.Errorf("accounting port: %v, signed %v", reply.Code, reply.Signed())
	}
	// A broken storage is silence, so that the NAS asks another server.
	healthy.Store(false)
	auth.send(status)
	auth.ask(accessOf(t, 4, "ama"))
	v.want("status_unhealthy", 1)
	healthy.Store(true)
	auth.ask(status)

	// More than a burst is not answered.
	answered := v.count("status_requests")
	for range 3 * statusBurst {
		auth.send(status)
	}
	// Several goroutines read, so nothing says which are the last.
	deadline := time.Now().Add(20 * time.Second)
	for v.count("status_requests")-answered+v.count("status_too_often") != 3*statusBurst && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if refused := v.count("status_too_often"); refused == 0 || v.count("status_requests")-answered+refused != 3*statusBurst {
		t.Errorf("%d answered, %d refused of %d", v.count("status_requests")-answered, refused, 3*statusBurst)
	}
	if v.stand.times("") != 0 {
		t.Error("a Status-Server reached the responder")
	}
}

// Nobody pays for a log that fills the router's memory.
func TestBadPacketsAreOneLineAMinute(t *testing.T) {
	v, auth, _ := one(t, nil)
	for n := range uint64(500) {
		auth.send([]byte("not a packet"))
		auth.send(make([]byte, 300))
		auth.send(fakeSign(accessOf(t, 9, "x")))
		// Not faster than they are read: the socket's buffer is small.
		v.await(func() bool { return v.count("received") == 3*(n+1) })
	}
	if err := v.stop(); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(v.log.Bytes(), []byte("\n")); n > 3 {
		t.Errorf("%d lines:\n%s", n, v.log)
	}
	if bytes.Contains(v.log.Bytes(), []byte(testSecret)) {
		t.Error("the secret is in the log")
	}
}

func TestRunRefusesATakenAddress(t *testing.T) {
	taken, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := &Server{Auth: loopback, Acct: []netip.AddrPort{taken.LocalAddr().(*net.UDPAddr).AddrPort()}, answers: &stand{}}
	if err := s.Run(t.Context()); err == nil {
		t.Error("serving at an address that is taken")
	}
}

// The library's own client understands our answers.
func TestLibraryClient(t *testing.T) {
	v, _, _ := one(t, nil)
	p := layeh.New(layeh.CodeAccessRequest, []byte(testSecret))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	reply, err := layeh.Exchange(ctx, p, v.auth[0].String())
	if err != nil || reply.Code != layeh.CodeAccessAccept {
		t.Errorf("%v, %v", reply, err)
	}
}

func TestReplyThatIsTooLong(t *testing.T) {
	v, auth, _ := one(t, func(_ *Server, v *served) {
		v.stand.decide = func(_ context.Context, r *request) (wire.Reply, bool) {
			reply := wire.Reply{Code: wire.AccessAccept}
			if r.packet.Text(wire.UserName) == "long" {
				reply.Attributes = []wire.Attribute{wire.Octets(wire.Class, make([]byte, 254))}
			}
			return reply, true
		}
	})
	long := accessOf(t, 1, "long")
	auth.send(long)
	auth.flushed()
	v.await(func() bool { return v.count("reply_too_long") == 1 && busy(v) == 0 })
	auth.ask(accessOf(t, 2, "ama"))
	// It is over, and a retransmission is asked anew.
	auth.send(long)
	v.await(func() bool { return v.stand.times("long") == 2 })
}

// await polls for what nothing announces.
func (v *served) await(reached func() bool) {
	v.t.Helper()
	for deadline := time.Now().Add(patience); !reached(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			v.t.Fatalf("waited in vain; counters %v", v.counters.Snapshot().Total)
		}
	}
}
