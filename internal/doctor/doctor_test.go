package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTree(t *testing.T) {
	var asked []string
	say := func(id string, f Finding) func(context.Context) Finding {
		return func(context.Context) Finding { asked = append(asked, id); return f }
	}
	checks := []Check{
		{ID: "a", Title: "link", Run: say("a", ok("up")), Then: []Check{
			{ID: "b", Title: "address", Run: say("b", fail("give it one", "none")), Then: []Check{
				{ID: "c", Title: "portal", Run: say("c", ok("")), Then: []Check{
					{ID: "d", Title: "page", Run: say("d", ok(""))},
				}},
			}},
			{ID: "e", Title: "clock", Run: say("e", warn("turn on NTP", "1970"))},
		}},
		{ID: "f", Title: "group", Then: []Check{{ID: "g", Title: "within", Run: say("g", ok(""))}}},
	}
	r := Examine(t.Context(), checks)
	if diff := cmp.Diff([]string{"a", "b", "e", "g"}, asked); diff != "" {
		t.Errorf("what was asked:\n%s", diff)
	}
	if r.OK || r.Failed != 1 || r.Warnings != 1 {
		t.Errorf("ok %v, %d failed, %d warnings", r.OK, r.Failed, r.Warnings)
	}
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := `ok    link: up
FAIL    address: none
        -> give it one
skip      portal: skipped: address failed
skip        page: skipped: address failed
WARN    clock: 1970
        -> turn on NTP
ok    group
ok      within

1 failed, 1 warnings: begin with the first FAIL
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	many := Examine(t.Context(), []Check{{ID: "m", Title: "machine", Run: say("m", Finding{Status: OK, Parts: []Part{
		{"eth0", warn("look", "odd")}, {"HTB", fail("install it", "missing")}, {"br-lan", ok("fine")},
	}}), Then: []Check{{ID: "n", Title: "next", Run: say("n", ok(""))}}}})
	b.Reset()
	if err := many.Write(&b); err != nil {
		t.Fatal(err)
	}
	want = `FAIL  machine
WARN    eth0: odd
        -> look
FAIL    HTB: missing
        -> install it
ok      br-lan: fine
skip    next: skipped: machine failed

1 failed, 1 warnings: begin with the first FAIL
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	if r := Examine(t.Context(), checks[1:]); !r.OK {
		t.Error("a tree without failure is not ok")
	}
}

// A healthy gateway, for tests to break one thing of.
type parts struct {
	room    Room
	journal error
	found   []Part
	noTable bool
	leaks   []string
	kernel  error
	health  Health
	daemon  error
	nases   []Part
	book    error
	router  []Part
	unread  error
	hub     []Part
	hubless error
}

func (p *parts) Probe() (Room, error)                    { return p.room, nil }
func (p *parts) Journal() (uint64, error)                { return 5, p.journal }
func (p *parts) Check(context.Context) ([]Part, error)   { return p.found, p.kernel }
func (p *parts) Table(context.Context) (bool, error)     { return !p.noTable, p.kernel }
func (p *parts) Leaks(context.Context) ([]string, error) { return p.leaks, p.kernel }
func (p *parts) Health(context.Context) (Health, error)  { return p.health, p.daemon }

func (p *parts) NASes(context.Context) ([]Part, error) { return p.nases, p.book }

func (p *parts) Examine(context.Context) ([]Part, error) { return p.router, p.unread }

func (p *parts) Hub(context.Context) (string, []Part, error) {
	return "connected", p.hub, p.hubless
}

func healthy(t *testing.T) (*Gateway, *parts) {
	t.Helper()
	web := httptest.NewServer(http.RedirectHandler("http://portal.example/", http.StatusFound))
	t.Cleanup(web.Close)
	p := &parts{
		room:   Room{Kind: "ext4", Free: 1 << 30, Writable: true, Durable: true, Mappable: true},
		health: Health{Version: "v1", Sessions: 2},
	}
	return &Gateway{
		ConfigName: "zonegate.toml",
		Settings: Settings{
			DataDir: "/data", LAN: "br-lan", WAN: []string{"eth0"},
			PortalPort: web.Listener.Addr().(*net.TCPAddr).AddrPort().Port(), DNSPort: nameServer(t, 3), Hub: true,
		},
		Storage: p, Kernel: p, Daemon: p, NASes: p, Hub: p,
		ClockTrusted: func() bool { return true },
		Link: func(string) (Link, error) {
			return Link{Up: true, Addrs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}}, nil
		},
	}, p
}

// nameServer answers every question with a code of RFC 1035 section 4.1.1.
func nameServer(t *testing.T, rcode byte) uint16 {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 512)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			// Header and question alone: no extra section.
			end := 12
			for end < n && b[end] != 0 {
				end += int(b[end]) + 1
			}
			answer := append([]byte(nil), b[:min(n, end+5)]...)
			answer[2] |= 0x80
			answer[3] = 0x80 | rcode
			binary.BigEndian.PutUint16(answer[10:], 0)
			if _, err := c.WriteTo(answer, from); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { c.Close(); <-ended })
	return uint16(c.LocalAddr().(*net.UDPAddr).Port)
}

