package central

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate"
)

// An rgzServer has nothing but the catalogue, written by hand.
type rgzServer struct {
	mu    sync.Mutex
	pages []string // by page, from 1
	serve func(http.ResponseWriter, *http.Request) bool
	asked []string
}

func newRGZ(t *testing.T) (*rgzServer, *RGZ, *zone) {
	t.Helper()
	s := &rgzServer{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, r.URL.RequestURI())
		if r.Header.Get("Authorization") != "" {
			t.Error("the public catalogue got a token")
		}
		if s.serve != nil && s.serve(w, r) {
			return
		}
		n := 1
		fmt.Sscan(r.URL.Query().Get("page"), &n)
		if r.URL.Path != "/api/v1/forfaits" || n < 1 || n > len(s.pages) {
			http.Error(w, `{"detail":"Not Found"}`, 404)
			return
		}
		io.WriteString(w, s.pages[n-1])
	}))
	t.Cleanup(server.Close)
	at := Endpoint{URL: server.URL + "/api/v1", Proxy: func(*url.URL) (*url.URL, error) { return nil, nil }}
	z := newZone(t, at)
	return s, &RGZ{Endpoint: at, Gate: z.gate, Clock: z.clock}, z
}

func (s *rgzServer) set(pages ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages, s.serve = pages, nil
}

func (s *rgzServer) breaks(f func(http.ResponseWriter)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serve = func(w http.ResponseWriter, _ *http.Request) bool { f(w); return true }
}

const (
	jourID = "0b9d7c7e-2f0a-4e59-9d3b-0d7a5ef7b001"
	nuitID = "0b9d7c7e-2f0a-4e59-9d3b-0d7a5ef7b002"
)

func forfait(id string, price int) string {
	return fmt.Sprintf(`{"id":%q,"name":"Forfait Journalier","price_fcfa":%d,"duration_hours":24,"data_limit_mb":500,"cir_kbps":512,"mir_kbps":2048}`, id, price)
}

func onSale(z *zone) string {
	var out []string
	for _, p := range z.gate.Plans() {
		out = append(out, fmt.Sprintf("%s=%d", p.ID[max(0, len(p.ID)-4):], p.Price.Amount))
	}
	sort.Strings(out)
	return strings.Join(out, " ")
}

