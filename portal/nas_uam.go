package portal

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"zonegate/web"
)

// The universal access method of ChilliSpot, as CoovaChilli and uspot have it.
// The NAS redirects a browser to us with res=notyet, its own address (uamip,
// uamport), a challenge, the customer's mac and ip, and md: the MD5 of the whole
// address before it and of the shared uamsecret. A browser signs in at
//
//	http://uamip:uamport/logon?username=...&response=...
//
// where response is the CHAP response (RFC 1994, identifier 0) for the
// challenge, or with a uamsecret for the MD5 of challenge and secret. Then the
// NAS redirects here again with res=success or res=failed (uspot: reject).

const (
	uamLogonPath = "/logon"
	uamPort      = "3990"
)

// fromUAM takes a customer whom a UAM NAS redirects.
func (s *Server) fromUAM(c *gin.Context) {
	q := c.Request.URL.Query()
	lang, _ := s.language(c.Request)
	switch q.Get("res") {
	case "success", "already", "popup1", "popup2", "popup3":
		s.see(c, s.afterUAM(c, q.Get("userurl")))
	case "failed", "reject":
		alert := signInFailed(lang)
		if q.Get("reason") == "timeout" {
			alert = &web.Alert{What: lang.Say(web.TextNoAnswer), Next: lang.Say(web.TextTryAgainNext)}
		}
		s.arriveUAM(c, q, alert, web.TextNone)
	case "logoff":
		s.arriveUAM(c, q, nil, web.TextLineLoggedOut)
	default:
		s.arriveUAM(c, q, nil, web.TextNone)
	}
}

func (s *Server) arriveUAM(c *gin.Context, q url.Values, alert *web.Alert, notice web.Text) {
	ip, err := netip.ParseAddr(q.Get("uamip"))
	port, perr := strconv.ParseUint(q.Get("uamport"), 10, 16)
	if err != nil || perr != nil || port == 0 || ip.Zone() != "" {
		s.refuseSetup(c, "it sends no uamip and uamport; its uamserver must be the address of /nas/uam alone")
		return
	}
	login := "http://" + net.JoinHostPort(ip.Unmap().String(), strconv.FormatUint(port, 10)) + uamLogonPath
	h, known := s.hotspot(login)
	if !known || h.Kind != KindUAM {
		s.refuseSetup(c, "its uamip and uamport are not the login of one that `zonegate nas list` shows; add them with the NAS's --login",
			"uamip", ip, "uamport", port)
		return
	}
	mac, ok := parseMAC(q.Get("mac"))
	challenge, cerr := hex.DecodeString(q.Get("challenge"))
	if !ok || cerr != nil || len(challenge) != 0 && len(challenge) != md5.Size {
		s.refuseSetup(c, "it sends no mac, or no challenge of 16 octets (uspot needs the option challenge)", "nas", h.Name)
		return
	}
	vouched, ok := s.vouches(c.Request, h)
	if !ok {
		s.refuseSetup(c, "its uamsecret is not the one that we have; give both the same", "nas", h.Name)
		return
	}
	s.arrive(c, visit{
		Kind: h.Kind, NAS: h.Name, Login: login, Device: mac[:], Challenge: challenge, Vouched: vouched,
		Own: q.Get("ip") == clientAddr(c.Request.RemoteAddr).String(),
	}, alert, notice)
}

// vouches checks the md of a redirect. With a secret on either side the other
// must have it too: no response would be right.
func (s *Server) vouches(r *http.Request, h Hotspot) (vouched, ok bool) {
	raw := r.URL.RawQuery
	i := strings.LastIndex(raw, "&md=")
	if i < 0 || len(h.UAMSecret) == 0 {
		return false, i < 0 && len(h.UAMSecret) == 0
	}
	sum := md5.New()
	sum.Write([]byte(s.here(r) + r.URL.EscapedPath() + "?" + raw[:i]))
	sum.Write(h.UAMSecret)
	want := strings.ToUpper(hex.EncodeToString(sum.Sum(nil)))
	got := strings.ToUpper(raw[i+len("&md="):])
	good := subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
	return good, good
}

// uamLogon is where a browser signs in. What comes back as userurl is given as
// that to CoovaChilli and as redir to uspot; each leaves the other alone.
func uamLogon(v visit, h Hotspot, user, password, then string) string {
	q := "?username=" + url.QueryEscape(user)
	if len(v.Challenge) == 0 {
		q += "&password=" + url.QueryEscape(password)
	} else {
		challenge := v.Challenge
		if len(h.UAMSecret) > 0 {
			sum := md5.Sum(append(append([]byte(nil), challenge...), h.UAMSecret...))
			challenge = sum[:]
		}
		sum := md5.New()
		sum.Write([]byte{0})
		sum.Write([]byte(password))
		sum.Write(challenge)
		q += "&response=" + hex.EncodeToString(sum.Sum(nil))
	}
	then = url.QueryEscape(then)
	return v.Login + q + "&userurl=" + then + "&redir=" + then
}

// afterUAM is the page for who has been let in: the one that we gave to the
// NAS, or one that says nothing about anybody. Where the customer was going
// before is not followed.
func (s *Server) afterUAM(c *gin.Context, userurl string) string {
	if path, ok := strings.CutPrefix(userurl, s.here(c.Request)+"/nas/status?"); ok {
		if q, err := url.ParseQuery(path); err == nil {
			if b, err := s.balanceOf(q.Get("t")); err == nil {
				p := s.page(c, "", "")
				if lang, ok := web.ParseLang(q.Get("lang")); ok {
					p.Lang, p.Sticky = lang, true
				}
				return p.Link("/nas/status", b.Token) + "&n=online"
			}
		}
	}
	return s.page(c, "", "").Link("/nas/online", "")
}
