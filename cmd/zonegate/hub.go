package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"zonegate"
	"zonegate/internal/config"
	"zonegate/internal/control"
	"zonegate/sync/api"
	"zonegate/sync/central"
)

// A hubService is the relation with the operator's central server, for the
// daemon and for commands without one.
type hubService struct {
	config *config.Config
	gate   *zonegate.Gate
	// central is there without a hub too, so that a zone can leave one that the
	// configuration does not name any more. It is only run with one.
	central *central.Central
	rgz     *central.RGZ // nil but with an RGZ server
	pay     *central.Pay // nil where nobody collects mobile payments
	log     *slog.Logger

	mu sync.Mutex
	// clash is why plans of the configuration are not on sale.
	clash string
}

var _ control.HubDesk = (*hubService)(nil)

func newHubService(cfg *config.Config, gate *zonegate.Gate, c central.Clock, settings central.Settings, log *slog.Logger) (*hubService, error) {
	s := &hubService{config: cfg, gate: gate, log: log}
	at := central.Endpoint{URL: cfg.Hub.URL, CA: cfg.Hub.CAFile}
	var err error
	s.central, err = central.New(central.Options{
		Dir: cfg.DataDir, Endpoint: at, Zone: cfg.Zone.ID, Name: cfg.Zone.Name, Version: version,
		Gate: gate, Clock: c, Settings: settings, Healthy: s.healthy, Findings: s.findings, Logger: log,
	})
	if cfg.Hub.Mode == config.HubRGZ {
		s.rgz = &central.RGZ{
			Endpoint: at, Gate: gate, Clock: c, Megabyte: cfg.Limits.Megabyte, Every: cfg.Hub.Poll, Logger: log,
		}
	}
	switch {
	case err != nil:
	case cfg.Hub.Mode == config.HubJoined:
		s.pay = central.NewPay(gate, s.central, c, log)
	case cfg.Hub.Mode == config.HubRGZ && cfg.Hub.TokenFile != "":
		s.pay = central.NewPayRGZ(gate, s.rgz, central.PayRGZ{
			TokenFile: cfg.Hub.TokenFile, Providers: cfg.Hub.Providers, Hosts: cfg.Hub.PayHosts,
		}, c, log)
	}
	return s, err
}

// tasks talk to the server; none without one.
func (s *hubService) tasks() []task {
	var list []task
	switch s.config.Hub.Mode {
	case config.HubJoined:
		list = append(list, task{"the hub", s.central.Run})
	case config.HubRGZ:
		list = append(list, task{"the catalogue", s.rgz.Run})
	}
	if s.pay != nil {
		list = append(list, task{"payments", s.pay.Run})
	}
	return list
}

// ownPlans says whether the configuration has a say in what is sold: beside an
// RGZ catalogue there is nothing else.
func (s *hubService) ownPlans() bool { return s.rgz == nil }

// sell puts the plans of the configuration on sale. One that has the id of a
// plan of the hub's keeps all of them as they were, which is said and is no
// error.
func (s *hubService) sell(ctx context.Context, list []config.Plan) error {
	if !s.ownPlans() {
		return nil
	}
	err := s.gate.SetPlans(ctx, plans(list), false)
	clash := ""
	if errors.Is(err, zonegate.ErrPlanTaken) {
		clash, err = "the plans of the configuration are not taken over: "+err.Error(), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		if clash != "" && clash != s.clash {
			s.log.Error("plans of configuration and hub clash", "error", clash)
		}
		s.clash = clash
	}
	return err
}

// clashes says whether plans of the configuration wait for an id to be free.
func (s *hubService) clashes() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clash != ""
}

// healthy says what keeps the gateway from its work.
func (s *hubService) healthy() error {
	h := s.gate.Health()
	return errors.Join(h.Journal, h.DataPath)
}

