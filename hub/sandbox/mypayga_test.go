package sandbox_test

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"zonegate/hub/sandbox"
	"zonegate/sync/api"
)

const (
	sprod = "sprod_sandbox"
	stest = "stest_sandbox"
	pprod = "pprod_sandbox"
)

func (b *bank) gaPost(path string, pairs ...string) string {
	b.Helper()
	return b.must(200, "POST", "/mypayga"+path, formType, form(pairs...))
}

func (b *bank) gaGet(path string, pairs ...string) string {
	b.Helper()
	return b.must(200, "GET", "/mypayga"+path+"?"+form(pairs...), nil, "")
}

var gaWho = []string{"email", "client@gmail.com", "firstname", "Jacob", "lastname", "Larry", "description", "WiFi"}

func (b *bank) gaToken(key, unique, amount string) string {
	b.Helper()
	text := b.gaPost("/payment/gethash", append([]string{"apikey", key, "uniqueID", unique, "amount", amount, "phone", "07000000"}, gaWho...)...)
	b.shaped("gethash", `{"code":"200","message":"","hash":"","payment_token":"","uniqueID":""}`, text)
	var out struct {
		Token string `json:"payment_token"`
	}
	b.decode(text, &out)
	return out.Token
}

func (b *bank) gaRequest(key, token, phone, amount string) string {
	b.Helper()
	return b.gaPost("/mpayment/payment-request", append([]string{"apikey", key, "payment_token", token, "client_phone", phone, "amount", amount}, gaWho...)...)
}

type gaShown struct {
	Code, Final_status string
	Payment            []struct {
		OrderStatus, Final_status, Message_data, Pmt_banque, ClientNumber, Merchand_ref string
		TotalAmount                                                                     json.Number
	}
}

func (b *bank) gaShow(key, token string) (out gaShown) {
	b.Helper()
	b.decode(b.gaGet("/payment/paiement-detail", "apikey", key, "payment_ref", token), &out)
	return out
}

const gaDetailSample = `{"payment":[{"merchand_ref":"9745","payment_token":"eI4z","paymentMethod":"Mobile Money",
"mobile_callback":1,"OrderStatus":"200","message_data":"Success","totalAmount":144,"clientNumber":"074151522",
"orderDateTime":"2021-05-15 21:53:38","pmt_banque":"AM","last_4_digits":"0000","nom_prenom_client":null,
"frais_transaction":154.032,"montant_net":-10.03,"final_status":"200"}],
"code":"200","final_status":"200","merchand_ref":"9745","environnement":"production"}`

