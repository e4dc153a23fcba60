package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"zonegate/internal/control"
)

// newNASZone is a zone whose customers are all behind NASes.
func newNASZone(t *testing.T, rest string) zone {
	t.Helper()
	z := zone{dir: t.TempDir()}
	z.config = filepath.Join(z.dir, "zonegate.toml")
	text := fmt.Sprintf(`
data_dir = %q
control_socket = %q
[zone]
name = "Test"
id = "test"
language = "en"
[network]
lan = ""
%s`, filepath.Join(z.dir, "data"), filepath.Join(z.dir, "s"), dayPlan+rest)
	if err := os.WriteFile(z.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return z
}

// radclient sends one request from the daemon's namespace to itself.
func (d *daemon) radclient(t *testing.T, code int, port, kind, secret string, attributes ...string) string {
	t.Helper()
	path, err := exec.LookPath("radclient")
	if err != nil {
		t.Fatalf("this needs radclient (package freeradius-utils): %v", err)
	}
	cmd := exec.Command(path, "-x", "-t", "2", "-r", "1", "127.0.0.1:"+port, kind, secret)
	cmd.Stdin = strings.NewReader(strings.Join(append(attributes, "NAS-IP-Address=127.0.0.1"), "\n"))
	return d.inside(t, code, cmd)
}

func TestDaemonWithoutLAN(t *testing.T) {
	z := newNASZone(t, "")
	d := z.start(t)
	d.await(t, "the first answer", z.answers)
	if out := d.inside(t, exitFailed, z.child(t, nil, "doctor")); !strings.Contains(out, "FAIL      NASes: there is none, and no LAN") ||
		strings.Contains(out, "portal") || strings.Contains(out, "own table") {
		t.Errorf("the doctor without a NAS:\n%s", out)
	}
	if list := ask[control.NASes](t, z, exitOK, "nas", "list"); len(list.Listening) != 0 {
		t.Errorf("it listens for nobody: %+v", list)
	}
	made := ask[control.CreatedVouchers](t, z, exitOK, "voucher", "create", "--plan", "jour", "--count", "1", "--batch", "b")
	code := made.Vouchers[0].Code

	// It listens as soon as somebody may ask.
	added := ask[control.AddedNAS](t, z, exitOK, "nas", "add", "tower", "--address", "127.0.0.1", "--vendor", "mikrotik",
		"--login", "127.0.0.9", "--no-coa")
	d.await(t, "the server", func() bool { return len(ask[control.NASes](t, z, exitOK, "nas", "list").Listening) == 4 })
	login := []string{"User-Name=" + code, "User-Password=" + code, "Calling-Station-Id=02-00-00-00-00-01", "Message-Authenticator=0"}
	out := d.radclient(t, exitOK, "1812", "auth", added.Secret, login...)
	if !strings.Contains(out, "Received Access-Accept") || !strings.Contains(out, "Session-Timeout = 86") {
		t.Errorf("a login:\n%s", out)
	}
	if got := ask[control.Sessions](t, z, exitOK, "session", "list"); len(got.Sessions) != 1 || got.Sessions[0].Path != "tower" || !got.Sessions[0].Reserved {
		t.Errorf("%+v", got)
	}
	out = d.radclient(t, exitFailed, "1812", "auth", "another-secret-of-the-nas", login...)
	if strings.Contains(out, "Received Access-Accept") {
		t.Errorf("a login with another secret:\n%s", out)
	}
	d.radclient(t, exitOK, "1813", "acct", added.Secret, "User-Name="+code, "Calling-Station-Id=02-00-00-00-00-01",
		"Acct-Session-Id=1", "Acct-Status-Type=Start")
	if got := ask[control.Sessions](t, z, exitOK, "session", "list"); len(got.Sessions) != 1 || got.Sessions[0].Reserved {
		t.Errorf("%+v", got)
	}
	s := ask[control.Status](t, z, exitOK, "status")
	if s.NASes != 1 || s.Packets["access_accepts"] != 1 || s.Packets["wrong_message_authenticator"] == 0 || s.Packets["accounting_responses"] != 1 {
		t.Errorf("%+v", s)
	}
	if text, _ := z.do(t, exitOK, "", "status"); !strings.Contains(text, "NASes: 1; packets: access_accepts 1") {
		t.Error(text)
	}
	report := ask[control.NASReport](t, z, exitOK, "nas", "test", "tower")
	var subjects []string
	for _, f := range report.Findings {
		subjects = append(subjects, f.Severity+" "+f.Subject)
	}
	want := "info server, warning packets, info signature, info accounting, warning CoA"
	if got := strings.Join(subjects, ", "); got != want {
		t.Errorf("nas test: %s, want %s", got, want)
	}

	// Customers whom the NAS sends find the portal, and nobody else does.
	curl := exec.Command("curl", "-s", "http://127.0.0.1:2050/nas/mikrotik?mac=02%3A00%3A00%3A00%3A00%3A02&link-login-only=http%3A%2F%2F127.0.0.9%2Flogin")
	if page := d.inside(t, 0, curl); !strings.Contains(page, `name="code"`) {
		t.Errorf("the portal for customers of a NAS:\n%s", page)
	}
	d.inside(t, 7, exec.Command("curl", "-s", "http://127.0.0.1:2053/"))

	// A damaged book keeps nobody else from working, and is said.
	if err := d.stop(t, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(d.log.String(), added.Secret) || strings.Contains(d.log.String(), code) {
		t.Error("a secret or a code stands in the log")
	}
	book := filepath.Join(z.dir, "data", "nas.json")
	whole, err := os.ReadFile(book)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(book, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	d = z.start(t)
	d.await(t, "the daemon with a damaged book", z.answers)
	if out := d.inside(t, exitFailed, z.child(t, nil, "doctor")); !strings.Contains(out, "FAIL      NASes: reading") {
		t.Errorf("the doctor with a damaged book:\n%s", out)
	}
	if err := d.stop(t, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(book, whole, 0o600); err != nil {
		t.Fatal(err)
	}

	// So does a port that somebody else has, until he gives it up.
	d = z.start(t, envOccupy+"=1812")
	d.await(t, "the daemon without its port", z.answers)
	d.await(t, "the problem", func() bool {
		return strings.Contains(ask[control.NASes](t, z, exitOK, "nas", "list").Problem, "in use")
	})
	gone := ask[control.RemovedNAS](t, z, exitOK, "nas", "remove", "tower")
	d.await(t, "no problem without a NAS", func() bool {
		return ask[control.NASes](t, z, exitOK, "nas", "list").Problem == ""
	})
	if gone.Sessions != 1 || len(ask[control.Sessions](t, z, exitOK, "session", "list").Sessions) != 0 {
		t.Errorf("%+v", gone)
	}
	if err := d.stop(t, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}
