package sandbox_test

import (
	"errors"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/flexpay"
	"zonegate/hub/kkiapay"
	"zonegate/hub/mypayga"
	"zonegate/hub/nelsius"
	"zonegate/hub/sandbox"
)

// The hub's own adapters understand what is played here, over real sockets.

// paid is what the hub would take for a success.
func paid(o hub.Observation, price zonegate.Money, reference string) bool {
	return o.Found && o.State == hub.PaymentSucceeded && o.Amount == price && (o.Reference == "" || o.Reference == reference)
}

func TestFlexPayAdapter(t *testing.T) {
	b := newBank(t, sandbox.Options{Delay: time.Second, Quirks: sandbox.Quirks{CheckPayouts: true}})
	server := httptest.NewServer(b)
	defer server.Close()
	c, err := flexpay.New(flexpay.Options{PayURL: server.URL + sandbox.FlexPayBase, Merchant: "SANDBOX", Token: func() string { return "sandbox-flexpay" }, Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	price := zonegate.Money{Amount: 150000, Currency: "CDF"}
	for phone, want := range map[string]hub.PaymentState{"243815550000": hub.PaymentSucceeded, "243815550002": hub.PaymentFailed, "243815550003": hub.PaymentPending,
		"243815550008": hub.PaymentRefunded, "243815550009": hub.PaymentCanceled} {
		b.heard = nil
		charge := hub.Charge{Reference: "R" + phone, Channel: c.Caps().Channels[0].ID, Phone: phone, Amount: price, CallbackURL: "https://hub.test/callbacks/flexpay"}
		begun, err := c.Initiate(t.Context(), charge)
		if err != nil {
			t.Fatal(err)
		}
		p := hub.Payment{Reference: charge.Reference, ProviderRef: begun.ProviderRef, Price: price}
		if o, err := c.Lookup(t.Context(), p); err != nil || o.State != hub.PaymentPending {
			t.Errorf("%s: %+v, %v", phone, o, err)
		}
		b.pass(time.Hour)
		if o, err := c.Lookup(t.Context(), p); err != nil || o.State != want || paid(o, price, p.Reference) != (want == hub.PaymentSucceeded) {
			t.Errorf("%s: %+v, %v", phone, o, err)
		}
		for _, h := range b.heard {
			if hint, err := c.ReadCallback(h.header, h.url.Query(), []byte(h.body)); err != nil || hint.Reference != p.Reference || hint.ProviderRef != p.ProviderRef {
				t.Errorf("%s: %+v, %v", phone, hint, err)
			}
		}
	}
	// Cut before and after, the adapter cannot tell.
	for _, before := range []bool{false, true} {
		b.Break(sandbox.Fault{Kind: sandbox.FaultDrop, Path: "/flexpay/paymentService", Times: 1, Before: before})
		_, err := c.Initiate(t.Context(), hub.Charge{Reference: "D", Channel: c.Caps().Channels[0].ID, Phone: "243815550000", Amount: price, CallbackURL: "https://hub.test/"})
		if err == nil || errors.Is(err, hub.ErrNotSent) || errors.As(err, new(*hub.RejectedError)) {
			t.Errorf("%v", err)
		}
	}
	if n := len(b.Charges(func(c sandbox.Charge) bool { return c.Reference == "D" })); n != 1 {
		t.Errorf("%d charges", n)
	}
	var no *hub.RejectedError
	if _, err := c.Initiate(t.Context(), hub.Charge{Reference: "N", Channel: c.Caps().Channels[0].ID, Phone: "243815550004", Amount: price, CallbackURL: "https://hub.test/"}); !errors.As(err, &no) {
		t.Errorf("%v", err)
	}
	for phone, want := range map[string]hub.PayoutState{"243815550000": hub.PayoutCompleted, "243815550002": hub.PayoutFailed, "243815550003": hub.PayoutProcessing} {
		order := hub.PayoutOrder{Reference: "P" + phone, Phone: phone, Amount: price, CallbackURL: "https://hub.test/callbacks/flexpay"}
		o, err := c.Payout(t.Context(), order)
		if err != nil {
			t.Fatal(err)
		}
		b.pass(time.Second)
		order.ProviderRef = o.ProviderRef
		if o, err = c.LookupPayout(t.Context(), order); err != nil || o.State != want || (len(b.PaidOut(order.Reference)) == 1) != (want == hub.PayoutCompleted) {
			t.Errorf("%s: %+v, %v", phone, o, err)
		}
	}
}

func TestMyPayGaAdapter(t *testing.T) {
	b := newBank(t, sandbox.Options{Delay: time.Second, MyPayGa: sandbox.MyPayGaOptions{CallbackURL: "https://hub.test/callbacks/mypayga", CallbackSecret: "s3"}})
	server := httptest.NewServer(b)
	defer server.Close()
	c, err := mypayga.New(mypayga.Options{BaseURL: server.URL + sandbox.MyPayGaBase, CardURL: server.URL + sandbox.MyPayGaBase + "/mpgga-form-cbpay",
		Secret: func() string { return stest }, CallbackSecret: func() string { return "s3" }, Test: true, Plain: true, Email: "zone@example.com",
		PayoutDone: []string{sandbox.TransferDone}, PayoutFailed: []string{sandbox.TransferFailed, sandbox.TransferPoor}, RefundDone: []string{sandbox.RefundDone}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	price := zonegate.Money{Amount: 500, Currency: "XAF"}
	var done hub.Payment
	for phone, want := range map[string]hub.PaymentState{"074111111": hub.PaymentSucceeded, "074131313": hub.PaymentFailed, "650121212": hub.PaymentSucceeded,
		"242056549400": hub.PaymentFailed, "074150003": hub.PaymentPending, "074150010": hub.PaymentSucceeded} {
		b.heard = nil
		begun, err := c.Initiate(t.Context(), hub.Charge{Reference: "R" + phone, Channel: c.Caps().Channels[0].ID, Phone: phone, Amount: price})
		if err != nil {
			t.Fatal(err)
		}
		p := hub.Payment{Reference: "R" + phone, ProviderRef: begun.ProviderRef, Price: price}
		if o, err := c.Lookup(t.Context(), p); err != nil || o.State != hub.PaymentPending || o.Found {
			t.Errorf("%s: %+v, %v", phone, o, err)
		}
		b.pass(time.Second)
		whole := want == hub.PaymentSucceeded && !strings.HasSuffix(phone, "0010")
		if o, err := c.Lookup(t.Context(), p); err != nil || o.State != want || paid(o, price, p.Reference) != whole {
			t.Errorf("%s: %+v, %v", phone, o, err)
		}
		for _, h := range b.heard {
			if hint, err := c.ReadCallback(h.header, h.url.Query(), []byte(h.body)); err != nil || hint.Reference != p.Reference || hint.ProviderRef != p.ProviderRef {
				t.Errorf("%s: %+v, %v", phone, hint, err)
			}
		}
		if whole {
			done = p
		}
	}
	// Refunds: the answer of the document's sample is no JSON, and ambiguous.
	order := hub.RefundOrder{Payment: done, Reference: "F", Amount: price, Reason: "not used"}
	made, err := c.CreateRefund(t.Context(), order)
	if err != nil || made.Handle == "" {
		t.Fatalf("%+v, %v", made, err)
	}
	order.Handle = made.Handle
	if _, err := c.SendRefund(t.Context(), order); err == nil || errors.Is(err, hub.ErrNotSent) {
		t.Errorf("%v", err)
	}
	b.pass(time.Second)
	if o, err := c.LookupRefund(t.Context(), order); err != nil || o.State != hub.PaymentRefunded || !o.Definitive || sum(b.Refunded(done.Reference)).Amount != 500 {
		t.Errorf("%+v, %v, refunded %v", o, err, b.Refunded(done.Reference))
	}
	for phone, want := range map[string]hub.PayoutState{"074150000": hub.PayoutCompleted, "074150005": hub.PayoutFailed, "074150003": hub.PayoutProcessing} {
		order := hub.PayoutOrder{Reference: "P", Phone: phone, Amount: price}
		o, err := c.Payout(t.Context(), order)
		if err != nil {
			t.Fatal(err)
		}
		b.pass(time.Second)
		order.ProviderRef = o.ProviderRef
		if o, err = c.LookupPayout(t.Context(), order); err != nil || o.State != want || (len(b.PaidOut(order.ProviderRef)) == 1) != (want == hub.PayoutCompleted) {
			t.Errorf("%s: %+v, %v", phone, o, err)
		}
	}
}

func TestKKiaPayAdapter(t *testing.T) {
	for _, data := range []string{sandbox.StateObject, sandbox.StateString, sandbox.StateDouble} {
		b := newBank(t, sandbox.Options{Delay: time.Second, Quirks: sandbox.Quirks{StateData: data}, KKiaPay: sandbox.KKiaPayOptions{WebhookURL: "https://hub.test/callbacks/kkiapay"}})
		server := httptest.NewServer(b)
		defer server.Close()
		is := func(key string) func() string { return func() string { return key } }
		c, err := kkiapay.New(kkiapay.Options{BaseURL: server.URL + sandbox.KKiaPayBase, WidgetURL: server.URL + sandbox.KKiaPayBase, Public: is("sandbox-public"),
			Private: is("sandbox-private"), Secret: is("sandbox-secret"), WebhookSecret: is("sandbox-webhook"), Test: true, Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		price := zonegate.Money{Amount: 500, Currency: "XOF"}
		begun, err := c.Initiate(t.Context(), hub.Charge{Reference: "R1", Channel: c.Caps().Channels[0].ID, Amount: price, Description: "Forfait", ReturnURL: "https://portal.test/pay?x=1"})
		if err != nil {
			t.Fatal(err)
		}
		path := strings.TrimPrefix(begun.URL, server.URL)
		page := b.must(200, "GET", path, nil, "")
		wait, _ := b.press(page, "0197000002")
		b.pass(time.Second)
		wait, _ = b.press(b.must(200, "GET", wait, nil, ""), "0197000000")
		b.pass(time.Second)
		_, header, _, err := b.do("GET", wait, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		back, err := url.Parse(header.Get("Location"))
		if err != nil || back.Query().Get("x") != "1" {
			t.Errorf("back at %v, %v", back, err)
		}
		if hint, err := c.ReadCallback(nil, back.Query(), nil); err != nil || hint.Reference != "R1" || !strings.HasSuffix(wait, hint.ProviderRef) {
			t.Errorf("%+v, %v", hint, err)
		}
		if len(b.heard) != 2 {
			t.Fatalf("%d callbacks", len(b.heard))
		}
		for i, h := range b.heard {
			hint, err := c.ReadCallback(h.header, h.url.Query(), []byte(h.body))
			if err != nil || hint.Reference != "R1" || hint.ProviderRef == "" {
				t.Errorf("%+v, %v", hint, err)
			}
			o, err := c.Lookup(t.Context(), hub.Payment{Reference: "R1", ProviderRef: hint.ProviderRef, Price: price})
			if err != nil || paid(o, price, "R1") != (i == 1) || i == 1 && o.Reference != "R1" {
				t.Errorf("%+v, %v", o, err)
			}
			if i == 0 {
				continue
			}
			order := hub.RefundOrder{Payment: hub.Payment{Reference: "R1", ProviderRef: hint.ProviderRef, Price: price, Paid: price}, Amount: price}
			if _, err = c.CreateRefund(t.Context(), order); err != nil {
				t.Error(err)
			}
			if o, err := c.LookupRefund(t.Context(), order); err != nil || o.State != hub.PaymentRefunded || len(b.Refunded("R1")) != 1 {
				t.Errorf("%+v, %v", o, err)
			}
			if _, err = c.CreateRefund(t.Context(), order); !errors.As(err, new(*hub.RejectedError)) {
				t.Errorf("given back twice: %v", err)
			}
		}
	}
}

func TestNelsiusAdapter(t *testing.T) {
	b := newBank(t, sandbox.Options{Delay: time.Second, Quirks: sandbox.Quirks{Automatic: true}})
	server := httptest.NewServer(b)
	defer server.Close()
	c, err := nelsius.New(nelsius.Options{URL: server.URL + sandbox.NelsiusBase, Email: func() string { return "reseller@example.com" }, Password: func() string { return "sandbox" }, Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	order := hub.PayoutOrder{Phone: "237612340000", Operator: "mtn_money", Amount: zonegate.Money{Amount: 50000, Currency: "XAF"}, Made: b.now}
	o, err := c.Payout(t.Context(), order)
	if err != nil || o.State != hub.PayoutCodeSent {
		t.Fatalf("%+v, %v", o, err)
	}
	order.ProviderRef = o.ProviderRef
	if _, err := c.Resend(t.Context(), order); err != nil {
		t.Error(err)
	}
	if _, err := c.Confirm(t.Context(), order, "x"); !errors.As(err, new(*hub.RejectedError)) {
		t.Errorf("a wrong code: %v", err)
	}
	if o, err = c.Confirm(t.Context(), order, b.nelCode(order.Phone)); err != nil || o.State != hub.PayoutProcessing {
		t.Errorf("%+v, %v", o, err)
	}
	b.pass(time.Second)
	if o, err = c.LookupPayout(t.Context(), order); err != nil || o.State != hub.PayoutCompleted || !o.Definitive {
		t.Errorf("%+v, %v", o, err)
	}
	// The token is too old by then; the answer to the request is lost, and found
	// in the list.
	b.pass(2 * time.Hour)
	b.Break(sandbox.Fault{Kind: sandbox.FaultDrop, Path: "/nelsius/withdrawals/request", Times: 1})
	order.ProviderRef, order.Made = "", b.now
	if o, err = c.Payout(t.Context(), order); err != nil || o.ProviderRef != "2" || o.State != hub.PayoutCodeSent {
		t.Errorf("%+v, %v", o, err)
	}
	order.ProviderRef = o.ProviderRef
	if err := c.Cancel(t.Context(), order); err != nil {
		t.Error(err)
	}
	b.wallet(450000, 0)
	order.Amount.Amount = 50050
	if _, err := c.Payout(t.Context(), order); !errors.As(err, new(*hub.RejectedError)) {
		t.Errorf("%v", err)
	}
}
