package torture

import (
	"errors"
	"slices"
	"strings"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/sandbox"
)

// always is what must hold at every step.
func (w *world) always() {
	check(w.t, w.store.Read(w.ctx, func(tx hub.Tx) error {
		open, _, err := tx.Withdrawals(hub.WithdrawalQuery{States: []hub.PayoutState{hub.PayoutProcessing, hub.PayoutAmbiguous}, Max: 1000})
		if err != nil {
			return err
		}
		count := map[string]int{}
		for _, x := range open {
			if count[x.Reseller]++; count[x.Reseller] > 1 {
				w.fail("reseller %s has two payouts on their way", x.Reseller)
			}
		}
		balances, err := tx.Balances("")
		sum := map[string]int64{}
		for _, b := range balances {
			sum[b.Currency] += b.Amount
		}
		for currency, n := range sum {
			if n != 0 {
				w.fail("the ledger has %d %s too much", n, currency)
			}
		}
		return err
	}))
	w.revokedFirst()
	// A payout that was paid twice is lost at that moment.
	paid := map[string]int{}
	for _, m := range w.bank.Movements(func(m sandbox.Movement) bool { return m.Kind == sandbox.KindPayout }) {
		if paid[m.Phone]++; paid[m.Phone] > 1 {
			w.fail("%s paid out twice to %s", m.Provider, m.Phone)
		}
	}
}

// revokedFirst: money goes back when the grant is gone, or a person has said
// that it may all the same.
func (w *world) revokedFirst() {
	check(w.t, w.store.Read(w.ctx, func(tx hub.Tx) error {
		on, err := tx.Refunds(hub.RefundQuery{States: []hub.RefundState{hub.RefundSending, hub.RefundWaiting, hub.RefundAmbiguous, hub.RefundDone}, Max: 1000})
		for _, r := range on {
			if r.Push != 0 && !w.gone[r.Payment] && !w.decided[r.ID] {
				w.fail("refund %s is %s, and the gateway has not taken the grant back", r.Reference, r.State)
			}
		}
		return err
	}))
}

// heal ends all faults and lets everybody, people too, do what is to be done,
// until nothing happens any more.
func (w *world) heal() {
	w.say("--- healing")
	w.calm, w.faulty, w.ahead = true, false, 0
	w.bank.Mend()
	w.hub.fuse = 0
	if w.hub.dead {
		w.startHub()
	}
	for _, g := range w.gates {
		g.down, g.skew, g.trusted = false, 0, true
		if g.cutAt > 0 {
			g.crash(false)
		}
		if !g.alive {
			g.restart()
		}
	}
	// Long enough for what a clock that was wrong has planned, and for people.
	for range 12 {
		w.pass(20 * time.Second)
		w.work()
		w.people()
	}
	// Nothing stays on its way at a provider for ever.
	for _, c := range w.bank.Open() {
		if c.Kind != sandbox.KindCharge {
			w.bank.Approve(c.ID)
		}
	}
	for _, g := range w.gates {
		g.stop()
	}
	for _, d := range []time.Duration{15 * time.Minute, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 48 * time.Hour} {
		for range 2 {
			w.pass(d)
			w.bank.Step(w.ctx)
			w.heed()
			w.sweep("payments", w.hub.SweepPayments)
			w.sweep("payouts", w.hub.SweepPayouts)
			w.people()
		}
	}
	w.looksAtAll()
	w.statement()
	for _, g := range w.gates {
		g.restart()
	}
	// A gateway that was cut off until now has its customers pay now.
	for range 2 {
		for range 6 {
			w.pass(30 * time.Second)
			w.work()
			w.people()
		}
		w.looksAtAll()
	}
	w.work()
	w.people()
	w.always()
	w.say("= %s", w.digest())
}

// looksAtAll has providers asked about all payments: what they took back
// afterwards is seen by who looks.
func (w *world) looksAtAll() {
	for _, p := range w.payments() {
		if p.State == hub.PaymentSucceeded || p.ProviderRef != "" && p.State != hub.PaymentRefunded {
			if _, err := w.hub.Look(w.ctx, admin, p.ID); err != nil {
				w.fail("looking at payment %s: %v", p.Reference, err)
			}
		}
	}
}

