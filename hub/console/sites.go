package console

import (
	"net/http"
	"strings"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

// A sitesView is the sites, with the form for another one.
type sitesView struct {
	sites     []hub.Site
	resellers []option
}

// reseller is the name of a site's.
func (v sitesView) reseller(id string) string { return labelOf(v.resellers, id) }

func labelOf(options []option, value string) string {
	for _, o := range options {
		if o.value == value {
			return o.label
		}
	}
	return value
}

func (a *call) sitesPage() error {
	var v sitesView
	var err error
	if v.sites, err = a.hub.Sites(a.r.Context(), a.p.by, ""); err != nil {
		return err
	}
	if v.resellers, err = a.resellerOptions(""); err != nil {
		return err
	}
	a.f.preset("currency", "XOF")
	return a.render(sites(a.p, v))
}

func (a *call) createSite() error {
	name := a.f.text(a.p, "name", 100, true)
	currency := strings.ToUpper(a.f.get("currency"))
	if len(currency) != 3 || strings.Trim(currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		a.f.bad("currency", a.p.T("Trois lettres, comme XOF, XAF ou CDF.", "Three letters, as XOF, XAF or CDF."))
	}
	if !a.f.ok() {
		return a.sitesPage()
	}
	if _, err := a.hub.CreateSite(a.r.Context(), a.p.by, a.resellerOf("reseller"), name, currency); err != nil {
		if a.refused(err) {
			return a.sitesPage()
		}
		return err
	}
	return a.redirect("/sites?done=1")
}

// resellerOf is the reseller that an admin chose, and everybody else's own.
func (a *call) resellerOf(field string) string {
	if a.p.admin() {
		return a.f.get(field)
	}
	return a.p.by.Reseller
}

// enrolment makes the code by which a gateway joins, and shows it once.
func (a *call) enrolment() error {
	lives := map[string]time.Duration{"1": time.Hour, "24": 24 * time.Hour, "168": 7 * 24 * time.Hour}
	life, ok := lives[a.f.get("hours")]
	if !ok {
		life = time.Hour
	}
	e, err := a.hub.NewEnrolment(a.r.Context(), a.p.by, a.r.PathValue("id"), life)
	if err != nil {
		return err
	}
	return a.show(http.StatusOK, enrolment(a.p, e))
}

// targets are whom the user may send settings to: "all" everybody, "r/ID" all
// sites of a reseller, "s/ID" one site.
func (a *call) targets() ([]option, error) {
	rs, err := a.hub.Resellers(a.r.Context(), a.p.by)
	if err != nil {
		return nil, err
	}
	all, err := a.hub.Sites(a.r.Context(), a.p.by, "")
	if err != nil {
		return nil, err
	}
	var out []option
	if a.p.admin() {
		out = append(out, option{"all", a.p.T("tous les sites", "all sites")})
	}
	for _, r := range rs {
		out = append(out, option{"r/" + r.ID, a.p.T("tous les sites de %s", "all sites of %s", r.Name)})
		for _, s := range all {
			if s.Reseller == r.ID {
				out = append(out, option{"s/" + s.ID, s.Name + " (" + r.Name + ")"})
			}
		}
	}
	return out, nil
}

func (a *call) settingsPage() error {
	targets, err := a.targets()
	if err != nil {
		return err
	}
	return a.render(settings(a.p, targets))
}

func (a *call) pushSetting() error {
	kind := a.r.PathValue("kind")
	var s hub.Setting
	switch kind {
	case "brand":
		b := api.Brand{Name: a.f.text(a.p, "name", 500, false), Contact: a.f.text(a.p, "contact", 500, false), Language: a.f.get("language")}
		if b.Language != "" && b.Language != "fr" && b.Language != "en" {
			a.f.bad("language", a.p.T("Choisissez dans la liste.", "Choose from the list."))
		}
		s.Body = b
	case "message":
		s.Body = api.Message{FR: a.f.text(a.p, "fr", 500, false), EN: a.f.text(a.p, "en", 500, false)}
	case "garden":
		g := api.Garden{Domains: strings.Fields(strings.ReplaceAll(a.f.text(a.p, "domains", 50_000, false), ",", " "))}
		if len(g.Domains) > 200 {
			a.f.bad("domains", a.p.T("200 domaines au plus.", "200 domains at most."))
		}
		for _, d := range g.Domains {
			if !strings.Contains(d, ".") || strings.ContainsAny(d, ":/@") {
				a.f.bad("domains", a.p.T("« %s » n’est pas un nom de domaine, comme exemple.bj.", "“%s” is no domain name, as example.bj.", d))
			}
		}
		if g.Domains == nil {
			g.Domains = []string{}
		}
		s.Body = g
	case "link":
		l := api.Link{Down: a.f.decimal(a.p, "down", 6, 1e12), Up: a.f.decimal(a.p, "up", 6, 1e12)}
		for name, rate := range map[string]uint64{"down": l.Down, "up": l.Up} {
			if rate == 0 {
				a.f.bad(name, a.p.T("Écrivez un débit plus grand que zéro.", "Write a rate above zero."))
			}
		}
		s.Body = l
	default:
		return hub.ErrNotFound
	}
	switch to := a.f.get("to"); {
	case to == "all":
		s.Target = hub.Target{Share: hub.All}
	case strings.HasPrefix(to, "r/") && len(to) > 2:
		s.Target = hub.Target{Share: hub.All, Reseller: to[2:]}
	case strings.HasPrefix(to, "s/") && len(to) > 2:
		s.Target = hub.Target{Site: to[2:]}
	default:
		a.f.bad("to", a.p.T("Choisissez à qui l’envoyer.", "Choose whom to send it to."))
	}
	if a.p.admin() && a.f.on("staged") {
		s.Staged = &hub.Staging{ByHand: a.f.on("byhand")}
	}
	a.f.values.Set("kind", kind)
	if !a.f.ok() {
		return a.settingsPage()
	}
	if _, _, err := a.hub.PushSetting(a.r.Context(), a.p.by, s); err != nil {
		if a.refused(err) {
			return a.settingsPage()
		}
		return err
	}
	return a.redirect("/settings?done=1")
}

// formFor is the page with the form that was filled in only if it is this one:
// the others are empty.
func (p page) formFor(kind string) page {
	if p.f.get("kind") != kind {
		p.f = newForm(nil)
	}
	return p
}
