package sandbox

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"zonegate/sync/api"
)

// What a withdrawal may be.
const (
	nelLeast     = 500
	nelMost      = 500_000
	nelStep      = 100
	nelDay       = 1_000_000
	nelPerDay    = 5
	nelCodeLife  = 10 * time.Minute
	nelTries     = 5
	nelTokenLife = time.Hour
)

// nelKYC are the limits of a day.
var nelKYC = map[string]int64{"unverified": 0, "basic": 500_000, "verified": 1_000_000, "premium": 5_000_000}

var nelOperators = map[string]string{"orange_money": "Orange Money", "mtn_money": "MTN Money", "moov_money": "Moov Money"}

// A nelBank is what Nelsius knows: one wallet, its withdrawals, and who is
// signed in.
type nelBank struct {
	available, blocked int64
	kyc                string
	list               []*nelWithdrawal
	tokens             map[string]nelToken
}

type nelToken struct {
	admin bool
	until time.Time
}

type nelWithdrawal struct {
	id                         int
	reference, phone, operator string
	amount, fees               int64
	status, code, reason       string
	tries                      int
	made, changed, expires     time.Time
	verified, processed        time.Time
	manualReference, notes     string
	charge                     *Charge
}

func (s *Server) routeNelsius() {
	lay := func(pattern, route string, admin bool, do func(r *http.Request) answer) {
		method, path, _ := strings.Cut(pattern, " ")
		s.mux.HandleFunc(method+" "+NelsiusBase+path, func(w http.ResponseWriter, r *http.Request) {
			s.call(w, r, "/nelsius"+route, func(r *http.Request) answer {
				s.mu.Lock()
				defer s.mu.Unlock()
				_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
				who, ok := s.nel.tokens[token]
				switch {
				case !ok || !s.now().Before(who.until):
					return answer{status: http.StatusUnauthorized, body: map[string]any{"message": "Unauthenticated."}}
				case admin && !who.admin:
					return nelNo(http.StatusForbidden, "Accès refusé")
				}
				return do(r)
			})
		})
	}
	s.mux.HandleFunc("POST "+NelsiusBase+"/auth/login", func(w http.ResponseWriter, r *http.Request) { s.call(w, r, "/nelsius/auth/login", s.nelLogin) })
	lay("GET /withdrawals/check-eligibility", "/withdrawals/check-eligibility", false, s.nelEligible)
	lay("GET /withdrawals/fees-calculator", "/withdrawals/fees-calculator", false, s.nelFees)
	lay("GET /withdrawals/stats", "/withdrawals/stats", false, s.nelStats)
	lay("POST /withdrawals/request", "/withdrawals/request", false, s.nelRequest)
	lay("POST /withdrawals/{id}/validate", "/withdrawals/validate", false, s.nelValidate)
	lay("POST /withdrawals/{id}/cancel", "/withdrawals/cancel", false, s.nelCancel)
	lay("POST /withdrawals/{id}/resend-code", "/withdrawals/resend-code", false, s.nelResend)
	lay("GET /withdrawals", "/withdrawals/list", false, s.nelList)
	lay("GET /withdrawals/{id}", "/withdrawals/show", false, s.nelShow)
	lay("GET /admin/withdrawals/pending", "/admin/pending", true, s.nelPending)
	lay("GET /admin/withdrawals/stats", "/admin/stats", true, s.nelAdminStats)
	lay("GET /admin/withdrawals/search", "/admin/search", true, s.nelSearch)
	lay("POST /admin/withdrawals/{id}/process", "/admin/process", true, s.nelProcess)
	lay("POST /admin/withdrawals/{id}/fail", "/admin/fail", true, s.nelFail)
}

// A nelError is an answer that is no.
type nelError struct {
	Success bool                `json:"success"`
	Message string              `json:"message"`
	Errors  map[string][]string `json:"errors,omitempty"`
	KYC     string              `json:"kyc_status,omitempty"`
}

func nelNo(status int, message string) answer {
	return answer{status: status, body: nelError{Message: message}}
}

func nelInvalid(errors map[string][]string) answer {
	return answer{status: http.StatusBadRequest, body: nelError{Message: "Validation error", Errors: errors}}
}

