package central

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"zonegate"
	"zonegate/internal/http1"
	"zonegate/sync/api"
)

var (
	errSilent   = errors.New("nothing came over the event stream for too long")
	errEaten    = errors.New("the event stream opened and nothing ever came: something on the way holds it back")
	errNoStream = errors.New("the answer is no event stream")
	errHungUp   = errors.New("the event stream was hung up")
	errOver     = errors.New("the hub ended the event stream")
)

// eatenAfter is how many streams in a row must bring nothing before pushes are
// asked for instead.
const eatenAfter = 2

// runStream takes pushes as they come: over a stream, or page by page where
// streams do not pass.
func (l *line) runStream(ctx context.Context) error {
	r := retry{first: l.c.pace.retryFirst, most: l.c.pace.retryMost}
	eaten := 0
	for l.await(ctx) {
		began := time.Now()
		err := l.follow(ctx)
		l.mu.Lock()
		l.connected, l.hangUp = time.Time{}, nil
		l.mu.Unlock()
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case errors.Is(err, errEaten), errors.Is(err, errNoStream):
			eaten++
			// One page at once: what waits behind the proxy has waited long.
			if perr := l.page(ctx); perr != nil {
				l.failed(ctx, pushes, perr)
			} else if eaten >= eatenAfter {
				l.pollFor(ctx)
				eaten = 0
				r.reset()
				continue
			}
		case errors.Is(err, errHungUp):
			r.reset()
			continue
		default:
			eaten = 0
		}
		if time.Since(began) >= l.c.pace.settled {
			// A stream that lasted was a good one. One that is ended again and
			// again at once, as by a second gateway with the same identity, is
			// opened ever more seldom.
			r.reset()
		}
		l.failed(ctx, pushes, err)
		sleep(ctx, r.wait(err))
	}
	return nil
}

// after is the number after which pushes are wanted.
func (l *line) after() http.Header {
	hub, _ := l.c.o.Gate.Hub()
	return http.Header{"Last-Event-Id": {strconv.FormatUint(hub.Applied, 10)}}
}

// follow opens a stream and takes what comes until it ends.
func (l *line) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	header := l.after()
	header.Set("Accept", "text/event-stream")
	a, err := l.client.send(ctx, http.MethodGet, api.PathEvents, header, nil)
	if err != nil {
		if errors.Is(err, http1.ErrNoHeader) {
			// Heartbeats pass: a proxy waits for the end of the answer.
			return errEaten
		}
		return err
	}
	defer a.Body.Close()
	l.client.breaker.passed()
	if kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";"); strings.TrimSpace(kind) != "text/event-stream" {
		return fmt.Errorf("%w: it is %.60q", errNoStream, kind)
	}
	// What ends a stream ends the reading of it: the watchdog, or a hang-up.
	watchdog := time.AfterFunc(l.c.pace.firstSign, func() { cancel(errEaten) })
	defer watchdog.Stop()
	alive := false
	body := pulse{a.Body, func() {
		watchdog.Reset(l.c.pace.silence)
		if !alive {
			alive = true
			l.mu.Lock()
			l.connected, l.polling = time.Now(), false
			l.hangUp = func() { cancel(errHungUp) }
			if !l.proven {
				l.hangUp() // it was turned while we opened
			}
			l.mu.Unlock()
			l.worked(pushes)
		}
	}}
	events := newEventReader(body)
	for {
		e, err := events.next()
		if err != nil {
			switch cause := context.Cause(ctx); {
			case cause != nil && errors.Is(cause, errEaten) && alive:
				return errSilent
			case cause != nil:
				return cause
			}
			return fmt.Errorf("%w: %w", errOver, err)
		}
		// What a push does may take longer than the hub may be silent.
		watchdog.Stop()
		if err := l.takeEvent(ctx, e); err != nil {
			return err
		}
		watchdog.Reset(l.c.pace.silence)
	}
}

func (l *line) takeEvent(ctx context.Context, e event) error {
	if e.tooLong {
		l.strange("a push was too long to be read")
		return nil
	}
	if e.name != "" && e.name != "message" && e.name != "push" {
		return nil // of a later hub
	}
	var s api.Signed
	if err := json.Unmarshal(e.data, &s); err != nil {
		l.strange("a push could not be read")
		return nil
	}
	return l.take(ctx, s)
}

// page asks for the pushes that wait, until there are no more.
func (l *line) page(ctx context.Context) error {
	for {
		header := l.after()
		before := header.Get("Last-Event-Id")
		header.Set("Accept", "application/json")
		var p api.Pushes
		if _, err := l.client.callWith(ctx, http.MethodGet, api.PathEvents, header, nil, &p); err != nil {
			return err
		}
		for _, s := range p.Items {
			if err := l.take(ctx, s); err != nil {
				return err
			}
		}
		if len(p.Items) == 0 || l.after().Get("Last-Event-Id") == before {
			return nil
		}
	}
}

