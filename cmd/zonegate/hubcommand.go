package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"zonegate/internal/config"
	"zonegate/internal/control"
)

func defineHubJoin(f *flag.FlagSet) action {
	var in control.JoinHub
	f.StringVar(&in.URL, "url", "", "base `URL` of the hub, to be compared with that of the configuration")
	return func(ctx context.Context, e *env, args []string) error {
		code, err := one(args, "CODE that the hub has shown, or - to read it from the standard input")
		if err != nil {
			return err
		}
		if in.Code, err = e.secretWord(code); err != nil {
			return err
		}
		return e.with(ctx, func(c *control.Client) error {
			h, err := c.JoinHub(ctx, in)
			if err != nil || e.json {
				return e.printed(h, err)
			}
			_, err = fmt.Fprintf(e.stdout, "joined %s as gateway %s of site %s\nWhat is sold comes from there now: zonegate hub status, zonegate plan list\n", h.URL, h.Gateway, h.Site)
			return err
		})
	}
}

// secretWord is an argument, or with "-" the first line of the standard input,
// where nobody else on the machine sees it.
func (e *env) secretWord(arg string) (string, error) {
	if arg != "-" {
		return arg, nil
	}
	line, err := bufio.NewReader(io.LimitReader(e.stdin, 256)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("reading the code: %w", err)
	}
	return strings.TrimSpace(line), nil
}

func defineHubStatus(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		return e.with(ctx, func(c *control.Client) error {
			h, err := c.Hub(ctx)
			if err != nil {
				return err
			}
			if e.json {
				err = e.print(h)
			} else {
				err = e.showHub(h)
			}
			if err == nil && !h.OK {
				return errSaid
			}
			return err
		})
	}
}

func (e *env) showHub(h control.Hub) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", hubLine(h))
	if h.Joined {
		fmt.Fprintf(&b, "gateway %s of site %s\n", h.Gateway, h.Site)
		fmt.Fprintf(&b, "taken: push %d of %d\n", h.Applied, max(h.Head, h.Applied))
		if h.Trial != "" {
			fmt.Fprintf(&b, "on trial: %s; it is taken back if the hub cannot be reached with it\n", h.Trial)
		}
	}
	for _, f := range h.Findings {
		fmt.Fprintf(&b, "%-4s  %s: %s\n", nasSigns[f.Severity], f.Subject, f.Detail)
		if f.Fix != "" {
			fmt.Fprintf(&b, "      -> %s\n", f.Fix)
		}
	}
	_, err := io.WriteString(e.stdout, b.String())
	return err
}

// hubLine says in a line how the relation with the central server is.
func hubLine(h control.Hub) string {
	parts := []string{h.URL}
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch {
	case h.Mode == config.HubRGZ && h.ReadSeconds != nil:
		add("catalogue read %s ago", time.Duration(*h.ReadSeconds)*time.Second)
	case h.Mode == config.HubRGZ:
		add("CATALOGUE NOT READ since the start")
	case h.Mode == "":
		add("JOINED, BUT NOT IN THE CONFIGURATION")
	case !h.Joined:
		add("not joined")
	case h.Revoked:
		add("REVOKED: nothing of the hub's is sold; what was bought goes on")
	case h.Denied:
		add("REFUSED: join again with a new code")
	case h.Connected && h.Polling:
		add("connected for %s, asking once a minute", time.Duration(h.ConnectedSeconds)*time.Second)
	case h.Connected:
		add("connected for %s", time.Duration(h.ConnectedSeconds)*time.Second)
	default:
		add("AWAY")
	}
	if h.Problem != "" {
		add("last error: %s", h.Problem)
	}
	if h.Joined {
		text := fmt.Sprintf("%d entries unsent", h.Unsent)
		if h.Oldest != nil {
			text += " since " + h.Oldest.Format(time.DateTime)
		}
		add("%s", text)
	}
	return strings.Join(parts, "; ")
}

func defineHubLeave(f *flag.FlagSet) action {
	var in control.LeaveHub
	f.BoolVar(&in.Force, "force", false, "drop what the hub has not been told")
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		return e.with(ctx, func(c *control.Client) error {
			h, err := c.LeaveHub(ctx, in)
			if err != nil || e.json {
				return e.printed(h, err)
			}
			_, err = fmt.Fprintln(e.stdout, "left the hub: its plans and codes rest until the zone joins it again. What was bought stays.")
			return err
		})
	}
}
