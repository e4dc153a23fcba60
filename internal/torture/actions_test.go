package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/sandbox"
	"zonegate/sync/api"
)

// An action is something that happens, as often as its weight.
type action struct {
	name   string
	weight int
	do     func(*world)
}

var actions = []action{
	{"pay", 16, (*world).wishes},
	{"page", 8, (*world).opensPage},
	{"approve", 8, (*world).approves},
	{"refuse", 2, (*world).refuses},
	{"work", 22, (*world).work},
	{"time", 10, (*world).timePasses},
	{"crash", 5, (*world).gatewayCrashes},
	{"power", 4, (*world).powerWillGo},
	{"fuse", 9, (*world).fuseBurns},
	{"kill", 3, (*world).hubDies},
	{"fault", 10, (*world).providerFails},
	{"mend", 3, (*world).providerIsMended},
	{"line", 4, (*world).lineChanges},
	{"clock", 4, (*world).clockJumps},
	{"replay", 4, (*world).pushComesAgain},
	{"intent again", 4, (*world).intentComesAgain},
	{"forge", 5, (*world).forges},
	{"cross", 4, (*world).crosses},
	{"redeem", 4, (*world).redeems},
	{"withdraw", 8, (*world).withdraws},
	{"desk", 10, (*world).desk},
	{"refund", 5, (*world).refunds},
	{"look", 3, (*world).looks},
	{"decide", 4, (*world).decides},
	{"race", 4, (*world).races},
}

// live is the whole life of a world.
func (w *world) live() error {
	steps := 20 + w.rng.IntN(41)
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	for range steps {
		n := w.rng.IntN(total)
		for _, a := range actions {
			if n -= a.weight; n < 0 {
				w.say("- %s", a.name)
				a.do(w)
				break
			}
		}
		w.afterwards()
		if w.failed != nil {
			return w.failed
		}
	}
	w.heal()
	w.balance()
	return w.failed
}

// afterwards brings back what is down, now or later, and looks at what must
// hold at every step.
func (w *world) afterwards() {
	for _, g := range w.gates {
		if g.alive && g.cutAt > 0 && g.disk.Changes() >= g.cutAt {
			w.say("the power of %s has gone", g.currency)
			g.crash(false)
		}
		if !g.alive && w.chance(60) {
			w.say("%s starts", g.currency)
			g.restart()
		}
	}
	if w.hub.dead && w.chance(70) {
		w.say("the hub starts")
		w.startHub()
	}
	w.always()
	w.pass(time.Duration(1+w.rng.IntN(4000)) * time.Millisecond)
	w.say("= %s", w.digest())
}

// endings are the last digits of numbers and how often somebody has them.
var endings = []string{"5555", "5555", "5555", "5555", "5555", "5555", "0001", "0002", "0003", "0004", "0005", "0006", "0006", "0007", "0008", "0009", "0010", "0011"}

func (w *world) number(provider string) string {
	w.serial++
	end := pick(w, endings)
	switch provider {
	case sandbox.FlexPay:
		return fmt.Sprintf("24381%03d%s", w.serial%1000, end)
	case sandbox.MyPayGa:
		return fmt.Sprintf("24174%02d%s", w.serial%100, end)
	}
	return fmt.Sprintf("2290197%02d%s", w.serial%100, end)
}

