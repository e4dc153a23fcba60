package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"zonegate/hub"
)

func defineSiteAdd(f *flag.FlagSet) action {
	reseller := f.String("reseller", "", "`id` of the reseller who has the site")
	currency := f.String("currency", "XOF", "`code` of the money that is taken there")
	return func(ctx context.Context, e *env, args []string) error {
		name, err := one(args, "name")
		if err != nil {
			return err
		}
		if *reseller == "" {
			return usagef("give --reseller; zonehub reseller list has their ids")
		}
		return e.with(ctx, func(h *hub.Hub) error {
			s, err := h.CreateSite(ctx, operator, *reseller, name, *currency)
			if err != nil {
				return err
			}
			fmt.Fprintln(e.stdout, s.ID)
			return nil
		})
	}
}

func defineSiteList(f *flag.FlagSet) action {
	reseller := f.String("reseller", "", "`id` of a reseller: his alone")
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		return e.with(ctx, func(h *hub.Hub) error {
			sites, err := h.Sites(ctx, operator, *reseller)
			for _, s := range sites {
				fmt.Fprintf(e.stdout, "%s\t%s\t%s\treseller %s\n", s.ID, s.Name, s.Currency, s.Reseller)
			}
			return err
		})
	}
}

func defineEnrolCode(f *flag.FlagSet) action {
	site := f.String("site", "", "`id` of the site where the gateway stands")
	life := f.Duration("life", 24*time.Hour, "how long the code is good, up to 30 days")
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		if *site == "" {
			return usagef("give --site; zonehub site list has their ids")
		}
		return e.with(ctx, func(h *hub.Hub) error {
			n, err := h.NewEnrolment(ctx, operator, *site, *life)
			if err != nil {
				return err
			}
			fmt.Fprintln(e.stdout, n.Code)
			fmt.Fprintf(e.stderr, "good once, until %s\n", n.Expires.UTC().Format(time.RFC3339))
			return nil
		})
	}
}

func defineGatewayList(f *flag.FlagSet) action {
	reseller := f.String("reseller", "", "`id` of a reseller: his alone")
	troubled := f.Bool("troubled", false, "those alone that have an alarm or were not heard for 5 minutes")
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		return e.with(ctx, func(h *hub.Hub) error {
			q := hub.FleetQuery{Reseller: *reseller, Troubled: *troubled, Max: 500}
			for {
				members, err := h.Fleet(ctx, operator, q)
				if err != nil {
					return err
				}
				for _, m := range members {
					seen := "never heard"
					if !m.Status.Seen.IsZero() {
						seen = "heard " + m.Status.Seen.UTC().Format(time.RFC3339)
					}
					fmt.Fprintf(e.stdout, "%s\t%s\t%s\tversion %s\tpush %d\tunsent %d\n", m.ID, m.SiteName, seen, m.Status.Version, m.Status.Applied, m.Status.Unsent)
					for _, a := range m.Alarms {
						fmt.Fprintf(e.stdout, "\talarm: %s: %s\n", a.Kind, a.Detail)
					}
				}
				if len(members) < q.Max {
					return nil
				}
				q.After = members[len(members)-1].ID
			}
		})
	}
}

func defineRestored(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		return e.with(ctx, func(h *hub.Hub) error {
			head, err := h.Restored(ctx, operator)
			if err == nil {
				fmt.Fprintf(e.stdout, "%d\tpushes go on after this number\n", head)
			}
			return err
		})
	}
}

func defineGatewayRevoke(f *flag.FlagSet) action {
	reason := f.String("reason", "", "`words` that the gateway is told")
	return func(ctx context.Context, e *env, args []string) error {
		id, err := one(args, "gateway id; zonehub gateway list has them")
		if err != nil {
			return err
		}
		return e.with(ctx, func(h *hub.Hub) error { return h.RevokeGateway(ctx, operator, id, *reason) })
	}
}
