package mikrotik_test

import (
	"errors"
	"strings"
	"testing"

	"zonegate"
	"zonegate/shaper/mikrotik"
	"zonegate/shaper/mikrotik/simros"
)

func findings(t *testing.T, r *mikrotik.Router) map[string]mikrotik.Finding {
	t.Helper()
	found := map[string]mikrotik.Finding{}
	for _, f := range r.Check(t.Context()) {
		if f.Problem == "" || f.Fix == "" {
			t.Errorf("finding %+v explains nothing", f)
		}
		found[f.Subject] = f
	}
	return found
}

// TestCheck puts everything wrong on a router, and then right.
func TestCheck(t *testing.T) {
	z := newZone(t, simros.Options{})
	r := z.open(z.config())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	add := func(menu string, attrs map[string]string) string {
		t.Helper()
		id, err := z.sim.Add(menu, attrs)
		must(err)
		return id
	}
	must(z.sim.Set("/ip/hotspot/profile", "hsprof1", map[string]string{"use-radius": "yes", "login-by": "http-chap,mac-cookie,trial"}))
	track := add("/ip/firewall/filter", map[string]string{"chain": "forward", "action": "fasttrack-connection", "connection-state": "established,related"})
	found := findings(t, r)
	for subject, fix := range map[string]string{
		"RADIUS": "use-radius=no", "FastTrack": "in-interface=!bridge1", "login-by": "login-by=http-chap",
		"permissions": "user of its own", "IPv6": "/ipv6/firewall/filter/add",
	} {
		f, ok := found[subject]
		if !ok {
			t.Errorf("nothing found about %s", subject)
		} else if !strings.Contains(f.Fix, fix) {
			t.Errorf("%s: %q does not say %q", subject, f.Fix, fix)
		}
	}
	must(z.sim.Set("/ip/hotspot/profile", "hsprof1", map[string]string{"use-radius": "no", "login-by": "http-chap"}))
	must(z.sim.Set("/ip/firewall/filter", track, map[string]string{"in-interface": "!bridge1", "out-interface": "!bridge1"}))
	add("/ipv6/firewall/filter", map[string]string{"chain": "forward", "action": "drop", "in-interface": "bridge1"})
	add("/user/group", map[string]string{"name": "zonegate", "policy": "api,read,write"})
	must(z.sim.Set("/user", user, map[string]string{"group": "zonegate"}))
	if found := findings(t, r); len(found) > 0 {
		t.Errorf("found on a good router: %+v", found)
	}
	// Accepting both directions before it is as good.
	must(z.sim.Remove("/ip/firewall/filter", track))
	add("/ip/firewall/filter", map[string]string{"chain": "forward", "action": "accept", "in-interface": "bridge1"})
	add("/ip/firewall/filter", map[string]string{"chain": "forward", "action": "accept", "out-interface": "bridge1"})
	add("/ip/firewall/filter", map[string]string{"chain": "forward", "action": "fasttrack-connection"})
	if found := findings(t, r); len(found) > 0 {
		t.Errorf("found on a good router: %+v", found)
	}
	z.sim.Deny("/ip/firewall/filter", true)
	if f := findings(t, r)["/ip/firewall/filter"]; !f.Serious || !strings.Contains(f.Fix, "policy read") {
		t.Errorf("without permission: %+v", f)
	}
}

func TestCheckWithoutHotspot(t *testing.T) {
	z := newZone(t, simros.Options{})
	c := z.config()
	c.Server = "another"
	if f, ok := findings(t, z.open(c))["hotspot"]; !ok || !f.Serious || !strings.Contains(f.Fix, "/ip/hotspot/print") {
		t.Errorf("found %+v", f)
	}
}

func TestCheckDeviceMode(t *testing.T) {
	z := newEmptyZone(t, simros.Options{Version: "7.18.2", NoHotspot: true})
	f := findings(t, z.open(z.config()))["device-mode"]
	if !f.Serious || !strings.Contains(f.Fix, "/system/device-mode/update hotspot=yes") {
		t.Errorf("found %+v", f)
	}
}

func TestCheckRights(t *testing.T) {
	z := newZone(t, simros.Options{})
	if _, err := z.sim.Add("/user/group", map[string]string{"name": "weak", "policy": "api,read"}); err != nil {
		t.Fatal(err)
	}
	if err := z.sim.Set("/user", user, map[string]string{"group": "weak"}); err != nil {
		t.Fatal(err)
	}
	r := z.open(z.config())
	f := findings(t, r)["permissions"]
	if !f.Serious || !strings.Contains(f.Fix, "policy=api,read,write") {
		t.Errorf("found %+v", f)
	}
	if err := r.Apply(t.Context(), []zonegate.Order{order(1, 0)}); !errors.Is(err, mikrotik.ErrPermission) {
		t.Errorf("applying without the policy write: %v", err)
	}
}
