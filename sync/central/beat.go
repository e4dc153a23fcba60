package central

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"zonegate/sync/api"
)

// runBeats sends heartbeats. They say how the gateway is, prove who the server
// is, and bring the time.
func (l *line) runBeats(ctx context.Context) error {
	r := retry{first: l.c.pace.retryFirst, most: l.c.pace.retryMost}
	for ctx.Err() == nil {
		var wait time.Duration
		err := l.beat(ctx)
		switch {
		case err == nil:
			r.reset()
			wait = l.c.pace.beat
			if l.c.onTrial() {
				wait = l.c.pace.trialBeat
			}
			wait = wait*9/10 + jitter(wait/5)
		case isDenied(err), l.revoked():
			if isRevoked(err) && !l.revoked() {
				// The hub's last word, which is signed, may not have come.
				if err := l.page(ctx); err != nil {
					l.c.log.Info("why the gateway was taken off is not known yet", "error", err)
				}
			}
			wait = l.c.pace.denied*9/10 + jitter(l.c.pace.denied/5)
		default:
			wait = r.wait(err)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-l.beatNow:
		case <-ctx.Done():
		}
		t.Stop()
	}
	return nil
}

// errImpostor is a server that does not hold the hub's key.
var errImpostor = errors.New("the server at the hub's address does not have the key of the hub that was joined: nothing is delivered to it and nothing taken from it")

// beat is one heartbeat.
func (l *line) beat(ctx context.Context) error {
	n, err := nonce()
	if err != nil {
		return err
	}
	o := l.c.o
	// In this order: no entry that was made before the push is above last.
	hub, _ := o.Gate.Hub()
	last, unsent, _ := o.Gate.OutboxStatus()
	health := o.Gate.Health()
	before := o.Clock.Now()
	l.mu.Lock()
	delivered, catalogue := l.delivered, l.catalogue
	l.mu.Unlock()
	if delivered > 0 && delivered <= last {
		unsent = min(unsent, last-delivered)
	}
	findings := l.c.listFindings()
	if o.Findings != nil {
		findings = append(findings, o.Findings()...)
	}
	const most = 20
	if len(findings) > most {
		findings = findings[:most]
	}
	var b api.Beat
	err = l.client.call(ctx, http.MethodPost, api.PathHeartbeat, api.Heartbeat{
		Instance: l.instance, Boot: l.c.boot, Version: o.Version, Nonce: n, Uptime: int64(before.Mono / time.Second),
		Applied: hub.Applied, Plans: catalogue, Entry: last, Unsent: unsent,
		Sessions: len(o.Gate.Sessions()), Vouchers: health.Unused, ClockTrusted: before.Trusted, Health: findings,
	}, &b)
	if err != nil {
		l.failed(ctx, heartbeats, err)
		return err
	}
	trip := o.Clock.Now().Mono - before.Mono
	signature, err := base64.StdEncoding.DecodeString(b.Signature)
	if err != nil || !ed25519.Verify(l.key, api.TimeMessage(n, b.Time), signature) {
		l.c.find("hub", errorSeverity, errImpostor.Error())
		l.prove(false)
		l.failed(ctx, heartbeats, errImpostor)
		return errImpostor
	}
	l.worked(heartbeats)
	l.learnTime(b.Time, trip)
	l.compare(b, hub.Applied, last, delivered)
	l.c.mu.Lock()
	l.c.heard = time.Now()
	l.c.mu.Unlock()
	if l.revoked() {
		// Its answer counts, but there is nothing to do with this hub any more.
		l.deny(takenOff)
		return nil
	}
	l.c.mended("hub")
	l.prove(true)
	return nil
}

// learnTime gives a signed time to the clock. Half of the round trip is how
// old it is, at most the whole.
func (l *line) learnTime(signed time.Time, trip time.Duration) {
	c := l.c.o.Clock
	now := c.Now()
	switch {
	case now.Trusted:
		off := signed.Sub(now.Wall)
		if off.Abs() > 2*time.Minute+trip {
			l.c.find("clock", warning, fmt.Sprintf("this gateway's clock is %v from the hub's; certificates and expiry dates suffer when it is wrong", off.Round(time.Second)))
		} else {
			l.c.mended("clock")
		}
	case trip <= l.c.pace.slow:
		c.Trust(signed.Add(trip / 2))
	default:
		l.c.log.Info("the hub's answer was too slow to tell the time", "seconds", int(trip/time.Second))
	}
	if l.client.verify.signed(signed) {
		// What was accepted without a clock is looked at again with one.
		l.client.close()
		l.mu.Lock()
		if l.hangUp != nil {
			l.hangUp()
		}
		l.mu.Unlock()
	}
	l.c.mu.Lock()
	due := signed.Sub(l.c.cred.Seen) > 7*24*time.Hour
	l.c.mu.Unlock()
	if due {
		l.c.update(l.token, func(c *credential) { c.Seen = signed.UTC().Round(0) })
	}
}

// compare looks at what the hub has against what the gateway has: less than it
// had means that it was restored from an old backup.
func (l *line) compare(b api.Beat, applied, last, delivered uint64) {
	l.mu.Lock()
	l.head = b.Head
	l.learnChannels(b.Channels, l.c.o.Clock.Now().Mono)
	// Entries that the hub has forgotten are sent again, as far as they are
	// still here.
	again := b.Entry < delivered && l.delivered == delivered
	if again {
		l.delivered = b.Entry
	}
	l.mu.Unlock()
	switch {
	case b.Head < applied:
		l.c.find("hub restored", warning, fmt.Sprintf("the hub has %d pushes and this gateway took number %d: the hub was restored from an old backup. It goes on above that; plans and vouchers that it forgot must be set again there", b.Head, applied))
	case b.Entry > last:
		l.c.find("identity", errorSeverity, fmt.Sprintf("the hub has entry %d and this gateway made %d: it was restored from an old backup, or another machine has its identity. Join the hub again with a new code", b.Entry, last))
	default:
		l.c.mended("hub restored")
		l.c.mended("identity")
	}
}
