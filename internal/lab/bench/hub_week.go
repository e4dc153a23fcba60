package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate"
	"zonegate/hub"
	"zonegate/internal/clock"
	"zonegate/internal/store"
	"zonegate/sync/api"
	"zonegate/sync/central"
)

func runHubWeek(ctx context.Context, b *bench) error {
	for _, kind := range []string{onPostgres, onSQLite} {
		if err := b.hubWeek(ctx, kind, fullHub); err != nil {
			return err
		}
	}
	return nil
}

// A shiftedClock is behind the machine's by a time that shrinks: a week passes
// while a measurement fills the outbox.
type shiftedClock struct {
	*clock.Clock
	behind atomic.Int64
}

const week = 7 * 24 * time.Hour

func (c *shiftedClock) Now() zonegate.Instant {
	now, behind := c.Clock.Now(), time.Duration(c.behind.Load())
	now.Wall = now.Wall.Add(-behind)
	now.Mono += week - behind
	now.Trusted = true
	return now
}

func (c *shiftedClock) Trust(time.Time) {}

// noSettings takes every setting.
type noSettings struct{}

func (noSettings) Set(string, string) error { return nil }

// openPath is a data path for a zone without packets.
type openPath struct{}

func (openPath) Apply(context.Context, []zonegate.Order) error { return nil }

func (openPath) Change(context.Context, []zonegate.Order, []zonegate.SessionID) error { return nil }

func (openPath) Usage(context.Context) ([]zonegate.Usage, error) { return nil, nil }

