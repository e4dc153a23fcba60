package wire

import (
	"bytes"
	"crypto/md5"
	"math"
	"net/netip"
	"strings"
	"testing"

	"layeh.com/radius"
)

func accessRequest(t *testing.T, vector [16]byte, attributes ...Attribute) *Packet {
	t.Helper()
	return parse(t, encodeRequest(t, Request{Code: AccessRequest, Authenticator: vector, Attributes: attributes}, rfcSecret))
}

func chapPassword(id byte, password string, challenge []byte) []byte {
	sum := md5.Sum(append(append([]byte{id}, password...), challenge...))
	return append([]byte{id}, sum[:]...)
}

func TestPAP(t *testing.T) {
	for _, password := range []string{"", "x", "exactly 16 octet", "seventeen octets!", "mot de passe d’été", strings.Repeat("long", 32)} {
		vector := authenticator()
		hidden, err := radius.NewUserPassword([]byte(password), rfcSecret, vector[:])
		if err != nil {
			t.Fatal(err)
		}
		proof := accessRequest(t, vector, Octets(UserPassword, hidden)).Proof(rfcSecret)
		clear, ok := proof.Clear()
		if proof.Method != PAP || !ok || clear != password || !proof.Proves(password) || proof.Proves(password+"x") {
			t.Errorf("%q: method %v, %q", password, proof.Method, clear)
		}
		if proof.Success(password) != nil || proof.Failure("no") != nil {
			t.Errorf("%q: attributes of another method", password)
		}
	}
}

func TestCHAP(t *testing.T) {
	vector := authenticator()
	for _, n := range []int{1, 5, 16, 32, 253} {
		challenge := bytes.Repeat([]byte{0xa5}, n)
		proof := accessRequest(t, vector,
			Octets(CHAPPassword, chapPassword(3, "4711-0815", challenge)), Octets(CHAPChallenge, challenge)).Proof(rfcSecret)
		if proof.Method != CHAP || !proof.Proves("4711-0815") || proof.Proves("4711-0816") || proof.Proves("") {
			t.Errorf("challenge of %d octets: method %v, proves %v", n, proof.Method, proof.Proves("4711-0815"))
		}
		if _, ok := proof.Clear(); ok {
			t.Error("CHAP has a clear password")
		}
	}
	// With a CHAP-Challenge the Request Authenticator is no challenge.
	proof := accessRequest(t, vector,
		Octets(CHAPPassword, chapPassword(3, "x", vector[:])), Octets(CHAPChallenge, []byte("another"))).Proof(rfcSecret)
	if proof.Proves("x") {
		t.Error("the Request Authenticator counted beside a CHAP-Challenge")
	}
	// An empty password is a password.
	if !accessRequest(t, vector, Octets(CHAPPassword, chapPassword(0, "", vector[:]))).Proof(rfcSecret).Proves("") {
		t.Error("an empty password is not proved")
	}
}

