package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zonegate"
	"zonegate/internal/control"
)

// A desk stands in for the gate and remembers what it was asked.
type desk struct {
	asked    []string
	sessions []zonegate.SessionView
	health   zonegate.Health
	err      error
	codes    []string
	batch    zonegate.Batch
	findings []control.Finding
}

func (d *desk) note(format string, args ...any) error {
	d.asked = append(d.asked, fmt.Sprintf(format, args...))
	return d.err
}

func (d *desk) Plans() []zonegate.Plan {
	return []zonegate.Plan{{
		ID: "jour", Version: 2, Name: "1 jour", Price: zonegate.Money{Amount: 200, Currency: "XOF"},
		Duration: 24 * time.Hour, DataCap: 5e8, DevicesMax: 1,
		Rate: zonegate.Rate{CIRUp: 1, CIRDown: 2, MIRUp: 3, MIRDown: 4},
	}}
}
func (d *desk) Health() zonegate.Health { return d.health }
func (d *desk) Vouchers() []zonegate.VoucherCount {
	return []zonegate.VoucherCount{{Batch: "b", Plan: zonegate.PlanRef{ID: "jour", Version: 2}, Unused: 7}}
}
func (d *desk) AddVouchers(_ context.Context, b zonegate.Batch, codes []string) error {
	d.batch, d.codes = b, codes
	return d.note("add %d", len(codes))
}
func (d *desk) CreateVouchers(_ context.Context, b zonegate.Batch, n int) ([]string, error) {
	d.batch = b
	if b.Sealed {
		return []string{"AAAA-0001,PASS1", "AAAA-0002,PASS2"}[:n], d.note("create %d sealed", n)
	}
	return []string{"AAAA-0001", "AAAA-0002"}[:n], d.note("create %d", n)
}
func (d *desk) RevokeVoucher(_ context.Context, code string) error {
	return d.note("revoke voucher %s", code)
}
func (d *desk) Sessions() []zonegate.SessionView { return d.sessions }
func (d *desk) Kick(_ context.Context, id zonegate.SessionID) error {
	return d.note("kick %d", id)
}
func (d *desk) TopUp(_ context.Context, id zonegate.GrantID, octets uint64, t time.Duration) error {
	return d.note("top up %d by %d and %v", id, octets, t)
}
func (d *desk) Revoke(_ context.Context, id zonegate.GrantID) error {
	return d.note("revoke grant %d", id)
}
func (d *desk) Reconcile(context.Context) error { return d.note("reconcile") }

func (d *desk) NASes(context.Context) (control.NASes, error) {
	return control.NASes{
		NASes:   []control.NAS{{Name: "ap", Address: "10.0.0.2", Vendor: "generic", Packets: map[string]uint64{"accepted": 3}}},
		Packets: map[string]uint64{"unknown_nas": 4},
	}, d.err
}

func (d *desk) AddNAS(_ context.Context, in control.AddNAS) (control.AddedNAS, error) {
	return control.AddedNAS{NAS: control.NAS{Name: in.Name}, Secret: "drawn"}, d.note("add NAS %+v", in)
}

func (d *desk) RemoveNAS(_ context.Context, name string) (control.RemovedNAS, error) {
	return control.RemovedNAS{Name: name, Sessions: 2}, d.note("remove NAS %s", name)
}

func (d *desk) TestNAS(_ context.Context, name string) (control.NASReport, error) {
	return control.NASReport{NAS: control.NAS{Name: name}, Findings: d.findings}, d.note("test NAS %s", name)
}

type vault struct {
	text string
	err  error
}

func (v vault) Backup(w io.Writer) error {
	if _, err := io.WriteString(w, v.text); err != nil {
		return err
	}
	return v.err
}

func (v vault) Verify() (control.JournalReport, error) {
	return control.JournalReport{Records: 3, Problems: []string{"one"}}, v.err
}

func handler(d *desk) *control.Handler {
	return &control.Handler{
		Catalogue: d, Vouchers: d, Grants: d, Vault: vault{text: "everything"}, NASes: d,
		MikroTik:    func(context.Context) *control.MikroTik { return &control.MikroTik{Sessions: "api", Problem: "away"} },
		Unconfirmed: func() map[zonegate.SessionID]bool { return map[zonegate.SessionID]bool{10: true} },
		Base:        control.Status{Version: "v1", Zone: "z"}, Started: time.Now(),
		Facts: func(context.Context) control.Facts { return control.Facts{Storage: []string{"ext4"}} },
	}
}

