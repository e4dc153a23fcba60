package portal

import (
	"context"
	"errors"
	"net/http"
	"time"

	"zonegate"
	"zonegate/web"
)

// A refusal is one reason for which a request is not done, as every form of
// answer gives it.
type refusal struct {
	err error
	// reason is what programs read.
	reason     string
	status     int
	what, next web.Text
	// retry is when the same request may be tried again, unless the error says
	// it itself; zero means never.
	retry time.Duration
	// about goes into the texts that name something.
	about string
}

// with names what the refusal is about.
func (f refusal) with(about string) refusal {
	f.about = about
	return f
}

var (
	refusalEmpty    = refusal{nil, "empty", http.StatusUnprocessableEntity, web.TextEmpty, web.TextEmptyNext, 0, ""}
	refusalForm     = refusal{nil, "form", http.StatusForbidden, web.TextBadForm, web.TextBadFormNext, 0, ""}
	refusalRequest  = refusal{nil, "request", http.StatusBadRequest, web.TextBadRequest, web.TextNotFoundNext, 0, ""}
	refusalTooLarge = refusal{nil, "too_large", http.StatusRequestEntityTooLarge, web.TextBadRequest, web.TextNotFoundNext, 0, ""}
	refusalNotFound = refusal{nil, "not_found", http.StatusNotFound, web.TextNotFound, web.TextNotFoundNext, 0, ""}
	refusalMethod   = refusal{nil, "method", http.StatusMethodNotAllowed, web.TextBadRequest, web.TextNotFoundNext, 0, ""}
	refusalDevice   = refusal{nil, "unknown_device", http.StatusServiceUnavailable, web.TextUnknownDevice, web.TextUnknownDeviceNext, 5 * time.Second, ""}
	refusalNoAnswer = refusal{nil, "no_answer", http.StatusServiceUnavailable, web.TextNoAnswer, web.TextTryAgainNext, 5 * time.Second, ""}
	refusalStale    = refusal{nil, "form", http.StatusForbidden, web.TextBadForm, web.TextOpenAnyPage, 0, ""}
	refusalSetup    = refusal{nil, "setup", http.StatusServiceUnavailable, web.TextSetup, web.TextSetupNext, 0, ""}
	refusalHere     = refusal{nil, "too_many_here", http.StatusTooManyRequests, web.TextTooManyHere, web.TextWaitNext, 0, ""}
	refusalNoPay    = refusal{nil, "pay_away", http.StatusServiceUnavailable, web.TextPayAway, web.TextPayAwayNext, time.Minute, ""}
	refusalWay      = refusal{nil, "way", http.StatusUnprocessableEntity, web.TextPayWay, web.TextPayWayNext, 0, ""}
	refusalNumber   = refusal{nil, "number", http.StatusUnprocessableEntity, web.TextPayNumberWrong, web.TextPayNumberNext, 0, ""}
	refusalOperator = refusal{nil, "operator", http.StatusConflict, web.TextPayOther, web.TextPayOtherNext, 0, ""}
	refusalFault    = refusal{nil, "fault", http.StatusInternalServerError, web.TextFault, web.TextTryAgainNext, 0, ""}
)

