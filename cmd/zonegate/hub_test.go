package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"zonegate"
	"zonegate/internal/clock"
	"zonegate/internal/config"
	"zonegate/internal/control"
	"zonegate/internal/store"
	"zonegate/portal"
	"zonegate/shaper/mikrotik/simros"
	"zonegate/sync/central"
	"zonegate/web"
)

// What a hub lays over the configuration takes the place of it, and gives it
// back.
func TestOverlay(t *testing.T) {
	own := []string{"own.example.org"}
	var links [][2]uint64
	o := &overlay{
		config: &config.Config{
			Zone:    config.Zone{Name: "Chez Awa", Contact: "+229", Language: "fr"},
			Network: config.Network{LAN: "br-lan", LinkDown: 20e6, LinkUp: 5e6}, Garden: config.Garden{Domains: own},
		},
		garden:  newGarden(own),
		setLink: func(down, up uint64) error { links = append(links, [2]uint64{down, up}); return nil },
	}
	set := func(name, value string, good bool) {
		t.Helper()
		if err := o.Set(name, value); (err == nil) != good {
			t.Errorf("%s %s: %v", name, value, err)
		}
	}
	configured := portal.Brand{Zone: "Chez Awa", Contact: "+229", Language: web.French}
	if got := o.look(); got != configured {
		t.Errorf("%+v", got)
	}
	set("brand", `{"name":"Mosaïque","language":"en","later":1}`, true)
	set("message", `{"fr":"Coupure","en":"Down"}`, true)
	if got, want := o.look(), (portal.Brand{Zone: "Mosaïque", Contact: "+229", Language: web.English, French: "Coupure", English: "Down"}); got != want {
		t.Errorf("%+v", got)
	}
	set("brand", "", true)
	set("message", "", true)
	if got := o.look(); got != configured {
		t.Errorf("%+v", got)
	}
	set("brand", `{"name":`, false)
	set("theme", "{}", false)

	garden := func(want ...string) {
		t.Helper()
		if got := o.garden.domains(); !slices.Equal(got, want) {
			t.Errorf("garden %q, want %q", got, want)
		}
	}
	garden(own...)
	set("garden", `{"domains":["Pay.Example.org.","*.example.net","pay.example.org"]}`, true)
	garden("pay.example.org", "*.example.net")
	// What would take the portal from all phones is refused, and changes nothing.
	set("garden", `{"domains":["captive.apple.com"]}`, false)
	set("garden", `{"domains":["*.com"]}`, false)
	garden("pay.example.org", "*.example.net")
	o.garden.configure([]string{"other.example.org"})
	garden("pay.example.org", "*.example.net")
	set("garden", `{"domains":[]}`, true)
	garden()
	set("garden", "", true)
	garden("other.example.org")

	set("link", `{"down":8000000,"up":2000000}`, true)
	set("link", "", true)
	if want := [][2]uint64{{8e6, 2e6}, {20e6, 5e6}}; !slices.Equal(links, want) {
		t.Errorf("links %v, want %v", links, want)
	}
	// Without a LAN there is nothing to lay over, which the hub is told.
	o.config.Network = config.Network{}
	o.setLink = nil
	set("garden", `{"domains":["a.example.org"]}`, false)
	set("link", `{"down":8000000,"up":2000000}`, false)
	set("garden", "", true)
	set("link", "", true)
}

// The name server starts again when the domains are others, however that came.
func TestGardenChanges(t *testing.T) {
	g := newGarden([]string{"a"})
	ctx, cancel := context.WithCancel(t.Context())
	changed := make(chan []string)
	var wg sync.WaitGroup
	have := g.domains()
	wg.Go(func() {
		for ctx.Err() == nil {
			g.await(ctx, have)
			have = g.domains()
			select {
			case changed <- have:
			case <-ctx.Done():
			}
		}
	})
	g.configure([]string{"a"}) // the same
	g.lay([]string{"b"}, true)
	if got := <-changed; !slices.Equal(got, []string{"b"}) {
		t.Errorf("%q", got)
	}
	g.lay(nil, false)
	if got := <-changed; !slices.Equal(got, []string{"a"}) {
		t.Errorf("%q", got)
	}
	cancel()
	wg.Wait()
}

