package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultName is the name of a lab, and the prefix of its namespaces.
const DefaultName = "zl"

// Options say what to build. The zero value is a lab with two phones.
type Options struct {
	// Name prefixes the namespaces: NAME-phone1 and so on. At most 12
	// lower-case letters and digits.
	Name string
	// Phones is the number of phones, each a namespace (default 2, at most 1000).
	Phones int
	// Crowd adds a namespace that plays that many further customers on one
	// bridge port, each with its own MAC and addresses (at most 10000).
	Crowd int
	// NAS adds a host on the LAN that may ask over RADIUS.
	NAS bool
	// MikroTik has a simulated RouterOS between phones and internet, and the
	// gateway beside it, which drives it over its API.
	MikroTik bool
	// Central is the kind of central server on the internet, CentralHub or
	// CentralRGZ; empty is none. With a hub the gateway joins it and sells its
	// forfait beside the plans; with an RGZ server there are no others.
	Central string
	// Money has simulated payment providers on the internet, and a central
	// server that takes payments through them.
	Money bool
	// Currency is what the gateway's site sells in: one of Currencies (default
	// XOF). With any other there is Money, and the central server is a hub.
	Currency string
	// HubDataDir is the hub's data directory; empty means inside the lab's own.
	HubDataDir string
	// HubDatabase is the URL of a PostgreSQL database for the hub; empty is
	// SQLite in its data directory.
	HubDatabase string
	// Zonehub is the hub's program. Empty looks beside the own program.
	Zonehub string
	// Daemon starts the gateway's daemon. Without it there is only a network.
	Daemon bool
	// Zonegate is the daemon's program. Empty looks beside the own program.
	Zonegate string
	// LinkDown and LinkUp are the uplink's rates in the daemon's
	// configuration, such as "100M" (the default).
	LinkDown, LinkUp string
	// Plans are what the zone sells; nil means DefaultPlans.
	Plans []Plan
	// Vouchers is how many are made of each plan (default 6; negative: none).
	Vouchers int
	// Checkpoint is the daemon's checkpoint interval (default "60s").
	Checkpoint string
	// DataDir is the daemon's data directory; empty means inside the lab's own
	// directory, which is in RAM on most machines.
	DataDir string
	// BrowserPort is the port on 127.0.0.1 where phone1's browser is
	// reached; the next free one is taken. 0 means none.
	BrowserPort int
}

