package central

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/sync/api"
)

// has waits until the hub has everything that the zone made.
func (h *fakeHub) has(z *zone) {
	h.t.Helper()
	eventually(h.t, "the hub has all entries", func() bool {
		last, _, _ := z.gate.OutboxStatus()
		return h.is(func() bool { return h.base+uint64(len(h.entries)) == last })
	})
}

// dense says that the hub has each entry once, in order.
func (h *fakeHub) dense() {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, e := range h.entries {
		if e.N != h.base+uint64(i)+1 {
			h.t.Fatalf("entry %d of the hub has number %d", i, e.N)
		}
	}
}

func TestDelivery(t *testing.T) {
	h := newFakeHub(t)
	z := joined(t, h)
	z.sold(3)
	h.has(z)
	h.dense()
	h.is(func() bool {
		kinds := map[string]int{}
		for _, e := range h.entries {
			kinds[e.Kind]++
			if e.Kind == api.EntrySale && (e.Price == nil || e.Price.Amount != 100 || e.Plan != "own" || e.Source != "voucher" || e.Ref == "" || e.At == nil || len(e.Device) != 16) {
				t.Errorf("a sale is reported as %+v", e)
			}
		}
		if kinds[api.EntrySale] != 3 || kinds[api.EntryStarted] != 3 || kinds[api.EntryImported] != 1 {
			t.Errorf("kinds of entries: %v", kinds)
		}
		return true
	})
	eventually(t, "nothing is unsent", func() bool { return z.central.Status().Unsent == 0 })
	// Only a stop writes it down before a minute is over.
	if _, unsent, _ := z.gate.OutboxStatus(); unsent == 0 {
		t.Error("each batch was written into the journal")
	}
	z.stopCentral()
	if _, unsent, _ := z.gate.OutboxStatus(); unsent != 0 {
		t.Errorf("%d entries were delivered and are still in the outbox", unsent)
	}
}

func TestUsageIsReported(t *testing.T) {
	h := newFakeHub(t)
	z := joined(t, h)
	z.sold(1)
	h.has(z)
	z.stopCentral()
	sessions := z.gate.Sessions()
	if len(sessions) != 1 {
		t.Fatalf("%d sessions", len(sessions))
	}
	used := zonegate.Octets{Up: 1000, Down: 5_000_000_000}
	if err := z.gate.Account(t.Context(), []zonegate.Usage{{Session: sessions[0].Session.ID, Octets: used}}); err != nil {
		t.Fatal(err)
	}
	z.pace.usage = time.Millisecond
	z.open()
	z.run()
	eventually(t, "the usage is at the hub", func() bool {
		return h.is(func() bool {
			u := h.usage[uint64(sessions[0].Session.Grant)]
			return u.Up == used.Up && u.Down == used.Down
		})
	})
}

// Answers that are lost, broken, late or wrong: everything arrives once.
func TestDeliveryThroughFaults(t *testing.T) {
	h := newFakeHub(t)
	z := newZone(t, h.endpoint())
	z.pace.header = 300 * time.Millisecond
	z.open()
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	// Each fault comes once, after the hub has or has not taken the batch.
	calls := 0
	faults := []func(w http.ResponseWriter, r *http.Request){
		func(w http.ResponseWriter, r *http.Request) { problem(w, 500, api.Problem{}) },
		func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "<html>Bad gateway</html>", http.StatusBadGateway)
		},
		func(w http.ResponseWriter, r *http.Request) { // taken, and the answer lost
			h.behave(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		},
		func(w http.ResponseWriter, r *http.Request) { // taken, and half the answer lost
			rec := httptest.NewRecorder()
			h.behave(rec, r)
			w.Header().Set("Content-Length", fmt.Sprint(rec.Body.Len()))
			w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
			panic(http.ErrAbortHandler)
		},
		func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(`{"through":`)) },
		func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(`[1,2]`)) },
		func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(`{"through":0}`)) },
		func(w http.ResponseWriter, r *http.Request) { // says that it took nothing, and took all
			h.behave(httptest.NewRecorder(), r)
			w.Write([]byte(`{}`))
		},
		func(w http.ResponseWriter, r *http.Request) { // hangs
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		},
		func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "0")
			problem(w, 429, api.Problem{Code: api.CodeLimit})
		},
		func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.test/", http.StatusFound)
		},
		func(w http.ResponseWriter, r *http.Request) { io.Copy(w, endless{}) },
	}
	var mu sync.Mutex
	h.set(func() {
		h.misbehave = func(w http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			if !strings.HasSuffix(r.URL.Path, api.PathReports) || calls >= len(faults) {
				return false
			}
			calls++
			faults[calls-1](w, r)
			return true
		}
	})
	z.sold(5)
	z.run()
	h.has(z)
	h.dense()
	eventually(t, "everything is acknowledged", func() bool { return z.central.Status().Unsent == 0 })
	mu.Lock()
	defer mu.Unlock()
	if calls != len(faults) {
		t.Errorf("%d of %d faults happened", calls, len(faults))
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '['
	}
	return len(b), nil
}

