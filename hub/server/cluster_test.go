package server

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate/hub"
	"zonegate/internal/lab/postgres"
	"zonegate/sync/api"
)

// TestProcessesShareOneDatabase: a push that one process makes reaches the
// streams of the other, whichever takes the answers.
func TestProcessesShareOneDatabase(t *testing.T) {
	w := newWorld(t, newPostgres(t), nil)
	o := w.another()
	boxes := []*box{w.box}
	for i := range 7 {
		site, err := w.hub.CreateSite(t.Context(), operator, w.resellerID, fmt.Sprintf("site %d", i), "XOF")
		w.ok(err)
		boxes = append(boxes, w.enrol(site, site.Name))
	}
	var streams []*listening
	for i, b := range boxes {
		at := w
		if i%2 == 1 {
			at = o
		}
		streams = append(streams, at.running().listen(t, b.Token, b.Head))
	}
	// The first gateway has what came after it was enrolled.
	streams[0].want(t, 1)
	const rounds = 20
	for n := range uint64(rounds) {
		at := w
		if n%3 == 1 {
			at = o
		}
		p, _, err := at.hub.PushSetting(t.Context(), operator, hub.Setting{Target: hub.Everybody, Body: api.Message{FR: fmt.Sprint(n), EN: "x"}})
		w.ok(err)
		for i, l := range streams {
			l.want(t, p.Seq)
			to := o
			if i%2 == 1 {
				to = w
			}
			to.call(ask{path: api.PathAcks, token: boxes[i].Token, status: 204,
				body: api.Acks{Instance: boxes[i].instance, Acks: []api.Ack{{Seq: p.Seq, Outcome: api.Applied}}}})
		}
		_, applied, err := w.hub.AcksOf(t.Context(), operator, p.Seq, 10)
		w.ok(err)
		if applied != len(boxes) {
			t.Fatalf("push %d: %d of %d have applied it", p.Seq, applied, len(boxes))
		}
	}
	// One process stops: its gateways go on at the other.
	w.stop()
	streams[0].wantEnd(t)
	l := o.running().listen(t, w.box.Token, 5)
	for seq := uint64(6); seq <= rounds+1; seq++ {
		l.want(t, seq)
	}
}

// TestDatabaseKilled: the database dies in the middle of everything and comes
// back. What was acknowledged is there, once, and pushes go on.
func TestDatabaseKilled(t *testing.T) {
	db, err := postgres.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Stop(); err != nil {
			t.Error(err)
		}
	})
	url, err := db.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, url, nil)
	l := w.running().listen(t, w.box.Token, 1)

	// A gateway reports one sale after the other, and repeats what was not
	// acknowledged.
	var acknowledged atomic.Uint64
	var refused atomic.Int64
	done := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error {
		for {
			select {
			case <-done:
				return nil
			default:
			}
			e := w.box.sale(w.forfait)
			for {
				var r api.Reported
				status, err := w.try(api.PathReports, w.box.Token, api.Reports{Instance: w.box.instance, Entries: []api.Entry{e}}, &r)
				if err != nil {
					return err
				}
				if status == http.StatusOK {
					acknowledged.Store(r.Through)
					break
				}
				if status != http.StatusServiceUnavailable {
					return fmt.Errorf("entry %d: status %d", e.N, status)
				}
				refused.Add(1)
			}
		}
	})
	waitFor(t, "some sales", func() bool { return acknowledged.Load() >= 20 })
	w.ok(db.Kill())
	waitFor(t, "a refusal", func() bool { return refused.Load() > 0 })
	// What needs no database goes on; the rest says that it does not.
	w.call(ask{path: "!/healthz", status: 200})
	w.call(ask{path: "!/readyz", status: 503, code: api.CodeUnavailable})
	w.call(ask{path: api.PathForfaits, status: 503, code: api.CodeUnavailable})
	at := acknowledged.Load()
	w.ok(db.Resume())
	waitFor(t, "sales to go on", func() bool { return acknowledged.Load() >= at+20 })
	close(done)
	w.ok(g.Wait())

	month := w.now().In(time.FixedZone("", 3600)).Format("2006-01")
	sales := uint64(0)
	for {
		page, err := w.hub.Sales(t.Context(), operator, hub.SaleQuery{Month: month, After: int(sales), Max: 100})
		w.ok(err)
		for _, s := range page {
			if s.Entry == 0 || s.Entry > w.box.n {
				t.Errorf("a sale with entry %d", s.Entry)
			}
		}
		sales += uint64(len(page))
		if len(page) < 100 {
			break
		}
	}
	if sales != acknowledged.Load() || sales != w.box.n {
		t.Errorf("%d sales are kept, %d were acknowledged, %d were made", sales, acknowledged.Load(), w.box.n)
	}
	// The stream has outlived it.
	p, _, err := w.hub.PushSetting(t.Context(), operator, hub.Setting{Target: hub.Everybody, Body: api.Message{FR: "a", EN: "b"}})
	w.ok(err)
	l.want(t, p.Seq)
}

// try is call for what may be refused.
func (w *world) try(path, token string, body, into any) (int, error) {
	return post(w.client, w.url+Base+path, token, body, into)
}

// TestManyAtOnce: reports and answers of many gateways at the same moment, on
// both databases, all durable and none twice.
func TestManyAtOnce(t *testing.T) {
	onEach(t, nil, func(w *world) {
		const gateways, rounds = 30, 10
		boxes := make([]*box, gateways)
		for i := range boxes {
			site, err := w.hub.CreateSite(w.Context(), operator, w.resellerID, fmt.Sprintf("site %02d", i), "XOF")
			w.ok(err)
			boxes[i] = w.enrol(site, site.Name)
		}
		p, _, err := w.hub.PushSetting(w.Context(), operator, hub.Setting{Target: hub.Everybody, Body: api.Message{FR: "a", EN: "b"}})
		w.ok(err)
		var g errgroup.Group
		for _, b := range boxes {
			g.Go(func() error {
				for range rounds {
					e := api.Reports{Instance: b.instance, Entries: []api.Entry{b.sale(w.forfait), b.sale(w.forfait)}}
					for range 2 { // and once more, as after a lost answer
						var r api.Reported
						if status, err := w.try(api.PathReports, b.Token, e, &r); err != nil || status != 200 || r.Through != b.n {
							return fmt.Errorf("status %d, through %d of %d: %w", status, r.Through, b.n, err)
						}
					}
				}
				status, err := w.try(api.PathAcks, b.Token, api.Acks{Instance: b.instance, Acks: []api.Ack{{Seq: p.Seq, Outcome: api.Applied}}}, nil)
				if err != nil || status != 204 {
					return fmt.Errorf("acks: status %d: %w", status, err)
				}
				return nil
			})
		}
		w.ok(g.Wait())
		_, applied, err := w.hub.AcksOf(w.Context(), operator, p.Seq, 10)
		w.ok(err)
		if applied != gateways {
			w.Errorf("%d have applied the push, want %d", applied, gateways)
		}
		month := w.now().In(time.FixedZone("", 3600)).Format("2006-01")
		sums, err := w.hub.Summary(w.Context(), operator, w.resellerID, month)
		w.ok(err)
		if len(sums) != 1 || sums[0].Sales != 2*gateways*rounds {
			w.Errorf("summary %+v, want %d sales", sums, 2*gateways*rounds)
		}
	})
}