// people decide all that waits for them.
func (w *world) people() {
	for _, x := range w.withdrawals(hub.PayoutVerified, hub.PayoutProcessing, hub.PayoutAmbiguous) {
		switch {
		case x.State == hub.PayoutVerified:
			w.hub.ClaimWithdrawal(w.ctx, admin, x.ID)
			w.hub.ClaimWithdrawal(w.ctx, second, x.ID)
			w.hub.ApproveWithdrawal(w.ctx, second, x.ID)
			w.hub.ApproveWithdrawal(w.ctx, admin, x.ID)
		case x.Payer == "":
			w.hub.CompleteWithdrawal(w.ctx, hub.Actor{User: x.Claimed, Name: x.Claimed, Role: hub.RoleAdmin}, x.ID, "receipt", "")
		default:
			if paid, known := w.paidTruth(x); known {
				_, err := w.hub.ResolveWithdrawal(w.ctx, third, x.ID, hub.Resolution{Paid: paid, Statement: "line 3"})
				w.say("resolve %s, paid %v: %s", x.Reference, paid, w.result(err))
			}
		}
	}
	for _, r := range w.openRefunds() {
		w.settleRefund(r, true)
	}
	for _, p := range w.payments() {
		if p.State == hub.PaymentRefunding {
			w.hub.RequestRefund(w.ctx, admin, hub.RefundRequest{Payment: p.ID, Reason: "rejected"})
		}
	}
}

// isNamed says that a payment stands where a person sees that it is open:
// nobody could tell the hub the provider's number of it.
func isNamed(p hub.Payment) bool {
	return p.ProviderRef == "" && (p.State == hub.PaymentPending || p.State == hub.PaymentExpired)
}

// statement is the provider's word on what the hub could not hear of. It must
// be about payments that stand open, or about a page where somebody paid again
// and the call that told it was lost. Then the provider sends it once more.
func (w *world) statement() {
	payments := w.payments()
	for _, m := range w.bank.Movements(func(m sandbox.Movement) bool { return m.Kind == sandbox.KindCharge }) {
		if slices.ContainsFunc(payments, func(p hub.Payment) bool { return p.Provider == m.Provider && p.ProviderRef == m.ID }) {
			continue
		}
		i := slices.IndexFunc(payments, func(p hub.Payment) bool { return stem(p.Reference) == stem(m.Reference) })
		switch {
		case i < 0:
			w.fail("somebody paid %v for %s, which the hub does not know", m.Money, m.Reference)
			return
		case isNamed(payments[i]) && !w.told[m.ID]:
		case m.Provider == sandbox.KKiaPay && !w.taken[m.ID]:
		default:
			w.fail("payment %s is %s (%s), and the customer paid %v as %s", m.Reference, payments[i].State, payments[i].Reason, m.Money, m.ID)
			return
		}
		err := w.hub.TakeHint(w.ctx, m.Provider, hub.Hint{Reference: m.Reference, ProviderRef: m.ID})
		w.say("by statement: %s %s: %s", m.Reference, m.ID, w.result(err))
	}
	w.people()
}