// findings are reported to the hub.
func (s *hubService) findings() []api.Health {
	h := s.gate.Health()
	var list []api.Health
	for _, f := range []struct {
		subject string
		err     error
	}{{"journal", h.Journal}, {"data path", h.DataPath}} {
		if f.err != nil {
			list = append(list, api.Health{Severity: "error", Subject: f.subject, Detail: f.err.Error()})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clash != "" {
		list = append(list, api.Health{Severity: "warning", Subject: "plans", Detail: s.clash})
	}
	return list
}

// Hub says how the relation is.
func (s *hubService) Hub() *control.Hub {
	out := &control.Hub{
		Mode: s.config.Hub.Mode, URL: s.config.Hub.URL, ClockTrusted: s.gate.Health().ClockTrusted, Findings: []control.Finding{},
	}
	add := func(severity, subject, detail, fix string) {
		out.Findings = append(out.Findings, control.Finding{Severity: severity, Subject: subject, Detail: detail, Fix: fix})
	}
	if s.rgz != nil {
		r := s.rgz.Status()
		out.Problem = r.LastError
		if r.Read {
			ago := seconds(r.ReadAgo)
			out.ReadSeconds = &ago
		}
		for _, x := range r.Refused {
			add("warning", "catalogue", x, "have it corrected at the server; what was sold under its id before is still sold")
		}
	}
	c := s.central.Status()
	out.Joined, out.Gateway, out.Site = c.Joined, c.Gateway, c.Site
	out.Connected, out.ConnectedSeconds, out.Polling = c.Connected, seconds(c.ConnectedFor), c.Polling
	out.Revoked, out.Denied = c.Revoked, c.Denied
	if s.rgz == nil {
		out.Problem, out.ProblemSeconds = c.LastError, seconds(c.LastErrorAgo)
	}
	out.Unsent, out.Applied, out.Head, out.Trial = c.Unsent, c.Applied, c.Head, c.Trial
	if !c.Oldest.IsZero() {
		out.Oldest = &c.Oldest
	}
	switch {
	case c.Joined && s.config.Hub.Mode != config.HubJoined:
		hub, _ := s.gate.Hub()
		add("error", "hub", fmt.Sprintf("the zone is joined to %s, and [hub] does not name it: nothing is told there and nothing taken from there", hub.Hub),
			`write mode = "hub" and url under [hub] again, or: zonegate hub leave`)
	case c.Joined:
		hub, _ := s.gate.Hub()
		if hub.Hub != s.config.Hub.URL {
			add("warning", "hub", fmt.Sprintf("the zone joined %s, and hub.url is %s", hub.Hub, s.config.Hub.URL),
				"nothing needs to be done if the hub has moved; otherwise write the former address")
		}
		for _, f := range c.Findings {
			add(f.Severity, f.Subject, f.Detail, "")
		}
	case s.config.Hub.Mode == config.HubJoined:
		for _, f := range c.Findings {
			add(f.Severity, f.Subject, f.Detail, "")
		}
		add("warning", "hub", "the zone has not joined the hub", "get a code there, then: zonegate hub join CODE")
	case s.config.Hub.Mode == "":
		return nil
	}
	s.payments(add)
	s.mu.Lock()
	if s.clash != "" {
		add("error", "plans", s.clash, "")
	}
	s.mu.Unlock()
	out.OK = out.Problem == "" && len(out.Findings) == 0
	return out
}

// payments says what somebody has to look at.
func (s *hubService) payments(add func(severity, subject, detail, fix string)) {
	if s.pay == nil {
		return
	}
	if err := s.pay.Problem(); err != nil {
		add("error", "payments", err.Error(), "put the zone's token into that file; it is read again by itself")
	}
	const most = 5
	for i, in := range s.gate.ReviewIntents() {
		if i == most {
			break
		}
		add("warning", "payments", fmt.Sprintf("transaction %s brought money and nothing was bought with it: %s", in.Transaction, in.Reason),
			"look it up at the server; give the customer the money back, or a voucher for it")
	}
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// JoinHub makes the zone one of the hub's.
func (s *hubService) JoinHub(ctx context.Context, in control.JoinHub) (control.Hub, error) {
	url := s.config.Hub.URL
	switch given := strings.TrimRight(in.URL, "/"); {
	case s.config.Hub.Mode != config.HubJoined:
		if given == "" {
			given = "https://hub.example.org/api/v1"
		}
		return control.Hub{}, fmt.Errorf("the configuration names no hub. Write this into it, restart the daemon and give the command again; the code stays good until then:\n[hub]\nmode = \"hub\"\nurl = %q", given)
	case given != "" && given != url:
		return control.Hub{}, fmt.Errorf("hub.url in the configuration is %s; write %s there and restart the daemon if that is the hub. The code stays good until then", url, given)
	case in.Code == "":
		return control.Hub{}, errors.New("joining needs the one-time code that the hub has shown")
	}
	if err := s.central.Join(ctx, in.Code); err != nil {
		return control.Hub{}, err
	}
	return *s.Hub(), nil
}

// LeaveHub ends the relation.
func (s *hubService) LeaveHub(ctx context.Context, in control.LeaveHub) (control.Hub, error) {
	c := s.central.Status()
	switch {
	case !c.Joined:
		return control.Hub{}, &control.Error{Code: control.CodeNotFound, Message: zonegate.ErrNoHub.Error()}
	case c.Unsent > 0 && !in.Force:
		return control.Hub{}, fmt.Errorf("the hub has not been told %d entries, sales among them, and leaving drops them; wait until it was, or add --force", c.Unsent)
	}
	if err := s.central.Leave(ctx); err != nil {
		return control.Hub{}, err
	}
	if h := s.Hub(); h != nil {
		return *h, nil
	}
	return control.Hub{Findings: []control.Finding{}}, nil
}

// noSettings is the overlay of a command without a daemon: the next one to
// start has it.
type noSettings struct{}

// Set does nothing.
func (noSettings) Set(string, string) error { return nil }
