package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pelletier/go-toml/v2"

	"zonegate/hub/sandbox"
)

// portalPort is where the gateway shows its portal on the LAN.
const portalPort = 2050

// PortalAddr is the portal as phones see it, and PortalURL its address.
var (
	PortalAddr = net.JoinHostPort(gatewayLAN4.String(), strconv.Itoa(portalPort))
	PortalURL  = "http://" + PortalAddr + "/"
)

// A Plan is an entry of the zone's catalogue, as the daemon's configuration
// and zonelab's JSON spell it.
type Plan struct {
	ID            string `toml:"id" json:"id"`
	Name          string `toml:"name" json:"name"`
	PriceFCFA     int64  `toml:"price_fcfa" json:"price_fcfa"`
	Duration      string `toml:"duration,omitempty" json:"duration,omitempty"`
	DurationHours int64  `toml:"duration_hours,omitempty" json:"duration_hours,omitempty"`
	DataLimitMB   uint64 `toml:"data_limit_mb,omitempty" json:"data_limit_mb,omitempty"`
	CIRKbps       uint64 `toml:"cir_kbps,omitempty" json:"cir_kbps,omitempty"`
	MIRKbps       uint64 `toml:"mir_kbps,omitempty" json:"mir_kbps,omitempty"`
	DevicesMax    int    `toml:"devices_max,omitempty" json:"devices_max,omitempty"`
}

// A Voucher is a code that phones can redeem.
type Voucher struct {
	Code string `json:"code"`
	Plan string `json:"plan"`
}

// DefaultPlans is what a lab sells when nothing else is asked for.
func DefaultPlans() []Plan {
	return []Plan{
		{ID: "minutes", Name: "2 minutes", PriceFCFA: 25, Duration: "2m", MIRKbps: 2000, DevicesMax: 1},
		{ID: "small", Name: "20 MB", PriceFCFA: 100, DurationHours: 24, DataLimitMB: 20, MIRKbps: 20000, DevicesMax: 1},
		{ID: "fast", Name: "A fast day", PriceFCFA: 500, DurationHours: 24, CIRKbps: 5000, MIRKbps: 50000, DevicesMax: 1},
	}
}

// gatewayConfig is the daemon's configuration file.
type gatewayConfig struct {
	DataDir       string `toml:"data_dir"`
	ControlSocket string `toml:"control_socket"`
	Zone          struct {
		Name     string `toml:"name"`
		ID       string `toml:"id"`
		Language string `toml:"language"`
	} `toml:"zone"`
	Network struct {
		LAN            string   `toml:"lan"`
		WAN            []string `toml:"wan,omitempty"`
		LinkDown       string   `toml:"link_down"`
		LinkUp         string   `toml:"link_up"`
		IsolateClients bool     `toml:"isolate_clients,omitempty"`
	} `toml:"network"`
	MikroTik *mikrotikConfig `toml:"mikrotik,omitempty"`
	Portal   struct {
		Port int `toml:"port"`
	} `toml:"portal"`
	DNS    *dnsConfig    `toml:"dns,omitempty"`
	Garden *gardenConfig `toml:"garden,omitempty"`
	Hub    *hubConfig    `toml:"hub,omitempty"`
	Limits struct {
		Checkpoint string `toml:"checkpoint"`
	} `toml:"limits"`
	Plans []Plan `toml:"plan"`
}

type dnsConfig struct {
	Port     int      `toml:"port"`
	Upstream []string `toml:"upstream"`
}

type gardenConfig struct {
	Domains []string `toml:"domains"`
}

type mikrotikConfig struct {
	Address      string `toml:"address"`
	User         string `toml:"user"`
	PasswordFile string `toml:"password_file"`
	Fingerprint  string `toml:"fingerprint"`
	Server       string `toml:"server"`
	Sessions     string `toml:"sessions"`
}

// writeConfig writes the daemon's configuration. It starts the router that is
// part of it.
func (l *Lab) writeConfig(ctx context.Context) error {
	program, err := FindProgram("zonegate", l.opts.Zonegate)
	if err != nil {
		return err
	}
	l.opts.Zonegate = program
	var c gatewayConfig
	c.DataDir = l.opts.DataDir
	if c.DataDir == "" {
		c.DataDir = filepath.Join(l.state.Dir, "data")
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("creating data directory: %w", err)
	}
	c.ControlSocket = filepath.Join(l.state.Dir, "control.sock")
	c.Zone.Name, c.Zone.ID, c.Zone.Language = "Lab zone", "lab", "fr"
	c.Network.LinkDown, c.Network.LinkUp = l.opts.LinkDown, l.opts.LinkUp
	c.Portal.Port = portalPort
	if l.opts.MikroTik {
		if err := l.startRouter(ctx, &c); err != nil {
			return err
		}
	} else {
		c.Network.LAN, c.Network.WAN, c.Network.IsolateClients = lanBridge, []string{wanLink}, true
		c.DNS = &dnsConfig{Port: 2053, Upstream: []string{internet4.String()}}
		c.Garden = &gardenConfig{Domains: []string{"garden.example"}}
	}
	if h := l.Info.Hub; h != nil {
		c.Hub = &hubConfig{Mode: h.Kind, URL: h.API, CAFile: h.CA}
		if h.Kind == CentralRGZ && l.opts.Money {
			c.Hub.TokenFile, c.Hub.PayHosts = l.hubFile("token"), []string{payName}
			if err := os.WriteFile(c.Hub.TokenFile, []byte(sandbox.Defaults().UserToken+"\n"), 0o600); err != nil {
				return fmt.Errorf("writing the zone's token: %w", err)
			}
		}
	}
	c.Limits.Checkpoint = l.opts.Checkpoint
	c.Plans = l.opts.Plans
	text, err := toml.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding gateway configuration: %w", err)
	}
	path := filepath.Join(l.state.Dir, "zonegate.toml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf("writing gateway configuration: %w", err)
	}
	l.Info.Config, l.Info.Control, l.Info.Portal = path, c.ControlSocket, "http://"+l.portalAddr()+"/"
	return nil
}

