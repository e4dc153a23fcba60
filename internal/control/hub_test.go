package control_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"zonegate/internal/control"
)

// A hubDesk remembers what it was asked.
type hubDesk struct {
	*desk
	hub *control.Hub
}

func (d hubDesk) Hub() *control.Hub { return d.hub }

func (d hubDesk) JoinHub(_ context.Context, in control.JoinHub) (control.Hub, error) {
	return control.Hub{Joined: true}, d.note("join %s with %s", in.URL, in.Code)
}

func (d hubDesk) LeaveHub(_ context.Context, in control.LeaveHub) (control.Hub, error) {
	return control.Hub{}, d.note("leave, force %v", in.Force)
}

func TestHub(t *testing.T) {
	d := hubDesk{desk: new(desk)}
	h := handler(d.desk)
	h.Hub = d
	c, err := control.Dial(t.Context(), serve(t, h))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	var refused *control.Error
	if _, err := c.Hub(ctx); !errors.As(err, &refused) || refused.Code != control.CodeNotFound {
		t.Errorf("without a central server: %v", err)
	}
	if s, err := c.Status(ctx); err != nil || s.Hub != nil {
		t.Errorf("%v %+v", err, s.Hub)
	}
	joined, err := c.JoinHub(ctx, control.JoinHub{URL: "https://h/api/v1", Code: "one"})
	if err != nil || !joined.Joined {
		t.Errorf("%v %+v", err, joined)
	}
	if _, err := c.LeaveHub(ctx, control.LeaveHub{Force: true}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"join https://h/api/v1 with one", "leave, force true"}, d.asked); diff != "" {
		t.Error(diff)
	}
	d.err = errors.New("no")
	if _, err := c.JoinHub(ctx, control.JoinHub{Code: "two"}); !errors.As(err, &refused) || refused.Code != control.CodeRefused {
		t.Errorf("%v", err)
	}

	// What is wrong with the hub keeps nobody from buying.
	seconds := int64(3)
	d.hub = &control.Hub{
		Mode: "hub", URL: "https://h/api/v1", Joined: true, Unsent: 7, Problem: "away", ReadSeconds: &seconds,
		Findings: []control.Finding{{Severity: "error", Subject: "hub"}},
	}
	h = handler(new(desk))
	h.Hub = d
	c = control.Local(h)
	s, err := c.Status(ctx)
	if diff := cmp.Diff(d.hub, s.Hub); err != nil || diff != "" || !s.OK {
		t.Errorf("%v, ok %v: %s", err, s.OK, diff)
	}
	if got, err := c.Hub(ctx); err != nil || got.Unsent != 7 {
		t.Errorf("%v %+v", err, got)
	}
}