func nelYes(status int, message string, data any) answer {
	body := struct {
		Success bool   `json:"success"`
		Message string `json:"message,omitempty"`
		Data    any    `json:"data"`
	}{true, message, data}
	return answer{status: status, body: body}
}

// cents writes XAF with the decimals that the API has and the currency has not.
func cents(v int64) json.Number { return json.Number(fixed(v*100, 2)) }

// douala is the clock of the API, which names no zone.
var douala = time.FixedZone("", 3600)

// nelTime is null for no time.
func nelTime(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := t.In(douala).Format(time.DateTime)
	return &text
}

func (s *Server) nelLogin(r *http.Request) answer {
	var in struct {
		Email    string `json:"email"`
		Password string `json:"password"`
	}
	if json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody)).Decode(&in) != nil || in.Email == "" || in.Password == "" {
		return nelInvalid(map[string][]string{"email": {"Les identifiants sont obligatoires."}})
	}
	is := func(email, password string) bool {
		return strings.EqualFold(in.Email, email) && subtle.ConstantTimeCompare([]byte(in.Password), []byte(password)) == 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.o.Nelsius
	admin := is(o.AdminEmail, o.AdminPassword)
	if !admin && !is(o.Email, o.Password) {
		return nelNo(http.StatusUnauthorized, "Identifiants invalides")
	}
	token := s.mixed(40)
	s.nel.tokens[token] = nelToken{admin, s.now().Add(nelTokenLife)}
	// The document does not show this answer.
	return nelYes(http.StatusOK, "Connexion réussie", map[string]any{"token": token, "access_token": token, "token_type": "bearer",
		"expires_in": int(nelTokenLife / time.Second)})
}

// nelUsed is what counts of a day's limit: amount and number.
func (s *Server) nelUsed() (total int64, count int) {
	day := s.now().In(douala).Format(time.DateOnly)
	for _, w := range s.nel.list {
		switch {
		case w.made.In(douala).Format(time.DateOnly) != day, w.status == "cancelled", w.status == "failed", w.status == "expired":
		default:
			total, count = total+w.amount, count+1
		}
	}
	return total, count
}

// nelLimit is what a day may have.
func (s *Server) nelLimit() int64 { return min(nelDay, nelKYC[s.nel.kyc]) }

func (s *Server) nelNeedsKYC() (answer, bool) {
	if nelKYC[s.nel.kyc] > 0 {
		return answer{}, false
	}
	return answer{status: http.StatusForbidden, body: nelError{Message: "Vérification KYC requise pour les retraits", KYC: "pending"}}, true
}

func (s *Server) nelEligible(*http.Request) answer {
	if a, no := s.nelNeedsKYC(); no {
		return a
	}
	used, count := s.nelUsed()
	left := max(0, s.nelLimit()-used)
	reasons := []string{}
	if left < nelLeast {
		reasons = append(reasons, "Limite journalière atteinte")
	}
	if count >= nelPerDay {
		reasons = append(reasons, "Nombre maximal de retraits atteint")
	}
	if s.nel.available < nelLeast {
		reasons = append(reasons, "Solde insuffisant")
	}
	return nelYes(http.StatusOK, "", struct {
		Eligible  bool        `json:"eligible"`
		Reasons   []string    `json:"reasons"`
		Limit     json.Number `json:"daily_limit"`
		Used      json.Number `json:"used_today"`
		Available json.Number `json:"available_today"`
		Balance   json.Number `json:"wallet_balance"`
	}{len(reasons) == 0, reasons, cents(s.nelLimit()), cents(used), cents(left), cents(s.nel.available)})
}

func nelFee(amount int64) int64 { return min(5000, max(100, amount*15/1000)) }

