// Command runtests runs go test and counts what it ran. It prints the line of
// each package as it ends and the output of failed tests only, then a summary
// line, and appends the counts to build/test-totals for scripts/totals.sh.
//
//	runtests -name unit -- -race ./...
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

const totals = "build/test-totals"

func main() {
	name := flag.String("name", "go", "word that starts the summary line")
	flag.Parse()
	if err := run(*name, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "runtests:", err)
		os.Exit(1)
	}
}

func run(name string, args []string) error {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting go test: %w", err)
	}
	c, readErr := count(events, os.Stdout)
	waitErr := cmd.Wait()
	fmt.Printf("%s: %d passed, %d failed, %d skipped\n", name, c.passed, c.failed, c.skipped)

	f, err := os.OpenFile(totals, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("recording totals: %w", err)
	}
	_, err = fmt.Fprintln(f, c.passed, c.failed, c.skipped)
	if err = errors.Join(readErr, waitErr, err, f.Close()); err != nil {
		return err
	}
	if c.passed == 0 {
		return errors.New("no test ran: check the packages and the -run pattern")
	}
	return nil
}

// An event is one line of go test -json (go doc test2json).
type event struct {
	Action, Package, Test, Output string
}

type counts struct{ passed, failed, skipped int }

// count reads the events of go test -json from r until it ends and writes to w
// what a person wants to see. Sub-tests count as tests.
func count(r io.Reader, w io.Writer) (counts, error) {
	var c counts
	output := make(map[string]*strings.Builder) // by package and test, while it runs
	shuffle := make(map[string]string)          // by package: how to repeat its order
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(w, lines.Text()) // not an event: show it as it came
			continue
		}
		key := e.Package + " " + e.Test
		switch {
		case e.Action == "build-output":
			io.WriteString(w, e.Output)
		case e.Action == "output" && e.Test == "":
			switch {
			case strings.HasPrefix(e.Output, "-test.shuffle"):
				shuffle[e.Package] = e.Output
			case e.Output == "PASS\n": // the "ok" line that follows says more
			default:
				io.WriteString(w, e.Output)
			}
		case e.Action == "output":
			if output[key] == nil {
				output[key] = new(strings.Builder)
			}
			output[key].WriteString(shorten(e.Output))
		case e.Test == "":
			// A package's own end; its "ok" or "FAIL" line is out already.
			if e.Action == "fail" {
				io.WriteString(w, shuffle[e.Package])
			}
		case e.Action == "pass":
			c.passed++
			delete(output, key)
		case e.Action == "skip":
			c.skipped++
			delete(output, key)
		case e.Action == "fail":
			c.failed++
			if b := output[key]; b != nil {
				io.WriteString(w, b.String())
			}
			delete(output, key)
		}
	}
	// A process that died (panic in a goroutine, time limit) leaves tests without an end.
	for key, b := range output {
		c.failed++
		fmt.Fprintf(w, "never ended: %s\n%s", key, b)
	}
	return c, lines.Err()
}

// shorten cuts a line that nobody would read to its end, such as a page of
// HTML in a failure's message.
func shorten(line string) string {
	const most = 1000
	if len(line) <= most {
		return line
	}
	return fmt.Sprintf("%s... (%d bytes more)\n", line[:most], len(line)-most)
}
