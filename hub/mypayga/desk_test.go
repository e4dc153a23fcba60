package mypayga_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/mypayga"
)

// A call is what a desk was asked: the parameters that stood in the query, and
// those in the body.
type call struct {
	method, path string
	query, body  url.Values
}

// A desk plays MyPayGa: it answers each path with what was laid there.
type desk struct {
	testing.TB
	*httptest.Server
	mu      sync.Mutex
	answers map[string]string
	status  map[string]int
	asked   []call
}

func newDesk(t testing.TB) *desk {
	d := &desk{TB: t, answers: map[string]string{}, status: map[string]int{}}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := call{method: r.Method, path: r.URL.EscapedPath(), query: r.URL.Query()}
		if r.ParseMultipartForm(1<<20) == nil {
			c.body = r.MultipartForm.Value
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.asked = append(d.asked, c)
		answer, ok := d.answers[r.URL.Path]
		if s := d.status[r.URL.Path]; s != 0 {
			w.WriteHeader(s)
		} else if !ok {
			d.Errorf("%s was asked", r.URL.Path)
		}
		if answer == "cut" {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, answer)
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *desk) says(path, answer string) *desk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers[path] = answer
	return d
}

func (d *desk) calls() []call {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]call(nil), d.asked...)
}

func (d *desk) last() call {
	d.Helper()
	all := d.calls()
	if len(all) == 0 {
		d.Fatal("nothing was asked")
	}
	return all[len(all)-1]
}

func (d *desk) client(change ...func(*mypayga.Options)) *mypayga.Client {
	d.Helper()
	o := mypayga.Options{BaseURL: d.URL, Secret: func() string { return "sprod_k3y" }, Email: "zone@example.com"}
	for _, c := range change {
		c(&o)
	}
	c, err := mypayga.New(o)
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(c.Close)
	return c
}

func test(o *mypayga.Options) {
	o.Test, o.Secret = true, func() string { return "stest_k3y" }
}

const (
	hashPath, pushPath, detailPath = "/payment/gethash", "/mpayment/payment-request", "/payment/paiement-detail"

	reserved = `{"code":"200","message":"References created successfully","hash":"797cb06dacec43b4861a4637759653a2cb126f4f2f4d3d4c4913edadb583a05bf1029",
		"payment_token":"Cr83WMcojwcAnGjMB1U5cGCHY","uniqueID":"1234A"}`
	pushed = `{"message":"Request Sent.Please Wait.","payment_token":"Cr83WMcojwcAnGjMB1U5cGCHY","description":"Paiement - MTECH",
		"statusRequest":"200","transaction":{"amount":100,"country":"GA","currency":"CFA","id":"1131AJS"}}`
	detail = `{"payment":[{"merchand_ref":"9745","payment_token":"eI4zUOJd5uE2W5qx7Em1HOTr00lev7rvt6E","paymentMethod":"Mobile Money",
		"mobile_callback":1,"OrderStatus":"200","message_data":"Success","totalAmount":144,"clientNumber":"074151522",
		"orderDateTime":"2021-05-15 21:53:38","pmt_banque":"AM","last_4_digits":"0000","nom_prenom_client":null,
		"frais_transaction":154.032,"montant_net":-10.03,"final_status":"200"}],
		"code":"200","final_status":"200","merchand_ref":"9745","environnement":"production"}`
	token = "Cr83WMcojwcAnGjMB1U5cGCHY"
)

var (
	charge = hub.Charge{Reference: "1234A", Channel: "AIRTEL_GA", Phone: "24174151522", Amount: zonegate.Money{Amount: 100, Currency: "XAF"}, Description: "Forfait jour"}
	paid   = hub.Payment{Reference: "9745", ProviderRef: "eI4zUOJd5uE2W5qx7Em1HOTr00lev7rvt6E"}
)

func rejected(t *testing.T, err error) string {
	t.Helper()
	var r *hub.RejectedError
	if !errors.As(err, &r) || errors.Is(err, hub.ErrAmbiguous) {
		t.Errorf("%v is no refusal", err)
		return ""
	}
	return r.Reason
}

func ambiguous(t *testing.T, err error, ref string) {
	t.Helper()
	var r *hub.RejectedError
	var a *hub.AmbiguousError
	if !errors.Is(err, hub.ErrAmbiguous) || errors.Is(err, hub.ErrNotSent) || errors.As(err, &r) {
		t.Errorf("%v is not ambiguous", err)
	}
	if got := errors.As(err, &a); got != (ref != "") || got && a.ProviderRef != ref {
		t.Errorf("%v carries another token than %q", err, ref)
	}
}
