package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"zonegate/hub"
)

// errForm is a form that was not on a page of ours, or of another session.
var errForm = errors.New("the form is not of this session")

// errLong is a body that no form of ours has.
var errLong = errors.New("the form is too long")

// overTLS says whether the browser came by HTTPS.
func (a *call) overTLS() bool { return a.console.secure || a.r.TLS != nil }

// cookieName binds a cookie to this host, where the browser can.
func (a *call) cookieName(name string) string {
	if a.overTLS() {
		return "__Host-zonehub-" + name
	}
	return "zonehub-" + name
}

func (a *call) cookie(name string) string {
	c, err := a.r.Cookie(a.cookieName(name))
	if err != nil {
		return ""
	}
	return c.Value
}

// setCookie keeps a value in the browser until a time; the zero time ends with
// the browser.
func (a *call) setCookie(name, value string, until time.Time) {
	http.SetCookie(a.w, &http.Cookie{Name: a.cookieName(name), Value: value, Path: "/", Expires: until,
		HttpOnly: true, Secure: a.overTLS(), SameSite: http.SameSiteStrictMode})
}

func (a *call) dropCookie(name string) {
	http.SetCookie(a.w, &http.Cookie{Name: a.cookieName(name), Path: "/", MaxAge: -1,
		HttpOnly: true, Secure: a.overTLS(), SameSite: http.SameSiteStrictMode})
}

// formToken is what the forms of a session carry: who cannot read the cookie
// cannot know it.
func (a *call) formToken(cookie string) string {
	m := hmac.New(sha256.New, a.console.key)
	m.Write([]byte("form\x00" + cookie))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// session finds out who calls. It says false if nobody has signed in.
func (a *call) session() (bool, error) {
	token := a.cookie("session")
	if token == "" {
		return false, nil
	}
	id, epoch, err := a.console.tokens.Check(token)
	if err != nil {
		a.dropCookie("session")
		return false, nil
	}
	by, err := a.hub.Actor(a.r.Context(), id, epoch)
	if errors.Is(err, hub.ErrUnauthorized) {
		a.dropCookie("session")
		return false, nil
	} else if err != nil {
		return false, err
	}
	a.p.by, a.p.token = by, a.formToken(token)
	return true, nil
}

// visit is the session of somebody who may not have signed in, so that these
// forms have a token too.
func (a *call) visit() error {
	if in, err := a.session(); in || err != nil {
		return err
	}
	v := a.cookie("visit")
	if v == "" || len(v) > 100 {
		if a.r.Method == http.MethodPost {
			return errForm
		}
		v = rand.Text()
		a.setCookie("visit", v, time.Time{})
	}
	a.p.token = a.formToken(v)
	return nil
}

// readForm reads a form and checks its token.
func (a *call) readForm() error {
	most := int64(maxForm)
	switch a.r.URL.Path {
	case "/vouchers/csv":
		most = maxCodes
	case "/reconciliation/import":
		most = maxStatement
	}
	a.r.Body = http.MaxBytesReader(a.w, a.r.Body, most)
	if err := a.r.ParseForm(); err != nil {
		return errLong
	}
	if !hmac.Equal([]byte(a.r.PostForm.Get("token")), []byte(a.p.token)) {
		return errForm
	}
	for _, vs := range a.r.PostForm {
		for _, v := range vs {
			if !utf8.ValidString(v) {
				return errForm
			}
		}
	}
	a.f = newForm(a.r.PostForm)
	a.p.f = a.f
	return nil
}

// readLang is the language that was picked, or the browser's, or French.
func (a *call) readLang() lang {
	switch a.cookie("language") {
	case "fr":
		return french
	case "en":
		return english
	}
	for _, v := range strings.Split(a.r.Header.Get("Accept-Language"), ",") {
		switch v = strings.ToLower(strings.TrimSpace(v)); {
		case strings.HasPrefix(v, "fr"):
			return french
		case strings.HasPrefix(v, "en"):
			return english
		}
	}
	return french
}

// language switches it and returns to the page, if that is one of ours.
func (a *call) language() error {
	to := a.f.get("to")
	if to != "fr" && to != "en" {
		return hub.ErrNotFound
	}
	a.setCookie("language", to, a.console.now().AddDate(1, 0, 0))
	return a.redirect(ownPath(a.f.get("back")))
}

// ownPath is a path of ours, whatever somebody wrote into a form.
func ownPath(path string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") {
		return "/"
	}
	return path
}

