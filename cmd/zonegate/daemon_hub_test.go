package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"zonegate/internal/control"
	"zonegate/shaper/mikrotik/simros"
	"zonegate/sync/api"
)

// A hubProcess is the real hub with its own database, as another process on
// this machine's loopback.
type hubProcess struct {
	program, data, addr string
	daemon              *daemon
}

func newHub(t *testing.T) *hubProcess {
	t.Helper()
	dir := t.TempDir()
	h := &hubProcess{program: filepath.Join(dir, "zonehub"), data: filepath.Join(dir, "data"), addr: freePort(t)}
	build := exec.Command("go", "build", "-o", h.program, "zonegate/cmd/zonehub")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the hub: %v\n%s", err, out)
	}
	return h
}

func (h *hubProcess) url() string { return "http://" + h.addr + "/api/v1" }

func (h *hubProcess) serve(t *testing.T) {
	t.Helper()
	cmd := exec.Command(h.program, "serve", "--data", h.data, "--listen", h.addr)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	h.daemon = launch(t, cmd)
	h.daemon.await(t, "the hub", func() bool {
		return strings.Contains(h.daemon.log.String(), "listen=")
	})
}

// do runs one of the hub's commands and returns the first word of its answer.
func (h *hubProcess) do(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(h.program, append(args, "--data", h.data)...)
	cmd.Stdin = strings.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("zonehub %s: %v\n%s", strings.Join(args, " "), err, &errs)
	}
	word, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\t")
	return word
}

// summary is what the hub has been told of this month's sales.
func (h *hubProcess) summary(t *testing.T, reseller string) (s api.Summary) {
	t.Helper()
	call := func(method, path, token string, body io.Reader, into any) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, h.url()+path, body)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		r.Header.Set("Content-Type", "application/json")
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		if err := json.NewDecoder(a.Body).Decode(into); err != nil || a.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", path, a.Status, err)
		}
	}
	var token api.Token
	call("POST", api.PathLogin, "", strings.NewReader(`{"name":"boss","password":"correct horse battery"}`), &token)
	call("GET", api.PathSummary+"?reseller_id="+reseller+"&month="+time.Now().UTC().Format("2006-01"), token.Token, nil, &s)
	return s
}

func (z *routerZone) hub() (h control.Hub) {
	if s := z.status(); s.Hub != nil {
		h = *s.Hub
	}
	return h
}

