package sandbox

import (
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"zonegate/sync/api"
)

// A Server is all of the servers. Safe for concurrent use.
type Server struct {
	o         Options
	mux       *http.ServeMux
	transport http.RoundTripper
	// virtual says that the clock is the caller's.
	virtual bool

	mu sync.Mutex
	// changes and calls are what is to come, held the callbacks that wait for
	// another one to overtake them.
	changes, calls events
	held           []*callback
	seq            uint64
	woken          chan struct{}
	seeded         *mathrand.ChaCha8

	charges   []*Charge
	byID      map[string]*Charge
	movements []Movement
	messages  []Message
	// kk are KKiaPay's transactions by their id.
	kk map[string]*kkTransaction
	// ga are MyPayGa's tokens, beside its refunds and links.
	ga      map[string]*gaToken
	refunds map[string]*gaRefund
	links   map[string]*gaLink
	nel     nelBank
	// flex are the last charges by kind and reference.
	flex   map[string]*Charge
	quirks Quirks

	// forfaits are as they will be sent, in their order: they need not make
	// sense.
	forfaits  []json.RawMessage
	payments  map[string]*payment
	vouchers  []voucher
	summaries map[string]api.Summary
	faults    []*Fault
	// cleared is closed when the faults change, which ends those that hang.
	cleared chan struct{}
}

type payment struct {
	api.PaymentStatus
	Forfait string    `json:"forfait_id"`
	At      time.Time `json:"at"`
	// Voucher is the code that the quirk made.
	Voucher string `json:"voucher,omitempty"`
}

type voucher struct {
	api.Voucher
	Reseller string `json:"reseller_id"`
}

// The catalogue that a sandbox begins with: the document's sample and some
// beside it.
var sample = []api.Forfait{
	{ID: "7b0e6f3c-5a0d-4f2b-9d0e-1c1f5e2f0001", Name: "Forfait Journalier", PriceFCFA: 500, DurationHours: 24, DataLimitMB: 500, CIRKbps: 512, MIRKbps: 2048},
	{ID: "7b0e6f3c-5a0d-4f2b-9d0e-1c1f5e2f0002", Name: "Forfait Heure", PriceFCFA: 100, DurationHours: 1, DataLimitMB: 100, CIRKbps: 256, MIRKbps: 1024},
	{ID: "7b0e6f3c-5a0d-4f2b-9d0e-1c1f5e2f0003", Name: "Forfait Hebdo", PriceFCFA: 2500, DurationHours: 168, DataLimitMB: 5000, CIRKbps: 512, MIRKbps: 4096},
	{ID: "7b0e6f3c-5a0d-4f2b-9d0e-1c1f5e2f0004", Name: "Forfait Mensuel", PriceFCFA: 5000, DurationHours: 720, DataLimitMB: 20000, CIRKbps: 1024, MIRKbps: 4096},
	{ID: "7b0e6f3c-5a0d-4f2b-9d0e-1c1f5e2f0005", Name: "Forfait Nuit", PriceFCFA: 200, DurationHours: 8, DataLimitMB: 2000, CIRKbps: 512, MIRKbps: 8192},
}

// New returns a Server with the sample catalogue and the sample summary.
func New(o Options) *Server {
	o.complete()
	s := &Server{o: o, mux: http.NewServeMux(), transport: o.Transport, virtual: o.Now != nil, seeded: seeded(o.Seed),
		woken: make(chan struct{}, 1), byID: map[string]*Charge{}, flex: map[string]*Charge{}, kk: map[string]*kkTransaction{},
		ga: map[string]*gaToken{}, refunds: map[string]*gaRefund{}, links: map[string]*gaLink{}, quirks: o.Quirks,
		nel:      nelBank{available: o.Nelsius.Balance, kyc: o.Nelsius.KYC, tokens: map[string]nelToken{}},
		payments: map[string]*payment{}, cleared: make(chan struct{}),
		summaries: map[string]api.Summary{"2026-02": split(api.Summary{Month: "2026-02", TotalFCFA: 450000, SessionsCount: 312})}}
	if s.transport == nil {
		s.transport = http.DefaultTransport
	}
	if s.o.Now == nil {
		s.o.Now = time.Now
	}
	for _, f := range sample {
		raw, err := json.Marshal(f)
		if err != nil {
			panic(err) // it has strings and numbers alone
		}
		s.forfaits = append(s.forfaits, raw)
	}
	s.route()
	return s
}