func TestRGZCatalogue(t *testing.T) {
	s, r, z := newRGZ(t)
	ctx := t.Context()
	own := zonegate.Plan{ID: "mine", Name: "Mine", Price: zonegate.Money{Amount: 50, Currency: "XOF"}, Duration: time.Hour, DevicesMax: 1}
	if err := r.SetOwn(ctx, []zonegate.Plan{own}); err != nil {
		t.Fatal(err)
	}
	// The document's own sample.
	s.set(`{"items":[` + forfait(jourID, 500) + `],"total":1,"page":1,"pages":1}`)
	if err := r.Poll(ctx); err != nil {
		t.Fatal(err)
	}
	p, ok := z.plan(jourID)
	want := zonegate.Plan{
		ID: jourID, Version: 1, Name: "Forfait Journalier", Price: zonegate.Money{Amount: 500, Currency: "XOF"}, Duration: 24 * time.Hour,
		DataCap: 500e6, Rate: zonegate.Rate{CIRUp: 512e3, CIRDown: 512e3, MIRUp: 2048e3, MIRDown: 2048e3}, DevicesMax: 1,
	}
	if !ok || p != want {
		t.Fatalf("the plan is %+v, want %+v", p, want)
	}
	// The same again is no new version; another price is.
	if err := r.Poll(ctx); err != nil {
		t.Fatal(err)
	}
	s.set(`{"items":[` + forfait(jourID, 600) + `,` + forfait(nuitID, 100) + `],"total":2,"page":1,"pages":1}`)
	if err := r.Poll(ctx); err != nil {
		t.Fatal(err)
	}
	if p, _ := z.plan(jourID); p.Version != 2 || p.Price.Amount != 600 {
		t.Fatalf("the plan is %+v", p)
	}
	// What is gone from a whole catalogue is not sold any more; the
	// configuration's plans are not touched.
	s.set(`{"items":[` + forfait(jourID, 600) + `],"total":1,"page":1,"pages":1}`)
	if err := r.Poll(ctx); err != nil {
		t.Fatal(err)
	}
	if got := onSale(z); got != "b001=600 mine=50" {
		t.Fatalf("on sale: %s", got)
	}
	// After a restart without the server everything is still on sale.
	again := &RGZ{Endpoint: r.Endpoint, Gate: z.gate, Clock: z.clock}
	own.Price.Amount = 60
	if err := again.SetOwn(ctx, []zonegate.Plan{own}); err != nil {
		t.Fatal(err)
	}
	if got := onSale(z); got != "b001=600 mine=60" {
		t.Fatalf("on sale after a restart: %s", got)
	}
	// A plan that leaves the configuration leaves the sale.
	if err := again.SetOwn(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if got := onSale(z); got != "b001=600" {
		t.Fatalf("on sale without the configuration's: %s", got)
	}
}

// Numbers and fields however servers write them.
func TestRGZTolerance(t *testing.T) {
	base := func(more string) string {
		return `[{"id":"` + jourID + `","name":" Jour ",` + more + `}]`
	}
	for name, c := range map[string]struct {
		items   string
		want    string // what the plan sells; "" if it is refused
		refused string
	}{
		"strings":             {base(`"price_fcfa":"500","duration_hours":"24","data_limit_mb":"500","cir_kbps":"512","mir_kbps":" 2048 "`), "500 24h0m0s 500000000 512000 2048000", ""},
		"floats":              {base(`"price_fcfa":500.0,"duration_hours":24.00,"data_limit_mb":500.0,"cir_kbps":512.0,"mir_kbps":"2048.0"`), "500 24h0m0s 500000000 512000 2048000", ""},
		"no cap":              {base(`"price_fcfa":500,"duration_hours":24,"cir_kbps":512,"mir_kbps":2048`), "500 24h0m0s 0 512000 2048000", ""},
		"null cap":            {base(`"price_fcfa":500,"duration_hours":24,"data_limit_mb":null,"cir_kbps":512,"mir_kbps":2048`), "500 24h0m0s 0 512000 2048000", ""},
		"cap 0":               {base(`"price_fcfa":500,"duration_hours":24,"data_limit_mb":0,"cir_kbps":512,"mir_kbps":2048`), "500 24h0m0s 0 512000 2048000", ""},
		"extra fields":        {base(`"price_fcfa":500,"duration_hours":24,"cir_kbps":512,"mir_kbps":2048,"tags":["a"],"zone":{"id":1}`), "500 24h0m0s 0 512000 2048000", ""},
		"a fraction":          {base(`"price_fcfa":499.5,"duration_hours":24,"cir_kbps":512,"mir_kbps":2048`), "", "whole"},
		"negative price":      {base(`"price_fcfa":-1,"duration_hours":24,"cir_kbps":512,"mir_kbps":2048`), "", "price"},
		"free":                {base(`"price_fcfa":0,"duration_hours":24,"cir_kbps":512,"mir_kbps":2048`), "", "zero"},
		"no price":            {base(`"duration_hours":24,"cir_kbps":512,"mir_kbps":2048`), "", "missing"},
		"no duration":         {base(`"price_fcfa":500,"duration_hours":0,"cir_kbps":512,"mir_kbps":2048`), "", "duration"},
		"CIR above MIR":       {base(`"price_fcfa":500,"duration_hours":24,"cir_kbps":4096,"mir_kbps":2048`), "", "committed"},
		"beyond 64 bits":      {base(`"price_fcfa":99999999999999999999,"duration_hours":24,"cir_kbps":512,"mir_kbps":2048`), "", "whole"},
		"absurd hours":        {base(`"price_fcfa":500,"duration_hours":9999999999,"cir_kbps":512,"mir_kbps":2048`), "", "duration_hours"},
		"a word":              {base(`"price_fcfa":"cinq cents","duration_hours":24,"cir_kbps":512,"mir_kbps":2048`), "", "whole"},
		"no name":             {`[{"id":"` + jourID + `","price_fcfa":500,"duration_hours":24,"cir_kbps":512,"mir_kbps":2048}]`, "", "name"},
		"an exponent":         {base(`"price_fcfa":5e2,"duration_hours":24,"cir_kbps":512,"mir_kbps":2048`), "", "whole"},
		"an id that is spent": {`[` + forfait(jourID, 500) + `,` + forfait(jourID, 600) + `]`, "500 24h0m0s 500000000 512000 2048000", "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			s, r, z := newRGZ(t)
			// What stood there before stays where the new one is refused.
			s.set(`{"items":[` + forfait(jourID, 77) + `],"total":1,"page":1,"pages":1}`)
			if err := r.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.set(`{"items":` + c.items + `,"total":"1","page":"1","pages":1.0}`)
			if err := r.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := c.want
			if want == "" {
				want = "77 24h0m0s 500000000 512000 2048000"
			}
			p, ok := z.plan(jourID)
			if got := fmt.Sprint(p.Price.Amount, p.Duration, p.DataCap, p.Rate.CIRDown, p.Rate.MIRUp); !ok || got != want {
				t.Errorf("sold is %s, want %s", got, want)
			}
			refused := strings.Join(r.Status().Refused, "; ")
			if (c.refused == "") != (refused == "") || !strings.Contains(refused, c.refused) {
				t.Errorf("refused: %q, want it for %q", refused, c.refused)
			}
		})
	}
}