func (s *Server) nelFees(r *http.Request) answer {
	q := r.URL.Query()
	amount, ok := parseAmount(q.Get("amount"), "XAF")
	name := nelOperators[q.Get("operator")]
	errors := map[string][]string{}
	if !ok || amount < nelLeast {
		errors["amount"] = []string{"Le montant minimum est de 500."}
	}
	if name == "" {
		errors["operator"] = []string{"L'opérateur est invalide."}
	}
	if len(errors) > 0 {
		return nelInvalid(errors)
	}
	return nelYes(http.StatusOK, "", struct {
		Amount      json.Number `json:"amount"`
		Fees        json.Number `json:"fees"`
		Net         json.Number `json:"net_amount"`
		Percentage  json.Number `json:"fee_percentage"`
		Least       json.Number `json:"min_fee"`
		Most        json.Number `json:"max_fee"`
		Description string      `json:"description"`
	}{cents(amount), cents(nelFee(amount)), cents(amount - nelFee(amount)), "1.5", cents(100), cents(5000), "Frais " + name})
}

var cameroonian = regexp.MustCompile(`^\+2376\d{8}$`)

// nelRequest reserves the amount and sends a code to the beneficiary. Nothing
// tells a repeated call from another one.
func (s *Server) nelRequest(r *http.Request) answer {
	if a, no := s.nelNeedsKYC(); no {
		return a
	}
	var in struct {
		Amount   json.Number `json:"amount"`
		Phone    string      `json:"phone_number"`
		Operator string      `json:"operator"`
	}
	if json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody)).Decode(&in) != nil {
		return nelInvalid(map[string][]string{"amount": {"Le montant est obligatoire."}})
	}
	amount, ok := parseAmount(in.Amount.String(), "XAF")
	errors := map[string][]string{}
	switch {
	case !ok || amount%nelStep != 0:
		errors["amount"] = []string{"Le montant doit être un multiple de 100."}
	case amount < nelLeast:
		errors["amount"] = []string{"Le montant minimum est de 500."}
	case amount > nelMost:
		errors["amount"] = []string{"Le montant maximum est de 500000."}
	}
	if !cameroonian.MatchString(in.Phone) {
		errors["phone_number"] = []string{"Le numéro doit être un numéro camerounais valide (+2376xxxxxxxx)"}
	}
	if nelOperators[in.Operator] == "" {
		errors["operator"] = []string{"L'opérateur est invalide."}
	}
	if len(errors) > 0 {
		return nelInvalid(errors)
	}
	used, count := s.nelUsed()
	switch {
	case amount > s.nel.available:
		status := http.StatusBadRequest
		if s.quirks.Poor422 {
			status = http.StatusUnprocessableEntity
		}
		return nelNo(status, "Solde insuffisant")
	case used+amount > s.nelLimit():
		return nelNo(http.StatusBadRequest, "Limite journalière dépassée")
	case count >= nelPerDay:
		return nelNo(http.StatusBadRequest, "Nombre maximal de retraits atteint")
	}
	now := s.now()
	w := &nelWithdrawal{id: len(s.nel.list) + 1, phone: in.Phone, operator: in.Operator, amount: amount, fees: nelFee(amount),
		reference: "WTH" + strconv.FormatInt(now.Unix(), 10) + strings.ToLower(s.mixed(6)), status: "pending_verification", made: now, changed: now}
	s.nel.available -= amount
	s.nel.blocked += amount
	s.nel.list = append(s.nel.list, w)
	s.nelCode(w)
	return nelYes(http.StatusCreated, "Code de retrait envoyé au bénéficiaire", struct {
		ID        int         `json:"withdrawal_id"`
		Reference string      `json:"reference"`
		Expires   *string     `json:"code_expires_at"`
		Amount    json.Number `json:"amount"`
		Fees      json.Number `json:"fees"`
		Net       json.Number `json:"net_amount"`
	}{w.id, w.reference, nelTime(w.expires), cents(w.amount), cents(w.fees), cents(w.amount - w.fees)})
}

// nelCode sends a fresh code, and plans the end of its life.
func (s *Server) nelCode(w *nelWithdrawal) {
	w.code, w.tries, w.expires = "", 0, s.now().Add(nelCodeLife)
	for len(w.code) < 6 {
		if v := s.draw(1)[0]; v < 250 {
			w.code += strconv.Itoa(int(v % 10))
		}
	}
	s.keep(Message{To: w.phone, From: "NELSIUS", Text: "Votre code de retrait est " + w.code})
	code := w.code
	s.after(nelCodeLife, func() {
		if w.status == "pending_verification" && w.code == code {
			s.nelReturn(w, "expired", "")
		}
	})
}