func TestMethods(t *testing.T) {
	chap, pap := Octets(CHAPPassword, make([]byte, 17)), Octets(UserPassword, make([]byte, 16))
	ms2 := VendorOctets(Microsoft, MSCHAP2Response, make([]byte, 50))
	challenge := VendorOctets(Microsoft, MSCHAPChallenge, make([]byte, 16))
	for _, c := range []struct {
		name       string
		attributes []Attribute
		want       Method
	}{
		{"nothing", nil, NoPassword},
		{"PAP", []Attribute{pap}, PAP},
		{"PAP of 15", []Attribute{Octets(UserPassword, make([]byte, 15))}, Unreadable},
		{"PAP of 144", []Attribute{Octets(UserPassword, make([]byte, 144))}, Unreadable},
		{"CHAP", []Attribute{chap}, CHAP},
		{"CHAP of 16", []Attribute{Octets(CHAPPassword, make([]byte, 16))}, Unreadable},
		{"PAP and CHAP", []Attribute{pap, chap}, Unreadable},
		{"MS-CHAPv2", []Attribute{challenge, ms2}, MSCHAPv2},
		{"MS-CHAPv2 without challenge", []Attribute{ms2}, Unreadable},
		{"MS-CHAPv2 with a challenge of version 1", []Attribute{ms2, VendorOctets(Microsoft, MSCHAPChallenge, make([]byte, 8))}, Unreadable},
		{"MS-CHAPv2 of 49", []Attribute{challenge, VendorOctets(Microsoft, MSCHAP2Response, make([]byte, 49))}, Unreadable},
		{"MS-CHAPv2 and CHAP", []Attribute{challenge, ms2, chap}, Unreadable},
		{"MS-CHAPv2 and PAP", []Attribute{challenge, ms2, pap}, Unreadable},
		{"MS-CHAPv1", []Attribute{challenge, VendorOctets(Microsoft, MSCHAPResponse, make([]byte, 50))}, MSCHAPv1},
		{"EAP", []Attribute{Octets(EAPMessage, []byte{2, 1, 0, 4})}, EAP},
	} {
		proof := accessRequest(t, [16]byte{}, c.attributes...).Proof(rfcSecret)
		if proof.Method != c.want {
			t.Errorf("%s: %v, want %v", c.name, proof.Method, c.want)
		}
		if c.want != PAP && proof.Proves("") {
			t.Errorf("%s proves the empty password", c.name)
		}
	}
}

func TestRefuseEAP(t *testing.T) {
	// An EAP-Response/Identity in two attributes.
	request := accessRequest(t, authenticator(), Octets(EAPMessage, []byte{2, 77, 0, 8, 1, 'a'}), Octets(EAPMessage, []byte("ma")))
	b, err := request.RefuseEAP().Encode(request, rfcSecret)
	if err != nil {
		t.Fatal(err)
	}
	reply := parse(t, b)
	if m, _ := reply.Value(EAPMessage); reply.Code != AccessReject || !reply.Signed() || !bytes.Equal(m, []byte{4, 77, 0, 4}) {
		t.Errorf("refused with %x", b)
	}
	// What is no EAP-Response has no identifier to answer to.
	for _, m := range [][]byte{{2}, {2, 1, 0}, {1, 1, 0, 5, 1}} {
		request := accessRequest(t, authenticator(), Octets(EAPMessage, m))
		if r := request.RefuseEAP(); r.Code != AccessReject || r.Attributes != nil {
			t.Errorf("%x refused with %v", m, r)
		}
	}
}