// split takes the fee twice, as the document's sample has it: as much as one
// fee is nobody's.
func split(s api.Summary) api.Summary {
	fee := s.TotalFCFA * 15 / 1000
	share := (s.TotalFCFA - 2*fee) / 2
	s.Split = api.Split{ResellerFCFA: share, RGZFCFA: share, KKiaPayFeeFCFA: fee}
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Classes of callers.
const (
	public = iota
	user
	admin
	provider
)

func (s *Server) route() {
	methods := map[string]string{}
	lay := func(method, path string, class int, do func(r *http.Request) answer) {
		methods[path] = method
		s.mux.HandleFunc(method+" "+Base+path, func(w http.ResponseWriter, r *http.Request) {
			s.call(w, r, path, func(r *http.Request) answer {
				a, ok := s.admit(r, class)
				if ok {
					a = do(r)
				}
				return a
			})
		})
	}
	lay("GET", api.PathForfaits, public, s.list)
	lay("POST", api.PathInitiate, user, s.initiate)
	lay("POST", api.PathWebhook, provider, s.webhook)
	lay("GET", api.PathPayments+"/{id}/status", user, s.status)
	lay("POST", api.PathGenerate, admin, s.generate)
	lay("GET", api.PathSummary, user, s.summary)
	for path, method := range methods {
		s.mux.HandleFunc(Base+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", method)
			s.call(w, r, path, func(*http.Request) answer { return detail(http.StatusMethodNotAllowed, "Method Not Allowed") })
		})
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.call(w, r, "", func(*http.Request) answer { return detail(http.StatusNotFound, "Not Found") })
	})
	s.routeFlexPay()
	s.routeKKiaPay()
	s.routeMyPayGa()
	s.routeNelsius()
	s.routeSMS()
	s.routeControl()
}

// detail is an error as such servers answer it.
func detail(status int, what any) answer {
	return answer{status: status, body: map[string]any{"detail": what}}
}

// A flaw is one thing wrong with a request's body or query.
type flaw struct {
	Type string   `json:"type"`
	Loc  []string `json:"loc"`
	Msg  string   `json:"msg"`
}

func flawed(flaws ...flaw) answer { return detail(http.StatusUnprocessableEntity, flaws) }

func missing(where, name string) flaw {
	return flaw{"missing", []string{where, name}, "Field required"}
}

// admit says whether a caller may, and what he is answered if not.
func (s *Server) admit(r *http.Request, class int) (answer, bool) {
	same := func(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
	switch class {
	case public:
		return answer{}, true
	case provider:
		return detail(http.StatusUnauthorized, "Invalid KKiaPay secret"), same(r.Header.Get(api.HeaderSecret), s.o.WebhookSecret)
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer") || token == "":
		return detail(http.StatusUnauthorized, "Not authenticated"), false
	case same(token, s.o.AdminToken), class == user && same(token, s.o.UserToken):
		return answer{}, true
	case same(token, s.o.UserToken):
		return detail(http.StatusForbidden, "Not enough permissions"), false
	}
	return detail(http.StatusUnauthorized, "Could not validate credentials"), false
}

// maxBody bounds a request.
const maxBody = 1 << 20

// read reads a body into an object, which needs the content type: curl's own
// would be that of a form.
func read(r *http.Request, into any) (answer, bool) {
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return flawed(flaw{"model_attributes_type", []string{"body"}, "Input should be a valid dictionary or object to extract fields from"}), false
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody)).Decode(into); err != nil {
		return flawed(flaw{"json_invalid", []string{"body"}, "JSON decode error: " + err.Error()}), false
	}
	return answer{}, true
}

