package central

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"zonegate"
	"zonegate/sync/api"
)

// runCatalogue takes the plans that are on sale: after an enrolment, after
// each start, and once a day. Pushes bring every change in between; this finds
// what one of the two has forgotten. Nothing is withdrawn by being absent.
func (l *line) runCatalogue(ctx context.Context) error {
	r := retry{first: l.c.pace.retryFirst, most: l.c.pace.retryMost}
	tag := ""
	for l.await(ctx) {
		next, err := l.takeCatalogue(ctx, tag)
		if err != nil {
			l.failed(ctx, plans, err)
			sleep(ctx, r.wait(err))
			continue
		}
		r.reset()
		l.worked(plans)
		tag = next
		const day = 24 * time.Hour
		sleep(ctx, day*3/4+jitter(day/2))
	}
	return nil
}

func (l *line) takeCatalogue(ctx context.Context, have string) (tag string, err error) {
	header := http.Header{}
	if have != "" {
		header.Set("If-None-Match", have)
	}
	var c api.Catalogue
	answer, err := l.client.callWith(ctx, http.MethodGet, api.PathCatalogue, header, nil, &c)
	if errors.Is(err, errUnchanged) {
		return have, nil
	}
	if err != nil {
		return "", err
	}
	var bad error
	for _, p := range c.Plans {
		err := l.takePlan(ctx, p)
		if again(err) {
			return "", fmt.Errorf("taking the catalogue: %w", err)
		}
		bad = errors.Join(bad, err)
	}
	if bad != nil {
		l.c.find("catalogue", warning, fmt.Sprintf("a plan of the hub's is not sold here: %.300s", bad.Error()))
	} else {
		l.c.mended("catalogue")
	}
	l.mu.Lock()
	l.catalogue = c.Version
	l.mu.Unlock()
	return answer.Get("ETag"), nil
}

func (l *line) takePlan(ctx context.Context, p api.Plan) error {
	plan, err := domainPlan(p)
	if err != nil {
		return err
	}
	err = l.c.o.Gate.TakePush(ctx, 0, zonegate.PlanPushed{Plan: plan})
	var stale *zonegate.StaleError
	if errors.As(err, &stale) && stale.Have > p.Version {
		return nil // a push was quicker
	}
	return err
}
