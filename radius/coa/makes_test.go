package coa

import (
	"bytes"
	"testing"
	"time"

	"zonegate"
	"zonegate/radius/coa/fakenas"
	"zonegate/radius/nas"
)

// types are the attribute types of a request, in its order.
func types(r fakenas.Request) (list []byte) {
	for _, a := range r.Attributes {
		list = append(list, a.Type)
	}
	return list
}

const (
	fUser, fNASIP, fFramedIP, fVendor, fTimeout, fIdle, fCalling, fIdentifier, fSession, fMA, fInterim = 1, 4, 8, 26, 27, 28, 31, 32, 44, 80, 85
)

func (b *bench) sent(n *fakenas.NAS, code, answer byte, want ...byte) fakenas.Request {
	b.t.Helper()
	r := b.request(n)
	if r.Code != code || r.Answer != answer || !bytes.Equal(types(r), want) {
		b.t.Errorf("request %d with %v, answered %d; want %d with %v, answered %d", r.Code, types(r), r.Answer, code, want, answer)
	}
	return r
}

// What CoovaChilli is not told, it takes for "no limit": every change says
// all.
func TestChilliGetsEverything(t *testing.T) {
	b := newBench(t)
	n, path := b.nas(nas.CoovaChilli, fakenas.Chilli)
	s := session(n, path, "s1")

	e := topUp(s)
	b.client.Dispatch(e)
	b.sent(n, fakenas.CoARequest, fakenas.CoAACK, fMA, fUser, fSession, fTimeout, fIdle, fInterim, fVendor, fVendor, fVendor, fVendor, fVendor, fVendor)
	if got := b.told(); got.session != s.ID || got.terms != e.Terms {
		t.Errorf("told %+v", got)
	}
	b.state(s, Acked)
	got, _ := n.Session("s1")
	// Two hours from the session's beginning; 1<<32 + 5 octets.
	want := fakenas.Session{User: got.User, ID: "s1", Calling: got.Calling, IP: got.IP, NASIP: got.NASIP,
		Timeout: 7200, Idle: 600, Interim: 120, Octets: 4294967301, Up: 1_000_000, Down: 4_000_000}
	if got != want {
		t.Errorf("it enforces\n%+v, want\n%+v", got, want)
	}
	b.client.Seen(seen(s, zonegate.ReportInterim))
	b.state(s, Confirmed)

	// The rate alone: the rest is said again and stays.
	s.Terms = e.Terms
	f := faster(s)
	f.Plan.Rate = zonegate.Rate{MIRUp: 64_000, MIRDown: 128_000}
	f.TimeLeft = 2*time.Hour - 40*time.Minute // lasted 40 minutes
	b.client.Dispatch(f)
	b.told()
	got, _ = n.Session("s1")
	want.Up, want.Down = 64_000, 128_000
	if got != want {
		t.Errorf("after another rate it enforces\n%+v, want\n%+v", got, want)
	}
	b.request(n)

	// As its reports tell how long it has lasted, that counts: 30 min and 15 s
	// at the errand, which has 2 h left.
	b.client.Seen(zonegate.Report{NAS: path, Key: "s1", Kind: zonegate.ReportInterim, Lasted: 30 * time.Minute})
	b.clock.advance(15 * time.Second)
	f.TimeLeft, f.Terms.Plan.Version, f.Plan.Time = 2*time.Hour, 3, zonegate.Online
	b.client.Dispatch(f)
	b.told()
	if got, _ = n.Session("s1"); got.Timeout != 9015 {
		t.Errorf("it ends after %d s, want 9015", got.Timeout)
	}
	b.request(n)

	b.client.Dispatch(stop(s))
	b.sent(n, fakenas.DisconnectRequest, fakenas.DisconnectACK, fMA, fUser, fSession)
	b.state(s, Acked)
	b.client.Seen(seen(s, zonegate.ReportInterim)) // was on its way
	b.state(s, Acked)
	b.client.Seen(seen(s, zonegate.ReportStop))
	b.state(s, Confirmed)
	b.quiet(n)
	b.noMessages()
}

