package mypayga_test

import (
	"errors"
	"strings"
	"testing"

	"zonegate"
	"zonegate/hub"
	"zonegate/hub/mypayga"
)

const (
	transferPath, transferredPath = "/mpayment/sendClientTransfert", "/mpayment/getClientTransfert"

	transfer = `{"message":"Vous avez envoye 100 FCFA à 074XXXXX.","description":"Balance Transfert to client","statusRequest":"200",
		"transfert":{"transfert_status":"200","amount":"100","transfert_id":"16sI2OpZHGZ","country":"GA","currency":"CFA"}}`
	// As printed, with the missing quote.
	transferredPrinted = `{"status":"200","message":"Transaction found","data":[{"montant_demande":"23000","statut_demande":"Echec-solde ins.",
		"date_demande":"2021-11-05 13:20:52","numero_de_compte":"074654326,"description":"Transfert client","type_destinataire":"client"}]}`
)

var transferred = strings.Replace(transferredPrinted, `"074654326,`, `"074654326",`, 1)

func TestPayout(t *testing.T) {
	order := hub.PayoutOrder{Reference: "ZGP1", Phone: "24174654326", Amount: zonegate.Money{Amount: 100, Currency: "XAF"}}
	d := newDesk(t).says(transferPath, transfer)
	got, err := d.client().Payout(t.Context(), order)
	// Trap 1: it was sent, which is not the end.
	if err != nil || got.State != hub.PayoutProcessing || got.Definitive || got.ProviderRef != "16sI2OpZHGZ" {
		t.Errorf("%+v, %v", got, err)
	}
	a := d.last()
	for name, want := range map[string]string{"amount": "100", "receiver_phone": "074654326", "country": "GA", "type_clt": "client", "apikey": "sprod_k3y"} {
		if a.body.Get(name) != want || len(a.query) != 0 {
			t.Errorf("%s is %q", name, a.body.Get(name))
		}
	}
	_, err = newDesk(t).says(transferPath, `{"statusRequest":"400","message":"Transfer refused"}`).client().Payout(t.Context(), order)
	if rejected(t, err) != "Transfer refused" {
		t.Error(err)
	}
	// Trap 12: a lost answer is nothing that anybody can ask for.
	for answer, ref := range map[string]string{"cut": "", "<html>": "", `{}`: "", `{"statusRequest":"200"}`: "", transfer[:100]: "",
		strings.Replace(transfer, `"statusRequest":"200"`, `"statusRequest":"400"`, 1): "16sI2OpZHGZ", strings.Replace(transfer, `"statusRequest":"200"`, `"x":1`, 1): "16sI2OpZHGZ"} {
		d := newDesk(t).says(transferPath, answer)
		_, err := d.client().Payout(t.Context(), order)
		ambiguous(t, err, ref)
		if len(d.calls()) != 1 {
			t.Errorf("%s: asked %d times", answer, len(d.calls()))
		}
	}
	// As the samples have it.
	d = newDesk(t).says(transferPath, transfer)
	if _, err := d.client(func(o *mypayga.Options) { o.QueryPosts = true }).Payout(t.Context(), order); err != nil || d.last().query.Get("receiver_phone") != "074654326" || d.last().method != "POST" {
		t.Errorf("%+v, %v", d.last(), err)
	}
}

