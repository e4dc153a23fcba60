package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Kinds of a Fault.
const (
	FaultError   = "500"     // an error without JSON
	FaultHalf    = "half"    // half of the body, and the connection is cut
	FaultHang    = "hang"    // no answer until the caller or the fault is gone
	FaultNull    = "null"    // numbers are null
	FaultStrings = "strings" // numbers are strings
	FaultNumbers = "numbers" // strings of digits are numbers
	FaultPage    = "html"    // a page of something in between, with status 200
	FaultDrop    = "drop"    // no answer, the connection is cut
	FaultRefuse  = "refuse"  // in process: no connection; else drop before it is done
	FaultDelay   = "delay"   // the answer comes late
	FaultPrinted = "printed" // broken as in the document's sample, where it is
	FaultMissing = "missing" // a lookup does not find what is there

	// Of the charge or payout that is begun next.
	FaultAmount   = "amount"   // another amount moves: Amount, or half
	FaultCurrency = "currency" // another currency moves
	FaultForged   = "forged"   // a callback claims success at once

	// Of callbacks.
	FaultLost    = "lost"
	FaultDouble  = "double"
	FaultLate    = "late"    // by Wait
	FaultReorder = "reorder" // behind the provider's next one
)

var (
	answerFaults   = []string{FaultError, FaultHalf, FaultHang, FaultNull, FaultStrings, FaultNumbers, FaultPage, FaultDrop, FaultRefuse, FaultDelay, FaultPrinted, FaultMissing}
	chargeFaults   = []string{FaultAmount, FaultCurrency, FaultForged}
	callbackFaults = []string{FaultLost, FaultDouble, FaultLate, FaultReorder}
	faultKinds     = slices.Concat(answerFaults, chargeFaults, callbackFaults)
)

// A Fault spoils something that is to come.
type Fault struct {
	Kind string `json:"kind"`
	// Path is what the route begins with: "/forfaits" of RGZ, "/flexpay" or
	// "/flexpay/paymentService" of others; "" is every one. Charges are
	// "/flexpay/charge" and "/flexpay/payout", callbacks "/flexpay/callback"
	// and "/flexpay/payout-callback", and so on.
	Path string `json:"path,omitempty"`
	// Times is how often; 0 is always.
	Times int `json:"times,omitempty"`
	// Before has the call not be done at all. A call that is otherwise spoilt
	// has been done.
	Before bool `json:"before,omitempty"`
	// Wait is how late, in milliseconds; 0 is 5 s.
	Wait int `json:"wait_ms,omitempty"`
	// Amount in minor units and Currency are what moves instead.
	Amount   int64  `json:"amount,omitempty"`
	Currency string `json:"currency,omitempty"`
}

func (f Fault) wait() time.Duration {
	if f.Wait == 0 {
		return 5 * time.Second
	}
	return time.Duration(f.Wait) * time.Millisecond
}

// Break has things spoilt from now on, beside the faults there are.
func (s *Server) Break(f Fault) error {
	if !slices.Contains(faultKinds, f.Kind) || f.Times < 0 || f.Wait < 0 {
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

// take uses up one time of the first fault of a place; the caller holds mu.
func (s *Server) take(path string, from int, kinds []string) (Fault, int) {
	for i := from; i < len(s.faults); i++ {
		f := s.faults[i]
		if !slices.Contains(kinds, f.Kind) || !strings.HasPrefix(path, f.Path) {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
				return *f, i
			}
		}
		return *f, i + 1
	}
	return Fault{}, -1
}

// takeFaults uses up one time of every fault of a place; the caller holds mu.
func (s *Server) takeFaults(path string, kinds []string) (out []Fault) {
	for at := 0; ; {
		f, next := s.take(path, at, kinds)
		if next < 0 {
			return out
		}
		out, at = append(out, f), next
	}
}

// call answers one request of a route, well or not.
func (s *Server) call(w http.ResponseWriter, r *http.Request, path string, do func(r *http.Request) answer) {
	s.mu.Lock()
	s.settleDue()
	f, _ := s.take(path, 0, answerFaults)
	cleared := s.cleared
	s.mu.Unlock()
	if f.Kind == FaultRefuse {
		cutOff(r, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})
	}
	var a answer
	if !f.Before {
		a = do(r)
	}
	switch f.Kind {
	case FaultError:
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	case FaultPage:
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>Log in</title><p>Please accept the terms.\n")
		return
	case FaultDrop:
		cutOff(r, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)})
	case FaultHang:
		if isInside(r) {
			cutOff(r, &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded})
		}
		select {
		case <-r.Context().Done():
			return
		case <-cleared:
		}
	case FaultDelay:
		if !s.virtual {
			timer := time.NewTimer(f.wait())
			select {
			case <-r.Context().Done():
				timer.Stop()
				return
			case <-timer.C:
			}
		}
	case FaultHalf:
		kind, body := a.encode()
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(max(a.status, http.StatusOK))
		w.Write(body[:len(body)/2])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case FaultNull, FaultStrings, FaultNumbers:
		a.body = respell(a.body, f.Kind)
	case FaultPrinted:
		if a.printed != "" {
			a.body = raw(a.printed)
		}
	case FaultMissing:
		if a.missing != nil {
			a = *a.missing
		}
	}
	if f.Before { // a call that hung, or waits no more, and was never done
		panic(http.ErrAbortHandler)
	}
	if a.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	write(w, a)
}

