package radius

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"zonegate/radius/nas"
	"zonegate/radius/wire"
)

func TestRetransmission(t *testing.T) {
	v, auth, acct := one(t, nil)
	for _, c := range []struct {
		name   string
		client *client
		other  netip.AddrPort
		packet func(testing.TB, byte, string) []byte
	}{
		{"access", auth, v.auth[0], accessOf}, {"unsigned access", auth, v.auth[0], func(t testing.TB, id byte, user string) []byte { return unsignedAccessOf(t, id+50, user) }},
		{"accounting", acct, v.acct[0], accountingOf},
	} {
		b := c.packet(t, 1, c.name)
		first := c.client.ask(b).Raw()
		for range 3 {
			if again := c.client.ask(b).Raw(); !bytes.Equal(first, again) {
				t.Errorf("%s: first %x, again %x", c.name, first, again)
			}
		}
		// Padding makes no other request of it.
		if c.client.send(append(bytes.Clone(b), 0)); !bytes.Equal(first, c.client.receive()) {
			t.Errorf("%s: another answer to a padded retransmission", c.name)
		}
		if n := v.stand.times(c.name); n != 1 {
			t.Errorf("%s: answered %d times", c.name, n)
		}
		// From another port it is another request.
		dial(t, "127.0.0.1", c.other).ask(b)
		if n := v.stand.times(c.name); n != 2 {
			t.Errorf("%s: answered %d times after another port asked", c.name, n)
		}
		// With another authenticator too, and it takes the place of the first.
		c.client.ask(c.packet(t, 1, c.name+" anew"))
		if n := v.stand.times(c.name + " anew"); n != 1 {
			t.Errorf("%s: the new request was answered %d times", c.name, n)
		}
		c.client.ask(b)
		if n := v.stand.times(c.name); n != 3 {
			t.Errorf("%s: answered %d times after its identifier was used again", c.name, n)
		}
	}
	v.want("answered_again", 3*4)
	v.want("access_accepts", 8)
	v.want("accounting_responses", 4)
}

// A gate lets requests of the user "slow" wait until it is opened.
type gate struct {
	inside chan string // a user for each that has come in
	open   chan struct{}
}

func newGate() *gate { return &gate{make(chan string, 10000), make(chan struct{})} }

func (g *gate) decide(ctx context.Context, r *request) (wire.Reply, bool) {
	reply := wire.Reply{Code: wire.AccessAccept}
	if r.packet.Code == wire.AccountingRequest {
		reply.Code = wire.AccountingResponse
	}
	user := r.packet.Text(wire.UserName)
	if !strings.HasPrefix(user, "slow") {
		return reply, true
	}
	g.inside <- user
	select {
	case <-g.open:
		return reply, true
	case <-ctx.Done():
		return wire.Reply{}, false
	}
}

func TestRetransmissionWhileInProgress(t *testing.T) {
	g := newGate()
	v, auth, _ := one(t, func(_ *Server, v *served) { v.stand.decide = g.decide })
	b := accessOf(t, 1, "slow")
	auth.send(b)
	<-g.inside
	for range 5 {
		auth.send(b)
	}
	auth.flushed()
	v.want("duplicate_in_progress", 5)
	close(g.open)
	auth.answerTo(b)
	auth.ask(b) // from memory now
	if n := v.stand.times("slow"); n != 1 {
		t.Errorf("answered %d times", n)
	}
}

func TestIdentifierUsedAgainWhileInProgress(t *testing.T) {
	g := newGate()
	v, auth, _ := one(t, func(_ *Server, v *served) { v.stand.decide = g.decide })
	auth.send(accessOf(t, 1, "slow"))
	<-g.inside
	b := accessOf(t, 1, "quick")
	first := auth.ask(b).Raw()
	v.want("superseded", 1)
	close(g.open)
	// The old request ends without an answer, and does not take the new one's
	// place in memory.
	v.await(func() bool { return v.count("access_requests") == 2 && busy(v) == 0 })
	if again := auth.ask(b).Raw(); !bytes.Equal(first, again) {
		t.Errorf("first %x, again %x", first, again)
	}
	if n := v.stand.times("quick"); n != 1 {
		t.Errorf("answered %d times", n)
	}
	v.want("access_accepts", 1)
}

func busy(v *served) int64 { return v.counters.Snapshot().UnderWay }

// Who was not answered is served when he asks again (RFC 2866 section 4.1: the
// storage may be back).
func TestNoAnswerIsForgotten(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	v, _, acct := one(t, func(_ *Server, v *served) {
		v.stand.decide = func(context.Context, *request) (wire.Reply, bool) {
			return wire.Reply{Code: wire.AccountingResponse}, !broken.Load()
		}
	})
	b := accountingOf(t, 1, "ama")
	for n := uint64(1); n <= 2; n++ {
		acct.send(b)
		v.await(func() bool { return v.count("no_answer") == n && busy(v) == 0 })
	}
	broken.Store(false)
	acct.ask(b)
	if n := v.stand.times("ama"); n != 3 {
		t.Errorf("asked %d times", n)
	}
}

