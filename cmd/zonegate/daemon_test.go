package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"zonegate/internal/control"
)

// The tests below run the real daemon in a network namespace of its own, as
// another process of this test program. Its socket is in the file system, so
// the commands of the test reach it from outside.

const (
	envArgs   = "ZONEGATE_TEST_ARGS"   // JSON list: run these arguments, not the tests
	envSetup  = "ZONEGATE_TEST_SETUP"  // make the interfaces first
	envOccupy = "ZONEGATE_TEST_OCCUPY" // listen on this TCP and UDP port first
)

func TestMain(m *testing.M) {
	text := os.Getenv(envArgs)
	if text == "" {
		os.Exit(m.Run())
	}
	var args []string
	if err := json.Unmarshal([]byte(text), &args); err != nil {
		panic(err)
	}
	if os.Getenv(envSetup) != "" {
		if err := makeInterfaces(); err != nil {
			panic(err)
		}
	}
	if port := os.Getenv(envOccupy); port != "" {
		if _, err := net.Listen("tcp4", ":"+port); err != nil {
			panic(err)
		}
		if _, err := net.ListenPacket("udp4", ":"+port); err != nil {
			panic(err)
		}
	}
	os.Exit(run(context.Background(), args, os.Stdin, os.Stdout, os.Stderr))
}

const testLAN, testWAN = "zgt-lan", "zgt-wan"

// makeInterfaces makes a LAN bridge with a port and a WAN in the present
// namespace, which is empty.
func makeInterfaces() error {
	link := func(name string) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Name = name
		return a
	}
	bridge := &netlink.Bridge{LinkAttrs: link(testLAN)}
	port := link("zgt-port")
	var errs []error
	errs = append(errs, netlink.LinkAdd(bridge))
	port.MasterIndex = bridge.Attrs().Index
	errs = append(errs,
		netlink.LinkAdd(&netlink.Veth{LinkAttrs: port, PeerName: "zgt-phone"}),
		netlink.LinkAdd(&netlink.Veth{LinkAttrs: link(testWAN), PeerName: "zgt-internet"}))
	for name, addr := range map[string]string{testLAN: "10.99.0.1/24", testWAN: "192.0.2.2/24"} {
		a, err := netlink.ParseAddr(addr)
		l, lerr := netlink.LinkByName(name)
		if err = errors.Join(err, lerr); err == nil {
			err = netlink.AddrAdd(l, a)
		}
		errs = append(errs, err)
	}
	for _, name := range []string{"lo", testLAN, "zgt-port", "zgt-phone", testWAN, "zgt-internet"} {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		errs = append(errs, err)
	}
	if l, err := netlink.LinkByName(testWAN); err != nil {
		errs = append(errs, err)
	} else {
		for _, via := range []string{"192.0.2.1", "fe80::1"} {
			errs = append(errs, netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.ParseIP(via)}))
		}
	}
	for _, name := range []string{"ipv6/conf/all/forwarding", "ipv6/conf/default/forwarding"} {
		errs = append(errs, os.WriteFile("/proc/sys/net/"+name, []byte("1"), 0))
	}
	for _, name := range []string{"iptables", "ip6tables"} {
		// Where the kernel has it; it is on in a new namespace.
		err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-"+name, []byte("0"), 0)
		if !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0))...)
}

// A daemon is a running `zonegate run`.
type daemon struct {
	cmd   *exec.Cmd
	log   *logText
	ended chan error // gets the end, once
}

// A logText can be read while it is written.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// child returns a command that runs this program with arguments. It is killed
// with the test.
func (z zone) child(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(append([]string{"--config", z.config}, args...))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), envArgs+"="+string(text)), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (z zone) start(t *testing.T, env ...string) *daemon {
	t.Helper()
	cmd := z.child(t, append(env, envSetup+"=1"), "run")
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	return launch(t, cmd)
}

// launch starts a daemon.
func launch(t *testing.T, cmd *exec.Cmd) *daemon {
	t.Helper()
	d := &daemon{cmd: cmd, log: new(logText), ended: make(chan error, 1)}
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		t.Fatalf("starting the daemon in a network namespace (this needs root): %v", err)
	}
	go func() { d.ended <- d.cmd.Wait() }()
	t.Cleanup(func() {
		if d.cmd.ProcessState == nil {
			d.cmd.Process.Kill()
			<-d.ended
		}
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", d.log)
		}
	})
	return d
}

// await asks until the answer is yes, or the daemon ended.
func (d *daemon) await(t *testing.T, what string, ask func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !ask() {
		select {
		case err := <-d.ended:
			t.Fatalf("waiting for %s: the daemon ended: %v\n%s", what, err, d.log)
		case <-deadline:
			t.Fatalf("waiting for %s in vain", what)
		case <-tick.C:
		}
	}
}

