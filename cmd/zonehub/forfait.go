package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"zonegate"
	"zonegate/hub"
)

// forfaitSettings are the flags of forfait set.
type forfaitSettings struct {
	id, reseller, currency string
	price, hours           int64
	duration               time.Duration
	dataMB, cir, mir       uint64
	devices                int
	online, trial          bool
	running, staged        bool
}

func defineForfaitSet(f *flag.FlagSet) action {
	var s forfaitSettings
	f.StringVar(&s.id, "id", "", "`id` of a forfait that gets a new version; what is not given stays")
	f.StringVar(&s.reseller, "reseller", "", "`id` of the reseller who alone sells it; none is all")
	f.Int64Var(&s.price, "price", 0, "price in minor units; francs CFA have none, so whole francs")
	f.StringVar(&s.currency, "currency", "XOF", "`code` of the money")
	f.Int64Var(&s.hours, "hours", 0, "paid time in hours")
	f.DurationVar(&s.duration, "duration", 0, "paid time that is no number of hours, as 30m")
	f.Uint64Var(&s.dataMB, "data-mb", 0, "data cap, up and down together; 0 is none")
	f.Uint64Var(&s.cir, "cir-kbps", 0, "committed rate of each direction")
	f.Uint64Var(&s.mir, "mir-kbps", 0, "maximum rate of each direction; 0 is none")
	f.IntVar(&s.devices, "devices", 1, "devices at the same time")
	f.BoolVar(&s.online, "online", false, "only time online counts")
	f.BoolVar(&s.trial, "trial", false, "it may cost nothing")
	f.BoolVar(&s.running, "running", false, "what was sold before goes over to it too")
	f.BoolVar(&s.staged, "staged", false, "let it out step by step: 1 gateway, 10 %, all")
	return func(ctx context.Context, e *env, args []string) error {
		given := map[string]bool{}
		f.Visit(func(x *flag.Flag) { given[x.Name] = true })
		if s.id == "" || len(args) > 0 {
			if _, err := one(args, "name"); err != nil {
				return err
			}
		}
		return e.with(ctx, func(h *hub.Hub) error {
			c := hub.ForfaitChange{Reseller: s.reseller, Running: s.running}
			if s.id != "" {
				versions, err := h.ForfaitVersions(ctx, operator, s.id)
				if err != nil {
					return err
				}
				if len(versions) == 0 {
					return fmt.Errorf("forfait %s: %w", s.id, hub.ErrNotFound)
				}
				c.Plan, c.Reseller = versions[0].Plan, versions[0].Reseller
			}
			c.Plan = s.planOf(c.Plan, given)
			if len(args) > 0 {
				c.Plan.Name = args[0]
			}
			if s.staged {
				c.Staged = &hub.Staging{}
			}
			set, rollout, err := h.SetForfait(ctx, operator, c)
			if err != nil {
				return err
			}
			fmt.Fprintf(e.stdout, "%s\tversion %d\tpush %d\n", set.Plan.ID, set.Plan.Version, set.Seq)
			if rollout.ID != "" {
				fmt.Fprintf(e.stdout, "rollout %s\n", rollout.ID)
			}
			return nil
		})
	}
}

// planOf makes a plan of what forfait set was given, or changes one.
func (s forfaitSettings) planOf(p zonegate.Plan, given map[string]bool) zonegate.Plan {
	is := func(name string) bool { return given[name] || p.ID == "" }
	if is("price") {
		p.Price.Amount = s.price
	}
	if is("currency") {
		p.Price.Currency = s.currency
	}
	if is("hours") || is("duration") {
		p.Duration = time.Duration(s.hours) * time.Hour
		if s.duration > 0 {
			p.Duration = s.duration
		}
	}
	if is("data-mb") {
		p.DataCap = s.dataMB * 1_000_000
	}
	if is("cir-kbps") {
		p.Rate.CIRDown, p.Rate.CIRUp = s.cir*1000, s.cir*1000
	}
	if is("mir-kbps") {
		p.Rate.MIRDown, p.Rate.MIRUp = s.mir*1000, s.mir*1000
	}
	if is("devices") {
		p.DevicesMax = s.devices
	}
	if is("online") {
		p.Time = zonegate.Calendar
		if s.online {
			p.Time = zonegate.Online
		}
	}
	if is("trial") {
		p.Trial = s.trial
	}
	return p
}

func defineForfaitList(f *flag.FlagSet) action {
	reseller := f.String("reseller", "", "`id` of a reseller: with what he alone sells")
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		return e.with(ctx, func(h *hub.Hub) error {
			forfaits, err := h.Forfaits(ctx, *reseller)
			for _, x := range forfaits {
				printForfait(e, x.Plan)
			}
			return err
		})
	}
}

func printForfait(e *env, p zonegate.Plan) {
	fmt.Fprintf(e.stdout, "%s\tversion %d\t%s\t%d %s\t%s\t%d MB\t%d/%d kbit/s\n", p.ID, p.Version, p.Name, p.Price.Amount, p.Price.Currency,
		p.Duration, p.DataCap/1_000_000, p.Rate.CIRDown/1000, p.Rate.MIRDown/1000)
}

func defineForfaitWithdraw(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		id, err := one(args, "forfait id; zonehub forfait list has them")
		if err != nil {
			return err
		}
		return e.with(ctx, func(h *hub.Hub) error {
			x, err := h.WithdrawForfait(ctx, operator, id)
			if err != nil {
				return err
			}
			fmt.Fprintf(e.stdout, "%s\tversion %d\tpush %d\n", x.Plan.ID, x.Plan.Version, x.Seq)
			return nil
		})
	}
}

func defineVoucherCreate(f *flag.FlagSet) action {
	var q hub.Generate
	f.StringVar(&q.Forfait, "forfait", "", "`id` of what they are worth")
	f.StringVar(&q.Reseller, "reseller", "", "`id` of the reseller who sells them")
	f.StringVar(&q.Site, "site", "", "`id` of the site where they are good; none is the reseller's only one, or all of his")
	f.IntVar(&q.N, "count", 0, "how many, up to 10,000")
	f.StringVar(&q.Batch, "batch", "", "`name` of the batch")
	expires := f.Duration("expires", 0, "how long they may be used first, as 720h; 0 is for ever")
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		if *expires > 0 {
			q.Expires = time.Now().Add(*expires)
		}
		return e.with(ctx, func(h *hub.Hub) error {
			batch, codes, err := h.Generate(ctx, operator, q)
			if err != nil {
				return err
			}
			for _, code := range codes {
				fmt.Fprintln(e.stdout, code)
			}
			fmt.Fprintf(e.stderr, "batch %s: the codes are not shown again\n", batch.ID)
			return nil
		})
	}
}
