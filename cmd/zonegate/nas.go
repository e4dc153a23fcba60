package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"zonegate/internal/config"
	"zonegate/internal/control"
	"zonegate/portal"
)

// words collects a flag that may be given several times.
type words []string

func (w *words) String() string { return strings.Join(*w, ", ") }

func (w *words) Set(s string) error {
	*w = append(*w, s)
	return nil
}

func defineNASAdd(f *flag.FlagSet) action {
	var in control.AddNAS
	f.StringVar(&in.Address, "address", "", "`address` that it sends from, or a prefix for many of one make")
	f.StringVar(&in.Vendor, "vendor", "generic", "`make`: mikrotik, coovachilli, uspot, pfsense, hostapd, unifi, generic")
	secret := f.String("secret-file", "", "`file` with the secret, or -; without it one is drawn and printed")
	uam := f.String("uam-secret-file", "", "`file` with the uamsecret of coovachilli or uspot")
	f.Var((*words)(&in.Logins), "login", "its own login page, a `host[:port]`, for customers it sends here; repeatable")
	f.StringVar(&in.RequireMA, "require-message-auth", "auto", "`when` packets must be signed: auto (once seen), yes, no")
	port := f.Uint("coa-port", 0, "`port` where it takes CoA and Disconnect (default: as its make)")
	f.BoolVar(&in.NoCoA, "no-coa", false, "never send it CoA or Disconnect")
	interim := f.Duration("interim", 0, "`period` of its reports, at least 1m (else that of the file)")
	f.BoolVar(&in.Strict, "strict", false, "write its interim reports down before they are answered")
	f.BoolVar(&in.Force, "force", false, "take a secret that can be guessed")
	return func(ctx context.Context, e *env, args []string) error {
		var err error
		if in.Name, err = one(args, "NAME for the NAS"); err != nil {
			return err
		}
		switch {
		case in.Address == "":
			return usagef("nas add needs --address, such as --address 192.168.88.1")
		case *port > 65535:
			return usagef("--coa-port must be at most 65535")
		case *secret == "-" && *uam == "-":
			return usagef("only one of the two secrets can come from the standard input")
		}
		in.CoAPort, in.Interim = uint16(*port), int64(*interim/time.Second)
		if in.Secret, err = e.readSecret(*secret); err != nil {
			return err
		}
		if in.UAMSecret, err = e.readSecret(*uam); err != nil {
			return err
		}
		return e.with(ctx, func(c *control.Client) error {
			added, err := c.AddNAS(ctx, in)
			if err != nil || e.json {
				return e.printed(added, err)
			}
			fmt.Fprintf(e.stdout, "%s (%s) may ask from %s\n", added.NAS.Name, added.NAS.Vendor, added.NAS.Address)
			if added.Secret != "" {
				fmt.Fprintf(e.stdout, "secret: %s\nIt is shown only now: put it into the NAS.\n", added.Secret)
			}
			fmt.Fprintf(e.stdout, "Then: zonegate nas test %s\n", added.NAS.Name)
			return nil
		})
	}
}

// maxSecretFile bounds a file that should hold one line.
const maxSecretFile = 4096

// readSecret reads the first line of a file. A secret is no argument, because
// arguments are for everybody on the machine to see.
func (e *env) readSecret(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	in := e.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", fmt.Errorf("opening the secret: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxSecretFile))
	if err != nil {
		return "", fmt.Errorf("reading the secret: %w", err)
	}
	return onlyLine(text)
}

// onlyLine returns the one line of a file with a secret.
func onlyLine(text []byte) (string, error) {
	line, rest, _ := strings.Cut(string(text), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" || strings.TrimSpace(rest) != "" {
		return "", errors.New("the secret must be the one line of its file")
	}
	return line, nil
}

func defineNASList(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		return e.with(ctx, func(c *control.Client) error {
			list, err := c.NASes(ctx)
			if err != nil || e.json {
				return e.printed(list, err)
			}
			w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tADDRESS\tMAKE\tSIGNED\tCOA\tREPORTS\tSESSIONS\tSEEN\tPACKETS")
			for _, n := range list.NASes {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, n.Address, n.Vendor, signed(n), coaPort(n),
					time.Duration(n.Interim)*time.Second, sessionsOf(n), timeOrDash(n.Seen), counts(n.Packets))
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if list.Problem != "" {
				fmt.Fprintf(e.stdout, "\nNOT ANSWERED: %s\n", list.Problem)
			}
			if len(list.Packets) > 0 {
				fmt.Fprintf(e.stdout, "\nall packets since the start: %s\n", counts(list.Packets))
			}
			return nil
		})
	}
}

