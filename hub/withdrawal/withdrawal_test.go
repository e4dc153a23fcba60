package withdrawal_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate/hub"
	"zonegate/hub/server"
	"zonegate/hub/store"
	"zonegate/hub/withdrawal"
	"zonegate/internal/lab/postgres"
)

// database is a PostgreSQL server for all tests of this package.
var (
	stopDatabase func() error
	database     = sync.OnceValues(func() (*postgres.Server, error) {
		s, err := postgres.Start()
		if err == nil {
			stopDatabase = s.Stop
		}
		return s, err
	})
)

func TestMain(m *testing.M) {
	code := m.Run()
	if stopDatabase != nil {
		if err := stopDatabase(); err != nil {
			fmt.Println("stopping PostgreSQL:", err)
			code = 1
		}
	}
	os.Exit(code)
}

type plainHasher struct{}

func (plainHasher) Hash(_ context.Context, password string) (string, error) {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:]), nil
}

func (h plainHasher) Verify(ctx context.Context, hash, password string) (bool, error) {
	got, err := h.Hash(ctx, password)
	return got == hash, err
}

type inbox struct {
	mu   sync.Mutex
	last string
	fail error
}

func (i *inbox) Send(_ context.Context, _, text string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fail != nil {
		return i.fail
	}
	i.last = text
	return nil
}

var sixDigits = regexp.MustCompile(`\b\d{6}\b`)

func (i *inbox) code() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return sixDigits.FindString(i.last)
}

const password = "votre_mot_de_passe"

// A world is a hub that serves the API, on the day of the document's samples.
type world struct {
	*testing.T
	hub   *hub.Hub
	store *store.Store
	url   string
	inbox *inbox
	log   *bytes.Buffer
	mu    sync.Mutex
	now   time.Time

	kofi, boss, second string // tokens
	reseller           string
}

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

