package central

import (
	"context"
	"fmt"
	"time"

	"zonegate/sync/api"
)

// A trial is a setting that may cut the gateway off, with what it replaced. It
// stands in hub.json before the setting stands in the journal, so that a
// restart in the middle finds it; then the trial begins anew.
type trial struct {
	Seq   uint64 `json:"seq"`
	Name  string `json:"name"`
	Value string `json:"value"`
	Old   string `json:"old"`
}

func (c *Central) trial() *trial {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cred.Trial == nil {
		return nil
	}
	t := *c.cred.Trial
	return &t
}

func (c *Central) onTrial() bool { return c.trial() != nil }

func (c *Central) isOnTrial(seq uint64) bool {
	t := c.trial()
	return t != nil && t.Seq == seq
}

// trialOver waits until no setting is on trial.
func (c *Central) trialOver(ctx context.Context) error {
	for c.onTrial() {
		if !sleep(ctx, c.pace.check) {
			return ctx.Err()
		}
	}
	return nil
}

// resumeTrial goes on with a trial that a restart has cut, from its beginning.
// After a cut between hub.json and the journal the setting was never taken,
// and the hub pushes it again.
func (c *Central) resumeTrial() {
	t := c.trial()
	if t == nil {
		return
	}
	hub, ok := c.o.Gate.Hub()
	if value, _ := c.o.Gate.Setting(t.Name); ok && hub.Applied >= t.Seq && value == t.Value {
		poke(c.trials)
		return
	}
	c.mu.Lock()
	c.cred.Trial = nil
	c.mu.Unlock()
}

// runTrials watches over settings that can cut the gateway off: after such a
// one the hub must answer and the gateway be healthy for two minutes, or what
// was there before comes back. It goes on while the hub is away; that is what
// it is for.
func (c *Central) runTrials(ctx context.Context) error {
	for {
		select {
		case <-c.trials:
			if t := c.trial(); t != nil {
				c.runTrial(ctx, t)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *Central) runTrial(ctx context.Context, t *trial) {
	c.log.Info("a setting of the hub's is on trial", "setting", t.Name, "push", t.Seq)
	began := time.Now()
	end := began.Add(c.pace.trial)
	sick := 0
	for time.Now().Before(end) {
		if !sleep(ctx, min(c.pace.check, time.Until(end))) {
			return
		}
		if c.trial() == nil {
			return // the gateway left the hub
		}
		var err error
		if c.o.Healthy != nil {
			err = c.o.Healthy()
		}
		if err == nil {
			sick = 0
		} else if sick++; sick == 2 {
			// Once may be the change itself.
			c.endTrial(ctx, t, fmt.Sprintf("the gateway is not well with it: %v", err))
			return
		}
	}
	c.mu.Lock()
	heard := c.heard
	c.mu.Unlock()
	// The latest of the heartbeats, which come quickly now, may be under way.
	if heard.Before(began) || heard.Before(end.Add(-3*c.pace.trialBeat)) {
		c.endTrial(ctx, t, "the gateway lost the hub with it")
		return
	}
	c.endTrial(ctx, t, "")
}

// endTrial keeps the setting, or with a reason takes it back.
func (c *Central) endTrial(ctx context.Context, t *trial, reason string) {
	a := api.Ack{Seq: t.Seq, Outcome: api.Applied}
	if reason != "" {
		a.Outcome, a.Reason = api.RolledBack, refusal(0, reason).Reason
		for c.rollBack(ctx, t.Name, t.Old) != nil {
			if !sleep(ctx, c.pace.check) {
				return // the next start begins the trial anew
			}
		}
		c.log.Warn("a setting of the hub's was taken back", "setting", t.Name, "push", t.Seq, "reason", reason)
	}
	c.mu.Lock()
	l := c.line
	if c.cred.Trial != nil && c.cred.Trial.Seq == t.Seq {
		c.cred.Trial = nil
		if l == nil || reason != "" {
			// Until the hub knows, or the line is there that tells it.
			c.cred.Acks = append(c.cred.Acks, a)
		}
		if err := c.cred.write(c.o.Dir); err != nil {
			c.log.Error("hub.json is behind", "error", err)
		}
	}
	c.mu.Unlock()
	if l != nil {
		l.ack(a)
	}
}

// rollBack puts the former value of a setting back, in the journal and in
// effect. An error says that the journal does not have it.
func (c *Central) rollBack(ctx context.Context, name, old string) error {
	if err := c.o.Gate.SetSetting(ctx, name, old); err != nil {
		return fmt.Errorf("taking a setting back: %w", err)
	}
	if err := c.o.Settings.Set(name, old); err != nil {
		c.log.Error("the former value of a setting has no effect", "setting", name, "error", err)
		c.find(name, errorSeverity, fmt.Sprintf("the former value of a setting has no effect: %v", err))
	}
	return nil
}
