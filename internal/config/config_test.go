package config_test

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"zonegate/internal/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestWrong compares the messages about wrong files with golden ones.
func TestWrong(t *testing.T) {
	files, err := filepath.Glob("testdata/wrong/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no wrong files: %v", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".toml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := config.Parse(strings.NewReader(string(text)), name)
			var wrong *config.Error
			if !errors.As(err, &wrong) || cfg != nil {
				t.Fatalf("got %v, %v, want an Error alone", cfg, err)
			}
			got := err.Error() + "\n"
			golden := strings.TrimSuffix(file, ".toml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse(strings.NewReader(text), "test.toml")
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// compare treats addresses as values.
var compare = cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{})

var radiusDefaults = config.RADIUS{
	Enabled: true, AuthPort: 1812, AcctPort: 1813, Interim: 5 * time.Minute, IdleTimeout: 15 * time.Minute,
}

func TestMinimal(t *testing.T) {
	want := &config.Config{
		DataDir:       "/etc/zonegate/data",
		ControlSocket: "/var/run/zonegate.sock",
		LogLevel:      slog.LevelInfo,
		Zone:          config.Zone{Name: "Ma zone WiFi", ID: "zone-01", Language: "fr"},
		Network: config.Network{
			LAN: "br-lan", WAN: []string{"eth0"},
			LinkDown: 10_000_000, LinkUp: 2_000_000, IsolateClients: true,
		},
		Portal:   config.Portal{Port: 2050},
		DNS:      config.DNS{Port: 2053},
		RADIUS:   radiusDefaults,
		Vouchers: config.Vouchers{WrongPerDevice: 5},
		Limits:   config.Limits{Checkpoint: time.Minute, IdleTimeout: 15 * time.Minute, Megabyte: 1_000_000},
		Plans: []config.Plan{{
			ID: "jour", Name: "1 jour", PriceFCFA: 200, Duration: 24 * time.Hour, DataLimit: 500_000_000,
			CIRUp: 256_000, CIRDown: 256_000, MIRUp: 2_048_000, MIRDown: 2_048_000, DevicesMax: 1,
		}},
	}
	if diff := cmp.Diff(want, parse(t, config.Minimal), compare); diff != "" {
		t.Errorf("Minimal (-want +got):\n%s", diff)
	}
}

func TestReference(t *testing.T) {
	want := &config.Config{
		DataDir:       "/etc/zonegate/data",
		ControlSocket: "/var/run/zonegate.sock",
		LogLevel:      slog.LevelInfo,
		Zone:          config.Zone{Name: "Chez Awa", ID: "awa-01", Language: "fr", Contact: "+229 01 97 00 00 00"},
		Network: config.Network{
			LAN: "br-lan", WAN: []string{"eth0"},
			LinkDown: 20_000_000, LinkUp: 5_000_000, IsolateClients: true,
		},
		Portal: config.Portal{
			Port: 2050, Name: "portail.example.org",
			TLSCert: "/etc/zonegate/portal.crt", TLSKey: "/etc/zonegate/portal.key",
			NASNames: []string{"10.5.50.2:2050"},
		},
		DNS: config.DNS{Port: 2053, Upstream: []netip.AddrPort{
			netip.MustParseAddrPort("9.9.9.9:53"), netip.MustParseAddrPort("1.1.1.1:53"),
		}},
		RADIUS: config.RADIUS{
			Enabled: true, Listen: []netip.Addr{netip.MustParseAddr("192.168.88.2")}, AuthPort: 1812, AcctPort: 1813,
			Interim: 5 * time.Minute, IdleTimeout: 15 * time.Minute,
		},
		MikroTik: config.MikroTik{
			Address: "192.168.88.1:8729", User: "zonegate", PasswordFile: "/etc/zonegate/mikrotik.password",
			Fingerprint: "5f0a8c11d27e93b4460f6a2bc8e5713d904abe1867fc25d38e01b95cf472a63b", Server: "hotspot1",
		},
		Hub: config.Hub{
			Mode: config.HubJoined, URL: "https://hub.example.org/api/v1", CAFile: "/etc/zonegate/hub-ca.pem", Poll: 15 * time.Minute,
			TokenFile: "/etc/zonegate/rgz.token", Providers: []string{"MTN_MOMO", "MOOV_FLOOZ"}, PayHosts: []string{"kkiapay.me", "*.kkiapay.me"},
		},
		Garden:   config.Garden{Domains: []string{"example.org", "*.example.com"}},
		Vouchers: config.Vouchers{WrongPerDevice: 5},
		Limits:   config.Limits{Checkpoint: time.Minute, IdleTimeout: 15 * time.Minute, Megabyte: 1_000_000},
		Plans: []config.Plan{{
			ID: "jour", Name: "1 jour", PriceFCFA: 200, Duration: 24 * time.Hour, DataLimit: 500_000_000,
			CIRUp: 512_000, CIRDown: 512_000, MIRUp: 2_048_000, MIRDown: 2_048_000, DevicesMax: 1,
		}, {
			ID: "essai", Name: "Essai", Duration: 30 * time.Minute,
			CIRUp: 64_000, CIRDown: 256_000, MIRUp: 256_000, MIRDown: 1_024_000, DevicesMax: 1, Trial: true,
		}},
	}
	if diff := cmp.Diff(want, parse(t, config.Reference), compare); diff != "" {
		t.Errorf("Reference (-want +got):\n%s", diff)
	}
}

// TestDetails holds what neither of the two texts shows.
func TestDetails(t *testing.T) {
	cfg := parse(t, `
log_level = "debug"
data_dir = "/srv//zonegate/"
[zone]
name = " Awa "
id = "a"
language = "en"
[network]
lan = "lan0"
wan = ["wwan0", "eth0.2"]
link_down = "1.5M"
link_up = "640 k"
isolate_clients = false
[dns]
upstream = ["::ffff:9.9.9.9", "2620:fe::fe", "9.9.9.9:53", "127.0.0.1"]
[garden]
domains = ["Pay.Example.ORG.", "pay.example.org"]
[limits]
megabyte = 1048576
[[plan]]
id = "heure"
name = "1 h"
price_fcfa = 100
duration = "90m"
data_limit_mb = 2
time = "online"
devices_max = 3
mir_up_kbps = 128
`)
	if cfg.LogLevel != slog.LevelDebug || cfg.DataDir != "/srv/zonegate" || cfg.Zone.Name != "Awa" || cfg.Network.IsolateClients {
		t.Errorf("got %+v", cfg)
	}
	if cfg.Network.LinkDown != 1_500_000 || cfg.Network.LinkUp != 640_000 {
		t.Errorf("link is %d down, %d up", cfg.Network.LinkDown, cfg.Network.LinkUp)
	}
	if diff := cmp.Diff([]netip.AddrPort{
		netip.MustParseAddrPort("9.9.9.9:53"),
		netip.MustParseAddrPort("[2620:fe::fe]:53"),
		netip.MustParseAddrPort("127.0.0.1:53"),
	}, cfg.DNS.Upstream, compare); diff != "" {
		t.Errorf("upstream (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"pay.example.org"}, cfg.Garden.Domains); diff != "" {
		t.Errorf("garden (-want +got):\n%s", diff)
	}
	want := []config.Plan{{
		ID: "heure", Name: "1 h", PriceFCFA: 100, Duration: 90 * time.Minute, DataLimit: 2 << 20,
		MIRUp: 128_000, Online: true, DevicesMax: 3,
	}}
	if diff := cmp.Diff(want, cfg.Plans); diff != "" {
		t.Errorf("plans (-want +got):\n%s", diff)
	}
}

// The central server of an operator.
func TestHub(t *testing.T) {
	for table, want := range map[string]config.Hub{
		``:          {},
		`mode = ""`: {},
		`mode = "hub"
url = "https://Hub.Example.org/api/v1/"`: {Mode: config.HubJoined, URL: "https://Hub.Example.org/api/v1", Poll: 15 * time.Minute},
		`mode = "rgz"
url = "http://127.0.0.1:8080/x/api/v1"
poll = "1m"
ca_file = "/etc//ca.pem"`: {Mode: config.HubRGZ, URL: "http://127.0.0.1:8080/x/api/v1", Poll: time.Minute, CAFile: "/etc/ca.pem"},
		`mode = "rgz"
url = "https://rgz.example.org/api/v1"
token_file = "/etc//token"`: {Mode: config.HubRGZ, URL: "https://rgz.example.org/api/v1", Poll: 15 * time.Minute,
			TokenFile: "/etc/token", Providers: []string{"MTN_MOMO"}, PayHosts: []string{"kkiapay.me", "*.kkiapay.me"}},
	} {
		text, _, _ := strings.Cut(config.Minimal, "[[plan]]")
		if cfg := parse(t, text+"\n[hub]\n"+table); !cmp.Equal(cfg.Hub, want) || len(cfg.Plans) != 0 {
			t.Errorf("%s gives %+v and %d plans", table, cfg.Hub, len(cfg.Plans))
		}
	}
	// Own plans beside those of a hub.
	cfg := parse(t, config.Minimal+"[hub]\nmode = \"hub\"\nurl = \"https://hub.example.org/api/v1\"\n")
	if len(cfg.Plans) != 1 {
		t.Errorf("%d plans", len(cfg.Plans))
	}
	// What is laid over the configuration is checked like it.
	if name, reason := config.GardenDomain("*.Example.org."); name != "*.example.org" || reason != "" {
		t.Errorf("%q %q", name, reason)
	}
}

// A gateway whose customers are all behind NASes.
func TestWithoutLAN(t *testing.T) {
	cfg := parse(t, `
[zone]
name = "Awa"
id = "a"
[network]
lan = ""
[radius]
listen = ["::ffff:10.0.0.2", "10.0.0.2", "fe80::1%eth1", "127.0.0.1"]
auth_port = 18120
acct_port = 18130
strict = true
interim = "60s"
`)
	if diff := cmp.Diff(config.Network{IsolateClients: true}, cfg.Network); diff != "" {
		t.Errorf("network (-want +got):\n%s", diff)
	}
	want := config.RADIUS{
		Enabled: true, AuthPort: 18120, AcctPort: 18130, Strict: true, Interim: time.Minute, IdleTimeout: 15 * time.Minute,
		Listen: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fe80::1%eth1"), netip.MustParseAddr("127.0.0.1")},
	}
	if diff := cmp.Diff(want, cfg.RADIUS, compare); diff != "" {
		t.Errorf("radius (-want +got):\n%s", diff)
	}
}

// A gateway that drives a MikroTik, with and without TLS.
func TestDrivesMikroTik(t *testing.T) {
	const zone = "[zone]\nname = 'Awa'\nid = 'a'\n"
	cfg := parse(t, zone+`
[network]
lan = ""
link_down = "8M"
[radius]
enabled = false
[mikrotik]
address = "Router.Lan"
password_file = "/etc//password"
fingerprint = "`+strings.Repeat("AB:", 31)+`ab"
sessions = "api"
`)
	want := config.MikroTik{
		Address: "router.lan:8729", User: "zonegate", PasswordFile: "/etc/password",
		Fingerprint: strings.Repeat("ab", 32), Drives: true,
	}
	if diff := cmp.Diff(want, cfg.MikroTik); diff != "" {
		t.Errorf("mikrotik (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(config.Network{LinkDown: 8_000_000, IsolateClients: true}, cfg.Network); diff != "" {
		t.Errorf("network (-want +got):\n%s", diff)
	}
	for address, want := range map[string]string{
		"[fd00::1]": "[fd00::1]:8728", "10.0.0.1": "10.0.0.1:8728", "10.0.0.1:18728": "10.0.0.1:18728",
	} {
		cfg := parse(t, zone+"[network]\nlan = ''\n[mikrotik]\naddress = '"+address+
			"'\nuser = 'x'\npassword_file = '/p'\nplain = true\nserver = 'hs'\nsessions = 'api'")
		want := config.MikroTik{Address: want, User: "x", PasswordFile: "/p", Plain: true, Server: "hs", Drives: true}
		if diff := cmp.Diff(want, cfg.MikroTik); diff != "" {
			t.Errorf("mikrotik (-want +got):\n%s", diff)
		}
	}
	// An empty address turns the rest off.
	cfg = parse(t, zone+"[network]\nlan = ''\n[mikrotik]\naddress = ''\nsessions = 'api'\nplain = true")
	if diff := cmp.Diff(config.MikroTik{}, cfg.MikroTik); diff != "" {
		t.Errorf("mikrotik (-want +got):\n%s", diff)
	}
}

// TestRead checks that a failing reader is no problem of the content, and
// that an endless one ends.
func TestRead(t *testing.T) {
	broken := errors.New("disk on fire")
	var wrong *config.Error
	if _, err := config.Parse(iotest.ErrReader(broken), "x"); !errors.Is(err, broken) || errors.As(err, &wrong) {
		t.Errorf("got %v, want the reader's error", err)
	}
	_, err := config.Parse(endless{}, "x")
	if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "64 KB") {
		t.Errorf("got %v, want the size refused", err)
	}
}

// TestManyProblems checks that a file of nothing but problems, of every sort,
// is still answered at once and with a bounded list.
func TestManyProblems(t *testing.T) {
	for _, line := range []string{"a%d = 1\n", "[[plan]]\nid = %d\n", "[t%d]\n", "[[plan]]\nPrice%d = 'x'\n", "[[plan]]#%d\n"} {
		var b strings.Builder
		for i := range 500 {
			fmt.Fprintf(&b, line, i)
		}
		var wrong *config.Error
		if _, err := config.Parse(strings.NewReader(b.String()), "x"); !errors.As(err, &wrong) {
			t.Fatalf("%q: got %v", line, err)
		}
		if n := len(wrong.Problems); n != 100 {
			t.Errorf("%q: got %d problems, want the first 100", line, n)
		}
		_, err := config.Parse(strings.NewReader(strings.Repeat(b.String(), 5)), "x")
		if err == nil || err.Error() != "x: the file has more than 2000 keys; is it a configuration?" {
			t.Errorf("%q: got %v, want the number of keys refused", line, err)
		}
	}
}

// endless is a reader of comments without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '#'
	}
	return len(p), nil
}

// FuzzParse checks that no file makes Parse panic, hang, or return both or
// none of its results, and that problems name places that exist.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/wrong/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add(config.Reference)
	f.Add("plan = [{id = 1}, {id = 'a', b.c = 2}]")
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := config.Parse(strings.NewReader(text), "fuzz.toml")
		if (cfg == nil) == (err == nil) {
			t.Fatalf("got %v and %v", cfg, err)
		}
		var wrong *config.Error
		if err != nil && !errors.As(err, &wrong) {
			t.Fatalf("got a %T", err)
		}
		if wrong != nil {
			if len(wrong.Problems) == 0 {
				t.Fatal("an error without a problem")
			}
			lines := strings.Count(text, "\n") + 1
			for _, p := range wrong.Problems {
				if p.Line < 0 || p.Line > lines || p.Message == "" {
					t.Fatalf("impossible problem %+v in %d lines", p, lines)
				}
			}
			return
		}
		for _, p := range cfg.Plans {
			if p.DevicesMax < 1 || p.Duration <= 0 || p.PriceFCFA < 0 || p.PriceFCFA == 0 && !p.Trial ||
				p.MIRDown > 0 && p.CIRDown > p.MIRDown || p.MIRUp > 0 && p.CIRUp > p.MIRUp {
				t.Fatalf("accepted %+v", p)
			}
		}
	})
}