var root = hub.Actor{User: "root", Name: "root", Role: hub.RoleAdmin}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func onEach(t *testing.T, change func(*hub.WithdrawalRule), test func(w *world)) {
	t.Run("sqlite", func(t *testing.T) { test(newWorld(t, filepath.Join(t.TempDir(), "hub.db"), change)) })
	t.Run("postgres", func(t *testing.T) {
		db, err := database()
		if err != nil {
			t.Fatal(err)
		}
		url, err := db.Database(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		test(newWorld(t, url, change))
	})
}

func newWorld(t *testing.T, database string, change func(*hub.WithdrawalRule)) *world {
	t.Helper()
	w := &world{T: t, inbox: &inbox{}, log: &bytes.Buffer{}, now: time.Date(2025, 12, 5, 13, 20, 0, 0, time.UTC)}
	st, err := store.Open(context.Background(), database, slog.New(slog.DiscardHandler))
	w.ok(err)
	w.store = st
	keys, err := hub.NewKeys()
	w.ok(err)
	rule := hub.DefaultWithdrawalRule()
	if change != nil {
		change(&rule)
	}
	p := hub.Payouts{Messenger: w.inbox, Rules: []hub.WithdrawalRule{rule}, NumberWait: -1}
	w.ok(p.Check())
	w.hub = hub.New(hub.Options{Store: st, Keys: keys, Hasher: plainHasher{}, Now: w.Now, Payouts: p})
	h := withdrawal.New(withdrawal.Options{Hub: w.hub, Tokens: server.Tokens{Key: keys.JWT, Now: w.Now}, URL: "https://hub.example",
		Log: slog.New(slog.NewTextHandler(w.log, nil))})
	srv := httptest.NewServer(h)
	w.url = srv.URL + "/api"
	t.Cleanup(func() {
		srv.Close()
		st.Close()
		if w.log.Len() > 0 {
			t.Errorf("it logged %s", w.log)
		}
	})
	r, err := w.hub.CreateReseller(t.Context(), root, "Kofi", hub.Limits{Sites: 5})
	w.ok(err)
	w.reseller = r.ID
	for _, u := range []hub.NewUser{{Name: "john@example.com", Role: hub.RoleReseller, Reseller: r.ID}, {Name: "boss@example.com", Role: hub.RoleAdmin},
		{Name: "second@example.com", Role: hub.RoleAdmin}} {
		u.Password = password
		_, err := w.hub.CreateUser(t.Context(), root, u)
		w.ok(err)
	}
	w.kofi, w.boss, w.second = w.login("john@example.com"), w.login("boss@example.com"), w.login("second@example.com")
	w.ok(w.hub.SetKYC(t.Context(), root, r.ID, hub.KYCVerified))
	w.fund(500_000)
	return w
}

func (w *world) fund(amount int64) {
	w.Helper()
	w.ok(w.store.Write(w.Context(), func(tx hub.Tx) error {
		return w.hub.Book(tx, hub.Transaction{Kind: hub.BookCorrection, Ref: fmt.Sprint("fund ", amount, w.Now()), Postings: []hub.Posting{
			{Account: "provider/test", Currency: "XAF", Amount: amount}, {Account: hub.AccountReseller + w.reseller, Currency: "XAF", Amount: -amount}}})
	}))
}

// call does a call and returns status and body.
func (w *world) call(token, method, path, body string) (int, string) {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, w.url+path, strings.NewReader(body))
	w.ok(err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.Header.Set("Accept", "application/json")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	a, err := http.DefaultClient.Do(r)
	w.ok(err)
	defer a.Body.Close()
	answer, err := io.ReadAll(a.Body)
	w.ok(err)
	if kind := a.Header.Get("Content-Type"); kind != "application/json" {
		w.Errorf("%s %s: the answer is %q", method, path, kind)
	}
	return a.StatusCode, string(answer)
}

var reference = regexp.MustCompile(`WTH\d{10}[a-z2-7]{6}`)

// want does a call and compares the answer to the letter; references are
// WTH1733304458abc123.
func (w *world) want(token, method, path, body string, status int, answer string) {
	w.Helper()
	got, text := w.call(token, method, path, body)
	text = reference.ReplaceAllString(text, "WTH1733304458abc123")
	if got != status || text != answer {
		w.Errorf("%s %s:\n got %d %s\nwant %d %s", method, path, got, text, status, answer)
	}
}

func (w *world) login(email string) string {
	w.Helper()
	status, body := w.call("", "POST", "/auth/login", `{"email":"`+email+`","password":"`+password+`"}`)
	var in struct {
		Success bool
		Data    struct{ Token string }
	}
	if err := json.Unmarshal([]byte(body), &in); err != nil || status != 200 || !in.Success || in.Data.Token == "" {
		w.Fatalf("signing in: %d %s", status, body)
	}
	return in.Data.Token
}

const ask = `{"amount":50000,"phone_number":"+237612345678","operator":"mtn_money"}`

// verified asks for a withdrawal and validates it.
func (w *world) verified(number int) {
	w.Helper()
	if status, body := w.call(w.kofi, "POST", "/withdrawals/request", ask); status != 201 {
		w.Fatalf("%d %s", status, body)
	}
	if status, body := w.call(w.kofi, "POST", fmt.Sprintf("/withdrawals/%d/validate", number), `{"code":"`+w.inbox.code()+`"}`); status != 200 {
		w.Fatalf("%d %s", status, body)
	}
}

// The scenario of the document, to the letter.
func TestScenario(t *testing.T) {
	onEach(t, nil, func(w *world) {
		w.want(w.kofi, "GET", "/withdrawals/check-eligibility", "", 200,
			`{"success":true,"data":{"eligible":true,"reasons":[],"daily_limit":1000000.00,"used_today":0.00,"available_today":1000000.00,"wallet_balance":500000.00,"blocked_balance":0.00,"currency":"XAF","kyc_level":"verified"}}`)
		w.want(w.kofi, "GET", "/withdrawals/fees-calculator?amount=50000&operator=mtn_money", "", 200,
			`{"success":true,"data":{"amount":50000.00,"fees":750.00,"net_amount":49250.00,"fee_percentage":1.5,"min_fee":100.00,"max_fee":5000.00,"description":"Frais MTN Money"}}`)
		w.want(w.kofi, "POST", "/withdrawals/request", ask, 201,
			`{"success":true,"message":"Code de retrait envoyé au bénéficiaire","data":{"withdrawal_id":1,"reference":"WTH1733304458abc123","code_expires_at":"2025-12-05 14:30:00","amount":50000.00,"fees":750.00,"net_amount":49250.00}}`)
		w.want(w.kofi, "GET", "/withdrawals/1", "", 200,
			`{"success":true,"data":{"id":1,"user_id":1,"wallet_id":1,"amount":50000.00,"currency":"XAF","fees":750.00,"net_amount":49250.00,"method":"mobile_money","phone_number":"+237612345678","operator":"mtn_money","withdrawal_reference":"WTH1733304458abc123","withdrawal_code":null,"code_expires_at":"2025-12-05 14:30:00","code_verified_at":null,"is_code_verified":false,"status":"pending_verification","created_at":"2025-12-05 14:20:00","updated_at":"2025-12-05 14:20:00"}}`)
		w.pass(5 * time.Minute)
		w.want(w.kofi, "POST", "/withdrawals/1/validate", `{"code":"`+w.inbox.code()+`"}`, 200,
			`{"success":true,"message":"Code validé. Notre équipe traitera votre retrait sous peu.","data":{"id":1,"withdrawal_reference":"WTH1733304458abc123","amount":50000.00,"status":"pending_processing","is_code_verified":true,"code_verified_at":"2025-12-05 14:25:00"}}`)
		w.want(w.boss, "GET", "/admin/withdrawals/pending", "", 200,
			`{"success":true,"data":{"current_page":1,"data":[{"id":1,"withdrawal_reference":"WTH1733304458abc123","amount":50000.00,"net_amount":49250.00,"phone_number":"+237612345678","operator":"mtn_money","user":{"id":1,"email":"john@example.com","phone":null},"wallet":{"id":1,"wallet_number":"WAL00000001"},"is_code_verified":true,"is_claimed":false,"payable_from":null,"currency":"XAF","created_at":"2025-12-05 14:20:00"}],`+
				`"first_page_url":"https://hub.example/api/admin/withdrawals/pending?page=1","from":1,"last_page":1,"last_page_url":"https://hub.example/api/admin/withdrawals/pending?page=1","next_page_url":null,"path":"https://hub.example/api/admin/withdrawals/pending","per_page":20,"prev_page_url":null,"to":1,"total":1,`+
				`"stats":{"total_pending":1,"total_amount_pending":50000.00,"count_by_operator":[{"operator":"mtn_money","count":1,"total":50000.00}]}}}`)
		w.pass(35 * time.Minute)
		w.want(w.boss, "POST", "/admin/withdrawals/1/process", `{"manual_reference":"MAN-TEST-001","notes":"Test postman"}`, 200,
			`{"success":true,"message":"Retrait marqué comme traité","data":{"id":1,"status":"completed","processed_manually_by":2,"processed_manually_at":"2025-12-05 15:00:00","manual_reference":"MAN-TEST-001","manual_notes":"Test postman"}}`)
		w.want(w.kofi, "GET", "/withdrawals?per_page=10", "", 200,
			`{"success":true,"data":{"current_page":1,"data":[{"id":1,"withdrawal_reference":"WTH1733304458abc123","amount":50000.00,"fees":750.00,"net_amount":49250.00,"phone_number":"+237612345678","operator":"mtn_money","status":"completed","is_code_verified":true,"created_at":"2025-12-05 14:20:00","updated_at":"2025-12-05 15:00:00"}],"first_page_url":"https://hub.example/api/withdrawals?page=1&per_page=10","from":1,"last_page":1,"last_page_url":"https://hub.example/api/withdrawals?page=1&per_page=10","next_page_url":null,"path":"https://hub.example/api/withdrawals","per_page":10,"prev_page_url":null,"to":1,"total":1}}`)
		w.want(w.kofi, "GET", "/withdrawals/stats", "", 200,
			`{"success":true,"data":{"total_withdrawn":50000.00,"total_fees":750.00,"pending_count":0,"daily_stats":[{"date":"2025-12-05","count":1,"total_amount":50000.00}]}}`)
		w.want(w.kofi, "GET", "/withdrawals/check-eligibility", "", 200,
			`{"success":true,"data":{"eligible":true,"reasons":[],"daily_limit":1000000.00,"used_today":50000.00,"available_today":950000.00,"wallet_balance":450000.00,"blocked_balance":0.00,"currency":"XAF","kyc_level":"verified"}}`)
	})
}

// "Also to test", of the document.
func TestErrors(t *testing.T) {
	onEach(t, nil, func(w *world) {
		const no = `{"success":false,"message":`
		for _, token := range []string{"", "x", w.kofi + "x"} {
			w.want(token, "GET", "/withdrawals", "", 401, `{"message":"Unauthenticated."}`)
			w.want(token, "GET", "/admin/withdrawals/pending", "", 401, `{"message":"Unauthenticated."}`)
		}
		w.want("", "POST", "/auth/login", `{"email":"john@example.com","password":"wrong wrong"}`, 401, `{"message":"Unauthenticated."}`)
		w.want(w.kofi, "GET", "/admin/withdrawals/pending", "", 403, no+`"Accès refusé"}`)
		w.want(w.kofi, "POST", "/admin/withdrawals/1/process", "", 403, no+`"Accès refusé"}`)
		w.want(w.kofi, "GET", "/nothing", "", 404, no+`"Route non trouvée"}`)
		for _, path := range []string{"/withdrawals/1", "/withdrawals/x", "/withdrawals/0", "/withdrawals/99999999999999999999"} {
			w.want(w.kofi, "GET", path, "", 404, no+`"Retrait non trouvé"}`)
		}
		w.want(w.kofi, "POST", "/withdrawals/1/cancel", "", 404, no+`"Retrait non trouvé"}`)
		w.want(w.kofi, "POST", "/withdrawals/request", `{"amount":50050,"phone_number":"+229612345678","operator":"mtn_money"}`, 400,
			no+`"Validation error","errors":{"amount":["Le montant doit être un multiple de 100."],"phone_number":["Le numéro doit être un numéro camerounais valide (+2376xxxxxxxx)"]}}`)
		w.want(w.kofi, "POST", "/withdrawals/request", `{"amount":400,"phone_number":"+237612345678","operator":"mtn_money"}`, 400,
			no+`"Validation error","errors":{"amount":["Le montant minimum est de 500 XAF."]}}`)
		for _, amount := range []string{`null`, `"x"`, `500.5`, `-500`, `5e4`, `[]`, `99999999999999999999`} {
			w.want(w.kofi, "POST", "/withdrawals/request", `{"amount":`+amount+`,"phone_number":"+237612345678","operator":"mtn_money"}`, 400,
				no+`"Validation error","errors":{"amount":["Le montant est obligatoire et doit être un nombre."]}}`)
		}
		w.want(w.kofi, "POST", "/withdrawals/request", `{`, 400, no+`"JSON invalide"}`)
		w.want(w.kofi, "GET", "/withdrawals/fees-calculator?amount=50000", "", 400, no+`"Validation error","errors":{"operator":["L'opérateur doit être l'un de : orange_money, mtn_money, moov_money."]}}`)
		w.want(w.kofi, "GET", "/withdrawals?status=gone", "", 400, no+`"Validation error","errors":{"status":["Statut inconnu."]}}`)
		w.want(w.kofi, "GET", "/withdrawals?page=0", "", 400, no+`"Validation error","errors":{"page":["Doit être un nombre de 1 à 1000000."]}}`)
		w.want(w.boss, "GET", "/admin/withdrawals/stats?period=ever", "", 400, no+`"Validation error","errors":{"period":["La période doit être today, week, month ou year."]}}`)
		w.want(w.boss, "GET", "/admin/withdrawals/search?date_from=1.2.2026", "", 400, no+`"Validation error","errors":{"date_from":["La date doit être au format AAAA-MM-JJ."]}}`)
		w.want(w.boss, "POST", "/withdrawals/request", ask, 403, no+`"Accès refusé"}`)

		// Whole amounts in any spelling, and a code as a number.
		for _, amount := range []string{`500`, `500.00`, `"500"`} {
			if status, body := w.call(w.kofi, "POST", "/withdrawals/request", `{"amount":`+amount+`,"phone_number":"237612345678","operator":"mtn_money"}`); status != 201 {
				w.Errorf("%s: %d %s", amount, status, body)
			}
		}
		w.want(w.kofi, "POST", "/withdrawals/1/validate", `{}`, 400, no+`"Validation error","errors":{"code":["Le code est obligatoire."]}}`)
		for left := 4; left >= 0; left-- {
			w.want(w.kofi, "POST", "/withdrawals/1/validate", `{"code":"abc"}`, 400, no+fmt.Sprintf(`"Code invalide. Tentatives restantes : %d"}`, left))
		}
		w.want(w.kofi, "POST", "/withdrawals/1/validate", `{"code":"abc"}`, 400, no+`"Code expiré"}`)
		w.want(w.kofi, "POST", "/withdrawals/2/cancel", "", 200, `{"success":true,"message":"Retrait annulé","data":{"id":2,"status":"cancelled","refunded_amount":500.00}}`)
		w.want(w.kofi, "POST", "/withdrawals/2/cancel", "", 400, no+`"Opération impossible dans l'état actuel du retrait (cancelled)"}`)
		w.pass(9 * time.Minute)
		w.want(w.kofi, "POST", "/withdrawals/3/resend-code", "", 200, `{"success":true,"message":"Code renvoyé","data":{"code_expires_at":"2025-12-05 14:39:00"}}`)
		w.pass(10 * time.Minute)
		w.want(w.kofi, "POST", "/withdrawals/3/validate", `{"code":"`+w.inbox.code()+`"}`, 400, no+`"Code expiré"}`)
		w.want(w.kofi, "POST", "/withdrawals/3/resend-code", "", 400, no+`"Code expiré"}`)

		w.want(w.kofi, "POST", "/withdrawals/request", `{"amount":500000,"phone_number":"+237612345678","operator":"orange_money"}`, 201,
			`{"success":true,"message":"Code de retrait envoyé au bénéficiaire","data":{"withdrawal_id":4,"reference":"WTH1733304458abc123","code_expires_at":"2025-12-05 14:49:00","amount":500000.00,"fees":5000.00,"net_amount":495000.00}}`)
		w.want(w.kofi, "POST", "/withdrawals/request", ask, 400, no+`"Solde insuffisant"}`)
		w.fund(2_000_000)
		if status, body := w.call(w.kofi, "POST", "/withdrawals/request", `{"amount":500000,"phone_number":"+237612345678","operator":"orange_money"}`); status != 201 {
			w.Errorf("%d %s", status, body)
		}
		w.want(w.kofi, "POST", "/withdrawals/request", ask, 400, no+`"Limite journalière atteinte"}`)
		w.want(w.kofi, "GET", "/withdrawals/check-eligibility", "", 200,
			`{"success":true,"data":{"eligible":false,"reasons":["Limite journalière atteinte"],"daily_limit":1000000.00,"used_today":1000000.00,"available_today":0.00,"wallet_balance":1500000.00,"blocked_balance":1000000.00,"currency":"XAF","kyc_level":"verified"}}`)

		w.ok(w.hub.SetKYC(w.Context(), root, w.reseller, hub.KYCUnverified))
		const kyc = no + `"Vérification KYC requise pour les retraits","kyc_status":"pending"}`
		w.want(w.kofi, "GET", "/withdrawals/check-eligibility", "", 403, kyc)
		w.want(w.kofi, "POST", "/withdrawals/request", ask, 403, kyc)
	})
}

func TestAdmin(t *testing.T) {
	onEach(t, func(r *hub.WithdrawalRule) { r.ApproveAbove = 49_900 }, func(w *world) {
		w.verified(1)
		const no = `{"success":false,"message":`
		const wrong = no + `"Opération impossible dans l'état actuel du retrait (pending_processing)"}`
		w.want(w.boss, "POST", "/admin/withdrawals/1/process", "", 400, wrong)
		w.want(w.boss, "POST", "/admin/withdrawals/1/claim", "", 200,
			`{"success":true,"message":"Retrait réservé","data":{"id":1,"status":"pending_processing","is_claimed":true,"is_approved":false,"failure_reason":null}}`)
		w.want(w.boss, "POST", "/admin/withdrawals/1/approve", "", 400, wrong)
		w.want(w.second, "POST", "/admin/withdrawals/1/claim", "", 400, wrong)
		w.want(w.second, "POST", "/admin/withdrawals/1/approve", "", 200,
			`{"success":true,"message":"Retrait approuvé","data":{"id":1,"status":"processing","is_claimed":true,"is_approved":true,"failure_reason":null}}`)
		w.want(w.second, "POST", "/admin/withdrawals/1/process", "", 400, no+`"Opération impossible dans l'état actuel du retrait (processing)"}`)
		w.want(w.boss, "POST", "/admin/withdrawals/1/process", "", 200,
			`{"success":true,"message":"Retrait marqué comme traité","data":{"id":1,"status":"completed","processed_manually_by":2,"processed_manually_at":"2025-12-05 14:20:00","manual_reference":null,"manual_notes":null}}`)
		w.want(w.boss, "POST", "/admin/withdrawals/1/reverse", `{"statement":"ligne 3"}`, 200,
			`{"success":true,"message":"Retrait annulé après paiement","data":{"id":1,"status":"reversed","is_claimed":true,"is_approved":true,"failure_reason":"ligne 3"}}`)
		w.verified(2)
		w.want(w.boss, "POST", "/admin/withdrawals/2/fail", `{}`, 400, no+`"Validation error","errors":{"reason":["La raison est obligatoire (300 caractères au plus)."]}}`)
		w.want(w.boss, "POST", "/admin/withdrawals/2/fail", `{"reason":"Numéro invalide"}`, 200,
			`{"success":true,"message":"Retrait marqué comme échoué","data":{"id":2,"status":"failed","failure_reason":"Numéro invalide"}}`)
		w.want(w.boss, "POST", "/admin/withdrawals/2/fail", `{"reason":"Numéro invalide"}`, 400, no+`"Opération impossible dans l'état actuel du retrait (failed)"}`)
		w.want(w.boss, "POST", "/admin/withdrawals/9/fail", `{"reason":"x"}`, 404, no+`"Retrait non trouvé"}`)

		w.verified(3)
		w.want(w.boss, "POST", "/admin/withdrawals/3/claim", "", 200,
			`{"success":true,"message":"Retrait réservé","data":{"id":3,"status":"pending_processing","is_claimed":true,"is_approved":false,"failure_reason":null}}`)
		w.want(w.boss, "POST", "/admin/withdrawals/3/release", "", 200,
			`{"success":true,"message":"Réservation levée","data":{"id":3,"status":"pending_processing","is_claimed":false,"is_approved":false,"failure_reason":null}}`)
		w.pass(48 * time.Hour)
		w.boss, w.kofi = w.login("boss@example.com"), w.login("john@example.com")
		w.want(w.boss, "GET", "/admin/withdrawals/stats?period=month", "", 200,
			`{"success":true,"data":{"period":"month","total_count":3,"completed_amount":0.00,"pending_amount":50000.00,"total_fees":0.00,"by_operator":[{"operator":"mtn_money","count":3,"total_amount":0.00}],"last_7_days":[`+
				`{"date":"2025-12-01","count":0,"completed_amount":0.00,"pending_amount":0.00},{"date":"2025-12-02","count":0,"completed_amount":0.00,"pending_amount":0.00},{"date":"2025-12-03","count":0,"completed_amount":0.00,"pending_amount":0.00},{"date":"2025-12-04","count":0,"completed_amount":0.00,"pending_amount":0.00},`+
				`{"date":"2025-12-05","count":3,"completed_amount":0.00,"pending_amount":50000.00},{"date":"2025-12-06","count":0,"completed_amount":0.00,"pending_amount":0.00},{"date":"2025-12-07","count":0,"completed_amount":0.00,"pending_amount":0.00}]}}`)
		for path, want := range map[string]string{
			"/admin/withdrawals/stats": `"period":"today","total_count":0,`, "/admin/withdrawals/stats?period=week": `"total_count":3,`,
			"/admin/withdrawals/stats?period=year":                                         `"total_count":3,`,
			"/admin/withdrawals/search?status=failed":                                      `"data":[{"id":2,`,
			"/admin/withdrawals/search?phone_number=%2B237612345678":                       `"total":3`,
			"/admin/withdrawals/search?phone_number=99":                                    `"data":[],`,
			"/admin/withdrawals/search?date_from=2025-12-06":                               `"total":0`,
			"/admin/withdrawals/search?date_to=2025-12-04":                                 `"total":0`,
			"/admin/withdrawals/search?date_from=2025-12-05&date_to=2025-12-05&per_page=1": `"to":1,"total":3`,
			"/admin/withdrawals/pending?date=2025-12-05":                                   `"data":[{"id":3,`,
			"/admin/withdrawals/pending?date=2025-12-06":                                   `"from":null,`,
			"/admin/withdrawals/pending?operator=orange_money":                             `"total_pending":0,`,
		} {
			if status, body := w.call(w.boss, "GET", path, ""); status != 200 || !strings.Contains(body, want) {
				w.Errorf("%s: %d %s, want %s", path, status, body, want)
			}
		}
		_, body := w.call(w.kofi, "GET", "/withdrawals?per_page=2&page=1&operator=mtn_money", "")
		var list struct {
			Data struct {
				Data  []struct{ ID int }
				Next  string  `json:"next_page_url"`
				Prev  *string `json:"prev_page_url"`
				Last  int     `json:"last_page"`
				Total int
			}
		}
		w.ok(json.Unmarshal([]byte(body), &list))
		if l := list.Data; len(l.Data) != 2 || l.Data[0].ID != 3 || l.Last != 2 || l.Total != 3 || l.Prev != nil ||
			l.Next != "https://hub.example/api/withdrawals?operator=mtn_money&page=2&per_page=2" {
			w.Errorf("the first page: %s", body)
		}
	})
}

// A message that cannot be sent leaves nothing reserved, and no code or number
// in the log.
func TestMessenger(t *testing.T) {
	onEach(t, nil, func(w *world) {
		w.inbox.fail = fmt.Errorf("the gateway is away")
		w.want(w.kofi, "POST", "/withdrawals/request", ask, 503, `{"success":false,"message":"Le code n'a pas pu être envoyé. Réessayez plus tard."}`)
		_, body := w.call(w.kofi, "GET", "/withdrawals/check-eligibility", "")
		if !strings.Contains(body, `"wallet_balance":500000.00,"blocked_balance":0.00`) {
			w.Error(body)
		}
		if log := w.log.String(); !strings.Contains(log, "the gateway is away") || strings.Contains(log, "237612345678") || sixDigits.MatchString(log) {
			w.Errorf("the log: %s", log)
		}
		w.log.Reset()
	})
}
