package central

import (
	"sort"
	"time"

	"zonegate/sync/api"
)

const (
	warning       = "warning"
	errorSeverity = "error"
)

// find says what the gateway cannot do, once per subject.
func (c *Central) find(subject, severity, detail string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := api.Health{Severity: severity, Subject: subject, Detail: detail}
	if c.findings[subject] == h {
		return
	}
	c.findings[subject] = h
	c.log.Warn("hub: "+detail, "subject", subject)
}

// mended takes a finding back.
func (c *Central) mended(subject string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.findings, subject)
}

func (c *Central) listFindings() []api.Health {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]api.Health, 0, len(c.findings))
	for _, h := range c.findings {
		out = append(out, h)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Subject < out[j].Subject })
	return out
}

// A Status is how the relation with the hub is.
type Status struct {
	// Joined says that there is a hub. The rest is empty without one.
	Joined             bool
	URL, Gateway, Site string
	// Connected says that pushes arrive, and ConnectedFor since when. Polling
	// says that they are asked for, because no stream passes.
	Connected    bool
	ConnectedFor time.Duration
	Polling      bool
	// Revoked says that the hub has taken the gateway off, Denied that it does
	// not take its token, Unproven that the server has not proved to be the hub
	// that was joined. In each case nothing is delivered or taken.
	Revoked, Denied, Unproven bool
	// LastError is the latest of what goes wrong now, in words, and
	// LastErrorAgo when it did; empty when all is well.
	LastError    string
	LastErrorAgo time.Duration
	// Waiting is how long the hub is left alone after many failures.
	Waiting time.Duration
	// Unsent is how many entries the hub does not have, Oldest when the first
	// of them was made; zero when that is not known.
	Unsent uint64
	Oldest time.Time
	// Applied is the last push taken, Head the last that the hub has.
	Applied, Head uint64
	// Trial is the setting that is on trial.
	Trial    string
	Findings []api.Health
}

// Status returns how the relation is.
func (c *Central) Status() Status {
	hub, ok := c.o.Gate.Hub()
	last, unsent, oldest := c.o.Gate.OutboxStatus()
	s := Status{Findings: c.listFindings()}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cred.Trial != nil {
		s.Trial = c.cred.Trial.Name
	}
	if !ok {
		return s
	}
	s.Joined, s.URL, s.Gateway, s.Site = true, c.o.URL, hub.Gateway, hub.Site
	s.Applied, s.Revoked = hub.Applied, hub.Revoked
	s.Unsent, s.Oldest = unsent, oldest
	if c.line != nil {
		c.line.status(&s, last)
	}
	return s
}
