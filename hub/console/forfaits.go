package console

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/sync/api"
)

// A forfaitsView is what is on sale, with an admin for a chosen reseller too.
type forfaitsView struct {
	reseller  string
	forfaits  []hub.Forfait
	resellers []option
}

func (a *call) forfaitsPage() error {
	v := forfaitsView{reseller: a.p.by.Reseller}
	if a.p.admin() {
		v.reseller = a.r.URL.Query().Get("reseller")
	}
	var err error
	if v.resellers, err = a.resellerOptions(""); err != nil {
		return err
	}
	if v.forfaits, err = a.hub.Forfaits(a.r.Context(), v.reseller); err != nil {
		return err
	}
	return a.render(forfaits(a.p, v))
}

// A forfaitView is one forfait: its versions, newest first, and the form for
// another one. No version is a new forfait.
type forfaitView struct {
	versions  []hub.Forfait
	resellers []option
}

func (v forfaitView) fresh() bool { return len(v.versions) == 0 }

func (v forfaitView) newest() hub.Forfait {
	if v.fresh() {
		return hub.Forfait{}
	}
	return v.versions[0]
}

func (v forfaitView) action() string {
	if v.fresh() {
		return "/forfaits/new"
	}
	return "/forfaits/" + v.newest().Plan.ID
}

func (a *call) newForfaitPage() error {
	var v forfaitView
	var err error
	if v.resellers, err = a.resellerOptions(""); err != nil {
		return err
	}
	if a.p.admin() {
		v.resellers = append([]option{{"", a.p.T("tous les sites de la même monnaie", "all sites with the same currency")}}, v.resellers...)
	}
	for name, value := range map[string]string{"currency": "XOF", "unit": "h", "capunit": "MB", "cap": "0", "devices": "1",
		"cirdown": "0", "cirup": "0", "mirdown": "0", "mirup": "0", "maxrefused": "0"} {
		a.f.preset(name, value)
	}
	return a.render(forfait(a.p, v))
}

func (a *call) forfaitPage() error {
	id := a.r.PathValue("id")
	versions, err := a.hub.ForfaitVersions(a.r.Context(), a.p.by, id)
	if err != nil {
		return err
	}
	v := forfaitView{versions: versions}
	if v.resellers, err = a.resellerOptions(""); err != nil {
		return err
	}
	a.f.presetPlan(versions[0].Plan)
	return a.render(forfait(a.p, v))
}

