package bench

import (
	"context"
	"errors"
	"time"

	"zonegate/internal/lab"
)

// charged is how many bytes the daemon has charged a phone's grant.
func charged(ctx context.Context, l *lab.Lab, phone string) (uint64, error) {
	return 0, errors.New("not known yet")
}

// waitActive waits until the daemon holds n sessions, and returns how long
// that took since start.
func waitActive(ctx context.Context, l *lab.Lab, n int, start time.Time) (time.Duration, error) {
	return 0, errors.New("not known yet")
}
