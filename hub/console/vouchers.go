package console

import (
	"crypto/rand"
	"encoding/csv"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"zonegate"
	"zonegate/hub"
)

// batchesShown is how many batches, the newest, the page lists.
const batchesShown = 300

// A vouchersView is a reseller's batches, with the form for another one.
type vouchersView struct {
	reseller  string
	resellers []option
	batches   []hub.Batch
	forfaits  []hub.Forfait
	sites     []hub.Site
}

func (v vouchersView) forfaitOptions(p page) []option {
	var out []option
	for _, f := range v.forfaits {
		out = append(out, option{f.Plan.ID, f.Plan.Name + ", " + p.money(f.Plan.Price.Amount, f.Plan.Price.Currency)})
	}
	return out
}

func (v vouchersView) siteOptions(p page) []option {
	out := []option{}
	if len(v.sites) > 1 {
		out = append(out, option{"", p.T("tous les sites du revendeur (demande le serveur à chaque vente)", "all sites of the reseller (needs the hub at each sale)")})
	}
	for _, s := range v.sites {
		out = append(out, option{s.ID, s.Name})
	}
	return out
}

func (v vouchersView) forfait(id string) string {
	for _, f := range v.forfaits {
		if f.Plan.ID == id {
			return f.Plan.Name
		}
	}
	return id
}

func (v vouchersView) site(p page, id string) string {
	for _, s := range v.sites {
		if s.ID == id {
			return s.Name
		}
	}
	return p.T("tous les sites", "all sites")
}

// vouchers is the view of a reseller; an admin who chose none gets the first.
func (a *call) vouchers(reseller string) (v vouchersView, err error) {
	ctx := a.r.Context()
	if v.resellers, err = a.resellerOptions(""); err != nil {
		return v, err
	}
	v.reseller = reseller
	if v.reseller == "" && len(v.resellers) > 0 {
		v.reseller = v.resellers[0].value
	}
	if v.reseller == "" {
		return v, nil
	}
	if v.sites, err = a.hub.Sites(ctx, a.p.by, v.reseller); err != nil {
		return v, err
	}
	if v.batches, err = a.hub.Batches(ctx, a.p.by, v.reseller, batchesShown); err != nil {
		return v, err
	}
	v.forfaits, err = a.hub.Forfaits(ctx, v.reseller)
	return v, err
}

func (a *call) vouchersPage() error {
	return a.showVouchers(a.r.URL.Query().Get("reseller"))
}

func (a *call) showVouchers(reseller string) error {
	v, err := a.vouchers(reseller)
	if err != nil {
		return err
	}
	// The name is drawn with the form: sent twice, the second is refused
	// rather than paid for.
	name, err := zonegate.NewCode(rand.Reader)
	if err != nil {
		return err
	}
	if a.f.get("batch") == "" || !a.f.ok() {
		a.f.values.Set("batch", a.p.now.In(a.p.zone).Format("0601")+"-"+name)
	}
	a.f.preset("n", "20")
	return a.render(vouchers(a.p, v))
}

// generate makes vouchers. The answer is the only place where the codes are.
func (a *call) generate() error {
	q := hub.Generate{Reseller: a.resellerOf("reseller"), Forfait: a.f.get("forfait"), Site: a.f.get("site"), Batch: a.f.get("batch"),
		N: a.f.number(a.p, "n", 1, 10_000)}
	if q.Forfait == "" {
		a.f.bad("forfait", a.p.T("Choisissez un forfait.", "Choose a forfait."))
	}
	if day := a.f.get("expires"); day != "" {
		t, err := time.ParseInLocation("2006-01-02", day, a.console.zone)
		if err != nil {
			a.f.bad("expires", a.p.T("Écrivez la date comme 2026-12-31.", "Write the date as 2026-12-31."))
		} else if q.Expires = t.AddDate(0, 0, 1).Add(-time.Second); !q.Expires.After(a.p.now) {
			a.f.bad("expires", a.p.T("Cette date est passée.", "This date is past."))
		}
	}
	if !a.f.ok() {
		return a.showVouchers(q.Reseller)
	}
	b, codes, err := a.hub.Generate(a.r.Context(), a.p.by, q)
	if errors.Is(err, hub.ErrExists) {
		a.f.top = a.p.T("Ce lot est déjà fait : ses codes ont été montrés une fois. S’ils sont perdus, annulez le lot et faites-en un autre.",
			"This batch was made already: its codes were shown once. If they are lost, revoke the batch and make another one.")
		return a.showVouchers(q.Reseller)
	} else if err != nil {
		if a.refused(err) {
			return a.showVouchers(q.Reseller)
		}
		return err
	}
	v := codesView{batch: b, codes: codes}
	if v.forfait, err = a.version(b); err != nil {
		// The vouchers are made: their codes are shown whatever happens.
		a.console.log.Error("looking up the forfait of new vouchers failed", "error", err)
	}
	return a.show(http.StatusOK, newCodes(a.p, v))
}

// A codesView is a new batch with its codes.
type codesView struct {
	batch   hub.Batch
	forfait hub.Forfait
	codes   []string
}

// version is the version of a forfait that a batch sells.
func (a *call) version(b hub.Batch) (hub.Forfait, error) {
	fs, err := a.hub.ForfaitVersions(a.r.Context(), a.p.by, b.Forfait)
	for _, f := range fs {
		if f.Plan.Version == b.Version {
			return f, nil
		}
	}
	if err == nil {
		err = hub.ErrNotFound
	}
	return hub.Forfait{}, err
}

// codesCSV gives the codes that a page has just shown back as a file: the hub
// has kept none of them.
func (a *call) codesCSV() error {
	codes := strings.Fields(a.f.values.Get("codes"))
	if len(codes) == 0 || len(codes) > 10_000 {
		return hub.ErrNotFound
	}
	for _, code := range codes {
		if !zonegate.WellFormedCode(zonegate.NormalizeCode(code)) {
			return hub.ErrNotFound
		}
	}
	bs, err := a.hub.Batches(a.r.Context(), a.p.by, "", batchesShown)
	if err != nil {
		return err
	}
	var b hub.Batch
	for _, x := range bs {
		if x.ID == a.f.get("batch") {
			b = x
		}
	}
	if b.ID == "" {
		return hub.ErrNotFound
	}
	f, err := a.version(b)
	if err != nil {
		return err
	}
	expires := ""
	if !b.Expires.IsZero() {
		expires = b.Expires.In(a.console.zone).Format("2006-01-02")
	}
	price := writeDecimal(uint64(f.Plan.Price.Amount), cents(f.Plan.Price.Currency))
	a.w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	a.w.Header().Set("Content-Disposition", `attachment; filename="`+b.ID+`.csv"`)
	out := csv.NewWriter(a.w)
	out.Write([]string{"code", "forfait", "price", "currency", "expires", "batch"})
	for _, code := range codes {
		out.Write([]string{code, cell(f.Plan.Name), price, f.Plan.Price.Currency, expires, b.ID})
	}
	out.Flush()
	return nil
}

// cell keeps a spreadsheet from taking a name for a formula.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func (a *call) revokeBatch() error {
	if err := a.hub.RevokeBatch(a.r.Context(), a.p.by, a.f.get("batch"), a.f.get("reason")); err != nil {
		return err
	}
	q := url.Values{"done": {"1"}}
	if a.p.admin() && a.f.get("reseller") != "" {
		q.Set("reseller", a.f.get("reseller"))
	}
	return a.redirect("/vouchers?" + q.Encode())
}
