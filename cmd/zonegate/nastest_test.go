package main

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zonegate"
	"zonegate/internal/control"
	"zonegate/radius"
	"zonegate/radius/nas"
)

// healthyNAS is a test in which nothing is wrong.
func healthyNAS() *nasTest {
	at := time.Now()
	return &nasTest{
		nas: nas.NAS{
			Name: "tower", Prefix: netip.MustParsePrefix("10.0.0.2/32"), Vendor: nas.MikroTik,
			Secret: nas.Secret("qwe7-f82h-sk2l-9dma-x0"), RequireMA: nas.RequireAuto, Signed: true,
		},
		seen: control.NAS{Address: "10.0.0.2", Seen: &at, Packets: map[string]uint64{
			"received": 9, "access_requests": 4, "access_accepts": 3, "accounting_requests": 5,
		}},
		all:     control.NASes{Listening: []string{"10.0.0.1:1812", "10.0.0.1:1813"}, Packets: map[string]uint64{}},
		enabled: true,
		plans:   []zonegate.Plan{{ID: "jour", DataCap: 5e8, Rate: zonegate.Rate{MIRDown: 2e6}}},
		probe:   func(context.Context) error { return nil },
	}
}

func TestNASTest(t *testing.T) {
	if f := healthyNAS().run(t.Context()); slices.ContainsFunc(f, func(x control.Finding) bool { return x.Severity != "info" }) {
		t.Errorf("nothing is wrong: %+v", f)
	}
	count := func(x *nasTest, name string, n uint64) { x.seen.Packets[name] = n }
	only := func(x *nasTest, name string, n uint64) { x.seen.Packets = map[string]uint64{"received": n, name: n} }
	for _, tt := range []struct {
		name     string
		break_   func(*nasTest)
		subject  string
		severity string
		says     string
		fix      string
	}{
		{"off", func(x *nasTest) { x.enabled = false }, "server", "error", "switched off", "[radius]"},
		{"port", func(x *nasTest) { x.all.Problem = "address already in use" }, "server", "error", "in use", "auth_port"},
		{"nowhere", func(x *nasTest) { x.all.Listening = nil }, "server", "error", "nowhere", "radius.listen"},
		{"secret", func(x *nasTest) { x.nas.Secret = nas.Secret("testing123") }, "secret", "warning", "weak", "nas remove tower"},
		{"silent", func(x *nasTest) { x.seen.Packets = nil }, "packets", "warning", "none has come from 10.0.0.2", "firewall"},
		{"another address", func(x *nasTest) { x.seen.Packets, x.all.Packets["unknown_nas"] = nil, 7 }, "packets", "warning", "none", "7 packets"},
		{"another secret", func(x *nasTest) { only(x, "wrong_authenticator", 3) }, "packets", "error", "another secret", "--secret-file"},
		{"also another secret", func(x *nasTest) { count(x, "wrong_message_authenticator", 3) }, "packets", "warning", "3", "same secret"},
		{"ports", func(x *nasTest) { only(x, "wrong_port", 3) }, "packets", "error", "wrong port", "other way round"},
		{"rubbish", func(x *nasTest) { only(x, "too_short", 3) }, "packets", "error", "none was good", "nas list"},
		{"overload", func(x *nasTest) { count(x, "overload", 3) }, "packets", "warning", "no room", "flash"},
		{"no answers", func(x *nasTest) { count(x, "no_answer", 3) }, "packets", "warning", "3 of 9", "status"},
		{"unsigned", func(x *nasTest) { count(x, "unsigned", 3) }, "signature", "error", "3 logins", "require-message-auth"},
		{"proxied", func(x *nasTest) { count(x, "unsigned_proxy_state", 3) }, "signature", "error", "proxy", "Message-Authenticator"},
		{"never signed", func(x *nasTest) { x.nas.Signed = false }, "signature", "warning", "CVE", "yes-for-request-resp"},
		{"not asked to sign", func(x *nasTest) { x.nas.RequireMA = nas.RequireNo }, "signature", "warning", "CVE", "without --require"},
		{"range", func(x *nasTest) {
			x.nas.Signed, x.nas.Prefix = false, netip.MustParsePrefix("10.0.0.0/24")
		}, "signature", "warning", "range", "yes"},
		{"no accounting", func(x *nasTest) { count(x, "accounting_requests", 0) }, "accounting", "error", "let 3 in", "accounting"},
		{"no caps", func(x *nasTest) { x.nas.Vendor = nas.Hostapd }, "caps", "warning", "75 MB of downloads can pass above one in 5m0s", "60s"},
		{"no caps, no rates", func(x *nasTest) {
			x.nas.Vendor, x.plans[0].Rate = nas.Hostapd, zonegate.Rate{}
		}, "caps", "warning", "all that passes", "mir_kbps"},
		{"ends", func(x *nasTest) { x.failed.ends = 2 }, "sessions", "error", "2 that should have ended", "on the NAS itself"},
		{"changes", func(x *nasTest) { x.failed.changes = 2 }, "changes", "warning", "2 sessions", "CoA"},
		{"silent CoA", func(x *nasTest) {
			x.probe = func(context.Context) error { return errors.New("no answer") }
		}, "CoA", "warning", "port 3799: no answer", "/radius incoming"},
		{"silent CoA of another make", func(x *nasTest) {
			x.nas.Vendor, x.probe = nas.Generic, func(context.Context) error { return errors.New("no answer") }
		}, "CoA", "warning", "no answer", "5176"},
		{"no CoA", func(x *nasTest) { x.nas.NoCoA = true }, "CoA", "warning", "revoked", "--no-coa"},
		{"no CoA and no caps", func(x *nasTest) { x.nas.NoCoA, x.nas.Vendor = true, nas.UniFi }, "CoA", "error", "nothing ends", "--no-coa"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := healthyNAS()
			tt.break_(x)
			found := false
			for _, f := range x.run(t.Context()) {
				if f.Severity != "info" && f.Fix == "" {
					t.Errorf("%s has no fix", f.Subject)
				}
				if f.Subject != tt.subject {
					continue
				}
				found = true
				if f.Severity != tt.severity || !strings.Contains(f.Detail, tt.says) || !strings.Contains(f.Fix, tt.fix) {
					t.Errorf("%+v", f)
				}
			}
			if !found {
				t.Errorf("nothing is said about %s", tt.subject)
			}
		})
	}
	// Short reports leave nothing to mend, and who asks by itself needs no CoA.
	x := healthyNAS()
	x.nas.Vendor, x.nas.Interim = nas.Hostapd, time.Minute
	for _, f := range x.run(t.Context()) {
		if f.Severity != "info" {
			t.Errorf("%+v", f)
		}
	}
	x = healthyNAS()
	x.nas.Vendor, x.probe = nas.PfSense, nil
	for _, f := range x.run(t.Context()) {
		if f.Severity != "info" {
			t.Errorf("%+v", f)
		}
	}
}

// A NAS is seen when a good packet came, and not when anything came.
func TestSightings(t *testing.T) {
	s := &radiusService{seen: map[string]sighting{}}
	first, later := time.Unix(100, 0), time.Unix(200, 0)
	counts := func(good, bad uint64) radius.Counts {
		return radius.Counts{NAS: map[string]map[string]uint64{"a": {"access_requests": good, "wrong_authenticator": bad}}}
	}
	s.sight(counts(0, 1), first)
	if len(s.seen) != 0 {
		t.Errorf("%v", s.seen)
	}
	s.sight(counts(1, 1), first)
	s.sight(counts(1, 5), later)
	if diff := cmp.Diff(first, s.seen["a"].at); diff != "" {
		t.Error(diff)
	}
	s.sight(counts(2, 5), later)
	if diff := cmp.Diff(later, s.seen["a"].at); diff != "" {
		t.Error(diff)
	}
}
