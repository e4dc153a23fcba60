package bench

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/server"
	"zonegate/hub/store"
	"zonegate/internal/lab"
	"zonegate/internal/lab/postgres"
	"zonegate/sync/api"
)

// Databases that a hub can have.
const (
	onSQLite   = "SQLite"
	onPostgres = "PostgreSQL"
)

// A hubWorld is a real zonehub in a process of its own, and a second hub on
// its database in this one, which plays the people.
type hubWorld struct {
	*hub.Hub
	store    *store.Store
	database *postgres.Server // nil with SQLite
	url      string           // of the database
	dir      string           // hub.key, hub.db, certificate
	program  string
	addr     string
	cmd      *exec.Cmd
	log      *os.File
	tasks    errgroup.Group
	cancel   context.CancelFunc
	forfait  hub.Forfait
	operator hub.Actor
	// currency is what sites sell in, and more what serve is told besides.
	currency string
	more     []string
}

// base is where the hub's paths begin.
func (w *hubWorld) base() string { return "https://" + w.addr + server.Base }

func (w *hubWorld) ca() string { return filepath.Join(w.dir, "cert.pem") }

// noPasswords is for a hub without people.
type noPasswords struct{}

var errNoPasswords = errors.New("there are no people here")

func (noPasswords) Hash(context.Context, string) (string, error) { return "", errNoPasswords }

func (noPasswords) Verify(context.Context, string, string) (bool, error) {
	return false, errNoPasswords
}

// withHub runs f with a hub that is not serving yet, on a real disk.
func (b *bench) withHub(ctx context.Context, kind string, f func(*hubWorld) error) (err error) {
	program, err := lab.FindProgram("zonehub", b.opts.Zonehub)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("/var/tmp", "zonelab-hub-")
	if err != nil {
		return fmt.Errorf("making a data directory: %w", err)
	}
	w := &hubWorld{dir: dir, program: program, operator: hub.Actor{Name: "bench", Role: hub.RoleAdmin}, currency: "XOF"}
	defer func() { err = errors.Join(err, w.close()) }()
	if w.url = filepath.Join(dir, "hub.db"); kind == onPostgres {
		if w.database, err = postgres.Start("max_connections=100"); err != nil {
			return fmt.Errorf("starting PostgreSQL: %w", err)
		}
		if w.url, err = w.database.Database(ctx); err != nil {
			return fmt.Errorf("making a database: %w", err)
		}
	}
	keys, err := hub.NewKeys()
	if err != nil {
		return err
	}
	text, err := keys.MarshalText()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "hub.key"), text, 0o600); err != nil {
		return fmt.Errorf("writing the hub's keys: %w", err)
	}
	if err := w.writeCertificate(); err != nil {
		return err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.addr = free.Addr().String()
	free.Close()
	log := slog.New(slog.DiscardHandler)
	if w.store, err = store.Open(ctx, w.url, log); err != nil {
		return err
	}
	w.Hub = hub.New(hub.Options{Store: w.store, Keys: keys, Hasher: noPasswords{}, Log: log})
	var within context.Context
	within, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	w.tasks.Go(func() error { return w.store.Run(within) })
	w.forfait, _, err = w.SetForfait(ctx, w.operator, hub.ForfaitChange{Plan: zonegate.Plan{
		Name: "Jour", Price: zonegate.Money{Amount: 500, Currency: "XOF"}, Duration: 24 * time.Hour, DevicesMax: 1,
		Rate: zonegate.Rate{CIRUp: 512e3, CIRDown: 512e3, MIRUp: 2048e3, MIRDown: 2048e3},
	}})
	if err != nil {
		return fmt.Errorf("making a forfait: %w", err)
	}
	return f(w)
}

func (w *hubWorld) close() error {
	errs := []error{w.stop(syscall.SIGTERM)}
	if w.cancel != nil {
		w.cancel()
		errs = append(errs, w.tasks.Wait())
	}
	if w.store != nil {
		errs = append(errs, w.store.Close())
	}
	if w.database != nil {
		errs = append(errs, w.database.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(w.dir))...)
}

