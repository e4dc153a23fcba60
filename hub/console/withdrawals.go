package console

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"zonegate/hub"
)

const withdrawalsShown = 50

// A withdrawalsView is what was withdrawn, with a reseller's balance and the
// form to ask for more.
type withdrawalsView struct {
	reseller  string
	resellers []option
	all       bool // of an admin: not only what waits
	balances  []hub.ResellerBalance
	eligible  []hub.Eligibility // for a reseller
	rules     []hub.WithdrawalRule
	kyc       string
	list      []hub.Withdrawal
	total     int
	after     int
}

func (v withdrawalsView) name(id string) string { return labelOf(v.resellers, id) }

func (v withdrawalsView) address(after int) string {
	q := url.Values{"reseller": {v.reseller}}
	if v.all {
		q.Set("all", "yes")
	}
	if after > 0 {
		q.Set("after", strconv.Itoa(after))
	}
	return "/withdrawals?" + q.Encode()
}

func (v withdrawalsView) currencies() []option {
	var out []option
	for _, r := range v.rules {
		out = append(out, option{r.Currency, r.Currency})
	}
	return out
}

func (v withdrawalsView) operators() []option {
	var out []option
	seen := map[string]bool{}
	for _, r := range v.rules {
		for _, o := range r.Operators {
			if !seen[o] {
				seen[o] = true
				out = append(out, option{o, o})
			}
		}
	}
	return out
}

// ruleInWords says what may be withdrawn.
func (p page) ruleInWords(r hub.WithdrawalRule) string {
	return p.T("De %s à %s. Frais : %s pour mille, de %s à %s, pris sur le montant.", "From %s to %s. Fee: %s per mille, from %s to %s, taken from the amount.",
		p.money(r.Min, r.Currency), p.money(r.Max, r.Currency), p.count(r.FeePermille), p.money(r.FeeMin, r.Currency), p.money(r.FeeMax, r.Currency))
}

func (p page) payoutState(s hub.PayoutState) string {
	switch s {
	case hub.PayoutRequested:
		return p.T("demandé", "asked for")
	case hub.PayoutCodeSent:
		return p.T("code envoyé", "code sent")
	case hub.PayoutVerified:
		return p.T("à payer", "to be paid")
	case hub.PayoutProcessing:
		return p.T("en cours", "on its way")
	case hub.PayoutCompleted:
		return p.T("payé", "paid")
	case hub.PayoutFailed:
		return p.T("échoué, rendu au solde", "failed, given back")
	case hub.PayoutCanceled:
		return p.T("annulé", "canceled")
	case hub.PayoutExpired:
		return p.T("code expiré", "code out of date")
	case hub.PayoutReversed:
		return p.T("revenu", "came back")
	case hub.PayoutAmbiguous:
		return p.T("incertain : ne pas payer encore", "not known: do not pay again")
	}
	return string(s)
}

var kycLevels = []string{hub.KYCUnverified, hub.KYCBasic, hub.KYCVerified, hub.KYCPremium}

func (p page) kyc(level string) string {
	switch level {
	case hub.KYCUnverified:
		return p.T("pas vérifié", "not verified")
	case hub.KYCBasic:
		return p.T("de base", "basic")
	case hub.KYCVerified:
		return p.T("vérifié", "verified")
	case hub.KYCPremium:
		return p.T("étendu", "premium")
	}
	return level
}

func (p page) kycOptions() []option {
	var out []option
	for _, l := range kycLevels {
		out = append(out, option{l, p.kyc(l)})
	}
	return out
}

func (a *call) withdrawalsPage() error {
	q := a.r.URL.Query()
	after, _ := strconv.Atoi(q.Get("after"))
	return a.showWithdrawals(q.Get("reseller"), q.Get("all") != "", after)
}

func (a *call) showWithdrawals(reseller string, all bool, after int) error {
	ctx := a.r.Context()
	v := withdrawalsView{reseller: reseller, all: all, after: max(after, 0)}
	var err error
	if v.resellers, err = a.resellerOptions(a.p.T("tous", "all")); err != nil {
		return err
	}
	if !a.p.admin() && v.reseller == "" {
		v.reseller = a.p.by.Reseller
	}
	if v.reseller != "" {
		if v.balances, err = a.hub.ResellerBalances(ctx, a.p.by, v.reseller); err != nil {
			return err
		}
		if v.kyc, err = a.hub.KYC(ctx, a.p.by, v.reseller); err != nil {
			return err
		}
	}
	if a.p.by.Role == hub.RoleReseller {
		for _, b := range v.balances {
			e, err := a.hub.Eligibility(ctx, a.p.by, b.Currency)
			if errors.Is(err, hub.ErrUnsupported) {
				continue
			} else if err != nil {
				return err
			}
			r, err := a.hub.WithdrawalRuleFor(ctx, a.p.by, b.Currency)
			if err != nil {
				return err
			}
			v.eligible, v.rules = append(v.eligible, e), append(v.rules, r)
		}
	}
	ask := hub.WithdrawalQuery{Reseller: v.reseller, After: v.after, Max: withdrawalsShown}
	if a.p.admin() && !v.all {
		ask.States = []hub.PayoutState{hub.PayoutVerified, hub.PayoutProcessing, hub.PayoutAmbiguous}
	}
	if v.list, v.total, err = a.hub.Withdrawals(ctx, a.p.by, ask); err != nil {
		return err
	}
	return a.render(withdrawals(a.p, v))
}

