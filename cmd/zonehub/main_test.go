package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zonegate/hub"
	"zonegate/sync/api"
)

func noEnvironment(string) (string, bool) { return "", false }

// zonehub runs one command to its end.
func zonehub(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs, noEnvironment)
	return code, out.String(), errs.String()
}

// must runs a command that succeeds, and returns its first word.
func must(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	code, out, errs := zonehub(t, stdin, args...)
	if code != exitOK {
		t.Fatalf("zonehub %v: exit %d: %s", args, code, errs)
	}
	word, _, _ := strings.Cut(strings.TrimSpace(out), "\t")
	return word
}

// A talk is what a program has written so far.
type talk struct {
	mu  sync.Mutex
	b   bytes.Buffer
	new chan struct{}
}

func newTalk() *talk { return &talk{new: make(chan struct{}, 1)} }

func (k *talk) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case k.new <- struct{}{}:
	default:
	}
	return k.b.Write(b)
}

func (k *talk) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.b.String()
}

// after waits for the word that follows a text.
func (k *talk) after(t *testing.T, text string) string {
	t.Helper()
	end := time.After(time.Minute)
	for {
		if _, rest, ok := strings.Cut(k.String(), text); ok {
			if word := strings.FieldsFunc(rest, func(r rune) bool { return r == ' ' || r == '\n' }); len(word) > 0 {
				return word[0]
			}
		}
		select {
		case <-k.new:
		case <-end:
			t.Fatalf("waited in vain for %q; written was:\n%s", text, k)
		}
	}
}

// serving runs serve until stop, which returns its exit code.
func serving(t *testing.T, lookup func(string) (string, bool), args ...string) (stdout, stderr *talk, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stdout, stderr = newTalk(), newTalk()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, append([]string{"serve"}, args...), strings.NewReader(""), stdout, stderr, lookup)
	}()
	stop = sync.OnceValue(func() int {
		cancel()
		select {
		case code := <-done:
			return code
		case <-time.After(time.Minute):
			t.Error("serve does not stop")
			return -1
		}
	})
	t.Cleanup(func() { stop() })
	return stdout, stderr, stop
}

// writePair writes a certificate for 127.0.0.1 and its key.
func writePair(t *testing.T, dir string) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return cert, key, pool
}

// TestFirstDay goes from an empty directory to a gateway that was let in and a
// forfait on sale, with the commands beside the running hub.
func TestFirstDay(t *testing.T) {
	dir := t.TempDir()
	cert, key, pool := writePair(t, dir)
	data := filepath.Join(dir, "data")
	stdout, stderr, stop := serving(t, noEnvironment, "--data", data, "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key,
		"--public-url", "https://hub.example/")
	address := stderr.after(t, "listen=")
	if link := stdout.after(t, "open\n\n"); !strings.HasPrefix(link, "https://hub.example/setup?token=") {
		t.Errorf("the set-up link is %q", link)
	} else if _, token, _ := strings.Cut(link, "="); strings.Contains(stderr.String(), token) {
		t.Error("the set-up token is in the log")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: time.Minute}
	base := "https://" + address + "/api/v1"

	with := func(args ...string) []string { return append(args, "--data", data) }
	reseller := must(t, "", with("reseller", "add", "Kofi")...)
	site := must(t, "", with("site", "add", "--reseller", reseller, "Gbegamey")...)
	code := must(t, "", with("enrol-code", "--site", site)...)
	must(t, "correct horse battery\n", with("user", "add", "--role", "admin", "boss")...)
	forfait := must(t, "", with("forfait", "set", "--price", "500", "--hours", "24", "--data-mb", "500", "--cir-kbps", "512", "--mir-kbps", "2048", "Jour")...)

	var in api.Enrolled
	post(t, client, base+api.PathEnrol, "", api.Enrol{Code: code, Zone: "z", Name: "n", Version: "1", Instance: strings.Repeat("0", 32)}, http.StatusCreated, &in)
	if in.SiteID != site {
		t.Errorf("enrolled at %s, want %s", in.SiteID, site)
	}
	var token api.Token
	post(t, client, base+api.PathLogin, "", api.Login{Name: "boss", Password: "correct horse battery"}, http.StatusOK, &token)
	var v api.Vouchers
	post(t, client, base+api.PathGenerate, token.Token, api.Generate{N: 2, ForfaitID: forfait, ResellerID: reseller}, http.StatusCreated, &v)

	// A new version changes what it names alone, and reaches the stream that
	// the running hub holds.
	q, err := http.NewRequestWithContext(t.Context(), "GET", base+api.PathEvents, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+in.Token)
	a, err := client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	events := newTalk()
	go io.Copy(events, a.Body)
	must(t, "", with("forfait", "set", "--id", forfait, "--price", "600", "--running")...)
	events.after(t, "id: 3\n")
	var f api.Forfaits
	get(t, client, base+api.PathForfaits, &f)
	want := api.Forfait{ID: forfait, Name: "Jour", PriceFCFA: 600, DurationHours: 24, DataLimitMB: 500, CIRKbps: 512, MIRKbps: 2048}
	if len(f.Items) != 1 || f.Items[0] != want {
		t.Errorf("forfaits: %+v", f)
	}
	must(t, "", with("forfait", "withdraw", forfait)...)
	get(t, client, base+api.PathForfaits, &f)
	if len(f.Items) != 0 {
		t.Errorf("a withdrawn forfait is on sale: %+v", f)
	}
	must(t, "", with("gateway", "revoke", "--reason", "stolen", in.GatewayID)...)
	events.after(t, "id: 5\n")

	if code := stop(); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
	for _, secret := range []string{code, in.Token, token.Token, v.Items[0].Code, "correct horse"} {
		if strings.Contains(stderr.String(), secret) {
			t.Error("a secret is in the log")
		}
	}
	for _, name := range []string{"hub.key", "hub.db"} {
		if info, err := os.Stat(filepath.Join(data, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want it for its owner alone", name, info.Mode(), err)
		}
	}
	// The second start knows all that, and prints no link.
	stdout, stderr, stop = serving(t, noEnvironment, "--data", data, "--listen", "127.0.0.1:0")
	address = stderr.after(t, "listen=")
	stderr.after(t, "plain HTTP")
	post(t, client, "http://"+address+"/api/v1"+api.PathLogin, "", api.Login{Name: "boss", Password: "correct horse battery"}, http.StatusOK, &token)
	stop()
	if stdout.String() != "" {
		t.Errorf("the second start printed %q", stdout)
	}
}

func post(t *testing.T, client *http.Client, url, token string, body any, status int, into any) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "POST", url, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	do(t, client, r, status, into)
}