// hubWeek has a real gateway without its data path sell for a week while its
// hub is dead, and measures how long it takes to tell all of it.
func (b *bench) hubWeek(ctx context.Context, kind string, o hubScale) error {
	return b.withHub(ctx, kind, func(w *hubWorld) (err error) {
		if err := w.serve(ctx); err != nil {
			return err
		}
		r, err := w.CreateReseller(ctx, w.operator, "Kofi", hub.Limits{Vouchers: 1e9, Sites: 1, Gateways: 1})
		if err != nil {
			return err
		}
		site, err := w.CreateSite(ctx, w.operator, r.ID, "Gbegamey", "XOF")
		if err != nil {
			return err
		}
		code, err := w.NewEnrolment(ctx, w.operator, site.ID, time.Hour)
		if err != nil {
			return err
		}
		base, err := clock.New()
		if err != nil {
			return err
		}
		c := &shiftedClock{Clock: base}
		c.behind.Store(int64(week))
		dir := filepath.Join(w.dir, "gateway")
		s, err := store.Open(store.Options{Dir: dir, StateDir: dir})
		if err != nil {
			return fmt.Errorf("opening the gateway's store: %w", err)
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		gate := zonegate.NewGate(s.State(), s, s, openPath{}, c, zonegate.Options{RefusalTime: -1})
		run, stop := context.WithCancel(context.WithoutCancel(ctx))
		var tasks errgroup.Group
		tasks.Go(func() error { return gate.Run(run) })
		defer func() {
			stop()
			err = errors.Join(err, tasks.Wait())
		}()
		link, err := central.New(central.Options{
			Dir: dir, Endpoint: central.Endpoint{URL: w.base(), CA: w.ca(), Proxy: func(*url.URL) (*url.URL, error) { return nil, nil }},
			Zone: "lab", Name: "Lab", Version: "bench", Gate: gate, Clock: c, Settings: noSettings{}, Healthy: func() error { return nil },
		})
		if err != nil {
			return err
		}
		if err := link.Join(ctx, code.Code); err != nil {
			return err
		}
		if err := w.stop(syscall.SIGKILL); err != nil {
			return err
		}
		entries, err := sellForAWeek(ctx, gate, c, o.sales)
		if err != nil {
			return fmt.Errorf("selling: %w", err)
		}
		last, unsent, oldest := gate.OutboxStatus()
		b.say("  %d entries wait, the oldest since %s", unsent, oldest.Format(time.DateTime))

		if err := w.serve(ctx); err != nil {
			return err
		}
		begun := time.Now()
		tasks.Go(func() error { return link.Run(run) })
		limit, cancel := context.WithTimeout(ctx, 10*time.Minute)
		defer cancel()
		for st := link.Status(); st.Unsent > 0; st = link.Status() {
			if err := wait(limit, 5*time.Millisecond); err != nil {
				return fmt.Errorf("%d entries are not told: %w: %s %s", st.Unsent, err, st.LastError, w.said())
			}
		}
		took := time.Since(begun)
		wrong, err := w.compare(ctx, site, r, entries)
		if err != nil {
			return err
		}
		b.add(fmt.Sprintf("%d entries of a week, from the first contact to a hub on %s until all is told", unsent, kind), "at most 60 s",
			fmt.Sprintf("%.1f s (%.0f/s)", took.Seconds(), float64(last)/took.Seconds()), took <= time.Minute)
		b.add("the same: sales that are missing there, twice there, or not in their order", "none", wrong, wrong == "none")
		return nil
	})
}

// sellForAWeek redeems vouchers of the zone's own, two entries each, and
// returns what the outbox has of sales.
func sellForAWeek(ctx context.Context, gate *zonegate.Gate, c *shiftedClock, sales int) (sold []zonegate.Entry, err error) {
	plan := zonegate.Plan{ID: "month", Name: "A month", Price: zonegate.Money{Amount: 500, Currency: "XOF"}, Duration: 30 * 24 * time.Hour, DevicesMax: 1}
	if err := gate.SetPlans(ctx, []zonegate.Plan{plan}, false); err != nil {
		return nil, err
	}
	codes, err := gate.CreateVouchers(ctx, zonegate.Batch{Name: "week", Plan: plan.ID}, sales)
	if err != nil {
		return nil, err
	}
	var g errgroup.Group
	g.SetLimit(128)
	for i, code := range codes {
		c.behind.Store(int64(week) - int64(week)/int64(sales)*int64(i))
		g.Go(func() error {
			_, err := gate.Redeem(ctx, zonegate.Redemption{Code: code, Device: customerMAC(i)})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	c.behind.Store(0)
	for after := uint64(0); ; {
		page, err := gate.Outbox(after, api.MaxEntries)
		if err != nil || len(page) == 0 {
			return sold, err
		}
		for _, e := range page {
			if e.Kind == zonegate.EntrySale {
				sold = append(sold, e)
			}
		}
		after = page[len(page)-1].N
	}
}

// compare says how the sales that the hub has differ from the gateway's.
func (w *hubWorld) compare(ctx context.Context, site hub.Site, r hub.Reseller, want []zonegate.Entry) (string, error) {
	got := map[uint64]int{}
	var there int64
	total, sum, err := w.sold(ctx, map[string]bool{r.ID: true})
	if err != nil {
		return "", err
	}
	for _, e := range want {
		there += e.Price.Amount
	}
	now := time.Now().In(time.FixedZone("UTC+1", 3600))
	unordered := 0
	for _, month := range []string{now.AddDate(0, 0, -now.Day()).Format("2006-01"), now.Format("2006-01")} {
		var last time.Time
		for after := 0; ; {
			page, err := w.Sales(ctx, w.operator, hub.SaleQuery{Reseller: r.ID, Month: month, After: after, Max: 1000})
			if err != nil {
				return "", err
			}
			if len(page) == 0 {
				break
			}
			for _, s := range page {
				if s.Site == site.ID {
					got[s.Entry]++
				}
				if s.At.Before(last) {
					unordered++
				}
				last = s.At
			}
			after += len(page)
		}
	}
	missing, twice := 0, 0
	for _, e := range want {
		switch n := got[e.N]; {
		case n == 0:
			missing++
		case n > 1:
			twice++
		}
	}
	if missing+twice+unordered == 0 && total == int64(len(want)) && sum == there {
		return "none", nil
	}
	return fmt.Sprintf("%d missing, %d twice, %d out of order; %d sales of %d FCFA for %d of %d", missing, twice, unordered, total, sum, len(want), there), nil
}
