package console

import (
	"errors"
	"net/http"

	"zonegate/hub"
)

// A usersView is who may sign in.
type usersView struct {
	users     []hub.User
	resellers []option
}

func (v usersView) reseller(id string) string {
	if id == "" {
		return "–"
	}
	return labelOf(v.resellers, id)
}

// roles are those of users that the user may make.
func (p page) roles() []option {
	out := []option{{string(hub.RoleSeller), p.role(hub.RoleSeller)}}
	if p.admin() {
		out = append(out, option{string(hub.RoleReseller), p.role(hub.RoleReseller)}, option{string(hub.RoleAdmin), p.role(hub.RoleAdmin)})
	}
	return out
}

// changes says whether the user may change another one.
func (p page) changes(u hub.User) bool {
	return u.ID != p.by.User && (p.admin() || u.Role == hub.RoleSeller && p.manager(u.Reseller))
}

func (a *call) usersPage() error {
	var v usersView
	var err error
	if v.users, err = a.hub.Users(a.r.Context(), a.p.by); err != nil {
		return err
	}
	if v.resellers, err = a.resellerOptions(""); err != nil {
		return err
	}
	return a.render(people(a.p, v))
}

func (a *call) createUser() error {
	n := hub.NewUser{Name: a.f.userName(a.p), Password: a.f.newPassword(a.p), Role: hub.Role(a.f.get("role")), Reseller: a.resellerOf("reseller")}
	if !a.p.admin() {
		n.Role = hub.RoleSeller
	}
	switch {
	case n.Role == hub.RoleAdmin:
		n.Reseller = ""
	case n.Reseller == "":
		a.f.bad("reseller", a.p.T("Choisissez son revendeur.", "Choose his reseller."))
	}
	if !a.f.ok() {
		return a.usersPage()
	}
	_, err := a.hub.CreateUser(a.r.Context(), a.p.by, n)
	if errors.Is(err, hub.ErrExists) {
		a.f.bad("name", a.p.T("Ce nom est déjà pris.", "The name is taken."))
		return a.usersPage()
	} else if err != nil {
		if a.refused(err) {
			return a.usersPage()
		}
		return err
	}
	return a.redirect("/users?done=1")
}

func (a *call) setPassword() error {
	password := a.f.newPassword(a.p)
	for field, words := range a.f.errs {
		// The form stands in a list of many: its fault is said at the top.
		a.f.top = words
		delete(a.f.errs, field)
	}
	if !a.f.ok() {
		return a.usersPage()
	}
	if err := a.hub.SetPassword(a.r.Context(), a.p.by, a.r.PathValue("id"), password); err != nil {
		return err
	}
	return a.redirect("/users?done=1")
}

func (a *call) disableUser() error {
	err := a.hub.DisableUser(a.r.Context(), a.p.by, a.r.PathValue("id"), a.f.get("disabled") == "yes")
	if err != nil {
		if a.refused(err) {
			return a.usersPage()
		}
		return err
	}
	return a.redirect("/users?done=1")
}

func (a *call) resellersPage() error {
	rs, err := a.hub.Resellers(a.r.Context(), a.p.by)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{"vouchers": "10000", "sites": "10", "gateways": "10"} {
		a.f.preset(name, value)
	}
	return a.render(resellers(a.p, rs))
}

// reseller reads the form of a reseller.
func (a *call) reseller() (name string, l hub.Limits) {
	const most = 1_000_000_000
	return a.f.text(a.p, "name", 100, true), hub.Limits{Vouchers: a.f.number(a.p, "vouchers", 0, most),
		Sites: a.f.number(a.p, "sites", 0, most), Gateways: a.f.number(a.p, "gateways", 0, most)}
}

func (a *call) createReseller() error {
	name, l := a.reseller()
	if !a.f.ok() {
		return a.resellersPage()
	}
	_, err := a.hub.CreateReseller(a.r.Context(), a.p.by, name, l)
	return a.resellerDone(err)
}

func (a *call) changeReseller() error {
	name, l := a.reseller()
	for field, words := range a.f.errs {
		a.f.top = words
		delete(a.f.errs, field)
	}
	if !a.f.ok() {
		return a.showAgain()
	}
	return a.resellerDone(a.hub.ChangeReseller(a.r.Context(), a.p.by, a.r.PathValue("id"), name, l))
}

// showAgain is the page with empty forms: what is wrong stands at the top.
func (a *call) showAgain() error {
	top := a.f.top
	a.f = newForm(nil)
	a.f.top, a.p.f = top, a.f
	return a.resellersPage()
}

func (a *call) resellerDone(err error) error {
	switch {
	case err != nil && a.refused(err):
		return a.resellersPage()
	case err != nil:
		return err
	}
	return a.redirect("/resellers?done=1")
}

// auditLines is how many lines of the log a page has.
const auditLines = 100

func (a *call) auditPage() error {
	deeds, err := a.hub.Deeds(a.r.Context(), a.p.by, a.r.URL.Query().Get("before"), auditLines)
	if err != nil {
		return err
	}
	older := ""
	if len(deeds) == auditLines {
		older = deeds[len(deeds)-1].ID
	}
	return a.show(http.StatusOK, audit(a.p, deeds, older))
}
