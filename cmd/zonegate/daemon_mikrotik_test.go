package main

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"zonegate/internal/control"
	"zonegate/shaper/mikrotik/simros"
)

func TestDaemonDrivesMikroTik(t *testing.T) {
	z := newRouterZone(t, simros.Options{Version: "7.16.1"})
	z.serve(t)
	d := z.run(t)
	z.appear(t, phoneA, phoneB)
	text, _ := z.do(t, exitOK, "", "status")
	if want := "MikroTik: hAP lite at " + z.addr + ", RouterOS 7.16.1"; !strings.Contains(text, want) {
		t.Errorf("%q is not in\n%s", want, text)
	}
	if out, _ := z.do(t, exitOK, "", "doctor"); strings.Contains(out, "FAIL") || !strings.Contains(out, "MikroTik") || !strings.Contains(out, "portal answers: http://") ||
		strings.Contains(out, "gate closed") || strings.Contains(out, "own table") {
		t.Errorf("the doctor:\n%s", out)
	}

	// A stranger is shown the portal and buys; the router lets him in.
	if status, a, err := phoneA.ask(t, z, "/status.json", nil); err != nil || status != http.StatusOK || a.Reason != "no_grant" {
		t.Fatalf("a stranger: %d %+v %v", status, a, err)
	}
	if status, a := phoneA.redeem(t, z, z.sell(t)); status != http.StatusOK || !a.Online || a.Plan != "1 jour" {
		t.Fatalf("redeeming: %d %+v", status, a)
	}
	entry := z.active(phoneA)
	if entry == nil || entry["address"] != phoneA.ip {
		t.Fatalf("the router has let in: %v", z.sim.Print("/ip/hotspot/active"))
	}
	var user, queue map[string]string
	for _, u := range z.sim.Print("/ip/hotspot/user") {
		if u["name"] == entry["user"] {
			user = u
		}
	}
	for _, q := range z.sim.Print("/queue/simple") {
		if strings.HasPrefix(q["target"], phoneA.ip+"/") {
			queue = q
		}
	}
	if !strings.Contains(user["comment"], " by=") {
		t.Errorf("the user does not say whose it is: %v", user)
	}
	if user["limit-bytes-total"] != "50000000" || user["limit-uptime"] != "1d" || queue["limit-at"] != "512000/512000" || queue["max-limit"] != "2048000/2048000" {
		t.Errorf("user %v\nqueue %v", user, queue)
	}
	if up, down := z.sim.Traffic(phoneA.mac, 1e6, 2e6); up != 1e6 || down != 2e6 {
		t.Errorf("%d and %d octets passed", up, down)
	}
	if up, down := z.sim.Traffic(phoneB.mac, 1e6, 2e6); up+down != 0 {
		t.Errorf("%d and %d octets of a stranger passed", up, down)
	}
	z.awaitUsed(t, d, phoneA, 3e6)
	if status, a, err := phoneA.ask(t, z, "/status.json", nil); err != nil || status != http.StatusOK || a.OctetsLeft == nil || *a.OctetsLeft != 47e6 {
		t.Errorf("the status page: %d %+v %v", status, a, err)
	}

	// The daemon dies. The router goes on, and so does the session.
	if err := d.stop(t, syscall.SIGKILL); err == nil {
		t.Fatal("it survived a kill")
	}
	z.sim.Traffic(phoneA.mac, 0, 4e6)
	d = z.run(t)
	z.awaitUsed(t, d, phoneA, 7e6)
	if now := z.active(phoneA); now == nil || now[".id"] != entry[".id"] {
		t.Errorf("the session was %v and is %v", entry, now)
	}

	// The router goes away in the middle of a sale, and comes back without its
	// sessions, counters and hosts.
	second := z.sell(t)
	if status, a, err := phoneB.ask(t, z, "/status.json", nil); err != nil || status != http.StatusOK {
		t.Fatalf("the second stranger: %d %+v %v", status, a, err)
	}
	if _, a, err := phoneA.ask(t, z, "/status.json", nil); err != nil || a.Reason != "online" {
		t.Errorf("the first customer: %+v %v", a, err)
	}
	z.sim.PowerOff()
	if status, a := phoneB.redeem(t, z, second); status != http.StatusAccepted || a.Online || a.Reason != "pending" {
		t.Errorf("a sale without the router: %d %+v", status, a)
	}
	if text, _ := z.do(t, exitFailed, "", "status"); !strings.Contains(text, "ENFORCEMENT BEHIND: ") || !strings.Contains(text, "MIKROTIK AWAY: ") {
		t.Errorf("without the router:\n%s", text)
	}
	if _, a, err := phoneA.ask(t, z, "/status.json", nil); err != nil || a.Reason != "pending" {
		t.Errorf("the first customer without the router: %+v %v", a, err)
	}
	z.sim.PowerOn()
	z.appear(t, phoneA, phoneB)
	d.await(t, "both customers", func() bool { return z.active(phoneA) != nil && z.active(phoneB) != nil })
	d.await(t, "the end of the trouble", func() bool { return z.status().OK })
	z.sim.Traffic(phoneA.mac, 1e6, 1e6)
	z.sim.Traffic(phoneB.mac, 2e6, 0)
	z.awaitUsed(t, d, phoneA, 9e6)
	z.awaitUsed(t, d, phoneB, 2e6)
	if s := ask[control.Sessions](t, z.zone, exitOK, "session", "list"); len(s.Sessions) != 2 {
		t.Errorf("%d sessions of two sales: %+v", len(s.Sessions), s)
	}
	if status, a := phoneB.redeem(t, z, second); status != http.StatusOK || len(a.Queue) != 0 {
		t.Errorf("the same code again: %d %+v", status, a)
	}
	// The grant ends, and with it what the router has of it.
	grant := ask[control.Sessions](t, z.zone, exitOK, "session", "list").Sessions[0].Balance.ID
	z.do(t, exitOK, "", "grant", "revoke", fmt.Sprint(grant))
	if z.active(phoneA) != nil || z.active(phoneB) == nil {
		t.Errorf("after a revocation: %v", z.sim.Print("/ip/hotspot/active"))
	}

	// Nobody else may own its sessions.
	for _, running := range []bool{true, false} {
		_, stderr := z.do(t, exitFailed, "", "nas", "add", "tower", "--address", "127.0.0.1", "--vendor", "mikrotik")
		if !strings.Contains(stderr, `sessions = "radius"`) {
			t.Errorf("a NAS with its address (daemon: %v): %s", running, stderr)
		}
		z.do(t, exitOK, "", "nas", "add", fmt.Sprintf("other-%v", running), "--address", fmt.Sprintf("127.0.0.%d", 2+len(fmt.Sprint(running))), "--vendor", "mikrotik")
		if running {
			if err := d.stop(t, syscall.SIGTERM); err != nil {
				t.Errorf("SIGTERM: %v", err)
			}
		}
	}
	if strings.Contains(d.log.String(), second) || strings.Contains(d.log.String(), routerSecret) {
		t.Error("a code or a password stands in the log")
	}
}

