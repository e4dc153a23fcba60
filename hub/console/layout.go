package console

import "github.com/a-h/templ"

// links are the pages that the user may see.
func (p page) links() []option {
	all := []struct {
		who
		option
	}{
		{users, option{"/fleet", p.T("Passerelles", "Gateways")}},
		{users, option{"/sites", p.T("Sites", "Sites")}},
		{users, option{"/forfaits", p.T("Forfaits", "Forfaits")}},
		{admins, option{"/rollouts", p.T("Déploiements", "Rollouts")}},
		{users, option{"/vouchers", p.T("Codes", "Vouchers")}},
		{users, option{"/billing", p.T("Ventes", "Billing")}},
		{users, option{"/payments", p.T("Paiements", "Payments")}},
		{managers, option{"/withdrawals", p.T("Retraits", "Withdrawals")}},
		{admins, option{"/reconciliation", p.T("Rapprochement", "Reconciliation")}},
		{managers, option{"/settings", p.T("Réglages", "Settings")}},
		{managers, option{"/users", p.T("Utilisateurs", "Users")}},
		{admins, option{"/resellers", p.T("Revendeurs", "Resellers")}},
		{admins, option{"/audit", p.T("Journal", "Audit log")}},
		{users, option{"/account", p.T("Mon mot de passe", "My password")}},
	}
	var out []option
	for _, l := range all {
		if l.who.includes(p.by.Role) {
			out = append(out, l.option)
		}
	}
	return out
}

// attributes are what depends on the kind of a field and on what is wrong.
func (f *form) attributes(kind, name, hint string) templ.Attributes {
	a := templ.Attributes{}
	switch kind {
	case "password": // never sent back
		a["autocomplete"] = "new-password"
		if name == "old" || hint == "" && name != "again" {
			a["autocomplete"] = "current-password"
		}
	case "select", "textarea":
	default:
		a["value"] = f.values.Get(name)
	}
	if name == "name" {
		a["autocapitalize"] = "none"
	}
	described := ""
	if hint != "" {
		described = name + "-hint"
	}
	if f.errs[name] != "" {
		a["aria-invalid"] = "true"
		described += " " + name + "-wrong"
	}
	if described != "" {
		a["aria-describedby"] = described
	}
	return a
}
