package portal

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"zonegate"
	"zonegate/web"
)

// post reads who asks and the form of a request that changes something. It
// answers and returns false when it cannot.
func (s *Server) post(c *gin.Context) (zonegate.MAC, url.Values, bool) {
	if err := c.Request.ParseForm(); err != nil {
		f := refusalRequest
		if errors.As(err, new(*http.MaxBytesError)) {
			f = refusalTooLarge
		}
		s.refuse(c, f)
		return zonegate.MAC{}, nil, false
	}
	mac, err := s.device(c.Request)
	if err != nil {
		s.refuse(c, stranger(err))
		return zonegate.MAC{}, nil, false
	}
	return mac, c.Request.PostForm, true
}

// button is post for the forms that only a page of ours may send.
func (s *Server) button(c *gin.Context) (zonegate.MAC, url.Values, bool) {
	mac, form, ok := s.post(c)
	if !ok {
		return mac, nil, false
	}
	if subtle.ConstantTimeCompare([]byte(form.Get("f")), []byte(s.Gate.FormToken(mac))) != 1 {
		s.refuse(c, refusalForm)
		return mac, nil, false
	}
	return mac, form, true
}

// voucher turns a code into a grant of the device. It needs no token of the
// form: the code is what counts, and one plain request must do.
func (s *Server) voucher(c *gin.Context) {
	mac, form, ok := s.post(c)
	if !ok {
		return
	}
	code := form.Get("code")
	if strings.TrimSpace(code) == "" {
		s.refuseHome(c, mac, refusalEmpty, "")
		return
	}
	before := s.Gate.Standing(mac)
	st, err := s.Gate.Redeem(c.Request.Context(), zonegate.Redemption{
		Code: code, Device: mac, Move: form.Get("move") == "1",
	})
	if err != nil {
		f := s.explain(err)
		s.logger().Debug("code refused", "reason", f.reason, "device", mac)
		s.refuseHome(c, mac, f, shorten(code))
		return
	}
	queued := before.Grant != nil && len(st.Queue) > len(before.Queue)
	notice := ""
	if queued {
		notice = "queued"
	}
	s.succeed(c, st, queued, notice)
}

// shorten keeps what can be a code, for the field that shows it again.
func shorten(code string) string {
	runes := []rune(strings.ToValidUTF8(code, ""))
	return string(runes[:min(len(runes), 64)])
}

// succeed answers a request after which the device is online, or will be.
func (s *Server) succeed(c *gin.Context, st zonegate.Standing, queued bool, notice string) {
	s.logger().Debug("device goes online", "device", st.Device, "pending", st.Pending)
	if f := wants(c.Request, formText); f != formHTML {
		status := http.StatusOK
		if !st.Online || st.Pending {
			status = http.StatusAccepted
		}
		s.tellStanding(c, status, f, st, queued)
		return
	}
	p := s.page(c, "/status", "")
	if st.Grant == nil {
		s.see(c, p.Link("/", ""))
		return
	}
	to := p.Link("/status", st.Grant.Token)
	if notice != "" {
		to += "&n=" + notice
	}
	s.see(c, to)
}

// connect puts a device online that has something left.
func (s *Server) connect(c *gin.Context) {
	mac, _, ok := s.button(c)
	if !ok {
		return
	}
	st, err := s.Gate.Authorize(c.Request.Context(), mac)
	if err != nil {
		s.refuseHome(c, mac, s.explain(err), "")
		return
	}
	s.succeed(c, st, false, "")
}

// logout takes a device offline.
func (s *Server) logout(c *gin.Context) {
	mac, _, ok := s.button(c)
	if !ok {
		return
	}
	if err := s.Gate.Logout(c.Request.Context(), mac); err != nil {
		s.refuse(c, s.explain(err))
		return
	}
	p := s.page(c, "/", "")
	if f := wants(c.Request, formText); f != formHTML {
		s.tell(c, http.StatusOK, f, Answer{Reason: "offline", Message: p.Lang.Say(web.TextLineLoggedOut)})
		return
	}
	s.see(c, p.Link("/", ""))
}

// move brings the grant that a token names to this device.
func (s *Server) move(c *gin.Context) {
	mac, form, ok := s.button(c)
	if !ok {
		return
	}
	st, err := s.Gate.Move(c.Request.Context(), form.Get("t"), mac)
	if err != nil {
		s.refuseHome(c, mac, s.explain(err), "")
		return
	}
	s.succeed(c, st, false, "moved")
}
