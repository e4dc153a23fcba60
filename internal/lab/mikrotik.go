package lab

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"zonegate/internal/lab/hotspot"
)

// routerHost is the host that stands between phones and internet where the
// data path is a simulated MikroTik; the gateway is then a box beside it.
const routerHost = "router"

// The box's link to the router, whose hotspot is on the LAN's addresses.
var (
	routerBox4  = netip.MustParseAddr("192.168.88.1")
	gatewayBox4 = netip.MustParseAddr("192.168.88.2")
)

const (
	boxLink = "box0"
	// What RouterOS has on these ports: the API over TLS, and the hotspot's
	// login page behind a redirection.
	apiPort     = 8729
	servletPort = 64872
)

// middle is the host between phones and internet.
func (l *Lab) middle() string {
	if l.opts.MikroTik {
		return routerHost
	}
	return "gateway"
}

// portalAddr is the portal as phones see it.
func (l *Lab) portalAddr() string {
	if l.opts.MikroTik {
		return net.JoinHostPort(gatewayBox4.String(), strconv.Itoa(portalPort))
	}
	return PortalAddr
}

// routerFile is a file of the router in the lab's directory.
func (s *state) routerFile(name string) string { return filepath.Join(s.Dir, "router."+name) }

// startRouter starts the MikroTik and fills in the gateway's configuration.
func (l *Lab) startRouter(ctx context.Context, c *gatewayConfig) error {
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return fmt.Errorf("encoding the router's key: %w", err)
	}
	o := hotspot.Options{
		LAN: lanBridge, Address: gatewayLAN4, Servlet: servletPort,
		Network:     netip.PrefixFrom(gatewayLAN4, lanBits(l.opts.Phones, l.opts.Crowd)).Masked(),
		API:         netip.AddrPortFrom(routerBox4, apiPort),
		Portal:      netip.AddrPortFrom(gatewayBox4, portalPort),
		Page:        l.state.routerFile("login.html"),
		Password:    rand.Text(),
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		Socket:      l.state.routerFile("sock"),
	}
	text, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encoding the router's options: %w", err)
	}
	sum := sha256.Sum256(cert.Certificate[0])
	c.MikroTik = &mikrotikConfig{
		Address: o.API.String(), User: hotspot.User, PasswordFile: l.state.routerFile("password"),
		Fingerprint: hex.EncodeToString(sum[:]), Server: hotspot.Server, Sessions: "api",
	}
	for path, text := range map[string][]byte{
		l.state.routerFile("json"):       text,
		c.MikroTik.PasswordFile:          []byte(o.Password + "\n"),
		l.state.routerFile("login.html"): []byte("<!doctype html><title>WiFi</title><p>The zone is starting.\n"),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return fmt.Errorf("writing a file of the router: %w", err)
		}
	}
	child, err := l.spawn(routerHost, l.Command(routerHost, l.self, roleRouter, l.state.routerFile("json")))
	if err != nil {
		return err
	}
	return l.waitListening(child, "gateway", c.MikroTik.Address)
}

// runRouter is the MikroTik.
func runRouter(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: lab-router OPTIONS")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return fmt.Errorf("reading the router's options: %w", err)
	}
	var o hotspot.Options
	if err := json.Unmarshal(text, &o); err != nil {
		return fmt.Errorf("reading the router's options: %w", err)
	}
	return hotspot.Run(ctx, o)
}

// writeLoginPage puts the page that zonegate prints into the hotspot's
// directory.
func (l *Lab) writeLoginPage(ctx context.Context) error {
	page, err := l.Zonegate(ctx, "nas", "login-page", "http://"+l.portalAddr())
	if err != nil {
		return fmt.Errorf("making the login page: %w", err)
	}
	if err := os.WriteFile(l.state.routerFile("login.html"), page, 0o600); err != nil {
		return fmt.Errorf("writing the login page: %w", err)
	}
	return nil
}

// Router has the lab's MikroTik do something; see [hotspot.Orders].
func (l *Lab) Router(ctx context.Context, words ...string) ([]byte, error) {
	return hotspot.Ask(ctx, l.state.routerFile("sock"), words...)
}

// AskRouter is Router of the lab of that name, wherever it was started.
func AskRouter(ctx context.Context, name string, words ...string) ([]byte, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	s, err := loadState(name)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(s.routerFile("sock")); err != nil {
		return nil, fmt.Errorf("lab %s has no MikroTik: start it with zonelab up --mikrotik", name)
	}
	return hotspot.Ask(ctx, s.routerFile("sock"), words...)
}
