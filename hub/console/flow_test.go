package console

import (
	"encoding/csv"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/sync/api"
)

func TestFleet(t *testing.T) {
	w := newWorld(t, "")
	w.ok(w.hub.Acks(t.Context(), w.gateway, api.Acks{Instance: w.gateway.Instance, Acks: []api.Ack{{Seq: w.head(), Outcome: api.Refused, Reason: "no room"}}}))
	b := w.as("kofi")
	a := b.get("/fleet", 200)
	w.has(a, "box", "Gbegamey, Kofi", "just now", "1.2.3", "41", "12", "99", "uplink: no answer", "It refused a change")
	w.has(b.get("/gateways/"+w.gateway.ID, 200), "Unsent lines 41", "no room", "It refused a change", "Clock trusted no")
	a = b.post("/gateways/"+w.gateway.ID+"/alarm", url.Values{"kind": {hub.AlarmRefused}, "fleet": {"/fleet?troubled=on"}}, 303)
	if a.location != "/fleet?troubled=on" {
		t.Errorf("clearing leads to %q", a.location)
	}
	w.hasNot(b.get("/fleet", 200), "It refused a change")

	// Heard and without alarm it is not troubled; silent it is.
	w.has(b.get("/fleet?troubled=on", 200), "No gateway here")
	w.shift.Store(int64(10 * time.Minute))
	w.has(b.get("/fleet?troubled=on", 200), "10 min ago")

	b.post("/gateways/"+w.gateway.ID+"/revoke", url.Values{"reason": {"stolen"}}, 303)
	w.has(b.get("/fleet", 200), "No gateway here")
	w.has(b.get("/fleet?revoked=on", 200), "revoked")
	a = b.get("/gateways/"+w.gateway.ID, 200)
	w.has(a, "taken off the hub: stolen")
	w.hasNot(a, "/revoke")
}

// A fleet of more than a page is paged.
func TestFleetPages(t *testing.T) {
	v := fleetView{query: hub.FleetQuery{Max: 2, Troubled: true, Reseller: "r&"}, members: []hub.Member{{Gateway: hub.Gateway{ID: "a"}}, {Gateway: hub.Gateway{ID: "b c"}}}}
	if got := v.next(); got != "/fleet?after=b+c&reseller=r%26&troubled=on" {
		t.Error(got)
	}
	v.members = v.members[:1]
	if got := v.next(); got != "" {
		t.Error(got)
	}
}

var secret = regexp.MustCompile(`class="secret">([^<]+)<`)

func TestEnrolmentCodeIsShownOnce(t *testing.T) {
	w := newWorld(t, "")
	b := w.as("kofi")
	b.has(b.post("/sites", url.Values{"name": {""}, "currency": {"francs"}}, 422), "Fill in this field", "Three letters, as")
	b.post("/sites", url.Values{"name": {"Porto"}, "currency": {"xof"}}, 303)
	w.has(b.get("/sites", 200), "Porto")
	a := b.post("/sites/"+w.site.ID+"/code", url.Values{"hours": {"24"}}, 200)
	m := secret.FindStringSubmatch(a.body)
	if m == nil {
		t.Fatal("no code")
	}
	code := m[1]
	for _, path := range []string{"/sites", "/fleet", "/gateways/" + w.gateway.ID} {
		w.hasNot(b.get(path, 200), code)
	}
	w.hasNot(w.as("boss").get("/audit", 200), code)
	if strings.Contains(w.log.String(), code) {
		t.Error("the code is in the log")
	}
	if _, err := w.hub.Enrol(t.Context(), api.Enrol{Code: code, Zone: "z", Name: "new box", Version: "1", Instance: strings.Repeat("b", 32)}); err != nil {
		t.Errorf("the code lets nobody in: %v", err)
	}
}

var listed = regexp.MustCompile(`<b>([0-9A-Z]{4}-[0-9A-Z]{4})</b>`)

func hidden(t *testing.T, a answer, name string) string {
	t.Helper()
	m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(a.body)
	if m == nil {
		t.Fatalf("no field %s", name)
	}
	return m[1]
}

