package sandbox

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A nelItem is a withdrawal in a list.
type nelItem struct {
	ID        int         `json:"id"`
	Reference string      `json:"withdrawal_reference"`
	Amount    json.Number `json:"amount"`
	Fees      json.Number `json:"fees"`
	Net       json.Number `json:"net_amount"`
	Phone     string      `json:"phone_number"`
	Operator  string      `json:"operator"`
	Status    string      `json:"status"`
	Verified  bool        `json:"is_code_verified"`
	Created   *string     `json:"created_at"`
	Updated   *string     `json:"updated_at"`
}

func (w *nelWithdrawal) item() nelItem {
	return nelItem{w.id, w.reference, cents(w.amount), cents(w.fees), cents(w.amount - w.fees), w.phone, w.operator, w.status,
		!w.verified.IsZero(), nelTime(w.made), nelTime(w.changed)}
}

// pageOf cuts a page out of a list, newest first, as the API's kind of server
// does.
func (s *Server) pageOf(r *http.Request, list []any) map[string]any {
	whole := func(name string, value int) int {
		if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil && n > 0 && n <= 1000 {
			return n
		}
		return value
	}
	size, number := whole("per_page", 20), whole("page", 1)
	last := max(1, (len(list)+size-1)/size)
	path := s.origin(r) + r.URL.Path
	at := func(n int) any {
		if n < 1 || n > last {
			return nil
		}
		return path + "?page=" + strconv.Itoa(n)
	}
	from := min((number-1)*size, len(list))
	part := list[from:min(from+size, len(list))]
	out := map[string]any{"current_page": number, "data": part, "first_page_url": at(1), "from": from + 1, "last_page": last, "last_page_url": at(last),
		"next_page_url": at(number + 1), "path": path, "per_page": size, "prev_page_url": at(number - 1), "to": from + len(part), "total": len(list)}
	if len(part) == 0 {
		out["data"], out["from"], out["to"] = []any{}, nil, nil
	}
	return out
}

// nelKept are the withdrawals that a query asks for, newest first.
func (s *Server) nelKept(keep func(w *nelWithdrawal) bool) (out []*nelWithdrawal) {
	for _, w := range slices.Backward(s.nel.list) {
		if keep(w) {
			out = append(out, w)
		}
	}
	return out
}

func items(list []*nelWithdrawal, item func(w *nelWithdrawal) any) []any {
	out := []any{}
	for _, w := range list {
		out = append(out, item(w))
	}
	return out
}

// fits says whether a value is what a parameter asks for; no parameter asks for
// nothing.
func fits(r *http.Request, name, value string) bool {
	want := r.URL.Query().Get(name)
	return want == "" || want == value
}

func (s *Server) nelList(r *http.Request) answer {
	list := s.nelKept(func(w *nelWithdrawal) bool { return fits(r, "status", w.status) && fits(r, "operator", w.operator) })
	return nelYes(http.StatusOK, "", s.pageOf(r, items(list, func(w *nelWithdrawal) any { return w.item() })))
}

func (s *Server) nelShow(r *http.Request) answer {
	w, no := s.nelFind(r)
	if w == nil {
		return no
	}
	missing := nelNo(http.StatusNotFound, "Retrait non trouvé")
	a := nelYes(http.StatusOK, "", struct {
		ID        int         `json:"id"`
		User      int         `json:"user_id"`
		Wallet    int         `json:"wallet_id"`
		Amount    json.Number `json:"amount"`
		Currency  string      `json:"currency"`
		Fees      json.Number `json:"fees"`
		Net       json.Number `json:"net_amount"`
		Method    string      `json:"method"`
		Phone     string      `json:"phone_number"`
		Operator  string      `json:"operator"`
		Reference string      `json:"withdrawal_reference"`
		Code      *string     `json:"withdrawal_code"` // masked
		Expires   *string     `json:"code_expires_at"`
		At        *string     `json:"code_verified_at"`
		Verified  bool        `json:"is_code_verified"`
		Status    string      `json:"status"`
		Reason    string      `json:"failure_reason,omitempty"`
		Created   *string     `json:"created_at"`
		Updated   *string     `json:"updated_at"`
	}{w.id, 1, 1, cents(w.amount), "XAF", cents(w.fees), cents(w.amount - w.fees), "mobile_money", w.phone, w.operator, w.reference, nil,
		nelTime(w.expires), nelTime(w.verified), !w.verified.IsZero(), w.status, w.reason, nelTime(w.made), nelTime(w.changed)})
	a.missing = &missing
	return a
}