// walk returns the results that are not ok, by id.
func walk(r Report) map[string]Result {
	out := map[string]Result{}
	var visit func([]Result)
	visit = func(list []Result) {
		for _, x := range list {
			if x.Status != OK {
				out[x.ID] = x
			}
			visit(x.Checks)
		}
	}
	visit(r.Checks)
	return out
}

func TestAHealthyGateway(t *testing.T) {
	g, _ := healthy(t)
	r := Examine(t.Context(), g.Checks())
	if bad := walk(r); len(bad) > 0 || !r.OK {
		t.Errorf("a healthy gateway: %+v", bad)
	}
}

func TestEveryIllness(t *testing.T) {
	for _, tt := range []struct {
		name    string
		break_  func(*Gateway, *parts)
		id      string
		status  Status
		skipped []string
		fix     string
	}{
		{"configuration", func(g *Gateway, _ *parts) { g.ConfigError = errors.New("line 3") }, "configuration", Failed,
			[]string{"storage", "journal", "clock", "machine", "gate", "portal"}, "check-config"},
		{"read-only", func(_ *Gateway, p *parts) { p.room.Writable = false }, "storage", Failed, []string{"journal"}, "/data writable"},
		{"no sync", func(_ *Gateway, p *parts) { p.room.Durable = false }, "storage", Failed, []string{"journal"}, "data_dir"},
		{"full", func(_ *Gateway, p *parts) { p.room.Free = spaceNeeded - 1 }, "storage", Failed, []string{"journal"}, "make room"},
		{"nearly full", func(_ *Gateway, p *parts) { p.room.Free = spaceWanted - 1 }, "storage", Warning, nil, "make room"},
		{"ram", func(_ *Gateway, p *parts) { p.room.Volatile = true }, "storage", Warning, nil, "power cut"},
		{"journal", func(_ *Gateway, p *parts) { p.journal = errors.New("chain broken") }, "journal", Failed, nil, "journal verify"},
		{"clock", func(g *Gateway, _ *parts) { g.ClockTrusted = func() bool { return false } }, "clock", Warning, nil, "NTP"},
		{"not root", func(_ *Gateway, p *parts) { p.kernel = errors.New("operation not permitted") }, "gate", Failed, nil, "root"},
		{"SQM", func(_ *Gateway, p *parts) { p.found = []Part{{"eth0", fail("turn SQM off", "cake")}} }, "machine/eth0", Failed, nil, "SQM"},
		{"odd", func(_ *Gateway, p *parts) { p.found = []Part{{"eth0", warn("look", "odd")}} }, "machine/eth0", Warning, nil, "look"},
		{"table", func(_ *Gateway, p *parts) { p.noTable = true }, "table", Failed, nil, "wait"},
		{"leak", func(_ *Gateway, p *parts) { p.leaks = []string{"IPv6"} }, "gate", Failed, nil, "ip -6 rule"},
		{"interfaces", func(g *Gateway, _ *parts) {
			g.Link = func(string) (Link, error) { return Link{}, errors.New("no such") }
		}, "wan", Failed,
			[]string{"name-server", "portal"}, "network.wan"},
		{"down", func(g *Gateway, _ *parts) { g.Link = func(string) (Link, error) { return Link{}, nil } }, "lan", Failed, []string{"portal"}, "up"},
		{"daemon", func(_ *Gateway, p *parts) { p.daemon = ErrNoDaemon }, "daemon", Failed,
			[]string{"sales", "enforcement", "table", "lan", "name-server", "portal"}, "start"},
		{"sales", func(_ *Gateway, p *parts) { p.health.JournalProblem = "disk full" }, "sales", Failed, nil, "make room"},
		{"enforcement", func(_ *Gateway, p *parts) { p.health.DataPathProblem = "no LAN" }, "enforcement", Failed, nil, "tried again"},
		{"resolvers", func(g *Gateway, _ *parts) { g.Settings.DNSPort = nameServer(t, 2) }, "name-server", Warning, nil, "uplink"},
		{"name server that refuses", func(g *Gateway, _ *parts) { g.Settings.DNSPort = nameServer(t, 5) }, "name-server", Warning, nil, "log"},
		{"name server", func(g *Gateway, _ *parts) { g.Settings.DNSPort = closedPort(t) }, "name-server", Failed, nil, "log"},
		{"book", func(_ *Gateway, p *parts) { p.book = errors.New("entry 3") }, "nases", Failed, nil, "nas list"},
		{"NAS without CoA", func(_ *Gateway, p *parts) {
			p.nases = []Part{{"tower: server", ok("listens")}, {"tower: CoA", warn("turn it on", "silent")}}
		}, "nases/tower: CoA", Warning, nil, "turn"},
		{"NAS with another secret", func(_ *Gateway, p *parts) {
			p.nases = []Part{{"tower: secret", fail("type it again", "wrong")}}
		}, "nases/tower: secret", Failed, nil, "type"},
		{"hub away", func(_ *Gateway, p *parts) { p.hub = []Part{{"connection", warn("check the uplink", "no route")}} }, "hub/connection", Warning, nil, "uplink"},
		{"hub left", func(_ *Gateway, p *parts) { p.hub = []Part{{"hub", fail("join it again", "denied")}} }, "hub/hub", Failed, nil, "join"},
		{"hub unknown", func(_ *Gateway, p *parts) { p.hubless = errors.New("no answer") }, "hub", Failed, nil, "hub status"},
		{"no LAN and no NAS", func(g *Gateway, _ *parts) { g.Settings.LAN = "" }, "nases", Failed, nil, "nas add"},
		{"portal", func(g *Gateway, _ *parts) { g.Settings.PortalPort = closedPort(t) }, "portal", Failed, nil, "log"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, p := healthy(t)
			tt.break_(g, p)
			r := Examine(t.Context(), g.Checks())
			bad := walk(r)
			got := bad[tt.id]
			if got.Status != tt.status || !strings.Contains(got.Fix, tt.fix) || got.Detail == "" {
				t.Errorf("%s is %s (%s), fix %q", tt.id, got.Status, got.Detail, got.Fix)
			}
			if r.OK != (tt.status == Warning) {
				t.Errorf("the report's ok is %v", r.OK)
			}
			for _, id := range tt.skipped {
				if bad[id].Status != Skipped {
					t.Errorf("%s is %s, want skipped", id, bad[id].Status)
				}
			}
			for id, x := range bad {
				if x.Status != Skipped && x.Fix == "" && id != "machine" && (id != "hub" || tt.id == id) && (id != "nases" || tt.id == id) {
					t.Errorf("%s has no fix", id)
				}
			}
		})
	}
}