// Codes are in the answer that made them, in the file made of it, and nowhere
// else.
func TestVouchers(t *testing.T) {
	w := newWorld(t, "")
	b := w.as("kofi")
	a := b.get("/vouchers", 200)
	form := url.Values{"n": {"3"}, "forfait": {w.forfait.Plan.ID}, "site": {w.site.ID}, "batch": {hidden(t, a, "batch")},
		"expires": {w.now().AddDate(0, 1, 0).Format("2006-01-02")}}
	with := func(name, value string) url.Values {
		v := url.Values{"token": {b.token}}
		for k, x := range form {
			v[k] = x
		}
		v.Set(name, value)
		return v
	}
	b.has(b.post("/vouchers", with("n", "0"), 422), "Write a whole number from 1 to 10,000")
	b.has(b.post("/vouchers", with("n", "many"), 422), "Write a whole number")
	b.has(b.post("/vouchers", with("n", "1001"), 422), "limit is reached")
	b.has(b.post("/vouchers", with("expires", "2020-01-01"), 422), "This date is past")
	b.has(b.post("/vouchers", with("expires", "soon"), 422), "Write the date as")
	b.has(b.post("/vouchers", with("forfait", "x"), 422), "There is no such thing")
	b.has(b.post("/vouchers", with("batch", "<b>"), 422), "The hub refuses")

	a = b.post("/vouchers", with("n", "3"), 200)
	var codes []string
	for _, m := range listed.FindAllStringSubmatch(a.body, -1) {
		codes = append(codes, m[1])
	}
	if len(codes) != 3 {
		t.Fatalf("codes %v", codes)
	}
	w.has(a, "shown now only", "Jour", "500 XOF", "1 d", "begin before")
	if a.header.Get("Cache-Control") != "no-store" {
		t.Error("the browser may keep the page")
	}
	// Sent again, as a browser does that loads the page again.
	again := b.post("/vouchers", with("n", "3"), 422)
	w.has(again, "shown once")
	if listed.MatchString(again.body) {
		t.Error("there are codes on the page")
	}
	bs, err := w.hub.Batches(t.Context(), operator, "", 0)
	w.ok(err)
	if len(bs) != 1 {
		t.Errorf("%d batches were made", len(bs))
	}

	file := b.post("/vouchers/csv", url.Values{"batch": {bs[0].ID}, "codes": {strings.Join(codes, " ")}}, 200)
	if !strings.HasPrefix(file.header.Get("Content-Disposition"), "attachment; filename=") || !strings.HasPrefix(file.header.Get("Content-Type"), "text/csv") {
		t.Errorf("the file comes as %v", file.header)
	}
	rows, err := csv.NewReader(strings.NewReader(file.body)).ReadAll()
	w.ok(err)
	if len(rows) != 4 || rows[1][0] != codes[0] || rows[3][0] != codes[2] || rows[1][1] != "Jour" || rows[1][2] != "500" || rows[1][3] != "XOF" {
		t.Errorf("the file says %v", rows)
	}
	b.post("/vouchers/csv", url.Values{"batch": {bs[0].ID}, "codes": {"=cmd()"}}, 404)
	b.post("/vouchers/csv", url.Values{"batch": {"none"}, "codes": {codes[0]}}, 404)
	w.as("ada").post("/vouchers/csv", url.Values{"batch": {bs[0].ID}, "codes": {codes[0]}}, 404)

	a = b.get("/vouchers", 200)
	w.has(a, bs[0].ID, "0 / 3")
	audit := w.as("boss").get("/audit", 200)
	for _, code := range codes {
		w.hasNot(a, code)
		w.hasNot(audit, code)
		if strings.Contains(w.log.String(), code) || strings.Contains(w.log.String(), strings.ReplaceAll(code, "-", "")) {
			t.Error("a code is in the log")
		}
	}
	b.post("/vouchers/revoke", url.Values{"batch": {bs[0].ID}, "reason": {"lost"}}, 303)
	w.has(b.get("/vouchers", 200), "revoked")
}