// A hub is only asked about codes that can be its own, and not too often.
func TestRoaming(t *testing.T) {
	z := newZone(t, "")
	s, err := store.Open(store.Options{Dir: filepath.Join(z.dir, "data"), StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	c, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	gate := zonegate.NewGate(s.State(), s, s, noPath{}, c, zonegate.Options{
		RefusalTime: -1, Guessing: zonegate.Guessing{PerDevice: 100, ZoneRate: 1 << 20},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- gate.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			t.Error(err)
		}
	})
	var asked []string
	answer := central.ErrAway
	g := &roamingGate{Gate: gate, log: slog.New(slog.DiscardHandler), claim: func(ctx context.Context, code string, d zonegate.MAC, nas string) error {
		if _, limited := ctx.Deadline(); limited {
			t.Error("giving up would count against the hub")
		}
		asked = append(asked, code+" "+d.String()+" "+nas)
		return answer
	}}
	code := func() string {
		code, err := zonegate.NewCode(strings.NewReader(fmt.Sprintf("%08d", len(asked))))
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	device := func(i int) zonegate.MAC { return zonegate.MAC{2, 0, 0, 0, 1, byte(i)} }
	redeem := func(code string, i int) error {
		_, err := g.Redeem(t.Context(), zonegate.Redemption{Code: code, Device: device(i), NAS: "tower"})
		return err
	}
	if err := redeem("NONSENSE", 0); !errors.Is(err, zonegate.ErrWrongCode) || len(asked) != 0 {
		t.Errorf("a code that nobody made: %v, asked %q", err, asked)
	}
	// What the hub says against it is said, and that it is away is not.
	for i, tt := range []struct{ answer, want error }{
		{central.ErrAway, zonegate.ErrForeignCode}, {zonegate.ErrWrongCode, zonegate.ErrForeignCode}, {errors.New("odd"), zonegate.ErrForeignCode},
		{zonegate.ErrUsedCode, zonegate.ErrUsedCode}, {zonegate.ErrExpiredCode, zonegate.ErrExpiredCode},
		{zonegate.ErrRevokedCode, zonegate.ErrRevokedCode}, {zonegate.ErrNotDurable, zonegate.ErrNotDurable}, {nil, nil},
	} {
		answer = tt.answer
		typed := code()
		if err := redeem(typed, i); !errors.Is(err, tt.want) {
			t.Errorf("%v: %v, want %v", tt.answer, err, tt.want)
		}
		if want := typed + " " + device(i).String() + " tower"; len(asked) != i+1 || asked[i] != want {
			t.Fatalf("asked %q, want %q last", asked, want)
		}
	}
	// One device cannot use up what the zone may ask, nor all of them what the
	// hub allows.
	asked, answer = nil, zonegate.ErrWrongCode
	for range 10 {
		redeem(code(), 200)
	}
	if len(asked) != asksOfDevice {
		t.Errorf("one device asked %d times", len(asked))
	}
	for i := range 60 {
		redeem(code(), i)
	}
	if n := len(asked) + 8; n != asksOfZone {
		t.Errorf("the zone asked %d times", n)
	}
	if !g.mayAsk(device(200), g.since.Add(time.Minute)) {
		t.Error("not even a minute later")
	}
}

// Without [hub] there is no hub, and commands say so.
func TestHubCommandsWithoutHub(t *testing.T) {
	z := newZone(t, "")
	for _, args := range [][]string{{"hub", "status"}, {"hub", "leave"}} {
		if _, stderr := z.do(t, exitFailed, "", args...); !strings.Contains(stderr, "hub") {
			t.Errorf("%v: %s", args, stderr)
		}
	}
	_, stderr := z.do(t, exitFailed, "", "hub", "join", "--url", "https://h.example/api/v1", "code")
	if !strings.Contains(stderr, "url = \"https://h.example/api/v1\"") || !strings.Contains(stderr, "[hub]") {
		t.Errorf("the refusal does not say what to write: %s", stderr)
	}
	if _, err := os.Stat(filepath.Join(z.dir, "data", central.FileName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
	for _, args := range [][]string{{"hub"}, {"hub", "join"}, {"hub", "status", "x"}, {"hub", "leave", "x"}} {
		call(t, exitUsage, "", args...)
	}

	// Nobody answers at this address; everything else goes on.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	z.write(t, fmt.Sprintf("[hub]\nmode = \"hub\"\nurl = \"http://%s/api/v1\"\n", l.Addr()))
	if _, stderr := z.do(t, exitFailed, "", "hub", "join", "code"); !strings.Contains(stderr, "refused") {
		t.Errorf("joining nobody: %s", stderr)
	}
	if h := ask[control.Hub](t, z, exitFailed, "hub", "status"); h.Mode != "hub" || h.Joined || h.OK || len(h.Findings) != 1 {
		t.Errorf("%+v", h)
	}
	ask[control.CreatedVouchers](t, z, exitOK, "voucher", "create", "--plan", "jour", "--count", "1")
}

// An rgzServer is the billing API as it is documented, catalogue alone.
func rgzServer(t *testing.T) (url string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/api/v1/forfaits" {
			t.Errorf("asked for %s %s", r.Method, r.URL.Path)
		}
		fmt.Fprint(w, `{"items":[
			{"id":"5b0f-day","name":"Forfait Journalier","price_fcfa":500,"duration_hours":24,"data_limit_mb":500,"cir_kbps":512,"mir_kbps":2048,"new":null},
			{"id":"5b0f-odd","name":"Odd","price_fcfa":500,"duration_hours":24,"data_limit_mb":500,"cir_kbps":4096,"mir_kbps":2048}],
			"total":2,"page":1,"pages":1}`)
	})}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	stop = sync.OnceFunc(func() { s.Close(); <-done })
	t.Cleanup(stop)
	return "http://" + l.Addr().String() + "/api/v1", stop
}