// serve runs a daemon's side on a real socket until the test ends.
func serve(t *testing.T, h *control.Handler) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "run", "zonegate.sock")
	s, err := control.Listen(path, h)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket stayed behind: %v", err)
		}
	})
	return path
}

// both runs a test over the socket and within the process.
func both(t *testing.T, f func(*testing.T, *control.Client, *desk)) {
	t.Run("socket", func(t *testing.T) {
		d := new(desk)
		c, err := control.Dial(t.Context(), serve(t, handler(d)))
		if err != nil {
			t.Fatal(err)
		}
		f(t, c, d)
	})
	t.Run("process", func(t *testing.T) {
		d := new(desk)
		f(t, control.Local(handler(d)), d)
	})
}

func TestQuestions(t *testing.T) {
	both(t, func(t *testing.T, c *control.Client, d *desk) {
		ctx := t.Context()
		ends := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
		d.sessions = []zonegate.SessionView{{
			Session: zonegate.Session{ID: 9, Grant: 4, Device: zonegate.MAC{2, 0, 0, 0, 0, 9}},
			Octets:  zonegate.Octets{Up: 1 << 40, Down: 2},
			Balance: zonegate.Balance{
				Grant: 4, Plan: zonegate.Plan{ID: "jour", Version: 2}, State: zonegate.Active, TimeLeft: 90 * time.Second,
				Ends: ends, Cap: 100, OctetsLeft: 0, Devices: []zonegate.MAC{{2, 0, 0, 0, 0, 9}},
			},
		}}
		d.health = zonegate.Health{Seq: 12, Active: 1, Unused: 7, DataPath: errors.New("no LAN")}

		status, err := c.Status(ctx)
		want := control.Status{
			Running: true, Version: "v1", Zone: "z", DataPath: "no LAN", Record: 12, Sessions: 1, ActiveGrants: 1, Unused: 7,
			NASes: 1, Packets: map[string]uint64{"unknown_nas": 4}, MikroTik: &control.MikroTik{Sessions: "api", Problem: "away"},
		}
		if diff := cmp.Diff(want, status); err != nil || diff != "" {
			t.Errorf("status: %v\n%s", err, diff)
		}
		plans, err := c.Plans(ctx)
		wantPlans := control.Plans{Plans: []control.Plan{{
			ID: "jour", Version: 2, Name: "1 jour", Price: 200, Currency: "XOF", Seconds: 86400, DataCap: 5e8,
			CIRUp: 1, CIRDown: 2, MIRUp: 3, MIRDown: 4, Time: "calendar", DevicesMax: 1,
		}}}
		if diff := cmp.Diff(wantPlans, plans); err != nil || diff != "" {
			t.Errorf("plans: %v\n%s", err, diff)
		}
		vouchers, err := c.Vouchers(ctx)
		wantVouchers := control.Vouchers{Batches: []control.VoucherCount{{Batch: "b", Plan: "jour", PlanVersion: 2, Unused: 7}}}
		if diff := cmp.Diff(wantVouchers, vouchers); err != nil || diff != "" {
			t.Errorf("vouchers: %v\n%s", err, diff)
		}
		sessions, err := c.Sessions(ctx)
		zero := uint64(0)
		wantSessions := control.Sessions{Sessions: []control.Session{{
			ID: 9, Device: "02:00:00:00:00:09", Up: 1 << 40, Down: 2,
			Balance: control.Balance{
				ID: 4, Plan: "jour", PlanVersion: 2, State: "active", SecondsLeft: 90, Ends: &ends, OctetsLeft: &zero,
				Devices: []string{"02:00:00:00:00:09"},
			},
		}}}
		if diff := cmp.Diff(wantSessions, sessions); err != nil || diff != "" {
			t.Errorf("sessions: %v\n%s", err, diff)
		}
		facts, err := c.Facts(ctx)
		if diff := cmp.Diff(control.Facts{Running: true, Storage: []string{"ext4"}}, facts); err != nil || diff != "" {
			t.Errorf("facts: %v\n%s", err, diff)
		}
		report, err := c.Verify(ctx)
		if diff := cmp.Diff(control.JournalReport{Records: 3, Problems: []string{"one"}}, report); err != nil || diff != "" {
			t.Errorf("verify: %v\n%s", err, diff)
		}
		var backup bytes.Buffer
		if err := c.Backup(ctx, &backup); err != nil || backup.String() != "everything" {
			t.Errorf("backup: %q, %v", &backup, err)
		}
		if len(d.asked) != 0 {
			t.Errorf("questions changed something: %q", d.asked)
		}
	})
}

