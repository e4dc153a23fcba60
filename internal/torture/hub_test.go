package torture

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"time"

	"zonegate/hub"
	"zonegate/hub/flexpay"
	"zonegate/hub/kkiapay"
	"zonegate/hub/mypayga"
	"zonegate/hub/sandbox"
)

const public = "https://hub.test"

var errDead = errors.New("the hub's process has ended")

// A process is one life of the hub. When its fuse has burned down, at a commit
// or at a call of a provider, before it or after it, it is dead: nothing that
// it does later has any effect.
type process struct {
	*hub.Hub
	w       *world
	dead    bool
	fuse    int // 0: it does not burn
	readers map[string]hub.CallbackReader
}

func (p *process) burns() bool {
	if p.fuse == 0 || p.dead {
		return p.dead
	}
	p.fuse--
	p.dead = p.fuse == 0
	return p.dead
}

// startHub begins a new life on the same database.
func (w *world) startHub() {
	p := &process{w: w}
	d := sandbox.Defaults()
	own := func(s string) func() string { return func() string { return s } }
	flex, err := flexpay.New(flexpay.Options{PayURL: "https://bank.test" + sandbox.FlexPayBase, Merchant: d.FlexPay.Merchant, Token: own(d.FlexPay.Token), Transport: p})
	check(w.t, err)
	ga, err := mypayga.New(mypayga.Options{BaseURL: "https://bank.test" + sandbox.MyPayGaBase, CardURL: "https://bank.test" + sandbox.MyPayGaBase + "/mpgga-form-cbpay",
		Secret: own(d.MyPayGa.Secret), CallbackSecret: own("s3"), Email: "zone@example.com", Transport: p,
		PayoutDone: []string{sandbox.TransferDone}, PayoutFailed: []string{sandbox.TransferFailed, sandbox.TransferPoor}, RefundDone: []string{sandbox.RefundDone}})
	check(w.t, err)
	kk, err := kkiapay.New(kkiapay.Options{BaseURL: "https://bank.test" + sandbox.KKiaPayBase, WidgetURL: "https://bank.test" + sandbox.KKiaPayBase,
		Public: own(d.KKiaPay.PublicKey), Private: own(d.KKiaPay.PrivateKey), Secret: own(d.KKiaPay.SecretKey), WebhookSecret: own(d.KKiaPay.WebhookSecret), Transport: p})
	check(w.t, err)
	p.readers = map[string]hub.CallbackReader{sandbox.FlexPay: flex, sandbox.MyPayGa: ga, sandbox.KKiaPay: kk}
	rule := func(currency, pattern, payer string, automatic bool) hub.WithdrawalRule {
		return hub.WithdrawalRule{Currency: currency, Phones: []string{pattern}, Operators: []string{"any"}, Multiple: 100, Min: 100, Max: 1_000_000_000, Count: 100,
			Daily: map[string]int64{hub.KYCPremium: 1_000_000_000}, FeePermille: 15, FeeMax: 5000, Payer: payer, Automatic: automatic}
	}
	xaf := rule("XAF", "24177xxxxxx", sandbox.MyPayGa, false)
	xaf.ApproveAbove = 700
	p.Hub = hub.New(hub.Options{Store: &lives{w.store, p}, Keys: w.made.keys, Hasher: plain{}, Random: newDice(w.seed<<20 + uint64(len(w.trace))), Lookups: 1,
		Now: func() time.Time { return w.now().Add(w.ahead) }, PublicURL: public, Log: slog.New(slog.DiscardHandler),
		Collectors: map[string]hub.Collector{sandbox.FlexPay: flex, sandbox.MyPayGa: ga, sandbox.KKiaPay: kk},
		Payouts: hub.Payouts{Rules: []hub.WithdrawalRule{rule("CDF", "24382xxxxxxx", sandbox.FlexPay, true), xaf, rule("XOF", "22901xxxxxxxx", "", false)},
			Payers:    map[string]hub.Payer{sandbox.FlexPay: flex, sandbox.MyPayGa: ga},
			Refunders: map[string]hub.Refunder{sandbox.MyPayGa: ga, sandbox.KKiaPay: kk},
			Messenger: messages{w}, NumberWait: -1,
			CallbackURL: func(provider string) string { return public + "/callbacks/" + provider }}})
	w.hub, w.hints = p, nil
}

// lives is the database as a process sees it that can die.
type lives struct {
	hub.Store
	p *process
}

func (l *lives) Read(ctx context.Context, f func(hub.Tx) error) error {
	if l.p.dead {
		return errDead
	}
	return l.Store.Read(ctx, f)
}

func (l *lives) Write(ctx context.Context, f func(hub.Tx) error) error {
	if l.p.dead {
		return errDead
	}
	err := l.Store.Write(ctx, func(tx hub.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		if l.p.burns() {
			return errDead // before the commit
		}
		return nil
	})
	if err == nil && l.p.burns() {
		return errDead // after it
	}
	return err
}

// RoundTrip carries a call to a provider.
func (p *process) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.dead || p.burns() {
		return nil, errDead
	}
	answer, err := p.w.bank.RoundTrip(r)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return nil, err
	}
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	p.w.meanwhile()
	if p.dead || p.burns() {
		return nil, errDead
	}
	return answer, err
}

// messages are what the hub sends to phones.
type messages struct{ w *world }

var sixDigits = regexp.MustCompile(`Code de retrait (\d{6})`)

func (m messages) Send(_ context.Context, to, text string) error {
	if m.w.hub.dead {
		return errDead
	}
	if c := sixDigits.FindStringSubmatch(text); c != nil {
		m.w.codes[to] = c[1]
	}
	if !m.w.calm && m.w.chance(5) {
		return errLost
	}
	return nil
}
