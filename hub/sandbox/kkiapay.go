package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"zonegate/sync/api"
)

// A widget is what a merchant hands to the hosted page: the JSON that the
// provider's own clients put into the query in base64.
type widget struct {
	Amount   json.Number     `json:"amount"`
	Key      string          `json:"key"`
	Callback string          `json:"callback"`
	Data     json.RawMessage `json:"data"`
	Partner  string          `json:"partnerId"`
	Reason   string          `json:"reason"`
	Phone    string          `json:"phoneNumber"`
}

// A kkTransaction is what the provider knows beside the charge.
type kkTransaction struct {
	*Charge
	data json.RawMessage
	// label is the merchant's words, widget what the page was asked; rgz is the
	// payment if RGZ is the merchant.
	label, widget, back string
	rgz                 string
}

type kkStatus struct {
	PerformedAt     string          `json:"performed_at"`
	Type            string          `json:"type"`
	Status          string          `json:"status"`
	Source          string          `json:"source"`
	Amount          int64           `json:"amount"`
	Fees            int64           `json:"fees"`
	Country         string          `json:"country"`
	Reason          *string         `json:"reason"`
	FailureCode     *string         `json:"failureCode"`
	FailureMessage  *string         `json:"failureMessage"`
	State           json.RawMessage `json:"state"`
	PartnerID       *string         `json:"partnerId"`
	PerformedAtToo  string          `json:"performedAt"`
	TransactionID   string          `json:"transactionId"`
	FeeSupportedBy  string          `json:"feeSupportedBy"`
	SourceShortName string          `json:"source_common_name"`
}

type kkWebhook struct {
	TransactionID   string          `json:"transactionId"`
	IsPaymentSucces bool            `json:"isPaymentSucces"` // as printed
	Account         string          `json:"account"`
	Label           string          `json:"label"`
	Method          string          `json:"method"`
	Amount          int64           `json:"amount"`
	Fees            int64           `json:"fees"`
	PartnerID       string          `json:"partnerId"`
	PerformedAt     string          `json:"performedAt"`
	StateData       json.RawMessage `json:"stateData"`
	Event           string          `json:"event"`
	FailureCode     string          `json:"failureCode,omitempty"`
	FailureMessage  string          `json:"failureMessage,omitempty"`
}

func (s *Server) routeKKiaPay() {
	lay := func(pattern, route string, do func(r *http.Request) answer) {
		method, path, _ := strings.Cut(pattern, " ")
		s.mux.HandleFunc(method+" "+KKiaPayBase+path, func(w http.ResponseWriter, r *http.Request) { s.call(w, r, "/kkiapay"+route, do) })
	}
	lay("GET /{$}", "/page", s.kkOpenWidget)
	lay("GET /pay/{id}", "/page", s.kkOpenRGZ)
	lay("POST /pay", "/pay", s.kkPay)
	lay("GET /wait/{id}", "/wait", s.kkWait)
	lay("POST /api/v1/transactions/status", "/status", s.kkStatus)
	lay("POST /api/v1/transactions/revert", "/revert", s.kkRevert)
}

// readWidget reads what the page is asked to collect: base64 of JSON as the
// whole query, or the same names as parameters.
func readWidget(query string) (widget, bool) {
	var in widget
	packed, err := url.PathUnescape(query) // a plus sign stays one
	if err != nil {
		return in, false
	}
	packed = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(packed), "=")
	if text, err := base64.RawStdEncoding.DecodeString(packed); err == nil && json.Unmarshal(text, &in) == nil {
		return in, true
	}
	q, err := url.ParseQuery(query)
	if err != nil || q.Get("amount") == "" {
		return in, false
	}
	in = widget{Amount: json.Number(q.Get("amount")), Key: q.Get("key"), Callback: q.Get("callback"), Partner: q.Get("partnerId"),
		Reason: q.Get("reason"), Phone: q.Get("phoneNumber")}
	if data := q.Get("data"); data != "" {
		if in.Data = json.RawMessage(data); !json.Valid(in.Data) {
			in.Data, _ = json.Marshal(data)
		}
	}
	return in, true
}

