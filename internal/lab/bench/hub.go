package bench

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate/hub"
	"zonegate/internal/lab"
	"zonegate/sync/api"
)

// A hubScale is how large the rows of the hub are.
type hubScale struct {
	gateways int
	// beat is how often each gateway sends a heartbeat, and idle how long
	// nothing else happens.
	beat, idle time.Duration
	changes    int
	// senders each report batches of size entries.
	senders, batches, size int
	// sales are made in a week without the hub.
	sales int
}

var fullHub = hubScale{gateways: 10_000, beat: api.HeartbeatEvery, idle: 75 * time.Second, changes: 3,
	senders: 8, batches: 30, size: api.MaxEntries, sales: 10_000}

func runHubStreams(ctx context.Context, b *bench) error {
	scale := fullHub
	if b.opts.Gateways > 0 {
		scale.gateways = b.opts.Gateways
	}
	return b.hubStreams(ctx, onPostgres, scale)
}

func runHubReports(ctx context.Context, b *bench) error {
	for _, kind := range []string{onPostgres, onSQLite} {
		if err := b.hubReports(ctx, kind, fullHub); err != nil {
			return err
		}
	}
	return nil
}

// hubStreams opens all streams of a fleet, lets them rest, and changes a
// forfait.
func (b *bench) hubStreams(ctx context.Context, kind string, o hubScale) error {
	files, err := raiseFiles(o.gateways)
	if err != nil {
		return err
	}
	return b.withHub(ctx, kind, func(w *hubWorld) (err error) {
		begun := time.Now()
		members, err := w.enrol(ctx, o.gateways)
		if err != nil {
			return err
		}
		if err := w.analyze(ctx); err != nil {
			return err
		}
		b.say("  %d gateways are let in after %s", o.gateways, time.Since(begun).Round(time.Millisecond))
		if err := w.serve(ctx); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				b.say("  last lines of the hub's log:\n%s", w.said())
			}
		}()
		before, _, err := memory(w.pid())
		if err != nil {
			return err
		}
		begun = time.Now()
		f, err := openFleet(ctx, w.addr, members, files)
		if err != nil {
			return err
		}
		defer f.close()
		opened := time.Since(begun)
		b.say("  %d streams are open after %s", o.gateways, opened.Round(time.Millisecond))

		dials, comments, cpu, database, now := f.opened.Load(), f.comments.Load(), time.Duration(0), time.Duration(0), time.Now()
		if cpu, err = cpuTime(w.pid()); err != nil {
			return err
		}
		if database, err = w.databaseCPU(); err != nil {
			return err
		}
		beats, err := f.idle(ctx, o.beat, o.idle)
		if err != nil {
			return err
		}
		took := time.Since(now)
		cpuAfter, err := cpuTime(w.pid())
		if err != nil {
			return err
		}
		databaseAfter, err := w.databaseCPU()
		if err != nil {
			return err
		}
		dials, comments = f.opened.Load()-dials, f.comments.Load()-comments
		rss, peak, err := memory(w.pid())
		if err != nil {
			return err
		}
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.pid()))
		if err != nil {
			return fmt.Errorf("counting the hub's open files: %w", err)
		}
		what := fmt.Sprintf("%d gateways on one process with %s, stream and connection for calls over TLS", o.gateways, kind)
		each := float64(rss-min(rss, before)) / float64(o.gateways)
		b.add(what+": resident memory for each", "at most 50 KB",
			fmt.Sprintf("%.1f KB (%d files open; %.0f MB in all, peak %.0f MB; opened in %.1f s)", each/1e3, len(open), float64(rss)/1e6, float64(peak)/1e6, opened.Seconds()), each <= 50e3)
		load := 100 * (cpuAfter - cpu).Seconds() / took.Seconds()
		b.add(fmt.Sprintf("CPU of the process, a heartbeat to and a comment from each every %s", o.beat), "at most 60 % of one core",
			fmt.Sprintf("%.1f %% (%.0f heartbeats/s, %.0f comments/s, %.0f new connections/s with %d open files; the database %.1f %%)", load,
				float64(beats)/took.Seconds(), float64(comments)/took.Seconds(), float64(dials)/took.Seconds(), files, 100*(databaseAfter-database).Seconds()/took.Seconds()), load <= 60)
		// All of them must have beaten, and been spoken to, as often as that.
		rounds := max(0, took.Seconds()/o.beat.Seconds()-1)
		spoken := max(0, took.Seconds()/api.HeartbeatEvery.Seconds()-1)
		b.add("streams that ended meanwhile, and missed heartbeats and comments", "none",
			fmt.Sprintf("%d, %.0f and %.0f", f.dropped.Load(), max(0, rounds*float64(o.gateways)-float64(beats)), max(0, spoken*float64(o.gateways)-float64(comments))),
			f.dropped.Load() == 0 && float64(beats) >= rounds*float64(o.gateways) && float64(comments) >= spoken*float64(o.gateways))

		if cpu, err = cpuTime(w.pid()); err != nil {
			return err
		}
		if database, err = w.databaseCPU(); err != nil {
			return err
		}
		var all []time.Duration
		for i := range o.changes {
			took, err := f.reached(ctx, func() (uint64, error) {
				plan := w.forfait.Plan
				plan.Price.Amount = int64(600 + i)
				set, _, err := w.SetForfait(ctx, w.operator, hub.ForfaitChange{Plan: plan, Running: true})
				return set.Seq, err
			})
			if err != nil {
				return err
			}
			b.say("  a change reached all: p50 %s, p99 %s", ms(percentile(took, 50)), ms(percentile(took, 99)))
			all = append(all, took...)
		}
		if n := f.dropped.Load(); n > 0 {
			return fmt.Errorf("%d streams ended: %w", n, f.failure())
		}
		if cpuAfter, err = cpuTime(w.pid()); err != nil {
			return err
		}
		if databaseAfter, err = w.databaseCPU(); err != nil {
			return err
		}
		p99, n := percentile(all, 99), float64(len(all))
		b.add(fmt.Sprintf("a change of a forfait, acknowledged by %d, %d times: p99", o.gateways, o.changes), "at most 10 s",
			fmt.Sprintf("%.2f s (p50 %.2f s, last %.2f s; %d sent again; CPU for each: %.0f us of the process, %.0f us of the database)", p99.Seconds(), percentile(all, 50).Seconds(),
				percentile(all, 100).Seconds(), f.repeated.Load(), float64((cpuAfter-cpu).Microseconds())/n, float64((databaseAfter-database).Microseconds())/n), p99 <= 10*time.Second)
		return nil
	})
}