// tooOften answers whoever tries too often.
func (a *call) tooOften(name string) bool {
	wait := a.console.attempt(a.r, name)
	if wait <= 0 {
		return false
	}
	a.w.Header().Set("Retry-After", a.p.seconds(wait))
	a.f.top = a.p.T("Trop d’essais. Attendez %s, puis essayez encore.", "Too many attempts. Wait %s, then try again.", a.p.wait(wait))
	return true
}

func (a *call) loginPage() error {
	if a.p.by.User != "" {
		return a.redirect("/fleet")
	}
	return a.render(loginPage(a.p))
}

func (a *call) login() error {
	name := a.f.text(a.p, "name", 80, true)
	password := a.f.values.Get("password")
	if password == "" {
		a.f.bad("password", a.p.T("Écrivez le mot de passe.", "Write the password."))
	}
	if !a.f.ok() {
		return a.render(loginPage(a.p))
	}
	if a.tooOften(strings.ToLower(name)) {
		return a.show(http.StatusTooManyRequests, loginPage(a.p))
	}
	u, err := a.hub.Login(a.r.Context(), name, password)
	if errors.Is(err, hub.ErrUnauthorized) {
		a.f.top = a.p.T("Le nom ou le mot de passe n’est pas juste.", "The name or the password is not right.")
		return a.show(http.StatusUnauthorized, loginPage(a.p))
	} else if err != nil {
		return err
	}
	return a.signIn(u)
}

func (a *call) signIn(u hub.User) error {
	token, expires, err := a.console.tokens.Issue(u)
	if err != nil {
		return err
	}
	a.setCookie("session", token, expires)
	a.dropCookie("visit")
	return a.redirect("/fleet")
}

func (a *call) logout() error {
	a.dropCookie("session")
	return a.redirect("/login")
}

func (a *call) setUpPage() error {
	a.f.values.Set("link", a.r.URL.Query().Get("token"))
	return a.render(setUpPage(a.p))
}

func (a *call) setUp() error {
	name := a.f.userName(a.p)
	password := a.f.newPassword(a.p)
	if !a.f.ok() {
		return a.render(setUpPage(a.p))
	}
	if a.tooOften("") {
		return a.show(http.StatusTooManyRequests, setUpPage(a.p))
	}
	u, err := a.hub.SetUp(a.r.Context(), a.f.get("link"), name, password)
	switch {
	case errors.Is(err, hub.ErrSetUp):
		a.f.top = a.p.T("Ce serveur a déjà un administrateur : le lien a servi. Connectez-vous.",
			"This hub has an admin already: the link was used. Sign in.")
		return a.show(http.StatusConflict, setUpPage(a.p))
	case errors.Is(err, hub.ErrUnauthorized):
		a.f.top = a.p.T("Ce lien n’est pas le bon. Prenez celui que le serveur a écrit à son dernier démarrage.",
			"This is not the right link. Take the one that the hub wrote when it was last started.")
		return a.show(http.StatusForbidden, setUpPage(a.p))
	case errors.Is(err, hub.ErrExpired):
		a.f.top = a.p.T("Ce lien est trop vieux. Redémarrez le serveur : il en écrit un autre.",
			"This link is out of date. Restart the hub: it writes another one.")
		return a.show(http.StatusForbidden, setUpPage(a.p))
	case err != nil:
		if a.refused(err) {
			return a.render(setUpPage(a.p))
		}
		return err
	}
	return a.signIn(u)
}

func (a *call) accountPage() error { return a.render(accountPage(a.p)) }

// account changes one's own password. All sessions end, this one begins anew.
func (a *call) account() error {
	if a.tooOften(a.p.by.Name) {
		return a.show(http.StatusTooManyRequests, accountPage(a.p))
	}
	_, err := a.hub.Login(a.r.Context(), a.p.by.Name, a.f.values.Get("old"))
	if errors.Is(err, hub.ErrUnauthorized) {
		a.f.bad("old", a.p.T("Ce n’est pas votre mot de passe actuel.", "This is not your present password."))
	} else if err != nil {
		return err
	}
	password := a.f.newPassword(a.p)
	if !a.f.ok() {
		return a.render(accountPage(a.p))
	}
	if err := a.hub.SetPassword(a.r.Context(), a.p.by, a.p.by.User, password); err != nil {
		if a.refused(err) {
			return a.render(accountPage(a.p))
		}
		return err
	}
	u, err := a.hub.Login(a.r.Context(), a.p.by.Name, password)
	if err != nil {
		return err
	}
	return a.signIn(u)
}
