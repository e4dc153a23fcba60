package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zonegate"
	"zonegate/internal/clock"
	"zonegate/internal/config"
	"zonegate/internal/control"
	"zonegate/internal/store"
)

var update = flag.Bool("update", false, "write the golden files")

// A zone is a configuration in a directory of its own.
type zone struct{ dir, config string }

func newZone(t *testing.T, extra string) zone {
	t.Helper()
	dir := t.TempDir()
	z := zone{dir, filepath.Join(dir, "zonegate.toml")}
	z.write(t, extra)
	return z
}

func (z zone) write(t *testing.T, extra string) {
	t.Helper()
	text := fmt.Sprintf("data_dir = %q\ncontrol_socket = %q\n", filepath.Join(z.dir, "data"), filepath.Join(z.dir, "s"))
	text += strings.Replace(config.Minimal, `lan = "br-lan"`, `lan = "zgt-no-lan"`, 1) + extra
	if err := os.WriteFile(z.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// do runs a command and returns what it printed.
func (z zone) do(t *testing.T, code int, stdin string, args ...string) (stdout, stderr string) {
	t.Helper()
	return call(t, code, stdin, append([]string{"--config", z.config}, args...)...)
}

func call(t *testing.T, code int, stdin string, args ...string) (string, string) {
	t.Helper()
	var out, err bytes.Buffer
	if got := run(t.Context(), args, strings.NewReader(stdin), &out, &err); got != code {
		t.Fatalf("zonegate %s ended with %d, want %d\n%s%s", strings.Join(args, " "), got, code, &out, &err)
	}
	return out.String(), err.String()
}

// ask runs a command that answers with one JSON object.
func ask[T any](t *testing.T, z zone, code int, args ...string) (out T) {
	t.Helper()
	text, _ := z.do(t, code, "", append(args, "--json")...)
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil || d.More() {
		t.Fatalf("zonegate %s printed no single object: %v\n%s", strings.Join(args, " "), err, text)
	}
	return out
}

func TestHelp(t *testing.T) {
	var b strings.Builder
	out, _ := call(t, exitOK, "", "--help")
	b.WriteString(out)
	for _, c := range commands {
		out, _ := call(t, exitOK, "", append(strings.Fields(c.name), "--help")...)
		fmt.Fprintf(&b, "\n===== %s\n\n%s", c.name, out)
	}
	golden := filepath.Join("testdata", "help.txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("help differs from %s (-update writes it):\n%s", golden, diff)
	}
	for line := range strings.SplitSeq(b.String(), "\n") {
		if len(line) > 110 {
			t.Errorf("a line of help is too long: %q", line)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"nonsense"}, {"voucher"}, {"voucher", "nonsense"}, {"status", "extra"}, {"status", "--nonsense"},
		{"--nonsense", "status"}, {"voucher", "create"}, {"voucher", "create", "--plan", "x"},
		{"voucher", "create", "--plan", "x", "--count", "0"}, {"voucher", "create", "--plan", "x", "--count", "many"},
		{"voucher", "create", "--plan", "x", "--count", "1", "--expires", "soon"}, {"voucher", "import"},
		{"voucher", "revoke"}, {"session", "kick"}, {"session", "kick", "phone"}, {"grant", "topup", "7"},
		{"grant", "topup", "--mb", "1"}, {"grant", "topup", "--mb", "1", "0"}, {"grant", "topup", "--time", "-1h", "7"},
		{"grant", "revoke", "x"}, {"backup"}, {"restore"}, {"init", "x"}, {"run", "x"}, {"--config"},
	} {
		stdout, stderr := call(t, exitUsage, "", args...)
		if stderr == "" || stdout != "" {
			t.Errorf("%q: %q on stderr, %q on stdout", args, stderr, stdout)
		}
	}
}

// The flags that every command has may stand before, within and after it.
func TestWhereFlagsMayStand(t *testing.T) {
	z := newZone(t, "")
	for _, args := range [][]string{
		{"--config", z.config, "--json", "plan", "list"},
		{"plan", "list", "--config", z.config, "--json"},
		{"--json", "plan", "list", "-config=" + z.config},
	} {
		out, _ := call(t, exitOK, "", args...)
		var list control.Plans
		if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Plans) != 1 || list.Plans[0].ID != "jour" {
			t.Errorf("%q: %v %s", args, err, out)
		}
	}
	file := filepath.Join(z.dir, "b")
	for _, args := range [][]string{{"backup", file, "--json"}, {"--json", "backup", "--", file}} {
		z.do(t, exitOK, "", args...)
		if _, err := os.Stat(file); err != nil {
			t.Errorf("%q: %v", args, err)
		}
		os.Remove(file)
	}
}

func TestInit(t *testing.T) {
	name := filepath.Join(t.TempDir(), "new", "zonegate.toml")
	call(t, exitOK, "", "init", "--config", name)
	call(t, exitOK, "", "check-config", "--config", name)
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := os.WriteFile(name, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr := call(t, exitFailed, "", "init", "--config", name); !strings.Contains(stderr, "--force") {
		t.Errorf("the refusal names no way out: %s", stderr)
	}
	if got, _ := os.ReadFile(name); string(got) != "mine" {
		t.Errorf("init replaced a configuration: %q", got)
	}
	call(t, exitOK, "", "init", "--force", "--config", name)
	call(t, exitOK, "", "check-config", "--config", name)
}

func TestCheckConfig(t *testing.T) {
	z := newZone(t, "\n[portal]\nprot = 3\n\n[dns]\nport = 0\n")
	got := ask[configReport](t, z, exitFailed, "check-config")
	if got.OK || len(got.Problems) != 2 || got.Problems[0].Key != "portal.prot" || got.Problems[0].Line == 0 {
		t.Errorf("%+v", got)
	}
	if _, stderr := z.do(t, exitFailed, "", "check-config"); strings.Count(stderr, "\n") != 2 {
		t.Errorf("not one line per problem:\n%s", stderr)
	}
	if good := ask[configReport](t, newZone(t, ""), exitOK, "check-config"); !good.OK {
		t.Errorf("%+v", good)
	}
	if _, stderr := call(t, exitFailed, "", "status", "--config", filepath.Join(z.dir, "none")); !strings.Contains(stderr, "zonegate init") {
		t.Errorf("a missing configuration names no way out: %s", stderr)
	}
	if out, _ := call(t, exitOK, "", "config", "reference"); out != config.Reference {
		t.Error("config reference prints something else")
	}
}

func TestWhatNeedsTheDaemon(t *testing.T) {
	z := newZone(t, "")
	for _, args := range [][]string{
		{"session", "list"}, {"session", "kick", "1"}, {"grant", "topup", "--mb", "5", "1"}, {"grant", "revoke", "1"}, {"reconcile"},
	} {
		var failed struct{ Error control.Error }
		out, stderr := z.do(t, exitFailed, "", append(args, "--json")...)
		if err := json.Unmarshal([]byte(out), &failed); err != nil || failed.Error.Code != control.CodeNoDaemon {
			t.Errorf("%q: %v %s", args, err, out)
		}
		if !strings.Contains(stderr, "the daemon is not running") {
			t.Errorf("%q: %s", args, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(z.dir, "data")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused command made the data directory: %v", err)
	}
	if s := ask[control.Status](t, z, exitFailed, "status"); s.Running || s.OK || s.Zone != "zone-01" {
		t.Errorf("%+v", s)
	}
}

func TestBackupAndRestore(t *testing.T) {
	z := newZone(t, "")
	made := ask[control.CreatedVouchers](t, z, exitOK, "voucher", "create", "--plan", "jour", "--count", "2", "--batch", "b")
	file := filepath.Join(z.dir, "backup")
	z.do(t, exitOK, "", "backup", file)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	z.do(t, exitOK, "", "voucher", "create", "--plan", "jour", "--count", "5", "--batch", "later")

	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(z.dir, "bad")
	whole[len(whole)/2] ^= 1
	if err := os.WriteFile(bad, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	z.do(t, exitFailed, "", "restore", bad)
	if got := ask[control.Vouchers](t, z, exitOK, "voucher", "list"); len(got.Batches) != 2 {
		t.Errorf("a refused backup changed something: %+v", got)
	}

	z.do(t, exitOK, "", "restore", file)
	want := control.Vouchers{Batches: []control.VoucherCount{{Batch: "b", Plan: "jour", PlanVersion: 1, Unused: 2}}}
	if diff := cmp.Diff(want, ask[control.Vouchers](t, z, exitOK, "voucher", "list")); diff != "" {
		t.Error(diff)
	}
	// The key came along: the codes are still good.
	z.do(t, exitOK, "", "voucher", "revoke", made.Vouchers[0].Code)

	// Onto a new machine.
	other := newZone(t, "")
	other.do(t, exitOK, "", "restore", file)
	other.do(t, exitOK, "", "voucher", "revoke", made.Vouchers[1].Code)
	report := ask[control.JournalReport](t, other, exitOK, "journal", "verify")
	if len(report.Problems) != 0 {
		t.Errorf("%+v", report)
	}
	out, _ := other.do(t, exitOK, "", "backup", "-")
	if !strings.HasPrefix(out, string(whole[:8])) {
		t.Errorf("a backup to the standard output begins with %q", out[:min(8, len(out))])
	}
}

func TestJournalVerify(t *testing.T) {
	z := newZone(t, "")
	z.do(t, exitFailed, "", "journal", "verify") // nothing there
	z.do(t, exitOK, "", "voucher", "create", "--plan", "jour", "--count", "50")
	report := ask[control.JournalReport](t, z, exitOK, "journal", "verify")
	if report.Records < 3 || report.Last != report.Records || len(report.Problems) != 0 {
		t.Fatalf("%+v", report)
	}
	segments, err := filepath.Glob(filepath.Join(z.dir, "data", "journal-*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	content, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	content[150] ^= 0x10
	if err := os.WriteFile(segments[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	report = ask[control.JournalReport](t, z, exitFailed, "journal", "verify")
	if len(report.Problems) == 0 {
		t.Error("a changed journal passed")
	}
}

func TestADataDirectoryInUse(t *testing.T) {
	z := newZone(t, "")
	z.do(t, exitOK, "", "plan", "list")
	e := &env{config: z.config, stderr: new(bytes.Buffer)}
	err := e.with(t.Context(), func(*control.Client) error {
		_, stderr := z.do(t, exitFailed, "", "plan", "list")
		if !strings.Contains(stderr, "in use") {
			t.Errorf("a second owner: %s", stderr)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDoctorWithoutDaemon(t *testing.T) {
	z := newZone(t, "")
	z.do(t, exitOK, "", "plan", "list")
	type result struct {
		ID, Title, Status, Detail, Fix string
		Checks                         []result
	}
	type report struct {
		OK               bool
		Failed, Warnings int
		Checks           []result
	}
	got := ask[report](t, z, exitFailed, "doctor")
	found := map[string]result{}
	var visit func([]result)
	visit = func(list []result) {
		for _, r := range list {
			found[r.ID] = r
			visit(r.Checks)
		}
	}
	visit(got.Checks)
	for id, status := range map[string]string{"configuration": "ok", "journal": "ok", "daemon": "failed", "portal": "skipped"} {
		if found[id].Status != status {
			t.Errorf("%s is %+v, want %s", id, found[id], status)
		}
	}
	out, _ := z.do(t, exitFailed, "", "doctor")
	if !strings.Contains(out, "FAIL") || !strings.Contains(out, "->") {
		t.Error(out)
	}
	bad := newZone(t, "nonsense = 1\n")
	got = ask[report](t, bad, exitFailed, "doctor")
	if got.Checks[0].ID != "configuration" || got.Checks[0].Status != "failed" {
		t.Errorf("%+v", got.Checks[0])
	}
}

func TestVersion(t *testing.T) {
	out, _ := call(t, exitOK, "", "version")
	var said struct{ Version string }
	object, _ := call(t, exitOK, "", "version", "--json")
	if err := json.Unmarshal([]byte(object), &said); err != nil || said.Version+"\n" != out {
		t.Errorf("%v %q %q", err, out, object)
	}
}

func TestTasks(t *testing.T) {
	var order []string
	broken := errors.New("broken")
	forever := func(name string) task {
		return task{name, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}
	}
	last := task{"last", func(ctx context.Context) error {
		<-ctx.Done()
		order = append(order, "last")
		return nil
	}}
	slow := task{"slow", func(ctx context.Context) error {
		<-ctx.Done()
		order = append(order, "slow")
		return nil
	}}
	err := runTasks(t.Context(), last, forever("a"), slow, task{"b", func(context.Context) error { return broken }})
	if !errors.Is(err, broken) || err.Error() != "b: broken" {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"slow", "last"}, order); diff != "" {
		t.Error(diff)
	}
	if err := runTasks(t.Context(), last, task{"s", func(context.Context) error { return errStopped }}, forever("a")); err != nil {
		t.Errorf("stopped by a signal: %v", err)
	}
	err = runTasks(t.Context(), task{"gate", func(ctx context.Context) error {
		<-ctx.Done()
		return broken
	}}, task{"s", func(context.Context) error { return errStopped }})
	if !errors.Is(err, broken) {
		t.Errorf("the last task fails at the end: %v", err)
	}
	if err := runTasks(t.Context(), last, task{"early", func(context.Context) error { return nil }}); err == nil || !strings.Contains(err.Error(), "early") {
		t.Errorf("a task that ends early: %v", err)
	}
	if err := runTasks(t.Context(), task{"gate", func(context.Context) error { return broken }}, forever("a")); !errors.Is(err, broken) {
		t.Errorf("the last task fails first: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := runTasks(ctx, last, forever("a")); err != nil {
		t.Errorf("cancelled: %v", err)
	}
}

func TestMemory(t *testing.T) {
	for _, tt := range []struct {
		total uint64
		limit int64
		gogc  int
	}{
		{32 * mib, 12 * mib, 50}, {120 * mib, 20 * mib, 50}, {256 * mib, 256 * mib / 6, 0}, {8 << 30, 96 * mib, 0},
	} {
		if limit, gogc := memoryFor(tt.total); limit != tt.limit || gogc != tt.gogc {
			t.Errorf("%d: %d, %d", tt.total, limit, gogc)
		}
	}
}

func TestPlansFromConfiguration(t *testing.T) {
	got := plans([]config.Plan{{
		ID: "a", Name: "A", PriceFCFA: 100, Duration: time.Hour, DataLimit: 5, CIRUp: 1, CIRDown: 2, MIRUp: 3, MIRDown: 4,
		Online: true, DevicesMax: 2, Trial: true,
	}})
	p := got[0]
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	if p.Price.Amount != 100 || p.Price.Currency != "XOF" || p.DataCap != 5 || p.Time.String() != "online" ||
		p.Rate.CIRUp != 1 || p.Rate.CIRDown != 2 || p.Rate.MIRUp != 3 || p.Rate.MIRDown != 4 || p.DevicesMax != 2 || !p.Trial {
		t.Errorf("%+v", p)
	}
}

// An openPath passes everything that it is told to.
type openPath struct{ restingPath }

// A command without the daemon must not take the sessions that the kernel goes
// on with for lost.
func TestACommandWithoutDaemonLeavesSessionsAlone(t *testing.T) {
	z := newZone(t, "")
	made := ask[control.CreatedVouchers](t, z, exitOK, "voucher", "create", "--plan", "jour", "--count", "2")
	cfg, err := readConfig(z.config)
	if err != nil {
		t.Fatal(err)
	}
	device := zonegate.MAC{2, 0, 0, 0, 0, 1}
	during := func(do func(*zonegate.Gate) error) []zonegate.Session {
		t.Helper()
		s, err := store.Open(storeOptions(cfg, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c, err := clock.New()
		if err != nil {
			t.Fatal(err)
		}
		state := s.State()
		found := state.Whole().Sessions
		g := zonegate.NewGate(state, s, s, &openPath{restingPath{left: found}}, c, gateOptions(cfg, nil))
		err = runTasks(t.Context(), task{"the gate", g.Run}, task{"test", func(context.Context) error {
			return errors.Join(do(g), errStopped)
		}})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	during(func(g *zonegate.Gate) error {
		_, err := g.Redeem(t.Context(), zonegate.Redemption{Code: made.Vouchers[0].Code, Device: device})
		return err
	})
	before := during(func(*zonegate.Gate) error { return nil })
	if len(before) != 1 || before[0].Device != device {
		t.Fatalf("the test has no session: %+v", before)
	}
	z.do(t, exitOK, "", "voucher", "create", "--plan", "jour", "--count", "1")
	z.do(t, exitOK, "", "voucher", "list")
	if after := during(func(*zonegate.Gate) error { return nil }); !cmp.Equal(before, after) {
		t.Errorf("sessions were %+v and are %+v", before, after)
	}
	// What does concern somebody online is said to come later.
	if _, stderr := z.do(t, exitOK, "", "voucher", "revoke", made.Vouchers[0].Code); !strings.Contains(stderr, "when it starts") {
		t.Errorf("revoking a code in use without the daemon says %q", stderr)
	}
	if _, stderr := z.do(t, exitOK, "", "voucher", "revoke", made.Vouchers[1].Code); stderr != "" {
		t.Errorf("revoking an unused code says %q", stderr)
	}
}