func (w *hubWorld) writeCertificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making the hub's certificate: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().AddDate(0, -1, 0),
		NotAfter: time.Now().AddDate(0, 1, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("making the hub's certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding the hub's key: %w", err)
	}
	return errors.Join(
		os.WriteFile(w.ca(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(w.dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}

// serve starts the process and waits until it answers.
func (w *hubWorld) serve(ctx context.Context) (err error) {
	args := []string{"serve", "--data", w.dir, "--listen", w.addr, "--tls-cert", w.ca(), "--tls-key", filepath.Join(w.dir, "key.pem")}
	if w.database != nil {
		args = append(args, "--database", w.url)
	}
	args = append(args, w.more...)
	if w.log, err = os.OpenFile(filepath.Join(w.dir, "hub.log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600); err != nil {
		return fmt.Errorf("starting the hub: %w", err)
	}
	w.cmd = exec.Command(w.program, args...)
	w.cmd.Stdout, w.cmd.Stderr = w.log, w.log
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := w.cmd.Start(); err != nil {
		return fmt.Errorf("starting the hub: %w", err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		err := w.ready(ctx)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(w.log.Name())
			return fmt.Errorf("starting the hub: %w\n%s", err, text)
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// ready asks the process whether it takes streams: it listens before.
func (w *hubWorld) ready(ctx context.Context) error {
	c, err := dialHub(ctx, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, w.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprint(c, "GET /readyz HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	a, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", a.Status)
	}
	return nil
}

func (w *hubWorld) pid() int { return w.cmd.Process.Pid }

// stop ends the process, if it runs.
func (w *hubWorld) stop(with syscall.Signal) error {
	if w.cmd == nil {
		return nil
	}
	err := w.cmd.Process.Signal(with)
	werr := w.cmd.Wait()
	var exit *exec.ExitError
	if with == syscall.SIGKILL && errors.As(werr, &exit) {
		werr = nil
	}
	w.cmd = nil
	return errors.Join(err, werr, w.log.Close())
}

// A member is a gateway that was let in.
type member struct {
	api.Enrolled
	instance, reseller string
}

// perReseller is how many gateways a reseller of a measurement has.
const perReseller = 100

// enrol lets n gateways in, each at a site of its own.
func (w *hubWorld) enrol(ctx context.Context, n int) ([]member, error) {
	members := make([]member, n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for at := 0; at < n; at += perReseller {
		g.Go(func() error {
			r, err := w.CreateReseller(ctx, w.operator, fmt.Sprint("reseller ", at), hub.Limits{Vouchers: 1e9, Sites: perReseller, Gateways: perReseller})
			if err != nil {
				return err
			}
			for i := at; i < min(at+perReseller, n); i++ {
				m := member{instance: fmt.Sprintf("%032x", i+1), reseller: r.ID}
				site, err := w.CreateSite(ctx, w.operator, r.ID, fmt.Sprint("site ", i), w.currency)
				if err != nil {
					return err
				}
				code, err := w.NewEnrolment(ctx, w.operator, site.ID, time.Hour)
				if err != nil {
					return err
				}
				e := api.Enrol{Code: code.Code, Zone: fmt.Sprint("zone-", i), Name: fmt.Sprint("site ", i), Version: "bench", Instance: m.instance}
				if m.Enrolled, err = w.Enrol(ctx, e); err != nil {
					return err
				}
				members[i] = m
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("letting gateways in: %w", err)
	}
	return members, nil
}

// sold is how many sales the hub has of this month and the one before, and
// what they brought in.
func (w *hubWorld) sold(ctx context.Context, resellers map[string]bool) (sales, total int64, err error) {
	now := time.Now().In(time.FixedZone("UTC+1", 3600))
	for r := range resellers {
		for _, month := range []string{now.AddDate(0, 0, -now.Day()).Format("2006-01"), now.Format("2006-01")} {
			list, err := w.Summary(ctx, w.operator, r, month)
			if err != nil {
				return 0, 0, err
			}
			for _, s := range list {
				sales, total = sales+s.Sales, total+s.Total
			}
		}
	}
	return sales, total, nil
}

// said is the end of the process's log.
func (w *hubWorld) said() string {
	text, err := os.ReadFile(filepath.Join(w.dir, "hub.log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}
