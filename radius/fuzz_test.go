package radius

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	layeh "layeh.com/radius"
	"layeh.com/radius/rfc2865"

	"zonegate"
	"zonegate/radius/nas"
	"zonegate/radius/wire"
)

// FuzzResponder lets any packets at the whole responder with a real gate
// behind it: three of them one after the other, so that what one leaves behind
// meets the next. The signatures are not looked at: that is the transport's,
// and nothing would come through.
func FuzzResponder(f *testing.F) {
	// The fuzzer's processes each have a zone, and must know the same codes.
	z := newZoneWith(f, zonegate.Options{
		Random: rand.NewChaCha8([32]byte{1}), Guessing: zonegate.Guessing{PerDevice: 1 << 20},
	})
	z.forget = true
	code := z.sell("capped")
	secondCode := z.sell("family")
	var class []byte
	if a := z.ask(mikrotik, pap(code, "", station1)); a != nil {
		class = rfc2865.Class_Get(a)
	}
	encode := func(p *layeh.Packet) []byte {
		raw, err := p.Encode()
		if err != nil {
			f.Fatal(err)
		}
		return raw
	}
	withClass := func(p *layeh.Packet) *layeh.Packet {
		rfc2865.Class_Add(p, class)
		return p
	}
	const user, password = ticketPrefix + "same in each", "and its password"
	k := &ticket{user: user, password: password, nas: "tower", device: phone1, grant: 1, ends: 1 << 62}
	z.tickets.byUser[user] = k
	logins := []*layeh.Packet{
		pap(code, "", station1), pap(secondCode, secondCode, station2), chap(code, "", station1, nil),
		chap(user, password, station1, []byte("challenge")), mschap(f, code, "", station1),
		pap(station1, station1, station1), login(code, station1),
	}
	reports := []*layeh.Packet{
		withClass(account(1, "s", station1)), withClass(octets(account(3, "s", station1), 1e6, 2e6, time.Minute)),
		withClass(octets(account(2, "s", station1), 5<<32, 6<<32, time.Hour)), account(7, "", ""), account(2, "s", station1),
	}
	for _, l := range logins {
		for _, r := range reports {
			f.Add(encode(l), encode(r), encode(reports[1]), byte(0))
		}
	}
	f.Fuzz(func(t *testing.T, a, b, c []byte, which byte) {
		n := []nas.NAS{mikrotik, chilli, pfsense}[which%3]
		n.Strict = which&0x80 != 0
		z.tickets.giveBack(k)
		for _, raw := range [][]byte{a, b, c} {
			z.clock.pass(time.Duration(which) * time.Millisecond)
			p, reason := wire.Parse(raw)
			if reason != wire.Valid {
				continue
			}
			before := z.charged(t)
			r := &request{packet: &p, nas: n, from: netip.AddrPortFrom(n.Prefix.Addr(), 4000)}
			var reply wire.Reply
			var ok bool
			switch p.Code {
			case wire.AccessRequest:
				reply, ok = z.access(context.Background(), r)
				if !ok {
					t.Fatal("a login is not answered while everything works")
				}
				checkLogin(t, &p, reply)
				if z.charged(t) < before {
					t.Fatal("a login took back what was charged")
				}
			case wire.AccountingRequest:
				reply, ok = z.account(context.Background(), r)
				if ok && (reply.Code != wire.AccountingResponse || len(reply.Attributes) != 0) {
					t.Fatalf("accounting is answered with %+v", reply)
				}
				if z.charged(t) < before {
					t.Fatal("accounting took back what was charged")
				}
			default:
				continue
			}
			if !ok {
				continue
			}
			if _, err := reply.Encode(&p, n.Secret); err != nil && !p.Proxied() {
				t.Fatalf("the answer cannot be written: %v", err)
			}
		}
	})
}

// checkLogin says what holds of the answer to any login.
func checkLogin(t *testing.T, p *wire.Packet, reply wire.Reply) {
	t.Helper()
	has := map[wire.Type][]byte{}
	for _, a := range reply.Attributes {
		has[a.Type] = a.Value
	}
	switch reply.Code {
	case wire.AccessAccept:
		if _, ok := deviceOf(p); !ok {
			t.Fatal("somebody without a device is let in")
		}
		if string(has[wire.Class][:4]) != classPrefix {
			t.Fatalf("Class %q", has[wire.Class])
		}
		if v := has[wire.SessionTimeout]; len(v) == 4 && string(v) == "\x00\x00\x00\x00" {
			t.Fatal("a Session-Timeout of zero, which means for ever")
		}
	case wire.AccessReject:
		if m := has[wire.ReplyMessage]; p.EAP() != (len(m) == 0) || len(m) > 253 {
			t.Fatalf("Reply-Message %q, EAP %v", m, p.EAP())
		}
	default:
		t.Fatalf("a login is answered with %v", reply.Code)
	}
}

// charged is what has been charged to the two grants of the fuzz zone.
func (z *zone) charged(t *testing.T) (sum uint64) {
	t.Helper()
	for id := zonegate.GrantID(1); id <= 2; id++ {
		if b, err := z.gate.Balance(id); err == nil {
			sum += b.Used.Total()
		}
	}
	return sum
}
