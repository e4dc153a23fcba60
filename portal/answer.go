package portal

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/a-h/templ"
	"github.com/gin-gonic/gin"

	"zonegate"
	"zonegate/web"
)

// An Answer is what a program reads, from /status.json and from every request
// with Accept: application/json.
type Answer struct {
	Online bool `json:"online"`
	// Reason is a word that does not change: "online", "queued", "pending",
	// "offline", "elsewhere", or why the request was refused. Message says the
	// same to people.
	Reason  string `json:"reason"`
	Message string `json:"message"`
	// RetryAfter is when a refused request can succeed.
	RetryAfter int64 `json:"retry_after_seconds,omitempty"`
	// FormToken must be sent back as f by /connect, /logout and /move.
	FormToken string `json:"form_token,omitempty"`

	*Holding
	Queue []Holding `json:"queue,omitempty"`
}

// A Holding is what is left of one grant.
type Holding struct {
	Token       string `json:"token,omitempty"`
	Plan        string `json:"plan"`
	State       string `json:"state"`
	SecondsLeft int64  `json:"seconds_left"`
	// OctetsLeft is absent without a data cap.
	OctetsLeft *uint64 `json:"octets_left,omitempty"`
	// Ends is absent unless the gateway knows the time.
	Ends *time.Time `json:"ends,omitempty"`
}

func holding(b zonegate.Balance) Holding {
	h := Holding{Token: b.Token, Plan: b.Plan.Name, State: b.State.String(), SecondsLeft: int64(b.TimeLeft / time.Second)}
	if b.Cap != 0 {
		left := b.OctetsLeft
		h.OctetsLeft = &left
	}
	if !b.Ends.IsZero() {
		ends := b.Ends.UTC().Truncate(time.Second)
		h.Ends = &ends
	}
	return h
}

// view is what a page shows of the same.
func (s *Server) view(b zonegate.Balance) web.Balance {
	v := web.Balance{
		Plan: b.Plan.Name, Started: b.State != zonegate.Banked, TimeLeft: b.TimeLeft,
		Cap: b.Cap, Used: b.Used.Total(), OctetsLeft: b.OctetsLeft,
		CIR: b.Plan.Rate.CIRDown, MIR: b.Plan.Rate.MIRDown,
	}
	if !b.Ends.IsZero() {
		zone := s.TimeZone
		if zone == nil {
			zone = time.Local
		}
		v.Ends = b.Ends.In(zone)
	}
	return v
}

func (s *Server) megabyte() uint64 {
	if s.Megabyte == 0 {
		return 1_000_000
	}
	return s.Megabyte
}

// page is what all pages of a request have in common.
func (s *Server) page(c *gin.Context, self, token string) web.Page {
	lang, picked := s.language(c.Request)
	b := s.brand()
	return web.Page{
		Lang: lang, Sticky: picked, Zone: b.Zone, Contact: b.Contact, Message: b.message(lang),
		Megabyte: s.megabyte(), Self: self, Token: token,
	}
}

// show answers with a page.
func (s *Server) show(c *gin.Context, status int, page templ.Component) {
	var b bytes.Buffer
	if err := page.Render(c.Request.Context(), &b); err != nil {
		s.logger().Error("a page could not be made", "route", c.FullPath(), "error", err)
		c.String(http.StatusInternalServerError, "500\n")
		return
	}
	c.Header("Content-Length", strconv.Itoa(b.Len()))
	c.Data(status, html, b.Bytes())
}

// tell answers a program, in one line or as JSON.
func (s *Server) tell(c *gin.Context, status int, f form, a Answer) {
	var body []byte
	kind := plain
	if f == formJSON {
		var err error
		if body, err = json.Marshal(a); err != nil {
			s.logger().Error("an answer could not be written", "route", c.FullPath(), "error", err)
			status = http.StatusInternalServerError
		}
		kind = "application/json; charset=utf-8"
	} else {
		body = []byte(a.Message)
	}
	body = append(body, '\n')
	c.Header("Content-Length", strconv.Itoa(len(body)))
	c.Data(status, kind, body)
}

// see sends a browser to a page of ours after a request that changed something.
func (s *Server) see(c *gin.Context, path string) {
	c.Header("Location", path)
	c.Data(http.StatusSeeOther, plain, []byte("OK\n"))
}

// refuse answers with a refusal that has no form to try again on its page.
func (s *Server) refuse(c *gin.Context, f refusal) {
	s.refuseWith(c, f, func(p web.Page) templ.Component {
		m := web.Message{Page: p, Back: p.Link("/", ""), Button: web.TextGoPortal}
		if f.status >= http.StatusInternalServerError {
			m.Button = web.TextTryAgain
		}
		return web.MessagePage(m)
	})
}

// refuseWith answers with a refusal; page makes the page for browsers.
func (s *Server) refuseWith(c *gin.Context, f refusal, page func(web.Page) templ.Component) {
	if f.retry > 0 {
		c.Header("Retry-After", strconv.FormatInt(f.retrySeconds(), 10))
	}
	otherwise := formText
	if c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead {
		otherwise = formHTML
	}
	p := s.page(c, "/", "")
	alert := f.alert(p.Lang)
	if w := wants(c.Request, otherwise); w != formHTML {
		s.tell(c, f.status, w, Answer{
			Reason: f.reason, Message: alert.What + " " + alert.Next, RetryAfter: f.retrySeconds(),
		})
		return
	}
	p.Alert = alert
	s.show(c, f.status, page(p))
}