// A daemon that finds no router sells, says once why, and goes on when the
// router is there.
func TestDaemonWithoutItsMikroTik(t *testing.T) {
	z := newRouterZone(t, simros.Options{Version: "6.49.18"})
	d := z.run(t)
	code := z.sell(t)
	d.await(t, "the portal", func() bool {
		status, a, err := phoneA.ask(t, z, "/status.json", nil)
		return err == nil && status == http.StatusServiceUnavailable && a.Reason == "no_answer"
	})
	if out, _ := z.do(t, exitFailed, "", "doctor"); !strings.Contains(out, "FAIL      connection: ") || !strings.Contains(out, "api-ssl") {
		t.Errorf("the doctor:\n%s", out)
	}
	if s := z.status(); s.MikroTik == nil || s.MikroTik.Reachable || s.MikroTik.Problem == "" || s.DataPath == "" || s.OK {
		t.Errorf("%+v", s)
	}
	z.appear(t, phoneA)
	z.serve(t)
	d.await(t, "a sale", func() bool {
		status, a, err := phoneA.ask(t, z, "/voucher", url.Values{"code": {code}})
		return err == nil && status == http.StatusOK && a.Online
	})
	d.await(t, "the customer at the router", func() bool { return z.active(phoneA) != nil && z.status().OK })
	// The task, the gate and the portal's customer each say it.
	if n := strings.Count(d.log.String(), "connection refused"); n == 0 || n > 4 {
		t.Errorf("it was said %d times:\n%s", n, d.log)
	}
	if err := d.stop(t, syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}

// What is wrong with the router's side is said with its fix, in the log and by
// the doctor, and does not end the daemon.
func TestMikroTikThatRefuses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options simros.Options
		change  func(*testing.T, *routerZone)
		log     string // and the fix that is in it
		doctor  string
	}{
		{"password", simros.Options{Version: "7.16.1"},
			func(t *testing.T, z *routerZone) { z.password(t, "another\n", 0o600) },
			"refuses the user or the password; set both", "FAIL      login: "},
		{"certificate", simros.Options{Version: "7.16.1"},
			func(t *testing.T, z *routerZone) { z.configure(t, "api", z.fingerprint, strings.Repeat("ab", 32)) },
			"if you renewed it, put that into the configuration", "FAIL      certificate: "},
		{"permission", simros.Options{Version: "7.16.1"},
			func(t *testing.T, z *routerZone) {
				if _, err := z.sim.Add("/user/group", map[string]string{"name": "weak", "policy": "api,read"}); err != nil {
					t.Fatal(err)
				}
				z.setRouter(t, "/user", routerUser, "group", "weak")
			},
			"The group weak lacks the policy write. Add it: /user/group/set", "FAIL      permissions: "},
		{"permission to look", simros.Options{Version: "7.16.1"},
			func(t *testing.T, z *routerZone) {
				if _, err := z.sim.Add("/user/group", map[string]string{"name": "weak", "policy": "api"}); err != nil {
					t.Fatal(err)
				}
				z.setRouter(t, "/user", routerUser, "group", "weak")
			},
			"Add the policies api, read and write to its group", "FAIL      permissions: "},
		{"version", simros.Options{Version: "6.47.10"}, func(*testing.T, *routerZone) {},
			"upgrade the router: /system/package/update/install", "FAIL      version: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			z := newRouterZone(t, tt.options)
			tt.change(t, z)
			z.serve(t)
			z.appear(t, phoneA)
			if out, _ := z.do(t, exitFailed, "", "doctor"); !strings.Contains(out, tt.doctor) || !strings.Contains(out, "-> ") {
				t.Errorf("the doctor without a daemon:\n%s", out)
			}
			d := z.run(t)
			code := z.sell(t)
			if tt.name == "permission" { // seen when something is written
				d.await(t, "the portal", func() bool {
					status, _, err := phoneA.ask(t, z, "/status.json", nil)
					return err == nil && status == http.StatusOK
				})
				if status, a := phoneA.redeem(t, z, code); status != http.StatusAccepted || a.Reason != "pending" {
					t.Errorf("a sale: %d %+v", status, a)
				}
			}
			d.await(t, "the log", func() bool { return strings.Contains(d.log.String(), tt.log) })
			if out, _ := z.do(t, exitFailed, "", "doctor"); !strings.Contains(out, tt.doctor) {
				t.Errorf("the doctor:\n%s", out)
			}
			if s := z.status(); !s.Running || s.DataPath == "" {
				t.Errorf("%+v", s)
			}
			if err := d.stop(t, syscall.SIGTERM); err != nil {
				t.Errorf("SIGTERM: %v", err)
			}
		})
	}
}

