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

func TestRouterPassword(t *testing.T) {
	name := filepath.Join(t.TempDir(), "password")
	if _, err := routerPassword(name); err == nil || !strings.Contains(err.Error(), "mikrotik.password_file") {
		t.Errorf("a missing file: %v", err)
	}
	for text, want := range map[string]string{
		"one line\n": "one line", " spaces count \r\n\n": " spaces count ", "no end": "no end", "": "", "two\nlines\n": "", "\n": "",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := routerPassword(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v", text, got, err)
		}
		if err != nil && (!strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "two")) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for mode, good := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o604: false, 0o660: false} {
		if err := errors.Join(os.WriteFile(name, []byte("x"), 0o600), os.Chmod(name, mode)); err != nil {
			t.Fatal(err)
		}
		if _, err := routerPassword(name); (err == nil) != good {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}