// FindProgram looks for one of our programs where a build leaves it.
func FindProgram(name, given string) (string, error) {
	if given != "" {
		if _, err := os.Stat(given); err != nil {
			return "", fmt.Errorf("finding %s: %w", name, err)
		}
		return filepath.Abs(given)
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding own program: %w", err)
	}
	for _, path := range []string{filepath.Join(filepath.Dir(self), name), filepath.Join("build", name)} {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("no %s beside zonelab: build it (go build -o build/ ./cmd/...) or name it with --%[1]s PATH", name)
}

// StartGateway starts the gateway's daemon and waits until its portal answers.
func (l *Lab) StartGateway(ctx context.Context) error {
	c, err := l.spawn("gateway", l.Command("gateway", l.opts.Zonegate, "run", "--config", l.Info.Config))
	if err != nil {
		return err
	}
	l.gateway = c
	return l.waitPortal(ctx)
}

// StopGateway ends the daemon in an orderly way.
func (l *Lab) StopGateway() error {
	if l.gateway == nil {
		return nil
	}
	if err := l.gateway.end(10 * time.Second); err != nil {
		return err
	}
	return l.recordChildren()
}

// KillGateway kills the daemon without warning (kill -9).
func (l *Lab) KillGateway() error {
	if l.gateway == nil {
		return nil
	}
	if err := l.gateway.end(0); err != nil {
		return err
	}
	return l.recordChildren()
}

// RestartGateway stops the daemon if it runs and starts it again.
func (l *Lab) RestartGateway(ctx context.Context) error {
	if err := l.StopGateway(); err != nil {
		return err
	}
	return l.StartGateway(ctx)
}

// GatewayPID is the daemon's process id.
func (l *Lab) GatewayPID() int { return l.gateway.PID }

// waitPortal polls the portal from a phone until it answers.
func (l *Lab) waitPortal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	client := l.Client("phone1")
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		ask, done := context.WithTimeout(ctx, 2*time.Second)
		req, err := http.NewRequestWithContext(ask, http.MethodGet, l.Info.Portal, nil)
		if err != nil {
			done()
			return err
		}
		resp, err := client.Do(req)
		done()
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode < 500 {
				return nil
			}
			err = errors.New(resp.Status)
		}
		last = err
		select {
		case <-tick.C:
		case <-l.gateway.done:
			return l.gatewayFailed(fmt.Errorf("the gateway's daemon ended: %w", errors.Join(l.gateway.err, last)))
		case <-ctx.Done():
			return l.gatewayFailed(fmt.Errorf("the portal does not answer at %s: %w", l.Info.Portal, errors.Join(last, ctx.Err())))
		}
	}
}

func (l *Lab) gatewayFailed(err error) error {
	return fmt.Errorf("starting gateway: %w\n--- last lines of the gateway's log\n%s", err, tail(l.Info.Logs["gateway"], 30))
}

// Client returns an HTTP client at a host. It follows no redirect and keeps no
// connection. Addresses must be numeric.
func (l *Lab) Client(host string) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return l.Dial(ctx, host, network, addr)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (l *Lab) makeVouchers(ctx context.Context) error {
	if l.opts.Vouchers < 0 {
		return nil
	}
	for _, p := range l.opts.Plans {
		made, err := l.MakeVouchers(ctx, p.ID, l.opts.Vouchers)
		if err != nil {
			return err
		}
		l.Info.Vouchers = append(l.Info.Vouchers, made...)
	}
	return nil
}

// MakeVouchers asks the daemon for vouchers of a plan.
func (l *Lab) MakeVouchers(ctx context.Context, plan string, count int) ([]Voucher, error) {
	out, err := l.Zonegate(ctx, "voucher", "create", "--plan", plan, "--count", strconv.Itoa(count), "--json")
	if err != nil {
		return nil, fmt.Errorf("making vouchers: %w", err)
	}
	var answer struct {
		Vouchers []Voucher `json:"vouchers"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("making vouchers: reading zonegate's answer: %w", err)
	}
	if len(answer.Vouchers) != count {
		return nil, fmt.Errorf("making vouchers: asked for %d of plan %s, got %d", count, plan, len(answer.Vouchers))
	}
	return answer.Vouchers, nil
}

// Zonegate runs a command of the daemon's program against the running daemon
// and returns what it prints.
func (l *Lab) Zonegate(ctx context.Context, args ...string) ([]byte, error) {
	cmd := l.CommandContext(ctx, "gateway", l.opts.Zonegate, append([]string{"--config", l.Info.Config}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("running zonegate %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
