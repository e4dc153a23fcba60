package radius

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	layeh "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3162"

	"zonegate"
	"zonegate/radius/nas"
)

// account is an Accounting-Request as NASes send it, without counters.
func account(status rfc2866.AcctStatusType, session, station string) *layeh.Packet {
	p := layeh.New(layeh.CodeAccountingRequest, []byte(testSecret))
	rfc2866.AcctStatusType_Add(p, status)
	rfc2865.NASIdentifier_AddString(p, "tower")
	if session != "" {
		rfc2866.AcctSessionID_AddString(p, session)
	}
	if station != "" {
		rfc2865.CallingStationID_AddString(p, station)
	}
	return p
}

// octets adds cumulative counters, with gigawords if there are any.
func octets(p *layeh.Packet, up, down uint64, lasted time.Duration) *layeh.Packet {
	rfc2866.AcctInputOctets_Add(p, rfc2866.AcctInputOctets(uint32(up)))
	rfc2866.AcctOutputOctets_Add(p, rfc2866.AcctOutputOctets(uint32(down)))
	if up>>32 != 0 || down>>32 != 0 {
		rfc2869.AcctInputGigawords_Add(p, rfc2869.AcctInputGigawords(up>>32))
		rfc2869.AcctOutputGigawords_Add(p, rfc2869.AcctOutputGigawords(down>>32))
	}
	rfc2866.AcctSessionTime_Add(p, rfc2866.AcctSessionTime(lasted/time.Second))
	return p
}

// reported has a packet answered and returns what the gate was told.
func reported(t *testing.T, n nas.NAS, p *layeh.Packet) zonegate.Report {
	t.Helper()
	g := newFakeGate()
	d := newDesk(t, g)
	got := d.ask(n, p)
	if got == nil || got.Code != layeh.CodeAccountingResponse || len(got.Attributes) != 0 {
		t.Fatalf("answered with %+v", got)
	}
	if len(g.reports) != 1 {
		t.Fatalf("%d reports", len(g.reports))
	}
	return g.reports[0]
}

func TestReport(t *testing.T) {
	p := octets(account(rfc2866.AcctStatusType_Value_InterimUpdate, "81000001", station1), 3<<32+7, 5<<32+9, time.Hour)
	rfc2865.Class_AddString(p, "somebody else's")
	rfc2865.Class_AddString(p, "zg1:forged")
	rfc2865.Class_AddString(p, "zg1:token7")
	rfc2865.UserName_AddString(p, "abcd-efgh")
	rfc2865.FramedIPAddress_Add(p, net.IPv4(10, 5, 50, 7).To4())
	rfc2865.NASIPAddress_Add(p, net.IPv4(192, 168, 88, 1).To4())
	rfc2865.CalledStationID_AddString(p, "hotspot1")
	rfc2865.NASPort_Add(p, 0)
	rfc2869.NASPortID_AddString(p, "bridge")
	rfc2866.AcctDelayTime_Add(p, 3)
	got := reported(t, mikrotik, p)
	h, err := nas.DecodeHandle(got.Handle)
	if err != nil {
		t.Fatal(err)
	}
	want := nas.Handle{
		UserName: "abcd-efgh", SessionID: "81000001", FramedIP: netip.MustParseAddr("10.5.50.7"),
		CallingStation: station1, CalledStation: "hotspot1", NASIP: netip.MustParseAddr("192.168.88.1"),
		NASIdentifier: "tower", HasNASPort: true, NASPortID: "bridge",
	}
	if h != want {
		t.Errorf("handle %+v, want %+v", h, want)
	}
	got.Handle = ""
	if want := (zonegate.Report{
		NAS: "tower", Kind: zonegate.ReportInterim, Grant: 7, Device: phone1, Key: "81000001@tower",
		Counted: true, Octets: zonegate.Octets{Up: 3<<32 + 7, Down: 5<<32 + 9}, Lasted: time.Hour, Ago: 3 * time.Second,
	}); got != want {
		t.Errorf("report %+v, want %+v", got, want)
	}
}

func TestKindsOfReports(t *testing.T) {
	for status, kind := range map[rfc2866.AcctStatusType]zonegate.ReportKind{1: zonegate.ReportStart, 2: zonegate.ReportStop, 3: zonegate.ReportInterim} {
		if got := reported(t, mikrotik, account(status, "s", station1)); got.Kind != kind {
			t.Errorf("Acct-Status-Type %d is kind %d", status, got.Kind)
		}
	}
}