func day(t time.Time) string { return t.In(douala).Format(time.DateOnly) }

func (s *Server) nelStats(*http.Request) answer {
	type line struct {
		Date  string      `json:"date"`
		Count int         `json:"count"`
		Total json.Number `json:"total_amount"`
	}
	var withdrawn, fees int64
	pending, days, totals := 0, []line{}, []int64{}
	for _, w := range s.nel.list {
		switch w.status {
		case "completed":
			withdrawn, fees = withdrawn+w.amount, fees+w.fees
		case "pending_verification", "pending_processing", "processing":
			pending++
		default:
			continue
		}
		if len(days) == 0 || days[len(days)-1].Date != day(w.made) {
			days, totals = append(days, line{Date: day(w.made)}), append(totals, 0)
		}
		i := len(days) - 1
		totals[i] += w.amount
		days[i].Count, days[i].Total = days[i].Count+1, cents(totals[i])
	}
	return nelYes(http.StatusOK, "", struct {
		Withdrawn json.Number `json:"total_withdrawn"`
		Fees      json.Number `json:"total_fees"`
		Pending   int         `json:"pending_count"`
		Days      []line      `json:"daily_stats"`
	}{cents(withdrawn), cents(fees), pending, days})
}

// nelUser is the one wallet's owner.
func (s *Server) nelUser(phone bool) map[string]any {
	u := map[string]any{"id": 1, "email": s.o.Nelsius.Email}
	if phone {
		u["phone"] = "+237600000000"
	}
	return u
}

func (s *Server) nelPending(r *http.Request) answer {
	list := s.nelKept(func(w *nelWithdrawal) bool {
		return w.status == "pending_processing" && fits(r, "operator", w.operator) && fits(r, "date", day(w.made))
	})
	var total int64
	count, sums := map[string]int{}, map[string]int64{}
	for _, w := range list {
		total += w.amount
		count[w.operator]++
		sums[w.operator] += w.amount
	}
	by := []any{}
	for _, name := range []string{"mtn_money", "orange_money", "moov_money"} {
		if count[name] > 0 {
			by = append(by, map[string]any{"operator": name, "count": count[name], "total": cents(sums[name])})
		}
	}
	data := s.pageOf(r, items(list, func(w *nelWithdrawal) any {
		return map[string]any{"id": w.id, "withdrawal_reference": w.reference, "amount": cents(w.amount), "net_amount": cents(w.amount - w.fees),
			"phone_number": w.phone, "operator": w.operator, "user": s.nelUser(true), "wallet": map[string]any{"id": 1, "wallet_number": "WAL00000001"},
			"is_code_verified": true, "created_at": nelTime(w.made)}
	}))
	data["stats"] = map[string]any{"total_pending": len(list), "total_amount_pending": cents(total), "count_by_operator": by}
	return nelYes(http.StatusOK, "", data)
}

// nelProcess marks a withdrawal as paid; here that is when the money goes out.
func (s *Server) nelProcess(r *http.Request) answer {
	w, no := s.nelFind(r)
	switch {
	case w == nil:
		return no
	case w.status != "pending_processing":
		return nelNo(http.StatusBadRequest, "Ce retrait ne peut pas être traité")
	}
	var in struct {
		Reference string `json:"manual_reference"`
		Notes     string `json:"notes"`
	}
	json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody)).Decode(&in) // all of it is optional
	w.manualReference, w.notes = in.Reference, in.Notes
	s.settle(w.charge, StatePaid, "")
	return nelYes(http.StatusOK, "Retrait marqué comme traité", struct {
		ID        int     `json:"id"`
		Status    string  `json:"status"`
		By        int     `json:"processed_manually_by"`
		At        *string `json:"processed_manually_at"`
		Reference string  `json:"manual_reference"`
		Notes     string  `json:"manual_notes"`
	}{w.id, w.status, 2, nelTime(w.processed), w.manualReference, w.notes})
}

