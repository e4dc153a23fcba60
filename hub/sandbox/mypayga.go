package sandbox

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"zonegate/sync/api"
)

// A gaToken is what gethash reserves: at most one payment is begun with it.
type gaToken struct {
	token, unique, phone string
	amount               int64
	test                 bool // made with a test key
	charge               *Charge
	link                 *gaLink
	// What the provider shows of the outcome, beside the charge.
	method, bank, last4, code, words string
}

// Classes of MyPayGa's keys.
const (
	anyKey = iota
	secretKey
)

func (s *Server) routeMyPayGa() {
	// The name of the field that carries the code differs from call to call.
	lay := func(pattern, route, codeName string, class int, do func(r *http.Request, test bool) answer) {
		method, path, _ := strings.Cut(pattern, " ")
		s.mux.HandleFunc(method+" "+MyPayGaBase+path, func(w http.ResponseWriter, r *http.Request) {
			s.call(w, r, "/mypayga"+route, func(r *http.Request) answer {
				if !readForm(r) {
					return gaNo(codeName, "The parameters cannot be read")
				}
				test, ok := s.gaKey(r.Form.Get("apikey"), class)
				if !ok {
					return gaNo(codeName, "Invalid apikey")
				}
				return do(r, test)
			})
		})
	}
	lay("POST /payment/gethash", "/payment/gethash", "code", anyKey, s.gaHash)
	lay("POST /mpayment/payment-request", "/mpayment/payment-request", "statusRequest", anyKey, s.gaRequest)
	lay("GET /payment/paiement-detail", "/payment/paiement-detail", "code", anyKey, s.gaDetail)
	lay("POST /mpayment/sendClientTransfert", "/mpayment/sendClientTransfert", "statusRequest", secretKey, s.gaTransfer)
	lay("GET /mpayment/getClientTransfert", "/mpayment/getClientTransfert", "status", secretKey, s.gaTransferred)
	lay("GET /mpayment/getFees", "/mpayment/getFees", "statusRequest", anyKey, s.gaFees)
	lay("POST /refund/create", "/refund/create", "statusRequest", secretKey, s.gaRefundCreate)
	lay("POST /refund/send", "/refund/send", "RefundStatus", secretKey, s.gaRefundSend)
	lay("GET /refund/infos", "/refund/infos", "statusRequest", secretKey, s.gaRefundInfos)
	lay("POST /refund/infos", "/refund/infos", "statusRequest", secretKey, s.gaRefundInfos)
	lay("POST /payment/generateLink", "/payment/generateLink", "code", anyKey, s.gaLinkMake)
	lay("POST /payment/getLink/{ref}", "/payment/getLink", "code", anyKey, s.gaLinkGet)
	lay("GET /payment/linkCancel/{ref}", "/payment/linkCancel", "code", anyKey, s.gaLinkCancel)
	lay("GET /mpayment/linkCancel/{ref}", "/mpayment/linkCancel", "code", anyKey, s.gaLinkCancel)
	lay("POST /mpgga-form-cbpay", "/mpgga-form-cbpay", "code", anyKey, s.gaCardForm)
	plain := func(pattern, route string, do func(r *http.Request) answer) {
		method, path, _ := strings.Cut(pattern, " ")
		s.mux.HandleFunc(method+" "+MyPayGaBase+path, func(w http.ResponseWriter, r *http.Request) { s.call(w, r, "/mypayga"+route, do) })
	}
	plain("POST /mpgga-form-cbpay/pay", "/card", s.gaCardPay)
	plain("GET /payment/sharedLink/pay", "/link", s.gaLinkPage)
	plain("POST /payment/sharedLink/pay", "/link", s.gaLinkPay)
}

// gaNo is a failure, which is an HTTP 200 here.
func gaNo(codeName, message string) answer {
	return answer{status: http.StatusOK, body: map[string]any{codeName: "400", "message": message}}
}

// gaKey says whether a key is the merchant's, and of his test account.
func (s *Server) gaKey(key string, class int) (test, ok bool) {
	same := func(want string) bool { return subtle.ConstantTimeCompare([]byte(key), []byte(want)) == 1 }
	o := s.o.MyPayGa
	switch {
	case same(o.Secret):
		return false, true
	case same(o.TestSecret):
		return true, true
	case class == anyKey && same(o.Public):
		return false, true
	case class == anyKey && same(o.TestPublic):
		return true, true
	}
	return false, false
}

// required returns the first of the names that a request lacks.
func required(r *http.Request, names ...string) string {
	for _, n := range names {
		if r.Form.Get(n) == "" {
			return n
		}
	}
	return ""
}

func (s *Server) gaHash(r *http.Request, test bool) answer {
	if n := required(r, "email", "firstname", "lastname", "uniqueID", "amount", "phone", "description"); n != "" {
		return gaNo("code", "Missing parameter "+n)
	}
	amount, ok := parseAmount(r.Form.Get("amount"), "XAF")
	if !ok {
		return gaNo("code", "Invalid amount")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &gaToken{token: s.mixed(25), unique: r.Form.Get("uniqueID"), phone: r.Form.Get("phone"), amount: amount, test: test}
	s.ga[t.token] = t
	return answer{status: http.StatusOK, body: struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Hash    string `json:"hash"`
		Token   string `json:"payment_token"`
		Unique  string `json:"uniqueID"`
	}{"200", "References created successfully", hex.EncodeToString(s.draw(35)), t.token, t.unique}}
}

