package sandbox_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"zonegate/hub/sandbox"
	"zonegate/sync/api"
)

const nelBase = "/nelsius/api"

// nelAs signs in.
func (b *bank) nelAs(email string) map[string]string {
	b.Helper()
	var out struct{ Data struct{ Token string } }
	b.decode(b.must(200, "POST", nelBase+"/auth/login", nil, `{"email":"`+email+`","password":"sandbox"}`), &out)
	return map[string]string{"Authorization": "Bearer " + out.Data.Token, "Accept": "application/json", "Content-Type": "application/json"}
}

// nelCode is the last code that a number got.
func (b *bank) nelCode(phone string) string {
	b.Helper()
	list := b.Messages(phone)
	if len(list) == 0 {
		b.Fatal("no code was sent")
	}
	return regexp.MustCompile(`\d{6}$`).FindString(list[len(list)-1].Text)
}

func (b *bank) nelRequest(as map[string]string, amount int, phone string) string {
	b.Helper()
	return b.must(201, "POST", nelBase+"/withdrawals/request", as, fmt.Sprintf(`{"amount":%d,"phone_number":"%s","operator":"mtn_money"}`, amount, phone))
}

// wallet fails unless Nelsius has that much.
func (b *bank) wallet(available, blocked int64) {
	b.Helper()
	if a, r := b.Wallet(); a != available || r != blocked {
		b.Errorf("the wallet has %d and %d blocked, want %d and %d", a, r, available, blocked)
	}
}

