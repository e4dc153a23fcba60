package bench

import (
	"io"
	"strings"
	"testing"
)

// The numbers of commands and queues do not depend on how fast the machine is.
func TestMikroTikCommands(t *testing.T) {
	b := &bench{opts: Options{Progress: io.Discard}}
	if err := b.provision(t.Context(), provision{devices: 60, rounds: 1}); err != nil {
		t.Fatal(err)
	}
	if len(b.lines) != 8 {
		t.Errorf("%d figures", len(b.lines))
	}
	for _, l := range b.lines {
		if strings.HasSuffix(l.Wanted, " s") {
			continue // how long it takes is the bench's to say
		}
		if !l.OK {
			t.Errorf("%s: %s, want %s", l.What, l.Measured, l.Wanted)
		}
	}
}
