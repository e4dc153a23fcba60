package zonegate

import (
	"fmt"
	"testing"
)

// One customer who guesses behind one NAS does not stop the sales at another.
func TestNASGuesserStopsNoOtherNAS(t *testing.T) {
	b, _ := newNASBench(t)
	code := b.sell("hour")
	for i := range 200 {
		d := MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}
		if _, err := b.gate.Admit(t.Context(), Login{NAS: "cafe", Device: d, Code: "WRONG" + fmt.Sprint(i)}); err == nil {
			t.Fatal("let in")
		}
	}
	if _, err := b.gate.Admit(t.Context(), Login{NAS: "tower", Device: phone2, Code: code}); err != nil {
		t.Errorf("a buyer at another NAS: %v", err)
	}
}
