package central

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/sync/api"
)

// A payment through a hub, from the tap to the customer online; the ways to pay
// come with the heartbeats.
func TestPayThroughAHub(t *testing.T) {
	for _, polling := range []bool{false, true} {
		t.Run(fmt.Sprintf("polling %v", polling), func(t *testing.T) {
			h := newFakeHub(t)
			plan := api.Plan{ID: "jour", Version: 1, Name: "Jour", Price: api.Money{Amount: 500, Currency: "XOF"}, Seconds: 3600, DevicesMax: 1}
			h.catalogue = api.Catalogue{Version: 1, Plans: []api.Plan{plan}}
			h.channels = []api.Channel{
				{ID: "MTN_MOMO", Name: "MTN", Flow: "push", Country: "BJ", Currency: "XOF", Test: true, Hosts: []string{"pay.example", "bad", "*"}},
				{ID: "", Name: "x", Flow: "push", Currency: "XOF"}, {ID: "X", Name: "x", Flow: "dance", Currency: "XOF"},
				{ID: "Y", Name: "a\nb", Flow: "push", Currency: "XOF"}, {ID: "Z", Name: "x", Flow: "push", Currency: "francs"},
			}
			z := newZone(t, h.endpoint())
			if polling {
				z.pace.firstSign, z.pace.poll = 10*time.Millisecond, time.Hour
			}
			z.open()
			if list, online := z.central.Channels(); online || list != nil {
				t.Errorf("before there is a hub: %v %v", list, online)
			}
			if err := z.central.Join(t.Context(), "code"); err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			var started []api.Intent
			status := "pending"
			h.set(func() {
				h.misbehave = func(w http.ResponseWriter, r *http.Request) bool {
					if polling && strings.HasSuffix(r.URL.Path, api.PathEvents) && r.Header.Get("Accept") != "application/json" {
						w.Header().Set("Content-Type", "text/event-stream")
						http.NewResponseController(w).Flush()
						<-r.Context().Done()
						return true
					}
					if !strings.Contains(r.URL.Path, api.PathIntents) {
						return false
					}
					mu.Lock()
					defer mu.Unlock()
					id := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
					if r.Method == http.MethodPost {
						var in api.Intent
						if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
							t.Error(err)
						}
						started = append(started, in)
						id = in.IntentID
					}
					json.NewEncoder(w).Encode(api.Payment{IntentID: id, TransactionID: "tx", Status: status, Flow: "push"})
					return true
				}
			})
			z.run()
			eventually(t, "the ways to pay are known", func() bool { _, online := z.central.Channels(); return online })
			list, _ := z.central.Channels()
			if len(list) != 1 || list[0].ID != "MTN_MOMO" || !list[0].Test || !slices.Equal(list[0].Hosts, []string{"pay.example"}) {
				t.Errorf("channels %+v", list)
			}
			eventually(t, "the plan is on sale", func() bool { return len(z.gate.Plans()) == 1 })
			if polling {
				eventually(t, "streams are given up", func() bool {
					z.central.mu.Lock()
					l := z.central.line
					z.central.mu.Unlock()
					return l != nil && l.polls()
				})
			}
			p := NewPay(z.gate, z.central, z.clock, z.log())
			in := z.wish(1, payer)
			z.gate.Waiting(payer)
			p.Step(t.Context())
			if got := z.intent(in); got.State != zonegate.IntentPending || len(started) != 1 {
				t.Fatalf("%+v %+v", got, started)
			}
			mu.Lock()
			status = "completed"
			mu.Unlock()
			claim, err := hex.DecodeString(started[0].Claim)
			if err != nil {
				t.Fatal(err)
			}
			h.push(api.KindGrant, api.GrantIssued{Grant: "tx", Intent: in.ID.String(), Plan: plan, Device: started[0].Device, Key: claim})
			if polling {
				// Nothing asks for pages for an hour, but the answer does.
				z.clock.forward(time.Minute)
				z.gate.Waiting(payer)
				p.Step(t.Context())
			}
			eventually(t, "the customer is online", func() bool { return z.gate.Standing(payer).Online })
			if got := z.intent(in); got.State != zonegate.IntentPaid || got.Purchase != "tx" {
				t.Errorf("%+v", got)
			}
			h.set(func() {
				h.misbehave = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(502); return true }
			})
			eventually(t, "the hub is away", func() bool {
				list, online := z.central.Channels()
				return !online && len(list) == 1
			})
		})
	}
}

func TestChannelsGrowOld(t *testing.T) {
	h := newFakeHub(t)
	h.channels = []api.Channel{{ID: "X", Name: "x", Flow: "push", Currency: "XOF"}}
	z := newZone(t, h.endpoint())
	z.pace.beat = time.Hour
	z.open()
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	z.run()
	eventually(t, "the ways to pay are known", func() bool { _, online := z.central.Channels(); return online })
	z.clock.forward(channelsFresh + time.Second)
	if list, online := z.central.Channels(); online || len(list) != 1 {
		t.Errorf("%v %v", list, online)
	}
}