const kkTitle = "KKiaPay"

func kkForm(amount int64, note, phone, back string, hidden ...[2]string) answer {
	return shownPage(form{title: kkTitle, amount: strconv.FormatInt(amount, 10) + " FCFA", note: note, action: KKiaPayBase + "/pay", hidden: hidden,
		name: "phone", label: "Mobile money number", value: phone, button: "Pay", back: back}.page())
}

func kkRefuse(text string) answer {
	return answer{status: http.StatusBadRequest, body: ended(kkTitle, text, "")}
}

// price is the amount of a widget whose key is the merchant's.
func (s *Server) price(in widget) (int64, bool) {
	amount, ok := parseAmount(in.Amount.String(), "XOF")
	return amount, ok && in.Key == s.o.KKiaPay.PublicKey
}

func (s *Server) kkOpenWidget(r *http.Request) answer {
	in, ok := readWidget(r.URL.RawQuery)
	amount, known := s.price(in)
	if !ok || !known {
		return kkRefuse("The amount or the public key is wrong.")
	}
	return kkForm(amount, "", in.Phone, "", [2]string{"widget", r.URL.RawQuery})
}

func (s *Server) kkOpenRGZ(r *http.Request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.PathValue("id")
	p := s.payments[id]
	if p == nil {
		return answer{status: http.StatusNotFound, body: ended(kkTitle, "There is no such payment.", "")}
	}
	back := website(r.URL.Query().Get("return"))
	if back == "" {
		back = website(r.Referer())
	}
	if p.Status != "pending" {
		return shownPage(ended(kkTitle, "This payment is "+p.Status+".", back))
	}
	return kkForm(p.AmountFCFA, "", "", back, [2]string{"payment", id}, [2]string{"back", back})
}

// Pay does what a person does at a hosted page: he opens its address, types a
// number and presses the button. It returns the id of the charge. The address
// is that of a payment of RGZ or of a widget.
func (s *Server) Pay(address, phone string) (id string, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("reading the address of the page: %w", err)
	}
	fields := url.Values{"phone": {phone}}
	if payment, ok := strings.CutPrefix(u.Path, KKiaPayBase+"/pay/"); ok {
		fields.Set("payment", payment)
	} else {
		fields.Set("widget", u.RawQuery)
	}
	a := s.kkPay(&http.Request{Method: "POST", URL: u, Body: http.NoBody, Form: fields, PostForm: fields})
	to, ok := a.body.(redirect)
	if !ok {
		return "", fmt.Errorf("paying at the page of KKiaPay: it does not take %s for this payment", "the number ending in "+phone[max(0, len(phone)-2):])
	}
	return strings.TrimPrefix(string(to), KKiaPayBase+"/wait/"), nil
}