func (o *Options) setDefaults() error {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if err := CheckName(o.Name); err != nil {
		return err
	}
	if o.Phones == 0 {
		o.Phones = 2
	}
	if o.Phones < 1 || o.Phones > 1000 {
		return fmt.Errorf("%d phones: choose 1 to 1000", o.Phones)
	}
	if o.Crowd < 0 || o.Crowd > 10000 {
		return fmt.Errorf("a crowd of %d: choose 0 to 10000", o.Crowd)
	}
	if o.MikroTik && (o.NAS || o.Crowd > 0 || !o.Daemon) {
		return errors.New("a lab with a MikroTik has the daemon, and neither a NAS nor a crowd")
	}
	switch o.Central {
	case "":
	case CentralHub, CentralRGZ:
		if o.MikroTik || !o.Daemon {
			return errors.New("a lab with a central server has the daemon, and no MikroTik")
		}
	default:
		return fmt.Errorf("no central server %q: choose %s or %s", o.Central, CentralHub, CentralRGZ)
	}
	if o.Currency == "" {
		o.Currency = Currencies()[0]
	}
	if !slices.Contains(Currencies(), o.Currency) {
		return fmt.Errorf("no currency %q: choose one of %s", o.Currency, strings.Join(Currencies(), ", "))
	}
	if o.Money && o.Central == "" || o.Currency != Currencies()[0] && (!o.Money || o.Central != CentralHub) {
		return errors.New("a lab where people pay has a central server, and a hub for other currencies")
	}
	if o.Central == CentralRGZ {
		if len(o.Plans) > 0 {
			return errors.New("a lab with an RGZ server sells what that server has, and no plans of its own")
		}
		o.Plans = []Plan{}
	}
	if o.LinkDown == "" {
		o.LinkDown = "100M"
	}
	if o.LinkUp == "" {
		o.LinkUp = "100M"
	}
	if o.Plans == nil {
		o.Plans = DefaultPlans()
	}
	if o.Vouchers == 0 {
		o.Vouchers = 6
	}
	if o.Checkpoint == "" {
		o.Checkpoint = "60s"
	}
	return nil
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9]{0,11}$`)

// CheckName refuses a lab name that could not prefix a namespace.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("lab name %q: use at most 12 lower-case letters and digits, a letter first", name)
	}
	return nil
}

// Info describes a running lab to people and programs.
type Info struct {
	Hosts    map[string]Host   `json:"hosts"`
	Portal   string            `json:"portal"`
	Plans    []Plan            `json:"plans"`
	Vouchers []Voucher         `json:"vouchers"`
	Secrets  map[string]string `json:"secrets"`
	Logs     map[string]string `json:"logs"`
	Browser  string            `json:"browser"`
	Config   string            `json:"config"`
	Control  string            `json:"control"`
	Hub      *Hub              `json:"hub,omitempty"`
	Money    *Money            `json:"money,omitempty"`
}

// A Lab is a zone that runs. Its methods are for one goroutine, except Command,
// Dial and Listen, which are safe for concurrent use.
type Lab struct {
	Info Info

	opts    Options
	self    string // the own program, for helpers
	state   *state
	spaces  map[string]space
	tasks   sync.WaitGroup
	gateway *child
	kids    []*child
	hub     *child // the central server
	// providers are the simulated ones of payments, if they are not the hub.
	providers *child
	fronts    []*front
}

// Up builds a lab and waits until it is ready. It first removes what a lab of
// the same name left when it crashed, and refuses when one still runs. The lab
// lives until Close, whatever becomes of ctx, which only bounds the start.
func Up(ctx context.Context, opts Options) (*Lab, error) {
	if err := opts.setDefaults(); err != nil {
		return nil, err
	}
	if !Privileged() {
		return nil, errors.New("building a lab needs root or a user namespace: run it with zonelab up")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding own program: %w", err)
	}
	l := &Lab{opts: opts, self: self, spaces: make(map[string]space)}
	if err := l.claim(); err != nil {
		return nil, err
	}
	if err := l.build(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// claim takes the lab's name and directory.
func (l *Lab) claim() error {
	dir := stateDir(l.opts.Name)
	for _, name := range frontVars {
		if fd, err := strconv.Atoi(os.Getenv(name)); err == nil {
			unix.CloseOnExec(fd)
		}
	}
	if err := Settle(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("creating lab directory: %w", err)
	}
	// Below /tmp somebody else may have made it first.
	if info, err := os.Lstat(filepath.Dir(dir)); err != nil || !info.IsDir() || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
		return fmt.Errorf("%s is not this user's directory: remove it", filepath.Dir(dir))
	}
	// Two starts at once must not both clean up and build.
	lock, err := os.OpenFile(filepath.Join(filepath.Dir(dir), "lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("locking lab %s: %w", l.opts.Name, err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("locking lab %s: %w", l.opts.Name, err)
	}
	old, err := loadState(l.opts.Name)
	switch {
	case errors.Is(err, ErrNotRunning):
	case err != nil:
		return err
	case old.Keeper.alive():
		return fmt.Errorf("lab %s already runs (pid %d): stop it with zonelab down --name %[1]s, or choose another --name",
			l.opts.Name, old.Keeper.PID)
	default:
		if err := old.cleanUp(); err != nil {
			return fmt.Errorf("cleaning up after a crashed lab: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o700); err != nil {
		return fmt.Errorf("creating lab directory: %w", err)
	}
	keeper, err := processOf("zonelab", os.Getpid())
	if err != nil {
		return err
	}
	l.state = &state{Name: l.opts.Name, Dir: dir, NetnsDir: "/run/netns", UserNS: inUserNS(), Keeper: keeper}
	if l.state.UserNS {
		l.state.NetnsDir = filepath.Join(dir, "netns")
	}
	l.state.Hosts = []string{"gateway", "internet"}
	for i := 1; i <= l.opts.Phones; i++ {
		l.state.Hosts = append(l.state.Hosts, fmt.Sprintf("phone%d", i))
	}
	if l.opts.MikroTik {
		l.state.Hosts = append(l.state.Hosts, routerHost)
	}
	if l.opts.NAS {
		l.state.Hosts = append(l.state.Hosts, nasHost)
	}
	if l.opts.Crowd > 0 {
		l.state.Hosts = append(l.state.Hosts, "crowd")
	}
	l.Info = Info{
		Hosts:    make(map[string]Host),
		Plans:    l.opts.Plans,
		Vouchers: []Voucher{},
		Secrets:  map[string]string{},
		Logs:     map[string]string{},
	}
	return l.state.save()
}

func (l *Lab) build(ctx context.Context) error {
	if err := l.writeResolvers(); err != nil {
		return err
	}
	if err := l.buildNetwork(); err != nil {
		return err
	}
	if err := l.startInternet(); err != nil {
		return err
	}
	if err := l.startResolver(); err != nil {
		return err
	}
	if l.opts.Central != "" {
		if err := l.startCentral(ctx); err != nil {
			return fmt.Errorf("starting the central server: %w", err)
		}
	}
	if l.opts.Daemon {
		if err := l.writeConfig(ctx); err != nil {
			return err
		}
		if err := l.StartGateway(ctx); err != nil {
			return err
		}
		if l.opts.MikroTik {
			if err := l.writeLoginPage(ctx); err != nil {
				return err
			}
		}
		if err := l.makeVouchers(ctx); err != nil {
			return err
		}
		if l.opts.Central == CentralHub {
			if err := l.joinHub(ctx); err != nil {
				return err
			}
		}
		if l.opts.NAS {
			if err := l.startNAS(ctx); err != nil {
				return err
			}
		}
	}
	if l.opts.BrowserPort > 0 {
		if err := l.startBrowser(); err != nil {
			return err
		}
	}
	l.state.Ready = true
	l.state.Info = l.Info
	return l.state.save()
}

// writeResolvers writes the hosts' /etc/resolv.conf, for helpers and for
// `ip netns exec`, which looks below /etc/netns.
func (l *Lab) writeResolvers() error {
	for name, text := range map[string]string{
		"resolv.lan": "nameserver " + gatewayLAN4.String() + "\n",
		"resolv.wan": "nameserver " + internet4.String() + "\n",
	} {
		if err := os.WriteFile(filepath.Join(l.state.Dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing resolver file: %w", err)
		}
	}
	if l.state.UserNS {
		return nil
	}
	for _, host := range l.state.Hosts {
		dir := filepath.Join("/etc/netns", l.state.netnsName(host))
		if _, err := os.Lstat(dir); err == nil {
			continue // somebody else's
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("writing resolver file: %w", err)
		}
		l.state.EtcNetns = append(l.state.EtcNetns, dir)
		if err := l.state.save(); err != nil {
			return err
		}
		text, err := os.ReadFile(l.state.resolvPath(host))
		if err != nil {
			return fmt.Errorf("writing resolver file: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, "resolv.conf"), text, 0o644); err != nil {
			return fmt.Errorf("writing resolver file: %w", err)
		}
	}
	return nil
}

// Close ends the lab's processes and removes its namespaces and files.
func (l *Lab) Close() error {
	var errs []error
	for _, f := range l.fronts {
		errs = append(errs, f.close())
	}
	for i := len(l.kids) - 1; i >= 0; i-- {
		errs = append(errs, l.kids[i].end(5*time.Second))
	}
	l.tasks.Wait()
	l.state.Children = nil
	return errors.Join(append(errs, l.state.cleanUp())...)
}

// Dir is the lab's directory, removed by Close.
func (l *Lab) Dir() string { return l.state.Dir }

// Down ends the lab of that name, wherever it was started.
func Down(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	s, err := loadState(name)
	if err != nil {
		return err
	}
	if err := s.Keeper.end(20 * time.Second); err != nil {
		return err
	}
	if s, err = loadState(name); errors.Is(err, ErrNotRunning) {
		return nil // it cleaned up after itself
	} else if err != nil {
		return err
	}
	return s.cleanUp()
}

// A Status is what zonelab status tells.
type Status struct {
	Name    string          `json:"name"`
	Running bool            `json:"running"`
	Ready   bool            `json:"ready"`
	PID     int             `json:"pid"`
	Alive   map[string]bool `json:"processes"`
	Info    Info            `json:"info"`
}

// Find describes the lab of that name.
func Find(name string) (Status, error) {
	if err := CheckName(name); err != nil {
		return Status{}, err
	}
	s, err := loadState(name)
	if err != nil {
		return Status{}, err
	}
	st := Status{Name: name, Running: s.Keeper.alive(), Ready: s.Ready, PID: s.Keeper.PID,
		Alive: make(map[string]bool), Info: s.Info}
	for _, p := range s.Children {
		st.Alive[p.Name] = p.alive()
	}
	return st, nil
}

// Exec becomes a command at a host of a running lab. It only returns on error.
func Exec(name, host string, argv []string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	s, err := loadState(name)
	if err != nil {
		return err
	}
	if !s.Keeper.alive() {
		return fmt.Errorf("lab %s has crashed: zonelab up or zonelab down cleans up", name)
	}
	known := false
	for _, h := range s.Hosts {
		known = known || h == host
	}
	if !known {
		return fmt.Errorf("no host %s: there are %s", host, strings.Join(s.Hosts, ", "))
	}
	dir, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("finding current directory: %w", err)
	}
	args := insideArgs(s.netnsPath(host), s.resolvPath(host), dir, argv)
	if !s.UserNS {
		return runInside(args[1:])
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding own program: %w", err)
	}
	enter := []string{"nsenter", "--target", fmt.Sprint(s.Keeper.PID), "--user", "--mount", "--preserve-credentials", "--", self}
	return execPath(append(enter, args...))
}

func execPath(argv []string) error {
	path, err := lookPath(argv[0])
	if err != nil {
		return err
	}
	if err := syscall.Exec(path, argv, os.Environ()); err != nil {
		return fmt.Errorf("executing %s: %w", path, err)
	}
	return nil
}
