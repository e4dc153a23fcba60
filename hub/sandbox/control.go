package sandbox

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"zonegate/sync/api"
)

// Help says what the control API takes.
const Help = `  GET    /_control/state                everything, as JSON
  PUT    /_control/faults               {"kind":"500","path":"/forfaits","times":2}; see below
  DELETE /_control/faults               all is well
RGZ:
  PUT    /_control/forfaits             the catalogue, a list; what is in it is sent as it is
  PUT    /_control/forfaits/{id}        one forfait, sent as it is
  DELETE /_control/forfaits/{id}
  PUT    /_control/payments/{id}        {"status":"completed"}, and amount_fcfa if another was paid
  PUT    /_control/summaries/{month}    what the summary of 2026-02 says
Providers:
  GET    /_control/phones               a page for a browser: what waits for an answer, with buttons
  GET    /_control/charges              what providers were asked to move; ?open=1, ?reference=X
  POST   /_control/charges/{id}/approve the customer pays now; {id} is the provider's or the merchant's
  POST   /_control/charges/{id}/refuse  he does not; {"reason":"..."} if you like
  POST   /_control/charges/{id}/forge   a callback that claims success is sent
  GET    /_control/movements            the money that really moved; ?reference=X
  GET    /_control/messages             the SMS that were sent; ?to=number
  PUT    /_control/delay                {"ms":1000}: how long customers take; below zero they wait for approve
  PUT    /_control/quirks               {"flexpay_repeat":"charge|refuse|same","flexpay_check_payouts":true,"mypayga_strict_json":true,
                                        "mypayga_callback_get":true,"kkiapay_state_data":"object|string|double","kkiapay_hmac":true,
                                        "rgz_voucher":true,"nelsius_automatic":true,"nelsius_poor_422":true}
  PUT    /_control/callbacks            {"mypayga":"https://...","kkiapay":"https://..."}: what is declared in their dashboards
  PUT    /_control/nelsius              {"available":500000,"kyc":"verified"}: the wallet

Faults of answers: 500, half, hang, null, strings, numbers, html, drop, refuse, delay, printed, missing. The call has been done, unless
"before":true. delay takes "wait_ms". path begins with RGZ's own (/forfaits), or /flexpay/paymentService, /mypayga/payment/gethash,
/kkiapay/status, /nelsius/withdrawals/request, /sms. Faults of money: amount (with "amount" in minor units, or half), currency,
forged; path /flexpay/charge, /flexpay/payout, /mypayga/refund. Faults of callbacks: lost, double, late (wait_ms), reorder;
path /flexpay/callback, /flexpay/payout-callback, /mypayga/callback, /kkiapay/callback.
`

// routeControl lays the paths by which a test or a person changes the server.
// They need no token.
func (s *Server) routeControl() {
	lay := func(pattern string, do func(r *http.Request) answer) {
		method, path, _ := strings.Cut(pattern, " ")
		s.mux.HandleFunc(method+" /_control"+path, func(w http.ResponseWriter, r *http.Request) { write(w, do(r)) })
	}
	lay("GET /{$}", func(*http.Request) answer { return answer{status: http.StatusOK, body: Help} })
	lay("GET /state", s.state)
	lay("PUT /forfaits", s.setForfaits)
	lay("PUT /forfaits/{id}", s.setForfait)
	lay("DELETE /forfaits/{id}", s.dropForfait)
	lay("PUT /payments/{id}", s.setPayment)
	lay("PUT /summaries/{month}", s.setSummary)
	lay("PUT /faults", func(r *http.Request) answer {
		var f Fault
		if a, ok := readControl(r, &f); !ok {
			return a
		}
		if err := s.Break(f); err != nil {
			return detail(http.StatusUnprocessableEntity, err.Error())
		}
		return answer{status: http.StatusNoContent}
	})
	s.controlProviders(lay)
	lay("DELETE /faults", func(*http.Request) answer { s.Mend(); return answer{status: http.StatusNoContent} })
}

func readControl(r *http.Request, into any) (answer, bool) {
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody)).Decode(into); err != nil {
		return detail(http.StatusUnprocessableEntity, err.Error()), false
	}
	return answer{}, true
}

func (s *Server) state(*http.Request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settleDue()
	// Encoded at once: what is in it may change after this.
	raw, err := json.Marshal(map[string]any{
		"forfaits": s.forfaits, "payments": s.payments, "vouchers": append([]voucher{}, s.vouchers...),
		"summaries": s.summaries, "faults": append([]*Fault{}, s.faults...),
		"charges": append([]*Charge{}, s.charges...), "movements": append([]Movement{}, s.movements...), "messages": append([]Message{}, s.messages...),
		"quirks": s.quirks, "nelsius": map[string]any{"available": s.nel.available, "blocked": s.nel.blocked, "kyc": s.nel.kyc},
	})
	if err != nil {
		return detail(http.StatusInternalServerError, err.Error())
	}
	return answer{status: http.StatusOK, body: json.RawMessage(raw)}
}

func (s *Server) setForfaits(r *http.Request) answer {
	list := []json.RawMessage{}
	if a, ok := readControl(r, &list); !ok {
		return a
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forfaits = list
	return answer{status: http.StatusNoContent}
}

func (s *Server) setForfait(r *http.Request) answer {
	var one json.RawMessage
	if a, ok := readControl(r, &one); !ok {
		return a
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.at(r.PathValue("id")); i >= 0 {
		s.forfaits[i] = one
	} else {
		s.forfaits = append(s.forfaits, one)
	}
	return answer{status: http.StatusNoContent}
}

func (s *Server) dropForfait(r *http.Request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.at(r.PathValue("id"))
	if i < 0 {
		return detail(http.StatusNotFound, "Forfait not found")
	}
	s.forfaits = slices.Delete(s.forfaits, i, i+1)
	return answer{status: http.StatusNoContent}
}

// at is where a forfait stands in the catalogue, -1 if it does not; the caller
// holds mu.
func (s *Server) at(id string) int {
	return slices.IndexFunc(s.forfaits, func(raw json.RawMessage) bool {
		var f struct {
			ID string `json:"id"`
		}
		return json.Unmarshal(raw, &f) == nil && f.ID == id
	})
}

func (s *Server) setPayment(r *http.Request) answer {
	var in struct {
		Status string `json:"status"`
		Amount *int64 `json:"amount_fcfa"`
	}
	if a, ok := readControl(r, &in); !ok {
		return a
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.payments[r.PathValue("id")]
	if p == nil {
		return detail(http.StatusNotFound, "Payment not found")
	}
	s.setStatus(p, in.Status)
	if in.Amount != nil {
		p.AmountFCFA = *in.Amount
	}
	return answer{status: http.StatusNoContent}
}

func (s *Server) setSummary(r *http.Request) answer {
	var in api.Summary
	if a, ok := readControl(r, &in); !ok {
		return a
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	in.Month = r.PathValue("month")
	s.summaries[in.Month] = in
	return answer{status: http.StatusNoContent}
}
