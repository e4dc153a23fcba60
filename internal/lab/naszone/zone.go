package naszone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate"
	"zonegate/internal/clock"
	"zonegate/internal/disk"
	"zonegate/internal/store"
	"zonegate/radius"
	"zonegate/radius/coa"
	"zonegate/radius/nas"
)

// Options say what a zone is like.
type Options struct {
	// Dir is the data directory.
	Dir string
	// FS is what Dir is on. Nil means the operating system's.
	FS disk.FS
	// NAS is the one entry of the book; a missing name, prefix and vendor are
	// filled in: every loopback address, a MikroTik.
	NAS nas.NAS
	// Plan is what is sold; one without an ID means DayPlan.
	Plan   zonegate.Plan
	Logger *slog.Logger
}

// DayPlan is sold where a test does not say: a day, a gigabyte, 256 kbit/s
// committed and 2 Mbit/s at most.
var DayPlan = zonegate.Plan{
	ID: "day", Name: "day", Price: zonegate.Money{Amount: 100, Currency: "XOF"},
	Duration: 24 * time.Hour, DataCap: 1e9, DevicesMax: 1,
	Rate: zonegate.Rate{CIRUp: 256e3, CIRDown: 256e3, MIRUp: 2e6, MIRDown: 2e6},
}

// A Zone is made by Open and works while Run does.
type Zone struct {
	Gate   *zonegate.Gate
	Store  *store.Store
	Book   *nas.Book
	Orders *coa.Client
	// Auth and Acct are where the RADIUS server listens, once Sell or
	// Listening has returned.
	Auth, Acct netip.AddrPort

	plan      zonegate.Plan
	server    *radius.Server
	listening chan struct{}
	ended     chan struct{}
}

// Open opens the data directory. The caller must Close what it
// returns, after Run.
func Open(o Options) (_ *Zone, err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Plan.ID == "" {
		o.Plan = DayPlan
	}
	z := &Zone{plan: o.Plan, listening: make(chan struct{}), ended: make(chan struct{})}
	if z.Store, err = store.Open(store.Options{Dir: o.Dir, FS: o.FS, StateDir: o.Dir, Logger: o.Logger}); err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, z.Close())
		}
	}()
	if z.Book, err = nas.Open(o.Dir); err != nil {
		return nil, fmt.Errorf("opening the book: %w", err)
	}
	entry := o.NAS
	if entry.Name == "" {
		entry.Name = "lab"
	}
	if !entry.Prefix.IsValid() {
		entry.Prefix = netip.MustParsePrefix("127.0.0.0/8")
	}
	if entry.Vendor == "" {
		entry.Vendor = nas.MikroTik
	}
	if _, known := z.Book.ByName(entry.Name); !known {
		if err := z.Book.Add(entry, false); err != nil {
			return nil, fmt.Errorf("adding the NAS: %w", err)
		}
	}
	c, err := clock.New()
	if err != nil {
		return nil, err
	}
	z.Gate = zonegate.NewGate(z.Store.State(), z.Store, z.Store, noPath{}, c, zonegate.Options{Logger: o.Logger})
	z.Orders = coa.New(coa.Options{Book: z.Book, Gate: z.Gate, Logger: o.Logger})
	z.Gate.DispatchTo(z.Orders)
	anyPort := []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)}
	z.server = &radius.Server{
		Gate: z.Gate, Book: z.Book, Tickets: radius.NewTickets(c), Witness: z.Orders, Auth: anyPort, Acct: anyPort, Logger: o.Logger,
		Listening: func(auth, acct []netip.AddrPort) {
			z.Auth, z.Acct = auth[0], acct[0]
			close(z.listening)
		},
	}
	return z, nil
}

// Run works until the context is done or a part fails.
func (z *Zone) Run(ctx context.Context) error {
	defer close(z.ended)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return z.Gate.Run(ctx) })
	g.Go(func() error { return z.Orders.Run(ctx) })
	g.Go(func() error {
		if err := z.Gate.SetPlans(ctx, []zonegate.Plan{z.plan}, false); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("setting the plan: %w", err)
		}
		return z.server.Run(ctx)
	})
	return g.Wait()
}

// ErrEnded is returned where Run has ended before the zone was ready.
var ErrEnded = errors.New("the zone has ended")

// Listening waits until the zone is at work.
func (z *Zone) Listening(ctx context.Context) error {
	select {
	case <-z.listening:
		return nil
	case <-z.ended:
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Sell makes vouchers of the plan.
func (z *Zone) Sell(ctx context.Context, n int) ([]string, error) {
	if err := z.Listening(ctx); err != nil {
		return nil, err
	}
	codes, err := z.Gate.CreateVouchers(ctx, zonegate.Batch{Name: "lab", Plan: z.plan.ID}, n)
	if err != nil {
		return nil, fmt.Errorf("making vouchers: %w", err)
	}
	return codes, nil
}

// Close releases the data directory.
func (z *Zone) Close() error { return z.Store.Close() }

// noPath is the gateway's own data path where there is none.
type noPath struct{}

func (noPath) Apply(context.Context, []zonegate.Order) error { return nil }

func (noPath) Change(context.Context, []zonegate.Order, []zonegate.SessionID) error { return nil }

func (noPath) Usage(context.Context) ([]zonegate.Usage, error) { return nil, nil }