// wishes has a customer pay, on a device that may be known.
func (w *world) wishes() {
	g := pick(w, w.gates)
	if !g.alive {
		return
	}
	o := &order{gate: g, phone: w.number(g.provider)}
	o.device = zonegate.MAC{2, 0, 0, 0, 0, byte(1 + w.rng.IntN(6))}
	for i := range o.id {
		o.id[i] = byte(w.rng.Uint32())
	}
	phone := o.phone
	channel := map[string]string{sandbox.FlexPay: "MOBILE_MONEY_CD", sandbox.MyPayGa: "AIRTEL_GA", sandbox.KKiaPay: "KKIAPAY"}[g.provider]
	if g.provider == sandbox.KKiaPay {
		phone = ""
	}
	if w.chance(70) {
		g.zone.Waiting(o.device)
	}
	f := pick(w, g.plans)
	_, err := g.zone.OpenIntent(w.ctx, zonegate.IntentRequest{ID: o.id, Device: o.device, Plan: f.Plan.ID, Channel: channel, Phone: phone})
	w.say("%s intent %s of %v, %s, %d: %s", g.currency, o.id.String()[:8], o.device[5], phone, f.Plan.Price.Amount, w.result(err))
	if err != nil {
		return
	}
	w.orders = append(w.orders, o)
	if w.chance(25) {
		w.loses(map[string]string{sandbox.FlexPay: "/flexpay/paymentService", sandbox.MyPayGa: "/mypayga/mpayment/payment-request", sandbox.KKiaPay: "/kkiapay/status"}[g.provider])
	}
	if w.chance(80) {
		g.pay.Step(w.ctx)
	}
}

// opensPage has a customer pay on the page that he was sent to; some do it
// twice, and some come back with the address that the page has given them.
func (w *world) opensPage() {
	var open []zonegate.Intent
	var at []*order
	for _, o := range w.orders {
		if !o.gate.alive {
			continue
		}
		if in, ok := o.gate.zone.Intent(o.id); ok && in.URL != "" && (w.pages[in.URL] == 0 || w.chance(10)) {
			open, at = append(open, in), append(at, o)
		}
	}
	if len(open) == 0 {
		return
	}
	i := w.rng.IntN(len(open))
	id, err := w.bank.Pay(open[i].URL, at[i].phone)
	w.say("page of %s: charge %s: %s", at[i].id.String()[:8], id, w.result(err))
	if err != nil {
		return
	}
	w.pages[open[i].URL]++
	if w.chance(40) {
		w.pass(10 * time.Second)
		if p, ok := w.payment(at[i]); ok {
			w.callback(sandbox.KKiaPay, nil, map[string][]string{"reference": {p.Reference}, "transaction_id": {id}}, nil)
		}
	}
}

// payment is the hub's of an order.
func (w *world) payment(o *order) (p hub.Payment, ok bool) {
	err := w.store.Read(w.ctx, func(tx hub.Tx) (err error) {
		p, err = tx.PaymentByIntent(o.gate.enrolled.GatewayID, o.id.String())
		return err
	})
	return p, err == nil
}

func (w *world) payments() (ps []hub.Payment) {
	check(w.t, w.store.Read(w.ctx, func(tx hub.Tx) (err error) {
		ps, err = tx.Payments(hub.PaymentQuery{Max: 1000})
		return err
	}))
	return ps
}

func (w *world) approves() {
	if open := w.bank.Open(); len(open) > 0 {
		c := pick(w, open)
		w.say("approve %s %s %s: %s", c.Provider, c.Kind, c.ID, w.result(w.bank.Approve(c.ID)))
	}
}

func (w *world) refuses() {
	if open := w.bank.Open(); len(open) > 0 {
		c := pick(w, open)
		w.say("refuse %s %s %s: %s", c.Provider, c.Kind, c.ID, w.result(w.bank.Refuse(c.ID, "")))
	}
}

// work has everybody do what is due, or some of them, in any order.
func (w *world) work() {
	parts := []func(){
		func() { w.bank.Step(w.ctx); w.heed() },
		func() { w.sweep("payments", w.hub.SweepPayments) },
		func() { w.sweep("payouts", w.hub.SweepPayouts) },
	}
	for _, g := range w.gates {
		parts = append(parts, func() {
			if g.alive {
				g.pay.Step(w.ctx)
			}
		}, g.sync)
	}
	w.rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	for _, do := range parts {
		if w.calm || !w.chance(15) {
			do()
		}
	}
}

func (w *world) sweep(what string, do func(context.Context) error) {
	if w.hub.dead {
		return
	}
	h := w.hub
	if err := do(w.ctx); err != nil && !h.dead {
		w.fail("sweeping %s: %v", what, err)
	}
}