// pollFor asks for pages for as long as streams are not tried again.
func (l *line) pollFor(ctx context.Context) {
	l.c.find("stream", warning, "something between this gateway and the hub holds event streams back: pushes are asked for once a minute")
	defer l.c.mended("stream")
	r := retry{first: l.c.pace.retryFirst, most: l.c.pace.retryMost}
	until := time.Now().Add(l.c.pace.streamAgain)
	l.mu.Lock()
	l.polling, l.connected = true, time.Now()
	l.mu.Unlock()
	for time.Now().Before(until) && l.await(ctx) {
		wait := l.c.pace.poll*9/10 + jitter(l.c.pace.poll/5)
		if err := l.page(ctx); err != nil {
			l.failed(ctx, pushes, err)
			l.mu.Lock()
			l.connected = time.Time{}
			l.mu.Unlock()
			wait = r.wait(err)
		} else {
			r.reset()
			l.worked(pushes)
			l.mu.Lock()
			if l.connected.IsZero() {
				l.connected = time.Now()
			}
			l.mu.Unlock()
		}
		sleep(ctx, wait)
	}
	l.mu.Lock()
	l.polling = false
	l.mu.Unlock()
}

// strange notes something that the hub cannot have sent.
func (l *line) strange(what string) {
	l.c.find("push", warning, what+"; it was not taken")
}

// take does what a push says, once, and has it acknowledged when that is
// durable. An error says that it could not be done now, and is wanted again;
// later pushes wait, because they build on it.
func (l *line) take(ctx context.Context, s api.Signed) error {
	p, err := s.Open(l.key, l.site)
	if err != nil || p.Seq == 0 {
		// Nothing in it can be believed, its number neither.
		l.strange("a push was not signed by the hub for this site")
		return nil
	}
	l.mu.Lock()
	_, refused := l.refused[p.Seq]
	l.mu.Unlock()
	if refused || l.c.isOnTrial(p.Seq) {
		return nil // it has its answer, or will
	}
	c, err := change(p)
	if err != nil {
		l.ack(refusal(p.Seq, err.Error()))
		// A setting without a name is refused too, and counts as taken: the
		// next stream begins after it.
		if err := l.c.o.Gate.TakePush(ctx, p.Seq, zonegate.SettingPushed{}); again(err) {
			return fmt.Errorf("noting push %d: %w", p.Seq, err)
		}
		return nil
	}
	if s, ok := c.(zonegate.SettingPushed); ok {
		return l.takeSetting(ctx, p.Seq, s)
	}
	err = l.c.o.Gate.TakePush(ctx, p.Seq, c)
	if again(err) {
		return fmt.Errorf("taking push %d: %w", p.Seq, err)
	}
	l.ackTaken(p.Seq, err)
	if _, ok := c.(zonegate.HubGone); ok && err == nil {
		l.sendAcks(ctx) // the last thing that the hub hears, if it listens
		l.deny(takenOff)
	}
	return nil
}

// again says that nothing has happened and the push is still wanted.
func again(err error) bool {
	if err == nil {
		return false
	}
	for _, refusal := range []error{
		zonegate.ErrBadPush, zonegate.ErrStalePlan, zonegate.ErrPlanTaken, zonegate.ErrCodeConflict, zonegate.ErrNoSuchSetting,
	} {
		if errors.Is(err, refusal) {
			return false
		}
	}
	return true
}

// ackTaken acknowledges what the Gate has taken or refused.
func (l *line) ackTaken(seq uint64, err error) {
	if err == nil {
		l.ack(api.Ack{Seq: seq, Outcome: api.Applied})
		return
	}
	a := refusal(seq, err.Error())
	var stale *zonegate.StaleError
	if errors.As(err, &stale) {
		a.Have = stale.Have
	}
	l.ack(a)
}

// takeSetting lays a setting over the configuration. One that can cut the
// gateway off is only on trial at first.
func (l *line) takeSetting(ctx context.Context, seq uint64, s zonegate.SettingPushed) error {
	gate := l.c.o.Gate
	hub, _ := gate.Hub()
	if seq <= hub.Applied {
		l.ackTaken(seq, nil)
		return nil
	}
	old, _ := gate.Setting(s.Name)
	// What is there already has had its trial.
	try := onTrial(s.Name) && s.Value != old
	if try {
		// One at a time: otherwise nobody knew which of them did the harm.
		if err := l.c.trialOver(ctx); err != nil {
			return err
		}
		l.c.update(l.token, func(c *credential) { c.Trial = &trial{Seq: seq, Name: s.Name, Value: s.Value, Old: old} })
	}
	err := gate.TakePush(ctx, seq, s)
	if err == nil {
		if err = l.c.o.Settings.Set(s.Name, s.Value); err == nil && try {
			poke(l.c.trials)
			poke(l.beatNow)
			return nil // its answer comes when the trial is over
		} else if err != nil {
			err = fmt.Errorf("%w: it has no effect and was taken back: %w", zonegate.ErrBadPush, err)
			for l.c.rollBack(ctx, s.Name, old) != nil {
				if !sleep(ctx, l.c.pace.check) {
					return ctx.Err() // the next start puts it on trial
				}
			}
		}
	}
	if try {
		l.c.update(l.token, func(c *credential) { c.Trial = nil })
	}
	if again(err) {
		return fmt.Errorf("taking push %d: %w", seq, err)
	}
	l.ackTaken(seq, err)
	return nil
}
