package console

import (
	"net/url"
	"strconv"

	"zonegate/hub"
)

// away is how long a gateway may be silent before its line says so, as the
// hub's filter of troubled ones has it.
const away = 5 * 60 // seconds

// quiet says whether a gateway has not been heard for a while.
func (p page) quiet(m hub.Member) bool { return p.now.Sub(m.Status.Seen).Seconds() > away }

// A fleetView is a page of gateways.
type fleetView struct {
	query     hub.FleetQuery
	members   []hub.Member
	resellers []option
}

// next is the address of the page after this one, empty if it is the last.
func (v fleetView) next() string {
	if len(v.members) < v.query.Max {
		return ""
	}
	q := url.Values{"after": {v.members[len(v.members)-1].ID}}
	if v.query.Reseller != "" {
		q.Set("reseller", v.query.Reseller)
	}
	if v.query.Troubled {
		q.Set("troubled", "on")
	}
	if v.query.Revoked {
		q.Set("revoked", "on")
	}
	return "/fleet?" + q.Encode()
}

const fleetPage = 100

func (a *call) fleetPage() error {
	q := a.r.URL.Query()
	v := fleetView{query: hub.FleetQuery{Reseller: q.Get("reseller"), Troubled: q.Get("troubled") != "", Revoked: q.Get("revoked") != "",
		After: q.Get("after"), Max: fleetPage}}
	var err error
	if v.members, err = a.hub.Fleet(a.r.Context(), a.p.by, v.query); err != nil {
		return err
	}
	if a.p.admin() {
		if v.resellers, err = a.resellerOptions(a.p.T("tous", "all")); err != nil {
			return err
		}
	}
	return a.render(fleet(a.p, v))
}

// resellerOptions are those that the user may see; first, if not empty, stands
// for none of them.
func (a *call) resellerOptions(first string) ([]option, error) {
	rs, err := a.hub.Resellers(a.r.Context(), a.p.by)
	var out []option
	if first != "" {
		out = append(out, option{"", first})
	}
	for _, r := range rs {
		out = append(out, option{r.ID, r.Name})
	}
	return out, err
}

// member looks a gateway up among those that the user may see.
func (a *call) member(id string) (hub.Member, error) {
	q := hub.FleetQuery{Revoked: true, Max: 1000}
	for {
		ms, err := a.hub.Fleet(a.r.Context(), a.p.by, q)
		if err != nil {
			return hub.Member{}, err
		}
		for _, m := range ms {
			if m.ID == id {
				return m, nil
			}
		}
		if len(ms) < q.Max {
			return hub.Member{}, hub.ErrNotFound
		}
		q.After = ms[len(ms)-1].ID
	}
}

func (a *call) gatewayPage() error {
	m, err := a.member(a.r.PathValue("id"))
	if err != nil {
		return err
	}
	return a.render(gateway(a.p, m))
}

func (a *call) revokeGateway() error {
	id := a.r.PathValue("id")
	if err := a.hub.RevokeGateway(a.r.Context(), a.p.by, id, a.f.get("reason")); err != nil {
		return err
	}
	return a.redirect("/gateways/" + url.PathEscape(id) + "?done=1")
}

func (a *call) clearAlarm() error {
	id := a.r.PathValue("id")
	if err := a.hub.ClearAlarm(a.r.Context(), a.p.by, id, a.f.get("kind")); err != nil {
		return err
	}
	if a.f.on("fleet") {
		return a.redirect(ownPath(a.f.get("fleet")))
	}
	return a.redirect("/gateways/" + url.PathEscape(id) + "?done=1")
}

// alarm says what an alarm means and what to do.
func (p page) alarm(kind string) string {
	switch kind {
	case hub.AlarmTwin:
		return p.T("Deux appareils parlent avec la même identité. Retirez cette passerelle et inscrivez-la de nouveau.", "Two devices speak with one identity. Revoke this gateway and enrol it again.")
	case hub.AlarmAhead:
		return p.T("Elle connaît des changements que le serveur n’a plus : une ancienne sauvegarde a été remise. Vérifiez les forfaits.", "It knows changes that the hub has not: an old backup was restored. Check the forfaits.")
	case hub.AlarmLost:
		return p.T("Des lignes de vente sont perdues.", "Lines of its sales are lost.")
	case hub.AlarmConflict:
		return p.T("Elle a envoyé une ligne connue avec un autre contenu. Rien n’a été remplacé.", "It sent a known line with another content. Nothing was replaced.")
	case hub.AlarmTwice:
		return p.T("Elle a vendu un code ou un achat qui était déjà vendu.", "It sold a voucher or a purchase that was sold before.")
	case hub.AlarmRefused:
		return p.T("Elle a refusé un changement, ou l’a annulé.", "It refused a change, or took it back.")
	case hub.AlarmPrice:
		return p.T("Elle a vendu un forfait à un autre prix que le vôtre. La vente est comptée comme elle l’a dite.", "It sold a forfait for another price than yours. The sale counts as it was reported.")
	case hub.AlarmTries:
		return p.T("Trop de codes faux y ont été essayés aujourd’hui : quelqu’un devine peut-être. Les codes valables partout y attendent demain.", "Too many wrong codes were tried there today: somebody may be guessing. Codes that are good everywhere wait there until tomorrow.")
	case hub.AlarmUnknown:
		return p.T("Elle envoie des lignes que ce serveur ne connaît pas : mettez le serveur à jour.", "It sends lines that this hub does not know: update the hub.")
	}
	return kind
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

func (p page) name(m hub.Member) string {
	if m.Name == "" {
		return m.SiteName
	}
	return m.Name
}
