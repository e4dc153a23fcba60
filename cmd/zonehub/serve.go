package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"zonegate/hub"
	"zonegate/hub/console"
	"zonegate/hub/server"
	"zonegate/hub/store"
	"zonegate/hub/withdrawal"
)

// settings are what serve can be told.
type settings struct {
	listen, tlsCert, tlsKey      string
	publicURL, proxies           string
	webhookSecret, logLevel      string
	money                        string
	loginsAMinute, enrolsAMinute int
	newKeys                      bool
}

func defineServe(f *flag.FlagSet) action {
	var s settings
	limits := server.DefaultLimits()
	f.StringVar(&s.listen, "listen", ":8443", "`address` to serve on")
	f.StringVar(&s.tlsCert, "tls-cert", "", "`file` with the certificate chain; it is read again when it changes")
	f.StringVar(&s.tlsKey, "tls-key", "", "`file` with its key")
	f.StringVar(&s.publicURL, "public-url", "", "`URL` under which people and gateways reach the hub")
	f.StringVar(&s.proxies, "proxy", "", "`addresses` of proxies before the hub, as 10.0.0.0/8,127.0.0.1: they are believed about who calls")
	f.StringVar(&s.webhookSecret, "webhook-secret", "", "`secret` that the payment provider sends; better in a file than here")
	f.StringVar(&s.money, "money", "", "`file` with the payment providers and the rules of withdrawals; see docs/money.md")
	f.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn or error")
	f.IntVar(&s.loginsAMinute, "login-per-minute", limits.Login.PerMinute, "attempts to sign in from one address, and with one name")
	f.IntVar(&s.enrolsAMinute, "enrol-per-minute", limits.Enrol.PerMinute, "gateways that ask to be let in from one address")
	f.BoolVar(&s.newKeys, "new-keys", false, "make a hub.key that was lost for good: all sites and gateways must be made anew")
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		p := &program{settings: s, data: e.data, database: e.database, out: e.stdout}
		if err := p.check(); err != nil {
			return err
		}
		var level slog.Level
		if err := level.UnmarshalText([]byte(s.logLevel)); err != nil {
			return usagef("--log-level must be debug, info, warn or error")
		}
		p.log = slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: level}))
		var err error
		if p.till, err = loadMoney(s.money, s.publicURL, e.lookup, p.log, e.stdout); err != nil {
			return err
		}
		signals := make(chan os.Signal, 4)
		signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
		defer signal.Stop(signals)
		p.signals = signals
		return p.Run(ctx)
	}
}

// A program is the daemon. Its fields must not change once Run was called.
type program struct {
	settings       settings
	data, database string
	out            io.Writer
	log            *slog.Logger
	signals        <-chan os.Signal

	till        *till
	trusted     []netip.Prefix
	store       *store.Store
	hub         *hub.Hub
	server      *server.Server
	certificate *certificate // nil for plain HTTP
	listener    net.Listener
}

// check finds what makes no sense before anything is touched.
func (p *program) check() error {
	s := p.settings
	if (s.tlsCert == "") != (s.tlsKey == "") {
		return usagef("--tls-cert and --tls-key belong together")
	}
	if s.publicURL != "" {
		u, err := url.Parse(s.publicURL)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return usagef("--public-url must be as https://hub.example.org, not %q", s.publicURL)
		}
	}
	for _, v := range strings.FieldsFunc(s.proxies, func(r rune) bool { return r == ',' || r == ' ' }) {
		prefix, err := netip.ParsePrefix(v)
		if err != nil {
			ip, err := netip.ParseAddr(v)
			if err != nil {
				return usagef("--proxy: %q is no address", v)
			}
			prefix = netip.PrefixFrom(ip, ip.BitLen())
		}
		p.trusted = append(p.trusted, prefix)
	}
	return nil
}

// Run builds everything and runs it until the context is done, a signal comes
// or a task fails.
func (p *program) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.build(ctx); err != nil {
		return err
	}
	if err := p.greet(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // stopped before it has begun
		}
		return err
	}
	tasks := []task{
		{"the signal watcher", p.watchSignals},
		{"the news of pushes", p.store.Run},
		{"the payouts", p.sweepPayouts},
		{"the reconciliation", p.hub.RunReconciliation},
		{"the server", func(ctx context.Context) error { return p.server.Run(ctx, p.listener) }},
	}
	if p.certificate != nil {
		tasks = append(tasks, task{"the certificate", p.certificate.watch})
	}
	if os.Getenv("GOGC") == "" {
		tasks = append(tasks, task{"the heap", p.watchHeap})
	}
	// The hub writes down what the last calls left.
	err = runTasks(ctx, task{"the hub", p.hub.Run}, tasks...)
	if err != nil {
		p.log.Error("stopping because a part failed", "error", err)
	} else {
		p.log.Info("stopped; gateways go on by themselves")
	}
	return err
}

// How much the heap may grow before it is collected. Ten thousand connections
// are mostly memory that rests: less than half of Go's default, in per cent,
// saves a third of it for one or two per cent of a core. A small heap would be
// collected all the time, so it may grow by leastGarbage octets.
const (
	garbage      = 40
	mostGarbage  = 400
	leastGarbage = 64 << 20
	heapEvery    = 5 * time.Second
)

func garbageFor(live uint64) int {
	return int(min(max(leastGarbage*100/max(live, 1), garbage), mostGarbage))
}

