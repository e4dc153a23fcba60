package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"zonegate/sync/api"
)

// readJSON reads the one JSON object of a request into v. Fields that it does
// not know are passed over. A body without a type is taken, and with curl also
// one under the label that "curl -d" puts on everything: the samples of the
// RGZ document are written like that.
func readJSON(w http.ResponseWriter, r *http.Request, v any, curl bool) error {
	if err := checkType(r.Header.Get("Content-Type"), curl); err != nil {
		return err
	}
	body, err := readAll(w, r)
	if err != nil {
		return err
	}
	// The decoder would take null for "leave as it is".
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return refuse(http.StatusBadRequest, api.CodeBadRequest, "the body must be one JSON object")
	}
	if err := json.Unmarshal(body, v); err != nil {
		var wrong *json.UnmarshalTypeError
		detail := "the body is no JSON object: " + err.Error()
		if errors.As(err, &wrong) {
			detail = "the field " + wrong.Field + " must not be a " + wrong.Value
		}
		return refuse(http.StatusBadRequest, api.CodeBadRequest, detail)
	}
	return nil
}

func checkType(value string, curl bool) error {
	if value == "" {
		return nil
	}
	kind, _, err := mime.ParseMediaType(value)
	if err == nil && (kind == "application/json" || curl && kind == "application/x-www-form-urlencoded") {
		return nil
	}
	return refuse(http.StatusUnsupportedMediaType, api.CodeBadRequest, "send JSON with the header \"Content-Type: application/json\"")
}

// readAll reads a body of api.MaxBody at most.
func readAll(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > api.MaxBody {
		return nil, &http.MaxBytesError{Limit: api.MaxBody}
	}
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	if _, err := io.Copy(&b, http.MaxBytesReader(w, r.Body, api.MaxBody)); err != nil {
		var tooLong *http.MaxBytesError
		if errors.As(err, &tooLong) {
			return nil, err
		}
		return nil, refuse(http.StatusBadRequest, api.CodeBadRequest, "the body did not come whole")
	}
	return b.Bytes(), nil
}
