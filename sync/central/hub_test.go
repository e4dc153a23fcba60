//go:build amd64 || arm64

// A hub runs on servers: its database is not built for the processors of routers.

package central

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/server"
	"zonegate/hub/store"
	"zonegate/sync/api"
)

// plainHasher is quick; there are no people here.
type plainHasher struct{}

func (plainHasher) Hash(_ context.Context, password string) (string, error) { return password, nil }
func (plainHasher) Verify(_ context.Context, hash, password string) (bool, error) {
	return hash == password, nil
}

// A realHub is the hub's own program but for its people.
type realHub struct {
	t    *testing.T
	hub  *hub.Hub
	at   Endpoint
	site hub.Site
}

var operator = hub.Actor{Name: "tests", Role: hub.RoleAdmin}

func newRealHub(t *testing.T) *realHub {
	t.Helper()
	h := &realHub{t: t}
	dir := t.TempDir()
	keys, err := hub.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	ca := newAuthority(t)
	h.at = Endpoint{CA: filepath.Join(dir, "ca.pem"), Proxy: func(*url.URL) (*url.URL, error) { return nil, nil }}
	if err := os.WriteFile(h.at.CA, ca.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	cert := ca.issue(t, time.Now().AddDate(0, 0, -1), time.Now().AddDate(0, 0, 1), "hub.test")
	st, err := store.Open(t.Context(), filepath.Join(dir, "hub.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	h.hub = hub.New(hub.Options{Store: st, Keys: keys, Hasher: plainHasher{}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.at.URL = "https://" + l.Addr().String() + server.Base
	s := server.New(server.Options{Hub: h.hub, Tokens: server.Tokens{Key: keys.JWT}, TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() { h.hub.Run(ctx) })
	tasks.Go(func() { st.Run(ctx) })
	tasks.Go(func() { s.Run(ctx, l) })
	t.Cleanup(func() {
		cancel()
		tasks.Wait()
		st.Close()
	})
	r, err := h.hub.CreateReseller(t.Context(), operator, "Kofi", hub.Limits{Vouchers: 1000, Sites: 10, Gateways: 10})
	if err != nil {
		t.Fatal(err)
	}
	if h.site, err = h.hub.CreateSite(t.Context(), operator, r.ID, "Gbegamey", "XOF"); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *realHub) code() string {
	h.t.Helper()
	e, err := h.hub.NewEnrolment(h.t.Context(), operator, h.site.ID, time.Hour)
	if err != nil {
		h.t.Fatal(err)
	}
	return e.Code
}

func (h *realHub) forfait(c hub.ForfaitChange) zonegate.Plan {
	h.t.Helper()
	f, _, err := h.hub.SetForfait(h.t.Context(), operator, c)
	if err != nil {
		h.t.Fatal(err)
	}
	return f.Plan
}

func (h *realHub) member() hub.Member {
	h.t.Helper()
	all, err := h.hub.Fleet(h.t.Context(), operator, hub.FleetQuery{})
	if err != nil || len(all) != 1 {
		h.t.Fatalf("the fleet is %+v, %v", all, err)
	}
	return all[0]
}

// The whole way, with the hub's own code on the other side.
func TestWithTheHub(t *testing.T) {
	h := newRealHub(t)
	ctx := t.Context()
	jour := h.forfait(hub.ForfaitChange{Plan: zonegate.Plan{
		Name: "Jour", Price: zonegate.Money{Amount: 500, Currency: "XOF"}, Duration: 24 * time.Hour, DataCap: 500e6, DevicesMax: 1,
		Rate: zonegate.Rate{CIRUp: 512e3, CIRDown: 512e3, MIRUp: 2048e3, MIRDown: 2048e3},
	}})
	z := newZone(t, h.at)
	z.stopGate()
	z.clock = newClock(epoch, false) // no battery
	z.clock.boot = "without a battery"
	z.startGate()
	z.open()
	if err := z.central.Join(ctx, "AAAA-BBBB"); err == nil {
		t.Fatal("a wrong code was taken")
	}
	if err := z.central.Join(ctx, h.code()); err != nil {
		t.Fatal(err)
	}
	z.run()
	z.connected()
	eventually(t, "the hub's time", func() bool { return z.clock.Now().Trusted })
	if off := time.Since(z.clock.Now().Wall).Abs(); off > time.Minute {
		t.Errorf("the time is %v off", off)
	}
	eventually(t, "the catalogue", func() bool { _, ok := z.plan(jour.ID); return ok })

	// Vouchers made at the hub are redeemed here and reported there.
	_, codes, err := h.hub.Generate(ctx, operator, hub.Generate{N: 3, Forfait: jour.ID, Reseller: h.site.Reseller, Site: h.site.ID})
	if err != nil {
		t.Fatal(err)
	}
	phone := mac(0)
	eventually(t, "the vouchers are here", func() bool { return z.gate.Health().Unused == 3 })
	if _, err := z.gate.Redeem(ctx, zonegate.Redemption{Code: codes[0], Device: phone}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the sale is there", func() bool { return z.central.Status().Unsent == 0 })
	eventually(t, "the heartbeat is there", func() bool { m := h.member(); return m.Status.Vouchers == 2 && m.Status.Sessions == 1 })

	// A changed plan reaches who bought it.
	change := jour
	change.Rate.MIRDown = 4096e3
	h.forfait(hub.ForfaitChange{Plan: change, Running: true})
	eventually(t, "the running grant has the new rate", func() bool {
		st := z.gate.Standing(phone)
		return st.Grant != nil && st.Grant.Plan.Rate.MIRDown == 4096e3
	})

	// A purchase made at the hub.
	buyer := mac(0)
	if _, _, err := h.hub.IssueGrant(ctx, operator, hub.IssueGrant{Site: h.site.ID, Forfait: jour.ID, Device: buyer.String(), Ref: "1"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the purchase is here", func() bool { return z.gate.Standing(buyer).Grant != nil })

	// A setting on trial.
	p, _, err := h.hub.PushSetting(ctx, operator, hub.Setting{Target: hub.Target{Site: h.site.ID}, Body: api.Link{Down: 8e6, Up: 1e6}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the setting is acknowledged", func() bool {
		_, applied, err := h.hub.AcksOf(ctx, operator, p.Seq, 10)
		return err == nil && applied == 1
	})

	// The same gateway with a new token.
	if err := z.central.Join(ctx, h.code()); err != nil {
		t.Fatal(err)
	}
	z.connected()
	z.sold(1)
	eventually(t, "the rest is there", func() bool { return z.central.Status().Unsent == 0 })

	// A code that is good at all sites of the reseller.
	if _, err := h.hub.CreateSite(ctx, operator, h.site.Reseller, "Cadjehoun", "XOF"); err != nil {
		t.Fatal(err)
	}
	_, roaming, err := h.hub.Generate(ctx, operator, hub.Generate{N: 1, Forfait: jour.ID, Reseller: h.site.Reseller})
	if err != nil {
		t.Fatal(err)
	}
	guest := mac(0)
	if _, err := z.gate.Redeem(ctx, zonegate.Redemption{Code: roaming[0], Device: guest}); !errors.Is(err, zonegate.ErrForeignCode) {
		t.Fatalf("a roaming code is known here: %v", err)
	}
	for range 2 {
		if err := z.central.Claim(ctx, roaming[0], guest, ""); err != nil {
			t.Fatal(err)
		}
	}
	if z.gate.Standing(guest).Grant == nil {
		t.Fatal("the claim gave nothing")
	}
	if err := z.central.Claim(ctx, roaming[0], mac(0), ""); !errors.Is(err, zonegate.ErrUsedCode) {
		t.Fatalf("a used roaming code: %v", err)
	}
	if m := z.central.Status(); len(m.Findings) > 0 || m.LastError != "" {
		t.Errorf("status %+v", m)
	}

	// Taken off.
	link, _ := z.gate.Hub()
	if err := h.hub.RevokeGateway(ctx, operator, link.Gateway, "stolen"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the zone knows", func() bool { return z.central.Status().Revoked })
	if f := z.found("hub"); !strings.Contains(f.Detail, "taken this gateway off") {
		t.Errorf("finding: %+v", f)
	}
	if st := z.gate.Standing(phone); st.Grant == nil {
		t.Error("what was bought is gone")
	}
}
