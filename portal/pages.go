package portal

import (
	"net/http"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/gin-gonic/gin"

	"zonegate"
	"zonegate/web"
)

// home is where a code is typed, or is already there when the address comes
// from a ticket's picture code. Who is online belongs on the status page.
func (s *Server) home(c *gin.Context) {
	mac, err := s.device(c.Request)
	if err != nil {
		s.refuse(c, stranger(err))
		return
	}
	st := s.Gate.Standing(mac)
	p := s.page(c, "/", "")
	switch {
	case wants(c.Request, formHTML) == formJSON:
		s.tellStanding(c, http.StatusOK, formJSON, st, false)
	case st.Online && c.Query("code") == "":
		s.see(c, p.Link("/status", st.Grant.Token))
	default:
		h := s.homeOf(p, mac, st)
		h.Code = shorten(c.Query("code"))
		s.show(c, http.StatusOK, web.HomePage(h))
	}
}

// add is where a device that is online types one more code: the status page
// loads itself again and would take the half-typed code away.
func (s *Server) add(c *gin.Context) {
	mac, err := s.device(c.Request)
	if err != nil {
		s.refuse(c, stranger(err))
		return
	}
	p := s.page(c, "/add", "")
	s.show(c, http.StatusOK, web.HomePage(s.homeOf(p, mac, s.Gate.Standing(mac))))
}

// homeOf fills the home page.
func (s *Server) homeOf(p web.Page, mac zonegate.MAC, st zonegate.Standing) web.Home {
	h := web.Home{Page: p, FormToken: s.Gate.FormToken(mac), Adding: st.Online}
	if st.Grant != nil && !st.Online {
		b := s.view(*st.Grant)
		h.Waiting = &b
	}
	h.Plans = s.plans()
	s.offer(&h, mac)
	return h
}

// plans are what is sold.
func (s *Server) plans() []web.Plan {
	var plans []web.Plan
	for _, plan := range s.Gate.Plans() {
		plans = append(plans, web.Plan{
			Name: plan.Name, Amount: plan.Price.Amount, Currency: plan.Price.Currency,
			Duration: plan.Duration, Cap: plan.DataCap, Rate: plan.Rate.MIRDown, Devices: plan.DevicesMax,
		})
	}
	return plans
}

// refuseHome answers with a refusal on the page where a code is typed.
func (s *Server) refuseHome(c *gin.Context, mac zonegate.MAC, f refusal, code string) {
	s.refuseWith(c, f, func(p web.Page) templ.Component {
		h := s.homeOf(p, mac, s.Gate.Standing(mac))
		h.Code = code
		h.Confirm = f.reason == "other_device"
		return web.HomePage(h)
	})
}

// status shows what is left: on this device, or of the grant that a token
// names.
func (s *Server) status(c *gin.Context) {
	f := wants(c.Request, formHTML)
	if strings.HasSuffix(c.FullPath(), ".json") {
		f = formJSON
		// A refusal takes the same form.
		c.Request.Header.Set("Accept", "application/json")
	}
	mac, err := s.device(c.Request)
	if err != nil {
		s.refuse(c, stranger(err))
		return
	}
	st := s.Gate.Standing(mac)
	token := c.Query("t")
	if token != "" && !holds(st, token) {
		s.statusOf(c, f, mac, st, token)
		return
	}
	p := s.page(c, "/status", "")
	switch {
	case f != formHTML:
		s.tellStanding(c, http.StatusOK, f, st, false)
	case st.Grant == nil:
		s.see(c, p.Link("/", ""))
	case token != st.Grant.Token:
		// The address to keep is that of the grant in use.
		s.see(c, p.Link("/status", st.Grant.Token))
	default:
		p.Token = token
		p.Notice = notices[c.Query("n")]
		s.show(c, http.StatusOK, web.StatusPage(s.statusPage(c, p, mac, st)))
	}
}

// notices are what a status page may say once after a redirect.
var notices = map[string]web.Text{"queued": web.TextQueued, "moved": web.TextMoved}

