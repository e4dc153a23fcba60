package kernel_test

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zonegate"
)

var seconds = regexp.MustCompile(`(timeout|expires) [0-9a-z]+ ?`)

var update = flag.Bool("update", false, "write the golden files")

func TestRuleset(t *testing.T) {
	z := newZone(t, 1)
	c := z.config()
	c.Shared = true
	e := z.start(c)
	o := order(0x11, z.phones[0], 10)
	o.Until = until(24 * time.Hour)
	o.Allowance = 100e6
	list := func() string {
		out := z.gw.sh("nft list table inet zonegate")
		return seconds.ReplaceAllString(out, "")
	}
	e.apply(o)
	first := list()
	e.apply(o)
	if diff := cmp.Diff(first, list()); diff != "" {
		t.Errorf("applying twice changes the table (-first +second):\n%s", diff)
	}
	const golden = "testdata/table.nft"
	if *update {
		if err := os.WriteFile(golden, []byte(first), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), first); diff != "" {
		t.Errorf("the table (-want +got):\n%s", diff)
	}
	_ = zonegate.NoCap
}

func TestPaidAndStranger(t *testing.T) {
	z := newZone(t, 2)
	z.inet.serve(7000)
	payer, stranger := z.phones[0], z.phones[1]
	e := z.start(z.config())
	e.apply(order(1, payer, 10))
	for _, host := range []string{site4, site6} {
		if !payer.echo(host, 10) {
			t.Errorf("the payer does not reach %s", host)
		}
		if stranger.echo(host, 3) {
			t.Errorf("the stranger reaches %s", host)
		}
		if c, err := stranger.dial("tcp", host, 7000); err == nil {
			c.Close()
			t.Errorf("the stranger connects to %s", host)
		} else if !strings.Contains(err.Error(), "refused") {
			t.Errorf("the stranger is not refused at once: %v", err)
		}
	}
	e.change(nil, 1)
	for _, host := range []string{site4, site6} {
		if payer.echo(host, 3) {
			t.Errorf("a stopped session reaches %s", host)
		}
	}
	u := e.book.awaitFinal(t, 1)
	t.Logf("%+v", u)
	if u.Octets.Down != 33+53 || u.Octets.Up != 33+53 {
		t.Errorf("got %+v", u.Octets)
	}
}
