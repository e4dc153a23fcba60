package radius

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	layeh "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/vendors/microsoft"

	"zonegate"
	"zonegate/radius/nas"
	"zonegate/radius/wire"
)

const testSecret = "a-secret-of-31-printable-octets"

func testNAS(name string, v nas.Vendor, addr string) nas.NAS {
	return nas.NAS{Name: name, Vendor: v, Secret: nas.Secret(testSecret), Prefix: netip.PrefixFrom(netip.MustParseAddr(addr), 32)}
}

var (
	mikrotik = testNAS("tower", nas.MikroTik, "10.0.0.1")
	chilli   = testNAS("chilli", nas.CoovaChilli, "10.0.0.2")
	pfsense  = testNAS("wall", nas.PfSense, "10.0.0.3")
)

// A desk is a translator under test, with what it counted and logged.
type desk struct {
	*translator
	t testing.TB

	mu     sync.Mutex
	counts map[string]int
	log    bytes.Buffer
}

func newDesk(t testing.TB, g Gate) *desk {
	d := &desk{t: t, counts: map[string]int{}}
	d.translator = &translator{
		gate: g, tickets: NewTickets(newTestClock()), language: French,
		log: slog.New(slog.NewTextHandler(lockedWriter{d}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		count: func(name string) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.counts[name]++
		},
	}
	return d
}

type lockedWriter struct{ d *desk }

func (w lockedWriter) Write(b []byte) (int, error) {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	return w.d.log.Write(b)
}

func (d *desk) counted(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[name]
}

func (d *desk) logged() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

// ask sends a packet of another codec through the octets of the wire and
// returns what that codec makes of the answer; nil is no answer.
func (d *desk) ask(n nas.NAS, p *layeh.Packet) *layeh.Packet {
	d.t.Helper()
	raw, err := p.Encode()
	if err != nil {
		d.t.Fatal(err)
	}
	packet, reason := wire.Parse(raw)
	if reason == wire.Valid {
		reason = packet.Verify(n.Secret)
	}
	if reason != wire.Valid {
		d.t.Fatalf("the test's own packet is dropped: %v", reason)
	}
	r := &request{packet: &packet, nas: n, from: netip.AddrPortFrom(n.Prefix.Addr(), 4000)}
	answer := d.access
	if packet.Code == wire.AccountingRequest {
		answer = d.account
	}
	reply, ok := answer(context.Background(), r)
	if !ok {
		return nil
	}
	out, err := reply.Encode(&packet, n.Secret)
	if err != nil {
		d.t.Fatalf("the answer cannot be written: %v", err)
	}
	if !layeh.IsAuthenticResponse(out, raw, p.Secret) {
		d.t.Fatal("the answer is not authentic")
	}
	got, err := layeh.Parse(out, p.Secret)
	if err != nil {
		d.t.Fatal(err)
	}
	return got
}

// message returns the Reply-Message of an Access-Reject.
func (d *desk) message(p *layeh.Packet) string {
	d.t.Helper()
	if p == nil || p.Code != layeh.CodeAccessReject {
		d.t.Fatalf("not rejected: %+v", p)
	}
	return rfc2865.ReplyMessage_GetString(p)
}

// login is an Access-Request with a user and a device, and no password yet.
func login(user, station string) *layeh.Packet {
	p := layeh.New(layeh.CodeAccessRequest, []byte(testSecret))
	if user != "" {
		rfc2865.UserName_AddString(p, user)
	}
	if station != "" {
		rfc2865.CallingStationID_AddString(p, station)
	}
	rfc2865.NASIdentifier_AddString(p, "tower")
	return p
}

func pap(user, password, station string) *layeh.Packet {
	p := login(user, station)
	if password == "" {
		// RFC 2865 section 5.2: an empty password is 16 zeros before it is
		// hidden.
		hidden := md5.Sum(append([]byte(testSecret), p.Authenticator[:]...))
		p.Add(2, hidden[:])
	} else {
		rfc2865.UserPassword_AddString(p, password)
	}
	return p
}

// chap answers the Request Authenticator, or a challenge of its own.
func chap(user, password, station string, challenge []byte) *layeh.Packet {
	p := login(user, station)
	vector := p.Authenticator[:]
	if challenge != nil {
		vector = challenge
		rfc2865.CHAPChallenge_Add(p, challenge)
	}
	sum := md5.Sum(append(append([]byte{9}, password...), vector...))
	rfc2865.CHAPPassword_Add(p, append([]byte{9}, sum[:]...))
	return p
}

var (
	msChallenge = []byte("sixteen octets!!")
	msPeer      = []byte("and sixteen more")
)

func mschap(t testing.TB, user, password, station string) *layeh.Packet {
	p := login(user, station)
	t.Helper()
	response := clientResponse(msChallenge, msPeer, user, password)
	microsoft.MSCHAPChallenge_Add(p, msChallenge)
	v := append([]byte{3, 0}, msPeer...)
	v = append(append(v, make([]byte, 8)...), response...)
	microsoft.MSCHAP2Response_Add(p, v)
	return p
}

// fakeGate does as it is told and remembers what it was asked.
type fakeGate struct {
	mu       sync.Mutex
	logins   []zonegate.Login
	reports  []zonegate.Report
	restarts []string

	admission zonegate.Admission
	// password is what a login with a code must prove; "any" asks nothing.
	password string
	err      error
	asked    atomic.Int64
}

func (g *fakeGate) Readmit(zonegate.Login) (zonegate.Admission, bool) {
	return zonegate.Admission{}, false
}

func (g *fakeGate) Admit(_ context.Context, l zonegate.Login) (zonegate.Admission, error) {
	g.asked.Add(1)
	proved := l.Code == "" || g.password == "any" || l.Proves(g.password)
	g.mu.Lock()
	defer g.mu.Unlock()
	l.Proves = nil
	g.logins = append(g.logins, l)
	switch {
	case g.err != nil:
		return zonegate.Admission{}, g.err
	case !proved:
		return zonegate.Admission{}, zonegate.ErrWrongPassword
	}
	return g.admission, nil
}

func (g *fakeGate) Report(_ context.Context, r zonegate.Report) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reports = append(g.reports, r)
	return g.err
}

