package server

import (
	"context"
	"log/slog"
	"testing"

	"zonegate/hub"
	"zonegate/sync/api"
)

// TestHintsAtTheEnd: a callback that was answered is taken, though the hub is
// told to stop in between: a provider may never repeat it.
func TestHintsAtTheEnd(t *testing.T) {
	onEach(t, webhookOptions, func(w *world) {
		till := tillWorld(w)
		var p api.Payment
		w.call(ask{path: api.PathIntents, token: w.box.Token, body: w.intent(1), status: 200, into: &p})
		references := till.pay(w)
		s := New(Options{Hub: w.hub, Log: slog.New(slog.DiscardHandler)})
		over, cancel := context.WithCancel(w.Context())
		cancel()
		heard, err := w.hub.HearHint(w.Context(), "till", hub.Hint{Reference: references[0]})
		w.ok(err)
		for range 3 {
			s.hints <- hinted{provider: "till", heard: heard}
		}
		w.ok(s.takeHints(over))
		if len(s.hints) != 0 {
			w.Errorf("%d wait", len(s.hints))
		}
		got, _, err := w.hub.PaymentHistory(w.Context(), operator, p.TransactionID)
		if w.ok(err); got.State != hub.PaymentSucceeded {
			w.Errorf("the payment is %s", got.State)
		}
	})
}