// balance compares the hub and the gateways with what really happened.
func (w *world) balance() {
	type place struct{ provider, currency string }
	truth := map[place]int64{}
	for _, l := range w.made.opening("") {
		if provider, ok := strings.CutPrefix(l.Account, hub.AccountProvider); ok {
			truth[place{provider, l.Currency}] = l.Amount
		}
	}
	charged := map[string]sandbox.Movement{} // by the provider's number
	for _, m := range w.bank.Movements(nil) {
		at := place{m.Provider, m.Money.Currency}
		if m.Kind == sandbox.KindCharge {
			truth[at] += m.Money.Amount
			charged[m.Provider+" "+m.ID] = m
		} else {
			truth[at] -= m.Money.Amount
		}
	}
	payments := w.payments()
	grants, refunded := map[string]hub.Grant{}, map[string]bool{}
	check(w.t, w.store.Read(w.ctx, func(tx hub.Tx) error {
		for _, p := range payments {
			if g, err := tx.Grant(p.ID); err == nil {
				grants[p.ID] = g
			} else if !errors.Is(err, hub.ErrNotFound) {
				return err
			}
			refunds, err := tx.Refunds(hub.RefundQuery{Payment: p.ID, Max: 10})
			if err != nil {
				return err
			}
			for _, r := range refunds {
				refunded[p.ID] = refunded[p.ID] || r.State == hub.RefundDone
				if r.State == hub.RefundDone && r.Push != 0 && !r.Forced && !w.decided[r.ID] {
					if used, err := tx.GrantStarted(p.ID); err != nil {
						return err
					} else if used {
						w.fail("payment %s was given back, and what was bought had been used", p.Reference)
					}
				}
				if r.Restored == "" {
					continue
				}
				if grants[r.Restored], err = tx.Grant(r.Restored); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	for _, p := range payments {
		m, came := charged[p.Provider+" "+p.ProviderRef]
		delete(charged, p.Provider+" "+p.ProviderRef)
		enough := came && m.Money.Currency == p.Price.Currency && m.Money.Amount >= p.Price.Amount
		g, granted := grants[p.ID]
		switch {
		case (p.State == hub.PaymentSucceeded || granted) && !enough && !w.reviews[p.ID]:
			w.fail("payment %s is %s, grant %v, and nobody paid enough for it: %v", p.Reference, p.State, granted, m.Money)
		case p.State == hub.PaymentSucceeded && !granted:
			w.fail("payment %s succeeded without a grant", p.Reference)
		case granted && !g.Revoked && p.State != hub.PaymentSucceeded:
			w.fail("payment %s is %s, and its grant is good", p.Reference, p.State)
		}
		switch p.State {
		case hub.PaymentSucceeded, hub.PaymentReview, hub.PaymentRefunding, hub.PaymentRefunded:
			if !came {
				w.fail("payment %s is %s, and nobody paid", p.Reference, p.State)
			}
			// What a person still has to find out is not in the ledger.
			if p.Paid.Amount == 0 && came {
				w.say("not booked: %v of payment %s, %s", m.Money, p.Reference, p.State)
				truth[place{m.Provider, m.Money.Currency}] -= m.Money.Amount
				if p.State == hub.PaymentRefunded {
					truth[place{m.Provider, m.Money.Currency}] += m.Money.Amount
				}
			}
		default:
			if came {
				w.fail("payment %s is %s (%s), and the customer paid %v", p.Reference, p.State, p.Reason, m.Money)
			}
		}
		// A provider that takes back what we give back too is seen in its
		// statement alone.
		if p.State == hub.PaymentRefunded && p.Provider == sandbox.FlexPay && refunded[p.ID] {
			for _, m := range w.bank.Refunded(p.ProviderRef) {
				truth[place{m.Provider, m.Money.Currency}] += m.Money.Amount
				w.say("given back twice: payment %s", p.Reference)
			}
		}
	}
	for at, m := range charged {
		if m.Provider == sandbox.KKiaPay && !w.taken[m.ID] && len(w.bank.Refunded(m.ID)) > 0 {
			continue // it was taken back before the hub could look at it
		}
		w.fail("somebody paid %v as %s, which the hub does not know", m.Money, at)
	}
	for at, n := range w.hand {
		provider, currency, _ := strings.Cut(at, " ")
		truth[place{provider, currency}] -= n
	}
	w.ledger(func(provider, currency string) int64 { return truth[place{provider, currency}] })
	w.atGateways(payments, grants)
	for _, x := range w.withdrawals() {
		paid := w.bank.Movements(func(m sandbox.Movement) bool { return m.Kind == sandbox.KindPayout && samePhone(m.Phone, x.Phone) })
		switch {
		case x.State == hub.PayoutProcessing || x.State == hub.PayoutAmbiguous || x.State == hub.PayoutVerified:
			if _, known := w.paidTruth(x); known {
				w.fail("withdrawal %s is %s for ever", x.Reference, x.State)
			}
		case x.Payer != "" && (x.State == hub.PayoutCompleted) != (len(paid) == 1):
			w.fail("withdrawal %s is %s, and was paid %d times", x.Reference, x.State, len(paid))
		}
	}
}

// stem is a reference without the number of the attempt.
func stem(reference string) string { return reference[:min(len(reference), 22)] }

// ledger compares the accounts.
func (w *world) ledger(truth func(provider, currency string) int64) {
	check(w.t, w.store.Read(w.ctx, func(tx hub.Tx) error {
		balances, err := tx.Balances("")
		if err != nil {
			return err
		}
		have := map[string]int64{}
		for _, b := range balances {
			have[b.Account+" "+b.Currency] = b.Amount
		}
		unpaid := map[string]int64{}
		for _, x := range w.withdrawals(hub.PayoutProcessing, hub.PayoutAmbiguous) {
			// The provider says nothing yet: it has it open.
			unpaid[x.Payer] += 0
		}
		for _, provider := range []string{sandbox.FlexPay, sandbox.MyPayGa, sandbox.KKiaPay} {
			for _, currency := range []string{"CDF", "USD", "XAF", "XOF"} {
				if got, want := have[hub.AccountProvider+provider+" "+currency], truth(provider, currency); got != want {
					w.fail("the ledger has %d %s at %s, and there are %d", got, currency, provider, want)
				}
			}
		}
		// Money that a reseller has taken out and that went back to customers
		// afterwards is what he owes; nothing else brings him below zero.
		back := map[string]int64{}
		ts, err := tx.Transactions(hub.LedgerQuery{Max: 1000})
		if err != nil {
			return err
		}
		for _, t := range ts {
			for _, l := range t.Postings {
				if (t.Kind == hub.BookRefunding || t.Kind == hub.BookTakenBack) && strings.HasPrefix(l.Account, hub.AccountReseller) {
					back[l.Account+" "+l.Currency] += l.Amount
				}
			}
		}
		for account, n := range have {
			switch {
			case strings.HasPrefix(account, hub.AccountReseller) && n > back[account]:
				w.fail("%s is below zero by %d", account, n)
			case strings.HasPrefix(account, hub.AccountBlocked) && n > 0:
				w.fail("%s is below zero by %d", account, n)
			}
		}
		return nil
	}))
}

// atGateways looks at what customers have.
func (w *world) atGateways(payments []hub.Payment, grants map[string]hub.Grant) {
	for _, g := range w.gates {
		if !g.alive {
			w.fail("gateway %s is down", g.currency)
			return
		}
		times := map[string]int{}
		for _, ref := range g.sold {
			times[ref]++
			if grant, ok := grants[ref]; !ok || grant.Site != g.site.ID {
				w.fail("gateway %s gave out %s, which was never granted there", g.currency, ref)
			}
			if times[ref] > 1 {
				w.fail("gateway %s gave out %s twice", g.currency, ref)
			}
		}
		for _, o := range w.orders {
			if o.gate != g {
				continue
			}
			i := slices.IndexFunc(payments, func(p hub.Payment) bool { return p.Intent == o.id.String() })
			if i < 0 {
				continue
			}
			p := payments[i]
			grant, good := grants[p.ID]
			if !good || grant.Revoked {
				continue
			}
			if times[p.ID] != 1 {
				w.fail("payment %s is %s, and gateway %s gave it out %d times", p.Reference, p.State, g.currency, times[p.ID])
			}
			d := zonegate.MAC{2, 0, 0, 1, byte(i), 1}
			_, err := g.zone.Redeem(w.ctx, zonegate.Redemption{Code: g.zone.ClaimCode(o.id), Device: d, Move: true})
			if err != nil {
				w.fail("the code of payment %s does not work: %v", p.Reference, err)
				continue
			}
			g.sync()
			again := map[string]int{}
			for _, ref := range g.sold {
				again[ref]++
			}
			if again[p.ID] != 1 {
				w.fail("the code of payment %s made another grant", p.Reference)
			}
		}
	}
}

// dump shows both sides to who looks for what went wrong.
func (w *world) dump() {
	for _, m := range w.bank.Movements(nil) {
		w.say("moved %s %s %s %s %v at %s", m.Provider, m.Kind, m.Reference, m.ID, m.Money, m.At.Sub(epoch))
	}
	for _, p := range w.payments() {
		w.say("payment %s %s %s %s price %v paid %v unsure %v ref %q: %s", p.Reference, p.ID[24:], p.Provider, p.State, p.Price, p.Paid, p.Unsure, p.ProviderRef, p.Reason)
	}
	for _, x := range w.withdrawals() {
		w.say("withdrawal %s %s %s %v %s ref %q: %s", x.Reference, x.Payer, x.State, x.Amount, x.Phone, x.ProviderRef, x.Reason)
	}
	check(w.t, w.store.Read(w.ctx, func(tx hub.Tx) error {
		rs, err := tx.Refunds(hub.RefundQuery{Max: 1000})
		if err != nil {
			return err
		}
		for _, r := range rs {
			w.say("refund %s of %s %s %v %s, handle %q, statement %q: %s", r.Reference, r.Payment[24:], r.State, r.Amount, r.Provider, r.Handle, r.Statement, r.Reason)
		}
		ts, err := tx.Transactions(hub.LedgerQuery{Max: 1000})
		for _, t := range ts {
			w.say("booked %s %s %v", t.Kind, t.Ref, t.Postings)
		}
		return err
	}))
}
