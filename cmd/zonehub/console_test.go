package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestSetUpInABrowser follows the link that the first start prints, and signs
// in and out.
func TestSetUpInABrowser(t *testing.T) {
	dir := t.TempDir()
	cert, key, pool := writePair(t, dir)
	stdout, stderr, _ := serving(t, noEnvironment, "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key,
		"--login-per-minute", "1")
	address := stderr.after(t, "listen=")
	link := strings.TrimSpace(stdout.after(t, "open\n\n"))
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Jar: jar, Timeout: time.Minute}
	read := func(a *http.Response, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		body, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	field := regexp.MustCompile(`name="token" value="([^"]+)"`)
	page := read(client.Get(link))
	if !strings.Contains(page, `action="/setup"`) {
		t.Fatalf("the link shows %s", page)
	}
	_, token, _ := strings.Cut(link, "token=")
	token, err = url.QueryUnescape(token)
	if err != nil {
		t.Fatal(err)
	}
	const password = "correct horse battery"
	page = read(client.PostForm("https://"+address+"/setup", url.Values{"token": {field.FindStringSubmatch(page)[1]}, "link": {token},
		"name": {"boss"}, "password": {password}, "again": {password}}))
	if !strings.Contains(page, "boss (") {
		t.Fatalf("the set-up leads to %s", page)
	}
	page = read(client.PostForm("https://"+address+"/logout", url.Values{"token": {field.FindStringSubmatch(page)[1]}}))
	var last string
	for range 4 { // the set-up was counted; on a slow day a minute may pass
		if strings.Contains(last, "Trop d’essais") {
			break
		}
		last = read(client.PostForm("https://"+address+"/login", url.Values{"token": {field.FindStringSubmatch(page)[1]}, "name": {"boss"}, "password": {"wrong password"}}))
	}
	if !strings.Contains(last, "Trop d’essais") {
		t.Errorf("signing in is not limited: %s", last)
	}
	if log := stderr.String(); strings.Contains(log, token) || strings.Contains(log, password) {
		t.Error("a secret is in the log")
	}
}
