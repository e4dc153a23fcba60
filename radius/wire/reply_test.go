package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"layeh.com/radius"
)

// hmacMD5 is the standard library's, to hold ours against.
func hmacMD5(secret []byte, parts ...[]byte) []byte {
	h := hmac.New(md5.New, secret)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func authenticator() (a [16]byte) {
	rand.Read(a[:])
	return a
}

func encodeRequest(t testing.TB, r Request, secret []byte) []byte {
	t.Helper()
	b, err := r.Encode(secret)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReplyOrderAndSignatures(t *testing.T) {
	for _, secret := range [][]byte{[]byte("s"), []byte("a secret of zones"), bytes.Repeat([]byte("k"), 64), bytes.Repeat([]byte("long"), 40)} {
		for _, c := range []struct {
			request, reply Code
			signed         bool
		}{
			{AccessRequest, AccessAccept, true},
			{AccessRequest, AccessReject, true},
			{AccessRequest, AccessChallenge, true},
			{StatusServer, AccessAccept, true},
			{StatusServer, AccountingResponse, true},
			{AccountingRequest, AccountingResponse, false},
		} {
			sent := encodeRequest(t, Request{Code: c.request, ID: 200, Authenticator: authenticator(), Attributes: []Attribute{
				Octets(ProxyState, []byte("first")), Text(UserName, "ama"), Octets(ProxyState, []byte{0, 1}),
			}}, secret)
			// A Proxy-State without a value is echoed like any other.
			sent = append(sent, byte(ProxyState), 2)
			binary.BigEndian.PutUint16(sent[2:], uint16(len(sent)))
			request := parse(t, sent)
			b, err := Reply{Code: c.reply, Attributes: []Attribute{Text(Class, "zg1:x"), Text(ReplyMessage, ""), Uint32(SessionTimeout, 60)}}.Encode(request, secret)
			if err != nil {
				t.Fatal(err)
			}
			reply := parse(t, b)
			if reply.Code != c.reply || reply.ID != 200 || reply.Signed() != c.signed {
				t.Errorf("%v for %v: %v %d signed %v", c.reply, c.request, reply.Code, reply.ID, reply.Signed())
			}
			if r := reply.VerifyReply(sent, secret); r != Valid {
				t.Errorf("%v for %v: %v", c.reply, c.request, r)
			}
			if !radius.IsAuthenticResponse(b, sent, secret) {
				t.Errorf("%v for %v: the library finds its authenticator wrong", c.reply, c.request)
			}
			var order []Type
			var states [][]byte
			for a := range reply.Attributes() {
				order = append(order, a.Type)
				if a.Type == ProxyState {
					states = append(states, a.Value)
				}
			}
			want := []Type{Class, SessionTimeout, ProxyState, ProxyState, ProxyState}
			if c.signed {
				want = append([]Type{MessageAuthenticator}, want...)
				// Computed again, by the book and with the standard library.
				blank := bytes.Clone(b)
				copy(blank[4:20], sent[4:20])
				copy(blank[22:38], zeros[:])
				if got := hmacMD5(secret, blank); !bytes.Equal(got, b[22:38]) {
					t.Errorf("%v for %v: Message-Authenticator %x, want %x", c.reply, c.request, b[22:38], got)
				}
			}
			if !slices.Equal(order, want) {
				t.Errorf("%v for %v: attributes %v, want %v", c.reply, c.request, order, want)
			}
			if len(states) != 3 || string(states[0]) != "first" || string(states[1]) != "\x00\x01" || len(states[2]) != 0 {
				t.Errorf("%v for %v: proxy states %q", c.reply, c.request, states)
			}
			// No octet of it can be changed.
			for i := range b {
				damaged := bytes.Clone(b)
				damaged[i] ^= 0x40
				if p, r := Parse(damaged); r == Valid && p.VerifyReply(sent, secret) == Valid {
					t.Fatalf("%v for %v: valid with a damaged octet %d", c.reply, c.request, i)
				}
			}
		}
	}
}

func TestReplyTooLong(t *testing.T) {
	var states []Attribute
	for range 15 {
		states = append(states, Octets(ProxyState, make([]byte, 253)))
	}
	request := parse(t, encodeRequest(t, Request{Code: AccessRequest, Attributes: states}, rfcSecret))
	fill := func(n int) []Attribute { return []Attribute{Octets(Class, make([]byte, n))} }
	// 4096 = header 20 + Message-Authenticator 18 + proxy states 15*255 + Class 2+231.
	if b, err := (Reply{Code: AccessAccept, Attributes: fill(231)}).Encode(request, rfcSecret); err != nil || len(b) != MaxLen {
		t.Errorf("%d octets, %v", len(b), err)
	}
	if _, err := (Reply{Code: AccessAccept, Attributes: fill(232)}).Encode(request, rfcSecret); !errors.Is(err, ErrTooLong) {
		t.Errorf("4097 octets: %v", err)
	}
	small := parse(t, packetOf(AccessRequest))
	for _, a := range []Attribute{
		Octets(Class, make([]byte, 254)),
		VendorOctets(MikroTik, MikroTikRateLimit, make([]byte, 248)),
		VendorOctets(MikroTik, MikroTikRateLimit, make([]byte, 254)),
		VendorOctets(MikroTik, MikroTikRateLimit, make([]byte, 5000)),
	} {
		if _, err := (Reply{Code: AccessAccept, Attributes: []Attribute{a}}).Encode(small, rfcSecret); !errors.Is(err, ErrTooLong) {
			t.Errorf("value of %d octets: %v", len(a.Value), err)
		}
		if _, err := (Request{Code: CoARequest, Attributes: []Attribute{a}}).Encode(rfcSecret); !errors.Is(err, ErrTooLong) {
			t.Errorf("request with a value of %d octets: %v", len(a.Value), err)
		}
	}
	if _, err := (Request{Code: CoARequest, Attributes: append(states, fill(232)...)}).Encode(rfcSecret); !errors.Is(err, ErrTooLong) {
		t.Errorf("request of 4097 octets: %v", err)
	}
	longest := VendorOctets(MikroTik, MikroTikRateLimit, bytes.Repeat([]byte("x"), 247))
	b, err := Reply{Code: AccessAccept, Attributes: []Attribute{longest}}.Encode(small, rfcSecret)
	if err != nil {
		t.Fatal(err)
	}
	if got := parse(t, b).VendorText(MikroTik, MikroTikRateLimit); got != strings.Repeat("x", 247) {
		t.Errorf("the longest value came back as %q", got)
	}
}

func TestVerifyRequests(t *testing.T) {
	secret := []byte("a secret of zones")
	for _, code := range []Code{AccessRequest, StatusServer, AccountingRequest, CoARequest, DisconnectRequest} {
		for _, unsigned := range []bool{false, true} {
			if code == StatusServer && unsigned {
				continue
			}
			b := encodeRequest(t, Request{Code: code, ID: 1, Authenticator: authenticator(), Unsigned: unsigned, Attributes: []Attribute{
				Text(UserName, "ama"), Text(AcctSessionID, "1")}}, secret)
			p := parse(t, append(bytes.Clone(b), 0, 0, 0))
			if r := p.Verify(secret); r != Valid || p.Signed() == unsigned {
				t.Errorf("%v: %v, signed %v", code, r, p.Signed())
			}
			if !radius.IsAuthenticRequest(b, secret) {
				t.Errorf("%v: not authentic to the library", code)
			}
			computed := code != AccessRequest && code != StatusServer
			// Of an unsigned Access-Request nothing can be wrong.
			want := Valid
			if computed {
				want = WrongAuthenticator
			} else if !unsigned {
				want = WrongMA
			}
			for _, wrong := range [][]byte{[]byte("a secret of zoneS"), []byte("x"), {}} {
				if r := p.Verify(wrong); r != want {
					t.Errorf("%v unsigned %v with secret %q: %v, want %v", code, unsigned, wrong, r, want)
				}
			}
			if unsigned {
				continue
			}
			vector := b[4:20]
			if computed {
				vector = zeros[:]
			}
			if got := hmacMD5(secret, b[:4], vector, b[20:22], zeros[:], b[38:]); !bytes.Equal(got, b[22:38]) {
				t.Errorf("%v: Message-Authenticator %x, want %x", code, b[22:38], got)
			}
			// A right Request Authenticator over a wrong Message-Authenticator.
			damaged := bytes.Clone(b)
			damaged[22] ^= 1
			if computed {
				d := digesters.Get().(*digester)
				copy(damaged[4:], d.authenticator(damaged, zeros[:], secret))
				digesters.Put(d)
			}
			if r := parse(t, damaged).Verify(secret); r != WrongMA {
				t.Errorf("%v with a wrong Message-Authenticator: %v", code, r)
			}
			copy(damaged[22:], zeros[:])
			if r := parse(t, damaged).Verify(secret); r == Valid {
				t.Errorf("%v with zeros as Message-Authenticator: valid", code)
			}
		}
	}
	// Wherever it stands in the packet.
	p := packetOf(AccessRequest, slices.Concat([]byte{1, 5, 'a', 'm', 'a'}, attr(MessageAuthenticator, 16), []byte{6, 6, 0, 0, 0, 2})...)
	copy(p[27:], hmacMD5(secret, p))
	if r := parse(t, p).Verify(secret); r != Valid {
		t.Errorf("Message-Authenticator in the middle: %v", r)
	}
	if r := parse(t, packetOf(AccessAccept)).Verify(secret); r != UnknownCode {
		t.Errorf("a reply as request: %v", r)
	}
}

func TestVerifyReplyTo(t *testing.T) {
	secret := []byte("a secret of zones")
	sent := encodeRequest(t, Request{Code: CoARequest, ID: 9, Attributes: []Attribute{Text(UserName, "ama")}}, secret)
	request := parse(t, sent)
	for _, c := range []struct {
		code Code
		id   byte
		want Reason
	}{
		{CoAACK, 9, Valid}, {CoANAK, 9, Valid}, {CoAACK, 8, Unexpected}, {DisconnectACK, 9, Unexpected}, {AccessAccept, 9, Unexpected},
	} {
		b, err := Reply{Code: c.code, Attributes: []Attribute{Uint32(ErrorCause, 503)}}.Encode(request, secret)
		if err != nil {
			t.Fatal(err)
		}
		b[1] = c.id
		// A NAS pads, or sends no Message-Authenticator.
		padded := parse(t, append(bytes.Clone(b), 0, 0))
		if r := padded.VerifyReply(sent, secret); r != c.want {
			t.Errorf("%v %d: %v, want %v", c.code, c.id, r, c.want)
		}
		bare := packetOf(c.code, 101, 6, 0, 0, 1, 247)
		bare[1] = c.id
		sum := md5.Sum(slices.Concat(bare[:4], sent[4:20], bare[20:], secret))
		copy(bare[4:], sum[:])
		if r := parse(t, bare).VerifyReply(sent, secret); r != c.want {
			t.Errorf("%v %d unsigned: %v, want %v", c.code, c.id, r, c.want)
		}
	}
	forged := packetOf(CoAACK)
	forged[1] = 9
	if r := parse(t, forged).VerifyReply(sent, secret); r != WrongAuthenticator {
		t.Errorf("forged: %v", r)
	}
	if r := parse(t, forged).VerifyReply(nil, secret); r != Unexpected {
		t.Errorf("answer to nothing: %v", r)
	}
}

func FuzzReply(f *testing.F) {
	f.Add(octets(f, telnetRequest), []byte("secret"), []byte("value"), uint8(25), uint8(2))
	f.Add(packetOf(AccountingRequest, attr(ProxyState, 253)...), []byte("secret"), make([]byte, 253), uint8(26), uint8(16))
	f.Add(packetOf(AccessRequest, repeat(15, attr(ProxyState, 253)...)...), []byte("s"), make([]byte, 254), uint8(1), uint8(1))
	f.Fuzz(func(t *testing.T, datagram, secret, value []byte, typ, count uint8) {
		request, r := Parse(datagram)
		if r != Valid || len(secret) == 0 || typ == 0 || Type(typ) == MessageAuthenticator || Type(typ) == ProxyState {
			return
		}
		reply := Reply{Code: AccessReject}
		if request.Code == AccountingRequest {
			reply.Code = AccountingResponse
		}
		for range count {
			reply.Attributes = append(reply.Attributes, Octets(Type(typ), value))
		}
		b, err := reply.Encode(&request, secret)
		if err != nil {
			if len(value) <= maxValue && len(request.Raw())+HeaderLen+18+int(count)*(2+len(value)) <= MaxLen {
				t.Fatalf("%v", err)
			}
			return
		}
		var want, got [][]byte
		for a := range request.Attributes() {
			if a.Type == ProxyState {
				want = append(want, a.Value)
			}
		}
		// More than 200 attributes of ours are a packet all the same.
		theirs, err := radius.Parse(b, secret)
		if err != nil || len(b) > MaxLen {
			t.Fatalf("%d octets: %v", len(b), err)
		}
		for _, a := range theirs.Attributes {
			if a.Type == radius.Type(ProxyState) {
				got = append(got, a.Attribute)
			}
		}
		if !slices.EqualFunc(want, got, bytes.Equal) {
			t.Fatalf("proxy states %q, want %q", got, want)
		}
		if answers(reply.Code, request.Code) && !radius.IsAuthenticResponse(b, request.Raw(), secret) {
			t.Fatal("wrong authenticator")
		}
	})
}