func TestPanicCostsOneRequest(t *testing.T) {
	v, auth, _ := one(t, func(_ *Server, v *served) {
		v.stand.decide = func(_ context.Context, r *request) (wire.Reply, bool) {
			if r.packet.Text(wire.UserName) == "bad" {
				panic("a case that nobody thought of")
			}
			return wire.Reply{Code: wire.AccessReject}, true
		}
	})
	for id := range byte(3) {
		auth.send(accessOf(t, id, "bad"))
	}
	v.await(func() bool { return v.count("responder_panic") == 3 })
	if reply := auth.ask(accessOf(t, 9, "ama")); reply.Code != wire.AccessReject {
		t.Errorf("%v", reply.Code)
	}
	if err := v.stop(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(v.log.String(), "nobody thought of"); n != 1 {
		t.Errorf("said %d times:\n%s", n, v.log)
	}
}

// What each NAS must send, by its entry.
func TestRequireMessageAuthenticator(t *testing.T) {
	v := serve(t, nil)
	for i, c := range []struct {
		require nas.Require
		prefix  string
		// what is answered of: unsigned, signed, unsigned again.
		want [3]bool
	}{
		{nas.RequireAuto, "127.0.2.1/32", [3]bool{true, true, false}},
		{nas.RequireYes, "127.0.2.2/32", [3]bool{false, true, false}},
		{nas.RequireNo, "127.0.2.3/32", [3]bool{true, true, true}},
		// In a range one new access point would lock out the old ones.
		{nas.RequireAuto, "127.0.2.64/26", [3]bool{true, true, true}},
	} {
		name := fmt.Sprintf("nas-%d", i)
		v.add(name, c.prefix, c.require)
		from := netip.MustParsePrefix(c.prefix).Addr()
		if !strings.HasSuffix(c.prefix, "/32") {
			from = from.Next()
		}
		cl := dial(t, from.String(), v.auth[0])
		for step, b := range [][]byte{unsignedAccessOf(t, 1, name), accessOf(t, 2, name), unsignedAccessOf(t, 3, name)} {
			before := v.count("unsigned")
			cl.send(b)
			if c.want[step] {
				cl.answerTo(b)
			} else {
				cl.flushed()
				t.Logf("%s, step %d", name, step)
				v.want("unsigned", before+1)
			}
		}
		// Accounting is authentic without.
		dial(t, from.String(), v.acct[0]).ask(accountingOf(t, 1, name))
	}
}

// A NAS that has signed once must for ever: a restart forgets nothing. What is
// signed wrongly teaches nothing.
func TestSignedIsRemembered(t *testing.T) {
	dir := t.TempDir()
	opened := func(s *Server, _ *served) {
		book, err := nas.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		s.Book = book
	}
	v := serve(t, opened)
	v.add("one", "127.0.0.1/32", nas.RequireAuto)
	c := dial(t, "127.0.0.1", v.auth[0])
	c.send(fakeSign(accessOf(t, 1, "forger")))
	c.ask(unsignedAccessOf(t, 2, "old firmware"))
	v.want("wrong_message_authenticator", 1)
	// Neither does a Status-Server, which is always signed.
	c.flushed()
	c.ask(unsignedAccessOf(t, 3, "old firmware"))
	c.ask(accessOf(t, 4, "new firmware"))
	if err := v.stop(); err != nil {
		t.Fatal(err)
	}

	v = serve(t, opened)
	c = dial(t, "127.0.0.1", v.auth[0])
	c.send(unsignedAccessOf(t, 5, "forger"))
	c.ask(accessOf(t, 6, "new firmware"))
	v.want("unsigned", 1)
	if v.stand.times("forger") != 0 {
		t.Error("an unsigned request was answered after a restart")
	}
}

// Whoever does not know the secret cannot move anybody out of the memory, nor
// have an answer sent again.
func TestForgeryTouchesNoMemory(t *testing.T) {
	v, auth, acct := one(t, nil)
	b := accessOf(t, 1, "ama")
	first := auth.ask(b).Raw()
	auth.send(fakeSign(accessOf(t, 1, "forger")))
	auth.send(fakeSign(b))
	if again := auth.ask(b).Raw(); !bytes.Equal(first, again) {
		t.Errorf("first %x, again %x", first, again)
	}
	v.want("answered_again", 1)
	b = accountingOf(t, 1, "kofi")
	first = acct.ask(b).Raw()
	forged := accountingOf(t, 1, "forger")
	forged[4]++
	acct.send(forged)
	if again := acct.ask(b).Raw(); !bytes.Equal(first, again) {
		t.Errorf("first %x, again %x", first, again)
	}
	if v.stand.times("ama") != 1 || v.stand.times("kofi") != 1 || v.stand.times("forger") != 0 {
		t.Errorf("asked %q", v.stand.asked)
	}
}

// One NAS that asks for all of the room leaves some for the others.
func TestOverload(t *testing.T) {
	g := newGate()
	v := serve(t, func(s *Server, v *served) { s.InFlight, v.stand.decide = 8, g.decide })
	var clients []*client
	for _, n := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"} {
		v.add("nas-"+n[len(n)-1:], n+"/32", nas.RequireNo)
		clients = append(clients, dial(t, n, v.auth[0]))
	}
	// The first gets as many as there are free ones: 4 of 8. The second 2 of
	// the 4 that are left, the third 1 of 2.
	for i, want := range []int{4, 2, 1} {
		for id := range byte(20) {
			clients[i].send(accessOf(t, id, "slow"))
		}
		clients[i].flushed()
		for range want {
			<-g.inside
		}
		name := fmt.Sprintf("nas-%d", i+1)
		if n := v.counters.Snapshot().NAS[name]["overload"]; n != uint64(20-want) {
			t.Errorf("%s: %d of 20 dropped, want %d", name, n, 20-want)
		}
	}
	if len(g.inside) != 0 || busy(v) != 7 {
		t.Errorf("%d under way, %d more inside", busy(v), len(g.inside))
	}
	close(g.open)
	v.await(func() bool { return busy(v) == 0 })
	// A dropped one is served when it asks again.
	b := accessOf(t, 19, "later")
	clients[2].send(b)
	for {
		if p, _ := wire.Parse(clients[2].receive()); p.ID == 19 {
			break
		}
	}
}

