package doctor

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// A Status is how a check ended.
type Status string

const (
	OK      Status = "ok"
	Warning Status = "warning" // works, but not as well as it could
	Failed  Status = "failed"
	Skipped Status = "skipped" // what it builds on failed
)

// A Finding is what a check found.
type Finding struct {
	Status Status
	Detail string
	// Fix says in one sentence what to do; empty when all is well.
	Fix string
	// Parts are what was found one by one, where a check looks at many
	// things. The check is then as bad as the worst of them.
	Parts []Part
}

// A Part is one of the things that a check found.
type Part struct {
	// Subject is what it is about: a device, a feature, a setting.
	Subject string
	Finding
}

// A Check is one question, with those that only make sense when it is
// answered well.
type Check struct {
	// ID names the check for machines, Title for people.
	ID, Title string
	// Run must end soon after its context. Nil means that the check only
	// groups others.
	Run  func(ctx context.Context) Finding
	Then []Check
}

// A Result is a check with what it found.
type Result struct {
	ID     string   `json:"id"`
	Title  string   `json:"title"`
	Status Status   `json:"status"`
	Detail string   `json:"detail"`
	Fix    string   `json:"fix"`
	Checks []Result `json:"checks"`
}

// A Report is the whole examination. OK says that nothing failed.
type Report struct {
	OK       bool     `json:"ok"`
	Failed   int      `json:"failed"`
	Warnings int      `json:"warnings"`
	Checks   []Result `json:"checks"`
}

// patience is the most that one check may take.
const patience = 10 * time.Second

// Examine runs the checks in order.
func Examine(ctx context.Context, checks []Check) Report {
	r := Report{Checks: []Result{}}
	for _, c := range checks {
		r.Checks = append(r.Checks, r.examine(ctx, c, ""))
	}
	r.OK = r.Failed == 0
	return r
}

// examine runs a check, or skips it because of the named one.
func (r *Report) examine(ctx context.Context, c Check, because string) Result {
	out := Result{ID: c.ID, Title: c.Title, Status: OK, Checks: []Result{}}
	switch {
	case because != "":
		out.Status, out.Detail = Skipped, because+" failed"
	case c.Run != nil:
		limited, cancel := context.WithTimeout(ctx, patience)
		f := c.Run(limited)
		cancel()
		out.Status, out.Detail, out.Fix = f.Status, f.Detail, f.Fix
		for _, p := range f.Parts {
			r.count(p.Status)
			out.Checks = append(out.Checks, Result{
				ID: c.ID + "/" + p.Subject, Title: p.Subject, Status: p.Status, Detail: p.Detail, Fix: p.Fix, Checks: []Result{},
			})
			if p.Status == Failed || p.Status == Warning && out.Status == OK {
				out.Status = p.Status
			}
		}
		if f.Parts == nil {
			r.count(out.Status)
		}
	}
	if out.Status == Failed {
		because = c.Title
	}
	for _, then := range c.Then {
		out.Checks = append(out.Checks, r.examine(ctx, then, because))
	}
	return out
}

func (r *Report) count(s Status) {
	switch s {
	case Failed:
		r.Failed++
	case Warning:
		r.Warnings++
	}
}

var signs = map[Status]string{OK: "ok", Warning: "WARN", Failed: "FAIL", Skipped: "skip"}

// Write prints the report as a tree, each line with its fix below it.
func (r Report) Write(out io.Writer) error {
	w := bufio.NewWriter(out)
	for _, c := range r.Checks {
		c.write(w, 0)
	}
	switch {
	case r.Failed > 0:
		fmt.Fprintf(w, "\n%d failed, %d warnings: begin with the first FAIL\n", r.Failed, r.Warnings)
	case r.Warnings > 0:
		fmt.Fprintf(w, "\nit works, with %d warnings\n", r.Warnings)
	default:
		fmt.Fprintf(w, "\nall is well\n")
	}
	return w.Flush()
}

func (c Result) write(w io.Writer, depth int) {
	indent := strings.Repeat("  ", depth)
	line := fmt.Sprintf("%-4s  %s%s", signs[c.Status], indent, c.Title)
	if c.Status == Skipped {
		line += ": skipped"
	}
	if c.Detail != "" {
		line += ": " + c.Detail
	}
	fmt.Fprintln(w, line)
	if c.Fix != "" {
		fmt.Fprintf(w, "      %s-> %s\n", indent, c.Fix)
	}
	for _, then := range c.Checks {
		then.write(w, depth+1)
	}
}

// ok, warn and fail make findings.
func ok(format string, args ...any) Finding {
	return Finding{Status: OK, Detail: fmt.Sprintf(format, args...)}
}

func warn(fix, format string, args ...any) Finding {
	return Finding{Status: Warning, Detail: fmt.Sprintf(format, args...), Fix: fix}
}

func fail(fix, format string, args ...any) Finding {
	return Finding{Status: Failed, Detail: fmt.Sprintf(format, args...), Fix: fix}
}
