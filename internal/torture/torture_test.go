// Package torture runs the whole machine of money in one process: two gateways
// on disks that lose power, their pay steps, a hub on a real database, the real
// adapters and the played providers, under one clock that the test moves. What
// happens is drawn from a seed; whatever happens, no money may be lost and
// nothing be given twice. It has tests alone.
package torture

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

var (
	seeds = flag.Int("seeds", 500, "how many seeds")
	first = flag.Uint64("first", 1, "the first of them")
	hurry = flag.Bool("hurry", false, "end at the first that fails")
	one   = flag.Uint64("seed", 0, "replay this seed alone, and show what happened")
)

// wrong says that a seed has failed.
var wrong atomic.Bool

// twice is how many of the first seeds run a second time, to see that a seed
// decides everything.
const twice = 10

func TestTorture(t *testing.T) {
	made := newTemplate(t)
	run := func(seed uint64) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			if *hurry && wrong.Load() {
				return
			}
			trace, err := play(t, made, seed)
			if err != nil {
				wrong.Store(true)
				t.Fatalf("%v\n%s\nreplay: make torture-money SEED=%d", err, tail(trace, *one != 0), seed)
			}
			if *one != 0 {
				t.Log(strings.Join(trace, "\n"))
			}
			if *hurry || *one == 0 && seed >= *first+twice {
				return
			}
			again, err := play(t, made, seed)
			if err != nil {
				t.Fatalf("the second run of the same seed failed, the first did not: %v\n%s", err, tail(again, false))
			}
			for i := range trace {
				if i >= len(again) || trace[i] != again[i] {
					t.Fatalf("two runs of seed %d differ:\n%s\n%s", seed, trace[i], strings.Join(again[i:min(i+1, len(again))], ""))
				}
			}
		})
	}
	if *one != 0 {
		run(*one)
		return
	}
	for i := range uint64(*seeds) {
		run(*first + i)
	}
}

func tail(trace []string, all bool) string {
	if !all && len(trace) > 40 {
		trace = trace[len(trace)-40:]
	}
	return strings.Join(trace, "\n")
}

// play runs one seed and returns what happened.
func play(t *testing.T, made *template, seed uint64) (trace []string, err error) {
	dir, err := os.MkdirTemp(made.dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, made, dir, seed)
		defer w.close()
		if err = w.live(); err != nil {
			w.dump()
		}
		trace = w.trace
	})
	return trace, err
}

// ram is a directory in memory, where there is one: nothing here has to outlive
// the machine.
func ram(tb testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "zonegate-torture")
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(filepath.Clean(from))
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}