func (g *fakeGate) Restarted(_ context.Context, nas string, ago time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.restarts = append(g.restarts, nas+" "+ago.String())
	return g.err
}

func (g *fakeGate) GrantOf(token string) (zonegate.GrantID, bool) {
	if token == "token7" {
		return 7, true
	}
	return 0, false
}

func newFakeGate() *fakeGate {
	return &fakeGate{admission: zonegate.Admission{
		Session: zonegate.Session{ID: 5, Grant: 7, Device: phone1, Terms: zonegate.Terms{Limit: 5e9}},
		Plan: zonegate.Plan{ID: "day", Duration: 24 * time.Hour, DevicesMax: 1,
			Rate: zonegate.Rate{CIRUp: 256e3, CIRDown: 512e3, MIRUp: 1e6, MIRDown: 4e6}},
		TimeLeft: time.Hour, Counted: zonegate.Octets{Up: 1e9}, Token: "token7",
	}}
}

func (g *fakeGate) last(t testing.TB) zonegate.Login {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.logins) == 0 {
		t.Fatal("the gate was not asked")
	}
	return g.logins[len(g.logins)-1]
}

const (
	code1    = "ABCD-EFGH"
	station1 = "02:00:00:00:00:01"
	station2 = "02-00-00-00-00-02"
)

