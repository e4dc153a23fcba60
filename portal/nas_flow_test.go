package portal_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"zonegate"
	"zonegate/portal"
)

// A customer whom a MikroTik holds goes all the way without a script, with
// either way to send a password.
func TestMikroTikLogin(t *testing.T) {
	for _, pap := range []bool{false, true} {
		z := newNASZone(t)
		m := z.newMikroTik("bar", macA)
		m.pap = pap
		code := z.codes("b-day", 1)[0]
		s := newSurfer(t)
		s.open(m.URL + "/somewhere")
		s.sees("Bienvenue", "Votre code", "Forfait jour", `href="/nas/login?lang=en&amp;s=`)
		if z.tickets.len() != 0 {
			t.Error("a ticket was made for nothing")
		}
		s.send("/nas/voucher", "code", strings.ToLower(code))
		if st := z.gate.Standing(macA); st.Online || st.Grant == nil {
			t.Fatalf("before the NAS asked: %+v, at %s: %s", st, s.at, readable(s.page))
		}
		// The answer leads to the NAS and nowhere else.
		policy := s.header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "form-action 'self' "+m.URL+";") || !strings.Contains(policy, "script-src 'sha256-") || strings.Contains(policy, "unsafe") {
			t.Errorf("policy %q", policy)
		}
		s.press(m.URL + "/login")
		if !m.online {
			t.Fatalf("pap %v: the NAS has not let the customer in: %s, it got %v", pap, m.error, m.posted)
		}
		token := z.gate.Standing(macA).Grant.Token
		if want := z.portal.URL + "/nas/status?t=" + token + "&n=online"; s.at.String() != want {
			t.Errorf("at %s, want %s", s.at, want)
		}
		s.sees("Vous êtes connecté", "Forfait jour", `content="30;url=/nas/status?t=`+token+`"`)
		s.seesNot("Se déconnecter", "/add", "/logout", "/connect", "/move")
		if st := z.gate.Standing(macA); !st.Online || st.NAS != "bar" {
			t.Errorf("%+v", st)
		}
		for _, secret := range []string{code, token} {
			for _, address := range s.seen {
				if strings.Contains(address, secret) && !strings.HasPrefix(address, z.portal.URL+"/nas/status?") {
					t.Errorf("%q is in the address %s", secret, address)
				}
			}
			if strings.Contains(z.logged.String(), secret) {
				t.Errorf("%q is in the log", secret)
			}
		}
	}
}

// The same with UAM: CoovaChilli with and without its secret or its challenge,
// and uspot.
func TestUAMLogin(t *testing.T) {
	for name, arrange := range map[string]func(*uam){
		"coovachilli":          func(*uam) {},
		"without secret":       func(u *uam) { u.secret = "" },
		"without challenge":    func(u *uam) { u.plain = true },
		"uspot":                func(u *uam) { u.uspot = true },
		"with a slash":         func(u *uam) { u.uspot, u.slash = true, "/" },
		"uspot without secret": func(u *uam) { u.uspot, u.secret = true, "" },
	} {
		t.Run(name, func(t *testing.T) {
			z := newNASZone(t)
			u := z.newUAM("ecole", macA, "a secret of 20 octets")
			arrange(u)
			z.book[u.host()] = portal.Hotspot{Name: "ecole", Kind: portal.KindUAM, UAMSecret: []byte(u.secret)}
			s := newSurfer(t)
			s.lang = "en"
			s.open(u.URL + "/")
			s.sees("Welcome", "Your code")
			// Browsers hold the redirect to the form's policy.
			if policy := s.header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self' "+u.URL+";") {
				t.Errorf("policy %q", policy)
			}
			s.send("/nas/voucher", "code", z.codes("a-hour", 1)[0])
			token := z.gate.Standing(macA).Grant.Token
			if want := z.portal.URL + "/nas/status?t=" + token + "&n=online"; s.at.String() != want || !u.online {
				t.Errorf("at %s, want %s; online %v", s.at, want, u.online)
			}
			s.sees("You are online", "1 heure")
			// It may come back later, and log off.
			u.userurl = "http://example.com/"
			s.open(u.address("already", ""))
			s.sees("You are online")
			s.seesNot("1 heure", token)
			s.open(u.URL + "/logoff")
			s.sees("You are disconnected.", "Your code")
		})
	}
}