// Whatever is not a whole catalogue changes nothing.
func TestRGZFaults(t *testing.T) {
	s, r, z := newRGZ(t)
	ctx := t.Context()
	good := `{"items":[` + forfait(jourID, 500) + `,` + forfait(nuitID, 100) + `],"total":2,"page":1,"pages":1}`
	s.set(good)
	if err := r.Poll(ctx); err != nil {
		t.Fatal(err)
	}
	one := func(total, page, pages int) string {
		return fmt.Sprintf(`{"items":[%s],"total":%d,"page":%d,"pages":%d}`, forfait(jourID, 900), total, page, pages)
	}
	for name, fault := range map[string]func(){
		"empty":                    func() { s.set(`{"items":[],"total":0,"page":1,"pages":1}`) },
		"empty list":               func() { s.set(`[]`) },
		"no items":                 func() { s.set(`{"total":2}`) },
		"null":                     func() { s.set(`null`) },
		"an error with status 200": func() { s.set(`{"detail":"oops"}`) },
		"half a body": func() {
			s.breaks(func(w http.ResponseWriter) {
				w.Header().Set("Content-Length", fmt.Sprint(len(good)))
				io.WriteString(w, good[:len(good)/2])
				panic(http.ErrAbortHandler)
			})
		},
		"half a JSON": func() { s.set(good[:len(good)-20]) },
		"500":         func() { s.breaks(func(w http.ResponseWriter) { http.Error(w, "oops", 500) }) },
		"401": func() {
			s.breaks(func(w http.ResponseWriter) { http.Error(w, `{"detail":"Not authenticated"}`, http.StatusUnauthorized) })
		},
		"a redirect": func() {
			s.breaks(func(w http.ResponseWriter) { w.Header().Set("Location", "/login"); w.WriteHeader(302) })
		},
		"HTML":                   func() { s.set("<html>sign in</html>") },
		"less than it says":      func() { s.set(one(2, 1, 1)) },
		"a second page missing":  func() { s.set(one(2, 1, 2)) },
		"a second page repeated": func() { s.set(one(2, 1, 2), one(2, 1, 2)) },
		"a thousand pages":       func() { s.set(one(2, 1, 1000)) },
		"too long":               func() { s.set(`{"items":[` + strings.Repeat(" ", 1<<20) + forfait(jourID, 900) + `],"total":1}`) },
	} {
		fault()
		if err := r.Poll(ctx); err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := onSale(z); got != "b001=500 b002=100" {
			t.Fatalf("%s: on sale is %s", name, got)
		}
		if st := r.Status(); st.LastError == "" || !st.Read {
			t.Errorf("%s: status %+v", name, st)
		}
	}
	// A plan without an id may be any of those that are sold.
	s.set(`{"items":[` + forfait(jourID, 500) + `,{"name":"?"}],"total":2,"page":1,"pages":1}`)
	if err := r.Poll(ctx); err != nil {
		t.Fatal(err)
	}
	if got := onSale(z); got != "b001=500 b002=100" {
		t.Fatalf("on sale is %s", got)
	}
	// Two pages are one catalogue.
	s.set(one(2, 1, 2), fmt.Sprintf(`{"items":[%s],"total":2,"page":2,"pages":2}`, forfait(nuitID, 150)))
	if err := r.Poll(ctx); err != nil {
		t.Fatal(err)
	}
	if got := onSale(z); got != "b001=900 b002=150" {
		t.Fatalf("on sale is %s", got)
	}
}