// A zone at the real hub: what is sold comes from there, what was sold is told
// there, and neither of the two needs the other to be there.
func TestDaemonAtHub(t *testing.T) {
	h := newHub(t)
	h.serve(t)
	h.do(t, "correct horse battery\n", "user", "add", "--role", "admin", "boss")
	reseller := h.do(t, "", "reseller", "add", "Kofi")
	site := h.do(t, "", "site", "add", "--reseller", reseller, "Gbegamey")
	h.do(t, "", "site", "add", "--reseller", reseller, "Akpakpa")
	forfait := h.do(t, "", "forfait", "set", "--price", "500", "--hours", "24", "--data-mb", "50", "--cir-kbps", "512", "--mir-kbps", "2048", "Du hub")
	code := func(args ...string) string {
		t.Helper()
		return h.do(t, "", append([]string{"voucher", "create", "--forfait", forfait, "--reseller", reseller, "--count", "1"}, args...)...)
	}

	phoneC := phone{"02:00:00:00:00:0C", "127.5.50.12"}
	z := newRouterZone(t, simros.Options{})
	z.serve(t)
	z.configure(t, "api", "[mikrotik]", fmt.Sprintf("[hub]\nmode = \"hub\"\nurl = %q\n[mikrotik]", h.url()))
	d := z.run(t)
	z.appear(t, phoneA, phoneB, phoneC)
	if text, _ := z.do(t, exitOK, "", "status"); !strings.Contains(text, "hub: "+h.url()+"; not joined") {
		t.Error(text)
	}
	z.do(t, exitFailed, "", "hub", "join", "wrong")
	enrol := h.do(t, "", "enrol-code", "--site", site)
	if _, stderr := z.do(t, exitFailed, "", "hub", "join", "--url", "https://other.example/api/v1", enrol); !strings.Contains(stderr, "hub.url") {
		t.Error(stderr)
	}
	if out, _ := z.do(t, exitOK, enrol+"\n", "hub", "join", "--url", h.url(), "-"); !strings.Contains(out, "of site "+site) {
		t.Error(out)
	}

	// The catalogue comes, beside the zone's own plan.
	plan := func(id string) (out control.Plan) {
		for _, p := range ask[control.Plans](t, z.zone, exitOK, "plan", "list").Plans {
			if p.ID == id {
				out = p
			}
		}
		return out
	}
	d.await(t, "the hub's plan", func() bool { return plan(forfait).Price == 500 })
	if plan("jour").Price != 200 {
		t.Error("the zone's own plan is not on sale")
	}
	d.await(t, "the stream", func() bool { return z.hub().Connected })
	unused := func() (n int) {
		for _, b := range ask[control.Vouchers](t, z.zone, exitOK, "voucher", "list").Batches {
			if b.Plan == forfait {
				n += b.Unused
			}
		}
		return n
	}
	first, second := code("--site", site), code("--site", site)
	d.await(t, "the vouchers", func() bool { return unused() == 2 })
	if status, a := phoneA.redeem(t, z, first); status != http.StatusOK || !a.Online || a.Plan != "Du hub" {
		t.Fatalf("redeeming: %d %+v", status, a)
	}
	entry := z.active(phoneA)
	queue := func(p phone) string {
		for _, q := range z.sim.Print("/queue/simple") {
			if strings.HasPrefix(q["target"], p.ip+"/") {
				return q["limit-at"]
			}
		}
		return ""
	}
	if entry == nil || queue(phoneA) != "512000/512000" {
		t.Fatalf("let in: %v, queue %s", entry, queue(phoneA))
	}

	// A change reaches the session that runs, and does not cut it.
	before := ask[control.Sessions](t, z.zone, exitOK, "session", "list").Sessions
	h.do(t, "", "forfait", "set", "--id", forfait, "--cir-kbps", "256", "--running")
	d.await(t, "the new rate", func() bool { return queue(phoneA) == "256000/256000" })
	after := ask[control.Sessions](t, z.zone, exitOK, "session", "list").Sessions
	if now := z.active(phoneA); now == nil || now[".id"] != entry[".id"] || len(after) != 1 || after[0].ID != before[0].ID {
		t.Errorf("it was %v and is %v; sessions %+v", entry, now, after)
	}

	// The sale is told; so is the customer's name that nobody has to know.
	d.await(t, "the first report", func() bool { x := z.hub(); return x.Connected && x.Unsent == 0 })
	if s := h.summary(t, reseller); s.TotalFCFA != 500 || s.SessionsCount != 1 {
		t.Errorf("the hub has %+v", s)
	}

	// A code that is good at all sites is known at the hub alone.
	roaming := code()
	if status, a := phoneC.redeem(t, z, roaming); status != http.StatusOK || !a.Online || a.Plan != "Du hub" {
		t.Fatalf("a roaming code: %d %+v", status, a)
	}
	if status, a := phoneC.redeem(t, z, roaming); status != http.StatusOK || len(a.Queue) != 0 {
		t.Errorf("the same code again: %d %+v", status, a)
	}
	if status, a := phoneB.redeem(t, z, roaming); status != http.StatusGone || a.Reason != "used" {
		t.Errorf("the same code elsewhere: %d %+v", status, a)
	}

	// The hub dies. Everything goes on, and what is sold waits.
	d.await(t, "the second report", func() bool { return z.hub().Unsent == 0 })
	if err := h.daemon.stop(t, syscall.SIGKILL); err == nil {
		t.Fatal("the hub survived a kill")
	}
	if status, a := phoneB.redeem(t, z, second); status != http.StatusOK || !a.Online {
		t.Fatalf("without the hub: %d %+v", status, a)
	}
	d.await(t, "that the hub is missed", func() bool { x := z.hub(); return !x.Connected && x.Problem != "" })
	if x := z.hub(); x.Unsent == 0 || x.OK || !z.status().OK {
		t.Errorf("without the hub: %+v", x)
	}
	if text, _ := z.do(t, exitFailed, "", "hub", "status"); !strings.Contains(text, "AWAY; last error: ") {
		t.Error(text)
	}
	if text, _ := z.do(t, exitOK, "", "doctor"); !strings.Contains(text, "central server") || !strings.Contains(text, "AWAY") {
		t.Error(text)
	}
	// The daemon dies too, and comes back first.
	if err := d.stop(t, syscall.SIGKILL); err == nil {
		t.Fatal("the daemon survived a kill")
	}
	d = z.run(t)
	for _, p := range []phone{phoneA, phoneB, phoneC} {
		d.await(t, "a customer after a kill", func() bool { return z.active(p) != nil })
	}
	if x := z.hub(); !x.Joined || x.Unsent == 0 {
		t.Errorf("after a kill: %+v", x)
	}
	h.serve(t)
	d.await(t, "the last report", func() bool { x := z.hub(); return x.Connected && x.Unsent == 0 })
	if s := h.summary(t, reseller); s.TotalFCFA != 1500 || s.SessionsCount != 3 {
		t.Errorf("the hub has %+v, want three sales", s)
	}

	// Nobody leaves by accident with something untold, and a gateway that is
	// taken off sells nothing of the hub's any more.
	h.do(t, "", "gateway", "revoke", "--reason", "moved", z.hub().Gateway)
	d.await(t, "the revocation", func() bool { return z.hub().Revoked })
	if plan(forfait).ID != "" || plan("jour").ID == "" {
		t.Error("the wrong plans are on sale")
	}
	if z.active(phoneA) == nil || z.active(phoneB) == nil || z.active(phoneC) == nil {
		t.Error("who has bought something was cut")
	}
	if text, _ := z.do(t, exitOK, "", "status"); !strings.Contains(text, "REVOKED") {
		t.Error(text)
	}
	z.do(t, exitOK, "", "hub", "leave")
	z.do(t, exitFailed, "", "hub", "leave")
	if x := z.hub(); x.Joined {
		t.Errorf("after leaving: %+v", x)
	}
	if err := d.stop(t, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	for _, secret := range []string{enrol, first, second, roaming} {
		if strings.Contains(d.log.String(), secret) || strings.Contains(h.daemon.log.String(), secret) {
			t.Error("a code stands in a log")
		}
	}
	if info, err := os.Stat(filepath.Join(z.dir, "data", "hub.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the gateway's secret: %v %v", info, err)
	}
}
