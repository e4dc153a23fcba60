package bench

import (
	"context"
	"fmt"
	"time"

	"zonegate/internal/control"
	"zonegate/internal/lab"
)

// charged is how many bytes the daemon has charged the grant that a phone is
// online with. It waits until the daemon has read the last counters.
func charged(ctx context.Context, l *lab.Lab, phone string) (uint64, error) {
	client, err := control.Dial(ctx, l.Info.Control)
	if err != nil {
		return 0, err
	}
	var last uint64
	since := time.Now()
	for time.Since(since) < 6*time.Second {
		list, err := client.Sessions(ctx)
		if err != nil {
			return 0, fmt.Errorf("listing sessions: %w", err)
		}
		used, found := uint64(0), false
		for _, s := range list.Sessions {
			if s.Device == l.Info.Hosts[phone].MAC {
				used, found = s.Balance.Used, true
			}
		}
		if !found {
			return 0, fmt.Errorf("%s has no session", phone)
		}
		if used != last {
			last, since = used, time.Now()
		}
		if err := wait(ctx, 200*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return last, nil
}

// waitActive waits until the daemon holds n sessions and its data path is what
// it should be, and returns how long that took since start.
func waitActive(ctx context.Context, l *lab.Lab, n int, start time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		var s control.Status
		client, err := control.Dial(ctx, l.Info.Control)
		if err == nil {
			s, err = client.Status(ctx)
		}
		if err == nil && s.OK && s.Sessions >= n {
			return time.Since(start), nil
		}
		if wait(ctx, 5*time.Millisecond) != nil {
			return 0, fmt.Errorf("the daemon does not hold %d sessions again: status %+v, %v", n, s, err)
		}
	}
}
