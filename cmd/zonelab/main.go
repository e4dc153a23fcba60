// Command zonelab runs a whole hotspot zone on one machine: phones, a gateway
// with the real daemon, and an internet. Everything it does lives in
// internal/lab; here are only its flags and what it prints.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sort"
	"strings"
	"syscall"

	"zonegate/internal/lab"
	"zonegate/internal/lab/bench"
	"zonegate/internal/lab/hotspot"
)

const usage = `zonelab runs a whole hotspot zone on this machine.

  zonelab up [--phones N] [--nas | --mikrotik] [--no-hub] [--currency CODE] [--detach] [--json] [--name NAME]
                              build the zone; Ctrl-C takes it down
  zonelab exec HOST -- CMD    run a command at phone1, phone2, gateway, internet,
                              nas or router
  zonelab router ORDER        look at the MikroTik of a zone, or have something
                              happen to it (zonelab router --help)
  zonelab status              tell what runs
  zonelab down                take the zone down
  zonelab bench               measure what the gateway promises

Run a command with --help for its flags.

The gateway has joined a real hub on the internet of the zone, and sells its
forfait beside the plans of its configuration. Customers can pay for that with a
test number: simulated KKiaPay, MyPayGa and FlexPay play on the internet. A site
sells in one currency, XOF, XAF or CDF, and so has one of the three.

With --mikrotik there is no hub. A simulated RouterOS stands between phones and
internet then, and the gateway beside it drives it over its API. It lets real
packets through, and ends real volume and time by itself, a tenth of a second
exact. Rates it bounds by dropping, for each device by itself: a committed rate
and the parent of all queues are only numbers there. It is no MikroTik: what no
document says of one is assumed in shaper/mikrotik/simros.
`

func main() {
	lab.RunHelper()
	bench.RunHelper()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	commands := map[string]func([]string, io.Writer, io.Writer) error{
		"up": up, "exec": execute, "down": down, "status": status, "bench": measure, "router": router,
	}
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	if args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		fmt.Fprint(stdout, usage)
		return 0
	}
	command, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "zonelab: no command %q\n\n%s", args[0], usage)
		return 2
	}
	err := command(args[1:], stdout, stderr)
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(stderr, "zonelab:", err)
	return 1
}

// exitCode is the end of a process that already said what was wrong.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit status %d", int(c)) }

func newFlags(name string, stderr io.Writer) (*flag.FlagSet, *string) {
	f := flag.NewFlagSet("zonelab "+name, flag.ContinueOnError)
	f.SetOutput(stderr)
	return f, f.String("name", lab.DefaultName, "name of the lab, and prefix of its network namespaces")
}

// parse refuses arguments that are no flags.
func parse(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); err != nil {
		return asUsage(err)
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return nil
}

// asUsage keeps the flag package's own message as the only one.
func asUsage(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	return exitCode(2)
}