// requestWithdrawal first shows what the receiver would get, and asks for the
// code once that was confirmed.
func (a *call) requestWithdrawal() error {
	ctx := a.r.Context()
	q := hub.WithdrawalRequest{Currency: a.f.get("currency"), Phone: a.f.text(a.p, "phone", 30, true), Operator: a.f.get("operator")}
	q.Amount = int64(a.f.decimal(a.p, "amount", cents(q.Currency), 1<<50))
	if !a.f.ok() {
		return a.showWithdrawals("", false, 0)
	}
	quote, err := a.hub.WithdrawalQuote(ctx, a.p.by, q.Currency, q.Amount, q.Operator)
	if err == nil && a.f.get("confirmed") == "" {
		return a.render(confirmWithdrawal(a.p, q, quote))
	}
	var w hub.Withdrawal
	if err == nil {
		w, err = a.hub.RequestWithdrawal(ctx, a.p.by, q)
	}
	var fields hub.FieldErrors
	switch {
	case err == nil:
		return a.redirect("/withdrawals/" + url.PathEscape(w.ID) + "?done=1")
	case errors.As(err, &fields):
		for _, f := range fields {
			name := f.Field
			if name == "phone_number" {
				name = "phone"
			}
			a.f.bad(name, f.Text)
		}
	case !a.refused(err):
		return err
	}
	return a.showWithdrawals("", false, 0)
}

func (a *call) withdrawalPage() error { return a.showWithdrawal(a.r.PathValue("id")) }

func (a *call) showWithdrawal(id string) error {
	w, err := a.hub.Withdrawal(a.r.Context(), a.p.by, id)
	if err != nil {
		return err
	}
	rs, err := a.resellerOptions("")
	if err != nil {
		return err
	}
	return a.render(withdrawal(a.p, w, labelOf(rs, w.Reseller)))
}

// changeWithdrawal does what a button of the page says.
func (a *call) changeWithdrawal() error {
	ctx, id := a.r.Context(), a.r.PathValue("id")
	var err error
	switch a.r.PathValue("what") {
	case "code":
		_, err = a.hub.ValidateWithdrawal(ctx, a.p.by, id, a.f.get("code"))
	case "resend":
		_, err = a.hub.ResendWithdrawalCode(ctx, a.p.by, id)
	case "cancel":
		_, err = a.hub.CancelWithdrawal(ctx, a.p.by, id)
	case "claim":
		_, err = a.hub.ClaimWithdrawal(ctx, a.p.by, id)
	case "byhand":
		_, err = a.hub.ClaimByHand(ctx, a.p.by, id)
	case "approve":
		_, err = a.hub.ApproveWithdrawal(ctx, a.p.by, id)
	case "release":
		_, err = a.hub.ReleaseWithdrawal(ctx, a.p.by, id)
	case "complete":
		_, err = a.hub.CompleteWithdrawal(ctx, a.p.by, id, a.f.get("manual"), a.f.get("notes"))
	case "fail":
		_, err = a.hub.FailWithdrawal(ctx, a.p.by, id, a.f.get("reason"))
	case "resolve":
		_, err = a.hub.ResolveWithdrawal(ctx, a.p.by, id, hub.Resolution{Paid: a.f.get("yes") == "yes", Statement: a.f.get("statement")})
	case "reverse":
		_, err = a.hub.ReverseWithdrawal(ctx, a.p.by, id, a.f.get("reason"))
	default:
		return hub.ErrNotFound
	}
	switch {
	case err == nil:
		return a.redirect("/withdrawals/" + url.PathEscape(id) + "?done=1")
	case a.refused(err):
		return a.showWithdrawal(id)
	}
	return err
}

func (a *call) setKYC() error {
	reseller := a.f.get("reseller")
	if err := a.hub.SetKYC(a.r.Context(), a.p.by, reseller, a.f.get("level")); err != nil {
		if a.refused(err) {
			return a.show(http.StatusUnprocessableEntity, errorPage(a.p, a.f.top))
		}
		return err
	}
	return a.redirect("/withdrawals?done=1&reseller=" + url.QueryEscape(reseller))
}

// byHand says whether a person has to pay it.
func byHand(w hub.Withdrawal) bool { return w.Payer == "" }
