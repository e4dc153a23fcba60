package central

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/sync/api"
)

func TestJoin(t *testing.T) {
	h := newFakeHub(t)
	h.catalogue = api.Catalogue{Version: 3, Plans: []api.Plan{hubPlan("jour", 4)}}
	z := newZone(t, h.endpoint())
	z.open()
	z.run()
	if s := z.central.Status(); s.Joined || len(s.Findings) > 0 {
		t.Fatalf("before joining: %+v", s)
	}
	if err := z.central.Join(t.Context(), "wrong"); err == nil || !strings.Contains(err.Error(), "no such code") {
		t.Fatalf("a wrong code: %v", err)
	}
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	z.connected()
	s := z.central.Status()
	if !s.Joined || s.Gateway != "gw-1" || s.Site != siteID || s.Denied || s.Unproven || s.Revoked {
		t.Fatalf("joined: %+v", s)
	}
	link, ok := z.gate.Hub()
	if !ok || link.CodeKey != codeKey || link.Gateway != "gw-1" {
		t.Fatalf("the gate is joined as %v, %v", link.Gateway, ok)
	}
	eventually(t, "the catalogue is on sale", func() bool { _, ok := z.plan("jour"); return ok })
	if p, _ := z.plan("jour"); p.Version != 4 || p.Rate.MIRDown != 2048e3 || p.DataCap != 500e6 || p.Duration != 24*time.Hour {
		t.Fatalf("the plan is %+v", p)
	}
	fi, err := os.Stat(filepath.Join(z.dir, FileName))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("hub.json has mode %v, %v", fi.Mode(), err)
	}
	if c := z.readFile(); c.Joining != nil || c.Token != "token-1" {
		t.Fatalf("hub.json holds %+v", c)
	}
	if left, _ := filepath.Glob(filepath.Join(z.dir, FileName+"*")); len(left) != 1 {
		t.Fatalf("files are left: %v", left)
	}

	// Again with the same code: a fresh token, and everything goes on.
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	z.connected()
	h.applied(h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 5)}))

	if err := z.central.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := z.central.Status(); s.Joined || s.Connected {
		t.Fatalf("after leaving: %+v", s)
	}
	if c := z.readFile(); c.Token != "" || c.Gateway != "" || c.Instance == "" {
		t.Fatalf("after leaving hub.json holds %+v", c)
	}
}

// To another site only when nothing is owed to the former one.
func TestJoinAnotherSite(t *testing.T) {
	former, next := newFakeHub(t), newFakeHub(t)
	next.site = "another-site"
	former.on(api.PathReports, func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(503); return true })
	z := joined(t, former)
	z.sold(1)
	z.stopCentral()
	z.opts.Endpoint = next.endpoint()
	z.open()
	if err := z.central.Join(t.Context(), "code"); !errors.Is(err, ErrJoined) {
		t.Fatalf("joined with entries unsent: %v", err)
	}
	if link, _ := z.gate.Hub(); link.Site != siteID || z.readFile().Site != siteID {
		t.Fatalf("the zone is at %s", link.Site)
	}
	if err := z.central.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The code is still good, for this installation.
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	z.run()
	z.connected()
	z.sold(1)
	next.has(z)
	next.dense()
}

// A cut between the hub's answer and the journal costs nothing.
func TestJoinIsFinishedAfterACut(t *testing.T) {
	h := newFakeHub(t)
	z := newZone(t, h.endpoint())
	z.open()
	z.stopGate() // the journal takes nothing any more
	if err := z.central.Join(t.Context(), "code"); err == nil {
		t.Fatal("joined without a journal")
	}
	if c := z.readFile(); c.Joining == nil || c.Token == "" {
		t.Fatalf("hub.json holds %+v", c)
	}
	z.startGate()
	z.open()
	z.run()
	z.connected()
	if c := z.readFile(); c.Joining != nil {
		t.Fatal("the code key stays in hub.json")
	}
	if link, _ := z.gate.Hub(); link.CodeKey != codeKey {
		t.Fatal("the gate has another code key")
	}
}