// analyze has PostgreSQL's planner learn what is in its tables, which it does
// by itself within a minute.
func (w *hubWorld) analyze(ctx context.Context) error {
	if w.database == nil {
		return nil
	}
	return w.database.Analyze(ctx, w.url)
}

// databaseCPU is what the database's processes have used; none with SQLite.
func (w *hubWorld) databaseCPU() (time.Duration, error) {
	if w.database == nil {
		return 0, nil
	}
	return w.database.CPU()
}

// hubReports has some gateways tell as many sales as they can, each batch
// durable before its answer, and one of them twice.
func (b *bench) hubReports(ctx context.Context, kind string, o hubScale) error {
	wanted := map[string]float64{onPostgres: 5000, onSQLite: 3000}[kind]
	return b.withHub(ctx, kind, func(w *hubWorld) error {
		members, err := w.enrol(ctx, o.senders)
		if err != nil {
			return err
		}
		resellers := map[string]bool{}
		for _, m := range members {
			resellers[m.reseller] = true
		}
		var g errgroup.Group
		for _, m := range members {
			g.Go(func() error { return w.knows(ctx, m, o.batches*o.size) })
		}
		if err := g.Wait(); err != nil {
			return fmt.Errorf("making vouchers: %w", err)
		}
		if err := w.analyze(ctx); err != nil {
			return err
		}
		if err := w.serve(ctx); err != nil {
			return err
		}
		cpu, err := cpuTime(w.pid())
		if err != nil {
			return err
		}
		database, err := w.databaseCPU()
		if err != nil {
			return err
		}
		size := w.fileSize()
		begun := time.Now()
		for _, m := range members {
			g.Go(func() error { return w.report(ctx, m, o) })
		}
		if err := g.Wait(); err != nil {
			return fmt.Errorf("reporting: %w: %s", err, w.said())
		}
		took := time.Since(begun)
		cpuAfter, err := cpuTime(w.pid())
		if err != nil {
			return err
		}
		databaseAfter, err := w.databaseCPU()
		if err != nil {
			return err
		}
		// What was sent again counts once.
		want := int64(o.senders * o.batches * o.size)
		sales, total, err := w.sold(ctx, resellers)
		if err != nil {
			return err
		}
		rate := float64(want) / took.Seconds()
		grown := ""
		if kind == onSQLite {
			grown = fmt.Sprintf("; %.0f octets in the file", float64(w.fileSize()-size)/float64(want))
		}
		b.add(fmt.Sprintf("sales of the hub's vouchers taken on %s, durable, batches of %d from %d gateways, over TLS", kind, o.size, o.senders),
			fmt.Sprintf("at least %.0f/s", wanted), fmt.Sprintf("%.0f/s (CPU for each: %.0f us of the process, %.0f us of the database%s)", rate,
				float64((cpuAfter-cpu).Microseconds())/float64(want), float64((databaseAfter-database).Microseconds())/float64(want), grown), rate >= wanted)
		b.add("the same: sales in the accounts, where each gateway sent its first batch twice", fmt.Sprint(want), fmt.Sprintf("%d, of %d FCFA", sales, total),
			sales == want && total == 500*want)
		return nil
	})
}

