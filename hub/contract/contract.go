// Package contract holds real traffic against sync/api/openapi.yaml, for tests
// and the lab: no program that serves links it. It knows the file, and nothing
// of the hub.
package contract

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"zonegate/sync/api"
)

func init() {
	plain := func(r io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
		b, err := io.ReadAll(r)
		return string(b), err
	}
	openapi3filter.RegisterBodyDecoder("text/event-stream", plain)
}

// A Contract is the file, read and found to be valid OpenAPI 3.1.
type Contract struct {
	doc    *openapi3.T
	router routers.Router
}

// New reads a file.
func New(spec []byte) (*Contract, error) {
	doc, err := openapi3.NewLoader().LoadFromData(spec)
	if err != nil {
		return nil, fmt.Errorf("reading the contract: %w", err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("the contract is no OpenAPI: %w", err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("laying the contract's paths: %w", err)
	}
	return &Contract{doc, router}, nil
}

// An Exchange is one call with its answer.
type Exchange struct {
	Method string
	URL    string // its path begins with /api/v1
	Header http.Header
	Body   []byte

	Status       int
	AnswerHeader http.Header
	Answer       []byte
}

// Check says what of an exchange is not as the contract has it. A call that
// was refused may be wrong: that is what refusals are for. Its answer may not.
func (c *Contract) Check(e Exchange) error {
	r, err := http.NewRequest(e.Method, e.URL, bytes.NewReader(e.Body))
	if err != nil {
		return err
	}
	r.Header = e.Header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if len(e.Body) > 0 && (r.Header.Get("Content-Type") == "" || r.Header.Get("Content-Type") == "application/x-www-form-urlencoded") {
		r.Header.Set("Content-Type", "application/json") // as a server takes it
	}
	// Where the hub is says nothing here.
	r.URL.Scheme, r.URL.Host, r.Host = "", "", ""
	route, params, err := c.router.FindRoute(r)
	if err != nil {
		if e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed {
			return c.CheckSchema("Problem", e.Answer)
		}
		return fmt.Errorf("%s %s is not in the contract: %w", e.Method, r.URL.Path, err)
	}
	options := &openapi3filter.Options{MultiError: true, IncludeResponseStatus: true, AuthenticationFunc: present}
	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: options}
	what := e.Method + " " + route.Path
	var wrong []error
	if e.Status < 400 {
		if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			wrong = append(wrong, fmt.Errorf("the request of %s: %w", what, err))
		}
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: e.Status, Header: e.AnswerHeader, Options: options}
	out.SetBodyBytes(e.Answer)
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		wrong = append(wrong, fmt.Errorf("the answer %d of %s: %w", e.Status, what, err))
	}
	return errors.Join(wrong...)
}

// present is enough of an authentication: whether it is right shows in the
// status of the answer.
func present(_ context.Context, in *openapi3filter.AuthenticationInput) error {
	h := in.RequestValidationInput.Request.Header
	if in.SecurityScheme.Type == "apiKey" {
		if h.Get(in.SecurityScheme.Name) == "" {
			return errors.New("the key is not sent")
		}
		return nil
	}
	if !strings.HasPrefix(h.Get("Authorization"), "Bearer ") {
		return errors.New("no bearer token is sent")
	}
	return nil
}

// CheckSchema says whether a JSON value is what the contract calls by a name.
func (c *Contract) CheckSchema(name string, value []byte) error {
	s, ok := c.doc.Components.Schemas[name]
	if !ok {
		return fmt.Errorf("the contract has no schema %s", name)
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return fmt.Errorf("%s is no JSON: %w", name, err)
	}
	if err := s.Value.VisitJSON(v, openapi3.MultiErrors(), openapi3.EnableJSONSchema2020()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Schema returns the names of a schema's properties, and whether each is
// required.
func (c *Contract) Schema(name string) (map[string]bool, bool) {
	s, ok := c.doc.Components.Schemas[name]
	if !ok {
		return nil, false
	}
	fields := map[string]bool{}
	for f := range s.Value.Properties {
		fields[f] = false
	}
	for _, f := range s.Value.Required {
		fields[f] = true
	}
	return fields, true
}

// Schemas are all names.
func (c *Contract) Schemas() []string {
	var names []string
	for n := range c.doc.Components.Schemas {
		names = append(names, n)
	}
	return names
}

// bodies says which schema the body of a push has.
var bodies = map[string]string{
	api.KindPlan: "PlanSet", api.KindPlanGone: "PlanWithdrawn", api.KindBatch: "BatchIssued",
	api.KindBatchRevoked: "BatchRevoked", api.KindGrant: "GrantIssued", api.KindGrantRevoked: "GrantRevoked",
	api.KindRevoked: "GatewayRevoked", api.KindBrand: "Brand", api.KindGarden: "Garden", api.KindLink: "Link",
	api.KindMessage: "Message",
}

// CheckSigned checks a push as it travels, down to its body.
func (c *Contract) CheckSigned(signed []byte) error {
	if err := c.CheckSchema("Signed", signed); err != nil {
		return err
	}
	var s struct{ Payload string }
	if err := json.Unmarshal(signed, &s); err != nil {
		return err
	}
	payload, err := base64.StdEncoding.DecodeString(s.Payload)
	if err != nil {
		return err
	}
	if err := c.CheckSchema("Push", payload); err != nil {
		return err
	}
	var p struct {
		Kind string
		Body json.RawMessage
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		return err
	}
	return c.CheckSchema(bodies[p.Kind], p.Body)
}

// maxBody bounds what Proxy holds of a call.
const maxBody = 2 << 20

// Proxy stands between gateways and a hub, and reports every exchange that is
// not as the contract has it. Pushes in event streams are checked as they
// pass. The transport is what reaches the hub.
func (c *Contract) Proxy(target *url.URL, transport http.RoundTripper, report func(error)) http.Handler {
	type asked struct{ body []byte }
	type key struct{}
	p := &httputil.ReverseProxy{
		FlushInterval: -1, Transport: transport,
		// The hub or the gateway has hung up: that breaks no contract.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(a *http.Response) error {
			e := Exchange{
				Method: a.Request.Method, URL: a.Request.URL.String(), Header: a.Request.Header,
				Body: a.Request.Context().Value(key{}).(asked).body, Status: a.StatusCode, AnswerHeader: a.Header,
			}
			if strings.HasPrefix(a.Header.Get("Content-Type"), "text/event-stream") {
				a.Body = &checkedStream{ReadCloser: a.Body, check: func(line []byte) {
					if err := c.CheckSigned(line); err != nil {
						report(fmt.Errorf("an event: %w", err))
					}
				}}
			} else {
				body, err := io.ReadAll(io.LimitReader(a.Body, maxBody))
				if err != nil {
					return err
				}
				a.Body.Close()
				a.Body = io.NopCloser(bytes.NewReader(body))
				e.Answer = body
			}
			if err := c.Check(e); err != nil {
				report(err)
			}
			return nil
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), key{}, asked{body}))
		r.Body = io.NopCloser(bytes.NewReader(body))
		p.ServeHTTP(w, r)
	})
}

// A checkedStream looks at the data of events on their way.
type checkedStream struct {
	io.ReadCloser
	check func(data []byte)
	line  []byte
}

func (s *checkedStream) Read(b []byte) (int, error) {
	n, err := s.ReadCloser.Read(b)
	s.line = append(s.line, b[:n]...)
	for {
		line, rest, ok := bytes.Cut(s.line, []byte("\n"))
		if !ok {
			return n, err
		}
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			s.check(data)
		}
		s.line = rest
	}
}