// nelReturn ends a withdrawal without paying: the money is the wallet's again.
func (s *Server) nelReturn(w *nelWithdrawal, status, reason string) {
	w.status, w.reason, w.changed = status, reason, s.now()
	s.nel.blocked -= w.amount
	s.nel.available += w.amount
}

// nelFind is the withdrawal of a path.
func (s *Server) nelFind(r *http.Request) (*nelWithdrawal, answer) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || id < 1 || id > len(s.nel.list) {
		return nil, nelNo(http.StatusNotFound, "Retrait non trouvé")
	}
	return s.nel.list[id-1], answer{}
}

func (s *Server) nelValidate(r *http.Request) answer {
	w, no := s.nelFind(r)
	if w == nil {
		return no
	}
	var in struct {
		Code string `json:"code"`
	}
	if json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody)).Decode(&in) != nil || in.Code == "" {
		return nelInvalid(map[string][]string{"code": {"Le code est obligatoire."}})
	}
	switch {
	case w.status == "expired":
		return nelNo(http.StatusBadRequest, "Code expiré")
	case w.status != "pending_verification":
		return nelNo(http.StatusBadRequest, "Ce retrait n'attend pas de code")
	case subtle.ConstantTimeCompare([]byte(in.Code), []byte(w.code)) != 1:
		if w.tries++; w.tries >= nelTries {
			s.nelReturn(w, "cancelled", "")
			return nelNo(http.StatusBadRequest, "Nombre maximal de tentatives atteint")
		}
		return nelNo(http.StatusBadRequest, "Code invalide")
	}
	w.status, w.verified, w.changed = "pending_processing", s.now(), s.now()
	s.nelPay(w)
	return nelYes(http.StatusOK, "Code validé. Notre équipe traitera votre retrait sous peu.", struct {
		ID        int         `json:"id"`
		Reference string      `json:"withdrawal_reference"`
		Amount    json.Number `json:"amount"`
		Status    string      `json:"status"`
		Verified  bool        `json:"is_code_verified"`
		At        *string     `json:"code_verified_at"`
	}{w.id, w.reference, cents(w.amount), w.status, true, nelTime(w.verified)})
}

// nelPay opens the payout to the beneficiary, which an admin or the automaton
// settles.
func (s *Server) nelPay(w *nelWithdrawal) {
	plan := silent
	if s.quirks.Automatic {
		plan = outcomeOf(w.phone)
	}
	w.charge = &Charge{Provider: Nelsius, Kind: KindPayout, ID: w.reference, Phone: w.phone, plan: plan,
		Asked: api.Money{Amount: w.amount - w.fees, Currency: "XAF"}}
	w.charge.done = func(c *Charge) {
		switch c.State {
		case StatePaid:
			w.status, w.processed, w.changed = "completed", s.now(), s.now()
			s.nel.blocked -= w.amount
		case StateFailed:
			s.nelReturn(w, "failed", c.Reason)
		}
	}
	s.open(w.charge)
}

func (s *Server) nelCancel(r *http.Request) answer {
	w, no := s.nelFind(r)
	switch {
	case w == nil:
		return no
	case w.status != "pending_verification":
		return nelNo(http.StatusBadRequest, "Ce retrait ne peut pas être annulé")
	}
	s.nelReturn(w, "cancelled", "")
	return nelYes(http.StatusOK, "Retrait annulé", struct {
		ID       int         `json:"id"`
		Status   string      `json:"status"`
		Refunded json.Number `json:"refunded_amount"`
	}{w.id, w.status, cents(w.amount)})
}

func (s *Server) nelResend(r *http.Request) answer {
	w, no := s.nelFind(r)
	switch {
	case w == nil:
		return no
	case w.status != "pending_verification":
		return nelNo(http.StatusBadRequest, "Ce retrait n'attend pas de code")
	}
	s.nelCode(w)
	return nelYes(http.StatusOK, "Code renvoyé", struct {
		Expires *string `json:"code_expires_at"`
	}{nelTime(w.expires)})
}