func TestChanges(t *testing.T) {
	both(t, func(t *testing.T, c *control.Client, d *desk) {
		ctx := t.Context()
		end := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
		made, err := c.CreateVouchers(ctx, control.CreateVouchers{Plan: "jour", Count: 2, Batch: "b", Expires: &end})
		want := control.CreatedVouchers{Plan: "jour", Batch: "b", Vouchers: []control.Voucher{{Code: "AAAA-0001", Plan: "jour"}, {Code: "AAAA-0002", Plan: "jour"}}}
		if diff := cmp.Diff(want, made); err != nil || diff != "" {
			t.Errorf("create: %v\n%s", err, diff)
		}
		if diff := cmp.Diff(zonegate.Batch{Name: "b", Plan: "jour", Expires: end}, d.batch); diff != "" {
			t.Error(diff)
		}
		for _, ask := range []func() (control.Done, error){
			func() (control.Done, error) { return c.RevokeVoucher(ctx, "abcd") },
			func() (control.Done, error) { return c.Kick(ctx, 9) },
			func() (control.Done, error) {
				return c.TopUp(ctx, control.TopUpGrant{Grant: 1 << 40, Octets: 1 << 50, Seconds: 60})
			},
			func() (control.Done, error) { return c.RevokeGrant(ctx, 4) },
			func() (control.Done, error) { return c.Reconcile(ctx) },
		} {
			if done, err := ask(); err != nil || !done.OK {
				t.Errorf("%+v, %v", done, err)
			}
		}
		wantAsked := []string{
			"create 2", "revoke voucher abcd", "kick 9", "top up 1099511627776 by 1125899906842624 and 1m0s", "revoke grant 4", "reconcile",
		}
		if diff := cmp.Diff(wantAsked, d.asked); diff != "" {
			t.Error(diff)
		}
	})
}

func TestImport(t *testing.T) {
	both(t, func(t *testing.T, c *control.Client, d *desk) {
		rows := []control.ImportLine{{Line: 2, Code: "one1", Plan: "jour"}, {Line: 5, Code: "two2", Plan: "jour"}}
		done, err := c.ImportVouchers(t.Context(), control.ImportVouchers{Batch: "b", Rows: rows})
		if err != nil || done.Imported != 2 || !cmp.Equal(d.codes, []string{"one1", "two2"}) {
			t.Fatalf("%+v, %v, %q", done, err, d.codes)
		}

		// What the gate says about its codes is said about the file's lines.
		d.err = errors.Join(
			fmt.Errorf("code 2: %w", zonegate.ErrCodeConflict),
			fmt.Errorf("code 2 is the same as code 1 when typed: %w", zonegate.ErrCodeConflict))
		_, err = c.ImportVouchers(t.Context(), control.ImportVouchers{Rows: rows})
		want := "line 5: " + zonegate.ErrCodeConflict.Error() + "\nline 5 is the same as line 2 when typed: " + zonegate.ErrCodeConflict.Error()
		if err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}

		d.asked = nil
		rows[1].Plan = "mois"
		if _, err = c.ImportVouchers(t.Context(), control.ImportVouchers{Rows: rows}); err == nil || !strings.Contains(err.Error(), "line 5") {
			t.Errorf("two plans in one import: %v", err)
		}
		if _, err = c.ImportVouchers(t.Context(), control.ImportVouchers{}); err == nil {
			t.Error("an empty import passed")
		}
		if d.asked != nil {
			t.Errorf("the gate was asked: %q", d.asked)
		}
	})
}