func TestAttributesComeBack(t *testing.T) {
	p := parse(t, encodeRequest(t, Request{Code: AccountingRequest, Attributes: []Attribute{
		Text(UserName, "é"), Uint32(SessionTimeout, 7), Addr(FramedIPAddress, netip.MustParseAddr("::ffff:192.0.2.7")),
		Addr(NASIPv6Address, netip.MustParseAddr("2001:db8::1")), Octets(Class, []byte{0, 255}),
		Uint32(AcctInputOctets, math.MaxUint32), Uint32(AcctInputGigawords, 2),
		Uint32(AcctOutputOctets, 5), Uint32(AcctOutputGigawords, 0),
		VendorText(MikroTik, MikroTikRateLimit, "1M/2M"), VendorUint32(WISPr, WISPrBandwidthMaxDown, 2_000_000),
		VendorUint32(ChilliSpot, ChilliMaxTotalGigawords, 1), VendorUint32(PfSense, PfSenseMaxTotalOctets, 9),
		VendorText(MikroTik, MikroTikGroup, ""), Uint32(AcctInputPackets, 3),
	}}, rfcSecret))
	if v, wide, ok := p.Counter(AcctInputOctets, AcctInputGigawords); v != 3<<32-1 || !wide || !ok {
		t.Errorf("input %d %v %v", v, wide, ok)
	}
	if v, wide, ok := p.Counter(AcctOutputOctets, AcctOutputGigawords); v != 5 || !wide || !ok {
		t.Errorf("output %d %v %v", v, wide, ok)
	}
	if v, wide, ok := p.Counter(AcctInputPackets, AcctLinkCount); v != 3 || wide || !ok {
		t.Errorf("without gigawords %d %v %v", v, wide, ok)
	}
	if v, wide, ok := p.Counter(AcctOutputPackets, AcctInputGigawords); v != 0 || wide || ok {
		t.Errorf("gigawords alone %d %v %v", v, wide, ok)
	}
	a4, _ := p.Addr(FramedIPAddress)
	a6, _ := p.Addr(NASIPv6Address)
	if a4 != netip.MustParseAddr("192.0.2.7") || a6 != netip.MustParseAddr("2001:db8::1") {
		t.Errorf("addresses %v %v", a4, a6)
	}
	if _, ok := p.Addr(SessionTimeout); !ok {
		t.Error("four octets are an address")
	}
	if _, ok := p.Addr(UserName); ok {
		t.Error("two octets are an address")
	}
	if _, ok := p.Uint32(UserName); ok {
		t.Error("two octets are a number")
	}
	if _, ok := p.Uint32(State); ok || p.Text(State) != "" {
		t.Error("an attribute that is not there is found")
	}
	for _, c := range []struct {
		vendor VendorID
		t      Type
		want   uint32
	}{{WISPr, WISPrBandwidthMaxDown, 2_000_000}, {ChilliSpot, ChilliMaxTotalGigawords, 1}, {PfSense, PfSenseMaxTotalOctets, 9}} {
		if v, ok := p.VendorUint32(c.vendor, c.t); !ok || v != c.want {
			t.Errorf("vendor %d type %d: %d %v", c.vendor, c.t, v, ok)
		}
	}
	if s := p.VendorText(MikroTik, MikroTikRateLimit); s != "1M/2M" {
		t.Errorf("rate limit %q", s)
	}
	// Same type, another vendor; and empty, so not sent.
	if _, ok := p.VendorValue(WISPr, MikroTikRateLimit); !ok {
		t.Error("type 8 of WISPr is not found")
	}
	if _, ok := p.VendorValue(PfSense, MikroTikRateLimit); ok {
		t.Error("type 8 of a vendor that sent nothing is found")
	}
	if _, ok := p.VendorValue(MikroTik, MikroTikGroup); ok {
		t.Error("an attribute without a value was sent")
	}
	if Saturate(math.MaxUint32+1) != math.MaxUint32 || Saturate(7) != 7 {
		t.Error("saturating")
	}
}

func BenchmarkAccess(b *testing.B) {
	vector := authenticator()
	hidden, _ := radius.NewUserPassword([]byte("ABCD-EFGH-JKMN"), rfcSecret, vector[:])
	sent := encodeRequest(b, Request{Code: AccessRequest, Authenticator: vector, Attributes: []Attribute{
		Text(UserName, "ABCD-EFGH-JKMN"), Octets(UserPassword, hidden), Text(CallingStationID, "00:1A:2B:3C:4D:5E"),
		Text(CalledStationID, "hotspot1"), Text(NASIdentifier, "zone"), Uint32(NASPort, 7), Text(AcctSessionID, "80a00007"),
		Uint32(ServiceType, 1)}}, rfcSecret)
	attributes := []Attribute{Uint32(SessionTimeout, 3600), Uint32(IdleTimeout, 600), Uint32(AcctInterimInterval, 300), Text(Class, "zg1:0123456789abcdef"),
		VendorText(MikroTik, MikroTikRateLimit, "1000k/2000k 0/0 0/0 0/0 8 200k/400k"), VendorUint32(MikroTik, MikroTikTotalLimit, 1), VendorUint32(MikroTik, MikroTikTotalLimitGigawords, 0)}
	b.ReportAllocs()
	for b.Loop() {
		p, _ := Parse(sent)
		if p.Verify(rfcSecret) != Valid || !p.Proof(rfcSecret).Proves("ABCD-EFGH-JKMN") {
			b.Fatal("refused")
		}
		if _, err := (Reply{Code: AccessAccept, Attributes: attributes}).Encode(&p, rfcSecret); err != nil {
			b.Fatal(err)
		}
	}
}
