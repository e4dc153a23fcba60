package main

import (
	"context"
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
	f.StringVar(&o.UserToken, "user-token", o.UserToken, "`token` of users")
	f.StringVar(&o.AdminToken, "admin-token", o.AdminToken, "`token` of admins")
	f.StringVar(&o.WebhookSecret, "webhook-secret", o.WebhookSecret, "`secret` that the payment provider sends")
	f.IntVar(&o.PageSize, "page-size", o.PageSize, "forfaits of a page")
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		if (*cert == "") != (*key == "") {
			return usagef("--tls-cert and --tls-key belong together")
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
		server := &http.Server{Handler: sandbox.New(o), ReadHeaderTimeout: 10 * time.Second,
			ErrorLog: slog.NewLogLogger(slog.NewTextHandler(e.stderr, nil), slog.LevelInfo)}
		scheme := "https"
		if *cert == "" {
			scheme = "http"
		}
		at := scheme + "://" + l.Addr().String()
		fmt.Fprintf(e.stdout, "A plain RGZ server plays at %s%s. It forgets everything when it ends, and knows no secrets.\n"+
			"Its catalogue and its faults are changed at %s/_control/:\n\n%s\n", at, sandbox.Base, at, sandbox.Help)
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
		return runTasks(ctx, task{"the signal watcher", watch}, task{"the server", serve})
	}
}