func (s *Server) list(r *http.Request) answer {
	number := func(name string, value, most int) (int, *flaw) {
		if v := r.URL.Query().Get(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 || n > most {
				return 0, &flaw{"int_parsing", []string{"query", name}, fmt.Sprintf("Input should be a whole number from 1 to %d", most)}
			}
			value = n
		}
		return value, nil
	}
	page, bad := number("page", 1, 1<<30)
	if bad != nil {
		return flawed(*bad)
	}
	size, bad := number("size", s.o.PageSize, 100)
	if bad != nil {
		return flawed(*bad)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	total := len(s.forfaits)
	from := min((page-1)*size, total)
	return answer{status: http.StatusOK, body: map[string]any{
		"items": append([]json.RawMessage{}, s.forfaits[from:min(from+size, total)]...),
		"total": total, "page": page, "pages": (total + size - 1) / size,
	}}
}

// find returns a forfait's price; the caller holds mu.
func (s *Server) find(id string) (price int64, ok bool) {
	for _, raw := range s.forfaits {
		var f struct {
			ID    string          `json:"id"`
			Price json.RawMessage `json:"price_fcfa"`
		}
		if json.Unmarshal(raw, &f) == nil && f.ID == id {
			// A price that is none costs nothing here.
			price, _ = strconv.ParseInt(strings.Trim(string(f.Price), `"`), 10, 64)
			return price, true
		}
	}
	return 0, false
}

func (s *Server) initiate(r *http.Request) answer {
	var in api.Initiate
	if a, ok := read(r, &in); !ok {
		return a
	}
	var flaws []flaw
	if in.ForfaitID == "" {
		flaws = append(flaws, missing("body", "forfait_id"))
	}
	if in.Provider == "" {
		flaws = append(flaws, missing("body", "provider"))
	}
	if flaws != nil {
		return flawed(flaws...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	price, ok := s.find(in.ForfaitID)
	if !ok {
		return detail(http.StatusNotFound, "Forfait not found")
	}
	// There is no key by which a repeated call could be told from another one.
	id := s.uuid()
	s.payments[id] = &payment{api.PaymentStatus{Status: "pending", AmountFCFA: price, Provider: in.Provider}, in.ForfaitID, s.now(), ""}
	pay := s.o.PayURL
	if pay == "" {
		pay = s.origin(r) + KKiaPayBase + "/pay/"
	}
	return answer{status: http.StatusCreated, body: api.Initiated{PaymentURL: pay + id, TransactionID: id}}
}

// webhook takes any JSON object, as the document describes none; a
// transaction_id in it that is known is paid.
func (s *Server) webhook(r *http.Request) answer {
	var in struct {
		TransactionID string `json:"transaction_id"`
		Status        string `json:"status"`
	}
	if a, ok := read(r, &in); !ok {
		return a
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.payments[in.TransactionID]; p != nil {
		if in.Status == "" {
			in.Status = "completed"
		}
		s.setStatus(p, in.Status)
	}
	return answer{status: http.StatusOK, body: api.WebhookAnswer{Status: "processed"}}
}

// setStatus moves a payment on; the caller holds mu.
func (s *Server) setStatus(p *payment, status string) {
	p.Status = status
	if status == "completed" && s.quirks.Voucher && p.Voucher == "" {
		p.Voucher = s.capitals(8)
		s.vouchers = append(s.vouchers, voucher{api.Voucher{Code: p.Voucher, ForfaitID: p.Forfait, Status: "active"}, ""})
	}
}

func (s *Server) status(r *http.Request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.payments[r.PathValue("id")]; p != nil {
		return answer{status: http.StatusOK, body: p.PaymentStatus}
	}
	return detail(http.StatusNotFound, "Payment not found")
}

// maxGenerate bounds one call.
const maxGenerate = 10_000

func (s *Server) generate(r *http.Request) answer {
	var in api.Generate
	if a, ok := read(r, &in); !ok {
		return a
	}
	var flaws []flaw
	if in.N < 1 || in.N > maxGenerate {
		flaws = append(flaws, flaw{"greater_than_equal", []string{"body", "n"}, fmt.Sprintf("Input should be 1 to %d", maxGenerate)})
	}
	if in.ForfaitID == "" {
		flaws = append(flaws, missing("body", "forfait_id"))
	}
	if in.ResellerID == "" {
		flaws = append(flaws, missing("body", "reseller_id"))
	}
	if flaws != nil {
		return flawed(flaws...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.find(in.ForfaitID); !ok {
		return detail(http.StatusNotFound, "Forfait not found")
	}
	items := make([]api.Voucher, in.N)
	for i := range items {
		items[i] = api.Voucher{Code: s.capitals(8), ForfaitID: in.ForfaitID, Status: "active"}
		s.vouchers = append(s.vouchers, voucher{items[i], in.ResellerID})
	}
	return answer{status: http.StatusCreated, body: api.Vouchers{Items: items, Total: in.N}}
}

// summary is the same for every reseller: the sample's month, what was set, or
// else what was paid in that month.
func (s *Server) summary(r *http.Request) answer {
	q := r.URL.Query()
	var flaws []flaw
	if q.Get("reseller_id") == "" {
		flaws = append(flaws, missing("query", "reseller_id"))
	}
	month := q.Get("month")
	if month == "" {
		flaws = append(flaws, missing("query", "month"))
	} else if _, err := time.Parse("2006-01", month); err != nil {
		flaws = append(flaws, flaw{"string_pattern_mismatch", []string{"query", "month"}, "String should match pattern '^\\d{4}-\\d{2}$'"})
	}
	if flaws != nil {
		return flawed(flaws...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if set, ok := s.summaries[month]; ok {
		return answer{status: http.StatusOK, body: set}
	}
	out := api.Summary{Month: month}
	for _, p := range s.payments {
		if p.Status == "completed" && p.At.Format("2006-01") == month {
			out.TotalFCFA += p.AmountFCFA
			out.SessionsCount++
		}
	}
	return answer{status: http.StatusOK, body: split(out)}
}

// uuid draws a UUID (RFC 9562, version 4); the caller holds mu.
func (s *Server) uuid() string {
	b := s.draw(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// origin is where the caller of a request found this server.
func (s *Server) origin(r *http.Request) string {
	switch {
	case s.o.PublicURL != "":
		return strings.TrimSuffix(s.o.PublicURL, "/")
	case r.URL.Scheme != "":
		return r.URL.Scheme + "://" + r.Host
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
