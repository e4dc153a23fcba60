package server

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

func TestBillingAPI(t *testing.T) {
	onEach(t, nil, func(w *world) {
		long := plan("Mois", 5000)
		long.Duration = 30 * 24 * time.Hour
		w.setForfait(hub.ForfaitChange{Plan: long})
		half := plan("Demi-heure", 50)
		half.Duration = 30 * time.Minute
		w.setForfait(hub.ForfaitChange{Plan: half})
		other := plan("Une heure", 100)
		other.Price.Currency = "CDF"
		w.setForfait(hub.ForfaitChange{Plan: other})

		// The catalogue is public, and says only what it can say exactly.
		var f api.Forfaits
		w.call(ask{path: api.PathForfaits, status: 200, into: &f})
		want := api.Forfait{ID: w.forfait.Plan.ID, Name: "Jour", PriceFCFA: 500, DurationHours: 24, DataLimitMB: 500, CIRKbps: 512, MIRKbps: 2048}
		if f.Total != 2 || f.Page != 1 || f.Pages != 1 || len(f.Items) != 2 || f.Items[0] != want {
			w.Errorf("forfaits: %+v", f)
		}
		w.call(ask{path: api.PathForfaits + "?page=2&per_page=1", status: 200, into: &f})
		if f.Total != 2 || f.Page != 2 || f.Pages != 2 || len(f.Items) != 1 || f.Items[0].Name != "Mois" {
			w.Errorf("second page: %+v", f)
		}
		w.call(ask{path: api.PathForfaits + "?page=7", status: 200, into: &f})
		if len(f.Items) != 0 || f.Total != 2 {
			w.Errorf("a page after the last: %+v", f)
		}
		w.call(ask{path: api.PathForfaits + "?page=0", status: 400, code: api.CodeBadRequest})
		w.call(ask{path: api.PathForfaits + "?per_page=many", status: 400, code: api.CodeBadRequest})

		// Vouchers.
		gen := api.Generate{N: 5, ForfaitID: w.forfait.Plan.ID, ResellerID: w.resellerID}
		var v api.Vouchers
		w.call(ask{path: api.PathGenerate, token: w.admin, body: gen, status: 201, into: &v})
		if v.Total != 5 || len(v.Items) != 5 || v.Items[0].Status != "active" || v.Items[0].ForfaitID != gen.ForfaitID || v.Batch == "" {
			w.Errorf("generate: %+v", v)
		}
		codes := v.Items
		gen.ResellerID, gen.SiteID, gen.Batch, gen.Expires = "", w.site.ID, "avril", "2027-01-01T00:00:00Z"
		w.call(ask{path: api.PathGenerate, token: w.reseller, body: gen, status: 201, into: &v})
		if v.Batch != "avril" {
			w.Errorf("batch %q", v.Batch)
		}
		w.call(ask{path: api.PathGenerate, token: w.reseller, body: gen, status: 409, code: api.CodeExists})
		// As the document's samples have it: no type, or what curl makes of it.
		raw := fmt.Sprintf(`{"n":1,"forfait_id":%q,"reseller_id":%q}`, w.forfait.Plan.ID, w.resellerID)
		w.call(ask{path: api.PathGenerate, token: w.admin, header: http.Header{}, body: raw, status: 201})
		w.call(ask{path: api.PathGenerate, token: w.admin, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, body: raw, status: 201})
		for name, bad := range map[string]struct {
			token  string
			change func(*api.Generate)
			status int
			code   string
		}{
			"a seller":           {w.seller, func(*api.Generate) {}, 403, api.CodeForbidden},
			"for somebody else":  {w.reseller, func(g *api.Generate) { g.ResellerID = "another" }, 403, api.CodeForbidden},
			"none":               {w.admin, func(g *api.Generate) { g.N = 0 }, 422, api.CodeBadRequest},
			"fewer than none":    {w.admin, func(g *api.Generate) { g.N = -1 }, 422, api.CodeBadRequest},
			"far too many":       {w.admin, func(g *api.Generate) { g.N = 10_001 }, 422, api.CodeBadRequest},
			"above the limit":    {w.reseller, func(g *api.Generate) { g.N = 1000 }, 409, api.CodeLimit},
			"of nothing":         {w.admin, func(g *api.Generate) { g.ForfaitID = "none" }, 404, api.CodeNotFound},
			"at no site":         {w.admin, func(g *api.Generate) { g.SiteID = "none" }, 404, api.CodeNotFound},
			"out of date at all": {w.admin, func(g *api.Generate) { g.Expires = "tomorrow" }, 422, api.CodeBadRequest},
		} {
			g := api.Generate{N: 1, ForfaitID: w.forfait.Plan.ID, ResellerID: w.resellerID}
			bad.change(&g)
			w.Run(name, func(t *testing.T) {
				in := *w
				in.T = t
				in.call(ask{path: api.PathGenerate, token: bad.token, body: g, status: bad.status, code: bad.code})
			})
		}

		// A month.
		entries := []api.Entry{w.box.sale(w.forfait), w.box.sale(w.forfait)}
		w.call(ask{path: api.PathReports, token: w.box.Token, body: api.Reports{Instance: w.box.instance, Entries: entries}, status: 200})
		month := w.now().In(time.FixedZone("", 3600)).Format("2006-01")
		path := api.PathSummary + "?month=" + month + "&reseller_id=" + w.resellerID
		for _, token := range []string{w.admin, w.reseller} {
			var s api.Summary
			w.call(ask{path: path, token: token, status: 200, into: &s})
			// Of each 500: fee 7, the rest 493 halved, the odd franc RGZ's.
			want := api.Summary{Month: month, TotalFCFA: 1000, Split: api.Split{ResellerFCFA: 492, RGZFCFA: 494, KKiaPayFeeFCFA: 14}, SessionsCount: 2}
			if s != want || s.Unallocated() != 0 {
				w.Errorf("summary %+v, want %+v", s, want)
			}
		}
		w.call(ask{path: path + "&currency=XAF", token: w.admin, status: 200})
		w.call(ask{path: path + "&currency=CDF", token: w.admin, status: 422, code: api.CodeBadRequest})
		w.call(ask{path: api.PathSummary + "?month=2026-13&reseller_id=" + w.resellerID, token: w.admin, status: 422, code: api.CodeBadRequest})
		w.call(ask{path: api.PathSummary + "?reseller_id=" + w.resellerID, token: w.admin, status: 422, code: api.CodeBadRequest})
		w.call(ask{path: api.PathSummary + "?month=" + month + "&reseller_id=another", token: w.reseller, status: 403, code: api.CodeForbidden})

		// Nobody can pay here yet, and nothing is pretended.
		w.call(ask{path: api.PathInitiate, token: w.reseller, body: api.Initiate{ForfaitID: w.forfait.Plan.ID, Provider: "MTN_MOMO"}, status: 503, code: api.CodeUnavailable})
		w.call(ask{path: api.PathInitiate, token: w.reseller, body: api.Initiate{}, status: 422, code: api.CodeBadRequest})
		w.call(ask{path: api.PathPayments + "/x/status", token: w.reseller, status: 503, code: api.CodeUnavailable})
		w.call(ask{path: api.PathWebhook, body: `{}`, header: http.Header{api.HeaderSecret: {""}}, status: 503, code: api.CodeUnavailable})

		// Tokens.
		w.call(ask{path: api.PathLogin, body: api.Login{Name: "boss", Password: "wrong horse"}, status: 401, code: api.CodeUnauthorized})
		w.call(ask{path: api.PathLogin, body: api.Login{Name: "nobody", Password: adminPassword}, status: 401, code: api.CodeUnauthorized})
		w.shift.Store(int64(13 * time.Hour))
		w.call(ask{path: path, token: w.admin, status: 401, code: api.CodeUnauthorized})
		w.shift.Store(0)
		users, err := w.hub.Users(w.Context(), operator)
		w.ok(err)
		for _, u := range users {
			if u.Name == "kofi" {
				w.ok(w.hub.SetPassword(w.Context(), operator, u.ID, "another long one"))
			}
		}
		w.call(ask{path: path, token: w.reseller, status: 401, code: api.CodeUnauthorized})
		w.call(ask{path: path, token: w.admin, status: 200})
		forged := Tokens{Key: make([]byte, 32)}
		token, _, err := forged.Issue(hub.User{ID: users[0].ID, Role: hub.RoleAdmin})
		w.ok(err)
		w.call(ask{path: path, token: token, status: 401, code: api.CodeUnauthorized})
		// "alg": "none"
		w.call(ask{path: path, token: "eyJhbGciOiJub25lIn0." + strings.Split(w.admin, ".")[1] + ".", status: 401, code: api.CodeUnauthorized})

		secrets := []string{w.admin, w.reseller, w.box.Token, w.box.CodeKey, adminPassword}
		for _, c := range codes {
			secrets = append(secrets, c.Code)
		}
		w.wantNoSecrets(secrets...)
	})
}

