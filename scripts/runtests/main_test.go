package main

import (
	"strings"
	"testing"
)

func TestShorten(t *testing.T) {
	if got := shorten(strings.Repeat("x", 5000)); len(got) > 1100 || !strings.HasSuffix(got, "... (4000 bytes more)\n") {
		t.Errorf("got %d bytes ending in %q", len(got), got[len(got)-40:])
	}
	if got := shorten("short\n"); got != "short\n" {
		t.Errorf("got %q", got)
	}
}

// events is what go test -json prints for a package with two good tests, one
// bad sub-test, one skipped test and one that was running when it died.
const events = `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Output":"-test.shuffle 42\n"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0}
{"Action":"pass","Package":"p","Test":"TestB","Elapsed":0}
{"Action":"output","Package":"p","Test":"TestC/x","Output":"got 1, want 2\n"}
{"Action":"fail","Package":"p","Test":"TestC/x","Elapsed":0}
{"Action":"skip","Package":"p","Test":"TestD","Elapsed":0}
not an event
{"Action":"output","Package":"p","Test":"TestE","Output":"panic: died\n"}
{"Action":"build-output","ImportPath":"q","Output":"q.go:1: wrong\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p","Elapsed":0.1}
`

func TestCount(t *testing.T) {
	var w strings.Builder
	got, err := count(strings.NewReader(events), &w)
	if err != nil {
		t.Fatal(err)
	}
	if want := (counts{passed: 2, failed: 2, skipped: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, want := range []string{"got 1, want 2", "not an event", "panic: died", "q.go:1: wrong", "FAIL\tp", "-test.shuffle 42"} {
		if !strings.Contains(w.String(), want) {
			t.Errorf("does not show %q:\n%s", want, &w)
		}
	}
	if strings.Contains(w.String(), "quiet") {
		t.Errorf("shows the output of a test that passed:\n%s", &w)
	}
}
