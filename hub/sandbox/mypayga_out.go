package sandbox

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"zonegate/sync/api"
)

// The words by which transfers and refunds end. The document prints the last
// of a transfer alone.
const (
	TransferDone   = "Succes"
	TransferFailed = "Echec"
	TransferPoor   = "Echec-solde ins."
	RefundDone     = "Remboursement effectue."
	RefundWaits    = "Remboursement en attente de validation."
)

// A gaRefund is made by create and moves money by send, once.
type gaRefund struct {
	id, description string
	amount          int64
	made            time.Time
	of              *gaToken
	charge          *Charge // nil until it is sent
}

// gaTransfer pays out. There is no reference of the merchant's: a call that is
// repeated pays again.
func (s *Server) gaTransfer(r *http.Request, test bool) answer {
	no := func(message string) answer { return gaNo("statusRequest", message) }
	if n := required(r, "amount", "receiver_phone", "country", "type_clt"); n != "" {
		return no("Missing parameter " + n)
	}
	phone := r.Form.Get("receiver_phone")
	amount, ok := parseAmount(r.Form.Get("amount"), "XAF")
	if !ok || digits(phone) != phone || len(phone) < 8 || r.Form.Get("country") != "GA" {
		return no("Invalid amount, phone or country")
	}
	plan := s.gaPlan(phone, test)
	if plan == rejected {
		return no("Transfer refused")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Charge{Provider: MyPayGa, Kind: KindPayout, ID: s.mixed(11), Phone: phone, Asked: api.Money{Amount: amount, Currency: "XAF"}, plan: plan}
	s.open(c)
	text := strconv.FormatInt(amount, 10)
	return answer{status: http.StatusOK, body: struct {
		Message     string `json:"message"`
		Description string `json:"description"`
		Status      string `json:"statusRequest"`
		Transfer    any    `json:"transfert"`
	}{"Vous avez envoye " + text + " FCFA à " + phone[:3] + strings.Repeat("X", len(phone)-3) + ".", "Balance Transfert to client", "200", struct {
		Status   string `json:"transfert_status"`
		Amount   string `json:"amount"`
		ID       string `json:"transfert_id"`
		Country  string `json:"country"`
		Currency string `json:"currency"`
	}{"200", text, c.ID, "GA", "CFA"}}}
}

// gaTransferred shows a transfer: 200 is found, and the outcome is a text.
func (s *Server) gaTransferred(r *http.Request, _ bool) answer {
	none := answer{status: http.StatusOK, body: map[string]any{"status": "400", "message": "Transaction not found", "data": []any{}}}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.byID[r.Form.Get("trans_ref")]
	if c == nil || c.Provider != MyPayGa || c.Kind != KindPayout {
		return none
	}
	state := map[string]string{StateOpen: "En cours", StatePaid: TransferDone, StateFailed: TransferFailed}[c.State]
	if c.State == StateFailed && c.plan == poor {
		state = TransferPoor
	}
	a := answer{status: http.StatusOK, missing: &none, body: struct {
		Status  string `json:"status"`
		Message string `json:"message"`
		Data    []any  `json:"data"`
	}{"200", "Transaction found", []any{struct {
		Amount      string `json:"montant_demande"`
		State       string `json:"statut_demande"`
		At          string `json:"date_demande"`
		Account     string `json:"numero_de_compte"`
		Description string `json:"description"`
		Type        string `json:"type_destinataire"`
	}{strconv.FormatInt(c.Asked.Amount, 10), state, gaTime(c.Opened), c.Phone, "Transfert client", "client"}}}}
	_, whole := a.encode()
	// The sample lacks the quote behind the account.
	a.printed = strings.Replace(string(whole), `"`+c.Phone+`",`, `"`+c.Phone+`,`, 1)
	return a
}

func (s *Server) gaFees(r *http.Request, _ bool) answer {
	operator := r.Form.Get("ope")
	if operator == "" || r.Form.Get("country") != "GA" {
		return gaNo("statusRequest", "Unknown operator or country")
	}
	return answer{status: http.StatusOK, body: struct {
		Message string `json:"message"`
		Status  int    `json:"statusRequest"`
		Fees    any    `json:"fees"`
	}{"Request OK.", 200, struct {
		Custom   string `json:"merchand_custom_fees"`
		Standard string `json:"standard_fees"`
		Platform string `json:"platform_fees"`
		Bank     string `json:"bank_fees"`
		Source   string `json:"fees_source"`
		Partner  string `json:"short_partner"`
		Country  string `json:"cty_partner"`
		Currency string `json:"currency"`
	}{"0.0175", "0.0175", "0", "0.01", "merchant", operator, "GA", "CFA"}}}
}

func (s *Server) gaRefundCreate(r *http.Request, test bool) answer {
	no := func(message string) answer { return gaNo("statusRequest", message) }
	if n := required(r, "payment_token", "amount", "description"); n != "" {
		return no("Missing parameter " + n)
	}
	amount, ok := parseAmount(r.Form.Get("amount"), "XAF")
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.ga[r.Form.Get("payment_token")]
	switch {
	case t == nil || t.test != test || t.charge == nil || t.charge.State != StatePaid:
		return no("Payment not found")
	case !ok || amount > t.charge.Moved.Amount:
		return no("Invalid amount")
	}
	f := &gaRefund{id: "rfd_" + s.word(6, 36) + "." + s.mixed(12), description: r.Form.Get("description"), amount: amount, made: s.now(), of: t}
	s.refunds[f.id] = f
	return answer{status: http.StatusOK, body: struct {
		Message string      `json:"message"`
		Status  int         `json:"statusRequest"`
		Total   int64       `json:"totalAmount"`
		Client  string      `json:"clientNumber"`
		Fees    json.Number `json:"frais_transaction"`
		Updated int         `json:"updatedFees"`
		ID      string      `json:"refundId"`
	}{"Refund created", 200, amount, t.phone, gaFee(t.charge.Moved.Amount), 0, f.id}}
}

// gaRefundSend sends what was made, once. More than was paid goes back for no
// payment.
func (s *Server) gaRefundSend(r *http.Request, _ bool) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.refunds[r.Form.Get("refund_id")]
	status, message := "200", "Refund OK."
	switch {
	case f == nil:
		status, message = "400", "Refund not found"
	case f.charge != nil:
		status, message = "400", "Refund already sent"
	case f.amount+s.gaGone(f.of) > f.of.charge.Moved.Amount:
		status, message = "400", "Nothing is left to refund"
	default:
		f.charge = &Charge{Provider: MyPayGa, Kind: KindRefund, ID: f.id, Reference: f.of.unique, Phone: f.of.phone,
			Asked: api.Money{Amount: f.amount, Currency: "XAF"}, plan: pays}
		s.open(f.charge)
	}
	comma := ","
	if s.quirks.StrictJSON {
		comma = ""
	}
	id, _ := json.Marshal(r.Form.Get("refund_id")) // a string has no error
	return answer{status: http.StatusOK, body: raw(`{"message":"` + message + `","refund_id":` + string(id) + `,"RefundStatus":"` + status + `"` + comma + `}`)}
}

