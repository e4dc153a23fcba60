package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"zonegate/hub/sandbox"
	"zonegate/sync/api"
)

func TestSandbox(t *testing.T) {
	for _, secure := range []bool{false, true} {
		args, client := []string{"sandbox", "--listen", "127.0.0.1:0"}, http.DefaultClient
		if secure {
			cert, key, pool := writePair(t, t.TempDir())
			args = append(args, "--tls-cert", cert, "--tls-key", key)
			client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
		}
		ctx, cancel := context.WithCancel(t.Context())
		stdout, done := newTalk(), make(chan int, 1)
		go func() { done <- run(ctx, args, strings.NewReader(""), stdout, newTalk(), noEnvironment) }()
		url := strings.TrimSuffix(stdout.after(t, "plays at "), ".")
		at := strings.TrimSuffix(url, sandbox.Base)
		for _, base := range []string{sandbox.FlexPayBase, sandbox.MyPayGaBase, sandbox.KKiaPayBase, sandbox.NelsiusBase, sandbox.SMSPath} {
			stdout.after(t, at+base)
		}
		got, err := client.Get(url + api.PathForfaits)
		if err != nil {
			t.Fatal(err)
		}
		var page api.Forfaits
		if err := json.NewDecoder(got.Body).Decode(&page); err != nil || page.Total != 5 {
			t.Errorf("%s: %+v, %v", url, page, err)
		}
		got.Body.Close()
		client.CloseIdleConnections()
		cancel()
		if code := <-done; code != exitOK {
			t.Errorf("it ended with %d", code)
		}
	}
}

// The numbers are printed on demand, and where it begins.
func TestSandboxNumbers(t *testing.T) {
	stdout := newTalk()
	if code := run(t.Context(), []string{"sandbox", "--numbers"}, strings.NewReader(""), stdout, newTalk(), noEnvironment); code != exitOK {
		t.Fatalf("it ended with %d", code)
	}
	for _, want := range []string{"074131313", "4005075690593537", "0003", "never answers", "/_control/quirks"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no word of %q", want)
		}
	}
	stderr := newTalk()
	for _, args := range [][]string{{"sandbox", "--tls-cert", "x"}, {"sandbox", "x"}} {
		if code := run(t.Context(), args, strings.NewReader(""), newTalk(), stderr, noEnvironment); code != exitUsage {
			t.Errorf("%q ended with %d", args, code)
		}
	}
	if code := run(t.Context(), []string{"sandbox", "--callback-ca", t.TempDir()}, strings.NewReader(""), newTalk(), stderr, noEnvironment); code != exitFailed {
		t.Errorf("a directory is trusted: %d", code)
	}
}

// A browser offers HTTP/2, which our builds leave out: it must not be accepted.
func TestSandboxOverTLS(t *testing.T) {
	cert, key, _ := writePair(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	stdout, done := newTalk(), make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"sandbox", "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key}, strings.NewReader(""), stdout, newTalk(), noEnvironment)
	}()
	at := strings.TrimSuffix(strings.TrimSuffix(stdout.after(t, "plays at "), "."), sandbox.Base)
	c, err := tls.Dial("tcp", strings.TrimPrefix(at, "https://"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		t.Errorf("it speaks %q", got)
	}
	c.Close()
	cancel()
	if code := <-done; code != exitOK {
		t.Errorf("it ended with %d", code)
	}
}

// Callbacks reach a hub whose certificate only --callback-ca vouches for.
func TestSandboxCallback(t *testing.T) {
	dir := t.TempDir()
	cert, key, _ := writePair(t, dir)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	called := make(chan string, 1)
	hub := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { called <- r.URL.Path }))
	hub.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	hub.StartTLS()
	defer hub.Close()
	ctx, cancel := context.WithCancel(t.Context())
	stdout, done := newTalk(), make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"sandbox", "--listen", "127.0.0.1:0", "--delay", "1ms", "--callback-ca", cert}, strings.NewReader(""), stdout, newTalk(), noEnvironment)
	}()
	at := strings.TrimSuffix(strings.TrimSuffix(stdout.after(t, "plays at "), "."), sandbox.Base)
	body := `{"merchant":"SANDBOX","type":"1","phone":"243815557848","reference":"R1","amount":"100","currency":"CDF","callbackUrl":"` + hub.URL + `/callbacks/flexpay"}`
	r, err := http.NewRequestWithContext(ctx, "POST", at+sandbox.FlexPayBase+"/paymentService", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer sandbox-flexpay")
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	got.Body.Close()
	if path := <-called; path != "/callbacks/flexpay" {
		t.Error(path)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if code := <-done; code != exitOK {
		t.Errorf("it ended with %d", code)
	}
}
