// Command zonehub is the central server of many hotspot zones, and the
// commands that look after it. Here are only flags, the wiring of the
// packages, and what is printed; what happens is decided elsewhere.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// version is stamped by the build.
var version = "development"

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.LookupEnv))
}

// A command is one line of the help.
type command struct {
	name, args, short string
	// define adds the command's own flags and returns what runs it.
	define func(*flag.FlagSet) action
}

// An action does what a command says. The arguments are those that are no
// flags.
type action func(ctx context.Context, e *env, args []string) error

// An env is what a command works with.
type env struct {
	config         string
	data, database string
	stdin          io.Reader
	stdout, stderr io.Writer
	lookup         func(string) (string, bool)
}

// commands is filled by init, because help prints it.
var commands []command

func init() {
	commands = []command{
		{"serve", "", "run the hub in the foreground", defineServe},
		{"user add", "--role ROLE NAME", "make a user; the password is read from standard input", defineUserAdd},
		{"user list", "", "list who may sign in", defineUserList},
		{"reseller add", "NAME", "make a reseller", defineResellerAdd},
		{"reseller list", "", "list the resellers", defineResellerList},
		{"reseller kyc", "ID LEVEL", "note how well a reseller's identity is known, which bounds his withdrawals", defineResellerKYC},
		{"site add", "--reseller ID NAME", "make a site", defineSiteAdd},
		{"site list", "", "list the sites", defineSiteList},
		{"enrol-code", "--site ID", "make the code by which a gateway joins", defineEnrolCode},
		{"gateway list", "", "list the gateways and how they are", defineGatewayList},
		{"gateway revoke", "ID", "take a gateway off the hub", defineGatewayRevoke},
		{"forfait set", "--price N --hours N NAME", "make a forfait, or with --id a new version of one", defineForfaitSet},
		{"forfait list", "", "list what is on sale", defineForfaitList},
		{"forfait withdraw", "ID", "take a forfait off sale", defineForfaitWithdraw},
		{"voucher create", "--forfait ID --reseller ID --count N", "make vouchers and print their codes", defineVoucherCreate},
		{"reconcile", "PERIOD", "compare a day or a month with grants, the ledger and statements; say what differs", defineReconcile},
		{"statement import", "--provider NAME --period PERIOD FILE", "take a provider's statement (CSV), and compare", defineStatementImport},
		{"ledger correct", "--by NAME --reason TEXT --ref TEXT ACCOUNT=N ...", "book a correction; what is booked is never changed", defineLedgerCorrect},
		{"restored", "", "go on after the database was restored from a backup, so that gateways miss no change", defineRestored},
		{"sandbox", "", "play RGZ and the payment providers, for tests; nothing in it is real", defineSandbox},
		{"version", "", "print the version", defineVersion},
	}
}

// A usageError is a command line that makes no sense.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// run is the whole program but its exit.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, lookup func(string) (string, bool)) int {
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr, lookup: lookup}
	err := e.run(ctx, args)
	var bad usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &bad):
		fmt.Fprintf(stderr, "zonehub: %s\n", bad.text)
		return exitUsage
	}
	fmt.Fprintf(stderr, "zonehub: %v\n", err)
	return exitFailed
}

func (e *env) run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return usagef("no command\n\n%s", help())
	}
	if args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		fmt.Fprint(e.stdout, help())
		return nil
	}
	c, rest, err := find(args)
	if err != nil {
		return err
	}
	f := flag.NewFlagSet("zonehub "+c.name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&e.config, "config", "", "`file` with lines \"flag = value\" for flags that are not given")
	f.StringVar(&e.data, "data", "/var/lib/zonehub", "`directory` with hub.key, and hub.db without --database")
	f.StringVar(&e.database, "database", "", "`URL` of a PostgreSQL database, as postgres://user:password@host/name; better in a file than here")
	do := c.define(f)
	var operands []string
	// Unlike package flag alone, flags may follow operands.
	for {
		if err := f.Parse(rest); errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(e.stdout, c.help(f))
			return nil
		} else if err != nil {
			return usagef("%v; see %s --help", err, f.Name())
		}
		left := f.Args()
		if n := len(rest) - len(left); n > 0 && rest[n-1] == "--" {
			operands = append(operands, left...)
			break
		}
		if len(left) == 0 {
			break
		}
		operands, rest = append(operands, left[0]), left[1:]
	}
	if err := e.complete(f); err != nil {
		return err
	}
	return do(ctx, e, operands)
}

