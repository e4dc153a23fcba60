package server

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/internal/clock"
	gatewaystore "zonegate/internal/store"
	"zonegate/sync/central"
)

// dataPath accepts every order.
type dataPath struct{}

func (dataPath) Apply(context.Context, []zonegate.Order) error                        { return nil }
func (dataPath) Change(context.Context, []zonegate.Order, []zonegate.SessionID) error { return nil }
func (dataPath) Usage(context.Context) ([]zonegate.Usage, error)                      { return nil, nil }

// knobs take every setting.
type knobs struct{}

func (knobs) Set(string, string) error { return nil }

// TestRealGateway: the gateway's own side of the contract against this server,
// with the contract between them. Enrolment, catalogue, stream, acks, reports,
// heartbeat and claim pass as the file has them.
func TestRealGateway(t *testing.T) {
	onEach(t, nil, func(w *world) {
		// Their connection is watched.
		target, err := url.Parse(w.url)
		w.ok(err)
		_, pool := testCertificate()
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
		between := httptest.NewTLSServer(w.contract.Proxy(target, transport, func(err error) { w.Error(err) }))
		w.Cleanup(between.Close)
		ca := filepath.Join(w.TempDir(), "ca.pem")
		w.ok(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: between.Certificate().Raw}), 0o600))

		g, c := startGateway(w, central.Endpoint{URL: between.URL + Base, CA: ca})
		site, err := w.hub.CreateSite(w.Context(), operator, w.resellerID, "Zogbo", "XOF")
		w.ok(err)
		code, err := w.hub.NewEnrolment(w.Context(), operator, site.ID, time.Hour)
		w.ok(err)
		w.ok(c.Join(w.Context(), code.Code))
		waitFor(w.T, "the gateway to be connected", func() bool { return c.Status().Connected })
		has := func(version uint32) func() bool {
			return func() bool {
				for _, p := range g.Plans() {
					if p.ID == w.forfait.Plan.ID && p.Version == version {
						return true
					}
				}
				return false
			}
		}
		waitFor(w.T, "the catalogue to be there", has(1))

		// A new version comes by the stream and is acknowledged.
		changed := w.forfait.Plan
		changed.Price.Amount = 600
		f := w.setForfait(hub.ForfaitChange{Plan: changed, Running: true})
		waitFor(w.T, "the new version to be there", has(2))
		waitFor(w.T, "it to be acknowledged", func() bool {
			_, applied, err := w.hub.AcksOf(w.Context(), operator, f.Seq, 10)
			w.ok(err)
			return applied == 1
		})

		// A code of the site is sold, and one that is good everywhere.
		_, codes, err := w.hub.Generate(w.Context(), operator, hub.Generate{N: 1, Forfait: f.Plan.ID, Reseller: w.resellerID, Site: site.ID})
		w.ok(err)
		device := zonegate.MAC{2, 0, 0, 0, 0, 1}
		waitFor(w.T, "the code to be good", func() bool {
			_, err := g.Redeem(w.Context(), zonegate.Redemption{Code: codes[0], Device: device})
			return err == nil
		})
		_, codes, err = w.hub.Generate(w.Context(), operator, hub.Generate{N: 1, Forfait: f.Plan.ID, Reseller: w.resellerID})
		w.ok(err)
		w.ok(c.Claim(w.Context(), codes[0], zonegate.MAC{2, 0, 0, 0, 0, 2}, ""))
		month := w.now().In(time.FixedZone("", 3600)).Format("2006-01")
		waitFor(w.T, "the sales to be in the accounts", func() bool {
			sums, err := w.hub.Summary(w.Context(), operator, w.resellerID, month)
			w.ok(err)
			return len(sums) == 1 && sums[0].Sales == 2 && sums[0].Total == 1200
		})
		// It is taken off and knows it.
		members, err := w.hub.Fleet(w.Context(), operator, hub.FleetQuery{})
		w.ok(err)
		for _, m := range members {
			if m.Site == site.ID {
				if m.Status.Seen.IsZero() || len(m.Alarms) > 0 {
					w.Errorf("the fleet has it as %+v", m)
				}
				w.ok(w.hub.RevokeGateway(w.Context(), operator, m.ID, "sold"))
			}
		}
		waitFor(w.T, "the gateway to know that it is off", func() bool {
			link, ok := g.Hub()
			return ok && link.Revoked
		})
	})
}

// startGateway runs a gateway but for its data path.
func startGateway(w *world, at central.Endpoint) (*zonegate.Gate, *central.Central) {
	w.Helper()
	dir := w.TempDir()
	st, err := gatewaystore.Open(gatewaystore.Options{Dir: dir, StateDir: dir})
	w.ok(err)
	now, err := clock.New()
	w.ok(err)
	g := zonegate.NewGate(st.State(), st, st, dataPath{}, now, zonegate.Options{})
	c, err := central.New(central.Options{Dir: dir, Endpoint: at, Zone: "zogbo", Name: "Zogbo", Version: "test",
		Gate: g, Clock: now, Settings: knobs{}, Healthy: func() error { return nil }, Logger: testLog(w.T)})
	w.ok(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- g.Run(ctx) }()
	go func() { ended <- c.Run(ctx) }()
	w.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				w.Errorf("the gateway ended with %v", err)
			}
		}
		w.ok(st.Close())
	})
	w.ok(g.Expire(w.Context()))
	return g, c
}
