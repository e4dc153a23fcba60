package central

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/sync/api"
)

var (
	payPlan = zonegate.Plan{ID: "jour", Version: 1, Name: "Jour", Price: zonegate.Money{Amount: 500, Currency: "XOF"}, Duration: time.Hour, DevicesMax: 1}
	payer   = zonegate.MAC{2, 0, 0, 0, 0, 1}

	errNoAnswer = errors.New("the answer was lost")
	errNotThere = &net.OpError{Op: "dial", Err: errors.New("refused")}
)

// forward moves the clock.
func (c *handClock) forward(d time.Duration) { c.set(func(c *handClock) { c.began = c.began.Add(-d) }) }

// A counter collects, and does what a test says before it answers.
type payCounter struct {
	mu       sync.Mutex
	payments map[string]api.Payment
	calls    []string
	started  []api.Intent
	// odd may answer in its place: before it did anything, or after.
	odd, lost func(call string) error
}

func newPayCounter() *payCounter { return &payCounter{payments: map[string]api.Payment{}} }

func (c *payCounter) call(what string, do func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, what)
	for i, step := range []func(string) error{c.odd, func(string) error { return do() }, c.lost} {
		if step == nil {
			continue
		}
		if err := step(what); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

func (c *payCounter) StartPayment(_ context.Context, in api.Intent) (p api.Payment, err error) {
	err = c.call("start", func() error {
		c.started = append(c.started, in)
		if _, known := c.payments[in.IntentID]; !known {
			c.payments[in.IntentID] = api.Payment{IntentID: in.IntentID, TransactionID: "tx-" + in.IntentID[:4], Status: "pending", Flow: "push"}
		}
		p = c.payments[in.IntentID]
		return nil
	})
	return p, err
}

func (c *payCounter) Payment(_ context.Context, intent string) (p api.Payment, err error) {
	err = c.call("ask", func() error {
		var known bool
		if p, known = c.payments[intent]; !known {
			return &Refusal{Status: 404, Problem: api.Problem{Code: api.CodeNotFound}}
		}
		return nil
	})
	return p, err
}

func (c *payCounter) Channels() ([]zonegate.Channel, bool) { return nil, true }

func (c *payCounter) set(f func(*payCounter)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

func (c *payCounter) become(id zonegate.IntentID, status string) {
	c.set(func(c *payCounter) {
		p := c.payments[id.String()]
		p.Status, p.Reason = status, "why"
		c.payments[id.String()] = p
	})
}

func (c *payCounter) made() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// payZone is a zone of a hub that sells a plan, without a line to it.
func payZone(t *testing.T) *zone {
	t.Helper()
	z := newZone(t, Endpoint{})
	z.joinGate()
	return z
}

func (z *zone) joinGate() {
	z.t.Helper()
	link := zonegate.HubLink{Hub: "h", Site: siteID, Gateway: "gw-1", CodeKey: codeKey}
	if err := z.gate.JoinHub(z.t.Context(), link, 1); err != nil {
		z.t.Fatal(err)
	}
	if err := z.gate.TakePush(z.t.Context(), 0, zonegate.PlanPushed{Plan: payPlan}); err != nil {
		z.t.Fatal(err)
	}
}

func (z *zone) log() *slog.Logger { return slog.New(slog.NewTextHandler(testLog{z.t}, nil)) }

func (z *zone) wish(n byte, d zonegate.MAC) zonegate.Intent {
	z.t.Helper()
	in, err := z.gate.OpenIntent(z.t.Context(), zonegate.IntentRequest{
		ID: zonegate.IntentID{n, 1}, Device: d, Plan: payPlan.ID, Channel: "MTN_MOMO", Phone: fmt.Sprintf("229970000%02d", n),
	})
	if err != nil {
		z.t.Fatal(err)
	}
	return in
}

func (z *zone) intent(in zonegate.Intent) zonegate.Intent {
	z.t.Helper()
	got, ok := z.gate.Intent(in.ID)
	if !ok {
		z.t.Fatal("the payment is gone")
	}
	return got
}

// An intent is sent at once and followed at the ages that are promised.
func TestPayFollows(t *testing.T) {
	z := payZone(t)
	c := newPayCounter()
	p := NewPay(z.gate, c, z.clock, z.log())
	if wait := p.Step(t.Context()); wait != idleLook || len(c.made()) != 0 {
		t.Errorf("without a payment: %v %v", wait, c.made())
	}
	in := z.wish(1, payer)
	var ages []int
	for n := 0; len(ages) < 60; {
		wait := p.Step(t.Context())
		if calls := c.made(); len(calls) > n {
			n = len(calls)
			ages = append(ages, int(z.intent(in).Age/time.Second))
		}
		z.clock.forward(wait)
	}
	want := []int{0, 5, 8, 12, 17, 23, 30}
	for at := 40; at <= 180; at += 10 {
		want = append(want, at)
	}
	for at := 240; at <= 1800; at += 60 {
		want = append(want, at)
	}
	for at := 2700; len(want) < len(ages); at += 900 {
		want = append(want, at)
	}
	for i, at := range ages {
		// The machine's own time passes too.
		if at < want[i] || at > want[i]+5 {
			t.Errorf("call %d at the age of %d s, want %d", i, at, want[i])
		}
	}
	sent := c.started[0]
	if len(c.started) != 1 || sent.IntentID != in.ID.String() || sent.Plan != "jour" || sent.PlanVersion != 1 || sent.Provider != "MTN_MOMO" ||
		sent.Phone != "22997000001" || sent.Device != payer.String() || sent.Claim != hex.EncodeToString(in.Claim[:]) {
		t.Errorf("started %+v", c.started)
	}
	if got := z.intent(in); got.State != zonegate.IntentPending || got.Transaction != "tx-0101" || got.Flow != "push" {
		t.Errorf("%+v", got)
	}
	c.become(in.ID, "failed")
	z.clock.forward(15 * time.Minute)
	p.Step(t.Context())
	if got := z.intent(in); got.State != zonegate.IntentFailed || got.Reason != "why" {
		t.Errorf("%+v", got)
	}
	n := len(c.made())
	z.clock.forward(time.Hour)
	if p.Step(t.Context()); len(c.made()) != n {
		t.Error("what is decided is asked about")
	}
}

// What a start that went wrong leads to.
func TestPayStarts(t *testing.T) {
	refusal := func(status int, code string) error {
		return &Refusal{Status: status, Problem: api.Problem{Code: code, Detail: "no such plan"}}
	}
	for name, c := range map[string]struct {
		odd, lost error
		// heals says that the next call is answered.
		heals bool
		state zonegate.IntentState
		calls []string
	}{
		"no":                       {odd: refusal(400, api.CodeBadRequest), state: zonegate.IntentFailed, calls: []string{"start"}},
		"not there, then there":    {odd: errNotThere, heals: true, state: zonegate.IntentPending, calls: []string{"start", "start"}},
		"no hub, then there":       {odd: ErrAway, heals: true, state: zonegate.IntentPending, calls: []string{"start", "start"}},
		"lost on the way, then no": {odd: errNoAnswer, heals: true, state: zonegate.IntentPending, calls: []string{"start", "start"}},
		"answer lost":              {lost: errNoAnswer, heals: true, state: zonegate.IntentPending, calls: []string{"start", "start"}},
		"busy":                     {odd: fmt.Errorf("%w: %w", ErrAway, refusal(429, api.CodeLimit)), heals: true, state: zonegate.IntentPending, calls: []string{"start", "start"}},
		"broken":                   {odd: refusal(500, ""), heals: true, state: zonegate.IntentPending, calls: []string{"start", "start"}},
		"token refused":            {odd: fmt.Errorf("%w: %w", ErrAway, refusal(401, api.CodeUnauthorized)), heals: true, state: zonegate.IntentPending, calls: []string{"start", "start"}},
	} {
		t.Run(name, func(t *testing.T) {
			z := payZone(t)
			k := newPayCounter()
			k.odd, k.lost = func(string) error { return c.odd }, func(string) error { return c.lost }
			p := NewPay(z.gate, k, z.clock, z.log())
			in := z.wish(1, payer)
			wait := p.Step(t.Context())
			if c.heals {
				if z.intent(in).State != zonegate.IntentOpened || wait > startAgain {
					t.Errorf("it is %v and waits %v", z.intent(in).State, wait)
				}
				k.set(func(k *payCounter) { k.odd, k.lost = nil, nil })
				z.clock.forward(startAgain)
				p.Step(t.Context())
			}
			if got := z.intent(in); got.State != c.state || c.state == zonegate.IntentFailed && got.Reason != "no such plan" {
				t.Errorf("%+v", got)
			}
			if !slices.Equal(k.made(), c.calls) {
				t.Errorf("calls %v", k.made())
			}
		})
	}
}

// After an answer was lost, a no only counts when the hub says that it does not
// know the payment; and nobody is asked for money three minutes later.
func TestPayIsNotStartedLate(t *testing.T) {
	for name, lost := range map[string]bool{"never came": false, "came": true} {
		t.Run(name, func(t *testing.T) {
			z := payZone(t)
			c := newPayCounter()
			c.odd, c.lost = func(string) error {
				if lost {
					return nil
				}
				return errNoAnswer
			}, func(string) error { return errNoAnswer }
			p := NewPay(z.gate, c, z.clock, z.log())
			in := z.wish(1, payer)
			p.Step(t.Context())
			c.set(func(c *payCounter) {
				c.odd, c.lost = func(string) error { return &Refusal{Status: 403, Problem: api.Problem{Code: api.CodeForbidden}} }, nil
			})
			z.clock.forward(startAgain)
			p.Step(t.Context())
			if got := z.intent(in); got.State != zonegate.IntentOpened {
				t.Fatalf("a no after a lost answer: %+v", got.News)
			}
			c.set(func(c *payCounter) { c.odd, c.calls = nil, nil })
			z.clock.forward(startWithin)
			p.Step(t.Context())
			want := zonegate.IntentFailed
			if lost {
				want = zonegate.IntentPending
			}
			if got := z.intent(in); got.State != want || !slices.Equal(c.made(), []string{"ask"}) {
				t.Errorf("%+v after %v", got.News, c.made())
			}
		})
	}
}

// A restart loses nothing: what is open is asked about at once.
func TestPayAfterARestart(t *testing.T) {
	z := payZone(t)
	c := newPayCounter()
	in, other := z.wish(1, payer), z.wish(2, zonegate.MAC{2, 0, 0, 0, 0, 2})
	p := NewPay(z.gate, c, z.clock, z.log())
	c.lost = func(string) error { return errNoAnswer }
	p.Step(t.Context())
	c.lost = nil
	z.stopGate()
	z.startGate()
	// Nobody remembers that the hub may have it, so a no is no end.
	c.calls, c.odd = nil, func(string) error { return &Refusal{Status: 403, Problem: api.Problem{Code: api.CodeForbidden}} }
	p = NewPay(z.gate, c, z.clock, z.log())
	p.Step(t.Context())
	if got := z.intent(in); got.State != zonegate.IntentOpened {
		t.Errorf("a no after a restart: %+v", got.News)
	}
	c.calls, c.odd = nil, nil
	z.clock.forward(startAgain)
	p.Step(t.Context())
	if !slices.Equal(c.made(), []string{"start", "start"}) || len(c.payments) != 2 {
		t.Errorf("%v", c.made())
	}
	for _, in := range []zonegate.Intent{in, other} {
		if z.intent(in).State != zonegate.IntentPending {
			t.Errorf("%+v", z.intent(in))
		}
	}
}

// forgetful fails to write down what it is told.
type forgetful struct {
	*zonegate.Gate
	fails int
}

func (g *forgetful) TellIntent(ctx context.Context, id zonegate.IntentID, n zonegate.News) error {
	if g.fails--; g.fails >= 0 {
		return zonegate.ErrNotDurable
	}
	return g.Gate.TellIntent(ctx, id, n)
}

func TestPayRemembersWhatItHeard(t *testing.T) {
	z := payZone(t)
	c := newPayCounter()
	g := &forgetful{z.gate, 2}
	p := NewPay(g, c, z.clock, z.log())
	in := z.wish(1, payer)
	for range 3 {
		z.clock.forward(p.Step(t.Context()))
	}
	if got := z.intent(in); got.State != zonegate.IntentPending || !slices.Equal(c.made(), []string{"start"}) {
		t.Errorf("%+v after %v", got.News, c.made())
	}
}

// Run sends a new intent without being asked, also while calls hang.
func TestPayRuns(t *testing.T) {
	z := payZone(t)
	c := newPayCounter()
	hang := make(chan struct{})
	slow := &hanging{payCounter: c, hang: hang}
	p := NewPay(z.gate, slow, z.clock, z.log())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stuck := z.wish(1, payer)
	eventually(t, "the first is sent", func() bool { return slow.entered() == 1 })
	in := z.wish(2, zonegate.MAC{2, 0, 0, 0, 0, 2})
	eventually(t, "the second is sent meanwhile", func() bool { return z.intent(in).State == zonegate.IntentPending })
	if z.intent(stuck).State != zonegate.IntentOpened {
		t.Errorf("%+v", z.intent(stuck))
	}
	before := len(c.made())
	z.clock.forward(askAgain)
	p.Ask(in.ID)
	eventually(t, "it is asked about", func() bool { return len(c.made()) > before })
	close(hang)
	eventually(t, "the first is pending", func() bool { return z.intent(stuck).State == zonegate.IntentPending })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// hanging lets the first start wait.
type hanging struct {
	*payCounter
	hang chan struct{}
	mu   sync.Mutex
	n    int
}

func (h *hanging) StartPayment(ctx context.Context, in api.Intent) (api.Payment, error) {
	h.mu.Lock()
	h.n++
	first := h.n == 1
	h.mu.Unlock()
	if first {
		<-h.hang
	}
	return h.payCounter.StartPayment(ctx, in)
}

func (h *hanging) entered() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n
}

func TestNewsOfAHub(t *testing.T) {
	for status, want := range map[string]zonegate.IntentState{
		"pending": zonegate.IntentPending, "completed": zonegate.IntentPaid, "failed": zonegate.IntentFailed,
		"expired": zonegate.IntentExpired, "canceled": zonegate.IntentCanceled, "refunded": zonegate.IntentRefunded,
		"review": zonegate.IntentReview, "": zonegate.IntentPending, "opened": zonegate.IntentPending, "paid": zonegate.IntentPending, "COMPLETED": zonegate.IntentPending, "something": zonegate.IntentPending,
	} {
		if got := news(&api.Payment{Status: status}); got.State != want {
			t.Errorf("%q is %v", status, got.State)
		}
	}
	for url, ok := range map[string]bool{
		"https://pay.example/x": true, "javascript:alert(1)": false, "//pay.example": false, "": false,
		"https:///x": false, "https://pay.example/" + strings.Repeat("x", maxPayURL): false,
	} {
		if got := news(&api.Payment{PaymentURL: url}); (got.URL != "") != ok {
			t.Errorf("%.40q gives %.40q", url, got.URL)
		}
	}
	if got := news(&api.Payment{TransactionID: "a b", Flow: "dance"}); got.Transaction != "" || got.Flow != "" {
		t.Errorf("%+v", got)
	}
}