func TestDamagedFile(t *testing.T) {
	h := newFakeHub(t)
	for name, content := range map[string]string{
		"not JSON": "{", "another version": `{"version":9,"instance":"a"}`,
		"half of it": `{"version":1,"instance":"a","token":"t"}`, "no key": `{"version":1,"instance":"a","token":"t","url":"u","gateway":"g","site":"s","hub_key":"AAAA"}`,
	} {
		z := newZone(t, h.endpoint())
		if err := os.WriteFile(filepath.Join(z.dir, FileName), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		z.open()
		z.run()
		if f := z.found("hub"); !strings.Contains(f.Detail, "join the hub again") && !strings.Contains(f.Detail, "version") {
			t.Errorf("%s: %+v", name, f)
		}
		h.set(func() { h.instance = "" })
		if err := z.central.Join(t.Context(), "code"); err != nil {
			t.Errorf("%s: joining again: %v", name, err)
		}
		z.connected()
	}
}

func TestPushes(t *testing.T) {
	h := newFakeHub(t)
	z := joined(t, h)
	h.applied(h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 1)}))
	if _, ok := z.plan("jour"); !ok {
		t.Fatal("the plan is not on sale")
	}
	h.applied(h.push(api.KindBatch, api.BatchIssued{Batch: "b1", Plan: hubPlan("jour", 1), Keys: keys(1000)}))
	st, err := z.gate.Redeem(t.Context(), zonegate.Redemption{Code: "code0007", Device: mac(0)})
	if err != nil {
		t.Fatalf("a code of the hub's: %v", err)
	}
	if st.Grant == nil {
		t.Fatalf("a code of the hub's gave %+v", st)
	}
	h.applied(h.push(api.KindBatchRevoked, api.BatchRevoked{Batch: "b1"}))
	if _, err := z.gate.Redeem(t.Context(), zonegate.Redemption{Code: "CODE0008", Device: mac(0)}); err == nil {
		t.Fatal("a code of a revoked batch was taken")
	}
	phone := mac(0)
	h.applied(h.push(api.KindGrant, api.GrantIssued{Grant: "pay-1", Plan: hubPlan("jour", 1), Device: phone.String()}))
	if st := z.gate.Standing(phone); st.Grant == nil {
		t.Fatalf("a purchase gave %+v", st)
	}
	h.applied(h.push(api.KindGrantRevoked, api.GrantRevoked{Grant: "pay-1"}))
	h.applied(h.push(api.KindBrand, api.Brand{Name: "Chez Awa Plus"}))
	h.applied(h.push(api.KindMessage, api.Message{FR: "bonjour", EN: "hello"}))
	var brand api.Brand
	if err := json.Unmarshal([]byte(z.knobs.get(zonegate.SettingBrand)), &brand); err != nil || brand.Name != "Chez Awa Plus" {
		t.Fatalf("the brand is %q", z.knobs.get(zonegate.SettingBrand))
	}
	h.applied(h.push(api.KindMessage, api.Message{}))
	if v := z.knobs.get(zonegate.SettingMessage); v != "" {
		t.Fatalf("an empty message left %q", v)
	}
	h.applied(h.push(api.KindPlanGone, api.PlanWithdrawn{ID: "jour", Version: 2}))
	if _, ok := z.plan("jour"); ok {
		t.Fatal("the plan is still on sale")
	}
	// Unknown fields are of a later hub.
	h.applied(h.pushRaw(h.key, siteID, api.KindPlan, []byte(`{"plan":{"id":"nuit","version":1,"name":"Nuit","price":{"amount":100,"currency":"XOF","tax":3},"seconds":3600,"devices_max":1,"colour":"red"},"why":["a"]}`)))
	// So is a push for everybody.
	h.applied(h.pushRaw(h.key, "*", api.KindMessage, []byte(`{"fr":"a","en":"b"}`)))
}