// meanwhile is what happens while a provider is being called: others come to
// the hub, and time passes.
func (w *world) meanwhile() {
	if next := w.next; next != nil {
		w.next, w.inside = nil, true
		next()
		w.inside = false
		return
	}
	if w.calm || w.inside || !w.chance(20) {
		return
	}
	w.inside = true
	defer func() { w.inside = false }()
	w.say("meanwhile")
	pick(w, []func(){
		func() { w.bank.Step(w.ctx); w.heed() },
		func() { w.sweep("payments", w.hub.SweepPayments) },
		func() { w.sweep("payouts", w.hub.SweepPayouts) },
		w.intentComesAgain, w.approves, w.desk, w.crosses, w.forges,
		func() { w.pass(5 * time.Second) },
		func() { w.pass(70 * time.Second); w.sweep("payments", w.hub.SweepPayments) },
		func() { w.pass(95 * time.Second); w.sweep("payouts", w.hub.SweepPayouts) },
	})()
}

func (w *world) timePasses() {
	d := pick(w, []time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 3 * time.Minute, 6 * time.Minute, 20 * time.Minute})
	w.say("%v", d)
	w.pass(d)
}

func (w *world) gatewayCrashes() {
	g := pick(w, w.gates)
	if !g.alive {
		return
	}
	kill := w.chance(30)
	w.say("%s, killed %v", g.currency, kill)
	g.crash(kill)
}

func (w *world) powerWillGo() {
	g := pick(w, w.gates)
	if g.alive && g.cutAt == 0 {
		n := w.rng.IntN(8)
		g.disk.CutAfter(n)
		g.cutAt = g.disk.Changes() + n + 1
		w.say("%s after %d", g.currency, n)
	}
}

func (w *world) fuseBurns() {
	if w.hub.fuse == 0 {
		w.hub.fuse = 1 + w.rng.IntN(9)
		w.say("%d", w.hub.fuse)
	}
	w.work()
}

func (w *world) hubDies() { w.hub.dead = true }

// kinds of faults, with the calls that they make sense for.
var (
	answerFaults   = []string{sandbox.FaultError, sandbox.FaultHalf, sandbox.FaultHang, sandbox.FaultDrop, sandbox.FaultRefuse, sandbox.FaultPage, sandbox.FaultMissing, sandbox.FaultNull, sandbox.FaultStrings, sandbox.FaultNumbers, sandbox.FaultPrinted}
	moneyFaults    = []string{sandbox.FaultAmount, sandbox.FaultCurrency, sandbox.FaultForged}
	callbackFaults = []string{sandbox.FaultLost, sandbox.FaultDouble, sandbox.FaultLate, sandbox.FaultReorder}
)

func (w *world) providerFails() {
	provider := pick(w, []string{sandbox.FlexPay, sandbox.MyPayGa, sandbox.KKiaPay})
	for _, g := range w.gates {
		if w.chance(50) {
			provider = g.provider
		}
	}
	f := sandbox.Fault{Times: 1 + w.rng.IntN(3)}
	switch w.rng.IntN(10) {
	case 0, 1, 2, 3, 4:
		f.Kind, f.Before = pick(w, answerFaults), w.chance(40)
		f.Path = "/" + provider + pick(w, map[string][]string{
			sandbox.FlexPay: {"", "/paymentService", "/merchantPayOutService", "/check"},
			sandbox.MyPayGa: {"", "/payment/gethash", "/mpayment/payment-request", "/mpayment/sendClientTransfert", "/refund", "/payment/paiement-detail"},
			sandbox.KKiaPay: {"", "/status", "/revert"},
		}[provider])
		if f.Kind == sandbox.FaultPage || f.Kind == sandbox.FaultError || f.Kind == sandbox.FaultMissing {
			f.Before = false
		}
	case 5, 6:
		f.Kind, f.Path = pick(w, moneyFaults), "/"+provider+"/charge"
		if f.Kind == sandbox.FaultAmount && w.chance(30) {
			f.Amount = 1_000_000 // more than was asked for
		}
	default:
		f.Kind, f.Path = pick(w, callbackFaults), "/"+provider+pick(w, []string{"/callback", "/payout-callback"})
		f.Wait = w.rng.IntN(200_000)
	}
	w.say("%+v", f)
	check(w.t, w.bank.Break(f))
	w.faulty = true
}