func (d *daemon) stop(t *testing.T, s syscall.Signal) error {
	t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-d.ended:
		return err
	case <-time.After(time.Minute):
		t.Fatal("the daemon does not end")
		return nil
	}
}

// inside runs a command in the daemon's namespace and returns what it printed.
func (d *daemon) inside(t *testing.T, code int, cmd *exec.Cmd) string {
	t.Helper()
	path, err := exec.LookPath("nsenter")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args = append([]string{path, "--net=/proc/" + strconv.Itoa(d.cmd.Process.Pid) + "/ns/net", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = path
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("%s ended with %d, want %d (%v)\n%s", strings.Join(cmd.Args, " "), got, code, err, out)
	}
	return string(out)
}

func (z zone) answers() bool {
	c, err := control.Dial(context.Background(), filepath.Join(z.dir, "s"))
	if err != nil {
		return false
	}
	s, err := c.Status(context.Background())
	return err == nil && s.OK
}

func newDaemonZone(t *testing.T, plans string) zone {
	z := zone{dir: t.TempDir()}
	z.config = filepath.Join(z.dir, "zonegate.toml")
	z.writeDaemon(t, plans)
	return z
}

func (z zone) writeDaemon(t *testing.T, rest string) {
	t.Helper()
	text := fmt.Sprintf(`
data_dir = %q
control_socket = %q
[zone]
name = "Test"
id = "test"
[network]
lan = %q
wan = [%q]
link_down = "50M"
link_up = "10M"
[dns]
upstream = ["127.0.0.1:9"]
%s`, filepath.Join(z.dir, "data"), filepath.Join(z.dir, "s"), testLAN, testWAN, rest)
	if err := os.WriteFile(z.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const dayPlan = "[[plan]]\nid = \"jour\"\nname = \"1 jour\"\nprice_fcfa = 200\nduration_hours = 24\nmir_kbps = 2048\n"

func TestDaemon(t *testing.T) {
	z := newDaemonZone(t, dayPlan)
	d := z.start(t)
	d.await(t, "the first answer", z.answers)

	s := ask[control.Status](t, z, exitOK, "status")
	if !s.Running || s.Zone != "test" || s.PID != d.cmd.Process.Pid || s.Sessions != 0 {
		t.Errorf("%+v", s)
	}
	made := ask[control.CreatedVouchers](t, z, exitOK, "voucher", "create", "--plan", "jour", "--count", "4", "--batch", "b")
	z.do(t, exitOK, made.Vouchers[0].Code, "voucher", "revoke", "-")
	if got := ask[control.Sessions](t, z, exitOK, "session", "list"); len(got.Sessions) != 0 {
		t.Errorf("%+v", got)
	}
	z.do(t, exitFailed, "", "session", "kick", "7")
	z.do(t, exitFailed, "", "session", "kick", "02:00:00:00:00:01")
	z.do(t, exitFailed, "", "grant", "topup", "--mb", "1", "7")
	z.do(t, exitFailed, "", "grant", "revoke", "7")
	z.do(t, exitOK, "", "reconcile")
	if r := ask[control.JournalReport](t, z, exitOK, "journal", "verify"); len(r.Problems) != 0 || r.Records == 0 {
		t.Errorf("%+v", r)
	}
	backup := filepath.Join(z.dir, "backup")
	z.do(t, exitOK, "", "backup", backup)
	if _, stderr := z.do(t, exitFailed, "", "restore", backup); !strings.Contains(stderr, "stop it first") {
		t.Errorf("a restore under a running daemon: %s", stderr)
	}
	if _, stderr := z.do(t, exitFailed, "", "run"); !strings.Contains(stderr, "runs already") {
		t.Errorf("a second daemon: %s", stderr)
	}

	t.Run("reload", func(t *testing.T) {
		z.writeDaemon(t, dayPlan+strings.ReplaceAll(dayPlan, "jour", "nuit")+"[garden]\ndomains = [\"example.org\"]\n")
		if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		count := func() int { return len(ask[control.Plans](t, z, exitOK, "plan", "list").Plans) }
		d.await(t, "the second plan", func() bool { return count() == 2 })
		z.writeDaemon(t, "nonsense = true\n")
		if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		// The bad file must be read before the next one is written; the log is
		// the only thing that tells, and it is read when the daemon has ended.
		// A good file after it shows that it did no harm.
		z.writeDaemon(t, dayPlan)
		if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		d.await(t, "the former plans", func() bool { return count() == 1 })
	})

	t.Run("doctor", func(t *testing.T) {
		// There is no resolver behind the name server, which is a warning.
		out := d.inside(t, exitOK, z.child(t, nil, "doctor"))
		for _, want := range []string{
			"ok        own table", "ok          portal answers", "ok      daemon", "ok      gate closed", "WARN        name server answers",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in\n%s", want, out)
			}
		}
		// A rule before ours lets packets through without our table.
		for _, family := range []string{"-4", "-6"} {
			d.inside(t, exitOK, exec.Command("ip", family, "rule", "add", "priority", "5", "iif", testLAN, "lookup", "main"))
			out := d.inside(t, exitFailed, z.child(t, nil, "doctor"))
			if want := "FAIL    gate closed for strangers: IPv" + family[1:]; !strings.Contains(out, want) {
				t.Errorf("%q is not in\n%s", want, out)
			}
			d.inside(t, exitOK, exec.Command("ip", family, "rule", "del", "priority", "5"))
		}
	})

	if err := d.stop(t, syscall.SIGKILL); err == nil {
		t.Fatal("it survived a kill")
	}
	if _, stderr := z.do(t, exitFailed, "", "session", "list"); !strings.Contains(stderr, "not running") {
		t.Error(stderr)
	}
	d = z.start(t)
	d.await(t, "the daemon after a kill", z.answers)
	if got := ask[control.Vouchers](t, z, exitOK, "voucher", "list"); len(got.Batches) != 1 || got.Batches[0].Unused != 3 {
		t.Errorf("%+v", got)
	}

	if err := d.stop(t, syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	if got := ask[control.Vouchers](t, z, exitOK, "voucher", "list"); len(got.Batches) != 1 || got.Batches[0].Unused != 3 {
		t.Errorf("after the end: %+v", got)
	}
	if r := ask[control.JournalReport](t, z, exitOK, "journal", "verify"); len(r.Problems) != 0 {
		t.Errorf("%+v", r)
	}
	for _, v := range made.Vouchers {
		if strings.Contains(d.log.String(), v.Code) {
			t.Error("a code stands in the log")
		}
	}
}

// A part that fails ends the daemon with its name.
func TestAPartThatFails(t *testing.T) {
	z := newDaemonZone(t, dayPlan)
	d := z.start(t, envOccupy+"=2050")
	select {
	case err := <-d.ended:
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the daemon lives on without its portal")
	}
	if text := d.log.String(); !strings.Contains(text, "the portal") || !strings.Contains(text, "2050") {
		t.Errorf("the log does not say what failed:\n%s", text)
	}
	// What it had decided is there, and the next one starts.
	if got := ask[control.Plans](t, z, exitOK, "plan", "list"); len(got.Plans) != 1 {
		t.Errorf("%+v", got)
	}
}

// The daemon does not sell what it cannot write down, and says so.
func TestAFullDisk(t *testing.T) {
	z := newDaemonZone(t, dayPlan)
	data := filepath.Join(z.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("zgt-full", data, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("mounting a small file system (this needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	d := z.start(t)
	d.await(t, "the daemon", z.answers)
	ballast, err := os.Create(filepath.Join(data, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer ballast.Close()
	fill := func() {
		if _, err := io.Copy(ballast, zeros{}); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("filling the disk: %v", err)
		}
	}
	stopped := func() bool {
		var s control.Status
		c, err := control.Dial(t.Context(), filepath.Join(z.dir, "s"))
		if err == nil {
			s, err = c.Status(t.Context())
		}
		return err == nil && s.Journal != ""
	}
	made := 0
	d.await(t, "sales to stop", func() bool {
		fill() // again when the journal gives up its reserve
		var out, errs bytes.Buffer
		if run(t.Context(), []string{"--config", z.config, "voucher", "create", "--plan", "jour", "--count", "200"}, nil, &out, &errs) == exitOK {
			made += 200
		}
		return stopped()
	})
	text, _ := z.do(t, exitFailed, "", "voucher", "create", "--plan", "jour", "--count", "1", "--json")
	var failed struct{ Error control.Error }
	if err := json.Unmarshal([]byte(text), &failed); err != nil || failed.Error.Code != control.CodeNotDurable {
		t.Errorf("%v %s", err, text)
	}
	if err := os.Remove(ballast.Name()); err != nil {
		t.Fatal(err)
	}
	ballast.Close()
	d.await(t, "sales to open again", func() bool { return !stopped() })
	z.do(t, exitOK, "", "voucher", "create", "--plan", "jour", "--count", "1")
	if s := ask[control.Status](t, z, exitOK, "status"); s.Unused != made+1 {
		t.Errorf("%d vouchers, want %d", s.Unused, made+1)
	}
	if err := d.stop(t, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