// refusals are the Gate's. Each has its own message, and status codes let a
// program tell what the customer can do: 422 type again, 410 buy again, 409
// confirm, 429 wait, 503 call the seller.
var refusals = []refusal{
	{zonegate.ErrWrongCode, "wrong", http.StatusUnprocessableEntity, web.TextWrong, web.TextWrongNext, 0, ""},
	{zonegate.ErrCodeTooLong, "too_long", http.StatusUnprocessableEntity, web.TextTooLong, web.TextWrongNext, 0, ""},
	{zonegate.ErrWrongPassword, "password", http.StatusUnprocessableEntity, web.TextPassword, web.TextPasswordNext, 0, ""},
	{zonegate.ErrForeignCode, "foreign", http.StatusUnprocessableEntity, web.TextForeign, web.TextForeignNext, 0, ""},
	{zonegate.ErrUsedCode, "used", http.StatusGone, web.TextUsedUp, web.TextUsedUpNext, 0, ""},
	{zonegate.ErrExpiredCode, "expired", http.StatusGone, web.TextExpired, web.TextExpiredNext, 0, ""},
	{zonegate.ErrRevokedCode, "revoked", http.StatusGone, web.TextRevoked, web.TextRevokedNext, 0, ""},
	{zonegate.ErrOtherDevice, "other_device", http.StatusConflict, web.TextOtherDevice, web.TextOtherDeviceNext, 0, ""},
	{zonegate.ErrTooManyCodes, "too_many", http.StatusTooManyRequests, web.TextTooMany, web.TextWaitNext, time.Minute, ""},
	{zonegate.ErrTooOften, "too_often", http.StatusTooManyRequests, web.TextTooOften, web.TextWaitNext, 10 * time.Second, ""},
	{zonegate.ErrMovedRecently, "moved_recently", http.StatusTooManyRequests, web.TextMovedRecently, web.TextWaitNext, time.Minute, ""},
	{zonegate.ErrNotDurable, "not_durable", http.StatusServiceUnavailable, web.TextNotDurable, web.TextNotDurableNext, time.Minute, ""},
	{zonegate.ErrStopped, "stopped", http.StatusServiceUnavailable, web.TextStopped, web.TextTryAgainNext, 10 * time.Second, ""},
	{zonegate.ErrNoGrant, "no_grant", http.StatusPaymentRequired, web.TextNoGrant, web.TextNoGrantNext, 0, ""},
	{zonegate.ErrNoSuchGrant, "no_such_grant", http.StatusNotFound, web.TextNoSuchGrant, web.TextNoSuchGrantNext, 0, ""},
	{zonegate.ErrNotPaidYet, "not_paid_yet", http.StatusConflict, web.TextPayNotYet, web.TextPayNotYetNext, time.Minute, ""},
	{zonegate.ErrPaymentOpen, "payment_open", http.StatusConflict, web.TextPayTaken, web.TextPayTakenNext, time.Minute, ""},
	{zonegate.ErrManyPayments, "many_payments", http.StatusTooManyRequests, web.TextPayLater, web.TextWaitNext, time.Minute, ""},
	{zonegate.ErrPaymentsFull, "payments_full", http.StatusServiceUnavailable, web.TextPayAway, web.TextPayAwayNext, time.Minute, ""},
	{zonegate.ErrNoSuchPlan, "no_such_plan", http.StatusServiceUnavailable, web.TextPayAway, web.TextPayAwayNext, time.Minute, ""},
	{zonegate.ErrGrantEnded, "grant_ended", http.StatusGone, web.TextGrantEnded, web.TextUsedUpNext, 0, ""},
}

// ErrNoAnswer is a Locator's error when nobody could be asked who a customer
// is, which says nothing about the customer.
var ErrNoAnswer = errors.New("nobody could be asked whose address this is")

// stranger returns why nobody knows who asks.
func stranger(err error) refusal {
	if errors.Is(err, ErrNoAnswer) {
		return refusalNoAnswer
	}
	return refusalDevice
}

// explain returns why the Gate refused. An error that is not in the list is a
// fault of ours.
func (s *Server) explain(err error) refusal {
	for _, f := range refusals {
		if errors.Is(err, f.err) {
			var again *zonegate.RetryError
			if errors.As(err, &again) {
				f.retry = again.After
			}
			return f
		}
	}
	if !errors.Is(err, context.Canceled) {
		s.logger().Error("the portal could not answer", "error", err)
	}
	return refusalFault
}

// guess says whether a refusal tells something about the code that was typed.
func (f refusal) guess() bool {
	switch f.status {
	case http.StatusUnprocessableEntity, http.StatusGone, http.StatusConflict:
		return true
	}
	return false
}

// alert writes a refusal for people.
func (f refusal) alert(l web.Lang) *web.Alert {
	what, next := l.Say(f.what), l.Say(f.next)
	switch {
	case f.next == web.TextWaitNext:
		next = l.Say(f.next, l.Wait(f.retry))
	case f.next == web.TextPayNumberNext:
		next = l.Say(f.next, f.about)
	case f.what == web.TextPayOther:
		what = l.Say(f.what, f.about)
	}
	return &web.Alert{What: what, Next: next}
}

// retrySeconds is never early.
func (f refusal) retrySeconds() int64 { return int64((f.retry + time.Second - 1) / time.Second) }