// What a NAS refuses comes back with words that help, in both languages, and
// the button does the rest.
func TestNASRefuses(t *testing.T) {
	z := newNASZone(t)
	m := z.newMikroTik("bar", macA)
	u := z.newUAM("ecole", macB, "")
	for _, lang := range []struct{ tag, failed, silent, again string }{
		{"fr", "La connexion n’a pas marché.", "attend une réponse", "Vous avez déjà un forfait"},
		{"en", "The connection did not work.", "waits for an answer", "already have a plan"},
	} {
		s := newSurfer(t)
		s.lang = lang.tag
		s.open(m.URL + "/")
		s.press("/nas/connect")
		s.press(m.URL + "/login") // nothing was bought
		s.sees(lang.failed, lang.again)
		if strings.Index(s.page, "/nas/connect") > strings.Index(s.page, "/nas/voucher") {
			t.Error("after a failure going on comes first")
		}
		s.seesNot("invalid username")
		m.down = true
		s.press("/nas/connect")
		s.press(m.URL + "/login")
		s.sees(lang.silent)
		m.down = false

		s.open(u.URL + "/")
		s.press("/nas/connect")
		s.sees(lang.failed)
		u.down = true
		s.press("/nas/connect")
		s.sees(lang.silent)
		u.down, u.uspot = false, true
		s.press("/nas/connect")
		s.sees(lang.failed)
		u.uspot = false
	}

	// A challenge that the NAS has forgotten costs one more tap.
	code := z.codes("a-hour", 1)[0]
	s := newSurfer(t)
	s.open(m.URL + "/")
	m.mu.Lock()
	m.challenge = []byte("another challenge")
	m.mu.Unlock()
	s.send("/nas/voucher", "code", code)
	s.press(m.URL + "/login")
	s.sees("La connexion n’a pas marché.")
	s.press("/nas/connect")
	s.press(m.URL + "/login")
	s.sees("Vous êtes connecté")
	if !z.gate.Standing(macA).Online {
		t.Error("not online")
	}
}

// RouterOS tries a device's address before it shows its login page: that is no
// failure of the customer's.
func TestMikroTikTriedTheAddress(t *testing.T) {
	z := newNASZone(t)
	m := z.newMikroTik("bar", macA)
	m.loginHTML = strings.NewReplacer("$(error-esc)", "invalid+username+or+password", "$(username-esc)", "02%3A00%3A00%3A00%3A00%3A0A").Replace(m.loginHTML)
	s := newSurfer(t)
	s.open(m.URL + "/")
	s.sees("Bienvenue")
	s.seesNot("n’a pas marché")
}

// The other language keeps everything.
func TestNASLanguages(t *testing.T) {
	z := newNASZone(t)
	m := z.newMikroTik("bar", macA)
	s := newSurfer(t)
	s.open(m.URL + "/")
	i := strings.Index(s.page, `<a href="`) + len(`<a href="`)
	s.open(strings.ReplaceAll(s.page[i:i+strings.IndexByte(s.page[i:], '"')], "&amp;", "&"))
	s.sees("Welcome", `action="/nas/voucher?lang=en"`)
	s.send("/nas/voucher?lang=en", "code", "1234")
	s.sees("This code is not right.")
	s.send("/nas/voucher?lang=en", "code", z.codes("a-hour", 1)[0])
	s.sees("Connecting")
	s.press(m.URL + "/login")
	s.sees("You are online", "lang=en")
}

// A code in use on another phone asks first.
func TestNASMovesACode(t *testing.T) {
	z := newNASZone(t)
	m := z.newMikroTik("bar", macA)
	code := z.codes("b-day", 1)[0]
	z.must(z.gate.Redeem(t.Context(), zonegate.Redemption{Code: code, Device: macB}))
	s := newSurfer(t)
	s.open(m.URL + "/")
	s.send("/nas/voucher", "code", code)
	if s.status != http.StatusConflict {
		t.Errorf("status %d", s.status)
	}
	s.sees("Voulez-vous l’utiliser ici ?")
	s.send("/nas/voucher", "move", "1")
	s.press(m.URL + "/login")
	s.sees("Vous êtes connecté", "Forfait jour")
	if z.gate.Standing(macB).Grant != nil || !z.gate.Standing(macA).Online {
		t.Error("the code has not moved")
	}
}