// Ten thousand codes fit the form that sends them back.
func TestMostVouchers(t *testing.T) {
	w := newWorld(t, "")
	w.ok(w.hub.ChangeReseller(t.Context(), operator, w.kofi.ID, "Kofi", hub.Limits{Vouchers: 10_000, Sites: 1, Gateways: 1}))
	b := w.as("kofi")
	a := b.post("/vouchers", url.Values{"n": {"10 000"}, "forfait": {w.forfait.Plan.ID}, "site": {""}}, 200)
	file := b.post("/vouchers/csv", url.Values{"batch": {hidden(t, a, "batch")}, "codes": {hidden(t, a, "codes")}}, 200)
	if n := strings.Count(file.body, "\n"); n != 10_001 {
		t.Errorf("%d lines", n)
	}
}

func TestCell(t *testing.T) {
	for in, want := range map[string]string{"": "", "Jour": "Jour", "=1+1": "'=1+1", "-x": "'-x", "@x": "'@x", "+x": "'+x"} {
		if got := cell(in); got != want {
			t.Errorf("%q is %q", in, got)
		}
	}
}

// offer is a form that can be sent.
func offer(change map[string]string) url.Values {
	v := url.Values{"name": {"Semaine"}, "price": {"2 500"}, "currency": {"XOF"}, "duration": {"7"}, "unit": {"d"}, "time": {"calendar"},
		"cap": {"2"}, "capunit": {"GB"}, "devices": {"2"}, "mirdown": {"4096"}, "mirup": {"1024,5"}, "cirdown": {"512"}, "cirup": {"0"}, "maxrefused": {"0"}}
	for k, x := range change {
		v.Set(k, x)
	}
	return v
}

func TestForfaits(t *testing.T) {
	w := newWorld(t, "")
	b := w.as("boss")
	for _, c := range []struct{ field, value, say string }{
		{"name", "", "Fill in this field"}, {"name", strings.Repeat("x", 101), "This is too long"},
		{"price", "0", "A price above zero"}, {"price", "-5", "Write a whole number"}, {"price", "2,5", "Write a whole number"}, {"price", "9999999999999", "too large"},
		{"currency", "franc", "Three letters"}, {"duration", "0", "Write a whole number"}, {"duration", "400000000", "10 years at most"}, {"unit", "x", "Choose from the list"},
		{"cap", "x", "Write a whole number"}, {"cap", "9999999999999", "too large"}, {"capunit", "x", "Choose from the list"}, {"devices", "0", "from 1 to 100"},
		{"devices", "101", "from 1 to 100"}, {"cirdown", "5000", "The kept rate is above the most"}, {"cirup", "5000", "The kept rate is above the most"},
		{"mirdown", "1.2345", "at most 3 digits"}, {"mirup", "", "at most 3 digits"},
	} {
		a := b.post("/forfaits/new", offer(map[string]string{c.field: c.value}), 422)
		w.has(a, c.say)
		// The words are the field's, and what was typed is still there.
		if !strings.Contains(a.body, `id="`+c.field+`-wrong"`) || c.value != "" && !strings.Contains(a.body, `value="`+c.value+`"`) && c.field != "unit" && c.field != "capunit" {
			t.Errorf("%s=%q: the fault is not beside its field", c.field, c.value)
		}
	}
	b.post("/language", url.Values{"to": {"fr"}, "back": {"/"}}, 303)
	w.has(b.post("/forfaits/new", offer(map[string]string{"cirdown": "5000"}), 422), "Le débit garanti est plus grand que le débit maximal")
	b.post("/language", url.Values{"to": {"en"}, "back": {"/"}}, 303)

	a := b.post("/forfaits/new", offer(nil), 303)
	id := strings.TrimSuffix(strings.TrimPrefix(a.location, "/forfaits/"), "?done=1")
	fs, err := w.hub.ForfaitVersions(t.Context(), operator, id)
	w.ok(err)
	want := zonegate.Plan{ID: id, Version: 1, Name: "Semaine", Price: zonegate.Money{Amount: 2500, Currency: "XOF"}, Duration: 7 * 24 * time.Hour,
		DataCap: 2_000_000_000, DevicesMax: 2, Rate: zonegate.Rate{CIRDown: 512_000, MIRDown: 4_096_000, MIRUp: 1_024_500}}
	if fs[0].Plan != want {
		t.Errorf("the plan is %+v, want %+v", fs[0].Plan, want)
	}
	w.has(b.get("/forfaits", 200), "Semaine", "2,500 XOF", "7 d", "2 GB", "all")

	// The form has what is there: sent back as it is, nothing changes.
	a = b.get("/forfaits/"+id, 200)
	same := url.Values{}
	for _, m := range regexp.MustCompile(`<input type="text" id="([a-z]+)"[^>]*value="([^"]*)"`).FindAllStringSubmatch(a.body, -1) {
		same.Set(m[1], m[2])
	}
	for _, m := range regexp.MustCompile(`(?s)<select id="([a-z]+)".*?<option value="([^"]*)" selected`).FindAllStringSubmatch(a.body, -1) {
		same.Set(m[1], m[2])
	}
	b.post("/forfaits/"+id, same, 303)
	if fs, err = w.hub.ForfaitVersions(t.Context(), operator, id); err != nil || len(fs) != 1 {
		t.Fatalf("%d versions, %v; the form was %v", len(fs), err, same)
	}

	// A change for new sales, then one for what is running.
	for i, running := range []string{"new", "all"} {
		same.Set("price", number(uint64(3000+i)))
		same.Set("running", running)
		same.Del("token")
		b.post("/forfaits/"+id, same, 303)
		p, err := w.hub.Pushes(t.Context(), w.head()-1, 1)
		w.ok(err)
		var body api.PlanSet
		w.ok(json.Unmarshal(p[0].Body, &body))
		if body.Plan.Version != uint32(i+2) || body.Running != (running == "all") || body.Plan.Price.Amount != int64(3000+i) {
			t.Errorf("pushed %+v", body)
		}
	}
	// Fields of what may not change are not looked at.
	same.Set("currency", "XAF")
	same.Set("reseller", w.ada.ID)
	same.Del("token")
	b.post("/forfaits/"+id, same, 303)
	b.post("/forfaits/"+id+"/withdraw", nil, 303)
	a = b.get("/forfaits/"+id, 200)
	w.has(a, "withdrawn")
	w.hasNot(a, "Withdraw from sale")
	w.hasNot(b.get("/forfaits", 200), "Semaine")
}