func TestPushesThatAreRefused(t *testing.T) {
	h := newFakeHub(t)
	z := joined(t, h)
	h.applied(h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 3)}))
	change := func(f func(*api.Plan)) api.PlanSet {
		p := hubPlan("jour", 4)
		f(&p)
		return api.PlanSet{Plan: p}
	}
	early := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		kind string
		body any
		want string
	}{
		"CIR above MIR":       {api.KindPlan, change(func(p *api.Plan) { p.CIRDown = 4e6 }), "committed rate"},
		"negative price":      {api.KindPlan, change(func(p *api.Plan) { p.Price.Amount = -5 }), "price"},
		"free":                {api.KindPlan, change(func(p *api.Plan) { p.Price.Amount = 0 }), "trial"},
		"no time":             {api.KindPlan, change(func(p *api.Plan) { p.Seconds = 0 }), "duration"},
		"a thousand years":    {api.KindPlan, change(func(p *api.Plan) { p.Seconds = 1 << 40 }), "duration"},
		"overflowing time":    {api.KindPlan, change(func(p *api.Plan) { p.Seconds = 1<<63 - 1 }), "duration"},
		"version 0":           {api.KindPlan, change(func(p *api.Plan) { p.Version = 0 }), "version"},
		"no currency":         {api.KindPlan, change(func(p *api.Plan) { p.Price.Currency = "" }), "currency"},
		"absurd cap":          {api.KindPlan, change(func(p *api.Plan) { p.Octets = 1 << 63 }), "cap"},
		"absurd rate":         {api.KindPlan, change(func(p *api.Plan) { p.MIRUp = 1 << 60 }), "rate"},
		"no devices":          {api.KindPlan, change(func(p *api.Plan) { p.DevicesMax = 0 }), "devices"},
		"a name of two lines": {api.KindPlan, change(func(p *api.Plan) { p.Name = "a\nb" }), "name"},
		"an id with a space":  {api.KindPlan, change(func(p *api.Plan) { p.ID = "a b" }), "id"},
		"unknown kind":        {"interfaces.set", map[string]string{}, "does not know"},
		"no kind":             {"", map[string]string{}, "does not know"},
		"wrong type":          {api.KindPlan, map[string]any{"plan": "jour"}, "cannot be read"},
		"too many keys":       {api.KindBatch, api.BatchIssued{Batch: "b", Plan: hubPlan("jour", 3), Keys: keys(1001)}, "1000"},
		"no keys":             {api.KindBatch, api.BatchIssued{Batch: "b", Plan: hubPlan("jour", 3)}, "1000"},
		"short keys":          {api.KindBatch, api.BatchIssued{Batch: "b", Plan: hubPlan("jour", 3), Keys: [][]byte{{1, 2}}}, "octets"},
		"zero key":            {api.KindBatch, api.BatchIssued{Batch: "b", Plan: hubPlan("jour", 3), Keys: [][]byte{make([]byte, 16)}}, "zeros"},
		"no batch":            {api.KindBatch, api.BatchIssued{Plan: hubPlan("jour", 3), Keys: keys(1)}, "batch"},
		"absurd expiry":       {api.KindBatch, api.BatchIssued{Batch: "b", Plan: hubPlan("jour", 3), Keys: keys(1), Expires: &early}, "expiry"},
		"a purchase of none":  {api.KindGrant, api.GrantIssued{Grant: "g", Plan: hubPlan("jour", 3)}, "device"},
		"no device":           {api.KindGrant, api.GrantIssued{Grant: "g", Plan: hubPlan("jour", 3), Device: "phone"}, "address"},
		"a group of devices":  {api.KindGrant, api.GrantIssued{Grant: "g", Plan: hubPlan("jour", 3), Device: "01:00:5e:00:00:01"}, "address"},
		"whole top level":     {api.KindGarden, api.Garden{Domains: []string{"com"}}, "garden"},
		"garden of wildcards": {api.KindGarden, api.Garden{Domains: []string{"*.*.example.org"}}, "garden"},
		"link of nothing":     {api.KindLink, api.Link{Down: 1, Up: 1}, "absurd"},
		"half a link":         {api.KindLink, api.Link{Down: 1e6}, "directions"},
		"a long message":      {api.KindMessage, api.Message{FR: strings.Repeat("a", 501)}, "characters"},
		"another language":    {api.KindBrand, api.Brand{Language: "de"}, "language"},
		"null":                {api.KindPlan, nil, "id"},
	} {
		a := h.answer(h.push(c.kind, c.body))
		if a.Outcome != api.Refused || !strings.Contains(a.Reason, c.want) {
			t.Errorf("%s: %+v, want it refused for its %q", name, a, c.want)
		}
	}
	if p, ok := z.plan("jour"); !ok || p.Version != 3 {
		t.Errorf("the former plan did not stay: %+v", p)
	}
	// An older version says which one is there.
	stale := hubPlan("jour", 2)
	stale.Price.Amount = 999
	if a := h.answer(h.push(api.KindPlan, api.PlanSet{Plan: stale})); a.Outcome != api.Refused || a.Have != 3 {
		t.Errorf("a stale plan: %+v", a)
	}
	last := h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 4)})
	h.applied(last)
	if link, _ := z.gate.Hub(); link.Applied != last {
		t.Errorf("push %d was taken last, want %d", link.Applied, last)
	}
	// A stream that is opened again begins after what was refused too.
	h.drop()
	z.connected()
	h.applied(h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 5)}))
	h.is(func() bool {
		for seq, list := range h.acks {
			if len(list) != 1 {
				t.Errorf("push %d was answered %d times: %+v", seq, len(list), list)
			}
		}
		return true
	})
}

