package contract_test

import (
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"zonegate/hub/contract"
	"zonegate/sync/api"
)

func load(t *testing.T) *contract.Contract {
	t.Helper()
	spec, err := os.ReadFile("../../sync/api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := contract.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wire are all types of package api that travel.
var wire = []any{
	api.Forfait{}, api.Forfaits{}, api.Initiate{}, api.Initiated{}, api.WebhookAnswer{}, api.PaymentStatus{},
	api.Generate{}, api.Voucher{}, api.Vouchers{}, api.Summary{}, api.Split{}, api.Problem{}, api.Login{}, api.Token{},
	api.Money{}, api.Enrol{}, api.Enrolled{}, api.Plan{}, api.Catalogue{}, api.Entry{}, api.Usage{}, api.Reports{},
	api.Reported{}, api.Heartbeat{}, api.Health{}, api.Beat{}, api.Claim{}, api.Intent{}, api.Payment{}, api.Channel{},
	api.Push{}, api.Signed{}, api.Pushes{}, api.PlanSet{}, api.PlanWithdrawn{}, api.BatchIssued{}, api.BatchRevoked{},
	api.GrantIssued{}, api.GrantRevoked{}, api.GatewayRevoked{}, api.Brand{}, api.Garden{}, api.Link{}, api.Message{},
	api.Ack{}, api.Acks{},
}

// TestTypesAndFileAreOne: every type has its schema with the same fields, and
// what is always sent is required; the file has no schema without a type.
func TestTypesAndFileAreOne(t *testing.T) {
	c := load(t)
	left := c.Schemas()
	for _, v := range wire {
		typ := reflect.TypeOf(v)
		left = slices.DeleteFunc(left, func(n string) bool { return n == typ.Name() })
		schema, ok := c.Schema(typ.Name())
		if !ok {
			t.Errorf("the file has no schema %s", typ.Name())
			continue
		}
		for i := range typ.NumField() {
			name, options, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			required, ok := schema[name]
			switch always := !strings.Contains(options, "omitempty"); {
			case !ok:
				t.Errorf("%s.%s is not in the file", typ.Name(), name)
			case always != required:
				t.Errorf("%s.%s: always sent is %v, required in the file is %v", typ.Name(), name, always, required)
			}
			delete(schema, name)
		}
		for name := range schema {
			t.Errorf("%s.%s is in the file alone", typ.Name(), name)
		}
	}
	if len(left) > 0 {
		t.Errorf("schemas without a type: %v", left)
	}
}

// TestWrongIsSeen: a check that lets everything pass is none.
func TestWrongIsSeen(t *testing.T) {
	c := load(t)
	token := http.Header{"Authorization": {"Bearer x"}}
	jsonHeader := http.Header{"Content-Type": {"application/json"}}
	problem := http.Header{"Content-Type": {"application/problem+json"}}
	good := contract.Exchange{Method: "GET", URL: "https://hub.example/api/v1/forfaits?page=1", Status: 200, AnswerHeader: jsonHeader,
		Answer: []byte(`{"items":[{"id":"a","name":"b","price_fcfa":500,"duration_hours":24,"data_limit_mb":500,"cir_kbps":512,"mir_kbps":2048}],"total":1,"page":1,"pages":1}`)}
	initiate := contract.Exchange{Method: "POST", URL: "/api/v1/payments/initiate", Header: token, Body: []byte(`{"forfait_id":"a","provider":"MTN_MOMO"}`),
		Status: 201, AnswerHeader: jsonHeader, Answer: []byte(`{"payment_url":"https://pay.example/1","transaction_id":"t"}`)}
	beat := contract.Exchange{Method: "POST", URL: "/api/v1/gateway/reports", Header: token,
		Body:   []byte(`{"instance":"i","entries":[{"n":1,"kind":"sale","price":{"amount":5,"currency":"XOF"}}]}`),
		Status: 200, AnswerHeader: jsonHeader, Answer: []byte(`{"through":18446744073709551615}`)}
	for name, e := range map[string]contract.Exchange{"forfaits": good, "initiate": initiate, "reports": beat} {
		if err := c.Check(e); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	with := func(e contract.Exchange, change func(*contract.Exchange)) contract.Exchange { change(&e); return e }
	for name, e := range map[string]contract.Exchange{
		"text where a number is":  with(good, func(e *contract.Exchange) { e.Answer = []byte(`{"items":[],"total":"1","page":1,"pages":1}`) }),
		"a field missing":         with(good, func(e *contract.Exchange) { e.Answer = []byte(`{"items":[],"total":1,"page":1}`) }),
		"null for a list":         with(good, func(e *contract.Exchange) { e.Answer = []byte(`{"items":null,"total":1,"page":1,"pages":1}`) }),
		"half a body":             with(good, func(e *contract.Exchange) { e.Answer = e.Answer[:20] }),
		"an unknown status":       with(good, func(e *contract.Exchange) { e.Status = 202 }),
		"another type":            with(good, func(e *contract.Exchange) { e.AnswerHeader = http.Header{"Content-Type": {"text/html"}} }),
		"a bad parameter":         with(good, func(e *contract.Exchange) { e.URL += "&per_page=0" }),
		"an unknown path":         with(good, func(e *contract.Exchange) { e.URL = "/api/v1/forfeits" }),
		"200 for 201":             with(initiate, func(e *contract.Exchange) { e.Status = 200 }),
		"no token, and a success": with(initiate, func(e *contract.Exchange) { e.Header = nil }),
		"a wrong call, taken":     with(initiate, func(e *contract.Exchange) { e.Body = []byte(`{"forfait_id":7}`) }),
		"no body, taken":          with(initiate, func(e *contract.Exchange) { e.Body = nil }),
		"a negative number":       with(beat, func(e *contract.Exchange) { e.Answer = []byte(`{"through":-1}`) }),
		"a currency in words": with(beat, func(e *contract.Exchange) {
			e.Body = []byte(`{"instance":"i","entries":[{"n":1,"kind":"sale","price":{"amount":5,"currency":"francs"}}]}`)
		}),
		"a problem as a success": with(beat, func(e *contract.Exchange) {
			e.Status, e.AnswerHeader, e.Answer = 200, problem, []byte(`{"detail":"x"}`)
		}),
		"a problem without words": with(beat, func(e *contract.Exchange) {
			e.Status, e.AnswerHeader, e.Answer = 409, problem, []byte(`{"code":"gap"}`)
		}),
		"a code of its own": with(beat, func(e *contract.Exchange) {
			e.Status, e.AnswerHeader, e.Answer = 409, problem, []byte(`{"detail":"x","code":"whatever"}`)
		}),
		"429 without a time": {Method: "POST", URL: "/api/v1/auth/login", Status: 429, AnswerHeader: problem, Answer: []byte(`{"detail":"x","code":"limit"}`)},
	} {
		if c.Check(e) == nil {
			t.Errorf("%s: taken for right", name)
		}
	}
	for name, push := range map[string]string{
		"no signature": `{"payload":"e30="}`,
		"empty":        `{"payload":"e30=","signature":"` + strings.Repeat("A", 86) + `=="}`,
	} {
		if c.CheckSigned([]byte(push)) == nil {
			t.Errorf("a push with %s: taken for right", name)
		}
	}
}