func TestRollout(t *testing.T) {
	w := newWorld(t, "")
	b := w.as("boss")
	a := b.post("/forfaits/new", offer(map[string]string{"staged": "on", "byhand": "on", "maxrefused": "0"}), 303)
	if a.location != "/rollouts?done=1" {
		t.Fatalf("a staged change leads to %q", a.location)
	}
	a = b.get(a.location, 200)
	w.has(a, "Semaine, version 1", "running", "stage 1 of 3", "applied by 0, refused by 0", "Done.")
	id := regexp.MustCompile(`/rollouts/([^/]+)/next`).FindStringSubmatch(a.body)[1]
	w.beat("")
	w.ok(w.hub.Acks(t.Context(), w.gateway, api.Acks{Instance: w.gateway.Instance, Acks: []api.Ack{{Seq: w.head(), Outcome: api.Applied}}}))
	w.has(b.get("/rollouts", 200), "applied by 1, refused by 0, of 1 gateways")
	b.post("/rollouts/"+id+"/next", nil, 303)
	w.has(b.get("/rollouts", 200), "stage 2 of 3")
	w.ok(w.hub.Acks(t.Context(), w.gateway, api.Acks{Instance: w.gateway.Instance, Acks: []api.Ack{{Seq: w.head(), Outcome: api.Refused, Reason: "no room"}}}))
	w.has(b.get("/rollouts", 200), "no room")
	b.post("/rollouts/"+id+"/stop", url.Values{"reason": {"enough"}}, 303)
	a = b.get("/rollouts", 200)
	w.has(a, "stopped", "enough")
	w.hasNot(a, "/next")
	b.post("/rollouts/"+id+"/next", nil, 409)
	b.post("/rollouts/"+id+"/other", nil, 404)

	// It goes on where it was, in spite of the refusal before.
	b.post("/rollouts/"+id+"/resume", nil, 303)
	w.ok(w.hub.MoveRollouts(t.Context()))
	w.has(b.get("/rollouts", 200), "running", "stage 2 of 3")
	w.has(b.post("/rollouts/"+id+"/resume", nil, 422), "not stopped")
	// Not so when a newer version is out.
	forfait := regexp.MustCompile(`href="/forfaits/([^"/]+-[^"]+)"`).FindStringSubmatch(b.get("/rollouts", 200).body)[1]
	b.post("/rollouts/"+id+"/stop", url.Values{"reason": {"enough"}}, 303)
	b.post("/forfaits/"+forfait, offer(map[string]string{"price": "2600"}), 303)
	w.has(b.post("/rollouts/"+id+"/resume", nil, 422), "something newer was sent")
	b.post("/rollouts/none/next", nil, 404)

	// A reseller follows no rollouts, so his changes go out at once.
	kofi := w.as("kofi")
	a = kofi.post("/forfaits/new", offer(map[string]string{"staged": "on", "name": "Mine"}), 303)
	if !strings.HasPrefix(a.location, "/forfaits/") {
		t.Errorf("leads to %q", a.location)
	}
	rs, err := w.hub.Rollouts(t.Context(), operator, 0)
	w.ok(err)
	if len(rs) != 1 {
		t.Errorf("%d rollouts", len(rs))
	}
}

