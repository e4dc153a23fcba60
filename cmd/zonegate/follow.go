package main

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

// A follower keeps a server on addresses that come and go.
type follower struct {
	// wanted are the addresses to serve at now; none means not to serve.
	wanted func() []netip.Addr
	serve  func(context.Context, []netip.Addr) error
	// said is told where it serves, and why it cannot.
	said func([]netip.Addr, error)
	// turned gets a value when wanted may be others at once.
	turned chan struct{}
}

// retryServing is how often a server is tried again that failed. It is no
// reason to end the program: the customers of the LAN need no NAS.
const retryServing = 5 * time.Second

// turn has the follower look at once.
func (f *follower) turn() {
	select {
	case f.turned <- struct{}{}:
	default: // it is due already
	}
}

// Run follows until the context is done.
func (f *follower) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		addrs := f.wanted()
		f.said(addrs, nil)
		if len(addrs) == 0 {
			f.change(ctx, addrs)
			continue
		}
		err := until(ctx,
			func(ctx context.Context) error { return f.serve(ctx, addrs) },
			func(ctx context.Context) { f.change(ctx, addrs) })
		if err != nil && ctx.Err() == nil {
			f.said(nil, err)
			wait(ctx, retryServing)
		}
	}
	return nil
}

// change returns when other addresses are wanted than those, or the context is
// done.
func (f *follower) change(ctx context.Context, have []netip.Addr) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.turned:
		case <-time.After(lookAtLAN):
		}
		if !slices.Equal(f.wanted(), have) {
			return
		}
	}
}