// loses has the next call of a kind done, mostly, and not answered.
func (w *world) loses(path string) {
	f := sandbox.Fault{Kind: pick(w, []string{sandbox.FaultError, sandbox.FaultHalf, sandbox.FaultHang, sandbox.FaultDrop}), Path: path, Times: 1}
	f.Before = f.Kind != sandbox.FaultError && w.chance(25)
	w.say("%+v", f)
	check(w.t, w.bank.Break(f))
	w.faulty = true
}

func (w *world) providerIsMended() {
	w.bank.Mend()
	w.faulty = false
}

func (w *world) lineChanges() {
	g := pick(w, w.gates)
	g.down = !g.down && w.chance(60)
	w.say("%s down %v", g.currency, g.down)
}

func (w *world) clockJumps() {
	if w.chance(50) {
		w.ahead = pick(w, []time.Duration{0, 0, time.Hour, -time.Hour, 3 * time.Hour, -10 * time.Minute, 90 * time.Second})
		w.say("hub by %v", w.ahead)
		return
	}
	g := pick(w, w.gates)
	g.skew = pick(w, []time.Duration{0, time.Hour, -24 * time.Hour, 40 * 24 * time.Hour, -20 * 365 * 24 * time.Hour})
	g.trusted = w.chance(50) && g.skew == 0
	w.say("%s by %v, trusted %v", g.currency, g.skew, g.trusted)
}

// pushComesAgain has a gateway take a push again, by its number or out of the
// order, as an answer to a claim brings it.
func (w *world) pushComesAgain() {
	g := pick(w, w.gates)
	if !g.alive || g.kept.Payload == nil {
		return
	}
	key, err := api.ParseKey(g.enrolled.HubKey)
	check(w.t, err)
	p, err := g.kept.Open(key, g.enrolled.SiteID)
	check(w.t, err)
	if p.Kind == api.KindGrantRevoked || w.chance(30) {
		g.take(g.kept, p.Seq)
	} else if p.Kind == api.KindGrant {
		g.take(g.kept, 0)
	}
	// One that somebody else has written is none.
	forged := api.Signed{Payload: []byte(strings.Replace(string(g.kept.Payload), `"seq":`, `"seq":9`, 1)), Signature: g.kept.Signature}
	if _, err := forged.Open(key, g.enrolled.SiteID); err == nil {
		w.fail("a forged push opens")
	}
}

// intentComesAgain repeats a start, as a gateway does that has forgotten the
// answer.
func (w *world) intentComesAgain() {
	if len(w.orders) == 0 {
		return
	}
	o := pick(w, w.orders)
	if !o.gate.alive {
		return
	}
	in, ok := o.gate.zone.Intent(o.id)
	if !ok {
		return
	}
	phone := in.Phone
	if strings.HasPrefix(phone, "*") {
		phone = o.phone
	}
	_, err := line{o.gate}.StartPayment(w.ctx, api.Intent{IntentID: in.ID.String(), Plan: in.Plan.ID, PlanVersion: in.Plan.Version, Provider: in.Channel,
		Phone: phone, Device: in.Device.String(), Claim: fmt.Sprintf("%x", in.Claim[:])})
	w.say("intent %s again: %s", o.id.String()[:8], w.result(err))
}

// forges has a callback claim a success that is none.
func (w *world) forges() {
	all := w.bank.Charges(func(c sandbox.Charge) bool { return c.Kind == sandbox.KindCharge && c.State != sandbox.StatePaid })
	if len(all) > 0 {
		c := pick(w, all)
		w.say("%s %s: %s", c.Provider, c.ID, w.result(w.bank.Forge(c.ID)))
		w.bank.Step(w.ctx)
		w.heed()
	}
}

