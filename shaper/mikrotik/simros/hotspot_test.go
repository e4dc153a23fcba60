package simros_test

import (
	"strings"
	"testing"
	"time"

	"zonegate/shaper/mikrotik/simros"
)

// zone is a router on a still clock with one profile, one user g with password
// p, and two phones on the air.
func zone(t *testing.T, o simros.Options, profile, user map[string]string) (*simros.Router, *simros.Clock) {
	t.Helper()
	clock := simros.NewClock()
	o.Clock = clock
	r := simros.New(o)
	must(t, err2(r.Add("/ip/hotspot/user/profile", with(profile, "name", "p"))))
	must(t, err2(r.Add("/ip/hotspot/user", with(user, "name", "g", "password", "p", "profile", "p"))))
	must(t, r.Appear(phone, phoneIP))
	must(t, r.Appear(phone2, phone2IP))
	return r, clock
}

func with(m map[string]string, kv ...string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[k] = v
	}
	for i := 0; i < len(kv); i += 2 {
		out[kv[i]] = kv[i+1]
	}
	return out
}

func err2(_ string, err error) error { return err }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err error, message string) {
	t.Helper()
	if err == nil || err.Error() != message {
		t.Errorf("got %v, want %q", err, message)
	}
}

// one returns the only item of a menu.
func one(t *testing.T, r *simros.Router, path string) map[string]string {
	t.Helper()
	items := r.Print(path)
	if len(items) != 1 {
		t.Fatalf("%s: %v, want one item", path, items)
	}
	return items[0]
}

func none(t *testing.T, r *simros.Router, path string) {
	t.Helper()
	if items := r.Print(path); len(items) != 0 {
		t.Errorf("%s: %v, want nothing", path, items)
	}
}

// user is the item of the user that zone made.
func user(t *testing.T, r *simros.Router) map[string]string {
	t.Helper()
	for _, u := range r.Print("/ip/hotspot/user") {
		if u["name"] == "g" {
			return u
		}
	}
	t.Fatal("no user g")
	return nil
}

func TestUptimeLimitEndsTheSessionByItself(t *testing.T) {
	r, clock := zone(t, simros.Options{}, nil, map[string]string{"limit-uptime": "10m"})
	must(t, r.Login(phone, "g", "p"))
	clock.Advance(4 * time.Minute)
	r.Logout(phone)
	if u := user(t, r); u["uptime"] != "4m" {
		t.Errorf("uptime after 4 minutes: %v", u)
	}
	must(t, r.Login(phone, "g", "p"))
	if a := one(t, r, "/ip/hotspot/active"); a["session-time-left"] != "6m" {
		t.Errorf("the second session: %v", a)
	}
	clock.Advance(time.Hour)
	none(t, r, "/ip/hotspot/active")
	if u := user(t, r); u["uptime"] != "10m" {
		t.Errorf("uptime at the limit: %v", u)
	}
	must(t, r.Appear(phone, phoneIP)) // silent for an hour, it had left the host list
	wantErr(t, r.Login(phone, "g", "p"), "failure: user g has reached uptime limit")
	must(t, r.Set("/ip/hotspot/user", "g", map[string]string{"limit-uptime": "11m"}))
	must(t, r.Login(phone, "g", "p"))
	clock.Advance(time.Minute)
	none(t, r, "/ip/hotspot/active")
}

func TestSessionTimeoutOfTheProfile(t *testing.T) {
	r, clock := zone(t, simros.Options{}, map[string]string{"session-timeout": "5m"}, map[string]string{"limit-uptime": "1h"})
	must(t, r.Login(phone, "g", "p"))
	clock.Advance(5 * time.Minute)
	none(t, r, "/ip/hotspot/active")
	must(t, r.Appear(phone, phoneIP))
	must(t, r.Login(phone, "g", "p"))
}

