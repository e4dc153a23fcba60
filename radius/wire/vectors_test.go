package wire

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
)

// The packets that the RFCs print, with the secret of RFC 2865 section 7.
var rfcSecret = []byte("xyzzy5461")

func octets(t testing.TB, digits ...string) []byte {
	t.Helper()
	var all []byte
	for _, d := range digits {
		b, err := hex.DecodeString(d)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

func parse(t testing.TB, datagram []byte) *Packet {
	t.Helper()
	p, r := Parse(datagram)
	if r != Valid {
		t.Fatalf("parsing %x: %v", datagram, r)
	}
	return &p
}

const (
	telnetRequest = "010000380f403f9473978057bd83d5cb98f4227a01066e656d6f02120dbe708d93d413ce3196e43f782a0aee0406c0a80110050600000003"
	telnetAccept  = "0200002686fe220e7624ba2a1005f6bf9b55e0b20606000000010f06000000000e06c0a80103"
	framedRequest = "010100472aee86f08d0d55969ca5978e0d3367a20108666c6f707379031316e97557c316185895f293ff63440772750406c0a80110050600000014060600000002070600000001"
	framedAccept  = "0201003815efbc7dab26cfa3dc34d9c03c8601a40606000000020706000000010806fffffffe0a06000000020d06000000010c06000005dc"
	cardRequest   = "01020039f3a47a1f6a6d76710b947ab93041a03901076d6f707379021233657573778289b570885e15084825c50406c0a80110050600000007"
	cardChallenge = "0b02004e36f3c8764ae8c71157403c0c71ff9c4512304368616c6c656e67652033323736393433302e2020456e74657220726573706f6e73652061742070726f6d70742e180a3332373639343330"
	// As the RFC prints it State claims 16 octets where 10 are left; the
	// second form has the length that it must have had.
	cardPrinted = "01030043b122556d428a13d0d6253807c457ecf001076d6f7073790212692c1f205fc081b919b95195f561a5810406c0a8011005060000000718103332373639343330"
	cardAnswer  = "01030043b122556d428a13d0d6253807c457ecf001076d6f7073790212692c1f205fc081b919b95195f561a5810406c0a80110050600000007180a3332373639343330"
	cardReject  = "03030014a42f4fca45916c4e09c8340f9e746aa0"
)

func TestRFC2865Section7(t *testing.T) {
	for _, c := range []struct {
		name, request, reply string
		method               Method
		password             string
	}{
		{"7.1 telnet", telnetRequest, telnetAccept, PAP, "arctangent"},
		{"7.2 framed, CHAP with the Request Authenticator as challenge", framedRequest, framedAccept, CHAP, "arctangent"},
		{"7.3 card, first", cardRequest, cardChallenge, PAP, "challenge"},
		{"7.3 card, second", cardAnswer, cardReject, PAP, "99101462"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sent := octets(t, c.request)
			request := parse(t, sent)
			if r := request.Verify(rfcSecret); r != Valid {
				t.Errorf("verifying the request: %v", r)
			}
			proof := request.Proof(rfcSecret)
			if proof.Method != c.method || !proof.Proves(c.password) {
				t.Errorf("method %v, proves %q: %v; want method %v", proof.Method, c.password, proof.Proves(c.password), c.method)
			}
			for _, wrong := range []string{"", "arctangenT", c.password + "x", c.password[:len(c.password)-1]} {
				if proof.Proves(wrong) {
					t.Errorf("proves %q", wrong)
				}
			}
			reply := parse(t, octets(t, c.reply))
			if r := reply.VerifyReply(sent, rfcSecret); r != Valid {
				t.Errorf("verifying the reply: %v", r)
			}
			if r := reply.VerifyReply(sent, []byte("xyzzy5462")); r != WrongAuthenticator {
				t.Errorf("verifying the reply with another secret: %v", r)
			}
		})
	}
	if _, r := Parse(octets(t, cardPrinted)); r != BadAttribute {
		t.Errorf("the packet with a misprinted length: %v, want %v", r, BadAttribute)
	}
	request := parse(t, octets(t, telnetRequest))
	if a, _ := request.Addr(NASIPAddress); request.Text(UserName) != "nemo" || a != netip.MustParseAddr("192.168.1.16") {
		t.Errorf("user %q at %v", request.Text(UserName), a)
	}
	if port, ok := request.Uint32(NASPort); !ok || port != 3 {
		t.Errorf("port %d", port)
	}
}

func TestRFC5997Section6(t *testing.T) {
	for _, c := range []struct{ name, request, reply string }{
		{"6.1", "0cda00268a54f4686fb394c52866e302185d062350125a665e2e1e8411f3e243822097c84fa3", "02da0014ef0d552a4bf2d693ec2b6fe8b5411d66"},
		// The RFC prints code 2 for this answer, whose authenticator is that of code 5.
		{"6.2", "0cb30026925f6b66dd5fed571fcb1db7ad3882605012e8d6eabda910875cd91fdade26367858", "05b300140f6f92145f107e2f504e860a4860669c"},
		{"6.3", "0c47002cbf58de56ae408ad3b70c8513f9b03fbe0406c00002105012852d6fec61e7ed74b8e32dac2f2a5fb2", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			sent := octets(t, c.request)
			request := parse(t, sent)
			if r := request.Verify(rfcSecret); r != Valid {
				t.Errorf("verifying: %v", r)
			}
			if r := request.Verify([]byte("another secret")); r != WrongMA {
				t.Errorf("verifying with another secret: %v", r)
			}
			if c.reply == "" {
				return
			}
			printed := parse(t, octets(t, c.reply))
			if r := printed.VerifyReply(sent, rfcSecret); r != Valid {
				t.Errorf("verifying the printed reply: %v", r)
			}
			// Ours has a Message-Authenticator too.
			b, err := Reply{Code: printed.Code}.Encode(request, rfcSecret)
			if err != nil {
				t.Fatal(err)
			}
			if ours := parse(t, b); !ours.Signed() || ours.VerifyReply(sent, rfcSecret) != Valid || ours.ID != printed.ID {
				t.Errorf("our reply %x", b)
			}
		})
	}
}

