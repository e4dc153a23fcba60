package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

// A fakeTill is a provider: what is charged is paid when pay was called.
type fakeTill struct {
	mu     sync.Mutex
	paid   map[string]bool // by reference
	hangs  bool
	pays   bool // everything is paid
	phones []string
}

func (f *fakeTill) Caps() hub.Caps {
	return hub.Caps{Country: "BJ", Currencies: []string{"XOF"}, FirstLook: time.Hour, Hosts: []string{"pay.example"},
		Channels: []hub.ChannelCaps{{ID: "MTN_MOMO", Name: "MTN MoMo", Flow: hub.FlowRedirect}}}
}

func (f *fakeTill) Initiate(ctx context.Context, c hub.Charge) (hub.Started, error) {
	f.mu.Lock()
	hangs := f.hangs
	f.phones = append(f.phones, c.Phone)
	f.mu.Unlock()
	if !strings.HasPrefix(c.CallbackURL, "https://hub.example/callbacks/") || c.Description == "" {
		return hub.Started{}, &hub.RejectedError{Reason: "a strange charge"}
	}
	if hangs {
		<-ctx.Done()
		return hub.Started{}, ctx.Err()
	}
	return hub.Started{ProviderRef: "n" + c.Reference, URL: "https://pay.example/" + c.Reference}, nil
}

func (f *fakeTill) Lookup(_ context.Context, p hub.Payment) (hub.Observation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	state := hub.PaymentPending
	if f.pays || f.paid[p.Reference] {
		state = hub.PaymentSucceeded
	}
	return hub.Observation{Found: true, State: state, Amount: p.Price, Reference: p.Reference}, nil
}

