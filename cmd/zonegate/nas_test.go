package main

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zonegate"
	"zonegate/internal/config"
	"zonegate/internal/control"
	"zonegate/radius/nas"
)

func TestNASCommands(t *testing.T) {
	z := newZone(t, "")
	if got := ask[control.NASes](t, z, exitOK, "nas", "list"); len(got.NASes) != 0 {
		t.Errorf("%+v", got)
	}
	added := ask[control.AddedNAS](t, z, exitOK, "nas", "add", "tower", "--address", "192.168.88.1", "--vendor", "mikrotik",
		"--login", "10.5.50.1", "--login", "hotspot.example.org:8080", "--interim", "90s", "--coa-port", "1700", "--strict")
	if len(added.Secret) < 32 {
		t.Errorf("a drawn secret of %d characters", len(added.Secret))
	}
	want := control.NAS{
		Name: "tower", Address: "192.168.88.1", Vendor: "mikrotik", RequireMA: "auto", CoAPort: 1700, Interim: 90, Strict: true,
		Logins: []string{"10.5.50.1", "hotspot.example.org:8080"},
	}
	if diff := cmp.Diff(want, added.NAS); diff != "" {
		t.Error(diff)
	}
	const typed, uam = "a-secret-that-was-typed-42", "what-chilli-knows-too"
	file := filepath.Join(z.dir, "uam")
	if err := os.WriteFile(file, []byte(uam+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := z.do(t, exitOK, typed+"\n", "nas", "add", "aps", "--address", "10.5.0.0/24", "--vendor", "coovachilli",
		"--secret-file", "-", "--uam-secret-file", file, "--no-coa", "--require-message-auth", "yes")
	if strings.Contains(out, typed) || strings.Contains(out, uam) {
		t.Errorf("a secret that was given is printed:\n%s", out)
	}
	list := ask[control.NASes](t, z, exitOK, "nas", "list")
	if len(list.NASes) != 2 || list.NASes[0].Name != "aps" || !list.NASes[0].UAMSecret || list.NASes[0].CoAPort != 0 ||
		list.NASes[0].Interim != 300 || list.NASes[0].RequireMA != "yes" {
		t.Errorf("%+v", list)
	}
	text, _ := z.do(t, exitOK, "", "nas", "list")
	raw, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{typed, uam, added.Secret} {
		if strings.Contains(text, secret) || strings.Contains(string(raw), secret) {
			t.Error("the list shows a secret")
		}
	}
	// The book has them, and is the owner's alone.
	book, err := nas.Open(filepath.Join(z.dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	tower, _ := book.ByName("tower")
	aps, _ := book.ByName("aps")
	if string(tower.Secret) != added.Secret || string(aps.Secret) != typed || string(aps.UAMSecret) != uam {
		t.Error("the book has other secrets")
	}
	if info, err := os.Stat(filepath.Join(z.dir, "data", nas.FileName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}

	for _, tt := range []struct {
		code        int
		stdin, want string
		args        []string
	}{
		{exitUsage, "", "NAME", []string{"nas", "add", "--address", "10.0.0.1"}},
		{exitUsage, "", "--address", []string{"nas", "add", "x"}},
		{exitUsage, "", "--coa-port", []string{"nas", "add", "x", "--address", "10.0.0.1", "--coa-port", "65536"}},
		{exitUsage, "", "only one", []string{"nas", "add", "x", "--address", "10.0.0.1", "--secret-file", "-", "--uam-secret-file", "-"}},
		{exitFailed, "one\ntwo\n", "one line", []string{"nas", "add", "x", "--address", "10.0.0.1", "--secret-file", "-"}},
		{exitFailed, "\n", "one line", []string{"nas", "add", "x", "--address", "10.0.0.1", "--secret-file", "-"}},
		{exitFailed, "", "no such file", []string{"nas", "add", "x", "--address", "10.0.0.1", "--secret-file", file + "x"}},
		{exitFailed, "short\n", "--force", []string{"nas", "add", "x", "--address", "10.0.0.1", "--secret-file", "-"}},
		{exitFailed, "", "no address", []string{"nas", "add", "x", "--address", "tower.example.org"}},
		{exitFailed, "", "mikrotik", []string{"nas", "add", "x", "--address", "10.0.0.1", "--vendor", "acme"}},
		{exitFailed, "", "leave --login out", []string{"nas", "add", "x", "--address", "10.0.0.1", "--vendor", "pfsense", "--login", "10.0.0.1"}},
		{exitFailed, "", "already", []string{"nas", "add", "tower", "--address", "10.0.0.1"}},
		{exitFailed, "", "whole seconds", []string{"nas", "add", "x", "--address", "10.0.0.1", "--interim", "10s"}},
		{exitFailed, "", "radius.interim", []string{"nas", "add", "x", "--address", "10.0.0.1", "--interim", "10m"}},
		{exitFailed, "", "nas list", []string{"nas", "remove", "x"}},
		{exitFailed, "", "not running", []string{"nas", "test", "tower"}},
		{exitUsage, "", "NAME", []string{"nas", "test"}},
		{exitUsage, "", "one of: add, list, test, remove, login-page", []string{"nas"}},
	} {
		if _, stderr := z.do(t, tt.code, tt.stdin, tt.args...); !strings.Contains(stderr, tt.want) {
			t.Errorf("%v: %q is not in %s", tt.args, tt.want, stderr)
		}
	}
	forced := ask2[control.AddedNAS](t, z, "short\n", "nas", "add", "old", "--address", "10.0.0.1", "--secret-file", "-", "--force")
	if !forced.NAS.WeakSecret || forced.Secret != "" {
		t.Errorf("%+v", forced)
	}
	if gone := ask[control.RemovedNAS](t, z, exitOK, "nas", "remove", "tower"); gone.Name != "tower" || gone.Sessions != 0 {
		t.Errorf("%+v", gone)
	}
	if list := ask[control.NASes](t, z, exitOK, "nas", "list"); len(list.NASes) != 2 {
		t.Errorf("%+v", list)
	}

	// A book that cannot be read is left alone, and says so.
	name := filepath.Join(z.dir, "data", nas.FileName)
	if err := os.WriteFile(name, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if list := ask[control.NASes](t, z, exitOK, "nas", "list"); !strings.Contains(list.Problem, nas.FileName) {
		t.Errorf("%+v", list)
	}
	z.do(t, exitFailed, "", "nas", "add", "y", "--address", "10.0.0.9")
	z.do(t, exitFailed, "", "nas", "remove", "old")
	if raw, err := os.ReadFile(name); err != nil || string(raw) != "{" {
		t.Errorf("the damaged book became %q, %v", raw, err)
	}
	z.do(t, exitOK, "", "voucher", "list")
}

// ask2 is ask with a standard input.
func ask2[T any](t *testing.T, z zone, stdin string, args ...string) T {
	t.Helper()
	out, _ := z.do(t, exitOK, stdin, append(args, "--json")...)
	var v T
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return v
}

// A ledger stands in for the gate.
type ledger struct {
	sessions []zonegate.SessionView
	ended    []string
	err      error
}

func (l *ledger) Sessions() []zonegate.SessionView { return l.sessions }
func (l *ledger) Removed(_ context.Context, path string) error {
	l.ended = append(l.ended, path)
	return l.err
}

// Removing a NAS ends the sessions at all of its machines, and no others.
func TestRemovingANASEndsItsSessions(t *testing.T) {
	book, err := nas.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	gate := &ledger{}
	for _, path := range []string{"", "aps@10.5.0.2", "aps@10.5.0.2", "aps2", "aps2@10.5.0.2"} {
		gate.sessions = append(gate.sessions, zonegate.SessionView{Session: zonegate.Session{Path: path}})
	}
	d := &nasDesk{config: &config.Config{RADIUS: config.RADIUS{Interim: 2 * time.Minute}}, book: book, gate: gate}
	added, err := d.AddNAS(t.Context(), control.AddNAS{Name: "aps", Address: "10.5.0.0/24"})
	if err != nil || added.NAS.Vendor != "generic" || added.NAS.Interim != 120 {
		t.Fatalf("%v %+v", err, added)
	}
	list, err := d.NASes(t.Context())
	if err != nil || list.NASes[0].Sessions != 2 {
		t.Errorf("%v %+v", err, list)
	}
	gone, err := d.RemoveNAS(t.Context(), "aps")
	if diff := cmp.Diff([]string{"aps@10.5.0.2"}, gate.ended); diff != "" || err != nil || gone.Sessions != 2 {
		t.Errorf("%v %+v\n%s", err, gone, diff)
	}
}

// A gateway without a LAN enforces nothing by itself.
func TestNoPath(t *testing.T) {
	p := noPath{}
	if err := p.Apply(t.Context(), []zonegate.Order{{}}); err != nil {
		t.Error(err)
	}
	if err := p.Change(t.Context(), []zonegate.Order{{}}, []zonegate.SessionID{1}); err != nil {
		t.Error(err)
	}
	if u, err := p.Usage(t.Context()); err != nil || len(u) != 0 {
		t.Errorf("%v %v", u, err)
	}
}

func TestLoginPage(t *testing.T) {
	z := newZone(t, "[radius]\nlisten = [\"127.0.0.1\"]\n")
	if out, _ := z.do(t, exitOK, "", "nas", "login-page", "http://192.168.88.2:2050"); !strings.Contains(out, "http://192.168.88.2:2050/nas/mikrotik?") {
		t.Errorf("%s", out)
	}
	if out, _ := z.do(t, exitOK, "", "nas", "login-page", "--sessions", "api", "http://192.168.88.2:2050"); !strings.Contains(out, `href="http://192.168.88.2:2050/"`) {
		t.Errorf("%s", out)
	}
	if _, stderr := z.do(t, exitFailed, "", "nas", "login-page"); !strings.Contains(stderr, "give it") {
		t.Errorf("%s", stderr)
	}
	z.do(t, exitUsage, "", "nas", "login-page", "--sessions", "both")
	for _, bad := range []string{"192.168.88.2", "http://a\"b/", "http://$(mac)/"} {
		z.do(t, exitUsage, "", "nas", "login-page", bad)
	}
	cfg := &config.Config{Portal: config.Portal{Port: 2050}}
	addrs := []netip.Addr{netip.IPv4Unspecified(), netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("192.168.88.2")}
	if got := portalURL(cfg, addrs); got != "http://192.168.88.2:2050" {
		t.Error(got)
	}
	cfg.Portal.NASNames = []string{"wifi.example.org"}
	if got := portalURL(cfg, addrs); got != "http://wifi.example.org" {
		t.Error(got)
	}
}
