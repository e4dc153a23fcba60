package hub

import "context"

// TakeHint takes a callback: it finds the payment and asks the provider. What
// the callback claims changes nothing. ErrNotFound is one of no payment of the
// provider's.
func (h *Hub) TakeHint(ctx context.Context, provider string, hint Hint) error { return errSoon }

// SweepPayments asks providers once about every payment whose time has come.
func (h *Hub) SweepPayments(ctx context.Context) error { return errSoon }

// RunPayments sweeps every second, until ctx is over.
func (h *Hub) RunPayments(ctx context.Context) error { return errSoon }

// Look asks the provider now.
func (h *Hub) Look(ctx context.Context, by Actor, id string) (Payment, error) {
	return Payment{}, errSoon
}

// AcceptReview takes the money that came for a payment as its price. Admins
// only.
func (h *Hub) AcceptReview(ctx context.Context, by Actor, id, reason string) (Payment, error) {
	return Payment{}, errSoon
}

// RejectReview has the money that came go back: the payment is refunding then.
// Without money it failed. Admins only.
func (h *Hub) RejectReview(ctx context.Context, by Actor, id, reason string) (Payment, error) {
	return Payment{}, errSoon
}
