package lab

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kinds of the central server that a lab has on its internet.
const (
	CentralHub = "hub" // the real hub, which the gateway joins
	CentralRGZ = "rgz" // zonehub sandbox: the plain RGZ API
)

// hubPort is where the central server serves, over TLS.
const hubPort = 8443

// Where gateways find the central server.
var (
	hubAddr = net.JoinHostPort(internet4.String(), strconv.Itoa(hubPort))
	// CentralURL is its address without a path.
	CentralURL = "https://" + hubAddr
)

const centralBase = "/api/v1"

// A Hub describes the central server of a lab.
type Hub struct {
	Kind string `json:"kind"`
	API  string `json:"api"`
	// Pages is the hub's own pages, for a person's browser.
	Pages    string `json:"pages,omitempty"`
	CA       string `json:"ca"`
	Program  string `json:"program"`
	Data     string `json:"data,omitempty"`
	Database string `json:"database,omitempty"` // URL; empty is SQLite in Data
	Admin    string `json:"admin,omitempty"`
	Password string `json:"password,omitempty"`
	Reseller string `json:"reseller,omitempty"`
	Site     string `json:"site,omitempty"`
	// Forfait is the one that it sells from the beginning.
	Forfait Plan `json:"forfait"`
}

// state is where the hub's program finds what it knows.
func (h *Hub) state() []string {
	args := []string{"--data", h.Data}
	if h.Database != "" {
		args = append(args, "--database", h.Database)
	}
	return args
}

// hubConfig is the gateway's table about it.
type hubConfig struct {
	Mode   string `toml:"mode"`
	URL    string `toml:"url"`
	CAFile string `toml:"ca_file"`
	// With these a zone at a server of RGZ takes payments.
	TokenFile string   `toml:"token_file,omitempty"`
	PayHosts  []string `toml:"pay_hosts,omitempty"`
}

func (l *Lab) hubFile(name string) string { return filepath.Join(l.state.Dir, "hub."+name) }

// startCentral starts the central server and fills what it sells. The gateway
// is not joined yet.
func (l *Lab) startCentral(ctx context.Context) error {
	program, err := FindProgram("zonehub", l.opts.Zonehub)
	if err != nil {
		return err
	}
	if err := l.writeHubCertificate(); err != nil {
		return err
	}
	h := &Hub{Kind: l.opts.Central, API: CentralURL + centralBase, CA: l.hubFile("cert.pem"), Program: program}
	l.Info.Hub = h
	if h.Kind == CentralRGZ {
		if l.opts.Money {
			h.API = PayURL + centralBase
			l.Info.Money = &Money{Providers: PayURL, Currency: l.opts.Currency}
		}
		return l.StartHub()
	}
	h.Data, h.Admin, h.Password = filepath.Join(l.state.Dir, "hub"), "admin", rand.Text()
	h.Database = l.opts.HubDatabase
	if l.opts.HubDataDir != "" {
		h.Data = l.opts.HubDataDir
	}
	if _, err := l.hubCommand(ctx, h.Password+"\n", "user", "add", "--role", "admin", h.Admin); err != nil {
		return err
	}
	if h.Reseller, err = l.hubWord(ctx, "reseller", "add", "Lab reseller"); err != nil {
		return err
	}
	if h.Site, err = l.hubWord(ctx, "site", "add", "--reseller", h.Reseller, "Lab zone"); err != nil {
		return err
	}
	h.Forfait = Plan{Name: "Hub day", PriceFCFA: 300, DurationHours: 24, CIRKbps: 1000, MIRKbps: 4000, DevicesMax: 1}
	f := &h.Forfait
	if f.ID, err = l.hubWord(ctx, "forfait", "set", "--price", fmt.Sprint(f.PriceFCFA), "--hours", fmt.Sprint(f.DurationHours),
		"--cir-kbps", fmt.Sprint(f.CIRKbps), "--mir-kbps", fmt.Sprint(f.MIRKbps), f.Name); err != nil {
		return err
	}
	if l.opts.Money {
		if err := l.startMoney(ctx); err != nil {
			return err
		}
	}
	if l.opts.BrowserPort > 0 {
		if err := l.startHubFront(); err != nil {
			return err
		}
	}
	return l.StartHub()
}

// StartHub starts the central server where it is not running, and waits until
// it serves.
func (l *Lab) StartHub() error {
	h := l.Info.Hub
	args := append([]string{"serve"}, h.state()...)
	at := hubAddr
	switch {
	case h.Kind == CentralRGZ && l.opts.Money:
		at, args = payAddr, []string{"sandbox", "--public-url", PayURL}
	case h.Kind == CentralRGZ:
		args = []string{"sandbox"}
	case l.opts.Money:
		// Providers call back there.
		args = append(args, "--public-url", CentralURL, "--money", l.Info.Money.File)
	case h.Pages != "":
		args = append(args, "--public-url", strings.TrimSuffix(h.Pages, "/"))
	}
	args = append(args, "--listen", at, "--tls-cert", h.CA, "--tls-key", l.hubFile("key.pem"))
	c, err := l.spawn("hub", l.Command("internet", h.Program, args...))
	if err != nil {
		return err
	}
	l.hub = c
	return l.waitListening(c, "internet", at)
}