func TestCodeComesWithEmptyOrEqualPassword(t *testing.T) {
	for _, password := range []string{"", "ABCD-EFGH", "ABCDEFGH"} {
		for name, p := range map[string]*layeh.Packet{
			"pap":              pap(code1, password, station1),
			"chap":             chap(code1, password, station1, nil),
			"chap challenge":   chap(code1, password, station1, []byte("another challenge")),
			"short challenge":  chap(code1, password, station1, []byte{7}),
			"mschap version 2": mschap(t, code1, password, station1),
		} {
			g := newFakeGate()
			g.password = password
			d := newDesk(t, g)
			got := d.ask(mikrotik, p)
			if got == nil || got.Code != layeh.CodeAccessAccept {
				t.Fatalf("%s with %q: %v", name, password, got)
			}
			l := g.last(t)
			if l.Code != code1 || l.Device != phone1 || l.NAS != "tower" || l.Grant != 0 {
				t.Errorf("%s: the gate was asked %+v", name, l)
			}
			success := microsoft.MSCHAP2Success_Get(got)
			if name == "mschap version 2" {
				response := clientResponse(msChallenge, msPeer, code1, password)
				want := clientExpects(msChallenge, msPeer, response, code1, password)
				if len(success) == 0 || success[0] != 3 || string(success[1:]) != want {
					t.Errorf("MS-CHAP2-Success is %q, want %q", success, want)
				}
			} else if success != nil {
				t.Errorf("%s has an MS-CHAP2-Success", name)
			}
		}
	}
}

func TestPAPForgivesHowTheCodeIsTyped(t *testing.T) {
	g := newFakeGate()
	g.password = "ABCDEFGH"
	d := newDesk(t, g)
	if got := d.ask(mikrotik, pap("abcd efgh", "abCD-efgh", station1)); got.Code != layeh.CodeAccessAccept {
		t.Error("the same code, typed in another way, is not its password")
	}
	g.password = "ANOTHER1"
	if got := d.ask(mikrotik, pap("abcd efgh", "another1", station1)); got.Code != layeh.CodeAccessReject {
		t.Error("a password that is not the code is forgiven its spelling")
	}
	if got := d.ask(mikrotik, pap("abcd efgh", "abcd efgh", station1)); got.Code != layeh.CodeAccessReject {
		t.Error("the code opens what has another password")
	}
}

func TestNoPasswordIsAnEmptyOne(t *testing.T) {
	g := newFakeGate()
	d := newDesk(t, g)
	if got := d.ask(mikrotik, login(code1, station1)); got.Code != layeh.CodeAccessAccept || g.last(t).Code != code1 {
		t.Errorf("%v", got.Code)
	}
	g.password = "the ticket has one"
	if m := d.message(d.ask(mikrotik, login(code1, station1))); !strings.Contains(m, "mot de passe") {
		t.Error(m)
	}
	user, _ := d.tickets.Issue("tower", phone1, 7)
	if m := d.message(d.ask(mikrotik, login(user, station1))); m != textTicket.french {
		t.Error(m)
	}
}

func TestWrongPasswordIsRejected(t *testing.T) {
	for name, p := range map[string]*layeh.Packet{
		"pap": pap(code1, "x", station1), "chap": chap(code1, "x", station1, nil), "mschap": mschap(t, code1, "x", station1),
	} {
		g := newFakeGate()
		d := newDesk(t, g)
		got := d.ask(mikrotik, p)
		if m := d.message(got); !strings.Contains(m, "mot de passe") {
			t.Errorf("%s: %q", name, m)
		}
		failure := microsoft.MSCHAPError_GetString(got)
		if want := name == "mschap"; want != strings.HasPrefix(failure, "\x03E=691 R=0 ") {
			t.Errorf("%s: MS-CHAP-Error %q", name, failure)
		}
	}
}

func TestEveryRefusalOfTheGateIsSaid(t *testing.T) {
	for _, l := range []Language{French, English} {
		for _, refusal := range refusals {
			g := newFakeGate()
			g.err = refusal.err
			d := newDesk(t, g)
			d.language = l
			g.password = "any"
			want, _ := l.refuse(refusal.err)
			if m := d.message(d.ask(mikrotik, pap(code1, "", station1))); m != want {
				t.Errorf("%v is said as %q, want %q", refusal.err, m, want)
			}
		}
	}
}