// A Disconnect-Request from a capture (RADIUS-RFC5176.pcap of tcpdump).
func TestRFC5176Packet(t *testing.T) {
	const packet = "28010026e1792d2b4ab349f1a4c0fcc733d091c1501258513d662847e5f8734a30dbdac8e4af"
	secret := []byte("testing123")
	p := parse(t, octets(t, packet))
	if r := p.Verify(secret); r != Valid {
		t.Errorf("verifying: %v", r)
	}
	ours, err := Request{Code: DisconnectRequest, ID: 1}.Encode(secret)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ours, p.Raw()) {
		t.Errorf("we write %x, want %x", ours, p.Raw())
	}
	for i := range ours {
		damaged := bytes.Clone(ours)
		damaged[i] ^= 1
		if p, r := Parse(damaged); r == Valid && p.Verify(secret) == Valid {
			t.Errorf("valid with a damaged octet %d", i)
		}
	}
}

func TestRFC2759Section9(t *testing.T) {
	const user, password = "User", "clientPass"
	authenticator := octets(t, "5B5D7C7D7B3F2F3E3C2C602132262628")
	peer := octets(t, "21402324255E262A28295F2B3A337C7E")
	response := octets(t, "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF")
	const success = "S=407A5589115FD0D6209F510FE9C04566932CDA56"

	challenge := challengeHash(peer, authenticator, user)
	if !bytes.Equal(challenge[:], octets(t, "D02E4386BCE91226")) {
		t.Errorf("challenge %x", challenge)
	}
	hash := ntHash(password)
	if !bytes.Equal(hash[:], octets(t, "44EBBA8D5312B8D611474411F56989AE")) {
		t.Errorf("hash of the password %x", hash)
	}
	hashHash := md4(hash[:])
	if !bytes.Equal(hashHash[:], octets(t, "41C00C584BD2D91C4017A2A12FA59F3F")) {
		t.Errorf("hash of the hash %x", hashHash)
	}
	if got := ntResponse(challenge, hash); !bytes.Equal(got[:], response) {
		t.Errorf("response %X", got)
	}

	value := append([]byte{7, 0}, peer...)
	value = append(append(value, make([]byte, 8)...), response...)
	for _, name := range []string{user, `ZONE\User`} {
		b, err := Request{Code: AccessRequest, Attributes: []Attribute{
			Text(UserName, name),
			VendorOctets(Microsoft, MSCHAPChallenge, authenticator),
			VendorOctets(Microsoft, MSCHAP2Response, value),
		}}.Encode(rfcSecret)
		if err != nil {
			t.Fatal(err)
		}
		proof := parse(t, b).Proof(rfcSecret)
		if proof.Method != MSCHAPv2 || !proof.Proves(password) || proof.Proves("clientpass") || proof.Proves("") {
			t.Errorf("%s: method %v, proves %v", name, proof.Method, proof.Proves(password))
		}
		got := proof.Success(password)
		if want := VendorOctets(Microsoft, MSCHAP2Success, []byte("\x07"+success)); len(got) != 1 || !bytes.Equal(got[0].Value, want.Value) {
			t.Errorf("%s: success %q, want %q", name, got, want)
		}
		failed := proof.Failure("Faux é" + string(bytes.Repeat([]byte("é"), 200)))
		if len(failed) != 1 || len(failed[0].Value) > maxValue || !bytes.Contains(failed[0].Value, []byte("\x07E=691 R=0 C=5B5D7C7D7B3F2F3E3C2C602132262628 V=3 M=Faux é")) {
			t.Errorf("%s: failure %q", name, failed)
		}
	}
}

// RFC 1320 appendix A.5.
func TestMD4(t *testing.T) {
	for in, want := range map[string]string{
		"":                           "31d6cfe0d16ae931b73c59d7e0c089c0",
		"a":                          "bde52cb31de33e46245e05fbdbd6fb24",
		"abc":                        "a448017aaf21d8525fc10ae87aa6729d",
		"message digest":             "d9130a8164549fe818874806e1c7014b",
		"abcdefghijklmnopqrstuvwxyz": "d79e1c308aa5bbcdeea8ed63df412da9",
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789":                   "043f8582f241db351ce627e153e7f0e4",
		"12345678901234567890123456789012345678901234567890123456789012345678901234567890": "e33b4ddc9c38f2199c3e7b164fcc0536",
	} {
		if got := md4([]byte(in)); hex.EncodeToString(got[:]) != want {
			t.Errorf("md4(%q) = %x, want %s", in, got, want)
		}
	}
}
