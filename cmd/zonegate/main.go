// Command zonegate is the gateway: the daemon of one hotspot zone and the
// commands that look after it. Here are only flags, the wiring of the
// packages, and what is printed; what happens is decided elsewhere.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"zonegate/internal/control"
)

// version is stamped by the build.
var version = "development"

const defaultConfig = "/etc/zonegate/zonegate.toml"

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
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
	json           bool
	stdin          io.Reader
	stdout, stderr io.Writer
}

// commands is filled by init, because help prints it.
var commands []command

func init() {
	commands = []command{
		{"run", "", "run the gateway in the foreground", defineRun},
		{"init", "", "write a first configuration", defineInit},
		{"check-config", "", "say everything that is wrong with the configuration", defineCheckConfig},
		{"config reference", "", "print every setting with its default", defineReference},
		{"doctor", "", "examine the machine and say what to mend", defineDoctor},
		{"status", "", "say how the gateway is", defineStatus},
		{"plan list", "", "list what is sold", definePlanList},
		{"voucher create", "--plan ID --count N", "make new vouchers and print their codes", defineVoucherCreate},
		{"voucher import", "[--plan ID] FILE|-", "make printed codes valid", defineVoucherImport},
		{"voucher list", "", "count the unused vouchers by batch", defineVoucherList},
		{"voucher revoke", "CODE|-", "make a code worthless, with what it became", defineVoucherRevoke},
		{"session list", "", "list who is online", defineSessionList},
		{"session kick", "ID|MAC", "take a session offline; the device may come back", defineSessionKick},
		{"grant topup", "[--mb N] [--time 2h] ID", "add data or time to what a customer bought", defineGrantTopUp},
		{"grant revoke", "ID", "take back what a customer bought", defineGrantRevoke},
		{"nas add", "--address IP NAME", "let a router or access point (NAS) ask over RADIUS", defineNASAdd},
		{"nas list", "", "list these NASes, with what came from them", defineNASList},
		{"nas test", "NAME", "say what is wrong with one, and how to mend it", defineNASTest},
		{"nas remove", "NAME", "forget one, with its sessions", defineNASRemove},
		{"nas login-page", "[URL]", "print the login.html that leads a MikroTik's customers here", defineNASLoginPage},
		{"hub join", "[--url URL] CODE|-", "join the operator's hub with a one-time code", defineHubJoin},
		{"hub status", "", "say how the connection to the central server is", defineHubStatus},
		{"hub leave", "[--force]", "leave the hub; what was bought stays", defineHubLeave},
		{"routeros script", "[--remove]", "print what sets a MikroTik up, to paste into its terminal", defineRouterOSScript},
		{"reconcile", "", "compare state and data path now, and mend", defineReconcile},
		{"journal verify", "", "check the journal's chain and replay it", defineJournalVerify},
		{"backup", "FILE|-", "write everything of value to a file", defineBackup},
		{"restore", "FILE", "replace the data by a backup (daemon stopped)", defineRestore},
		{"version", "", "print the version", defineVersion},
	}
}

// A usageError is a command line that makes no sense.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// errSaid ends a command that has printed already what is wrong.
var errSaid = errors.New("failed")

// run is the whole program but its exit.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := &env{config: defaultConfig, stdin: stdin, stdout: stdout, stderr: stderr}
	err := e.run(ctx, args)
	var bad usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &bad):
		fmt.Fprintf(stderr, "zonegate: %s\n", bad.text)
		return exitUsage
	case errors.Is(err, errSaid):
		return exitFailed
	}
	if e.json {
		e.fail(err)
	}
	fmt.Fprintf(stderr, "zonegate: %v\n", err)
	return exitFailed
}

// fail prints the error for a machine.
func (e *env) fail(err error) {
	said := &control.Error{Code: control.CodeFailed, Message: err.Error()}
	var known *control.Error
	switch {
	case errors.As(err, &known):
		said.Code = known.Code
	case errors.Is(err, control.ErrNoDaemon):
		said.Code = control.CodeNoDaemon
	}
	e.print(struct {
		Error *control.Error `json:"error"`
	}{said})
}

func (e *env) run(ctx context.Context, args []string) error {
	// Flags that may stand before the command.
	global := e.flags("zonegate")
	if err := parse(global, args); err != nil {
		return e.asked(err, help)
	}
	words := global.Args()
	if len(words) == 0 {
		return usagef("no command\n\n%s", help())
	}
	if words[0] == "help" {
		fmt.Fprint(e.stdout, help())
		return nil
	}
	c, rest, err := find(words)
	if err != nil {
		return err
	}
	f := e.flags("zonegate " + c.name)
	do := c.define(f)
	var operands []string
	// Unlike package flag alone, flags may follow operands.
	for {
		if err := parse(f, rest); err != nil {
			return e.asked(err, func() string { return c.help(f) })
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
	return do(ctx, e, operands)
}

// asked answers a call for help.
func (e *env) asked(err error, text func() string) error {
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(e.stdout, text())
		return nil
	}
	return err
}

// flags returns a set with the flags that every command has.
func (e *env) flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&e.config, "config", e.config, "`file` with the configuration")
	f.BoolVar(&e.json, "json", e.json, "print one JSON object")
	return f
}

func parse(f *flag.FlagSet, args []string) error {
	err := f.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return usagef("%v; see %s --help", err, f.Name())
	}
	return err
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
	b.WriteString("zonegate runs a WiFi hotspot zone.\n\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "  %-46s %s\n", strings.TrimRight("zonegate "+c.name+" "+c.args, " "), c.short)
	}
	b.WriteString("\nEvery command takes --config FILE (default " + defaultConfig + ") and --json.\n" +
		"Exit codes: 0 done, 1 failed, 2 the command line makes no sense.\n")
	return b.String()
}

func (c command) help(f *flag.FlagSet) string {
	var b strings.Builder
	fmt.Fprintf(&b, "zonegate %s: %s\n\n  zonegate %s\n\n", c.name, c.short, strings.TrimRight(c.name+" "+c.args, " "))
	f.VisitAll(func(x *flag.Flag) {
		name, usage := flag.UnquoteUsage(x)
		if name != "" {
			name = " " + name
		}
		fmt.Fprintf(&b, "  --%-18s %s", x.Name+name, usage)
		if x.DefValue != "" && x.DefValue != "false" && x.DefValue != "0" && x.DefValue != "0s" {
			fmt.Fprintf(&b, " (default %s)", x.DefValue)
		}
		b.WriteString("\n")
	})
	return b.String()
}

// print writes one JSON object on one line.
func (e *env) print(v any) error {
	if err := json.NewEncoder(e.stdout).Encode(v); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
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
		if e.json {
			return e.print(struct {
				Version string `json:"version"`
			}{version})
		}
		fmt.Fprintln(e.stdout, version)
		return nil
	}
}
