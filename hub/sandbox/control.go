package sandbox

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"zonegate/sync/api"
)

// Help says what the control API takes.
const Help = `  GET    /_control/state              everything, as JSON
  PUT    /_control/forfaits           the catalogue, a list; what is in it is sent as it is
  PUT    /_control/forfaits/{id}      one forfait, sent as it is
  DELETE /_control/forfaits/{id}
  PUT    /_control/payments/{id}      {"status":"completed"}, and amount_fcfa if another was paid
  PUT    /_control/summaries/{month}  what the summary of 2026-02 says
  PUT    /_control/faults             {"kind":"500","path":"/forfaits","times":2}; kinds: 500, half, hang, null, strings, html
  DELETE /_control/faults             all is well
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
	// Encoded at once: what is in it may change after this.
	raw, err := json.Marshal(map[string]any{
		"forfaits": s.forfaits, "payments": s.payments, "vouchers": append([]voucher{}, s.vouchers...),
		"summaries": s.summaries, "faults": append([]*Fault{}, s.faults...),
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