func TestSharedUsers(t *testing.T) {
	r, _ := zone(t, simros.Options{}, map[string]string{"shared-users": "2", "rate-limit": "1M/1M"}, map[string]string{"limit-bytes-total": "1000"})
	must(t, r.Appear("02:00:00:00:00:0C", "10.5.50.12"))
	must(t, r.Login(phone, "g", "p"))
	must(t, r.Login(phone2, "g", "p"))
	wantErr(t, r.Login("02:00:00:00:00:0C", "g", "p"), "failure: no more sessions are allowed for user g")
	if got := strings.Join(names(r.Print("/queue/simple")), " "); got != "<hotspot-g-1> <hotspot-g>" {
		t.Errorf("queues: %s", got)
	}
	// Each session has the whole of what was left when it began: two of them can
	// deliver twice the cap.
	r.Traffic(phone, 0, 999)
	r.Traffic(phone2, 0, 999)
	if n := len(r.Print("/ip/hotspot/active")); n != 2 {
		t.Errorf("%d sessions below their own limits", n)
	}
	r.Traffic(phone, 0, 1)
	r.Traffic(phone2, 0, 1)
	none(t, r, "/ip/hotspot/active")
	if u := user(t, r); u["bytes-out"] != "2000" {
		t.Errorf("user after both: %v", u)
	}
}

func TestUserCounters(t *testing.T) {
	for _, live := range []bool{false, true} {
		r, clock := zone(t, simros.Options{LiveUserCounters: live}, nil, nil)
		must(t, r.Login(phone, "g", "p"))
		r.Traffic(phone, 3, 4)
		clock.Advance(time.Minute)
		want := map[bool]string{false: "0 0 0s", true: "3 4 1m"}[live]
		if u := user(t, r); u["bytes-in"]+" "+u["bytes-out"]+" "+u["uptime"] != want {
			t.Errorf("live %v, while online: %v", live, u)
		}
		r.Logout(phone)
		if u := user(t, r); u["bytes-in"]+" "+u["bytes-out"]+" "+u["uptime"] != "3 4 1m" {
			t.Errorf("live %v, after: %v", live, u)
		}
	}
}

func TestMACCookie(t *testing.T) {
	r, clock := zone(t, simros.Options{}, map[string]string{"mac-cookie-timeout": "1h"}, nil)
	must(t, r.Login(phone, "g", "p"))
	if c := one(t, r, "/ip/hotspot/cookie"); c["user"] != "g" || c["mac-address"] != phone || c["expires-in"] != "1h" {
		t.Errorf("cookie: %v", c)
	}
	r.Leave(phone)
	clock.Advance(2 * time.Minute) // the default keepalive-timeout
	none(t, r, "/ip/hotspot/active")
	must(t, r.Appear(phone, phoneIP))
	if a := one(t, r, "/ip/hotspot/active"); a["login-by"] != "mac-cookie" {
		t.Errorf("back on the air: %v", a)
	}
	// An administrator's removal ends the cookie too.
	must(t, r.Remove("/ip/hotspot/active", one(t, r, "/ip/hotspot/active")[".id"]))
	none(t, r, "/ip/hotspot/cookie")
	r.Traffic(phone, 1, 1)
	none(t, r, "/ip/hotspot/active")
	// A user who is gone cannot come back by his cookie.
	must(t, r.Login(phone, "g", "p"))
	must(t, r.Remove("/ip/hotspot/user", "g"))
	r.Leave(phone)
	clock.Advance(2 * time.Minute)
	must(t, r.Appear(phone, phoneIP))
	none(t, r, "/ip/hotspot/active")
	none(t, r, "/ip/hotspot/cookie")
}

func TestCookieExpires(t *testing.T) {
	r, clock := zone(t, simros.Options{}, map[string]string{"mac-cookie-timeout": "1h"}, nil)
	must(t, r.Login(phone, "g", "p"))
	clock.Advance(50 * time.Minute)
	r.Leave(phone)
	clock.Advance(2 * time.Minute)
	clock.Advance(59 * time.Minute)
	one(t, r, "/ip/hotspot/cookie") // an hour from the logout
	clock.Advance(time.Minute)
	none(t, r, "/ip/hotspot/cookie")
}