// Who claims to be a device learns nothing about what it has, and gets nothing
// of it: not by going on, and not with a code of his own.
func TestClaimedDeviceIsNotKnown(t *testing.T) {
	z := newNASZone(t)
	rich := z.redeem("c-month", macB)
	m := z.newMikroTik("bar", macA)
	// macA is the liar's; the page that he shows us says macB.
	page := m.loginHTML
	m.loginHTML = strings.ReplaceAll(page, "$(mac)", macB.String())
	poor := z.newMikroTik("hotel", macA)
	poor.loginHTML = strings.ReplaceAll(page, "$(mac)", "02-00-00-00-00-0c")
	secrets := []string{rich.Grant.Token, "28 jours", "29 jours", "30\u00a0jours", "20\u00a0Go"}

	var pages []string
	for _, m := range []*mikrotik{m, poor} {
		s := newSurfer(t)
		s.open(m.URL + "/")
		pages = append(pages, s.page)
		s.press("/nas/connect")
		pages = append(pages, s.page)
		s.press(m.URL + "/login")
		if m.online {
			t.Error("a liar is online")
		}
		pages = append(pages, s.page)
	}
	for i := range 3 {
		for _, secret := range secrets[:1] {
			if strings.Contains(pages[i], secret) {
				t.Errorf("step %d tells %q", i, secret)
			}
		}
		if a, b := faceless(pages[i]), faceless(pages[i+3]); a != b {
			t.Errorf("step %d differs for who has something:\n%s\n%s", i, a, b)
		}
	}

	// His own code goes to the device that he claims, and shows him nothing.
	s := newSurfer(t)
	s.open(m.URL + "/")
	s.send("/nas/voucher", "code", z.codes("a-hour", 1)[0])
	s.seesNot(secrets...)
	dst := fieldsOf(t, s.page, m.URL+"/login", "dst").Get("dst")
	if dst != z.portal.URL+"/nas/online" {
		t.Errorf("leads to %s", dst)
	}
	s.press(m.URL + "/login")
	if m.online {
		t.Error("a liar is online")
	}
	// With nothing else on the device the code's own grant may be shown.
	s = newSurfer(t)
	s.open(poor.URL + "/")
	s.send("/nas/voucher", "code", z.codes("a-hour", 1)[0])
	if dst := fieldsOf(t, s.page, poor.URL+"/login", "dst").Get("dst"); !strings.HasPrefix(dst, z.portal.URL+"/nas/status?t=") {
		t.Errorf("leads to %s", dst)
	}
}

// faceless leaves out what differs between two visits anyway.
func faceless(page string) string {
	for _, field := range []string{"s", "username", "password"} {
		before, rest, ok := strings.Cut(page, `name="`+field+`" value="`)
		for ok {
			_, rest, _ = strings.Cut(rest, `"`)
			page = before + rest
			before, rest, ok = strings.Cut(page, `name="`+field+`" value="`)
		}
	}
	before, rest, ok := strings.Cut(page, "&amp;s=")
	if ok {
		_, rest, _ = strings.Cut(rest, `"`)
		page = before + rest
	}
	before, rest, ok = strings.Cut(page, `action="http`)
	if ok {
		_, rest, _ = strings.Cut(rest, `"`)
		page = before + rest
	}
	return readable(page)
}

// A status page needs a token, and then tells about that grant alone.
func TestNASStatus(t *testing.T) {
	z := newNASZone(t)
	st := z.redeem("b-day", macB)
	z.redeem("c-month", macB)
	s := newSurfer(t)
	s.open(z.portal.URL + "/nas/status?t=" + st.Grant.Token)
	s.sees("Forfait jour", "Vous êtes connecté")
	s.seesNot("Famille", macB.String())
	if err := z.gate.Logout(t.Context(), macB); err != nil {
		t.Fatal(err)
	}
	s.open(z.portal.URL + "/nas/status?t=" + st.Grant.Token)
	s.sees("Vous n’êtes pas connecté", "Ouvrez une page Internet")
	s.seesNot(`action="`)
	for _, token := range []string{"", "x", "1" + st.Grant.Token[1:]} {
		s.open(z.portal.URL + "/nas/status?t=" + url.QueryEscape(token))
		if s.status != http.StatusNotFound {
			t.Errorf("token %q: %d", token, s.status)
		}
	}
	if err := z.gate.Revoke(t.Context(), st.Grant.Grant); err != nil {
		t.Fatal(err)
	}
	s.open(z.portal.URL + "/nas/status?t=" + st.Grant.Token)
	s.sees("Ce forfait est terminé")
}
