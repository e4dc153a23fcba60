package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

// A refusal is an answer that is no success.
type refusal struct {
	status int
	body   api.Problem
	after  time.Duration // Retry-After, if not 0
}

func (r *refusal) Error() string { return r.body.Detail }

func refuse(status int, code, detail string) error {
	return &refusal{status: status, body: api.Problem{Detail: detail, Code: code}}
}

var (
	errNoToken = refuse(http.StatusUnauthorized, api.CodeUnauthorized,
		"send the header \"Authorization: Bearer\" with a token that is in date")
	errNoPayments = refuse(http.StatusServiceUnavailable, api.CodeUnavailable,
		"this hub has no payment provider: sell vouchers. Nothing was started and nothing is kept")
)

// busy asks the caller to come back.
func busy(detail string, after time.Duration) error {
	return &refusal{status: http.StatusServiceUnavailable, after: after,
		body: api.Problem{Detail: detail, Code: api.CodeUnavailable}}
}

// refusalOf says how an error is answered. What the caller cannot help is a
// 503: he is to try again, and the log has the reason (logged is true).
func refusalOf(err error) (r *refusal, logged bool) {
	if errors.As(err, &r) {
		return r, false
	}
	var (
		gap      *hub.GapError
		conflict *hub.ConflictError
		input    *hub.InputError
		tries    *hub.TriesError
		tooLong  *http.MaxBytesError
	)
	say := func(status int, code string) (*refusal, bool) {
		return &refusal{status: status, body: api.Problem{Detail: err.Error(), Code: code}}, false
	}
	switch {
	case errors.As(err, &gap):
		return &refusal{status: http.StatusConflict, body: api.Problem{Detail: err.Error(), Code: api.CodeGap, Expected: gap.Expected}}, false
	case errors.As(err, &conflict):
		return &refusal{status: http.StatusConflict, body: api.Problem{Detail: err.Error(), Code: api.CodeConflict, Expected: conflict.Expected}}, false
	case errors.As(err, &tries):
		return &refusal{status: http.StatusTooManyRequests, after: tries.After, body: api.Problem{Detail: err.Error(), Code: api.CodeLimit}}, false
	case errors.As(err, &input):
		return say(http.StatusUnprocessableEntity, api.CodeBadRequest)
	case errors.As(err, &tooLong):
		return &refusal{status: http.StatusRequestEntityTooLarge, body: api.Problem{Code: api.CodeBadRequest,
			Detail: "the body is longer than " + strconv.FormatInt(tooLong.Limit, 10) + " octets: send it in parts"}}, false
	case errors.Is(err, hub.ErrUnauthorized):
		return say(http.StatusUnauthorized, api.CodeUnauthorized)
	case errors.Is(err, hub.ErrRevoked):
		return say(http.StatusForbidden, api.CodeRevoked)
	case errors.Is(err, hub.ErrForbidden):
		return say(http.StatusForbidden, api.CodeForbidden)
	case errors.Is(err, hub.ErrNotFound):
		return say(http.StatusNotFound, api.CodeNotFound)
	case errors.Is(err, hub.ErrExists), errors.Is(err, hub.ErrSetUp):
		return say(http.StatusConflict, api.CodeExists)
	case errors.Is(err, hub.ErrUsed):
		return say(http.StatusConflict, api.CodeUsed)
	case errors.Is(err, hub.ErrExpired):
		return say(http.StatusGone, api.CodeExpired)
	case errors.Is(err, hub.ErrLimit):
		return say(http.StatusConflict, api.CodeLimit)
	}
	r = &refusal{status: http.StatusServiceUnavailable, after: 5 * time.Second, body: api.Problem{
		Detail: "the hub cannot do this now; nothing has been lost, try again", Code: api.CodeUnavailable}}
	return r, !errors.Is(err, context.Canceled)
}

// answer writes a refusal.
func (r *refusal) answer(w http.ResponseWriter) {
	h := w.Header()
	if r.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	if r.after > 0 {
		h.Set("Retry-After", strconv.Itoa(int((r.after+time.Second-1)/time.Second)))
	}
	h.Del("ETag")
	writeBody(w, r.status, "application/problem+json", r.body)
}

// writeJSON writes a success.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	return writeBody(w, status, "application/json", v)
}

func writeBody(w http.ResponseWriter, status int, kind string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	w.Write(body) // an error here is the caller's line: nobody to tell
	return nil
}