// gaGone is what was sent back of a payment; the caller holds mu.
func (s *Server) gaGone(t *gaToken) (total int64) {
	for _, f := range s.refunds {
		if f.of == t && f.charge != nil && f.charge.State != StateFailed {
			total += f.amount
		}
	}
	return total
}

func (s *Server) gaRefundInfos(r *http.Request, _ bool) answer {
	none := answer{status: http.StatusOK, body: map[string]any{"message": "Refund not found", "exists": 0, "refund": nil, "statusRequest": "400"}}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.refunds[r.Form.Get("refId")]
	if f == nil {
		return none
	}
	status, message := "200", RefundWaits
	var done *string
	if f.charge != nil && f.charge.State != StateOpen {
		at := gaTime(f.charge.Settled)
		done, message = &at, RefundDone
		if f.charge.State != StatePaid {
			status, message = "400", "Echec du remboursement."
		}
	}
	return answer{status: http.StatusOK, missing: &none, body: struct {
		Message string `json:"message"`
		Exists  int    `json:"exists"`
		Refund  any    `json:"refund"`
		Status  string `json:"statusRequest"`
	}{"Refund found", 1, struct {
		Order       int64   `json:"orderAmount"`
		Amount      int64   `json:"amount"`
		Status      string  `json:"status"`
		Requested   string  `json:"requestDate"`
		Done        *string `json:"opeDate"`
		Method      string  `json:"paymentMethod"`
		Type        string  `json:"refundType"`
		ID          string  `json:"refundId"`
		Message     string  `json:"message"`
		Description string  `json:"description"`
	}{f.of.charge.Moved.Amount, f.amount, status, gaTime(f.made), done, "Airtel Money", "TO", f.id, message, f.description}, "200"}}
}