// Sealed codes carry their passwords beside them, in both directions.
func TestSealed(t *testing.T) {
	both(t, func(t *testing.T, c *control.Client, d *desk) {
		made, err := c.CreateVouchers(t.Context(), control.CreateVouchers{Plan: "jour", Count: 1, Sealed: true})
		if diff := cmp.Diff([]control.Voucher{{Code: "AAAA-0001", Password: "PASS1", Plan: "jour"}}, made.Vouchers); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
		rows := []control.ImportLine{
			{Line: 1, Code: "one1", Password: "a,b", Plan: "jour"}, {Line: 2, Code: "tw,o2", Password: "c", Plan: "jour"},
		}
		if _, err := c.ImportVouchers(t.Context(), control.ImportVouchers{Rows: rows}); err != nil {
			t.Fatal(err)
		}
		if !d.batch.Sealed || !cmp.Equal(d.codes, []string{"one1,a,b", "tw o2,c"}) {
			t.Errorf("%+v %q", d.batch, d.codes)
		}
		d.asked = nil
		rows[1].Password = ""
		if _, err := c.ImportVouchers(t.Context(), control.ImportVouchers{Rows: rows}); err == nil || !strings.Contains(err.Error(), "lines 2 and 1") || d.asked != nil {
			t.Errorf("one of two has a password: %v %q", err, d.asked)
		}
	})
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code string
	}{
		{zonegate.ErrNoSuchPlan, control.CodeNotFound},
		{fmt.Errorf("plan %q: %w", "x", zonegate.ErrNoSuchPlan), control.CodeNotFound},
		{fmt.Errorf("%w: disk full", zonegate.ErrNotDurable), control.CodeNotDurable},
		{zonegate.ErrStopped, control.CodeFailed},
		{errors.New("too many"), control.CodeRefused},
	} {
		both(t, func(t *testing.T, c *control.Client, d *desk) {
			d.err = tt.err
			_, err := c.CreateVouchers(t.Context(), control.CreateVouchers{Plan: "x", Count: 1})
			var e *control.Error
			if !errors.As(err, &e) || e.Code != tt.code || e.Message != tt.err.Error() {
				t.Errorf("%v became %#v", tt.err, err)
			}
		})
	}
	both(t, func(t *testing.T, c *control.Client, d *desk) {
		for _, in := range []control.TopUpGrant{{Grant: 1}, {Grant: 1, Seconds: -1}, {Grant: 1, Seconds: 1 << 40}} {
			if _, err := c.TopUp(t.Context(), in); err == nil {
				t.Errorf("%+v passed", in)
			}
		}
		if d.asked != nil {
			t.Errorf("the gate was asked: %q", d.asked)
		}
	})
}

