package bench

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"zonegate/internal/lab"
)

// Numbers of senders that are not of the crowd.
const (
	strangerID = 1 << 20
	endingID   = 1<<20 + 1
)

// strangers makes phone2 try everything that a stranger can: UDP over both
// families, and new TCP connections, whose success it counts.
func strangers(ctx context.Context, t *load, l *lab.Lab, through *atomic.Int64) error {
	for _, f := range []family{ip4, ip6} {
		if err := t.knocks(ctx, l, "phone2", nil, f, strangerID, 2*time.Millisecond); err != nil {
			return err
		}
		t.again(ctx, func(ctx context.Context) error {
			ask, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			defer cancel()
			conn, err := l.Dial(ask, "phone2", "tcp", f.addr("443"))
			if err != nil {
				return err
			}
			through.Add(1)
			return conn.Close()
		})
	}
	return nil
}

// A flow is one long transfer. It counts as cut when it fails or ends.
type flow struct {
	name string
	cut  atomic.Bool
	got  atomic.Uint64
}

// hold keeps one connection busy in one direction.
func (t *load) hold(ctx context.Context, l *lab.Lab, host string, f family, down bool) (*flow, error) {
	conn, err := dial(ctx, l, host, "tcp", f.addr("80"))
	if err != nil {
		return nil, err
	}
	fl := &flow{name: fmt.Sprintf("%s %s", f, word(down))}
	context.AfterFunc(ctx, func() { conn.Close() })
	t.wg.Go(func() {
		buf := make([]byte, 16<<10)
		if down {
			fmt.Fprintf(conn, "GET /bytes?n=%d HTTP/1.0\r\n\r\n", endless)
		} else {
			fmt.Fprintf(conn, "POST /upload HTTP/1.0\r\nContent-Length: %d\r\n\r\n", endless)
		}
		for ctx.Err() == nil {
			var n int
			var err error
			if down {
				n, err = conn.Read(buf)
			} else {
				n, err = conn.Write(buf)
			}
			fl.got.Add(uint64(n))
			if err != nil {
				break
			}
		}
		if ctx.Err() == nil {
			fl.cut.Store(true)
		}
		conn.Close()
	})
	return fl, nil
}

// runKill kills the daemon under traffic, watches what the kernel goes on
// doing alone, and starts the daemon again.
func runKill(ctx context.Context, b *bench) error {
	const active = 1000
	short := lab.Plan{ID: "short", Name: "short", PriceFCFA: 25, Duration: "1m", MIRKbps: 2000, DevicesMax: 1}
	opts := lab.Options{Phones: 3, Crowd: active, Plans: []lab.Plan{ratedPlan, short}, LinkDown: "1G", LinkUp: "1G"}
	return b.withLab(ctx, opts, func(l *lab.Lab) error {
		if err := crowdIn(ctx, l, ratedPlan.ID, 0, active); err != nil {
			return err
		}
		if err := buy(ctx, l, "phone1", ratedPlan.ID); err != nil {
			return err
		}
		m, err := newMeter(l, "phone1", "phone2", "phone3")
		if err != nil {
			return err
		}
		w, err := newWitness(l)
		if err != nil {
			return err
		}
		defer w.close()
		t, loadCtx := newLoad(ctx)
		defer t.stop()
		var flows []*flow
		for _, f := range []family{ip4, ip6} {
			for _, down := range []bool{true, false} {
				fl, err := t.hold(loadCtx, l, "phone1", f, down)
				if err != nil {
					return err
				}
				flows = append(flows, fl)
			}
		}
		var through atomic.Int64
		if err := strangers(loadCtx, t, l, &through); err != nil {
			return err
		}
		paid := time.Now()
		if err := buy(ctx, l, "phone3", short.ID); err != nil {
			return err
		}
		if err := t.knocks(loadCtx, l, "phone3", nil, ip6, endingID, 20*time.Millisecond); err != nil {
			return err
		}
		if err := wait(ctx, 5*time.Second); err != nil {
			return err
		}
		if err := l.KillGateway(); err != nil {
			return err
		}
		b.say("  killed; waiting for a paid minute to end without the daemon")
		if err := wait(ctx, time.Until(paid.Add(66*time.Second))); err != nil {
			return err
		}
		ended := w.last(endingID).Sub(paid)
		b.add("paid minute ends while the daemon is dead", "after 60 s, within 2 s",
			fmt.Sprintf("after %.1f s", ended.Seconds()), ended > 58*time.Second && ended < 62*time.Second)
		alone := make([]uint64, len(flows))
		for i, fl := range flows {
			alone[i] = fl.got.Load()
		}
		start := time.Now()
		if err := l.StartGateway(ctx); err != nil {
			return err
		}
		adopted, err := waitActive(ctx, l, active+1, start)
		if err != nil {
			return err
		}
		b.add(fmt.Sprintf("start to %d sessions adopted", active+1), "at most 1 s", ms(adopted), adopted <= time.Second)
		if err := wait(ctx, 5*time.Second); err != nil {
			return err
		}
		cut := 0
		for i, fl := range flows {
			switch {
			case fl.cut.Load():
				b.say("  flow %s was cut", fl.name)
				cut++
			case fl.got.Load() == alone[i]:
				b.say("  flow %s stands still", fl.name)
				cut++
			}
		}
		b.add("established flows over kill -9 and restart", "0 cut", fmt.Sprintf("%d of %d cut", cut, len(flows)), cut == 0)
		leaks := w.count(strangerID) + int(through.Load())
		b.add("packets and connections of a stranger meanwhile", "0", fmt.Sprint(leaks), leaks == 0)
		t.stop()
		wire, err := quiet(ctx, m, "phone1", tally{}, time.Minute)
		if err != nil {
			return err
		}
		return b.kept(ctx, l, "phone1", "kill -9 and restart", wire)
	})
}

