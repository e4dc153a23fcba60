package main

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
)

// A follower serves where it is wanted, moves when that changes, and tries
// again what failed.
func TestFollower(t *testing.T) {
	var mu sync.Mutex
	one, two := []netip.Addr{netip.MustParseAddr("10.0.0.1")}, []netip.Addr{netip.MustParseAddr("10.0.0.2")}
	var now []netip.Addr
	want := func(a []netip.Addr) {
		mu.Lock()
		defer mu.Unlock()
		now = a
	}
	serving := make(chan netip.Addr)
	stopped := make(chan netip.Addr)
	failed := make(chan error, 1)
	f := &follower{
		turned: make(chan struct{}, 1),
		wanted: func() []netip.Addr {
			mu.Lock()
			defer mu.Unlock()
			return now
		},
		serve: func(ctx context.Context, a []netip.Addr) error {
			serving <- a[0]
			<-ctx.Done()
			stopped <- a[0]
			return nil
		},
		said: func(_ []netip.Addr, err error) {
			if err != nil {
				failed <- err
			}
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	move := func(to []netip.Addr) {
		want(to)
		f.turn()
	}
	move(one)
	if got := <-serving; got != one[0] {
		t.Errorf("serves at %v", got)
	}
	move(two)
	if got := <-stopped; got != one[0] {
		t.Errorf("stopped at %v", got)
	}
	if got := <-serving; got != two[0] {
		t.Errorf("serves at %v after a change", got)
	}
	move(nil)
	if got := <-stopped; got != two[0] {
		t.Errorf("stopped at %v", got)
	}
	move(one)
	<-serving
	go func() { <-stopped }()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}

	// What fails is said, and tried again after a while.
	want(one)
	broken := errors.New("address in use")
	f.serve = func(context.Context, []netip.Addr) error { return broken }
	ctx, cancel = context.WithCancel(t.Context())
	go func() { ended <- f.Run(ctx) }()
	if err := <-failed; !errors.Is(err, broken) {
		t.Errorf("said %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}
