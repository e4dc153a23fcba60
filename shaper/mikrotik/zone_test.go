package mikrotik_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/shaper/conformance"
	"zonegate/shaper/mikrotik"
	"zonegate/shaper/mikrotik/simros"
)

// A zone is a simulated router with phones behind it, on a clock that stands
// still until it is moved.
type zone struct {
	t           testing.TB
	sim         *simros.Router
	clock       *simros.Clock
	addr        string
	fingerprint string

	mu        sync.Mutex
	delivered zonegate.Octets
	running   *mikrotik.Router
}

const user, password = "zonegate", "the router's own"

func newZone(t testing.TB, o simros.Options) *zone {
	t.Helper()
	z := newEmptyZone(t, o)
	for i := range conformance.Devices {
		z.appear(i)
	}
	return z
}

// newEmptyZone has no phone yet.
func newEmptyZone(t testing.TB, o simros.Options) *zone {
	t.Helper()
	z := &zone{t: t, clock: simros.NewClock()}
	o.User, o.Password, o.Clock = user, password, z.clock
	z.sim = simros.New(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z.addr = l.Addr().String()
	cert, sum := certificate(t)
	z.fingerprint = sum
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- z.sim.Serve(ctx, tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}}))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	return z
}

// certificate is one like a router's own.
func certificate(t testing.TB) (tls.Certificate, string) {
	t.Helper()
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
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, hex.EncodeToString(sum[:])
}

func mac(i int) zonegate.MAC { return zonegate.MAC{2, 0, 0, 1, byte(i >> 8), byte(i)} }

func macText(i int) string { return strings.ToUpper(mac(i).String()) }

func ip(i int) string { return fmt.Sprintf("10.5.%d.%d", 50+i/200, 2+i%200) }

func (z *zone) appear(i int) {
	z.t.Helper()
	if err := z.sim.Appear(macText(i), ip(i)); err != nil {
		z.t.Fatal(err)
	}
}

// domainClock is the router's clock as the domain's.
type domainClock struct{ *simros.Clock }

func (c domainClock) Now() zonegate.Instant {
	return zonegate.Instant{Boot: "boot", Mono: time.Hour + c.Clock.Now()}
}

func (z *zone) config() mikrotik.Config {
	return mikrotik.Config{
		Address: z.addr, User: user, Password: password, Fingerprint: z.fingerprint,
		LinkDown: 200e6, LinkUp: 200e6, Report: 10 * time.Millisecond, Clock: domainClock{z.clock},
	}
}

// open makes a Router without its task.
func (z *zone) open(c mikrotik.Config) *mikrotik.Router {
	z.t.Helper()
	r, err := mikrotik.New(c)
	if err != nil {
		z.t.Fatal(err)
	}
	z.t.Cleanup(func() { r.Close() })
	return r
}

func (z *zone) Start(b *conformance.Book) (zonegate.Enforcer, func()) {
	r := z.open(z.config())
	r.ReportTo(b)
	return r, z.run(r)
}

// run runs a Router's task, until it is killed.
func (z *zone) run(r *mikrotik.Router) (kill func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	z.mu.Lock()
	z.running = r
	z.mu.Unlock()
	kill = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			z.t.Errorf("running: %v", err)
		}
		r.Close()
		z.mu.Lock()
		z.running = nil
		z.mu.Unlock()
	})
	z.t.Cleanup(kill)
	return kill
}

func (z *zone) Device(i int) zonegate.MAC { return mac(i) }

func (z *zone) Passes(i int) bool { return z.traffic(i, 64, 64) > 0 }

func (z *zone) traffic(i int, up, down uint64) uint64 {
	u, d := z.sim.Traffic(macText(i), up, down)
	z.mu.Lock()
	defer z.mu.Unlock()
	z.delivered.Up += u
	z.delivered.Down += d
	return u + d
}

// What passes at once, and what passes between two looks at the counters.
const (
	chunk   = 4 << 10
	between = 64 << 10
)

func (z *zone) Transfer(i int, up, down uint64) {
	for n := uint64(0); up+down > 0; {
		u, d := min(up, chunk/2), min(down, chunk/2)
		if z.traffic(i, u, d) == 0 {
			return
		}
		up, down = up-u, down-d
		if n += u + d; n >= between {
			n = 0
			z.look()
		}
	}
}

// look has the running process read the counters, as time would.
func (z *zone) look() {
	z.mu.Lock()
	r := z.running
	z.mu.Unlock()
	if r != nil {
		if _, err := r.Look(context.Background()); err != nil {
			z.t.Logf("looking: %v", err)
		}
	}
}

func (z *zone) Delivered() zonegate.Octets {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.delivered
}

func (z *zone) Now() time.Duration { return domainClock{z.clock}.Now().Mono }

func (z *zone) Wait(d time.Duration) { z.clock.Advance(d) }

func (z *zone) Limits() conformance.Limits {
	return conformance.Limits{
		Over: chunk, SharedOver: between,
		Cannot: []string{
			"hold a cap more exactly than the router looks at it itself",
			"hold a cap that several devices share more exactly than what passes between two looks of this process, nor without it: alone, the router lets each device use what was left at its login",
			"keep a device's flows when its limits change, for it is logged out and in again",
			"share a rate without a committed part between the devices of a grant: each gets all of it",
			"count the time of a grant with several devices without this process: the router ends it late",
			"let a device in that the hotspot does not see; it waits",
			"do IPv6: it has to be blocked",
		},
	}
}

func order(id zonegate.SessionID, device int) zonegate.Order {
	return zonegate.Order{
		Session: id, Grant: zonegate.GrantID(id), Device: mac(device), Devices: 1, Allowance: zonegate.NoCap,
		Rate: zonegate.Rate{MIRUp: 2e6, MIRDown: 5e6},
	}
}

// committed is an order with a committed rate.
func committed(o zonegate.Order) zonegate.Order {
	o.Rate = zonegate.Rate{CIRUp: 256e3, CIRDown: 1e6, MIRUp: 2e6, MIRDown: 5e6}
	return o
}

func apply(t testing.TB, r *mikrotik.Router, want ...zonegate.Order) {
	t.Helper()
	if err := r.Apply(t.Context(), want); err != nil {
		t.Fatalf("applying: %v", err)
	}
}

func change(t testing.TB, r *mikrotik.Router, set []zonegate.Order, stop ...zonegate.SessionID) {
	t.Helper()
	if err := r.Change(t.Context(), set, stop); err != nil {
		t.Fatalf("changing: %v", err)
	}
}

func usage(t testing.TB, r *mikrotik.Router) map[zonegate.SessionID]zonegate.Usage {
	t.Helper()
	list, err := r.Usage(t.Context())
	if err != nil {
		t.Fatalf("reading usage: %v", err)
	}
	out := map[zonegate.SessionID]zonegate.Usage{}
	for _, u := range list {
		out[u.Session] = u
	}
	return out
}

// mine lists what of ours a menu holds.
func (z *zone) mine(menu string) (list []map[string]string) {
	for _, x := range z.sim.Print(menu) {
		if strings.HasPrefix(x["comment"], "zonegate:") || strings.HasPrefix(x["name"], "zonegate-") {
			list = append(list, x)
		}
	}
	return list
}

// commands counts the commands since the last call.
func (z *zone) commands() (n int, by map[string]int) {
	by = z.sim.Commands()
	z.sim.ForgetCommands()
	for _, c := range by {
		n += c
	}
	return n, by
}