// Units of a forfait's time and of its data cap, the largest first: an offer
// is shown in the largest that says it exactly.
var (
	timeUnits = []struct {
		name string
		of   time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	capUnits = []struct {
		name string
		of   uint64
	}{{"GB", 1e9}, {"MB", 1e6}, {"MiB", 1 << 20}, {"B", 1}}
)

func (p page) timeOptions() []option {
	return []option{{"d", p.T("jours", "days")}, {"h", p.T("heures", "hours")}, {"m", "minutes"}, {"s", p.T("secondes", "seconds")}}
}

func (p page) capOptions() []option {
	return []option{{"GB", p.T("Go", "GB")}, {"MB", p.T("Mo", "MB")}, {"MiB", p.T("Mio (1 048 576 octets)", "MiB (1,048,576 octets)")}, {"B", "octets"}}
}

// presetPlan fills a plan into the fields that were not sent.
func (f *form) presetPlan(p zonegate.Plan) {
	sent := f.values.Has("price")
	f.preset("name", p.Name)
	f.preset("price", writeDecimal(uint64(p.Price.Amount), cents(p.Price.Currency)))
	f.values.Set("currency", p.Price.Currency)
	for _, u := range timeUnits {
		if p.Duration%u.of == 0 {
			f.preset("unit", u.name)
			f.preset("duration", strconv.FormatInt(int64(p.Duration/u.of), 10))
			break
		}
	}
	for _, u := range capUnits {
		if p.DataCap%u.of == 0 {
			f.preset("capunit", u.name)
			f.preset("cap", number(p.DataCap/u.of))
			break
		}
	}
	f.preset("cirdown", writeDecimal(p.Rate.CIRDown, 3))
	f.preset("cirup", writeDecimal(p.Rate.CIRUp, 3))
	f.preset("mirdown", writeDecimal(p.Rate.MIRDown, 3))
	f.preset("mirup", writeDecimal(p.Rate.MIRUp, 3))
	f.preset("devices", strconv.Itoa(p.DevicesMax))
	f.preset("time", p.Time.String())
	f.preset("maxrefused", "0")
	if p.Trial && !sent {
		f.preset("trial", "on")
	}
}

// plan reads a plan.
func (a *call) plan(currency string) zonegate.Plan {
	f, p := a.f, a.p
	plan := zonegate.Plan{Name: f.text(p, "name", 100, true), Trial: f.on("trial"), DevicesMax: f.number(p, "devices", 1, 100)}
	plan.Price = zonegate.Money{Amount: int64(f.decimal(p, "price", cents(currency), 1e12)), Currency: currency}
	if plan.Price.Amount == 0 && !plan.Trial {
		f.bad("price", p.T("Un prix plus grand que zéro ; seul un essai peut être gratuit.", "A price above zero; only a trial may be free."))
	}
	n := f.number(p, "duration", 1, 400_000_000)
	for _, u := range timeUnits {
		if u.name == f.get("unit") {
			plan.Duration = time.Duration(n) * u.of
			if n > int(10*366*24*time.Hour/u.of) {
				f.bad("duration", p.T("10 ans au plus.", "10 years at most."))
			}
		}
	}
	if plan.Duration == 0 {
		f.bad("unit", p.T("Choisissez dans la liste.", "Choose from the list."))
	}
	known := false
	for _, u := range capUnits {
		if u.name == f.get("capunit") {
			known = true
			plan.DataCap = f.decimal(p, "cap", 0, (1<<60)/u.of) * u.of
		}
	}
	if !known {
		f.bad("capunit", p.T("Choisissez dans la liste.", "Choose from the list."))
	}
	const most = 1e12
	plan.Rate = zonegate.Rate{CIRDown: f.decimal(p, "cirdown", 3, most), CIRUp: f.decimal(p, "cirup", 3, most),
		MIRDown: f.decimal(p, "mirdown", 3, most), MIRUp: f.decimal(p, "mirup", 3, most)}
	above := p.T("Le débit garanti est plus grand que le débit maximal.", "The kept rate is above the most.")
	if r := plan.Rate; r.MIRDown != 0 && r.CIRDown > r.MIRDown {
		f.bad("cirdown", above)
	}
	if r := plan.Rate; r.MIRUp != 0 && r.CIRUp > r.MIRUp {
		f.bad("cirup", above)
	}
	if f.get("time") == zonegate.Online.String() {
		plan.Time = zonegate.Online
	}
	return plan
}

// staging reads whether and how a change goes out in steps. Only admins follow
// rollouts.
func (a *call) staging() *hub.Staging {
	if !a.p.admin() || !a.f.on("staged") {
		return nil
	}
	return &hub.Staging{MaxRefused: a.f.number(a.p, "maxrefused", 0, 1_000_000), ByHand: a.f.on("byhand")}
}

func (a *call) newForfait() error {
	currency := strings.ToUpper(a.f.get("currency"))
	if len(currency) != 3 || strings.Trim(currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		a.f.bad("currency", a.p.T("Trois lettres, comme XOF, XAF ou CDF.", "Three letters, as XOF, XAF or CDF."))
	}
	return a.setForfait(hub.ForfaitChange{Plan: a.plan(currency), Reseller: a.resellerOf("reseller")}, a.newForfaitPage)
}

func (a *call) changeForfait() error {
	id := a.r.PathValue("id")
	versions, err := a.hub.ForfaitVersions(a.r.Context(), a.p.by, id)
	if err != nil {
		return err
	}
	last := versions[0].Plan
	c := hub.ForfaitChange{Plan: a.plan(last.Price.Currency), Running: a.f.get("running") == "all"}
	c.Plan.ID, c.Plan.Hub = id, last.Hub
	return a.setForfait(c, a.forfaitPage)
}

func (a *call) setForfait(c hub.ForfaitChange, again func() error) error {
	c.Staged = a.staging()
	if !a.f.ok() {
		return again()
	}
	f, r, err := a.hub.SetForfait(a.r.Context(), a.p.by, c)
	switch {
	case err != nil && a.refused(err):
		return again()
	case err != nil:
		return err
	case r.ID != "":
		return a.redirect("/rollouts?done=1")
	}
	return a.redirect("/forfaits/" + url.PathEscape(f.Plan.ID) + "?done=1")
}

func (a *call) withdrawForfait() error {
	id := a.r.PathValue("id")
	if _, err := a.hub.WithdrawForfait(a.r.Context(), a.p.by, id); err != nil {
		return err
	}
	return a.redirect("/forfaits/" + url.PathEscape(id) + "?done=1")
}

// rates says the rates of a plan, down and up.
func (p page) rates(r zonegate.Rate) string {
	one := func(cir, mir uint64) string {
		if cir == 0 {
			return p.rate(mir)
		}
		return p.T("%s, dont %s garanti", "%s, %s of it kept", p.rate(mir), p.rate(cir))
	}
	return "↓ " + one(r.CIRDown, r.MIRDown) + " · ↑ " + one(r.CIRUp, r.MIRUp)
}

// A rolloutView is a rollout with what it is about and who refused it.
type rolloutView struct {
	hub.Rollout
	name    string // of the forfait
	link    string
	refused []hub.Ack
}

func (a *call) rolloutsPage() error {
	rs, err := a.hub.Rollouts(a.r.Context(), a.p.by, 50)
	if err != nil {
		return err
	}
	views := make([]rolloutView, len(rs))
	names := map[string]string{}
	for i, r := range rs {
		v := rolloutView{Rollout: r}
		if id, version, ok := strings.Cut(r.Subject, "/"); ok && (r.Kind == api.KindPlan || r.Kind == api.KindPlanGone) {
			if _, known := names[id]; !known {
				names[id] = id
				if fs, err := a.hub.ForfaitVersions(a.r.Context(), a.p.by, id); err == nil {
					names[id] = fs[0].Plan.Name
				}
			}
			v.name, v.link = names[id]+", version "+version, "/forfaits/"+id
		}
		if r.State != hub.RolloutDone {
			if v.refused, _, err = a.hub.AcksOf(a.r.Context(), a.p.by, r.Seq, 20); err != nil {
				return err
			}
		}
		views[i] = v
	}
	return a.render(rollouts(a.p, views))
}

func (a *call) changeRollout() error {
	id := a.r.PathValue("id")
	switch a.r.PathValue("what") {
	case "next":
		r, err := a.hub.AdvanceRollout(a.r.Context(), a.p.by, id)
		if err != nil {
			return err
		}
		if r.ID == "" {
			return a.show(http.StatusConflict, errorPage(a.p, a.p.T("Ce déploiement est déjà terminé ou arrêté.", "This rollout is over or stopped already.")))
		}
	case "stop":
		if err := a.hub.StopRollout(a.r.Context(), a.p.by, id, a.f.get("reason")); err != nil {
			return err
		}
	case "resume":
		if err := a.hub.ResumeRollout(a.r.Context(), a.p.by, id); err != nil {
			return err
		}
	default:
		return hub.ErrNotFound
	}
	return a.redirect("/rollouts?done=1")
}

func (p page) stage(n int) string {
	switch n {
	case hub.StageOne:
		return p.T("étape 1 sur 3 : un site", "stage 1 of 3: one site")
	case hub.StageTenth:
		return p.T("étape 2 sur 3 : 10 % des sites", "stage 2 of 3: 10 % of the sites")
	}
	return p.T("étape 3 sur 3 : tous les sites", "stage 3 of 3: all sites")
}

func (p page) state(s string) string {
	switch s {
	case hub.RolloutRunning:
		return p.T("en cours", "running")
	case hub.RolloutDone:
		return p.T("terminé", "done")
	}
	return p.T("arrêté", "stopped")
}

// setting names a kind of push for people.
func (p page) setting(kind string) string {
	switch kind {
	case api.KindBrand:
		return p.T("Nom et contact", "Name and contact")
	case api.KindMessage:
		return p.T("Message aux clients", "Message to customers")
	case api.KindGarden:
		return p.T("Adresses ouvertes à tous", "Walled garden")
	case api.KindLink:
		return p.T("Débit de la liaison", "Capacity of the link")
	}
	return kind
}

// soldBy names who sells a forfait.
func (p page) soldBy(reseller string, names []option) string {
	if reseller == "" {
		return p.T("tous", "all")
	}
	return labelOf(names, reseller)
}

func (p page) forfaitTitle(v forfaitView) string {
	if v.fresh() {
		return p.T("Nouveau forfait", "New forfait")
	}
	return v.newest().Plan.Name
}

// outcome says what became of a change on a gateway.
func (p page) outcome(o string) string {
	switch o {
	case api.Refused:
		return p.T("refusé", "refused")
	case api.RolledBack:
		return p.T("annulé après essai", "taken back after a trial")
	case hub.Stale:
		return p.T("elle a déjà une version plus récente", "it has a newer version already")
	}
	return o
}