func up(args []string, stdout, stderr io.Writer) error {
	f, name := newFlags("up", stderr)
	opts := lab.Options{Daemon: true}
	f.IntVar(&opts.Phones, "phones", 2, "number of phones")
	f.BoolVar(&opts.NAS, "nas", false, "add a host that asks the gateway over RADIUS, and tell its secret")
	f.BoolVar(&opts.MikroTik, "mikrotik", false, "have a simulated MikroTik between phones and internet, driven over its API")
	f.StringVar(&opts.LinkDown, "link-down", "100M", "the uplink's download rate")
	f.StringVar(&opts.LinkUp, "link-up", "100M", "the uplink's upload rate")
	f.StringVar(&opts.Zonegate, "zonegate", "", "the gateway's program (default: beside zonelab)")
	f.StringVar(&opts.Zonehub, "zonehub", "", "the hub's program (default: beside zonelab)")
	noHub := f.Bool("no-hub", false, "no hub: the gateway sells by itself (always so with --mikrotik and --no-daemon)")
	f.StringVar(&opts.Currency, "currency", "", "what the zone sells in, and with it who takes payments: "+strings.Join(lab.Currencies(), ", ")+" (default "+lab.Currencies()[0]+")")
	f.IntVar(&opts.BrowserPort, "browser-port", 8477, "port on 127.0.0.1 for your browser, or the next free one; 0 for none")
	noDaemon := f.Bool("no-daemon", false, "only the network, no gateway daemon")
	detach := f.Bool("detach", false, "return when the zone is ready and leave it running")
	asJSON := f.Bool("json", false, "describe the zone as one JSON object on one line")
	if err := parse(f, args); err != nil {
		return err
	}
	opts.Name, opts.Daemon = *name, !*noDaemon
	if !*noHub && !*noDaemon && !opts.MikroTik {
		opts.Central, opts.Money = lab.CentralHub, true
	}
	if *detach {
		info, err := lab.Detach(opts.Name, opts.BrowserPort, withoutDetach(args))
		if err != nil {
			return err
		}
		return describe(stdout, info, *asJSON, opts, true)
	}
	if !lab.Privileged() {
		return rerun(opts.BrowserPort, append([]string{"up"}, args...))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	l, err := lab.Up(ctx, opts)
	if err != nil {
		return err
	}
	if err := describe(stdout, l.Info, *asJSON, opts, false); err != nil {
		return errors.Join(err, l.Close())
	}
	<-ctx.Done()
	return l.Close()
}

func withoutDetach(args []string) []string {
	var out []string
	for _, a := range args {
		if a != "--detach" && a != "-detach" && !strings.HasPrefix(strings.TrimPrefix(a, "-"), "-detach=") {
			out = append(out, a)
		}
	}
	return out
}

// rerun starts the same command again where it may build a lab.
func rerun(browserPort int, args []string) error {
	code, err := lab.Rerun(browserPort, args)
	if err != nil {
		return err
	}
	if code != 0 {
		return exitCode(code)
	}
	return nil
}

func execute(args []string, _, stderr io.Writer) error {
	f, name := newFlags("exec HOST -- CMD", stderr)
	if err := f.Parse(args); err != nil {
		return asUsage(err)
	}
	rest := f.Args()
	if len(rest) < 1 {
		return errors.New("usage: zonelab exec [--name NAME] HOST -- CMD [ARG...]")
	}
	host, argv := rest[0], rest[1:]
	// Flags may also stand between the host and the dashes.
	if len(argv) > 0 && strings.HasPrefix(argv[0], "-") && argv[0] != "--" {
		if err := f.Parse(argv); err != nil {
			return asUsage(err)
		}
		argv = f.Args()
	} else if len(argv) > 0 && argv[0] == "--" {
		argv = argv[1:]
	}
	if len(argv) == 0 {
		return errors.New("usage: zonelab exec [--name NAME] HOST -- CMD [ARG...]")
	}
	return lab.Exec(*name, host, argv)
}

const routerUsage = `usage: zonelab router [--name NAME] [--json] ORDER

The orders to the simulated MikroTik of a zone (zonelab up --mikrotik):
` + hotspot.Orders + "\n"

func router(args []string, stdout, stderr io.Writer) error {
	f, name := newFlags("router", stderr)
	f.Usage = func() { fmt.Fprint(stderr, routerUsage) }
	asJSON := f.Bool("json", false, "what print shows, in JSON")
	if err := f.Parse(args); err != nil {
		return asUsage(err)
	}
	words := f.Args()
	if len(words) == 0 {
		words = []string{"print"}
	}
	if *asJSON {
		words = append([]string{"--json"}, words...)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	said, err := lab.AskRouter(ctx, *name, words...)
	if err != nil {
		return err
	}
	_, err = stdout.Write(said)
	return err
}

func down(args []string, stdout, stderr io.Writer) error {
	f, name := newFlags("down", stderr)
	if err := parse(f, args); err != nil {
		return err
	}
	if err := lab.Down(*name); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "lab %s is down\n", *name)
	return nil
}

func status(args []string, stdout, stderr io.Writer) error {
	f, name := newFlags("status", stderr)
	asJSON := f.Bool("json", false, "as one JSON object on one line")
	if err := parse(f, args); err != nil {
		return err
	}
	st, err := lab.Find(*name)
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(stdout).Encode(st)
	}
	word := "runs"
	switch {
	case !st.Running:
		word = "has crashed (zonelab down cleans up)"
	case !st.Ready:
		word = "is starting"
	}
	fmt.Fprintf(stdout, "lab %s %s (pid %d)\n", st.Name, word, st.PID)
	for _, name := range sortedKeys(st.Alive) {
		word := "runs"
		if !st.Alive[name] {
			word = "has ended"
		}
		fmt.Fprintf(stdout, "  %-12s %s\n", name, word)
	}
	if st.Info.Browser != "" {
		fmt.Fprintf(stdout, "browser: %s\n", st.Info.Browser)
	}
	return nil
}