// crosses tells the hub that a payment has the number of another charge.
func (w *world) crosses() {
	ps := w.payments()
	all := w.bank.Charges(nil)
	if len(ps) == 0 || len(all) == 0 || w.hub.dead {
		return
	}
	p, c := pick(w, ps), pick(w, all)
	w.say("payment %s with charge %s of %s", p.Reference, c.ID, c.Reference)
	body, err := json.Marshal(map[string]string{"code": "0", "reference": p.Reference, "orderNumber": c.ID, "amount": "1"})
	check(w.t, err)
	switch p.Provider {
	case sandbox.FlexPay:
		w.callback(p.Provider, map[string][]string{"Content-Type": {"application/json"}}, nil, body)
	case sandbox.KKiaPay:
		w.callback(p.Provider, nil, map[string][]string{"reference": {p.Reference}, "transaction_id": {c.ID}}, nil)
	}
	w.heed()
}

// redeems types the claim code of a payment on another device.
func (w *world) redeems() {
	if len(w.orders) == 0 {
		return
	}
	o := pick(w, w.orders)
	if !o.gate.alive {
		return
	}
	d := zonegate.MAC{2, 0, 0, 0, 1, byte(w.rng.IntN(3))}
	_, err := o.gate.zone.Redeem(w.ctx, zonegate.Redemption{Code: o.gate.zone.ClaimCode(o.id), Device: d, Move: w.chance(50)})
	w.say("code of %s on %d: %s", o.id.String()[:8], d[5], w.result(err))
}

// withdraws has a reseller ask for money, or enter the code.
func (w *world) withdraws() {
	if w.hub.dead {
		return
	}
	k := pick(w, w.gates)
	if w.chance(40) {
		w.entersCode()
		return
	}
	w.serial++
	phone := map[string]string{"CDF": fmt.Sprintf("24382%03d%s", w.serial%1000, pick(w, endings)),
		"XAF": fmt.Sprintf("24177%02d%s", w.serial%100, pick(w, endings)), "XOF": fmt.Sprintf("2290166%02d5555", w.serial%100)}[k.currency]
	amount := int64(1+w.rng.IntN(8)) * 100
	if k.currency == "CDF" {
		amount *= 100
	}
	x, err := w.hub.RequestWithdrawal(w.ctx, k.reseller, hub.WithdrawalRequest{Currency: k.currency, Amount: amount, Phone: phone, Operator: "any"})
	w.say("%s %d to %s: %s %s", k.currency, amount, phone, x.State, w.result(err))
	if x.ID != "" {
		w.payees[phone] = x.ID
	}
	if err != nil || w.chance(30) {
		return
	}
	w.entersCode()
	if w.chance(40) {
		w.loses(map[string]string{"CDF": "/flexpay/merchantPayOutService", "XAF": "/mypayga/mpayment/sendClientTransfert", "XOF": "/kkiapay/revert"}[k.currency])
	}
	if w.chance(70) {
		w.desk()
		w.sweep("payouts", w.hub.SweepPayouts)
	}
}

func (w *world) withdrawals(states ...hub.PayoutState) (out []hub.Withdrawal) {
	check(w.t, w.store.Read(w.ctx, func(tx hub.Tx) (err error) {
		out, _, err = tx.Withdrawals(hub.WithdrawalQuery{States: states, Max: 1000})
		return err
	}))
	return out
}

func (w *world) entersCode() {
	waiting := w.withdrawals(hub.PayoutCodeSent)
	if len(waiting) == 0 || w.hub.dead {
		return
	}
	x := pick(w, waiting)
	code := w.codes[x.Phone]
	if w.chance(10) {
		code = "1"
	}
	for _, k := range w.made.shops {
		if k.reseller.Reseller == x.Reseller {
			got, err := w.hub.ValidateWithdrawal(w.ctx, k.reseller, x.ID, code)
			w.say("code of %s: %s %s", x.Reference, got.State, w.result(err))
			return
		}
	}
}