func TestCounters(t *testing.T) {
	attribute := func(p *layeh.Packet, kind byte, v uint32) {
		p.Add(layeh.Type(kind), binary.BigEndian.AppendUint32(nil, v))
	}
	const in, out, inHigh, outHigh = 42, 43, 52, 53
	for name, c := range map[string]struct {
		kind           rfc2866.AcctStatusType
		attributes     map[byte]uint32
		octets         zonegate.Octets
		counted, wraps bool
	}{
		"both":                  {3, map[byte]uint32{in: 1, out: 2}, zonegate.Octets{Up: 1, Down: 2}, true, true},
		"gigawords":             {3, map[byte]uint32{in: 1, out: 2, inHigh: 1, outHigh: 2}, zonegate.Octets{Up: 1<<32 + 1, Down: 2<<32 + 2}, true, false},
		"gigawords of zero":     {3, map[byte]uint32{in: 1, out: 2, inHigh: 0, outHigh: 0}, zonegate.Octets{Up: 1, Down: 2}, true, false},
		"gigawords of one":      {3, map[byte]uint32{in: 1, out: 2, outHigh: 1}, zonegate.Octets{Up: 1, Down: 1<<32 + 2}, true, false},
		"none in a stop":        {2, nil, zonegate.Octets{}, false, false},
		"gigawords alone":       {2, map[byte]uint32{inHigh: 4, outHigh: 4}, zonegate.Octets{}, false, false},
		"one direction":         {3, map[byte]uint32{out: 2}, zonegate.Octets{Down: 2}, true, false},
		"zeros in a start":      {1, map[byte]uint32{in: 0, out: 0}, zonegate.Octets{}, false, false},
		"zeros in an interim":   {3, map[byte]uint32{in: 0, out: 0}, zonegate.Octets{}, true, true},
		"more than zero, start": {1, map[byte]uint32{in: 5, out: 0}, zonegate.Octets{Up: 5}, true, true},
		"the most":              {3, map[byte]uint32{in: 1<<32 - 1, out: 1<<32 - 1, inHigh: 1<<32 - 1, outHigh: 1<<32 - 1}, zonegate.Octets{Up: 1<<64 - 1, Down: 1<<64 - 1}, true, false},
	} {
		p := account(c.kind, "s", station1)
		for _, kind := range []byte{in, out, inHigh, outHigh} {
			if v, ok := c.attributes[kind]; ok {
				attribute(p, kind, v)
			}
		}
		got := reported(t, mikrotik, p)
		if got.Octets != c.octets || got.Counted != c.counted || got.Wraps != c.wraps {
			t.Errorf("%s: %+v, counted %v, wraps %v", name, got.Octets, got.Counted, got.Wraps)
		}
	}
}

func TestKeyIsTheSameInEveryReportAndOtherwiseNot(t *testing.T) {
	build := func(status rfc2866.AcctStatusType, session, identifier string, address net.IP, port uint32) *layeh.Packet {
		p := layeh.New(layeh.CodeAccountingRequest, []byte(testSecret))
		rfc2866.AcctStatusType_Add(p, status)
		rfc2866.AcctSessionID_AddString(p, session)
		rfc2865.CallingStationID_AddString(p, station1)
		if identifier != "" {
			rfc2865.NASIdentifier_AddString(p, identifier)
		}
		if address != nil && address.To4() != nil {
			rfc2865.NASIPAddress_Add(p, address.To4())
		} else if address != nil {
			rfc3162.NASIPv6Address_Add(p, address)
		}
		rfc2865.NASPort_Add(p, rfc2865.NASPort(port))
		return p
	}
	key := func(p *layeh.Packet) string { return reported(t, mikrotik, p).Key }
	one, two := net.IPv4(10, 0, 0, 1), net.IPv4(10, 0, 0, 2)
	start := key(build(1, "s", "box", one, 1))
	if start != key(build(3, "s", "box", two, 2)) || start != key(build(2, "s", "box", nil, 0)) {
		t.Error("the key changes with the NAS's address or port")
	}
	long := strings.Repeat("x", 253)
	six := net.ParseIP("2001:db8::1")
	seen := map[string]string{}
	for name, p := range map[string]*layeh.Packet{
		"session and name":  build(1, "s", "box", one, 1),
		"another session":   build(1, "t", "box", one, 1),
		"another name":      build(1, "s", "bar", one, 1),
		"an address":        build(1, "s", "", one, 1),
		"another address":   build(1, "s", "", two, 1),
		"an IPv6 address":   build(1, "s", "", six, 1),
		"a sign in it":      build(1, "s@b", "ox", one, 1),
		"a sign elsewhere":  build(1, "s", "b@ox", one, 1),
		"octets":            build(1, "s\x00", "box", one, 1),
		"octets elsewhere":  build(1, "s", "\x00box", one, 1),
		"long":              build(1, long, "box", one, 1),
		"long elsewhere":    build(1, long[:252], "xbox", one, 1),
		"long on both side": build(1, long, long, one, 1),
		"like a hash":       build(1, "#"+strings.Repeat("0", 32), "box", one, 1),
	} {
		k := key(p)
		if len(k) > maxKey || k == "" {
			t.Errorf("%s: a key of %d octets", name, len(k))
		}
		if other, ok := seen[k]; ok {
			t.Errorf("%s and %s have the same key", name, other)
		}
		seen[k] = name
	}
}

