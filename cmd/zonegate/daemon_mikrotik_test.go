package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"zonegate"
	"zonegate/internal/control"
	"zonegate/portal"
	"zonegate/shaper/mikrotik"
	"zonegate/shaper/mikrotik/simros"
)

// A routerZone is a zone whose customers are behind a simulated MikroTik. All
// of it is on this machine's loopback: a phone is an address in 127.0.0.0/8,
// which the router knows as one of its hosts.
type routerZone struct {
	zone
	sim         *simros.Router
	addr        string // of the API
	fingerprint string
	cert        tls.Certificate
	portal      string
}

const routerUser, routerSecret = "zonegate", "the router's own"

const cappedPlan = `
[[plan]]
id = "jour"
name = "1 jour"
price_fcfa = 200
duration_hours = 24
data_limit_mb = 50
cir_kbps = 512
mir_kbps = 2048
`

// newRouterZone has a router that is set up as it should be. It does not
// answer before serve.
func newRouterZone(t *testing.T, o simros.Options) *routerZone {
	t.Helper()
	o.User, o.Password = routerUser, routerSecret
	z := &routerZone{zone: zone{dir: t.TempDir()}, sim: simros.New(o)}
	z.config = filepath.Join(z.dir, "zonegate.toml")
	z.setRouter(t, "/ip/hotspot/profile", "hsprof1", "use-radius", "no", "login-by", "http-chap")
	z.setRouter(t, "/ipv6/settings", "", "disable-ipv6", "yes")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	z.cert, z.fingerprint = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, hex.EncodeToString(sum[:])
	z.addr, z.portal = freePort(t), freePort(t)
	z.password(t, routerSecret+"\n", 0o600)
	z.configure(t, "api")
	return z
}

// freePort returns an address that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func port(at string) string { return strings.TrimPrefix(at, "127.0.0.1:") }

func (z *routerZone) password(t *testing.T, text string, mode os.FileMode) {
	t.Helper()
	name := filepath.Join(z.dir, "password")
	if err := errors.Join(os.WriteFile(name, []byte(text), mode), os.Chmod(name, mode)); err != nil {
		t.Fatal(err)
	}
}

// configure writes the configuration; changes replace parts of it, in pairs.
func (z *routerZone) configure(t *testing.T, sessions string, changes ...string) {
	t.Helper()
	text := fmt.Sprintf(`
data_dir = %q
control_socket = %q
[zone]
name = "Test"
id = "test"
language = "en"
[network]
lan = ""
[portal]
port = %s
[radius]
listen = ["127.0.0.1"]
auth_port = %s
acct_port = %s
[mikrotik]
address = %q
password_file = %q
fingerprint = %q
server = "hotspot1"
sessions = %q
%s`, filepath.Join(z.dir, "data"), filepath.Join(z.dir, "s"), port(z.portal), port(freePort(t)), port(freePort(t)),
		z.addr, filepath.Join(z.dir, "password"), z.fingerprint, sessions, cappedPlan)
	if err := os.WriteFile(z.config, []byte(strings.NewReplacer(changes...).Replace(text)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (z *routerZone) setRouter(t *testing.T, menu, name string, pairs ...string) {
	t.Helper()
	attrs := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		attrs[pairs[i]] = pairs[i+1]
	}
	if err := z.sim.Set(menu, name, attrs); err != nil {
		t.Fatal(err)
	}
}

// serve has the router answer until the test ends.
func (z *routerZone) serve(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", z.addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- z.sim.Serve(ctx, tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{z.cert}}))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the router: %v", err)
		}
	})
}

// run starts a daemon on this machine's loopback and waits until it answers.
func (z *routerZone) run(t *testing.T) *daemon {
	t.Helper()
	d := launch(t, z.child(t, nil, "run"))
	d.await(t, "the first answer", func() bool { return z.status().Running })
	return d
}

func (z *routerZone) status() (s control.Status) {
	if c, err := control.Dial(context.Background(), filepath.Join(z.dir, "s")); err == nil {
		s, _ = c.Status(context.Background()) // nothing is an answer too
	}
	return s
}

func (z *routerZone) sell(t *testing.T) (code string) {
	t.Helper()
	made := ask[control.CreatedVouchers](t, z.zone, exitOK, "voucher", "create", "--plan", "jour", "--count", "1")
	return made.Vouchers[0].Code
}

// A phone is a customer behind the router.
type phone struct{ mac, ip string }

var phoneA, phoneB = phone{"02:00:00:00:00:0A", "127.5.50.10"}, phone{"02:00:00:00:00:0B", "127.5.50.11"}

func (z *routerZone) appear(t *testing.T, list ...phone) {
	t.Helper()
	for _, p := range list {
		if err := z.sim.Appear(p.mac, p.ip); err != nil {
			t.Fatal(err)
		}
	}
}