func (s *Server) gaRequest(r *http.Request, test bool) answer {
	no := func(message string) answer { return gaNo("statusRequest", message) }
	if n := required(r, "email", "firstname", "lastname", "payment_token", "amount", "client_phone", "description"); n != "" {
		return no("Missing parameter " + n)
	}
	amount, ok := parseAmount(r.Form.Get("amount"), "XAF")
	phone := r.Form.Get("client_phone")
	if !ok || digits(phone) != phone || len(phone) < 8 || len(phone) > 15 {
		return no("Invalid amount or phone")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.ga[r.Form.Get("payment_token")]
	switch {
	case t == nil || t.test != test:
		return no("Unknown payment_token")
	case t.charge != nil:
		return no("payment_token already used")
	case t.amount != amount:
		return no("The amount is not that of the payment_token")
	case s.gaPlan(phone, test) == rejected:
		return no("Request refused")
	}
	s.gaOpen(t, phone)
	return answer{status: http.StatusOK, body: struct {
		Message     string `json:"message"`
		Token       string `json:"payment_token"`
		Description string `json:"description"`
		Status      string `json:"statusRequest"`
		Transaction any    `json:"transaction"`
	}{"Request Sent.Please Wait.", t.token, r.Form.Get("description"), "200", struct {
		Amount   int64  `json:"amount"`
		Country  string `json:"country"`
		Currency string `json:"currency"`
		ID       string `json:"id"`
	}{amount, "GA", "CFA", s.capitals(7)}}}
}

// gaPlan is what a number does: the documented ones with test keys alone.
func (s *Server) gaPlan(phone string, test bool) outcome {
	if n, ok := gaTestNumber(phone, test); ok {
		if n.code == "200" {
			return pays
		}
		return poor
	}
	return outcomeOf(phone)
}

func gaTestNumber(phone string, test bool) (testNumber, bool) {
	for _, n := range testNumbers {
		if test && n.phone == phone {
			return n, true
		}
	}
	return testNumber{}, false
}

// gaOpen pushes a request to a phone; the caller holds mu.
func (s *Server) gaOpen(t *gaToken, phone string) {
	t.phone, t.method, t.bank, t.last4 = phone, "Mobile Money", "AM", "0000"
	c := s.gaCharge(t, s.gaPlan(phone, t.test))
	if c.plan == returned {
		c.plan = pays // nothing here would show it
	}
	if n, ok := gaTestNumber(phone, t.test); ok {
		t.words = strings.Replace(n.message, "XXXX FCFA", strconv.FormatInt(t.amount, 10)+" FCFA", 1)
		if n.operator == "Orange Money" {
			t.bank = "OM"
		}
	}
	s.open(c)
}

// gaCharge makes the charge of a token.
func (s *Server) gaCharge(t *gaToken, plan outcome) *Charge {
	c := &Charge{Provider: MyPayGa, Kind: KindCharge, ID: t.token, Reference: t.unique, Phone: t.phone,
		Asked: api.Money{Amount: t.amount, Currency: "XAF"}, plan: plan}
	c.tell = func(c Charge) *callback { return s.gaTell(c, t) }
	c.done = func(c *Charge) {
		if t.link != nil {
			t.link.paid = c.State == StatePaid
		}
	}
	t.charge = c
	return c
}

// gaOutcome is what the provider says of a settled charge: the code of the
// order, the final status, and words. A card that the bank refused has the
// order code 200.
func gaOutcome(c Charge, t *gaToken) (order, final, words string) {
	order, final, words = "400", "400", c.Reason
	if c.State == StatePaid {
		order, final, words = "200", "200", "Success"
	}
	if t.code != "" {
		order = t.code
	}
	if t.words != "" && c.plan != revived {
		words = t.words
	}
	return order, final, words
}

// gaTime writes a time as Libreville reads it.
func gaTime(t time.Time) string {
	return t.In(time.FixedZone("", 3600)).Format("2006-01-02 15:04:05")
}

type gaPayment struct {
	Reference string      `json:"merchand_ref"`
	Token     string      `json:"payment_token"`
	Method    string      `json:"paymentMethod"`
	Callback  int         `json:"mobile_callback"`
	Order     string      `json:"OrderStatus"`
	Message   string      `json:"message_data"`
	Total     int64       `json:"totalAmount"`
	Client    string      `json:"clientNumber"`
	At        string      `json:"orderDateTime"`
	Bank      string      `json:"pmt_banque"`
	Last4     string      `json:"last_4_digits"`
	Name      *string     `json:"nom_prenom_client"`
	Fees      json.Number `json:"frais_transaction"`
	Net       json.Number `json:"montant_net"`
	Final     string      `json:"final_status"`
}

// gaDetail shows what is final, and nothing else.
func (s *Server) gaDetail(r *http.Request, test bool) answer {
	none := gaNo("code", "Payment not found")
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.ga[r.Form.Get("payment_ref")]
	if t == nil || t.test != test || t.charge == nil || t.charge.State == StateOpen {
		return none
	}
	c := t.charge
	amount := c.shown().Amount
	order, final, words := gaOutcome(*c, t)
	environment := "production"
	if test {
		environment = "test"
	}
	return answer{status: http.StatusOK, missing: &none, body: struct {
		Payment     []gaPayment `json:"payment"`
		Code        string      `json:"code"`
		Final       string      `json:"final_status"`
		Reference   string      `json:"merchand_ref"`
		Environment string      `json:"environnement"`
	}{[]gaPayment{{t.unique, t.token, t.method, 1, order, words, amount, t.phone, gaTime(c.Opened), t.bank, t.last4, nil,
		gaFee(amount), json.Number(point(amount*10000-amount*175, 4)), final}}, "200", final, t.unique, environment}}
}

// gaFee is 1.75 %, with all its decimals.
func gaFee(amount int64) json.Number { return json.Number(point(amount*175, 4)) }

// gaTell reports an outcome in the fields of the newer API; the document has
// none. The caller holds mu.
func (s *Server) gaTell(c Charge, t *gaToken) *callback {
	order, _, words := gaOutcome(c, t)
	if c.State == StatePaid && t.charge != nil && t.charge.State != StatePaid { // a forged one
		order, words = "200", "Success"
	}
	amount := strconv.FormatInt(c.shown().Amount, 10)
	signature := ""
	if s.o.MyPayGa.CallbackSecret != "" {
		mac := hmac.New(sha512.New, []byte(s.o.MyPayGa.CallbackSecret))
		mac.Write([]byte(order + t.unique + amount + t.token + t.method + words + t.phone))
		signature = hex.EncodeToString(mac.Sum(nil))
	}
	fields := [][2]string{{"unique_id", t.unique}, {"hash", signature}, {"amount", amount}, {"order_status", order}, {"status_request", "200"},
		{"payment_token", t.token}, {"payment_method", t.method}, {"message", words}, {"client_phone", t.phone}, {"currency", "CFA"}}
	out := &callback{provider: MyPayGa, route: "/mypayga/callback", method: "POST", url: s.o.MyPayGa.CallbackURL, header: http.Header{}}
	if out.url == "" {
		return nil
	}
	if s.quirks.CallbackGET {
		out.method = "GET"
		for _, f := range fields {
			out.url = withQuery(out.url, f[0], f[1])
		}
		return out
	}
	var body bytes.Buffer
	for i, f := range fields {
		name, _ := json.Marshal(f[0])
		value, _ := json.Marshal(f[1]) // strings have no error
		body.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
		body.Write(name)
		body.WriteByte(':')
		body.Write(value)
	}
	body.WriteByte('}')
	out.header.Set("Content-Type", "application/json")
	out.body = body.Bytes()
	return out
}

const gaTitle = "MyPayGa"

// gaCardForm is the bank partner's page.
func (s *Server) gaCardForm(r *http.Request, test bool) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.ga[r.Form.Get("payment_token")]
	if t == nil || t.test != test || t.charge != nil {
		return answer{status: http.StatusOK, body: ended(gaTitle, "This payment is unknown or was used.", "")}
	}
	return shownPage(form{title: gaTitle, amount: strconv.FormatInt(t.amount, 10) + " FCFA", action: MyPayGaBase + "/mpgga-form-cbpay/pay",
		hidden: [][2]string{{"payment_token", t.token}}, name: "card", label: "Card number", button: "Pay"}.page())
}

// gaCardPay is its button: the bank answers at once.
func (s *Server) gaCardPay(r *http.Request) answer {
	if !readForm(r) {
		return kkRefuse("The form cannot be read.")
	}
	number := digits(r.Form.Get("card"))
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.ga[r.Form.Get("payment_token")]
	if t == nil || t.charge != nil || len(number) < 12 {
		return answer{status: http.StatusOK, body: ended(gaTitle, "This payment is unknown or was used, or this is no card number.", "")}
	}
	t.method, t.bank, t.last4, t.code, t.words = "Card", "CB", number[len(number)-4:], "200", "PAYMENT SUCCESS"
	paid := true
	for _, card := range testCards {
		if t.test && card.number == number {
			paid, t.code, t.words = card.paid, card.code, card.message
		}
	}
	c := s.gaCharge(t, silent)
	s.open(c)
	to := s.o.MyPayGa.SuccessURL
	if paid {
		s.settle(c, StatePaid, "")
	} else {
		to = s.o.MyPayGa.FailURL
		s.settle(c, StateFailed, t.words)
	}
	if website(to) != "" {
		return found(withQuery(to, "payment_token", t.token))
	}
	return shownPage(ended(gaTitle, t.words, ""))
}
