package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"zonegate/internal/clock"
	"zonegate/internal/control"
	"zonegate/internal/disk"
	"zonegate/internal/doctor"
	"zonegate/internal/journal"
	"zonegate/sync/central"
)

func defineDoctor(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		cfg, err := e.load()
		g := &doctor.Gateway{ConfigName: e.config, ConfigError: err, Link: doctor.SystemLink}
		if err == nil {
			c, err := clock.New()
			if err != nil {
				return err
			}
			g.ClockTrusted = func() bool { return c.Now().Trusted }
			g.Settings = doctor.Settings{
				DataDir: cfg.DataDir, LAN: cfg.Network.LAN, WAN: cfg.Network.WAN,
				PortalPort: cfg.Portal.Port, DNSPort: cfg.DNS.Port,
				MikroTik: cfg.MikroTik.Address, Drives: cfg.MikroTik.Drives,
			}
			_, err = os.Lstat(filepath.Join(cfg.DataDir, central.FileName))
			g.Settings.Hub = cfg.Hub.Mode != "" || err == nil
			if addrs := nasAddresses(cfg); cfg.MikroTik.Drives && len(addrs) > 0 {
				// The unspecified one is this machine too.
				g.Settings.Portal = addrs[0]
			}
			g.Storage, g.Daemon, g.Kernel = storage{cfg.DataDir}, daemonView{cfg.ControlSocket}, dataPath{cfg}
			g.NASes, g.Router, g.Hub = nasView{cfg.ControlSocket}, routerView{cfg}, hubView{cfg.ControlSocket}
		}
		r := doctor.Examine(ctx, g.Checks())
		if e.json {
			err = e.print(r)
		} else {
			err = r.Write(e.stdout)
		}
		if err == nil && !r.OK {
			return errSaid
		}
		return err
	}
}

// storage is the data directory as the doctor asks for it.
type storage struct{ dir string }

func (s storage) Probe() (doctor.Room, error) {
	f, err := disk.Probe(s.dir)
	return doctor.Room{
		Kind: f.Kind, Free: f.Free, Writable: !f.ReadOnly && !f.Full, Durable: f.Syncs || f.ReadOnly || f.Full,
		Mappable: f.Maps, Volatile: f.Volatile, Notes: f.Notes,
	}, err
}

func (s storage) Journal() (uint64, error) {
	r, err := journal.Verify(disk.OS{}, s.dir)
	if err != nil {
		return 0, err
	}
	var damage []error
	for _, d := range r.Damage {
		damage = append(damage, d)
	}
	return r.Records, errors.Join(damage...)
}

// daemonView is the running daemon as the doctor asks for it.
type daemonView struct{ socket string }

func (d daemonView) Health(ctx context.Context) (doctor.Health, error) {
	c, err := control.Dial(ctx, d.socket)
	if errors.Is(err, control.ErrNoDaemon) {
		return doctor.Health{}, doctor.ErrNoDaemon
	}
	if err != nil {
		return doctor.Health{}, err
	}
	s, err := c.Status(ctx)
	return doctor.Health{
		Version: s.Version, JournalProblem: s.Journal, DataPathProblem: s.DataPath,
		ClockTrusted: s.ClockTrusted, Sessions: s.Sessions,
	}, err
}

// nasView is the running daemon's NASes as the doctor asks for them.
type nasView struct{ socket string }

// testsAtOnce bounds how many NASes are examined together: most of the time
// is spent waiting for one that is silent.
const testsAtOnce = 64

func (v nasView) NASes(ctx context.Context) ([]doctor.Part, error) {
	c, err := control.Dial(ctx, v.socket)
	if err != nil {
		return nil, err
	}
	list, err := c.NASes(ctx)
	if err == nil && list.Problem != "" {
		err = errors.New(list.Problem)
	}
	if err != nil {
		return nil, err
	}
	reports := make([]control.NASReport, len(list.NASes))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(testsAtOnce)
	for i, n := range list.NASes {
		g.Go(func() (err error) {
			reports[i], err = c.TestNAS(ctx, n.Name)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var parts []doctor.Part
	for i, r := range reports {
		for _, f := range r.Findings {
			p := doctor.Part{Subject: list.NASes[i].Name + ": " + f.Subject}
			p.Status, p.Detail, p.Fix = statuses[f.Severity], f.Detail, f.Fix
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// hubView is the running daemon's central server as the doctor asks for it.
type hubView struct{ socket string }

func (v hubView) Hub(ctx context.Context) (string, []doctor.Part, error) {
	c, err := control.Dial(ctx, v.socket)
	if err != nil {
		return "", nil, err
	}
	h, err := c.Hub(ctx)
	var none *control.Error
	if errors.As(err, &none) && none.Code == control.CodeNotFound {
		return "there is none", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	findings := h.Findings
	if h.Problem != "" {
		findings = append(findings, control.Finding{
			Severity: "warning", Subject: "connection", Detail: h.Problem,
			Fix: "check the uplink and hub.url; it is tried again, and sales go on",
		})
	}
	var parts []doctor.Part
	for _, f := range findings {
		p := doctor.Part{Subject: f.Subject}
		p.Status, p.Detail, p.Fix = statuses[f.Severity], f.Detail, f.Fix
		parts = append(parts, p)
	}
	return hubLine(h), parts, nil
}

var statuses = map[string]doctor.Status{"info": doctor.OK, "warning": doctor.Warning, "error": doctor.Failed}