func TestRGZRun(t *testing.T) {
	s, r, z := newRGZ(t)
	s.set(`{"items":[` + forfait(jourID, 500) + `],"total":1,"page":1,"pages":1}`)
	r.Every = 5 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	eventually(t, "the plan is on sale", func() bool { return onSale(z) == "b001=500" })
	s.set(`{"items":[` + forfait(jourID, 700) + `],"total":1,"page":1,"pages":1}`)
	eventually(t, "the new price is on sale", func() bool { return onSale(z) == "b001=700" })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestReadVouchers(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want string // plan: codes; ...
		left int
		err  string
	}{
		"the document's sample": {in: `{"items":[{"code":"ABC12345","forfait_id":"uuid","status":"active"}],"total":1}`, want: "uuid: ABC12345"},
		"two plans":             {in: `{"items":[{"code":"A1","forfait_id":"x"},{"code":"B1","forfait_id":"y"},{"code":"A2","forfait_id":"x"}]}`, want: "x: A1 A2; y: B1"},
		"some are used":         {in: `{"items":[{"code":"A1","forfait_id":"x","status":"ACTIVE"},{"code":"B1","forfait_id":"x","status":"used"}],"total":2}`, want: "x: A1", left: 1},
		"a list":                {in: `[{"code":"A1","forfait_id":"x"}]`, want: "x: A1"},
		"half of it":            {in: `{"items":[{"code":"A1","forfait_id":"x"}],"total":50}`, err: "not whole"},
		"cut off":               {in: `{"items":[{"code":"A1"`, err: "reading"},
		"no code":               {in: `{"items":[{"forfait_id":"x"}]}`, err: "voucher 1"},
		"twice":                 {in: `{"items":[{"code":"A1","forfait_id":"x"},{"code":"A1","forfait_id":"x"}]}`, err: "same"},
		"none":                  {in: `{"items":[],"total":0}`, err: "no active voucher"},
		"nothing":               {in: " \n", err: "empty"},
		"a table":               {in: "code,forfait_id,status\nA1,x,active\nB1,y,active\n", want: "x: A1; y: B1"},
		"another order":         {in: "\xef\xbb\xbfStatus;Forfait_ID;Code\r\nactive;x;A1\r\nused;x;A2\r\n", want: "x: A1", left: 1},
		"codes alone":           {in: "A1\nA2\n\nA3\n", want: ": A1 A2 A3"},
		"codes and plans":       {in: "A1\tx\nA2\tx\n", want: "x: A1 A2"},
		"quotes":                {in: "code,plan\n\"A1\",\"x\"\n", want: "x: A1"},
		"a broken quote":        {in: "code,plan\n\"A1,x\n", err: "reading"},
	} {
		got, left, err := ReadVouchers([]byte(c.in))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error is %v, want it to say %q", name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var text []string
		for _, g := range got {
			text = append(text, g.Plan+": "+strings.Join(g.Codes, " "))
		}
		if s := strings.Join(text, "; "); s != c.want || left != c.left {
			t.Errorf("%s: %q and %d left out, want %q and %d", name, s, left, c.want, c.left)
		}
	}
	var many strings.Builder
	for i := range maxImport + 1 {
		fmt.Fprintf(&many, "C%06d\n", i)
	}
	if _, _, err := ReadVouchers([]byte(many.String())); err == nil || !strings.Contains(err.Error(), "split") {
		t.Errorf("too many: %v", err)
	}
}

func FuzzReadVouchers(f *testing.F) {
	f.Add([]byte(`{"items":[{"code":"ABC12345","forfait_id":"uuid","status":"active"}],"total":1}`))
	f.Add([]byte("code;forfait_id\nA1;x\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		codes, _, err := ReadVouchers(in)
		if err == nil && len(codes) == 0 {
			t.Error("neither codes nor an error")
		}
	})
}