func TestReboot(t *testing.T) {
	r, clock := zone(t, simros.Options{}, map[string]string{"rate-limit": "1M/2M", "address-list": "paid"}, map[string]string{"limit-bytes-total": "5000"})
	must(t, err2(r.Add("/queue/simple", map[string]string{"name": "mine", "target": "10.5.50.0/24", "max-limit": "10M/10M"})))
	must(t, r.Login(phone, "g", "p"))
	r.Traffic(phone, 100, 200)
	r.Logout(phone)
	must(t, r.Login(phone, "g", "p"))
	r.Traffic(phone, 10, 20)
	clock.Advance(time.Minute)
	r.Reboot()
	for _, path := range []string{"/ip/hotspot/active", "/ip/hotspot/host", "/ip/arp", "/ip/dhcp-server/lease", "/ip/firewall/address-list"} {
		none(t, r, path)
	}
	if q := one(t, r, "/queue/simple"); q["name"] != "mine" || q["bytes"] != "0/0" || q["max-limit"] != "10000000/10000000" {
		t.Errorf("queues after a reboot: %v", q)
	}
	if u := user(t, r); u["bytes-out"] != "0" || u["uptime"] != "0s" || u["limit-bytes-total"] != "5000" || u["profile"] != "p" {
		t.Errorf("user after a reboot: %v", u)
	}
	if res := one(t, r, "/system/resource"); res["uptime"] != "0s" {
		t.Errorf("uptime after a reboot: %v", res["uptime"])
	}
	r, _ = zone(t, simros.Options{KeepUserCounters: true}, nil, nil)
	must(t, r.Login(phone, "g", "p"))
	r.Traffic(phone, 100, 200)
	r.Logout(phone)
	must(t, r.Login(phone, "g", "p"))
	r.Traffic(phone, 10, 20)
	r.Reboot()
	if u := user(t, r); u["bytes-out"] != "200" {
		t.Errorf("counters that are kept, without what ran: %v", u)
	}
	must(t, r.Appear(phone, phoneIP))
	must(t, r.Login(phone, "g", "p"))
	r.Traffic(phone, 10, 20)
	r.Restart()
	if u := user(t, r); u["bytes-out"] != "220" {
		t.Errorf("counters after an orderly reboot: %v", u)
	}
}

func TestIdleAndUnreachablePhonesGo(t *testing.T) {
	r, clock := zone(t, simros.Options{}, map[string]string{"idle-timeout": "10m", "keepalive-timeout": "none"}, nil)
	must(t, r.Login(phone, "g", "p"))
	clock.Advance(9 * time.Minute)
	r.Traffic(phone, 1, 1)
	if n := len(r.Print("/ip/hotspot/host")); n != 1 { // the silent stranger went after 5 minutes
		t.Errorf("%d hosts", n)
	}
	clock.Advance(10 * time.Minute)
	none(t, r, "/ip/hotspot/active")
	none(t, r, "/ip/hotspot/host")
	if u := user(t, r); u["uptime"] != "19m" {
		t.Errorf("uptime: %v", u["uptime"])
	}
	if log := r.Log(); len(log) != 1 || log[0] != "g ("+phoneIP+"): logged out: idle timeout" {
		t.Errorf("log: %q", log)
	}
}