func (s *Server) statusPage(c *gin.Context, p web.Page, mac zonegate.MAC, st zonegate.Standing) web.Status {
	page := web.Status{
		Page: p, Online: st.Online, Pending: st.Pending, Balance: s.view(*st.Grant),
		FormToken: s.Gate.FormToken(mac), TimeStops: st.Grant.Plan.Time == zonegate.Online,
		KeepURL: s.base(c.Request) + "/status?t=" + st.Grant.Token, Payment: s.latest(p, mac),
	}
	for _, b := range st.Queue {
		page.Queue = append(page.Queue, s.view(b))
	}
	return page
}

// holds says whether a token names a grant of the device.
func holds(st zonegate.Standing, token string) bool {
	if st.Grant != nil && st.Grant.Token == token {
		return true
	}
	for _, b := range st.Queue {
		if b.Token == token {
			return true
		}
	}
	return false
}

// statusOf is for a token that names nothing that this device can use now.
func (s *Server) statusOf(c *gin.Context, f form, mac zonegate.MAC, st zonegate.Standing, token string) {
	b, err := s.balanceOf(token)
	p := s.page(c, "/status", "")
	switch {
	case f == formHTML && st.Grant != nil && (err != nil || b.State.Ended()):
		// An old address of a customer who has something else now.
		s.see(c, p.Link("/status", st.Grant.Token))
	case err != nil:
		s.refuseHome(c, mac, s.explain(err), "")
	case b.State.Ended():
		s.refuseHome(c, mac, s.explain(zonegate.ErrGrantEnded), "")
	case f == formHTML:
		p.Token = token
		s.show(c, http.StatusOK, web.ElsewherePage(web.Elsewhere{
			Page: p, Balance: elsewhere(s.view(b)), FormToken: s.Gate.FormToken(mac),
		}))
	default:
		h := holding(b)
		h.Token, h.Ends = "", nil
		s.tell(c, http.StatusOK, f, Answer{
			Reason: "elsewhere", Message: p.Lang.Say(web.TextElsewhereTitle) + ".",
			FormToken: s.Gate.FormToken(mac), Holding: &h,
		})
	}
}

// elsewhere keeps the plan and what is left, and nothing about how it was
// used.
func elsewhere(b web.Balance) web.Balance {
	b.Used, b.Ends, b.Started = 0, time.Time{}, true
	return b
}

func (s *Server) balanceOf(token string) (zonegate.Balance, error) {
	id, ok := s.Gate.GrantOf(token)
	if !ok {
		return zonegate.Balance{}, zonegate.ErrNoSuchGrant
	}
	return s.Gate.Balance(id)
}

// tellStanding answers a program with what a device may do. queued says that
// something was bought for later.
func (s *Server) tellStanding(c *gin.Context, status int, f form, st zonegate.Standing, queued bool) {
	lang, _ := s.language(c.Request)
	a := Answer{Online: st.Online && !st.Pending, FormToken: s.Gate.FormToken(st.Device)}
	left := ""
	if st.Grant != nil {
		h := holding(*st.Grant)
		a.Holding = &h
		left = s.view(*st.Grant).Left(lang, s.megabyte())
	}
	for _, b := range st.Queue {
		a.Queue = append(a.Queue, holding(b))
	}
	switch {
	case st.Pending:
		a.Reason, a.Message = "pending", lang.Say(web.TextLinePending)
	case st.Online && queued:
		a.Reason, a.Message = "queued", lang.Say(web.TextLineQueued, left)
	case st.Online:
		a.Reason, a.Message = "online", lang.Say(web.TextLineOnline, left)
	case st.Grant != nil:
		a.Reason, a.Message = "offline", lang.Say(web.TextLineOffline, left)
	default:
		a.Reason, a.Message = "no_grant", lang.Say(web.TextNoGrant)+" "+lang.Say(web.TextNoGrantNext)
	}
	s.tell(c, status, f, a)
}
