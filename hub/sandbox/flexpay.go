package sandbox

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"

	"zonegate/sync/api"
)

// FlexPay numbers its answers with strings, and spells them as its document
// prints them.
type flexAnswer struct {
	Code        string `json:"code"`
	Message     string `json:"message"`
	OrderNumber string `json:"orderNumber,omitempty"`
}

type flexFound struct {
	Code        string          `json:"code"`
	Messsage    string          `json:"messsage"` // as printed
	Transaction flexTransaction `json:"transaction"`
}

type flexTransaction struct {
	Reference      string `json:"reference"`
	Amount         string `json:"amount"`
	AmountCustomer string `json:"amountCustomer"`
	Currency       string `json:"currency"`
	CreatedAt      string `json:"createdAt"`
	Status         string `json:"status"`
	Channel        string `json:"channel"`
}

type flexMissing struct {
	Code        string    `json:"code"`
	Message     string    `json:"message"`
	Transaction *struct{} `json:"transaction"`
}

type flexCallback struct {
	Code              string `json:"code"`
	Reference         string `json:"reference"`
	Amount            string `json:"amount"`
	AmountCustomer    string `json:"amountCustomer"`
	Phone             string `json:"phone"`
	Currency          string `json:"currency"`
	CreatedAt         string `json:"createdAt"`
	Channel           string `json:"channel"`
	OrderNumber       string `json:"orderNumber,omitempty"`
	OrderNumer        string `json:"orderNumer,omitempty"` // of payouts, as printed
	ProviderReference string `json:"provider_reference"`
}

func (s *Server) routeFlexPay() {
	lay := func(method, path, route string, do func(r *http.Request) answer) {
		s.mux.HandleFunc(method+" "+FlexPayBase+path, func(w http.ResponseWriter, r *http.Request) {
			s.call(w, r, "/flexpay"+route, func(r *http.Request) answer {
				_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
				if subtle.ConstantTimeCompare([]byte(token), []byte(s.o.FlexPay.Token)) != 1 {
					return answer{status: http.StatusUnauthorized, body: flexAnswer{Code: "1", Message: "Jeton invalide"}}
				}
				return do(r)
			})
		})
	}
	lay("POST", "/paymentService", "/paymentService", func(r *http.Request) answer { return s.flexBegin(r, KindCharge) })
	lay("POST", "/merchantPayOutService", "/merchantPayOutService", func(r *http.Request) answer { return s.flexBegin(r, KindPayout) })
	lay("GET", "/check/{order}", "/check", s.flexCheck)
}

func flexNo(message string) answer {
	return answer{status: http.StatusOK, body: flexAnswer{Code: "1", Message: message}}
}

// congolese is how FlexPay wants a number: no plus sign.
var congolese = regexp.MustCompile(`^243\d{9}$`)