func TestMyPayGaShapes(t *testing.T) {
	b := newBank(t, sandbox.Options{Delay: time.Second, MyPayGa: sandbox.MyPayGaOptions{CallbackURL: "https://hub.test/callbacks/mypayga", CallbackSecret: "s3"}})
	token := b.gaToken(sprod, "1234A", "144")
	b.shaped("payment-request", `{"message":"Request Sent.Please Wait.","payment_token":"eagE","description":"Paiement","statusRequest":"200","transaction":{"amount":100,"country":"GA","currency":"CFA","id":"1131AJS"}}`,
		b.gaRequest(sprod, token, "074151522", "144"))
	if got := b.gaShow(sprod, token); got.Code != "400" || got.Payment != nil {
		t.Errorf("an open payment is shown: %+v", got)
	}
	b.pass(time.Second)
	text := b.gaGet("/payment/paiement-detail", "apikey", sprod, "payment_ref", token)
	b.shaped("paiement-detail", gaDetailSample, text)
	for _, want := range []string{`"totalAmount":144`, `"frais_transaction":2.52`, `"montant_net":141.48`, `"environnement":"production"`, `"merchand_ref":"1234A"`, `"orderDateTime":"2026-03-04 11:00:00"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
	b.Break(sandbox.Fault{Kind: sandbox.FaultNumbers, Path: "/mypayga/payment/paiement-detail", Times: 1})
	if text = b.gaGet("/payment/paiement-detail", "apikey", sprod, "payment_ref", token); !strings.Contains(text, `"final_status":200`) {
		t.Errorf("types vary not: %s", text)
	}
	if got := sum(b.Charged("1234A")); got != (api.Money{Amount: 144, Currency: "XAF"}) {
		t.Errorf("charged %v", got)
	}

	// The callback of the newer API, signed as it is.
	if len(b.heard) != 1 {
		t.Fatalf("%d callbacks", len(b.heard))
	}
	var in map[string]string
	b.decode(b.heard[0].body, &in)
	mac := hmac.New(sha512.New, []byte("s3"))
	mac.Write([]byte(in["order_status"] + in["unique_id"] + in["amount"] + in["payment_token"] + in["payment_method"] + in["message"] + in["client_phone"]))
	if in["hash"] != hex.EncodeToString(mac.Sum(nil)) || in["unique_id"] != "1234A" || in["payment_token"] != token || in["order_status"] != "200" || in["amount"] != "144" ||
		in["currency"] != "CFA" || in["status_request"] != "200" || in["client_phone"] != "074151522" {
		t.Errorf("%v", in)
	}
	b.SetQuirks(sandbox.Quirks{CallbackGET: true})
	b.Forge("1234A")
	b.pass(0)
	if h := b.heard[1]; h.method != "GET" || h.url.Query().Get("unique_id") != "1234A" || h.url.Path != "/callbacks/mypayga" || h.body != "" {
		t.Errorf("%+v", h)
	}

	// Failures come with the HTTP status of a success.
	for _, bad := range []string{
		b.gaPost("/payment/gethash", "apikey", "x"), b.gaPost("/payment/gethash", "apikey", sprod, "amount", "1"),
		b.gaGet("/payment/paiement-detail", "apikey", sprod, "payment_ref", "x"), b.gaGet("/payment/paiement-detail", "apikey", stest, "payment_ref", token),
	} {
		b.shaped("no", `{"code":"400","message":""}`, bad)
	}
	fresh := b.gaToken(sprod, "5", "100")
	for _, bad := range []string{b.gaRequest("x", fresh, "074151522", "100"), b.gaRequest(sprod, "x", "074151522", "100"), b.gaRequest(sprod, fresh, "0", "100"),
		b.gaRequest(sprod, fresh, "074151522", "99"), b.gaRequest(stest, fresh, "074151522", "100"), b.gaRequest(sprod, token, "074151522", "144"), b.gaRequest(sprod, fresh, "074150004", "100")} {
		b.shaped("no", `{"message":"","statusRequest":"400"}`, bad)
	}
	if len(b.Charges(nil)) != 1 {
		t.Error("a refused call moves money")
	}
}

// The numbers of the document work with test keys; with others they are any
// number.
func TestMyPayGaTestNumbers(t *testing.T) {
	for phone, want := range map[string]string{
		"074111111": "200 Trans ID: MPDDDD.YYYY.A3XXX. Votre PAIEMENT de 500 FCFA a MTECH pour reference Testing transaction a ete effectue avec succes. AM",
		"074121212": "200 Payment success AM", "074151522": "200 Payment success AM", "077508412": "200 Payment success AM",
		"074131313":    "400 Dear customer,you have insuffient funds. Thank you. AM",
		"650121212":    "200 Trans ID: MPDDDD.YYYY.A3XXX. Votre PAIEMENT de 500 FCFA a MTECH pour reference Testing transaction a ete effectue avec succes. OM",
		"650131313":    "400 Dear customer,you have insuffient funds. Thank you. OM",
		"242056549200": "200 Payment success AM", "242056549400": "400 insuffient funds AM", "09306315": "400 insuffient funds OM",
		"09306316": "200 Payment success OM CI OM", "07306316": "200 Payment success OM CI OM",
	} {
		for _, key := range []string{stest, "ptest_sandbox", sprod, pprod} {
			b := newBank(t, sandbox.Options{})
			token := b.gaToken(key, "u", "500")
			b.gaRequest(key, token, phone, "500")
			b.pass(time.Second)
			got := b.gaShow(key, token)
			p := got.Payment[0]
			expected := want
			if strings.HasPrefix(key, "sprod") || strings.HasPrefix(key, "pprod") {
				expected = "200 Success AM"
			}
			if is := fmt.Sprint(p.Final_status, " ", p.Message_data, " ", p.Pmt_banque); is != expected || p.OrderStatus != p.Final_status || got.Final_status != p.Final_status {
				t.Errorf("%s with %s: %q, want %q", phone, key, is, expected)
			}
			if paid := len(b.Charged("u")) == 1; paid != strings.HasPrefix(expected, "200") {
				t.Errorf("%s with %s: charged %v", phone, key, b.Charged("u"))
			}
		}
	}
}

func TestMyPayGaCards(t *testing.T) {
	for card, want := range map[string]string{
		"4285220922286457": "200 200 PAYMENT SUCCESS", "4242937137682335": "200 400 PAYMENT FAILED, INSUF FUND",
		"4005075690593537": "200 400 PAYMENT DECLINED, CONTACT YOUR BANK.", "4102972145002274": "200 400 PAYMENT DECLINED, CONTACT YOUR BANK.",
		"5335406367416736": "200 200 PAYMENT SUCCESS",
	} {
		b := newBank(t, sandbox.Options{MyPayGa: sandbox.MyPayGaOptions{SuccessURL: "https://hub.test/yes", FailURL: "https://hub.test/no"}})
		token := b.gaToken(stest, "u", "500")
		page := b.gaPost("/mpgga-form-cbpay", "payment_token", token, "apikey", "ptest_sandbox")
		if !strings.Contains(page, "500 FCFA") {
			t.Fatal(page)
		}
		status, header, _, err := b.do("POST", "/mypayga/mpgga-form-cbpay/pay", formType, form("payment_token", token, "card", card[:4]+" "+card[4:]))
		ok := strings.HasPrefix(want, "200 200")
		if to := header.Get("Location"); err != nil || status != 303 || strings.HasPrefix(to, "https://hub.test/yes?") != ok || !strings.HasSuffix(to, "payment_token="+token) {
			t.Errorf("%d to %s, %v", status, to, err)
		}
		text := b.gaGet("/payment/paiement-detail", "apikey", stest, "payment_ref", token)
		b.shaped("paiement-detail", gaDetailSample, text)
		got := b.gaShow(stest, token)
		if is := got.Payment[0].OrderStatus + " " + got.Final_status + " " + got.Payment[0].Message_data; is != want || (len(b.Charged("u")) == 1) != ok {
			t.Errorf("%s: %q, charged %v", card, is, b.Charged("u"))
		}
		if again := b.gaPost("/mpgga-form-cbpay/pay", "payment_token", token, "card", card); !strings.Contains(again, "was used") || len(b.Charges(nil)) != 1 {
			t.Errorf("paid twice: %s", again)
		}
	}
}

func TestMyPayGaTransfer(t *testing.T) {
	b := newBank(t, sandbox.Options{Delay: time.Second})
	text := b.gaPost("/mpayment/sendClientTransfert", "amount", "100", "receiver_phone", "074654326", "country", "GA", "type_clt", "client", "apikey", sprod)
	b.shaped("sendClientTransfert", `{"message":"Vous avez envoye 100 FCFA à 074XXXXX.","description":"Balance Transfert to client","statusRequest":"200",
"transfert":{"transfert_status":"200","amount":"100","transfert_id":"16sI2OpZHGZ","country":"GA","currency":"CFA"}}`, text)
	if !strings.Contains(text, `à 074XXXXXX.`) {
		t.Error(text)
	}
	id := b.Open()[0].ID
	state := func(id string) string {
		t.Helper()
		text := b.gaGet("/mpayment/getClientTransfert", "trans_ref", id, "apikey", sprod)
		b.shaped("getClientTransfert", `{"status":"200","message":"Transaction found","data":[{"montant_demande":"23000","statut_demande":"Echec-solde ins.",
"date_demande":"2021-11-05 13:20:52","numero_de_compte":"074654326","description":"Transfert client","type_destinataire":"client"}]}`, text)
		return regexp.MustCompile(`"statut_demande":"([^"]*)"`).FindStringSubmatch(text)[1]
	}
	if got := state(id); got != "En cours" {
		t.Error(got)
	}
	b.pass(time.Second)
	if got := state(id); got != "Succes" || sum(b.PaidOut(id)) != (api.Money{Amount: 100, Currency: "XAF"}) {
		t.Errorf("%s, %v", got, b.PaidOut(id))
	}
	b.Break(sandbox.Fault{Kind: sandbox.FaultPrinted, Times: 1})
	if text = b.gaGet("/mpayment/getClientTransfert", "trans_ref", id, "apikey", sprod); json.Valid([]byte(text)) || !strings.Contains(text, `"numero_de_compte":"074654326,"description"`) {
		t.Error(text)
	}
	if text = b.gaGet("/mpayment/getClientTransfert", "trans_ref", "x", "apikey", sprod); !strings.Contains(text, `"status":"400"`) {
		t.Error(text)
	}
	for phone, want := range map[string]string{"074650005": "Echec-solde ins.", "074650002": "Echec"} {
		b.gaPost("/mpayment/sendClientTransfert", "amount", "100", "receiver_phone", phone, "country", "GA", "type_clt", "client", "apikey", sprod)
		id := b.Open()[0].ID
		b.pass(time.Second)
		if got := state(id); got != want || len(b.PaidOut(id)) != 0 {
			t.Errorf("%s: %s", phone, got)
		}
	}
	for _, bad := range []string{
		b.gaPost("/mpayment/sendClientTransfert", "amount", "100", "receiver_phone", "074650004", "country", "GA", "type_clt", "client", "apikey", sprod),
		b.gaPost("/mpayment/sendClientTransfert", "amount", "100", "receiver_phone", "074654326", "country", "GA", "type_clt", "client", "apikey", pprod),
		b.gaPost("/mpayment/sendClientTransfert", "amount", "1.5", "receiver_phone", "074654326", "country", "GA", "type_clt", "client", "apikey", sprod),
		b.gaPost("/mpayment/sendClientTransfert", "amount", "100", "receiver_phone", "074654326", "country", "FR", "type_clt", "client", "apikey", sprod),
	} {
		b.shaped("no", `{"message":"","statusRequest":"400"}`, bad)
	}
	b.shaped("getFees", `{"message":"Request OK.","statusRequest":200,"fees":{"merchand_custom_fees":"0.0175","standard_fees":"0.0175",
"platform_fees":"0","bank_fees":"0.01","fees_source":"merchant","short_partner":"AM","cty_partner":"GA","currency":"CFA"}}`,
		b.gaGet("/mpayment/getFees", "apikey", sprod, "ope", "AM", "country", "GA"))
}