// wantNoSecrets holds that the log has lines, and none of these in them.
func (w *world) wantNoSecrets(secrets ...string) {
	w.Helper()
	log := w.log.String()
	if !strings.Contains(log, "status=401") {
		w.Error("the log does not tell of a refused call")
	}
	for _, s := range secrets {
		if strings.Contains(log, s) {
			w.Error("a secret is in the log")
		}
	}
}

func TestGatewayAPI(t *testing.T) {
	onEach(t, nil, func(w *world) {
		b := w.box
		// The code is good for this installation alone, and for a while.
		code, err := w.hub.NewEnrolment(w.Context(), operator, w.site.ID, time.Minute)
		w.ok(err)
		e := api.Enrol{Code: code.Code, Zone: "z", Name: "two", Version: "1", Instance: instanceOf("two")}
		w.call(ask{path: api.PathEnrol, body: api.Enrol{Code: "AAAA-AAAA-AAAA-AAAA", Instance: e.Instance}, status: 401, code: api.CodeUnauthorized})
		w.call(ask{path: api.PathEnrol, body: api.Enrol{Code: code.Code, Instance: "x"}, status: 422, code: api.CodeBadRequest})
		site2, err := w.hub.CreateSite(w.Context(), operator, w.resellerID, "Zogbo", "XOF")
		w.ok(err)
		two := w.enrol(site2, "two")
		// The answer was lost: the same installation asks again.
		again, err := w.hub.NewEnrolment(w.Context(), operator, site2.ID, time.Minute)
		w.ok(err)
		e.Code = again.Code
		var first, second api.Enrolled
		w.call(ask{path: api.PathEnrol, body: e, status: 201, into: &first})
		w.call(ask{path: api.PathEnrol, body: e, status: 201, into: &second})
		if first.GatewayID != second.GatewayID || first.Token == second.Token {
			w.Error("enrolled twice with one code: want the same gateway with a fresh token")
		}
		w.call(ask{path: api.PathHeartbeat, token: first.Token, body: two.beat(), status: 401, code: api.CodeUnauthorized})
		w.call(ask{path: api.PathHeartbeat, token: two.Token, body: two.beat(), status: 403, code: api.CodeRevoked})
		other := e
		other.Instance = instanceOf("three")
		w.call(ask{path: api.PathEnrol, body: other, status: 409, code: api.CodeUsed})
		w.shift.Store(int64(2 * time.Minute))
		w.call(ask{path: api.PathEnrol, body: e, status: 410, code: api.CodeExpired})
		w.shift.Store(0)

		// The catalogue, and its tag.
		var c api.Catalogue
		h, _ := w.call(ask{path: api.PathCatalogue, token: b.Token, status: 200, into: &c})
		if len(c.Plans) != 1 || c.Plans[0].ID != w.forfait.Plan.ID || h.Get("ETag") == "" {
			w.Errorf("catalogue: %+v, tag %q", c, h.Get("ETag"))
		}
		if _, body := w.call(ask{path: api.PathCatalogue, token: b.Token, header: http.Header{"If-None-Match": {`"x", W/` + h.Get("ETag")}}, status: 304}); len(body) > 0 {
			w.Errorf("304 with %q", body)
		}
		w.setForfait(hub.ForfaitChange{Plan: plan("Nuit", 200)})
		w.call(ask{path: api.PathCatalogue, token: b.Token, header: http.Header{"If-None-Match": {h.Get("ETag")}}, status: 200, into: &c})
		if len(c.Plans) != 2 {
			w.Errorf("catalogue: %+v", c)
		}

		// A heartbeat comes back with the time, signed over its nonce.
		var beat api.Beat
		sent := b.beat()
		w.call(ask{path: api.PathHeartbeat, token: b.Token, body: sent, status: 200, into: &beat})
		key, err := api.ParseKey(b.HubKey)
		w.ok(err)
		signature := decode(w.T, beat.Signature)
		if !ed25519.Verify(key, api.TimeMessage(sent.Nonce, beat.Time), signature) {
			w.Error("the time is not signed")
		}
		if ed25519.Verify(key, api.TimeMessage("another", beat.Time), signature) {
			w.Error("the time is signed for any nonce")
		}
		if d := time.Since(beat.Time); d < -time.Minute || d > time.Minute {
			w.Errorf("the time is off by %s", d)
		}
		if beat.Head != b.Head+3 || beat.Entry != 0 {
			w.Errorf("beat %+v after head %d", beat, b.Head)
		}
		sent.Nonce = "AAAA"
		w.call(ask{path: api.PathHeartbeat, token: b.Token, body: sent, status: 422, code: api.CodeBadRequest})

		// Entries in order, once.
		reports := func(entries ...api.Entry) api.Reports { return api.Reports{Instance: b.instance, Entries: entries} }
		one, two_, three := b.sale(w.forfait), b.sale(w.forfait), b.sale(w.forfait)
		var r api.Reported
		w.call(ask{path: api.PathReports, token: b.Token, body: reports(one, two_), status: 200, into: &r})
		w.call(ask{path: api.PathReports, token: b.Token, body: reports(one, two_), status: 200, into: &r})
		if r.Through != 2 {
			w.Errorf("through %d", r.Through)
		}
		four := b.sale(w.forfait)
		_, gap := w.call(ask{path: api.PathReports, token: b.Token, body: reports(four), status: 409, code: api.CodeGap})
		wantExpected(w, gap, 3)
		differs := two_
		differs.Ref = instanceOf("somebody else")
		_, conflict := w.call(ask{path: api.PathReports, token: b.Token, body: reports(differs, three), status: 409, code: api.CodeConflict})
		wantExpected(w, conflict, 3)
		w.call(ask{path: api.PathReports, token: b.Token, body: reports(three, four), status: 200, into: &r})
		if r.Through != 4 {
			w.Errorf("through %d", r.Through)
		}
		w.call(ask{path: api.PathReports, token: b.Token, body: api.Reports{Instance: b.instance, Usage: []api.Usage{{Grant: 1, Up: 5, Down: 6}}}, status: 200})
		w.call(ask{path: api.PathReports, token: b.Token, body: reports(make([]api.Entry, api.MaxEntries+1)...), status: 422, code: api.CodeBadRequest})
		w.call(ask{path: api.PathReports, token: b.Token, body: api.Reports{Instance: b.instance, Usage: make([]api.Usage, api.MaxUsage+1)}, status: 422, code: api.CodeBadRequest})
		w.call(ask{path: api.PathReports, token: b.Token, body: reports(api.Entry{N: 5, Kind: "gift"}), status: 422, code: api.CodeBadRequest})

		// Answers to pushes.
		w.call(ask{path: api.PathAcks, token: b.Token, body: api.Acks{Instance: b.instance, Acks: []api.Ack{{Seq: beat.Head, Outcome: api.Applied}}}, status: 204})
		w.call(ask{path: api.PathAcks, token: b.Token, body: api.Acks{Instance: b.instance, Acks: []api.Ack{{Seq: 1, Outcome: "maybe"}}}, status: 422, code: api.CodeBadRequest})
		w.call(ask{path: api.PathAcks, token: b.Token, body: api.Acks{Instance: b.instance, Acks: make([]api.Ack, api.MaxAcks+1)}, status: 422, code: api.CodeBadRequest})

		// A roaming code: no site, since the reseller has two.
		var v api.Vouchers
		w.call(ask{path: api.PathGenerate, token: w.admin, body: api.Generate{N: 1, ForfaitID: w.forfait.Plan.ID, ResellerID: w.resellerID}, status: 201, into: &v})
		claim := api.Claim{Code: v.Items[0].Code, Device: "02:00:00:00:00:01"}
		var signed api.Signed
		_, raw := w.call(ask{path: api.PathClaims, token: b.Token, body: claim, status: 200, into: &signed})
		if err := w.contract.CheckSigned(raw); err != nil {
			w.Error(err)
		}
		p, err := signed.Open(key, b.SiteID)
		if err != nil || p.Kind != api.KindGrant || p.Seq != 0 {
			w.Errorf("claim: %+v, %v", p, err)
		}
		w.call(ask{path: api.PathClaims, token: b.Token, body: claim, status: 200})
		w.call(ask{path: api.PathClaims, token: second.Token, body: claim, status: 409, code: api.CodeUsed})
		w.call(ask{path: api.PathClaims, token: b.Token, body: api.Claim{Code: "ABCD-EFGH", Device: "02:00:00:00:00:01"}, status: 404, code: api.CodeNotFound})

		// No provider.
		intent := api.Intent{IntentID: instanceOf("i"), Plan: w.forfait.Plan.ID, PlanVersion: 1, Provider: "MTN_MOMO"}
		w.call(ask{path: api.PathIntents, token: b.Token, body: intent, status: 503, code: api.CodeUnavailable})
		w.call(ask{path: api.PathIntents + "/" + intent.IntentID, token: b.Token, status: 503, code: api.CodeUnavailable})

		// Pushes over the stream are as the contract has them.
		l := w.running().listen(w.T, b.Token, 0)
		var pages api.Pushes
		w.call(ask{path: api.PathEvents, token: b.Token, header: http.Header{"Accept": {"application/json"}}, status: 200, into: &pages})
		for range pages.Items {
			if _, _, err := l.next(); err != nil {
				w.Fatal(err)
			}
		}
		for _, s := range pages.Items {
			raw, err := json.Marshal(s)
			w.ok(err)
			if err := w.contract.CheckSigned(raw); err != nil {
				w.Error(err)
			}
			if _, err := s.Open(key, b.SiteID); err != nil {
				w.Error(err)
			}
		}
		w.call(ask{path: api.PathEvents, token: b.Token, header: http.Header{"Accept": {"application/json"}, "Last-Event-Id": {"-1"}}, status: 400, code: api.CodeBadRequest})

		// Taken off: told why on the stream, and refused everywhere else.
		w.ok(w.hub.RevokeGateway(w.Context(), operator, b.GatewayID, "stolen"))
		_, last, err := l.next()
		if err != nil || last.Kind != api.KindRevoked {
			w.Fatalf("%+v, %v", last, err)
		}
		l.wantEnd(w.T)
		for _, c := range []ask{
			{path: api.PathCatalogue}, {path: api.PathAcks, body: api.Acks{}}, {path: api.PathReports, body: reports()},
			{path: api.PathHeartbeat, body: b.beat()}, {path: api.PathClaims, body: claim}, {path: api.PathIntents, body: intent},
		} {
			c.token, c.status, c.code = b.Token, 403, api.CodeRevoked
			w.call(c)
		}
		w.call(ask{path: api.PathEvents, token: b.Token, header: http.Header{"Accept": {"application/json"}}, status: 200, into: &pages})
		if len(pages.Items) != 1 {
			w.Errorf("a revoked gateway gets %d pushes", len(pages.Items))
		}
		w.wantNoSecrets(b.Token, second.Token, b.CodeKey, claim.Code, code.Code, again.Code)
	})
}

