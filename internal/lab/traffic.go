package lab

import (
	"context"
	"errors"
)

func runTraffic(ctx context.Context, args []string) error { return errors.New("not yet") }