// watchHeap has the collector fit the heap, until ctx is over.
func (p *program) watchHeap(ctx context.Context) error {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(heapEvery)
	defer tick.Stop()
	for now := 0; ; {
		metrics.Read(live)
		if next := garbageFor(live[0].Value.Uint64()); next > now+now/8 || next < now-now/8 {
			debug.SetGCPercent(next)
			now = next
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (p *program) build(ctx context.Context) error {
	connections := p.raiseFiles()
	o := hub.Options{Collectors: p.till.collectors, PublicURL: p.settings.publicURL, Payouts: p.till.payouts}
	h, st, keys, err := openHub(ctx, p.data, p.database, p.settings.newKeys, o, p.log)
	if err != nil {
		return err
	}
	p.hub, p.store = h, st
	so := server.Options{
		Hub: h, Tokens: server.Tokens{Key: keys.JWT}, Callbacks: p.till.callbacks, Webhook: p.till.webhook, WebhookSecret: p.settings.webhookSecret,
		Proxies: p.trusted, Log: p.log, Limits: server.DefaultLimits(),
		Connections: connections,
	}
	so.Limits.Login = server.Limit{PerMinute: p.settings.loginsAMinute, Burst: p.settings.loginsAMinute}
	so.Limits.Enrol = server.Limit{PerMinute: p.settings.enrolsAMinute, Burst: p.settings.enrolsAMinute}
	if p.settings.tlsCert != "" {
		if p.certificate, err = loadCertificate(p.settings.tlsCert, p.settings.tlsKey, p.log); err != nil {
			return err
		}
		so.TLS = p.certificate.config()
	}
	pages, err := consoleKeys(keys.JWT)
	if err != nil {
		return err
	}
	pagesAndMoney := http.NewServeMux()
	pagesAndMoney.Handle("/api/", withdrawal.New(withdrawal.Options{
		Hub: h, Tokens: server.Tokens{Key: keys.JWT}, URL: p.settings.publicURL, Log: p.log,
		AttemptLogin: func(r *http.Request, name string) time.Duration { return p.server.AttemptLogin(r, name) },
	}))
	pagesAndMoney.Handle("/", console.New(console.Options{
		Hub: h, Tokens: server.Tokens{Key: pages.sessions}, Key: pages.forms, Log: p.log,
		Secure: p.certificate != nil || strings.HasPrefix(p.settings.publicURL, "https://"),
		// The server that counts is made below, before anybody is served.
		Attempt: func(r *http.Request, name string) time.Duration { return p.server.AttemptLogin(r, name) },
	}))
	so.Pages = pagesAndMoney
	p.server = server.New(so)
	// Probes of TCP would cost gateways traffic; the comments in their streams
	// and the time-outs of calls find dead peers.
	config := net.ListenConfig{KeepAlive: -1}
	if p.listener, err = config.Listen(ctx, "tcp", p.settings.listen); err != nil {
		return fmt.Errorf("listening on --listen: %w", err)
	}
	return nil
}

// raiseFiles lets the process have as many connections as it may, and returns
// their number: a gateway holds two.
func (p *program) raiseFiles() (connections int) {
	const wanted = 1 << 18
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	raised := unix.Rlimit{Cur: max(limit.Cur, wanted), Max: max(limit.Max, wanted)}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) != nil {
		raised = unix.Rlimit{Cur: limit.Max, Max: limit.Max}
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) != nil {
			raised = limit
		}
	}
	if raised.Cur < wanted {
		p.log.Warn("the system bounds the connections of this process; raise the limit of open files (LimitNOFILE=)",
			"files", raised.Cur, "gateways", raised.Cur/2)
	}
	return int(max(raised.Cur, 2*otherFiles)) - otherFiles
}

// otherFiles are for the database, the log and the like.
const otherFiles = 200

// greet says how the hub can be reached and, at the first run, how its admin
// is made.
func (p *program) greet(ctx context.Context) error {
	public := strings.TrimSuffix(p.settings.publicURL, "/")
	if public == "" {
		scheme := "https"
		if p.certificate == nil {
			scheme = "http"
		}
		public = scheme + "://" + p.listener.Addr().String()
	}
	attrs := []any{"version", version, "listen", p.listener.Addr().String(), "api", public + server.Base}
	p.log.Info("serving", attrs...)
	p.till.describe(p.log)
	if p.certificate == nil {
		p.log.Warn("serving plain HTTP: put a proxy with TLS before it, or give --tls-cert and --tls-key; passwords and tokens are sent here")
	}
	token, err := p.hub.SetUpToken(ctx)
	if err != nil {
		return fmt.Errorf("preparing the set-up: %w", err)
	}
	if token != "" {
		// Not into the log, which more people read.
		fmt.Fprintf(p.out, "This hub has no admin yet. Within a day, open\n\n  %s/setup?token=%s\n\n", public, url.QueryEscape(token))
	}
	return nil
}

// sweepPayouts moves money on its way out on, every second.
func (p *program) sweepPayouts(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := p.hub.SweepPayouts(ctx); err != nil && ctx.Err() == nil {
			p.log.Error("sweeping payouts", "err", err)
		}
	}
}

func (p *program) watchSignals(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case s := <-p.signals:
		p.log.Info("stopping", "signal", s.String())
		return errStopped
	}
}

func (p *program) close() error {
	var errs []error
	if p.listener != nil {
		if err := p.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	p.till.close()
	return errors.Join(errs...)
}
