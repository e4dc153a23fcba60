package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/internal/clock"
	"zonegate/internal/config"
	"zonegate/internal/store"
)

// A payServer is the billing API as it is documented, with payments.
type payServer struct {
	*httptest.Server
	mu     sync.Mutex
	calls  []string
	status string
}

func newPayServer(t *testing.T) *payServer {
	t.Helper()
	s := &payServer{status: `{"status":"pending","amount_fcfa":500,"provider":"MTN_MOMO"}`}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.URL.Path == "/api/v1/forfaits" {
			fmt.Fprint(w, `{"items":[{"id":"5b0f-day","name":"Forfait Journalier","price_fcfa":500,"duration_hours":24,"data_limit_mb":500,"cir_kbps":512,"mir_kbps":2048}],"total":1,"page":1,"pages":1}`)
			return
		}
		s.calls = append(s.calls, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"payment_url":"https://kkiapay.me/pay/1","transaction_id":"0f4c-1"}`)
			return
		}
		fmt.Fprint(w, s.status)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *payServer) say(status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *payServer) starts(call string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if c == call {
			n++
		}
	}
	return n
}

// The hub service of a zone at a server with the documented API has payments
// collected there, once, also when the program dies in between.
func TestHubServicePaysAtRGZ(t *testing.T) {
	s := newPayServer(t)
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	cfg := &config.Config{DataDir: dir, Hub: config.Hub{
		Mode: config.HubRGZ, URL: s.URL + "/api/v1", Poll: time.Hour, TokenFile: token, Providers: []string{"MTN_MOMO"}, PayHosts: []string{"kkiapay.me"},
	}}
	c, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	var log logText
	begin := func() (*hubService, func()) {
		t.Helper()
		files, err := store.Open(store.Options{Dir: dir, StateDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		gate := zonegate.NewGate(files.State(), files, files, noPath{}, c, zonegate.Options{})
		service, err := newHubService(cfg, gate, c, noSettings{}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- runTasks(ctx, task{"the gate", gate.Run}, service.tasks()...) }()
		return service, func() {
			cancel()
			if err := errors.Join(<-ended, files.Close()); err != nil {
				t.Error(err)
			}
		}
	}
	await := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("it never happened: %s\n%s", what, log.String())
			}
		}
	}
	service, end := begin()
	await("the catalogue", func() bool { return len(service.gate.Plans()) == 1 })
	if h := service.Hub(); len(h.Findings) != 1 || h.Findings[0].Subject != "payments" || h.Findings[0].Severity != "error" {
		t.Errorf("without a token: %+v", h.Findings)
	}
	if _, online := service.pay.Channels(); online {
		t.Error("without a token nothing can be paid")
	}
	if err := os.WriteFile(token, []byte("secret-jwt\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if h := service.Hub(); !h.OK {
		t.Errorf("%+v", h.Findings)
	}
	device := zonegate.MAC{2, 0, 0, 0, 0, 1}
	in, err := service.gate.OpenIntent(t.Context(), zonegate.IntentRequest{ID: zonegate.IntentID{1}, Device: device, Plan: "5b0f-day", Channel: "MTN_MOMO"})
	if err != nil {
		t.Fatal(err)
	}
	state := func() zonegate.IntentState { in, _ = service.gate.Intent(in.ID); return in.State }
	await("the page to pay at", func() bool { return state() == zonegate.IntentPending })
	if in.URL != "https://kkiapay.me/pay/1" {
		t.Errorf("%+v", in.News)
	}
	end()
	s.say(`{"status":"completed","amount_fcfa":400,"provider":"MTN_MOMO"}`)
	service, end = begin()
	await("that the shop is called", func() bool { return state() == zonegate.IntentReview })
	if h := service.Hub(); h.OK || len(h.Findings) != 1 || !strings.Contains(h.Findings[0].Detail, "0f4c-1") {
		t.Errorf("%+v", h.Findings)
	}
	end()
	s.say(`{"status":"completed","amount_fcfa":500,"provider":"MTN_MOMO"}`)
	service, end = begin()
	defer end()
	await("the money", func() bool { return state() == zonegate.IntentPaid })
	if st := service.gate.Standing(device); st.Grant == nil || len(st.Queue) != 0 {
		t.Errorf("%+v", st)
	}
	if n := s.starts("POST /api/v1/payments/initiate Bearer secret-jwt"); n != 1 {
		t.Errorf("the payment was started %d times", n)
	}
	if strings.Contains(log.String(), "secret-jwt") {
		t.Error("the token is in the log")
	}
}
