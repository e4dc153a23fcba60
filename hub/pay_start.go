package hub

import (
	"context"
	"errors"
	"time"

	"zonegate/sync/api"
)

var errSoon = errors.New("payments are not taken yet")

// StartPayment starts a payment that a gateway asks for, or returns the one
// that it has asked for before. It answers within 12 seconds, whatever the
// provider does.
func (h *Hub) StartPayment(ctx context.Context, g Gateway, q api.Intent) (api.Payment, error) {
	return api.Payment{}, errSoon
}

// PaymentOf is what has become of a gateway's intent. It asks nobody.
func (h *Hub) PaymentOf(ctx context.Context, g Gateway, intent string) (api.Payment, error) {
	return api.Payment{}, errSoon
}

// Initiate starts a payment in the words of the RGZ API.
func (h *Hub) Initiate(ctx context.Context, by Actor, q api.Initiate) (api.Initiated, error) {
	return api.Initiated{}, errSoon
}

// PaymentStatus is what has become of a payment, in the words of the RGZ API.
func (h *Hub) PaymentStatus(ctx context.Context, by Actor, id string) (api.PaymentStatus, error) {
	return api.PaymentStatus{}, errSoon
}

// UseCollectors replaces the providers, as after a change of their credentials.
func (h *Hub) UseCollectors(c map[string]Collector) {}

// Channels are the ways to pay in a currency, as the gateways hear of them.
func (h *Hub) Channels(currency string) []api.Channel { return nil }

type money struct {
	public string
	banked time.Duration
}