func TestMyPayGaRefund(t *testing.T) {
	b := newBank(t, sandbox.Options{Delay: time.Second})
	token := b.gaToken(sprod, "u", "100")
	create := func(amount string) (string, string) {
		text := b.gaPost("/refund/create", "apikey", sprod, "payment_token", token, "amount", amount, "description", "d")
		var out struct{ RefundID string }
		b.decode(text, &out)
		return out.RefundID, text
	}
	if _, text := create("100"); !strings.Contains(text, `"statusRequest":"400"`) {
		t.Error(text)
	}
	b.gaRequest(sprod, token, "07700000", "100")
	b.pass(time.Second)
	id, text := create("100")
	b.shaped("refund/create", `{"message":"Refund created","statusRequest":200,"totalAmount":100,"clientNumber":"07700000","frais_transaction":2.75,
"updatedFees":0,"refundId":"rfd_165533.IzkknzlJuU3p"}`, text)
	other, _ := create("60")
	const waiting = `{"message":"Refund found","exists":1,"refund":{"orderAmount":100,"amount":100,"status":"200","requestDate":"2021-12-07 23:05:33",
"opeDate":null,"paymentMethod":"Airtel Money","refundType":"TO","refundId":"rfd_16333.IVU3p",
"message":"Remboursement en attente de validation.","description":"description"},"statusRequest":"200"}`
	text = b.gaGet("/refund/infos", "apikey", sprod, "refId", id)
	b.shaped("refund/infos", waiting, text)
	if len(b.Refunded("u")) != 0 || !strings.Contains(text, "en attente") {
		t.Error("what was only made is gone: " + text)
	}
	text = b.gaPost("/refund/send", "apikey", sprod, "refund_id", id)
	if want := `{"message":"Refund OK.","refund_id":"` + id + `","RefundStatus":"200",}`; text != want {
		t.Errorf("%s, want %s", text, want)
	}
	if text = b.gaGet("/refund/infos", "apikey", sprod, "refId", id); !strings.Contains(text, "en attente") || !strings.Contains(text, `"status":"200"`) {
		t.Error(text)
	}
	b.pass(time.Second)
	b.SetQuirks(sandbox.Quirks{StrictJSON: true})
	for _, again := range []string{id, other, "x"} {
		text = b.gaPost("/refund/send", "apikey", sprod, "refund_id", again)
		b.shaped("refund/send", `{"message":"","refund_id":"","RefundStatus":""}`, text)
		if !strings.Contains(text, `"RefundStatus":"400"`) {
			t.Error(text)
		}
	}
	b.pass(time.Hour)
	if got := sum(b.Refunded("u")); got != (api.Money{Amount: 100, Currency: "XAF"}) {
		t.Errorf("refunded %v", got)
	}
	text = b.gaPost("/refund/infos", "apikey", sprod, "refId", id)
	b.shaped("refund/infos", strings.Replace(waiting, "null", `"2021-12-07 23:05:43"`, 1), text)
	if !strings.Contains(text, "Remboursement effectue.") {
		t.Error(text)
	}
	if text = b.gaGet("/refund/infos", "apikey", sprod, "refId", "x"); !strings.Contains(text, `"exists":0`) {
		t.Error(text)
	}
}