// closedPort returns a port that nobody listens on.
func closedPort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func TestSomethingElseOnThePortalsPort(t *testing.T) {
	for _, status := range []int{200, 404, 500} {
		g, _ := healthy(t)
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		defer web.Close()
		g.Settings.PortalPort = web.Listener.Addr().(*net.TCPAddr).AddrPort().Port()
		if f := g.portal(t.Context()); f.Status != Failed {
			t.Errorf("a portal that answers %d: %+v", status, f)
		}
	}
}

func TestSystemLink(t *testing.T) {
	l, err := SystemLink("lo")
	if err != nil {
		t.Fatal(err)
	}
	if _, found := l.v4(); l.Up && !found {
		t.Errorf("lo: %+v", l)
	}
	if _, err := SystemLink("no-such-link"); err == nil {
		t.Error("a link that is not there was found")
	}
}

// A gateway without a LAN has nothing in the kernel to be examined.
func TestWithoutLAN(t *testing.T) {
	g, p := healthy(t)
	g.Settings = Settings{DataDir: "/data"}
	p.kernel, p.leaks, p.noTable = errors.New("must not be asked"), []string{"IPv4"}, true
	g.Link = func(string) (Link, error) { return Link{}, errors.New("must not be asked") }
	p.nases = []Part{{"tower: server", ok("listens")}}
	r := Examine(t.Context(), g.Checks())
	if bad := walk(r); len(bad) > 0 || !r.OK {
		t.Errorf("a healthy gateway without a LAN: %+v", bad)
	}
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, no := range []string{"kernel", "portal", "internet", "gate closed"} {
		if strings.Contains(b.String(), no) {
			t.Errorf("%q is examined:\n%s", no, b.String())
		}
	}
}

// A gateway that drives a MikroTik has that in place of the kernel.
func TestDrives(t *testing.T) {
	for _, tt := range []struct {
		name   string
		break_ func(*Gateway, *parts)
		id     string // of what is not ok
		fix    string
	}{
		{"healthy", func(*Gateway, *parts) {}, "", ""},
		{"found", func(_ *Gateway, p *parts) { p.router = []Part{{"FastTrack", fail("except it", "on")}} }, "mikrotik/FastTrack", "except"},
		{"no password", func(_ *Gateway, p *parts) { p.unread = errors.New("run: chmod 600 x") }, "mikrotik", "mend"},
		{"behind", func(_ *Gateway, p *parts) { p.health.DataPathProblem = "unreachable" }, "enforcement", "tried again"},
		{"no address", func(g *Gateway, _ *parts) { g.Settings.Portal = netip.Addr{} }, "portal", "radius.listen"},
	} {
		g, p := healthy(t)
		port := g.Settings.PortalPort
		g.Settings = Settings{DataDir: "/data", MikroTik: "10.0.0.1:8729", Drives: true, PortalPort: port, Portal: netip.MustParseAddr("127.0.0.1")}
		g.Router, p.kernel = p, errors.New("must not be asked")
		tt.break_(g, p)
		bad := walk(Examine(t.Context(), g.Checks()))
		if tt.id == "" && len(bad) > 0 {
			t.Errorf("%s: %+v", tt.name, bad)
		} else if got := bad[tt.id]; tt.id != "" && (got.Status != Failed || !strings.Contains(got.Fix, tt.fix)) {
			t.Errorf("%s: %s is %s, fix %q; in all %+v", tt.name, tt.id, got.Status, got.Fix, bad)
		}
	}
}
