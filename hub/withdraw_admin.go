package hub

import "context"

func (h *Hub) ClaimWithdrawal(ctx context.Context, by Actor, id string) (Withdrawal, error) {
	return Withdrawal{}, ErrUnsupported
}
func (h *Hub) ReleaseWithdrawal(ctx context.Context, by Actor, id string) (Withdrawal, error) {
	return Withdrawal{}, ErrUnsupported
}
func (h *Hub) ApproveWithdrawal(ctx context.Context, by Actor, id string) (Withdrawal, error) {
	return Withdrawal{}, ErrUnsupported
}
func (h *Hub) CompleteWithdrawal(ctx context.Context, by Actor, id, manual, notes string) (Withdrawal, error) {
	return Withdrawal{}, ErrUnsupported
}
func (h *Hub) FailWithdrawal(ctx context.Context, by Actor, id, reason string) (Withdrawal, error) {
	return Withdrawal{}, ErrUnsupported
}
func (h *Hub) ResolveWithdrawal(ctx context.Context, by Actor, id string, r Resolution) (Withdrawal, error) {
	return Withdrawal{}, ErrUnsupported
}
func (h *Hub) ReverseWithdrawal(ctx context.Context, by Actor, id, statement string) (Withdrawal, error) {
	return Withdrawal{}, ErrUnsupported
}
func (h *Hub) SetKYC(ctx context.Context, by Actor, reseller, level string) error {
	return ErrUnsupported
}