func TestNoAnswerWhileNothingCanBeDecided(t *testing.T) {
	for _, err := range []error{zonegate.ErrNotDurable, zonegate.ErrStopped, context.DeadlineExceeded, errors.New("the archive is broken")} {
		g := newFakeGate()
		g.err = err
		g.password = "any"
		d := newDesk(t, g)
		if got := d.ask(mikrotik, pap(code1, "", station1)); got != nil {
			t.Errorf("%v is answered with %v", err, got.Code)
		}
		if got := d.ask(mikrotik, account(rfc2866.AcctStatusType_Value_Start, "s1", station1)); got != nil {
			t.Errorf("%v: accounting is answered", err)
		}
		if d.counted(countNotDecided) != 1 || d.counted(countNotRecorded) != 1 {
			t.Errorf("%v: counted %v", err, d.counts)
		}
	}
}

func TestMethodsThatAreRefused(t *testing.T) {
	two := pap(code1, "", station1)
	rfc2865.CHAPPassword_Add(two, make([]byte, 17))
	three := mschap(t, code1, "", station1)
	rfc2865.UserPassword_AddString(three, "x")
	first := login(code1, station1)
	microsoft.MSCHAPChallenge_Add(first, make([]byte, 8))
	microsoft.MSCHAPResponse_Add(first, make([]byte, 50))
	short := login(code1, station1)
	short.Add(3, []byte{1, 2, 3})
	for name, p := range map[string]*layeh.Packet{
		"pap and chap": two, "pap and mschap": three, "mschap 1": first, "short chap": short,
	} {
		g := newFakeGate()
		d := newDesk(t, g)
		if m := d.message(d.ask(mikrotik, p)); m != textMethod.french {
			t.Errorf("%s: %q", name, m)
		}
		if g.asked.Load() != 0 {
			t.Errorf("%s: the gate was asked", name)
		}
		if d.counted(countMisconfigured) != 1 || !strings.Contains(d.logged(), "tower") {
			t.Errorf("%s: nobody is told that the NAS is set up wrong", name)
		}
	}
}

