package hub

import "context"

func (h *Hub) RequestRefund(ctx context.Context, by Actor, q RefundRequest) (Refund, error) {
	return Refund{}, ErrUnsupported
}
func (h *Hub) DecideRefund(ctx context.Context, by Actor, id string, send bool) (Refund, error) {
	return Refund{}, ErrUnsupported
}
func (h *Hub) ResolveRefund(ctx context.Context, by Actor, id string, r Resolution) (Refund, error) {
	return Refund{}, ErrUnsupported
}
func (h *Hub) Refund(ctx context.Context, by Actor, id string) (Refund, error) {
	return Refund{}, ErrUnsupported
}
func (h *Hub) Refunds(ctx context.Context, by Actor, q RefundQuery) ([]Refund, error) {
	return nil, ErrUnsupported
}

func (h *Hub) stepRefund(ctx context.Context, id string, away map[string]bool) error { return nil }
func (h *Hub) hintedRefund(tx Tx, r Refund, x Hint) error                            { return nil }
