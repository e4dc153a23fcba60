package nas

import (
	"net/netip"
	"testing"
	"time"

	"zonegate"
	"zonegate/radius/wire"
)

func TestWay(t *testing.T) {
	old := zonegate.Terms{Plan: zonegate.PlanRef{ID: "a", Version: 1}, Limit: 1000, Ends: time.Hour}
	with := func(change func(*zonegate.Terms)) zonegate.Errand {
		e := zonegate.Errand{Session: zonegate.Session{Terms: old}, Terms: old}
		change(&e.Terms)
		return e
	}
	stop := zonegate.Errand{Stop: true}
	rate := with(func(n *zonegate.Terms) { n.Plan.Version = 2 })
	more := with(func(n *zonegate.Terms) { n.Limit++ })
	less := with(func(n *zonegate.Terms) { n.Limit-- })
	gave := with(func(n *zonegate.Terms) {}) // the gate has noted it already
	later := with(func(n *zonegate.Terms) { n.Ends += time.Second })
	sooner := with(func(n *zonegate.Terms) { n.Ends -= 6 * time.Second })
	hardly := with(func(n *zonegate.Terms) { n.Ends -= 5 * time.Second })
	top := with(func(n *zonegate.Terms) { n.Limit, n.Ends = 2000, 2*time.Hour })
	mixed := with(func(n *zonegate.Terms) { n.Limit, n.Plan.Version = 10, 2 })

	type row struct {
		name string
		e    zonegate.Errand
		way  Way
		what Change
	}
	const all = ChangeRate | ChangeTime | ChangeOctets
	for vendor, rows := range map[Vendor][]row{
		MikroTik: {
			{"stop", stop, Cut, 0}, {"rate", rate, Tell, ChangeRate}, {"more", more, Await, 0}, {"less", less, Cut, 0}, {"gave", gave, Cut, 0},
			{"later", later, Tell, ChangeTime}, {"sooner", sooner, Tell, ChangeTime}, {"top-up", top, Tell, ChangeTime}, {"mixed", mixed, Cut, 0},
		},
		CoovaChilli: {
			{"stop", stop, Cut, 0}, {"rate", rate, Tell, ChangeRate}, {"more", more, Tell, ChangeOctets}, {"less", less, Tell, ChangeOctets},
			{"gave", gave, Tell, ChangeOctets}, {"sooner", sooner, Tell, ChangeTime}, {"top-up", top, Tell, ChangeTime | ChangeOctets}, {"mixed", mixed, Tell, all &^ ChangeTime},
		},
		Uspot: {
			{"stop", stop, Cut, 0}, {"rate", rate, Await, 0}, {"more", more, Await, 0}, {"less", less, Cut, 0}, {"gave", gave, Cut, 0},
			{"later", later, Tell, ChangeTime}, {"sooner", sooner, Tell, ChangeTime}, {"top-up", top, Tell, ChangeTime},
		},
		PfSense: {
			{"stop", stop, Await, 0}, {"rate", rate, Await, 0}, {"more", more, Await, 0}, {"less", less, Await, 0}, {"gave", gave, Await, 0}, {"sooner", sooner, Await, 0},
		},
		// It never knew of octets: fewer are watched by us.
		Hostapd: {
			{"stop", stop, Cut, 0}, {"rate", rate, Await, 0}, {"more", more, Await, 0}, {"less", less, Await, 0}, {"gave", gave, Await, 0},
			{"later", later, Await, 0}, {"sooner", sooner, Cut, 0}, {"hardly", hardly, Await, 0},
		},
		Generic: {{"stop", stop, Cut, 0}, {"less", less, Await, 0}, {"sooner", sooner, Cut, 0}, {"top-up", top, Await, 0}},
	} {
		for _, r := range rows {
			if way, what := (NAS{Vendor: vendor}).Way(r.e); way != r.way || what != r.what {
				t.Errorf("%s, %s: way %d change %b, want %d %b", vendor, r.name, way, what, r.way, r.what)
			}
		}
	}
	// One that may not be spoken to: what it has, stays in force, and more of
	// it comes at the next login.
	for _, r := range []row{{"stop", stop, Leave, 0}, {"less", less, Leave, 0}, {"gave", gave, Leave, 0}, {"sooner", sooner, Leave, 0}, {"more", more, Await, 0}, {"rate", rate, Await, 0}} {
		if way, _ := (NAS{Vendor: MikroTik, NoCoA: true}).Way(r.e); way != r.way {
			t.Errorf("without CoA, %s: way %d, want %d", r.name, way, r.way)
		}
	}
	for e, want := range map[string]struct {
		e    zonegate.Errand
		want bool
	}{"stop": {stop, false}, "more": {more, true}, "less": {less, false}, "gave": {gave, false}, "rate": {rate, true}, "sooner": {sooner, false}, "hardly": {hardly, true}} {
		if Grows(want.e) != want.want {
			t.Errorf("%s: grows %v", e, !want.want)
		}
	}
}