func signed(n control.NAS) string {
	if n.RequireMA == "auto" && n.Signed {
		return "auto: yes"
	}
	return n.RequireMA
}

func sessionsOf(n control.NAS) string {
	if n.Unconfirmed > 0 {
		return fmt.Sprintf("%d (%d unconfirmed)", n.Sessions, n.Unconfirmed)
	}
	return fmt.Sprint(n.Sessions)
}

func coaPort(n control.NAS) string {
	if n.CoAPort == 0 {
		return "-"
	}
	return fmt.Sprint(n.CoAPort)
}

// counts lists counters that are not zero, by name.
func counts(of map[string]uint64) string {
	var list []string
	for name, n := range of {
		if n > 0 {
			list = append(list, fmt.Sprintf("%s %d", name, n))
		}
	}
	if len(list) == 0 {
		return "-"
	}
	sort.Strings(list)
	return strings.Join(list, ", ")
}

func defineNASRemove(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		name, err := one(args, "NAME of a NAS (nas list shows it)")
		if err != nil {
			return err
		}
		return e.with(ctx, func(c *control.Client) error {
			gone, err := c.RemoveNAS(ctx, name)
			if err != nil || e.json {
				return e.printed(gone, err)
			}
			fmt.Fprintf(e.stdout, "%s is no longer answered; %d sessions ended here\n", gone.Name, gone.Sessions)
			if gone.Sessions > 0 {
				fmt.Fprintln(e.stdout, "What the NAS itself still lets pass is not counted any more: restart its hotspot.")
			}
			return nil
		})
	}
}

func defineNASTest(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		name, err := one(args, "NAME of a NAS (nas list shows it)")
		if err != nil {
			return err
		}
		c, err := e.daemon(ctx)
		if err != nil {
			return err
		}
		r, err := c.TestNAS(ctx, name)
		if err != nil {
			return err
		}
		if e.json {
			err = e.print(r)
		} else {
			err = e.showNASReport(r)
		}
		if err == nil && !r.OK {
			return errSaid
		}
		return err
	}
}

var nasSigns = map[string]string{"info": "ok", "warning": "WARN", "error": "FAIL"}

func (e *env) showNASReport(r control.NASReport) error {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%-4s  %s: %s\n", nasSigns[f.Severity], f.Subject, f.Detail)
		if f.Fix != "" {
			fmt.Fprintf(&b, "      -> %s\n", f.Fix)
		}
	}
	_, err := io.WriteString(e.stdout, b.String())
	return err
}

func defineNASLoginPage(f *flag.FlagSet) action {
	sessions := f.String("sessions", "", "`who` owns the sessions: radius or api; otherwise the configuration says it")
	return func(_ context.Context, e *env, args []string) error {
		switch {
		case len(args) > 1:
			return usagef("give one URL of the portal, or none")
		case *sessions != "" && *sessions != "radius" && *sessions != "api":
			return usagef("--sessions must be radius or api")
		}
		cfg, err := e.load()
		if err != nil {
			return err
		}
		url := ""
		if len(args) == 1 {
			url = args[0]
		} else if url = portalURL(cfg, nasAddresses(cfg)); url == "" {
			return errors.New("which address customers reach this machine at is not known here; give it, such as http://192.168.88.2:2050")
		}
		if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") || strings.ContainsAny(url, " \t\r\n\"'<>&$") {
			return usagef("%q is no URL of the portal, such as http://192.168.88.2:2050", url)
		}
		page := portal.MikroTikLogin(url)
		if *sessions == "api" || *sessions == "" && cfg.MikroTik.Drives {
			page = portal.MikroTikLead(url)
		}
		if e.json {
			return e.print(struct {
				Portal string `json:"portal"`
				Page   string `json:"login_html"`
			}{url, page})
		}
		_, err = io.WriteString(e.stdout, page)
		return err
	}
}

// portalURL is where customers of NASes find the portal: the first name that
// they have for it, or the first address; empty when there is none.
func portalURL(cfg *config.Config, addrs []netip.Addr) string {
	if len(cfg.Portal.NASNames) > 0 {
		return "http://" + cfg.Portal.NASNames[0]
	}
	for _, a := range addrs {
		if a.IsGlobalUnicast() {
			return "http://" + netip.AddrPortFrom(a, cfg.Portal.Port).String()
		}
	}
	return ""
}