// 51,200 requests from 4 NASes while nothing can be written: memory and
// goroutines stay where they are.
func TestFloodIsBounded(t *testing.T) {
	const sockets, ids = 200, 256
	g := newGate()
	v := serve(t, func(_ *Server, v *served) { v.stand.decide = g.decide })
	v.stand.asked = make([]string, 0, 2*DefaultInFlight)
	var clients []*client
	for i := range sockets {
		addr := fmt.Sprintf("127.0.0.%d", 1+i%4)
		if i < 4 {
			v.add("nas-"+addr[len(addr)-1:], addr+"/32", nas.RequireNo)
		}
		clients = append(clients, dial(t, addr, v.auth[0]))
	}
	clients[0].flushed()
	before := inUse(t)
	goroutines := runtime.NumGoroutine()

	most, sent := 0, uint64(1)
	for id := range ids {
		for _, c := range clients {
			// Small ones, as an attacker sends who knows no secret.
			c.send(unsignedAccessOf(t, byte(id), "slow"))
			sent++
		}
		// Not faster than they are read: a full socket buffer is no test.
		v.await(func() bool { return v.count("received") == sent })
		most = max(most, runtime.NumGoroutine())
	}
	after := inUse(t)

	if most > goroutines+DefaultInFlight {
		t.Errorf("%d goroutines, %d before", most, goroutines)
	}
	// The race detector's own stacks are larger; without it 3 MB are seen.
	if grown := int64(after) - int64(before); grown > 16<<20 {
		t.Errorf("memory grew by %d octets", grown)
	}
	dropped, held := v.count("overload"), v.count("access_requests")-v.count("overload")
	if held > DefaultInFlight || held < DefaultInFlight/2 || dropped+held != sockets*ids {
		t.Errorf("%d under way, %d dropped of %d", held, dropped, sockets*ids)
	}
	close(g.open)
	v.await(func() bool { return busy(v) == 0 })
}

// inUse is what heap and stacks take of the machine, after a collection.
func inUse(t *testing.T) uint64 {
	t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// Run waits for answers under way, and leaves nothing behind.
func TestStopsCleanly(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	g := newGate()
	v, auth, acct := one(t, func(_ *Server, v *served) { v.stand.decide = g.decide })
	access, accounting := accessOf(t, 1, "slow"), accountingOf(t, 1, "slow")
	auth.send(access)
	acct.send(accounting)
	<-g.inside
	<-g.inside
	ended := make(chan error, 1)
	v.cancel()
	var stopping sync.WaitGroup
	stopping.Go(func() { ended <- v.stop() })
	select {
	case err := <-ended:
		t.Fatalf("ended before the answers: %v", err)
	default:
	}
	close(g.open)
	auth.answerTo(access)
	acct.answerTo(accounting)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	stopping.Wait()
	auth.conn.Close()
	acct.conn.Close()
	v.await(func() bool { return runtime.NumGoroutine() <= goroutines })
}

// A responder that waits for what never comes is told to stop.
func TestStopsWhatHangs(t *testing.T) {
	g := newGate()
	v, auth, _ := one(t, func(_ *Server, v *served) { v.stand.decide = g.decide })
	auth.send(accessOf(t, 1, "slow"))
	<-g.inside
	if err := v.stop(); err != nil {
		t.Error(err)
	}
	v.want("no_answer", 1)
}

func TestCounterNames(t *testing.T) {
	seen := map[string]bool{}
	for c := counter(1); c < counters; c++ {
		name := c.String()
		if name == "" || seen[name] || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("counter %d is called %q", c, name)
		}
		seen[name] = true
	}
	var c Counters
	c.decided("accepted")
	c.of("one")[overload].Add(2)
	s := c.Snapshot()
	if s.Decisions["accepted"] != 1 || s.NAS["one"]["overload"] != 2 || len(s.Total) != int(counters)-1 {
		t.Errorf("%+v", s)
	}
}