// fileSize is how large SQLite's file is; what is in its log only is not in
// it.
func (w *hubWorld) fileSize() int64 {
	info, err := os.Stat(w.url)
	if err != nil {
		return 0
	}
	return info.Size()
}

// sale is the n-th of a gateway.
func (m member) sale(forfait hub.Forfait, n uint64, at time.Time) api.Entry {
	sum := sha256.Sum256(fmt.Append(nil, m.GatewayID, n))
	return api.Entry{N: n, At: &at, Kind: api.EntrySale, Grant: n, Source: "voucher", HubCode: true, Batch: m.batch(),
		Ref: hex.EncodeToString(sum[:16]), Plan: forfait.Plan.ID, PlanVersion: forfait.Plan.Version, Device: hex.EncodeToString(sum[16:24]),
		Price: &api.Money{Amount: forfait.Plan.Price.Amount, Currency: forfait.Plan.Price.Currency}}
}

func (m member) batch() string { return "b-" + m.GatewayID }

// knows makes the vouchers of a gateway's sales.
func (w *hubWorld) knows(ctx context.Context, m member, n int) error {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = m.sale(w.forfait, uint64(i+1), time.Time{}).Ref
	}
	return w.store.Write(ctx, func(tx hub.Tx) error {
		if err := tx.AddBatch(hub.Batch{ID: m.batch(), Reseller: m.reseller, Site: m.SiteID, Forfait: w.forfait.Plan.ID, Version: w.forfait.Plan.Version, Total: n}); err != nil {
			return err
		}
		return tx.AddVouchers(m.batch(), keys)
	})
}

// report sends all sales of a gateway, the first batch twice.
func (w *hubWorld) report(ctx context.Context, m member, o hubScale) error {
	s := &gatewaySim{member: m, addr: w.addr, opened: new(atomic.Int64), slots: newSlots(1)}
	defer s.hangUp()
	n := uint64(0)
	for i := range o.batches {
		r := api.Reports{Instance: m.instance, Entries: make([]api.Entry, o.size)}
		for j := range r.Entries {
			n++
			r.Entries[j] = m.sale(w.forfait, n, time.Now().UTC())
		}
		for times := 0; times < 1 || i == 0 && times < 2; times++ {
			var answer api.Reported
			if _, err := s.call(api.PathReports, r, &answer); err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if answer.Through != n {
				return fmt.Errorf("entries to %d were sent, and %d acknowledged", n, answer.Through)
			}
		}
	}
	return nil
}

// runHubIdle counts everything that passes the uplink of a real zone that has
// joined a real hub and has no customers.
func runHubIdle(ctx context.Context, b *bench) error { return b.hubIdle(ctx, time.Minute, 4) }

func (b *bench) hubIdle(ctx context.Context, settle time.Duration, minutes int) error {
	return b.withLab(ctx, lab.Options{Central: lab.CentralHub, Phones: 1}, func(l *lab.Lab) error {
		for {
			out, err := l.Zonegate(ctx, "hub", "status", "--json")
			if err == nil && strings.Contains(strings.ReplaceAll(string(out), " ", ""), `"connected":true`) {
				break
			}
			if err := wait(ctx, 200*time.Millisecond); err != nil {
				return errors.Join(err, fmt.Errorf("the gateway has not reached the hub: %s", out))
			}
		}
		if err := wait(ctx, settle); err != nil {
			return err
		}
		before, err := uplink(l)
		if err != nil {
			return err
		}
		begun, last, most := time.Now(), before, uint64(0)
		for range minutes {
			if err := wait(ctx, time.Minute); err != nil {
				return err
			}
			now, err := uplink(l)
			if err != nil {
				return err
			}
			most, last = max(most, now.minus(last).bytes), now
		}
		all := last.minus(before)
		each := float64(all.bytes) / time.Since(begun).Minutes()
		b.add(fmt.Sprintf("all that passes the uplink of a zone without customers, IP octets a minute, mean of %d", minutes), "at most 5000",
			fmt.Sprintf("%.0f (%d packets in all; most in a minute %d)", each, all.packets, most), each <= 5000)
		return nil
	})
}

// uplink is what has passed between gateway and internet, in both directions.
func uplink(l *lab.Lab) (t tally, err error) {
	err = l.Do("internet", func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		t, err = linkCounters(link.Name)
		return err
	})
	return t, err
}

// linkCounters reads the counters of a link of this network namespace. See
// proc_net(5), /proc/net/dev: octets have the Ethernet headers.
func linkCounters(name string) (t tally, err error) {
	data, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return t, fmt.Errorf("reading link counters: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		own, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || own != name {
			continue
		}
		var v [16]uint64
		for i, f := range strings.Fields(rest) {
			if i < len(v) {
				fmt.Sscan(f, &v[i])
			}
		}
		t.packets = v[1] + v[9]
		t.bytes = v[0] + v[8] - 14*t.packets
		return t, nil
	}
	return t, fmt.Errorf("reading link counters: no link %s", name)
}
