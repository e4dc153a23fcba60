package hub

import (
	"context"
	"time"
)

// A PaymentQuery asks for a page of payments, the newest first.
type PaymentQuery struct {
	Reseller string       // "" is all that the actor may see
	State    PaymentState // "" is any
	Provider string       // "" is any
	From, To time.Time    // when they were made; zero is no bound
	// Before is the ID of the last line of the page before.
	Before string
	Max    int // 0 is 100
}

// Sources of an ObservationRow.
const (
	SourceInitiate = "initiate"
	SourceLookup   = "lookup"
	SourceCallback = "callback"
	SourceRefund   = "refund"
)

// An ObservationRow is what a provider said of a payment, as it is kept.
type ObservationRow struct {
	ID, Payment string
	At          time.Time
	Source      string
	State       string
	ProviderRef string
	Raw         string
}

// Payments is a page of them.
func (h *Hub) Payments(ctx context.Context, by Actor, q PaymentQuery) (out []Payment, err error) {
	if q.Reseller, err = by.scope(q.Reseller); err != nil {
		return nil, err
	}
	q.Max = page(q.Max)
	err = h.store.Read(ctx, func(tx Tx) error {
		out, err = tx.Payments(q)
		return err
	})
	return out, err
}

// PaymentHistory is a payment with what its provider said, the oldest first.
func (h *Hub) PaymentHistory(ctx context.Context, by Actor, id string) (p Payment, said []ObservationRow, err error) {
	err = h.store.Read(ctx, func(tx Tx) error {
		if p, err = h.paymentFor(tx, by, id); err != nil {
			return err
		}
		said, err = tx.Observations(id)
		return err
	})
	return p, said, err
}

// paymentFor is a payment that by may see.
func (h *Hub) paymentFor(tx Tx, by Actor, id string) (Payment, error) {
	p, err := tx.Payment(id)
	if err != nil {
		return Payment{}, err
	}
	if !by.covers(p.Reseller) {
		return Payment{}, ErrForbidden
	}
	return p, nil
}
