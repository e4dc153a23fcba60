package hub

import "context"

func (h *Hub) SweepPayouts(ctx context.Context) error { return nil }
func (h *Hub) PayoutHint(ctx context.Context, provider string, x Hint) (bool, error) {
	return false, ErrUnsupported
}
