package console

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"zonegate/hub"
)

const paymentsShown = 100

// A paymentsView is a page of payments, with what each brought.
type paymentsView struct {
	reseller        string
	resellers       []option
	state, provider string
	day             string
	payments        []hub.Payment
	sites           map[string]string
	split           map[string]split // by payment
}

// A split is what was booked of a payment.
type split struct {
	currency   string
	fee, share int64 // minor units; share is the reseller's
}

func (v paymentsView) address(before string) string {
	q := url.Values{}
	for name, value := range map[string]string{"reseller": v.reseller, "state": v.state, "provider": v.provider, "day": v.day, "before": before} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return "/payments?" + q.Encode()
}

func (v paymentsView) last() string {
	if len(v.payments) < paymentsShown {
		return ""
	}
	return v.payments[len(v.payments)-1].ID
}

var paymentStates = []hub.PaymentState{hub.PaymentSubmitting, hub.PaymentPending, hub.PaymentSucceeded, hub.PaymentFailed, hub.PaymentExpired,
	hub.PaymentCanceled, hub.PaymentReview, hub.PaymentRefunding, hub.PaymentRefunded}

func (p page) paymentState(s hub.PaymentState) string {
	switch s {
	case hub.PaymentSubmitting:
		return p.T("en route", "on its way")
	case hub.PaymentPending:
		return p.T("en attente", "pending")
	case hub.PaymentSucceeded:
		return p.T("payé", "paid")
	case hub.PaymentFailed:
		return p.T("échoué", "failed")
	case hub.PaymentExpired:
		return p.T("sans réponse", "no answer")
	case hub.PaymentCanceled:
		return p.T("annulé", "canceled")
	case hub.PaymentReview:
		return p.T("à examiner", "in review")
	case hub.PaymentRefunding:
		return p.T("remboursement en cours", "being refunded")
	case hub.PaymentRefunded:
		return p.T("remboursé", "refunded")
	}
	return string(s)
}

func (p page) stateOptions() []option {
	out := []option{{"", p.T("tous", "all")}}
	for _, s := range paymentStates {
		out = append(out, option{string(s), p.paymentState(s)})
	}
	return out
}

// masked is a number as it may be read by those who sell.
func masked(phone string) string {
	if phone == "" {
		return "–"
	}
	return "…" + phone[max(len(phone)-2, 0):]
}

func (a *call) paymentsPage() error {
	q := a.r.URL.Query()
	v := paymentsView{reseller: q.Get("reseller"), state: q.Get("state"), provider: q.Get("provider"), day: q.Get("day"), sites: map[string]string{}, split: map[string]split{}}
	ask := hub.PaymentQuery{Reseller: v.reseller, State: hub.PaymentState(v.state), Provider: v.provider, Before: q.Get("before"), Max: paymentsShown}
	if v.day != "" {
		day, err := time.ParseInLocation(time.DateOnly, v.day, a.console.zone)
		if err != nil {
			a.f.bad("day", a.p.T("Écrivez la date comme 2026-12-31.", "Write the date as 2026-12-31."))
		}
		ask.From, ask.To = day, day.AddDate(0, 0, 1)
	}
	a.f.values.Set("day", v.day)
	a.f.values.Set("provider", v.provider)
	var err error
	if v.resellers, err = a.resellerOptions(a.p.T("tous", "all")); err != nil {
		return err
	}
	if !a.f.ok() {
		return a.render(payments(a.p, v))
	}
	if v.payments, err = a.hub.Payments(a.r.Context(), a.p.by, ask); err != nil {
		return err
	}
	if err := a.fillSites(v.sites, v.reseller); err != nil {
		return err
	}
	if v.split, err = a.splits(v.payments); err != nil {
		return err
	}
	return a.render(payments(a.p, v))
}

func (a *call) fillSites(names map[string]string, reseller string) error {
	sites, err := a.hub.Sites(a.r.Context(), a.p.by, reseller)
	for _, s := range sites {
		names[s.ID] = s.Name
	}
	return err
}

