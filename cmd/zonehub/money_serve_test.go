package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"zonegate/hub/sandbox"
	"zonegate/sync/api"
)

// freePort is one that nobody listens on at the moment: providers must be told
// the hub's address before it serves.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestMoneyDay goes from a file to money: a customer pays at a played FlexPay,
// which calls back; the grant reaches the gateway; the reseller withdraws with
// the code that a played SMS gateway got; the day's books agree.
func TestMoneyDay(t *testing.T) {
	dir := t.TempDir()
	cert, key, pool := writePair(t, dir)
	address := freePort(t)
	hub := "https://" + address

	o := sandbox.Defaults()
	o.Delay = 1 // the customer is quick
	o.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	world := sandbox.New(o)
	played := httptest.NewTLSServer(world)
	defer played.Close()
	customers, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { gone <- world.Run(customers) }()
	defer func() { leave(); <-gone }()

	secret := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	ca := secret("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: played.Certificate().Raw})))
	money := secret("money.toml", `
[provider.flexpay]
kind = "flexpay"
test = true
merchant = "`+o.FlexPay.Merchant+`"
pay_url = "`+played.URL+sandbox.FlexPayBase+`"
token_file = "`+secret("flexpay.token", o.FlexPay.Token+"\n")+`"
ca_file = "`+ca+`"

[messenger.sms]
url = "`+played.URL+sandbox.SMSPath+`"
body = '{"to":"{to}","text":"{text}"}'
ca_file = "`+ca+`"

[withdrawals.CDF]
phones = ["243xxxxxxxxx"]
operators = ["mpesa"]
multiple = 100
min = 10000
max = 50000000
daily = { verified = 50000000 }
fee_min = 0
fee_max = 1000

[payouts]
number_wait = "0s"
`)
	data := filepath.Join(dir, "data")
	_, stderr, stop := serving(t, noEnvironment, "--data", data, "--listen", address, "--tls-cert", cert, "--tls-key", key, "--public-url", hub, "--money", money)
	stderr.after(t, "payments are taken")
	stderr.after(t, "listen=")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	base := hub + "/api/v1"
	with := func(args ...string) []string { return append(args, "--data", data) }
	reseller := must(t, "", with("reseller", "add", "Kabila")...)
	site := must(t, "", with("site", "add", "--reseller", reseller, "--currency", "CDF", "Gombe")...)
	code := must(t, "", with("enrol-code", "--site", site)...)
	must(t, "correct horse battery\n", with("user", "add", "--role", "admin", "boss")...)
	must(t, "correct horse battery\n", with("user", "add", "--role", "reseller", "--reseller", reseller, "kabila")...)
	forfait := must(t, "", with("forfait", "set", "--price", "100000", "--currency", "CDF", "--hours", "24", "Jour")...)
	var in api.Enrolled
	post(t, client, base+api.PathEnrol, "", api.Enrol{Code: code, Zone: "z", Name: "n", Version: "1", Instance: strings.Repeat("0", 32)}, http.StatusCreated, &in)

	q, err := http.NewRequestWithContext(t.Context(), "GET", base+api.PathEvents, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+in.Token)
	stream, err := client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	events := newTalk()
	go io.Copy(events, stream.Body)

	var id [16]byte
	rand.Read(id[:])
	var p api.Payment
	post(t, client, base+api.PathIntents, in.Token, api.Intent{IntentID: hex.EncodeToString(id[:]), Plan: forfait, PlanVersion: 1, Provider: "MOBILE_MONEY_CD",
		Phone: "243810001234", Device: "02:00:00:00:00:01"}, http.StatusOK, &p)
	if p.Flow != "push" || p.TransactionID == "" {
		t.Fatalf("the payment is %+v", p)
	}
	// Success is heard by the callback alone: FlexPay is asked at 45 s.
	events.after(t, "id: 2\n")
	r, err := http.NewRequestWithContext(t.Context(), "GET", base+api.PathIntents+"/"+p.IntentID, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+in.Token)
	do(t, client, r, http.StatusOK, &p)
	if p.Status != "completed" || p.Price.Amount != 100000 {
		t.Errorf("it is %+v", p)
	}

	// The reseller withdraws by the documented API.
	var admin, kabila struct{ Token string }
	login := func(name string, into any) {
		t.Helper()
		post(t, client, base+api.PathLogin, "", api.Login{Name: name, Password: "correct horse battery"}, http.StatusOK, into)
	}
	login("boss", &admin)
	login("kabila", &kabila)
	var asked struct {
		Data struct {
			ID int64 `json:"withdrawal_id"`
		}
	}
	ask := map[string]any{"amount": 400, "phone_number": "+243810001234", "operator": "mpesa", "currency": "CDF"}
	post(t, client, hub+"/api/withdrawals/request", kabila.Token, ask, http.StatusForbidden, &asked) // his identity was not checked
	must(t, "", with("reseller", "kyc", reseller, "verified")...)
	post(t, client, hub+"/api/withdrawals/request", kabila.Token, ask, http.StatusCreated, &asked)
	messages := world.Messages("243810001234")
	if len(messages) != 1 {
		t.Fatalf("the messages are %+v", messages)
	}
	text := messages[0].Text
	number := regexp.MustCompile(`\b[0-9]{6}\b`).FindString(text)
	var done struct{ Data struct{ Status string } }
	at := hub + "/api/withdrawals/" + strconv.FormatInt(asked.Data.ID, 10)
	post(t, client, at+"/validate", kabila.Token, map[string]any{"code": number}, http.StatusOK, &done)
	if done.Data.Status != "pending_processing" {
		t.Errorf("after the code %q it is %q", text, done.Data.Status)
	}
	post(t, client, hub+"/api/admin/withdrawals/"+strconv.FormatInt(asked.Data.ID, 10)+"/process", admin.Token, map[string]any{"manual_reference": "MAN-1"}, http.StatusOK, &done)
	if done.Data.Status != "completed" {
		t.Errorf("at last it is %q", done.Data.Status)
	}

	// The books agree, with a statement too; a wrong one is noticed.
	today := time.Now().In(time.FixedZone("UTC+1", 3600)).Format(time.DateOnly)
	if exit, _, errs := zonehub(t, "", with("reconcile", today)...); exit != exitOK || !strings.Contains(errs, "all agrees") {
		t.Errorf("reconcile: exit %d: %s", exit, errs)
	}
	exit, sheet, errs := zonehub(t, "", with("reconcile", "--csv", today)...)
	if exit != exitOK || !strings.Contains(sheet, "booked as paid,,flexpay,,1000.00,CDF,1") {
		t.Errorf("reconcile --csv: exit %d: %s%s", exit, sheet, errs)
	}
	statement := "reference,amount,currency,status\nX,1000.00,CDF,paid\n"
	exit, found, _ := zonehub(t, statement, with("statement", "import", "--provider", "flexpay", "--period", today, "-")...)
	if exit != exitFailed || !strings.Contains(found, "only_here\t"+p.TransactionID) || !strings.Contains(found, "only_there") {
		t.Errorf("a wrong statement: exit %d: %s", exit, found)
	}
	must(t, "", with("ledger", "correct", "--by", "Ada", "--reason", "a test", "--ref", "c1", "--currency", "CDF", "party/rgz=-100", "party/other=100")...)
	if exit, _, errs := zonehub(t, "", with("ledger", "correct", "--by", "Ada", "--reason", "a test", "--ref", "c2", "--currency", "CDF", "party/rgz=-100")...); exit != exitFailed {
		t.Errorf("half a correction: exit %d: %s", exit, errs)
	}

	if exit := stop(); exit != exitOK {
		t.Errorf("exit code %d:\n%s", exit, stderr)
	}
	for _, word := range []string{o.FlexPay.Token, number, "243810001234", in.Token, kabila.Token} {
		if strings.Contains(stderr.String(), word) {
			t.Errorf("%q is in the log:\n%s", word, stderr)
		}
	}
}