func (s *Server) flexBegin(r *http.Request, kind string) answer {
	var in map[string]any
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody))
	d.UseNumber()
	if err := d.Decode(&in); err != nil {
		return flexNo("Requête invalide")
	}
	// The document's values are strings; a number is read like one.
	get := func(name string) string {
		switch v := in[name].(type) {
		case string:
			return v
		case json.Number:
			return v.String()
		}
		return ""
	}
	for _, name := range []string{"merchant", "type", "phone", "reference", "amount", "currency", "callbackUrl"} {
		if get(name) == "" {
			return flexNo("Champ obligatoire : " + name)
		}
	}
	currency := get("currency")
	amount, ok := parseAmount(get("amount"), currency)
	switch {
	case get("merchant") != s.o.FlexPay.Merchant:
		return flexNo("Marchand inconnu")
	case get("type") != "1":
		return flexNo("Type non pris en charge")
	case currency != "CDF" && currency != "USD":
		return flexNo("Devise invalide")
	case !ok:
		return flexNo("Montant invalide")
	case !congolese.MatchString(get("phone")):
		return flexNo("Numéro invalide")
	}
	plan := outcomeOf(get("phone"))
	if plan == rejected {
		return flexNo("Transaction refusée")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	message, space := "Demande reçue, le client doit la confirmer", ""
	if kind == KindPayout {
		message, space = "Demande reçue.", " " // as printed
	}
	known := kind + " " + get("reference")
	if before := s.flex[known]; before != nil {
		switch s.quirks.Repeat {
		case RepeatRefuse:
			return flexNo("Référence déjà utilisée")
		case RepeatSame:
			return answer{status: http.StatusOK, body: flexAnswer{"0", message, space + before.ID}}
		}
	}
	route := "/flexpay/callback"
	if kind == KindPayout {
		route = "/flexpay/payout-callback"
	}
	to := get("callbackUrl")
	c := &Charge{Provider: FlexPay, Kind: kind, ID: s.mixed(12) + get("phone"), Reference: get("reference"), Phone: get("phone"),
		Asked: api.Money{Amount: amount, Currency: currency}, plan: plan, channel: flexChannel(get("phone"))}
	c.tell = func(c Charge) *callback { return flexTell(c, route, to) }
	s.flex[known] = c
	s.open(c)
	return answer{status: http.StatusOK, body: flexAnswer{"0", message, space + c.ID}}
}

func (s *Server) flexCheck(r *http.Request) answer {
	none := answer{status: http.StatusOK, body: flexMissing{Code: "1", Message: "Rien sous ce numéro"}}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.byID[strings.TrimSpace(r.PathValue("order"))]
	if c == nil || c.Provider != FlexPay || c.Kind == KindPayout && !s.quirks.CheckPayouts {
		return none
	}
	status, message := "1", "Paiement non abouti"
	switch c.State {
	case StatePaid:
		status, message = "0", "Paiement connu"
	case StateOpen:
		status, message = "2", "Paiement connu"
	case StateRefunding:
		status, message = "3", "Paiement connu"
	case StateRefunded:
		status, message = "4", "Paiement connu"
	case StateCanceled:
		status = "5"
	}
	m := c.shown()
	n := decimals(m.Currency)
	return answer{status: http.StatusOK, missing: &none, body: flexFound{"0", message, flexTransaction{
		c.Reference, point(m.Amount, n), point(withCommission(m.Amount), n), m.Currency, flexTime(c.Opened), status, c.channel}}}
}

// shown is what a lookup says of the amount: what moved, once it has.
func (c *Charge) shown() api.Money {
	if c.Moved.Currency != "" {
		return c.Moved
	}
	return c.Asked
}

// withCommission adds the operator's 2 %, which the customer pays on top.
func withCommission(v int64) int64 { return v + v*2/100 }

// flexTime writes a time as Kinshasa reads it, day first.
func flexTime(t time.Time) string {
	return t.In(time.FixedZone("", 3600)).Format("02-01-2006 15:04:05")
}

func flexChannel(phone string) string {
	switch phone[3:5] {
	case "80", "84", "85", "89":
		return "orange"
	case "97", "98", "99":
		return "airtelmoney"
	case "90", "91":
		return "afrimoney"
	}
	return "mpesa"
}

// flexTell reports an outcome; nobody signs it, and nobody sends it again.
func flexTell(c Charge, route, to string) *callback {
	m := c.shown()
	n := decimals(m.Currency)
	body := flexCallback{Code: "1", Reference: c.Reference, Amount: point(m.Amount, n), AmountCustomer: point(withCommission(m.Amount), n),
		Phone: c.Phone, Currency: m.Currency, CreatedAt: flexTime(c.Opened), Channel: c.channel, OrderNumber: c.ID}
	if c.State == StatePaid {
		body.Code, body.ProviderReference = "0", c.receipt
	}
	if c.Kind == KindPayout {
		body.OrderNumber, body.OrderNumer = "", c.ID
	}
	_, octets := answer{body: body}.encode()
	return &callback{provider: FlexPay, route: route, method: "POST", url: to, header: http.Header{"Content-Type": {"application/json"}}, body: octets}
}
