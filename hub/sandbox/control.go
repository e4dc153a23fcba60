package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"zonegate/sync/api"
)

// Kinds of a Fault.
const (
	FaultError   = "500"     // an error without JSON
	FaultHalf    = "half"    // half of the body, and the connection is cut
	FaultHang    = "hang"    // no answer until the caller or the fault is gone
	FaultNull    = "null"    // numbers are null
	FaultStrings = "strings" // numbers are strings
	FaultPage    = "html"    // a page of something in between, with status 200
)

var faultKinds = []string{FaultError, FaultHalf, FaultHang, FaultNull, FaultStrings, FaultPage}

// A Fault spoils answers.
type Fault struct {
	Kind string `json:"kind"`
	// Path is what the route begins with, as "/forfaits"; "" is every one.
	Path string `json:"path,omitempty"`
	// Times is how many answers are spoilt; 0 is all.
	Times int `json:"times,omitempty"`
}

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
	lay("GET /{$}", func(*http.Request) answer { return answer{http.StatusOK, Help} })
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

// Break has answers spoilt from now on, beside the faults there are.
func (s *Server) Break(f Fault) error {
	if !slices.Contains(faultKinds, f.Kind) || f.Times < 0 {
		return fmt.Errorf("no fault %q; there are %s", f.Kind, strings.Join(faultKinds, ", "))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
	return nil
}

// Mend ends all faults; what hangs is answered.
func (s *Server) Mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	close(s.cleared)
	s.cleared = make(chan struct{})
}

// fault is what spoils the next answer of a route; "" is nothing.
func (s *Server) fault(path string) (kind string, cleared <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if !strings.HasPrefix(path, f.Path) {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
		}
		return f.Kind, s.cleared
	}
	return "", s.cleared
}

// send answers, well or not.
func (s *Server) send(w http.ResponseWriter, r *http.Request, path string, a answer) {
	kind, cleared := s.fault(path)
	switch kind {
	case FaultError:
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	case FaultPage:
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>Log in</title><p>Please accept the terms.\n")
		return
	case FaultHang:
		select {
		case <-r.Context().Done():
			return
		case <-cleared:
		}
	case FaultHalf:
		body, err := json.Marshal(a.body)
		if err != nil {
			panic(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(a.status)
		w.Write(body[:len(body)/2])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // cuts the connection
	case FaultNull, FaultStrings:
		a.body = respell(a.body, kind == FaultNull)
	}
	if a.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	write(w, a)
}

func write(w http.ResponseWriter, a answer) {
	if text, ok := a.body.(string); ok {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(a.status)
		fmt.Fprint(w, text)
		return
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	body, err := json.Marshal(a.body)
	if err != nil {
		panic(err) // a test's own value
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	w.Write(body)
}

// respell returns what a body is in JSON, with its numbers written otherwise.
func respell(body any, null bool) any {
	raw, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		panic(err)
	}
	return respellValue(v, null)
}

func respellValue(v any, null bool) any {
	switch x := v.(type) {
	case json.Number:
		if null {
			return nil
		}
		return x.String()
	case []any:
		for i := range x {
			x[i] = respellValue(x[i], null)
		}
	case map[string]any:
		for k := range x {
			x[k] = respellValue(x[k], null)
		}
	}
	return v
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
	return answer{http.StatusOK, json.RawMessage(raw)}
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
	p.Status = in.Status
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