// splits looks up what was booked of payments, the newest first.
func (a *call) splits(ps []hub.Payment) (map[string]split, error) {
	out := map[string]split{}
	var from, to time.Time
	for _, p := range ps {
		if p.Paid.Amount == 0 {
			continue
		}
		if to.IsZero() {
			to = p.Changed
		}
		from = p.Made
		if p.Changed.After(to) {
			to = p.Changed
		}
	}
	if to.IsZero() {
		return out, nil
	}
	q := hub.LedgerQuery{Kind: hub.BookPayment, From: from, To: to.Add(time.Second), Max: 1000}
	booked, err := a.hub.Transactions(a.r.Context(), a.p.by, q)
	for _, t := range booked {
		out[t.Ref] = splitOf(t)
	}
	return out, err
}

func splitOf(t hub.Transaction) (s split) {
	for _, l := range t.Postings {
		s.currency = l.Currency
		switch {
		case strings.HasPrefix(l.Account, hub.AccountFee):
			s.fee -= l.Amount
		case strings.HasPrefix(l.Account, hub.AccountReseller):
			s.share -= l.Amount
		}
	}
	return s
}

// A paymentView is one payment with all that is known of it.
type paymentView struct {
	payment hub.Payment
	said    []hub.ObservationRow
	split   map[string]split
	sites   map[string]string
	refunds []hub.Refund
}

func (a *call) paymentPage() error { return a.showPayment(a.r.PathValue("id")) }

func (a *call) showPayment(id string) error {
	ctx := a.r.Context()
	v := paymentView{sites: map[string]string{}}
	var err error
	if v.payment, v.said, err = a.hub.PaymentHistory(ctx, a.p.by, id); err != nil {
		return err
	}
	if v.split, err = a.splits([]hub.Payment{v.payment}); err != nil {
		return err
	}
	if v.refunds, err = a.hub.Refunds(ctx, a.p.by, hub.RefundQuery{Payment: id}); err != nil {
		return err
	}
	if err := a.fillSites(v.sites, v.payment.Reseller); err != nil {
		return err
	}
	return a.render(payment(a.p, v))
}

// did ends a form about a payment.
func (a *call) did(id string, err error) error {
	if err == nil {
		return a.redirect("/payments/" + url.PathEscape(id) + "?done=1")
	}
	if a.refused(err) {
		return a.showPayment(id)
	}
	return err
}

func (a *call) lookPayment() error {
	id := a.r.PathValue("id")
	_, err := a.hub.Look(a.r.Context(), a.p.by, id)
	return a.did(id, err)
}

func (a *call) decidePayment() error {
	id, what := a.r.PathValue("id"), a.r.PathValue("what")
	reason := a.f.text(a.p, "reason", 200, true)
	if !a.f.ok() {
		a.f.top = a.f.errs["reason"]
		return a.showPayment(id)
	}
	var err error
	switch what {
	case "accept":
		_, err = a.hub.AcceptReview(a.r.Context(), a.p.by, id, reason)
	case "reject":
		_, err = a.hub.RejectReview(a.r.Context(), a.p.by, id, reason)
	case "refund":
		var r hub.Payment
		if r, _, err = a.hub.PaymentHistory(a.r.Context(), a.p.by, id); err != nil {
			return err
		}
		q := hub.RefundRequest{Payment: id, Reason: reason, Force: a.f.on("force")}
		if a.f.get("amount") != "" {
			q.Amount = int64(a.f.decimal(a.p, "amount", cents(r.Paid.Currency), 1<<50))
			if a.f.top = a.f.errs["amount"]; a.f.top != "" {
				return a.showPayment(id)
			}
		}
		_, err = a.hub.RequestRefund(a.r.Context(), a.p.by, q)
	default:
		return hub.ErrNotFound
	}
	return a.did(id, err)
}