// How long an online session has lasted only its reports say: a change for a
// NAS that counts from the beginning waits for one.
func TestChangeWaitsForLasted(t *testing.T) {
	b := newBench(t)
	n, path := b.nas(nas.CoovaChilli, fakenas.Chilli)
	s := session(n, path, "s1")
	e := topUp(s)
	e.Plan.Time, e.TimeLeft = zonegate.Online, time.Hour
	b.client.Dispatch(e)
	b.client.Dispatch(stop(session(n, path, "s2"))) // comes after it, and is carried
	if got := b.request(n); got.Code != fakenas.DisconnectRequest {
		t.Errorf("sent %d", got.Code)
	}
	b.clock.advance(time.Minute)
	b.client.Seen(zonegate.Report{NAS: path, Key: "s1", Kind: zonegate.ReportInterim, Lasted: 5 * time.Minute})
	b.told()
	// An hour was left when the session had lasted 4 minutes.
	if got, _ := n.Session("s1"); got.Timeout != 3840 {
		t.Errorf("it ends after %d s, want 3840", got.Timeout)
	}
}

// It does not answer without a User-Name, and never says why it refuses.
func TestChilliRefuses(t *testing.T) {
	b := newBench(t)
	n, path := b.nas(nas.CoovaChilli, fakenas.Chilli)
	nameless := session(n, path, "s1")
	nameless.Handle = nas.Handle{SessionID: "s1"}.Encode()
	b.client.Dispatch(stop(nameless))
	b.state(nameless, Refused)
	b.quiet(n)

	gone := session(nil, path, "s2")
	b.client.Dispatch(stop(gone))
	b.sent(n, fakenas.DisconnectRequest, fakenas.DisconnectNAK, fMA, fUser, fSession)
	b.sent(n, fakenas.DisconnectRequest, fakenas.DisconnectNAK, fUser, fSession)
	if x := b.state(gone, Refused); x.Cause != 0 || !x.Stop || !x.Cut {
		t.Errorf("it is %+v", x)
	}
	b.noMessages()
	// The next report brings it again.
	b.client.Dispatch(stop(gone))
	b.request(n)
}

func TestHostapd(t *testing.T) {
	b := newBench(t)
	n, path := b.nas(nas.Hostapd, fakenas.Hostapd)
	n.SetClock(func() time.Time { return time.Unix(0, 0) }) // it has just booted
	s := session(n, path, "s1")
	b.client.Dispatch(faster(s))
	if got := b.told(); got.terms.Plan.Version != 2 {
		t.Errorf("told %+v", got)
	}
	b.state(s, Awaited)
	b.client.Dispatch(less(s)) // it never knew a limit
	if got := b.told(); got.terms.Limit != 500 {
		t.Errorf("told %+v", got)
	}
	b.client.Dispatch(stop(s))
	b.sent(n, fakenas.DisconnectRequest, fakenas.DisconnectACK, fMA, fUser, fCalling, fSession)
	b.state(s, Acked)

	// A second time: it does not have the session any more.
	b.client.Dispatch(stop(s))
	b.sent(n, fakenas.DisconnectRequest, fakenas.DisconnectNAK, fMA, fUser, fCalling, fSession)
	b.sent(n, fakenas.DisconnectRequest, fakenas.DisconnectNAK, fMA, fUser, fSession)
	r := b.report()
	if r.NAS != path || r.Key != "s1" || r.Kind != zonegate.ReportStop || r.Counted || r.Grant != s.Grant || r.Device != s.Device || r.Handle != s.Handle {
		t.Errorf("reported %+v", r)
	}
	if x := b.state(s, Confirmed); x.Cause != 503 {
		t.Errorf("it is %+v", x)
	}
}

// One that refuses what it does not know is asked again in the simplest form:
// here as it happens when the entry of the book has another make.
func TestWrongMakeInTheBook(t *testing.T) {
	for name, real := range map[string]struct {
		make  fakenas.Make
		cause uint32
	}{"hostapd": {fakenas.Hostapd, 401}, "uspot": {fakenas.Uspot, 0}} {
		b := newBench(t)
		n, path := b.nas(nas.MikroTik, real.make)
		s := session(n, path, "s1")
		b.client.Dispatch(stop(s))
		b.sent(n, fakenas.DisconnectRequest, fakenas.DisconnectNAK, fMA, fUser, fNASIP, fFramedIP, fSession)
		b.sent(n, fakenas.DisconnectRequest, fakenas.DisconnectACK, fUser, fSession)
		b.state(s, Acked)
		if _, there := n.Session("s1"); there {
			t.Errorf("%s: the session goes on", name)
		}
	}
}

