package portal

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"zonegate"
	"zonegate/web"
)

// How long a payment is watched closely, and when its page says not to wait.
const (
	payLong  = 90 * time.Second
	payHurry = 3 * time.Minute
	paySlow  = 30 * time.Minute
)

// payment is the page of a payment that was started. It outlives whatever the
// browser does: the payment is the device's.
func (s *Server) payment(c *gin.Context) {
	mac, err := s.device(c.Request)
	if err != nil {
		s.refuse(c, stranger(err))
		return
	}
	in, ok := s.paymentOf(mac, c.Param("intent"))
	if !ok {
		s.refuse(c, refusalNotFound)
		return
	}
	s.Gate.Waiting(mac)
	p := s.page(c, "/pay/"+in.ID.String(), "")
	f := wants(c.Request, formHTML)
	if st := s.Gate.Standing(mac); f == formHTML && in.Purchase != "" && st.Grant != nil {
		to := p.Link("/status", st.Grant.Token)
		if len(st.Queue) > 0 {
			to += "&n=queued"
		}
		s.see(c, to)
		return
	}
	w := s.paymentPage(p, in)
	if f != formHTML {
		message := strings.Join(append([]string{strings.TrimSuffix(p.Lang.Say(w.Title), "…") + "."}, w.Lines...), " ")
		s.tell(c, http.StatusOK, f, Answer{Reason: "payment_" + in.State.String(), Message: message, FormToken: s.Gate.FormToken(mac)})
		return
	}
	w.FormToken = s.Gate.FormToken(mac)
	s.show(c, http.StatusOK, web.PaymentPage(w))
}

func (s *Server) paymentPage(p web.Page, in zonegate.Intent) web.Payment {
	self, say := payLink(p, in.ID), p.Lang.Say
	w := web.Payment{Page: p, Plan: in.Plan.ID, Sum: p.Lang.Price(in.Price.Amount, in.Price.Currency)}
	for _, plan := range s.Gate.Plans() {
		if plan.ID == in.Plan.ID {
			w.Plan = plan.Name
		}
	}
	channel := s.channel(in.Channel)
	if channel.Name != "" {
		w.Sum += " · " + channel.Name
	}
	if n := len(in.Phone); n >= 2 {
		w.Sum += " · ••••\u00a0" + in.Phone[n-2:]
	}
	switch in.State {
	case zonegate.IntentFailed, zonegate.IntentCanceled:
		w.Title = web.TextPayFailed
		if in.State == zonegate.IntentCanceled {
			w.Title = web.TextPayCanceled
		}
		if in.Reason != "" {
			w.Lines = append(w.Lines, in.Reason)
		}
		w.Lines = append(w.Lines, say(web.TextPayNothing))
		w.Next, w.Button = planLink(p, in.Plan.ID, false), web.TextTryAgain
		return w
	case zonegate.IntentRefunded:
		w.Title = web.TextPayRefunded
		w.Next, w.Button = p.Link("/", ""), web.TextPayBack
		return w
	case zonegate.IntentReview:
		w.Title, w.Lines = web.TextPayReview, []string{say(web.TextSetupNext)}
		return w
	case zonegate.IntentPaid:
		w.Title, w.Done, w.Code = web.TextPayReceived, true, s.Gate.ClaimCode(in.ID)
		if in.Purchase == "" {
			w.Lines, w.Refresh = []string{say(web.TextPendingHint)}, refresh(0, self)
		} else {
			// It was used up, or is on another device.
			w.Next, w.Button = p.Link("/", ""), web.TextPayBack
		}
		return w
	}
	w.Code, w.Refresh = s.Gate.ClaimCode(in.ID), refresh(in.Age, self)
	w.Ask = self
	if in.State == zonegate.IntentExpired {
		w.Title, w.Lines = web.TextPayExpired, []string{say(web.TextPayExpiredHint)}
		w.Next, w.Button = planLink(p, in.Plan.ID, false), web.TextPayAgain
		return w
	}
	s.underWay(&w, in, channel)
	if s.Gate.Replaceable(in.ID) {
		w.Next, w.Button = planLink(p, in.Plan.ID, true), web.TextPayAgain
	}
	return w
}

func (s *Server) channel(id string) zonegate.Channel {
	channels, _ := s.Till.Channels()
	for _, ch := range channels {
		if ch.ID == id {
			return ch
		}
	}
	return zonegate.Channel{}
}

// underWay says what the customer has to do for an open payment.
func (s *Server) underWay(w *web.Payment, in zonegate.Intent, ch zonegate.Channel) {
	say := w.Lang.Say
	flow := in.Flow
	if flow == "" {
		flow = ch.Flow
	}
	switch {
	case flow == zonegate.FlowPush && (in.State == zonegate.IntentPending || in.Unsure):
		w.Title, w.Lines = web.TextPayConfirm, []string{say(web.TextPayConfirmHint)}
	case flow == zonegate.FlowPush || in.URL == "" || s.PageOpen != nil && !s.PageOpen(in.Device):
		// Nobody has asked for the money yet.
		w.Title, w.Lines = web.TextPayStarting, []string{say(web.TextPayWait)}
	case !payable(in.URL, ch.Hosts):
		// Nobody is sent to where the provider is not.
		w.Title, w.Lines = web.TextPayStarting, []string{say(web.TextPayAway)}
	default:
		w.Title, w.Lines, w.URL = web.TextPayThere, []string{say(web.TextPayThereHint)}, in.URL
	}
	if in.Age >= payLong {
		w.Lines = []string{say(web.TextPayLong)}
	}
}

// refresh is when the page of a payment of that age is loaded again.
func refresh(age time.Duration, self string) string {
	every := 60
	switch {
	case age < payHurry:
		every = 2
	case age < paySlow:
		every = 10
	}
	return strconv.Itoa(every) + ";url=" + self
}

// payable says whether an address is a page of one of the hosts, over HTTPS at
// its own port. "*.example.org" is every host below.
func payable(address string, hosts []string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Opaque != "" || u.Port() != "" && u.Port() != "443" {
		return false
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	for _, h := range hosts {
		below, wild := strings.CutPrefix(strings.ToLower(h), "*")
		if host != "" && (!wild && host == below || wild && below != "" && strings.HasSuffix(host, below)) {
			return true
		}
	}
	return false
}
