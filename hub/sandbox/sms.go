package sandbox

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// A Message is an SMS that was sent.
type Message struct {
	At   time.Time `json:"at"`
	To   string    `json:"to"`
	From string    `json:"from,omitempty"`
	Text string    `json:"text"`
}

// routeSMS lays an SMS gateway as there are many: GET or POST, parameters in
// the query, a form or JSON, under the names that are common.
func (s *Server) routeSMS() {
	s.mux.HandleFunc(SMSPath, func(w http.ResponseWriter, r *http.Request) { s.call(w, r, "/sms", s.message) })
}

func (s *Server) message(r *http.Request) answer {
	in := map[string]string{}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var body map[string]any
		if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody)).Decode(&body); err != nil {
			return answer{status: http.StatusBadRequest, body: map[string]any{"status": "error", "message": "The body is not JSON"}}
		}
		for k, v := range body {
			if text, ok := v.(string); ok {
				in[k] = text
			}
		}
	} else {
		r.Body = http.MaxBytesReader(nil, r.Body, maxBody)
		if r.ParseMultipartForm(maxBody) != nil && r.ParseForm() != nil {
			return answer{status: http.StatusBadRequest, body: map[string]any{"status": "error", "message": "The form cannot be read"}}
		}
		for k := range r.Form {
			in[k] = r.Form.Get(k)
		}
	}
	first := func(names ...string) string {
		for _, n := range names {
			if in[n] != "" {
				return in[n]
			}
		}
		return ""
	}
	m := Message{To: first("to", "phone", "msisdn", "recipient", "number"), From: first("from", "sender"), Text: first("text", "message", "body", "content", "sms")}
	if m.To == "" || m.Text == "" {
		return answer{status: http.StatusBadRequest, body: map[string]any{"status": "error", "message": "to and text are required"}}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(m)
	return answer{status: http.StatusOK, body: map[string]any{"status": "ok", "id": s.capitals(12)}}
}

// keep has a message be sent; the caller holds mu.
func (s *Server) keep(m Message) {
	m.At = s.now()
	s.messages = append(s.messages, m)
}

// Messages returns what was sent to a number, by its last 8 digits, oldest
// first; "" is everybody's.
func (s *Server) Messages(to string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Message{}
	for _, m := range s.messages {
		if to == "" || tail(m.To) == tail(to) {
			out = append(out, m)
		}
	}
	return out
}

// tail is the last 8 digits of a phone number, however it is written.
func tail(phone string) string {
	var digits []byte
	for i := range len(phone) {
		if phone[i] >= '0' && phone[i] <= '9' {
			digits = append(digits, phone[i])
		}
	}
	return string(digits[max(0, len(digits)-8):])
}