func TestUspot(t *testing.T) {
	b := newBench(t)
	n, path := b.nas(nas.Uspot, fakenas.Uspot)
	s := session(n, path, "s1")
	b.client.Dispatch(topUp(s))
	b.sent(n, fakenas.CoARequest, fakenas.CoAACK, fUser, fSession, fTimeout)
	b.told()
	if got, _ := n.Session("s1"); got.Timeout != 7200 || got.Octets != 1000 {
		t.Errorf("it enforces %+v", got)
	}
	b.client.Dispatch(faster(s))
	b.told()
	b.client.Dispatch(less(s))
	b.sent(n, fakenas.DisconnectRequest, fakenas.DisconnectACK, fUser, fSession)
	if x := b.state(s, Acked); x.Stop || !x.Cut {
		t.Errorf("it is %+v", x)
	}
	b.noMessages()
}

// Nothing is sent to pfSense: it asks.
func TestPfSenseIsNotAsked(t *testing.T) {
	b := newBench(t)
	n, path := b.nas(nas.PfSense, fakenas.PfSense)
	s := session(n, path, "s1")
	for _, e := range []zonegate.Errand{topUp(s), faster(s), less(s)} {
		b.client.Dispatch(e)
		if got := b.told(); got.terms != e.Terms {
			t.Errorf("told %+v, want %+v", got.terms, e.Terms)
		}
	}
	b.client.Dispatch(stop(s))
	b.state(s, Awaited)
	b.client.Seen(seen(s, zonegate.ReportStop))
	b.state(s, Confirmed)
	b.quiet(n)
	b.noMessages()
}

func TestMikroTik(t *testing.T) {
	b := newBench(t)
	n, path := b.nas(nas.MikroTik, fakenas.MikroTik)
	s := session(n, path, "s1")

	b.client.Dispatch(faster(s))
	b.sent(n, fakenas.CoARequest, fakenas.CoAACK, fMA, fUser, fNASIP, fFramedIP, fSession, fVendor)
	b.told()
	if got, _ := n.Session("s1"); got.Rate != "1000k/4000k 0/0 0/0 0/0 8 0/0" || got.Timeout != 3600 || got.Octets != 1000 {
		t.Errorf("it enforces %+v", got)
	}
	// More time is told, more octets come at the next login.
	b.client.Dispatch(topUp(s))
	b.sent(n, fakenas.CoARequest, fakenas.CoAACK, fMA, fUser, fNASIP, fFramedIP, fSession, fTimeout)
	if got := b.told(); got.terms != topUp(s).Terms {
		t.Errorf("told %+v", got)
	}
	if got, _ := n.Session("s1"); got.Timeout != 7200 || got.Octets != 1000 {
		t.Errorf("it enforces %+v", got)
	}
	// Fewer octets cannot be told: the device logs in again.
	b.client.Dispatch(less(s))
	b.sent(n, fakenas.DisconnectRequest, fakenas.DisconnectACK, fMA, fUser, fNASIP, fFramedIP, fSession)
	b.state(s, Acked)
	b.noMessages()
}

// It refuses a NAS-IP-Address that it does not call its own, as when its
// address has changed since the session's last report.
func TestMikroTikOtherAddress(t *testing.T) {
	b := newBench(t)
	n, path := b.nas(nas.MikroTik, fakenas.MikroTik)
	s := session(n, path, "s1")
	has, _ := n.Session("s1")
	has.NASIP = has.NASIP.Next()
	n.Put(has)
	b.client.Dispatch(stop(s))
	b.sent(n, fakenas.DisconnectRequest, fakenas.DisconnectNAK, fMA, fUser, fNASIP, fFramedIP, fSession)
	b.sent(n, fakenas.DisconnectRequest, fakenas.DisconnectACK, fUser, fSession)
	b.state(s, Acked)

	// The customer's address has changed: 503 is believed only without it.
	s = session(n, path, "s2")
	has, _ = n.Session("s2")
	has.IP = has.IP.Next()
	n.Put(has)
	b.client.Dispatch(stop(s))
	b.sent(n, fakenas.DisconnectRequest, fakenas.DisconnectNAK, fMA, fUser, fNASIP, fFramedIP, fSession)
	b.sent(n, fakenas.DisconnectRequest, fakenas.DisconnectACK, fMA, fUser, fSession)
	b.state(s, Acked)
	b.noMessages()
}