func TestMyPayGaLinks(t *testing.T) {
	b := newBank(t, sandbox.Options{Delay: time.Second})
	fresh := func() (order, page string) {
		text := b.gaPost("/payment/generateLink", append([]string{"apikey", sprod, "phone", "074101112", "amount", "300"}, gaWho...)...)
		b.shaped("generateLink", `{"message":"Link created","code":200,"link":{"order_ref":"s-8mpfjiSj","description":"Test lien API","email":"contact@gmail.com",
"phone":"074101112","expired":0,"paid":0,"url":"https://mypayga.com/payment/sharedLink/pay?token_url=spj"}}`, text)
		var out struct {
			Link struct {
				Order string `json:"order_ref"`
				URL   string
			}
		}
		b.decode(text, &out)
		u, err := url.Parse(out.Link.URL)
		if err != nil || !strings.HasPrefix(out.Link.URL, host+"/mypayga/") {
			t.Fatalf("%s, %v", out.Link.URL, err)
		}
		return out.Link.Order, u.RequestURI()
	}
	get := func(order string) string {
		text := b.gaPost("/payment/getLink/"+order+"?apikey="+sprod, "x", "y")
		b.shaped("getLink", `{"message":"Link created","created_at":"2021-11-18 22:20:17","link":{"ref":"Re9W","description":"Test lien API",
"email":"contact@minerve-tech.com","phone":"074112233","expired":0,"final_status":"400","url":"https://mypayga.com"}}`, text)
		return text
	}
	order, page := fresh()
	if text := b.must(200, "GET", page, nil, ""); !strings.Contains(text, "300 FCFA") {
		t.Error(text)
	}
	b.must(303, "POST", page, formType, form("phone", "074 00 00 02"))
	if text := b.must(200, "GET", page, nil, ""); !strings.Contains(text, "Confirm on your phone") {
		t.Error(text)
	}
	b.pass(time.Second)
	if text := b.must(200, "GET", page, nil, ""); !strings.Contains(text, "Refused") || !strings.Contains(get(order), `"final_status":"400"`) {
		t.Error(text)
	}
	b.must(303, "POST", page, formType, form("phone", "074101112"))
	b.must(303, "POST", page, formType, form("phone", "074101112"))
	b.pass(time.Second)
	b.must(303, "POST", page, formType, form("phone", "074101112"))
	if text := b.must(200, "GET", page, nil, ""); !strings.Contains(text, "Payment done") || !strings.Contains(get(order), `"final_status":"200"`) {
		t.Error(text)
	}
	if got := sum(b.Charged(order)); got.Amount != 300 {
		t.Errorf("charged %v", got)
	}

	for _, path := range []string{"/payment/linkCancel/", "/mpayment/linkCancel/"} {
		order, page := fresh()
		b.shaped("linkCancel", `{"message":"Link updated : Changed to Expired","code":200,"link":"Re9W4HbO3aZr4A1cxy0v"}`, b.gaGet(path+order, "apikey", sprod))
		b.must(303, "POST", page, formType, form("phone", "074101112"))
		b.pass(time.Second)
		if !strings.Contains(get(order), `"expired":1`) || len(b.Charged(order)) != 0 {
			t.Errorf("%s: a canceled link takes money", path)
		}
	}
}
