package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/sandbox"
	"zonegate/sync/api"
)

// A rateScale is how many payments there are, from how many gateways.
type rateScale struct{ gateways, each int }

// customerDelay is how long customers take to confirm.
const customerDelay = time.Second

var fullRate = rateScale{gateways: 400, each: 20}

func runMoneyRate(ctx context.Context, b *bench) error {
	return b.moneyRate(ctx, onPostgres, fullRate)
}

// moneyRate has gateways begin payments as fast as a hub process takes them, at
// a simulated provider in a process of its own, which calls back at once. It
// counts what arrives at the gateways: grants that were pushed to them.
func (b *bench) moneyRate(ctx context.Context, kind string, o rateScale) error {
	files, err := raiseFiles(2 * o.gateways)
	if err != nil {
		return err
	}
	return b.withHub(ctx, kind, func(w *hubWorld) (err error) {
		stop, err := w.provide(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
		w.currency = payCurrency
		f, _, err := w.SetForfait(ctx, w.operator, hub.ForfaitChange{Plan: zonegate.Plan{Name: "Jour", Price: zonegate.Money{Amount: 250000, Currency: payCurrency},
			Duration: 24 * time.Hour, DevicesMax: 1}})
		if err != nil {
			return err
		}
		members, err := w.enrol(ctx, o.gateways)
		if err != nil {
			return err
		}
		if err := w.analyze(ctx); err != nil {
			return err
		}
		if err := w.serve(ctx); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				b.say("  last lines of the hub's log:\n%s", w.said())
			}
		}()
		fleet, err := openFleet(ctx, w.addr, members, files)
		if err != nil {
			return err
		}
		defer fleet.close()
		cpu, err := cpuTime(w.pid())
		if err != nil {
			return err
		}
		database, err := w.databaseCPU()
		if err != nil {
			return err
		}
		begun := time.Now()
		if err := fleet.payAll(ctx, f.Plan, o.each, begun); err != nil {
			return err
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
		n := o.gateways * o.each
		arrived := fleet.arrived()
		b.say("  of %d payments half had arrived after %s, 90 %% after %s, 99 %% after %s, the last after %s", len(arrived),
			ms(percentile(arrived, 50)), ms(percentile(arrived, 90)), ms(percentile(arrived, 99)), ms(percentile(arrived, 100)))
		rate := float64(n) / took.Seconds()
		b.add(fmt.Sprintf("payments through a hub process with %s: begun by %d gateways, asked for, called back, looked up, booked, pushed and acknowledged", kind, o.gateways), "at least 500/s",
			fmt.Sprintf("%.0f/s (CPU for each: %.0f us of the process, %.0f us of the database)", rate,
				float64((cpuAfter-cpu).Microseconds())/float64(n), float64((databaseAfter-database).Microseconds())/float64(n)), rate >= 500)
		return w.booked(ctx, b, n)
	})
}

// booked holds the day's accounts against what was paid.
func (w *hubWorld) booked(ctx context.Context, b *bench, n int) error {
	begun := time.Now()
	r, err := w.Reconcile(ctx, w.operator, time.Now().In(time.FixedZone("UTC+1", 3600)).Format(time.DateOnly))
	if err != nil {
		return err
	}
	var got hub.MoneyLine
	for _, l := range r.Lines {
		if l.Provider == "flexpay" && l.Currency == payCurrency {
			got = l
		}
	}
	b.add("the same: payments, grants and findings of the day's reconciliation", fmt.Sprintf("%d, %[1]d and 0", n),
		fmt.Sprintf("%d, %d and %d, after %s", got.Payments, got.Grants, len(r.Findings), ms(time.Since(begun))), got.Payments == int64(n) && got.Grants == int64(n) && len(r.Findings) == 0 && got.Paid == int64(n)*250000)
	return nil
}

// provide starts simulated providers, and has the hub collect there.
func (w *hubWorld) provide(ctx context.Context) (stop func() error, err error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	at := free.Addr().String()
	free.Close()
	token, file := filepath.Join(w.dir, "flexpay.token"), filepath.Join(w.dir, "money.toml")
	o := sandbox.Defaults().FlexPay
	base := "https://" + at + sandbox.FlexPayBase
	err = errors.Join(os.WriteFile(token, []byte(o.Token), 0o600), os.WriteFile(file, fmt.Appendf(nil,
		"[provider.flexpay]\nkind = \"flexpay\"\ntest = true\nmerchant = %q\ncurrencies = [%q]\npay_url = %q\ncheck_url = %q\ntoken_file = %q\nca_file = %q\n",
		o.Merchant, payCurrency, base, base, token, w.ca()), 0o600))
	if err != nil {
		return nil, fmt.Errorf("writing the money file: %w", err)
	}
	w.more = []string{"--money", file, "--public-url", "https://" + w.addr, "--log-level", "warn"}
	cmd := exec.Command(w.program, "sandbox", "--listen", at, "--tls-cert", w.ca(), "--tls-key", filepath.Join(w.dir, "key.pem"), "--callback-ca", w.ca(), "--delay", customerDelay.String())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the providers: %w", err)
	}
	stop = func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		return cmd.Wait()
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		conn, err := net.Dial("tcp", at)
		if err == nil {
			return stop, conn.Close()
		}
		if werr := wait(ctx, 10*time.Millisecond); werr != nil || time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("starting the providers: %w", err), stop())
		}
	}
}

// payAll has every gateway begin that many payments, one after another, and
// waits until each has been pushed and acknowledged.
func (f *fleet) payAll(ctx context.Context, plan zonegate.Plan, each int, begun time.Time) error {
	f.mu.Lock()
	f.begun = begun
	f.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range f.gateways {
		g.Go(func() error {
			for j := range each {
				n := i*each + j
				var draw [32]byte
				_, _ = rand.Read(draw[:]) // it cannot fail
				in := api.Intent{IntentID: hex.EncodeToString(draw[:16]), Plan: plan.ID, PlanVersion: plan.Version, Provider: "MOBILE_MONEY_CD",
					// The last four digits of a number can mean something: these do not.
					Phone: fmt.Sprintf("2438%04d1%03d", n/1000, n%1000), Device: fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", byte(n>>24), byte(n>>16), byte(n>>8), byte(n)),
					Claim: hex.EncodeToString(draw[16:])}
				var p api.Payment
				if status, err := s.call(api.PathIntents, in, &p); err != nil {
					return fmt.Errorf("beginning payment %d: status %d, %w", n, status, err)
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		limit, cancel := context.WithTimeout(ctx, 3*time.Minute)
		defer cancel()
		for i := range len(f.gateways) * each {
			select {
			case <-f.heard:
			case <-f.broken:
				return f.failure()
			case <-limit.Done():
				return fmt.Errorf("%d grants of %d have arrived: %w", i, len(f.gateways)*each, limit.Err())
			}
		}
		return nil
	})
	return g.Wait()
}

// arrived is when the pushes were acknowledged.
func (f *fleet) arrived() (all []time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, took := range f.took {
		all = append(all, took...)
	}
	return all
}