// The document's own scenario, with its samples.
func TestNelsius(t *testing.T) {
	b := newBank(t, sandbox.Options{})
	as, admin := b.nelAs("reseller@example.com"), b.nelAs("admin@example.com")
	get := func(path string) string { return b.must(200, "GET", nelBase+path, as, "") }
	b.shaped("check-eligibility", `{"success":true,"data":{"eligible":true,"reasons":[],"daily_limit":1000000.00,"used_today":150000.00,"available_today":850000.00,"wallet_balance":500000.00}}`,
		get("/withdrawals/check-eligibility"))
	text := get("/withdrawals/fees-calculator?amount=50000&operator=mtn_money")
	if want := `{"success":true,"data":{"amount":50000.00,"fees":750.00,"net_amount":49250.00,"fee_percentage":1.5,"min_fee":100.00,"max_fee":5000.00,"description":"Frais MTN Money"}}`; text != want {
		t.Errorf("got %s, want %s", text, want)
	}
	text = b.nelRequest(as, 50000, "+237612345678")
	b.shaped("request", `{"success":true,"message":"Code de retrait envoyé au bénéficiaire","data":{"withdrawal_id":123,"reference":"WTH1733304458abc123","code_expires_at":"2025-12-05 14:30:00","amount":50000.00,"fees":750.00,"net_amount":49250.00}}`, text)
	if !strings.Contains(text, `"code_expires_at":"2026-03-04 11:10:00","amount":50000.00,"fees":750.00,"net_amount":49250.00`) || !regexp.MustCompile(`WTH\d{10}[a-z0-9]{6}`).MatchString(text) {
		t.Error(text)
	}
	b.wallet(450000, 50000)
	b.pass(time.Minute)
	first := b.nelCode("+237612345678")
	text = b.must(200, "POST", nelBase+"/withdrawals/1/resend-code", as, "")
	if want := `{"success":true,"message":"Code renvoyé","data":{"code_expires_at":"2026-03-04 11:11:00"}}`; text != want {
		t.Errorf("got %s, want %s", text, want)
	}
	code := b.nelCode("+237612345678")
	if code != first {
		b.must(400, "POST", nelBase+"/withdrawals/1/validate", as, `{"code":"`+first+`"}`)
	}
	text = b.must(200, "POST", nelBase+"/withdrawals/1/validate", as, `{"code":"`+code+`"}`)
	b.shaped("validate", `{"success":true,"message":"","data":{"id":123,"withdrawal_reference":"WTH1733304458abc123","amount":50000.00,"status":"pending_processing","is_code_verified":true,"code_verified_at":"2025-12-05 14:25:00"}}`, text)
	b.wallet(450000, 50000)

	b.must(403, "GET", nelBase+"/admin/withdrawals/pending", as, "")
	text = b.must(200, "GET", nelBase+"/admin/withdrawals/pending?operator=mtn_money&date=2026-03-04", admin, "")
	for _, want := range []string{`"stats":{"count_by_operator":[{"count":1,"operator":"mtn_money","total":50000.00}],"total_amount_pending":50000.00,"total_pending":1}`, `"wallet_number":"WAL00000001"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
	if len(b.PaidOut("")) != 0 || len(b.Movements(nil)) != 0 {
		t.Error("paid before it was processed")
	}
	text = b.must(200, "POST", nelBase+"/admin/withdrawals/1/process", admin, `{"manual_reference":"MAN-TEST-001","notes":"Test postman"}`)
	b.shaped("process", `{"success":true,"message":"","data":{"id":1,"status":"completed","processed_manually_by":2,"processed_manually_at":"2025-12-05 15:00:00","manual_reference":"MAN","manual_notes":"n"}}`, text)
	b.must(400, "POST", nelBase+"/admin/withdrawals/1/process", admin, "")
	b.must(400, "POST", nelBase+"/admin/withdrawals/1/fail", admin, `{"reason":"x"}`)
	if got := b.Movements(nil); len(got) != 1 || got[0].Money != (api.Money{Amount: 49250, Currency: "XAF"}) || got[0].Kind != sandbox.KindPayout {
		t.Errorf("moved %+v", got)
	}
	b.wallet(450000, 0)

	const item = `{"id":1,"withdrawal_reference":"x","amount":1.00,"fees":1.00,"net_amount":1.00,"phone_number":"x","operator":"x","status":"x","is_code_verified":true,"created_at":"x","updated_at":"x"}`
	text = get("/withdrawals?status=completed&operator=mtn_money")
	if !strings.Contains(text, `"total":1`) || !strings.Contains(text, `"prev_page_url":null`) || !strings.Contains(text, `"status":"completed"`) {
		t.Error(text)
	}
	b.shaped("an item", item, regexp.MustCompile(`"data":\[(\{.*?\})\]`).FindStringSubmatch(text)[1])
	if text = get("/withdrawals?status=failed"); !strings.Contains(text, `"data":[]`) || !strings.Contains(text, `"total":0`) {
		t.Error(text)
	}
	b.shaped("show", `{"success":true,"data":{"id":1,"user_id":1,"wallet_id":1,"amount":1.00,"currency":"XAF","fees":1.00,"net_amount":1.00,"method":"mobile_money","phone_number":"x","operator":"x",
"withdrawal_reference":"x","withdrawal_code":null,"code_expires_at":"x","code_verified_at":"x","is_code_verified":true,"status":"x","created_at":"x","updated_at":"x"}}`, get("/withdrawals/1"))
	b.shaped("stats", `{"success":true,"data":{"total_withdrawn":1.00,"total_fees":1.00,"pending_count":3,"daily_stats":[{"date":"x","count":5,"total_amount":1.00}]}}`, get("/withdrawals/stats"))
	if text = b.must(200, "GET", nelBase+"/admin/withdrawals/stats?period=week", admin, ""); !strings.Contains(text, `"completed_amount":50000.00`) || !strings.Contains(text, `"last_7_days":[{"completed_amount":50000.00,"count":1,"date":"2026-03-04"`) {
		t.Error(text)
	}
	for query, want := range map[string]int{"?phone_number=%2B237612345678": 1, "?status=failed": 0, "?date_from=2026-03-05": 0, "?date_from=2026-03-04&date_to=2026-03-04&reference=WTH": 1} {
		if text = b.must(200, "GET", nelBase+"/admin/withdrawals/search"+query, admin, ""); !strings.Contains(text, fmt.Sprintf(`"total":%d`, want)) {
			t.Errorf("%s: %s", query, text)
		}
	}
}

func TestNelsiusRefusals(t *testing.T) {
	b := newBank(t, sandbox.Options{})
	if text := b.must(401, "GET", nelBase+"/withdrawals", nil, ""); text != `{"message":"Unauthenticated."}` {
		t.Error(text)
	}
	b.must(401, "POST", nelBase+"/auth/login", nil, `{"email":"reseller@example.com","password":"x"}`)
	as, admin := b.nelAs("reseller@example.com"), b.nelAs("admin@example.com")
	ask := func(status int, body, has string) {
		t.Helper()
		if text := b.must(status, "POST", nelBase+"/withdrawals/request", as, body); !strings.Contains(text, has) {
			t.Errorf("%s: %s lacks %s", body, text, has)
		}
	}
	good := `{"amount":50000,"phone_number":"+237612345678","operator":"mtn_money"}`
	ask(400, strings.NewReplacer("50000", "50050", "+2376", "6").Replace(good), `{"success":false,"message":"Validation error","errors":{"amount":["Le montant doit être un multiple de 100."],"phone_number":["Le numéro doit être un numéro camerounais valide (+2376xxxxxxxx)"]}}`)
	ask(400, strings.Replace(good, "50000", "400", 1), "minimum")
	ask(400, strings.Replace(good, "50000", "500100", 1), "maximum")
	ask(400, strings.Replace(good, "mtn_money", "cash", 1), "operator")
	b.SetWallet(1000, "verified")
	ask(400, good, `{"success":false,"message":"Solde insuffisant"}`)
	b.SetQuirks(sandbox.Quirks{Poor422: true})
	ask(422, good, `{"success":false,"message":"Solde insuffisant"}`)
	b.SetWallet(5_000_000, "unverified")
	ask(403, good, `{"success":false,"message":"Vérification KYC requise pour les retraits","kyc_status":"pending"}`)
	b.must(403, "GET", nelBase+"/withdrawals/check-eligibility", as, "")
	b.must(404, "GET", nelBase+"/withdrawals/9", as, "")
	b.must(400, "GET", nelBase+"/withdrawals/fees-calculator?amount=499&operator=mtn_money", as, "")

	// The day's limit, by amount and by number; what was canceled counts not.
	b.SetWallet(5_000_000, "basic")
	b.nelRequest(as, 500000, "+237612345678")
	ask(400, good, "Limite")
	if text := b.must(200, "POST", nelBase+"/withdrawals/1/cancel", as, ""); text != `{"success":true,"message":"Retrait annulé","data":{"id":1,"status":"cancelled","refunded_amount":500000.00}}` {
		t.Error(text)
	}
	b.must(400, "POST", nelBase+"/withdrawals/1/cancel", as, "")
	b.must(400, "POST", nelBase+"/withdrawals/1/resend-code", as, "")
	b.wallet(5_000_000, 0)
	for range 5 {
		b.nelRequest(as, 500, "+237612345678")
	}
	ask(400, strings.Replace(good, "50000", "500", 1), "Nombre")
	b.wallet(5_000_000-2500, 2500)

	// Wrong codes, a late one, and one that an admin fails.
	for i := range 5 {
		if text := b.must(400, "POST", nelBase+"/withdrawals/2/validate", as, `{"code":"x"}`); strings.Contains(text, "tentatives") != (i == 4) {
			t.Error(text)
		}
	}
	b.wallet(5_000_000-2000, 2000)
	code := b.nelCode("+237612345678")
	b.must(200, "POST", nelBase+"/withdrawals/6/validate", as, `{"code":"`+code+`"}`)
	b.pass(10 * time.Minute)
	if text := b.must(400, "POST", nelBase+"/withdrawals/3/validate", as, `{"code":"123456"}`); text != `{"success":false,"message":"Code expiré"}` {
		t.Error(text)
	}
	b.wallet(5_000_000-500, 500)
	b.must(400, "POST", nelBase+"/admin/withdrawals/6/fail", admin, `{}`)
	if text := b.must(200, "POST", nelBase+"/admin/withdrawals/6/fail", admin, `{"reason":"Numéro invalide"}`); text != `{"success":true,"message":"Retrait marqué comme échoué","data":{"id":6,"status":"failed","failure_reason":"Numéro invalide"}}` {
		t.Error(text)
	}
	b.wallet(5_000_000, 0)
	if len(b.Movements(nil)) != 0 {
		t.Error("money moved")
	}
	b.pass(time.Hour)
	b.must(401, "GET", nelBase+"/withdrawals", as, "")
}

func TestNelsiusAutomatic(t *testing.T) {
	for phone, want := range map[string]string{"+237612340000": "completed", "+237612340002": "failed", "+237612340003": "pending_processing"} {
		b := newBank(t, sandbox.Options{Delay: time.Second, Quirks: sandbox.Quirks{Automatic: true}})
		as := b.nelAs("reseller@example.com")
		b.nelRequest(as, 50000, phone)
		b.must(200, "POST", nelBase+"/withdrawals/1/validate", as, `{"code":"`+b.nelCode(phone)+`"}`)
		b.pass(time.Second)
		if text := b.must(200, "GET", nelBase+"/withdrawals/1", as, ""); !strings.Contains(text, `"status":"`+want+`"`) {
			t.Error(text)
		}
		switch want {
		case "completed":
			b.wallet(450000, 0)
		case "failed":
			b.wallet(500000, 0)
		default:
			b.wallet(450000, 50000)
		}
		if (len(b.Movements(nil)) == 1) != (want == "completed") {
			t.Errorf("%s: moved %v", phone, b.Movements(nil))
		}
	}
}