func TestSettings(t *testing.T) {
	w := newWorld(t, "")
	b := w.as("boss")
	for _, c := range []struct {
		kind, field, value, say string
	}{
		{"link", "down", "0", "above zero"}, {"link", "up", "fast", "at most 6 digits"}, {"link", "down", "99999999", "too large"},
		{"garden", "domains", "http://example.org/", "is no domain name"}, {"message", "fr", strings.Repeat("x", 501), "too long"},
		{"brand", "language", "xx", "Choose from the list"}, {"message", "to", "x", "Choose whom"},
	} {
		form := url.Values{"to": {"all"}, "down": {"10"}, "up": {"5"}}
		form.Set(c.field, c.value)
		w.has(b.post("/settings/"+c.kind, form, 422), c.say)
	}
	b.post("/settings/other", url.Values{"to": {"all"}}, 404)
	for _, c := range []struct {
		kind   string
		form   url.Values
		pushed string
		body   string
		target hub.Target
	}{
		{"message", url.Values{"to": {"all"}, "fr": {"Bonjour"}, "en": {"Hello"}}, api.KindMessage, `{"fr":"Bonjour","en":"Hello"}`, hub.Target{Share: hub.All}},
		{"brand", url.Values{"to": {"r/" + w.kofi.ID}, "name": {"Zone"}, "language": {"fr"}}, api.KindBrand, `{"name":"Zone","language":"fr"}`,
			hub.Target{Share: hub.All, Reseller: w.kofi.ID}},
		{"garden", url.Values{"to": {"s/" + w.site.ID}, "domains": {"example.org\r\n*.example.bj"}}, api.KindGarden, `{"domains":["example.org","*.example.bj"]}`,
			hub.Target{Site: w.site.ID}},
		{"garden", url.Values{"to": {"s/" + w.site.ID}, "domains": {""}}, api.KindGarden, `{"domains":[]}`, hub.Target{Site: w.site.ID}},
		{"link", url.Values{"to": {"s/" + w.site.ID}, "down": {"20"}, "up": {"2,5"}}, api.KindLink, `{"down":20000000,"up":2500000}`, hub.Target{Site: w.site.ID}},
	} {
		b.post("/settings/"+c.kind, c.form, 303)
		p, err := w.hub.Pushes(t.Context(), w.head()-1, 1)
		w.ok(err)
		if p[0].Kind != c.pushed || string(p[0].Body) != c.body || p[0].Target != c.target {
			t.Errorf("%v pushed %s %s to %+v", c.form, p[0].Kind, p[0].Body, p[0].Target)
		}
	}
	b.post("/settings/message", url.Values{"to": {"all"}, "fr": {"Par étapes"}, "staged": {"on"}}, 303)
	a := b.get("/rollouts", 200)
	w.has(a, "Message to customers")
	id := regexp.MustCompile(`/rollouts/([^/]+)/stop`).FindStringSubmatch(a.body)[1]
	b.post("/rollouts/"+id+"/stop", url.Values{"reason": {"wrong words"}}, 303)
	b.post("/rollouts/"+id+"/resume", nil, 303)
	b.post("/rollouts/"+id+"/stop", url.Values{"reason": {"wrong words"}}, 303)
	b.post("/settings/message", url.Values{"to": {"all"}, "fr": {"Autre"}}, 303)
	w.has(b.post("/rollouts/"+id+"/resume", nil, 422), "something newer was sent")
}

