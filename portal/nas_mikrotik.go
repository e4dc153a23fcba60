package portal

import (
	"crypto/md5"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"zonegate/web"
)

// The hotspot of RouterOS, as its manual describes it under "Hotspot
// customisation": a login page of its own writes variables into the address
// that it leads to, and a form with username, password and dst signs in. With
// the method http-chap the password is the MD5 of chap-id, password and
// chap-challenge, in hexadecimal.

const mikrotikLoginPath = "/login"

// MikroTikLogin is the login page for a hotspot's directory on a RouterOS
// machine, which sends every customer to the portal at an address such as
// http://192.168.88.2:2050. It needs no script. Variables that end in -esc are
// written for an address; the others need it not.
func MikroTikLogin(portal string) string {
	to := strings.TrimSuffix(portal, "/") + "/nas/mikrotik" +
		"?mac=$(mac)&amp;ip=$(ip)&amp;username=$(username-esc)" +
		"&amp;link-login-only=$(link-login-only)" +
		"&amp;chap-id=$(chap-id-esc)&amp;chap-challenge=$(chap-challenge-esc)" +
		"&amp;error=$(error-esc)"
	return loginPage(to)
}

// MikroTikLead is the login page where zonegate lets customers in over the
// router's API. The hotspot need not say who they are: the portal asks the
// router who has their address.
func MikroTikLead(portal string) string {
	return loginPage(strings.TrimSuffix(portal, "/") + "/")
}

func loginPage(to string) string {
	return `<!doctype html>
<html>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="pragma" content="no-cache">
<meta http-equiv="expires" content="-1">
<meta http-equiv="refresh" content="0; url=` + to + `">
<title>WiFi</title>
</head>
<body>
<p><a href="` + to + `">Continuer / Continue</a></p>
</body>
</html>
`
}

// fromMikroTik takes a customer from the login page of a RouterOS hotspot, by
// an address or by a form.
func (s *Server) fromMikroTik(c *gin.Context) {
	if err := c.Request.ParseForm(); err != nil {
		s.refuseAway(c, refusalRequest, "")
		return
	}
	form := c.Request.Form
	login, ok := loginURL(form.Get("link-login-only"))
	h, known := s.hotspot(login)
	if !ok || !known || h.Kind != KindMikroTik || !strings.HasSuffix(login, mikrotikLoginPath) {
		s.refuseSetup(c, "its login page is not one of those that `zonegate nas list` shows; add it with the NAS's --login",
			"login", shorten(form.Get("link-login-only")))
		return
	}
	mac, ok := parseMAC(form.Get("mac"))
	if !ok {
		s.refuseSetup(c, "its login.html does not send the customer's mac; use the file that zonegate prints", "nas", h.Name)
		return
	}
	id, idOK := unescapeOctal(form.Get("chap-id"))
	challenge, challengeOK := unescapeOctal(form.Get("chap-challenge"))
	if !idOK || !challengeOK || len(id) > 1 || len(challenge) > 64 || (len(id) == 0) != (len(challenge) == 0) {
		s.refuseSetup(c, "its login.html does not send chap-id and chap-challenge as they are; use the file that zonegate prints", "nas", h.Name)
		return
	}
	v := visit{
		Kind: h.Kind, NAS: h.Name, Login: login, Device: mac[:], ChapID: id, Challenge: challenge,
		Own: form.Get("ip") == clientAddr(c.Request.RemoteAddr).String(),
	}
	s.arrive(c, v, s.mikrotikAlert(c.Request, form.Get("error"), form.Get("username")), web.TextNone)
}

// mikrotikAlert explains why the hotspot has not let somebody in. The text that
// it sends is never shown: anybody could write it.
func (s *Server) mikrotikAlert(r *http.Request, problem, user string) *web.Alert {
	lang, _ := s.language(r)
	problem = strings.ToLower(problem)
	_, byMAC := parseMAC(user)
	switch {
	case problem == "":
		return nil
	case strings.Contains(problem, "not responding"), strings.Contains(problem, "already authorizing"):
		return &web.Alert{What: lang.Say(web.TextNoAnswer), Next: lang.Say(web.TextTryAgainNext)}
	case byMAC:
		// The hotspot has tried the device's address by itself. The customer
		// has not done anything yet.
		return nil
	}
	return signInFailed(lang)
}

func signInFailed(l web.Lang) *web.Alert {
	return &web.Alert{What: l.Say(web.TextSignInFailed), Next: l.Say(web.TextSignInFailedNext)}
}

// mikrotikPassword is what the hotspot wants to see.
func mikrotikPassword(v visit, password string) string {
	if len(v.ChapID) == 0 {
		return password
	}
	h := md5.New()
	h.Write(v.ChapID)
	h.Write([]byte(password))
	h.Write(v.Challenge)
	return hex.EncodeToString(h.Sum(nil))
}

// unescapeOctal reads octets of which RouterOS writes some or all as a
// backslash and three octal digits, as for a JavaScript string.
func unescapeOctal(s string) ([]byte, bool) {
	if len(s) > 4*64 {
		return nil, false
	}
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		if i+3 >= len(s) {
			return nil, false
		}
		var n uint
		for _, d := range []byte(s[i+1 : i+4]) {
			if d < '0' || d > '7' {
				return nil, false
			}
			n = n<<3 | uint(d-'0')
		}
		if n > 255 {
			return nil, false
		}
		out = append(out, byte(n))
		i += 3
	}
	return out, true
}