func decode(t *testing.T, b64 string) []byte {
	t.Helper()
	var b []byte
	if err := json.Unmarshal([]byte(`"`+b64+`"`), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

func wantExpected(w *world, body []byte, expected uint64) {
	w.Helper()
	var p api.Problem
	if err := json.Unmarshal(body, &p); err != nil || p.Expected != expected {
		w.Errorf("expected is %d (%v), want %d", p.Expected, err, expected)
	}
}

// TestBadCalls sends every path what is wrong everywhere.
func TestBadCalls(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/hub.db", nil)
	paths := []struct {
		method, path, token string
		curl                bool // takes the label of curl -d
	}{
		{"GET", api.PathForfaits, "", false},
		{"POST", api.PathInitiate, w.reseller, true},
		{"GET", api.PathPayments + "/x/status", w.reseller, false},
		{"POST", api.PathGenerate, w.admin, true},
		{"GET", api.PathSummary, w.admin, false},
		{"POST", api.PathLogin, "", false},
		{"POST", api.PathEnrol, "", false},
		{"GET", api.PathCatalogue, w.box.Token, false},
		{"GET", api.PathEvents, w.box.Token, false},
		{"POST", api.PathAcks, w.box.Token, false},
		{"POST", api.PathReports, w.box.Token, false},
		{"POST", api.PathHeartbeat, w.box.Token, false},
		{"POST", api.PathClaims, w.box.Token, false},
	}
	jsonType := http.Header{"Content-Type": {"application/json"}}
	for _, p := range paths {
		t.Run(p.method+p.path, func(t *testing.T) {
			w := *w
			w.T = t
			h, _ := w.call(ask{method: "DELETE", path: p.path, token: p.token, status: 405, code: api.CodeBadRequest})
			if !strings.Contains(h.Get("Allow"), p.method) {
				t.Errorf("Allow: %q", h.Get("Allow"))
			}
			if p.token != "" {
				for _, token := range []string{"", "x", p.token + "x", strings.Repeat("x", 4000), w.other(p.token)} {
					h, _ := w.call(ask{method: p.method, path: p.path, token: token, header: jsonType, status: 401, code: api.CodeUnauthorized})
					if h.Get("WWW-Authenticate") == "" {
						t.Error("401 without WWW-Authenticate")
					}
				}
				w.call(ask{method: p.method, path: p.path, header: http.Header{"Authorization": {"Basic " + p.token}}, status: 401, code: api.CodeUnauthorized})
			}
			if p.method == "GET" {
				return
			}
			for name, body := range map[string]string{
				"empty": "", "half": `{"a":`, "text": "hello", "a list": "[]", "null": "null", "a number": "1", "two": "{}{}", "after it": "{} x",
				"wrong types": `{"n":"five","code":5,"name":5,"acks":"none","entries":{},"nonce":[],"forfait_id":5,"instance":{}}`, "zero": "\x00",
				"deep": strings.Repeat(`{"a":`, 20_000),
			} {
				if _, b := w.call(ask{method: "POST", path: p.path, token: p.token, header: jsonType, body: body, status: 400, code: api.CodeBadRequest}); len(b) > 2000 {
					t.Errorf("%s: a refusal of %d octets", name, len(b))
				}
			}
			w.call(ask{method: "POST", path: p.path, token: p.token, header: http.Header{"Content-Type": {"text/plain"}}, body: "{}", status: 415, code: api.CodeBadRequest})
			w.call(ask{method: "POST", path: p.path, token: p.token, header: http.Header{"Content-Type": {"application/json;"}}, body: "[]", status: 400})
			if !p.curl {
				w.call(ask{method: "POST", path: p.path, token: p.token, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, body: "{}", status: 415})
			}
			w.call(ask{method: "POST", path: p.path, token: p.token, header: jsonType, body: `{"a":"` + strings.Repeat("x", api.MaxBody) + `"}`, status: 413, code: api.CodeBadRequest})
			// Without a length.
			status := w.chunked(p.path, p.token, strings.Repeat("x", api.MaxBody+1))
			if status != 413 {
				t.Errorf("a long body in chunks: %d", status)
			}
		})
	}
	w.call(ask{path: "/nothing", status: 404, code: api.CodeNotFound})
	w.call(ask{path: "!/", status: 404, code: api.CodeNotFound})
	w.call(ask{path: "!/healthz", status: 200})
	w.call(ask{path: "!/readyz", status: 200})
}

// other is a token of the other kind: a gateway's for a user's.
func (w *world) other(token string) string {
	if token == w.box.Token {
		return w.admin
	}
	return w.box.Token
}

func (w *world) chunked(path, token, body string) int {
	w.Helper()
	r, err := http.NewRequest("POST", w.url+Base+path, struct{ *strings.Reader }{strings.NewReader(body)})
	w.ok(err)
	r.ContentLength = -1
	r.Header.Set("Authorization", "Bearer "+token)
	a, err := w.client.Do(r)
	w.ok(err)
	a.Body.Close()
	return a.StatusCode
}

func TestTooManyCalls(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/hub.db", func(o *Options) {
		o.Limits = Limits{Login: Limit{PerMinute: 1, Burst: 5}, Enrol: Limit{PerMinute: 1, Burst: 3}, Claims: Limit{PerMinute: 1, Burst: 2}}
	})
	// Three users and one gateway came in before.
	for range 2 {
		w.call(ask{path: api.PathLogin, body: api.Login{Name: "boss", Password: "guess"}, status: 401})
		w.call(ask{path: api.PathEnrol, body: api.Enrol{Code: "AAAA-AAAA-AAAA-AAAA", Instance: instanceOf("x")}, status: 401})
		w.call(ask{path: api.PathClaims, token: w.box.Token, body: api.Claim{Code: "ABCD-EFGH", Device: "02:00:00:00:00:01"}, status: 404})
	}
	for _, c := range []ask{
		{path: api.PathLogin, body: api.Login{Name: "boss", Password: adminPassword}},
		{path: api.PathEnrol, body: api.Enrol{Code: "AAAA-AAAA-AAAA-AAAA", Instance: instanceOf("x")}},
		{path: api.PathClaims, token: w.box.Token, body: api.Claim{Code: "ABCD-EFGH", Device: "02:00:00:00:00:01"}},
	} {
		c.status, c.code = 429, api.CodeLimit
		if h, _ := w.call(c); h.Get("Retry-After") == "" {
			t.Errorf("%s: 429 without Retry-After", c.path)
		}
	}
	// Other calls go on.
	w.call(ask{path: api.PathHeartbeat, token: w.box.Token, body: w.box.beat(), status: 200})
}

