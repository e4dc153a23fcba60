package hub

import (
	"context"

	"zonegate/sync/api"
)

// Report takes entries and usage. When it returns they are durable; the answer
// acknowledges all up to its number. Known entries change nothing, a
// GapError or ConflictError says what the hub expects and nothing is taken,
// an InputError names the entry that makes no sense.
func (h *Hub) Report(ctx context.Context, g Gateway, r api.Reports) (api.Reported, error) {
	panic("soon")
}