func TestWithoutDaemon(t *testing.T) {
	h := handler(new(desk))
	h.Grants = nil
	c := control.Local(h)
	var e *control.Error
	for name, ask := range map[string]func() error{
		"sessions":  func() error { _, err := c.Sessions(t.Context()); return err },
		"kick":      func() error { _, err := c.Kick(t.Context(), 1); return err },
		"topup":     func() error { _, err := c.TopUp(t.Context(), control.TopUpGrant{Grant: 1, Octets: 1}); return err },
		"revoke":    func() error { _, err := c.RevokeGrant(t.Context(), 1); return err },
		"reconcile": func() error { _, err := c.Reconcile(t.Context()); return err },
		"facts":     func() error { _, err := c.Facts(t.Context()); return err },
	} {
		if err := ask(); !errors.As(err, &e) || e.Code != control.CodeNoDaemon {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := c.Status(t.Context())
	if err != nil || s.Running || s.OK {
		t.Errorf("status: %+v, %v", s, err)
	}
	if _, err := c.RevokeVoucher(t.Context(), "x"); err != nil {
		t.Error(err)
	}
}

// A backup that breaks off must never look whole.
func TestABackupThatBreaksOff(t *testing.T) {
	for _, text := range []string{"", strings.Repeat("half ", 1<<16)} {
		h := handler(new(desk))
		h.Vault = vault{text, errors.New("no more disk")}
		c, err := control.Dial(t.Context(), serve(t, h))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*control.Client{c, control.Local(h)} {
			if err := c.Backup(t.Context(), io.Discard); err == nil {
				t.Error("half a backup passed for a whole one")
			}
		}
	}
}

func TestOnlyPostChanges(t *testing.T) {
	d := new(desk)
	path := serve(t, handler(d))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", path)
	}}}
	for _, what := range []string{
		"vouchers/create", "vouchers/import", "vouchers/revoke", "sessions/kick", "grants/topup", "grants/revoke", "reconcile",
	} {
		resp, err := client.Get("http://zonegate/v1/" + what)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: %s", what, resp.Status)
		}
		resp, err = client.Post("http://zonegate/v1/"+what, "application/json", strings.NewReader(`{"unknown":1}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("POST %s with an unknown key: %s", what, resp.Status)
		}
	}
	if d.asked != nil {
		t.Errorf("something was changed: %q", d.asked)
	}
}

func TestTheSocketHasOneOwner(t *testing.T) {
	path := serve(t, handler(new(desk)))
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket's mode is %v", info.Mode())
	}
	if _, err := control.Listen(path, handler(new(desk))); !errors.Is(err, control.ErrInUse) {
		t.Errorf("a second daemon: %v", err)
	}
	if c, err := control.Dial(t.Context(), path); err != nil {
		t.Errorf("the first daemon lost its socket: %v", err)
	} else if _, err := c.Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as if killed
	l.Close()
	if _, err := control.Dial(t.Context(), path); !errors.Is(err, control.ErrNoDaemon) {
		t.Fatalf("a stale socket: %v", err)
	}
	s, err := control.Listen(path, handler(new(desk)))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAFileIsNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Listen(path, handler(new(desk))); err == nil {
		t.Fatal("a file was taken for a socket")
	}
	if got, _ := os.ReadFile(path); string(got) != "mine" {
		t.Fatalf("the file is now %q", got)
	}
	if _, err := control.Dial(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, control.ErrNoDaemon) {
		t.Fatalf("no socket: %v", err)
	}
}

func TestNASes(t *testing.T) {
	both(t, func(t *testing.T, c *control.Client, d *desk) {
		ctx := t.Context()
		list, err := c.NASes(ctx)
		if err != nil || len(list.NASes) != 1 || list.NASes[0].Packets["accepted"] != 3 || list.Packets["unknown_nas"] != 4 || list.Listening == nil {
			t.Errorf("%v %+v", err, list)
		}
		s, err := c.Status(ctx)
		if err != nil || s.NASes != 1 || s.Packets["unknown_nas"] != 4 {
			t.Errorf("%v %+v", err, s)
		}
		in := control.AddNAS{
			Name: "ap", Address: "10.0.0.2", Vendor: "mikrotik", Secret: "s3cret", UAMSecret: "u", RequireMA: "yes",
			CoAPort: 1700, NoCoA: true, Interim: 60, Strict: true, Logins: []string{"10.5.50.1"}, Force: true,
		}
		added, err := c.AddNAS(ctx, in)
		if err != nil || added.NAS.Name != "ap" || added.Secret != "drawn" {
			t.Errorf("%v %+v", err, added)
		}
		removed, err := c.RemoveNAS(ctx, "ap")
		if err != nil || removed != (control.RemovedNAS{Name: "ap", Sessions: 2}) {
			t.Errorf("%v %+v", err, removed)
		}
		for severity, ok := range map[string]bool{"info": true, "warning": true, "error": false} {
			d.findings = []control.Finding{{Severity: severity}, {Severity: "info"}}
			r, err := c.TestNAS(ctx, "ap")
			if err != nil || r.OK != ok || len(r.Findings) != 2 {
				t.Errorf("%s: %v %+v", severity, err, r)
			}
		}
		want := []string{fmt.Sprintf("add NAS %+v", in), "remove NAS ap", "test NAS ap", "test NAS ap", "test NAS ap"}
		if diff := cmp.Diff(want, d.asked); diff != "" {
			t.Error(diff)
		}
		d.err = &control.Error{Code: control.CodeNotFound, Message: "no such NAS"}
		var e *control.Error
		if _, err := c.RemoveNAS(ctx, "other"); !errors.As(err, &e) || e.Code != control.CodeNotFound {
			t.Errorf("%v", err)
		}
		if _, err := c.NASes(ctx); !errors.As(err, &e) {
			t.Errorf("%v", err)
		}
	})
}

// A session at a NAS shows where it is, and what is not certain about it.
func TestSessionsAtNASes(t *testing.T) {
	both(t, func(t *testing.T, c *control.Client, d *desk) {
		for id, x := range []zonegate.Session{{}, {Path: "ap", Key: "81a00001"}, {Path: "ap@10.0.0.3"}} {
			x.ID = zonegate.SessionID(9 + id)
			d.sessions = append(d.sessions, zonegate.SessionView{Session: x})
		}
		got, err := c.Sessions(t.Context())
		if err != nil || len(got.Sessions) != 3 {
			t.Fatalf("%v %+v", err, got)
		}
		for i, want := range []control.Session{{}, {Path: "ap", Unconfirmed: true}, {Path: "ap@10.0.0.3", Reserved: true}} {
			s := got.Sessions[i]
			if s.Path != want.Path || s.Reserved != want.Reserved || s.Unconfirmed != want.Unconfirmed {
				t.Errorf("session %d: %+v", i, s)
			}
		}
	})
}