func TestPathAndVendorAndStrictness(t *testing.T) {
	many := testNAS("points", nas.Hostapd, "10.9.0.0")
	many.Prefix = netip.MustParsePrefix("10.9.0.0/24")
	if got := reported(t, many, account(1, "s", station1)); got.NAS != "points@10.9.0.0" {
		t.Errorf("the path behind a prefix is %q", got.NAS)
	}
	if got := reported(t, pfsense, account(1, "s", station1)); !got.Renews || got.Durable {
		t.Errorf("pfSense: %+v", got)
	}
	strict := mikrotik
	strict.Strict = true
	if got := reported(t, strict, account(3, "s", station1)); !got.Durable || got.Renews {
		t.Errorf("a strict NAS: %+v", got)
	}
	g := newFakeGate()
	d := newDesk(t, g)
	d.strict = true
	d.ask(mikrotik, account(3, "s", station1))
	if !g.reports[0].Durable {
		t.Error("a strict server keeps interims in memory")
	}
}

func TestIncompleteAccountingIsNotAnswered(t *testing.T) {
	bare := layeh.New(layeh.CodeAccountingRequest, []byte(testSecret))
	rfc2866.AcctSessionID_AddString(bare, "s")
	rfc2865.NASIdentifier_AddString(bare, "tower")
	nobody := layeh.New(layeh.CodeAccountingRequest, []byte(testSecret))
	rfc2866.AcctStatusType_Add(nobody, 1)
	rfc2866.AcctSessionID_AddString(nobody, "s")
	short := account(1, "s", station1)
	short.Set(40, []byte{1})
	for name, c := range map[string]struct {
		p       *layeh.Packet
		counter string
	}{
		"no Acct-Status-Type":    {bare, countNoStatus},
		"a short one":            {short, countNoStatus},
		"no Acct-Session-Id":     {account(1, "", station1), countNoSession},
		"neither name nor place": {nobody, countNoIdentity},
	} {
		g := newFakeGate()
		d := newDesk(t, g)
		if got := d.ask(mikrotik, c.p); got != nil || len(g.reports) != 0 {
			t.Errorf("%s: answered with %v, %d reports", name, got, len(g.reports))
		}
		if d.counted(c.counter) != 1 {
			t.Errorf("%s: counted %v", name, d.counts)
		}
	}
}

func TestOnAndOff(t *testing.T) {
	g := newFakeGate()
	d := newDesk(t, g)
	on := account(rfc2866.AcctStatusType_Value_AccountingOn, "", "")
	off := account(rfc2866.AcctStatusType_Value_AccountingOff, "00000000", "")
	rfc2866.AcctDelayTime_Add(off, 30)
	never := account(rfc2866.AcctStatusType_Value_AccountingOn, "", "")
	rfc2866.AcctDelayTime_Add(never, 1<<32-1)
	for _, p := range []*layeh.Packet{on, off, never} {
		if got := d.ask(mikrotik, p); got == nil || got.Code != layeh.CodeAccountingResponse {
			t.Errorf("answered with %v", got)
		}
	}
	if want := []string{"tower 0s", "tower 30s", "tower " + ((1<<32 - 1) * time.Second).String()}; !slices.Equal(g.restarts, want) {
		t.Errorf("the gate heard %v, want %v", g.restarts, want)
	}
	g.err = zonegate.ErrNotDurable
	if got := d.ask(mikrotik, on); got != nil {
		t.Error("a restart that is not recorded is answered")
	}
}

func TestAccountingOfOthersIsAnsweredAndIgnored(t *testing.T) {
	g := newFakeGate()
	d := newDesk(t, g)
	line := account(1, "s", "pppoe line 4")
	rfc2865.Class_AddString(line, "zg1:forged")
	for _, p := range []*layeh.Packet{line, account(1, "s", ""), account(9, "s", station1), account(15, "s", station1)} {
		if got := d.ask(mikrotik, p); got == nil || got.Code != layeh.CodeAccountingResponse {
			t.Errorf("answered with %v", got)
		}
	}
	if len(g.reports) != 0 || d.counted(countForeign) != 2 || d.counted(countOtherStatus) != 2 {
		t.Errorf("%d reports, counted %v", len(g.reports), d.counts)
	}
	for _, err := range []error{zonegate.ErrNoSuchSession, zonegate.ErrNoSuchGrant, zonegate.ErrNoGrant} {
		g.err = err
		if got := d.ask(mikrotik, account(1, "s", station1)); got == nil {
			t.Errorf("%v: a session that nobody will ever record is not answered", err)
		}
	}
}

type witness struct{ saw []string }

func (w *witness) Seen(r zonegate.Report) { w.saw = append(w.saw, r.NAS+" "+r.Key) }

func TestWitnessSeesWhatWasRecorded(t *testing.T) {
	g := newFakeGate()
	d := newDesk(t, g)
	w := &witness{}
	d.witness = w
	d.ask(mikrotik, account(3, "s", station1))
	g.err = errors.New("broken")
	d.ask(mikrotik, account(3, "t", station1))
	if !slices.Equal(w.saw, []string{"tower s@tower"}) {
		t.Errorf("the witness saw %v", w.saw)
	}
}
