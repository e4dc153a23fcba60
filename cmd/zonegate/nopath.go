package main

import (
	"context"

	"zonegate"
)

// noPath is the data path of a gateway without a LAN: its customers are all
// behind NASes, which are told through RADIUS. Nothing passes through this
// machine, so there is nothing to enforce and nothing to count. A session that
// a former configuration left on a LAN ends with its grant, or when its device
// comes in at a NAS.
type noPath struct{}

var _ zonegate.Enforcer = noPath{}

// Apply has nothing to do.
func (noPath) Apply(context.Context, []zonegate.Order) error { return nil }

// Change has nothing to do.
func (noPath) Change(context.Context, []zonegate.Order, []zonegate.SessionID) error { return nil }

// Usage knows no session.
func (noPath) Usage(context.Context) ([]zonegate.Usage, error) { return nil, nil }
