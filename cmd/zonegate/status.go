package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"text/tabwriter"
	"time"

	"zonegate/internal/control"
)

func defineStatus(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		cfg, err := e.load()
		if err != nil {
			return err
		}
		s := control.Status{Version: version, Zone: cfg.Zone.ID}
		switch c, err := control.Dial(ctx, cfg.ControlSocket); {
		case err == nil:
			if s, err = c.Status(ctx); err != nil {
				return err
			}
		case !errors.Is(err, control.ErrNoDaemon):
			return err
		}
		if e.json {
			err = e.print(s)
		} else {
			e.showStatus(s)
		}
		if err == nil && !s.OK {
			return errSaid
		}
		return err
	}
}

func (e *env) showStatus(s control.Status) {
	if !s.Running {
		fmt.Fprintf(e.stdout, "zone %s: the daemon is not running\n", s.Zone)
		return
	}
	fmt.Fprintf(e.stdout, "zone %s: up %s, version %s\n", s.Zone, time.Duration(s.UpSeconds)*time.Second, s.Version)
	fmt.Fprintf(e.stdout, "online: %d sessions of %d active grants\n", s.Sessions, s.ActiveGrants)
	fmt.Fprintf(e.stdout, "vouchers: %d unused\n", s.Unused)
	clock := "trusted"
	if !s.ClockTrusted {
		clock = "not confirmed since the start; time switched off is not charged"
	}
	fmt.Fprintf(e.stdout, "clock: %s\n", clock)
	if s.NASes > 0 {
		fmt.Fprintf(e.stdout, "NASes: %d; packets: %s\n", s.NASes, counts(s.Packets))
	}
	if m := s.MikroTik; m != nil {
		owner := map[string]string{"api": "sessions over the API", "radius": "sessions over RADIUS, examined only"}[m.Sessions]
		if m.Reachable {
			fmt.Fprintf(e.stdout, "MikroTik: %s at %s, RouterOS %s; %s\n", m.Board, m.Address, m.Version, owner)
		} else {
			fmt.Fprintf(e.stdout, "MIKROTIK AWAY: %s (%s; %s)\n", m.Problem, m.Address, owner)
		}
	}
	if s.Hub != nil {
		fmt.Fprintf(e.stdout, "hub: %s\n", hubLine(*s.Hub))
	}
	if s.Journal != "" {
		fmt.Fprintf(e.stdout, "SALES STOPPED: %s\n", s.Journal)
	}
	if s.DataPath != "" {
		fmt.Fprintf(e.stdout, "ENFORCEMENT BEHIND: %s\n", s.DataPath)
	}
}

func definePlanList(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		return e.with(ctx, func(c *control.Client) error {
			list, err := c.Plans(ctx)
			if err != nil || e.json {
				return e.printed(list, err)
			}
			w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tNAME\tPRICE\tTIME\tDATA\tRATE DOWN/UP (kbit/s)\tDEVICES")
			for _, p := range list.Plans {
				data := "no cap"
				if p.DataCap != 0 {
					data = fmt.Sprintf("%.1f MB", float64(p.DataCap)/1e6)
				}
				fmt.Fprintf(w, "%s\t%s\t%d %s\t%s %s\t%s\t%d-%d/%d-%d\t%d\n", p.ID, p.Name, p.Price, p.Currency,
					time.Duration(p.Seconds)*time.Second, p.Time, data,
					p.CIRDown/1000, p.MIRDown/1000, p.CIRUp/1000, p.MIRUp/1000, p.DevicesMax)
			}
			return w.Flush()
		})
	}
}

// printed prints an answer for a machine unless there is none.
func (e *env) printed(v any, err error) error {
	if err != nil {
		return err
	}
	return e.print(v)
}

// did prints that a change was made.
func (e *env) did(d control.Done, err error, text string) error {
	if err != nil || e.json {
		return e.printed(d, err)
	}
	_, err = fmt.Fprintln(e.stdout, text)
	return err
}

func defineReconcile(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		c, err := e.daemon(ctx)
		if err != nil {
			return err
		}
		d, err := c.Reconcile(ctx)
		return e.did(d, err, "state and data path are being compared")
	}
}
