package hub

import (
	"context"
	"time"
)

func (h *Hub) Eligibility(ctx context.Context, by Actor, currency string) (Eligibility, error) {
	return Eligibility{}, ErrUnsupported
}
func (h *Hub) RequestWithdrawal(ctx context.Context, by Actor, q WithdrawalRequest) (Withdrawal, error) {
	return Withdrawal{}, ErrUnsupported
}
func (h *Hub) ValidateWithdrawal(ctx context.Context, by Actor, id, code string) (Withdrawal, error) {
	return Withdrawal{}, ErrUnsupported
}
func (h *Hub) ResendWithdrawalCode(ctx context.Context, by Actor, id string) (Withdrawal, error) {
	return Withdrawal{}, ErrUnsupported
}
func (h *Hub) CancelWithdrawal(ctx context.Context, by Actor, id string) (Withdrawal, error) {
	return Withdrawal{}, ErrUnsupported
}
func (h *Hub) Withdrawal(ctx context.Context, by Actor, id string) (Withdrawal, error) {
	return Withdrawal{}, ErrUnsupported
}
func (h *Hub) WithdrawalByNumber(ctx context.Context, by Actor, n int64) (Withdrawal, error) {
	return Withdrawal{}, ErrUnsupported
}
func (h *Hub) Withdrawals(ctx context.Context, by Actor, q WithdrawalQuery) ([]Withdrawal, int, error) {
	return nil, 0, ErrUnsupported
}
func (h *Hub) WithdrawalSums(ctx context.Context, by Actor, reseller, currency string, from, to time.Time) ([]WithdrawalSum, error) {
	return nil, ErrUnsupported
}
func (h *Hub) KYC(ctx context.Context, by Actor, reseller string) (string, error) {
	return "", ErrUnsupported
}
