// Package bench measures in the lab what the gateway promises. Each row has a
// function of its own that builds the zone it needs, lets traffic through it
// and compares what was counted on the wire with the figure wanted. Nothing
// here believes the daemon where a wire can be asked.
package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"zonegate/internal/lab"
)

// A Line is one figure of the table.
type Line struct {
	Row      string `json:"row"`
	What     string `json:"what"`
	Wanted   string `json:"wanted"`
	Measured string `json:"measured"`
	OK       bool   `json:"ok"`
}

// A row measures one promise.
type row struct {
	name string
	what string
	run  func(ctx context.Context, b *bench) error
}

// rows are in the order in which they run.
var rows = []row{
	{"cap", "bytes beyond a data cap", runCap},
	{"charged", "charged against delivered", runCharged},
	{"topup", "a purchase after hammering at a spent cap", runTopUp},
	{"mir", "maximum rates", runMIR},
	{"oversell", "committed rates of three times the link", runOversell},
	{"cir", "committed rates 2 to 1", runCIR},
	{"activation", "code to first packet", runActivation},
	{"forwarding", "packets a second with many customers", runForwarding},
	{"kill", "daemon killed and restarted under traffic", runKill},
	{"flush", "all tables deleted under traffic", runFlush},
	{"memory", "memory of the daemon", runMemory},
	{"flash", "device writes", runFlash},
	{"mikrotik", "devices let in over the API of a simulated MikroTik", runMikroTik},
	{"radius-auth", "logins at a NAS against FreeRADIUS", runRadiusAuth},
	{"radius-accounting", "durable accounting", runRadiusAccounting},
	{"radius-slow", "durable accounting on slow flash", runRadiusSlow},
	{"radius-flood", "memory under a flood", runRadiusFlood},
	{"radius-flash", "device writes of accounting", runRadiusFlash},
	{"hub-streams", "a fleet of gateways at one hub process", runHubStreams},
	{"hub-reports", "sales that a hub is told", runHubReports},
	{"hub-idle", "traffic of a gateway when nothing happens", runHubIdle},
	{"hub-week", "a gateway after a week without its hub", runHubWeek},
	{"money-portal", "the portal's answer to who begins to pay", runMoneyPortal},
	{"money-page", "a payment on the customer's page", runMoneyPage},
	{"money-rate", "payments through a hub process", runMoneyRate},
}

// A group names all the rows that begin with it. They are only measured when
// asked for: they need FreeRADIUS or PostgreSQL, which no zone needs.
const (
	radiusGroup = "radius"
	hubGroup    = "hub"
	moneyGroup  = "money"
)

var groups = []string{radiusGroup, hubGroup, moneyGroup}

// Names lists the rows, and the groups.
func Names() []string {
	names := make([]string, len(rows), len(rows)+len(groups))
	for i, r := range rows {
		names[i] = r.name
	}
	return append(names, groups...)
}

// wants says whether a row is to be measured.
func (o *Options) wants(r row) bool {
	group, _, _ := strings.Cut(r.name, "-")
	grouped := slices.Contains(groups, group)
	return len(o.Only) == 0 && !grouped || slices.Contains(o.Only, r.name) || grouped && slices.Contains(o.Only, group)
}

// Options of a run.
type Options struct {
	Only     []string // rows; empty means all outside the groups
	Zonegate string   // the gateway's program; empty looks beside the own one
	Zonehub  string   // the hub's, likewise
	Name     string   // of the labs
	JSON     bool
	Out      io.Writer // the table
	Progress io.Writer // what happens meanwhile
	// Gateways is the size of the hub's fleet (default 10,000, which the
	// figures are for).
	Gateways int
	// FlashFor is how long device writes are watched (default 10 minutes).
	FlashFor time.Duration
}

// ErrMissed says that a figure was not reached.
var ErrMissed = errors.New("not every figure was reached")

// bench is what rows work with.
type bench struct {
	opts  Options
	row   string
	lines []Line
}

// Run measures and prints the table. It returns ErrMissed when a figure was
// not reached, another error when a row could not be measured at all.
func Run(ctx context.Context, opts Options) error {
	for _, name := range opts.Only {
		if !slices.Contains(Names(), name) {
			return fmt.Errorf("no row %q: there are %s", name, strings.Join(Names(), ", "))
		}
	}
	if err := lab.Settle(); err != nil {
		return err
	}
	if opts.FlashFor == 0 {
		opts.FlashFor = 10 * time.Minute
	}
	b := &bench{opts: opts}
	var failed []error
	for _, r := range rows {
		if !opts.wants(r) {
			continue
		}
		b.row = r.name
		b.say("%s: %s", r.name, r.what)
		if err := r.run(ctx, b); err != nil {
			failed = append(failed, fmt.Errorf("measuring %s: %w", r.name, err))
			b.add(r.what, "a measurement", "failed: "+firstLine(err), false)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if err := b.print(); err != nil {
		return err
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	for _, l := range b.lines {
		if !l.OK {
			return ErrMissed
		}
	}
	return ctx.Err()
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.opts.Progress, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

func (b *bench) add(what, wanted, measured string, ok bool) {
	b.lines = append(b.lines, Line{Row: b.row, What: what, Wanted: wanted, Measured: measured, OK: ok})
	word := "ok"
	if !ok {
		word = "MISSED"
	}
	b.say("  %s: %s (wanted %s) %s", what, measured, wanted, word)
}

func (b *bench) print() error {
	if b.opts.JSON {
		return json.NewEncoder(b.opts.Out).Encode(map[string]any{"lines": b.lines})
	}
	w := tabwriter.NewWriter(b.opts.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tfigure wanted\tmeasured\tok")
	for _, l := range b.lines {
		ok := "ok"
		if !l.OK {
			ok = "NO"
		}
		fmt.Fprintf(w, "%s: %s\t%s\t%s\t%s\n", l.Row, l.What, l.Wanted, l.Measured, ok)
	}
	return w.Flush()
}

// withLab runs f in a lab of its own.
func (b *bench) withLab(ctx context.Context, opts lab.Options, f func(*lab.Lab) error) error {
	opts.Zonegate, opts.Zonehub, opts.Daemon = b.opts.Zonegate, b.opts.Zonehub, true
	if opts.Name == "" {
		opts.Name = b.opts.Name
	}
	if opts.Vouchers == 0 {
		opts.Vouchers = -1
	}
	l, err := lab.Up(ctx, opts)
	if err != nil {
		return err
	}
	first := len(b.lines)
	err = f(l)
	missed := slices.ContainsFunc(b.lines[first:], func(l Line) bool { return !l.OK })
	if (err != nil || missed) && ctx.Err() == nil {
		if log, readErr := os.ReadFile(l.Info.Logs["gateway"]); readErr == nil {
			lines := strings.Split(strings.TrimSpace(string(log)), "\n")
			b.say("  last lines of the gateway's log:\n%s", strings.Join(lines[max(0, len(lines)-15):], "\n"))
		}
	}
	return errors.Join(err, l.Close())
}

// wait lets time pass, or the context end.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// median of a list that is not empty.
func median[T int | uint64 | float64 | time.Duration](v []T) T {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// percentile p (0 to 100) of a list that is not empty.
func percentile(v []time.Duration, p int) time.Duration {
	s := slices.Sorted(slices.Values(v))
	return s[min(len(s)-1, len(s)*p/100)]
}
