package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"zonegate/hub/sandbox"
)

func defineSandbox(f *flag.FlagSet) action {
	o := sandbox.Defaults()
	listen := f.String("listen", "127.0.0.1:8480", "`address` to serve on")
	cert := f.String("tls-cert", "", "`file` with the certificate chain; none is plain HTTP")
	key := f.String("tls-key", "", "`file` with its key")
	ca := f.String("callback-ca", "", "`file` with the certificate that callbacks trust beside the system's")
	numbers := f.Bool("numbers", false, "print which phone numbers do what, and the control API, and end")
	f.StringVar(&o.PublicURL, "public-url", "", "`address` by which browsers find this server; none is where the request found it")
	f.DurationVar(&o.Delay, "delay", o.Delay, "how long customers take to confirm; below zero they wait for the control API")
	f.StringVar(&o.UserToken, "user-token", o.UserToken, "`token` of users of RGZ")
	f.StringVar(&o.AdminToken, "admin-token", o.AdminToken, "`token` of admins of RGZ")
	f.StringVar(&o.WebhookSecret, "webhook-secret", o.WebhookSecret, "`secret` that KKiaPay sends to RGZ")
	f.IntVar(&o.PageSize, "page-size", o.PageSize, "forfaits of a page of RGZ")
	f.StringVar(&o.MyPayGa.CallbackURL, "mypayga-callback", "", "`address` that MyPayGa calls back to")
	f.StringVar(&o.MyPayGa.CallbackSecret, "mypayga-secret", "", "`secret` that its callbacks are signed with")
	f.StringVar(&o.KKiaPay.WebhookURL, "kkiapay-webhook", "", "`address` that KKiaPay calls back to")
	f.StringVar(&o.KKiaPay.WebhookSecret, "kkiapay-secret", o.KKiaPay.WebhookSecret, "`secret` that its callbacks carry")
	f.BoolVar(&o.Quirks.CheckPayouts, "flexpay-check-payouts", false, "have FlexPay's check find payouts too, of which its document says nothing")
	f.BoolVar(&o.Quirks.Automatic, "nelsius-automatic", false, "have Nelsius pay validated withdrawals by itself")
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		if *numbers {
			fmt.Fprintf(e.stdout, "%s\nThe control API:\n\n%s", sandbox.NumbersHelp(), sandbox.Help)
			return nil
		}
		if (*cert == "") != (*key == "") {
			return usagef("--tls-cert and --tls-key belong together")
		}
		var err error
		if o.Transport, err = callbackTransport(*ca); err != nil {
			return err
		}
		config := net.ListenConfig{}
		l, err := config.Listen(ctx, "tcp", *listen)
		if err != nil {
			return fmt.Errorf("listening on --listen: %w", err)
		}
		defer l.Close()
		signals := make(chan os.Signal, 4)
		signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
		defer signal.Stop(signals)
		world := sandbox.New(o)
		// Our builds leave HTTP/2 out, and net/http would offer it all the same:
		// browsers take it, and are hung up on.
		var protocols http.Protocols
		protocols.SetHTTP1(true)
		server := &http.Server{Handler: world, Protocols: &protocols, ReadHeaderTimeout: 10 * time.Second,
			ErrorLog: slog.NewLogLogger(slog.NewTextHandler(e.stderr, nil), slog.LevelInfo)}
		scheme := "https"
		if *cert == "" {
			scheme = "http"
		}
		at := scheme + "://" + l.Addr().String()
		fmt.Fprintf(e.stdout, "A plain RGZ server plays at %s%s. It forgets everything when it ends, and knows no secrets.\n%s\n"+
			"%s\nAll of it is changed at %s/_control/:\n\n%s\n",
			at, sandbox.Base, accounts(at, o), sandbox.NumbersHelp(), at, sandbox.Help)
		serve := func(ctx context.Context) (err error) {
			stop := context.AfterFunc(ctx, func() { server.Close() })
			defer stop()
			if *cert == "" {
				err = server.Serve(l)
			} else {
				err = server.ServeTLS(l, *cert, *key)
			}
			if errors.Is(err, http.ErrServerClosed) {
				return nil
			}
			return err
		}
		watch := func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return nil
			case <-signals:
				return errStopped
			}
		}
		return runTasks(ctx, task{"the signal watcher", watch}, task{"the server", serve}, task{"the customers", world.Run})
	}
}

// accounts says where the providers are, and what they know a merchant by.
func accounts(at string, o sandbox.Options) string {
	return fmt.Sprintf("Beside it play, with these accounts, which are no secrets:\n"+
		"  FlexPay   %s%s    merchant %s, token %s\n"+
		"  MyPayGa   %s%s    keys %s, %s, %s, %s\n"+
		"  KKiaPay   %s%s    keys %s, %s, %s; webhook secret %s\n"+
		"  Nelsius   %s%s    %s %s, admin %s %s\n"+
		"  SMS       %s%s\n",
		at, sandbox.FlexPayBase, o.FlexPay.Merchant, o.FlexPay.Token,
		at, sandbox.MyPayGaBase, o.MyPayGa.Secret, o.MyPayGa.Public, o.MyPayGa.TestSecret, o.MyPayGa.TestPublic,
		at, sandbox.KKiaPayBase, o.KKiaPay.PublicKey, o.KKiaPay.PrivateKey, o.KKiaPay.SecretKey, o.KKiaPay.WebhookSecret,
		at, sandbox.NelsiusBase, o.Nelsius.Email, o.Nelsius.Password, o.Nelsius.AdminEmail, o.Nelsius.AdminPassword,
		at, sandbox.SMSPath)
}

// callbackTransport trusts one more certificate, as that of a lab's hub.
func callbackTransport(ca string) (http.RoundTripper, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64 // a busy provider has many calls on their way
	if ca == "" {
		return transport, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("reading --callback-ca: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("reading --callback-ca: there is no certificate in it")
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	return transport, nil
}
