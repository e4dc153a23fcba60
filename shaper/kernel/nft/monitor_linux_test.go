package nft

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newMonitor(t *testing.T) *Monitor {
	t.Helper()
	m, err := NewMonitor()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestMonitorTables(t *testing.T) {
	enterNamespace(t)
	c := dial(t)
	m := newMonitor(t)
	var b Batch
	b.AddTable(Table{Name: tbl})
	b.AddQuota(tbl, "q", 5, 5, true) // depleted from the beginning: no event
	commit(t, c, &b)
	run(t, "nft", "delete", "table", "inet", tbl)
	run(t, "nft", "add", "table", "ip6", "foreign")

	var got []Event
	for len(got) < 6 {
		got = append(got, next10s(t, m, func(Event) bool { return true }))
	}
	for i, want := range []Event{
		{Kind: TableAdded, Table: tbl, Family: 1},
		{Kind: Generation},
		{Kind: TableDeleted, Table: tbl, Family: 1},
		{Kind: Generation, Process: "nft"},
		{Kind: TableAdded, Table: "foreign", Family: 10},
		{Kind: Generation, Process: "nft"},
	} {
		g := got[i]
		if g.Kind != want.Kind || g.Table != want.Table || g.Family != want.Family ||
			want.Process != "" && g.Process != want.Process {
			t.Errorf("event %d: %+v, want %+v", i, g, want)
		}
		if ours := i < 2; (g.Port == c.Port()) != ours {
			t.Errorf("event %d: of port %d, ours is %d", i, g.Port, c.Port())
		}
	}
}

// Lost events are told, and later ones still come.
func TestMonitorOverrun(t *testing.T) {
	c := withTable(t)
	m := newMonitor(t)
	m.s.setBuffer(unix.SO_RCVBUF, unix.SO_RCVBUF, 1)
	commit(t, c, large())
	next10s(t, m, func(e Event) bool { return e.Kind == Overrun })
	m.s.setBuffer(unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, eventBuffer)
	var b Batch
	b.DelTable(tbl)
	commit(t, c, &b)
	next10s(t, m, func(e Event) bool { return e.Kind == TableDeleted })
}

// The default buffer holds what a large batch of ours notifies.
func TestMonitorHoldsLargeBatch(t *testing.T) {
	c := withTable(t)
	m := newMonitor(t)
	commit(t, c, large())
	next10s(t, m, func(e Event) bool {
		if e.Kind == Overrun {
			t.Error("overrun")
		}
		return e.Kind == Generation || e.Kind == Overrun
	})
}

func TestMonitorEnds(t *testing.T) {
	enterNamespace(t)
	c := dial(t)
	m := newMonitor(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		_, err := m.Next(ctx)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := m.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	short, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := m.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("timed out: %v", err)
	}
	// It still works after that.
	var b Batch
	b.AddTable(Table{Name: tbl})
	commit(t, c, &b)
	next10s(t, m, func(e Event) bool { return e.Kind == TableAdded })
	next10s(t, m, func(e Event) bool { return e.Kind == Generation })
	go func() {
		_, err := m.Next(context.Background())
		ended <- err
	}()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