func fullHandle() Handle {
	return Handle{
		UserName: "7K3Q-ÅÄ", SessionID: "8040\x000001", FramedIP: netip.MustParseAddr("10.5.50.7"),
		CallingStation: "AA:BB:CC:DD:EE:FF", CalledStation: "hotspot1",
		NASIP: netip.MustParseAddr("192.168.88.1"), NASIPv6: netip.MustParseAddr("2001:db8::1"),
		NASIdentifier: "MikroTik", NASPort: 0, HasNASPort: true, NASPortID: "bridge",
	}
}

func TestHandle(t *testing.T) {
	for name, h := range map[string]Handle{
		"full":  fullHandle(),
		"empty": {},
		"port":  {NASPort: 1<<32 - 1, HasNASPort: true},
		"least": {UserName: "u", SessionID: "s"},
	} {
		got, err := DecodeHandle(h.Encode())
		if err != nil || got != h {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	long := make([]byte, 254)
	h := Handle{UserName: string(long), SessionID: "s", FramedIP: netip.MustParseAddr("2001:db8::1")}
	if got, err := DecodeHandle(h.Encode()); err != nil || got != (Handle{SessionID: "s"}) {
		t.Errorf("what no attribute carries: got %+v, %v", got, err)
	}
	full := fullHandle().Encode()
	for name, s := range map[string]string{
		"empty": "", "version": "\x02" + full[1:], "cut": full[:len(full)-1], "zero length": "\x01\x01\x00", "type alone": "\x01\x01",
		"twice": full + "\x01\x01x", "unknown": "\x01\x02\x01x", "short address": "\x01\x04\x03abc", "too long": full + string(make([]byte, 3000)),
	} {
		if _, err := DecodeHandle(s); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzDecodeHandle(f *testing.F) {
	f.Add(fullHandle().Encode())
	f.Add("\x01\x05\x04abcd")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := DecodeHandle(s)
		if err != nil {
			return
		}
		again, err := DecodeHandle(h.Encode())
		if err != nil || again != h {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
		if _, err := (wire.Request{Code: wire.DisconnectRequest, Attributes: h.Attributes(1<<16 - 1)}).Encode([]byte("s")); err != nil {
			t.Fatal(err)
		}
	})
}

func TestHandleAttributes(t *testing.T) {
	h := fullHandle()
	types := func(set Ident) (list []wire.Type) {
		for _, a := range h.Attributes(set) {
			list = append(list, a.Type)
		}
		return list
	}
	same := func(got []wire.Type, want ...wire.Type) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("got %v, want %v", got, want)
			return
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("got %v, want %v", got, want)
			}
		}
	}
	same(types(Uspot.Profile().Ident), wire.UserName, wire.AcctSessionID)
	same(types(Hostapd.Profile().Ident), wire.UserName, wire.CallingStationID, wire.AcctSessionID)
	same(types(MikroTik.Profile().Ident), wire.UserName, wire.NASIPAddress, wire.FramedIPAddress, wire.AcctSessionID)
	same(types(1<<16-1), wire.UserName, wire.NASIPAddress, wire.NASPort, wire.FramedIPAddress, wire.CalledStationID,
		wire.CallingStationID, wire.NASIdentifier, wire.AcctSessionID, wire.NASPortID, wire.NASIPv6Address)
	h = Handle{UserName: "u"}
	same(types(1<<16-1), wire.UserName)
}
