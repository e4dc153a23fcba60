package hub

// beginRefund moves a payment from succeeded to refunding: its grant is revoked
// and what was booked is taken back to refund/<provider>. ref names the refund
// in the ledger. ErrStale if the payment is not in succeeded.
func (h *Hub) beginRefund(tx Tx, id, ref, reason string) (Payment, error) { return Payment{}, errSoon }

// endRefund moves a payment from refunding to refunded, or with gone false, back
// to succeeded (to review, if nobody had accepted the money). The grant
// stays revoked.
func (h *Hub) endRefund(tx Tx, id, ref string, gone bool, reason string) (Payment, error) {
	return Payment{}, errSoon
}