// A gaLink is a page that takes one payment.
type gaLink struct {
	order, token, description, email, phone string
	amount                                  int64
	made                                    time.Time
	expired, paid, test                     bool
	last                                    *gaToken
}

func (s *Server) gaLinkURL(r *http.Request, l *gaLink) string {
	return s.origin(r) + MyPayGaBase + "/payment/sharedLink/pay?token_url=" + l.token
}

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}

func (s *Server) gaLinkMake(r *http.Request, test bool) answer {
	if n := required(r, "firstname", "lastname", "email", "phone", "amount", "description"); n != "" {
		return gaNo("code", "Missing parameter "+n)
	}
	amount, ok := parseAmount(r.Form.Get("amount"), "XAF")
	if !ok {
		return gaNo("code", "Invalid amount")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &gaLink{order: "s-" + s.mixed(8), token: s.mixed(20), description: r.Form.Get("description"), email: r.Form.Get("email"),
		phone: r.Form.Get("phone"), amount: amount, made: s.now(), test: test}
	s.links[l.order], s.links[l.token] = l, l
	return answer{status: http.StatusOK, body: struct {
		Message string `json:"message"`
		Code    int    `json:"code"`
		Link    any    `json:"link"`
	}{"Link created", 200, struct {
		Order       string `json:"order_ref"`
		Description string `json:"description"`
		Email       string `json:"email"`
		Phone       string `json:"phone"`
		Expired     int    `json:"expired"`
		Paid        int    `json:"paid"`
		URL         string `json:"url"`
	}{l.order, l.description, l.email, l.phone, 0, 0, s.gaLinkURL(r, l)}}}
}

// gaLinkGet shows a link, by either of its names.
func (s *Server) gaLinkGet(r *http.Request, test bool) answer {
	none := gaNo("code", "Link not found")
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.links[r.PathValue("ref")]
	if l == nil || l.test != test {
		return none
	}
	final := "400"
	if l.paid {
		final = "200"
	}
	return answer{status: http.StatusOK, missing: &none, body: struct {
		Message string `json:"message"`
		Created string `json:"created_at"`
		Link    any    `json:"link"`
	}{"Link created", gaTime(l.made), struct {
		Ref         string `json:"ref"`
		Description string `json:"description"`
		Email       string `json:"email"`
		Phone       string `json:"phone"`
		Expired     int    `json:"expired"`
		Final       string `json:"final_status"`
		URL         string `json:"url"`
	}{l.token, l.description, l.email, l.phone, flag(l.expired), final, s.gaLinkURL(r, l)}}}
}

func (s *Server) gaLinkCancel(r *http.Request, test bool) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.links[r.PathValue("ref")]
	if l == nil || l.test != test || l.paid {
		return gaNo("code", "Link not found")
	}
	l.expired = true
	return answer{status: http.StatusOK, body: struct {
		Message string `json:"message"`
		Code    int    `json:"code"`
		Link    string `json:"link"`
	}{"Link updated : Changed to Expired", 200, r.PathValue("ref")}}
}

// gaLinkPage is what a browser sees at a link.
func (s *Server) gaLinkPage(r *http.Request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.links[r.URL.Query().Get("token_url")]
	switch {
	case l == nil || l.expired:
		return shownPage(ended(gaTitle, "This link is not valid any more.", ""))
	case l.paid:
		return shownPage(ended(gaTitle, "Payment done.", ""))
	case l.last != nil && l.last.charge.State == StateOpen:
		return shownPage(waiting(gaTitle, r.URL.RequestURI()))
	}
	note := ""
	if l.last != nil {
		_, _, note = gaOutcome(*l.last.charge, l.last)
	}
	return shownPage(form{title: gaTitle, amount: strconv.FormatInt(l.amount, 10) + " FCFA", note: note, action: r.URL.RequestURI(),
		name: "phone", label: "Mobile money number", button: "Pay"}.page())
}

// gaLinkPay is the button there.
func (s *Server) gaLinkPay(r *http.Request) answer {
	if !readForm(r) {
		return kkRefuse("The form cannot be read.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.links[r.URL.Query().Get("token_url")]
	phone := digits(r.Form.Get("phone"))
	if l != nil && !l.expired && !l.paid && len(phone) >= 8 && (l.last == nil || l.last.charge.State != StateOpen) && s.gaPlan(phone, l.test) != rejected {
		l.last = &gaToken{token: s.mixed(25), unique: l.order, amount: l.amount, test: l.test, link: l}
		s.ga[l.last.token] = l.last
		s.gaOpen(l.last, phone)
	}
	return found(r.URL.RequestURI())
}