// An answer is a status and what is sent: text, a page, a redirect, raw JSON,
// or anything else as JSON.
type answer struct {
	status int
	body   any
	// printed is the same as the document prints it, if that is broken.
	printed string
	// missing is what is answered if a lookup finds nothing.
	missing *answer
}

type (
	page     string // HTML
	redirect string // where to
	raw      string // sent as JSON, valid or not
)

// encode returns the content type and the body.
func (a answer) encode() (kind string, body []byte) {
	switch b := a.body.(type) {
	case nil, redirect:
		return "", nil
	case string:
		return "text/plain; charset=utf-8", []byte(b)
	case page:
		return "text/html; charset=utf-8", []byte(b)
	case raw:
		return "application/json", []byte(b)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(a.body); err != nil {
		panic(err) // a test's own value
	}
	return "application/json", bytes.TrimRight(out.Bytes(), "\n")
}

func write(w http.ResponseWriter, a answer) {
	if to, ok := a.body.(redirect); ok {
		w.Header().Set("Location", string(to))
	}
	kind, body := a.encode()
	if kind != "" {
		w.Header().Set("Content-Type", kind)
	}
	w.WriteHeader(a.status)
	w.Write(body)
}

// respell returns what a body is in JSON, with its numbers written otherwise.
// What is not JSON stays.
func respell(body any, kind string) any {
	_, octets := answer{body: body}.encode()
	d := json.NewDecoder(bytes.NewReader(octets))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return body
	}
	return respellValue(v, kind)
}

func respellValue(v any, kind string) any {
	switch x := v.(type) {
	case string:
		if kind == FaultNumbers && json.Valid([]byte(x)) && strings.Trim(x, "0123456789.-") == "" && x != "" {
			return json.Number(x)
		}
	case json.Number:
		switch kind {
		case FaultNull:
			return nil
		case FaultStrings:
			return x.String()
		}
	case []any:
		for i := range x {
			x[i] = respellValue(x[i], kind)
		}
	case map[string]any:
		for k := range x {
			x[k] = respellValue(x[k], kind)
		}
	}
	return v
}

// A broken connection is what a caller in process gets.
type broken struct{ err error }

// cutOff ends a call without an answer.
func cutOff(r *http.Request, err error) {
	if isInside(r) {
		panic(broken{err})
	}
	panic(http.ErrAbortHandler)
}

// insideKey marks requests that never saw a network.
type insideKey struct{}

func isInside(r *http.Request) bool { return r.Context().Value(insideKey{}) != nil }

// RoundTrip implements http.RoundTripper: the server answers in process,
// without a socket and without waiting. What is cut, and what hangs, is an
// error at once.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) { return InProcess{s}.RoundTrip(r) }

// InProcess is an http.RoundTripper that calls a handler, as that of a hub to
// which callbacks go.
type InProcess struct{ http.Handler }

func (p InProcess) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	in := r.Clone(context.WithValue(r.Context(), insideKey{}, true))
	in.RequestURI = r.URL.RequestURI()
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	w := &recorder{header: http.Header{}}
	defer func() {
		end := recover()
		failure, isBroken := end.(broken)
		switch {
		case isBroken:
			answer, err = nil, failure.err
		case end == http.ErrAbortHandler && w.flushed:
			// The head and half of the body are there.
			answer = w.result(r)
			answer.Body = io.NopCloser(io.MultiReader(&w.body, cut{}))
		case end == http.ErrAbortHandler:
			answer, err = nil, io.ErrUnexpectedEOF
		case end != nil:
			panic(end)
		}
	}()
	p.ServeHTTP(w, in)
	return w.result(r), nil
}

// cut is where a body ends too early.
type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// A recorder is an answer in memory.
type recorder struct {
	header  http.Header
	status  int
	body    bytes.Buffer
	flushed bool
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

func (w *recorder) Flush() { w.flushed = true }

func (w *recorder) result(r *http.Request) *http.Response {
	w.WriteHeader(http.StatusOK)
	return &http.Response{Status: strconv.Itoa(w.status) + " " + http.StatusText(w.status), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: w.header, Body: io.NopCloser(bytes.NewReader(w.body.Bytes())),
		ContentLength: int64(w.body.Len()), Request: r}
}
