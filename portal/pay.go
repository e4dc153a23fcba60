package portal

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/a-h/templ"
	"github.com/gin-gonic/gin"

	"zonegate"
	"zonegate/phone"
	"zonegate/web"
)

// payRoutes are the pages of mobile payments. No number and no code is ever in
// an address; a payment is, by an id that is good on its own device alone.
func (s *Server) payRoutes(e *gin.Engine) {
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		e.Handle(method, "/pay", s.payForm)
		e.Handle(method, "/pay/:intent", s.payment)
	}
	e.POST("/pay", s.pay)
	e.POST("/pay/:intent", s.askNow)
}

// offer adds to the home page what can be paid by mobile money, or why nothing
// can. Nobody is held up who wants to type a code.
func (s *Server) offer(h *web.Home, mac zonegate.MAC) {
	h.Payment = s.latest(h.Page, mac)
	if s.Till == nil {
		return
	}
	channels, online := s.Till.Channels()
	if channels != nil && len(channels) == 0 {
		return
	}
	if !online {
		h.NoPay = web.TextPayOffline
		return
	}
	for i, plan := range s.Gate.Plans() {
		usable, why := s.channelsFor(channels, plan)
		if len(usable) > 0 {
			h.Plans[i].Pay = planLink(h.Page, plan.ID, false)
		} else if why != web.TextNone {
			h.NoPay = why
		}
	}
}

// latest is the page of the newest payment of a device, if more will be heard
// of it; empty otherwise.
func (s *Server) latest(p web.Page, mac zonegate.MAC) string {
	if list := s.Gate.Intents(mac); s.Till != nil && len(list) > 0 {
		if in := &list[0]; undecided(in) || in.State == zonegate.IntentExpired {
			return payLink(p, in.ID)
		}
	}
	return ""
}

func undecided(in *zonegate.Intent) bool {
	return in.State.Open() || in.State == zonegate.IntentPaid && in.Purchase == ""
}

// undecided is the newest payment of a device beside which no other may be
// started.
func (s *Server) undecided(mac zonegate.MAC) (zonegate.Intent, bool) {
	list := s.Gate.Intents(mac)
	for i := range list {
		if undecided(&list[i]) {
			return list[i], true
		}
	}
	return zonegate.Intent{}, false
}

// payLink is the page of a payment.
func payLink(p web.Page, id zonegate.IntentID) string { return p.Link("/pay/"+id.String(), "") }

// planLink is the page where a plan is paid.
func planLink(p web.Page, plan string, again bool) string {
	to := "/pay?plan=" + url.QueryEscape(plan)
	if again {
		to += "&again=1"
	}
	if p.Sticky {
		to += "&lang=" + p.Lang.Tag()
	}
	return to
}

// channelsFor are those that can be used now for a plan, or else why not; none
// and no reason where there are no others.
func (s *Server) channelsFor(channels []zonegate.Channel, plan zonegate.Plan) (usable []zonegate.Channel, why web.Text) {
	for _, ch := range channels {
		switch {
		case plan.Price.Amount <= 0 || ch.Currency != plan.Price.Currency:
		case s.NoPages && ch.Flow == zonegate.FlowRedirect:
			why = web.TextPayNoPages
		case ch.Away != "":
			why = web.TextPayAway
		default:
			usable = append(usable, ch)
		}
	}
	return usable, why
}

// sold is a plan that can be paid by mobile money now, and by which channels.
func (s *Server) sold(id string) (zonegate.Plan, []zonegate.Channel, bool) {
	if s.Till == nil {
		return zonegate.Plan{}, nil, false
	}
	channels, online := s.Till.Channels()
	for _, plan := range s.Gate.Plans() {
		if plan.ID == id && online {
			usable, _ := s.channelsFor(channels, plan)
			return plan, usable, len(usable) > 0
		}
	}
	return zonegate.Plan{}, nil, false
}

// A purchase is what is filled in to pay.
type purchase struct {
	plan            zonegate.Plan
	channels        []zonegate.Channel
	id              zonegate.IntentID
	channel, number string
	// sure says that the odd number was shown once.
	sure bool
}

// payForm is the page where a payment is started. Whoever has one that is not
// decided sees that one, but for another attempt.
func (s *Server) payForm(c *gin.Context) {
	mac, err := s.device(c.Request)
	if err != nil {
		s.refuse(c, stranger(err))
		return
	}
	p := s.page(c, "", "")
	if in, ok := s.undecided(mac); ok && !(c.Query("again") == "1" && s.Gate.Replaceable(in.ID)) {
		s.see(c, payLink(p, in.ID))
		return
	}
	if c.Query("plan") == "" {
		s.see(c, p.Link("/", "")) // the address of the form, without it
		return
	}
	plan, channels, ok := s.sold(c.Query("plan"))
	if !ok {
		s.refuseHome(c, mac, refusalNoPay, "")
		return
	}
	b := purchase{plan: plan, channels: channels}
	_, _ = rand.Read(b.id[:]) // it cannot fail
	s.show(c, http.StatusOK, s.payPage(p, mac, b))
}