// ask sends a request of the phone to the portal.
func (p phone) ask(t *testing.T, z *routerZone, path string, form url.Values) (int, portal.Answer, error) {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(p.ip)}, Timeout: 10 * time.Second}
	transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+z.portal+path, nil)
	if form != nil {
		req, err = http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+z.portal+path, strings.NewReader(form.Encode()))
	}
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, portal.Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, portal.Answer{}, err
	}
	var a portal.Answer
	if err := json.Unmarshal(body, &a); err != nil {
		t.Fatalf("%s answered %s: %s", path, resp.Status, body)
	}
	return resp.StatusCode, a, nil
}

func (p phone) redeem(t *testing.T, z *routerZone, code string) (int, portal.Answer) {
	t.Helper()
	status, a, err := p.ask(t, z, "/voucher", url.Values{"code": {code}})
	if err != nil {
		t.Fatal(err)
	}
	return status, a
}

// active is the phone's entry among those whom the router has let in.
func (z *routerZone) active(p phone) map[string]string {
	for _, a := range z.sim.Print("/ip/hotspot/active") {
		if strings.EqualFold(a["mac-address"], p.mac) {
			return a
		}
	}
	return nil
}

// used is what a phone's grant was charged, and its sessions have counted
// since, with the counters of now.
func (z *routerZone) used(t *testing.T, p phone) (octets uint64) {
	t.Helper()
	for _, s := range ask[control.Sessions](t, z.zone, exitOK, "session", "list").Sessions {
		if strings.EqualFold(s.Device, p.mac) {
			octets += s.Balance.Used
		}
	}
	return octets
}

// awaitUsed waits until exactly so much is counted.
func (z *routerZone) awaitUsed(t *testing.T, d *daemon, p phone, want uint64) {
	t.Helper()
	d.await(t, fmt.Sprintf("%d octets", want), func() bool {
		got := z.used(t, p)
		if got > want {
			t.Fatalf("%d octets are charged, and %d passed", got, want)
		}
		if got < want {
			z.do(t, exitOK, "", "reconcile") // sooner than by itself
		}
		return got == want
	})
}

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
		return err == nil && status == http.StatusServiceUnavailable && a.Reason == "unknown_device"
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

	// A password that others may read.
	z.password(t, routerSecret, 0o644)
	for _, args := range [][]string{{"run"}, {"check-config"}, {"doctor"}} {
		out, stderr := z.do(t, exitFailed, "", args...)
		if !strings.Contains(out+stderr, "chmod 600 "+filepath.Join(z.dir, "password")) {
			t.Errorf("%s: %s%s", args[0], out, stderr)
		}
	}
}

func TestRouterLocator(t *testing.T) {
	var mu sync.Mutex
	asked, answer, mac := 0, error(nil), zonegate.MAC{2, 0, 0, 0, 0, 1}
	l := &routerLocator{
		ask: func(ctx context.Context, a netip.Addr) (zonegate.MAC, error) {
			mu.Lock()
			defer mu.Unlock()
			if ctx.Err() != nil {
				t.Error("a request that was given up is given up at the router too")
			}
			asked++
			return mac, answer
		},
		own: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, known: map[netip.Addr]located{},
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	a := netip.MustParseAddr("10.5.50.2")
	for range 3 {
		if got, err := l.Locate(gone, a); err != nil || got != mac {
			t.Fatal(got, err)
		}
	}
	if asked != 1 {
		t.Errorf("%d questions about one customer", asked)
	}
	older := func(d time.Duration) {
		x := l.known[a]
		x.at = x.at.Add(-d)
		l.known[a] = x
	}
	older(locatedFor)
	answer = mikrotik.ErrUnreachable
	if got, err := l.Locate(t.Context(), a); err != nil || got != mac || asked != 2 {
		t.Errorf("while the router is away: %v %v, %d questions", got, err, asked)
	}
	older(locatedLast)
	if _, err := l.Locate(t.Context(), a); !errors.Is(err, mikrotik.ErrUnreachable) {
		t.Errorf("long after: %v", err)
	}
	answer = mikrotik.ErrUnknownDevice
	for range 2 {
		if _, err := l.Locate(t.Context(), a); !errors.Is(err, mikrotik.ErrUnknownDevice) {
			t.Errorf("when the router knows better: %v", err)
		}
	}
	if asked != 4 {
		t.Errorf("%d questions", asked)
	}
	answer = mikrotik.ErrUnreachable
	older(locatedFor)
	if _, err := l.Locate(t.Context(), a); !errors.Is(err, mikrotik.ErrUnreachable) {
		t.Errorf("who was unknown is: %v", err)
	}
	if _, err := l.Locate(t.Context(), netip.MustParseAddr("10.0.0.1")); err == nil || !strings.Contains(err.Error(), "masquerade") {
		t.Errorf("the router's own address: %v", err)
	}
	answer = nil
	for i := range maxLocated + 10 {
		if _, err := l.Locate(t.Context(), netip.AddrFrom4([4]byte{10, 6, byte(i >> 8), byte(i)})); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.known) > maxLocated {
		t.Errorf("%d addresses are kept", len(l.known))
	}
}
