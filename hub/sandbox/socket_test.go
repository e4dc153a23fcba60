package sandbox_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"zonegate/hub/sandbox"
)

// On sockets, with the system's clock: a customer pays as time passes, and the
// callback comes.
func TestRun(t *testing.T) {
	called := make(chan string, 8)
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		called <- string(body)
	}))
	defer hub.Close()
	s := sandbox.New(sandbox.Options{Delay: time.Millisecond})
	server := httptest.NewServer(s)
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()

	ask := func(ctx context.Context, reference string) (int, error) {
		body := strings.Replace(flexBody("243815557848", reference, "100", "CDF"), "https://hub.test/callbacks/flexpay", hub.URL, 1)
		r, err := http.NewRequestWithContext(ctx, "POST", server.URL+flexBase+"/paymentService", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer sandbox-flexpay")
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err
		}
		defer got.Body.Close()
		_, err = io.Copy(io.Discard, got.Body)
		return got.StatusCode, err
	}
	if status, err := ask(t.Context(), "R1"); status != 200 || err != nil {
		t.Fatalf("%d, %v", status, err)
	}
	if body := <-called; !strings.Contains(body, `{"code":"0","reference":"R1"`) {
		t.Error(body)
	}
	// The same faults, where there is a connection to cut.
	for i, f := range []sandbox.Fault{{Kind: sandbox.FaultDrop}, {Kind: sandbox.FaultDrop, Before: true}, {Kind: sandbox.FaultRefuse}, {Kind: sandbox.FaultHalf}} {
		f.Times, f.Path = 1, "/flexpay/paymentService"
		if err := s.Break(f); err != nil {
			t.Fatal(err)
		}
		reference := "F" + string(rune('0'+i))
		if _, err := ask(t.Context(), reference); err == nil {
			t.Errorf("%+v: answered", f)
		}
		if done := f.Kind != sandbox.FaultRefuse && !f.Before; done {
			if body := <-called; !strings.Contains(body, reference) {
				t.Errorf("%+v: %s", f, body)
			}
		} else if len(s.Charges(func(c sandbox.Charge) bool { return c.Reference == reference })) != 0 {
			t.Errorf("%+v: done", f)
		}
	}
	// A late answer comes, and to nobody who has gone.
	s.Break(sandbox.Fault{Kind: sandbox.FaultDelay, Times: 1, Wait: 1})
	if status, err := ask(t.Context(), "L1"); status != 200 || err != nil {
		t.Errorf("late: %d, %v", status, err)
	}
	<-called
	s.Break(sandbox.Fault{Kind: sandbox.FaultDelay, Times: 1, Wait: 600_000})
	short, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if _, err := ask(short, "L2"); err == nil {
		t.Error("a late answer was early")
	}
	if body := <-called; !strings.Contains(body, "L2") {
		t.Error(body)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