// runFlush deletes every nft table at the gateway under traffic.
func runFlush(ctx context.Context, b *bench) error {
	const active = 1000
	opts := lab.Options{Phones: 2, Crowd: active, Plans: []lab.Plan{ratedPlan}, LinkDown: "1G", LinkUp: "1G"}
	return b.withLab(ctx, opts, func(l *lab.Lab) error {
		if err := crowdIn(ctx, l, ratedPlan.ID, 0, active); err != nil {
			return err
		}
		if err := buy(ctx, l, "phone1", ratedPlan.ID); err != nil {
			return err
		}
		m, err := newMeter(l, "phone1")
		if err != nil {
			return err
		}
		w, err := newWitness(l)
		if err != nil {
			return err
		}
		defer w.close()
		// phone1 has used something that must not be forgotten.
		first, firstCtx := newLoad(ctx)
		first.tcpDown(firstCtx, l, "phone1", ip6, 2)
		err = wait(ctx, 10*time.Second)
		first.stop()
		if err != nil {
			return err
		}
		wire, err := quiet(ctx, m, "phone1", tally{}, time.Minute)
		if err != nil {
			return err
		}
		t, loadCtx := newLoad(ctx)
		defer t.stop()
		var through atomic.Int64
		if err := strangers(loadCtx, t, l, &through); err != nil {
			return err
		}
		for i := range active {
			if err := t.knocks(loadCtx, l, "crowd", lab.Member(i).IPv4.AsSlice(), ip4, uint32(i), 50*time.Millisecond); err != nil {
				return err
			}
		}
		if err := wait(ctx, 2*time.Second); err != nil {
			return err
		}
		for i := range active {
			if w.count(uint32(i)) == 0 {
				return fmt.Errorf("customer %d is not through before the flush", i)
			}
		}
		flushed := time.Now()
		kept, err := deleteTables(l)
		if err != nil {
			return err
		}
		if err := b.customersBack(ctx, w, active, flushed, time.Now(), "all tables deleted"+kept); err != nil {
			return err
		}
		if err := l.RestoreNAT(); err != nil {
			return err
		}
		leaks := func(when string) {
			n := w.count(strangerID) + int(through.Load())
			b.add(when+": packets and connections of a stranger", "0", fmt.Sprint(n), n == 0)
		}
		leaks("all tables deleted" + kept)
		if err := b.kept(ctx, l, "phone1", "all tables deleted"+kept, wire); err != nil {
			return err
		}
		// Where the kernel guards the table of a living process, that of a dead
		// one has no guard.
		if err := l.KillGateway(); err != nil {
			return err
		}
		if kept, err = deleteTables(l); err != nil {
			return err
		}
		if kept != "" {
			return fmt.Errorf("tables of a dead daemon remain: %s", kept)
		}
		if err := l.RestoreNAT(); err != nil {
			return err
		}
		if err := wait(ctx, 3*time.Second); err != nil {
			return err
		}
		started := time.Now()
		if err := l.StartGateway(ctx); err != nil {
			return err
		}
		if err := b.customersBack(ctx, w, active, started, started, "tables deleted while the daemon was dead, from its start"); err != nil {
			return err
		}
		leaks("tables deleted while the daemon was dead")
		return nil
	})
}

// kept reports whether the daemon charges a phone all that the wire carried.
func (b *bench) kept(ctx context.Context, l *lab.Lab, phone, when string, wire tally) error {
	used, err := charged(ctx, l, phone)
	if err != nil {
		return err
	}
	off := (float64(used)/float64(wire.bytes) - 1) * 100
	b.add(when+": consumption of a customer", "kept, within 1 %",
		fmt.Sprintf("%+.2f %% (%d charged, %d delivered)", off, used, wire.bytes), off > -1 && off < 1)
	return nil
}

// customersBack reports how long after start the last of n customers had its
// first packet through that came after since.
func (b *bench) customersBack(ctx context.Context, w *witness, n int, start, since time.Time, when string) error {
	if err := wait(ctx, 5*time.Second); err != nil {
		return err
	}
	var back time.Duration
	missing := 0
	for i := range n {
		at, ok := w.firstSince(uint32(i), since)
		if !ok {
			missing++
			continue
		}
		back = max(back, at.Sub(start))
	}
	measured := ms(back)
	if missing > 0 {
		measured = fmt.Sprintf("%d did not come back in 5 s", missing)
	}
	b.add(fmt.Sprintf("%s: %d customers back", when, n), "at most 1 s", measured, missing == 0 && back <= time.Second)
	return nil
}

// deleteTables deletes every nft table of the gateway that the kernel lets
// somebody else delete, and says which it kept.
func deleteTables(l *lab.Lab) (kept string, err error) {
	tables, err := l.Command("gateway", "nft", "list", "tables").Output()
	if err != nil {
		return "", fmt.Errorf("listing tables: %w", err)
	}
	for line := range strings.Lines(string(tables)) {
		words := strings.Fields(line) // table inet zonegate
		out, err := l.Command("gateway", "nft", append([]string{"delete"}, words...)...).CombinedOutput()
		switch {
		case err == nil:
		case strings.Contains(string(out), "Operation not permitted"):
			kept += " (the kernel keeps " + strings.Join(words[1:], " ") + ")"
		default:
			return "", fmt.Errorf("deleting %s: %w: %s", strings.Join(words, " "), err, out)
		}
	}
	return kept, nil
}