func (s *Server) payPage(p web.Page, mac zonegate.MAC, b purchase) templ.Component {
	// The other language would need another page and lose what was typed.
	p.Self = ""
	f := web.PayForm{
		Page: p, Plan: b.plan.Name, Amount: b.plan.Price.Amount, Currency: b.plan.Price.Currency,
		FormToken: s.Gate.FormToken(mac), Phone: b.number, Back: "/",
		Hidden: []web.Field{{Name: "i", Value: b.id.String()}, {Name: "plan", Value: b.plan.ID}},
	}
	if b.sure {
		f.Hidden = append(f.Hidden, web.Field{Name: "sure", Value: b.channel + " " + b.number})
	}
	if s.Gate.Standing(mac).Online {
		f.Back = "/add"
	}
	for _, ch := range b.channels {
		f.Ways = append(f.Ways, web.Way{ID: ch.ID, Name: ch.Name, Picked: ch.ID == b.channel || len(b.channels) == 1})
		if f.Example == "" {
			f.Example = phone.Example(ch.Country)
		}
	}
	return web.PayPage(f)
}

// pay starts a payment and leads to its page. Nothing here waits for anybody
// but the journal.
func (s *Server) pay(c *gin.Context) {
	mac, form, ok := s.button(c)
	if !ok {
		return
	}
	b := purchase{channel: form.Get("way"), number: shortNumber(form.Get("phone"))}
	if b.id, ok = zonegate.ParseIntentID(form.Get("i")); !ok {
		s.refuse(c, refusalForm)
		return
	}
	if b.plan, b.channels, ok = s.sold(form.Get("plan")); !ok {
		s.refuseHome(c, mac, refusalNoPay, "")
		return
	}
	refuse := func(r refusal) {
		s.logger().Debug("payment refused", "reason", r.reason, "device", mac)
		s.refuseWith(c, r, func(p web.Page) templ.Component { return s.payPage(p, mac, b) })
	}
	ch, ok := pick(b.channels, b.channel)
	if !ok {
		refuse(refusalWay)
		return
	}
	b.channel = ch.ID
	request := zonegate.IntentRequest{ID: b.id, Device: mac, Plan: b.plan.ID, Channel: ch.ID}
	if ch.Country != "" {
		number, err := parse(ch, b.number)
		if err != nil {
			refuse(refusalNumber.with(phone.Example(ch.Country)))
			return
		}
		other, odd := otherOperator(b.channels, ch, number)
		if b.sure = odd; odd && form.Get("sure") != b.channel+" "+b.number {
			refuse(refusalOperator.with(other))
			return
		}
		request.Phone = number.E164()
	}
	in, err := s.Gate.OpenIntent(c.Request.Context(), request)
	var open *zonegate.OpenPaymentError
	switch {
	case err == nil && in.Device == mac:
	case errors.As(err, &open) && open.Intent.Device == mac:
		in = open.Intent
	case err == nil:
		refuse(refusalForm) // somebody else's page
		return
	default:
		refuse(s.explain(err))
		return
	}
	s.see(c, payLink(s.page(c, "", ""), in.ID))
}

// askNow has the server asked, for a customer who says that it is paid.
func (s *Server) askNow(c *gin.Context) {
	mac, _, ok := s.button(c)
	if !ok {
		return
	}
	in, ok := s.paymentOf(mac, c.Param("intent"))
	if !ok {
		s.refuse(c, refusalNotFound)
		return
	}
	s.Till.Ask(in.ID)
	s.see(c, payLink(s.page(c, "", ""), in.ID))
}

// paymentOf is a payment of the device, never another's.
func (s *Server) paymentOf(mac zonegate.MAC, name string) (zonegate.Intent, bool) {
	id, ok := zonegate.ParseIntentID(name)
	if s.Till == nil || !ok {
		return zonegate.Intent{}, false
	}
	in, ok := s.Gate.Intent(id)
	return in, ok && in.Device == mac && in.NAS == ""
}

// shortNumber keeps what can be a number, for the field that shows it again.
func shortNumber(s string) string {
	runes := []rune(strings.ToValidUTF8(strings.TrimSpace(s), ""))
	return string(runes[:min(len(runes), 32)])
}

// pick returns the channel with an id, or the only one.
func pick(channels []zonegate.Channel, id string) (zonegate.Channel, bool) {
	for _, ch := range channels {
		if ch.ID == id || id == "" && len(channels) == 1 {
			return ch, true
		}
	}
	return zonegate.Channel{}, false
}

func parse(ch zonegate.Channel, typed string) (phone.Number, error) {
	if ch.Test {
		return phone.ParseTest(ch.Country, typed)
	}
	return phone.Parse(ch.Country, typed)
}

// otherOperator says that a number was given out by the operator of another
// channel than the one that was picked. It may have moved since, so it is only
// asked about.
func otherOperator(channels []zonegate.Channel, picked zonegate.Channel, n phone.Number) (name string, odd bool) {
	operator := strings.ToUpper(n.Operator())
	is := func(ch zonegate.Channel) bool { return strings.Contains(strings.ToUpper(ch.ID+" "+ch.Name), operator) }
	if operator == "" || picked.Test || is(picked) {
		return "", false
	}
	for _, ch := range channels {
		if is(ch) {
			return ch.Name, true
		}
	}
	return "", false
}