// A hub that was restored from an old backup asks for what it forgot. What is
// still held is sent again, the rest is said to be lost.
func TestHubRestored(t *testing.T) {
	h := newFakeHub(t)
	z := joined(t, h)
	z.sold(4)
	h.has(z)
	eventually(t, "everything is acknowledged", func() bool { return z.central.Status().Unsent == 0 })
	seq := h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 1)})
	h.applied(seq)
	h.set(func() {
		h.entries = h.entries[:2]
		h.head, h.pushes = 0, nil
	})
	// Still in the outbox: sent again, from where the hub asks.
	h.has(z)
	h.dense()
	if f := z.found("hub restored"); !strings.Contains(f.Detail, "backup") {
		t.Errorf("finding: %+v", f)
	}
	// The hub goes on above what the gateway has.
	h.set(func() { h.head = seq })
	h.applied(h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 2)}))
	eventually(t, "the finding is gone", func() bool { return len(z.central.Status().Findings) == 0 })

	// Gone from the outbox: the hub must take the gap.
	z.stopCentral()
	h.set(func() { h.entries = h.entries[:1] })
	z.sold(1)
	z.open()
	z.run()
	h.has(z)
	h.dense()
	h.is(func() bool {
		if h.lost == 0 {
			t.Error("nothing was said to be lost")
		}
		return true
	})
}

// Two machines with one identity: nothing is overwritten, and nothing of
// this one is dropped.
func TestConflict(t *testing.T) {
	h := newFakeHub(t)
	h.set(func() {
		h.misbehave = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, api.PathReports) {
				return false
			}
			problem(w, 409, api.Problem{Code: api.CodeConflict, Expected: 9})
			return true
		}
	})
	z := joined(t, h)
	z.sold(2)
	if f := z.found("outbox"); f.Severity != "error" || !strings.Contains(f.Detail, "another machine") {
		t.Fatalf("finding: %+v", f)
	}
	last, unsent, _ := z.gate.OutboxStatus()
	if s := z.central.Status(); last != unsent || s.Unsent != unsent {
		t.Fatalf("%d of %d entries are unsent, status %+v", unsent, last, s)
	}
	// The rest goes on.
	h.applied(h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 1)}))
	z.sold(1)

	// Joined again the numbers fit, and it goes on.
	h.set(func() { h.misbehave = nil })
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	h.has(z)
	h.dense()
	eventually(t, "the finding is gone", func() bool { return len(z.central.Status().Findings) == 0 })
}

// The hub knows of entries that this gateway never made: its journal is an old
// one.
func TestGatewayRestored(t *testing.T) {
	h := newFakeHub(t)
	z := joined(t, h)
	h.set(func() {
		for n := uint64(1); n <= 9; n++ {
			h.entries = append(h.entries, api.Entry{N: n, Kind: "sale", Plan: "other"})
		}
	})
	z.sold(1)
	z.found("identity")
	z.found("outbox")
	if _, unsent, _ := z.gate.OutboxStatus(); unsent == 0 {
		t.Fatal("the outbox was emptied into somebody else's")
	}
	h.set(func() { h.base, h.entries = 9, nil })
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	h.has(z)
	h.dense()
}