func TestLookupPayout(t *testing.T) {
	order := hub.PayoutOrder{Phone: "24174654326", Amount: zonegate.Money{Amount: 23000, Currency: "XAF"}, ProviderRef: "16sI2OpZHGZ"}
	words := func(o *mypayga.Options) {
		o.PayoutDone, o.PayoutFailed = []string{"Succes"}, []string{"Echec-solde ins.", "Echec"}
	}
	for _, k := range []struct {
		answer     string
		state      hub.PayoutState
		definitive bool
	}{
		{transferred, hub.PayoutFailed, true},
		{strings.Replace(transferred, "Echec-solde ins.", " SUCCES ", 1), hub.PayoutCompleted, true},
		{strings.Replace(transferred, "Echec-solde ins.", "En cours", 1), hub.PayoutProcessing, false},
		{strings.Replace(transferred, "Echec-solde ins.", "Insucces", 1), hub.PayoutProcessing, false},
		{strings.Replace(transferred, "Echec-solde ins.", "", 1), hub.PayoutProcessing, false},
		{strings.Replace(transferred, `"23000"`, `"22999"`, 1), hub.PayoutProcessing, false},
		{strings.Replace(transferred, `"23000"`, `23000`, 1), hub.PayoutFailed, true},
		{strings.Replace(transferred, `"23000"`, `"x"`, 1), hub.PayoutProcessing, false},
		{strings.Replace(transferred, "074654326", "074654327", 1), hub.PayoutProcessing, false},
		{`{"status":"400","message":"Transaction not found","data":[]}`, hub.PayoutProcessing, false},
		{`{"status":"200","data":[]}`, hub.PayoutProcessing, false},
	} {
		got, err := newDesk(t).says(transferredPath, k.answer).client(words).LookupPayout(t.Context(), order)
		if err != nil || got.State != k.state || got.Definitive != k.definitive || got.ProviderRef != order.ProviderRef || strings.Contains(got.Raw, "074654326") {
			t.Errorf("%s: %+v, %v", k.answer, got, err)
		}
	}
	// Trap 8: as printed it is unknown.
	for _, answer := range []string{transferredPrinted, "<html>", "cut", `{"status":"500"}`} {
		if got, err := newDesk(t).says(transferredPath, answer).client(words).LookupPayout(t.Context(), order); !errors.Is(err, hub.ErrAmbiguous) {
			t.Errorf("%s: %+v, %v", answer, got, err)
		}
	}
	// No success is documented, so none is known until it is configured.
	d := newDesk(t).says(transferredPath, strings.Replace(transferred, "Echec-solde ins.", "Succes", 1))
	if got, err := d.client().LookupPayout(t.Context(), order); err != nil || got.Definitive {
		t.Errorf("%+v, %v", got, err)
	}
	asked := len(d.calls())
	order.ProviderRef = ""
	if got, err := d.client().LookupPayout(t.Context(), order); err != nil || got.Definitive || got.State != hub.PayoutProcessing || len(d.calls()) != asked {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRefund(t *testing.T) {
	const create, send, infos = "/refund/create", "/refund/send", "/refund/infos"
	d := newDesk(t).says(create, `{"message":"Refund created","statusRequest":200,"totalAmount":100,"clientNumber":"07700000","frais_transaction":2.75,
		"updatedFees":0,"refundId":"rfd_165533.IzkknzlJuU3p"}`)
	c := d.client(func(o *mypayga.Options) { o.RefundDone = []string{"Remboursement effectue."} })
	order := hub.RefundOrder{Payment: paid, Reference: "ZGR1", Amount: zonegate.Money{Amount: 100, Currency: "XAF"}, Reason: "client"}
	got, err := c.CreateRefund(t.Context(), order)
	if err != nil || got.State != hub.PaymentRefunding || got.Definitive || got.Handle != "rfd_165533.IzkknzlJuU3p" || strings.Contains(got.Raw, "07700000") {
		t.Fatalf("%+v, %v", got, err)
	}
	if a := d.last(); a.body.Get("payment_token") != paid.ProviderRef || a.body.Get("amount") != "100" || a.body.Get("description") != "client" {
		t.Errorf("asked %+v", a)
	}
	order.Handle = got.Handle

	// Trap 8: the sample's comma makes it unreadable, and unknown.
	sent := `{"message":"Refund OK.","refund_id":"rfd_165533.IzkknzlJuU3p","RefundStatus":"200"}`
	d.says(send, strings.Replace(sent, `"}`, `",}`, 1))
	_, err = c.SendRefund(t.Context(), order)
	ambiguous(t, err, "")
	d.says(send, sent)
	if got, err := c.SendRefund(t.Context(), order); err != nil || got.State != hub.PaymentRefunding || got.Definitive || got.Handle != order.Handle || d.last().body.Get("refund_id") != order.Handle {
		t.Errorf("%+v, %v", got, err)
	}
	d.says(send, strings.Replace(sent, "rfd_165533", "rfd_1", 1))
	_, err = c.SendRefund(t.Context(), order)
	ambiguous(t, err, "")
	d.says(send, `{"message":"Refund not found","refund_id":"rfd_165533.IzkknzlJuU3p","RefundStatus":"400"}`)
	_, err = c.SendRefund(t.Context(), order)
	rejected(t, err)

	// Trap 13: 200 with "waiting for validation" is not the end.
	info := `{"message":"Refund found","exists":1,"refund":{"orderAmount":100,"amount":100,"status":"200","requestDate":"2021-12-07 23:05:33",
		"opeDate":"2021-12-07 23:05:43","paymentMethod":"Airtel Money","refundType":"TO","refundId":"rfd_165533.IzkknzlJuU3p",
		"message":"Remboursement en attente de validation.","description":"description"},"statusRequest":"200"}`
	done := strings.Replace(info, "Remboursement en attente de validation.", "Remboursement effectue.", 1)
	for _, k := range []struct {
		answer     string
		state      hub.PaymentState
		definitive bool
	}{
		{info, hub.PaymentRefunding, false},
		{done, hub.PaymentRefunded, true},
		{strings.Replace(done, `"status":"200"`, `"status":200`, 1), hub.PaymentRefunded, true},
		{strings.Replace(done, `"status":"200"`, `"status":"202"`, 1), hub.PaymentRefunding, false},
		{strings.Replace(info, `"status":"200"`, `"status":"400"`, 1), hub.PaymentSucceeded, true},
		{strings.Replace(done, `"amount":100`, `"amount":99`, 1), hub.PaymentRefunding, false},
		{strings.Replace(done, "rfd_165533", "rfd_2", 1), hub.PaymentRefunding, false},
		{`{"message":"Refund not found","exists":0,"refund":null,"statusRequest":"400"}`, hub.PaymentRefunding, false},
		{`{"statusRequest":"200"}`, hub.PaymentRefunding, false},
	} {
		d.says(infos, k.answer)
		if got, err := c.LookupRefund(t.Context(), order); err != nil || got.State != k.state || got.Definitive != k.definitive || got.Handle != order.Handle {
			t.Errorf("%s: %+v, %v", k.answer, got, err)
		}
		if a := d.last(); a.method != "GET" || a.query.Get("refId") != order.Handle {
			t.Errorf("asked %+v", a)
		}
	}
	d.says(infos, info+",")
	if got, err := c.LookupRefund(t.Context(), order); err == nil {
		t.Errorf("%+v", got)
	}
	d.says(infos, info)
	if _, err := d.client(func(o *mypayga.Options) { o.RefundInfosPOST = true }).LookupRefund(t.Context(), order); err != nil || d.last().method != "POST" || d.last().body.Get("refId") != order.Handle {
		t.Errorf("%+v, %v", d.last(), err)
	}

	// What cannot be asked is not.
	asked := len(d.calls())
	_, err = c.CreateRefund(t.Context(), hub.RefundOrder{Amount: order.Amount})
	rejected(t, err)
	_, err = c.SendRefund(t.Context(), hub.RefundOrder{Payment: paid, Amount: order.Amount})
	rejected(t, err)
	if got, err := c.LookupRefund(t.Context(), hub.RefundOrder{}); err != nil || got.Definitive || got.State != hub.PaymentRefunding {
		t.Errorf("%+v, %v", got, err)
	}
	if len(d.calls()) != asked {
		t.Errorf("asked %+v", d.last())
	}
	d.says(create, `{"statusRequest":400,"message":"Payment not found"}`)
	_, err = c.CreateRefund(t.Context(), order)
	rejected(t, err)
	d.says(create, `{"statusRequest":200}`)
	_, err = c.CreateRefund(t.Context(), order)
	ambiguous(t, err, "")
}
