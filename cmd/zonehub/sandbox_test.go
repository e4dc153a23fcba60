package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

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
