package bench

import (
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Small measurements are right, whatever the machine's speed.
func TestMoneyRows(t *testing.T) {
	hub, err := zonehub()
	if err != nil {
		t.Fatal(err)
	}
	gateway := filepath.Join(t.TempDir(), "zonegate")
	if out, err := exec.Command("go", "build", "-o", gateway, "zonegate/cmd/zonegate").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b := &bench{opts: Options{Progress: io.Discard, Zonehub: hub, Zonegate: gateway, Name: "ztmoney"}}
	for name, row := range map[string]func() error{
		"portal": func() error { return b.moneyPortal(t.Context(), payScale{starts: 5}) },
		"page":   func() error { return b.moneyPage(t.Context(), payScale{pages: 3}) },
		"rate":   func() error { return b.moneyRate(t.Context(), onPostgres, rateScale{gateways: 4, each: 3}) },
	} {
		b.lines = nil
		if err := row(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want := map[string]int{"portal": 2, "page": 1, "rate": 2}[name]; len(b.lines) != want {
			t.Errorf("%s: %d figures, want %d", name, len(b.lines), want)
		}
		for _, l := range b.lines {
			if strings.Contains(l.What, "reconciliation") && !l.OK {
				t.Errorf("%s: %s, want %s", l.What, l.Measured, l.Wanted)
			}
		}
	}
}