func TestEAPIsRefused(t *testing.T) {
	g := newFakeGate()
	d := newDesk(t, g)
	raw, err := wire.Request{
		Code: wire.AccessRequest, ID: 4, Authenticator: [16]byte{1, 2},
		Attributes: []wire.Attribute{
			wire.Text(wire.UserName, "somebody"), wire.Text(wire.CallingStationID, station1),
			wire.Octets(wire.EAPMessage, []byte{2, 77, 0, 6, 1, 'x'}),
		},
	}.Encode([]byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	p, err := layeh.Parse(raw, []byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	got := d.ask(mikrotik, p)
	if got.Code != layeh.CodeAccessReject || g.asked.Load() != 0 {
		t.Fatalf("%v, the gate asked %d times", got.Code, g.asked.Load())
	}
	if m := rfc2869.EAPMessage_Get(got); !bytes.Equal(m, []byte{4, 77, 0, 4}) {
		t.Errorf("EAP-Message %x is not a failure", m)
	}
	if rfc2865.ReplyMessage_GetString(got) != "" {
		t.Error("a Reply-Message beside an EAP-Message (RFC 3579 section 2.6.5)")
	}
}

func TestLoginsThatNeverReachTheGate(t *testing.T) {
	for name, c := range map[string]struct {
		p    *layeh.Packet
		says text
	}{
		"no user name":          {pap("", "", station1), textEmpty},
		"nothing but signs":     {pap(" -- ", "", station1), textEmpty},
		"no device":             {pap(code1, "", ""), textNoDevice},
		"an address":            {pap(code1, "", "10.1.2.3"), textBadDevice},
		"half a device":         {pap(code1, "", "02:00:00:00:00"), textBadDevice},
		"a group address":       {pap(code1, "", "01:00:5e:00:00:01"), textBadDevice},
		"another device":        {pap("02:00:00:00:00:02", "", station1), textOtherMAC},
		"another device, dots":  {pap("0200.0000.0002", "", station1), textOtherMAC},
		"a ticket nobody gave":  {pap(ticketPrefix+"0123456789abcdef", "x", station1), textTicket},
		"a ticket's beginning":  {pap(ticketPrefix, "", station1), textTicket},
		"control characters":    {pap("ABCD\x07EFGH", "", station1), refusals[0].says},
		"a new line":            {pap("ABCD\nEFGH", "", station1), refusals[0].says},
		"what is not UTF-8":     {pap("ABCD\xff\xfe", "", station1), refusals[0].says},
		"a C1 control":          {pap("ABCD\u0085", "", station1), refusals[0].says},
		"zero in the user name": {pap("ABCD\x00", "", station1), refusals[0].says},
	} {
		g := newFakeGate()
		g.password = "any"
		d := newDesk(t, g)
		if m := d.message(d.ask(mikrotik, c.p)); m != c.says.french {
			t.Errorf("%s: %q", name, m)
		}
		if g.asked.Load() != 0 {
			t.Errorf("%s: the gate was asked", name)
		}
	}
}

func TestDeviceLogins(t *testing.T) {
	var phone = zonegate.MAC{0xaa, 0xbb, 0xcc, 0x01, 0x02, 0x03}
	// How the NASes write a device, as user name and as Calling-Station-Id.
	for _, c := range []struct{ user, password, station string }{
		{"AA:BB:CC:01:02:03", "", "AA:BB:CC:01:02:03"},                  // RouterOS
		{"AA:BB:CC:01:02:03", "one word for all", "AA:BB:CC:01:02:03"},  // mac-auth-password
		{"AABBCC010203", "AABBCC010203", "AA:BB:CC:01:02:03"},           // radius-mac-format
		{"AABBCC-010203", "", "AA:BB:CC:01:02:03"},                      //
		{"AABB:CC01:0203", "", "AA:BB:CC:01:02:03"},                     //
		{"AA-BB-CC-01-02-03", "AA-BB-CC-01-02-03", "AA-BB-CC-01-02-03"}, // CoovaChilli
		{"AA-BB-CC-01-02-03@shop", "x", "AA-BB-CC-01-02-03"},            // macsuffix
		{"aabbcc010203", "aabbcc010203", "AA-BB-CC-01-02-03"},           // hostapd
		{"aabbcc010203", "x", "AA-BB-CC-01-02-03:The zone"},             // RFC 3580
		{"aabb.cc01.0203", "shared", "aa:bb:cc:01:02:03"},               // pfSense, Cisco
		{"aabbcc-010203", "shared", "aa:bb:cc:01:02:03"},                // pfSense, single dash
		{"aa-bb-cc-01-02-03", "aa-bb-cc-01-02-03", "aabb.cc01.0203"},    // Aruba
		{"AA-bb-CC-01-02-03", "", "aabbcc010203"},                       // any case
	} {
		for method, p := range map[string]*layeh.Packet{"pap": pap(c.user, c.password, c.station), "chap": chap(c.user, c.password, c.station, nil)} {
			g := newFakeGate()
			d := newDesk(t, g)
			if got := d.ask(mikrotik, p); got.Code != layeh.CodeAccessAccept {
				t.Errorf("%+v %s: %v", c, method, got.Code)
				continue
			}
			if l := g.last(t); l.Code != "" || l.Device != phone || l.Grant != 0 {
				t.Errorf("%+v %s: the gate was asked %+v", c, method, l)
			}
			// A stranger's device, by the hundred: no guess, no password.
			g.err = zonegate.ErrNoGrant
			if m := d.message(d.ask(mikrotik, p)); !strings.Contains(m, "Achetez") {
				t.Errorf("%+v: %q", c, m)
			}
		}
	}
	g := newFakeGate()
	d := newDesk(t, g)
	check := login("somebody", station1)
	rfc2865.ServiceType_Add(check, 10)
	if got := d.ask(mikrotik, check); got.Code != layeh.CodeAccessAccept {
		t.Error("a Call-Check without a password is refused")
	}
	if l := g.last(t); l.Code != "" {
		t.Error("a Call-Check is taken for a code")
	}
	// MS-CHAP has to prove the password back, so it must be one we know.
	if got := d.ask(pfsense, mschap(t, station1, station1, station1)); got.Code != layeh.CodeAccessAccept || microsoft.MSCHAP2Success_Get(got) == nil {
		t.Error("a device by MS-CHAPv2 is refused")
	}
	if m := d.message(d.ask(pfsense, mschap(t, station1, "shared", station1))); m != textMethod.french {
		t.Error(m)
	}
	// Twelve digits that are not this device are a code.
	if got := d.ask(mikrotik, pap("1234-5678-9012", "", station1)); got.Code != layeh.CodeAccessAccept || g.last(t).Code != "1234-5678-9012" {
		t.Error("a code of twelve digits is taken for a device")
	}
}

func TestTicketLogin(t *testing.T) {
	for method, build := range map[string]func(user, password, station string) *layeh.Packet{
		"pap":    pap,
		"chap":   func(u, p, s string) *layeh.Packet { return chap(u, p, s, []byte("challenge")) },
		"mschap": func(u, p, s string) *layeh.Packet { return mschap(t, u, p, s) },
	} {
		g := newFakeGate()
		d := newDesk(t, g)
		user, password := d.tickets.Issue("tower", phone1, 7)
		for name, p := range map[string]*layeh.Packet{
			"a wrong password": build(user, "x", station1),
			"an empty one":     build(user, "", station1),
			"another device":   build(user, password, station2),
		} {
			if m := d.message(d.ask(mikrotik, p)); m != textTicket.french {
				t.Errorf("%s, %s: %q", method, name, m)
			}
		}
		if m := d.message(d.ask(chilli, build(user, password, station1))); m != textTicket.french {
			t.Errorf("%s at another NAS: %q", method, m)
		}
		// A failure of ours does not cost the ticket, whatever it was.
		for _, err := range []error{zonegate.ErrNotDurable, errors.New("the archive is broken")} {
			g.err = err
			if got := d.ask(mikrotik, build(user, password, station1)); got != nil {
				t.Fatalf("%s: answered with %v", method, got.Code)
			}
		}
		g.err = nil
		got := d.ask(mikrotik, build(user, password, station1))
		if got == nil || got.Code != layeh.CodeAccessAccept {
			t.Fatalf("%s: %v", method, got)
		}
		if l := g.last(t); l.Code != "" || l.Grant != 7 || l.Device != phone1 {
			t.Errorf("%s: the gate was asked %+v", method, l)
		}
		if method == "mschap" && microsoft.MSCHAP2Success_Get(got) == nil {
			t.Error("no MS-CHAP2-Success")
		}
		if m := d.message(d.ask(mikrotik, build(user, password, station1))); m != textTicket.french {
			t.Errorf("%s: a second login gives %q", method, m)
		}
		if log := d.logged(); strings.Contains(log, password) || strings.Contains(log, user) {
			t.Errorf("the log shows a ticket: %s", log)
		}
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	g := newFakeGate()
	d := newDesk(t, g)
	for _, err := range []error{nil, zonegate.ErrWrongCode, zonegate.ErrNotDurable, errors.New("broken")} {
		g.err = err
		for _, n := range []nas.NAS{mikrotik, chilli, pfsense} {
			d.quietFault.next.Store(0)
			d.quietSetUp.next.Store(0)
			d.ask(n, pap("QWER-TYUI", "hunter2hunter2", station1))
			d.ask(n, pap("QWER-TYUI", "hunter2hunter2", ""))
			d.ask(n, chap("QWER-TYUI", "hunter2hunter2", station1, nil))
			a := account(rfc2866.AcctStatusType_Value_Start, "s", station1)
			rfc2865.UserName_AddString(a, "QWER-TYUI")
			d.ask(n, a)
		}
	}
	for _, secret := range []string{"QWER", "hunter2", testSecret} {
		if strings.Contains(d.logged(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
	if !strings.Contains(d.logged(), "broken") {
		t.Error("a fault of ours is not logged")
	}
}
