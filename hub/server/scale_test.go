package server

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate/hub"
	"zonegate/sync/api"
)

// TestForfaitReachesAll: a change of a forfait is committed, pushed, and
// acknowledged by every gateway (200, or HUB_GATEWAYS), each over its own
// stream and connection. It prints how long that took.
func TestForfaitReachesAll(t *testing.T) {
	gateways := 200
	if v := os.Getenv("HUB_GATEWAYS"); v != "" {
		var err error
		if gateways, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	onEach(t, nil, func(w *world) {
		const perReseller = 20 // an enrolment looks at all of its reseller
		boxes := make([]*box, gateways)
		var g errgroup.Group
		g.SetLimit(8)
		for at := 0; at < gateways; at += perReseller {
			g.Go(func() error {
				r, err := w.hub.CreateReseller(w.Context(), operator, fmt.Sprint("reseller ", at), hub.Limits{Sites: perReseller, Gateways: perReseller})
				if err != nil {
					return err
				}
				for i := at; i < min(at+perReseller, gateways); i++ {
					site, err := w.hub.CreateSite(w.Context(), operator, r.ID, fmt.Sprint("site ", i), "XOF")
					if err != nil {
						return err
					}
					code, err := w.hub.NewEnrolment(w.Context(), operator, site.ID, time.Hour)
					if err != nil {
						return err
					}
					b := &box{instance: instanceOf(fmt.Sprint(i))}
					if b.Enrolled, err = w.hub.Enrol(w.Context(), api.Enrol{Code: code.Code, Name: "b", Instance: b.instance}); err != nil {
						return err
					}
					boxes[i] = b
				}
				return nil
			})
		}
		w.ok(g.Wait())

		// Each gateway keeps its connections to itself.
		roots := w.client.Transport.(*http.Transport).TLSClientConfig.RootCAs
		clients := make([]*http.Client, gateways)
		for i := range clients {
			clients[i] = newClient(roots)
			w.Cleanup(clients[i].CloseIdleConnections)
		}
		streams := make([]*listening, gateways)
		for i, b := range boxes {
			g.Go(func() (err error) {
				if streams[i], err = openStream(clients[i], w.url, b.Token, b.Head); err != nil {
					return err
				}
				status, err := post(clients[i], w.url+Base+api.PathHeartbeat, b.Token, b.beat(), nil)
				if err != nil || status != 200 {
					return fmt.Errorf("heartbeat: %d, %w", status, err)
				}
				return nil
			})
		}
		w.ok(g.Wait())
		waitFor(w.T, "all streams", func() bool { return w.server.Streams() == gateways })

		var mu sync.Mutex
		var took []time.Duration
		var all errgroup.Group
		var begun time.Time
		ready := make(chan struct{})
		var f hub.Forfait
		for i, b := range boxes {
			all.Go(func() error {
				defer streams[i].cancel()
				<-ready
				seq, p, err := streams[i].next()
				if err != nil || p.Kind != api.KindPlan {
					return fmt.Errorf("gateway %d got %s %d: %w", i, p.Kind, seq, err)
				}
				status, err := post(clients[i], w.url+Base+api.PathAcks, b.Token,
					api.Acks{Instance: b.instance, Acks: []api.Ack{{Seq: seq, Outcome: api.Applied}}}, nil)
				if err != nil || status != 204 {
					return fmt.Errorf("gateway %d: %d, %w", i, status, err)
				}
				mu.Lock()
				defer mu.Unlock()
				took = append(took, time.Since(begun))
				return nil
			})
		}
		changed := w.forfait.Plan
		changed.Price.Amount = 600
		begun = time.Now()
		f = w.setForfait(hub.ForfaitChange{Plan: changed})
		close(ready)
		w.ok(all.Wait())
		_, applied, err := w.hub.AcksOf(w.Context(), operator, f.Seq, 10)
		w.ok(err)
		if applied != gateways {
			w.Errorf("%d gateways have applied it, want %d", applied, gateways)
		}
		slices.Sort(took)
		w.Logf("a change acknowledged by %d gateways: p50 %s, p99 %s, all within %s", gateways,
			took[gateways/2].Round(time.Millisecond), took[gateways*99/100].Round(time.Millisecond), took[gateways-1].Round(time.Millisecond))
	})
}