// TestWrongCodes: a gateway that guesses is stopped for the day, even where it
// asks slowly, and its operator is told.
func TestWrongCodes(t *testing.T) {
	onEach(t, nil, func(w *world) {
		_, err := w.hub.CreateSite(w.Context(), operator, w.resellerID, "Zogbo", "XOF") // codes of one site alone are not claimed
		w.ok(err)
		_, codes, err := w.hub.Generate(w.Context(), operator, hub.Generate{N: 1, Forfait: w.forfait.Plan.ID, Reseller: w.resellerID})
		w.ok(err)
		g, err := w.hub.Authenticate(w.Context(), w.box.Token)
		w.ok(err)
		claim := api.Claim{Code: "ABCD-EFGH", Device: "02:00:00:00:00:01"}
		for i := range 300 {
			if _, err := w.hub.Claim(w.Context(), g, claim); !errors.Is(err, hub.ErrNotFound) {
				t.Fatalf("wrong code %d: %v", i+1, err)
			}
		}
		claim.Code = codes[0]
		h, _ := w.call(ask{path: api.PathClaims, token: w.box.Token, body: claim, status: 429, code: api.CodeLimit})
		if n, err := strconv.Atoi(h.Get("Retry-After")); err != nil || n < 1 || n > 24*60*60 {
			w.Errorf("it may come again after %q seconds", h.Get("Retry-After"))
		}
		members, err := w.hub.Fleet(w.Context(), operator, hub.FleetQuery{})
		w.ok(err)
		if a := members[0].Alarms; len(a) != 1 || a[0].Kind != hub.AlarmTries {
			w.Errorf("alarms: %+v", a)
		}
		// On the next day the code is good.
		w.shift.Store(int64(24 * time.Hour))
		w.call(ask{path: api.PathClaims, token: w.box.Token, body: claim, status: 200})
	})
}

