package mikrotik_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/shaper/mikrotik"
	"zonegate/shaper/mikrotik/simros"
)

// TestRefusals has everything that a reseller can get wrong end in an error
// that says what to do.
func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		options simros.Options
		change  func(*mikrotik.Config)
		want    error
		fix     string
	}{
		"password": {change: func(c *mikrotik.Config) { c.Password = "wrong" }, want: mikrotik.ErrCredentials, fix: "/user"},
		"user":     {change: func(c *mikrotik.Config) { c.User = "nobody" }, want: mikrotik.ErrCredentials, fix: "/user"},
		"certificate": {change: func(c *mikrotik.Config) { c.Fingerprint = strings.Repeat("0a:", 31) + "0a" },
			want: mikrotik.ErrCertificate, fix: "put that into the configuration"},
		"version":   {options: simros.Options{Version: "6.48.7"}, want: mikrotik.ErrVersion, fix: "/system/package/update/install"},
		"old login": {options: simros.Options{Version: "6.42.12"}, want: mikrotik.ErrVersion, fix: "upgrade"},
	} {
		t.Run(name, func(t *testing.T) {
			z := newZone(t, test.options)
			c := z.config()
			if test.change != nil {
				test.change(&c)
			}
			r := z.open(c)
			_, err := r.Usage(t.Context())
			if !errors.Is(err, test.want) || !errors.Is(err, mikrotik.ErrUnreachable) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if !strings.Contains(err.Error(), test.fix) {
				t.Errorf("%q does not name the fix", err)
			}
			if strings.Contains(err.Error(), password) || strings.Contains(err.Error(), "wrong") && name == "password" {
				t.Errorf("%q tells the password", err)
			}
			// At once, until it is time to try again.
			z.sim.ForgetCommands()
			if err := r.Change(t.Context(), nil, nil); !errors.Is(err, mikrotik.ErrUnreachable) {
				t.Errorf("changing: %v", err)
			}
			found := r.Check(t.Context())
			if len(found) != 1 || !found[0].Serious || found[0].Fix == "" {
				t.Errorf("found %+v", found)
			}
		})
	}
}

// TestPlain is for a cable or a container of the router.
func TestPlain(t *testing.T) {
	z := newZone(t, simros.Options{Version: "6.49.18"})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- z.sim.Serve(ctx, l) }()
	defer func() { cancel(); <-done }()
	c := z.config()
	c.Address, c.Plain, c.Fingerprint = l.Addr().String(), true, ""
	r := z.open(c)
	info, err := r.Info(t.Context())
	if err != nil || !strings.HasPrefix(info.Version, "6.49.18") || info.Board == "" {
		t.Errorf("info %+v, %v", info, err)
	}
	// The port without TLS, asked for TLS.
	c = z.config()
	c.Address = l.Addr().String()
	if _, err := z.open(c).Info(t.Context()); !errors.Is(err, mikrotik.ErrUnreachable) || !strings.Contains(err.Error(), "api-ssl") {
		t.Errorf("TLS where there is none: %v", err)
	}
}

// TestNoCertificate has a router whose api-ssl was given none.
func TestNoCertificate(t *testing.T) {
	z := newZone(t, simros.Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	none := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }}
	go func() { done <- z.sim.Serve(ctx, tls.NewListener(l, none)) }()
	defer func() { cancel(); <-done }()
	c := z.config()
	c.Address = l.Addr().String()
	if _, err := z.open(c).Info(t.Context()); !errors.Is(err, mikrotik.ErrNoCertificate) || !strings.Contains(err.Error(), "/ip/service/set api-ssl") {
		t.Errorf("without a certificate: %v", err)
	}
}

func TestValidate(t *testing.T) {
	if _, err := mikrotik.New(mikrotik.Config{}); err == nil {
		t.Error("an empty configuration is taken")
	}
	for _, f := range []string{"", "12", strings.Repeat("zz", 32)} {
		c := mikrotik.Config{Address: "a", User: "u", Fingerprint: f}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "/certificate/print") {
			t.Errorf("fingerprint %q: %v", f, err)
		}
	}
}

// TestStalled has the router go silent in the middle of a command: the next
// one goes over another connection.
func TestStalled(t *testing.T) {
	z := newZone(t, simros.Options{})
	c := z.config()
	c.Timeout = 500 * time.Millisecond
	r := z.open(c)
	apply(t, r, order(1, 0))
	z.sim.Stall("/ip/hotspot/user/add", true)
	if err := r.Change(t.Context(), []zonegate.Order{order(2, 1)}, nil); !errors.Is(err, mikrotik.ErrUnreachable) {
		t.Fatalf("a silent router: %v", err)
	}
	z.sim.Stall("/ip/hotspot/user/add", false)
	apply(t, r, order(1, 0), order(2, 1))
	if !z.Passes(0) || !z.Passes(1) {
		t.Error("somebody does not pass")
	}
	// A context that ends closes the connection, and no other suffers.
	z.sim.Stall("/ip/hotspot/active/print", true)
	for _, end := range []func(context.Context) (context.Context, context.CancelFunc){
		func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 50*time.Millisecond)
		},
		func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(50*time.Millisecond, cancel)
			return ctx, cancel
		},
	} {
		ctx, cancel := end(t.Context())
		if _, err := r.Usage(ctx); !errors.Is(err, mikrotik.ErrUnreachable) {
			t.Errorf("an interrupted command: %v", err)
		}
		cancel()
	}
	z.sim.Stall("/ip/hotspot/active/print", false)
	if got := usage(t, r); len(got) != 2 {
		t.Errorf("usage %+v", got)
	}
}

// TestImpatient waits for the connection no longer than it wants: the portal
// asks where a customer is while another command hangs.
func TestImpatient(t *testing.T) {
	z := newZone(t, simros.Options{})
	c := z.config()
	c.Timeout = time.Minute
	r := z.open(c)
	apply(t, r, order(1, 0))
	z.sim.Stall("/ip/hotspot/active/print", true)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	z.commands()
	go func() {
		_, err := r.Usage(ctx)
		done <- err
	}()
	await(t, "the command that hangs", func() bool { return z.sim.Commands()["/ip/hotspot/active/print"] > 0 })
	brief, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if _, err := r.Locate(brief, addr(2)); !errors.Is(err, mikrotik.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("locating beside a command that hangs: %v", err)
	}
	select {
	case err := <-done:
		t.Errorf("it waited until the command had ended: %v", err)
	default:
	}
	cancel()
	if err := <-done; !errors.Is(err, mikrotik.ErrUnreachable) {
		t.Errorf("the cancelled command: %v", err)
	}
}

// TestDeadConnection asks again when the connection has died unnoticed.
func TestDeadConnection(t *testing.T) {
	z := newZone(t, simros.Options{})
	r := z.open(z.config())
	apply(t, r, order(1, 0))
	for range 3 {
		z.sim.Disconnect()
		if got := usage(t, r); len(got) != 1 {
			t.Errorf("usage %+v", got)
		}
	}
	z.sim.Disconnect()
	await(t, "another customer", func() bool { return r.Change(t.Context(), []zonegate.Order{order(2, 1)}, nil) == nil })
	if !z.Passes(1) {
		t.Error("the other customer does not pass")
	}
}