func measure(args []string, stdout, stderr io.Writer) error {
	f, name := newFlags("bench", stderr)
	opts := bench.Options{Out: stdout, Progress: stderr}
	only := f.String("only", "", "rows to measure, with commas between: "+strings.Join(bench.Names(), ", "))
	f.StringVar(&opts.Zonegate, "zonegate", "", "the gateway's program (default: beside zonelab)")
	f.StringVar(&opts.Zonehub, "zonehub", "", "the hub's program (default: beside zonelab)")
	f.BoolVar(&opts.JSON, "json", false, "the table as one JSON object on one line")
	f.IntVar(&opts.Gateways, "gateways", 10_000, "gateways of the hub's fleet; the figures wanted are for 10,000")
	f.DurationVar(&opts.FlashFor, "flash-for", 0, "how long device writes are watched (default 10m)")
	if err := parse(f, args); err != nil {
		return err
	}
	if !lab.Privileged() {
		return rerun(0, append([]string{"bench"}, args...))
	}
	if *only != "" {
		opts.Only = strings.Split(*only, ",")
	}
	if opts.Name = *name; opts.Name == lab.DefaultName {
		opts.Name = "zlbench" // a zone that somebody looks at may run on
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return bench.Run(ctx, opts)
}

func describe(w io.Writer, info lab.Info, asJSON bool, opts lab.Options, detached bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(info)
	}
	var b strings.Builder
	suffix := ""
	if opts.Name != lab.DefaultName {
		suffix = " --name " + opts.Name
	}
	fmt.Fprintf(&b, "The zone is up.\n\n")
	if info.Portal != "" {
		fmt.Fprintf(&b, "Portal, as a phone sees it:  %s\n", info.Portal)
	}
	if info.Browser != "" {
		front := strings.TrimSuffix(strings.TrimPrefix(info.Browser, "http://"), "/")
		fmt.Fprintf(&b, "Your browser as phone1:      %s   (the portal)\n", info.Browser)
		fmt.Fprintf(&b, "                             %sinternet   (any page of the internet)\n", info.Browser)
		fmt.Fprintf(&b, "  or with everything in it:  chromium --proxy-server=%s --proxy-bypass-list='<-loopback>'\n", front)
	}
	if len(info.Vouchers) > 0 {
		names := make(map[string]string)
		for _, p := range info.Plans {
			names[p.ID] = p.Name
		}
		fmt.Fprintf(&b, "\nVouchers:\n")
		plan := ""
		for _, v := range info.Vouchers {
			if v.Plan != plan {
				plan = v.Plan
				fmt.Fprintf(&b, "  %s (%s)\n", names[plan], plan)
			}
			fmt.Fprintf(&b, "    %s\n", v.Code)
		}
	}
	fmt.Fprintf(&b, "\nHosts:\n")
	for _, name := range sortedKeys(info.Hosts) {
		h := info.Hosts[name]
		fmt.Fprintf(&b, "  %-10s %-15s %-22s %s  netns %s\n", name, h.IPv4, h.IPv6, h.MAC, h.Netns)
	}
	fmt.Fprintf(&b, "\nTry:  zonelab exec%s phone1 -- curl -i http://example.com/\n", suffix)
	if info.Portal != "" && len(info.Vouchers) > 0 {
		fmt.Fprintf(&b, "      zonelab exec%s phone1 -- curl -d code=%s %svoucher\n", suffix, info.Vouchers[0].Code, info.Portal)
	}
	if secret := info.Secrets[lab.NASSecret]; secret != "" && len(info.Vouchers) > 0 {
		describeNAS(&b, secret, info.Vouchers, suffix)
	}
	if opts.MikroTik {
		describeRouter(&b, suffix)
	}
	if info.Hub != nil {
		describeHub(&b, info.Hub)
	}
	if info.Money != nil {
		fmt.Fprintf(&b, "\n%s", info.Money.PayHelp(info.Hub))
	}
	fmt.Fprintf(&b, "\nLogs:\n")
	for _, name := range sortedKeys(info.Logs) {
		fmt.Fprintf(&b, "  %s\n", info.Logs[name])
	}
	if detached {
		fmt.Fprintf(&b, "\nIt runs on in the background. Take it down with:  zonelab down%s\n", suffix)
	} else {
		fmt.Fprintf(&b, "\nCtrl-C takes it down.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// describeNAS prints what can be sent from the NAS as it is: a login, and the
// accounting that uses a data cap up.
func describeNAS(b *strings.Builder, secret string, vouchers []lab.Voucher, suffix string) {
	code := vouchers[len(vouchers)-1].Code
	for _, v := range vouchers {
		if v.Plan == "small" { // of the plans that a lab sells, the one with a cap
			code = v.Code
		}
	}
	who := fmt.Sprintf("User-Name=%s,Calling-Station-Id=02-00-00-00-00-01,NAS-IP-Address=%s", code, lab.NASAddr)
	report := func(status, more string) {
		fmt.Fprintf(b, "  echo %s,Acct-Session-Id=s1,Acct-Status-Type=%s%s | \\\n    zonelab exec%s nas -- radclient -x %s acct %s\n",
			who, status, more, suffix, lab.RADIUSAcct, secret)
	}
	fmt.Fprintf(b, "\nRADIUS from host nas, secret %s. A login, its start, and what uses 20 MB up:\n", secret)
	fmt.Fprintf(b, "  echo %s,User-Password=%s,Message-Authenticator=0 | \\\n    zonelab exec%s nas -- radclient -x %s auth %s\n",
		who, code, suffix, lab.RADIUSAuth, secret)
	report("Start", "")
	report("Interim-Update", ",Acct-Session-Time=60,Acct-Input-Octets=0,Acct-Output-Octets=20000000")
	fmt.Fprintf(b, "Then the log of nas shows the Disconnect-Request (radclient: apt install freeradius-utils).\n")
}

// describeHub prints how to look at the hub and to change what it sells.
func describeHub(b *strings.Builder, h *lab.Hub) {
	fmt.Fprintf(b, "\nThe hub, which the gateway has joined, is at %s.\n", h.API)
	if h.Pages != "" {
		fmt.Fprintf(b, "Its pages, for your browser: %s   (user %s, password %s;\n"+
			"                             the certificate is the lab's own, so a browser warns)\n", h.Pages, h.Admin, h.Password)
	}
	fmt.Fprintf(b, "Change its forfait %q, for those who have it too, and see their rate change:\n", h.Forfait.Name)
	fmt.Fprintf(b, "  %s forfait set --data %s --id %s --mir-kbps 20000 --running\n", h.Program, h.Data, h.Forfait.ID)
	fmt.Fprintf(b, "  %s gateway list --data %s     (and more: %[1]s help)\n", h.Program, h.Data)
}

// describeRouter prints how to look at the simulated MikroTik and to disturb
// it.
func describeRouter(b *strings.Builder, suffix string) {
	fmt.Fprintf(b, "\nThe simulated MikroTik at host router (see zonelab help for what it cannot do):\n")
	for _, line := range [][2]string{
		{"print /ip/hotspot/active", "who is online there"},
		{"print /ip/hotspot/user", "and with which limits"},
		{"reboot", "a short power cut"},
		{"api off", "it does not answer zonegate; sales go on, pending (api on)"},
		{"off", "no power (on)"},
		{"log", "why sessions ended"},
	} {
		fmt.Fprintf(b, "  zonelab router%s %-26s %s\n", suffix, line[0], line[1])
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