// TestGatewayCallsTooOften: what a gateway may do is bounded for all kinds of
// calls together, and another one's calls go on.
func TestGatewayCallsTooOften(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/hub.db", func(o *Options) { o.Limits.Calls = Limit{PerMinute: 1, Burst: 4} })
	site, err := w.hub.CreateSite(t.Context(), operator, w.resellerID, "Zogbo", "XOF")
	w.ok(err)
	other, box := w.enrol(site, "two"), w.box
	calls := []ask{
		{path: api.PathHeartbeat, body: box.beat(), status: 200},
		{path: api.PathReports, body: api.Reports{Instance: box.instance}, status: 200},
		{path: api.PathAcks, body: api.Acks{Instance: box.instance, Acks: []api.Ack{}}, status: 204},
		{path: api.PathCatalogue, status: 200},
	}
	for _, c := range calls {
		c.token = box.Token
		w.call(c)
	}
	for _, c := range calls {
		c.token, c.status, c.code = box.Token, 429, api.CodeLimit
		if h, _ := w.call(c); h.Get("Retry-After") == "" {
			t.Errorf("%s: 429 without Retry-After", c.path)
		}
	}
	w.call(ask{path: api.PathHeartbeat, token: other.Token, body: other.beat(), status: 200})
}

func TestLimiter(t *testing.T) {
	now := time.Now()
	l := newLimiter(Limit{PerMinute: 60, Burst: 2}, "no")
	take := func(who string, want bool) {
		t.Helper()
		if err := l.take(who, now); (err == nil) != want {
			t.Errorf("%s: %v", who, err)
		}
	}
	take("a", true)
	take("a", true)
	take("a", false)
	take("b", true)
	now = now.Add(time.Second)
	take("a", true)
	take("a", false)
	now = now.Add(time.Hour)
	take("a", true)
	take("a", true)
	take("a", false)
	// A clock that goes back gives nothing away, and shuts nobody out for long.
	now = now.Add(-time.Hour)
	take("c", true)
	for n := range maxCallers + 10 {
		if err := l.take(fmt.Sprint(n), now); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.callers) > maxCallers {
		t.Errorf("%d callers are remembered", len(l.callers))
	}
}

