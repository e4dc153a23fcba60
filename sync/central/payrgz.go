package central

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"zonegate"
	"zonegate/sync/api"
)

// An Initiator is a server that has the documented billing API alone; *RGZ is
// one. See there what its errors mean.
type Initiator interface {
	Initiate(ctx context.Context, token string, in api.Initiate) (api.Initiated, error)
	PaymentStatus(ctx context.Context, token, transaction string) (api.PaymentStatus, error)
}

var _ Initiator = (*RGZ)(nil)

// PayRGZ are the settings of payments at a server without pushes.
type PayRGZ struct {
	// TokenFile has the zone's token. It is read for each call, so that it can
	// be replaced.
	TokenFile string
	// Providers are the channels that are offered, such as MTN_MOMO.
	Providers []string
	// Hosts are what the customer's browser must reach to pay.
	Hosts []string
	// Currency of the amounts; XOF if it is empty.
	Currency string
}

// NewPayRGZ has intents collected by a server that has the documented billing
// API alone. It has no key by which a start could be repeated, so one whose
// answer was lost is never sent again; nobody can say what became of it.
func NewPayRGZ(gate Intents, server Initiator, o PayRGZ, clock zonegate.Clock, log *slog.Logger) *Pay {
	if o.Currency == "" {
		o.Currency = "XOF"
	}
	d := &rgzDesk{server: server, o: o, clock: clock}
	for _, id := range o.Providers {
		d.channels = append(d.channels, zonegate.Channel{
			ID: id, Name: strings.ReplaceAll(id, "_", " "), Flow: zonegate.FlowRedirect, Currency: o.Currency, Hosts: o.Hosts,
		})
	}
	return newPay(gate, d, clock, log)
}

type rgzDesk struct {
	server Initiator
	o      PayRGZ
	clock  zonegate.Clock
	// channels are those of the configuration.
	channels []zonegate.Channel
	// away is the monotonic time until which the server is taken to be away,
	// because it was not reached.
	away atomic.Int64
}

// awayFor is how long after a call that did not get there none is offered.
const awayFor = time.Minute

// reached notes whether a call got there.
func (d *rgzDesk) reached(err error) {
	d.away.Store(0)
	if NotSent(err) {
		d.away.Store(int64(d.clock.Now().Mono + awayFor))
	}
}

// Channels implements collector.
func (d *rgzDesk) Channels() (list []zonegate.Channel, online bool) {
	return d.channels, d.problem() == nil && d.clock.Now().Mono >= time.Duration(d.away.Load())
}

func (d *rgzDesk) problem() error {
	_, err := d.token()
	return err
}

// token reads the secret; errors never have it.
func (d *rgzDesk) token() (string, error) {
	raw, err := os.ReadFile(d.o.TokenFile)
	if err != nil {
		return "", fmt.Errorf("reading the token of the billing server: %w", err)
	}
	token := strings.TrimSpace(string(raw))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("the file with the token of the billing server must have it alone, in one line")
	}
	return token, nil
}

// expireAfter is when nobody waits any more at a server that does not say so
// itself.
const expireAfter = 2 * time.Hour

func (d *rgzDesk) follow(ctx context.Context, p *Pay, in zonegate.Intent, w *watch) error {
	switch {
	case in.Transaction != "":
		return d.ask(ctx, p, in, w)
	case in.State == zonegate.IntentOpened && !in.Unsure:
		return d.start(ctx, p, in, w)
	}
	return nil // nobody can be asked
}

// start asks for the money once. That it may have been asked is written down
// before: what a crash leaves is not sent again.
func (d *rgzDesk) start(ctx context.Context, p *Pay, in zonegate.Intent, w *watch) error {
	if in.Age >= startWithin {
		return p.tell(ctx, in, w, zonegate.News{State: zonegate.IntentFailed, Reason: neverSent})
	}
	token, err := d.token()
	if err != nil {
		return err
	}
	if err := p.gate.TellIntent(ctx, in.ID, zonegate.News{Unsure: true}); err != nil {
		return err
	}
	got, err := d.server.Initiate(ctx, token, api.Initiate{ForfaitID: in.Plan.ID, Provider: in.Channel})
	d.reached(err)
	reason, no := definitive(err)
	switch {
	case err == nil:
		return p.tell(ctx, in, w, zonegate.News{
			State: zonegate.IntentPending, Transaction: got.TransactionID, Flow: zonegate.FlowRedirect, URL: got.PaymentURL,
		})
	case NotSent(err):
		return errors.Join(err, p.tell(ctx, in, w, zonegate.News{}))
	case no:
		return errors.Join(err, p.tell(ctx, in, w, zonegate.News{State: zonegate.IntentFailed, Reason: reason}))
	}
	return err
}

// ask settles what was paid. Enough money of the right currency is what counts,
// and an amount that is not told is none.
func (d *rgzDesk) ask(ctx context.Context, p *Pay, in zonegate.Intent, w *watch) error {
	token, err := d.token()
	if err != nil {
		return err
	}
	got, err := d.server.PaymentStatus(ctx, token, in.Transaction)
	d.reached(err)
	if err != nil {
		return err
	}
	n := zonegate.News{State: paymentState(got.Status)}
	switch {
	case n.State == zonegate.IntentPaid && got.AmountFCFA > 0:
		return p.gate.SettleIntent(ctx, in.ID, in.Transaction, zonegate.Money{Amount: got.AmountFCFA, Currency: d.o.Currency})
	case n.State == zonegate.IntentPaid:
		n.State = zonegate.IntentPending
	case n.State == zonegate.IntentPending && in.Age >= expireAfter:
		n.State = zonegate.IntentExpired
	}
	return p.tell(ctx, in, w, n)
}
