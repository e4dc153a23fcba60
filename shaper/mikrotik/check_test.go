package mikrotik_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
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

// TestCheckOwner has the router set for one owner and the configuration for
// another.
func TestCheckOwner(t *testing.T) {
	z := newZone(t, simros.Options{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	profile := func(attrs map[string]string) {
		t.Helper()
		must(z.sim.Set("/ip/hotspot/profile", "hsprof1", attrs))
	}
	api := z.open(z.config())
	c := z.config()
	c.Sessions = mikrotik.OwnerRADIUS
	radius := z.open(c)

	apply(t, api, order(1, 0))
	found := findings(t, radius)
	for subject, fix := range map[string]string{
		"RADIUS":        "/ip/hotspot/profile/set hsprof1 use-radius=yes",
		"RADIUS client": "/radius/add service=hotspot",
		"hotspot users": "/ip/hotspot/user/remove [find",
	} {
		if f := found[subject]; !f.Serious || !strings.Contains(f.Fix, fix) {
			t.Errorf("with RADIUS as the owner of a router set for the API, %s: %+v", subject, f)
		}
	}
	if f := found["CoA"]; !strings.Contains(f.Fix, "/radius/incoming/set accept=yes") {
		t.Errorf("without CoA: %+v", f)
	}

	// Both.
	profile(map[string]string{"use-radius": "yes", "radius-accounting": "no"})
	id, err := z.sim.Add("/radius", map[string]string{"service": "hotspot", "address": "192.168.88.2", "src-address": "192.168.88.1", "disabled": "yes"})
	must(err)
	_, err = z.sim.Add("/radius", map[string]string{"service": "ppp", "address": "192.168.88.3"})
	must(err)
	found = findings(t, radius)
	if f := found["RADIUS"]; !f.Serious || !strings.Contains(f.Fix, "radius-accounting=yes") {
		t.Errorf("without accounting: %+v", f)
	}
	if f := found["RADIUS client"]; !f.Serious {
		t.Errorf("with a disabled server: %+v", f)
	}
	must(z.sim.Set("/radius", id, map[string]string{"disabled": "no"}))
	f := findings(t, api)["RADIUS"]
	if !f.Serious || !strings.Contains(f.Problem, "192.168.88.2 (as 192.168.88.1)") || strings.Contains(f.Problem, "192.168.88.3") ||
		!strings.Contains(f.Fix, "/ip/hotspot/profile/set hsprof1 use-radius=no") {
		t.Errorf("with the API as the owner of a router set for both: %+v", f)
	}

	// RADIUS alone.
	must(api.Remove(t.Context()))
	profile(map[string]string{"radius-accounting": "yes"})
	must(z.sim.Set("/radius/incoming", "", map[string]string{"accept": "yes"}))
	found = findings(t, radius)
	for _, subject := range []string{"RADIUS", "RADIUS client", "CoA", "hotspot users", "login-by"} {
		if f, ok := found[subject]; ok {
			t.Errorf("with RADIUS as the owner of a router set for it: %+v", f)
		}
	}

	// It enforces nothing then.
	_, err = radius.Usage(t.Context())
	for what, err := range map[string]error{
		"applying": radius.Apply(t.Context(), []zonegate.Order{order(1, 0)}),
		"changing": radius.Change(t.Context(), []zonegate.Order{order(1, 0)}, nil),
		"counting": err, "running": radius.Run(t.Context()),
	} {
		if !errors.Is(err, mikrotik.ErrOwner) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := len(z.mine("/ip/hotspot/user")); n != 0 {
		t.Errorf("%d users were made", n)
	}
}

// TestRunSaysOwner enforces on a router that asks RADIUS too, and says so once
// for each connection.
func TestRunSaysOwner(t *testing.T) {
	z := newZone(t, simros.Options{})
	if err := z.sim.Set("/ip/hotspot/profile", "hsprof1", map[string]string{"use-radius": "yes"}); err != nil {
		t.Fatal(err)
	}
	log := new(record)
	c := z.config()
	c.Log = slog.New(log)
	r := z.open(c)
	z.run(r)
	apply(t, r, order(1, 0))
	if !z.Passes(0) {
		t.Error("a customer does not pass")
	}
	said := func() (list []string) { return log.with("subject", "RADIUS") }
	await(t, "the owner to be logged", func() bool { return len(said()) == 1 })
	looks := func() int { return z.sim.Commands()["/ip/hotspot/active/print"] }
	n := looks()
	await(t, "some looks", func() bool { return looks() > n+5 })
	if list := said(); len(list) != 1 || !strings.Contains(list[0], "use-radius=no") {
		t.Errorf("said %q", list)
	}
	z.sim.Disconnect()
	await(t, "the owner to be logged again", func() bool { return len(said()) == 2 })
}

// A record keeps what is logged.
type record struct {
	mu   sync.Mutex
	list []slog.Record
}

func (*record) Enabled(context.Context, slog.Level) bool { return true }

func (r *record) Handle(_ context.Context, x slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, x)
	return nil
}

func (r *record) WithAttrs([]slog.Attr) slog.Handler { return r }

func (r *record) WithGroup(string) slog.Handler { return r }

// with lists the records that have an attribute, all attributes as a text.
func (r *record) with(key, value string) (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.list {
		text, has := x.Message, false
		x.Attrs(func(a slog.Attr) bool {
			has = has || a.Key == key && a.Value.String() == value
			text += " " + a.String()
			return true
		})
		if has {
			list = append(list, text)
		}
	}
	return list
}