// A name counts as the hub looks it up, and takes no more memory than a name.
func TestNamesOfStrangers(t *testing.T) {
	s := &Server{logins: newLimiter(Limit{}, "no"), names: newLimiter(Limit{PerMinute: 1, Burst: 1}, "no")}
	r := &http.Request{RemoteAddr: "192.0.2.1:5"}
	long := strings.Repeat("x", api.MaxBody)
	for _, names := range [][]string{{"boss", " boss", "BOSS\t"}, {long, long}} {
		for i, name := range names {
			if wait := s.AttemptLogin(r, name); (wait == 0) != (i == 0) {
				t.Errorf("attempt %d with %.10q has to wait %v", i+1, name, wait)
			}
		}
	}
	for name := range s.names.callers {
		if len(name) > maxCaller {
			t.Errorf("a name of %d octets is remembered", len(name))
		}
	}
}

func TestCallerBehindProxies(t *testing.T) {
	s := &Server{proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
	for _, c := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:5", "", "192.0.2.1"},
		{"192.0.2.1:5", "198.51.100.7", "192.0.2.1"}, // not from a proxy of ours
		{"10.0.0.1:5", "198.51.100.7", "198.51.100.7"},
		{"10.0.0.1:5", "203.0.113.9, 198.51.100.7", "198.51.100.7"}, // the first is what the caller says of himself
		{"10.0.0.1:5", "198.51.100.7, 10.2.3.4", "198.51.100.7"},
		{"10.0.0.1:5", "nonsense", "10.0.0.1"},
		{"10.0.0.1:5", "", "10.0.0.1"},
		{"[::1]:5", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"[2001:db8::1]:5", "", "2001:db8::/64"},
		{"[::ffff:192.0.2.1]:5", "", "192.0.2.1"},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{}}
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := s.caller(r); got != c.want {
			t.Errorf("%s, %q: %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
}

func TestUnknownFailureIsNotTold(t *testing.T) {
	r, logged := refusalOf(errors.New("pq: password of user hub is wrong"))
	if r.status != 503 || strings.Contains(r.body.Detail, "password") || !logged || r.after == 0 {
		t.Errorf("%+v, logged %v", r, logged)
	}
}