func (s *Server) nelFail(r *http.Request) answer {
	w, no := s.nelFind(r)
	if w == nil {
		return no
	}
	var in struct {
		Reason string `json:"reason"`
	}
	if json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody)).Decode(&in) != nil || in.Reason == "" {
		return nelInvalid(map[string][]string{"reason": {"La raison est obligatoire."}})
	}
	if w.status != "pending_processing" {
		return nelNo(http.StatusBadRequest, "Ce retrait ne peut pas être traité")
	}
	s.settle(w.charge, StateFailed, in.Reason)
	return nelYes(http.StatusOK, "Retrait marqué comme échoué", struct {
		ID     int    `json:"id"`
		Status string `json:"status"`
		Reason string `json:"failure_reason"`
	}{w.id, w.status, w.reason})
}

// A nelSum adds up withdrawals: all of them are counted, those completed make
// the amount.
type nelSum struct {
	count                    int
	completed, pending, fees int64
}

func (n *nelSum) add(w *nelWithdrawal) {
	n.count++
	switch w.status {
	case "completed":
		n.completed += w.amount
		n.fees += w.fees
	case "pending_verification", "pending_processing", "processing":
		n.pending += w.amount
	}
}

func (s *Server) nelAdminStats(r *http.Request) answer {
	period := r.URL.Query().Get("period")
	if period == "" {
		period = "today"
	}
	now := s.now().In(douala)
	begin := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, douala)
	week := begin.AddDate(0, 0, -6)
	switch period {
	case "today":
	case "week":
		begin = week
	case "month":
		begin = time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, douala)
	case "year":
		begin = time.Date(now.Year(), 1, 1, 0, 0, 0, 0, douala)
	default:
		return nelInvalid(map[string][]string{"period": {"La période est invalide."}})
	}
	var all nelSum
	by, days := map[string]*nelSum{}, map[string]*nelSum{}
	add := func(m map[string]*nelSum, key string, w *nelWithdrawal) {
		if m[key] == nil {
			m[key] = &nelSum{}
		}
		m[key].add(w)
	}
	for _, w := range s.nel.list {
		if !w.made.Before(begin) {
			all.add(w)
			add(by, w.operator, w)
		}
		if !w.made.Before(week) {
			add(days, day(w.made), w)
		}
	}
	operators, last := []any{}, []any{}
	for _, name := range []string{"mtn_money", "orange_money", "moov_money"} {
		if n := by[name]; n != nil {
			operators = append(operators, map[string]any{"operator": name, "count": n.count, "total_amount": cents(n.completed)})
		}
	}
	for d := week; !d.After(now); d = d.AddDate(0, 0, 1) {
		if n := days[day(d)]; n != nil {
			last = append(last, map[string]any{"date": day(d), "count": n.count, "completed_amount": cents(n.completed), "pending_amount": cents(n.pending)})
		}
	}
	return nelYes(http.StatusOK, "", map[string]any{"period": period, "total_count": all.count, "completed_amount": cents(all.completed),
		"pending_amount": cents(all.pending), "total_fees": cents(all.fees), "by_operator": operators, "last_7_days": last})
}

func (s *Server) nelSearch(r *http.Request) answer {
	q := r.URL.Query()
	list := s.nelKept(func(w *nelWithdrawal) bool {
		d := day(w.made)
		return strings.Contains(w.reference, q.Get("reference")) && fits(r, "phone_number", w.phone) && fits(r, "status", w.status) &&
			d >= q.Get("date_from") && (q.Get("date_to") == "" || d <= q.Get("date_to"))
	})
	return nelYes(http.StatusOK, "", s.pageOf(r, items(list, func(w *nelWithdrawal) any {
		return map[string]any{"id": w.id, "withdrawal_reference": w.reference, "amount": cents(w.amount), "phone_number": w.phone, "operator": w.operator,
			"status": w.status, "user": s.nelUser(false), "created_at": nelTime(w.made), "processed_manually_at": nelTime(w.processed)}
	})))
}
