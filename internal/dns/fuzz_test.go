package dns

import (
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// FuzzQuery checks that what a client sends is forwarded as it is, or answered
// with a message that answers it, or ignored.
func FuzzQuery(f *testing.F) {
	f.Add(question("www.example.org.", dnsmessage.TypeA))
	f.Add(question("www.example.org.", dnsmessage.TypeTXT, edns(1232)))
	f.Add(question(".", dnsmessage.TypeNS))
	f.Add(question("version.bind.", dnsmessage.TypeTXT, func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }))
	f.Add(question("www.example.org.", dnsmessage.TypeA)[:20])
	f.Fuzz(func(t *testing.T, msg []byte) {
		if len(msg) > maxQuery {
			return
		}
		kept := slices.Clone(msg)
		q, reply := parseQuery(msg)
		if !slices.Equal(kept, msg) {
			t.Fatal("the message was changed")
		}
		if q == nil {
			if reply != nil {
				checkReply(t, msg, reply)
			}
			return
		}
		if reply != nil || !slices.Equal(q.msg, msg) {
			t.Fatal("both forwarded and answered, or changed")
		}
		if q.udpSize < minUDP || q.udpSize > maxUDP || q.cost() < 1 {
			t.Fatalf("size %d, cost %d", q.udpSize, q.cost())
		}
		id, out := q.outgoing()
		if !slices.Equal(out[2:], msg[2:]) || out[0] != byte(id>>8) || out[1] != byte(id) {
			t.Fatal("what goes out differs")
		}
		for _, b := range [][]byte{
			q.reply(dnsmessage.RCodeServerFailure, true),
			q.local(addrs("192.168.1.1", "fd00::1")),
			q.truncated(q.reply(dnsmessage.RCodeSuccess, true)),
			q.truncated(msg),
			q.truncated(nil),
		} {
			checkReply(t, msg, b)
			var m dnsmessage.Message
			if err := m.Unpack(b); err != nil || len(m.Questions) != 1 || m.Questions[0] != q.question {
				t.Fatalf("%x does not repeat the question (%v)", b, err)
			}
			if len(b) > q.udpSize {
				t.Fatalf("%d octets for a client that takes %d", len(b), q.udpSize)
			}
		}
	})
}

func checkReply(t *testing.T, msg, reply []byte) {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("reply %x: %v", reply, err)
	}
	if !m.Response || m.ID != uint16(msg[0])<<8|uint16(msg[1]) {
		t.Fatalf("reply %x does not answer %x", reply, msg)
	}
}

// FuzzAnswer checks that whatever a resolver sends is judged without harm, and
// that no address is learned that is not in a well-formed answer.
func FuzzAnswer(f *testing.F) {
	q, _ := parseQuery(question("pay.example.org.", dnsmessage.TypeA, edns(1232)))
	r := &request{}
	if err := r.msg.Unpack(q.msg); err != nil {
		f.Fatal(err)
	}
	f.Add(r.reply(with("pay.example.org.", 60, a("93.184.215.14"))))
	f.Add(r.reply(with("pay.example.org.", 60, cname("b.example.")), with("b.example.", 60, a("2606::1"))))
	f.Add(r.reply(rcode(dnsmessage.RCodeServerFailure)))
	f.Add(r.reply(func(m *dnsmessage.Message) { m.Truncated = true }))
	f.Add(q.msg)
	p, err := parsePatterns([]string{"pay.example.org", "*.example.net"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		kept := slices.Clone(answer)
		result := q.judge(testID, answer)
		found, ttl := addresses(p.match, q, answer)
		if !slices.Equal(kept, answer) {
			t.Fatal("the answer was changed")
		}
		if len(found) > maxLearned || len(found) > 0 && (ttl < minAllow || ttl > maxAllow) {
			t.Fatalf("%d addresses for %s", len(found), ttl)
		}
		for _, a := range found {
			if isPublic(a) && (a.IsPrivate() || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || !a.IsValid()) {
				t.Fatalf("%s is taken for public", a)
			}
		}
		checkReply(t, q.msg, q.truncated(answer))
		if result == bogus {
			return
		}
		var parser dnsmessage.Parser
		if h, err := parser.Start(answer); err != nil || h.ID != testID || !h.Response {
			t.Fatalf("%x is taken for an answer", answer)
		}
	})
}