// desk is what admins do about withdrawals. What nobody knows the end of they
// look up in the provider's statement.
func (w *world) desk() {
	all := w.withdrawals(hub.PayoutVerified, hub.PayoutProcessing, hub.PayoutAmbiguous, hub.PayoutCompleted, hub.PayoutCodeSent)
	if len(all) == 0 || w.hub.dead {
		return
	}
	x, by := pick(w, all), admin
	if w.chance(40) {
		by = second
	}
	var err error
	what := ""
	switch x.State {
	case hub.PayoutVerified:
		switch w.rng.IntN(6) {
		case 0, 1, 2:
			what = "claim"
			_, err = w.hub.ClaimWithdrawal(w.ctx, by, x.ID)
		case 3:
			what = "approve"
			_, err = w.hub.ApproveWithdrawal(w.ctx, by, x.ID)
		case 4:
			what = "release"
			_, err = w.hub.ReleaseWithdrawal(w.ctx, by, x.ID)
		case 5:
			what = "fail"
			_, err = w.hub.FailWithdrawal(w.ctx, by, x.ID, "no")
		}
	case hub.PayoutProcessing, hub.PayoutAmbiguous:
		if x.Payer == "" {
			what = "complete"
			_, err = w.hub.CompleteWithdrawal(w.ctx, by, x.ID, "receipt", "")
		} else if paid, known := w.paidTruth(x); known {
			what = fmt.Sprint("resolve, paid ", paid)
			_, err = w.hub.ResolveWithdrawal(w.ctx, by, x.ID, hub.Resolution{Paid: paid, Statement: "line 1"})
		}
	case hub.PayoutCompleted, hub.PayoutCodeSent:
		what = "sweep"
		err = w.hub.SweepPayouts(w.ctx)
	}
	w.say("%s of %s %s: %s", what, x.Reference, x.State, w.result(err))
}

// paidTruth is what a provider's statement shows of a withdrawal; not known is
// what it has open.
func (w *world) paidTruth(x hub.Withdrawal) (paid, known bool) {
	if !x.Called.IsZero() {
		return false, false
	}
	for _, c := range w.bank.Charges(func(c sandbox.Charge) bool { return c.Kind == sandbox.KindPayout && samePhone(c.Phone, x.Phone) }) {
		if c.State == sandbox.StateOpen {
			return false, false
		}
		paid = paid || c.State == sandbox.StatePaid
	}
	return paid, true
}

// samePhone compares the end of numbers: providers write them in their own way.
func samePhone(a, b string) bool {
	return len(a) >= 8 && len(b) >= 8 && a[len(a)-8:] == b[len(b)-8:]
}

// refunds has an admin give money back, or go on with it.
func (w *world) refunds() {
	if w.hub.dead {
		return
	}
	if w.chance(40) {
		w.refundDesk()
		return
	}
	var can []hub.Payment
	for _, p := range w.payments() {
		if p.State == hub.PaymentSucceeded || p.State == hub.PaymentRefunding {
			can = append(can, p)
		}
	}
	if len(can) == 0 {
		return
	}
	p := pick(w, can)
	r, err := w.hub.RequestRefund(w.ctx, admin, hub.RefundRequest{Payment: p.ID, Reason: "wish", Force: w.chance(70)})
	w.say("of %s: %s %s", p.Reference, r.State, w.result(err))
}

func (w *world) openRefunds() (out []hub.Refund) {
	check(w.t, w.store.Read(w.ctx, func(tx hub.Tx) (err error) {
		out, err = tx.Refunds(hub.RefundQuery{States: []hub.RefundState{hub.RefundUndecided, hub.RefundReady, hub.RefundWaiting, hub.RefundAmbiguous}, Max: 1000})
		return err
	}))
	return out
}

func (w *world) refundDesk() {
	if all := w.openRefunds(); len(all) > 0 && !w.hub.dead {
		w.settleRefund(pick(w, all), w.chance(70))
	}
}