// pay pays everything that the hub has started.
func (f *fakeTill) pay(w *world) (references []string) {
	w.Helper()
	ps, err := w.hub.Payments(w.Context(), operator, hub.PaymentQuery{})
	w.ok(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paid = map[string]bool{}
	for _, p := range ps {
		f.paid[p.Reference] = true
		references = append(references, p.Reference)
	}
	return references
}

// ReadCallback takes the body for a reference.
func (f *fakeTill) ReadCallback(header, query map[string][]string, body []byte) (hub.Hint, error) {
	if key := http.Header(header).Get("X-Key"); key != "theirs" && http.Header(header).Get(api.HeaderSecret) == "" {
		return hub.Hint{}, fmt.Errorf("%w: no key", hub.ErrUnauthorized)
	}
	if q := query["reference"]; len(q) == 1 {
		return hub.Hint{Reference: q[0]}, nil
	}
	if len(body) == 0 {
		return hub.Hint{}, errors.New("it is empty")
	}
	return hub.Hint{Reference: strings.Trim(string(body), `"`), Raw: "{}"}, nil
}

// tillWorld is a world with a provider.
func tillWorld(w *world) *fakeTill {
	till := &fakeTill{}
	w.hub.UseCollectors(map[string]hub.Collector{"till": till})
	w.server.UseCallbacks(map[string]hub.CallbackReader{"till": till})
	return till
}

func (w *world) intent(n int) api.Intent {
	return api.Intent{IntentID: instanceOf(fmt.Sprint("intent", n)), Plan: w.forfait.Plan.ID, PlanVersion: w.forfait.Plan.Version,
		Provider: "MTN_MOMO", Phone: fmt.Sprint(2290161_000000 + n), Device: "02:00:00:00:00:01", Claim: instanceOf(fmt.Sprint("claim", n))}
}

// completed waits for a payment that a callback was about.
func (w *world) completed(path, token string) {
	w.Helper()
	waitFor(w.T, path, func() bool {
		var p struct{ Status string }
		w.call(ask{path: path, token: token, status: 200, into: &p})
		return p.Status == "completed"
	})
}

var webhookOptions = func(o *Options) {
	o.Webhook, o.WebhookSecret = "till", "the secret of the provider"
	o.Limits.Callbacks = Limit{60, 100}
}

func TestPaymentsOverHTTP(t *testing.T) {
	onEach(t, webhookOptions, func(w *world) {
		b := w.box
		w.call(ask{path: api.PathIntents, token: b.Token, body: w.intent(1), status: 503, code: api.CodeUnavailable})
		w.call(ask{path: api.PathIntents + "/" + w.intent(1).IntentID, token: b.Token, status: 503, code: api.CodeUnavailable})
		w.call(ask{method: "POST", path: "!" + hub.PathCallbacks + "till", body: "x", status: 404, code: api.CodeNotFound})
		var beat api.Beat
		w.call(ask{path: api.PathHeartbeat, token: b.Token, body: b.beat(), status: 200, into: &beat})
		if len(beat.Channels) != 0 {
			w.Errorf("channels without a provider: %+v", beat.Channels)
		}
		till := tillWorld(w)
		w.call(ask{path: api.PathHeartbeat, token: b.Token, body: b.beat(), status: 200, into: &beat})
		if len(beat.Channels) != 1 || beat.Channels[0].ID != "MTN_MOMO" || !slices.Equal(beat.Channels[0].Hosts, []string{"pay.example"}) {
			w.Errorf("channels: %+v", beat.Channels)
		}

		var p, again api.Payment
		w.call(ask{path: api.PathIntents, token: b.Token, body: w.intent(1), status: 200, into: &p})
		w.call(ask{path: api.PathIntents, token: b.Token, body: w.intent(1), status: 200, into: &again})
		if p.Status != "pending" || p.Flow != "redirect" || !strings.HasPrefix(p.PaymentURL, "https://pay.example/") || again != p || len(till.phones) != 1 {
			w.Errorf("started as %+v, again %+v", p, again)
		}
		taken := w.intent(2)
		taken.Claim = w.intent(1).Claim
		w.call(ask{path: api.PathIntents, token: b.Token, body: taken, status: 409, code: api.CodeExists})
		wrong := w.intent(3)
		wrong.PlanVersion = 9
		w.call(ask{path: api.PathIntents, token: b.Token, body: wrong, status: 422, code: api.CodeBadRequest})
		w.call(ask{path: api.PathIntents + "/" + taken.IntentID, token: b.Token, status: 404, code: api.CodeNotFound})
		w.call(ask{path: api.PathIntents, token: w.reseller, body: w.intent(4), status: 401, code: api.CodeUnauthorized})

		path := "!" + hub.PathCallbacks
		theirs := http.Header{"X-Key": {"theirs"}}
		references := till.pay(w)
		w.call(ask{path: path + "till", body: references[0], header: http.Header{"X-Key": {"mine"}}, status: 401, code: api.CodeUnauthorized})
		w.call(ask{path: path + "nobody", body: references[0], header: theirs, status: 404, code: api.CodeNotFound})
		w.call(ask{method: "POST", path: path + "till", header: theirs, status: 400, code: api.CodeBadRequest})
		w.call(ask{path: path + "till", body: strings.Repeat("x", api.MaxBody+1), header: theirs, status: 413, code: api.CodeBadRequest})
		w.call(ask{path: path + "till", body: "NOTHING", header: theirs, status: 200})
		for range 3 {
			w.call(ask{path: path + "till", body: references[0], header: theirs, status: 200})
		}
		w.completed(api.PathIntents+"/"+p.IntentID, b.Token)

		// Part 1, called back on the path of its document.
		var i api.Initiated
		w.call(ask{path: api.PathInitiate, token: w.seller, body: api.Initiate{ForfaitID: w.forfait.Plan.ID, Provider: "MTN_MOMO"}, status: 201, into: &i})
		w.call(ask{path: api.PathInitiate, token: w.seller, body: api.Initiate{ForfaitID: "none", Provider: "MTN_MOMO"}, status: 404, code: api.CodeNotFound})
		w.call(ask{path: api.PathInitiate, token: w.admin, body: api.Initiate{ForfaitID: w.forfait.Plan.ID, Provider: "MTN_MOMO"}, status: 422, code: api.CodeBadRequest})
		w.call(ask{path: api.PathPayments + "/none/status", token: w.seller, status: 404, code: api.CodeNotFound})
		references = till.pay(w)
		hook := ask{path: api.PathWebhook, body: `"` + references[0] + `"`, header: http.Header{}}
		for _, secret := range []string{"", "the secret", "THE SECRET OF THE PROVIDER"} {
			hook.header.Set(api.HeaderSecret, secret)
			hook.status, hook.code = 401, api.CodeUnauthorized
			w.call(hook)
		}
		hook.header.Set(api.HeaderSecret, "the secret of the provider")
		hook.status, hook.code = 200, ""
		if _, answer := w.call(hook); string(answer) != `{"status":"processed"}` {
			w.Errorf("the webhook is answered with %s", answer)
		}
		w.completed(api.PathPayments+"/"+i.TransactionID+"/status", w.seller)
		// A customer whom the provider's page sends back.
		_, page := w.call(ask{path: path + "till?reference=" + references[0], header: theirs, status: 200})
		if !strings.Contains(string(page), "Merci") {
			w.Errorf("the customer sees %s", page)
		}
		w.wantNoSecrets("2290161000000", "the secret of the provider", b.Token, w.intent(1).Claim)

		// A provider makes all its calls from one address.
		for range 150 {
			w.call(ask{path: path + "till", body: references[0], header: theirs, status: 200})
		}
		refused := 0
		for range 200 {
			a, err := w.client.Post(w.url+hub.PathCallbacks+"till", "text/plain", strings.NewReader("x"))
			w.ok(err)
			a.Body.Close()
			if a.StatusCode == http.StatusTooManyRequests {
				refused++
			}
		}
		if refused < 50 {
			w.Errorf("of 200 calls that are not the provider's %d were refused", refused)
		}
	})
}

// TestSlowProvider: the gateway is answered though the provider hangs.
func TestSlowProvider(t *testing.T) {
	w := newWorld(t, t.TempDir()+"/hub.db", nil)
	tillWorld(w).hangs = true
	begun := time.Now()
	var p api.Payment
	w.call(ask{path: api.PathIntents, token: w.box.Token, body: w.intent(1), status: 200, into: &p})
	if took := time.Since(begun); p.Status != "pending" || took > 25*time.Second { // 10 of them, and a slow machine
		t.Errorf("%+v after %v", p, took)
	}
}

// TestManyPayments: gateways start payments over HTTPS, the provider calls
// back, and everybody has one grant. It logs how many a second that were.
func TestManyPayments(t *testing.T) {
	w := newWorld(t, newPostgres(t), nil)
	till := tillWorld(w)
	till.pays = true
	const gateways, customers, each = 10, 60, 50 // customers at the same time, payments of each
	boxes := []*box{w.box}
	for i := 1; i < gateways; i++ {
		site, err := w.hub.CreateSite(t.Context(), operator, w.resellerID, fmt.Sprint("site ", i), "XOF")
		w.ok(err)
		boxes = append(boxes, w.enrol(site, fmt.Sprint("gateway ", i)))
	}
	begun := time.Now()
	var all sync.WaitGroup
	for c := range customers {
		all.Go(func() {
			for n := range each {
				b := boxes[(c+n)%gateways]
				q := w.intent(c*each + n)
				var p api.Payment
				if status, err := post(w.client, w.url+Base+api.PathIntents, b.Token, q, &p); err != nil || status != 200 {
					t.Errorf("starting a payment: %d, %v", status, err)
					return
				}
				r, err := http.NewRequestWithContext(t.Context(), "POST", w.url+hub.PathCallbacks+"till", strings.NewReader(strings.TrimPrefix(p.PaymentURL, "https://pay.example/")))
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("X-Key", "theirs")
				a, err := w.client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, a.Body)
				a.Body.Close()
				if a.StatusCode != 200 {
					t.Errorf("calling back: %d", a.StatusCode)
				}
			}
		})
	}
	all.Wait()
	const want = customers * each
	succeeded := func() (n int) {
		for before := ""; ; {
			ps, err := w.hub.Payments(t.Context(), operator, hub.PaymentQuery{State: hub.PaymentSucceeded, Before: before, Max: 1000})
			w.ok(err)
			if n += len(ps); len(ps) < 1000 {
				return n
			}
			before = ps[len(ps)-1].ID
		}
	}
	waitFor(t, "all payments", func() bool { return succeeded() == want })
	t.Logf("%d payments in %v", want, time.Since(begun).Round(time.Millisecond))
	balances, err := w.hub.Balances(t.Context(), operator, "")
	w.ok(err)
	for _, x := range balances {
		if x.Account == "provider/till" && x.Amount != 500*want {
			t.Errorf("the provider holds %d", x.Amount)
		}
	}
	grants := 0
	for _, b := range boxes {
		g, err := w.hub.Authenticate(t.Context(), b.Token)
		w.ok(err)
		for after := uint64(0); ; {
			ps, _, err := w.hub.PushesFor(t.Context(), g, after, 1000)
			w.ok(err)
			for _, p := range ps {
				if after = p.Seq; p.Kind == api.KindGrant {
					grants++
				}
			}
			if len(ps) < 1000 {
				break
			}
		}
	}
	if grants != want {
		t.Errorf("%d grants of %d payments", grants, want)
	}
}
