package central

import (
	"context"
	"net/http"

	"zonegate/sync/api"
)

// maxRefused bounds what is remembered of refusals.
const maxRefused = 1000

// ack has an answer sent.
func (l *line) ack(a api.Ack) {
	l.mu.Lock()
	if a.Outcome != api.Applied {
		if len(l.refused) >= maxRefused {
			clear(l.refused)
		}
		l.refused[a.Seq] = struct{}{}
	}
	l.acks = append(l.acks, a)
	l.mu.Unlock()
	if a.Outcome != api.Applied {
		l.c.log.Warn("a push was not taken", "push", a.Seq, "outcome", a.Outcome, "reason", a.Reason)
		l.keepAcks()
	}
	poke(l.ackNow)
}

// keepAcks writes the answers down that the hub could not guess.
func (l *line) keepAcks() {
	l.mu.Lock()
	var keep []api.Ack
	for _, a := range l.acks {
		if a.Outcome != api.Applied && len(keep) < api.MaxAcks {
			keep = append(keep, a)
		}
	}
	l.mu.Unlock()
	l.c.update(l.token, func(c *credential) { c.Acks = keep })
}

// runAcks sends answers as they come.
func (l *line) runAcks(ctx context.Context) error {
	r := retry{first: l.c.pace.retryFirst, most: l.c.pace.retryMost}
	for l.await(ctx) {
		if err := l.sendAcks(ctx); err != nil {
			l.failed(ctx, answers, err)
			sleep(ctx, r.wait(err))
			continue
		}
		r.reset()
		l.worked(answers)
		select {
		case <-l.ackNow:
		case <-ctx.Done():
		}
	}
	return nil
}

// sendAcks sends what is to be acknowledged.
func (l *line) sendAcks(ctx context.Context) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	for {
		l.mu.Lock()
		batch := append([]api.Ack(nil), l.acks[:min(len(l.acks), api.MaxAcks)]...)
		l.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		err := l.client.call(ctx, http.MethodPost, api.PathAcks, api.Acks{Instance: l.instance, Acks: batch}, nil)
		if err != nil && (isTransient(err) || isDenied(err)) {
			return err
		}
		if err != nil {
			// What the hub refuses for good is not sent for ever.
			l.c.log.Warn("the hub refuses acknowledgements", "error", err)
		}
		kept := false
		l.mu.Lock()
		for _, a := range batch {
			kept = kept || a.Outcome != api.Applied
		}
		l.acks = append([]api.Ack(nil), l.acks[len(batch):]...)
		l.mu.Unlock()
		if kept {
			l.keepAcks()
		}
	}
}