// A zone with the documented billing API alone sells its catalogue, takes its
// vouchers from a file, and goes on without the server.
func TestDaemonAtRGZ(t *testing.T) {
	url, stop := rgzServer(t)
	z := newRouterZone(t, simros.Options{})
	z.serve(t)
	z.configure(t, "api", "[mikrotik]", fmt.Sprintf("[hub]\nmode = \"rgz\"\nurl = %q\n[mikrotik]", url), cappedPlan, "")
	d := z.run(t)
	z.appear(t, phoneA, phoneB)
	plans := func() []control.Plan { return ask[control.Plans](t, z.zone, exitOK, "plan", "list").Plans }
	d.await(t, "the catalogue", func() bool { return len(plans()) == 1 })
	if p := plans()[0]; p.ID != "5b0f-day" || p.Price != 500 || p.DataCap != 500e6 || p.CIRDown != 512e3 {
		t.Errorf("%+v", p)
	}
	h := ask[control.Hub](t, z.zone, exitFailed, "hub", "status")
	if h.Mode != "rgz" || h.ReadSeconds == nil || len(h.Findings) != 1 || !strings.Contains(h.Findings[0].Detail, "5b0f-odd") {
		t.Errorf("%+v", h)
	}
	answer := `{"items":[{"code":"ABC12345","forfait_id":"5b0f-day","status":"active"},{"code":"ABC12346","forfait_id":"5b0f-day","status":"active"},` +
		`{"code":"ABC12347","forfait_id":"5b0f-day","status":"used"}],"total":3}`
	if out, _ := z.do(t, exitOK, answer, "voucher", "import", "-"); !strings.Contains(out, "2 vouchers imported") || !strings.Contains(out, "1 were left out") {
		t.Error(out)
	}
	z.do(t, exitOK, "code;forfait_id;status\nXYZ98765;5b0f-day;active\n", "voucher", "import", "-")
	for _, wrong := range []string{answer, `{"items":[{"code":"NEW11111","forfait_id":"none","status":"active"}],"total":1}`, `{"items":[{"code":"NEW11111"}],"total":2}`, `{"items":[{"code":"NEW11111"}]}`} {
		if _, stderr := z.do(t, exitFailed, wrong, "voucher", "import", "-"); !strings.Contains(stderr, "nothing was imported") {
			t.Errorf("%s: %s", wrong, stderr)
		}
	}
	if status, a := phoneA.redeem(t, z, "abc12345"); status != http.StatusOK || !a.Online || a.Plan != "Forfait Journalier" {
		t.Fatalf("redeeming: %d %+v", status, a)
	}

	// The server goes away, and the daemon is killed: what was on sale still is.
	stop()
	if err := d.stop(t, syscall.SIGKILL); err == nil {
		t.Fatal("it survived a kill")
	}
	if got := plans(); len(got) != 1 {
		t.Errorf("without a daemon: %+v", got)
	}
	d = z.run(t)
	d.await(t, "that the server is missed", func() bool { return z.hub().Problem != "" })
	if got := plans(); len(got) != 1 {
		t.Errorf("without the server: %+v", got)
	}
	if text, _ := z.do(t, exitOK, "", "status"); !strings.Contains(text, "CATALOGUE NOT READ since the start; last error: ") {
		t.Error(text)
	}
	d.await(t, "the customer", func() bool { return z.active(phoneA) != nil })
	if status, a := phoneB.redeem(t, z, "XYZ98765"); status != http.StatusOK || !a.Online {
		t.Errorf("selling without the server: %d %+v", status, a)
	}
	if out, _ := z.do(t, exitOK, "", "doctor"); !strings.Contains(out, "WARN") || !strings.Contains(out, "CATALOGUE NOT READ") {
		t.Error(out)
	}
	if err := d.stop(t, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}
