package server

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

// bearer returns the token of a request (RFC 6750), or "".
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// user returns who calls.
func (s *Server) user(c *call, r *http.Request) (hub.Actor, error) {
	token := bearer(r)
	if token == "" {
		return hub.Actor{}, errNoToken
	}
	id, epoch, err := s.tokens.Check(token)
	if err != nil {
		return hub.Actor{}, errNoToken
	}
	by, err := s.hub.Actor(r.Context(), id, epoch)
	if err != nil {
		return hub.Actor{}, err
	}
	c.who = by.Name
	return by, nil
}

func (s *Server) login(c *call, r *http.Request) error {
	if err := s.logins.take(s.caller(r), time.Now()); err != nil {
		return err
	}
	var l api.Login
	if err := readJSON(c, r, &l, false); err != nil {
		return err
	}
	if err := s.names.take(nameOf(l.Name), time.Now()); err != nil {
		return err
	}
	u, err := s.hub.Login(r.Context(), l.Name, l.Password)
	if err != nil {
		return err
	}
	c.who = u.Name
	token, expires, err := s.tokens.Issue(u)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, api.Token{Token: token, Expires: expires, Role: string(u.Role), ResellerID: u.Reseller})
}

// Pages of the catalogue.
const (
	pageSize    = 50
	maxPageSize = 200
)

// forfaits is public. The RGZ document names no parameters; ours are page,
// per_page, and reseller_id for what that reseller alone sells besides.
func (s *Server) forfaits(c *call, r *http.Request) error {
	page, err := number(r, "page", 1, 1<<20)
	if err != nil {
		return err
	}
	size, err := number(r, "per_page", pageSize, maxPageSize)
	if err != nil {
		return err
	}
	all, err := s.hub.Forfaits(r.Context(), r.URL.Query().Get("reseller_id"))
	if err != nil {
		return err
	}
	items := make([]api.Forfait, 0, len(all))
	for _, f := range all {
		if item, ok := asForfait(f); ok {
			items = append(items, item)
		}
	}
	total := len(items)
	items = items[min((page-1)*size, total):min(page*size, total)]
	c.Header().Set("Cache-Control", "no-cache")
	return writeJSON(c, http.StatusOK, api.Forfaits{
		Items: items, Total: total, Page: page, Pages: max(1, (total+size-1)/size)})
}

// asForfait says a forfait in the words of the RGZ API. They are whole francs
// CFA, hours, megabytes and kbit/s: what they cannot say exactly is left out,
// since a gateway that knows no other words would sell something else.
func asForfait(f hub.Forfait) (api.Forfait, bool) {
	p := f.Plan
	const megabyte = 1_000_000
	if !isFrancCFA(p.Price.Currency) || p.Duration%time.Hour != 0 || p.DataCap%megabyte != 0 ||
		p.Rate.CIRDown%1000 != 0 || p.Rate.MIRDown%1000 != 0 {
		return api.Forfait{}, false
	}
	return api.Forfait{
		ID: p.ID, Name: p.Name, PriceFCFA: p.Price.Amount, DurationHours: int64(p.Duration / time.Hour),
		DataLimitMB: p.DataCap / megabyte, CIRKbps: p.Rate.CIRDown / 1000, MIRKbps: p.Rate.MIRDown / 1000,
	}, true
}

func isFrancCFA(currency string) bool { return currency == "XOF" || currency == "XAF" }

// number reads a parameter of 1 to most.
func number(r *http.Request, name string, without, most int) (int, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return without, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > most {
		return 0, refuse(http.StatusBadRequest, api.CodeBadRequest, name+" must be a number from 1 to "+strconv.Itoa(most))
	}
	return n, nil
}

func (s *Server) generate(c *call, r *http.Request) error {
	by, err := s.user(c, r)
	if err != nil {
		return err
	}
	var g api.Generate
	if err := readJSON(c, r, &g, true); err != nil {
		return err
	}
	q := hub.Generate{N: g.N, Forfait: g.ForfaitID, Reseller: g.ResellerID, Site: g.SiteID, Batch: g.Batch}
	if q.Reseller == "" {
		q.Reseller = by.Reseller
	}
	if g.Expires != "" {
		if q.Expires, err = time.Parse(time.RFC3339, g.Expires); err != nil {
			return refuse(http.StatusUnprocessableEntity, api.CodeBadRequest, "expires must be a time such as 2026-12-31T23:00:00Z")
		}
	}
	batch, codes, err := s.hub.Generate(r.Context(), by, q)
	if err != nil {
		return err
	}
	v := api.Vouchers{Items: make([]api.Voucher, len(codes)), Total: len(codes), Batch: batch.ID}
	for i, code := range codes {
		v.Items[i] = api.Voucher{Code: code, ForfaitID: batch.Forfait, Status: "active"}
	}
	return writeJSON(c, http.StatusCreated, v)
}

// summary is a month of a reseller in francs CFA. One who sold in both francs
// asks for each with the parameter currency, which is ours.
func (s *Server) summary(c *call, r *http.Request) error {
	by, err := s.user(c, r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	reseller, month, currency := q.Get("reseller_id"), q.Get("month"), q.Get("currency")
	if reseller == "" {
		reseller = by.Reseller
	}
	if reseller == "" || month == "" {
		return refuse(http.StatusUnprocessableEntity, api.CodeBadRequest, "reseller_id and month (YYYY-MM) must be given")
	}
	if currency != "" && !isFrancCFA(currency) {
		return refuse(http.StatusUnprocessableEntity, api.CodeBadRequest, "currency must be XOF or XAF")
	}
	all, err := s.hub.Summary(r.Context(), by, reseller, month)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(m hub.Summary) bool {
		return !isFrancCFA(m.Currency) || currency != "" && m.Currency != currency
	})
	out := api.Summary{Month: month}
	switch len(all) {
	case 0:
	case 1:
		m := all[0]
		out.TotalFCFA, out.SessionsCount = m.Total, m.Sales
		out.Split = api.Split{ResellerFCFA: m.Parts[hub.PartyReseller], RGZFCFA: m.Parts[hub.PartyRGZ], KKiaPayFeeFCFA: m.Fee}
	default:
		return refuse(http.StatusConflict, api.CodeConflict, "this reseller sold in XOF and in XAF, which are not added up: ask with the parameter currency")
	}
	return writeJSON(c, http.StatusOK, out)
}
