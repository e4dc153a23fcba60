package portal

import (
	"context"

	"zonegate"
)

// A Cashier starts mobile payments and knows what became of them;
// *zonegate.Gate is one. It waits for nobody but the journal.
type Cashier interface {
	OpenIntent(context.Context, zonegate.IntentRequest) (zonegate.Intent, error)
	Intent(zonegate.IntentID) (zonegate.Intent, bool)
	// Intents are those of a device, the newest first.
	Intents(zonegate.MAC) []zonegate.Intent
	// Replaceable says whether another attempt is allowed beside an open one.
	Replaceable(zonegate.IntentID) bool
	ClaimCode(zonegate.IntentID) string
	// Waiting notes that a device shows the page of a payment.
	Waiting(zonegate.MAC)
}

// A Till has payments collected. It answers at once from what it knows. Safe
// for concurrent use.
type Till interface {
	// Channels are the ways to pay here, those that are away among them; none
	// where there is no mobile payment, and nil while that is not known. online
	// is false while nobody could collect, because there is no Internet or no
	// central server.
	Channels() (list []zonegate.Channel, online bool)
	// Ask has the collecting server asked about a payment now, at most every few
	// seconds for one. It does not wait for the answer.
	Ask(zonegate.IntentID)
}