// complete gives the flags that were not given their value from the
// environment (ZONEHUB_TLS_CERT for --tls-cert), or else from the file.
func (e *env) complete(f *flag.FlagSet) error {
	given := map[string]bool{}
	f.Visit(func(x *flag.Flag) { given[x.Name] = true })
	variable := func(name string) string {
		return "ZONEHUB_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	}
	if v, ok := e.lookup(variable("config")); ok && !given["config"] {
		e.config = v
	}
	file := map[string]string{}
	if e.config != "" {
		var err error
		if file, err = readConfig(e.config); err != nil {
			return err
		}
	}
	var failed error
	f.VisitAll(func(x *flag.Flag) {
		if given[x.Name] || x.Name == "config" {
			return
		}
		from, value, ok := variable(x.Name), "", false
		if value, ok = e.lookup(from); !ok {
			from = e.config
			value, ok = file[x.Name]
		}
		if !ok {
			return
		}
		if err := f.Set(x.Name, value); err != nil && failed == nil {
			failed = usagef("%s: %s must be another value: %v", from, x.Name, err)
		}
	})
	return failed
}

// fileKeys are what a file may hold; one file serves all commands.
var fileKeys = []string{"data", "database", "listen", "tls-cert", "tls-key", "public-url", "proxy", "webhook-secret", "money", "log-level",
	"login-per-minute", "enrol-per-minute"}

func readConfig(name string) (map[string]string, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer file.Close()
	values := map[string]string{}
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if len(value) > 1 && strings.HasPrefix(value, `"`) && strings.HasSuffix(value, `"`) {
			value = value[1 : len(value)-1]
		}
		known := false
		for _, k := range fileKeys {
			known = known || k == key
		}
		switch _, twice := values[key]; {
		case !ok:
			return nil, usagef("%s:%d: write \"name = value\"", name, n)
		case !known:
			return nil, usagef("%s:%d: there is no setting %q; these are: %s", name, n, key, strings.Join(fileKeys, ", "))
		case twice:
			return nil, usagef("%s:%d: %s stands there twice", name, n, key)
		}
		values[key] = value
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return values, nil
}

// find returns the command that the first one or two words name.
func find(words []string) (command, []string, error) {
	var near []string
	for _, c := range commands {
		first, second, two := strings.Cut(c.name, " ")
		switch {
		case first != words[0]:
		case !two:
			return c, words[1:], nil
		case len(words) > 1 && words[1] == second:
			return c, words[2:], nil
		default:
			near = append(near, second)
		}
	}
	if near != nil {
		return command{}, nil, usagef("%s what? one of: %s", words[0], strings.Join(near, ", "))
	}
	return command{}, nil, usagef("no command %q\n\n%s", words[0], help())
}

func help() string {
	var b strings.Builder
	b.WriteString("zonehub is the central server of many hotspot zones.\n\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "  %-60s %s\n", strings.TrimRight("zonehub "+c.name+" "+c.args, " "), c.short)
	}
	b.WriteString("\nEvery command but sandbox and version works on the database itself: give it the same --data and --database as serve.\n" +
		"A flag that is not given is taken from the environment (--tls-cert from ZONEHUB_TLS_CERT), or from --config FILE.\n" +
		"Exit codes: 0 done, 1 failed, 2 the command line makes no sense.\n")
	return b.String()
}

func (c command) help(f *flag.FlagSet) string {
	var b strings.Builder
	fmt.Fprintf(&b, "zonehub %s: %s\n\n  zonehub %s\n\n", c.name, c.short, strings.TrimRight(c.name+" "+c.args, " "))
	f.VisitAll(func(x *flag.Flag) {
		name, usage := flag.UnquoteUsage(x)
		if name != "" {
			name = " " + name
		}
		fmt.Fprintf(&b, "  --%-22s %s", x.Name+name, usage)
		if x.DefValue != "" && x.DefValue != "false" && x.DefValue != "0" && x.DefValue != "0s" {
			fmt.Fprintf(&b, " (default %s)", x.DefValue)
		}
		b.WriteString("\n")
	})
	return b.String()
}

// none refuses operands.
func none(args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q", args[0])
	}
	return nil
}

// one returns the only operand.
func one(args []string, what string) (string, error) {
	if len(args) != 1 || args[0] == "" {
		return "", usagef("give one %s", what)
	}
	return args[0], nil
}

func defineVersion(*flag.FlagSet) action {
	return func(_ context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		fmt.Fprintln(e.stdout, version)
		return nil
	}
}
