package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"zonegate/internal/control"
)

func defineSessionList(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		c, err := e.daemon(ctx)
		if err != nil {
			return err
		}
		list, err := c.Sessions(ctx)
		if err != nil || e.json {
			return e.printed(list, err)
		}
		w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SESSION\tDEVICE\tNAS\tGRANT\tPLAN\tDOWN MB\tUP MB\tLEFT MB\tTIME LEFT")
		for _, s := range list.Sessions {
			left := "-"
			if s.Balance.OctetsLeft != nil {
				left = megabytes(*s.Balance.OctetsLeft)
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", s.ID, s.Device, where(s), s.Balance.ID, s.Balance.Plan,
				megabytes(s.Down), megabytes(s.Up), left, time.Duration(s.Balance.SecondsLeft)*time.Second)
		}
		return w.Flush()
	}
}

// where says at which NAS a session is, and what is not certain about it.
func where(s control.Session) string {
	switch {
	case s.Reserved:
		return s.Path + " (reserved)"
	case s.Unconfirmed:
		return s.Path + " (unconfirmed)"
	}
	return orDash(s.Path)
}

func megabytes(octets uint64) string { return fmt.Sprintf("%.2f", float64(octets)/1e6) }

func defineSessionKick(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		which, err := one(args, "session ID or MAC")
		if err != nil {
			return err
		}
		id, numErr := strconv.ParseUint(which, 10, 32)
		mac, macErr := net.ParseMAC(which)
		if numErr != nil && macErr != nil {
			return usagef("%q is neither the number of a session nor a MAC", which)
		}
		c, err := e.daemon(ctx)
		if err != nil {
			return err
		}
		if numErr == nil {
			d, err := c.Kick(ctx, uint32(id))
			return e.did(d, err, "the session is offline")
		}
		list, err := c.Sessions(ctx)
		if err != nil {
			return err
		}
		var d control.Done
		for _, s := range list.Sessions {
			if s.Device != strings.ToLower(mac.String()) {
				continue
			}
			if d, err = c.Kick(ctx, s.ID); err != nil {
				return err
			}
		}
		if !d.OK {
			return &control.Error{Code: control.CodeNotFound, Message: "the device has no session"}
		}
		return e.did(d, nil, "the device is offline")
	}
}

func defineGrantTopUp(f *flag.FlagSet) action {
	mb := f.Uint64("mb", 0, "`megabytes` to add, of the size that the plans use")
	period := f.Duration("time", 0, "`time` to add, such as 2h or 30m")
	return func(ctx context.Context, e *env, args []string) error {
		text, err := one(args, "grant ID (session list shows it)")
		if err != nil {
			return err
		}
		id, err := grantID(text)
		if err != nil {
			return err
		}
		const most = 1_000_000_000 // a petabyte
		if *mb == 0 && *period == 0 || *period < 0 || *mb > most {
			return usagef("grant topup needs --mb N, --time PERIOD or both, and takes nothing away")
		}
		cfg, err := e.load()
		if err != nil {
			return err
		}
		c, err := e.daemon(ctx)
		if err != nil {
			return err
		}
		d, err := c.TopUp(ctx, control.TopUpGrant{
			Grant: id, Octets: *mb * cfg.Limits.Megabyte, Seconds: int64(*period / time.Second),
		})
		return e.did(d, err, "added")
	}
}

func grantID(text string) (uint64, error) {
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil || id == 0 {
		return 0, usagef("%q is no number of a grant; session list shows it", text)
	}
	return id, nil
}

func defineGrantRevoke(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		text, err := one(args, "grant ID (session list shows it)")
		if err != nil {
			return err
		}
		id, err := grantID(text)
		if err != nil {
			return err
		}
		c, err := e.daemon(ctx)
		if err != nil {
			return err
		}
		d, err := c.RevokeGrant(ctx, id)
		return e.did(d, err, "taken back")
	}
}