// kkPay is the button of the page.
func (s *Server) kkPay(r *http.Request) answer {
	if !readForm(r) {
		return kkRefuse("The form cannot be read.")
	}
	phone := digits(r.Form.Get("phone"))
	if len(phone) < 8 {
		return kkRefuse("This is no phone number.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Charge{Provider: KKiaPay, Kind: KindCharge, Phone: phone, plan: outcomeOf(phone)}
	t := &kkTransaction{Charge: c, back: website(r.Form.Get("back"))}
	if id := r.Form.Get("payment"); id != "" {
		p := s.payments[id]
		if p == nil || p.Status != "pending" {
			return kkRefuse("This payment is closed.")
		}
		for _, other := range s.kk {
			if other.rgz == id && other.State == StateOpen {
				return kkRefuse("This payment already waits for a confirmation.")
			}
		}
		if c.plan == rejected {
			return kkForm(p.AmountFCFA, "This number cannot pay.", "", t.back, [2]string{"payment", id}, [2]string{"back", t.back})
		}
		t.rgz, c.Reference, c.Asked = id, id, api.Money{Amount: p.AmountFCFA, Currency: "XOF"}
		c.done = func(c *Charge) {
			switch c.State {
			case StatePaid:
				p.AmountFCFA = c.Moved.Amount
				s.setStatus(p, "completed")
			case StateFailed, StateCanceled:
				s.setStatus(p, "failed")
			case StateRefunded:
				s.setStatus(p, "refunded")
			}
		}
	} else {
		in, ok := readWidget(r.Form.Get("widget"))
		amount, known := s.price(in)
		if !ok || !known {
			return kkRefuse("The amount or the public key is wrong.")
		}
		if c.plan == rejected {
			return kkForm(amount, "This number cannot pay.", "", website(in.Callback), [2]string{"widget", r.Form.Get("widget")})
		}
		t.data, t.label, t.back, t.widget = in.Data, in.Reason, website(in.Callback), r.Form.Get("widget")
		c.Reference, c.Asked = in.Partner, api.Money{Amount: amount, Currency: "XOF"}
		c.tell = func(c Charge) *callback { return s.kkTell(c, t) }
	}
	c.ID = s.mixed(9)
	s.kk[c.ID] = t
	s.open(c)
	return found(KKiaPayBase + "/wait/" + c.ID)
}

func (s *Server) kkWait(r *http.Request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.kk[r.PathValue("id")]
	switch {
	case t == nil:
		return answer{status: http.StatusNotFound, body: ended(kkTitle, "There is no such payment.", "")}
	case t.State == StateOpen:
		return shownPage(waiting(kkTitle, r.URL.Path))
	case t.State == StateFailed || t.State == StateCanceled:
		failed := "The payment failed: " + t.Reason + ". Nothing was charged."
		if t.rgz != "" {
			return shownPage(ended(kkTitle, failed, t.back))
		}
		return kkForm(t.Asked.Amount, failed, "", t.back, [2]string{"widget", t.widget})
	case t.back != "" && t.rgz == "":
		return found(withQuery(t.back, "transaction_id", t.ID))
	case t.back != "":
		return found(t.back)
	}
	return shownPage(ended(kkTitle, "Payment done. You can go back to the page of the WiFi.", ""))
}

// kkCaller says whether a server call has the merchant's three keys.
func (s *Server) kkCaller(r *http.Request) bool {
	same := 1
	for name, want := range map[string]string{"X-API-KEY": s.o.KKiaPay.PublicKey, "X-PRIVATE-KEY": s.o.KKiaPay.PrivateKey, "X-SECRET-KEY": s.o.KKiaPay.SecretKey} {
		same &= subtle.ConstantTimeCompare([]byte(r.Header.Get(name)), []byte(want))
	}
	return same == 1
}

// kkNo is an error; the merchants' libraries name the words, not the bodies.
func kkNo(status int, word string) answer {
	return answer{status: status, body: map[string]any{"status": word, "reason": word}}
}

// kkFind reads whose transaction a server call is about; the caller holds mu.
func (s *Server) kkFind(r *http.Request) (*kkTransaction, answer) {
	var in struct {
		TransactionID string `json:"transactionId"`
	}
	if json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody)).Decode(&in) != nil {
		return nil, kkNo(http.StatusBadRequest, "INVALID_TRANSACTION")
	}
	t := s.kk[in.TransactionID]
	switch {
	case !s.kkCaller(r):
		return nil, kkNo(http.StatusUnauthorized, "UNAUTHORIZED")
	case t == nil:
		return nil, kkNo(http.StatusNotFound, "TRANSACTION_NOT_FOUND")
	case t.rgz != "":
		return nil, kkNo(http.StatusForbidden, "INVALID_TRANSACTION")
	}
	return t, answer{}
}

// kkFees is what the provider keeps, as on its sample: 19 on 1000.
func kkFees(amount int64) int64 { return amount * 19 / 1000 }

func kkTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// kkFailure are the words for an outcome that is none.
func kkFailure(c *Charge) (code, message string) {
	switch {
	case c.State != StateFailed && c.State != StateCanceled:
		return "", ""
	case c.plan == poor:
		return "insufficient_fund", c.Reason
	}
	return "payment_declined", c.Reason
}

func (s *Server) kkStatus(r *http.Request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, no := s.kkFind(r)
	if t == nil {
		return no
	}
	missing := kkNo(http.StatusNotFound, "TRANSACTION_NOT_FOUND")
	status := map[string]string{StateOpen: "PENDING", StatePaid: "SUCCESS", StateFailed: "FAILED", StateCanceled: "FAILED",
		StateRefunding: "SUCCESS", StateRefunded: "REVERTED"}[t.State]
	amount := t.shown().Amount
	out := kkStatus{PerformedAt: kkTime(t.Opened), PerformedAtToo: kkTime(t.Opened), Type: "DEBIT", Status: status, Source: "MOBILE_MONEY", Amount: amount,
		Fees: kkFees(amount), Country: "BJ", State: s.stateData(t), PartnerID: &t.Reference, TransactionID: t.ID, FeeSupportedBy: "merchant", SourceShortName: "mtn-benin"}
	if t.Reference == "" {
		out.PartnerID = nil
	}
	if code, message := kkFailure(t.Charge); code != "" {
		out.Reason, out.FailureCode, out.FailureMessage = &code, &code, &message
	}
	return answer{status: http.StatusOK, body: out, missing: &missing}
}

// kkRevert gives the whole of a payment back, at once.
func (s *Server) kkRevert(r *http.Request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, no := s.kkFind(r)
	switch {
	case t == nil:
		return no
	case t.State != StatePaid:
		return kkNo(http.StatusBadRequest, "TRANSACTION_NOT_ELIGIBLE")
	}
	s.settle(t.Charge, StateRefunded, "")
	return answer{status: http.StatusOK, body: map[string]any{"status": "SUCCESS", "transactionId": t.ID, "amount": t.Moved.Amount}}
}

// stateData is the merchant's data as the quirk has it; the caller holds mu.
func (s *Server) stateData(t *kkTransaction) json.RawMessage {
	data := t.data
	if len(data) == 0 {
		return json.RawMessage("null")
	}
	times := map[string]int{StateString: 1, StateDouble: 2}[s.quirks.StateData]
	for range times {
		data, _ = json.Marshal(string(data)) // a string has no error
	}
	return data
}

// account is the payer as the provider shows him: the old 8 digits of Benin.
func account(phone string) string { return "229" + tail(phone) }

// kkTell reports an outcome; the caller holds mu.
func (s *Server) kkTell(c Charge, t *kkTransaction) *callback {
	m := c.shown()
	body := kkWebhook{TransactionID: c.ID, Account: account(c.Phone), Label: t.label, Method: "MOBILE_MONEY", Amount: m.Amount, Fees: kkFees(m.Amount),
		PartnerID: c.Reference, PerformedAt: kkTime(c.Opened), StateData: s.stateData(t), Event: "transaction.failed"}
	if c.State == StatePaid {
		body.IsPaymentSucces, body.Event = true, "transaction.success"
	} else {
		body.FailureCode, body.FailureMessage = kkFailure(&c)
	}
	_, octets := answer{body: body}.encode()
	secret := s.o.KKiaPay.WebhookSecret
	if s.quirks.HMAC {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(octets)
		secret = hex.EncodeToString(mac.Sum(nil))
	}
	header := http.Header{"Content-Type": {"application/json"}}
	header.Set(api.HeaderSecret, secret)
	return &callback{provider: KKiaPay, route: "/kkiapay/callback", method: "POST", url: s.o.KKiaPay.WebhookURL, header: header, body: octets,
		again: 5, pause: 500 * time.Millisecond}
}