func get(t *testing.T, client *http.Client, url string, into any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	do(t, client, r, http.StatusOK, into)
}

func do(t *testing.T, client *http.Client, r *http.Request, status int, into any) {
	t.Helper()
	a, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	answer, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode != status {
		t.Fatalf("%s %s: status %d, %v: %s", r.Method, r.URL.Path, a.StatusCode, err, answer)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		t.Fatal(err)
	}
}

func TestSignalStops(t *testing.T) {
	dir := t.TempDir()
	stdout, stderr := newTalk(), newTalk()
	done := make(chan int, 1)
	go func() {
		done <- run(context.Background(), []string{"serve", "--data", dir, "--listen", "127.0.0.1:0"}, strings.NewReader(""), stdout, stderr, noEnvironment)
	}()
	stderr.after(t, "listen=")
	if err := unix.Kill(os.Getpid(), unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := <-done; code != exitOK {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
}

func TestKeysAreMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	// Ten first starts at once.
	var wg sync.WaitGroup
	all := make([]hub.Keys, 10)
	for i := range all {
		wg.Go(func() {
			var err error
			if all[i], err = loadKeys(dir, func() error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range all {
		if !bytes.Equal(k.JWT, all[0].JWT) || !k.Push.Equal(all[0].Push) {
			t.Fatal("two starts made two hubs")
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("%v, %v; want hub.key alone", left, err)
	}
	name := filepath.Join(dir, keyFile)
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKeys(dir, nil); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("keys that everybody can read: %v", err)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 40); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKeys(dir, nil); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("damaged keys: %v", err)
	}
}

func TestRestored(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if head := must(t, "", "restored", "--data", data); head != "100000" {
		t.Errorf("pushes go on after %s", head)
	}
	if code, _, _ := zonehub(t, "", "restored", "--data", data, "now"); code != exitUsage {
		t.Errorf("with an argument: exit %d", code)
	}
}

// TestKeysAreLost: new keys beside a database that has sites would be a hub
// that no gateway believes.
func TestKeysAreLost(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	reseller := must(t, "", "reseller", "add", "--data", data, "Kofi")
	name := filepath.Join(data, keyFile)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	// Without sites nothing is lost.
	must(t, "", "site", "add", "--data", data, "--reseller", reseller, "Gbegamey")
	kept, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"site", "list"}, {"serve", "--listen", "127.0.0.1:0"}} {
		code, _, errs := zonehub(t, "", append(args, "--data", data)...)
		if code != exitFailed || !strings.Contains(errs, "restore hub.key from the backup") || !strings.Contains(errs, "--new-keys") {
			t.Errorf("zonehub %v without keys: exit %d: %s", args, code, errs)
		}
		if _, err := os.Stat(name); err == nil {
			t.Fatal("keys were made")
		}
	}
	if err := os.WriteFile(name, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "", "site", "list", "--data", data)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	_, stderr, stop := serving(t, noEnvironment, "--data", data, "--listen", "127.0.0.1:0", "--new-keys")
	stderr.after(t, "listen=")
	if code := stop(); code != exitOK {
		t.Errorf("with --new-keys: exit %d: %s", code, stderr)
	}
	if made, err := os.ReadFile(name); err != nil || bytes.Equal(made, kept) {
		t.Errorf("with --new-keys: %v", err)
	}
}

func TestCertificateIsRenewed(t *testing.T) {
	dir := t.TempDir()
	cert, key, _ := writePair(t, dir)
	c, err := loadCertificate(cert, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := c.config().GetCertificate(nil)
	writePair(t, dir)
	if err := os.Chtimes(key, time.Now(), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if c.changed().Equal(c.read) {
		t.Fatal("the change is not seen")
	}
	if err := c.load(c.changed()); err != nil {
		t.Fatal(err)
	}
	if after, _ := c.config().GetCertificate(nil); bytes.Equal(after.Certificate[0], before.Certificate[0]) {
		t.Error("the old certificate is served")
	}
	if err := os.WriteFile(key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c.load(c.changed()) == nil {
		t.Error("half a key was taken")
	}
}

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "hub.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# a hub\nlisten = \"127.0.0.1:0\"\nlog-level=error\ndata = " + filepath.Join(dir, "wrong") + "\n")
	lookup := func(name string) (string, bool) {
		switch name {
		case "ZONEHUB_CONFIG":
			return file, true
		case "ZONEHUB_DATA":
			return filepath.Join(dir, "right"), true
		case "ZONEHUB_LOG_LEVEL":
			return "warn", true
		}
		return "", false
	}
	// The flag is before the environment, and that before the file.
	_, stderr, stop := serving(t, lookup, "--log-level", "info")
	stderr.after(t, "listen=127.0.0.1:")
	stop()
	if _, err := os.Stat(filepath.Join(dir, "right", keyFile)); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		"listen":                    "name = value",
		"lisen = :80":               "there is no setting",
		"listen = :1\nlisten = :2":  "twice",
		"login-per-minute = plenty": "login-per-minute",
	} {
		write(text)
		if code, _, errs := zonehub(t, "", "serve", "--config", file, "--data", dir); code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%q: exit %d: %s", text, code, errs)
		}
	}
}

func TestBadCommandLines(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		{}, {"dance"}, {"site"}, {"site", "dance"}, {"serve", "now"}, {"serve", "--lisen", "x"}, {"serve", "--tls-cert", "x"},
		{"serve", "--public-url", "hub"}, {"serve", "--proxy", "somewhere"}, {"serve", "--log-level", "loud"}, {"enrol-code"}, {"site", "add", "x"},
		{"forfait", "set"}, {"user", "add"}, {"gateway", "revoke"}, {"version", "2"},
	} {
		args := append([]string(nil), args...)
		if len(args) > 0 && args[0] != "dance" && (args[0] != "site" || len(args) > 2) && args[0] != "version" {
			args = append(args, "--data", dir)
		}
		if code, _, errs := zonehub(t, "", args...); code != exitUsage || errs == "" {
			t.Errorf("zonehub %v: exit %d: %s", args, code, errs)
		}
	}
	for _, args := range [][]string{
		{"enrol-code", "--site", "none"}, {"forfait", "set", "--price", "-5", "--hours", "1", "x"}, {"forfait", "set", "--price", "5", "x"},
		{"forfait", "set", "--price", "5", "--hours", "1", "--cir-kbps", "9", "--mir-kbps", "8", "x"}, {"forfait", "set", "--id", "none"},
		{"site", "add", "--reseller", "none", "x"}, {"user", "add", "--role", "king", "x"}, {"serve", "--listen", "nowhere:x"},
		{"serve", "--database", "postgres://127.0.0.1:1/x?connect_timeout=1"},
	} {
		if code, _, errs := zonehub(t, "short\n", append(args, "--data", dir)...); code != exitFailed || errs == "" {
			t.Errorf("zonehub %v: exit %d: %s", args, code, errs)
		}
	}
	for _, args := range [][]string{{"help"}, {"serve", "--help"}, {"version"}, {"forfait", "set", "-h"}} {
		if code, out, _ := zonehub(t, "", args...); code != exitOK || out == "" {
			t.Errorf("zonehub %v: exit %d", args, code)
		}
	}
	// Every setting of the file is a flag of serve.
	_, out, _ := zonehub(t, "", "serve", "--help")
	for _, k := range fileKeys {
		if !strings.Contains(out, fmt.Sprintf("--%s ", k)) {
			t.Errorf("%s can stand in the file, and is no flag of serve", k)
		}
	}
}