// Each Error-Cause with its own remedy.
func TestErrorCauses(t *testing.T) {
	least := []byte{fUser, fSession}
	all := []byte{fMA, fUser, fNASIP, fFramedIP, fCalling, fIdentifier, fSession}
	mikrotik := []byte{fMA, fUser, fNASIP, fFramedIP, fSession}
	tests := map[string]struct {
		causes []uint32
		forms  [][]byte
		state  State
		gone   bool
	}{
		"402":            {[]uint32{402}, [][]byte{mikrotik, all}, Acked, false},
		"403":            {[]uint32{403}, [][]byte{mikrotik, {fMA, fUser, fFramedIP, fSession}}, Acked, false},
		"403 twice":      {[]uint32{403, 403}, [][]byte{mikrotik, {fMA, fUser, fFramedIP, fSession}, {fMA, fUser, fNASIP, fFramedIP, fIdentifier, fSession}}, Acked, false},
		"403 always":     {[]uint32{403, 403, 403, 403, 403}, [][]byte{mikrotik, {fMA, fUser, fFramedIP, fSession}, {fMA, fUser, fNASIP, fFramedIP, fIdentifier, fSession}}, Refused, false},
		"407":            {[]uint32{407}, [][]byte{mikrotik, least}, Acked, false},
		"508":            {[]uint32{508}, [][]byte{mikrotik, {fMA, fUser, fNASIP, fFramedIP, fCalling, fSession}}, Acked, false},
		"503":            {[]uint32{503, 503}, [][]byte{mikrotik, {fMA, fUser, fSession}}, Confirmed, true},
		"503 then 401":   {[]uint32{503, 401}, [][]byte{mikrotik, {fMA, fUser, fSession}, least}, Acked, false},
		"506":            {[]uint32{506}, [][]byte{mikrotik}, Refused, false},
		"504":            {[]uint32{504}, [][]byte{mikrotik}, Refused, false},
		"one of its own": {[]uint32{4242}, [][]byte{mikrotik}, Refused, false},
		"all of them": {[]uint32{508, 402, 403, 0, 506, 508}, [][]byte{
			mikrotik, {fMA, fUser, fNASIP, fFramedIP, fCalling, fSession}, all, {fMA, fUser, fFramedIP, fCalling, fSession}, least,
		}, Refused, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			n, path := b.nas(nas.MikroTik, fakenas.Answers(fakenas.MikroTik, tt.causes...))
			s := session(n, path, "s1")
			b.client.Dispatch(stop(s))
			for i, form := range tt.forms {
				answer := fakenas.DisconnectNAK
				if i >= len(tt.causes) {
					answer = fakenas.DisconnectACK
				}
				b.sent(n, fakenas.DisconnectRequest, answer, form...)
			}
			b.state(s, tt.state)
			if tt.gone {
				b.report()
			}
			b.quiet(n)
			b.noMessages()
		})
	}
}

// A change that is refused for good: what only gives comes at the next login,
// what takes away needs a disconnection.
func TestRefusedChanges(t *testing.T) {
	for name, tt := range map[string]struct {
		errand func(zonegate.Session) zonegate.Errand
		causes []uint32
		state  State
		told   bool
		cut    bool
	}{
		"gives, unsupported": {topUp, []uint32{405}, Awaited, true, false},
		"gives, forbidden":   {topUp, []uint32{501}, Awaited, true, false},
		"gives, busy":        {topUp, []uint32{506}, Refused, false, false},
		"gives, no reason":   {topUp, []uint32{0, 0}, Refused, false, false},
		"takes, unsupported": {less, []uint32{405}, Acked, false, true},
		"takes, no reason":   {less, []uint32{0, 0}, Acked, false, true},
		"takes, refused all": {less, []uint32{506, 506}, Refused, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			n, path := b.nas(nas.CoovaChilli, fakenas.Answers(fakenas.Chilli, tt.causes...))
			s := session(n, path, "s1")
			b.client.Dispatch(tt.errand(s))
			if x := b.state(s, tt.state); x.Cut != tt.cut || x.Stop {
				t.Errorf("it is %+v", x)
			}
			if tt.told {
				b.told()
			}
			if _, there := n.Session("s1"); there == (tt.cut && tt.state == Acked) {
				t.Errorf("the session is there: %v", there)
			}
			b.noMessages()
		})
	}
}