func TestForgedAndReplayedPushes(t *testing.T) {
	h := newFakeHub(t)
	z := joined(t, h)
	_, other, _ := ed25519.GenerateKey(nil)
	body, _ := json.Marshal(api.PlanSet{Plan: hubPlan("forged", 1)})
	h.pushRaw(other, siteID, api.KindPlan, body)
	h.pushRaw(h.key, "another-site", api.KindPlan, body)
	h.set(func() { // altered on the way
		h.head++
		s, _ := api.Sign(h.key, api.Push{Seq: h.head, Site: siteID, Kind: api.KindPlan, Body: body})
		s.Payload = append([]byte(nil), s.Payload...)
		s.Payload[len(s.Payload)-3] ^= 1
		h.pushes = append(h.pushes, numbered{h.head, s})
	})
	seq := h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 1)})
	h.applied(seq)
	if _, ok := z.plan("forged"); ok {
		t.Fatal("a forged plan is on sale")
	}
	z.found("push")
	h.is(func() bool {
		if len(h.acks) != 1 {
			t.Errorf("forged pushes were answered: %+v", h.acks)
		}
		return true
	})
	// The same push again under a new number of the stream's: it was taken.
	h.applied(h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 2)}))
	h.set(func() {
		for _, p := range h.pushes {
			if p.seq == seq {
				h.head++
				h.pushes = append(h.pushes, numbered{h.head, p.signed})
			}
		}
	})
	h.applied(h.push(api.KindMessage, api.Message{FR: "x", EN: "y"}))
	if p, _ := z.plan("jour"); p.Version != 2 {
		t.Fatalf("a replayed push changed the plan to %+v", p)
	}
}

// Whatever a body holds, it is refused or makes sense to the domain.
func FuzzChange(f *testing.F) {
	kinds := []string{
		api.KindPlan, api.KindPlanGone, api.KindBatch, api.KindBatchRevoked, api.KindGrant, api.KindGrantRevoked,
		api.KindRevoked, api.KindBrand, api.KindGarden, api.KindLink, api.KindMessage, "other",
	}
	f.Add(0, []byte(`{"plan":{"id":"a","version":1,"name":"A","price":{"amount":1,"currency":"XOF"},"seconds":60,"devices_max":1}}`))
	f.Add(4, []byte(`{"grant":"g","device":"02:00:00:00:00:01","plan":{"id":"a","version":1}}`))
	f.Add(8, []byte(`{"domains":["*.example.org"]}`))
	f.Add(9, []byte(`{"down":1000000,"up":1000000}`))
	f.Fuzz(func(t *testing.T, n int, body []byte) {
		c, err := change(api.Push{Seq: 1, Site: siteID, Kind: kinds[uint(n)%uint(len(kinds))], Body: body})
		if (c == nil) == (err == nil) {
			t.Fatalf("change %v, error %v", c, err)
		}
		switch c := c.(type) {
		case zonegate.PlanPushed:
			if c.Plan.Duration <= 0 || c.Plan.Validate() != nil {
				t.Fatalf("plan %+v", c.Plan)
			}
		case zonegate.SettingPushed:
			if len(c.Value) > 256<<10 {
				t.Fatalf("a setting of %d octets", len(c.Value))
			}
		}
	})
}