// A week offline: 20,000 entries, in order, nothing twice, soon.
func TestAWeekOffline(t *testing.T) {
	h := newFakeHub(t)
	z := newZone(t, h.endpoint())
	z.open()
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	z.sold(1)
	grant := z.gate.Sessions()[0].Session.Grant
	const want = 20_000
	work := make(chan struct{}, 256)
	var wg sync.WaitGroup
	for range 128 {
		wg.Go(func() {
			for range work {
				if err := z.gate.TopUp(t.Context(), grant, 0, time.Second); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range want {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
	if s := z.central.Status(); s.Unsent < want {
		t.Fatalf("%d entries wait", s.Unsent)
	}
	began := time.Now()
	z.run()
	h.has(z)
	took := time.Since(began)
	h.dense()
	h.is(func() bool {
		if h.repeated > 0 {
			t.Errorf("%d entries came twice", h.repeated)
		}
		return true
	})
	// The hub has the last batch before the gateway has its answer.
	eventually(t, "nothing is unsent", func() bool { return z.central.Status().Unsent == 0 })
	last, _, _ := z.gate.OutboxStatus()
	// The journal follows, and what is made later waits alone.
	z.stopCentral()
	z.sold(1)
	if now, unsent, _ := z.gate.OutboxStatus(); unsent != now-last || unsent == 0 {
		t.Errorf("%d entries wait, %d were made since", unsent, now-last)
	}
	t.Logf("%d entries in %v", last, took)
}

// What the hub gets is what the contract says, whatever the domain makes.
func TestEntryOnTheWire(t *testing.T) {
	l := &line{codeKey: codeKey}
	full := l.entry(zonegate.Entry{
		N: 7, At: day, Kind: zonegate.EntryEnded, Grant: 3, State: zonegate.Spent, Used: zonegate.Octets{Up: 1, Down: 1 << 40},
		Source: zonegate.Source{Kind: "voucher", Ref: "aa"}, HubCode: true, Batch: "b", Plan: zonegate.PlanRef{ID: "p", Version: 2},
		Price: zonegate.Money{Amount: 5, Currency: "XAF"}, Device: zonegate.MAC{2, 0, 0, 0, 0, 1}, Octets: 9, Time: time.Minute, Count: 4,
	})
	got, _ := json.Marshal(full)
	want := `{"n":7,"at":"2026-11-22T12:00:00Z","kind":"ended","grant":3,"source":"voucher","ref":"aa","hub_code":true,"batch":"b",` +
		`"plan":"p","plan_version":2,"price":{"amount":5,"currency":"XAF"},"device":"` + full.Device + `","state":"spent","up":1,"down":1099511627776,` +
		`"octets":9,"seconds":60,"count":4}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if a, b := full.Device, l.deviceName(zonegate.MAC{2, 0, 0, 0, 0, 2}); a == b || len(a) != 16 {
		t.Errorf("devices are %q and %q", a, b)
	}
	bare, _ := json.Marshal(l.entry(zonegate.Entry{N: 1, Kind: zonegate.EntryImported, Count: 2}))
	if string(bare) != `{"n":1,"kind":"imported","count":2}` {
		t.Errorf("an entry without a clock: %s", bare)
	}
}

// The zone's own names have no bounds; those of the hub do.
func TestLongNamesAreTold(t *testing.T) {
	for name, want := range map[string]string{
		"july": "july", "a\x00b": "a?b", "a\xffb": "a?b",
		strings.Repeat("é", 150): strings.Repeat("é", 100), "x" + strings.Repeat("é", 150): "x" + strings.Repeat("é", 99),
	} {
		e := (&line{}).entry(zonegate.Entry{Kind: zonegate.EntrySale, Batch: name, Plan: zonegate.PlanRef{ID: name, Version: 1}})
		if e.Batch != want || e.Plan != want {
			t.Errorf("%.20q is told as batch %.20q and plan %.20q", name, e.Batch, e.Plan)
		}
	}
}
