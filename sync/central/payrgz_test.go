package central

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/sync/api"
)

// A bill is a server that has the documented API alone.
type bill struct {
	mu     sync.Mutex
	tokens []string
	calls  []string
	// during is called while a payment is started.
	during func()
	start  error
	asked  error
	status api.PaymentStatus
}

func (b *bill) Initiate(_ context.Context, token string, in api.Initiate) (api.Initiated, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens, b.calls = append(b.tokens, token), append(b.calls, "start "+in.ForfaitID+" "+in.Provider)
	if b.during != nil {
		b.during()
	}
	if b.start != nil {
		return api.Initiated{}, b.start
	}
	return api.Initiated{TransactionID: "tx-1", PaymentURL: "https://kkiapay.me/pay/1"}, nil
}

func (b *bill) PaymentStatus(_ context.Context, token, transaction string) (api.PaymentStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens, b.calls = append(b.tokens, token), append(b.calls, "ask "+transaction)
	return b.status, b.asked
}

const begun = "start jour MTN_MOMO"

// rgzZone is a zone whose catalogue came from an RGZ server.
func rgzZone(t *testing.T) (*zone, *bill, PayRGZ) {
	t.Helper()
	z := newZone(t, Endpoint{})
	if err := z.gate.SetPlans(t.Context(), []zonegate.Plan{payPlan}, false); err != nil {
		t.Fatal(err)
	}
	o := PayRGZ{TokenFile: filepath.Join(t.TempDir(), "token"), Providers: []string{"MTN_MOMO", "NEW_ONE"}, Hosts: []string{"kkiapay.me"}}
	if err := os.WriteFile(o.TokenFile, []byte("jwt-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return z, &bill{status: api.PaymentStatus{Status: "pending"}}, o
}

func TestPayRGZ(t *testing.T) {
	z, b, o := rgzZone(t)
	var log bytes.Buffer
	p := NewPayRGZ(z.gate, b, o, z.clock, slog.New(slog.NewTextHandler(&log, nil)))
	list, online := p.Channels()
	if !online || len(list) != 2 || list[0].Name != "MTN MOMO" || list[1].Name != "NEW ONE" || list[0].Flow != zonegate.FlowRedirect ||
		list[0].Currency != "XOF" || !slices.Equal(list[0].Hosts, o.Hosts) {
		t.Errorf("%+v %v", list, online)
	}
	in := z.wish(1, payer)
	b.during = func() {
		if got := z.intent(in); !got.Unsure {
			t.Errorf("it was sent before that was written down: %+v", got.News)
		}
	}
	p.Step(t.Context())
	if got := z.intent(in); got.State != zonegate.IntentPending || got.Unsure || got.Transaction != "tx-1" || got.URL != "https://kkiapay.me/pay/1" || got.Flow != zonegate.FlowRedirect {
		t.Fatalf("%+v", got.News)
	}
	// The token is replaced while the zone runs; then its file is broken.
	if err := os.WriteFile(o.TokenFile, []byte("jwt-2"), 0o600); err != nil {
		t.Fatal(err)
	}
	z.clock.forward(5 * time.Second)
	p.Step(t.Context())
	if err := os.WriteFile(o.TokenFile, []byte("jwt-3\njwt-4"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, online := p.Channels(); online {
		t.Error("there is no token")
	}
	z.clock.forward(5 * time.Second)
	p.Step(t.Context())
	if !slices.Equal(b.tokens, []string{"jwt-1", "jwt-2"}) || !slices.Equal(b.calls, []string{begun, "ask tx-1"}) {
		t.Errorf("%v with %v", b.calls, b.tokens)
	}
	if strings.Contains(log.String(), "jwt") || log.Len() == 0 {
		t.Errorf("the log: %s", log.String())
	}
	if err := os.WriteFile(o.TokenFile, []byte("jwt-5"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		status api.PaymentStatus
		err    error
		want   zonegate.IntentState
	}{
		{api.PaymentStatus{}, errNoAnswer, zonegate.IntentPending},
		{api.PaymentStatus{Status: "whatever"}, nil, zonegate.IntentPending},
		{api.PaymentStatus{Status: "completed"}, nil, zonegate.IntentPending}, // of how much?
		{api.PaymentStatus{Status: "failed"}, nil, zonegate.IntentFailed},
		{api.PaymentStatus{Status: "completed", AmountFCFA: 499}, nil, zonegate.IntentReview},
	} {
		b.status, b.asked = c.status, c.err
		z.clock.forward(time.Minute)
		p.Step(t.Context())
		if got := z.intent(in); got.State != c.want {
			t.Errorf("%+v: %+v", c.status, got.News)
		}
	}
	if st := z.gate.Standing(payer); st.Grant != nil {
		t.Errorf("there is a grant: %+v", st.Grant)
	}
}

func TestPayRGZSettles(t *testing.T) {
	z, b, o := rgzZone(t)
	p := NewPayRGZ(z.gate, b, o, z.clock, z.log())
	in := z.wish(1, payer)
	p.Step(t.Context())
	// It was failed once, and the customer has tried again on the same page.
	b.status = api.PaymentStatus{Status: "failed"}
	z.clock.forward(10 * time.Second)
	p.Step(t.Context())
	b.status = api.PaymentStatus{Status: "completed", AmountFCFA: 500}
	z.gate.Waiting(payer)
	for range 3 {
		z.clock.forward(10 * time.Second)
		p.Step(t.Context())
	}
	if got := z.intent(in); got.State != zonegate.IntentPaid || got.Purchase != "rgz:tx-1" {
		t.Errorf("%+v", got)
	}
	if st := z.gate.Standing(payer); !st.Online || len(st.Queue) != 0 {
		t.Errorf("%+v", st)
	}
	if n := len(b.calls); n != 3 {
		t.Errorf("what is paid is asked about: %v", b.calls)
	}
}

// What may have been started is never started again.
func TestPayRGZStartsOnce(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		state  zonegate.IntentState
		unsure bool
		again  bool
	}{
		"lost":      {errNoAnswer, zonegate.IntentOpened, true, false},
		"broken":    {&Refusal{Status: 502}, zonegate.IntentOpened, true, false},
		"timed out": {&Refusal{Status: 408}, zonegate.IntentOpened, true, false},
		"not there": {errNotThere, zonegate.IntentOpened, false, true},
		"refused":   {&Refusal{Status: 401, Problem: api.Problem{Detail: "no"}}, zonegate.IntentFailed, false, false},
		"too many":  {&Refusal{Status: 429}, zonegate.IntentFailed, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			z, b, o := rgzZone(t)
			p := NewPayRGZ(z.gate, b, o, z.clock, z.log())
			in := z.wish(1, payer)
			b.start = c.err
			p.Step(t.Context())
			if got := z.intent(in); got.State != c.state || got.Unsure != c.unsure {
				t.Fatalf("%+v", got.News)
			}
			if _, online := p.Channels(); online == c.again {
				t.Errorf("online is %v", online)
			}
			b.start = nil
			z.stopGate()
			z.startGate()
			p = NewPayRGZ(z.gate, b, o, z.clock, z.log())
			for range 4 {
				z.clock.forward(10 * time.Second)
				p.Step(t.Context())
			}
			starts := 0
			for _, call := range b.calls {
				if call == begun {
					starts++
				}
			}
			if (starts == 2) != c.again || starts < 1 {
				t.Errorf("calls %v", b.calls)
			}
			if c.unsure {
				z.clock.forward(3 * time.Minute)
				if !z.gate.Replaceable(in.ID) {
					t.Error("nobody can say what became of it, and no other is allowed")
				}
			}
		})
	}
}

// The power goes while the server is asked: nobody knows, so nobody repeats it.
func TestPayRGZCrashes(t *testing.T) {
	z, b, o := rgzZone(t)
	in := z.wish(1, payer)
	g := &forgetful{z.gate, 0}
	p := NewPayRGZ(g, b, o, z.clock, z.log())
	b.during = func() { g.fails = 100 } // the answer cannot be written down
	p.Step(t.Context())
	z.stopGate()
	z.startGate()
	p = NewPayRGZ(z.gate, b, o, z.clock, z.log())
	for range 5 {
		z.clock.forward(time.Minute)
		p.Step(t.Context())
	}
	if got := z.intent(in); !got.Unsure || got.State != zonegate.IntentOpened || len(b.calls) != 1 {
		t.Errorf("%+v after %v", got.News, b.calls)
	}
	// Without a crash it is written down later, and not asked for again.
	z.clock.forward(time.Hour)
	in = z.wish(2, payer)
	g = &forgetful{z.gate, 0}
	p = NewPayRGZ(g, b, o, z.clock, z.log())
	b.calls, b.during = nil, func() { g.fails = 1 }
	for range 3 {
		z.clock.forward(p.Step(t.Context()))
	}
	if got := z.intent(in); got.Transaction != "tx-1" || b.calls[0] != begun || slices.Contains(b.calls[1:], begun) {
		t.Errorf("%+v after %v", got.News, b.calls)
	}
}

// While the start cannot be written down nothing is sent, and later it is too
// late.
func TestPayRGZNeedsTheJournal(t *testing.T) {
	z, b, o := rgzZone(t)
	in := z.wish(1, payer)
	g := &forgetful{z.gate, 3}
	p := NewPayRGZ(g, b, o, z.clock, z.log())
	for range 3 {
		z.clock.forward(p.Step(t.Context()))
	}
	if len(b.calls) != 0 || g.fails > 0 {
		t.Errorf("calls %v", b.calls)
	}
	z.clock.forward(startWithin)
	p.Step(t.Context())
	if got := z.intent(in); got.State != zonegate.IntentFailed || len(b.calls) != 0 {
		t.Errorf("%+v after %v", got.News, b.calls)
	}
}

func TestPayRGZExpires(t *testing.T) {
	z, b, o := rgzZone(t)
	in := z.wish(1, payer)
	p := NewPayRGZ(z.gate, b, o, z.clock, z.log())
	p.Step(t.Context())
	z.clock.forward(expireAfter)
	p.Step(t.Context())
	if got := z.intent(in); got.State != zonegate.IntentExpired {
		t.Errorf("%+v", got.News)
	}
	b.status = api.PaymentStatus{Status: "completed", AmountFCFA: 600}
	z.clock.forward(15 * time.Minute)
	p.Step(t.Context())
	if got := z.intent(in); got.State != zonegate.IntentPaid {
		t.Errorf("%+v", got.News)
	}
	if _, ok := z.gate.Intent(zonegate.IntentID{77}); ok {
		t.Error("there is no such payment")
	}
	if err := z.gate.TellIntent(t.Context(), zonegate.IntentID{77}, zonegate.News{}); !errors.Is(err, zonegate.ErrNoSuchIntent) {
		t.Error(err)
	}
}