// decideRefund is what a person says about a refund: to send it or not, or
// what a statement shows of it.
func (a *call) decideRefund() error {
	ctx := a.r.Context()
	r, err := a.hub.Refund(ctx, a.p.by, a.r.PathValue("id"))
	if err != nil {
		return err
	}
	yes := a.f.get("yes") == "yes"
	switch a.r.PathValue("what") {
	case "decide":
		_, err = a.hub.DecideRefund(ctx, a.p.by, r.ID, yes)
	case "resolve":
		_, err = a.hub.ResolveRefund(ctx, a.p.by, r.ID, hub.Resolution{Paid: yes, Statement: a.f.get("statement")})
	default:
		return hub.ErrNotFound
	}
	return a.did(r.Payment, err)
}

func (p page) refundState(s hub.RefundState) string {
	switch s {
	case hub.RefundRevoking:
		return p.T("l’accès est retiré", "the access is being taken back")
	case hub.RefundUndecided:
		return p.T("la passerelle n’a pas répondu : à vous de décider", "the gateway has not answered: decide")
	case hub.RefundReady:
		return p.T("prêt à partir", "ready to be sent")
	case hub.RefundSending:
		return p.T("envoyé", "being sent")
	case hub.RefundWaiting:
		return p.T("chez l’opérateur", "at the provider")
	case hub.RefundAmbiguous:
		return p.T("incertain : regardez le relevé", "not known: look into the statement")
	case hub.RefundDone:
		return p.T("fait", "done")
	case hub.RefundFailed:
		return p.T("échoué", "failed")
	}
	return string(s)
}

// resolvable says whether a statement can end a refund.
func resolvable(r hub.Refund) bool {
	return r.State == hub.RefundAmbiguous || r.State == hub.RefundWaiting || r.State == hub.RefundReady && r.Provider == ""
}

// moneyRefusal says what package hub answers about money, in words.
func (p page) moneyRefusal(err error) string {
	var state *hub.StateError
	var code *hub.CodeError
	var kyc *hub.KYCError
	var fields hub.FieldErrors
	var no *hub.RejectedError
	switch {
	case errors.As(err, &state):
		return p.T("Ce n’est plus possible : %s.", "This cannot be done: %s.", state.Error())
	case errors.As(err, &code):
		return p.T("Ce code est faux. Il reste %d essais.", "The code is wrong. %d tries are left.", code.Left)
	case errors.As(err, &kyc):
		return p.T("Il faut d’abord vérifier l’identité du revendeur (KYC). Un administrateur le note.", "The reseller’s identity must be checked first (KYC). An admin notes it.")
	case errors.As(err, &fields):
		return p.T("Le serveur refuse : %s", "The hub refuses: %s", fields.Error())
	case errors.As(err, &no):
		return p.T("L’opérateur refuse : %s.", "The provider refuses: %s.", no.Reason)
	case errors.Is(err, hub.ErrBalance):
		return p.T("Le solde ne suffit pas.", "The balance is too small.")
	case errors.Is(err, hub.ErrMessenger):
		return p.T("Le code n’a pas pu être envoyé ; rien n’est réservé. Essayez plus tard.", "The code could not be sent; nothing is reserved. Try later.")
	case errors.Is(err, hub.ErrPayoutOpen):
		return p.T("Un autre paiement à ce revendeur n’est pas réglé, ou de l’argent manque au relevé : réglez cela d’abord.", "Another payout to this reseller is not settled, or money is missing in a statement: settle that first.")
	case errors.Is(err, hub.ErrNumberWait):
		return p.T("Ce numéro est nouveau pour ce revendeur : il faut attendre.", "This number is new for this reseller: it has to wait.")
	case errors.Is(err, hub.ErrUnsupported):
		return p.T("Le serveur n’est pas réglé pour cela.", "The hub is not set up for this.")
	case errors.Is(err, hub.ErrStale):
		return p.T("Quelqu’un d’autre vient de le changer. Regardez encore.", "Somebody else has just changed it. Look again.")
	}
	return ""
}

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// part is an amount that may not be there.
func (p page) part(amount int64, currency string) string {
	if currency == "" {
		return "–"
	}
	return p.money(amount, currency)
}