func TestUsersAndResellers(t *testing.T) {
	w := newWorld(t, "")
	b := w.as("boss")
	user := func(change map[string]string) url.Values {
		v := url.Values{"name": {"esi"}, "password": {password}, "again": {password}, "role": {"seller"}, "reseller": {w.kofi.ID}}
		for k, x := range change {
			v.Set(k, x)
		}
		return v
	}
	w.has(b.post("/users", user(map[string]string{"reseller": ""}), 422), "Choose his reseller")
	w.has(b.post("/users", user(map[string]string{"name": "kofi"}), 422), "The name is taken")
	w.has(b.post("/users", user(map[string]string{"role": "king"}), 422), "The hub refuses")
	a := b.post("/users", user(map[string]string{"again": "something else"}), 422)
	w.has(a, "not the same password")
	w.hasNot(a, password)
	b.post("/users", user(nil), 303)
	w.has(b.get("/users", 200), "esi")
	w.as("esi").get("/fleet", 200)

	w.has(b.post("/resellers", url.Values{"name": {""}, "vouchers": {"-1"}, "sites": {"x"}, "gateways": {"1"}}, 422), "Fill in this field", "Write a whole number")
	w.has(b.post("/resellers/"+w.kofi.ID, url.Values{"name": {"Kofi"}, "vouchers": {"-1"}, "sites": {"1"}, "gateways": {"1"}}, 422), "Write a whole number")
	b.post("/resellers/"+w.kofi.ID, url.Values{"name": {"Kofi 2"}, "vouchers": {"77 000"}, "sites": {"1"}, "gateways": {"1"}}, 303)
	w.has(b.get("/resellers", 200), "Kofi 2", "77,000")
	w.has(b.get("/audit", 200), "reseller.change", "user.create", "boss")
}

func TestBilling(t *testing.T) {
	w := newWorld(t, "")
	w.sell(500)
	w.sell(333)
	month := w.now().In(time.FixedZone("", 3600)).Format("2006-01")
	b := w.as("ama")
	// 500: fee 7, shares 246 and 247. 333: fee 4, shares 164 and 165.
	a := b.get("/billing?month="+month, 200)
	w.has(a, "Sold 833 XOF", "Number of sales 2", "Fee 11 XOF", "Share: reseller 410 XOF", "Share: RGZ 412 XOF", "cash 833 XOF",
		"Fee: 15 per mille of each sale, rounded down", "goes to: RGZ", "paid to the reseller", "Gbegamey")
	w.hasNot(a, "Allocated to nobody")
	w.has(b.get("/billing?month=2001-01", 200), "Nothing was sold")
	w.has(b.get("/billing?month=soon", 422), "Write the month as")
	b.lang = "fr"
	w.has(b.get("/billing?month="+month, 200), "Frais : 15 pour mille de chaque vente, arrondis vers le bas", "Vendu 833 XOF")
}

func TestRuleInWords(t *testing.T) {
	p := page{lang: english}
	for want, r := range map[string]hub.Rule{
		"No fee. The rest is divided into shares (a: 1), rounded down. What the rounding leaves goes to: a.": {Shares: []hub.Share{{Party: "a", Weight: 1}}, Remainder: "a"},
		"Fee: 20 per mille of the month’s total, rounded up. No fee of what the reseller was paid in cash. The rest is divided into shares (a: 1, b: 3), rounded down. What the rounding leaves goes to: b.": {
			FeePermille: 20, Rounding: "ceil", Base: "month", CashFree: true, Shares: []hub.Share{{Party: "a", Weight: 1}, {Party: "b", Weight: 3}}, Remainder: "b"},
	} {
		if got := p.rule(r); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