// Exactly one of RADIUS and the API owns the sessions.
func TestWhoOwnsTheMikroTik(t *testing.T) {
	z := newRouterZone(t, simros.Options{Version: "7.16.1"})
	z.serve(t)

	// RADIUS: the router is examined, and nothing is enforced over the API.
	z.configure(t, "radius")
	if out, _ := z.do(t, exitFailed, "", "doctor"); !strings.Contains(out, "use-radius=yes") || !strings.Contains(out, "zonegate nas add --vendor mikrotik") {
		t.Errorf("the doctor of a router that does not ask RADIUS:\n%s", out)
	}
	d := z.run(t)
	d.await(t, "the examination", func() bool { return strings.Contains(d.log.String(), "use-radius=yes") })
	z.do(t, exitOK, "", "nas", "add", "tower", "--address", "127.0.0.1", "--vendor", "mikrotik")
	if s := z.status(); !s.OK || s.MikroTik == nil || s.MikroTik.Sessions != "radius" || !s.MikroTik.Reachable {
		t.Errorf("%+v", s)
	}
	if err := d.stop(t, syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}

	// The API, while the book still has it as a NAS.
	z.configure(t, "api")
	if _, stderr := z.do(t, exitFailed, "", "run"); !strings.Contains(stderr, "zonegate nas remove tower") {
		t.Errorf("it runs with two owners: %s", stderr)
	}
	if out, _ := z.do(t, exitFailed, "", "doctor"); !strings.Contains(out, "FAIL      NAS tower: ") {
		t.Errorf("the doctor of two owners:\n%s", out)
	}
	z.do(t, exitOK, "", "nas", "remove", "tower")

	// The API, while the router still asks RADIUS: it is said.
	z.setRouter(t, "/ip/hotspot/profile", "hsprof1", "use-radius", "yes")
	d = z.run(t)
	d.await(t, "the log", func() bool { return strings.Contains(d.log.String(), "use-radius=no") })
	if out, _ := z.do(t, exitFailed, "", "doctor"); !strings.Contains(out, "FAIL      RADIUS: ") {
		t.Errorf("the doctor of a router that asks RADIUS too:\n%s", out)
	}
	if err := d.stop(t, syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}

	// Another gateway drives it already.
	z.setRouter(t, "/ip/hotspot/profile", "hsprof1", "use-radius", "no")
	if _, err := z.sim.Add("/ip/hotspot/user", map[string]string{"name": "zonegate-7-1", "comment": "zonegate:grant:7 by=0a1b2c3d"}); err != nil {
		t.Fatal(err)
	}
	d = z.run(t)
	d.await(t, "the log", func() bool { return strings.Contains(d.log.String(), "another zonegate") })
	if out, _ := z.do(t, exitFailed, "", "doctor"); !strings.Contains(out, "FAIL      another zonegate: ") {
		t.Errorf("the doctor of a router with two gateways:\n%s", out)
	}
	if err := d.stop(t, syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}

	// A password that others may read.
	z.password(t, routerSecret, 0o644)
	for _, args := range [][]string{{"run"}, {"check-config"}, {"doctor"}} {
		out, stderr := z.do(t, exitFailed, "", args...)
		if !strings.Contains(out+stderr, "chmod 600 "+filepath.Join(z.dir, "password")) {
			t.Errorf("%s: %s%s", args[0], out, stderr)
		}
	}
}