// KillHub kills the central server without warning (kill -9).
func (l *Lab) KillHub() error {
	if err := l.hub.end(0); err != nil {
		return err
	}
	return l.recordChildren()
}

// FreezeHub has the central server do nothing, with all its connections open,
// or go on.
func (l *Lab) FreezeHub(frozen bool) error {
	signal := unix.SIGCONT
	if frozen {
		signal = unix.SIGSTOP
	}
	return unix.Kill(l.hub.PID, signal)
}

// joinHub makes the running gateway one of the hub's and has some vouchers
// made there.
func (l *Lab) joinHub(ctx context.Context) error {
	h := l.Info.Hub
	code, err := l.hubWord(ctx, "enrol-code", "--site", h.Site)
	if err != nil {
		return err
	}
	if _, err := l.Zonegate(ctx, "hub", "join", "--url", h.API, code); err != nil {
		return fmt.Errorf("joining the hub: %w", err)
	}
	l.Info.Plans = append(l.Info.Plans[:len(l.Info.Plans):len(l.Info.Plans)], h.Forfait)
	if l.opts.Vouchers < 0 {
		return nil
	}
	made, err := l.HubVouchers(ctx, h.Forfait.ID, l.opts.Vouchers)
	if err != nil {
		return err
	}
	l.Info.Vouchers = append(l.Info.Vouchers, made...)
	return nil
}

// HubVouchers has the hub make vouchers for the lab's site. They reach the
// gateway by themselves, a moment later.
func (l *Lab) HubVouchers(ctx context.Context, forfait string, count int) ([]Voucher, error) {
	h := l.Info.Hub
	out, err := l.hubCommand(ctx, "", "voucher", "create", "--forfait", forfait, "--reseller", h.Reseller, "--site", h.Site, "--count", strconv.Itoa(count))
	if err != nil {
		return nil, err
	}
	var made []Voucher
	for _, code := range strings.Fields(string(out)) {
		made = append(made, Voucher{Code: code, Plan: forfait})
	}
	if len(made) != count {
		return nil, fmt.Errorf("making vouchers: asked the hub for %d, got %d", count, len(made))
	}
	return made, nil
}

// Zonehub runs a command of the hub's program on its database, whether the hub
// runs or not, and returns what it prints.
func (l *Lab) Zonehub(ctx context.Context, args ...string) ([]byte, error) {
	return l.hubCommand(ctx, "", args...)
}

func (l *Lab) hubCommand(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	h := l.Info.Hub
	cmd := exec.CommandContext(ctx, h.Program, append(args, h.state()...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("running zonehub %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// hubWord is the first word that a command prints: the id of what it made.
func (l *Lab) hubWord(ctx context.Context, args ...string) (string, error) {
	out, err := l.hubCommand(ctx, "", args...)
	if err != nil {
		return "", err
	}
	words := strings.Fields(string(out))
	if len(words) == 0 {
		return "", fmt.Errorf("running zonehub %s: it printed nothing", args[0])
	}
	return words[0], nil
}

// HubClient returns an HTTP client that reaches the central server and the
// simulated payment providers, and believes their certificate alone.
func (l *Lab) HubClient() (*http.Client, error) {
	text, err := os.ReadFile(l.Info.Hub.CA)
	if err != nil {
		return nil, fmt.Errorf("reading the hub's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, errors.New("reading the hub's certificate: there is none")
	}
	client := l.Client("internet")
	transport := client.Transport.(*http.Transport)
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == payName+":443" {
			addr = payAddr
		}
		return dial(ctx, network, addr)
	}
	client.Timeout = 30 * time.Second
	return client, nil
}

// writeHubCertificate makes the certificate that the gateway is told to
// believe.
func (l *Lab) writeHubCertificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making the hub's certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hub of the lab"},
		IPAddresses: []net.IP{internet4.AsSlice(), net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost", payName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("making the hub's certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding the hub's key: %w", err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(l.hubFile(name), pem.EncodeToMemory(block), 0o600); err != nil {
			return fmt.Errorf("writing the hub's certificate: %w", err)
		}
	}
	return nil
}

// startHubFront makes the hub's pages reachable for a person's browser.
func (l *Lab) startHubFront() error {
	ln, err := listenFront(hubFrontVar, l.opts.BrowserPort+1)
	if err != nil {
		return err
	}
	f := newFront(ln, func() (net.Conn, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return l.Dial(ctx, "internet", "tcp", hubAddr)
	})
	l.fronts = append(l.fronts, f)
	l.Info.Hub.Pages = "https://" + ln.Addr().String() + "/"
	f.done.Go(f.serve)
	return nil
}