// settleRefund is what an admin does about a refund that waits for him.
func (w *world) settleRefund(r hub.Refund, send bool) {
	var err error
	what := "wait for"
	switch {
	case r.State == hub.RefundUndecided:
		what = fmt.Sprint("decide ", send)
		w.decided[r.ID] = w.decided[r.ID] || send
		_, err = w.hub.DecideRefund(w.ctx, admin, r.ID, send)
	case r.State == hub.RefundReady && r.Provider == "":
		what = "by hand"
		if _, err = w.hub.ResolveRefund(w.ctx, admin, r.ID, hub.Resolution{Paid: true, Statement: "by hand"}); err == nil {
			p, _ := w.paymentByID(r.Payment)
			w.hand[p.Provider+" "+r.Amount.Currency] += r.Amount.Amount
		}
	case r.State == hub.RefundWaiting || r.State == hub.RefundAmbiguous:
		if paid, known := w.refundTruth(r); known {
			what = fmt.Sprint("resolve, paid ", paid)
			_, err = w.hub.ResolveRefund(w.ctx, admin, r.ID, hub.Resolution{Paid: paid, Statement: "line 2"})
		}
	}
	w.say("%s refund %s %s: %s", what, r.Reference, r.State, w.result(err))
}

func (w *world) paymentByID(id string) (p hub.Payment, ok bool) {
	err := w.store.Read(w.ctx, func(tx hub.Tx) (err error) {
		p, err = tx.Payment(id)
		return err
	})
	return p, err == nil
}

// refundTruth is what the provider's statement shows of a refund.
func (w *world) refundTruth(r hub.Refund) (paid, known bool) {
	p, _ := w.paymentByID(r.Payment)
	for _, c := range w.bank.Charges(nil) {
		mine := c.Kind == sandbox.KindRefund && c.Reference == p.Reference || // MyPayGa
			c.Kind == sandbox.KindPayout && strings.HasPrefix(c.Reference, r.Reference)
		if mine && c.State == sandbox.StateOpen {
			return false, false
		}
		paid = paid || mine && c.State == sandbox.StatePaid || c.Provider == sandbox.KKiaPay && c.ID == p.ProviderRef && c.State == sandbox.StateRefunded
	}
	return paid, true
}

func (w *world) looks() {
	if ps := w.payments(); len(ps) > 0 && !w.hub.dead {
		p := pick(w, ps)
		got, err := w.hub.Look(w.ctx, admin, p.ID)
		w.say("at %s: %s %s", p.Reference, got.State, w.result(err))
	}
}

// races has an answer that says no arrive after the money has come.
func (w *world) races() {
	for _, p := range w.payments() {
		if !strings.HasSuffix(p.Phone, "0007") || p.State == hub.PaymentSucceeded || p.ProviderRef == "" || w.hub.dead {
			continue
		}
		w.pass(9 * time.Second)
		w.next = func() {
			w.pass(70 * time.Second)
			w.bank.Step(w.ctx)
			w.heed()
		}
		got, err := w.hub.Look(w.ctx, admin, p.ID)
		w.next = nil
		w.say("at %s: %s %s", p.Reference, got.State, w.result(err))
		return
	}
}

// decides is what an admin does about a payment in review.
func (w *world) decides() {
	for _, p := range w.payments() {
		if p.State != hub.PaymentReview || w.hub.dead || w.chance(30) {
			continue
		}
		if w.chance(40) {
			// Noted before: the answer may be lost.
			w.reviews[p.ID] = true
			_, err := w.hub.AcceptReview(w.ctx, admin, p.ID, "all right")
			if err != nil && !errors.Is(err, errDead) {
				delete(w.reviews, p.ID)
			}
			w.say("accept %s: %s", p.Reference, w.result(err))
		} else {
			_, err := w.hub.RejectReview(w.ctx, admin, p.ID, "no")
			w.say("reject %s: %s", p.Reference, w.result(err))
		}
		return
	}
}
