package console

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"zonegate/hub"
)

// A form is what was filled in, and what is wrong with it.
type form struct {
	values url.Values
	errs   map[string]string
	// top is what is wrong with no field alone.
	top string
}

func newForm(v url.Values) *form {
	if v == nil {
		v = url.Values{}
	}
	return &form{values: v, errs: map[string]string{}}
}

func (f *form) get(name string) string { return strings.TrimSpace(f.values.Get(name)) }

func (f *form) on(name string) bool { return f.values.Get(name) != "" }

// bad says what is wrong with a field; the first words stay.
func (f *form) bad(name, words string) {
	if f.errs[name] == "" {
		f.errs[name] = words
	}
}

func (f *form) ok() bool { return len(f.errs) == 0 && f.top == "" }

// preset fills fields in that were not sent.
func (f *form) preset(name, value string) {
	if !f.values.Has(name) {
		f.values.Set(name, value)
	}
}

// text reads a line of at most max octets.
func (f *form) text(p page, name string, max int, needed bool) string {
	v := f.get(name)
	switch {
	case v == "" && needed:
		f.bad(name, p.T("Remplissez ce champ.", "Fill in this field."))
	case len(v) > max:
		f.bad(name, p.T("C’est trop long : %d caractères au plus.", "This is too long: %d characters at most.", max))
	case strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' || r == 0x7f || r == utf8.RuneError }):
		f.bad(name, p.T("Il y a un caractère qui ne s’écrit pas.", "There is a character that cannot be written."))
	}
	return v
}

// number reads a whole number.
func (f *form) number(p page, name string, min, max int) int {
	n, err := strconv.Atoi(strip(f.get(name)))
	if err != nil || n < min || n > max {
		f.bad(name, p.T("Écrivez un nombre entier de %s à %s.", "Write a whole number from %s to %s.", p.count(int64(min)), p.count(int64(max))))
		return min
	}
	return n
}

// decimal reads a number as a whole count of its smallest part, which is the
// given number of digits behind the point: "1,5" with 3 digits is 1500.
func (f *form) decimal(p page, name string, digits int, max uint64) uint64 {
	n, ok := parseDecimal(f.get(name), digits)
	switch {
	case !ok && digits == 0:
		f.bad(name, p.T("Écrivez un nombre entier, comme 500.", "Write a whole number, as 500."))
	case !ok:
		f.bad(name, p.T("Écrivez un nombre avec %d chiffres au plus après la virgule, comme 2,5.", "Write a number with at most %d digits behind the point, as 2.5.", digits))
	case n > max:
		f.bad(name, p.T("Ce nombre est trop grand.", "This number is too large."))
	default:
		return n
	}
	return 0
}

// strip takes out what people write between thousands.
func strip(s string) string {
	return strings.NewReplacer(" ", "", "\u00a0", "", "\u202f", "").Replace(s)
}

func parseDecimal(s string, digits int) (uint64, bool) {
	whole, part, _ := strings.Cut(strings.Replace(strip(s), ",", ".", 1), ".")
	if whole == "" || len(part) > digits {
		return 0, false
	}
	n := whole + part + strings.Repeat("0", digits-len(part))
	for _, r := range n {
		if r < '0' || r > '9' {
			return 0, false
		}
	}
	v, err := strconv.ParseUint(n, 10, 64)
	if err != nil {
		return 0, false
	}
	return v, true
}

// writeDecimal is parseDecimal back.
func writeDecimal(n uint64, digits int) string {
	s := strconv.FormatUint(n, 10)
	if digits == 0 {
		return s
	}
	for len(s) <= digits {
		s = "0" + s
	}
	whole, part := s[:len(s)-digits], strings.TrimRight(s[len(s)-digits:], "0")
	if part == "" {
		return whole
	}
	return whole + "." + part
}

// userName reads the name of a new user, as the hub wants it.
func (f *form) userName(p page) string {
	name := f.text(p, "name", 80, true)
	if strings.ContainsAny(name, " \t\r\n") {
		f.bad("name", p.T("Sans espaces : une adresse e-mail ou un numéro de téléphone convient.", "No blanks: an e-mail address or a phone number will do."))
	}
	return name
}

// newPassword reads a password that is written twice.
func (f *form) newPassword(p page) string {
	v := f.values.Get("password")
	if utf8.RuneCountInString(v) < 10 || len(v) > 200 {
		f.bad("password", p.T("Il faut 10 caractères au moins, 200 au plus. Une phrase convient.", "It takes 10 characters at least, 200 at most. A sentence will do."))
	} else if v != f.values.Get("again") {
		f.bad("again", p.T("Ce n’est pas le même mot de passe.", "This is not the same password."))
	}
	return v
}

// refused puts what the hub says about a form at its top, in words. It says
// false for what is no matter of the form.
func (a *call) refused(err error) bool {
	var input *hub.InputError
	if errors.As(err, &input) {
		a.f.top = a.p.T("Le serveur refuse : %s.", "The hub refuses: %s.", input.Reason)
		return true
	}
	for _, no := range []error{hub.ErrExists, hub.ErrLimit, hub.ErrNotFound, hub.ErrUsed, hub.ErrExpired, hub.ErrRevoked} {
		if errors.Is(err, no) {
			_, a.f.top = a.p.refusal(err)
			return true
		}
	}
	if words := a.p.moneyRefusal(err); words != "" {
		a.f.top = words
		return true
	}
	return false
}

// refusal says an error in words for people, and as a status.
func (p page) refusal(err error) (status int, words string) {
	var input *hub.InputError
	switch {
	case errors.As(err, &input):
		return http.StatusUnprocessableEntity, p.T("Le serveur refuse : %s.", "The hub refuses: %s.", input.Reason)
	case errors.Is(err, errForm):
		return http.StatusForbidden, p.T("Ce formulaire n’est plus valable : votre session a changé. Revenez à la page, rechargez-la et recommencez.",
			"This form is not good any more: your session has changed. Go back to the page, load it again and start over.")
	case errors.Is(err, errLong):
		return http.StatusRequestEntityTooLarge, p.T("Ce formulaire est trop long.", "This form is too long.")
	case errors.Is(err, hub.ErrForbidden):
		return http.StatusForbidden, p.T("Vous n’avez pas le droit de faire cela.", "You may not do this.")
	case errors.Is(err, hub.ErrNotFound):
		return http.StatusNotFound, p.T("Cela n’existe pas (ou n’existe plus).", "There is no such thing (any more).")
	case errors.Is(err, hub.ErrExists):
		return http.StatusConflict, p.T("Ce nom est déjà pris.", "The name is taken.")
	case errors.Is(err, hub.ErrLimit):
		return http.StatusConflict, p.T("La limite du revendeur est atteinte. Un administrateur peut la relever.", "The reseller’s limit is reached. An admin can raise it.")
	case errors.Is(err, hub.ErrRevoked), errors.Is(err, hub.ErrUsed), errors.Is(err, hub.ErrExpired):
		return http.StatusConflict, p.T("C’est trop tard : cela a servi, expiré ou été retiré.", "It is too late: it was used, revoked or is out of date.")
	}
	if words := p.moneyRefusal(err); words != "" {
		return http.StatusConflict, words
	}
	return http.StatusInternalServerError, p.T("Le serveur n’a pas pu répondre. Essayez encore ; son journal dit pourquoi.", "The hub could not answer. Try again; its log says why.")
}

// fail shows an error as a page.
func (a *call) fail(err error) (status int) {
	status, words := a.p.refusal(err)
	a.f = newForm(nil)
	a.p.f, a.p.back = a.f, ""
	a.show(status, errorPage(a.p, words))
	return status
}
