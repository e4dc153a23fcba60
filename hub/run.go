package hub

import (
	"context"
	"time"
)

type fleet struct{}

type rounds struct{ settle time.Duration }

func (h *Hub) run(ctx context.Context) error { panic("soon") }