func TestRunningSessionsKeepWhatTheyBeganWith(t *testing.T) {
	r, _ := zone(t, simros.Options{}, map[string]string{"rate-limit": "1M/2M"}, map[string]string{"limit-bytes-total": "1000"})
	must(t, r.Login(phone, "g", "p"))
	must(t, r.Set("/ip/hotspot/user", "g", map[string]string{"limit-bytes-total": "9000"}))
	must(t, r.Set("/ip/hotspot/user/profile", "p", map[string]string{"rate-limit": "5M/5M"}))
	if q := one(t, r, "/queue/simple"); q["max-limit"] != "1000000/2000000" {
		t.Errorf("the running queue: %v", q)
	}
	wantErr(t, r.Set("/queue/simple", "<hotspot-g>", map[string]string{"max-limit": "5M/5M"}),
		"setting <hotspot-g> in /queue/simple: failure: can not change dynamic")
	r.Traffic(phone, 0, 1000)
	none(t, r, "/ip/hotspot/active")
	must(t, r.Login(phone, "g", "p"))
	if a := one(t, r, "/ip/hotspot/active"); a["limit-bytes-total"] != "8000" {
		t.Errorf("the next session: %v", a)
	}
	if q := one(t, r, "/queue/simple"); q["max-limit"] != "5000000/5000000" {
		t.Errorf("the next queue: %v", q)
	}
}

func TestRenamesAndRemovals(t *testing.T) {
	r, _ := zone(t, simros.Options{}, nil, nil)
	must(t, r.Set("/ip/hotspot/user/profile", "p", map[string]string{"name": "gold"}))
	if u := user(t, r); u["profile"] != "gold" {
		t.Errorf("after the rename: %v", u)
	}
	id := ""
	for _, p := range r.Print("/ip/hotspot/user/profile") {
		if p["name"] == "gold" {
			id = p[".id"]
		}
	}
	must(t, r.Remove("/ip/hotspot/user/profile", "gold"))
	must(t, err2(r.Add("/ip/hotspot/user/profile", map[string]string{"name": "gold"})))
	if u := user(t, r); u["profile"] != id {
		t.Errorf("after the removal: %v, want the dead number %s", u["profile"], id)
	}
	if err := r.Remove("/ip/hotspot/user/profile", "default"); err == nil {
		t.Error("the default profile was removed")
	}
}

func TestBindings(t *testing.T) {
	r, _ := zone(t, simros.Options{}, nil, nil)
	must(t, err2(r.Add("/ip/hotspot/ip-binding", map[string]string{"mac-address": strings.ToLower(phone), "type": "bypassed"})))
	if up, _ := r.Traffic(phone, 5, 5); up != 5 {
		t.Error("a bypassed phone does not pass")
	}
	if _, err := r.Add("/ip/hotspot/ip-binding", map[string]string{"mac-address": phone}); err == nil || !strings.Contains(err.Error(), "such client already exists") {
		t.Errorf("a second binding: %v", err)
	}
	must(t, err2(r.Add("/ip/hotspot/ip-binding", map[string]string{"address": phone2IP, "type": "blocked"})))
	must(t, r.Login(phone2, "g", "p"))
	if up, _ := r.Traffic(phone2, 5, 5); up != 0 {
		t.Error("a blocked phone passes")
	}
}

func TestRemovalMayEndAllSessionsOfAUser(t *testing.T) {
	for _, all := range []bool{false, true} {
		r, _ := zone(t, simros.Options{RemoveEndsAll: all}, map[string]string{"shared-users": "2"}, nil)
		must(t, r.Login(phone, "g", "p"))
		must(t, r.Login(phone2, "g", "p"))
		must(t, r.Remove("/ip/hotspot/active", r.Print("/ip/hotspot/active")[0][".id"]))
		if n := len(r.Print("/ip/hotspot/active")); n != map[bool]int{false: 1, true: 0}[all] {
			t.Errorf("RemoveEndsAll %v leaves %d sessions", all, n)
		}
	}
}

func TestDeviceModeWithoutHotspot(t *testing.T) {
	r := simros.New(simros.Options{NoHotspot: true})
	if d := one(t, r, "/system/device-mode"); d["hotspot"] != "false" {
		t.Errorf("device-mode: %v", d)
	}
	_, err := r.Add("/ip/hotspot", map[string]string{"name": "h", "interface": "bridge1"})
	wantErr(t, err, "adding to /ip/hotspot: failure: not allowed by device-mode")
}
